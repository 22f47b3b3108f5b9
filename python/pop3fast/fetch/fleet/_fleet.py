"""fetch_fleet: what a program calls to be a worker of a fleet.

Owns what its arguments have to be. Importing it does not import asyncio; calling it does.
"""

import os
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeAlias

from pop3fast.fetch._options import Options
from pop3fast.fetch._report import FetchReport
from pop3fast.fetch._retrying import Job
from pop3fast.fetch._waiting import SystemClock
from pop3fast.fetch.accounts._account import Account
from pop3fast.fetch.destinations._kinds import open_destination
from pop3fast.fetch.memory._states import is_url

if TYPE_CHECKING:
    from pop3fast.fetch.fleet._worker import Said
    from pop3fast.fetch.memory._postgres_turns import Key

EVERY_SECONDS = 300.0
"""How often people expect to see new mail that is fetched by somebody else."""

LIMIT = 1000
"""How many sessions a worker holds at once: each has a thread, a socket and a file or two."""

PER_HOST = 8
"""How many sessions all workers hold with a host at once: providers were seen to let in ten from an address."""

OPTIONS = Options(patience=0)
"""What is asked for when nothing is: no worker waits for a maildrop that is in use, which has another turn."""

Where: TypeAlias = str | PurePath
"""A destination that any worker can open."""


def fetch_fleet(  # noqa: PLR0913 - each by its name, all but the first with a default or a reason
    accounts: Iterable[Account | Job],
    destination: "Where | Callable[[Account], Where] | None" = None,
    *,
    state: str | os.PathLike[str],
    every: float = EVERY_SECONDS,
    limit: int = LIMIT,
    per_host: int = PER_HOST,
    stop: "Said | None" = None,
    options: Options = OPTIONS,
) -> AsyncGenerator[FetchReport, None]:
    """Fetch the mail of *accounts* again and again, each about *every* so many seconds; ``async for`` gets the reports.

    Other workers, here or on other machines, with the same *state* (``postgresql://user@host/database``) share the
    accounts: each is one worker's at a time, and when a worker dies, others take its accounts over within minutes.
    Where *state* is a file, this worker has all accounts to itself.

    *destination* is where the mail goes, of all accounts or, by a function, of each; an account may also be a `Job`,
    which says it itself, and whose own state does not count. *limit* is how many sessions this worker holds at once;
    *per_host* how many all workers hold with a host. *options* are those of each fetch. An account that fails has its
    next turn later and later, one with new mail comes before others, and the pause that a server wants between logins
    (LOGIN-DELAY) is kept, whichever worker is next. A database remembers all that, a file does not.

    It goes on until *stop*, an event of `threading` or `asyncio`, is set: then no turn begins any more, fetches that
    are under way may end for ten seconds, and what was taken is given back. Leaving the loop, or cancelling it, ends
    all within a second. What was delivered stays delivered and is remembered, however it ends.

    What ends a turn is in its report's ``error``, and does not end others. A state that is lost later is waited for.
    Raises `ValueError` and ``TypeError`` for arguments that make no sense, and, from the loop, `StateError` for a state
    that cannot be used when it begins.
    """
    # Importing asyncio takes 50 ms, and only few need it.
    from pop3fast.fetch.fleet._alone import TurnsAlone  # noqa: PLC0415 - as above
    from pop3fast.fetch.fleet._worker import Limits, Worker  # noqa: PLC0415 - as above
    from pop3fast.fetch.memory._postgres_turns import PostgresTurns  # noqa: PLC0415 - as above

    for name, value in (("limit", limit), ("per_host", per_host)):
        if value < 1:
            raise ValueError(f"{name} is at least 1, not {value!r}")
    if not every > 0:
        raise ValueError(f"every is more than 0 seconds, not {every!r}")
    jobs = _jobs_of(accounts, destination, os.fspath(state), options)
    if not jobs:
        raise ValueError("there are no accounts, so nothing would ever be fetched")

    async def reports() -> AsyncGenerator[FetchReport, None]:
        keys = [*jobs]
        turns = PostgresTurns(str(state), keys) if is_url(state) else TurnsAlone(keys, SystemClock())
        worker = Worker(jobs, turns, Limits(every, limit, per_host), stop)
        async with aclosing(worker.reports()) as found:
            async for report in found:
                yield report

    return reports()


def _jobs_of(
    accounts: Iterable[Account | Job],
    destination: "Where | Callable[[Account], Where] | None",
    state: str,
    options: Options,
) -> "dict[Key, Job]":
    jobs: dict[Key, Job] = {}
    for each in accounts:
        job = each if isinstance(each, Job) else Job(each, _where(each, destination), None, options)
        if job.options.dry_run:
            raise ValueError("a dry run is done once, and not by a fleet")
        open_destination(job.destination).close()
        key = job.account.host, job.account.port, job.account.login
        if key in jobs:
            raise ValueError(f"{job.account} is there twice: each account of a fleet has one destination")
        jobs[key] = replace(job, state=state)
    return jobs


def _where(account: Account, destination: "Where | Callable[[Account], Where] | None") -> Where:
    if destination is None:
        raise ValueError(f"nobody says where the mail of {account} goes")
    return destination(account) if callable(destination) else destination
