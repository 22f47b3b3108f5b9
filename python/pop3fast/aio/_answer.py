"""Answer: the future of one reply, whose task goes on as soon as the reply is there.

A task that waits for one of asyncio's own futures goes on in the next round of the event loop, and a round costs as
much as receiving a short message. Owns when a task may go on at once: when no other one is running. Must never be
resolved at once in the middle of anything, for the task may give the next command before the call returns.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Self, TypeVar

T = TypeVar("T")


class Answer(asyncio.Future[T]):
    """What one task waits for."""

    __slots__ = ("_context", "_told")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be without a result yet, on *loop*."""
        super().__init__(loop=loop)
        self._told: Callable[..., object] | None = None
        self._context: Context | None = None

    def add_done_callback(self, fn: Callable[[Self], object], /, *, context: Context | None = None) -> None:
        """Call *fn* when there is a result, as a task that waits for it asks."""
        if self._told is None and context is not None and not self.done():
            self._told, self._context = fn, context
            return
        # Where there are several, they are told in their order, and so by the loop.
        self._leave_to_loop()
        super().add_done_callback(fn, context=context)

    def set_result(self, result: T, /) -> None:
        """Have *result*, and let who waits go on in the event loop's next round."""
        self._leave_to_loop()
        super().set_result(result)

    def set_exception(self, exception: type | BaseException, /) -> None:
        """Have *exception*, and let who waits go on in the event loop's next round."""
        self._leave_to_loop()
        super().set_exception(exception)

    def cancel(self, msg: object = None) -> bool:
        """Have nothing, and let who waits go on in the event loop's next round."""
        self._leave_to_loop()
        return super().cancel(msg)

    def give(self, result: T) -> None:
        """Have *result*, and let the task that waits for it go on before this returns."""
        told, context = self._told, self._context
        if told is None or context is None or asyncio.current_task(self.get_loop()) is not None:
            self.set_result(result)
            return
        self._told = None
        super().set_result(result)
        context.run(told, self)

    def _leave_to_loop(self) -> None:
        told, self._told = self._told, None
        if told is not None:
            super().add_done_callback(told, context=self._context)
