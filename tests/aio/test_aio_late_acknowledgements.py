"""The dialogues of `test_late_acknowledgements`, held with the asyncio client; see `twins`.

And what only this client has: single commands of many tasks, where nobody knows how many will follow.
"""

import asyncio
from collections import deque

import pytest

from pop3fast._framing import Framer
from pop3fast._late_acknowledgements import COST
from pop3fast._pipeline import Pipeline
from pop3fast.aio._queue import Exchange, Queue, whole
from test_late_acknowledgements import DELAY
from test_pipeline import LINE_LIMIT, MAX_OCTETS, body_of, reply
from twins import held_again

globals().update(held_again("test_late_acknowledgements"))


class Tasks:
    """Tasks that retrieve message after message over a line, without a network, and the time that it takes."""

    def __init__(self, round_trip: float, tasks: int, *, late: bool = True) -> None:
        """Let so many *tasks* ask; *late* is whether the client knows that acknowledgements come late."""
        self.now = 0.0
        self.together: list[int] = []
        """How many commands were written at each time."""
        self._round_trip = round_trip
        self._tasks = tasks
        self._queue = Queue(lambda _line, _in_sasl: None)
        self._queue.window = 100
        self._framer = Framer()
        self._pipeline = Pipeline(self._framer, None, (lambda: self.now) if late else None)

    def retrieve(self, messages: int) -> float:
        """Retrieve so many; return the seconds that it takes."""
        began, loop = self.now, asyncio.new_event_loop()
        wanted, waiting = deque(range(1, messages + 1)), list[Exchange[bytes]]()
        held: deque[str] = deque()
        since_idle = 0
        while wanted or waiting:
            waiting = [exchange for exchange in waiting if not exchange.done()]
            while wanted and len(waiting) < self._tasks:
                line = f"RETR {wanted.popleft()}"
                waiting.append(Exchange(loop, line, line.encode(), "RETR", whole))
                self._queue.append(waiting[-1])
            self._queue.measure()
            lines = self._pipeline.step(self._queue, LINE_LIMIT, MAX_OCTETS)
            if lines:
                self.together.append(len(lines))
                if not held:
                    self.now += self._round_trip
                    since_idle = 0
                held.extend(lines)
            if held:
                line = held.popleft()
                if since_idle and not held:
                    self.now += DELAY
                since_idle += 1
                self._framer.feed(reply(body_of(line)))
        loop.close()
        return self.now - began


def test_few_commands_that_come_together_and_quickly_go_out_one_at_a_time_however_often() -> None:
    tasks = Tasks(0.0001, 60)
    tasks.retrieve(2)
    tasks.together.clear()
    for _ in range(100):
        assert tasks.retrieve(60) == pytest.approx(60 * 0.0001)
    assert set(tasks.together) == {1}


def test_tasks_that_go_on_and_on_are_known_by_what_they_have_asked_so_far() -> None:
    tasks = Tasks(0.02, 10)
    assert tasks.retrieve(500) < 500 * 0.02 / 3
    assert max(tasks.together) > 1


@pytest.mark.parametrize("round_trip", [0.0001, 0.001, 0.005, 0.02, 0.1])
@pytest.mark.parametrize("number", [1, 2, 5, 10, 100])
def test_tasks_lose_no_more_by_measuring_than_it_may_cost(number: int, round_trip: float) -> None:
    together = Tasks(round_trip, number, late=False).retrieve(1000)
    assert Tasks(round_trip, number).retrieve(1000) <= together + COST


def test_five_tasks_and_a_quick_server_wait_for_no_acknowledgement() -> None:
    assert Tasks(0.0001, 5).retrieve(1000) == pytest.approx(0.1)
    assert Tasks(0.0001, 5, late=False).retrieve(1000) > 3
