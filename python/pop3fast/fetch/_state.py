"""State: which messages of which account have been fetched, across sessions, crashes and power cuts.

Owns the database and the lock that lets one session of an account run at a time. What it says was remembered is on
the disk when the call returns; what it forgets, only a complete listing of the maildrop made it forget. It never keeps
a unique-id that does not last (`is_lasting`).
"""

import contextlib
import fcntl
import os
import sqlite3
import struct
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import starmap
from typing import Any, Self

from pop3fast.fetch import _forks as forks
from pop3fast.fetch._errors import AccountBusy, StateError
from pop3fast.fetch._fingerprint import FINGERPRINT_OCTETS
from pop3fast.fetch._identity import Entry, Identity, account_digest, is_lasting
from pop3fast.fetch._journal import Intended, Intent
from pop3fast.fetch._seen import Seen
from pop3fast.fetch._state_files import checked, open_file
from pop3fast.fetch._state_schema import begin, connect, in_words, make_state

FILE_NAME = "pop3fast.sqlite"

ROWS_AT_A_TIME = 10_000
"""What is read from the database in one piece, so that as rows only this many take memory."""

_FROM = struct.Struct(">QI")

INTENDED_FIELDS = 7
"""So many fields of an `Entry` are kept with an intent: where it will lie the intent says itself."""


class State:
    """A file in which several accounts may be kept, and which several processes may use at once."""

    def __init__(self, path: str) -> None:
        """Use the state *path*, which is made when it is not there. Raises `StateError` when it cannot be used."""
        self.path = path
        make_state(path)

    def account(self, host: str, port: int, user: str) -> "AccountState":
        """Return what is known of an account, for this session alone until it is closed.

        Raises `AccountBusy` at once when another session of it runs, and `StateError`.
        """
        return AccountState(self.path, host.lower(), port, user)


class AccountState:
    """What is known of one account. May be used from several threads. Every method raises `StateError`."""

    def __init__(self, path: str, host: str, port: int, user: str) -> None:
        """Lock the account and open the state *path*; called by `State.account`."""
        self.path = path
        self.digest: str = account_digest(host, port, user)
        """What stands for the account in names."""
        self._lock = threading.RLock()
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have the account. Does nothing when it is closed."""
        with self._lock:
            if self._lock_file >= 0:
                self._database.close()
                forks.close(self._lock_file)
                self._lock_file = -1

    def seen(self) -> Seen:
        """Return what has been fetched, as it is now; for an mbox, ask only when it has been prepared."""
        seen = Seen()
        with self._lock, self._errors_in_words():
            cursor = self._database.execute(
                "SELECT uid, occurrence, size, fingerprint, delivered_at, octets FROM seen WHERE account = ?",
                (self._id,),
            )
            while rows := cursor.fetchmany(ROWS_AT_A_TIME):
                seen.extend(rows)
        return seen

    def entries(self, identities: Iterable[Identity]) -> dict[Identity, Entry]:
        """Return all that is remembered of messages, by identity; those that are not remembered are left out."""
        found: dict[Identity, Entry] = {}
        with self._lock, self._errors_in_words():
            for identity in identities:
                row = self._database.execute(
                    "SELECT size, octets, fingerprint, delivered_at, content, place FROM seen "
                    "WHERE account = ? AND uid = ? AND occurrence = ?",
                    (self._id, *identity),
                ).fetchone()
                if row is not None:
                    *fields, place = row
                    found[identity] = Entry(*identity, *fields)._replace(place=place)
        return found

    def remember(self, entries: Iterable[Entry]) -> None:
        """Remember what a flush delivered, durably and all at once; it is no longer intended then."""
        with self._transaction() as database:
            self._remember(database, list(entries), self._id)

    def prune(self, listed: Iterable[bytes]) -> int:
        """Forget every message whose unique-id is not *listed*, and return how many.

        *listed* has to be what a COMPLETE listing gave, copies as often as they are there: one that was cut short
        would have everything it lacks fetched again.
        """
        copies = Counter(listed)
        lasting = all(map(is_lasting, copies))
        with self._transaction() as database:
            self._forget_maildrop(database)
            keys = database.execute("SELECT uid, occurrence FROM seen WHERE account = ?", (self._id,))
            gone = [(self._id, uid, occurrence) for uid, occurrence in keys if occurrence >= copies[uid]]
            database.executemany("DELETE FROM seen WHERE account = ? AND uid = ? AND occurrence = ?", gone)
            if lasting:
                # Without unique-ids a listing does not say which of these messages are still there.
                database.execute("DELETE FROM content WHERE account = ?", (self._id,))
        return len(gone)

    def update_size(self, identity: Identity, size: int) -> None:
        """Remember that the scan listing gives *size* octets for a message that has been fetched."""
        self.update_sizes([(identity, size)])

    def update_sizes(self, sizes: Iterable[tuple[Identity, int]]) -> None:
        """Do so for many messages, all at once: a server that counts in another way now changes every size."""
        rows = [(size, self._id, uid, occurrence) for (uid, occurrence), size in sizes]
        with self._transaction() as database:
            self._forget_maildrop(database)
            database.executemany("UPDATE seen SET size = ? WHERE account = ? AND uid = ? AND occurrence = ?", rows)

    def maildrop(self) -> bytes | None:
        """Return what `note_maildrop` was given, if nothing has been remembered or forgotten since."""
        with self._lock, self._errors_in_words():
            row = self._database.execute("SELECT maildrop FROM account WHERE id = ?", (self._id,)).fetchone()
        found: bytes | None = row[0]
        return found

    def note_maildrop(self, mark: bytes) -> None:
        """Keep *mark*, which stands for a maildrop of which everything has been fetched."""
        with self._transaction() as database:
            database.execute("UPDATE account SET maildrop = ? WHERE id = ?", (mark, self._id))

    def _forget_maildrop(self, database: sqlite3.Connection, account: int | None = None) -> None:
        mine = self._id if account is None else account
        database.execute("UPDATE account SET maildrop = NULL WHERE id = ? AND maildrop IS NOT NULL", (mine,))

    def intend(self, intent: Intent) -> int:
        """Keep *intent*, durably, and return its key (`Journal`)."""
        with self._transaction() as database:
            key = database.execute(
                "INSERT INTO intent (account, path, device, inode, size, before, pad) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    self._id,
                    os.fsencode(intent.path),
                    str(intent.device),
                    str(intent.inode),
                    intent.size,
                    intent.before,
                    intent.pad,
                ),
            ).lastrowid
            database.executemany(
                "INSERT INTO intended VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        key,
                        *message.entry.kept()[:INTENDED_FIELDS],
                        *message[1:5],
                        b"".join(starmap(_FROM.pack, message.froms)),
                        *message[6:],
                    )
                    for message in intent.messages
                ],
            )
        return key or 0

    def intents(self) -> list[Intent]:
        """Return the intents of all accounts that are neither remembered nor settled, the oldest first (`Journal`)."""
        found: list[Intent] = []
        with self._lock, self._errors_in_words():
            for key, path, device, inode, size, before, pad in self._database.execute(
                "SELECT id, path, device, inode, size, before, pad FROM intent ORDER BY id"
            ).fetchall():
                rows = self._database.execute("SELECT * FROM intended WHERE intent = ? ORDER BY start", (key,))
                messages = tuple(_intended(row) for row in rows)
                found.append(Intent(os.fsdecode(path), int(device), int(inode), size, before, pad, messages, key))
        return found

    def settle(self, key: int, delivered: Iterable[Entry]) -> None:
        """Remember *delivered* and drop the intent *key*, all at once (`Journal`)."""
        with self._transaction() as database:
            # Nothing when another session, which is settling all as well, was quicker.
            for (account,) in database.execute("SELECT account FROM intent WHERE id = ?", (key,)).fetchall():
                self._remember(database, list(delivered), account)
                database.execute("DELETE FROM intent WHERE id = ?", (key,))

    def has_content(self, content: bytes, copy: int) -> bool:
        """Return whether a message without a lasting unique-id was delivered (`Journal`)."""
        with self._lock, self._errors_in_words():
            found = self._database.execute(
                "SELECT 1 FROM content WHERE account = ? AND content = ? AND copy = ?",
                (self._id, content, copy),
            ).fetchone()
        return found is not None

    def _remember(self, database: sqlite3.Connection, entries: list[Entry], account: int) -> None:
        self._forget_maildrop(database, account)
        kept = [entry.kept() for entry in entries]
        for entry in kept:
            if len(entry.fingerprint) not in {0, FINGERPRINT_OCTETS}:
                raise ValueError(f"a fingerprint has {FINGERPRINT_OCTETS} octets, not {len(entry.fingerprint)}")
        database.executemany(
            "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
            [(account, *entry[:7], entry.place) for entry in kept if entry.uid],
        )
        database.executemany(
            "INSERT OR IGNORE INTO content VALUES (?, ?, ?)",
            [(account, entry.content, entry.copy) for entry in kept if not entry.uid],
        )
        if database.execute("SELECT 1 FROM intent WHERE account = ?", (account,)).fetchone() is None:
            return  # as for every destination but an mbox
        # An intent is over when every message of it is remembered.
        mine = "intent IN (SELECT id FROM intent WHERE account = ?)"
        database.executemany(
            f"DELETE FROM intended WHERE {mine} AND uid = ? AND occurrence = ? AND content = ?",  # noqa: S608 - no input
            [(account, *entry.identity, entry.content) for entry in kept],
        )
        database.execute("DELETE FROM intent WHERE account = ? AND id NOT IN (SELECT intent FROM intended)", (account,))

    def _find(self, host: str, port: int, user: str) -> int:
        with self._transaction() as database:
            key = (host, port, user)
            database.execute("INSERT OR IGNORE INTO account (host, port, user) VALUES (?, ?, ?)", key)
            row = database.execute("SELECT id FROM account WHERE host = ? AND port = ? AND user = ?", key).fetchone()
        return int(row[0])

    def _take_lock(self, who: str) -> int:
        # The file stays: a lock on a file that somebody takes away and makes anew would keep nobody out.
        path = f"{self.path}.{self.digest}.lock"
        with forks.NO_FORK:
            try:
                lock_file = open_file(path)
            except OSError as error:
                raise StateError(path, os.strerror(error.errno or 0)) from error
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(lock_file)
                raise AccountBusy(path, f"another fetch of {who} is running") from error
            except OSError as error:
                os.close(lock_file)
                raise StateError(path, os.strerror(error.errno or 0)) from error
            forks.hold(lock_file)
        return lock_file

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the database; all or nothing of what is done to it becomes durable."""
        with self._lock, self._errors_in_words():
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


def _intended(row: tuple[Any, ...]) -> Intended:
    offset, length, digest, head, froms, earlier, alike = row[8:]
    entry = Entry(*row[1:8])
    # Where the unique-id does not last, what was kept as the occurrence is which copy it is.
    entry = entry if entry.uid else entry._replace(copy=entry.occurrence)
    places = tuple(_FROM.iter_unpack(froms))
    return Intended(entry, offset, length, digest, head, places, earlier, bool(alike))
