"""Many mailboxes at once on an event loop: as many as are wanted, no more, and none when nobody wants them any more."""

import asyncio
import threading
from collections import Counter
from contextlib import ExitStack, aclosing
from pathlib import Path

import pytest

from aio.running import run, until, url_of
from maildrops import account_of, delivered, mail
from pop3fast import aio
from pop3fast.fetch import Account, FetchReport, Job, Progress
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer

MESSAGES = [mail(number) for number in range(1, 6)]


def jobs_of(servers: list[MailboxServer], folder: Path) -> list[Job]:
    return [Job(account_of(server), f"maildir:{folder}/{place}") for place, server in enumerate(servers)]


def test_every_mailbox_arrives_and_no_more_at_once_than_are_wanted(tmp_path: Path) -> None:
    under_way: set[str] = set()
    most: list[int] = []
    threads: set[int] = set()

    async def progress(job: Job, how_far: Progress) -> None:
        threads.add(threading.get_ident())
        under_way.add(str(job.destination))
        await asyncio.sleep(0)
        most.append(len(under_way))
        if how_far.messages == len(MESSAGES):
            under_way.discard(str(job.destination))

    async def main() -> None:
        with ExitStack() as stack:
            servers = [stack.enter_context(MailboxServer(MESSAGES)) for _ in range(6)]
            jobs = jobs_of(servers, tmp_path)
            reports = [report async for report in aio.fetch_many(jobs, limit=2, progress=progress)]
        assert Counter(report.fetched for report in reports) == {len(MESSAGES): 6}
        for job in jobs:
            assert delivered(str(job.destination)) == sorted(MESSAGES)
        assert max(most) <= 2
        assert threads == {threading.get_ident()}

    run(main)


def test_what_ends_one_job_is_in_its_report_and_ends_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server, MailboxServer(MESSAGES, password="another") as other:
            jobs = [
                Job(account_of(server), f"maildir:{tmp_path}/good"),
                Job(Account(url_of(other), user="user", password="wrong"), f"maildir:{tmp_path}/bad"),
            ]
            reports = [report async for report in aio.fetch_many(jobs)]
        assert sorted((report.fetched, report.error is None) for report in reports) == [(0, False), (5, True)]

    run(main)


@pytest.mark.parametrize("how", ["cancelled", "left"])
def test_when_nobody_wants_it_any_more_it_ends(how: str, tmp_path: Path) -> None:
    async def main() -> None:
        with (
            MailboxServer(MESSAGES) as server,
            ScriptedServer(b"+OK\r\n", lambda _: Reply(b"", then="stall")) as silent,
        ):
            jobs = [
                Job(account_of(server), f"maildir:{tmp_path}/good"),
                Job(account_of(silent), f"maildir:{tmp_path}/silent"),
            ]
            reports: list[FetchReport] = []

            async def collect() -> None:
                async with aclosing(aio.fetch_many(jobs)) as coming:
                    async for report in coming:
                        reports.append(report)
                        if how == "left":
                            return

            task = asyncio.create_task(collect())
            await until(lambda: reports and silent.commands)
            if how == "cancelled":
                task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() == (how == "cancelled")
            assert [report.fetched for report in reports] == [len(MESSAGES)]
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("pop3fast-fetch")]

    run(main)


def test_a_limit_below_one_is_a_mistake() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="limit"):
            await anext(aio.fetch_many([], limit=0))

    run(main)
