"""Servers that cannot pipeline though they say so: no outcome under another number, wherever it goes wrong.

Owns the models of such servers, without a socket, and what of their replies is believed: what a trial is, what counts
for proof, what silence, a size that is wrong and octets left over mean.
"""

import random
from array import array
from collections.abc import Callable

import pytest

from pop3fast import ConnectionLost, LimitExceeded, Piece, ProtocolError
from pop3fast._batch import MAX_EXPECTED_OCTETS, MAX_KEPT_BACK_OCTETS, MIN_IN_FLIGHT, Batch, PieceBatch
from pop3fast._framing import Framer
from pop3fast._pipeline import Pipeline
from pop3fast._proof import FIRST_UNANSWERED_OCTETS, MAX_UNANSWERED_OCTETS, PROVEN_REPLIES, PROVEN_SIZES
from test_pipeline import (
    LINE_LIMIT,
    MAX_OCTETS,
    Connection,
    Received,
    arrived,
    batch_of,
    body_of,
    grown,
    reply,
)

Message = Callable[[int], bytes]


def alike(number: int) -> bytes:
    """Return a message that is as large as every other."""
    return b"Subject: %04d\r\n\r\ntext\r\n" % number


def of_all_sizes(number: int) -> bytes:
    """Return a message that is as large as no other."""
    return b"Subject: %04d\r\n\r\n%s\r\n" % (number, b"x" * number)


def of_two_sizes(number: int) -> bytes:
    """Return a message that is as large as most others; one in seven is larger."""
    return alike(number) + b"x\r\n" * (number % 7 == 0)


with_messages = pytest.mark.parametrize("message", [alike, of_all_sizes], ids=["of one size", "of all sizes"])
with_and_without_sizes = pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])


class Server:
    """What a server answers to commands that are written together."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.lost = 0
        self.asked_behind_what_was_lost = 0

    def answer(self, lines: list[str]) -> bytes:
        """Return the replies to *lines*."""
        if self.lost:
            self.asked_behind_what_was_lost += len(lines)
        kept = self.kept(lines)
        self.lost += len(lines) - len(kept)
        return b"".join(self.reply(int(line.split()[1])) for line in kept)

    def kept(self, lines: list[str]) -> list[str]:
        """Return those that it answers."""
        return lines

    def reply(self, number: int) -> bytes:
        """Return its reply to RETR."""
        return reply(self.message(number))

    def size(self, number: int) -> int:
        """Return what it says in LIST."""
        return len(self.message(number))


class FirstOfEachRead(Server):
    """Quirk q132: a filter passes PIPELINING on, and answers the first command of what it reads."""

    def kept(self, lines: list[str]) -> list[str]:
        return lines[:1]


class SmallBuffer(Server):
    """Quirk q133: what does not fit into 512 octets is lost."""

    def kept(self, lines: list[str]) -> list[str]:
        ends = [sum(len(line) + 2 for line in lines[: place + 1]) for place in range(len(lines))]
        return [line for line, end in zip(lines, ends, strict=True) if end <= 512]


class LeavesOut(Server):
    """It leaves out a reply in fifty."""

    def __init__(self, message: Message, seed: int) -> None:
        super().__init__(message)
        self._random = random.Random(seed)  # noqa: S311 - to be the same each time

    def kept(self, lines: list[str]) -> list[str]:
        return [line for line in lines if self._random.random() >= 0.02]


class SaysOneTwice(Server):
    """It gives one reply twice."""

    def __init__(self, message: Message, twice: int) -> None:
        super().__init__(message)
        self._twice = twice

    def reply(self, number: int) -> bytes:
        return super().reply(number) * (2 if number == self._twice else 1)


class IsOneBehind(Server):
    """It gives one reply twice, and from then on each only when the next command has come."""

    def __init__(self, message: Message, twice: int) -> None:
        super().__init__(message)
        self._twice = twice
        self._owed: list[int] = []

    def reply(self, number: int) -> bytes:
        self._owed.append(number)
        if number == self._twice:
            self._owed.append(number)
            self._twice = 0
        return super().reply(self._owed.pop(0))


class StuffsNoDots(Server):
    """It stuffs no dots, and the author of one message has written a reply into it, as long as he liked."""

    def __init__(self, message: Message, forged: int, text: bytes = b"Subject: forged\r\n") -> None:
        super().__init__(message)
        self._forged = forged
        self._text = text

    def content(self, number: int) -> bytes:
        written = b".\r\n+OK\r\n" + self._text if number == self._forged else b""
        return self.message(number) + written

    def reply(self, number: int) -> bytes:
        return reply(self.content(number))

    def size(self, number: int) -> int:
        return len(self.content(number))


class Session:
    """A loop over messages, the pipeline and a server; each step that the loop takes, and how it ends."""

    def __init__(self, server: Server, messages: int, *, listed: bool, cut: int = 3000) -> None:
        self.server = server
        self.framer = Framer()
        self.pipeline = Pipeline(self.framer, self._left_over)
        sizes = [server.size(number) for number in range(1, messages + 1)] if listed else None
        self.batch = batch_of(range(1, messages + 1), sizes=sizes)
        self.seen: list[Received] = []
        self.error: Exception | None = None
        self.rounds: list[list[str]] = []
        self._cut = cut
        try:
            while not self.batch.ended:
                self._step()
        except (ProtocolError, TimeoutError) as error:
            self.error = error
            self.pipeline.break_off(error)
            self.seen += arrived(self.batch)

    _unread = b""

    def _left_over(self) -> bytes:
        return self.framer.next_octets(self.framer.unread()) + self._unread

    def _step(self) -> None:
        lines = self.pipeline.step(self.batch, LINE_LIMIT, MAX_OCTETS)
        if lines:
            self.rounds.append(lines)
            self._unread += self.server.answer(lines)
        if self.batch.arrived or self.batch.ended:
            self.seen += arrived(self.batch)
            return
        if not self._unread:
            raise TimeoutError("timed out")
        self.framer.feed(self._unread[: self._cut])
        self._unread = self._unread[self._cut :]

    @property
    def numbers(self) -> list[int]:
        """The numbers of what came, each of which must be its own, in order."""
        for number, content in self.seen:
            assert content == self.server.message(number), number
        numbers = [number for number, _ in self.seen]
        assert numbers == list(range(1, len(numbers) + 1))
        return numbers


# ---- never under another number ----


@with_messages
@with_and_without_sizes
def test_quirk_q132_where_the_first_of_each_read_is_answered_nothing_is_sent_behind_the_first_trial(
    message: Message, *, listed: bool
) -> None:
    session = Session(FirstOfEachRead(message), 60, listed=listed)
    assert session.numbers == ([1, 2] if listed and message is of_all_sizes else [1])
    assert session.server.asked_behind_what_was_lost == 0
    assert [len(lines) for lines in session.rounds] == [1, 4]
    assert isinstance(session.error, TimeoutError)
    assert session.pipeline.given_up is not None
    assert "pipelining=False" in session.error.__notes__[0]


@with_messages
@with_and_without_sizes
@pytest.mark.parametrize("cut", [100, 3000, 10**6])
def test_quirk_q133_what_a_buffer_of_512_octets_loses_costs_no_message_its_number(
    message: Message, cut: int, *, listed: bool
) -> None:
    session = Session(SmallBuffer(message), 600, listed=listed, cut=cut)
    assert len(session.numbers) >= 21
    assert session.server.asked_behind_what_was_lost == 0
    assert isinstance(session.error, TimeoutError)
    assert session.pipeline.given_up is not None


@with_messages
@with_and_without_sizes
def test_a_reply_that_is_left_out_costs_no_message_its_number(message: Message, *, listed: bool) -> None:
    ended = 0
    for seed in range(60):
        session = Session(LeavesOut(message, seed), 600, listed=listed)
        assert session.numbers == list(range(1, len(session.numbers) + 1))
        ended += session.error is None
    assert ended == 0  # each met the fault


def test_what_is_as_large_as_others_is_not_shown_by_its_size_when_a_reply_was_left_out_before_it() -> None:
    for seed in range(300):
        session = Session(LeavesOut(of_two_sizes, seed), 60, listed=True)
        assert session.numbers == list(range(1, len(session.numbers) + 1))


@pytest.mark.parametrize("message", [alike, of_two_sizes])
@with_and_without_sizes
@pytest.mark.parametrize("twice", [2, 3, 5, 6, 13, 20, 21])
def test_a_reply_that_comes_twice_costs_no_message_its_number(message: Message, twice: int, *, listed: bool) -> None:
    session = Session(SaysOneTwice(message, twice), 60, listed=listed, cut=10**6)
    assert len(session.numbers) <= twice
    assert isinstance(session.error, ProtocolError)


@pytest.mark.parametrize("twice", [9, 10, 20, 21, 22, 40, 59])
@pytest.mark.parametrize("cut", [50, 10**6])
def test_a_reply_too_many_that_comes_only_behind_the_next_command_costs_no_message_its_number(
    twice: int, cut: int
) -> None:
    session = Session(IsOneBehind(of_all_sizes, twice), 60, listed=True, cut=cut)
    assert len(session.numbers) <= twice
    assert isinstance(session.error, ProtocolError)
    assert "alone" in str(session.error)


@with_messages
@with_and_without_sizes
@pytest.mark.parametrize("forged", [1, 2, 5, 6, 20, 21, 22, 40, 60])
def test_a_reply_that_an_author_wrote_into_a_message_is_never_another_messages(
    message: Message, forged: int, *, listed: bool
) -> None:
    for cut in (50, 10**6):
        session = Session(StuffsNoDots(message, forged), 60, listed=listed, cut=cut)
        assert len(session.numbers) < forged
        assert isinstance(session.error, ProtocolError)


def test_an_author_who_knows_the_size_of_the_next_message_gains_nothing() -> None:
    """The size of his own message gives him away."""
    for forged in (3, 30, 300):
        message = of_all_sizes(forged + 1)
        session = Session(StuffsNoDots(of_all_sizes, forged, message), forged + 60, listed=True, cut=10**6)
        assert len(session.numbers) < forged
        assert isinstance(session.error, ProtocolError)


def test_dele_is_answered_for_what_was_marked_and_for_nothing_in_doubt() -> None:
    connection, batch = Connection(), batch_of(range(1, 30), "DELE")
    for sent in (1, 4):
        assert len(connection.write(batch)) == sent
        connection.receive(b"+OK\r\n", 1)
    assert connection.write(batch) == []
    connection.pipeline.break_off(TimeoutError("timed out"))
    assert arrived(batch) == [(1, b"")]


# ---- what is sent while a server is not proven ----


def test_octets_in_flight_begin_below_512_and_grow_by_what_was_answered_whole() -> None:
    connection = Connection()
    batch = batch_of(range(1, 3001), "TOP", arguments=" 99999999")
    most = 0
    whole = 0
    while not batch.ended:
        connection.write(batch)
        octets = len(connection.unanswered) * batch.line_octets
        if octets > most:
            most = octets
            assert most <= max(FIRST_UNANSWERED_OCTETS, 4 * whole) <= 4 * MAX_UNANSWERED_OCTETS
            assert most <= MAX_UNANSWERED_OCTETS
        connection.receive(reply(b""), 1)
        if not connection.unanswered:
            whole = most
    assert FIRST_UNANSWERED_OCTETS < 512
    assert most > 0.8 * MAX_UNANSWERED_OCTETS


def test_commands_slide_from_the_first_that_were_answered_together_on() -> None:
    """A server that waits with the last of what it was asked for until more comes costs one wait, not one a window."""
    held = 8
    connection, batch = Connection(), batch_of(range(1, 61))
    waits = 0
    while not batch.ended:
        lines = connection.write(batch)
        ready = len(connection.unanswered) - held
        if ready <= 0 and not lines:
            waits += 1
            ready = len(connection.unanswered)
        if ready > 0:
            connection.receive(reply(b"") * ready, ready)
    # One for the first command, one for the trial, one at the end.
    assert waits <= 3


# ---- what is kept back, and until when ----


def test_what_comes_of_a_trial_is_handed_over_when_it_has_been_answered_whole() -> None:
    connection, batch = Connection(), batch_of(range(1, 6))
    grown(connection, batch, proven=False)
    connection.receive(b"".join(reply(body_of(f"RETR {number}")) for number in (2, 3, 4)), 3)
    assert arrived(batch) == []
    connection.receive(reply(body_of("RETR 5")), 1)
    assert [number for number, _ in arrived(batch)] == [2, 3, 4, 5]


def test_a_size_that_no_other_in_flight_has_shows_that_all_before_it_are_in_step() -> None:
    connection, batch = Connection(), batch_of(range(1, 6), sizes=[3, 5, 5, 6, 5])
    connection.write(batch)
    connection.receive(reply(b"1\r\n"), 1)
    arrived(batch)
    connection.write(batch)
    # Two and three are as large as the fifth.
    connection.receive(reply(b"222\r\n") + reply(b"333\r\n"), 2)
    assert arrived(batch) == []
    connection.receive(reply(b"4444\r\n"), 1)
    assert [number for number, _ in arrived(batch)] == [2, 3, 4]


def test_sizes_that_were_wrong_once_show_nothing_any_more() -> None:
    connection, batch = Connection(), batch_of(range(1, 6), sizes=[9, 5, 6, 7, 8])
    connection.write(batch)
    connection.receive(reply(b"1\r\n"), 1)
    arrived(batch)
    connection.write(batch)
    connection.receive(reply(b"222\r\n") + reply(b"3333\r\n"), 2)
    assert arrived(batch) == []


def test_from_so_many_replies_on_what_comes_is_handed_over_as_it_comes() -> None:
    connection, batch = Connection(), batch_of(range(1, 3 * PROVEN_REPLIES))
    came = 0
    latest = []
    while not batch.ended:
        connection.write(batch)
        connection.receive(reply(b""), 1)
        came += 1
        latest.append(came - len(batch.arrived))
    # But for the last one, until the next has begun.
    assert max(latest[2 * PROVEN_REPLIES :]) == 1
    assert max(latest[:PROVEN_REPLIES]) > 50


def test_memory_for_what_is_kept_back_is_bounded() -> None:
    body = b"x" * 399_998 + b"\r\n"
    connection, batch = Connection(), batch_of(range(1, 200))
    kept = came = 0
    while not batch.ended and came < 190:
        connection.write(batch)
        connection.receive(reply(body), 1)
        came += 1
        kept = max(kept, came - len(batch.arrived))
    assert MAX_EXPECTED_OCTETS / len(body) <= kept <= MAX_KEPT_BACK_OCTETS / len(body) + 1


def test_a_server_that_sends_far_more_than_it_listed_does_not_fill_the_memory() -> None:
    connection, batch = Connection(), batch_of(range(1, 100), sizes=[3] * 100)
    grown(connection, batch, proven=False)
    connection.receive(reply(b"x" * MAX_KEPT_BACK_OCTETS + b"\r\n"), 1)
    assert [number for number, _ in arrived(batch)][-1] == 2


@pytest.mark.parametrize(
    ("octets", "together", "goes_on"),
    [(MAX_KEPT_BACK_OCTETS + 2, 8, True), (MAX_EXPECTED_OCTETS + 2, MIN_IN_FLIGHT, False)],
    ids=["handed over as it comes", "kept back"],
)
def test_nothing_waits_for_a_message_that_is_too_large_to_be_kept_back(
    octets: int, together: int, *, goes_on: bool
) -> None:
    """A server that is not proven, and messages of one size, of which a loop wants eight asked for ahead."""
    framer = Framer()
    pipeline = Pipeline(framer)
    pipeline.recall(FIRST_UNANSWERED_OCTETS)
    numbers = batch_of(range(1, 21))._numbers
    batch = PieceBatch(numbers, sizes=array("Q", [octets] * len(numbers)), ahead=8 * octets)

    def step() -> int:
        batch.arrived.clear()
        return len(pipeline.step(batch, LINE_LIMIT, MAX_OCTETS))

    sent = step()
    assert sent == together
    body = b"x" * (octets - 2) + b"\r\n"
    behind = []
    for number in numbers[:-8]:
        for part in (b"+OK\r\n", *(body[start : start + 2**20] for start in range(0, octets, 2**20)), b".\r\n"):
            left = sent - number
            framer.feed(part)
            sent += step() + step()
        behind.append(left)
    # When a reply ends and none is in flight behind it, the line is empty for a round trip.
    assert min(behind) == (together - 1 if goes_on else 0)


def test_parts_of_a_message_are_handed_over_as_they_come_and_the_last_when_it_is_sure() -> None:
    framer = Framer()
    pipeline = Pipeline(framer)
    numbers = batch_of(range(1, 6))._numbers
    batch = PieceBatch(numbers)
    pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
    framer.feed(reply(b"1\r\n"))
    pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
    batch.arrived.clear()
    pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
    large = b"x" * 200_000 + b"\r\n"
    framer.feed(reply(large) + reply(b"3\r\n"))
    pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
    assert len(batch.arrived) == 3
    framer.feed(reply(b"4\r\n") + reply(b"5\r\n"))
    pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
    pieces = [piece for piece in batch.arrived if not isinstance(piece, Exception)]
    assert b"".join(piece.content for piece in pieces if piece.number == 2) == large
    assert [piece.number for piece in pieces if piece.last] == [2, 3, 4, 5]


# ---- what is left over ----


@pytest.mark.parametrize("rest", [b"+OK\r\nforged\r\n.\r\n", b"\r\n", b"x", b"+OK\r\n"])
def test_octets_left_over_behind_the_last_reply_are_an_error_before_it_is_handed_over(rest: bytes) -> None:
    for proven in (True, False):
        connection, batch = Connection(), batch_of(range(1, 6))
        grown(connection, batch, proven=proven)
        whole = b"".join(reply(body_of(f"RETR {number}")) for number in range(2, 6))
        with pytest.raises(ProtocolError, match="nothing had asked for") as caught:
            connection.receive(whole + rest)
        connection.pipeline.break_off(caught.value)
        assert [number for number, _ in arrived(batch)] == ([2, 3, 4] if proven else [])


def test_what_has_not_been_read_yet_is_left_over_too() -> None:
    framer = Framer()
    waiting: list[bytes] = []
    pipeline, batch = Pipeline(framer, lambda: b"".join(waiting)), batch_of([1])
    pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
    waiting.append(b"+OK\r\n")
    framer.feed(reply(b"1\r\n"))
    with pytest.raises(ProtocolError, match="nothing had asked for"):
        pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
    assert arrived(batch) == []


def test_that_the_server_hangs_up_behind_its_last_reply_takes_nothing_back() -> None:
    def hung_up() -> bytes:
        raise ConnectionLost("-ERR EOF")

    framer = Framer()
    pipeline, batch = Pipeline(framer), batch_of([1])
    pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
    pipeline._left_over = hung_up
    framer.feed(reply(b"1\r\n"))
    pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
    assert arrived(batch) == [(1, b"1\r\n")]
    with pytest.raises(ConnectionLost):
        pipeline.step(batch_of([2]), LINE_LIMIT, MAX_OCTETS)


# ---- a size that is wrong ----


def with_one_wrong_size(wrong: int, messages: int = 300) -> tuple[Connection, Batch[Received]]:
    sizes = [len(of_all_sizes(number)) for number in range(1, messages + 1)]
    sizes[wrong - 1] += 1
    return Connection(), batch_of(range(1, messages + 1), sizes=sizes)


def run(connection: Connection, batch: Batch[Received], cut: int = 100_000) -> tuple[list[Received], list[list[str]]]:
    """Answer everything right; return what came, and what was in flight after each write."""
    came: list[Received] = []
    in_flight: list[list[str]] = []
    while not batch.ended or batch.arrived:
        lines = connection.write(batch)
        came += arrived(batch)
        if lines:
            in_flight.append(list(connection.unanswered))
        if connection.unanswered:
            octets = reply(of_all_sizes(int(connection.unanswered[0].split()[1])))
            connection.receive(octets[:cut])
            if octets[cut:]:
                connection.receive(octets[cut:])
            del connection.unanswered[:1]
            came += arrived(batch)
    return came, in_flight


@pytest.mark.parametrize("wrong", [20, 22, 60, 85, 200, 299, 300])
def test_a_wrong_size_among_right_ones_has_everything_behind_it_asked_for_again_one_by_one(wrong: int) -> None:
    connection, batch = with_one_wrong_size(wrong)
    came, in_flight = run(connection, batch)
    assert came == [(number, of_all_sizes(number)) for number in range(1, 301)]
    assert connection.pipeline.given_up is not None
    assert "LIST" in connection.pipeline.given_up
    again = next(place for place, lines in enumerate(in_flight) if lines == [f"RETR {wrong}"])
    assert all(len(lines) == 1 for lines in in_flight[again:])
    # What is thrown away is what came behind the last one that was right.
    assert in_flight[again:] == [[f"RETR {number}"] for number in range(wrong, 301)]


@pytest.mark.parametrize("wrong", [9, 20, 60])
def test_a_wrong_size_of_a_reply_that_was_alone_is_believed_when_it_comes_again(wrong: int) -> None:
    sizes = [len(of_all_sizes(number)) + (number == wrong) for number in range(1, 61)]
    connection, batch = Connection(), batch_of(range(1, 61), sizes=sizes, window=1)
    came, in_flight = run(connection, batch)
    assert came == [(number, of_all_sizes(number)) for number in range(1, 61)]
    assert in_flight.count([f"RETR {wrong}"]) == 2
    assert len(in_flight) == 61


class WrongOnce(Server):
    """Its list is wrong about one message, among others that are alike."""

    def __init__(self, wrong: int) -> None:
        super().__init__(alike)
        self._wrong = wrong

    def size(self, number: int) -> int:
        return super().size(number) + (number == self._wrong)


@pytest.mark.parametrize("wrong", range(9, 80, 3))
@pytest.mark.parametrize("cut", [40, 3000, 100_000])
def test_a_wrong_size_among_replies_that_are_alike_lets_no_message_come_twice_or_not_at_all(
    wrong: int, cut: int
) -> None:
    # Those before it are right by their sizes, but each could be any other: what was not sure is asked for again.
    session = Session(WrongOnce(wrong), 100, listed=True, cut=cut)
    assert session.error is None
    assert session.numbers == list(range(1, 101))


def test_a_wrong_size_among_few_right_ones_means_that_the_server_estimates() -> None:
    sizes = [len(of_all_sizes(number)) for number in range(1, 301)]
    sizes[PROVEN_SIZES - 2] += 1
    connection, batch = Connection(), batch_of(range(1, 301), sizes=sizes)
    came, in_flight = run(connection, batch)
    assert len(came) == 300
    assert connection.pipeline.given_up is None
    assert max(map(len, in_flight)) > 50


def test_sizes_that_are_all_estimated_do_not_hold_up_the_loop() -> None:
    sizes = [len(of_all_sizes(number)) + 7 for number in range(1, 301)]
    connection, batch = Connection(), batch_of(range(1, 301), sizes=sizes)
    came, in_flight = run(connection, batch)
    assert len(came) == 300
    assert connection.pipeline.given_up is None
    assert max(map(len, in_flight)) > 50


def test_sizes_that_list_does_not_have_say_nothing() -> None:
    sizes = [0 if number % 3 else len(of_all_sizes(number)) for number in range(1, 301)]
    connection, batch = Connection(), batch_of(range(1, 301), sizes=sizes)
    came, _ = run(connection, batch)
    assert came == [(number, of_all_sizes(number)) for number in range(1, 301)]
    assert connection.pipeline.given_up is None


def test_a_message_that_was_handed_over_in_part_cannot_be_asked_for_again() -> None:
    numbers = batch_of(range(1, 41))._numbers
    large = b"x" * 200_000 + b"\r\n"
    sizes = batch_of([len(of_all_sizes(number)) if number != 30 else 7 for number in range(1, 41)])._numbers
    framer = Framer()
    pipeline, batch = Pipeline(framer), PieceBatch(numbers, sizes=sizes)
    pieces: list[Piece] = []

    def step() -> list[str]:
        lines = pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
        pieces.extend(piece for piece in batch.arrived if not isinstance(piece, Exception))
        batch.arrived.clear()
        return lines

    while "RETR 30" not in (lines := step()):
        framer.feed(b"".join(reply(of_all_sizes(int(line.split()[1]))) for line in lines))
    octets = b"".join(reply(large if line == "RETR 30" else of_all_sizes(int(line.split()[1]))) for line in lines)
    framer.feed(octets[:150_000])
    step()
    framer.feed(octets[150_000:])
    with pytest.raises(ProtocolError, match="LIST") as caught:
        step()
    pipeline.break_off(caught.value)
    step()
    assert {piece.number for piece in pieces if piece.last} == set(range(1, 30))
    assert {piece.number for piece in pieces if not piece.last} == {30}


# ---- one way to end ----


def test_another_commands_failure_ends_the_loops_behind_what_came_whole() -> None:
    connection, batch = Connection(), batch_of(range(1, 40))
    grown(connection, batch)
    error = ConnectionLost("-ERR EOF")
    connection.framer.feed(reply(b"2\r\n") + reply(b"3\r\n"))
    assert not connection.pipeline.take_before(LINE_LIMIT, MAX_OCTETS)
    connection.pipeline.break_off(error)
    assert [number for number, _ in arrived(batch)] == [2, 3]
    assert isinstance(batch.failure, ConnectionLost)
    assert not connection.pipeline.in_flight


def test_an_interrupt_of_another_command_is_no_interrupt_of_the_loop() -> None:
    connection, batch = Connection(), batch_of(range(1, 40))
    grown(connection, batch)
    connection.framer.feed(reply(b"2\r\n"))
    connection.pipeline.take_before(LINE_LIMIT, MAX_OCTETS)
    connection.pipeline.break_off(KeyboardInterrupt())
    assert [number for number, _ in arrived(batch)] == [2]
    assert isinstance(batch.failure, ProtocolError)
    assert "KeyboardInterrupt" in str(batch.failure)


@pytest.mark.parametrize("proven", [True, False])
def test_silence_makes_doubtful_what_is_not_proven(*, proven: bool) -> None:
    """Of a proven server it would blame a message for its neighbour, for which the server says nothing."""
    connection, batch = Connection(), batch_of(range(1, 40))
    grown(connection, batch, proven=proven)
    connection.receive(reply(b"2\r\n"), 1)
    error = TimeoutError("timed out")
    assert connection.pipeline.break_off(error) is error
    assert [number for number, _ in arrived(batch)] == ([2] if proven else [])
    assert (connection.pipeline.given_up is None) is proven


def test_what_came_before_another_commands_reply_is_sure_when_the_loop_goes_on() -> None:
    """Whatever that reply was; no other one has to come for it."""
    connection, batch = Connection(), batch_of(range(1, 6))
    grown(connection, batch)
    connection.framer.feed(b"".join(reply(body_of(f"RETR {number}")) for number in range(2, 6)) + b"-ERR no\r\n")
    assert connection.pipeline.take_before(LINE_LIMIT, MAX_OCTETS)
    assert [number for number, _ in arrived(batch)] == [2, 3, 4]
    assert connection.framer.next_status_line(LINE_LIMIT) == b"-ERR no"
    assert connection.write(batch) == []
    assert [number for number, _ in arrived(batch)] == [5]
    assert batch.ended


# ---- what is set aside for a loop while another command is given ----


def test_replies_that_are_set_aside_for_a_loop_have_a_limit_together() -> None:
    limit = 1000
    body = b"x" * 900 + b"\r\n"
    for replies, passes in ((1, True), (2, True), (3, False)):
        connection, batch = Connection(), batch_of(range(1, 40))
        grown(connection, batch)
        for _ in range(min(2, replies)):
            connection.framer.feed(reply(body))
            assert not connection.pipeline.take_before(LINE_LIMIT, limit)
        if not passes:
            connection.framer.feed(reply(body))
            with pytest.raises(LimitExceeded, match="2000 octets of replies for a loop"):
                connection.pipeline.take_before(LINE_LIMIT, limit)


def test_a_reply_beyond_its_own_limit_is_that_reply_s_error() -> None:
    connection, batch = Connection(), batch_of(range(1, 40))
    grown(connection, batch)
    connection.framer.feed(reply(b"x" * 2000 + b"\r\n"))
    with pytest.raises(Exception, match="longer than 1000 octets"):
        connection.pipeline.take_before(LINE_LIMIT, 1000)
