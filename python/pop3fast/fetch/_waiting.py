"""Waiting for time to pass: only this module waits for a server or another program.

Owns the clock, and the word that ends a wait. Everybody who asks for the time or waits is given a `Clock`, so that a
test of an hour's back-off takes no time.
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable, Collection, Iterator
from threading import Condition, Event
from typing import Protocol, TypeVar

from pop3fast._aside import Aside
from pop3fast._dial import STEP_SECONDS, dial
from pop3fast._route import Route
from pop3fast.fetch._forks import closed_in_children

T = TypeVar("T")


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


def readable(files: Collection[int], seconds: float) -> set[int]:
    """Return which of *files*, descriptors, can be read or have ended, after so many *seconds* at most.

    Without *files* there is nothing to wait for.
    """
    if not files:
        return set()
    news = select.poll()
    for file in files:
        news.register(file, select.POLLIN)
    return {file for file, _ in news.poll(seconds * 1000)}


class Stop:
    """Tells fetches in other threads to end, as an interrupt does in the main thread."""

    def __init__(self, *, aside: bool = False) -> None:
        """Nobody has said it yet. *aside* means that the listeners are threads of ours, which get no interrupt."""
        self._aside = aside
        self._said = Event()
        self._sockets: set[socket.socket] = set()
        self._others: set[Callable[[], object]] = set()

    def say(self) -> None:
        """End every wait of those who listen; they raise `KeyboardInterrupt`."""
        self._said.set()
        for tell in tuple(self._others):
            tell()
        for sock in tuple(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        """Raise `KeyboardInterrupt` when it has been said."""
        if self._said.is_set():
            raise KeyboardInterrupt

    @property
    def is_said(self) -> bool:
        """Whether it has been said."""
        return self._said.is_set()

    def outlast(self, call: Callable[[], T]) -> T:
        """Return what *call* returns, which may take any time; the word ends the wait.

        When the caller's own thread fetches, the call is made in it: an interrupt ends it there, and it may need what
        belongs to that thread.
        """
        if not self._aside:
            return call()
        answer = Aside(call, "pop3fast-secret")
        answer.start()
        while not answer.wait(STEP_SECONDS):
            self.check()
        return answer.result()

    @contextlib.contextmanager
    def telling(self, tell: Callable[[], object]) -> Iterator[None]:
        """While the block runs, the word calls *tell*, from another thread."""
        self._others.add(tell)
        try:
            yield
        finally:
            self._others.discard(tell)

    @contextlib.contextmanager
    def connecting(self, route: Route) -> Iterator[Callable[[tuple[str, int], float | None], socket.socket]]:
        """Give a function that connects by *route* as ``socket.create_connection`` does; the word ends all its waits.

        That is so while the block runs: for the connection itself, a TLS handshake, a login and all later replies.
        """
        mine: list[socket.socket] = []

        def connected(address: tuple[str, int], timeout: float | None) -> socket.socket:
            sock = dial(address, timeout, route=route, check=self.check)
            try:
                # TLS makes another socket object; this one stays, and belongs to the same connection.
                mine.append(sock.dup())
                self._sockets.add(mine[-1])
                self.check()  # nobody else checks from here on
            except BaseException:
                sock.close()
                raise
            return sock

        def let_go() -> None:
            for sock in mine:
                self._sockets.discard(sock)
                sock.close()

        with closed_in_children(let_go):
            try:
                yield connected
            finally:
                let_go()

    def wait_for(self, changed: Condition, come: Callable[[], bool]) -> None:
        """Return when *come* says so; *changed*, which the caller has, is notified when it may say something new."""
        while not come():
            self.check()
            changed.wait(STEP_SECONDS)

    def pause(self, clock: Clock, seconds: float) -> None:
        """Return when so many *seconds* have passed on *clock*."""
        while seconds > 0:
            self.check()
            step = min(seconds, STEP_SECONDS)
            clock.pause(step)
            seconds -= step
        self.check()


class StoppableClock:
    """Another clock, whose pauses the word to stop ends."""

    def __init__(self, clock: Clock, stop: Stop) -> None:
        """Be *clock* until *stop* is said; then a pause raises `KeyboardInterrupt`."""
        self._clock = clock
        self._stop = stop
        self.now = clock.now
        self.date = clock.date

    def pause(self, seconds: float) -> None:
        """Return when so many *seconds* have passed."""
        self._stop.pause(self._clock, seconds)
