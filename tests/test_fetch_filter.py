"""`--filter`: a program says what becomes of each message, and whatever else happens to it loses none."""

import json
import os
import threading
from pathlib import Path

import pytest

from commandline import plain_url, pop3fast
from destinations import Box
from maildrops import FastClock, Maildrop, RushingClock, account_of, as_numbered, delivered, mail, numbered
from pop3fast.fetch import FetchReport, Identity, Job, MessageDeferred, Options
from pop3fast.fetch import _delivering as delivering
from pop3fast.fetch import _filtering as filtering
from pop3fast.fetch._filtering import Verdict
from pop3fast.fetch._retrying import Surroundings, run_job
from pop3fast.fetch._waiting import Clock, Stop, SystemClock
from pop3fast.fetch.destinations._pipe import MEANINGS
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer

MAILS = [(b"u%d" % number, mail(number)) for number in range(1, 6)]

DECIDES = """
input=$(cat)
echo "$POP3FAST_UID $SENDER ${#input}" >> asked
case $POP3FAST_UID in u2) exit 90;; u3) exit 91;; u4) exit 92;; u5) exit 1;; esac
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def script(text: str) -> str:
    """Return a command that runs *text* of sh."""
    path = Path("judge")
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path.absolute())


def fetch(server: ScriptedServer, command: str, *, clock: Clock | None = None, **options: object) -> FetchReport:
    wishes = Options(filter=command, **options)  # type: ignore[arg-type]
    world = Surroundings(clock or FastClock(), stop=Stop())
    return run_job(Job(account_of(server), "maildir:box", None, wishes), world)


def asked(which: int) -> list[str]:
    """Return field *which* of what the filter was asked, and forget it."""
    try:
        lines = Path("asked").read_text().splitlines()
    except FileNotFoundError:
        return []
    Path("asked").unlink()
    return [line.split()[which] for line in lines]


@pytest.mark.parametrize("headers", [False, True])
def test_quirk_q139_what_was_skipped_stays_so_when_message_numbers_are_given_anew(*, headers: bool) -> None:
    command = script('case "$(cat)" in *"Subject: 12"*) echo skipped >> asked; exit 90;; esac')
    drop = numbered(10, 11, 12)
    with ScriptedServer(b"+OK ready\r\n", drop) as server:
        assert fetch(server, command, filter_headers=headers, delete=True).skipped == 1
        drop.messages = as_numbered(12, 13, 14)
        report = fetch(server, command, filter_headers=headers)
        assert (report.fetched, report.skipped, report.exit_status) == (2, 0, 0)
        drop.messages = as_numbered(15, 12, 16)
        assert fetch(server, command, filter_headers=headers).fetched == 2
    assert delivered("maildir:box") == [mail(number) for number in (10, 11, 13, 14, 15, 16)]
    assert asked(0) == ["skipped"]


@pytest.mark.parametrize("headers", [False, True])
@pytest.mark.parametrize("delete", [False, True])
def test_the_exit_status_decides(server: ScriptedServer, drop: Maildrop, *, headers: bool, delete: bool) -> None:
    command = script(DECIDES)
    report = fetch(server, command, filter_headers=headers, delete=delete)
    assert (report.fetched, report.skipped, report.discarded, report.deleted) == (1, 1, 1, 1 + delete)
    assert delivered("maildir:box") == [mail(1)]
    left = [b"u2", b"u3", b"u5"]
    assert [uid for uid, _ in drop.messages] == (left if delete else [b"u1", *left])
    assert [(named.uid, named.why) for named in report.left] == [(b"u3", "the filter leaves it")]
    assert ["the filter did not say" in named.why for named in report.failures] == [True]
    assert (report.error, report.exit_status) == (None, 1)
    assert asked(0) == ["u1", "u2", "u3", "u4", "u5"]
    retrieved = drop.sent(b"RETR")
    assert len(retrieved) == (1 if headers else 5)
    report = fetch(server, command, filter_headers=headers, delete=delete)
    assert (report.fetched, report.skipped, report.seen) == (0, 0, 1 if delete else 2)
    assert asked(0) == ["u3", "u5"]
    fetch(server, command, filter_headers=headers, fetch_again=["u2"])
    assert asked(0) == ["u2", "u3", "u5"]


@pytest.mark.parametrize("headers", [False, True])
@pytest.mark.parametrize(
    "how", [*(f"exit {n}" for n in (3, 75, 89, 93, 127, 255)), "kill -9 $$", "kill $$", "exec sleep 1000"]
)
def test_what_the_filter_does_not_say_is_neither_delivered_nor_deleted_and_asked_again(
    server: ScriptedServer, drop: Maildrop, monkeypatch: pytest.MonkeyPatch, how: str, *, headers: bool
) -> None:
    drop.messages = drop.messages[:2]
    monkeypatch.setattr(filtering, "FILTER_SECONDS", 0.2 if "sleep" in how else 600.0)
    command = script(f'[ "$POP3FAST_UID" = u1 ] && {how}; exit 0')
    world = SystemClock() if "sleep" in how else None
    report = fetch(server, command, filter_headers=headers, delete=True, clock=world)
    assert (report.fetched, report.deleted, report.discarded, report.skipped) == (1, 1, 0, 0)
    assert [named.uid for named in report.failures] == [b"u1"]
    assert (report.error, report.exit_status) == (None, 1)
    assert drop.messages == [(b"u1", mail(1))]
    assert delivered("maildir:box") == [mail(2)]
    assert fetch(server, script("exit 0"), delete=True).deleted == 1
    assert delivered("maildir:box") == [mail(1), mail(2)]


def test_who_hurries_what_is_behind_a_filter_hurries_the_filter_too(home: Path) -> None:
    """An interrupt that no word to stop goes before ends the writer, which knows of one destination only."""
    os.mkfifo(home / "begun")
    clock, hurried = RushingClock(1.0), threading.Event()
    judge = filtering.Filter(script(f"echo > {home}/begun; exec sleep 1000"), clock)

    class Hurried(Box):
        def hurry(self) -> None:
            hurried.set()

    both = filtering.Filtering(Hurried(), judge, "account", set())

    def hurry() -> None:
        (home / "begun").read_bytes()
        both.hurry()
        clock.rushes = True

    hurrying = threading.Thread(target=hurry)
    hurrying.start()
    delivery = both.begin(Identity(b"u"))
    delivery.write(mail(1))
    with pytest.raises(MessageDeferred, match="was interrupted, and was ended"):
        delivery.end()
    hurrying.join()
    assert hurried.is_set()


def test_the_word_to_stop_ends_a_filter_and_its_message_stays_new(server: ScriptedServer, drop: Maildrop) -> None:
    stop = Stop()
    os.mkfifo("begun")
    command = script(f"echo > {Path('begun').absolute()}; exec sleep 1000")

    def say() -> None:
        Path("begun").read_bytes()
        stop.say()

    teller = threading.Thread(target=say, daemon=True)
    teller.start()
    with pytest.raises(KeyboardInterrupt):
        run_job(Job(account_of(server), "maildir:box", None, Options(filter=command)), Surroundings(stop=stop))
    teller.join()
    assert len(drop.messages) == 5
    assert fetch(server, script("exit 0")).fetched == 5


def test_a_filter_gets_the_message_or_the_header_and_the_sender(server: ScriptedServer, drop: Maildrop) -> None:
    command = script('cat > "got-$POP3FAST_UID"; echo "$POP3FAST_UID $SENDER" >> asked')
    fetch(server, command)
    assert Path("got-u1").read_bytes() == mail(1).replace(b"\r\n", b"\n")
    assert asked(1) == ["a@example.org"] * 5
    drop.messages = [(b"v1", mail(6, 5000))]
    fetch(server, command, filter_headers=True)
    header, _, _ = mail(6).partition(b"\r\n\r\n")
    assert Path("got-v1").read_bytes().rstrip(b"\n") == header.replace(b"\r\n", b"\n")
    assert mail(6, 5000) in delivered("maildir:box")


def test_where_the_server_shows_no_header_the_filter_gets_the_message(server: ScriptedServer, drop: Maildrop) -> None:
    drop.instead = lambda command: b"-ERR no\r\n" if command == b"TOP 2 0" else None
    report = fetch(server, script('cat > "got-$POP3FAST_UID"'), filter_headers=True)
    assert report.fetched == 5
    assert Path("got-u2").read_bytes() == mail(2).replace(b"\r\n", b"\n")


def test_when_all_is_seen_or_skipped_nothing_is_asked_and_no_size_is_listed(
    server: ScriptedServer, drop: Maildrop
) -> None:
    command = script('[ "$POP3FAST_UID" = u2 ] && exit 90; exit 0')
    for _ in range(2):
        fetch(server, command)
    drop.commands.clear()
    assert fetch(server, command).seen == 5
    assert drop.sent(b"LIST") == []


@pytest.mark.parametrize("headers", [False, True])
@pytest.mark.parametrize("status", [90, 92])
def test_what_is_wanted_is_neither_deleted_nor_skipped_for_the_message_before_it(
    server: ScriptedServer, drop: Maildrop, *, headers: bool, status: int
) -> None:
    drop.capabilities += b"PIPELINING\r\n"
    # The reply to the first message has one more behind it, so each later one is taken for the one behind it.
    # The last one is refused, so that what is left over looks like the reply to any command.
    first, last = (b"TOP 1 0", b"TOP 5 0") if headers else (b"RETR 1", b"RETR 5")
    drop.instead = {first: drop.content(1) * 2, last: b"-ERR no\r\n"}.get
    command = script(f"grep -q '^Subject: [345]$' || exit {status}")
    report = fetch(server, command, filter_headers=headers)
    assert report.error is not None or report.failures
    wanted = [(b"u%d" % number, mail(number)) for number in (3, 4, 5)]
    assert [each for each in drop.messages if each in wanted] == wanted
    drop.instead = lambda _: None
    fetch(server, command, filter_headers=headers)
    assert {content for _, content in wanted} <= {*delivered("maildir:box")}


@pytest.mark.parametrize("status", [90, 92])
def test_no_header_is_judged_before_it_is_known_whose_it_is(
    server: ScriptedServer, drop: Maildrop, status: int
) -> None:
    drop.capabilities += b"PIPELINING\r\n"
    # Each header is taken for that of the next message, and the last reply comes late. All of that happens once.
    stat = b"+OK 5 %d\r\n" % sum(len(content) for _, content in drop.messages)
    odd = [(b"NOOP", stat), (b"STAT", b"-ERR no\r\n"), (b"TOP 5 0", b""), (b"TOP 1 0", drop.content(1) * 2)]

    def instead(command: bytes) -> Reply | None:
        return Reply(odd.pop()[1]) if odd and odd[-1][0] == command else None

    drop.instead = instead
    command = script(f"grep -q '^Subject: [345]$' || exit {status}")
    report = fetch(server, command, filter_headers=True)
    assert odd == []
    assert report.warnings == ["trying again after: NOOP got the reply to STAT"]
    assert delivered("maildir:box") == [mail(number) for number in (3, 4, 5)]


def test_what_was_not_deleted_is_asked_about_again(server: ScriptedServer, drop: Maildrop) -> None:
    drop.instead = lambda command: Reply(b"", then="fin") if command == b"QUIT" else None
    command = script(DECIDES)
    report = fetch(server, command)
    assert (report.discarded, report.deletions_unknown, len(drop.messages)) == (0, 1, 5)
    asked(0)
    drop.instead = lambda _: None
    assert fetch(server, command).discarded == 1
    assert "u4" in asked(0)


def test_of_an_incomplete_listing_nothing_is_deleted(server: ScriptedServer, drop: Maildrop) -> None:
    lists = b"+OK\r\n" + b"".join(b"%d %d\r\n" % (n, len(mail(n))) for n in range(1, 5)) + b".\r\n"
    drop.instead = lambda command: lists if command == b"LIST" else None
    report = fetch(server, script(DECIDES))
    assert (report.discarded, [named.uid for named in report.kept]) == (0, [b"u4"])
    assert len(drop.messages) == 5


def test_another_message_under_the_name_of_a_skipped_one_is_asked_about(server: ScriptedServer, drop: Maildrop) -> None:
    command = script(DECIDES)
    fetch(server, command)
    drop.messages[1] = (b"u2", mail(2, 500))
    asked(0)
    fetch(server, command)
    assert "u2" in asked(0)


def test_quirk_q46_a_slow_filter_lets_no_server_end_the_session(
    server: ScriptedServer, drop: Maildrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "NUDGE_SECONDS", 0.0)
    fetch(server, script("exit 0"), filter_headers=True)
    before = drop.commands[: drop.commands.index(b"RETR 1")]
    assert before.count(b"NOOP") == 5


@pytest.mark.parametrize("words", ["", " ", "'never closed", "a\0b"])
def test_a_command_that_makes_no_sense_is_an_error_in_words(words: str) -> None:
    with pytest.raises(ValueError, match="--filter"):
        Options(filter=words)
    with pytest.raises(ValueError, match="filter_headers"):
        Options(filter_headers=True)


def test_a_filter_that_is_not_there_ends_the_fetch_before_anybody_logs_in(
    server: ScriptedServer, drop: Maildrop
) -> None:
    report = fetch(server, "/no/such/program")
    assert (report.exit_status, drop.commands) == (5, [])
    assert "no such program" in str(report.error)


def test_no_number_says_anything_that_a_failing_program_ends_with() -> None:
    ordinary = {1, 2, 101, 126, 127, *MEANINGS, *range(129, 160)}
    assert not {verdict.value for verdict in Verdict} & ordinary


def test_the_options_of_the_command_line_reach_the_filter(home: Path) -> None:
    with MailboxServer([mail(1), mail(2)]) as server:
        server_url = plain_url(server)
        command = script("grep -q '^Subject: 1$' && exit 92; exit 0")
        ran = pop3fast(
            home, "fetch", server_url, "--to", "maildir:box", "--filter", command, "--filter-headers", "--json",
            env={"POP3FAST_PASSWORD": "password"}, status=0,
        )  # fmt: skip
        end = json.loads(ran.out.splitlines()[-1])
        assert (end["fetched"], end["discarded"], end["deleted"]) == (1, 1, 1)
        ran = pop3fast(home, "fetch", server_url, "--to", "maildir:box", "--filter", "'", status=2)
        assert "--filter makes no sense" in ran.err
