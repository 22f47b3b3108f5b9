"""What an mbox shows of an intent: which messages are wholly there, and what of the rest may be taken away.

Owns that nobody else's mail is ever cut off. Whether a message is there its digest decides. What was begun is taken
away only when nobody can have touched the file since: what is before it, its beginning and its end are as intended,
and nothing in it looks like a message of somebody else. In doubt it stays, and the message is delivered again.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import Entry
from pop3fast.fetch._journal import Intended, Intent

HEAD_OCTETS = 256
"""How much of a message's beginning is kept: its ``From `` line and some of its header, which no other message has."""

BEFORE_OCTETS = 4096
"""How much of what is before the first message is compared: a mail program that rewrites the file moves or changes
it."""

PIECE_OCTETS = 2**16

FROM_LINE_OCTETS = 200
"""How long a ``From `` line can be that was appended behind half a line; the time in it is near its beginning."""

# At the beginning of a line (or behind the NULs that a power cut leaves in the place of octets), or, with a time in it
# as only a From line has, anywhere.
_FROM = re.compile(rb"(?<=[\n\0])From |From [^\n]{0,%d}[0-9]:[0-9][0-9]" % FROM_LINE_OCTETS)


class Findings(NamedTuple):
    """What has become of an intent."""

    delivered: list[Entry]
    """The messages that are wholly there."""
    cut_to: int | None
    """The size that takes away what was begun; None when there is nothing to take away, or it has to stay."""
    fragment: bool
    """Whether a piece of a message has to stay."""


def digest_before(files: Files, file: int, size: int) -> bytes:
    """Return the digest of the last octets before *size*."""
    start = max(0, size - BEFORE_OCTETS)
    return sha256(files.read(file, size - start, start)).digest()


def examine(files: Files, file: int, intent: Intent) -> Findings:
    """Return what the open and locked mbox *file* shows of *intent*."""
    status = files.stat(file)
    there = [_is_there(files, file, message, status.st_size) for message in intent.messages]
    delivered = [message.entry for message, is_there in zip(intent.messages, there, strict=True) if is_there]
    if all(there):
        return Findings(delivered, None, fragment=False)
    first = there.index(False)
    start = intent.messages[first].offset if first else intent.size
    if status.st_size <= start:
        return Findings(delivered, None, fragment=False)
    same_file = (status.st_dev, status.st_ino) == (intent.device, intent.inode)
    if same_file and _is_ours(files, file, intent, first, start, status.st_size):
        return Findings(delivered[:first], start, fragment=False)
    begun = intent.messages[first]
    return Findings(delivered, None, fragment=files.read(file, len(begun.head), begun.offset) == begun.head)


def pieces(files: Files, file: int, start: int, end: int) -> Iterator[bytes]:
    """Yield the octets of *file* from *start* to *end*."""
    for offset in range(start, end, PIECE_OCTETS):
        yield files.read(file, min(PIECE_OCTETS, end - offset), offset)


def _is_there(files: Files, file: int, message: Intended, size: int) -> bool:
    end = message.offset + message.length
    if end > size:
        return False
    digest = sha256()
    for piece in pieces(files, file, message.offset, end):
        digest.update(piece)
    return digest.digest() == message.digest


def _is_ours(files: Files, file: int, intent: Intent, first: int, start: int, end: int) -> bool:
    """Return whether everything from *start* to the *end* of the file can only be of *intent*."""
    last = intent.messages[-1]
    if end > last.offset + last.length:
        return False
    if digest_before(files, file, intent.size) != intent.before:
        return False
    expected = (b"" if first else intent.pad) + intent.messages[first].head
    # A file system may know the size before the octets: after a power cut the rest is NULs.
    found = files.read(file, min(len(expected), end - start), start).rstrip(b"\0")
    if not expected.startswith(found):
        return False
    ours = {message.offset for message in intent.messages}
    # What is before the start is a line end, or the beginning of the file.
    window, offset = b"\n", start - 1
    for piece in pieces(files, file, start, end):
        window += piece
        if any(offset + match.start() not in ours for match in _FROM.finditer(window)):
            return False
        # What begins in one piece and ends in the next has to be seen as a whole.
        offset += max(0, len(window) - FROM_LINE_OCTETS * 2)
        window = window[-FROM_LINE_OCTETS * 2 :]
    return True
