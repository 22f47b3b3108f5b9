"""Reading ahead: which messages a program that takes them one after the other will ask for next.

Owns what the session's listings have shown, the order in which the program goes through them, and the replies that came
before the program asked for them. Only messages in a listing are asked for, and only after two commands for neighbours
in it. Never decides what may be in flight: the pipeline does. Sees no socket.
"""

import warnings
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from re import fullmatch
from typing import NamedTuple, TypeAlias

from pop3fast._batch import FIRST_WINDOW, MAX_EXPECTED_OCTETS, REFILL_FRACTION, Batch, Taken, WrongSize
from pop3fast._commands import message_number
from pop3fast._errors import CommandError, error_proto
from pop3fast._framing import Framer, FramingError, parse_sizes, parse_unique_ids, strict_status
from pop3fast._proof import WINDOW_GROWTH
from pop3fast._replies import parse_stat

VARIABLE = "POP3FAST_READ_AHEAD"
"""For programs that cannot be changed: how many messages are read ahead in every session of the process."""

LongReply: TypeAlias = tuple[bytes, list[bytes], int]

MAX_AHEAD_OCTETS = MAX_EXPECTED_OCTETS
"""At most so many octets of messages are asked for ahead of time, in vain when the program stops early."""

MAX_STORED_OCTETS = 2 * MAX_AHEAD_OCTETS
"""How many octets of replies are kept for the program; more come only of a server whose sizes are too small. What comes
behind is thrown away, and asked for again in its turn."""

MOST_IN_A_ROW = 10_000
"""After so many messages the stream begins anew: what it needs to know of each was copied at its begin."""

MOST_COUNTED = 10_000_000
"""A STAT with more messages than any maildrop has is not believed."""

# What a program asks for message by message. A number that is spelled in another way is nothing to go on from.
_SEQUENTIAL = r"(RETR|TOP) ([1-9][0-9]{0,17})((?: [0-9]{1,10})?)"

# Commands that change no message and delete none.
_HARMLESS = frozenset({"NOOP", "STAT", "LIST", "UIDL", "CAPA", "RETR", "TOP"})


class Command(NamedTuple):
    """RETR or TOP of one message."""

    verb: str
    number: int
    arguments: str

    @property
    def kind(self) -> tuple[str, str]:
        """What it has in common with the one for the next message."""
        return self.verb, self.arguments


def command_of(line: str) -> Command | None:
    """Return the command in *line* if it is one that a program gives message by message; None if it is another."""
    if (match := fullmatch(_SEQUENTIAL, line)) is None:
        return None
    return Command(match[1], int(match[2]), match[3])


def by_environment(environment: Mapping[str, str]) -> int:
    """Return how many messages are to be read ahead, as the environment says; warn when that is no number."""
    text = environment.get(VARIABLE, "0")
    if text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_COUNTED)):
        return int(text)
    if text:
        message = f"${VARIABLE} is a number of messages; nothing is read ahead for {text!r}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return 0


class AheadBatch(Batch[LongReply]):
    """A run of messages in the order of a listing, of which the program has asked for the first."""

    # One has been answered before, on its own.
    first_window = FIRST_WINDOW + WINDOW_GROWTH
    bounds_octets = True

    def __init__(
        self, command: Command, numbers: "array[int]", sizes: "array[int] | None", most: int, estimate: int
    ) -> None:
        """Ask for *numbers* as *command* does, *most* of them ahead of the program.

        *sizes* are LIST's, and *estimate* stands for one that is not known.
        """
        super().__init__(command.verb, numbers, _nothing, arguments=command.arguments, sizes=sizes, window=most + 1)
        self.unclear: bytes | None = None
        """The status line behind which nothing is known any more."""
        self._estimate = estimate
        self._understated = False
        self._wanted = 0
        self._stored_octets = 0

    @property
    def is_in_flight(self) -> bool:
        """Whether commands of it have no reply yet."""
        return self._sent > self._answered

    @property
    def is_satisfied(self) -> bool:
        """Return False: what is there already was asked for ahead, and more may be."""
        return False

    @property
    def wants_more(self) -> bool:
        """Whether commands are left to be sent; whether it is worth a write, `next_lines` knows."""
        return self._sent < len(self._numbers)

    @property
    def has_spare(self) -> bool:
        """Whether something is there that the program has not had."""
        return bool(self.arrived)

    def holds(self, number: int) -> bool:
        """Return whether *number* is next, or has been asked for; those before it are thrown away then."""
        end = self._next + len(self.arrived) if self.abandoned else self._sent + 1
        try:
            place = self._numbers.index(number, self._next, end)
        except ValueError:
            return False
        self._wanted = place
        self.skip()
        return True

    def skip(self) -> None:
        """Throw away what arrived before the message that is wanted now."""
        while self.arrived and self._next < self._wanted:
            self.take()

    def take(self) -> LongReply | CommandError:
        """Return what arrived first, which is the program's from now on."""
        outcome = self.arrived.popleft()
        self._stored_octets -= _octets_of(outcome)
        return outcome

    def will_ask(self, number: int) -> bool:
        """Return whether *number* is among those that the program has not had."""
        rest = self._next, len(self._numbers)
        if rest[0] >= rest[1]:
            return False
        ends = self._numbers[rest[0]], self._numbers[-1]
        if not min(ends) <= number <= max(ends):
            return False
        try:
            self._numbers.index(number, *rest)
        except ValueError:
            return False
        return True

    def leave(self) -> None:
        """Take note that the program will not have the rest."""
        self.abandoned = True
        self.arrived.clear()

    @property
    def wanted(self) -> int:
        """The message that is wanted now."""
        return self._numbers[self._wanted]

    def wrong_size(self, octets: int) -> WrongSize | None:
        """Return what is wrong about a reply to it that has so many *octets*."""
        return None if self._sizes is None else self._first_wrong(self._wanted, array("Q", [octets]))

    # What the pipeline calls.

    def next_lines(self, most: int, window: int, in_doubt: int | None = None) -> list[str]:
        """Return the commands to be sent now, as `Batch.next_lines` does, but counted from what the program has had.

        How many that are at most grows with what it has had, so that a program which leaves its way has not cost much.
        As long as the server is not proven, what came is sure only when nothing is in flight. Then all that may be sent
        goes out together, once the program has had everything: a few more behind them would make it wait for those.
        """
        if in_doubt is not None and (self.has_spare or self.is_in_flight):
            return []
        allowed = min(self.window, self.first_window + WINDOW_GROWTH * self._next)
        if self._sent - self._next > allowed - max(1, allowed // REFILL_FRACTION):
            return []
        wanted = min(self._answered + window, self._next + allowed, len(self._numbers))
        end = min(self._sent + most, wanted)
        octets = MAX_AHEAD_OCTETS if in_doubt is None else min(in_doubt, MAX_AHEAD_OCTETS)
        for place in range(self._next + 1, end):
            octets -= self._expected(place)
            if octets < 0:
                end = place
                break
        self.is_cramped = end == self._sent + most < wanted
        lines = self._lines(self._numbers[self._sent : end])
        self._sent = max(self._sent, end)
        return lines

    def drain(self) -> None:
        """Do nothing: what more is sent depends on the program."""

    def take_replies(self, framer: Framer, limit: int, max_octets: int, most: int) -> Taken[LongReply]:
        """Take replies, with their status lines, as poplib gives them."""
        replies: list[LongReply] = []
        refused = None
        while len(replies) < most:
            try:
                reply = framer.next_lines_response(limit, max_octets)
            except FramingError:
                # The framer says it again next time, when those before have been taken.
                if not replies:
                    raise
                break
            if reply is None:
                break
            response, lines, octets = reply
            if lines is None or strict_status(response) != "ok":
                refused = response
                break
            replies.append((response, lines, octets))
        if refused is not None and strict_status(refused) == "error after ok":
            self.unclear = refused
        if not replies:
            return Taken(0, (), refused, None)
        start = self._answered
        self._answered += len(replies)
        lengths = array("Q", (octets for _, _, octets in replies))
        self._estimate = max(self._estimate, *lengths)
        wrong = None if self._sizes is None else self._first_wrong(start, lengths)
        self._understated = self._understated or wrong is not None
        return Taken(len(replies), replies, refused, wrong)

    def hand_over(self, outcomes: "Sequence[LongReply | CommandError]") -> None:
        """Keep *outcomes* for the program, unless they are more than was thought: those are asked for again."""
        for outcome in outcomes:
            if self._stored_octets > MAX_STORED_OCTETS:
                self.abandoned = True
                return
            super().hand_over([outcome])
            self._stored_octets += _octets_of(outcome)
            # Before the pipeline looks what is to be sent: what nobody will have is no reason to send nothing.
            self.skip()

    @property
    def _next(self) -> int:
        """Where the first message is that the program has not had."""
        return self._handed_over - len(self.arrived)

    def _expected(self, place: int) -> int:
        """Return how many octets the reply for the message at *place* is thought to have."""
        listed = 0 if self._sizes is None else self._sizes[place]
        return max(listed, self._estimate) if self._understated else listed or self._estimate


class ReadAhead:
    """What is known of one session's listings and of the ways that the program goes through them."""

    def __init__(self) -> None:
        """Begin with nothing: as long as no listing was seen, nothing is asked for ahead."""
        self.failure: BaseException | None = None
        """Why nothing more will come; for when the program has had what came before."""
        self.pipelines: bool | None = None
        """What CAPA says of it; None where it was not asked."""
        # In ascending order.
        self._numbers: Sequence[int] = ()
        self._sizes: Mapping[int, int] = {}
        self._average = 0
        self._marked: set[int] = set()
        # Of each kind of command the last message, and how large its replies were at most.
        self._last: dict[tuple[str, str], tuple[int, int]] = {}
        self._streams: dict[tuple[str, str], AheadBatch] = {}
        self._left: list[AheadBatch] = []

    @property
    def is_in_flight(self) -> bool:
        """Whether commands that nobody has asked for as yet have no reply."""
        self._left = [batch for batch in self._left if batch.is_in_flight]
        return bool(self._left) or any(batch.is_in_flight for batch in self._streams.values())

    @property
    def is_busy(self) -> bool:
        """Whether anything was asked for ahead of time, and not thrown away or had."""
        return bool(self._streams) or self.is_in_flight

    # What the program asks for.

    def find(self, command: Command) -> AheadBatch | None:
        """Return the run in which *command* was asked for ahead of time, or is the next to be."""
        batch = self._streams.get(command.kind)
        return batch if batch is not None and batch.holds(command.number) else None

    def may_begin(self, command: Command, most: int) -> bool:
        """Return whether the program goes from one message to the next of a listing, *most* marked ones aside."""
        return self._step(command, most) != 0

    def begin(self, command: Command, most: int) -> AheadBatch:
        """Return a run that begins with *command*, with *most* messages ahead of it."""
        step = self._step(command, most)
        place = bisect_left(self._numbers, command.number)
        if step > 0:
            rest = self._numbers[place : place + MOST_IN_A_ROW]
        else:
            rest = self._numbers[max(0, place + 1 - MOST_IN_A_ROW) : place + 1][::-1]
        numbers = array("Q", (number for number in rest if number not in self._marked))
        exact = self._sizes if command.verb == "RETR" else None
        sizes = array("Q", (exact.get(number, 0) for number in numbers)) if exact else None
        if command.kind in self._streams:
            self._leave(command.kind)
        elif len(self._streams) > 1:
            self._leave(next(iter(self._streams)))
        estimate = max(self._average, self._last[command.kind][1])
        batch = self._streams[command.kind] = AheadBatch(command, numbers, sizes, most, estimate)
        batch.holds(command.number)
        return batch

    def _step(self, command: Command, most: int) -> int:
        """Return 1 where the program goes forwards, -1 where it goes backwards, and 0 where neither shows."""
        numbers = self._numbers
        place = bisect_left(numbers, command.number)
        known = place < len(numbers) and numbers[place] == command.number and command.number not in self._marked
        if not known or command.kind not in self._last:
            return 0
        last = self._last[command.kind][0]
        for step in (1, -1):
            for before in range(1, most + 1):
                neighbour = place - step * before
                if not 0 <= neighbour < len(numbers):
                    break
                if numbers[neighbour] == last:
                    return step
                if numbers[neighbour] not in self._marked:
                    break
        return 0

    # What the session shows.

    def before(self, verb: str, line: str) -> None:
        """Take note of a command that is about to be sent: what it may change is not what was asked for ahead."""
        if verb in _HARMLESS:
            return
        if verb == "RSET":
            # What was refused before it need not be any more.
            self.leave_all()
            self._marked.clear()
            return
        number = message_number(verb, line) if verb == "DELE" else None
        if number is None:
            self.forget()
            return
        self._marked.add(number)
        for kind in [kind for kind, batch in self._streams.items() if batch.will_ask(number)]:
            self._leave(kind)

    def after(self, line: str, value: object) -> None:
        """Take note of what a command brought."""
        if line in {"LIST", "UIDL"}:
            body = b"\r\n".join([*value[1], b""]) if isinstance(value, tuple) else value
            if isinstance(body, bytes):
                with suppress(FramingError):
                    self._show(line, body)
        elif line == "STAT" and isinstance(value, bytes):
            with suppress(error_proto):
                self._count(*parse_stat(value.split()))
        elif isinstance(value, tuple) and (command := command_of(line)) and strict_status(value[0]) == "ok":
            octets = self._last.get(command.kind, (0, 0))[1]
            self._last[command.kind] = command.number, max(octets, value[2])

    def _show(self, line: str, body: bytes) -> None:
        if line == "LIST":
            self._sizes = parse_sizes(body)
            self._numbers = array("Q", sorted(self._sizes))
        else:
            self._numbers = array("Q", sorted(parse_unique_ids(body)))

    def _count(self, messages: int, octets: int) -> None:
        # After a DELE, it says how many are left, and not which.
        if not self._numbers and not self._marked and 0 < messages <= MOST_COUNTED:
            self._numbers = range(1, messages + 1)
            self._average = octets // messages

    def forget(self) -> None:
        """Begin anew: what the listings showed may not be so any more."""
        self.leave_all()
        self.pipelines = None
        self._numbers, self._sizes, self._average = (), {}, 0
        self._marked.clear()
        self._last.clear()

    def leave_all(self) -> None:
        """Throw away what was asked for ahead."""
        for kind in list(self._streams):
            self._leave(kind)

    def _leave(self, kind: tuple[str, str]) -> None:
        batch = self._streams.pop(kind)
        batch.leave()
        self._left.append(batch)


def _octets_of(outcome: LongReply | CommandError) -> int:
    return 0 if isinstance(outcome, CommandError) else outcome[2]


def _nothing(_: int, __: bytes) -> LongReply:
    raise NotImplementedError("a reply has its status line here")
