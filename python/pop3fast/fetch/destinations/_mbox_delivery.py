"""A message on its way into an mbox: turned into what is going to lie there, in a spool.

Owns the form: the From line, LF line ends, the quoting, and the empty line behind it. Touches no mbox.
"""

from hashlib import sha256
from typing import NamedTuple, Protocol

from pop3fast._framing import Blocks, Checksum
from pop3fast.fetch._errors import destination_error
from pop3fast.fetch._identity import CONTENT_OCTETS, Entry, Identity
from pop3fast.fetch.destinations._mboxrd import Likeness, Quoter, from_line
from pop3fast.fetch.destinations._spool import Spool

BEGINNING_OCTETS = 2**16
"""How far into a message its Return-Path is looked for: it is the first field where there is one."""

HEAD_OCTETS = 256
"""How much of a message's beginning is kept: its ``From `` line and some of its header, which no other message has."""


class Ended(NamedTuple):
    """A message that is whole."""

    entry: Entry
    spool: Spool | None
    """Where it lies; None when it was delivered before."""
    start: int
    length: int
    """Its octets in the spool, from its From line to the empty line behind it."""
    likeness: bytes
    """`Likeness` of these octets."""
    head: bytes
    """The first of them."""
    second: int
    """The time in its From line."""
    checksum: bytes
    """Of these octets, as `_read_early` takes it; empty when nobody is going to ask."""


class Receiver(Protocol):
    """What a message is delivered to: `Mbox`."""

    path: str

    def date(self) -> int:
        """Return the seconds since 1970, never fewer than before."""
        ...

    def ended(self, ended: Ended) -> None:
        """Keep a message that is whole."""

    def abandoned(self, spool: Spool, size: int) -> None:
        """Cut *spool* back to *size*."""


class MboxDelivery:
    """One message on its way into an mbox."""

    def __init__(self, mbox: Receiver, identity: Identity, spool: Spool, checksum: Checksum | None) -> None:
        """Deliver *identity* through *spool*; *checksum* takes what goes there too."""
        self.spool = spool
        self._mbox = mbox
        self._identity = identity
        self._second = mbox.date()
        self._start = spool.size
        self._ends = Blocks(1, in_lf=True)
        self._quoter = Quoter()
        self.left_out: int = 0
        self._octets = 0
        self._length = 0
        self._content = sha256()
        self._likeness = Likeness()
        self._checksum = checksum
        self._head = b""
        self._last = b""
        # The message until its sender is known; None from there on.
        self._beginning: bytearray | None = bytearray()
        self._open = True

    def write(self, octets: bytes) -> None:
        """Write the next *octets* of the message as the server sent them.

        Raises `DestinationError`; then this delivery is abandoned.
        """
        if not self._open:
            raise ValueError("this delivery has ended")
        self._octets += len(octets)
        self._convert(self._ends.feed(octets))

    def end(self, size: int = 0, fingerprint: bytes = b"") -> None:
        """Take the message for whole; the next `flush` appends it.

        *size* (its octets by the scan listing) and *fingerprint* are for its entry. Raises `DestinationError`.
        """
        if not self._open:
            raise ValueError("this delivery has ended")
        self._convert(self._ends.rest())
        if self._beginning is not None:
            self._begin(bytes(self._beginning))
        rest = self._quoter.end()
        # A message ends with a line end, and an empty line sets it off from the next.
        self._append(rest + (b"\n" if (self._last + rest).endswith(b"\n") else b"\n\n"))
        self._open = False
        length = self.spool.size - self._start
        if length != self._length:
            raise AssertionError(f"{length} octets are left of a message of {self._length}")
        content = self._content.digest()[:CONTENT_OCTETS]
        octets = self._octets + self.left_out
        entry = Entry(*self._identity, size, octets, fingerprint, self._mbox.date(), content)
        likeness = self._likeness.digest()
        checksum = b"" if self._checksum is None else self._checksum.digest()
        self._mbox.ended(Ended(entry, self.spool, self._start, length, likeness, self._head, self._second, checksum))

    def abandon(self) -> None:
        """Take away what was written; nothing is delivered. Does nothing when it has ended or was abandoned."""
        if self._open:
            self._open = False
            self._mbox.abandoned(self.spool, self._start)

    def _convert(self, octets: bytes) -> None:
        self._content.update(octets)
        if self._beginning is None:
            self._append(self._quoter.feed(octets))
            return
        searched = max(0, len(self._beginning) - 1)
        self._beginning += octets
        if len(self._beginning) >= BEGINNING_OCTETS or self._beginning.find(b"\n\n", searched) >= 0:
            self._begin(bytes(self._beginning))

    def _begin(self, beginning: bytes) -> None:
        self._beginning = None
        self._append(from_line(beginning, self._second))
        self._append(self._quoter.feed(beginning))

    def _append(self, octets: bytes) -> None:
        if not octets:
            return
        self._likeness.feed(octets)
        if self._checksum is not None:
            self._checksum.feed(octets)
        self._length += len(octets)
        self._last = octets[-1:]
        if len(self._head) < HEAD_OCTETS:
            self._head = (self._head + octets[:HEAD_OCTETS])[:HEAD_OCTETS]
        try:
            self.spool.append(octets)
        except OSError as error:
            self.abandon()
            raise destination_error(self._mbox.path, "keep a message for", error) from error
