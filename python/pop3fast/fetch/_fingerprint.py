"""A message's fingerprint: whether it is the same message although its unique-id or its size has changed.

Pure, total on any octets, and linear in them. Not an identity: two messages may share a fingerprint.
"""

import re
from hashlib import sha256

FINGERPRINT_OCTETS = 16

FIELDS = (b"message-id", b"date", b"from", b"to", b"subject")
"""What makes a message that message, and no server rewrites when it moves a mailbox."""

_LINE_END = re.compile(rb"\r?\n")


def fingerprint(header_octets: bytes) -> bytes:
    """Return 16 octets for a header, whether its line ends are CRLF or LF and however it is folded.

    What is behind the first empty line does not count. Of a header without any of `FIELDS` all lines count.
    """
    fields: dict[bytes, list[bytes]] = {}
    lines: list[bytes] = []
    value: list[bytes] | None = None
    for line in _LINE_END.split(header_octets):
        if not line:
            break
        lines.append(line)
        if line[:1] in {b" ", b"\t"}:
            if value is not None:
                value += line.split()
            continue
        name, colon, rest = line.partition(b":")
        value = fields.setdefault(name.strip().lower(), []) if colon else None
        if value is not None:
            value += rest.split()
    digest = sha256()
    if any(field in fields for field in FIELDS):
        for field in FIELDS:
            digest.update(b"%s:%s\n" % (field, b" ".join(fields.get(field, []))))
    else:
        digest.update(b"\n".join(lines))
    return digest.digest()[:FINGERPRINT_OCTETS]
