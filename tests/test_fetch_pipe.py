"""`pipe:`: programs get messages one by one, and their exit status decides. Real programs, and scripts of the tests."""

import os
import re
import shlex
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest

from commandline import PASSWORD, plain_url, pop3fast
from maildrops import FastClock, Maildrop, RushingClock, account_of, delivered, fetch_from, mail
from pop3fast.fetch import (
    DestinationError,
    FetchReport,
    Job,
    MessageDeferred,
    Options,
    default_path,
    fetch_mailbox,
    open_destination,
)
from pop3fast.fetch._retrying import Surroundings, run_job
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.destinations import _program
from pop3fast.fetch.destinations._kinds import KINDS
from pop3fast.fetch.destinations._pipe import MEANINGS, REFUSALS
from pop3fast.fetch.destinations._program import MOST_OUTPUT, Program
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer

MAILS = [(b"u%d" % number, mail(number)) for number in range(1, 4)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def script(folder: Path, text: str) -> str:
    """Return a destination that runs *text* of sh."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return f"pipe:{path}"


def fetch(server: ScriptedServer, to: str, options: Options | None = None, **more: object) -> FetchReport:
    job = Job(account_of(server), to, None, options or Options(), **more)  # type: ignore[arg-type]
    return run_job(job)


def test_each_message_comes_to_a_program_of_its_own_in_order_with_lf(server: ScriptedServer, home: Path) -> None:
    to = script(home, f"n=$(ls {home}/in* 2>/dev/null | wc -l); exec cat > {home}/in$n")
    report = fetch(server, to)
    assert (report.fetched, report.exit_status, report.destination) == (3, 0, to)
    got = [(home / f"in{number}").read_bytes() for number in range(3)]
    assert got == [content.replace(b"\r\n", b"\n") for _, content in MAILS]
    assert fetch(server, to).seen == 3
    assert not (home / "in3").exists()


def test_there_is_no_shell(server: ScriptedServer, home: Path) -> None:
    arguments = ["a b", "$HOME", "*", "; touch gone", "'"]
    to = script(home, f'printf "%s\\n" "$@" > {home}/arguments')
    assert fetch(server, f"{to} {shlex.join(arguments)}").exit_status == 0
    assert (home / "arguments").read_text().splitlines() == arguments


@pytest.mark.parametrize("status", [0, 75])
def test_a_program_that_runs_another_as_rspamc_does_gives_it_the_message_and_says_whether_it_took_it(
    server: ScriptedServer, drop: Maildrop, home: Path, status: int
) -> None:
    """As ``rspamc --mime --exec COMMAND``, which ends with 1 when the command failed."""
    scan = '(echo "X-Spam: no"; cat) | eval "$3" || exit 1'
    delivery = f"sh -c 'cat >> {home}/box; exit {status}'"
    to = script(home, f'[ "$1 $2" = "--mime --exec" ] || exit 64\n{scan}')
    report = fetch(server, f"{to} --mime --exec {shlex.quote(delivery)}", Options(delete=True))
    assert (report.deleted, len(report.failures), len(report.refused)) == ((3, 0, 0) if status == 0 else (0, 3, 0))
    assert (home / "box").read_bytes() == b"".join(b"X-Spam: no\n" + each.replace(b"\r\n", b"\n") for _, each in MAILS)
    assert len(drop.messages) == len(report.failures)


def test_sender_recipient_and_key_are_in_the_environment(server: ScriptedServer, drop: Maildrop, home: Path) -> None:
    to = script(home, f"echo $SENDER $RECIPIENT $POP3FAST_KEY >> {home}/told")
    fetch(server, to)
    fetch(server, to, Options(fetch_again=True), recipient=("a@example.org", "b"))
    told = [line.split() for line in (home / "told").read_text().splitlines()]
    assert [line[:2] for line in told] == [["a@example.org", "user"]] * 3 + [["a@example.org", "a@example.org,b"]] * 3
    keys = [line[2] for line in told]
    assert keys[:3] == keys[3:]
    assert len({*keys}) == 3
    # It is of the content, too: a server may give the unique-id to another message.
    drop.messages = [(drop.messages[0][0], mail(9))]
    fetch(server, to, Options(fetch_again=True))
    assert (home / "told").read_text().split()[-1] not in keys


@pytest.mark.parametrize("status", [1, 2, *MEANINGS, 79, 126, 127, 255])
def test_the_exit_status_decides(status: int, home: Path, drop: Maildrop, server: ScriptedServer) -> None:
    to = script(home, f"grep -q 'Subject: 2' && exit {status}; exit 0")
    report = fetch(server, to, Options(delete=True))
    assert (report.fetched, report.deleted, report.exit_status, report.error) == (2, 2, 1, None)
    assert [(named.uid, f"exit status {status}" in named.why) for named in report.failures] == [(b"u2", True)]
    assert [uid for uid, _ in drop.messages] == [b"u2"]
    script(home, "exit 0")
    report = fetch(server, to)
    assert (report.fetched, len(report.refused)) == ((0, 1) if status in {64, 65, 66, 68, 70, 76, 77} else (1, 0))


def test_the_numbers_are_those_of_the_system() -> None:
    ours = {name: value for name, value in vars(os).items() if name.startswith("EX_") and value}
    assert {*ours.values()} - {os.EX_OK} <= {*MEANINGS}
    assert {number for number in MEANINGS if number not in REFUSALS} == {67, 69, 71, 72, 73, 74, 75, 78}
    assert {os.EX_TEMPFAIL, os.EX_NOUSER, os.EX_UNAVAILABLE}.isdisjoint(REFUSALS)


def test_a_signal_is_temporary_and_named(server: ScriptedServer, home: Path) -> None:
    report = fetch(server, script(home, "kill -9 $$"))
    assert ["was ended by SIGKILL" in named.why for named in report.failures] == [True] * 3
    assert fetch(server, script(home, "exit 0")).fetched == 3


def test_what_a_program_prints_is_in_the_report_and_moves_no_terminal(server: ScriptedServer, home: Path) -> None:
    to = script(home, r"printf 'no\033[2J room\n\n \377 caf\303\251\n' >&2; yes | head -c 300000; exit 75")
    why = fetch(server, to).failures[0].why
    assert "exit status 75 (not now): no\\x1b[2J room / \\xff café / y / y" in why
    assert why.isprintable()
    assert len(why) < 3000


def test_a_program_that_reads_nothing_or_closes_its_output_is_no_trouble(server: ScriptedServer, home: Path) -> None:
    assert fetch(server, script(home, "exec >&- 2>&- <&-; sleep 0.05; exit 0")).fetched == 3
    large = mail(9, 300_000)
    with MailboxServer([large]) as other:
        assert fetch_from(other, script(home, "exit 0")).fetched == 1


@pytest.fixture(params=["the system says when a program ends", "it does not"])
def ending(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "it does not":

        def refuse(_process: int) -> int:
            raise PermissionError

        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)


@pytest.mark.usefixtures("ending")
def test_what_a_program_leaves_running_is_not_waited_for(server: ScriptedServer, home: Path) -> None:
    to = script(home, f"sleep 1000 & echo $! >> {home}/left")
    assert fetch(server, to).fetched == 3
    for line in (home / "left").read_text().split():
        os.kill(int(line), signal.SIGKILL)


@pytest.mark.usefixtures("ending")
def test_what_a_program_leaves_running_can_go_on_to_print(server: ScriptedServer, home: Path) -> None:
    os.mkfifo(home / "go")
    # If nobody read its output, SIGPIPE would end the program that prints.
    printing = f"if yes | head -c 300000; then echo all > {home}/alive; else echo ended > {home}/alive; fi"
    to = script(home, f"(cat {home}/go; {printing}) & exit 0")
    os.mkfifo(home / "alive")
    assert fetch(server, to, Options(limit=1)).fetched == 1
    (home / "go").write_text("go on")
    assert (home / "alive").read_text() == "all\n"


@pytest.mark.usefixtures("ending")
def test_all_that_a_program_prints_at_its_end_is_in_the_report(server: ScriptedServer, home: Path) -> None:
    to = script(home, "printf first; printf last; exit 75")
    assert fetch(server, to, Options(limit=1)).failures[0].why.endswith(": firstlast")


def test_of_what_a_program_prints_without_end_the_beginning_is_kept_and_escaped(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = r"printf '0123456789\033\n'; yes 0123456789 | head -c 500000"
    program = Program("pipe:", script(home, text).removeprefix("pipe:"), 60.0, FastClock())
    status, output = program.run(lambda _: None, {})
    assert (status, output.isprintable()) == (0, True)
    assert output.startswith("0123456789\\x1b / 0123456789 / ")
    monkeypatch.setattr(_program._Output, "shown", lambda kept: str(len(kept._begin)))
    assert program.run(lambda _: None, {}).output == str(MOST_OUTPUT)


@pytest.mark.usefixtures("ending")
def test_a_program_that_closes_its_output_long_before_it_ends_is_waited_for(server: ScriptedServer, home: Path) -> None:
    to = script(home, f"exec >&- 2>&-; cat > {home}/got; sleep 0.3; echo >> {home}/ended; exit 0")
    assert fetch(server, to).fetched == 3
    assert (home / "ended").read_text() == "\n" * 3


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(server: ScriptedServer, home: Path) -> None:
    os.mkfifo(home / "alive")
    # The reader sees the end of the pipe when no process has it open any more.
    to = script(home, f"trap '' TERM; exec 3>{home}/alive; sleep 1000 & sleep 1000")
    clock = RushingClock(100.0)

    def watch() -> None:
        with (home / "alive").open("rb") as alive:
            # It has begun, and would not end by itself.
            clock.rushes = True
            alive.read()

    ended = threading.Thread(target=watch, daemon=True)
    ended.start()
    job = Job(account_of(server), to, None, Options(limit=1), pipe_timeout=60.0)
    report = run_job(job, Surroundings(clock=clock))
    assert "took more than 60 seconds, and was ended" in report.failures[0].why
    assert report.exit_status == 1
    ended.join(30)
    assert not ended.is_alive()


def test_a_hurry_ends_a_program_long_before_its_time_is_over(home: Path) -> None:
    clock = RushingClock(1.0)
    os.mkfifo(home / "begun")
    program = Program("pipe:", script(home, f"echo > {home}/begun; sleep 1000").removeprefix("pipe:"), 10.0, clock)

    def hurry() -> None:
        (home / "begun").read_bytes()
        program.hurry()
        clock.rushes = True

    hurrying = threading.Thread(target=hurry)
    hurrying.start()
    with pytest.raises(MessageDeferred, match="was interrupted, and was ended"):
        program.run(lambda _: None, {})
    hurrying.join()


@pytest.mark.usefixtures("ending")
def test_a_program_that_closes_its_output_and_hangs_is_ended(server: ScriptedServer, home: Path) -> None:
    to = script(home, "exec >&- 2>&-; exec sleep 1000")
    report = fetch(server, to, Options(limit=1), pipe_timeout=0.2)
    assert "took more than 0.2 seconds, and was ended" in report.failures[0].why


def test_the_word_to_stop_ends_a_program_and_its_message_stays_new(server: ScriptedServer, home: Path) -> None:
    stop, clock = Stop(), RushingClock(1000.0)
    os.mkfifo(home / "begun")
    to = script(home, f"echo > {home}/begun; sleep 1000")

    def say() -> None:
        (home / "begun").read_bytes()
        stop.say()
        clock.rushes = True

    teller = threading.Thread(target=say, daemon=True)
    teller.start()
    with pytest.raises(KeyboardInterrupt):
        run_job(Job(account_of(server), to), Surroundings(stop=stop, clock=clock))
    teller.join()
    assert fetch(server, script(home, "exit 0")).fetched == 3


@pytest.mark.parametrize("words", ["", " ", "a 'b", "a\0b"])
def test_a_command_that_makes_no_sense_is_an_error_in_words(words: str, server: ScriptedServer) -> None:
    with pytest.raises(ValueError, match=r"pipe: (makes no sense|needs a command)"):
        fetch(server, f"pipe:{words}")


@pytest.mark.parametrize("recipient", ["", "a b", "<a@example.org>", "a\n", ("a", "")])
def test_a_recipient_that_makes_no_sense_is_an_error_in_words(
    recipient: str | tuple[str, ...], server: ScriptedServer
) -> None:
    with pytest.raises(ValueError, match="a recipient is an address"):
        fetch_mailbox(account_of(server), "pipe:cat", recipient=recipient)
    with pytest.raises(ValueError, match="pipe_timeout is a number of seconds above 0"):
        fetch_mailbox(account_of(server), "pipe:cat", pipe_timeout=0)


def test_a_program_that_is_not_there_ends_the_fetch_before_anybody_logs_in(
    server: ScriptedServer, drop: Maildrop, home: Path
) -> None:
    report = fetch(server, f"pipe:{home}/nothing")
    assert isinstance(report.error, DestinationError)
    assert "no such program" in str(report.error)
    assert (report.exit_status, drop.sessions) == (5, 0)


def test_a_program_that_goes_away_ends_the_fetch_and_nothing_is_lost(
    server: ScriptedServer, drop: Maildrop, home: Path
) -> None:
    to = script(home, 'grep -q "Subject: 2" && rm "$0"; exit 0')
    report = fetch(server, to, Options(delete=True))
    assert isinstance(report.error, DestinationError)
    assert (report.fetched, report.exit_status) == (2, 5)
    script(home, "exit 0")
    assert fetch(server, to, Options(delete=True)).deleted == 3
    assert drop.messages == []


def test_one_that_was_killed_before_it_was_remembered_comes_again_with_the_same_key(
    server: ScriptedServer, home: Path
) -> None:
    to = script(home, f"echo $POP3FAST_KEY >> {home}/keys; exec cat > /dev/null")
    children: list[int] = []
    for _ in range(2):
        child = os.fork()
        if not child:
            status = 1
            try:
                script(home, f"echo $POP3FAST_KEY >> {home}/keys; kill -9 {os.getpid()}; sleep 1")
                fetch(server, to)
            finally:
                os._exit(status)
        children.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert children == [-signal.SIGKILL] * 2
    script(home, f"echo $POP3FAST_KEY >> {home}/keys")
    assert fetch(server, to).fetched == 3
    keys = (home / "keys").read_text().split()
    assert keys[:3] == [keys[0]] * 3
    assert len({*keys}) == 3


def test_another_command_is_another_destination(home: Path) -> None:
    one, other = (default_path(open_destination(f"pipe:cat {name}")) for name in ("a", "b"))
    assert one != other
    assert one.startswith(f"{home}/state/pop3fast/pipe-cat-a-")


def test_the_options_of_the_command_line_reach_the_program(home: Path) -> None:
    to = script(home, f"echo $RECIPIENT > {home}/told")
    env = {"POP3FAST_PASSWORD": PASSWORD, "XDG_STATE_HOME": str(home / "state")}
    with MailboxServer([mail(1)], password=PASSWORD) as server:
        command = ("fetch", plain_url(server), "--to")
        pop3fast(home, *command, to, "--recipient", "me@example.org", env=env, status=0)
        ran = pop3fast(home, *command, "pipe:sleep 1000", "--pipe-timeout", "0.2", env=env, status=1)
    assert "took more than 0.2 seconds" in ran.err
    assert (home / "told").read_text() == "me@example.org\n"


def test_the_documentation_has_each_kind_and_its_promise() -> None:
    page = (Path(__file__).parent.parent / "docs" / "destinations.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z0-9]+:[^`]*)`[^|]*\|[^|]*\| (.*) \|$", page, re.MULTILINE))
    assert rows == {kind.form: "once" if kind.once else "at least once" for kind in KINDS.values()}


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def test_with_cat_it_does_nothing(server: ScriptedServer) -> None:
    assert fetch(server, f"pipe:{needs('cat')}").fetched == 3


def test_with_python_the_message_is_read_from_standard_input(server: ScriptedServer, home: Path) -> None:
    code = f"import sys; open({str(home / 'got')!r}, 'ab').write(sys.stdin.buffer.read())"
    assert fetch(server, f"pipe:{shlex.join([sys.executable, '-c', code])}").fetched == 3
    assert (home / "got").read_bytes().count(b"Subject: ") == 3


def test_with_procmail_the_mail_is_in_its_maildir(server: ScriptedServer, home: Path) -> None:
    (home / "rules").write_text(f"MAILDIR={home}\nDEFAULT={home}/box/\n:0\n* ^Subject: 2\n{home}/two/\n")
    to = f"pipe:{needs('procmail')} -m {home}/rules"
    (home / "rules").chmod(0o600)
    assert fetch(server, to, Options(delete=True)).deleted == 3
    assert delivered(f"maildir:{home}/two") == [mail(2)]
    assert delivered(f"maildir:{home}/box") == sorted([mail(1), mail(3)])


def test_with_maildrop_the_mail_is_in_its_maildir(server: ScriptedServer, home: Path) -> None:
    (home / "rules").write_text(f'to "{home}/box/."\n')
    (home / "rules").chmod(0o600)
    for folder in ("box", "box/tmp", "box/new", "box/cur"):
        (home / folder).mkdir()
    report = fetch(server, f"pipe:{needs('maildrop')} {home}/rules", Options(delete=True))
    assert (report.deleted, report.failures) == (3, [])
    assert delivered(f"maildir:{home}/box") == sorted(content for _, content in MAILS)


def test_a_clock_that_takes_no_time_ends_no_program(server: ScriptedServer, home: Path) -> None:
    report = run_job(Job(account_of(server), script(home, "exit 0")), Surroundings(FastClock()))
    assert report.fetched == 3
