"""``python -m benches.processor``: seconds of processor that a client takes, beside bare loops.

Owns two questions that a clock cannot answer, for most of the time on it is the server's. How much more than a bare
loop does a command cost that is given by itself? And does TLS in memory (raw reads of 256 KiB, decrypted from a
``MemoryBIO``) cost less than an ``SSLSocket``, which takes one record at a time? All take turns in one process, the
server is in another. What counts is the median of rounds side by side, and beside it stand the best rounds. No time
makes it fail. To be run from the root of the checkout.
"""

import argparse
import socket
import ssl
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing

from benches.interleave import BASELINE
from benches.mail import attachment
from benches.messages import FLOOR, RETR, RETR_BYTES
from benches.sessions import RawSession, pop3fast_session, poplib_session, raw_session
from pop3fast.testing import MailboxServer

ROUNDS = 60
ONE_BY_ONE, SMALL_OCTETS = 100, 4_000
IN_BULK, LARGE_OCTETS, WINDOW = 100, 50_000, 64
RECEIVE_SIZE = 256 * 1024
DECRYPTED_SIZE = 64 * 1024

RETR_MANY = "pop3fast, `retr_many()`"
BY_SSL_SOCKET = "bare loop, SSLSocket"
IN_MEMORY = "bare loop, MemoryBIO"

Rounds = dict[str, list[tuple[float, float]]]
"""Of each contestant, seconds on the clock and of processor, round by round."""


class InMemory:
    """As much of a socket as a bare loop needs, with TLS in memory."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        """Take over *sock* and shake hands."""
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._received = memoryview(bytearray(RECEIVE_SIZE))
        self._decrypted = bytearray(DECRYPTED_SIZE)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send()
                self._receive()
            else:
                break
        self._send()

    def sendall(self, octets: bytes) -> None:
        """Encrypt and send *octets*."""
        self._tls.write(octets)
        self._send()

    def recv(self, size: int) -> bytes:
        """Return at most *size* octets."""
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._receive()

    def discard(self) -> int:
        """Return how many octets have come, which are thrown away."""
        while True:
            try:
                return self._tls.read(DECRYPTED_SIZE, self._decrypted)  # type: ignore[return-value]  # with a buffer: int
            except ssl.SSLWantReadError:
                self._receive()

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def _send(self) -> None:
        if self._outgoing.pending:
            self._sock.sendall(self._outgoing.read())

    def _receive(self) -> None:
        octets = self._sock.recv_into(self._received)
        if not octets:
            raise EOFError("the benchmark's server hung up")
        self._incoming.write(self._received[:octets])


def one_by_one(rounds: int) -> Rounds:
    """Return what messages of 4 KB take, each asked for when the one before is there."""
    messages = [attachment(SMALL_OCTETS, seed) for seed in range(ONE_BY_ONE)]
    numbers = range(1, ONE_BY_ONE + 1)
    commands = [b"RETR %d\r\n" % number for number in numbers]
    with MailboxServer(messages, process=True) as server, ExitStack() as sessions:
        theirs = sessions.enter_context(poplib_session(server, tls=False))
        lines = sessions.enter_context(pop3fast_session(server, tls=False))
        octets = sessions.enter_context(pop3fast_session(server, tls=False))
        floor = sessions.enter_context(raw_session(server, tls=False))
        return _rounds(
            {
                BASELINE: lambda: _each(theirs.retr, numbers),
                RETR: lambda: _each(lines.retr, numbers),
                RETR_BYTES: lambda: _each(octets.retr_bytes, numbers),
                FLOOR: lambda: _each(floor.discard, commands),
            },
            rounds,
        )


def in_bulk_over_tls(rounds: int) -> Rounds:
    """Return what messages of 50 KB take over TLS, with many commands in flight."""
    messages = [attachment(LARGE_OCTETS, seed) for seed in range(IN_BULK)]
    numbers = range(1, IN_BULK + 1)
    commands = [b"RETR %d\r\n" % number for number in numbers]
    with MailboxServer(messages, tls=True, process=True) as server, ExitStack() as sessions:
        theirs = sessions.enter_context(poplib_session(server, tls=True))
        ours = sessions.enter_context(pop3fast_session(server, tls=True))
        floor = sessions.enter_context(raw_session(server, tls=True))
        sizes = [floor.discard(command) for command in commands]
        connected = socket.create_connection(server.address)
        memory = sessions.enter_context(closing(InMemory(connected, server.client_context, server.host)))
        RawSession(memory).log_in(server.user, server.password)  # type: ignore[arg-type]  # as much of one as it needs
        return _rounds(
            {
                BASELINE: lambda: _each(theirs.retr, numbers),
                RETR_MANY: lambda: deque(ours.retr_many(numbers), maxlen=0),
                BY_SSL_SOCKET: lambda: floor.discard_many(commands, sizes, WINDOW),
                IN_MEMORY: lambda: _discard_many(memory, commands, sizes),
            },
            rounds,
        )


def _discard_many(memory: InMemory, commands: Sequence[bytes], sizes: Sequence[int]) -> None:
    """Do what `RawSession.discard_many` does."""
    for start in range(0, len(commands), WINDOW):
        memory.sendall(b"".join(commands[start : start + WINDOW]))
        octets = sum(sizes[start : start + WINDOW])
        while octets > 0:
            octets -= memory.discard()


def _each(give: Callable[..., object], arguments: Sequence[object]) -> None:
    for argument in arguments:
        give(argument)


def _rounds(contestants: Mapping[str, Callable[[], object]], rounds: int) -> Rounds:
    measured: Rounds = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            clock, processor = time.perf_counter(), time.process_time()
            contestants[name]()
            measured[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return measured


def commands_in_words(measured: Rounds, floor: str, commands: int) -> str:
    """Return how many microseconds of processor a command takes more than in the loop *floor*."""
    lines = [f"{commands} messages of {SMALL_OCTETS} octets one by one, microseconds of processor above the {floor}:"]
    for name, own in measured.items():
        above = [(mine[1] - bare[1]) / commands * 1e6 for mine, bare in zip(own, measured[floor], strict=True)]
        best = (min(mine[1] for mine in own) - min(bare[1] for bare in measured[floor])) / commands * 1e6
        lines.append(f"    {name}: {statistics.median(above):.1f} a command (best rounds {best:.1f})")
    return "\n".join(lines)


def ratios_in_words(measured: Rounds) -> str:
    """Return how many times as fast as poplib each is, on the clock and in seconds of processor."""
    lines = [f"{IN_BULK} messages of {LARGE_OCTETS} octets in bulk over TLS, times poplib's speed:"]
    for name, own in measured.items():
        clock, processor = (
            (
                statistics.median(base[kind] / mine[kind] for mine, base in zip(own, measured[BASELINE], strict=True)),
                min(base[kind] for base in measured[BASELINE]) / min(mine[kind] for mine in own),
            )
            for kind in (0, 1)
        )
        works = statistics.median(mine[1] / mine[0] for mine in own)
        lines.append(
            f"    {name}: clock {clock[0]:.1f} x (best {clock[1]:.1f} x), "
            f"processor {processor[0]:.1f} x (best {processor[1]:.1f} x), at work {works:.0%} of the time"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure both and print what came of it; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benches.processor", description="Count seconds of processor.")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    rounds = 2 if parser.parse_args().quick else ROUNDS
    print(commands_in_words(one_by_one(rounds), FLOOR, ONE_BY_ONE), flush=True)
    print(ratios_in_words(in_bulk_over_tls(rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
