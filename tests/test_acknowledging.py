"""A server that holds back a piece of its reply until the one before is acknowledged does not wait for us.

Nothing here looks at a clock: a socket counts what it is asked for, and says how the kernel stands at each wait.
"""

import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from pop3fast import POP3, _handshake
from pop3fast._socket import RECEIVE_SIZE
from pop3fast._stream import RECORD_OCTETS, ReplyStream
from pop3fast.testing import CERTIFICATE
from test_stream import secured

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

QUICK = getattr(socket, "TCP_QUICKACK", -1)
if QUICK < 0:
    pytest.skip("only Linux can be told to acknowledge", allow_module_level=True)

REPLY = (b"+OK 12 octets\r\n", b"From: a\r\n", b"\r\n", b"b\r\n", b".\r\n")


class Recorder:
    """Our end of a connection, whose other end sends its next piece whenever ours begins to wait for one."""

    def __init__(self) -> None:
        self.pieces: deque[bytes] = deque()
        self.theirs: socket.socket | None = None
        self.events: list[str] = []
        self.quick_at_waits: list[bool] = []

    def set_option(self, level: int, option: int) -> None:
        if (level, option) == (socket.IPPROTO_TCP, QUICK):
            self.events.append("acknowledge")

    def wait(self, ours: socket.socket) -> None:
        if not ours.gettimeout():
            return
        self.events.append("wait")
        self.quick_at_waits.append(bool(ours.getsockopt(socket.IPPROTO_TCP, QUICK)))
        if self.theirs is not None:
            self.theirs.sendall(self.pieces.popleft())

    def counts(self) -> list[int]:
        """Return how often something was acknowledged before each wait, and forget it all."""
        text = "".join({"acknowledge": "a", "wait": "w"}[event] for event in self.events)
        self.events.clear()
        self.quick_at_waits.clear()
        return [len(before) for before in text.split("w")[:-1]]


class RecordedSocket(socket.socket):
    # Under the name of the class whose place it takes, by which the client knows a socket.
    __module__, __qualname__ = "socket", "socket"

    recorder: Recorder

    def setsockopt(self, *arguments: Any) -> None:  # noqa: ANN401 - as poplib's users may call it
        self.recorder.set_option(*arguments[:2])
        super().setsockopt(*arguments)

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        self.recorder.wait(self)
        return super().recv_into(buffer, nbytes, flags)


class RecordedTLSSocket(ssl.SSLSocket):
    __module__, __qualname__ = "ssl", "SSLSocket"  # likewise

    recorder: Recorder

    def setsockopt(self, *arguments: Any) -> None:  # noqa: ANN401 - as above
        self.recorder.set_option(*arguments[:2])
        super().setsockopt(*arguments)

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        self.recorder.wait(self)
        return super().recv_into(buffer, nbytes, flags)


class Line:
    """A connection to a server that sends in pieces what the test gives it."""

    def __init__(self, ours: RecordedSocket | RecordedTLSSocket, theirs: socket.socket) -> None:
        self.ours = ours
        self.recorder = ours.recorder = Recorder()
        self.recorder.theirs = theirs

    def client(self, *pieces: bytes, kind: type[POP3] = POP3) -> POP3:
        ours = self.ours

        class Given(kind):  # type: ignore[misc, valid-type]
            def _create_socket(self, timeout: float | None) -> socket.socket:  # noqa: ARG002 - poplib's signature
                return ours

        self.recorder.pieces.extend([b"+OK hi\r\n", *pieces])
        pop: POP3 = Given("host")
        assert pop.getwelcome() == b"+OK hi"
        return pop

    def stream(self) -> ReplyStream:
        """Return a stream that has had its greeting."""
        stream = ReplyStream.of_socket(self.ours)
        self.recorder.pieces.append(b"+OK hi\r\n")
        assert stream.status_line(100) == b"+OK hi"
        self.ask(stream)
        self.recorder.counts()
        return stream

    def ask(self, stream: ReplyStream, *pieces: bytes) -> None:
        assert stream.unexpected() == b""
        self.ours.sendall(b"RETR 1\r\n")
        self.recorder.pieces.extend(pieces)


@pytest.fixture(params=["plain", "TLS"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ours: socket.socket = stack.enter_context(RecordedSocket())
        ours.recorder = Recorder()  # type: ignore[attr-defined]
        ours.settimeout(5)
        ours.connect(listener.getsockname())
        theirs, _ = listener.accept()
        stack.enter_context(theirs)
        theirs.settimeout(5)
        if request.param == "TLS":
            ours, theirs = secured(ours, theirs, RecordedTLSSocket)
            stack.enter_context(ours)
            stack.enter_context(theirs)
        assert isinstance(ours, RecordedSocket | RecordedTLSSocket)
        yield Line(ours, theirs)


def test_quirk_q131_a_piece_is_acknowledged_before_the_next_is_waited_for(line: Line) -> None:
    stream = line.stream()
    for _ in range(3):
        line.ask(stream, *REPLY)
        assert stream.bytes_response(100, 100) == (b"+OK 12 octets", b"From: a\r\n\r\nb\r\n")
        assert line.recorder.quick_at_waits[1:] == [True] * 4
        assert line.recorder.counts() == [0, 1, 1, 1, 1]


def test_a_reply_that_comes_whole_costs_nothing(line: Line) -> None:
    stream = line.stream()
    for _ in range(3):
        line.ask(stream, b"".join(REPLY))
        assert stream.bytes_response(100, 100) == (b"+OK 12 octets", b"From: a\r\n\r\nb\r\n")
        assert line.recorder.counts() == [0]


def test_a_reply_that_is_there_already_costs_nothing(line: Line) -> None:
    stream = line.stream()
    line.ask(stream, b"".join(REPLY) * 3)
    for _ in range(3):
        stream.bytes_response(100, 100)
    assert line.recorder.counts() == [0]


def test_a_body_read_by_lines_is_acknowledged_line_by_line(line: Line) -> None:
    stream = line.stream()
    line.ask(stream, *REPLY)
    assert [stream.readline() for _ in REPLY] == list(REPLY)
    assert line.recorder.quick_at_waits[1:] == [True] * 4
    assert line.recorder.counts() == [0, 1, 1, 1, 1]


def test_the_greeting_is_waited_for_with_all_before_it_acknowledged(line: Line) -> None:
    # Session tickets may come before it, which Nagle's algorithm has it wait behind.
    stream = ReplyStream.of_socket(line.ours)
    line.recorder.pieces.append(b"+OK hi\r\n")
    stream.status_line(100)
    assert line.recorder.counts() == [1]


def test_session_tickets_are_acknowledged_before_the_first_reply_of_a_session_turned_to_tls(line: Line) -> None:
    stream = ReplyStream.of_socket(line.ours)  # as after STLS, which no greeting follows
    tls = isinstance(line.ours, ssl.SSLSocket)
    for acknowledged in ([1 if tls else 0], [0]):
        line.ask(stream, b"+OK\r\n")
        stream.status_line(100)
        assert line.recorder.counts() == acknowledged


class Reads:
    """In the place of a socket's ``recv_into``: gives what it is told to, of which some fills a read to its brim."""

    def __init__(self, line: Line) -> None:
        self._recorder = line.recorder
        # Of TLS, a read takes records as long as there is room for a whole one.
        self.full = RECEIVE_SIZE - (RECORD_OCTETS - 1 if isinstance(line.ours, ssl.SSLSocket) else 0)
        self.coming: deque[bytes] = deque()

    def __call__(self, buffer: memoryview) -> int:
        self._recorder.events.append("wait")
        octets = self.coming.popleft()
        buffer[: len(octets)] = octets
        return len(octets)

    def filled(self, begin: bytes, end: bytes = b"") -> bytes:
        return begin + b"x" * (self.full - len(begin) - len(end)) + end


def test_of_a_long_body_only_reads_that_end_short_are_acknowledged(line: Line) -> None:
    # Who reads all that a read can hold hardly waits for the next one, and has told the kernel before. A single record
    # of TLS is not all.
    short = b"x" * RECORD_OCTETS
    stream = line.stream()
    stream._receive_into = reads = Reads(line)
    for _ in range(2):
        reads.coming.extend([b"+OK\r\n", reads.filled(b""), reads.filled(b""), short, reads.filled(b""), b"\r\n.\r\n"])
        line.ask(stream)
        assert stream.status_line(100) == b"+OK"
        assert len(stream.octets(2**30)) == 3 * reads.full + len(short) + 2
        assert line.recorder.counts() == [0, 1, 0, 0, 1, 0]


def test_a_read_that_was_full_is_acknowledged_where_a_command_made_the_kernel_forget(line: Line) -> None:
    stream = line.stream()
    stream._receive_into = reads = Reads(line)
    for _ in range(2):
        reads.coming.extend([reads.filled(b"+OK\r\n"), reads.filled(b""), b"\r\n.\r\n"])
        line.ask(stream)
        stream.bytes_response(100, 2**30)
        assert line.recorder.counts() == [0, 1, 0]


def test_so_it_is_where_commands_were_sent_behind_others_in_flight(line: Line) -> None:
    whole, begun = b"+OK\r\na\r\n.\r\n", b"+OK\r\n"
    with closing(line.client(*[whole] * 40)) as pop:
        # From here on a command goes out as each reply comes in.
        assert len(list(pop.retr_many(range(1, 41), pipelining=True))) == 40
        file: object = pop.file
        assert isinstance(file, ReplyStream)
        file._receive_into = reads = Reads(line)
        next_begins = reads.filled(b"b\r\n.\r\n+OK\r\n")  # so that commands are sent, the kernel having been told
        reads.coming.extend([whole, begun, next_begins, reads.filled(b""), b"\r\n.\r\n", *[whole] * 37])
        line.recorder.counts()
        assert len(list(pop.retr_many(range(1, 41), pipelining=True))) == 40
        assert line.recorder.counts()[:5] == [0, 1, 1, 0, 1]


class ByLines(POP3):
    def _getline(self) -> tuple[bytes, int]:
        return super()._getline()


@pytest.mark.parametrize("kind", [POP3, ByLines])
@pytest.mark.parametrize(
    "ask",
    [
        lambda pop: pop.retr(1),
        lambda pop: pop.top(1, 0),
        lambda pop: pop.retr_bytes(1),
        lambda pop: list(pop.retr_many([1], pipelining=True)),
        lambda pop: list(pop.retr_many([1], pipelining=False)),
        lambda pop: list(pop.retr_pieces([1], pipelining=True)),
        lambda pop: list(pop.top_many([1], pipelining=True)),
        lambda pop: (pop._putcmd("RETR 1"), pop._getresp(), [pop.file.readline() for _ in range(4)]),
    ],
)
def test_whatever_is_asked_every_piece_of_the_reply_is_acknowledged(
    line: Line, kind: type[POP3], ask: Callable[[POP3], object]
) -> None:
    with closing(line.client(*REPLY, kind=kind)) as pop:
        line.recorder.counts()
        ask(pop)
        # The first wait depends on what was before: once at the most, as for all.
        first, *others = line.recorder.counts()
        assert first <= 1
        assert others == [1, 1, 1, 1]


def test_commands_in_flight_are_no_acknowledgement_that_one_could_rely_on(line: Line) -> None:
    # Our own Nagle's algorithm may hold them back, as long as those before them are not acknowledged.
    numbers = range(1, 30)
    with closing(line.client(*REPLY * len(numbers))) as pop:
        line.recorder.counts()
        assert len(list(pop.retr_many(numbers, pipelining=True))) == len(numbers)
        counts = line.recorder.counts()
    assert len(counts) == len(numbers) * len(REPLY)
    assert set(counts) == {0, 1}
    # Until the server has shown what it can, and where a loop begins, nothing is in flight when commands leave.
    unacknowledged = [wait for wait, count in enumerate(counts) if not count]
    assert all(wait % len(REPLY) == 0 for wait in unacknowledged)
    assert len(unacknowledged) <= 5


def test_a_connection_that_is_not_tcp_is_told_nothing_and_read_as_ever() -> None:
    ours, theirs = socket.socketpair()
    with theirs, RecordedSocket(ours.family, ours.type, ours.proto, fileno=ours.detach()) as recorded:
        recorder = recorded.recorder = Recorder()
        stream = ReplyStream.of_socket(recorded)
        for line in REPLY:
            theirs.sendall(line)
            assert stream.readline() == line
        assert "acknowledge" not in recorder.events


def test_a_socket_that_cannot_be_told_is_told_once_and_read_as_ever(line: Line) -> None:
    def refuse(*_: object) -> None:
        told.append(True)
        raise OSError(95, "Operation not supported")

    told: list[bool] = []
    stream = line.stream()
    stream._send_acknowledgement = refuse
    line.ask(stream, *REPLY)
    assert stream.bytes_response(100, 100)[1] == b"From: a\r\n\r\nb\r\n"
    assert told == [True]


class Handshake:
    """A server that sends its part of a TLS handshake in pieces, each when ours waits for it."""

    def __init__(self, theirs: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self._theirs = theirs
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.quick_at_waits: list[bool] = []

    def wait(self, ours: socket.socket, events: int, seconds: float | None) -> bool:
        assert (events, seconds) == (select.POLLIN, 5)
        self.quick_at_waits.append(bool(ours.getsockopt(socket.IPPROTO_TCP, QUICK)))
        if not self._outgoing.pending:
            self._incoming.write(self._theirs.recv(2**16))
            with suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
        self._theirs.sendall(self._outgoing.read(100))
        return True


def test_quirk_q131_each_piece_of_a_tls_handshake_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ssl.create_default_context(cafile=CERTIFICATE)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ours = stack.enter_context(socket.create_connection(listener.getsockname(), 5))
        theirs = stack.enter_context(listener.accept()[0])
        theirs.settimeout(5)
        # What was said before STLS, after which the kernel acknowledges late.
        for sock in (ours, theirs):
            sock.setsockopt(socket.IPPROTO_TCP, QUICK, 0)
        server = Handshake(theirs)
        monkeypatch.setattr(_handshake, "wait", server.wait)
        monkeypatch.setattr(_handshake, "monotonic", lambda: 0.0)
        secured = stack.enter_context(_handshake.wrap_socket(client, ours, "localhost"))
        assert secured.version() == "TLSv1.3"
        assert secured.gettimeout() == 5
    assert len(server.quick_at_waits) > 10
    assert all(server.quick_at_waits)
