"""Whole fetches where a unique-id or a listing is not what it seems, and time passes."""

from pathlib import Path

import pytest

from maildrops import (
    FastClock,
    Maildrop,
    account_of,
    as_numbered,
    days,
    delivered,
    fetch_from,
    mail,
    named,
    numbered,
    refuse_top,
)
from pop3fast.fetch import Entry, Options, ReadBack, UidsChanged, fetch_mailbox
from pop3fast.fetch.destinations._maildir import Maildir
from scripted import Reply, ScriptedServer

GREETING = b"+OK ready\r\n"
KINDS = ["maildir", "mbox", "eml"]
DELETE = Options(delete=True)


# A unique-id that is used again (quirk q139).


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options", [DELETE, Options(delete_after=0), Options(delete=True, checkpoint_messages=3), Options()], ids=str
)
@pytest.mark.parametrize("has_top", [True, False])
def test_quirk_q139_new_mail_under_old_numbers_arrives(
    tmp_path: Path, kind: str, options: Options, *, has_top: bool
) -> None:
    to = f"{kind}:{tmp_path}/box"
    drop = numbered(*range(10, 20))
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to, options)
        assert (drop.messages == []) is options.deletes
        if not has_top:
            if not options.deletes:
                pytest.skip("where nothing is deleted and nothing shows a header, nothing tells")
            refuse_top(drop)
        drop.messages = as_numbered(*range(20, 30))
        assert fetch_from(server, to, options).fetched == 10
        assert fetch_from(server, to, options).fetched == 0
    assert delivered(to) == sorted(mail(number) for number in range(10, 30))
    assert (drop.messages == []) is options.deletes


def test_quirk_q139_numbers_that_are_given_anew_are_fetched_once(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = numbered(*range(10, 20))
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        # Another program deletes some at the beginning and in the middle, and new ones come.
        drop.messages = as_numbered(12, 13, 16, 17, 18, 19, 20, 21, 22, 23)
        assert fetch_from(server, to).fetched == 4
        drop.messages = as_numbered(24, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23)
        assert fetch_from(server, to).fetched == 1
        report = fetch_from(server, to, DELETE)
        assert (report.fetched, report.deleted) == (0, 11)
    assert delivered(to) == sorted(mail(number) for number in [*range(10, 25)])
    assert len(drop.sent(b"RETR")) == 15


def test_quirk_q139_the_number_that_a_message_had_before_is_anothers_though_its_header_is_refused(
    tmp_path: Path,
) -> None:
    """Two are deleted, so the third is the first now; what is the third now was never fetched."""
    to = f"maildir:{tmp_path}/box"
    drop = numbered(10, 11, 12)
    with ScriptedServer(GREETING, drop) as server:
        drop.instead = lambda command: b"-ERR no\r\n" if command == b"DELE 3" else None
        assert fetch_from(server, to, DELETE).deleted == 2
        drop.messages = as_numbered(12, 13, 14)
        drop.instead = lambda command: b"-ERR no\r\n" if command == b"TOP 3 0" else None
        assert fetch_from(server, to).fetched == 2
    assert delivered(to) == sorted(mail(number) for number in range(10, 15))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [Options(), DELETE])
@pytest.mark.parametrize("refused", [(1,), (10,), (9, 10), (1, 9), (1, 9, 10)])
@pytest.mark.parametrize("now", [[*range(10, 15), *range(16, 21)], [*range(10, 19), 20]])
def test_quirk_q139_a_header_that_is_refused_for_once_hides_no_new_mail(
    tmp_path: Path, kind: str, options: Options, refused: tuple[int, ...], now: list[int]
) -> None:
    to = f"{kind}:{tmp_path}/box"
    drop = numbered(*range(10, 20))
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        drop.messages = as_numbered(*now)
        to_refuse = {b"TOP %d 0" % number for number in refused}

        def instead(command: bytes) -> bytes | None:
            if command not in to_refuse:
                return None
            to_refuse.discard(command)
            return b"-ERR not now\r\n"

        drop.instead = instead
        fetch_from(server, to, options)
        assert drop.messages == [] or not options.delete
    assert delivered(to) == sorted(mail(number) for number in range(10, 21))


def test_quirk_q139_new_mail_under_an_old_number_that_fails_at_first_comes_later(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = numbered(*range(10, 20))
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        drop.messages = as_numbered(*range(20, 30))
        drop.instead = lambda command: b"-ERR later\r\n" if command == b"RETR 5" else None
        assert fetch_from(server, to).fetched == 9
        drop.instead = lambda _: None
        assert fetch_from(server, to).fetched == 1
    assert delivered(to) == sorted(mail(number) for number in range(10, 30))


def test_quirk_q139_numbers_shift_at_each_checkpoint(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    drop = numbered(*range(10, 40))
    commit = drop.commit

    def instead(command: bytes) -> Reply | None:
        if command == b"QUIT":
            commit()
            drop.messages = [(b"%d" % place, content) for place, (_, content) in enumerate(drop.messages, 1)]
            return Reply(b"+OK\r\n", then="fin")
        return None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, Options(delete=True, checkpoint_messages=7))
    assert (report.fetched, report.deleted, report.error) == (30, 30, None)
    assert delivered(to) == sorted(mail(number) for number in range(10, 40))


def test_an_idle_run_looks_at_two_or_three_numbers_and_at_no_other_unique_id(tmp_path: Path) -> None:
    for name, drop, most in (("numbers", numbered(*range(10, 60)), 3), ("names", named(*range(10, 60)), 0)):
        with ScriptedServer(GREETING, drop) as server:
            for _ in range(2):
                fetch_from(server, f"maildir:{tmp_path}/{name}")
            drop.commands.clear()
            assert fetch_from(server, f"maildir:{tmp_path}/{name}").seen == 50
            assert (len(drop.sent(b"TOP")), drop.sent(b"LIST")) == (most, [])


def test_quirk_q142_a_server_that_ignores_dele_is_told_twice_and_a_person_once(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(1, 2, 3)
    drop.instead = lambda command: Reply(b"+OK\r\n", then="fin") if command == b"QUIT" else None
    with ScriptedServer(GREETING, drop) as server:
        reports = [fetch_from(server, to, DELETE) for _ in range(4)]
    assert [(report.fetched, report.deleted, len(report.kept)) for report in reports] == [
        (3, 3, 0),
        (0, 3, 0),
        (0, 0, 3),
        (0, 0, 3),
    ]
    assert [len(report.warnings) for report in reports] == [0, 1, 0, 0]
    assert "lists them again" in reports[1].warnings[0]
    assert "lists it still" in reports[2].kept[0].why
    assert len(drop.sent(b"RETR")) == 3


def test_quirk_q142_without_top_it_is_found_out_by_fetching_once_more(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(1, 2, 3)

    def instead(command: bytes) -> bytes | Reply | None:
        if command.startswith(b"TOP"):
            return b"-ERR unknown\r\n"
        return Reply(b"+OK\r\n", then="fin") if command == b"QUIT" else None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        for _ in range(5):
            fetch_from(server, to, DELETE)
    assert len(drop.sent(b"RETR")) == 6
    assert delivered(to) == sorted([mail(1), mail(2), mail(3)])


def test_a_quit_without_answer_that_deleted_all_the_same_loses_no_new_mail(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = numbered(11, 12, 13)

    def instead(command: bytes) -> Reply | None:
        if command == b"QUIT":
            drop.messages = as_numbered(21, 22, 23)
            return Reply(b"", then="rst")
        return None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        assert fetch_from(server, to, DELETE).deletions_unknown == 3
        drop.instead = lambda _: None
        assert fetch_from(server, to, DELETE).fetched == 3
    assert delivered(to) == sorted(mail(number) for number in (11, 12, 13, 21, 22, 23))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("octets", [40, 2**18])
def test_without_top_a_message_is_looked_at_by_fetching_it_and_not_delivered_twice(
    tmp_path: Path, kind: str, octets: int
) -> None:
    to = f"{kind}:{tmp_path}/box"
    drop = Maildrop((b"one", mail(1, octets)), (b"two", mail(2, octets)), (b"", mail(3)))
    refuse_top(drop)
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        drop.sizes = {b"one": octets + 77}
        drop.messages[1] = (b"two", mail(4, octets + 1))
        assert fetch_from(server, to).fetched == 2, "the one without a unique-id, and the other one"
        drop.commands.clear()
        fetch_from(server, to)
        assert drop.sent(b"RETR") == [b"RETR 3"], "its size is known now"
    assert delivered(to) == sorted([mail(1, octets), mail(2, octets), mail(3), mail(4, octets + 1)])


# What listings prove about the past.


@pytest.mark.parametrize("kind", KINDS)
def test_quirk_q138_a_maildrop_that_looks_empty_for_a_run_is_not_fetched_again(tmp_path: Path, kind: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    drop = named(*range(1, 11))
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        messages, drop.messages = drop.messages, []
        assert fetch_from(server, to, clock=days(1)).forgotten == 0
        drop.messages = messages[5:]
        assert fetch_from(server, to, clock=days(2)).seen == 5
        drop.messages = messages
        report = fetch_from(server, to, clock=days(3))
        assert (report.fetched, report.seen, report.error) == (0, 10, None)
    assert len(drop.sent(b"RETR")) == 10


def test_quirk_q48_what_no_listing_had_for_thirty_days_is_forgotten(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(1, 2, 3)
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        gone = drop.messages.pop(0)
        forgotten = [fetch_from(server, to, clock=days(day)).forgotten for day in (1, 20, 30, 31, 40)]
        assert forgotten == [0, 0, 0, 1, 0], "thirty days after the first listing without it"
        drop.messages.append(gone)
        assert fetch_from(server, to, Options(forget_after=0), clock=days(41)).fetched == 1
        drop.messages.pop()
        assert [fetch_from(server, to, Options(forget_after=0), clock=days(42)).forgotten for _ in range(2)] == [0, 1]


def test_an_idle_run_writes_nothing_once_a_missing_message_is_noted(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(*range(1, 6))
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        del drop.messages[2]
        for _ in range(2):
            fetch_from(server, to)
        drop.commands.clear()
        fetch_from(server, to)
        assert drop.sent(b"LIST") == [], "the maildrop is as it was"


def test_a_clock_that_was_wrong_deletes_and_forgets_nothing_early(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    options = Options(delete_after=30)
    without_battery, far_ahead = FastClock(), days(365 * 70)
    without_battery.date = lambda: 60.0  # type: ignore[method-assign]
    drop = named(1, 2, 3)
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to, options, clock=without_battery)
        for clock in (days(0), far_ahead, days(1), without_battery, days(29)):
            assert fetch_from(server, to, options, clock=clock).deleted == 0
        gone = drop.messages.pop()
        for clock in (days(30), far_ahead, without_battery, days(40), days(50)):
            report = fetch_from(server, to, Options(), clock=clock)
            assert (report.deleted, report.forgotten) == (0, 0)
        drop.messages.append(gone)
        assert fetch_from(server, to, options, clock=days(58)).deleted == 0
        assert fetch_from(server, to, options, clock=days(60)).deleted == 3, "thirty days in which the clock went on"
    assert len(drop.sent(b"RETR")) == 3


def test_all_new_unique_ids_after_a_maildrop_that_looked_empty_are_still_noticed(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(*range(1, 7))
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        messages, drop.messages = drop.messages, []
        fetch_from(server, to)
        drop.messages = [(b"another-" + uid, content) for uid, content in messages]
        error = fetch_from(server, to).error
    assert isinstance(error, UidsChanged)
    assert "6 messages" in str(error)


# What is read back before it is deleted.


@pytest.mark.parametrize("later", [True, False])
def test_what_is_damaged_at_its_destination_is_not_deleted_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, later: bool
) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(1, 2, 3)
    asked: list[tuple[list[bytes], bool]] = []

    def read_back(_: Maildir, entries: list[Entry], *, fresh: bool) -> list[ReadBack]:
        asked.append(([entry.uid for entry in entries], fresh))
        damaged = ReadBack.DIFFERS if len(asked) == 1 else ReadBack.WHOLE
        return [damaged if entry.uid.endswith(b"2") else ReadBack.MOVED for entry in entries]

    with ScriptedServer(GREETING, drop) as server:
        if later:
            fetch_from(server, to)
        monkeypatch.setattr(Maildir, "read_back", read_back, raising=False)
        report = fetch_from(server, to, DELETE)
        assert [(each.number, "not what was received" in each.why) for each in report.failures] == [(2, True)]
        assert (report.fetched, report.deleted, report.exit_status) == (0 if later else 2, 2, 1)
        assert [uid for uid, _ in drop.messages] == [b"unique-id-of-000002"]
        report = fetch_from(server, to, DELETE)
        assert (report.fetched, report.deleted) == (1, 1)
    assert [(len(uids), fresh) for uids, fresh in asked if uids] == [(3, not later), (1, True)]


def test_without_unique_ids_messages_that_are_alike_all_arrive_though_they_are_deleted(tmp_path: Path) -> None:
    for kind in KINDS:
        to = f"{kind}:{tmp_path}/{kind}"
        drop = Maildrop((b"", mail(1)), (b"", mail(1)), (b"", mail(1)))
        with ScriptedServer(GREETING, drop) as server:
            fetch_from(server, to, Options(delete=True, limit=1))
            fetch_from(server, to, DELETE)
            assert drop.messages == []
            drop.messages = [(b"", mail(1))]
            fetch_from(server, to, DELETE)
        assert delivered(to) == [mail(1)] * 4


def test_since_last_skips_nothing_that_came_since_where_the_newest_is_listed_first(tmp_path: Path) -> None:
    """Quirk q141."""
    to = f"maildir:{tmp_path}/box"
    drop = named(3, 2, 1)
    options = Options(since_last=True)
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to, Options(limit=2))
        assert fetch_from(server, to, options).fetched == 1
        drop.messages[:0] = named(4).messages
        assert fetch_from(server, to, options).fetched == 1
        drop.messages[:0] = named(5).messages
        report = fetch_mailbox(account_of(server), to, since_last=True)
        assert (report.fetched, report.left) == (1, [])
    assert len(delivered(to)) == 5


def test_since_last_names_what_it_leaves_each_time(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(2)
    options = Options(since_last=True)
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        drop.messages[:0] = named(1).messages
        for _ in range(2):
            report = fetch_from(server, to, options)
            assert (report.fetched, [each.uid for each in report.left]) == (0, [b"unique-id-of-000001"])
        assert fetch_from(server, to).fetched == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ends", [b"+OK\r\n", b"-ERR not removed\r\n", b""], ids=["well", "badly", "without a word"])
def test_what_is_alike_to_a_deleted_message_and_has_no_unique_id_arrives(
    tmp_path: Path, kind: str, ends: bytes
) -> None:
    """As many are listed as before, and all of it is alike to the last octet; the deleting session may end badly."""
    to = f"{kind}:{tmp_path}/box"
    drop = Maildrop((b"", mail(1)))

    def instead(command: bytes) -> Reply | None:
        if command != b"QUIT":
            return None
        drop.commit()
        return Reply(ends, then="fin")

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to, DELETE)
        assert drop.messages == []
        drop.messages = [(b"", mail(1))]
        fetch_from(server, to, DELETE)
    assert drop.messages == []
    assert delivered(to) == [mail(1), mail(1)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("portion", [1, None])
@pytest.mark.parametrize("lacks", [0, 2], ids=["all is listed", "a listing lacks one"])
def test_a_message_without_a_unique_id_that_the_server_keeps_comes_once_more_and_is_named_then(
    tmp_path: Path, kind: str, portion: int | None, lacks: int
) -> None:
    to = f"{kind}:{tmp_path}/box"
    drop = Maildrop((b"", mail(1)), (b"", mail(2)))

    def instead(command: bytes) -> Reply | bytes | None:
        if command == b"LIST" and drop.sessions == lacks:
            return b"+OK\r\n1 %d\r\n.\r\n" % len(mail(1))
        return Reply(b"+OK\r\n", then="fin") if command == b"QUIT" else None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        reports = [fetch_from(server, to, Options(delete=True, checkpoint_messages=portion)) for _ in range(6)]
        drop.commands.clear()
        reports += [fetch_from(server, to, DELETE) for _ in range(2)]
        assert not drop.sent(b"DELE"), "it has said twice that it did"
    assert all(report.sessions < 6 for report in reports)
    assert delivered(to) == sorted([mail(1), mail(1), mail(2), mail(2)])
    assert {(len(report.kept), report.fetched) for report in reports[-2:]} == {(2, 2)}
    assert all("without a unique-id" in each.why for each in reports[-1].kept)


@pytest.mark.parametrize("kind", KINDS)
def test_what_counted_as_kept_without_a_unique_id_arrives_when_fewer_are_listed(tmp_path: Path, kind: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    drop = Maildrop((b"", mail(1)))
    with ScriptedServer(GREETING, drop) as server:
        for _ in range(2):
            drop.messages = [(b"", mail(1))]
            fetch_from(server, to, DELETE)
        drop.messages = [(b"", mail(1))]
        assert [each.uid for each in fetch_from(server, to, DELETE).kept] == [b""], "two like it were to be deleted"
        drop.messages.append((b"", mail(2)))
        assert fetch_from(server, to, DELETE).deleted == 1
        assert fetch_from(server, to, DELETE).deleted == 1, "the server deletes after all"
    assert drop.messages == []
    assert delivered(to) == sorted([mail(1)] * 3 + [mail(2)])


@pytest.mark.parametrize("more", [b"", b"yyy"], ids=["as large as before", "larger"])
def test_quirk_q144_a_message_that_a_server_writes_anew_is_not_another(tmp_path: Path, more: bytes) -> None:
    # Courier names the boundaries of 8-bit mail anew each time; UW notes in a message that it was read.
    to = f"maildir:{tmp_path}/box"
    drop = named(1, 2)
    with ScriptedServer(GREETING, drop) as server:
        assert fetch_from(server, to).fetched == 2
        drop.messages = [(uid, content.replace(b"xxx", b"yyy" + more, 1)) for uid, content in drop.messages]
        report = fetch_from(server, to)
    assert (report.fetched, report.seen, report.failures, report.error) == (0, 2, [], None)
    assert delivered(to) == [mail(1), mail(2)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lines", [1, 2000], ids=["short header", "header of 140 KB"])
def test_without_top_what_has_a_number_is_deleted_when_it_came_once_more_and_is_known(
    tmp_path: Path, kind: str, lines: int
) -> None:
    to = f"{kind}:{tmp_path}/box"
    first, second, third = (
        b"Received: " + (b"y" * 70 + b"\r\n ") * lines + b"z\r\n" + mail(number) for number in (1, 2, 3)
    )
    drop = Maildrop((b"1", first), (b"2", second))
    drop.instead = lambda command: b"-ERR no TOP\r\n" if command.startswith(b"TOP") else None
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        # Somebody deleted the first, and the third, of the same size, has the number of the second.
        drop.messages = [(b"1", second), (b"2", third)]
        report = fetch_from(server, to, DELETE)
    assert (report.deleted, drop.messages) == (2, [])
    assert sorted({*delivered(to)}) == [first, second, third], "none is deleted that was not delivered"


@pytest.mark.parametrize("kind", KINDS)
def test_without_top_what_is_looked_at_before_it_is_deleted_comes_once(tmp_path: Path, kind: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    long = b"Received: " + (b"y" * 70 + b"\r\n ") * 2000 + b"z\r\n" + mail(1)
    drop = Maildrop((b"1", long), (b"2", mail(2)))
    drop.instead = lambda command: b"-ERR no TOP\r\n" if command.startswith(b"TOP") else None
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        report = fetch_from(server, to, DELETE)
    assert (report.fetched, report.deleted, drop.messages) == (0, 2, [])
    assert delivered(to) == sorted([long, mail(2)])


# What a listing did not say the first time.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("has_top", [True, False])
def test_a_size_that_was_not_listed_at_first_is_learned_and_tells_what_is_another_message(
    tmp_path: Path, kind: str, *, has_top: bool
) -> None:
    to = f"{kind}:{tmp_path}/box"
    drop = named(1, 2)

    def instead(command: bytes) -> bytes | None:
        if command == b"LIST" and drop.sessions == 1:
            return b"+OK\r\n1 %d\r\n.\r\n" % len(mail(1))
        return b"-ERR no TOP\r\n" if command.startswith(b"TOP") and not has_top else None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        assert fetch_from(server, to).fetched == 2
        assert fetch_from(server, to).fetched == 0
        drop.messages[1] = (drop.messages[1][0], mail(3, 77))
        assert fetch_from(server, to).fetched == 1
    assert delivered(to) == sorted([mail(1), mail(2), mail(3, 77)])


def test_since_last_leaves_nothing_that_the_first_listing_of_all_lacked(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(3, 2, 1)  # the newest first

    def instead(command: bytes) -> bytes | None:
        if command == b"UIDL" and drop.sessions == 1:
            return b"+OK\r\n3 unique-id-of-000001\r\n.\r\n"
        return None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        reports = [fetch_from(server, to, Options(since_last=True)) for _ in range(2)]
    assert [(report.fetched, report.left) for report in reports] == [(1, []), (2, [])]


@pytest.mark.parametrize("uid", [b"", b"ENOMEM-%d"])
def test_a_message_without_a_lasting_unique_id_that_breaks_each_session_is_left_alone(
    tmp_path: Path, uid: bytes
) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop((uid, mail(1)), (b"x", mail(2)))

    def instead(command: bytes) -> bytes | None:
        drop.messages[0] = (uid % drop.sessions if b"%" in uid else uid, mail(1))
        return b"what?\r\n" if command == b"RETR 1" else None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to)
    assert ([each.number for each in report.failures], report.error) == ([1], None)
    assert delivered(to) == [mail(2)]


def test_a_line_that_drops_at_top_takes_no_headers_from_the_rest_of_the_fetch(tmp_path: Path) -> None:
    """The server has answered a TOP before, so it does not drop because of it."""
    to = f"maildir:{tmp_path}/box"
    drop = numbered(*range(10, 14))
    asked: list[int] = []

    def instead(command: bytes) -> Reply | None:
        if not command.startswith(b"TOP"):
            return None
        asked.append(drop.sessions)
        return Reply(b"", then="fin") if len(asked) == 2 else None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        drop.messages.append((b"5", mail(14)))
        report = fetch_from(server, to)
    assert (report.fetched, report.sessions) == (1, 2)
    assert asked.count(3) >= 2, "it is asked for headers again"
