"""Receipts: from a message to the proof that it is delivered and remembered.

Owns the order: write, flush the destination, remember what it says is durable, and only then give a receipt. Only a
message with a receipt may be deleted from the server. Owns, too, how many messages and octets, and how much time, go by
from one flush to the next. Knows no thread: the writer calls it from its own.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pop3fast.fetch._errors import DestinationError, MessageDeferred, MessageError
from pop3fast.fetch._identity import Entry, Identity
from pop3fast.fetch._plan import Item
from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.destinations._destination import Delivery, Taker
from pop3fast.fetch.memory._fingerprint import HEADER_OCTETS, fingerprint, header_of

BATCH_MESSAGES = 576
"""How many messages are made durable at once: so many that a transaction, and the wait for the last files of a batch,
cost little in comparison. 100 took a tenth longer; 2,000 gain nothing."""

BATCH_OCTETS = 64 * 2**20
"""Or how many octets: each batch ends with a wait for the disk. With batches of 16 MiB, messages of 5 MB took
1.5 times as long. None of these octets is in memory."""

BATCH_SECONDS = 2.0
"""Or how many seconds: when the machine stops, no more than that is fetched again."""


class Receipt(NamedTuple):
    """A message is durable, and remembered."""

    item: Item
    entry: Entry


class Rejection(NamedTuple):
    """A message that the destination did not take; the others go on."""

    item: Item
    error: MessageError
    fingerprint: bytes = b""
    """Of its header; empty when not all of that was there."""


class Memory(Protocol):
    """What remembers: `AccountState`."""

    def remember(self, entries: list[Entry], /) -> None:
        """Remember *entries*, durably and all at once."""

    def check_lease(self) -> None:
        """Raise `StateError` when another worker has the account by now, and perhaps has delivered the same."""


class Deliveries:
    """Messages on their way into a destination that has been prepared: one under way, and those of the next flush.

    After any error but that of one message, nothing may be asked of it but `finish`.
    """

    def __init__(self, destination: Taker, memory: Memory, clock: Clock) -> None:
        """Begin with none."""
        self.receipts: deque[Receipt] = deque()
        self.rejections: deque[Rejection] = deque()
        self.doubted = False
        """Whether what has no receipt yet may be another message than it seemed: it is not flushed any more."""
        self._destination = destination
        self._memory = memory
        self._clock = clock
        self._items: dict[Identity, Item] = {}
        self._failed: Identity | None = None
        self._prints: dict[Identity, bytes] = {}
        self._most: int = getattr(destination, "batch_messages", None) or BATCH_MESSAGES
        self._octets = 0
        self._since = 0.0
        # The message under way, and how it begins when it comes in pieces.
        self._delivery: Delivery | None = None
        self._begun: tuple[Item, Identity] | None = None
        self._head = bytearray()

    def seconds_left(self) -> float | None:
        """Return how long those that have ended may still wait for more; None when there are none."""
        return max(0.0, self._since + BATCH_SECONDS - self._clock.now()) if self._items else None

    def put(self, item: Item, identity: Identity, content: bytes) -> None:
        """Deliver a whole message."""
        self.begin(item, identity)
        self._write(content)
        self._end(header_of(content))

    def begin(self, item: Item, identity: Identity) -> None:
        """Begin a message that comes in pieces."""
        self._begun = (item, identity)
        self._head.clear()
        try:
            self._delivery = self._destination.begin(identity)
        except MessageError as error:
            self._reject(item, error)

    def write(self, octets: bytes) -> None:
        """Take a piece of it."""
        self._write(octets)
        if len(self._head) < HEADER_OCTETS:
            self._head += octets[:HEADER_OCTETS]

    def end(self) -> None:
        """End it: it is whole."""
        self._end(header_of(bytes(self._head)))

    def abandon(self) -> None:
        """Throw away what is under way, if anything is."""
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.abandon()

    def flush(self) -> None:
        """Make durable and remember what has ended, and give receipts for it."""
        items, self._items, self._octets = self._items, {}, 0
        prints, self._prints = self._prints, {}
        if not items or self.doubted:
            return
        self._memory.check_lease()
        while items:
            try:
                entries = self._destination.flush()
            except DestinationError as error:
                self._remember(items, error.delivered)
                raise
            except MessageError as error:
                self._sort_out(items, prints, error)
            else:
                self._remember(items, entries)
                # Neither delivered nor named: that must not pass in silence.
                for identity, item in items.items():
                    if identity != self._failed:
                        self._reject(item, MessageDeferred("the destination does not say that it is delivered"))
                break

    def finish(self) -> None:
        """Flush what has ended, and throw away what has not."""
        self.abandon()
        self.flush()

    def _write(self, octets: bytes) -> None:
        # Nothing more is written of a message that was rejected.
        if self._delivery is None or self._begun is None:
            return
        try:
            self._delivery.write(octets)
        except MessageError as error:
            self.abandon()
            self._reject(self._begun[0], error)
            return
        self._octets += len(octets)

    def _reject(self, item: Item, error: MessageError, known: bytes = b"") -> None:
        self.rejections.append(Rejection(item, error, known))

    def _end(self, header: bytes) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is None or self._begun is None:
            return
        item, identity = self._begun
        if not self._items:
            self._since = self._clock.now()
        self._items[identity] = item
        self._prints[identity] = known = fingerprint(header)
        try:
            delivery.end(item.size, known)
        except MessageError as error:
            del self._items[identity]
            delivery.abandon()
            self._reject(item, error, known)
            return
        except Exception:
            # All that is said of it is this error. Should it be delivered all the same, the last flush says so.
            self._failed = identity
            raise
        late = self._clock.now() - self._since >= BATCH_SECONDS
        if late or len(self._items) >= min(BATCH_MESSAGES, self._most) or self._octets >= BATCH_OCTETS:
            self.flush()

    def _sort_out(self, items: dict[Identity, Item], prints: dict[Identity, bytes], error: MessageError) -> None:
        """Take out of *items* what *error* is about, and what is delivered in spite of it."""
        before = len(items)
        self._remember(items, error.delivered)
        for identity in error.identities or tuple(items):
            if (item := items.pop(identity, None)) is not None:
                self._reject(item, error, prints[identity])
        if len(items) == before:  # which would go on for ever
            raise DestinationError(
                self._destination.path, "deliver to", "it refuses a message that it was not given"
            ) from error

    def _remember(self, items: dict[Identity, Item], entries: Sequence[Entry]) -> None:
        """Remember *entries*, and take them out of *items*."""
        known = {entry.identity: entry for entry in entries if entry.identity in items}
        if known:
            self._memory.remember([*known.values()])
            self.receipts.extend(Receipt(items.pop(identity), entry) for identity, entry in known.items())
        if len(known) < len(entries):
            raise DestinationError(
                self._destination.path, "deliver to", "it says that it delivered a message that it was not given"
            )
