"""The embedded server in this process: a listening socket on loopback, and a thread for each connection.

Owns the listening socket, the threads and the record of commands. It knows nothing of POP3. `stop` leaves no thread
and no socket behind, whatever the clients do, and says so with an exception where it cannot.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from pop3fast.testing._maildrop import Maildrop, RepeatedMessage
from pop3fast.testing._session import ServerSession, ServerSettings, Shared
from pop3fast.testing._wire import Connection

HOST = "127.0.0.1"

# What the record of commands keeps: the last ones. A benchmark of hours must not fill the memory with it.
RECORDED_COMMANDS = 1_000_000

# For all waits of a stop together. Threads end within microseconds of being woken; on a machine that is so busy that
# five seconds are not enough, an exception is better than a hang.
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Report:
    """What can be seen of a server from outside its sessions."""

    deleted: list[int]
    remaining: list[int]
    commands: list[bytes]


class _ServerSocket(ssl.SSLSocket):
    """What is closed when the client resets the connection just before TLS begins; `ssl` itself leaves it open."""

    def getpeername(self) -> object:
        """Return the client's address; where there is none any more, close the socket and raise ``OSError``."""
        try:
            return super().getpeername()
        except OSError:
            self.close()
            # Not the error itself: behind "not connected", `ssl` would look for octets that came before.
            raise ConnectionResetError("the client has reset the connection") from None


def server_context(certificate: str) -> ssl.SSLContext:
    """Make the server's side of TLS from a PEM file that holds key and certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslsocket_class = _ServerSocket
    context.load_cert_chain(certificate)
    return context


class ThreadedServer:
    """Serves one maildrop to any number of connections."""

    def __init__(
        self, settings: ServerSettings, messages: Sequence[bytes | RepeatedMessage], uids: Sequence[str] | None
    ) -> None:
        """Prepare; nothing listens yet."""
        self._shared = Shared(
            settings=settings,
            context=server_context(settings.certificate) if settings.tls or settings.stls else None,
            maildrop=Maildrop(messages, uids),
            commands=deque(maxlen=RECORDED_COMMANDS),
            stopping=threading.Event(),
        )
        self._listener: socket.socket | None = None
        self._acceptor = threading.Thread(target=self._accept, name="MailboxServer", daemon=True)
        # Touched by the accepting thread only, until it has ended.
        self._sessions: list[tuple[threading.Thread, Connection]] = []
        self._accepted = 0

    def prepare(self) -> None:
        """Make every reply now."""
        self._shared.maildrop.prepare()

    def start(self) -> int:
        """Listen on a free port, which is returned."""
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self._acceptor.start()
        port = self._listener.getsockname()[1]
        assert isinstance(port, int)  # noqa: S101 - a fact about AF_INET, for the type checker
        return port

    def report(self) -> Report:
        """Return what has happened so far; also after stop()."""
        maildrop = self._shared.maildrop
        return Report(maildrop.deleted, maildrop.remaining, list(self._shared.commands))

    def stop(self) -> None:
        """End every connection and thread. Raises RuntimeError when one does not end within `STOP_SECONDS`."""
        if self._listener is None:
            return
        self._shared.stopping.set()
        deadline = time.monotonic() + STOP_SECONDS
        with suppress(OSError):  # a connection wakes accept(), which may have ended already
            socket.create_connection(self._listener.getsockname(), timeout=STOP_SECONDS).close()
        self._acceptor.join(STOP_SECONDS)
        self._listener.close()
        for thread, connection in self._sessions:
            while thread.is_alive():
                # Again and again: while it turns TLS on, a connection changes its socket, and one abort can miss it.
                connection.abort()
                thread.join(0.01)
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{thread.name} has not ended within {STOP_SECONDS} s")
        self._sessions.clear()

    def _accept(self) -> None:
        listener, stopping = self._listener, self._shared.stopping
        while listener is not None and not stopping.is_set():
            try:
                sock, (_host, port) = listener.accept()
            except OSError:
                # Out of descriptors, or the client gave up in the queue: the next one can be served.
                stopping.wait(0.05)
                continue
            if stopping.is_set():
                sock.close()
                return
            self._serve(sock, port)

    def _serve(self, sock: socket.socket, port: int) -> None:
        settings = self._shared.settings
        self._accepted += 1
        cut = settings.cut_connections is None or self._accepted <= settings.cut_connections
        connection = Connection(
            sock,
            cut_at=settings.cut_at if cut else None,
            cut_with=settings.cut_with,
            octets_per_send=settings.octets_per_send,
        )
        session = ServerSession(connection, self._shared)
        thread = threading.Thread(target=session.run, name=f"MailboxServer, client {port}", daemon=True)
        self._sessions = [entry for entry in self._sessions if entry[0].is_alive()]
        self._sessions.append((thread, connection))
        thread.start()
