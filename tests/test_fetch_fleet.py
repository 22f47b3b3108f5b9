"""A fleet: workers that share accounts, die, lose their database and are told to stop; each message arrives once."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

import pytest

from hotels import HELD_SECONDS, Hotel, held
from maildrops import Maildrop, delivered, mail
from pop3fast.fetch import Account, FetchReport, Job, Options, StateError, account_status, fetch_fleet
from pop3fast.fetch.fleet import _worker
from pop3fast.fetch.fleet._alone import TurnsAlone
from pop3fast.fetch.memory import _postgres_connection
from pop3fast.fetch.memory._postgres import PostgresState
from pop3fast.fetch.memory._postgres_turns import Claim, PostgresTurns, Returned
from scripted import Reply
from servers.postgres import PostgresServer
from waiting import wait_until

USERS = [f"user{number}" for number in range(8)]
MESSAGES = 12
LONG = 1000.0
"""Between two turns: in a test that has one of each account, no second one comes however slow the machine is."""
RACES = 1000


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def hotel() -> Iterator[Hotel]:
    with Hotel({user: Maildrop(*mails(number)) for number, user in enumerate(USERS)}) as running:
        yield running


def mails(number: int, count: int = MESSAGES) -> list[tuple[bytes, bytes]]:
    return [(b"unique-id-of-%06d" % place, mail(1000 * number + place)) for place in range(count)]


def run(url: str, statement: str) -> list[Any]:
    import psycopg  # noqa: PLC0415 - the fixture has looked for it

    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def fetch(
    hotel: Hotel,
    folder: Path,
    state: str | Path,
    reports: int,
    stop: threading.Event | None = None,
    every: float = 0.5,
    per_host: int = 8,
) -> list[FetchReport]:
    """Be a worker until so many reports have come."""

    async def work() -> list[FetchReport]:
        found: list[FetchReport] = []
        fleet = fetch_fleet(
            hotel.accounts(),
            lambda account: f"maildir:{folder}/{account.login}",
            state=state,
            every=every,
            per_host=per_host,
            stop=stop,
        )
        async with aclosing(fleet):
            async for report in fleet:
                found.append(report)
                if len(found) == reports:
                    break
        return found

    return asyncio.run(work())


def arrived(folder: Path) -> list[bytes]:
    return sorted(content for user in USERS for content in delivered(f"maildir:{folder}/{user}"))


def everything() -> list[bytes]:
    return sorted(content for number in range(len(USERS)) for _, content in mails(number))


class Worker:
    """A worker in a process of its own, which is gone at the end of the block."""

    def __init__(self, hotel: Hotel, folder: Path, url: str, *, limit: int = 8, per_host: int = 8) -> None:
        numbers = [str(number) for number in (hotel.port, folder, 0.5, limit, per_host)]
        command = [sys.executable, str(Path(__file__).with_name("fleet_worker.py")), url, *numbers, *USERS]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(self.process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> int:
        """Send the signal, wait for its end, and return its status."""
        self.process.send_signal(number)
        status = self.process.wait()
        self._thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def have_arrived_without(url: str, process: int, folder: Path) -> bool:
    """Return whether all has, after the leases of a dead worker were ended.

    The server may still be doing what that one asked last, and give it more.
    """
    whose = f"WHERE holder LIKE '%process {process}'"
    run(url, f"UPDATE pop3fast.account SET held_until = now() - interval '1 second' {whose}")  # noqa: S608 - a number
    return arrived(folder) == everything()


def test_one_worker_fetches_all_and_again_what_is_new(url: str, hotel: Hotel, tmp_path: Path) -> None:
    reports = fetch(hotel, tmp_path, url, len(USERS), every=LONG)
    assert sorted(report.fetched for report in reports) == [MESSAGES] * len(USERS)
    hotel.drops["user3"].messages.append((b"new", mail(77)))
    run(url, "UPDATE pop3fast.turn SET due = now(), urgency = now()")
    reports = fetch(hotel, tmp_path, url, len(USERS), every=LONG)
    assert sorted(report.fetched for report in reports) == [0] * (len(USERS) - 1) + [1]
    assert arrived(tmp_path) == sorted([*everything(), mail(77)])
    assert not hotel.twice
    # Nobody has them any more.
    assert run(url, "SELECT count(*) FROM pop3fast.account WHERE holder IS NULL AND held_until IS NULL") == [(8,)]
    status = account_status(url, "127.0.0.1", hotel.port, "user3")
    assert status.known == MESSAGES + 1
    assert status.last_success is not None


def test_two_workers_of_which_one_is_killed_in_the_middle_fetch_each_message_once(
    url: str, hotel: Hotel, tmp_path: Path
) -> None:
    reached = threading.Event()
    # No mailbox is done before the worker is killed.
    with held(hotel.drops.values(), b"RETR 7", reached) as killed, Worker(hotel, tmp_path, url) as one:
        reached.wait()
        one.end(signal.SIGKILL)
        killed.set()
        wait_until(lambda: not hotel.here)
        with Worker(hotel, tmp_path, url) as two:
            wait_until(lambda: run(url, "SELECT 1 FROM pop3fast.account LIMIT 1"))
            wait_until(lambda: have_arrived_without(url, one.process.pid, tmp_path))
            assert two.end(signal.SIGTERM) == 0
    assert not hotel.twice
    assert arrived(tmp_path) == everything()


def test_a_worker_that_was_paused_until_another_had_its_accounts_does_nothing_to_them_when_it_wakes_up(
    url: str, hotel: Hotel, tmp_path: Path
) -> None:
    reached: list[bytes] = []
    paused = threading.Event()

    def hold(command: bytes) -> Reply | None:
        if command != b"RETR 7" or paused.is_set():
            return None
        reached.append(command)
        paused.wait(HELD_SECONDS)
        # No server waits for long for a client that says nothing.
        return Reply(b"", then="fin")

    for drop in hotel.drops.values():
        drop.instead = hold
    with Worker(hotel, tmp_path, url) as slow:
        wait_until(lambda: len(reached) == len(USERS))
        slow.process.send_signal(signal.SIGSTOP)
        os.waitpid(slow.process.pid, os.WUNTRACED)
        paused.set()
        wait_until(lambda: not hotel.here)
        with Worker(hotel, tmp_path, url) as other:
            everywhere = "SELECT count(*) FROM pop3fast.seen"
            wait_until(
                lambda: (
                    have_arrived_without(url, slow.process.pid, tmp_path)
                    and run(url, everywhere) == [(len(everything()),)]
                )
            )
            before = run(url, "SELECT * FROM pop3fast.seen ORDER BY account, uid")
            slow.process.send_signal(signal.SIGCONT)
            # It has received some of each.
            wait_until(lambda: len(slow.said) >= len(USERS))
            assert [slow.end(signal.SIGTERM), other.end(signal.SIGTERM)] == [0, 0]
    assert run(url, "SELECT * FROM pop3fast.seen ORDER BY account, uid") == before
    assert not hotel.twice
    assert arrived(tmp_path) == everything()


def test_while_the_database_is_down_nothing_is_lost_and_afterwards_all_workers_go_on(
    postgres: PostgresServer, url: str, hotel: Hotel, tmp_path: Path
) -> None:
    reached = threading.Event()
    with (
        held(hotel.drops.values(), b"RETR 7", reached) as down,
        Worker(hotel, tmp_path, url, limit=4) as one,
        Worker(hotel, tmp_path, url, limit=4) as two,
    ):
        reached.wait()
        holders = "SELECT count(DISTINCT holder) FROM pop3fast.account"
        wait_until(lambda: run(url, holders) == [(2,)])
        postgres.stop(signal.SIGQUIT)
        down.set()
        postgres.start()
        wait_until(lambda: arrived(tmp_path) == everything())
        hotel.drops["user0"].messages.append((b"new", mail(77)))
        wait_until(lambda: arrived(tmp_path) == sorted([*everything(), mail(77)]))
        assert [one.end(signal.SIGTERM), two.end(signal.SIGTERM)] == [0, 0]
    assert not hotel.twice


def test_all_workers_together_hold_no_more_sessions_with_a_host_than_they_may(
    url: str, hotel: Hotel, tmp_path: Path
) -> None:
    # Each session stays until as many have come as may be there at once.
    full = threading.Barrier(3, timeout=50)

    def hold(command: bytes) -> None:
        if command.startswith(b"UIDL"):
            with contextlib.suppress(threading.BrokenBarrierError):
                full.wait()

    for drop in hotel.drops.values():
        drop.instead = hold
    with Worker(hotel, tmp_path, url, per_host=3) as one, Worker(hotel, tmp_path, url, per_host=3) as two:
        wait_until(lambda: sum(hotel.logins.values()) >= 60)
        full.abort()
        assert [one.end(signal.SIGTERM), two.end(signal.SIGTERM)] == [0, 0]
        assert one.said
        assert two.said
    assert hotel.most == 3
    assert not hotel.twice


def dask_until(tasks: Sequence[Any], come: Callable[[], object]) -> None:
    """Return when *come* says so. Raises what one of *tasks* of Dask has raised meanwhile."""

    def has_come() -> object:
        for task in tasks:
            if task.status == "error":
                task.result()
        return come()

    wait_until(has_come)


@pytest.mark.filterwarnings("ignore")  # Dask's and its dependencies' own
@pytest.mark.timeout(180)  # three interpreters have to load Dask
def test_on_workers_of_dask_of_which_one_is_killed(url: str, hotel: Hotel, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    killed, over, accounts = tmp_path / "killed", tmp_path / "over", hotel.accounts()

    def work() -> None:
        async def turns() -> None:
            fleet = fetch_fleet(
                accounts, lambda account: f"maildir:{tmp_path}/{account.login}", state=url, every=0.5, limit=3
            )
            async with aclosing(fleet):
                async for _ in fleet:
                    with contextlib.suppress(FileExistsError), killed.open("x") as file:
                        file.write(str(os.getpid()))
                        file.flush()
                        os.kill(os.getpid(), signal.SIGKILL)
                    if over.exists():
                        break

        asyncio.run(turns())

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        # Whoever is lost is given to another by Dask.
        tasks = [client.submit(work, pure=False) for _ in range(2)]
        # What a task raises is not waited for in vain.
        dask_until(tasks, lambda: killed.exists() and killed.read_text())
        dead = int(killed.read_text())
        wait_until(lambda: not is_there(dead))
        dask_until(tasks, lambda: have_arrived_without(url, dead, tmp_path))
        over.touch()
        client.gather(tasks)
    assert arrived(tmp_path) == everything()
    assert not hotel.twice


def test_a_worker_that_is_told_to_stop_lets_its_fetches_end_and_gives_all_back(
    url: str, hotel: Hotel, tmp_path: Path
) -> None:
    stop = threading.Event()
    told: list[bytes] = []

    def tell(command: bytes) -> None:
        if command == b"RETR 7":
            told.append(command)
            stop.set()

    for drop in hotel.drops.values():
        drop.instead = tell
    reports = fetch(hotel, tmp_path, url, 10**6, stop)
    assert told
    assert {report.error for report in reports} == {None}
    assert arrived(tmp_path) == sorted(
        content for report in reports for _, content in mails(USERS.index(report.account.split()[0]))
    )
    assert run(url, "SELECT count(*) FROM pop3fast.account WHERE held_until IS NOT NULL") == [(0,)]


def test_a_fetch_that_does_not_end_by_itself_is_ended_and_its_account_is_due_at_once(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_worker, "GRACE_SECONDS", 0.0)
    stop = threading.Event()
    drop = Maildrop(*mails(0))
    with Hotel({"user0": drop}) as hotel:
        with held([drop], b"RETR 2", stop):
            assert fetch(hotel, tmp_path, url, 10**6, stop) == []
        assert run(url, "SELECT due <= now(), failures FROM pop3fast.turn") == [(True, 0)]
        assert run(url, "SELECT count(*) FROM pop3fast.account WHERE held_until IS NOT NULL") == [(0,)]
        (report,) = fetch(hotel, tmp_path, url, 1)
        assert report.error is None
    assert delivered(f"maildir:{tmp_path}/user0") == sorted(content for _, content in mails(0))


def test_leaving_the_loop_gives_all_back_and_leaves_no_thread(url: str, hotel: Hotel, tmp_path: Path) -> None:
    assert len(fetch(hotel, tmp_path, url, 1)) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pop3fast-")]
    assert run(url, "SELECT count(*) FROM pop3fast.account WHERE held_until IS NOT NULL") == [(0,)]


def test_leaving_the_loop_without_closing_it_gives_all_back_when_the_event_loop_ends(
    url: str, hotel: Hotel, tmp_path: Path
) -> None:
    async def work() -> None:
        fleet = fetch_fleet(hotel.accounts(), lambda account: f"maildir:{tmp_path}/{account.login}", state=url)
        async for report in fleet:
            assert report.error is None
            break

    with held([hotel.drops[user] for user in USERS[1:]], b"RETR 7", threading.Event()):
        asyncio.run(work())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pop3fast-")]
    assert run(url, "SELECT count(*) FROM pop3fast.account WHERE held_until IS NOT NULL") == [(0,)]


def test_a_worker_whose_state_is_a_file_has_all_accounts_to_itself(hotel: Hotel, tmp_path: Path) -> None:
    reports = fetch(hotel, tmp_path, tmp_path / "state", 3 * len(USERS), per_host=2)
    assert sum(report.fetched for report in reports) == MESSAGES * len(USERS)
    assert {report.error for report in reports} == {None}
    assert arrived(tmp_path) == everything()
    assert hotel.most <= 2


def test_an_account_that_fails_keeps_no_other_from_its_turns_and_is_asked_later_by_any_worker(
    url: str, hotel: Hotel, tmp_path: Path
) -> None:
    hotel.drops["user0"].instead = lambda command: b"-ERR [AUTH] no\r\n" if command.startswith(b"PASS") else None
    for failures in (1, 2):
        reports = fetch(hotel, tmp_path, url, len(USERS), every=LONG)
        assert sum(report.error is None for report in reports) == len(USERS) - 1
        late, *others = run(
            url,
            "SELECT failures, extract(epoch FROM due - now()) FROM pop3fast.turn JOIN pop3fast.account ON id = account "
            'ORDER BY "user"',
        )
        assert late[0] == failures
        assert all(seconds < late[1] for _, seconds in others)
        run(url, "UPDATE pop3fast.turn SET due = now(), urgency = now()")
    assert arrived(tmp_path) == sorted(content for number in range(1, len(USERS)) for _, content in mails(number))


def test_a_pause_between_logins_that_a_server_wants_holds_for_the_next_worker_too(url: str, tmp_path: Path) -> None:
    drop = Maildrop(*mails(0), capabilities=b"TOP\r\nUIDL\r\nLOGIN-DELAY 900\r\n")
    with Hotel({"user0": drop}) as hotel:
        (report,) = fetch(hotel, tmp_path, url, 1)
    assert report.login_delay == 900
    due = "SELECT delay, due >= now() + interval '800 seconds' FROM pop3fast.turn"
    assert run(url, due) == [(900.0, True)]
    # Whoever dies may have logged in until its lease has ended.
    run(url, "UPDATE pop3fast.turn SET due = now(), urgency = now()")
    turns = turns_of(url, "user0", port=hotel.port)
    assert [claim.delay for claim in turns.exchange([], 1, 1)] == [900]
    assert run(url, "SELECT held_until >= now() + interval '900 seconds' FROM pop3fast.account") == [(True,)]
    turns.close()


# Who has which account.


def turns_of(url: str, *users: str, port: int = 110) -> PostgresTurns:
    return PostgresTurns(url, [("h", port, user) if port == 110 else ("127.0.0.1", port, user) for user in users])


def back(claim: Claim, seconds: float = 0.0, ahead: float = 0.0) -> Returned:
    return Returned(claim.lease, seconds, ahead, 0, 0, 0.0, None)


def test_each_account_is_one_worker_s_and_comes_back_when_it_is_due(url: str) -> None:
    with contextlib.closing(turns_of(url, *USERS)) as one, contextlib.closing(turns_of(url, *USERS)) as two:
        mine, yours = one.exchange([], 5, 100), two.exchange([], 5, 100)
        assert (len(mine), len(yours)) == (5, 3)
        assert {claim.key for claim in mine}.isdisjoint(claim.key for claim in yours)
        assert two.exchange([back(claim, 1000.0) for claim in yours], 5, 100) == []
        assert [claim.key for claim in two.exchange([], 5, 100)] == []
        again = two.exchange([], 5, 100) + one.exchange([back(claim) for claim in mine], 5, 100)
        assert {claim.key for claim in again} == {claim.key for claim in mine}
        assert {claim.lease.token for claim in again} == {2}


@pytest.mark.timeout(300)  # a thousand times a few milliseconds, on a machine that may have much else to do
def test_of_two_workers_that_race_for_an_account_one_gets_it_each_time(url: str) -> None:
    together, lock = threading.Barrier(2, timeout=50), threading.Lock()
    tokens: list[int] = []

    def race() -> None:
        claims: list[Claim] = []
        with contextlib.closing(turns_of(url, "me")) as turns:
            for _ in range(RACES):
                # Whoever has it gives it back, and races for it again.
                turns.exchange([back(claim) for claim in claims], 0, 1)
                together.wait()
                claims = turns.exchange([], 1, 1)
                with lock:
                    tokens.extend(claim.lease.token for claim in claims)
                together.wait()

    threads = [threading.Thread(target=race) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tokens == [*range(1, RACES + 1)]


def test_one_that_had_mail_comes_first_and_only_when_it_is_due(url: str) -> None:
    with contextlib.closing(turns_of(url, *USERS)) as turns:
        claims = turns.exchange([], 8, 100)
        late = [back(claim) for claim in claims[:6]]
        assert turns.exchange([*late, back(claims[6], 0.0, 300.0), back(claims[7], 1000.0, 2000.0)], 0, 100) == []
        # Also where the limit of the host decides.
        assert [claim.key for claim in turns.exchange([], 8, 1)] == [claims[6].key]
        assert len(turns.exchange([], 8, 100)) == 6


def test_a_host_that_is_full_keeps_no_account_of_another_from_its_turn(url: str) -> None:
    keys = [("a", 110, f"u{number}") for number in range(50)] + [("b", 110, "me")]
    with contextlib.closing(PostgresTurns(url, keys)) as one, contextlib.closing(PostgresTurns(url, keys)) as two:
        two.exchange([], 0, 2)
        late = "(SELECT id FROM pop3fast.account WHERE host = 'a')"
        run(url, f"UPDATE pop3fast.turn SET urgency = urgency - interval '1 day' WHERE account IN {late}")  # noqa: S608
        assert [claim.key[0] for claim in one.exchange([], 2, 2)] == ["a", "a"]
        # None of those that have been due for longer is left, and there is room for one.
        assert [claim.key for claim in two.exchange([], 1, 2)] == [("b", 110, "me")]


def test_a_worker_takes_only_accounts_that_it_knows(url: str) -> None:
    with contextlib.closing(turns_of(url, "a", "b")) as one, contextlib.closing(turns_of(url, "b", "c")) as two:
        assert {claim.key[2] for claim in one.exchange([], 9, 9)} == {"a", "b"}
        assert {claim.key[2] for claim in two.exchange([], 9, 9)} == {"c"}


def test_a_worker_that_hangs_in_an_exchange_holds_up_nobody_but_its_hosts(url: str) -> None:
    keys = [("a", 110, "me"), ("b", 110, "me")]
    with contextlib.closing(PostgresTurns(url, keys)) as one, contextlib.closing(PostgresTurns(url, keys)) as two:
        one.exchange([], 0, 1)
        two.exchange([], 0, 1)
        with one._transaction() as session:
            session.execute("SELECT 1 FROM host WHERE host = 'a' FOR UPDATE")
            assert [claim.key[0] for claim in two.exchange([], 9, 1)] == ["b"]
        assert [claim.key[0] for claim in two.exchange([], 9, 1)] == ["a"]


def test_a_worker_that_hangs_while_it_remembers_keeps_nobody_waiting_for_long(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres_connection, "HANGING", "100ms")
    with contextlib.closing(turns_of(url, "me")) as one, contextlib.closing(turns_of(url, "me")) as two:
        (claim,) = one.exchange([], 1, 1)
        two.exchange([], 0, 1)
        assert two._session is not None
        two._session.execute(f"SET lock_timeout TO '{HELD_SECONDS}s'")  # which ends a test that has failed
        run(url, "UPDATE pop3fast.account SET held_until = now() - interval '1 second'")
        taken: list[Claim] = []
        with one.account(claim) as state, pytest.raises(StateError), state._transaction():
            taken = two.exchange([], 1, 1)
        assert [each.lease.token for each in taken] == [claim.lease.token + 1]


def test_one_that_was_paused_gives_nothing_back_that_is_another_s_by_now(url: str) -> None:
    with contextlib.closing(turns_of(url, "me")) as slow, contextlib.closing(turns_of(url, "me")) as other:
        (claim,) = slow.exchange([], 1, 1)
        run(url, "UPDATE pop3fast.account SET held_until = now() - interval '1 second'")
        (taken,) = other.exchange([], 1, 1)
        assert slow.exchange([back(claim)], 1, 1) == []
        with slow.account(claim) as state, pytest.raises(StateError, match="another worker has taken the account over"):
            state.note_sizes("exact")
        with slow.account(claim) as state:
            state.note_waiting(7)
        assert run(url, "SELECT waiting FROM pop3fast.account") == [(0,)]
        with other.account(taken) as state:
            state.note_sizes("exact")
        run(url, "UPDATE pop3fast.account SET held_until = now() - interval '1 second'")
        slow.renew([claim.lease])
        assert len(other.exchange([], 1, 1)) == 1


def test_a_lease_that_is_renewed_is_nobody_else_s(url: str) -> None:
    with contextlib.closing(turns_of(url, "me")) as turns, contextlib.closing(turns_of(url, "me")) as other:
        (claim,) = turns.exchange([], 1, 1)
        run(url, "UPDATE pop3fast.account SET held_until = now() - interval '1 second'")
        turns.renew([claim.lease])
        assert other.exchange([], 1, 1) == []


def test_a_fetch_by_itself_and_a_fleet_keep_out_of_each_other_s_way(url: str) -> None:
    with contextlib.closing(turns_of(url, "me")) as turns:
        state = PostgresState(url)
        with state.account("h", 110, "me"):
            assert turns.exchange([], 1, 1) == []
        assert len(turns.exchange([], 1, 1)) == 1
        with pytest.raises(StateError, match="another fetch of me"):
            state.account("h", 110, "me")


def test_of_sessions_in_many_threads_no_more_connections_are_made_than_are_lent(url: str) -> None:
    with contextlib.closing(turns_of(url, *USERS)) as turns:
        claims = turns.exchange([], 8, 8) * 4
        together = threading.Barrier(len(claims), timeout=50)

        def use(claim: Claim) -> None:
            together.wait()
            with turns.account(claim) as state:
                state.note_sizes("exact")
                state.begin_session(1_800_000_000)

        threads = [threading.Thread(target=use, args=(claim,)) for claim in claims]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert run(url, query)[0][0] <= 1 + 8
        assert run(url, "SELECT count(*) FROM pop3fast.account WHERE sizes = 'exact'") == [(8,)]


def test_the_turns_of_a_file_are_given_by_the_same_rules() -> None:
    from maildrops import FastClock  # noqa: PLC0415 - of one test

    clock = FastClock()
    turns = TurnsAlone([("a", 110, "x"), ("a", 110, "y"), ("b", 110, "z")], clock)
    first = turns.exchange([], 9, 1)
    assert [claim.key[0] for claim in first] == ["a", "b"]
    assert turns.exchange([], 9, 1) == []
    assert [claim.key[2] for claim in turns.exchange([back(first[0], 100.0, 50.0)], 9, 1)] == ["y"]
    assert turns.exchange([back(first[1], 100.0)], 9, 1) == []
    clock.pause(101)
    assert [claim.key[2] for claim in turns.exchange([], 1, 2)] == ["x"]


# What makes no sense.


def test_a_state_of_a_newer_version_is_an_error_and_nobody_logs_in(url: str, hotel: Hotel, tmp_path: Path) -> None:
    PostgresState(url)
    run(url, "UPDATE pop3fast.version SET version = version + 1")
    with pytest.raises(StateError, match="a newer version of pop3fast made it"):
        fetch(hotel, tmp_path, url, 1)
    assert hotel.logins == {}


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"limit": 0}, "limit is at least 1"),
        ({"per_host": 0}, "per_host is at least 1"),
        ({"accounts": []}, "there are no accounts"),
        ({"every": 0}, "every is more than 0 seconds"),
        ({"destination": None}, "nobody says where the mail of me on h:110 goes"),
        ({"destination": "nowhere:x"}, "a destination is maildir:PATH"),
        ({"options": Options(dry_run=True)}, "a dry run"),
        ({"accounts": [Account("pop3://me@h", password="p")] * 2}, "me on h:110 is there twice"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(wishes: dict[str, Any], words: str) -> None:
    arguments = {"accounts": [Account("pop3://me@h", password="p")], "destination": "eml:x", "state": "s"} | wishes
    with pytest.raises(ValueError, match=words):
        fetch_fleet(**arguments)


def test_a_job_says_itself_where_its_mail_goes(url: str, tmp_path: Path) -> None:
    with Hotel({"user0": Maildrop(*mails(0))}) as hotel:

        async def work() -> None:
            job = Job(hotel.accounts()[0], f"eml:{tmp_path}/mine", tmp_path / "not this", Options(limit=2))
            async with aclosing(fetch_fleet([job], state=url)) as reports:
                async for report in reports:
                    assert report.fetched == 2
                    break

        asyncio.run(work())
    assert len(delivered(f"eml:{tmp_path}/mine")) == 2
    assert not (tmp_path / "not this").exists()


def test_a_database_that_cannot_be_used_from_the_beginning_is_an_error(hotel: Hotel, tmp_path: Path) -> None:
    with pytest.raises(StateError, match="Connection refused"):
        fetch(hotel, tmp_path, "postgresql://tests@127.0.0.1:1/x", 1)
