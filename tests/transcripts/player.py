"""Plays a transcript to a client of poplib's shape, without a thread and without a clock, and tells what was seen.

Owns the wire (a socket whose other end answers each command with the next reply of the transcript, in pieces of
chosen sizes, and then hangs up) and the comparison of what two modules made of it. Must hold no expectation about
POP3: a transcript may be anything. A client that waits for octets that no command asked for fails at once.
"""

import contextlib
import io
import itertools
import os
import poplib
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

Events = list[tuple[str, tuple[object, ...]]]

_LISTENING: list[Events] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _LISTENING and event.startswith("poplib."):
        _LISTENING[-1].append((event, arguments))


# A hook cannot be taken out again, so it is put in once. Whoever is not listened to any more must not be kept by it:
# the events name sessions.
sys.addaudithook(_hook)


@contextlib.contextmanager
def audited() -> Iterator[Events]:
    """Give a list of the audit events of poplib, as they come in the block."""
    events: Events = []
    _LISTENING.append(events)
    try:
        yield events
    finally:
        _LISTENING.remove(events)


@dataclass(frozen=True)
class Step:
    """One call of a method, and the octets that the server answers with: one reply for each command it sends."""

    reply: bytes | tuple[bytes, ...]
    method: str
    args: tuple[Any, ...] = ()

    @property
    def replies(self) -> tuple[bytes, ...]:
        return (self.reply,) if isinstance(self.reply, bytes) else self.reply


def step(reply: bytes | tuple[bytes, ...], method: str, *args: object) -> Step:
    """Make a `Step` that is read like the call it stands for."""
    return Step(reply, method, args)


@dataclass(frozen=True)
class Returned:
    """A call gave *value*: plain tuples, lists, bytes and so on, each with the name of its type."""

    value: object


@dataclass(frozen=True)
class Raised:
    """A call raised."""

    error: Exception


@dataclass(frozen=True)
class Seen:
    """What could be seen of one call from outside."""

    result: Returned | Raised
    sent: bytes
    events: tuple[tuple[str, tuple[object, ...]], ...]
    printed: str


class Wire(socket.socket):
    """The client's end of a connection to a server that plays *replies*, the first of them unasked.

    Every write is answered with the next reply; *pieces* are the numbers of octets that arrive at a time (over and
    over; all at once without). A client that has read the last reply and wants more finds that the server has hung up.
    """

    # Under the name of the class whose place it takes: whoever knows sockets by their type is to take it for one.
    __module__, __qualname__ = "socket", "socket"

    def __init__(self, replies: Sequence[bytes], pieces: Sequence[int] = ()) -> None:
        near, self._peer = socket.socketpair()
        super().__init__(near.family, near.type, near.proto, near.detach())
        self.sent = b""
        self._replies = list(replies)
        self._pieces = itertools.cycle(pieces) if pieces else None
        self._pending = b""
        self._unread = 0
        self._hung_up = False
        self._answer()

    def sendall(self, data: "ReadableBuffer", flags: int = 0, /) -> None:
        assert not flags
        self.sent += bytes(data)
        self._answer()

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        self._supply(flags)
        octets = super().recv(bufsize, flags)
        self._unread -= 0 if flags else len(octets)
        return octets

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        self._supply(flags)
        count = super().recv_into(buffer, nbytes, flags)
        self._unread -= 0 if flags else count
        return count

    def expect(self, replies: Sequence[bytes]) -> None:
        """Forget the replies that no command has asked for, and go on with *replies*."""
        self._replies = list(replies)

    def hang_up(self) -> None:
        """Close both ends, whatever the client did with its own."""
        self._peer.close()
        if (descriptor := self.detach()) >= 0:
            os.close(descriptor)

    def _answer(self) -> None:
        if self._replies and not self._hung_up:
            self._pending += self._replies.pop(0)
        if self._pieces is None:
            self._push(len(self._pending))

    def _supply(self, flags: int) -> None:
        # A look at what is there, or a read that does not wait, finds only what has arrived.
        if flags or self.gettimeout() == 0 or self._unread:
            return
        if self._pending:
            self._push(next(self._pieces) if self._pieces is not None else len(self._pending))
        elif not self._replies:
            self._peer.shutdown(socket.SHUT_WR)
            self._hung_up = True
        else:
            raise AssertionError("the client waits for octets that no command has asked for")

    def _push(self, count: int) -> None:
        octets, self._pending = self._pending[:count], self._pending[count:]
        self._peer.settimeout(0)  # a transcript larger than the kernel's buffer is an error, not a hang
        self._peer.sendall(octets)
        self._unread += len(octets)


@contextlib.contextmanager
def on_wire(replies: Sequence[bytes], pieces: Sequence[int] = ()) -> Iterator[Wire]:
    """Make every connection, inside the block, one to a server that plays *replies*."""
    wire = Wire(replies, pieces)
    try:
        with mock.patch.object(socket, "create_connection", return_value=wire):
            yield wire
    finally:
        wire.hang_up()


def play(
    module: ModuleType, greeting: bytes, steps: Sequence[Step], *, pieces: Sequence[int] = (), debug: int = 0
) -> list[Seen]:
    """Connect a ``POP3`` of *module* and take the *steps*; what was seen of the constructor comes first."""
    host, port = "pop.example", 110
    with on_wire([greeting], pieces) as wire:
        connections: list[poplib.POP3] = []
        seen = [_look(wire, connections, lambda: connections.append(module.POP3(host, port)))]
        for connection in connections:
            assert connection.getwelcome() is connection.welcome
            connection.set_debuglevel(debug)
            seen.append(_look(wire, connections, connection.getwelcome))
            for one in steps:
                wire.expect(one.replies)
                seen.append(_look(wire, connections, getattr(connection, one.method), *one.args))
            connection.close()
        return seen


def _look(wire: Wire, connections: list[poplib.POP3], call: Callable[..., object], *args: object) -> Seen:
    before = len(wire.sent)
    result: Returned | Raised
    with audited() as heard, contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            result = Returned(_plain(call(*args)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
            result = Raised(error)
    events = []
    for name, (subject, *rest) in heard:
        assert not connections or subject is connections[0]
        assert isinstance(subject, poplib.POP3)
        events.append((name, tuple(rest)))
    return Seen(result, wire.sent[before:], tuple(events), printed.getvalue())


def _plain(value: object) -> object:
    """Return *value* with the names of its types, which are the built-in ones; a tuple may be a named one."""
    if isinstance(value, tuple):
        return ("tuple", *(_plain(item) for item in value))
    if type(value) is list:
        return ("list", *(_plain(item) for item in value))
    if type(value) is dict:
        return ("dict", *((_plain(key), _plain(item)) for key, item in value.items()))
    if value is None or type(value) in {bytes, int, str}:
        return (type(value).__name__, value)
    raise AssertionError(f"no method of poplib gives a {type(value)}: {value!r}")


def plain(value: object) -> Returned:
    """Return what a call that gave *value* is seen to have given."""
    return Returned(_plain(value))


MASKED = {"pass_", "apop"}
"""Methods whose commands are secret: of their debug lines, only the kinds are the same."""


def compare(ours: Sequence[Seen], theirs: Sequence[Seen], methods: Sequence[str]) -> None:
    """Assert that pop3fast did what poplib did, in the constructor, `getwelcome` and each of *methods*."""
    assert len(ours) == len(theirs)
    for our, their, method in zip(ours, theirs, ["__init__", "getwelcome", *methods], strict=False):
        if isinstance(their.result, Raised):
            assert isinstance(our.result, Raised), (method, our, their)
            _compare_errors(our.result.error, their.result.error)
        else:
            assert our.result == their.result, method
        assert our.sent == their.sent, method
        assert our.events == their.events, method
        if method in MASKED:
            assert _kinds(our.printed) == _kinds(their.printed), method
        else:
            assert our.printed == their.printed, method


def _compare_errors(ours: Exception, theirs: Exception) -> None:
    if isinstance(theirs, poplib.error_proto):
        assert isinstance(ours, poplib.error_proto), repr(ours)
    else:
        assert type(ours) is type(theirs), repr(ours)
    assert ours.args == theirs.args
    assert str(ours) == str(theirs)


def _kinds(printed: str) -> list[str]:
    """Return the debug lines, those that show a command without it."""
    return [re.sub(r"^(\*cmd\*|\*put\*).*", r"\1", line) for line in printed.splitlines()]
