"""The maildrop of the embedded server: messages in, the octets of replies out.

Owns what LIST, UIDL, RETR and TOP say about messages: sizes, unique-ids, dot-stuffing, the final CRLF, and the
prepared form of every reply. It knows no socket and no session state beyond the set of numbers that a session has
marked; it never changes an octet of a message other than to stuff dots and to add a missing final CRLF.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

CRLF = b"\r\n"

# A reply up to this size is kept in one piece: a copy of it costs about as much as the two more system calls that
# sending head, body and end apart would take. A larger body is sent from the caller's own object when it can be.
_ONE_PIECE_OCTETS = 128 * 1024

# What a RepeatedMessage is served in: enough octets a system call that the call no longer counts, and as much as the
# connection sends on without a copy.
_REPEATED_PIECE_OCTETS = 256 * 1024


@dataclass(frozen=True)
class RepeatedMessage:
    r"""A message of `block`, `times` times over, which the server never holds in memory as a whole.

    It is for messages of gigabytes: `RepeatedMessage(b"x" * 998 + b"\r\n", 1_000_000)` is 1 GB. A header has to be
    part of the block. Raises ValueError for an empty block or `times` below 1.
    """

    block: bytes
    """The octets that are repeated."""
    times: int
    """How often."""

    def __post_init__(self) -> None:
        """Refuse what would be no message."""
        if not isinstance(self.block, bytes):
            raise TypeError(f"a RepeatedMessage's block is bytes, not {type(self.block).__name__}")
        if not self.block or self.times < 1:
            raise ValueError(
                f"a RepeatedMessage has at least one octet, at least once; got {len(self.block)} x {self.times}"
            )

    def __len__(self) -> int:
        """Its octets, as `len` of bytes would say."""
        return len(self.block) * self.times


def _ends_with_crlf(message: bytes | RepeatedMessage) -> bool:
    if isinstance(message, bytes):
        return message.endswith(CRLF)
    # Of a block of one octet two copies are looked at: they are the same octet twice, and so no CRLF.
    return (message.block[-2:] * min(message.times, 2)).endswith(CRLF)


def served_octets(message: bytes | RepeatedMessage) -> int:
    """Return the size that STAT and LIST announce: the message with its final CRLF, before dot-stuffing."""
    return len(message) if not len(message) or _ends_with_crlf(message) else len(message) + len(CRLF)


def _stuffed(octets: bytes) -> bytes:
    """Stuff `octets`, which start at the beginning of a line. Without a dot to stuff it is the same object."""
    octets = octets.replace(b"\r\n.", b"\r\n..")
    return b"." + octets if octets.startswith(b".") else octets


def _stuffed_after(before: bytes, octets: bytes) -> bytes:
    """Stuff `octets`, which follow `before` (at most two octets) in the message."""
    return (before + octets).replace(b"\r\n.", b"\r\n..")[len(before) :]


def _end_of(message: bytes | RepeatedMessage) -> bytes:
    """Return what follows a message's last octet: the CRLF that it lacks, and the termination octet on its line."""
    return b".\r\n" if not len(message) or _ends_with_crlf(message) else b"\r\n.\r\n"


@dataclass(frozen=True)
class _RepeatedReply:
    """The reply to RETR of a RepeatedMessage, piece by piece, as often as it is asked for."""

    message: RepeatedMessage

    def __iter__(self) -> Iterator[bytes]:
        block, times = self.message.block, self.message.times
        yield b"+OK %d octets\r\n" % served_octets(self.message) + _stuffed(block)
        # Every copy but the first follows the end of another, and so may begin in the middle of a line.
        again = _stuffed_after(block[-2:], block)
        at_once = max(1, _REPEATED_PIECE_OCTETS // len(again))
        piece = again * min(at_once, times - 1)
        whole, rest = divmod(times - 1, at_once)
        for _ in range(whole):
            yield piece
        yield again * rest + _end_of(self.message)


def _retr_reply(message: bytes | RepeatedMessage) -> Iterable[bytes]:
    if isinstance(message, RepeatedMessage):
        return _RepeatedReply(message)
    pieces = (b"+OK %d octets\r\n" % served_octets(message), _stuffed(message), _end_of(message))
    return (b"".join(pieces),) if len(message) <= _ONE_PIECE_OCTETS else pieces


def _top_end(octets: bytes, lines: int) -> int | None:
    """Return where header, blank line and `lines` lines of the body end, or None when the message ends before that."""
    if octets.startswith(CRLF):
        end = len(CRLF)
    else:
        header_end = octets.find(b"\r\n\r\n")
        if header_end < 0:  # no blank line: everything is header
            return None
        end = header_end + len(b"\r\n\r\n")
    for _ in range(lines):
        line_end = octets.find(CRLF, end)
        if line_end < 0:
            return None
        end = line_end + len(CRLF)
    return end


def _top_reply(message: bytes | RepeatedMessage, lines: int) -> Iterable[bytes]:
    if isinstance(message, bytes):
        octets, end = message, _top_end(message, lines)
    else:
        copies = 1
        while True:  # until enough copies hold what is asked for; it costs no more memory than twice the reply
            octets = message.block * copies
            end = _top_end(octets, lines)
            if end is not None or copies == message.times:
                break
            copies = min(copies * 2, message.times)
    octets, tail = (octets[:end], b".\r\n") if end is not None else (octets, _end_of(message))
    return (b"+OK top of message follows\r\n", _stuffed(octets), tail)


def _listing(values: Iterable[object], marked: Collection[int]) -> bytes:
    lines = [f"{number} {value}\r\n" for number, value in enumerate(values, 1) if number not in marked]
    # latin-1, so that a unique-id can hold any octet that a test wants to see.
    return f"+OK {len(lines)} messages\r\n{''.join(lines)}.\r\n".encode("latin-1")


class Snapshot:
    """The maildrop as one session sees it from its login to its end: RFC 1939 section 5 freezes the numbers.

    Numbers are the session's message numbers, from 1. `positions[number - 1]` is the same message's number in the
    list that the server was given, which stays the same when another session's QUIT removes messages.
    """

    def __init__(self, maildrop: Maildrop, positions: Sequence[int]) -> None:
        """Freeze the messages of `maildrop` that stand at `positions`."""
        self._maildrop = maildrop
        self.positions = positions

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def sizes(self) -> list[int]:
        """Octets of each message, in order."""
        messages = self._maildrop.messages
        return [served_octets(messages[position - 1]) for position in self.positions]

    def octets(self, marked: Collection[int]) -> int:
        """Return the octets of all messages but the marked ones."""
        return self._total - sum(self.sizes[number - 1] for number in marked)

    @cached_property
    def _total(self) -> int:
        return sum(self.sizes)

    def uid(self, number: int) -> str:
        """Return the unique-id of one message."""
        return self._maildrop.uid(self.positions[number - 1])

    def scan_listing(self, marked: Collection[int]) -> bytes:
        """Return the whole reply to LIST."""
        return _listing(self.sizes, marked) if marked else self._scan_listing

    def uid_listing(self, marked: Collection[int]) -> bytes:
        """Return the whole reply to UIDL."""
        return _listing(map(self._maildrop.uid, self.positions), marked) if marked else self._uid_listing

    @cached_property
    def _scan_listing(self) -> bytes:
        return _listing(self.sizes, ())

    @cached_property
    def _uid_listing(self) -> bytes:
        return _listing(map(self._maildrop.uid, self.positions), ())

    def retr(self, number: int) -> Iterable[bytes]:
        """Look up the whole reply to RETR, in pieces; prepared once for every message object."""
        return self._maildrop.retr(self.positions[number - 1])

    def top(self, number: int, lines: int) -> Iterable[bytes]:
        """Make the whole reply to TOP, in pieces."""
        return _top_reply(self._maildrop.messages[self.positions[number - 1] - 1], lines)


class Maildrop:
    """All messages that the server was given, and which of them are deleted by now; shared by the sessions."""

    def __init__(self, messages: Sequence[bytes | RepeatedMessage], uids: Sequence[str] | None) -> None:
        """Keep `messages`; without `uids`, a message's unique-id is made from its position."""
        self.messages = messages
        self._uids = uids
        self._deleted: set[int] = set()
        self._snapshot = Snapshot(self, range(1, len(messages) + 1))
        self._lock = threading.Lock()
        # By identity: a mailbox of a million messages may be one bytes object a million times. `messages` keeps the
        # objects alive, so that no id is used twice.
        self._replies: dict[int, Iterable[bytes]] = {}

    @property
    def deleted(self) -> list[int]:
        """Positions (from 1) of the messages that a QUIT has removed, in order."""
        with self._lock:
            return sorted(self._deleted)

    @property
    def remaining(self) -> list[int]:
        """Positions (from 1) of the messages that are still there, in order."""
        return list(self._snapshot.positions)

    def snapshot(self) -> Snapshot:
        """Return what a session that logs in now sees."""
        return self._snapshot

    def commit(self, snapshot: Snapshot, marked: Iterable[int]) -> None:
        """Remove the messages that a session has marked, for every session that logs in from now on."""
        with self._lock:
            self._deleted.update(snapshot.positions[number - 1] for number in marked)
            left = [position for position in self._snapshot.positions if position not in self._deleted]
            self._snapshot = Snapshot(self, left)

    def prepare(self) -> None:
        """Make every reply now, so that no session waits for it later."""
        for position in self._snapshot.positions:
            self.retr(position)
        self._snapshot.scan_listing(())
        self._snapshot.uid_listing(())

    def uid(self, position: int) -> str:
        """Return the unique-id of the message at `position`."""
        return f"uid{position:08d}" if self._uids is None else self._uids[position - 1]

    def retr(self, position: int) -> Iterable[bytes]:
        """Look up the reply to RETR of the message at `position`, in pieces."""
        message = self.messages[position - 1]
        reply = self._replies.get(id(message))
        if reply is None:
            reply = self._replies[id(message)] = _retr_reply(message)
        return reply
