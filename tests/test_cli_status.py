"""`pop3fast status`: what the states know, to a person and to programs, without a server and without a password."""

import json
import re
from pathlib import Path

import pytest

from commandline import PASSWORD, plain_url, pop3fast, private
from maildrops import FastClock, Maildrop, mail
from pop3fast.fetch import Account, Options, State, StateError, account_status, fetch_mailbox
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer
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
    assert len(samples) == 8


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


def test_status_waits_for_no_fetch_that_runs(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with State(state).account("h", 110, "me") as memory:
        memory.note_success(1_700_000_000.9)
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
