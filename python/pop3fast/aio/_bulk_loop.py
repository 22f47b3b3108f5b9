"""Loops over many messages on one event loop: each message at its turn.

Owns that a loop may be left at any point: what is still to come is thrown away, and the session stays in step. The
pipeline decides what is in flight.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from pop3fast._batch import Batch
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError
from pop3fast.aio._arrivals import Arrivals
from pop3fast.aio._conversation import Conversation
from pop3fast.aio._patience import Alarm
from pop3fast.aio._threads import told

T = TypeVar("T")

OnError = Callable[[CommandError], object]
"""Called with each refusal; it may be a coroutine function."""


class Loop(AsyncIterator[T]):
    """What `retr_many` and its kin give: each message at its turn."""

    def __init__(
        self,
        conversation: Conversation,
        begin: Callable[[], Awaitable[Batch[T]]],
        on_error: OnError | None,
        deadline: Deadline | None,
    ) -> None:
        """Give what comes of the batch that *begin* makes when the first message is asked for."""
        self._conversation = conversation
        self._begin = begin
        self._on_error = on_error
        self._deadline = deadline
        self._arrivals: Arrivals[T] | None = None
        # What has arrived and was not given out yet; None while a task waits for more.
        self._arrived: deque[T | CommandError] | None = None
        self._alarm: Alarm | None = None
        self._over = self._busy = False

    def __aiter__(self) -> "Loop[T]":
        """Return itself."""
        return self

    async def __anext__(self) -> T:
        """Return the next message; what it raises ends the loop. One task at a time may ask."""
        arrived = self._arrived
        # Nearly every message has come already, and needs nothing else.
        if arrived:
            outcome = arrived.popleft()
            if not isinstance(outcome, CommandError):
                return outcome
            arrived.appendleft(outcome)
        if self._over:
            raise StopAsyncIteration
        if self._busy:
            raise RuntimeError("another task waits for this loop's next message")
        self._busy, self._arrived = True, None
        try:
            arrivals = self._arrivals or await self._open()
            message = await self._next(arrivals)
        except BaseException:
            self._leave()
            raise
        finally:
            self._busy = False
        self._arrived = arrivals.batch.arrived
        return message

    async def aclose(self) -> None:
        """Leave the loop: what is still to come is thrown away, and a task that waits for it gets no more."""
        self._leave()

    def __del__(self) -> None:
        # Left by a break: nobody can ask for more. This may run in any thread, so it sets flags and calls nothing.
        if self._alarm is not None:
            self._alarm.is_off = True
        if self._arrivals is not None:
            self._arrivals.batch.abandoned = True

    async def _next(self, arrivals: Arrivals[T]) -> T:
        batch = arrivals.batch
        while not self._over:
            while batch.arrived:
                outcome = batch.arrived.popleft()
                if not isinstance(outcome, CommandError):
                    return outcome
                self._conversation.record(outcome.response)
                if self._on_error is None:
                    raise outcome
                await told(self._on_error, outcome)
            if batch.ended:
                raise StopAsyncIteration
            if batch.failure is not None:
                raise batch.failure
            self._conversation.check()
            await arrivals.wait(self._conversation.traffic.move)
        raise StopAsyncIteration

    async def _open(self) -> Arrivals[T]:
        conversation, deadline = self._conversation, self._deadline
        conversation.check()
        self._alarm = conversation.patience.alarm(deadline)
        batch = await self._begin()
        if self._over:
            raise StopAsyncIteration
        conversation.check()
        arrivals = self._arrivals = Arrivals(batch)
        conversation.traffic.open_loop(arrivals)
        return arrivals

    def _leave(self) -> None:
        self._over = True
        if self._alarm is not None:
            self._alarm.call_off()
        if self._arrivals is not None:
            self._arrivals.leave()
            self._conversation.traffic.close_loop(self._arrivals)
