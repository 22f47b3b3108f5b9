"""`pop3fast fleet`: workers that share the accounts of a configuration, until SIGTERM."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import SECONDS, Here, private, running
from hotels import Hotel
from maildrops import Maildrop, delivered, mail
from servers.postgres import PostgresServer
from waiting import wait_until

USERS = ["a", "b", "c"]


@pytest.fixture
def hotel() -> Iterator[Hotel]:
    with Hotel({user: Maildrop((b"1", mail(number))) for number, user in enumerate(USERS)}) as running:
        yield running


def config(folder: Path, hotel: Hotel, more: str = "") -> str:
    tables = [f'[{user}]\nurl = "pop3+plain://{user}@127.0.0.1:{hotel.port}"\n' for user in USERS]
    return private(
        folder / "config", f'[defaults]\npassword = "password"\nto = "eml:{{name}}"\n{more}\n' + "".join(tables)
    )


def worker(home: Path, *arguments: str) -> "contextlib.AbstractContextManager[subprocess.Popen[str]]":
    """Run one, and see to it that it ends."""
    return running({}, home, "fleet", *arguments)


def arrived(folder: Path) -> list[bytes]:
    return [content for user in USERS for content in delivered(f"eml:{folder}/{user}")]


def test_two_workers_fetch_what_is_new_until_sigterm_and_each_message_once(
    postgres: PostgresServer, hotel: Hotel, tmp_path: Path
) -> None:
    ways = ("--config", config(tmp_path, hotel), "--state", postgres.database(), "--every", "0.2", "--log", "log")
    with worker(tmp_path, *ways) as one, worker(tmp_path, *ways, "--per-host", "2", "--at-once", "5") as two:
        wait_until(lambda: len(arrived(tmp_path)) == 3 and min(hotel.logins[user] for user in USERS) >= 3)
        hotel.drops["b"].messages.append((b"2", mail(7)))
        wait_until(lambda: len(arrived(tmp_path)) == 4)
        for child in (one, two):
            child.send_signal(signal.SIGTERM)
        ended = [child.communicate(timeout=SECONDS) for child in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0]
    assert [err for _, err in ended] == ["", ""]
    said = [line.partition(": ")[2][:17] for out, _ in ended for line in out.splitlines()]
    assert said == ["1 message fetched"] * 4
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text("utf-8").splitlines()]
    assert events.count("end") >= 9
    assert arrived(tmp_path) == [mail(0), mail(1), mail(7), mail(2)]


@pytest.mark.parametrize(
    ("more", "arguments", "words"),
    [
        ("", (), "a fleet needs one state that all its workers use: --state postgresql://"),
        ('state = "s"', ("--per-host", "0"), "--per-host"),
        ("from-now = true", ("--state", "s"), "import-seen and from-now are for pop3fast fetch"),
        ('to = "nowhere"', ("--state", "s"), "a destination is maildir:PATH"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    here: Here, hotel: Hotel, tmp_path: Path, more: str, arguments: tuple[str, ...], words: str
) -> None:
    path = config(tmp_path, hotel, more)
    if more.startswith("to"):
        Path(path).write_text(Path(path).read_text().replace('to = "eml:{name}"\n', ""))
    ran = here("fleet", "--config", path, *arguments, status=2)
    assert words in ran.err
    assert hotel.logins == {}


def test_an_account_with_two_destinations_is_refused_and_none_is_left_out_in_silence(
    here: Here, hotel: Hotel, tmp_path: Path
) -> None:
    table = f'url = "pop3+plain://a@127.0.0.1:{hotel.port}"\npassword = "password"\n'
    path = private(tmp_path / "config", f'[one]\n{table}to = "eml:one"\n[two]\n{table}to = "eml:two"\n')
    ran = here("fleet", "--config", path, "--state", "postgresql://x@127.0.0.1:1/x", status=2)
    assert f"a on 127.0.0.1:{hotel.port} is there twice" in ran.err
    assert hotel.logins == {}


def test_a_database_that_cannot_be_used_is_one_sentence(here: Here, hotel: Hotel, tmp_path: Path) -> None:
    ran = here("fleet", "--config", config(tmp_path, hotel), "--state", "postgresql://x@127.0.0.1:1/x", status=5)
    assert "Connection refused" in ran.err
    assert len(ran.err.splitlines()) == 1
