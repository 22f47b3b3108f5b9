"""Line ends: CRLF as it comes over the wire, LF as it lies in a Maildir or an mbox.

Owns one octet of memory: a CR that ended a chunk; the next chunk decides whether it belongs to a line end.
"""

from pop3fast._framing import with_lf


class LineEnds:
    """Turns CRLF into LF, however the octets are cut. A CR or an LF on its own stays as it is."""

    def __init__(self) -> None:
        """Begin a message."""
        self._kept_back = b""

    def feed(self, octets: bytes) -> bytes:
        """Return *octets* as they are to be delivered, but for a last CR, which comes with the next."""
        if self._kept_back:
            octets = self._kept_back + octets
            self._kept_back = b""
        if octets.endswith(b"\r"):
            self._kept_back = b"\r"
            octets = octets[:-1]
        return with_lf(octets)

    def end(self) -> bytes:
        """Return what was kept back."""
        kept_back, self._kept_back = self._kept_back, b""
        return kept_back
