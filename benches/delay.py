"""A proxy that makes loopback as slow as a line: every octet arrives half a round trip after it was sent.

Run in a process of its own (``python -m benches.delay PORT SECONDS [RATE [STALL]]``), so that its work is not its
users'. Prints the port it listens on, and ends with its standard input. Without a rate (octets a second, each way) what
is sent together arrives together. With a stall the line stands still once in each connection, for so many seconds, when
the server has sent `STALLS_AFTER` octets over it. What waits for its turn is in memory, however much it is.
"""

import socket
import sys
import threading
import time
from contextlib import AbstractContextManager
from math import inf
from queue import SimpleQueue
from typing import NamedTuple

from benches.children import listening

_RECEIVE_SIZE = 256 * 1024

STALLS_AFTER = 2**20

_PIECE = 8 * 1024
"""What arrives at once where there is a rate: 3 ms of 20 Mbit/s."""


class Way(NamedTuple):
    """One direction of a line."""

    delay: float
    """How many seconds an octet is on its way."""
    rate: float = inf
    """How many octets go in a second."""
    stall: float = 0.0
    """For how many seconds it stands still once."""


def delayed(port: int, round_trip: float, rate: float = inf, stall: float = 0.0) -> AbstractContextManager[int]:
    """Give the port of a proxy to *port* with a *round_trip* in seconds; end it with the block.

    *rate* is in octets a second, *stall* in seconds.
    """
    command = [sys.executable, "-m", "benches.delay", *map(str, (port, round_trip, rate, stall))]
    return listening(command)


def _carry(source: socket.socket, target: socket.socket, way: Way) -> None:
    """Bring what *source* gives to *target*, each piece when *way* has brought it."""
    pieces: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def deliver() -> None:
        try:
            while True:
                due, octets = pieces.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not octets:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(octets)
        except OSError:
            source.close()

    threading.Thread(target=deliver, daemon=True).start()
    free = sent = 0.0
    try:
        while octets := source.recv(_RECEIVE_SIZE):
            size = len(octets) if way.rate == inf else _PIECE
            for start in range(0, len(octets), size):
                piece = octets[start : start + size]
                free = max(free, time.monotonic())
                if sent <= STALLS_AFTER < sent + len(piece):
                    free += way.stall
                sent += len(piece)
                free += len(piece) / way.rate
                pieces.put((free + way.delay, piece))
    except OSError:
        pass
    pieces.put((max(free, time.monotonic()) + way.delay, b""))


def _serve(listener: socket.socket, port: int, back: Way) -> None:
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pair, way in (((near, far), back._replace(stall=0.0)), ((far, near), back)):
            threading.Thread(target=_carry, args=(*pair, way), daemon=True).start()


def _main() -> None:
    port, round_trip, *more = int(sys.argv[1]), *map(float, sys.argv[2:])
    way = Way(round_trip / 2, *more)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_serve, args=(listener, port, way), daemon=True).start()
        sys.stdin.buffer.read()


if __name__ == "__main__":
    _main()
