"""Arrivals: what has come for one loop, and who waits for it.

Owns that wait. The pipeline decides what comes, and the loop what becomes of it.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from pop3fast._batch import Batch
from pop3fast.aio._answer import Answer

T = TypeVar("T")


class Arrivals(Generic[T]):
    """What comes of one batch, as the conversation sees it."""

    def __init__(self, batch: Batch[T]) -> None:
        """Let nobody wait yet for what comes of *batch*."""
        self.batch = batch
        self._arrival: Answer[None] | None = None

    @property
    def waits(self) -> bool:
        """Whether somebody waits, and nothing is there yet that would end the wait."""
        arrival = self._arrival
        return arrival is not None and not arrival.done() and not self._has_news

    @property
    def _has_news(self) -> bool:
        return bool(self.batch.arrived or self.batch.ended or self.batch.failure)

    def wake(self, *, at_once: bool = False) -> bool:
        """Let whoever waits go on, if there is a reason to; return whether somebody does.

        With *at_once* the task goes on before this returns, so nobody may be in the middle of anything.
        """
        arrival = self._arrival
        if arrival is None or arrival.done() or not self._has_news:
            return False
        if at_once:
            arrival.give(None)
        else:
            arrival.set_result(None)
        return True

    def leave(self) -> None:
        """Throw away what has come and what is to come, and let whoever waits for it go on."""
        self.batch.abandoned = True
        self.batch.arrived.clear()
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def wait(self, move: Callable[[], None]) -> None:
        """Return when something has arrived, or nothing more will; *move* sees to what has come already."""
        arrival = self._arrival = Answer(asyncio.get_running_loop())
        # What has come already needs no round of the event loop.
        move()
        if not arrival.done():
            await arrival
