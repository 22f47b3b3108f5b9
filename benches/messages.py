"""Retrieving messages in every way there is: what the tables of messages and of shapes have in common.

Owns the contestants of a mailbox, and that all of them retrieve the same octets before any is measured.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle

from benches.interleave import BASELINE, Contestant, Pace, interleave
from benches.sessions import CRLF, pop3fast_session, poplib_session, raw_session
from pop3fast.testing import MailboxServer

RETR = "pop3fast, `retr()`"
RETR_BYTES = "pop3fast, `retr_bytes()`"
PURE_LINES = "pure Python, lines"
PURE_BYTES = "pure Python, bytes"
FLOOR = "bare loop"

WAYS = [BASELINE, RETR, RETR_BYTES, PURE_LINES, PURE_BYTES, FLOOR]


def retrieve(messages: Sequence[bytes], pace: Pace, *, tls: bool = False) -> dict[str, list[float]]:
    """Return the rounds of every way to retrieve *messages* one by one, again and again."""
    with MailboxServer(messages, tls=tls, process=True) as server, ExitStack() as sessions:
        poplib = sessions.enter_context(poplib_session(server, tls=tls))
        fast_lines = sessions.enter_context(pop3fast_session(server, tls=tls))
        fast_bytes = sessions.enter_context(pop3fast_session(server, tls=tls))
        raw_lines = sessions.enter_context(raw_session(server, tls=tls))
        raw_bytes = sessions.enter_context(raw_session(server, tls=tls))
        floor = sessions.enter_context(raw_session(server, tls=tls))

        def one_by_one(retr: Callable[[int], object]) -> Callable[[], object]:
            numbers: Iterator[int] = cycle(range(1, len(messages) + 1))
            return lambda: retr(next(numbers))

        ways: dict[str, Callable[[int], object]] = {
            BASELINE: poplib.retr,
            RETR: fast_lines.retr,
            RETR_BYTES: fast_bytes.retr_bytes,
            PURE_LINES: lambda number: raw_lines.lines(b"RETR %d\r\n" % number),
            PURE_BYTES: lambda number: raw_bytes.body(b"RETR %d\r\n" % number),
            FLOOR: lambda number: floor.discard(b"RETR %d\r\n" % number),
        }
        for name, retr in ways.items():
            _check(name, retr(1), messages[0])
        return interleave([Contestant(name, one_by_one(retr)) for name, retr in ways.items()], pace)


def _check(name: str, result: object, message: bytes) -> None:
    """Raise when what *name* retrieved is not *message*: then it would not be the same work."""
    if isinstance(result, tuple):
        result = result[1]
    if isinstance(result, list):
        result = CRLF.join([*result, b""])
    # The bare loop knows only how many octets came, with a status line and an end.
    if result != message and name != FLOOR:
        raise AssertionError(f"{name} retrieved something else")
