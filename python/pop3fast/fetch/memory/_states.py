"""Where a state is kept: in a file, or in PostgreSQL. Owns which of them a word of the user means."""

import os

from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.memory._postgres import PostgresState, is_url
from pop3fast.fetch.memory._state import State

__all__ = ["is_url", "open_state"]


def open_state(state: str | os.PathLike[str], clock: Clock | None = None) -> State | PostgresState:
    """Return the state that *state* names: a file, or ``postgresql://user@host/database``. Raises `StateError`."""
    return PostgresState(str(state)) if is_url(state) else State(state, clock)
