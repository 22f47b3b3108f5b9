"""`pop3fast status`: what the states know of each account, without asking a server.

Owns the three ways to say it: to a person, as JSON, and for Prometheus. It asks for no password.
"""

import argparse
import time
from collections import Counter
from typing import NamedTuple

from pop3fast.cli._accounts import described, location_of
from pop3fast.cli._selection import shown_name, status_of
from pop3fast.cli._settings import Settings, demand
from pop3fast.cli._text import UsageError, complain, plural, printable, say, shown_time
from pop3fast.fetch import AccountStatus, StateError, account_status, default_path, exit_status, open_destination
from pop3fast.fetch.accounts._passwords import netrc_login

_METRICS = (
    ("last_success", "last_success_seconds", "When a fetch of the account last ended well, in seconds since 1970."),
    ("known", "known_messages", "How many messages are remembered as fetched."),
    ("waiting", "waiting_messages", "How many new messages were left on the server."),
    ("failing", "failing_messages", "How many messages on the server could not be fetched or delivered."),
    ("quarantined", "quarantined_messages", "How many messages were given up and put aside."),
)


class _Row(NamedTuple):
    name: str
    account: str
    destination: str
    status: AccountStatus


def status(accounts: dict[str, Settings], command: argparse.Namespace) -> int:
    """Show what is known of *accounts*; return the exit status."""
    rows: list[_Row] = []
    statuses: list[int] = []
    for name, settings in accounts.items():
        try:
            rows.append(_look(name, settings))
            statuses.append(0)
        except StateError as error:
            complain(f"{described(settings)}: {error}")
            statuses.append(exit_status(error))
        except (UsageError, ValueError) as error:
            raise UsageError(f"{shown_name(name)}{error}") from None
    if command.json:
        _tell_program(rows)
    elif command.prometheus:
        _tell_prometheus(rows)
    else:
        for row in rows:
            _tell_person(row)
    return status_of(statuses)


def _look(name: str, settings: Settings) -> _Row:
    location = location_of(settings)
    user = settings.user or location.user
    if user is None:
        login = netrc_login(location.host)
        user = demand(None if login is None else login.user, "nobody says who logs in")
    to = settings.to or ""
    if settings.state is None:
        state = default_path(open_destination(demand(settings.to, "nobody says where the mail goes, or --state")))
    else:
        state = settings.state
    account = f"{user} on {location.authority.lower()}"
    return _Row(name, account, to, account_status(state, location.host.lower(), location.port, user))


def _tell_person(row: _Row) -> None:
    found = row.status
    say(printable(f"{shown_name(row.name)}{row.account}{f' to {row.destination}' if row.destination else ''}"))
    if found.last_success is None:
        say("  no fetch has ended well yet")
    else:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.last_success))
        say(f"  last fetch that ended well: {moment} ({shown_time(max(0.0, time.time() - found.last_success))} ago)")
    counts = [f"{plural(found.known, 'message')} remembered as fetched"]
    counts += [
        f"{count:,} {words}"
        for count, words in (
            (found.waiting, "waiting on the server"),
            (found.failing, "failing"),
            (found.quarantined, "put aside"),
        )
        if count
    ]
    say(f"  {', '.join(counts)}")


def _tell_program(rows: list[_Row]) -> None:
    import json  # noqa: PLC0415 - for programs only

    objects = [{"account": row.account, "destination": row.destination, **row.status._asdict()} for row in rows]
    say(json.dumps(objects, ensure_ascii=True))


def _tell_prometheus(rows: list[_Row]) -> None:
    # No two lines may have the same labels, and one mailbox may go to two places.
    several = Counter(row.account for row in rows)
    for field, metric, words in _METRICS:
        say(f"# HELP pop3fast_{metric} {words}")
        say(f"# TYPE pop3fast_{metric} gauge")
        for row in rows:
            account = row.account if several[row.account] == 1 else f"{row.account} ({row.name})"
            # An account that was never fetched is one whose last time is very long ago.
            say(f'pop3fast_{metric}{{account="{_label(account)}"}} {getattr(row.status, field) or 0:.0f}')


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
