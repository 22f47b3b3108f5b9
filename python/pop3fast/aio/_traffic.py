"""Traffic: what is sent and what is taken on one connection, for all tasks that ask at the same time.

Owns when commands go out and whether what comes is taken: the turns of single commands and loops, back-pressure, and
asking what the server can do before several commands go out together. The pipeline knows which command a reply is for;
the conversation decides what an error means to those who wait. Must never wait.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pop3fast._batch import DEFAULT_WINDOW
from pop3fast._errors import CommandError, error_proto, unasked
from pop3fast._framing import FramingError
from pop3fast._pipeline import Pipeline
from pop3fast._replies import MAX_CAPABILITIES_OCTETS, known, parse_capabilities, pipelines
from pop3fast._session import Session
from pop3fast._socket import RECEIVE_SIZE
from pop3fast.aio._arrivals import Arrivals
from pop3fast.aio._patience import Patience
from pop3fast.aio._queue import Exchange, Queue, lines, outcome_of
from pop3fast.aio._wire import Wire

# The package, whose attributes programs patch as they patch poplib's.
PUBLIC: Any = sys.modules["pop3fast"]


class Traffic:
    """The commands and replies of one connection."""

    def __init__(
        self,
        session: Session,
        wire: Wire,
        queue: Queue,
        *,
        limit: Callable[[], int],
        send: Callable[[list[str]], object],
        patience: Patience,
        give_up: Callable[[BaseException], object],
    ) -> None:
        """Send and take nothing until `begin` says that the greeting has come.

        *limit* says how many octets a body may have, *send* writes commands, and *give_up* is called with the error
        after which nothing is in step.
        """
        self.queue: Queue = queue
        self.pipeline: Pipeline
        self.flows: bool = False
        """Whether commands may be sent: from the greeting on, until the connection ends."""
        self.is_free: bool = False
        """Whether nothing is in flight nor about to be, but for what was sent past the pipeline.

        Whatever is asked for ends in `_go_on`, now or soon, and that alone says yes: when it has left nothing to do."""
        self.end: BaseException | None = None
        """Why no more octets will come, once they will not."""
        self._session = session
        self._wire = wire
        self._limit = limit
        self._send = send
        self._patience = patience
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._loops: list[Arrivals[Any]] = []
        self._is_due = self._has_looked = False
        self._asks_capabilities = False
        self.start_anew()

    # What is asked of it.

    def begin(self) -> None:
        """Let commands be sent: the greeting has come."""
        self._open_pipeline()
        self.flows = True

    def give(self, exchange: Exchange[Any]) -> None:
        """Let *exchange* go out when it is its turn."""
        others_wait = bool(self.queue.waiting)
        self.queue.append(exchange)
        if others_wait or self.awaits:
            self.move_soon()
        else:  # there is no other command with which it could go out
            self.move()

    def open_loop(self, loop: Arrivals[Any]) -> None:
        """Let *loop* have what comes of its batch from now on."""
        self._loops.append(loop)

    def close_loop(self, loop: Arrivals[Any]) -> None:
        """Throw away what is still to come for *loop*."""
        if loop in self._loops:
            self._loops.remove(loop)
            if not self._loop.is_closed():
                self.move_soon()

    def stop(self, failure: BaseException) -> bool:
        """Send and take nothing any more because of *failure*; return whether a loop that waits was told."""
        self.flows = self.is_free = False
        told = False
        for loop in self._loops:
            loop.batch.failure = loop.batch.failure or self._session.why_not() or failure
            told = loop.wake() or told
        # Those who have been served are forgotten, so that a session that is over is freed at once.
        self._loops = []
        self._limit, self._send, self._give_up = int, _nothing, _nothing
        why = self.pipeline.given_up
        self._open_pipeline()
        self.pipeline.given_up = why
        return told

    def start_anew(self) -> None:
        """Forget what was known of the connection, if there was one: from here on it is another one, over TLS."""
        self._open_pipeline()
        self._session.has_gone_over()
        self.queue.window = 1

    def learn(self, listed: Mapping[str, list[str]]) -> Mapping[str, tuple[str, ...]]:
        """Remember what the server can do, and return it."""
        capabilities = known(listed)
        self._session.capabilities = capabilities
        self.queue.window = DEFAULT_WINDOW if pipelines(capabilities) else 1
        return capabilities

    def forget_capabilities(self) -> None:
        """Ask anew what the server can do, when it next matters: a login may have changed it."""
        self._session.has_logged_in()
        self.queue.window = 1

    @property
    def awaits(self) -> bool:
        """Whether a command was sent whose reply has not come whole."""
        return self.queue.single is not None or self.pipeline.in_flight

    def heard(self) -> None:
        """Take what has come."""
        queue = self.queue
        exchange = queue.single
        if exchange is None:
            self._go_on(at_once=True)
            if self.awaits:
                self._more_is_to_come()
            return
        # It was sent past the pipeline.
        framer = self._wire.framer
        try:
            reply = exchange.take(framer, PUBLIC._MAXLINE, self._limit())
            if reply is None:
                self._more_is_to_come()
                return
            response, outcome = reply
            if exchange.is_recorded:
                queue.record(response, False)  # noqa: FBT003 - it is no login
            if outcome is None:
                outcome = outcome_of(exchange, response)
            if framer.unread():
                self._refuse_left_over()
        except (error_proto, FramingError) as error:
            self._give_up(error)
            return
        queue.single = None
        if not self.is_free or self._loops:
            self.move()
        if isinstance(outcome, CommandError):
            exchange.have(outcome)
        else:
            exchange.give(outcome)

    def _more_is_to_come(self) -> None:
        self._patience.something_happened()
        self._wire.acknowledge()

    @property
    def takes(self) -> bool:
        """Whether what comes is taken: not while it is all for loops that are busy elsewhere."""
        if not self._loops or not self.queue.is_idle:
            return True
        return any(loop.waits for loop in self._loops)

    def _open_pipeline(self) -> None:
        framer = self._wire.framer
        self.pipeline = Pipeline(framer, partial(framer.next_octets, RECEIVE_SIZE), self._wire.late_clock)

    # What there is to be done.

    def move_soon(self) -> None:
        """Look what can be sent and taken, when all tasks have said what they want."""
        if not self._is_due:
            self._is_due, self.is_free = True, False
            self._loop.call_soon(self.move)

    def move(self) -> None:
        """Take what has come, and send what may be sent now."""
        self._is_due = False
        self._go_on(at_once=False)

    def _go_on(self, *, at_once: bool) -> None:
        """Do what `move` does; loops whose messages have come go on *at_once*, or in the event loop's next round."""
        self.is_free = False
        if not self.flows or self._has_to_look():
            return
        if self._loops:  # one that was left by a break only has this flag set
            self._loops = [loop for loop in self._loops if not loop.batch.abandoned]
        takes = not self._loops or self.takes
        try:
            if not self._is_in_line():
                return
            self._exchange(takes=takes)
        except Exception as error:  # noqa: BLE001 - what is no reply, or an audit hook that forbids a command
            self._give_up(error)
            return
        still_takes = not self._loops or self.takes
        if self.end is not None and takes and still_takes:
            self._give_up(self.end)
            return
        # As a rule, a loop that has just been given something asks for more before anything else comes.
        if still_takes or not takes:
            self._wire.read(still_takes)
        in_flight = self.pipeline.in_flight
        if in_flight and not self._patience.watches:
            self._patience.watch()
        if not (in_flight or self._is_due):
            queue = self.queue
            self.is_free = not queue.waiting and queue.held is None and self._wire.reads and self.end is None
        for loop in tuple(self._loops):
            loop.wake(at_once=at_once)

    def _has_to_look(self) -> bool:
        """Return whether something has come that has to be seen before anything is sent, and see to it.

        While nothing is in flight nothing should come, and what does must not be taken for the next command's reply.
        """
        if self.awaits:
            self._has_looked = False
            return False
        looked, self._has_looked = self._has_looked, False
        if looked or not (self.queue.waiting or self._loops) or not self._wire.has_arrived():
            return False
        # The loop receives it in its next round, behind what is due there already.
        self._has_looked = self._is_due = True
        self._loop.call_soon(self._loop.call_soon, self.move)
        return True

    def _is_in_line(self) -> bool:
        """Give the pipeline what was sent past it, so that others may follow; return False while that has to wait."""
        exchange = self.queue.single
        if exchange is None:
            return True
        if self._wire.framer.unread():
            # Its reply has begun to come, and whatever else there is may as well wait for its end.
            if self.end is not None:
                self._give_up(self.end)
            return False
        self.queue.single = None
        self.queue.put_first(exchange)
        self.queue.measure()
        _, *others = self.pipeline.step(self.queue, PUBLIC._MAXLINE, self._limit())
        if others:  # behind what was sent already
            self._send(others)
        return True

    def _exchange(self, *, takes: bool) -> None:
        """Take replies and send commands, if what comes is taken now."""
        if takes:
            if self.queue.has_several:
                self._ask_for_capabilities()
            if said := self._step():
                self._send(said)
        if not self.pipeline.in_flight:
            self._refuse_left_over()

    def _refuse_left_over(self) -> None:
        if octets := self._wire.framer.next_octets(RECEIVE_SIZE):
            raise unasked(octets)

    def _step(self) -> list[str]:
        limit, max_octets = PUBLIC._MAXLINE, self._limit()
        queue, pipeline = self.queue, self.pipeline
        if not (self._loops or queue.waiting):
            return pipeline.step(queue, limit, max_octets)
        if len(self._loops) == 1 and queue.is_idle:
            return pipeline.step(self._loops[0].batch, limit, max_octets)
        alone = queue.wants_silence
        if alone or (self._loops and any(loop.batch.arrived for loop in self._loops)):
            # What comes for loops meanwhile is kept for them, within bounds.
            is_silent = pipeline.make_room(None, limit, max_octets)
            if alone and not is_silent:
                return []
        if queue.waiting:
            queue.measure()
        said = pipeline.step(queue, limit, max_octets)
        if not alone:
            for loop in self._loops:
                said += pipeline.step(loop.batch, limit, max_octets)
        return said

    def _ask_for_capabilities(self) -> None:
        """Find out whether several commands may go out together. A single command is no reason to ask."""
        queue = self.queue
        if self._session.capabilities is not None or self._asks_capabilities or queue.wants_silence:
            return
        self._asks_capabilities = True
        exchange = Exchange(self._loop, "CAPA", b"CAPA", "CAPA", lines)
        exchange.max_octets = MAX_CAPABILITIES_OCTETS
        exchange.add_done_callback(self._capabilities_came)
        queue.put_first(exchange)

    def _capabilities_came(self, answer: Exchange[Any]) -> None:
        self._asks_capabilities = False
        if answer.exception() is None:
            self.learn(parse_capabilities(answer.result()[1]))
        elif self._session.in_step:
            self.learn({})
        self.move_soon()


def _nothing(_: object) -> None:
    """Do nothing for a session that is over."""
