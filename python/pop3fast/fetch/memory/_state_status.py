"""What is known of an account without asking its server, for a person or program that watches many.

Owns what is counted. Never waits for a fetch that runs: it takes no lock, and reads what was committed last.
"""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from pop3fast.fetch._errors import StateError
from pop3fast.fetch._identity import account_digest
from pop3fast.fetch.memory._state import State
from pop3fast.fetch.memory._state_files import checked, lock_path
from pop3fast.fetch.memory._state_schema import connect, in_words

_COUNTS = """
SELECT
    -- What the plan keeps besides messages has a line end at its beginning (`LEFT_MARK` and others).
    (SELECT count(*) FROM seen WHERE account = :id AND substr(uid, 1, 1) NOT IN (x'0a', x'0d'))
        + (SELECT count(*) FROM content WHERE account = :id),
    -- What came too short the last time, and what the destination refused (`SHORT_MARK`, `REFUSED_MARK`).
    (SELECT count(*) FROM seen
        WHERE account = :id AND substr(uid, 1, 2) IN (x'0a0d', x'0d0d') AND missing_since IS NULL)
"""

_LONGEST_DATE = 32


class AccountStatus(NamedTuple):
    """What is known of an account."""

    last_success: float | None
    """When a fetch last ended with all that was asked for, in seconds since 1970; None when none has."""
    known: int = 0
    """How many messages are remembered as fetched."""
    failing: int = 0
    """How many did not come whole, or were refused by the destination, when they were last tried."""
    quarantined: int = 0
    """How many were given up and put aside."""


def account_status(state: str | os.PathLike[str], host: str, port: int, user: str) -> AccountStatus:
    """Return what *state* knows of an account; nothing when there is no such file. Raises `StateError`."""
    path = os.fspath(state)
    if not os.path.lexists(path):
        return AccountStatus(None)
    try:
        State(path)  # it is one, and of this version
        with checked(path), contextlib.closing(connect(path)) as database:
            key = (host, port, user)
            row = database.execute("SELECT id FROM account WHERE host = ? AND port = ? AND user = ?", key).fetchone()
            counts = (0, 0) if row is None else database.execute(_COUNTS, {"id": row[0]}).fetchone()
    except sqlite3.Error as error:
        raise StateError(path, in_words(error)) from error
    return AccountStatus(_last_success(lock_path(path, account_digest(host, port, user))), *counts)


def _last_success(path: str) -> float | None:
    """Return what `AccountState.note_success` wrote."""
    try:
        with Path(path).open("rb") as file:
            return float(file.read(_LONGEST_DATE))
    except (OSError, ValueError):
        return None
