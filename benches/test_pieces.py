"""Servers that write a reply in pieces with Nagle's algorithm on: who acknowledges late waits 40 ms for each reply.

nginx, when it is there, stands in front of a server that writes replies whole: its pieces are its own.
popa3d, Courier and Cyrus, when they are, have a table of their own. Where poplib does not wait either, what is left is
the work of two processes, so these columns take the mean of several sessions, for each is placed on the cores as it
began; Courier has each placement besides.
"""

import itertools
import poplib
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import pytest

import pop3fast
from benches import cyrus, field, nginx
from benches.cores import ANYWHERE, ONE_CORE, TWO_CORES, Cores, on_core
from benches.interleave import BASELINE, MARKS, Benchmark, Column, Contestant, Pace, interleave
from benches.mail import attachment
from benches.pieces import Manner, in_pieces
from pop3fast.testing import CERTIFICATE, MailboxServer

pytestmark = MARKS

TABLE = "In pieces, Nagle's algorithm on"
FIELD_TABLE = "In pieces, servers of Debian"
RETR = "pop3fast, `retr()`"
RETR_BYTES = "pop3fast, `retr_bytes()`"
RETR_MANY = "pop3fast, `retr_many()`"
WAYS = [BASELINE, RETR, RETR_BYTES, RETR_MANY]

# Each may cost poplib 44 ms.
_MESSAGES = 5

_SESSIONS = 8
_PASSES = 20
"""A column that takes the mean of so many sessions retrieves all messages so many times in one before the next one."""

P = TypeVar("P", bound=poplib.POP3)


@dataclass(frozen=True)
class Site:
    title: str
    octets: int
    pipelining: bool = False
    tls: bool = False
    nginx: bool = False
    server: field.Server | None = None
    stalls: bool = False
    """Whether poplib waits for every message. With more octets its own small reads acknowledge often enough."""
    sessions: int = 1
    cores: Cores = ANYWHERE

    @property
    def table(self) -> str:
        return FIELD_TABLE if self.server else TABLE

    def missing(self) -> str | None:
        """Return what stands in the way, as a sentence."""
        if self.nginx and nginx.program() is None:
            return "nginx with its mail module is not installed."
        if missing := self.cores.missing():
            return missing
        return self.server.missing() if self.server else None

    @contextmanager
    def serve(self, messages: int) -> Iterator[int]:
        """Give the port of the server."""
        contents = [attachment(self.octets)] * messages
        if self.server:
            with self.server.serve(contents) as port:
                yield port
            return
        if not self.nginx:
            with in_pieces(Manner(self.octets, messages, pipelining=self.pipelining, tls=self.tls)) as port:
                yield port
            return
        with (
            MailboxServer(contents, user=field.USER, password=field.PASSWORD, process=True) as server,
            nginx.proxied(server.port, "TOP UIDL USER") as port,
        ):
            yield port


SITES = [
    Site("4 KB", 4_000, stalls=True),
    Site("4 KB, PIPELINING", 4_000, pipelining=True, stalls=True),
    Site("100 KB", 100_000),
    Site("1 MB", 1_000_000),
    Site("1 MB, PIPELINING", 1_000_000, pipelining=True),
    Site("4 KB, TLS", 4_000, tls=True, stalls=True),
    Site("100 KB, TLS", 100_000, tls=True),
    Site("10 KB, nginx", 10_000, nginx=True, stalls=True),
    Site("100 KB, nginx", 100_000, nginx=True),
    Site("4 KB, popa3d", 4_000, server=field.Popa3d(), stalls=True),
    Site("100 KB, popa3d", 100_000, server=field.Popa3d()),
    Site("4 KB, Courier", 4_000, server=field.Courier(), sessions=_SESSIONS),
    Site("4 KB, Courier, one core", 4_000, server=field.Courier(), cores=ONE_CORE),
    Site("4 KB, Courier, two cores", 4_000, server=field.Courier(), cores=TWO_CORES),
    Site("10 KB, Courier", 10_000, server=field.Courier(), stalls=True),
    Site("100 KB, Courier", 100_000, server=field.Courier()),
    Site("4 KB, Cyrus", 4_000, server=cyrus.Cyrus(), sessions=_SESSIONS),
    Site("100 KB, Cyrus", 100_000, server=cyrus.Cyrus()),
]


@pytest.fixture(scope="module", params=SITES, ids=lambda site: site.title)
def column(request: pytest.FixtureRequest, pace: Pace, *, quick: bool) -> Column:
    site: Site = request.param
    if missing := site.missing():
        pytest.skip(missing)
    # A round of poplib's lasts as long as twenty of other tables.
    pace = replace(pace, patience=max(2, pace.patience // 5))
    messages = 1 if quick else _MESSAGES
    numbers = range(1, messages + 1)
    with ExitStack() as stack:
        with on_core(site.cores.server):
            port = stack.enter_context(site.serve(messages))
        stack.enter_context(on_core(site.cores.client))

        def sessions(plain: type[P], secured: Callable[..., P]) -> list[P]:
            make = partial(_session, plain, secured, port, tls=site.tls)
            return [stack.enter_context(make()) for _ in range(site.sessions)]

        theirs = sessions(poplib.POP3, poplib.POP3_SSL)
        lines, whole, many = (sessions(pop3fast.POP3, pop3fast.POP3_SSL) for _ in range(3))
        if {message.content for message in many[0].retr_many(numbers)} != {attachment(site.octets)}:
            raise AssertionError("retr_many retrieved something else")
        passes = range(1 if quick or site.sessions == 1 else _PASSES)

        def in_each(pops: list[P], retrieve: Callable[[P], Iterable[object]]) -> Callable[[], None]:
            def call() -> None:
                for pop, _ in itertools.product(pops, passes):
                    _exhaust(retrieve(pop))

            return call

        ways = {
            BASELINE: in_each(theirs, lambda pop: map(pop.retr, numbers)),
            RETR: in_each(lines, lambda pop: map(pop.retr, numbers)),
            RETR_BYTES: in_each(whole, lambda pop: map(pop.retr_bytes, numbers)),
            RETR_MANY: in_each(many, lambda pop: pop.retr_many(numbers)),
        }
        return Column(site.table, site.title, interleave([Contestant(*way) for way in ways.items()], pace))


@pytest.mark.parametrize("way", WAYS)
def test_retrieving(column: Column, way: str, benchmark: Benchmark) -> None:
    column.hand_over(way, benchmark)


@contextmanager
def _session(plain: type[P], secured: Callable[..., P], port: int, *, tls: bool) -> Iterator[P]:
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    pop = secured("localhost", port, context=context) if tls else plain("127.0.0.1", port)
    try:
        pop.user(field.USER)
        pop.pass_(field.PASSWORD)
        yield pop
        pop.quit()
    finally:
        pop.close()


def _exhaust(messages: Iterable[object]) -> None:
    deque(messages, maxlen=0)
