"""Conversation: poplib's last two hooks, a command and its reply; and those behind it, read ahead of the program.

Owns when messages are asked for ahead of the program (``POP3.read_ahead``), and that the program cannot notice it:
every result, exception, event and line of output is the same as with one command after the other, and comes when its
command is given. `_ahead` decides what is asked for, the pipeline what may be in flight.
"""

from collections.abc import Callable
from functools import partial
from itertools import repeat

from pop3fast import _protocol_log, _replies
from pop3fast._ahead import AheadBatch, Command, ReadAhead, command_of
from pop3fast._conversation import (
    before_by_hand,
    can_pipeline,
    converse,
    exchange,
    make_way,
    pipeline_of,
    stream_of,
)
from pop3fast._errors import CommandError, error_proto, protocol_error
from pop3fast._framing import FramingError
from pop3fast._hooks import (
    PUBLIC,
    ClientSession,
    Hooks,
    LongResponse,
    announce,
    is_ours,
    limit_of,
    put_quietly,
    record_reply,
    refuse,
)


class Conversation(Hooks):
    """poplib's last two hooks: a command and its reply."""

    def _shortcmd(self, line: str) -> bytes:
        return exchange(self, line, self._getresp)

    def _longcmd(self, line: str) -> LongResponse:
        return exchange(self, line, self._getlongresp, _converse_ahead if self.read_ahead else None)


# Whichever of them is overridden, a program has its own way with commands, and none is given behind its back.
_HOOKS = (
    Hooks._putcmd,
    Hooks._putline,
    Hooks._getlongresp,
    Conversation._shortcmd,
    Conversation._longcmd,
)


def _converse_ahead(pop: Hooks, session: ClientSession, line: str, read: Callable[[], LongResponse]) -> LongResponse:
    """Do as `converse`, but let the messages after this one be on their way already."""
    ahead, command = session.ahead, command_of(line)
    if ahead is None or command is None or not session.in_step or not _hooks_are_ours(pop):
        return converse(pop, session, line, read)
    batch = ahead.find(command) or _begin(pop, session, ahead, command)
    if batch is None:
        return converse(pop, session, line, read)
    batch.window = pop.read_ahead + 1
    return converse(pop, session, line, partial(_take, pop, session, ahead, batch, line), _say_sent)


def _hooks_are_ours(pop: Hooks) -> bool:
    if not isinstance(pop, Conversation) or not can_pipeline(pop):
        return False
    hooks = (pop._putcmd, pop._putline, pop._getlongresp, pop._shortcmd, pop._longcmd)
    return all(map(is_ours, hooks, _HOOKS, repeat(pop)))


def _begin(pop: Hooks, session: ClientSession, ahead: ReadAhead, command: Command) -> AheadBatch | None:
    """Return a run of messages that begins with *command*; None where it is to be sent on its own."""
    if ahead.failure is not None or not ahead.may_begin(command, pop.read_ahead):
        return None
    if session.capabilities is not None:
        ahead.pipelines = _replies.pipelines(session.capabilities)
    elif ahead.pipelines is None:
        # Nor is it remembered for the program: its own CAPA is an event of its own.
        ahead.pipelines = _replies.pipelines(_ask_what_it_can_do(pop, session))
    if not ahead.pipelines or pipeline_of(pop, session).given_up:
        return None
    from weakref import ref  # noqa: PLC0415 - takes long, and few programs ask ahead

    stream_of(pop).by_hand = partial(_before_by_hand, ref(pop))
    return ahead.begin(command, pop.read_ahead)


def _before_by_hand(known: Callable[[], Hooks | None]) -> None:
    """See to it that a program which reads by hand is given what it sent for."""
    # Its file must not keep a session that the program has dropped, or the connection stays open.
    pop = known()
    session = None if pop is None else pop._pop3fast
    if pop is not None and session is not None and session.ahead is not None:
        before_by_hand(pop, session, session.ahead)


def _ask_what_it_can_do(pop: Hooks, session: ClientSession) -> dict[str, list[str]]:
    """Send CAPA, of which the program hears nothing, and return what the server says; nothing where it has none."""

    def read() -> list[bytes]:
        response, lines, _ = stream_of(pop).lines_response(PUBLIC._MAXLINE, _replies.MAX_CAPABILITIES_OCTETS)
        return refuse(session, response) if lines is None else lines

    try:
        return _replies.parse_capabilities(converse(pop, session, "CAPA", read, _put_quietly))
    except CommandError:
        return {}


def _put_quietly(pop: Hooks, session: ClientSession, line: str, verb: str) -> None:
    make_way(pop, session, line, verb)
    put_quietly(pop, [line])


def _say_sent(pop: Hooks, session: ClientSession, line: str, _: str) -> None:
    """Tell of a command now that the program has given it, whether it was sent before or is about to be."""
    session.recorded = _protocol_log.is_on()
    announce(pop, line, bytes(line, pop.encoding), recorded=session.recorded)


def _take(pop: Hooks, session: ClientSession, ahead: ReadAhead, batch: AheadBatch, line: str) -> LongResponse:
    """Return the reply to *line*; send what the program will ask for next, if it goes on as before."""
    if ahead.failure is None and not batch.abandoned:
        try:
            _move(pop, session, batch)
        except (error_proto, OSError, FramingError) as caught:
            error = protocol_error(caught) if isinstance(caught, FramingError) else caught
            pipeline_of(pop, session).break_off(error)
            # What came whole before is the program's; what happened then, it hears when it asks for what did not come.
            ahead.failure = error
    if batch.arrived:
        return _told(pop, session, batch.take())
    if batch.unclear is not None:
        refuse(session, batch.unclear)
    if ahead.failure is not None:
        raise ahead.failure
    # It was thrown away, because whose it is could not be told.
    ahead.leave_all()
    _put_quietly(pop, session, line, batch.verb)
    reply = Hooks._getlongresp(pop)
    pipeline_of(pop, session).doubted.weigh_alone(batch.wanted, batch.wrong_size(reply[2]))
    return reply


def _told(pop: Hooks, session: ClientSession, outcome: LongResponse | CommandError) -> LongResponse:
    response = outcome.response if isinstance(outcome, CommandError) else outcome[0]
    if session.recorded:
        record_reply(pop, response)
    return refuse(session, response) if isinstance(outcome, CommandError) else outcome


def _move(pop: Hooks, session: ClientSession, batch: AheadBatch) -> None:
    """Send what may be sent, and move octets until the message that the program asked for is there."""
    stream, pipeline = stream_of(pop), pipeline_of(pop, session)
    limit, max_octets = PUBLIC._MAXLINE, limit_of(pop, session)
    while True:
        if lines := pipeline.step(batch, limit, max_octets):
            put_quietly(pop, lines)
            stream.sent()
        if batch.arrived or batch.abandoned or pipeline.given_up:
            return
        stream.fill()
