"""A Maildir and a folder of .eml files: what lies there, under which names, and what is refused."""

import contextlib
import errno
import itertools
import mailbox
import os
import pickle
import re
import resource
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fetching import CountedFiles, fetch, mail
from maildrops import FastClock
from pop3fast.fetch import Destination, DestinationError, Entry, Identity, State, default_path, open_destination
from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import account_digest, delivery_key
from pop3fast.fetch.destinations._folder import BLOCK_OCTETS, SMALL_OCTETS
from pop3fast.fetch.destinations._sync import FEW, MAX_LARGE, MAX_ROUND, MAX_SHARES, SYNC_THREADS

ACCOUNT = account_digest("mail.example.org", 110, "me")


class NoJournal:
    """Has seen nothing deleted, and fails when it is asked for anything else: a folder needs no intents."""

    def copies_deleted(self, content: bytes) -> int:  # noqa: ARG002 - the journal's
        return 0

    def __getattr__(self, name: str) -> None:
        raise AssertionError(name)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return tmp_path / "box"


def prepared(box: Path, kind: str = "maildir", files: Files | None = None) -> Destination:
    destination = open_destination(f"{kind}:{box}", files)
    assert destination.prepare(ACCOUNT, NoJournal()) == []  # type: ignore[arg-type]
    return destination


def deliver(destination: Destination, uid: bytes, *chunks: bytes, occurrence: int = 0) -> None:
    delivery = destination.begin(Identity(uid, occurrence))
    for chunk in chunks:
        delivery.write(chunk)
    delivery.end()


def delivered(box: Path, *chunks: bytes, uid: bytes = b"1", kind: str = "maildir") -> list[Entry]:
    destination = prepared(box, kind)
    deliver(destination, uid, *chunks)
    entries = destination.flush()
    destination.close()
    return entries


def contents(box: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (box / "new").iterdir())


def halves(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    for cut in range(len(content) + 1):
        yield content[:cut], content[cut:]


TRICKY = b"A: b\r\n\r\n\r\r\n\n\r.\r\n\r"


def test_line_ends_become_lf_wherever_the_octets_are_cut(box: Path) -> None:
    destination = prepared(box)
    for number, chunks in enumerate(halves(TRICKY)):
        deliver(destination, b"%d" % number, *chunks)
    entries = destination.flush()
    destination.close()
    assert {entry.octets for entry in entries} == {len(TRICKY)}
    assert contents(box) == [TRICKY.replace(b"\r\n", b"\n")] * (len(TRICKY) + 1)


def test_an_eml_file_has_every_octet_as_it_came(box: Path) -> None:
    delivered(box, TRICKY[:6], TRICKY[6:], kind="eml")
    (path,) = box.iterdir()
    assert path.suffix == ".eml"
    assert path.read_bytes() == TRICKY


def test_nothing_is_visible_before_the_flush_and_everything_after(box: Path) -> None:
    destination = open_destination(f"maildir:{box}", clock=(clock := FastClock()))
    destination.prepare(ACCOUNT, NoJournal())  # type: ignore[arg-type]
    (earlier := box / "earlier").touch()
    deliver(destination, b"1", mail(1))
    assert contents(box) == []
    (entry,) = destination.flush()
    assert entry.identity == Identity(b"1", 0)
    assert entry.delivered_at == clock.date()
    (path,) = (box / "new").iterdir()
    (later := box / "later").touch()
    assert earlier.stat().st_mtime_ns <= path.stat().st_mtime_ns <= later.stat().st_mtime_ns
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [*(box / "tmp").iterdir()]
    assert destination.flush() == []
    destination.close()


def test_standard_library_reads_it(box: Path) -> None:
    delivered(box, mail(1))
    (message,) = mailbox.Maildir(box, create=False)
    assert message["Subject"] == "1"


@pytest.mark.parametrize("kind", ["maildir", "eml"])
@pytest.mark.parametrize("uid", [b"../../x", b"/etc/passwd", b"\0", b".", b"x" * 4096, b"a\nb", bytes(range(256))])
def test_no_unique_id_reaches_a_name(box: Path, tmp_path: Path, uid: bytes, kind: str) -> None:
    delivered(box, mail(1), uid=uid, kind=kind)
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert path.parent == (box / "new" if kind == "maildir" else box)
    assert re.fullmatch(rf"[0-9]{{10}}\.M[0-9]{{6}}_{ACCOUNT}[0-9a-f]{{24}}\.[0-9a-f]{{16}}(\.eml)?", path.name)


MOVED = ["new/{}", "cur/{}:2,S", "cur/{}:2,", "cur/{},S=40:2,RS", ".Archive/cur/{}:2,S", ".Archive.2026/new/{}"]


@pytest.mark.parametrize("moved", MOVED)
@pytest.mark.parametrize("by_the_version_before", [False, True], ids=["now", "before"])
def test_a_second_delivery_finds_the_first(box: Path, moved: str, *, by_the_version_before: bool) -> None:
    (entry,) = delivered(box, mail(1))
    (path,) = (box / "new").iterdir()
    to = box / moved.format(delivery_key(ACCOUNT, entry) if by_the_version_before else path.name)
    to.parent.mkdir(parents=True, exist_ok=True)
    path.rename(to)
    assert [entry.uid for entry in delivered(box, mail(1))] == [b"1"]
    assert [path for path in box.rglob("*") if path.is_file()] == [to]


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_second_delivery_finds_the_first_also_when_the_folder_could_not_be_read_at_first(
    box: Path, place: int
) -> None:
    delivered(box, mail(1))

    class Broken(Files):
        readings = 0

        def names(self, folder: int) -> list[str]:
            self.readings += 1
            if self.readings == place + 2:  # behind those of opening it
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().names(folder)

    destination = prepared(box, files=Broken())
    for _ in range(2):
        deliver(destination, b"1", mail(1))
        with contextlib.suppress(DestinationError):
            destination.flush()
    destination.close()
    assert len(contents(box)) == 1


def test_a_message_that_is_moved_while_it_is_looked_at_is_found(box: Path) -> None:
    delivered(box, mail(1))
    (path,) = (box / "new").iterdir()

    class Moving(Files):
        def open_to_read(self, name: str, at: int) -> int:
            if path.exists():
                path.rename(box / "cur" / f"{path.name}:2,")
            return super().open_to_read(name, at)

    destination = prepared(box, files=Moving())
    deliver(destination, b"1", mail(1))
    assert len(destination.flush()) == 1
    destination.close()
    assert [path.name for path in box.rglob("*") if path.is_file()] == [f"{path.name}:2,"]


@pytest.mark.parametrize("kind", ["maildir", "eml"])
@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: bytes(len(content)), lambda _: b""])
def test_a_damaged_file_is_not_taken_for_the_message(box: Path, kind: str, damage: Callable[[bytes], bytes]) -> None:
    """It stays, for it may be what a person made of it; the message comes beside it, and is found from there on."""
    delivered(box, mail(1), kind=kind)
    (path,) = [path for path in box.rglob("*") if path.is_file()]
    content = path.read_bytes()
    path.write_bytes(damage(content))
    for _ in range(2):
        delivered(box, mail(1), kind=kind)
        contents = sorted(each.read_bytes() for each in box.rglob("*") if each.is_file())
        assert contents == sorted([content, damage(content)])
    assert path.read_bytes() == damage(content)


def test_a_link_in_the_place_of_a_message_is_not_the_message(box: Path, tmp_path: Path) -> None:
    delivered(box, mail(1))
    (path,) = (box / "new").iterdir()
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    delivered(box, mail(1))
    assert len([path for path in (box / "new").iterdir() if not path.is_symlink()]) == 1


@pytest.mark.parametrize("kind", ["maildir", "eml"])
def test_names_sort_into_the_order_of_delivery_whatever_the_clock_does(box: Path, kind: str) -> None:
    """Within a microsecond and over sessions, with a clock that stands still, goes on, goes back a day or an hour."""
    clock = FastClock()
    numbers = iter(range(10_000))
    for step in (0.0, 1e-7, 0.3, -3600.0, 0.0, 7300.0, -3600 * 23.0, 5.0):
        clock.time += step
        destination = open_destination(f"{kind}:{box}", clock=clock)
        for back in (0.0, -86_400.0 * 30):
            destination.prepare(ACCOUNT, NoJournal())  # type: ignore[arg-type]
            clock.time += back
            for number in itertools.islice(numbers, 40):
                deliver(destination, b"%d" % number, mail(number))
                if number % 15 == 0:
                    destination.flush()
            destination.flush()
            clock.time -= back
        destination.close()
    paths = sorted((path for path in box.rglob("*") if path.is_file()), key=lambda path: path.name)
    found = [int(path.read_bytes().split()[1]) for path in paths]
    assert found == [*range(len(found))]
    assert len(found) == 40 * 16


def test_a_clock_that_was_years_ahead_does_not_name_what_comes_for_years(box: Path) -> None:
    clock = FastClock()
    for ahead in (3e8, 0.0):
        clock.time += ahead
        destination = open_destination(f"maildir:{box}", clock=clock)
        destination.prepare(ACCOUNT, NoJournal())  # type: ignore[arg-type]
        deliver(destination, b"%d" % ahead, mail(1))
        destination.flush()
        destination.close()
        clock.time -= ahead
    assert min(path.name for path in (box / "new").iterdir()).startswith(f"{clock.date():.0f}.")


def test_beside_a_name_from_a_clock_that_was_years_ahead_the_others_are_followed_all_the_same(box: Path) -> None:
    clock = FastClock()
    for number, ahead in enumerate((3600.0, 3e8, 0.0)):
        clock.time += ahead
        destination = open_destination(f"maildir:{box}", clock=clock)
        destination.prepare(ACCOUNT, NoJournal())  # type: ignore[arg-type]
        deliver(destination, b"%d" % number, mail(number))
        destination.flush()
        destination.close()
        clock.time -= ahead
    names = sorted((box / "new").iterdir())
    assert [int(path.read_bytes().split()[1]) for path in names] == [0, 2, 1]


def test_a_unique_id_used_again_is_another_message(box: Path) -> None:
    delivered(box, mail(1))
    delivered(box, mail(2))
    assert len(contents(box)) == 2


def test_copies_are_delivered_once_each(box: Path) -> None:
    for _ in range(2):
        destination = prepared(box)
        for occurrence in range(3):
            deliver(destination, b"same", mail(1), occurrence=occurrence)
        assert [entry.occurrence for entry in destination.flush()] == [0, 1, 2]
        destination.close()
    assert len(contents(box)) == 3


@pytest.mark.parametrize("uids", [(b"", b""), (b"ENOMEM-1", b"ENOMEM-2"), (b"", b"ENOMEM-3")])
def test_without_a_lasting_unique_id_the_content_tells(box: Path, uids: tuple[bytes, bytes]) -> None:
    for uid, others in zip(uids, ([mail(7)], []), strict=True):
        destination = prepared(box)
        # What else is in the maildrop, and so which number a message has, changes nothing.
        for number, content in enumerate([*others, mail(1), mail(1)]):
            deliver(destination, uid, content, occurrence=number)
        assert len(destination.flush()) == 2 + len(others)
        destination.close()
    assert contents(box) == sorted(content.replace(b"\r\n", b"\n") for content in [mail(1), mail(1), mail(7)])


def test_what_exists_is_never_overwritten(box: Path) -> None:
    class Taken(Files):
        def link(self, name: str, at: int, new_name: str, new_at: int) -> None:
            (box / "new" / new_name).write_bytes(b"somebody else's")
            super().link(name, at, new_name, new_at)

    destination = prepared(box, files=Taken())
    deliver(destination, b"1", mail(1))
    with pytest.raises(DestinationError, match="File exists") as caught:
        destination.flush()
    assert caught.value.delivered == ()
    assert contents(box) == [b"somebody else's"]
    destination.close()


def test_a_link_whose_answer_was_lost_is_made(box: Path) -> None:
    class LostAnswer(Files):
        def link(self, name: str, at: int, new_name: str, new_at: int) -> None:
            super().link(name, at, new_name, new_at)
            super().link(name, at, new_name, new_at)

    destination = prepared(box, files=LostAnswer())
    deliver(destination, b"1", mail(1))
    assert len(destination.flush()) == 1
    assert len(contents(box)) == 1
    destination.close()


def test_an_abandoned_message_leaves_nothing(box: Path) -> None:
    destination = prepared(box)
    delivery = destination.begin(Identity(b"1"))
    delivery.write(b"half")
    delivery.abandon()
    delivery.abandon()
    with pytest.raises(ValueError, match="ended"):
        delivery.write(b"more")
    assert destination.flush() == []
    assert not [path for path in box.rglob("*") if path.is_file()]
    destination.close()


def test_closing_without_a_flush_leaves_nothing(box: Path) -> None:
    destination = prepared(box)
    deliver(destination, b"1", mail(1))
    destination.begin(Identity(b"2")).write(b"half")
    destination.close()
    destination.close()
    assert not [path for path in box.rglob("*") if path.is_file()]


def test_one_message_at_a_time_and_only_when_prepared(box: Path) -> None:
    destination = open_destination(f"maildir:{box}")
    with pytest.raises(ValueError, match="not prepared"):
        destination.begin(Identity(b"1"))
    destination = prepared(box)
    destination.begin(Identity(b"1"))
    with pytest.raises(ValueError, match="another message"):
        destination.begin(Identity(b"2"))
    destination.close()


def test_only_its_own_litter_is_taken_away(box: Path) -> None:
    prepared(box).close()
    ours = box / f"tmp/pop3fast-{ACCOUNT}-0badcafe-1"
    others = {box / "tmp/pop3fast-00000000-0badcafe-1", box / "tmp/1700000000.M1P1.host"}
    for path in (ours, *others):
        path.write_bytes(b"")
    prepared(box).close()
    assert {*(box / "tmp").iterdir()} == others


def test_a_batch_of_which_one_file_is_not_durable(box: Path) -> None:
    class OneBadFile(Files):
        def sync(self, file: int) -> None:
            if self.read(file, 100, 0).startswith(b"Subject: 77\n"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().sync(file)

    destination = prepared(box, files=OneBadFile())
    for number in range(150):
        deliver(destination, b"%d" % number, mail(number))
    with pytest.raises(DestinationError, match="Input/output error") as caught:
        destination.flush()
    assert len(caught.value.delivered) == 149
    assert len(contents(box)) == 149
    assert pickle.loads(pickle.dumps(caught.value)).delivered == caught.value.delivered  # noqa: S301 - its own
    assert b"77" not in {entry.uid for entry in caught.value.delivered}
    # The destination can be used on.
    deliver(destination, b"200", mail(200))
    assert len(destination.flush()) == 1
    assert len(contents(box)) == 150
    destination.close()


def test_no_message_is_begun_after_one_that_could_not_be_written(box: Path) -> None:
    """A disk that is full is found out before a batch of hundreds has come for nothing."""

    class FullDisk(Files):
        def write(self, file: int, octets: bytes) -> None:
            if b"Subject: 77\n" in octets:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(file, octets)

    destination = prepared(box, files=FullDisk())
    for number in range(MAX_ROUND):
        deliver(destination, b"%d" % number, mail(number))
    with pytest.raises(DestinationError, match=f"cannot write to {box}: No space left"):
        destination.begin(Identity(b"more"))
    with pytest.raises(DestinationError, match=f"cannot write to {box}: No space left") as caught:
        destination.flush()
    assert len(caught.value.delivered) == MAX_ROUND - 1
    assert len(contents(box)) == MAX_ROUND - 1
    assert not [*(box / "tmp").iterdir()]
    destination.close()


@pytest.mark.parametrize("octets", [SMALL_OCTETS - 1, SMALL_OCTETS, SMALL_OCTETS + 1, 5 * SMALL_OCTETS])
@pytest.mark.parametrize("chunk", [1000, SMALL_OCTETS, 10 * SMALL_OCTETS])
def test_messages_that_are_kept_in_memory_and_that_are_not(box: Path, octets: int, chunk: int) -> None:
    content = os.urandom(octets).replace(b"\r", b"-")
    files = CountedFiles(lambda *_: None)
    destination = prepared(box, files=files)
    deliver(destination, b"1", *(content[start : start + chunk] for start in range(0, octets, chunk)))
    assert ("create" in files.calls) is (octets > SMALL_OCTETS)
    deliver(destination, b"2", mail(2))
    assert len(destination.flush()) == 2
    destination.close()
    assert contents(box) == sorted([content, mail(2).replace(b"\r\n", b"\n")])
    assert files.calls.count("create") == files.calls.count("sync") == 2


@pytest.mark.parametrize("ended", [MAX_ROUND, MAX_ROUND + 6, 2 * MAX_ROUND])
def test_interrupted_while_files_are_synced_and_gone_on(box: Path, ended: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not synced is not published, even when somebody goes on after Ctrl-C."""

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    destination = prepared(box)
    for number in range(MAX_ROUND - 1):
        deliver(destination, b"%d" % number, mail(number))
    with monkeypatch.context() as patch:
        patch.setattr("pop3fast.fetch.destinations._sync.wait", interrupted)
        for number in range(MAX_ROUND - 1, ended):
            with contextlib.suppress(KeyboardInterrupt):
                deliver(destination, b"%d" % number, mail(number))
        with pytest.raises(KeyboardInterrupt):
            destination.flush()
    assert contents(box) == []
    with pytest.raises(DestinationError, match="Interrupted") as caught:
        destination.flush()
    assert caught.value.delivered == ()
    assert contents(box) == []
    destination.close()


def test_a_folder_that_is_not_durable_is_a_batch_not_delivered(box: Path) -> None:
    destination = prepared(box, files=(files := CountedFiles(lambda *_: None)))

    def fail(_: int, name: str) -> None:
        if name == "sync_folder":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    files._before = fail
    deliver(destination, b"1", mail(1))
    with pytest.raises(DestinationError) as caught:
        destination.flush()
    assert caught.value.delivered == ()
    assert contents(box) == []
    assert files.calls.count("sync_folder") == 3, "two when it was opened, one here, and none a second time"
    destination.close()


def test_the_folder_is_synced_once_a_batch_and_few_files_are_open(box: Path) -> None:
    is_open = most = 0

    def count(_: int, name: str) -> None:
        nonlocal is_open, most
        is_open += (name == "create") - (name == "close")
        most = max(most, is_open)

    files = CountedFiles(count)
    destination = prepared(box, files=files)
    before = files.calls.count("sync_folder")
    is_open = most = 0
    for number in range(600):
        deliver(destination, b"%d" % number, mail(number))
    destination.flush()
    assert files.calls.count("sync_folder") == before + 1
    assert files.calls.count("sync") == 600
    assert 0 < most <= MAX_ROUND
    destination.close()


class OpenFiles(Files):
    """Counts the files that are open, and never is the one that closes them."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.open: set[int] = set()
        self.most = 0

    def create(self, name: str, at: int) -> int:
        file = super().create(name, at)
        with self.guard:
            self.open.add(file)
            self.most = max(self.most, len(self.open))
        return file

    def close(self, descriptor: int) -> None:
        with self.guard:
            self.open.discard(descriptor)
        super().close(descriptor)


@pytest.mark.parametrize("octets", [40, SMALL_OCTETS + 1])
def test_many_deliveries_at_once_keep_to_the_files_that_a_process_may_open(tmp_path: Path, octets: int) -> None:
    files = OpenFiles()

    def work(number: int) -> int:
        destination = prepared(tmp_path / str(number), files=files)
        for each in range(MAX_ROUND):
            deliver(destination, b"%d" % each, mail(each, octets))
        entries = destination.flush()
        destination.close()
        return len(entries)

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(work, range(8))] == [MAX_ROUND] * 8
    assert not files.open
    share = MAX_ROUND // SYNC_THREADS
    small = MAX_SHARES * share + (8 * SYNC_THREADS - MAX_SHARES) * FEW
    large = 8 * (2 * MAX_LARGE + 1)
    assert small + large < 800
    assert share // 2 <= files.most <= (large if octets > SMALL_OCTETS else small)


@pytest.mark.parametrize("octets", [40, SMALL_OCTETS + 1])
def test_where_a_process_may_open_fewer_files_fewer_are_open(
    tmp_path: Path, octets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    files = OpenFiles()

    def work(number: int) -> None:
        destination = prepared(tmp_path / str(number), files=files)
        for each in range(MAX_ROUND):
            deliver(destination, b"%d" % each, mail(each, octets))
        destination.flush()
        destination.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert files.most <= 128, "half of what there is, for all eight"


def test_a_disk_that_hangs_keeps_no_other_waiting(tmp_path: Path) -> None:
    go_on = threading.Event()

    class Hanging(Files):
        def sync(self, file: int) -> None:
            assert go_on.wait(30)
            super().sync(file)

    def work(number: int) -> int:
        destination = prepared(tmp_path / str(number), files=Hanging())
        for each in range(MAX_ROUND):
            deliver(destination, b"%d" % each, mail(each))
        entries = destination.flush()
        destination.close()
        return len(entries)

    with ThreadPoolExecutor(4) as pool:
        hanging = pool.map(work, range(4))
        try:
            assert len(delivered(tmp_path / "box", mail(1))) == 1
        finally:
            go_on.set()
        assert [*hanging] == [MAX_ROUND] * 4


@pytest.mark.parametrize("octets", [40, SMALL_OCTETS + 1])
@pytest.mark.parametrize("step", ["write", "begin_sync", "sync"])
def test_whatever_ends_a_thread_no_file_stays_open_and_nothing_is_delivered(box: Path, step: str, octets: int) -> None:
    files = OpenFiles()
    original = getattr(files, step)

    def fail(*arguments: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError
        original(*arguments)

    setattr(files, step, fail)
    destination = prepared(box, files=files)
    with contextlib.suppress(MemoryError):
        for number in range(40):
            deliver(destination, b"%d" % number, mail(number, octets))
    # Each of these errors is raised once, and the next call settles it.
    ends = [DestinationError, MemoryError]
    with contextlib.suppress(*ends):
        destination.flush()
    with contextlib.suppress(*ends):
        destination.flush()
    destination.close()
    assert not files.open
    if not (step == "write" and octets > SMALL_OCTETS):  # the files of large messages the caller writes itself
        assert contents(box) == []
    assert not [*(box / "tmp").iterdir()]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pop3fast-sync")]


def test_where_no_thread_can_be_had_no_file_stays_open(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(pool: ThreadPoolExecutor, *arguments: Any) -> Any:  # noqa: ANN401
        if len(pool._threads) == 2:
            raise RuntimeError("can't start new thread")
        return original(pool, *arguments)

    original = ThreadPoolExecutor.submit
    files = OpenFiles()
    destination = prepared(box, files=files)
    for number in range(40):
        deliver(destination, b"%d" % number, mail(number))
    with monkeypatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "submit", submit)
        with pytest.raises(RuntimeError, match="new thread"):
            destination.flush()
    with pytest.raises(DestinationError, match="Interrupted") as caught:
        destination.flush()
    assert len(contents(box)) == len(caught.value.delivered)
    destination.close()
    assert not files.open
    assert not [*(box / "tmp").iterdir()]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_links(box: Path, number: int) -> None:
    class NoLinks(Files):
        def link(self, *_: object) -> None:
            raise OSError(number, os.strerror(number))

    for _ in range(2):
        destination = prepared(box, files=NoLinks())
        deliver(destination, b"1", mail(1))
        assert len(destination.flush()) == 1
        destination.close()
    assert len(contents(box)) == 1


@pytest.mark.parametrize("inside", ["", "/tmp", "/new", "/cur"])
def test_a_symbolic_link_is_refused(box: Path, tmp_path: Path, inside: str) -> None:
    prepared(box).close()
    link = Path(f"{box}{inside}")
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    for path in {box, *([] if inside else [f"{box}/", f"{box}/."])}:
        with pytest.raises(DestinationError, match=rf"{link}: it is a symbolic link"):
            open_destination(f"maildir:{path}").open()


def test_a_link_inside_is_not_followed_when_a_message_is_written(box: Path, tmp_path: Path) -> None:
    class Linked(Files):
        def link(self, name: str, at: int, new_name: str, new_at: int) -> None:
            (box / "new" / new_name).symlink_to(tmp_path / "victim")
            super().link(name, at, new_name, new_at)

    destination = prepared(box, files=Linked())
    deliver(destination, b"1", mail(1))
    with pytest.raises(DestinationError, match="File exists"):
        destination.flush()
    destination.close()
    assert not (tmp_path / "victim").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("inside", ["", "/new"])
def test_a_folder_of_another_user_is_refused(box: Path, inside: str) -> None:
    prepared(box).close()
    os.chown(f"{box}{inside}", 12345, -1)
    with pytest.raises(DestinationError, match=rf"{box}{inside}: user 12345 owns it"):
        open_destination(f"maildir:{box}").open()


def test_a_folder_with_other_things_is_no_maildir(tmp_path: Path) -> None:
    (tmp_path / "letter.odt").write_bytes(b"")
    with pytest.raises(DestinationError, match="other things"):
        open_destination(f"maildir:{tmp_path}").open()
    assert len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize("kind", ["maildir", "eml"])
def test_only_what_has_a_parent_is_made(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DestinationError, match="No such file"):
        open_destination(f"{kind}:{tmp_path}/a/b").open()
    assert not [*tmp_path.iterdir()]
    open_destination(f"{kind}:{tmp_path}/a").open()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["maildir", "eml"])
def test_a_file_is_no_folder(box: Path, kind: str) -> None:
    box.write_bytes(b"")
    with pytest.raises(DestinationError, match="not a folder"):
        open_destination(f"{kind}:{box}").open()


def test_a_folder_that_vanishes(box: Path) -> None:
    destination = prepared(box)
    deliver(destination, b"1", mail(1))
    for path in sorted(box.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(DestinationError, match="No such file"):
        destination.flush()
    deliver(destination, b"2", mail(2))
    with pytest.raises(DestinationError, match=f"cannot write to {box}: No such file"):
        destination.flush()
    with pytest.raises(DestinationError, match=f"cannot write to {box}: No such file"):
        destination.begin(Identity(b"3")).write(bytes(BLOCK_OCTETS))
    destination.close()


@pytest.mark.parametrize(
    "words", ["", "maildir", "maildir:", "imap:x", "/x", "mbox:a/", "eml:a\0b", "maildir:~nobody-of-that-name/x"]
)
def test_words_that_name_no_destination(words: str) -> None:
    with pytest.raises(ValueError, match=r"maildir:|destination|mbox|home|IMAP folder"):
        open_destination(words)


def test_a_home_and_the_place_of_the_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert default_path(open_destination("maildir:~/Mail/")) == f"{tmp_path}/Mail/pop3fast.sqlite"
    assert default_path(open_destination("eml:Mail")) == f"{tmp_path}/Mail/pop3fast.sqlite"
    assert default_path(open_destination("mbox:inbox")) == f"{tmp_path}/inbox.pop3fast.sqlite"


@pytest.mark.parametrize("kind", ["maildir", "eml"])
def test_two_accounts_in_one_folder_with_their_state_in_it(box: Path, kind: str) -> None:
    destination = open_destination(f"{kind}:{box}")
    destination.open()
    state = State(default_path(destination))
    for user in ("me", "you"):
        with state.account("h", 110, user) as account:
            destination.prepare(account.digest, account)
            deliver(destination, b"1", mail(1))
            account.remember(destination.flush())
    destination.close()
    assert fetch(f"{kind}:{box}", default_path(destination), [(b"1", mail(1))]) != []
    assert len([*box.glob("*.eml" if kind == "eml" else "new/*")]) == 3


@pytest.mark.parametrize("kind", ["maildir", "eml"])
def test_a_name_that_somebody_else_has_given_to_a_file_is_no_delivery(box: Path, kind: str) -> None:
    class Taken(Files):
        def link(self, name: str, at: int, new_name: str, new_at: int) -> None:
            self.close(self.create(new_name, new_at))
            super().link(name, at, new_name, new_at)

    destination = prepared(box, kind, Taken())
    deliver(destination, b"1", mail(1))
    with pytest.raises(DestinationError) as raised:
        destination.flush()
    assert raised.value.delivered == ()
    destination.close()
    destination = prepared(box, kind)
    deliver(destination, b"1", mail(1))
    assert [entry.uid for entry in destination.flush()] == [b"1"]
    destination.close()
