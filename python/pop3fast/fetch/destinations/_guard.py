"""Guard: stands between fetch and a destination that somebody else wrote.

Owns that an exception of such a destination counts as the destination's: its ``OSError`` is never taken for one of the
network, nor its ``ValueError`` for one about an argument. Interrupts pass through.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from pop3fast import _replies
from pop3fast.fetch._errors import DestinationError, FetchError, MessageError, destination_error
from pop3fast.fetch._identity import Entry, Identity, ReadBack
from pop3fast.fetch.destinations._destination import Delivery, Destination, LeavesOut
from pop3fast.fetch.memory._journal import Journal


class Guarded:
    """A destination, with nothing but fetch's errors."""

    is_slow = True
    """Nobody knows how long a message takes it."""

    def __init__(self, destination: Destination) -> None:
        """Guard *destination*."""
        self.inner = destination
        self.path = str(getattr(destination, "path", "")) or type(destination).__qualname__
        self.batch_messages: int = getattr(destination, "batch_messages", sys.maxsize)
        """How many messages are given to it before it is flushed, at most."""

    def open(self) -> None:
        """Open it. Raises `DestinationError`."""
        with self._its_own("open"):
            self.inner.open()

    def prepare(self, account: str, journal: Journal) -> list[str]:
        """Make it ready for a session of *account*. Raises `DestinationError`."""
        with self._its_own("prepare"):
            # Some return None when they have nothing to say.
            return [_replies.printable(str(sentence)) for sentence in self.inner.prepare(account, journal) or ()]

    def begin(self, identity: Identity) -> "GuardedDelivery":
        """Begin to deliver a message. Raises `DestinationError` and `MessageError`."""
        with self.for_message():
            return GuardedDelivery(self, self.inner.begin(identity))

    def flush(self) -> list[Entry]:
        """Return what to remember. Raises `DestinationError` and `MessageError`."""
        with self.for_message():
            entries = list(self.inner.flush())
            if not all(isinstance(entry, Entry) for entry in entries):
                raise TypeError("its flush returned what is no Entry")
            return entries

    def read_back(self, entries: Sequence[Entry], *, fresh: bool) -> list[ReadBack]:
        """Return what is found of *entries*. Raises `DestinationError`."""
        with self._its_own("read back from"):
            found = list(self.inner.read_back(entries, fresh=fresh))
            if len(found) != len(entries) or not all(isinstance(each, ReadBack) for each in found):
                raise TypeError("its read_back did not return a ReadBack for each entry")
            return found

    def hurry(self) -> None:
        """Wait for nothing any more. Raises nothing: whoever says it goes on."""
        with contextlib.suppress(Exception):
            self.inner.hurry()

    def close(self) -> None:
        """Let go of it. Raises `DestinationError`."""
        with self._its_own("close"):
            self.inner.close()

    def for_message(self) -> AbstractContextManager[None]:
        """Let pass what is about single messages, too."""
        return self._its_own("deliver to", of_messages=True)

    @contextlib.contextmanager
    def _its_own(self, tried: str, *, of_messages: bool = False) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise destination_error(self.path, tried, error) from error
        except Exception as error:
            if isinstance(error, FetchError) and (of_messages or not isinstance(error, MessageError)):
                raise
            words = _replies.printable(f"{type(error).__name__}: {error}")
            raise DestinationError(self.path, tried, words) from error


class GuardedDelivery:
    """A message on its way to such a destination."""

    def __init__(self, guard: Guarded, delivery: Delivery) -> None:
        """Guard *delivery*."""
        self.left_out: int = 0
        self._guard = guard
        self._inner = delivery

    def write(self, octets: bytes) -> None:
        """Write the next *octets*. Raises `DestinationError` and `MessageError`."""
        with self._guard.for_message():
            self._inner.write(octets)

    def end(self, size: int = 0, fingerprint: bytes = b"") -> None:
        """Take the message for whole. Raises `DestinationError` and `MessageError`."""
        with self._guard.for_message():
            if isinstance(self._inner, LeavesOut):
                self._inner.left_out = self.left_out
            elif self.left_out:
                # Its entry would say that the message had come short.
                raise TypeError("drop_status needs deliveries that count what is left out (LeavesOut)")
            self._inner.end(size, fingerprint)

    def abandon(self) -> None:
        """Take away what was written. Raises `DestinationError` and `MessageError`."""
        with self._guard.for_message():
            self._inner.abandon()
