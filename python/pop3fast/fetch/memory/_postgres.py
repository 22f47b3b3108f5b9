"""A state in PostgreSQL: for workers on several machines, of which one at a time has an account.

Owns the lease. A worker that takes an account gets a number that nobody had before it, and every transaction looks
whether that number is still the account's: one that was paused while another took the account over can remember nothing
any more. The number is what a slow worker is fenced off by; the time only says when others may try.
"""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit, urlunsplit

from pop3fast.fetch._errors import AccountBusy, StateError
from pop3fast.fetch.memory import _state_rows as rows
from pop3fast.fetch.memory._account_state import AccountState
from pop3fast.fetch.memory._postgres_schema import SEARCH_PATH, make_tables
from pop3fast.fetch.memory._state_rows import Database, Found
from pop3fast.fetch.memory._status import AccountStatus

if TYPE_CHECKING:
    from psycopg import ClientCursor, Connection

SCHEMES = ("postgresql://", "postgres://")

LEASE_SECONDS = 600
"""How long others leave an account alone after its worker last wrote anything: longer than nearly every message takes,
and short enough that what a dead worker had is fetched again within a few rounds of five minutes."""

CONNECT_SECONDS = 10
"""How long a server may take to let somebody in: one that restarts is back by then, or not for long."""

MISSING_EXTRA = "it takes a package that is not installed: pip install 'pop3fast[postgres]'"

ROWS_AT_A_TIME = 500
"""So many statements go to the server together, some hundred kilobytes: a batch of a fetch is one round trip."""

TAKEN_OVER = "another worker has taken the account over: nothing more is remembered or deleted by this one"


class PostgresState:
    """A database in which many accounts are kept, and which many workers use at once."""

    def __init__(self, url: str) -> None:
        """Use the database *url*, in which tables are made when there are none. Raises `StateError`."""
        self.path: str = without_password(url)
        self._url = url
        with _Session(url, self.path) as session, errors_in_words(self.path):
            make_tables(session.connection, self.path)

    def account(self, host: str, port: int, user: str) -> "LeasedAccountState":
        """Return what is known of an account, for this session alone until it is closed.

        Raises `AccountBusy` at once when another worker has it, and `StateError`.
        """
        return LeasedAccountState(self._url, host.lower(), port, user)

    def status(self, host: str, port: int, user: str) -> AccountStatus:
        """Return what is known of an account, whoever has it. Raises `StateError`."""
        with _Session(self._url, self.path) as session, errors_in_words(self.path):
            query = 'SELECT id, last_success, waiting FROM account WHERE host = ? AND port = ? AND "user" = ?'
            row = session.execute(query, (host, port, user)).fetchone()
            if row is None:
                return AccountStatus(None)
            success = None if row[1] is None else float(row[1])
            return AccountStatus(success, *rows.counts(session, int(row[0])), int(row[2]))


class LeasedAccountState(AccountState):
    """What is known of one account, by a lease."""

    def __init__(self, url: str, host: str, port: int, user: str) -> None:
        """Take the account; called by `PostgresState.account`."""
        super().__init__(without_password(url), host, port, user)
        self._database: _Session = _Session(url, self.path)
        try:
            with self._errors_in_words():
                self._id, self._token = self._take(host, port, user)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Let others have the account. Does nothing when it is closed."""
        with self._lock:
            if not self._database.connection.closed:
                # Who cannot say so has the account until its lease ends.
                with contextlib.suppress(StateError), self._errors_in_words():
                    query = "UPDATE account SET held_until = NULL, holder = NULL WHERE id = ? AND token = ?"
                    self._database.execute(query, (self._id, self._token))
            self._database.close()

    def note_success(self, date: float, *, durably: bool = False) -> None:
        """Note that on *date* a run ended with all that was asked for."""
        with contextlib.suppress(StateError), self._transaction(durable=durably) as database:
            database.execute("UPDATE account SET last_success = ? WHERE id = ?", (int(date), self._id))

    def note_waiting(self, messages: int) -> None:
        """Note how many new *messages* a run left on the server."""
        with contextlib.suppress(StateError), self._transaction(durable=False) as database:
            query = "UPDATE account SET waiting = ? WHERE id = ? AND waiting <> ?"
            database.execute(query, (messages, self._id, messages))

    def _take(self, host: str, port: int, user: str) -> tuple[int, int]:
        key = (host, port, user)
        self._database.execute('INSERT INTO account (host, port, "user") VALUES (?, ?, ?) ON CONFLICT DO NOTHING', key)
        row = self._database.execute(
            "UPDATE account SET holder = ?, held_until = now() + ? * interval '1 second', token = token + 1 "
            'WHERE host = ? AND port = ? AND "user" = ? AND (held_until IS NULL OR held_until <= now()) '
            "RETURNING id, token",
            (f"{socket.gethostname()}, process {os.getpid()}", LEASE_SECONDS, *key),
        ).fetchone()
        if row is not None:
            return int(row[0]), int(row[1])
        query = 'SELECT holder, held_until FROM account WHERE host = ? AND port = ? AND "user" = ?'
        holder, until = self._database.execute(query, key).fetchone() or ("somebody", None)
        when = "" if until is None else f" until {until:%Y-%m-%d %H:%M:%S %Z} at the latest"
        raise AccountBusy(self.path, f"another fetch of {user} on {host}:{port} is running: {holder} has it{when}")

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[Database]:
        """Give the database; all or nothing of what is done to it is kept, and nothing when the lease is another's."""
        with self._lock, self._errors_in_words(), self._database.connection.transaction():
            if not durable:
                self._database.execute("SET LOCAL synchronous_commit TO off")
            mine = self._database.execute(
                "UPDATE account SET held_until = now() + ? * interval '1 second' WHERE id = ? AND token = ?",
                (LEASE_SECONDS, self._id, self._token),
            )
            if mine.rowcount != 1:
                raise StateError(self.path, TAKEN_OVER)
            yield self._database

    def _errors_in_words(self) -> contextlib.AbstractContextManager[None]:
        return errors_in_words(self.path)


class _Session:
    """A connection that speaks as `Database` does."""

    def __init__(self, url: str, path: str) -> None:
        try:
            import psycopg  # noqa: PLC0415 - an extra
        except ImportError:
            raise StateError(path, MISSING_EXTRA) from None
        with errors_in_words(path):
            # Parameters are put into the statement here: a NULL has no type that the server could ask for.
            self.connection: Connection[Any] = psycopg.connect(
                url, autocommit=True, connect_timeout=CONNECT_SECONDS, cursor_factory=psycopg.ClientCursor
            )
            self.connection.execute(SEARCH_PATH)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Found:
        """Do one statement."""
        cursor: ClientCursor[Any] = self.connection.cursor()  # type: ignore[assignment] # as it was connected
        return cursor.execute(_words(statement), parameters)

    def executemany(self, statement: str, parameters: Sequence[Sequence[Any]], /) -> None:
        """Do one statement for each row of *parameters*, many in one round trip."""
        cursor: ClientCursor[Any] = self.connection.cursor()  # type: ignore[assignment] # as it was connected
        words = _words(statement)
        for begin in range(0, len(parameters), ROWS_AT_A_TIME):
            rows = parameters[begin : begin + ROWS_AT_A_TIME]
            cursor.execute(";".join(cursor.mogrify(words, row) for row in rows))

    def close(self) -> None:
        self.connection.close()


@lru_cache
def _words(statement: str) -> str:
    """Return *statement* with psycopg's mark for a parameter; no statement has a ``?`` elsewhere."""
    return statement.replace("%", "%%").replace("?", "%s")


@contextlib.contextmanager
def errors_in_words(path: str) -> Iterator[None]:
    """Raise psycopg's errors as `StateError`, which says nothing of the parameters."""
    import psycopg  # noqa: PLC0415 - an extra

    try:
        yield
    except psycopg.Error as error:
        said = error.diag.message_primary or str(error).partition("\n")[0] or type(error).__name__
        raise StateError(path, said.strip()) from error


def is_url(state: str | os.PathLike[str]) -> bool:
    """Return whether *state* is in PostgreSQL."""
    return isinstance(state, str) and state.startswith(SCHEMES)


def without_password(url: str) -> str:
    """Return *url* as it may be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "postgresql:"
    where = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    return urlunsplit((parts.scheme, f"{user}@{where}" if user else where, parts.path, "", ""))
