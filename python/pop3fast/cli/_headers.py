"""Headers, shown to a person: date, sender and subject of a message, each in one line.

Owns which headers are shown, and how. Text that is not what it should be is shown as it came.
"""

import re
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import parsedate_to_datetime

from pop3fast._encoded_words import without_encoded_words

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


def decoded(value: str) -> str:
    """Return a header's *value* in one line, its encoded words decoded; as they are where they make no sense."""
    text = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = without_encoded_words(_FOLD.sub(" ", text).strip())
    # UTF-7 and UTF-16 can give half a character, which no JSON may hold.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
