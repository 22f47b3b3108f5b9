"""Which accounts a command is about, and what holds for each: names, ``--all``, ``[defaults]`` and placeholders."""

import json
import re
import shlex
from argparse import Namespace
from pathlib import Path

import pytest

import pop3fast as library
from commandline import PASSWORD, plain_url, pop3fast, private
from maildrops import delivered, mail
from pop3fast.cli._arguments import make_parser
from pop3fast.cli._config import read_config
from pop3fast.cli._selection import selected
from pop3fast.cli._settings import Settings
from pop3fast.cli._text import UsageError
from pop3fast.testing import MailboxServer

TABLES = """
[defaults]
to = "maildir:/mail/{name}"
password-command = "pass show '{host}/{user}'"
timeout = 30
delete-after = 7

[work]
url = "pop3s://ada@mail.example.org"

[home]
url = "pop3s://mail.example.net"
user = "bob smith"
to = "mbox:/mail/{user}"
state = "/state/{host}.sqlite"
timeout = 5
password = "secret"
"""


def chosen(path: str, *arguments: str) -> dict[str, Settings]:
    command: Namespace = make_parser().parse_args(["fetch", *arguments, "--config", path])
    return selected(command)


def test_what_defaults_say_holds_for_whoever_does_not_say_it_itself(tmp_path: Path) -> None:
    accounts = read_config(private(tmp_path / "config", TABLES))
    assert list(accounts) == ["work", "home"]
    assert (accounts["work"].timeout, accounts["work"].delete_after) == (30, 7)
    assert (accounts["home"].timeout, accounts["home"].delete_after) == (5, 7)
    # Where an account says whence its secret comes, the defaults do not.
    assert (accounts["home"].password, accounts["home"].password_command) == ("secret", None)


def test_defaults_are_no_account(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no accounts"):
        read_config(private(tmp_path / "config", '[defaults]\nto = "eml:x"\n'))
    path = private(tmp_path / "config", TABLES)
    with pytest.raises(UsageError, match=r"has no account of that name; it has 'work', 'home'$"):
        chosen(path, "defaults")
    with pytest.raises(UsageError, match=r"\[defaults\] has an unknown key on line 3; did you mean 'timeout'\?"):
        read_config(private(tmp_path / "config", "\n[defaults]\ntimout = 3\n"))


def test_several_names_all_of_them_and_urls_each_once(tmp_path: Path) -> None:
    path = private(tmp_path / "config", TABLES)
    assert list(chosen(path, "--all")) == ["work", "home"]
    assert list(chosen(path, "home", "work", "home")) == ["home", "work"]
    url = "pop3s://cyd@mail.example.org"
    some = chosen(path, url, "work", "--limit", "3", "--to", "eml:{host}")
    assert [(name, one.to, one.limit) for name, one in some.items()] == [
        (url, "eml:mail.example.org", 3),
        ("work", "eml:mail.example.org", 3),
    ]
    with pytest.raises(UsageError, match="it takes no URL and no name"):
        chosen(path, "work", "--all")


def test_placeholders_are_filled_in_paths_and_word_by_word_in_commands(tmp_path: Path) -> None:
    accounts = chosen(private(tmp_path / "config", TABLES), "--all")
    assert accounts["work"].to == "maildir:/mail/work"
    assert shlex.split(accounts["work"].password_command or "") == ["pass", "show", "mail.example.org/ada"]
    assert (accounts["home"].to, accounts["home"].state) == ("mbox:/mail/bob smith", "/state/mail.example.net.sqlite")
    text = '[a]\nurl = "pop3s://x%20y@h"\nto = "eml:{box}"\npassword-command = "awk {print} {user}"\n'
    odd = chosen(private(tmp_path / "config", text), "a")["a"]
    # Other braces are nobody's business, and a blank in a name begins no word.
    assert odd.to == "eml:{box}"
    assert shlex.split(odd.password_command or "") == ["awk", "{print}", "x y"]
    text = text.replace("eml:{box}", "pipe:deliver -d {user} {host}")
    program = chosen(private(tmp_path / "config", text), "a")["a"].to or ""
    assert program.startswith("pipe:")
    assert shlex.split(program.removeprefix("pipe:")) == ["deliver", "-d", "x y", "h"]


def test_a_placeholder_that_nothing_fills_is_named(tmp_path: Path) -> None:
    path = private(tmp_path / "config", '[a]\nurl = "pop3s://h"\nto = "eml:{user}"\n')
    with pytest.raises(UsageError, match=r"^\[a\] to has \{user\} in it, and nobody says who logs in$"):
        chosen(path, "a")


def config(home: Path, servers: dict[str, MailboxServer], more: str = "") -> str:
    tables = [f'[{name}]\nurl = "{plain_url(server)}"\n{more}\n' for name, server in servers.items()]
    defaults = f'[defaults]\nto = "maildir:{home}/{{name}}"\npassword = "{PASSWORD}"\n'
    return private(home / "config.toml", "\n".join([defaults, *tables]))


def test_fetch_list_and_capa_take_several_names(tmp_path: Path) -> None:
    with (
        MailboxServer([mail(1)], uids=["one"], capabilities=["UIDL", "X-ONE"], password=PASSWORD) as one,
        MailboxServer([mail(2)], uids=["two"], capabilities=["UIDL", "X-TWO"], password=PASSWORD) as two,
        MailboxServer([mail(3)], password=PASSWORD) as three,
    ):
        path = config(tmp_path, {"a": one, "b": two, "c": three})
        some = ["a", "b", "--config", path]
        assert pop3fast(tmp_path, "fetch", *some, status=0).out.count(": 1 message fetched (") == 2
        assert three.commands == []
        names = [f"user on 127.0.0.1:{server.port}" for server in (one, two)]
        out = pop3fast(tmp_path, "list", *some, status=0).out.splitlines()
        assert [out[0], out[2]] == [f"{name}:" for name in names]
        assert [out[1].split()[2], out[3].split()[2]] == ["one", "two"]
        rows = [
            json.loads(line)
            for line in pop3fast(tmp_path, "list", "--all", "--config", path, "--json").out.split("\n")[:-1]
        ]
        assert [(row["account"], row["uid"]) for row in rows[:2]] == [(names[0], "one"), (names[1], "two")]
        out = pop3fast(tmp_path, "capa", *some, status=0).out.splitlines()
        assert out == [f"{names[0]}:", "UIDL", "X-ONE", f"{names[1]}:", "UIDL", "X-TWO"]
    assert delivered(f"maildir:{tmp_path}/a") == [mail(1)]
    assert delivered(f"maildir:{tmp_path}/b") == [mail(2)]


def test_an_account_that_cannot_be_listed_is_not_the_end_of_the_others(tmp_path: Path) -> None:
    with MailboxServer([b"x"], password="another") as bad, MailboxServer([b"x"], password=PASSWORD) as good:
        path = config(tmp_path, {"bad": bad, "good": good})
        ran = pop3fast(tmp_path, "list", "--all", "--config", path, status=1)
        assert ran.err.startswith(f"pop3fast: user on 127.0.0.1:{bad.port}: login: AUTH: -ERR")
        assert ran.out.splitlines()[-1] == "1  3  uid00000001"
        pop3fast(tmp_path, "list", "bad", "--config", path, status=4)


def test_a_password_in_the_environment_is_for_one_account_and_says_so(tmp_path: Path) -> None:
    with MailboxServer([b"x"], password=PASSWORD) as one, MailboxServer([b"x"], password=PASSWORD) as two:
        path = config(tmp_path, {"a": one, "b": two})
        private(tmp_path / "config.toml", re.sub("password = .*", "", Path(path).read_text("utf-8")))
        env = {"POP3FAST_PASSWORD": PASSWORD}
        for command in ("fetch", "list"):
            ran = pop3fast(tmp_path, command, "--all", "--config", path, env=env, status=4)
            assert ran.err.count("\n") == 2
            assert (
                "no password for user on 127.0.0.1: $POP3FAST_PASSWORD is for a command about one account; each of "
                "several needs a password-command, a password-file or an entry in ~/.netrc\n"
            ) in ran.err
            assert one.commands == two.commands == []
        pop3fast(tmp_path, "fetch", "a", "--config", path, env=env, status=0)


def test_what_another_program_fetched_may_be_said_in_a_table(tmp_path: Path) -> None:
    seen = private(tmp_path / "fetchids", "user@127.0.0.1 one\n")
    with MailboxServer([mail(1), mail(2)], uids=["one", "two"], password=PASSWORD) as server:
        path = config(tmp_path, {"a": server, "b": server}, f'import-seen = "{seen}"')
        ran = pop3fast(tmp_path, "fetch", "--all", "--config", path, status=0)
        assert ran.out.count(f"1 message of {seen} will not be fetched again\n") == 2
        assert "will not" not in pop3fast(tmp_path, "fetch", "--all", "--config", path, status=0).out
        ran = pop3fast(tmp_path, "fetch", "--all", "--config", path, "--dry-run", status=2)
        assert ran.err == "pop3fast: [a] import-seen changes what is remembered, and a dry run changes nothing\n"
        ran = pop3fast(tmp_path, "fetch", "--all", "--config", path, "--import-seen", seen, status=2)
        assert ran.err == (
            "pop3fast: --import-seen is for one account; in the configuration each may have a key of that name\n"
        )
        Path(seen).unlink()
        ran = pop3fast(tmp_path, "fetch", "--all", "--config", path, status=1)
        assert ran.err.count(f"{seen}: No such file or directory") == 2
    assert delivered(f"maildir:{tmp_path}/a") == [mail(2)]


def test_the_version(tmp_path: Path) -> None:
    assert pop3fast(tmp_path, "--version", status=0).out == f"pop3fast {library.__version__}\n"
