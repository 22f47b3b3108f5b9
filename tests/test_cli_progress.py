"""Progress as a terminal shows it: how often, how fast, how long, how wide; and that it costs the wire nothing."""

import errno
import io
import os
import re

import pytest

from pop3fast.cli._progress import REDRAW_SECONDS, Count, Lasting, Lines, Rate, describe, doing_in_words, on_terminal
from pop3fast.cli._screen import fitted, width_of
from pop3fast.fetch import Named, Progress
from screens import Screen

ADA = "ada@example.org on mail.example.org:995"


class Terminal(io.StringIO):
    """A terminal of a width that may change, and what it shows."""

    encoding = "utf-8"

    def __init__(self, columns: int = 80, lines: int = 24, encoding: str = "utf-8") -> None:
        super().__init__()
        self.screen = Screen(columns)
        self.lines = lines
        self.encoding = encoding

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 99

    def write(self, text: str) -> int:
        self.screen.feed(text)
        return super().write(text)

    def resize(self, columns: int) -> None:
        self.screen.resize(columns)


@pytest.fixture
def terminals(monkeypatch: pytest.MonkeyPatch) -> list[Terminal]:
    """Return a list; of the terminal that is last in it the system knows the size."""
    there: list[Terminal] = []
    monkeypatch.setattr(
        os, "get_terminal_size", lambda _: os.terminal_size((there[-1].screen.columns, there[-1].lines))
    )
    return there


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at(messages: int, octets: int, in_all: int = 1000) -> Progress:
    return Progress(messages, in_all, octets, in_all * 1000, 1.0, Named(messages, b"x", 1000))


HALF = Count(412, 10_000, 12_300_000, 40_100_000)
WAITING = Progress(0, 0, 0, 0, 0.0, None, "waiting", "in use", 0.0)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (
            200,
            "[#########---------------------]   412 of 10,000 messages   12.3 MB of 40.1 MB   4.1 MB/s   0:06 left",
        ),
        (80, "412 of 10,000 messages   12.3 MB of 40.1 MB   4.1 MB/s   0:06 left"),
        (60, "412 of 10,000   12.3 MB of 40.1 MB   4.1 MB/s   0:06 left"),
        (40, "412 of 10,000   4.1 MB/s   0:06 left"),
        (26, "412 of 10,000   0:06 left"),
        (20, "412 of 10,000"),
        (5, "412 of 10,000"),
    ],
)
def test_the_line_says_what_there_is_room_for(columns: int, text: str) -> None:
    assert describe(HALF, 4_100_000, columns) == text


def test_what_is_not_known_yet_is_not_said() -> None:
    assert describe(Count(0, 1, 0, 5), 0.0, 60) == "0 of 1 messages   0 octets of 5 octets   0 octets/s"
    assert describe(Count(0, 1, 9, 5), 0.0, 200).startswith(f"[{'#' * 30}]")
    assert describe(Count(0, 0, 0, 0), 0.0, 200).startswith(f"[{'-' * 30}]")


def test_it_is_drawn_ten_times_a_second_whatever_comes(terminals: list[Terminal]) -> None:
    now, stream = Time(), Terminal()
    terminals.append(stream)
    lines = Lines(stream, now=now)
    for number in range(1000):
        lines.show("a", at(number, number * 1000))
        now.now += REDRAW_SECONDS / 100
    lines.close()
    assert 9 <= stream.getvalue().count("\r") - 1 <= 12
    assert stream.screen.text == ""


def test_what_begins_is_shown_at_once_and_what_is_waited_for(terminals: list[Terminal]) -> None:
    now, stream = Time(), Terminal()
    terminals.append(stream)
    lines = Lines(stream, now=now)
    begun = Progress(0, 0, 0, 0, 0.0, None)
    # No time has passed: what begins does not wait for its turn.
    for doing in ("connecting", "logging in", "listing"):
        lines.show("ada on mail\x1b[2J", begun._replace(doing=doing))
        assert stream.screen.text == rf"ada on mail\x1b[2J: {doing}"
    lines.show("ada on mail", begun._replace(doing="waiting", why="in\x1buse", until=0.0))
    assert re.fullmatch(r"ada on mail: waiting until \d\d:\d\d:\d\d: in\\x1buse", stream.screen.text.splitlines()[-1])
    lines.close()
    assert stream.screen.text == ""


def test_listing_says_how_many_so_far() -> None:
    listing = Progress(0, 0, 0, 0, 0.0, None, "listing")
    assert doing_in_words(listing) == "listing"
    assert doing_in_words(listing._replace(listed=12_345)) == "listing (12,345 so far)"


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("accounts", [1, 3])
def test_every_line_fits_the_terminal(columns: int, accounts: int, terminals: list[Terminal]) -> None:
    now, stream = Time(), Terminal(columns)
    terminals.append(stream)
    lines = Lines(stream, accounts, now)
    for step in (WAITING._replace(doing="connecting"), WAITING._replace(why="x" * 300), at(5, 5000)):
        for account in (ADA, "bob on 郵便.example.org")[:accounts]:
            now.now += 1
            lines.show(account, step)
            assert not any(stream.screen._wrapped)
            assert max(map(width_of, stream.screen.rows)) < columns
    lines.close()
    assert stream.screen.text == ""


def test_several_have_a_line_each_as_long_as_they_run_and_one_for_all(terminals: list[Terminal]) -> None:
    now, stream = Time(), Terminal(84)
    terminals.append(stream)
    lines = Lines(stream, 30, now)
    for account, progress in (("ada on mail", at(5, 5000)), ("bob on mail", WAITING), ("cyd on mail", at(7, 7000))):
        now.now += 1
        lines.show(account, progress)
    assert [row.partition("   ")[0] for row in stream.screen.text.splitlines()] == [
        "ada on mail: 5 of 1,000 messages",
        f"bob on mail: {doing_in_words(WAITING)}",
        "cyd on mail: 7 of 1,000 messages",
        "0 of 30 accounts: 12 of 2,000 messages",
    ]
    lines.end("ada on mail")
    assert [row.partition(":")[0] for row in stream.screen.text.splitlines()] == [
        "bob on mail",
        "cyd on mail",
        "1 of 30 accounts",
    ]
    # What has ended counts.
    assert "12 of 2,000 messages" in stream.screen.text
    for account in ("bob on mail", "cyd on mail"):
        lines.end(account)
    assert stream.screen.text.startswith("3 of 30 accounts: 12 of 2,000 messages")
    lines.close()
    assert stream.screen.text == ""


def test_no_more_lines_than_the_window_has(terminals: list[Terminal]) -> None:
    now, stream = Time(), Terminal(80, 10)
    terminals.append(stream)
    lines = Lines(stream, 50, now)
    for number in range(50):
        now.now += 1
        lines.show(f"user{number} on mail", at(1, 1000))
    rows = stream.screen.text.splitlines()
    assert len(rows) == 9
    assert rows[-2] == "and 43 more"


@pytest.mark.parametrize(("before", "behind"), [(200, 40), (200, 23), (40, 200), (80, 79)])
@pytest.mark.parametrize("accounts", [1, 2])
def test_a_window_that_is_resized_keeps_nothing_of_the_lines(
    before: int, behind: int, accounts: int, terminals: list[Terminal]
) -> None:
    now, stream = Time(), Terminal(before)
    terminals.append(stream)
    stream.write("$ pop3fast fetch --all\n")
    lines = Lines(stream, accounts, now)
    for number in range(1, 7):
        now.now += 1
        for account in (ADA, "bob on mail.example.org")[:accounts]:
            lines.show(account, at(number, number * 1000))
        if number == 3:
            stream.resize(behind)
    assert stream.screen.lines()[0] == "$ pop3fast fetch --all"
    assert len(stream.screen.lines()) == 1 + accounts + (accounts > 1)
    lines.close()
    assert stream.screen.text == "$ pop3fast fetch --all"


def test_what_the_character_set_lacks_is_counted_as_it_is_written(terminals: list[Terminal]) -> None:
    now, stream = Time(), Terminal(40, encoding="iso-8859-1")
    terminals.append(stream)
    lines = Lines(stream, now=now)
    lines.show("bücher on 郵便.example.org", WAITING._replace(why="zu früh, 郵便"))
    assert stream.screen.text.startswith("bücher on")
    assert "郵" not in stream.screen.text
    assert not any(stream.screen._wrapped)


def test_an_ellipsis_says_that_there_is_more() -> None:
    assert fitted("x" * 30, 30) == "x" * 30
    assert fitted("x" * 31, 30) == "x" * 27 + "..."
    assert fitted("x" * 31, 10) == "x" * 10
    assert fitted("郵便" * 20, 30) == "郵便" * 6 + "郵..."
    assert width_of("e\N{COMBINING ACUTE ACCENT}") == 1


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


def test_where_there_is_no_terminal_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with on_terminal(io.StringIO()) as display:
        assert display is None
    for term in ("dumb", None):
        monkeypatch.setenv("TERM", term) if term else monkeypatch.delenv("TERM")
        with on_terminal(Terminal()) as display:
            assert display is None


def test_a_terminal_that_goes_away_ends_no_fetch(monkeypatch: pytest.MonkeyPatch, terminals: list[Terminal]) -> None:
    now, stream = Time(), Terminal()
    terminals.append(stream)
    display = Lasting(Lines(stream, now=now))
    display.show("a", at(1, 1))
    shown = len(stream.getvalue())
    assert shown
    monkeypatch.setattr(stream, "write", gone)
    for number in range(2, 4):
        now.now += 1
        display.show("a", at(number, 1000))
    monkeypatch.undo()
    display.show("a", at(5, 1000))
    display.end("a")
    display.close()
    assert len(stream.getvalue()) == shown


def test_a_terminal_that_has_gone_at_the_end_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with on_terminal(stream) as display:
        assert display is not None
        display.show("a", at(1, 1))
        monkeypatch.setattr(stream, "write", gone)


def gone(_: str) -> int:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_message_that_is_not_shown_costs_one_look_at_the_clock(terminals: list[Terminal]) -> None:
    looks = 0

    def now() -> float:
        nonlocal looks
        looks += 1
        return 100.0

    stream = Terminal()
    terminals.append(stream)
    lines = Lines(stream, now=now)
    for number in range(1, 1001):
        lines.show("a", at(number, number))
    assert stream.getvalue().count("\r") == 1
    assert looks <= 1000 + 3
