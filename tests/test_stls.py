"""STLS: TLS on, or an error.

Never is a command sent in the clear that was meant for TLS, and nothing that came in the clear is taken for TLS's.
"""

import ssl
from contextlib import closing

import pytest

from pop3fast import POP3, POP3_SSL, AuthenticationError, ProtocolError, error_proto
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING, MESSAGE, connect, is_closed

NO = b"-ERR no\r\n"


def test_stls_turns_tls_on_and_forgets_nothing_it_needs() -> None:
    with MailboxServer([MESSAGE], stls=True) as server:
        with POP3(server.host, server.port, timeout=5) as pop:
            assert pop.stls(server.client_context).startswith(b"+OK")
            assert isinstance(pop.sock, ssl.SSLSocket)
            pop.user(server.user)
            pop.pass_(server.password)
            assert pop.retr_bytes(1) == MESSAGE
            with pytest.raises(error_proto, match="TLS session already established"):
                pop.stls(server.client_context)
            assert pop.stat()[0] == 1
        assert server.commands.count(b"STLS") == 1


def test_quirk_apop_after_stls_takes_the_time_stamp_from_before_it_as_poplib_does_and_login_does_not() -> None:
    # CPython's own tests log in so; RFC 2595 section 4 has the client forget what was said in the clear.
    greeting = b"+OK <1896.697170952@dbc.mtview.ca.us>\r\n"
    with ScriptedServer(greeting, [STLS_OFFERED, Reply(b"+OK\r\n", then="tls"), NO, NO]) as server:
        with closing(connect(server)) as pop:
            pop.stls(server.client_context)
            with pytest.raises(AuthenticationError):
                pop.apop("mrose", "tanstaaf")
            with pytest.raises(error_proto, match="APOP not supported"):
                pop.login("mrose", "tanstaaf", mechanism="APOP")
    assert server.commands == [b"CAPA", b"STLS", b"APOP mrose c4c9334bac560ecc979e58001b3e22fb"]


STLS_OFFERED = b"+OK\r\nSTLS\r\n.\r\n"


@pytest.mark.parametrize("injected", [b"+OK 7 777\r\n", b"+", b"\0", b"\r\n"])
@pytest.mark.parametrize("together", [True, False])
def test_octets_behind_the_reply_to_stls_are_an_error_and_the_connection_is_closed(
    injected: bytes, *, together: bool
) -> None:
    # Whoever put them there wants to speak inside TLS. In two segments they may come after the check, as invalid TLS.
    reply = Reply(b"+OK go\r\n" + injected) if together else Reply(b"+OK go\r\n", injected)
    with ScriptedServer(GREETING, [STLS_OFFERED, reply]) as server, closing(connect(server)) as pop:
        with pytest.raises(ProtocolError if together else (ProtocolError, ssl.SSLError)):
            pop.stls(server.client_context)
        assert not pop._tls_established
        with pytest.raises(ProtocolError):
            pop.user("alice")
        if together:
            assert is_closed(pop)
        assert b"USER alice" not in server.commands
        assert b"QUIT" not in server.commands


@pytest.mark.parametrize(
    ("replies", "kind"),
    [
        ([b"+OK\r\nTOP\r\n.\r\n"], "not supported"),
        ([NO], "not supported"),
        ([STLS_OFFERED, b"-ERR not now\r\n"], "not now"),
    ],
)
def test_stls_that_is_not_to_be_had_is_an_error_and_the_session_goes_on_without(
    replies: list[bytes], kind: str
) -> None:
    with ScriptedServer(GREETING, [*replies, b"+OK\r\n"]) as server, closing(connect(server)) as pop:
        with pytest.raises(error_proto, match=kind):
            pop.stls(server.client_context)
        assert pop.noop() == b"+OK"


def test_a_handshake_that_fails_breaks_the_connection() -> None:
    with (
        ScriptedServer(GREETING, [STLS_OFFERED, Reply(b"+OK go\r\n", then="tls")]) as server,
        closing(connect(server)) as pop,
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            pop.stls(ssl.create_default_context())
        with pytest.raises(ProtocolError):
            pop.user("alice")
        pop.close()
    assert server.commands == [b"CAPA", b"STLS"]


def test_a_handshake_that_stalls_is_a_time_out_and_breaks_the_connection() -> None:
    with (
        ScriptedServer(GREETING, [STLS_OFFERED, Reply(b"+OK go\r\n", then="stall")]) as server,
        closing(connect(server)) as pop,
    ):
        pop.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            pop.stls(server.client_context)
        with pytest.raises(ProtocolError):
            pop.user("alice")


def test_a_session_over_tls_knows_that_it_is_one() -> None:
    with MailboxServer([], tls=True) as server:
        with POP3_SSL(server.host, server.port, timeout=5, context=server.client_context) as pop:
            with pytest.raises(error_proto, match="TLS session already established"):
                pop.stls()
            pop.user(server.user)
        assert b"STLS" not in server.commands
