"""Too many open files: whatever opens something waits until there is a descriptor, and says so when there is none.

What was open of the same mailbox is synced and closed first. Nothing is lost, delivered twice or left lying about.
"""

import contextlib
import errno
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fetching import CountedFiles
from maildrops import FastClock, InterruptedClock, account_of, delivered, mail
from pop3fast._dial import dial
from pop3fast.fetch import Identity, Options, State, fetch_mailbox, open_destination
from pop3fast.fetch._descriptors import OPENING, SHORTAGE_SECONDS
from pop3fast.fetch._errors import DestinationError, StateError
from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import ReadBack
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.destinations._destination import Destination
from pop3fast.fetch.memory import _state_schema as schema
from pop3fast.testing import MailboxServer

KINDS = ("maildir", "mbox", "eml")
LARGE = 100_000
MESSAGES = [mail(1), mail(2, LARGE), mail(3), mail(4, LARGE), mail(5)]


class Short(Files):
    """Says EMFILE, or what it is told, *times* times at each place that opens something: at each call of each name."""

    def __init__(self, times: int, number: int = errno.EMFILE) -> None:
        self.said: dict[tuple[str, object], int] = {}
        self._times = times
        self._number = number
        self._lock = threading.Lock()

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - whatever Files has
        call = super().__getattribute__(name)
        if name not in OPENING:
            return call

        def refusing(*arguments: object) -> object:
            with self._lock:
                key = (name, arguments[0])
                self.said[key] = self.said.get(key, 0) + 1
                refuses = self.said[key] <= self._times
            if refuses:
                raise OSError(self._number, os.strerror(self._number))
            return call(*arguments)

        return refusing


@pytest.fixture(autouse=True)
def _spools_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pop3fast.fetch.destinations._spool.MEMORY_OCTETS", 1000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("times", [1, 3])
def test_every_call_that_opens_waits(tmp_path: Path, kind: str, number: int, times: int) -> None:
    to = f"{kind}:{tmp_path}/box"
    files = Short(times, number)
    clock = FastClock()
    deleted = 0
    with MailboxServer(MESSAGES) as server:
        for delete in (False, True):
            job = Job(account_of(server), to, None, Options(delete=delete, checkpoint_messages=2))
            report = run_job(job, Surroundings(clock=clock, files=files, inline=True))
            assert (report.error, report.failures) == (None, [])
            deleted += report.deleted
    assert deleted == len(MESSAGES)
    assert sorted(delivered(to)) == sorted(MESSAGES)
    names = {name for name, _ in files.said}
    assert names >= ({"open_parent", "create", "open_to_append"} if kind == "mbox" else {*OPENING} - {"open_to_append"})
    assert bool(clock.pauses) == (times > 1), "the second attempt follows at once, for what was open is closed"
    assert not [path for path in tmp_path.rglob("*") if "tmp" in path.name and path.is_file()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPENING)
def test_when_there_is_never_one_that_is_said_and_nothing_is_lost(tmp_path: Path, kind: str, name: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    Path(tmp_path / "box").touch() if kind == "mbox" else None

    def refuse(_: int, called: str) -> None:
        if called == name:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    clock = FastClock()
    with MailboxServer(MESSAGES) as server:
        surroundings = Surroundings(clock=clock, files=CountedFiles(refuse), inline=True)
        report = run_job(Job(account_of(server), to, None, Options(delete=True)), surroundings)
        if report.error is not None:
            assert isinstance(report.error, DestinationError)
            assert "ulimit -n" in str(report.error)
            assert sum(clock.pauses) >= SHORTAGE_SECONDS
        assert fetch_mailbox(account_of(server), to, delete=True).error is None
    assert sorted(delivered(to)) == sorted(MESSAGES)


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_is_in_a_hurry_waits_for_none(tmp_path: Path, kind: str) -> None:
    clock = FastClock()
    destination = open_destination(f"{kind}:{tmp_path}/box", Short(10**9), clock)
    destination.hurry()
    with pytest.raises(DestinationError, match="ulimit"):
        destination.open()
    assert clock.pauses == []


class Narrow(Files):
    """Gives no more than *most* descriptors at once."""

    def __init__(self, most: int) -> None:
        self.refused = 0
        self._most = most
        self._open: set[int] = set()
        self._lock = threading.Lock()

    def create(self, name: str, at: int) -> int:
        with self._lock:
            if len(self._open) >= self._most:
                self.refused += 1
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self._open.add(file := super().create(name, at))
            return file

    def close(self, descriptor: int) -> None:
        with self._lock:
            super().close(descriptor)
            self._open.discard(descriptor)


@pytest.mark.parametrize("octets", [40, LARGE])
@pytest.mark.parametrize("inline", [False, True])
def test_what_is_open_is_synced_and_closed_before_anybody_waits(tmp_path: Path, octets: int, *, inline: bool) -> None:
    """Without it, all who have a part of what there is would wait for each other."""
    messages = [mail(number, octets) for number in range(100)]
    files = Narrow(1)
    with MailboxServer(messages) as server:
        job = Job(account_of(server), f"maildir:{tmp_path}/box")
        report = run_job(job, Surroundings(files=files, inline=inline))
        assert report.error is None
    assert files.refused
    assert sorted(delivered(job.words)) == sorted(messages)


@pytest.mark.parametrize("kind", ["maildir", "eml"])
def test_a_thread_that_reads_back_touches_nothing_of_the_one_that_delivers(tmp_path: Path, kind: str) -> None:
    """It would sync, beside that one, what that one has open and is about to sync."""
    refused: list[str] = []

    def refuse_the_first(_: int, called: str) -> None:
        if called == "open_to_read" and not refused:
            refused.append(called)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    files = CountedFiles(refuse_the_first)
    destination = open_destination(f"{kind}:{tmp_path}/box", files, FastClock())
    destination.open()
    with State(str(tmp_path / "state")).account("host", 110, "user") as account:
        destination.prepare(account.digest, account)
        deliver(destination, 1, mail(1))
        entries = destination.flush()
        deliver(destination, 2, mail(2, LARGE))
        files.calls.clear()
        assert destination.read_back(entries, fresh=True) == [ReadBack.WHOLE]
        assert refused
        assert "sync" not in files.calls
        assert len(destination.flush()) == 1
    destination.close()
    assert sorted(delivered(f"{kind}:{tmp_path}/box")) == sorted([mail(1), mail(2, LARGE)])


def deliver(destination: Destination, number: int, content: bytes) -> None:
    delivery = destination.begin(Identity(b"%d" % number))
    delivery.write(content)
    delivery.end(len(content))


def cannot_open(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY_DIRECTORY])
def test_a_state_that_does_not_open_without_a_reason_is_tried_some_times(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(_: str) -> sqlite3.Connection:
        raise cannot_open(code)

    monkeypatch.setattr(schema, "connect", connect)
    clock = FastClock()
    with pytest.raises(StateError, match="unable to open"):
        State(str(tmp_path / "state"), clock)
    assert len(clock.pauses) == schema.UNEXPLAINED - 1
    monkeypatch.setattr(schema, "_no_descriptors", lambda: True)
    clock = FastClock()
    with pytest.raises(StateError, match="ulimit -n"):
        State(str(tmp_path / "state"), clock)
    assert sum(clock.pauses) >= SHORTAGE_SECONDS


IN_A_CHILD = """
import os, resource, sys
from pathlib import Path
from fetching import fetch
from maildrops import FastClock
from pop3fast.fetch import Identity, State, open_destination

class Clock(FastClock):
    def pause(self, seconds):
        super().pause(seconds)
        if taken:
            os.close(taken.pop())

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
for free in range(12):
    for kind in ("maildir", "mbox", "eml"):
        path = f"{sys.argv[1]}/{kind}{free}"
        # Half of them with a state and a box that are there already.
        before = open_destination(f"{kind}:{path}")
        if free % 2:
            before.open(); State(path + ".state").account("host", 110, "user").close(); before.close()
        try:
            while True:
                taken.append(os.open("/", os.O_RDONLY))
        except OSError:
            pass
        for _ in range(free):
            os.close(taken.pop())
        clock = Clock()
        destination = open_destination(f"{kind}:{path}", clock=clock)
        destination.open()
        with State(path + ".state", clock).account("host", 110, "user") as account:
            destination.prepare(account.digest, account)
            for number in range(3):
                delivery = destination.begin(Identity(b"%d" % number))
                delivery.write(b"Subject: x\\r\\n\\r\\n" + b"x" * 100_000)
                delivery.end()
            entries = destination.flush()
            account.remember(entries)
            assert len(entries) == 3
            assert [each.name for each in destination.read_back(entries, fresh=True)] == ["WHOLE"] * 3
            assert len(account.seen()) == 3
        destination.close()
        assert clock.pauses or free, (kind, free)
        while taken:
            os.close(taken.pop())
print("all")
"""


def test_where_no_descriptor_is_left_all_waits_for_those_that_are_closed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "all\n", "")


SOME_ACCOUNTS = """
import resource, sys
from pop3fast.fetch import Account, Job, Options, fetch_many

kind, most, *ports = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(most),) * 2)
accounts = [Account(f"pop3+plain://user@127.0.0.1:{port}", password="password") for port in ports]
jobs = [Job(account, f"{kind}:box{number}", None, Options(delete=True)) for number, account in enumerate(accounts)]
for report in fetch_many(jobs, threads=len(jobs)):
    print(report.fetched, report.deleted, report.error, report.failures)
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("accounts", "most"), [(8, 128), (1, 32)])
def test_a_process_that_may_open_few_files_fetches_all(tmp_path: Path, kind: str, accounts: int, most: int) -> None:
    messages = [mail(number, LARGE if number % 8 == 0 else 40) for number in range(160)]
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(MailboxServer(messages)) for _ in range(accounts)]
        done = subprocess.run(
            [sys.executable, "-c", SOME_ACCOUNTS, kind, str(most), *(str(server.port) for server in servers)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            timeout=120,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "160 160 None []\n" * accounts
    for number in range(accounts):
        assert sorted(delivered(f"{kind}:{tmp_path}/box{number}")) == sorted(messages)


def test_the_word_to_stop_ends_the_wait_for_a_descriptor_for_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise StateError(path, "no descriptor") from OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("pop3fast.fetch.memory._state.make_state", refuse)
    stop = Stop()
    clock = InterruptedClock(stop)
    with MailboxServer(MESSAGES) as server, pytest.raises(KeyboardInterrupt):
        run_job(Job(account_of(server), f"eml:{tmp_path}/box"), Surroundings(clock, Files(), stop))
    assert (len(clock.pauses), clock.late) == (3, [])


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_connection_waits_for_a_descriptor_like_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refusals = iter(range(2))

    def short(*arguments: Any, **named: Any) -> object:  # noqa: ANN401 - as it is given
        for _ in refusals:
            raise OSError(number, os.strerror(number))
        return dial(*arguments, **named)

    monkeypatch.setattr("pop3fast.fetch._waiting.dial", short)
    clock = FastClock()
    with MailboxServer(MESSAGES) as server:
        report = run_job(Job(account_of(server), f"eml:{tmp_path}/box"), Surroundings(clock, Files(), Stop()))
    assert (report.fetched, report.sessions, report.warnings) == (5, 1, [])
    assert clock.pauses, "it was waited for"
