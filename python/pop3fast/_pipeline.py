"""Pipeline: many commands in flight; the window, the order, and the outcome of each (RFC 2449 section 6.6).

Owns which command each reply is for. Never sees a socket: it says what may be written now, takes replies from the
framer, and hands each to the batch whose command is the oldest without one. The blocking client and the asyncio
client move the octets.

An outcome is kept back until the next reply has begun like a reply. A server that ends a message too early, or begins
the next reply before it has ended one, is found out by that, and the message before is not passed off as whole.
"""

from array import array
from collections import deque
from collections.abc import Callable
from itertools import repeat, takewhile
from typing import Any, Generic, TypeVar

from pop3fast._errors import CommandError, ConnectionLost, ProtocolError
from pop3fast._framing import Framer, status

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

MIN_IN_FLIGHT = 2
"""So many commands are in flight however large the replies, so that the next begins where the last one ends."""

FIRST_WINDOW = 1
WINDOW_GROWTH = 3
"""The window begins with one command and grows by three a reply: 1, 4, 16, 64 a round trip. So a server that cannot
pipeline, whatever it says, is found out by few commands."""

MAX_REFUSALS_IN_A_ROW = 10
"""After so many -ERR one behind the other the window is one command again: Dovecot hangs up after twenty."""

HOW_TO_GO_ON = "perhaps the server does not pipeline as it says it does: connect again, and pass pipelining=False"

T = TypeVar("T")


class Batch(Generic[T]):
    """The commands of one call, ``RETR 1``, ``RETR 2`` and so on, and what has come of them."""

    def __init__(
        self,
        verb: str,
        numbers: "array[int]",
        make: Callable[[int, bytes], T],
        *,
        arguments: str = "",
        has_body: bool = True,
        sizes: "array[int] | None" = None,
        window: int = DEFAULT_WINDOW,
    ) -> None:
        """Make commands of *verb*, each of *numbers*, and *arguments*.

        *make* is given message number and body (empty without one) of each reply; *sizes* says how large they may be.
        """
        self.verb = verb
        self.has_body = has_body
        self.arrived: deque[T | CommandError] = deque()
        self.failure: BaseException | None = None
        """Why no more will arrive; for when everything that did has been taken."""
        self.abandoned = False
        """Whether nobody waits for what is still to arrive."""
        self.in_flight = 0
        self._prefix = f"{verb} "
        self._arguments = arguments
        self._numbers = numbers
        self._make = make
        self._sizes = sizes
        self._sent = 0
        self._answered = 0
        self._expected_octets = 0
        self._last_octets = 0
        self._greatest_window = window
        self._window = min(FIRST_WINDOW, window)
        self._refusals_in_a_row = 0

    @property
    def ended(self) -> bool:
        """Whether every command has been sent and answered."""
        return self._answered == len(self._numbers)

    @property
    def awaited(self) -> int:
        """The message number of the oldest command without a reply."""
        return self._numbers[self._answered]

    def next_lines(self, in_flight: int, octets: int) -> list[str]:
        """Return the commands to be sent now, without line ends, and count them as sent.

        *in_flight* commands have no reply yet, and the new ones may have so many *octets*. One is always sent when none
        is in flight.
        """
        lines: list[str] = []
        for number in self._numbers[self._sent : self._sent + max(self._window - in_flight, 0)]:
            line = f"{self._prefix}{number}{self._arguments}"
            octets -= len(line) + 2
            waiting = in_flight + len(lines)
            if (octets < 0 and waiting) or (self._expected_octets > MAX_EXPECTED_OCTETS and waiting >= MIN_IN_FLIGHT):
                break
            lines.append(line)
            self._expected_octets += self._expected_of(self._sent)
            self._sent += 1
        self.in_flight += len(lines)
        return lines

    def line_octets(self) -> int:
        """Return the octets of the oldest command in flight, its line end counted."""
        return len(self._prefix) + len(str(self.awaited)) + len(self._arguments) + 2

    def take_body(self, body: bytes) -> T:
        """Count a positive reply, let the window grow, and return what was made of it."""
        outcome = self._make(self.awaited, body)
        self._count_answer()
        self._last_octets = len(body)
        self._refusals_in_a_row = 0
        if self._window < self._greatest_window:
            self._window = min(self._window + WINDOW_GROWTH, self._greatest_window)
        return outcome

    def take_refusal(self, line: bytes) -> CommandError:
        """Count a reply of -ERR, let the window shrink after several, and return the error."""
        outcome = CommandError(line, self.verb, self.awaited)
        self._count_answer()
        self._refusals_in_a_row += 1
        if self._refusals_in_a_row >= MAX_REFUSALS_IN_A_ROW:
            self._window = min(FIRST_WINDOW, self._greatest_window)
        return outcome

    def _count_answer(self) -> None:
        self._expected_octets -= self._expected_of(self._answered)
        self._answered += 1
        self.in_flight -= 1

    def _expected_of(self, index: int) -> int:
        return 0 if self._sizes is None else self._sizes[index]


class Pipeline:
    """The commands in flight on one connection, of however many batches."""

    def __init__(self, framer: Framer) -> None:
        """Take replies from *framer*."""
        self._framer = framer
        # One entry a command, the oldest first.
        self._in_flight: deque[Batch[Any]] = deque()
        self._unanswered_octets = 0
        self._kept_back: tuple[Batch[Any], Any] | None = None

    @property
    def in_flight(self) -> int:
        """How many commands have been sent and not been answered."""
        return len(self._in_flight)

    def has_room_for(self, octets: int) -> bool:
        """Return whether a command of so many octets may be sent behind those in flight."""
        return not self._in_flight or self._unanswered_octets + octets <= MAX_UNANSWERED_OCTETS

    def fill(self, batch: Batch[Any]) -> list[str]:
        """Return the commands of *batch* that are to be written now, without line ends; they count as sent."""
        lines = batch.next_lines(len(self._in_flight), MAX_UNANSWERED_OCTETS - self._unanswered_octets)
        self._in_flight.extend(repeat(batch, len(lines)))
        self._unanswered_octets += sum(map(len, lines)) + 2 * len(lines)
        return lines

    def take(self, limit: int, max_octets: int) -> bool:
        """Take the replies that are there as a whole, as far as they are one batch's; return whether any was.

        Raises `ProtocolError` when something is no reply, after which nothing more can be taken.
        """
        if not self._in_flight:
            return False
        batch = self._in_flight[0]
        # With another batch between its commands, as many as come before it.
        most = batch.in_flight
        if most != len(self._in_flight):
            most = sum(1 for _ in takewhile(lambda other: other is batch, self._in_flight))
        bodies, refused = self._replies(batch, limit, max_octets, most)
        for body in bodies:
            self._unanswered_octets -= batch.line_octets()
            self._keep_back(batch, batch.take_body(body))
        if refused is not None:
            self._check_refusal(batch, refused)
            self._unanswered_octets -= batch.line_octets()
            self._keep_back(batch, batch.take_refusal(refused))
        taken = len(bodies) + (refused is not None)
        for _ in range(taken):
            self._in_flight.popleft()
        if not self._in_flight or (self._kept_back is not None and self._framer.in_body()):
            self._hand_over()
        return taken > 0

    def hang_up(self) -> ConnectionLost:
        """Hand over what the server had sent whole before it hung up; return the error for what it had not."""
        begun = self._framer.next_octets(1) if not self._framer.in_body() else b"+"
        if begun in {b"", b"+", b"-"}:
            self._hand_over()
        if not self._in_flight:
            return ConnectionLost("-ERR EOF")
        about = f"{self._in_flight[0].verb} {self._in_flight[0].awaited}"
        return ConnectionLost(f"the server hung up before its reply to {about} was whole; {HOW_TO_GO_ON}")

    def _replies(
        self,
        batch: Batch[Any],
        limit: int,
        max_octets: int,
        most: int,
    ) -> tuple[list[bytes], bytes | None]:
        if batch.has_body:
            return self._framer.next_bodies(limit, max_octets, most)
        bodies: list[bytes] = []
        while len(bodies) < most and (line := self._framer.next_status_line(limit)) is not None:
            if status(line) != "ok":
                return bodies, line
            bodies.append(b"")
        return bodies, None

    def _keep_back(self, batch: Batch[T], outcome: T | CommandError) -> None:
        """Keep *outcome* until the reply behind it has begun, which it has for the one before."""
        self._hand_over()
        self._kept_back = batch, outcome

    def _hand_over(self) -> None:
        if self._kept_back is not None:
            batch, outcome = self._kept_back
            self._kept_back = None
            if not batch.abandoned:
                batch.arrived.append(outcome)

    def _check_refusal(self, batch: Batch[Any], line: bytes) -> None:
        said = status(line)
        if said == "error":
            return
        about = f"{batch.verb} {batch.awaited}"
        if said == "error after ok":
            self._hand_over()
            raise ProtocolError(f"the server failed in the middle of its reply to {about}: {line!r}")
        before = "; the message before it may not be whole" if self._kept_back is not None else ""
        raise ProtocolError(f"no reply to {about}, but {line[:200]!r}{before}; {HOW_TO_GO_ON}")
