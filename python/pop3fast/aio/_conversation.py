"""The conversation on one event loop: commands of many tasks out, each its own reply in.

Owns the order of what is sent, back-pressure, and the time that a wait may take. Which command a reply is for the
pipeline knows, what may be shown of a command `_commands`, whether the session is in step the `Session`: none of that
is decided here. Must never leave a task waiting behind a connection that is broken.
"""

import asyncio
import copy
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, TypeVar

from pop3fast import _protocol_log
from pop3fast._batch import DEFAULT_WINDOW
from pop3fast._commands import row, verb_of
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError, ConnectionLost, ProtocolError, error_proto, protocol_error
from pop3fast._framing import FramingError
from pop3fast._outgoing import command_octets, with_command
from pop3fast._pipeline import Pipeline
from pop3fast._replies import counted, parse_capabilities, pipelines
from pop3fast._session import NO_LIMIT, Session
from pop3fast._socket import RECEIVE_SIZE
from pop3fast.aio._arrivals import Arrivals
from pop3fast.aio._patience import Patience
from pop3fast.aio._queue import Exchange, Hold, Queue, Take, fail, lines
from pop3fast.aio._wire import Wire

T = TypeVar("T")
Failure = TypeVar("Failure", bound=BaseException)

ENCODING = "UTF-8"

ELSEWHERE = "a session belongs to the event loop, and so to the thread, that connected it"

# The package, whose attributes programs patch as they patch poplib's.
PUBLIC: Any = sys.modules["pop3fast"]

# RFC 2449 knows some ten capabilities, each a short line. What is longer is no list of capabilities.
_MAX_CAPABILITIES_OCTETS = 64 * 1024


class Conversation:
    """One connection, from before its greeting on."""

    def __init__(self, pop: Any, host: str, port: int, timeout: float | None, deadline: Deadline | None) -> None:  # noqa: ANN401 - what audit events name
        """Converse for *pop* with *host* and *port*, each wait at most *timeout* seconds and all until *deadline*."""
        self.host: str = host
        self.port: int = port
        self.session: Session = Session()
        self.session.deadline = deadline
        self.queue: Queue = Queue(self.record)
        self.wire: Wire = Wire(self._heard, self._lost)
        self.patience: Patience = Patience(timeout, deadline, awaits_octets=self._awaits_octets, give_up=self.break_)
        self.closed: bool = False
        self.went_over: bool = False
        """Whether TLS began in the middle, so that what was said before may be somebody else's words."""
        self._context: ssl.SSLContext | None = None
        self._pop = pop
        self._loop = asyncio.get_running_loop()
        self._greeting: asyncio.Future[bytes] = self._loop.create_future()
        self.pipeline: Pipeline = Pipeline(self.wire.framer)
        self._loops: list[Arrivals[Any]] = []
        self._turn = asyncio.Lock()
        self._pump_is_due = self._has_looked = False
        self._asks_capabilities = False
        # Why no more octets will come, once they will not; and an error that has reached nobody yet.
        self._end: BaseException | None = None
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
            async with asyncio.timeout(self.patience.timeout):
                await self.wire.go_over(context, self.host)
        except BaseException as error:
            # A deadline ends the handshake by way of the connection, and then says more than that this was closed.
            unheard, self._unheard = self._unheard, None
            if unheard is not None:
                raise unheard from None
            self.broken(error)
            raise
        self._context = context
        self.went_over = True
        self.pipeline = Pipeline(self.wire.framer)
        self.forget_capabilities()

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
        return context is not None and context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname

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

    async def command(self, line: str, take: Take[T], *, hold: Hold | None = None, max_octets: int | None = None) -> T:
        """Send a command when it is its turn, and return what *take* makes of its reply.

        Cancelled before it was sent, it never is; later, its reply is thrown away. A login or STLS that is cancelled
        breaks the connection.
        """
        self.check()
        in_sasl = hold is not None and self.session.in_sasl
        octets = command_octets(line, ENCODING, in_sasl=in_sasl)
        exchange = Exchange(line, octets, "AUTH" if in_sasl else verb_of(line), take, in_sasl=in_sasl)
        exchange.hold, exchange.max_octets = hold, max_octets
        self.queue.append(exchange)
        if self.pipeline.in_flight or self.queue.waiting > 1:
            self.pump_soon()
        else:  # nobody is there with whom it could go out
            self.pump()
        try:
            return await exchange.answer
        except asyncio.CancelledError:
            self._cancelled(exchange)
            raise
        except error_proto as error:
            raise with_command(error, exchange.verb, line) from error.__cause__
        finally:
            # Its answer, if it is an error, knows this frame.
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
            known = self._learn(listed)
        return known

    async def capa(self) -> dict[str, list[str]]:
        """Ask the server what it can do; `error_proto` when it does not know the question."""
        try:
            _, said, _ = await self.command("CAPA", lines, max_octets=_MAX_CAPABILITIES_OCTETS)
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
                self.queue.release(hold)
                self.pump_soon()

    def open_loop(self, loop: Arrivals[Any]) -> None:
        """Let *loop* have what comes of its batch from now on."""
        self.check()
        self._loops.append(loop)

    def close_loop(self, loop: Arrivals[Any]) -> None:
        """Let what is still to come of *loop* be thrown away."""
        if loop in self._loops:
            self._loops.remove(loop)
            if not self._loop.is_closed():
                self.pump_soon()

    @property
    def in_step(self) -> bool:
        """Whether a command could be given."""
        return not self.closed and self.session.in_step and self._end is None

    @property
    def limit(self) -> int:
        """How many octets the body of a reply may have."""
        most: int | None = self._pop.max_octets
        return NO_LIMIT if most is None else most

    def check(self) -> None:
        """Raise why nothing can be asked here and now, if nothing can."""
        try:
            running: object = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self._loop:
            raise RuntimeError(ELSEWHERE)
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

    def forget_capabilities(self) -> None:
        """Ask anew what the server can do, when it is of importance: a login or TLS may change it."""
        self.session.capabilities = None
        self.queue.window = 1

    # What is there to be done.

    def pump_soon(self) -> None:
        """Look what can be sent and taken, when all tasks have said what they want."""
        if not self._pump_is_due:
            self._pump_is_due = True
            self._loop.call_soon(self.pump)

    def pump(self) -> None:
        """Take what has come, and send what may be sent now."""
        self._pump_is_due = False
        if self.closed or not self.session.in_step or not self._greeting.done():
            return
        if self._has_to_look():
            return
        # A loop that was left by a break says so in no other way.
        self._loops = [loop for loop in self._loops if not loop.batch.abandoned]
        takes = self._takes
        try:
            if takes:
                self._ask_for_capabilities()
                self._send(self._step())
            if not self.pipeline.in_flight and (octets := self.wire.framer.next_octets(RECEIVE_SIZE)):
                raise ProtocolError(f"the server sent what nothing had asked for: {counted(octets)}")
        except (error_proto, FramingError) as error:
            self.break_(error)
            return
        for loop in self._loops:
            loop.wake()
        if self._end is not None and takes and self._takes:
            self.break_(self._end)
            return
        self.wire.read(self._takes)
        self.patience.watch()

    def _has_to_look(self) -> bool:
        """Return whether something has come that has to be seen before anything is sent, and see to it.

        While nothing is in flight nothing should come, and what does is not to be taken for the reply to the next.
        """
        looked, self._has_looked = self._has_looked, False
        if looked or self.pipeline.in_flight or not (self.queue.waiting or self._loops):
            return False
        if not self.wire.has_arrived():
            return False
        # The loop receives it in its next round, behind what is due there already.
        self._has_looked = self._pump_is_due = True
        self._loop.call_soon(self._loop.call_soon, self.pump)
        return True

    def _step(self) -> list[str]:
        limit, max_octets = PUBLIC._MAXLINE, self.limit
        queue, pipeline = self.queue, self.pipeline
        if self.session.capabilities is not None:
            queue.window = DEFAULT_WINDOW if pipelines(self.session.capabilities) else 1
        alone = queue.wants_silence
        if alone or any(loop.batch.arrived for loop in self._loops):
            # What comes of loops meanwhile is kept for them, within bounds.
            is_silent = pipeline.make_room(None, limit, max_octets)
            if alone and not is_silent:
                return []
        queue.measure()
        said = pipeline.step(queue, limit, max_octets)
        if not alone:
            for loop in self._loops:
                said += pipeline.step(loop.batch, limit, max_octets)
        return said

    @property
    def _takes(self) -> bool:
        """Whether what comes is taken: not while it is all for loops that are busy elsewhere."""
        if self.queue.flying or self.queue.waiting or not self._loops:
            return True
        return any(loop.waits for loop in self._loops)

    def _ask_for_capabilities(self) -> None:
        """Find out whether commands may go out together, when there are several for the first time."""
        queue = self.queue
        if self.session.capabilities is not None or self._asks_capabilities or queue.wants_silence:
            return
        if queue.waiting + queue.flying < 2:  # noqa: PLR2004 - a command given alone is no reason to ask
            return
        self._asks_capabilities = True
        exchange = Exchange("CAPA", b"CAPA", "CAPA", lines)
        exchange.max_octets = _MAX_CAPABILITIES_OCTETS
        exchange.answer.add_done_callback(self._capabilities_came)
        queue.put_first(exchange)

    def _capabilities_came(self, answer: "asyncio.Future[Any]") -> None:
        self._asks_capabilities = False
        if answer.cancelled():
            return
        if answer.exception() is None:
            self._learn(parse_capabilities(answer.result()[1]))
        elif self.session.in_step:
            self._learn({})
        self.pump_soon()

    def _learn(self, listed: dict[str, list[str]]) -> Mapping[str, tuple[str, ...]]:
        known = MappingProxyType({name.upper(): tuple(listed[name]) for name in listed})
        self.session.capabilities = known
        return known

    def _send(self, said: list[str]) -> None:
        if not said:
            return
        recorded = _protocol_log.is_on()
        octets = [line.encode(ENCODING) for line in said]
        for line, line_octets in zip(said, octets, strict=True):
            if recorded:
                _protocol_log.sent(self.host, self.port, line, in_sasl=self.queue.in_sasl)
            sys.audit("poplib.putline", self._pop, line_octets)
        self.wire.write(b"\r\n".join([*octets, b""]))
        self.patience.something_happened()

    def record(self, response: bytes, in_sasl: bool = False) -> None:  # noqa: FBT001, FBT002 - as the queue calls it
        """Put a status line into the log, if somebody reads it."""
        if _protocol_log.is_on():
            _protocol_log.received(self.host, self.port, response, in_sasl=in_sasl)

    # What the wire says.

    def _heard(self) -> None:
        self.patience.something_happened()
        if not self._greeting.done():
            try:
                line = self.wire.framer.next_status_line(PUBLIC._MAXLINE)
            except FramingError as error:
                self.break_(error)
                return
            if line is None:
                return
            self.record(line)
            self._greeting.set_result(line)
        self.pump()
        if self.pipeline.in_flight:
            self.wire.acknowledge()

    def _lost(self, error: BaseException | None) -> None:
        if self.closed or self.session.is_broken or self._end is not None:
            return
        self._end = error if isinstance(error, OSError) else ConnectionLost("-ERR EOF")
        if self._greeting.done():
            self.pump()
        else:
            self.break_(self._end)

    def _awaits_octets(self) -> bool:
        return self.is_alive and (not self._greeting.done() or (self.pipeline.in_flight and self._takes))

    # Ends.

    def _end_all(self, failure: BaseException) -> None:
        """Tell everybody who waits *failure*, and let go of the connection."""
        self.patience.end()
        self.wire.end()
        self.pipeline = Pipeline(self.wire.framer)
        heard = False
        sent, unsent = self.queue.end()
        # A single command names itself; only of many in flight it has to be said which of them got no reply.
        single = ConnectionLost("-ERR EOF") if isinstance(failure, ConnectionLost) else failure
        for exchange in sent:
            heard = fail(exchange.answer, copy.copy(single) if heard else single) or heard
        for loop in self._loops:
            loop.batch.failure = loop.batch.failure or self.session.why_not() or failure
            heard = loop.wake() or heard
        heard = fail(self._greeting, failure) or heard
        for exchange in unsent:
            error = (self.session.why_not() or copy.copy(failure)) if heard else failure
            heard = fail(exchange.answer, error) or heard
        self._unheard = None if heard or self.closed else failure
        # Whoever has been served is forgotten, so that a session that is over is freed at once.
        self._pop = None

    def _cancelled(self, exchange: Exchange[Any]) -> None:
        answer = exchange.answer
        if answer.done() and not answer.cancelled():
            answer.exception()  # or asyncio complains that nobody asked for it
        if self.queue.leave_out(exchange) or self.closed:
            return
        if exchange.hold is not None or row(exchange.verb).logs_in or exchange.verb == "STLS":
            self.broken(ProtocolError(f"{exchange.verb} was cancelled"))
