"""``python -m benches.round_trips [--messages N] [--write]``: a mailbox by the round trip to its server.

Owns the comparison of poplib's loop with `retr_many()`, as a table and as the plot that is drawn from it. With
`--write` they go to docs/round-trips.csv and docs/round-trips.svg. The server, in a process of its own, waits so long
before it answers; nearly all of the time is spent on that, so a machine that is busy changes little.
"""

import argparse
import csv
import poplib
import time
from collections.abc import Callable
from pathlib import Path

import pop3fast
from benches.plot import Line, plot
from pop3fast.testing import MailboxServer

DOCS = Path(__file__).parent.parent / "docs"
ROUND_TRIPS_MS = (1, 2, 5, 10, 20, 40)
MESSAGE = b"Subject: hello\r\n\r\n" + (b"x" * 76 + b"\r\n") * 50
POPLIB, OURS = "poplib, retr()", "pop3fast, retr_many()"


def by_poplib(pop: poplib.POP3, messages: int) -> None:
    """Retrieve one by one, as programs do."""
    for number in range(1, messages + 1):
        pop.retr(number)


def by_loop(pop: pop3fast.POP3, messages: int) -> None:
    """Retrieve in one loop."""
    assert sum(1 for _ in pop.retr_many()) == messages


def seconds(
    make: Callable[[str, int], poplib.POP3], retrieve: Callable[..., None], server: MailboxServer, messages: int
) -> float:
    """Return how long a session takes from the connection to the reply to QUIT."""
    begin = time.perf_counter()
    pop = make(server.host, server.port)
    pop.user("user")
    pop.pass_("password")
    retrieve(pop, messages)
    pop.quit()
    return time.perf_counter() - begin


def measured(messages: int) -> list[tuple[int, float, float]]:
    """Return, for each round trip in milliseconds, the messages a second of poplib and of ours."""
    rows = []
    for milliseconds in ROUND_TRIPS_MS:
        with MailboxServer([MESSAGE] * messages, latency=milliseconds / 1000, process=True) as server:
            plain = seconds(poplib.POP3, by_poplib, server, messages)
            ours = min(seconds(pop3fast.POP3, by_loop, server, messages) for _ in range(3))
        rows.append((milliseconds, round(messages / plain, 1), round(messages / ours, 1)))
        print(f"{milliseconds:4} ms  {rows[-1][1]:10,.1f} messages/s  {rows[-1][2]:10,.1f} messages/s")
    return rows


def drawn(table: str, messages: int) -> str:
    """Return the plot of a table, as SVG."""
    _, *rows = list(csv.reader(table.splitlines()))
    return plot(
        f"A mailbox of {messages:,} messages of 4 KB, whole session",
        "round trip to the server, milliseconds",
        "messages a second",
        [
            Line(OURS, "#1a7f37", [(float(one), float(ours)) for one, _, ours in rows]),
            Line(POPLIB, "#8250df", [(float(one), float(plain)) for one, plain, _ in rows]),
        ],
    )


def main() -> None:
    """Measure, and write what was measured when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=250)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = measured(arguments.messages)
    if arguments.write:
        heading = f"round trip in ms,{POPLIB.replace(',', '')}: messages/s,{OURS.replace(',', '')}: messages/s"
        table = "\n".join([heading, *(",".join(map(str, row)) for row in rows), ""])
        (DOCS / "round-trips.csv").write_text(table, encoding="utf-8")
        (DOCS / "round-trips.svg").write_text(drawn(table, arguments.messages), encoding="utf-8")


if __name__ == "__main__":
    main()
