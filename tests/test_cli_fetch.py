"""`pop3fast fetch`: what it is asked, what it says while it runs and when it has ended, several accounts at once."""

import json
import re
import sqlite3
import threading
from pathlib import Path

import pytest

from commandline import (
    PASSWORD,
    SECONDS,
    Ran,
    assert_ends_without_a_word_when_nobody_reads,
    at_terminal,
    plain_url,
    pop3fast,
    private,
)
from maildrops import Maildrop, delivered, mail
from pop3fast.cli._selection import status_of
from pop3fast.cli._telling import summary
from pop3fast.fetch import Account, FetchReport, Job, Progress, fetch_many, import_seen
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING

ENV = {"POP3FAST_PASSWORD": PASSWORD}
MAIL = [mail(number) for number in range(1, 6)]


def fetch(home: Path, server: MailboxServer | ScriptedServer, *arguments: str, status: int = 0) -> Ran:
    return pop3fast(home, "fetch", plain_url(server), *arguments, env=ENV, status=status)


@pytest.mark.parametrize("kind", ["maildir", "mbox", "eml"])
def test_what_is_new_is_fetched_once_and_nothing_deleted(kind: str, tmp_path: Path) -> None:
    to = f"{kind}:{tmp_path}/box"
    with MailboxServer(MAIL, password=PASSWORD) as server:
        first, second = fetch(tmp_path, server, "--to", to), fetch(tmp_path, server, "--to", to)
        assert delivered(to) == sorted(MAIL)
        assert server.deleted == []
    assert ": 5 messages fetched (" in first.out
    assert ": 0 messages fetched (0 octets), 5 fetched before, in " in second.out
    assert first.err + second.err == ""


def test_each_option_reaches_the_fetch(tmp_path: Path) -> None:
    with MailboxServer([*MAIL, mail(6, 9000)], password=PASSWORD) as server:
        to = ["--to", f"eml:{tmp_path}/box", "--state", f"{tmp_path}/state"]
        assert "2 messages fetched" in fetch(tmp_path, server, *to, "--limit", "2").out
        assert (tmp_path / "state").exists()
        assert "1 left on the server" in fetch(tmp_path, server, *to, "--max-size", "8k", "--forget-after", "5").out
        assert "5 deleted" in fetch(tmp_path, server, *to, "--delete", "--max-size", "8k").out
        assert server.remaining == [6]
        headers = ["--to", f"eml:{tmp_path}/headers", "--headers-only"]
        fetch(tmp_path, server, *headers)
        assert server.commands.count(b"TOP 1 0") == 1
        assert "1 deleted" in fetch(tmp_path, server, *to, "--delete-after", "0").out


def test_checkpoints_are_told_from_the_command_line(tmp_path: Path) -> None:
    with MailboxServer(MAIL, password=PASSWORD) as server:
        fetch(tmp_path, server, "--to", f"eml:{tmp_path}/box", "--delete", "--checkpoint-messages", "2")
        assert server.remaining == []
        assert server.commands.count(b"QUIT") == 3


def test_a_dry_run_says_what_would_be_and_does_nothing(tmp_path: Path) -> None:
    to = ["--to", f"maildir:{tmp_path}/box"]
    with MailboxServer(MAIL, password=PASSWORD) as server:
        ran = fetch(tmp_path, server, *to, "--dry-run")
        assert ran.out.count(": would fetch message ") == 5
        assert "5 messages to fetch (" in ran.out
        assert not (tmp_path / "box").exists()
        fetch(tmp_path, server, *to)
        ran = fetch(tmp_path, server, *to, "--dry-run", "--delete", "--json")
        events = [json.loads(line)["event"] for line in ran.out.splitlines()]
        assert events == ["would-delete"] * 5 + ["end"]
        assert server.deleted == []


def test_verbose_quiet_and_json(tmp_path: Path) -> None:
    with MailboxServer(MAIL, password=PASSWORD) as server:
        verbose = fetch(tmp_path, server, "--to", "eml:1", "-v").out.splitlines()
        assert len(verbose) == 6
        assert "message 1 (unique-id 'uid00000001'), " in verbose[0]
        assert verbose[4].endswith(" octets (5 of 5): 5")
        quiet = fetch(tmp_path, server, "--to", "eml:2", "-q")
        assert (quiet.out, quiet.err) == ("", "")
        rows = [json.loads(line) for line in fetch(tmp_path, server, "--to", "eml:3", "--json").out.splitlines()]
    assert [row["event"] for row in rows] == ["received"] * 5 + ["delivered"] * 5 + ["end"]
    assert rows[1]["uid"] == "uid00000002"
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["time"]) for row in rows)
    assert [row["uid"] for row in rows[5:10]] == [f"uid0000000{number}" for number in range(1, 6)]
    assert sorted(Path(row["path"]).read_bytes() for row in rows[5:10]) == sorted(MAIL)
    assert (rows[-1]["fetched"], rows[-1]["error"], rows[-1]["exit_status"]) == (5, None, 0)


@pytest.mark.parametrize(("kind", "where"), [("maildir", "new/"), ("mbox", ""), ("pipe", None)])
def test_delivered_says_in_which_file(kind: str, where: str | None, tmp_path: Path) -> None:
    with MailboxServer(MAIL[:1], password=PASSWORD) as server:
        to = f"{kind}:{'true' if kind == 'pipe' else tmp_path / 'box'}"
        rows = [json.loads(line) for line in fetch(tmp_path, server, "--to", to, "--json").out.splitlines()]
    (path,) = [row["path"] for row in rows if row["event"] == "delivered"]
    if where is None:
        assert path is None
    else:
        assert path.startswith(f"{tmp_path}/box{'/' if where else ''}{where}")
        assert Path(path).is_file()


def test_a_wait_is_told_when_it_begins_and_why(tmp_path: Path) -> None:
    drop = Maildrop((b"one", MAIL[0]))
    refusals = iter([b"-ERR [IN-USE] in use\r\n"])
    drop.instead = lambda command: next(refusals, None) if command[:4] == b"PASS" else None
    with ScriptedServer(GREETING, drop) as server:
        ran = fetch(tmp_path, server, "--to", "eml:box", "--json", "--mechanism", "USER")
        rows = [json.loads(line) for line in ran.out.splitlines()]
        refusals = iter([b"-ERR [IN-USE] in use\r\n"])
        verbose = fetch(tmp_path, server, "--to", "eml:box", "-v", "--mechanism", "USER")
    assert [row["event"] for row in rows] == ["waiting", "received", "delivered", "warning", "end"]
    assert rows[0]["why"].endswith("login: PASS: -ERR [IN-USE] in use")
    assert rows[0]["time"] <= rows[0]["until"]
    who = f"user on 127.0.0.1:{server.port}"
    assert re.match(rf"pop3fast: {who}: waiting until \d\d:\d\d:\d\d: .*: PASS: -ERR \[IN-USE\] in use\n", verbose.err)


def test_what_is_left_is_named_and_what_is_kept_is_named_even_with_q(tmp_path: Path) -> None:
    with MailboxServer([*MAIL, *(mail(number, 9000) for number in range(6, 13))], password=PASSWORD) as server:
        small = ("--to", "eml:box", "--max-size", "8k")
        said = fetch(tmp_path, server, *small).err
        assert "left on the server: message 6 (unique-id 'uid00000006'): its 9," in said
        assert said.count("left on the server") == 6
        assert "left on the server: 2 more (-v names them)" in said
        assert fetch(tmp_path, server, *small, "-v").err.count("left on the server: message") == 7
        assert fetch(tmp_path, server, *small, "-q").err == said
        # Another fetch gets what is beyond a limit, and nobody wants what is before the last.
        limited = ("--to", "eml:limited", "-q", "--limit", "3")
        assert fetch(tmp_path, server, *limited).err == ""
        assert fetch(tmp_path, server, *limited, "--max-size", "8k").err.count("left on the server: message") == 5
        rows = [json.loads(line) for line in fetch(tmp_path, server, *small, "--json").out.splitlines()]
        assert [(row["number"], row["why"][:6]) for row in rows if row["event"] == "left"] == [
            (number, "its 9,") for number in range(6, 13)
        ]
        assert rows[-1]["left"] == 7
    drop = Maildrop((b"one", MAIL[0]), (b"two", MAIL[1]))
    drop.sizes = {b"one": 9000, b"two": 9000}
    with ScriptedServer(b"+OK hi\r\n", drop) as scripted:
        to = ("--to", "eml:other", "--delete", "-q")
        said = fetch(tmp_path, scripted, *to).err
        assert said.count("kept on the server: message") == 2
        assert "octets came of the 9000" in said
        assert fetch(tmp_path, scripted, *to, "--no-trust-sizes").err == ""
        assert drop.messages == []


def test_a_mechanism_that_nobody_knows_is_status_2(tmp_path: Path) -> None:
    with MailboxServer(MAIL, password=PASSWORD) as server:
        ran = fetch(tmp_path, server, "--to", "eml:box", "--mechanism", "FOO", status=2)
    assert ran.err.startswith("pop3fast: unknown mechanism 'FOO'; there are APOP, ")
    assert ran.err.count("\n") == 1


def test_a_message_that_fails_is_named_and_is_status_1(tmp_path: Path) -> None:
    drop = Maildrop((b"one", MAIL[0]), (b"two", MAIL[1]), (b"three", MAIL[2]))
    drop.instead = lambda command: b"-ERR broken\r\n" if command == b"RETR 2" else None
    with ScriptedServer(GREETING, drop) as server:
        for arguments in ([], ["-q"]):
            ran = fetch(tmp_path, server, "--to", f"eml:{tmp_path}/box", *arguments, status=1)
            assert ran.err.endswith(": message 2 (unique-id 'two'): RETR 2: -ERR broken\n")
    assert delivered(f"eml:{tmp_path}/box") == sorted([MAIL[0], MAIL[2]])


def test_what_was_fetched_is_fetched_again_when_that_is_asked_for(tmp_path: Path) -> None:
    drop = Maildrop(*((b"u%d" % number, content) for number, content in enumerate(MAIL, 1)))
    to = f"maildir:{tmp_path}/box"
    with ScriptedServer(GREETING, drop) as server:
        fetch(tmp_path, server, "--to", to)
        for file in (tmp_path / "box" / "new").iterdir():
            file.unlink()
        ran = fetch(tmp_path, server, "--to", to, "--fetch-again", "u2", "--fetch-again=u4")
        assert "2 messages fetched" in ran.out
        assert delivered(to) == [MAIL[1], MAIL[3]]
        assert "5 messages fetched" in fetch(tmp_path, server, "--to", to, "--fetch-again").out
        assert delivered(to) == sorted(MAIL)
        ran = pop3fast(tmp_path, "fetch", "--to", to, "--fetch-again", plain_url(server), env=ENV, status=2)
        assert "--fetch-again is followed by a URL" in ran.err


def test_unique_ids_that_all_changed_stop_it_and_it_says_how_to_go_on(tmp_path: Path) -> None:
    drop = Maildrop((b"1", MAIL[0]), (b"2", MAIL[1]))
    to = ["--to", f"eml:{tmp_path}/box"]
    with ScriptedServer(GREETING, drop) as server:
        fetch(tmp_path, server, *to)
        drop.messages = [(b"new" + uid, content) for uid, content in drop.messages]
        ran = fetch(tmp_path, server, *to, status=1)
        assert ran.err.splitlines()[-1] == "pop3fast: --accept-uid-change fetches all of them once more"
        assert "2 messages fetched" in fetch(tmp_path, server, *to, "--accept-uid-change").out


def test_what_another_program_fetched_is_not_new(tmp_path: Path) -> None:
    with MailboxServer(MAIL, password=PASSWORD) as server:
        seen = private(tmp_path / "fetchids", "".join(f"user@127.0.0.1 uid0000000{number}\n" for number in (1, 2, 4)))
        to = f"maildir:{tmp_path}/box"
        ran = fetch(tmp_path, server, "--to", to, "--import-seen", seen, "--delete")
        assert ran.out.startswith("3 messages of ")
        assert delivered(to) == sorted([MAIL[2], MAIL[4]])
        # Nobody can tell whether what the other program fetched was delivered.
        assert server.deleted == [3, 5]
        account = Account(plain_url(server), password=PASSWORD)
        assert import_seen(account, to, seen) == 0
        private(tmp_path / "broken", "user@127.0.0.1 x\nno sense\n")
        ran = fetch(tmp_path, server, "--to", to, "--import-seen", str(tmp_path / "broken"), status=1)
        assert "broken, line 2: " in ran.err


# On a terminal.


def test_progress_is_shown_at_a_terminal_and_taken_away(tmp_path: Path) -> None:
    with MailboxServer(
        [mail(number, 5000) for number in range(40)], latency=0.01, capabilities=["UIDL", "TOP"]
    ) as server:
        ran = at_terminal(
            tmp_path,
            "fetch",
            plain_url(server),
            "--to",
            "eml:box",
            env={"POP3FAST_PASSWORD": server.password},
        )
        quiet = at_terminal(
            tmp_path, "fetch", plain_url(server), "--to", "eml:2", "-q", env={"POP3FAST_PASSWORD": server.password}
        )
    assert ran.status == 0
    before, _, last = ran.out.rpartition("\x1b[")
    assert " of 40 " in before
    assert "MB/s" in before or "kB/s" in before
    assert "40 messages fetched" in last
    assert (quiet.status, quiet.out) == (0, "")


def test_progress_is_not_for_pipes_nor_for_terminals_that_only_write_on(tmp_path: Path) -> None:
    with MailboxServer(MAIL, password=PASSWORD) as server:
        assert fetch(tmp_path, server, "--to", "eml:1").err == ""
        ran = at_terminal(tmp_path, "fetch", plain_url(server), "--to", "eml:2", env={**ENV, "TERM": "dumb"})
    assert "\x1b" not in ran.out
    assert "5 messages fetched" in ran.out


# Several accounts.


def config(home: Path, servers: dict[str, MailboxServer], more: str = "") -> str:
    tables = [
        f'[{name}]\nurl = "{plain_url(server)}"\nto = "maildir:{home}/{name}"\npassword = "{server.password}"\n{more}\n'
        for name, server in servers.items()
    ]
    return private(home / "config.toml", "\n".join(tables))


def test_all_accounts_of_a_configuration_side_by_side(tmp_path: Path) -> None:
    with (
        MailboxServer(MAIL[:2], password="one", latency=0.05) as one,
        MailboxServer(MAIL[2:], password="two", latency=0.05) as two,
    ):
        path = config(tmp_path, {"one": one, "two": two}, "delete-after = 0")
        # A password in the environment is not sent to every server there is.
        ran = pop3fast(tmp_path, "fetch", "--all", "--config", path, "--jobs", "2", env=ENV, status=0)
        assert [line.split(": ")[1].split(" (")[0] for line in ran.out.splitlines()] == [
            "2 messages fetched",
            "3 messages fetched",
            "5 messages fetched",
        ]
        assert ran.out.splitlines()[-1].startswith("2 accounts: ")
        assert one.deleted + two.deleted == [1, 2, 1, 2, 3]
        ran = pop3fast(tmp_path, "fetch", "one", "--config", path, "--dry-run", status=0)
        assert f"127.0.0.1:{one.port}" in ran.out
        assert f"127.0.0.1:{two.port}" not in ran.out
        assert pop3fast(tmp_path, "list", "two", "--config", path, status=0).out == ""
    assert delivered(f"maildir:{tmp_path}/one") == sorted(MAIL[:2])
    assert delivered(f"maildir:{tmp_path}/two") == sorted(MAIL[2:])


def test_an_account_that_fails_is_not_the_end_of_the_others(tmp_path: Path) -> None:
    with MailboxServer(MAIL, password="right") as good, MailboxServer(MAIL, password="other") as bad:
        path = config(tmp_path, {"good": good, "bad": bad})
        private(Path(path), Path(path).read_text("utf-8").replace('"other"', '"wrong"'))
        ran = pop3fast(tmp_path, "fetch", "--all", "--config", path, status=1)
        assert "5 messages fetched" in ran.out
        assert f"user on 127.0.0.1:{bad.port}: " in ran.err
        ran = pop3fast(tmp_path, "fetch", "bad", "--config", path, status=4)
        path = config(tmp_path, {"good": good, "again": good})
        pop3fast(tmp_path, "fetch", "--all", "--config", path, status=0)
    # One mailbox for two places: one behind the other.
    assert delivered(f"maildir:{tmp_path}/good") == delivered(f"maildir:{tmp_path}/again") == sorted(MAIL)


@pytest.mark.parametrize("without", ["", 'password-file = "public"'], ids=["none", "public"])
def test_an_account_without_a_password_is_not_the_end_of_the_others(without: str, tmp_path: Path) -> None:
    private(tmp_path / "public", "secret", 0o644)
    with MailboxServer(MAIL) as first, MailboxServer(MAIL) as good, MailboxServer(MAIL) as third:
        path = config(tmp_path, {"first": first, "good": good, "third": third})
        text = Path(path).read_text("utf-8").split("\n\n")
        for place in (0, 2):
            text[place] = text[place].replace('password = "password"', without)
        private(Path(path), "\n\n".join(text))
        ran = pop3fast(tmp_path, "fetch", "--all", "--config", path, "--json", status=1)
        ends = [json.loads(line) for line in ran.out.splitlines() if '"end"' in line]
        whys = [end["error"] for end in ends if end["error"]]
        assert [(end["account"], end["fetched"], end["exit_status"]) for end in ends] == [
            (f"user on 127.0.0.1:{first.port}", 0, 4),
            (f"user on 127.0.0.1:{good.port}", 5, 0),
            (f"user on 127.0.0.1:{third.port}", 0, 4),
        ]
        assert all(("chmod 600" if without else "no password for user") in why for why in whys)
        assert first.commands == third.commands == []
        pop3fast(tmp_path, "fetch", "first", "--config", path, status=4)
        private(Path(path), f"{text[0]}\n\n{text[2]}")
        ran = pop3fast(tmp_path, "fetch", "--all", "--config", path, status=4)
    assert ran.err.count(f"pop3fast: user on 127.0.0.1:{third.port}: ") == 1


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("delete = true\ndelete-after = 3", "one of the two"),
        ('user = "other"', "another user"),
        ('password-file = "x"', "say one of password, --password-file"),
        ('ca-file = "nothing"', "cannot read nothing"),
    ],
)
def test_what_makes_no_sense_in_a_table_names_the_table(more: str, why: str, tmp_path: Path) -> None:
    with MailboxServer(MAIL) as good, MailboxServer(MAIL) as bad:
        path = config(tmp_path, {"good": good, "bad": bad})
        private(Path(path), Path(path).read_text("utf-8") + more)
        for arguments in (["--all"], ["bad"]):
            ran = pop3fast(tmp_path, "fetch", *arguments, "--config", path, status=2)
            assert ran.err.startswith("pop3fast: [bad] ")
            assert why in ran.err
        private(Path(path), Path(path).read_text("utf-8").removesuffix(more).replace("maildir:", ""))
        ran = pop3fast(tmp_path, "fetch", "--all", "--config", path, status=2)
    assert ran.err.startswith("pop3fast: [good] a destination is maildir:PATH")


def test_when_nobody_reads_any_more_all_accounts_end_without_a_word(tmp_path: Path) -> None:
    drop = Maildrop((b"1", MAIL[0]))
    drop.instead = lambda command: Reply(b"+OK\r\nhalf", then="stall") if command == b"RETR 1" else None
    with MailboxServer(MAIL * 100) as one, ScriptedServer(GREETING, drop) as stalls:
        path = config(tmp_path, {"one": one})
        table = f'[two]\nurl = "{plain_url(stalls)}"\nto = "eml:two"\npassword = "x"\n'
        private(Path(path), Path(path).read_text("utf-8") + table)
        assert_ends_without_a_word_when_nobody_reads("fetch", "--all", "--config", path, "-v", home=tmp_path)


def test_deletions_of_which_nobody_knows_are_told() -> None:
    told = summary(FetchReport("user on mail", "eml:box", deleted=2, deletions_unknown=3))
    assert told == "user on mail: 0 messages fetched (0 octets), 2 deleted, 3 perhaps deleted, in 0.0 s"


@pytest.mark.parametrize(
    ("statuses", "status"),
    [([0], 0), ([4], 4), ([0, 0], 0), ([3, 3], 3), ([0, 3], 1), ([3, 4], 1), ([1, 5], 1), ([0, 6], 6), ([3, 6], 1)],
)
def test_the_exit_status_of_several_is_what_all_have_in_common(statuses: list[int], status: int) -> None:
    assert status_of(statuses) == status


def test_so_many_mailboxes_at_once_as_was_said_and_progress_from_each(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    all_there = threading.Barrier(3, timeout=SECONDS)

    def progress(job: Job, _: Progress) -> None:
        told.append((job.words, threading.get_ident()))

    def together(_: Job, how_far: Progress) -> None:
        if how_far.messages == 1:
            all_there.wait()

    with MailboxServer(MAIL) as one, MailboxServer(MAIL) as two, MailboxServer(MAIL) as three:
        jobs = [
            Job(Account(plain_url(server), password=server.password), f"eml:{tmp_path}/{place}")
            for place, server in enumerate((one, two, three))
        ]
        assert all(report.ok for report in fetch_many(jobs, threads=1, progress=progress))
        assert {destination for destination, _ in told} == {job.destination for job in jobs}
        assert len({thread for _, thread in told}) == 1
        # None of these three gets beyond its first message alone.
        elsewhere = [Job(job.account, f"{job.destination}-again") for job in jobs]
        assert all(report.ok for report in fetch_many(elsewhere, threads=3, progress=together))
        with pytest.raises(ValueError, match="in threads"):
            fetch_many(jobs, object(), threads=1)  # type: ignore[arg-type]


def test_a_state_of_somebody_else_is_status_5(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with sqlite3.connect(state) as database:
        database.execute("CREATE TABLE theirs (x)")
    database.close()
    with MailboxServer(MAIL, password=PASSWORD) as server:
        ran = fetch(tmp_path, server, "--to", "eml:box", "--state", state, status=5)
    assert "another program" in ran.err
