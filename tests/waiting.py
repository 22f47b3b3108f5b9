"""Waiting for what a thread or a server is about to do; and a client that waits no longer for what never comes.

No time is measured: pytest ends a test in which it never comes.
"""

import select
import time
from collections.abc import Callable

import pytest

from pop3fast._stream import ReplyStream
from scripted import ScriptedServer


def wait_until(come: Callable[[], object]) -> None:
    """Return when *come* says so."""
    while not come():
        time.sleep(0.001)


def time_out_when_it_stalls(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the time-out of a client without TLS pass as soon as *server* stalls, and no earlier on any machine."""
    fill = ReplyStream.fill

    def fill_or_time_out(stream: ReplyStream) -> None:
        sock = stream._socket()
        while not select.select([sock], [], [], 0.001)[0]:
            # Of this connection: the next may have begun before the server knows that the one that stalled has ended.
            if server.stalls_for == sock.getsockname()[1]:
                sock.settimeout(0.001)
                break
        fill(stream)

    monkeypatch.setattr(ReplyStream, "fill", fill_or_time_out)
