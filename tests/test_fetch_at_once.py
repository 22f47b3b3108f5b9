"""`--jobs-per-account`: many deliveries at once, of which none is lost, and a kill repeats those under way at most."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import NoReturn

import pytest

from commandline import plain_url, pop3fast
from fetching import in_child
from lmtp import LmtpServer
from maildrops import Maildrop, RushingClock, account_of, mail
from pop3fast.fetch import (
    AccountState,
    DestinationError,
    Entry,
    FetchReport,
    Identity,
    Job,
    Options,
    State,
    StateError,
)
from pop3fast.fetch._retrying import Surroundings, run_job
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.destinations._at_once import AtOnce
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.fetch.destinations._simple import SimpleDestination
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer

MAILS = [(b"u%d" % number, mail(number)) for number in range(1, 10)]
JOBS = 3


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job_of(server: ScriptedServer, to: str, jobs: int = JOBS, **options: bool) -> Job:
    return Job(account_of(server), to, None, Options(**options), recipient="me", jobs_per_account=jobs)  # type: ignore[arg-type]


def fetch(server: ScriptedServer, to: str, jobs: int = JOBS, **options: bool) -> FetchReport:
    return run_job(job_of(server, to, jobs, **options))


def script(text: str) -> str:
    path = Path("program")
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return f"pipe:{path.absolute()}"


def test_when_what_is_done_cannot_be_kept_nothing_more_is_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk, say: each message that is delivered then comes again."""
    got: list[bytes] = []

    class Lane(SimpleDestination):
        path = "lane"

        def deliver(self, message: OutgoingMessage) -> None:
            got.append(message.content)

    def fail(*_: object) -> NoReturn:
        raise StateError("state", "database or disk is full")

    def deliver_all(destination: AtOnce) -> None:
        for number in range(10):
            delivery = destination.begin(Identity(b"u%d" % number))
            delivery.write(mail(number))
            delivery.end()
        destination.flush()

    with State(tmp_path / "state").account("h", 110, "me") as account:
        monkeypatch.setattr(account, "note_handled", fail)
        destination = AtOnce([Lane()])
        destination.prepare(account.digest, account)
        try:
            with pytest.raises(StateError):
                deliver_all(destination)
        finally:
            destination.close()
    assert got == [mail(0)]


@pytest.mark.parametrize("jobs", [1, JOBS])
def test_so_many_are_under_way_at_once_and_no_more(server: ScriptedServer, drop: Maildrop, jobs: int) -> None:
    together = threading.Barrier(jobs)
    inside: list[int] = []
    most: list[int] = []

    def instead(command: bytes) -> bytes | None:
        if command.startswith(b". "):
            inside.append(1)
            most.append(len(inside))
            together.wait(20)
            inside.pop()
        return None

    with LmtpServer() as lmtp:
        lmtp.instead = instead
        report = fetch(server, f"lmtp:{lmtp.where}", jobs, delete=True)
        lmtp.wait()
        assert (report.fetched, report.deleted, report.error) == (9, 9, None)
        assert sorted(got.content for got in lmtp.got) == sorted(content for _, content in MAILS)
        assert lmtp.connections == max(most) == jobs
        if jobs == 1:
            assert [got.content for got in lmtp.got] == [content for _, content in MAILS]
    assert drop.messages == []


def test_each_message_has_its_own_outcome(server: ScriptedServer, drop: Maildrop) -> None:
    to = script(
        'input=$(cat); case $input in *"ject: 3"*) exit 75;; *"ject: 5"*) exit 65;; *"ject: 7"*) kill $$;; esac'
    )
    report = fetch(server, to, delete=True)
    assert (report.fetched, report.deleted, report.error, report.exit_status) == (6, 6, None, 1)
    assert [(named.uid, named.why.partition("program ")[2]) for named in sorted(report.failures)] == [
        (b"u3", "ended with exit status 75 (not now)"),
        (b"u5", "ended with exit status 65 (the message is malformed)"),
        (b"u7", "was ended by SIGTERM"),
    ]
    assert [uid for uid, _ in drop.messages] == [b"u3", b"u5", b"u7"]
    report = fetch(server, to, delete=True)
    assert sorted(named.uid for named in report.failures) == [b"u3", b"u7"]
    assert [named.uid for named in report.refused] == [b"u5"]


def test_messages_without_unique_ids_are_delivered_once_each(server: ScriptedServer, drop: Maildrop) -> None:
    drop.messages = [(b"", mail(number)) for number in (1, 2, 1, 3, 1)]
    to = script("grep ^Subject: >> got")
    for _ in range(2):
        assert fetch(server, to).error is None
    assert Counter(Path("got").read_text().split("\n")) == {"Subject: 1": 3, "Subject: 2": 1, "Subject: 3": 1, "": 1}


def test_a_kill_repeats_what_was_under_way_and_no_more(server: ScriptedServer, drop: Maildrop) -> None:
    to = script('echo "$POP3FAST_KEY" >> got')
    note = AccountState.note_handled
    noted: list[int] = []

    def die_at_the_fifth(memory: AccountState, entry: Entry, remembered: Entry) -> None:
        noted.append(1)
        if len(noted) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        note(memory, entry, remembered)

    def fetch_and_die() -> None:
        AccountState.note_handled = die_at_the_fifth  # type: ignore[assignment, method-assign]
        fetch(server, to, delete=True)

    assert in_child(fetch_and_die) == -signal.SIGKILL
    assert len(drop.messages) == 9
    assert fetch(server, to, delete=True).deleted == 9
    times = Counter(Path("got").read_text().split())
    assert len(times) == 9
    assert 1 <= times.total() - 9 <= JOBS


def test_the_word_to_stop_ends_all_of_them_and_what_was_done_is_remembered(
    server: ScriptedServer, drop: Maildrop
) -> None:
    to = script('input=$(cat); case $input in *"ject: 1"*) exit 0;; esac; echo x >> waiting; exec sleep 1000')
    stop, clock = Stop(), RushingClock(1000.0)

    def watch() -> None:
        while not Path("waiting").exists() or len(Path("waiting").read_text().split()) < JOBS:
            threading.Event().wait(0.01)
        stop.say()
        clock.rushes = True

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        run_job(job_of(server, to), Surroundings(stop=stop, clock=clock))
    watcher.join()
    assert len(drop.messages) == 9
    report = fetch(server, script("exit 0"), delete=True)
    assert (report.fetched + report.seen, report.deleted) == (9, 9)
    assert report.fetched >= 8
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pop3fast")]


@pytest.mark.parametrize("error", [DestinationError("there", "deliver to", "it is gone"), OSError("it is gone")])
def test_when_nothing_can_be_delivered_any_more_nothing_more_is_tried(
    server: ScriptedServer, drop: Maildrop, error: Exception
) -> None:
    tried: list[bytes] = []

    class Lane(SimpleDestination):
        def deliver(self, message: OutgoingMessage) -> None:
            tried.append(message.identity.uid)
            if len(tried) == 3:
                raise error

    report = run_job(Job(account_of(server), AtOnce([Lane()]), "state", Options(delete=True)))
    assert tried == [b"u1", b"u2", b"u3"]
    assert (report.fetched, report.deleted, report.exit_status) == (2, 0, 5)
    assert "it is gone" in str(report.error)
    assert len(drop.messages) == 9
    tried.extend([b""] * 3)
    assert run_job(Job(account_of(server), AtOnce([Lane()]), "state")).fetched == 7


def test_a_hurry_is_that_of_all_of_them() -> None:
    hurried: list[int] = []

    class Lane(SimpleDestination):
        path = "lane"

        def __init__(self, number: int) -> None:
            self.number = number

        def hurry(self) -> None:
            hurried.append(self.number)

    AtOnce([Lane(number) for number in range(JOBS)]).hurry()
    assert hurried == [*range(JOBS)]


@pytest.mark.parametrize("jobs", [0, -1, 1001])
def test_a_number_that_makes_no_sense_is_an_error_in_words(server: ScriptedServer, jobs: int) -> None:
    with pytest.raises(ValueError, match="jobs_per_account is from 1 to 1000"):
        fetch(server, "pipe:cat", jobs)


def test_the_option_of_the_command_line_reaches_the_destination(home: Path) -> None:
    with MailboxServer([mail(number) for number in range(JOBS)]) as server, LmtpServer() as lmtp:
        together = threading.Barrier(JOBS)

        def instead(command: bytes) -> None:
            if command.startswith(b". "):
                together.wait(20)

        lmtp.instead = instead
        arguments = ("--to", f"lmtp:{lmtp.where}", "--jobs-per-account", str(JOBS), "-q")
        pop3fast(home, "fetch", plain_url(server), *arguments, env={"POP3FAST_PASSWORD": "password"}, status=0)
        assert len(lmtp.got) == JOBS
