"""Looks: a mailbox in which nothing is new is looked at on the loop; whatever else it is, a fetch says."""

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from hotels import HELD_SECONDS, Hotel, held
from maildrops import Instead, Maildrop, delivered, mail, numbered
from pop3fast import AuthenticationError
from pop3fast.fetch import Account, FetchReport, Job, Options, fetch_fleet
from pop3fast.fetch.fleet import _worker
from pop3fast.fetch.fleet._look import Contexts, may_look
from pop3fast.fetch.memory._age import DAY_SECONDS
from pop3fast.fetch.memory._postgres import Lease
from pop3fast.fetch.memory._postgres_turns import Claim, Returned
from pop3fast.testing import CERTIFICATE, MailboxServer
from servers.postgres import PostgresServer
from test_fetch_fleet import LONG, fetch, mails, run

NOW = 1_800_000_000
CLAIM = Claim(("h", 110, "me"), Lease(1, 1), 0, 0, 0.0, 0.0, b"mark", "", NOW - 100, None)
JOB = Job(Account("pop3+plain://me@h", password="p"), "eml:x")


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


def turn(hotel: Hotel, folder: Path, url: str) -> FetchReport:
    """Have the one account fetched once more."""
    if hotel.logins:
        run(url, "UPDATE pop3fast.turn SET due = now(), urgency = now()")
    (report,) = fetch(hotel, folder, url, 1, every=LONG)
    return report


def verbs(drop: Maildrop) -> list[bytes]:
    """Return what was sent since this was last asked, without the login."""
    found = [command.split()[0] for command in drop.commands if command.split()[0] not in {b"CAPA", b"USER", b"PASS"}]
    drop.commands.clear()
    return found


def settled(hotel: Hotel, folder: Path, url: str) -> Maildrop:
    """Return the one maildrop, when all in it was fetched and a session has seen that."""
    (drop,) = hotel.drops.values()
    assert turn(hotel, folder, url).fetched == len(drop.messages)
    assert turn(hotel, folder, url).fetched == 0
    drop.commands.clear()
    return drop


def test_where_nothing_is_new_a_look_is_enough(url: str, tmp_path: Path) -> None:
    with Hotel({"me": Maildrop(*mails(0))}) as hotel:
        drop = settled(hotel, tmp_path, url)
        before = run(url, "SELECT * FROM pop3fast.seen ORDER BY uid")
        report = turn(hotel, tmp_path, url)
        assert (report.error, report.fetched, report.seen, report.sessions) == (None, 0, 12, 1)
        assert verbs(drop) == [b"UIDL", b"STAT", b"QUIT"]
    assert run(url, "SELECT * FROM pop3fast.seen ORDER BY uid") == before
    assert run(url, "SELECT last_success IS NOT NULL, held_until FROM pop3fast.account") == [(True, None)]


def gone(drop: Maildrop) -> None:
    del drop.messages[3]


def another(drop: Maildrop) -> None:
    drop.messages[3] = (drop.messages[3][0], mail(4711, octets=90))


def came(drop: Maildrop) -> None:
    drop.messages.append((b"new", mail(77)))


@pytest.mark.parametrize(("change", "fetched"), [(came, 1), (gone, 0), (another, 1)])
def test_where_the_mailbox_has_changed_a_fetch_says_what_is_new(
    url: str,
    tmp_path: Path,
    change: Callable[[Maildrop], None],
    fetched: int,
) -> None:
    with Hotel({"me": Maildrop(*mails(0))}) as hotel:
        drop = settled(hotel, tmp_path, url)
        change(drop)
        report = turn(hotel, tmp_path, url)
        assert (report.error, report.fetched) == (None, fetched)
        assert verbs(drop).count(b"UIDL") == 2
        assert turn(hotel, tmp_path, url).fetched == 0
    assert len(delivered(f"maildir:{tmp_path}/me")) == 12 + fetched


def once(verb: bytes, reply: bytes) -> Instead:
    """Answer the first command with *verb* so."""
    left = [reply]
    return lambda command: left.pop() if left and command.startswith(verb) else None


@pytest.mark.parametrize(
    "instead",
    [once(b"UIDL", b"-ERR [SYS/TEMP] later\r\n"), once(b"STAT", b"-ERR no\r\n"), once(b"UIDL", b"nonsense\r\n")],
)
def test_what_goes_wrong_in_a_look_is_for_a_fetch_to_say(url: str, tmp_path: Path, instead: Instead) -> None:
    with Hotel({"me": Maildrop(*mails(0))}) as hotel:
        drop = settled(hotel, tmp_path, url)
        drop.instead = instead
        report = turn(hotel, tmp_path, url)
        assert (report.error, report.fetched, report.seen) == (None, 0, 12)


def test_a_password_that_is_refused_is_tried_once_a_turn(url: str, tmp_path: Path) -> None:
    with Hotel({"me": Maildrop(*mails(0))}) as hotel:
        drop = settled(hotel, tmp_path, url)
        drop.instead = lambda command: b"-ERR [AUTH] no\r\n" if command.startswith(b"PASS") else None
        # The first time another mechanism may be what the server wants now.
        assert isinstance(turn(hotel, tmp_path, url).error, AuthenticationError)
        for _ in range(2):
            drop.commands.clear()
            assert isinstance(turn(hotel, tmp_path, url).error, AuthenticationError)
            assert len(drop.sent(b"PASS")) == 1
        assert run(url, "SELECT failures FROM pop3fast.turn") == [(3,)]


def test_unique_ids_that_may_be_given_anew_are_not_looked_at(url: str, tmp_path: Path) -> None:
    drop = numbered(1, 2, 3)
    with Hotel({"me": drop}) as hotel:
        settled(hotel, tmp_path, url)
        drop.messages[2] = (b"3", mail(4))
        assert turn(hotel, tmp_path, url).fetched == 1
    assert len(delivered(f"maildir:{tmp_path}/me")) == 4


def test_a_look_that_is_stopped_gives_its_account_back(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_worker, "GRACE_SECONDS", 0.0)
    stop = threading.Event()
    with Hotel({"me": Maildrop(*mails(0))}) as hotel:
        drop = settled(hotel, tmp_path, url)
        run(url, "UPDATE pop3fast.turn SET due = now(), urgency = now()")
        with held([drop], b"UIDL", stop):
            assert fetch(hotel, tmp_path, url, 10**6, stop) == []
    assert run(url, "SELECT due <= now(), failures FROM pop3fast.turn") == [(True, 0)]
    assert run(url, "SELECT count(*) FROM pop3fast.account WHERE held_until IS NOT NULL") == [(0,)]


class Scripted:
    """Turns that wait for a word, and have accounts then."""

    def __init__(self, *claims: Claim) -> None:
        self._claims = claims
        self.asked, self.left = threading.Event(), threading.Event()
        self.returned: list[Returned] = []

    def exchange(self, returned: Sequence[Returned], most: int, per_host: int) -> list[Claim]:
        assert per_host == 1
        self.returned += returned
        if not most or self.asked.is_set():
            return []
        self.asked.set()
        self.left.wait(HELD_SECONDS)
        return [claim._replace(clock=int(time.time())) for claim in self._claims]

    def renew(self, leases: Sequence[Lease]) -> None:
        """Do nothing."""

    def account(self, claim: Claim) -> None:
        raise AssertionError(claim)

    def close(self) -> None:
        """Do nothing."""


def test_an_account_that_is_taken_while_the_worker_is_left_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Scripted(CLAIM)
    monkeypatch.setattr(_worker, "look", lambda *_: pytest.fail("nobody is looked at any more"))

    async def work() -> None:
        worker = _worker.Worker({CLAIM.key: JOB}, turns, _worker.Limits(1000.0, 1, 1), None)
        reports = worker.reports()
        first = asyncio.ensure_future(anext(reports))
        await asyncio.to_thread(turns.asked.wait, HELD_SECONDS)
        first.cancel()
        await asyncio.sleep(0)  # in which the worker hears of it
        turns.left.set()
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(work())
    assert [(each.lease, each.seconds) for each in turns.returned] == [(CLAIM.lease, 0.0)]


def test_a_look_that_is_stopped_before_it_began_gives_its_account_back(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = [CLAIM, CLAIM._replace(lease=Lease(2, 1))]
    turns = Scripted(*claims)
    turns.left.set()

    async def work() -> list[FetchReport]:
        worker = _worker.Worker({CLAIM.key: JOB}, turns, _worker.Limits(1000.0, 2, 1), None)

        def may_look_and_all_ends(claim: Claim, *_: object) -> bool:
            if claim.lease == claims[1].lease:
                worker._end_now()
            return True

        monkeypatch.setattr(_worker, "may_look", may_look_and_all_ends)
        return [report async for report in worker.reports()]

    assert asyncio.run(work()) == []
    assert {each.lease for each in turns.returned} == {claim.lease for claim in claims}


@pytest.mark.parametrize(
    ("claim", "job", "may"),
    [
        ({}, {}, True),
        ({"maildrop": None}, {}, False),
        ({"clock": None}, {}, False),
        ({"clock": NOW - DAY_SECONDS}, {}, False),
        ({"clock": NOW + 5}, {}, False),
        ({"doubted": NOW}, {}, False),
        ({"delay": 60.0}, {}, False),
        ({}, {"options": Options(delete=True)}, False),
        ({}, {"options": Options(delete_after=3)}, False),
        ({}, {"options": Options(fetch_again=["x"])}, False),
        ({}, {"account": Account("pop3://me@h", password_command="pass")}, False),
        ({}, {"account": Account("pop3://me@h", password="p", proxy="socks5://p")}, False),
        ({}, {"account": Account("pop3://me@h", password="p", ip_version=4)}, False),
    ],
)
def test_when_a_look_may_be_enough(claim: dict[str, Any], job: dict[str, Any], may: bool) -> None:  # noqa: FBT001
    assert may_look(CLAIM._replace(**claim), dataclasses.replace(JOB, **job), NOW) is may


def test_accounts_that_trust_the_same_have_one_context() -> None:
    contexts = Contexts()
    url = "pop3s://me@h"
    jobs = [Job(Account(url, password="p", ca_file=file), "eml:x") for file in (CERTIFICATE, CERTIFICATE, None)]
    one, other, system = (contexts.job(job).account for job in jobs)
    assert one.context is other.context
    assert one.context is not system.context
    assert contexts.job(JOB) is JOB
    with pytest.raises(OSError, match="No such file"):
        contexts.job(Job(Account(url, password="p", ca_file="nowhere"), "eml:x"))


def test_a_look_over_tls_trusts_what_a_fetch_trusts(url: str, tmp_path: Path) -> None:
    async def turns(account: Account) -> list[FetchReport]:
        found: list[FetchReport] = []
        async with aclosing(fetch_fleet([account], f"eml:{tmp_path}/x", state=url, every=0.2)) as reports:
            async for report in reports:
                found.append(report)
                if len(found) == 4:
                    break
        return found

    with MailboxServer([mail(1)], tls=True, uids=["unique-id-one"]) as server:
        account = Account(f"pop3s://user@127.0.0.1:{server.port}", password="password", ca_file=CERTIFICATE)
        assert [(report.error, report.fetched) for report in asyncio.run(turns(account))] == [(None, 1)] + 3 * [
            (None, 0)
        ]
        lists = server.commands.count(b"LIST")
        assert server.commands.count(b"UIDL") > lists
