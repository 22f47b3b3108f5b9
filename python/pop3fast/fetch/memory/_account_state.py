"""What is remembered of one account, whatever keeps it: each session's words for what happened, made into rows.

Owns the account's own time, and what follows for its rows from each thing that is noted. What keeps them, and for how
long the account is this session's alone, is for the classes that inherit: a file (`_state`), or a server of databases.
"""

import contextlib
import threading
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self

from pop3fast.fetch._errors import StateError
from pop3fast.fetch._identity import Entry, Identity, account_digest
from pop3fast.fetch.memory import _state_intents as intents
from pop3fast.fetch.memory import _state_rows as rows
from pop3fast.fetch.memory._age import DAY_SECONDS, Age
from pop3fast.fetch.memory._fingerprint import FINGERPRINT_OCTETS
from pop3fast.fetch.memory._journal import Intent
from pop3fast.fetch.memory._seen import PATIENCE_WITH_DELETIONS, Seen
from pop3fast.fetch.memory._state_attempts import AttemptsState
from pop3fast.fetch.memory._state_rows import Database


class AccountState(AttemptsState):
    """What is known of one account. May be used from several threads. Every method raises `StateError`."""

    def __init__(self, path: str, host: str, port: int, user: str) -> None:
        """Begin with nothing known; *path* is what an error calls the state."""
        self.path = path
        self.digest: str = account_digest(host, port, user)
        """What stands for the account in names."""
        self._now: int | None = None
        self._is_time_known = True
        self._lists_as_many = False
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let others have the account. Does nothing when it is closed."""

    @abstractmethod
    def note_success(self, date: float, *, durably: bool = False) -> None:
        """Note that on *date* a run ended with all that was asked for, *durably* or not. Fails in silence."""

    @abstractmethod
    def note_waiting(self, messages: int) -> None:
        """Note how many new *messages* a run left on the server. Fails in silence."""

    @abstractmethod
    def _errors_in_words(self) -> contextlib.AbstractContextManager[None]:
        """Raise the database's errors as `StateError`."""

    def begin_session(self, date: float, *, keep: bool = True) -> int:
        """Let the account's own time go on to *date*, which the clock says now; return it in seconds (`_age`).

        From here on, what is remembered was delivered then. Without *keep* nothing is written.
        """
        clock = int(date)
        self._lists_as_many = False
        with self._lock, self._reading():
            row = self._database.execute(
                "SELECT time, clock, doubted FROM account WHERE id = ?", (self._id,)
            ).fetchone()
            before = None if row[0] is None else Age(int(row[0]), int(row[1]), None if row[2] is None else int(row[2]))
            age = Age(clock, clock) if before is None else before.at(clock)
            self._now = age.time
            self._is_time_known = age.doubted is None
        # Written once a day at most, so that a session that finds nothing new writes nothing.
        if keep and (before is None or age.doubted != before.doubted or age.clock - before.clock >= DAY_SECONDS):
            with self._transaction() as database:
                database.execute("UPDATE account SET time = ?, clock = ?, doubted = ? WHERE id = ?", (*age, self._id))
                if before is not None and before.doubted is not None and self._is_time_known:
                    rows.date(database, self._id, age.time)
        return age.time

    def seen(self) -> Seen:
        """Return what has been fetched, as it is now; for an mbox, ask only when it has been prepared."""
        with self._lock, self._reading():
            return rows.load_seen(self._database, self._id)

    def entries(self, identities: Iterable[Identity]) -> dict[Identity, Entry]:
        """Return all that is remembered of *identities*, by identity; those that are not remembered are left out."""
        with self._lock, self._reading():
            return rows.load_entries(self._database, self._id, identities)

    def remember(self, entries: Iterable[Entry]) -> None:
        """Remember *entries*, which a flush delivered, durably and all at once; they are no longer intended then.

        Raises `ValueError` for a fingerprint of another length.
        """
        entries = list(entries)
        for entry in entries:
            if len(entry.fingerprint) not in {0, FINGERPRINT_OCTETS}:
                raise ValueError(f"a fingerprint has {FINGERPRINT_OCTETS} octets, not {len(entry.fingerprint)}")
        with self._transaction() as database:
            self._remember(database, entries, self._id)

    def take_over(self, entries: Iterable[Entry]) -> None:
        """Remember *entries*, which another program fetched. Only a listing shows that they are there."""
        with self._changing() as database:
            rows.take_over(database, self._id, entries)

    def note_listing(self, missing: Sequence[Identity], listed: Sequence[Identity], *, nameless: bool) -> None:
        """Note which messages a COMPLETE listing lacks now (*missing*), and which it has again (*listed*).

        *nameless* is whether it has messages without a unique-id that lasts. Writes nothing where nothing changed.
        """
        with self._lock, self._reading():
            changed = missing or listed or rows.is_first_listing(self._database, self._id, nameless=nameless)
        if changed:
            with self._changing() as database:
                rows.note_listing(database, self._id, missing, listed, nameless=nameless, now=self._time())

    def forget_missing(self, days: float) -> int:
        """Forget what no complete listing has had for so many *days*; return how many messages that are."""
        oldest = self._time() - days * DAY_SECONDS
        with self._lock, self._reading():
            if not rows.has_missing(self._database, self._id, oldest):
                return 0
        with self._changing() as database:
            return rows.forget_missing(database, self._id, oldest)

    def note_marked(self, entries: Iterable[Entry], nameless: int = 0) -> None:
        """Note that *entries* are marked as deleted, before QUIT is sent: others may be listed after it.

        *nameless* is how many messages without a unique-id that lasts are listed.
        """
        kept = [entry.kept() for entry in entries]
        with self._changing() as database:
            rows.note_marked(database, self._id, kept)
            if not all(entry.uid for entry in kept):
                database.execute("UPDATE account SET nameless = ? WHERE id = ?", (nameless, self._id))

    def keeps_nameless(self, nameless: int) -> bool:
        """Return whether as many *nameless* messages, without unique-ids, are listed as before some were deleted.

        That is no proof: as many may have come. In this session copies of what was deleted `PATIENCE_WITH_DELETIONS`
        times count as kept then (`has_kept`).
        """
        with self._lock, self._reading():
            row = self._database.execute("SELECT nameless FROM account WHERE id = ?", (self._id,)).fetchone()
            self._lists_as_many = row[0] is not None and nameless >= int(row[0])
        if row[0] is not None and not self._lists_as_many:
            with self._changing() as database:
                database.execute("UPDATE account SET nameless = NULL WHERE id = ?", (self._id,))
        return self._lists_as_many

    def has_kept(self, content: bytes) -> bool:
        """Return whether a message that only its *content* tells apart counts as one that the server keeps.

        That is so whatever the server says to DELE. Otherwise what is alike to a deleted one is another message.
        """
        with self._lock, self._reading():
            deleted = rows.copies_deleted(self._database, self._id, content) if self._lists_as_many else 0
            return deleted >= PATIENCE_WITH_DELETIONS

    def note_deleted(self, entries: Iterable[Entry]) -> None:
        """Note that the server said that it deleted *entries*: what is listed under their names is another."""
        with self._changing() as database:
            rows.note_deleted(database, self._id, [entry.kept() for entry in entries])

    def forget(self, entries: Iterable[Entry]) -> None:
        """Forget *entries* that turned out not to be delivered, or not to be those that are listed."""
        with self._changing() as database:
            rows.forget(database, self._id, [entry.kept() for entry in entries])

    def rename(self, names: Mapping[Identity, Identity]) -> None:
        """Remember messages under other identities, by *names* from old to new: the server gave their unique-ids anew.

        What was remembered under a new one and gets no new one itself is forgotten.
        """
        with self._changing() as database:
            rows.rename(database, self._id, names)

    def update_sizes(self, sizes: Iterable[tuple[Identity, int]]) -> None:
        """Remember other *sizes* (octets) of the scan listing: a server that counts in another way changes all."""
        with self._changing() as database:
            rows.update_sizes(database, self._id, sizes)

    def has_place(self, ending: bytes) -> bool:
        """Return whether a message of any account was delivered to a place with this *ending* (`Journal`)."""
        with self._lock, self._reading():
            return rows.has_place(self._database, ending)

    def copies_deleted(self, content: bytes) -> int:
        """Return how many messages that only their *content* tells apart are gone by deletion (`Journal`)."""
        with self._lock, self._reading():
            return 0 if self.has_kept(content) else rows.copies_deleted(self._database, self._id, content)

    def note_names(self, identities: Iterable[Identity]) -> None:
        """Remember *identities* by their names alone: nothing of them was fetched."""
        with self._changing() as database:
            rows.leave(database, self._id, identities, self._time())

    def note_refused(self, refused: Iterable[tuple[Identity, int, bytes]]) -> None:
        """Remember what the destination *refused*, by name, size and fingerprint: nothing of it was delivered."""
        with self._changing() as database:
            rows.note_refused(database, self._id, refused, self._time())

    def leave(self, identities: Iterable[Identity]) -> None:
        """Remember *identities*, listed and not fetched, and that these are all."""
        with self._changing() as database:
            rows.leave(database, self._id, identities, self._time())
            database.execute("UPDATE account SET knows_left = 1 WHERE id = ?", (self._id,))

    def knows_left(self) -> bool:
        """Return whether `leave` was called."""
        with self._lock, self._reading():
            row = self._database.execute("SELECT knows_left FROM account WHERE id = ?", (self._id,)).fetchone()
            return bool(row[0])

    def sizes(self) -> str:
        """Return what `note_sizes` was given last; empty when that is nothing."""
        with self._lock, self._reading():
            row = self._database.execute("SELECT sizes FROM account WHERE id = ?", (self._id,)).fetchone()
            return str(row[0])

    def note_sizes(self, sizes: str) -> None:
        """Keep what was learned of the scan listing's *sizes*, in the words of `_sizes`."""
        with self._transaction() as database:
            database.execute("UPDATE account SET sizes = ? WHERE id = ?", (sizes, self._id))

    def shown(self) -> str:
        """Return what `note_shown` was given last; empty when that is nothing."""
        with self._lock, self._reading():
            row = self._database.execute("SELECT shown FROM account WHERE id = ?", (self._id,)).fetchone()
            return str(row[0])

    def note_shown(self, shown: str) -> None:
        """Keep what the server has *shown* of itself, in the words of `accounts._shown`."""
        with self._transaction() as database:
            database.execute("UPDATE account SET shown = ? WHERE id = ?", (shown, self._id))

    def maildrop(self) -> bytes | None:
        """Return what `note_maildrop` was given, if nothing has been remembered or forgotten since."""
        with self._lock, self._reading():
            row = self._database.execute("SELECT maildrop FROM account WHERE id = ?", (self._id,)).fetchone()
            return None if row[0] is None else bytes(memoryview(row[0]))

    def note_maildrop(self, mark: bytes) -> None:
        """Keep *mark*, which stands for a maildrop of which everything has been fetched."""
        with self._transaction() as database:
            database.execute("UPDATE account SET maildrop = ? WHERE id = ?", (mark, self._id))

    def _forget_maildrop(self, database: Database, account: int | None = None) -> None:
        mine = self._id if account is None else account
        database.execute("UPDATE account SET maildrop = NULL WHERE id = ? AND maildrop IS NOT NULL", (mine,))

    def intend(self, intent: Intent) -> int:
        """Keep *intent*, durably, and return its key (`Journal`)."""
        with self._transaction() as database:
            return intents.intend(database, self._id, intent)

    def intents(self) -> list[Intent]:
        """Return the intents of all accounts that are neither remembered nor settled, the oldest first (`Journal`)."""
        with self._lock, self._errors_in_words():
            return intents.load(self._database)

    def settle(self, key: int, delivered: Iterable[Entry]) -> None:
        """Remember *delivered* and drop the intent *key*, all at once (`Journal`)."""
        with self._transaction() as database:
            # Nothing when another session, which is settling all as well, was quicker.
            for account in intents.take(database, key):
                self._remember(database, list(delivered), account)

    def place_of(self, content: bytes, copy: int) -> bytes | None:
        """Return where the *copy* of *content* without a lasting unique-id was delivered to, or None (`Journal`)."""
        with self._lock, self._reading():
            return rows.place_of(self._database, self._id, content, copy)

    def _remember(self, database: Database, entries: list[Entry], account: int) -> None:
        self._forget_maildrop(database, account)
        kept = [entry.kept() for entry in entries]
        if account == self._id:
            kept = [self._timed(entry) for entry in kept]
        else:
            # Another account's own time is known only in its own sessions.
            kept = [entry._replace(delivered_at=rows.NOT_DATED) for entry in kept]
            rows.let_date(database, account)
        rows.remember(database, account, kept)
        rows.forget_attempts(database, account, kept)
        rows.forget_handled(database, account, kept)
        intents.drop_remembered(database, account, kept)

    def _time(self) -> int:
        """Return the account's own time; before its first session, what the clock says."""
        return int(time.time()) if self._now is None else self._now

    def _timed(self, entry: Entry) -> Entry:
        if self._now is None:
            return entry
        # While the clock is not believed, nobody knows how much of what it will make up for has passed already.
        return entry._replace(delivered_at=self._now if self._is_time_known else rows.NOT_DATED)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Database]:
        """Give the database for a change, and forget what the maildrop looked like."""
        with self._transaction() as database:
            self._forget_maildrop(database)
            yield database

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Raise `StateError` for whatever makes no sense: of another type, out of range, larger than the memory."""
        try:
            with self._errors_in_words():
                yield
        except (ValueError, TypeError, OverflowError, MemoryError, IndexError) as error:
            raise StateError(
                self.path, f"what it holds makes no sense: {str(error) or type(error).__name__}"
            ) from error
