"""The state: what is remembered, for whom, how quickly it is asked, and why it cannot be used when it cannot."""

import contextlib
import os
import pickle
import sqlite3
import stat
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fetching import flags_of, in_child
from pop3fast.fetch import AccountBusy, Entry, Identity, Options, Remembered, State, StateError
from pop3fast.fetch.destinations._mbox_search import Place
from pop3fast.fetch.memory._journal import Intended, Intent
from pop3fast.fetch.memory._seen import Seen
from pop3fast.fetch.memory._state_schema import MIGRATIONS
from pop3fast.fetch.memory._states import open_state

PRINT = bytes(range(16))
DAY = 86_400


def entry(uid: bytes, occurrence: int = 0, *, content: bytes = b"c" * 16, copy: int = 0) -> Entry:
    return Entry(uid, occurrence, 1000, 1010, PRINT, 1_700_000_000, content, copy)


def intent(path: str, *entries: Entry) -> Intent:
    messages = [Intended(each, 10 * number, 10, b"d" * 32, b"From ") for number, each in enumerate(entries)]
    return Intent(path, 2**64 - 1, 2**64 - 2, 77, b"b" * 32, b"\n", tuple(messages))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/state"


@pytest.fixture(params=["file", "postgres"])
def kept(request: pytest.FixtureRequest, path: str) -> str:
    """Return where a state is kept; what holds for one kind holds for the other."""
    return path if request.param == "file" else request.getfixturevalue("postgres").database()


def test_every_commit_is_on_the_disk_and_readers_do_not_wait(path: str) -> None:
    with State(path).account("h", 110, "me") as account:
        assert account._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert account._database.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"


@pytest.mark.parametrize("clock", [1_700_000_000, 0])
def test_what_another_account_settles_is_dated_by_the_next_session_of_its_own(kept: str, clock: int) -> None:
    state, right = open_state(kept), 1_700_000_000
    intended = entry(b"1")._replace(delivered_at=clock)
    with state.account("h", 110, "me") as account:
        account.begin_session(right)
        account.begin_session(clock)
        key = account.intend(intent("/box", intended))
    with state.account("h", 110, "you") as other:
        other.begin_session(right)
        other.settle(key, [intended])
    for days in (1, 2):
        with state.account("h", 110, "me") as account:
            account.begin_session(right + days * DAY)
            assert account.entries([Identity(b"1")])[Identity(b"1")].delivered_at == right + DAY


def test_a_place_in_an_mbox_is_found_by_its_digest_whichever_account_it_is_of(kept: str) -> None:
    state, places = open_state(kept), [Place(offset, 10, 7, bytes([offset]) * 16) for offset in (1, 2, 3)]
    with state.account("h", 110, "you") as other:
        other.remember([entry(b"1")._replace(place=places[0].packed())])
        other.remember([entry(b"")._replace(place=places[1].packed())])
    with state.account("h", 110, "me") as account:
        assert [account.has_place(place.digest) for place in places] == [True, True, False]
        assert [account.has_place(place.packed()) for place in places] == [True, True, False]
        assert not account.has_place(places[0]._replace(mark=8).packed())


def test_what_is_remembered_is_there_the_next_time(kept: str) -> None:
    hostile = [b"../../x", b"\0", b"x" * 4096, bytes(range(256)), b"1"]
    with open_state(kept).account("h", 110, "me") as account:
        account.remember([entry(uid) for uid in hostile])
        account.remember([entry(b"1", 2), entry(b"1")])
        account.remember([])
    with open_state(kept).account("H", 110, "me") as account:
        seen = account.seen()
    assert set(seen) == {*(Identity(uid) for uid in hostile), Identity(b"1", 2)}
    assert len(seen) == 6
    assert Identity(b"1", 1) not in seen
    assert "1" not in seen
    assert seen.get(b"1", 2) == seen.get(b"\0") == Remembered(1000, PRINT, 1_700_000_000, 1010)
    assert seen.get(b"1", 1) is None
    assert seen.size(b"2") is None
    assert seen.size(b"1") == 1000


def test_where_a_message_was_put_is_remembered(kept: str) -> None:
    placed = entry(b"1")._replace(place=b"new/\xff 12 34", content=b"k" * 16)
    with open_state(kept).account("h", 110, "me") as account:
        account.remember([placed, entry(b"2"), entry(b"2", 1)])
    with open_state(kept).account("h", 110, "me") as account:
        asked = [Identity(b"1"), Identity(b"2", 1), Identity(b"3")]
        assert account.entries(asked) == {asked[0]: placed, asked[1]: entry(b"2", 1)}


VERSION_1 = """
CREATE TABLE account (id INTEGER PRIMARY KEY, host TEXT NOT NULL, port INTEGER NOT NULL, user TEXT NOT NULL,
    maildrop BLOB, UNIQUE (host, port, user));
CREATE TABLE seen (account INTEGER NOT NULL REFERENCES account, uid BLOB NOT NULL, occurrence INTEGER NOT NULL,
    size INTEGER NOT NULL, octets INTEGER NOT NULL, fingerprint BLOB NOT NULL, delivered_at INTEGER NOT NULL,
    PRIMARY KEY (account, uid, occurrence)) WITHOUT ROWID;
CREATE TABLE content (account INTEGER NOT NULL REFERENCES account, content BLOB NOT NULL, copy INTEGER NOT NULL,
    PRIMARY KEY (account, content, copy)) WITHOUT ROWID;
CREATE TABLE intent (id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES account, path BLOB NOT NULL,
    device TEXT NOT NULL, inode TEXT NOT NULL, size INTEGER NOT NULL, before BLOB NOT NULL, pad BLOB NOT NULL);
CREATE TABLE intended (intent INTEGER NOT NULL REFERENCES intent ON DELETE CASCADE, uid BLOB NOT NULL,
    occurrence INTEGER NOT NULL, size INTEGER NOT NULL, octets INTEGER NOT NULL, fingerprint BLOB NOT NULL,
    delivered_at INTEGER NOT NULL, content BLOB NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    digest BLOB NOT NULL, head BLOB NOT NULL, PRIMARY KEY (intent, start)) WITHOUT ROWID;
INSERT INTO account VALUES (7, 'h', 110, 'me', NULL);
INSERT INTO seen VALUES (7, x'31', 0, 1000, 1010, x'000102030405060708090a0b0c0d0e0f', 1700000000);
INSERT INTO content VALUES (7, x'63', 0);
PRAGMA application_id = 1895037527;
PRAGMA user_version = 1;
"""


def columns(path: str) -> dict[str, list[tuple[object, ...]]]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: database.execute(f"PRAGMA table_info({table})").fetchall() for table in tables}


def test_a_state_of_version_1_becomes_one_of_this_version(path: str) -> None:
    make_other(path, *VERSION_1.split(";"))
    with State(path).account("h", 110, "me") as account:
        old = entry(b"1", content=b"")
        assert account.entries([Identity(b"1")]) == {Identity(b"1"): old}
        assert account.place_of(b"c", 0) == b""
        account.remember([entry(b"2")._replace(place=b"there")])
        assert set(account.seen()) == {Identity(b"1"), Identity(b"2")}
    State(f"{path}.new")
    assert columns(path) == columns(f"{path}.new"), "as if it had been made so"


def test_a_move_to_this_version_that_fails_leaves_the_older_one(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_other(path, *VERSION_1.split(";"))
    before = columns(path)
    monkeypatch.setitem(MIGRATIONS, 1, f"{MIGRATIONS[1]} ALTER TABLE nothing ADD COLUMN x")
    with pytest.raises(StateError, match="nothing"):
        State(path)
    assert columns(path) == before
    monkeypatch.undo()
    with State(path).account("h", 110, "me") as account:
        assert Identity(b"1") in account.seen()


def test_accounts_do_not_know_each_other(kept: str) -> None:
    state = open_state(kept)
    with state.account("h", 110, "me") as one, state.account("h", 110, "you") as two, state.account("h", 995, "me"):
        one.remember([entry(b"1")])
        two.remember([entry(b"2")])
        two.note_listing([Identity(b"2")], [], nameless=False)
        assert (one.forget_missing(0), two.forget_missing(0)) == (0, 1)
        assert [*one.seen()] == [Identity(b"1")]


def test_what_an_account_intended_another_one_settles_for_it(kept: str) -> None:
    state = open_state(kept)
    with state.account("h", 110, "me") as one, state.account("h", 110, "you") as two:
        key = one.intend(intent("/box", entry(b"3"), entry(b"", copy=1)))
        assert [each.key for each in two.intents()] == [key]
        two.settle(key, [message.entry for message in two.intents()[0].messages])
        assert two.intents() == one.intents() == []
        assert [*one.seen()] == [Identity(b"3")]
        assert one.place_of(b"c" * 16, 1) == b""
        assert [*two.seen()] == []
        # This account was only slower: what was settled stays settled, and may be remembered once more.
        one.settle(key, [entry(b"4")])
        one.remember([entry(b"3")])
        assert [*one.seen()] == [Identity(b"3")]


def test_a_fingerprint_may_be_unknown_and_nothing_else(kept: str) -> None:
    with open_state(kept).account("h", 110, "me") as account:
        account.remember([entry(b"1")._replace(fingerprint=b"")])
        assert account.seen().get(b"1") == Remembered(1000, b"", 1_700_000_000, 1010)
        with pytest.raises(ValueError, match="16 octets"):
            account.remember([entry(b"2"), entry(b"3")._replace(fingerprint=b"short")])
        assert len(account.seen()) == 1


@pytest.mark.parametrize(
    "wrong", [{0: "text"}, {1: b"\0"}, {1: None}, {2: "many"}, {3: b"x"}, {4: None}, {5: 0.5}, {6: 256}]
)
def test_of_rows_with_one_that_is_none_nothing_is_believed(wrong: dict[int, object]) -> None:
    row: list[object] = [b"1", 0, 1000, b"f" * 16, 1_700_000_000, 1000, 0]
    rows: list[Any] = [row, [wrong.get(place, value) for place, value in enumerate(row)]]
    for some in (rows, rows[::-1], rows[1:]):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            Seen().extend(some)


def test_what_no_listing_had_for_days_is_forgotten_and_nothing_else(kept: str) -> None:
    one, two, three = Identity(b"1"), Identity(b"2", 1), Identity(b"3")
    with open_state(kept).account("h", 110, "me") as account:
        account.begin_session(1_700_000_000.0)
        account.remember([entry(b"1"), entry(b"2"), entry(b"2", 1), entry(b"3")])
        account.note_listing([one, two], [], nameless=False)
        assert account.forget_missing(30) == 0
        assert (account.seen().missing, account.seen().flags(*one)) == (2, flags_of(missing=True))
        account.begin_session(1_700_000_000.0 + 20 * DAY)
        account.note_listing([three], [two], nameless=False)
        assert account.forget_missing(30) == 0
        account.begin_session(1_700_000_000.0 + 30 * DAY)
        account.note_listing([two], [], nameless=False)
        assert account.forget_missing(30) == 1
        assert set(account.seen()) == {Identity(b"2"), two, three}
        account.begin_session(1_700_000_000.0 + 31 * DAY)
        # Missed once more is not missed anew.
        account.note_listing([three], [], nameless=False)
        account.begin_session(1_700_000_000.0 + 50 * DAY)
        assert account.forget_missing(30) == 1
        assert three not in account.seen()


def test_a_listing_that_says_nothing_new_writes_nothing(path: str) -> None:
    with State(path).account("h", 110, "me") as account:
        account.remember([entry(b"1"), entry(b"", copy=0)])
        before = account._database.total_changes
        account.note_listing([], [], nameless=True)
        account.forget_missing(0)
        assert account._database.total_changes == before
        account.note_listing([], [], nameless=False)
        after = account._database.total_changes
        assert after > before
        account.note_listing([], [], nameless=False)
        assert account._database.total_changes == after


def test_a_clock_that_is_wrong_for_a_while_makes_nothing_old(kept: str) -> None:
    right = 1_700_000_000.0
    with open_state(kept).account("h", 110, "me") as account:
        begun = account.begin_session(right)
        for wrong in (0.0, 300.0, right + 40_000 * DAY, 0.0):
            assert account.begin_session(wrong) - begun <= 300
        assert account.begin_session(right + 2 * DAY) - begun <= 2 * DAY + 300
        account.begin_session(right + 3 * DAY)
        assert DAY <= account.begin_session(right + 33 * DAY) - begun <= 33 * DAY + 300


def test_what_comes_while_the_clock_is_wrong_counts_from_the_next_session_that_knows_it(kept: str) -> None:
    right = 1_700_000_000.0
    with open_state(kept).account("h", 110, "me") as account:
        account.begin_session(right)
    with open_state(kept).account("h", 110, "me") as account:
        now = account.begin_session(0.0)  # 40 days later, without a battery
        account.remember([entry(b"1")])
        (undated,) = account.entries([Identity(b"1")]).values()
        assert not Options(delete_after=0).old_enough(undated.delivered_at, now)
    with open_state(kept).account("h", 110, "me") as account:
        later = account.begin_session(right + 40 * DAY)
        (dated,) = account.entries([Identity(b"1")]).values()
        assert (dated.delivered_at, later) == (later, right + 40 * DAY)


def test_what_is_remembered_was_delivered_in_the_account_s_own_time(kept: str) -> None:
    with open_state(kept).account("h", 110, "me") as account:
        account.begin_session(0.0)
        account.remember([entry(b"1")])
        assert account.seen().get(b"1") == Remembered(1000, PRINT, 0, 1010)
        # The machine has heard what time it is: for the account none has passed.
        assert account.begin_session(1_700_000_000.0) == 0
    with open_state(kept).account("h", 110, "me") as account:
        assert account.begin_session(1_700_000_000.0 + DAY) == DAY


def test_a_session_of_the_same_day_writes_nothing(path: str) -> None:
    with State(path).account("h", 110, "me") as account:
        account.begin_session(1_700_000_000.0)
        before = account._database.total_changes
        assert account.begin_session(1_700_000_000.0 + DAY - 1) == 1_700_000_000 + DAY - 1
        assert account.begin_session(1_700_000_000.0 + 2 * DAY, keep=False) == 1_700_000_000 + 2 * DAY
        assert account._database.total_changes == before
        account.begin_session(1_700_000_000.0 + DAY)
        assert account._database.total_changes == before + 1


def test_what_the_server_deleted_is_counted_until_another_comes_under_its_name(kept: str) -> None:
    one = Identity(b"1")
    with open_state(kept).account("h", 110, "me") as account:
        account.remember([entry(b"1")])
        account.note_marked([entry(b"1")])
        assert account.seen().flags(*one) == flags_of(marked=True)
        account.note_deleted([entry(b"1")])
        assert account.seen().flags(*one) == flags_of(deletions=1)
        # The server does not delete, and nothing but the content tells.
        account.remember([entry(b"1")])
        assert account.seen().flags(*one) == flags_of(deletions=1)
        account.remember([entry(b"1", content=b"k" * 16)])
        assert account.seen().flags(*one) == 0
        account.note_marked([entry(b"1")])
        account.note_listing([], [one], nameless=False)
        assert account.seen().flags(*one) == 0, "listed, and the same"
        account.forget([entry(b"1")])
        assert one not in account.seen()


def test_messages_are_remembered_under_other_names(kept: str) -> None:
    names = [Identity(b"%d" % number) for number in range(1, 5)]
    with open_state(kept).account("h", 110, "me") as account:
        account.remember([entry(uid)._replace(place=uid) for uid, _ in names])
        account.rename({names[2]: names[0], names[3]: names[1], names[0]: names[3]})
        assert {identity: each.place for identity, each in account.entries(names).items()} == {
            names[0]: b"3",
            names[1]: b"4",
            names[3]: b"1",
        }


def test_copies_that_were_deleted_are_counted(kept: str) -> None:
    content = b"c" * 16
    with open_state(kept).account("h", 110, "me") as account:
        assert account.copies_deleted(content) == 0
        account.remember([entry(b"", copy=copy) for copy in range(3)])
        assert account.copies_deleted(content) == 0
        account.note_marked([entry(b"", copy=0), entry(b"", copy=1)])
        account.note_deleted([entry(b"", copy=0), entry(b"", copy=1)])
        assert account.copies_deleted(content) == 2


def test_what_another_program_fetched_is_missing_until_it_is_listed(kept: str) -> None:
    with open_state(kept).account("h", 110, "me") as account:
        account.remember([entry(b"2")])
        account.take_over([entry(b"1"), entry(b"2")])
        assert [account.seen().flags(uid, 0) for uid in (b"1", b"2")] == [flags_of(missing=True), 0]


def test_what_is_left_is_remembered_and_that_it_is_all(kept: str) -> None:
    with open_state(kept).account("h", 110, "me") as account:
        assert not account.knows_left()
        account.leave([Identity(b"\r1")])
        assert account.knows_left()
        assert account.seen().size(b"\r1") == 0


def test_sizes_can_be_put_right(kept: str) -> None:
    with open_state(kept).account("h", 110, "me") as account:
        account.remember([entry(b"1"), entry(b"1", 1)])
        account.update_sizes([(Identity(b"1", 1), 2**40)])
        assert (account.seen().size(b"1"), account.seen().size(b"1", 1)) == (1000, 2**40)
        assert account.sizes() == ""
        account.note_sizes("1 2 3 4 0")
        assert account.sizes() == "1 2 3 4 0"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE seen SET uid = 'text'",
        "UPDATE seen SET size = 'many'",
        "UPDATE seen SET size = 1e300",
        "UPDATE seen SET occurrence = x'00'",
        "UPDATE seen SET fingerprint = x'00'",
        "UPDATE seen SET fingerprint = 'text of 16 signs'",
        "UPDATE seen SET octets = x'ff'",
        "UPDATE seen SET delivered_at = 'today'",
        "UPDATE seen SET place = 7",
        "UPDATE seen SET content = 'x'",
        "UPDATE seen SET place = zeroblob(100000000)",
        "UPDATE account SET maildrop = 7",
        "UPDATE account SET time = x'00'",
        "UPDATE account SET time = 1, clock = 'then'",
        "DROP TABLE seen",
    ],
)
def test_rows_that_make_no_sense_are_a_state_error(path: str, damage: str) -> None:
    with State(path).account("h", 110, "me") as account:
        account.remember([entry(b"1")])
    make_other(path, damage)

    def read() -> None:
        with State(path).account("h", 110, "me") as account:
            account.begin_session(1_700_000_000.0)
            account.maildrop()
            account.entries([*account.seen()])

    with pytest.raises(StateError, match=r"cannot use the state in .*: [^ ]"):
        read()


def test_a_unique_id_that_does_not_last_is_never_kept(path: str) -> None:
    courier = b"ENOMEM-1700000000"
    with State(path).account("h", 110, "me") as account:
        account.intend(intent("/box", entry(courier, 5, copy=1), entry(b"", 6, copy=2)))
        assert {message.entry.uid for each in account.intents() for message in each.messages} == {b""}
        account.remember([entry(courier, 5, copy=1), entry(b"", 6, copy=2)])
        assert account.intents() == []
        assert len(account.seen()) == 0
        assert [account.place_of(b"c" * 16, copy) for copy in range(4)] == [None, b"", b"", None]
        # While such messages are listed nobody knows which; then none is left.
        account.note_listing([], [], nameless=True)
        assert account.forget_missing(0) == 0
        account.note_listing([], [], nameless=False)
        assert account.forget_missing(1) == 0
        assert account.place_of(b"c" * 16, 1) is not None
        assert account.forget_missing(0) == 2
        assert account.place_of(b"c" * 16, 1) is None
    for file in Path(path).parent.iterdir():
        assert b"ENOMEM" not in file.read_bytes()


def test_an_intent_is_over_when_every_message_of_it_is_remembered(kept: str) -> None:
    with open_state(kept).account("h", 110, "me") as account:
        key = account.intend(intent("/box\udcff", entry(b"1"), entry(b"2")))
        (there,) = account.intents()
        assert there == intent("/box\udcff", entry(b"1"), entry(b"2"))._replace(key=key)
        account.remember([entry(b"1"), entry(b"7")])
        assert [message.entry.uid for message in account.intents()[0].messages] == [b"2"]
        account.remember([entry(b"2")])
        assert account.intents() == []


def test_settling_remembers_and_drops_one_intent(kept: str) -> None:
    with open_state(kept).account("h", 110, "me") as account:
        first = account.intend(intent("/box", entry(b"1"), entry(b"2")))
        second = account.intend(intent("/box", entry(b"3")))
        account.settle(first, [entry(b"2")])
        assert [*account.seen()] == [Identity(b"2")]
        assert [each.key for each in account.intents()] == [second]
        account.settle(second, ())
        assert account.intents() == []


def test_all_or_nothing_is_remembered(kept: str) -> None:
    with open_state(kept).account("h", 110, "me") as account:
        bad = entry(b"2")._replace(size=None)  # type: ignore[arg-type]
        with pytest.raises(StateError, match=r"(?i)not.null"):
            account.remember([entry(b"1"), bad])
        assert len(account.seen()) == 0
        account.remember([entry(b"1")])
        assert len(account.seen()) == 1


def test_what_was_remembered_survives_a_kill(path: str) -> None:
    def remember_and_die() -> None:
        account = State(path).account("h", 110, "me")
        account.remember([entry(b"1")])
        os.kill(os.getpid(), 9)

    assert in_child(remember_and_die) == -9
    with State(path).account("h", 110, "me") as account:
        assert [*account.seen()] == [Identity(b"1")]


def test_one_session_an_account(path: str) -> None:
    state = State(path)
    with state.account("h", 110, "me"):
        for _ in range(2):
            with pytest.raises(AccountBusy, match=r"^another fetch of me on h:110 is running$") as caught:
                State(path).account("h", 110, "me")
        assert isinstance(pickle.loads(pickle.dumps(caught.value)), AccountBusy)  # noqa: S301 - its own

        def elsewhere() -> None:
            State(path).account("h", 110, "me")

        assert in_child(elsewhere) == 1
    account = state.account("h", 110, "me")
    account.close()
    account.close()


def test_many_processes_and_threads_at_once(path: str) -> None:
    def remember(user: str) -> None:
        with State(path).account("h", 110, user) as account:
            for number in range(20):
                account.remember([entry(b"%d" % number)])

    children = []
    for number in range(4):
        child = os.fork()
        if not child:
            status = 1
            try:
                remember(f"process{number}")
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    threads = [threading.Thread(target=remember, args=(f"thread{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    for kind in ("process", "thread"):
        for number in range(4):
            with State(path).account("h", 110, f"{kind}{number}") as account:
                assert len(account.seen()) == 20


def test_one_account_from_several_threads(kept: str) -> None:
    with open_state(kept).account("h", 110, "me") as account:

        def remember(thread: int) -> None:
            for number in range(20):
                account.remember([entry(b"%d-%d" % (thread, number))])

        threads = [threading.Thread(target=remember, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(account.seen()) == 80


def test_nobody_else_may_read_it(path: str) -> None:
    with State(path).account("h", 110, "me") as account:
        account.remember([entry(b"1")])
        assert {stat.S_IMODE(file.stat().st_mode) for file in Path(path).parent.iterdir()} == {0o600}


def make_other(path: str, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def make_newer(path: str) -> None:
    State(path)
    make_other(path, "PRAGMA user_version = 9")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: Path(path).write_bytes(b"From me\n" * 200), "not a database"),
        (lambda path: make_other(path, "CREATE TABLE t (x)"), "another program"),
        (lambda path: make_other(path, "PRAGMA user_version = 3"), "another program"),
        (make_newer, r"newer version.*format 9"),
        (lambda path: Path(path).mkdir(), "not a file"),
        (lambda path: Path(path).symlink_to(f"{path}-none"), "symbolic link"),
    ],
)
def test_a_file_that_is_no_state_is_refused(path: str, make: Callable[[str], object], reason: str) -> None:
    make(path)
    with pytest.raises(StateError, match=rf"cannot use the state in .*{reason}"):
        State(path)


def test_a_folder_that_is_not_there(path: str) -> None:
    with pytest.raises(StateError, match="No such file"):
        State(f"{path}/none/state")


def as_nobody(work: Callable[[], object]) -> int:
    """Do *work* as a user who is not root; return as `in_child` does."""

    def drop_and_work() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        work()

    return in_child(drop_and_work)


@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_state_that_may_only_be_read(path: str, which: str, tmp_path: Path) -> None:
    State(path)
    for folder in (*tmp_path.parents[:2], tmp_path):
        folder.chmod(0o755)
    if os.geteuid() == 0:
        for each in (tmp_path, *tmp_path.iterdir()):
            os.chown(each, 65534, 65534)
    tmp_path.chmod(0o755 if which == "file" else 0o555)
    Path(path).chmod(0o444 if which == "file" else 0o600)

    def use() -> None:
        with pytest.raises(StateError, match=r"Permission denied|readonly|unable to open"):
            State(path)

    try:
        assert as_nobody(use) == 0
    finally:
        tmp_path.chmod(0o755)


def test_a_hundred_thousand_are_loaded_and_compared_in_no_time(path: str) -> None:
    """It takes 0.15 s; what counts is how much the interpreter has to do for each."""
    uids = [b"%032x" % number for number in range(100_000)]
    calls: Counter[str] = Counter()
    with State(path).account("h", 110, "me") as account:
        account.remember(map(entry, uids))
        sys.setprofile(lambda _frame, event, _argument: calls.update([event]))
        try:
            seen = account.seen()
            new = [uid for uid in uids if seen.size(uid) is None]
        finally:
            sys.setprofile(None)
    assert new == []
    assert calls["call"] < 3 * len(uids)
