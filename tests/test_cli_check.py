"""`pop3fast check` and `show`, and what a second run says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import OBEYED, PASSWORD, SECONDS, at_terminal, environment, plain_url, pop3fast, private
from maildrops import Maildrop, mail
from pop3fast.fetch import State
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer

ENV = {"POP3FAST_PASSWORD": PASSWORD}


def config(home: Path, *tables: str) -> str:
    defaults = f'[defaults]\npassword = "{PASSWORD}"\n'
    return private(home / "config.toml", "\n".join([defaults, *tables]))


# check


def test_check_says_what_works_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with MailboxServer([mail(1), mail(2)], tls=True, password=PASSWORD) as server:
        url = f"pop3s://user@127.0.0.1:{server.port}"
        tables = [
            f'[{name}]\nurl = "{url}"\nto = "eml:{tmp_path}/{name}"\nca-file = "{server.certificate}"\n'
            for name in ("there", "new")
        ]
        ran = pop3fast(tmp_path, "check", "--config", config(tmp_path, *tables), status=0)
        who = f"user on 127.0.0.1:{server.port}"
        assert re.sub(r"TLSv1\.[23].*", "TLS", ran.out).splitlines() == [
            f"[there] {who}",
            f"  destination: eml:{tmp_path}/there can be written to",
            "  connection: TLS",
            f"  login: 2 messages on the server ({2 * len(mail(1))} octets)",
            f"[new] {who}",
            f"  destination: eml:{tmp_path}/new can be made",
            "  connection: TLS",
            f"  login: 2 messages on the server ({2 * len(mail(1))} octets)",
        ]
        assert "the certificate is valid until Jan" in ran.out
        assert ran.err == ""
        assert not {b"RETR", b"DELE", b"TOP"} & {command.split()[0] for command in server.commands}
        assert server.commands.count(b"QUIT") == 2
        pop3fast(tmp_path, "check", "new", "--config", str(tmp_path / "config.toml"), status=0)
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "there").iterdir()) == []


def test_check_says_all_that_is_wrong_with_the_status_of_a_fetch(tmp_path: Path) -> None:
    with MailboxServer([mail(1)], password="another") as server:
        tables = [f'[bad]\nurl = "{plain_url(server)}"\nto = "mbox:{tmp_path}/no/such"\n']
        path = config(tmp_path, *tables)
        ran = pop3fast(tmp_path, "check", "--config", path, status=5)
        who = f"user on 127.0.0.1:{server.port}"
        why = f"No such file or directory: {tmp_path}/no; if no disk is missing, run: mkdir -p {tmp_path}/no"
        assert ran.err.splitlines() == [
            f"pop3fast: {who}: cannot append to {tmp_path}/no/such: {why}",
            f"pop3fast: {who}: login: AUTH: -ERR [AUTH] user name or password is wrong",
        ]
        (tmp_path / "no").mkdir()
        pop3fast(tmp_path, "check", "--config", path, status=4)
        ran = pop3fast(tmp_path, "check", plain_url(server), "--to", "box", env=ENV, status=2)
        assert ran.err.startswith("pop3fast: a destination is ")
    pop3fast(tmp_path, "check", "--config", path, status=3)
    ran = pop3fast(tmp_path, "check", status=2)
    assert "cannot read the configuration" in ran.err


def test_check_of_a_url_needs_no_destination_and_says_what_is_not_protected(tmp_path: Path) -> None:
    with MailboxServer([mail(1)], unsupported=["UIDL"], password=PASSWORD) as server:
        ran = pop3fast(tmp_path, "check", plain_url(server), env=ENV, status=1)
    assert "  destination: none is named, and a fetch needs one (--to)\n" in ran.out
    assert "  connection: no TLS: password and mail can be read on the way\n" in ran.out
    assert ran.err.endswith("the server gives no unique-ids (UIDL), and what is new cannot be told\n")


def test_check_of_a_server_that_hangs_up_at_uidl_is_not_about_its_unique_ids(tmp_path: Path) -> None:
    drop = Maildrop((b"one", mail(1)))
    drop.instead = lambda command: Reply(b"", then="fin") if command == b"UIDL" else None
    with ScriptedServer(b"+OK ready\r\n", drop) as server:
        ran = pop3fast(tmp_path, "check", f"pop3+plain://user@127.0.0.1:{server.port}", env=ENV, status=3)
    assert "unique-ids" not in ran.err
    assert "UIDL" in ran.err


def test_check_of_a_server_that_refuses_uidl_for_now_is_not_about_its_unique_ids(tmp_path: Path) -> None:
    drop = Maildrop((b"one", mail(1)))
    drop.instead = lambda command: b"-ERR [SYS/TEMP] later\r\n" if command == b"UIDL" else None
    with ScriptedServer(b"+OK ready\r\n", drop) as server:
        ran = pop3fast(tmp_path, "check", f"pop3+plain://user@127.0.0.1:{server.port}", env=ENV, status=3)
    assert "unique-ids" not in ran.err


# show


def test_show_writes_the_message_as_the_server_has_it(tmp_path: Path) -> None:
    message = b"Subject: \xff\r\n\r\n.\x1b[2J\r\nend"
    with MailboxServer([b"x", message], password=PASSWORD) as server:
        ran = pop3fast(tmp_path, "show", plain_url(server), "1", env=ENV, status=0)
        assert ran.out == "x\n"
        script = 'exec "$0" -m pop3fast show "$1" 2 >out'
        subprocess.run(
            ["sh", "-c", script, sys.executable, plain_url(server)],
            env=environment(tmp_path, ENV),
            cwd=tmp_path,
            timeout=SECONDS,
            check=True,
        )
        assert (tmp_path / "out").read_bytes() == message + b"\r\n"
        assert server.deleted == []


def test_show_at_a_terminal_shows_nothing_that_one_obeys(tmp_path: Path) -> None:
    message = "Subject: Grüße\r\n\r\n\x1b[2Jtext\u202e\tend\r\n".encode() + b"\x9b\xff\r\n"
    with MailboxServer([message], password=PASSWORD) as server:
        ran = at_terminal(tmp_path, "show", plain_url(server), "1", env=ENV)
    shown = ran.out.replace("\r\n", "\n")
    assert shown == "Subject: Grüße\n\n\\x1b[2Jtext\\u202e\tend\n\\x9b\\xff\n"
    assert OBEYED.findall(shown.replace("\t", "")) == []


def test_show_deletes_a_message_without_fetching_it(tmp_path: Path) -> None:
    with MailboxServer([mail(1), mail(2)], password=PASSWORD) as server:
        ran = pop3fast(tmp_path, "show", plain_url(server), "2", "--delete", env=ENV, status=0)
        assert ran.out == "message 2 is deleted\n"
        assert server.deleted == [2]
        assert b"RETR 2" not in server.commands


@pytest.mark.parametrize("more", [[], ["--delete"]])
def test_a_number_that_is_not_there_is_status_1(more: list[str], tmp_path: Path) -> None:
    with MailboxServer([mail(1)], password=PASSWORD) as server:
        ran = pop3fast(tmp_path, "show", plain_url(server), "7", *more, env=ENV, status=1)
        assert ran.out == ""
        assert re.fullmatch(r"pop3fast: (RETR|DELE) 7: -ERR .*\n", ran.err)
        assert server.deleted == []
        for wrong in (["x"], []):
            pop3fast(tmp_path, "show", plain_url(server), *wrong, env=ENV, status=2)


# Another run.


def test_an_account_that_another_run_has_is_status_6_and_one_line(tmp_path: Path) -> None:
    with MailboxServer([mail(1)], password=PASSWORD) as busy, MailboxServer([mail(1)], password=PASSWORD) as free:
        tables = [
            f'[{name}]\nurl = "{plain_url(server)}"\nto = "eml:{tmp_path}/{name}"\nstate = "{tmp_path}/state"\n'
            for name, server in (("busy", busy), ("free", free))
        ]
        path = config(tmp_path, *tables)
        with State(str(tmp_path / "state")).account("127.0.0.1", busy.port, "user"):
            for more in ([], ["-q"]):
                ran = pop3fast(tmp_path, "fetch", "busy", "--config", path, *more, status=6)
                assert (ran.out, ran.err) == (
                    "",
                    f"pop3fast: another fetch of user on 127.0.0.1:{busy.port} is running\n",
                )
            pop3fast(tmp_path, "fetch", "--all", "--config", path, status=6)
        assert busy.commands == []
        pop3fast(tmp_path, "fetch", "--all", "--config", path, status=0)
