"""When a message was received, by its own words. Pure: the same header gives the same moment."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.utils import parsedate_to_datetime


def received_at(header: bytes) -> datetime | None:
    """Return the date of the newest Received that has one, or else of its Date; None when there is none.

    It has the zone that it was written with, or UTC.
    """
    fields = message_from_bytes(header)
    said = [str(field).rpartition(";")[2] for field in fields.get_all("Received", [])]
    for text in [*said, str(fields.get("Date", ""))]:
        try:
            date = parsedate_to_datetime(" ".join(text.split()))
            aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
            # At the ends of the calendar it may be no moment.
            aware.astimezone(UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        return aware
    return None
