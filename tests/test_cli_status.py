"""`pop3fast status`: what the states know, to a person and to programs, without a server and without a password."""

import json
import re
from pathlib import Path

import pytest

from commandline import PASSWORD, Here, plain_url, pop3fast, private
from maildrops import FastClock, Maildrop, mail
from pop3fast.fetch import Account, Options, State, StateError, account_status, fetch_mailbox
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch.memory._states import open_state
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from servers.postgres import PostgresServer
from shapes import GREETING


def config(home: Path, servers: dict[str, MailboxServer]) -> str:
    tables = [
        f'[{name}]\nurl = "{plain_url(server)}"\nto = "maildir:{home}/{name}"\n' for name, server in servers.items()
    ]
    return private(home / "config.toml", f'[defaults]\npassword = "{PASSWORD}"\n' + "\n".join(tables))


def test_status_of_accounts_that_were_fetched_and_of_one_that_never_was(tmp_path: Path) -> None:
    with MailboxServer([mail(1), mail(2)], password=PASSWORD) as one, MailboxServer([], password=PASSWORD) as two:
        path = config(tmp_path, {"one": one, "two": two})
        pop3fast(tmp_path, "fetch", "one", "--config", path, status=0)
        commands = len(one.commands)
        ran = pop3fast(tmp_path, "status", "--config", path, status=0)
        rows = json.loads(pop3fast(tmp_path, "status", "--config", path, "--json", status=0).out)
        (row,) = json.loads(pop3fast(tmp_path, "status", "one", "--config", path, "--json", status=0).out)
        metrics = pop3fast(tmp_path, "status", "--config", path, "--prometheus", status=0).out
        assert (len(one.commands), two.commands) == (commands, [])
    assert row == rows[0]
    known = account_status(tmp_path / "one/pop3fast.sqlite", one.host, one.port, "user")
    assert row.pop("last_success") == known.last_success is not None
    who = [f"user on 127.0.0.1:{server.port}" for server in (one, two)]
    assert row == {
        "account": who[0],
        "destination": f"maildir:{tmp_path}/one",
        "known": 2,
        "failing": 0,
        "quarantined": 0,
        "waiting": 0,
    }
    assert (rows[1]["last_success"], rows[1]["known"]) == (None, 0)
    lines = ran.out.splitlines()
    assert lines[0] == f"[one] {who[0]} to maildir:{tmp_path}/one"
    assert re.fullmatch(r"  last fetch that ended well: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(\d+:\d\d ago\)", lines[1])
    assert lines[2:] == [
        "  2 messages remembered as fetched",
        f"[two] {who[1]} to maildir:{tmp_path}/two",
        "  no fetch has ended well yet",
        "  0 messages remembered as fetched",
    ]
    assert not (tmp_path / "two").exists()
    samples = [line for line in metrics.splitlines() if not line.startswith("#")]
    assert f'pop3fast_known_messages{{account="{who[0]}"}} 2' in samples
    assert f'pop3fast_last_success_seconds{{account="{who[1]}"}} 0' in samples
    assert {line.partition("{")[0] for line in samples} == {
        line.split()[2] for line in metrics.splitlines() if line.startswith("# TYPE")
    }
    assert len(samples) == 10


def test_a_state_in_postgresql_is_read_as_a_file_is_also_while_somebody_has_the_account(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url, rows = postgres.database(), []
    with MailboxServer([mail(1), mail(2)], password=PASSWORD) as server:
        path = config(tmp_path, {"one": server})
        for state in (str(tmp_path / "state"), url):
            ways = ("--config", path, "--state", state, "--to", f"eml:{tmp_path}/{state == url}", "--limit", "1")
            pop3fast(tmp_path, "fetch", "one", *ways, "-q", status=0)
            with open_state(state).account(server.host, server.port, "user"):
                (row,) = json.loads(pop3fast(tmp_path, "status", *ways[:6], "--json", status=0).out)
            assert row.pop("last_success") is not None
            rows.append({**row, "destination": ""})
    assert rows[0] == rows[1]
    assert (rows[0]["known"], rows[0]["waiting"]) == (1, 1)


def test_no_two_samples_have_the_same_labels(tmp_path: Path) -> None:
    with MailboxServer([], password=PASSWORD) as server:
        path = config(tmp_path, {"here": server, "there": server})
        metrics = pop3fast(tmp_path, "status", "--config", path, "--prometheus", status=0).out
    labels = re.findall(r'^pop3fast_known_messages\{account="(.*)"\}', metrics, re.MULTILINE)
    assert labels == [f"user on 127.0.0.1:{server.port} ({name})" for name in ("here", "there")]


def test_a_fetch_that_failed_is_no_success(tmp_path: Path) -> None:
    drop = Maildrop((b"one", mail(1)), (b"two", mail(2)))
    drop.instead = lambda command: b"-ERR broken\r\n" if command == b"RETR 2" else None
    to, state = f"eml:{tmp_path}/box", f"{tmp_path}/state"
    with ScriptedServer(GREETING, drop) as server:
        account = Account(plain_url(server), password="x")
        fetch_mailbox(account, to, state=state, dry_run=True)
        assert account_status(state, server.host, server.port, "user").last_success is None
        assert not fetch_mailbox(account, to, state=state).ok
        found = account_status(state, server.host, server.port, "user")
        assert (found.last_success, found.known) == (None, 1)
        assert fetch_mailbox(account, to, state=state, dry_run=True).ok
        assert account_status(state, server.host, server.port, "user") == found
        drop.instead = lambda _: None
        clock = FastClock()
        assert run_job(Job(account, to, state), Surroundings(clock)).ok
        found = account_status(state, server.host, server.port, "user")
        assert (found.last_success, found.known) == (int(clock.date()), 2)


def test_messages_that_did_not_come_whole_are_failing_and_what_is_left_is_not_known(tmp_path: Path) -> None:
    drop = Maildrop((b"one", mail(1)), (b"two", mail(2)), (b"three", mail(3)))
    drop.sizes = {b"two": 9000}
    to, state = f"eml:{tmp_path}/box", f"{tmp_path}/state"
    options = Options(since_last=True, trust_sizes=True, max_size=10_000)
    with ScriptedServer(GREETING, drop) as server:
        account = Account(plain_url(server), password="x")
        report = fetch_mailbox(
            account, to, state=state, trust_sizes=options.trust_sizes, since_last=True, max_size=options.max_size
        )
        found = account_status(state, server.host, server.port, "user")
    assert (found.known, found.failing) == (report.fetched, len(report.failures))
    assert found.failing == 1


def waiting(state: str, server: ScriptedServer) -> int:
    return account_status(state, server.host, server.port, "user").waiting


def test_what_a_fetch_left_is_waiting_until_one_has_got_it(tmp_path: Path) -> None:
    drop = Maildrop(*((b"u%d" % number, mail(number)) for number in range(1, 6)), (b"large", mail(6, 5000)))
    drop.instead = lambda command: b"-ERR no\r\n" if command == b"RETR 2" else None
    to, state = f"eml:{tmp_path}/box", f"{tmp_path}/state"
    with ScriptedServer(GREETING, drop) as server:
        account = Account(plain_url(server), password="x")
        fetch_mailbox(account, to, state=state, dry_run=True)
        assert waiting(state, server) == 0
        # One is beyond the size, one is refused, two are beyond the limit.
        report = fetch_mailbox(account, to, state=state, max_size=4000, limit=3)
        assert (report.fetched, len(report.failures), waiting(state, server)) == (2, 1, 4)
        assert fetch_mailbox(account, to, state=state, max_size=4000).fetched == 2
        assert waiting(state, server) == 2
        drop.instead = lambda _: None
        assert fetch_mailbox(account, to, state=state).fetched == 2
        assert waiting(state, server) == 0
        # Where nothing is new, too, whatever was waiting: that is seen at the first glance.
        fetch_mailbox(account, to, state=state)
        drop.messages.append((b"new", mail(7)))
        fetch_mailbox(account, to, state=state, dry_run=True)
        assert waiting(state, server) == 0
        fetch_mailbox(account, to, state=state, max_size=1)
        assert waiting(state, server) == 1
        drop.messages.pop()
        fetch_mailbox(account, to, state=state, max_size=1)
        assert waiting(state, server) == 0


def test_what_a_lost_connection_left_is_waiting_and_no_listing_changes_nothing(tmp_path: Path) -> None:
    drop = Maildrop(*((b"u%d" % number, mail(number)) for number in range(1, 6)))
    to, state = f"eml:{tmp_path}/box", f"{tmp_path}/state"
    with ScriptedServer(GREETING, drop) as server:
        job = Job(Account(plain_url(server), password="x"), to, state)
        drop.instead = lambda command: Reply(then="fin") if command == b"RETR 3" else None
        report = run_job(job, Surroundings(FastClock()))
        assert waiting(state, server) == 5 - report.fetched == len(report.failures) > 0
        drop.instead = lambda command: b"-ERR [SYS/PERM] no\r\n" if command.startswith(b"PASS") else None
        assert run_job(job, Surroundings(FastClock())).fetched == 0
        assert waiting(state, server) == len(report.failures)


def test_what_a_filter_skips_waits_for_nobody_and_what_it_leaves_does(tmp_path: Path) -> None:
    drop = Maildrop(*((b"u%d" % number, mail(number)) for number in range(90, 93)))
    state = f"{tmp_path}/state"
    command = "sh -c 'exit ${POP3FAST_UID#u}'"  # each is told the number that its name ends with
    with ScriptedServer(GREETING, drop) as server:
        account = Account(plain_url(server), password="x")
        report = fetch_mailbox(account, f"eml:{tmp_path}/box", state=state, filter=command)
        assert (report.skipped, len(report.left), report.discarded) == (1, 1, 1)
        assert waiting(state, server) == 1


def test_what_a_destination_refused_waits_until_somebody_asks(tmp_path: Path) -> None:
    drop = Maildrop(*((b"u%d" % number, mail(number)) for number in range(1, 4)))
    state = f"{tmp_path}/state"
    with ScriptedServer(GREETING, drop) as server:
        account = Account(plain_url(server), password="x")
        for to, waits in (("pipe:sh -c 'exit 65'", 3), ("pipe:true", 3)):  # of sysexits.h: for good
            fetch_mailbox(account, to, state=state)
            assert waiting(state, server) == waits
        assert fetch_mailbox(account, "pipe:true", state=state, fetch_again=True).fetched == 3
        assert waiting(state, server) == 0


def test_checkpoints_and_messages_without_a_lasting_name_count_once(tmp_path: Path) -> None:
    names = [b"ENOMEM-1", b"a", b"ENOMEM-2", b"b", b"c"]
    drop = Maildrop(*((name, mail(number)) for number, name in enumerate(names)))
    state = f"{tmp_path}/state"
    with ScriptedServer(GREETING, drop) as server:
        account = Account(plain_url(server), password="x")
        report = fetch_mailbox(account, f"eml:{tmp_path}/box", state=state, delete=True, checkpoint_messages=1)
        assert (report.fetched, report.sessions > 1, waiting(state, server)) == (5, True, 0)


def test_a_person_and_prometheus_are_told_how_many_wait(tmp_path: Path) -> None:
    with MailboxServer([mail(1), mail(2), mail(3)], password=PASSWORD) as server:
        path = config(tmp_path, {"one": server})
        pop3fast(tmp_path, "fetch", "one", "--config", path, "--limit", "1", status=0)
        assert "  1 message remembered as fetched, 2 waiting on the server\n" in (
            pop3fast(tmp_path, "status", "--config", path, status=0).out
        )
        metrics = pop3fast(tmp_path, "status", "--config", path, "--prometheus", status=0).out
    assert f'pop3fast_waiting_messages{{account="user on 127.0.0.1:{server.port}"}} 2\n' in metrics


def test_a_label_has_what_would_end_it_escaped(here: Here) -> None:
    url = "pop3s://a%22b%5Cc@mail.example.org"
    metrics = here("status", url, "--state", "x", "--prometheus", status=0).out
    assert 'pop3fast_known_messages{account="a\\"b\\\\c on mail.example.org:995"} 0\n' in metrics


def test_status_waits_for_no_fetch_that_runs(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with State(state).account("h", 110, "me") as memory:
        memory.note_waiting(7)
        assert account_status(state, "h", 110, "me")[:1] + account_status(state, "h", 110, "me")[4:] == (None, 7)
        memory.note_success(1_700_000_000.9)
        assert account_status(state, "h", 110, "me").waiting == 7
        assert account_status(state, "h", 110, "me").last_success == 1_700_000_000
    assert account_status(state, "h", 110, "you").last_success is None
    assert account_status(tmp_path / "nothing", "h", 110, "me").last_success is None
    assert not (tmp_path / "nothing").exists()


def test_a_state_that_cannot_be_read_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    with MailboxServer([], password=PASSWORD) as one, MailboxServer([], password=PASSWORD) as two:
        path = config(tmp_path, {"one": one, "two": two})
    (tmp_path / "one").mkdir()
    (tmp_path / "one/pop3fast.sqlite").write_bytes(b"no database" * 1000)
    (tmp_path / "one/pop3fast.sqlite").chmod(0o600)
    ran = pop3fast(tmp_path, "status", "--config", path, "--json", status=1)
    assert ran.err.startswith(f"pop3fast: user on 127.0.0.1:{one.port}: cannot use the state in ")
    assert [row["account"] for row in json.loads(ran.out)] == [f"user on 127.0.0.1:{two.port}"]
    with pytest.raises(StateError):
        account_status(tmp_path / "one/pop3fast.sqlite", "h", 110, "me")


def test_status_of_a_url_needs_to_know_where_the_mail_goes(tmp_path: Path) -> None:
    ran = pop3fast(tmp_path, "status", "pop3s://ada@mail.example.org", status=2)
    assert ran.err == "pop3fast: nobody says where the mail goes, or --state\n"
    ran = pop3fast(tmp_path, "status", "pop3s://ada@mail.example.org", "--state", "x", "--json", status=0)
    assert json.loads(ran.out)[0]["account"] == "ada on mail.example.org:995"
    ran = pop3fast(tmp_path, "status", "pop3s://mail.example.org", "--to", "eml:x", status=2)
    assert ran.err == "pop3fast: nobody says who logs in\n"
