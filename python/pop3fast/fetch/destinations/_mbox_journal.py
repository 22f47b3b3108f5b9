"""What an mbox shows of an intent: which messages are wholly there, and what of the rest may be taken away.

Owns that nobody else's mail is ever cut off. A message is found by its content: at its intended place, or wherever a
mail program has moved it. The beginning of a message is taken away only when nobody can have touched the file since:
what is before it, its own beginning and its end are as intended, and nothing in it looks like a message of somebody
else. It is, too, when it is too little for a From line, and ends the file. In doubt it stays, and the message is
delivered again; but one that lacks only its last line ends gets them, as it would from whatever is appended behind it.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import Entry
from pop3fast.fetch.destinations._mbox_delivery import HEAD_OCTETS
from pop3fast.fetch.destinations._mbox_search import Place, digest_of, find, lines_in, mark_of, pieces_of
from pop3fast.fetch.destinations._mboxrd import FROM
from pop3fast.fetch.memory._journal import Intended, Intent

MOST_FROMS = 1000
"""How many places that look like a From line are kept of a message while it is appended, and how many of their cuts.
When there are more, and the append is stopped, the beginning of the message may stay in the file."""

EMPTY_LINE = b"\n\n"
"""What is before a From line, except at the beginning of the file."""

BEFORE_OCTETS = 4096
"""How much of what is before the first message is compared: a mail program that rewrites the file moves or changes
it."""


class Findings(NamedTuple):
    """What has become of an intent."""

    delivered: list[Entry]
    """The messages that are wholly there."""
    cut_to: int | None
    """The size that takes away what was begun; None when there is nothing to take away, or it has to stay."""
    fragment: bool
    """Whether a piece of a message has to stay."""
    lacking: bytes = b""
    """The line ends that one of the messages lacks, which ends the file."""


def digest_before(files: Files, file: int, size: int) -> bytes:
    """Return the digest of the last octets before *size*."""
    start = max(0, size - BEFORE_OCTETS)
    return sha256(files.read(file, size - start, start)).digest()


def looks_like_froms(pieces: Iterable[bytes]) -> tuple[tuple[int, int], ...]:
    """Return the places of what looks like a From line in *pieces*, each with its mark.

    The marks of what is left of such a line, when the append is stopped within it, are among them.
    """
    lines = [(place, line.partition(b"\n")[0]) for place, line in islice(lines_in(pieces), MOST_FROMS)]
    whole = [(place, mark_of(line)) for place, line in lines]
    cut = ((place, mark_of(line[:length])) for place, line in lines for length in range(len(FROM), len(line)))
    return (*whole, *islice(cut, MOST_FROMS))


def is_about(intent: Intent, files: Files, file: int | None, path: str, parent: int) -> bool:
    """Return whether *intent* is about the mbox *path* in the open folder *parent*, under whatever path.

    *file* is the open mbox, None when it does not exist.
    """
    if file is not None:
        status = files.stat(file)
        if (status.st_dev, status.st_ino) == (intent.device, intent.inode):
            return True
    if intent.path == path:
        return True
    folder, name = os.path.split(intent.path)
    if name != os.path.split(path)[1]:
        return False
    try:
        other = files.open_parent(folder)
    except OSError:
        return False
    try:
        return os.path.samestat(files.stat(other), files.stat(parent))
    finally:
        files.close(other)


def examine(files: Files, file: int, intent: Intent, knows: Callable[[bytes], bool]) -> Findings:
    """Return what the open and locked mbox *file* shows of *intent*.

    *knows* says whether a message that is remembered was put at a place (`Place.packed`).
    """
    status = files.stat(file)
    size = status.st_size
    there = [_is_there(files, file, message, size) for message in intent.messages]
    if all(there):
        return Findings([placed(message) for message in intent.messages], None, fragment=False)
    first = there.index(False)
    start = intent.messages[first].offset if first else intent.size
    same_file = (status.st_dev, status.st_ino) == (intent.device, intent.inode)
    if same_file and (_is_as_it_was(files, file, intent, size) or _is_cut(files, file, intent.messages[first], size)):
        before = [placed(message) for message in intent.messages[:first]]
        if size <= start:
            return Findings(before, None, fragment=False)
        if _is_ours(files, file, intent, first, start, size):
            return Findings(before, start, fragment=False)
    return _search(files, file, intent, knows)


def settle(files: Files, file: int, intent: Intent, knows: Callable[[bytes], bool]) -> Findings:
    """Take away what may be, write again what is delivered, to be synced, and return what `examine` found."""
    findings = examine(files, file, intent, knows)
    if findings.cut_to is not None:
        files.truncate(file, findings.cut_to)
    if findings.lacking:
        files.write(file, findings.lacking)
    if findings.delivered:
        _write_again(files, file, intent, findings.delivered)
    return findings


def _write_again(files: Files, file: int, intent: Intent, delivered: Iterable[Entry]) -> None:
    """Write what was appended as *intent*, and is taken for *delivered*, once more where it was appended.

    The process that appended it may have seen a sync fail. After that a system may take octets for written that are
    only in its memory, and whoever syncs again hears of no error. What is written again is synced again. A mail
    program itself has written again what it moved.
    """
    offsets = {message.offset for message in intent.messages}
    there = [place for entry in delivered if (place := Place.unpacked(entry.place)) and place.offset in offsets]
    for start, length in [(intent.size, len(intent.pad)), *((place.offset, place.length) for place in there)]:
        offset = start
        for piece in pieces_of(files, file, start, start + length):
            files.rewrite(file, piece, offset)
            offset += len(piece)


def placed(message: Intended, offset: int | None = None) -> Entry:
    """Return the entry of *message*, which lies at *offset*, or where it was to be."""
    if not message.alike:
        return message.entry
    place = Place(message.offset if offset is None else offset, message.length, mark_of(message.head), message.digest)
    return message.entry._replace(place=place.packed())


def _is_there(files: Files, file: int, message: Intended, size: int) -> bool:
    end = message.offset + message.length
    return end <= size and digest_of(files, file, message.offset, end, alike=message.alike) == message.digest


def _is_as_it_was(files: Files, file: int, intent: Intent, size: int) -> bool:
    return size >= intent.size and digest_before(files, file, intent.size) == intent.before


def _is_cut(files: Files, file: int, message: Intended, size: int) -> bool:
    """Return whether the file ends with the first octets of *message*, too few for a From line, where it was to be.

    Behind them may be NULs, as a power cut leaves them in the place of octets. Then all that is taken away whatever was
    changed before it. No other program's message ends so, and the next append would make it the end of the message
    before.
    """
    start, begin = message.offset - len(EMPTY_LINE), message.offset + len(FROM)
    if start < 0 or size <= message.offset:
        return False
    found = files.read(file, begin - start, start)
    begun = found.removeprefix(EMPTY_LINE).rstrip(b"\0")
    if not found.startswith(EMPTY_LINE) or begun == FROM or not FROM.startswith(begun):
        return False
    return not any(piece.strip(b"\0") for piece in pieces_of(files, file, begin, size))


def _search(files: Files, file: int, intent: Intent, knows: Callable[[bytes], bool]) -> Findings:
    """Return the messages of *intent* that are wholly in the file, wherever, and whether a piece of another one is.

    The last one in the file may lack line ends, which whatever is appended next would put behind it.
    """
    alike = intent.messages[0].alike
    lacking, size = b"", files.stat(file).st_size
    known = {message.digest for message in intent.messages}
    offsets: dict[bytes, list[int]] = {}
    remembered: Counter[bytes] = Counter()
    others: set[bytes] = set()
    for place in find(files, file, {mark_of(message.head) for message in intent.messages}, alike=alike):
        whole = place if place.offset + place.length < size else _completed(files, file, place, known, alike=alike)
        lacking = EMPTY_LINE[: whole.length - place.length]
        if whole.digest in known:
            offsets.setdefault(whole.digest, []).append(whole.offset)
            remembered[whole.digest] += whole.offset < intent.size and knows(whole.packed())
        else:
            others.add(files.read(file, HEAD_OCTETS, place.offset))
    delivered: list[Entry] = []
    fragment = False
    earlier = {message.digest: message.earlier for message in reversed(intent.messages)}
    # An earlier process, of which the one that was stopped knew nothing, may have delivered some of the same second.
    taken = Counter({digest: max(number, remembered[digest]) for digest, number in earlier.items()})
    for message in intent.messages:
        # Of messages that are alike to the last octet, and have the same second, the first ones were there before.
        number, there = taken[message.digest], offsets.get(message.digest, [])
        taken[message.digest] += 1
        if number < len(there):
            delivered.append(placed(message, there[number]))
        else:
            fragment = fragment or message.head in others
    return Findings(delivered, None, fragment, lacking)


def _completed(files: Files, file: int, place: Place, known: set[bytes], *, alike: bool) -> Place:
    """Return the last message of the file with the line ends that it lacks, if one that is *known* lacks only them."""
    if place.digest in known:
        return place
    for number in range(1, len(EMPTY_LINE) + 1):
        end = place.offset + place.length
        digest = digest_of(files, file, place.offset, end, alike=alike, behind=EMPTY_LINE[:number])
        if digest in known:
            return place._replace(length=place.length + number, digest=digest)
    return place


def _is_ours(files: Files, file: int, intent: Intent, first: int, start: int, end: int) -> bool:
    """Return whether everything from *start* to the *end* of the file can only be of *intent*."""
    begun, last = intent.messages[first], intent.messages[-1]
    if end > last.offset + last.length:
        return False
    expected = (b"" if first else intent.pad) + begun.head
    # A file system may know the size before the octets: after a power cut the rest is NULs.
    found = files.read(file, min(len(expected), end - start), start).rstrip(b"\0")
    if not expected.startswith(found):
        return False
    ours = {(message.offset + place, mark) for message in intent.messages for place, mark in message.froms}
    ours.update((message.offset, mark_of(message.head)) for message in intent.messages)
    return all(
        start + place == begun.offset or (start + place, mark_of(line.partition(b"\n")[0].rstrip(b"\0"))) in ours
        for place, line in lines_in(pieces_of(files, file, start, end))
    )
