"""The conversation: one command out, its reply in, or many in flight.

Owns which command a reply is for. Must never give a reply to another command. When nobody can tell any more whose reply
it is, the session is broken: nothing more is read from its connection, and every later command says so. The `Session`
knows whether it is in step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar, TypeVarTuple, cast

from pop3fast import _protocol_log
from pop3fast._ahead import ReadAhead
from pop3fast._batch import Batch
from pop3fast._closing import CLOSED, close_discarded, unless_closed
from pop3fast._commands import row, verb_of
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError, ConnectionBusy, ProtocolError, error_proto, protocol_error, unasked
from pop3fast._framing import FramingError
from pop3fast._hooks import (
    PUBLIC,
    ClientSession,
    Hooks,
    getresp_is_ours,
    limit_of,
    put_many,
    reads_whole_replies,
    session_of,
)
from pop3fast._outgoing import with_command
from pop3fast._pipeline import Pipeline
from pop3fast._secrets import shown_verb
from pop3fast._session import Session
from pop3fast._stream import ReplyStream

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def exchange(
    pop: Hooks,
    line: str,
    read: Callable[[], T],
    how: Callable[[Hooks, ClientSession, str, Callable[[], T]], T] | None = None,
) -> T:
    """Send a command and return what *read* makes of its reply; *how* is `converse`, unless it is given."""
    session = pop._pop3fast or session_of(pop)
    return _in_turn(session, how or converse, pop, session, line, read)


def _in_turn(session: ClientSession, act: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Return what *act* does, with no other thread's command meanwhile.

    As `turn`, but on the way of every command: a generator's context manager takes six times as long.
    """
    turns = session.turns
    try:
        turns.take()
    except ConnectionBusy as busy:
        raise unless_closed(session, busy) from None
    try:
        return act(*arguments)
    finally:
        turns.give_back()
        if session.discarded:
            close_discarded(session)


def converse(
    pop: Hooks,
    session: ClientSession,
    line: str,
    read: Callable[[], T],
    put: Callable[[Hooks, ClientSession, str, str], None] | None = None,
) -> T:
    """Do what `exchange` does, in a turn that has been taken; *put* sends the command, where not the hooks do."""
    file: object = pop.file
    if file is None or not session.in_step:
        _say_why_not(pop, session)
    verb = "AUTH" if session.in_sasl else verb_of(line)
    session.begin()
    try:
        (put or _put)(pop, session, line, verb)
        value = read()
    except BaseException as caught:
        error = unless_closed(session, caught)
        session.end(error, shown_verb(verb))
        if session.pipeline is not None and session.why_not() is not None:
            session.pipeline.break_off(error)
        if isinstance(error, error_proto):
            raise with_command(error, verb, line) from error.__cause__
        raise
    session.settle()
    if pop.read_ahead or session.ahead is not None:
        take_note(session, line, value)
    return value


def _put(pop: Hooks, session: ClientSession, line: str, verb: str) -> None:
    """Send a command, behind others in flight where it may be; of their replies none is left before its own."""
    make_way(pop, session, line, verb)
    try:
        pop._putcmd(line)
    except ValueError:  # refused before an octet was sent
        session.settle()
        raise
    if session.pipeline is not None and session.pipeline.in_flight:
        _take_replies_before(pop, session.pipeline)


def make_way(pop: Hooks, session: ClientSession, line: str, verb: str) -> None:
    """See to it that a command may be sent now."""
    pipeline = session.pipeline
    if session.ahead is not None:
        take_unasked(pop, session, session.ahead)
        session.ahead.before(verb, line)
    if pipeline is not None and pipeline.in_flight:
        _make_room(pop, pipeline, None if row(verb).alone else len(line) + len("\r\n"))
    file: object = pop.file
    if type(file) is ReplyStream and (pipeline is None or not pipeline.in_flight) and (octets := file.unexpected()):
        raise session.break_(unasked(octets))


def take_note(session: ClientSession, line: str, value: object) -> None:
    """Remember what a command brought as far as it is about what to ask for ahead of the program."""
    if session.ahead is None:
        session.ahead = ReadAhead()
    session.ahead.after(line, value)


def take_unasked(pop: Hooks, session: ClientSession, ahead: ReadAhead) -> None:
    """Take the replies to what was asked for ahead of the program, or raise why they do not come.

    Behind them nothing is sent before they are there: that one of them is not what LIST said may mean that another one
    is missing, and what comes behind them would be another command's reply then.
    """
    if ahead.failure is not None:
        raise ahead.failure
    if session.pipeline is not None and ahead.is_in_flight:
        _make_room(pop, session.pipeline, None)


def before_by_hand(pop: Hooks, session: ClientSession, ahead: ReadAhead) -> None:
    """Give a program that reads past the commands what it sent for by hand, behind the replies to what it did not.

    What that may have changed is not known, so nothing that was there before is given to it.
    """
    if not session.in_step or not ahead.is_busy:
        return
    pipeline = pipeline_of(pop, session)
    session.begin()
    try:
        _take_replies_before(pop, pipeline)
    except BaseException as error:
        pipeline.break_off(error)
        session.break_(error)
        raise
    session.settle()
    ahead.forget()


@contextmanager
def turn(pop: Hooks) -> Iterator[None]:
    """Let no other thread give a command while the block runs."""
    session = session_of(pop)
    try:
        session.turns.take()
    except ConnectionBusy as busy:
        raise unless_closed(session, busy) from None
    try:
        yield
    finally:
        session.turns.give_back()
        if session.discarded:
            close_discarded(session)


@contextmanager
def within(pop: Hooks, deadline: Deadline | None) -> Iterator[None]:
    """Let everything that the block sends and receives be over by *deadline*, and by the session's in any case."""
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


def _say_why_not(pop: Hooks, session: Session) -> NoReturn:
    if cast("object", pop.sock) is None:
        raise ProtocolError(CLOSED)
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


def await_batch(pop: Hooks, batch: Batch[T]) -> None:
    """Move octets until something has arrived for *batch*, or it has ended; raise why nothing will."""
    if batch.failure is not None:
        raise batch.failure
    session = pop._pop3fast or session_of(pop)
    _in_turn(session, _move_until_arrived, pop, session, batch)


def _move_until_arrived(pop: Hooks, session: ClientSession, batch: Batch[T]) -> None:
    if cast("object", pop.sock) is None or not session.in_step:
        _say_why_not(pop, session)
    stream = stream_of(pop)
    pipeline = session.pipeline or pipeline_of(pop, session)
    session.begin()
    try:
        if session.ahead is not None:
            take_unasked(pop, session, session.ahead)
            session.ahead.before(batch.verb, "")
        _move(pop, batch, pipeline, stream)
        if _protocol_log.is_on():
            _record_refusals(pop, batch)
    except BaseException as caught:
        error = protocol_error(caught) if isinstance(caught, FramingError) else unless_closed(session, caught)
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
    stream_of(pop).wait_for(lambda: pipeline.make_room(octets, limit, max_octets) or None)


def _take_replies_before(pop: Hooks, pipeline: Pipeline) -> None:
    """Take the replies that come before that to the command just sent."""
    limit, max_octets = PUBLIC._MAXLINE, limit_of(pop, session_of(pop))
    stream_of(pop).wait_for(lambda: pipeline.take_before(limit, max_octets) or None)


def pipeline_of(pop: Hooks, session: ClientSession) -> Pipeline:
    """Return the pipeline of the connection, made at its first use."""
    if session.pipeline is None:
        stream = stream_of(pop)
        session.pipeline = Pipeline(stream.framer, stream.unexpected, stream.late_clock)
    return session.pipeline


def stream_of(pop: Hooks) -> ReplyStream:
    """Return what replies come from; a `ProtocolError` when that was replaced."""
    file: object = pop.file
    if file is None:
        raise ProtocolError(CLOSED)
    if not isinstance(file, ReplyStream):
        raise ProtocolError("the file of the connection was replaced while commands were in flight")
    return file
