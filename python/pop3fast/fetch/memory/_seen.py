"""What an account has fetched, as one session sees it: compact, and quick to ask 100,000 times.

Owns the form in memory, some 40 octets a message besides its unique-id. It is a snapshot, without what is remembered
later.
"""

from array import array
from collections.abc import Iterable, Iterator
from operator import lt
from typing import NamedTuple, TypeAlias

from pop3fast.fetch._identity import Identity
from pop3fast.fetch.memory._fingerprint import FINGERPRINT_OCTETS

MOST_DELETIONS = 3
"""Deletions are counted up to this. A server that ignores the second will ignore any."""

PATIENCE_WITH_DELETIONS = 2
"""After so many deletions, a message that the server still lists is left alone (quirk q142)."""

MISSING = 4
"""A flag in the octet of the deletions: the last complete listing lacked the message."""

MARKED = 8
"""A flag in the same octet: it was marked as deleted in a session, and nobody knows whether that ended well."""

Row: TypeAlias = tuple[bytes, int, int, bytes, int, int, int]


class Remembered(NamedTuple):
    """What is known of a message that was fetched."""

    size: int
    """Its octets by the scan listing at the time; 0 when they were not known."""
    fingerprint: bytes
    """16 octets; empty when it is not known."""
    delivered_at: int
    """When, in seconds since 1970."""
    octets: int = 0
    """The octets that were received; 0 when another program received them."""
    missing: bool = False
    """Whether the last complete listing lacked it."""
    deletions: int = 0
    """How many times it was deleted, as the server said; `MOST_DELETIONS` also stands for more."""
    marked: bool = False
    """Whether it was marked as deleted in a session of which nobody knows whether it ended well."""


class Seen:
    """The messages of an account that have been fetched, except those forgotten because no listing had them."""

    def __init__(self) -> None:
        """Begin with none."""
        # The first occurrence is nearly always the only one, so its key needs no tuple.
        self._first: dict[bytes, int] = {}
        self._copies: dict[tuple[bytes, int], int] = {}
        self._sizes = array("q")
        self._times = array("q")
        self._octets = array("q")
        self._fingerprints = bytearray()
        self._flags = bytearray()
        self.missing: int = 0
        """How many of them the last complete listing lacked."""
        self.flagged: bool = False
        """Whether there are any that were missing or deleted."""
        self.may_be_short: bool = False
        """Whether there may be any that came shorter than they were listed."""

    def extend(self, rows: Iterable[Row]) -> None:
        """Add *rows*: unique-id, occurrence, size, fingerprint, time, octets received and flags of a message each.

        Flags are the deletions, and `MISSING` and `MARKED` where they hold.
        Raises `ValueError`, ``TypeError`` or ``OverflowError`` for what is no such row.
        """
        uids, occurrences, sizes, fingerprints, times, octets, flags = zip(*rows, strict=True)
        if {*map(type, uids)} != {bytes} or {*map(type, occurrences)} != {int}:
            raise TypeError("a row does not begin with a unique-id and a number")
        if not {*map(len, fingerprints)} <= {0, FINGERPRINT_OCTETS}:
            raise ValueError("a fingerprint has the wrong length")
        start = len(self._sizes)
        self._flags += bytes(flags)
        if any(flags):
            self.flagged = True
            self.missing += sum(1 for each in flags if each & MISSING)
        self.may_be_short = self.may_be_short or any(map(lt, octets, sizes))
        self._sizes.extend(sizes)
        self._times.extend(times)
        self._octets.extend(octets)
        self._fingerprints += b"".join([fingerprint.ljust(FINGERPRINT_OCTETS, b"\0") for fingerprint in fingerprints])
        if any(occurrences):
            for place, key in enumerate(zip(uids, occurrences, strict=True), start):
                if key[1]:
                    self._copies[key] = place
                else:
                    self._first[key[0]] = place
        else:
            self._first.update(zip(uids, range(start, len(self._sizes)), strict=True))

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[Identity]:
        for uid in self._first:
            yield Identity(uid, 0)
        for uid, occurrence in self._copies:
            yield Identity(uid, occurrence)

    def __contains__(self, identity: object) -> bool:
        return isinstance(identity, tuple) and self._place(*identity) is not None

    def size(self, uid: bytes, occurrence: int = 0) -> int | None:
        """Return the size of *occurrence* of *uid* as `Remembered` has it, None when it has not been fetched."""
        place = self._place(uid, occurrence)
        return None if place is None else self._sizes[place]

    def get(self, uid: bytes, occurrence: int = 0) -> Remembered | None:
        """Return what is known of *occurrence* of *uid*, None when it has not been fetched."""
        place = self._place(uid, occurrence)
        if place is None:
            return None
        start = place * FINGERPRINT_OCTETS
        fingerprint = bytes(self._fingerprints[start : start + FINGERPRINT_OCTETS])
        known = fingerprint if any(fingerprint) else b""
        flags = self._flags[place]
        return Remembered(
            self._sizes[place],
            known,
            self._times[place],
            self._octets[place],
            missing=bool(flags & MISSING),
            deletions=flags & MOST_DELETIONS,
            marked=bool(flags & MARKED),
        )

    def is_short(self, uid: bytes, occurrence: int = 0) -> bool:
        """Return whether *occurrence* of *uid* came with fewer octets than it was listed with."""
        place = self._place(uid, occurrence) if self.may_be_short else None
        return place is not None and 0 < self._octets[place] < self._sizes[place]

    def flags(self, uid: bytes, occurrence: int) -> int:
        """Return the flags of *occurrence* of *uid*, as in `extend`; 0 when it has not been fetched."""
        place = self._place(uid, occurrence)
        return 0 if place is None else self._flags[place]

    def _place(self, uid: bytes, occurrence: int) -> int | None:
        return self._copies.get((uid, occurrence)) if occurrence else self._first.get(uid)
