"""Talking to MailboxServer without this project's own client: with poplib, and octet by octet over a socket."""

import poplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pop3fast.testing import MailboxServer

HELLO = b"Subject: hello\r\n\r\nfirst line\r\n.second line\r\n"
SHORT = b"Subject: short\r\n\r\n"
LOGIN = b"USER user\r\nPASS password\r\n"
GREETING = "+OK hi"


@contextmanager
def session(server: MailboxServer) -> Iterator[poplib.POP3]:
    """Log in with poplib; leave without QUIT unless the test has said it."""
    pop = poplib.POP3(server.host, server.port, timeout=10)
    try:
        pop.user(server.user)
        pop.pass_(server.password)
        yield pop
    finally:
        pop.close()


def read_all(sock: socket.socket) -> bytes:
    """Read until the server ends the connection."""
    received = bytearray()
    while octets := sock.recv(65536):
        received += octets
    return bytes(received)


def answers(server: MailboxServer, *batches: bytes) -> bytes:
    """Send each batch of commands in one piece and QUIT at the end; everything that the server says."""
    with socket.create_connection(server.address, timeout=10) as sock:
        for batch in batches:
            sock.sendall(batch)
        sock.sendall(b"QUIT\r\n")
        return read_all(sock)


def body(server: MailboxServer, command: bytes) -> bytes:
    """Give the multi-line response to `command` as it is on the wire, in its own session, without its status line."""
    _greeting, _user, _pass, _status, rest = answers(server, LOGIN + command).split(b"\r\n", 4)
    assert rest.endswith(b"+OK bye\r\n")
    return rest.removesuffix(b"+OK bye\r\n")
