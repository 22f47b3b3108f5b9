"""A task may be cancelled wherever it waits: the next command gets its own reply, or the session says it is broken.

The places are found by counting, and each has two moments: before what is waited for has come, and just when it has.
"""

import asyncio
import io
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from aio.running import CancelledAt, connecting, run, until, url_of
from pop3fast import CommandError, ProtocolError, aio
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer

MESSAGES = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * (20_000 + number)) for number in range(1, 31)]


@pytest.fixture(scope="module", params=["PIPELINING", "one by one"])
def server(request: pytest.FixtureRequest) -> Iterator[MailboxServer]:
    capabilities = None if request.param == "PIPELINING" else ["UIDL", "TOP"]
    with MailboxServer(MESSAGES, capabilities=capabilities) as server:
        yield server


async def loop(pop: aio.POP3) -> int:
    return sum([1 async for _ in pop.retr_many()])


async def pieces(pop: aio.POP3) -> int:
    return sum([1 async for _ in pop.retr_pieces([1, 2])])


async def left(pop: aio.POP3) -> None:
    async for message in pop.retr_many():
        await pop.noop()
        if message.number == 3:
            break


async def together(pop: aio.POP3) -> list[Any]:
    return await asyncio.gather(*(pop.retr_bytes(number) for number in range(1, 11)), pop.stat(), pop.uids())


async def into(pop: aio.POP3) -> int:
    return await pop.retr_into(1, io.BytesIO())


async def refused(pop: aio.POP3) -> None:
    for _ in range(2):
        with pytest.raises(CommandError):
            await pop.retr_bytes(99)


ASKS: dict[str, Callable[[aio.POP3], Awaitable[object]]] = {
    "stat": lambda pop: pop.stat(),
    "retr_bytes": lambda pop: pop.retr_bytes(1),
    "retr": lambda pop: pop.retr(1),
    "capabilities": lambda pop: pop.capabilities(),
    "uids_and_sizes": lambda pop: pop.uids_and_sizes(),
    "retr_many": loop,
    "retr_pieces": pieces,
    "a loop that is left": left,
    "gather": together,
    "retr_into": into,
    "dele_many": lambda pop: pop.dele_many([1, 2, 3]),
    "a refusal": refused,
    "quit": lambda pop: pop.quit(),
}


@pytest.mark.parametrize("late", [False, True], ids=["before", "just then"])
@pytest.mark.parametrize("name", ASKS)
def test_wherever_a_command_is_cancelled_the_next_gets_its_own_reply_or_the_session_is_broken(
    server: MailboxServer, name: str, *, late: bool
) -> None:
    async def main() -> None:
        place = 0
        while True:
            place += 1
            pop = await connecting(server)

            async def ask(pop: aio.POP3 = pop, place: int = place) -> int:
                asking = CancelledAt(_coroutine(ASKS[name](pop)), place, late=late)
                try:
                    await asking
                except asyncio.CancelledError:
                    assert asking.waits >= place
                return asking.waits

            waits = await asyncio.create_task(ask())
            if pop.in_step:
                assert await pop.retr_bytes(7) == MESSAGES[6]
                assert await pop.stat() == (len(MESSAGES), sum(map(len, MESSAGES))) or name == "dele_many"
                assert (await pop.uidl(5)).split()[1] == b"5"
            else:
                assert name == "quit"
                with pytest.raises(ProtocolError):
                    await pop.stat()
            await pop.close()
            if waits < place or place > 40:
                break
        assert place > 1

    run(main)


async def _coroutine(awaitable: Awaitable[object]) -> object:
    return await awaitable


async def password() -> str:
    await asyncio.sleep(0)
    return "password"


SESSIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "USER": ("pop3+plain", {}, {"password": "password", "mechanism": "USER"}),
    "a password that is asked for": ("pop3+plain", {}, {"password": password}),
    "a password from a thread": ("pop3+plain", {}, {"password": lambda: "password"}),
    "TLS": ("pop3s", {"tls": True}, {"password": "password"}),
    "STLS": ("pop3", {"stls": True}, {"password": "password"}),
}


@pytest.mark.parametrize("late", [False, True], ids=["before", "just then"])
@pytest.mark.parametrize("name", SESSIONS)
def test_wherever_connecting_is_cancelled_nothing_stays_open(name: str, *, late: bool) -> None:
    scheme, kind, given = SESSIONS[name]
    with MailboxServer(MESSAGES[:1], **kind) as server:

        async def main() -> None:
            context: dict[str, Any] = {} if scheme == "pop3+plain" else {"context": server.client_context}
            place = 0
            while True:
                place += 1

                async def ask(place: int = place) -> tuple[int, bool]:
                    connection = aio.connect(url_of(server, scheme), user="user", timeout=10, **given, **context)
                    asking = CancelledAt(_coroutine(connection), place, late=late)
                    try:
                        pop = await asking
                    except asyncio.CancelledError:
                        return asking.waits, True
                    assert await pop.stat() == (1, len(MESSAGES[0]))
                    await pop.close()
                    return asking.waits, False

                waits, cancelled = await asyncio.create_task(ask())
                if waits < place:
                    break
                assert cancelled
            assert place > 4

        run(main)


def test_a_command_that_was_not_sent_yet_never_is() -> None:
    go_on = threading.Event()

    def script(line: bytes) -> bytes:
        if line == b"NOOP":
            go_on.wait(10)
        return b"-ERR\r\n" if line == b"CAPA" else b"+OK 2 320\r\n"

    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", script) as server:
            pop = await aio.connect(url_of(server), timeout=10)
            first = asyncio.create_task(pop.noop())
            second = asyncio.create_task(pop.dele(1))
            await until(lambda: server.commands)
            second.cancel()
            await asyncio.wait([second])
            assert second.cancelled()
            go_on.set()
            await first
            assert await pop.stat() == (2, 320)
            await pop.close()
        assert b"STAT" in server.commands
        assert b"DELE 1" not in server.commands

    run(main)


@pytest.mark.parametrize("verb", ["login", "user", "pass_", "rpop", "apop", "auth", "stls", "quit"])
def test_a_login_stls_or_quit_that_is_cancelled_breaks_the_connection_and_says_so(verb: str) -> None:
    replies = [b"+OK\r\nSTLS\r\n.\r\n"] if verb == "stls" else []

    async def main() -> None:
        with ScriptedServer(b"+OK <1@x.example>\r\n", [*replies, Reply(b"", then="stall")]) as server:
            pop = await aio.connect(url_of(server))
            asks: dict[str, Callable[[], Awaitable[object]]] = {
                "login": lambda: pop.login("user", "password", mechanism="USER"),
                "user": lambda: pop.user("user"),
                "pass_": lambda: pop.pass_("password"),
                "rpop": lambda: pop.rpop("user"),
                "apop": lambda: pop.apop("user", "password"),
                "auth": lambda: pop.auth("X-TEST", None, b"first"),
                "stls": lambda: pop.stls(server.client_context),
                "quit": pop.quit,
            }
            task = asyncio.ensure_future(_coroutine(asks[verb]()))
            await until(lambda: server.commands[len(replies) :])
            others = [asyncio.create_task(pop.noop()) for _ in range(3)]
            await asyncio.sleep(0)
            task.cancel()
            for outcome in await asyncio.gather(task, *others, return_exceptions=True):
                assert isinstance(outcome, asyncio.CancelledError | ProtocolError)
            assert not pop.in_step
            with pytest.raises(ProtocolError):
                await pop.noop()
            await pop.close()

    run(main)


def test_a_login_that_is_cancelled_while_its_answer_is_thought_of_breaks_the_connection() -> None:
    """The server waits for the answer, and would take the next command for it."""
    asked, go_on = threading.Event(), threading.Event()

    def answer(_: bytes) -> bytes:
        asked.set()
        go_on.wait()
        return b"secret"

    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", [b"+ \r\n"]) as server:
            pop = await aio.connect(url_of(server))
            login = asyncio.create_task(pop.auth("X-TEST", answer))
            await until(asked.is_set)
            login.cancel()
            await asyncio.wait([login])
            assert login.cancelled()
            with pytest.raises(ProtocolError, match="a login was cancelled"):
                await pop.noop()
            go_on.set()
            await pop.close()
        assert server.commands == [b"AUTH X-TEST"]

    try:
        run(main)
    finally:
        go_on.set()


def test_a_password_function_that_blocks_holds_nobody_up_and_can_be_left_behind() -> None:
    go_on = threading.Event()

    def slowly() -> str:
        go_on.wait()
        return "password"

    async def main() -> None:
        with MailboxServer(MESSAGES[:1]) as server:
            pop = await aio.connect(url_of(server))
            login = asyncio.create_task(pop.login("user", slowly, mechanism="USER"))
            rounds = 0
            while not login.done():
                await asyncio.sleep(0)
                rounds += 1
                if rounds == 20:  # a loop that was held up would not get so far, and pytest ends it
                    login.cancel()
            assert login.cancelled()
            assert pop.in_step
            await pop.login("user", "password", mechanism="USER")
            assert (await pop.stat())[0] == 1
            await pop.close()

    try:
        run(main)
    finally:
        go_on.set()


def test_the_rest_of_a_message_that_was_cancelled_half_way_is_all_that_it_costs() -> None:
    large = b"Subject: large\r\n\r\n" + b"x" * 70 * 10 + b"\r\n" * 10 + (b"y" * 70 + b"\r\n") * 70_000

    async def main() -> None:
        with MailboxServer([large, b"small\r\n"]) as server:
            async with connecting(server) as pop:
                task = asyncio.create_task(pop.retr_bytes(1))
                await until(lambda: pop._pop3fast.wire.framer.unread() >= 2**18)
                task.cancel()
                assert await pop.retr_bytes(2) == b"small\r\n"
                assert await pop.retr_bytes(1) == large
            assert server.commands.count(b"RETR 1") == 2

    run(main)


def test_time_out_of_asyncio_leaves_the_session_in_step() -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES, latency=0.2) as server:
            async with connecting(server) as pop:
                for _ in range(2):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.001):
                            await pop.retr_bytes(1)
                assert await pop.retr_bytes(2) == MESSAGES[1]

    run(main)
