"""The writer: a thread that delivers and remembers while the network goes on.

Owns the two sides and what goes between them. When anything fails the writer stops, gives no more receipts, and its
next caller gets the error. What a delivery is, and when it has a receipt, is decided in `_receipts`.

The two sides share no lock, so that an interrupt may come at any point. Between them there are only two queues, whose
`put` never waits. Ticks bound what waits to be written: one is sent along every so often, and the caller waits when too
many have not come back.
"""

from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Literal, Self, TypeAlias, TypeVar

from pop3fast.fetch._identity import Identity
from pop3fast.fetch._plan import Item
from pop3fast.fetch._receipts import Deliveries, Memory, Receipt, Rejection
from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.destinations._destination import Taker

TICK_OCTETS = 4 * 2**20
TICK_MESSAGES = 128
"""A tick goes along with so many octets or messages."""

TICKS = 4
"""How many ticks may be under way: at most 16 MiB or 512 messages wait, and one piece or message more."""

NUDGE_SECONDS = 20.0
"""How long the server gets no command while a slow destination works. The shortest time-outs seen are a minute long
(quirk q46)."""

_Whole: TypeAlias = tuple[Item, Identity, bytes]
_Word: TypeAlias = Literal["tick", "end", "abandon", "late", "close"]
_Begin: TypeAlias = tuple[Item, Identity]
_Answer: TypeAlias = Literal["tick", "stopped"]
_Order: TypeAlias = _Whole | _Begin | bytes | _Word
_T = TypeVar("_T")


class Writer:
    """Delivers to a destination that has been prepared. To be used by one thread, which closes it."""

    def __init__(self, destination: Taker, memory: Memory, clock: Clock, *, inline: bool = False) -> None:
        """Start to work. *inline* does everything in the caller's thread, for a test that needs one order of things."""
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._octets = self._messages = self._ticks = 0
        self._destination = destination
        self._deliveries = Deliveries(destination, memory, clock)
        self._work = _Work(self._deliveries, self._orders, self._answers)
        # A daemon, for an interrupt may come before anybody has the writer to stop it; it never outlives its session
        # otherwise, and being killed at any point does no harm.
        self._thread = None if inline else Thread(target=self._work.run, name="pop3fast-writer", daemon=True)
        if self._thread is not None:
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Deliver what waits, unless the block ended in an interrupt; flush, and stop. Raises nothing."""
        self.stop(at_once=kind is not None and not issubclass(kind, Exception))

    def put(self, item: Item, identity: Identity, content: bytes) -> None:
        """Deliver a whole message, to be remembered as *identity*. Raises what made the writer stop."""
        self._say((item, identity, content), len(content), 1)

    def begin(self, item: Item, identity: Identity) -> None:
        """Begin a message that comes in pieces; without an `end` it is taken away. Raises what made the writer stop."""
        self._say((item, identity), 0, 1)

    def write(self, octets: bytes) -> None:
        """Take a piece of it. Raises what made the writer stop."""
        self._say(octets, len(octets), 0)

    def end(self) -> None:
        """End the message that came in pieces: it is whole."""
        self._say("end", 0, 0)

    def abandon(self) -> None:
        """Throw the message that came in pieces away."""
        self._say("abandon", 0, 0)

    def doubt(self) -> None:
        """Neither make durable nor remember what has no receipt yet: it may be another message than it seemed."""
        self._deliveries.doubted = True

    @property
    def is_doubted(self) -> bool:
        """Whether `doubt` was called."""
        return self._deliveries.doubted

    def receipts(self) -> list[Receipt]:
        """Return the receipts since the last call."""
        return _taken_from(self._deliveries.receipts)

    def rejections(self) -> list[Rejection]:
        """Return the messages that the destination did not take since the last call."""
        return _taken_from(self._deliveries.rejections)

    def finish(self, nudge: Callable[[], object]) -> None:
        """Flush what has ended and wait for it, calling *nudge* every `NUDGE_SECONDS`. Raises what *nudge* does.

        Nothing may be given to the writer any more.
        """
        if self._thread is None:
            return
        self._orders.put("close")
        while self._thread.is_alive():
            self._thread.join(NUDGE_SECONDS)
            if self._thread.is_alive():
                nudge()

    def stop(self, *, at_once: bool = False) -> None:
        """Flush what has ended and end the thread; *at_once* throws away what waits to be written. Raises nothing.

        Receipts can be had afterwards, too.
        """
        if at_once:
            self._hurry()
        if self._thread is None:
            self._work.finish()
            return
        self._orders.put("close")
        try:
            self._thread.join()
        except BaseException:
            # Also in a hurry, the destination must not be closed while the thread uses it.
            self._hurry()
            self._thread.join()
            raise

    @property
    def failure(self) -> BaseException | None:
        """What made the writer stop, if anything did."""
        return self._work.failure

    def _say(self, order: _Order, octets: int, messages: int) -> None:
        self._check()
        if self._thread is None:
            self._work.obey_in_time(order)
            return
        self._orders.put(order)
        self._octets += octets
        self._messages += messages
        if self._octets >= TICK_OCTETS or self._messages >= TICK_MESSAGES:
            self._octets = self._messages = 0
            self._orders.put("tick")
            self._ticks += 1
            while self._ticks > TICKS:
                if self._answers.get() == "tick":
                    self._ticks -= 1
                self._check()

    def _hurry(self) -> None:
        self._work.in_a_hurry = True
        self._destination.hurry()

    def _check(self) -> None:
        if self._work.failure is not None:
            raise self._work.failure


class _Work:
    """What the thread does."""

    def __init__(self, deliveries: Deliveries, orders: "SimpleQueue[_Order]", answers: "SimpleQueue[_Answer]") -> None:
        self.failure: BaseException | None = None
        self.in_a_hurry = False
        self._deliveries = deliveries
        self._orders = orders
        self._answers = answers

    def run(self) -> None:
        while (order := self._next()) != "close":
            self._obey(order)
        self.finish()

    def obey_in_time(self, order: _Order) -> None:
        """Do what the clock demands, then *order*: what `run` does after it has waited for *order*."""
        if self._seconds_left() == 0:
            self._obey("late")
        self._obey(order)

    def finish(self) -> None:
        if self.failure is None or isinstance(self.failure, Exception):
            # Messages that had ended before a failure are delivered as well.
            self._try(self._deliveries.finish)

    def _obey(self, order: _Order) -> None:
        if self.failure is None and not self.in_a_hurry:
            self._try(self._follow, order)
        if order == "tick":
            self._answers.put("tick")

    def _try(self, work: "Callable[..., None]", *order: _Order) -> None:
        try:
            work(*order)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller's thread must hear of it
            self.failure = self.failure or error
            # A caller that waits for room waits no longer.
            self._answers.put("stopped")

    def _next(self) -> _Order:
        """Return the next order, or that the batch has waited long enough."""
        try:
            return self._orders.get(timeout=self._seconds_left())
        except Empty:
            return "late"

    def _seconds_left(self) -> float | None:
        """Return how long to wait for more; None where nothing is done before there is more."""
        return None if self.failure is not None else self._deliveries.seconds_left()

    def _follow(self, order: _Order) -> None:
        deliveries = self._deliveries
        match order:
            case (item, identity, content):
                deliveries.put(item, identity, content)
            case (item, identity):
                deliveries.begin(item, identity)
            case bytes():
                deliveries.write(order)
            case "end":
                deliveries.end()
            case "abandon":
                deliveries.abandon()
            case "tick":
                pass
            case _:
                deliveries.flush()


def _taken_from(queue: deque[_T]) -> list[_T]:
    """Return what is in *queue*, one at a time: the writer adds to it meanwhile."""
    taken: list[_T] = []
    while queue:
        taken.append(queue.popleft())
    return taken
