"""`pop3fast fleet`: this process is one worker of those that share the accounts of a configuration.

Owns the state that all accounts have together, and that SIGTERM ends it in order. The library shares out the accounts
and fetches; what is said of a fetch is what `fetch` says of it.
"""

import argparse
import asyncio
import signal
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import replace

from pop3fast.cli._fetching import Task, Told, task_of
from pop3fast.cli._log import opened_log
from pop3fast.cli._selection import shown_name, status_of
from pop3fast.cli._settings import Settings
from pop3fast.cli._text import UsageError
from pop3fast.fetch import Job, fetch_fleet

NO_STATE = "a fleet needs one state that all its workers use: --state postgresql://user@host/database"


def fleet(accounts: dict[str, Settings], command: argparse.Namespace) -> int:
    """Be a worker for *accounts* until SIGTERM, after which all is well; an interrupt passes through.

    Ends where no account can begin.
    """
    for account, settings in accounts.items():
        if settings.import_seen is not None or settings.from_now:
            raise UsageError(
                f"{shown_name(account)}import-seen and from-now are for pop3fast fetch, once, before a fleet"
            )
    tasks = [task_of(account, settings, command, alone=False) for account, settings in accounts.items()]
    states = {task.job.state for task in tasks if task.job is not None}
    if len(states) > 1 or None in states:
        raise UsageError(NO_STATE)
    with opened_log(command.log) as log:
        told = Told(command, log)
        statuses = [told.end(task, task.failed) for task in tasks if task.failed is not None]
        if len(statuses) == len(tasks):
            return status_of(statuses)
        try:
            return asyncio.run(_work(tasks, str(states.pop()), command, told))
        except ValueError as error:
            raise UsageError(str(error)) from None
        except KeyboardInterrupt as interrupt:
            interrupt.add_note("interrupted: what was delivered is remembered; other workers go on with it")
            raise


async def _work(tasks: list[Task], state: str, command: argparse.Namespace, told: Told) -> int:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    jobs = [*_jobs_of(tasks)]
    of_account = {str(job.account): task for task, job in jobs}
    reports = fetch_fleet(
        [job for _, job in jobs],
        state=state,
        every=command.every,
        limit=command.at_once,
        per_host=command.per_host,
        stop=stop,
    )
    async with aclosing(reports):
        async for report in reports:
            # A command that is run afterwards may take its time.
            await asyncio.to_thread(told.end, of_account[report.account], report)
    return 0


def _jobs_of(tasks: Iterable[Task]) -> Iterable[tuple[Task, Job]]:
    for task in tasks:
        if task.job is not None:
            said = task.settings.patience is not None
            # No worker waits for a maildrop that is in use, unless somebody says so.
            options = task.job.options if said else replace(task.job.options, patience=0)
            yield task, replace(task.job, options=options)
