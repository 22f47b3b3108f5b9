"""mboxrd: a message as it lies in an mbox, and can be taken out again to the octet.

Pure. Owns the quoting and the ``From `` line: no other line of a message begins with ``From ``, so nothing in a message
begins another one. Owns, too, how a message is recognised after a mail program has changed it.
"""

import re
import time
from hashlib import sha256

FROM = b"From "

MAX_SENDER_OCTETS = 320
"""The longest address there may be (RFC 3696 section 3: 64 octets, ``@``, 255 octets)."""

UNKNOWN_SENDER = b"MAILER-DAEMON"
"""What mail programs write when there is no sender."""

_TO_QUOTE = re.compile(rb"^>*From ", re.MULTILINE)
_RETURN_PATH = re.compile(rb"^return-path:[ \t]*<?([^\n<>]*)", re.MULTILINE | re.IGNORECASE)
_NOT_IN_SENDER = re.compile(rb"[^!-~]+")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


HEADER_OCTETS = 2**16
"""Within so many octets of a message, fields that a mail program changes are looked for. Real headers have some ten
thousand at most; a message with a longer one is known by all its octets."""

_CHANGED = re.compile(
    rb"^(?:Status|X-Status|X-Keywords|X-UID|X-IMAP|X-IMAPbase|Content-Length|Lines|X-Mozilla-(?:Status2?|Keys))[ \t]*:"
    rb"[^\n]*\n(?:[ \t][^\n]*\n)*",
    re.MULTILINE | re.IGNORECASE,
)
"""What mutt, Dovecot, Alpine (c-client), Mailutils and Thunderbird put into messages and take out of them again."""


class Likeness:
    """The digest of a message in an mbox, which stays the same when a mail program notes in it that it was read.

    It is of all from the From line to the empty line behind it, but the header fields that mail programs change.
    """

    def __init__(self) -> None:
        """Begin with the From line."""
        self._digest = sha256()
        self._header: bytearray | None = bytearray()

    def feed(self, octets: bytes) -> None:
        """Take the next *octets*, cut anywhere."""
        if self._header is None:
            self._digest.update(octets)
            return
        searched = max(0, len(self._header) - 1)
        # Mostly it comes in one piece, which is not copied.
        begun: bytes | bytearray = octets
        if self._header:
            self._header += octets
            begun = self._header
        end = begun.find(b"\n\n", searched, HEADER_OCTETS)
        if end >= 0:
            self._digest.update(_CHANGED.sub(b"", begun[: end + 1]))
            self._digest.update(memoryview(begun)[end + 1 :])
            self._header = None
            return
        if begun is octets:
            self._header += octets
        if len(self._header) >= HEADER_OCTETS:
            self._end_header()

    def digest(self) -> bytes:
        """Return it, of what has been taken."""
        self._end_header()
        return self._digest.digest()

    def _end_header(self) -> None:
        if self._header is not None:
            self._digest.update(self._header)
            self._header = None


class Quoter:
    """Puts one more ``>`` before every line that begins with ``From `` or ``>From ``, however the octets are cut.

    Keeps back four octets at most: of a line of nothing but ``>`` it does not matter which of them is the new one.
    """

    def __init__(self) -> None:
        """Begin at the first line of a message."""
        # Whether the next octet may be of a line's beginning: nothing but > since the line end.
        self._at_start = True
        self._kept_back = b""

    def feed(self, octets: bytes) -> bytes:
        """Return *octets*, which have LF line ends, as they are to be appended, but for what may become a ``From ``."""
        octets = self._kept_back + octets
        start = 0 if self._at_start else octets.find(b"\n") + 1
        if not self._at_start and not start:
            return octets
        last_line = max(octets.rfind(b"\n") + 1, start)
        begun = octets[last_line:].lstrip(b">")
        self._at_start = FROM.startswith(begun)
        if begun == FROM:
            self._at_start = False
        self._kept_back = begun if self._at_start else b""
        end = len(octets) - len(self._kept_back)
        if FROM not in octets:
            return octets[:end]
        return octets[:start] + _TO_QUOTE.sub(rb">\g<0>", octets[start:end])

    def end(self) -> bytes:
        """Return what was kept back."""
        kept_back, self._kept_back = self._kept_back, b""
        return kept_back


def from_line(beginning: bytes, seconds: float) -> bytes:
    """Return the line that begins a message which was delivered at *seconds* since 1970.

    *beginning* is the beginning of the message, with LF line ends; its Return-Path names the sender.
    """
    header = beginning.partition(b"\n\n")[0]
    found = _RETURN_PATH.search(header)
    sender = _NOT_IN_SENDER.sub(b"-", found[1].strip()) if found else b""
    if not 0 < len(sender) <= MAX_SENDER_OCTETS:
        sender = UNKNOWN_SENDER
    # Not strftime, which speaks the user's language.
    when = time.gmtime(seconds)
    day, month = _DAYS[when.tm_wday], _MONTHS[when.tm_mon - 1]
    clock = f"{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02}"
    return b"From %s %s\n" % (sender, f"{day} {month} {when.tm_mday:2} {clock} {when.tm_year}".encode())
