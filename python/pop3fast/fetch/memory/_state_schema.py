"""The tables that a state is made of, and the only words of SQL that make or check them.

Owns what kind of file a state is: an SQLite database with this project's mark, of a version that this module knows.
An older one becomes one of this version when it is opened, all at once.
"""

import contextlib
import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import TypeVar

from pop3fast.fetch import _forks as forks
from pop3fast.fetch._descriptors import is_shortage, when_there_is_one
from pop3fast.fetch._errors import StateError, state_error, system_words
from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.memory._state_files import checked, open_file, sync_name

T = TypeVar("T")

APPLICATION_ID = 0x70F3FA57
"""The mark in the file's header that says whose it is."""

VERSION = 6

BUSY_SECONDS = 30.0
"""How long one process waits for another's transaction. They are short: only a stopped one takes so long."""

BUSY = f"another process has had it for more than {BUSY_SECONDS:.0f} seconds"

POLL_SECONDS = 0.02

"""How often to look whether another process is done."""

STATE_DESCRIPTORS = 4
"""How many SQLite has open at most: the file, ``-wal``, ``-shm``, and for a moment the folder."""

UNEXPLAINED = 5
"""So many times it is tried again when SQLite could not open a file and nothing shows why."""

PRIMARY_CODE = 0xFF
"""The part of an extended result code that is of the error itself."""

LARGEST_VALUE_OCTETS = 2**24
"""No value in a state is larger. In a damaged file, one may claim to have a gigabyte."""

SQLITE_SECONDS = 0.3
"""How long SQLite itself waits in one go, in which nothing can interrupt it."""

TABLES = """
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    user TEXT NOT NULL,
    -- What the maildrop looked like when nothing in it was new, NULL when that was not seen since the last change here.
    maildrop BLOB,
    -- The account's own time, what the clock said then, and what it said since (`Age`), NULL before its first session.
    time INTEGER,
    clock INTEGER,
    doubted INTEGER,
    -- What the scan listing's sizes were found to be (`_sizes`), empty when that is not known.
    sizes TEXT NOT NULL DEFAULT '',
    -- Whether all that was listed and not fetched is kept in `seen` as left (`LEFT_MARK`).
    knows_left INTEGER NOT NULL DEFAULT 0,
    -- How many messages without a unique-id that lasts were listed when some of them were deleted, NULL when none was.
    nameless INTEGER,
    -- What the server has shown of itself (`accounts._shown`), empty when that is not known or in doubt.
    shown TEXT NOT NULL DEFAULT '',
    UNIQUE (host, port, user)
);
CREATE TABLE seen (
    account INTEGER NOT NULL REFERENCES account,
    uid BLOB NOT NULL,
    occurrence INTEGER NOT NULL,
    size INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    delivered_at INTEGER NOT NULL,
    -- What was delivered and where, both empty when version 1 remembered it, or another program fetched it.
    content BLOB NOT NULL DEFAULT x'',
    place BLOB NOT NULL DEFAULT x'',
    -- Since when the listings lack it, NULL while they have it.
    missing_since INTEGER,
    -- How many times QUIT's +OK deleted it.
    deletions INTEGER NOT NULL DEFAULT 0,
    -- Whether it was marked as deleted when a QUIT was sent, of which nothing more is known.
    marked INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, uid, occurrence)
) WITHOUT ROWID;
-- Each session asks for what to forget, and most have nothing that is missing.
CREATE INDEX missing ON seen (account, missing_since) WHERE missing_since IS NOT NULL;
-- Messages that no unique-id can be relied on for.
CREATE TABLE content (
    account INTEGER NOT NULL REFERENCES account,
    content BLOB NOT NULL,
    copy INTEGER NOT NULL,
    -- Since when the listings have no message of this kind, NULL while they have.
    missing_since INTEGER,
    -- How many times it was marked as deleted when a QUIT was sent.
    deletions INTEGER NOT NULL DEFAULT 0,
    -- Where it was put, empty when an older version remembered it.
    place BLOB NOT NULL DEFAULT x'',
    PRIMARY KEY (account, content, copy)
) WITHOUT ROWID;
-- How often a message was handed to a program that is not done with it yet.
CREATE TABLE attempt (
    account INTEGER NOT NULL REFERENCES account,
    uid BLOB NOT NULL,
    content BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    -- When it was last.
    at INTEGER NOT NULL,
    PRIMARY KEY (account, uid, content)
) WITHOUT ROWID;
-- What a program is done with, until that is remembered for good.
CREATE TABLE handled (
    account INTEGER NOT NULL REFERENCES account,
    uid BLOB NOT NULL,
    -- Of one without a unique-id that lasts, which copy of its content it is.
    occurrence INTEGER NOT NULL,
    -- As it came.
    content BLOB NOT NULL,
    -- As what it is to be remembered.
    octets INTEGER NOT NULL,
    delivered BLOB NOT NULL,
    place BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (account, uid, occurrence, content)
) WITHOUT ROWID;
-- Device and inode are text: they may be greater than SQLite's integers.
CREATE TABLE intent (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account,
    path BLOB NOT NULL,
    device TEXT NOT NULL,
    inode TEXT NOT NULL,
    size INTEGER NOT NULL,
    before BLOB NOT NULL,
    pad BLOB NOT NULL
);
CREATE TABLE intended (
    intent INTEGER NOT NULL REFERENCES intent ON DELETE CASCADE,
    uid BLOB NOT NULL,
    occurrence INTEGER NOT NULL,
    size INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    delivered_at INTEGER NOT NULL,
    content BLOB NOT NULL,
    start INTEGER NOT NULL,
    length INTEGER NOT NULL,
    digest BLOB NOT NULL,
    head BLOB NOT NULL,
    -- What looks like a From line in it (`Intended`).
    froms BLOB NOT NULL DEFAULT x'',
    earlier INTEGER NOT NULL DEFAULT 0,
    -- False when version 1 kept it.
    alike INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (intent, start)
) WITHOUT ROWID;
"""

TO_VERSION_2 = """
ALTER TABLE account ADD COLUMN time INTEGER;
ALTER TABLE account ADD COLUMN clock INTEGER;
ALTER TABLE account ADD COLUMN doubted INTEGER;
ALTER TABLE account ADD COLUMN sizes TEXT NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN knows_left INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN nameless INTEGER;
ALTER TABLE seen ADD COLUMN content BLOB NOT NULL DEFAULT x'';
ALTER TABLE seen ADD COLUMN place BLOB NOT NULL DEFAULT x'';
ALTER TABLE seen ADD COLUMN missing_since INTEGER;
ALTER TABLE seen ADD COLUMN deletions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE seen ADD COLUMN marked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE content ADD COLUMN missing_since INTEGER;
ALTER TABLE content ADD COLUMN deletions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE intended ADD COLUMN froms BLOB NOT NULL DEFAULT x'';
ALTER TABLE intended ADD COLUMN earlier INTEGER NOT NULL DEFAULT 0;
ALTER TABLE intended ADD COLUMN alike INTEGER NOT NULL DEFAULT 0;
CREATE INDEX missing ON seen (account, missing_since) WHERE missing_since IS NOT NULL;
-- The last delivery is the last moment of which the account's own time is known.
UPDATE account SET time = (
    SELECT max(delivered_at) FROM seen
    WHERE account = account.id AND delivered_at <= CAST(strftime('%s', 'now') AS INTEGER)
);
UPDATE account SET clock = time;
-- What a clock said that was wrong is not known to be older than that: nobody fetched before 2020.
UPDATE seen SET delivered_at = (SELECT time FROM account WHERE id = seen.account)
WHERE (delivered_at < CAST(strftime('%s', '2020-01-01') AS INTEGER)
    OR delivered_at > CAST(strftime('%s', 'now') AS INTEGER))
    AND (SELECT time FROM account WHERE id = seen.account) IS NOT NULL;
"""

TO_VERSION_3 = """
ALTER TABLE content ADD COLUMN place BLOB NOT NULL DEFAULT x''
"""

TO_VERSION_4 = """
CREATE TABLE attempt (
    account INTEGER NOT NULL REFERENCES account,
    uid BLOB NOT NULL,
    content BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (account, uid, content)
) WITHOUT ROWID
"""

TO_VERSION_5 = """
CREATE TABLE handled (
    account INTEGER NOT NULL REFERENCES account,
    uid BLOB NOT NULL,
    occurrence INTEGER NOT NULL,
    content BLOB NOT NULL,
    octets INTEGER NOT NULL,
    delivered BLOB NOT NULL,
    place BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (account, uid, occurrence, content)
) WITHOUT ROWID
"""

TO_VERSION_6 = """
ALTER TABLE account ADD COLUMN shown TEXT NOT NULL DEFAULT ''
"""

MIGRATIONS = {1: TO_VERSION_2, 2: TO_VERSION_3, 3: TO_VERSION_4, 4: TO_VERSION_5, 5: TO_VERSION_6}
"""What turns a state of each older version into the next one."""


def connect(path: str) -> sqlite3.Connection:
    """Return a connection whose every commit is durable, for several threads, one at a time."""
    connection = sqlite3.connect(path, timeout=SQLITE_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE_OCTETS)
        connection.execute("PRAGMA synchronous = FULL").close()
        connection.execute("PRAGMA foreign_keys = ON").close()
        # So that no file is opened later, when there may be no descriptor for it.
        connection.execute("PRAGMA temp_store = MEMORY").close()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def begin(connection: sqlite3.Connection) -> None:
    """Begin to write, as soon as no other process does."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return


def make_state(path: str) -> None:
    """Make the state *path* when it is not there, and check that it is one and can be written to.

    Raises `StateError`.
    """
    try:
        with _making(path):
            # Only while it is new: closing a file takes away the locks that SQLite has on it in other threads.
            with contextlib.suppress(FileExistsError):
                os.close(open_file(path, new=True))
            with checked(path), contextlib.closing(connect(path)) as connection:
                begin(connection)
                _check_or_make(connection, path)
                connection.execute("COMMIT")
                connection.execute("PRAGMA journal_mode = WAL").close()
            sync_name(path)
    except OSError as error:
        raise state_error(path, error) from error
    except sqlite3.Error as error:
        raise StateError(path, in_words(error)) from error


def when_it_opens(attempt: Callable[[], T], clock: Clock) -> T:
    """Return what *attempt* returns, which opens the state, as soon as there are descriptors for it (`_descriptors`).

    Raises what *attempt* does, which closes then what it has opened.
    """
    unexplained = count()

    def lacks_some(error: Exception) -> bool:
        cause = error.__cause__ if isinstance(error, StateError) else error
        if not _did_not_open(cause):
            return is_shortage(cause)
        # Whoever had them may have closed some since SQLite was refused.
        return _no_descriptors() or next(unexplained) < UNEXPLAINED

    return when_there_is_one(attempt, clock, lacks_one=lacks_some)


def in_words(error: sqlite3.Error) -> str:
    """Return what SQLite's *error* means to a person."""
    said = str(error)
    if _did_not_open(error) and _no_descriptors():
        return system_words(errno.EMFILE)
    return BUSY if "locked" in said else said


def _did_not_open(error: BaseException | None) -> bool:
    # SQLite opens to read what it cannot open to write to: a descriptor may have been given back in between.
    return isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE in {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    }


def _no_descriptors() -> bool:
    """Return whether there are fewer than a state needs. SQLite does not tell why it cannot open a file."""
    with contextlib.ExitStack() as to_close:
        try:
            for _ in range(STATE_DESCRIPTORS):
                to_close.callback(os.close, os.open(os.curdir, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            return is_shortage(error)
    return False


def _check_or_make(connection: sqlite3.Connection, path: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == APPLICATION_ID and version > VERSION:
        raise StateError(path, f"a newer version of pop3fast made it (format {version}, this one knows {VERSION})")
    if application == APPLICATION_ID and version > 0:
        for older in range(version, VERSION):
            _run(connection, MIGRATIONS[older])
    elif application or version or tables:
        raise StateError(path, "it is a database of another program")
    else:
        _run(connection, TABLES)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    # Whether it can be written to shows only when something is written.
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _run(connection: sqlite3.Connection, statements: str) -> None:
    # Not `executescript`, which would commit what has been begun.
    for statement in statements.split(";"):
        connection.execute(statement)


@contextlib.contextmanager
def _making(path: str) -> Iterator[None]:
    """Let nobody else make the state meanwhile: SQLite itself does not wait while another changes the journal mode."""
    with forks.NO_FORK:
        lock_file = open_file(f"{path}.lock")
        forks.hold(lock_file)
    try:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StateError(path, BUSY) from None
                time.sleep(POLL_SECONDS)
        yield
    finally:
        forks.close(lock_file)
