"""A proxy that makes loopback as slow as a line: every octet arrives half a round trip after it was sent.

Run in a process of its own (``python -m benches.delay PORT SECONDS``), so that its work is not its users'. Prints the
port it listens on, and ends with its standard input. It delays and does not throttle: what is sent together arrives
together.
"""

import socket
import sys
import threading
import time
from contextlib import AbstractContextManager
from queue import SimpleQueue

from benches.children import listening

_RECEIVE_SIZE = 256 * 1024


def delayed(port: int, round_trip: float) -> AbstractContextManager[int]:
    """Give the port of a proxy to *port* with a *round_trip* in seconds; end it with the block."""
    command = [sys.executable, "-m", "benches.delay", str(port), str(round_trip)]
    return listening(command)


def _carry(source: socket.socket, target: socket.socket, delay: float) -> None:
    """Bring what *source* gives to *target*, each piece after *delay*."""
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
    try:
        while octets := source.recv(_RECEIVE_SIZE):
            pieces.put((time.monotonic() + delay, octets))
    except OSError:
        pass
    pieces.put((time.monotonic() + delay, b""))


def _serve(listener: socket.socket, port: int, delay: float) -> None:
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pair in ((near, far), (far, near)):
            threading.Thread(target=_carry, args=(*pair, delay), daemon=True).start()


def _main() -> None:
    port, round_trip = int(sys.argv[1]), float(sys.argv[2])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_serve, args=(listener, port, round_trip / 2), daemon=True).start()
        sys.stdin.buffer.read()


if __name__ == "__main__":
    _main()
