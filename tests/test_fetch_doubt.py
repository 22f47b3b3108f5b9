"""Whole fetches where a unique-id, a listing, a size or a reply is not what it seems, and time passes."""

from pathlib import Path

import pytest

from maildrops import FastClock, Maildrop, account_of, delivered, fetch_from, mail
from pop3fast import ProtocolError
from pop3fast.fetch import Entry, Options, ReadBack, UidsChanged, fetch_mailbox
from pop3fast.fetch._files import Files
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.destinations._maildir import Maildir
from scripted import Reply, ScriptedServer

GREETING = b"+OK ready\r\n"
KINDS = ["maildir", "mbox", "eml"]
DELETE = Options(delete=True)
DAY = 86_400


def numbered(*numbers: int, capabilities: bytes = b"TOP\r\nUIDL\r\n") -> Maildrop:
    """Return a maildrop whose unique-ids are message numbers; all messages have the same size."""
    return Maildrop(*as_numbered(*numbers), capabilities=capabilities)


def as_numbered(*numbers: int) -> list[tuple[bytes, bytes]]:
    return [(b"%d" % place, mail(number)) for place, number in enumerate(numbers, 1)]


def named(*numbers: int) -> Maildrop:
    return Maildrop(*((b"unique-id-of-%06d" % number, mail(number)) for number in numbers))


def days(number: float) -> FastClock:
    clock = FastClock()
    clock.time += number * DAY
    return clock


def refuse_top(drop: Maildrop) -> None:
    drop.instead = lambda command: b"-ERR unknown\r\n" if command.startswith(b"TOP") else None


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


# Sizes.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [0, 4])
@pytest.mark.parametrize("octets", [0, 60])
@pytest.mark.parametrize("capabilities", [b"TOP\r\nUIDL\r\n", b"TOP\r\nUIDL\r\nPIPELINING\r\n"])
def test_quirk_q102_a_message_that_comes_short_for_once_arrives_whole(
    tmp_path: Path, kind: str, place: int, octets: int, capabilities: bytes
) -> None:
    to = f"{kind}:{tmp_path}/box"
    drop = Maildrop(*named(*range(1, 9)).messages, capabilities=capabilities)
    command, content = b"RETR %d" % (place + 1), drop.messages[place][1][:octets]

    def once(given: bytes) -> bytes | None:
        if given != command:
            return None
        drop.instead = lambda _: None
        return b"+OK\r\n" + content + (b"\r\n" if content else b"") + b".\r\n"

    drop.instead = once
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, DELETE)
    assert (report.fetched, report.failures, report.deleted, report.error) == (8, [], 8, None)
    assert delivered(to) == sorted(mail(number) for number in range(1, 9))


def test_quirk_q102_where_sizes_are_exact_a_short_message_fails_and_stays(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(*range(1, 9))
    drop.sizes[b"unique-id-of-000008"] = 500
    with ScriptedServer(GREETING, drop) as server:
        for fetched in (7, 0, 0):
            report = fetch_from(server, to, DELETE)
            assert (report.fetched, report.exit_status, report.kept) == (fetched, 1, [])
            assert [message.uid for message in report.failures] == [b"unique-id-of-000008"]
            assert "octets came of the 500" in report.failures[0].why
        assert [uid for uid, _ in drop.messages] == [b"unique-id-of-000008"]
        assert len(delivered(to)) == 7
        report = fetch_from(server, to, Options(delete=True, trust_sizes=False))
        assert (report.fetched, report.deleted) == (1, 1)


@pytest.mark.parametrize("large", [0, 2**18])
def test_quirk_q140_where_sizes_are_estimates_deleting_works_and_is_explained_once(tmp_path: Path, large: int) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop(*((b"unique-id-of-%06d" % number, mail(number, 40 + large)) for number in range(1, 6)))
    drop.sizes = {uid: len(content) + 300 for uid, content in drop.messages}
    more = [(b"unique-id-of-%06d" % number, mail(number)) for number in range(6, 9)]
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, DELETE)
        assert (report.fetched, report.deleted, report.failures) == (5, 5, [])
        assert sum("estimates" in warning for warning in report.warnings) == 1
        drop.messages = more
        drop.sizes = {uid: len(content) + 300 for uid, content in more}
        drop.commands.clear()
        report = fetch_from(server, to, DELETE)
        assert (report.fetched, report.deleted, report.warnings) == (3, 3, [])
        assert len(drop.sent(b"RETR")) == 3, "what is known is not tried twice"


def test_quirk_q140_what_a_single_message_shows_is_remembered(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop()
    with ScriptedServer(GREETING, drop) as server:
        deleted = []
        for number in range(1, 5):
            drop.messages.append((b"unique-id-of-%06d" % number, mail(number)))
            drop.sizes[drop.messages[-1][0]] = len(mail(number)) + 300
            report = fetch_from(server, to, DELETE)
            deleted.append((report.fetched, report.deleted, len(report.kept)))
    assert deleted == [(1, 0, 1), (1, 0, 2), (1, 1, 2), (1, 3, 0)]


def test_quirk_q68_sizes_without_cr_are_held_to(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(*range(1, 9))
    drop.sizes = {uid: len(content) - content.count(b"\n") for uid, content in drop.messages}
    drop.sizes[b"unique-id-of-000008"] += 1
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, DELETE)
    assert (report.fetched, report.deleted, [each.number for each in report.failures]) == (7, 7, [8])


def test_quirk_q68_where_sizes_are_without_cr_what_came_before_a_broken_reply_is_remembered(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop(*((b"unique-id-of-%06d" % number, mail(number, 40 + number)) for number in range(1, 9)))
    drop.sizes = {uid: len(content) - content.count(b"\n") for uid, content in drop.messages}
    drop.instead = lambda command: b"what?\r\n" if command == b"RETR 6" and drop.sessions == 1 else None
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to)
    assert (report.fetched, report.sessions, len(drop.sent(b"RETR"))) == (8, 2, 6 + 3)
    assert delivered(to) == sorted(mail(number, 40 + number) for number in range(1, 9))


def test_trust_in_sizes_by_hand_fails_what_is_short(tmp_path: Path) -> None:
    drop = named(1, 2, 3)
    drop.sizes = {uid: len(content) + 300 for uid, content in drop.messages}
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, f"maildir:{tmp_path}/box", Options(trust_sizes=True))
    assert (report.fetched, len(report.failures)) == (0, 3)


@pytest.mark.parametrize("octets", [400, 2**20])
def test_max_size_holds_for_what_arrives(tmp_path: Path, octets: int) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop((b"one", mail(1)), (b"two", mail(2, octets)), (b"three", mail(3)))
    drop.sizes[b"two"] = 90
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, Options(delete=True, max_size=300))
        assert (report.fetched, report.deleted, report.exit_status) == (2, 2, 0)
        assert [(each.uid, each.why.split(" bytes")[0]) for each in report.left] == [
            (b"two", f"its {len(mail(2, octets)):,}")
        ]
        assert [uid for uid, _ in drop.messages] == [b"two"]
    assert delivered(to) == sorted([mail(1), mail(3)])


def test_a_size_beyond_all_is_no_traceback(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    drop = named(*range(1, 8))
    drop.sizes[b"unique-id-of-000007"] = 2**63
    with ScriptedServer(GREETING, drop) as server:
        for fetched in (6, 0):
            report = fetch_from(server, to)
            assert (report.fetched, report.error) == (fetched, None)


# Replies that are not those of their commands.


def test_a_forged_reply_that_sizes_cannot_show_costs_no_other_message(tmp_path: Path) -> None:
    """All sizes are too large, and one message forges the reply to the command behind it."""
    to = f"maildir:{tmp_path}/box"
    drop = named(*range(1, 41))
    drop.sizes = {uid: len(content) + 300 for uid, content in drop.messages}
    forged = drop.content(20) + b"+OK\r\nSubject: forged\r\n\r\nforged\r\n.\r\n"
    drop.capabilities += b"PIPELINING\r\n"
    drop.instead = lambda command: forged if command == b"RETR 20" else None
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, Options(trust_sizes=False))
        drop.instead = lambda _: None
        fetch_from(server, to)
    assert [each.number for each in report.failures] == [20]
    assert delivered(to) == sorted(mail(number) for number in range(1, 41))


@pytest.mark.parametrize("kind", ["maildir", "mbox", "eml"])
def test_a_reply_too_many_loses_no_message_though_all_sizes_are_right(tmp_path: Path, kind: str) -> None:
    """From the 21st on each message is answered with the one before it, and all are of the same size."""
    to = f"{kind}:{tmp_path}/box"
    drop = named(*range(101, 131))
    late: list[bytes] = [drop.content(20)]

    def one_late(command: bytes) -> bytes | None:
        if command.startswith(b"RETR") and int(command[5:]) > 20:
            late.append(drop.content(int(command[5:])))
        elif command.startswith(b"STAT"):
            drop.instead = lambda _: None
            return late.pop() + b"+OK 30 0\r\n"
        else:
            return None
        return late.pop(0)

    drop.instead = one_late
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, Options(delete=True))
    assert report.exit_status == 0
    assert drop.messages == []
    assert set(delivered(to)) == {mail(number) for number in range(101, 131)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_replies_in_another_order_lose_no_message(tmp_path: Path, kind: str, line_end: bytes) -> None:
    """Each reply comes, so nothing is missing or left over: only the sizes say that one is another's."""
    octets = [50 + number % 7 for number in range(20)] + [40, 90, 2000, 60] + [70] * 10
    messages = [mail(number, size) for number, size in enumerate(octets, 1)]
    drop = Maildrop(
        *((b"unique-id-of-%06d" % number, content) for number, content in enumerate(messages, 1)),
        capabilities=b"TOP\r\nUIDL\r\nPIPELINING\r\n",
    )
    drop.sizes = {uid: len(content.replace(b"\r\n", line_end)) for uid, content in drop.messages}
    late: list[bytes] = []

    def exchange(command: bytes) -> bytes | None:
        if command == b"RETR 21" and not late:
            late.append(command)
            return b""
        if command == b"RETR 24" and len(late) == 1:
            late.append(command)
            return b"".join(b"+OK\r\n%s.\r\n" % messages[number - 1] for number in (24, 21))
        return None

    drop.instead = exchange
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, f"{kind}:{tmp_path}/box", DELETE, timeout=2)
        fetch_from(server, f"{kind}:{tmp_path}/box", DELETE, timeout=2)
    assert len(late) == 2
    assert drop.messages == []
    assert sorted(set(delivered(f"{kind}:{tmp_path}/box"))) == sorted(messages)


def test_nothing_is_remembered_that_a_forged_reply_may_have_moved(tmp_path: Path) -> None:
    """It comes when the next command is under way, so it is taken for its reply, and so is each reply from there on."""
    to = f"maildir:{tmp_path}/box"
    drop = named(*range(1, 9))
    drop.sizes = {uid: len(content) + 300 for uid, content in drop.messages}
    forged = Reply(drop.content(3), b"+OK\r\nSubject: forged\r\n\r\nforged\r\n.\r\n")
    drop.instead = lambda command: forged if command == b"RETR 3" else None
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, Options(trust_sizes=False, max_size=10**6))
        assert [each.number for each in report.failures] == [3]
        drop.instead = lambda _: None
        fetch_from(server, to)
    assert delivered(to) == sorted(mail(number) for number in range(1, 9))


def test_what_is_no_reply_to_quit_is_an_error_and_nothing_counts_as_deleted(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(1, 2, 3)
    drop.instead = lambda command: Reply(b"Subject: what?\r\n", then="fin") if command == b"QUIT" else None
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, DELETE)
        assert isinstance(report.error, ProtocolError)
        assert (report.fetched, report.deleted, report.deletions_unknown, report.exit_status) == (3, 0, 3, 3)
        drop.instead = lambda _: None
        report = fetch_from(server, to, DELETE)
        assert (report.fetched, report.deleted) == (0, 3)


def test_whether_replies_are_in_step_is_asked_once_when_something_was_fetched(tmp_path: Path) -> None:
    drop = named(*range(1, 31))
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, f"maildir:{tmp_path}/box")
        last = drop.commands.index(b"RETR 30")
        assert drop.commands[last + 1 :] == [b"STAT", b"QUIT"]


def test_a_server_that_says_nothing_by_stat_and_noop_is_in_step_all_the_same(tmp_path: Path) -> None:
    drop = named(1, 2)
    drop.instead = lambda command: b"-ERR unknown\r\n" if command in {b"STAT", b"NOOP"} else None
    with ScriptedServer(GREETING, drop) as server:
        assert fetch_from(server, f"maildir:{tmp_path}/box").fetched == 2


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


# A message that came short while nobody knew what sizes are worth (quirk q102).


def short_once(drop: Maildrop, until: int) -> None:
    """Let the first message come without its end in sessions before the one *until*."""

    def instead(command: bytes) -> bytes | None:
        if command == b"RETR 1" and drop.sessions < until:
            return b"+OK\r\n" + drop.messages[0][1][:-10] + b"\r\n.\r\n"
        return None

    drop.instead = instead


def test_quirk_q102_what_came_short_is_named_in_each_run_and_comes_whole_when_sizes_are_exact(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(1)
    short_once(drop, until=3)
    with ScriptedServer(GREETING, drop) as server:
        for _ in range(2):
            report = fetch_from(server, to)
            assert any("message 1" in warning and "whole" in warning for warning in report.warnings)
        drop.messages += named(*range(2, 8)).messages
        fetch_from(server, to)
        assert mail(1) not in delivered(to), "sizes are known to be exact from here on"
        report = fetch_from(server, to)
    assert (report.fetched, report.warnings) == (1, [])
    assert mail(1) in delivered(to)


def test_quirk_q102_what_came_short_before_sizes_were_known_to_be_exact_has_failed(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(*range(1, 8))
    short_once(drop, until=2)
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to)
        assert [each.number for each in report.failures] == [1]
        assert (report.fetched, report.exit_status) == (6, 1)
        assert fetch_from(server, to).fetched == 1
    assert {*delivered(to)} > {mail(number) for number in range(1, 8)}


def test_quirk_q102_a_message_shows_once_what_sizes_are_worth(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(1)
    short_once(drop, until=9)
    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to, DELETE)
        for file in (tmp_path / "box/new").iterdir():
            file.write_bytes(b"damaged")
        fetch_from(server, to, DELETE)
        drop.messages += named(*range(2, 8)).messages
        fetch_from(server, to, DELETE)
        report = fetch_from(server, to, DELETE)
    assert [each.number for each in report.failures] == [1], "six were exact, and one was not"


def test_quirk_q140_nobody_is_told_that_what_is_deleted_stays(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(*range(1, 6))
    drop.sizes = {uid: len(content) + 300 for uid, content in drop.messages}
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, DELETE)
    assert (report.deleted, report.kept, drop.messages) == (5, [], [])
    (warning,) = report.warnings
    assert "estimates" in warning


def test_quirk_q102_what_comes_otherwise_each_time_was_cut_and_makes_no_sizes_estimates(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = named(*range(1, 5))
    ends = iter(range(1, 100))

    def instead(command: bytes) -> bytes | None:
        if command.startswith(b"RETR") and command != b"RETR 4":
            return b"+OK\r\n" + drop.messages[int(command[5:]) - 1][1][: -next(ends) - 2] + b"\r\n.\r\n"
        return None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, DELETE)
    assert ([each.number for each in report.failures], report.deleted) == ([1, 2, 3], 1)
    assert delivered(to) == [mail(4)]


def test_quirk_q68_line_ends_count_also_where_a_piece_ends_at_the_listed_size(tmp_path: Path) -> None:
    """Of a message of two pieces, and of sizes without CR, the first piece is as long as the message is listed."""
    piece, lines = 2**16, 40
    drop = Maildrop()
    for number in range(1, 9):
        content = mail(number)[:-2] + b"\r\n" * lines
        content = mail(number, 40 + piece + 44 - len(content))[:-2] + b"\r\n" * lines
        assert len(content) - content.count(b"\r\n") == piece
        drop.messages.append((b"unique-id-of-%06d" % number, content))
        drop.sizes[drop.messages[-1][0]] = piece
    drop.sizes[b"unique-id-of-000008"] += 1
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, f"maildir:{tmp_path}/box")
    assert [each.number for each in report.failures] == [8], "seven have shown that sizes are without CR"


def test_without_top_a_piece_of_what_is_looked_at_never_takes_the_place_of_the_whole(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    drop = named(1, 2)

    def instead(command: bytes) -> bytes | Reply | None:
        if command == b"QUIT" and drop.sessions == 1:
            return Reply(b"-ERR [SYS/TEMP] nothing was removed\r\n", then="fin")
        if command == b"RETR 1" and drop.sessions == 2:
            return b"+OK\r\n" + drop.messages[0][1][:20] + b"\r\n.\r\n"
        return b"-ERR no TOP\r\n" if command.startswith(b"TOP") else None

    drop.instead = instead
    drop.sizes = {drop.messages[1][0]: 300}  # so that nobody knows what sizes are worth
    drop.messages[0] = (b"1", drop.messages[0][1])  # a number, of which only the content tells what it is
    with ScriptedServer(GREETING, drop) as server:
        for _ in range(3):
            fetch_from(server, to, DELETE)
    assert delivered(to) == sorted([mail(1), mail(2)])


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 2, 576])
def test_what_was_remembered_of_a_conversation_out_of_step_is_forgotten_but_what_sizes_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, batch: int
) -> None:
    """A reply comes twice, late, and batches are remembered before anybody can know."""
    monkeypatch.setattr("pop3fast.fetch._receipts.BATCH_MESSAGES", batch)
    to = f"{kind}:{tmp_path}/box"
    octets = [40, 41, *[42] * 6]
    drop = Maildrop(*((b"unique-id-of-%06d" % n, mail(n, size)) for n, size in enumerate(octets, 1)))

    def instead(command: bytes) -> bytes | None:
        if drop.sessions != 1 or not command.startswith((b"RETR", b"STAT")):
            return None
        number = int(command[5:] or 9)
        return drop.content(number - 1) if number > 4 else None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        world = Surroundings(FastClock(), Files(), Stop(), inline=True)
        report = run_job(Job(account_of(server), to, None, DELETE), world)
    assert (report.fetched, report.deleted, drop.messages, report.failures) == (8, 8, [], [])
    assert {*delivered(to)} == {mail(n, size) for n, size in enumerate(octets, 1)}
    assert delivered(to).count(mail(1)) == delivered(to).count(mail(2, 41)) == 1


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
