"""`pop3fast import-config`: the configuration of fetchmail, getmail or mpop as one of pop3fast.

Owns the form of what is written, and which program a file is of. What has no counterpart here is never left out in
silence: it is a comment with the number of its line. A password is written into a file, and to no terminal.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from pop3fast.cli._import_words import Table, Value
from pop3fast.cli._text import UsageError, printable, say
from pop3fast.fetch import SecretError
from pop3fast.fetch.accounts._private import no_utf8, read_contents

_KIND_OF_LINE = re.compile(
    r"^\s*(?:(?P<getmail>\[(?:retriever|destination)\])"
    r"|(?P<fetchmail>(?:poll|skip|server)\s|defaults\s+\S|set\s+\w+)"
    r"|(?P<mpop>account\s|defaults\s*$|host\s))",
    re.IGNORECASE,
)

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def import_config(path: str) -> int:
    """Write the configuration in the file at *path* as one of pop3fast; return the exit status. Raises `UsageError`."""
    try:
        octets = read_contents(path).octets
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except SecretError as error:
        raise UsageError(str(error)) from None
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is {no_utf8(octets)}") from None
    program, read = _reader(path, text)
    tables = read(text, Path(path).stem)
    say(f"# From {program}'s {printable(path)}. Read it over; then `pop3fast check` tries it.")
    taken: set[str] = set()
    for table in tables:
        say(_toml(table, _free(table.name, taken)))
    if not tables:
        say(f"# {program}: no mailbox here is fetched by POP3.")
    return 0


def _reader(path: str, text: str) -> tuple[str, Callable[[str, str], list[Table]]]:
    found = next(filter(None, map(_KIND_OF_LINE.match, text.splitlines())), None)
    if found is None:
        raise UsageError(f"{path} is no fetchmailrc, getmailrc or mpoprc")
    if found["getmail"]:
        from pop3fast.cli._import_getmail import read_getmail  # noqa: PLC0415 - one of three

        return "getmail", read_getmail
    if found["fetchmail"]:
        from pop3fast.cli._import_fetchmail import read_fetchmail  # noqa: PLC0415 - one of three

        return "fetchmail", read_fetchmail
    from pop3fast.cli._import_mpop import read_mpop  # noqa: PLC0415 - one of three

    return "mpop", read_mpop


def _free(name: str, taken: set[str]) -> str:
    """Return *name*, or one like it that no other table has."""
    base = name if name and name != "defaults" else f"{name}1"
    free, number = base, 1
    while free in taken:
        number += 1
        free = f"{base}-{number}"
    taken.add(free)
    return free


def _toml(table: Table, name: str) -> str:
    lines = ["", f"[{name if _NAME.fullmatch(name) else _quoted(name)}]"]
    lines += [f"# {printable(note)}" for note in table.notes]
    for key, (value, why) in table.values.items():
        if key == "password" and sys.stdout.isatty():
            lines.append("# password: not shown at a terminal; write the output into a file, or use password-command")
            continue
        lines.append(f"{key} = {_shown(value)}{f'  # {printable(why)}' if why else ''}")
    return "\n".join(lines)


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """Return *text* as a basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
