"""close(), whoever calls it and whatever is under way: who waits is told so, and nothing is left open or mixed up.

The threads wait for each other, never for the clock; the servers stall for as long as a test may take.
"""

import io
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import closing, suppress

import pytest

from pop3fast import POP3, ProtocolError
from pop3fast._socket import RECEIVE_SIZE
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING, MULTI_LINE, SINGLE_LINE, Shape, connect, is_closed, over_plain_and_tls
from test_turns import many_switches
from waiting import wait_until

STALL = Reply(b"", then="stall")
HALF = Reply(b"+OK\r\nSubject: x\r\nhalf a li", then="stall")

LOOPS = (
    Shape("retr_many", lambda pop: list(pop.retr_many([1, 2], pipelining=True)), b"", None),
    Shape("retr_many one by one", lambda pop: list(pop.retr_many([1, 2], pipelining=False)), b"", None),
    Shape("retr_pieces", lambda pop: list(pop.retr_pieces([1, 2], pipelining=True)), b"", None),
)
LINES = (
    Shape("dele_many", lambda pop: pop.dele_many([1, 2], pipelining=True), b"", None),
    Shape("quit", lambda pop: pop.quit(), b"", None),
    Shape("login", lambda pop: pop.auth("PLAIN", initial_response="x"), b"", None),
)


class Waiting:
    """A thread that waits for a reply on a connection; what came of it."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, daemon=True)  # a test that fails is to end, too
        self.thread.start()

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 - for the test's own thread
            self.error = error

    def ended_with(self) -> BaseException | None:
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.error


@over_plain_and_tls
@pytest.mark.parametrize(
    ("shape", "reply"),
    [
        *((shape, STALL) for shape in (*SINGLE_LINE, *MULTI_LINE, *LOOPS, *LINES)),
        *((shape, HALF) for shape in (*MULTI_LINE, *LOOPS)),
    ],
    ids=lambda one: one.name if isinstance(one, Shape) else "a half came" if one is HALF else "nothing came",
)
def test_who_waits_for_a_reply_is_told_that_another_thread_closed_the_connection(
    shape: Shape, reply: Reply, *, tls: bool
) -> None:
    with ScriptedServer(GREETING, [reply], tls=tls) as server:
        pop = connect(server, tls=tls)
        sock = pop.sock
        waiting = Waiting(lambda: shape.ask(pop))
        wait_until(lambda: server.commands)
        pop.close()
        error = waiting.ended_with()
        assert isinstance(error, ProtocolError)
        assert str(error) == "the connection is closed"
        assert is_closed(pop)
        assert not pop.in_step
        assert sock.fileno() == -1
        with pytest.raises(ProtocolError, match="the connection is closed"):
            pop.noop()


class Held:
    """A file that is written to for as long as a test wants."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def write(self, octets: bytes) -> int:
        self.begun.set()
        assert self.go_on.wait(10)
        return len(octets)


@over_plain_and_tls
def test_a_descriptor_is_not_given_back_while_a_thread_is_still_at_it(*, tls: bool) -> None:
    """Or the program's next connection would get it, and the thread would read what comes there."""
    # More than one read gives: behind the last nothing is read, and nothing would be noticed.
    message = b"Subject: x\r\n\r\n" + b"x" * 4 * RECEIVE_SIZE + b"\r\n"
    with MailboxServer([message], tls=tls) as server:
        pop = connect(server, tls=tls)
        pop.login("user", "password", mechanism="PLAIN")
        sock, file = pop.sock, Held()
        waiting = Waiting(lambda: pop.retr_into(1, file))
        assert file.begun.wait(10)
        pop.close()
        pop.close()
        assert is_closed(pop)
        assert sock.fileno() >= 0
        if isinstance(sock, ssl.SSLSocket):  # and nothing could be sent without it
            assert sock.version() is not None
        with pytest.raises(OSError, match=r"(?i)pipe|reset|shutdown|closed|eof"):
            sock.sendall(b"NOOP\r\n" * 100)
        file.go_on.set()
        assert isinstance(waiting.ended_with(), ProtocolError)
        assert sock.fileno() == -1


def test_a_login_under_way_that_another_thread_closes_sends_no_secret() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def answer(_: bytes) -> bytes:
        begun.set()
        assert go_on.wait(10)
        return b"secret"

    with ScriptedServer(GREETING, [b"+ \r\n"]) as server:
        pop = connect(server)
        waiting = Waiting(lambda: pop.auth("X-TEST", answer))
        assert begun.wait(10)
        pop.close()
        go_on.set()
        error = waiting.ended_with()
        assert isinstance(error, ProtocolError)
        assert str(error) == "the connection is closed"
    assert server.commands == [b"AUTH X-TEST"]


def test_a_handshake_that_another_thread_closes_leaves_nothing_open() -> None:
    replies: list[bytes | Reply] = [b"+OK\r\nSTLS\r\n.\r\n", Reply(b"+OK go\r\n", then="stall")]
    with ScriptedServer(GREETING, replies) as server:
        pop = connect(server)
        waiting = Waiting(lambda: pop.stls(server.client_context))
        wait_until(lambda: b"\x16\x03" in server.received)  # the first octets of a handshake
        pop.close()
        assert isinstance(waiting.ended_with(), ProtocolError | OSError)
        assert is_closed(pop)
        assert not pop.in_step


def test_a_connection_that_is_closed_while_it_goes_over_to_tls_stays_closed() -> None:
    class Closed(POP3):
        """Closed by somebody else at the last moment."""

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "sock" and isinstance(value, ssl.SSLSocket):
                secured.append(value)
                thread = threading.Thread(target=self.close)
                thread.start()
                thread.join(10)

    secured: list[ssl.SSLSocket] = []
    with MailboxServer([], stls=True) as server:
        pop = Closed(*server.address, 5)
        with suppress(ProtocolError, AttributeError):
            pop.stls(server.client_context)
        assert is_closed(pop)
        assert [sock.fileno() for sock in secured] == [-1]


# By the thread itself, in the middle of it.


INSIDE: dict[str, Callable[[POP3], object]] = {
    "what is written to": lambda pop: pop.retr_into(1, Closing(pop)),
    "progress": lambda pop: pop.retr_into(1, io.BytesIO(), progress=lambda _: pop.close()),
    "what answers a challenge": lambda pop: pop.auth("X-TEST", lambda _: pop.close()),
    "what is told of refusals": lambda pop: list(pop.retr_many([1, 2], on_error=lambda _: pop.close())),
}


@over_plain_and_tls
@pytest.mark.parametrize("inside", INSIDE.values(), ids=INSIDE)
def test_a_connection_may_be_closed_from_inside_its_own_command(inside: Callable[[POP3], object], *, tls: bool) -> None:
    def reply(command: bytes) -> bytes | Reply:
        if command == b"CAPA":
            return b"+OK\r\nPIPELINING\r\n.\r\n"
        if command[:4] == b"AUTH":
            return b"+ \r\n"
        return b"-ERR no\r\n" if b"CAPA" in server.commands else HALF

    with ScriptedServer(GREETING, reply, tls=tls) as server:
        pop = connect(server, tls=tls)
        sock = pop.sock
        with pytest.raises(ProtocolError, match="the connection is closed"):
            inside(pop)
        assert is_closed(pop)
        assert sock.fileno() == -1


class Closing:
    """A file that closes the connection when it is written to."""

    def __init__(self, pop: POP3) -> None:
        self.pop = pop

    def write(self, octets: bytes) -> int:
        self.pop.close()
        return len(octets)


def test_a_loop_whose_connection_is_closed_inside_it_says_so() -> None:
    with MailboxServer([b"x\r\n"] * 50) as server:
        pop = connect(server)
        pop.login("user", "password", mechanism="PLAIN")
        loop = pop.retr_many(pipelining=True)
        next(loop)
        pop.close()
        with pytest.raises(ProtocolError, match="the connection is closed"):
            list(loop)


# At any moment.


@over_plain_and_tls
def test_whenever_a_connection_is_closed_its_users_get_errors_that_say_so_and_nothing_stays_open(*, tls: bool) -> None:
    socks: list[socket.socket] = []
    errors: list[BaseException | None] = []
    with MailboxServer([b"x" * 5000 + b"\r\n"] * 20, tls=tls) as server, many_switches():
        for attempt in range(60):
            with closing(connect(server, tls=tls)) as pop:
                pop.login("user", "password", mechanism="PLAIN")
                socks.append(pop.sock)

                def use(pop: POP3 = pop, attempt: int = attempt) -> None:
                    while True:
                        if attempt % 2:
                            list(pop.retr_many(pipelining=True))
                        else:
                            pop.retr(1)
                            pop.noop()

                waiting = Waiting(use)
                for _ in range(attempt * 20):
                    pass  # another moment each time
                threads = [threading.Thread(target=pop.close) for _ in range(2)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(10)
                errors.append(waiting.ended_with())
    assert {type(error) for error in errors} == {ProtocolError}
    assert {str(error) for error in errors} == {"the connection is closed"}
    assert {sock.fileno() for sock in socks} == {-1}
