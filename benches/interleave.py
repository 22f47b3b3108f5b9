"""Measuring on a machine that others use: contestants take turns, and the best of many short rounds counts.

Owns the order of the rounds, when there are enough of them, and how they are handed to pytest-benchmark, which runs
one test to its end before the next and so cannot take turns itself. Must never judge a time.

One loopback round trip takes 30 microseconds in one second and 250 in the next, on the same machine. So a round is
short, every contestant has one in each cycle, and what is compared is each one's best: the time that the work takes
when nothing disturbs it. Beside it stands the median of the ratios within a cycle, which no lucky round can move.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pytest

from benches.turns import ALONE, Turns

BASELINE = "poplib"
"""The first row of every table."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the work of a column."""

    name: str
    call: Callable[[], object]


@dataclass(frozen=True)
class Pace:
    """How long to measure one column of a table."""

    round_seconds: float
    """What a round should last: short enough to fit between two disturbances, long enough for the clock."""
    patience: int
    """So many cycles in which nobody's best improved by more than 1 % are the end."""
    cap_seconds: float
    """The end, however it goes on improving."""
    turns: Turns = ALONE
    """With whom: another checkout may be measured in the same run."""


FULL = Pace(round_seconds=0.01, patience=25, cap_seconds=20.0)
QUICK = Pace(round_seconds=0.001, patience=2, cap_seconds=0.5)

_IMPROVEMENT = 0.99


def interleave(contestants: Sequence[Contestant], pace: Pace) -> dict[str, list[float]]:
    """Return each contestant's rounds in their order: seconds for one call."""
    calls = {contestant.name: _calls_in_a_round(contestant, pace) for contestant in contestants}
    rounds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    best = dict.fromkeys(rounds, float("inf"))
    end = time.perf_counter() + pace.cap_seconds
    idle = cycle = 0
    ended = False
    while not ended:
        idle += 1
        # Each begins in its turn, so that nobody always follows the one that leaves the caches worst.
        first = cycle % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            seconds = _round(contestant.call, calls[contestant.name])
            rounds[contestant.name].append(seconds)
            if seconds < best[contestant.name] * _IMPROVEMENT:
                idle = 0
            best[contestant.name] = min(best[contestant.name], seconds)
        cycle += 1
        ended = pace.turns.end_cycle(enough=idle >= pace.patience or time.perf_counter() >= end)
    return rounds


def _calls_in_a_round(contestant: Contestant, pace: Pace) -> int:
    """Say how many calls last a round. Rounds of the same length meet the same disturbances."""
    seconds = min(_round(contestant.call, 1) for _ in range(3))
    return max(1, round(pace.round_seconds / seconds))


def _round(call: Callable[[], object], calls: int) -> float:
    """Return the seconds that one of so many calls took. As `timeit` does it, without the garbage collector."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls
    finally:
        if collecting:
            gc.enable()


class Replay:
    """The clock that pytest-benchmark reads. It stands still but for the rounds that were measured before."""

    def __init__(self) -> None:
        """Start at zero."""
        self._now = 0.0

    def now(self) -> float:
        """Return the time in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self._now += seconds


_REPLAY = Replay()

MARKS = [
    pytest.mark.benchmark(timer=_REPLAY.now),
    # The tests' own time-out is for what hangs. Here a machine may be slow; none was seen to need a third of this.
    pytest.mark.timeout(300),
]
"""What every module of benchmarks has for its ``pytestmark``."""


class Benchmark(Protocol):
    """pytest-benchmark's fixture, which comes without types, as far as it is used here."""

    group: str | None
    extra_info: dict[str, object]

    def pedantic(
        self,
        target: Callable[[float], None],
        *,
        setup: Callable[[], tuple[tuple[float], dict[str, object]]],
        rounds: int,
    ) -> object:
        """Measure *rounds* calls of *target*, each with the arguments that *setup* returns."""
        ...


@dataclass(frozen=True)
class Column:
    """One column of a table, measured."""

    table: str
    title: str
    rounds: Mapping[str, Sequence[float]]

    def hand_over(self, name: str, benchmark: Benchmark) -> None:
        """Give pytest-benchmark the rounds of the contestant *name*, as if it had measured them."""
        benchmark.group = f"{self.table}: {self.title}"
        benchmark.extra_info.update(table=self.table, column=self.title, row=name)
        rounds: Iterator[float] = iter(self.rounds[name])
        benchmark.pedantic(_REPLAY.advance, setup=lambda: ((next(rounds),), {}), rounds=len(self.rounds[name]))
