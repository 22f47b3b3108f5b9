"""Threads for what would hold up the event loop: looking a name up, a caller's own function, deriving a key.

Each call has a daemon thread of its own, not one of the loop's executor: that has few, and a program has to wait for
them at its end. A task that is cancelled leaves the thread behind, and nobody hears its answer.
"""

import asyncio
import inspect
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], *, unwanted: Callable[[T], object] | None = None) -> T:
    """Return the result of *work*, done in a thread. *unwanted* is called with it if nobody waits for it any more."""
    errand = _Errand(work, unwanted)
    try:
        Thread(target=errand.run, name="pop3fast-aio", daemon=True).start()
    except RuntimeError as error:
        raise OSError(f"no thread can be started: {error}") from error
    try:
        return await errand.answer
    except BaseException:
        errand.forget()
        raise


class _Errand(Generic[T]):
    """What a thread does, and who waits for it: what comes of it has one owner at any time."""

    def __init__(self, work: Callable[[], T], unwanted: Callable[[T], object] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[T] = self._loop.create_future()
        self._work = work
        self._unwanted = unwanted
        self._lock = Lock()
        self._forgotten = False
        self._given: list[T] = []

    def run(self) -> None:
        """Do the work, and tell."""
        try:
            value = self._work()
        except StopIteration as error:  # which no future can hold
            self._tell(self._fail, RuntimeError(f"{type(error).__name__} was raised"))
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            self._tell(self._fail, error)
        else:
            with self._lock:
                self._given.append(value)
                forgotten = self._forgotten
            if forgotten or not self._tell(self._give):
                self.forget()

    def forget(self) -> None:
        """Let go of what comes of it."""
        with self._lock:
            self._forgotten = True
            given, self._given = self._given, []
        for value in given:
            if self._unwanted is not None:
                self._unwanted(value)

    def _tell(self, function: Callable[..., object], *arguments: object) -> bool:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop was closed meanwhile
            return False
        return True

    def _give(self) -> None:
        if not self.answer.done():
            self.answer.set_result(self._given[0])

    def _fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # whoever was cancelled does not ask for it


async def asked(function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - it is the caller's own
    """Return what a caller's *function* gives, which may be a coroutine function; any other runs in a thread."""
    if inspect.iscoroutinefunction(function):
        return await function(*arguments)
    value = await in_thread(lambda: function(*arguments))
    return await value if inspect.isawaitable(value) else value


async def told(function: Callable[..., object], *arguments: object) -> None:
    """Call a caller's *function*, which may be a coroutine function; any other runs on the loop, and must not wait."""
    said = function(*arguments)
    if inspect.isawaitable(said):
        await said
