"""Dropping: what a message says about its own state in a mailbox does not reach the destination.

Owns which fields of a header those are. Mail programs keep in them what their user has read, answered or deleted;
whoever sends them with a message can make it look read, or have it deleted. Nothing else is changed, and nothing in a
body.
"""

import re

from pop3fast.fetch._identity import Entry, Identity
from pop3fast.fetch.destinations._destination import Delivery, LeavesOut, Taker

FIELDS = (
    *(b"Status", b"X-Status", b"X-Keywords", b"X-UID", b"X-IMAP", b"X-IMAPbase"),
    *(b"X-Mozilla-Status", b"X-Mozilla-Status2", b"X-Mozilla-Keys"),
)
"""Those of mail programs that keep an mbox in the way of c-client (Pine, Mutt, Dovecot), and of Thunderbird."""

UNDECIDED_OCTETS = 64
"""So much of a line that is not whole shows which field it is: the longest name, and blanks before its colon."""

EMPTY_LINES = {b"\r\n", b"\n"}

# At the end of what has come of a long line, blanks may go on.
_DROPPED = rb"(?i)(?:%s)[ \t]*(?::|\Z)" % b"|".join(map(re.escape, FIELDS))


class WithoutStatus:
    """A message's octets, cut anywhere, without those fields."""

    def __init__(self) -> None:
        """Begin with the first line of a header."""
        self.dropped = 0
        """How many octets were left out."""
        # Here, and not for each line.
        self._dropped = re.compile(_DROPPED)
        self._held = b""
        self._in_header = True
        self._in_line = False
        self._drops = False

    def feed(self, octets: bytes) -> bytes:
        """Return what there is to deliver after the next *octets*."""
        if not self._in_header:
            return octets
        octets, self._held = self._held + octets, b""
        kept: list[bytes] = []
        place = 0
        while place < len(octets):
            end = octets.find(b"\n", place) + 1 or len(octets)
            line = octets[place:end]
            is_whole = line.endswith(b"\n")
            if not self._in_line and not is_whole and len(line) < UNDECIDED_OCTETS:
                self._held = line
                break
            if line in EMPTY_LINES and not self._in_line:
                self._in_header = False
                kept.append(octets[place:])
                break
            if self._is_dropped(line):
                self.dropped += len(line)
            else:
                kept.append(line)
            self._in_line = not is_whole
            place = end
        return b"".join(kept)

    def end(self) -> bytes:
        """Return what is left when nothing more comes."""
        line, self._held = self._held, b""
        if line and self._is_dropped(line):
            self.dropped += len(line)
            return b""
        return line

    def _is_dropped(self, line: bytes) -> bool:
        """Return whether *line*, or what has come of it, is no part of what is delivered."""
        # The rest of a line, and one that is folded, goes with what is before it.
        if not self._in_line and not line.startswith((b" ", b"\t")):
            self._drops = self._dropped.match(line) is not None
        return self._drops


class Dropping:
    """What a writer delivers to where these fields are to be dropped before the destination."""

    def __init__(self, inner: Taker) -> None:
        """Give *inner* messages without them."""
        self.inner = inner
        self.path = inner.path
        self.batch_messages: int | None = getattr(inner, "batch_messages", None)

    def begin(self, identity: Identity) -> Delivery:
        """Begin to take a message. Raises what the destination does."""
        return DroppingDelivery(self.inner.begin(identity))

    def flush(self) -> list[Entry]:
        """Return what to remember. Raises what the destination does."""
        return self.inner.flush()

    def hurry(self) -> None:
        """Wait for nothing any more."""
        self.inner.hurry()


class DroppingDelivery:
    """A message that is delivered without them."""

    def __init__(self, inner: Delivery) -> None:
        """Give *inner* what is left."""
        self._inner = inner
        self._rest = WithoutStatus()

    def write(self, octets: bytes) -> None:
        """Take the next *octets*. Raises what the destination does."""
        if left := self._rest.feed(octets):
            self._inner.write(left)

    def end(self, size: int = 0, fingerprint: bytes = b"") -> None:
        """End the message. Raises what the destination does."""
        if left := self._rest.end():
            self._inner.write(left)
        # Without that its entry would say that it had come short.
        if isinstance(self._inner, LeavesOut):
            self._inner.left_out = self._rest.dropped
        self._inner.end(size, fingerprint)

    def abandon(self) -> None:
        """Let go of what was written."""
        self._inner.abandon()
