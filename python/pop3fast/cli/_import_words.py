"""What the configurations of other programs have in common: a table of ours, servers, sizes, commands for a shell.

Owns how they are said here. Nothing is guessed: what is not understood is noted.
"""

import os
import re
import shlex
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

from pop3fast.cli._settings import expanded

Value = str | int | float | bool

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")

_PORTS = {"pop3s": "995", "pop3": "110", "pop3+plain": "110"}


@dataclass
class Table:
    """An account, as far as a file of another program says what it is."""

    name: str
    values: dict[str, tuple[Value, str]] = field(default_factory=dict)
    """Each key's value, and what is to be said beside it."""
    notes: list[str] = field(default_factory=list)
    """What is said before the keys: above all what has no counterpart."""

    def say(self, key: str, value: Value, why: str = "") -> None:
        """Let *key* have *value*."""
        self.values[key] = (value, why)

    def say_number(self, key: str, text: str | None) -> None:
        """Let *key* have the number that *text* is; none, 0 and words such as "off" say nothing."""
        if text is not None and text.isdecimal() and int(text):
            self.say(key, int(text))

    def lacks(self, line: int, what: str, instead: str = "") -> None:
        """Note that what stands on a *line* has no counterpart; *what* holds no secret."""
        self.notes.append(f"line {line}: {what}: {instead or 'no counterpart'}")

    def import_seen(self, path: str) -> None:
        """Let the messages not be new that the file at *path* names, if it is there."""
        if os.path.exists(expanded(path)):  # noqa: PTH110 - a path is a str in this package
            self.say("import-seen", path, "may go when the first fetch has ended well")
        else:
            self.notes.append(f"there is no {path}: what was fetched before would come again")

    def say_fingerprint(self, line: int, what: str, text: str) -> None:
        """Trust the certificate with this fingerprint, if it is a SHA-256 and the only one."""
        plain = text.strip("()'\", ").replace(":", "")
        if _SHA256.fullmatch(plain):
            self.say("fingerprint", plain)
        else:
            self.lacks(line, what, "it is no SHA-256, or several; ca-file trusts a file of certificates")


class Server(NamedTuple):
    """Where a mailbox is."""

    host: str
    port: str | None
    user: str | None


def url_of(server: Server, scheme: str) -> str:
    """Return the URL of a maildrop."""
    host = f"[{server.host}]" if ":" in server.host else quote(server.host, safe="")
    user = "" if server.user is None else f"{quote(server.user, safe='')}@"
    port = "" if server.port is None or server.port == _PORTS[scheme] else f":{server.port}"
    return f"{scheme}://{user}{host}{port}"


def size_of(text: str, unit: int) -> int:
    """Return a size in octets: so many of *unit*, or with a letter behind it."""
    number = "".join(character for character in text if character.isdigit()) or "0"
    letters = text.strip().lower().removesuffix("b").lstrip("0123456789 ")
    return int(number) * {"": unit, "k": 1024, "m": 1024**2, "g": 1024**3}.get(letters[:1], unit)


def without_shell(command: str) -> str:
    """Return a command that does without a shell what *command* does in one."""
    # Behind = there may be a value of the environment.
    return shlex.join(["sh", "-c", command]) if set(command) & set("|&;<>()$`~*?\\=#!{}[]\n") else command


def shell_pipe(command: str) -> str:
    """Return the destination that has a shell run *command* for each message, as these programs do."""
    return f"pipe:{shlex.join(['sh', '-c', command])}"
