"""Destination: what every place that mail goes to can do.

Owns the protocols, which anybody's object may follow. A destination never speaks to the server that the mail is on, and
never decides which messages are new, or what is remembered: its user does.

::

    destination.open()
    with State(default_path(destination)).account(host, port, user) as account:
        destination.prepare(account.digest, account)
        seen = account.seen()
        delivery = destination.begin(identity)
        delivery.write(octets)
        delivery.end()
        account.remember(destination.flush())
    destination.close()
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from pop3fast.fetch._identity import Entry, Identity, ReadBack
from pop3fast.fetch.memory._journal import Journal


class Delivery(Protocol):
    """One message on its way to a destination."""

    def write(self, octets: bytes) -> None:
        """Write the next *octets*, as the server sent them and cut anywhere.

        Raises `DestinationError`, `MessageRefused` and `MessageDeferred`; then this delivery is abandoned.
        """

    def end(self, size: int = 0, fingerprint: bytes = b"") -> None:
        """End the message, which is whole; the next flush delivers it.

        *size* (its octets by the scan listing) and *fingerprint* are for its entry. Raises what `write` does.
        """

    def abandon(self) -> None:
        """Take away what was written; nothing is delivered. Does nothing when it has ended or was abandoned."""


@runtime_checkable
class LeavesOut(Protocol):
    """A delivery of a message of which not all is delivered."""

    left_out: int
    """How many octets came and were not written: they count in its entry's octets as received."""


class Taker(Protocol):
    """What messages are delivered to: a destination that has been prepared, or what stands before one."""

    @property
    def path(self) -> str:
        """What a report calls it."""
        ...

    def begin(self, identity: Identity) -> Delivery:
        """Begin to deliver a message, as `Destination.begin` does."""
        ...

    def flush(self) -> list[Entry]:
        """Return what to remember, as `Destination.flush` does."""
        ...

    def hurry(self) -> None:
        """Wait for other programs no longer."""


@runtime_checkable
class Announced(Protocol):
    """A destination that wants to know what is going to come."""

    def announce(self, listed: Mapping[Identity, tuple[int, int]]) -> None:
        """Take note of the message numbers and sizes of what is going to be delivered."""


@runtime_checkable
class ReadsEarly(Protocol):
    """A destination that can read messages again while others come."""

    def read_early(self) -> None:
        """Begin to read each message again when it has been delivered in this session: `read_back` is to follow."""


@runtime_checkable
class Destination(Protocol):
    """Where mail goes. To be used by one thread at a time.

    `DestinationError` says that nothing can be delivered now, and ends the fetch; `MessageRefused` and
    `MessageDeferred` are about single messages, and the others go on.
    """

    path: str
    """What a report calls it."""

    def open(self) -> None:
        """Check the destination, and make what is missing when its parent exists. Raises `DestinationError`."""

    def prepare(self, account: str, journal: Journal) -> list[str]:
        """Make ready for a session of *account* (its digest), whose lock the caller holds; *journal* keeps intents.

        To be called once for each session with the server, before asking what has been seen. What an earlier session
        left half done is completed or taken away. Returns sentences for a person. Raises `DestinationError`.
        """
        ...

    def begin(self, identity: Identity) -> Delivery:
        """Begin to deliver the message *identity*, when the one before has ended or was abandoned.

        Raises `DestinationError`, and `MessageRefused` and `MessageDeferred` for this message.
        """
        ...

    def flush(self) -> list[Entry]:
        """Make every message that has ended since the last flush durable and visible; return what to remember.

        Raises `DestinationError` when that could not be done for all. Then remember its ``delivered``; nothing is left
        of the others. `MessageRefused` and `MessageDeferred` are about the messages that they name; flush is called
        again for the others.
        """
        ...

    def read_back(self, entries: Sequence[Entry], *, fresh: bool) -> list[ReadBack]:
        """Read again what was delivered as *entries*, and return what is found of each, in the same order.

        Each is opened anew, and a digest of all its octets is compared with that of what was received. *fresh* means
        that it was delivered in this session: when it is not there, it was lost. To be called when it is prepared.
        Raises `DestinationError` when that cannot be seen; then nothing is to be deleted.
        """
        ...

    def hurry(self) -> None:
        """Wait for other programs no longer. The one method that may be called while another thread is in one."""

    def close(self) -> None:
        """Let go of the destination; what was not flushed is not delivered. Does nothing when it is closed."""
