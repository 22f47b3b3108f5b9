"""The command line: list and capa, and what headers say.

Whatever a header holds, it is one line, in time linear in its length.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commandline import OBEYED, PASSWORD, plain_url, pop3fast
from maildrops import Maildrop, mail
from pop3fast.cli._headers import decoded, header_of
from pop3fast.cli._text import printable
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING

ENV = {"POP3FAST_PASSWORD": PASSWORD}

MESSAGES = [
    (
        b"Date: Mon, 1 Jan 2024 10:00:00 +0100\r\nFrom: =?utf-8?q?Ad=C3=A1?= <ada@example.org>\r\n"
        b"Subject: =?iso-8859-1?q?Gr=FC=DFe?= from\r\n Madrid\r\n\r\nText.\r\n"
    ),
    b"Date: soon\r\nSubject: raw \xe2\x82\xac and =?no-such-charset?q?x?=\r\n\r\n",
    b"\r\nNo header at all.\r\n",
]


def test_list_shows_number_octets_and_unique_id(tmp_path: Path) -> None:
    with MailboxServer([b"x" * 98, b"y" * 12345], uids=["first", "2"], password=PASSWORD) as server:
        ran = pop3fast(tmp_path, "list", plain_url(server), env=ENV, status=0)
        assert ran.out.splitlines() == ["1    100  first", "2  12347  2"]
        assert ran.err == ""
        assert b"RETR 1" not in server.commands
        assert server.commands[-1] == b"QUIT"


def test_list_shows_headers_decoded(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES, password=PASSWORD) as server:
        ran = pop3fast(tmp_path, "list", plain_url(server), "--headers", env=ENV, status=0)
        assert ran.out.splitlines() == [
            "1  144  uid00000001  2024-01-01 10:00  Adá <ada@example.org>           Grüße from Madrid",
            "2   60  uid00000002  soon                                              raw € and =?no-such-charset?q?x?=",
            "3   21  uid00000003",
        ]


def test_list_json_is_one_ascii_object_a_line(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES, password=PASSWORD) as server:
        ran = pop3fast(tmp_path, "list", plain_url(server), "--headers", "--json", env=ENV, status=0)
    assert ran.out.isascii()
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert rows[0] == {
        "number": 1,
        "octets": 144,
        "uid": "uid00000001",
        "date": "2024-01-01T10:00:00+01:00",
        "from": "Adá <ada@example.org>",
        "subject": "Grüße from Madrid",
    }
    assert [row["number"] for row in rows] == [1, 2, 3]


def test_list_of_an_empty_maildrop_asks_for_no_listing(tmp_path: Path) -> None:
    with MailboxServer([], password=PASSWORD) as server:
        assert pop3fast(tmp_path, "list", plain_url(server), env=ENV, status=0).out == ""
        assert not {b"LIST", b"UIDL"} & set(server.commands)


def test_list_names_a_header_that_is_refused_and_shows_the_others(tmp_path: Path) -> None:
    drop = Maildrop((b"1", mail(1)), (b"2", mail(2)), (b"3", mail(3)))
    drop.instead = lambda command: b"-ERR \x1b[31mno\r\n" if command == b"TOP 2 0" else None
    with ScriptedServer(GREETING, drop) as server:
        ran = pop3fast(tmp_path, "list", plain_url(server), "--headers", env=ENV, status=1)
    assert [len(line.split()) > 3 for line in ran.out.splitlines()] == [True, False, True]
    assert ran.out.splitlines()[1].split() == ["2", str(len(mail(2))), "2"]
    assert ran.err == "pop3fast: message 2: TOP 2: -ERR \\x1b[31mno\n"


def test_list_of_a_server_without_headers_shows_the_rest_and_says_so_once(tmp_path: Path) -> None:
    drop = Maildrop(
        *((b"%d" % number, mail(number)) for number in range(1, 61)), capabilities=b"UIDL\r\nPIPELINING\r\n"
    )
    refusals = iter([b"-ERR Unknown command\r\n"] * 20)
    # Dovecot counts bad commands.
    drop.instead = lambda command: next(refusals, Reply(b"", then="fin")) if command[:3] == b"TOP" else None
    with ScriptedServer(GREETING, drop) as server:
        ran = pop3fast(tmp_path, "list", plain_url(server), "--headers", env=ENV, status=1)
        assert ran.out == pop3fast(tmp_path, "list", plain_url(server), env=ENV, status=0).out
    assert ran.out.count("\n") == 60
    assert ran.err == "pop3fast: the server gives no headers: TOP 1: -ERR Unknown command\n"
    assert len([command for command in drop.commands if command[:3] == b"TOP"]) == 3


def test_list_shows_what_is_known_when_the_server_hangs_up_at_a_header(tmp_path: Path) -> None:
    drop = Maildrop(*((b"%d" % number, mail(number)) for number in range(1, 6)))
    drop.instead = lambda command: Reply(b"+OK\r\nFrom", then="fin") if command[:5] == b"TOP 4" else None
    with ScriptedServer(GREETING, drop) as server:
        ran = pop3fast(tmp_path, "list", plain_url(server), "--headers", env=ENV, status=3)
    assert [len(line.split()) > 3 for line in ran.out.splitlines()] == [True, True, True, False, False]
    assert ran.err.count("\n") == 1


def test_list_without_unique_ids(tmp_path: Path) -> None:
    with MailboxServer([b"x"], unsupported=["UIDL"], password=PASSWORD) as server:
        ran = pop3fast(tmp_path, "list", plain_url(server), env=ENV, status=0)
        assert ran.out == "1  3  -\n"
        assert "no unique-ids" in ran.err
        assert json.loads(pop3fast(tmp_path, "list", plain_url(server), "--json", env=ENV).out)["uid"] is None


def test_capa_shows_what_the_server_says_and_logs_in_only_who_is_named(tmp_path: Path) -> None:
    capabilities = ["UIDL", "SASL PLAIN", "IMPLEMENTATION x\x1by"]
    with MailboxServer([], capabilities=capabilities, password=PASSWORD) as server:
        ran = pop3fast(tmp_path, "capa", plain_url(server, ""), status=0)
        assert ran.out.splitlines() == ["UIDL", "SASL PLAIN", r"IMPLEMENTATION x\x1by"]
        assert server.commands == [b"CAPA", b"QUIT"]
        ran = pop3fast(tmp_path, "capa", plain_url(server), "--json", env=ENV, status=0)
        assert json.loads(ran.out.splitlines()[1]) == {"capability": "SASL", "arguments": ["PLAIN"]}
        assert any(command.startswith(b"AUTH PLAIN") for command in server.commands)


def test_capa_of_a_server_that_has_none_says_so(tmp_path: Path) -> None:
    with MailboxServer([], unsupported=["CAPA"]) as server:
        ran = pop3fast(tmp_path, "capa", plain_url(server, ""), status=0)
    assert (ran.out, ran.err) == ("", "pop3fast: the server does not say what it can do (CAPA)\n")


def test_what_the_standard_output_cannot_show_is_escaped(tmp_path: Path) -> None:
    latin = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C", **ENV}
    with MailboxServer(MESSAGES[:1], password=PASSWORD) as server:
        ran = pop3fast(tmp_path, "list", plain_url(server), "--headers", env=latin, status=0)
    assert r"Gr\xfc\xdfe" in ran.out


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text('=?utf-8b70qQB+AGoA_ ,<>()\\"@:;\u202e\x9b\ud800', max_size=60).map(
            lambda text: (
                b"Subject: " + text.encode("utf-8", "surrogatepass") + b"\r\nDate: " + text.encode("latin-1", "replace")
            )
        ),
    )
)
def test_any_octets_are_a_header_that_can_be_shown(octets: bytes) -> None:
    header = header_of(octets)
    assert header.keys() == {"date", "from", "subject"}
    for value in header.values():
        value.encode("utf-8")
        assert OBEYED.findall(printable(value)) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?utf-8?b?4oKs?= =?utf-8?q?_x?=", "€ x"),
        ("=?utf-7?q?+2AA-?=", "\ufffd"),
        ("=?utf-8?b?a?=", "=?utf-8?b?a?="),
        ("=?utf-8?b?a?= =?utf-8?q?a?= =?no?q?a?=", "=?utf-8?b?a?= a =?no?q?a?="),
        ("=?UTF-8*de?B?4oI?= =?utf-8?b?rA==?=  b =?Latin-1?Q?=E9?==?latin-1?q?=e8?=", "€ b éè"),
        ("=?utf-8?q?=E2=82?= and =?utf-8?q?=AC?=", "=?utf-8?q?=E2=82?= and =?utf-8?q?=AC?="),
        ("What=?utf-8?q?What??=", "WhatWhat?"),
        ("=?punycode?q?a-b?= =?unicode_escape?q?a?=", "=?punycode?q?a-b?= =?unicode_escape?q?a?="),
        ("folded\r\n\t and  wide", "folded and wide"),
        ("caf\udcc3\udca9 \udcff", "café \\xff"),
    ],
)
def test_values_are_decoded_where_they_make_sense(value: str, text: str) -> None:
    assert decoded(value) == text


@pytest.mark.parametrize(
    "part", ["=?a?q?x", "=?utf-8?q?x?= ", "=?utf-8?q?x?==?latin-1?q?x?=", "=?utf-8?b?a?= ", "=?", "=?a?", "?="]
)
def test_a_subject_of_a_megabyte_takes_no_more_than_its_share(part: str) -> None:
    # In time by the square of its length it would take minutes to hours; pytest ends the test after one minute.
    subject = part * (1_000_000 // len(part))
    assert header_of(f"From: a@b\r\nSubject: {subject}\r\n\r\n".encode())["from"] == "a@b"


def test_a_charset_that_takes_time_by_the_square_of_its_text_is_none() -> None:
    subject = f"=?punycode?q?{'a' * 3_000_000}-?="
    assert header_of(f"Subject: {subject}\r\n\r\n".encode())["subject"] == subject
