"""What clients for event loops are known to get wrong, and what their users' functions do to them.

A connect that cannot be cancelled, a login that another comes into the middle of, a loop that two tasks ask, functions
that raise or never return. Octets nobody asked for, servers that close, other loops and threads are in `test_aio`.
"""

import asyncio
import contextlib
import gc
import io
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import pytest

from aio.running import connecting, run, until, url_of
from pop3fast import AuthenticationError, CommandError, ProtocolError, aio, error_proto
from pop3fast._sasl import Scram
from pop3fast.aio import _connect
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from test_login import PASSWORD, USER, ScramServer

MESSAGES = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * 70_000) for number in range(1, 21)]
NEVER = 1e6


class Given(Exception):  # noqa: N818 - it is no error
    """Raised by a test's own function."""


async def never(*_: object) -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError


async def raises(*_: object) -> NoReturn:
    await asyncio.sleep(0)
    raise Given


def raises_at_once(*_: object) -> NoReturn:
    raise Given


# Connecting.


@pytest.mark.parametrize("by", ["apop", "login"])
def test_the_time_stamp_from_before_stls_is_nobodys_for_apop(by: str) -> None:
    """Whoever sits on the line may have made it up, to have a digest that he can search for the password."""
    replies: list[bytes | Reply] = [b"+OK\r\nSTLS\r\n.\r\n", Reply(b"+OK\r\n", then="tls"), b"+OK 2 320\r\n"]

    async def main() -> None:
        with ScriptedServer(b"+OK <1@mail.example.org>\r\n", replies) as server:
            pop = await aio.connect(url_of(server), timeout=10)
            await pop.stls(server.client_context)
            ways: dict[str, Callable[[], Awaitable[bytes]]] = {
                "apop": lambda: pop.apop("user", "password"),
                "login": lambda: pop.login("user", "password", mechanism="APOP"),
            }
            with pytest.raises(error_proto):
                await ways[by]()
            assert await pop.stat() == (2, 320)
            await pop.close()
        assert server.commands == [b"CAPA", b"STLS", b"STAT"]

    run(main)


def test_what_lies_with_the_kernel_behind_the_reply_to_stls_is_found_before_a_handshake_begins() -> None:
    replies = [b"+OK\r\nSTLS\r\n.\r\n", b"+OK\r\n+OK 7 777\r\n"]

    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", replies) as server:
            pop = await aio.connect(url_of(server), timeout=10)
            # So small that one read takes only the reply of all that has come.
            pop._pop3fast.wire._buffer = memoryview(bytearray(len(b"+OK\r\n")))
            with pytest.raises(ProtocolError, match="nothing had asked for"):
                await pop.stls(server.client_context)
            assert not pop.in_step
            await pop.close()
        assert b"\x16\x03" not in server.received

    run(main)


def test_a_connect_whose_name_is_never_resolved_can_be_cancelled_and_what_comes_of_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on = threading.Event()
    made: list[socket.socket] = []

    def dial(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        go_on.wait(30)
        made.append(socket.create_connection(address))
        return made[0]

    monkeypatch.setattr(_connect, "dial", dial)

    async def main() -> None:
        with ScriptedServer(b"+OK\r\n") as server:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(aio.connect(url_of(server), timeout=None), 0.01)
            go_on.set()
            await until(lambda: made and made[0].fileno() == -1)

    run(main)


def test_a_connect_that_is_cancelled_tells_the_thread_that_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    dials, never, told = threading.Event(), threading.Event(), threading.Event()

    def dial(*_: object, check: Callable[[], None], **_named: object) -> NoReturn:
        dials.set()
        try:
            while True:
                check()
                never.wait(0.001)
        finally:
            told.set()

    monkeypatch.setattr(_connect, "dial", dial)

    async def main() -> None:
        async def connect() -> aio.POP3:
            return await aio.connect("pop3+plain://mail.example.org", timeout=None)

        asking = asyncio.create_task(connect())
        await until(dials.is_set)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        await until(told.is_set)

    run(main)


@pytest.mark.parametrize("secret", [raises, raises_at_once])
@pytest.mark.parametrize("kind", ["password", "token"])
def test_a_secret_function_that_raises_ends_the_connect_with_what_it_raised(
    secret: Callable[[], Any], kind: str
) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES, token="token") as server:
            given: dict[str, Any] = {kind: secret}
            with pytest.raises(Given):
                await aio.connect(url_of(server), user="user", **given)
            pop = await aio.connect(url_of(server))
            with pytest.raises(Given):
                await pop.login("user", **given)
            assert pop.in_step
            await pop.login("user", "password")
            await pop.quit()

    run(main)


def test_a_secret_function_that_never_returns_is_left_at_the_sessions_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("pop3fast._deadline.monotonic", lambda: now)

    def reply(_: bytes) -> bytes:
        nonlocal now
        now = 9.99  # so that little is left when the login begins, and not before
        return b"+OK\r\nSASL PLAIN\r\n.\r\n"

    async def password() -> str:
        nonlocal now
        now = 10.0
        return await never()

    async def main() -> None:
        with (
            ScriptedServer(b"+OK\r\n", reply) as server,
            pytest.raises(TimeoutError, match="login: the deadline of 10 seconds for the session has passed"),
        ):
            await aio.connect(url_of(server), user="user", password=password, deadline=10)

    run(main)


# Logins of several lines.


def test_the_key_of_scram_is_derived_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes thousands of rounds."""
    threads: set[int] = set()
    answer = Scram.__call__

    def watched(self: Scram, challenge: bytes) -> bytes:
        threads.add(threading.get_ident())
        return answer(self, challenge)

    monkeypatch.setattr(Scram, "__call__", watched)

    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", ScramServer()) as server:
            pop = await aio.connect(url_of(server), timeout=10)
            await pop.login(USER, PASSWORD, mechanism="SCRAM-SHA-256")
            await pop.close()

    run(main)
    assert threads
    assert threading.get_ident() not in threads


def test_no_other_login_comes_between_user_and_pass() -> None:
    def reply(command: bytes) -> bytes:
        return b"-ERR no\r\n" if command.startswith(b"PASS") else b"+OK\r\n"

    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", reply) as server:
            pop = await aio.connect(url_of(server), timeout=10)
            logins = [pop.login(name, f"of-{name}", mechanism="USER") for name in ("anna", "bert")]
            outcomes = await asyncio.gather(*logins, pop.noop(), return_exceptions=True)
            assert [type(one) for one in outcomes] == [AuthenticationError, AuthenticationError, bytes]
            await pop.close()
        commands = [command for command in server.commands if command != b"NOOP"]
        assert commands == [b"USER anna", b"PASS of-anna", b"USER bert", b"PASS of-bert"]
        for place, command in enumerate(server.commands):
            if command.startswith(b"USER"):
                assert server.commands[place + 1].startswith(b"PASS")

    run(main)


def test_a_login_that_is_refused_lets_the_others_go_on() -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            pop = await aio.connect(url_of(server), timeout=10)
            wrong = asyncio.create_task(pop.login("user", "wrong", mechanism="PLAIN"))
            right = asyncio.create_task(pop.login("user", "password", mechanism="USER"))
            number = asyncio.create_task(pop.stat())
            with pytest.raises(AuthenticationError):
                await wrong
            await asyncio.wait([right, number])
            assert right.exception() is None
            assert (await pop.stat())[0] == len(MESSAGES)
            await asyncio.gather(number, return_exceptions=True)
            await pop.quit()

    run(main)


# Loops.


def test_a_loop_is_one_tasks_at_a_time_and_the_other_is_told_so() -> None:
    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", lambda _: Reply(then="stall")) as server:
            pop = await aio.connect(url_of(server), timeout=NEVER)
            loop = pop.retr_many([1, 2], pipelining=True)
            first = asyncio.ensure_future(anext(loop))
            await until(lambda: server.commands)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(loop)
            assert not first.done()
            await loop.aclose()
            with pytest.raises(StopAsyncIteration):
                await first
            with pytest.raises(StopAsyncIteration):
                await anext(loop)
            await pop.close()

    run(main)


def test_a_loop_that_is_left_while_it_is_begun_asks_for_nothing() -> None:
    go_on = threading.Event()

    def script(line: bytes) -> bytes:
        if line == b"LIST":
            go_on.wait(10)
            return b"+OK\r\n1 120\r\n.\r\n"
        return b"+OK\r\n.\r\n" if line == b"CAPA" else b"+OK\r\n"

    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", script) as server:
            pop = await aio.connect(url_of(server), timeout=10)
            loop = pop.retr_many()
            first = asyncio.ensure_future(loop.__anext__())
            await until(lambda: server.commands)
            await loop.aclose()
            go_on.set()
            with pytest.raises(StopAsyncIteration):
                await first
            await pop.noop()
            assert b"RETR 1" not in server.commands
            await pop.close()

    run(main)


def test_what_is_to_come_for_a_loop_that_was_left_is_taken_though_nobody_asks_for_anything() -> None:
    """Otherwise the server would wait for us to read, and some time end the session."""

    async def main() -> None:
        with MailboxServer([(b"x" * 998 + b"\r\n") * 10_000]) as server:
            async with aio.connect(url_of(server), user="user", password="password", timeout=10) as pop:
                loop = pop.retr_pieces([1])
                await anext(loop)
                wire = pop._pop3fast.wire
                await until(lambda: not wire.reads)
                await loop.aclose()
                await until(lambda: not pop._pop3fast.pipeline.in_flight)
                assert wire.reads

    run(main)


@pytest.mark.parametrize("how", ["is closed", "is dropped"])
def test_of_a_loop_that_was_left_nothing_is_kept(how: str) -> None:
    messages = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * 20_000) for number in range(1, 101)]

    async def main() -> None:
        with MailboxServer(messages) as server:
            async with aio.connect(url_of(server), user="user", password="password", timeout=10) as pop:
                loop = pop.retr_many()
                for _ in range(20):
                    await anext(loop)
                arrivals = loop._arrivals
                assert arrivals is not None
                if how == "is closed":
                    await loop.aclose()
                else:
                    del loop
                    gc.collect()
                for number in (1, 2):
                    assert await pop.retr_bytes(number) == messages[number - 1]
                assert arrivals.batch.abandoned
                assert pop._pop3fast.traffic._loops == []

    run(main)


def test_two_tasks_that_begin_a_loop_do_not_both() -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            async with connecting(server) as pop:
                loop = pop.retr_many()
                first, second = asyncio.ensure_future(anext(loop)), asyncio.ensure_future(anext(loop))
                assert (await first).content == MESSAGES[0]
                with pytest.raises(RuntimeError, match="another task"):
                    await second
                assert [message.content async for message in loop] == MESSAGES[1:]
            assert server.commands.count(b"RETR 1") == 1

    run(main)


# What a program's own functions do.


class File:
    """A file of an event loop, which does in `write` what a test likes."""

    def __init__(self, write: Callable[[bytes], Awaitable[int | None]]) -> None:
        self.write = write


INSIDE: dict[str, Callable[[aio.POP3, Callable[..., Any]], Awaitable[object]]] = {
    "progress": lambda pop, inside: pop.retr_into(1, io.BytesIO(), progress=inside),
    "write": lambda pop, inside: pop.retr_into(1, File(inside)),
    "on_error": lambda pop, inside: pop.dele_many([99], on_error=inside),
    "on_error of a loop": lambda pop, inside: anext(pop.retr_many([99, 1], on_error=inside)),
}


@pytest.mark.parametrize("inside", INSIDE.values(), ids=INSIDE)
@pytest.mark.parametrize("function", [raises, raises_at_once])
def test_a_function_that_raises_leaves_the_session_in_step(
    inside: Callable[..., Awaitable[object]], function: Callable[..., Any]
) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            async with connecting(server) as pop:
                with pytest.raises(Given):
                    await inside(pop, function)
                assert await pop.retr_bytes(3) == MESSAGES[2]

    run(main)


@pytest.mark.parametrize("inside", INSIDE.values(), ids=INSIDE)
def test_a_function_that_never_returns_holds_up_nobody_else_and_can_be_cancelled(
    inside: Callable[..., Awaitable[object]],
) -> None:
    begun = asyncio.Event()

    async def stay(*_: object) -> None:
        begun.set()
        await never()

    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            async with connecting(server) as pop:
                task = asyncio.ensure_future(inside(pop, stay))
                await begun.wait()
                begun.clear()
                assert await pop.retr_bytes(3) == MESSAGES[2]
                assert await asyncio.gather(*(pop.retr_bytes(number) for number in range(1, 21))) == MESSAGES
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert (await pop.uidl(5)).split()[1] == b"5"

    run(main)


@pytest.mark.parametrize("inside", INSIDE.values(), ids=INSIDE)
def test_a_function_may_close_the_session_or_give_commands(inside: Callable[..., Awaitable[object]]) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            pop = await connecting(server)

            async def ask(octets: object) -> int:
                assert await pop.retr_bytes(7) == MESSAGES[6]
                return len(octets) if isinstance(octets, bytes | memoryview) else 0

            await inside(pop, ask)
            assert await pop.retr_bytes(3) == MESSAGES[2]

            async def close(*_: object) -> int:
                await pop.close()
                return 1

            with contextlib.suppress(ProtocolError):  # or what was asked for was there already
                await inside(pop, close)
            with pytest.raises(ProtocolError, match="closed"):
                await pop.noop()

    run(main)


def test_a_refusal_among_many_tasks_and_a_hang_up_behind_it_are_each_their_own() -> None:
    replies: list[bytes | Reply] = [b"+OK\r\nPIPELINING\r\n.\r\n", b"+OK\r\n", b"-ERR no\r\n", Reply(b"+O", then="fin")]

    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", replies) as server:
            pop = await aio.connect(url_of(server), timeout=10)
            await pop.capabilities()
            first, second, *others = await asyncio.gather(
                *(pop.dele(number) for number in range(1, 6)), return_exceptions=True
            )
            assert first == b"+OK"
            assert type(second) is CommandError
            assert getattr(second, "number", None) == 2
            assert all(isinstance(other, ProtocolError) for other in others)
            await pop.close()

    run(main)


def test_a_message_of_any_size_goes_into_a_slow_file_in_constant_memory() -> None:
    large = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 500_000
    held: list[int] = []

    async def main() -> None:
        with MailboxServer([large]) as server:
            async with connecting(server) as pop:

                async def write(octets: bytes) -> int:
                    for _ in range(5):
                        await asyncio.sleep(0)
                    held.append(len(octets) + pop._pop3fast.wire.framer.unread())
                    return len(octets)

                assert await pop.retr_into(1, File(write)) == len(large)

    run(main)
    assert len(held) > 20
    # A megabyte is written at a time; the framer keeps what came with one read, and grows by doubling.
    assert max(held) <= 2 * 2**20
