"""connect: what each scheme means, that nothing secret leaves before TLS is there, and what an error says.

Against servers that offer less than they should the test is always the same: what they got to see.
"""

import gc
import pickle
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import python_socks
from python_socks.sync import Proxy

import pop3fast
from pop3fast import AuthenticationError, CommandError, ConnectionLost, InsecureTLSWarning, ProtocolError, connect
from pop3fast.fetch._errors import explained
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING, MESSAGE, is_closed
from socks5 import socks_proxy

PASSWORD = "correct-horse-battery"
NO = b"-ERR no\r\n"
CAPA_STLS = b"+OK\r\nSTLS\r\n.\r\n"
VERIFIES_NOTHING = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
VERIFIES_NOTHING.check_hostname = False
VERIFIES_NOTHING.verify_mode = ssl.CERT_NONE

Server = MailboxServer | ScriptedServer


def url(scheme: str, server: Server, user: str | None = None, host: str = "127.0.0.1") -> str:
    return f"{scheme}://{f'{user}@' if user else ''}{host}:{server.port}"


def said_before_tls(server: Server) -> list[bytes]:
    return list(server.commands)


# The schemes.


@pytest.mark.parametrize("scheme", ["pop3s", "pop3", "pop3+plain"])
def test_each_scheme_connects_and_logs_in(scheme: str) -> None:
    with MailboxServer([MESSAGE], tls=scheme == "pop3s", stls=scheme == "pop3", password=PASSWORD) as server:
        with connect(url(scheme, server, "user"), password=PASSWORD, context=server.client_context) as pop:
            assert isinstance(pop.sock, ssl.SSLSocket) == (scheme != "pop3+plain")
            assert type(pop) is (pop3fast.POP3_SSL if scheme == "pop3s" else pop3fast.POP3)
            assert pop.retr_bytes(1) == MESSAGE
            assert pop.sock.gettimeout() == 60.0
        assert server.commands[-1] == b"QUIT"


def test_without_a_secret_nobody_is_logged_in() -> None:
    with MailboxServer([MESSAGE], tls=True) as server:
        with connect(url("pop3s", server, "user"), context=server.client_context) as pop:
            assert server.commands == []
            pop.login(server.user, server.password)
            assert pop.stat()[0] == 1


@pytest.mark.parametrize(
    ("in_url", "keyword", "expected"),
    [
        ("user%40example.org", None, "user@example.org"),
        ("j%C3%BCrgen", None, "jürgen"),
        ("with%20space%2Fand%3Acolon", None, "with space/and:colon"),
        (None, "plain user", "plain user"),
        ("user", "user", "user"),
    ],
)
def test_the_user_comes_percent_encoded_in_the_url_or_by_its_keyword(
    in_url: str | None, keyword: str | None, expected: str
) -> None:
    with MailboxServer([], tls=True, user=expected) as server:
        address = url("pop3s", server, in_url)
        with connect(address, user=keyword, password="password", context=server.client_context) as pop:
            assert pop.stat() == (0, 0)


def test_a_password_may_be_a_function_that_is_asked_once_and_late() -> None:
    asked: list[int] = []

    def password() -> str:
        asked.append(1)
        return PASSWORD

    with MailboxServer([], tls=True, password=PASSWORD) as server:
        connect(url("pop3s", server, "user"), password=password, context=server.client_context).quit()
        assert asked == [1]
        with pytest.raises(ssl.SSLError):
            connect(url("pop3s", server, "user"), password=password)
        assert asked == [1]


# Verification.


@pytest.mark.parametrize("scheme", ["pop3s", "pop3"])
def test_a_certificate_that_nobody_vouches_for_is_refused(scheme: str) -> None:
    with MailboxServer([], tls=scheme == "pop3s", stls=scheme == "pop3") as server:
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            connect(url(scheme, server, "user"), password=PASSWORD)
        step = "TLS handshake" if scheme == "pop3s" else "STLS"
        assert f"127.0.0.1:{server.port}, {step}: " in str(caught.value)
        assert said_before_tls(server) == ([] if scheme == "pop3s" else [b"CAPA", b"STLS"])


@pytest.mark.parametrize("scheme", ["pop3s", "pop3"])
def test_a_certificate_for_another_host_is_refused(scheme: str) -> None:
    with MailboxServer([], tls=scheme == "pop3s", stls=scheme == "pop3") as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"mail\.example\.org"):
            connect(
                url(scheme, server, "user", host="mail.example.org"),
                password=PASSWORD,
                context=server.client_context,
                sock=lambda _, timeout: socket.create_connection(server.address, timeout),
            )
        assert not any(command.startswith((b"USER", b"AUTH")) for command in server.commands)


def test_a_context_that_verifies_nothing_is_a_warning() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with MailboxServer([], tls=True) as server:
        with pytest.warns(InsecureTLSWarning, match="verifies nothing") as caught:
            connect(url("pop3s", server), context=context).close()
        assert caught[0].filename == __file__


@pytest.mark.parametrize(("scheme", "host"), [("pop3s", "localhost"), ("pop3", "localhost"), ("pop3s", "127.0.0.1")])
def test_the_server_is_told_the_host_name_in_the_handshake(scheme: str, host: str) -> None:
    replies: list[bytes | Reply] = [CAPA_STLS, Reply(b"+OK\r\n", then="tls")] if scheme == "pop3" else []
    with ScriptedServer(GREETING, replies, tls=scheme == "pop3s") as server:
        told: list[str | None] = []
        server._context.sni_callback = lambda _sock, name, _context: told.append(name)
        connect(url(scheme, server, host=host), context=server.client_context).close()
    # An address is no name (RFC 6066 section 3).
    assert told == ([host] if host == "localhost" else [None])


def test_an_ipv6_literal_is_an_address_to_connect_to_and_to_verify() -> None:
    asked: list[tuple[str, int]] = []

    def here(address: tuple[str, int], timeout: float | None) -> socket.socket:
        asked.append(address)
        return socket.create_connection(server.address, timeout)

    with MailboxServer([], tls=True) as server:
        address = url("pop3s", server, host="[::1]")
        connect(address, context=server.client_context, sock=here).close()  # the certificate is for ::1 as well
        assert asked == [("::1", server.port)]
        with pytest.raises(ssl.SSLCertVerificationError, match=rf"^\[::2\]:{server.port}, TLS handshake: "):
            connect(address.replace("::1", "::2"), context=server.client_context, sock=here)


# STLS, or nothing.


@pytest.mark.parametrize(
    ("replies", "kind", "says"),
    [
        ([b"+OK\r\nTOP\r\nUSER\r\nSASL PLAIN\r\n.\r\n"], ProtocolError, "offers no STLS"),
        ([b"+OK\r\n.\r\n"], ProtocolError, "offers no STLS"),
        ([NO], ProtocolError, "offers no STLS"),
        ([Reply(b"", then="fin")], ConnectionLost, "hung up"),
        ([CAPA_STLS, b"-ERR [SYS/TEMP] not \x1b[31mnow\r\n"], ProtocolError, r"refuses STLS: .*not \\x1b\[31mnow"),
        ([CAPA_STLS, b"+OK go\r\n+OK 1 1\r\n"], ProtocolError, "nothing had asked for"),
        ([CAPA_STLS, Reply(b"+OK go\r\n", b"+OK in the clear\r\n")], (ProtocolError, ssl.SSLError), "STLS"),
        ([CAPA_STLS, Reply(b"+OK go\r\n", then="fin")], (ConnectionLost, OSError), "STLS"),
    ],
)
def test_without_tls_nothing_secret_is_sent(
    replies: list[bytes | Reply], kind: type[Exception] | tuple[type[Exception], ...], says: str
) -> None:
    with ScriptedServer(GREETING, [*replies, b"+OK\r\n", b"+OK\r\n"]) as server:
        with pytest.raises(kind) as caught:
            connect(url("pop3", server, "alice"), password=PASSWORD, context=server.client_context)
        assert re.search(says, explained(caught.value))
        assert f"127.0.0.1:{server.port}, STLS: " in explained(caught.value)
    assert PASSWORD.encode() not in server.received
    assert not any(command.startswith((b"USER", b"AUTH", b"APOP", b"QUIT")) for command in server.commands)


def test_the_time_stamp_of_a_greeting_in_the_clear_is_forgotten() -> None:
    greeting = b"+OK <1896.697170952@dbc.mtview.ca.us>\r\n"
    with (
        ScriptedServer(greeting, [CAPA_STLS, Reply(b"+OK\r\n", then="tls")]) as server,
        closing(connect(url("pop3", server), context=server.client_context)) as pop,
    ):
        for attempt in (pop.apop, lambda user, password: pop.login(user, password, mechanism="APOP")):
            with pytest.raises(pop3fast.error_proto, match="APOP not supported"):
                attempt("mrose", "tanstaaf")
    assert server.commands == [b"CAPA", b"STLS"]


def test_what_the_server_said_of_itself_in_the_clear_is_asked_again() -> None:
    with ScriptedServer(
        GREETING,
        [
            b"+OK\r\nSTLS\r\nSASL LOGIN\r\n.\r\n",
            Reply(b"+OK\r\n", then="tls"),
            b"+OK\r\nSASL PLAIN\r\n.\r\n",
            b"+OK\r\n",
        ],
    ) as server:
        connect(url("pop3", server, "a"), password="b", context=server.client_context).close()
    assert server.commands == [b"CAPA", b"STLS", b"CAPA", b"AUTH PLAIN AGEAYg=="]


# URLs.


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("mail.example.org", "begins with pop3s://, pop3://, pop3\\+plain://"),
        ("imap://mail.example.org", "begins with"),
        ("", "begins with"),
        ("pop3s://", "names no host"),
        ("pop3s://user@", "names no host"),
        ("pop3s://user@:995", "names no host"),
        (f"pop3s://user:{PASSWORD}@mail.example.org", "password in it ends up in logs"),
        ("pop3s://user:@mail.example.org", "password in it"),
        (f"pop3s://:{PASSWORD}@mail.example.org", "password in it"),
        ("pop3s://mail.example.org/inbox", "ends with host and port"),
        ("pop3s://mail.example.org?a=b", "ends with host and port"),
        ("pop3s://mail.example.org#a", "ends with host and port"),
        ("pop3s://mail.example.org:pop", "not a URL"),
        ("pop3s://mail.example.org:65536", "not a URL"),
        ("pop3s://mail.example.org:0", "port 0"),
        ("pop3s://[::1", "not a URL"),
        ("pop3s://%ff@mail.example.org", "not UTF-8"),
    ],
)
def test_a_url_that_cannot_be_used_says_why_and_is_not_quoted(address: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        connect(address, user="user", token="token")
    assert PASSWORD not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("address", "credentials", "says"),
    [
        ("pop3s://a@mail.example.org", {"user": "b", "password": "c"}, "another user"),
        ("pop3s://mail.example.org", {"password": "c"}, "needs a user"),
        ("pop3s://a@mail.example.org", {"password": "c", "token": "d"}, "one of them"),
    ],
)
def test_credentials_that_do_not_fit_together_are_refused(address: str, credentials: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        connect(address, **credentials)  # type: ignore[arg-type]  # of str, as these all are


# Failures: who, where, at which step; and nothing is left open.


def at_leisure(address: tuple[str, int], _: float | None) -> socket.socket:
    """Connect however busy the machine is: it is a later step that a short time-out is for."""
    return socket.create_connection(address)


def test_no_server_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError, match=rf"127\.0\.0\.1:{port}, connection: Connection refused") as caught:
        connect(f"pop3s://127.0.0.1:{port}")
    assert caught.value.errno is not None


@pytest.mark.parametrize(
    ("greeting", "kind", "says"),
    [
        (b"-ERR [SYS/TEMP] busy\r\n", CommandError, r"-ERR \[SYS/TEMP\] busy"),
        (b"220 mail.example.org ESMTP\r\n", ProtocolError, "no POP3 reply: '220"),
        (Reply(b"+OK rea", then="fin"), ConnectionLost, "hung up"),
        (Reply(b"+O", b"K", then="rst"), ConnectionResetError, "reset"),
        (Reply(b"+", then="stall"), TimeoutError, "timed out"),
    ],
)
def test_a_greeting_that_is_none_is_an_error_that_names_the_server(
    greeting: bytes | Reply, kind: type[Exception], says: str
) -> None:
    with ScriptedServer(greeting) as server:
        with pytest.raises(kind) as caught:
            connect(url("pop3+plain", server), timeout=0.2 if kind is TimeoutError else 10, sock=at_leisure)
        assert re.search(f"127.0.0.1:{server.port}, greeting: .*{says}", explained(caught.value))


def test_a_handshake_that_stalls_is_a_time_out_that_names_the_step() -> None:
    with ScriptedServer(Reply(b"", then="stall")) as server:
        with pytest.raises(TimeoutError, match=rf"^127\.0\.0\.1:{server.port}, TLS handshake: ") as caught:
            connect(url("pop3s", server), timeout=0.1, sock=at_leisure)
        assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args  # noqa: S301 - our own


def test_a_login_that_is_refused_names_the_server_and_survives_pickling() -> None:
    with MailboxServer([], tls=True) as server:
        with pytest.raises(AuthenticationError, match=rf"\n127\.0\.0\.1:{server.port}, login$") as caught:
            connect(url("pop3s", server, "user"), password=PASSWORD, context=server.client_context)
        assert sum(command.startswith((b"AUTH", b"PASS")) for command in server.commands) == 1
        assert b"QUIT" not in server.commands
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert again.explanation == caught.value.explanation
    assert again.explanation.startswith(f"{again.where}: AUTH: -ERR ")
    assert (again.args, again.code) == (caught.value.args, "AUTH")
    # A traceback shows the place, and the text stays the one that programs know.
    assert again.__notes__ == ["in answer to AUTH", again.where]
    assert str(again) == str(again.args[0])


def test_a_server_without_login_by_token_is_an_error_before_the_token_is_sent() -> None:
    with MailboxServer([], tls=True) as server:
        with pytest.raises(ProtocolError, match="-ERR the server offers no login by token; it offers PLAIN") as caught:
            connect(url("pop3s", server, "user"), token="t0ken", context=server.client_context)
        assert "login: -ERR the server offers" in caught.value.explanation
        assert server.commands == [b"CAPA"]


@pytest.mark.parametrize(
    ("scheme", "greeting"),
    [
        ("pop3s", None),  # where no TLS is
        ("pop3", None),
        ("pop3+plain", "-ERR go away"),
        ("pop3+plain", None),  # and the wrong password
    ],
)
@pytest.mark.parametrize("given", ["socket", "factory"])
def test_no_socket_stays_open_behind_an_error(scheme: str, greeting: str | None, given: str) -> None:
    made: list[socket.socket] = []

    def factory(address: tuple[str, int], timeout: float | None) -> socket.socket:
        made.append(socket.create_connection(address, timeout))
        return made[-1]

    with MailboxServer([], greeting=greeting) as server:
        sock: socket.socket | Callable[[tuple[str, int], float | None], socket.socket] = factory
        if given == "socket":
            sock = factory(server.address, 5)
        with pytest.raises((OSError, pop3fast.error_proto)):
            connect(url(scheme, server, "user"), password="wrong", sock=sock, timeout=5)
    gc.collect()  # a socket that somebody forgot would warn, and warnings are errors
    assert [one.fileno() for one in made] == [-1]


@pytest.mark.parametrize(
    ("address", "more"),
    [
        ("imap://mail.example.org", {}),
        ("pop3s://a@b", {"user": "c"}),
        ("pop3s://a@b", {"deadline": -1}),
        ("pop3s://a@b", {"context": VERIFIES_NOTHING}),  # a warning, and warnings are errors
    ],
)
def test_a_socket_that_was_given_is_closed_also_when_the_rest_makes_no_sense(
    address: str, more: dict[str, Any]
) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with pytest.raises((ValueError, InsecureTLSWarning), match=r"begins with|another user|deadline|verifies"):
            connect(address, sock=ours, **more)
        assert ours.fileno() == -1


def test_an_exception_of_who_was_asked_for_the_password_closes_the_connection_and_says_where() -> None:
    def password() -> str:
        raise LookupError("no keyring")

    with MailboxServer([], tls=True) as server:
        with pytest.raises(LookupError) as caught:
            connect(url("pop3s", server, "user"), password=password, context=server.client_context)
        assert caught.value.__notes__ == [f"127.0.0.1:{server.port}, login"]


# Sockets of one's own.


def test_a_connected_socket_is_used_and_owned_by_the_session() -> None:
    with MailboxServer([MESSAGE], tls=True) as server:
        sock = socket.create_connection(server.address)
        with connect(
            url("pop3s", server, "user"), password="password", context=server.client_context, sock=sock
        ) as pop:
            assert pop.sock.gettimeout() == 60.0
            assert pop.retr_bytes(1) == MESSAGE
        assert is_closed(pop)
        assert sock.fileno() == -1


def test_an_address_may_be_pinned_while_the_name_is_verified() -> None:
    with MailboxServer([MESSAGE], tls=True) as server:
        pop = connect(
            url("pop3s", server, host="localhost"),
            context=server.client_context,
            sock=lambda address, timeout: socket.create_connection(("127.0.0.1", address[1]), timeout),
        )
        assert pop.host == "localhost"
        pop.close()


def test_a_socks_proxy_is_asked_for_the_name_and_the_certificate_is_the_servers() -> None:
    with MailboxServer([MESSAGE], tls=True) as server:
        names = {("localhost", server.port): server.address}
        with socks_proxy(names) as (address, asked):
            proxy = Proxy.from_url(f"socks5://{address[0]}:{address[1]}", rdns=True)
            with connect(
                url("pop3s", server, "user", host="localhost"),
                password="password",
                context=server.client_context,
                sock=lambda address, timeout: proxy.connect(*address, timeout=timeout),
            ) as pop:
                assert pop.retr_bytes(1) == MESSAGE
        assert asked == [("localhost", server.port)]


def test_an_error_of_a_proxy_passes_through_with_where_it_happened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    proxy = Proxy.from_url(f"socks5://127.0.0.1:{port}")
    with pytest.raises(
        python_socks.ProxyConnectionError, match=r"mail\.example\.org:995, connection: Could not connect"
    ):
        connect("pop3s://mail.example.org", sock=lambda address, timeout: proxy.connect(*address, timeout=timeout))


def test_a_mechanism_by_name_is_the_one_that_is_used() -> None:
    with MailboxServer([MESSAGE], tls=True, password=PASSWORD) as server:
        for mechanism, sent in (("USER", b"USER user"), ("plain", b"AUTH PLAIN ")):
            address = url("pop3s", server, "user")
            with connect(address, password=PASSWORD, mechanism=mechanism, context=server.client_context):
                assert any(command.startswith(sent) for command in server.commands)
