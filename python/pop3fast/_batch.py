"""Batch: the commands of one call, ``RETR 1``, ``RETR 2`` and so on, and what has come of them.

Owns how far they are sent and answered, what each reply becomes, and whether it is as large as LIST said. Never decides
what may be in flight, nor which outcome is sure: the pipeline does.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from operator import index
from typing import Any, Generic, NamedTuple, Self, TypeVar

from pop3fast._errors import CommandError
from pop3fast._framing import Framer, strict_status
from pop3fast._message import Piece

DEFAULT_WINDOW = 100
"""The greatest number of commands in flight, as in mpop, which is widely used. More gains something only where messages
are small, the line is fast and the round trip long (of 4 KB at 40 ms and 100 Mbit/s, 186 took four fifths of the time).
But of messages that another session has deleted each is a refusal, and Dovecot hangs up after twenty: so whoever wants
more says so."""

MAX_EXPECTED_OCTETS = 2 * 2**20
"""How many octets of replies are asked for ahead of time: at 40 ms of round trip enough for 50 MB/s. They are thrown
away when the loop is left early or the connection breaks."""

MAX_KEPT_BACK_OCTETS = 2 * MAX_EXPECTED_OCTETS
"""How many octets of outcomes are kept back as long as they are in doubt: what a trial asks for, and as much again
where LIST said too little. Beyond that they are handed over unproven, because memory must not grow with what a server
sends. So a larger message is handed over as it comes, and nothing waits until it is shown to be in its place."""

REFILL_FRACTION = 8
"""New commands go out when an eighth of the window is free, not one by one: a write costs as much as ten commands."""

PIECE_OCTETS = 2**16
"""How large a piece of a message is. The C library allocates and frees memory of this size without the kernel; with
four times as much, turning line ends took six times as long for each octet."""

MIN_IN_FLIGHT = 2
"""At least so many commands are in flight, however large the replies, so that the next reply follows the last one at
once."""

FIRST_WINDOW = 1
"""So many commands are in flight at first, on a connection where there have been none yet."""

HOW_TO_GO_ON = "perhaps the server does not pipeline as it says it does: connect again, and pass pipelining=False"

T = TypeVar("T")


class WrongSize(NamedTuple):
    """A reply that was not as large as LIST said."""

    place: int
    """Which of the replies that came with it, counted from 0."""
    number: int
    """The message that was asked for."""
    octets: int


class Taken(NamedTuple, Generic[T]):
    """What replies that had come brought."""

    replies: int
    """How many were positive and came whole."""
    outcomes: Sequence[T]
    """What was made of them, and of a part of the next one."""
    refused: bytes | None
    """The -ERR behind them."""
    wrong: WrongSize | None
    """The first of them that was not as large as LIST said."""


NOTHING: Taken[Any] = Taken(0, (), None, None)
"""No reply is there as a whole."""


class Batch(Generic[T]):
    """The commands of one call."""

    first_window = FIRST_WINDOW
    """So many commands may be in flight at first, on a connection where there have been none yet."""
    bounds_octets = False
    """Whether it keeps no more than so many octets itself, however many replies come."""

    def __init__(  # noqa: PLR0913 - each by its name, all but three with a default
        self,
        verb: str,
        numbers: "array[int]",
        make: Callable[[int, bytes], T],
        *,
        arguments: str = "",
        has_body: bool = True,
        sizes: "array[int] | None" = None,
        window: int = DEFAULT_WINDOW,
        ahead: int | None = None,
    ) -> None:
        """Make commands of *verb*, each of *numbers*, and *arguments*.

        *make* is given message number and body (empty without one) of each reply; *sizes* says how large they are by
        LIST, 0 where that is not known, and *ahead* how many octets are asked for ahead of time.
        """
        self.verb = verb
        self.has_body = has_body
        self.arrived: deque[T | CommandError] = deque()
        self.failure: BaseException | None = None
        """Why no more will arrive; for when everything that did has been taken."""
        self.abandoned = False
        """Whether nobody waits for what is still to arrive."""
        self.line_octets: int = len(f"{verb} {max(numbers, default=0)}{arguments}\r\n")
        """The octets of its longest command."""
        self.window = window
        """The greatest number of its commands in flight."""
        self.new = True
        """Whether the pipeline has not met it yet."""
        self.is_cramped: bool = True
        """Whether more would have been sent last time, had the server been known to hold it."""
        self._prefix = f"{verb} "
        self._arguments = arguments
        self._numbers = numbers
        self._make = make
        self._sizes = sizes
        self._ahead = MAX_EXPECTED_OCTETS if ahead is None else ahead
        self._sent = 0
        self._answered = 0
        self._handed_over = 0
        self._refill_at = 0
        self._last_octets = 0

    @property
    def ended(self) -> bool:
        """Whether what came of every command is, or was, in `arrived`; the last may be kept back for a while."""
        return self._handed_over == len(self._numbers)

    @property
    def wants_more(self) -> bool:
        """Whether commands are left to be sent, and so few are in flight that it is worth a write."""
        return self._sent < len(self._numbers) and self._sent - self._answered <= self._refill_at

    @property
    def left(self) -> int:
        """How many commands are left to be sent."""
        return len(self._numbers) - self._sent

    @property
    def is_satisfied(self) -> bool:
        """Whether the loop has something to go on with, and nothing more is sent until it has."""
        return bool(self.arrived)

    @property
    def has_spare(self) -> bool:
        """Whether the program does not wait for what is sent next."""
        return False

    @property
    def knows_sizes(self) -> bool:
        """Whether LIST said how large the replies are."""
        return self._sizes is not None

    @property
    def is_too_large(self) -> bool:
        """Whether the next reply, of which a part may have come, is too large to be kept back, by what LIST says."""
        next_size = () if self._sizes is None else self._sizes[self._answered : self._answered + 1]
        return sum(next_size) > MAX_KEPT_BACK_OCTETS

    @property
    def about(self) -> str:
        """The oldest command without a reply, for a person."""
        return self._lines(self._numbers[self._answered : self._answered + 1])[0]

    @property
    def last_number(self) -> int:
        """The message to which the last reply was."""
        return self._numbers[self._answered - 1]

    @property
    def advice(self) -> str:
        """What to do about a server that does not answer in step, to be put behind the error."""
        return f"; {HOW_TO_GO_ON}" if self.window > 1 else ""

    # Sending.

    def next_lines(self, most: int, window: int, in_doubt: int | None = None) -> list[str]:
        """Return the commands to be sent now, without line ends, *most* of them or fewer; they count as sent.

        *window* is how many may be in flight, and *in_doubt* for how many octets of replies that are kept back.
        """
        wanted = min(self._answered + min(window, self.window), len(self._numbers))
        end = max(self._sent, self._end_of_expected_octets(min(self._sent + most, wanted), in_doubt))
        self.is_cramped = end == self._sent + most < wanted
        lines = self._lines(self._numbers[self._sent : end])
        self._sent = end
        in_flight = end - self._answered
        self._refill_at = max(0, in_flight - max(1, in_flight // REFILL_FRACTION))
        return lines

    def drain(self) -> None:
        """Send nothing more until everything in flight is answered."""
        self._refill_at = 0

    # What comes.

    def take_replies(self, framer: Framer, limit: int, max_octets: int, most: int) -> Taken[T]:
        """Take replies to the oldest commands from *framer*, *most* at the most."""
        bodies, refused = self._next_bodies(framer, limit, max_octets, most)
        if not bodies:
            return NOTHING if refused is None else Taken(0, (), refused, None)
        start = self._answered
        outcomes = self.take_bodies(bodies)
        wrong = None if self._sizes is None else self._first_wrong(start, array("Q", map(len, bodies)))
        return Taken(len(bodies), outcomes, refused, wrong)

    def take_bodies(self, bodies: list[bytes]) -> list[T]:
        """Count positive replies, and return what is made of them."""
        start = self._answered
        self._answered += len(bodies)
        self._last_octets = len(bodies[-1])
        return list(map(self._make, self._numbers[start : self._answered], bodies))

    def take_refusal(self, line: bytes) -> CommandError:
        """Count a reply of -ERR, and return the error."""
        error = self._refusal(line, self._numbers[self._answered])
        self._answered += 1
        return error

    def shows_its_place(self, back: int) -> bool:
        """Return whether the reply before the last *back* ones is as large as LIST said, and no other could be.

        Then it belongs to that command, and the replies before it belong to theirs. If a reply had been left out, this
        one would have the size of a later one; if one had been sent twice, that of an earlier one since the last that
        was sure.
        """
        place = self._answered - back - 1
        if self._sizes is None or place < 0 or not self._sizes[place]:
            return False
        size = self._sizes[place]
        sure = max(0, self._handed_over - 1)
        return size not in self._sizes[place + 1 : self._sent] and size not in self._sizes[sure:place]

    def hand_over(self, outcomes: "Sequence[T | CommandError]") -> None:
        """Let the loop have *outcomes*; it may be another thread's, and take them at once."""
        self.arrived.extend(outcomes)
        self._handed_over += len(outcomes)

    def completes(self, outcome: "T | CommandError") -> bool:  # noqa: ARG002 - what a kind of its own looks at
        """Return whether *outcome* is all that came of a command, or the last of it."""
        return True

    # Beginning anew.

    @property
    def can_go_back(self) -> bool:
        """Whether commands may be sent again, as if they never had been: asking twice changes nothing at the server."""
        return self.has_body

    def go_back(self) -> Self:
        """Begin anew behind what was handed over; return what takes the replies to the others, and throws them away."""
        import copy  # noqa: PLC0415 - few sessions ever need it

        ghost = copy.copy(self)
        ghost.arrived = deque()
        ghost.abandoned = True
        self._sent = self._answered = self._handed_over
        self._refill_at = 0
        return ghost

    # What a kind of its own does otherwise.

    def _lines(self, numbers: "array[int]") -> list[str]:
        prefix, arguments = self._prefix, self._arguments
        return [f"{prefix}{number}{arguments}" for number in numbers]

    def _refusal(self, line: bytes, number: int) -> CommandError:
        return CommandError(line, command=self.verb, number=number)

    def _next_bodies(self, framer: Framer, limit: int, max_octets: int, most: int) -> tuple[list[bytes], bytes | None]:
        if self.has_body:
            return framer.next_bodies(limit, max_octets, most)
        bodies: list[bytes] = []
        while len(bodies) < most and (line := framer.next_status_line(limit)) is not None:
            if strict_status(line) != "ok":
                return bodies, line
            bodies.append(b"")
        return bodies, None

    def _first_wrong(self, start: int, lengths: "array[int]") -> WrongSize | None:
        """Return which of the replies from *start* on is the first that LIST has with another size."""
        assert self._sizes is not None  # noqa: S101 - who calls has looked
        listed = self._sizes[start : start + len(lengths)]
        if listed == lengths:
            return None
        pairs = enumerate(zip(listed, lengths, strict=True))
        found = ((place, length) for place, (size, length) in pairs if size not in (0, length))
        return next((WrongSize(place, self._numbers[start + place], length) for place, length in found), None)

    def _end_of_expected_octets(self, end: int, in_doubt: int | None) -> int:
        """Return how far commands may be sent, *end* at most, without asking for too many octets ahead of time."""
        if not self.has_body:
            return end
        if self._sizes is None:
            ahead = self._ahead if in_doubt is None else min(in_doubt, self._ahead)
            return min(end, self._answered + max(MIN_IN_FLIGHT, ahead // max(1, self._last_octets)))
        in_flight = self._sizes[self._answered : self._sent]
        expected = sum(in_flight)
        # Of a server that is proven hardly any is kept back, and counting them took as long as all the rest here.
        doubted = 0 if in_doubt is None else sum(map(_octets_kept_back, in_flight))
        for place in range(self._sent, end):
            expected += self._sizes[place]
            is_much = expected > self._ahead
            if in_doubt is not None:
                doubted += _octets_kept_back(self._sizes[place])
                is_much = is_much or doubted > in_doubt
            if is_much and place >= self._answered + MIN_IN_FLIGHT:
                return place
        return end


def _octets_kept_back(size: int) -> int:
    return size if size <= MAX_KEPT_BACK_OCTETS else 0


class PieceBatch(Batch[Piece]):
    """RETR of many messages that are not kept in memory as a whole."""

    def __init__(
        self,
        numbers: "array[int]",
        *,
        sizes: "array[int] | None" = None,
        window: int = DEFAULT_WINDOW,
        ahead: int | None = None,
    ) -> None:
        """Retrieve the messages *numbers*; the rest is as for every `Batch`."""
        super().__init__("RETR", numbers, _whole, sizes=sizes, window=window, ahead=ahead)
        self._octets = 0
        self._handed_over_in_part = False

    def take_replies(self, framer: Framer, limit: int, max_octets: int, most: int) -> Taken[Piece]:
        """Take replies as far as they have come; of the last one perhaps a part, which does not count yet."""
        parts, refused = framer.next_pieces(limit, max_octets, most, PIECE_OCTETS)
        if not parts and refused is None:
            return NOTHING
        answered = self._answered
        pieces: list[Piece] = []
        lengths = array("Q")
        for content, last in parts:
            pieces.append(Piece(self._numbers[self._answered], content, first=not self._octets, last=last))
            self._octets += len(content)
            if last:
                self._answered += 1
                lengths.append(self._octets)
                self._last_octets, self._octets = self._octets, 0
        wrong = None if self._sizes is None or not lengths else self._first_wrong(answered, lengths)
        return Taken(len(lengths), pieces, refused, wrong)

    def hand_over(self, outcomes: "Sequence[Piece | CommandError]") -> None:
        """Let the loop have *outcomes*, of which a piece that is not its message's last is not all that came of it."""
        self.arrived.extend(outcomes)
        self._handed_over += sum(map(self.completes, outcomes))
        self._handed_over_in_part = bool(outcomes) and not self.completes(outcomes[-1])

    def completes(self, outcome: Piece | CommandError) -> bool:
        """Return whether *outcome* is the last of what came of a command."""
        return not isinstance(outcome, Piece) or outcome.last

    @property
    def can_go_back(self) -> bool:
        """Whether no message has been handed over in part: it could not be taken back."""
        return not self._handed_over_in_part

    def go_back(self) -> Self:
        """Begin anew behind what was handed over."""
        ghost = super().go_back()
        self._octets = 0
        return ghost


def _whole(number: int, body: bytes) -> Piece:
    return Piece(number, body, first=True, last=True)


class ListingBatch(Batch[tuple[str, bytes]]):
    """UIDL and LIST in one round trip, CAPA with them: few enough to find out by whether a server can pipeline."""

    def __init__(self, *others: str) -> None:
        """Ask for both, and for *others* before them; what comes is each command with its body."""
        self._commands = (*others, "UIDL", "LIST")
        self.first_window = len(self._commands)
        numbers = array("Q", range(len(self._commands)))
        super().__init__("", numbers, lambda number, body: (self._commands[number], body), window=len(numbers))
        self.line_octets = max(len(command) + len("\r\n") for command in self._commands)

    def _lines(self, numbers: "array[int]") -> list[str]:
        return [self._commands[number] for number in numbers]

    def _refusal(self, line: bytes, number: int) -> CommandError:
        # It is about no message.
        return CommandError(line, command=self._commands[number])

    def _next_bodies(self, framer: Framer, limit: int, max_octets: int, most: int) -> tuple[list[bytes], bytes | None]:
        return framer.next_listings(limit, max_octets, most)


def message_numbers(numbers: Iterable[int | str]) -> "array[int]":
    """Return *numbers* in compact form. A `ValueError` names the first one that is not a message number."""
    if isinstance(numbers, str | bytes):
        # An iterable, of which "12" has two.
        raise TypeError(f"numbers are an iterable of message numbers, not one: {numbers!r}")
    if isinstance(numbers, range | list | tuple | dict):  # which can be gone through again when one is no number
        with suppress(TypeError, OverflowError):
            return array("Q", numbers)
    compact = array("Q")
    for number in numbers:
        try:
            compact.append(_from_digits(number) if isinstance(number, str) else index(number))
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"not a message number: {number!r}") from None
    return compact


def _from_digits(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(text)
    return int(text)
