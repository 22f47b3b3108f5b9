"""An LMTP server for the tests, which says what it is told to, and keeps what it gets.

Owns no test. It does not behave as real servers do; it can behave in every way that a client has to bear.
"""

import socket
from pathlib import Path
from typing import BinaryIO, NamedTuple

from listening import ListeningServer

CAPABILITIES = b"PIPELINING\n8BITMIME\nSIZE\nSMTPUTF8"


class Got(NamedTuple):
    """A message as it came."""

    mail: bytes
    recipients: list[bytes]
    content: bytes


class LmtpServer(ListeningServer):
    """Listens on a port of the loopback, or on a socket's path. ``. RCPT...`` stands for the content to a recipient."""

    def __init__(self, path: Path | None = None, *, capabilities: bytes = CAPABILITIES) -> None:
        listener = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
        listener.bind(("127.0.0.1", 0) if path is None else str(path))
        listener.listen()
        super().__init__(listener)
        self.got: list[Got] = []
        self.where = str(path) if path is not None else f"127.0.0.1:{listener.getsockname()[1]}"
        self._capabilities = capabilities

    def converse(self, sock: socket.socket, file: BinaryIO) -> None:  # noqa: C901 - a command each
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
