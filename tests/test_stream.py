"""ReplyStream: a binary file to poplib's idioms, whole replies to ours, one buffer for both, no wait in vain."""

import io
import select
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import pop3fast
from pop3fast import ConnectionLost, LimitExceeded, ProtocolError
from pop3fast._deadline import Deadline
from pop3fast._session import NO_LIMIT
from pop3fast._stream import ReplyStream
from pop3fast.testing import CERTIFICATE

BODY = b"+OK\r\nFrom: a\r\n..b\r\n.\r\n"


def stream_of(*parts: bytes) -> ReplyStream:
    """Return a stream to which *parts* come one by one, and then the end."""
    coming = iter(parts)

    def receive_into(buffer: memoryview) -> int:
        part = next(coming, b"")
        buffer[: len(part)] = part
        return len(part)

    return ReplyStream(receive_into)


class Pair:
    """A stream and the server's end of its connection."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self.ours = ours
        self.theirs = theirs
        self.stream = ReplyStream.of_socket(ours)


@pytest.fixture(params=["plain", "TLS"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ours = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=5))
        theirs, _ = listener.accept()
        stack.enter_context(theirs)
        theirs.settimeout(5)
        if request.param == "TLS":
            ours, theirs = secured(ours, theirs)
            stack.enter_context(ours)
            stack.enter_context(theirs)
        yield Pair(ours, theirs)


def secured(
    ours: socket.socket, theirs: socket.socket, kind: type[ssl.SSLSocket] = ssl.SSLSocket
) -> tuple[socket.socket, socket.socket]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.sslsocket_class = kind
    client.load_verify_locations(CERTIFICATE)
    theirs = server.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False)
    handshake = threading.Thread(target=theirs.do_handshake)
    handshake.start()
    ours = client.wrap_socket(ours, server_hostname="localhost")
    handshake.join(5)
    return ours, theirs


def soon(stream: ReplyStream) -> bytes:
    """Return what is unexpected, once it has made its way through the kernel."""
    while not (octets := stream.unexpected()):  # pytest ends it when it never comes
        time.sleep(0.001)
    return octets


# The binary file.


def test_it_is_a_binary_file_that_can_be_read() -> None:
    stream = stream_of()
    assert isinstance(stream, io.BufferedIOBase)
    assert stream.readable()
    assert not stream.writable()
    assert not stream.seekable()


def test_lines_are_read_with_their_line_ends_across_parts() -> None:
    stream = stream_of(b"a\r", b"\nb\nc", b"d\r\n", b"\r\n")
    assert [stream.readline() for _ in range(4)] == [b"a\r\n", b"b\n", b"cd\r\n", b"\r\n"]
    assert stream.readline() == b""
    assert stream.readline() == b""


def test_a_line_that_the_end_cut_off_is_given_as_any_file_gives_it() -> None:
    stream = stream_of(b"a\r\nb")
    assert list(stream) == [b"a\r\n", b"b"]


def test_a_line_is_read_up_to_a_size() -> None:
    stream = stream_of(b"abc", b"def\n")
    assert stream.readline(0) == b""
    assert stream.readline(4) == b"abcd"
    assert stream.readline(None) == b"ef\n"
    assert stream_of(b"ab\n").readline(-1) == b"ab\n"


def test_octets_are_read_as_from_any_file() -> None:
    assert stream_of(b"ab", b"cd", b"e").read() == b"abcde"
    assert stream_of(b"ab", b"cd", b"e").read(None) == b"abcde"
    stream = stream_of(b"ab", b"cd", b"e")
    assert stream.read(0) == b""
    assert stream.read(3) == b"abc"
    assert stream.read1() == b"d"
    assert stream.read1(5) == b"e"
    assert stream.read1(5) == b""
    assert stream.read(5) == b""


def test_octets_are_read_into_a_buffer() -> None:
    buffer = bytearray(3)
    stream = stream_of(b"ab", b"cd")
    assert stream.readinto(buffer) == 3
    assert buffer == b"abc"
    assert stream.readlines() == [b"d"]


def test_read1_does_not_wait_for_more_than_is_there() -> None:
    def receive_into(buffer: memoryview) -> int:
        assert not waits, "it waited again"
        waits.append(True)
        buffer[:2] = b"ab"
        return 2

    waits: list[bool] = []
    assert ReplyStream(receive_into).read1(10) == b"ab"


def test_read1_of_nothing_takes_nothing() -> None:
    stream = stream_of(b"ab\n")
    assert stream.readline(1) == b"a"
    assert stream.read1(0) == b""
    assert stream.read1() == b"b\n"


def test_closing_it_leaves_the_socket_to_its_owner(pair: Pair) -> None:
    pair.stream.close()
    assert pair.stream.closed
    pair.theirs.sendall(b"x")
    assert pair.ours.recv(1) == b"x"


# Whole replies.


def test_lines_and_whole_replies_come_from_one_buffer() -> None:
    stream = stream_of(b"+OK 1\r\n" + BODY + b"+OK 2\r\n" + BODY + b"+OK\r\n" + BODY + b"rest")
    assert stream.readline() == b"+OK 1\r\n"
    assert stream.status_line(100) == b"+OK"
    assert stream.lines(100) == ([b"From: a", b".b"], 13)
    assert stream.status_line(100) == b"+OK 2"
    assert stream.readline() == b"+OK\r\n"
    assert stream.octets(100) == b"From: a\r\n.b\r\n"
    assert stream.readline(3) == b"+OK"
    assert stream.readline() == b"\r\n"
    assert stream.status_line(100) == b"+OK"
    assert b"".join(stream.pieces(100)) == b"From: a\r\n.b\r\n"
    assert stream.read() == b"rest"


@pytest.mark.parametrize("cut", range(len(BODY)))
def test_a_reply_cut_off_anywhere_is_lost_and_stays_lost(cut: int) -> None:
    questions: list[Callable[[ReplyStream], object]] = [
        lambda stream: stream.status_line(100),
        lambda stream: stream.lines(100),
    ]
    stream = stream_of(BODY[:cut])
    if b"\n" in BODY[:cut]:
        assert questions.pop(0)(stream) == b"+OK"
    for _ in range(2):
        with pytest.raises(ConnectionLost) as caught:
            questions[0](stream)
        assert caught.value.args == ("-ERR EOF",)


def test_a_reply_over_a_limit_is_an_error_of_ours_whatever_is_asked() -> None:
    stream = stream_of(b"+OK 567\r\n+OK\r\n")
    with pytest.raises(LimitExceeded) as caught:
        stream.status_line(8)
    assert caught.value.args == ("line too long",)
    assert caught.value.__cause__ is None
    assert_failed_for_good(stream)


def test_a_file_that_is_read_in_the_middle_of_a_body_is_an_error_of_ours() -> None:
    stream = stream_of(BODY + b"+OK\r\n")
    stream.status_line(100)
    next(stream.pieces(100))
    with pytest.raises(ProtocolError, match="still being read"):
        stream.readline()
    assert_failed_for_good(stream)


def assert_failed_for_good(stream: ReplyStream) -> None:
    """No way to ask gives a value, or any other error than the client's own."""
    questions: list[Callable[[], object]] = [
        stream.readline,
        stream.read1,
        stream.read,
        lambda: stream.status_line(100),
        lambda: stream.lines(100),
        lambda: stream.octets(100),
        lambda: list(stream.pieces(100)),
    ]
    for question in questions:
        with pytest.raises(ProtocolError):
            question()
    assert nothing_but_an_error_of_ours(stream.unexpected)


def nothing_but_an_error_of_ours(question: Callable[[], bytes]) -> bool:
    try:
        return not question()
    except ProtocolError:
        return True


def test_a_body_behind_a_status_line_that_somebody_else_read_is_read_by_lines_and_no_further() -> None:
    for after_bare_lf, ends in ((False, b"\r\n"), (True, b"\n")):
        source = io.BytesIO(b"a" + ends + b"..b" + ends + b"." + ends + b"+OK next\r\n")
        stream = ReplyStream.of_lines(source, after_bare_lf=after_bare_lf)
        assert stream.octets(100) == b"a" + ends + b".b" + ends
        assert source.read() == b"+OK next\r\n"


# Waiting.


def test_a_wait_that_failed_is_not_tried_again() -> None:
    answers = iter([b"+OK\r\nhalf", None, b"\r\n.\r\n"])

    def receive_into(buffer: memoryview) -> int:
        answer = next(answers)
        if answer is None:
            raise TimeoutError("timed out")
        buffer[: len(answer)] = answer
        return len(answer)

    stream = ReplyStream(receive_into)
    assert stream.status_line(100) == b"+OK"
    with pytest.raises(TimeoutError):
        stream.lines(100)
    for _ in range(2):
        with pytest.raises(ProtocolError, match="broken off"):
            stream.lines(100)
    assert next(answers) == b"\r\n.\r\n"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, TimeoutError, ConnectionResetError, ssl.SSLError])
def test_after_a_wait_that_failed_nothing_is_read_any_more(interrupt: type[BaseException]) -> None:
    def receive_into(_buffer: memoryview) -> int:
        raise interrupt

    stream = ReplyStream(receive_into)
    with pytest.raises(interrupt):
        stream.readline()
    questions: list[Callable[[], object]] = [
        stream.readline,
        stream.read1,
        stream.read,
        lambda: stream.status_line(100),
    ]
    for question in questions:
        with pytest.raises(ProtocolError):
            question()
    assert nothing_but_an_error_of_ours(stream.unexpected)


def test_nothing_unexpected_is_found_without_waiting(pair: Pair) -> None:
    pair.ours.settimeout(1e6)  # which no test waits for
    assert pair.stream.unexpected() == b""
    assert pair.ours.gettimeout() == 1e6


def test_of_what_is_no_socket_nothing_is_expected_or_unexpected() -> None:
    stream = stream_of(b"+OK\r\n")
    assert stream.unexpected() == b""
    assert stream.readline() == b"+OK\r\n"


def test_where_there_is_no_poll_what_has_arrived_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "poll", raising=False)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = ReplyStream.of_socket(ours)
        assert stream.unexpected() == b""
        theirs.sendall(b"+OK\r\n")
        assert stream.unexpected() == b"+OK\r\n"


def test_what_is_read_by_lines_has_a_deadline_too() -> None:
    stream = ReplyStream.of_lines(io.BytesIO(b"a\r\n.\r\n"), after_bare_lf=False)
    stream.deadline = Deadline(1e-9, "the session")
    with pytest.raises(TimeoutError, match="for the session has passed"):
        stream.octets(100)


def test_what_was_not_asked_for_is_found_in_the_buffer_and_in_the_kernel(pair: Pair) -> None:
    pair.theirs.sendall(b"+OK 1\r\n+OK 2\r\n")
    assert pair.stream.status_line(100) == b"+OK 1"
    assert soon(pair.stream) == b"+OK 2\r\n"
    pair.theirs.sendall(b"+OK 3\r\n")
    assert soon(pair.stream) == b"+OK 3\r\n"
    assert pair.ours.gettimeout() == 5


def test_a_server_that_hung_up_is_found_before_anything_is_asked(pair: Pair) -> None:
    pair.theirs.close()
    with pytest.raises(ConnectionLost, match="-ERR EOF"):
        soon(pair.stream)


def test_what_came_before_the_server_hung_up_is_found_first(pair: Pair) -> None:
    pair.theirs.sendall(b"-ERR idle for too long\r\n")
    pair.theirs.close()
    assert soon(pair.stream) == b"-ERR idle for too long\r\n"


@pytest.mark.parametrize(
    ("seconds", "error"), [(0, (BlockingIOError, ssl.SSLWantReadError)), (0.05, TimeoutError)], ids=str
)
def test_the_sockets_timeout_is_the_streams(
    pair: Pair, seconds: float, error: type[OSError] | tuple[type[OSError], ...]
) -> None:
    pair.ours.settimeout(seconds)
    with pytest.raises(error):
        pair.stream.readline()


def test_a_socket_that_was_closed_is_an_os_error_and_no_value(pair: Pair) -> None:
    pair.ours.close()
    with pytest.raises(OSError, match=r"Bad file descriptor|closed"):
        pair.stream.unexpected()
    with pytest.raises(OSError, match=r"Bad file descriptor|closed"):
        pair.stream.readline()


def test_the_limit_that_means_none_is_taken_by_every_question() -> None:
    stream = stream_of(BODY * 3)
    questions: list[Callable[[int], object]] = [stream.lines, stream.octets, lambda limit: list(stream.pieces(limit))]
    for question in questions:
        assert stream.status_line(NO_LIMIT) == b"+OK"
        question(NO_LIMIT)
    assert stream.read() == b""


def test_a_client_has_one_in_the_place_of_poplibs_file(pair: Pair) -> None:
    class Given(pop3fast.POP3):
        def _create_socket(self, timeout: float | None) -> socket.socket:  # noqa: ARG002 - poplib's signature
            return pair.ours

    pair.theirs.sendall(b"+OK hi\r\n")
    pop = Given("host")
    file: object = pop.file
    assert type(file) is ReplyStream
    pop.close()
    assert file.closed


# What programs do with the file besides reading lines.


def test_the_file_can_be_waited_for(pair: Pair) -> None:
    file = pair.stream
    assert file.fileno() == pair.ours.fileno() == file.name
    assert file.mode == "rb"
    if isinstance(pair.ours, ssl.SSLSocket):  # its farewells and tickets are readable too
        return
    assert select.select([file], [], [], 0)[0] == []
    pair.theirs.sendall(b"+OK\r\n")
    assert select.select([file], [], [], 5)[0] == [file]
    with selectors.DefaultSelector() as selector:
        selector.register(file, selectors.EVENT_READ)
        assert [key.fileobj for key, _ in selector.select(5)] == [file]
    assert file.readline() == b"+OK\r\n"


def test_a_look_ahead_takes_nothing(pair: Pair) -> None:
    pair.theirs.sendall(BODY)
    file = pair.stream
    seen = file.peek()
    assert seen == file.peek(1) != b""
    assert BODY.startswith(seen)
    assert file.readline() == b"+OK\r\n"
    behind = file.peek()
    assert behind != b""
    assert BODY[5:].startswith(behind)
    file.readline()
    pair.theirs.close()
    assert file.read() == b"..b\r\n.\r\n"
    assert file.peek() == b""


def test_replies_come_whole_after_a_look_ahead(pair: Pair) -> None:
    pair.theirs.sendall(BODY)
    seen = pair.stream.peek()
    assert seen != b""
    assert BODY.startswith(seen)
    assert pair.stream.lines_response(100, 100) == (b"+OK", [b"From: a", b".b"], 13)


def test_the_raw_file_reads_past_the_buffer(pair: Pair) -> None:
    pair.theirs.sendall(b"+OK\r\n")
    assert pair.stream.readline() == b"+OK\r\n"
    pair.theirs.sendall(b"rest")
    assert pair.stream.raw.read(4) == b"rest"
    pair.stream.raw.close()
    assert pair.ours.fileno() >= 0


def test_a_file_that_is_closed_or_has_no_socket_says_so(pair: Pair) -> None:
    with pytest.raises(io.UnsupportedOperation):
        stream_of(BODY).fileno()
    assert stream_of(BODY).peek() == BODY
    pair.stream.close()
    for look in (pair.stream.fileno, lambda: pair.stream.name, lambda: pair.stream.raw):
        with pytest.raises(ValueError, match="closed"):
            look()
