"""Whole fetches of messages that come with other sizes than the server lists: what is whole, and what is deleted."""

from pathlib import Path

import pytest

from maildrops import Maildrop, delivered, fetch_from, mail, named, numbered
from pop3fast.fetch import Options
from scripted import Reply, ScriptedServer

GREETING = b"+OK ready\r\n"
KINDS = ["maildir", "mbox", "eml"]
DELETE = Options(delete=True)


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


@pytest.mark.parametrize("kind", KINDS)
def test_where_sizes_are_estimates_a_message_that_came_in_two_lengths_is_not_deleted(tmp_path: Path, kind: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    drop = named(1, 2, 3, 4)
    drop.sizes = {uid: len(content) + 300 for uid, content in drop.messages}
    cut = [b"+OK\r\n.\r\n", b"+OK\r\n" + mail(9)[:40] + b"\r\n.\r\n"]
    with ScriptedServer(GREETING, drop) as server:
        assert fetch_from(server, to, DELETE).deleted == 4
        drop.messages, drop.sizes = [(b"unique-id-of-000009", mail(9))], {b"unique-id-of-000009": len(mail(9)) + 300}
        drop.instead = lambda command: cut.pop(0) if command == b"RETR 1" and cut else None
        report = fetch_from(server, to, DELETE)
        assert (report.fetched, report.deleted, [each.number for each in report.failures]) == (0, 0, [1])
        report = fetch_from(server, to, DELETE)
        assert (report.fetched, report.deleted, report.failures) == (1, 1, [])
    assert delivered(to) == sorted([*map(mail, range(1, 5)), mail(9)])


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


@pytest.mark.parametrize("octets", [40, 2**18])
@pytest.mark.parametrize("kind", KINDS)
def test_without_top_what_was_cut_short_and_comes_longer_is_delivered_whole(
    tmp_path: Path, kind: str, octets: int
) -> None:
    to = f"{kind}:{tmp_path}/box"
    one, another = (b"unique-id-of-1", mail(1, octets)), (b"unique-id-of-2", mail(2))
    piece = one[1][:-20] + b"\r\n"
    drop = Maildrop()

    def instead(command: bytes) -> bytes | None:
        if command == b"RETR 1" and drop.messages[0] == one and drop.sessions <= 3:
            return b"+OK\r\n" + piece + b".\r\n"
        return b"-ERR no TOP\r\n" if command.startswith(b"TOP") else None

    drop.instead = instead
    reports = []
    with ScriptedServer(GREETING, drop) as server:
        # What a listing lacked may be another message when it is listed again, and only what comes can tell.
        for drop.messages in ([one], [another], [one, another], [another], [one, another], [another], [one, another]):
            reports.append(fetch_from(server, to))
    assert [report.fetched for report in reports] == [1, 1, 0, 0, 1, 0, 0]
    said = ["came shorter" in " ".join(report.warnings) for report in reports]
    assert said == [True, False, True, False, False, False, False]
    assert drop.sent(b"RETR").count(b"RETR 1") == 6
    assert delivered(to) == sorted([piece, one[1], another[1]])


def test_without_top_what_came_short_when_its_size_was_not_listed_is_asked_for_until_it_is_whole(
    tmp_path: Path,
) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = numbered(10, 11, 12)
    short = b"+OK\r\n" + mail(10)[:-20] + b"\r\n.\r\n"

    def instead(command: bytes) -> bytes | None:
        if command.startswith(b"TOP"):
            return b"-ERR unknown\r\n"
        if command == b"LIST" and drop.sessions == 1:
            return b"+OK\r\n2 %d\r\n3 %d\r\n.\r\n" % (len(mail(11)), len(mail(12)))
        return short if command == b"RETR 1" and drop.sessions < 3 else None

    drop.instead = instead
    options = Options(trust_sizes=True)
    with ScriptedServer(GREETING, drop) as server:
        assert fetch_from(server, to, options).fetched == 3
        report = fetch_from(server, to, options)
        assert ([named.uid for named in report.failures], report.exit_status) == ([b"1"], 1)
        report = fetch_from(server, to, options)
        assert (report.fetched, report.failures, report.exit_status) == (1, [], 0)
    assert mail(10) in delivered(to)
