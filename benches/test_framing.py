"""Framing alone, without a network: replies that lie in memory, in chunks as a socket gives them or octet by octet."""

import io
import poplib
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from benches.interleave import BASELINE, MARKS, Benchmark, Column, Contestant, Pace, interleave
from benches.mail import attachment, dot_lines, long_lines, short_lines
from benches.sessions import CRLF, unstuffed
from pop3fast._framing import Framer

pytestmark = MARKS

TABLE = "Framing alone, 500 KB"
OCTET_BY_OCTET = "Framing octet by octet"

LINES = "pop3fast, lines"
BYTES = "pop3fast, bytes"
PURE_LINES = "pure Python, lines"
PURE_BYTES = "pure Python, bytes"
WAYS = [BASELINE, LINES, BYTES, PURE_LINES, PURE_BYTES]

_OCTETS = 500_000
_CHUNK = 64 * 1024

SHAPES: dict[str, Callable[[int], bytes]] = {
    "Base64": attachment,
    "lines of 1 and 2 octets": short_lines,
    "lines of 100 KB": long_lines,
    "lines that begin with a dot": dot_lines,
}

_NO_LIMIT = 2**62

ONCE = "N octets"
FOUR_TIMES = "4 N octets"


def _reply(message: bytes) -> bytes:
    return (b"+OK\r\n" + message).replace(b"\r\n.", b"\r\n..") + b".\r\n"


def _poplib(reply: bytes) -> tuple[bytes, list[bytes], int]:
    pop = poplib.POP3.__new__(poplib.POP3)
    pop._debugging = 0  # type: ignore[attr-defined]  # poplib's own, which typeshed leaves out
    pop.file = io.BufferedReader(io.BytesIO(reply))  # what a socket's makefile makes
    response: tuple[bytes, list[bytes], int] = pop._getlongresp()  # type: ignore[attr-defined]
    return response


def _framed(chunks: Sequence[bytes], step: Callable[[Framer], object]) -> object:
    framer = Framer()
    reply = None
    for chunk in chunks:
        framer.feed(chunk)
        reply = step(framer)
    return reply


def _lines(framer: Framer) -> object:
    return framer.next_lines_response(_CHUNK, _NO_LIMIT)


def _bytes(framer: Framer) -> object:
    return framer.next_bytes_response(_CHUNK, _NO_LIMIT)


def _pure_bytes(chunks: Sequence[bytes]) -> bytes:
    reply = b"".join(chunks)
    return unstuffed(reply[reply.index(CRLF) + len(CRLF) : reply.find(b"\r\n.\r\n") + len(CRLF)])


def _pure_lines(chunks: Sequence[bytes]) -> list[bytes]:
    lines = _pure_bytes(chunks).split(CRLF)
    lines.pop()
    return lines


@pytest.fixture(scope="module", params=SHAPES)
def shape(request: pytest.FixtureRequest, pace: Pace) -> Column:
    title: str = request.param
    message = SHAPES[title](_OCTETS)
    reply = _reply(message)
    chunks = [reply[start : start + _CHUNK] for start in range(0, len(reply), _CHUNK)]
    lines = message.split(CRLF)[:-1]
    ways: dict[str, tuple[Callable[[], object], object]] = {
        BASELINE: (partial(_poplib, reply), (b"+OK", lines, len(message))),
        LINES: (partial(_framed, chunks, _lines), (b"+OK", lines, len(message))),
        BYTES: (partial(_framed, chunks, _bytes), (b"+OK", message)),
        PURE_LINES: (partial(_pure_lines, chunks), lines),
        PURE_BYTES: (partial(_pure_bytes, chunks), message),
    }
    with pytest.MonkeyPatch.context() as patch:
        # Without this poplib refuses the long lines.
        patch.setattr(poplib, "_MAXLINE", 2**20)
        for way, (call, expected) in ways.items():
            if call() != expected:
                raise AssertionError(f"{way} framed something else")
        return Column(TABLE, title, interleave([Contestant(way, call) for way, (call, _) in ways.items()], pace))


@pytest.mark.parametrize("way", WAYS)
def test_framing(shape: Column, way: str, benchmark: Benchmark) -> None:
    shape.hand_over(way, benchmark)


@pytest.fixture(scope="module")
def octet_by_octet(pace: Pace) -> Column:
    """Four times the octets, each in a chunk of its own: what rescans its buffer takes sixteen times as long."""
    contestants = []
    for name, octets in ((ONCE, 10_000), (FOUR_TIMES, 40_000)):
        reply = _reply(attachment(octets))
        chunks = [reply[at : at + 1] for at in range(len(reply))]
        contestants.append(Contestant(name, partial(_framed, chunks, _bytes)))
    return Column(OCTET_BY_OCTET, "time", interleave(contestants, pace))


@pytest.mark.parametrize("length", [ONCE, FOUR_TIMES])
def test_framing_octet_by_octet(octet_by_octet: Column, length: str, benchmark: Benchmark) -> None:
    octet_by_octet.hand_over(length, benchmark)
