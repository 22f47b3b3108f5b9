"""On which cores a client and its server run, where the system lets a process choose.

Owns that choice, and that it is taken back. What a short reply costs depends on it: on one core the two change places,
on two each wakes the other's. The kernel decides at the beginning of a session and hardly ever again: a core that has
nothing to do is looked at for some 200 microseconds before it halts (haltpoll, in a virtual machine), replies come
sooner than that, and only what has halted is left alone by the scheduler.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """A choice, in numbers of the cores that this process may use, counted from 0; None leaves it to the kernel."""

    client: int | None = None
    server: int | None = None

    def missing(self) -> str | None:
        """Return what stands in the way, as a sentence."""
        chosen = [core for core in (self.client, self.server) if core is not None]
        if chosen and not hasattr(os, "sched_setaffinity"):
            return "This system does not let a process choose its core."
        if chosen and len(os.sched_getaffinity(0)) <= max(chosen):
            return "There are not as many cores."
        return None


ANYWHERE = Cores()
ONE_CORE = Cores(0, 0)
TWO_CORES = Cores(0, 1)


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Let the block, and what it starts, run on one *core*; None changes nothing."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
