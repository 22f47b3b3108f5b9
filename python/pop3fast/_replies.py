"""What replies mean: response codes, STAT, capabilities, the greeting's time stamp; and how they are shown to a person.

Pure functions on octets that a server sent. Where a reply ends, and whether it says yes, is the core's business;
which command it is for, the client's. Every function is total on one complete line and takes time linear in its
length.
"""

import re
from collections.abc import Container, Iterable, Mapping
from poplib import error_proto
from types import MappingProxyType

TEMPORARY_CODES = frozenset({"IN-USE", "LOGIN-DELAY", "SYS/TEMP"})
"""Response codes that mean "try again later" (RFC 2449 section 8.1, RFC 3206 section 4)."""

# The patterns are compiled when one is first looked for, and kept by the module re: most sessions need none of them,
# and all of them together took a twelfth of the time of ``import pop3fast``.

# The first group is DavMail's, whose error stands behind the +OK that it had sent already (quirk q06).
_RESPONSE_CODE = rb"(?i:(?:\+ok[ \t]+)?[-+]\w+[ \t]+\[([^\]\[]+)\])"

# What servers without response codes say instead, for which fetchmail and JavaMail have lists of the same kind.
# Nobody's text is long; what is behind so many octets is not looked at.
_TEXT_OCTETS = 512
_LOGIN_DELAY = rb"login[ -]delay|allowed only every|exceeded the login limit|time between (?:logins|mail checks)"
_LOCKED = rb"\block(?:ed|ing)?\b|\balready in use\b"
# A person who is locked out must do something; no later try will help.
_LOCKED_OUT = rb"\block(?:ed)?[ -]?out\b"
_PERSON = rb"\b(?:account|user|login)\b"
_MAILDROP = rb"\b(?:mail ?drop|mail ?box|in ?box|folder|spool|session)"
_BUSY = (
    rb"\bbusy\b"
    rb"|\btemporar(?:ily|y (?:\w+ )?(?:error|failure|problem))\b|\bservice\b.{0,40}\bunavailable\b"
)
# Quirk q137: Dovecot ("Maximum number of connections from user+IP exceeded"), Cyrus, E-Post ("exceeds an accepting
# limit") and providers.
_TOO_MANY = (
    rb"\b(?:too many|no more) (?:[\w-]+ ){0,3}(?:connections|sessions|logins|users|clients)\b"
    rb"|\b(?:maximum|max|limit|exceed\w*)\b.{0,40}\b(?:connections|sessions)\b"
    rb"|\b(?:connections?|sessions?)\b.{0,20}\blimit\b|\baccepting limit\b"
)

# Enough for any sentence that is meant for a person, and less than fills a terminal.
_SHOWN_CHARACTERS = 500

MAX_CAPABILITIES_OCTETS = 64 * 1024
"""RFC 2449 knows some ten capabilities, each a short line. What is longer is no list of capabilities."""

_STAT_NUMBER = rb"-?[0-9]+"

# Both are linear: no character can be in two of the neighbouring runs, so nothing is tried twice. RFC 1939 section 7
# wants a msg-id in the greeting; quirk q12: greetings with some other text in brackets are answered as well.
_MSG_ID = rb"<[^<>@\x00-\x20\x7f-\xff]+@[^<>@\x00-\x20\x7f-\xff]+>"
_BRACKETED = rb"<[^<>\x00-\x1f\x7f-\xff]+>"


def is_continuation(status_line: bytes) -> bool:
    """Return whether a status line asks for the next line of a SASL exchange (RFC 5034 section 4)."""
    return status_line[:1] == b"+" and status_line[1:3].upper() != b"OK"


def response_code(status_line: bytes) -> str | None:
    """Return the response code of a status line in upper case, or None (RFC 2449 section 8)."""
    match = re.match(_RESPONSE_CODE, status_line)
    return match[1].decode("latin-1").strip().upper() if match else None


def code_in_words(status_line: bytes) -> str | None:
    """Return the response code that a server without them has put in words, or None (quirks q14, q30, q31).

    The words are those for a maildrop that is locked, for a login that comes too early and for a server that is busy.
    """
    text = status_line[:_TEXT_OCTETS].lower()
    if re.search(_LOGIN_DELAY, text):
        return "LOGIN-DELAY"
    about_maildrop = re.search(_MAILDROP, text) is not None
    locked = re.search(_LOCKED, text) is not None and not re.search(_LOCKED_OUT, text)
    if locked and (about_maildrop or not re.search(_PERSON, text)):
        return "IN-USE"
    if re.search(_BUSY, text) or re.search(_TOO_MANY, text):
        return "IN-USE" if about_maildrop and b"busy" in text else "SYS/TEMP"
    return None


def says_too_many(status_line: bytes) -> bool:
    """Return whether a server refuses a session because it has too many (quirk q137), whatever the response code is."""
    return re.search(_TOO_MANY, status_line[:_TEXT_OCTETS].lower()) is not None


def readable(octets: bytes) -> str:
    """Return what a server sent as text for a person: safe for a terminal, and not too long.

    What is not UTF-8 and what a terminal would obey (control characters, changes of direction) is shown as an escape.
    """
    # UTF-8 has at most four octets a character, and one more than is shown says that there is more.
    return printable(octets[: 4 * (_SHOWN_CHARACTERS + 1)].decode("utf-8", "backslashreplace"))


def counted(octets: bytes) -> str:
    """Return how many octets there are, for an error: what stands where no reply should may be somebody's mail."""
    return f"{len(octets)} octets"


def printable(text: str) -> str:
    """Return *text* for a person, as `readable` does."""
    more = "..." if len(text) > _SHOWN_CHARACTERS else ""
    text = text[:_SHOWN_CHARACTERS] + more
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def parse_stat(fields: list[bytes]) -> tuple[int, int]:
    """Return the number of messages and of octets from the *fields* of the answer to STAT (RFC 1939 section 5).

    Raises `error_proto`, in the words of the newest poplib, when they are not there. Quirk q61: a server whose sum
    overflows sends a negative one; it is returned as it is, as poplib does.
    """
    if len(fields) < 3:  # noqa: PLR2004 - +OK, messages, octets
        raise error_proto("Invalid STAT response format")
    messages, octets = fields[1:3]
    if not (re.fullmatch(_STAT_NUMBER, messages) and re.fullmatch(_STAT_NUMBER, octets)):
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
    # The arguments of names that came again, so that a name which fills the whole reply costs no more than others.
    known: dict[str, set[str]] = {}
    for line in lines:
        fields = [field.decode("latin-1") for field in line.split()]
        if not fields:
            continue
        name, *arguments = fields
        if name not in capabilities:
            capabilities[name] = arguments
            continue
        if name not in known:
            capabilities[name] = list(dict.fromkeys(capabilities[name]))
            known[name] = set(capabilities[name])
        for argument in arguments:
            if argument not in known[name]:
                known[name].add(argument)
                capabilities[name].append(argument)
    return capabilities


def known(listed: Mapping[str, list[str]]) -> Mapping[str, tuple[str, ...]]:
    """Return *listed* capabilities as a session remembers them: by names in upper case, and unchangeable."""
    return MappingProxyType({name.upper(): tuple(arguments) for name, arguments in listed.items()})


def apop_timestamp(greeting: bytes) -> bytes | None:
    """Return the greeting's time stamp with its brackets: the first msg-id, else the first text in brackets.

    None when there is neither: the server does not offer APOP (RFC 1939 section 7).
    """
    if not greeting.startswith(b"+OK"):
        return None
    match = re.search(_MSG_ID, greeting) or re.search(_BRACKETED, greeting)
    return match[0] if match else None


def pipelines(capabilities: Container[str]) -> bool:
    """Return whether a server says that it takes many commands together (RFC 2449 section 6.6).

    Quirk q134: Twisted's server says PIPELINE for it.
    """
    return "PIPELINING" in capabilities or "PIPELINE" in capabilities
