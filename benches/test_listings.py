"""Scan and unique-id listings of 1,000,000 messages, as lines and as dicts."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import pytest

from benches.interleave import BASELINE, MARKS, Benchmark, Column, Contestant, Pace, interleave
from benches.mail import attachment
from benches.sessions import pop3fast_session, poplib_session, raw_session
from pop3fast.testing import MailboxServer

pytestmark = MARKS

TABLE = "Listings"

OURS = "pop3fast"
PURE = "pure Python"
FLOOR = "bare loop"
WAYS = [BASELINE, OURS, PURE, FLOOR]

LISTINGS = ["`list()`", "`uidl()`", "`sizes()`", "`uids()`"]


def _sizes_of_lines(lines: Sequence[bytes]) -> dict[int, int]:
    return {int(number): int(octets) for number, octets in map(bytes.split, lines)}


def _uids_of_lines(lines: Sequence[bytes]) -> dict[int, str]:
    return {int(number): uid.decode("latin-1") for number, uid in map(bytes.split, lines)}


def _sizes_of_body(body: bytes) -> dict[int, int]:
    fields = body.split()
    return dict(zip(map(int, fields[::2]), map(int, fields[1::2]), strict=True))


def _uids_of_body(body: bytes) -> dict[int, str]:
    fields = body.decode("latin-1").split()
    return dict(zip(map(int, fields[::2]), fields[1::2], strict=True))


@pytest.fixture(scope="module")
def rounds(pace: Pace, *, quick: bool) -> dict[str, dict[str, list[float]]]:
    """Return the rounds of every listing. One server for all: to prepare a million replies takes a while."""
    maildrop = [attachment(2_000)] * (20_000 if quick else 1_000_000)
    with MailboxServer(maildrop, process=True) as server, ExitStack() as sessions:
        poplib = sessions.enter_context(poplib_session(server, tls=False))
        fast = sessions.enter_context(pop3fast_session(server, tls=False))
        raw = sessions.enter_context(raw_session(server, tls=False))
        # poplib, pop3fast and pure Python, which must come to the same, and the command for the bare loop.
        ways: dict[str, tuple[Callable[[], object], Callable[[], object], Callable[[], object], bytes]] = {
            "`list()`": (lambda: poplib.list()[1], lambda: fast.list()[1], lambda: raw.lines(b"LIST\r\n"), b"LIST\r\n"),
            "`uidl()`": (lambda: poplib.uidl()[1], lambda: fast.uidl()[1], lambda: raw.lines(b"UIDL\r\n"), b"UIDL\r\n"),
            "`sizes()`": (
                lambda: _sizes_of_lines(poplib.list()[1]),
                fast.sizes,
                lambda: _sizes_of_body(raw.body(b"LIST\r\n")),
                b"LIST\r\n",
            ),
            "`uids()`": (
                lambda: _uids_of_lines(poplib.uidl()[1]),
                fast.uids,
                lambda: _uids_of_body(raw.body(b"UIDL\r\n")),
                b"UIDL\r\n",
            ),
        }
        measured = {}
        for listing, (baseline, ours, pure, command) in ways.items():
            if not baseline() == ours() == pure():
                raise AssertionError(f"the ways to {listing} differ")
            contestants = [
                Contestant(BASELINE, baseline),
                Contestant(OURS, ours),
                Contestant(PURE, pure),
                Contestant(FLOOR, lambda command=command: raw.discard(command)),  # type: ignore[misc]
            ]
            measured[listing] = interleave(contestants, pace)
        return measured


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("listing", LISTINGS)
def test_listing(rounds: dict[str, dict[str, list[float]]], listing: str, way: str, benchmark: Benchmark) -> None:
    Column(TABLE, listing, rounds[listing]).hand_over(way, benchmark)
