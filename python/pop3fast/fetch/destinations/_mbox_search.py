"""Finding messages in an mbox by their content, wherever a mail program has moved them.

Owns the way through the file: once from its beginning to its end, and once more through the messages whose From line is
looked for. So the work is linear in the file, and memory does not grow with it. Never writes.
"""

import re
import struct
from collections.abc import Container, Iterable, Iterator
from hashlib import sha256
from itertools import chain
from typing import NamedTuple
from zlib import crc32

from pop3fast.fetch._files import Files
from pop3fast.fetch.destinations._mboxrd import Likeness

PIECE_OCTETS = 2**18
"""What is read at a time."""

LINE_OCTETS = 200
"""How much of a line is looked at for a ``From `` line that was appended behind half a line, with the time near its
beginning; and how much of a From line is compared."""

A_FROM_LINE = re.compile(rb"From (?<=\nFrom )")

LIKE_A_FROM_LINE = re.compile(rb"From (?:(?<=[\n\0]From )|(?=[^\n]{0,%d}[0-9]:[0-9][0-9]))" % LINE_OCTETS)
"""At the beginning of a line (or behind the NULs that a power cut leaves in the place of octets), or, with a time in it
as only a From line has, anywhere."""


_PLACE = struct.Struct(">QQI16s")


class Place(NamedTuple):
    """Where a message lies, from its From line to the empty line behind it, and how to recognise it."""

    offset: int
    length: int
    mark: int
    """What stands for its From line (`mark_of`)."""
    digest: bytes
    """`Likeness` of all of it, or as much of that as is kept."""

    def packed(self) -> bytes:
        """Return it as a state keeps it."""
        return _PLACE.pack(*self)

    @classmethod
    def unpacked(cls, octets: bytes) -> "Place | None":
        """Return what `packed` gave, None for anything else."""
        return cls(*_PLACE.unpack(octets)) if len(octets) == _PLACE.size else None


def mark_of(line: bytes) -> int:
    """Return what stands for a From line, which *line* begins with."""
    return crc32(line.partition(b"\n")[0][:LINE_OCTETS])


def froms_in(pieces: Iterable[bytes], form: re.Pattern[bytes] = LIKE_A_FROM_LINE) -> Iterator[tuple[int, int]]:
    """Yield the place and the mark of everything in *pieces* that looks like a From line, or the rest of one."""
    for place, line in lines_in(pieces, form):
        yield place, mark_of(line)


def lines_in(pieces: Iterable[bytes], form: re.Pattern[bytes] = LIKE_A_FROM_LINE) -> Iterator[tuple[int, bytes]]:
    """Yield the same places, each with the `LINE_OCTETS` octets from there on, perhaps beyond the line."""
    # What is before the first piece is a line end, or the beginning of the file.
    window, start, done = b"\n", -1, 0
    for piece in pieces:
        window += piece
        # What begins in one piece and ends in the next has to be seen as a whole.
        ready = max(done, len(window) - LINE_OCTETS * 2)
        yield from _lines(form, window, start, done, ready)
        kept = max(0, ready - 1)
        window, start, done = window[kept:], start + kept, ready - kept
    yield from _lines(form, window, start, done, len(window))


def _lines(form: re.Pattern[bytes], window: bytes, start: int, done: int, end: int) -> Iterator[tuple[int, bytes]]:
    for match in form.finditer(window, done):
        if match.start() >= end:
            return
        yield start + match.start(), window[match.start() : match.start() + LINE_OCTETS]


def pieces_of(files: Files, file: int, start: int, end: int) -> Iterator[bytes]:
    """Yield the octets of *file* from *start* to *end*."""
    for offset in range(start, end, PIECE_OCTETS):
        yield files.read(file, min(PIECE_OCTETS, end - offset), offset)


def digest_of(files: Files, file: int, start: int, end: int, *, alike: bool = True, behind: bytes = b"") -> bytes:
    """Return the `Likeness` of what lies from *start* to *end* with *behind*, or the digest of every octet of it."""
    likeness, digest = Likeness(), sha256()
    take = likeness.feed if alike else digest.update
    for piece in pieces_of(files, file, start, end):
        take(piece)
    take(behind)
    return likeness.digest() if alike else digest.digest()


def find(files: Files, file: int, marks: Container[int], *, alike: bool = True) -> Iterator[Place]:
    """Yield every message of the mbox whose From line has one of *marks*, from the first to the last."""
    size = files.stat(file).st_size
    begun: tuple[int, int] | None = None
    for offset, mark in chain(froms_in(pieces_of(files, file, 0, size), A_FROM_LINE), [(size, -1)]):
        if begun is not None:
            start, its_mark = begun
            yield Place(start, offset - start, its_mark, digest_of(files, file, start, offset, alike=alike))
        begun = (offset, mark) if mark in marks else None
