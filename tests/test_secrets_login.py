"""`auth`, `login` and `connect` show no secret, whichever mechanism, however it ends and whoever listens.

The tests look for the secret and every line that stood for it on the wire, as sent and decoded: digests and proofs too.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import re
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeAlias

import pytest

import pop3fast
from leaks import everything_in, hints
from pop3fast import POP3, AuthenticationError, error_proto
from scripted import Reply, ScriptedServer
from waiting import time_out_when_it_stalls

USER, PASSWORD = "alice", "correct-horse-battery"
TOKEN = "ya29.vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg"
STAMP = "<1896.697170952@postoffice.reston.mci.net>"
GREETING = f"+OK hello {STAMP}\r\n".encode()

Verdict: TypeAlias = bytes | Reply
# What a server says, given each line of the client's; at first nothing. It ends where the verdict is due, with a yes.
Dialogue: TypeAlias = Generator[bytes, bytes, bytes]


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def ask(*challenges: bytes) -> Callable[[], Dialogue]:
    """Return a server that asks so many times, and then decides."""

    def dialogue() -> Dialogue:
        yield b""
        for challenge in challenges:
            yield b"+ %b" % base64.b64encode(challenge)
        return b"+OK in"

    return dialogue


def user_and_pass() -> Dialogue:
    yield b""
    yield b"+OK"
    return b"+OK in"


def scram(name: str) -> Callable[[], Dialogue]:
    def dialogue() -> Dialogue:
        scramp = pytest.importorskip("scramp")
        mechanism = scramp.ScramMechanism(name)
        known = mechanism.make_auth_info(PASSWORD, iteration_count=4096)
        server: Any = mechanism.make_server(lambda _: known)
        line = yield b""
        server.set_client_first(base64.b64decode(line.split()[-1]).decode())
        line = yield b"+ " + b64(server.get_server_first()).encode()
        server.set_client_final(base64.b64decode(line).decode())
        yield b"+ " + b64(server.get_server_final()).encode()
        return b"+OK in"

    return dialogue


class Way(NamedTuple):
    """A way to log in: what the program does, what the server says, and what of the secret it got to see."""

    name: str
    perform: Callable[[POP3], object]
    dialogue: Callable[[], Dialogue]
    sent: str


CHALLENGE = STAMP.encode()
CRAM = hmac.new(PASSWORD.encode(), CHALLENGE, "md5").hexdigest()
APOP = hashlib.md5((STAMP + PASSWORD).encode()).hexdigest()  # noqa: S324 - what APOP is made of
PLAIN = f"\0{USER}\0{PASSWORD}"


def login(mechanism: str, dialogue: Callable[[], Dialogue], sent: str) -> Way:
    return Way(mechanism, lambda pop: pop.login(USER, PASSWORD, mechanism=mechanism), dialogue, sent)


def by_token(mechanism: str, dialogue: Callable[[], Dialogue]) -> Way:
    return Way(mechanism, lambda pop: pop.login(USER, token=TOKEN, mechanism=mechanism), dialogue, TOKEN)


ANSWERS = {b"User:": USER, b"Pass:": PASSWORD}
WAYS = (
    login("USER", user_and_pass, PASSWORD),
    login("APOP", ask(), APOP),
    login("PLAIN", ask(), PASSWORD),
    login("LOGIN", ask(b"User:", b"Pass:"), PASSWORD),
    login("CRAM-MD5", ask(CHALLENGE), CRAM),
    login("SCRAM-SHA-1", scram("SCRAM-SHA-1"), "p="),
    login("SCRAM-SHA-256", scram("SCRAM-SHA-256"), "p="),
    by_token("XOAUTH2", ask(b"")),
    by_token("OAUTHBEARER", ask()),
    Way("a callable", lambda pop: pop.login(USER, lambda: PASSWORD, mechanism="PLAIN"), ask(), PASSWORD),
    Way(
        "a callable for a token", lambda pop: pop.login(USER, token=lambda: TOKEN, mechanism="XOAUTH2"), ask(b""), TOKEN
    ),
    Way("auth, with the command", lambda pop: pop.auth("PLAIN", None, PLAIN), ask(), PASSWORD),
    Way("auth, behind the command", lambda pop: pop.auth("XOAUTH2", None, f"a={TOKEN}"), ask(b""), TOKEN),
    Way("auth, when asked", lambda pop: pop.auth("LOGIN", ANSWERS.get), ask(b"User:", b"Pass:"), PASSWORD),
    Way("auth, too long a line", lambda pop: pop.auth("PLAIN", None, PLAIN * 20), ask(b""), PASSWORD),
)

OAUTH_ERROR = b"+ eyJzdGF0dXMiOiI0MDAifQ=="
ENDINGS: dict[str, Verdict | None] = {
    "success": None,
    "refusal": b"-ERR [AUTH] no\r\n",
    "temporary refusal": b"-ERR [SYS/TEMP] later\r\n",
    "a challenge too many": OAUTH_ERROR + b"\r\n",
    "nonsense for a challenge": b"+ !!!\r\n",
    "nonsense": b"what?\r\n",
    "NUL": b"+OK\0\r\n",
    "the end": Reply(then="fin"),
    "reset": Reply(then="rst"),
    "silence": Reply(b"+", then="stall"),
}


def script(way: Way, verdict: Verdict | None) -> Callable[[bytes], Verdict]:
    dialogue = way.dialogue()
    next(dialogue)
    verdicts: list[Verdict] = []

    def reply(line: bytes) -> Verdict:
        if verdicts:
            return b"-ERR [AUTH] called off\r\n" if line in {b"*", b"", b"AQ=="} else b"+OK 7 777\r\n"
        try:
            return dialogue.send(line) + b"\r\n"
        except StopIteration as end:
            verdicts.append(bytes(end.value) + b"\r\n" if verdict is None else verdict)
            return verdicts[0]

    return reply


def decoded(line: str) -> str:
    try:
        return base64.b64decode(line.rpartition(" ")[2], validate=True).decode("latin-1")
    except binascii.Error:
        return ""


def secrets_of(commands: list[bytes]) -> list[str]:
    """All that the server was told and nobody else may know: what follows PASS, APOP and AUTH, and the lines after."""
    secrets = [PASSWORD, b64(PASSWORD), TOKEN, b64(TOKEN)]
    for command in commands:
        line = command.decode("latin-1")
        if line.startswith("USER ") or line in {"STAT", "QUIT"}:
            continue
        secrets.append(line.rpartition(" ")[2])
        secrets += re.split(r"[\0\1 ,]", decoded(line))
    return secrets


def everything_shown(pop: POP3, output: str, log: pytest.LogCaptureFixture) -> str:
    records = [f"{record.getMessage()} {record.args!r} {vars(record)!r}" for record in log.records]
    return "\n".join([output, log.text, repr(pop), repr(vars(pop)), *records])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_no_way_to_log_in_shows_a_secret_however_it_ends(
    way: Way,
    ending: str,
    level: int,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised: list[str] = []
    with caplog.at_level(logging.DEBUG, "pop3fast"), ScriptedServer(GREETING, script(way, ENDINGS[ending])) as server:
        time_out_when_it_stalls(server, monkeypatch)
        pop = POP3(*server.address)
        pop.set_debuglevel(level)
        commands: tuple[Callable[[], object], ...] = (lambda: way.perform(pop), pop.stat)
        for command in commands:
            try:
                command()
            except (error_proto, OSError) as error:
                raised += everything_in(error)
                refused = isinstance(error, AuthenticationError)
                assert refused or ending != "refusal"
        shown = everything_shown(pop, capsys.readouterr().out, caplog)
        pop.close()
        secrets = secrets_of(server.commands)
    assert bool(raised) <= (ending != "success")
    # The server was told, so there was something to find; and who listened heard the rest.
    assert way.sent in "\n".join([bytes(server.received).decode(), *map(decoded, server.received.decode().split())])
    assert hints(server.received.decode(), secrets)
    assert f"{server.port} C: " in shown
    assert ("*cmd*" in shown) == (level > 0)
    assert hints("\n".join([shown, *raised]), secrets) == []


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("secret", [{"password": PASSWORD}, {"password": lambda: PASSWORD}, {"token": TOKEN}])
def test_connect_shows_no_secret_however_it_ends(
    ending: str,
    secret: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verdict = ENDINGS[ending] or b"+OK in\r\n"

    def replies(line: bytes) -> Verdict:
        if line == b"CAPA":
            return b"+OK\r\nSASL PLAIN OAUTHBEARER\r\n.\r\n"
        return b"-ERR [AUTH] called off\r\n" if line in {b"*", b"AQ=="} else verdict

    raised: list[str] = []
    with caplog.at_level(logging.DEBUG, "pop3fast"), ScriptedServer(GREETING, replies) as server:
        time_out_when_it_stalls(server, monkeypatch)
        shown = ""
        try:
            pop = pop3fast.connect(f"pop3+plain://{USER}@{server.host}:{server.port}", **secret)
        except (error_proto, OSError) as error:
            raised += everything_in(error)
        else:
            shown = everything_shown(pop, "", caplog)
            pop.close()
        secrets = secrets_of(server.commands[1:])
    assert bool(raised) == (ending != "success")
    assert hints(server.received.decode(), secrets)
    assert f"{server.port} C: AUTH" in caplog.text
    assert hints("\n".join([shown, caplog.text, capsys.readouterr().out, *raised]), secrets) == []


@pytest.mark.parametrize("scheme", ["pop3", "pop3s", "pop3+plain", "http", "POP3", ""])
@pytest.mark.parametrize(
    "rest", ["", ":995", ":nonsense", ":99999", "/path", "?query", "[", "]:1", "\N{SNOWMAN}", "%ff"]
)
@pytest.mark.parametrize("user", [USER, "", "%ff", "a%40b"])
def test_the_error_for_a_url_with_a_password_in_it_does_not_contain_it(scheme: str, rest: str, user: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        pop3fast.connect(f"{scheme}://{user}:{PASSWORD}@mail.example{rest}")
    assert hints("\n".join(everything_in(caught.value)), [PASSWORD]) == []


@pytest.mark.parametrize(
    "url", [f"pop3s://{USER}:{PASSWORD}/@mail.example", f"pop3s://{USER}:{PASSWORD}#@mail.example"]
)
def test_the_error_for_a_url_whose_password_ends_it_early_does_not_contain_it(url: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        pop3fast.connect(url)
    assert hints("\n".join(everything_in(caught.value)), [PASSWORD]) == []


def fails() -> str:
    raise LookupError("no such entry")


@pytest.mark.parametrize(
    "perform",
    [
        lambda pop: pop.login(USER, f"{PASSWORD}\0", mechanism="PLAIN"),
        lambda pop: pop.login(USER, f"{PASSWORD}\ud800", mechanism="LOGIN"),
        lambda pop: pop.login(USER, f"{PASSWORD}\ud800", mechanism="SCRAM-SHA-256"),
        lambda pop: pop.login(USER, f"{PASSWORD}\u0221", mechanism="SCRAM-SHA-256"),  # unassigned in SASLprep
        lambda pop: pop.login(USER, f"{PASSWORD}\ud800", mechanism="USER"),
        lambda pop: pop.login(USER, f"{PASSWORD}\ud800", mechanism="APOP"),
        lambda pop: pop.login(USER, token=f"{TOKEN}\n", mechanism="XOAUTH2"),
        lambda pop: pop.login(USER, token=f"{TOKEN} x", mechanism="OAUTHBEARER"),
        lambda pop: pop.login(USER, PASSWORD.encode(), mechanism="PLAIN"),
        lambda pop: pop.login(USER, PASSWORD, token=TOKEN),
        lambda pop: pop.login(USER, PASSWORD, mechanism="XOAUTH2"),
        lambda pop: pop.login(USER, PASSWORD, mechanism="NO-SUCH"),
        lambda pop: pop.login(USER, fails, mechanism="PLAIN"),
        lambda pop: pop.auth("X-TEST", lambda _: f"{PASSWORD}\ud800"),
        lambda pop: pop.auth("PLAIN", None, f"{PASSWORD}\ud800"),
        lambda pop: pop.auth("X-TEST", lambda _: (PASSWORD,)),
        lambda pop: pop.auth("PLAIN", None, (PASSWORD,)),
    ],
)
def test_a_secret_that_cannot_be_used_is_not_in_the_error(
    perform: Callable[[POP3], object], caplog: pytest.LogCaptureFixture
) -> None:
    def replies(line: bytes) -> bytes:
        return b"+ \r\n" if line.startswith(b"AUTH X") else b"-ERR no\r\n" if line == b"*" else b"+OK 7 777\r\n"

    with caplog.at_level(logging.DEBUG, "pop3fast"), ScriptedServer(GREETING, replies) as server:
        pop = POP3(*server.address)
        with pytest.raises((ValueError, TypeError, LookupError, error_proto)) as caught:
            perform(pop)
        assert pop.stat() == (7, 777)
        pop.close()
        # Nothing was begun, or it was called off.
        assert server.commands in ([b"STAT"], [b"USER alice", b"STAT"], [b"AUTH X-TEST", b"*", b"STAT"])
    shown = "\n".join([*everything_in(caught.value), caplog.text])
    assert hints(shown, [PASSWORD, b64(PASSWORD), TOKEN, b64(TOKEN)]) == []
