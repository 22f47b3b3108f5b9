"""A machine without threads or memory to spare, and what a function that gives the password may raise: an error each.

Never a traceback, never the end of another account's fetch.
"""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from commandline import environment
from maildrops import account_of, delivered, mail
from pop3fast.fetch import Account, fetch_mailbox, fetch_many
from pop3fast.fetch._retrying import Job
from pop3fast.fetch._session import FetchSession
from pop3fast.testing import MailboxServer

MESSAGES = [mail(number) for number in range(1, 6)]


def raising(error: BaseException) -> Callable[[], str]:
    def password() -> str:
        raise error

    return password


def without_end() -> str:
    return without_end()


@pytest.mark.parametrize("kind", ["password", "token"])
@pytest.mark.parametrize(
    "error", [LookupError("no keyring"), ValueError("no JSON"), PermissionError(13, "no"), MemoryError(), SystemError()]
)
def test_what_a_function_for_the_secret_raises_is_in_the_report(tmp_path: Path, kind: str, error: Exception) -> None:
    with MailboxServer(MESSAGES, token="token") as server:
        url = f"pop3+plain://user@127.0.0.1:{server.port}"
        account = Account(url, **{kind: raising(error)})  # type: ignore[arg-type]  # one of the two secrets
        report = fetch_mailbox(account, f"eml:{tmp_path}/box")
        assert report.error is error
        assert report.exit_status != 0
        assert not any(command.startswith((b"USER", b"AUTH")) for command in server.commands)


def test_a_function_that_gives_no_text_or_never_comes_back_from_itself_is_in_the_report(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES) as server:
        url = f"pop3+plain://user@127.0.0.1:{server.port}"
        for function, kind in ((without_end, RecursionError), (lambda: b"bytes", TypeError)):
            report = fetch_mailbox(Account(url, password=function), f"eml:{tmp_path}/box")  # type: ignore[arg-type]
            assert isinstance(report.error, kind)


def test_an_interrupt_while_a_secret_is_asked_for_passes_through(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES) as server:
        account = Account(f"pop3+plain://user@127.0.0.1:{server.port}", password=raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            fetch_mailbox(account, f"eml:{tmp_path}/box")


def test_a_mechanism_that_nobody_knows_is_still_an_argument_that_makes_no_sense(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES) as server:
        url = f"pop3+plain://user@127.0.0.1:{server.port}"
        with pytest.raises(ValueError, match="unknown mechanism"):
            fetch_mailbox(Account(url, password=lambda: "x", mechanism="NONE"), f"eml:{tmp_path}/box")


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("too deep"), RuntimeError("can't start new thread")])
def test_what_no_session_can_mend_ends_one_account_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = FetchSession.work

    def work(session: FetchSession) -> bool:
        if session._run.report.destination.endswith("bad"):
            raise error
        return whole(session)

    monkeypatch.setattr(FetchSession, "work", work)
    with MailboxServer(MESSAGES) as one, MailboxServer(MESSAGES) as two:
        jobs = [Job(account_of(one), f"eml:{tmp_path}/bad"), Job(account_of(two), f"eml:{tmp_path}/good")]
        bad, good = fetch_many(jobs)
    assert bad.error is error
    assert bad.exit_status == 1
    assert (good.error, good.fetched) == (None, 5)


@pytest.mark.parametrize("threads", range(8))
def test_where_only_so_many_threads_can_be_started_each_account_is_fetched_or_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    started: list[str] = []
    start = Thread.start

    def some(thread: Thread) -> None:
        # Those of the server under test are not ours.
        if not thread.name.startswith("pop3fast-"):
            return start(thread)
        started.append(thread.name)
        if len(started) > threads:
            raise RuntimeError("can't start new thread")
        return start(thread)

    with MailboxServer(MESSAGES) as one, MailboxServer(MESSAGES) as two, MailboxServer(MESSAGES) as three:
        jobs = [Job(account_of(each), f"eml:{tmp_path}/{each.port}") for each in (one, two, three)]
        monkeypatch.setattr(Thread, "start", some)
        reports = fetch_many(jobs)
        monkeypatch.undo()
        for report in reports:
            if report.error is not None:
                assert str(report.error) == "can't start new thread"
                assert report.exit_status == 1
        # Whatever it was, the next fetch goes on where this one ended.
        assert all(report.ok for report in fetch_many(jobs))
    assert [delivered(job.words) for job in jobs] == [sorted(MESSAGES)] * 3


STARVED = """
    import sys, threading
    def start(thread):
        raise {error}
    threading.Thread.start = start
    from pop3fast import cli
    sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("command", ["fetch", "list"])
@pytest.mark.parametrize(
    ("error", "says"),
    [
        ('RuntimeError("can\'t start new thread")', "thread"),
        ("MemoryError", "MemoryError"),
        ('RecursionError("maximum recursion depth exceeded")', "maximum recursion"),
    ],
)
def test_on_the_command_line_it_is_one_line_and_an_exit_status(
    tmp_path: Path, command: str, error: str, says: str
) -> None:
    program = textwrap.dedent(STARVED.format(error=error))
    with MailboxServer(MESSAGES) as server:
        # An address needs no thread; looking up a name needs one.
        url = f"pop3+plain://user@{'127.0.0.1' if command == 'fetch' else 'localhost'}:{server.port}"
        arguments = [command, url, *(["--to", f"maildir:{tmp_path}/box", "-q"] if command == "fetch" else [])]
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=environment(tmp_path, {"POP3FAST_PASSWORD": "password"}),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    # When a name cannot be looked up, there is no connection: exit status 3.
    assert done.returncode == (3 if command == "list" and says == "thread" else 1)
    assert done.stderr.splitlines() == [done.stderr.rstrip("\n")]
    assert says in done.stderr
