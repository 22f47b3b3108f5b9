"""A state in PostgreSQL: for workers on several machines, of which one at a time has an account.

Owns the lease. A worker that takes an account gets a number that nobody had before it, and every transaction looks
whether that number is still the account's: one that was paused while another took the account over can remember nothing
any more. The number is what a slow worker is fenced off by; the time only says when others may try.
"""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from typing import NamedTuple

from pop3fast.fetch._errors import AccountBusy, StateError
from pop3fast.fetch.memory import _state_rows as rows
from pop3fast.fetch.memory._account_state import AccountState
from pop3fast.fetch.memory._postgres_connection import HIDDEN, Borrowing, Session, Sessions, Source, errors_in_words
from pop3fast.fetch.memory._postgres_schema import make_tables
from pop3fast.fetch.memory._state_rows import Database
from pop3fast.fetch.memory._status import AccountStatus

LEASE_SECONDS = 600.0
"""How long others leave an account alone after its worker last wrote anything: longer than nearly every message takes,
and short enough that what a dead worker had is fetched again within a few rounds of five minutes."""

_QUERY = re.compile("[?#]")

_HOSTS = re.compile(r"(?:(?:\[[^@\[\]]*\]|[^:,@\[\]]*)(?::\d*)?(?:,|\Z))+")
"""Names or addresses, each with a port or without; with an ``@`` or ``/`` in a password, that is no match."""

TAKEN_OVER = "another worker has taken the account over: nothing more is remembered or deleted by this one"


class Lease(NamedTuple):
    """An account that is one worker's."""

    id: int
    """The account's, in the database."""
    token: int
    """How often it was taken: the number that nobody had before."""


class PostgresState:
    """A database in which many accounts are kept, and which many workers use at once."""

    def __init__(self, url: str) -> None:
        """Use the database *url*, in which tables are made when there are none. Raises `StateError`."""
        self.path: str = without_password(url)
        self._url = url
        with Session(url, self.path) as session, errors_in_words(self.path):
            make_tables(session.connection, self.path)

    def account(self, host: str, port: int, user: str) -> "LeasedAccountState":
        """Return what is known of an account, for this session alone until it is closed.

        Raises `AccountBusy` at once when another worker has it, and `StateError`.
        """
        return LeasedAccountState(Session(self._url, self.path), self.path, host.lower(), port, user)

    def status(self, host: str, port: int, user: str) -> AccountStatus:
        """Return what is known of an account, whoever has it. Raises `StateError`."""
        with Session(self._url, self.path) as session, errors_in_words(self.path):
            query = 'SELECT id, last_success, waiting FROM account WHERE host = ? AND port = ? AND "user" = ?'
            row = session.execute(query, (host, port, user)).fetchone()
            if row is None:
                return AccountStatus(None)
            success = None if row[1] is None else float(row[1])
            return AccountStatus(success, *rows.counts(session, int(row[0])), int(row[2]))


class LeasedAccountState(AccountState):
    """What is known of one account, by a lease that begins with it, ends with it, and is renewed whenever it writes."""

    def __init__(self, database: Source, path: str, host: str, port: int, user: str) -> None:
        """Take the account; called by `PostgresState.account`. It closes *database*."""
        super().__init__(path, host, port, user)
        self._database: Source = database
        try:
            with self._errors_in_words():
                self._id, self._token = self._take(host, port, user)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Let others have the account. Does nothing when it is closed."""
        with self._lock:
            if not self._database.closed:
                # When that cannot be said, the account is kept until its lease ends.
                with contextlib.suppress(StateError), self._errors_in_words():
                    self._let_go()
            self._database.close()

    def check_lease(self) -> None:
        """Raise `StateError` when another worker has the account by now (`Attempts`)."""
        with self._lock, self._errors_in_words():
            query = "SELECT 1 FROM account WHERE id = ? AND token = ?"
            if self._database.execute(query, (self._id, self._token)).fetchone() is None:
                raise StateError(self.path, TAKEN_OVER)

    def note_success(self, date: float, *, durably: bool = False) -> None:
        """Note that on *date* a run ended with all that was asked for."""
        with contextlib.suppress(StateError), self._transaction(durable=durably) as database:
            database.execute("UPDATE account SET last_success = ? WHERE id = ?", (int(date), self._id))

    def note_waiting(self, messages: int) -> None:
        """Note how many new *messages* a run left on the server."""
        with contextlib.suppress(StateError), self._transaction(durable=False) as database:
            query = "UPDATE account SET waiting = ? WHERE id = ? AND waiting <> ?"
            database.execute(query, (messages, self._id, messages))

    def _take(self, host: str, port: int, user: str) -> Lease:
        key = (host, port, user)
        self._database.execute('INSERT INTO account (host, port, "user") VALUES (?, ?, ?) ON CONFLICT DO NOTHING', key)
        row = self._database.execute(
            "UPDATE account SET holder = ?, held_until = now() + ? * interval '1 second', token = token + 1 "
            'WHERE host = ? AND port = ? AND "user" = ? AND (held_until IS NULL OR held_until <= now()) '
            "RETURNING id, token",
            (holder(), LEASE_SECONDS, *key),
        ).fetchone()
        if row is not None:
            return Lease(int(row[0]), int(row[1]))
        query = 'SELECT holder, held_until FROM account WHERE host = ? AND port = ? AND "user" = ?'
        other, until = self._database.execute(query, key).fetchone() or ("somebody", None)
        when = "" if until is None else f" until {until:%Y-%m-%d %H:%M:%S %Z} at the latest"
        raise AccountBusy(self.path, f"another fetch of {user} on {host}:{port} is running: {other} has it{when}")

    def _let_go(self) -> None:
        query = "UPDATE account SET held_until = NULL, holder = NULL WHERE id = ? AND token = ?"
        self._database.execute(query, (self._id, self._token))

    def _keep(self, database: Database) -> bool:
        """Return whether the lease is this one's still, for as long as the transaction lasts, and renew it."""
        mine = database.execute(
            "UPDATE account SET held_until = now() + ? * interval '1 second' WHERE id = ? AND token = ?",
            (LEASE_SECONDS, self._id, self._token),
        )
        return mine.rowcount == 1

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[Database]:
        """Give the database; all or nothing of what is done to it is kept, and nothing when the lease is another's."""
        with self._lock, self._errors_in_words(), self._database.transaction() as database:
            if not durable:
                database.execute("SET LOCAL synchronous_commit TO off")
            if not self._keep(database):
                raise StateError(self.path, TAKEN_OVER)
            yield database

    def _errors_in_words(self) -> contextlib.AbstractContextManager[None]:
        return errors_in_words(self.path)


class ClaimedAccountState(LeasedAccountState):
    """What is known of one account, by a lease that somebody else took for it, and renews and ends."""

    def __init__(self, sessions: Sessions, path: str, lease: Lease, key: tuple[str, int, str]) -> None:
        """Have the account *key*, which is *lease*'s, over connections that *sessions* lend."""
        self._lease = lease
        super().__init__(Borrowing(sessions), path, *key)

    def note_success(self, date: float, *, durably: bool = False) -> None:
        """Do nothing: whoever ends the lease notes it."""

    def note_waiting(self, messages: int) -> None:
        """Note how many new *messages* a run left on the server."""
        query = "UPDATE account SET waiting = ? WHERE id = ? AND token = ? AND waiting <> ?"
        with contextlib.suppress(StateError), self._lock, self._errors_in_words():
            self._database.execute(query, (messages, self._id, self._token, messages))

    def _take(self, *_: object) -> Lease:
        return self._lease

    def _let_go(self) -> None:
        pass

    def _keep(self, database: Database) -> bool:
        query = "SELECT 1 FROM account WHERE id = ? AND token = ? FOR UPDATE"
        return database.execute(query, (self._id, self._token)).fetchone() is not None


def holder() -> str:
    """Return what this worker is called by others."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def without_password(url: str) -> str:
    """Return *url* as it may be shown: as libpq reads it, so that nothing of a password counts as something else."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    said, at, where = authority.partition("@") if "@" in authority else ("", "", authority)
    path = _QUERY.split(path)[0]
    where = _QUERY.split(where)[0]
    if "@" in path or not _HOSTS.fullmatch(where):
        return HIDDEN
    return f"{scheme}://{said.partition(':')[0]}{at}{where}{slash}{path}"
