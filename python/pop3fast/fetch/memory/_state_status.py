"""What is known of an account without asking its server, for a person or program that watches many.

Owns what is counted. Never waits for a fetch that runs: it takes no lock, and reads what was committed last.
"""

import contextlib
import os
import sqlite3
from pathlib import Path

from pop3fast.fetch._errors import StateError
from pop3fast.fetch._identity import account_digest
from pop3fast.fetch.memory import _state_rows as rows
from pop3fast.fetch.memory._state import NOTE_OCTETS, State
from pop3fast.fetch.memory._state_files import checked, lock_path
from pop3fast.fetch.memory._state_schema import connect, in_words
from pop3fast.fetch.memory._states import is_url
from pop3fast.fetch.memory._status import AccountStatus


def account_status(state: str | os.PathLike[str], host: str, port: int, user: str) -> AccountStatus:
    """Return what *state* knows of *user* at *host* and *port*; nothing without such a file. Raises `StateError`."""
    path = os.fspath(state)
    if is_url(path):
        from pop3fast.fetch.memory._postgres import PostgresState  # noqa: PLC0415 - for who has a database

        return PostgresState(path).status(host, port, user)
    if not os.path.lexists(path):
        return AccountStatus(None)
    try:
        State(path)  # it is one, and of this version
        with checked(path), contextlib.closing(connect(path)) as database:
            key = (host, port, user)
            row = database.execute("SELECT id FROM account WHERE host = ? AND port = ? AND user = ?", key).fetchone()
            known, failing, aside = (0, 0, 0) if row is None else rows.counts(database, int(row[0]))
    except sqlite3.Error as error:
        raise StateError(path, in_words(error)) from error
    last_success, waiting = _notes(lock_path(path, account_digest(host, port, user)))
    return AccountStatus(last_success, known, failing, aside, 0 if waiting is None else int(waiting))


def _notes(path: str) -> tuple[float | None, float | None]:
    """Return what `AccountState.note_success` and `AccountState.note_waiting` wrote, None where they did not."""
    notes = b""
    with contextlib.suppress(OSError), Path(path).open("rb") as file:
        notes = file.read(2 * NOTE_OCTETS)
    return _number(notes[:NOTE_OCTETS]), _number(notes[NOTE_OCTETS:])


def _number(note: bytes) -> float | None:
    return float(note) if note.strip().isdigit() else None
