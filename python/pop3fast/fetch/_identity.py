"""Which message is which: across sessions by account, unique-id and occurrence; at the destination by its content too.

Owns the names that messages are delivered under. Never puts an octet of a unique-id into a name: it is the server's,
and may be ``../../x``.
"""

import re
from collections.abc import Callable
from enum import Enum
from hashlib import sha256
from typing import NamedTuple

ACCOUNT_HEX = 8
"""32 bits tell a person's accounts apart; should two share them, unique-id and content still make other names."""

MESSAGE_HEX = 24
"""96 bits of account, unique-id and occurrence: no two of a million million messages are expected to share them."""

CONTENT_HEX = 16
"""64 bits of the content: whether a message of the same account, unique-id and occurrence is the same message."""

CONTENT_OCTETS = 16
"""How much of the content's SHA-256 is kept where nothing but the content tells messages apart."""

UNUSABLE_PREFIX = b"ENOMEM-"
"""Quirk q75: what Courier gives for a unique-id when its disk is full; the next session shows another."""


_NUMBER = rb"[^0-9]{0,16}[0-9]{1,5}"
"""A small number, perhaps behind letters. A number that is filled up with zeros comes from a counter for more
messages."""


ASIDE = b"quarantine:"
"""What the place of a message begins with that was put aside; the rest is the quarantine's own word for it."""


class Identity(NamedTuple):
    """One message of a maildrop."""

    uid: bytes
    """Its unique-id, as the server gave it; empty when it has none."""
    occurrence: int = 0
    """How many messages before it in the maildrop have the same unique-id (RFC 1939 section 7 allows copies)."""


class Entry(NamedTuple):
    """What is remembered of a message that was delivered."""

    uid: bytes
    """Its unique-id, as `Identity` has it."""
    occurrence: int
    """How many messages before it had the same one."""
    size: int
    """Its octets by the scan listing; 0 when they were not known."""
    octets: int
    """The octets that were received."""
    fingerprint: bytes
    """`fingerprint` of its header, 16 octets; empty when it is not known."""
    delivered_at: int
    """When, in seconds since 1970."""
    content: bytes
    """16 octets of the SHA-256 of its content as it was delivered."""
    copy: int = 0
    """Which copy of its content it is; counted only where its unique-id does not last."""
    place: bytes = b""
    """Where the destination put it, in the destination's own words; empty when that is not known."""

    @property
    def identity(self) -> Identity:
        """Which message it was."""
        return Identity(self.uid, self.occurrence)

    def kept(self) -> "Entry":
        """Return the entry as the next session can use it: without a unique-id that does not last."""
        return self if is_lasting(self.uid) else self._replace(uid=b"", occurrence=self.copy)


class ReadBack(Enum):
    """What a destination finds when it reads again what it delivered."""

    WHOLE = "whole"
    """It is where it was put, and is what was received."""
    MOVED = "moved"
    """It was delivered, and is no longer where it was put: moved, deleted or rewritten since, as mail programs do."""
    DIFFERS = "differs"
    """It is damaged, or it is not there although it was delivered in this session: it is not delivered."""


def is_lasting(uid: bytes) -> bool:
    """Return whether the next session will know a message by *uid*. If not, only its content tells which it is."""
    return bool(uid) and not uid.startswith(UNUSABLE_PREFIX)


def is_number(uid: bytes) -> bool:
    """Return whether *uid* may be a message number, or one from a short count, and be given again (quirk q139).

    Simple servers give such unique-ids again, and RFC 1939 section 7 lets them once the message is gone. A longer one
    contains a time, a digest, or the number of the mailbox.
    """
    return re.fullmatch(_NUMBER, uid) is not None


def none_deleted(content: bytes) -> int:
    """Return that no message with *content* was deleted."""
    del content
    return 0


class Copies:
    """Counts the copies of messages that only their content tells apart: the first one in this session, the second...

    Counting begins after the copies that were deleted, so the same message has the same number in every session.
    """

    def __init__(self, deleted: Callable[[bytes], int] = none_deleted) -> None:
        """Begin a session. *deleted* says of a content how many copies of it the server has deleted."""
        self._deleted = deleted
        self._taken: dict[bytes, int] = {}
        self._given_back: dict[bytes, list[int]] = {}

    def take(self, content: bytes) -> int:
        """Return which copy the next message with *content* is, from 0."""
        if given_back := self._given_back.get(content):
            return given_back.pop()
        copy = self._taken[content] if content in self._taken else self._deleted(content)
        self._taken[content] = copy + 1
        return copy

    def give_back(self, entry: Entry) -> None:
        """Let the next copy have the number of *entry*, which was not delivered."""
        if not is_lasting(entry.uid):
            self._given_back.setdefault(entry.content, []).append(entry.copy)


def account_digest(host: str, port: int, user: str) -> str:
    """Return what stands for *user* at *host* and *port* in names: 8 hexadecimal digits."""
    # NUL is in no host and no user name that a server could be sent.
    return sha256(f"{host.lower()}\0{port}\0{user}".encode("utf-8", "surrogateescape")).hexdigest()[:ACCOUNT_HEX]


def delivery_key(account: str, entry: Entry) -> str:
    """Return what stands for *entry* of *account* in the name of the file that it is delivered to.

    It is the same for the same message for ever, so a second delivery finds the first. A unique-id that the server uses
    again for another message gets another key: if it counted as delivered, it would be lost.
    """
    uid, occurrence, *_ = entry.kept()
    message = sha256(b"%s\0%d\0%s" % (account.encode(), occurrence, uid)).hexdigest()
    return f"{account}{message[:MESSAGE_HEX]}.{entry.content.hex()[:CONTENT_HEX]}"
