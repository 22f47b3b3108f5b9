"""Many mailboxes: each is one task for an executor, here or on other machines.

Owns two rules: an account that fails does not end the others, and no account is fetched twice at the same time. What a
task needs and what it returns can be pickled.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from functools import partial
from threading import Thread
from typing import ParamSpec, TypeAlias, TypeVar

from pop3fast.fetch._errors import TaskLost
from pop3fast.fetch._report import FetchReport, Progress
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.accounts._hosts import Hosts

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8
"""How many mailboxes are fetched at once: each mostly waits for its server, and they share one processor."""


Queue: TypeAlias = list[tuple[int, Job]]
"""The jobs of one account, each with its place among all."""

Tasks: TypeAlias = dict["Future[list[FetchReport]]", Queue]


def fetch_many(
    jobs: Iterable[Job],
    executor: Executor | None = None,
    *,
    threads: int | None = None,
    progress: Callable[[Job, Progress], object] | None = None,
    on_report: Callable[[FetchReport], object] | None = None,
) -> list[FetchReport]:
    """Do all *jobs*, several at once, and return their reports in the same order.

    *executor* is anything with the interface of ``concurrent.futures``, also one of processes or of other machines, for
    instance ``Client(...).get_executor(pure=False)`` of ``dask.distributed``; destinations and states are files there
    then. Without one there are threads, at most as many as *threads* says. Jobs for the same account are done one after
    the other. When a host refuses a session because there are too many, it gets no more at once than it has let in.
    *on_report* is called with each report as it comes; *progress* is called in the threads, as `fetch_mailbox` calls
    its own; no executor can call it from elsewhere. Raises `ValueError` for *threads* below 1, and for either of
    *threads* and *progress* with an executor.

    The error that ends a job is in its report's ``error``, and ends no other job. `KeyboardInterrupt` passes through,
    and so does what *progress* raises unless it is an ``Exception``; with threads, both end all jobs within a second.
    With another executor what is under way goes on there. What was delivered is remembered.
    """
    if executor is not None and (threads is not None or progress is not None):
        raise ValueError("threads and progress are for fetches in threads, not in an executor")
    if executor is None:
        return do_in_threads(jobs, threads_for(threads), Stop(aside=True), progress=progress, on_report=on_report)
    tasks: Tasks = {}
    try:
        for queue in queues_of(jobs):
            tasks[submitted(executor, do_jobs, [job for _, job in queue])] = queue
        return _reports(tasks, on_report)
    finally:
        for task in tasks:
            task.cancel()


def submitted(executor: Executor, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> "Future[T]":
    """Have *executor* do *work*. Where a pool takes nothing any more, that is what the future raises."""
    try:
        return executor.submit(work, *arguments, **named)
    except BrokenExecutor as error:
        # A worker of a pool has died. What the others did is to be reported.
        lost: Future[T] = Future()
        lost.set_exception(error)
        return lost


def threads_for(said: int | None) -> int:
    """Return how many threads there are to be at most, where so many were *said*. Raises `ValueError`."""
    if said is not None and said < 1:
        raise ValueError(f"threads is at least 1, not {said!r}")
    return said or THREADS


def do_in_threads(
    jobs: Iterable[Job],
    most: int,
    stop: Stop,
    *,
    progress: Callable[[Job, Progress], object] | None,
    on_report: Callable[[FetchReport], object] | None,
) -> list[FetchReport]:
    """Do what `fetch_many` does, in *most* threads, until *stop* is said."""
    tasks: Tasks = {Future(): queue for queue in queues_of(jobs)}
    with _doing(tasks, most, progress, stop):
        return _reports(tasks, on_report)


def queues_of(jobs: Iterable[Job]) -> Iterable[Queue]:
    """Return *jobs* by account: those of one are done one behind the other."""
    queues: dict[str, Queue] = {}
    for place, job in enumerate(jobs):
        queues.setdefault(job.account.digest, []).append((place, job))
    return queues.values()


def _reports(tasks: Tasks, on_report: Callable[[FetchReport], object] | None) -> list[FetchReport]:
    reports: dict[int, FetchReport] = {}
    for task in as_completed(tasks):
        for (place, _), report in zip(tasks[task], _reports_of(task, tasks[task]), strict=True):
            reports[place] = report
            if on_report is not None:
                on_report(report)
    return [reports[place] for place in sorted(reports)]


@contextlib.contextmanager
def _doing(tasks: Tasks, most: int, progress: Callable[[Job, Progress], object] | None, stop: Stop) -> Iterator[None]:
    """Have *tasks* done by *most* threads; by this one, when none can be started.

    At the end of the block what is under way is told to stop, and no task is begun any more.
    """
    hosts, waiting = Hosts(), deque(tasks.items())

    def work() -> None:
        while waiting:
            try:
                task, queue = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                task.set_result(do_queue([job for _, job in queue], Surroundings(stop=stop, hosts=hosts), progress))
            except BaseException as error:  # noqa: BLE001 - it is raised where the task is waited for
                task.set_exception(error)
                return

    def end() -> None:
        waiting.clear()
        stop.say()

    with in_threads(work, min(most, len(tasks)), end) as started:
        if not started:
            work()
        yield


@contextlib.contextmanager
def in_threads(work: Callable[[], None], most: int, end: Callable[[], object]) -> Iterator[int]:
    """Have *work* done by *most* threads, or by as many as can be started; give how many.

    Whatever ends the block, or the starting, *end* is called, which is to end them; then they are waited for.
    """
    started = 0
    with contextlib.ExitStack() as at_end:
        try:
            for number in range(most):
                thread = Thread(target=work, name=f"pop3fast-fetch_{number}")
                try:
                    thread.start()
                except RuntimeError:
                    # The system has no more of them; those that there are do it all.
                    break
                at_end.callback(thread.join)
                started += 1
            yield started
        finally:
            end()


def do_jobs(jobs: list[Job]) -> list[FetchReport]:
    """Do *jobs* one behind the other: the task that an executor is given."""
    return do_queue(jobs, Surroundings())


def do_queue(
    jobs: list[Job],
    world: Surroundings,
    progress: Callable[[Job, Progress], object] | None = None,
    before: Callable[[Job], FetchReport | None] | None = None,
) -> list[FetchReport]:
    """Do *jobs* one behind the other, and return their reports; one that makes no sense does not end the others.

    What *before* returns for a job is the report of it, which is not done then.
    """
    reports: list[FetchReport] = []
    for job in jobs:
        try:
            tell = None if progress is None else partial(progress, job)
            held_up = None if before is None else before(job)
            reports.append(held_up or run_job(job, world, progress=tell))
        except Exception as error:  # noqa: BLE001 - as the docstring says
            reports.append(FetchReport(str(job.account), job.words, error=error))
    return reports


def _reports_of(task: "Future[list[FetchReport]]", queue: list[tuple[int, Job]]) -> list[FetchReport]:
    try:
        return task.result()
    except Exception as error:  # noqa: BLE001 - whatever an executor says when a worker is lost
        lost = TaskLost(f"the worker was lost: {type(error).__name__}: {error}")
        return [FetchReport(str(job.account), job.words, error=lost) for _, job in queue]
