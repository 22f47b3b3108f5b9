"""A message's header, and its fingerprint: whether it is the same message under another unique-id or with another size.

Pure, total on any octets, and linear in them. Not an identity: two messages may share a fingerprint.
"""

import re
from hashlib import sha256

FINGERPRINT_OCTETS = 16

HEADER_OCTETS = 256 * 2**10
"""Within how many octets the end of a header is looked for. Real ones have some ten thousand at most."""

FIELDS = (b"message-id", b"date", b"from", b"to", b"subject")
"""Fields that identify a message, and that no server rewrites when it moves a mailbox."""

_FIELD = rb"(?i)\n[\r\v\f]*(%s)[ \t\r\v\f]*:([^\n]*(?:\n[ \t][^\n]*)*)" % b"|".join(FIELDS)
"""One of `FIELDS` with the lines that it is folded over, behind a line end."""

_EMPTY_LINE = rb"\n\r?\n"


def header_of(octets: bytes) -> bytes:
    """Return the header that *octets* begin with, as far as it is in them, with the empty line behind it."""
    crlf = octets.find(b"\r\n\r\n", 0, HEADER_OCTETS)
    end = crlf + 4 if crlf >= 0 else HEADER_OCTETS
    lf = octets.find(b"\n\n", 0, end)
    return octets[: lf + 2 if lf >= 0 else end]


def fingerprint(header_octets: bytes) -> bytes:
    """Return 16 octets for *header_octets*, whether its line ends are CRLF or LF and however it is folded.

    Octets behind the first empty line do not count. Without any of `FIELDS`, all words of the header count.
    """
    header = b"\n" + header_octets
    if (end := re.search(_EMPTY_LINE, header)) is not None:
        header = header[: end.start()]
    fields: dict[bytes, list[bytes]] = {}
    for name, value in re.findall(_FIELD, header):
        fields.setdefault(name.lower(), []).extend(value.split())
    if fields:
        told = b"".join([b"%s:%s\n" % (field, b" ".join(fields.get(field, ()))) for field in FIELDS])
    else:
        told = b"\n".join(header.split())
    return sha256(told).digest()[:FINGERPRINT_OCTETS]
