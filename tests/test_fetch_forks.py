"""A child that is forked during a fetch and lives on has none of its locks, and keeps no session of it alive."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fetching import in_child
from maildrops import Maildrop, account_of, delivered, fetch_from, mail
from pop3fast._location import Location, parse_url
from pop3fast.fetch import Account, Progress, State, fetch_mailbox
from pop3fast.fetch._files import Files
from pop3fast.fetch.accounts import _account
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer

# What newer Pythons say of every fork of a process with threads, which is what this is about.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

MESSAGES = [mail(number) for number in range(1, 21)]


@contextlib.contextmanager
def living_child(say: Callable[[], bytes] = bytes) -> Iterator[bytes]:
    """Fork a child that lives for as long as the block lasts; give what it *says* first."""
    said, says = os.pipe()
    waits, ends = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(ends)
            os.write(says, say() or b".")
            os.close(says)
            os.read(waits, 1)  # until nobody has the other end
        finally:
            os._exit(0)
    try:
        os.close(says)
        os.close(waits)
        with open(said, "rb") as words:  # noqa: PTH123 - a descriptor
            yield words.read()
    finally:
        os.close(ends)
        os.waitpid(child, 0)


def open_files() -> bytes:
    """Return what this process has open, a line each."""
    names = []
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208 - no paths
        with contextlib.suppress(FileNotFoundError):  # the folder's own
            names.append(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
    return "\n".join(names).encode()


@pytest.mark.parametrize("kind", ["maildir", "mbox", "eml"])
def test_the_next_fetch_does_not_wait_for_a_child_that_was_forked_in_the_last(tmp_path: Path, kind: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    with contextlib.ExitStack() as children, MailboxServer(MESSAGES) as server:

        def fork(told: Progress) -> None:
            if told.messages in {0, 7, 20}:
                children.enter_context(living_child())

        assert fetch_mailbox(account_of(server), to, progress=fork).fetched == 20
        again = fetch_mailbox(account_of(server), to)
        assert (again.error, again.seen) == (None, 20)
    assert delivered(to) == sorted(MESSAGES)


@pytest.mark.skipif(sys.platform != "linux", reason="what is open is looked up in /proc")
@pytest.mark.parametrize("scheme", ["pop3s", "pop3+plain"])
def test_a_child_has_neither_a_lock_nor_a_connection_of_the_fetch_open(tmp_path: Path, scheme: str) -> None:
    before = open_files().count(b"socket:")
    open_in_child: list[bytes] = []
    with MailboxServer(MESSAGES, tls=scheme == "pop3s", process=True) as server:
        account = Account(
            f"{scheme}://user@127.0.0.1:{server.port}",
            password="password",
            ca_file=server.certificate if scheme == "pop3s" else None,
        )

        def fork(told: Progress) -> None:
            if told.messages == 7:
                with living_child(open_files) as names:
                    open_in_child.append(names)
                assert b".lock" in open_files()

        assert fetch_mailbox(account, f"maildir:{tmp_path}/box", progress=fork).fetched == 20
    (names,) = open_in_child
    assert b".lock" not in names
    assert names.count(b"socket:") == before


def test_an_account_and_a_file_are_free_when_the_parent_lets_go_of_them(tmp_path: Path) -> None:
    state, files = State(str(tmp_path / "state")), Files()
    path = tmp_path / "box"
    path.touch()
    folder = os.open(tmp_path, os.O_RDONLY)
    account = state.account("mail.example.org", 110, "me")
    file = files.open_to_append("box", folder)
    assert files.lock(file)
    with living_child():
        account.close()
        files.close(file)
        with state.account("mail.example.org", 110, "me"):
            again = files.open_to_append("box", folder)
            assert files.lock(again)
            files.close(again)
    os.close(folder)


def test_in_a_child_what_was_let_go_of_closes_nothing_of_the_child_s_own(tmp_path: Path) -> None:
    account = State(str(tmp_path / "state")).account("mail.example.org", 110, "me")

    def child() -> None:
        # If the numbers of what was closed were free, these would get them.
        own = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
        account.close()
        for descriptor in own:
            os.fstat(descriptor)

    assert in_child(child) == 0
    account.close()


def test_a_child_gives_its_own_locks_back_whichever_numbers_its_files_get(tmp_path: Path) -> None:
    files = Files()
    for name in ("parents", "childs"):
        (tmp_path / name).touch()
    folder = os.open(tmp_path, os.O_RDONLY)
    of_parent = files.open_to_append("parents", folder)
    assert files.lock(of_parent)

    def child() -> None:
        # One of them gets the lowest number that is free.
        for _ in range(2):
            mine = files.open_to_append("childs", folder)
            assert files.lock(mine)
            files.close(mine)
            with pytest.raises(OSError, match="descriptor"):
                os.fstat(mine)
        files.close(of_parent)

    assert in_child(child) == 0
    files.close(of_parent)
    os.close(folder)


FORKS_AND_IS_KILLED = """
    import os, sys, time
    from pop3fast.fetch import Account, fetch_mailbox
    def progress(told):
        if told.messages == 3:
            if not os.fork():
                print("there", flush=True)  # here, where what it lets go of is closed by now
                sys.stdin.read()  # for as long as the test has the other end
                os._exit(0)
            time.sleep(60)
    fetch_mailbox(Account(sys.argv[1], password="password"), sys.argv[2], progress=progress)
"""


def test_a_server_s_session_ends_with_the_parent_whoever_was_forked(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop(*((b"%d" % number, content) for number, content in enumerate(MESSAGES)))
    # It serves one session at a time.
    with ScriptedServer(b"+OK ready\r\n", drop) as server:
        url = f"pop3+plain://user@{server.host}:{server.port}"
        command = [sys.executable, "-c", textwrap.dedent(FORKS_AND_IS_KILLED), url, to]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"there\n"
            child.send_signal(signal.SIGKILL)
            child.wait()  # until then it has the lock
            drop.instead = lambda _: None
            report = fetch_from(server, to)
            assert (report.error, report.sessions) == (None, 1)
            assert child.stdin is not None
            child.stdin.close()
            child.stdout.read()
    assert delivered(to) == sorted(MESSAGES)


def test_a_child_makes_accounts_although_another_thread_was_making_one(monkeypatch: pytest.MonkeyPatch) -> None:
    is_read, go_on = threading.Event(), threading.Event()

    def parse(url: str) -> Location:
        if threading.current_thread() is maker:
            is_read.set()
            go_on.wait()
        return parse_url(url)

    def make() -> Account:
        return Account("pop3s://me@mail.example.org", password="x")

    monkeypatch.setattr(_account, "parse_url", parse)
    maker = threading.Thread(target=make)
    maker.start()
    is_read.wait()
    try:
        # Before Python 3.12 a `cached_property` has a lock, which nobody gives back in a child.
        assert in_child(make, killed_after=50) == 0
    finally:
        go_on.set()
        maker.join()


def test_a_connection_of_the_program_s_own_is_left_to_the_child() -> None:
    drop = Maildrop((b"1", MESSAGES[0]))
    with ScriptedServer(b"+OK ready\r\n", drop) as server:
        pop = account_of(server).connect()

        def child() -> None:
            pop.sock.sendall(b"NOOP\r\n")
            assert pop.sock.recv(100) == b"+OK\r\n"

        assert in_child(child) == 0
        pop.close()
