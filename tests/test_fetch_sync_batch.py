"""``sync="batch"``: one sync of the file system for many files, and each by itself wherever that cannot be believed."""

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fetching import mail
from maildrops import account_of
from pop3fast.fetch import Destination, DestinationError, Identity, fetch_mailbox, open_destination
from pop3fast.fetch import _file_systems as file_systems
from pop3fast.fetch._files import Files
from pop3fast.fetch.destinations._particulars import Particulars
from pop3fast.fetch.destinations._sync import MAX_ROUND, MAX_SHARES, SYNC_THREADS
from pop3fast.testing import MailboxServer

ROUND = 60

LARGE = 2**17
"""Octets of a message that is written to its file as it comes."""


class Disk(Files):
    """Notes what is synced, and which files are open then; fails as it is told."""

    def __init__(self) -> None:
        self.open: dict[int, str] = {}
        self.most = 0
        self.synced: list[str] = []
        self.whole: list[set[str]] = []
        self.fails: Callable[[str], object] = str
        self._lock = threading.Lock()

    def create(self, name: str, at: int) -> int:
        with self._lock:
            file = super().create(name, at)
            self.open[file] = name.rpartition("-")[2]
            self.most = max(self.most, len(self.open))
        return file

    def close(self, descriptor: int) -> None:
        with self._lock:
            self.open.pop(descriptor, None)
            super().close(descriptor)

    def sync(self, file: int) -> None:
        name = self.open[file]
        self.synced.append(name)
        self.fails(name)

    def sync_whole(self, folder: int) -> None:
        del folder
        self.whole.append(set(self.open.values()))
        self.fails("all")


class NoJournal:
    """All that a folder asks it for."""

    def copies_deleted(self, content: bytes) -> int:
        del content
        return 0


def failing(number: int, *names: str) -> Callable[[str], object]:
    def fails(name: str) -> None:
        if name in names:
            raise OSError(number, os.strerror(number))

    return fails


def prepared(box: Path, files: Files, kind: str = "maildir") -> Destination:
    destination = open_destination(f"{kind}:{box}", files, particulars=Particulars(sync="batch"))
    destination.prepare("0" * 16, NoJournal())  # type: ignore[arg-type]
    return destination


def deliver(destination: Destination, numbers: range, octets: int = 40) -> None:
    for number in numbers:
        delivery = destination.begin(Identity(b"%d" % number, 0))
        delivery.write(mail(number, octets))
        delivery.end()


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return tmp_path / "box"


@pytest.mark.parametrize("kind", ["maildir", "eml"])
@pytest.mark.parametrize("octets", [40, LARGE])
def test_a_batch_has_one_sync_and_its_files_are_open_until_that_has_told(box: Path, kind: str, octets: int) -> None:
    """A file that is closed before could not be asked any more whether the error was its own."""
    disk = Disk()
    destination = prepared(box, disk, kind)
    messages = range(8 if octets == LARGE else ROUND)
    deliver(destination, messages, octets)
    assert not disk.whole
    assert len(destination.flush()) == len(messages)
    assert disk.whole == [{str(number) for number in messages}]
    assert disk.synced == []
    assert not disk.open
    destination.close()


def test_after_an_error_that_may_be_anybody_s_each_file_says_whether_it_is_durable(box: Path) -> None:
    disk = Disk()
    disk.fails = failing(errno.EIO, "all")
    destination = prepared(box, disk)
    deliver(destination, range(ROUND))
    assert len(destination.flush()) == ROUND
    assert sorted(disk.synced, key=int) == [str(number) for number in range(ROUND)]
    # The next batch is tried with one sync again: the error was another program's.
    disk.fails = str
    deliver(destination, range(ROUND, 2 * ROUND))
    assert len(destination.flush()) == ROUND
    assert (len(disk.whole), len(disk.synced)) == (2, ROUND)
    destination.close()


def test_the_error_of_one_file_is_no_delivery_of_that_one(box: Path) -> None:
    disk = Disk()
    disk.fails = failing(errno.EIO, "all", "7")
    destination = prepared(box, disk)
    deliver(destination, range(ROUND))
    with pytest.raises(DestinationError, match="Input/output error") as caught:
        destination.flush()
    assert {entry.uid for entry in caught.value.delivered} == {b"%d" % number for number in range(ROUND) if number != 7}
    assert disk.synced.count("7") == 1, "a second fsync may succeed although the octets are lost"
    assert len(os.listdir(box / "new")) == ROUND - 1  # noqa: PTH208 - only how many
    assert not disk.open
    destination.close()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP])
def test_where_there_is_no_such_call_each_file_is_synced_and_it_is_tried_once(box: Path, number: int) -> None:
    disk = Disk()
    disk.fails = failing(number, "all")
    destination = prepared(box, disk)
    for start in (0, ROUND):
        deliver(destination, range(start, start + ROUND))
        assert len(destination.flush()) == ROUND
    assert len(disk.whole) == 1
    assert len(disk.synced) == 2 * ROUND
    destination.close()


def test_a_file_that_cannot_be_closed_is_no_delivery(box: Path) -> None:
    """With quotas, a failed write may be reported only when the file is closed."""

    class Reluctant(Disk):
        def close(self, descriptor: int) -> None:
            name = self.open.get(descriptor)
            super().close(descriptor)
            if name == "7":
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    destination = prepared(box, Reluctant())
    deliver(destination, range(ROUND))
    with pytest.raises(DestinationError, match="quota") as caught:
        destination.flush()
    assert len(caught.value.delivered) == ROUND - 1
    destination.close()


@pytest.mark.parametrize("octets", [40, LARGE])
def test_whatever_ends_the_thread_no_file_stays_open_and_nothing_is_delivered(box: Path, octets: int) -> None:
    def no_memory(name: str) -> None:
        del name
        raise MemoryError

    disk = Disk()
    disk.fails = no_memory
    destination = prepared(box, disk)
    deliver(destination, range(8), octets)
    for wanted in (MemoryError, DestinationError):
        with pytest.raises(wanted):
            destination.flush()
    destination.close()
    assert not disk.open
    assert not [*(box / "new").iterdir(), *(box / "tmp").iterdir()]
    # Nothing is kept from those that come after it.
    other = prepared(box, disk := Disk())
    deliver(other, range(ROUND))
    assert len(other.flush()) == ROUND
    assert len(disk.whole) == 1
    other.close()


def test_many_at_once_have_no_more_files_open_than_without_it(tmp_path: Path) -> None:
    """Whoever finds that others have what may be open syncs each file, few at a time."""
    disk = Disk()

    def work(number: int) -> int:
        destination = prepared(tmp_path / str(number), disk)
        deliver(destination, range(MAX_ROUND))
        entries = destination.flush()
        destination.close()
        return len(entries)

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(work, range(8))] == [MAX_ROUND] * 8
    share = MAX_ROUND // SYNC_THREADS
    assert 0 < disk.most <= MAX_SHARES * share + (8 * SYNC_THREADS - MAX_SHARES) * 2
    assert not disk.open


def test_a_whole_fetch_syncs_by_batch_when_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Files, "sync_whole", lambda _, folder: asked.append(folder))
    with MailboxServer([mail(number) for number in range(5)]) as server:
        fetch_mailbox(account_of(server), f"maildir:{tmp_path}/each").raise_for_error()
        assert not asked
        fetch_mailbox(account_of(server), f"maildir:{tmp_path}/batch", sync="batch").raise_for_error()
        assert len(asked) == 1
    for name in ("each", "batch"):
        assert len([*(tmp_path / name / "new").iterdir()]) == 5


def test_sync_is_each_or_batch(tmp_path: Path) -> None:
    with MailboxServer() as server, pytest.raises(ValueError, match="sync is each or batch, not 'all'"):
        fetch_mailbox(account_of(server), tmp_path / "box", sync="all")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("system", "release", "kind", "is_believed"),
    [
        ("Linux", "5.8.0", "ext4", True),
        ("Linux", "6.18.44-generic", "xfs", True),
        ("Linux", "10.0", "btrfs", True),
        ("Linux", "5.7.19", "ext4", False),
        ("Linux", "4.18.0", "xfs", False),
        ("Linux", "6.1.0", "nfs4", False),
        ("Linux", "6.1.0", "fuse.sshfs", False),
        ("Linux", "6.1.0", "overlay", False),
        ("Linux", "6.1.0", "", False),
        ("Linux", "unknown", "ext4", False),
        ("Darwin", "23.1.0", "ext4", False),
    ],
)
def test_it_is_believed_where_the_system_tells_what_could_not_be_written(
    monkeypatch: pytest.MonkeyPatch, system: str, release: str, kind: str, *, is_believed: bool
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((system, "host", release, "#1", "x86_64")))
    monkeypatch.setattr(file_systems, "_kind_of", lambda _: kind)
    monkeypatch.setattr(file_systems, "_syncfs", lambda: asked.append)
    if is_believed:
        file_systems.sync_whole(7)
        assert asked == [7]
        return
    with pytest.raises(OSError, match=os.strerror(errno.ENOTSUP)) as caught:
        file_systems.sync_whole(7)
    assert (caught.value.errno, asked) == (errno.ENOTSUP, [])


def test_the_system_s_own_call_works_or_says_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(file_systems, "_tells_errors", lambda _: True)
    if file_systems._syncfs() is None:
        with pytest.raises(OSError, match=os.strerror(errno.ENOTSUP)):
            file_systems.sync_whole(folder)
    else:
        file_systems.sync_whole(folder)
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)) as caught:
            file_systems.sync_whole(2**30)
        assert caught.value.errno == errno.EBADF
    os.close(folder)


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="the kinds are told by Linux")
def test_the_kind_of_a_file_system_is_found_by_its_mount() -> None:
    proc = os.open("/proc/self", os.O_RDONLY)
    assert file_systems._kind_of(proc) == "proc"
    os.close(proc)
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
        file_systems._kind_of(proc)
    assert not file_systems._tells_errors(proc)
