"""SmallBufferServer: answers what fits into its input buffer, and loses what comes while that is full.

As servers and proxies do that read with one call and were never sent more than a line. It says PIPELINING all the
same. Every message says its own number, so that one under another number is seen. Owns what was lost, and how full the
buffer was, so that a test can tell whether it was about anything.
"""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class SmallBufferServer:
    """Serves *messages* on one connection after the other, with a buffer of *octets* for commands."""

    host = "127.0.0.1"

    def __init__(self, octets: int, messages: int, *, body: bytes = b"") -> None:
        self._octets = octets
        self._contents = {n: b"Subject: %d\r\n\r\n%s\r\n" % (n, body) for n in range(1, messages + 1)}
        self.lost = 0
        """Octets of commands that found the buffer full."""
        self.fullest = 0
        """Octets of commands that were in the buffer at once."""
        self.deleted: list[int] = []

    def content(self, number: int) -> bytes:
        return self._contents[number]

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.host, 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A thread that waits in accept() does not notice that its socket was closed.
        with suppress(OSError), socket.create_connection(self._listener.getsockname()):
            self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with sock, suppress(OSError):
                    self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        sock.sendall(b"+OK ready\r\n")
        unread = b""
        marked: list[int] = []
        while received := sock.recv(2**16):
            buffered = (unread + received)[: self._octets]
            self.lost += len(unread) + len(received) - len(buffered)
            self.fullest = max(self.fullest, len(buffered))
            *lines, unread = buffered.split(b"\r\n")
            unread = b"" if len(unread) == self._octets else unread
            for line in lines:
                sock.sendall(self._answer(line, marked))
                if line == b"QUIT":
                    self.deleted += marked
                    return

    def _answer(self, line: bytes, marked: list[int]) -> bytes:
        verb, _, argument = line.partition(b" ")
        first, *_ = argument.split() or [b""]
        number = int(first) if first.isdigit() else 0
        listing = {
            b"LIST": b"".join(b"%d %d\r\n" % (n, len(content)) for n, content in self._contents.items()),
            b"UIDL": b"".join(b"%d uid-%d\r\n" % (n, n) for n in self._contents),
            b"CAPA": b"TOP\r\nUIDL\r\nUSER\r\nPIPELINING\r\n",
        }
        if verb in listing and not argument:
            return b"+OK\r\n" + listing[verb] + b".\r\n"
        if verb in {b"RETR", b"TOP"} and number in self._contents:
            return b"+OK\r\n" + self._contents[number] + b".\r\n"
        if verb == b"DELE" and number in self._contents:
            marked.append(number)
        return b"+OK %d %d\r\n" % (len(self._contents), sum(map(len, self._contents.values())))
