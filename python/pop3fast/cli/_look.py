"""`pop3fast capa` and `pop3fast list`: a look at a server and at a maildrop. Nothing is changed.

Owns what a line says. It is one line, whatever a header contains: text that is not as it should be is shown as it came.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import TypeAlias

from pop3fast import POP3, CommandError, error_proto
from pop3fast.cli._accounts import described, location_of, logs_in_by_token, names_user, session_with
from pop3fast.cli._advice import advice
from pop3fast.cli._headers import Header, header_of
from pop3fast.cli._selection import shown_name, status_of
from pop3fast.cli._settings import Settings
from pop3fast.cli._text import UsageError, complain, in_words, of_account, printable, say, say_json
from pop3fast.fetch import SecretError, exit_status

SHOWN_UID = 70
"""The longest that RFC 1939 section 7 allows; one that is longer pushes its line's rest to the right."""

SHOWN_FROM = 30
"""Enough for a name or an address on average; the rest of the line is the subject's."""

REFUSALS = 3
"""When a server refuses so many headers at the beginning, it has no TOP, and is asked for no more of them: it may hang
up after some bad commands, as Dovecot does after twenty."""


Look: TypeAlias = Callable[[POP3, argparse.Namespace, dict[str, object]], int]
"""Shows something of a session, with what names the account in each row for a program; returns the exit status."""


def look_at(accounts: dict[str, Settings], command: argparse.Namespace, look: Look) -> int:
    """Have *look* show something of each of *accounts*, and return the exit status; one that fails is not the end."""
    statuses: list[int] = []
    alone = len(accounts) == 1
    for account, settings in accounts.items():
        name = "" if alone else described(settings)
        try:
            if name and not command.json:
                say(f"{printable(name)}:")
            with session_with(settings, log_in=look is not capa or names_user(settings), alone=alone) as pop:
                statuses.append(look(pop, command, {"account": name} if name else {}))
        except UsageError as error:
            raise UsageError(f"{shown_name(account)}{error}") from None
        except (error_proto, OSError, SecretError) as error:
            complain(of_account(name, error) if name else in_words(error))
            if hint := advice(error, location_of(settings), by_token=logs_in_by_token(settings)):
                complain(hint)
            statuses.append(exit_status(error))
    return status_of(statuses)


def capa(pop: POP3, command: argparse.Namespace, named: dict[str, object]) -> int:
    """Show what the server can do; return the exit status.

    Where a user is named, there was a login first, after which some servers say more.
    """
    capabilities = pop.capabilities()
    for name, arguments in capabilities.items():
        if command.json:
            say_json(**named, capability=name, arguments=list(arguments))
        else:
            say(printable(" ".join([name, *arguments])))
    if not capabilities:
        complain("the server does not say what it can do (CAPA)")
    return 0


def list_(pop: POP3, command: argparse.Namespace, named: dict[str, object]) -> int:
    """Show what is in the maildrop; return the exit status, 1 when the server refused a header.

    When the connection breaks, shows all that is known of the messages, and then raises what broke it.
    """
    sizes = pop.sizes() if pop.stat()[0] else {}
    uids = _uids(pop) if sizes else {}
    widths = _widths(sizes, uids)
    refused: list[CommandError] = []
    headers = _headers(pop, list(sizes), refused) if command.headers else ((number, None) for number in sizes)
    for number, header in headers:
        uid = uids.get(number)
        row: dict[str, object] = {"number": number, "octets": sizes.get(number), "uid": uid}
        if command.json:
            say_json(**named, **row, **(header or {}))
            continue
        cells = [f"{number:>{widths[0]}}", f"{row['octets']:>{widths[1]}}", _shown_uid(uid).ljust(widths[2])]
        if header is not None:
            sender = printable(header["from"])[:SHOWN_FROM].ljust(SHOWN_FROM)
            cells += [printable(header["date"])[:16].ljust(16).replace("T", " "), sender]
            cells.append(printable(header["subject"]))
        say("  ".join(cells).rstrip())
    return int(bool(refused))


def _uids(pop: POP3) -> dict[int, str]:
    try:
        return pop.uids()
    except CommandError as error:
        complain(f"the server gives no unique-ids: {in_words(error)}")
        return {}


def _headers(pop: POP3, numbers: list[int], refused: list[CommandError]) -> Iterator[tuple[int, Header | None]]:
    """Yield each of the *numbers* with its header, or with None where it is not to be had; then complain about those.

    A header is never taken from RETR: some servers delete a message for it, or mark it as read.
    """
    waiting, came, broken = iter(numbers), 0, None
    try:
        for some in (numbers[:1], numbers[1:REFUSALS], numbers[REFUSALS:]):
            for message in pop.top_many(some, 0, on_error=refused.append):
                came += 1
                for number in takewhile(message.number.__ne__, waiting):
                    yield number, None
                yield message.number, header_of(message.content)
            if not came and len(refused) == REFUSALS:
                break
    except (error_proto, OSError) as error:
        broken = error
    for number in waiting:
        yield number, None
    if not came and len(refused) == REFUSALS:
        complain(f"the server gives no headers: {in_words(refused[0])}")
    else:
        for refusal in refused:
            complain(f"message {refusal.number}: {in_words(refusal)}")
    if broken is not None:
        raise broken


def _widths(sizes: dict[int, int], uids: dict[int, str]) -> tuple[int, int, int]:
    return (
        max((len(str(number)) for number in sizes), default=0),
        max((len(str(size)) for size in sizes.values()), default=0),
        max((min(len(_shown_uid(uid)), SHOWN_UID) for uid in uids.values()), default=0),
    )


def _shown_uid(uid: str | None) -> str:
    # Its octets, of which Latin-1 keeps every one, are UTF-8 if anything.
    return "-" if uid is None else printable(uid.encode("latin-1").decode("utf-8", "backslashreplace"))
