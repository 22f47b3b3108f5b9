"""``python -m benches.fleet [--accounts N] [--quick] [--write FILE]``: turns that find nothing new, beside threads.

Owns the comparison of three ways: `fetch_fleet`, whose looks are tasks of one loop, without TLS and with it; the same
with a fetch each turn; and `fetch_many` in as many threads, whose state is a file for each account. The server has a
process of its own, waits for a round trip before each reply, and gives a mailbox of its own to every user. Says turns a
second, what they took of the processors, in the worker and in the database, and how large rows are; `fleet_plan` makes
of it what many mailboxes need. No time makes it fail. Linux only, with Debian's PostgreSQL.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, aclosing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benches import fleet_plan
from benches.fleet_plan import Measured, Way
from benches.mailboxes import MESSAGES, served
from benches.pages import put_between_marks, refuse_to_write_quickly
from pop3fast.fetch import Account, FetchReport, Job, fetch_fleet, fetch_many
from pop3fast.testing import CERTIFICATE

if TYPE_CHECKING:
    from servers.postgres import PostgresServer

ROOT = Path(__file__).parent.parent
LATENCY = 0.05
BY_FETCHES = BY_TLS = 1_000
"""So many take as long as ten times as many looks."""
BY_THEMSELVES = 20
"""So many looks, one after the other, show how long one takes."""
ROWS = 200_000
MARKS = {
    name: (
        f"<!-- {name}: what follows is written by `python -m benches.fleet --write docs/machines.md` -->\n",
        f"\n<!-- end of {name} -->",
    )
    for name in ("measured", "plan")
}
EVERY = 1e6
"""Longer than the run, so that each account has one turn."""


class Took(NamedTuple):
    """What some turns took."""

    turns: int
    seconds: float
    worker: float
    database: float
    log: int

    def way(self, name: str) -> Way:
        """Return it for each turn."""
        turns = self.turns
        worker, database = (1000 * each / turns for each in (self.worker, self.database))
        return Way(f"{name} ({turns:,})", turns / self.seconds, worker, database, self.log / turns)


def main() -> int:
    """Measure, print and return 0."""
    parser = argparse.ArgumentParser(prog="python -m benches.fleet")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--accounts", type=int, default=10_000, metavar="N")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between their marks in FILE")
    parser.add_argument("--limit", type=int, default=1_000, metavar="N", help="sessions at once")
    arguments = parser.parse_args()
    refuse_to_write_quickly(parser, arguments)
    sys.path.insert(0, str(ROOT / "tests"))
    from servers import UnavailableError  # noqa: PLC0415 - of the tests, whose path is known from here
    from servers.postgres import PostgresServer  # noqa: PLC0415 - as above

    accounts, fetches = (40, 20) if arguments.quick else (arguments.accounts, min(BY_FETCHES, arguments.accounts))
    try:
        postgres = PostgresServer()
    except UnavailableError as error:
        print(f"not measured: {error}")
        return 0
    with ExitStack() as stack:
        stack.enter_context(postgres)
        ports = [stack.enter_context(served(LATENCY, tls=tls)) for tls in (False, True)]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(f"nothing new, {LATENCY * 1000:.0f} ms of round trip, {arguments.limit:,} sessions at once, one worker")
        measured = _measured(postgres, ports, folder, (accounts, fetches, arguments.limit))
        table = fleet_plan.table(measured)
        # From the figures as they are shown, so that who reads them can do it again.
        texts = {"measured": table, "plan": fleet_plan.plan(fleet_plan.read_back(table))}
        print(*texts.values(), sep="\n\n", flush=True)
    if arguments.write:
        for name, text in texts.items():
            put_between_marks(arguments.write, text, MARKS[name])
    return 0


def _measured(postgres: "PostgresServer", ports: list[str], folder: Path, numbers: tuple[int, int, int]) -> Measured:
    count, fetches, limit = numbers
    port, by_tls = ports
    fleet = _Fleet(postgres, postgres.database(), folder, limit)
    # A mailbox that all the others are like.
    for _ in range(2):
        fleet.turns(_accounts(port, 1))
        fleet.all_due()
    look = fleet.turns(_accounts(port, count), settle=True)
    over_tls = fleet.turns(_accounts(by_tls, min(BY_TLS, count), tls=True), settle=True)
    account_octets = fleet.account_octets()
    seconds = fleet.look_by_itself(_accounts(port, min(BY_THEMSELVES, count)))
    fetch = fleet.turns(_accounts(port, fetches), settle=True, by_fetches=True)
    jobs = [Job(account, f"maildir:{folder}/{account.login}") for account in _accounts(port, min(fetches, 200))]
    for _ in range(2):
        fetch_many(jobs, threads=limit)
    by_threads = fleet.took(len(jobs), lambda: _check(fetch_many(jobs, threads=limit)))
    return Measured(
        look.way("a look"),
        over_tls.way("a look over TLS"),
        fetch.way("a fetch in a thread, state in PostgreSQL"),
        by_threads.way("`fetch_many` in threads, state in files")._replace(database=0.0, log=0.0),
        seconds,
        account_octets,
        _message_octets(postgres.database(), min(ROWS, 40 * count)),
        LATENCY,
    )


def _message_octets(url: str, rows: int) -> float:
    """Return what a row for a message takes with its indexes, where the mail goes to objects."""
    import psycopg  # noqa: PLC0415 - an extra

    from pop3fast.fetch.memory._postgres import PostgresState  # noqa: PLC0415 - no program needs it

    PostgresState(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path TO pop3fast")
        connection.execute(
            "INSERT INTO account (host, port, \"user\") SELECT 'h', 995, n::text FROM generate_series(1, %s / 50) n",
            (rows,),
        )
        # As they come: of one account after the other, and none where the one before is.
        connection.execute(
            "INSERT INTO seen (account, uid, occurrence, size, octets, fingerprint, delivered_at, content, place) "
            "SELECT account.id, left(md5(n::text), 30)::bytea, 0, 5000, 5100, decode(md5('f' || n), 'hex'), "
            "1800000000, decode(md5('c' || n), 'hex'), "
            "('20261125T090040Z-' || md5('k' || n) || md5('l' || n) || '.eml md5 ' || md5('m' || n))::bytea "
            'FROM generate_series(0, %s - 1) n JOIN account ON "user" = (1 + n %% (%s / 50))::text ORDER BY n',
            (rows, rows),
        )
        connection.execute("VACUUM seen")
        found = connection.execute("SELECT pg_total_relation_size('seen')").fetchone()
    assert found is not None
    return float(found[0]) / rows


class _Fleet:
    """Turns of one worker."""

    def __init__(self, postgres: "PostgresServer", url: str, folder: Path, limit: int) -> None:
        self._postgres = postgres
        self._url = url
        self._folder = folder
        self._limit = limit
        self._seconds: list[float] = []
        """How long each turn took."""

    def turns(self, accounts: list[Account], *, settle: bool = False, by_fetches: bool = False) -> Took:
        """Have one turn of each of *accounts*, which were settled before where that is wanted."""
        if settle:
            self._settle(accounts, by_fetches=by_fetches)
        return self.took(len(accounts), lambda: asyncio.run(self._work(accounts)))

    def look_by_itself(self, accounts: list[Account]) -> float:
        """Return how long a look takes, in seconds, while there is no other."""
        self.all_due()
        self._seconds.clear()
        limit, self._limit = self._limit, 1
        asyncio.run(self._work(accounts))
        self._limit = limit
        return median(self._seconds)

    def took(self, turns: int, do: Callable[[], object]) -> Took:
        """Return what so many *turns* take, which *do* does."""
        log = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
        used, database, (written,) = _used(), self._postgres.processor_seconds(), self._sql(log)
        began = time.perf_counter()
        do()
        seconds = time.perf_counter() - began
        after = _used(), self._postgres.processor_seconds()
        return Took(turns, seconds, after[0] - used, after[1] - database, self._sql(log)[0] - written)

    def all_due(self) -> None:
        """Let it be everybody's turn."""
        self._sql("UPDATE pop3fast.turn SET due = now(), urgency = now()")

    def account_octets(self) -> float:
        """Return how large the rows of each account are, in the tables that have one."""
        octets = 0.0
        for table in ("account", "turn"):
            size, rows = self._sql(f"SELECT pg_total_relation_size('pop3fast.{table}'), count(*) FROM pop3fast.{table}")  # noqa: S608
            octets += size / rows
        return octets

    async def _work(self, accounts: list[Account]) -> None:
        left = len(accounts)
        ways = {"state": self._url, "every": EVERY, "limit": self._limit, "per_host": left + self._limit}
        fleet = fetch_fleet(accounts, lambda account: f"maildir:{self._folder}/{account.login}", **ways)  # type: ignore[arg-type]
        async with aclosing(fleet) as reports:
            async for report in reports:
                report.raise_for_error()
                self._seconds.append(report.seconds)
                if report.fetched and report.seen:
                    raise SystemExit("something was fetched twice")
                left -= 1
                if not left:
                    return

    def _settle(self, accounts: list[Account], *, by_fetches: bool) -> None:
        """Make known *accounts*, as if all in each was fetched; by *by_fetches*, of which nothing more is known."""
        from pop3fast.fetch.memory._postgres_turns import PostgresTurns  # noqa: PLC0415 - no program needs it

        turns = PostgresTurns(self._url, [(each.host, each.port, each.login) for each in accounts])
        turns.exchange([], 0, 1)
        turns.close()
        first = "(SELECT * FROM pop3fast.account ORDER BY id LIMIT 1)"
        self._sql(
            f"UPDATE pop3fast.account SET maildrop = first.maildrop, time = first.time, clock = first.clock, "  # noqa: S608
            f"shown = first.shown, sizes = first.sizes FROM {first} first"
        )
        self._sql(
            "INSERT INTO pop3fast.seen SELECT account.id, uid, occurrence, size, octets, fingerprint, delivered_at, "  # noqa: S608
            f"content, place FROM pop3fast.account, pop3fast.seen WHERE account = (SELECT id FROM {first} first) "
            "ON CONFLICT DO NOTHING"
        )
        if by_fetches:
            # A clock that is not believed is for a fetch to look at.
            self._sql("UPDATE pop3fast.account SET doubted = clock")
        self.all_due()
        self._sql("VACUUM ANALYZE")

    def _sql(self, statement: str) -> tuple[int, ...]:
        import psycopg  # noqa: PLC0415 - an extra

        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return tuple(map(int, cursor.fetchone() or ())) if cursor.description else ()


def _accounts(port: str, count: int, *, tls: bool = False) -> list[Account]:
    url, trusted = (f"pop3s://127.0.0.1:{port}", CERTIFICATE) if tls else (f"pop3+plain://127.0.0.1:{port}", None)
    return [Account(url, user=f"user{number}", password="password", ca_file=trusted) for number in range(count)]


def _check(reports: list[FetchReport]) -> None:
    if {report.seen for report in reports} != {len(MESSAGES)}:
        raise SystemExit("not all was fetched before")


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
