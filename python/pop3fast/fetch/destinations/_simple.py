"""A destination that takes one message after the other, and reports on each.

Owns what such destinations have in common. A message is kept until it is whole, counted and digested. A message without
a unique-id that lasts is recognised by its content. Each message is remembered before the next one begins, so at most
one is delivered twice when the process is killed. It delivers at least once, with the same key each time.
"""

from collections.abc import Iterable, Sequence
from typing import cast

from pop3fast.fetch._errors import DestinationError, MessageError
from pop3fast.fetch._identity import CONTENT_OCTETS, Copies, Entry, Identity, ReadBack, is_lasting
from pop3fast.fetch._waiting import Clock, SystemClock
from pop3fast.fetch.destinations._outgoing import SPOOL_OCTETS, Content, OutgoingMessage
from pop3fast.fetch.memory._journal import Attempts, Journal


class SimpleDestination:
    """The base of a class of one's own, which needs only `deliver`."""

    path: str = ""
    """What a report calls it."""
    is_slow: bool = True
    """Whether a message may take it longer than a server waits for the next command."""
    batch_messages: int = 1
    """How many messages it is given before it is flushed, and they are remembered."""
    spool_octets: int = SPOOL_OCTETS
    """What is larger is kept in a file until it is delivered."""
    clock: Clock = SystemClock()
    """What says when a message was delivered."""

    _account = ""
    _journal: Journal | None = None
    _copies = Copies()
    _delivery: "SimpleDelivery | None" = None
    _ended: tuple[Entry, ...] = ()
    _failed: tuple[tuple[Entry, MessageError | DestinationError], ...] = ()

    def deliver(self, message: OutgoingMessage) -> bytes | None:
        """Deliver *message*, and return when that is done for good; what is returned is kept as its place.

        Raises `MessageRefused` and `MessageDeferred` for this message alone, and anything else when nothing can be
        delivered now.
        """
        raise NotImplementedError

    def open(self) -> None:
        """Look whether anything can be delivered. Raises `DestinationError`.

        It is called before each session, of which a fetch may have several, and also when it is open already.
        """

    def prepare(self, account: str, journal: Journal) -> list[str]:
        """Make ready for a session of *account* (its digest) and its *journal*; let go of what an earlier one left."""
        self.open()
        self._drop()
        self._ended, self._failed = (), ()
        self.use(account, journal)
        self._copies = Copies(journal.copies_deleted)
        return []

    def use(self, account: str, journal: Journal) -> None:
        """Deliver what is of *account* (its digest), and keep in *journal* what is to be kept."""
        self._account, self._journal = account, journal

    def begin(self, identity: Identity) -> "SimpleDelivery":
        """Begin to take the message *identity*. Raises `ValueError` while another one is taken, or before `prepare`."""
        if self._delivery is not None:
            raise ValueError("another message is being delivered")
        if not self._account:
            raise ValueError("the destination is not prepared")
        self._delivery = SimpleDelivery(self, identity, self.spool_octets)
        return self._delivery

    def flush(self) -> list[Entry]:
        """Return what was delivered since the last flush."""
        ended, self._ended = self._ended, ()
        return [*ended]

    def told(self, outcomes: Iterable[tuple[Entry, Entry | MessageError | DestinationError]]) -> list[Entry]:
        """Return what is delivered of *outcomes*, for a `flush` that knows only then what became of each message.

        Raises `MessageError` and `DestinationError` for the others, one at each call.
        """
        delivered: list[Entry] = []
        for entry, outcome in outcomes:
            if isinstance(outcome, Entry):
                delivered.append(outcome)
            else:
                self._copies.give_back(entry)
                self._failed += ((entry, outcome),)
        if not self._failed:
            return delivered
        (entry, error), *rest = self._failed
        self._failed = tuple(rest)
        if isinstance(error, MessageError):
            raise type(error)(error.reason, [entry.identity], delivered)
        error.delivered = tuple(delivered)
        raise error

    def read_back(self, entries: Sequence[Entry], *, fresh: bool) -> list[ReadBack]:
        """Return that all *entries* are there, *fresh* or not: what was acknowledged is out of reach."""
        del fresh
        return [ReadBack.WHOLE] * len(entries)

    def hurry(self) -> None:
        """Wait for nothing any more. May be called by another thread."""

    def close(self) -> None:
        """Let go of what is under way. Does nothing when it is closed."""
        self._drop()
        self._ended = ()
        self._account = ""

    def ended(self, identity: Identity, content: Content, octets: tuple[int, int], fingerprint: bytes) -> None:
        """Deliver *identity*, whole, by its *content*, *octets* (listed, received) and *fingerprint*.

        For the delivery only. Raises what `deliver` does.
        """
        self._delivery = None
        digest = content.digest()[:CONTENT_OCTETS]
        entry = Entry(*identity, *octets, fingerprint, int(self.clock.date()), digest)
        place: bytes | None = None
        if not is_lasting(entry.uid):
            entry = entry._replace(copy=self._copies.take(entry.content))
            if self._journal is not None:
                place = self._journal.place_of(entry.content, entry.copy)
        if place is not None:
            content.close()
            entry = entry._replace(place=place)
        else:
            message = self.outgoing(identity, content)
            try:
                entry = self.settle(entry, message)
            except BaseException:
                self._copies.give_back(entry)
                raise
            finally:
                if not message.is_kept:
                    message.close()
        self._ended += (entry,)

    def settle(self, entry: Entry, message: OutgoingMessage) -> Entry:
        """Deliver *message*; return as what *entry* is to be remembered. Raises what `deliver` does."""
        if self._journal is not None:
            if (done := self._journal.taken_back(entry)) is not None:
                return done
            # Whatever keeps a journal keeps attempts, too.
            cast("Attempts", self._journal).check_lease()
        return entry._replace(place=self.deliver(message) or b"")

    def outgoing(self, identity: Identity, content: Content) -> OutgoingMessage:
        """Return what is to be delivered of *identity*, whose octets are *content*."""
        return OutgoingMessage(self._account, identity, content)

    def abandoned(self) -> None:
        """Take note that a message will not be delivered; for the delivery only."""
        self._delivery = None

    def _drop(self) -> None:
        if self._delivery is not None:
            self._delivery.abandon()


class SimpleDelivery:
    """One message on its way to such a destination."""

    def __init__(self, destination: SimpleDestination, identity: Identity, spool_octets: int) -> None:
        """Take *identity*."""
        self.left_out: int = 0
        self._destination = destination
        self._identity = identity
        self._content = Content(spool_octets)
        self._under_way = True

    def write(self, octets: bytes) -> None:
        """Take the next *octets*. Raises `DestinationError`."""
        self._check()
        self._content.append(octets)

    def end(self, size: int = 0, fingerprint: bytes = b"") -> None:
        """Deliver the message. Raises what `SimpleDestination.deliver` does."""
        self._check()
        self._under_way = False
        received = self._content.octets + self.left_out
        self._destination.ended(self._identity, self._content, (size, received), fingerprint)

    def abandon(self) -> None:
        """Let go of what was written. Does nothing when it has ended or was abandoned."""
        if self._under_way:
            self._under_way = False
            self._content.close()
            self._destination.abandoned()

    def _check(self) -> None:
        if not self._under_way:
            raise ValueError("this delivery has ended")
