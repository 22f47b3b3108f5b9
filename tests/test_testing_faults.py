"""MailboxServer under TLS, late, in small pieces and cut: exactly as ordered."""

import poplib
import select
import socket
import ssl
import struct
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Literal

import pytest

from pop3fast.testing import CERTIFICATE, MailboxServer
from pop3fast.testing._threads import server_context
from rawpop import GREETING, HELLO, LOGIN, SHORT, answers, read_all, session

# TLS


def test_tls_works_with_the_context_that_the_server_hands_out() -> None:
    with MailboxServer([HELLO], tls=True) as server:
        for host in (server.host, "localhost"):
            pop = poplib.POP3_SSL(host, server.port, context=server.client_context, timeout=10)
            with closing(pop):
                pop.user("user")
                pop.pass_("password")
                assert pop.retr(1)[2] == len(HELLO)
                assert pop.quit() == b"+OK bye"


def test_nobody_else_trusts_the_certificate() -> None:
    with MailboxServer(tls=True) as server:
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            poplib.POP3_SSL(server.host, server.port, context=context, timeout=10)
        with socket.create_connection(server.address, timeout=10) as sock, pytest.raises(ssl.SSLCertVerificationError):
            server.client_context.wrap_socket(sock, server_hostname="example.org")


def test_a_socket_that_the_client_resets_just_before_tls_begins_is_closed() -> None:
    """CPython's own is left open, of which a warning is given: in whichever test comes next."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        client = socket.create_connection(listener.getsockname(), timeout=10)
        sock = stack.enter_context(listener.accept()[0])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert select.select([sock], [], [], 10)[0]
        context = server_context(str(CERTIFICATE))
        made: list[ssl.SSLSocket] = []

        class Noted(context.sslsocket_class):  # type: ignore[misc, name-defined]  # the class is only known here
            def getpeername(self) -> object:
                made.append(self)
                return super().getpeername()

        context.sslsocket_class = Noted
        with pytest.raises(ConnectionResetError):
            context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        assert [each.fileno() for each in made] == [-1]


def test_the_tls_farewell_is_said_after_quit() -> None:
    with MailboxServer(tls=True) as server, socket.create_connection(server.address, timeout=10) as plain:
        context = server.client_context
        with context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as sock:
            sock.sendall(b"QUIT\r\n")
            assert read_all(sock).endswith(b"+OK bye\r\n")


def test_stls_turns_tls_on_once_and_forgets_what_was_before() -> None:
    with MailboxServer([HELLO], stls=True) as server, closing(poplib.POP3(*server.address, timeout=10)) as pop:
        assert "STLS" in pop.capa()
        pop.user("user")
        pop.stls(server.client_context)
        assert isinstance(pop.sock, ssl.SSLSocket)
        assert "STLS" not in pop.capa()
        with pytest.raises(poplib.error_proto, match="USER first"):
            pop.pass_("password")
        pop.user("user")
        pop.pass_("password")
        assert pop.retr(1)[2] == len(HELLO)
        with pytest.raises(poplib.error_proto):
            pop._shortcmd("STLS")  # type: ignore[attr-defined] # poplib's own stls() would refuse


def test_stls_is_refused_where_it_is_not_offered() -> None:
    with MailboxServer() as server:
        assert b"-ERR STLS is not offered" in answers(server, b"STLS\r\n")


def test_commands_that_came_in_clear_text_behind_stls_are_not_obeyed_under_tls() -> None:
    with MailboxServer(stls=True, greeting=GREETING) as server:
        with socket.create_connection(server.address, timeout=10) as plain:
            plain.sendall(b"STLS\r\nUSER mallory\r\nCAPA")
            assert plain.recv(8) == b"+OK hi\r\n"
            assert plain.recv(100) == b"+OK begin TLS\r\n"
            with server.client_context.wrap_socket(plain, server_hostname=server.host) as sock:
                sock.sendall(b"QUIT\r\n")
                assert read_all(sock) == b"+OK bye\r\n"
        assert server.commands == [b"STLS", b"QUIT"]


def test_a_certificate_of_the_callers_own_is_served(tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_bytes(CERTIFICATE.read_bytes())
    with MailboxServer(tls=True, certificate=own) as server:
        pop = poplib.POP3_SSL(server.host, server.port, context=server.client_context, timeout=10)
        pop.quit()
    with pytest.raises(FileNotFoundError):
        MailboxServer(stls=True, certificate=tmp_path / "missing.pem")


# Latency, cuts, dribbling


def test_latency_passes_once_for_the_greeting_and_once_for_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    latency = 0.125
    wait = threading.Event.wait
    latencies: list[float] = []

    def note(event: threading.Event, timeout: float | None = None) -> bool:
        if timeout == latency:
            latencies.append(timeout)
        return wait(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", note)
    with MailboxServer([SHORT] * 20, latency=latency) as server:
        with socket.create_connection(server.address, timeout=10) as sock:
            retrieve = b"".join(b"RETR %d\r\n" % number for number in range(1, 21))
            sock.sendall(LOGIN + retrieve + b"QUIT\r\n")  # 23 commands
            assert read_all(sock).count(b"\r\n.\r\n") == 20
        assert len(latencies) == 2
        with session(server) as pop:
            pop.stat()
    assert len(latencies) == 2 + 4  # for the greeting, USER, PASS and STAT


CUT_MESSAGES = [b"Subject: cut\r\n\r\n.dot\r\n"]
CUT_COMMANDS = LOGIN + b"LIST\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n"
CUT_SESSION = (
    b"+OK hi\r\n+OK send PASS\r\n+OK maildrop has 1 messages\r\n"
    b"+OK 1 messages\r\n1 22\r\n.\r\n"
    b"+OK 22 octets\r\nSubject: cut\r\n\r\n..dot\r\n.\r\n"
    b"+OK message 1 deleted\r\n+OK bye\r\n"
)


def until_cut(server: MailboxServer) -> tuple[bytes, str]:
    """Hold the session of the cut tests; what arrived, and how it ended."""
    received = bytearray()
    try:
        with socket.create_connection(server.address, timeout=10) as sock:
            sock.sendall(CUT_COMMANDS)
            while octets := sock.recv(4096):
                received += octets
    except ConnectionError:  # with a cut at 0 it can be connect() that fails
        return bytes(received), "rst"
    return bytes(received), "fin"


@pytest.mark.parametrize("cut_with", ["fin", "rst"])
def test_a_connection_is_cut_after_exactly_so_many_octets(cut_with: Literal["fin", "rst"]) -> None:
    quit_reply = len(b"+OK bye\r\n")
    for cut_at in range(len(CUT_SESSION) + 1):
        with MailboxServer(CUT_MESSAGES, greeting=GREETING, cut_at=cut_at, cut_with=cut_with) as server:
            received, ended_by = until_cut(server)
            if ended_by == "fin":
                assert received == CUT_SESSION[:cut_at]
            else:  # a reset can overtake octets on its way to the reader
                assert CUT_SESSION[:cut_at].startswith(received)
            assert ended_by == cut_with
            whole = cut_at > len(CUT_SESSION) - quit_reply
            assert server.deleted == ([1] if whole else [])


@pytest.mark.parametrize("cut_at", [0, 1, 40])
def test_a_connection_under_tls_is_cut_without_the_farewell(cut_at: int) -> None:
    with MailboxServer(tls=True, cut_at=cut_at) as server:
        received = b""
        with socket.create_connection(server.address, timeout=10) as plain:
            context = server.client_context
            with context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as sock:
                while len(received) < cut_at:
                    received += sock.recv(100)
                with pytest.raises(ssl.SSLEOFError):
                    sock.recv(100)
        assert len(received) == cut_at


def test_only_the_first_connections_are_cut_when_that_is_asked_for() -> None:
    with MailboxServer(CUT_MESSAGES, greeting=GREETING, cut_at=3, cut_connections=2) as server:
        assert [until_cut(server)[0] for _ in range(3)] == [b"+OK", b"+OK", CUT_SESSION]


def test_replies_dribble_in_pieces_of_the_size_asked_for() -> None:
    with MailboxServer([HELLO], tls=True, octets_per_send=3, greeting=GREETING) as server:
        # Under TLS one send is one record, which one read gives: so the pieces can be seen.
        plain = socket.create_connection(server.address, timeout=10)
        with server.client_context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(LOGIN + b"RETR 1\r\nQUIT\r\n")
            pieces = list(iter(lambda: sock.recv(1000), b""))
    assert pieces[:3] == [b"+OK", b" hi", b"\r\n"]
    assert max(map(len, pieces)) == 3
    assert HELLO.replace(b"\r\n.", b"\r\n..") in b"".join(pieces)


def test_dribbled_octets_make_the_same_session_in_clear_text() -> None:
    with MailboxServer(CUT_MESSAGES, greeting=GREETING, octets_per_send=1) as server:
        assert until_cut(server) == (CUT_SESSION, "fin")
