"""Patience: how long a conversation waits for octets, on the clock of its event loop.

Owns the timers. The owner of a connection decides what happens when its time is over.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from pop3fast._deadline import Deadline


class Alarm:
    """Rings when a deadline has passed, unless it is called off before."""

    def __init__(self, deadline: Deadline, ring: Callable[[BaseException], object]) -> None:
        """Call *ring* with what *deadline* says when it has passed; raise that when it has passed already."""
        self.is_off: bool = False
        """Whether it does not ring any more; may be set in any thread."""
        self._deadline = deadline
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(deadline.left(), self._look)

    def call_off(self) -> None:
        """Do not ring any more."""
        self.is_off = True
        self._timer.cancel()

    def _look(self) -> None:
        if self.is_off:
            return
        try:
            # The loop's clock is not quite the deadline's.
            self._timer = self._loop.call_later(self._deadline.left(), self._look)
        except TimeoutError as error:
            self._ring(error)


class Patience:
    """A time-out for each wait, and the deadline of a session."""

    def __init__(
        self,
        timeout: float | None,
        deadline: Deadline | None,
        *,
        awaits_octets: Callable[[], bool],
        give_up: Callable[[BaseException], object],
    ) -> None:
        """Call *give_up* when octets are awaited for *timeout* seconds, or *deadline* is over."""
        self.timeout = timeout
        self._awaits_octets = awaits_octets
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._since = 0.0
        # One timer for many waits: it looks at the time, and is set anew where some is left.
        self._timer: asyncio.TimerHandle | None = None
        self._at_the_end = self.alarm(deadline)

    @property
    def watches(self) -> bool:
        """Whether the time is minded already."""
        return self._timer is not None

    def something_happened(self) -> None:
        """Begin to wait anew: octets have come, or a command has been sent."""
        self._since = self._loop.time()

    def watch(self) -> None:
        """Mind the time, if octets are waited for."""
        if self.timeout is not None and not self.watches and self._awaits_octets():
            self._since = self._loop.time()
            self._timer = self._loop.call_later(self.timeout, self._look)

    def watch_anew(self) -> None:
        """Begin to wait for octets, and mind the time."""
        self._since = self._loop.time()
        if self._timer is None and self.timeout is not None:
            self._timer = self._loop.call_later(self.timeout, self._look)

    def alarm(self, deadline: Deadline | None) -> Alarm | None:
        """Give up when *deadline*, if there is one, has passed, unless what is returned is called off before."""
        return None if deadline is None else Alarm(deadline, self._give_up)

    @contextmanager
    def within(self, deadline: Deadline) -> Iterator[None]:
        """Give up if the block is not over by *deadline*."""
        alarm = Alarm(deadline, self._give_up)
        try:
            yield
        finally:
            alarm.call_off()

    def end(self) -> None:
        """Stop the timers, and forget whom to tell."""
        if self._timer is not None:
            self._timer.cancel()
        if self._at_the_end is not None:
            self._at_the_end.call_off()
        self._at_the_end = None
        self._awaits_octets = bool
        self._give_up = id

    def _look(self) -> None:
        self._timer = None
        if self.timeout is None or not self._awaits_octets():
            return
        left = self._since + self.timeout - self._loop.time()
        if left <= 0:
            self._give_up(TimeoutError("timed out"))
        else:
            self._timer = self._loop.call_later(left, self._look)


class bounded:  # noqa: N801 - it reads as a phrase
    """``asyncio.timeout`` for the shorter of a time-out and a deadline, each with its own words."""

    def __init__(self, timeout: float | None, deadline: Deadline | None) -> None:
        self._deadline = deadline
        self._timeout = asyncio.timeout(timeout if deadline is None else deadline.shorter(timeout))

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            if self._deadline is not None:
                self._deadline.left()
            raise TimeoutError("timed out") from None
