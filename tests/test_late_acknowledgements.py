"""Where the kernel acknowledges late and cannot be told otherwise, no loop waits for what commands sent together gain.

Owns the rule of `LateAcknowledgements`. The clock is the test's, and so is the server. It has Nagle's algorithm on:
when it has written several replies and nothing has come from us meanwhile, the end of the last one waits. Whether a
kernel does so is not looked at here.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import closing

import pytest

from pop3fast import POP3, _socket
from pop3fast._framing import Framer
from pop3fast._late_acknowledgements import COST
from pop3fast._pipeline import Pipeline
from smallbuffer import SmallBufferServer
from test_pipeline import LINE_LIMIT, MAX_OCTETS, batch_of, body_of, reply

DELAY = 0.044
"""How late Linux acknowledges."""


class Line:
    """A server at the other end of a line, and the time that a loop takes there."""

    def __init__(self, round_trip: float, *, opening: float = 0.0, late: bool = True) -> None:
        """Answer after *round_trip* seconds, the first time after *opening* more; the client knows if it is *late*."""
        self.now = 0.0
        self.together: list[int] = []
        """How many commands were written at each time."""
        self._round_trip = round_trip
        self._opening = opening
        self._framer = Framer()
        self.pipeline = Pipeline(self._framer, None, (lambda: self.now) if late else None)

    def retrieve(self, messages: int) -> float:
        """Retrieve so many messages in one loop; return the seconds that it takes."""
        began = self.now
        batch = batch_of(range(1, messages + 1))
        held: deque[str] = deque()
        since_idle = 0
        while not batch.ended or batch.arrived:
            lines = self.pipeline.step(batch, LINE_LIMIT, MAX_OCTETS)
            if batch.arrived:
                batch.arrived.clear()
                continue
            if lines:
                self.together.append(len(lines))
                if not held:
                    self.now += self._round_trip + self._opening
                    since_idle, self._opening = 0, 0.0
                held.extend(lines)
            line = held.popleft()
            if since_idle and not held:
                self.now += DELAY
            since_idle += 1
            self._framer.feed(reply(body_of(line)))
        return self.now - began


def test_sixty_messages_that_come_quickly_are_asked_for_one_at_a_time() -> None:
    line = Line(0.0001)
    assert line.retrieve(60) == pytest.approx(60 * 0.0001)
    assert set(line.together) == {1}


def test_so_they_are_where_the_server_opens_its_mailbox_first() -> None:
    line = Line(0.0001, opening=0.02)
    line.retrieve(60)
    assert set(line.together) == {1}


def test_so_is_each_further_loop() -> None:
    line = Line(0.0001)
    for _ in range(5):
        line.retrieve(60)
    assert set(line.together) == {1}


def test_what_a_long_line_gains_is_gained_there_too() -> None:
    line = Line(0.04)
    assert line.retrieve(500) < 500 * 0.04 / 30
    assert max(line.together) > 10


def test_each_loop_is_decided_by_itself_and_once() -> None:
    line = Line(0.00005)
    line.retrieve(4800)
    # What is left when it has waited for all replies to be there would not be worth beginning with.
    assert line.together.count(1) <= 3
    line.together.clear()
    line.retrieve(60)
    assert set(line.together) == {1}


def test_a_server_that_does_not_show_it_pipelines_is_sent_few_commands_together_after_many_alone() -> None:
    line = Line(0.0001)
    line.retrieve(1000)
    assert set(line.together) == {1}
    line.retrieve(10_000)
    assert next(lines for lines in line.together if lines > 1) == 4


@pytest.mark.parametrize("round_trip", [0.00003, 0.0001, 0.001, 0.005, 0.02, 0.04, 0.2])
@pytest.mark.parametrize("messages", [1, 2, 3, 5, 20, 60, 200, 1000, 5000])
def test_a_loop_takes_no_longer_than_one_command_after_the_other(messages: int, round_trip: float) -> None:
    assert Line(round_trip).retrieve(messages) <= messages * round_trip + 1e-9


def test_what_it_may_cost_is_what_a_loop_waits_that_sends_them_together_at_once() -> None:
    line = Line(0.0, late=False)
    assert line.retrieve(20_000) == pytest.approx(COST)


def most_commands_at_once(monkeypatch: pytest.MonkeyPatch, clock: Callable[[], float]) -> int:
    """Return how many a server had at once, when so much time passes between two looks at the clock."""
    monkeypatch.setattr(_socket, "monotonic", clock)
    with SmallBufferServer(2048, 60) as server, closing(POP3(server.host, server.port, timeout=20)) as pop:
        for message in pop.retr_many(range(10, 61), pipelining=True):
            assert message.content == server.content(message.number)
        return server.fullest // len("RETR 10\r\n")


def test_a_client_whose_kernel_cannot_be_told_measures_and_goes_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_socket, "_ACKNOWLEDGE", None)
    assert most_commands_at_once(monkeypatch, lambda: 0.0) == 1
    seconds = iter(range(10_000))
    assert most_commands_at_once(monkeypatch, lambda: float(next(seconds))) > 1


@pytest.mark.skipif(_socket._ACKNOWLEDGE is None, reason="this kernel cannot be told to acknowledge")
def test_a_client_whose_kernel_can_be_told_never_looks_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> float:
        raise AssertionError(time)

    assert most_commands_at_once(monkeypatch, never) > 1
