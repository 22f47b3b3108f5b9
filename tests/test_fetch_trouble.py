"""Trouble on the way: what is tried again, after how long, what is left alone, and when it is given up."""

import contextlib
import os
import signal
import sqlite3
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from maildrops import NEVER, FastClock, InterruptedClock, Maildrop, account_of, delivered, fetch_from, mail
from pop3fast import AuthenticationError, CommandError, ConnectionLost, ProtocolError
from pop3fast.fetch import Account, Options, Progress, State, fetch_mailbox
from pop3fast.fetch._inquiry import raise_trouble
from pop3fast.fetch._patience import MAX_TRIES
from pop3fast.fetch._receipts import BATCH_MESSAGES
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.memory import _state_schema
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from waiting import time_out_when_it_stalls

GREETING = b"+OK ready\r\n"
PIPELINING = b"TOP\r\nUIDL\r\nPIPELINING\r\n"
MESSAGES = [mail(number, octets=500) for number in range(1, 101)]
KINDS = ["maildir", "mbox", "eml"]

# Longer than what ends at once takes on any machine, shorter than pytest waits.
SECONDS = 30


def maildrop(count: int, capabilities: bytes = PIPELINING) -> Maildrop:
    return Maildrop(*((b"%d" % number, mail(number)) for number in range(1, count + 1)), capabilities=capabilities)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut_with", ["fin", "rst"])
def test_a_connection_that_is_cut_again_and_again(tmp_path: Path, kind: str, cut_with: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    clock = FastClock()
    with MailboxServer(MESSAGES, cut_at=20_000, cut_connections=3, cut_with=cut_with) as server:  # type: ignore[arg-type]
        report = fetch_from(server, to, Options(delete=True), clock=clock)
        assert (report.fetched, report.deleted, report.ok) == (100, 100, True)
        assert report.sessions == 4
    assert delivered(to) == sorted(MESSAGES)
    # Each of them brought something, so each wait is the first.
    assert sum(clock.pauses) == pytest.approx(3)


@pytest.mark.parametrize("cut_at", [0, 10, 60, 150, 200, 300, 700, 2000, 6000, 40_000, 60_000])
def test_a_connection_that_is_cut_anywhere(tmp_path: Path, cut_at: int) -> None:
    to = f"maildir:{tmp_path}/box"
    with MailboxServer(MESSAGES, cut_at=cut_at, cut_connections=1) as server:
        fetch_from(server, to, Options(delete=True))
        fetch_from(server, to, Options(delete=True))
        assert server.remaining == []
    assert delivered(to) == sorted(MESSAGES)


def test_waits_grow_until_it_is_given_up(tmp_path: Path) -> None:
    drop = maildrop(3)
    drop.instead = lambda command: Reply(b"", then="fin") if command == b"UIDL" else None
    clock = FastClock()
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, f"maildir:{tmp_path}/box", clock=clock)
    assert isinstance(report.error, ConnectionLost)
    assert sum(clock.pauses) == pytest.approx(1 + 2 + 5 + 10 + 30 + 60)
    assert report.sessions == MAX_TRIES + 1
    # UIDL beside LIST, what that was taken for, and UIDL alone.
    assert len(report.warnings) == 3
    assert any("pipelining was given up" in warning for warning in report.warnings)


@pytest.mark.parametrize("error", [ConnectionLost("-ERR EOF"), TimeoutError("timed out"), CommandError(b"-ERR no")])
def test_what_breaks_a_connection_is_no_refusal_and_not_its_own_cause(error: Exception) -> None:
    with pytest.raises((ProtocolError, TimeoutError)) as raised:  # noqa: PT012 - the error is raised while it is handled
        try:
            raise error
        except type(error):
            raise_trouble(error)
    # Whoever follows the causes comes to an end.
    assert raised.value.__cause__ is (error if isinstance(error, CommandError) else None)


def test_it_never_logs_in_more_often_than_the_server_wants(tmp_path: Path) -> None:
    drop = maildrop(3, b"TOP\r\nUIDL\r\nLOGIN-DELAY 25 USER\r\n")
    drop.instead = lambda command: Reply(b"", then="fin") if command == b"UIDL" and drop.sessions < 3 else None
    clock = FastClock()
    with ScriptedServer(GREETING, drop) as server:
        assert fetch_from(server, f"maildir:{tmp_path}/box", clock=clock).fetched == 3
    assert sum(clock.pauses) == pytest.approx(25 + 25)


@pytest.mark.parametrize(
    ("said", "seconds"), [(b"86401", 86400), (b"9" * 400, 86400), (b"60", 60), (b"-1", 0), (b"x", 0)]
)
def test_no_server_wants_a_pause_of_more_than_a_day_between_logins(tmp_path: Path, said: bytes, seconds: float) -> None:
    drop = maildrop(3, b"TOP\r\nUIDL\r\nLOGIN-DELAY " + said + b"\r\n")
    with ScriptedServer(GREETING, drop) as server:
        assert fetch_from(server, f"maildir:{tmp_path}/box").login_delay == seconds


def test_a_login_delay_beyond_all_patience_ends_it(tmp_path: Path) -> None:
    drop = maildrop(3, b"TOP\r\nUIDL\r\nLOGIN-DELAY 86400\r\n")
    drop.instead = lambda command: Reply(b"", then="fin") if command == b"UIDL" else None
    clock = FastClock()
    with ScriptedServer(GREETING, drop) as server:
        assert fetch_from(server, f"maildir:{tmp_path}/box", clock=clock).exit_status == 3
    assert (clock.pauses, drop.sessions) == ([], 1)


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (b"PASS", b"-ERR [IN-USE] locked\r\n"),
        (b"PASS", b"-ERR [LOGIN-DELAY] too early\r\n"),
        (b"PASS", b"-ERR [SYS/TEMP] later\r\n"),
        (b"UIDL", b"-ERR login allowed only every 15 minutes\r\n"),  # quirk q31
    ],
)
def test_what_is_temporary_is_waited_for_within_a_limit(tmp_path: Path, command: bytes, refusal: bytes) -> None:
    drop = maildrop(3)
    times = 0

    def instead(given: bytes) -> bytes | None:
        nonlocal times
        times += given.startswith(command)
        return refusal if given.startswith(command) and times <= 4 else None

    drop.instead = instead
    clock = FastClock()
    with ScriptedServer(GREETING, drop) as server:
        assert fetch_from(server, f"maildir:{tmp_path}/box", clock=clock).fetched == 3
        assert sum(clock.pauses) == pytest.approx(1 + 2 + 5 + 10)
        times = -1000
        report = fetch_from(server, f"eml:{tmp_path}/eml", Options(patience=60), clock=clock)
    assert isinstance(report.error, CommandError)
    assert report.exit_status == 3
    assert sum(clock.pauses) == pytest.approx(18 + 1 + 2 + 5 + 10 + 30)


def test_a_login_that_is_refused_is_not_tried_again(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES[:1], password="another") as server:
        report = fetch_from(server, f"maildir:{tmp_path}/box")
        assert isinstance(report.error, AuthenticationError)
        assert sum(command.startswith(b"AUTH") for command in server.commands) == 1


def test_a_certificate_that_is_not_trusted_is_not_tried_again(tmp_path: Path) -> None:
    clock = FastClock()
    with MailboxServer(MESSAGES[:1], tls=True) as server:
        account = Account(f"pop3s://user@127.0.0.1:{server.port}", password="password")
        report = run_job(Job(account, f"eml:{tmp_path}/box"), Surroundings(clock))
        assert isinstance(report.error, ssl.SSLCertVerificationError)
        assert (report.exit_status, clock.pauses) == (3, [])
        trusting = Account(account.url, password="password", ca_file=server.certificate)
        assert run_job(Job(trusting, f"eml:{tmp_path}/box")).fetched == 1


def test_quirk_q111_a_server_that_cannot_pipeline_as_it_says_is_asked_one_by_one(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = maildrop(30)
    in_session: list[bytes] = []
    alone: dict[int, list[bool]] = {1: [], 2: []}

    def instead(command: bytes) -> bytes | Reply | None:
        if command == b"CAPA":
            in_session.clear()
        if command.startswith(b"RETR"):
            in_session.append(command)
            alone[drop.sessions].append(server.received.endswith(command + b"\r\n"))
            if drop.sessions == 1 and len(in_session) == 3:
                return Reply(b"", then="fin")
        return None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to)
        assert (report.fetched, report.sessions) == (30, 2)
    assert not all(alone[1])
    assert all(alone[2])
    assert delivered(to) == sorted(mail(number) for number in range(1, 31))


def test_quirk_q110_a_server_that_gives_headers_out_of_step_is_asked_one_by_one(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = maildrop(30)

    def instead(command: bytes) -> bytes | None:
        is_alone = server.received.endswith(command + b"\r\n")
        return None if is_alone or not command.startswith(b"TOP") else b"X-Spam: header of another\r\n"

    with ScriptedServer(GREETING, drop) as server:
        fetch_from(server, to)
        # So that their headers have to say whether they are others.
        drop.sizes = {uid: len(content) + 10 for uid, content in drop.messages}
        drop.instead = instead
        report = fetch_from(server, to, clock=FastClock())
    assert (report.error, report.seen, report.sessions) == (None, 30, 2)
    assert any("pipelining was given up" in warning for warning in report.warnings)


def test_quirk_q96_a_message_that_forges_the_reply_to_the_next_costs_none(tmp_path: Path) -> None:
    """Its end was forged, so it is not delivered: it may be another's. It is named, and the others come."""
    drop = maildrop(3, b"TOP\r\nUIDL\r\n")
    forged = drop.content(1) + b"+OK\r\nforged\r\n.\r\n"
    drop.instead = lambda command: forged if command == b"RETR 1" else None
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, f"eml:{tmp_path}/box")
    assert (report.fetched, [named.number for named in report.failures]) == (2, [1])
    assert delivered(f"eml:{tmp_path}/box") == sorted(mail(number) for number in range(2, 4))


def test_a_message_for_which_the_server_says_nothing_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = maildrop(3, b"TOP\r\nUIDL\r\nPIPELINING\r\n")
    drop.instead = lambda command: Reply(b"", then="stall") if command == b"RETR 2" else None
    with ScriptedServer(GREETING, drop) as server:
        time_out_when_it_stalls(server, monkeypatch)
        report = fetch_from(server, f"eml:{tmp_path}/box")
    assert (report.fetched, [named.number for named in report.failures]) == (2, [2])
    assert delivered(f"eml:{tmp_path}/box") == sorted([mail(1), mail(3)])


def test_a_line_that_drops_in_a_listing_does_not_end_pipelining_that_has_shown_itself(tmp_path: Path) -> None:
    drop = maildrop(400, b"TOP\r\nUIDL\r\nPIPELINING\r\n")
    listings = retrieved = ahead = 0

    def instead(command: bytes) -> Reply | None:
        nonlocal listings, retrieved, ahead
        listings += command == b"UIDL"
        retrieved += command.startswith(b"RETR")
        if listings == 3 and command.startswith(b"RETR"):
            ahead = max(ahead, len(server.received.rpartition(command + b"\r\n")[2]))
        if (command == b"UIDL" and listings == 2) or (command.startswith(b"RETR") and retrieved == 200):
            return Reply(b"+OK\r\n1 1\r\n", then="fin")
        return None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, f"eml:{tmp_path}/box")
        assert (report.fetched, report.sessions) == (400, 3)
        # One by one, nothing would be there behind a command that is about to be answered.
        assert ahead > 0


def test_a_message_that_breaks_the_connection_twice_is_named_and_the_rest_fetched(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    drop = maildrop(20)
    drop.instead = lambda command: Reply(b"+OK\r\nhalf a", then="fin") if command == b"RETR 7" else None
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to, Options(delete=True))
        assert [each.uid for each in report.failures] == [b"7"]
        assert "2 times" in str(report.failures[0])
        assert (report.fetched, report.deleted, report.sessions, report.exit_status) == (19, 19, 3, 1)
        assert [uid for uid, _ in drop.messages] == [b"7"]
    assert b"half a" not in b"".join(delivered(to))


def test_quirk_q06_an_error_behind_ok_is_the_end_of_the_connection_and_no_message(tmp_path: Path) -> None:
    drop = maildrop(5, b"TOP\r\nUIDL\r\n")
    drop.instead = lambda command: b"+OK -ERR cannot read it\r\n" if command == b"RETR 2" else None
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, f"eml:{tmp_path}/box", Options(delete=True))
    assert (report.fetched, len(report.failures)) == (4, 1)
    assert [uid for uid, _ in drop.messages] == [b"2"]


def test_a_large_message_that_is_cut_is_abandoned_and_fetched_anew(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    large = mail(2, octets=9 * 2**20)
    with MailboxServer([mail(1), large, mail(3)], cut_at=2**20, cut_connections=1) as server:
        report = fetch_from(server, to)
        assert (report.fetched, report.sessions) == (3, 2)
    assert delivered(to) == sorted([mail(1), large, mail(3)])
    assert list((tmp_path / "box/tmp").iterdir()) == []


def test_messages_without_unique_ids_do_not_keep_it_going_for_ever(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop(*((b"", mail(number)) for number in range(20)), capabilities=b"TOP\r\nUIDL\r\n")
    count = 0

    def instead(command: bytes) -> Reply | None:
        nonlocal count
        count = count + 1 if command.startswith(b"RETR") else 0
        return Reply(b"", then="fin") if count == 6 else None

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, to)
    # The sixth breaks the connection twice and is left alone, then it is the seventh, and so on to the twentieth.
    assert (report.sessions, report.fetched, len(report.failures)) == (31, 5, 15)
    assert len(delivered(to)) == 5


INTERRUPTED = f"""
    import sys
    from pop3fast.fetch import Account, fetch_mailbox
    account = Account(sys.argv[1], password="password", timeout={NEVER})
    try:
        fetch_mailbox(account, sys.argv[2], delete=True, checkpoint_messages=None)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_ends_the_wait_for_the_server_and_keeps_what_was_delivered(tmp_path: Path, kind: str) -> None:
    to, box = f"{kind}:{tmp_path}/box", tmp_path / "box"
    come, in_all = BATCH_MESSAGES + 10, BATCH_MESSAGES + 20
    drop = maildrop(in_all, b"TOP\r\nUIDL\r\n")
    drop.instead = lambda command: Reply(b"+OK\r\nhalf", then="stall") if command == b"RETR %d" % (come + 1) else None

    def visible() -> int:
        in_mbox = box.read_bytes().count(b"\nMessage-ID: ") if box.is_file() else 0
        return in_mbox + len([*box.glob("new/*"), *box.glob("*.eml")])

    with ScriptedServer(GREETING, drop) as server:
        url = f"pop3+plain://user@{server.host}:{server.port}"
        command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), url, to]
        with subprocess.Popen(command) as child, contextlib.ExitStack() as at_end:
            at_end.callback(child.kill)
            while visible() < BATCH_MESSAGES or len(drop.sent(b"RETR")) <= come:
                assert child.poll() is None
                time.sleep(0.01)
            child.send_signal(signal.SIGINT)
            assert child.wait(SECONDS) == 130
        assert drop.sent(b"QUIT") == []
        assert len(drop.messages) == in_all
        kept = len(delivered(to))
        assert BATCH_MESSAGES <= kept <= come
        account = account_of(server)
        path = f"{tmp_path}/box.pop3fast.sqlite" if kind == "mbox" else f"{tmp_path}/box/pop3fast.sqlite"
        with State(path).account(account.host, account.port, account.login) as memory:
            assert len(memory.seen()) == kept
        drop.instead = lambda _: None
        assert fetch_from(server, to, Options(delete=True)).fetched == in_all - kept
    assert delivered(to) == sorted(mail(number) for number in range(1, in_all + 1))


def test_an_interrupt_does_not_wait_for_another_program_to_let_go_of_an_mbox(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    clock = FastClock()
    with MailboxServer(MESSAGES) as server:
        fetch_from(server, to, Options(limit=1))
        lock = tmp_path / "box.lock"

        def interrupt_while_it_is_locked(told: Progress) -> None:
            if told.messages == 10:
                lock.write_text("another program\n")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_job(Job(account_of(server), to), Surroundings(clock), progress=interrupt_while_it_is_locked)
        assert sum(clock.pauses) < 1
        lock.unlink()
        assert fetch_from(server, to).fetched == 99
    assert delivered(to) == sorted(MESSAGES)


def stopped(job: Job, begun: Callable[[], bool]) -> None:
    """Say the word to a fetch in another thread, when it has *begun* to wait for what never comes."""
    stop, ended = Stop(), threading.Event()

    def work() -> None:
        with pytest.raises(KeyboardInterrupt):
            run_job(job, Surroundings(stop=stop))
        ended.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while not begun():
        assert thread.is_alive()
        time.sleep(0.001)
    stop.say()
    thread.join(SECONDS)
    assert ended.is_set()


def test_the_word_to_stop_ends_a_fetch_in_another_thread(tmp_path: Path) -> None:
    drop = maildrop(5)
    drop.instead = lambda command: Reply(b"+OK\r\nhalf", then="stall") if command == b"RETR 3" else None
    with ScriptedServer(GREETING, drop) as server:
        job = Job(account_of(server, NEVER), f"maildir:{tmp_path}/box")
        stopped(job, lambda: b"RETR 3" in drop.commands)


@pytest.mark.parametrize(("scheme", "greeting"), [("pop3+plain", b""), ("pop3+plain", b"+OK half"), ("pop3s", b"")])
def test_the_word_to_stop_ends_the_wait_for_a_session(tmp_path: Path, scheme: str, greeting: bytes) -> None:
    with ScriptedServer(Reply(greeting, then="stall")) as server:
        account = Account(f"{scheme}://user@127.0.0.1:{server.port}", password="password", timeout=NEVER)
        stopped(Job(account, f"maildir:{tmp_path}/box"), lambda: server._connection is not None)


def test_the_word_to_stop_ends_the_wait_for_a_lock(tmp_path: Path) -> None:
    clock = InterruptedClock(Stop())
    with MailboxServer(MESSAGES) as server:
        fetch_from(server, f"mbox:{tmp_path}/box", Options(limit=1))
        (tmp_path / "box.lock").write_text("another program\n")
        with pytest.raises(KeyboardInterrupt):
            run_job(Job(account_of(server), f"mbox:{tmp_path}/box"), Surroundings(clock, stop=clock.stop))
    assert clock.late == []
    assert max(clock.pauses) < 1


def test_an_interrupt_does_not_wait_for_a_state_that_another_process_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = f"maildir:{tmp_path}/box"
    monkeypatch.setattr(_state_schema, "BUSY_SECONDS", NEVER)
    with MailboxServer(MESSAGES) as server:
        fetch_from(server, to, Options(limit=1))
        other = sqlite3.connect(tmp_path / "box/pop3fast.sqlite", isolation_level=None)
        with contextlib.closing(other):
            other.execute("BEGIN IMMEDIATE")
            # Whoever waits for it sleeps between two looks.
            monkeypatch.setattr(time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                fetch_mailbox(account_of(server), to)
            # Without an interrupt it waits until the other one is done.
            waits: list[float] = []

            def sleep(seconds: float) -> None:
                waits.append(seconds)
                if len(waits) == 3:
                    other.rollback()

            monkeypatch.setattr(time, "sleep", sleep)
            assert fetch_mailbox(account_of(server), to).fetched == len(MESSAGES) - 1
            assert len(waits) == 3


def test_a_listing_beyond_a_limit_is_not_asked_for_again_and_again(tmp_path: Path) -> None:
    drop = Maildrop((b"x" * 5000, mail(1)))
    clock = FastClock()
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, f"maildir:{tmp_path}/box", clock=clock)
    assert "4096" in str(report.error)
    assert sum(clock.pauses) < 5


def test_a_pause_ends_with_the_word_to_stop(tmp_path: Path) -> None:
    drop = maildrop(1)
    drop.instead = lambda command: b"-ERR [IN-USE] locked\r\n" if command.startswith(b"PASS") else None
    clock = InterruptedClock(Stop())
    with ScriptedServer(GREETING, drop) as server:
        with pytest.raises(KeyboardInterrupt):
            run_job(Job(account_of(server), f"maildir:{tmp_path}/box"), Surroundings(clock, stop=clock.stop))
    assert clock.late == []
    assert max(clock.pauses) < 1


def test_the_machine_s_own_clock(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES[:3], cut_at=1000, cut_connections=1) as server:
        report = fetch_mailbox(account_of(server), f"maildir:{tmp_path}/box")
    assert report.fetched == 3
    assert report.seconds > 1  # the first pause


@pytest.mark.parametrize("error", [ValueError("no such vault"), KeyError("ada")], ids=repr)
def test_what_a_password_function_raises_is_in_the_report(tmp_path: Path, error: Exception) -> None:
    def ask() -> str:
        raise error

    with MailboxServer([mail(1)]) as server:
        account = replace(account_of(server), password=ask)
        report = run_job(Job(account, f"eml:{tmp_path}/box"), Surroundings(FastClock()))
    assert (report.error, report.fetched) == (error, 0)
