"""`pop3fast.oauth`: tokens from a token server, kept, renewed, and shown to nobody."""

import contextlib
import errno
import math
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest

from commandline import environment, plain_url, pop3fast
from fetching import in_child
from listening import ListeningServer
from maildrops import FastClock, mail
from pop3fast import AuthenticationError, oauth
from pop3fast.fetch import Account, SecretError, fetch_mailbox
from pop3fast.fetch.accounts._keyring import keyring_password
from pop3fast.oauth import OAuthError, Provider, TokenFile, TokenKeyring, Tokens, TokenSource, default_token_path
from pop3fast.oauth import _flows as flows
from pop3fast.oauth import _requests as requests
from pop3fast.oauth import _source as source_module
from pop3fast.oauth._providers import GOOGLE, microsoft_provider
from pop3fast.oauth._requests import TokenServerLostError, ask
from pop3fast.testing import MailboxServer
from tokens import ACCESS, CLIENT_SECRET, DEVICE, REFRESH, Answer, TokenServer

SECRETS = (ACCESS, CLIENT_SECRET, DEVICE, REFRESH)


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def source_of(server: TokenServer, kind: str, clock: FastClock | None = None) -> TokenSource:
    provider = Provider(
        f"{server.url}/token",
        "scope",
        device_url=f"{server.url}/device" if kind == "device" else "",
        authorize_url=f"{server.url}/authorize",
        by_itself=kind == "itself",
    )
    cache = TokenFile(default_token_path("me"))
    return TokenSource(provider, "id", cache, client_secret=CLIENT_SECRET, name="me", clock=clock or FastClock())


def browse(sentence: str) -> None:
    """Do what a person does who is told *sentence*."""
    found = re.search(r"http://\S+", sentence)
    assert found is not None
    address = found[0]

    def visit() -> None:
        with urllib.request.urlopen(address) as page:  # noqa: S310 - of the tests
            page.read()

    threading.Thread(target=visit).start()


def test_a_program_logs_in_by_itself_and_asks_again_when_the_token_expires(server: TokenServer) -> None:
    clock = FastClock()
    source = source_of(server, "itself", clock)
    assert [source(), source()] == [f"{ACCESS}-1"] * 2
    clock.time += 3600 - source_module.MARGIN_SECONDS - 1
    assert source() == f"{ACCESS}-1"
    clock.time += 2
    assert source_of(server, "itself", clock)() == f"{ACCESS}-2"
    wanted = {"grant_type": "client_credentials", "client_id": "id", "client_secret": CLIENT_SECRET, "scope": "scope"}
    assert server.asked == [wanted, wanted]


def test_a_person_logs_in_on_another_device(server: TokenServer) -> None:
    answers = iter(["authorization_pending", "slow_down", "authorization_pending"])
    server.instead = lambda form: (400, {"error": e}) if "device_code" in form and (e := next(answers, "")) else None
    clock, told = FastClock(), list[str]()
    source = source_of(server, "device", clock)
    source.login(told.append)
    assert told == ["open https://x.example on any device, and enter the code AB-CD"]
    assert clock.pauses == [3, 3, 8, 8]
    assert source() == f"{ACCESS}-1"
    clock.time += 3600
    assert source() == f"{ACCESS}-2"
    assert server.asked[-1]["refresh_token"] == f"{REFRESH}-1"
    clock.time += 3600
    source_of(server, "device", clock)()
    assert server.asked[-1]["refresh_token"] == f"{REFRESH}-2"  # the new one is kept


def test_a_token_server_that_is_lost_for_a_while_ends_no_login_on_another_device(server: TokenServer) -> None:
    lost: list[Answer] = [(503, b"<html>"), (400, {"error": "authorization_pending"}), *[(502, b"")] * 5]
    answers = iter(lost)
    server.instead = lambda form: next(answers, None) if "device_code" in form else None
    clock = FastClock()
    source = source_of(server, "device", clock)
    source.login(lambda _: None)
    assert clock.pauses == [3, 6, 6, 12, 24, 48, 60, 60]
    assert source() == f"{ACCESS}-1"


def test_a_token_server_that_stays_lost_is_named_when_the_code_has_expired(
    server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(url: str, form: Mapping[str, str]) -> dict[str, object]:
        if "device_code" in form:
            raise TokenServerLostError("the token server cannot be asked: Connection refused")
        return ask(url, form)

    monkeypatch.setattr(flows, "ask", gone)
    clock = FastClock()
    with pytest.raises(OAuthError, match="Connection refused"):
        source_of(server, "device", clock).login(lambda _: None)
    assert sum(clock.pauses) >= flows.LOGIN_SECONDS


@pytest.mark.parametrize("lost", [urllib.error.URLError("no route"), ConnectionResetError(104, "reset")])
def test_what_becomes_of_a_connection_says_that_the_token_server_is_lost(
    lost: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise lost

    monkeypatch.setattr(requests, "_sent", fail)
    with pytest.raises(TokenServerLostError):
        ask("https://x.example/token", {})


def test_a_token_is_synced_and_then_its_name(server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real(descriptor)

    def replaced(self: Path, target: str) -> Path:
        done.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replaced)
    source_of(server, "device").login(lambda _: None)
    assert done == ["file", "name", "folder"]


def test_a_token_is_kept_where_its_folder_cannot_be_synced(
    server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: str | Path, flags: int, *arguments: int, **named: int) -> int:
        if flags & os.O_DIRECTORY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    source = source_of(server, "device")
    source.login(lambda _: None)
    assert source() == f"{ACCESS}-1"


def test_a_refresh_token_is_good_for_as_long_as_no_other_is_given(server: TokenServer) -> None:
    clock = FastClock()
    source = source_of(server, "device", clock)
    source.login(lambda _: None)
    # As Google does: none comes with a renewed token.
    server.instead = lambda form: (200, {"access_token": "x", "expires_in": 3600}) if "refresh_token" in form else None
    for _ in range(2):
        clock.time += 3600
        assert source() == "x"
        assert server.asked[-1]["refresh_token"] == f"{REFRESH}-1"


def test_a_login_that_does_not_last_is_none(server: TokenServer) -> None:
    server.instead = lambda form: (200, {"access_token": "x"}) if "device_code" in form else None
    source = source_of(server, "device")
    with pytest.raises(OAuthError, match="nothing that lasts"):
        source.login(lambda _: None)
    with pytest.raises(SecretError, match="pop3fast oauth login"):
        source()


def test_a_person_who_never_logs_in_is_not_waited_for_for_ever(server: TokenServer) -> None:
    server.instead = lambda form: (400, {"error": "authorization_pending"}) if "device_code" in form else None
    with pytest.raises(OAuthError, match="in time"):
        source_of(server, "device").login(lambda _: None)


def test_a_person_logs_in_with_a_browser(server: TokenServer) -> None:
    source = source_of(server, "browser")
    source.login(browse)
    assert source() == f"{ACCESS}-1"
    assert server.asked[-1]["code"] == "the-code"


def test_a_code_that_nobody_asked_for_is_none(server: TokenServer) -> None:
    statuses: list[int] = []

    def forge_then_browse(sentence: str) -> None:
        found = re.search(r"redirect_uri=http%3A%2F%2F127.0.0.1%3A(\d+)", sentence)
        assert found is not None
        back = f"http://127.0.0.1:{found[1]}"

        def forge() -> None:
            for query in ("code=forged", "code=forged&state=guessed", "code=forged&state=%C3%A4"):
                try:
                    urllib.request.urlopen(f"{back}/?{query}")  # noqa: S310 - of the tests
                except urllib.error.HTTPError as error:
                    statuses.append(error.code)
                    error.close()
            browse(sentence)

        threading.Thread(target=forge).start()

    source_of(server, "browser").login(forge_then_browse)
    assert statuses == [404] * 3
    assert [form["code"] for form in server.asked] == ["the-code"]


def test_the_file_is_this_users_alone_and_one_that_is_not_is_refused(server: TokenServer, home: Path) -> None:
    source_of(server, "itself")()
    (path,) = home.glob("state/pop3fast/tokens/*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o640)
    with pytest.raises(SecretError, match="others can get at it"):
        source_of(server, "itself")()
    path.chmod(0o600)
    path.write_text('{"access": 1')
    with pytest.raises(SecretError, match="no token of pop3fast"):
        source_of(server, "itself")()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_cannot_be_kept_leaves_what_was_kept_before(
    server: TokenServer, home: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    clock = FastClock()
    source_of(server, "itself", clock)()
    (path,) = home.glob("state/pop3fast/tokens/*.json")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    clock.time += 3600
    with pytest.raises(SecretError, match=r"cannot be kept in .*: no space left"):
        source_of(server, "itself", clock)()
    assert path.read_bytes() == before
    assert {each.name for each in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}


def test_where_there_are_no_locks_it_is_said(server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(SecretError, match="cannot be locked: No locks available"):
        source_of(server, "itself")()


def test_without_a_login_it_is_said_what_to_do(server: TokenServer) -> None:
    with pytest.raises(SecretError, match="pop3fast oauth login"):
        source_of(server, "device")()
    assert server.asked == []


def test_a_login_that_was_taken_back_says_so_and_what_to_do(server: TokenServer) -> None:
    clock = FastClock()
    source = source_of(server, "device", clock)
    source.login(lambda _: None)
    server.refresh = "another"
    clock.time += 4000
    with pytest.raises(OAuthError, match=r"\*\*\* is.* old; .*oauth login") as caught:
        source()
    assert REFRESH not in str(caught.value)
    assert "\x1b" not in str(caught.value)


BAD: list[tuple[tuple[int, dict[str, object] | bytes], str]] = [
    ((200, b"<html>"), "no JSON object"),
    ((200, b"[1]"), "no JSON object"),
    ((200, b"[" * 100_000), "no JSON object"),
    ((503, b"busy"), "status 503"),
    ((400, b"[" * 100_000), "status 400"),
    ((200, {"expires_in": 3}), "no access token"),
    ((200, {"access_token": "x", "expires_in": "soon"}), "no number"),
    ((200, {"access_token": "x", "expires_in": math.nan}), "no number"),
    ((200, {"access_token": "x", "expires_in": math.inf}), "no number"),
    ((200, {"access_token": "x\ny"}), "more than one line"),
    ((200, {"error": "invalid_scope", "access_token": "x"}), "refused: invalid_scope"),
    ((400, {"error": "invalid_client", "error_description": CLIENT_SECRET}), r"invalid_client: \*\*\*"),
    *(((status, dict[str, object]()), "refused") for status in (301, 302, 303, 307, 308)),
]


@pytest.mark.parametrize(("answer", "words"), BAD)
def test_an_answer_that_is_none_is_an_error_in_words_and_shows_no_secret(
    server: TokenServer, answer: tuple[int, dict[str, object] | bytes], words: str
) -> None:
    server.instead = lambda _: answer
    with pytest.raises(SecretError, match=words) as caught:
        source_of(server, "itself")()
    assert not any(secret in f"{caught.value}{caught.value!r}" for secret in SECRETS)
    assert len(server.asked) == 1  # no secret follows a redirect


class BrokenTokenServer(ListeningServer):
    """Takes a form of three octets, and hangs up in the middle of its answer."""

    def __init__(self, listener: socket.socket, status: int) -> None:
        super().__init__(listener)
        self._status = status

    def converse(self, sock: socket.socket, file: BinaryIO) -> None:
        while file.readline().strip():
            pass
        file.read(len("a=b"))
        sock.sendall(b"HTTP/1.1 %d x\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nab" % self._status)


@pytest.mark.parametrize("status", [200, 400])
def test_a_token_server_that_is_lost_in_its_answer_is_an_error_in_words(status: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with BrokenTokenServer(listener, status), pytest.raises(OAuthError, match="was lost"):
        ask(f"http://127.0.0.1:{port}/", {"a": "b"})


@pytest.mark.parametrize(
    "seconds", [float("inf"), float("nan"), 1e300, 10**400, -1, "5"], ids=lambda each: str(each)[:6]
)
def test_a_pause_that_makes_no_sense_is_none(server: TokenServer, seconds: object) -> None:
    answers = iter(["authorization_pending"])
    device = {
        "device_code": DEVICE,
        "user_code": "x",
        "verification_uri": "y",
        "interval": seconds,
        "expires_in": seconds,
    }

    def instead(form: dict[str, str]) -> tuple[int, dict[str, object] | bytes] | None:
        if "device_code" not in form:
            return 200, device if "scope" in form else b""
        return (400, {"error": error}) if (error := next(answers, "")) else None

    server.instead = instead
    clock = FastClock()
    source_of(server, "device", clock).login(lambda _: None)
    assert clock.pauses == [flows.INTERVAL_SECONDS] * 2


def test_nothing_secret_is_sent_in_clear_text_but_on_this_machine() -> None:
    for url in ("http://login.example.org/token", "ftp://localhost/x", "localhost"):
        with pytest.raises(ValueError, match="https://"):
            Provider(url, "scope")


def test_the_addresses_of_the_providers() -> None:
    assert microsoft_provider("a/b").token_url == "https://login.microsoftonline.com/a%2Fb/oauth2/v2.0/token"
    assert "POP.AccessAsUser.All offline_access" in microsoft_provider().scope
    assert microsoft_provider("t", by_itself=True).scope == "https://outlook.office365.com/.default"
    assert (GOOGLE.scope, GOOGLE.authorize_url[:28]) == ("https://mail.google.com/", "https://accounts.google.com/")
    for source in (oauth.microsoft("id", "me"), oauth.google("id", CLIENT_SECRET, "me")):
        assert CLIENT_SECRET not in repr(source)
    assert REFRESH not in repr(Tokens(ACCESS, 0.0, REFRESH))


def test_a_token_that_is_refused_is_renewed_once(server: TokenServer, home: Path) -> None:
    source = source_of(server, "itself")
    source()
    with MailboxServer([mail(1)], tls=False, token=f"{ACCESS}-2") as mailbox:
        account = Account(plain_url(mailbox), token=source)
        report = fetch_mailbox(account, f"maildir:{home}/box")
        assert (report.fetched, report.error, server.given) == (1, None, 2)
    with MailboxServer([mail(1)], token="never") as mailbox:
        report = fetch_mailbox(Account(plain_url(mailbox), token=source), f"maildir:{home}/box")
        assert isinstance(report.error, AuthenticationError)
        assert server.given == 3
        assert not any(secret in repr(report) for secret in SECRETS)
        with pytest.raises(AuthenticationError):
            Account(plain_url(mailbox), token=source).connect()
        assert server.given == 4


def test_a_token_that_another_process_has_renewed_since_is_not_thrown_away(server: TokenServer) -> None:
    clock = FastClock()
    mine, others = (source_of(server, "itself", clock) for _ in range(2))
    mine()
    clock.time += 3600
    assert others() == f"{ACCESS}-2"
    # The server refuses the one from before.
    assert mine.refused()
    assert [mine(), others()] == [f"{ACCESS}-2"] * 2
    assert server.given == 2


def test_what_renews_at_the_same_time_asks_once(server: TokenServer) -> None:
    clock = FastClock()
    source_of(server, "device", clock).login(lambda _: None)
    clock.time += 4000
    threads = [threading.Thread(target=source_of(server, "device", clock)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert in_child(source_of(server, "device", clock)) == 0
    assert server.given == 2


def configure(home: Path, server: TokenServer, mailbox: MailboxServer, *, device: bool) -> str:
    secret = home / "client"
    secret.write_text(CLIENT_SECRET)
    secret.chmod(0o600)
    path = home / "config.toml"
    lines = [
        "[work]",
        f'url = "{plain_url(mailbox)}"',
        f'to = "maildir:{home}/box"',
        'oauth = "other"',
        'oauth-client-id = "id"',
        f'oauth-client-secret-file = "{secret}"',
        f'oauth-token-url = "{server.url}/token"',
        'oauth-scope = "scope"',
        *([f'oauth-device-url = "{server.url}/device"'] * device),
    ]
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.parametrize("device", [False, True])
def test_by_the_command_line_a_login_is_all_and_nothing_secret_is_shown(
    server: TokenServer, home: Path, *, device: bool
) -> None:
    server.interval = 0.01
    with MailboxServer([mail(1)], token=f"{ACCESS}-1") as mailbox:
        config = configure(home, server, mailbox, device=device)
        env = {"XDG_STATE_HOME": str(home / "state")}
        ran = pop3fast(home, "oauth", "login", "work", "--config", config, env=env, status=0)
        assert "work: logged in" in ran.out
        assert ("AB-CD" in ran.err) is device
        fetched = pop3fast(home, "fetch", "work", "--config", config, "--debug", env=env, status=0)
        assert "1 message fetched" in fetched.out
        assert not any(secret in f"{ran}{fetched}" for secret in SECRETS)
    if device:
        return
    for line, words in (("oauth-client-id", "oauth-client-id"), ("oauth-token-url", "needs oauth-token-url")):
        text = Path(config).read_text()
        Path(config).write_text("\n".join(each for each in text.splitlines() if not each.startswith(line)))
        assert words in pop3fast(home, "fetch", "work", "--config", config, status=2).err
        Path(config).write_text(text)


BACKEND = """
import keyring.backend
class Kept(keyring.backend.KeyringBackend):
    priority = 1
    def get_password(self, service, username):
        import json
        try:
            return json.load(open("ring")).get(f"{service} {username}")
        except FileNotFoundError:
            return None
    def set_password(self, service, username, password):
        import json
        json.dump({f"{service} {username}": password}, open("ring", "w"))
"""


def test_a_keyring_has_passwords_and_tokens(home: Path, server: TokenServer) -> None:
    pytest.importorskip("keyring")
    (home / "ring_of_tests.py").write_text(BACKEND)
    env = {
        "PYTHONPATH": os.pathsep.join([str(home), *filter(None, [os.environ.get("PYTHONPATH", "")])]),
        "PYTHON_KEYRING_BACKEND": "ring_of_tests.Kept",
        "XDG_STATE_HOME": str(home / "state"),
    }
    with MailboxServer([mail(1)]) as mailbox:
        arguments = ("fetch", plain_url(mailbox, "user@"), "--to", f"maildir:{home}/one", "--password-keyring")
        assert "keyring set 127.0.0.1 user" in pop3fast(home, *arguments, env=env, status=4).err
        (home / "ring").write_text('{"127.0.0.1 user": "password"}')
        assert "1 message fetched" in pop3fast(home, *arguments, env=env, status=0).out
    with MailboxServer([mail(1)], token=f"{ACCESS}-1") as mailbox:
        config = configure(home, server, mailbox, device=False)
        with Path(config).open("a") as file:
            file.write("\noauth-keyring = true\n")
        pop3fast(home, "fetch", "work", "--config", config, env=env, status=0)
        assert f"{ACCESS}-1" in (home / "ring").read_text()
        assert not [*home.glob("state/pop3fast/tokens/*.json")]


def test_what_renews_at_the_same_time_asks_once_where_a_keyring_keeps_it_too(
    server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[tuple[str, str], str] = {}
    both = threading.Barrier(2)

    def get_password(service: str, name: str) -> str | None:
        found = kept.get((service, name))
        with contextlib.suppress(threading.BrokenBarrierError):
            # Each reader waits for the other one to read too, which happens only when no lock keeps that one away.
            both.wait(0.2)
        return found

    def set_password(service: str, name: str, secret: str) -> None:
        kept[service, name] = secret

    ring = SimpleNamespace(get_password=get_password, set_password=set_password)
    monkeypatch.setitem(sys.modules, "keyring", ring)
    provider = Provider(f"{server.url}/token", "scope", by_itself=True)
    sources = [TokenSource(provider, "id", TokenKeyring("me"), clock=FastClock()) for _ in range(2)]
    threads = [threading.Thread(target=source) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.given == 1


def test_a_keyring_that_fails_is_an_error_in_words_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: str) -> None:
        raise RuntimeError(f"what I was given is {given}, and what I have is {REFRESH}")

    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=fail, set_password=fail))
    ring = TokenKeyring("me")
    with pytest.raises(SecretError, match="the keyring cannot be used: RuntimeError") as reading:
        ring.read()
    with pytest.raises(SecretError, match="the keyring cannot be used: RuntimeError") as writing:
        ring.write(Tokens(ACCESS, 0.0, REFRESH))
    with pytest.raises(SecretError, match="the keyring cannot be used: RuntimeError") as asking:
        keyring_password("mail.example.org", "me")
    for caught in (reading, writing, asking):
        shown = "".join(traceback.format_exception(caught.value))
        assert not any(secret in shown for secret in SECRETS)


def test_without_the_package_it_is_said_what_to_install(home: Path) -> None:
    code = "import sys; sys.modules['keyring'] = None; from pop3fast.cli import main; sys.exit(main())"
    with MailboxServer([mail(1)]) as mailbox:
        done = subprocess.run(
            [sys.executable, "-c", code, "list", plain_url(mailbox), "--password-keyring"],
            capture_output=True, text=True, env=environment(home), check=False,
        )  # fmt: skip
    assert (done.returncode, "pip install 'pop3fast[keyring]'" in done.stderr) == (4, True)
