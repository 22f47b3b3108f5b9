"""What is kept of messages that are handed to a program: how often each was, and which it is done with.

Owns two degrees of keeping. What is kept until the process ends, however it ends, costs no wait for the disk, and so it
is kept for each message; when the machine itself stops, the last of it may be lost. `AccountState.remember` keeps,
for many messages at once, what is to be durable before anything follows from it.
"""

import operator
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager

from pop3fast.fetch._identity import Entry
from pop3fast.fetch.memory import _state_rows as rows
from pop3fast.fetch.memory._state_rows import Database


class AttemptsState:
    """The part of `AccountState` that keeps it (`Attempts`). Every method raises `StateError`."""

    _id: int
    _lock: "threading.RLock"
    _database: Database

    def _transaction(self, *, durable: bool = True) -> AbstractContextManager[Database]:
        raise NotImplementedError

    def _reading(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def _time(self) -> int:
        raise NotImplementedError

    _has_taken_back: bool | None = None
    """Whether there may be messages that were taken back; None before anybody has looked."""

    def note_taken_back(self, entries: Iterable[Entry]) -> None:
        """Keep that *entries* are delivered, though they may be other messages than they were taken for."""
        for entry in entries:
            self.note_handled(entry, entry)
        self._has_taken_back = True

    def taken_back(self, entry: Entry) -> Entry | None:
        """Return as what *entry* is to be remembered, if it was taken back (`Journal`)."""
        if self._has_taken_back is None:
            with self._lock, self._reading():
                self._has_taken_back = rows.has_any(self._database, "handled", self._id)
        return self.handled(entry) if self._has_taken_back else None

    def check_lease(self) -> None:
        """Do nothing: what is this process's by a lock stays so (`Attempts`)."""

    def attempts(self, uid: bytes, content: bytes) -> int:
        """Return how often the message of *uid* and *content* was attempted (`Attempts`)."""
        with self._lock, self._reading():
            return rows.attempts(self._database, self._id, uid, content)

    def note_attempt(self, uid: bytes, content: bytes, attempts: int, *, durable: bool = True) -> None:
        """Keep that *uid* with *content* is attempted for so many *attempts*, at once if *durable* (`Attempts`)."""
        with self._transaction(durable=durable) as database:
            rows.note_attempt(database, self._id, uid, content, attempts, self._time())

    def handled(self, entry: Entry) -> Entry | None:
        """Return as what *entry*, which is done, is to be remembered, None when it is not (`Attempts`).

        Raises `StateError`, made of a `TypeError`, when the row is none of ours.
        """
        key = (self._id, *entry.kept().identity, entry.content)
        with self._lock, self._reading():
            row = self._database.execute(
                "SELECT octets, delivered, place FROM handled "
                "WHERE account = ? AND uid = ? AND occurrence = ? AND content = ?",
                key,
            ).fetchone()
            if row is None:
                return None
            octets, delivered, place = row
            if not isinstance(delivered, bytes) or not isinstance(place, bytes):
                raise TypeError("there is something else where octets should be")
            return entry._replace(octets=operator.index(octets), content=delivered, place=place)

    def note_handled(self, entry: Entry, remembered: Entry) -> None:
        """Keep that *entry* is done, and is to be remembered as *remembered* (`Attempts`)."""
        uid, occurrence = entry.kept().identity
        with self._transaction(durable=False) as database:
            database.execute(
                "INSERT INTO handled (account, uid, occurrence, content, octets, delivered, place, at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, uid, occurrence, content) DO UPDATE SET "
                "octets = excluded.octets, delivered = excluded.delivered, place = excluded.place, at = excluded.at",
                (
                    *(self._id, uid, occurrence, entry.content),
                    *(remembered.octets, remembered.content, remembered.place, self._time()),
                ),
            )
            rows.forget_attempts(database, self._id, [entry.kept()])
