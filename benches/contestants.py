"""The programs that get mail down, each with a configuration of its own and nothing of the machine's or the user's.

Owns how each is told to fetch everything from one maildrop into one Maildir, durably, deleting nothing. ``safecat``,
which syncs each file, delivers for fetchmail, which has no delivery to files of its own.
"""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "poplib + mailbox.Maildir"
"""The first row."""
OURS = "pop3fast fetch"

_POPLIB_AND_MAILBOX = """
import mailbox, poplib, sys
host, port, user, password, folder = sys.argv[1:]
pop = poplib.POP3(host, int(port))
pop.user(user)
pop.pass_(password)
maildir = mailbox.Maildir(folder)
for number in range(1, pop.stat()[0] + 1):
    maildir.add(b"\\n".join([*pop.retr(number)[1], b""]))
pop.quit()
"""

_GETMAIL = """[retriever]
type = SimplePOP3Retriever
server = {host}
port = {port}
username = {user}
password = {password}
timeout = 300

[destination]
{destination}

[options]
read_all = true
delete = false
verbose = 0
delivered_to = false
received = false
"""

_FETCHMAIL = """poll {host} service {port} protocol pop3 username "{user}" password "{password}"
  fetchall keep no rewrite no idle sslproto '' {delivery}
"""


@dataclass(frozen=True)
class Maildrop:
    """Where a program is to fetch from, and into which folder."""

    host: str
    port: int
    user: str
    password: str
    home: Path

    @property
    def folder(self) -> Path:
        """The Maildir."""
        return self.home / "Maildir"

    def make_folder(self) -> None:
        """Make it, empty."""
        for name in ("tmp", "new", "cur"):
            (self.folder / name).mkdir(parents=True, mode=0o700)

    def fill(self, template: str, name: str, **more: str) -> Path:
        """Write the configuration that *template* makes, private as the programs want it; return its path."""
        path = self.home / name
        path.touch(mode=0o600)
        path.write_text(template.format(**vars(self), **more), encoding="utf-8")
        return path


@dataclass(frozen=True)
class Program:
    """A program, the commands it needs on the machine, and what starts it."""

    name: str
    needs: tuple[str, ...]
    command: Callable[[Maildrop], list[str]]
    not_as_root: bool = False

    @property
    def missing(self) -> list[str]:
        """What of it the machine lacks."""
        return [name for name in self.needs if shutil.which(name) is None]


def _ours(drop: Maildrop) -> list[str]:
    url = f"pop3+plain://{drop.user}@{drop.host}:{drop.port}"
    return [sys.executable, "-m", "pop3fast", "fetch", url, "--to", f"maildir:{drop.folder}", "--quiet"]


def _poplib(drop: Maildrop) -> list[str]:
    return [
        *(sys.executable, "-c", _POPLIB_AND_MAILBOX),
        *(drop.host, str(drop.port), drop.user, drop.password, str(drop.folder)),
    ]


def mpop(drop: Maildrop, delivery: str) -> list[str]:
    """Return what starts mpop, which is to deliver everything as *delivery* says in its words."""
    options = {
        "host": drop.host,
        "port": drop.port,
        "auth": "user",
        "user": drop.user,
        "passwordeval": f"echo {drop.password}",
        "tls": "off",
        "keep": "on",
        "uidls-file": drop.home / "uidls",
        "received-header": "off",
        "delivery": delivery,
    }
    return ["mpop", "--quiet", *(f"--{name}={value}" for name, value in options.items())]


def getmail(drop: Maildrop, destination: str) -> list[str]:
    """Return what starts getmail, which is to deliver everything to *destination*, the lines of its section."""
    path = drop.fill(_GETMAIL, "getmailrc", destination=destination)
    return ["getmail", "--quiet", f"--getmaildir={drop.home}", f"--rcfile={path}"]


def fetchmail(drop: Maildrop, delivery: str) -> list[str]:
    """Return what starts fetchmail, which is to deliver everything as *delivery* says in its words."""
    path = drop.fill(_FETCHMAIL, "fetchmailrc", delivery=delivery)
    return ["fetchmail", "--silent", "--nosyslog", f"--fetchmailrc={path}", f"--idfile={drop.home}/fetchids"]


PROGRAMS = (
    Program(PROGRAM, (), _poplib),
    Program(OURS, (), _ours),
    Program("mpop", ("mpop",), lambda drop: mpop(drop, f"maildir,{drop.folder}")),
    Program(
        "getmail6",
        ("getmail",),
        lambda drop: getmail(drop, f"type = Maildir\npath = {drop.folder}/"),
        not_as_root=True,
    ),
    Program(
        "fetchmail, safecat",
        ("fetchmail", "safecat"),
        lambda drop: fetchmail(drop, f'mda "safecat {drop.folder}/tmp {drop.folder}/new"'),
    ),
)
