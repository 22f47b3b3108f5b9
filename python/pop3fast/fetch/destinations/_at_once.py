"""Deliveries beside the retrieval, one or many at once, for destinations that take one message after the other.

Owns which of them may be under way. Each is kept as done the moment that it is, so a fetch that is killed repeats at
most those that were under way. With one at a time, which is the default, the order is kept: the next message is
received and digested while the one before is delivered.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import BoundedSemaphore
from typing import Protocol, cast, runtime_checkable

from pop3fast.fetch._errors import DestinationError, MessageError, StateError, destination_error
from pop3fast.fetch._identity import Entry, Identity
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.fetch.destinations._simple import SimpleDestination
from pop3fast.fetch.memory._journal import Attempts, Journal

BATCH = 64
"""How many messages each lane delivers before all are waited for, and remembered for good."""


@runtime_checkable
class LooksAhead(Protocol):
    """A destination that may begin with a message before it has heard of the one before."""

    def deliver_before(self, message: OutgoingMessage, following: Callable[[], OutgoingMessage | None]) -> bytes | None:
        """Deliver *message*, as `SimpleDestination.deliver` does; *following* returns the next one if it is known."""


class AtOnce(SimpleDestination):
    """Several destinations that act as one. Each has one message at a time."""

    def __init__(self, lanes: Sequence[SimpleDestination]) -> None:
        """Deliver over *lanes*, which are alike."""
        self._lanes = lanes
        self._idle: SimpleQueue[SimpleDestination] = SimpleQueue()
        for each in lanes:
            self._idle.put(each)
        self.path = lanes[0].path
        self.clock = lanes[0].clock
        self.batch_messages = BATCH * len(lanes)
        self._executor: ThreadPoolExecutor | None = None
        self._under_way: dict[Identity, Future[Entry]] = {}
        self._attempts: Attempts | None = None
        # What failed. Nothing more is tried after it: each attempt may take minutes.
        self._failure: DestinationError | StateError | None = None
        # Besides those under way, as many again and one more wait for their turn, in memory or in a file.
        self._room = BoundedSemaphore(2 * len(lanes) + 1)
        # The only lane, and what waits for it: with several, nobody knows which of them is going to have a message.
        lane, is_only = lanes[0], len(lanes) == 1
        self._looking_ahead: LooksAhead | None = lane if is_only and isinstance(lane, LooksAhead) else None
        self._waiting: deque[OutgoingMessage] = deque()

    def open(self) -> None:
        """Look whether anything can be delivered. Raises `DestinationError`."""
        # The others are opened when they are needed: a server may let in only some.
        self._lanes[0].open()

    def prepare(self, account: str, journal: Journal) -> list[str]:
        """Make ready for a session of *account*. Raises `DestinationError`."""
        self._end()
        self._failure = None
        # Whatever keeps a journal keeps attempts, too.
        self._attempts = cast("Attempts", journal)
        for lane in self._lanes:
            lane.use(account, journal)
        return super().prepare(account, journal)

    def settle(self, entry: Entry, message: OutgoingMessage) -> Entry:
        """Begin to deliver *message*; `flush` says what became of it. Raises `DestinationError` and `StateError`."""
        if self._attempts is None:
            raise TypeError("the destination is not prepared")
        if (done := self._attempts.handled(entry)) is not None:
            return done
        if self._failure is not None:
            raise self._failure
        if self._executor is None:
            self._executor = ThreadPoolExecutor(len(self._lanes), "pop3fast-delivery")
        # Finding it takes long, and meanwhile the program or the server is at work on the message before.
        message.sender()
        self._room.acquire()
        message.is_kept = True
        if self._looking_ahead is not None:
            self._waiting.append(message)
        self._under_way[entry.identity] = self._executor.submit(self._deliver, entry, message, self._attempts)
        return entry

    def flush(self) -> list[Entry]:
        """Wait for all, and return what was delivered.

        Raises `MessageError` and `DestinationError` for the rest, one after the other, and `StateError`.
        """
        return self.told(self._outcomes(super().flush()))

    def hurry(self) -> None:
        """Wait for nothing any more."""
        for lane in self._lanes:
            lane.hurry()

    def close(self) -> None:
        """Let go of what is under way. Does nothing when it is closed."""
        super().close()
        self._end()
        for lane in self._lanes:
            lane.close()
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()

    def _deliver(self, entry: Entry, message: OutgoingMessage, attempts: Attempts) -> Entry:
        lane = self._idle.get()
        if self._waiting:
            self._waiting.popleft()
        try:
            if self._failure is not None:
                raise self._failure
            # It may have waited for long, and another worker may have the account by now.
            attempts.check_lease()
            ahead = self._looking_ahead
            place = lane.deliver(message) if ahead is None else ahead.deliver_before(message, self._following)
            remembered = entry._replace(place=place or b"")
            attempts.note_handled(entry, remembered)
        except OSError as error:
            self._failure = destination_error(self.path, "deliver to", error)
            raise self._failure from error
        except (DestinationError, StateError) as error:
            # What is delivered and cannot be kept as done comes again.
            self._failure = error
            raise
        else:
            return remembered
        finally:
            self._idle.put(lane)
            message.close()
            self._room.release()

    def _following(self) -> OutgoingMessage | None:
        """Return what is delivered next; None when that is not known yet."""
        return self._waiting[0] if self._waiting else None

    def _outcomes(self, entries: list[Entry]) -> Iterator[tuple[Entry, Entry | MessageError | DestinationError]]:
        for entry in entries:
            future = self._under_way.pop(entry.identity, None)
            error = None if future is None else future.exception()
            if future is None:
                yield entry, entry
            elif error is None:
                yield entry, future.result()
            elif isinstance(error, MessageError | DestinationError):
                yield entry, error
            else:
                raise error

    def _end(self) -> None:
        """Wait for what is under way. Nobody asks what became of it: what is done is kept as done."""
        for future in self._under_way.values():
            future.exception()
        self._under_way.clear()
