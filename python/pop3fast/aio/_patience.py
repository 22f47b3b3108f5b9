"""Patience: how long a conversation waits for octets, on the clock of its event loop.

Owns the timers. What is to become of a connection whose time is over its owner says.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pop3fast._deadline import Deadline


class Patience:
    """A time-out for each wait, and the deadline of a session."""

    def __init__(
        self,
        timeout: float | None,
        deadline: Deadline | None,
        *,
        awaits_octets: Callable[[], bool],
        give_up: Callable[[BaseException], None],
    ) -> None:
        """Call *give_up* when octets are awaited for *timeout* seconds, or *deadline* is over."""
        self.timeout = timeout
        self._awaits_octets = awaits_octets
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._since = 0.0
        # One timer for many waits: it looks at the time, and is set anew where some is left.
        self._timer: asyncio.TimerHandle | None = None
        self._at_the_end: asyncio.TimerHandle | None = None
        if deadline is not None:
            self._at_the_end = self._loop.call_later(deadline.left(), self.expire, deadline)

    def something_happened(self) -> None:
        """Begin anew to wait: octets have come, or a command has been sent."""
        self._since = self._loop.time()

    def watch(self) -> None:
        """Mind the time, if octets are waited for."""
        if self.timeout is not None and self._timer is None and self._awaits_octets():
            self._since = self._loop.time()
            self._timer = self._loop.call_later(self.timeout, self._look)

    def expire(self, deadline: Deadline) -> None:
        """Give up because *deadline* has passed."""
        try:
            # The loop's clock is not quite the deadline's.
            self._at_the_end = self._loop.call_later(deadline.left(), self.expire, deadline)
        except TimeoutError as error:
            self._give_up(error)

    @contextmanager
    def within(self, deadline: Deadline | None) -> Iterator[None]:
        """Give up if what is waited for in here is not over by *deadline*."""
        if deadline is None:
            yield
            return
        timer = self._loop.call_later(deadline.left(), self.expire, deadline)
        try:
            yield
        finally:
            timer.cancel()

    def end(self) -> None:
        """Mind the time no more."""
        for timer in (self._timer, self._at_the_end):
            if timer is not None:
                timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self.timeout is None or not self._awaits_octets():
            return
        left = self._since + self.timeout - self._loop.time()
        if left <= 0:
            self._give_up(TimeoutError("timed out"))
        else:
            self._timer = self._loop.call_later(left, self._look)
