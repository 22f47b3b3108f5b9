"""The writer: nothing is remembered that is not durable, nothing has a receipt that is not remembered."""

import threading
from collections.abc import Callable, Sequence
from itertools import count
from queue import SimpleQueue
from typing import Any

import pytest

from maildrops import FastClock, mail
from pop3fast.fetch import DestinationError, Entry, Identity, StateError, _writer
from pop3fast.fetch._identity import ReadBack
from pop3fast.fetch._plan import Item
from pop3fast.fetch._receipts import BATCH_MESSAGES, BATCH_OCTETS, BATCH_SECONDS
from pop3fast.fetch._writer import TICK_MESSAGES, TICK_OCTETS, TICKS, Writer
from pop3fast.fetch.memory._fingerprint import header_of
from waiting import wait_until


class Diary:
    """A destination and a memory that write down what is done with them, in order."""

    path = "diary"

    def __init__(self) -> None:
        self.done: list[str] = []
        self.instead: Callable[[str], object] = str
        self.ended: list[Entry] = []
        self.begun: Identity | None = None
        self.octets = 0

    def note(self, what: str) -> None:
        self.done.append(what)
        self.instead(what)

    def open(self) -> None:
        self.note("open")

    def prepare(self, account: str, journal: object) -> list[str]:
        self.note(f"prepare {account} {journal}")
        return []

    def begin(self, identity: Identity) -> "Diary":
        self.begun = identity
        self.octets = 0
        self.note(f"begin {identity.uid.decode()}")
        return self

    def write(self, octets: bytes) -> None:
        self.octets += len(octets)
        self.note(f"write {len(octets)}")

    def end(self, size: int = 0, fingerprint: bytes = b"") -> None:
        assert self.begun is not None
        self.note("end")
        self.ended.append(Entry(*self.begun, size, self.octets, fingerprint, 0, b"c" * 16))

    def abandon(self) -> None:
        self.note("abandon")

    def hurry(self) -> None:
        self.note("hurry")

    def read_back(self, entries: Sequence[Entry], *, fresh: bool) -> list[ReadBack]:
        self.note(f"read back {len(entries)} {fresh}")
        return [ReadBack.WHOLE] * len(entries)

    def flush(self) -> list[Entry]:
        ended, self.ended = self.ended, []
        self.note(f"flush {len(ended)}")
        return ended

    def remember(self, entries: list[Entry]) -> None:
        self.note(f"remember {len(entries)}")

    def check_lease(self) -> None:
        pass

    def close(self) -> None:
        self.note("close")


def item(number: int) -> Item:
    return Item(number, Identity(b"%d" % number), 10)


def put(writer: Writer, *numbers: int, content: bytes = b"A: b\r\n\r\nc\r\n") -> None:
    for number in numbers:
        writer.put(item(number), item(number).identity, content)


def batches(diary: Diary) -> list[str]:
    return [what for what in diary.done if what.startswith(("flush", "remember"))]


def test_what_has_a_receipt_was_flushed_and_remembered() -> None:
    diary = Diary()
    with Writer(diary, diary, FastClock()) as writer:
        put(writer, 1, 2)
    assert [receipt.item.number for receipt in writer.receipts()] == [1, 2]
    assert writer.receipts() == []
    assert diary.done == [
        *("begin 1", "write 11", "end", "begin 2", "write 11", "end", "flush 2", "remember 2"),
    ]


def test_a_batch_is_full_by_messages_by_octets_and_by_time() -> None:
    diary = Diary()
    with Writer(diary, diary, FastClock()) as writer:
        put(writer, *range(2 * BATCH_MESSAGES + 1))
    assert batches(diary) == [f"flush {BATCH_MESSAGES}", f"remember {BATCH_MESSAGES}"] * 2 + ["flush 1", "remember 1"]
    diary = Diary()
    with Writer(diary, diary, FastClock()) as writer:
        put(writer, 1, 2, 3, content=bytes(BATCH_OCTETS // 2))
    assert batches(diary) == ["flush 2", "remember 2", "flush 1", "remember 1"]
    diary, clock = Diary(), FastClock()
    with Writer(diary, diary, clock, inline=True) as writer:
        put(writer, 1)
        clock.pause(BATCH_SECONDS / 2)
        put(writer, 2)
        clock.pause(BATCH_SECONDS / 2)
        put(writer, 3)
    assert batches(diary) == ["flush 2", "remember 2", "flush 1", "remember 1"]


def test_what_is_in_doubt_is_neither_flushed_nor_remembered_and_what_has_a_receipt_stays() -> None:
    diary, clock = Diary(), FastClock()
    with Writer(diary, diary, clock, inline=True) as writer:
        put(writer, 1)
        clock.pause(BATCH_SECONDS)
        put(writer, 2)
        put(writer, 3)
        writer.begin(item(4), item(4).identity)
        writer.doubt()
        writer.write(b"A: b\r\n")
    assert batches(diary) == ["flush 1", "remember 1"]
    assert [receipt.item.number for receipt in writer.receipts()] == [1]


def test_a_batch_that_is_late_is_flushed_in_the_middle_of_a_message_which_goes_on() -> None:
    diary, clock = Diary(), FastClock()
    with Writer(diary, diary, clock, inline=True) as writer:
        put(writer, 1)
        writer.begin(item(2), item(2).identity)
        writer.write(b"A: b\r\n\r\n")
        clock.pause(BATCH_SECONDS)
        writer.write(b"slow\r\n")
        writer.end()
        assert [receipt.item.number for receipt in writer.receipts()] == [1]
    (receipt,) = writer.receipts()
    assert (receipt.item.number, receipt.entry.octets) == (2, 14)
    assert diary.done[3:] == [
        *("begin 2", "write 8", "flush 1", "remember 1", "write 6", "end", "flush 1", "remember 1"),
    ]


class HastyClock(FastClock):
    """A clock that goes on by a second each time somebody looks."""

    def now(self) -> float:
        self.time += 1
        return self.time


def test_what_nothing_comes_behind_is_flushed_in_time() -> None:
    diary, remembered = Diary(), threading.Event()
    diary.instead = lambda what: remembered.set() if what == "remember 1" else None
    with Writer(diary, diary, HastyClock()) as writer:
        put(writer, 1)
        # Long before the block ends, which would flush it, too.
        assert remembered.wait(30)
    assert [receipt.item.number for receipt in writer.receipts()] == [1]


def test_a_message_in_pieces_and_one_that_does_not_end() -> None:
    diary = Diary()
    with Writer(diary, diary, FastClock()) as writer:
        writer.begin(item(1), item(1).identity)
        writer.write(b"A: b\r\n\r")
        writer.write(b"\nbody")
        writer.end()
        writer.begin(item(2), item(2).identity)
        writer.write(b"half")
    (receipt,) = writer.receipts()
    assert receipt.entry.octets == 12
    assert receipt.entry.fingerprint == _fingerprint_of(b"A: b\r\n\r\n")
    assert diary.done.count("abandon") == 1


def _fingerprint_of(header: bytes) -> bytes:
    diary = Diary()
    with Writer(diary, diary, FastClock()) as writer:
        put(writer, 1, content=header)
    return writer.receipts()[0].entry.fingerprint


@pytest.mark.parametrize("failing", ["begin 2", f"flush {BATCH_MESSAGES}", f"remember {BATCH_MESSAGES}", "write 11"])
def test_an_error_stops_it_and_the_caller_gets_it(failing: str) -> None:
    diary = Diary()
    error = StateError("s", "full") if failing.startswith("remember") else DestinationError("d", "write to", "full")
    times = 0

    def instead(what: str) -> None:
        nonlocal times
        times += what == failing
        if what == failing and times == 1:
            raise error

    diary.instead = instead
    writer = Writer(diary, diary, FastClock())

    def put_on_and_on() -> None:
        with writer:
            for number in count(1):
                put(writer, number)

    with pytest.raises((DestinationError, StateError)) as caught:
        put_on_and_on()
    assert caught.value is error is writer.failure
    # What had ended before it failed is delivered all the same, and nothing else is.
    assert [receipt.item.number for receipt in writer.receipts()] == ([1] if failing == "begin 2" else [])


@pytest.mark.parametrize("error", [DestinationError("d", "write to", "full"), AssertionError("0 octets are left")])
def test_of_a_message_whose_end_fails_nothing_is_said_but_the_error(error: Exception) -> None:
    diary = Diary()

    def instead(what: str) -> None:
        if what == "end" and diary.begun == item(2).identity:
            raise error

    diary.instead = instead
    with Writer(diary, diary, FastClock(), inline=True) as writer:
        put(writer, 1, 2)
    assert writer.failure is error
    assert [receipt.item.number for receipt in writer.receipts()] == [1]
    assert writer.rejections() == []


def test_of_a_batch_that_failed_in_part_the_rest_is_remembered() -> None:
    diary = Diary()

    def instead(what: str) -> None:
        if what.startswith("flush"):
            error = DestinationError("d", "deliver to", "full")
            error.delivered = (Entry(b"2", 0, 10, 11, b"", 0, b"c" * 16),)
            raise error

    diary.instead = instead
    with Writer(diary, diary, FastClock()) as writer:
        put(writer, 1, 2, 3)
    assert [receipt.item.number for receipt in writer.receipts()] == [2]
    assert isinstance(writer.failure, DestinationError)


def test_what_waits_to_be_written_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    diary = Diary()
    go_on, caller_waits = threading.Event(), threading.Event()

    class Answers(SimpleQueue[Any]):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ANN401, FBT001, FBT002 - SimpleQueue's
            if threading.current_thread() is thread:
                caller_waits.set()
            return super().get(block, timeout)

    monkeypatch.setattr(_writer, "SimpleQueue", Answers)
    diary.instead = lambda _: go_on.wait(20)
    put_so_far = 0

    def work() -> None:
        nonlocal put_so_far
        with Writer(diary, diary, FastClock()) as writer:
            for number in range(10 * TICKS * TICK_MESSAGES):
                put(writer, number)
                put_so_far += 1
            for number in range(10 * TICKS):
                put(writer, -number, content=bytes(TICK_OCTETS))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_until(caller_waits.is_set)
        most = put_so_far
    finally:
        go_on.set()
        thread.join(30)
    assert TICKS * TICK_MESSAGES <= most <= (TICKS + 1) * TICK_MESSAGES
    assert put_so_far == 10 * TICKS * TICK_MESSAGES


def test_an_interrupt_flushes_what_has_ended_and_drops_what_waits() -> None:
    diary = Diary()
    started, go_on = threading.Event(), threading.Event()

    def instead(what: str) -> None:
        if what == "begin 3":
            started.set()
            assert go_on.wait(10), "the destination was not told that there is a hurry"
        elif what == "hurry":
            go_on.set()

    diary.instead = instead
    writer = Writer(diary, diary, FastClock())

    def interrupted() -> None:
        with writer:
            put(writer, *range(1, 50))
            started.wait(10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert writer.failure is None
    assert [receipt.item.number for receipt in writer.receipts()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "header"),
    [
        (b"A: b\r\n\r\nbody\r\n\r\n", b"A: b\r\n\r\n"),
        (b"A: b\n\nbody\r\n\r\n", b"A: b\n\n"),
        (b"A: b\r\n", b"A: b\r\n"),
        (b"", b""),
        (mail(1), mail(1).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"),
    ],
)
def test_the_header_ends_at_the_first_empty_line(content: bytes, header: bytes) -> None:
    assert header_of(content) == header
