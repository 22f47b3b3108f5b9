"""An mbox that was rewritten, or used by others, between an append that was stopped and the next fetch.

Content decides what is ours: nothing is doubled that is there, nothing is lost that is not, and nobody else's mail is
cut off.
"""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetching import in_child, mail
from maildrops import FastClock
from mboxes import THEIRS, deliver, found
from pop3fast.fetch import AccountState, Identity, State, open_destination
from pop3fast.fetch._files import Files
from pop3fast.fetch.destinations._mbox_search import LINE_OCTETS, froms_in
from pop3fast.fetch.destinations._mboxrd import HEADER_OCTETS, Likeness

MESSAGES = {b"%d" % number: mail(number, octets=300) for number in range(6)}


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return tmp_path / "box"


def run(
    path: Path,
    messages: dict[bytes, bytes],
    *,
    state: Path,
    user: str = "me",
    files: Files | None = None,
    clock: FastClock | None = None,
) -> list[str]:
    """Deliver what of *messages* was not before; return what was said to a person."""
    with State(str(state)).account("h", 110, user) as account:
        destination = open_destination(f"mbox:{path}", files, clock)
        said = destination.prepare(account.digest, account)
        seen = account.seen()
        for uid, content in messages.items():
            if Identity(uid) not in seen:
                deliver(destination, uid, content)
        account.remember(destination.flush())
        said += destination.prepare(account.digest, account)
        destination.close()
    return said


def stopped(
    box: Path, messages: dict[bytes, bytes], *, after: int | None = None, clock: FastClock | None = None
) -> None:
    """Append *messages* in a process that is killed behind so many octets, or behind all of them."""
    start = box.stat().st_size if box.exists() else 0

    class Killed(Files):
        def write(self, file: int, octets: bytes) -> None:
            if box.exists() and self.stat(file).st_ino == box.stat().st_ino and after is not None:
                room = start + after - self.stat(file).st_size
                if len(octets) >= room:
                    super().write(file, octets[:room])
                    os.kill(os.getpid(), signal.SIGKILL)
            super().write(file, octets)

        def sync(self, file: int) -> None:
            if box.exists() and self.stat(file).st_ino == box.stat().st_ino:
                os.kill(os.getpid(), signal.SIGKILL)
            super().sync(file)

    state = box.with_name("state")
    assert in_child(lambda: run(box, messages, state=state, files=Killed(), clock=clock)) == -signal.SIGKILL


def split(octets: bytes) -> list[bytes]:
    return re.split(rb"(?m)^(?=From )", octets)[1:]


def in_place(box: Path, change: Callable[[bytes], bytes]) -> None:
    box.write_bytes(change(box.read_bytes()))


def replaced(box: Path, change: Callable[[bytes], bytes]) -> None:
    new = box.with_name("new")
    new.write_bytes(change(box.read_bytes()))
    new.rename(box)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda octets: octets,
    "an older one deleted": lambda octets: b"".join(split(octets)[1:]),
    "an older one read": lambda octets: octets.replace(b"Subject: theirs\n", b"Subject: theirs\nStatus: RO\n", 1),
    "all noted as old": lambda octets: re.sub(rb"(?m)^(Subject: .*)\n", rb"\1\nStatus: O\nX-UID: 17\n", octets),
    "lengths noted": lambda octets: re.sub(rb"(?m)^(Subject: .*)\n", rb"Content-Length: 9\nLines: 4\n\1\n", octets),
    "keywords folded": lambda octets: re.sub(rb"(?m)^(Subject: .*)\n", rb"\1\nX-Keywords: a\n\tb\n", octets),
    "the other way round": lambda octets: b"".join(reversed(split(octets))),
    "a message put first": lambda octets: THEIRS.replace(b"theirs", b"DON'T DELETE THIS MESSAGE") + octets,
    "a message put last": lambda octets: octets + THEIRS,
    "all of it twice as long before": lambda octets: THEIRS * 40 + octets,
}


@pytest.mark.parametrize("rewrite", [in_place, replaced])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_was_appended_and_not_remembered_is_found_wherever_it_is_now(
    box: Path, rewrite: Callable[[Path, Callable[[bytes], bytes]], None], change: Callable[[bytes], bytes]
) -> None:
    box.write_bytes(THEIRS)
    stopped(box, MESSAGES)
    rewrite(box, change)
    left = box.read_bytes()
    assert run(box, MESSAGES, state=box.with_name("state")) == []
    assert box.read_bytes() == left


@pytest.mark.parametrize("name", CHANGES)
def test_of_an_append_that_was_stopped_within_a_message_the_whole_ones_are_found(box: Path, name: str) -> None:
    box.write_bytes(THEIRS)
    stopped(box, MESSAGES, after=4 * 365 + 300)
    in_place(box, CHANGES[name])
    before = box.read_bytes()
    said = run(box, MESSAGES, state=box.with_name("state"))
    after = box.read_bytes()
    whole = [content.replace(b"\r\n", b"\n") for content in MESSAGES.values()]
    bodies = [message.partition(b"\n\n")[2] for message in found(box)]
    assert all(bodies.count(content.partition(b"\n\n")[2]) == 1 for content in whole)
    # Where nobody was there, what was begun is taken away; otherwise it stays, and mostly that is said.
    if name == "nothing":
        assert (len(found(box)), said) == (7, [])
    else:
        assert after.startswith(before)
        assert said or name in {"all noted as old", "lengths noted", "keywords folded"}


@pytest.mark.parametrize("lacking", [1, 2])
@pytest.mark.parametrize("number", [3, 6])
def test_a_message_that_lacks_only_its_last_line_ends_is_completed_and_comes_once(
    box: Path, number: int, lacking: int
) -> None:
    """The next append would put them behind it, whatever it appends."""
    box.write_bytes(THEIRS)
    messages = dict([*MESSAGES.items()][:number])
    stopped(box, messages)
    whole = box.read_bytes()
    box.write_bytes(THEIRS)
    box.with_name("state").unlink()
    stopped(box, MESSAGES, after=len(whole) - len(THEIRS) - lacking)
    in_place(box, CHANGES["an older one deleted"])
    assert run(box, MESSAGES, state=box.with_name("state")) == []
    contents = [message.replace(b"\r\n", b"\n") for message in MESSAGES.values()]
    bodies = sorted(message.partition(b"\n\n")[2] for message in found(box))
    assert bodies == sorted(content.partition(b"\n\n")[2] for content in contents)


def test_what_a_stopped_append_left_whole_is_durable_before_it_is_remembered(box: Path) -> None:
    stopped(box, MESSAGES)
    with State(str(box.with_name("state"))).account("h", 110, "me") as account:
        remembered: set[tuple[str, int]] = set()

        class Watched(Files):
            def sync(self, file: int) -> None:
                if self.stat(file).st_ino == box.stat().st_ino:
                    remembered.add(("content", len(account.seen())))
                super().sync(file)

            def sync_folder(self, folder: int) -> None:
                remembered.add(("name", len(account.seen())))
                super().sync_folder(folder)

        destination = open_destination(f"mbox:{box}", Watched())
        destination.prepare(account.digest, account)
        destination.close()
        assert remembered == {("content", 0), ("name", 0)}
        assert len(account.seen()) == len(MESSAGES)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_message_that_was_deleted_meanwhile_comes_again_and_no_other_is_taken_for_it(box: Path, count: int) -> None:
    """Some that are the same to the last octet, of one second, a flush each: one less in the file is not all."""
    clock = FastClock()
    messages = {b"%d" % number: mail(1) for number in range(count)}
    state = box.with_name("state")

    class Killed(Files):
        flushes = 0

        def sync(self, file: int) -> None:
            if box.exists() and self.stat(file).st_ino == box.stat().st_ino:
                self.flushes += 1
                if self.flushes == count:
                    os.kill(os.getpid(), signal.SIGKILL)
            super().sync(file)

    def a_flush_each(account: AccountState) -> None:
        destination = open_destination(f"mbox:{box}", Killed(), clock)
        destination.prepare(account.digest, account)
        for uid, content in messages.items():
            deliver(destination, uid, content)
            account.remember(destination.flush())

    def work() -> None:
        with State(str(state)).account("h", 110, "me") as account:
            a_flush_each(account)

    assert in_child(work) == -signal.SIGKILL
    assert len(split(box.read_bytes())) == count
    box.write_bytes(b"".join([THEIRS, *split(box.read_bytes())[1:]]))
    run(box, messages, state=state, clock=clock)
    assert found(box)[1:] == [mail(1).replace(b"\r\n", b"\n")] * count


def test_of_one_second_what_an_earlier_fetch_delivered_is_not_taken_for_what_another_began(box: Path) -> None:
    """A machine that has lost its time begins with the same second after each start."""
    state, alike = box.with_name("state"), mail(1)
    box.write_bytes(THEIRS)
    run(box, {b"1": alike}, state=state, clock=FastClock())
    stopped(box, {b"2": alike}, after=100, clock=FastClock())
    in_place(box, lambda octets: octets.replace(b"Subject: theirs", b"Subject: thEIRS"))
    run(box, {b"2": alike}, state=state, clock=FastClock())
    assert found(box).count(alike.replace(b"\r\n", b"\n")) == 2


@pytest.mark.parametrize("whole", [0, 1, 3])
@pytest.mark.parametrize(("octets", "nulls"), [(1, 0), (4, 0), (0, 1), (0, 9), (2, 10), (4, 200)])
def test_what_is_no_from_line_yet_stays_in_no_message_though_others_are_changed(
    box: Path, whole: int, octets: int, nulls: int
) -> None:
    """Also where a power cut has left NULs in the place of octets."""
    run(box, MESSAGES, state=box.with_name("another state"))
    start = sum(map(len, split(box.read_bytes())[:whole]))
    box.write_bytes(THEIRS)
    stopped(box, MESSAGES, after=start + octets)
    assert box.read_bytes().endswith(b"\n\n" + b"From"[:octets])
    in_place(box, lambda octets: octets.replace(b"Subject: theirs", b"Subject: thEIRS") + bytes(nulls))
    assert run(box, MESSAGES, state=box.with_name("state")) == []
    ours = [content.replace(b"\r\n", b"\n") for content in MESSAGES.values()]
    assert found(box) == [b"Subject: thEIRS\n\nFor you\n", *ours]


LOOKS_LIKE = b"Subject: x\r\n\r\nI wrote: From me@x Mon Jan  5 10:00:00 2026\r\nFrom me at 10:00\r\n" * 20


@pytest.mark.timeout(300)  # as below
def test_text_that_looks_like_a_from_line_keeps_nothing_from_being_taken_away(box: Path) -> None:
    box.write_bytes(THEIRS)
    for after in range(400, 1200, 37):
        stopped(box, {b"1": LOOKS_LIKE}, after=after)
        assert run(box, {}, state=box.with_name("state")) == []
    run(box, {b"1": LOOKS_LIKE}, state=box.with_name("state"))
    assert len(found(box)) == 2


@pytest.mark.timeout(300)  # as below
@pytest.mark.parametrize("nulls", [0, 7])
def test_what_was_cut_within_text_that_looks_like_a_from_line_is_taken_away(box: Path, nulls: int) -> None:
    """The line that is left is another one, and is at the end of the file."""
    box.write_bytes(THEIRS)
    stopped(box, {b"1": LOOKS_LIKE})
    start = box.read_bytes().index(b"From me@x") - len(THEIRS)
    box.with_name("state").unlink()
    for after in range(start + 5, start + 40, 3):
        box.write_bytes(THEIRS)
        stopped(box, {b"1": LOOKS_LIKE}, after=after)
        with box.open("ab") as file:
            file.write(bytes(nulls))
        assert run(box, {}, state=box.with_name("state")) == []
        assert box.read_bytes() == THEIRS


@pytest.mark.timeout(300)  # 90 processes, one after the other, on a machine that may be busy
@pytest.mark.parametrize("theirs", [THEIRS, b"From me@x Tue Jan  6 11:11:11 2026\n\n", b"From x 10:00"])
def test_what_somebody_appended_where_such_text_was_cut_stays(box: Path, theirs: bytes) -> None:
    """Right behind every octet of a piece, also where the next octets of the message would begin with From, too."""
    start = len(LOOKS_LIKE[:60])
    for after in range(start, start + 90):
        box.write_bytes(THEIRS)
        stopped(box, {b"1": LOOKS_LIKE}, after=after)
        with box.open("ab") as file:
            file.write(theirs)
        left = box.read_bytes()
        run(box, {}, state=box.with_name("state"))
        assert box.read_bytes() == left
        box.with_name("state").unlink()


@pytest.mark.parametrize("theirs", [THEIRS, b"half a line", b"\0\0x"])
def test_what_somebody_appended_behind_the_first_octets_stays(box: Path, theirs: bytes) -> None:
    box.write_bytes(THEIRS)
    stopped(box, MESSAGES, after=2)
    in_place(box, lambda octets: octets.replace(b"Subject: theirs", b"Subject: thEIRS") + bytes(7) + theirs)
    left = box.read_bytes()
    run(box, {}, state=box.with_name("state"))
    assert box.read_bytes() == left


def test_one_mbox_under_two_paths_is_one(box: Path, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(tmp_path, target_is_directory=True)
    box.write_bytes(THEIRS)
    stopped(box, MESSAGES)
    left = box.read_bytes()
    assert run(tmp_path / "other/box", MESSAGES, state=box.with_name("state")) == []
    assert box.read_bytes() == left
    stopped(box, {b"7": mail(7, octets=2000)}, after=300)
    replaced(box, lambda octets: octets)
    assert run(tmp_path / "other/box", {}, state=box.with_name("state")) != []


def test_what_another_account_was_stopped_in_is_settled_before_anything_is_appended(box: Path) -> None:
    state = box.with_name("state")
    box.write_bytes(THEIRS)
    stopped(box, MESSAGES, after=1500)
    with State(str(state)).account("h", 110, "you") as account:
        destination = open_destination(f"mbox:{box}")
        # Prepared before, as when it is stopped while this one fetches.
        destination.prepare(account.digest, account)
        stopped(box, {b"9": mail(9, octets=2000)}, after=700)
        deliver(destination, b"1", mail(10))
        account.remember(destination.flush())
        assert account.intents() == []
        destination.close()
    run(box, {**MESSAGES, b"9": mail(9, octets=2000)}, state=state)
    bodies = [message.partition(b"\n\n")[2] for message in found(box)]
    assert len(bodies) == len(set(bodies)) == 1 + len(MESSAGES) + 2


def test_with_states_apart_a_piece_stays_and_nothing_is_lost_or_doubled(box: Path) -> None:
    """Who cannot know of it appends behind it; then it is told."""
    box.write_bytes(THEIRS)
    stopped(box, {b"9": mail(9, octets=2000)}, after=700)
    run(box, {b"1": mail(10)}, state=box.with_name("other"), user="you")
    said = run(box, {b"9": mail(9, octets=2000)}, state=box.with_name("state"))
    assert ["stays there" in sentence for sentence in said] == [True]
    bodies = [message.partition(b"\n\n")[2] for message in found(box)]
    assert bodies.count(mail(10).replace(b"\r\n", b"\n").partition(b"\n\n")[2]) == 1
    assert bodies.count(mail(9, octets=2000).replace(b"\r\n", b"\n").partition(b"\n\n")[2]) == 1


@pytest.mark.parametrize("size", [10, 1000, 100_000])
def test_looking_for_messages_takes_linear_time(box: Path, size: int) -> None:
    """No octet is read more than three times, however many messages there are and however large they are."""
    stopped(box, {b"%d" % number: mail(number, octets=size) for number in range(20)})
    in_place(box, lambda octets: THEIRS + octets)

    class Counting(Files):
        octets = 0

        def read(self, file: int, count: int, offset: int) -> bytes:
            self.octets += count
            return super().read(file, count, offset)

    files = Counting()
    run(box, {}, state=box.with_name("state"), files=files)
    assert files.octets < 3 * box.stat().st_size + 20_000


def likeness(octets: bytes, *cuts: int) -> bytes:
    digest = Likeness()
    for start, end in zip((0, *cuts), (*cuts, len(octets)), strict=True):
        digest.feed(octets[start:end])
    return digest.digest()


NOTED = b"From x\nSubject: a\nStatus: RO\nX-Keywords: b\n c\nTo: d\nLINES:1\n\nStatus: body\n\n"


def test_a_likeness_is_the_same_wherever_the_octets_are_cut() -> None:
    plain = b"From x\nSubject: a\nTo: d\n\nStatus: body\n\n"
    assert {likeness(NOTED, cut) for cut in range(len(NOTED))} == {likeness(plain)}
    assert likeness(plain.replace(b"body", b"head")) != likeness(plain)
    assert likeness(plain.replace(b"Subject", b"Subjekt")) != likeness(plain)


@pytest.mark.parametrize("length", range(HEADER_OCTETS - 3, HEADER_OCTETS + 4))
def test_a_header_that_is_too_long_is_known_by_every_octet(length: int) -> None:
    octets = b"From x\nStatus: O\nA: ".ljust(length, b"x") + b"\n\nbody\n\n"
    digests = {likeness(octets), likeness(octets, 7), likeness(octets, length), likeness(octets, length + 1)}
    assert len(digests) == 1
    without = octets.replace(b"Status: O\n", b"")
    assert (likeness(without) in digests) == (length + 2 <= HEADER_OCTETS)


@given(st.lists(st.sampled_from([b"From ", b"\n", b"From me 10:00", b"x" * (LINE_OCTETS - 9), b"\0", b"1:11", b"F"])))
def test_what_looks_like_a_from_line_is_seen_wherever_the_octets_are_cut(chunks: list[bytes]) -> None:
    octets = b"".join(chunks)
    assert [*froms_in(chunks)] == [*froms_in([octets])] == [*froms_in(octets[n : n + 1] for n in range(len(octets)))]
