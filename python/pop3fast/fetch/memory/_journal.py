"""The journal: what has to be remembered before an mbox is touched, where nothing says whose message is whose.

Owns its form. `_account_state` keeps it, and `_mbox` decides what follows from it.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from pop3fast.fetch._identity import Entry

PLACE_OCTETS = 36
"""How many octets the place of a message in an mbox has (`_mbox_search.Place.packed`)."""

ENDING_OCTETS = 16
"""Its digest, which is the last of it."""


class Intended(NamedTuple):
    """One message as it is to lie in an mbox."""

    entry: Entry
    offset: int
    """Where its ``From `` line begins, from the start of the file."""
    length: int
    """Its octets there, from its ``From `` line to the blank line behind it."""
    digest: bytes
    """What they are known by (`Likeness`)."""
    head: bytes
    """The first of them."""
    froms: tuple[tuple[int, int], ...] = ()
    """The places in them that look like a From line, each with its mark (`mark_of`)."""
    earlier: int = 0
    """How many messages that are alike to the last octet, with the same second in their From line, were there
    before."""
    alike: bool = True
    """False when version 1 kept it: then *digest* is of every octet."""


class Intent(NamedTuple):
    """What is going to be appended to an mbox."""

    path: str
    device: int
    inode: int
    """With *device*, it tells which file *path* was."""
    size: int
    """Its octets before."""
    before: bytes
    """The SHA-256 of the last of these (`BEFORE_OCTETS` of `_mbox_journal`)."""
    pad: bytes
    """What is put between them and the first message."""
    messages: tuple[Intended, ...]
    key: int = 0
    """What the journal calls it, once it is kept."""


class Attempts(Protocol):
    """Where it is kept how often something was attempted with a message."""

    def attempts(self, uid: bytes, content: bytes) -> int:
        """Return how often it was attempted with the message with *uid* (empty without one) and *content*."""
        ...

    def note_attempt(self, uid: bytes, content: bytes, attempts: int, *, durable: bool = True) -> None:
        """Keep that this is the attempt of that number. Forgotten once the message is remembered.

        What is not *durable* is kept whenever the process ends, and may be lost when the machine stops.
        """

    def check_lease(self) -> None:
        """Raise `StateError` when another worker has the account by now, before what cannot be taken back."""

    def handled(self, entry: Entry) -> Entry | None:
        """Return as what the message *entry* is to be remembered, if `note_handled` was called; or else None."""
        ...

    def note_handled(self, entry: Entry, remembered: Entry) -> None:
        """Keep, though not durably, that the message *entry* is done, and is to be remembered as *remembered*."""


class Journal(Protocol):
    """Where intents are kept, together with what has been delivered."""

    def intend(self, intent: Intent) -> int:
        """Keep *intent*, durably, before the first octet of it is appended; return its key."""
        ...

    def intents(self) -> list[Intent]:
        """Return the intents that are not yet remembered or settled completely, the oldest first.

        They are of every account in the same state, because several may append to one mbox.
        """
        ...

    def settle(self, key: int, delivered: Iterable[Entry]) -> None:
        """Remember *delivered* for the account that the intent *key* is of, and drop it, all at once."""

    def place_of(self, content: bytes, copy: int) -> bytes | None:
        """Return where a message without a lasting unique-id was delivered to: the *copy*-th with *content*.

        Empty when that is not known, None when it was not delivered.
        """
        ...

    def has_place(self, ending: bytes) -> bool:
        """Return whether a message of any account was delivered to a place whose words have this *ending*.

        A place has `PLACE_OCTETS`, and an ending `ENDING_OCTETS` at least: by those it is found among millions.
        """
        ...

    def taken_back(self, entry: Entry) -> Entry | None:
        """Return as what *entry* is to be remembered, if it was delivered in a session whose replies were in doubt.

        None for a message that was not, or had another content.
        """
        ...

    def copies_deleted(self, content: bytes) -> int:
        """Return how many messages with *content* and without a lasting unique-id are deleted from the server."""
        ...
