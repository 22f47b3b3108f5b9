"""ReplyStream: one socket and one Framer. It is what ``POP3.file`` holds.

The only module of the blocking client that waits for the network. To poplib's idioms it is the binary file that
``sock.makefile("rb")`` would be; to ours it gives whole replies. Both take from the same buffer, so they can be
mixed. Must never know which command a reply is for.
"""

import io
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from pop3fast._errors import ConnectionLost, LimitExceeded, ProtocolError
from pop3fast._framing import Framer, FramingError, FramingLimitError

T = TypeVar("T")

# From 64 KiB up the size made no difference on loopback; four times that is what one read finds
# there at most while the other side writes.
RECEIVE_SIZE = 256 * 1024

# As much as the framer can count.
NO_LIMIT = 2**63 - 1


class LineSource(Protocol):
    """A binary file that is read by lines: ``sock.makefile("rb")``, or what a test puts in its place."""

    def readline(self, limit: int = -1, /) -> bytes:
        """Return a line with its line end, at most *limit* octets of it, and nothing at the end of the file."""
        ...


class ReplyStream(io.BufferedIOBase):
    """The replies of one connection."""

    def __init__(
        self,
        receive: Callable[[int], bytes],
        receive_now: Callable[[], bytes | None] | None = None,
    ) -> None:
        """Read from *receive*, which waits; *receive_now* does not, and gives None where nothing is there."""
        super().__init__()
        self._framer = Framer()
        self._receive = receive
        self._receive_now = receive_now
        self._failed: str | None = None

    @classmethod
    def of_socket(cls, sock: socket.socket) -> "ReplyStream":
        """Return the stream of *sock*, which stays its owner's to close."""
        return cls(sock.recv, _without_waiting(sock))

    @classmethod
    def of_lines(cls, source: LineSource, *, after_bare_lf: bool) -> "ReplyStream":
        """Return a stream for the one body that follows a status line read from *source*.

        It takes whole lines, so that nothing behind the body is taken along.
        """
        stream = cls(source.readline)
        stream._framer.feed(b"+\n" if after_bare_lf else b"+\r\n")
        stream.status_line(NO_LIMIT)
        return stream

    # Whole replies.

    def status_line(self, limit: int) -> bytes:
        """Return a line without its line end; `LimitExceeded` when it has more than *limit* octets with it."""
        return self._next(self._framer.next_status_line, limit)

    def lines(self, max_octets: int) -> tuple[list[bytes], int]:
        """Return the lines of a body without their line ends, and the body's octets."""
        return self._next(self._framer.next_lines, max_octets)

    def octets(self, max_octets: int) -> bytes:
        """Return a body in one piece."""
        return self._next(self._framer.next_bytes, max_octets)

    def pieces(self, max_octets: int) -> Iterator[bytes]:
        """Yield a body as it arrives."""
        while piece := self._next(self._framer.next_piece, max_octets):
            yield piece

    def sizes(self, max_octets: int) -> dict[int, int]:
        """Return a scan listing: message number to octets."""
        return self._next(self._framer.next_sizes, max_octets)

    def unique_ids(self, max_octets: int) -> dict[int, str]:
        """Return a unique-id listing: message number to unique-id."""
        return self._next(self._framer.next_unique_ids, max_octets)

    def unexpected(self) -> bytes:
        """Return octets that are there although nothing was asked for, without waiting for any.

        Raises `ConnectionLost` when the server has hung up.
        """
        if not self._framer.unread():
            if self._receive_now is None or (octets := self._receive_now()) is None:
                return b""
            self._feed(octets)
        return self._framer.next_octets(RECEIVE_SIZE)

    # The binary file.

    def readable(self) -> bool:
        """Return True."""
        return True

    def readline(self, limit: int | None = -1, /) -> bytes:
        """Return a line with its line end, at most *limit* octets of it; what is left at the end of the stream."""
        if limit is None or limit < 0:
            limit = NO_LIMIT
        try:
            return self._next(self._framer.next_line, limit)
        except ConnectionLost:
            return self._framer.next_octets(limit)

    def read1(self, size: int = -1, /) -> bytes:
        """Return what is there, at most *size* octets; wait only when nothing is."""
        if not self._framer.unread():
            try:
                self._fill()
            except ConnectionLost:
                return b""
        return self._framer.next_octets(NO_LIMIT if size < 0 else size)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return *size* octets, fewer only at the end of the stream; without a size, all until then."""
        wanted = NO_LIMIT if size is None or size < 0 else size
        pieces = []
        while wanted > 0 and (piece := self.read1(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    # Waiting.

    def _next(self, step: Callable[[int], T | None], limit: int) -> T:
        try:
            while (value := step(limit)) is None:
                self._fill()
        except FramingLimitError as error:
            raise LimitExceeded(str(error)) from None
        except FramingError as error:
            raise ProtocolError(str(error)) from None
        return value

    def _fill(self) -> None:
        """Wait for octets. A wait that failed is not tried again: what came of it is not known."""
        if self._failed is not None:
            raise ProtocolError(self._failed)
        self._failed = "the wait for a reply was broken off"
        octets = self._receive(RECEIVE_SIZE)
        self._failed = None
        self._feed(octets)

    def _feed(self, octets: bytes) -> None:
        if not octets:
            # poplib's own words, which programs compare with.
            raise ConnectionLost("-ERR EOF")
        self._framer.feed(octets)


def _without_waiting(sock: socket.socket) -> Callable[[], bytes | None]:
    """Return a function that reads what has arrived on *sock*: None for nothing, ``b""`` for the end of the stream."""
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sock, select.POLLIN)

        def arrived() -> bool:
            return bool(poller.poll(0))

    else:

        def arrived() -> bool:
            return bool(select.select([sock], [], [], 0)[0])

    def receive() -> bytes | None:
        return sock.recv(RECEIVE_SIZE) if arrived() else None

    if not isinstance(sock, ssl.SSLSocket):
        return receive

    def receive_decrypted() -> bytes | None:
        if not (sock.pending() or arrived()):
            return None
        # What arrived may hold nothing for us: TLS 1.3 sends session tickets unasked.
        timeout = sock.gettimeout()
        sock.settimeout(0)
        try:
            return sock.recv(RECEIVE_SIZE)
        except ssl.SSLWantReadError:
            return None
        finally:
            sock.settimeout(timeout)

    return receive_decrypted
