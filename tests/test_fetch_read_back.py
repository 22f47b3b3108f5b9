"""Reading back: a message that is to be deleted from the server is read once more from where it was delivered."""

import errno
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NoReturn
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations import prepared
from fetching import mail
from maildrops import FastClock
from pop3fast._framing import Checksum
from pop3fast.fetch import AccountState, Destination, DestinationError, Entry, Identity, open_destination
from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import ReadBack
from pop3fast.fetch.destinations import _read_early
from pop3fast.fetch.destinations._destination import ReadsEarly
from pop3fast.fetch.destinations._folder import BLOCK_OCTETS, SMALL_OCTETS
from pop3fast.fetch.destinations._mbox import Mbox
from pop3fast.fetch.destinations._mbox_search import LINE_OCTETS
from pop3fast.fetch.destinations._sync import GroupSync
from pop3fast.fetch.memory._fingerprint import fingerprint, header_of

KINDS = ["maildir", "eml", "mbox"]
WHOLE, MOVED, DIFFERS = ReadBack.WHOLE, ReadBack.MOVED, ReadBack.DIFFERS
SIZES = [40, SMALL_OCTETS + 100, BLOCK_OCTETS + 100]


def deliver(
    destination: Destination, account: AccountState, *numbers: int, octets: int = 40, nameless: bool = False
) -> list[Entry]:
    for number in numbers:
        delivery = destination.begin(Identity(b"" if nameless else b"%d" % number))
        delivery.write(mail(number, octets))
        delivery.end(fingerprint=fingerprint(header_of(mail(number, octets))))
    entries = destination.flush()
    account.remember(entries)
    return entries


def files_of(to: str) -> list[Path]:
    """Return the files, in the order of delivery."""
    kind, _, path = to.partition(":")
    return [Path(path)] if kind == "mbox" else sorted(file for file in Path(path).rglob("*") if file.is_file())


def change(to: str, number: int, into: Callable[[bytes], bytes]) -> None:
    """Change the message *number* of those at *to*, in place."""
    if to.startswith("mbox"):
        (path,) = files_of(to)
        content = path.read_bytes()
        start = content.index(b"Subject: %d\n" % number)
        end = content.find(b"From ", content.index(b">From ", start) + 5)
        end = len(content) if end < 0 else end
        path.write_bytes(content[:start] + into(content[start:end]) + content[end:])
    else:
        path = files_of(to)[number]
        path.write_bytes(into(path.read_bytes()))


def bit_flipped(content: bytes) -> bytes:
    return content[:-9] + b"y" + content[-8:]


def zeroed(content: bytes) -> bytes:
    return content[:20] + bytes(len(content) - 20)


def cut_short(content: bytes) -> bytes:
    return content[:-10]


def longer(content: bytes) -> bytes:
    return content[:-4] + b"more" + content[-4:]


@pytest.fixture(params=KINDS)
def to(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}:{tmp_path}/box"


@pytest.mark.parametrize("octets", SIZES)
@pytest.mark.parametrize("damage", [bit_flipped, zeroed])
def test_what_was_damaged_differs_and_nothing_else(to: str, octets: int, damage: Callable[[bytes], bytes]) -> None:
    with prepared(to) as (destination, account):
        entries = deliver(destination, account, *range(5), octets=octets)
        assert destination.read_back(entries, fresh=True) == [WHOLE] * 5
        change(to, 3, damage)
        for fresh in (True, False):
            assert destination.read_back(entries, fresh=fresh) == [WHOLE, WHOLE, WHOLE, DIFFERS, WHOLE]
            assert destination.read_back(entries[::-1], fresh=fresh) == [WHOLE, DIFFERS, WHOLE, WHOLE, WHOLE]
    # In a later session, of what the state remembers.
    with prepared(to) as (destination, account):
        known = account.entries(entry.identity for entry in entries)
        assert [known[entry.identity] for entry in entries] == entries
        assert destination.read_back([*known.values()], fresh=False) == [WHOLE, WHOLE, WHOLE, DIFFERS, WHOLE]


@pytest.mark.parametrize("kind", ["maildir", "eml"])
def test_what_is_damaged_differs_under_another_unique_id_too(tmp_path: Path, kind: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    with prepared(to) as (destination, account):
        entries = deliver(destination, account, 0, 1)
        change(to, 1, bit_flipped)
        renamed = [entry._replace(uid=b"another-%d" % number) for number, entry in enumerate(entries)]
        assert destination.read_back(renamed, fresh=False) == [WHOLE, DIFFERS]


def test_what_was_cut_short_differs(to: str) -> None:
    with prepared(to) as (destination, account):
        entries = deliver(destination, account, 0, 1)
        change(to, 1, cut_short)
        assert destination.read_back(entries, fresh=True) == [WHOLE, DIFFERS]
        assert destination.read_back(entries, fresh=False) == [WHOLE, DIFFERS]


def test_what_is_gone_differs_when_it_was_delivered_now_and_counts_when_it_was_before(to: str) -> None:
    with prepared(to) as (destination, account):
        entries = deliver(destination, account, 0, 1)
        for path in files_of(to):
            path.unlink()
        assert destination.read_back(entries, fresh=True) == [DIFFERS, DIFFERS]
        assert destination.read_back(entries, fresh=False) == [MOVED, MOVED]


@pytest.mark.parametrize("octets", SIZES)
def test_what_was_read_in_one_session_says_nothing_in_the_next(to: str, octets: int) -> None:
    with prepared(to) as (destination, account):
        assert isinstance(destination, ReadsEarly)
        destination.read_early()
        entries = deliver(destination, account, 0, octets=octets)
        destination.prepare(account.digest, account)
        change(to, 0, bit_flipped)
        assert destination.read_back(entries, fresh=False) == [DIFFERS]


def test_what_lies_in_the_place_of_a_message_under_another_from_line_is_no_damage_to_it(tmp_path: Path) -> None:
    box = tmp_path / "box"
    with prepared(f"mbox:{box}") as (destination, account):
        entries = deliver(destination, account, 1)
        box.write_bytes(b"From you@example.org Mon Jan  5 10:00:00 2026\nSubject: theirs\n\nFor you\n\n")
        assert destination.read_back(entries, fresh=False) == [MOVED]


def test_a_message_that_moved_to_the_place_of_another_is_no_damage_to_that_one(tmp_path: Path) -> None:
    """They came in the same second and have the same From line, so nothing else tells them apart."""
    to = f"mbox:{tmp_path}/box"
    with prepared(to) as (destination, account):
        entries = deliver(destination, account, 0, 1, 2)
        (path,) = files_of(to)
        content = path.read_bytes()
        second = content.index(b"\nFrom ") + 1
        path.write_bytes(content[second:])
        assert destination.read_back(entries, fresh=False) == [MOVED, WHOLE, WHOLE]
        path.write_bytes(bit_flipped(content[second:]))
        assert destination.read_back(entries, fresh=False)[:2] == [MOVED, WHOLE]
        path.write_bytes(content[second:].replace(b"Subject: 1", b"Subject: 9"))
        assert destination.read_back(entries, fresh=False)[0] == DIFFERS, "in doubt it comes once more"
        path.write_bytes(content[second:].replace(b"x" * 20, b"x", 1))
        assert destination.read_back(entries, fresh=False)[0] == MOVED, (
            "one that a mail program changed, and is shorter"
        )


def test_another_message_in_the_place_of_one_is_known_by_its_header_and_its_end_though_it_was_forgotten(
    tmp_path: Path,
) -> None:
    """A message is forgotten when others use its unique-id again; the piece of one was never remembered."""
    with prepared(f"mbox:{tmp_path}/box", clock=FastClock()) as (destination, account):
        entries = [*deliver(destination, account, 0), *deliver(destination, account, 1, octets=400)]
        path = tmp_path / "box"
        content = path.read_bytes()
        second = content.index(b"\nFrom ") + 1
        first, other = content[:second], content[second:]
        account.forget(entries[1:])

        def found(lying: bytes) -> ReadBack:
            path.write_bytes(lying)
            return destination.read_back(entries[:1], fresh=False)[0]

        assert found(other) == found(other[:-100]) == MOVED
        header = first.index(b"\n\n")
        assert len(other[:-100]) > len(first)
        assert found(other[: len(first) - 2] + b"\n\n") == DIFFERS, "it is as long as the one that was put there"
        assert found(first[:-1] + b"xFrom" + other) == DIFFERS, "its header is the right one"
        assert found(first[: header - 9] + bytes(400) + b"\n\n" + other) == DIFFERS, "one stretch of damage has both"
        assert found(first[: header - 9]) == DIFFERS, "there is no more of it than the beginning of a header"
        account.remember(entries[:1])
        assert found(content) == WHOLE


def test_a_copy_that_lies_where_another_message_was_put_is_not_the_one_that_is_damaged(tmp_path: Path) -> None:
    """Of two that are alike to the last byte, each is asked about by itself: that one may be due and the other not."""
    with prepared(f"mbox:{tmp_path}/box", clock=FastClock()) as (destination, account):
        for uid in (b"first", b"second"):
            delivery = destination.begin(Identity(uid))
            delivery.write(mail(1))
            delivery.end()
        entries = destination.flush()
        account.remember(entries)
        path = tmp_path / "box"
        content = path.read_bytes()
        path.write_bytes(bit_flipped(content))
        assert destination.read_back(entries[1:], fresh=False) == [DIFFERS]
        assert destination.read_back(entries[:1], fresh=True) == [WHOLE]
        account.forget(entries[:1])
        assert destination.read_back(entries[1:], fresh=False) == [WHOLE], "nobody else's, so it may have moved"


def test_in_an_mbox_a_message_without_a_unique_id_is_read_where_it_was_put(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    for damage, found in ((bytes, WHOLE), (bit_flipped, DIFFERS), (lambda _: b"", MOVED)):
        with prepared(to) as (destination, account):
            (entry,) = deliver(destination, account, 0, nameless=True)
        (path,) = files_of(to)
        path.write_bytes(damage(path.read_bytes()))
        with prepared(to) as (destination, account):
            (again,) = deliver(destination, account, 0, nameless=True)
            assert (again.place, destination.read_back([again], fresh=True)) == (entry.place, [found])
        path.unlink()
        Path(f"{path}.state").unlink()


def test_a_damaged_message_comes_again_and_is_whole_then(to: str) -> None:
    with prepared(to) as (destination, account):
        entries = deliver(destination, account, 0, 1, 2)
        change(to, 1, bit_flipped)
        assert destination.read_back(entries, fresh=True) == [WHOLE, DIFFERS, WHOLE]
        again = deliver(destination, account, 1)
        assert destination.read_back(again, fresh=True) == [WHOLE]
        assert destination.read_back(entries[::2], fresh=True) == [WHOLE, WHOLE]


MOVES = ["cur/{}:2,S", "cur/{},S=40:2,", ".Archive/cur/{}:2,S", ".Trash/new/{}"]


@pytest.mark.parametrize("moved", MOVES)
@pytest.mark.parametrize("fresh", [True, False])
def test_what_a_mail_program_moved_within_a_maildir_is_whole(tmp_path: Path, moved: str, *, fresh: bool) -> None:
    with prepared(f"maildir:{tmp_path}/box") as (destination, account):
        entries = deliver(destination, account, 0, 1)
        path = files_of(f"maildir:{tmp_path}/box")[0]
        to = tmp_path / "box" / moved.format(path.name)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
        assert destination.read_back(entries, fresh=fresh) == [WHOLE, WHOLE]
        to.write_bytes(b"damaged")
        assert destination.read_back(entries, fresh=fresh) == [DIFFERS, WHOLE]


def test_what_a_listing_lacks_because_a_mail_program_renames_it_meanwhile_is_whole(tmp_path: Path) -> None:
    """A folder that is read while a file in it gets another name may show neither."""

    class Renamed(Files):
        hidden = False

        def names(self, folder: int) -> list[str]:
            names = super().names(folder)
            if self.hidden:
                self.hidden = not any(name.endswith(":2,") for name in names)
                names = [name for name in names if not name.endswith(":2,")]
            return names

    files = Renamed()
    with prepared(f"maildir:{tmp_path}/box", files) as (destination, account):
        entries = deliver(destination, account, 0, 1)
        path = files_of(f"maildir:{tmp_path}/box")[0]
        path.rename(tmp_path / "box" / "cur" / f"{path.name}:2,")
        files.hidden = True
        assert destination.read_back(entries, fresh=True) == [WHOLE, WHOLE]
        assert not files.hidden


@pytest.mark.parametrize("fresh", [True, False])
def test_what_a_mail_program_moved_or_marked_in_an_mbox_is_whole(tmp_path: Path, *, fresh: bool) -> None:
    box = tmp_path / "box"
    box.write_bytes(b"From a@b Mon Jan  5 10:00:00 2026\nSubject: old\n\nold\n\n")
    with prepared(f"mbox:{box}") as (destination, account):
        entries = deliver(destination, account, 0, 1, 2)
        content = box.read_bytes()
        start = content.index(b"From ", 5)
        box.write_bytes(content[start:].replace(b"Subject: 1\n", b"Subject: 1\nStatus: RO\n"))
        assert destination.read_back(entries, fresh=fresh) == [WHOLE, WHOLE, WHOLE]
        # Of two that are alike, in one second, one that is there is one.
        box.write_bytes(content[:start])
        assert destination.read_back(entries, fresh=fresh) == [DIFFERS if fresh else MOVED] * 3


@pytest.mark.parametrize("before", [b"", b"From a@b Mon Jan  5 10:00:00 2026\n\nold\n\n"])
def test_of_messages_that_are_alike_as_many_are_whole_as_are_there(tmp_path: Path, before: bytes) -> None:
    box = tmp_path / "box"
    with prepared(f"mbox:{box}") as (destination, account):
        for uid in (b"1", b"2", b"3"):
            delivery = destination.begin(Identity(uid))
            delivery.write(b"Subject: x\r\n\r\nx\r\n")
            delivery.end()
        account.remember(entries := destination.flush())
        content = box.read_bytes()
        one = content[: len(content) // 3]
        box.write_bytes(before + one * 2)
        assert sorted(found.value for found in destination.read_back(entries, fresh=True)) == [
            "differs",
            *["whole"] * 2,
        ]


def test_what_version_1_remembered_is_checked_by_its_name(tmp_path: Path) -> None:
    with prepared(to := f"maildir:{tmp_path}/box") as (destination, account):
        entries = deliver(destination, account, 0, 1, 2)
        known = [entry._replace(content=b"", place=b"") for entry in entries]
        paths = files_of(to)
        for path in paths:
            path.rename(path.with_name(path.name.partition("_")[2]))
        change(to, 1, bit_flipped)
        changed = [path for path in files_of(to) if b"y" in path.read_bytes()]
        places = [entry for entry in entries if changed[0].name in entry.place.decode()]
        expected = [DIFFERS if entry in places else WHOLE for entry in entries]
        assert sorted(found.value for found in expected) == ["differs", "whole", "whole"]
        assert destination.read_back(known, fresh=False) == expected
        changed[0].unlink()
        assert destination.read_back(known, fresh=False) == [MOVED if entry in places else WHOLE for entry in entries]


def test_what_version_1_appended_to_an_mbox_counts_as_delivered(tmp_path: Path) -> None:
    with prepared(f"mbox:{tmp_path}/box") as (destination, account):
        entries = deliver(destination, account, 0)
        assert destination.read_back([entries[0]._replace(place=b"")], fresh=False) == [MOVED]


@pytest.mark.parametrize("place", [b"\xff\0", b"/etc/passwd", b"../../x", b"new/x", bytes(36), b"x" * 300])
def test_a_place_of_another_destination_is_none(to: str, place: bytes) -> None:
    with prepared(to) as (destination, account):
        entries = deliver(destination, account, 0)
        missing = Entry(b"7", 0, 1, 1, b"", 1, b"c" * 16, 0, place)
        assert destination.read_back([missing, *entries], fresh=False) == [MOVED, WHOLE]


def test_what_cannot_be_seen_is_an_error(to: str) -> None:
    class Unseen(Files):
        blind = False

        def read(self, file: int, count: int, offset: int) -> bytes:
            if self.blind:
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
            return super().read(file, count, offset)

    with prepared(to, files := Unseen()) as (destination, account):
        entries = deliver(destination, account, 0)
        files.blind = True
        with pytest.raises(DestinationError, match=r"cannot read back from .*Cannot allocate memory"):
            destination.read_back(entries, fresh=True)


class Watched(Files):
    """Notes which thread opens something to read it, and how often an mbox is locked."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.locks = 0

    def lock(self, file: int) -> bool:
        self.locks += 1
        return super().lock(file)

    def open_to_read(self, name: str, at: int) -> int:
        self.reads.append(threading.current_thread().name)
        return super().open_to_read(name, at)


@pytest.mark.parametrize("octets", SIZES)
def test_messages_are_read_back_while_others_come_where_somebody_will_ask(to: str, octets: int) -> None:
    with prepared(to, files := Watched()) as (destination, account):
        entries = deliver(destination, account, 0, octets=octets)
        assert files.reads == []
        assert destination.read_back(entries, fresh=True) == [WHOLE]
        files.reads.clear()
        assert isinstance(destination, ReadsEarly)
        destination.read_early()
        entries = deliver(destination, account, 1, 2, octets=octets)
        destination._early.wait()  # type: ignore[attr-defined]
        reads, locks = len(files.reads), files.locks
        assert reads == (1 if to.startswith("mbox") else 2)
        assert threading.current_thread().name not in files.reads
        assert destination.read_back(entries, fresh=True) == [WHOLE, WHOLE]
        assert (len(files.reads), files.locks) == (reads, locks), "nothing was left to look for"
        # What was damaged behind that is seen when it is asked once more.
        change(to, 2, bit_flipped)
        assert destination.read_back(entries, fresh=True) == [WHOLE, DIFFERS]


class Damaging(Files):
    """Does something before the first message is read early."""

    def __init__(self, damage: Callable[[], object]) -> None:
        self._damage = damage
        self._damaged = False
        self._one_at_a_time = threading.Lock()

    def open_to_read(self, name: str, at: int) -> int:
        with self._one_at_a_time:
            if not self._damaged and threading.current_thread() is not threading.main_thread():
                self._damaged = True
                self._damage()
        return super().open_to_read(name, at)


@pytest.mark.parametrize("octets", SIZES)
@pytest.mark.parametrize("damage", [bit_flipped, zeroed, cut_short, longer])
def test_what_was_damaged_before_it_was_read_early_differs(
    to: str, octets: int, damage: Callable[[bytes], bytes]
) -> None:
    with prepared(to, Damaging(lambda: change(to, 1, damage))) as (destination, account):
        assert isinstance(destination, ReadsEarly)
        destination.read_early()
        entries = deliver(destination, account, 0, 1, octets=octets)
        assert destination.read_back(entries, fresh=True) == [WHOLE, DIFFERS]


@pytest.mark.parametrize("kind", ["maildir", "eml"])
@pytest.mark.parametrize("octets", SIZES)
def test_what_something_was_put_behind_before_it_was_read_early_differs(tmp_path: Path, kind: str, octets: int) -> None:
    to = f"{kind}:{tmp_path}/box"
    with prepared(to, Damaging(lambda: change(to, 1, lambda content: content + b"\0"))) as (destination, account):
        assert isinstance(destination, ReadsEarly)
        destination.read_early()
        entries = deliver(destination, account, 0, 1, octets=octets)
        assert destination.read_back(entries, fresh=True) == [WHOLE, DIFFERS]


def _put_a_pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _put_a_link(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize("kind", ["maildir", "eml"])
@pytest.mark.parametrize("put", [_put_a_pipe, _put_a_link, Path.mkdir])
def test_what_is_no_file_when_it_is_read_early_differs(
    tmp_path: Path, kind: str, put: Callable[[Path], object]
) -> None:
    to = f"{kind}:{tmp_path}/box"

    def replace() -> None:
        path = files_of(to)[1]
        path.unlink()
        put(path)

    with prepared(to, Damaging(replace)) as (destination, account):
        assert isinstance(destination, ReadsEarly)
        destination.read_early()
        entries = deliver(destination, account, 0, 1)
        assert destination.read_back(entries[:1], fresh=True) == [WHOLE]
        destination._early.wait()  # type: ignore[attr-defined]
        assert destination._early.take([entries[1].place]) == {entries[1].place: False}  # type: ignore[attr-defined]


@pytest.mark.parametrize("octets", SIZES)
def test_what_was_begun_before_anybody_wanted_it_read_is_read_when_somebody_asks(to: str, octets: int) -> None:
    with prepared(to) as (destination, account):
        assert isinstance(destination, ReadsEarly)
        delivery = destination.begin(Identity(b"0"))
        delivery.write(mail(0, octets))
        destination.read_early()
        delivery.end()
        entries = deliver(destination, account, 1, octets=octets)
        for damage, found in ((bytes, [WHOLE, WHOLE]), (bit_flipped, [DIFFERS, WHOLE])):
            change(to, 0, damage)
            assert destination.read_back(entries, fresh=True) == found


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)), max_size=8))
def test_checksums_are_those_of_the_octets_there_are(content: bytes, spans: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryFile() as file, mock.patch.object(_read_early, "BLOCK_OCTETS", 7):
        file.write(content)
        file.flush()
        found = [*_read_early.checksums(Files(), file.fileno(), spans)]
    for (start, octets), checksum in zip(spans, found, strict=True):
        expected = Checksum()
        expected.feed(content[start : start + octets])
        assert checksum == expected.digest()


@pytest.mark.parametrize("kind", ["maildir", "eml"])
@pytest.mark.parametrize("octets", SIZES)
def test_what_was_taken_away_before_it_was_read_early_differs(tmp_path: Path, kind: str, octets: int) -> None:
    to = f"{kind}:{tmp_path}/box"

    def take_away() -> None:
        files_of(to)[1].unlink()

    with prepared(to, Damaging(take_away)) as (destination, account):
        assert isinstance(destination, ReadsEarly)
        destination.read_early()
        entries = deliver(destination, account, 0, 1, octets=octets)
        assert destination.read_back(entries, fresh=True) == [WHOLE, DIFFERS]


def test_what_cannot_be_read_early_is_an_error_when_somebody_asks(to: str) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with prepared(to, Damaging(fail)) as (destination, account):
        assert isinstance(destination, ReadsEarly)
        destination.read_early()
        entries = deliver(destination, account, 0)
        with pytest.raises(DestinationError, match="Input/output error"):
            destination.read_back(entries, fresh=True)


def test_without_a_thread_messages_are_read_when_somebody_asks(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(*_: object) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(GroupSync, "begin", begin)
    with prepared(to) as (destination, account):
        assert isinstance(destination, ReadsEarly)
        destination.read_early()
        entries = deliver(destination, account, 0, 1)
        change(to, 1, bit_flipped)
        assert destination.read_back(entries, fresh=True) == [WHOLE, DIFFERS]


def test_an_mbox_is_not_locked_while_it_is_read_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where locks belong to the process, closing what was read would end the lock."""
    opened, waited_for = threading.Event(), threading.Event()

    class Slow(Files):
        is_read_early = False
        read_when_locked: ClassVar[list[bool]] = []

        def open_to_read(self, name: str, at: int) -> int:
            self.is_read_early = threading.current_thread() is not threading.main_thread()
            opened.set()
            return super().open_to_read(name, at)

        def close(self, descriptor: int) -> None:
            if threading.current_thread() is not threading.main_thread():
                waited_for.wait()
                self.is_read_early = False
            super().close(descriptor)

        def lock(self, file: int) -> bool:
            self.read_when_locked.append(self.is_read_early)
            return super().lock(file)

    with prepared(f"mbox:{tmp_path}/box", files := Slow()) as (destination, account):
        assert isinstance(destination, Mbox)
        destination.read_early()
        wait = destination._early.wait

        def let_it_end() -> None:
            waited_for.set()
            wait()

        try:
            entries = deliver(destination, account, 1)
            opened.wait()
            monkeypatch.setattr(destination._early, "wait", let_it_end)
            entries += deliver(destination, account, 2)
        finally:
            waited_for.set()
        assert files.read_when_locked
        assert not any(files.read_when_locked)
        assert destination.read_back(entries, fresh=True) == [WHOLE, WHOLE]


def test_an_mbox_is_locked_for_reading_back_only_where_something_is_not_where_it_was_put(tmp_path: Path) -> None:
    class Locking(Files):
        locks = 0

        def lock(self, file: int) -> bool:
            self.locks += 1
            return super().lock(file)

    to = f"mbox:{tmp_path}/box"
    with prepared(to, files := Locking()) as (destination, account):
        entries = deliver(destination, account, 0, 1)
        files.locks = 0
        assert destination.read_back(entries, fresh=True) == [WHOLE, WHOLE]
        assert files.locks == 0
        change(to, 0, bit_flipped)
        assert DIFFERS in destination.read_back(entries, fresh=True)
        assert files.locks == 1


def test_an_mbox_that_others_may_write_to_is_not_believed(tmp_path: Path) -> None:
    with prepared(f"mbox:{tmp_path}/box") as (destination, account):
        entries = deliver(destination, account, 0)
        (tmp_path / "box").chmod(0o666)
        with pytest.raises(DestinationError):
            destination.read_back(entries, fresh=True)


def test_nothing_is_read_back_before_it_is_prepared(to: str) -> None:
    destination = open_destination(to)
    with pytest.raises(ValueError, match="not prepared"):
        destination.read_back([], fresh=True)


def test_a_place_in_an_mbox_is_compared_within_its_from_line(tmp_path: Path) -> None:
    """A sender may make it longer than what is compared."""
    long_line = b"Return-Path: <" + b"x" * (LINE_OCTETS + 50) + b"@x>\r\nSubject: a\r\n\r\nb\r\n"
    with prepared(f"mbox:{tmp_path}/box") as (destination, account):
        delivery = destination.begin(Identity(b"1"))
        delivery.write(long_line)
        delivery.end()
        account.remember(entries := destination.flush())
        (tmp_path / "box").write_bytes(b"From a@b Mon Jan  5 10:00:00 2026\n\n\n" + (tmp_path / "box").read_bytes())
        assert destination.read_back(entries, fresh=True) == [WHOLE]


@pytest.mark.parametrize("kind", ["maildir", "eml"])
@pytest.mark.parametrize("octets", SIZES)
def test_what_cannot_be_read_now_is_no_difference_and_is_not_delivered_beside(
    tmp_path: Path, kind: str, octets: int
) -> None:
    """An error of the disk that passes says nothing about what is on it."""

    class Unreadable(Files):
        fails = True

        def open_to_read(self, name: str, folder: int) -> int:
            if self.fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().open_to_read(name, folder)

    to, files = f"{kind}:{tmp_path}/box", Unreadable()
    with prepared(to, files) as (destination, account):
        entries = deliver(destination, account, 1, octets=octets)
    with prepared(to, files) as (destination, account):
        with pytest.raises(DestinationError, match="Input/output error"):
            destination.read_back(entries, fresh=False)
        with pytest.raises(DestinationError, match="Input/output error"):
            deliver(destination, account, 1, octets=octets)
        files.fails = False
        assert destination.read_back(entries, fresh=False) == [WHOLE]
        deliver(destination, account, 1, octets=octets)
    assert len(files_of(to)) == 1
