"""What replies mean: response codes, STAT, capabilities, the greeting's time stamp.

Pure functions on octets that a server sent. Where a reply ends, and whether it says yes, is the core's business;
which command it is for, the client's. Every function is total on one complete line and takes time linear in its
length.
"""

import re
from collections.abc import Iterable
from poplib import error_proto

TEMPORARY_CODES = frozenset({"IN-USE", "LOGIN-DELAY", "SYS/TEMP"})
"""Response codes that mean "try again later" (RFC 2449 section 8.1, RFC 3206 section 4)."""

_RESPONSE_CODE = re.compile(rb"[-+]\w+[ \t]+\[([^\]\[]+)\]")

_STAT_NUMBER = re.compile(rb"-?[0-9]+")

# Both are linear: no character can be in two of the neighbouring runs, so nothing is tried twice. RFC 1939 section 7
# wants a msg-id in the greeting; quirk q12: greetings with some other text in brackets are answered as well.
_MSG_ID = re.compile(rb"<[^<>@\x00-\x20\x7f-\xff]+@[^<>@\x00-\x20\x7f-\xff]+>")
_BRACKETED = re.compile(rb"<[^<>\x00-\x1f\x7f-\xff]+>")


def is_continuation(status_line: bytes) -> bool:
    """Return whether a status line asks for the next line of a SASL exchange (RFC 5034 section 4)."""
    return status_line[:1] == b"+" and status_line[1:3].upper() != b"OK"


def response_code(status_line: bytes) -> str | None:
    """Return the response code of a status line in upper case, or None (RFC 2449 section 8)."""
    match = _RESPONSE_CODE.match(status_line)
    return match[1].decode("latin-1").strip().upper() if match else None


def parse_stat(fields: list[bytes]) -> tuple[int, int]:
    """Return the number of messages and of octets from the *fields* of the answer to STAT (RFC 1939 section 5).

    Raises `error_proto`, in the words of the newest poplib, when they are not there. Quirk q61: a server whose sum
    overflows sends a negative one; it is returned as it is, as poplib does.
    """
    if len(fields) < 3:  # noqa: PLR2004 - +OK, messages, octets
        raise error_proto("Invalid STAT response format")
    messages, octets = fields[1:3]
    if not (_STAT_NUMBER.fullmatch(messages) and _STAT_NUMBER.fullmatch(octets)):
        raise error_proto("Invalid STAT response data: non-numeric values")
    # 64 bits hold every number of octets that exists; a longer one is nonsense, and costly to convert.
    if max(len(messages), len(octets)) > len(str(-(2**63))) or max(int(messages), int(octets)) >= 2**64:
        raise error_proto("Invalid STAT response data: a number over 64 bits")
    return int(messages), int(octets)


def parse_capabilities(lines: Iterable[bytes]) -> dict[str, list[str]]:
    """Return capability name to its arguments, in the server's spelling (RFC 2449 section 5).

    Quirk q19: blank lines say nothing, a name that comes twice (``SASL PLAIN``, ``SASL LOGIN``) has the arguments of
    both, and octets outside ASCII are read as Latin-1.
    """
    capabilities: dict[str, list[str]] = {}
    for line in lines:
        fields = [field.decode("latin-1") for field in line.split()]
        if fields:
            arguments = capabilities.setdefault(fields[0], [])
            arguments.extend(field for field in fields[1:] if field not in arguments)
    return capabilities


def apop_timestamp(greeting: bytes) -> bytes | None:
    """Return the greeting's time stamp with its brackets: the first msg-id, else the first text in brackets.

    None when there is neither: the server does not offer APOP (RFC 1939 section 7).
    """
    if not greeting.startswith(b"+OK"):
        return None
    match = _MSG_ID.search(greeting) or _BRACKETED.search(greeting)
    return match[0] if match else None
