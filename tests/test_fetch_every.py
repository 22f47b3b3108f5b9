"""Fetching every so often: whose turn it is when, and that each account has its turns whatever the others do."""

import queue
import random
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maildrops import delivered, mail
from pop3fast.fetch import Account, FetchReport, Job, fetch_every, fetch_many, process_many
from pop3fast.fetch._every import JITTER, Schedule
from pop3fast.fetch._waiting import Stop
from pop3fast.testing import MailboxServer


def test_all_are_due_at_once_and_then_when_the_interval_has_passed_since_they_began() -> None:
    schedule = Schedule(2, 300, 1000.0, lambda _, most: most)
    assert [schedule.begin(1000.0) for _ in range(3)] == [0, 1, None]
    assert schedule.seconds_left(1000.0) is None
    schedule.end(0, 1010.0)
    assert schedule.seconds_left(1010.0) == pytest.approx(320)
    assert schedule.begin(1329.9) is None
    assert schedule.begin(1330.0) == 0
    # An account that took longer than the interval is due at once.
    schedule.end(1, 9000.0)
    assert schedule.seconds_left(9000.0) == 0
    assert schedule.begin(9000.0) == 1


@given(st.integers(1, 20), st.floats(1, 1000), st.lists(st.floats(0, 3000), max_size=60), st.randoms())
def test_nobody_has_two_turns_at_once_and_each_comes_when_it_is_due(
    turns: int, every: float, steps: list[float], chance: random.Random
) -> None:
    schedule, now = Schedule(turns, every, 0.0, chance.uniform), 0.0
    began: dict[int, float] = {}
    running: set[int] = set()
    for step in steps:
        while (turn := schedule.begin(now)) is not None:
            assert turn not in running
            if turn in began:
                assert now - began[turn] >= every * (1 - JITTER) - 1e-6
            began[turn] = now
            running.add(turn)
        left = schedule.seconds_left(now)
        assert (left is None) == (len(running) == turns)
        assert left is None or left <= every * (1 + JITTER) + 1e-6
        now += step
        if running:
            schedule.end(ended := min(running), now)
            running.discard(ended)


class EnoughError(Exception):
    pass


def test_a_fault_of_one_account_is_not_the_end_of_the_others_nor_of_its_own_turns(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    def on_report(job: Job, report: FetchReport) -> None:
        told.append((job.account.login, report.exit_status))
        if min(told.count(("user", 0)), told.count(("bad", 4))) >= 3:
            raise EnoughError

    with MailboxServer([mail(1)]) as good:
        url = f"{good.host}:{good.port}"
        accounts = [Account(f"pop3+plain://{user}@{url}", password=good.password) for user in ("user", "bad")]
        jobs = [Job(account, f"eml:{tmp_path}/{account.login}") for account in accounts]
        # And both at one place of one account are not fetched at once.
        jobs.append(Job(accounts[0], f"eml:{tmp_path}/again"))
        with pytest.raises(EnoughError):
            fetch_every(jobs, 0.02, on_report=on_report)
    assert delivered(f"eml:{tmp_path}/user") == delivered(f"eml:{tmp_path}/again") == [mail(1)]
    assert all(("bad", 0) != one != ("user", 1) for one in told)


def test_without_any_job_nothing_is_waited_for() -> None:
    with pytest.raises(ValueError, match="nothing would ever be fetched"):
        fetch_every([], 60)


@pytest.mark.parametrize("threads", [0, -1])
def test_less_than_one_thread_is_an_error_and_no_wait_without_end(threads: int, tmp_path: Path) -> None:
    jobs = [Job(Account("pop3+plain://user@127.0.0.1:1", password="x"), f"eml:{tmp_path}/box")]
    with pytest.raises(ValueError, match=f"threads is at least 1, not {threads}"):
        fetch_every(jobs, 60, threads=threads)
    with pytest.raises(ValueError, match=f"threads is at least 1, not {threads}"):
        fetch_many(jobs, threads=threads)
    with pytest.raises(ValueError, match=f"threads is at least 1, not {threads}"):
        process_many([], str, state=str(tmp_path / "state"), threads=threads)


def test_without_any_thread_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    jobs = [Job(Account("pop3+plain://user@127.0.0.1:1", password="x"), f"eml:{tmp_path}/box")]
    with pytest.raises(RuntimeError, match="no thread"):
        fetch_every(jobs, 60)


def test_whatever_on_report_raises_ends_it(tmp_path: Path) -> None:
    def empty(*_: object) -> None:
        # What the wait for a turn raises, too.
        raise queue.Empty

    jobs = [Job(Account("pop3+plain://user@127.0.0.1:1", password="x"), f"eml:{tmp_path}/box")]
    with pytest.raises(queue.Empty):
        fetch_every(jobs, 60, on_report=empty, before=lambda _: FetchReport("user", "box"))


def test_when_it_ends_no_turn_begins_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[str] = []
    has_second, is_told = threading.Event(), threading.Event()
    say = Stop.say

    def tell(stop: Stop) -> None:
        say(stop)
        is_told.set()

    def before(job: Job) -> FetchReport:
        began.append(job.account.login)
        if len(began) == 2:
            has_second.set()
            is_told.wait()
        return FetchReport(job.account.login, "box")

    def enough(*_: object) -> None:
        has_second.wait()
        raise EnoughError

    monkeypatch.setattr(Stop, "say", tell)
    accounts = [Account(f"pop3+plain://user{number}@127.0.0.1:1", password="x") for number in range(20)]
    jobs = [Job(account, f"eml:{tmp_path}/{account.login}") for account in accounts]
    with pytest.raises(EnoughError):
        fetch_every(jobs, 60, threads=1, on_report=enough, before=before)
    assert began == ["user0", "user1"]


def test_what_progress_raises_ends_it_and_leaves_no_thread(tmp_path: Path) -> None:
    def progress(*_: object) -> None:
        raise KeyboardInterrupt

    with MailboxServer([mail(1)]) as server:
        account = Account(f"pop3+plain://user@{server.host}:{server.port}", password=server.password)
        with pytest.raises(KeyboardInterrupt):
            fetch_every([Job(account, f"eml:{tmp_path}/box")], 60, progress=progress)


def test_when_it_ends_no_thread_is_waited_for_that_has_not_been_told(tmp_path: Path) -> None:
    def enough(*_: object) -> None:
        raise EnoughError

    with MailboxServer([mail(1)]) as server:
        accounts = [
            Account(f"pop3+plain://user{number}@{server.host}:{server.port}", password="x") for number in range(8)
        ]
        jobs = [Job(account, f"eml:{tmp_path}/{account.login}") for account in accounts]
        with pytest.raises(EnoughError):
            fetch_every(jobs, 60, threads=8, on_report=enough)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pop3fast-fetch")]
