"""Pipeline: many commands in flight; the window, the order, and the outcome of each (RFC 2449 section 6.6).

Owns which command each reply is for. Never sees a socket: it says what may be written now, takes replies from the
framer, and hands each to the batch whose command is the oldest without one. The blocking client and the asyncio
client move the octets.

An outcome is kept back until the next reply has begun like a reply. A server that ends a message too early, or begins
the next reply before it has ended one, is found out by that, and the message before is not passed off as whole.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from pop3fast._errors import CommandError, ConnectionLost, ProtocolError
from pop3fast._framing import Framer, strict_status
from pop3fast._message import Piece

DEFAULT_WINDOW = 100
"""The greatest number of commands in flight. mpop's, which is in wide use; more gains nothing, since from there on the
line is what limits, or MAX_EXPECTED_OCTETS."""

MAX_UNANSWERED_OCTETS = 2048
"""The greatest number of octets of commands in flight. Client and server must never both wait to write (both would
wait for ever), so these have to fit into the server's buffers while it reads nothing. Dovecot's own input buffer of
2,048 octets is the smallest that was met."""

MAX_EXPECTED_OCTETS = 2 * 2**20
"""How many octets of replies are asked for ahead of time: at 40 ms of round trip enough for 50 MB/s. They are what is
thrown away when the loop is left early or the connection breaks."""

REFILL_FRACTION = 8
"""New commands go out when an eighth of the window is free, not one by one: a write costs as much as ten commands."""

PIECE_OCTETS = 2**16
"""How large a piece of a message is. A C library gives and takes memory of this size without the kernel: with four
times as much, turning line ends took six times as long for each octet."""

MIN_IN_FLIGHT = 2
"""So many commands are in flight however large the replies, so that the next begins where the last one ends."""

FIRST_WINDOW = 1
WINDOW_GROWTH = 3
"""The window begins with one command and grows by three a reply: 1, 4, 16, 64 a round trip. So a server that cannot
pipeline, whatever it says, is found out by few commands."""

GREATEST_FIRST_WINDOW = 16
"""A later batch on the same connection begins with the window that the one before had reached, but with no more than
this: its numbers may be stale, and Dovecot hangs up after twenty refusals."""

MAX_REFUSALS_IN_A_ROW = 10
"""After so many -ERR one behind the other the window is one command again: Dovecot hangs up after twenty."""

HOW_TO_GO_ON = "perhaps the server does not pipeline as it says it does: connect again, and pass pipelining=False"

T = TypeVar("T")


class Batch(Generic[T]):
    """The commands of one call, ``RETR 1``, ``RETR 2`` and so on, and what has come of them."""

    first_window = FIRST_WINDOW
    """So many commands may be in flight on a connection on which there never were any."""

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

        *make* is given message number and body (empty without one) of each reply; *sizes* says how large they may be,
        and *ahead* how many octets are asked for ahead of time.
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
        self._prefix = f"{verb} "
        self._arguments = arguments
        self._numbers = numbers
        self._make = make
        self._sizes = sizes
        self._ahead = MAX_EXPECTED_OCTETS if ahead is None else ahead
        self.new = True
        """Whether the pipeline has not met it yet."""
        self._sent = 0
        self._answered = 0
        self._handed_over = 0
        self._refill_at = 0
        self._last_octets = 0
        self._greatest_window = window

    @property
    def ended(self) -> bool:
        """Whether what came of every command is, or was, in `arrived`; the last may be kept back for a while."""
        return self._handed_over == len(self._numbers)

    @property
    def awaited(self) -> int:
        """The message number of the oldest command without a reply."""
        return self._numbers[self._answered]

    @property
    def about(self) -> str:
        """That command, for a person."""
        return f"{self.verb} {self.awaited}"

    @property
    def advice(self) -> str:
        """What to do about a server that does not answer in step, to be put behind the error."""
        return f"; {HOW_TO_GO_ON}" if self._greatest_window > 1 else ""

    def next_lines(self, most: int, window: int) -> list[str]:
        """Return the commands to be sent now, without line ends, *most* of them or fewer; they count as sent.

        *window* is how many may be in flight, if the batch's own does not say fewer.
        """
        in_flight = self._sent - self._answered
        if in_flight > self._refill_at:
            return []
        end = min(self._sent + most, self._answered + min(window, self._greatest_window), len(self._numbers))
        end = max(self._sent, self._end_of_expected_octets(end))
        lines = self._lines(self._numbers[self._sent : end])
        self._sent = end
        in_flight = end - self._answered
        self._refill_at = max(0, in_flight - max(1, in_flight // REFILL_FRACTION))
        return lines

    def drain(self) -> None:
        """Send nothing more until everything in flight is answered."""
        self._refill_at = 0

    def hand_over(self, outcomes: "list[T | CommandError]") -> None:
        """Let the loop have *outcomes*; it may be another thread's, and take them at once."""
        self.arrived.extend(outcomes)
        self._handed_over += len(outcomes)

    def take_replies(
        self, framer: Framer, limit: int, max_octets: int, most: int
    ) -> tuple[int, Iterable[T], bytes | None]:
        """Take replies to the oldest commands from *framer*, *most* at the most.

        Returns how many were positive, what is made of them, and the -ERR behind them.
        """
        bodies, refused = self._next_bodies(framer, limit, max_octets, most)
        return len(bodies), self.take_bodies(bodies) if bodies else (), refused

    def take_bodies(self, bodies: list[bytes]) -> Iterator[T]:
        """Count positive replies, and return what is made of them."""
        start = self._answered
        self._answered += len(bodies)
        self._last_octets = len(bodies[-1])
        return map(self._make, self._numbers[start : self._answered], bodies)

    def take_refusal(self, line: bytes) -> CommandError:
        """Count a reply of -ERR, and return the error."""
        error = CommandError(line, command=self.verb, number=self.awaited)
        self._answered += 1
        return error

    def _next_bodies(self, framer: Framer, limit: int, max_octets: int, most: int) -> tuple[list[bytes], bytes | None]:
        if self.has_body:
            return framer.next_bodies(limit, max_octets, most)
        bodies: list[bytes] = []
        while len(bodies) < most and (line := framer.next_status_line(limit)) is not None:
            if strict_status(line) != "ok":
                return bodies, line
            bodies.append(b"")
        return bodies, None

    def _lines(self, numbers: "array[int]") -> list[str]:
        return [f"{self._prefix}{number}{self._arguments}" for number in numbers]

    def _end_of_expected_octets(self, end: int) -> int:
        """Return how far commands may be sent, *end* at most, without asking for too many octets ahead of time."""
        if not self.has_body:
            return end
        if self._sizes is None:
            return min(end, self._answered + max(MIN_IN_FLIGHT, self._ahead // max(1, self._last_octets)))
        expected = sum(self._sizes[self._answered : self._sent])
        for index in range(self._sent, end):
            expected += self._sizes[index]
            if expected > self._ahead and index >= self._answered + MIN_IN_FLIGHT:
                return index
        return end


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

    def take_replies(
        self, framer: Framer, limit: int, max_octets: int, most: int
    ) -> tuple[int, Iterable[Piece], bytes | None]:
        """Take replies as far as they have come; of the last one perhaps a part, which does not count yet."""
        parts, refused = framer.next_pieces(limit, max_octets, most, PIECE_OCTETS)
        answered = self._answered
        pieces: list[Piece] = []
        for content, last in parts:
            pieces.append(Piece(self.awaited, content, first=not self._octets, last=last))
            self._octets += len(content)
            if last:
                self._answered += 1
                self._last_octets, self._octets = self._octets, 0
        return self._answered - answered, pieces, refused

    def hand_over(self, outcomes: "list[Piece | CommandError]") -> None:
        """Let the loop have *outcomes*, of which a piece that is not its message's last is not all that came of it."""
        self.arrived.extend(outcomes)
        self._handed_over += sum(not isinstance(outcome, Piece) or outcome.last for outcome in outcomes)


def _whole(number: int, body: bytes) -> Piece:
    return Piece(number, body, first=True, last=True)


class ListingBatch(Batch[tuple[str, bytes]]):
    """UIDL and LIST in one round trip: few enough to find out by whether a server can pipeline."""

    COMMANDS = ("UIDL", "LIST")
    first_window = len(COMMANDS)

    def __init__(self) -> None:
        """Ask for both; what comes is each command with its body."""
        numbers = array("Q", range(len(self.COMMANDS)))
        super().__init__("", numbers, lambda number, body: (self.COMMANDS[number], body), window=len(numbers))
        self.line_octets = max(len(command) + len("\r\n") for command in self.COMMANDS)

    @property
    def about(self) -> str:
        """That command, for a person."""
        return self.COMMANDS[self.awaited]

    def take_refusal(self, line: bytes) -> CommandError:
        """Count a reply of -ERR, and return the error, which is about no message."""
        refused = super().take_refusal(line)
        return CommandError(line, command=self.COMMANDS[refused.number or 0])

    def _lines(self, numbers: "array[int]") -> list[str]:
        return [self.COMMANDS[number] for number in numbers]


class Pipeline:
    """The commands in flight on one connection, of however many batches."""

    def __init__(self, framer: Framer) -> None:
        """Take replies from *framer*."""
        self._framer = framer
        # Batches and how many of their commands are one behind the other; the oldest first.
        self._runs: deque[tuple[Batch[Any], int]] = deque()
        self._unanswered_octets = 0
        self._kept_back: tuple[Batch[Any], Any] | None = None
        self._window = FIRST_WINDOW
        self._refusals_in_a_row = 0

    @property
    def in_flight(self) -> bool:
        """Whether commands have been sent and not been answered."""
        return bool(self._runs)

    def has_room_for(self, octets: int) -> bool:
        """Return whether a command of so many octets may be sent behind those in flight."""
        return not self._runs or self._unanswered_octets + octets <= MAX_UNANSWERED_OCTETS

    def fill(self, batch: Batch[Any]) -> list[str]:
        """Return the commands of *batch* that are to be written now, without line ends; they count as sent."""
        if batch.new:
            batch.new = False
            greatest = GREATEST_FIRST_WINDOW - self._refusals_in_a_row
            self._window = max(min(self._window, greatest), batch.first_window)
        most = (MAX_UNANSWERED_OCTETS - self._unanswered_octets) // batch.line_octets
        lines = batch.next_lines(most if self._runs else max(most, 1), self._window)
        if lines:
            self._unanswered_octets += len(lines) * batch.line_octets
            before = self._runs.pop()[1] if self._runs and self._runs[-1][0] is batch else 0
            self._runs.append((batch, before + len(lines)))
        return lines

    def take(self, limit: int, max_octets: int) -> bool:
        """Take the replies that are there as a whole, and return whether to call again: there may be more.

        Raises `ProtocolError` when something is no reply, after which nothing more can be taken.
        """
        if not self._runs:
            return False
        batch, most = self._runs[0]
        taken, outcomes, refused = batch.take_replies(self._framer, limit, max_octets, most)
        if outcomes:
            self._keep_back(batch, outcomes)
        if taken:
            self._window += WINDOW_GROWTH * taken
            self._refusals_in_a_row = 0
        if refused is not None:
            self._check_refusal(batch, refused)
            self._keep_back(batch, (batch.take_refusal(refused),))
            self._count_refusal(batch)
            taken += 1
        self._unanswered_octets -= taken * batch.line_octets
        if taken == most:
            self._runs.popleft()
        elif taken:
            self._runs[0] = batch, most - taken
        if not self._runs or self._framer.in_body():
            self._hand_over()
        return refused is not None or taken == most

    def fail(self) -> None:
        """Hand over what came whole before a reply that passed a limit."""
        if self._framer.in_body():
            self._hand_over()

    def hand_over_whole(self) -> None:
        """Hand over what came whole before a wait that failed, when nothing more is taken."""
        begun = self._framer.next_octets(1) if not self._framer.in_body() else b"+"
        if begun in {b"", b"+", b"-"}:
            self._hand_over()

    def hang_up(self) -> ConnectionLost:
        """Hand over what the server had sent whole before it hung up; return the error for what it had not."""
        self.hand_over_whole()
        if not self._runs:
            return ConnectionLost("-ERR EOF")
        batch = self._runs[0][0]
        return ConnectionLost(f"the server hung up before its reply to {batch.about} was whole{batch.advice}")

    def _count_refusal(self, batch: Batch[Any]) -> None:
        self._refusals_in_a_row += 1
        if self._refusals_in_a_row >= MAX_REFUSALS_IN_A_ROW:
            self._window = FIRST_WINDOW
            batch.drain()

    def _keep_back(self, batch: Batch[T], outcomes: Iterable[T | CommandError]) -> None:
        """Hand over all *outcomes* but the last, behind which no reply has begun yet."""
        self._hand_over()
        if batch.abandoned:
            return
        *ready, last = outcomes
        batch.hand_over(ready)
        self._kept_back = batch, last

    def _hand_over(self) -> None:
        if self._kept_back is not None:
            batch, outcome = self._kept_back
            self._kept_back = None
            if not batch.abandoned:
                batch.hand_over([outcome])

    def _check_refusal(self, batch: Batch[Any], line: bytes) -> None:
        said = strict_status(line)
        if said == "error":
            return
        about = batch.about
        if said == "error after ok":
            self._hand_over()
            raise ProtocolError(f"the server failed in the middle of its reply to {about}: {line!r}")
        before = "; the message before it may not be whole" if self._kept_back is not None else ""
        raise ProtocolError(f"no reply to {about}, but {line[:200]!r}{before}{batch.advice}")
