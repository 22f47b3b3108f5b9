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
from collections.abc import Callable
from types import ModuleType
from typing import BinaryIO, TypeAlias, TypeVar, cast

from pop3fast import _replies
from pop3fast._errors import (
    AuthenticationError,
    CommandError,
    ConnectionLost,
    LimitExceeded,
    ProtocolError,
    error_proto,
)
from pop3fast._secrets import encoded, shown
from pop3fast._stream import NO_LIMIT, ReplyStream
from pop3fast._walk import walk_body

LongResponse: TypeAlias = tuple[bytes, list[bytes], int]
"""Status line, the lines without their line ends, and the octets of those lines with their line ends."""

T = TypeVar("T")

_CONTROL_CHARACTER = re.compile(rb"[\x00-\x1F\x7F]")

_UNFINISHED = "the reply to an earlier command was not read to its end"

# A login that is refused with one of these response codes, or none, is refused for what was given as user and secret.
_CREDENTIALS_REFUSED = frozenset({None, "AUTH"})
_LOGIN_COMMANDS = frozenset({"PASS", "APOP", "RPOP"})
_COMMANDS_ABOUT_A_MESSAGE = frozenset({"LIST", "UIDL", "RETR", "TOP", "DELE"})


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
    _bare_lf: bool | None = None
    # A tighter limit than max_octets for the command that is under way.
    _reply_limit: int | None = None

    def _create_socket(self, timeout: float | None) -> socket.socket:
        if timeout is not None and not timeout:
            message = "Non-blocking socket (timeout=0) is not supported"
            raise ValueError(message)
        connect = cast("Callable[..., socket.socket]", _public().socket.create_connection)
        return connect((self.host, self.port), timeout)

    def _putline(self, line: bytes) -> None:
        if self._debugging > 1:
            print("*put*", repr(shown(line.decode("latin-1"), in_sasl=self._in_sasl).encode("latin-1")))
        sys.audit("poplib.putline", self, line)
        self.sock.sendall(line + b"\r\n")

    def _putcmd(self, line: str) -> None:
        if self._debugging:
            print("*cmd*", repr(shown(line, in_sasl=self._in_sasl)))
        octets = encoded(line, self.encoding, in_sasl=self._in_sasl)
        # What is printable has no control character; asking the string first costs a fifth of the search.
        if not line.isprintable() and _CONTROL_CHARACTER.search(octets):
            message = "Control characters not allowed in commands"
            raise ValueError(message)
        self._putline(octets)
        if line[:4].upper() == "AUTH":
            self._in_sasl = True

    def _getline(self) -> tuple[bytes, int]:
        limit = _maxline()
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
        if self._reads_whole_replies():
            response = self._stream().status_line(_maxline())
        else:
            self._bare_lf = None
            response, octets = self._getline()
            self._bare_lf = self._ended_in_bare_lf(response, octets)
            if self._debugging > 1:
                print("*resp*", repr(response))
        if self._in_sasl and not _replies.is_continuation(response):
            self._in_sasl = False
        if not _replies.is_status_line(response):
            raise self._break(ProtocolError(response))
        if not _replies.is_positive(response):
            raise CommandError(response)
        return response

    def _getlongresp(self) -> LongResponse:
        response = self._getresp_before_body()
        if self._reads_whole_replies():
            return response, *self._stream().lines(self._limit())
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
        if cast("object", self.sock) is None:
            message = "the connection is closed"
            raise ProtocolError(message)
        if self._broken is not None:
            message = f"the connection is broken: {self._broken}"
            raise ProtocolError(message)
        self._broken = _UNFINISHED
        try:
            self._check_nothing_is_left_over()
            try:
                self._putcmd(line)
            except ValueError:  # refused before an octet was sent
                self._broken = None
                raise
            value = read()
        except error_proto as error:
            self._settle(error)
            raise _with_command(error, line) from error.__cause__
        except BaseException as error:
            if self._broken is _UNFINISHED:
                self._broken = f"{line.split(' ', 1)[0]} ended in {type(error).__name__}"
            raise
        self._broken = None
        return value

    def _check_nothing_is_left_over(self) -> None:
        """Raise `ProtocolError` when octets are there already: they would be taken for the next command's reply."""
        if isinstance(self.file, ReplyStream) and (octets := self.file.unexpected()):
            message = f"the server sent what nothing had asked for: {octets[:200]!r}"
            raise self._break(ProtocolError(message))

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

    def _reads_whole_replies(self) -> bool:
        """Say whether replies may come from the framer: ``_getline`` is ours, and nobody wants to see each line."""
        return (
            isinstance(self.file, ReplyStream)
            and self._debugging < 2  # noqa: PLR2004 - poplib's level for each line
            and getattr(self._getline, "__func__", None) is _GETLINE
        )

    def _stream(self) -> ReplyStream:
        """Return the stream of whole replies, also where ``file`` was replaced."""
        if isinstance(self.file, ReplyStream):
            return self.file
        return ReplyStream.of_lines(self.file, after_bare_lf=bool(self._bare_lf))

    def _reply_file(self) -> BinaryIO:
        """Return what reads the replies that ``sock`` receives; for what is no socket, whatever it makes itself."""
        if _is_socket(self.sock):
            return cast("BinaryIO", ReplyStream.of_socket(self.sock))
        return self.sock.makefile("rb")

    def _getresp_before_body(self) -> bytes:
        self._bare_lf = None
        response = self._getresp()
        if _replies.is_error_after_ok(response):
            # Whether a body follows is anybody's guess.
            self._broken = f"the server failed in the middle of its reply: {response!r}"
            raise CommandError(response)
        return response

    def _ended_in_bare_lf(self, line: bytes, octets: int) -> bool:
        """Say whether *line*, just got from ``_getline``, ended in a bare LF; of an overridden one the octets tell."""
        bare_lf, self._bare_lf = self._bare_lf, None
        return octets - len(line) == 1 if bare_lf is None else bare_lf

    def _limit(self) -> int:
        if self._reply_limit is not None:
            return self._reply_limit
        return NO_LIMIT if self.max_octets is None else self.max_octets

    def _read_body(self, read: Callable[[ReplyStream, int], T]) -> T:
        self._getresp_before_body()
        return read(self._stream(), self._limit())


_GETLINE = Conversation._getline  # noqa: SLF001 - to tell it from an overridden one


def _public() -> ModuleType:
    """Return the package, whose attributes programs patch as they patch poplib's."""
    return sys.modules["pop3fast"]


def _maxline() -> int:
    return cast("int", _public()._MAXLINE)  # noqa: SLF001 - poplib's name


def _is_socket(sock: object) -> bool:
    """Tell a socket, or what stands for one under gevent and the like, from what a test puts in its place."""
    current: object = socket.socket
    return isinstance(sock, _socket.socket) or (isinstance(current, type) and isinstance(sock, current))


def _with_command(error: error_proto, line: str) -> error_proto:
    """Return *error* with the command that it is about, of which only the verb and a message number are kept."""
    if not isinstance(error, CommandError):
        return error
    verb, *arguments = line.split(" ")
    verb = verb.upper()
    if verb in _LOGIN_COMMANDS and error.code in _CREDENTIALS_REFUSED:
        return AuthenticationError(error.response, verb)
    error.command = verb
    if verb in _COMMANDS_ABOUT_A_MESSAGE and arguments and arguments[0].isdecimal():
        error.number = int(arguments[0])
    return error
