"""An IMAP server for the tests, which says what it is told to, and keeps what is appended.

Owns no test. It knows what a client that appends says, and no more.
"""

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable
from typing import BinaryIO, NamedTuple, Self

Instead = Callable[[bytes], bytes | None]
"""From a command without its tag (and ``.`` for an APPEND that came whole) to another answer; b"" hangs up."""

CAPABILITIES = b"IMAP4rev1 LITERAL+ UIDPLUS SASL-IR AUTH=PLAIN AUTH=XOAUTH2"


class Kept(NamedTuple):
    """A message as it was appended."""

    head: bytes
    content: bytes


class ImapServer:
    """Listens on a port of the loopback, with TLS at once."""

    def __init__(self, context: ssl.SSLContext, *, capabilities: bytes = CAPABILITIES) -> None:
        self.instead: Instead = lambda _: None
        self.kept: list[Kept] = []
        self.commands: list[bytes] = []
        self.connections = 0
        self._capabilities = capabilities
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            _end(sock)
        for thread in self._threads:
            thread.join(20)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._talk, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock = self._context.wrap_socket(plain, server_side=True)
            self._sockets.append(sock)
            try:
                with sock.makefile("rwb", buffering=0) as file:
                    self._converse(file)  # type: ignore[arg-type]
            finally:
                _end(sock)

    def _converse(self, file: BinaryIO) -> None:
        greeting = self.instead(b"greeting")
        if greeting == b"":
            return
        file.write(b"* OK ready\r\n" if greeting is None else greeting)
        while line := file.readline():
            tag, _, command = line.rstrip(b"\r\n").partition(b" ")
            self.commands.append(command)
            answer = self.instead(command)
            if answer is None and command.startswith(b"APPEND"):
                answer = self._append(file, command)
            elif answer is None:
                answer = self._usual(command)
            if answer == b"":
                return
            file.write(answer.replace(b"TAG", tag))

    def _append(self, file: BinaryIO, command: bytes) -> bytes:
        found = re.fullmatch(rb"APPEND (.*) \{(\d+)(\+?)\}", command)
        assert found is not None
        if not found[3]:
            file.write(b"+ go on\r\n")
        left, content = int(found[2]) + 2, b""
        while left > len(content):
            piece = file.read(left - len(content))
            if not piece:
                return b""
            content += piece
        self.kept.append(Kept(found[1], content[:-2]))
        answer = self.instead(b".")
        return b"TAG OK [APPENDUID 7 %d] done\r\n" % len(self.kept) if answer is None else answer

    def _usual(self, command: bytes) -> bytes:
        if command == b"CAPABILITY":
            return b"* CAPABILITY %s\r\nTAG OK done\r\n" % self._capabilities
        if command == b"LOGOUT":
            return b"* BYE bye\r\nTAG OK done\r\n"
        if command.startswith(b"UID SEARCH"):
            found = re.search(rb'Message-ID "([^"]*)"', command)
            wanted = b"" if found is None else found[1]
            uids = [b"%d" % uid for uid, kept in enumerate(self.kept, 1) if wanted in kept.content]
            return b"* SEARCH %s\r\nTAG OK done\r\n" % b" ".join(uids)
        if command.startswith(b"UID FETCH"):
            header = self.kept[int(command.split()[2]) - 1].content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            return b"* 1 FETCH (UID 1 BODY[HEADER] {%d}\r\n%s)\r\nTAG OK done\r\n" % (len(header), header)
        return b"TAG OK done\r\n"


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
