"""A secret that was given to the client is never seen again: not printed, not in an exception, not in a repr.

The tests look for the secret itself and everything that stands for it on the wire: base64, digest, in any case of
letters. They look in everything that a program, a logger or a crash report gets hold of.
"""

import base64
import hashlib
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

import pytest

import pop3fast
from leaks import everything_in, hints
from pop3fast import POP3, error_proto
from pop3fast._secrets import shown
from scripted import Reply, ScriptedServer

USER = "alice"
PASSWORD = "correct-horse-battery"
TOKEN = "ya29.vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg"
STAMP = "<1896.697170952@dbc.mtview.ca.us>"
DIGEST = hashlib.md5((STAMP + PASSWORD).encode()).hexdigest()  # noqa: S324 - what APOP is made of
PLAIN = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
XOAUTH2 = base64.b64encode(f"user={USER}\1auth=Bearer {TOKEN}\1\1".encode()).decode()
SECRETS = (PASSWORD, TOKEN, DIGEST, PLAIN, XOAUTH2, base64.b64encode(PASSWORD.encode()).decode())

GREETING = f"+OK POP3 server ready {STAMP}\r\n".encode()
NO = b"-ERR [AUTH] no\r\n"


def assert_no_secret(text: str) -> None:
    assert not hints(text, SECRETS)


class Login(NamedTuple):
    """A way to log in: what the program does, and how a server goes along until the last reply."""

    name: str
    perform: Callable[[POP3], object]
    replies: tuple[bytes, ...]
    shown: tuple[str, ...]
    """The commands as the debug output may show them."""


def user_and_pass(pop: POP3) -> None:
    pop.user(USER)
    pop.pass_(PASSWORD)


def apop(pop: POP3) -> None:
    pop.apop(USER, PASSWORD)


def auth_plain(pop: POP3) -> None:
    pop._shortcmd(f"AUTH PLAIN {PLAIN}")


def auth_xoauth2_in_two_steps(pop: POP3) -> None:
    pop._shortcmd("AUTH XOAUTH2")
    pop._shortcmd(XOAUTH2)


def auth_in_lower_case(pop: POP3) -> None:
    pop._shortcmd("auth xoauth2")
    pop._shortcmd(XOAUTH2)


def auth_by_hand(pop: POP3) -> None:
    pop._putcmd("AUTH XOAUTH2")
    pop._getresp()
    pop._putline(XOAUTH2.encode())
    pop._getresp()


def auth_login_in_three_steps(pop: POP3) -> None:
    pop._shortcmd("AUTH LOGIN")
    pop._shortcmd(base64.b64encode(USER.encode()).decode())
    pop._shortcmd(base64.b64encode(PASSWORD.encode()).decode())


def pass_in_lower_case(pop: POP3) -> None:
    pop._shortcmd(f"pass {PASSWORD}")


def pass_with_spaces(pop: POP3) -> None:
    pop._shortcmd(f"PASS {PASSWORD} {PASSWORD}")


LOGINS = (
    Login("USER and PASS", user_and_pass, (b"+OK\r\n",), (f"USER {USER}", "PASS ***")),
    Login("APOP", apop, (), (f"APOP {USER} ***",)),
    Login("AUTH PLAIN", auth_plain, (), ("AUTH PLAIN ***",)),
    Login("AUTH XOAUTH2 in two steps", auth_xoauth2_in_two_steps, (b"+ \r\n",), ("AUTH XOAUTH2", "***")),
    Login("AUTH in lower case", auth_in_lower_case, (b"+\r\n",), ("auth xoauth2", "***")),
    Login(
        "AUTH LOGIN", auth_login_in_three_steps, (b"+ VXNlcjo=\r\n", b"+ UGFzcw==\r\n"), ("AUTH LOGIN", "***", "***")
    ),
    Login("pass in lower case", pass_in_lower_case, (), ("pass ***",)),
    Login("PASS with spaces", pass_with_spaces, (), ("PASS ***",)),
)

every_login = pytest.mark.parametrize("login", LOGINS, ids=lambda login: login.name)
every_level = pytest.mark.parametrize("level", [0, 1, 2])


def commands_printed(output: str, marker: str) -> list[str]:
    return [line.removeprefix(marker).strip() for line in output.splitlines() if line.startswith(marker)]


@every_login
@every_level
def test_a_login_that_succeeds_prints_no_secret_and_what_comes_after_it_is_shown_again(
    login: Login, level: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        ScriptedServer(GREETING, [*login.replies, b"+OK in\r\n", b"+OK 2 320\r\n"]) as server,
        closing(POP3(*server.address, timeout=5)) as pop,
    ):
        pop.set_debuglevel(level)
        login.perform(pop)
        assert_no_secret(repr(pop))
        assert_no_secret(repr(vars(pop)))
        assert pop.stat() == (2, 320)
    output = capsys.readouterr().out
    assert_no_secret(output)
    if level:
        assert commands_printed(output, "*cmd*") == [repr(text) for text in (*login.shown, "STAT")]
    if level == 2:
        assert commands_printed(output, "*put*") == [repr(text.encode()) for text in (*login.shown, "STAT")]
    # The server did get them: what was looked for is what was sent.
    with pytest.raises(AssertionError):
        assert_no_secret(bytes(server.received).decode())


@every_login
@every_level
def test_a_login_that_is_refused_raises_no_secret(login: Login, level: int, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        ScriptedServer(GREETING, [*login.replies, NO, b"+OK 2 320\r\n"]) as server,
        closing(POP3(*server.address, timeout=5)) as pop,
    ):
        pop.set_debuglevel(level)
        with pytest.raises(pop3fast.CommandError) as caught:
            login.perform(pop)
        for text in everything_in(caught.value):
            assert_no_secret(text)
        assert caught.value.args == (NO.strip(),)
        assert_no_secret(repr(vars(pop)))
        assert pop.stat() == (2, 320)
    output = capsys.readouterr().out
    assert_no_secret(output)
    assert ("'STAT'" in output) == (level > 0)


@every_login
@pytest.mark.parametrize(
    "ending",
    [Reply(then="fin"), Reply(then="rst"), Reply(then="stall"), Reply(b"what?\r\n"), Reply(b"+OK\0\r\n")],
    ids=["hangs up", "resets", "stalls", "nonsense", "NUL"],
)
def test_a_login_that_breaks_off_raises_no_secret_then_or_later(
    login: Login, ending: Reply, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(GREETING, [*login.replies, ending]) as server, closing(POP3(*server.address, timeout=5)) as pop:
        pop.set_debuglevel(2)
        pop.sock.settimeout(0.1)
        with pytest.raises((error_proto, OSError)) as caught:
            login.perform(pop)
        with pytest.raises(pop3fast.ProtocolError) as later:
            pop.noop()
        for error in (caught.value, later.value):
            for text in everything_in(error):
                assert_no_secret(text)
        assert_no_secret(repr(vars(pop)))
    assert_no_secret(capsys.readouterr().out)


def test_a_sasl_exchange_by_hand_prints_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        ScriptedServer(GREETING, [b"+ \r\n", b"+OK in\r\n"]) as server,
        closing(POP3(*server.address, timeout=5)) as pop,
    ):
        pop.set_debuglevel(2)
        auth_by_hand(pop)
    output = capsys.readouterr().out
    assert_no_secret(output)
    assert commands_printed(output, "*put*") == [repr(b"AUTH XOAUTH2"), repr(b"***")]


@pytest.mark.parametrize("steps", [1, 2])
def test_a_sasl_exchange_that_failed_hides_nothing_of_the_next_command(
    steps: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        ScriptedServer(GREETING, [*[b"+ \r\n"] * (steps - 1), NO, b"+OK\r\n"]) as server,
        closing(POP3(*server.address, timeout=5)) as pop,
    ):
        pop.set_debuglevel(1)
        with pytest.raises(pop3fast.CommandError):
            auth_xoauth2_in_two_steps(pop)
        pop.noop()
    assert commands_printed(capsys.readouterr().out, "*cmd*")[-1] == "'NOOP'"


# What cannot be sent.

UNENCODABLE = f"{PASSWORD}-\N{SNOWMAN}"


def pass_unencodable(pop: POP3) -> None:
    pop.pass_(UNENCODABLE)


def apop_unencodable(pop: POP3) -> None:
    pop.apop(USER, UNENCODABLE)


def auth_unencodable(pop: POP3) -> None:
    pop._shortcmd(f"AUTH PLAIN {UNENCODABLE}")


def sasl_line_unencodable(pop: POP3) -> None:
    pop._shortcmd("AUTH PLAIN")
    pop._shortcmd(UNENCODABLE)


@pytest.mark.parametrize(
    ("perform", "replies"),
    [
        (pass_unencodable, []),
        (apop_unencodable, []),
        (auth_unencodable, []),
        (sasl_line_unencodable, [b"+ \r\n"]),
    ],
)
def test_a_secret_that_cannot_be_encoded_is_not_in_the_error(
    perform: Callable[[POP3], None], replies: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        ScriptedServer(GREETING, [*replies, b"+OK still here\r\n"]) as server,
        closing(POP3(*server.address, timeout=5)) as pop,
    ):
        pop.encoding = "ascii"
        pop.set_debuglevel(2)
        with pytest.raises(UnicodeEncodeError) as caught:
            perform(pop)
        for text in everything_in(caught.value):
            assert_no_secret(text)
            assert "\N{SNOWMAN}" not in text
            assert "2603" not in text
        assert caught.value.encoding == "ascii"
        assert pop._shortcmd("NOOP") == b"+OK still here"
    assert_no_secret(capsys.readouterr().out)


def test_what_is_no_secret_stays_in_the_error_as_poplib_has_it() -> None:
    with ScriptedServer(GREETING) as server, closing(POP3(*server.address, timeout=5)) as pop:
        pop.encoding = "ascii"
        with pytest.raises(UnicodeEncodeError) as caught:
            pop.user("al\N{SNOWMAN}ce")
        assert caught.value.object == "USER al\N{SNOWMAN}ce"
        assert (caught.value.start, caught.value.end) == (7, 8)


@pytest.mark.parametrize("character", ["\r\n", "\n", "\0", "\t", "\x7f"])
def test_a_secret_with_a_control_character_is_not_in_the_error(
    character: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(GREETING) as server, closing(POP3(*server.address, timeout=5)) as pop:
        pop.set_debuglevel(2)
        with pytest.raises(ValueError, match="Control characters not allowed") as caught:
            pop.pass_(PASSWORD + character)
        for text in everything_in(caught.value):
            assert_no_secret(text)
    assert server.received == b""
    assert_no_secret(capsys.readouterr().out)


# The one place that decides.


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("PASS x", "PASS ***"),
        ("PASS ", "PASS ***"),
        ("PASS", "PASS"),
        ("pass x y  z", "pass ***"),
        ("PASS  x", "PASS ***"),
        ("APOP alice 0123", "APOP alice ***"),
        ("APOP alice and bob 0123", "APOP alice ***"),
        ("APOP alice", "APOP alice"),
        ("AUTH", "AUTH"),
        ("AUTH PLAIN", "AUTH PLAIN"),
        ("AUTH PLAIN AGEAYg==", "AUTH PLAIN ***"),
        ("Auth  PLAIN AGEAYg==", "Auth  ***"),
        ("USER alice", "USER alice"),
        ("RETR 1", "RETR 1"),
        ("XTND XLST Subject", "XTND XLST Subject"),
        # What is not known may be anything, a password that was sent in the place of a command included.
        ("PASSAGE x", "***"),
        ("hunter2", "***"),
        (" PASS x", "***"),
        ("", "***"),
    ],
)
def test_what_of_a_command_is_shown(command: str, expected: str) -> None:
    assert shown(command) == expected


@pytest.mark.parametrize("line", ["", "*", "dGVzdA==", "AUTH PLAIN", "QUIT"])
def test_nothing_of_a_line_inside_a_sasl_exchange_is_shown(line: str) -> None:
    assert shown(line, in_sasl=True) == "***"
