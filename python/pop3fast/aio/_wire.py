"""Wire: the octets of one connection on one event loop.

Owns the transport, and the framer that what is received goes into. Tells its owner that octets have come, or that no
more will. Must never decide what they mean.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pop3fast._framing import Framer
from pop3fast._socket import RECEIVE_SIZE, acknowledgement, arrival, can_acknowledge, late_clock


class Wire(asyncio.BufferedProtocol):
    """What asyncio's transport of one connection, or of one layer of TLS on it, hands its octets to."""

    def __init__(self, heard: Callable[[], None], lost: Callable[[BaseException | None], None]) -> None:
        """Call *heard* when octets have come, and *lost* when no more will, with the error if there was one.

        *lost* may be called twice: when the server hangs up, and when the connection is gone.
        """
        self.framer: Framer = Framer()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the transport has let go of the connection."""
        self.heard: Callable[[], object] = heard
        """Called when octets have come."""
        self._lost = lost
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))
        self._transport: asyncio.Transport | None = None
        # The transport closes it. The one that uvloop's gives makes itself anew each time that it is told something.
        self._sock: socket.socket | None = None
        self.has_arrived: Callable[[], object] = _nothing
        """Says whether the kernel has something that was not received yet, which may be that the server hung up."""
        self.late_clock: Callable[[], float] | None = None
        """What tells the time where a server that writes in pieces may wait for our acknowledgement; None elsewhere."""
        self._acknowledge: Callable[[], object] = _nothing
        # Whether the kernel acknowledges at once what is read: it does so from when it is told until something is sent.
        self._acknowledging = False
        self._last_read = 0
        # A TLS server sends session tickets after the handshake; its next reply may wait for their acknowledgement.
        self._tickets_may_come = False
        self.reads: bool = True
        """Whether what comes is received, and not left with the kernel."""

    @property
    def transport(self) -> asyncio.Transport:
        """What sends and receives."""
        assert self._transport is not None  # noqa: S101 - asyncio gives it before anybody has the wire
        return self._transport

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to be closed."""
        return self._transport is not None

    async def open(self, sock: socket.socket, context: ssl.SSLContext | None, hostname: str) -> None:
        """Use *sock*, which is connected, with TLS from the first octet if there is a *context*."""
        loop = asyncio.get_running_loop()
        self._sock = sock
        if context is None:
            await loop.create_connection(lambda: self, sock=sock)
            return
        with _as_ssl_says(), _acknowledging(loop, sock):
            await loop.create_connection(lambda: self, sock=sock, ssl=context, server_hostname=hostname)
        self._begin_tls()

    async def go_over(self, context: ssl.SSLContext, hostname: str) -> None:
        """Go on over TLS."""
        loop = asyncio.get_running_loop()
        self._last_read = 0
        try:
            with _as_ssl_says(), _acknowledging(loop, self.transport.get_extra_info("socket")):
                transport = await loop.start_tls(self.transport, self, context, server_hostname=hostname)
                if transport is None:  # it was closed meanwhile
                    raise ConnectionResetError  # noqa: TRY301 - as asyncio does in other cases
        except BaseException:
            # After a handshake that fails asyncio does not say when the connection is gone: in the loop's next round.
            self.transport.abort()
            loop.call_soon(self._let_go)
            raise
        self._transport = transport
        self._begin_tls()

    def write(self, octets: bytes) -> None:
        """Send *octets*, which are few: what is in flight is bounded elsewhere."""
        if self._transport is not None:
            self._acknowledging = False
            self._transport.write(octets)
            if self._tickets_may_come:
                self.acknowledge()

    def read(self, wanted: bool) -> None:  # noqa: FBT001 - it is what it is about
        """Receive what comes, or leave it with the kernel, so that the server has to wait."""
        transport = self._transport
        if wanted == self.reads or transport is None or transport.is_closing():
            return
        self.reads = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def acknowledge(self) -> None:
        """Let the server know at once what has come: one with Nagle's algorithm on waits for it (quirk q131).

        A read that filled the buffer says that the next one hardly waits, and that is acknowledged by itself.
        """
        if self._acknowledging and self._last_read == RECEIVE_SIZE:
            return
        self._acknowledging = True
        _hint(self._acknowledge)

    def end(self) -> None:
        """Let go of the connection at once; what was not sent yet is not sent, and what comes is nobody's."""
        if self._transport is not None:
            self._transport.abort()
        # Otherwise the buffer of each session that is over would wait for the garbage collector.
        self.heard = self._lost = _nothing
        self.framer = Framer()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the *transport*."""
        self._transport = transport  # type: ignore[assignment]  # a connection's reads and writes
        if self._sock is not None:
            self.has_arrived, self._acknowledge = arrival(self._sock), acknowledgement(self._sock)
            self.late_clock = late_clock(self._sock)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - one buffer for all reads is as large as any
        """Return where the next octets are to go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take *nbytes* octets."""
        self._last_read = nbytes
        self._tickets_may_come = False
        self.framer.feed(self._buffer[:nbytes])
        self.heard()

    def eof_received(self) -> None:
        """Take note that the server has hung up; the transport closes then."""
        self._lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone."""
        self._let_go()
        self._lost(exc)

    def _begin_tls(self) -> None:
        if not self._last_read:  # nothing has come over it yet
            self._tickets_may_come = True
            self.acknowledge()

    def _let_go(self) -> None:
        # Another connection may soon have the descriptor, so it is not asked any more. asyncio's TLS refers to us, and
        # would keep the buffer.
        self.has_arrived = self._acknowledge = _nothing
        self._buffer = memoryview(b"")
        self._transport = self._sock = None
        if not self.closed.done():
            self.closed.set_result(None)


@contextmanager
def _acknowledging(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> Iterator[None]:
    """Acknowledge each piece of a handshake, of which asyncio says nothing before it is over (quirk q131)."""
    if not can_acknowledge(sock):
        yield
        return
    # asyncio lets nobody else look at what one of its transports reads.
    own = os.dup(sock.fileno())
    try:
        loop.add_reader(own, _hint, acknowledgement(sock))
        yield
    finally:
        loop.remove_reader(own)
        os.close(own)


def _hint(acknowledge: Callable[[], object]) -> None:
    with suppress(OSError):  # a connection that has ended may refuse it
        acknowledge()


def _nothing(*_: object) -> None:
    """Do nothing."""


@contextmanager
def _as_ssl_says() -> Iterator[None]:
    """Raise what `ssl` does when the connection ends in a handshake: asyncio raises an error of its own."""
    try:
        yield
    except ConnectionResetError as error:
        if error.args:  # the kernel's
            raise
        raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol") from None
