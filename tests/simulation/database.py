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
    "PRAGMA synchronous = NORMAL": "PRAGMA synchronous = OFF",
    "PRAGMA journal_mode = WAL": "PRAGMA journal_mode = MEMORY",
}
"""What makes a database durable takes time, and here nothing but the process ever ends."""


class Databases:
    """Those of one story. Opening one, and reading its statements anew, takes longer than all that is asked of it.

    So a connection that is closed is kept, and given to whoever opens the same file next. What a process that died had
    begun is gone when the next one opens it.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: list[Database] = []
        self._idle: dict[str, list[Database]] = {}

    def connect(self, path: str, *arguments: Any, **named: Any) -> "Database":  # noqa: ANN401
        """Return a connection to *path*, as `sqlite3.connect` does."""
        for database in self._open:
            if database.process != self._world.process:
                database.give_back()
        self._open = [each for each in self._open if each.in_use]
        idle = self._idle.setdefault(path, [])
        if idle:
            database = idle.pop()
        else:
            database = CONNECT(path, *arguments, factory=Database, **named)
            database.world, database.idle = self._world, idle
        database.process = self._world.process
        database.in_use = True
        self._open.append(database)
        return database

    def close(self) -> None:
        """Close all."""
        for database in (*self._open, *(each for idle in self._idle.values() for each in idle)):
            sqlite3.Connection.close(database)


CONNECT = sqlite3.connect

FAILED = "failed"
"""What stands for a statement that has failed."""


class Database(sqlite3.Connection):
    """A connection that dies with its process."""

    world: World
    idle: "list[Database]"
    process = 0
    in_use = False

    def close(self) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Let the next one have it, without what was begun and not committed."""
        if self.in_use:
            self.in_use = False
            self.rollback()
            self.idle.append(self)

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401
        if sql.startswith(("SELECT", "PRAGMA")):
            sql = INSTEAD.get(sql, sql)
        else:
            word = sql.split(" ", 1)[0]
            self._step(word)
            if word == "COMMIT":
                self.world.say("remembered")
            self.world.on_statement(sql)
        return super().execute(sql, *parameters)

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401
        self._step(sql.split(" ", 1)[0])
        if sql == _REMEMBER:
            self.world.check_batch(len(parameters[0]))
            self.world.on_statement(sql)
        return super().executemany(sql, *parameters)

    def _step(self, word: str) -> None:
        if word == "ROLLBACK" and not self.world.dead:
            return
        try:
            self.world.step(f"sql {word}")
        except Fault as fault:
            self.world.say("SQLite fails", fault)
            self.world.on_statement(FAILED)
            said = "database or disk is full" if fault.number == errno.ENOSPC else "disk I/O error"
            raise sqlite3.OperationalError(said) from None
