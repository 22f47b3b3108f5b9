"""A server of the tests that listens, talks to each connection in a thread of its own, and says what it is told to.

Owns the connections, and no protocol: a class of its kind says what is talked. Nothing of it is left after its `with`
block, whatever waits in it.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import BinaryIO, Self

Instead = Callable[[bytes], bytes | None]
"""From a command to another reply than the usual one; b"" hangs up."""


class ListeningServer:
    """Remembers what was said to it."""

    def __init__(self, listener: socket.socket) -> None:
        """Take connections from *listener*."""
        self.instead: Instead = lambda _: None
        self.commands: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()
        """Set when the `with` block ends: what `instead` waits for to stall for good."""
        self._listener = listener
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            _end(sock)
        for thread in self._threads:
            thread.join(20)

    def wait(self) -> None:
        """Return when each connection so far has ended."""
        for thread in self._threads[1:]:
            thread.join(20)

    def secured(self, sock: socket.socket) -> socket.socket:
        """Return *sock*, wrapped in what lies between it and the client."""
        return sock

    def converse(self, sock: socket.socket, file: BinaryIO) -> None:
        """Talk over *sock*, from which *file* reads, until one side hangs up."""
        raise NotImplementedError

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._talk, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock = self.secured(plain)
            self._sockets.append(sock)
            try:
                with sock.makefile("rb") as file:
                    self.converse(sock, file)
            finally:
                _end(sock)


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
