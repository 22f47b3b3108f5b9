"""Time: each wait has the socket's time-out, and all of them together a deadline that no server can stretch.

The servers here send an octet now and then, each well within the time-out, for minutes: that there is an error at all
says that they were not waited for. The deadline is an hour away until a server has reached the step that a test is
about; then its clock is put forward, so that a busy machine cannot let it pass any earlier.
"""

import io
import re
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress

import pytest

from asking import ASKS, Ask
from pop3fast import POP3, Message, ProtocolError, _deadline, connect
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import CONTENT, GREETING, MESSAGE, assert_over_time, is_closed
from shapes import connect as connect_plainly

# What a call is given that nothing comes before, and what a session is.
DEADLINE, HOUR = 0.15, 3600.0


class Clock:
    """The clock of deadlines, which can be put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def nearly_over(self) -> None:
        """Leave of an hour what a reply is waited for here."""
        self._ahead = HOUR - DEADLINE

    def over(self) -> None:
        """Leave nothing of an hour."""
        self._ahead = HOUR


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_deadline, "monotonic", clock)
    return clock


class Dribble(Reply):
    """A reply whose octets come one by one, a tenth of what is left of the deadline apart: it would take minutes."""

    def __init__(self, octets: bytes = b"+" + b" " * 3000) -> None:
        super().__init__(*(octets[at : at + 1] for at in range(len(octets))))


class Late(Reply):
    """A reply for which there is hardly any time left."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(*reply.segments, then=reply.then)

    def by(self, clock: Clock) -> Reply:
        """Return this reply, which puts *clock* forward before it is sent."""

        class OnTheClock(Reply):
            @property
            def segments(self) -> tuple[bytes, ...]:
                clock.nearly_over()
                return late

            @segments.setter
            def segments(self, _: tuple[bytes, ...]) -> None: ...

        late = self.segments
        return OnTheClock(then=self.then)


def url(scheme: str, server: ScriptedServer | MailboxServer) -> str:
    return f"{scheme}://user@{server.host}:{server.port}"


LONG = Dribble(b"+OK\r\n" + b"Subject: slow\r\n" * 1000)

# For APOP.
STAMPED = b"+OK ready <1896.697170952@dbc.mtview.ca.us>\r\n"
# Whose reply has a body: it is that which does not end. Everything else has a status line without an end.
BODIES = re.compile(rb"(RETR|TOP|CAPA)\b|(LIST|UIDL)$")


@pytest.mark.parametrize("way", ASKS, ids=lambda way: way.name)
@pytest.mark.parametrize("scheme", ["pop3s", "pop3+plain"])
def test_a_server_that_dribbles_holds_a_session_no_longer_than_its_deadline(
    way: Ask, scheme: str, clock: Clock
) -> None:
    if (way.name, scheme) == ("stls", "pop3s"):
        pytest.skip("there is TLS already")
    with ScriptedServer(
        STAMPED, lambda line: LONG if BODIES.match(line) else Dribble(), tls=scheme == "pop3s"
    ) as server:
        pop = connect(url(scheme, server), deadline=HOUR, context=server.client_context)
        clock.nearly_over()
        with pytest.raises(TimeoutError, match=r"deadline of 3600 seconds for the session has passed"):
            way.ask(pop)
        assert_over_time(pop, server)


@pytest.mark.parametrize(
    "ending", [lambda pop: pop.quit(), lambda pop: pop.close(), lambda pop: pop.__exit__(None, None, None)]
)
@pytest.mark.parametrize("deadline", [None, HOUR])
def test_after_a_time_out_every_ending_sends_nothing_and_closes(
    ending: Callable[[POP3], object], deadline: float | None, clock: Clock
) -> None:
    with ScriptedServer(GREETING, [Reply(b"+O", then="stall")]) as server:
        pop = connect(url("pop3+plain", server), deadline=deadline)
        if deadline is None:
            pop.sock.settimeout(0.1)
        clock.nearly_over()
        with suppress(TimeoutError):
            pop.noop()
        assert not pop.in_step
        with suppress(ProtocolError):  # what quit() says
            ending(pop)
        assert is_closed(pop)
    assert server.commands in ([b"NOOP"], [])


def test_a_block_that_a_time_out_ends_raises_the_time_out(clock: Clock) -> None:
    with ScriptedServer(GREETING, [Reply(b"+O", then="stall")]) as server:
        pop = connect(url("pop3+plain", server), deadline=HOUR)
        clock.nearly_over()
        with pytest.raises(TimeoutError), pop:
            pop.noop()
        assert is_closed(pop)


@pytest.mark.parametrize(
    ("scheme", "greeting", "replies", "step"),
    [
        ("pop3+plain", Late(Dribble()), [], "greeting"),
        ("pop3s", Dribble(b"\x16\x03\x03\x40\x00" + bytes(3000)), [], "TLS handshake"),
        ("pop3s", Reply(then="stall"), [], "TLS handshake"),
        ("pop3", GREETING, [Late(Dribble())], "STLS"),
        ("pop3", GREETING, [b"+OK\r\nSTLS\r\n.\r\n", Late(Dribble())], "STLS"),
        ("pop3", GREETING, [b"+OK\r\nSTLS\r\n.\r\n", Late(Reply(b"+OK\r\n", then="stall"))], "STLS"),
        ("pop3+plain", GREETING, [b"-ERR\r\n", Late(Dribble())], "login"),
    ],
)
def test_greeting_handshake_and_login_count(
    scheme: str, greeting: bytes | Reply, replies: list[bytes | Reply], step: str, clock: Clock
) -> None:
    late = any(isinstance(reply, Late) for reply in [greeting, *replies])

    def connected(address: tuple[str, int], seconds: float | None) -> socket.socket:
        sock = socket.create_connection(address, seconds)
        if not late:
            clock.nearly_over()
        return sock

    greeting, *replies = [reply.by(clock) if isinstance(reply, Late) else reply for reply in [greeting, *replies]]
    with ScriptedServer(greeting, replies) as server:
        with pytest.raises(TimeoutError, match=rf"{step}: the deadline of 3600 seconds for the session has passed"):
            connect(url(scheme, server), password="secret", deadline=HOUR, timeout=None, sock=connected)


def test_a_deadline_far_away_changes_nothing() -> None:
    with MailboxServer([MESSAGE] * 50, tls=True) as server:
        with connect(url("pop3s", server), password="password", deadline=60, context=server.client_context) as pop:
            assert [message.content for message in pop.retr_many()] == [MESSAGE] * 50
            assert pop.sock.gettimeout() == 60.0
            pop.sock.settimeout(7)
            assert pop.retr_bytes(1) == MESSAGE
            assert pop.sock.gettimeout() == 7


def test_the_time_out_of_each_wait_holds_where_it_is_shorter() -> None:
    with ScriptedServer(GREETING, [Reply(b"+O", then="stall")]) as server:
        with closing(connect(url("pop3+plain", server), deadline=60)) as pop:
            pop.sock.settimeout(0.1)
            with pytest.raises(TimeoutError, match=r"^timed out$"):
                pop.noop()


@pytest.mark.parametrize("deadline", [0, -1, float("nan")])
def test_a_deadline_is_more_than_nothing(deadline: float) -> None:
    with pytest.raises(ValueError, match="a deadline is more than 0 seconds"):
        connect("pop3s://mail.example.org", deadline=deadline)
    with ScriptedServer(GREETING) as server, closing(connect_plainly(server)) as pop:
        with pytest.raises(ValueError, match="a deadline is more than 0 seconds"):
            pop.retr_bytes(1, deadline=deadline)
        assert pop.in_step


# The total time of one call.

WITH_DEADLINE: dict[str, Callable[[POP3], object]] = {
    "retr_bytes": lambda pop: pop.retr_bytes(1, deadline=DEADLINE),
    "retr_into": lambda pop: pop.retr_into(1, io.BytesIO(), deadline=DEADLINE),
    "retr_many": lambda pop: list(pop.retr_many([1, 2], pipelining=True, deadline=DEADLINE)),
    "retr_many, all": lambda pop: list(pop.retr_many(deadline=DEADLINE)),
    "retr_many, one by one": lambda pop: list(pop.retr_many([1, 2], pipelining=False, deadline=DEADLINE)),
    "retr_pieces": lambda pop: list(pop.retr_pieces([1, 2], pipelining=True, deadline=DEADLINE)),
    "retr_pieces, all": lambda pop: list(pop.retr_pieces(deadline=DEADLINE)),
    "top_many": lambda pop: list(pop.top_many([1, 2], pipelining=True, deadline=DEADLINE)),
}


@pytest.mark.parametrize("ask", WITH_DEADLINE.values(), ids=list(WITH_DEADLINE))
def test_a_call_may_have_a_deadline_of_its_own(ask: Callable[[POP3], object]) -> None:
    with ScriptedServer(GREETING, lambda _: LONG) as server, closing(connect_plainly(server)) as pop:
        with pytest.raises(TimeoutError, match=r"deadline of 0\.15 seconds for (the )?(RETR|TOP)"):
            ask(pop)
        assert_over_time(pop, server)


def test_a_calls_deadline_ends_with_it_and_the_sessions_goes_on(clock: Clock) -> None:
    retrieved = b"+OK\r\n" + MESSAGE + b".\r\n"
    with ScriptedServer(GREETING, [retrieved, retrieved, Dribble()]) as server:
        pop = connect(url("pop3+plain", server), deadline=HOUR)
        assert pop.retr_bytes(1, deadline=60) == CONTENT
        assert [message.content for message in pop.retr_many([1], pipelining=True, deadline=60)] == [CONTENT]
        clock.nearly_over()
        with pytest.raises(TimeoutError, match=r"3600 seconds for the session"):
            pop.noop()
        pop.close()


def test_a_loops_deadline_counts_what_the_program_does_in_it(clock: Clock) -> None:
    with MailboxServer([MESSAGE] * 300) as server:
        pop = connect(url("pop3+plain", server), password="password")
        seen: list[Message] = []

        def take_all() -> None:
            for message in pop.retr_many(deadline=HOUR):
                seen.append(message)
                if len(seen) == 5:
                    clock.over()

        with pytest.raises(TimeoutError, match="the RETR of many messages"):
            take_all()
        # What had come already is handed over.
        assert 5 <= len(seen) < 300
        pop.close()


def test_sending_counts_too(clock: Clock) -> None:
    # A server that reads nothing: what is sent to it fills the buffers, and then waits.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        port = listener.getsockname()[1]
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer, _ = listener.accept()
        with peer:
            peer.sendall(GREETING)
            pop = connect(f"pop3+plain://127.0.0.1:{port}", sock=sock, deadline=HOUR, timeout=None)
            clock.nearly_over()
            with pytest.raises(TimeoutError, match="for the session has passed"):
                pop._shortcmd("X" * (2**20 - 1))
            with pytest.raises(ProtocolError):
                pop.noop()
            pop.close()
