"""Connections to PostgreSQL that speak as `Database` does: one of one's own, or one that is lent for a transaction.

Owns how a connection begins, how many there are at once, and in which words its errors are raised. Knows no table.
"""

import contextlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from threading import Condition
from typing import TYPE_CHECKING, Any, Protocol, Self

from pop3fast.fetch._errors import StateError
from pop3fast.fetch.memory._postgres_schema import SEARCH_PATH
from pop3fast.fetch.memory._state_rows import Database, Found

if TYPE_CHECKING:
    from psycopg import ClientCursor, Connection

CONNECT_SECONDS = 10
"""How long a server may take to let somebody in: one that restarts is back by then, or not for long."""

KEEPALIVE = {"keepalives_idle": "15", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "30000"}
"""A server whose machine is gone is given up after half a minute; the systems' own limits are a quarter of an hour, and
two hours. The URL may say others."""

HANGING = "30s"
"""A transaction in which this program says nothing for so long is ended by the server: it has rows that others wait
for, and whoever is paused, or dead without a word, would hold them for hours."""

MOST_LENT = 8
"""So many connections serve all sessions of a worker: each is lent for a few milliseconds, and a server has a hundred
for everybody where nobody asked for more."""

ROWS_AT_A_TIME = 500
"""So many statements go to the server together, some hundred kilobytes: a batch of a fetch is one round trip."""

HIDDEN = "postgresql:"
"""What is shown of a URL in which a password cannot be told from the rest."""

NOT_CLEAR = "that is no URL of PostgreSQL; in a password, write %40 for @, %2F for / and %25 for %"

MISSING_EXTRA = "it takes a package that is not installed: pip install 'pop3fast[postgres]'"


class Source(Protocol):
    """Where a state's statements go to."""

    def execute(self, statement: str, parameters: Any = (), /) -> Found: ...  # noqa: ANN401 - as `Database` has it

    def executemany(self, statement: str, rows: Any, /) -> object: ...  # noqa: ANN401

    def transaction(self) -> contextlib.AbstractContextManager[Database]:
        """Let all or nothing be kept of what is done to the database in the block."""

    @property
    def closed(self) -> bool: ...

    def close(self) -> None:
        """Let go of the connection. Does nothing when it is closed."""


class Session:
    """A connection of one's own. Raises psycopg's errors once it is there."""

    def __init__(self, url: str, path: str) -> None:
        """Connect to the database *url*, which errors call *path*. Raises `StateError`."""
        try:
            import psycopg  # noqa: PLC0415 - an extra
        except ImportError:
            raise StateError(path, MISSING_EXTRA) from None
        wishes: dict[str, Any] = {**KEEPALIVE}
        try:
            wishes |= psycopg.conninfo.conninfo_to_dict(url, connect_timeout=CONNECT_SECONDS)
        except psycopg.ProgrammingError:
            # That error shows a part of the URL, which may be part of the password.
            raise StateError(path, NOT_CLEAR) from None
        if path == HIDDEN:
            raise StateError(path, NOT_CLEAR)
        with errors_in_words(path):
            # Parameters are put into the statement here: a NULL has no type that the server could ask for.
            self.connection: Connection[Any] = psycopg.connect(
                **wishes, autocommit=True, cursor_factory=psycopg.ClientCursor
            )
            self.connection.execute(f"{SEARCH_PATH}; SET idle_in_transaction_session_timeout TO '{HANGING}'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Found:
        """Do one statement."""
        return self._cursor().execute(_words(statement), parameters)

    def executemany(self, statement: str, parameters: Sequence[Sequence[Any]], /) -> None:
        """Do one statement for each row of *parameters*, many in one round trip."""
        cursor, words = self._cursor(), _words(statement)
        for begin in range(0, len(parameters), ROWS_AT_A_TIME):
            rows = parameters[begin : begin + ROWS_AT_A_TIME]
            cursor.execute(";".join(cursor.mogrify(words, row) for row in rows))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Database]:
        """Let all or nothing be kept of what is done to the database in the block."""
        with self.connection.transaction():
            yield self

    @property
    def closed(self) -> bool:
        """Whether nothing can be done any more."""
        return self.connection.closed

    def close(self) -> None:
        """Let go of the connection. Does nothing when it is closed."""
        self.connection.close()

    def _cursor(self) -> "ClientCursor[Any]":
        cursor: ClientCursor[Any] = self.connection.cursor()  # type: ignore[assignment] # as it was connected
        return cursor


class Sessions:
    """Connections that many threads share."""

    def __init__(self, url: str, path: str) -> None:
        """Connect to the database *url*, which errors call *path*, when somebody wants to."""
        self._url = url
        self._path = path
        self._idle: list[Session] = []
        self._lent = 0
        self._closed = False
        self._changed = Condition()

    @contextlib.contextmanager
    def lent(self) -> Iterator[Session]:
        """Give a connection, as soon as there is one, for the block. Raises `StateError`."""
        with self._changed:
            while self._lent == MOST_LENT:
                self._changed.wait()
            self._lent += 1
            session = self._idle.pop() if self._idle else None
        try:
            session = session or Session(self._url, self._path)
            yield session
        finally:
            is_lost = session is None or session.closed
            with self._changed:
                self._lent -= 1
                if session is not None and not is_lost:
                    self._idle.append(session)
                self._changed.notify()
            if self._closed or is_lost:
                # After one that was lost, the others most likely are, too.
                self._close_idle()

    def close(self) -> None:
        """Close them all; what is lent is closed when it comes back."""
        self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        with self._changed:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()


class Borrowing:
    """A database for one account: each statement, or each transaction, over a connection that is lent for it.

    One thread at a time uses it, as the account's lock has it.
    """

    def __init__(self, sessions: Sessions) -> None:
        """Borrow from *sessions*."""
        self._sessions = sessions
        self._mine: Session | None = None
        self.closed = False
        """Whether it was closed."""

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Found:
        """Do one statement."""
        if self._mine is not None:
            return self._mine.execute(statement, parameters)
        with self._sessions.lent() as session:
            # All that it found is here already when the connection is given back.
            return session.execute(statement, parameters)

    def executemany(self, statement: str, parameters: Sequence[Sequence[Any]], /) -> None:
        """Do one statement for each row of *parameters*."""
        with self._sessions.lent() if self._mine is None else contextlib.nullcontext(self._mine) as session:
            session.executemany(statement, parameters)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Database]:
        """Let all or nothing be kept of what is done to the database in the block."""
        with self._sessions.lent() as session, session.transaction():
            self._mine = session
            try:
                yield self
            finally:
                self._mine = None

    def close(self) -> None:
        """Do nothing any more."""
        self.closed = True


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
