"""Conversation: one command out, its reply in.

Owns whether client and server are in step, and which command a reply is for. Must never give a reply to another
command: once it cannot be told any more whose it is the connection is broken, nothing more is read from it, and every
later command says so.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NoReturn, TypeVar, cast

from pop3fast import _protocol_log
from pop3fast._deadline import Deadline
from pop3fast._errors import AuthenticationError, CommandError, ConnectionLost, ProtocolError, error_proto
from pop3fast._framing import FramingError
from pop3fast._hooks import PUBLIC, Hooks, LongResponse
from pop3fast._pipeline import MAX_UNANSWERED_OCTETS, Batch, Pipeline
from pop3fast._stream import ReplyStream, protocol_error
from pop3fast._turns import Turns

T = TypeVar("T")

_UNFINISHED = "the reply to an earlier command was not read to its end"

# A login that is refused with one of these response codes, or none, is refused for what was given as user and secret.
_CREDENTIALS_REFUSED = frozenset({None, "AUTH"})
_LOGIN_COMMANDS = frozenset({"USER", "PASS", "APOP", "RPOP", "AUTH"})
# Nothing is in flight around these: they change who talks to whom, and a server may throw away what comes with them.
_ALONE_IN_FLIGHT = frozenset({"STLS", "QUIT"}) | _LOGIN_COMMANDS
_LONGEST_NUMBER = 20  # digits, of 64 bits
_COMMANDS_ABOUT_A_MESSAGE = frozenset({"LIST", "UIDL", "RETR", "TOP", "DELE"})


class Conversation(Hooks):
    """What `POP3` is built on: poplib's hooks, and commands that get their own replies."""

    _pipeline: Pipeline | None = None
    _turns: Turns | None = None

    # poplib's last two hooks.

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
        # What `_turn` does; on the way of every command, a generator's context manager takes six times as long.
        turns = self._turns or self._first_turns()
        turns.take()
        try:
            return self._converse(line, read)
        finally:
            turns.give_back()

    def _converse(self, line: str, read: Callable[[], T]) -> T:
        file: object = self.file
        if self._broken is not None or file is None:
            self._say_why_not()
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

    def _first_turns(self) -> Turns:
        """Make what a subclass has none of whose ``__init__`` does not call ours. Of two threads both get the first."""
        turns: Turns = self.__dict__.setdefault("_turns", Turns())
        return turns

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let no other thread come between the commands in here."""
        turns = self._turns or self._first_turns()
        turns.take()
        try:
            yield
        finally:
            turns.give_back()

    def _say_why_not(self) -> NoReturn:
        if cast("object", self.sock) is None:
            raise ProtocolError("the connection is closed")
        raise ProtocolError(f"the connection is broken: {self._broken}")

    def _refuse_what_nobody_asked_for(self, octets: bytes) -> NoReturn:
        """Raise the error for octets that are there already: they would be taken for the next command's reply."""
        raise self._break(ProtocolError(f"the server sent what nothing had asked for: {octets[:200]!r}"))

    # Commands in flight.

    def await_batch(self, batch: Batch[T]) -> None:
        """Move octets until something has arrived for *batch*, or it has ended; raise why nothing will."""
        if batch.failure is not None:
            raise batch.failure
        with self._turn():
            self._move_until_arrived(batch)

    def _move_until_arrived(self, batch: Batch[T]) -> None:
        if self._broken is not None or cast("object", self.sock) is None:
            self._say_why_not()
        stream = self._stream()
        pipeline = self._pipeline = self._pipeline or Pipeline(stream.framer)
        self._broken = _UNFINISHED
        try:
            self._move(batch, pipeline, stream)
            if _protocol_log.is_on():
                self._record_refusals(batch)
        except (error_proto, FramingError, OSError) as error:
            self._broken = str(error)
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
            self._broken = None

    def _record_refusals(self, batch: Batch[T]) -> None:
        for outcome in batch.arrived:
            if isinstance(outcome, CommandError):
                _protocol_log.received(self.host, self.port, outcome.response, in_sasl=False)

    def _move(self, batch: Batch[T], pipeline: Pipeline, stream: ReplyStream) -> None:
        limit, max_octets = PUBLIC._MAXLINE, self._limit()
        while True:
            while pipeline.take(limit, max_octets):
                pass
            if batch.arrived or batch.ended:
                return
            if not pipeline.in_flight and (octets := stream.unexpected()):
                self._refuse_what_nobody_asked_for(octets)
            if lines := pipeline.fill(batch):
                self._put_many(lines)
            stream.fill()

    def body_of_reply(self, line: str, *, has_body: bool) -> bytes:
        """Send one command and return the body of its reply: nothing for a command that has none."""
        if has_body:
            return self._exchange(line, self._read_bytes)
        self._shortcmd(line)
        return b""

    @contextmanager
    def within(self, deadline: Deadline | None) -> Iterator[None]:
        """Let all that is sent and received in here be over by *deadline*, and by the session's in any case."""
        if deadline is None:
            yield
            return
        outer = self._deadline
        self._set_deadline(deadline.nearer(outer))
        try:
            yield
        finally:
            self._set_deadline(outer)

    def _set_deadline(self, deadline: Deadline | None) -> None:
        self._deadline = deadline
        file: object = self.file
        if isinstance(file, ReplyStream):
            file.deadline = deadline

    @property
    def in_step(self) -> bool:
        """Whether a command could be given: client and server are in step, and the connection is this process's."""
        ours = self._turns is None or self._turns.ours
        return ours and self._broken is None and getattr(self.file, "failed", None) is None

    def _can_pipeline(self) -> bool:
        """Say whether whole replies are taken from the framer, so that they can be told apart ahead of time."""
        return self._reads_whole_replies(self.file) and self._getresp_is_ours()

    def _take_replies(self, pipeline: Pipeline, octets: int) -> None:
        """Take replies to commands in flight until a command of so many *octets* has room behind the others."""
        limit, max_octets = PUBLIC._MAXLINE, self._limit()

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
        recorded = _protocol_log.is_on()
        for line, line_octets in zip(lines, octets, strict=True):
            if self._debugging:
                print("*cmd*", repr(line))
            if recorded:
                _protocol_log.sent(self.host, self.port, line, in_sasl=False)
            sys.audit("poplib.putline", self, line_octets)
        self._send(b"\r\n".join([*octets, b""]))

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


_PUTCMD = Conversation._putcmd
_PUTLINE = Conversation._putline


def _with_command(error: error_proto, verb: str, line: str) -> error_proto:
    """Return *error* with the command that it is about, of which only the verb and a message number are kept."""
    if isinstance(error, ProtocolError):
        error.during = verb
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
