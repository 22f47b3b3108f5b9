"""A command by itself goes past the pipeline, and its task goes on as soon as its reply is there: what is counted here.

And what has to hold for all that: what is given meanwhile goes out behind it, each has its own reply, and nobody waits
for ever.
"""

import asyncio
import gc
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any

import pytest

from aio.running import connecting, count_writes, run, until
from pop3fast import CommandError, ConnectionLost, ProtocolError, aio
from pop3fast._commands import row, verb_of
from pop3fast.aio._answer import Answer
from pop3fast.aio._conversation import Conversation
from pop3fast.aio._queue import Take, short
from pop3fast.testing import MailboxServer

COMMANDS = 50
MESSAGES = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * 4_000) for number in range(1, 1001)]


def counted(monkeypatch: pytest.MonkeyPatch, owner: object, *names: str) -> dict[str, int]:
    """Return how often the methods *names* of *owner* have been called from now on."""
    counts = dict.fromkeys(names, 0)

    def count(name: str) -> None:
        method = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            counts[name] += 1
            return method(*arguments, **named)

        monkeypatch.setattr(owner, name, wrapped)

    for name in names:
        count(name)
    return counts


def test_commands_one_by_one_cost_no_call_of_the_event_loop_and_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES[:1]) as server:
            async with connecting(server) as pop:
                await pop.noop()
                counts = counted(monkeypatch, asyncio.get_running_loop(), "call_soon", "call_at", "create_task")
                for _ in range(COMMANDS):
                    assert await pop.stat() == (1, len(MESSAGES[0]))
                assert counts["call_soon"] == 0
                assert counts["call_at"] <= 1
                assert counts["create_task"] == 0
                monkeypatch.undo()

    run(main)


def test_what_is_asked_past_the_pipeline_names_its_own_verb_and_is_nothing_that_goes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str]] = []
    ask = Conversation.ask

    def noted(self: Conversation, verb: str, line: str, take: Take[Any]) -> Awaitable[Any]:
        asked.append((verb, line))
        return ask(self, verb, line, take)

    async def main() -> None:
        with MailboxServer(MESSAGES[:1]) as server:
            async with connecting(server) as pop:
                monkeypatch.setattr(Conversation, "ask", noted)
                plain: list[Callable[[], Awaitable[object]]] = [pop.stat, pop.list, pop.uidl, pop.sizes, pop.uids]
                for given in [*plain, pop.noop, pop.rset]:
                    await given()
                about: list[Callable[[int], Awaitable[object]]] = [
                    pop.list,
                    pop.uidl,
                    pop.retr,
                    pop.retr_bytes,
                    pop.dele,
                ]
                for one in about:
                    await one(1)
                await pop.rset()
                await pop.top(1, 0)
                with suppress(CommandError):
                    await pop.utf8()

    run(main)
    assert {verb for verb, _ in asked} >= {"STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "NOOP", "RSET", "UTF8"}
    assert [verb for verb, _ in asked] == [verb_of(line) for _, line in asked]
    assert not any(row(verb).alone for verb, _ in asked)


def test_a_loop_that_keeps_up_never_stops_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            async with connecting(server) as pop:
                await pop.capabilities()
                counts = counted(monkeypatch, pop._pop3fast.wire.transport, "pause_reading", "resume_reading")
                soon = counted(monkeypatch, asyncio.get_running_loop(), "call_soon")
                contents = [message.content async for message in pop.retr_many(range(1, 1001))]
                assert counts == {"pause_reading": 0, "resume_reading": 0}
                # Only the end of the loop calls it, not each wait in it.
                assert soon["call_soon"] <= 2
                monkeypatch.undo()
                assert contents == MESSAGES

    run(main)


class Line:
    """The other end of a connection, as far as a test lets it speak."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def asked(self, *commands: bytes) -> None:
        for command in commands:
            assert await self.reader.readline() == command + b"\r\n"

    def say(self, octets: bytes) -> None:
        self.writer.write(octets)


@asynccontextmanager
async def line() -> AsyncIterator[tuple[aio.POP3, Line]]:
    """Give a session, and its other end."""
    made: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n")
        made.set_result(Line(reader, writer))
        await over.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        pop = await aio.connect(f"pop3+plain://127.0.0.1:{port}")
        try:
            yield pop, await made
        finally:
            await pop.close()
            over.set()


def has_come(pop: aio.POP3, octets: bytes) -> bool:
    return pop._pop3fast.wire.framer.unread() == len(octets)


async def pipelining(pop: aio.POP3, other: Line) -> None:
    """Let the session know that several commands may be in flight."""
    pop._pop3fast.traffic.learn({"PIPELINING": []})
    asking = asyncio.gather(*(pop.noop() for _ in range(20)))
    for _ in range(20):
        await other.asked(b"NOOP")
        other.say(b"+OK\r\n")
    await asking


def test_what_is_given_while_a_command_by_itself_waits_goes_out_behind_it_at_once() -> None:
    async def main() -> None:
        async with line() as (pop, other):
            await pipelining(pop, other)
            first = asyncio.create_task(pop.retr_bytes(1))
            await other.asked(b"RETR 1")
            others = [asyncio.create_task(pop.uidl(number)) for number in (1, 2)]
            await other.asked(b"UIDL 1", b"UIDL 2")
            other.say(b"+OK\r\na\r\n.\r\n+OK 1 one\r\n+OK 2 two\r\n")
            assert await asyncio.gather(first, *others) == [b"a\r\n", b"+OK 1 one", b"+OK 2 two"]

    run(main)


def test_what_is_given_when_a_reply_has_come_in_part_goes_out_behind_it() -> None:
    async def main() -> None:
        async with line() as (pop, other):
            await pipelining(pop, other)
            first = asyncio.create_task(pop.retr_bytes(1))
            await other.asked(b"RETR 1")
            other.say(b"+OK\r\na\r\n")
            await until(pop._pop3fast.wire.framer.in_body)
            others = [asyncio.create_task(pop.uidl(number)) for number in (1, 2)]
            loop = asyncio.create_task(anext(pop.retr_many([2], pipelining=True)))
            for _ in range(3):
                await asyncio.sleep(0)
            other.say(b".\r\n")
            assert await first == b"a\r\n"
            await other.asked(b"UIDL 1", b"UIDL 2", b"RETR 2")
            other.say(b"+OK 1 one\r\n+OK 2 two\r\n+OK\r\nb\r\n.\r\n")
            assert await asyncio.gather(*others) == [b"+OK 1 one", b"+OK 2 two"]
            assert (await loop).content == b"b\r\n"

    run(main)


def test_when_a_server_hangs_up_in_the_middle_of_a_reply_nobody_waits_for_ever() -> None:
    async def main() -> None:
        async with line() as (pop, other):
            first = asyncio.create_task(pop.retr_bytes(1))
            await other.asked(b"RETR 1")
            other.say(b"+OK\r\na\r\n")
            await until(pop._pop3fast.wire.framer.in_body)
            others = [asyncio.create_task(pop.noop()) for _ in range(3)]
            await asyncio.sleep(0)
            other.writer.close()
            for outcome in await asyncio.gather(first, *others, return_exceptions=True):
                assert isinstance(outcome, ConnectionLost | ProtocolError)
            assert not pop.in_step

    run(main)


def test_what_is_given_when_a_loop_has_been_left_for_a_while_waits_for_the_replies_to_it() -> None:
    async def main() -> None:
        async with line() as (pop, other):
            await pipelining(pop, other)
            loop = pop.retr_many([1, 2, 3], pipelining=True)
            waiting = asyncio.ensure_future(anext(loop, None))
            await other.asked(b"RETR 1", b"RETR 2", b"RETR 3")
            await loop.aclose()
            assert await waiting is None
            for _ in range(5):
                await asyncio.sleep(0)
            after = asyncio.create_task(pop.retr_bytes(4))
            await asyncio.sleep(0)
            other.say(b"+OK\r\na\r\n.\r\n" * 3)
            await other.asked(b"RETR 4")
            other.say(b"+OK\r\nd\r\n.\r\n")
            assert await after == b"d\r\n"

    run(main)


def test_a_command_inside_a_loop_hears_at_once_that_the_server_has_hung_up() -> None:
    async def main() -> None:
        async with line() as (pop, other):
            await pipelining(pop, other)
            loop = pop.retr_many([1, 2], pipelining=True)
            first = asyncio.create_task(anext(loop))
            await other.asked(b"RETR 1", b"RETR 2")
            other.say(b"+OK\r\na\r\n.\r\n+OK\r\nb\r\n.\r\n")
            await first
            other.writer.close()
            await until(lambda: pop._pop3fast.traffic.end is not None)
            with pytest.raises(ConnectionLost):
                await pop.noop()
            assert (await anext(loop)).content == b"b\r\n"

    run(main)


def test_no_command_comes_between_those_of_one_login_also_while_nothing_is_in_flight() -> None:
    async def main() -> None:
        async with line() as (pop, other):
            own = pop._pop3fast
            async with own.hold() as hold:
                user = asyncio.create_task(own.command("USER a", short, hold=hold))
                await other.asked(b"USER a")
                other.say(b"+OK\r\n")
                await user
                between = asyncio.create_task(pop.noop())
                for _ in range(3):
                    await asyncio.sleep(0)
                secret = asyncio.create_task(own.command("PASS b", short, hold=hold))
                await other.asked(b"PASS b")
                other.say(b"+OK\r\n")
                await secret
            await other.asked(b"NOOP")
            other.say(b"+OK 2\r\n")
            assert await between == b"+OK 2"

    run(main)


def test_what_follows_a_reply_unasked_breaks_the_connection_also_behind_a_command_by_itself() -> None:
    async def main() -> None:
        async with line() as (pop, other):
            asking = asyncio.create_task(pop.retr_bytes(1))
            await other.asked(b"RETR 1")
            other.say(b"+OK\r\na\r\n.\r\n+OK\r\n")
            with pytest.raises(ProtocolError, match="what nothing had asked for"):
                await asking
            assert not pop.in_step

    run(main)


def test_a_command_by_itself_that_is_cancelled_has_its_reply_thrown_away_wherever_it_is() -> None:
    async def main() -> None:
        async with line() as (pop, other):
            pop._pop3fast.traffic.learn({})
            for begun in (b"", b"+OK\r\n", b"+OK\r\na\r\n.\r"):
                asking = asyncio.create_task(pop.retr_bytes(1))
                await other.asked(b"RETR 1")
                other.say(begun)
                await until(partial(has_come, pop, begun))
                asking.cancel()
                with suppress(asyncio.CancelledError):
                    await asking
                after = asyncio.create_task(pop.noop())
                await asyncio.sleep(0)
                other.say(b"+OK\r\na\r\n.\r\n"[len(begun) :])
                await other.asked(b"NOOP")
                other.say(b"+OK 2\r\n")
                assert await after == b"+OK 2"

    run(main)


def test_a_command_that_an_answer_makes_a_task_give_is_one_write_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    writes = count_writes(monkeypatch)

    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            async with connecting(server) as pop:
                writes.clear()
                for number in range(1, 11):
                    assert await pop.retr_bytes(number) == MESSAGES[number - 1]
                assert writes == [b"RETR %d\r\n" % number for number in range(1, 11)]

    run(main)


FORBIDDEN: list[bytes] = []


def forbid(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "poplib.putline" and arguments[1] in FORBIDDEN:
        raise PermissionError("not that one")


sys.addaudithook(forbid)


@pytest.fixture
def forbidden() -> Iterator[list[bytes]]:
    yield FORBIDDEN
    FORBIDDEN.clear()


def test_a_command_by_itself_that_an_audit_hook_forbids_is_not_sent_and_the_next_gets_its_own_reply(
    forbidden: list[bytes],
) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES[:2]) as server:
            async with connecting(server) as pop:
                await pop.noop()
                forbidden.append(b"DELE 1")
                with pytest.raises(PermissionError):
                    await pop.dele(1)
                assert await pop.retr_bytes(2) == MESSAGES[1]
            assert b"DELE 1" not in server.commands

    run(main)


def test_a_command_among_others_that_an_audit_hook_forbids_breaks_the_connection_and_nobody_waits_for_ever(
    forbidden: list[bytes],
) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES[:5]) as server:
            async with connecting(server) as pop:
                forbidden.append(b"DELE 3")
                outcomes = await asyncio.gather(*(pop.dele(number) for number in range(1, 6)), return_exceptions=True)
                assert any(isinstance(outcome, PermissionError) for outcome in outcomes)
                with pytest.raises(ProtocolError):
                    await pop.noop()
            assert b"DELE 3" not in server.commands
        assert server.deleted == []

    run(main)


# The answer by itself.

WHERE: ContextVar[str] = ContextVar("where", default="nowhere")


def answered(tell: Callable[[Answer[int]], object]) -> list[str]:
    """Return what a task has done when *tell*, which the loop calls, has ended; and then the rest."""
    done: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        answer = Answer[int](loop)

        async def waits() -> None:
            WHERE.set("task")
            try:
                done.append(f"{await answer} in {WHERE.get()}")
            except asyncio.CancelledError:
                done.append("cancelled")

        task = asyncio.create_task(waits())
        await asyncio.sleep(0)

        def call() -> None:
            tell(answer)
            done.append("told")

        loop.call_soon(call, context=copy_context())
        await asyncio.wait([task])

    run(main)
    return done


def test_a_task_goes_on_in_its_own_context_before_its_answer_has_been_given() -> None:
    assert answered(lambda answer: answer.give(1)) == ["1 in task", "told"]


def test_what_a_task_sets_behind_its_first_answer_stays_where_its_context_was_empty() -> None:
    async def sets(pop: aio.POP3) -> str:
        await pop.noop()
        WHERE.set("task")
        await asyncio.sleep(0)
        return WHERE.get()

    async def main() -> None:
        with MailboxServer(MESSAGES[:1]) as server:
            async with connecting(server) as pop:
                assert await asyncio.create_task(sets(pop), context=Context()) == "task"

    run(main)


def test_a_task_that_is_cancelled_first_has_no_answer() -> None:
    def cancel(answer: Answer[int]) -> None:
        answer.cancel()

    assert answered(cancel) == ["told", "cancelled"]


def test_where_others_listen_too_all_are_told_by_the_loop_in_their_order() -> None:
    heard: list[str] = []

    def tell(answer: Answer[int]) -> None:
        answer.add_done_callback(lambda _: heard.append("listener"))
        answer.give(1)
        assert not heard

    assert answered(tell) == ["told", "1 in task"]
    assert heard == ["listener"]


def test_where_two_tasks_wait_the_loop_tells_them_in_their_order() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        answer = Answer[int](loop)
        done: list[str] = []

        async def waits(name: str) -> None:
            await answer
            done.append(name)

        tasks = [asyncio.create_task(waits(name)) for name in ("first", "second")]
        await asyncio.sleep(0)

        def call() -> None:
            answer.give(1)
            done.append("told")

        loop.call_soon(call)
        await asyncio.gather(*tasks)
        assert done == ["told", "first", "second"]

    run(main)


def test_a_task_never_goes_on_in_the_middle_of_another_one() -> None:
    async def main() -> None:
        answer = Answer[int](asyncio.get_running_loop())
        done: list[int] = []

        async def waits() -> None:
            done.append(await answer)

        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        answer.give(1)
        assert done == []
        await task
        assert done == [1]

    run(main)


class WrongError(Exception):
    pass


@pytest.mark.parametrize("first", [False, True], ids=["while a task waits", "before"])
def test_an_error_that_was_an_answer_is_freed_as_soon_as_nobody_has_it(*, first: bool) -> None:
    async def main() -> None:
        answers = [Answer[int](asyncio.get_running_loop())]
        raised: list[weakref.ref[BaseException]] = []

        async def waits() -> None:
            try:
                await answers[0]
            except WrongError as error:
                raised.append(weakref.ref(error))

        if first:
            answers[0].set_exception(WrongError())
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        if not first:
            answers[0].set_exception(WrongError())
        await task
        answers.clear()
        # What the event loop called is freed when its round ends.
        await asyncio.sleep(0)
        assert [error() for error in raised] == [None]

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_a_task_that_asks_for_an_answer_that_is_there_has_it_without_waiting() -> None:
    async def main() -> None:
        answer = Answer[int](asyncio.get_running_loop())
        answer.give(1)
        with pytest.raises(StopIteration) as end:
            answer.__await__().send(None)
        assert end.value.value == 1
        assert not answer.cancel()

    run(main)
