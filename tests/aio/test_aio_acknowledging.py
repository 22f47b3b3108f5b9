"""A server that holds back a piece of its reply until the one before is acknowledged does not wait for us.

Nothing here looks at a clock: a socket counts what it is asked for. As in `test_acknowledging`, each piece is sent when
the one before has been received, and what counts is whether the kernel was told to acknowledge it by then.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aio.running import run, until, uvloop_factory
from pop3fast import aio
from pop3fast._socket import RECEIVE_SIZE
from pop3fast.testing import CERTIFICATE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

QUICK = getattr(socket, "TCP_QUICKACK", -1)
if QUICK < 0:
    pytest.skip("only Linux can be told to acknowledge", allow_module_level=True)

REPLY = (b"+OK 12 octets\r\n", b"From: a\r\n", b"\r\n", b"b\r\n", b".\r\n")


class Counted(socket.socket):
    """Our end, which counts what is received, and how often it is told to acknowledge that."""

    received = 0
    told = 0

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        octets = super().recv_into(buffer, nbytes, flags)
        self.received += octets
        return octets

    def setsockopt(self, *arguments: Any) -> None:  # noqa: ANN401 - as asyncio and the client call it
        if arguments == (socket.IPPROTO_TCP, QUICK, 1):
            self.told += 1
        super().setsockopt(*arguments)


class Line:
    """A connection, and the server at its other end, which is a part of the test."""

    def __init__(self, ours: Counted, theirs: socket.socket) -> None:
        self.ours = ours
        self.theirs = theirs
        self._sent = 0
        self._loop = asyncio.get_running_loop()
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    async def say(self, *pieces: bytes) -> list[bool]:
        """Send *pieces*, each when the one before was received; return which the kernel was told to acknowledge."""
        quick = []
        for piece in pieces:
            octets = piece
            if self._tls is not None:
                self._tls.write(piece)
                octets = self._outgoing.read()
            quick.append(await self._send(octets))
        return quick

    async def asked(self) -> bytes:
        """Return the next octets that the client sends."""
        if self._tls is None:
            return await self._loop.sock_recv(self.theirs, 2**16)
        octets: bytes = await self._until_read(lambda tls: tls.read(2**16))
        return octets

    async def shake_hands(self) -> list[bool]:
        """Go on over TLS, in pieces of 100 octets; return which of them the kernel was told to acknowledge."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        quick: list[bool] = []
        await self._until_read(lambda tls: tls.do_handshake(), quick)
        return quick

    async def _until_read(self, step: Callable[[ssl.SSLObject], Any], quick: list[bool] | None = None) -> Any:  # noqa: ANN401
        assert self._tls is not None
        while True:
            try:
                return step(self._tls)
            except ssl.SSLWantReadError:
                while quick is not None and (piece := self._outgoing.read(100)):
                    quick.append(await self._send(piece))
                self._incoming.write(await self._loop.sock_recv(self.theirs, 2**16))

    async def _send(self, octets: bytes) -> bool:
        # As in a dialogue that has gone on for a while: the kernel acknowledges late if it is not told otherwise.
        self.ours.setsockopt(socket.IPPROTO_TCP, QUICK, 0)
        told = self.ours.told
        await self._loop.sock_sendall(self.theirs, octets)
        self._sent += len(octets)
        await until(lambda: self.ours.received == self._sent)
        await asyncio.sleep(0)
        # How the kernel stands says less: after 40 ms it has acknowledged, and goes on to do so at once.
        return self.ours.told > told

    async def send_tickets(self) -> None:
        """Send what is left of the handshake: session tickets, which hold nothing to read."""
        await self._send(self._outgoing.read())


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    with socket.create_server(("127.0.0.1", 0)) as listener, Counted() as ours:
        ours.connect(listener.getsockname())
        theirs, _ = listener.accept()
        with theirs:
            theirs.settimeout(0)
            yield Line(ours, theirs)


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


async def plainly(line: Line) -> aio.POP3:
    connecting = asyncio.ensure_future(_connect(line, "pop3+plain"))
    assert await line.say(b"+OK", b" hi\r\n") == [True, False]
    return await connecting


async def over_tls(line: Line) -> aio.POP3:
    connecting = asyncio.ensure_future(_connect(line, "pop3s"))
    handshake = await line.shake_hands()
    assert len(handshake) > 10
    assert all(handshake)
    await line.send_tickets()
    await line.say(b"+OK hi\r\n")
    return await connecting


async def by_stls(line: Line) -> aio.POP3:
    connecting = asyncio.ensure_future(_connect(line, "pop3"))
    await line.say(b"+OK hi\r\n")
    assert await line.asked() == b"CAPA\r\n"
    await line.say(b"+OK\r\nSTLS\r\n.\r\n")
    assert await line.asked() == b"STLS\r\n"
    await line.say(b"+OK go\r\n")
    handshake = await line.shake_hands()
    assert len(handshake) > 10
    assert all(handshake)
    return await connecting


async def _connect(line: Line, scheme: str) -> aio.POP3:
    context = None if scheme == "pop3+plain" else client_context()
    return await aio.connect(f"{scheme}://localhost", sock=line.ours, context=context, timeout=None)


WAYS = [plainly, over_tls, by_stls]


@pytest.mark.parametrize("connect", WAYS)
def test_quirk_q131_each_piece_that_ends_no_reply_is_acknowledged_at_once(connect: Callable[[Line], Any]) -> None:
    async def main() -> None:
        async with line() as server:
            pop = await connect(server)
            for _ in range(3):
                asking = asyncio.ensure_future(pop.retr_bytes(1))
                assert await server.asked() == b"RETR 1\r\n"
                # The end of a reply is acknowledged by the next command.
                assert await server.say(*REPLY) == [True, True, True, True, False]
                assert await asking == b"From: a\r\n\r\nb\r\n"
            await pop.close()

    run(main)


@pytest.mark.parametrize("connect", WAYS)
def test_a_reply_that_comes_whole_costs_no_acknowledgement(connect: Callable[[Line], Any]) -> None:
    async def main() -> None:
        async with line() as server:
            pop = await connect(server)
            for place in range(3):
                told = server.ours.told
                asking = asyncio.ensure_future(pop.retr_bytes(1))
                await server.asked()
                await server.say(b"".join(REPLY))
                await asking
                # The first reply over TLS may wait until session tickets, which hold nothing to read, are acknowledged.
                assert server.ours.told - told == (1 if connect is by_stls and place == 0 else 0)
            await pop.close()

    run(main)


def test_session_tickets_that_come_behind_the_first_command_over_tls_are_acknowledged() -> None:
    async def main() -> None:
        async with line() as server:
            pop = await by_stls(server)
            server.ours.setsockopt(socket.IPPROTO_TCP, QUICK, 0)
            asking = asyncio.ensure_future(pop.noop())
            assert await server.asked() == b"NOOP\r\n"
            assert server.ours.getsockopt(socket.IPPROTO_TCP, QUICK)
            await server.send_tickets()
            await server.say(b"+OK\r\n")
            assert await asking == b"+OK"
            await pop.close()

    run(main)


def test_on_uvloop_the_socket_itself_is_told_and_none_is_made_for_it() -> None:
    async def main() -> None:
        async with line() as server:
            loop, ours = asyncio.get_running_loop(), server.ours
            await loop.sock_sendall(server.theirs, b"+OK hi\r\n")
            pop = await _connect(server, "pop3+plain")
            asking = asyncio.ensure_future(pop.noop())
            assert await server.asked() == b"NOOP\r\n"
            assert ours.told == 0
            await loop.sock_sendall(server.theirs, b"+O")
            await until(pop._pop3fast.wire.framer.unread)
            assert ours.told == 1
            await loop.sock_sendall(server.theirs, b"K\r\n")
            assert await asking == b"+OK"
            await pop.close()
            assert ours.told == 1

    run(main, uvloop_factory())


def test_of_several_replies_each_piece_is_acknowledged_while_more_are_to_come() -> None:
    async def main() -> None:
        async with line() as server:
            pop = await plainly(server)
            pop._pop3fast.traffic.learn({"PIPELINING": []})
            asking = asyncio.gather(*(pop.retr_bytes(number) for number in range(1, 6)))
            told = replies = 0
            while replies < 5:
                commands = (await server.asked()).count(b"\r\n")
                quick = await server.say(*(REPLY * commands))
                replies += commands
                told += sum(quick)
                assert quick[:-1] == [True] * (len(quick) - 1)
            assert told >= 20
            await asking
            await pop.close()

    run(main)


def test_of_a_long_body_only_reads_that_end_short_are_acknowledged() -> None:
    body = b"x" * (4 * RECEIVE_SIZE)

    async def main() -> None:
        async with line() as server:
            pop = await plainly(server)
            asking = asyncio.ensure_future(pop.retr_bytes(1))
            await server.asked()
            wire, told = pop._pop3fast.wire, server.ours.told
            wire.get_buffer(-1)[:RECEIVE_SIZE] = body[:RECEIVE_SIZE]
            await server.say(b"+OK\r\n")
            assert server.ours.told == told + 1
            for octets, more in [(RECEIVE_SIZE, 0), (RECEIVE_SIZE, 0), (RECEIVE_SIZE - 1, 1), (RECEIVE_SIZE, 0)]:
                told = server.ours.told
                wire.buffer_updated(octets)
                assert server.ours.told == told + more
            await server.say(b"\r\n.\r\n")
            assert len(await asking) == 4 * RECEIVE_SIZE + 1
            # When the command is sent, the kernel forgets what it was told.
            asking = asyncio.ensure_future(pop.retr_bytes(2))
            await server.asked()
            told = server.ours.told
            wire.get_buffer(-1)[:5] = b"+OK\r\n"
            wire.buffer_updated(RECEIVE_SIZE)
            assert server.ours.told == told + 1
            await server.say(b"\r\n.\r\n")
            await asking
            await pop.close()

    run(main)
