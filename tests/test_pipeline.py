"""Pipeline and Batch without a socket: what may be written when, which reply is whose, and what is not believed.

Owns the rules of commands in flight. A server here is a function from the commands that were written to octets.
"""

from array import array
from collections import deque
from collections.abc import Iterable
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fast import CommandError, ConnectionLost, LimitExceeded, ProtocolError
from pop3fast._batch import MAX_EXPECTED_OCTETS, MIN_IN_FLIGHT, Batch
from pop3fast._framing import Framer, FramingLimitError
from pop3fast._pipeline import Pipeline
from pop3fast._proof import MAX_REFUSALS_IN_A_ROW, MAX_UNANSWERED_OCTETS

LINE_LIMIT = 2**20
MAX_OCTETS = 2**30

# Behind a terminator that came too early there is the rest of a message, and none of these is a reply to RETR.
NO_REPLIES = (b"rest of a message", b"", b" +OK", b"OK", b"-- ", b"--=_boundary", b"-1", b"+1 me too", b"+\0")

Received = tuple[int, bytes]


def batch_of(
    numbers: Iterable[int],
    verb: str = "RETR",
    *,
    arguments: str = "",
    sizes: Iterable[int] | None = None,
    window: int = 100,
) -> Batch[Received]:
    return Batch(
        verb,
        array("Q", numbers),
        lambda number, body: (number, body),
        arguments=arguments,
        has_body=verb != "DELE",
        sizes=None if sizes is None else array("Q", sizes),
        window=window,
    )


NOTHING = batch_of([])
"""With it a step only takes what has come."""


class Connection:
    """A Pipeline between test and framer, and how much is on its way."""

    def __init__(self) -> None:
        self.framer = Framer()
        self.pipeline = Pipeline(self.framer)
        self.unanswered: list[str] = []

    def write(self, batch: Batch[Received]) -> list[str]:
        """Let the pipeline write; the commands must be within what a server can hold."""
        # As if the loop had taken what has arrived.
        waiting, batch.arrived = batch.arrived, type(batch.arrived)()
        lines = self.pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
        waiting.extend(batch.arrived)
        batch.arrived = waiting
        self.unanswered += lines
        octets = sum(len(line) + 2 for line in self.unanswered)
        assert octets <= MAX_UNANSWERED_OCTETS or len(self.unanswered) == 1
        return lines

    def receive(self, octets: bytes, answers: int = 0) -> None:
        """Let octets arrive, with which so many replies end."""
        self.framer.feed(octets)
        self.pipeline.step(NOTHING, LINE_LIMIT, MAX_OCTETS)
        del self.unanswered[:answers]


def reply(body: bytes) -> bytes:
    return b"+OK\r\n" + body + b".\r\n"


def body_of(line: str) -> bytes:
    return f"this answers {line}\r\n".encode()


def arrived(batch: Batch[Received]) -> list[Received]:
    """Take what has arrived; an error is its message number and what the server said."""
    outcomes: list[Received] = []
    while batch.arrived:
        outcome = batch.arrived.popleft()
        if isinstance(outcome, CommandError):
            assert outcome.number is not None
            outcomes.append((outcome.number, outcome.response))
        else:
            outcomes.append(outcome)
    return outcomes


def prove(connection: Connection, *, window: int = 100) -> None:
    """Let the server answer as many commands as it needs to be believed, and the window be one command again."""
    batch = batch_of(range(100, 1000), window=window)
    while not batch.ended:
        lines = connection.write(batch)
        connection.receive(b"".join(reply(body_of(line)) for line in lines), len(lines))
    assert len(arrived(batch)) == 900
    connection.pipeline._proof.window = 1


def grown(connection: Connection, batch: Batch[Received], *, proven: bool = True) -> list[str]:
    """Answer until four commands are in flight: RETR 1 has been, and RETR 2 to 5 have not."""
    if proven:
        prove(connection)
    assert connection.write(batch) == ["RETR 1"]
    connection.receive(reply(b"1\r\n"), 1)
    assert arrived(batch) == [(1, b"1\r\n")]
    lines = connection.write(batch)
    assert lines == ["RETR 2", "RETR 3", "RETR 4", "RETR 5"]
    return lines


# ---- what may be written ----


def test_the_window_grows_1_4_16_64_a_round_trip_up_to_its_greatest() -> None:
    connection, batch = Connection(), batch_of(range(1, 501))
    rounds = []
    for _ in range(6):
        lines = connection.write(batch)
        rounds.append(len(lines))
        connection.receive(b"".join(reply(body_of(line)) for line in lines), len(lines))
    assert rounds == [1, 4, 16, 64, 100, 100]


@pytest.mark.parametrize("window", [1, 2, 3, 50])
def test_there_are_never_more_commands_in_flight_than_the_window_allows(window: int) -> None:
    connection, batch = Connection(), batch_of(range(1, 301), window=window)
    most = 0
    while not batch.ended:
        connection.write(batch)
        most = max(most, len(connection.unanswered))
        connection.receive(reply(b""), 1)
        arrived(batch)
    assert most == window


def test_commands_go_out_while_others_are_in_flight() -> None:
    connection, batch = Connection(), batch_of(range(1, 301), window=20)
    drained = 0
    while not batch.ended:
        connection.write(batch)
        connection.receive(reply(b""), 1)
        drained += not connection.unanswered
    # After the first command, where the window was one, after the trial of four, and at the very end.
    assert drained == 3


def test_commands_go_out_by_an_eighth_of_the_window_and_not_one_by_one() -> None:
    connection, batch = Connection(), batch_of(range(1, 901), window=80)
    prove(connection)
    written = []
    while not batch.ended:
        if lines := connection.write(batch):
            written.append(len(lines))
        connection.receive(reply(b""), 1)
        arrived(batch)
    # The window grows at first; the last write has what is left.
    assert set(written[-20:-1]) == {10}


@pytest.mark.parametrize("listed", [False, True], ids=["sizes unknown", "sizes listed"])
def test_no_trial_is_made_of_more_commands_than_their_replies_let_be_in_flight(*, listed: bool) -> None:
    """Each trial empties the line, and costs a round trip."""
    body = b"x" * (MAX_EXPECTED_OCTETS // 40) + b"\r\n"

    def drained(messages: int) -> int:
        sizes = [len(body)] * messages if listed else None
        connection, batch = Connection(), batch_of(range(1, messages + 1), sizes=sizes)
        prove(connection, window=20)
        drained = 0
        while not batch.ended:
            connection.write(batch)
            connection.receive(reply(body), 1)
            drained += not connection.unanswered
            arrived(batch)
        return drained

    assert drained(400) == drained(150)


def test_nothing_more_is_written_when_all_has_been() -> None:
    connection, batch = Connection(), batch_of([7])
    assert connection.write(batch) == ["RETR 7"]
    assert connection.write(batch) == []
    connection.receive(reply(b""), 1)
    assert batch.ended
    assert connection.write(batch) == []


def test_a_batch_of_nothing_has_ended_and_writes_nothing() -> None:
    connection, batch = Connection(), batch_of([])
    assert batch.ended
    assert connection.write(batch) == []


@pytest.mark.parametrize("digits", [1, 18, 200, 600, 1000])
def test_un_answered_commands_fit_into_what_a_server_can_hold(digits: int) -> None:
    batch = batch_of(range(1, 301), "TOP", arguments=f" {'9' * digits}")
    connection = Connection()
    most = 0
    while not batch.ended:
        connection.write(batch)
        most = max(most, len(connection.unanswered))
        connection.receive(reply(b""), 1)
    room = min(100, MAX_UNANSWERED_OCTETS // len(f"TOP 300 {'9' * digits}\r\n"))
    # For the last eighth no trial is made.
    assert room * 7 // 8 <= most <= room


def test_a_command_longer_than_all_that_a_server_can_hold_goes_out_alone() -> None:
    connection, batch = Connection(), batch_of(range(1, 4), "TOP", arguments=f" {'9' * 3000}")
    sizes = []
    while not batch.ended:
        sizes.append(len(connection.write(batch)))
        connection.receive(reply(b""), 1)
    assert sizes == [1, 1, 1]


def has_room(connection: Connection, octets: int | None) -> bool:
    return connection.pipeline.make_room(octets, LINE_LIMIT, MAX_OCTETS)


def test_another_command_has_room_as_long_as_a_server_is_known_to_hold_it() -> None:
    connection, batch = Connection(), batch_of(range(1, 301), "TOP", arguments=f" {'9' * 90}")
    assert has_room(connection, 5000)  # when nothing is in flight, nobody waits for it
    while len(connection.unanswered) < 10:
        connection.receive(reply(b""), 1) if connection.unanswered else None
        connection.write(batch)
    octets = sum(len(line) + 2 for line in connection.unanswered)
    while len(connection.unanswered) > 5:
        connection.receive(reply(b""), 1)
    # Each may count as long as the longest; and as many octets have been held together.
    free = octets - sum(len(line) + 2 for line in connection.unanswered)
    assert not has_room(connection, free + 3 * 10)
    connection.receive(reply(b"") * 5, 5)
    assert not connection.pipeline.in_flight
    connection.write(batch)


def test_no_other_command_has_room_behind_a_trial() -> None:
    connection, batch = Connection(), batch_of(range(1, 301))
    grown(connection, batch, proven=False)
    connection.receive(reply(b"") * 3, 3)
    assert not has_room(connection, 8)
    connection.receive(reply(b""), 1)
    assert has_room(connection, 8)
    connection.write(batch)
    # Behind commands that slide there is room.
    assert has_room(connection, 8)
    assert connection.pipeline.in_flight
    # But never for one that has to be alone.
    assert not has_room(connection, None)
    connection.receive(reply(b"") * 15, 15)
    assert not has_room(connection, None)
    connection.receive(reply(b""), 1)
    assert has_room(connection, None)


def test_a_batch_that_has_to_wait_for_room_gets_it_when_there_is_some() -> None:
    """A batch that could not send its first command beside another's must be able to when those are answered."""
    connection = Connection()
    first = batch_of(range(1, 401), "TOP", arguments=f" {'9' * 90}")
    second = batch_of(range(401, 501), "TOP", arguments=f" {'9' * 90}")
    while len(connection.unanswered) < MAX_UNANSWERED_OCTETS // len(f"TOP 400 {'9' * 90}\r\n"):
        connection.receive(reply(b""), 1) if connection.unanswered else None
        connection.write(first)
    assert connection.write(second) == []  # no room
    while connection.unanswered:
        connection.receive(reply(b""), 1)
    assert connection.write(second)[:1] == [f"TOP 401 {'9' * 90}"]


@pytest.mark.parametrize("known", [True, False], ids=["by LIST", "by what came"])
def test_few_large_messages_are_asked_for_ahead_of_time(known: bool) -> None:  # noqa: FBT001
    octets = 300_000
    body = b"x" * (octets - 2) + b"\r\n"
    connection, batch = Connection(), batch_of(range(1, 101), sizes=[octets] * 100 if known else None)
    most = 0
    while not batch.ended:
        connection.write(batch)
        most = max(most, len(connection.unanswered))
        connection.receive(reply(body), 1)
        arrived(batch)
    assert MAX_EXPECTED_OCTETS // octets <= most <= MAX_EXPECTED_OCTETS // octets + 1


@pytest.mark.parametrize("octets", [3 * 2**20, 2**64 - 1])
def test_the_next_message_is_asked_for_however_large_they_are(octets: int) -> None:
    """Where the line is long, a round trip between any two messages would be what costs."""
    connection, batch = Connection(), batch_of(range(1, 21), sizes=[octets] * 20)
    prove(connection)
    in_flight = []
    while not batch.ended:
        connection.write(batch)
        in_flight.append(len(connection.unanswered))
        connection.receive(reply(b""), 1)
    assert max(in_flight) == MIN_IN_FLIGHT
    assert in_flight[1:-1] == [MIN_IN_FLIGHT] * 18


def test_what_is_asked_for_ahead_of_time_is_bounded_where_large_and_small_are_mixed() -> None:
    sizes = [5_000_000 if number % 7 == 0 else 100_000 * (number % 5) for number in range(1, 201)]
    connection, batch = Connection(), batch_of(range(1, 201), sizes=sizes)
    while not batch.ended:
        connection.write(batch)
        expected = [sizes[int(line.split()[1]) - 1] for line in connection.unanswered]
        assert len(expected) <= MIN_IN_FLIGHT or sum(expected[:-1]) <= MAX_EXPECTED_OCTETS
        connection.receive(reply(b""), 1)


def test_sizes_do_not_hold_up_commands_without_a_body() -> None:
    connection, batch = Connection(), batch_of(range(1, 201), "DELE")
    rounds = []
    while not batch.ended:
        lines = connection.write(batch)
        rounds.append(len(lines))
        connection.receive(b"+OK deleted\r\n" * len(lines), len(lines))
    assert rounds[:5] == [1, 4, 16, 64, 100]


# ---- which reply is whose ----


def test_each_reply_goes_to_the_oldest_command_without_one() -> None:
    connection, batch = Connection(), batch_of(range(1, 100))
    outcomes = []
    while not batch.ended:
        lines = connection.write(batch)
        connection.receive(b"".join(reply(body_of(line)) for line in lines), len(lines))
        outcomes += arrived(batch)
    assert outcomes == [(number, body_of(f"RETR {number}")) for number in range(1, 100)]


def test_the_replies_to_two_batches_that_take_turns_are_told_apart() -> None:
    connection = Connection()
    one, two = batch_of(range(1, 60)), batch_of(range(60, 120), "TOP", arguments=" 5")
    lines: list[str] = []
    while not (one.ended and two.ended):
        lines += connection.write(one)
        lines += connection.write(two)
        half, lines = lines[: len(lines) // 2 + 1], lines[len(lines) // 2 + 1 :]
        connection.receive(b"".join(reply(body_of(line)) for line in half), len(half))
    assert arrived(one) == [(number, body_of(f"RETR {number}")) for number in range(1, 60)]
    assert arrived(two) == [(number, body_of(f"TOP {number} 5")) for number in range(60, 120)]


def test_a_batch_has_not_ended_while_its_last_outcome_is_kept_back() -> None:
    connection = Connection()
    prove(connection)
    one, two = batch_of([1]), batch_of([2])
    connection.write(one)
    connection.write(two)
    connection.receive(reply(b"1\r\n"), 1)
    assert (arrived(one), one.ended) == ([], False)
    connection.receive(reply(b"2\r\n"), 1)
    assert (arrived(one), one.ended) == ([(1, b"1\r\n")], True)


class OneWay(deque[Received | CommandError]):
    """Outcomes that a loop, perhaps in another thread, may have taken as soon as they are here."""

    def pop(self) -> NoReturn:  # type: ignore[override]  # a deque's has an argument of no use
        pytest.fail("an outcome was handed over, and taken back")


def test_an_outcome_that_was_handed_over_is_not_taken_back() -> None:
    connection, batch = Connection(), batch_of(range(1, 100))
    batch.arrived = OneWay()
    while not batch.ended:
        lines = connection.write(batch)
        connection.receive(b"".join(reply(body_of(line)) for line in lines), len(lines))
    assert arrived(batch) == [(number, body_of(f"RETR {number}")) for number in range(1, 100)]


def test_replies_to_an_abandoned_batch_are_taken_and_thrown_away() -> None:
    connection = Connection()
    one, two = batch_of(range(1, 60)), batch_of(range(60, 120))
    lines = grown(connection, one) + connection.write(two)
    one.abandoned = True
    connection.receive(b"".join(reply(body_of(line)) for line in lines), len(lines))
    assert arrived(one) == []
    assert [number for number, _ in arrived(two)] == [60, 61, 62, 63]


def test_a_refusal_is_an_outcome_in_its_place() -> None:
    connection, batch = Connection(), batch_of(range(1, 6))
    grown(connection, batch)
    connection.receive(reply(b"2\r\n") + b"-ERR [SYS/TEMP] gone\r\n" + reply(b"4\r\n") + reply(b"5\r\n"), 4)
    two, refused, four, five = batch.arrived
    assert (two, four, five) == ((2, b"2\r\n"), (4, b"4\r\n"), (5, b"5\r\n"))
    assert isinstance(refused, CommandError)
    assert (refused.command, refused.number, refused.code) == ("RETR", 3, "SYS/TEMP")
    assert refused.args == (b"-ERR [SYS/TEMP] gone",)


@given(
    refused=st.lists(st.booleans(), max_size=60),
    window=st.integers(1, 30),
    chunks=st.lists(st.integers(1, 200), min_size=1, max_size=10),
    has_body=st.booleans(),
    most_answers=st.integers(1, 20),
)
def test_however_the_replies_are_cut_and_delayed_the_outcomes_are_the_same(
    refused: list[bool], window: int, chunks: list[int], *, has_body: bool, most_answers: int
) -> None:
    batch = batch_of(range(1, len(refused) + 1), "RETR" if has_body else "DELE", window=window)
    connection = Connection()
    outcomes, expected, waiting = [], [], b""
    while not batch.ended:
        connection.write(batch)
        assert len(connection.unanswered) <= window
        answered = connection.unanswered[:most_answers]
        for line in answered:
            number = int(line.split()[1])
            if refused[number - 1]:
                waiting += f"-ERR {line}\r\n".encode()
                expected.append((number, f"-ERR {line}".encode()))
            else:
                waiting += b"+OK\r\n" + (b"..%d\r\n\n.\r\n\r\n.\r\n" % number if has_body else b"")
                expected.append((number, b".%d\r\n\n.\r\n\r\n" % number if has_body else b""))
        sizes = iter(chunks)
        while waiting:
            size = next(sizes, 64)
            chunk, waiting = waiting[:size], waiting[size:]
            connection.receive(chunk)
            outcomes += arrived(batch)
        del connection.unanswered[: len(answered)]
    assert outcomes == expected


# ---- what is not believed ----


def test_an_outcome_is_kept_back_until_the_next_reply_has_begun() -> None:
    connection, batch = Connection(), batch_of(range(1, 6))
    grown(connection, batch)
    connection.receive(reply(b"2\r\n"), 1)
    assert arrived(batch) == []
    connection.receive(b"+OK\r\nhal")
    assert arrived(batch) == [(2, b"2\r\n")]
    connection.receive(b"f\r\n.\r\n", 1)
    assert arrived(batch) == []
    connection.receive(reply(b"4\r\n") + reply(b"5\r\n"), 2)
    assert arrived(batch) == [(3, b"half\r\n"), (4, b"4\r\n"), (5, b"5\r\n")]


@pytest.mark.parametrize("line", NO_REPLIES)
def test_what_is_no_reply_casts_doubt_on_the_message_before(line: bytes) -> None:
    connection, batch = Connection(), batch_of(range(1, 6))
    grown(connection, batch)
    with pytest.raises(ProtocolError, match="pipelining=False") as caught:
        connection.receive(reply(b"2\r\n") + reply(b"3\r\n") + line + b"\r\n.\r\n" + reply(b"4\r\n") + reply(b"5\r\n"))
    assert "RETR 4" in str(caught.value)
    assert arrived(batch) == [(2, b"2\r\n")]


@pytest.mark.parametrize("line", [b"", b"message 3 deleted", b".", b"-- ", b"+1"])
def test_what_is_no_reply_to_dele_is_noticed(line: bytes) -> None:
    connection, batch = Connection(), batch_of(range(1, 6), "DELE")
    prove(connection)
    connection.write(batch)
    connection.receive(b"+OK\r\n", 1)
    connection.write(batch)
    arrived(batch)
    with pytest.raises(ProtocolError, match="DELE 4"):
        connection.receive(b"+OK\r\n+OK\r\n" + line + b"\r\n+OK\r\n")
    assert arrived(batch) == [(2, b"")]


def test_a_status_line_that_comes_before_the_end_of_the_message_before_is_noticed() -> None:
    """Quirk q110."""
    connection, batch = Connection(), batch_of(range(1, 6))
    grown(connection, batch)
    with pytest.raises(ProtocolError, match="pipelining=False"):
        connection.receive(reply(b"2\r\n") + b"+OK\r\n3\r\n+OK\r\n.\r\n4\r\n.\r\n" + reply(b"5\r\n"))
    assert arrived(batch) == [(2, b"2\r\n")]


def test_a_server_that_fails_behind_its_ok_is_noticed_and_named() -> None:
    """Quirk q06: whether a body follows nobody knows."""
    connection, batch = Connection(), batch_of(range(1, 6))
    grown(connection, batch)
    with pytest.raises(ProtocolError, match=r"RETR 3.*cannot read"):
        connection.receive(reply(b"2\r\n") + b"+OK -ERR cannot read\r\n" + reply(b"4\r\n"))
    assert arrived(batch) == [(2, b"2\r\n")]


def test_messages_that_came_whole_before_one_that_is_too_long_are_kept() -> None:
    framer = Framer()
    pipeline, batch = Pipeline(framer), batch_of(range(1, 6))
    pipeline.step(batch, LINE_LIMIT, 100)
    framer.feed(reply(b"1\r\n"))
    pipeline.step(batch, LINE_LIMIT, 100)
    came = arrived(batch)
    pipeline.step(batch, LINE_LIMIT, 100)
    framer.feed(reply(b"2\r\n") + reply(b"3\r\n") + reply(b"4" * 200 + b"\r\n"))
    with pytest.raises(FramingLimitError, match="longer than 100 octets"):
        pipeline.step(batch, LINE_LIMIT, 100)
    error = LimitExceeded("too long")
    assert pipeline.break_off(error) is error
    assert batch.failure is error
    assert came + arrived(batch) == [(1, b"1\r\n"), (2, b"2\r\n"), (3, b"3\r\n")]


# ---- refusals in a row ----


def test_ten_refusals_in_a_row_shrink_the_window_to_one_and_successes_let_it_grow_again() -> None:
    connection, batch = Connection(), batch_of(range(1, 1001))
    while len(connection.unanswered) < 64:
        connection.receive(reply(b"") * len(connection.unanswered), len(connection.unanswered))
        connection.write(batch)
    for _ in range(MAX_REFUSALS_IN_A_ROW):
        connection.receive(b"-ERR no\r\n", 1)
    left = len(connection.unanswered)
    assert left >= 50
    for _ in range(left):
        assert connection.write(batch) == []
        connection.receive(b"-ERR no\r\n", 1)
    for _ in range(5):
        assert len(connection.write(batch)) == 1
        connection.receive(b"-ERR no\r\n", 1)
    rounds = []
    for _ in range(4):
        lines = connection.write(batch)
        rounds.append(len(lines))
        connection.receive(reply(b"") * len(lines), len(lines))
    assert rounds == [1, 4, 16, 64]


def test_fewer_refusals_in_a_row_leave_the_window_as_it_is() -> None:
    connection, batch = Connection(), batch_of(range(1, 1001))
    prove(connection)
    while len(connection.unanswered) < 64:
        connection.receive(reply(b"") * len(connection.unanswered), len(connection.unanswered))
        connection.write(batch)
    for _ in range(10):
        connection.receive(b"-ERR no\r\n" * (MAX_REFUSALS_IN_A_ROW - 1) + reply(b""), MAX_REFUSALS_IN_A_ROW)
        connection.write(batch)
        assert len(connection.unanswered) >= 64


def test_refusals_from_the_start_let_the_window_stay_one() -> None:
    """So a list that is stale as a whole puts one bad command in flight at a time."""
    connection, batch = Connection(), batch_of(range(1, 51))
    while not batch.ended:
        assert len(connection.write(batch)) == 1
        connection.receive(b"-ERR no\r\n", 1)
    assert len(arrived(batch)) == 50


# ---- the end of the connection ----


@pytest.mark.parametrize(
    ("octets", "whole"),
    [
        (b"", []),
        (b"+", []),
        (b"+OK\r\nhalf", []),
        (reply(b"2\r\n"), [2]),
        (reply(b"2\r\n") + b"+", [2]),
        (reply(b"2\r\n") + b"-", [2]),
        (reply(b"2\r\n") + b"+OK\r\nhalf", [2]),
        (reply(b"2\r\n") + reply(b"3\r\n"), [2, 3]),
        # The rest of a message, and so the one before was not whole.
        (reply(b"2\r\n") + reply(b"3\r\n") + b"res", [2]),
    ],
)
def test_when_the_server_hangs_up_what_came_whole_is_handed_over(octets: bytes, whole: list[int]) -> None:
    connection, batch = Connection(), batch_of(range(1, 6))
    grown(connection, batch)
    connection.receive(octets)
    error = connection.pipeline.break_off(ConnectionLost("-ERR EOF"))
    assert isinstance(error, ConnectionLost)
    assert batch.failure is error
    assert "pipelining=False" in str(error)
    missing = 2 + octets.count(b".\r\n")
    assert f"RETR {missing}" in str(error)
    assert [number for number, _ in arrived(batch)] == whole
