"""Threads in which a worker fetches: as many as are needed at once, each used again.

Owns their number, and that none is left. It decides nothing about what is done in them.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread


class Threads:
    """At most so many threads. `do` and `end` are called by one thread."""

    def __init__(self, most: int) -> None:
        """Start none yet."""
        self.most = most
        """How many there may be: fewer, once the system has no more of them."""
        self._threads: list[Thread] = []
        self._todo: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._free = 0
        """How many threads have nothing to do, less what waits for one."""
        self._lock = Lock()

    def do(self, call: Callable[[], object]) -> None:
        """Have *call* done, which raises nothing. Raises ``RuntimeError`` when not one thread can be started."""
        with self._lock:
            self._free -= 1
            needed = self._free < 0
        if needed and len(self._threads) < self.most:
            self._start()
        self._todo.put(call)

    def end(self) -> None:
        """Return when everything is done, and no thread is left."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        thread = Thread(target=self._work, name=f"pop3fast-fleet_{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
            # The system has no more of them; those that there are do it all.
            self.most = len(self._threads)
            return
        self._threads.append(thread)
        with self._lock:
            self._free += 1

    def _work(self) -> None:
        for call in iter(self._todo.get, None):
            call()
            with self._lock:
                self._free += 1
