"""Hooks: one line out, one reply in; poplib's underscored methods, to be called and to be overridden.

Owns how the octets of a command leave and how those of a reply are taken. Owns the one attribute in which `POP3` keeps
its own state: every other name is poplib's, public, or free for a subclass. Whatever is no hook is a function that is
given the `POP3`. Must never read past the end of a reply. `_conversation` knows which command a reply is for.

The seam to poplib is ``file``. While it holds a `ReplyStream` and poplib's ``_getline`` is not overridden, whole
replies come from the framer; otherwise they are read line by line through the hooks, as poplib does.
"""

import os
import poplib
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any, BinaryIO, NoReturn, Protocol, TypeAlias, TypeGuard, cast

from pop3fast import _protocol_log, _replies
from pop3fast._ahead import ReadAhead, by_environment
from pop3fast._by_lines import body_by_lines
from pop3fast._errors import EOF, CommandError, ConnectionLost, LimitExceeded, ProtocolError
from pop3fast._framing import status
from pop3fast._handshake import wrap_socket
from pop3fast._outgoing import command_octets
from pop3fast._pipeline import Pipeline
from pop3fast._secrets import shown
from pop3fast._session import NO_LIMIT, Session
from pop3fast._stream import ReplyStream

LongResponse: TypeAlias = tuple[bytes, list[bytes], int]
"""Status line, the lines without their line ends, and the octets of those lines with their line ends."""

# The package, whose attributes programs patch as they patch poplib's.
PUBLIC: Any = sys.modules["pop3fast"]


class SupportsClose(Protocol):
    """A file, of which only `close` is needed."""

    def close(self) -> None:
        """Close it."""
        ...


class ClientSession(Session):
    """What `POP3` keeps of its own: the session, and what the blocking client has besides."""

    __slots__ = ("ahead", "bare_lf", "closed", "discarded", "opener", "pipeline", "recorded")

    def __init__(self) -> None:
        """Begin a session of which nothing has been said yet."""
        super().__init__()
        self.pipeline: Pipeline | None = None
        self.ahead: ReadAhead | None = None
        """What is read ahead, once the program wants it."""
        self.opener: Callable[[tuple[str, int], float | None], socket.socket] | None = None
        """What makes the socket, in the place of ``socket.create_connection``; it is called alike."""
        self.closed = False
        """Whether `close` was called, perhaps by another thread while a command was under way."""
        self.discarded: list[tuple[SupportsClose | None, socket.socket | None]] = []
        """File and socket that are to be closed at the end of the turn under way."""
        self.recorded = False
        """Whether the command under way is recorded, and so its reply."""
        self.bare_lf: bool | None = None
        """Whether the line that ``_getline`` gave last ended in a bare LF; None where that hook is somebody else's."""

    @classmethod
    def after(cls, before: "ClientSession | None") -> "ClientSession":
        """Return a new one, for a connection that is made now, with what `connect` put into the one *before*."""
        session = cls()
        if before is not None:
            session.opener, session.deadline = before.opener, before.deadline
        return session


class Hooks(poplib.POP3):
    """What `POP3` is built on: poplib's hooks, but for the two that are a whole command."""

    encoding = "UTF-8"
    """What commands are encoded in, as in poplib."""
    max_octets: int | None = 2**30
    """The largest multi-line response that is accepted, in octets; None for any. 1 GiB is more than mail servers
    accept, and less than what brings a machine down."""
    read_ahead: int = by_environment(os.environ)
    """How many messages are asked for ahead of a program that takes them one behind the other, by ``retr`` or ``top``,
    where the server pipelines; 0 for none. Only what LIST, UIDL or STAT of the session has shown is asked for, and at
    most 2 MiB of it. Every result, exception and event is what it would be without, and comes when the program asks.
    But the server sees RETR for messages that the program may never take, and may count them as read."""

    # poplib's two; on the class too, because a subclass need not call our __init__.
    _debugging: int = 0
    _tls_established: bool = False
    # All that is ours. `session_of` makes it where no __init__ of ours was called.
    _pop3fast: ClientSession | None = None

    def _create_socket(self, timeout: float | None) -> socket.socket:
        if timeout is not None and not timeout:
            raise ValueError("Non-blocking socket (timeout=0) is not supported")
        connect: Callable[..., socket.socket] = session_of(self).opener or PUBLIC.socket.create_connection
        return connect((self.host, self.port), timeout)

    def _putline(self, line: bytes) -> None:
        session = self._pop3fast or session_of(self)
        if self._debugging > 1:
            print("*put*", repr(shown(line.decode("latin-1"), in_sasl=session.in_sasl).encode("latin-1")))
        sys.audit("poplib.putline", self, line)
        if session.deadline is None:
            self.sock.sendall(line + b"\r\n")
        else:
            send(self, line + b"\r\n")

    def _putcmd(self, line: str) -> None:
        session = self._pop3fast or session_of(self)
        if self._debugging:
            print("*cmd*", repr(shown(line, in_sasl=session.in_sasl)))
        octets = command_octets(line, self.encoding, in_sasl=session.in_sasl)
        session.recorded = _protocol_log.is_on()
        if session.recorded:
            _protocol_log.sent(self.host, self.port, line, in_sasl=session.in_sasl)
        self._putline(octets)
        if line[:1] in "Aa" and line[:4].upper() == "AUTH":
            session.in_sasl = True

    def _getline(self) -> tuple[bytes, int]:
        session = session_of(self)
        limit: int = PUBLIC._MAXLINE
        line = self.file.readline(limit + 1)
        if len(line) > limit:
            raise session.break_(LimitExceeded("line too long"))
        if self._debugging > 1:
            print("*get*", repr(line))
        # Quirk: poplib takes a line that the end of the stream cut off for a whole one.
        if line[-1:] != b"\n":
            raise session.break_(ConnectionLost(EOF))
        octets = len(line)
        session.bare_lf = line[-2:] != b"\r\n"
        if not session.bare_lf:
            return line[:-2], octets
        return (line[1:-1] if line[:1] == b"\r" else line[:-1]), octets

    def _getresp(self) -> bytes:
        session = self._pop3fast or session_of(self)
        session.answered = False
        file = self.file
        if reads_whole_replies(file, self):
            response = file.status_line(PUBLIC._MAXLINE)
        else:
            session.bare_lf = None
            response, octets = self._getline()
            session.bare_lf = _ended_in_bare_lf(session, response, octets)
            if self._debugging > 1:
                print("*resp*", repr(response))
        if session.recorded:
            record_reply(self, response)
        if session.in_sasl and not _replies.is_continuation(response):
            session.in_sasl = False
            session.has_logged_in()
        said = status(response)
        if said in {"error", "malformed"}:
            refuse(session, response)
        return response

    def _getlongresp(self) -> LongResponse:
        session = self._pop3fast or session_of(self)
        file = self.file
        if reads_whole_replies(file, self):
            if getresp_is_ours(self):
                response, lines, octets = file.lines_response(PUBLIC._MAXLINE, limit_of(self, session))
                if session.recorded:
                    record_reply(self, response)
                return (response, lines, octets) if lines is not None else refuse(session, response)
            return _getresp_before_body(self, session), *file.lines(limit_of(self, session))
        response = _getresp_before_body(self, session)
        after_bare_lf, session.bare_lf = bool(session.bare_lf), None
        return response, *body_by_lines(
            self._getline,
            after_bare_lf=after_bare_lf,
            in_bare_lf=partial(_ended_in_bare_lf, session),
            max_octets=limit_of(self, session),
        )


def session_of(pop: Hooks) -> ClientSession:
    """Return what *pop* keeps, made at its first use where no ``__init__`` of ours was called."""
    # Of two threads both get the first.
    session: ClientSession = pop._pop3fast or pop.__dict__.setdefault("_pop3fast", ClientSession())
    return session


# Sending.


def send(pop: Hooks, octets: bytes) -> None:
    """Send *octets* within the deadline that holds."""
    deadline = session_of(pop).deadline
    if deadline is None:
        pop.sock.sendall(octets)
    else:
        with deadline.bound(pop.sock):
            pop.sock.sendall(octets)


def put_many(pop: Hooks, lines: list[str]) -> None:
    """Send commands in one write, through the hooks where they are overridden."""
    if not (is_ours(pop._putcmd, _PUTCMD, pop) and is_ours(pop._putline, _PUTLINE, pop)):
        for line in lines:
            pop._putcmd(line)
        return
    encoding = pop.encoding
    octets = [line.encode(encoding) for line in lines]
    recorded = _protocol_log.is_on()
    if recorded or pop._debugging:
        for line, line_octets in zip(lines, octets, strict=True):
            announce(pop, line, line_octets, recorded=recorded)
    else:  # the audit event alone; a call for each command took as long as all the rest of sending it
        for line_octets in octets:
            sys.audit("poplib.putline", pop, line_octets)
    octets.append(b"")
    send(pop, b"\r\n".join(octets))


def put_quietly(pop: Hooks, lines: list[str]) -> None:
    """Send commands in one write, and tell nobody: the program has not given them."""
    send(pop, b"".join([bytes(f"{line}\r\n", pop.encoding) for line in lines]))


def announce(pop: Hooks, line: str, octets: bytes, *, recorded: bool) -> None:
    """Tell whoever watches of a command, which is no part of a login."""
    if pop._debugging:
        print("*cmd*", repr(line))
    if recorded:
        _protocol_log.sent(pop.host, pop.port, line, in_sasl=False)
    sys.audit("poplib.putline", pop, octets)


def over_tls(pop: Hooks, context: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
    """Return *sock* after the handshake, which has the socket's time-out as a whole, and the deadline's."""
    own, deadline = sock.gettimeout(), session_of(pop).deadline
    try:
        if deadline is not None:
            sock.settimeout(deadline.shorter(own))
        secured = wrap_socket(context, sock, pop.host)
    except BaseException as error:
        sock.close()
        if deadline is not None and isinstance(error, TimeoutError):
            deadline.left()
        raise
    if deadline is not None:
        secured.settimeout(own)
    return secured


# Reading.


def reply_file(pop: Hooks) -> BinaryIO:
    """Return what reads the replies that ``sock`` receives; for what is no socket, whatever it makes itself."""
    if _is_socket(pop.sock):
        return cast("BinaryIO", ReplyStream.of_socket(pop.sock, session_of(pop).deadline))
    return pop.sock.makefile("rb")


def read_bytes(pop: Hooks) -> bytes:
    """Return the body of a reply in one piece."""
    return _read_in_one(pop, ReplyStream.bytes_response, ReplyStream.octets)


def read_listing(pop: Hooks) -> bytes:
    """Return the body of the reply to LIST or UIDL, which is smaller than a message may be."""
    return _read_in_one(pop, ReplyStream.listing_response, ReplyStream.listing)


def _read_in_one(
    pop: Hooks,
    response_of: Callable[[ReplyStream, int, int], tuple[bytes, bytes | None]],
    body_of: Callable[[ReplyStream, int], bytes],
) -> bytes:
    session = pop._pop3fast or session_of(pop)
    file = pop.file
    if reads_whole_replies(file, pop) and getresp_is_ours(pop):
        response, body = response_of(file, PUBLIC._MAXLINE, limit_of(pop, session))
        if session.recorded:
            record_reply(pop, response)
        return body if body is not None else refuse(session, response)
    return body_of(stream_of_body(pop), limit_of(pop, session))


def stream_of_body(pop: Hooks) -> ReplyStream:
    """Read the status line, and return the stream of the body behind it, also where ``file`` was replaced."""
    session = session_of(pop)
    _getresp_before_body(pop, session)
    file: object = pop.file
    if isinstance(file, ReplyStream):
        return file
    return ReplyStream.of_lines(pop.file, after_bare_lf=bool(session.bare_lf))


def limit_of(pop: Hooks, session: Session) -> int:
    """Return how many octets the body of the reply under way may have."""
    limit = NO_LIMIT if pop.max_octets is None else pop.max_octets
    return limit if session.reply_limit is None else min(limit, session.reply_limit)


def record_reply(pop: Hooks, response: bytes) -> None:
    """Put a status line into the log."""
    _protocol_log.received(pop.host, pop.port, response, in_sasl=session_of(pop).in_sasl)


def refuse(session: Session, response: bytes) -> NoReturn:
    """Raise what a status line means that is not plainly positive."""
    said = status(response)
    if said == "malformed":
        raise session.break_(ProtocolError(response))
    error = CommandError(response)
    session.answered = said == "error"
    if said == "error after ok":
        session.break_(error, f"the server failed in the middle of its reply: {response!r}")
    raise error


def reads_whole_replies(file: object, pop: Hooks) -> TypeGuard[ReplyStream]:
    """Say whether replies may come from the framer: ``_getline`` is ours, and nobody wants to see each line."""
    return (
        type(file) is ReplyStream
        and pop._debugging < 2  # noqa: PLR2004 - poplib's level for each line
        and is_ours(pop._getline, _GETLINE, pop)
    )


def getresp_is_ours(pop: Hooks) -> bool:
    """Say whether a status line, too, may come from the framer."""
    return is_ours(pop._getresp, _GETRESP, pop)


def is_ours(hook: object, function: object, pop: Hooks) -> bool:
    """Say whether *hook*, as found on *pop*, is our own method and no wrapper around it, however well it pretends.

    A hook may be a subclass's, or patched on the class or the instance; the method that is found tells them all.
    """
    return type(hook) is MethodType and hook.__func__ is function and hook.__self__ is pop


def _getresp_before_body(pop: Hooks, session: ClientSession) -> bytes:
    session.bare_lf = None
    response = pop._getresp()
    if status(response) == "error after ok":
        refuse(session, response)
    return response


def _ended_in_bare_lf(session: ClientSession, line: bytes, octets: int) -> bool:
    """Say whether *line*, just got from ``_getline``, ended in a bare LF; of an overridden one the octets tell."""
    bare_lf, session.bare_lf = session.bare_lf, None
    return octets - len(line) == 1 if bare_lf is None else bare_lf


_GETLINE, _GETRESP, _PUTCMD, _PUTLINE = Hooks._getline, Hooks._getresp, Hooks._putcmd, Hooks._putline


# Whose octets may be received without asking for poplib's file: Python's own sockets, and what stands for them under
# gevent (in two ages of it) and eventlet. By name, because these take each other's places, before or after we are
# imported; a subclass, which may have a makefile of its own, has another.
_SOCKETS = frozenset(
    {
        "socket.socket",
        "ssl.SSLSocket",
        "gevent._socket3.socket",
        "gevent.ssl.SSLSocket",
        "gevent._ssl3.SSLSocket",
        "eventlet.greenio.base.GreenSocket",
        "eventlet.green.ssl.GreenSSLSocket",
    }
)


def _is_socket(sock: object) -> bool:
    """Tell a socket from what is only like one: a mock, however well it pretends, or a subclass."""
    kind = type(sock)
    return f"{kind.__module__}.{kind.__qualname__}" in _SOCKETS
