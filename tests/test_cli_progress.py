"""Progress without a terminal to look at: how often, how fast, how long; and that it costs the wire nothing."""

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import TextIO

import pytest

from pop3fast.cli._progress import REDRAW_SECONDS, Bars, Lasting, Line, Rate, describe, on_terminal
from pop3fast.fetch import Named, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at(messages: int, octets: int, in_all: int = 1000) -> Progress:
    return Progress(messages, in_all, octets, in_all * 1000, 1.0, Named(messages, b"x", 1000))


def test_the_line_says_messages_octets_rate_and_time_left() -> None:
    assert describe(412, 10_000, 12_300_000, 40_100_000, 4_100_000) == (
        "412 of 10,000 messages   12.3 MB of 40.1 MB   4.1 MB/s   0:06 left"
    )
    assert describe(0, 1, 0, 5, 0.0) == "0 of 1 messages   0 octets of 5 octets   0 octets/s"


def test_the_line_is_drawn_ten_times_a_second_whatever_comes() -> None:
    now, stream = Time(), Terminal()
    line = Line(stream, now)
    for number in range(1000):
        line.show("a", at(number, number * 1000))
        now.now += REDRAW_SECONDS / 100
    line.close()
    assert 9 <= stream.getvalue().count("\r") - 1 <= 12
    assert stream.getvalue().endswith("\r\x1b[K")


def test_the_line_is_about_all_mailboxes_and_no_wider_than_the_terminal() -> None:
    now, stream = Time(), Terminal()
    line = Line(stream, now)
    line.show("a", at(5, 5000))
    now.now += 1
    line.show("b", at(7, 7000))
    shown = stream.getvalue().split("\r")[-1].removesuffix("\x1b[K")
    assert shown.startswith("12 of 2,000 messages   12 kB of 2 MB   12 kB/s   2:45 left"[:79])
    assert len(shown) < 80


@pytest.mark.parametrize("kind", [Line, Bars])
def test_what_begins_is_shown_at_once_and_what_is_waited_for(kind: Callable[[TextIO, Time], Line | Bars]) -> None:
    now, stream = Time(), Terminal()
    display = kind(stream, now)
    begun = Progress(0, 0, 0, 0, 0.0, None)
    for doing in ("connecting", "listing"):
        # No time has passed: what begins does not wait for its turn.
        display.show("ada on mail\x1b[2J", begun._replace(doing=doing))
        assert doing in stream.getvalue()
    display.show("ada on mail\x1b[2J", begun._replace(doing="waiting", why="in\x1buse", until=0.0))
    assert "waiting until " in stream.getvalue()
    assert r"in\x1buse" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()
    display.close()


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_the_line_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def size(_: int) -> os.terminal_size:
        return os.terminal_size((columns, 24))

    monkeypatch.setattr(os, "get_terminal_size", size)
    monkeypatch.setattr(Terminal, "fileno", lambda _: 2)
    now, stream = Time(), Terminal()
    line = Line(stream, now)
    line.show("ada on mail.example.org:995", Progress(0, 0, 0, 0, 0.0, None, "connecting"))
    line.show("ada on mail.example.org:995", at(5, 5000)._replace(doing="waiting", why="x" * 300, until=0.0))
    for drawn in stream.getvalue().split("\r")[1:]:
        assert len(drawn.removesuffix("\x1b[K")) <= columns - 1


def test_the_rate_is_that_of_the_last_seconds() -> None:
    now = Time()
    rate = Rate(now)
    for _ in range(100):
        now.now += 1
        fast = rate.add(int(now.now - 100) * 1000)
    assert fast == 1000
    for _ in range(12):
        now.now += 1
        slow = rate.add(100_000)
    assert slow == 0


def test_bars_are_one_a_mailbox_and_names_are_no_markup() -> None:
    now, stream = Time(), Terminal()
    bars = Bars(stream, now)
    bars.show("[red]ada[/red]\x1b[2J on mail", at(500, 500_000))
    bars.show("bob on mail", at(1000, 1_000_000))
    bars.close()
    shown = stream.getvalue()
    assert "[red]ada[/red]" in shown
    assert "\x1b[2J" not in shown
    assert "500 of 1,000 messages" in shown
    assert "bob on mail" in shown


def test_where_there_is_no_terminal_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with on_terminal(io.StringIO()) as display:
        assert display is None
    for term in ("dumb", None):
        monkeypatch.setenv("TERM", term) if term else monkeypatch.delenv("TERM")
        with on_terminal(Terminal()) as display:
            assert display is None


@pytest.mark.parametrize("kind", [Line, Bars])
def test_a_terminal_that_goes_away_ends_no_fetch(
    kind: Callable[[TextIO, Time], Line | Bars], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, stream = Time(), Terminal()
    display = Lasting(kind(stream, now))
    display.show("a", at(1, 1))
    shown = len(stream.getvalue())
    assert shown
    monkeypatch.setattr(stream, "write", gone)
    for number in range(2, 4):
        now.now += 1
        display.show("b", at(number, 1000))
    monkeypatch.undo()
    display.show("b", at(5, 1000))
    display.close()
    assert len(stream.getvalue()) == shown


@pytest.mark.parametrize("has_rich", [True, False])
def test_a_terminal_that_has_gone_at_the_end_is_no_error(has_rich: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - from the line above
    if not has_rich:
        monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with on_terminal(stream) as display:
        assert display is not None
        display.show("a", at(1, 1))
        monkeypatch.setattr(stream, "write", gone)


def gone(_: str) -> int:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_message_that_is_not_shown_costs_one_look_at_the_clock() -> None:
    looks = 0

    def now() -> float:
        nonlocal looks
        looks += 1
        return 100.0

    stream = Terminal()
    line = Line(stream, now)
    for number in range(1, 1001):
        line.show("a", at(number, number))
    assert stream.getvalue().count("\r") == 1
    assert looks <= 1000 + 2
