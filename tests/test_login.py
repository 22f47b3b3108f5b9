"""auth and login: each mechanism's octets, which one is chosen, and that a refusal is the end of it.

The dialogues of Gmail and of Microsoft 365 are played as they were seen. What a server asks for that makes no sense
is answered with ``*``, and the session goes on.
"""

import base64
import hmac
import json
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from unittest import mock

import pytest
import scramp  # type: ignore[import-untyped]

import pop3fast
from pop3fast import POP3, AuthenticationError, CommandError, ProtocolError, _sasl, error_proto
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING, assert_broken, connect

USER, PASSWORD, TOKEN = "alice", "pencil", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
STAMPED = b"+OK ready <1896.697170952@dbc.mtview.ca.us>\r\n"
NO = b"-ERR [AUTH] no\r\n"
IN = b"+OK in\r\n"
STAT = b"+OK 2 320\r\n"


def b64(text: str | bytes) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def capa(mechanisms: str) -> bytes:
    return f"+OK\r\nUSER\r\nSASL {mechanisms}\r\n.\r\n".encode() if mechanisms else b"+OK\r\nUSER\r\n.\r\n"


def trusted(server: ScriptedServer) -> POP3:
    """Connect in the clear because that was asked for."""
    return pop3fast.connect(f"pop3+plain://{server.host}:{server.port}", timeout=5)


class ScramServer:
    """The server's side of SCRAM, by scramp; *change* may lie about what it says."""

    def __init__(
        self,
        name: str = "SCRAM-SHA-256",
        iterations: int = 4096,
        change: Callable[[str], str] = lambda message: message,
    ) -> None:
        mechanism = scramp.ScramMechanism(name)
        stored = mechanism.make_auth_info(PASSWORD, iteration_count=iterations)
        self._server = mechanism.make_server(lambda _: stored)
        self._change = change
        self._steps = iter((self._first, self._final))

    def __call__(self, command: bytes) -> bytes:
        octets = command.rpartition(b" ")[2] if command.startswith(b"AUTH") else command
        if not octets:
            return IN
        if octets == b"*":
            return b"-ERR called off\r\n"
        step = next(self._steps, None)
        return IN if step is None else b"+ " + b64(self._change(step(base64.b64decode(octets).decode()))) + b"\r\n"

    def _first(self, message: str) -> str:
        self._server.set_client_first(message)
        return str(self._server.get_server_first())

    def _final(self, message: str) -> str:
        self._server.set_client_final(message)
        return str(self._server.get_server_final())


# Each mechanism's octets.

PLAIN = b64(f"\0{USER}\0{PASSWORD}")
XOAUTH2 = b64(f"user={USER}\1auth=Bearer {TOKEN}\1\1")
CHALLENGE = b"<1896.697170952@postoffice.reston.mci.net>"
CRAM = b64(f"{USER} {hmac.new(PASSWORD.encode(), CHALLENGE, 'md5').hexdigest()}")


@pytest.mark.parametrize(
    ("mechanism", "replies", "commands"),
    [
        ("PLAIN", [IN], [b"AUTH PLAIN " + PLAIN]),
        ("LOGIN", [b"+ VXNlcm5hbWU6\r\n", b"+ UGFzc3dvcmQ6\r\n", IN], [b"AUTH LOGIN", b64(USER), b64(PASSWORD)]),
        ("LOGIN", [b"+\r\n", b"+ \r\n", IN], [b"AUTH LOGIN", b64(USER), b64(PASSWORD)]),
        ("CRAM-MD5", [b"+ " + b64(CHALLENGE) + b"\r\n", IN], [b"AUTH CRAM-MD5", CRAM]),
        ("USER", [b"+OK\r\n", IN], [b"USER alice", b"PASS pencil"]),
        ("cram-md5", [b"+ " + b64(CHALLENGE) + b"\r\n", IN], [b"AUTH CRAM-MD5", CRAM]),
        ("EXTERNAL", [IN], [b"AUTH EXTERNAL " + b64(USER)]),
    ],
)
def test_a_mechanism_by_name_says_what_its_rfc_says(
    mechanism: str, replies: list[bytes], commands: list[bytes]
) -> None:
    # By name it is used whatever the server says it can do, and on any connection.
    with ScriptedServer(GREETING, [*replies, STAT]) as server, closing(connect(server)) as pop:
        assert pop.login(USER, None if mechanism == "EXTERNAL" else PASSWORD, mechanism=mechanism) == b"+OK in"
        assert pop.stat() == (2, 320)
    assert server.commands == [*commands, b"STAT"]


def test_cram_md5_is_what_the_rfcs_own_example_has() -> None:
    mechanism = _sasl.CramMD5("tim", "tanstaaftanstaaf")
    assert mechanism(CHALLENGE) == b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_apop_by_name() -> None:
    with ScriptedServer(STAMPED, [IN]) as server, closing(connect(server)) as pop:
        pop.login("mrose", "tanstaaf", mechanism="APOP")
    assert server.commands == [b"APOP mrose c4c9334bac560ecc979e58001b3e22fb"]


@pytest.mark.parametrize("user", ["", "alice"])
def test_external_without_a_user_is_an_empty_initial_response(user: str) -> None:
    with ScriptedServer(GREETING, [IN]) as server, closing(connect(server)) as pop:
        pop.login(user, mechanism="EXTERNAL")
    assert server.commands == [b"AUTH EXTERNAL " + (b64(user) or b"=")]


@pytest.mark.parametrize(("user", "expected"), [("a,b=c", b"a=2Cb=3Dc"), ("é", "é".encode())])
def test_oauthbearer_says_where_it_is_and_escapes_the_user(user: str, expected: bytes) -> None:
    with ScriptedServer(GREETING, [IN]) as server, closing(connect(server)) as pop:
        pop.login(user, token="t0ken", mechanism="OAUTHBEARER")
        port = server.port
    sent = base64.b64decode(server.commands[0].split()[-1])
    assert sent == b"n,a=%b,\1host=127.0.0.1\1port=%d\1auth=Bearer t0ken\1\1" % (expected, port)


@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_scram_logs_in_and_believes_a_server_that_proves_itself(name: str) -> None:
    with ScriptedServer(GREETING, ScramServer(name)) as server, closing(connect(server)) as pop:
        assert pop.login(USER, PASSWORD, mechanism=name) == b"+OK in"
        assert pop.in_step
    assert server.commands[0].startswith(f"AUTH {name} ".encode())
    assert server.commands[-1] == b""
    assert PASSWORD.encode() not in server.received


def test_a_password_of_any_characters_is_utf8() -> None:
    with MailboxServer([], password="pässwörd ☃", tls=True) as server, connect(server, tls=True) as pop:
        pop.login(server.user, "pässwörd ☃")
        assert pop.stat() == (0, 0)


# Initial responses.


@pytest.mark.parametrize(("octets", "along"), [(178, True), (181, False)])
def test_an_initial_response_goes_along_while_the_line_has_255_octets(octets: int, *, along: bool) -> None:
    response = b"x" * octets
    line = b"AUTH TEST " + b64(response)
    assert (len(line) + 2 <= 255) == along
    with ScriptedServer(GREETING, [IN] if along else [b"+ \r\n", IN]) as server, closing(connect(server)) as pop:
        pop.auth("TEST", initial_response=response)
    assert server.commands == ([line] if along else [b"AUTH TEST", b64(response)])


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "xoauth2"])
def test_xoauth2_never_goes_along_with_the_command(mechanism: str) -> None:
    with ScriptedServer(GREETING, [b"+ \r\n", IN]) as server, closing(connect(server)) as pop:
        pop.auth(mechanism, initial_response="short")
    assert server.commands == [b"AUTH XOAUTH2", b64("short")]


def test_an_initial_response_that_the_server_speaks_before_is_called_off() -> None:
    with ScriptedServer(GREETING, [b"+ aGVsbG8=\r\n", NO, STAT]) as server, closing(connect(server)) as pop:
        with pytest.raises(AuthenticationError, match="the server speaks first, where the client should"):
            pop.auth("XOAUTH2", initial_response="short")
        assert pop.stat() == (2, 320)
    assert server.commands == [b"AUTH XOAUTH2", b"*", b"STAT"]


# auth, with an object of one's own.


def test_an_authobject_is_given_each_challenge_and_its_answers_are_sent() -> None:
    seen: list[bytes] = []

    answers: list[bytes | str] = [b"one", "zwö", b""]

    def authobject(challenge: bytes) -> bytes | str:
        seen.append(challenge)
        return answers[len(seen) - 1]

    replies = [b"+ Zmlyc3Q=\r\n", b"+ \r\n", b"+\r\n", IN]
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        assert pop.auth("x-own_1", authobject) == b"+OK in"
    assert seen == [b"first", b"", b""]
    assert server.commands == [b"AUTH X-OWN_1", b64("one"), b64("zwö"), b""]


class AsForSmtplib:
    """An authobject as ``smtplib`` has them: without a challenge it gives the initial response, if it has one."""

    def __init__(self, initial: str | None, *answers: str) -> None:
        self.initial, self.answers, self.asked = initial, list(answers), list[bytes | None]()

    def __call__(self, challenge: bytes | None = None) -> str | None:
        self.asked.append(challenge)
        return self.initial if challenge is None else self.answers.pop(0)


@pytest.mark.parametrize(
    ("authobject", "ok", "replies", "commands", "asked"),
    [
        (AsForSmtplib("a"), True, [IN], [b"AUTH X-TEST YQ=="], [None]),
        (AsForSmtplib(None, "b"), True, [b"+ \r\n", IN], [b"AUTH X-TEST", b"Yg=="], [None, b""]),
        (AsForSmtplib("a", "b"), True, [b"+ Yz8=\r\n", IN], [b"AUTH X-TEST YQ==", b"Yg=="], [None, b"c?"]),
        (AsForSmtplib("a", "b"), False, [b"+ Yz8=\r\n", IN], [b"AUTH X-TEST", b"Yg=="], [b"c?"]),
        (AsForSmtplib("x" * 200), True, [b"+ \r\n", IN], [b"AUTH X-TEST", b64("x" * 200)], [None]),
    ],
    ids=["all", "none", "and an answer", "not ok", "too long"],
)
def test_an_authobject_of_smtplibs_kind_is_asked_for_the_initial_response_too(
    authobject: AsForSmtplib,
    ok: bool,  # noqa: FBT001
    replies: list[bytes],
    commands: list[bytes],
    asked: list[bytes | None],
) -> None:
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        assert pop.auth("X-TEST", authobject, initial_response_ok=ok) == b"+OK in"
    assert server.commands == commands
    assert authobject.asked == asked


def test_an_initial_response_that_may_not_come_along_answers_the_first_challenge() -> None:
    with ScriptedServer(GREETING, [b"+ \r\n", IN]) as server, closing(connect(server)) as pop:
        assert pop.auth("X-TEST", None, "a", initial_response_ok=False) == b"+OK in"
    assert server.commands == [b"AUTH X-TEST", b"YQ=="]


def test_an_authobject_that_needs_a_challenge_is_not_asked_without_one() -> None:
    def needs(challenge: bytes) -> bytes:
        return challenge[::-1]

    with ScriptedServer(GREETING, [b"+ YWI=\r\n", IN] * 3) as server, closing(connect(server)) as pop:
        for authobject in (needs, lambda challenge: challenge[::-1], mock.Mock(side_effect=needs, spec=needs)):
            assert pop.auth("X-TEST", authobject) == b"+OK in"
    assert server.commands == [b"AUTH X-TEST", b"YmE="] * 3


def test_what_an_authobject_raises_without_a_challenge_is_the_programs_and_nothing_is_sent() -> None:
    def confused(challenge: bytes | None = None) -> bytes:
        raise TypeError(f"what is {challenge!r}?")

    with ScriptedServer(GREETING, [STAT]) as server, closing(connect(server)) as pop:
        with pytest.raises(TypeError, match="what is None"):
            pop.auth("X-TEST", confused)
        assert pop.stat() == (2, 320)
    assert server.commands == [b"STAT"]


def test_a_command_given_by_an_authobject_is_refused_and_not_sent() -> None:
    def authobject(_: bytes) -> bytes:
        with pytest.raises(ProtocolError, match="a login is under way"):
            pop.noop()
        return b"answer"

    with ScriptedServer(GREETING, [b"+ \r\n", IN, STAT]) as server, closing(connect(server)) as pop:
        pop.auth("OWN", authobject)
        assert pop.stat() == (2, 320)
    assert server.commands == [b"AUTH OWN", b64("answer"), b"STAT"]


def test_a_command_of_another_thread_does_not_come_between_challenge_and_answer() -> None:
    refused: list[BaseException] = []

    def ask() -> None:
        try:
            pop.noop()
        except pop3fast.ConnectionBusy as error:
            refused.append(error)

    def authobject(_: bytes) -> bytes:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(5)
        return b"answer"

    with ScriptedServer(GREETING, [b"+ \r\n", IN, STAT]) as server, closing(connect(server)) as pop:
        pop.auth("OWN", authobject)
        assert pop.stat() == (2, 320)
    assert len(refused) == 1
    assert server.commands == [b"AUTH OWN", b64("answer"), b"STAT"]


@pytest.mark.parametrize("cancel", [None, b"*", "*"])
def test_an_authobject_may_call_it_off(cancel: bytes | str | None) -> None:
    with ScriptedServer(GREETING, [b"+ \r\n", NO, STAT]) as server, closing(connect(server)) as pop:
        with pytest.raises(AuthenticationError, match="called off") as caught:
            pop.auth("OWN", lambda _: cancel)
        assert (caught.value.code, caught.value.command) == ("AUTH", "AUTH")
        assert pop.stat() == (2, 320)
    assert server.commands == [b"AUTH OWN", b"*", b"STAT"]


@pytest.mark.parametrize("after", [NO, Reply(b"", then="fin"), b"+OK\r\n"])
def test_an_exception_of_an_authobject_calls_it_off_and_passes_through(after: bytes | Reply) -> None:
    def authobject(_: bytes) -> bytes:
        raise ZeroDivisionError

    with ScriptedServer(GREETING, [b"+ \r\n", after, STAT]) as server, closing(connect(server)) as pop:
        with pytest.raises(ZeroDivisionError):
            pop.auth("OWN", authobject)
        if after == NO:
            assert pop.stat() == (2, 320)
        else:
            with pytest.raises(ProtocolError):
                pop.stat()
    assert server.commands[:2] == [b"AUTH OWN", b"*"]


def test_an_interrupt_in_an_authobject_breaks_the_connection_at_once() -> None:
    def authobject(_: bytes) -> bytes:
        raise KeyboardInterrupt

    with ScriptedServer(GREETING, [b"+ \r\n"]) as server, closing(connect(server)) as pop:
        with pytest.raises(KeyboardInterrupt):
            pop.auth("OWN", authobject)
        assert_broken(pop, server)
    assert server.commands == [b"AUTH OWN"]


@pytest.mark.parametrize(
    "challenge",
    [b"+ not base64!\r\n", b"+ YQ\r\n", b"+ YQ==YQ==\r\n", b"+ Y Q=\r\n", b"+YQ==\r\n", b"+ =\r\n", b"+  YQ==\r\n"],
)
def test_a_challenge_that_is_not_base64_is_called_off(challenge: bytes) -> None:
    with ScriptedServer(GREETING, [challenge, NO, STAT]) as server, closing(connect(server)) as pop:
        with pytest.raises(AuthenticationError, match="not base64"):
            pop.auth("OWN", lambda _: b"answer")
        assert pop.stat() == (2, 320)
    assert server.commands == [b"AUTH OWN", b"*", b"STAT"]


@pytest.mark.parametrize(("octets", "fits"), [(65_532, True), (65_536, False)])
def test_a_challenge_has_a_limit(octets: int, *, fits: bool) -> None:
    line = b"+ " + b64(b"x" * (octets // 4 * 3))
    assert (len(line) <= _sasl.MAX_CHALLENGE_OCTETS) == fits
    replies = [line + b"\r\n", IN if fits else NO]
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        if fits:
            pop.auth("OWN", lambda _: b"answer")
        else:
            with pytest.raises(AuthenticationError, match=f"longer than {_sasl.MAX_CHALLENGE_OCTETS} octets"):
                pop.auth("OWN", lambda _: b"answer")
    assert server.commands[-1] == (b64("answer") if fits else b"*")


def test_a_server_that_asks_and_asks_is_called_off() -> None:
    with (
        ScriptedServer(GREETING, lambda command: NO if command == b"*" else b"+ \r\n") as server,
        closing(connect(server)) as pop,
        pytest.raises(AuthenticationError, match=f"more than {_sasl.MAX_ROUNDS} times"),
    ):
        pop.auth("OWN", lambda _: b"answer")
    assert server.commands == [b"AUTH OWN", *[b64("answer")] * _sasl.MAX_ROUNDS, b"*"]


@pytest.mark.parametrize("after", [b"+OK in after all\r\n", b"+ \r\n"])
def test_a_server_that_goes_on_after_it_was_called_off_is_not_believed(after: bytes) -> None:
    with ScriptedServer(GREETING, [b"+ \r\n", after]) as server, closing(connect(server)) as pop:
        with pytest.raises(ProtocolError, match="did not let go"):
            pop.auth("OWN", lambda _: None)
        assert_broken(pop, server)


@pytest.mark.parametrize("mechanism", ["", "PLAIN LOGIN", "PLAIN\r\nDELE 1", "Ä\0", "PLAIN "])
def test_what_is_no_mechanism_is_not_sent(mechanism: str) -> None:
    with ScriptedServer(GREETING) as server, closing(connect(server)) as pop:
        with pytest.raises(ValueError, match="not a SASL mechanism"):
            pop.auth(mechanism, lambda _: b"")
    assert server.commands == []


# login: which mechanism.


@pytest.mark.parametrize(
    ("offered", "first"),
    [
        ("PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256 CRAM-MD5", b"AUTH SCRAM-SHA-256 "),
        ("PLAIN LOGIN SCRAM-SHA-1", b"AUTH SCRAM-SHA-1 "),
        ("LOGIN PLAIN", b"AUTH PLAIN "),
        ("login cram-md5", b"AUTH LOGIN"),
        ("CRAM-MD5 DIGEST-MD5 NTLM", b"USER alice"),
        ("XOAUTH2 OAUTHBEARER", b"USER alice"),
        ("", b"USER alice"),
    ],
)
def test_a_password_is_used_by_the_strongest_mechanism_offered(offered: str, first: bytes) -> None:
    with ScriptedServer(GREETING, [capa(offered), NO]) as server, closing(trusted(server)) as pop:
        with pytest.raises(AuthenticationError):
            pop.login(USER, PASSWORD)
    assert server.commands[0] == b"CAPA"
    assert server.commands[1].startswith(first)
    assert len(server.commands) == 2


@pytest.mark.parametrize(
    ("offered", "first"),
    [("PLAIN XOAUTH2 OAUTHBEARER", b"AUTH OAUTHBEARER "), ("PLAIN XOAUTH2", b"AUTH XOAUTH2")],
)
def test_a_token_is_used_by_a_mechanism_for_tokens(offered: str, first: bytes) -> None:
    with ScriptedServer(GREETING, [capa(offered), NO]) as server, closing(trusted(server)) as pop:
        with pytest.raises(AuthenticationError):
            pop.login(USER, token="t0ken")
    assert server.commands[1].startswith(first)
    assert len(server.commands) == 2


def test_a_server_without_capa_gets_user_and_pass() -> None:
    with ScriptedServer(GREETING, [b"-ERR what?\r\n", b"+OK\r\n", IN]) as server, closing(trusted(server)) as pop:
        assert pop.login(USER, PASSWORD) == b"+OK in"
    assert server.commands == [b"CAPA", b"USER alice", b"PASS pencil"]


def test_without_scramp_the_next_strongest_is_used_and_scram_by_name_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "scramp", None)
    with ScriptedServer(GREETING, [capa("SCRAM-SHA-256 PLAIN"), IN]) as server, closing(trusted(server)) as pop:
        with pytest.raises(ImportError, match=r"pip install pop3fast\[scram\]"):
            pop.login(USER, PASSWORD, mechanism="SCRAM-SHA-256")
        pop.login(USER, PASSWORD)
    assert server.commands == [b"CAPA", b"AUTH PLAIN " + PLAIN]


@pytest.mark.parametrize("tls", [None, "unverified"])
@pytest.mark.parametrize(("offered", "name"), [("PLAIN LOGIN", "PLAIN"), ("", "USER"), ("LOGIN", "LOGIN")])
def test_a_secret_is_not_shown_where_nobody_was_verified(tls: str | None, offered: str, name: str) -> None:
    with ScriptedServer(GREETING, [capa(offered), STAT], tls=tls is not None) as server:
        if tls:
            with pytest.warns(pop3fast.InsecureTLSWarning):
                pop: POP3 = pop3fast.POP3_SSL(server.host, server.port, timeout=5)
        else:
            pop = connect(server)
        with closing(pop):
            with pytest.raises(error_proto, match=f"{name} would show the secret"):
                pop.login(USER, PASSWORD)
            assert pop.stat() == (2, 320)
    assert server.commands == [b"CAPA", b"STAT"]


def test_scram_shows_no_secret_and_is_used_on_any_connection() -> None:
    scram = ScramServer()
    with (
        ScriptedServer(
            GREETING, lambda line: capa("SCRAM-SHA-256 PLAIN") if line == b"CAPA" else scram(line)
        ) as server,
        closing(connect(server)) as pop,
    ):
        assert pop.login(USER, PASSWORD) == b"+OK in"


def test_a_verified_drop_in_session_is_as_good_as_connects() -> None:
    with ScriptedServer(GREETING, [capa("PLAIN"), IN], tls=True) as server, closing(connect(server, tls=True)) as pop:
        assert pop.login(USER, PASSWORD) == b"+OK in"


# login: refusals.


@pytest.mark.parametrize("offered", ["SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN", "PLAIN LOGIN", "LOGIN", ""])
def test_a_refusal_is_the_end_of_it(offered: str) -> None:
    with ScriptedServer(GREETING, [capa(offered), NO, STAT]) as server, closing(trusted(server)) as pop:
        with pytest.raises(AuthenticationError):
            pop.login(USER, PASSWORD)
        assert pop.stat() == (2, 320)
    assert len(server.commands) == 3


@pytest.mark.parametrize(
    ("response", "code", "kind"),
    [
        (b"-ERR [AUTH] wrong\r\n", "AUTH", AuthenticationError),
        (b"-ERR [auth] wrong\r\n", "AUTH", AuthenticationError),
        (b"-ERR Logon failure: unknown user name or bad password.\r\n", None, AuthenticationError),
        (b"-ERR [SYS/TEMP] try later\r\n", "SYS/TEMP", CommandError),
        (b"-ERR [IN-USE] locked\r\n", "IN-USE", CommandError),
        (b"-ERR [X-OWN] what\r\n", "X-OWN", CommandError),
    ],
)
def test_only_a_refusal_of_the_credentials_is_an_authentication_error(
    response: bytes, code: str | None, kind: type[CommandError]
) -> None:
    # A stored password is not to be thrown away for a server that is busy (quirk q32).
    with ScriptedServer(GREETING, [response, response]) as server, closing(connect(server)) as pop:
        for mechanism in ("PLAIN", "USER"):
            with pytest.raises(CommandError) as caught:
                pop.login(USER, PASSWORD, mechanism=mechanism)
            assert type(caught.value) is kind
            assert caught.value.code == code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "one of them"),
        ({"password": "a", "token": "b"}, "one of them"),
        ({"password": "a", "mechanism": "XOAUTH2"}, "XOAUTH2 takes a token"),
        ({"token": "a", "mechanism": "PLAIN"}, "PLAIN takes a password"),
        ({"password": "a", "mechanism": "GSSAPI"}, "unknown mechanism 'GSSAPI'; there are APOP, CRAM-MD5"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(arguments: dict[str, str], says: str) -> None:
    with ScriptedServer(GREETING) as server, closing(connect(server)) as pop, pytest.raises(ValueError, match=says):
        pop.login(USER, **arguments)
    assert server.commands == []


MECHANISMS = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-1", "USER", "XOAUTH2", "OAUTHBEARER"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("character", ["\0", "\r", "\n", "\ud800"])
@pytest.mark.parametrize("where", ["user", "secret"])
def test_what_no_name_and_no_secret_may_hold_is_refused_and_not_quoted(
    mechanism: str, character: str, where: str
) -> None:
    user, secret = (f"al{character}ice", "pencil") if where == "user" else ("alice", f"pen{character}cil")
    with ScriptedServer(GREETING, lambda _: b"+OK\r\n") as server, closing(connect(server)) as pop:
        kind = "token" if mechanism in {"XOAUTH2", "OAUTHBEARER"} else "password"
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - it has many words, and two kinds
            pop.login(user, **{kind: secret}, mechanism=mechanism)
        assert "pen" not in f"{caught.value!r}{caught.value.__context__!r}"
    assert not any(line.startswith((b"AUTH", b"PASS")) for line in server.commands)


@pytest.mark.parametrize("token", ["", "a b", "a\1b", "ä", "a\tb"])
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_is_one_word(token: str, mechanism: str) -> None:
    with ScriptedServer(GREETING) as server, closing(connect(server)) as pop:
        with pytest.raises(ValueError, match="token is not one word"):
            pop.login(USER, token=token, mechanism=mechanism)
    assert server.commands == []


def test_secrets_may_be_functions_and_are_asked_once_an_attempt() -> None:
    asked: list[str] = []

    def password() -> str:
        asked.append("password")
        return PASSWORD

    def bad() -> str:
        return b"octets"  # type: ignore[return-value]  # what a program does that reads a file

    with ScriptedServer(GREETING, [NO, NO, IN]) as server, closing(connect(server)) as pop:
        for attempt in (1, 2):
            with pytest.raises(AuthenticationError):
                pop.login(USER, password, mechanism="PLAIN")
            assert len(asked) == attempt
        with pytest.raises(TypeError, match="a str, not bytes"):
            pop.login(USER, bad, mechanism="PLAIN")
        pop.login(USER, token=lambda: "t0ken", mechanism="OAUTHBEARER")
    assert server.commands[0] == b"AUTH PLAIN " + PLAIN


# SCRAM servers that do not prove what they should.


def test_scram_does_not_believe_a_success_that_comes_before_the_proof() -> None:
    with ScriptedServer(GREETING, [IN]) as server, closing(connect(server)) as pop:
        with pytest.raises(AuthenticationError, match="without the proof"):
            pop.login(USER, PASSWORD, mechanism="SCRAM-SHA-256")
        assert_broken(pop, server)


def test_scram_does_not_believe_a_success_instead_of_the_final_message() -> None:
    scram = ScramServer()
    with (
        ScriptedServer(GREETING, lambda line: scram(line) if line.startswith(b"AUTH") else IN) as server,
        closing(connect(server)) as pop,
    ):
        with pytest.raises(AuthenticationError, match="without the proof"):
            pop.login(USER, PASSWORD, mechanism="SCRAM-SHA-256")
        assert_broken(pop, server)


def wrong_signature(message: str) -> str:
    return f"v={b64(bytes(32)).decode()}" if message.startswith("v=") else message


def another_nonce(message: str) -> str:
    return message.replace("r=", "r=x") if message.startswith("r=") else message


@pytest.mark.parametrize("change", [wrong_signature, another_nonce, lambda _: "", lambda _: "r=,s=,i=", lambda _: "\0"])
def test_scram_calls_off_what_the_holder_of_the_password_would_not_say(change: Callable[[str], str]) -> None:
    with ScriptedServer(GREETING, ScramServer(change=change)) as server, closing(connect(server)) as pop:
        with pytest.raises(AuthenticationError, match="SCRAM") as caught:
            pop.login(USER, PASSWORD, mechanism="SCRAM-SHA-256")
        assert pop.in_step
        assert PASSWORD not in str(caught.value)
    assert server.commands[-1] == b"*"


@pytest.mark.parametrize(
    "iterations", ["0", "1", "4095", "1000001", "9999999999", "99999999999", "-1", "x", "", "4096,i=9999999"]
)
def test_scram_bounds_the_iterations_it_is_asked_for(iterations: str) -> None:
    scram = ScramServer(change=lambda message: message.replace("i=4096", f"i={iterations}"))
    with ScriptedServer(GREETING, scram) as server, closing(connect(server)) as pop:
        with pytest.raises(AuthenticationError, match="iteration count is not between 4096 and 1000000"):
            pop.login(USER, PASSWORD, mechanism="SCRAM-SHA-256")
    assert server.commands[-1] == b"*"


# The dialogues of two large servers.

GMAIL_GREETING = b"+OK Gpop ready for requests from 192.0.2.1 n67mb28062338lja\r\n"
GMAIL_CAPA = (
    b"+OK Capability list follows\r\nUSER\r\nRESP-CODES\r\nEXPIRE 0\r\nLOGIN-DELAY 300\r\nTOP\r\nUIDL\r\n"
    b"X-GOOGLE-RICO\r\nSASL PLAIN XOAUTH2 OAUTHBEARER\r\n.\r\n"
)
REFUSAL = {"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}


def test_gmail_lets_a_token_in() -> None:
    with ScriptedServer(GMAIL_GREETING, [GMAIL_CAPA, b"+ \r\n", b"+OK Welcome.\r\n", b"+OK 0 0\r\n"]) as server:
        with closing(trusted(server)) as pop:
            assert pop.capabilities()["LOGIN-DELAY"] == ("300",)
            pop.login("alice", token=TOKEN, mechanism="XOAUTH2")
            assert pop.stat() == (0, 0)
    assert server.commands == [b"CAPA", b"AUTH XOAUTH2", XOAUTH2, b"STAT"]


@pytest.mark.parametrize(
    ("mechanism", "first", "acknowledgement"), [("XOAUTH2", [b"+ \r\n"], b""), ("OAUTHBEARER", [], b"AQ==")]
)
def test_gmail_refuses_a_token_and_says_why(mechanism: str, first: list[bytes], acknowledgement: bytes) -> None:
    refusal = b"+ " + b64(json.dumps(REFUSAL)) + b"\r\n"
    no = b"-ERR [AUTH] Username and password not accepted.\r\n"
    with ScriptedServer(GMAIL_GREETING, [*first, refusal, no, b"+OK\r\n"]) as server, closing(trusted(server)) as pop:
        with pytest.raises(AuthenticationError, match="not accepted") as caught:
            pop.login("alice", token=TOKEN, mechanism=mechanism)
        assert json.loads(caught.value.reason) == REFUSAL
        assert '"status": "400"' in caught.value.explanation
        assert caught.value.__notes__ == ["in answer to AUTH", caught.value.reason]
        assert pop.noop() == b"+OK"
    assert server.commands[0].split()[:2] == [b"AUTH", mechanism.encode()]
    assert server.commands[-2:] == [acknowledgement, b"NOOP"]


def test_an_error_challenge_is_shown_without_what_a_terminal_would_obey() -> None:
    refusal = b"+ " + b64(b'{"status":"\x1b[2J\xe2\x80\xae"}') + b"\r\n"
    with ScriptedServer(GREETING, [refusal, NO]) as server, closing(connect(server)) as pop:
        with pytest.raises(AuthenticationError) as caught:
            pop.login("alice", token="t0ken", mechanism="OAUTHBEARER")
        assert caught.value.reason == r'{"status":"\x1b[2J\u202e"}'
    assert server.commands[1] == b"AQ=="


def test_a_token_that_is_refused_and_then_accepted_is_not_believed() -> None:
    refusal = b"+ " + b64("{}") + b"\r\n"
    with ScriptedServer(GREETING, [refusal, IN]) as server, closing(connect(server)) as pop:
        with pytest.raises(AuthenticationError, match="both that the token is refused and that it is not"):
            pop.login("alice", token="t0ken", mechanism="OAUTHBEARER")
        assert_broken(pop, server)


MICROSOFT_GREETING = b"+OK The Microsoft Exchange POP3 service is ready. [QgBOADAAUABSADAAMQA=]\r\n"
MICROSOFT_CAPA = b"+OK\r\nTOP\r\nUIDL\r\nSASL PLAIN XOAUTH2\r\nUSER\r\n.\r\n"


def microsoft(line: bytes) -> bytes | Reply:
    """Answer as outlook.office365.com does: a token that comes with the command ends the connection."""
    if line == b"CAPA":
        return MICROSOFT_CAPA
    if line == b"AUTH XOAUTH2":
        return b"+ \r\n"
    if line.startswith(b"AUTH XOAUTH2 "):
        return Reply(b"-ERR Protocol error. Connection is closed. 10\r\n", then="fin")
    if line == XOAUTH2:
        return b"+OK User successfully authenticated.\r\n"
    return (
        b"+OK 3 4711\r\n" if line == b"STAT" else b"-ERR Authentication failure: unknown user name or bad password.\r\n"
    )


def test_microsoft_lets_a_token_in_by_two_steps() -> None:
    with ScriptedServer(MICROSOFT_GREETING, microsoft) as server:
        address = f"pop3+plain://alice@{server.host}:{server.port}"
        with closing(pop3fast.connect(address, token=TOKEN, timeout=5)) as pop:
            assert pop.stat() == (3, 4711)
    assert server.commands == [b"CAPA", b"AUTH XOAUTH2", XOAUTH2, b"STAT"]


def test_microsoft_refuses_a_token() -> None:
    with ScriptedServer(MICROSOFT_GREETING, microsoft) as server, closing(trusted(server)) as pop:
        with pytest.raises(AuthenticationError, match="unknown user name or bad password") as caught:
            pop.login("alice", token="expired")
        assert caught.value.response.startswith(b"-ERR Authentication failure")
        assert not caught.value.temporary
    assert server.commands == [b"CAPA", b"AUTH XOAUTH2", b64("user=alice\1auth=Bearer expired\1\1")]


def test_a_server_that_hangs_up_on_a_bad_password_says_during_what() -> None:
    with (
        ScriptedServer(GREETING, [b"+OK\r\n", Reply(b"", then="fin")]) as server,
        closing(connect(server)) as pop,
        pytest.raises(pop3fast.ConnectionLost, match="hung up before its reply to PASS was whole") as caught,
    ):
        pop.login(USER, PASSWORD, mechanism="USER")
    assert caught.value.during == "PASS"
    assert caught.value.args == ("-ERR EOF",)
    assert server.commands[-1].startswith(b"PASS")
