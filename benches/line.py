"""``python -m benches.line [--quick] [--write]``: a mailbox over a line that has a delay and a rate, and may stall.

Owns the comparison of `retr_many()` and of a fetch with the floor that such a line allows: the round trips that cannot
be done without, the octets at the line's rate, and the stall. The server and the line have a process each. poplib's own
loop is beside them, for fewer messages, and scaled. No time makes it fail.
"""

import argparse
import poplib
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pop3fast
from benches.delay import delayed
from benches.mail import attachment
from benches.pages import put_between_marks, refuse_to_write_quickly
from pop3fast.fetch import Account, fetch_mailbox
from pop3fast.testing import MailboxServer

DOCS = Path(__file__).parent.parent / "docs" / "performance.md"
MARKS = (
    "<!-- line: what follows is written by `python -m benches.line --write` -->\n",
    "<!-- line: end -->\n",
)
GOAL = 0.9
ROUNDS = 2
MEGABIT = 125_000
"""In octets."""

FETCH_TURNS = 4.5
"""The round trips that a later fetch waits for: one each for the login, the listings, mail and QUIT, and half a one for
the greeting, because the near end of the line accepts at once."""

BEFORE = 100
"""One of so many messages is fetched by a first run, so that what the server can do is known as in every later one."""

BY_POPLIB = 10
"""So many messages are retrieved by poplib: one by one, a mailbox takes minutes."""


@dataclass(frozen=True)
class Line:
    """A line, and what is sent over it."""

    title: str
    round_trip: float
    rate: float
    messages: int
    octets: int
    stall: float = 0.0

    def floor(self, turns: float, octets: int) -> float:
        """Return the seconds below which no client can be."""
        return turns * self.round_trip + octets / self.rate + self.stall


LINES = (
    Line("40 ms, 20 Mbit/s, 2,000 x 4 KB", 0.04, 20 * MEGABIT, 2_000, 4_000),
    Line("the same with a stall of 2 s", 0.04, 20 * MEGABIT, 2_000, 4_000, 2.0),
    Line("40 ms, 20 Mbit/s, 2 x 5 MB", 0.04, 20 * MEGABIT, 2, 5_000_000),
    Line("150 ms, 100 Mbit/s, 10 x 5 MB", 0.15, 100 * MEGABIT, 10, 5_000_000),
    # Not the line bounds it, but how many commands may be in flight.
    Line("150 ms, 100 Mbit/s, 2,000 x 4 KB", 0.15, 100 * MEGABIT, 2_000, 4_000),
)


def main() -> None:
    """Measure, print, and write when asked to."""
    parser = argparse.ArgumentParser(prog="python -m benches.line")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--write", action="store_true", help="put the table between the two marks in the documentation")
    arguments = parser.parse_args()
    refuse_to_write_quickly(parser, arguments)
    rows = ["| line and mailbox | `retr_many()`, of the floor | fetch, of the floor | poplib |", "|---|---:|---:|---:|"]
    for line in LINES[:1] if arguments.quick else LINES:
        rows.append(_row(line, 1 if arguments.quick else ROUNDS))
        print(rows[-1], flush=True)
    text = "\n".join([*rows, ""])
    if arguments.write:
        put_between_marks(DOCS, text, MARKS)


def _row(line: Line, rounds: int) -> str:
    content = attachment(line.octets, 1)
    with ExitStack() as stack:
        server = stack.enter_context(MailboxServer([content] * line.messages, process=True))
        port = stack.enter_context(delayed(server.port, line.round_trip, line.rate, line.stall))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        octets = len(content) * line.messages
        bulk = min(_bulk(port, line.messages) for _ in range(rounds))
        fetch = min(_fetch(port, Path(folder) / str(number), line.messages) for number in range(rounds))
        plain = _poplib(port, min(BY_POPLIB, line.messages)) * line.messages / min(BY_POPLIB, line.messages)
    shares = (
        line.floor(1, octets) / bulk,
        line.floor(FETCH_TURNS, octets - len(content) * _before(line.messages)) / fetch,
    )
    told = [
        f"{share:.2f} ({seconds:.2f} s){'' if share >= GOAL else ', goal 0.9 not reached'}"
        for share, seconds in zip(shares, (bulk, fetch), strict=True)
    ]
    return f"| {line.title} | {told[0]} | {told[1]} | {plain:.1f} s |"


def _before(messages: int) -> int:
    return max(1, messages // BEFORE)


def _bulk(port: int, messages: int) -> float:
    with pop3fast.POP3("127.0.0.1", port) as pop:
        pop.user("user")
        pop.pass_("password")
        numbers = range(1, messages + 1)
        pop.capabilities()
        begin = time.perf_counter()
        if sum(1 for _ in pop.retr_many(numbers)) != messages:
            raise SystemExit("not all messages have come")
        return time.perf_counter() - begin


def _fetch(port: int, box: Path, messages: int) -> float:
    account = Account(f"pop3+plain://user@127.0.0.1:{port}", password="password")
    before = _before(messages)
    fetch_mailbox(account, box, limit=before).raise_for_error()
    begin = time.perf_counter()
    report = fetch_mailbox(account, box)
    seconds = time.perf_counter() - begin
    report.raise_for_error()
    if report.fetched != messages - before:
        raise SystemExit("not all messages were fetched")
    return seconds


def _poplib(port: int, messages: int) -> float:
    pop = poplib.POP3("127.0.0.1", port)
    pop.user("user")
    pop.pass_("password")
    begin = time.perf_counter()
    for number in range(1, messages + 1):
        pop.retr(number)
    seconds = time.perf_counter() - begin
    pop.quit()
    return seconds


if __name__ == "__main__":
    main()
