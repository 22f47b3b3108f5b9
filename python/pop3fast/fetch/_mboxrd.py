"""mboxrd: a message as it lies in an mbox, and can be taken out again to the octet.

Pure. Owns the quoting, the ``From `` line, and the care that nothing in a message begins another one: only the line
written here begins with ``From ``.
"""

import re
import time

FROM = b"From "

MAX_SENDER_OCTETS = 320
"""The longest address there may be (RFC 3696 erratum 1690, rounded up); what is longer was not meant as one."""

UNKNOWN_SENDER = b"MAILER-DAEMON"
"""What mail programs write when there is no sender."""

_TO_QUOTE = re.compile(rb"^>*From ", re.MULTILINE)
_RETURN_PATH = re.compile(rb"^return-path:[ \t]*<?([^\n<>]*)", re.MULTILINE | re.IGNORECASE)
_NOT_IN_SENDER = re.compile(rb"[^!-~]+")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


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
