"""One connection to a server that takes mail: what LMTP and IMAP do alike with a socket.

Owns that whatever happens to it is a `LostError`, and that another thread may close it at any time. Knows no protocol.
"""

import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import BinaryIO

PIECE_OCTETS = 2**16

_LINE_END = re.compile(rb"\r\n|\r|\n")


class LostError(Exception):
    """The connection is of no use any more, for the reason that this says."""


class Connection:
    """A socket, and the file that is read from it. Every method but `close` raises `LostError`."""

    def __init__(self, sock: socket.socket) -> None:
        """Take *sock* over."""
        if sock.family != socket.AF_UNIX:
            # Otherwise what follows a command in flight would wait for a slow acknowledgement of it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._file = sock.makefile("rb")

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Go on over TLS. Raises ``OSError``, too.

        What the server sent unasked before the handshake is thrown away with the file that it lies in.
        """
        self._file.close()
        self._sock = context.wrap_socket(self._sock, server_hostname=host)
        self._file = self._sock.makefile("rb")

    def close(self) -> None:
        """Close it; whoever waits for a reply in another thread waits no longer. Raises nothing."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            # As long as the file is open, the socket is.
            self._file.close()
        self._sock.close()

    def send(self, octets: bytes) -> None:
        """Send *octets*."""
        try:
            self._sock.sendall(octets)
        except OSError as error:
            raise LostError(str(error)) from error

    def line(self, most: int) -> bytes:
        """Return the next line with its end; it may have *most* octets."""
        line = self._read(self._file.readline, most)
        if not line.endswith(b"\n"):
            raise LostError("the server hung up" if len(line) < most else "the server's line is too long")
        return line

    def read(self, octets: int) -> bytes:
        """Return the next *octets*."""
        found = self._read(self._file.read, octets)
        if len(found) < octets:
            raise LostError("the server hung up")
        return found

    def _read(self, read: Callable[[int], bytes], octets: int) -> bytes:
        try:
            return read(octets)
        except (OSError, ValueError) as error:  # a file that another thread has closed
            raise LostError(str(error)) from error


def pieces_with(line_end: bytes, file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of *file* with *line_end* for each CRLF, CR and LF; no piece is empty."""
    kept = b""
    while octets := file.read(PIECE_OCTETS):
        octets, kept = kept + octets, b""
        if octets.endswith(b"\r"):
            octets, kept = octets[:-1], b"\r"
        if octets:
            yield _LINE_END.sub(line_end, octets)
    if kept:
        yield line_end
