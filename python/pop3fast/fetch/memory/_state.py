"""State: which messages of which account have been fetched, across sessions, crashes and power cuts.

Owns the database and the lock that lets one session of an account run at a time. What is remembered is on the disk when
the call returns; a message is forgotten only when no complete listing had it for days. It never keeps a unique-id that
does not last (`is_lasting`). Whatever is read from it is checked: what makes no sense is a `StateError`.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from functools import partial

from pop3fast.fetch import _forks as forks
from pop3fast.fetch._errors import AccountBusy, StateError, state_error
from pop3fast.fetch._waiting import Clock, SystemClock
from pop3fast.fetch.memory._account_state import AccountState
from pop3fast.fetch.memory._state_files import checked, lock_path, open_file
from pop3fast.fetch.memory._state_schema import begin, connect, in_words, make_state, when_it_opens

FILE_NAME = "pop3fast.sqlite"

NOTE, NOTE_OCTETS = b"%-20d\n", 21
"""A number in the lock's file, a line each. As many digits as 64 bits have."""


class State:
    """A file in which several accounts may be kept, and which several processes may use at once."""

    def __init__(self, path: str | os.PathLike[str], clock: Clock | None = None) -> None:
        """Use the state *path*, which is made when it is not there. Raises `StateError` when it cannot be used.

        Where the process has too many files open, it waits on *clock* until some are closed.
        """
        self.path: str = os.fspath(path)
        self._clock = clock or SystemClock()
        when_it_opens(partial(make_state, self.path), self._clock)

    def account(self, host: str, port: int, user: str) -> "FileAccountState":
        """Return what is known of *user* at *host* and *port*, for this session alone until it is closed.

        Raises `AccountBusy` at once when another session of it runs, and `StateError`.
        """
        return when_it_opens(partial(FileAccountState, self.path, host.lower(), port, user), self._clock)


class FileAccountState(AccountState):
    """What is known of one account, in a file."""

    _database: sqlite3.Connection

    def __init__(self, path: str, host: str, port: int, user: str) -> None:
        """Lock the account and open the state *path*; called by `State.account`."""
        super().__init__(path, host, port, user)
        self._syncs = True
        self._lock_file = self._take_lock(f"{user} on {host}:{port}")
        try:
            with self._errors_in_words():
                self._database = connect(path)
            try:
                with checked(path):
                    self._id = self._find(host, port, user)
            except BaseException:
                self._database.close()
                raise
        except BaseException:
            forks.close(self._lock_file)
            raise

    def close(self) -> None:
        """Let others have the account. Does nothing when it is closed."""
        with self._lock:
            if self._lock_file >= 0:
                self._database.close()
                forks.close(self._lock_file)
                self._lock_file = -1

    def note_success(self, date: float, *, durably: bool = False) -> None:
        """Note that on *date* a run ended with all that was asked for.

        It is in the lock's file, and mostly not *durably*: a run that finds nothing new is to cost no sync.
        """
        with contextlib.suppress(OSError):
            os.pwrite(self._lock_file, NOTE % date, 0)
            if durably:
                os.fsync(self._lock_file)

    def note_waiting(self, messages: int) -> None:
        """Note how many new *messages* a run left on the server, behind the date of the last success."""
        with contextlib.suppress(OSError):
            os.pwrite(self._lock_file, NOTE % messages, NOTE_OCTETS)

    def _find(self, host: str, port: int, user: str) -> int:
        with self._transaction() as database:
            key = (host, port, user)
            database.execute("INSERT OR IGNORE INTO account (host, port, user) VALUES (?, ?, ?)", key)
            row = database.execute("SELECT id FROM account WHERE host = ? AND port = ? AND user = ?", key).fetchone()
        return int(row[0])

    def _take_lock(self, who: str) -> int:
        # The file stays: a lock on a file that somebody takes away and makes anew would keep nobody out.
        path = lock_path(self.path, self.digest)
        with forks.NO_FORK:
            try:
                lock_file = open_file(path)
            except OSError as error:
                raise state_error(path, error) from error
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(lock_file)
                raise AccountBusy(path, f"another fetch of {who} is running") from error
            except OSError as error:
                os.close(lock_file)
                raise state_error(path, error) from error
            forks.hold(lock_file)
        return lock_file

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Give the database; all or nothing of what is done to it becomes durable.

        What is not to be *durable* is kept when the process ends, and becomes durable with the next that is.
        """
        with self._lock, self._errors_in_words():
            if durable is not self._syncs:
                self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}").close()
                self._syncs = durable
            begin(self._database)
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                # Where SQLite has rolled back itself, as for a full disk, there is nothing to roll back.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _errors_in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(self.path, in_words(error)) from error
