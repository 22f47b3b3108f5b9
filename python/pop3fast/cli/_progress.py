"""Progress: how far fetches are, on a terminal and nowhere else.

Owns what is shown and how often: a line for each mailbox that is being fetched, and one for all of them together where
there are several. A message that is not shown costs a look at the clock, and nothing here holds up the fetch.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import Lock
from typing import NamedTuple, Protocol, TextIO

from pop3fast.cli._screen import Screen, fitted, width_of
from pop3fast.cli._text import printable, shown_size, shown_time
from pop3fast.fetch import Progress

REDRAW_SECONDS = 0.1
"""A person does not read faster, and a terminal at the end of a slow line gets some hundred octets each time."""

RATE_SECONDS = 10.0
"""The rate is that of the last so many seconds: long enough to be steady, short enough to be about now."""


LINES_LEFT = 2
"""So many of a window's lines are for the sum, and for what stood there before."""

NAME_COLUMNS = 12
"""At least so much of a mailbox's name is shown."""

BAR_COLUMNS, LEAST_BAR_COLUMNS = 30, 10
"""A longer bar says no more, and a shorter one nothing."""


class Count(NamedTuple):
    """How much has come, and how much there will have been."""

    messages: int
    messages_in_all: int
    octets: int
    octets_in_all: int


class Display(Protocol):
    """Shows how far fetches are."""

    def show(self, account: str, progress: Progress) -> None:
        """Take note of how far the fetch of *account* is. May be called by several threads."""

    def end(self, account: str) -> None:
        """Take note that the fetch of *account* has ended."""

    def close(self) -> None:
        """Take away what is shown."""


class Pace:
    """When it is time to show something again."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Show the first at once."""
        self._now = now
        self._next = float("-inf")

    def is_due(self) -> bool:
        """Return whether it is time, and begin to wait for the next."""
        now = self._now()
        if now < self._next:
            return False
        self._next = now + REDRAW_SECONDS
        return True


class Rate:
    """Octets a second, of late."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Begin with nothing."""
        self._now = now
        self._samples: deque[tuple[float, int]] = deque([(now(), 0)])

    def add(self, octets: int) -> float:
        """Take note that so many *octets* came in all; return the rate."""
        now = self._now()
        samples = self._samples
        samples.append((now, octets))
        while len(samples) > 2 and now - samples[0][0] > RATE_SECONDS:  # noqa: PLR2004 - the last and one to compare
            samples.popleft()
        began, before = samples[0]
        return (octets - before) / (now - began) if now > began else 0.0


class Lines:
    """A line for each mailbox that is being fetched; for several, one more for all."""

    def __init__(self, stream: TextIO, accounts: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        """Draw on *stream*, a terminal, of so many *accounts*."""
        self._screen = Screen(stream)
        self._accounts = accounts
        self._lock = Lock()
        self._now = now
        self._pace = Pace(now)
        self._rate = Rate(now)
        self._rates: dict[str, Rate] = {}
        self._latest: dict[str, Progress] = {}
        self._ended: set[str] = set()

    def show(self, account: str, progress: Progress) -> None:
        """Draw the lines anew, if it is time."""
        with self._lock:
            before = self._latest.get(account)
            self._latest[account] = progress
            self._ended.discard(account)
            # What begins is shown at once.
            begins = progress.doing != "receiving" and (before is None or before.doing != progress.doing)
            if self._pace.is_due() or begins:
                self._draw()

    def end(self, account: str) -> None:
        """Show nothing of *account* any more but in the sum."""
        with self._lock:
            self._ended.add(account)
            if self._latest:
                self._draw()

    def close(self) -> None:
        """Take the lines away."""
        with self._lock:
            self._screen.clear()

    def _draw(self) -> None:
        columns, rows = self._screen.size
        running = [account for account in self._latest if account not in self._ended]
        if self._accounts == 1:
            self._screen.draw([self._line(account, columns) for account in running])
            return
        most = max(1, rows - LINES_LEFT)
        lines = [self._line(account, columns, named=True) for account in running[:most]]
        if len(running) > most:
            lines[-1] = f"and {len(running) - most + 1:,} more"
        self._screen.draw([*lines, self._sum(columns)])

    def _line(self, account: str, columns: int, *, named: bool = False) -> str:
        progress = self._latest[account]
        rate = self._rates.setdefault(account, Rate(self._now)).add(progress.octets)
        name = printable(account)
        if progress.doing != "receiving":
            doing = doing_in_words(progress)
            # Some words of why there is a wait are worth more than the whole name.
            return f"{fitted(name, max(columns // 3, NAME_COLUMNS))}: {doing}"
        count = Count(progress.messages, progress.messages_in_all, progress.octets, progress.octets_in_all)
        begin = f"{fitted(name, max(columns // 3, NAME_COLUMNS))}: " if named else ""
        return begin + describe(count, rate, columns - 1 - width_of(begin), bar=not named)

    def _sum(self, columns: int) -> str:
        latest = self._latest.values()
        count = Count(
            sum(one.messages for one in latest),
            sum(one.messages_in_all for one in latest),
            sum(one.octets for one in latest),
            sum(one.octets_in_all for one in latest),
        )
        begin = f"{len(self._ended):,} of {self._accounts:,} accounts: "
        return begin + describe(count, self._rate.add(count.octets), columns - 1 - len(begin))


class Lasting:
    """Another display, as long as its terminal is there. One that has gone (``nohup``, a lost line) ends no fetch."""

    def __init__(self, display: Display) -> None:
        """Show what *display* shows."""
        self._display: Display | None = display

    def show(self, account: str, progress: Progress) -> None:
        """Show it where there is a terminal still."""
        self._try(lambda display: display.show(account, progress))

    def end(self, account: str) -> None:
        """Take note that the fetch of *account* has ended."""
        self._try(lambda display: display.end(account))

    def close(self) -> None:
        """Take away what is shown."""
        display, self._display = self._display, None
        if display is not None:
            with contextlib.suppress(OSError):
                display.close()

    def _try(self, show: Callable[[Display], None]) -> None:
        display = self._display
        try:
            if display is not None:
                show(display)
        except OSError:
            self._display = None


@contextlib.contextmanager
def on_terminal(stream: TextIO, accounts: int = 1) -> Iterator[Display | None]:
    """Give what shows progress on *stream*; None when that is no terminal, or one whose cursor cannot move up."""
    if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield None
        return
    display = Lasting(Lines(stream, accounts))
    try:
        yield display
    finally:
        display.close()


def describe(count: Count, rate: float, columns: int, *, bar: bool = True) -> str:
    """Return how far a fetch is, in as many words as *columns* have room for; *rate* is in octets a second.

    A *bar* is before them where there is room for one.
    """
    messages = f"{count.messages:,} of {count.messages_in_all:,}"
    octets = f"{shown_size(count.octets)} of {shown_size(count.octets_in_all)}"
    speed = f"{shown_size(int(rate))}/s"
    left = [f"{shown_time((count.octets_in_all - count.octets) / rate)} left"] if rate > 0 else []
    for parts in (
        [f"{messages} messages", octets, speed, *left],
        [messages, octets, speed, *left],
        [messages, speed, *left],
        [messages, *left],
    ):
        text = "   ".join(parts)
        if len(text) <= columns:
            room = min(BAR_COLUMNS, columns - len(text) - len("[]   "))
            return f"{_bar(count, room)}   {text}" if bar and room >= LEAST_BAR_COLUMNS else text
    return messages


def doing_in_words(progress: Progress) -> str:
    """Return what a fetch does, for a person."""
    if progress.doing == "listing" and progress.listed:
        return f"listing ({progress.listed:,} so far)"
    if progress.doing != "waiting":
        return progress.doing
    until = "" if progress.until is None else time.strftime(" until %H:%M:%S", time.localtime(progress.until))
    return f"waiting{until}: {printable(progress.why)}"


def _bar(count: Count, columns: int) -> str:
    done = columns * count.octets // max(1, count.octets_in_all)
    return f"[{'#' * min(done, columns):-<{columns}}]"
