"""The states of one story, as somebody sees them who only looks: where they are, and what is remembered in them.

Owns the questions, which are the same to a file of SQLite and to a database of PostgreSQL. Changes nothing in them.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .world import World

if TYPE_CHECKING:
    from .postgres import Pool

_connect = sqlite3.connect

OF_MESSAGES = ("seen", "content", "attempt", "handled", "intent", "intended")
"""The tables that have a row for a message."""


class States(Protocol):
    """Where the states of a story are."""

    def name(self, number: int) -> str:
        """Return what a job calls the state of this *number*."""
        ...

    def rows(self, state: str, query: str, parameters: tuple[object, ...]) -> list[Any]:
        """Return what *query* finds in a *state*; nothing where there is none yet."""
        ...


class Files:
    """States in files."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed

    def name(self, number: int) -> str:
        return str(self._folder / f"{self._seed}-{number}.sqlite")

    def rows(self, state: str, query: str, parameters: tuple[object, ...]) -> list[Any]:
        if not Path(state).exists():
            return []
        with contextlib.closing(_connect(state)) as database, contextlib.suppress(sqlite3.OperationalError):
            return database.execute(query, parameters).fetchall()
        return []


@contextlib.contextmanager
def states_of(world: World, folder: Path, pool: "Pool | None") -> Iterator[States]:
    """Give the states of a story: files in *folder*, or the databases of a *pool*."""
    if pool is None:
        yield Files(folder, world.seed)
        return
    from .postgres import SharedStates  # noqa: PLC0415 - other stories run without its driver

    shared = SharedStates(world, pool)
    with shared.in_place():
        yield shared


def remembered(states: States, state: str, user: str) -> set[bytes]:
    """Return the unique-ids that are remembered of a maildrop."""
    query = 'SELECT uid FROM seen JOIN account ON account.id = seen.account WHERE account."user" = ?'
    return {uid for (uid,) in states.rows(state, query, (user,))}


class Lease(NamedTuple):
    """Whose an account is, in a state that many share."""

    token: int
    """How often it was taken."""
    is_held: bool


def lease_of(states: States, state: str, user: str, date: float) -> Lease:
    """Return the lease of an account, as it is on *date*."""
    query = 'SELECT token, coalesce(held_until > to_timestamp(?), false) FROM account WHERE "user" = ?'
    return next((Lease(*row) for row in states.rows(state, query, (date, user))), Lease(0, is_held=False))


def everything(states: States, state: str) -> list[list[Any]]:
    """Return all that is in such a state but the leases."""
    queries = [f"SELECT t::text FROM {table} t ORDER BY 1" for table in OF_MESSAGES]  # noqa: S608 - constants
    queries.append(
        "SELECT id, maildrop, time, clock, doubted, sizes, knows_left, nameless, shown FROM account ORDER BY 1"
    )
    return [states.rows(state, query, ()) for query in queries]


def count_remembered(states: States, names: list[str], uid: bytes) -> int:
    """Return how many messages with this unique-id are remembered in all of them."""
    query = "SELECT count(*) FROM seen WHERE uid = ?"
    return sum(row[0] for name in names for row in states.rows(name, query, (uid,)))
