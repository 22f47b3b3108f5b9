"""`pop3fast check`: everything that a fetch needs is tried, and nothing is fetched or changed.

Owns the order, which is that of a fetch, and what is said of each step. A step that fails is not the end: somebody who
mends a configuration wants to hear of all its faults at once.
"""

import os
import ssl
from pathlib import Path
from typing import Any, cast

from pop3fast import POP3, CommandError, error_proto
from pop3fast.cli._accounts import account_of, described, location_of, logs_in_by_token, to_log_in
from pop3fast.cli._advice import advice
from pop3fast.cli._selection import shown_name, status_of
from pop3fast.cli._settings import Settings
from pop3fast.cli._text import UsageError, complain, in_words, of_account, plural, printable, say, shown_size
from pop3fast.fetch import DestinationError, FetchError, Particulars, UidsUnknown, exit_status, open_destination

_WITH_A_PATH = ("maildir:", "mbox:", "eml:")


def check(accounts: dict[str, Settings]) -> int:
    """Try what the fetches of *accounts* need; return the exit status that a fetch would have."""
    statuses: list[int] = []
    for account, settings in accounts.items():
        name = described(settings)
        say(printable(f"{shown_name(account)}{name}"))
        try:
            found = [_destination(settings, name), _server(settings, name, alone=len(accounts) == 1)]
        except (UsageError, ValueError) as error:
            raise UsageError(f"{shown_name(account)}{error}") from None
        statuses.append(next(filter(None, found), 0))
    return status_of(statuses)


def _destination(settings: Settings, name: str) -> int:
    if settings.to is None:
        say("  destination: none is named, and a fetch needs one (--to)")
        return 0
    try:
        is_new = _look_at(settings.to, _particulars(settings))
    except FetchError as error:
        complain(f"{name}: {error}")
        return exit_status(error)
    say(printable(f"  destination: {settings.to} {'can be made' if is_new else 'can be written to'}"))
    return 0


def _particulars(settings: Settings) -> Particulars:
    user = settings.user or (None if settings.url is None else location_of(settings).user)
    return Particulars(user or "", settings.recipient, **cast("dict[str, Any]", to_log_in(settings)))


def _look_at(to: str, particulars: Particulars) -> bool:
    """Return whether the destination *to* is still to be made. Raises what opening it does."""
    destination = open_destination(to, particulars=particulars)
    if to.startswith(_WITH_A_PATH) and not os.path.lexists(destination.path):
        folder = Path(destination.path).parent
        if folder.is_dir():
            if not os.access(folder, os.W_OK | os.X_OK):
                raise DestinationError(destination.path, "deliver to", f"{folder} may not be written to")
            return True
    # Where a folder is missing, too, nothing is made by it.
    destination.open()
    destination.close()
    return False


def _server(settings: Settings, name: str, *, alone: bool) -> int:
    try:
        with account_of(settings, alone=alone).connect() as pop:
            say(f"  connection: {_protection(pop)}")
            messages, octets = pop.stat()
            say(f"  login: {plural(messages, 'message')} on the server ({shown_size(octets)})")
            if messages and not _gives_unique_ids(pop):
                raise UidsUnknown("the server gives no unique-ids (UIDL), and what is new cannot be told")
    except (error_proto, OSError, FetchError) as error:
        complain(of_account(name, error))
        if hint := advice(error, location_of(settings), by_token=logs_in_by_token(settings)):
            complain(hint)
        return exit_status(error)
    return 0


def _protection(pop: POP3) -> str:
    """Return how the connection is protected."""
    if not isinstance(pop.sock, ssl.SSLSocket):
        return "no TLS: password and mail can be read on the way"
    certificate = pop.sock.getpeercert() or {}
    return printable(f"{pop.sock.version()}, the certificate is valid until {certificate.get('notAfter', '?')}")


def _gives_unique_ids(pop: POP3) -> bool:
    try:
        return bool(pop.uids())
    except CommandError as error:
        if error.temporary:
            raise
        complain(in_words(error))
        return False
