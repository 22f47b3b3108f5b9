"""What a person misses who comes from another program: where to begin, what to delete, where files lie."""

import errno
import os
import socket
from pathlib import Path

import pytest

from commandline import PASSWORD, Here, plain_url, private
from maildrops import Maildrop, delivered, mail
from pop3fast.fetch import Account, begin_from_now, default_path, fetch_mailbox, open_destination
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer
from shapes import GREETING

ENV = {"POP3FAST_PASSWORD": PASSWORD}
PARTS = [(b"u%d" % number, mail(number)) for number in range(1, 5)]


def test_from_now_what_is_there_is_not_new_and_what_comes_is(here: Here) -> None:
    drop = Maildrop(*PARTS[:2])
    with ScriptedServer(GREETING, drop) as server:
        url, to = plain_url(server), f"maildir:{here.home}/box"
        fetch = ("fetch", url, "--to", to, "--from-now", "--delete")
        ran = here(*fetch, env=ENV, status=0)
        assert ran.out.startswith("2 messages on the server will not be fetched: --from-now\n")
        assert " 0 messages fetched (0 octets), 2 fetched before" in ran.out
        drop.messages += PARTS[2:3]
        # It stays in a configuration, and is about the first fetch alone.
        assert "1 message fetched" in here(*fetch, env=ENV, status=0).out
        assert delivered(to) == [mail(3)]
        # And what was there is not deleted, because nobody has it.
        assert [uid for uid, _ in drop.messages] == [b"u1", b"u2"]


def test_from_now_on_an_empty_mailbox_everything_is_new(here: Here) -> None:
    drop = Maildrop()
    with ScriptedServer(GREETING, drop) as server:
        account, to = Account(plain_url(server), password="x"), f"eml:{here.home}/box"
        assert begin_from_now(account, to) == 0
        drop.messages += PARTS[:2]
        assert begin_from_now(account, to) == 0
        assert fetch_mailbox(account, to).fetched == 2


def test_from_now_begins_after_a_fetch_that_has_seen_messages_and_got_none(here: Here) -> None:
    drop = Maildrop(*PARTS[:2])
    drop.instead = lambda command: b"-ERR not now\r\n" if command.startswith(b"RETR") else None
    with ScriptedServer(GREETING, drop) as server:
        account, to = Account(plain_url(server), password="x"), f"eml:{here.home}/box"
        assert len(fetch_mailbox(account, to).failures) == 2
        assert begin_from_now(account, to) == 2


def test_from_now_that_fails_is_told_and_fetches_nothing(here: Here) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"pop3+plain://user@127.0.0.1:{port}"
    ran = here("fetch", url, "--to", "eml:box", "--from-now", env=ENV, status=3)
    assert ran.err == f"pop3fast: user on 127.0.0.1:{port}: connection: Connection refused\n"
    ran = here("fetch", url, "--to", "eml:box", "--from-now", "--dry-run", env=ENV, status=2)
    assert ran.err == "pop3fast: from-now changes what is remembered, and a dry run changes nothing\n"


def test_all_that_is_too_large_is_deleted_without_being_fetched(here: Here) -> None:
    with MailboxServer([mail(1), mail(2, 30_000), mail(3, 9000), mail(4, 50_000)], password=PASSWORD) as server:
        url = plain_url(server)
        ran = here("show", url, "--larger", "20k", "--delete", env=ENV, status=0)
        assert [line.partition(" of ")[0] for line in ran.out.splitlines()] == ["message 2", "message 4"]
        assert server.deleted == [2, 4]
        assert here("show", url, "--larger", str(len(mail(3, 9000))), "--delete", env=ENV, status=0).out == ""
        assert here("show", url, "--larger", "1M", "--delete", env=ENV, status=0).out == ""
        assert server.deleted == [2, 4]
        assert not any(command.startswith((b"RETR", b"TOP")) for command in server.commands)
    for arguments in ((), ("1", "--larger", "1k", "--delete")):
        ran = here("show", "pop3s://a@b", *arguments, env=ENV, status=2)
        assert ran.err == "pop3fast: which message? Its number, as list shows it; or --larger SIZE with --delete\n"
    ran = here("show", "pop3s://a@b", "--larger", "1k", env=ENV, status=2)
    assert ran.err == "pop3fast: --larger is for --delete; list shows how large each message is\n"


def test_nothing_is_said_to_be_deleted_before_the_server_has_said_so(here: Here) -> None:
    drop = Maildrop(*PARTS)
    drop.instead = lambda command: b"-ERR not now\r\n" if command == b"QUIT" else None
    with ScriptedServer(GREETING, drop) as server:
        ran = here("show", plain_url(server), "2", "--delete", env=ENV, status=1)
    assert (ran.out, ran.err) == ("", "pop3fast: QUIT: -ERR not now\n")
    assert len(drop.messages) == 4


def test_where_a_mail_program_shows_each_file_the_state_is_at_home_and_one_that_is_there_stays(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(here.home / "state"))
    folder = here.home / "Local Folders"
    folder.mkdir()
    mbox = open_destination(f"mbox:{folder}/Inbox")
    beside = f"{folder}/Inbox.pop3fast.sqlite"
    assert default_path(mbox) == beside
    (folder / "Inbox.msf").touch()
    with MailboxServer([mail(1)]) as server:
        account = Account(plain_url(server), password=server.password)
        assert fetch_mailbox(account, f"mbox:{folder}/Inbox").fetched == 1
        assert sorted(path.name for path in folder.iterdir()) == ["Inbox", "Inbox.msf"]
        # Also when the mail program has gone.
        (folder / "Inbox.msf").unlink()
        assert default_path(mbox).startswith(f"{here.home}/state/pop3fast/mbox-")
        assert fetch_mailbox(account, f"mbox:{folder}/Inbox").seen == 1
    Path(beside).touch()
    (folder / "Inbox.msf").touch()
    assert default_path(mbox) == beside


@pytest.mark.parametrize("kind", ["maildir", "mbox", "eml"])
def test_a_file_system_that_refuses_to_sync_a_folder_is_said_as_it_is(
    kind: str, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def no_folders(file: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{file}"):  # noqa: PTH112 - a descriptor's
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(file)

    with MailboxServer([mail(1)], password=PASSWORD) as server:
        monkeypatch.setattr(os, "fsync", no_folders)
        ran = here("fetch", plain_url(server), "--to", f"{kind}:box", "--delete", env=ENV, status=5)
        assert server.deleted == []
    assert ran.err.endswith(
        ": its file system makes no names of files durable (fsync of a folder: Invalid argument), as CIFS does: after "
        "a power cut, mail that lies there could be gone; a folder on another file system is needed\n"
    )


def test_a_table_may_say_from_now(here: Here) -> None:
    with MailboxServer([mail(1)], password=PASSWORD) as server:
        table = f'[work]\nurl = "{plain_url(server)}"\nto = "eml:x"\npassword = "{PASSWORD}"\nfrom-now = true\n'
        config = private(here.home / "c", table)
        assert "0 messages fetched" in here("fetch", "--all", "--config", config, status=0).out
