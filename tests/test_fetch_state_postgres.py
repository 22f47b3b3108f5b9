"""A state in PostgreSQL: an account is one worker's at a time, and one that was taken over can do nothing any more."""

import contextlib
import os
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fetching import in_child
from maildrops import Maildrop, account_of, delivered, mail
from pop3fast.fetch import (
    AccountBusy,
    Entry,
    FetchReport,
    Identity,
    OutgoingMessage,
    SimpleDestination,
    State,
    StateError,
    account_status,
    fetch_mailbox,
    open_destination,
)
from pop3fast.fetch._plan import Item
from pop3fast.fetch._receipts import Deliveries
from pop3fast.fetch._waiting import SystemClock
from pop3fast.fetch.memory import _postgres, _postgres_connection
from pop3fast.fetch.memory._journal import ENDING_OCTETS, Intended, Intent
from pop3fast.fetch.memory._postgres import LeasedAccountState, PostgresState, without_password
from pop3fast.fetch.memory._states import open_state
from scripted import ScriptedServer
from servers.postgres import PostgresServer

MAILS = [(b"u%d" % number, mail(number)) for number in range(1, 6)]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


def entry(uid: bytes) -> Entry:
    return Entry(uid, 0, 10, 10, b"f" * 16, 1_700_000_000, b"c" * 16)


def run(url: str, statement: str) -> list[Any]:
    import psycopg  # noqa: PLC0415 - the fixture has looked for it

    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def end_leases(url: str) -> None:
    run(url, "UPDATE pop3fast.account SET held_until = now() - interval '1 second'")


def take(url: str) -> LeasedAccountState:
    return PostgresState(url).account("h", 110, "me")


def test_who_has_an_account_and_until_when_is_said_to_whoever_wants_it_too(url: str) -> None:
    with take(url), pytest.raises(AccountBusy) as caught:
        take(url)
    assert str(caught.value).startswith("another fetch of me on h:110 is running: ")
    assert f"process {os.getpid()} has it until 20" in str(caught.value)
    take(url).close()


def test_of_another_account_and_another_case_of_the_host_nobody_is_kept_away(url: str) -> None:
    with take(url):
        PostgresState(url).account("h", 110, "you").close()
        with pytest.raises(AccountBusy):
            PostgresState(url).account("H", 110, "me")


def test_a_worker_whose_account_was_taken_over_can_change_nothing(url: str) -> None:
    slow = take(url)
    slow.begin_session(1_700_000_000)
    slow.remember([entry(b"1")])
    end_leases(url)
    with take(url) as other:
        other.begin_session(1_700_000_000)
        other.remember([entry(b"2")])
        changes: list[Callable[[], None]] = [
            lambda: slow.remember([entry(b"3")]),
            lambda: slow.note_marked([entry(b"1")]),
            lambda: slow.note_deleted([entry(b"1")]),
            lambda: slow.forget([entry(b"2")]),
            lambda: slow.note_maildrop(b"m"),
            lambda: slow.note_handled(entry(b"4"), entry(b"4")),
        ]
        for change in changes:
            with pytest.raises(StateError, match="another worker has taken the account over"):
                change()
        slow.note_success(5.0)
        # What it lets go of is not its own any more.
        slow.close()
        with pytest.raises(AccountBusy):
            take(url)
        assert [*other.seen()] == [Identity(b"1"), Identity(b"2")]
    assert account_status(url, "h", 110, "me").last_success is None


def test_whoever_writes_keeps_the_account(url: str) -> None:
    with take(url) as account:
        end_leases(url)
        account.note_sizes("exact")
        with pytest.raises(AccountBusy):
            take(url)


def test_a_batch_of_rows_is_one_round_trip_and_none_is_missing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg  # noqa: PLC0415 - as above

    sent: list[str] = []
    execute = psycopg.ClientCursor.execute

    def counted(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as psycopg has them
        sent.append(str(query))
        return execute(self, query, *arguments, **named)

    with take(url) as account:
        monkeypatch.setattr(psycopg.ClientCursor, "execute", counted)
        entries = [entry(b"%d?%%s;'" % number) for number in range(2 * _postgres_connection.ROWS_AT_A_TIME + 1)]
        account.remember(entries[:50])
        a_few = len(sent)
        account.remember(entries)
        # Two further pieces; all else is asked once a batch.
        assert len(sent) - a_few == a_few + 2
        monkeypatch.undo()
        assert {*account.seen()} == {each.identity for each in entries}


def test_nothing_that_is_asked_for_goes_through_the_rows_of_all_accounts(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg  # noqa: PLC0415 - as above

    plans: dict[str, str] = {}
    execute = psycopg.ClientCursor.execute

    def explained(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as psycopg has them
        words = str(query)
        if words.split(" ", 1)[0] in {"SELECT", "UPDATE", "DELETE"} and ";" not in words:
            # Of a few rows it would read all.
            execute(self, "SET LOCAL enable_seqscan TO off")
            plans[words] = "\n".join(str(row[0]) for row in execute(self, f"EXPLAIN {words}", *arguments).fetchall())
        return execute(self, query, *arguments, **named)

    with take(url) as account:
        key = account.intend(Intent("/box", 1, 2, 0, b"", b"", (Intended(entry(b"1"), 0, 1, b"d", b"F"),)))
        account.remember([entry(b"2")])
        account._database.execute("SET enable_seqscan TO off")
        monkeypatch.setattr(psycopg.ClientCursor, "execute", explained)
        account.begin_session(1_700_000_000)
        account.seen()
        account.entries([Identity(b"2")])
        account.note_listing([], [], nameless=False)
        account.forget_missing(30)
        account.has_place(b"e" * ENDING_OCTETS)
        account.place_of(b"c", 0)
        account.attempts(b"2", b"c")
        account.remember([entry(b"3")])
        account.settle(key, [entry(b"1")])
        account.note_waiting(1)
        monkeypatch.undo()
    assert len(plans) > 20
    assert {words: plan for words, plan in plans.items() if "Seq Scan" in plan} == {}


def test_a_dead_worker_s_account_is_taken_over_when_its_lease_has_ended(url: str) -> None:
    def die() -> None:
        account = take(url)
        account.remember([entry(b"1")])
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(die) == -signal.SIGKILL
    with pytest.raises(AccountBusy):
        take(url)
    end_leases(url)
    with take(url) as account:
        assert [*account.seen()] == [Identity(b"1")]


def test_of_many_workers_one_gets_the_account_each_time(url: str) -> None:
    state = PostgresState(url)
    together = threading.Barrier(4, timeout=50)
    won: list[int] = []

    def race(worker: int) -> None:
        for _ in range(25):
            together.wait()
            try:
                account = state.account("h", 110, "me")
            except AccountBusy:
                together.wait()
            else:
                won.append(worker)
                together.wait()
                account.close()

    with ThreadPoolExecutor(4) as pool:
        [*pool.map(race, range(4))]
    assert len(won) == 25


def test_many_workers_make_the_tables_once(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(lambda _: PostgresState(url), range(8))]
    assert run(url, "SELECT version FROM pop3fast.version") == [(3,)]


def fetch(
    server: ScriptedServer, box: Path, url: str, *, delete: bool = False, max_size: int | None = None
) -> FetchReport:
    return fetch_mailbox(account_of(server), f"maildir:{box}", state=url, delete=delete, max_size=max_size)


def test_a_fetch_remembers_there_and_another_machine_goes_on(url: str, tmp_path: Path) -> None:
    drop = Maildrop(*MAILS[:3])
    with ScriptedServer(b"+OK\r\n", drop) as server:
        assert fetch(server, tmp_path / "one", url).fetched == 3
        drop.messages += MAILS[3:]
        fetch(server, tmp_path / "two", url, max_size=1)
        assert account_status(url, "127.0.0.1", server.port, "user").waiting == 2
        assert fetch(server, tmp_path / "two", url).fetched == 2
        assert fetch(server, tmp_path / "three", url, delete=True).deleted == 5
        status = account_status(url, "127.0.0.1", server.port, "user")
    assert drop.messages == []
    assert len(delivered(f"maildir:{tmp_path}/one")) == 3
    assert (status.known, status.failing, status.waiting) == (5, 0, 0)
    assert status.last_success is not None


@pytest.mark.parametrize("trouble", ["cut", "crash", "taken over"])
@pytest.mark.parametrize("at", [b"RETR 3", b"DELE 2", b"QUIT"])
def test_a_database_that_is_lost_ends_the_session_and_nothing_is_lost_or_doubled(
    postgres: PostgresServer, url: str, tmp_path: Path, trouble: str, at: bytes
) -> None:
    drop = Maildrop(*MAILS)
    happened: list[bytes] = []

    def instead(command: bytes) -> None:
        if command == at and not happened:
            happened.append(command)
            if trouble == "cut":
                postgres.cut_all()
            elif trouble == "crash":
                postgres.stop(signal.SIGQUIT)
            else:
                end_leases(url)
                PostgresState(url).account("127.0.0.1", server.port, "user").close()

    drop.instead = instead
    with ScriptedServer(b"+OK\r\n", drop) as server:
        try:
            first = fetch(server, tmp_path / "box", url, delete=True)
        finally:
            if trouble == "crash":
                postgres.start()
        assert happened
        assert first.error is None or isinstance(first.error, StateError)
        end_leases(url)
        last = fetch(server, tmp_path / "box", url, delete=True)
    assert last.error is None
    assert drop.messages == []
    assert delivered(f"maildir:{tmp_path}/box") == [content for _, content in MAILS]


def test_a_database_that_is_full_ends_the_session_in_one_sentence_and_nothing_is_lost(url: str, tmp_path: Path) -> None:
    PostgresState(url)
    no_space = "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'"
    run(url, f"CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {no_space}; END $$")
    run(url, "CREATE TRIGGER no_space BEFORE INSERT ON pop3fast.seen EXECUTE FUNCTION no_space()")
    drop = Maildrop(*MAILS)
    with ScriptedServer(b"+OK\r\n", drop) as server:
        report = fetch(server, tmp_path / "box", url, delete=True)
        assert isinstance(report.error, StateError)
        assert str(report.error).endswith("could not extend file: No space left on device")
        assert (report.exit_status, report.deleted, len(drop.messages)) == (5, 0, 5)
        run(url, "DROP TRIGGER no_space ON pop3fast.seen")
        assert fetch(server, tmp_path / "box", url, delete=True).deleted == 5
    assert delivered(f"maildir:{tmp_path}/box") == [content for _, content in MAILS]


def test_what_is_remembered_and_deleted_waits_for_the_database_s_disk_and_only_what_may_be_lost_does_not(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg  # noqa: PLC0415 - as above

    waits: list[str] = []
    execute = psycopg.ClientCursor.execute

    def watched(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as psycopg has them
        found = execute(self, query, *arguments, **named)
        if self.connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS:
            waits.append(str(execute(self.connection.cursor(), "SHOW synchronous_commit").fetchone()[0]))
        return found

    def last(call: Callable[[], object]) -> str:
        waits.clear()
        call()
        return waits[-1]

    with take(url) as account:
        account.begin_session(1_700_000_000)
        monkeypatch.setattr(psycopg.ClientCursor, "execute", watched)
        assert last(lambda: account.remember([entry(b"1")])) == "on"
        assert last(lambda: account.note_marked([entry(b"1")])) == "on"
        assert last(lambda: account.note_deleted([entry(b"1")])) == "on"
        assert last(lambda: account.note_success(5.0, durably=True)) == "on"
        assert last(lambda: account.note_success(5.0)) == "off"
        assert last(lambda: account.note_handled(entry(b"2"), entry(b"2"))) == "off"
        # And that ends with the transaction.
        assert last(lambda: account.remember([entry(b"2")])) == "on"
        monkeypatch.undo()


@pytest.mark.parametrize("kind", ["pipe", "own"])
def test_a_worker_whose_account_was_taken_over_delivers_nothing_to_who_would_have_it_twice(
    url: str, tmp_path: Path, kind: str
) -> None:
    class Box(SimpleDestination):
        path = "own:"

        def deliver(self, message: OutgoingMessage) -> None:
            with (tmp_path / "box").open("ab") as file:
                file.write(message.content)

    def to() -> str | Box:
        return Box() if kind == "own" else f"pipe:sh -c 'cat >>{tmp_path}/box'"

    drop = Maildrop(*MAILS[:2])

    def take_over(command: bytes) -> None:
        if command == b"RETR 1":
            end_leases(url)
            PostgresState(url).account("127.0.0.1", server.port, "user").close()

    drop.instead = take_over
    with ScriptedServer(b"+OK\r\n", drop) as server:
        report = fetch_mailbox(account_of(server), to(), state=url)
        assert "another worker has taken the account over" in str(report.error)
        assert not (tmp_path / "box").exists()
        drop.instead = lambda _: None
        assert fetch_mailbox(account_of(server), to(), state=url).fetched == 2
    assert len((tmp_path / "box").read_bytes().splitlines()) == sum(
        len(content.splitlines()) for _, content in MAILS[:2]
    )


@pytest.mark.parametrize("kind", ["maildir", "eml", "mbox"])
def test_a_worker_that_wakes_up_puts_nothing_beside_what_another_has_delivered_meanwhile(
    url: str, tmp_path: Path, kind: str
) -> None:
    def deliver(account: LeasedAccountState, *numbers: int) -> Deliveries:
        destination = open_destination(f"{kind}:{tmp_path}/box")
        destination.prepare(account.digest, account)
        closing.callback(destination.close)
        deliveries = Deliveries(destination, account, SystemClock())
        for number in numbers:
            deliveries.flush()  # all but the last
            item = Item(number, Identity(b"%d" % number), len(mail(number)))
            deliveries.put(item, item.identity, mail(number))
        return deliveries

    with contextlib.ExitStack() as closing, take(url) as slow:
        hung = deliver(slow, 1, 2)
        end_leases(url)
        with take(url) as other:
            deliver(other, 2).flush()
        with pytest.raises(StateError, match="another worker has taken the account over"):
            hung.flush()
    assert delivered(f"{kind}:{tmp_path}/box") == [mail(1), mail(2)]


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_what_goes_to_files_asks_nothing_of_the_database_for_each_message(
    url: str, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[LeasedAccountState] = []

    def look(account: LeasedAccountState) -> None:
        looks.append(account)

    monkeypatch.setattr(LeasedAccountState, "check_lease", look)
    drop = Maildrop(*[(b"u%d" % number, mail(number)) for number in range(50)])
    with ScriptedServer(b"+OK\r\n", drop) as server:
        assert fetch_mailbox(account_of(server), f"{kind}:{tmp_path}/box", state=url).fetched == 50
    assert len(looks) < 50


def test_a_state_of_a_newer_version_is_left_alone(url: str) -> None:
    PostgresState(url)
    run(url, "UPDATE pop3fast.version SET version = 4")
    with pytest.raises(StateError, match=r"a newer version of pop3fast made it \(format 4, this one knows 3\)"):
        PostgresState(url)


def test_a_database_has_the_columns_that_a_file_has(url: str, tmp_path: Path) -> None:
    PostgresState(url)
    State(tmp_path / "state")
    query = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'pop3fast'"
    ours = {(str(table), str(column)) for table, column in run(url, query)}
    with contextlib.closing(sqlite3.connect(tmp_path / "state")) as database:
        tables = [table for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        theirs = {(table, row[1]) for table in tables for row in database.execute(f"PRAGMA table_info({table})")}
    assert theirs <= ours
    leases = {("account", name) for name in ("holder", "held_until", "token", "last_success", "waiting")}
    # A fleet is for PostgreSQL alone.
    fleets = {(table, name) for table, name in ours if table in {"host", "turn"}}
    assert ours - theirs == leases | fleets | {("version", "version")}


def test_a_state_of_version_1_becomes_one_of_this_version_by_itself_and_once(url: str) -> None:
    take(url).close()
    run(
        url,
        "DROP TABLE pop3fast.turn, pop3fast.host; UPDATE pop3fast.version SET version = 1; "
        "DROP INDEX pop3fast.held, pop3fast.ending, pop3fast.ending_of_content, pop3fast.intending",
    )
    with ThreadPoolExecutor(4) as pool:
        [*pool.map(lambda _: PostgresState(url), range(4))]
    assert run(url, "SELECT version FROM pop3fast.version") == [(3,)]
    assert run(url, "SELECT count(*) FROM pg_indexes WHERE indexname IN ('held', 'ending', 'intending')") == [(3,)]
    assert run(url, "SELECT count(*) FROM pop3fast.turn, pop3fast.host") == [(0,)]
    with take(url) as account:
        assert not [*account.seen()]
        account.note_waiting(3)
    assert account_status(url, "h", 110, "me").waiting == 3


def test_tables_of_others_are_not_touched(url: str) -> None:
    run(url, "CREATE TABLE account (mine TEXT)")
    run(url, "INSERT INTO account VALUES ('x')")
    take(url).close()
    assert run(url, "SELECT mine FROM account") == [("x",)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url + "nosuch", 'database "[^"]*" does not exist'),
        (lambda url: url.replace("tests@", "nobody@"), 'role "nobody" does not exist'),
        (lambda _: "postgresql://tests@127.0.0.1:1/x", "Connection refused"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence(
    url: str, change: Callable[[str], str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(StateError, match=words) as caught:
        open_state(change(url))
    assert "\n" not in str(caught.value)
    drop = Maildrop(*MAILS)
    with ScriptedServer(b"+OK\r\n", drop) as server:
        report = fetch(server, tmp_path / "box", change(url), delete=True)
    assert isinstance(report.error, StateError)
    assert len(drop.messages) == 5


def test_a_password_in_a_url_is_shown_nowhere(url: str) -> None:
    secret = url.replace("tests@", "nobody:hidden@")
    with pytest.raises(StateError) as caught:
        open_state(secret)
    assert "hidden" not in f"{caught.value}{caught.value.__cause__}"


def test_a_server_whose_machine_is_gone_is_given_up_unless_the_url_says_otherwise(url: str) -> None:
    for more, seconds in (("", "15"), ("?keepalives_idle=7", "7")):
        with _postgres_connection.Session(url + more, "x") as session:
            said = session.connection.info.get_parameters()
            assert (said["keepalives_idle"], said["tcp_user_timeout"]) == (seconds, "30000")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hidden@h:1/d?password=hidden&x=1#hidden", "postgresql://u@h:1/d"),
        ("postgres://h:1,[::1]:2/d", "postgres://h:1,[::1]:2/d"),
        ("postgresql://h?user=u&password=hidden", "postgresql://h"),
        ("postgresql:///d?host=/tmp", "postgresql:///d"),
        ("postgresql://u:a?hidden#hidden@h/d", "postgresql://u@h/d"),
        ("postgresql://[hidden", "postgresql:"),
        ("postgresql://u:a@hidden@h/d", "postgresql:"),
        ("postgresql://u:a/hidden@h/d", "postgresql:"),
        ("postgresql://u:hidden/hidden?hidden@h/d", "postgresql:"),
        ("postgresql://u:hidden/d", "postgresql:"),
    ],
)
def test_of_a_url_nothing_is_shown_that_may_be_of_a_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:a%zzhidden@127.0.0.1:1/d",
        "postgresql://me:a@hidden@127.0.0.1:1/d",
        "postgresql://me:a/hidden@127.0.0.1:1/d",
        "postgresql://127.0.0.1:1/d?password=a&hidden",
    ],
)
def test_a_url_with_a_password_that_is_not_encoded_is_refused_without_a_word_of_it(url: str) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StateError, match="write %40 for @") as caught:
        open_state(url)
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


def test_without_the_extra_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StateError, match=r"pip install 'pop3fast\[postgres\]'"):
        open_state("postgresql://h/d")


def test_the_lease_is_longer_than_the_longest_wait_of_a_session() -> None:
    # A session that only receives writes nothing until a batch is whole.
    assert _postgres.LEASE_SECONDS >= 600
