"""Reading again what was just delivered, while it is remembered and the next messages come.

Owns when that begins: in a session that is to delete, as soon as a message is durable and visible. So its price is paid
while the disk and the network are waited for. Whoever asks waits until it has ended, and is told once: what was read
says nothing of later. Never says that a message is whole that it has not read.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress

from pop3fast.fetch._identity import Entry
from pop3fast.fetch.destinations._sync import GroupSync

LARGE_OCTETS = 2**16
"""Larger messages are worth a thread each. Small ones are read by one thread, for most of that is Python, of which only
one thread runs at a time: eight took a third longer than one."""


class EarlyReading:
    """What is being read of one destination."""

    def __init__(self, threads: GroupSync, are_whole: Callable[[Sequence[Entry]], list[bool]]) -> None:
        """Have *threads* call *are_whole*, which says of messages whether each is whole where it was put."""
        self._threads = threads
        self._are_whole = are_whole
        self._begun: dict[bytes, tuple[Future[list[bool]], int]] = {}
        self.is_wanted = False
        """Whether anything is to be begun."""

    def begin(self, entries: Iterable[Entry]) -> None:
        """Begin to read messages that have just been delivered, if that is wanted."""
        if not self.is_wanted:
            return
        placed = [entry for entry in entries if entry.place]
        for large in (entry for entry in placed if entry.octets > LARGE_OCTETS):
            self._begin([large])
        if small := [entry for entry in placed if entry.octets <= LARGE_OCTETS]:
            self._begin(small)

    def take(self, places: Iterable[bytes]) -> dict[bytes, bool]:
        """Return what was found of those of *places* that were begun. Raises `OSError` when it could not be seen."""
        begun = {place: self._begun.pop(place) for place in {*places} if place in self._begun}
        return {place: future.result()[number] for place, (future, number) in begun.items()}

    def wait(self) -> None:
        """Return when nothing is being read. Raises nothing: whoever asks for what was found hears of errors."""
        wait({future for future, _ in self._begun.values()})

    def forget(self) -> None:
        """Forget what was begun, and begin nothing more."""
        self._begun = {}
        self.is_wanted = False

    def _begin(self, entries: Sequence[Entry]) -> None:
        # When no thread can be started, they are read when somebody asks.
        with suppress(RuntimeError):
            future = self._threads.begin(self._are_whole, entries)
            self._begun.update({entry.place: (future, number) for number, entry in enumerate(entries)})
