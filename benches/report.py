"""What the measurements mean: the tables of the documentation, and which of the project's goals are reached.

Pure functions from the file that pytest-benchmark writes to text. Owns the goals. Ratios are those of each one's best
round, with the median of the pairs beside it; must never show a bare time, which says more about the machine than
about the code.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from benches import (
    messages,
    test_aio,
    test_bulk,
    test_framing,
    test_listings,
    test_memory,
    test_messages,
    test_pieces,
    test_shapes,
)
from benches.interleave import BASELINE

MIB = 2**20

OURS = "pop3fast"
"""What every row of this library begins with."""

TABLES = [
    test_messages.TABLE,
    test_bulk.TABLE,
    test_bulk.FAR_TABLE,
    test_aio.TABLE,
    test_aio.FAR_TABLE,
    test_pieces.TABLE,
    test_pieces.FIELD_TABLE,
    test_listings.TABLE,
    test_memory.TABLE,
    test_shapes.TABLE,
    test_framing.TABLE,
    test_framing.OCTET_BY_OCTET,
]
"""What is wanted most often stands first."""


@dataclass(frozen=True)
class Result:
    """What was measured of one row in one column."""

    rounds: Sequence[float]
    peak_octets: int | None


Column: TypeAlias = dict[str, Result]
Tables: TypeAlias = dict[str, dict[str, Column]]


def read(saved: Mapping[str, Any]) -> Tables:
    """Return the measurements, by table, column and row."""
    tables: Tables = {table: {} for table in TABLES}
    for benchmark in saved["benchmarks"]:
        info = benchmark["extra_info"]
        column = tables[info["table"]].setdefault(info["column"], {})
        column[info["row"]] = Result(benchmark["stats"]["data"], info.get("peak_octets"))
    return {title: columns for title, columns in tables.items() if columns}


def faster(column: Column, row: str, than: str) -> float:
    """Return how many times faster *row* is than another row, best round against best round."""
    return min(column[than].rounds) / min(column[row].rounds)


def faster_in_pairs(column: Column, row: str, than: str) -> float:
    """Return the median of how many times faster it was in each cycle."""
    # Over a line there are not as many rounds of each: they do not take turns.
    pairs = zip(column[than].rounds, column[row].rounds, strict=False)
    return statistics.median(theirs / ours for theirs, ours in pairs)


# The goals.


@dataclass(frozen=True)
class Goal:
    """A ratio that the project has set itself: at least so many times faster, or at most so many times slower."""

    table: str
    column: str
    row: str
    than: str = BASELINE
    least: float | None = None
    most: float | None = None

    def verdict(self, tables: Tables) -> tuple[str, ...]:
        """Return what, goal, best, median of pairs, and whether it was reached."""
        column = tables.get(self.table, {}).get(self.column, {})
        what = f"{self.table}, {self.column}: {self.row} / {self.than}".replace("`", "")
        if self.row not in column or self.than not in column:
            return (what, "", "", "", "not measured")
        best, pairs = faster(column, self.row, self.than), faster_in_pairs(column, self.row, self.than)
        if self.least is not None:
            return (what, f">= {self.least:.1f} x", f"{best:.2f} x", f"{pairs:.2f} x", _reached(best >= self.least))
        most = self.most or 0.0
        return (what, f"<= {most:g} x", f"{1 / best:.2f} x", f"{1 / pairs:.2f} x", _reached(1 / best <= most))


_ONCE, _FOUR_TIMES = test_framing.ONCE, test_framing.FOUR_TIMES

GOALS = [
    Goal(test_messages.TABLE, "4 KB", messages.RETR, least=2.5),
    Goal(test_messages.TABLE, "4 KB", messages.RETR, messages.FLOOR, most=1.2),
    Goal(test_messages.TABLE, "50 KB", messages.RETR, least=7),
    Goal(test_messages.TABLE, "5 MB", messages.RETR, least=7),
    Goal(test_messages.TABLE, "50 KB, TLS", messages.RETR, least=3.5),
    Goal(test_messages.TABLE, "50 KB", messages.RETR_BYTES, least=10),
    Goal(test_messages.TABLE, "5 MB", messages.RETR_BYTES, least=30),
    Goal(test_bulk.TABLE, "4 KB", test_bulk.OURS, least=25),
    Goal(test_bulk.TABLE, "50 KB", test_bulk.OURS, least=30),
    Goal(test_bulk.TABLE, "5 MB", test_bulk.OURS, least=30),
    Goal(test_bulk.TABLE, "50 KB, TLS", test_bulk.OURS, least=10),
    *(
        Goal(test_bulk.TABLE, mailbox.title, test_bulk.OURS, test_bulk.FLOOR, most=1.25)
        for mailbox in test_bulk.MAILBOXES
        if not mailbox.tls
    ),
    Goal(test_bulk.FAR_TABLE, test_bulk.RETR_MANY, test_bulk.OURS, least=45),
    Goal(test_bulk.FAR_TABLE, test_bulk.RETR_MANY, test_bulk.WHOLE_SESSION, test_bulk.MPOP, least=1),
    Goal(test_bulk.FAR_TABLE, "`top_many()`", test_bulk.OURS, least=40),
    Goal(test_bulk.FAR_TABLE, "`dele_many()`", test_bulk.OURS, least=40),
    *(
        Goal(test_aio.TABLE, mailbox.title, test_aio.OURS, test_aio.BLOCKING, most=most)
        for mailbox, most in (
            (test_aio.ONE_CORE_4_KB, 1.25),
            (test_aio.TWO_CORES_4_KB, 1.25),
            (test_aio.MANY_4_KB, 1.05),
            (test_aio.ONE_BY_ONE_50_KB, 1.1),
            (test_aio.ONE_BY_ONE_5_MB, 1.15),
            (test_aio.TLS_50_KB, 0.85),
        )
    ),
    Goal(test_aio.FAR_TABLE, "a message", test_aio.GATHERED, test_aio.OURS, least=30),
    Goal(test_listings.TABLE, "`list()`", test_listings.OURS, least=6),
    Goal(test_listings.TABLE, "`uidl()`", test_listings.OURS, least=6),
    Goal(test_listings.TABLE, "`sizes()`", test_listings.OURS, least=4),
    Goal(test_listings.TABLE, "`uids()`", test_listings.OURS, least=4),
    *(Goal(site.table, site.title, test_pieces.RETR, least=10) for site in test_pieces.SITES if site.stalls),
    *(Goal(test_shapes.TABLE, shape, messages.RETR, least=1) for shape in test_shapes.SHAPES),
    # Linear is 4; what rescans takes 16.
    Goal(test_framing.OCTET_BY_OCTET, "time", _FOUR_TIMES, _ONCE, most=4.8),
]

# By how many octets memory may grow while `retr_into` retrieves 1 GB.
PEAK_GOAL = 8 * MIB


def goals(tables: Tables) -> str:
    """Return a line for each goal: what was asked for, what was measured, and whether that is enough."""
    verdicts = [*(goal.verdict(tables) for goal in GOALS), _worst_verdict(tables), _peak_verdict(tables)]
    return _aligned([("", "goal", "best", "pairs", ""), *verdicts])


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([what.ljust(widths[0]), *(text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))])
        for what, *rest in lines
    )


def _worst_verdict(tables: Tables) -> tuple[str, ...]:
    """Return which row of ours is the slowest beside poplib, of all rows of all tables."""
    rows = [
        (faster(column, row, BASELINE), table, title, row)
        for table, columns in tables.items()
        for title, column in columns.items()
        for row in column
        if row.startswith(OURS) and BASELINE in column and column[row].peak_octets is None
    ]
    if not rows:
        return ("the slowest beside poplib", "", "", "", "not measured")
    best, table, title, row = min(rows)
    pairs = faster_in_pairs(tables[table][title], row, BASELINE)
    what = f"the slowest of all beside poplib: {table}, {title}: {row}".replace("`", "")
    return (what, ">= 1.0 x", f"{best:.2f} x", f"{pairs:.2f} x", _reached(best >= 1.0))


SLOWER = 1.03
"""Beside an older checkout a row of ours may take so many times its time. Rows of others show what the machine did."""


def compared(before: Tables, after: Tables) -> str:
    """Return a line for each row that both runs have: the time that it takes now, in times of what it took before."""
    lines = [("", "best", "pairs", "")]
    for table, columns in after.items():
        for title, column in columns.items():
            there = before.get(table, {}).get(title, {})
            for row in column:
                if row not in there or column[row].peak_octets is not None:
                    continue
                both = {"before": there[row], "after": column[row]}
                best, pairs = 1 / faster(both, "after", "before"), 1 / faster_in_pairs(both, "after", "before")
                verdict = "" if not row.startswith(OURS) else "SLOWER" if best > SLOWER else "as fast"
                lines.append((f"{table}, {title}: {row}".replace("`", ""), f"{best:.3f} x", f"{pairs:.3f} x", verdict))
    return _aligned(lines)


def _peak_verdict(tables: Tables) -> tuple[str, ...]:
    what = f"{test_memory.TABLE}, 1 GB: {test_memory.INTO}".replace("`", "")
    result = tables.get(test_memory.TABLE, {}).get("1 GB", {}).get(test_memory.INTO)
    if result is None or result.peak_octets is None:
        return (what, "", "", "", "not measured")
    goal, measured = f"< {PEAK_GOAL // MIB} MiB", f"{result.peak_octets / MIB:.1f} MiB"
    return (what, goal, measured, "", _reached(result.peak_octets < PEAK_GOAL))


def _reached(yes: bool) -> str:  # noqa: FBT001 - the only question
    return "reached" if yes else "NOT REACHED"


# The tables.


def markdown(tables: Tables, saved: Mapping[str, Any]) -> str:
    """Return the tables for the documentation, with the conditions that they were measured under."""
    parts = [f"Times poplib's speed; {_conditions(saved)}."]
    for title, columns in tables.items():
        if title == test_framing.OCTET_BY_OCTET:
            slower = 1 / faster(columns["time"], _FOUR_TIMES, _ONCE)
            parts.append(f"Framing octet by octet: four times the octets take {slower:.1f} x the time.")
        else:
            parts.append(_table(title, columns))
    return "\n\n".join(parts) + "\n"


def _table(title: str, columns: Mapping[str, Column]) -> str:
    rows = dict.fromkeys(row for column in columns.values() for row in column)
    lines = [
        f"| {' | '.join([title, *columns])} |",
        f"|---|{'---:|' * len(columns)}",
        *(f"| {' | '.join([row, *(_cell(column, row) for column in columns.values())])} |" for row in rows),
    ]
    return "\n".join(lines)


def _cell(column: Column, row: str) -> str:
    if row not in column:
        return ""
    peak = column[row].peak_octets
    if peak is not None:
        return f"+{peak / MIB:.1f} MiB"
    best = _times(faster(column, row, BASELINE))
    if row == BASELINE:
        return best
    return f"{best} ({_times(faster_in_pairs(column, row, BASELINE))})"


def _times(ratio: float) -> str:
    return f"{ratio:.1f} x" if ratio < 10 else f"{ratio:.0f} x"


def _conditions(saved: Mapping[str, Any]) -> str:
    machine = saved["machine_info"]
    cpu = machine["cpu"]
    processor = cpu.get("brand_raw") or machine["processor"] or machine["machine"]
    return (
        "best of interleaved rounds, in brackets the median of the ratios of rounds side by side, "
        f"on {processor}, {cpu.get('count', '?')} cores, {machine['system']}, "
        f"{machine['python_implementation']} {machine['python_version']}, {saved['datetime'][:10]}; "
        "over loopback, with the server in a process of its own"
    )
