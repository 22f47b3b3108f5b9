"""What is deleted, when, and above all what is not: every place where a session can end."""

import errno
import os
from pathlib import Path

import pytest

from fetching import failing_at
from maildrops import FastClock, Maildrop, delivered, fetch_from, mail
from pop3fast import POP3
from pop3fast.fetch import DestinationError, Options
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from waiting import time_out_when_it_stalls

GREETING = b"+OK ready\r\n"
DELETE = Options(delete=True)
DEAF = {b"TOP": b"-ERR no TOP\r\n", b"DELE": b"+OK\r\n"}
MESSAGES = [mail(number) for number in range(1, 31)]


def maildrop(count: int) -> Maildrop:
    return Maildrop(*((b"%d" % number, mail(number)) for number in range(1, count + 1)))


def once(command: bytes, reply: bytes | Reply, drop: Maildrop) -> None:
    """Answer the first *command* that way."""

    def instead(given: bytes) -> bytes | Reply | None:
        if given.startswith(command):
            drop.instead = lambda _: None
            return reply
        return None

    drop.instead = instead


def test_what_was_delivered_is_deleted_and_what_was_earlier_too(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    with MailboxServer(MESSAGES) as server:
        fetch_from(server, to, Options(limit=20))
        assert server.deleted == []
        report = fetch_from(server, to, DELETE)
        assert (report.fetched, report.deleted, report.kept, report.deletions_unknown) == (10, 30, [], 0)
        assert server.remaining == []
    assert delivered(to) == sorted(MESSAGES)


def test_days_are_counted_from_the_delivery(tmp_path: Path) -> None:
    to = f"eml:{tmp_path}/box"
    clock = FastClock()
    clock.date = lambda: 0.0  # type: ignore[method-assign]
    with MailboxServer(MESSAGES) as server:
        assert fetch_from(server, to, Options(delete_after=1)).deleted == 0
        assert fetch_from(server, to, Options(delete_after=1), clock=clock).deleted == 0
        later = FastClock()
        later.time += 2 * 86_400
        assert fetch_from(server, to, Options(delete_after=1), clock=later).deleted == 30


def test_numbers_are_of_the_session_that_deletes(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = maildrop(4)
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        drop.messages.insert(0, (b"new", mail(99)))
        del drop.messages[2]
        drop.instead = lambda command: b"-ERR no\r\n" if command == b"RETR 1" else None
        report = fetch_from(server, to, DELETE)
        assert drop.sent(b"DELE") == [b"DELE 2", b"DELE 3", b"DELE 4"]
        assert drop.messages == [(b"new", mail(99))]
    assert report.deleted == 3


def test_checkpoints_by_messages_and_by_octets(tmp_path: Path) -> None:
    for name, options, sessions in (
        ("messages", Options(delete=True, checkpoint_messages=7), 5),
        ("octets", Options(delete=True, checkpoint_octets=10 * len(mail(20))), 3),
        ("none", Options(delete=True, checkpoint_messages=None, checkpoint_octets=None), 1),
        ("nothing to delete", Options(delete_after=1, checkpoint_messages=7), 1),
    ):
        to = f"maildir:{tmp_path}/{name}"
        with MailboxServer(MESSAGES) as server:
            report = fetch_from(server, to, options)
            assert (report.sessions, report.fetched) == (sessions, 30), name
            assert report.deleted == (0 if options.delete_after else 30)
        assert delivered(to) == sorted(MESSAGES)


def test_a_checkpoint_that_achieves_nothing_is_the_last_and_all_behind_it_arrives(tmp_path: Path) -> None:
    """Without a unique-id, and kept for its size, the first message would be all that each session fetches."""
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop((b"", mail(1)), (b"a", mail(2)), (b"", mail(3)), (b"b", mail(4)))
    drop.sizes[b""] = 2**40
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, Options(delete=True, checkpoint_messages=1))
    assert delivered(to) == [mail(number) for number in range(1, 5)]
    assert (report.exit_status, report.sessions, len(report.kept)) == (0, 3, 2)


def test_a_server_that_keeps_everything_under_numbers_and_shows_no_header_keeps_no_fetch_busy(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = maildrop(6)

    def instead(command: bytes) -> bytes | Reply | None:
        return Reply(b"+OK bye\r\n", then="fin") if command == b"QUIT" else DEAF.get(command.split()[0])

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        for most_sessions in (8, 8):
            report = fetch_from(server, to, Options(delete=True, checkpoint_messages=1))
            assert (report.error, report.sessions <= most_sessions) == (None, True)
    assert delivered(to) == sorted(mail(number) for number in range(1, 7))


@pytest.mark.parametrize("delay", [2, 10, 180, 300])
def test_quirk_q135_a_server_that_wants_time_between_logins_gets_no_checkpoints(tmp_path: Path, delay: int) -> None:
    clock = FastClock()
    with MailboxServer(MESSAGES, capabilities=["TOP", "UIDL", f"LOGIN-DELAY {delay}"]) as server:
        report = fetch_from(server, f"maildir:{tmp_path}/box", Options(delete=True, checkpoint_messages=7), clock=clock)
        assert (report.deleted, report.sessions) == (len(MESSAGES), 1)
    assert clock.pauses == []


def test_quirk_q128_quit_is_waited_for_as_long_as_the_account_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quit_, waits = POP3.quit, list[float | None]()

    def note_how_long(pop: POP3) -> bytes:
        waits.append(pop.sock.gettimeout())
        return quit_(pop)

    monkeypatch.setattr(POP3, "quit", note_how_long)
    drop = maildrop(4)
    drop.instead = lambda command: Reply(b"", then="stall") if command == b"QUIT" else None
    with ScriptedServer(GREETING, drop) as server:
        time_out_when_it_stalls(server, monkeypatch)
        report = fetch_from(server, f"maildir:{tmp_path}/box", DELETE, timeout=17)
    assert waits == [17]
    assert (report.deletions_unknown, [text.rpartition(": ")[2] for text in report.warnings]) == (4, ["timed out"])


def test_quirk_q102_what_came_shorter_than_listed_stays_and_is_named(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = maildrop(3)
    drop.sizes[b"2"] = len(mail(2)) + 1
    with ScriptedServer(GREETING, drop) as server:
        for fetched in (3, 0):
            report = fetch_from(server, to, DELETE)
            assert (report.fetched, report.exit_status) == (fetched, 0)
            assert [each.uid for each in report.kept] == [b"2"]
            assert "octets came of the" in report.kept[0].why
            assert [uid for uid, _ in drop.messages] == [b"2"]


def test_copies_of_a_unique_id_go_together(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop((b"x", mail(1)), (b"x", mail(2)), (b"y", mail(3)))
    drop.instead = lambda command: b"-ERR later\r\n" if command == b"RETR 2" else None
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, DELETE)
        assert (report.deleted, [each.number for each in report.kept]) == (1, [1])
        drop.instead = lambda _: None
        assert fetch_from(server, to, DELETE).deleted == 2
    assert drop.messages == []
    assert delivered(to) == sorted([mail(1), mail(2), mail(3)])


def test_copies_of_a_unique_id_go_together_at_any_checkpoint_and_hold_up_nothing(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop((b"x", mail(1)), (b"x", mail(2)), (b"y", mail(3)), (b"z", mail(4)))
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to, Options(limit=3))
        report = fetch_from(server, to, Options(delete=True, checkpoint_messages=1))
        assert (report.fetched, report.deleted) == (1, 4)
    assert drop.messages == []


def test_messages_without_a_unique_id_are_deleted_in_the_session_that_delivered_them(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    drop = Maildrop((b"", mail(1)), (b"", mail(2)), (b"", mail(1)))
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        assert fetch_from(server, to, DELETE).deleted == 3
    assert drop.messages == []
    assert delivered(to) == sorted([mail(1), mail(1), mail(2)])


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (b"RETR 3", Reply(b"+OK\r\nhalf", then="fin")),
        (b"RETR 3", Reply(b"+OK\r\nhalf", then="rst")),
        (b"DELE 1", Reply(b"", then="fin")),
        (b"DELE 3", Reply(b"", then="rst")),
        (b"DELE 2", b"\r\n"),  # quirk q08
        (b"QUIT", Reply(b"", then="fin")),
        (b"QUIT", Reply(b"", then="rst")),
        (b"QUIT", Reply(b"-ERR [SYS/TEMP] not all\r\n", then="fin")),  # quirk q120
    ],
)
def test_a_session_that_ends_badly_is_settled_by_the_next(tmp_path: Path, command: bytes, reply: bytes | Reply) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = maildrop(4)
    once(command, reply, drop)
    with ScriptedServer(GREETING, drop) as server:
        first = fetch_from(server, to, DELETE)
        assert first.deletions_unknown == (4 if command == b"QUIT" else 0)
        if command != b"QUIT":
            assert first.sessions == 2
        second = fetch_from(server, to, DELETE)
        assert second.deleted == (4 if command == b"QUIT" else 0)
        assert fetch_from(server, to, DELETE).fetched == 0
    assert drop.messages == []
    assert delivered(to) == sorted(mail(number) for number in range(1, 5))
    assert len(drop.sent(b"RETR")) == (5 if command.startswith(b"RETR") else 4)


@pytest.mark.parametrize("alike", [True, False])
def test_behind_a_reply_that_is_none_nothing_is_remembered_that_its_size_does_not_show(
    tmp_path: Path, *, alike: bool
) -> None:
    """A reply came twice, and each one behind it belongs to the command before; then comes something else."""
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop(*((b"unique-id-of-%06d" % n, mail(n, 40 if alike else 40 + n)) for n in range(1, 9)))

    def instead(command: bytes) -> bytes | None:
        number = int(command[5:]) if command.startswith(b"RETR") and drop.sessions == 1 else 0
        if number == 7:
            return b"what?\r\n"
        return drop.content(number - 1) if alike and number > 3 else None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, DELETE)
    assert (report.fetched, report.deleted, report.sessions) == (8, 8, 2)
    assert delivered(to) == sorted(mail(n, 40 if alike else 40 + n) for n in range(1, 9))
    assert len(drop.sent(b"RETR")) == 7 + (8 if alike else 2)


def test_deletions_that_went_through_although_nobody_said_so(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    drop = maildrop(4)

    def instead(command: bytes) -> Reply | None:
        if command == b"QUIT" and drop.sessions == 1:
            drop.commit()
            return Reply(b"", then="fin")
        return None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, Options(delete=True, checkpoint_messages=2))
        assert (report.fetched, report.deleted, report.deletions_unknown) == (4, 4, 0)
    assert delivered(to) == sorted(mail(number) for number in range(1, 5))


def test_quirk_q122_q127_what_comes_back_after_quit_is_known_and_deleted_by_the_next_fetch(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    drop = maildrop(20)
    drop.instead = lambda command: Reply(b"+OK bye\r\n", then="fin") if command == b"QUIT" else None
    with ScriptedServer(GREETING, drop) as server:
        # A server that never deletes does not keep it busy for ever.
        report = fetch_from(server, to, Options(delete=True, checkpoint_messages=5))
        assert (report.fetched, report.deleted) == (20, 20)
        drop.instead = lambda _: None
        report = fetch_from(server, to, DELETE)
        assert (report.fetched, report.deleted) == (0, 20)
    assert drop.messages == []
    assert len(delivered(to)) == 20


def test_quirk_q127_deletions_that_hold_without_quit(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = maildrop(4)

    def instead(command: bytes) -> Reply | None:
        if command == b"DELE 3" and drop.sessions == 1:
            drop.commit()
            return Reply(b"", then="rst")
        return None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to, DELETE)
    assert drop.messages == []
    assert delivered(to) == sorted(mail(number) for number in range(1, 5))


def test_a_refused_deletion_is_named_and_not_insisted_on(tmp_path: Path) -> None:
    drop = maildrop(12)
    drop.instead = lambda command: b"-ERR read-only\r\n" if command.startswith(b"DELE") else None
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, f"maildir:{tmp_path}/box", Options(delete=True, checkpoint_messages=5))
    assert (report.fetched, report.deleted, len(report.kept)) == (12, 0, 12)
    assert "read-only" in report.kept[0].why


def test_when_the_destination_fails_at_any_call_nothing_is_deleted_that_is_not_delivered(tmp_path: Path) -> None:
    place, done = 0, False
    while not done:
        place += 1
        to = f"maildir:{tmp_path}/{place}"
        with MailboxServer(MESSAGES[:5]) as server:
            files = failing_at(place, errno.ENOSPC)
            report = fetch_from(server, to, DELETE, files=files)
            done = place > len(files.calls)
            gone = [MESSAGES[number - 1] for number in server.deleted]
            there = delivered(to)
            assert not set(gone) - set(there)
            if report.error is not None:
                assert isinstance(report.error, DestinationError)
                assert report.exit_status == 5
                assert gone == []
            assert fetch_from(server, to, DELETE).ok
            assert server.remaining == []
        assert delivered(to) == sorted(MESSAGES[:5])
    assert place > 30


def test_a_disk_that_is_full_in_the_middle_keeps_what_was_delivered_before(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    messages = [mail(number) for number in range(1, 251)]
    with MailboxServer(messages) as server:
        files = failing_at(0, errno.EDQUOT)
        seen = 0

        def before(_: int, name: str) -> None:
            nonlocal seen
            seen += name == "create"
            if name == "create" and seen >= 210:
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

        files._before = before
        report = fetch_from(server, to, DELETE, files=files)
        assert isinstance(report.error, DestinationError)
        assert (report.fetched, report.deleted) == (209, 0)
        again = fetch_from(server, to, DELETE)
        assert (again.fetched, again.deleted) == (41, 250)
    assert delivered(to) == sorted(messages)


def test_what_stays_because_a_listing_lacks_messages_is_named_until_it_is_deleted(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = maildrop(4)
    drop.instead = lambda command: b"+OK\r\n1 40\r\n.\r\n" if command == b"LIST" else None
    with ScriptedServer(GREETING, drop) as server:
        for fetched in (4, 0):
            report = fetch_from(server, to, DELETE)
            assert (report.fetched, report.deleted) == (fetched, 0)
            assert [each.number for each in report.kept] == [1, 2, 3, 4]
            assert all("not complete" in each.why for each in report.kept)
        assert fetch_from(server, to, Options(delete_after=3)).kept == [], "it is too early for them"
        drop.instead = lambda _: None
        report = fetch_from(server, to, DELETE)
    assert (report.deleted, report.kept, drop.messages) == (4, [], [])
