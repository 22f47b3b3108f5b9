"""Conversation: one command out, its reply in; the hooks through which poplib does that, and the seam they make.

Owns whether client and server are in step, and which command a reply is for. Must never read past the end of a
reply, or give a reply to another command: once that cannot be told any more the connection is broken, nothing
more is read from it, and every later command says so.

The seam to poplib is ``file``. While it holds a `ReplyStream` and poplib's ``_getline`` is not overridden, whole
replies come from the framer; otherwise they are read line by line through the hooks, as poplib does.
"""

import _socket
import poplib
import re
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Literal, NoReturn, TypeAlias, TypeGuard, TypeVar, cast

from pop3fast import _replies
from pop3fast._errors import (
    AuthenticationError,
    CommandError,
    ConnectionLost,
    LimitExceeded,
    ProtocolError,
    error_proto,
)
from pop3fast._framing import FramingError, status
from pop3fast._pipeline import MAX_UNANSWERED_OCTETS, Batch, Pipeline
from pop3fast._secrets import encoded, shown
from pop3fast._stream import NO_LIMIT, ReplyStream, protocol_error
from pop3fast._walk import walk_body

T = TypeVar("T")

LongResponse: TypeAlias = tuple[bytes, list[bytes], int]
"""Status line, the lines without their line ends, and the octets of those lines with their line ends."""

# The package, whose attributes programs patch as they patch poplib's.
_PUBLIC: Any = sys.modules["pop3fast"]

_CONTROL_CHARACTER = re.compile(rb"[\x00-\x1F\x7F]")

# RFC 2449 section 4 allows 255, an OAuth token needs some thousands. A server that is sent more than it reads hangs up
# in the middle of it, and what it had to say is lost.
_MAX_COMMAND_OCTETS = 2**20

_UNFINISHED = "the reply to an earlier command was not read to its end"

# A login that is refused with one of these response codes, or none, is refused for what was given as user and secret.
_CREDENTIALS_REFUSED = frozenset({None, "AUTH"})
_LOGIN_COMMANDS = frozenset({"PASS", "APOP", "RPOP"})
# Nothing is in flight around these: they change who talks to whom, and a server may throw away what comes with them.
_ALONE_IN_FLIGHT = frozenset({"STLS", "AUTH", "USER", "QUIT"}) | _LOGIN_COMMANDS
_LONGEST_NUMBER = 20  # digits, of 64 bits
_COMMANDS_ABOUT_A_MESSAGE = frozenset({"LIST", "UIDL", "RETR", "TOP", "DELE"})


class _CommandTooLongError(error_proto, ValueError):
    """A command was refused before an octet of it was sent."""


class Conversation(poplib.POP3):
    """What `POP3` is built on: poplib's hooks, to be called and to be overridden."""

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
    _pipeline: Pipeline | None = None
    # A tighter limit than max_octets for the command that is under way.
    _reply_limit: int | None = None

    # poplib's hooks.

    def _create_socket(self, timeout: float | None) -> socket.socket:
        if timeout is not None and not timeout:
            raise ValueError("Non-blocking socket (timeout=0) is not supported")
        connect: Callable[..., socket.socket] = _PUBLIC.socket.create_connection
        return connect((self.host, self.port), timeout)

    def _putline(self, line: bytes) -> None:
        if self._debugging > 1:
            print("*put*", repr(shown(line.decode("latin-1"), in_sasl=self._in_sasl).encode("latin-1")))
        sys.audit("poplib.putline", self, line)
        self.sock.sendall(line + b"\r\n")

    def _putcmd(self, line: str) -> None:
        if self._debugging:
            print("*cmd*", repr(shown(line, in_sasl=self._in_sasl)))
        octets = encoded(line, self.encoding, secret=shown(line, in_sasl=self._in_sasl) != line)
        # What is printable has no control character; asking the string first costs a fifth of the search.
        if not line.isprintable() and _CONTROL_CHARACTER.search(octets):
            raise ValueError("Control characters not allowed in commands")
        if len(octets) > _MAX_COMMAND_OCTETS:
            raise _CommandTooLongError("line too long")
        self._putline(octets)
        if line[:1] in "Aa" and line[:4].upper() == "AUTH":
            self._in_sasl = True

    def _getline(self) -> tuple[bytes, int]:
        limit: int = _PUBLIC._MAXLINE
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
            response = file.status_line(_PUBLIC._MAXLINE)
        else:
            self._bare_lf = None
            response, octets = self._getline()
            self._bare_lf = self._ended_in_bare_lf(response, octets)
            if self._debugging > 1:
                print("*resp*", repr(response))
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
                response, lines, octets = file.lines_response(_PUBLIC._MAXLINE, self._limit())
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

    def _shortcmd(self, line: str) -> bytes:
        return self._exchange(line, self._getresp)

    def _longcmd(self, line: str) -> LongResponse:
        return self._exchange(line, self._getlongresp)

    # What the hooks are made of.

    def _exchange(self, line: str, read: Callable[[], T]) -> T:
        """Send a command and return what *read* makes of its reply.

        The connection counts as broken from before the first octet until the reply has been read to its end, so that no
        way out but the good ones, an interrupt included, leaves it in use out of step.
        """
        self._check_in_step()
        file: object = self.file
        pipeline = self._pipeline
        self._broken = _UNFINISHED
        self._answered = False
        verb = "AUTH" if self._in_sasl else line.split(" ", 1)[0].upper()
        try:
            if pipeline is not None and pipeline.in_flight:
                alone = verb in _ALONE_IN_FLIGHT
                self._take_replies(pipeline, MAX_UNANSWERED_OCTETS if alone else len(line) + 2)
            if (
                type(file) is ReplyStream
                and (pipeline is None or not pipeline.in_flight)
                and (octets := file.unexpected())
            ):
                self._refuse_what_nobody_asked_for(octets)
            try:
                self._putcmd(line)
            except ValueError:  # refused before an octet was sent
                self._broken = None
                raise
            if pipeline is not None:
                self._take_replies(pipeline, MAX_UNANSWERED_OCTETS)
            value = read()
        except error_proto as error:
            self._settle(error)
            raise _with_command(error, verb, line) from error.__cause__
        except BaseException as error:
            if self._broken is _UNFINISHED:
                # A hook may have made an exception of its own of the server's -ERR.
                self._broken = None if self._answered else f"{verb} ended in {type(error).__name__}"
            raise
        self._broken = None
        return value

    def _check_in_step(self) -> None:
        if cast("object", self.sock) is None:
            raise ProtocolError("the connection is closed")
        if self._broken is not None:
            raise ProtocolError(f"the connection is broken: {self._broken}")

    def _refuse_what_nobody_asked_for(self, octets: bytes) -> NoReturn:
        """Raise the error for octets that are there already: they would be taken for the next command's reply."""
        raise self._break(ProtocolError(f"the server sent what nothing had asked for: {octets[:200]!r}"))

    # Commands in flight.

    def await_batch(self, batch: Batch[T]) -> None:
        """Move octets until something has arrived for *batch*, or it has ended; raise why nothing will."""
        if batch.failure is not None:
            raise batch.failure
        self._check_in_step()
        stream = self._stream()
        pipeline = self._pipeline = self._pipeline or Pipeline(stream.framer)
        self._broken = _UNFINISHED
        try:
            self._move(batch, pipeline, stream)
        except (error_proto, FramingError, OSError) as error:
            self._broken = str(error)
            batch.failure = error
            if isinstance(error, FramingError):
                pipeline.fail()
                batch.failure = protocol_error(error)
            elif isinstance(error, ConnectionLost):
                batch.failure = pipeline.hang_up()
            if not batch.arrived:
                raise batch.failure from None
        else:
            self._broken = None

    def _move(self, batch: Batch[T], pipeline: Pipeline, stream: ReplyStream) -> None:
        limit, max_octets = _PUBLIC._MAXLINE, self._limit()
        while True:
            while pipeline.take(limit, max_octets):
                pass
            if batch.arrived or batch.ended:
                return
            if lines := pipeline.fill(batch):
                self._put_many(lines)
            stream.fill()

    def body_of_reply(self, line: str, *, has_body: bool) -> bytes:
        """Send one command and return the body of its reply: nothing for a command that has none."""
        if has_body:
            return self._exchange(line, self._read_bytes)
        self._shortcmd(line)
        return b""

    @property
    def in_step(self) -> bool:
        """Whether client and server are in step; when not, the connection is broken."""
        return self._broken is None and getattr(self.file, "failed", None) is None

    def _can_pipeline(self) -> bool:
        """Say whether whole replies are taken from the framer, so that they can be told apart ahead of time."""
        return self._reads_whole_replies(self.file) and self._getresp_is_ours()

    def _take_replies(self, pipeline: Pipeline, octets: int) -> None:
        """Take replies to commands in flight until a command of so many *octets* has room behind the others."""
        limit, max_octets = _PUBLIC._MAXLINE, self._limit()

        def has_room() -> Literal[True] | None:
            while not pipeline.has_room_for(octets):
                if not pipeline.take(limit, max_octets):
                    return None
            return True

        if pipeline.in_flight:
            self._stream().wait_for(has_room)

    def _put_many(self, lines: list[str]) -> None:
        """Send commands in one write, through the hooks where they are overridden."""
        for hook, ours in ((self._putcmd, _PUTCMD), (self._putline, _PUTLINE)):
            if getattr(hook, "__func__", None) is not ours:
                for line in lines:
                    self._putcmd(line)
                return
        octets = [bytes(line, self.encoding) for line in lines]
        for line, line_octets in zip(lines, octets, strict=True):
            if self._debugging:
                print("*cmd*", repr(line))
            sys.audit("poplib.putline", self, line_octets)
        self.sock.sendall(b"\r\n".join([*octets, b""]))

    def _stream(self) -> ReplyStream:
        file: object = self.file
        if not isinstance(file, ReplyStream):
            raise ProtocolError("the file of the connection was replaced while commands were in flight")
        return file

    def _settle(self, error: error_proto) -> None:
        """Decide what *error* means for the connection, unless that was said where it arose."""
        if self._broken is not _UNFINISHED:
            return
        # A hook that was overridden in poplib's manner raises a plain error_proto of the response for -ERR.
        refused = isinstance(error, CommandError) or (
            not isinstance(error, ProtocolError) and isinstance(next(iter(error.args), None), bytes)
        )
        self._broken = None if refused else str(error)

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
            return cast("BinaryIO", ReplyStream.of_socket(self.sock))
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
            response, body = file.bytes_response(_PUBLIC._MAXLINE, self._limit())
            return body if body is not None else self._refuse(response)
        return self._stream_of_body().octets(self._limit())

    def _stream_of_body(self) -> ReplyStream:
        """Read the status line, and return the stream of the body behind it, also where ``file`` was replaced."""
        self._getresp_before_body()
        file: object = self.file
        if isinstance(file, ReplyStream):
            return file
        return ReplyStream.of_lines(self.file, after_bare_lf=bool(self._bare_lf))


_GETLINE = Conversation._getline
_GETRESP = Conversation._getresp
_PUTCMD = Conversation._putcmd
_PUTLINE = Conversation._putline


def _is_socket(sock: object) -> bool:
    """Tell a socket, or what stands for one under gevent and the like, from what a test puts in its place."""
    current: object = socket.socket
    return isinstance(sock, _socket.socket) or (isinstance(current, type) and isinstance(sock, current))


def _with_command(error: error_proto, verb: str, line: str) -> error_proto:
    """Return *error* with the command that it is about, of which only the verb and a message number are kept."""
    if not isinstance(error, CommandError):
        return error
    if verb in _LOGIN_COMMANDS and error.code in _CREDENTIALS_REFUSED:
        return AuthenticationError(error.response, verb)
    error.command = verb
    if (
        verb in _COMMANDS_ABOUT_A_MESSAGE
        and (argument := line.split(" ")[1:2])
        and argument[0].isdecimal()
        and len(argument[0]) <= _LONGEST_NUMBER
    ):
        error.number = int(argument[0])
    return error
