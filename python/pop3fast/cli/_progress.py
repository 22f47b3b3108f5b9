"""Progress: how far a fetch is, on a terminal and nowhere else.

Owns what is shown and how often. For a message that is not shown it costs a look at the clock, and it never holds up
the fetch. With the extra ``progress`` it is rich's bars, one a mailbox; without it one line for all.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Protocol, TextIO

from pop3fast.cli._text import printable, shown_size, shown_time
from pop3fast.fetch import Progress

REDRAW_SECONDS = 0.1
"""A person does not read faster, and a terminal at the end of a slow line gets some hundred octets each time."""

RATE_SECONDS = 10.0
"""The rate is that of the last so many seconds: long enough to be steady, short enough to be about now."""


class Display(Protocol):
    """Shows how far fetches are."""

    def show(self, account: str, progress: Progress) -> None:
        """Take note of how far the fetch of *account* is. May be called by several threads."""

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


class Line:
    """One line, drawn over itself."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        """Draw on *stream*, a terminal."""
        self._stream = stream
        self._lock = Lock()
        self._pace = Pace(now)
        self._rate = Rate(now)
        self._latest: dict[str, Progress] = {}

    def show(self, account: str, progress: Progress) -> None:
        """Draw the line anew, if it is time."""
        with self._lock:
            self._latest[account] = progress
            if self._pace.is_due() or progress.doing != "receiving":
                latest = self._latest.values()
                octets = sum(one.octets for one in latest)
                text = describe(
                    sum(one.messages for one in latest),
                    sum(one.messages_in_all for one in latest),
                    octets,
                    sum(one.octets_in_all for one in latest),
                    self._rate.add(octets),
                )
                if not any(one.messages_in_all for one in latest):
                    text = f"{printable(account)}: {doing_in_words(progress)}"
                elif progress.doing == "waiting":
                    text = f"{doing_in_words(progress)}   {text}"
                # One column stays free: in the last one some terminals begin another line.
                self._stream.write(f"\r{text[: _columns(self._stream) - 1]}\x1b[K")
                self._stream.flush()

    def close(self) -> None:
        """Take the line away."""
        with self._lock:
            if self._latest:
                self._stream.write("\r\x1b[K")
                self._stream.flush()


class Bars:
    """Rich's bars, one for each mailbox."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        """Draw on *stream*, a terminal. Raises ``ImportError`` where rich is not installed."""
        # Not at the top: it is an extra, and takes longer to import than all the rest.
        from rich import progress as rich  # noqa: PLC0415
        from rich.console import Console  # noqa: PLC0415

        self._lock = Lock()
        self._now = now
        self._paces: dict[str, Pace] = {}
        self._bars = rich.Progress(
            rich.TextColumn("{task.description}", markup=False),
            rich.BarColumn(),
            rich.TextColumn("{task.fields[messages]}", markup=False),
            rich.DownloadColumn(),
            rich.TransferSpeedColumn(),
            rich.TimeRemainingColumn(),
            console=Console(file=stream),
            # It is drawn when something came, and no thread of its own wakes up for it.
            auto_refresh=False,
            transient=True,
            speed_estimate_period=RATE_SECONDS,
        )
        self._tasks = {"": self._bars.add_task("", visible=False, messages="")}
        self._bars.start()

    def show(self, account: str, progress: Progress) -> None:
        """Draw the bars anew, if it is time."""
        with self._lock:
            if account not in self._tasks:
                self._tasks[account] = self._bars.add_task(printable(account), total=None, messages="")
                self._paces[account] = Pace(self._now)
            goes_on = progress.doing == "receiving" and progress.messages != progress.messages_in_all
            if self._paces[account].is_due() or not goes_on:
                count = f"{progress.messages:,} of {progress.messages_in_all:,} messages"
                self._bars.update(
                    self._tasks[account],
                    completed=progress.octets,
                    # As long as nothing is known of how much there is, the bar only moves.
                    total=progress.octets_in_all if progress.messages_in_all else None,
                    messages=count if progress.doing == "receiving" else doing_in_words(progress),
                    refresh=True,
                )

    def close(self) -> None:
        """Take the bars away."""
        with self._lock:
            self._bars.stop()


class Lasting:
    """Another display, as long as its terminal is there. One that has gone (``nohup``, a lost line) ends no fetch."""

    def __init__(self, display: Display) -> None:
        """Show what *display* shows."""
        self._display: Display | None = display

    def show(self, account: str, progress: Progress) -> None:
        """Show it where there is a terminal still."""
        display = self._display
        try:
            if display is not None:
                display.show(account, progress)
        except OSError:
            self._display = None

    def close(self) -> None:
        """Take away what is shown."""
        display, self._display = self._display, None
        if display is not None:
            with contextlib.suppress(OSError):
                display.close()


@contextlib.contextmanager
def on_terminal(stream: TextIO) -> Iterator[Display | None]:
    """Give what shows progress on *stream*; None when that is no terminal, or one that can only write on."""
    if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield None
        return
    display: Display
    try:
        display = Bars(stream)
    except ImportError:
        display = Line(stream)
    display = Lasting(display)
    try:
        yield display
    finally:
        display.close()


def describe(messages: int, messages_in_all: int, octets: int, octets_in_all: int, rate: float) -> str:
    """Return how far a fetch is, in words; *rate* is in octets a second."""
    parts = [
        f"{messages:,} of {messages_in_all:,} messages",
        f"{shown_size(octets)} of {shown_size(octets_in_all)}",
        f"{shown_size(int(rate))}/s",
    ]
    if rate > 0:
        parts.append(f"{shown_time((octets_in_all - octets) / rate)} left")
    return "   ".join(parts)


def doing_in_words(progress: Progress) -> str:
    """Return what a fetch does, for a person."""
    if progress.doing != "waiting":
        return progress.doing
    until = "" if progress.until is None else time.strftime(" until %H:%M:%S", time.localtime(progress.until))
    return f"waiting{until}: {printable(progress.why)}"


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80
