"""Whole fetches in which replies are not those of their commands: no message is taken for another."""

from pathlib import Path

import pytest

from maildrops import FastClock, Maildrop, account_of, delivered, fetch_from, mail, named
from pop3fast import POP3, ProtocolError
from pop3fast.fetch import Options, OutgoingMessage, SimpleDestination
from pop3fast.fetch._files import Files
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch._step import check_step
from pop3fast.fetch._waiting import Stop
from scripted import Reply, ScriptedServer

GREETING = b"+OK ready\r\n"
KINDS = ["maildir", "mbox", "eml"]
DELETE = Options(delete=True)


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


def test_where_stat_is_refused_a_reply_too_many_is_seen_by_the_second_noop() -> None:
    """Whatever the first one gets may be its own; what is left over then is nobody's."""
    replies = {b"STAT": b"-ERR no\r\n", b"NOOP": b"+OK late\r\n+OK\r\n"}
    with ScriptedServer(GREETING, lambda command: replies.get(command, b"+OK\r\n")) as server:
        pop = POP3("127.0.0.1", server.port, timeout=20)
        try:
            with pytest.raises(ProtocolError):
                check_step(pop, 3)
        finally:
            pop.close()


class Counted(SimpleDestination):
    """Counts what it gets."""

    path = "counted"

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def deliver(self, message: OutgoingMessage) -> None:
        self.got.append(message.content)


@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize("to_files", [True, False])
def test_what_was_delivered_right_before_a_doubt_is_not_delivered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, to_files: bool, lasting: bool
) -> None:
    """Sizes are estimates, so one is too large and the next too small, as where two replies were exchanged."""
    monkeypatch.setattr("pop3fast.fetch._receipts.BATCH_MESSAGES", 1)
    box = f"mbox:{tmp_path}/box"
    counted = Counted()
    drop = named(*range(1, 6))
    drop.sizes = {
        uid: len(content) + shift for (uid, content), shift in zip(drop.messages, (0, -9, -9, 9, 0), strict=True)
    }
    if not lasting:
        drop.messages = [(b"ENOMEM-" + uid, content) for uid, content in drop.messages]
        drop.sizes = {b"ENOMEM-" + uid: size for uid, size in drop.sizes.items()}
    with ScriptedServer(GREETING, drop) as server:
        job = Job(account_of(server), box if to_files else counted, tmp_path / "state")
        world = Surroundings(FastClock(), inline=True)
        assert run_job(job, world).exit_status == 0
        assert len(drop.sent(b"RETR")) > len(drop.messages), "there was a doubt, and some came again"
    assert (delivered(box) if to_files else sorted(counted.got)) == sorted(mail(number) for number in range(1, 6))


@pytest.mark.parametrize("kind", KINDS)
def test_a_late_refusal_does_not_hide_that_replies_are_out_of_step(tmp_path: Path, kind: str) -> None:
    """The first message comes twice, and the second one is refused: STAT gets that, and NOOP the reply to STAT."""
    to = f"{kind}:{tmp_path}/box"
    drop = named(1, 2)
    answers = {b"RETR 1": drop.content(1), b"RETR 2": b"-ERR not now\r\n", b"STAT": b"+OK 2 0\r\n"}
    late: list[bytes] = []

    def instead(command: bytes) -> bytes | None:
        if drop.sessions != 1 or not command.startswith((b"RETR", b"STAT", b"NOOP", b"QUIT")):
            return None
        late.append(answers.get(command, b"+OK\r\n"))
        return late[0] if command == b"RETR 1" else late.pop(0)

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to)
    assert report.exit_status == 0
    assert {*delivered(to)} == {mail(1), mail(2)}


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


def test_a_line_that_drops_behind_a_short_message_makes_nothing_doubtful_that_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an mbox what was taken back would lie there twice."""
    monkeypatch.setattr("pop3fast.fetch._receipts.BATCH_MESSAGES", 1)
    to = f"mbox:{tmp_path}/box"
    drop = named(*range(1, 6))
    drop.sizes = {uid: len(content) + (9 if number else -1) for number, (uid, content) in enumerate(drop.messages)}
    drop.capabilities += b"PIPELINING\r\n"

    def hang_up_once(command: bytes) -> Reply | None:
        if command != b"RETR 4" or drop.sessions != 1:
            return None
        return Reply(b"+OK\r\nSubject: ", then="fin")

    drop.instead = hang_up_once
    with ScriptedServer(GREETING, drop) as server:
        world = Surroundings(FastClock(), Files(), Stop(), inline=True)
        report = run_job(Job(account_of(server), to, None, Options()), world)
    assert (report.fetched, report.failures) == (5, [])
    assert delivered(to) == sorted(mail(number) for number in range(1, 6))
