"""A function that is called with each message, and what becomes of messages on which it fails.

Owns that an attempt is remembered before the function is called, so that a message which kills the process counts, too.
After so many attempts the message is put aside, or left on the server, and no longer stands in the way. The caller
decides where the function is called.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from pop3fast import _replies
from pop3fast.fetch._errors import DestinationError, MessageDeferred, MessageError, MessageRefused
from pop3fast.fetch._identity import ASIDE, Entry, Identity, ReadBack, is_lasting
from pop3fast.fetch.destinations._destination import Destination
from pop3fast.fetch.destinations._outgoing import COPY_OCTETS, SPOOL_OCTETS, Content, OutgoingMessage
from pop3fast.fetch.destinations._simple import SimpleDestination
from pop3fast.fetch.memory._journal import Attempts, Journal

ATTEMPTS = 3
"""Once may be chance, twice bad luck: a database that is restarted, a full disk."""


class HandledMessage(OutgoingMessage):
    """What a handler is called with."""

    attempt: int = 1
    """Which attempt it is, from 1, over all runs."""


class Failed(NamedTuple):
    """A message that was put aside, or failed before it was."""

    number: int
    uid: bytes
    size: int
    why: str


@dataclass(frozen=True)
class Handling:
    """What is done about failures. Raises `ValueError` for what makes no sense."""

    attempts: int = ATTEMPTS
    spool_octets: int = SPOOL_OCTETS
    again: Callable[[bytes], bool] = lambda _: False
    """Whether a message begins anew, whatever was attempted before."""

    def __post_init__(self) -> None:
        for name, least in (("attempts", 1), ("spool_octets", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is at least {least}, not {getattr(self, name)!r}")


class HandlerDestination(SimpleDestination):
    """A function in the place of a destination."""

    batch_messages = sys.maxsize
    """What is done is kept at once, so that it may be remembered for good together with others."""

    def __init__(
        self,
        path: str,
        call: Callable[[HandledMessage], Exception | None],
        handling: Handling,
        quarantine: Destination | None,
    ) -> None:
        """Have *call* call the function, whose name is *path*; *call* returns what the function raised.

        What failed too often goes to *quarantine*; without one it is refused.
        """
        self.path = path
        self.spool_octets = handling.spool_octets
        self.aside: list[Failed] = []
        """What was put aside in this run."""
        self.failed: list[Failed] = []
        """What of it failed in this run, and not only in earlier ones."""
        self._call = call
        self._handling = handling
        self._quarantine = quarantine
        self._attempts: Attempts | None = None
        self._in_a_hurry = False
        self._listed: Mapping[Identity, tuple[int, int]] = {}

    def announce(self, listed: Mapping[Identity, tuple[int, int]]) -> None:
        """Take note of the numbers and sizes of the messages that are going to come."""
        self._listed = listed

    def open(self) -> None:
        """Open the quarantine. Raises `DestinationError`."""
        self._in_a_hurry = False
        if self._quarantine is not None:
            self._quarantine.open()

    def prepare(self, account: str, journal: Journal) -> list[str]:
        """Make ready for a session. Raises `DestinationError`."""
        said = super().prepare(account, journal)
        # Whatever keeps a journal keeps attempts, too.
        self._attempts = cast("Attempts", journal)
        return said if self._quarantine is None else said + self._quarantine.prepare(account, journal)

    def read_back(self, entries: Sequence[Entry], *, fresh: bool) -> list[ReadBack]:
        """Read back what was put aside; for the rest, what the function said counts. Raises `DestinationError`."""
        found = super().read_back(entries, fresh=fresh)
        # Without a unique-id it is known by other octets than those that the quarantine has written.
        aside = [place for place, entry in enumerate(entries) if entry.place.startswith(ASIDE) and entry.uid]
        if self._quarantine is not None and aside:
            there = [entries[place]._replace(place=entries[place].place.removeprefix(ASIDE)) for place in aside]
            for place, what in zip(aside, self._quarantine.read_back(there, fresh=fresh), strict=True):
                found[place] = what
        return found

    def hurry(self) -> None:
        """Call the function no more."""
        self._in_a_hurry = True
        if self._quarantine is not None:
            self._quarantine.hurry()

    def close(self) -> None:
        """Let go of what is under way. Raises `DestinationError`."""
        super().close()
        if self._quarantine is not None:
            self._quarantine.close()

    def outgoing(self, identity: Identity, content: Content) -> HandledMessage:
        """Return what the function is called with."""
        return HandledMessage(self._account, identity, content, self._listed.get(identity, (0, 0))[0])

    def settle(self, entry: Entry, message: OutgoingMessage) -> Entry:
        """Call the function with *message*; return what is to be remembered of it. Raises `MessageError`."""
        if not isinstance(message, HandledMessage) or self._attempts is None:
            raise TypeError("the destination is not prepared")
        if self._in_a_hurry:
            raise MessageDeferred("it was not handled: the fetch was interrupted")
        again = self._handling.again(entry.uid)
        handled = None if again else self._attempts.handled(entry)
        if handled is None:
            handled = self._handle(entry, message, self._attempts, begins_anew=again)
            self._attempts.note_handled(entry, handled)
        return handled

    def _handle(self, entry: Entry, message: HandledMessage, attempts: Attempts, *, begins_anew: bool) -> Entry:
        uid, content, most = entry.kept().uid, entry.content, self._handling.attempts
        before = 0 if begins_anew else attempts.attempts(uid, content)
        if before >= most:
            # In earlier runs; this message may have killed the last of them.
            return self._give_up(entry, message, f"it failed {before} times", is_new=False)
        attempts.note_attempt(uid, content, before + 1, durable=before > 0)
        message.attempt = before + 1
        error = self._call(message)
        if error is None:
            return entry
        why = _in_words(error)
        if before + 1 >= most or isinstance(error, MessageRefused):
            return self._give_up(entry, message, f"attempt {before + 1} of {most} failed: {why}", is_new=True)
        raise MessageDeferred(f"attempt {before + 1} of {most} failed: {why}") from error

    def _give_up(self, entry: Entry, message: OutgoingMessage, why: str, *, is_new: bool) -> Entry:
        if self._quarantine is None:
            raise MessageRefused(f"{why}; it is not tried again")
        put = self._put_aside(self._quarantine, message)
        failed = Failed(*self._listed.get(message.identity, (0, 0))[:1], entry.uid, entry.size, why)
        self.aside.append(failed)
        if is_new:
            self.failed.append(failed)
        place = ASIDE + put.place
        if not is_lasting(entry.uid):
            return entry._replace(place=place)
        return put._replace(size=entry.size, fingerprint=entry.fingerprint, place=place)

    def _put_aside(self, quarantine: Destination, message: OutgoingMessage) -> Entry:
        try:
            delivery = quarantine.begin(message.identity)
            with message.open() as file:
                while octets := file.read(COPY_OCTETS):
                    delivery.write(octets)
            delivery.end()
            entries = quarantine.flush()
        except MessageError as error:
            raise MessageDeferred(f"the quarantine does not take it: {error}") from error
        if len(entries) != 1:
            raise DestinationError(quarantine.path, "deliver to", "it does not say that a message is delivered")
        return entries[0]


def _in_words(error: Exception) -> str:
    if isinstance(error, MessageError):
        return _replies.printable(str(error))
    return _replies.printable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
