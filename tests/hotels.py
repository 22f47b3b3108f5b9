"""A POP3 server with many mailboxes, which counts who is there. Owns no test.

Each mailbox is a `Maildrop`. Each connection has a thread, so any client of any process may come at any time.
"""

import contextlib
import select
import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from maildrops import Maildrop
from pop3fast.fetch import Account
from scripted import Reply

HELD_SECONDS = 30.0
"""So long something is held when a test has failed, and nobody lets it go any more."""


class Hotel:
    """A server with a mailbox for each user."""

    def __init__(self, drops: Mapping[str, Maildrop]) -> None:
        self.drops = dict(drops)
        self.most = 0
        """How many were there at once, from the greeting to QUIT or the end of the connection."""
        self.here = 0
        self.logins: Counter[str] = Counter()
        self.twice: set[str] = set()
        """Who was logged in twice at once."""
        self._inside: dict[str, list[socket.socket]] = {user: [] for user in drops}
        self._lock = threading.Lock()
        hotel = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError), contextlib.ExitStack() as visit:
                    visit.enter_context(hotel._visit())
                    hotel._serve(self, visit)

        class Server(socketserver.ThreadingTCPServer):
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def accounts(self) -> list[Account]:
        """Return an account for each mailbox."""
        url = f"pop3+plain://127.0.0.1:{self.port}"
        return [Account(url, user=user, password="password", timeout=30) for user in self.drops]

    def _serve(self, handler: socketserver.StreamRequestHandler, visit: contextlib.ExitStack) -> None:
        user = ""
        handler.wfile.write(b"+OK\r\n")
        for line in handler.rfile:
            command = line.rstrip(b"\r\n")
            verb, _, argument = command.partition(b" ")
            if verb == b"USER":
                user = argument.decode()
            elif verb == b"PASS":
                visit.enter_context(self._stay(user, handler.connection))
            reply = self.drops[user](command) if user else b"+OK\r\nUSER\r\n.\r\n"
            if verb == b"QUIT":
                # Before the reply to QUIT: once the client has that, it may open other sessions.
                visit.close()
            handler.wfile.write(b"".join(reply.segments) if isinstance(reply, Reply) else reply)
            if verb == b"QUIT" or (isinstance(reply, Reply) and reply.then == "fin"):
                return

    @contextlib.contextmanager
    def _visit(self) -> Iterator[None]:
        with self._lock:
            self.here += 1
            self.most = max(self.most, self.here)
        try:
            yield
        finally:
            with self._lock:
                self.here -= 1

    @contextlib.contextmanager
    def _stay(self, user: str, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self.logins[user] += 1
            # A client that was killed has gone, though its thread here may not know that yet.
            if any(not _is_left(other) for other in self._inside[user]):
                self.twice.add(user)
            self._inside[user].append(connection)
        try:
            yield
        finally:
            with self._lock:
                self._inside[user].remove(connection)


@contextlib.contextmanager
def held(drops: Iterable[Maildrop], command: bytes, reached: threading.Event) -> Iterator[threading.Event]:
    """Have *drops* leave *command* without an answer until the block ends, or the event that it gives is set.

    *reached* is set when it comes.
    """
    over = threading.Event()

    def hold(come: bytes) -> None:
        if come == command and not over.is_set():
            reached.set()
            over.wait(HELD_SECONDS)

    for drop in drops:
        drop.instead = hold
    try:
        yield over
    finally:
        over.set()


def _is_left(connection: socket.socket) -> bool:
    """Return whether the client has ended *connection*, also when what it sent before has not been read."""
    asked = select.poll()
    asked.register(connection, getattr(select, "POLLRDHUP", 0))  # other systems report it unasked
    return bool(asked.poll(0))
