"""Every mechanism that Dovecot has in common with us, against Dovecot; tokens are judged by a server of the test's.

Owns the comparison with what somebody else takes the RFCs to say; exact octets are test_login's.
"""

import json
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import pop3fast
from pop3fast import AuthenticationError, ProtocolError
from servers import DovecotServer, MailutilsServer, require

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256")
TOKEN = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
LONG_TOKEN = "x" * 2000

_OAUTH2 = """
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf
}}
"""


class TokenInfo(BaseHTTPRequestHandler):
    """What an authorization server says of a token when Dovecot asks."""

    user = ""

    def do_GET(self) -> None:
        token = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get("token", [""])[0]
        known = token in {TOKEN, LONG_TOKEN}
        body = json.dumps({"email": self.user} if known else {"error": "invalid_token"}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class DovecotWithTokens(DovecotServer):
    """Dovecot that asks an authorization server about tokens."""

    def __init__(self, token_port: int) -> None:
        names = [name.lower() for name in (*MECHANISMS, "XOAUTH2", "OAUTHBEARER", "APOP")]
        super().__init__(mechanisms=names)
        self._token_port = token_port

    def configure(self) -> list[str]:
        """Write the part about tokens too."""
        path = self.folder / "oauth2.conf"
        path.write_text(
            f"tokeninfo_url = http://127.0.0.1:{self._token_port}/?token=\nusername_attribute = email\n", "utf-8"
        )
        self.account.take(path)
        self.settings = _OAUTH2.format(folder=self.folder)
        return super().configure()


@pytest.fixture(scope="module")
def dovecot() -> Iterator[DovecotServer]:
    require(DovecotServer)
    with ThreadingHTTPServer(("127.0.0.1", 0), TokenInfo) as tokens:
        thread = threading.Thread(target=tokens.serve_forever, args=(0.01,))
        thread.start()
        try:
            with DovecotWithTokens(tokens.server_address[1]) as server:
                TokenInfo.user = server.mailbox.user
                server.mailbox.fill([b"Subject: hello\n\nhello\n"])
                yield server
        finally:
            tokens.shutdown()
            thread.join(10)


def session(server: DovecotServer, scheme: str = "pop3s") -> pop3fast.POP3:
    port = server.tls_port if scheme == "pop3s" else server.plain_port
    return pop3fast.connect(f"{scheme}://{server.host}:{port}", context=server.client_context(), timeout=10)


@pytest.mark.parametrize("scheme", ["pop3s", "pop3", "pop3+plain"])
@pytest.mark.parametrize("mechanism", [*MECHANISMS, "USER", "APOP", None])
def test_dovecot_lets_a_password_in(dovecot: DovecotServer, mechanism: str | None, scheme: str) -> None:
    with session(dovecot, scheme) as pop:
        if (mechanism, scheme) == ("APOP", "pop3"):
            with pytest.raises(pop3fast.error_proto, match="APOP not supported"):  # the greeting was before TLS
                pop.login(dovecot.mailbox.user, dovecot.mailbox.password, mechanism=mechanism)
            return
        pop.login(dovecot.mailbox.user, dovecot.mailbox.password, mechanism=mechanism)
        assert pop.stat()[0] == 1
        assert pop.supports("PIPELINING")
    log = dovecot.log()
    if mechanism is None:
        assert "method=SCRAM-SHA-256" in log


@pytest.mark.parametrize("mechanism", [*MECHANISMS, "USER", "APOP", None])
def test_dovecot_refuses_a_wrong_password_once_and_the_session_goes_on(
    dovecot: DovecotServer, mechanism: str | None
) -> None:
    with closing(session(dovecot)) as pop:
        with pytest.raises(AuthenticationError, match=r"\[AUTH\]") as caught:
            pop.login(dovecot.mailbox.user, "wrong", mechanism=mechanism)
        assert caught.value.code == "AUTH"
        pop.login(dovecot.mailbox.user, dovecot.mailbox.password, mechanism=mechanism)
        assert pop.stat()[0] == 1


@pytest.mark.parametrize("token", [TOKEN, LONG_TOKEN], ids=["short", "long"])
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER", None])
def test_dovecot_lets_a_token_in(dovecot: DovecotServer, mechanism: str | None, token: str) -> None:
    with session(dovecot) as pop:
        pop.login(dovecot.mailbox.user, token=token, mechanism=mechanism)
        assert pop.stat()[0] == 1


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_dovecot_refuses_a_token_and_says_why(dovecot: DovecotServer, mechanism: str) -> None:
    with closing(session(dovecot)) as pop:
        with pytest.raises(AuthenticationError) as caught:
            pop.login(dovecot.mailbox.user, token="expired", mechanism=mechanism)
        assert json.loads(caught.value.reason)["status"] in {"400", "401", "invalid_token"}
        pop.login(dovecot.mailbox.user, token=TOKEN, mechanism=mechanism)
        assert pop.stat()[0] == 1


def test_dovecot_lets_go_of_a_login_that_is_called_off(dovecot: DovecotServer) -> None:
    with closing(session(dovecot)) as pop:
        with pytest.raises(AuthenticationError, match="called off"):
            pop.auth("LOGIN", lambda _: None)
        pop.login(dovecot.mailbox.user, dovecot.mailbox.password)
        assert pop.stat()[0] == 1


def test_a_certificate_nobody_vouches_for_stops_before_the_password(dovecot: DovecotServer) -> None:
    for scheme, port in (("pop3s", dovecot.tls_port), ("pop3", dovecot.plain_port)):
        with pytest.raises(ssl.SSLCertVerificationError, match=rf"127\.0\.0\.1:{port}, "):
            pop3fast.connect(f"{scheme}://user@127.0.0.1:{port}", password="secret")


def test_mailutils_lets_a_password_in_by_stls_and_in_the_clear() -> None:
    require(MailutilsServer)
    with MailutilsServer() as server:
        server.mailbox.fill([b"Subject: hello\n\nhello\n"])
        user, password = server.mailbox.user, server.mailbox.password
        where = f"{server.host}:{server.plain_port}"
        with pop3fast.connect(f"pop3://{where}", context=server.client_context()) as pop:
            pop.login(user, password)
            assert pop.stat()[0] == 1
        with pop3fast.connect(f"pop3+plain://{where}", user=user, password=password) as pop:
            assert pop.stat()[0] == 1


def test_a_server_without_stls_is_an_error_before_the_password() -> None:
    require(DovecotServer)
    with DovecotServer(
        settings="ssl = no\nservice pop3-login {\n  inet_listener pop3s {\n    port = 0\n  }\n}\n"
    ) as server:
        with pytest.raises(ProtocolError, match="offers no STLS"):
            pop3fast.connect(f"pop3://user@{server.host}:{server.plain_port}", password="secret")
        assert "user=<user>" not in server.log()
