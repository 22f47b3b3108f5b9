"""Threads side by side, for a CPython without a global lock: `python tests/without_a_lock.py`, with no other package.

On one that has the lock, the same is asked of the threads, and nothing of the lock.
"""

import sys
import sysconfig
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pop3fast
import pop3fast.aio
import pop3fast.fetch
from pop3fast._framing import Framer, FramingError
from pop3fast.testing import MailboxServer

THREADS = 8
MESSAGES = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"text " * number) for number in range(200)]
REPLY = b"+OK\r\n..dots\r\ntext\r\n.\r\n"


def is_without_a_lock() -> bool:
    """Return whether this CPython can do without, and still does now that the extension is there."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED")) and not sys._is_gil_enabled()  # type: ignore[attr-defined,unused-ignore]


def lock_is_back() -> bool:
    """Return whether an extension that was imported needs the lock, so that CPython has switched it on."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED")) and not is_without_a_lock()


def side_by_side(work: Callable[[], object]) -> list[object]:
    """Return what *work* returns in each of the threads, which begin together."""
    ready = threading.Barrier(THREADS, timeout=60)

    def one() -> object:
        ready.wait()
        return work()

    with ThreadPoolExecutor(THREADS) as pool:
        return [future.result() for future in [pool.submit(one) for _ in range(THREADS)]]


def sessions() -> None:
    """Retrieve one mailbox in each thread, over a session of its own."""
    with MailboxServer(MESSAGES) as server:

        def retrieve() -> list[bytes]:
            with pop3fast.POP3(server.host, server.port) as pop:
                pop.user("user")
                pop.pass_("password")
                return [message.content for message in pop.retr_many()]

        assert side_by_side(retrieve) == [MESSAGES] * THREADS


def framers() -> None:
    """Frame ten thousand replies in each thread, in a framer of its own."""

    def frame() -> int:
        framer, found = Framer(), 0
        for _ in range(100):
            framer.feed(REPLY * 100)
            while (reply := framer.next_bytes_response(1000, 10**6)) is not None:
                found += reply == (b"+OK", b".dots\r\ntext\r\n")
        return found

    assert side_by_side(frame) == [10_000] * THREADS


def one_framer() -> None:
    """Let all threads into one framer, which nobody should do: each call is whole or an error, and nothing breaks."""
    framer = Framer()

    def meddle() -> int:
        met = 0
        for _ in range(2_000):
            try:
                framer.feed(REPLY)
                framer.next_bytes_response(1000, 10**6)
            except (RuntimeError, FramingError):  # "already borrowed"; or a reply that was taken apart
                met += 1
        return met

    side_by_side(meddle)
    assert Framer().unread() == 0


if __name__ == "__main__":
    if lock_is_back():
        sys.exit("without_a_lock: the extension needs the global lock: CPython has switched it on")
    sessions()
    framers()
    one_framer()
    print(f"without_a_lock: {THREADS} threads side by side, {'no' if is_without_a_lock() else 'with a'} global lock")
