"""The conversation: one command out, its reply in, or many in flight.

Owns which command a reply is for. Must never give a reply to another command: once it cannot be told any more whose it
is the session is broken, nothing more is read from its connection, and every later command says so. Whether it is in
step the `Session` knows.
"""

import _socket
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar, cast

from pop3fast import _protocol_log
from pop3fast._batch import Batch
from pop3fast._commands import row, verb_of
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError, ConnectionBusy, ConnectionLost, ProtocolError, error_proto, protocol_error
from pop3fast._framing import FramingError
from pop3fast._hooks import (
    PUBLIC,
    ClientSession,
    Hooks,
    LongResponse,
    SupportsClose,
    getresp_is_ours,
    limit_of,
    put_many,
    read_bytes,
    reads_whole_replies,
    session_of,
)
from pop3fast._outgoing import with_command
from pop3fast._pipeline import Pipeline
from pop3fast._replies import counted
from pop3fast._secrets import shown_verb
from pop3fast._session import Session
from pop3fast._stream import ReplyStream

T = TypeVar("T")


_CLOSED = "the connection is closed"
# What comes of a connection that ends, and of file and socket not being there any more.
_SIGNS_OF_CLOSING = (OSError, ConnectionLost, ConnectionBusy, AttributeError, ValueError)


class Conversation(Hooks):
    """poplib's last two hooks: a command and its reply."""

    def _shortcmd(self, line: str) -> bytes:
        return exchange(self, line, self._getresp)

    def _longcmd(self, line: str) -> LongResponse:
        return exchange(self, line, self._getlongresp)


def exchange(pop: Hooks, line: str, read: Callable[[], T]) -> T:
    """Send a command and return what *read* makes of its reply."""
    session = pop._pop3fast or session_of(pop)
    # What `turn` does; on the way of every command, a generator's context manager takes six times as long.
    turns = session.turns
    try:
        turns.take()
    except ConnectionBusy as busy:
        raise _unless_closed(session, busy) from None
    try:
        return _converse(pop, session, line, read)
    finally:
        turns.give_back()
        if session.discarded:
            _close_discarded(session)


def _converse(pop: Hooks, session: ClientSession, line: str, read: Callable[[], T]) -> T:
    file: object = pop.file
    if file is None or not session.in_step:
        _say_why_not(pop, session)
    pipeline = session.pipeline
    verb = "AUTH" if session.in_sasl else verb_of(line)
    session.begin()
    try:
        if pipeline is not None and pipeline.in_flight:
            _make_room(pop, pipeline, None if row(verb).alone else len(line) + len("\r\n"))
        if type(file) is ReplyStream and (pipeline is None or not pipeline.in_flight) and (octets := file.unexpected()):
            refuse_what_nobody_asked_for(session, octets)
        try:
            pop._putcmd(line)
        except ValueError:  # refused before an octet was sent
            session.settle()
            raise
        if pipeline is not None and pipeline.in_flight:
            _take_replies_before(pop, pipeline)
        value = read()
    except BaseException as caught:
        error = _unless_closed(session, caught)
        session.end(error, shown_verb(verb))
        if pipeline is not None and session.why_not() is not None:
            pipeline.break_off(error)
        if isinstance(error, error_proto):
            raise with_command(error, verb, line) from error.__cause__
        raise
    session.settle()
    return value


@contextmanager
def turn(pop: Hooks) -> Iterator[None]:
    """Let no other thread come between the commands in here."""
    session = session_of(pop)
    try:
        session.turns.take()
    except ConnectionBusy as busy:
        raise _unless_closed(session, busy) from None
    try:
        yield
    finally:
        session.turns.give_back()
        if session.discarded:
            _close_discarded(session)


@contextmanager
def within(pop: Hooks, deadline: Deadline | None) -> Iterator[None]:
    """Let all that is sent and received in here be over by *deadline*, and by the session's in any case."""
    if deadline is None:
        yield
        return
    outer = session_of(pop).deadline
    _set_deadline(pop, deadline.nearer(outer))
    try:
        yield
    finally:
        _set_deadline(pop, outer)


def in_step(pop: Hooks) -> bool:
    """Say whether a command could be given: client and server are in step, and the connection is this process's."""
    session = session_of(pop)
    usable = session.in_step and not session.closed and getattr(pop.file, "failed", None) is None
    return session.turns.ours and usable


def pipelining_given_up(pop: Hooks) -> str | None:
    """Say why commands are sent one at a time on this connection, although the server says that it pipelines."""
    pipeline = session_of(pop).pipeline
    return None if pipeline is None else pipeline.given_up


def refuse_what_nobody_asked_for(session: Session, octets: bytes) -> NoReturn:
    """Raise the error for octets that are there already: they would be taken for the next command's reply."""
    raise session.break_(ProtocolError(f"the server sent what nothing had asked for: {counted(octets)}"))


def _say_why_not(pop: Hooks, session: Session) -> NoReturn:
    if cast("object", pop.sock) is None:
        raise ProtocolError(_CLOSED)
    raise session.why_not() or ProtocolError("the connection has no file to read from")


def _set_deadline(pop: Hooks, deadline: Deadline | None) -> None:
    session_of(pop).deadline = deadline
    file: object = pop.file
    if isinstance(file, ReplyStream):
        file.deadline = deadline


# The end.


def close(pop: Hooks) -> None:
    """Close file and socket; a thread that waits for a reply is woken, and closes them at the end of its turn.

    Until then their descriptor is not given back: the next connection of the program would get it, and the thread that
    is still at it would read what comes there.
    """
    session = session_of(pop)
    session.closed = True
    file: SupportsClose | None = getattr(pop, "file", None)
    sock: socket.socket | None = getattr(pop, "sock", None)
    pop.file = None  # type: ignore[assignment]  # as poplib leaves it
    pop.sock = None  # type: ignore[assignment]
    if not session.turns.ours:
        _close(file, sock)
        return
    session.discarded.append((file, sock))
    if not _close_discarded(session) and sock is not None:
        with suppress(OSError):
            _hang_up(sock)


def _close_discarded(session: ClientSession) -> bool:
    """Close what is to be closed, and say so; unless another thread's turn has begun, which does it at its end."""
    try:
        session.turns.take()
    except ConnectionBusy:
        return False
    try:
        while session.discarded:
            file, sock = session.discarded.pop()
            if sock is None:
                _close(file, sock)
                continue
            try:
                with suppress(OSError):  # where the other side has gone already, which is no news
                    sock.shutdown(socket.SHUT_RDWR)
            finally:
                _close(file, sock)
    finally:
        session.turns.give_back()
    return True


def _close(file: SupportsClose | None, sock: socket.socket | None) -> None:
    try:
        if file is not None:
            file.close()
    finally:
        if sock is not None:
            with suppress(OSError):
                sock.close()


def _hang_up(sock: socket.socket) -> None:
    """End what is sent and received on *sock*, which another thread is at."""
    if isinstance(cast("object", sock), _socket.socket):
        # Not TLS's own: it forgets that there was TLS first, and the other thread could still send its command then.
        _socket.socket.shutdown(sock, socket.SHUT_RDWR)
    else:
        sock.shutdown(socket.SHUT_RDWR)


def _unless_closed(session: ClientSession, error: BaseException) -> BaseException:
    """Return *error*, or what it means where `close` was called while its command was under way."""
    if session.closed and isinstance(error, _SIGNS_OF_CLOSING):
        return ProtocolError(_CLOSED)
    return error


# Many messages.


def can_pipeline(pop: Hooks) -> bool:
    """Say whether whole replies are taken from the framer, so that they can be told apart ahead of time."""
    return reads_whole_replies(pop.file, pop) and getresp_is_ours(pop)


def body_of_reply(pop: Conversation, line: str, *, has_body: bool) -> bytes:
    """Send one command and return the body of its reply: nothing for a command that has none."""
    if has_body:
        return exchange(pop, line, lambda: read_bytes(pop))
    pop._shortcmd(line)
    return b""


def check_nothing_is_left_over(pop: Conversation) -> None:
    """Raise the error for octets that have come behind the last reply: whether that was one is not known then."""
    file: object = pop.file
    # That the server has hung up since, the next command finds out.
    with suppress(ConnectionLost):
        if type(file) is ReplyStream and (octets := file.unexpected()):
            refuse_what_nobody_asked_for(session_of(pop), octets)


def await_batch(pop: Hooks, batch: Batch[T]) -> None:
    """Move octets until something has arrived for *batch*, or it has ended; raise why nothing will."""
    if batch.failure is not None:
        raise batch.failure
    with turn(pop):
        _move_until_arrived(pop, session_of(pop), batch)


def _move_until_arrived(pop: Hooks, session: ClientSession, batch: Batch[T]) -> None:
    if cast("object", pop.sock) is None or not session.in_step:
        _say_why_not(pop, session)
    stream = _stream(pop)
    pipeline = session.pipeline = session.pipeline or Pipeline(stream.framer, stream.unexpected)
    session.begin()
    try:
        _move(pop, batch, pipeline, stream)
        if _protocol_log.is_on():
            _record_refusals(pop, batch)
    except BaseException as caught:
        error = protocol_error(caught) if isinstance(caught, FramingError) else _unless_closed(session, caught)
        failure = pipeline.break_off(error)
        if not isinstance(error, error_proto | OSError):
            raise
        session.break_(error)
        batch.failure = failure
        if not batch.arrived:
            raise failure from None
    else:
        session.settle()


def _record_refusals(pop: Hooks, batch: Batch[T]) -> None:
    for outcome in batch.arrived:
        if isinstance(outcome, CommandError):
            _protocol_log.received(pop.host, pop.port, outcome.response, in_sasl=False)


def _move(pop: Hooks, batch: Batch[T], pipeline: Pipeline, stream: ReplyStream) -> None:
    limit, max_octets = PUBLIC._MAXLINE, limit_of(pop, session_of(pop))
    while True:
        if lines := pipeline.step(batch, limit, max_octets):
            put_many(pop, lines)
            stream.sent()
        if batch.arrived or batch.ended:
            return
        stream.fill()


def _make_room(pop: Hooks, pipeline: Pipeline, octets: int | None) -> None:
    """Take replies to commands in flight until one of so many *octets* may be sent; with None, until there are none."""
    limit, max_octets = PUBLIC._MAXLINE, limit_of(pop, session_of(pop))
    _stream(pop).wait_for(lambda: pipeline.make_room(octets, limit, max_octets) or None)


def _take_replies_before(pop: Hooks, pipeline: Pipeline) -> None:
    """Take the replies that come before that to the command just sent."""
    limit, max_octets = PUBLIC._MAXLINE, limit_of(pop, session_of(pop))
    _stream(pop).wait_for(lambda: pipeline.take_before(limit, max_octets) or None)


def _stream(pop: Hooks) -> ReplyStream:
    file: object = pop.file
    if file is None:
        raise ProtocolError(_CLOSED)
    if not isinstance(file, ReplyStream):
        raise ProtocolError("the file of the connection was replaced while commands were in flight")
    return file
