"""What stands in the place of the real world while a story is told: SQLite, far ends, and limits that can be reached.

Owns which names of the code are others meanwhile.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from importlib import import_module
from unittest import mock

from .database import Databases
from .far import far_ends
from .world import SEVERAL, World

RECEIVE_OCTETS = 8192
"""Making the buffer of the usual size takes longer than all that is read into it here."""

SMALL_LIMITS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("pop3fast._batch", "PIECE_OCTETS", (16, 100)),
    ("pop3fast.fetch._receipts", "BATCH_MESSAGES", (1, 2, 3)),
    ("pop3fast.fetch._receipts", "BATCH_OCTETS", (100, 600)),
    ("pop3fast.fetch.destinations._folder", "SMALL_OCTETS", (0, 100)),
    ("pop3fast.fetch.destinations._folder", "MAX_ROUND", (1, 2)),
    ("pop3fast.fetch.destinations._sync", "MAX_LARGE", (1, 2)),
    ("pop3fast.fetch.destinations._folder", "ROUND_OCTETS", (150, 500)),
    ("pop3fast.fetch.destinations._spool", "MEMORY_OCTETS", (0, 200)),
    ("pop3fast.fetch.destinations._spool", "PIECE_OCTETS", (50,)),
    ("pop3fast.fetch._doubt", "PROBES", (1, 3)),
    ("pop3fast.fetch.destinations._folder", "BLOCK_OCTETS", (1, 50)),
)
"""What is small enough in a mailbox of eight messages to be reached."""


@contextlib.contextmanager
def surroundings(world: World) -> Iterator[None]:
    """Put a simulated SQLite in the place of the real one, and small limits in the place of large ones."""
    databases = Databases(world)
    with contextlib.ExitStack() as stack:
        stack.callback(databases.close)
        stack.enter_context(mock.patch.object(sqlite3, "connect", databases.connect))
        stack.enter_context(mock.patch("pop3fast._stream.RECEIVE_SIZE", RECEIVE_OCTETS))
        stack.enter_context(far_ends(world))
        if SEVERAL in world.features:
            stack.enter_context(mock.patch("pop3fast.fetch._retrieval.PAYS_FROM_MESSAGES", 1))
            large = world.rng.choice((100, 2000))
            for module in ("_sharing", "_further", "_several"):
                stack.enter_context(mock.patch(f"pop3fast.fetch.{module}.LARGE_OCTETS", large))
        for module, name, values in SMALL_LIMITS:
            if world.chance("small limits", 0.5):
                stack.enter_context(mock.patch.object(import_module(module), name, world.rng.choice(values)))
        yield
