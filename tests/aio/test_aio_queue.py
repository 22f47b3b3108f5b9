"""The queue of single commands: which go out together, and who is told what; without a loop that runs, or a server."""

import asyncio
from collections.abc import Iterator

import pytest

from pop3fast._commands import row, verb_of
from pop3fast._framing import Framer
from pop3fast.aio._queue import USUAL_LINE_OCTETS, Exchange, Hold, Queue, short

LONG = "NOOP " + "x" * 100


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def queue() -> Queue:
    queue = Queue(lambda _line, _in_sasl: None)
    queue.window = 100
    return queue


def give(queue: Queue, loop: asyncio.AbstractEventLoop, *lines: str, hold: Hold | None = None) -> list[Exchange[bytes]]:
    exchanges = [Exchange(loop, line, line.encode(), verb_of(line), short) for line in lines]
    for exchange in exchanges:
        exchange.hold, exchange.alone = hold, hold is not None or row(exchange.verb).alone
        queue.append(exchange)
    return exchanges


def sent(queue: Queue) -> list[str]:
    queue.measure()
    return queue.next_lines(100, 100)


def answer(queue: Queue, *replies: bytes) -> None:
    framer = Framer()
    framer.feed(b"".join(reply + b"\r\n" for reply in replies))
    queue.hand_over(queue.take_replies(framer, 100, 100, len(replies)).outcomes)


def test_commands_go_out_in_the_order_in_which_they_were_given(queue: Queue, loop: asyncio.AbstractEventLoop) -> None:
    asked = give(queue, loop, "DELE 1", "DELE 2", "DELE 3")
    assert sent(queue) == ["DELE 1", "DELE 2", "DELE 3"]
    answer(queue, b"+OK 1", b"+OK 2")
    assert [one.result() for one in asked[:2]] == [b"+OK 1", b"+OK 2"]
    assert not asked[2].done()


def test_a_command_longer_than_those_in_flight_are_counted_waits_until_none_is(
    queue: Queue, loop: asyncio.AbstractEventLoop
) -> None:
    give(queue, loop, "NOOP", LONG, "NOOP")
    assert sent(queue) == ["NOOP"]
    assert queue.line_octets == USUAL_LINE_OCTETS
    assert sent(queue) == []
    answer(queue, b"+OK")
    assert sent(queue) == [LONG, "NOOP"]
    assert queue.line_octets == len(LONG) + 2


@pytest.mark.parametrize("verb", ["QUIT", "STLS", "PASS x", "APOP a x", "USER a", "RPOP a", "AUTH PLAIN x", "XCLIENT"])
def test_what_is_alone_in_flight_goes_out_behind_all_before_it_and_nothing_with_it(
    queue: Queue, loop: asyncio.AbstractEventLoop, verb: str
) -> None:
    give(queue, loop, "NOOP", verb, "STAT")
    assert sent(queue) == ["NOOP"]
    assert sent(queue) == []
    assert queue.wants_silence
    answer(queue, b"+OK")
    assert sent(queue) == [verb]
    assert sent(queue) == []
    answer(queue, b"+OK")
    assert sent(queue) == ["STAT"]


def test_nothing_comes_between_the_commands_of_one_hold(queue: Queue, loop: asyncio.AbstractEventLoop) -> None:
    hold = Hold()
    give(queue, loop, "USER a", hold=hold)
    give(queue, loop, "NOOP", "PASS other")
    assert sent(queue) == ["USER a"]
    answer(queue, b"+OK")
    assert sent(queue) == []
    give(queue, loop, "PASS x", hold=hold)
    assert sent(queue) == ["PASS x"]
    answer(queue, b"+OK")
    assert sent(queue) == []
    queue.release(Hold())
    assert sent(queue) == []
    queue.release(hold)
    assert sent(queue) == ["NOOP"]


def test_what_was_left_out_in_time_is_never_sent(queue: Queue, loop: asyncio.AbstractEventLoop) -> None:
    first, second, third = give(queue, loop, "DELE 1", "DELE 2", "DELE 3")
    assert queue.leave_out(second)
    assert sent(queue) == ["DELE 1", "DELE 3"]
    assert not queue.leave_out(first)
    assert not queue.leave_out(second)
    assert queue.end() == ([first, third], [])
    assert queue.is_idle
