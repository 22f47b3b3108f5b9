"""``python -m benches.fleet [--accounts N] [--quick]``: turns of a fleet that find nothing new, beside threads.

Owns the comparison of three ways: `fetch_fleet`, whose looks are tasks of one loop; the same with a fetch each turn;
and `fetch_many` in as many threads, whose state is a file for each account. The server has a process of its own, waits
for a round trip before each reply, and gives a mailbox of its own to every user. Says turns a second and what they took
of the processors, in the worker and in the database. No time makes it fail. Linux only, with Debian's PostgreSQL.
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
from typing import TYPE_CHECKING, NamedTuple

from benches.mailboxes import MESSAGES, served
from pop3fast.fetch import Account, FetchReport, Job, fetch_fleet, fetch_many

if TYPE_CHECKING:
    from servers.postgres import PostgresServer

ROOT = Path(__file__).parent.parent
LATENCY = 0.05
BY_FETCHES = 1_000
"""So many take as long as ten times as many looks."""
EVERY = 1e6
"""Longer than the run, so that each account has one turn."""


class Took(NamedTuple):
    """What some turns took."""

    turns: int
    seconds: float
    worker: float
    database: float

    def __str__(self) -> str:
        rate = f"{self.turns / self.seconds:7,.0f} turns/s"
        each = f"{self.worker / self.turns * 1000:6.2f} ms of processor in the worker"
        return f"{self.turns:7,} turns {rate} {each}, {self.database / self.turns * 1000:5.2f} ms in the database"


def main() -> int:
    """Measure, print and return 0."""
    parser = argparse.ArgumentParser(prog="python -m benches.fleet")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--accounts", type=int, default=10_000, metavar="N")
    parser.add_argument("--limit", type=int, default=1_000, metavar="N", help="sessions at once")
    arguments = parser.parse_args()
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
        port = stack.enter_context(served(LATENCY))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(f"nothing new, {LATENCY * 1000:.0f} ms of round trip, {arguments.limit:,} sessions at once, one worker")
        for name, took in _measured(postgres, port, folder, (accounts, fetches, arguments.limit)):
            print(f"{name:18} {took}", flush=True)
    return 0


def _measured(
    postgres: "PostgresServer", port: str, folder: Path, numbers: tuple[int, int, int]
) -> "list[tuple[str, Took]]":
    accounts, fetches, limit = numbers
    url, found = postgres.database(), []
    fleet = _Fleet(postgres, url, folder, limit)
    # A mailbox that all the others are like.
    for _ in range(2):
        fleet.turns(_accounts(port, 1))
        fleet.all_due()
    found.append(("looks", fleet.turns(_accounts(port, accounts), settle=True)))
    print(f"{'':18} {fleet.rows()}")
    found.append(("fetches", fleet.turns(_accounts(port, fetches), settle=True, by_fetches=True)))
    jobs = [Job(account, f"maildir:{folder}/{account.login}") for account in _accounts(port, min(fetches, 200))]
    for _ in range(2):
        fetch_many(jobs, threads=limit)
    found.append(("fetch_many", _took(postgres, len(jobs), lambda: _check(fetch_many(jobs, threads=limit)))))
    return found


class _Fleet:
    """Turns of one worker."""

    def __init__(self, postgres: "PostgresServer", url: str, folder: Path, limit: int) -> None:
        self._postgres = postgres
        self._url = url
        self._folder = folder
        self._limit = limit

    def turns(self, accounts: list[Account], *, settle: bool = False, by_fetches: bool = False) -> Took:
        """Have one turn of each of *accounts*, which were settled before where that is wanted."""
        if settle:
            self._settle(accounts, by_fetches=by_fetches)
        return _took(self._postgres, len(accounts), lambda: asyncio.run(self._work(accounts)))

    def all_due(self) -> None:
        """Let it be everybody's turn."""
        self._sql("UPDATE pop3fast.turn SET due = now(), urgency = now()")

    def rows(self) -> str:
        """Return how large the tables are that have a row for each account."""
        sizes = {
            table: self._sql(f"SELECT pg_total_relation_size('pop3fast.{table}'), count(*) FROM pop3fast.{table}")  # noqa: S608
            for table in ("account", "turn")
        }
        return ", ".join(f"{octets / rows:.0f} bytes of {table} each" for table, (octets, rows) in sizes.items())

    async def _work(self, accounts: list[Account]) -> None:
        left = len(accounts)
        ways = {"state": self._url, "every": EVERY, "limit": self._limit, "per_host": left + self._limit}
        fleet = fetch_fleet(accounts, lambda account: f"maildir:{self._folder}/{account.login}", **ways)  # type: ignore[arg-type]
        async with aclosing(fleet) as reports:
            async for report in reports:
                report.raise_for_error()
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


def _accounts(port: str, count: int) -> list[Account]:
    url = f"pop3+plain://127.0.0.1:{port}"
    return [Account(url, user=f"user{number}", password="password") for number in range(count)]


def _check(reports: list[FetchReport]) -> None:
    if {report.seen for report in reports} != {len(MESSAGES)}:
        raise SystemExit("not all was fetched before")


def _took(postgres: "PostgresServer", turns: int, do: Callable[[], object]) -> Took:
    used, database, began = _used(), postgres.processor_seconds(), time.perf_counter()
    do()
    seconds = time.perf_counter() - began
    return Took(turns, seconds, _used() - used, postgres.processor_seconds() - database)


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
