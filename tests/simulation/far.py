"""Far ends that take messages one by one: a program, an LMTP server and an IMAP server, with the ways of the field.

Owns what arrived there, and of what the sender cannot know that it did: the answer was lost behind it, or whoever sent
it died before it was remembered. The destinations, and what they say over a connection, are the real ones; what is in
here is the other side of `Connection`, and the program itself. Nothing in here waits.
"""

import contextlib
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from io import BytesIO
from socket import AF_UNIX, AddressFamily
from types import SimpleNamespace
from typing import Any, BinaryIO
from unittest import mock

from pop3fast.fetch import MessageDeferred
from pop3fast.fetch.destinations._program import Ended, Program
from pop3fast.fetch.memory._state_rows import _REMEMBER

from .database import FAILED
from .disk import Disk
from .mails import FAR
from .own import OneByOne
from .world import World

PIPE, LMTP, IMAP = FAR
"""The features that make every place one of these kinds."""

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Of which nothing is used: what is said here is not encrypted."""

TIMEOUT = 600.0

URLS = {PIPE: "pipe:deliver {}", LMTP: "lmtp:{}:24", IMAP: "imaps://me@{}/INBOX"}

REFUSED, DEFERRED = 65, 75
"""The exit status of a program that never takes a message, and of one that does not take it now."""


class FarPlace(OneByOne):
    """What arrived at such a destination, in the order in which it came."""

    def __init__(self, world: World, disk: Disk, kind: str, name: str) -> None:
        super().__init__(world, disk, kind, name)
        self._url = URLS[kind].format(name)
        self._arrived: list[bytes] = []
        self._unsaid: list[bytes] = []
        """What was taken, and is not remembered for good yet."""
        self._remembers = ""
        """What of it is going to be, by the transaction under way."""
        world.far[name] = self
        self.takes_literals = world.rng.random() < 0.7
        self.has_uidplus = world.rng.random() < 0.7
        self.takes_many = world.rng.random() < 0.7
        self.pipelines = world.rng.random() < 0.7

    @property
    def words(self) -> str:
        return self._url

    def destination(self) -> str:
        """Return what a new process delivers to."""
        self._unsaid = []
        self.world.on_statement = self._note
        return self._url

    def in_order(self, *, durable: bool = False) -> list[bytes]:
        del durable
        return [*self._arrived]

    def forget_the_last(self) -> None:
        """Note that of what was not remembered nobody knows that it was taken."""
        # It keeps each as done before the next one begins. What an IMAP server has is found.
        if self.kind != IMAP and self._unsaid:
            self.doubtful[self._unsaid.pop()] += 1

    def take(self, text: bytes, *, answered: bool = True) -> None:
        """Keep *text* for good; whether the sender will be *answered*."""
        self.refused.pop(text, None)
        self._arrived.append(text)
        self.world.say(f"{self.kind}: took {text[:60]!r}{'' if answered else ', and nobody is told'}")
        if answered:
            self._unsaid.append(text)
        elif self.kind != IMAP:
            self.doubtful[text] += 1

    def refuses(self, text: bytes) -> bool:
        """Return whether it will never take *text*."""
        if self.world.chance("refusals", 0.1):
            self.refused[text] = text
            return True
        return False

    def defers(self) -> bool:
        """Return whether it takes nothing now."""
        return self.world.chance("in use", 0.1)

    def run(self, write: Callable[[BinaryIO], object]) -> Ended:
        """Be the program that gets a message."""
        world = self.world
        world.step("far run")
        file = BytesIO()
        write(file)
        text = file.getvalue()
        if self.refuses(text):
            return Ended(REFUSED, "no such message")
        if self.defers():
            return Ended(DEFERRED, "not now")
        for feature, why in (("kills", ""), ("silence", "took more than 600 seconds, and was ended")):
            if world.chance(feature, 0.1):
                if world.rng.random() < 0.5:
                    self.take(text, answered=False)
                if why:
                    world.clock.pause(TIMEOUT)
                    raise MessageDeferred(why)
                return Ended(-9, "")
        self.take(text)
        world.step("far ran")
        return Ended(0, "")

    def connect(self) -> "FarSocket":
        """Return a new connection to the server."""
        if self.world.chance("hang-ups", 0.1):
            raise ConnectionRefusedError(111, "Connection refused")
        return FarSocket(self, (LmtpEnd if self.kind == LMTP else ImapEnd)(self))

    def messages(self) -> list[bytes]:
        """Return what is there, which an IMAP server numbers from 1."""
        return self._arrived

    def _note(self, statement: str) -> None:
        if statement == FAILED:
            # The session may be lost at the same time, and the next one finds a state that works.
            self.forget_the_last()
        elif statement.startswith("BEGIN"):
            self._remembers = ""
        elif statement == _REMEMBER:
            self._remembers = "all"
        elif statement.startswith("INSERT INTO handled"):
            self._remembers = "the last"
        elif statement == "COMMIT":
            del self._unsaid[-1 if self._remembers == "the last" else len(self._unsaid) * (not self._remembers) :]


class End:
    """One connection, seen from the server."""

    def __init__(self, place: FarPlace) -> None:
        self.place = place
        self.out = b""
        self.gone = ""
        """Whether it has hung up, or says nothing more."""
        self._rest = b""

    def receive(self, octets: bytes) -> None:
        """Take what the sender sent."""
        self._rest += octets
        while not self.gone and self.step():
            pass

    def step(self) -> bool:
        """Do what can be done with what has come; return whether anything was."""
        raise NotImplementedError

    def line(self) -> bytes | None:
        """Return the next line, None before it is whole."""
        line, end, rest = self._rest.partition(b"\r\n")
        if not end:
            return None
        self._rest = rest
        return line

    def put(self, texts: list[bytes], good: bytes, later: bytes, never: bytes) -> None:
        """Take all messages or none, and answer; or be lost before or behind that."""
        place, world = self.place, self.place.world
        lost = world.chance("hang-ups", 0.1) or world.chance("silence", 0.05)
        if lost:
            self.gone = "hang-ups" if "hang-ups" in world.features else "silence"
            if world.rng.random() < 0.5:
                for text in texts:
                    place.take(text, answered=False)
        elif any(place.refuses(text) for text in texts):
            self.out += never
        elif place.defers():
            self.out += later
        else:
            for text in texts:
                place.take(text)
            self.out += good


class LmtpEnd(End):
    """A connection to an LMTP server."""

    def __init__(self, place: FarPlace) -> None:
        super().__init__(place)
        self.out = b"220 ready\r\n"
        self._in_data = False

    def step(self) -> bool:
        if self._in_data:
            content, end, rest = (b"\r\n" + self._rest).partition(b"\r\n.\r\n")
            if not end:
                return False
            self._rest, self._in_data = rest, False
            text = (content + b"\r\n").replace(b"\r\n.", b"\r\n")[2:]
            self.put([text], b"250 taken\r\n", b"451 not now\r\n", b"554 never\r\n")
            return True
        line = self.line()
        if line is None:
            return False
        match line[:4]:
            case b"LHLO":
                self.out += b"250-far\r\n" + b"250-PIPELINING\r\n" * self.place.pipelines + b"250 8BITMIME\r\n"
            case b"RCPT" if self.place.defers():
                self.out += b"450 not now\r\n"
            case b"DATA":
                self._in_data = True
                self.out += b"354 go on\r\n"
            case b"QUIT":
                self.gone = "hang-ups"
            case _:
                self.out += b"250 done\r\n"
        return True


class ImapEnd(End):
    """A connection to an IMAP server, with one folder."""

    def __init__(self, place: FarPlace) -> None:
        super().__init__(place)
        self.out = b"* OK ready\r\n"
        self._append: tuple[bytes, int] | None = None
        """The tag of an APPEND, and the octets of the message that is on its way."""
        self._texts: list[bytes] = []

    def step(self) -> bool:
        if self._append is not None:
            return self._step_in_append(*self._append)
        line = self.line()
        if line is None:
            return False
        tag, _, command = line.partition(b" ")
        if found := re.fullmatch(rb"APPEND .* \{(\d+)(\+?)\}", command):
            self._append = (tag, int(found[1]))
            self.out += b"" if found[2] else b"+ go on\r\n"
            return True
        self.out += self._said_to(command) + tag + b" OK done\r\n"
        return True

    def _step_in_append(self, tag: bytes, octets: int) -> bool:
        rest = self._rest[octets:]
        if not (found := re.match(rb'\r\n| "[^"]*" \{(\d+)\+\}\r\n', rest)):
            return False
        self._texts.append(self._rest[:octets])
        self._rest = rest[found.end() :]
        if found[1]:
            self._append = (tag, int(found[1]))
            return True
        texts, self._texts, self._append = self._texts, [], None
        first = len(self.place.messages()) + 1
        last = first + len(texts) - 1
        uids = b"%d" % first if last == first else b"%d:%d" % (first, last)
        code = b"[APPENDUID 7 %s] " % uids if self.place.has_uidplus else b""
        self.put(texts, tag + b" OK " + code + b"taken\r\n", tag + b" NO not now\r\n", tag + b" BAD never\r\n")
        return True

    def _said_to(self, command: bytes) -> bytes:
        if command == b"CAPABILITY":
            more = b" LITERAL+" * self.place.takes_literals + b" MULTIAPPEND" * self.place.takes_many
            return b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN" + more + b"\r\n"
        if found := re.fullmatch(rb'UID SEARCH LARGER (\d+) SMALLER (\d+)(?: HEADER Message-ID "(.*)")?', command):
            uids = [
                b" %d" % uid
                for uid, text in enumerate(self.place.messages(), 1)
                if int(found[1]) < len(text) < int(found[2]) and (found[3] or b"") in text
            ]
            return b"* SEARCH" + b"".join(uids) + b"\r\n"
        if found := re.fullmatch(rb"UID FETCH (\d+) BODY\.PEEK\[HEADER\]", command):
            header, empty, _ = self.place.messages()[int(found[1]) - 1].partition(b"\r\n\r\n")
            return b"* 1 FETCH (UID %s BODY[HEADER] {%d}\r\n%s)\r\n" % (found[1], len(header + empty), header + empty)
        return b""


class FarSocket:
    """What a destination has in the place of a socket, and of the file that is read from it."""

    family: AddressFamily = AF_UNIX

    def __init__(self, place: FarPlace, end: End) -> None:
        self._world = place.world
        self._end = end
        self._octets_left = place.world.rng.randrange(2000) if place.world.chance("hang-ups", 0.2) else 2**62

    def makefile(self, _mode: str) -> "FarSocket":
        return self

    def sendall(self, octets: bytes) -> None:
        self._world.step("far send")
        if self._end.gone == "hang-ups" and self._world.rng.random() < 0.5:
            raise BrokenPipeError(32, "Broken pipe")
        came = octets[: self._octets_left]
        self._octets_left -= len(octets)
        self._end.receive(came)
        if self._octets_left < 0:
            self._end.gone = "hang-ups"

    def readline(self, most: int) -> bytes:
        self._world.step("far receive")
        return self.read(min(most, self._end.out.find(b"\n") + 1))

    def read(self, octets: int) -> bytes:
        end = self._end
        if not end.out and end.gone != "hang-ups":
            self._world.clock.pause(TIMEOUT)
            raise TimeoutError("timed out")
        found, end.out = end.out[:octets], end.out[octets:]
        return found

    def shutdown(self, _how: int) -> None:
        self._end.gone = "hang-ups"

    def close(self) -> None:
        self._end.gone = "hang-ups"


class OneBehind(Executor):
    """Does each work when the next one comes or somebody waits for it, in one thread."""

    def __init__(self) -> None:
        self._waiting: Callable[[], object] = lambda: None

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":  # noqa: ANN401
        future = Awaited(self.catch_up)
        self.catch_up()
        self._waiting = lambda: future.come(lambda: work(*arguments, **named))
        return future

    def catch_up(self) -> None:
        """Do what waits."""
        waiting, self._waiting = self._waiting, lambda: None
        waiting()


class Awaited(Future[Any]):
    """What becomes of a work."""

    def __init__(self, catch_up: Callable[[], None]) -> None:
        super().__init__()
        self._catch_up = catch_up

    def come(self, work: Callable[[], object]) -> None:
        """Do the *work*."""
        try:
            self.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            self.set_exception(error)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._catch_up()
        return super().exception(timeout)


@contextlib.contextmanager
def far_ends(world: World) -> Iterator[None]:
    """Put the far ends of *world* in the place of programs and servers."""

    def place(name: str) -> FarPlace:
        found = world.far[name]
        assert isinstance(found, FarPlace)
        return found

    def run(program: Program, write: Callable[[BinaryIO], object], _environment: Mapping[str, str]) -> Ended:
        return place(program._command[-1]).run(write)

    def connected(where: tuple[str, int], timeout: float = 0.0) -> FarSocket:
        del timeout
        return place(where[0]).connect()

    kinds = "pop3fast.fetch.destinations"
    with contextlib.ExitStack() as stack:
        # The next message is received beside this one, by another thread.
        stack.enter_context(mock.patch(f"{kinds}._at_once.ThreadPoolExecutor", return_value=OneBehind()))
        stack.enter_context(mock.patch.object(Program, "open"))
        stack.enter_context(mock.patch.object(Program, "run", run))
        stack.enter_context(mock.patch(f"{kinds}._lmtp_session._connected", connected))
        stack.enter_context(mock.patch(f"{kinds}._imap_session.socket", SimpleNamespace(create_connection=connected)))
        stack.enter_context(mock.patch(f"{kinds}._connection.Connection.secure"))
        yield


def is_far(features: frozenset[str]) -> bool:
    """Return whether every place is a far one."""
    return not features.isdisjoint(FAR)


def kind_of(features: frozenset[str]) -> str:
    """Return of which kind every place is."""
    return next(kind for kind in FAR if kind in features)
