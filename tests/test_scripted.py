"""The scripted server that the client's tests play with: it says what the script says, and ends in time."""

import poplib
import socket
import threading
from contextlib import closing

import pytest

import scripted
from scripted import Reply, ScriptedServer, Then


def test_the_script_is_played_in_order_and_on_every_connection_anew() -> None:
    with ScriptedServer(b"+OK hi\r\n", [b"+OK 2 320\r\n", b"-ERR no\r\n"]) as server:
        for _ in range(2):
            pop = poplib.POP3(*server.address, timeout=10)
            assert pop.stat() == (2, 320)
            with pytest.raises(poplib.error_proto, match="no"):
                pop.dele(1)
            assert pop.quit() == b"+OK bye"
    assert server.commands == [b"STAT", b"DELE 1", b"QUIT"] * 2
    assert server.received == b"STAT\r\nDELE 1\r\nQUIT\r\n" * 2


def test_a_script_can_be_a_function_and_what_it_raises_is_raised() -> None:
    def script(command: bytes) -> bytes:
        if command == b"NOOP":
            return b"+OK " + command + b"\r\n"
        raise LookupError(command)

    server = ScriptedServer(b"+OK\r\n", script)
    server.__enter__()
    with closing(poplib.POP3(*server.address, timeout=10)) as pop:
        assert pop.noop() == b"+OK NOOP"
        with pytest.raises(poplib.error_proto, match="EOF"):
            pop.rset()
    with pytest.raises(LookupError, match="RSET"):
        server.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("then", "error", "says"),
    [("fin", poplib.error_proto, "EOF"), ("rst", ConnectionResetError, "reset"), ("stall", TimeoutError, "timed out")],
)
def test_a_scripted_reply_ends_as_it_says(then: Then, error: type[Exception], says: str) -> None:
    server = ScriptedServer(b"+OK\r\n", [Reply(b"+OK\r\nline\r\n", then=then)])
    with server, closing(poplib.POP3(*server.address, timeout=10)) as pop:
        if then == "stall":
            pop.sock.settimeout(0.2)
        with pytest.raises(error, match=says):
            pop.retr(1)


def test_scripted_octets_leave_one_by_one_or_in_their_segments() -> None:
    # Under TLS one send is one record, which one read gives: so the pieces can be seen.
    with ScriptedServer(Reply(b"+OK\r", b"\n"), [Reply(b"abc", dribble=True, then="fin")], tls=True) as server:
        plain = socket.create_connection(server.address, timeout=10)
        with server.client_context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"NOOP\r\n")
            assert list(iter(lambda: sock.recv(100), b"")) == [b"+OK\r", b"\n", b"a", b"b", b"c"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"+OK begin\r\n", then="tls"),
        Reply(b"+OK begin\r\n+OK injected\r\n", then="tls"),
    ],
)
def test_a_script_turns_tls_on_behind_octets_of_its_own(reply: Reply) -> None:
    server = ScriptedServer(b"+OK hi\r\n", [reply, b"+OK under TLS\r\n"])
    with server, socket.create_connection(server.address, timeout=10) as plain:
        plain.sendall(b"STLS\r\n")
        expected = b"+OK hi\r\n" + b"".join(reply.segments)
        received = b""
        while len(received) < len(expected):
            received += plain.recv(100)
        assert received == expected
        with server.client_context.wrap_socket(plain, server_hostname=server.host) as sock:
            sock.sendall(b"NOOP\r\n")
            assert sock.recv(100) == b"+OK under TLS\r\n"
    assert server.commands == [b"STLS", b"NOOP"]


@pytest.mark.parametrize("then", ["go on", "fin", "stall", "tls"])
def test_a_scripted_server_ends_with_its_block_whatever_it_waits_for(
    then: Then, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted, "WAIT_SECONDS", 1e6)
    before = set(threading.enumerate())
    with ScriptedServer(Reply(b"+OK\r\n", then=then)) as server:
        sock = socket.create_connection(server.address, timeout=10)
        assert sock.recv(100) == b"+OK\r\n"
    assert set(threading.enumerate()) == before
    sock.close()
