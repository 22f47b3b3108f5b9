"""Waiting for time to pass: the one module of fetching that does for the network's sake.

Owns the clock, and the word that ends a wait. Whoever wants to know the time, or to let some pass, is given a `Clock`,
so that a test of an hour's back-off takes no time at all.
"""

import contextlib
import socket
import time
from collections.abc import Iterator
from threading import Event
from typing import Protocol

STEP_SECONDS = 0.25
"""So often somebody who waits looks whether he is to stop: before a person who has pressed Ctrl-C wonders."""


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> float:
        """Return seconds that only ever grow, from no particular moment on."""
        ...

    def date(self) -> float:
        """Return the seconds since 1970."""
        ...

    def pause(self, seconds: float) -> None:
        """Return when so many *seconds* have passed; an interrupt ends it at once."""


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic()

    def date(self) -> float:
        """Return the seconds since 1970."""
        return time.time()

    def pause(self, seconds: float) -> None:
        """Return when so many *seconds* have passed."""
        time.sleep(seconds)


class Stop:
    """A word to fetches in other threads that they are to end, as an interrupt does in its own."""

    def __init__(self) -> None:
        """Nobody has said it yet."""
        self._said = Event()
        self._sockets: set[socket.socket] = set()

    def say(self) -> None:
        """End every wait of those who listen; they raise `KeyboardInterrupt`."""
        self._said.set()
        for sock in tuple(self._sockets):
            with contextlib.suppress(OSError):
                # The plain socket's: TLS's own would change an object that another thread is using.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def check(self) -> None:
        """Raise `KeyboardInterrupt` when it has been said."""
        if self._said.is_set():
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def ending(self, sock: socket.socket) -> Iterator[None]:
        """Let the word end every wait for *sock* in here."""
        self._sockets.add(sock)
        try:
            self.check()
            yield
        finally:
            self._sockets.discard(sock)

    def pause(self, clock: Clock, seconds: float) -> None:
        """Return when so many *seconds* have passed on *clock*."""
        while seconds > 0:
            self.check()
            step = min(seconds, STEP_SECONDS)
            clock.pause(step)
            seconds -= step
        self.check()
