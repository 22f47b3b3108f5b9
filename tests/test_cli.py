"""The command line: what a hostile server can make a terminal show, exit statuses, streams, passwords.

As a child process, because exit statuses, streams and terminals are what this is about.
"""

import contextlib
import getpass
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from commandline import (
    OBEYED,
    PASSWORD,
    SECONDS,
    assert_ends_without_a_word_when_nobody_reads,
    at_terminal,
    environment,
    plain_url,
    pop3fast,
    private,
)
from maildrops import Maildrop, mail
from pop3fast.cli import main
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING

ENV = {"POP3FAST_PASSWORD": PASSWORD}

# ESC, a title for the terminal's window, C1's CSI in both ways, bells, a change of direction, a carriage return.
HOSTILE = b"a\x1b[2J\x1b]0;owned\x07\xc2\x9b31m\x9b31m\xe2\x80\xaeb\rc\x00d\x7fe"


def hostile_drop() -> Maildrop:
    header = (
        b"From: " + HOSTILE + b"\r\nDate: " + HOSTILE + b"\r\nSubject: =?utf-8?q?=1B[2J=C2=9B=E2=80=AE?= " + HOSTILE
    )
    drop = Maildrop((HOSTILE.replace(b"\x00", b""), header + b"\r\n\r\n"), capabilities=b"TOP\r\nX" + HOSTILE + b"\r\n")
    drop.instead = lambda command: (
        b"-ERR " + HOSTILE.replace(b"\x00", b"") + b"\r\n" if command[:4] == b"RETR" else None
    )
    return drop


@pytest.mark.parametrize(
    "arguments",
    [
        ["capa", "--json"],
        ["capa"],
        ["list"],
        ["list", "--headers"],
        ["list", "--headers", "--json"],
        ["fetch", "--to", "eml:box"],
        ["fetch", "--to", "eml:box", "-v"],
        ["fetch", "--to", "eml:box", "--json"],
        ["fetch", "--to", "eml:box", "--dry-run"],
        ["fetch", "--to", "eml:box", "--debug", "--mechanism", "USER"],
    ],
    ids=" ".join,
)
def test_nothing_that_a_server_sends_is_obeyed_by_a_terminal(arguments: list[str], tmp_path: Path) -> None:
    with ScriptedServer(GREETING, hostile_drop()) as server:
        ran = pop3fast(tmp_path, arguments[0], plain_url(server), *arguments[1:], env=ENV)
    assert "owned" in (ran.out + ran.err).lower()
    assert OBEYED.findall(ran.out + ran.err) == []


# Exit statuses. 1 is above and in the tests of fetch.


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["list"], "nobody says which server"),
        (["list", "http://a@b"], "begins with pop3s://"),
        (["list", "pop3s://a:secret@b"], "lists of processes: use --password-command, --password-file, $POP3FAST_PASS"),
        (["list", "pop3s://a%0d%0aQUIT@b"], "the user's name has a control character"),
        (["fetch", "pop3s://b", "--to", "eml:x", "--user", "a\x7f"], "the user's name has a control character"),
        (["fetch", "pop3s://b", "--to", "eml:x", "--user", "a\udcff"], "or is no UTF-8"),
        (["list", "pop3s://a@b", "--user", "c"], "another user"),
        (["list", "work"], "no URL, and there is no configuration"),
        (["list", "pop3s://mail.example.org"], "nobody says who logs in"),
        (["list", "pop3s://a@b", "--ca-file", "nothing"], "cannot read nothing"),
        (["list", "pop3s://a@b", "--ca-file", "empty"], "no certificates"),
        (["list", "pop3s://a@b", "--timeout", "0"], "argument --timeout: has to be a number of seconds above 0"),
        (["capa", "pop3s://b", "--timeout", "1e300"], "seconds above 0, and at most 1,000,000,000"),
        (["capa", "pop3s://b", "--deadline", "1e300"], "seconds above 0, and at most 1,000,000,000"),
        (["list", "pop3s://a@b", "--password", "secret"], "every user of this machine"),
        (["list", "pop3s://a@b", "--password=secret"], "every user of this machine"),
        (["list", "pop3s://a@b", "--token", "secret"], "every user of this machine"),
        (
            ["list", "pop3s://a@b", "--password-file", "x", "--token-command", "y"],
            "one of --password-file, --token-command",
        ),
        (["fetch", "pop3s://a@b"], "nobody says where the mail goes"),
        (["fetch", "pop3s://a@b", "--to", "box"], "maildir:PATH"),
        (["fetch", "pop3s://a@b", "--to", "eml:x", "--delete", "--delete-after", "3"], "one of the two"),
        (["fetch", "pop3s://a@b", "--to", "eml:x", "--delete", "--headers-only"], "is not deleted"),
        (
            ["fetch", "pop3s://a@b", "--to", "eml:x", "--max-size", "big"],
            "argument --max-size: has to be a number of octets",
        ),
        (
            ["fetch", "pop3s://a@b", "--to", "eml:x", "--limit", "0"],
            "argument --limit: has to be a whole number from 1",
        ),
        (["fetch", "pop3s://a@b", "--all"], "it takes no URL"),
        (["fetch", "pop3s://a@b", "--to", "eml:x", "--import-seen", "y", "--dry-run"], "changes what is remembered"),
        (["fetch", "-q", "-v"], "not allowed with"),
        (["fetch", "--all", "--jobs", "x"], "argument --jobs: has to be a whole number from 1"),
        (["demo", "--messages", "0"], "argument --messages: has to be a whole number from 1"),
    ],
)
def test_wrong_usage_is_status_2_in_one_line(arguments: list[str], why: str, tmp_path: Path) -> None:
    private(tmp_path / "empty", "")
    ran = pop3fast(tmp_path, *arguments, env=ENV, status=2)
    assert why in ran.err
    assert ran.out == ""
    assert ran.err.startswith(("pop3fast: ", "usage: "))
    assert "secret" not in ran.err
    assert not (tmp_path / "x").exists()


def test_no_connection_and_no_tls_are_status_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ran = pop3fast(tmp_path, "list", f"pop3s://user@127.0.0.1:{port}", env=ENV, status=3)
    assert ran.err == f"pop3fast: 127.0.0.1:{port}, connection: Connection refused\n"
    ran = pop3fast(tmp_path, "fetch", f"pop3s://user@127.0.0.1:{port}", "--to", "eml:box", env=ENV, status=3)
    assert ran.err == f"pop3fast: user on 127.0.0.1:{port}: connection: Connection refused\n"
    with MailboxServer([], tls=True, stls=True) as server:
        for command in (["capa"], ["list"], ["fetch", "--to", f"eml:{tmp_path}/box"]):
            ran = pop3fast(
                tmp_path, command[0], f"pop3s://user@127.0.0.1:{server.port}", *command[1:], env=ENV, status=3
            )
            assert "certificate verify failed" in ran.err
        ca = ["--ca-file", server.certificate]
        pop3fast(tmp_path, "capa", f"pop3s://127.0.0.1:{server.port}", *ca, status=0)
    with MailboxServer([]) as server:
        ran = pop3fast(tmp_path, "capa", f"pop3://127.0.0.1:{server.port}", status=3)
        assert "offers no STLS" in ran.err


def test_a_session_that_takes_too_long_is_status_3(tmp_path: Path) -> None:
    with ScriptedServer(Reply(b"", then="stall")) as server:
        for limit in ("--timeout", "--deadline"):
            ran = pop3fast(tmp_path, "capa", plain_url(server, ""), limit, "1", status=3)
            assert "greeting" in ran.err


def test_a_refused_login_and_a_missing_password_are_status_4(tmp_path: Path) -> None:
    with MailboxServer([], password=PASSWORD) as server:
        for command in (["list"], ["fetch", "--to", f"eml:{tmp_path}/box"]):
            wrong = {"POP3FAST_PASSWORD": "wrong-secret"}
            ran = pop3fast(tmp_path, command[0], plain_url(server), *command[1:], env=wrong, status=4)
            assert "-ERR" in ran.err
            assert "wrong-secret" not in ran.err
        before = len(server.commands)
        ran = pop3fast(tmp_path, "list", plain_url(server), status=4)
        assert "no password for user on 127.0.0.1: give --password-command" in ran.err
        assert len(server.commands) == before


def test_a_destination_that_is_not_writable_is_status_5(tmp_path: Path) -> None:
    with MailboxServer([b"x"], password=PASSWORD) as server:
        for to in ("maildir:no/such", "mbox:no/such", "eml:no/such", "maildir:file"):
            private(tmp_path / "file", "")
            ran = pop3fast(tmp_path, "fetch", plain_url(server), "--to", to, env=ENV, status=5)
            assert "cannot" in ran.err
        assert server.commands == []


@pytest.mark.parametrize("kind", ["maildir", "mbox", "eml"])
def test_a_folder_that_is_missing_is_named_with_the_command_that_makes_it(kind: str, tmp_path: Path) -> None:
    with MailboxServer([b"x"], password=PASSWORD) as server:
        arguments = ["fetch", plain_url(server), "--to", f"{kind}:~/My Mail/a/work"]
        ran = pop3fast(tmp_path, *arguments, env=ENV, status=5)
        missing = re.escape(f"'{tmp_path}/My Mail/a'")
        found = re.search(f"if no disk is missing, run: (mkdir -p {missing})\n", ran.err)
        assert found is not None, ran.err
        assert not (tmp_path / "My Mail").exists()
        elsewhere = [
            "fetch",
            plain_url(server),
            "--to",
            f"{kind}:~/elsewhere",
            "--state",
            f"{tmp_path}/My Mail/a/state",
        ]
        assert found[0] in pop3fast(tmp_path, *elsewhere, env=ENV, status=5).err
        subprocess.run(["sh", "-c", found[1]], check=True)
        assert "1 message fetched" in pop3fast(tmp_path, *arguments, env=ENV, status=0).out


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_control_c_is_status_130_and_what_was_delivered_stays(several: bool, tmp_path: Path) -> None:  # noqa: FBT001 - from the line above
    drops = [Maildrop(*((b"%d" % number, mail(number)) for number in range(1, 6))) for _ in range(2)]
    for drop in drops:
        drop.instead = lambda command: Reply(b"+OK\r\nhalf", then="stall") if command == b"RETR 4" else None
    with ScriptedServer(GREETING, drops[0]) as one, ScriptedServer(GREETING, drops[1]) as two:
        command = [sys.executable, "-m", "pop3fast", "fetch", "-v", "--timeout", "1000000"]
        if several:
            tables = [
                f'[a{server.port}]\nurl = "{plain_url(server)}"\nto = "eml:box"\npassword = "x"\n'
                for server in (one, two)
            ]
            command += ["--all", "--config", private(tmp_path / "config", "\n".join(tables))]
        else:
            command += [plain_url(one), "--to", "eml:box"]
        with (
            subprocess.Popen(
                command,
                env=environment(tmp_path, ENV),
                cwd=tmp_path,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as child,
            contextlib.ExitStack() as at_end,
        ):
            at_end.callback(child.kill)
            assert child.stdout is not None
            for _ in range(6 if several else 3):
                child.stdout.readline()
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=SECONDS)
        for drop in drops:
            drop.instead = lambda _: None
        ran = pop3fast(tmp_path, *command[3:], env=ENV, status=0)
    assert child.returncode == 130
    in_all = 10 if several else 5
    sentence = rf"pop3fast: interrupted: (\d+) of {in_all} messages are safe; run the same command again to go on"
    safe = re.fullmatch(sentence, said.splitlines()[-1])
    assert safe is not None, said
    assert int(safe[1]) == in_all - ran.out.count(" (unique-id '")
    assert "Traceback" not in said
    # What was received is not yet delivered: of the three some may come again, and all are there once.
    assert ran.out.count(" (unique-id '") >= (4 if several else 2)
    assert len(list((tmp_path / "box").glob("*.eml"))) == (10 if several else 5)
    assert list((tmp_path / "box").glob(".*.eml")) == []


def test_when_nobody_reads_any_more_it_ends_without_a_word(tmp_path: Path) -> None:
    with MailboxServer([b"x"] * 20_000, password=PASSWORD) as server:
        assert_ends_without_a_word_when_nobody_reads("list", plain_url(server), home=tmp_path, env=ENV)


@pytest.mark.parametrize(
    "arguments", [["capa"], ["list"], ["fetch", "--to", "eml:box"], ["fetch", "--to", "eml:box", "-v"]], ids=" ".join
)
def test_a_standard_output_that_is_full_is_status_1_and_says_so(arguments: list[str], tmp_path: Path) -> None:
    with MailboxServer([b"x"], password=PASSWORD) as server, Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pop3fast", arguments[0], plain_url(server), *arguments[1:]],
            env=environment(tmp_path, ENV),
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            check=False,
        )
    said = b"pop3fast: the standard output cannot be written: No space left on device\n"
    assert (done.stderr, done.returncode) == (said, 1)


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_nowhere_and_no_file_that_is_opened_later(redirection: str, tmp_path: Path) -> None:
    command = f"sh -c 'for number in 0 1 2; do readlink /proc/$$/fd/$number; done >>streams; echo {PASSWORD}'"
    with MailboxServer([mail(1)], password=PASSWORD) as server:
        arguments = ["fetch", plain_url(server), "--to", "mbox:box", "--password-command", command]
        script = f"{shlex.join([sys.executable, '-m', 'pop3fast', *arguments])} {redirection}"
        done = subprocess.run(
            ["sh", "-c", script],
            env=environment(tmp_path),
            cwd=tmp_path,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (b"1 message fetched" in done.stdout) == (">&-" not in redirection.replace("2>&-", ""))
    streams = (tmp_path / "streams").read_text(encoding="utf-8").splitlines()
    assert len(streams) == 3
    assert (streams[2] == "/dev/null") == ("2>&-" in redirection)
    assert b"Subject: 1\n" in (tmp_path / "box").read_bytes()


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_where_errors_cannot_be_said_the_exit_status_says_it(redirection: str, tmp_path: Path) -> None:
    for arguments, status in (["list", "work"], 2), (["list", "pop3s://a@127.0.0.1:1"], 4), (["capa"], 2):
        script = f"{shlex.join([sys.executable, '-m', 'pop3fast', *arguments])} {redirection}"
        done = subprocess.run(
            ["sh", "-c", script],
            env=environment(tmp_path),
            cwd=tmp_path,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")


def test_a_command_ends_without_a_last_collection_of_all_that_it_has_loaded() -> None:
    code = """
import atexit, gc
atexit.register(lambda: print(len(gc.get_objects()) < gc.get_freeze_count() / 10))
from pop3fast.cli import main
main(["--version"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "True"


def test_an_interrupt_while_the_command_line_is_loaded_is_status_130_without_a_traceback(tmp_path: Path) -> None:
    program = """
import runpy, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "pop3fast.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
runpy.run_module("pop3fast", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(tmp_path), capture_output=True, timeout=SECONDS, check=False
    )
    assert (done.stderr, done.returncode) == (b"", 130)


# Passwords.


def sources(home: Path) -> dict[str, tuple[list[str], dict[str, str], str]]:
    """Return every way to give a password but the prompt: arguments, environment, standard input."""
    file = private(home / "file", f"{PASSWORD}\n")
    netrc = private(home / "netrc", f"machine 127.0.0.1 login user password {PASSWORD}\n")
    return {
        "command": (["--password-command", f"cat '{file}'"], {}, ""),
        "file": (["--password-file", file], {}, ""),
        "input": (["--password-file", "-"], {}, f"{PASSWORD}\n"),
        "variable": ([], {"POP3FAST_PASSWORD": PASSWORD}, ""),
        "netrc": ([], {"NETRC": netrc}, ""),
    }


@pytest.mark.parametrize("source", ["command", "file", "input", "variable", "netrc"])
@pytest.mark.parametrize("mechanism", ["USER", "PLAIN"])
def test_every_source_gives_the_password_and_nothing_shows_it(source: str, mechanism: str, tmp_path: Path) -> None:
    arguments, env, stdin = sources(tmp_path)[source]
    with MailboxServer([b"x"], password=PASSWORD) as server:
        for command in (["list"], ["fetch", "--to", "eml:box", "-v"]):
            whole = [command[0], plain_url(server), *command[1:], "--debug", "--mechanism", mechanism, *arguments]
            ran = pop3fast(tmp_path, *whole, env=env, stdin=stdin, status=0)
            assert f"{mechanism} " in ran.err
            assert "***" in ran.err
            for secret in (PASSWORD, "AHVzZXIA"):  # the beginning of PLAIN's base64
                assert secret not in ran.out + ran.err


def test_a_pipe_of_ones_own_is_a_password_file(tmp_path: Path) -> None:
    with MailboxServer([], password=PASSWORD) as server:
        script = f"{sys.executable} -m pop3fast list {plain_url(server)} --password-file <(echo {PASSWORD})"
        done = subprocess.run(
            ["bash", "-c", script], env=environment(tmp_path), capture_output=True, timeout=SECONDS, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_no_process_has_a_password_among_its_arguments(tmp_path: Path) -> None:
    arguments, env, _ = sources(tmp_path)["command"]
    drop = Maildrop((b"1", mail(1)))
    seen: list[bytes] = []

    def look(command: bytes) -> None:
        if command == b"RETR 1":
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.append(process.read_bytes())

    drop.instead = look
    with ScriptedServer(GREETING, drop) as server:
        pop3fast(tmp_path, "fetch", plain_url(server), "--to", "eml:box", *arguments, env=env, status=0)
    assert any(b"pop3fast\0fetch" in line for line in seen)
    assert not any(PASSWORD.encode() in line for line in seen)


def test_sources_are_asked_in_their_order(tmp_path: Path) -> None:
    everything = sources(tmp_path)
    wrong = private(tmp_path / "wrong", "wrong")
    broken = {"NETRC": private(tmp_path / "public", "", 0o644)}
    with MailboxServer([], password=PASSWORD) as server:
        # Each but the last is followed by one that would fail.
        for arguments, env in (
            (everything["command"][0], {"POP3FAST_PASSWORD": "wrong", **broken}),
            (everything["file"][0], {"POP3FAST_PASSWORD": "wrong", **broken}),
            ([], {"POP3FAST_PASSWORD": PASSWORD, **broken}),
        ):
            pop3fast(tmp_path, "list", plain_url(server), *arguments, env=env, status=0)
        ran = pop3fast(tmp_path, "list", plain_url(server), env=broken, status=4)
        assert f"run: chmod 600 {broken['NETRC']}" in ran.err
        pop3fast(tmp_path, "list", plain_url(server), "--password-file", wrong, env=ENV, status=4)


def test_netrc_says_who_logs_in_when_nobody_else_does(tmp_path: Path) -> None:
    private(tmp_path / ".netrc", f"machine 127.0.0.1 login user password {PASSWORD}\n")
    with MailboxServer([b"x"], password=PASSWORD) as server:
        assert pop3fast(tmp_path, "list", plain_url(server, ""), status=0).out


def test_a_token_command(tmp_path: Path) -> None:
    with MailboxServer([b"x"], tls=True, token="ya29.a-token") as server:
        arguments = [f"pop3s://user@127.0.0.1:{server.port}", "--ca-file", server.certificate]
        arguments += ["--token-command", "printf ya29.a-token", "--debug"]
        for command in (["list"], ["fetch", "--to", "eml:box"]):
            ran = pop3fast(tmp_path, command[0], *arguments, *command[1:], status=0)
            assert "ya29" not in ran.out + ran.err
        ran = pop3fast(tmp_path, "list", *arguments[:3], "--token-command", "sh -c 'echo ya29; exit 3'", status=4)
        assert ran.err == "pop3fast: the password command failed with exit status 3\n"


def test_a_person_at_a_terminal_is_asked_before_the_server_is(tmp_path: Path) -> None:
    with MailboxServer([b"x"], password=PASSWORD) as server:
        typed: list[str] = []

        def answer(shown: str) -> str | None:
            if "Password of user on 127.0.0.1: " in shown and not typed:
                assert server.commands == []
                typed.append(f"{PASSWORD}\n")
                return typed[-1]
            return None

        ran = at_terminal(tmp_path, "list", plain_url(server), answer=answer)
    assert ran.status == 0
    assert "1  3  uid00000001" in ran.out
    assert PASSWORD not in ran.out


def test_a_password_that_a_terminal_cannot_have_sent_is_status_4_and_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def typed(_: str) -> str:
        return b"caf\xe9".decode()

    monkeypatch.setattr(getpass, "getpass", typed)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("POP3FAST_PASSWORD", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    assert main(["list", "pop3s://user@127.0.0.1:1"]) == 4
    assert capsys.readouterr().err == "pop3fast: the password of user on 127.0.0.1 that was typed is no text\n"


def test_the_protocol_log_is_off_again_when_a_command_has_ended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with MailboxServer([]) as server:
        monkeypatch.setenv("POP3FAST_PASSWORD", "password")
        assert main(["capa", plain_url(server), "--debug"]) == 0
        assert "C: CAPA" in capsys.readouterr().err
        assert main(["capa", plain_url(server)]) == 0
        assert capsys.readouterr().err == ""
