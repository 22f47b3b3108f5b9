"""Every so often: mailboxes that are fetched again and again, by one process.

Owns when each one's turn is: about so many seconds after its last turn began, at once when that took longer, and never
twice at the same time. `Schedule` decides that, and is told the time.
"""

import contextlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeAlias

from pop3fast.fetch._fetch_many import do_queue, in_threads, queues_of, threads_for
from pop3fast.fetch._report import FetchReport, Progress
from pop3fast.fetch._retrying import Job, Surroundings
from pop3fast.fetch._waiting import Clock, Stop, SystemClock
from pop3fast.fetch.accounts._hosts import Hosts

JITTER = 0.1
"""By so much of the interval a turn comes earlier or later: mailboxes that began together spread out, and so do
machines that were started together."""


_Done: TypeAlias = tuple[int, list[FetchReport] | BaseException]
"""A turn that has ended: with reports, or by an error that ends all."""


class Schedule:
    """Whose turn it is. It has no clock: it is told the seconds."""

    def __init__(self, turns: int, every: float, now: float, vary: Callable[[float, float], float]) -> None:
        """Let each of so many be due *now*, and then *every* so many seconds; *vary* chooses between two numbers."""
        self._every = every
        self._vary = vary
        self._due = [(now, turn) for turn in range(turns)]
        self._began: dict[int, float] = {}

    def begin(self, now: float) -> int | None:
        """Return one that is due, whose turn begins; None when none is."""
        if not self._due or self._due[0][0] > now:
            return None
        _, turn = heapq.heappop(self._due)
        self._began[turn] = now
        return turn

    def end(self, turn: int, now: float) -> None:
        """End one's turn."""
        interval = self._every * self._vary(1 - JITTER, 1 + JITTER)
        heapq.heappush(self._due, (max(now, self._began.pop(turn) + interval), turn))

    def seconds_left(self, now: float) -> float | None:
        """Return how long nothing is due; None as long as everybody has a turn."""
        return max(0.0, self._due[0][0] - now) if self._due else None


def fetch_every(
    jobs: Iterable[Job],
    every: float,
    *,
    threads: int | None = None,
    progress: Callable[[Job, Progress], object] | None = None,
    on_report: Callable[[Job, FetchReport], object] | None = None,
    before: Callable[[Job], FetchReport | None] | None = None,
    clock: Clock | None = None,
) -> None:
    """Do all *jobs* now, and each again *every* so many seconds, until `KeyboardInterrupt` or what a callback raises.

    Several are done at once, at most as many as *threads* says (8); those for the same account one behind the other. A
    tenth of *every* more or less lies between two turns. An account that fails has its next turn when it is due.
    *progress* is called in the threads, *on_report* in the caller's, with each report as it comes. *before* is called
    in the threads when a job has its turn; a report that it returns stands in the place of the fetch, and nothing ends
    what it waits for. Whatever ends the rest ends all jobs within a second; what was delivered is remembered. *clock*
    is for tests.

    Raises `ValueError` for *threads* below 1, and without any job: it would wait for ever, and nothing would ever be
    fetched. Raises `RuntimeError` when no thread can be started.
    """
    clock = clock or SystemClock()
    queues = [[job for _, job in queue] for queue in queues_of(jobs)]
    if not queues:
        raise ValueError("there are no jobs, so nothing would ever be fetched")
    most = min(threads_for(threads), len(queues))
    from random import uniform  # noqa: PLC0415 - it takes long, and few fetch more than once

    schedule = Schedule(len(queues), every, clock.now(), uniform)
    todo: SimpleQueue[int | None] = SimpleQueue()
    done: SimpleQueue[_Done] = SimpleQueue()
    world = Surroundings(stop=Stop(aside=True), hosts=Hosts())

    def work() -> None:
        for turn in iter(todo.get, None):
            try:
                done.put((turn, do_queue(queues[turn], world, progress, before)))
            except BaseException as error:  # noqa: BLE001 - it is raised where the turn is waited for
                done.put((turn, error))

    with in_threads(work, most, partial(_end, todo, most, world.stop)) as started:
        if not started:
            raise RuntimeError("no thread can be started")
        for turn, reports in _turns(schedule, clock, todo, done):
            if on_report is not None:
                for job, report in zip(queues[turn], reports, strict=True):
                    on_report(job, report)


def _turns(
    schedule: Schedule, clock: Clock, todo: "SimpleQueue[int | None]", done: "SimpleQueue[_Done]"
) -> Iterator[tuple[int, list[FetchReport]]]:
    """Let each turn begin that is due, and yield those that end, with their reports. Raises what ended one instead."""
    while True:
        while (due := schedule.begin(clock.now())) is not None:
            todo.put(due)
        try:
            turn, result = done.get(timeout=schedule.seconds_left(clock.now()))
        except Empty:
            continue
        if isinstance(result, BaseException):
            raise result
        schedule.end(turn, clock.now())
        yield turn, result


def _end(todo: "SimpleQueue[int | None]", most: int, stop: Stop) -> None:
    """Let no other turn begin, and end those that have begun; *most* threads ask for turns."""
    with contextlib.suppress(Empty):
        while True:
            todo.get_nowait()
    for _ in range(most):
        todo.put(None)
    stop.say()
