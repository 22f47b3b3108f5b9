"""Answer: what a task waits for, whichever reply that is; the task goes on as soon as the reply is there.

A task that waits for one of asyncio's own futures goes on in the next round of the event loop, and a round costs as
much as receiving a short message. A subclass of theirs that wakes the task at once loses most of that on the way from C
to Python and back (2.5 of 42 microseconds a command). So this is a future only in that a task can wait for it. Owns
when the task goes on at once: when no other one is running. Must never be resolved at once in the middle of anything,
for the task may give the next command before the call returns.
"""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class Answer(Generic[T]):
    """A value, or an error, that is not there yet. It is resolved once."""

    # The class has the initial values: every command has an answer of its own, and setting them would cost each one.
    _asyncio_future_blocking: bool = False
    _is_done: bool = False
    _error: BaseException | None = None
    _told: tuple[tuple[Callable[[Any], object], Context], ...] = ()
    _value: T

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be without a result yet, on *loop*."""
        self._loop = loop

    # What asyncio's tasks ask.

    def __await__(self) -> Generator[Self, None, T]:
        """Return the result, or raise the error, when there is one."""
        try:
            if not self._is_done:
                self._asyncio_future_blocking = True
                yield self
            return self._value if self._error is None else self.result()
        finally:
            # An error refers to the frames that it came through, so these must not refer to it.
            del self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop whose tasks may wait."""
        return self._loop

    def add_done_callback(self, fn: Callable[[Self], object], /, *, context: Context | None = None) -> None:
        """Call *fn* when there is a result, as a task that waits for it asks."""
        # Compared with None, because a context in which nothing was set yet is false.
        self._told += ((fn, copy_context() if context is None else context),)
        if self._is_done:
            self._tell()

    def result(self) -> T:
        """Return the result, or raise the error; there must be one."""
        error = self._error
        if error is None:
            return self._value
        try:
            raise error
        finally:
            del error, self

    def cancel(self, msg: object = None) -> bool:
        """Let whoever waits be cancelled in the event loop's next round; return False when it is too late for that."""
        if self._is_done:
            return False
        self.set_exception(asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg))
        return True

    # What its owner asks and says.

    def done(self) -> bool:
        """Return whether there is a result or an error; that it was cancelled is an error, too."""
        return self._is_done

    def exception(self) -> BaseException | None:
        """Return the error, if there is one."""
        return self._error

    def set_result(self, result: T, /) -> None:
        """Have *result*, and let whoever waits go on in the event loop's next round."""
        self._is_done = True
        self._value = result
        self._tell()

    def set_exception(self, exception: BaseException, /) -> None:
        """Have *exception*, and let whoever waits go on in the event loop's next round."""
        self._is_done = True
        self._error = exception
        self._tell()

    def give(self, result: T) -> None:
        """Have *result*, unless it was cancelled, and let the task that waits for it go on before this returns."""
        if self._is_done:
            return
        # The loop tells several in their order. While a task runs, no other may go on before it returns.
        if len(self._told) != 1 or asyncio.current_task(self._loop) is not None:
            self.set_result(result)
            return
        ((told, context),) = self._told
        self._told = ()
        self._is_done = True
        self._value = result
        context.run(told, self)

    def _tell(self) -> None:
        everybody, self._told = self._told, ()
        for told, context in everybody:
            self._loop.call_soon(told, self, context=context)
