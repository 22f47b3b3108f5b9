"""Polls many mailboxes on one event loop, and delivers what is new in each to a Maildir of its own.

python examples/poll_mailboxes.py mailboxes.toml ~/Mail --every 300

The file has a table for each mailbox, whose name is that of its Maildir:

[anna]
url = "pop3s://anna@mail.example.org"
password-file = "/etc/mailboxes/anna"

Each message is delivered once, however often the program is stopped, killed or started anew; Ctrl-C and SIGTERM end it
within a second. What could not be fetched is reported on standard error, and tried again in the next round.
"""

import argparse
import asyncio
import signal
import sys
import tomllib
from collections.abc import Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path

from pop3fast import aio
from pop3fast.fetch import Account, FetchReport, Job


def jobs_of(mailboxes: Path, folder: Path) -> list[Job]:
    """Return what is to be fetched, and where to; a password is read each time that it is needed."""
    tables = tomllib.loads(mailboxes.read_text(encoding="utf-8"))
    return [
        Job(Account(table["url"], password=partial(password_in, table["password-file"])), f"maildir:{folder / name}")
        for name, table in tables.items()
    ]


def password_in(path: str) -> str:
    """Return the first line of a file."""
    return Path(path).read_text(encoding="utf-8").splitlines()[0]


async def poll(jobs: Sequence[Job], every: float, at_once: int) -> None:
    """Do all *jobs*, *at_once* at a time, and again *every* seconds after the last is done, until it is cancelled."""
    while True:
        async with aclosing(aio.fetch_many(jobs, limit=at_once)) as reports:
            async for report in reports:
                say(report)
        await asyncio.sleep(every)


def say(report: FetchReport) -> None:
    """Say of a mailbox what is worth a line."""
    if report.fetched:
        print(report.account, report.fetched, "messages", flush=True)
    if not report.ok:
        print(report.account, report.error or report.failures, file=sys.stderr, flush=True)


async def main() -> None:
    """Do what the arguments say."""
    arguments = argparse.ArgumentParser(description="Poll many mailboxes on one event loop.")
    arguments.add_argument("mailboxes", type=Path)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--every", type=float, default=300.0, metavar="SECONDS")
    arguments.add_argument("--at-once", type=int, default=100, metavar="MAILBOXES")
    given = arguments.parse_args()

    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    jobs = jobs_of(given.mailboxes, given.folder.expanduser())
    with suppress(asyncio.CancelledError):
        await poll(jobs, given.every, given.at_once)


if __name__ == "__main__":
    asyncio.run(main())
