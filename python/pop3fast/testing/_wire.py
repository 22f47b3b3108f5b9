"""One connection of the embedded server: how the octets of replies leave, joined, dribbled, cut, or under TLS.

Owns the connected socket from accept to close, and closes it in every case. It knows nothing of POP3: whoever uses it
says what to send and when. It never holds more than 256 KiB of octets that it could have sent.
"""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import suppress
from typing import Literal

# Replies to commands that arrived together are joined up to this size before they are sent: enough that a system
# call no longer counts, little enough that the client reads one batch while the next is made, and a bound on what a
# client that pipelines without end can make the server hold.
_JOINED_OCTETS = 256 * 1024

# One read: about a thousand pipelined RETR commands.
_READ_OCTETS = 16 * 1024


class CutError(Exception):
    """The connection has carried the octets that it may carry: the server ends it, as it was told to."""


class Connection:
    """A connected socket that gathers replies and sends them as the server's settings say."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        cut_at: int | None,
        cut_with: Literal["fin", "rst"],
        octets_per_send: int | None,
    ) -> None:
        """Take over `sock`."""
        self._sock = sock
        self._cut_with = cut_with
        self._left = cut_at
        self._step = octets_per_send
        self._batch: list[bytes] = []
        self._size = 0
        with suppress(OSError):  # it can be gone already
            # Replies are joined here; the kernel's own waiting for more would only add the client's delayed ACK.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def secured(self) -> bool:
        """Whether TLS is on."""
        return isinstance(self._sock, ssl.SSLSocket)

    def secure(self, context: ssl.SSLContext) -> None:
        """Turn TLS on, as the server."""
        # The handshake comes after the assignment, so that abort() reaches the socket that it blocks on.
        self._sock = secured = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        secured.do_handshake()

    def read(self) -> bytes:
        """Wait for octets; none at all are the end of the connection."""
        return self._sock.recv(_READ_OCTETS)

    def put(self, octets: bytes) -> None:
        """Gather octets to send; when that is too much to hold, send it now, large pieces without a copy."""
        self._size += len(octets)
        if self._size <= _JOINED_OCTETS:
            self._batch.append(octets)
        else:
            self.flush()
            self._send(octets)

    def flush(self) -> None:
        """Send what is gathered."""
        if self._batch:
            octets = b"".join(self._batch)
            self._batch.clear()
            self._send(octets)
        self._size = 0

    def _send(self, octets: bytes) -> None:
        if self._left is None and self._step is None:
            self._sock.sendall(octets)
            return
        octets = octets[: self._left]
        step = self._step or max(len(octets), 1)
        for start in range(0, len(octets), step):
            self._sock.sendall(octets[start : start + step])
        if self._left is not None:
            self._left -= len(octets)
            if not self._left:
                raise CutError

    def hang_up(self) -> None:
        """Say the farewell of TLS where it is on, and end the connection so that everything sent arrives."""
        with suppress(OSError):
            if isinstance(self._sock, ssl.SSLSocket):
                self._sock.unwrap()
            self._end_and_drain()

    def cut(self) -> None:
        """End the connection at once, with FIN or RST and without TLS's farewell."""
        with suppress(OSError):
            if self._cut_with == "rst":
                # Linger on, for zero seconds: close() resets the connection.
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self._end_and_drain()

    def _end_and_drain(self) -> None:
        # Until the client closes: a close with unread octets would be a reset, which can destroy what is under way.
        # The plain socket's methods also under TLS, as in abort().
        socket.socket.shutdown(self._sock, socket.SHUT_WR)
        while socket.socket.recv(self._sock, _READ_OCTETS):
            pass

    def abort(self) -> None:
        """End the connection from another thread: whatever blocks in it returns. Harmless when it is closed."""
        with suppress(OSError):
            # TLS's own shutdown() would take its state away under the feet of the thread that uses it.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the socket."""
        self._sock.close()
