"""Headers, shown to a person: date, sender and subject of a message, each in one line.

Owns which headers are shown, and how. Text that is not what it should be is shown as it came.
"""

import re
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import parsedate_to_datetime

from pop3fast._encoded_words import without_encoded_words

SUBJECT_OCTETS = 1000
"""RFC 5322 allows 998 in a line, and a person reads fewer."""

_SUBJECT = re.compile(rb"\nsubject[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE)

_FOLD = re.compile(r"\s+")

Header = dict[str, str]
"""Date, sender and subject by the names "date", "from" and "subject"."""


def header_of(content: bytes) -> Header:
    """Return date (ISO 8601 where it is one), sender and subject of a message, decoded (RFC 2047)."""
    mail = BytesHeaderParser(policy=compat32).parsebytes(content)
    raw = {name.lower(): str(value) for name, value in reversed(list(mail.raw_items()))}
    date = raw.get("date", "")
    try:
        date = parsedate_to_datetime(date).isoformat()
    except (ValueError, TypeError, OverflowError, IndexError):
        date = decoded(date)
    return {"date": date, "from": decoded(raw.get("from", "")), "subject": decoded(raw.get("subject", ""))}


def subject_of(header: bytes) -> str:
    """Return the subject that a message with this *header* has, decoded (RFC 2047); empty when it has none.

    Only the first `SUBJECT_OCTETS` of it: a whole header may be one subject.
    """
    found = _SUBJECT.search(b"\n" + header)
    return "" if found is None else decoded(found[1][:SUBJECT_OCTETS].decode("ascii", "surrogateescape"))


def decoded(value: str) -> str:
    """Return a header's *value* in one line, its encoded words decoded; as they are where they make no sense."""
    text = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = without_encoded_words(_FOLD.sub(" ", text).strip())
    # UTF-7 and UTF-16 can give half a character, which no JSON may hold.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
