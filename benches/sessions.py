"""Who retrieves: poplib, pop3fast, and sessions that use no POP3 library at all.

Owns connecting and logging in, so that nothing of it is measured. A raw session trusts its server, as only a
benchmark may: it knows no -ERR, no bare LF and no limit, which is the best case for it.
"""

import poplib
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager

import pop3fast
from pop3fast.testing import MailboxServer

CRLF = b"\r\n"

END = b"\r\n.\r\n"
"""What ends a multi-line response, with the line end before it."""

# Less costs more calls, and more than this gained nothing.
_RECEIVE_SIZE = 64 * 1024


@contextmanager
def poplib_session(server: MailboxServer, *, tls: bool) -> Iterator[poplib.POP3]:
    """Log in with poplib; log out at the end."""
    host, port, context = server.host, server.port, server.client_context
    pop = poplib.POP3_SSL(host, port, context=context) if tls else poplib.POP3(host, port)
    try:
        pop.user(server.user)
        pop.pass_(server.password)
        yield pop
        pop.quit()
    finally:
        pop.close()


@contextmanager
def pop3fast_session(server: MailboxServer, *, tls: bool) -> Iterator[pop3fast.POP3]:
    """Log in with pop3fast; log out at the end."""
    host, port, context = server.host, server.port, server.client_context
    with pop3fast.POP3_SSL(host, port, context=context) if tls else pop3fast.POP3(host, port) as pop:
        pop.user(server.user)
        pop.pass_(server.password)
        yield pop


def raw_session(server: MailboxServer, *, tls: bool) -> AbstractContextManager["RawSession"]:
    """Log in without a library; hang up at the end."""
    sock = socket.create_connection(server.address)
    if tls:
        sock = server.client_context.wrap_socket(sock, server_hostname=server.host)
    session = RawSession(sock)
    session.log_in(server.user, server.password)
    return closing(session)


class RawSession:
    """A socket, and what can be done with it in a few lines of Python."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over *sock*."""
        self._sock = sock

    def log_in(self, user: str, password: str) -> None:
        """Read the greeting and log in."""
        for command in (None, f"USER {user}\r\n", f"PASS {password}\r\n"):
            if command is not None:
                self._sock.sendall(command.encode())
            line = b""
            while not line.endswith(CRLF):
                line += self._receive()
            if not line.startswith(b"+OK"):
                raise RuntimeError(f"the benchmark's server said {line!r}")

    def discard(self, command: bytes) -> int:
        """Give *command*, throw its multi-line response away, and return its octets: the floor under every client."""
        self._sock.sendall(command)
        received = self._receive()
        octets = len(received)
        while not received.endswith(END):
            before, received = received, self._receive()
            octets += len(received)
            if len(received) < len(END):
                received = before[-len(END) :] + received
        return octets

    def discard_many(self, commands: Sequence[bytes], sizes: Sequence[int], window: int) -> None:
        """Give *window* commands at a time, and throw away as many octets as their replies have, which are *sizes*."""
        for start in range(0, len(commands), window):
            self._sock.sendall(b"".join(commands[start : start + window]))
            octets = sum(sizes[start : start + window])
            while octets > 0:
                octets -= len(self._receive())

    def body(self, command: bytes) -> bytes:
        """Give *command* and return the body of its response: the best way that pure Python was found to have."""
        self._sock.sendall(command)
        received = self._receive()
        pieces = [received]
        while not received.endswith(END):
            before, received = received, self._receive()
            pieces.append(received)
            if len(received) < len(END):
                received = before[-len(END) :] + received
        response = b"".join(pieces)
        return unstuffed(response[response.index(CRLF) + len(CRLF) : -len(b".\r\n")])

    def lines(self, command: bytes) -> list[bytes]:
        """Give *command* and return the lines of its response, as poplib gives them."""
        lines = self.body(command).split(CRLF)
        lines.pop()
        return lines

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def _receive(self) -> bytes:
        octets = self._sock.recv(_RECEIVE_SIZE)
        if not octets:
            raise EOFError("the benchmark's server hung up")
        return octets


def unstuffed(body: bytes) -> bytes:
    """Return *body* without the dots that were stuffed; without any it is the same object."""
    body = body.replace(b"\r\n..", b"\r\n.")
    return body[1:] if body.startswith(b"..") else body
