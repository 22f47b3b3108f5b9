"""An mbox's locks: those that everybody knows, waited for, named, and never left behind."""

import errno
import fcntl
import os
import socket
import threading
from pathlib import Path

import pytest

from fetching import mail
from maildrops import FastClock
from mboxes import THEIRS, append, deliver, found, prepared
from pop3fast.fetch import DestinationError, State, open_destination
from pop3fast.fetch._files import Files
from pop3fast.fetch.destinations import _mbox_lock as lock_module
from pop3fast.fetch.destinations._mbox_lock import LOCK_SECONDS, POLL_SECONDS


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return tmp_path / "box"


def test_it_is_locked_only_while_it_is_written(box: Path) -> None:
    with prepared(box) as (destination, _, _):
        deliver(destination, b"1", mail(1))
        assert not Path(f"{box}.lock").exists()
        destination.flush()
        assert not Path(f"{box}.lock").exists()


@pytest.mark.parametrize("content", [b"", b"123", b"pop3fast 1 another-host\n", b"procmail 1 host\n"])
def test_somebody_elses_lock_file_is_waited_for_and_named(box: Path, content: bytes) -> None:
    box.write_bytes(THEIRS)
    lock = Path(f"{box}.lock")
    lock.write_bytes(content)
    clock = FastClock()
    with pytest.raises(DestinationError, match=r"box\.lock has been there") as caught:
        open_destination(f"mbox:{box}", clock=clock).open()
    assert LOCK_SECONDS - POLL_SECONDS < sum(clock.pauses) <= LOCK_SECONDS + POLL_SECONDS
    assert "take that file away" in str(caught.value)
    assert lock.read_bytes() == content


def test_a_lock_file_that_a_killed_fetch_left_is_taken_away(box: Path) -> None:
    box.write_bytes(THEIRS)
    Path(f"{box}.lock").write_text(f"pop3fast 1 {socket.gethostname()}\n")
    append(box, mail(1))
    assert len(found(box)) == 2
    assert not Path(f"{box}.lock").exists()


def test_a_file_that_another_program_has_locked(box: Path) -> None:
    box.write_bytes(THEIRS)
    reader, writer = os.pipe()
    waits, ends = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(ends)
            with box.open("r+b") as file:
                fcntl.lockf(file, fcntl.LOCK_EX)
                os.write(writer, b"locked")
                os.read(waits, 1)  # until nobody has the other end
        finally:
            os._exit(0)
    os.close(writer)
    try:
        assert os.read(reader, 10) == b"locked"
        with pytest.raises(DestinationError, match="another program has had it locked"):
            open_destination(f"mbox:{box}", clock=FastClock()).open()
    finally:
        os.close(ends)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(waits)
    open_destination(f"mbox:{box}").open()


def test_threads_with_accounts_of_their_own_append_to_one_mbox(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "POLL_SECONDS", 0.001)
    state = State(f"{box}.state")
    failures: list[BaseException] = []

    def run(user: str) -> None:
        try:
            with state.account("h", 110, user) as account:
                destination = open_destination(f"mbox:{box}")
                destination.prepare(account.digest, account)
                for number in range(20):
                    deliver(destination, b"%d" % number, b"Subject: %s %d\r\n\r\n" % (user.encode(), number))
                    account.remember(destination.flush())
                destination.close()
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(f"user{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(set(found(box))) == 80


class NoDotlock(Files):
    """A folder in which a user may make nothing, or a file system without links."""

    def __init__(self, number: int = errno.EPERM) -> None:
        self._number = number

    def link(self, *_: object) -> None:
        raise OSError(self._number, os.strerror(self._number))


# By a rule of the system, by FAT, by some of FUSE, and where a file may have one name only.
@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_where_no_lock_file_can_be_made_the_lock_on_the_file_does(box: Path, number: int) -> None:
    append(box, mail(1), files=NoDotlock(number))
    assert len(found(box)) == 1


def test_a_lock_file_that_is_taken_away_while_it_is_looked_at_is_taken_away(box: Path) -> None:
    box.write_bytes(THEIRS)
    lock = Path(f"{box}.lock")
    lock.write_text(f"pop3fast 1 {socket.gethostname()}\n")

    class Advised(Files):
        def unlink(self, name: str, at: int) -> None:
            if name == lock.name and lock.read_text().startswith("pop3fast 1 "):
                lock.unlink()
            super().unlink(name, at)

    append(box, mail(1), files=Advised())
    assert len(found(box)) == 2
    assert not lock.exists()


def test_where_no_lock_file_can_be_made_somebody_elses_counts_all_the_same(box: Path) -> None:
    box.write_bytes(THEIRS)
    with prepared(box, NoDotlock(), FastClock()) as (destination, _, _):
        deliver(destination, b"1", mail(1))
        Path(f"{box}.lock").write_bytes(b"")
        with pytest.raises(DestinationError, match=r"box\.lock has been there"):
            destination.flush()
    assert Path(f"{box}.lock").exists()
    assert box.read_bytes() == THEIRS


class Atime(Files):
    """Where the time of the last access cannot be left as it is, as on macOS."""

    def open_to_append(self, name: str, at: int) -> int:
        return os.open(name, os.O_RDWR | os.O_APPEND, dir_fd=at)

    def read(self, file: int, count: int, offset: int) -> bytes:
        octets = super().read(file, count, offset)
        status = self.stat(file)
        os.utime(file, ns=(status.st_mtime_ns + 5 * 10**9, status.st_mtime_ns))
        return octets


@pytest.mark.parametrize("files", [Files(), Atime()], ids=["left", "set back"])
def test_mail_programs_and_shells_still_tell_whether_there_is_new_mail(box: Path, files: Files) -> None:
    """That is when it was written to after it was read, in whole seconds; who looks at nothing new reads nothing."""
    append(box, mail(1), files=files)
    status = box.stat()
    assert int(status.st_mtime) > int(status.st_atime)
    with prepared(box, files) as (destination, _, _):
        assert destination.flush() == []
    assert (box.stat().st_atime_ns, box.stat().st_mtime_ns) == (status.st_atime_ns, status.st_mtime_ns)
    # It was read.
    os.utime(box, ns=(status.st_mtime_ns + 10**9, status.st_mtime_ns))
    with prepared(box, files):
        pass
    assert box.stat().st_atime_ns == status.st_mtime_ns + 10**9
    append(box, mail(2), files=files)
    assert int(box.stat().st_mtime) > int(box.stat().st_atime)


def test_a_mailbox_that_is_replaced_while_it_is_waited_for(box: Path) -> None:
    box.write_bytes(THEIRS)
    new = Path(f"{box}.new")
    new.write_bytes(THEIRS * 2)

    class Replaced(Files):
        def lock(self, file: int) -> bool:
            if new.exists():
                new.rename(box)
            return super().lock(file)

    append(box, mail(1), files=Replaced())
    assert len(found(box)) == 3
