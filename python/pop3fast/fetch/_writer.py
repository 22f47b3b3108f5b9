"""The writer: a thread that delivers and remembers while the network goes on.

Owns the order: write, flush the destination, remember what it says is durable, and only then give a receipt. Only a
message with a receipt may be deleted from the server. When anything fails the writer stops, gives no more receipts, and
its next caller gets the error.

The two sides share no lock, so that an interrupt may come at any point. Between them there are only two queues, whose
`put` never waits. Ticks bound what waits to be written: one is sent along every so often, and the caller waits when too
many have not come back.
"""

from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, TypeAlias

from pop3fast.fetch._errors import DestinationError, MessageDeferred, MessageError
from pop3fast.fetch._identity import Entry, Identity
from pop3fast.fetch._plan import Item
from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.destinations._destination import Delivery, Destination
from pop3fast.fetch.memory._fingerprint import fingerprint

BATCH_MESSAGES = 576
"""How many messages are made durable at once: so many that a transaction, and the wait for the last files of a batch,
cost little in comparison. 100 took a tenth longer; 2,000 gain nothing."""

BATCH_OCTETS = 64 * 2**20
"""Or how many octets: each batch ends with a wait for the disk, and with 16 MiB messages of 5 MB took 1.5 times as
long. None of it is in memory."""

BATCH_SECONDS = 2.0
"""Or how many seconds: when the machine stops, no more than that is fetched again."""

TICK_OCTETS = 4 * 2**20
TICK_MESSAGES = 128
"""A tick goes along with so many octets or messages."""

TICKS = 4
"""How many ticks may be under way: at most 16 MiB or 512 messages wait, and one piece or message more."""

NUDGE_SECONDS = 20.0
"""How long the server gets no command while a slow destination works. The shortest time-outs seen are a minute long
(quirk q46)."""

HEADER_OCTETS = 256 * 2**10
"""Within how many octets the end of a header is looked for. Real ones have some ten thousand at most."""


class Receipt(NamedTuple):
    """A message is durable, and remembered."""

    item: Item
    entry: Entry


class Rejection(NamedTuple):
    """A message that the destination did not take; the others go on."""

    item: Item
    error: MessageError


class Memory(Protocol):
    """What remembers: `AccountState`."""

    def remember(self, entries: list[Entry], /) -> None:
        """Remember *entries*, durably and all at once."""


_Whole: TypeAlias = tuple[Item, Identity, bytes]
_Word: TypeAlias = Literal["tick", "end", "abandon", "late", "close"]
_Begin: TypeAlias = tuple[Item, Identity]
_Answer: TypeAlias = Literal["tick", "stopped"]
_Order: TypeAlias = _Whole | _Begin | bytes | _Word


def header_of(octets: bytes) -> bytes:
    """Return the header that *octets* begin with, as far as it is in them, with the empty line behind it."""
    crlf = octets.find(b"\r\n\r\n", 0, HEADER_OCTETS)
    end = crlf + 4 if crlf >= 0 else HEADER_OCTETS
    lf = octets.find(b"\n\n", 0, end)
    return octets[: lf + 2 if lf >= 0 else end]


class Writer:
    """Delivers to a destination that has been prepared. To be used by one thread, which closes it."""

    def __init__(self, destination: Destination, memory: Memory, clock: Clock, *, inline: bool = False) -> None:
        """Start to work. *inline* does everything in the caller's thread, for a test that needs one order of things."""
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._octets = self._messages = self._ticks = 0
        self._work = _Work(destination, memory, clock, self._orders, self._answers)
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
        """Flush what has ended, and what is under way unless the block ended in an interrupt; stop. Raises nothing."""
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
        self._work.doubted = True

    @property
    def is_doubted(self) -> bool:
        """Whether `doubt` was called."""
        return self._work.doubted

    def receipts(self) -> list[Receipt]:
        """Return the receipts since the last call."""
        receipts: list[Receipt] = []
        # One at a time: the writer adds to them meanwhile.
        while self._work.receipts:
            receipts.append(self._work.receipts.popleft())
        return receipts

    def rejections(self) -> list[Rejection]:
        """Return the messages that the destination did not take since the last call."""
        rejections: list[Rejection] = []
        while self._work.rejections:
            rejections.append(self._work.rejections.popleft())
        return rejections

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
            self._work.hurry()
        if self._thread is None:
            self._work.finish()
            return
        self._orders.put("close")
        try:
            self._thread.join()
        except BaseException:
            # Also in a hurry, the destination must not be closed while the thread uses it.
            self._work.hurry()
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

    def _check(self) -> None:
        if self._work.failure is not None:
            raise self._work.failure


class _Work:
    """What the thread does."""

    def __init__(
        self,
        destination: Destination,
        memory: Memory,
        clock: Clock,
        orders: "SimpleQueue[_Order]",
        answers: "SimpleQueue[_Answer]",
    ) -> None:
        self.receipts: deque[Receipt] = deque()
        self.rejections: deque[Rejection] = deque()
        self.failure: BaseException | None = None
        self.in_a_hurry = False
        self.doubted = False
        self._destination = destination
        self._memory = memory
        self._clock = clock
        self._orders = orders
        self._answers = answers
        self._items: dict[Identity, Item] = {}
        self._most: int = getattr(destination, "batch_messages", BATCH_MESSAGES)
        self._octets = 0
        self._since = 0.0
        # The message in pieces.
        self._delivery: Delivery | None = None
        self._begun: _Begin | None = None
        self._head = bytearray()

    def hurry(self) -> None:
        self.in_a_hurry = True
        self._destination.hurry()

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
            self._try(self._finish)

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
        """Return how long the batch may still wait for more; None when there is none, or nothing is to be done."""
        if not self._items or self.failure is not None:
            return None
        return max(0.0, self._since + BATCH_SECONDS - self._clock.now())

    def _follow(self, order: _Order) -> None:
        match order:
            case (item, identity, content):
                self._begin(item, identity)
                self._write(content)
                self._end(header_of(content))
            case (item, identity):
                self._begin(item, identity)
            case bytes():
                self._write(order)
                self._note_head(order)
            case "end":
                self._end(header_of(bytes(self._head)))
            case "abandon":
                self._abandon()
            case "tick":
                pass
            case _:
                self._flush()

    def _begin(self, item: Item, identity: Identity) -> None:
        self._begun = (item, identity)
        self._head.clear()
        try:
            self._delivery = self._destination.begin(identity)
        except MessageError as error:
            self._reject(item, error)

    def _write(self, octets: bytes) -> None:
        # Of a message that was rejected nothing more is written.
        if self._delivery is None or self._begun is None:
            return
        try:
            self._delivery.write(octets)
        except MessageError as error:
            self._abandon()
            self._reject(self._begun[0], error)
            return
        self._octets += len(octets)

    def _note_head(self, octets: bytes) -> None:
        if len(self._head) < HEADER_OCTETS:
            self._head += octets[:HEADER_OCTETS]

    def _reject(self, item: Item, error: MessageError) -> None:
        self.rejections.append(Rejection(item, error))

    def _abandon(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.abandon()

    def _end(self, header: bytes) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is None or self._begun is None:
            return
        item, identity = self._begun
        if not self._items:
            self._since = self._clock.now()
        self._items[identity] = item
        try:
            delivery.end(item.size, fingerprint(header))
        except MessageError as error:
            del self._items[identity]
            delivery.abandon()
            self._reject(item, error)
            return
        late = self._clock.now() - self._since >= BATCH_SECONDS
        if late or len(self._items) >= min(BATCH_MESSAGES, self._most) or self._octets >= BATCH_OCTETS:
            self._flush()

    def _flush(self) -> None:
        items, self._items, self._octets = self._items, {}, 0
        if not items or self.doubted:
            return
        while items:
            try:
                entries = self._destination.flush()
            except DestinationError as error:
                self._remember(items, error.delivered)
                raise
            except MessageError as error:
                self._sort_out(items, error)
            else:
                self._remember(items, entries)
                # Neither delivered nor named: that must not pass in silence.
                for item in items.values():
                    self._reject(item, MessageDeferred("the destination does not say that it is delivered"))
                break

    def _sort_out(self, items: dict[Identity, Item], error: MessageError) -> None:
        """Take out of *items* what *error* is about, and what is delivered in spite of it."""
        before = len(items)
        self._remember(items, error.delivered)
        for identity in error.identities or tuple(items):
            if (item := items.pop(identity, None)) is not None:
                self._reject(item, error)
        if len(items) == before:  # which would go on for ever
            raise DestinationError(
                self._destination.path, "deliver to", "what it does not take is no message that it was given"
            ) from error

    def _remember(self, items: dict[Identity, Item], entries: Sequence[Entry]) -> None:
        """Remember *entries*, and take them out of *items*."""
        known = {entry.identity: entry for entry in entries if entry.identity in items}
        if known:
            self._memory.remember([*known.values()])
            self.receipts.extend(Receipt(items.pop(identity), entry) for identity, entry in known.items())
        if len(known) < len(entries):
            raise DestinationError(
                self._destination.path, "deliver to", "what it says that it delivered is no message that it was given"
            )

    def _finish(self) -> None:
        self._abandon()
        self._flush()
