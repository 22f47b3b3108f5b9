"""What a million mailboxes every five minutes need, by what a turn was measured to take.

Owns the arithmetic, and the two tables of `docs/machines.md`. Measures nothing.
"""

import re
from math import ceil
from typing import NamedTuple

MAILBOXES, EVERY = 1_000_000, 300
WITH_MAIL = 1 / 20
"""So many turns find new mail: they take a look and a fetch."""
BUSY = 2 / 3
"""So much of a processor a worker may need, so that a busy minute finds room."""
TURN_ROUND_TRIP, TLS_ROUND_TRIPS = 1, 1
"""What comes on top of a session's time here: the connection's own round trip, and one of TLS 1.3."""
MESSAGES = 50
LOOK_OCTETS, TLS_OCTETS = 3_000, 6_000
"""A look's on the wire, 20 messages listed, with the headers of some sixteen packets; and those of a handshake."""
PER_HOST = 8
WAYS = 4


class Way(NamedTuple):
    """A row of the table of what was measured, in milliseconds of a processor for each turn."""

    name: str
    rate: float
    worker: float
    database: float
    log: float
    """Bytes that the database writes to its log."""


class Measured(NamedTuple):
    """All that was measured."""

    look: Way
    look_by_tls: Way
    fetch: Way
    by_threads: Way
    seconds: float
    """Of a look by itself, when nothing else is to be done."""
    account_octets: float
    message_octets: float
    """Of rows, with their indexes."""
    round_trip: float


def table(measured: Measured) -> str:
    """Return what was measured, as it stands in the documentation."""
    lines = [
        "| a turn that finds nothing new | turns/s | processor, worker | processor, database | database's log |",
        "|---|---:|---:|---:|---:|",
    ]
    for way in (measured.look, measured.look_by_tls, measured.fetch, measured.by_threads):
        database = f"{way.database:.2f} ms | {way.log:,.0f} bytes" if way.log else "none | none"
        lines.append(f"| {way.name} | {way.rate:,.0f} | {way.worker:.2f} ms | {database} |")
    words = (
        f"A look by itself takes {measured.seconds:.2f} s, at {1000 * measured.round_trip:.0f} ms of round trip. A row "
        f"with its indexes takes {measured.account_octets:,.0f} bytes for an account, and "
        f"{measured.message_octets:,.0f} for a message in objects."
    )
    return "\n".join([*lines, "", words])


def read_back(text: str) -> Measured:
    """Return what a `table` says. Raises `ValueError` for another text."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    ways = [Way(cells[0], *(_number(cell) for cell in cells[1:])) for cells in rows[2:]]
    words = re.search(
        r"by itself takes ([\d.]+) s, at (\d+) ms .* takes ([\d,]+) bytes for an account, and ([\d,]+) ", text
    )
    if len(ways) != WAYS or words is None:
        raise ValueError("that is not the table of what was measured")
    seconds, milliseconds, account, message = map(_number, words.groups())
    look, by_tls, fetch, by_threads = ways
    return Measured(look, by_tls, fetch, by_threads, seconds, account, message, milliseconds / 1000)


def _number(cell: str) -> float:
    found = re.match(r"[\d,.]+", cell)
    return float(found[0].replace(",", "")) if found else 0.0


def plan(measured: Measured) -> str:
    """Return what they need, calculated from what was *measured*, without TLS and with it."""
    turns = MAILBOXES / EVERY
    looks = [turns * (1 - WITH_MAIL) * way.worker / 1000 for way in (measured.look, measured.look_by_tls)]
    handshake = measured.look_by_tls.worker - measured.look.worker
    fetches = [
        turns * WITH_MAIL * (way.worker + measured.fetch.worker + more) / 1000
        for way, more in ((measured.look, 0.0), (measured.look_by_tls, handshake))
    ]
    lasts = [
        measured.seconds + trips * measured.round_trip for trips in (TURN_ROUND_TRIP, TURN_ROUND_TRIP + TLS_ROUND_TRIPS)
    ]
    database = turns * (measured.look.database + WITH_MAIL * measured.fetch.database) / 1000
    log = turns * (measured.look.log + WITH_MAIL * measured.fetch.log) / 1e6
    rows = [
        ("processors for looks", [f"{each:.1f}" for each in looks]),
        (
            "processors for a look and a fetch (one turn in twenty; the messages come on top)",
            [f"{n:.1f}" for n in fetches],
        ),
        (
            "workers of one processor, two thirds busy",
            [f"{ceil((one + two) / BUSY)}" for one, two in zip(looks, fetches, strict=True)],
        ),
        (
            f"sessions at once, at {lasts[0]:.2f} s and {lasts[1]:.2f} s each",
            [f"{turns * each:,.0f}" for each in lasts],
        ),
        (
            "mailboxes that one host can have, eight sessions at once",
            [f"{PER_HOST * EVERY / each:,.0f}" for each in lasts],
        ),
        ("the database: processors", [f"{database:.1f}"] * 2),
        ("the database: log", [f"{log:.1f} MB/s"] * 2),
        ("the database: rows of accounts", [f"{MAILBOXES * measured.account_octets / 1e9:.1f} GB"] * 2),
        (
            f"the database: {MESSAGES} messages each, in objects",
            [f"{MAILBOXES * MESSAGES * measured.message_octets / 1e9:.0f} GB"] * 2,
        ),
        (
            "network, 20 messages listed in a mailbox",
            [f"{turns * each / 1e6:.0f} MB/s" for each in (LOOK_OCTETS, LOOK_OCTETS + TLS_OCTETS)],
        ),
    ]
    lines = ["| | without TLS | with TLS |", "|---|---:|---:|"]
    return "\n".join(lines + [f"| {what} | {without} | {by_tls} |" for what, (without, by_tls) in rows])
