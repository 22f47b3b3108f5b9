"""`imaps:`: each answer decides about a message, and one in doubt is looked for before it is appended again."""

import itertools
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from commandline import PASSWORD, plain_url, pop3fast
from fetching import in_child
from imap import CAPABILITIES, ImapServer, Kept
from maildrops import Maildrop, account_of, mail
from pop3fast.fetch import AccountState, DestinationError, Entry, FetchReport, Job, Options, fetch_mailbox
from pop3fast.fetch._retrying import Surroundings, run_job
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.destinations import _imap_session
from pop3fast.fetch.destinations._imap import (
    GATHERED,
    IN_FLIGHT,
    SMALL_OCTETS,
    Imap,
    Outgoing,
    _places_of,
    internal_date,
    parse_imap,
    utf7,
)
from pop3fast.fetch.destinations._imap_session import Answer, ImapSession
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.testing import MailboxServer
from pop3fast.testing._mailbox_server import CERTIFICATE
from scripted import ScriptedServer

MAILS = [(b"u%d" % number, mail(number)) for number in range(1, 5)]
SECRET = "correct horse"


def server_side() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.fixture
def imap() -> Iterator[ImapServer]:
    with ImapServer(server_side()) as imap:
        yield imap


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def job_to(server: ScriptedServer, imap: ImapServer, trusting: ssl.SSLContext, options: Options | None = None) -> Job:
    to = f"imaps://me@127.0.0.1:{imap.port}/Old%20mail"
    return Job(
        account_of(server), to, None, options or Options(delete=True), to_password=lambda: SECRET, to_context=trusting
    )


def fetch(server: ScriptedServer, imap: ImapServer, trusting: ssl.SSLContext) -> FetchReport:
    return run_job(job_to(server, imap, trusting))


@pytest.mark.parametrize(
    "capabilities", [b"IMAP4rev1 LITERAL+ UIDPLUS SASL-IR AUTH=PLAIN", b"IMAP4rev1 AUTH=PLAIN", b"IMAP4rev1"]
)
def test_each_message_is_appended_unread_with_its_date_and_deleted(
    server: ScriptedServer, drop: Maildrop, trusting: ssl.SSLContext, capabilities: bytes
) -> None:
    received = b"Received: by b; Mon, 5 Jan 2026 10:00:00 +0100\r\nReceived: by a; Sun, 4 Jan 2026 1:0:0 +0000\r\n"
    drop.messages[0] = (b"u1", received + mail(1))
    with ImapServer(server_side(), capabilities=capabilities) as imap:
        report = fetch(server, imap, trusting)
        assert (report.fetched, report.deleted, report.exit_status, report.error) == (4, 4, 0, None)
        assert [kept.content for kept in imap.kept] == [received + mail(1), mail(2), mail(3), mail(4)]
        assert imap.kept[0].head == b'"Old mail" "05-Jan-2026 10:00:00 +0100"'
        assert imap.connections == 1
        assert b'STATUS "Old mail" (UIDVALIDITY)' in imap.commands
    assert drop.messages == []


@pytest.mark.parametrize(
    "answer", [b"NO [OVERQUOTA] full\x1b", b"NO no", b"NO [TOOBIG] large", b"NO [LIMIT] x", b"BAD what"]
)
def test_an_answer_decides_about_its_message_and_the_others_go_on(
    server: ScriptedServer, drop: Maildrop, imap: ImapServer, trusting: ssl.SSLContext, answer: bytes
) -> None:
    seen = itertools.count()
    imap.instead = lambda command: b"TAG %s\r\n" % answer if command == b"." and next(seen) in {1, 2} else None
    report = fetch(server, imap, trusting)
    assert [named.uid for named in report.failures] == [b"u2", b"u3"]
    assert all(named.why.isprintable() for named in report.failures)
    assert (report.fetched, report.deleted, report.exit_status, report.error) == (2, 2, 1, None)
    assert [uid for uid, _ in drop.messages] == [b"u2", b"u3"]
    final = answer.startswith((b"BAD", b"NO [TOOBIG]", b"NO [LIMIT]"))
    imap.kept.clear()
    report = fetch(server, imap, trusting)
    assert (len(report.refused), report.fetched) == ((2, 0) if final else (0, 2))


@pytest.mark.parametrize("arrived", [True, False])
def test_what_is_in_doubt_is_looked_for_and_appended_again_only_where_it_is_not(
    server: ScriptedServer, drop: Maildrop, imap: ImapServer, trusting: ssl.SSLContext, *, arrived: bool
) -> None:
    seen = itertools.count()
    imap.instead = lambda command: b"" if command == b"." and next(seen) == 1 else None
    report = fetch(server, imap, trusting)
    assert report.failures
    assert all("it will be looked for" in named.why for named in report.failures)
    assert len(drop.messages) == 4 - report.deleted == len(report.failures)
    if not arrived:
        imap.kept.pop()
    imap.instead = lambda _: None
    report = fetch(server, imap, trusting)
    assert (report.failures, report.error) == ([], None)
    assert sorted(kept.content for kept in imap.kept) == sorted(content for _, content in MAILS)
    assert drop.messages == []


@pytest.mark.parametrize("at", [b"EXAMINE", b"UID SEARCH", b"UID FETCH"])
def test_while_the_server_cannot_look_for_what_is_in_doubt_it_is_not_appended_again(
    server: ScriptedServer, drop: Maildrop, imap: ImapServer, trusting: ssl.SSLContext, at: bytes
) -> None:
    del drop.messages[1:]
    imap.judge = lambda _: b""
    assert fetch(server, imap, trusting).failures
    imap.judge = lambda _: None
    imap.instead = lambda command: b"TAG NO [UNAVAILABLE] later\r\n" if command.startswith(at) else None
    report = fetch(server, imap, trusting)
    assert (report.deleted, [named.why for named in report.failures]) == (0, ["NO [UNAVAILABLE] later"])
    imap.instead = lambda _: None
    assert fetch(server, imap, trusting).deleted == 1
    assert [kept.content for kept in imap.kept] == [mail(1)]


def test_another_message_with_the_same_size_and_message_id_is_not_taken_for_one_in_doubt(
    server: ScriptedServer, drop: Maildrop, imap: ImapServer, trusting: ssl.SSLContext
) -> None:
    del drop.messages[1:]
    other = mail(1).replace(b"Subject: 1", b"Subject: 2")
    assert other != mail(1)
    imap.kept = [Kept(b"", other)]
    imap.judge = lambda _: b""
    assert fetch(server, imap, trusting).failures
    del imap.kept[1:]
    imap.judge = lambda _: None
    assert fetch(server, imap, trusting).deleted == 1
    assert [kept.content for kept in imap.kept] == [other, mail(1)]


@pytest.fixture
def many(drop: Maildrop) -> list[bytes]:
    """More messages than go in one command."""
    drop.messages = [(b"u%d" % number, mail(number)) for number in range(2 * GATHERED + 3)]
    return [content for _, content in drop.messages]


@pytest.fixture
def multi() -> Iterator[ImapServer]:
    with ImapServer(server_side(), capabilities=CAPABILITIES + b" MULTIAPPEND") as imap:
        yield imap


@pytest.fixture(params=[b"", b" MULTIAPPEND"], ids=["one", "many"])
def either(request: pytest.FixtureRequest) -> Iterator[ImapServer]:
    """Return a server that takes one message in a command, and one that takes many."""
    with ImapServer(server_side(), capabilities=CAPABILITIES + request.param) as imap:
        yield imap


def test_small_messages_go_many_in_one_command_and_large_ones_by_themselves(
    server: ScriptedServer, drop: Maildrop, multi: ImapServer, trusting: ssl.SSLContext, many: list[bytes]
) -> None:
    many[GATHERED + 2] = mail(99, SMALL_OCTETS)
    drop.messages[GATHERED + 2] = (b"large", many[GATHERED + 2])
    report = fetch(server, multi, trusting)
    assert (report.deleted, report.failures, report.error) == (len(many), [], None)
    assert [kept.content for kept in multi.kept] == many
    assert multi.groups == [GATHERED, 2, 1, GATHERED]
    assert fetch(server, multi, trusting).fetched == 0


def test_that_messages_are_going_to_be_sent_is_durable_before_it_is_true(
    server: ScriptedServer,
    either: ImapServer,
    trusting: ssl.SSLContext,
    many: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: list[bool] = []
    note = AccountState.note_attempt

    def note_it(memory: AccountState, uid: bytes, content: bytes, attempts: int, *, durable: bool = True) -> None:
        note(memory, uid, content, attempts, durable=durable)
        noted.append(durable)

    monkeypatch.setattr(AccountState, "note_attempt", note_it)
    seen: list[int] = []

    def judge(messages: list[Kept]) -> None:
        seen.append(len(messages))
        # A wait for the disk is for all that was noted before, too.
        assert len(noted) - noted[::-1].index(True) >= sum(seen)

    either.judge = judge
    assert fetch(server, either, trusting).deleted == len(many)
    assert noted == [*[*[False] * (GATHERED - 1), True] * 2, False, False, True]
    assert sum(seen) == len(many)


def test_no_more_are_on_their_way_than_may_come_in_doubt_and_each_is_known_by_where_it_is(
    server: ScriptedServer,
    either: ImapServer,
    trusting: ssl.SSLContext,
    many: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_their_way: list[int] = []
    places: list[bytes] = []
    begin, remember = ImapSession.begin_appends, AccountState.remember
    noted: list[Imap] = []

    def begin_it(session: ImapSession, folder: bytes, messages: list[tuple[bytes, bytes]]) -> bytes:
        on_their_way.append(sum(len(pending.messages) for pending in noted[0]._pending))
        return begin(session, folder, messages)

    def remember_it(memory: AccountState, entries: list[Entry]) -> None:
        places.extend(entry.place for entry in entries)
        remember(memory, entries)

    def connect(to: Imap) -> ImapSession:
        noted.append(to)
        return make(to)

    make = Imap.connect
    monkeypatch.setattr(Imap, "connect", connect)
    monkeypatch.setattr(ImapSession, "begin_appends", begin_it)
    monkeypatch.setattr(AccountState, "remember", remember_it)
    assert fetch(server, either, trusting).deleted == len(many)
    assert max(on_their_way) == IN_FLIGHT
    assert places == [b"7:%d" % uid for uid in range(1, len(many) + 1)]


@pytest.mark.parametrize(
    ("code", "places"),
    [
        ("APPENDUID 7 3:5", [b"7:3", b"7:4", b"7:5"]),
        ("APPENDUID 7 3,5:6", [b"7:3", b"7:5", b"7:6"]),
        *((f"APPENDUID {words}", [b""] * 3) for words in ("7 3", "7 1:4294967295", "7 5:3", "7", "7 3:", "x 3:5")),
        ("APPENDUID 7 " + "9" * 5000, [b""] * 3),
        ("", [b""] * 3),
    ],
)
def test_where_messages_are_is_what_the_server_says_of_all_of_them_or_not_known(code: str, places: list[bytes]) -> None:
    assert _places_of(Answer("OK", f"[{code}] done"), 3) == places


@pytest.mark.parametrize("answer", [b"NO no", b"BAD what"])
def test_when_a_command_of_many_fails_each_goes_by_itself_and_only_the_bad_one_is_named(
    server: ScriptedServer,
    drop: Maildrop,
    multi: ImapServer,
    trusting: ssl.SSLContext,
    many: list[bytes],
    answer: bytes,
) -> None:
    def judge(messages: list[Kept]) -> bytes | None:
        return b"TAG %s\r\n" % answer if many[3] in [kept.content for kept in messages] else None

    multi.judge = judge
    report = fetch(server, multi, trusting)
    assert [named.uid for named in report.failures] == [b"u3"]
    assert (report.deleted, report.error) == (len(many) - 1, None)
    assert sorted(kept.content for kept in multi.kept) == sorted([*many[:3], *many[4:]])
    assert [uid for uid, _ in drop.messages] == [b"u3"]
    multi.judge = lambda _: None
    report = fetch(server, multi, trusting)
    assert (report.fetched, len(report.refused)) == ((0, 1) if answer.startswith(b"BAD") else (1, 0))


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("arrived", [True, False])
def test_of_many_in_one_command_whose_answer_is_lost_none_is_there_twice_and_none_lost(
    server: ScriptedServer,
    drop: Maildrop,
    multi: ImapServer,
    trusting: ssl.SSLContext,
    many: list[bytes],
    which: int,
    *,
    arrived: bool,
) -> None:
    seen = itertools.count()
    lost: list[Kept] = []

    def judge(messages: list[Kept]) -> bytes | None:
        if next(seen) != which:
            return None
        lost.extend(messages)
        return b""

    multi.judge = judge
    report = fetch(server, multi, trusting)
    assert len(report.failures) >= len(lost)
    assert report.deleted + len(report.failures) == len(many)
    if not arrived:
        multi.kept = [kept for kept in multi.kept if kept not in lost]
    multi.judge = lambda _: None
    report = fetch(server, multi, trusting)
    assert (report.failures, report.error) == ([], None)
    assert sorted(kept.content for kept in multi.kept) == sorted(many)
    assert drop.messages == []


def test_what_was_gathered_and_not_sent_when_the_word_to_stop_came_stays_new(
    server: ScriptedServer, either: ImapServer, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = Imap._gather

    def gather_and_stop(to: Imap, outgoing: Outgoing, message: OutgoingMessage) -> None:
        gather(to, outgoing, message)
        to.hurry()

    with monkeypatch.context() as patched:
        patched.setattr(Imap, "_gather", gather_and_stop)
        report = fetch(server, either, trusting)
    assert (report.fetched, report.deleted, len(report.failures), either.kept) == (0, 0, 4, [])
    assert all(named.why.startswith("it was not sent") for named in report.failures)
    assert fetch(server, either, trusting).deleted == 4
    assert [kept.content for kept in either.kept] == [content for _, content in MAILS]


@pytest.mark.parametrize("place", range(1, 12))
def test_killed_at_any_step_nothing_is_lost_and_nothing_there_twice(
    server: ScriptedServer,
    drop: Maildrop,
    either: ImapServer,
    trusting: ssl.SSLContext,
    place: int,
) -> None:
    def process() -> None:
        steps = itertools.count(1)
        remember, note = AccountState.remember, AccountState.note_attempt

        def tick() -> None:
            if next(steps) == place:
                os.kill(os.getpid(), signal.SIGKILL)

        def remember_in_steps(memory: AccountState, entries: list[Entry]) -> None:
            tick()
            remember(memory, entries)
            tick()

        def note_in_steps(
            memory: AccountState, uid: bytes, content: bytes, attempts: int, *, durable: bool = True
        ) -> None:
            tick()
            note(memory, uid, content, attempts, durable=durable)
            tick()

        AccountState.remember = remember_in_steps  # type: ignore[assignment, method-assign]
        AccountState.note_attempt = note_in_steps  # type: ignore[assignment, method-assign]
        fetch(server, either, trusting)

    assert in_child(process) in {0, -signal.SIGKILL}
    report = fetch(server, either, trusting)
    assert (report.failures, report.error) == ([], None)
    assert sorted(kept.content for kept in either.kept) == sorted(content for _, content in MAILS)
    assert drop.messages == []


@pytest.mark.parametrize("at", [b"greeting", b"CAPABILITY", b"AUTHENTICATE", b"STATUS"])
@pytest.mark.parametrize("answer", [b"", b"* BYE gone\r\n", b"nonsense\r\n", b"TAG NO no\r\n", b"x" * 70000])
def test_who_cannot_be_logged_in_to_ends_the_fetch_before_anybody_asks_for_mail(
    server: ScriptedServer, drop: Maildrop, imap: ImapServer, trusting: ssl.SSLContext, at: bytes, answer: bytes
) -> None:
    imap.instead = lambda command: answer if command.startswith(at) else None
    report = fetch(server, imap, trusting)
    if at != b"CAPABILITY" or answer != b"TAG NO no\r\n":
        assert isinstance(report.error, DestinationError)
        assert (report.exit_status, drop.sessions) == (5, 0)
        assert SECRET not in f"{report.error!r}{report.error}"
    assert len(drop.messages) == (0 if report.error is None else 4)


@pytest.mark.parametrize("at", [b"CAPABILITY", b"STATUS", b"APPEND"])
@pytest.mark.parametrize(
    "said", [b"* 1 EXISTS\r\n", b"* X {1}\r\na {1}\r\n", b"* X {1}\r\na\r\n"], ids=["line", "literal", "both"]
)
def test_a_server_whose_answer_has_no_end_is_given_up(
    server: ScriptedServer,
    imap: ImapServer,
    trusting: ssl.SSLContext,
    at: bytes,
    said: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_imap_session, "MOST_ANSWER", 10_000)
    octets = said * (20_000 // len(said))

    def instead(command: bytes) -> bytes | None:
        return octets if command.startswith(b"." if at == b"APPEND" else at) else None

    imap.instead = instead
    report = fetch(server, imap, trusting)
    assert "has no end" in f"{report.error}{report.failures}"
    assert report.fetched == 0


def test_what_a_server_says_unasked_is_no_end_of_it(
    server: ScriptedServer, imap: ImapServer, trusting: ssl.SSLContext
) -> None:
    imap.instead = lambda command: b"* 1 EXISTS\r\n" * 5_000 + b"TAG OK done\r\n" if command[:6] == b"STATUS" else None
    assert (fetch(server, imap, trusting).fetched, imap.connections) == (4, 1)


def test_a_certificate_that_nobody_vouches_for_is_refused(server: ScriptedServer, imap: ImapServer) -> None:
    report = fetch_mailbox(account_of(server), f"imaps://me@127.0.0.1:{imap.port}/", to_password=SECRET)
    assert isinstance(report.error, DestinationError)
    assert "certificate" in str(report.error).lower()
    assert imap.commands == []


@pytest.mark.parametrize("answer", [b"TAG NO no\r\n", b"TAG BAD what\r\n", b""])
def test_nothing_is_said_in_clear_text_to_a_server_that_offers_no_tls(
    answer: bytes, server: ScriptedServer, trusting: ssl.SSLContext
) -> None:
    class InClearText(ImapServer):
        def secured(self, sock: socket.socket) -> socket.socket:
            return sock

    with InClearText(trusting) as imap:
        imap.instead = lambda command: answer if command == b"STARTTLS" else None
        job = Job(account_of(server), f"imap://me@127.0.0.1:{imap.port}/", to_password=SECRET, to_context=trusting)
        report = run_job(job)
        assert isinstance(report.error, DestinationError)
        assert imap.commands == [b"STARTTLS"]


def test_without_a_password_it_says_which_option_gives_one(
    server: ScriptedServer, imap: ImapServer, trusting: ssl.SSLContext
) -> None:
    report = fetch_mailbox(account_of(server), f"imaps://me@127.0.0.1:{imap.port}/", to_context=trusting)
    assert "--to-password-command" in str(report.error)


def test_a_token_logs_in_and_no_secret_is_shown(
    server: ScriptedServer, imap: ImapServer, trusting: ssl.SSLContext
) -> None:
    to = f"imaps://me%40example.org@127.0.0.1:{imap.port}/"
    job = Job(account_of(server), to, to_token="t0k3n", to_context=trusting)
    assert run_job(job).fetched == 4
    assert any(command.startswith(b"AUTHENTICATE XOAUTH2 ") for command in imap.commands)
    assert "t0k3n" not in repr(job)
    with pytest.raises(ValueError, match="one of to_password and to_token"):
        fetch_mailbox(account_of(server), to, to_token="a", to_password="b")


def test_the_command_line_logs_in_there_and_shows_no_secret(imap: ImapServer, tmp_path: Path) -> None:
    with MailboxServer([mail(1)], password=PASSWORD) as server:
        env = {"POP3FAST_PASSWORD": PASSWORD, "XDG_STATE_HOME": str(tmp_path / "state")}
        arguments = ["--to", f"imaps://me@localhost:{imap.port}/Old", "--to-ca-file", str(CERTIFICATE)]
        command = ("fetch", plain_url(server), *arguments, "--to-password-command", f"echo '{SECRET}'")
        ran = pop3fast(tmp_path, *command, env=env)
        assert "1 message fetched" in ran.out
        assert SECRET not in ran.out + ran.err
        table = {
            "url": plain_url(server),
            "to": arguments[1],
            "to-ca-file": arguments[3],
            "to-password-command": "echo x",
        }
        config = tmp_path / "config.toml"
        config.write_text("[work]\n" + "".join(f'{key} = "{value}"\n' for key, value in table.items()))
        assert "can be written to" in pop3fast(tmp_path, "check", "work", "--config", str(config), env=env).out
        both = (*command, "--to-token-command", "echo x")
        assert "say one of --to-password-command" in pop3fast(tmp_path, *both, env=env, status=2).err
    assert [kept.content for kept in imap.kept] == [mail(1)]


def test_a_folder_that_is_missing_is_made_when_that_is_asked_for(
    server: ScriptedServer, imap: ImapServer, trusting: ssl.SSLContext
) -> None:
    imap.instead = lambda command: b"TAG NO no such folder\r\n" if command.startswith(b"STATUS") else None
    report = run_job(job_to(server, imap, trusting))
    assert "--to-create" in str(report.error)
    assert imap.kept == []
    report = run_job(replace(job_to(server, imap, trusting), to_create=True))
    assert (report.fetched, report.error) == (4, None)
    assert imap.commands.index(b'CREATE "Old mail"') < imap.commands.index(b'SUBSCRIBE "Old mail"')
    imap.instead = lambda command: b"TAG NO not yours\r\n" if command.startswith((b"STATUS", b"CREATE")) else None
    imap.commands.clear()
    report = run_job(replace(job_to(server, imap, trusting, Options(fetch_again=True)), to_create=True))
    assert "make the folder of" in str(report.error)
    assert "not yours" in str(report.error)
    assert b'SUBSCRIBE "Old mail"' not in imap.commands
    imap.instead = lambda command: b"TAG NO no\r\n" if command.startswith((b"STATUS", b"SUBSCRIBE")) else None
    report = run_job(replace(job_to(server, imap, trusting, Options(fetch_again=True)), to_create=True))
    assert (report.error, b'SUBSCRIBE "Old mail"' in imap.commands) == (None, True)


def test_the_word_to_stop_ends_the_wait_for_an_answer(
    server: ScriptedServer, imap: ImapServer, trusting: ssl.SSLContext
) -> None:
    stop = Stop()

    def instead(command: bytes) -> bytes | None:
        if command == b".":
            # Its answer comes behind the word: who goes on waiting for it takes the message for delivered.
            stop.say()
        return None

    imap.instead = instead
    with pytest.raises(KeyboardInterrupt):
        run_job(job_to(server, imap, trusting), Surroundings(stop=stop))
    imap.instead = lambda _: None
    assert fetch(server, imap, trusting).fetched == len(MAILS)


def test_messages_that_are_alike_and_have_no_unique_ids_are_all_appended_and_only_once(
    server: ScriptedServer, drop: Maildrop, imap: ImapServer, trusting: ssl.SSLContext
) -> None:
    drop.messages = [(b"", mail(number)) for number in (1, 2, 1)]
    for _ in range(2):
        report = run_job(job_to(server, imap, trusting, Options()))
        assert (report.failures, report.exit_status, report.error) == ([], 0, None)
        assert [kept.content for kept in imap.kept] == [mail(1), mail(2), mail(1)]


def test_more_alike_messages_than_go_out_at_a_time_are_no_doubt_about_each_other(
    server: ScriptedServer, drop: Maildrop, imap: ImapServer, trusting: ssl.SSLContext
) -> None:
    """Behind the first ones is kept that they were sent, and of a later one that is alike it is not to be believed."""
    drop.messages = [(b"", mail(1))] * (GATHERED + 2)
    report = run_job(job_to(server, imap, trusting, Options()))
    assert (report.fetched, report.failures, report.error) == (GATHERED + 2, [], None)
    assert [kept.content for kept in imap.kept] == [mail(1)] * (GATHERED + 2)
    assert not [command for command in imap.commands if command.startswith(b"UID SEARCH")]


def test_lines_that_end_in_lf_are_appended_with_crlf(imap: ImapServer, trusting: ssl.SSLContext) -> None:
    with MailboxServer([b"Subject: x\r\n\r\na\nb\rc\r\n"]) as server:
        to = f"imaps://me@127.0.0.1:{imap.port}/"
        assert run_job(Job(account_of(server), to, to_password=SECRET, to_context=trusting)).fetched == 1
    assert imap.kept[0].content == b"Subject: x\r\n\r\na\r\nb\r\nc\r\n"


@pytest.mark.parametrize(
    ("url", "folder", "user"),
    [
        ("imaps://me@h/", "INBOX", "me"),
        ("imaps://h", "INBOX", "user"),
        ("imap://me%40e.org@h:1143/A/B%20c", "A/B c", "me@e.org"),
        ("imaps://me@[::1]/Entw%C3%BCrfe", "Entwürfe", "me"),
    ],
)
def test_what_a_url_says(url: str, folder: str, user: str) -> None:
    place = parse_imap(url, "user")
    assert (place.folder, place.user) == (folder, user)


@pytest.mark.parametrize(
    "url", ["imaps:", "imaps://", "imaps:///x", "imaps://h:x/", "imaps://h/?q", "imaps://me:secret@h/", "imaps://h/%0a"]
)
def test_a_url_that_makes_no_sense_is_an_error_that_does_not_quote_it(server: ScriptedServer, url: str) -> None:
    with pytest.raises(ValueError, match=r"IMAP folder is|--to-password-command|control character") as caught:
        fetch_mailbox(account_of(server), url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "encoded"), [("A&B", "A&-B"), ("Entwürfe", "Entw&APw-rfe"), ("日本語", "&ZeVnLIqe-"), ("plain", "plain")]
)
def test_folders_are_named_in_modified_utf7(folder: str, encoded: str) -> None:
    assert utf7(folder) == encoded


def test_the_date_is_that_of_the_receipt_or_else_of_the_message() -> None:
    assert internal_date(b"Received: x; nonsense\r\nDate: Tue, 6 Jan 2026 12:00:00 -0500\r\n") == (
        b"06-Jan-2026 12:00:00 -0500"
    )
    assert len(internal_date(b"Subject: none")) == len(b"06-Jan-2026 12:00:00 -0500")
    assert internal_date(b"Date: Thu, 1 Jan 1970 00:00:00 +0100\r\n") == b"01-Jan-1970 00:00:00 +0100"


@pytest.mark.parametrize("date", ["Wed, 31 Dec 1969 23:59:59 -0800", "Mon, 1 Jan 0100 00:00:00 +0000"])
def test_the_date_of_a_clock_that_was_never_set_is_no_date(date: str) -> None:
    """With it a server would refuse the message for good."""
    assert int(internal_date(f"Date: {date}\r\n".encode())[7:11]) >= datetime.now(UTC).year - 1
