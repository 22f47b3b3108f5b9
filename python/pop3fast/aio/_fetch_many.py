"""fetch_many: many mailboxes at once in one process, for a program that runs on an event loop.

Owns how many are fetched at the same time, and that fetching stops when nobody wants it any more. Each mailbox is
fetched as `pop3fast.fetch.fetch_mailbox` does it, in a thread of its own, because a fetch waits for disks as much as
for servers; so the same guarantees hold. The loop waits for nothing but reports.
"""

import asyncio
import concurrent.futures
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing, suppress
from threading import Thread
from typing import Any

from pop3fast._dial import STEP_SECONDS
from pop3fast.aio._threads import told
from pop3fast.fetch import FetchReport, Job, Progress
from pop3fast.fetch._fetch_many import do_in_threads
from pop3fast.fetch._waiting import Stop

LIMIT = 100
"""How many mailboxes are fetched at once, each over one connection: they wait nearly all the time."""

OnProgress = Callable[[Job, Progress], object]
"""Called with a job and how far it is; it may be a coroutine function."""


async def fetch_many(
    jobs: Iterable[Job], *, limit: int = LIMIT, progress: OnProgress | None = None
) -> AsyncGenerator[FetchReport, None]:
    """Do all *jobs*, *limit* at a time, and give their reports to ``async for`` as they come.

    Jobs for the same account are done one after the other. *progress*, which may be a coroutine function, is called
    on the loop with a job and how far it is; the job goes on when it has returned. What ends a job is in its report's
    ``error``, and ends no other.

    Leaving the loop, or cancelling it, ends all within a second; what was delivered stays delivered, and is remembered.
    Raises `ValueError` for a *limit* below 1.
    """
    if limit < 1:
        raise ValueError(f"limit is the number of mailboxes at once, at least 1: {limit!r}")
    async with aclosing(Work(jobs, limit, progress).done()) as reports:
        async for report in reports:
            yield report


class Work:
    """What the threads do, and how the loop hears of it."""

    def __init__(self, jobs: Iterable[Job], limit: int, progress: OnProgress | None) -> None:
        """Prepare: the work begins with `done`, in another thread."""
        self.reports: asyncio.Queue[FetchReport | None] = asyncio.Queue()
        """What came of the jobs; None behind the last one."""
        self.stop = Stop(aside=True)
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self.loop.create_future()
        """Done when no thread is left, with the error that ended them."""
        self._jobs = jobs
        self._limit = limit
        self._progress = progress

    async def done(self) -> AsyncGenerator[FetchReport, None]:
        """Have all jobs done, and give the reports as they come."""
        Thread(target=self.do, name="pop3fast-aio-fetch", daemon=True).start()
        try:
            while (report := await self.reports.get()) is not None:
                yield report
        finally:
            self.stop.say()
            # Whoever is cancelled in here does not wait any longer, but the work ends all the same.
            await asyncio.shield(self.over)

    def do(self) -> None:
        """Do all jobs."""
        error: BaseException | None = None
        try:
            progress = None if self._progress is None else self._tell
            do_in_threads(self._jobs, self._limit, self.stop, progress=progress, on_report=self._report)
        except BaseException as raised:  # noqa: BLE001 - it is raised where the reports are waited for
            error = raised
        self._say(self._end, error)

    def _report(self, report: FetchReport) -> None:
        self._say(self.reports.put_nowait, report)

    def _tell(self, job: Job, how_far: Progress) -> None:
        assert self._progress is not None  # noqa: S101 - it would not be asked otherwise
        said = self.on_loop(told, self._progress, job, how_far)
        if said is None:
            raise KeyboardInterrupt
        said.result()

    def on_loop(
        self, function: Callable[..., Coroutine[Any, Any, object]], *arguments: object
    ) -> "concurrent.futures.Future[object] | None":
        """Run a coroutine *function* on the loop, and return its future when it is done; None when all ends before.

        Only the threads that fetch call this.
        """
        if self._is_to_end():
            return None
        said = asyncio.run_coroutine_threadsafe(function(*arguments), self.loop)
        while not concurrent.futures.wait([said], STEP_SECONDS).done:
            if self._is_to_end():
                if not self.loop.is_closed():
                    said.cancel()
                return None
        return said

    def _is_to_end(self) -> bool:
        if self.loop.is_closed():  # and nobody can have said it
            self.stop.say()
        return self.stop.is_said

    def _say(self, function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody listens any more
            self.loop.call_soon_threadsafe(function, *arguments)

    def _end(self, error: BaseException | None) -> None:
        self.reports.put_nowait(None)
        if error is None or isinstance(error, KeyboardInterrupt):  # which is how the word to stop comes
            self.over.set_result(None)
        else:
            self.over.set_exception(error)
            self.over.exception()  # whoever was cancelled does not ask for it
