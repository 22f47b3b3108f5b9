"""``python -m benches.message_sizes [--write]``: a mailbox by the size of its messages, over loopback.

Owns the comparison of poplib's loop with `retr_many()`, as a table and as the plot that is drawn from it. With
`--write` they go to docs/message-sizes.csv and docs/message-sizes.svg. The server has a process of its own; rounds take
turns, and the best of each counts, for it is a processor that is waited for here.
"""

import argparse
import csv
import poplib
from pathlib import Path

import pop3fast
from benches.mail import attachment
from benches.plot import Line, plot
from benches.round_trips import OURS, POPLIB, by_loop, by_poplib, seconds
from pop3fast.testing import MailboxServer

DOCS = Path(__file__).parent.parent / "docs"
SIZES = (1_000, 4_000, 20_000, 100_000, 500_000, 5_000_000)
OCTETS = 20_000_000
"""How large a mailbox is, unless that were more messages than this."""
MOST_MESSAGES = 1_000
ROUNDS = 3


def measured() -> list[tuple[int, float, float]]:
    """Return, for each size in octets, the megabytes a second of poplib and of ours."""
    rows = []
    for size in SIZES:
        messages = min(MOST_MESSAGES, OCTETS // size)
        plain: list[float] = []
        ours: list[float] = []
        with MailboxServer([attachment(size, 1)] * messages, process=True) as server:
            for _ in range(ROUNDS):
                plain.append(seconds(poplib.POP3, by_poplib, server, messages))
                ours.append(seconds(pop3fast.POP3, by_loop, server, messages))
        megabytes = messages * size / 1e6
        rows.append((size, round(megabytes / min(plain), 1), round(megabytes / min(ours), 1)))
        print(f"{size:9,} octets  {rows[-1][1]:8,.1f} MB/s  {rows[-1][2]:8,.1f} MB/s", flush=True)
    return rows


def drawn(table: str) -> str:
    """Return the plot of a table, as SVG."""
    _, *rows = list(csv.reader(table.splitlines()))
    return plot(
        "A mailbox over loopback, whole session",
        "size of a message, bytes",
        "megabytes a second",
        [
            Line(OURS, "#1a7f37", [(float(size), float(ours)) for size, _, ours in rows]),
            Line(POPLIB, "#8250df", [(float(size), float(plain)) for size, plain, _ in rows]),
        ],
    )


def main() -> None:
    """Measure, and write what was measured when asked to."""
    parser = argparse.ArgumentParser(prog="python -m benches.message_sizes")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = measured()
    if arguments.write:
        heading = f"size in bytes,{POPLIB.replace(',', '')}: MB/s,{OURS.replace(',', '')}: MB/s"
        table = "\n".join([heading, *(",".join(map(str, row)) for row in rows), ""])
        (DOCS / "message-sizes.csv").write_text(table, encoding="utf-8")
        (DOCS / "message-sizes.svg").write_text(drawn(table), encoding="utf-8")


if __name__ == "__main__":
    main()
