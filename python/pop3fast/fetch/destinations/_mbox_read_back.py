"""Reading again what was appended to an mbox, before it is deleted from the server.

Owns what counts as delivered: a message that is where it was appended, or anywhere else in the file (`_mbox_search`).
Never writes.
"""

from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping, Sequence

from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import Entry, ReadBack
from pop3fast.fetch.destinations._mbox_search import LINE_OCTETS, Place, digest_of, find, mark_of
from pop3fast.fetch.memory._fingerprint import HEADER_OCTETS, fingerprint, header_of

ShareOut = Callable[[Callable[[Sequence[Place]], list[bool]], Sequence[Place]], list[bool]]
"""Calls a function for many places, in several threads each with its share, and returns the results."""

LARGE_OCTETS = 2**16
"""Larger messages are worth a share of several threads. With small ones most of the time goes to Python, of which only
one thread runs at a time: eight took a third longer than one."""

PIECE_OCTETS = 2**20
"""What is read at a time."""

START = b"\n\nFrom "
"""What a message begins with, and what is before it."""


def is_there(files: Files, file: int, place: Place) -> bool:
    """Return whether the message that was appended at *place* is there."""
    # Reading behind the end of the file gives nothing, which has another digest.
    return digest_of(files, file, place.offset, place.offset + place.length).startswith(place.digest)


def there(files: Files, file: int, places: Collection[Place], share_out: ShareOut) -> set[Place]:
    """Return which messages are where they were appended, in *places*; large ones are read by *share_out*."""
    whole = {place for place in places if place.length <= LARGE_OCTETS and is_there(files, file, place)}
    large = [place for place in places if place.length > LARGE_OCTETS]
    found = share_out(lambda some: [is_there(files, file, place) for place in some], large) if large else []
    return whole.union(place for place, is_whole in zip(large, found, strict=True) if is_whole)


def read_back(
    files: Files,
    file: int | None,
    entries: Sequence[Entry],
    whole: Collection[Place],
    share_out: ShareOut,
    fresh: Container[bytes],
    knows: Callable[[bytes], bool],
) -> list[ReadBack]:
    """Return what is found of *entries* in the open and locked mbox *file*, None when it does not exist.

    The messages at *whole* were there just now; those at *fresh* were put there in this session. A message that was
    delivered before, and of which nothing else is known, counts as moved. So does one in whose place there is another
    message: one with a digest that the state *knows*, or with another end and another header. Raises `OSError` when
    that cannot be seen.
    """
    places = [Place.unpacked(entry.place) for entry in entries]
    known = {place for place in places if place is not None}
    found: set[Place] = set()
    damaged: set[Place] = set()
    if file is not None:
        found = known.intersection(whole)
        found |= there(files, file, known - found, share_out)
        if known - found:
            lying = _lying(files, file, known - found)
            lying = _not_anothers(files, file, known - found, lying, knows)
            found.update(_found(lying, known - found, found))
            headers = {place: entry.fingerprint for place, entry in zip(places, entries, strict=True) if place}
            damaged = _damaged(files, file, known - found, lying, knows, headers)
    lost = damaged | {place for place in known - found if place.packed() in fresh}
    return [
        ReadBack.WHOLE if place in found else ReadBack.DIFFERS if place in lost else ReadBack.MOVED for place in places
    ]


def _lying(files: Files, file: int, missing: set[Place]) -> list[Place]:
    """Return the messages that are alike to one of *missing*, or lie where one of them was put."""
    offsets = {place.offset for place in missing}
    digests = {place.digest for place in missing}
    kept = len(next(iter(missing)).digest)
    there = (
        place._replace(digest=place.digest[:kept]) for place in find(files, file, {place.mark for place in missing})
    )
    return [place for place in there if place.offset in offsets or place.digest in digests]


def _not_anothers(
    files: Files, file: int, missing: set[Place], lying: Sequence[Place], knows: Callable[[bytes], bool]
) -> list[Place]:
    """Return those *lying* there, without copies of one of *missing* that lie where another message was put.

    They are left out only while something still lies in the place of the missing one: then nothing shows that it moved.
    """
    begun = {place.digest for place in missing if _begins_at(files, file, place)}
    return [place for place in lying if place.digest not in begun or place in missing or not knows(place.packed())]


def _found(lying: Sequence[Place], missing: set[Place], whole: set[Place]) -> list[Place]:
    """Return which of *missing* are among those *lying* there; copies that count as *whole* are left out."""
    there = Counter(place.digest for place in lying)
    there.subtract(place.digest for place in whole)
    found: list[Place] = []
    for place in missing:
        if there[place.digest] > 0:
            there[place.digest] -= 1
            found.append(place)
    return found


def _damaged(
    files: Files,
    file: int,
    missing: set[Place],
    lying: Sequence[Place],
    knows: Callable[[bytes], bool],
    headers: Mapping[Place, bytes],
) -> set[Place]:
    """Return which of *missing* begin where they were put, and are no other message of those *lying* there.

    Messages that came in the same second may have the same From line. When a mail program takes one out, the next one
    moves to its place. It is another one, whatever its digest, when it is shorter: mail programs change what they keep.
    It is, too, when it ends elsewhere and its header does not have the fingerprint in *headers*.
    """
    begun = {place for place in missing if _begins_at(files, file, place) and not _is_shorter(files, file, place)}
    there = {place.offset: place for place in lying}
    return {
        place
        for place in begun
        if (other := there.get(place.offset)) is None
        or not (knows(other.digest) or _is_another(files, file, place, other, headers[place]))
    }


def _begins_at(files: Files, file: int, place: Place) -> bool:
    return mark_of(files.read(file, LINE_OCTETS, place.offset)) == place.mark


def _is_shorter(files: Files, file: int, place: Place) -> bool:
    """Return whether what lies at *place* ends before what was put there did, in which no line is like a From line."""
    end = place.offset + place.length
    return any(
        START in files.read(file, min(PIECE_OCTETS + len(START), end - offset), offset)
        for offset in range(place.offset, end, PIECE_OCTETS)
    )


def _is_another(files: Files, file: int, place: Place, other: Place, header: bytes) -> bool:
    """Return whether the message *other* at *place* ends elsewhere, and its header lacks the fingerprint *header*.

    A stretch of damage that changes both would take the empty line behind the header, too.
    """
    if not header or other.length == place.length:
        return False
    begun = files.read(file, min(place.length, LINE_OCTETS + HEADER_OCTETS), place.offset)
    found = header_of(begun.partition(b"\n")[2])
    return found.endswith(b"\n\n") and fingerprint(found) != header
