"""Where a state is kept: in a file, or in PostgreSQL. Owns which of them a word of the user means."""

import os
from typing import TYPE_CHECKING

from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.memory._state import State

if TYPE_CHECKING:
    from pop3fast.fetch.memory._postgres import PostgresState

SCHEMES = ("postgresql://", "postgres://")


def is_url(state: str | os.PathLike[str]) -> bool:
    """Return whether *state* is in PostgreSQL."""
    return isinstance(state, str) and state.startswith(SCHEMES)


def open_state(state: str | os.PathLike[str], clock: Clock | None = None) -> "State | PostgresState":
    """Return the state that *state* names: a file, or ``postgresql://user@host/database``. Raises `StateError`."""
    if not is_url(state):
        return State(state, clock)
    from pop3fast.fetch.memory._postgres import PostgresState  # noqa: PLC0415 - for who has a database

    return PostgresState(str(state))
