"""Many mailboxes: each is one task for an executor, here or on other machines.

Owns that one account's end is not the others', and that an account is fetched once at a time. What a task needs and
what it gives can be pickled.
"""

import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from functools import partial

from pop3fast.fetch._engine import Job, Surroundings, run_job
from pop3fast.fetch._errors import TaskLost
from pop3fast.fetch._report import FetchReport, Progress
from pop3fast.fetch._waiting import Stop

THREADS = 8
"""How many mailboxes are fetched at once: each mostly waits for its server, and they share one processor."""


def fetch_many(
    jobs: Iterable[Job],
    executor: Executor | None = None,
    *,
    threads: int | None = None,
    progress: Callable[[Job, Progress], object] | None = None,
    on_report: Callable[[FetchReport], object] | None = None,
) -> list[FetchReport]:
    """Do all *jobs*, several at once, and return their reports in the same order.

    *executor* is anything with the interface of ``concurrent.futures``, also one of processes or of other machines,
    for instance ``Client(...).get_executor(pure=False)`` of ``dask.distributed``; destinations and states are files
    there then. Without one there are threads, so many at most as *threads* says. Jobs for the same account are done one
    behind the other. *on_report* is called with each report as it comes; *progress*, which no executor can call from
    elsewhere, in the threads, as `fetch_mailbox` calls its own. Raises `ValueError` for an executor and either.

    What ends a job is in its report's ``error``, and ends no other. `KeyboardInterrupt` passes through, and so does
    what *progress* raises that is no ``Exception``; both end all within a second where there are threads. With another
    executor what is under way goes on there. What was delivered is remembered.
    """
    if executor is not None and (threads is not None or progress is not None):
        raise ValueError("threads and progress are for fetches in threads, not in an executor")
    queues: dict[str, list[tuple[int, Job]]] = {}
    for place, job in enumerate(jobs):
        queues.setdefault(job.account.digest, []).append((place, job))
    reports: dict[int, FetchReport] = {}
    with contextlib.ExitStack() as at_end:
        if executor is None:
            stop = Stop()
            most = max(1, min(threads or THREADS, len(queues)))
            pool = ThreadPoolExecutor(most, "pop3fast-fetch")
            at_end.callback(pool.shutdown, cancel_futures=True)
            # First of all, so that the threads have an end to be waited for.
            at_end.callback(stop.say)
            tasks = {pool.submit(_do, [job for _, job in queue], stop, progress): queue for queue in queues.values()}
        else:
            tasks = {executor.submit(do_jobs, [job for _, job in queue]): queue for queue in queues.values()}
            at_end.callback(lambda: [task.cancel() for task in tasks])
        for task in as_completed(tasks):
            for (place, _), report in zip(tasks[task], _reports_of(task, tasks[task]), strict=True):
                reports[place] = report
                if on_report is not None:
                    on_report(report)
    return [reports[place] for place in sorted(reports)]


def do_jobs(jobs: list[Job]) -> list[FetchReport]:
    """Do *jobs* one behind the other: the task that an executor is given."""
    return _do(jobs, Stop())


def _do(jobs: list[Job], stop: Stop, progress: Callable[[Job, Progress], object] | None = None) -> list[FetchReport]:
    reports: list[FetchReport] = []
    for job in jobs:
        try:
            tell = None if progress is None else partial(progress, job)
            reports.append(run_job(job, Surroundings(stop=stop), progress=tell))
        except Exception as error:  # noqa: BLE001 - a job that makes no sense is not the end of the others
            reports.append(FetchReport(str(job.account), job.destination, error=error))
    return reports


def _reports_of(task: "Future[list[FetchReport]]", queue: list[tuple[int, Job]]) -> list[FetchReport]:
    try:
        return task.result()
    except Exception as error:  # noqa: BLE001 - whatever an executor says when a worker is lost
        lost = TaskLost(f"the worker was lost: {type(error).__name__}: {error}")
        return [FetchReport(str(job.account), job.destination, error=lost) for _, job in queue]
