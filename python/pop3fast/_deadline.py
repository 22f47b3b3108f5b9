"""Deadline: the moment by which something has to be over, however busy the server keeps us.

A socket's time-out is for one wait. A server that sends an octet just before each time-out would hold a program for
ever. Owns that moment and the time-out of the waits before it. Must never wait itself.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic


class Deadline:
    """So many seconds from now for *what*; each wait inside `bound` ends with it."""

    def __init__(self, seconds: float, what: str) -> None:
        """Begin to count. *seconds* is more than 0, or it is a `ValueError`."""
        if not seconds > 0:
            raise ValueError(f"a deadline is more than 0 seconds: {seconds!r}")
        self._moment = monotonic() + seconds
        self._passed = f"the deadline of {seconds:g} seconds for {what} has passed"

    def left(self) -> float:
        """Return the seconds that are left; `TimeoutError` when there are none."""
        left = self._moment - monotonic()
        if left <= 0:
            raise TimeoutError(self._passed)
        return left

    def nearer(self, other: "Deadline | None") -> "Deadline":
        """Return the one of the two that comes first."""
        return self if other is None or self._moment <= other._moment else other

    def shorter(self, timeout: float | None) -> float:
        """Return *timeout*, or what is left when that is less."""
        left = self.left()
        return left if timeout is None else min(timeout, left)

    @contextmanager
    def bound(self, sock: socket.socket) -> Iterator[None]:
        """While the block runs, let nothing wait on *sock* beyond the deadline: a `TimeoutError` says that it passed.

        The time-out of *sock* is restored afterwards, and holds during the block when it is shorter.
        """
        own = sock.gettimeout()
        left = self.left()
        if own is not None and own <= left:
            yield
            return
        sock.settimeout(left)
        try:
            yield
        except TimeoutError:
            raise TimeoutError(self._passed) from None
        finally:
            with suppress(OSError):  # closed meanwhile
                sock.settimeout(own)
