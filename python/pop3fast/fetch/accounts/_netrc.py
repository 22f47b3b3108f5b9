"""Netrc: the format of ``~/.netrc``, entry by entry.

Pure. The standard library's ``netrc`` keeps only the last entry of each host; somebody with two mailboxes on one server
has two. Owns the grammar, and quotes nothing of the file in an error: any word of it may be a password.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pop3fast.fetch._errors import SecretError

# In quotes, or up to the next blank. In both, a backslash stands before a character that is meant as it is.
_WORD = r'(?s)"((?:[^"\\]|\\.)*)"|((?:[^\s\\]|\\.)+)'
_NOT_BLANK = r"\S"
_ESCAPED = r"(?s)\\(.)"

_VALUES = frozenset({"login", "user", "account", "password"})


class Login(NamedTuple):
    """A user, and the password."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"


class Entry(NamedTuple):
    """What an entry says; None for what it does not say."""

    host: str | None
    """None: it is for every host."""
    user: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"Entry(host={self.host!r}, user={self.user!r})"


class _Words:
    """The words of a file, and on which line each stands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.place = 0

    def line(self, place: int) -> int:
        return self._text.count("\n", 0, place) + 1

    def next(self, *, comments: bool = False) -> str | None:
        """Return the next word, or None. With *comments* a ``#`` begins one: a password may begin with it, too."""
        while True:
            self._skip_blanks()
            if not (comments and self._text.startswith("#", self.place)):
                break
            self.skip_to("\n")
        found = re.compile(_WORD).match(self._text, self.place)
        if found is None:
            self.place = len(self._text)
            return None
        self.place = found.end()
        return re.sub(_ESCAPED, r"\1", found[2] if found[1] is None else found[1])

    def _skip_blanks(self) -> None:
        found = re.compile(_NOT_BLANK).search(self._text, self.place)
        self.place = len(self._text) if found is None else found.start()

    def skip_to(self, end: str) -> None:
        found = self._text.find(end, self.place)
        self.place = len(self._text) if found < 0 else found + len(end)


def parse_netrc(text: str) -> Iterator[Entry]:
    """Yield the entries of a netrc file. Raises `SecretError`, which names the line that makes no sense."""
    words = _Words(text)
    host: str | None = None
    values: dict[str, str] | None = None
    while (word := words.next(comments=True)) is not None:
        if word in _VALUES and values is not None:
            place = words.place
            value = words.next()
            if value is None:
                raise SecretError(f"line {words.line(place)}: nothing follows {word}")
            values["login" if word == "user" else word] = value
            continue
        if word == "macdef":
            # A macro goes up to the next blank line.
            words.skip_to("\n\n")
            continue
        if word not in {"machine", "default"}:
            raise SecretError(f"line {words.line(words.place)}: an entry begins with machine or default")
        if values is not None:
            yield _entry(host, values)
        host, values = (words.next() or "" if word == "machine" else None), {}
        if host == "":
            raise SecretError(f"line {words.line(words.place)}: machine names no host")
    if values is not None:
        yield _entry(host, values)


def find_login(text: str, host: str, user: str | None) -> Login | None:
    """Return the first entry that a netrc file has for *host* and *user*, or for any user when that is None.

    An entry for a host comes before ``default`` entries, and one that names the user before one that does not. Raises
    `SecretError` when the file makes no sense.
    """
    best: Login | None = None
    best_rank = (-1, -1)
    for entry in parse_netrc(text):
        named = entry.user if user is None else user
        if entry.password is None or named is None or entry.user not in {None, named}:
            continue
        if entry.host is not None and entry.host.lower() != host.lower():
            continue
        rank = (int(entry.host is not None), int(entry.user is not None))
        if rank > best_rank:
            best, best_rank = Login(named, entry.password), rank
    return best


def _entry(host: str | None, values: dict[str, str]) -> Entry:
    return Entry(host, values.get("login"), values.get("password"))
