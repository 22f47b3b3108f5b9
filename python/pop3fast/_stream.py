"""ReplyStream: one socket and one Framer. It is what ``POP3.file`` holds.

The only module of the blocking client that waits for the network. To poplib's idioms it is the binary file that
``sock.makefile("rb")`` would be; to ours it gives whole replies. Both take from the same buffer, so they can be
mixed. Must never know which command a reply is for.
"""

import io
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar, TypeVarTuple

from pop3fast._deadline import Deadline
from pop3fast._errors import EOF, ConnectionLost, ProtocolError, broken_by, protocol_error
from pop3fast._framing import Framer, FramingError
from pop3fast._session import NO_LIMIT
from pop3fast._socket import RECEIVE_SIZE, acknowledgement, arrival, late_clock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# The most that a TLS record holds, and so a read (RFC 8446 section 5.1).
RECORD_OCTETS = 2**14

# That of a TLS socket which may not wait; eventlet's has waited no time then.
_NOTHING_THERE = (ssl.SSLWantReadError, ssl.SSLWantWriteError, TimeoutError)


class LineSource(Protocol):
    """A binary file that is read by lines: ``sock.makefile("rb")``, or what a test puts in its place."""

    def readline(self, limit: int = -1, /) -> bytes:
        """Return a line with its line end, at most *limit* octets of it, and nothing at the end of the file."""
        ...


class ReplyStream(io.BufferedIOBase):
    """The replies of one connection."""

    def __init__(self, receive_into: Callable[[memoryview], int]) -> None:
        """Read with *receive_into*, which waits, and says 0 at the end."""
        super().__init__()
        self.framer = Framer()
        self._receive_into = receive_into
        # One buffer for all reads: making one a read cost more than the read, for the C library gives the memory back.
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))
        self._arrived: Callable[[], object] = _nothing
        self._receive_now: Callable[[memoryview], int | None] = receive_into
        self.failed: str | None = None
        """Why nothing more can be read; None while something can."""
        self._failure: type[ProtocolError] = ProtocolError
        self.deadline: Deadline | None = None
        """By when all waiting has to be over."""
        self.by_hand: Callable[[], None] | None = None
        """Called before anything is taken: a program may do so past the commands, while replies are in flight."""
        self.on_octets: Callable[[memoryview], object] | None = None
        """Shown what has been received, before it is framed."""
        self.late_clock: Callable[[], float] | None = None
        """What tells the time where a server that writes in pieces may wait for our acknowledgement; None elsewhere."""
        self._sock: socket.socket | None = None
        self._send_acknowledgement: Callable[[], object] = _nothing
        # Whether octets have come that nothing sent since has acknowledged.
        self._unacknowledged = True
        # Whether the kernel acknowledges at once what is read, as it does from when it is told until something is sent.
        self._acknowledging = False
        # While it does, a read of so many octets says that the next one hardly waits.
        self._full_read = RECEIVE_SIZE
        # A TLS server sends session tickets after the handshake; its next reply may wait for their acknowledgement.
        self._tickets_may_come = False

    @classmethod
    def of_socket(cls, sock: socket.socket, deadline: Deadline | None = None) -> "ReplyStream":
        """Return the stream of *sock*, which stays its owner's to close."""
        records = Records(sock) if isinstance(sock, ssl.SSLSocket) else None
        stream = cls(sock.recv_into if records is None else records.wait)
        stream._sock = sock
        stream.deadline = deadline
        stream._arrived = arrival(sock)
        stream._send_acknowledgement = acknowledgement(sock)
        stream.late_clock = late_clock(sock)
        if records is not None:
            stream._receive_now = records.now
            # Whoever reads less has mostly found nothing more to read.
            stream._full_read = RECEIVE_SIZE - RECORD_OCTETS + 1
            stream._tickets_may_come = True
        return stream

    @classmethod
    def of_lines(cls, source: LineSource, *, after_bare_lf: bool) -> "ReplyStream":
        """Return a stream for the one body that follows a status line read from *source*.

        It takes whole lines, so that nothing behind the body is taken along.
        """

        def receive_line_into(buffer: memoryview) -> int:
            line = source.readline(len(buffer))
            buffer[: len(line)] = line
            return len(line)

        stream = cls(receive_line_into)
        stream.framer.feed(b"+\n" if after_bare_lf else b"+\r\n")
        stream.status_line(NO_LIMIT)
        return stream

    # Whole replies.

    def status_line(self, limit: int) -> bytes:
        """Return a line without its line end; `LimitExceeded` when it has more than *limit* octets with it."""
        return self.wait_for(self.framer.next_status_line, limit)

    def lines_response(self, limit: int, max_octets: int) -> tuple[bytes, list[bytes] | None, int]:
        """Return a status line, the lines of the body behind it, and its octets; None and 0 where none follows."""
        return self.wait_for(self.framer.next_lines_response, limit, max_octets)

    def bytes_response(self, limit: int, max_octets: int) -> tuple[bytes, bytes | None]:
        """Return a status line and the body behind it in one piece; None where none follows."""
        return self.wait_for(self.framer.next_bytes_response, limit, max_octets)

    def listing_response(self, limit: int, max_octets: int) -> tuple[bytes, bytes | None]:
        """Return what `bytes_response` does of a listing."""
        return self.wait_for(self.framer.next_listing_response, limit, max_octets)

    def lines(self, max_octets: int) -> tuple[list[bytes], int]:
        """Return the lines of a body without their line ends, and the body's octets."""
        return self.wait_for(self.framer.next_lines, max_octets)

    def octets(self, max_octets: int) -> bytes:
        """Return a body in one piece."""
        return self.wait_for(self.framer.next_bytes, max_octets)

    def listing(self, max_octets: int) -> bytes:
        """Return the body of a listing in one piece."""
        return self.wait_for(self.framer.next_listing, max_octets)

    def pieces(self, max_octets: int) -> Iterator[bytes]:
        """Yield a body as it arrives."""
        while piece := self.wait_for(self.framer.next_piece, max_octets):
            yield piece

    def unexpected(self) -> bytes:
        """Return octets that are there although nothing was asked for, without waiting for any.

        To be called before a command is sent that will be alone in flight: it acknowledges all that came before it.
        Raises `ConnectionLost` when the server has hung up.
        """
        if self.failed is not None:
            raise self._failure(self.failed)
        if self.framer.unread():
            return self._take_octets(RECEIVE_SIZE)
        if not self._arrived() or (octets := self._receive_now(self._buffer)) is None:
            self._unacknowledged, self._tickets_may_come = self._tickets_may_come, False
            return b""
        if not octets:
            raise ConnectionLost(EOF)
        return bytes(self._buffer[:octets])

    # The binary file.

    mode = "rb"

    @property
    def name(self) -> int:
        """The descriptor, as for every file that has no name."""
        return self.fileno()

    @property
    def raw(self) -> io.RawIOBase:
        """The connection without the buffer, which is what is read from it past what is here already."""
        return socket.SocketIO(self._socket(), "r")

    def fileno(self) -> int:
        """Return the descriptor. It is readable also when nothing has come of what is buffered here: see `peek`."""
        return self._socket().fileno()

    def peek(self, size: int = 0, /) -> bytes:  # noqa: ARG002 - as for every buffered file, the size is a hint
        """Return what is there without taking it; wait, once, only when nothing is. Empty at the end of the stream."""
        octets = self.read1()
        self.framer.feed(octets)
        return octets

    def _socket(self) -> socket.socket:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if self._sock is None:
            raise io.UnsupportedOperation("there is no socket behind this file")
        return self._sock

    def readable(self) -> bool:
        """Return True."""
        return True

    def readline(self, limit: int | None = -1, /) -> bytes:
        """Return a line with its line end, at most *limit* octets of it; what is left at the end of the stream."""
        if limit is None or limit < 0:
            limit = NO_LIMIT
        try:
            return self.wait_for(self.framer.next_line, limit)
        except ConnectionLost:
            return self._take_octets(limit)

    def read1(self, size: int = -1, /) -> bytes:
        """Return what is there, at most *size* octets; wait only when nothing is."""
        if self.by_hand is not None:
            self.by_hand()
        if not self.framer.unread():
            try:
                self.fill()
            except ConnectionLost:
                return b""
        return self._take_octets(NO_LIMIT if size < 0 else size)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return *size* octets, fewer only at the end of the stream; without a size, all until then."""
        wanted = NO_LIMIT if size is None or size < 0 else size
        pieces = []
        while wanted > 0 and (piece := self.read1(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    # Waiting.

    def wait_for(self, step: Callable[[*Ts], T | None], *limits: *Ts) -> T:
        """Return what *step* gives, as soon as enough has been received that it is not None."""
        if self.by_hand is not None:
            self.by_hand()
        try:
            if (value := step(*limits)) is None:
                self._acknowledging = False  # a command may have been sent
                while value is None:
                    self.fill()
                    value = step(*limits)
        except FramingError as error:
            raise self._fail(error) from None
        return value

    def _take_octets(self, limit: int) -> bytes:
        try:
            return self.framer.next_octets(limit)
        except FramingError as error:
            raise self._fail(error) from None

    def _fail(self, error: FramingError) -> ProtocolError:
        if self.failed is not None:  # then that is why it makes no sense
            return self._failure(self.failed)
        self.failed = str(error)
        return protocol_error(error)

    def fill(self) -> None:
        """Wait for octets. A wait that failed is not tried again: what came of it is not known."""
        if self.failed is not None:
            raise self._failure(self.failed)
        self.failed = "the wait for a reply was broken off"
        if self._unacknowledged:
            self._acknowledge()
        try:
            octets = self._receive_into(self._buffer) if self.deadline is None else self._receive_by(self.deadline)
        except OSError as error:
            self._failure = broken_by(error)
            raise
        self.failed = None
        if not octets:
            raise ConnectionLost(EOF)
        self._unacknowledged = not self._acknowledging or octets < self._full_read
        if self.on_octets is not None:
            self.on_octets(self._buffer[:octets])
        self.framer.feed(self._buffer[:octets])

    def sent(self) -> None:
        """Take note that commands have been sent behind others in flight."""
        self._acknowledging = False

    def _acknowledge(self) -> None:
        self._acknowledging = True
        try:
            self._send_acknowledgement()
        except OSError:  # no TCP after all, or closed meanwhile, which the wait says better
            self._send_acknowledgement = _nothing

    def _receive_by(self, deadline: Deadline) -> int:
        if self._sock is None:  # it is read by lines, from something that has a time-out of its own if it has one
            deadline.left()
            return self._receive_into(self._buffer)
        with deadline.bound(self._sock):
            return self._receive_into(self._buffer)


class Records:
    """Fills a buffer from a TLS socket: with the record that it waits for, and with those that have come behind it.

    A read gives one record at most. What a reply costs besides its octets was spent on each: a fifth of the client's
    time for messages of 50 KB in bulk. Nothing is left waiting inside TLS, because there is room for a whole record.
    """

    def __init__(self, sock: ssl.SSLSocket) -> None:
        """Read from *sock*, which stays its owner's to close."""
        self._sock = sock
        # What stands behind the records that were handed out.
        self._failure: OSError | None = None

    def wait(self, buffer: memoryview) -> int:
        """Return how many octets have been put into *buffer*, 0 at the end. Raises ``OSError``."""
        self._raise_failure()
        sock = self._sock
        # Left to look how large the buffer is, it does so for every record, in Python.
        octets = sock.recv_into(buffer, len(buffer))
        if octets < RECORD_OCTETS:
            return octets
        timeout = sock.gettimeout()
        sock.settimeout(0)
        try:
            more = RECORD_OCTETS
            # Behind a record that is not full there is mostly nothing, and to be told so costs more than a read.
            while more == RECORD_OCTETS and len(buffer) - octets >= RECORD_OCTETS:
                more = sock.recv_into(buffer[octets:], RECORD_OCTETS)
                octets += more
        except _NOTHING_THERE:
            pass
        except OSError as failure:
            self._failure = failure.with_traceback(None)
        finally:
            sock.settimeout(timeout)
        return octets

    def now(self, buffer: memoryview) -> int | None:
        """Receive what has arrived, or return None: in TLS 1.3's session tickets, sent unasked, nothing is for us."""
        self._raise_failure()
        sock = self._sock
        timeout = sock.gettimeout()
        sock.settimeout(0)
        try:
            return sock.recv_into(buffer)
        except _NOTHING_THERE:
            return None
        finally:
            sock.settimeout(timeout)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure


def _nothing() -> None:
    pass
