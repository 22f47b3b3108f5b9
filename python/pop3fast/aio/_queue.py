"""The queue of single commands, in the order in which they were given; each says what becomes of its reply.

To the pipeline they are one `Batch`. So the commands of many tasks go out together when the server can take that, and
no task gets another's reply. Owns who may send now: a command that is alone in flight, or a login of several lines,
keeps all others waiting. Never waits, and sees no socket.
"""

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from pop3fast._batch import Batch, Taken
from pop3fast._errors import CommandError, ProtocolError, error_proto
from pop3fast._framing import Framer, status, strict_status
from pop3fast._outgoing import with_command
from pop3fast._secrets import shown_verb
from pop3fast.aio._answer import Answer

T = TypeVar("T")

LongResponse: TypeAlias = tuple[bytes, list[bytes], int]

Take: TypeAlias = Callable[[Framer, int, int], tuple[bytes, T | None] | None]
"""Takes a reply from a framer, within the limits of a line and of a body. Returns the status line and the value that it
stands for, which is None where the `status` of that line is not ``"ok"``; None for both while it has not come whole."""


def short(framer: Framer, limit: int, _: int) -> tuple[bytes, bytes | None] | None:
    """Take a reply of one line."""
    line = framer.next_status_line(limit)
    return None if line is None else (line, line if status(line) == "ok" else None)


def lines(framer: Framer, limit: int, max_octets: int) -> tuple[bytes, LongResponse | None] | None:
    """Take a reply with its lines, as poplib gives it."""
    reply = framer.next_lines_response(limit, max_octets)
    if reply is None:
        return None
    response, body, octets = reply
    return response, None if body is None else (response, body, octets)


whole: Take[bytes] = Framer.next_bytes_response
"""Takes a reply and its body in one piece."""

listing: Take[bytes] = Framer.next_listing_response
"""Takes a reply and the listing behind it."""


USUAL_LINE_OCTETS = 32
"""A command counts as this many octets unless it is longer, which RETR of any number is not. One that is longer than
what is counted waits until no other single command is in flight."""


class Hold:
    """Several commands of one task; no other task's command may come between them."""


class Exchange(Answer[T]):
    """One command, and the answer to it that a task waits for."""

    in_sasl: bool = False
    max_octets: int | None = None
    """A limit for the body that is tighter than the session's."""
    hold: Hold | None = None
    alone: bool = False
    """Whether nothing may be in flight beside it."""
    is_recorded: bool = False
    """Whether somebody read the log when it was sent; used where nothing else is in flight."""

    def __init__(self, loop: asyncio.AbstractEventLoop, line: str, octets: bytes, verb: str, take: Take[T]) -> None:
        """Send *octets*, which are *line* of *verb*, and *take* the reply."""
        # What `Answer.__init__` does: to call it would cost a call for each message.
        self._loop = loop
        self.line: str = line
        self.octets: bytes = octets
        self.verb: str = verb
        self.take: Take[T] = take

    def result(self) -> T:
        """Return the result, or raise the error, which names the command."""
        error = self._error
        if error is None:
            return self._value
        try:
            if isinstance(error, error_proto):
                raise with_command(error, self.verb, self.line) from error.__cause__
            raise error
        finally:
            del error, self

    def have(self, outcome: T | CommandError) -> None:
        """Let whoever waits have *outcome*, if anybody does."""
        if self.done():
            return
        if isinstance(outcome, CommandError):
            self.set_exception(outcome)
        else:
            self.set_result(outcome)


class Queue(Batch[Any]):
    """The single commands that wait, and those in flight."""

    line_octets: int

    def __init__(self, record: Callable[[bytes, bool], object]) -> None:
        """Begin with none, and with one in flight at a time.

        *record* is called with each status line, and whether it belongs to a login of several lines.
        """
        super().__init__("", array("Q"), _nothing, window=1)
        self.record: Callable[[bytes, bool], object] = record
        """Told each status line, and whether it belongs to a login."""
        self.held: Hold | None = None
        """Whose commands alone may be sent."""
        self.single: Exchange[Any] | None = None
        """What was sent past the pipeline, because nothing else was in flight."""
        self.waiting: deque[Exchange[Any]] = deque()
        """What was not sent yet. Others may look at it; only the queue changes it."""
        self._flying: deque[Exchange[Any]] = deque()
        # How many have been sent since the queue was idle.
        self._sent_of_late = 0
        # Commands whose replies have come, but the pipeline is not sure of them yet.
        self._kept_back: deque[Exchange[Any]] = deque()

    # Giving commands.

    def append(self, exchange: Exchange[Any]) -> None:
        """Let *exchange* wait for its turn, behind all others unless it is a part of what holds them up."""
        if self.is_idle:
            self._sent_of_late = 0
        if exchange.hold is not None and exchange.hold is self.held:
            self.waiting.appendleft(exchange)
        else:
            self.waiting.append(exchange)

    def put_first(self, exchange: Exchange[Any]) -> None:
        """Let *exchange* be the next that is sent."""
        self.waiting.appendleft(exchange)

    def release(self, hold: Hold) -> None:
        """Let others send again, if *hold* is why they do not."""
        if self.held is hold:
            self.held = None

    def leave_out(self, exchange: Exchange[Any]) -> bool:
        """Never send *exchange*; return whether that is possible yet."""
        try:
            self.waiting.remove(exchange)
        except ValueError:
            return False
        return True

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, and nothing was sent that has not been answered for sure."""
        return self.single is None and not (self._flying or self.waiting or self._kept_back)

    @property
    def has_several(self) -> bool:
        """Whether there is more than one command, waiting or sent and not answered for sure."""
        return len(self.waiting) + len(self._flying) + len(self._kept_back) > 1

    @property
    def in_sasl(self) -> bool:
        """Whether what was sent last is an answer in a SASL exchange, and so a secret."""
        return bool(self._flying) and self._flying[-1].in_sasl

    @property
    def wants_silence(self) -> bool:
        """Whether nothing else may be sent: a task holds the turn, or a command to go alone is in flight or next."""
        if self.held is not None or (self._flying and self._flying[-1].alone):
            return True
        return bool(self.waiting) and self.waiting[0].alone

    def end(self) -> tuple[list[Exchange[Any]], list[Exchange[Any]]]:
        """Return what was sent and not answered for sure, and what was not sent; forget them, and whoever listens."""
        single = [] if self.single is None else [self.single]
        sent, unsent = [*self._kept_back, *self._flying, *single], list(self.waiting)
        self.single = None
        self._kept_back.clear()
        self._flying.clear()
        self.waiting.clear()
        self.record = _nothing
        return sent, unsent

    # What the pipeline asks of a batch.

    @property
    def ended(self) -> bool:
        """Return False: there may always be another command."""
        return False

    @property
    def wants_more(self) -> bool:
        """Whether there is a command that may be sent now."""
        return self._next() is not None

    @property
    def left(self) -> int:
        """How many commands are left to be sent, as far as one can tell: as many may follow as there have been."""
        return len(self.waiting) + self._sent_of_late

    @property
    def about(self) -> str:
        """The oldest command without a reply, for a person."""
        return shown_verb(self._flying[0].verb) if self._flying else ""

    @property
    def can_go_back(self) -> bool:
        """Return False: nobody knows whether a command like DELE may be given twice."""
        return False

    def measure(self) -> None:
        """Take note of how long the next commands are."""
        # By this number the pipeline counts what is in flight; it has to be the same when the reply comes.
        if not self._flying and (exchange := self._next()) is not None:
            self.line_octets = max(USUAL_LINE_OCTETS, len(exchange.octets) + len(b"\r\n"))

    def next_lines(
        self,
        most: int,
        window: int,
        in_doubt: int | None = None,  # noqa: ARG002 - no sizes known
    ) -> list[str]:
        """Return the commands to be sent now, *most* of them or fewer; they count as sent."""
        said: list[str] = []
        while len(said) < most and len(self._flying) < min(window, self.window):
            exchange = self._next()
            if exchange is None or (self._flying and len(exchange.octets) + len(b"\r\n") > self.line_octets):
                break
            self.waiting.popleft()
            if exchange.hold is not None:
                self.held = exchange.hold
            self._flying.append(exchange)
            said.append(exchange.line)
        self._sent_of_late += len(said)
        return said

    def take_replies(self, framer: Framer, limit: int, max_octets: int, most: int) -> Taken[Any]:
        """Take replies to the oldest commands from *framer*, *most* at the most."""
        outcomes: list[tuple[Exchange[Any], Any]] = []
        # After other replies, a line is a reply only if it can be nothing else; see `strict_status`.
        together = len(self._flying) > 1
        while len(outcomes) < most:
            exchange = self._flying[0]
            octets = max_octets if exchange.max_octets is None else min(max_octets, exchange.max_octets)
            reply = exchange.take(framer, limit, octets)
            if reply is None:
                break
            response, value = reply
            self.record(response, exchange.verb == "AUTH")
            said = strict_status(response)
            if said == "error" or (together and said != "ok"):
                return Taken(len(outcomes), outcomes, response, None)
            outcome = outcome_of(exchange, response) if value is None else value
            if exchange.verb == "QUIT":
                # Quirk q121: qmail says two things; the first counts, and the rest is thrown away, as no reply follows.
                framer.next_octets(framer.unread())
            self._kept_back.append(self._flying.popleft())
            outcomes.append((exchange, outcome))
        return Taken(len(outcomes), outcomes, None, None)

    def take_refusal(self, line: bytes) -> Any:  # noqa: ANN401 - an outcome, of whichever command
        """Count a reply of -ERR, and return what comes of it."""
        exchange = self._flying.popleft()
        self._kept_back.append(exchange)
        return exchange, CommandError(line)

    def hand_over(self, outcomes: Sequence[Any]) -> None:
        """Let whoever waits have *outcomes*."""
        for exchange, outcome in outcomes:
            self._kept_back.popleft()
            exchange.have(outcome)

    def _next(self) -> Exchange[Any] | None:
        if not self.waiting:
            return None
        exchange = self.waiting[0]
        if self.held is not None and exchange.hold is not self.held:
            return None
        if self._flying and (exchange.alone or self._flying[-1].alone):
            return None
        return exchange


def outcome_of(exchange: Exchange[Any], response: bytes) -> Any:  # noqa: ANN401 - an outcome, of whichever command
    """Return what comes of a reply to *exchange* that is not plainly positive; raise what breaks the connection."""
    said = status(response)
    if said == "malformed":
        raise ProtocolError(response)
    error = CommandError(response)
    if said == "error":
        return error
    if exchange.take is not short:
        # Whether a body follows cannot be known.
        raise error
    return response


def fail(answer: Answer[Any], error: BaseException) -> bool:
    """Let *answer* be *error*; return False when it was done already, so that nobody hears of it."""
    if answer.done():
        return False
    answer.set_exception(error)
    return True


def _nothing(*_: object) -> None:
    """Make nothing of a reply, for each command here has its own way; or of what is recorded when nobody listens."""
