"""SQLite as it promises to be: what is committed stays, what is not is gone when the process dies.

Owns nothing but the moments at which a statement fails or is the last one. The database itself is the real one, in
memory, and never synced.
"""

import errno
import sqlite3
from typing import Any

from pop3fast.fetch.memory._state_rows import _REMEMBER

from .world import Fault, World

INSTEAD = {
    "PRAGMA synchronous = FULL": "PRAGMA synchronous = OFF",
    "PRAGMA journal_mode = WAL": "PRAGMA journal_mode = MEMORY",
}
"""What makes a database durable takes time, and here nothing but the process ever ends."""


class Database(sqlite3.Connection):
    """A connection that dies with its process."""

    world: World

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401
        if sql.startswith(("SELECT", "PRAGMA")):
            sql = INSTEAD.get(sql, sql)
        else:
            word = sql.split(" ", 1)[0]
            self._step(word)
            if word == "COMMIT":
                self.world.say("remembered")
        return super().execute(sql, *parameters)

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401
        self._step(sql.split(" ", 1)[0])
        if sql == _REMEMBER:
            self.world.check_batch(len(parameters[0]))
        return super().executemany(sql, *parameters)

    def _step(self, word: str) -> None:
        if word == "ROLLBACK" and not self.world.dead:
            return
        try:
            self.world.step(f"sql {word}")
        except Fault as fault:
            self.world.say("SQLite fails", fault)
            said = "database or disk is full" if fault.number == errno.ENOSPC else "disk I/O error"
            raise sqlite3.OperationalError(said) from None
