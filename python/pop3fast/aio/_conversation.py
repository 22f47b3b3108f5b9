"""The conversation on one event loop: commands of many tasks out, each its own reply in.

Owns the order of what is sent, back-pressure, and the time that a wait may take. The pipeline knows
which command a reply is for, `_commands` what may be shown of a command, and the `Session` whether it is in step: none
of that is decided here. Must never leave a task waiting behind a connection that is broken.
"""

import asyncio
import copy
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from threading import get_ident
from typing import Any, TypeVar

from pop3fast import _protocol_log
from pop3fast._commands import row, verb_of
from pop3fast._deadline import Deadline
from pop3fast._errors import EOF, CommandError, ConnectionLost, ProtocolError, error_proto, protocol_error
from pop3fast._framing import FramingError
from pop3fast._outgoing import command_octets
from pop3fast._pipeline import Pipeline
from pop3fast._replies import MAX_CAPABILITIES_OCTETS, parse_capabilities
from pop3fast._session import NO_LIMIT, Session
from pop3fast._tls import handshake_ended_in
from pop3fast._trust import verifies
from pop3fast.aio._answer import Answer
from pop3fast.aio._patience import Patience, bounded
from pop3fast.aio._queue import Exchange, Hold, Queue, Take, fail, lines
from pop3fast.aio._traffic import PUBLIC, Traffic
from pop3fast.aio._wire import Wire

T = TypeVar("T")
Failure = TypeVar("Failure", bound=BaseException)

ENCODING = "UTF-8"

ELSEWHERE = "a session belongs to the event loop, and so to the thread, that connected it"


class Conversation:
    """One connection, from before its greeting on."""

    def __init__(self, pop: Any, host: str, port: int, timeout: float | None, deadline: Deadline | None) -> None:  # noqa: ANN401 - what audit events name
        """Converse for *pop* with *host* and *port*, each wait at most *timeout* seconds and all until *deadline*."""
        self.host: str = host
        self.port: int = port
        self.session: Session = Session()
        self.session.deadline = deadline
        self.wire: Wire = Wire(self._heard, self._lost)
        self.patience: Patience = Patience(timeout, deadline, awaits_octets=self._awaits_octets, give_up=self.break_)
        self.traffic: Traffic = Traffic(
            self.session,
            self.wire,
            Queue(self.record),
            limit=self._limit,
            send=self._send,
            patience=self.patience,
            give_up=self.break_,
        )
        self.closed: bool = False
        self.went_over: bool = False
        """Whether TLS began in the middle, so that what was said before may be somebody else's words."""
        self._context: ssl.SSLContext | None = None
        self._pop = pop
        self._loop = asyncio.get_running_loop()
        # The thread in which the loop ran when that was asked last.
        self._thread = get_ident()
        self._greeting = Answer[bytes](self._loop)
        self._turn = asyncio.Lock()
        # An error that has reached nobody yet.
        self._unheard: BaseException | None = None

    # The connection.

    async def open(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        """Converse over *sock*, which is connected, with TLS from the first octet if there is a *context*."""
        await self.wire.open(sock, context, self.host)
        self._context = context

    async def go_over(self, context: ssl.SSLContext) -> None:
        """Go on over TLS, behind the reply to STLS. What was said before is forgotten."""
        self.check()
        try:
            async with bounded(self.patience.timeout, None):
                await self.wire.go_over(context, self.host)
        except BaseException as error:
            # A deadline ends the handshake by closing the connection; its own error says more than that.
            unheard, self._unheard = self._unheard, None
            if unheard is not None:
                raise unheard from None
            self.broken(error, handshake_ended_in(error))
            raise
        self._context = context
        self.went_over = True
        self.traffic.start_anew()

    @property
    def pipeline(self) -> Pipeline:
        """The commands in flight."""
        return self.traffic.pipeline

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self._context is not None

    @property
    def is_verified(self) -> bool:
        """Whether a secret may be shown to the other side."""
        context = self._context
        if self.session.trusted:
            return True
        return context is not None and verifies(context)

    @property
    def is_alive(self) -> bool:
        """Whether the connection is neither closed nor broken."""
        return not self.closed and not self.session.is_broken

    def end(self) -> None:
        """Close the connection without waiting until it is."""
        if not self.closed:
            self.closed = True
            self._end_all(ProtocolError("the connection is closed"))

    async def close(self) -> None:
        """Close the connection without QUIT. May be called again, by several tasks, at any time."""
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(ELSEWHERE)
        self.end()
        if self.wire.is_connected:
            # Whoever is cancelled in here must not cancel what others wait for.
            await asyncio.shield(self.wire.closed)

    # What a client asks.

    async def greeting(self) -> bytes:
        """Return the greeting line."""
        self.patience.watch()
        return await self._greeting

    def ask(self, verb: str, line: str, take: Take[T]) -> Awaitable[T]:
        """Do what `command` does for a command, of *verb*, beside which others may be in flight.

        Where nothing else is, it is sent before this returns: the pipeline would have nothing to decide.
        """
        traffic, wire = self.traffic, self.wire
        if not (
            traffic.is_free
            and traffic.queue.single is None
            # Before 3.12, asyncio asks the kernel to find out which loop runs: a tenth of what a command costs.
            and self._loop.is_running()
            and get_ident() == self._thread
            and not wire.has_arrived()
        ):
            return self.command(line, take)
        octets = command_octets(line, ENCODING, in_sasl=False)
        sys.audit("poplib.putline", self._pop, octets)
        wire.write(octets + b"\r\n")
        # Before anything else that may raise: its reply is on the way.
        exchange = traffic.queue.single = Exchange(self._loop, line, octets, verb, take)
        self.patience.watch_anew()
        if _protocol_log.is_on():
            exchange.is_recorded = True
            _protocol_log.sent(self.host, self.port, line, in_sasl=False)
        return exchange

    async def command(self, line: str, take: Take[T], *, hold: Hold | None = None, max_octets: int | None = None) -> T:
        """Send a command when it is its turn, and return what *take* makes of its reply.

        Cancelled before it was sent, it never is; later, its reply is thrown away. A login or STLS that is cancelled
        breaks the connection.
        """
        self.check()
        in_sasl = hold is not None and self.session.in_sasl
        octets = command_octets(line, ENCODING, in_sasl=in_sasl)
        verb = "AUTH" if in_sasl else verb_of(line)
        exchange = Exchange(self._loop, line, octets, verb, take)
        exchange.hold, exchange.in_sasl, exchange.max_octets = hold, in_sasl, max_octets
        exchange.alone = hold is not None or row(verb).alone
        self.traffic.give(exchange)
        try:
            return await exchange
        except asyncio.CancelledError:
            self._cancelled(exchange)
            raise
        finally:
            # If it has an error, that refers to this frame.
            del exchange

    async def capabilities(self) -> Mapping[str, tuple[str, ...]]:
        """Return what the server says that it can do, asked once."""
        known = self.session.capabilities
        if known is None:
            try:
                listed = await self.capa()
            except ProtocolError:
                raise
            except error_proto:
                listed = {}
            known = self.traffic.learn(listed)
        return known

    async def capa(self) -> dict[str, list[str]]:
        """Ask the server what it can do; `error_proto` when it does not know the question."""
        try:
            _, said, _ = await self.command("CAPA", lines, max_octets=MAX_CAPABILITIES_OCTETS)
        except ProtocolError:
            raise
        except error_proto as error:
            raise error_proto("-ERR CAPA not supported by server") from error
        return parse_capabilities(said)

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Hold]:
        """Let no other task's command come between those that are given with this."""
        async with self._turn:
            hold = Hold()
            try:
                yield hold
            finally:
                self.traffic.queue.release(hold)
                self.traffic.move_soon()

    @property
    def in_step(self) -> bool:
        """Whether a command could be given."""
        return not self.closed and self.session.in_step and self.traffic.end is None

    def check(self) -> None:
        """Raise the reason when nothing can be asked here and now."""
        try:
            running: object = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self._loop:
            raise RuntimeError(ELSEWHERE)
        self._thread = get_ident()
        if self.traffic.flows:
            return
        if self.closed:
            raise ProtocolError("the connection is closed")
        unheard, self._unheard = self._unheard, None
        if unheard is not None:
            raise unheard
        if (error := self.session.why_not()) is not None:
            raise error

    def broken(self, error: Failure, why: str | None = None) -> Failure:
        """Do what `break_` does for an *error* that is going to be raised, and return it."""
        self.break_(error, why)
        self._unheard = None
        return error

    def break_(self, error: BaseException, why: str | None = None) -> None:
        """Let nothing more be sent or read because of *error*, and everybody who waits hear of it.

        Where nobody does, the next command raises it. *why* is what later ones say, if the error does not say it.
        """
        if self.closed or self.session.is_broken:
            return
        failure = self.pipeline.break_off(protocol_error(error) if isinstance(error, FramingError) else error)
        if isinstance(error, CommandError):  # which says more than that nothing follows it
            failure = error
        self.session.break_(failure, why)
        self._end_all(failure)

    # What traffic asks for.

    def _send(self, said: list[str]) -> None:
        octets = [line.encode(ENCODING) for line in said]
        # An event for each line, and no function of ours for it: that would be a call for each message of a loop.
        for line_octets in octets:
            sys.audit("poplib.putline", self._pop, line_octets)
        if _protocol_log.is_on():
            in_sasl = self.traffic.queue.in_sasl
            for line in said:
                _protocol_log.sent(self.host, self.port, line, in_sasl=in_sasl)
        octets.append(b"")
        self.wire.write(b"\r\n".join(octets))
        self.patience.something_happened()

    def _limit(self) -> int:
        """Return how many octets the body of a reply may have."""
        most: int | None = self._pop.max_octets
        return NO_LIMIT if most is None else most

    def record(self, response: bytes, in_sasl: bool = False) -> None:  # noqa: FBT001, FBT002 - as the queue calls it
        """Put a status line into the log, if somebody reads it."""
        if _protocol_log.is_on():
            _protocol_log.received(self.host, self.port, response, in_sasl=in_sasl)

    # What the wire says.

    def _heard(self) -> None:
        if self._greeting.done():  # whoever waited for it was cancelled
            return
        try:
            line = self.wire.framer.next_status_line(PUBLIC._MAXLINE)
        except FramingError as error:
            self.break_(error)
            return
        if line is None:
            self.patience.something_happened()
            self.wire.acknowledge()
            return
        self.record(line)
        self._greeting.set_result(line)
        self.traffic.begin()
        self.wire.heard = self.traffic.heard
        self.traffic.heard()

    def _lost(self, error: BaseException | None) -> None:
        if not self.is_alive or self.traffic.end is not None:
            return
        self.traffic.end = error if isinstance(error, OSError) else ConnectionLost(EOF)
        if self._greeting.done():
            self.traffic.move()
        else:
            self.break_(self.traffic.end)

    def _awaits_octets(self) -> bool:
        return self.is_alive and (not self._greeting.done() or (self.traffic.awaits and self.traffic.takes))

    # Ends.

    def _end_all(self, failure: BaseException) -> None:
        """Tell everybody who waits *failure*, and let go of the connection."""
        self.patience.end()
        self.wire.end()
        heard = False
        sent, unsent = self.traffic.queue.end()
        # A single command names itself; only with many in flight the error has to say which of them got no reply.
        single = ConnectionLost(EOF) if isinstance(failure, ConnectionLost) else failure
        for exchange in sent:
            heard = fail(exchange, copy.copy(single) if heard else single) or heard
        heard = self.traffic.stop(failure) or heard
        heard = fail(self._greeting, failure) or heard
        for exchange in unsent:
            error = (self.session.why_not() or copy.copy(failure)) if heard else failure
            heard = fail(exchange, error) or heard
        self._unheard = None if heard or self.closed else failure
        # Whoever has been served is forgotten, so that a session that is over is freed at once.
        self._pop = None

    def _cancelled(self, exchange: Exchange[Any]) -> None:
        if self.traffic.queue.leave_out(exchange) or self.closed:
            return
        if row(exchange.verb).logs_in or exchange.verb == "STLS":
            self.broken(ProtocolError(f"{exchange.verb} was cancelled"))
