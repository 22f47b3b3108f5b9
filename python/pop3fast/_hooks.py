"""Hooks: one line out, one reply in; poplib's underscored methods, to be called and to be overridden.

Owns how the octets of a command leave and how those of a reply are taken. Must never read past the end of a reply.
Which command a reply is for, and whether client and server are in step, is `Conversation`'s.

The seam to poplib is ``file``. While it holds a `ReplyStream` and poplib's ``_getline`` is not overridden, whole
replies come from the framer; otherwise they are read line by line through the hooks, as poplib does.
"""

import _socket
import poplib
import re
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn, TypeAlias, TypeGuard, cast

from pop3fast import _protocol_log, _replies
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError, ConnectionLost, LimitExceeded, ProtocolError, error_proto
from pop3fast._framing import status
from pop3fast._secrets import encoded, shown
from pop3fast._stream import NO_LIMIT, ReplyStream
from pop3fast._walk import walk_body

LongResponse: TypeAlias = tuple[bytes, list[bytes], int]
"""Status line, the lines without their line ends, and the octets of those lines with their line ends."""

# The package, whose attributes programs patch as they patch poplib's.
PUBLIC: Any = sys.modules["pop3fast"]

_CONTROL_CHARACTER = re.compile(rb"[\x00-\x1F\x7F]")

# RFC 2449 section 4 allows 255, an OAuth token needs some thousands. A server that is sent more than it reads hangs up
# in the middle of it, and what it had to say is lost.
_MAX_COMMAND_OCTETS = 2**20


class _CommandTooLongError(error_proto, ValueError):
    """A command was refused before an octet of it was sent."""


class Hooks(poplib.POP3):
    """What `Conversation` is built on."""

    encoding = "UTF-8"
    max_octets: int | None = 2**30
    """The largest multi-line response that is accepted, in octets; None for any. 1 GiB is more than mail servers
    accept, and less than what brings a machine down."""

    _debugging: int = 0
    _tls_established: bool = False
    # Why nothing more may be sent or read; None while client and server are in step. (All of these are on the class
    # because a subclass need not call our __init__.)
    _broken: str | None = None
    _in_sasl: bool = False
    # Whether the reply under way has been read to its end, and was -ERR.
    _answered: bool = False
    # What the server said it can do, until something happens that may change it.
    _capabilities: Mapping[str, tuple[str, ...]] | None = None
    _bare_lf: bool | None = None
    # A tighter limit than max_octets for the command that is under way.
    _reply_limit: int | None = None
    # What makes the socket, in the place of ``socket.create_connection``; it is called alike.
    _opener: Callable[[tuple[str, int], float | None], socket.socket] | None = None
    # By when the session, or the call that is under way, has to be over.
    _deadline: Deadline | None = None
    # Whether the command under way is recorded, and so its reply.
    _recorded: bool = False

    # poplib's hooks.

    def _create_socket(self, timeout: float | None) -> socket.socket:
        if timeout is not None and not timeout:
            raise ValueError("Non-blocking socket (timeout=0) is not supported")
        connect: Callable[..., socket.socket] = self._opener or PUBLIC.socket.create_connection
        return connect((self.host, self.port), timeout)

    def _putline(self, line: bytes) -> None:
        if self._debugging > 1:
            print("*put*", repr(shown(line.decode("latin-1"), in_sasl=self._in_sasl).encode("latin-1")))
        sys.audit("poplib.putline", self, line)
        self._send(line + b"\r\n")

    def _putcmd(self, line: str) -> None:
        if self._debugging:
            print("*cmd*", repr(shown(line, in_sasl=self._in_sasl)))
        octets = encoded(line, self.encoding, secret=shown(line, in_sasl=self._in_sasl) != line)
        # What is printable has no control character; asking the string first costs a fifth of the search.
        if not line.isprintable() and _CONTROL_CHARACTER.search(octets):
            raise ValueError("Control characters not allowed in commands")
        if len(octets) > _MAX_COMMAND_OCTETS:
            raise _CommandTooLongError("line too long")
        self._recorded = _protocol_log.is_on()
        if self._recorded:
            _protocol_log.sent(self.host, self.port, line, in_sasl=self._in_sasl)
        self._putline(octets)
        if line[:1] in "Aa" and line[:4].upper() == "AUTH":
            self._in_sasl = True

    def _getline(self) -> tuple[bytes, int]:
        limit: int = PUBLIC._MAXLINE
        line = self.file.readline(limit + 1)
        if len(line) > limit:
            raise self._break(LimitExceeded("line too long"))
        if self._debugging > 1:
            print("*get*", repr(line))
        # Quirk: poplib takes a line that the end of the stream cut off for a whole one.
        if line[-1:] != b"\n":
            raise self._break(ConnectionLost("-ERR EOF"))
        octets = len(line)
        self._bare_lf = line[-2:] != b"\r\n"
        if not self._bare_lf:
            return line[:-2], octets
        return (line[1:-1] if line[:1] == b"\r" else line[:-1]), octets

    def _getresp(self) -> bytes:
        self._answered = False
        file = self.file
        if self._reads_whole_replies(file):
            response = file.status_line(PUBLIC._MAXLINE)
        else:
            self._bare_lf = None
            response, octets = self._getline()
            self._bare_lf = self._ended_in_bare_lf(response, octets)
            if self._debugging > 1:
                print("*resp*", repr(response))
        if self._recorded:
            self._record(response)
        if self._in_sasl and not _replies.is_continuation(response):
            self._in_sasl = False
            self._capabilities = None
        said = status(response)
        if said in {"error", "malformed"}:
            self._refuse(response)
        return response

    def _getlongresp(self) -> LongResponse:
        file = self.file
        if self._reads_whole_replies(file):
            if self._getresp_is_ours():
                response, lines, octets = file.lines_response(PUBLIC._MAXLINE, self._limit())
                if self._recorded:
                    self._record(response)
                return (response, lines, octets) if lines is not None else self._refuse(response)
            return self._getresp_before_body(), *file.lines(self._limit())
        response = self._getresp_before_body()
        after_bare_lf, self._bare_lf = bool(self._bare_lf), None
        return response, *walk_body(
            self._getline,
            after_bare_lf=after_bare_lf,
            in_bare_lf=self._ended_in_bare_lf,
            max_octets=self._limit(),
        )

    # What the hooks are made of.

    def _send(self, octets: bytes) -> None:
        if self._deadline is None:
            self.sock.sendall(octets)
        else:
            with self._deadline.bound(self.sock):
                self.sock.sendall(octets)

    def _over_tls(self, context: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
        """Return *sock* after the handshake, which has the socket's time-out as a whole, and the deadline's."""
        own, deadline = sock.gettimeout(), self._deadline
        try:
            if deadline is not None:
                sock.settimeout(deadline.shorter(own))
            secured = context.wrap_socket(sock, server_hostname=self.host)
        except BaseException as error:
            sock.close()
            if deadline is not None and isinstance(error, TimeoutError):
                deadline.left()
            raise
        if deadline is not None:
            secured.settimeout(own)
        return secured

    def _record(self, response: bytes) -> None:
        _protocol_log.received(self.host, self.port, response, in_sasl=self._in_sasl)

    def _break(self, error: ProtocolError) -> ProtocolError:
        self._broken = str(error)
        return error

    def _refuse(self, response: bytes) -> NoReturn:
        """Raise what a status line means that is not plainly positive."""
        said = status(response)
        if said == "malformed":
            raise self._break(ProtocolError(response))
        self._answered = said == "error"
        if said == "error after ok":
            self._broken = f"the server failed in the middle of its reply: {response!r}"
        raise CommandError(response)

    def _reads_whole_replies(self, file: object) -> TypeGuard[ReplyStream]:
        """Say whether replies may come from the framer: ``_getline`` is ours, and nobody wants to see each line.

        A hook may be a subclass's, or patched on the class or the instance; the function behind it tells them all.
        """
        return (
            type(file) is ReplyStream
            and self._debugging < 2  # noqa: PLR2004 - poplib's level for each line
            and getattr(self._getline, "__func__", None) is _GETLINE
        )

    def _getresp_is_ours(self) -> bool:
        return getattr(self._getresp, "__func__", None) is _GETRESP

    def _reply_file(self) -> BinaryIO:
        """Return what reads the replies that ``sock`` receives; for what is no socket, whatever it makes itself."""
        if _is_socket(self.sock):
            return cast("BinaryIO", ReplyStream.of_socket(self.sock, self._deadline))
        return self.sock.makefile("rb")

    def _getresp_before_body(self) -> bytes:
        self._bare_lf = None
        response = self._getresp()
        if status(response) == "error after ok":
            self._refuse(response)
        return response

    def _ended_in_bare_lf(self, line: bytes, octets: int) -> bool:
        """Say whether *line*, just got from ``_getline``, ended in a bare LF; of an overridden one the octets tell."""
        bare_lf, self._bare_lf = self._bare_lf, None
        return octets - len(line) == 1 if bare_lf is None else bare_lf

    def _limit(self) -> int:
        limit = NO_LIMIT if self.max_octets is None else self.max_octets
        return limit if self._reply_limit is None else min(limit, self._reply_limit)

    def _read_bytes(self) -> bytes:
        """Return the body of a reply in one piece."""
        file = self.file
        if self._reads_whole_replies(file) and self._getresp_is_ours():
            response, body = file.bytes_response(PUBLIC._MAXLINE, self._limit())
            if self._recorded:
                self._record(response)
            return body if body is not None else self._refuse(response)
        return self._stream_of_body().octets(self._limit())

    def _stream_of_body(self) -> ReplyStream:
        """Read the status line, and return the stream of the body behind it, also where ``file`` was replaced."""
        self._getresp_before_body()
        file: object = self.file
        if isinstance(file, ReplyStream):
            return file
        return ReplyStream.of_lines(self.file, after_bare_lf=bool(self._bare_lf))


_GETLINE = Hooks._getline
_GETRESP = Hooks._getresp


def _is_socket(sock: object) -> bool:
    """Tell a socket, or what stands for one under gevent and the like, from what a test puts in its place."""
    current: object = socket.socket
    return isinstance(sock, _socket.socket) or (isinstance(current, type) and isinstance(sock, current))
