"""The asyncio client beside the blocking one: one by one, many in one loop, and over a line with a round trip of 40 ms.

The floor is a bare protocol on asyncio's own event loop, which sends a command, throws its reply away and wakes whoever
waits for it. Another one does the least that a client has to: it frames the reply, and has a time-out; in one loop it
has many commands in flight, and gives each message to whoever asks for the next. A call retrieves a whole mailbox, for
beginning to run an event loop costs as much as a message.
"""

import asyncio
import importlib
import importlib.util
import poplib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Self, TypeVar, overload

import pytest

from benches.cores import ANYWHERE, ONE_CORE, TWO_CORES, Cores, on_core
from benches.delay import delayed
from benches.interleave import BASELINE, MARKS, Benchmark, Column, Contestant, Pace, interleave
from benches.mail import attachment
from benches.sessions import CRLF, END, pop3fast_session, poplib_session
from pop3fast import POP3, Message, aio
from pop3fast._batch import DEFAULT_WINDOW, REFILL_FRACTION
from pop3fast._framing import Framer
from pop3fast._socket import arrival
from pop3fast.testing import MailboxServer

pytestmark = MARKS

TABLE = "On an event loop"
FAR_TABLE = "4 KB messages on an event loop, 40 ms of round trip"
BLOCKING = "pop3fast"
OURS = "pop3fast.aio"
UVLOOP = "pop3fast.aio on uvloop"
FLOOR = "bare protocol on asyncio"
FRAMED = "bare protocol that frames, with a time-out"
GATHERED = "pop3fast.aio, 500 at once by `gather()`"

LIMIT = 2**30
TIMEOUT = 60.0

ROUND_TRIP = 0.04
FAR_MESSAGES = 500
# One by one each takes a round trip: more of them say nothing more.
FAR_ONE_BY_ONE = 25


@dataclass(frozen=True)
class Mailbox:
    title: str
    octets: int
    messages: int
    many: bool = False
    tls: bool = False
    cores: Cores = ANYWHERE


# Left to the kernel, a session is of either kind, and a ratio says which ones they were; see `benches.cores`.
ONE_CORE_4_KB = Mailbox("4 KB, one by one, one core", 4_000, 100, cores=ONE_CORE)
TWO_CORES_4_KB = Mailbox("4 KB, one by one, two cores", 4_000, 100, cores=TWO_CORES)
MANY_4_KB = Mailbox("4 KB, `retr_many()`", 4_000, 1_000, many=True)
ONE_BY_ONE_50_KB = Mailbox("50 KB, one by one", 50_000, 40)
ONE_BY_ONE_5_MB = Mailbox("5 MB, one by one", 5_000_000, 2)
TLS_50_KB = Mailbox("50 KB, one by one, TLS", 50_000, 40, tls=True)
MAILBOXES = [ONE_CORE_4_KB, TWO_CORES_4_KB, MANY_4_KB, ONE_BY_ONE_50_KB, ONE_BY_ONE_5_MB, TLS_50_KB]


class Bare(asyncio.BufferedProtocol):
    """One command at a time, and its reply thrown away."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(256 * 1024))
        self._end = CRLF
        self._last = b""
        self._loop = asyncio.get_running_loop()
        self._reply: asyncio.Future[None] = self._loop.create_future()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - one for all reads
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._last = (self._last + self._buffer[max(0, nbytes - len(END)) : nbytes])[-len(END) :]
        if self._last.endswith(self._end):
            self._reply.set_result(None)

    async def close(self) -> None:
        self._transport.abort()
        await asyncio.sleep(0)

    async def reply(self, command: bytes, end: bytes = END) -> None:
        """Send *command* and wait for the end of its reply; without one, for the greeting."""
        if command:
            self._reply = self._loop.create_future()
            self._last, self._end = b"", end
            self._transport.write(command)
        await self._reply


class Framed(Bare):
    """The least that gives whole messages: octets framed, no wait without end, nothing taken that was not asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._framer = Framer()
        self._arrived: Callable[[], object] = bool

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._arrived = arrival(transport.get_extra_info("socket"))
        self._timer = self._loop.call_later(TIMEOUT, transport.abort)  # type: ignore[attr-defined]

    def buffer_updated(self, nbytes: int) -> None:
        self._framer.feed(self._buffer[:nbytes])
        if self._end == CRLF:
            came = self._framer.next_status_line(LIMIT) is not None
        else:
            came = self._framer.next_bytes_response(LIMIT, LIMIT) is not None
        if came:
            self._reply.set_result(None)

    async def reply(self, command: bytes, end: bytes = END) -> None:
        if command and self._arrived():
            raise RuntimeError("the benchmark's server said what nothing had asked for")
        await super().reply(command, end)

    async def close(self) -> None:
        self._timer.cancel()
        await super().close()


class FramedMany(Framed):
    """The same for many messages in one loop. What comes is not compared with what LIST said, nor kept for a while."""

    def buffer_updated(self, nbytes: int) -> None:
        if self._end == CRLF:
            super().buffer_updated(nbytes)
            return
        self._framer.feed(self._buffer[:nbytes])
        if not self._reply.done():
            self._reply.set_result(None)

    async def messages(self, numbers: Sequence[int]) -> AsyncIterator[Message]:
        """Give the messages *numbers* in their order, with as many commands in flight as the client has."""
        self._end = END
        sent = answered = 0
        while answered < len(numbers):
            room = DEFAULT_WINDOW - (sent - answered)
            if room >= DEFAULT_WINDOW // REFILL_FRACTION and sent < len(numbers):
                commands = numbers[sent : sent + room]
                self._transport.write(b"".join([b"RETR %d\r\n" % number for number in commands]))
                sent += len(commands)
            bodies, refused = self._framer.next_bodies(LIMIT, LIMIT, sent - answered)
            if refused is not None:
                raise RuntimeError(refused)
            if not bodies:
                self._reply = self._loop.create_future()
                await self._reply
            for body in bodies:
                yield Message(numbers[answered], body)
                answered += 1


Floor = TypeVar("Floor", bound=Bare)


class Loops:
    """Event loops that run for a call, and stand still while the others have their turn."""

    def __init__(self, server: MailboxServer, port: int | None = None, *, tls: bool = False) -> None:
        self._server = server
        self._url = f"{'pop3s' if tls else 'pop3+plain'}://{server.host}:{port or server.port}"
        self._context = server.client_context if tls else None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def runner(self, factory: Callable[[], Any] | None = None) -> asyncio.Runner:
        """Return a new one."""
        return self._stack.enter_context(asyncio.Runner(loop_factory=factory))

    def session(self, runner: asyncio.Runner) -> aio.POP3:
        """Log in on *runner*; log out at the end."""

        async def connected() -> aio.POP3:
            server = self._server
            return await aio.connect(self._url, user=server.user, password=server.password, context=self._context)

        pop = runner.run(connected())
        self._stack.callback(lambda: runner.run(pop.quit()))
        return pop

    @overload
    def bare(self, runner: asyncio.Runner) -> Bare: ...
    @overload
    def bare(self, runner: asyncio.Runner, kind: type[Floor]) -> Floor: ...
    def bare(self, runner: asyncio.Runner, kind: type[Bare] = Bare) -> Bare:
        """Log in on *runner* without a client; hang up at the end."""

        async def connected() -> Bare:
            server, loop = self._server, asyncio.get_running_loop()
            _, protocol = await loop.create_connection(kind, server.host, server.port, ssl=self._context)
            await protocol.reply(b"")
            for command in (f"USER {server.user}\r\n", f"PASS {server.password}\r\n"):
                await protocol.reply(command.encode(), CRLF)
            return protocol

        floor = runner.run(connected())
        self._stack.callback(lambda: runner.run(floor.close()))
        return floor


def _retrieving(pop: aio.POP3, mailbox: Mailbox, count: int) -> Callable[[], Coroutine[Any, Any, None]]:
    async def many() -> None:
        async for _ in pop.retr_many(range(1, count + 1)):
            pass

    async def one_by_one() -> None:
        for number in range(1, count + 1):
            await pop.retr_bytes(number)

    return many if mailbox.many else one_by_one


def _retrieving_blocked(pop: POP3, mailbox: Mailbox, count: int) -> Callable[[], None]:
    def many() -> None:
        for _ in pop.retr_many(range(1, count + 1)):
            pass

    def one_by_one() -> None:
        for number in range(1, count + 1):
            pop.retr_bytes(number)

    return many if mailbox.many else one_by_one


@pytest.fixture(scope="module", params=MAILBOXES, ids=lambda mailbox: mailbox.title)
def near(request: pytest.FixtureRequest, pace: Pace, *, quick: bool) -> Column:
    mailbox: Mailbox = request.param
    if missing := mailbox.cores.missing():
        pytest.skip(missing)
    count = max(2, mailbox.messages // 4) if quick else mailbox.messages
    tls, numbers = mailbox.tls, range(1, count + 1)
    messages = [attachment(mailbox.octets, seed) for seed in range(min(count, 40))]
    messages = [messages[number % len(messages)] for number in range(count)]
    with ExitStack() as stack:
        with on_core(mailbox.cores.server):
            server = stack.enter_context(MailboxServer(messages, tls=tls, process=True))
        stack.enter_context(on_core(mailbox.cores.client))
        theirs = stack.enter_context(poplib_session(server, tls=tls))
        blocking = stack.enter_context(pop3fast_session(server, tls=tls))
        loops = stack.enter_context(Loops(server, tls=tls))
        runner = loops.runner()
        ours = loops.session(runner)
        if runner.run(ours.retr_bytes(1)) != messages[0] or runner.run(ours.retr_bytes(count)) != messages[-1]:
            raise AssertionError("the asyncio client retrieved something else")
        retrieving = _retrieving(ours, mailbox, count)
        # What a runner does besides takes as long as several messages.
        run = runner.get_loop().run_until_complete

        async def discard(floor: Bare) -> None:
            for number in numbers:
                await floor.reply(b"RETR %d\r\n" % number)

        async def discard_many(floor: FramedMany) -> None:
            async for _ in floor.messages(numbers):
                pass

        contestants = [
            Contestant(BASELINE, lambda: [theirs.retr(number) for number in numbers]),
            Contestant(BLOCKING, _retrieving_blocked(blocking, mailbox, count)),
            Contestant(OURS, lambda: run(retrieving())),
        ]
        if mailbox.many:
            many = loops.bare(runner, FramedMany)
            contestants.append(Contestant(FRAMED, lambda: run(discard_many(many))))
        else:
            bare, framed = loops.bare(runner), loops.bare(runner, Framed)
            contestants += [
                Contestant(FLOOR, lambda: run(discard(bare))),
                Contestant(FRAMED, lambda: run(discard(framed))),
            ]
        if importlib.util.find_spec("uvloop"):
            other = loops.runner(importlib.import_module("uvloop").new_event_loop)
            on_uvloop = _retrieving(loops.session(other), mailbox, count)
            run_other = other.get_loop().run_until_complete
            contestants.append(Contestant(UVLOOP, lambda: run_other(on_uvloop())))
        return Column(TABLE, mailbox.title, interleave(contestants, pace))


@pytest.mark.parametrize("way", [BASELINE, BLOCKING, OURS, UVLOOP, FLOOR, FRAMED])
def test_retrieving_on_an_event_loop(near: Column, way: str, benchmark: Benchmark) -> None:
    if way not in near.rounds:
        pytest.skip("uvloop not installed" if way == UVLOOP else "the floor is one command at a time")
    near.hand_over(way, benchmark)


@pytest.fixture(scope="module")
def far(*, quick: bool) -> Column:
    """Seconds a message, over the line."""
    few, many = (5, 25) if quick else (FAR_ONE_BY_ONE, FAR_MESSAGES)
    with (
        MailboxServer([attachment(4_000, 1)] * many, process=True) as server,
        delayed(server.port, ROUND_TRIP) as port,
        Loops(server, port) as loops,
    ):
        runner = loops.runner()
        pop = loops.session(runner)

        async def one_by_one() -> None:
            for number in range(1, few + 1):
                await pop.retr_bytes(number)

        async def at_once() -> None:
            await asyncio.gather(*(pop.retr_bytes(number) for number in range(1, many + 1)))

        with closing(poplib.POP3(server.host, port)) as theirs:
            theirs.user(server.user)
            theirs.pass_(server.password)
            start = time.perf_counter()
            for number in range(1, few + 1):
                theirs.retr(number)
            rounds = {BASELINE: [(time.perf_counter() - start) / few]}
            theirs.quit()
        rounds[OURS] = [_seconds(runner, one_by_one) / few]
        rounds[GATHERED] = [_seconds(runner, at_once) / many]
        return Column(FAR_TABLE, "a message", rounds)


@pytest.mark.parametrize("way", [BASELINE, OURS, GATHERED])
def test_many_tasks_over_a_line(far: Column, way: str, benchmark: Benchmark) -> None:
    far.hand_over(way, benchmark)


def _seconds(runner: asyncio.Runner, call: Callable[[], Coroutine[Any, Any, None]]) -> float:
    start = time.perf_counter()
    runner.run(call())
    return time.perf_counter() - start
