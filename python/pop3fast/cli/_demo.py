"""The demo: one mailbox, retrieved with poplib and with pop3fast, every message checked, a table, and a fetch.

Owns what is retrieved, in which ways, what is timed, and how that is shown. A way of retrieving is an entry of `WAYS`;
the first is what the others are compared with. It never counts a message that it has not checked, and never times
the checking.
"""

import hashlib
import os
import poplib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, TextIO

import pop3fast
from pop3fast.cli._demo_fetch import fetch_and_check
from pop3fast.cli._demo_mail import mailbox
from pop3fast.testing import MailboxServer

# The ways take turns, so many messages at a time: what else the machine does meanwhile then hits all of them alike.
# Some 3 MB, so that what is retrieved and not yet checked never amounts to much.
_TURN_MESSAGES = 200

# The messages that failed are named one by one, up to here.
_NAMED_FAILURES = 10

# No reply takes seconds on loopback. This is so that a demo on a machine that has stopped working ends.
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Way:
    """A way to retrieve: how to connect, how to retrieve messages by number, and how to get a result's octets."""

    library: str
    call: str
    connect: Callable[..., poplib.POP3]
    retrieve: Callable[[Any, Sequence[int]], list[Any]]
    octets: Callable[[Any], bytes]


def _retr(pop: poplib.POP3, numbers: Sequence[int]) -> list[list[bytes]]:
    return [pop.retr(number)[1] for number in numbers]


def _retr_bytes(pop: pop3fast.POP3, numbers: Sequence[int]) -> list[bytes]:
    return [pop.retr_bytes(number) for number in numbers]


def _retr_many(pop: pop3fast.POP3, numbers: Sequence[int]) -> list[bytes]:
    return [message.content for message in pop.retr_many(numbers)]


def _joined(lines: list[bytes]) -> bytes:
    return b"\r\n".join([*lines, b""])


WAYS = (
    Way("poplib", "retr()", poplib.POP3, _retr, _joined),
    Way("pop3fast", "retr()", pop3fast.POP3, _retr, _joined),
    Way("pop3fast", "retr_bytes()", pop3fast.POP3, _retr_bytes, bytes),
    Way("pop3fast", "retr_many()", pop3fast.POP3, _retr_many, bytes),
)


@dataclass
class Tally:
    """What one way has come to."""

    way: Way
    seconds: float = 0.0
    octets: int = 0
    verified: int = 0
    different: list[int] = field(default_factory=list)


def run(messages: int, *, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Hold the demo with a mailbox of so many messages, and show the table on `out`.

    Returns the exit status: 0, or 1 when a message was not what the server had been given; `err` names it then.
    """
    out, err = out or sys.stdout, err or sys.stderr
    progress = Progress(err)
    progress.show(f"writing {messages:,} messages")
    mail = list(mailbox(messages))
    expected = fingerprints(mail)
    octets = sum(map(len, mail))
    progress.show("starting the server")
    with MailboxServer(mail, process=True) as server:
        del mail
        tallies = take_turns(WAYS, server, expected, progress)
        progress.clear()
        _show(tallies, octets, out, err)
        fetched = fetch_and_check(server, expected, out, err)
    if not fetched:
        print("pop3fast demo: what was fetched into the Maildir is not what was sent", file=err)
    return 1 if not fetched or any(tally.different for tally in tallies) else 0


def _show(tallies: Sequence[Tally], octets: int, out: TextIO, err: TextIO) -> None:
    messages = tallies[0].verified + len(tallies[0].different)
    print(
        f"\n{messages:,} messages, {octets / 1e6:,.1f} MB, from a server on loopback in a process of its own\n",
        file=out,
    )
    print(table(tallies, Style.of(out)), file=out)
    print("\nOnly the retrieving was timed. Every message was then compared, by SHA-256, with the original.", file=out)
    for tally in tallies:
        for number in tally.different[:_NAMED_FAILURES]:
            text = f"pop3fast demo: message {number} is not what was sent, by {tally.way.library} {tally.way.call}"
            print(text, file=err)
        if len(tally.different) > _NAMED_FAILURES:
            print(f"pop3fast demo: and {len(tally.different) - _NAMED_FAILURES:,} more", file=err)


def fingerprints(messages: Iterable[bytes]) -> list[bytes]:
    """Return the SHA-256 of each message."""
    return [hashlib.sha256(message).digest() for message in messages]


def take_turns(
    ways: Sequence[Way], server: MailboxServer, expected: Sequence[bytes], progress: "Progress"
) -> list[Tally]:
    """Retrieve the whole mailbox in each way, in turns, and check every message against its fingerprint."""
    tallies = [Tally(way) for way in ways]
    with ExitStack() as stack:
        sessions = []
        for way in ways:
            pop = stack.enter_context(closing(way.connect(server.host, server.port, timeout=_TIMEOUT_SECONDS)))
            pop.user(server.user)
            pop.pass_(server.password)
            sessions.append(pop)
        turns = list(zip(tallies, sessions, strict=True))
        for start in range(1, len(expected) + 1, _TURN_MESSAGES):
            progress.show(f"retrieving, {100 * (start - 1) // len(expected)} %")
            numbers = range(start, min(start + _TURN_MESSAGES, len(expected) + 1))
            for tally, pop in turns:
                _take_turn(tally, pop, numbers, expected)
            # Who goes first finds the mail cold in the processor's caches: each in its turn.
            turns.append(turns.pop(0))
        for pop in sessions:
            pop.quit()
    return tallies


def _take_turn(tally: Tally, pop: poplib.POP3, numbers: Sequence[int], expected: Sequence[bytes]) -> None:
    begin = time.perf_counter()
    results = tally.way.retrieve(pop, numbers)
    tally.seconds += time.perf_counter() - begin
    for number, result in zip(numbers, results, strict=True):
        octets = tally.way.octets(result)
        tally.octets += len(octets)
        if hashlib.sha256(octets).digest() == expected[number - 1]:
            tally.verified += 1
        else:
            tally.different.append(number)


class Progress:
    """One line on a terminal that says what is going on; elsewhere nothing."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`, if that is a terminal."""
        self._stream = stream if stream.isatty() else None

    def show(self, text: str) -> None:
        """Put `text` in place of what the line said."""
        if self._stream is not None:
            self._stream.write(f"\r\x1b[K{text} ...")
            self._stream.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._stream is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


@dataclass(frozen=True)
class Style:
    """How a table may look: with box lines on a terminal that has the letters, in colour where nobody objects."""

    boxed: bool
    coloured: bool

    @classmethod
    def of(cls, stream: TextIO) -> "Style":
        """Find out what suits `stream`. NO_COLOR (https://no-color.org) takes the colour away."""
        terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        encoding = (stream.encoding or "").lower().replace("-", "")
        return cls(boxed=terminal and encoding == "utf8", coloured=terminal and not os.environ.get("NO_COLOR"))

    def paint(self, text: str, code: str) -> str:
        """Give `text` the colour of an ANSI code, where there is colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured else text


def table(tallies: Sequence[Tally], style: Style) -> str:
    """Show what each way has come to, compared with the first."""
    rows = [("", "seconds", "messages/s", "MB/s", "speed", "verified")]
    for tally in tallies:
        messages = tally.verified + len(tally.different)
        rows.append(
            (
                f"{tally.way.library:<8}  {tally.way.call}",
                f"{tally.seconds:.3f}",
                f"{messages / tally.seconds:,.0f}",
                f"{tally.octets / 1e6 / tally.seconds:,.1f}",
                f"{tallies[0].seconds / tally.seconds:.1f} x",
                f"{tally.verified:,} of {messages:,}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for index, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        if index == 0:
            cells = [style.paint(cell, "2") for cell in cells]
        else:
            different = tallies[index - 1].different
            cells[4] = style.paint(cells[4], "1;32" if index > 1 else "1")
            cells[5] = style.paint(cells[5], "1;31" if different else "32")
        lines.append(cells)
    return _framed(lines, widths) if style.boxed else _ruled(lines, widths)


def _ruled(lines: list[list[str]], widths: list[int]) -> str:
    header, *rest = ("   ".join(cells) for cells in lines)
    return "\n".join((header, "-" * (sum(widths) + 3 * (len(widths) - 1)), *rest))


def _framed(lines: list[list[str]], widths: list[int]) -> str:
    top, middle, bottom = (
        left + cross.join("─" * (width + 2) for width in widths) + right for left, cross, right in ("┌┬┐", "├┼┤", "└┴┘")
    )
    header, *rest = (f"│ {' │ '.join(cells)} │" for cells in lines)
    return "\n".join((top, header, middle, *rest, bottom))
