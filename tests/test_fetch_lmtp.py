"""`lmtp:`: each reply decides about a message, and no content ends one or begins another."""

import io
import itertools
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from fetching import in_child
from lmtp import LmtpServer
from maildrops import Maildrop, account_of, mail
from pop3fast.fetch import DestinationError, FetchReport, Job, Options, fetch_mailbox
from pop3fast.fetch._retrying import Surroundings, run_job
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.destinations import _connection, _lmtp_session
from pop3fast.fetch.destinations._lmtp import Lmtp
from pop3fast.fetch.destinations._lmtp_session import smtp_data
from pop3fast.fetch.destinations._particulars import Particulars
from pop3fast.fetch.destinations._served import Served
from pop3fast.fetch.destinations._server import ServerDestination
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer

MAILS = [(b"u%d" % number, mail(number)) for number in range(1, 4)]


@pytest.fixture
def lmtp() -> Iterator[LmtpServer]:
    with LmtpServer() as lmtp:
        yield lmtp


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def fetch(
    server: ScriptedServer, lmtp: LmtpServer, options: Options | None = None, recipient: str | tuple[str, ...] = "me"
) -> FetchReport:
    return run_job(Job(account_of(server), f"lmtp:{lmtp.where}", None, options or Options(), recipient))


def test_each_message_is_delivered_over_one_connection_and_deleted(
    server: ScriptedServer, drop: Maildrop, lmtp: LmtpServer
) -> None:
    report = fetch(server, lmtp, Options(delete=True))
    assert (report.fetched, report.deleted, report.exit_status) == (3, 3, 0)
    assert [got.content for got in lmtp.got] == [content for _, content in MAILS]
    assert lmtp.got[0].mail == b"MAIL FROM:<a@example.org> SIZE=%d" % len(mail(1))
    assert [got.recipients for got in lmtp.got] == [[b"RCPT TO:<me>"]] * 3
    assert lmtp.connections == 1
    lmtp.wait()
    assert lmtp.commands[-1] == b"QUIT"
    assert drop.messages == []


def test_a_socket_of_the_file_system_is_one_too_and_without_recipient_it_is_the_user(
    server: ScriptedServer, tmp_path: Path
) -> None:
    with LmtpServer(tmp_path / "socket", capabilities=b"8BITMIME") as lmtp:
        report = fetch_mailbox(account_of(server), f"lmtp:{tmp_path}/socket")
        assert report.fetched == 3
        assert lmtp.got[0].recipients == [b"RCPT TO:<user>"]
        assert lmtp.commands[1:4] == [b"MAIL FROM:<a@example.org>", b"RCPT TO:<user>", b"DATA"]


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("at", [b"MAIL", b"RCPT", b"DATA", b". "])
@pytest.mark.parametrize("code", [421, 450, 451, 452, 500, 550, 552, 554])
def test_a_reply_decides_about_its_message_and_the_others_go_on(
    server: ScriptedServer, drop: Maildrop, at: bytes, code: int, *, pipelining: bool
) -> None:
    with LmtpServer(capabilities=b"PIPELINING" if pipelining else b"SIZE") as lmtp:
        seen = itertools.count()

        def instead(command: bytes) -> bytes | None:
            if command.startswith(at) and next(seen) == 1:
                return b"%d 4.2.0 no\x1b[2J\r\n" % code
            return None

        lmtp.instead = instead
        report = fetch(server, lmtp, Options(delete=True))
        if code == 421 and at != b". ":
            # The server closes the connection: it is asked once more over another one.
            assert (report.fetched, report.error) == (3, None) or report.failures
        else:
            assert [named.uid for named in report.failures] == [b"u2"]
            assert str(code) in report.failures[0].why
            assert report.failures[0].why.isprintable()
            assert (report.fetched, report.deleted, report.exit_status, report.error) == (2, 2, 1, None)
            assert [uid for uid, _ in drop.messages] == [b"u2"]
        lmtp.instead = lambda _: None
        report = fetch(server, lmtp, Options(delete=True))
        assert [named.uid for named in report.refused] == ([b"u2"] if code >= 500 else [])
        assert len(drop.messages) == len(report.refused)


def test_of_several_recipients_it_is_said_who_has_it_and_who_has_not(server: ScriptedServer, lmtp: LmtpServer) -> None:
    lmtp.instead = lambda command: b"450 full\r\n" if command.startswith(b". RCPT TO:<b>") else None
    report = fetch(server, lmtp, Options(delete=True, limit=1), ("a", "b"))
    assert report.failures[0].why == "b: 450 full (delivered to a)"
    assert (report.deleted, [len(got.recipients) for got in lmtp.got]) == (0, [2])


def test_a_recipient_that_is_named_twice_gets_each_message_once(
    server: ScriptedServer, drop: Maildrop, lmtp: LmtpServer
) -> None:
    report = fetch(server, lmtp, Options(delete=True), ("a", "b", "a"))
    assert (report.deleted, report.failures, report.error) == (3, [], None)
    assert got_by(lmtp) == [(b"a", b"b")] * 3
    assert drop.messages == []


def got_by(lmtp: LmtpServer) -> list[tuple[bytes, ...]]:
    """Return to whom each message was sent, and forget it."""
    got = [tuple(line.partition(b"<")[2].rstrip(b">") for line in each.recipients) for each in lmtp.got]
    lmtp.got.clear()
    return got


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("at", [b"", b". "])
def test_who_of_several_has_a_message_does_not_get_it_again(
    server: ScriptedServer, drop: Maildrop, at: bytes, *, pipelining: bool
) -> None:
    full = {b"b", b"c"}

    def instead(command: bytes) -> bytes | None:
        name = command.partition(b"<")[2].rstrip(b">")
        return b"450 full\r\n" if command.startswith(at + b"RCPT") and name in full else None

    with LmtpServer(capabilities=b"PIPELINING" if pipelining else b"SIZE") as lmtp:
        lmtp.instead = instead
        received: list[list[tuple[bytes, ...]]] = []
        said: list[str] = []
        for now_full in ({b"b", b"c"}, {b"b"}, {b"b"}, set[bytes]()):
            full = now_full
            report = fetch(server, lmtp, Options(delete=True), ("a", "b", "c"))
            received.append([tuple(each for each in to if each not in full) for to in got_by(lmtp)])
            said += [named.why for named in report.failures[:1]]
    assert said == ["b: 450 full; c: 450 full (delivered to a)", *["b: 450 full (delivered to a, c)"] * 2]
    # Where the server refuses only after the content, the content was sent in vain.
    none = [()] * 3 if at else []
    assert received == [[(b"a",)] * 3, [(b"c",)] * 3, none, [(b"b",)] * 3]
    assert drop.messages == []


def test_when_all_have_it_and_it_is_asked_for_again_it_is_for_all(server: ScriptedServer, lmtp: LmtpServer) -> None:
    lmtp.instead = lambda command: b"450 full\r\n" if command == b". RCPT TO:<b>" else None
    fetch(server, lmtp, Options(), ("a", "b"))
    lmtp.instead = lambda _: None
    assert fetch(server, lmtp, Options(), ("a", "b")).fetched == 3
    got_by(lmtp)
    assert fetch(server, lmtp, Options(fetch_again=True), ("a", "b")).fetched == 3
    assert got_by(lmtp) == [(b"a", b"b")] * 3


def test_of_one_that_was_refused_for_somebody_the_others_get_no_second_one(
    server: ScriptedServer, lmtp: LmtpServer
) -> None:
    lmtp.instead = lambda command: b"550 who\r\n" if command == b"RCPT TO:<b>" else None
    assert len(fetch(server, lmtp, Options(), ("a", "b")).failures) == 3
    lmtp.instead = lambda _: None
    got_by(lmtp)
    assert fetch(server, lmtp, Options(fetch_again=True), ("a", "b")).fetched == 3
    assert got_by(lmtp) == [(b"b",)] * 3


def test_a_recipient_of_whom_a_lost_server_had_said_so_does_not_get_it_again(
    server: ScriptedServer, lmtp: LmtpServer
) -> None:
    lmtp.instead = lambda command: b"" if command == b". RCPT TO:<b>" else None
    report = fetch(server, lmtp, Options(limit=1), ("a", "b", "c"))
    assert "it will be sent again" in report.failures[0].why
    assert report.failures[0].why.endswith("(delivered to a)")
    lmtp.instead = lambda _: None
    got_by(lmtp)
    assert fetch(server, lmtp, Options(limit=1), ("a", "b", "c")).fetched == 1
    assert got_by(lmtp) == [(b"b", b"c")]


def test_who_has_it_is_kept_when_the_process_is_killed(server: ScriptedServer, lmtp: LmtpServer) -> None:
    lmtp.instead = lambda command: b"450 full\r\n" if command == b". RCPT TO:<b>" else None

    def fetch_and_die() -> None:
        note = Served.note

        def note_and_die(served: Served, delivered: Iterable[str]) -> None:
            note(served, delivered)
            os.kill(os.getpid(), signal.SIGKILL)

        Served.note = note_and_die  # type: ignore[assignment, method-assign]
        fetch(server, lmtp, Options(delete=True), ("a", "b"))

    assert in_child(fetch_and_die) == -signal.SIGKILL
    assert got_by(lmtp) == [(b"a", b"b")]
    lmtp.instead = lambda _: None
    assert fetch(server, lmtp, Options(delete=True), ("a", "b")).deleted == 3
    assert got_by(lmtp) == [(b"b",), (b"a", b"b"), (b"a", b"b")]


def test_of_messages_that_nobody_can_tell_from_each_other_all_get_all(
    server: ScriptedServer, drop: Maildrop, lmtp: LmtpServer
) -> None:
    drop.messages = [(b"", mail(1)), (b"", mail(1))]
    lmtp.instead = lambda command: b"450 full\r\n" if command == b". RCPT TO:<b>" else None
    assert len(fetch(server, lmtp, Options(), ("a", "b")).failures) == 2
    lmtp.instead = lambda _: None
    got_by(lmtp)
    assert fetch(server, lmtp, Options(), ("a", "b")).fetched == 2
    assert got_by(lmtp) == [(b"a", b"b")] * 2


@pytest.mark.parametrize("codes", [(550, 550), (550, 250), (250, 450), (450, 550)])
def test_what_one_recipient_did_not_get_is_not_deleted(
    server: ScriptedServer, drop: Maildrop, lmtp: LmtpServer, codes: tuple[int, int]
) -> None:
    by_recipient = dict(zip((b"RCPT TO:<a>", b"RCPT TO:<b>"), codes, strict=True))
    lmtp.instead = lambda command: b"%d said\r\n" % by_recipient[command] if command in by_recipient else None
    report = fetch(server, lmtp, Options(delete=True), ("a", "b"))
    assert (report.deleted, len(report.failures), len(drop.messages)) == (0, 3, 3)
    lmtp.instead = lambda _: None
    refused = fetch(server, lmtp, Options(), ("a", "b")).refused
    assert len(refused) == (0 if 450 in codes else 3)


def test_a_server_that_is_lost_behind_the_message_is_doubtful_which_is_said_and_it_comes_again(
    server: ScriptedServer, drop: Maildrop, lmtp: LmtpServer
) -> None:
    seen = itertools.count()
    lmtp.instead = lambda command: b"" if command.startswith(b". ") and next(seen) == 1 else None
    report = fetch(server, lmtp, Options(delete=True))
    assert [named.uid for named in report.failures] == [b"u2"]
    assert "it will be sent again" in report.failures[0].why
    assert (report.deleted, report.error, lmtp.connections) == (2, None, 2)
    assert fetch(server, lmtp, Options(delete=True)).deleted == 1
    assert [got.content for got in lmtp.got].count(mail(2)) == 2
    assert drop.messages == []


def test_a_connection_that_was_closed_meanwhile_is_made_anew(server: ScriptedServer, lmtp: LmtpServer) -> None:
    seen = itertools.count()
    lmtp.instead = lambda command: b"" if command.startswith(b"MAIL") and next(seen) == 1 else None
    report = fetch(server, lmtp)
    assert (report.fetched, report.failures, lmtp.connections) == (3, [], 2)


@pytest.mark.parametrize(
    "reply", [b"nonsense\r\n", b"250", b"250ok\r\n", b"250-\r\n" * 200, b"2" * 9000 + b"\r\n", b"999 x\r\n", b"\r\n"]
)
@pytest.mark.parametrize("at", [b"greeting", b"LHLO", b"MAIL", b". "])
def test_a_server_that_says_nonsense_loses_nothing(
    server: ScriptedServer, drop: Maildrop, lmtp: LmtpServer, at: bytes, reply: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmtp.instead = lambda command: reply if command.startswith(at) else None
    with monkeypatch.context() as patched:
        patched.setattr(_lmtp_session, "SECONDS", 0.2)
        report = fetch(server, lmtp, Options(delete=True))
    assert (report.fetched, report.deleted, len(drop.messages)) == (0, 0, 3)
    assert report.exit_status in {1, 5}
    lmtp.instead = lambda _: None
    assert fetch(server, lmtp, Options(delete=True)).deleted == 3


def test_who_does_not_answer_at_all_ends_the_fetch_before_anybody_logs_in(
    server: ScriptedServer, drop: Maildrop, lmtp: LmtpServer
) -> None:
    report = fetch_mailbox(account_of(server), "lmtp:/nowhere/socket")
    assert isinstance(report.error, DestinationError)
    assert (report.exit_status, drop.sessions) == (5, 0)
    lmtp.instead = lambda command: b"554 not for you\r\n" if command == b"greeting" else None
    report = fetch(server, lmtp)
    assert "554 not for you" in str(report.error)


def test_the_word_to_stop_ends_the_wait_for_a_reply(server: ScriptedServer, lmtp: LmtpServer) -> None:
    stop, asked = Stop(), threading.Event()

    def instead(command: bytes) -> bytes | None:
        if command.startswith(b". "):
            asked.set()
            # Its reply comes behind the word: who goes on waiting for it takes the message for delivered.
            stop.say()
        return None

    lmtp.instead = instead
    with pytest.raises(KeyboardInterrupt):
        run_job(Job(account_of(server), f"lmtp:{lmtp.where}"), Surroundings(stop=stop))
    assert asked.is_set()
    lmtp.instead = lambda _: None
    assert fetch(server, lmtp).fetched == len(MAILS)


def test_a_connection_that_was_being_made_when_the_word_came_is_closed() -> None:
    closed: list[str] = []

    class Session:
        def close(self) -> None:
            closed.append("closed")

        def quit(self) -> None:
            closed.append("ended")

    class Slow(ServerDestination[Session]):
        def connect(self) -> Session:
            self.hurry()
            return Session()

    slow = Slow()
    slow.open()
    assert closed == ["closed"]
    slow.close()
    assert closed == ["closed", "ended"]


def test_content_that_would_end_itself_stays_content(lmtp: LmtpServer) -> None:
    evil = b"Subject: x\r\n\r\n.\r\nMAIL FROM:<evil>\r\n\n.\nRCPT TO:<you>\n\r.\rDATA\r\n..\r\n.x"
    with MailboxServer([evil]) as server:
        report = run_job(Job(account_of(server), f"lmtp:{lmtp.where}"))
    assert (report.fetched, len(lmtp.got)) == (1, 1)
    assert not any(command.startswith(b"MAIL FROM:<evil") for command in lmtp.commands)
    lines = evil.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    assert lmtp.got[0].content.split(b"\r\n")[: len(lines)] == lines


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_every_short_content_is_sent_with_crlf_and_doubled_dots(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "PIECE_OCTETS", piece)
    for length in range(6):
        for octets in itertools.product((b"a", b".", b"\r", b"\n"), repeat=length):
            content = b"".join(octets)
            sent = b"".join(smtp_data(io.BytesIO(content)))
            lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            if lines[-1] == b"":
                lines.pop()
            assert sent == b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in lines) + b".\r\n"


def test_eight_bits_and_names_beyond_ascii_are_announced(lmtp: LmtpServer) -> None:
    with MailboxServer([b"From: a@example.org\r\n\r\ncaf\xc3\xa9\r\n"]) as server:
        run_job(Job(account_of(server), f"lmtp:{lmtp.where}", recipient="josé@example.org"))
    assert lmtp.got[0].mail.endswith(b" BODY=8BITMIME SMTPUTF8")
    assert lmtp.got[0].recipients == ["RCPT TO:<josé@example.org>".encode()]


def test_with_a_context_there_is_tls_or_nothing(server: ScriptedServer, drop: Maildrop) -> None:
    with MailboxServer(tls=True) as tls, LmtpServer() as lmtp:
        context = tls.client_context
        context.check_hostname = False
        job = Job(account_of(server), f"lmtp:{lmtp.where}", to_context=context)
        lmtp.instead = lambda command: b"502 no\r\n" if command == b"STARTTLS" else None
        report = run_job(job)
        assert "refused STARTTLS" in str(report.error)
        assert drop.sessions == 0


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ("[::1]:24", ("::1", 24)),
        ("[fe80::1%eth0]:24", ("fe80::1%eth0", 24)),
        ("[fe80::1%vlan-1.2]:65535", ("fe80::1%vlan-1.2", 65535)),
        ("mail.example.org:1", ("mail.example.org", 1)),
        ("/run/a b:24", "/run/a b:24"),
    ],
)
def test_words_name_a_server_by_name_by_address_or_by_its_socket(words: str, where: object) -> None:
    with mock.patch(f"{Lmtp.__module__}.LmtpSession") as session:
        Lmtp(words, Particulars(user="me")).open()
    assert session.call_args.args[0] == where


@pytest.mark.parametrize("user", ["a>b", "<a", "a\x01b"])
def test_who_logs_in_under_a_name_that_is_no_recipient_is_told_to_name_one(user: str, lmtp: LmtpServer) -> None:
    with pytest.raises(DestinationError, match=r"name somebody \(recipient\)"):
        Lmtp(lmtp.where, Particulars(user=user)).open()
    assert lmtp.connections == 0


@pytest.mark.parametrize(
    "words",
    [
        "",
        "host",
        "host:",
        "host:0",
        "host:65536",
        ":24",
        "a b:24",
        "user@host:24",
        "x/y:24",
        "[fe80::1%]:24",
        "[::1%a b]:24",
    ],
)
def test_words_that_name_no_server_are_an_error_in_words(words: str, server: ScriptedServer) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        fetch_mailbox(account_of(server), f"lmtp:{words}")
