"""The rows of a state that are about messages of one account, and all that is done to them.

Owns what a row has to be: a state is a file, and files are damaged. Raises the database's errors, and
``TypeError``, ``ValueError`` or ``OverflowError`` for a value that makes no sense. Begins and ends no transaction. The
statements are those words of SQL that SQLite and PostgreSQL have in common, with ``?`` for parameters.
"""

import operator
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from pop3fast.fetch._identity import ASIDE, Entry, Identity
from pop3fast.fetch.memory._journal import ENDING_OCTETS, PLACE_OCTETS
from pop3fast.fetch.memory._seen import MARKED, MISSING, MOST_DELETIONS, Seen


class Found(Protocol):
    """What a statement found."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...  # noqa: ANN401 - rows are checked where they are used

    def fetchmany(self, size: int, /) -> list[Any]: ...

    def fetchall(self) -> list[Any]: ...


class Database(Protocol):
    """What the statements are given to: an SQLite connection, or what speaks as one."""

    def execute(self, statement: str, parameters: Any = (), /) -> Found: ...  # noqa: ANN401

    def executemany(self, statement: str, rows: Any, /) -> object: ...  # noqa: ANN401


ROWS_AT_A_TIME = 10_000
"""What is read from the database in one piece, so that as rows only this many take memory."""

NEVER_LISTED = 2**62
"""Since when a message that another program fetched is missing, before the first complete listing."""

NOT_DATED = 2**62
"""When a message came while the account's own time was not known: later than anything, until a session knows it."""

# The numbers are constants of this program.
_SEEN = (
    "SELECT uid, occurrence, size, fingerprint, delivered_at, octets, "  # noqa: S608
    f"CASE WHEN deletions < 0 THEN 0 WHEN deletions > {MOST_DELETIONS} THEN {MOST_DELETIONS} ELSE deletions END "
    f"| CASE WHEN missing_since IS NULL THEN 0 ELSE {MISSING} END "
    f"| CASE WHEN marked = 0 THEN 0 ELSE {MARKED} END "
    "FROM seen WHERE account = ?"
)

_ENTRY = (
    "SELECT size, octets, fingerprint, delivered_at, content, place FROM seen "
    "WHERE account = ? AND uid = ? AND occurrence = ?"
)

# What comes once more after it was deleted, and is alike, is the same message: the server has kept it.
_REMEMBER = (
    "INSERT INTO seen (account, uid, occurrence, size, octets, fingerprint, delivered_at, content, place) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (account, uid, occurrence) DO UPDATE SET size = excluded.size, octets = excluded.octets, "
    "fingerprint = excluded.fingerprint, delivered_at = excluded.delivered_at, "
    "deletions = CASE WHEN seen.content = excluded.content AND length(seen.content) > 0 "
    "THEN seen.deletions ELSE 0 END, "
    "content = excluded.content, place = excluded.place, missing_since = NULL, marked = 0"
)

_RENAMED = (
    "SELECT size, octets, fingerprint, delivered_at, content, place, missing_since, deletions, marked FROM seen "
    "WHERE account = ? AND uid = ? AND occurrence = ?"
)

_RENAME = (
    "INSERT INTO seen (account, uid, occurrence, size, octets, fingerprint, delivered_at, content, place, "
    "missing_since, deletions, marked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

HAS_ENDING = f"length(place) = {PLACE_OCTETS}"
"""Whether a message lies at a place that is looked for by its ending: in a file with others."""

ENDING = f"substr(place, length(place) - {ENDING_OCTETS - 1})"

_ONE = "WHERE account = ? AND uid = ? AND occurrence = ?"
_ONE_CONTENT = "WHERE account = ? AND content = ? AND copy = ?"


def load_seen(database: Database, account: int) -> Seen:
    """Return what has been fetched."""
    seen = Seen()
    cursor = database.execute(_SEEN, (account,))
    while rows := cursor.fetchmany(ROWS_AT_A_TIME):
        seen.extend(rows)
    return seen


def load_entries(database: Database, account: int, identities: Iterable[Identity]) -> dict[Identity, Entry]:
    """Return all that is known of those of *identities* that are remembered."""
    found: dict[Identity, Entry] = {}
    for identity in identities:
        row = database.execute(_ENTRY, (account, *identity)).fetchone()
        if row is not None:
            size, octets, fingerprint, delivered_at, content, place = row
            numbers = [operator.index(number) for number in (size, octets, delivered_at)]
            if not all(isinstance(value, bytes) for value in (fingerprint, content, place)):
                raise TypeError("there is something else where octets should be")
            found[identity] = Entry(*identity, numbers[0], numbers[1], fingerprint, numbers[2], content, place=place)
    return found


def remember(database: Database, account: int, entries: Iterable[Entry]) -> None:
    """Keep *entries*, of which what does not last is taken out (`Entry.kept`)."""
    entries = list(entries)
    database.executemany(_REMEMBER, [(account, *entry[:7], entry.place) for entry in entries if entry.uid])
    database.executemany(
        "INSERT INTO content (account, content, copy, place) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (account, content, copy) DO UPDATE SET place = excluded.place, missing_since = NULL",
        [(account, entry.content, entry.copy, entry.place) for entry in entries if not entry.uid],
    )


def let_date(database: Database, account: int) -> None:
    """Have the next session that knows the time of *account* date what is not dated."""
    database.execute("UPDATE account SET doubted = clock WHERE id = ? AND doubted IS NULL", (account,))


def date(database: Database, account: int, now: int) -> None:
    """Count what was delivered while the time was not known as delivered *now*."""
    database.execute(
        "UPDATE seen SET delivered_at = ? WHERE account = ? AND delivered_at = ?", (now, account, NOT_DATED)
    )


def take_over(database: Database, account: int, entries: Iterable[Entry]) -> None:
    """Keep *entries* that another program fetched, as missing until they are listed."""
    database.executemany(
        "INSERT INTO seen (account, uid, occurrence, size, octets, fingerprint, delivered_at, missing_since) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(account, *entry[:6], NEVER_LISTED) for entry in entries if entry.uid],
    )


def leave(database: Database, account: int, identities: Iterable[Identity], now: int) -> None:
    """Keep *identities*, of which nothing was fetched, from *now* on."""
    database.executemany(
        "INSERT INTO seen (account, uid, occurrence, size, octets, fingerprint, delivered_at) "
        "VALUES (?, ?, ?, 0, 0, ?, ?) ON CONFLICT DO NOTHING",
        [(account, *identity, b"", now) for identity in identities],
    )


def attempts(database: Database, account: int, uid: bytes, content: bytes) -> int:
    """Return how often something was attempted with the message that has *uid* and *content*."""
    query = "SELECT attempts FROM attempt WHERE account = ? AND uid = ? AND content = ?"
    found = database.execute(query, (account, uid, content)).fetchone()
    return 0 if found is None else operator.index(found[0])


def note_attempt(database: Database, account: int, uid: bytes, content: bytes, attempts: int, now: int) -> None:
    """Keep that it is attempted for so many times, *now*."""
    database.execute(
        "INSERT INTO attempt (account, uid, content, attempts, at) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (account, uid, content) DO UPDATE SET attempts = excluded.attempts, at = excluded.at",
        (account, uid, content, attempts, now),
    )


def forget_attempts(database: Database, account: int, entries: Iterable[Entry]) -> None:
    """Drop the attempts with *entries*, which are done."""
    if has_any(database, "attempt", account):
        database.executemany(
            "DELETE FROM attempt WHERE account = ? AND uid = ? AND content = ?",
            [(account, entry.uid, entry.content) for entry in entries],
        )


def forget_handled(database: Database, account: int, entries: Iterable[Entry]) -> None:
    """Drop that *entries*, which are remembered now, are done."""
    if has_any(database, "handled", account):
        # What was put aside may have other octets than it came with. Nothing but its content tells it from others
        # where it has no unique-id that lasts.
        database.executemany(
            "DELETE FROM handled WHERE account = ? AND uid = ? AND occurrence = ? AND (length(uid) > 0 OR content = ?)",
            [(account, *entry.identity, entry.content) for entry in entries],
        )


def note_refused(database: Database, account: int, refused: Iterable[tuple[Identity, int, bytes]], now: int) -> None:
    """Keep what was *refused*, each with its size and fingerprint, from *now* on."""
    database.executemany(
        "INSERT INTO seen (account, uid, occurrence, size, octets, fingerprint, delivered_at) "
        "VALUES (?, ?, ?, ?, 0, ?, ?) "
        "ON CONFLICT (account, uid, occurrence) DO UPDATE SET size = excluded.size, "
        "fingerprint = excluded.fingerprint, missing_since = NULL",
        [(account, *identity, size, known, now) for identity, size, known in refused],
    )


def note_listing(
    database: Database,
    account: int,
    missing: Iterable[Identity],
    listed: Iterable[Identity],
    *,
    nameless: bool,
    now: int,
) -> None:
    """Note what is *missing* from *now* on, and what is *listed* again."""
    database.executemany(
        f"UPDATE seen SET missing_since = ? {_ONE} AND missing_since IS NULL",  # noqa: S608 - constants
        [(now, account, *identity) for identity in missing],
    )
    database.executemany(
        f"UPDATE seen SET missing_since = NULL, marked = 0 {_ONE}",  # noqa: S608 - constants
        [(account, *identity) for identity in listed],
    )
    database.execute(
        "UPDATE seen SET missing_since = ? WHERE account = ? AND missing_since = ?", (now, account, NEVER_LISTED)
    )
    # Of messages without unique-ids a listing says only whether there are any.
    since, words = (None, "IS NOT NULL") if nameless else (now, "IS NULL")
    database.execute(
        f"UPDATE content SET missing_since = ? WHERE account = ? AND missing_since {words}",  # noqa: S608 - constants
        (since, account),
    )


def is_first_listing(database: Database, account: int, *, nameless: bool) -> bool:
    """Return whether a listing is the first since a takeover, or with or without *nameless* messages."""
    query = "SELECT 1 FROM seen WHERE account = ? AND missing_since = ? LIMIT 1"
    if database.execute(query, (account, NEVER_LISTED)).fetchone() is not None:
        return True
    words = "IS NOT NULL" if nameless else "IS NULL"
    found = database.execute(
        f"SELECT 1 FROM content WHERE account = ? AND missing_since {words} LIMIT 1",  # noqa: S608 - constants
        (account,),
    )
    return found.fetchone() is not None


def has_missing(database: Database, account: int, oldest: float) -> bool:
    """Return whether anything has been missing since *oldest* or longer."""
    return any(
        database.execute(
            f"SELECT 1 FROM {table} WHERE account = ? AND missing_since <= ? LIMIT 1",  # noqa: S608 - constants
            (account, oldest),
        ).fetchone()
        is not None
        for table in ("seen", "content")
    )


def forget_missing(database: Database, account: int, oldest: float) -> int:
    """Drop what has been missing since *oldest* or longer; return how many messages that were."""
    forgotten = 0
    for table in ("attempt", "handled"):
        if has_any(database, table, account):
            # Nothing was done with these for as long.
            database.execute(f"DELETE FROM {table} WHERE account = ? AND at <= ?", (account, oldest))  # noqa: S608
    for table in ("content", "seen"):
        forgotten += database.execute(
            f"DELETE FROM {table} WHERE account = ? AND missing_since <= ?",  # noqa: S608 - constants
            (account, oldest),
        ).rowcount
    return forgotten


def note_marked(database: Database, account: int, entries: Iterable[Entry]) -> None:
    """Note that *entries* are marked as deleted, and QUIT is about to be sent."""
    _for_each(database, account, entries, "UPDATE seen SET marked = 1", "UPDATE content SET deletions = deletions + 1")


def note_deleted(database: Database, account: int, entries: Iterable[Entry]) -> None:
    """Note that the server has deleted them, as it said."""
    # Of messages without unique-ids no other listing will tell, so they count as deleted when they are marked.
    _for_each(database, account, entries, "UPDATE seen SET deletions = deletions + 1, marked = 0", None)


def forget(database: Database, account: int, entries: Iterable[Entry]) -> None:
    """Drop *entries*."""
    _for_each(database, account, entries, "DELETE FROM seen", "DELETE FROM content")


def rename(database: Database, account: int, names: Mapping[Identity, Identity]) -> None:
    """Give messages other identities, from old to new; what had a new one and gets none itself is dropped."""
    rows = []
    for old, new in names.items():
        row = database.execute(_RENAMED, (account, *old)).fetchone()
        if row is not None:
            rows.append((account, *new, *row))
    taken = {*names, *names.values()}
    database.executemany(f"DELETE FROM seen {_ONE}", [(account, *identity) for identity in taken])  # noqa: S608
    database.executemany(_RENAME, rows)


def update_sizes(database: Database, account: int, sizes: Iterable[tuple[Identity, int]]) -> None:
    """Keep other sizes."""
    database.executemany(
        f"UPDATE seen SET size = ? {_ONE}",  # noqa: S608 - a constant
        [(size, account, *identity) for identity, size in sizes],
    )


def place_of(database: Database, account: int, content: bytes, copy: int) -> bytes | None:
    """Return where the *copy*-th message with *content* and without a lasting unique-id is, None when it is not."""
    found = database.execute(f"SELECT place FROM content {_ONE_CONTENT}", (account, content, copy)).fetchone()  # noqa: S608
    if found is not None and not isinstance(found[0], bytes):
        raise TypeError("there is something else where octets should be")
    return None if found is None else found[0]


def has_place(database: Database, ending: bytes) -> bool:
    """Return whether a message was delivered to a place with this *ending* (`Journal.has_place`).

    A file has no index for it, and goes through all rows: ask it rarely.
    """
    return any(
        database.execute(
            f"SELECT 1 FROM {table} WHERE {HAS_ENDING} AND {ENDING} = ? "  # noqa: S608 - constants
            "AND substr(place, length(place) - ? + 1) = ? LIMIT 1",
            (ending[-ENDING_OCTETS:], len(ending), ending),
        ).fetchone()
        is not None
        for table in ("seen", "content")
    )


def copies_deleted(database: Database, account: int, content: bytes) -> int:
    """Return how many messages with *content* and without a lasting unique-id were deleted."""
    found = database.execute(
        "SELECT CAST(sum(deletions) AS BIGINT) FROM content WHERE account = ? AND content = ?", (account, content)
    ).fetchone()
    return operator.index(found[0] or 0)


def counts(database: Database, account: int) -> tuple[int, int, int]:
    """Return how many messages are remembered as fetched, failed when they were last tried, and were put aside."""
    # What the plan keeps besides messages has a line end at its beginning (`LEFT_MARK` and others).
    known = _count(database, "seen WHERE account = ? AND substr(uid, 1, 1) NOT IN (?, ?)", (account, b"\n", b"\r"))
    nameless = _count(database, "content WHERE account = ?", (account,))
    # What came too short the last time, and what the destination refused (`SHORT_MARK`, `REFUSED_MARK`).
    failing = _count(
        database,
        "seen WHERE account = ? AND substr(uid, 1, 2) IN (?, ?) AND missing_since IS NULL",
        (account, b"\n\r", b"\r\r"),
    )
    aside = sum(
        _count(database, f"{table} WHERE account = ? AND substr(place, 1, ?) = ?", (account, len(ASIDE), ASIDE))
        for table in ("seen", "content")
    )
    return known + nameless, failing, aside


def _count(database: Database, words: str, parameters: tuple[object, ...]) -> int:
    return int(database.execute(f"SELECT count(*) FROM {words}", parameters).fetchone()[0])  # noqa: S608 - constants


def has_any(database: Database, table: str, account: int) -> bool:
    """Return whether there is a row of *account* in a *table*."""
    query = f"SELECT 1 FROM {table} WHERE account = ? LIMIT 1"  # noqa: S608 - a table of ours
    return database.execute(query, (account,)).fetchone() is not None


def _for_each(database: Database, account: int, entries: Iterable[Entry], in_seen: str, in_content: str | None) -> None:
    entries = list(entries)
    database.executemany(f"{in_seen} {_ONE}", [(account, *entry.identity) for entry in entries if entry.uid])
    if in_content is not None:
        contents = [(account, entry.content, entry.copy) for entry in entries if not entry.uid]
        database.executemany(f"{in_content} {_ONE_CONTENT}", contents)
