"""What another program has fetched: the unique-ids in the files of getmail, mpop and fetchmail.

Owns the three formats, and guesses nothing: a line that makes no sense is named, and then nothing is taken from the
file. Never writes.

- getmail 4 to 6, ``oldmail-SERVER-PORT-USER``: a line is unique-id, NUL, seconds since 1970. getmail writes ``-`` in
  the place of a ``/`` in a unique-id.
- mpop, ``uidls``: comments; then for each account a line of space, number, host, space and user, and so many
  unique-ids.
- fetchmail, ``.fetchids``: a line is user, ``@``, host, space and unique-id.
"""

import os
import re
from collections.abc import Callable, Iterator

from pop3fast.fetch._errors import SeenFileError
from pop3fast.fetch._identity import is_lasting

MAX_OCTETS = 2**30
"""Larger than any real one by far: 10 million unique-ids of 70 octets are 700 MB."""

_GETMAIL = re.compile(rb"([^\0]+)\0[0-9]+")
_MPOP_ACCOUNT = re.compile(rb" ([0-9]{1,9}) (\S+) (.+)")
_FETCHMAIL = re.compile(rb"[ \t]*(\S+)@([^\s@]+)[ \t]+(\S+)")

Lines = Iterator[tuple[int, bytes]]
Complain = Callable[[int, str], SeenFileError]


def read_seen(path: str, host: str, port: int, user: str) -> list[bytes]:
    """Return the unique-ids that a file of getmail, mpop or fetchmail has for an account.

    Those of getmail have ``-`` where the server's have ``/``. Raises `SeenFileError` when the file cannot be read, is
    of none of these programs, or has other accounts only, and names the line when one makes no sense.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a path is a str in this package
            content = file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise SeenFileError(path, 0, os.strerror(error.errno or 0)) from error

    def complain(line: int, reason: str) -> SeenFileError:
        return SeenFileError(path, line, reason)

    if len(content) > MAX_OCTETS:
        raise complain(0, f"more than {MAX_OCTETS:,} octets are no list of unique-ids")
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    if not lines:
        return []
    first = lines[0][1]
    if b"\0" in first:
        _check_getmail_name(os.path.split(path)[1], host, port, user, complain)
        uids = _getmail(iter(lines), complain)
    elif first.startswith(b"#") or _MPOP_ACCOUNT.fullmatch(first):
        uids = _of_account(_mpop(iter(lines), complain), host, user, complain)
    elif _FETCHMAIL.fullmatch(first):
        uids = _of_account(_fetchmail(iter(lines), complain), host, user, complain)
    else:
        raise complain(lines[0][0], "neither getmail nor mpop nor fetchmail writes such a line")
    return [uid for uid in uids if is_lasting(uid)]


def _getmail(lines: Lines, complain: Complain) -> list[bytes]:
    uids = []
    for number, line in lines:
        found = _GETMAIL.fullmatch(line.strip(b"\r"))
        if found is None:
            raise complain(number, "not a unique-id, NUL and a time, as getmail writes them")
        uids.append(found[1])
    return uids


def _check_getmail_name(name: str, host: str, port: int, user: str, complain: Complain) -> None:
    # The name is all that says which account it is of. Which characters getmail replaces differs by version.
    wanted = f"oldmail-{host}-{port}-{user}"
    if name.startswith("oldmail-") and _letters(name) != _letters(wanted):
        raise complain(0, f"by its name it is of another account; that of this one is {wanted}")


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "-", name.lower())


def _mpop(lines: Lines, complain: Complain) -> dict[tuple[str, str], list[bytes]]:
    accounts: dict[tuple[str, str], list[bytes]] = {}
    for number, line in lines:
        if line.startswith(b"#") and not accounts:
            continue
        found = _MPOP_ACCOUNT.fullmatch(line)
        if found is None:
            raise complain(number, "not a number of unique-ids, a host and a user, as mpop writes them")
        uids = accounts.setdefault((_text(found[2]), _text(found[3])), [])
        for _ in range(int(found[1])):
            number, uid = next(lines, (number, b" "))  # noqa: PLW2901 - the lines of an account belong to its own
            if uid.startswith(b" "):
                raise complain(number, f"the list that this belongs to has {found[1].decode()} unique-ids, not fewer")
            uids.append(uid)
    return accounts


def _fetchmail(lines: Lines, complain: Complain) -> dict[tuple[str, str], list[bytes]]:
    accounts: dict[tuple[str, str], list[bytes]] = {}
    for number, line in lines:
        found = _FETCHMAIL.fullmatch(line.rstrip())
        if found is None:
            raise complain(number, "not a user, @, a host and a unique-id, as fetchmail writes them")
        accounts.setdefault((_text(found[2]), _text(found[1])), []).append(found[3])
    return accounts


def _of_account(accounts: dict[tuple[str, str], list[bytes]], host: str, user: str, complain: Complain) -> list[bytes]:
    matching = [uids for (its_host, its_user), uids in accounts.items() if _is_account(its_host, its_user, host, user)]
    if accounts and not matching:
        known = ", ".join(sorted(f"{its_user} on {its_host}" for its_host, its_user in accounts))
        raise complain(0, f"it has {known}, and nothing of {user} on {host}")
    return [uid for uids in matching for uid in uids]


def _is_account(its_host: str, its_user: str, host: str, user: str) -> bool:
    return its_host.lower() == host.lower() and its_user.lower() == user.lower()


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
