"""What is done side by side on an event loop of its own, and bounded as soon as somebody is in a hurry.

Owns the waiting of those destinations whose library speaks asyncio. Knows nothing of what is done.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")

IN_FLIGHT = 64
"""So much is done at once: at 50 ms an answer some 1,000 messages a second, and what one host takes without saying
SlowDown (S3 takes 3,500 writes a second for a prefix)."""

HURRY_SECONDS = 5.0
"""How long it may take when a person wants to stop: what is on its way then mostly arrives."""


class Together:
    """Does one batch of work after the other, for one thread."""

    def __init__(self) -> None:
        """Be in no hurry."""
        self._lock = Lock()
        self._in_a_hurry = False
        self._under_way: tuple[asyncio.AbstractEventLoop, asyncio.Timeout] | None = None

    def begin(self) -> None:
        """Be in no hurry any more."""
        with self._lock:
            self._in_a_hurry = False

    def hurry(self) -> None:
        """End what is under way in `HURRY_SECONDS`, and what begins later. May be called by another thread."""
        with self._lock:
            self._in_a_hurry = True
            if self._under_way is not None:
                loop, timeout = self._under_way
                loop.call_soon_threadsafe(_bound, loop, timeout)

    def run(self, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """Return what each of *work* does. Raises the first error of one, or ``TimeoutError`` when there was a hurry.

        Then the others are cancelled.
        """
        try:
            return asyncio.run(self._bounded(work))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            for each in work:
                # What had no turn would complain that nobody waited for it.
                each.close()

    async def _bounded(self, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        loop = asyncio.get_running_loop()
        turn = asyncio.Semaphore(IN_FLIGHT)

        async def one(each: Coroutine[Any, Any, T]) -> T:
            async with turn:
                return await each

        async with asyncio.timeout(None) as timeout, asyncio.TaskGroup() as group:
            with self._lock:
                self._under_way = (loop, timeout)
                if self._in_a_hurry:
                    _bound(loop, timeout)
            try:
                tasks = [group.create_task(one(each)) for each in work]
                await asyncio.gather(*tasks)
            finally:
                with self._lock:
                    self._under_way = None
        return [task.result() for task in tasks]


def _bound(loop: asyncio.AbstractEventLoop, timeout: asyncio.Timeout) -> None:
    timeout.reschedule(loop.time() + HURRY_SECONDS)
