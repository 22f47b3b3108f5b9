"""PostgreSQL as a story has it: a real server, whose connections are lost, and whose clock is the world's.

Owns the moments at which a connection is lost, a statement fails or a process dies. What is committed stays; of what is
not, nothing does; and a connection that is lost just after a COMMIT leaves the program in doubt. Of a process that died
the lease goes on, until the world's time has passed it. The tables and all that is said to them are the real ones.
"""

import contextlib
import errno
from collections.abc import Iterator, Sequence
from typing import Any, Self
from unittest import mock

import psycopg

from pop3fast.fetch.memory import _postgres, _postgres_connection, _postgres_turns
from pop3fast.fetch.memory._postgres_connection import Session, errors_in_words
from pop3fast.fetch.memory._postgres_schema import make_tables
from pop3fast.fetch.memory._state_rows import _REMEMBER, Database, Found

from .database import FAILED
from .world import Fault, World

TABLES = ("intended", "intent", "handled", "attempt", "content", "seen", "turn", "host", "account")
"""Those before others that refer to them."""


class Pool:
    """Two databases for many stories, and connections to them that are used again: making one takes long."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = urls
        self._idle: dict[str, list[psycopg.Connection[Any]]] = {url: [] for url in urls}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for idle in self._idle.values():
            for connection in idle:
                connection.close()

    def take(self, url: str) -> "psycopg.Connection[Any]":
        """Return a connection that nobody uses."""
        idle = self._idle[url]
        return idle.pop() if idle else Session(url, url).connection

    def take_back(self, url: str, connection: "psycopg.Connection[Any]") -> None:
        """Let the next one have *connection*, without what was begun and not committed."""
        connection.rollback()
        connection.execute("DISCARD TEMPORARY")
        self._idle[url].append(connection)


class SharedStates:
    """The databases of one story, empty at its beginning."""

    def __init__(self, world: World, pool: Pool) -> None:
        self._world = world
        self._pool = pool
        self._open: list[Simulated] = []
        for url in pool.urls:
            connection = pool.take(url)
            make_tables(connection, url)
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - constants
            pool.take_back(url, connection)

    def name(self, number: int) -> str:
        return self._pool.urls[number]

    def rows(self, state: str, query: str, parameters: tuple[object, ...]) -> list[Any]:
        connection = self._pool.take(state)
        rows: list[Any] = connection.execute(query.replace("?", "%s"), parameters).fetchall()
        self._pool.take_back(state, connection)
        return rows

    def session(self, url: str, path: str) -> "Simulated":
        """Return what `Session` is in a story."""
        for session in self._open:
            if session.process != self._world.process:
                session.give_back()
        self._open = [each for each in self._open if each.in_use]
        session = Simulated(self._world, self._pool, url, path)
        self._open.append(session)
        return session

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Have every session of the code be one of these."""
        with contextlib.ExitStack() as stack:
            for module in (_postgres, _postgres_connection, _postgres_turns):
                stack.enter_context(mock.patch.object(module, "Session", self.session))
            try:
                yield
            finally:
                for session in self._open:
                    session.give_back()


class Simulated(Session):
    """A session that is lost when the world says so."""

    def __init__(self, world: World, pool: Pool, url: str, path: str) -> None:
        self._world, self._pool, self._url = world, pool, url
        self.process = world.process
        self._is_lost = self.in_use = False
        with errors_in_words(path):
            self._step("connect")
        self.connection = pool.take(url)
        self.in_use = True

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Found:
        self._step(statement.split(" ", 1)[0])
        self._world.on_statement(statement)
        # The server's clock is right whatever this machine's says.
        now = f"to_timestamp({self._world.clock.true_date()!r})"
        return super().execute(statement.replace("now()", now), parameters)

    def executemany(self, statement: str, parameters: Sequence[Sequence[Any]], /) -> None:
        self._step(statement.split(" ", 1)[0])
        if statement == _REMEMBER:
            self._world.check_batch(len(parameters))
            self._world.on_statement(statement)
        if parameters:
            super().executemany(statement, parameters)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Database]:
        self._step("BEGIN")
        self._world.on_statement("BEGIN")
        with self.connection.transaction():
            yield self
            self._step("COMMIT")
        self._world.say("remembered")
        self._world.on_statement("COMMIT")
        # What is lost now is only the answer.
        self._step("COMMITTED")

    @property
    def closed(self) -> bool:
        return self._is_lost or not self.in_use

    def close(self) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Let the next one have the connection."""
        if self.in_use:
            self.in_use = False
            self._pool.take_back(self._url, self.connection)

    def _step(self, word: str) -> None:
        if self._is_lost:
            raise psycopg.OperationalError("the connection is closed")
        try:
            self._world.step(f"sql {word}")
        except Fault as fault:
            self._world.say("PostgreSQL fails", fault)
            self._world.on_statement(FAILED)
            if fault.number == errno.ENOSPC:
                raise psycopg.errors.DiskFull("could not extend file: No space left on device") from None
            self._is_lost = True
            raise psycopg.OperationalError("server closed the connection unexpectedly") from None
