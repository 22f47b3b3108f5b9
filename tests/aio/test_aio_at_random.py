"""Many tasks, cancelled, late, slow and gone at random, with a server that may go wrong: each reply is its own.

One seed says all of it, the server's moods and where its octets are cut included. Whatever happens, nobody waits for
ever, nothing is left behind, and at the end the session is in step, or broken and says so.
"""

import asyncio
import base64
import io
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from random import Random
from typing import Any

import pytest

from aio.running import run, uvloop_factory
from pop3fast import CommandError, ProtocolError, aio

SEEDS = range(80)
COUNT = 8
NOT_THERE = 99
CONTENTS = {
    # From some octets to more than a read gives.
    number: b"Subject: %d\r\n\r\n" % number + b"%d\r\n" % number * (number**5 // 5)
    for number in range(1, COUNT + 1)
}
SIZES = {number: len(content) for number, content in CONTENTS.items()}
UIDS = {number: f"uid-{number}" for number in CONTENTS}
STAT = (COUNT, sum(SIZES.values()))

# What becomes of a server in the middle of a session, if anything does.
MOODS = ("well", "well", "well", "well", "hangs up", "resets", "stalls", "says nonsense", "says too much")


class Given(Exception):  # noqa: N818 - it is no error
    """Raised by a test's own file, callback or loop."""


class Server:
    """Answers the commands that come over a socket, in pieces and at moments that *random* chooses."""

    def __init__(self, random: Random) -> None:
        self.mood = random.choice(MOODS)
        self._random = random
        self._pipelines = random.random() < 0.7
        self._goes_wrong_at = random.randrange(2, 60)
        self._commands = 0
        self._answers: list[bytes] = []
        """What has to come next, of a login of several lines."""
        self.crossed: list[bytes] = []
        """What came in the middle of one."""

    async def serve(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            with suppress(ConnectionError):
                await self._say(writer, b"+OK ready\r\n")
                while line := await reader.readline():
                    if not await self._answer(writer, line.strip()):
                        return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, writer: asyncio.StreamWriter, line: bytes) -> bool:
        reply = self._reply(line)
        self._commands += 1
        if self.mood != "well" and self._commands == self._goes_wrong_at:
            return await self._go_wrong(writer, reply)
        await self._say(writer, reply)
        return line != b"QUIT"

    async def _go_wrong(self, writer: asyncio.StreamWriter, reply: bytes) -> bool:
        if self.mood == "says nonsense":
            await self._say(writer, b"what?\r\n")
            return True
        if self.mood == "says too much":
            await self._say(writer, reply + b"what?\r\n")
            return True
        await self._say(writer, reply[: self._random.randrange(len(reply))])
        if self.mood == "stalls":
            await asyncio.get_running_loop().create_future()
        if self.mood == "resets":
            made: socket.socket = writer.get_extra_info("socket")
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return False

    async def _say(self, writer: asyncio.StreamWriter, octets: bytes) -> None:
        while octets:
            if writer.is_closing():  # uvloop has another error for it
                raise ConnectionResetError
            length = self._random.choice([1, 100, 20_000, len(octets)])
            writer.write(octets[:length])
            octets = octets[length:]
            await writer.drain()
            for _ in range(self._random.randrange(3)):
                await asyncio.sleep(0)

    def _reply_to_login(self, line: bytes) -> bytes:
        if not self._answers:
            if line.startswith(b"AUTH"):
                self._answers = [base64.b64encode(b"user"), base64.b64encode(b"secret")]
                return b"+ \r\n"
            self._answers = [b"PASS secret"]
            return b"+OK\r\n"
        if line != self._answers.pop(0):
            self.crossed.append(line)
        return b"+ \r\n" if self._answers else b"+OK in\r\n"

    def _reply(self, line: bytes) -> bytes:
        if self._answers or line.startswith((b"AUTH ", b"USER ")):
            return self._reply_to_login(line)
        verb, *arguments = line.split(b" ")
        number = int(arguments[0]) if arguments else 0
        if number == NOT_THERE:
            return b"-ERR no such message\r\n"
        if verb == b"CAPA":
            return b"+OK\r\nTOP\r\nUIDL\r\n%b.\r\n" % (b"PIPELINING\r\n" if self._pipelines else b"")
        if verb in {b"RETR", b"TOP"}:
            content = CONTENTS[number] if verb == b"RETR" else b"Subject: %d\r\n\r\n" % number
            return b"+OK\r\n%b.\r\n" % content
        if verb in {b"LIST", b"UIDL"}:
            listing: dict[int, int] | dict[int, str] = SIZES if verb == b"LIST" else UIDS
            lines = [f"{one} {said}\r\n".encode() for one, said in listing.items()]
            return b"+OK " + lines[number - 1] if number else b"+OK\r\n%b.\r\n" % b"".join(lines)
        return b"+OK %d %d\r\n" % STAT if verb == b"STAT" else b"+OK %b\r\n" % line


class Task:
    """One of many, which asks this and that, and looks whether the answers are its own."""

    def __init__(self, pop: aio.POP3, random: Random) -> None:
        self.pop = pop
        self.broke = False
        """Whether a login was cancelled in the middle, which breaks the session."""
        self._random = random

    async def go(self) -> None:
        for _ in range(self._random.randrange(1, 6)):
            await self._sometimes_cancelled(self._random.choice(self.ASKS)(self))

    async def _sometimes_cancelled(self, ask: Awaitable[None]) -> None:
        kind = self._random.random()
        try:
            if kind < 0.5:
                await ask
            elif kind < 0.6:
                async with asyncio.timeout(0 if self._random.random() < 0.5 else 0.001):
                    await ask
            else:
                await self._cancelled(ask)
        except TimeoutError:
            pass
        except (ProtocolError, OSError):
            assert not self.pop.in_step

    async def _cancelled(self, ask: Awaitable[None]) -> None:
        task = asyncio.ensure_future(ask)
        for _ in range(self._random.randrange(30)):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def _number(self) -> int:
        return self._random.randrange(1, COUNT + 1)

    def _numbers(self) -> list[int]:
        return [self._number() for _ in range(self._random.randrange(1, 10))]

    async def short(self) -> None:
        number = self._number()
        assert await self.pop.list(number) == b"+OK %d %d" % (number, SIZES[number])
        assert await self.pop.uidl(number) == b"+OK %d uid-%d" % (number, number)
        assert await self.pop.dele(number) == b"+OK DELE %d" % number
        assert await self.pop.stat() == STAT

    async def whole(self) -> None:
        number = self._number()
        assert await self.pop.retr_bytes(number) == CONTENTS[number]
        assert (await self.pop.retr(number))[2] == SIZES[number]
        assert (await self.pop.top(number, 0))[1][0] == b"Subject: %d" % number

    async def refused(self) -> None:
        for ask in (self.pop.retr_bytes, self.pop.dele, self.pop.list):
            with pytest.raises(CommandError) as caught:
                await ask(NOT_THERE)
            assert caught.value.number == NOT_THERE

    async def listings(self) -> None:
        assert await self.pop.sizes() == SIZES
        assert await self.pop.uids() == UIDS
        assert await self.pop.uids_and_sizes() == (UIDS, SIZES)
        assert (await self.pop.list())[1] == [b"%d %d" % one for one in SIZES.items()]
        assert "UIDL" in await self.pop.capabilities()

    async def together(self) -> None:
        numbers = self._numbers()
        asks = [asyncio.ensure_future(self.pop.retr_bytes(number)) for number in numbers]
        try:
            for number, content in zip(numbers, await asyncio.gather(*asks), strict=True):
                assert content == CONTENTS[number]
        finally:
            await asyncio.gather(*asks, return_exceptions=True)

    async def loop(self) -> None:
        numbers = self._random.choice([None, self._numbers()])
        leave_at = self._random.randrange(1, 30)
        seen = 0
        async for message in self.pop.retr_many(numbers, window=self._random.choice([1, 2, 100])):
            assert message.number == (seen + 1 if numbers is None else numbers[seen])
            assert message.content == CONTENTS[message.number]
            seen += 1
            await self._dawdle()
            if seen == leave_at:
                return
        assert seen == (COUNT if numbers is None else len(numbers))

    async def loop_that_raises(self) -> None:
        with suppress(Given):
            async for message in self.pop.top_many(self._numbers()):
                assert message.content == b"Subject: %d\r\n\r\n" % message.number
                await self._dawdle()
                if self._random.random() < 0.2:
                    raise Given

    async def pieces(self) -> None:
        numbers = self._numbers()
        wanted = iter(numbers)
        content = b""
        async with aclosing(self.pop.retr_pieces(numbers, sizes=self._random.choice([None, SIZES]))) as pieces:
            async for piece in pieces:
                content += piece.content
                await self._dawdle()
                if piece.last:
                    assert piece.number == next(wanted)
                    assert content == CONTENTS[piece.number]
                    content = b""
                elif self._random.random() < 0.1:
                    return

    async def refused_in_a_loop(self) -> None:
        raises = self._random.random() < 0.3
        numbers = [one for number in self._numbers() for one in (number, NOT_THERE)]
        refused: list[int | None] = []

        async def on_error(error: CommandError) -> None:
            refused.append(error.number)
            await self._dawdle()
            if raises:
                raise Given

        seen = 0
        with suppress(Given):
            async for message in self.pop.retr_many(numbers, on_error=on_error):
                assert message.number == numbers[2 * seen]
                assert message.content == CONTENTS[message.number]
                seen += 1
            assert refused == [NOT_THERE] * (len(numbers) // 2)
        assert set(refused) <= {NOT_THERE}

    async def marked(self) -> None:
        numbers = self._numbers()
        assert await self.pop.dele_many(numbers) == len(numbers)

    async def into(self) -> None:
        number = self._number()
        file = File(self._random)
        with suppress(Given):
            assert await self.pop.retr_into(number, file) == SIZES[number]
            assert file.getvalue() == CONTENTS[number]

    async def login(self) -> None:
        try:
            await self.pop.login("user", self._secret, mechanism=self._random.choice(["USER", "LOGIN"]))
        except asyncio.CancelledError:
            self.broke = not self.pop.in_step
            raise
        except Given:
            pass

    async def _secret(self) -> str:
        await self._dawdle()
        if self._random.random() < 0.2:
            raise Given
        return "secret"

    async def _dawdle(self) -> None:
        for _ in range(self._random.choice([0, 0, 0, 1, 10])):
            await asyncio.sleep(0)

    ASKS: tuple[Callable[["Task"], Awaitable[None]], ...] = (
        short, whole, refused, listings, together, login,
        loop, loop_that_raises, pieces, refused_in_a_loop, marked, into,
    )  # fmt: skip


class File(io.BytesIO):
    """A file of an event loop, which may fail."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    async def write(self, octets: Any) -> int:  # type: ignore[override]  # noqa: ANN401
        await asyncio.sleep(0)
        if self._random.random() < 0.2:
            raise Given
        taken = self._random.randrange(1, len(octets) + 1)
        return super().write(octets[:taken])


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_each_reply_is_its_own_and_nobody_waits_for_ever(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a seed is what it is about
    server = Server(random)

    async def main() -> None:
        near, far = socket.socketpair()
        serving = asyncio.create_task(server.serve(far))
        # Where the server stalls, that is the only way out; elsewhere nothing may take so long.
        timeout = 0.1 if server.mood == "stalls" else 60
        try:
            pop = await aio.connect("pop3+plain://mail.example", sock=near, timeout=timeout)
            tasks = [Task(pop, random) for _ in range(random.randrange(1, 10))]
            await asyncio.gather(*(task.go() for task in tasks))
            assert server.crossed == []
            if any(task.broke for task in tasks):
                server.mood = "is left in the middle of a login"
            await look_at(pop, server)
            await pop.close()
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving

    run(main, uvloop_factory() if seed % 4 == 3 else None)


async def look_at(pop: aio.POP3, server: Server) -> None:
    """See that a session is in step, or is broken and says so."""
    if pop.in_step:
        try:
            assert await pop.retr_bytes(3) == CONTENTS[3]
            assert await pop.stat() == STAT
            assert await pop.quit() == b"+OK QUIT"
        except (ProtocolError, OSError):
            assert server.mood != "well"
            assert not pop.in_step
    else:
        assert server.mood != "well"
        with pytest.raises((ProtocolError, OSError)):
            await pop.noop()
        with pytest.raises(ProtocolError):
            await pop.noop()
