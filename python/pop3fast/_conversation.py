"""The conversation: one command out, its reply in, or many in flight.

Owns which command a reply is for. Must never give a reply to another command: once it cannot be told any more whose it
is the session is broken, nothing more is read from its connection, and every later command says so. Whether it is in
step the `Session` knows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NoReturn, TypeVar, cast

from pop3fast import _protocol_log
from pop3fast._commands import row, verb_of
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError, ConnectionLost, ProtocolError, error_proto
from pop3fast._framing import FramingError
from pop3fast._hooks import (
    PUBLIC,
    ClientSession,
    Hooks,
    LongResponse,
    getresp_is_ours,
    limit_of,
    put_many,
    read_bytes,
    reads_whole_replies,
    session_of,
)
from pop3fast._outgoing import with_command
from pop3fast._pipeline import MAX_UNANSWERED_OCTETS, Batch, Pipeline
from pop3fast._secrets import shown_verb
from pop3fast._session import Session
from pop3fast._stream import ReplyStream, protocol_error

T = TypeVar("T")


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
    turns.take()
    try:
        return _converse(pop, session, line, read)
    finally:
        turns.give_back()


def _converse(pop: Hooks, session: ClientSession, line: str, read: Callable[[], T]) -> T:
    file: object = pop.file
    if file is None or not session.in_step:
        _say_why_not(pop, session)
    pipeline = session.pipeline
    verb = "AUTH" if session.in_sasl else verb_of(line)
    session.begin()
    try:
        if pipeline is not None and pipeline.in_flight:
            _take_replies(pop, pipeline, MAX_UNANSWERED_OCTETS if row(verb).alone else len(line) + 2)
        if type(file) is ReplyStream and (pipeline is None or not pipeline.in_flight) and (octets := file.unexpected()):
            refuse_what_nobody_asked_for(session, octets)
        try:
            pop._putcmd(line)
        except ValueError:  # refused before an octet was sent
            session.settle()
            raise
        if pipeline is not None:
            _take_replies(pop, pipeline, MAX_UNANSWERED_OCTETS)
        value = read()
    except error_proto as error:
        session.end(error, shown_verb(verb))
        raise with_command(error, verb, line) from error.__cause__
    except BaseException as error:
        session.end(error, shown_verb(verb))
        raise
    session.settle()
    return value


@contextmanager
def turn(pop: Hooks) -> Iterator[None]:
    """Let no other thread come between the commands in here."""
    turns = session_of(pop).turns
    turns.take()
    try:
        yield
    finally:
        turns.give_back()


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
    return session.turns.ours and session.in_step and getattr(pop.file, "failed", None) is None


def refuse_what_nobody_asked_for(session: Session, octets: bytes) -> NoReturn:
    """Raise the error for octets that are there already: they would be taken for the next command's reply."""
    raise session.break_(ProtocolError(f"the server sent what nothing had asked for: {octets[:200]!r}"))


def _say_why_not(pop: Hooks, session: Session) -> NoReturn:
    if cast("object", pop.sock) is None:
        raise ProtocolError("the connection is closed")
    raise session.why_not() or ProtocolError("the connection has no file to read from")


def _set_deadline(pop: Hooks, deadline: Deadline | None) -> None:
    session_of(pop).deadline = deadline
    file: object = pop.file
    if isinstance(file, ReplyStream):
        file.deadline = deadline


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
    pipeline = session.pipeline = session.pipeline or Pipeline(stream.framer)
    session.begin()
    try:
        _move(pop, batch, pipeline, stream)
        if _protocol_log.is_on():
            _record_refusals(pop, batch)
    except (error_proto, FramingError, OSError) as error:
        session.break_(error)
        batch.failure = error
        if isinstance(error, FramingError):
            pipeline.fail()
            batch.failure = protocol_error(error)
        elif isinstance(error, ConnectionLost):
            batch.failure = pipeline.hang_up()
        elif isinstance(error, OSError):
            pipeline.hand_over_whole()
        if not batch.arrived:
            raise batch.failure from None
    else:
        session.settle()


def _record_refusals(pop: Hooks, batch: Batch[T]) -> None:
    for outcome in batch.arrived:
        if isinstance(outcome, CommandError):
            _protocol_log.received(pop.host, pop.port, outcome.response, in_sasl=False)


def _move(pop: Hooks, batch: Batch[T], pipeline: Pipeline, stream: ReplyStream) -> None:
    session = session_of(pop)
    limit, max_octets = PUBLIC._MAXLINE, limit_of(pop, session)
    while True:
        while pipeline.take(limit, max_octets):
            pass
        if batch.arrived or batch.ended:
            return
        if not pipeline.in_flight and (octets := stream.unexpected()):
            refuse_what_nobody_asked_for(session, octets)
        if lines := pipeline.fill(batch):
            put_many(pop, lines)
            stream.sent()
        stream.fill()


def _take_replies(pop: Hooks, pipeline: Pipeline, octets: int) -> None:
    """Take replies to commands in flight until a command of so many *octets* has room behind the others."""
    limit, max_octets = PUBLIC._MAXLINE, limit_of(pop, session_of(pop))

    def has_room() -> Literal[True] | None:
        while not pipeline.has_room_for(octets):
            if not pipeline.take(limit, max_octets):
                return None
        return True

    if pipeline.in_flight:
        _stream(pop).wait_for(has_room)


def _stream(pop: Hooks) -> ReplyStream:
    file: object = pop.file
    if not isinstance(file, ReplyStream):
        raise ProtocolError("the file of the connection was replaced while commands were in flight")
    return file
