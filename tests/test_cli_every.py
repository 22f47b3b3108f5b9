"""`fetch` that runs by itself: every so often, with a log, with a command afterwards."""

import json
import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from commandline import PASSWORD, SECONDS, Here, environment, plain_url, pop3fast, private, running
from fetching import in_child
from maildrops import Maildrop, delivered, mail
from pop3fast import error_proto
from pop3fast.cli._afterwards import run_afterwards
from pop3fast.cli._log import Log, opened_log
from pop3fast.cli._settings import Settings
from pop3fast.cli._text import UsageError
from pop3fast.fetch import AccountBusy, FetchReport
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING
from waiting import wait_until

ENV = {"POP3FAST_PASSWORD": PASSWORD}


def events(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def test_one_process_fetches_all_accounts_again_and_again_until_sigterm(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        MailboxServer([mail(1)], password=PASSWORD) as one,
        MailboxServer([mail(2)], password=PASSWORD) as two,
    ):
        tables = [
            f'[{name}]\nurl = "{plain_url(server)}"\nto = "eml:{name}"\n'
            for name, server in (("one", one), ("two", two))
        ]
        config = private(tmp_path / "c", f'[defaults]\npassword = "{PASSWORD}"\n' + "\n".join(tables))
        every = ("fetch", "--all", "--config", config, "--every", "0.05", "--log", str(log))
        with running(ENV, tmp_path, *every) as child:
            wait_until(lambda: min(server.commands.count(b"QUIT") for server in (one, two)) >= 3)
            log.rename(tmp_path / "log.1")
            child.send_signal(signal.SIGHUP)
            wait_until(lambda: "end" in events(log))
            child.send_signal(signal.SIGTERM)
            out, err = child.communicate(timeout=SECONDS)
    assert (child.returncode, err) == (0, "")
    # What brings nothing new is not worth a line to a person.
    assert sorted(line.partition(": ")[2][:17] for line in out.splitlines()) == ["1 message fetched"] * 2
    assert events(tmp_path / "log.1").count("delivered") == 2
    assert set(events(log)) == {"end"}
    assert delivered(f"eml:{tmp_path}/one") == [mail(1)]


def test_sigterm_in_the_middle_of_a_message_ends_it_and_an_interrupt_says_so(tmp_path: Path) -> None:
    drop = Maildrop((b"1", mail(1)))
    drop.instead = lambda command: Reply(b"+OK\r\nhalf", then="stall") if command == b"RETR 1" else None
    for number, status, said in (
        (signal.SIGTERM, 0, ""),
        (signal.SIGINT, 130, "\npop3fast: interrupted: what was delivered is remembered; run the same command again"),
    ):
        with ScriptedServer(GREETING, drop) as stalls:
            to = ("--to", f"eml:box{status}")
            with running(ENV, tmp_path, "fetch", plain_url(stalls), *to, "--every", "60") as child:
                wait_until(partial(stalls.commands.__contains__, b"RETR 1"))
                child.send_signal(number)
                _, err = child.communicate(timeout=SECONDS)
        assert (child.returncode, err.removesuffix(" to go on\n")) == (status, said)


@pytest.mark.parametrize("command", [["fetch"], ["fleet", "--state", "state"]])
def test_where_no_account_can_begin_nothing_is_waited_for(here: Here, command: list[str]) -> None:
    table = 'password-file = "nosuch"\nto = "eml:{name}"\n'
    accounts = "".join(f'[{name}]\nurl = "pop3s://{name}@127.0.0.1:1"\n{table}' for name in ("one", "two"))
    ways = () if command[0] == "fleet" else ("--all",)
    ran = here(*command, *ways, "--config", private(here.home / "config", accounts), "--every", "60", status=4)
    assert [line.count("nosuch") for line in ran.err.splitlines()] == [1, 1]


def test_an_account_that_could_not_begin_at_first_begins_when_its_server_is_back(tmp_path: Path) -> None:
    drop = Maildrop((b"1", mail(1)))
    refused: list[bytes] = []

    def refuse_twice(command: bytes) -> bytes | None:
        if command.startswith(b"PASS") and len(refused) < 2:
            refused.append(command)
            return b"-ERR [SYS/TEMP] come back later\r\n"
        return None

    drop.instead = refuse_twice
    with ScriptedServer(GREETING, drop) as server:
        every = ("fetch", plain_url(server), "--to", "eml:box", "--from-now", "--every", "0.05")
        with running(ENV, tmp_path, *every) as child:
            wait_until(lambda: server.commands.count(b"QUIT") >= 2)
            drop.messages.append((b"2", mail(2)))
            wait_until(lambda: (tmp_path / "box").exists() and delivered(f"eml:{tmp_path}/box"))
            child.send_signal(signal.SIGTERM)
            out, err = child.communicate(timeout=SECONDS)
    assert child.returncode == 0
    # Each is said: no server is asked twice in a turn.
    assert err.count("come back later") == 2, err
    assert out.startswith("1 message on the server will not be fetched: --from-now\n")
    assert delivered(f"eml:{tmp_path}/box") == [mail(2)]


def test_a_dry_run_is_done_once(here: Here) -> None:
    ran = here("fetch", "pop3s://a@b", "--to", "eml:x", "--every", "60", "--dry-run", status=2)
    assert ran.err == "pop3fast: a dry run is done once, and not --every so often\n"
    ran = here("fetch", "pop3s://a@b", "--to", "eml:x", "--every", "0", status=2)
    assert "argument --every: has to be a number of seconds above 0" in ran.err


# The log.


def test_a_log_has_what_json_has(here: Here) -> None:
    with MailboxServer([mail(1)], password=PASSWORD) as server:
        log = here.home / "log"
        for number in (1, 2):
            to = ("--to", f"eml:box{number}", "--log", str(log))
            ran = here("fetch", plain_url(server), *to, *(["--json"] if number == 2 else []), env=ENV, status=0)
    lines = log.read_text("utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["received", "delivered", "end"] * 2
    assert ran.out.splitlines() == lines[3:]
    assert log.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in log.read_text("utf-8")


def test_a_log_that_was_put_aside_goes_on_in_its_place_when_it_is_told_so(tmp_path: Path) -> None:
    path, aside = tmp_path / "log", tmp_path / "log.1"
    log = Log(str(path))
    log.write("one")
    path.rename(aside)
    log.write("two")
    log.open_anew()
    log.write("three")
    log.close()
    assert (aside.read_text("utf-8"), path.read_text("utf-8")) == ("one\ntwo\n", "three\n")


def test_a_log_that_cannot_be_written_is_said_and_ends_no_fetch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=r"^cannot write to the log .*/nothing/log: No such file or directory$"):
        Log(str(tmp_path / "nothing/log"))
    (tmp_path / "folder").mkdir()
    log = Log(str(tmp_path / "folder/log"))
    (tmp_path / "folder/log").unlink()
    (tmp_path / "folder").rmdir()
    for _ in range(2):
        log.open_anew()
        log.write("lost")
    log.close()
    assert capsys.readouterr().err.count("pop3fast: cannot write to the log ") == 1


def test_no_line_is_lost_while_a_log_cannot_be_opened_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, aside = tmp_path / "logs", tmp_path / "aside"
    folder.mkdir()
    log = Log(str(folder / "log"))
    folder.rename(aside)
    log.open_anew()
    for line in ("one", "two"):
        log.write(line)
    folder.mkdir()
    log.write("three")
    log.close()
    assert (aside / "log").read_text("utf-8") == "one\ntwo\n"
    assert (folder / "log").read_text("utf-8") == "three\n"
    assert capsys.readouterr().err.count("pop3fast: cannot write to the log ") == 1


def test_a_line_that_a_full_disk_has_cut_is_not_the_beginning_of_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"

    def child() -> None:
        log = Log(str(path))
        before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        # As good as full: a file may have no more than so many octets.
        resource.setrlimit(resource.RLIMIT_FSIZE, (8, most))
        for line in ("what is cut", "lost"):
            log.write(line)
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
        for line in ("one", "two"):
            log.write(line)

    assert in_child(child) == 0
    assert path.read_text("utf-8") == "what is \none\ntwo\n"


@pytest.mark.parametrize("put_aside", [True, False])
def test_behind_a_line_that_was_cut_a_file_that_is_opened_anew_goes_on_with_a_whole_one(
    tmp_path: Path, *, put_aside: bool
) -> None:
    path, aside = tmp_path / "log", tmp_path / "aside"

    def child() -> None:
        log = Log(str(path))
        before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8, most))
        log.write("what is cut")
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
        if put_aside:
            path.rename(aside)
        log.open_anew()
        log.write("one")

    assert in_child(child) == 0
    assert path.read_text("utf-8") == ("one\n" if put_aside else "what is \none\n")


def test_a_log_that_is_opened_anew_keeps_no_file_open_and_the_signal_is_as_before(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGHUP)
    with opened_log(str(tmp_path / "log")) as log:
        assert log is not None
        assert signal.getsignal(signal.SIGHUP) != before
        # A file that is opened next gets the lowest free descriptor: no more are open when that stays the same.
        with (tmp_path / "other").open("wb") as other:
            free = other.fileno()
        for _ in range(3):
            log.open_anew()
            log.write("line")
        with (tmp_path / "other").open("wb") as other:
            assert other.fileno() <= free
    assert signal.getsignal(signal.SIGHUP) == before


# What is run afterwards.

SAY = "sh -c 'env | grep ^POP3FAST_ | sort; echo {name}'"


def test_a_command_is_run_when_a_fetch_has_ended_well_or_not(tmp_path: Path) -> None:
    commands = ("--on-success", SAY, "--on-failure", f"sh -c 'echo failed; {SAY[7:-1]}'")
    to = ("--to", "eml:box", *commands)
    with MailboxServer([mail(1)], password=PASSWORD) as server:
        url = plain_url(server)
        assert pop3fast(tmp_path, "fetch", url, *to, env=ENV, status=0).err.splitlines() == [
            f"POP3FAST_ACCOUNT=user on 127.0.0.1:{server.port}",
            "POP3FAST_DELETED=0",
            "POP3FAST_DESTINATION=eml:box",
            "POP3FAST_ERROR=",
            "POP3FAST_FAILED=0",
            "POP3FAST_FETCHED=1",
            f"POP3FAST_NAME={url}",
            "POP3FAST_STATUS=0",
            url,
        ]
        assert pop3fast(tmp_path, "fetch", url, *to, "--dry-run", env=ENV, status=0).err == ""
    ran = pop3fast(tmp_path, "fetch", url, *to, env=ENV, status=3)
    assert "\nfailed\n" in ran.err
    assert {"POP3FAST_STATUS=3", "POP3FAST_FETCHED=0"} <= set(ran.err.splitlines())


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("false", "failed with exit status 1"),
        ("/nothing/here", "cannot be run: No such file or directory"),
        ("echo 'half", "cannot be run: No closing quotation"),
    ],
)
def test_a_command_afterwards_that_fails_is_status_1(command: str, why: str, here: Here) -> None:
    with MailboxServer([mail(1)], password=PASSWORD) as server:
        ran = here("fetch", plain_url(server), "--to", "eml:box", "--on-success", command, env=ENV, status=1)
    assert ran.err.endswith(f": the command of on-success {why}\n")


def afterwards(error: Exception, command: str) -> int:
    """Return what a command comes to that is run when *error* has ended a fetch."""
    report = FetchReport("user on host:110", "eml:box", error=error)
    return run_afterwards("name", Settings(on_success="false", on_failure=command), report)


def test_that_another_run_has_the_account_runs_neither_command(tmp_path: Path) -> None:
    assert afterwards(AccountBusy("state", "another fetch is running"), f"touch {tmp_path}/ran") == 0
    assert not (tmp_path / "ran").exists()


def test_a_command_afterwards_that_does_not_end_is_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pop3fast.cli._afterwards.SECONDS", 0.1)
    assert afterwards(OSError("lost"), "sleep 1000") == 1
    assert capsys.readouterr().err.endswith(": the command of on-failure took more than 0 seconds\n")


def test_an_error_with_a_nul_is_told_to_the_command_without_it(tmp_path: Path) -> None:
    command = f"sh -c 'printf %s \"$POP3FAST_ERROR\" >{tmp_path}/error'"
    assert afterwards(error_proto("one\0two"), command) == 0
    assert (tmp_path / "error").read_text("utf-8") == "onetwo"


def test_a_command_afterwards_reads_nothing_of_what_the_fetch_may_be_given(tmp_path: Path) -> None:
    with MailboxServer([mail(1)], password=PASSWORD) as server:
        to = ("--to", "eml:box", "--on-success", f"sh -c 'cat >{tmp_path}/read'")
        subprocess.run(
            [sys.executable, "-m", "pop3fast", "fetch", plain_url(server), *to],
            env=environment(tmp_path, ENV),
            cwd=tmp_path,
            input=b"for the next program",
            timeout=SECONDS,
            check=True,
        )
    assert (tmp_path / "read").read_bytes() == b""


def test_each_account_has_its_own_command_afterwards(here: Here) -> None:
    with MailboxServer([mail(1)], password=PASSWORD) as one, MailboxServer([mail(1)], password="other") as two:
        tables = [
            f'[{name}]\nurl = "{plain_url(server)}"\nto = "eml:{name}"\n'
            for name, server in (("one", one), ("two", two))
        ]
        config = private(
            here.home / "c",
            f'[defaults]\npassword = "{PASSWORD}"\n'
            'on-success = "touch {name}.well"\non-failure = "touch {name}.bad"\n' + "\n".join(tables),
        )
        here("fetch", "--all", "--config", config, status=1)
    assert sorted(path.name for path in here.home.glob("*.*")) == ["one.well", "two.bad"]
