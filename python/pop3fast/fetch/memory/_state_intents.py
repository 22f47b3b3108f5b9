"""The rows of a state that are about intents: what was going to be appended to an mbox, with unknown end.

Owns how a `Journal`'s intent is kept and read again. Raises the database's errors, and ``TypeError`` or ``ValueError``
for a value that makes no sense. Begins and ends no transaction.
"""

import os
import struct
from collections.abc import Sequence
from itertools import starmap
from typing import Any

from pop3fast.fetch._identity import Entry
from pop3fast.fetch.memory._journal import Intended, Intent
from pop3fast.fetch.memory._state_rows import Database

_FROM = struct.Struct(">QI")

_OF_IT = "SELECT 1 FROM intended WHERE intended.intent = intent.id"

INTENDED_FIELDS = 7
"""So many fields of an `Entry` are kept with an intent: the intent itself says where it will lie."""


def intend(database: Database, account: int, intent: Intent) -> int:
    """Keep *intent* of *account*, and return its key."""
    database.execute(
        "INSERT INTO intent (account, path, device, inode, size, before, pad) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            account,
            os.fsencode(intent.path),
            str(intent.device),
            str(intent.inode),
            intent.size,
            intent.before,
            intent.pad,
        ),
    )
    # Keys only grow, and nobody else adds one to this account.
    key = int(database.execute("SELECT max(id) FROM intent WHERE account = ?", (account,)).fetchone()[0])
    database.executemany(
        "INSERT INTO intended VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                key,
                *message.entry.kept()[:INTENDED_FIELDS],
                *message[1:5],
                b"".join(starmap(_FROM.pack, message.froms)),
                message.earlier,
                int(message.alike),
            )
            for message in intent.messages
        ],
    )
    return key


def load(database: Database) -> list[Intent]:
    """Return the intents of all accounts, the oldest first."""
    found: list[Intent] = []
    for key, path, device, inode, size, before, pad in database.execute(
        "SELECT id, path, device, inode, size, before, pad FROM intent ORDER BY id"
    ).fetchall():
        intended = database.execute("SELECT * FROM intended WHERE intent = ? ORDER BY start", (key,))
        messages = tuple(_intended(row) for row in intended.fetchall())
        found.append(Intent(os.fsdecode(path), int(device), int(inode), size, before, pad, messages, key))
    return found


def take(database: Database, key: int) -> list[int]:
    """Drop the intent *key*; return the account that it was of, none when it was dropped already."""
    found = database.execute("SELECT account FROM intent WHERE id = ?", (key,)).fetchall()
    database.execute("DELETE FROM intent WHERE id = ?", (key,))
    return [int(account) for (account,) in found]


def drop_remembered(database: Database, account: int, entries: Sequence[Entry]) -> None:
    """Drop from the intents of *account* what is remembered now, as *entries*; an intent is over with its last."""
    if database.execute("SELECT 1 FROM intent WHERE account = ?", (account,)).fetchone() is None:
        return  # as for every destination but an mbox
    mine = "intent IN (SELECT id FROM intent WHERE account = ?)"
    database.executemany(
        f"DELETE FROM intended WHERE {mine} AND uid = ? AND occurrence = ? AND content = ?",  # noqa: S608 - no input
        [(account, *entry.identity, entry.content) for entry in entries],
    )
    database.execute(f"DELETE FROM intent WHERE account = ? AND NOT EXISTS ({_OF_IT})", (account,))  # noqa: S608 - no input


def _intended(row: tuple[Any, ...]) -> Intended:
    offset, length, digest, head, froms, earlier, alike = row[8:]
    entry = Entry(*row[1:8])
    # Where the unique-id does not last, what was kept as the occurrence is which copy it is.
    entry = entry if entry.uid else entry._replace(copy=entry.occurrence)
    places = tuple(_FROM.iter_unpack(froms))
    return Intended(entry, offset, length, digest, head, places, earlier, bool(alike))
