"""A worker of a fleet: one event loop that takes accounts whose turn it is, has them fetched, and gives them back.

Owns the order of things: what was taken is given back with its next turn, also when the worker is told to stop, and
while it is under way its lease is renewed. What is decided is in `_turns`; who has which account is the state's.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from pop3fast.fetch._errors import StateError
from pop3fast.fetch._report import FetchReport
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch._telemetry import instruments
from pop3fast.fetch._waiting import Stop, SystemClock
from pop3fast.fetch.accounts._hosts import Hosts
from pop3fast.fetch.fleet._look import Contexts, look, may_look
from pop3fast.fetch.fleet._threads import Threads
from pop3fast.fetch.fleet._turns import MOST_QUIET, Outcome, Standing, next_turn, outcome_of
from pop3fast.fetch.memory._account_state import AccountState
from pop3fast.fetch.memory._postgres import Lease
from pop3fast.fetch.memory._postgres_turns import RENEW_SECONDS, Claim, Key, Returned

T = TypeVar("T")

LOOK_SECONDS = 1.0
"""How often to look whose turn it is while there is room, unless a turn that ends brings it about."""

STOP_SECONDS = 0.1
"""How often to look whether all is to end."""

GRACE_SECONDS = 10.0
"""How long fetches that are under way have to end by themselves after the word to stop: nearly all do."""

RETRY_SECONDS = (0.1, 1.0, 2.0, 5.0, 10.0)
"""How long to wait before the state is asked again after it was lost; the last holds from there on."""


class Said(Protocol):
    """The word to stop: an event, as `threading` and `asyncio` have it."""

    def is_set(self) -> bool:
        """Return whether it has been said."""
        ...


class Turns(Protocol):
    """Who has which account. One thread at a time uses it, but for `account`."""

    def exchange(self, returned: Sequence[Returned], most: int, per_host: int) -> list[Claim]:
        """Give accounts back, and take those that are due."""
        ...

    def renew(self, leases: Sequence[Lease]) -> None:
        """Have *leases* begin anew."""

    def account(self, claim: Claim) -> AccountState | None:
        """Return what is known of an account; None when each session opens the state by itself."""

    def close(self) -> None:
        """Close all connections."""


class Limits(NamedTuple):
    """What a worker keeps to."""

    every: float
    """So many seconds lie between two turns of an account."""
    sessions: int
    """How many it holds at once."""
    per_host: int
    """How many all workers hold with a host at once."""


class Worker:
    """One worker. It is used on one event loop, once."""

    def __init__(self, jobs: Mapping[Key, Job], turns: Turns, limits: Limits, stop: Said | None) -> None:
        """Be for *jobs*, until *stop* is set."""
        self._jobs = jobs
        self._turns = turns
        self._limits = limits
        self._said = stop
        self._stop = Stop(aside=True)
        self._hosts = Hosts()
        self._clock = SystemClock()
        self._threads = Threads(limits.sessions)
        # A thread of its own: those of the loop may look up names for a minute, and leases end meanwhile.
        self._asking = ThreadPoolExecutor(1, "pop3fast-fleet-state")
        self._contexts = Contexts()
        self._looks: set[asyncio.Task[FetchReport | None]] = set()
        self._of_no_use: set[Key] = set()
        """The accounts of which a look was followed by a fetch that found nothing new."""
        self._loop = asyncio.get_running_loop()
        self._reports: asyncio.Queue[FetchReport | None] = asyncio.Queue()
        self._changed = asyncio.Event()
        """Set when a turn has ended."""
        self._running: dict[Lease, Claim] = {}
        self._returned: list[Returned] = []
        self._renewed_at = self._clock.now()
        self._stops_at: float | None = None
        """When fetches that are under way are ended, once the word to stop has come."""
        self._told = instruments()
        self._troubles: int | None = None
        """How many times in a row the state was lost; None before it was asked for the first time."""

    async def reports(self) -> AsyncGenerator[FetchReport, None]:
        """Work, and give the reports as they come. Raises `StateError` when the state cannot be used at all."""
        keeping = asyncio.create_task(self._keep())
        try:
            while (report := await self._reports.get()) is not None:
                yield report
            await keeping
        finally:
            self._end_now()
            # Whoever is cancelled in here does not wait any longer, but the work ends all the same.
            with suppress(StateError):
                await asyncio.shield(keeping)

    def _end_now(self) -> None:
        self._stops_at = self._clock.now()
        self._say_stop()
        self._changed.set()

    async def _keep(self) -> None:
        """Take accounts and give them back, until all is over."""
        try:
            while self._stops_at is None or self._running or self._returned:
                self._changed.clear()
                pause = await self._exchange()
                if self._stops_at is not None and pause and not self._running:
                    break  # without a state nothing can be given back; the leases end by themselves
                try:
                    await self._pause(pause)
                except asyncio.CancelledError:  # as in `_outlast`
                    self._end_now()
        finally:
            self._say_stop()
            await self._outlast(self._loop.run_in_executor(None, self._threads.end))
            await self._ask(self._turns.close)
            self._asking.shutdown()
            self._reports.put_nowait(None)

    async def _ask(self, call: Callable[[], T]) -> T:
        """Have the state asked, by one thread."""
        return await self._outlast(self._loop.run_in_executor(self._asking, call))

    async def _outlast(self, work: "asyncio.Future[T]") -> T:
        """Return what comes of *work*, also when this is cancelled: then all ends, and what was taken is given back.

        `asyncio.run` cancels whatever is left, as where a program leaves the loop over the reports, and waits for it.
        """
        while True:
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                if work.cancelled():
                    raise
                self._end_now()

    async def _exchange(self) -> float:
        """Give back and take what there is; return for how long the state is not to be asked, whatever happens."""
        returned, self._returned = self._returned, []
        # A report that nobody takes takes the place of a turn.
        free = min(self._limits.sessions, self._threads.most) - len(self._running) - self._reports.qsize()
        room = max(0, free) if self._stops_at is None else 0
        try:
            if self._running and self._clock.now() - self._renewed_at >= RENEW_SECONDS:
                self._renewed_at = self._clock.now()
                await self._ask(partial(self._turns.renew, [*self._running]))
            claims: list[Claim] = []
            if returned or room:
                claims = await self._ask(partial(self._turns.exchange, returned, room, self._limits.per_host))
        except StateError:
            self._returned = returned + self._returned
            if self._troubles is None:
                raise
            self._troubles += 1
            if self._told is not None:
                self._told.troubles.add(1)
            return RETRY_SECONDS[min(self._troubles, len(RETRY_SECONDS)) - 1]
        self._troubles = 0
        for claim in claims:
            self._running[claim.lease] = claim
            if self._told is not None:
                self._told.turns.add(1)
                self._told.late.record(claim.late)
            self._begin(claim)
        return 0.0

    def _begin(self, claim: Claim) -> None:
        """Begin the turn of an account: with a look where that may be enough."""
        began = self._clock.now()
        if self._stop.is_said:
            # The account came while everything was being ended.
            self._ended(claim, None, 0.0)
        elif claim.key in self._of_no_use or not may_look(claim, self._jobs[claim.key], self._clock.date()):
            self._fetch_aside(claim, began)
        else:
            task = self._loop.create_task(self._look(claim))
            self._looks.add(task)
            # This is called also when it was cancelled before it began.
            task.add_done_callback(partial(self._looked, claim, began))

    async def _look(self, claim: Claim) -> FetchReport | None:
        return await look(self._contexts.job(self._jobs[claim.key]), claim, self._hosts)

    def _looked(self, claim: Claim, began: float, task: "asyncio.Task[FetchReport | None]") -> None:
        self._looks.discard(task)
        if task.cancelled():
            self._ended(claim, None, self._clock.now() - began)
        elif task.exception() is not None or task.result() is None:
            # A fetch is to say what it was, such as a certificate that cannot be read.
            self._fetch_aside(claim, began, looked=True)
        else:
            self._ended(claim, task.result(), self._clock.now() - began)

    def _fetch_aside(self, claim: Claim, began: float, *, looked: bool = False) -> None:
        """Have a thread fetch."""
        try:
            self._threads.do(partial(self._turn, claim, began, looked=looked))
        except RuntimeError as error:  # the system has no thread at all
            job = self._jobs[claim.key]
            self._ended(claim, FetchReport(str(job.account), job.words, error=error), self._clock.now() - began)

    async def _pause(self, seconds: float) -> None:
        """Wait so many *seconds*, and then until a turn has ended or it is time to look again."""
        await self._wait(seconds, until_changed=False)
        await self._wait(min(LOOK_SECONDS, self._limits.every / 10), until_changed=True)

    async def _wait(self, seconds: float, *, until_changed: bool) -> None:
        end = self._clock.now() + seconds
        while (left := end - self._clock.now()) > 0 and not (until_changed and self._changed.is_set()):
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, STOP_SECONDS)):
                    await (self._changed.wait() if until_changed else asyncio.Event().wait())
            self._look_whether_to_stop(self._clock.now())
            if self._stop.is_said:
                break

    def _look_whether_to_stop(self, now: float) -> None:
        if self._stops_at is None and self._said is not None and self._said.is_set():
            self._stops_at = now + GRACE_SECONDS
        if self._stops_at is not None and now >= self._stops_at:
            self._say_stop()

    def _say_stop(self) -> None:
        self._stop.say()
        for task in self._looks:
            task.cancel()

    def _turn(self, claim: Claim, began: float, *, looked: bool = False) -> None:
        """Fetch, in a thread."""
        report = None if self._stop.is_said else self._fetch(claim)
        if looked and report is not None and report.ok and not report.fetched:
            self._of_no_use.add(claim.key)
        took = self._clock.now() - began
        with suppress(RuntimeError):  # the loop was closed: nobody gives it back but the end of the lease
            self._loop.call_soon_threadsafe(self._ended, claim, report, took)

    def _fetch(self, claim: Claim) -> FetchReport | None:
        """Return what came of it, None when it was interrupted."""
        job = self._jobs[claim.key]
        try:
            job = self._contexts.job(job)
            memory = self._turns.account(claim)
            return run_job(job, Surroundings(stop=self._stop, hosts=self._hosts, memory=memory))
        except Exception as error:  # noqa: BLE001 - one account's, whatever it is
            return FetchReport(str(job.account), job.words, error=error)
        except KeyboardInterrupt:
            return None

    def _ended(self, claim: Claim, report: FetchReport | None, took: float) -> None:
        """Take note of the end of a turn, on the loop."""
        before = Standing(claim.failures, MOST_QUIET if claim.quiet is None else claim.quiet, claim.delay)
        outcome = Outcome.INTERRUPTED if report is None else outcome_of(report)
        delay = 0.0 if report is None else report.login_delay
        turn = next_turn(before, outcome, delay, took, self._limits.every, random.uniform)
        success = int(self._clock.date()) if report is not None and report.ok else None
        self._returned.append(Returned(claim.lease, turn.seconds, turn.ahead, *turn.standing, success))
        del self._running[claim.lease]
        if self._told is not None:
            self._told.turns.add(-1)
        if report is not None:
            self._reports.put_nowait(report)
        self._changed.set()
