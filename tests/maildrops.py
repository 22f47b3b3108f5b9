"""What the tests of whole fetches share: a maildrop that does as it is told, a clock that takes no time, accounts.

Owns no test. `Maildrop` is the replies of a ScriptedServer: a server with unique-ids of any octets, each of whose
replies a test can exchange for another.
"""

import mailbox
from collections.abc import Callable, Iterable
from pathlib import Path

from pop3fast.fetch import Account, FetchReport, Options
from pop3fast.fetch._files import Files
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.memory._age import DAY_SECONDS
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer

Instead = Callable[[bytes], bytes | Reply | None]
"""From a command to what is answered instead of the usual, or None."""


def mail(number: int, octets: int = 40) -> bytes:
    """Return a message like no other, as it is sent."""
    header = b"From: a@example.org\r\nSubject: %d\r\nMessage-ID: <%d@example.org>\r\n\r\n" % (number, number)
    return header + b"x" * octets + b"\r\n"


class Maildrop:
    """A POP3 server's replies. *messages* are unique-id and content, and may be changed between two sessions."""

    def __init__(self, *messages: tuple[bytes, bytes], capabilities: bytes = b"TOP\r\nUIDL\r\n") -> None:
        self.messages = list(messages)
        self.capabilities = capabilities
        self.instead: Instead = lambda _: None
        self.sizes: dict[bytes, int] = {}
        """By unique-id, what LIST says instead of the truth."""
        self.commands: list[bytes] = []
        self.sessions = 0
        self._marked: set[int] = set()

    def __call__(self, command: bytes) -> bytes | Reply:  # noqa: C901, PLR0911 - a command each
        self.commands.append(command)
        if (reply := self.instead(command)) is not None:
            return reply
        verb, _, argument = command.partition(b" ")
        if verb == b"PASS":
            self.sessions += 1
            self._marked = set()
        number = int(argument.split()[0]) if argument[:1].isdigit() else 0
        match verb:
            case b"CAPA":
                return b"+OK\r\n" + self.capabilities + b".\r\n"
            case b"UIDL":
                return self._lines(uid for uid, _ in self.messages)
            case b"LIST":
                return self._lines(b"%d" % self.sizes.get(uid, len(content)) for uid, content in self.messages)
            case b"STAT":
                octets = sum(self.sizes.get(uid, len(content)) for uid, content in self.messages)
                return b"+OK %d %d\r\n" % (len(self.messages), octets)
            case b"RETR":
                return self.content(number)
            case b"TOP":
                header, _, _ = self.messages[number - 1][1].partition(b"\r\n\r\n")
                return b"+OK\r\n" + header + b"\r\n\r\n.\r\n"
            case b"DELE":
                self._marked.add(number)
            case b"QUIT":
                self.commit()
                return Reply(b"+OK bye\r\n", then="fin")
        return b"+OK\r\n"

    def content(self, number: int) -> bytes:
        """Return the whole reply to RETR."""
        return b"+OK\r\n" + self.messages[number - 1][1].replace(b"\r\n.", b"\r\n..") + b".\r\n"

    def commit(self) -> None:
        """Remove what is marked."""
        self.messages = [each for number, each in enumerate(self.messages, 1) if number not in self._marked]
        self._marked = set()

    def sent(self, verb: bytes) -> list[bytes]:
        """Return the commands that began with *verb*."""
        return [command for command in self.commands if command.split()[0] == verb]

    def _lines(self, texts: Iterable[bytes]) -> bytes:
        lines = b"".join(b"%d %s\r\n" % (number, text) for number, text in enumerate(texts, 1))
        return b"+OK\r\n" + lines + b".\r\n"


class FastClock:
    """A clock whose pauses are over at once, and remembered."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.time

    def date(self) -> float:
        return 1_800_000_000.0 + self.time

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds


class RushingClock(FastClock):
    """A clock that stands still until `rushes` is set; then so many *seconds* pass at each look."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.rushes = False
        self.seconds = seconds

    def now(self) -> float:
        if self.rushes:
            self.time += self.seconds
        return self.time


class InterruptedClock(FastClock):
    """A clock that says the word to *stop* in the third pause, and remembers the pauses behind it."""

    def __init__(self, stop: Stop) -> None:
        super().__init__()
        self.stop = stop
        self.late: list[float] = []

    def pause(self, seconds: float) -> None:
        super().pause(seconds)
        if len(self.pauses) == 3:
            self.stop.say()
        if len(self.pauses) > 3:
            self.late.append(seconds)


NEVER = 1e6
"""Seconds that no test waits: what has this time-out and ends all the same was ended by something else."""


def account_of(server: MailboxServer | ScriptedServer, timeout: float = 10) -> Account:
    """Return the account that *server* has."""
    return Account(f"pop3+plain://{server.host}:{server.port}", user="user", password="password", timeout=timeout)


def fetch_from(
    server: MailboxServer | ScriptedServer,
    destination: str,
    options: Options | None = None,
    *,
    clock: FastClock | None = None,
    files: Files | None = None,
    timeout: float = 10,
) -> FetchReport:
    """Fetch once, with a clock that takes no time."""
    job = Job(account_of(server, timeout), destination, None, options or Options())
    return run_job(job, Surroundings(clock or FastClock(), files or Files(), Stop()))


def delivered(destination: str) -> list[bytes]:
    """Return the contents of what is at *destination*, in order, with the line ends of the wire."""
    kind, _, name = destination.partition(":")
    path = Path(name)
    if kind == "mbox":
        box = mailbox.mbox(path)
        try:
            found = [box.get_bytes(key).replace(b"\n>From ", b"\nFrom ") for key in box.keys()]  # noqa: SIM118
        finally:
            box.close()
    elif kind == "eml":
        return sorted(file.read_bytes() for file in path.glob("*.eml"))
    else:
        found = [file.read_bytes() for file in [*path.glob("new/*"), *path.glob("cur/*")]]
    return sorted(octets.replace(b"\n", b"\r\n") for octets in found)


def numbered(*numbers: int, capabilities: bytes = b"TOP\r\nUIDL\r\n") -> Maildrop:
    """Return a maildrop whose unique-ids are message numbers; all messages have the same size."""
    return Maildrop(*as_numbered(*numbers), capabilities=capabilities)


def as_numbered(*numbers: int) -> list[tuple[bytes, bytes]]:
    """Return the messages of such a maildrop."""
    return [(b"%d" % place, mail(number)) for place, number in enumerate(numbers, 1)]


def named(*numbers: int) -> Maildrop:
    """Return a maildrop whose unique-ids last."""
    return Maildrop(*((b"unique-id-of-%06d" % number, mail(number)) for number in numbers))


def days(number: float) -> FastClock:
    """Return a clock that shows a date so many days later."""
    clock = FastClock()
    clock.time += number * DAY_SECONDS
    return clock


def refuse_top(drop: Maildrop) -> None:
    """Let *drop* refuse TOP."""
    drop.instead = lambda command: b"-ERR unknown\r\n" if command.startswith(b"TOP") else None
