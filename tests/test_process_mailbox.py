"""`process_mailbox`: a function is called with each message, and nothing that it does loses one or calls it done.

Killed at each step and at random, with a database whose unique column has each message exactly once.
"""

import contextlib
import os
import random
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from destinations import Box
from fetching import in_child
from maildrops import Maildrop, account_of, delivered, mail
from pop3fast.fetch import (
    AccountState,
    DestinationError,
    Entry,
    FetchReport,
    HandledMessage,
    MessageDeferred,
    MessageRefused,
    account_status,
    process_mailbox,
    process_many,
)
from pop3fast.fetch import _writer as writer
from pop3fast.fetch.memory import _state_schema
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer
from shapes import GREETING

KILLS = int(os.environ.get("POP3FAST_KILLS", "40"))
"""``POP3FAST_KILLS=1000 pytest -k at_random`` is a long run."""

MAILS = [(b"u%d" % number, mail(number)) for number in range(1, 5)]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return str(tmp_path / "mail.sqlite")


class Program:
    """A handler that keeps what it is called with, and fails where it is told to."""

    def __init__(self, *fails: bytes, error: BaseException | None = None) -> None:
        self.fails = set(fails)
        self.error = error or ValueError("bad\x1b[2J mail")
        self.done: list[bytes] = []
        self.called: list[tuple[bytes, int]] = []

    def __call__(self, message: HandledMessage) -> None:
        self.called.append((message.content, message.attempt))
        if message.content in self.fails:
            raise self.error
        self.done.append(message.content)


def contents(*numbers: int) -> list[bytes]:
    return [mail(number) for number in numbers]


def test_each_message_is_handled_once_in_this_thread_and_deleted_when_it_is_done(
    server: ScriptedServer, drop: Maildrop, state: str
) -> None:
    got: list[tuple[object, ...]] = []

    def handle(message: HandledMessage) -> None:
        with message.open() as file:
            got.append((message.uid, message.number, message.octets, file.read(), message.attempt))
        assert message.email()["Subject"] == str(message.number)
        assert threading.current_thread() is threading.main_thread()

    report = process_mailbox(account_of(server), handle, state=state)
    assert (report.fetched, report.exit_status, report.deleted) == (4, 0, 0)
    assert got == [(f"u{n}", n, len(mail(n)), mail(n), 1) for n in range(1, 5)]
    report = process_mailbox(account_of(server), handle, state=state, delete=True)
    assert (report.fetched, report.deleted, len(got)) == (0, 4, 4)
    assert drop.messages == []


def test_what_fails_stays_new_and_named_and_the_others_go_on(
    server: ScriptedServer, drop: Maildrop, state: str
) -> None:
    program = Program(mail(2))
    report = process_mailbox(account_of(server), program, state=state, delete=True)
    assert (report.fetched, report.deleted, report.exit_status, report.error) == (3, 3, 1, None)
    assert [(named.uid, named.why) for named in report.failures] == [
        (b"u2", "attempt 1 of 3 failed: ValueError: bad\\x1b[2J mail")
    ]
    assert [uid for uid, _ in drop.messages] == [b"u2"]
    program.fails.clear()
    report = process_mailbox(account_of(server), program, state=state, delete=True)
    assert (report.fetched, report.deleted, program.called[-1]) == (1, 1, (mail(2), 2))


def test_after_so_many_attempts_it_is_named_in_each_report_and_tried_again_when_asked(
    server: ScriptedServer, drop: Maildrop, state: str
) -> None:
    program = Program(mail(2))
    account = account_of(server)
    reports = [process_mailbox(account, program, state=state, attempts=2) for _ in range(4)]
    assert [attempt for content, attempt in program.called if content == mail(2)] == [1, 2]
    assert [report.exit_status for report in reports] == [1, 1, 0, 0]
    assert [[named.uid for named in report.left] for report in reports] == [[], [], [b"u2"], [b"u2"]]
    assert len(drop.messages) == 4
    process_mailbox(account, program, state=state, attempts=2, fetch_again=["u2"])
    assert program.called[-1] == (mail(2), 1)
    program.fails.clear()
    assert process_mailbox(account, program, state=state, attempts=2, delete=True).deleted == 4
    assert program.called[-1] == (mail(2), 2)


@pytest.mark.parametrize("kind", ["eml", "maildir", "mbox"])
def test_what_fails_too_often_is_put_aside_and_counts_as_done(
    server: ScriptedServer, drop: Maildrop, state: str, tmp_path: Path, kind: str
) -> None:
    program = Program(mail(2))
    account, to = account_of(server), f"{kind}:{tmp_path}/failed"
    reports = [process_mailbox(account, program, state=state, attempts=2, quarantine=to, delete=True) for _ in range(3)]
    assert [(report.fetched, report.deleted, report.exit_status) for report in reports] == [
        (3, 3, 1),
        (1, 1, 1),
        (0, 0, 0),
    ]
    assert [[named.uid for named in report.quarantined] for report in reports] == [[], [b"u2"], []]
    assert "attempt 2 of 2 failed" in reports[1].failures[0].why
    assert delivered(to) == [mail(2)]
    status = account_status(state, server.host, server.port, account.login)
    assert (status.known, status.failing, status.quarantined) == (4, 0, 1)
    assert drop.messages == []


def test_what_was_put_aside_is_read_back_before_it_is_deleted(
    server: ScriptedServer, drop: Maildrop, state: str, tmp_path: Path
) -> None:
    program = Program(mail(2))
    account, to = account_of(server), f"eml:{tmp_path}/failed"
    process_mailbox(account, program, state=state, attempts=1, quarantine=to)
    (file,) = (tmp_path / "failed").glob("*.eml")
    file.write_bytes(b"damaged")
    report = process_mailbox(account, program, state=state, attempts=1, quarantine=to, delete=True)
    assert (report.deleted, [named.uid for named in report.failures]) == (3, [b"u2"])
    assert [uid for uid, _ in drop.messages] == [b"u2"]


def test_a_quarantine_that_takes_nothing_ends_the_fetch_or_keeps_the_message(
    server: ScriptedServer, drop: Maildrop, state: str
) -> None:
    def refuse(what: str, _: object) -> None:
        if what == "end":
            raise MessageRefused("no")

    def fail(what: str, _: object) -> None:
        if what == "end":
            raise OSError(28, "No space left on device")

    program = Program(mail(2))
    arguments = {"state": state, "attempts": 1, "delete": True}
    report = process_mailbox(account_of(server), program, quarantine=Box(trouble=fail), **arguments)  # type: ignore[arg-type]
    assert isinstance(report.error, DestinationError)
    report = process_mailbox(account_of(server), program, quarantine=Box(trouble=refuse), **arguments)  # type: ignore[arg-type]
    assert report.error is None
    assert ["the quarantine does not take it: no" in named.why for named in report.failures] == [True]
    assert [uid for uid, _ in drop.messages] == [b"u2"]
    assert program.called.count((mail(2), 1)) == 1  # it failed once, and is not tried again for that


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_the_program_passes_through_and_counts_as_an_attempt(
    server: ScriptedServer, drop: Maildrop, state: str, error: BaseException
) -> None:
    program = Program(mail(2), error=error)
    with pytest.raises(type(error)):
        process_mailbox(account_of(server), program, state=state, delete=True)
    assert (program.done, len(drop.messages)) == (contents(1), 4)
    program.fails.clear()
    report = process_mailbox(account_of(server), program, state=state, delete=True)
    assert (report.fetched, report.deleted) == (3, 4)
    assert program.called[2] == (mail(2), 2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pop3fast")]


def test_what_is_done_is_kept_at_once_and_durable_before_it_is_deleted(
    server: ScriptedServer, drop: Maildrop, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def connect(path: str) -> sqlite3.Connection:
        database = _state_schema.connect(path)
        database.set_trace_callback(steps.append)
        return database

    monkeypatch.setattr("pop3fast.fetch.memory._state.connect", connect)
    drop.instead = lambda command: steps.append(command.decode())
    process_mailbox(account_of(server), lambda message: steps.append(f"call {message.uid}"), state=state, delete=True)
    durable, syncs, seen = True, 0, []
    for step in steps:
        if step.startswith("PRAGMA synchronous"):
            durable = step.endswith("FULL")
        elif step == "COMMIT":
            seen.append("sync" if durable else "keep")
        elif step.startswith(("call ", "DELE ")):
            seen.append(step)
    calls = [entry for n in range(1, 5) for entry in ("keep", f"call u{n}", "keep")]
    start = seen.index("call u1") - 1
    assert seen[start : start + len(calls)] == calls  # the attempt is kept before each call, that it is done after it
    syncs = seen[start + len(calls) : seen.index("DELE 1")].count("sync")
    assert 0 < syncs < len(MAILS)


def test_what_was_done_when_the_process_was_killed_is_not_handled_again(
    server: ScriptedServer, drop: Maildrop, state: str, tmp_path: Path
) -> None:
    drop.messages = [(b"", mail(2)), *MAILS, (b"", mail(2))]
    called = tmp_path / "called"

    def handle(message: HandledMessage) -> None:
        with called.open("a") as file:
            file.write(f"{message.uid or ''}{message.attempt} ")
        if message.uid == "u4" and message.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(lambda: process_mailbox(account_of(server), handle, state=state)) == -signal.SIGKILL
    report = process_mailbox(account_of(server), handle, state=state, delete=True)
    assert (report.fetched, report.deleted) == (6, 6)
    assert called.read_text() == "1 u11 u21 u31 u41 u42 1 "


def test_a_handler_may_refuse_a_message_at_once(server: ScriptedServer, state: str) -> None:
    program = Program(mail(2), error=MessageRefused("spam"))
    report = process_mailbox(account_of(server), program, state=state)
    assert "spam; it is not tried again" in report.failures[0].why
    assert [named.uid for named in process_mailbox(account_of(server), program, state=state).refused] == [b"u2"]


def test_messages_without_unique_ids_are_handled_once_and_put_aside_once(
    server: ScriptedServer, drop: Maildrop, state: str, tmp_path: Path
) -> None:
    drop.messages = [(b"", mail(number)) for number in (1, 2, 1)]
    program = Program(mail(2))
    account = account_of(server)
    for _ in range(3):
        process_mailbox(account, program, state=state, attempts=2, quarantine=f"maildir:{tmp_path}/failed")
    assert Counter(program.called) == {(mail(1), 1): 2, (mail(2), 1): 1, (mail(2), 2): 1}
    assert delivered(f"maildir:{tmp_path}/failed") == [mail(2)]


def test_a_large_message_lies_in_a_file_while_it_is_handled(server: ScriptedServer, drop: Maildrop, state: str) -> None:
    drop.messages = [(b"u1", mail(1, 500_000))]
    seen: list[bool] = []

    def handle(message: HandledMessage) -> None:
        one, other = message.open(), message.open()
        seen.append(not isinstance(one, type(other.detach())) if hasattr(other, "detach") else False)
        seen.append(message.content == one.read() == mail(1, 500_000))

    report = process_mailbox(account_of(server), handle, state=state, spool_octets=1000)
    assert (report.fetched, seen) == (1, [True, True])


def test_quirk_q46_a_slow_handler_lets_no_server_end_the_session(
    server: ScriptedServer, drop: Maildrop, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "NUDGE_SECONDS", 0.001)
    heard = threading.Event()
    drop.instead = lambda command: heard.set() if command == b"NOOP" else None
    waited: list[bool] = []
    report = process_mailbox(account_of(server), lambda _: waited.append(heard.wait(20)), state=state, delete=True)
    assert (waited, report.deleted, report.sessions) == ([True] * 4, 4, 1)


def test_the_next_messages_are_received_while_one_is_handled(
    server: ScriptedServer, drop: Maildrop, state: str
) -> None:
    last = threading.Event()
    drop.instead = lambda command: last.set() if command == b"RETR 4" else None
    waited: list[bool] = []
    process_mailbox(account_of(server), lambda _: waited.append(last.wait(20)), state=state)
    assert waited == [True] * 4


def test_progress_is_told_in_this_thread_and_what_it_raises_passes_through(server: ScriptedServer, state: str) -> None:
    told: list[int] = []

    class OddError(Exception):
        pass

    def progress(_: object) -> None:
        assert threading.current_thread() is threading.main_thread()
        told.append(1)
        if len(told) > 2:
            raise OddError

    with pytest.raises(OddError):
        process_mailbox(account_of(server), Program(), state=state, progress=progress)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"attempts": 0}, "attempts is at least 1"),
        ({"spool_octets": -1}, "spool_octets is at least 0"),
        ({"quarantine": "nowhere"}, "a destination is"),
        ({"limit": -1}, "limit is at least 0"),
        ({"delete": True, "delete_after": 3.0}, "one of the two"),
    ],
)
def test_arguments_that_make_no_sense_are_told_at_once(
    server: ScriptedServer, arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        process_mailbox(account_of(server), Program(), **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words):
        process_many([account_of(server)], Program(), **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a handler is a function"):
        process_mailbox(account_of(server), "handle")  # type: ignore[arg-type]


def test_many_mailboxes_are_handled_one_message_at_a_time_in_the_thread_that_takes_the_reports(state: str) -> None:
    inside: list[int] = []
    keys: list[str] = []

    def handle(message: HandledMessage) -> None:
        assert threading.current_thread() is threading.main_thread()
        inside.append(1)
        assert len(inside) == 1
        inside.pop()
        keys.append(message.key)

    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(MailboxServer([mail(1), mail(2)])) for _ in range(12)]
        accounts = [account_of(server) for server in servers]
        reports = [*process_many(accounts, handle, state=state, delete=True, threads=5)]
    assert [(report.fetched, report.deleted, report.error) for report in reports] == [(2, 2, None)] * 12
    assert {report.account for report in reports} == {str(account) for account in accounts}
    assert len(keys) == len({*keys}) == 24


def test_one_object_as_quarantine_of_many_is_used_by_one_fetch_at_a_time(state: str) -> None:
    inside: list[str] = []

    def trouble(what: str, _: object) -> None:
        if what == "open":
            inside.append(what)
        elif what == "close":
            inside.clear()
        assert len(inside) <= 2  # it is opened when a fetch begins and when its session does

    box = Box(trouble=trouble)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(MailboxServer([mail(number)])) for number in range(6)]
        accounts = [account_of(server) for server in servers]
        program = Program(*(mail(number) for number in range(6)))
        reports = [*process_many(accounts, program, state=state, attempts=1, quarantine=box)]
    assert [len(report.quarantined) for report in reports] == [1] * 6
    assert sorted(content for _, content in box.delivered) == sorted(mail(number) for number in range(6))


def test_what_ends_one_mailbox_ends_no_other_and_leaving_the_loop_ends_all(state: str) -> None:
    with MailboxServer([mail(1)]) as good, MailboxServer([mail(2)], password="another") as bad:
        reports = [*process_many([account_of(bad), account_of(good)], Program(), state=state)]
        assert sorted((report.fetched, report.error is None) for report in reports) == [(0, False), (1, True)]
        for report in process_many([account_of(good), account_of(bad)], Program(), state=state):
            assert isinstance(report, FetchReport)
            break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pop3fast")]


def handle_elsewhere(message: HandledMessage) -> None:
    assert threading.current_thread() is not threading.main_thread()
    if message.content == mail(2):
        raise MessageDeferred("later")


def test_with_an_executor_the_handler_is_called_there(state: str) -> None:
    with MailboxServer([mail(1)]) as one, MailboxServer([mail(2)]) as other, ThreadPoolExecutor(2) as executor:
        accounts = [account_of(one), account_of(other)]
        reports = [*process_many(accounts, handle_elsewhere, state=state, executor=executor)]
        assert sorted((report.fetched, len(report.failures)) for report in reports) == [(0, 1), (1, 0)]
        with pytest.raises(ValueError, match="progress"):
            process_many(accounts, handle_elsewhere, executor=executor, progress=print)


# Killed.


def ticketing(database: str) -> Callable[[HandledMessage], None]:
    """Return a handler that writes tickets, each in a transaction, with a unique column for the key."""

    def handle(message: HandledMessage) -> None:
        with contextlib.closing(sqlite3.connect(database, timeout=30)) as tickets, tickets:
            tickets.execute("CREATE TABLE IF NOT EXISTS called (key TEXT, attempt INTEGER)")
            tickets.execute("CREATE TABLE IF NOT EXISTS ticket (key TEXT UNIQUE, content BLOB)")
            tickets.execute("INSERT INTO called VALUES (?, ?)", (message.key, message.attempt))
            tickets.execute("INSERT OR IGNORE INTO ticket VALUES (?, ?)", (message.key, message.content))
        if message.content == mail(3):
            raise ValueError("it cannot be read")

    return handle


def tickets_of(database: str) -> list[bytes]:
    with contextlib.closing(sqlite3.connect(database)) as tickets:
        return [content for (content,) in tickets.execute("SELECT content FROM ticket ORDER BY content")]


def dying_at(place: int, step: Callable[[], int]) -> Callable[[], None]:
    def count() -> None:
        if step() == place:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def process_and_die(url: ScriptedServer, database: str, state: str, aside: str, place: int) -> None:
    """Process, and die at the *place*-th step: before and behind each memory, each call and each quarantine."""
    steps = iter(range(1, 1_000_000))
    tick = dying_at(place, lambda: next(steps))
    remember, note, handle = AccountState.remember, AccountState.note_attempt, ticketing(database)
    note_handled = AccountState.note_handled

    def remember_in_steps(memory: AccountState, entries: list[Entry]) -> None:
        tick()
        remember(memory, entries)
        tick()

    def note_in_steps(memory: AccountState, uid: bytes, content: bytes, attempts: int, *, durable: bool = True) -> None:
        tick()
        note(memory, uid, content, attempts, durable=durable)
        tick()

    def note_handled_in_steps(memory: AccountState, entry: Entry, remembered: Entry) -> None:
        tick()
        note_handled(memory, entry, remembered)
        tick()

    def handle_in_steps(message: HandledMessage) -> None:
        tick()
        try:
            handle(message)
        finally:
            tick()

    AccountState.remember = remember_in_steps  # type: ignore[assignment, method-assign]
    AccountState.note_attempt = note_in_steps  # type: ignore[assignment, method-assign]
    AccountState.note_handled = note_handled_in_steps  # type: ignore[assignment, method-assign]
    process_mailbox(account_of(url), handle_in_steps, state=state, attempts=3, quarantine=aside, delete=True)


def called_again(database: str) -> int:
    """Return how many calls there were with a message that had been handled without an error before."""
    with contextlib.closing(sqlite3.connect(database)) as tickets:
        calls = Counter(key for (key,) in tickets.execute("SELECT key FROM called"))
        failing = tickets.execute("SELECT key FROM ticket WHERE content = ?", (mail(3),)).fetchone()
    return sum(number - 1 for key, number in calls.items() if (key,) != failing)


def check(drop: Maildrop, database: str, aside: str, messages: list[tuple[bytes, bytes]], kills: int) -> None:
    """Check that each message is a ticket or put aside, exactly once, and deleted; each kill repeats one at most."""
    assert drop.messages == []
    assert called_again(database) <= kills
    assert tickets_of(database) == sorted(content for _, content in messages)
    assert delivered(aside) == [mail(3)]


def test_killed_at_every_step_nothing_is_lost_and_a_unique_key_has_each_once(tmp_path: Path) -> None:
    place, status = 0, -signal.SIGKILL
    while status:
        place += 1
        folder = tmp_path / str(place)
        folder.mkdir()
        database, state, aside = f"{folder}/tickets", f"{folder}/state", f"eml:{folder}/failed"
        drop = Maildrop(*MAILS)
        with ScriptedServer(GREETING, drop) as server:
            status = in_child(lambda: process_and_die(server, database, state, aside, place))  # noqa: B023 - called at once
            assert status in {0, -signal.SIGKILL}
            kills = int(bool(status))
            if status:
                kills += in_child(lambda: process_and_die(server, database, state, aside, place + 1)) < 0  # noqa: B023
            for _ in range(3):
                process_mailbox(
                    account_of(server), ticketing(database), state=state, attempts=3, quarantine=aside, delete=True
                )
        check(drop, database, aside, MAILS, kills)
    assert place > 20


@pytest.mark.timeout(300)
def test_killed_at_random_nothing_is_lost_and_a_unique_key_has_each_once(tmp_path: Path) -> None:
    chance = random.Random("handlers")  # noqa: S311 - no secret; and the same next time
    messages = [(b"u%d" % number, mail(number)) for number in range(1, 13)]
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        before = kills
        folder = tmp_path / str(rounds)
        folder.mkdir()
        database, state, aside = f"{folder}/tickets", f"{folder}/state", f"eml:{folder}/failed"
        drop = Maildrop(*messages)
        with ScriptedServer(GREETING, drop) as server:
            process = partial(
                process_mailbox,
                account_of(server),
                ticketing(database),
                state=state,
                attempts=2,
                quarantine=aside,
                delete=True,
            )
            for _ in range(60):
                kills += in_child(process, killed_after=chance.uniform(0, 0.1)) == -signal.SIGKILL
                if not drop.messages:
                    break
            for _ in range(2):
                process()
        assert drop.messages == []
        # What killed its process twice is put aside as well: nobody knows whether it was its fault.
        there = {*tickets_of(database), *delivered(aside)}
        assert there == {content for _, content in messages}
        assert len(tickets_of(database)) == len({*tickets_of(database)})
        assert called_again(database) <= kills - before
        assert mail(3) in delivered(aside)
        assert Counter(delivered(aside)).most_common(1)[0][1] == 1


def test_a_message_that_kills_the_process_is_put_aside_after_so_many_attempts(
    server: ScriptedServer, drop: Maildrop, state: str, tmp_path: Path
) -> None:
    def handle(message: HandledMessage) -> None:
        if message.content == mail(2):
            os.kill(os.getpid(), signal.SIGKILL)

    aside = f"eml:{tmp_path}/failed"

    def process() -> None:
        process_mailbox(account_of(server), handle, state=state, attempts=3, quarantine=aside, delete=True)

    statuses = [in_child(process) for _ in range(4)]
    assert statuses == [-signal.SIGKILL] * 3 + [0]
    assert delivered(aside) == [mail(2)]
    assert drop.messages == []


def test_a_handler_may_end_the_process_in_its_own_way(server: ScriptedServer, drop: Maildrop, state: str) -> None:
    status = in_child(lambda: process_mailbox(account_of(server), lambda _: os._exit(7), state=state, delete=True))
    assert (status, len(drop.messages)) == (7, 4)
    assert process_mailbox(account_of(server), Program(), state=state, delete=True).deleted == 4


def test_a_handler_may_use_threads(server: ScriptedServer, state: str) -> None:
    done: list[str] = []

    def handle(message: HandledMessage) -> None:
        with ThreadPoolExecutor(4) as executor:
            done.extend(executor.map(lambda _: message.key, range(4)))

    assert process_mailbox(account_of(server), handle, state=state).fetched == 4
    assert len(done) == 16
