"""The demo and the command line around it: the table, the checking of every message, the exit statuses."""

import hashlib
import io
import re
import subprocess
import sys
from collections.abc import Iterable

import pytest

from pop3fast.cli import _demo, main
from pop3fast.cli._demo import WAYS, Style, Tally, table
from pop3fast.cli._demo_mail import mailbox

MAILBOX_OF_200 = "d4e4be3e1f6b303154181d24661ad4a24e6ff6b45a14c6d854e3922e68fad5ed"


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal, and keeps what is written."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True

    def written(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


def test_the_demo_shows_a_row_for_each_way_and_every_message_verified() -> None:
    command = [sys.executable, "-m", "pop3fast", "demo", "--messages", "110"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("\n110 messages, ")
    assert "\x1b" not in ran.stdout
    rows = re.findall(
        r"^(\S+ +\S+\(\)) +([\d.]+) +([\d,]+) +([\d.,]+) +([\d.]+) x +110 of 110$", ran.stdout, re.MULTILINE
    )
    assert [row[0].split() for row in rows] == [
        ["poplib", "retr()"],
        ["pop3fast", "retr()"],
        ["pop3fast", "retr_bytes()"],
        ["pop3fast", "retr_many()"],
    ]
    assert rows[0][4] == "1.0"
    assert "110 of 110 are there once, octet for octet\n  once more: 0 new, 110 fetched before, " in ran.stdout
    assert all(float(seconds) > 0 for _name, seconds, *_rest in rows)


def test_a_message_that_is_not_what_was_sent_is_named_and_makes_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = _demo.fingerprints

    def with_one_wrong(messages: Iterable[bytes]) -> list[bytes]:
        return [
            hashlib.sha256(b"another").digest() if number == 2 else one for number, one in enumerate(right(messages))
        ]

    monkeypatch.setattr(_demo, "fingerprints", with_one_wrong)
    assert main(["demo", "--messages", "5"]) == 1
    said = capsys.readouterr()
    assert said.out.count("4 of 5") == len(WAYS) + 1
    assert said.err.splitlines() == [
        *(f"pop3fast demo: message 3 is not what was sent, by {way.library} {way.call}" for way in WAYS),
        "pop3fast demo: what was fetched into the Maildir is not what was sent",
    ]
    assert "4 of 5 are there once" in said.out


def test_many_messages_that_differ_are_not_all_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_demo, "fingerprints", lambda messages: [b"" for _ in messages])
    monkeypatch.setattr(_demo, "WAYS", WAYS[:1])
    assert main(["demo", "--messages", "25"]) == 1
    said = capsys.readouterr()
    assert "0 of 25" in said.out
    assert said.err.count("is not what was sent, by ") == 10
    assert said.err.splitlines()[10] == "pop3fast demo: and 15 more"


def test_the_mailbox_is_the_same_everywhere_and_has_its_share_of_everything() -> None:
    messages = list(mailbox(200))
    assert hashlib.sha256(b"".join(messages)).hexdigest() == MAILBOX_OF_200
    sizes = sorted(map(len, messages))
    assert sizes[100] < 10_000
    assert sum(20_000 < size < 100_000 for size in sizes) == 15
    assert sum(size > 1_000_000 for size in sizes) == 1
    assert all(message.endswith(b"\r\n") and b"\r\n\r\n" in message for message in messages)
    assert not any(re.search(rb"(?<!\r)\n", message) for message in messages)
    assert sum(b"\r\n." in message for message in messages) > 100
    assert sum(b"\r\n.\r\n" in message for message in messages) > 10
    assert sum(not message.isascii() for message in messages) > 100


TALLIES = [Tally(WAYS[0], 2.0, 10_000_000, 1000), Tally(WAYS[1], 0.5, 10_000_000, 999, [7])]


def test_the_table_is_plain_where_nobody_looks() -> None:
    assert table(TALLIES, Style(boxed=False, coloured=False)).splitlines() == [
        "                   seconds   messages/s   MB/s   speed         verified",
        "-----------------------------------------------------------------------",
        "poplib    retr()     2.000          500    5.0   1.0 x   1,000 of 1,000",
        "pop3fast  retr()     0.500        2,000   20.0   4.0 x     999 of 1,000",
    ]


def test_the_table_on_a_terminal_is_the_same_in_a_box_and_in_colour() -> None:
    boxed = table(TALLIES, Style(boxed=True, coloured=False))
    assert len({len(line) for line in boxed.splitlines()}) == 1
    assert (
        re.sub("[┌┬┐├┼┤└┴┘─│ ]+", " ", boxed).split()
        == table(TALLIES, Style(boxed=False, coloured=False)).replace("-", "").split()
    )
    coloured = table(TALLIES, Style(boxed=True, coloured=True))
    assert "\x1b[1;32m4.0 x\x1b[0m" in coloured
    assert re.search(r"\x1b\[1;31m +999 of 1,000\x1b\[0m", coloured)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == boxed


@pytest.mark.parametrize(
    ("environment", "encoding", "style"),
    [
        ({}, "utf-8", Style(boxed=True, coloured=True)),
        ({"NO_COLOR": "1"}, "utf-8", Style(boxed=True, coloured=False)),
        ({"NO_COLOR": ""}, "utf-8", Style(boxed=True, coloured=True)),
        ({"TERM": "dumb"}, "utf-8", Style(boxed=False, coloured=False)),
        ({}, "ascii", Style(boxed=False, coloured=True)),
    ],
)
def test_a_terminal_gets_what_it_can_show(
    environment: dict[str, str], encoding: str, style: Style, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Style.of(Terminal(encoding)) == style
    assert Style.of(io.StringIO()) == Style(boxed=False, coloured=False)


def test_progress_is_shown_on_a_terminal_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out, err = io.StringIO(), Terminal()
    assert _demo.run(3, out=out, err=err) == 0
    steps = err.written().split("\r\x1b[K")
    assert steps == ["", "writing 3 messages ...", "starting the server ...", "retrieving, 0 % ...", ""]
    assert "3 of 3" in out.getvalue()


@pytest.mark.parametrize("arguments", [[], ["demo", "--messages", "0"], ["demo", "--messages", "many"], ["xyzzy"]])
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: pop3fast")


def test_control_c_is_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_messages: int) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "run", interrupted)
    assert main(["demo"]) == 130
