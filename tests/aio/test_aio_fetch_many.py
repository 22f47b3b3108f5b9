"""Many mailboxes at once on an event loop: as many as are wanted, no more, and none when nobody wants them any more."""

import asyncio
import threading
from collections import Counter
from contextlib import ExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from aio.running import run, until, url_of
from fetching import CountedFiles, fetched_on_a_loop
from maildrops import account_of, delivered, mail
from pop3fast import aio
from pop3fast.fetch import Account, FetchReport, Job, Progress, _further
from pop3fast.fetch._retrying import Surroundings
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from simulation.play import play
from simulation.world import FEATURES

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


def test_jobs_for_one_account_are_done_one_behind_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # However busy the machine is, the next one begins when the server has read QUIT.
    monkeypatch.setattr(_further, "QUIT_SECONDS", 20.0)

    async def main() -> None:
        # Far enough away that the sessions would overlap.
        with MailboxServer(MESSAGES, latency=0.02) as server:
            jobs = [Job(account_of(server), f"maildir:{tmp_path}/{place}") for place in range(3)]
            reports = [report async for report in aio.fetch_many(jobs, limit=3)]
            assert [report.fetched for report in reports] == [len(MESSAGES)] * 3
            assert [line for line in server.commands if line in {b"UIDL", b"QUIT"}] == [b"UIDL", b"QUIT"] * 3

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


LIMIT = 12


class Empty(asyncio.Protocol):
    """An empty maildrop of every user, which counts who is there, and greets nobody before so many have come."""

    there = most = 0
    ungreeted: ClassVar[list[Any]] = []

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - of two kinds, as asyncio has it
        self._transport = transport
        Empty.there += 1
        Empty.most = max(Empty.most, Empty.there)
        Empty.ungreeted.append(transport)
        if Empty.most >= LIMIT:
            while Empty.ungreeted:
                Empty.ungreeted.pop().write(b"+OK\r\n")

    def data_received(self, data: bytes) -> None:
        for line in data.splitlines():
            has_body = line in {b"CAPA", b"LIST", b"UIDL"}
            said = b"+OK 0 0\r\n.\r\n" if has_body else b"+OK 0 0\r\n"
            # A round trip, in which others could come.
            asyncio.get_running_loop().call_later(0.002, self._transport.write, said)

    def connection_lost(self, _: Exception | None) -> None:
        Empty.there -= 1


def test_a_server_sees_as_many_connections_as_the_limit_and_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Empty, "127.0.0.1", 0)
        url = f"pop3+plain://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        jobs = [
            Job(Account(url, user=f"user{number}", password="word"), f"maildir:{tmp_path}/{number}")
            for number in range(60)
        ]
        # The server is on the same loop: whatever held that up would hold up all of them.
        reports = [report async for report in aio.fetch_many(jobs, limit=LIMIT)]
        server.close()
        await server.wait_closed()
        assert [report.error for report in reports] == [None] * 60
        assert Empty.most == LIMIT
        await until(lambda: not Empty.there)

    run(main)


def test_nothing_is_done_to_the_disk_in_the_loop_s_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    files = CountedFiles(lambda *_: threads.add(threading.get_ident()))
    monkeypatch.setattr(
        "pop3fast.fetch._fetch_many.Surroundings", lambda **given: replace(Surroundings(**given), files=files)
    )

    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            jobs = jobs_of([server], tmp_path)
            assert [report.fetched async for report in aio.fetch_many(jobs)] == [len(MESSAGES)]

    run(main)
    assert threads
    assert threading.get_ident() not in threads


def no_job(_: int) -> Job:
    raise ZeroDivisionError


def test_what_the_jobs_raise_is_raised_where_the_reports_are_waited_for() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await anext(aio.fetch_many(map(no_job, range(1))))

    run(main)


def test_a_limit_below_one_is_a_mistake() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="limit"):
            await anext(aio.fetch_many([], limit=0))

    run(main)


@pytest.mark.parametrize("seed", range(40))
def test_every_promise_is_kept_in_a_story_on_a_loop_too(
    seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulation.play.run_job", fetched_on_a_loop)
    play(seed, folder, frozenset(FEATURES))
