"""An mbox: quoting that can be undone, pieces that are taken away, and nobody else's mail touched."""

import errno
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetching import CountedFiles, fetch, in_child, mail
from maildrops import FastClock
from mboxes import THEIRS, append, deliver, found, prepared
from pop3fast.fetch import DestinationError, Identity, State, open_destination
from pop3fast.fetch._files import Files
from pop3fast.fetch.destinations import _spool as spool_module
from pop3fast.fetch.destinations._mboxrd import Quoter, from_line


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return tmp_path / "box"


def quoted(chunks: Sequence[bytes]) -> bytes:
    quoter = Quoter()
    return b"".join([*map(quoter.feed, chunks), quoter.end()])


def quoted_naively(content: bytes) -> bytes:
    return b"\n".join(b">" + line if re.match(b">*From ", line) else line for line in content.split(b"\n"))


FROMS = b"From a\n>From b\n>>>From c\nFrom\nFrom: d\n From e\n\nFrom \r>From\n>\n>>Fro"


def test_every_from_is_quoted_wherever_the_octets_are_cut() -> None:
    wanted = quoted_naively(FROMS)
    for first in range(len(FROMS) + 1):
        for second in range(first, len(FROMS) + 1):
            assert quoted([FROMS[:first], FROMS[first:second], FROMS[second:]]) == wanted


@given(st.lists(st.text(">From \n", max_size=12).map(str.encode) | st.binary(max_size=5), max_size=8))
def test_quoting_can_be_undone(chunks: list[bytes]) -> None:
    content = b"".join(chunks)
    assert quoted(chunks) == quoted_naively(content)
    assert re.sub(rb"(?m)^>(>*From )", rb"\1", quoted(chunks)) == content


def test_a_line_of_many_quotes_takes_linear_time_and_is_not_kept() -> None:
    quoter = Quoter()
    for _ in range(1000):
        assert len(quoter.feed(b">" * 10_000)) == 10_000
    assert quoter.feed(b"From x\n") == b">From x\n"


HEADER = b"Subject: x\r\n\r\n"


@given(st.lists(st.text("From >\r\n:x", max_size=30).map(lambda text: HEADER + text.encode()), max_size=4))
def test_mailbox_finds_exactly_the_messages(tmp_path_factory: pytest.TempPathFactory, messages: list[bytes]) -> None:
    box = tmp_path_factory.mktemp("box") / "box"
    append(box, *messages)
    if messages:
        wanted = [message.replace(b"\r\n", b"\n") for message in messages]
        assert found(box) == [message + b"\n" * (not message.endswith(b"\n")) for message in wanted]


def test_every_cut_of_a_message_gives_the_same_file(tmp_path: Path) -> None:
    message = b"Return-Path: <me@x>\r\nFrom: x\r\n\r\nFrom x\r\n>From\r\n"
    for cut in range(len(message) + 1):
        box = tmp_path / f"{cut}"
        with prepared(box) as (destination, _, _):
            deliver(destination, b"1", message[:cut], message[cut:])
            destination.flush()
        assert box.read_bytes().startswith(b"From me@x ")
        assert found(box) == [message.replace(b"\r\n", b"\n")]


@pytest.mark.parametrize(
    ("header", "sender"),
    [
        (b"Return-Path: <me@example.org>\n", b"me@example.org"),
        (b"RETURN-PATH:me@example.org\n", b"me@example.org"),
        (b"Return-Path: <a\tb c\x00\x1b@x>\n", b"a-b-c-@x"),
        (b"Return-Path: <a\rFrom b>\n", b"a-From-b"),
        (b"Return-Path: <>\n", b"MAILER-DAEMON"),
        (b"Return-Path: <" + b"x" * 999 + b">\n", b"MAILER-DAEMON"),
        (b"Subject: x\n\nReturn-Path: <body@x>\n", b"MAILER-DAEMON"),
        (b"", b"MAILER-DAEMON"),
    ],
)
def test_the_from_line(header: bytes, sender: bytes) -> None:
    assert from_line(header, 1767607384.5) == b"From %s Mon Jan  5 10:03:04 2026\n" % sender


@pytest.mark.parametrize("before", [THEIRS, THEIRS[:-1], THEIRS[:-2], b""])
def test_what_is_there_stays_and_an_empty_line_sets_off(box: Path, before: bytes) -> None:
    box.write_bytes(before)
    append(box, mail(1))
    append(box, mail(1), mail(2))
    after = box.read_bytes()
    assert after.startswith(before)
    assert after[len(before) :].lstrip(b"\n").startswith(b"From MAILER-DAEMON ")
    assert len(found(box)) == 3 + bool(before)
    assert not re.search(rb"\n\n\nFrom ", after)


@pytest.mark.parametrize("content", [b"From", b"Subject: x\n\n", b"\0" * 100, b"\nFrom x\n"])
def test_what_is_no_mbox_is_refused(box: Path, content: bytes) -> None:
    box.write_bytes(content)
    with pytest.raises(DestinationError, match="no mbox"), prepared(box):
        pass
    assert box.read_bytes() == content


def test_only_a_file_is_an_mbox(box: Path, tmp_path: Path) -> None:
    to = open_destination(f"mbox:{box}")
    box.mkdir()
    with pytest.raises(DestinationError, match="not a file"):
        to.open()
    box.rmdir()
    os.mkfifo(box)
    with pytest.raises(DestinationError, match="not a file"):
        to.open()
    box.unlink()
    (tmp_path / "elsewhere").write_bytes(THEIRS)
    box.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DestinationError, match="symbolic link"):
        to.open()
    assert (tmp_path / "elsewhere").read_bytes() == THEIRS


@pytest.mark.parametrize(
    ("before", "error"), [("open_to_append", "levels of symbolic links"), ("lock", "it is a symbolic link")]
)
def test_an_mbox_that_is_exchanged_for_a_link_in_the_last_moment_is_refused(
    box: Path, tmp_path: Path, before: str, error: str
) -> None:
    """Each look is a guard of its own: before it is opened, when it is opened, and when it is locked."""
    victim = tmp_path / "elsewhere"
    victim.write_bytes(THEIRS)
    box.write_bytes(THEIRS)

    def exchange(_: int, name: str) -> None:
        if name == before and not box.is_symlink():
            box.unlink()
            box.symlink_to(victim)

    with pytest.raises(DestinationError, match=error):
        open_destination(f"mbox:{box}", CountedFiles(exchange), FastClock()).open()
    assert victim.read_bytes() == THEIRS


def test_opening_makes_nothing(box: Path) -> None:
    to = open_destination(f"mbox:{box}")
    to.open()
    to.close()
    assert not box.exists()
    with pytest.raises(DestinationError, match="No such file"):
        open_destination(f"mbox:{box}/no/box").open()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_failure_cuts_back_to_the_old_size(box: Path, number: int) -> None:
    box.write_bytes(THEIRS)

    class HalfFull(Files):
        def write(self, file: int, octets: bytes) -> None:
            if octets.startswith(b"pop3fast "):
                super().write(file, octets)
                return
            super().write(file, octets[:100])
            raise OSError(number, os.strerror(number))

    with prepared(box, HalfFull()) as (destination, account, _):
        deliver(destination, b"1", mail(1, octets=1000))
        with pytest.raises(DestinationError, match=os.strerror(number)) as caught:
            destination.flush()
        assert caught.value.delivered == ()
        assert account.intents() == []
    assert box.read_bytes() == THEIRS


def test_interrupted_while_appending_and_gone_on(box: Path) -> None:
    class Interrupted(Files):
        def write(self, file: int, octets: bytes) -> None:
            if b"Subject: 1\n" in octets:
                super().write(file, octets[:100])
                raise KeyboardInterrupt
            super().write(file, octets)

    with prepared(box, Interrupted()) as (destination, account, _):
        deliver(destination, b"1", mail(1, octets=1000))
        with pytest.raises(KeyboardInterrupt):
            destination.flush()
        deliver(destination, b"2", mail(2))
        account.remember(destination.flush())
        assert account.intents() == []
    assert found(box) == [mail(2).replace(b"\r\n", b"\n")]


def test_a_failed_sync_is_not_tried_again_and_nothing_is_delivered(box: Path) -> None:
    box.write_bytes(THEIRS)
    synced: list[int] = []

    class NoSync(Files):
        def sync(self, file: int) -> None:
            if self.stat(file).st_ino == box.stat().st_ino:
                synced.append(self.stat(file).st_size)
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    with prepared(box, NoSync()) as (destination, account, _):
        deliver(destination, b"1", mail(1))
        with pytest.raises(DestinationError, match="Input/output"):
            destination.flush()
        # Once with the message; then the file was cut, and whether that is durable nobody knows either.
        assert synced == [synced[0], len(THEIRS)]
        assert len(account.intents()) == 1
        with pytest.raises(DestinationError, match="Input/output"):
            destination.begin(Identity(b"2"))
    with prepared(box) as (_, account, said):
        assert said == []
        assert account.intents() == []
        assert len(account.seen()) == 0
    assert box.read_bytes() == THEIRS


def test_what_a_failed_sync_may_have_lost_is_written_again_before_the_next_process_believes_it(box: Path) -> None:
    """After a sync that failed, systems take what is in memory for written, and the next sync succeeds."""
    theirs = THEIRS.rstrip(b"\n")
    box.write_bytes(theirs)
    lost: set[int] = set()
    lost_at_sync: list[int] = []

    class Failing(Files):
        def sync(self, file: int) -> None:
            if self.stat(file).st_ino == box.stat().st_ino:
                lost.update(range(len(theirs), box.stat().st_size))
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        def truncate(self, file: int, size: int) -> None:
            if self.stat(file).st_size > size:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    class Rewriting(Files):
        def rewrite(self, file: int, octets: bytes, offset: int) -> None:
            lost.difference_update(range(offset, offset + len(octets)))
            super().rewrite(file, octets, offset)

        def sync(self, file: int) -> None:
            if self.stat(file).st_ino == box.stat().st_ino:
                lost_at_sync.append(len(lost))
            super().sync(file)

    with prepared(box, Failing()) as (destination, account, _):
        deliver(destination, b"1", mail(1))
        deliver(destination, b"2", mail(2, octets=2**19))
        with pytest.raises(DestinationError, match="Input/output"):
            destination.flush()
    there = box.read_bytes()
    assert len(lost) == len(there) - len(theirs) > 2**19
    with prepared(box, Rewriting()) as (_, account, said):
        assert (said, len(account.seen())) == ([], 2)
    assert lost_at_sync == [0]
    assert box.read_bytes() == there


def killed_while_appending(box: Path, *messages: bytes, octets: int) -> None:
    """Append *messages* in a child process that is killed when so many octets are there."""
    before = box.stat().st_size if box.exists() else 0

    class Killing(Files):
        def write(self, file: int, octets_to_write: bytes) -> None:
            if box.exists() and self.stat(file).st_ino == box.stat().st_ino:
                room = before + octets - self.stat(file).st_size
                if len(octets_to_write) >= room:
                    super().write(file, octets_to_write[:room])
                    os.kill(os.getpid(), signal.SIGKILL)
            super().write(file, octets_to_write)

    assert in_child(lambda: append(box, *messages, files=Killing())) == -signal.SIGKILL


@pytest.mark.timeout(300)  # some hundred processes, one after the other, on a machine that may be busy
@pytest.mark.parametrize("before", [b"", THEIRS])
def test_killed_at_every_octet(tmp_path: Path, before: bytes) -> None:
    """Whole messages are kept and remembered, a piece is taken away, and what was there stays."""
    one = b"Subject: 1\r\n\r\nFrom me\r\n"
    append(tmp_path / "whole", one, one + one)
    whole = (tmp_path / "whole").read_bytes()
    first_octets = whole.index(b"From MAILER", 1)
    for octets in range(1, len(whole)):
        box = tmp_path / f"{octets}"
        box.write_bytes(before)
        killed_while_appending(box, one, one + one, octets=octets)
        with prepared(box) as (_, account, said):
            assert said == []
            assert len(account.seen()) == (octets >= first_octets)
            assert account.intents() == []
        kept = first_octets if octets >= first_octets else 0
        assert box.stat().st_size == len(before) + kept
        assert box.read_bytes().startswith(before)


@pytest.mark.parametrize("octets", [5, 45, 60, 100, 500])
@pytest.mark.parametrize("theirs", [THEIRS, b"\n" + THEIRS, b"From x 10:00"])
@pytest.mark.parametrize("before", [b"", THEIRS])
def test_mail_that_somebody_appended_behind_a_piece_is_not_touched(
    box: Path, octets: int, theirs: bytes, before: bytes
) -> None:
    box.write_bytes(before)
    killed_while_appending(box, mail(1, octets=2000), mail(2), octets=octets)
    with box.open("ab") as file:
        file.write(theirs)
    left = box.read_bytes()
    with prepared(box) as (destination, account, said):
        assert len(account.seen()) == 0
        assert ("stays there" in "".join(said)) == (octets > 300)
        deliver(destination, b"0", mail(1, octets=2000))
        account.remember(destination.flush())
    assert box.read_bytes().startswith(left)
    assert mail(1, octets=2000).replace(b"\r\n", b"\n") in found(box)


def test_an_mbox_that_a_mail_program_rewrote_is_not_cut(box: Path) -> None:
    box.write_bytes(THEIRS)
    killed_while_appending(box, mail(1, octets=2000), octets=500)
    rewritten = box.read_bytes().replace(b"Subject: theirs", b"Subject: thEIRS")
    box.write_bytes(rewritten)
    with prepared(box):
        pass
    assert box.read_bytes() == rewritten


def test_whole_messages_are_found_though_others_came_behind(box: Path) -> None:
    append(box, mail(0))
    with prepared(box) as (destination, _, _):
        deliver(destination, b"1", mail(1))
        deliver(destination, b"", mail(2))
        destination.flush()
    with box.open("ab") as file:
        file.write(THEIRS)
    left = box.read_bytes()
    with prepared(box) as (destination, account, said):
        assert said == []
        assert Identity(b"1") in account.seen()
        # What has no unique-id is fetched again, and found by its content.
        deliver(destination, b"", mail(2))
        assert len(destination.flush()) == 1
    assert box.read_bytes() == left


def test_what_came_while_the_file_is_gone_is_delivered_again(box: Path) -> None:
    killed_while_appending(box, mail(1), octets=10)
    box.unlink()
    append(box, mail(1))
    assert found(box) == [mail(1).replace(b"\r\n", b"\n")]


def test_an_intent_of_another_mbox_is_left_to_it(box: Path, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    box.write_bytes(THEIRS)
    messages = [(b"1", mail(1))]

    class Killing(Files):
        def sync(self, file: int) -> None:
            if self.stat(file).st_ino == box.stat().st_ino:
                os.kill(os.getpid(), signal.SIGKILL)
            super().sync(file)

    assert in_child(lambda: fetch(f"mbox:{box}", state, messages, Killing())) == -signal.SIGKILL
    fetch(f"mbox:{box}2", state, [])
    fetch(f"mbox:{box}", state, messages)
    assert len(found(box)) == 2


def test_large_messages_do_not_stay_in_memory(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MEMORY_OCTETS", 1000)
    files = CountedFiles(lambda *_: None)
    messages = [mail(number, octets=300 * number) for number in range(6)]
    append(box, *messages, files=files)
    assert files.calls.count("truncate") == 0
    assert found(box) == [message.replace(b"\r\n", b"\n") for message in messages]
    with prepared(box, files) as (destination, _, _):
        deliver(destination, b"a", mail(7, octets=3000))
        delivery = destination.begin(Identity(b"b"))
        delivery.write(mail(8, octets=3000))
        delivery.abandon()
        deliver(destination, b"c", mail(9, octets=30))
        assert [entry.uid for entry in destination.flush()] == [b"a", b"c"]
    assert found(box)[6:] == [mail(n, octets=o).replace(b"\r\n", b"\n") for n, o in ((7, 3000), (9, 30))]


class FullDisk(Files):
    """Takes half of what is longer than *small*, as long as it is full."""

    def __init__(self, small: int) -> None:
        self.full = False
        self._small = small

    def write(self, file: int, octets: bytes) -> None:
        if self.full and len(octets) > self._small:
            super().write(file, octets[: len(octets) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(file, octets)


def test_a_full_disk_takes_nothing_from_the_messages_before(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MEMORY_OCTETS", 1000)
    files = FullDisk(200)
    files.full = True
    with prepared(box, files) as (destination, _, _):
        deliver(destination, b"a", mail(1, octets=500))
        # The first that no longer fits into memory, with which the messages before it go to a file.
        with pytest.raises(DestinationError):
            deliver(destination, b"b", mail(2, octets=900))
        files.full = False
        deliver(destination, b"c", mail(3, octets=900))
        assert [entry.uid for entry in destination.flush()] == [b"a", b"c"]
    assert found(box) == [mail(n, octets=o).replace(b"\r\n", b"\n") for n, o in ((1, 500), (3, 900))]


def test_what_a_full_disk_left_of_a_message_does_not_lie_in_the_next(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "MEMORY_OCTETS", 1000)
    files = FullDisk(0)
    with prepared(box, files) as (destination, _, _):
        deliver(destination, b"a", mail(1, octets=1500))
        files.full = True
        with pytest.raises(DestinationError):
            deliver(destination, b"b", mail(2, octets=900))
        files.full = False
        deliver(destination, b"c", mail(3, octets=900))
        destination.flush()
    assert found(box) == [mail(n, octets=o).replace(b"\r\n", b"\n") for n, o in ((1, 1500), (3, 900))]


def test_accounts_that_fetch_into_one_mbox_at_once_never_meet_in_a_name(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "MEMORY_OCTETS", 1000)
    made: list[str] = []

    class Noting(Files):
        def create(self, name: str, at: int) -> int:
            made.append(name)
            return super().create(name, at)

    for user in ("me", "you"):
        with State(f"{box}.state").account("h", 110, user) as account:
            destination = open_destination(f"mbox:{box}", Noting())
            destination.prepare(account.digest, account)
            deliver(destination, b"a", mail(1, octets=1500))
            destination.close()
            assert account.digest in made[-1]
    assert len(made) == len(set(made)) == 2
