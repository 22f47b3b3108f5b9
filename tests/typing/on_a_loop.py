"""What the types of `pop3fast.aio` are, as mypy and pyright read them. Checked, and never run.

Owns the shapes that programs' annotations rely on: one function a claim, as in `drop_in.py`.
"""

# ruff: noqa: INP001 - with an __init__.py this folder would be what `import typing` finds

import io
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import assert_type

import pop3fast
from pop3fast import aio
from pop3fast.fetch import FetchReport, Job, Progress


async def secret() -> str:
    return "secret"


async def connected(address: tuple[str, int], seconds: float | None) -> socket.socket:
    raise NotImplementedError(address, seconds)


async def what_connect_gives_is_awaited_or_entered(context: ssl.SSLContext, sock: socket.socket) -> None:
    connecting = aio.connect("pop3s://user@mail.example.org", password=secret, timeout=None, deadline=60.0)
    assert_type(connecting, aio.Connecting)
    assert_type(await connecting, aio.POP3)
    async with aio.connect("pop3://user@mail.example.org", token=lambda: "token", context=context) as pop:
        assert_type(pop, aio.POP3)
    async with aio.connect("pop3+plain://mail.example.org", user="user", password="password", sock=sock) as pop:
        assert_type(pop.in_step, bool)
    async with await aio.connect("pop3s://mail.example.org", mechanism="EXTERNAL", sock=connected) as pop:
        assert_type(pop, aio.POP3)


async def listings_have_a_shape_with_and_without_a_number(pop: aio.POP3) -> None:
    assert_type(await pop.list(1), bytes)
    assert_type(await pop.list("1"), bytes)
    assert_type(await pop.list(which=1), bytes)
    assert_type(await pop.uidl(1), bytes)
    assert_type(await pop.uidl(which="1"), bytes)
    for response, lines, octets in (await pop.list(), await pop.uidl(), await pop.list(None), await pop.uidl(None)):
        assert_type(response, bytes)
        assert_type(lines, list[bytes])
        assert_type(octets, int)


async def multi_line_responses_are_tuples(pop: aio.POP3) -> None:
    as_a_tuple: tuple[bytes, list[bytes], int] = await pop.retr(1)
    as_a_tuple = await pop.retr(which="1")
    as_a_tuple = await pop.top(1, "0")
    as_a_tuple = await pop.top(which="1", howmuch=0)
    assert_type(as_a_tuple[1], list[bytes])


async def single_line_responses_are_bytes(pop: aio.POP3, context: ssl.SSLContext) -> None:
    assert_type(pop.getwelcome(), bytes)
    assert_type(pop.welcome, bytes)
    assert_type(await pop.user("wilma"), bytes)
    assert_type(await pop.pass_("tanstaaf"), bytes)
    assert_type(await pop.apop("wilma", "tanstaaf"), bytes)
    assert_type(await pop.rpop("wilma"), bytes)
    assert_type(await pop.dele(1), bytes)
    assert_type(await pop.rset(), bytes)
    assert_type(await pop.noop(), bytes)
    assert_type(await pop.utf8(), bytes)
    assert_type(await pop.stls(context), bytes)
    assert_type(await pop.login("wilma", secret), bytes)
    assert_type(await pop.login("wilma", token=lambda: "ya29", mechanism="XOAUTH2"), bytes)
    assert_type(await pop.auth("PLAIN", lambda _: b"answer", b"first"), bytes)
    assert_type(await pop.quit(), bytes)
    await pop.close()


async def other_results_are_those_of_the_blocking_client(pop: aio.POP3, destination: io.BytesIO) -> None:
    assert_type(await pop.stat(), tuple[int, int])
    assert_type(await pop.capa(), dict[str, list[str]])
    capabilities: Mapping[str, tuple[str, ...]] = await pop.capabilities()
    assert_type(capabilities["TOP"], tuple[str, ...])
    assert_type(await pop.supports("TOP"), bool)
    assert_type(await pop.sizes(), dict[int, int])
    assert_type(await pop.uids(), dict[int, str])
    assert_type(await pop.uids_and_sizes(pipelining=False), tuple[dict[int, str], dict[int, int]])
    assert_type(await pop.retr_bytes(which="1", deadline=60), bytes)
    assert_type(await pop.retr_into(1, destination, progress=print), int)
    assert_type(pop.max_octets, int | None)
    assert_type((pop.host, pop.port), tuple[str, int])


class Slow:
    async def write(self, octets: bytes, /) -> int:
        return len(octets)


async def on_progress(octets: int) -> None:
    raise NotImplementedError(octets)


async def files_and_callbacks_may_be_coroutine_functions(pop: aio.POP3) -> None:
    async def on_error(error: pop3fast.CommandError) -> None:
        assert_type(error.number, int | None)

    assert_type(await pop.retr_into(1, Slow(), progress=on_progress), int)
    assert_type(await pop.dele_many([1, 2], on_error=on_error), int)


async def loops_over_messages_have_types(pop: aio.POP3) -> None:
    async for message in pop.retr_many():
        assert_type(message, pop3fast.Message)
    async for header in pop.top_many([1, "2"], 10, window=5, pipelining=True, deadline=30.0):
        assert_type(header, pop3fast.Message)
    async for piece in pop.retr_pieces({1: 320}, sizes={1: 320}, ahead=2**20):
        assert_type(piece, pop3fast.Piece)
    loop: AsyncIterator[pop3fast.Message] = pop.retr_many()
    assert_type(await anext(loop), pop3fast.Message)
    await pop.retr_many().aclose()


async def an_exception_that_leaves_the_block_is_not_swallowed() -> int:
    async with aio.connect("pop3s://user@mail.example.org", password="password") as pop:
        return (await pop.stat())[0]


async def many_mailboxes_give_reports(jobs: list[Job]) -> None:
    async def progress(job: Job, how_far: Progress) -> None:
        assert_type(job, Job)
        assert_type(how_far, Progress)

    async for report in aio.fetch_many(jobs, limit=10, progress=progress):
        assert_type(report, FetchReport)


async def it_is_no_poplib(pop: aio.POP3) -> None:
    pop.set_debuglevel(1)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    pop._shortcmd("NOOP")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
