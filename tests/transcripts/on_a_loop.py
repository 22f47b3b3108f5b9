"""Plays a transcript to the asyncio client, as `player` does to a client of poplib's shape.

Owns the server's end, which lives on the same loop: each command that comes is answered with the next reply, in pieces
of chosen sizes. When a call waits for octets that nobody will send, the server hangs up.
"""

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from pop3fast import aio
from pop3fast.aio._queue import lines, short
from transcripts.player import Raised, Returned, Seen, Step, audited, plain

# What comes over a socket is there a round later; TLS is not spoken here.
ROUNDS_OF_SILENCE = 6


class Server(asyncio.Protocol):
    """The server's end of one connection."""

    def __init__(self, greeting: bytes, pieces: Sequence[int]) -> None:
        self.sent = b""
        self.busy = False
        self._replies = [greeting]
        self._pieces = itertools.cycle(pieces) if pieces else None
        self._unread = b""
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._answer()

    def data_received(self, data: bytes) -> None:
        self.sent += data
        self._unread += data
        while b"\n" in self._unread:
            _, self._unread = self._unread.split(b"\n", 1)
            self._answer()

    def expect(self, replies: Iterable[bytes]) -> None:
        self._replies = list(replies)

    def _answer(self) -> None:
        if self._replies:
            self._pending += self._replies.pop(0)
        if not self.busy:
            self._push()

    def _push(self) -> None:
        count = next(self._pieces) if self._pieces is not None else len(self._pending)
        octets, self._pending = self._pending[:count], self._pending[count:]
        self.busy = bool(octets)
        if octets:
            self.transport.write(octets)
            asyncio.get_running_loop().call_soon(self._push)


def play_on_a_loop(greeting: bytes, steps: Sequence[Step], *, pieces: Sequence[int] = ()) -> list[Seen]:
    """Connect and take the *steps*; what was seen of connecting comes first, then `getwelcome`."""
    return asyncio.run(_play(greeting, steps, pieces))


async def _play(greeting: bytes, steps: Sequence[Step], pieces: Sequence[int]) -> list[Seen]:
    near, far = socket.socketpair()
    server = Server(greeting, pieces)
    await asyncio.get_running_loop().create_connection(lambda: server, sock=far)
    pops: list[aio.POP3] = []
    try:

        async def connect() -> None:
            pops.append(await aio.connect("pop3+plain://pop.example:110", sock=near))

        seen = [await _look(server, connect)]
        for pop in pops:
            seen.append(await _look(server, lambda pop=pop: _value(pop.getwelcome())))  # type: ignore[misc]
            for one in steps:
                server.expect(one.replies)
                seen.append(await _look(server, lambda pop=pop, one=one: _call(pop, one)))  # type: ignore[misc]
            await pop.close()
        return seen
    finally:
        server.transport.abort()
        await asyncio.sleep(0)


async def _value(value: bytes) -> bytes:
    return value


def _call(pop: aio.POP3, one: Step) -> Awaitable[object]:
    if one.method in {"_shortcmd", "_longcmd"}:  # a command of a program's own, which has no method here
        take: Any = short if one.method == "_shortcmd" else lines
        return pop._pop3fast.command(one.args[0], take)
    answer: Awaitable[object] = getattr(pop, one.method)(*one.args)
    return answer


async def _look(server: Server, call: Callable[[], Awaitable[object]]) -> Seen:
    before = len(server.sent)
    result: Returned | Raised
    with audited() as heard:
        try:
            result = plain(await _until_it_waits_in_vain(server, call))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
            result = Raised(error)
    events = [(name, tuple(rest)) for name, (_, *rest) in heard]
    return Seen(result, server.sent[before:], tuple(events), "")


async def _until_it_waits_in_vain(server: Server, call: Callable[[], Awaitable[object]]) -> object:
    async def whole() -> object:
        return await call()

    task = asyncio.create_task(whole())
    silence = 0
    while not task.done():
        sent = len(server.sent)
        await asyncio.sleep(0)
        silence = 0 if server.busy or len(server.sent) > sent else silence + 1
        if silence > ROUNDS_OF_SILENCE:
            server.transport.close()
            return await task
    return task.result()
