"""Aside: what cannot be interrupted, in a thread of its own that can be left behind.

Nothing in Python can end a call that waits in the operating system, or in somebody else's function. So the call is made
in a daemon thread, and the caller may stop waiting at any time. The thread ends when the call does, keeps no program
from ending, and nobody hears its answer.
"""

from collections.abc import Callable
from threading import Event, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Aside(Generic[T]):
    """One call."""

    def __init__(self, call: Callable[[], T], name: str) -> None:
        """Make *call*, once it is started, in a thread of that *name*."""
        self._call = call
        self._done = Event()
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin. Raises ``RuntimeError`` when no thread can be started."""
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait at most so many *seconds*; return whether the call has returned. An interrupt ends the wait."""
        return self._done.wait(seconds)

    def result(self) -> T:
        """Return what the call returned, or raise what it raised, once `wait` has said so."""
        if self._failure is not None:
            raise self._failure
        return self._value

    def _work(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is waited for
            self._failure = error
        finally:
            self._done.set()
