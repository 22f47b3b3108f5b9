"""retr_many, top_many and dele_many on the wire: the window, where it is used, the outcomes, what is shown of it.

Owns the window as a server sees it, and the two halves of seeing it, which other tests of bulk use as well: a client
whose socket remembers, and a server that answers when it likes.
"""

import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import pytest

import pop3fast._batch
import pop3fast._kept_back
import pop3fast._pipeline
import pop3fast._proof
from pop3fast import POP3, CommandError, Message, ProtocolError
from pop3fast._batch import DEFAULT_WINDOW, MAX_EXPECTED_OCTETS
from pop3fast._proof import MAX_UNANSWERED_OCTETS
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer
from shapes import GREETING

TIMEOUT = 10.0

with_and_without_pipelining = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one by one"])


# ---- seeing it ----


class Wire:
    """What went over one connection: what was written, one item a write, and between that what was received."""

    def __init__(self) -> None:
        self.events: list[tuple[str, bytes]] = []

    @property
    def writes(self) -> list[bytes]:
        return [octets for kind, octets in self.events if kind == "sent"]

    @property
    def commands(self) -> list[bytes]:
        return b"".join(self.writes).split(b"\r\n")[:-1]

    def in_flight(self) -> list[list[bytes]]:
        """Say for each write which commands had no whole reply when it was done, the new ones at the end."""
        moments = []
        waiting: deque[bytes] = deque()
        received = bytearray()
        for kind, octets in self.events:
            if kind == "sent":
                waiting.extend(octets.split(b"\r\n")[:-1])
                moments.append(list(waiting))
                continue
            received += octets
            while waiting and (length := _length_of_reply(waiting[0], received)):
                del received[:length]
                waiting.popleft()
        return moments


def _length_of_reply(command: bytes, received: bytearray) -> int:
    verb, _, argument = command.partition(b" ")
    has_body = verb in {b"RETR", b"TOP", b"CAPA"} or (verb in {b"LIST", b"UIDL"} and not argument)
    if has_body and received.startswith(b"+"):
        end = received.find(b"\r\n.\r\n")
        return end + 5 if end >= 0 else 0
    return received.find(b"\r\n") + 2 if b"\r\n" in received else 0


class _RecordingSocket(socket.socket):
    # Under the name of the class whose place it takes, by which the client knows a socket.
    __module__, __qualname__ = "socket", "socket"

    wire: Wire

    def sendall(self, data: Any, flags: int = 0, /) -> None:  # noqa: ANN401 - whatever a socket takes
        self.wire.events.append(("sent", bytes(data)))
        super().sendall(data, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:  # noqa: ANN401 - as above
        octets = super().recv_into(buffer, nbytes, flags)
        self.wire.events.append(("received", bytes(memoryview(buffer)[:octets])))
        return octets


class RecordedPOP3(POP3):
    """A POP3 whose socket remembers, and whose buffers can be made small."""

    buffer_octets: int | None = None
    wire: Wire

    def _create_socket(self, timeout: float | None) -> socket.socket:
        sock = _RecordingSocket()
        self.wire = sock.wire = Wire()
        if self.buffer_octets is not None:  # which has an effect before the connection is made
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer_octets)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.buffer_octets)
        sock.settimeout(timeout)
        sock.connect((self.host, self.port))
        return sock


class PatientServer:
    """Answers a command as soon as `lag` more have come behind it, or, when nothing comes any more, all that wait.

    `rounds` are how many it answered at a time because nothing came: with no `lag`, what one round trip carries. It
    knows no login, reads nothing while it writes, and its buffers can be made small.
    """

    def __init__(
        self,
        answer: Callable[[bytes], bytes],
        *,
        lag: int = sys.maxsize,
        patience: float = 0.05,
        buffer_octets: int | None = None,
    ) -> None:
        self.rounds: list[int] = []
        self._answer = answer
        self._lag = lag
        self._patience = patience
        self._connection: socket.socket | None = None
        self._listener = socket.socket()
        if buffer_octets is not None:  # a connection has those of the socket that it came in by
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_octets)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_octets)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.address: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._serve, name="PatientServer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):  # it wakes accept(), if that is where the thread is
            socket.create_connection(self.address, timeout=1).close()
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(TIMEOUT)
        self._listener.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        self._connection, _ = self._listener.accept()
        with self._connection, suppress(OSError):
            self._connection.sendall(GREETING)
            self._talk(self._connection)

    def _talk(self, connection: socket.socket) -> None:
        waiting: deque[bytes] = deque()
        unread = b""
        while True:
            connection.settimeout(self._patience)
            try:
                octets = connection.recv(4096)
            except TimeoutError:
                octets = None
            connection.settimeout(TIMEOUT)
            if octets is not None:
                if not octets:
                    return
                *lines, unread = (unread + octets).split(b"\r\n")
                waiting.extend(lines)
                while len(waiting) > self._lag:
                    connection.sendall(self._answer(waiting.popleft()))
            elif waiting:
                self.rounds.append(len(waiting))
                connection.sendall(b"".join(map(self._answer, waiting)))
                waiting.clear()


def message(number: int, octets: int = 0) -> bytes:
    """Make a message that is told from every other one."""
    head = b"Subject: %d\r\n\r\n%d\r\n" % (number, number)
    return head + (b"x" * (octets - len(head) - 2) + b"\r\n" if octets else b"")


def contents(server: MailboxServer) -> dict[int, bytes]:
    """Ask for every message one by one, with poplib's own command."""
    with logged_in(server) as pop:
        return {number: b"".join(line + b"\r\n" for line in pop.retr(number)[1]) for number in pop.sizes()}


def answer(command: bytes) -> bytes:
    """Answer any command about a message with one that names it."""
    if command == b"QUIT":
        return b"+OK bye\r\n"
    return b"+OK\r\n" + message(int(command.split()[1])) + b".\r\n"


@contextmanager
def connected(
    server: PatientServer | ScriptedServer | MailboxServer,
    *,
    timeout: float = TIMEOUT,
    buffer_octets: int | None = None,
) -> Iterator[RecordedPOP3]:
    """Connect, without QUIT at the end."""
    kind = type("Recorded", (RecordedPOP3,), {"buffer_octets": buffer_octets})
    pop: RecordedPOP3 = kind(*server.address, timeout=timeout)
    try:
        yield pop
    finally:
        pop.close()


@contextmanager
def logged_in(server: MailboxServer, *, timeout: float = TIMEOUT) -> Iterator[RecordedPOP3]:
    """Log in, and remember what comes from there on; without QUIT at the end."""
    with connected(server, timeout=timeout) as pop:
        pop.user(server.user)
        pop.pass_(server.password)
        pop.wire.events.clear()
        yield pop


def numbers_of(messages: Iterable[Message]) -> list[int]:
    """Return the numbers of messages, each of which must have its own content."""
    numbers = []
    for one in messages:
        assert one.content.startswith(b"Subject: %d\r\n" % one.number)
        numbers.append(one.number)
    return numbers


def octets_of(commands: Iterable[bytes]) -> int:
    return sum(len(command) + 2 for command in commands)


# ---- the window ----


def test_a_round_trip_carries_1_4_16_64_commands_and_then_the_window() -> None:
    with PatientServer(answer, patience=0.1) as server, connected(server) as pop:
        assert numbers_of(pop.retr_many(range(1, 251), pipelining=True)) == list(range(1, 251))
    assert server.rounds == [1, 4, 16, 64, DEFAULT_WINDOW, 65]


def test_the_window_slides_new_commands_go_out_before_the_last_ones_are_answered() -> None:
    """The server holds eight commands back until more come: filled and drained, each window would end in a wait."""
    with PatientServer(answer, lag=8, patience=0.5) as server, connected(server) as pop:
        assert numbers_of(pop.retr_many(range(1, 501), window=20, pipelining=True)) == list(range(1, 501))
    # It waited while the window was smaller than that, and for what never came at the end.
    assert sum(server.rounds[:-1]) <= 1 + 4 + 8
    assert len(server.rounds) <= 4


def test_commands_leave_whole_and_many_to_a_write() -> None:
    with MailboxServer([message(1, 4096)] * 3000) as server, logged_in(server) as pop:
        got = sum(1 for _ in pop.retr_many(range(1, 3001)))
    retr = [octets for octets in pop.wire.writes if octets.startswith(b"RETR")]
    assert got == 3000
    assert b"".join(retr) == b"".join(b"RETR %d\r\n" % number for number in range(1, 3001))
    assert all(octets.endswith(b"\r\n") for octets in pop.wire.writes)
    assert len(retr) < 3000 / 5


def test_un_answered_commands_never_have_more_octets_than_servers_were_seen_to_hold() -> None:
    howmuch = 10**18 - 1
    with MailboxServer([message(1)] * 1000, latency=0.001) as server, logged_in(server) as pop:
        assert sum(1 for _ in pop.top_many(range(1, 1001), howmuch)) == 1000
    moments = [octets_of(commands) for commands in pop.wire.in_flight()]
    assert max(moments) <= MAX_UNANSWERED_OCTETS
    # It was this limit that decided, not the window.
    assert max(moments) > 0.9 * MAX_UNANSWERED_OCTETS  # each is counted as the longest
    assert max(map(len, pop.wire.in_flight())) < DEFAULT_WINDOW


@pytest.mark.parametrize("digits", [600, 3000])
def test_arguments_of_any_length_are_sent_whole_and_within_the_limit(digits: int) -> None:
    howmuch = 10 ** (digits - 1)
    with ScriptedServer(GREETING, answer) as server, connected(server) as pop:
        assert numbers_of(pop.top_many(range(1, 51), howmuch, pipelining=True)) == list(range(1, 51))
        assert server.commands == [b"TOP %d %d" % (number, howmuch) for number in range(1, 51)]
    room = max(1, MAX_UNANSWERED_OCTETS // len(f"TOP 50 {howmuch}\r\n"))
    assert max(map(len, pop.wire.in_flight())) == room


@pytest.mark.parametrize("window", [1, 2, 7, 30])
def test_never_more_commands_are_in_flight_than_the_window_allows(window: int) -> None:
    with MailboxServer([message(1)] * 200, latency=0.001) as server, logged_in(server) as pop:
        assert sum(1 for _ in pop.retr_many(window=window)) == 200
    assert max(map(len, pop.wire.in_flight())) == window


def test_with_4_kb_buffers_and_a_server_that_does_not_read_while_it_writes_5000_messages_finish() -> None:
    def reply(command: bytes) -> bytes:
        return b"+OK\r\n" + message(int(command.split()[1]), 2048) + b".\r\n"

    with (
        PatientServer(reply, lag=0, buffer_octets=4096) as server,
        connected(server, buffer_octets=4096, timeout=5) as pop,
    ):
        assert numbers_of(pop.retr_many(range(1, 5001), window=5000, pipelining=True)) == list(range(1, 5001))
    moments = pop.wire.in_flight()
    assert max(map(octets_of, moments)) <= MAX_UNANSWERED_OCTETS
    assert max(map(len, moments)) > 100


def test_without_its_limit_on_octets_the_client_would_wait_for_ever_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the limit is for, and that the test before this one can fail."""

    def reply(command: bytes) -> bytes:
        return b"+OK\r\n" + message(int(command.split()[1]), 8192) + b".\r\n"

    monkeypatch.setattr(pop3fast._proof, "MAX_UNANSWERED_OCTETS", 2**20)
    monkeypatch.setattr(pop3fast._batch, "MAX_EXPECTED_OCTETS", 2**30)
    monkeypatch.setattr(pop3fast._pipeline, "MAX_EXPECTED_OCTETS", 2**30)
    monkeypatch.setattr(pop3fast._kept_back, "MAX_EXPECTED_OCTETS", 2**30)
    monkeypatch.setattr(pop3fast._kept_back, "MAX_KEPT_BACK_OCTETS", 2**30)
    with (
        PatientServer(reply, lag=0, buffer_octets=4096) as server,
        connected(server, buffer_octets=4096) as pop,
    ):
        pop.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            list(pop.retr_many(range(10**18, 10**18 + 5000), window=5000, pipelining=True))


@pytest.mark.parametrize("listed", [True, False], ids=["sizes from LIST", "sizes from what came"])
def test_large_messages_are_not_asked_for_far_ahead_of_time(listed: bool) -> None:  # noqa: FBT001
    octets = 500_000
    with MailboxServer([message(1, octets)] * 40) as server, logged_in(server) as pop:
        messages = pop.retr_many(None if listed else range(1, 41))
        assert sum(one.octets for one in messages) == 40 * octets
    in_flight = max(map(len, pop.wire.in_flight()))
    assert 2 <= in_flight <= MAX_EXPECTED_OCTETS // octets + 1


def test_sizes_that_a_server_makes_up_do_not_stop_the_loop() -> None:
    def reply(command: bytes) -> bytes:
        listing = b"".join(b"%d 18446744073709551615\r\n" % number for number in range(1, 31))
        return b"+OK\r\n" + listing + b".\r\n" if command == b"LIST" else answer(command)

    with ScriptedServer(GREETING, reply) as server, connected(server) as pop:
        assert numbers_of(pop.retr_many(pipelining=True)) == list(range(1, 31))


# ---- where it is used ----


def server_that_says(*capabilities: str) -> MailboxServer:
    return MailboxServer([message(number) for number in range(1, 41)], capabilities=capabilities, latency=0.001)


@pytest.mark.parametrize(
    ("capabilities", "pipelining", "pipelined"),
    [
        (["PIPELINING"], None, True),
        (["pipelining"], None, True),
        (["PIPELINE"], None, True),  # quirk q134
        (["TOP", "USER"], None, False),
        ([], None, False),
        ([], True, True),
        (["TOP"], True, True),
        (["PIPELINING"], False, False),
    ],
)
def test_many_commands_are_in_flight_where_capa_or_the_caller_says_so(
    capabilities: list[str],
    pipelining: bool | None,  # noqa: FBT001
    pipelined: bool,  # noqa: FBT001
) -> None:
    with server_that_says(*capabilities) as server, logged_in(server) as pop:
        assert numbers_of(pop.retr_many(pipelining=pipelining)) == list(range(1, 41))
        assert numbers_of(pop.top_many(pipelining=pipelining)) == list(range(1, 41))
        assert pop.dele_many(range(1, 41), pipelining=pipelining) == 40
        for verb in (b"RETR", b"TOP", b"DELE"):
            in_flight = [moment for moment in pop.wire.in_flight() if moment[-1].startswith(verb)]
            assert (max(map(len, in_flight)) > 1) == pipelined
        assert pop.noop() == b"+OK"


def test_capa_is_asked_again_after_the_login_and_then_remembered() -> None:
    """Gmail says PIPELINING only then (quirk q17)."""
    capabilities = iter([b"TOP\r\nSASL PLAIN\r\n", b"TOP\r\nPIPELINING\r\n"])

    def reply(command: bytes) -> bytes:
        if command == b"CAPA":
            return b"+OK\r\n" + next(capabilities) + b".\r\n"
        return answer(command) if command.startswith(b"RETR") else b"+OK\r\n"

    with ScriptedServer(GREETING, reply) as server, connected(server) as pop:
        assert not pop.supports("PIPELINING")
        pop.user("user")
        pop.pass_("password")
        for _ in range(2):
            assert numbers_of(pop.retr_many(range(1, 21))) == list(range(1, 21))
        assert pop.supports("pipelining")
        assert server.commands[:4] == [b"CAPA", b"USER user", b"PASS password", b"CAPA"]
        assert server.commands.count(b"CAPA") == 2
    assert max(map(len, pop.wire.in_flight())) > 1


def test_what_a_server_took_back_at_the_login_is_not_used() -> None:
    capabilities = iter([b"PIPELINING\r\n", b"TOP\r\n"])

    def reply(command: bytes) -> bytes:
        if command == b"CAPA":
            return b"+OK\r\n" + next(capabilities) + b".\r\n"
        return answer(command) if command.startswith(b"RETR") else b"+OK\r\n"

    with ScriptedServer(GREETING, reply) as server, connected(server) as pop:
        assert pop.supports("PIPELINING")
        pop.user("user")
        pop.pass_("password")
        assert numbers_of(pop.retr_many(range(1, 21))) == list(range(1, 21))
    assert max(map(len, pop.wire.in_flight())) == 1


def test_capa_that_a_server_does_not_know_is_no_error() -> None:
    with MailboxServer([message(1), message(2)], unsupported=["CAPA"]) as server, logged_in(server) as pop:
        assert numbers_of(pop.retr_many()) == [1, 2]
        assert pop.capabilities() == {}


# ---- which messages ----


def test_without_numbers_it_is_every_message_that_list_shows() -> None:
    with MailboxServer([message(number) for number in range(1, 8)]) as server, logged_in(server) as pop:
        pop.dele(3)
        assert numbers_of(pop.retr_many()) == [1, 2, 4, 5, 6, 7]
        assert numbers_of(pop.top_many()) == [1, 2, 4, 5, 6, 7]


def test_without_messages_the_loop_is_over_at_once() -> None:
    with MailboxServer() as server, logged_in(server) as pop:
        assert list(pop.retr_many()) == []
        assert list(pop.top_many()) == []
        assert pop.noop() == b"+OK"


@with_and_without_pipelining
@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([3, 1, 2], [3, 1, 2]),
        ([2, 2, 2], [2, 2, 2]),
        (["5", 6, "7"], [5, 6, 7]),
        (range(2, 40, 3), list(range(2, 40, 3))),
        ((9, 8), [9, 8]),
        ({4: "d", 5: "e"}, [4, 5]),
        ([], []),
    ],
    ids=repr,
)
def test_messages_come_in_the_order_asked_for(
    numbers: Iterable[int | str],
    expected: list[int],
    pipelining: bool,  # noqa: FBT001
) -> None:
    with MailboxServer([message(number) for number in range(1, 41)]) as server, logged_in(server) as pop:
        assert numbers_of(pop.retr_many(iter(numbers), pipelining=pipelining)) == expected
        assert numbers_of(pop.top_many(numbers, pipelining=pipelining)) == expected
        assert pop.dele_many(dict.fromkeys(numbers), pipelining=pipelining) == len(set(expected))
        assert pop.stat()[0] == 40 - len(set(expected))


@pytest.mark.parametrize(
    "wrong",
    [-1, "-1", "x", "", "1 2", "1\r\nDELE 2", "1\n", None, 2**64, "9" * 30, 1.9, "1.9", "1_0", "\u0663", b"3", [1]],
    ids=repr,
)
def test_what_is_no_message_number_is_named_and_nothing_is_sent(wrong: object) -> None:
    numbers: Any = [1, wrong, 2]
    with MailboxServer([message(1)]) as server, logged_in(server) as pop:
        for call in (pop.retr_many, pop.top_many, pop.dele_many):
            with pytest.raises(ValueError, match="not a message number") as caught:
                call(numbers)
            assert repr(wrong) in str(caught.value)
        assert pop.wire.writes == []
        assert pop.noop() == b"+OK"


@pytest.mark.parametrize("name", ["retr_many", "top_many", "dele_many"])
@pytest.mark.parametrize("wrong", ["12", b"12", 12], ids=repr)
def test_one_number_that_is_in_no_list_is_not_taken_apart(name: str, wrong: object) -> None:
    """A str is an iterable of str: "12" would be the messages 1 and 2."""
    with MailboxServer([message(number) for number in range(1, 13)]) as server, logged_in(server) as pop:
        with pytest.raises((TypeError, ValueError)):
            getattr(pop, name)(wrong)
        assert pop.wire.writes == []
        assert pop.stat()[0] == 12


def test_no_numbers_at_all_are_not_every_message_to_dele_many() -> None:
    """`None` is every message to the two that only look; here it would be a variable that somebody forgot to set."""
    forgotten: Any = None
    with MailboxServer([message(number) for number in range(1, 13)]) as server, logged_in(server) as pop:
        with pytest.raises((TypeError, ValueError)):
            pop.dele_many(forgotten)
        assert pop.stat()[0] == 12
        pop.quit()
        assert server.deleted == []


@pytest.mark.parametrize("window", [0, -1, -100])
def test_a_window_that_lets_nothing_through_is_named_and_nothing_is_sent(window: int) -> None:
    with MailboxServer([message(1)]) as server, logged_in(server) as pop:
        for call in (pop.retr_many, pop.top_many, pop.dele_many):
            with pytest.raises(ValueError, match=f"window.*{window}"):
                call([1], window=window)
        assert pop.wire.writes == []


# ---- what comes of each ----


@with_and_without_pipelining
def test_a_refusal_is_raised_at_its_turn_and_the_session_goes_on(pipelining: bool) -> None:  # noqa: FBT001
    with MailboxServer([message(number) for number in range(1, 41)]) as server, logged_in(server) as pop:
        messages = pop.retr_many([1, 2, 99, 3, 4], pipelining=pipelining)
        assert (next(messages).number, next(messages).number) == (1, 2)
        with pytest.raises(CommandError) as caught:
            next(messages)
        assert (caught.value.command, caught.value.number) == ("RETR", 99)
        assert caught.value.args == (caught.value.response,)
        assert caught.value.response.startswith(b"-ERR ")
        assert pop.noop() == b"+OK"
        assert pop.retr_bytes(7) == message(7)
        assert numbers_of(pop.retr_many(range(5, 20), pipelining=pipelining)) == list(range(5, 20))
        assert list(messages) == []


@with_and_without_pipelining
@pytest.mark.parametrize("verb", ["RETR", "TOP", "DELE"])
def test_on_error_gets_each_refusal_at_its_turn_and_the_rest_comes(verb: str, pipelining: bool) -> None:  # noqa: FBT001
    outcomes: list[int] = []

    def on_error(error: CommandError) -> None:
        assert error.command == verb
        assert error.number is not None
        outcomes.append(-error.number)

    numbers = [50, 1, 2, 51, 52, *range(3, 31), 53, 31, 54]
    with MailboxServer([message(number) for number in range(1, 41)]) as server, logged_in(server) as pop:
        if verb == "DELE":
            assert pop.dele_many(numbers, on_error=on_error, pipelining=pipelining) == 31
            assert outcomes == [-50, -51, -52, -53, -54]
            assert pop.stat()[0] == 9
        else:
            many = pop.retr_many if verb == "RETR" else pop.top_many
            for one in many(numbers, on_error=on_error, pipelining=pipelining):
                outcomes += numbers_of([one])
            assert outcomes == [-number if number >= 50 else number for number in numbers]


def test_a_refusal_of_dele_is_raised_with_its_number_and_what_was_marked_can_be_unmarked() -> None:
    with MailboxServer([message(number) for number in range(1, 41)]) as server, logged_in(server) as pop:
        with pytest.raises(CommandError) as caught:
            pop.dele_many([*range(1, 21), 99, *range(21, 31)])
        assert (caught.value.command, caught.value.number) == ("DELE", 99)
        assert 10 <= pop.stat()[0] <= 20
        pop.rset()
        assert pop.stat()[0] == 40
        pop.quit()
        assert server.deleted == []


def test_deleted_is_what_was_asked_for_and_nothing_else() -> None:
    with MailboxServer([message(number) for number in range(1, 401)]) as server:
        with logged_in(server) as pop:
            assert pop.dele_many(range(1, 401, 2)) == 200
            pop.quit()
        assert server.deleted == list(range(1, 401, 2))


def test_after_ten_refusals_in_a_row_one_command_is_in_flight_at_a_time() -> None:
    """Dovecot hangs up after twenty."""

    def reply(command: bytes) -> bytes:
        number = int(command.split()[1])
        return b"-ERR no\r\n" if 1000 <= number < 2000 else b"+OK\r\n" + message(number) + b".\r\n"

    refused: list[CommandError] = []
    numbers = [*range(1, 22), *range(1000, 1030), *range(100, 200)]
    with PatientServer(reply, patience=0.03) as server, connected(server) as pop:
        for one in pop.retr_many(numbers, pipelining=True, window=16, on_error=refused.append):
            assert one.content == message(one.number)
    assert len(refused) == 30
    # 1 + 4 + 16 good ones; sixteen that were on their way; one by one; and growing again from the first good one.
    assert server.rounds[:3] == [1, 4, 16]
    assert server.rounds[3:19] == [16] + [1] * 15
    assert server.rounds[19:22] == [4, 16, 16]


# ---- what is shown of it ----

_audited: list[tuple[object, bytes]] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "poplib.putline" and _audited is not None:
        _audited.append(arguments)


sys.addaudithook(_audit)


@contextmanager
def audited() -> Iterator[list[tuple[object, bytes]]]:
    global _audited  # noqa: PLW0603 - an audit hook stays for the life of the process
    events: list[tuple[object, bytes]] = []
    _audited = events
    try:
        yield events
    finally:
        _audited = None


@with_and_without_pipelining
def test_each_command_is_an_audit_event(pipelining: bool) -> None:  # noqa: FBT001
    with MailboxServer([message(number) for number in range(1, 41)]) as server, logged_in(server) as pop:
        with audited() as events:
            assert sum(1 for _ in pop.retr_many(range(1, 31), pipelining=pipelining)) == 30
            assert sum(1 for _ in pop.top_many(range(1, 31), 2, pipelining=pipelining)) == 30
            assert pop.dele_many(range(1, 31), pipelining=pipelining) == 30
        assert [line for _, line in events] == pop.wire.commands
        assert all(who is getattr(pop, "pop", pop) for who, _ in events)  # of a twin, the session itself
        assert pop.wire.commands == [
            *(b"RETR %d" % number for number in range(1, 31)),
            *(b"TOP %d 2" % number for number in range(1, 31)),
            *(b"DELE %d" % number for number in range(1, 31)),
        ]


def test_each_command_is_printed_as_a_single_one_is(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for pipelining in (False, True):
        with MailboxServer([message(number) for number in range(1, 41)]) as server, logged_in(server) as pop:
            pop.set_debuglevel(1)
            for one in pop.retr_many(pipelining=pipelining):
                if one.number == 20:
                    pop.noop()
            pop.dele_many(range(1, 11), pipelining=pipelining)
        shown.append(sorted(capsys.readouterr().out.splitlines()))
    assert shown[0] == shown[1]
    assert "*cmd* 'RETR 17'" in shown[1]
    assert "*cmd* 'DELE 10'" in shown[1]
    assert "*cmd* 'NOOP'" in shown[1]


def test_an_audit_hook_that_forbids_a_command_has_it_not_sent() -> None:
    class ForbiddingPOP3(RecordedPOP3):
        def _putline(self, line: bytes) -> None:
            if line == b"DELE 7":
                raise PermissionError("not that one")
            super()._putline(line)

    with MailboxServer([message(number) for number in range(1, 41)]) as server:
        pop = ForbiddingPOP3(*server.address, timeout=TIMEOUT)
        try:
            pop.user(server.user)
            pop.pass_(server.password)
            with pytest.raises(PermissionError):
                pop.dele_many(range(1, 21))
            assert b"DELE 7" not in server.commands
            with pytest.raises(ProtocolError):
                pop.noop()
        finally:
            pop.close()
        assert server.deleted == []
