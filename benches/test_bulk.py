"""A mailbox in one loop: on loopback, and over a line with a round trip of 40 ms.

On loopback the floor is a bare loop that sends 64 commands and then throws all of their replies away. Over the line it
is mpop, a client in C that pipelines, when it is there; it delivers to a file of its own, which is part of its work.
"""

import os
import poplib
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

import pop3fast
from benches.contestants import Maildrop, mpop
from benches.delay import delayed
from benches.interleave import BASELINE, MARKS, Benchmark, Column, Contestant, Pace, interleave
from benches.mail import attachment
from benches.sessions import pop3fast_session, poplib_session, raw_session
from pop3fast.testing import MailboxServer

pytestmark = MARKS

TABLE = "A mailbox in one loop"
FAR_TABLE = "500 messages of 4 KB, 40 ms of round trip"
OURS = "pop3fast"
WHOLE_SESSION = "pop3fast, whole session"
FLOOR = "bare loop, 64 commands and then their replies"
MPOP = "mpop, whole session"

WINDOW = 64
ROUND_TRIP = 0.04
FAR_MESSAGES = 500

P = TypeVar("P", bound=poplib.POP3)

RETR_MANY = "`retr_many()`"
FAR_WAYS: dict[str, tuple[Callable[[poplib.POP3, int], object], Callable[[pop3fast.POP3, Sequence[int]], object]]] = {
    RETR_MANY: (lambda pop, number: pop.retr(number), lambda pop, numbers: _exhaust(pop.retr_many(numbers))),
    "`top_many()`": (lambda pop, number: pop.top(number, 0), lambda pop, numbers: _exhaust(pop.top_many(numbers))),
    "`dele_many()`": (lambda pop, number: pop.dele(number), lambda pop, numbers: pop.dele_many(numbers)),
    "`retr()`, `read_ahead`": (
        lambda pop, number: pop.retr(number),
        lambda pop, numbers: _read_ahead(pop, numbers),  # noqa: PLW0108 - it stands below
    ),
}
READ_AHEAD = 100
"""As many as `retr_many` has in flight."""


@dataclass(frozen=True)
class Mailbox:
    title: str
    octets: int
    messages: int
    tls: bool = False


MAILBOXES = [
    Mailbox("4 KB", 4_000, 2_000),
    Mailbox("50 KB", 50_000, 400),
    Mailbox("5 MB", 5_000_000, 8),
    Mailbox("50 KB, TLS", 50_000, 400, tls=True),
]


@pytest.fixture(scope="module", params=MAILBOXES, ids=lambda mailbox: mailbox.title)
def near(request: pytest.FixtureRequest, pace: Pace, *, quick: bool) -> Column:
    mailbox: Mailbox = request.param
    count = max(2, mailbox.messages // 20) if quick else mailbox.messages
    messages = [attachment(mailbox.octets, seed) for seed in range(min(count, 40))]
    messages = [messages[number % len(messages)] for number in range(count)]
    numbers = range(1, count + 1)
    commands = [b"RETR %d\r\n" % number for number in numbers]
    with MailboxServer(messages, tls=mailbox.tls, process=True) as server, ExitStack() as sessions:
        theirs = sessions.enter_context(poplib_session(server, tls=mailbox.tls))
        ours = sessions.enter_context(pop3fast_session(server, tls=mailbox.tls))
        floor = sessions.enter_context(raw_session(server, tls=mailbox.tls))
        sizes = [floor.discard(command) for command in commands]
        if [message.content for message in ours.retr_many(numbers)] != messages:
            raise AssertionError("retr_many retrieved something else")
        contestants = [
            Contestant(BASELINE, lambda: _exhaust(map(theirs.retr, numbers))),
            Contestant(OURS, lambda: _exhaust(ours.retr_many(numbers))),
            Contestant(FLOOR, lambda: floor.discard_many(commands, sizes, WINDOW)),
        ]
        return Column(TABLE, mailbox.title, interleave(contestants, pace))


@pytest.mark.parametrize("way", [BASELINE, OURS, FLOOR])
def test_retrieving_many(near: Column, way: str, benchmark: Benchmark) -> None:
    near.hand_over(way, benchmark)


@pytest.fixture(scope="module", params=list(FAR_WAYS))
def far(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, *, quick: bool) -> Column:
    """Measure over the line, where a round takes poplib seconds and varies by little: it has one, the others more."""
    theirs, ours = FAR_WAYS[request.param]
    count, again = (25, 1) if quick else (FAR_MESSAGES, 5)
    numbers = range(1, count + 1)
    rounds: dict[str, list[float]] = {BASELINE: [], OURS: [], WHOLE_SESSION: [], MPOP: []}
    with (
        MailboxServer([attachment(4_000, 1)] * count, process=True) as server,
        delayed(server.port, ROUND_TRIP) as port,
    ):
        with _logged_in(poplib.POP3, server, port) as pop:
            rounds[BASELINE].append(_seconds(lambda: _exhaust(theirs(pop, number) for number in numbers)))
        for _ in range(again):
            start = time.perf_counter()
            with _logged_in(pop3fast.POP3, server, port) as fast:
                fast.supports("PIPELINING")
                rounds[OURS].append(_seconds(lambda: ours(fast, numbers)))
            rounds[WHOLE_SESSION].append(time.perf_counter() - start)
            if request.param == RETR_MANY and shutil.which("mpop"):
                folder = tmp_path_factory.mktemp("mpop")
                rounds[MPOP].append(_seconds(lambda: _mpop(server, port, folder)))  # noqa: B023
                delivered = (folder / "mbox").read_bytes().count(b"\nFrom ") + 1
                if delivered != count:
                    raise AssertionError(f"mpop delivered {delivered} of {count} messages")
    return Column(FAR_TABLE, request.param, rounds)


@pytest.mark.parametrize("way", [BASELINE, OURS, WHOLE_SESSION, MPOP])
def test_over_a_line(far: Column, way: str, benchmark: Benchmark) -> None:
    if not far.rounds[way]:
        pytest.skip("mpop not installed" if far.title == RETR_MANY else "mpop only retrieves")
    far.hand_over(way, benchmark)


@contextmanager
def _logged_in(cls: type[P], server: MailboxServer, port: int) -> Iterator[P]:
    pop = cls(server.host, port)
    try:
        pop.user(server.user)
        pop.pass_(server.password)
        yield pop
        pop.rset()  # the next session finds all messages again
        pop.quit()
    finally:
        pop.close()


def _read_ahead(pop: pop3fast.POP3, numbers: Sequence[int]) -> None:
    pop.read_ahead = READ_AHEAD
    pop.list()
    _exhaust(map(pop.retr, numbers))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _exhaust(messages: Iterable[object]) -> None:
    deque(messages, maxlen=0)


def _mpop(server: MailboxServer, port: int, folder: Path) -> None:
    """Retrieve everything with mpop into one file, without a configuration of the machine's or the user's."""
    drop = Maildrop(server.host, port, server.user, server.password, folder)
    subprocess.run(
        mpop(drop, f"mbox,{folder / 'mbox'}"),
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        env={"HOME": str(folder), "PATH": os.environ["PATH"]},
    )
