"""What a person sees of a fetch, in terminals of three widths: read from a real terminal, as a screen would show it."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import PASSWORD, at_terminal, plain_url
from maildrops import mail
from pop3fast.fetch import Account, Progress, fetch_mailbox
from pop3fast.testing import MailboxServer
from screens import Screen

MAIL = [mail(number, 5000) for number in range(40)]
CAST = Path(__file__).parent.parent / "docs" / "fetch.svg"


def seen(out: str, columns: int) -> list[str]:
    """Return what the screen showed, one after the other."""
    screen = Screen(columns)

    def steps() -> Iterator[str]:
        for piece in re.split(r"(?<=\x1b\[K)", out):
            screen.feed(piece)
            yield screen.text

    return [*steps()]


@pytest.mark.parametrize(
    ("columns", "far"),
    [
        (40, r"[1-9]\d* of 40   [\d.]+ kB/s   0:0\d left"),
        (80, r"(\[#*-*\]   )?[1-9]\d* of 40 messages   [\d.]+ kB of [\d.]+ kB   [\d.]+ kB/s   0:0\d left"),
        (200, r"\[#+-*\]   [1-9]\d* of 40 messages   [\d.]+ kB of [\d.]+ kB   [\d.]+ kB/s   0:0\d left"),
    ],
)
def test_a_fetch_at_a_terminal_of_three_widths(columns: int, far: str, tmp_path: Path) -> None:
    with MailboxServer(MAIL, password=PASSWORD, latency=0.01, capabilities=["UIDL", "TOP"]) as server:
        env = {"POP3FAST_PASSWORD": PASSWORD, "NO_COLOR": "1"}
        ran = at_terminal(tmp_path, "fetch", plain_url(server), "--to", "eml:box", env=env, columns=columns)
    who = f"user on 127.0.0.1:{server.port}"
    shown = seen(ran.out, columns)
    assert ran.status == 0
    # What begins is said when it does, in this order, and each takes the place of the one before.
    begun = [text.rpartition(": ")[2] for text in shown if text.startswith("user on") and "fetched" not in text]
    assert list(dict.fromkeys(begun))[:3] == ["connecting", "logging in", "listing"]
    assert any(re.fullmatch(far, text) for text in shown), shown
    assert max(len(text.splitlines()) for text in shown[:-1] if text) == 1
    assert re.fullmatch(rf"{who}: 40 messages fetched \([\d.]+ kB\), in \d+\.\d s", shown[-1].replace("\n", ""))


def test_while_it_lists_it_tells_how_many_so_far(tmp_path: Path) -> None:
    told: list[Progress] = []
    with MailboxServer([b"x"] * 20_000, uids=[f"u{number:060}" for number in range(20_000)]) as server:
        account = Account(plain_url(server), password=server.password)
        fetch_mailbox(account, f"eml:{tmp_path}/box", limit=1, progress=told.append)
    listed = [progress.listed for progress in told if progress.doing == "listing"]
    assert listed[0] == 0
    assert listed == sorted(listed)
    assert len(set(listed)) > 2
    # The last octets end the listing, and with them their status lines and dots.
    assert 20_000 <= listed[-1] <= 20_010
    assert [progress.doing for progress in told][:3] == ["connecting", "logging in", "listing"]


def test_a_terminal_of_latin_1_shows_a_fetch(tmp_path: Path) -> None:
    with MailboxServer(MAIL, user="\u90f5\u4fbf", password=PASSWORD, latency=0.01, capabilities=["UIDL"]) as server:
        env = {"POP3FAST_PASSWORD": PASSWORD, "PYTHONUTF8": "0", "PYTHONIOENCODING": "iso-8859-1"}
        url = plain_url(server, "%E9%83%B5%E4%BE%BF@")
        ran = at_terminal(tmp_path, "fetch", url, "--to", "eml:box", env=env, columns=40)
    assert ran.status == 0
    shown = seen(ran.out, 40)
    assert any(text.startswith(r"\u90f5\u4fbf") for text in shown)
    assert shown[-1].replace("\n", "").startswith(rf"\u90f5\u4fbf on 127.0.0.1:{server.port}: 40 messages fetched")


def test_the_picture_of_a_fetch_shows_one_from_its_beginning_to_its_end() -> None:
    """`make screencast` draws it anew."""
    text = ["".join(element.itertext()) for element in ET.parse(CAST).getroot().iter("{http://www.w3.org/2000/svg}g")]  # noqa: S314 - it is ours
    assert "$ pop3fast fetch" in text[0]
    assert any("logging in" in frame for frame in text)
    assert any(" left" in frame for frame in text)
    assert "messages fetched" in text[-1]
