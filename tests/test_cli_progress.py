"""Progress without a terminal to look at: how often, how fast, how long; and that it costs the wire nothing."""

import io
import time

import pytest

from pop3fast._cli_progress import REDRAW_SECONDS, Bars, Line, Rate, describe, on_terminal
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


def test_a_hundred_thousand_messages_cost_no_time_to_speak_of() -> None:
    line = Line(Terminal())
    progress = at(1, 1)
    began = time.process_time()
    for _ in range(100_000):
        line.show("a", progress)
    # 2 microseconds each are usual; a message of 4 KB takes ten times that.
    assert time.process_time() - began < 2
