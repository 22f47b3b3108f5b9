"""An LMTP server for the tests, which says what it is told to, and keeps what it gets.

Owns no test. Not the real ones' behaviour, but every one that a client has to bear.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

Instead = Callable[[bytes], bytes | None]
"""From a command (``MAIL``, ``RCPT``, ``DATA``, ``.`` and so on, as it was sent) to another reply; b"" hangs up."""


CAPABILITIES = b"PIPELINING\n8BITMIME\nSIZE\nSMTPUTF8"


class Got(NamedTuple):
    """A message as it came."""

    mail: bytes
    recipients: list[bytes]
    content: bytes


class LmtpServer:
    """Listens on a port of the loopback, or on a socket's path."""

    def __init__(self, path: Path | None = None, *, capabilities: bytes = CAPABILITIES) -> None:
        self.instead: Instead = lambda _: None
        self.got: list[Got] = []
        self.commands: list[bytes] = []
        self.connections = 0
        self._capabilities = capabilities
        self._listener = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
        self._listener.bind(("127.0.0.1", 0) if path is None else str(path))
        self._listener.listen()
        self.where = str(path) if path is not None else f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(20)

    def wait(self) -> None:
        """Return when each connection so far has ended."""
        for thread in self._threads[1:]:
            thread.join(20)

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

    def _talk(self, sock: socket.socket) -> None:
        try:
            self._serve(sock)
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _serve(self, sock: socket.socket) -> None:
        with sock.makefile("rb") as file:
            self._converse(sock, file)

    def _converse(self, sock: socket.socket, file: BinaryIO) -> None:  # noqa: C901 - a command each
        sock.sendall(self.instead(b"greeting") or b"220 ready\r\n")
        mail, recipients = b"", list[bytes]()
        while line := file.readline():
            command = line.rstrip(b"\r\n")
            self.commands.append(command)
            verb = command.split(b" ")[0].split(b":")[0].upper()
            reply = self.instead(command)
            if reply == b"":
                return
            match verb:
                case b"LHLO":
                    lines = [b"me", *self._capabilities.split(b"\n")]
                    reply = reply or b"".join(b"250-%s\r\n" % each for each in lines) + b"250 ENHANCEDSTATUSCODES\r\n"
                case b"MAIL":
                    reply = reply or b"250 ok\r\n"
                    mail, recipients = command, []
                case b"RCPT":
                    reply = reply or b"250 ok\r\n"
                    if reply.startswith(b"250"):
                        recipients.append(command)
                case b"DATA" if reply is None:
                    if not recipients:
                        sock.sendall(b"503 no recipients\r\n")
                        continue
                    sock.sendall(b"354 go on\r\n")
                    if not self._take(sock, file, mail, recipients):
                        return
                    continue
                case b"QUIT":
                    sock.sendall(b"221 bye\r\n")
                    return
            sock.sendall(reply or b"250 ok\r\n")

    def _take(self, sock: socket.socket, file: BinaryIO, mail: bytes, recipients: list[bytes]) -> bool:
        lines: list[bytes] = []
        while (line := file.readline()) != b".\r\n":
            if not line:
                return False
            lines.append(line[1:] if line.startswith(b".") else line)
        self.got.append(Got(mail, recipients, b"".join(lines)))
        for recipient in recipients:
            reply = self.instead(b". " + recipient)
            if reply == b"":
                return False
            sock.sendall(reply or b"250 delivered\r\n")
        return True
