"""Many mailboxes at once, in threads, in processes and on workers that die; each arrives once."""

import os
import pickle
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from maildrops import NEVER, Maildrop, account_of, delivered, mail
from pop3fast import AuthenticationError
from pop3fast.fetch import Account, FetchReport, Options, Progress, TaskLost, fetch_many, process_many
from pop3fast.fetch._files import Files
from pop3fast.fetch._retrying import Job
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from servers import DovecotServer, require

MESSAGES = [mail(number) for number in range(1, 21)]


@pytest.fixture(scope="module")
def dovecot() -> Iterator[DovecotServer]:
    """Dovecot, whose mail is on a disk and whose unique-ids are real."""
    require(DovecotServer)
    with DovecotServer() as running:
        yield running


def jobs_of(dovecot: DovecotServer, folder: Path, prefix: str, count: int, messages: int) -> list[Job]:
    jobs = []
    for number in range(count):
        contents = [mail(1000 * number + place, octets=2000).replace(b"\r\n", b"\n") for place in range(messages)]
        box = dovecot.add_mailbox(f"{prefix}{number}", contents)
        dovecot.settle(box)
        account = Account(
            f"pop3+plain://{dovecot.host}:{dovecot.plain_port}", user=box.user, password=box.password, timeout=30
        )
        jobs.append(Job(account, f"maildir:{folder}/{prefix}{number}", None, Options(delete=number % 2 == 0)))
    return jobs


def check(dovecot: DovecotServer, jobs: list[Job], messages: int) -> None:
    """Check that each message of each mailbox arrived once, and that what was to be deleted is."""
    for number, job in enumerate(jobs):
        assert delivered(job.words) == sorted(mail(1000 * number + place, octets=2000) for place in range(messages))
        left = [*(dovecot.home(job.account.login) / "INBOX").glob("[cn]*/*.localhost*")]
        assert len(left) == (0 if job.options.delete else messages)


def test_every_mailbox_of_dovecot_in_threads(dovecot: DovecotServer, tmp_path: Path) -> None:
    jobs = jobs_of(dovecot, tmp_path, "thread", 5, 30)
    told: list[FetchReport] = []
    reports = fetch_many(jobs, on_report=told.append)
    assert [report.destination for report in reports] == [job.destination for job in jobs]
    assert sorted(map(str, told)) == sorted(map(str, reports))
    assert [(report.ok, report.fetched, report.deleted) for report in reports] == [
        (True, 30, 30 if number % 2 == 0 else 0) for number in range(5)
    ]
    assert [report.fetched for report in fetch_many(jobs)] == [0] * 5
    check(dovecot, jobs, 30)


def test_one_account_s_end_is_its_own(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES) as good, MailboxServer(MESSAGES, password="another") as bad:
        jobs = [
            Job(account_of(bad), f"maildir:{tmp_path}/1"),
            Job(account_of(good), f"maildir:{tmp_path}/2"),
            Job(account_of(good), "nowhere"),
            Job(account_of(good), f"eml:{tmp_path}/3"),
        ]
        refused, whole, senseless, second = fetch_many(jobs)
        assert isinstance(refused.error, AuthenticationError)
        assert isinstance(senseless.error, ValueError)
        assert senseless.exit_status == 2
        # The same account to two places: one behind the other.
        assert (whole.fetched, second.fetched) == (20, 20)
    assert fetch_many([]) == []


def test_in_processes(tmp_path: Path) -> None:
    with (
        MailboxServer(MESSAGES, process=True) as one,
        MailboxServer(MESSAGES, process=True) as two,
        ProcessPoolExecutor(2, get_context("spawn")) as pool,
    ):
        jobs = [Job(account_of(server), f"eml:{tmp_path}/{server.port}") for server in (one, two)]
        assert pickle.loads(pickle.dumps(jobs)) == jobs  # noqa: S301 - its own
        reports = fetch_many(jobs, pool)
        assert [report.fetched for report in reports] == [20, 20]


def test_a_worker_that_is_lost_is_its_mailbox_s_error(tmp_path: Path) -> None:
    class Losing(Executor):
        def submit(self, *_: Any, **__: Any) -> "Future[Any]":  # noqa: ANN401
            future: Future[Any] = Future()
            future.set_exception(RuntimeError("the machine is gone"))
            return future

    with MailboxServer(MESSAGES) as server:
        (report,) = fetch_many([Job(account_of(server), f"eml:{tmp_path}/box")], Losing())
    assert isinstance(report.error, TaskLost)
    assert "the machine is gone" in str(report.error)
    assert report.exit_status == 1


class Breaking(Executor):
    """A pool that does one task, and is broken then."""

    def __init__(self) -> None:
        self.tasks: list[Future[Any]] = []

    def submit(self, fn: Any, /, *arguments: Any, **_: Any) -> "Future[Any]":  # noqa: ANN401
        if self.tasks:
            raise BrokenExecutor("a process in the process pool was terminated abruptly")
        self.tasks.append(Future())
        self.tasks[0].set_result(fn(*arguments))
        return self.tasks[0]


def test_a_pool_that_breaks_before_it_has_all_tasks_loses_none_of_the_reports(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES) as server:
        accounts = [
            Account(f"pop3+plain://{user}@{server.host}:{server.port}", password="password")
            for user in ("user", "other")
        ]
        jobs = [Job(account, f"eml:{tmp_path}/{account.login}") for account in accounts]
        done, lost = fetch_many(jobs, Breaking())
        assert (done.error, done.fetched) == (None, len(MESSAGES))
        assert isinstance(lost.error, TaskLost)
        # The same where a function is called with each message.
        state = str(tmp_path / "state")
        reports = {report.account: report for report in process_many(accounts, str, state=state, executor=Breaking())}
        done, lost = (reports[str(account)] for account in accounts)
        assert (done.error, done.fetched) == (None, len(MESSAGES))
        assert isinstance(lost.error, TaskLost)


def test_what_else_an_executor_says_when_it_is_given_a_task_cancels_those_that_it_has(tmp_path: Path) -> None:
    class Full(Executor):
        def __init__(self) -> None:
            self.tasks: list[Future[Any]] = []

        def submit(self, *_: Any, **__: Any) -> "Future[Any]":  # noqa: ANN401
            if self.tasks:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self.tasks.append(Future())
            return self.tasks[0]

    executor = Full()
    accounts = [Account(f"pop3+plain://{user}@127.0.0.1:1", password="password") for user in ("user", "other")]
    with pytest.raises(RuntimeError, match="after shutdown"):
        fetch_many([Job(account, f"eml:{tmp_path}/box") for account in accounts], executor)
    assert executor.tasks[0].cancelled()


def test_an_interrupt_while_threads_are_started_ends_those_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "pop3fast-fetch_1":
            raise KeyboardInterrupt
        begins(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        accounts = [Account(f"pop3+plain://{user}@127.0.0.1:{port}", password="x", timeout=NEVER) for user in "ab"]
        with pytest.raises(KeyboardInterrupt):
            fetch_many([Job(account, f"eml:{tmp_path}/box") for account in accounts])


def test_an_interrupt_ends_all_of_them(tmp_path: Path) -> None:
    drop = Maildrop(*((b"%d" % number, content) for number, content in enumerate(MESSAGES)))

    def instead(command: bytes) -> Reply | None:
        if command != b"RETR 11":
            return None
        os.kill(os.getpid(), signal.SIGINT)
        return Reply(b"+OK\r\nhalf", then="stall")

    drop.instead = instead
    with ScriptedServer(b"+OK ready\r\n", drop) as server:
        job = Job(account_of(server, NEVER), f"maildir:{tmp_path}/box", None, Options(delete=True))
        with pytest.raises(KeyboardInterrupt):
            fetch_many([job])
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("pop3fast-")]
        kept = len(delivered(job.words))
        assert drop.sent(b"DELE") == []
        drop.instead = lambda _: None
        assert [report.fetched for report in fetch_many([job])] == [len(MESSAGES) - kept]
    assert delivered(job.words) == sorted(MESSAGES)


def test_what_progress_raises_that_is_no_exception_ends_all_of_them(tmp_path: Path) -> None:
    class Enough(BaseException):
        """Not an error of one job."""

    def progress(_: Job, how_far: Progress) -> None:
        if how_far.messages == 3:
            raise Enough

    drop = Maildrop((b"1", MESSAGES[0]))
    drop.instead = lambda command: Reply(b"+OK\r\nhalf", then="stall") if command == b"RETR 1" else None
    with MailboxServer(MESSAGES) as one, ScriptedServer(b"+OK ready\r\n", drop) as stalls:
        jobs = [Job(account_of(one), f"eml:{tmp_path}/1"), Job(account_of(stalls, NEVER), f"eml:{tmp_path}/2")]
        with pytest.raises(Enough):
            fetch_many(jobs, progress=progress)
        assert fetch_many(jobs[:1])[0].ok
    assert delivered(jobs[0].words) == sorted(MESSAGES)


@pytest.mark.parametrize("kind", ["password", "token", "password_command"])
def test_who_is_asked_for_a_password_and_says_nothing_holds_nobody_back(tmp_path: Path, kind: str) -> None:
    class Enough(BaseException):
        """Not an error of one job."""

    asked, answer, pipe = threading.Event(), threading.Event(), tmp_path / "pipe"

    def says_nothing() -> str:
        asked.set()
        assert answer.wait(30)
        return "password"

    def progress(_: Job, how_far: Progress) -> None:
        if how_far.doing == "receiving":
            assert asked.wait(30)
            raise Enough

    def be_read() -> None:
        writer.append(os.open(pipe, os.O_WRONLY))  # returns when the command reads
        asked.set()

    writer: list[int] = []
    os.mkfifo(pipe)
    with MailboxServer(MESSAGES) as one, MailboxServer(MESSAGES, token="password") as two:
        url = f"pop3+plain://user@{two.host}:{two.port}"
        secret = ("cat", str(pipe)) if kind == "password_command" else says_nothing
        silent = Job(Account(url, **{kind: secret}), f"eml:{tmp_path}/2")  # type: ignore[arg-type]  # one of the three
        # A daemon: it waits for ever when no command comes to read, and then the test has failed.
        reader = threading.Thread(target=be_read, daemon=True)
        if kind == "password_command":
            reader.start()
        with pytest.raises(Enough):
            fetch_many([Job(account_of(one), f"eml:{tmp_path}/1"), silent], progress=progress)
        # Its account and its destination are free at once.
        (report,) = fetch_many([Job(Account(url, password="password"), f"eml:{tmp_path}/2")])
        assert report.fetched == len(MESSAGES)
        answer.set()
        if kind == "password_command":
            reader.join()
        for descriptor in writer:
            os.close(descriptor)


@pytest.mark.filterwarnings("ignore")  # Dask's and its dependencies' own
@pytest.mark.timeout(180)  # two interpreters have to load Dask
def test_on_workers_of_dask_of_which_one_is_killed(dovecot: DovecotServer, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    count, messages = 6, 400
    jobs = jobs_of(dovecot, tmp_path, "dask", count, messages)
    killed = tmp_path / "killed"

    def end_in_the_middle() -> None:
        make_visible, left = Files.link, [100]

        def make_visible_or_end(*arguments: Any) -> None:  # noqa: ANN401
            left[0] -= 1
            if not left[0]:
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            make_visible(*arguments)

        Files.link = make_visible_or_end  # type: ignore[assignment]

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        one, _ = client.run(os.getpid)
        client.run(end_in_the_middle, workers=[one])
        reports = fetch_many(jobs, client.get_executor(pure=False))
    assert killed.exists()
    assert [report.error for report in reports] == [None] * count
    check(dovecot, jobs, messages)
    again = fetch_many(jobs)
    assert [report.fetched for report in again] == [0] * count
