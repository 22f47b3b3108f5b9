"""Many tasks and loops on one session, with servers that somebody else wrote, on two kinds of loops.

What is expected of each message is what the blocking client has just got of it.
"""

import asyncio
import io
from collections.abc import Iterator

import pytest

import pop3fast
from aio.running import run, uvloop_factory
from pop3fast import aio
from servers import DovecotServer, MailutilsServer, RealServer, require
from servers.comparison import logged_in
from servers.mail import generated_messages

COUNT = 25


@pytest.fixture(scope="module", params=[DovecotServer, MailutilsServer], ids=lambda kind: kind.name)
def server(request: pytest.FixtureRequest) -> Iterator[RealServer]:
    require(request.param)
    with request.param() as running:
        running.mailbox.fill(list(generated_messages().values())[:COUNT])
        running.settle(running.mailbox)
        yield running


@pytest.fixture(scope="module")
def contents(server: RealServer) -> dict[int, bytes]:
    with logged_in(pop3fast, server, "plain") as pop:
        assert isinstance(pop, pop3fast.POP3)
        return {number: pop.retr_bytes(number) for number in pop.sizes()}


def connecting(server: RealServer, scheme: str) -> aio.Connecting:
    port = server.tls_port if scheme == "pop3s" else server.plain_port
    context = None if scheme == "pop3+plain" else server.client_context()
    user, password = server.mailbox.user, server.mailbox.password
    return aio.connect(
        f"{scheme}://{server.host}:{port}", user=user, password=password, context=context, timeout=20, mechanism="USER"
    )


@pytest.mark.parametrize("scheme", ["pop3+plain", "pop3", "pop3s"])
@pytest.mark.parametrize("uv", [False, True], ids=["asyncio", "uvloop"])
def test_each_message_is_its_own_however_it_is_asked_for(
    server: RealServer, contents: dict[int, bytes], scheme: str, *, uv: bool
) -> None:
    async def into(pop: aio.POP3, number: int) -> bytes:
        file = io.BytesIO()
        await pop.retr_into(number, file)
        return file.getvalue()

    async def main() -> None:
        async with connecting(server, scheme) as pop:
            asks = [pop.retr_bytes(number) for number in contents]
            assert await asyncio.gather(*asks) == [*contents.values()]
            assert {message.number: message.content async for message in pop.retr_many()} == contents
            pieces = dict.fromkeys(contents, b"")
            async for piece in pop.retr_pieces():
                pieces[piece.number] += piece.content
            assert pieces == contents
            few = [*contents][:5]
            assert await asyncio.gather(*(into(pop, number) for number in few)) == [contents[number] for number in few]
            async for message in pop.retr_many():  # left in the middle, with another command in it
                assert (await pop.uidl(message.number)).startswith(b"+OK %d " % message.number)
                if message.number == 3:
                    break
            assert await pop.retr_bytes(2) == contents[2]
            uids, sizes = await pop.uids_and_sizes()
            assert uids.keys() == sizes.keys() == contents.keys()
            assert await pop.dele_many(few) == len(few)
            assert (await pop.stat())[0] == len(contents) - len(few)
            await pop.rset()
            assert (await pop.stat())[0] == len(contents)

    run(main, uvloop_factory() if uv else None)
