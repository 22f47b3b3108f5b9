"""Whatever octet a reply stops at, nothing of it is taken for a reply, and nothing later either.

Over real connections: replies that come octet by octet, are cut off, stall, or come twice. The claim is always the
same: the right value, or an error that leaves the connection broken; never a wrong value, never a hang.
"""

import itertools
import select
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pop3fast import POP3, CommandError, ConnectionLost, ProtocolError, error_proto
from pop3fast._stream import ReplyStream
from pop3fast.testing import MailboxServer
from scripted import GAP_SECONDS, Reply, ScriptedServer
from shapes import (
    GREETING,
    MANY,
    MULTI_LINE,
    REFUSED,
    SHAPES,
    SINGLE_LINE,
    Shape,
    assert_broken,
    assert_timed_out,
    connect,
    every_shape,
    is_closed,
    over_plain_and_tls,
)
from waiting import wait_until

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# One octet at a time.


class OneOctetSocket(socket.socket):
    """Gives one octet a read, however many are there, and counts them."""

    # Under the name of the class whose place it takes, by which the client knows a socket.
    __module__, __qualname__ = "socket", "socket"

    reads = 0

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        del nbytes
        self.reads += 1
        return super().recv_into(buffer, 1, flags)


class OneOctetTLSSocket(ssl.SSLSocket):
    """The same inside TLS."""

    __module__, __qualname__ = "ssl", "SSLSocket"  # likewise

    reads = 0

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        del nbytes
        self.reads += 1
        return super().recv_into(buffer, 1, flags)


class OneOctetPOP3(POP3):
    def _create_socket(self, timeout: float | None) -> socket.socket:
        sock = super()._create_socket(timeout)
        one_octet = OneOctetSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        one_octet.settimeout(timeout)
        return one_octet


@every_shape
@pytest.mark.parametrize("how", ["whole", "octets sent", "octets read", "octets read through TLS"])
def test_a_reply_octet_by_octet_is_the_reply_as_a_whole(shape: Shape, how: str) -> None:
    dribble = how == "octets sent"
    tls = how.endswith("TLS")
    replies = [Reply(reply, dribble=dribble) for reply in (shape.reply, REFUSED.reply, shape.reply)]
    with ScriptedServer(Reply(GREETING, dribble=dribble), replies, tls=tls) as server:
        server.client_context.sslsocket_class = OneOctetTLSSocket
        pop = OneOctetPOP3(server.host, server.port, timeout=5) if how == "octets read" else connect(server, tls=tls)
        with closing(pop):
            assert pop.getwelcome() == b"+OK ready"
            assert shape.ask(pop) == shape.value
            with pytest.raises(CommandError) as caught:
                REFUSED.ask(pop)
            assert caught.value.args == (REFUSED.value,)
            assert shape.ask(pop) == shape.value
            if isinstance(pop.sock, OneOctetSocket | OneOctetTLSSocket):
                assert pop.sock.reads >= len(GREETING + shape.reply + REFUSED.reply + shape.reply)


@over_plain_and_tls
def test_a_reply_in_any_two_segments_is_the_reply_as_a_whole(*, tls: bool) -> None:
    whole = b"+OK\r\n..a\r\n\r\n.\r\n"
    replies = [Reply(whole[:cut], whole[cut:]) for cut in range(1, len(whole))]
    with ScriptedServer(GREETING, replies, tls=tls) as server, closing(connect(server, tls=tls)) as pop:
        for _ in replies:
            assert pop.retr(1) == (b"+OK", [b".a", b""], 6)


# Cut off.


def errors_of_every_cut(shape: Shape, how: Literal["fin", "rst"], *, tls: bool = False) -> Iterator[BaseException]:
    """Ask for a reply that ends after each number of octets; yield each error, when nothing later can do harm."""
    cut = 0
    with ScriptedServer(GREETING, lambda _: Reply(shape.reply[:cut], then=how), tls=tls) as server:
        for cut in range(len(shape.reply)):
            with closing(connect(server, tls=tls)) as pop:
                try:
                    value = shape.ask(pop)
                except (error_proto, OSError) as error:
                    assert_broken(pop, server)
                    yield error
                else:
                    pytest.fail(f"{value!r} was returned for {shape.reply[:cut]!r}")


@pytest.mark.parametrize("shape", [*SHAPES, REFUSED], ids=lambda shape: shape.name)
def test_a_reply_cut_off_by_fin_after_any_octet_is_lost(shape: Shape) -> None:
    errors = list(errors_of_every_cut(shape, "fin"))
    assert {type(error) for error in errors} == {ConnectionLost}
    # In flight it is said of which reply it was.
    in_flight = {str(error) for error in errors if "the server hung up before its reply to" in str(error)}
    assert {str(error) for error in errors} - in_flight == (set() if in_flight else {"-ERR EOF"})
    assert len(errors) == len(shape.reply)


@pytest.mark.parametrize("shape", [*SHAPES, REFUSED], ids=lambda shape: shape.name)
def test_a_reply_cut_off_by_rst_after_any_octet_is_an_error(shape: Shape) -> None:
    errors = list(errors_of_every_cut(shape, "rst"))
    assert all(isinstance(error, ConnectionLost | ConnectionError) for error in errors)
    assert len(errors) == len(shape.reply)


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("shape", [MULTI_LINE[5], SINGLE_LINE[1]], ids=lambda shape: shape.name)
def test_a_reply_cut_off_inside_tls_is_an_error(shape: Shape, how: Literal["fin", "rst"]) -> None:
    errors = list(errors_of_every_cut(shape, how, tls=True))
    assert all(isinstance(error, ConnectionLost | OSError) for error in errors)
    assert len(errors) == len(shape.reply)


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_greeting_cut_off_after_any_octet_is_an_error(how: Literal["fin", "rst"]) -> None:
    for cut in range(len(GREETING)):
        with ScriptedServer(Reply(GREETING[:cut], then=how)) as server:
            with pytest.raises((ConnectionLost, ConnectionError)):
                connect(server)
            assert server.received == b""


def session(server: MailboxServer, *, tls: bool) -> Iterator[object]:
    """Yield what each step of a session gives that fetches all, and deletes it."""
    with connect(server, tls=tls) as pop:
        yield pop.user(server.user)
        yield pop.pass_(server.password)
        yield pop.stat()
        yield pop.sizes()
        yield pop.uids()
        for number in (1, 2):
            yield pop.retr(number)
            yield pop.retr_bytes(number)
            yield pop.dele(number)
    yield "the deletions are committed"


def values_and_error(steps: Iterator[object]) -> tuple[list[object], BaseException | None]:
    values: list[object] = []
    try:
        values.extend(steps)
    except (error_proto, OSError) as error:
        return values, error
    return values, None


MAIL = [b"Subject: one\r\n\r\n.dot\r\n", b"\r\n.\r\n"]


@pytest.mark.parametrize(("how", "tls", "step"), [("fin", False, 1), ("rst", False, 3), ("fin", True, 13)])
def test_a_session_cut_off_after_any_octet_gives_what_had_arrived_and_then_an_error(
    how: Literal["fin", "rst"],
    tls: bool,  # noqa: FBT001
    step: int,
) -> None:
    with MailboxServer(MAIL, tls=tls, greeting="+OK hi") as server:
        expected, error = values_and_error(session(server, tls=tls))
        assert (error, server.deleted) == (None, [1, 2])
    values: list[object] = []
    cut = 0
    while len(values) < len(expected):
        with MailboxServer(MAIL, tls=tls, greeting="+OK hi", cut_at=cut, cut_with=how) as server:
            values, error = values_and_error(session(server, tls=tls))
            assert values == expected[: len(values)], cut
            assert isinstance(error, ProtocolError | OSError) == (len(values) < len(expected)), cut
            # QUIT, which commits the deletions, was given only behind the last good reply.
            assert b"QUIT" not in server.commands or len(values) >= len(expected) - 1, cut
        cut += step
    assert cut > 300


# Stalled.


@every_shape
def test_a_reply_that_stalls_is_a_time_out_in_time_and_the_connection_broken(shape: Shape) -> None:
    for cut in {0, 1, len(shape.reply) // 2, len(shape.reply) - 1}:
        stall_and_ask(shape, cut, tls=False)


@over_plain_and_tls
def test_a_message_that_stalls_after_any_octet_is_a_time_out(*, tls: bool) -> None:
    shape = Shape("RETR", lambda pop: pop.retr(1), b"+OK\r\n..a\r\n.\r\n", None)
    for cut in range(len(shape.reply)):
        stall_and_ask(shape, cut, tls=tls)


def stall_and_ask(shape: Shape, cut: int, *, tls: bool) -> None:
    reply = Reply(shape.reply[:cut], then="stall")
    with ScriptedServer(GREETING, [reply], tls=tls) as server, closing(connect(server, tls=tls)) as pop:
        pop.sock.settimeout(0.05)
        with pytest.raises(TimeoutError, match="timed out"):
            shape.ask(pop)
        assert_timed_out(pop, server)


def test_a_greeting_that_stalls_is_a_time_out_and_nothing_stays_open() -> None:
    for cut in (0, 1, len(GREETING) - 1):
        with ScriptedServer(Reply(GREETING[:cut], then="stall")) as server:
            with pytest.raises(TimeoutError):
                connect(server, timeout=0.05)
            assert server.received == b""


def test_quirk_q07_a_reply_that_trickles_in_is_not_timed_out_as_long_as_something_comes() -> None:
    # A server that is busy sends blanks to keep the client. The time-out is for each wait, not for the line.
    blanks = 250
    assert blanks * GAP_SECONDS > 2
    with (
        ScriptedServer(GREETING, [Reply(b"+OK ", *[b" "] * blanks, b"\r\n")]) as server,
        closing(connect(server)) as pop,
    ):
        pop.sock.settimeout(2)
        assert pop.noop() == b"+OK " + b" " * blanks


# Read by hand.


def time_out_in_getresp(pop: POP3) -> None:
    pop._putcmd("NOOP")
    pop._getresp()


def time_out_in_getlongresp(pop: POP3) -> None:
    pop._putcmd("RETR 1")
    pop._getlongresp()


def time_out_in_getline(pop: POP3) -> None:
    pop._putcmd("RETR 1")
    pop._getresp()
    while True:
        pop._getline()


def time_out_in_readline(pop: POP3) -> None:
    pop._putcmd("RETR 1")
    while True:
        pop.file.readline()


@pytest.mark.parametrize(
    ("read", "octets"),
    [
        (time_out_in_getresp, b""),
        (time_out_in_getresp, b"+O"),
        *itertools.product(
            (time_out_in_getlongresp, time_out_in_getline, time_out_in_readline),
            (b"", b"+O", b"+OK\r\n", b"+OK\r\na\r\nb"),
        ),
    ],
)
def test_a_wait_that_failed_in_a_hook_breaks_the_connection_too(read: Callable[[POP3], None], octets: bytes) -> None:
    with ScriptedServer(GREETING, [Reply(octets, then="stall")]) as server, closing(connect(server)) as pop:
        pop.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            read(pop)
        assert_timed_out(pop, server)
    # No command was given to a server that is out of step, QUIT least of all.
    assert server.received.count(b"\r\n") == 1


@pytest.mark.parametrize("hook", [POP3._getresp, POP3._getlongresp])
def test_a_limit_that_was_passed_in_a_hook_breaks_the_connection_too(
    hook: Callable[[POP3], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pop3fast._MAXLINE", 100)
    with ScriptedServer(GREETING, [b"+OK " + b"a" * 200 + b"\r\n"]) as server, closing(connect(server)) as pop:
        pop._putcmd("RETR 1")
        with pytest.raises(ProtocolError, match="line too long"):
            hook(pop)
        assert_broken(pop, server)


def test_a_session_that_broke_in_a_hook_ends_without_quit() -> None:
    with ScriptedServer(GREETING, [Reply(b"+O", then="stall")]) as server:
        pop = connect(server)
        # Whether leaving the block tells of it again is not the point.
        with suppress(ProtocolError), pop:
            pop.sock.settimeout(0.05)
            pop._putcmd("NOOP")
            with pytest.raises(TimeoutError):
                pop._getresp()
        assert is_closed(pop)
    assert server.received == b"NOOP\r\n"


# Two replies.


@over_plain_and_tls
@every_shape
def test_a_second_reply_in_the_same_segment_is_nobodys_reply(shape: Shape, *, tls: bool) -> None:
    with (
        ScriptedServer(GREETING, [shape.reply + b"+OK forged\r\n"], tls=tls) as server,
        closing(connect(server, tls=tls)) as pop,
    ):
        # A loop hands nothing over before it has looked.
        if shape not in MANY:
            assert shape.ask(pop) == shape.value
        with pytest.raises(ProtocolError, match="nothing had asked for: 12 octets"):
            shape.ask(pop) if shape in MANY else pop.dele(1)
        assert_broken(pop, server)
        assert len(server.commands) == 1


@over_plain_and_tls
@every_shape
def test_a_second_reply_that_comes_later_is_nobodys_reply(shape: Shape, *, tls: bool) -> None:
    with (
        ScriptedServer(GREETING, [Reply(shape.reply, b"+OK forged\r\n")], tls=tls) as server,
        closing(connect(server, tls=tls)) as pop,
    ):
        # A loop looks whether something is left over, and may see it already.
        with pytest.raises(ProtocolError, match="nothing had asked for: 12 octets"):  # noqa: PT012
            assert shape.ask(pop) == shape.value
            wait_for_octets(pop)
            pop.dele(1)
        assert_broken(pop, server)
        assert len(server.commands) == 1


def wait_for_octets(pop: POP3) -> None:
    """Wait until the kernel has something for the client, without reading it."""
    timeout = pop.sock.gettimeout()
    assert socket.socket.recv(pop.sock, 1, socket.MSG_PEEK)
    assert pop.sock.gettimeout() == timeout


def test_a_line_before_the_greeting_was_asked_for_is_nobodys_reply() -> None:
    with ScriptedServer(GREETING + b"+OK 2 320\r\n", []) as server, closing(connect(server)) as pop:
        with pytest.raises(ProtocolError, match="nothing had asked for"):
            pop.stat()
        assert_broken(pop, server)
        assert server.received == b""


def test_a_server_that_hangs_up_between_two_commands_is_found_before_the_next() -> None:
    with ScriptedServer(GREETING, [Reply(b"+OK\r\n", then="fin")]) as server, closing(connect(server)) as pop:
        pop.noop()
        assert socket.socket.recv(pop.sock, 1, socket.MSG_PEEK) == b""
        with pytest.raises(ConnectionLost, match="-ERR EOF"):
            pop.dele(1)
        assert_broken(pop, server)
        assert server.commands == [b"NOOP"]


@over_plain_and_tls
def test_commands_may_be_pipelined_by_hand(*, tls: bool) -> None:
    replies = [b"+OK\r\na\r\n.\r\n", b"-ERR no such message\r\n", b"+OK\n.b\n.\n", b"+OK 2 320\r\n"]
    with ScriptedServer(GREETING, replies, tls=tls) as server, closing(connect(server, tls=tls)) as pop:
        for number in (1, 2, 3):
            pop._putcmd(f"RETR {number}")
        assert pop._getlongresp() == (b"+OK", [b"a"], 3)
        with pytest.raises(CommandError, match="no such message"):
            pop._getlongresp()
        assert pop._getlongresp() == (b"+OK", [b".b"], 3)
        assert pop.stat() == (2, 320)


def test_a_command_that_waits_is_refused_while_replies_pipelined_by_hand_are_unread() -> None:
    with ScriptedServer(GREETING, [b"+OK 1\r\n", b"+OK 2\r\n"]) as server, closing(connect(server)) as pop:
        pop._putcmd("NOOP")
        pop._putcmd("NOOP")
        assert pop._getresp() == b"+OK 1"
        wait_for_second(server, pop)
        with pytest.raises(ProtocolError, match="nothing had asked for"):
            pop.dele(1)
        assert_broken(pop, server)


def wait_for_second(server: ScriptedServer, pop: POP3) -> None:
    """Wait until the reply to the second command is there, in our buffer or in the kernel's."""
    wait_until(lambda: len(server.commands) == 2)
    stream = pop.file
    assert isinstance(stream, ReplyStream)
    wait_until(lambda: stream.framer.unread() or select.select([pop.sock], [], [], 0)[0])


# Interrupted.


class WaitingSocket(socket.socket):
    """A socket that says when octets are waited for."""

    __module__, __qualname__ = "socket", "socket"  # as above

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as the socket's own
        super().__init__(*arguments, **named)
        self.waits = threading.Semaphore(0)

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        if self.gettimeout():
            self.waits.release()
        return super().recv_into(buffer, nbytes, flags)


@contextmanager
def interrupting(half: bytes, rest: bytes) -> Iterator[tuple[POP3, Callable[[], None], bytearray]]:
    """Give a client that gets a KeyboardInterrupt when it waits behind *half* of a reply.

    Also a function that lets the rest come, and what the server received.
    """
    main = threading.get_ident()
    made, theirs = socket.socketpair()
    ours = WaitingSocket(made.family, made.type, made.proto, fileno=made.detach())
    received = bytearray()
    interrupted, go_on = threading.Event(), threading.Event()

    def interrupt(*_: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def serve() -> None:
        with suppress(ConnectionError):  # the client may close with the rest unread
            received.extend(theirs.recv(100))
            theirs.sendall(half)
            for _ in ("the greeting", "the first half", "the rest"):
                ours.waits.acquire()
            # Again and again: it may come just before the call that it is to interrupt.
            while not (interrupted.is_set() or go_on.wait(0.01)):
                signal.pthread_kill(main, signal.SIGUSR1)
            go_on.wait()
            theirs.sendall(rest)
            while octets := theirs.recv(100):
                received.extend(octets)

    class Given(POP3):
        def _create_socket(self, timeout: float | None) -> socket.socket:
            ours.settimeout(timeout)
            return ours

    previous = signal.signal(signal.SIGUSR1, interrupt)
    theirs.sendall(GREETING)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with closing(Given("host", timeout=30)) as pop:
            yield pop, go_on.set, received
    finally:
        go_on.set()
        ours.waits.release(3)
        ours.close()
        thread.join()
        theirs.close()
        signal.signal(signal.SIGUSR1, previous)


@every_shape
def test_an_interrupt_in_mid_reply_leaves_the_connection_broken_and_never_a_wrong_reply(shape: Shape) -> None:
    half = len(shape.reply) // 2
    with interrupting(shape.reply[:half], shape.reply[half:]) as (pop, let_the_rest_come, received):
        with pytest.raises(KeyboardInterrupt):
            shape.ask(pop)
        let_the_rest_come()
        for command in (pop.noop, pop.stat, pop.list, pop.quit):
            with pytest.raises(ProtocolError):
                command()
        pop.close()
    assert received.count(b"\r\n") == 1


@pytest.mark.parametrize("hook", [POP3._getresp, POP3._getlongresp])
def test_an_interrupt_in_a_hook_leaves_the_connection_broken_too(hook: Callable[[POP3], object]) -> None:
    with interrupting(b"+O", b"K\r\na\r\n.\r\n") as (pop, let_the_rest_come, received):
        pop._putcmd("RETR 1")
        with pytest.raises(KeyboardInterrupt):
            hook(pop)
        let_the_rest_come()
        for command in (pop.noop, pop.stat, pop.list, pop.quit):
            with pytest.raises(ProtocolError):
                command()
        pop.close()
    assert received == b"RETR 1\r\n"
