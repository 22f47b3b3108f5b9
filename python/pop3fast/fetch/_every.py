"""Every so often: mailboxes that are fetched again and again, by one process.

Owns when each one's turn is: about so many seconds after its last turn began, at once when that took longer, and never
twice at the same time. `Schedule` decides that, and is told the time.
"""

import contextlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from threading import Thread

from pop3fast.fetch._fetch_many import THREADS, do_queue, queues_of
from pop3fast.fetch._report import FetchReport, Progress
from pop3fast.fetch._retrying import Job, Surroundings
from pop3fast.fetch._waiting import Clock, Stop, SystemClock
from pop3fast.fetch.accounts._hosts import Hosts

JITTER = 0.1
"""By so much of the interval a turn comes earlier or later: mailboxes that began together spread out, and so do
machines that were started together."""


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

    Raises `ValueError` without any job: it would wait for ever, and nothing would ever be fetched.
    """
    clock = clock or SystemClock()
    queues = [[job for _, job in queue] for queue in queues_of(jobs)]
    if not queues:
        raise ValueError("there are no jobs, so nothing would ever be fetched")
    from random import uniform  # noqa: PLC0415 - it takes long, and few fetch more than once

    schedule = Schedule(len(queues), every, clock.now(), uniform)
    todo: SimpleQueue[int | None] = SimpleQueue()
    done: SimpleQueue[tuple[int, list[FetchReport] | BaseException]] = SimpleQueue()
    world = Surroundings(stop=Stop(aside=True), hosts=Hosts())

    def work() -> None:
        for turn in iter(todo.get, None):
            try:
                done.put((turn, do_queue(queues[turn], world, progress, before)))
            except BaseException as error:  # noqa: BLE001 - it is raised where the turn is waited for
                done.put((turn, error))

    with _threads(work, min(threads or THREADS, len(queues)), todo, world.stop):
        while True:
            while (turn := schedule.begin(clock.now())) is not None:
                todo.put(turn)
            with contextlib.suppress(Empty):
                turn, result = done.get(timeout=schedule.seconds_left(clock.now()))
                if isinstance(result, BaseException):
                    raise result
                schedule.end(turn, clock.now())
                for job, report in zip(queues[turn], result, strict=True):
                    if on_report is not None:
                        on_report(job, report)


@contextlib.contextmanager
def _threads(work: Callable[[], None], most: int, todo: "SimpleQueue[int | None]", stop: Stop) -> Iterator[None]:
    """Have *work* done by *most* threads, which at the end of the block are told to stop, and waited for."""
    threads: list[Thread] = []

    def end() -> None:
        stop.say()
        # Any of them may take any of these, so all come before one is waited for.
        for _ in threads:
            todo.put(None)
        for thread in threads:
            thread.join()

    with contextlib.ExitStack() as at_end:
        at_end.callback(end)
        for number in range(most):
            thread = Thread(target=work, name=f"pop3fast-fetch_{number}")
            try:
                thread.start()
            except RuntimeError:
                if not number:
                    raise
                # The system has no more of them; those that there are do it all.
                break
            threads.append(thread)
        yield
