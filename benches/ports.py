"""Ports of servers that cannot say which one they listen on: a free one beforehand, and when it answers."""

import socket
import time

_START_SECONDS = 30.0


def free() -> int:
    """Return a port of 127.0.0.1 that nobody listens on yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Return when somebody listens on *port*. Raises `OSError` when nobody does for long."""
    give_up = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return
