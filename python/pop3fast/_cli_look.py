"""`pop3fast capa` and `pop3fast list`: a look at a server and at a maildrop. Nothing is changed.

Owns what a line says. Whatever stands in a header, it is a line: text that is not what it should be is shown as it
came.
"""

import argparse
import contextlib
import re
from collections.abc import Iterator
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message as Mail
from email.policy import compat32
from email.utils import parsedate_to_datetime
from typing import Any

from pop3fast import POP3, CommandError
from pop3fast._cli_accounts import names_user, session_with
from pop3fast._cli_settings import Settings
from pop3fast._cli_text import complain, printable, say, say_json

SHOWN_UID = 70
"""The longest that RFC 1939 section 7 allows; one that is longer pushes its line's rest to the right."""

SHOWN_FROM = 30
"""Enough for a name or an address on average; the rest of the line is the subject's."""

_FOLD = re.compile(r"\s+")


def capa(settings: Settings, command: argparse.Namespace) -> int:
    """Show what the server can do; return the exit status.

    Where *settings* name a user, there is a login first, behind which some servers say more.
    """
    with session_with(settings, log_in=names_user(settings)) as pop:
        capabilities = pop.capabilities
    for name, arguments in capabilities.items():
        if command.json:
            say_json(capability=name, arguments=list(arguments))
        else:
            say(printable(" ".join([name, *arguments])))
    if not capabilities:
        complain("the server does not say what it can do (CAPA)")
    return 0


def list_(settings: Settings, command: argparse.Namespace) -> int:
    """Show what is in the maildrop; return the exit status, 1 when the server refused a header."""
    status = 0
    with session_with(settings) as pop:
        sizes = pop.sizes() if pop.stat()[0] else {}
        uids = _uids(pop) if sizes else {}
        widths = _widths(sizes, uids)
        refused: list[CommandError] = []
        headers = _headers(pop, list(sizes), refused) if command.headers else ((number, None) for number in sizes)
        for number, header in headers:
            uid = uids.get(number)
            row: dict[str, object] = {"number": number, "octets": sizes.get(number), "uid": uid}
            if command.json:
                say_json(**row, **(header or {}))
                continue
            cells = [f"{number:>{widths[0]}}", f"{row['octets']:>{widths[1]}}", _shown_uid(uid).ljust(widths[2])]
            if header is not None:
                sender = printable(header["from"])[:SHOWN_FROM].ljust(SHOWN_FROM)
                cells += [printable(header["date"])[:16].ljust(16).replace("T", " "), sender]
                cells.append(printable(header["subject"]))
            say("  ".join(cells).rstrip())
        for error in refused:
            complain(f"message {error.number}: {error}")
            status = 1
    return status


def _uids(pop: POP3) -> dict[int, str]:
    try:
        return pop.uids()
    except CommandError as error:
        complain(f"the server gives no unique-ids: {error}")
        return {}


def _headers(pop: POP3, numbers: list[int], refused: list[CommandError]) -> Iterator[tuple[int, dict[str, str] | None]]:
    for message in pop.top_many(numbers, 0, on_error=refused.append):
        yield message.number, header_of(message.content)


def header_of(content: bytes) -> dict[str, str]:
    """Return date (ISO 8601 where it is one), sender and subject of a message, decoded (RFC 2047)."""
    mail: Mail[Any, Any] = message_from_bytes(content, policy=compat32)
    raw = {name.lower(): str(value) for name, value in reversed(list(mail.raw_items()))}
    date = raw.get("date", "")
    try:
        date = parsedate_to_datetime(date).isoformat()
    except (ValueError, TypeError, OverflowError, IndexError):
        date = decoded(date)
    return {"date": date, "from": decoded(raw.get("from", "")), "subject": decoded(raw.get("subject", ""))}


def decoded(value: str) -> str:
    """Return a header's *value* in one line, its encoded words decoded; as it is where they make no sense."""
    text = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = _FOLD.sub(" ", text).strip()
    if "=?" in text:
        # An unknown charset, broken Base64...: what its author wrote may be anything.
        with contextlib.suppress(Exception):
            text = str(make_header(decode_header(text)))
    # UTF-7 and UTF-16 can give half a character, which no JSON may hold.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _widths(sizes: dict[int, int], uids: dict[int, str]) -> tuple[int, int, int]:
    return (
        max((len(str(number)) for number in sizes), default=0),
        max((len(str(size)) for size in sizes.values()), default=0),
        max((min(len(_shown_uid(uid)), SHOWN_UID) for uid in uids.values()), default=0),
    )


def _shown_uid(uid: str | None) -> str:
    # Its octets, of which Latin-1 keeps every one, are UTF-8 if anything.
    return "-" if uid is None else printable(uid.encode("latin-1").decode("utf-8", "backslashreplace"))
