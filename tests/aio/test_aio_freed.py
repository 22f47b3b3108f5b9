"""A session that is over is freed at once: a program with a thousand of them cannot wait for the garbage collector."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from aio.running import url_of
from pop3fast import CommandError, aio
from pop3fast.aio._wire import Wire
from pop3fast.testing import MailboxServer

MESSAGES = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * 20_000) for number in range(1, 31)]


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def to_the_end(pop: aio.POP3) -> None:
    assert len(await asyncio.gather(*(pop.retr_bytes(number) for number in range(1, 11)))) == 10
    assert [message.number async for message in pop.retr_many()] == [*range(1, 31)]
    await pop.quit()


async def closed(pop: aio.POP3) -> None:
    await pop.retr_bytes(1)
    await pop.close()


async def left_in_a_loop(pop: aio.POP3) -> None:
    async for message in pop.retr_many():
        if message.number == 3:
            break
    await pop.close()


async def refused(pop: aio.POP3) -> None:
    for ask in (pop.retr_bytes, pop.dele):
        try:
            await ask(99)
        except CommandError as error:
            assert error.number == 99  # noqa: PT017 - what pytest catches it keeps
    await pop.quit()


async def cancelled(pop: aio.POP3) -> None:
    tasks = [asyncio.create_task(pop.retr_bytes(number)) for number in range(1, 11)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await pop.close()


@pytest.mark.parametrize("use", [to_the_end, closed, left_in_a_loop, refused, cancelled])
@pytest.mark.parametrize("scheme", ["pop3+plain", "pop3", "pop3s"])
def test_nothing_is_left_of_a_session_that_is_over(use: Callable[[aio.POP3], Any], scheme: str) -> None:
    known: list[weakref.ref[Any]] = []

    async def session(server: MailboxServer) -> None:
        context = None if scheme == "pop3+plain" else server.client_context
        pop = await aio.connect(url_of(server, scheme), user="user", password="password", context=context)
        conversation = pop._pop3fast
        known.extend(weakref.ref(one) for one in (pop, conversation, conversation.wire, conversation.traffic.queue))
        del conversation
        await use(pop)

    async def main() -> None:
        with MailboxServer(MESSAGES, tls=scheme == "pop3s", stls=scheme == "pop3") as server:
            await session(server)
            for _ in range(5):  # in the loop's next rounds asyncio lets go of the connection
                await asyncio.sleep(0)
        assert [type(one).__name__ for each in known if (one := each()) is not None] == []

    asyncio.run(main())


@pytest.mark.parametrize("how", ["hangs up", "is no server"])
def test_of_a_session_that_broke_no_buffer_is_left(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wires: list[Wire] = []
    make = Wire.__init__

    def made(self: Wire, *arguments: Any) -> None:  # noqa: ANN401 - it hands them on
        wires.append(self)
        make(self, *arguments)

    monkeypatch.setattr(Wire, "__init__", made)

    async def main() -> None:
        with MailboxServer(MESSAGES, **({"cut_at": 100} if how == "hangs up" else {"greeting": "what?"})) as server:
            with suppress(Exception):
                async with aio.connect(url_of(server), user="user", password="password") as pop:
                    await pop.retr_bytes(1)
            for _ in range(5):
                await asyncio.sleep(0)
        assert [(len(wire._buffer), wire.framer.unread()) for wire in wires] == [(0, 0)]

    asyncio.run(main())
