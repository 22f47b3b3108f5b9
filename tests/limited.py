"""A server that takes so many sessions at once and no more, and has its own way to say so, as providers have.

Owns no test. Whoever is inside waits at the first RETR until somebody was turned away: so the limit is met whatever the
machine is busy with. Every wait in it is bounded.
"""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from maildrops import Maildrop
from scripted import Reply

WAIT_SECONDS = 20.0

Refuse = Callable[[socket.socket], object]
"""Called with the connection of a session that is one too many, before it is closed."""


def saying(line: bytes) -> Refuse:
    """Say *line* in the place of a greeting."""
    return lambda connection: connection.sendall(line + b"\r\n")


def hanging_up(_: socket.socket) -> None:
    """Say nothing."""


def resetting(connection: socket.socket) -> None:
    """Say nothing, and do not even say good-bye."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def at_login(line: bytes) -> Refuse:
    """Greet, and answer the login with *line*."""

    def refuse(connection: socket.socket) -> None:
        connection.sendall(b"+OK ready\r\n")
        with connection.makefile("rb") as commands:
            for command in commands:
                said = command.split()[0].upper()
                reply = {b"CAPA": b"-ERR\r\n", b"USER": b"+OK\r\n"}.get(said, line + b"\r\n")
                connection.sendall(reply)

    return refuse


class LimitedServer:
    """Gives every session the same *messages*, *limit* sessions at once at most; *refuse* is what the others get."""

    def __init__(self, limit: int, refuse: Refuse, *messages: tuple[bytes, bytes]) -> None:
        self.refusals = 0
        self.most_inside = 0
        self._inside = 0
        self._limit = limit
        self._refuse = refuse
        self._messages = messages
        self._lock = threading.Condition()
        self._refused = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host, self.port = self._listener.getsockname()
        self._thread = threading.Thread(target=self._accept, name="LimitedServer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # it wakes accept()
        self._refused.set()
        self._thread.join(WAIT_SECONDS)
        self._listener.close()
        for thread in self._threads:
            thread.join(WAIT_SECONDS)

    def wait_for_room(self) -> None:
        """Return when one more could be inside."""
        with self._lock:
            self._lock.wait_for(lambda: self._inside < self._limit, WAIT_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(WAIT_SECONDS)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            with self._lock:
                has_room = self._inside < self._limit
                self._inside += has_room
                self.refusals += not has_room
                self.most_inside = max(self.most_inside, self._inside)
            if has_room:
                self._play(connection)
            else:
                self._refuse(connection)
                self._refused.set()

    def _play(self, connection: socket.socket) -> None:
        drop = Maildrop(*self._messages)
        left = False
        try:
            connection.sendall(b"+OK ready\r\n")
            with connection.makefile("rb") as commands:
                for line in commands:
                    command = line.rstrip(b"\r\n")
                    if command.startswith(b"RETR"):
                        self._refused.wait(WAIT_SECONDS)
                    reply = drop(command)
                    if command == b"QUIT":
                        # Make room before the client can know that there is room.
                        self._leave()
                        left = True
                    connection.sendall(b"".join(reply.segments) if isinstance(reply, Reply) else reply)
                    if left:
                        return
        finally:
            if not left:
                self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
            self._lock.notify_all()
