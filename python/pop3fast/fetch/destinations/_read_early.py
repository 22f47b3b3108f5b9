"""Reading again what was just delivered, while it is remembered and the next messages come.

Owns when that begins: in a session that is to delete, as soon as a message is durable and visible. So its price is paid
while the disk and the network are waited for. And owns by what a message is recognised then: its length and a checksum,
taken of the octets on their way to the disk, which costs a twentieth of their SHA-256. Whoever asks waits until it has
ended, and is told once: what was read says nothing of later. Never says of a message that it has not read that it is
whole; what it does not find whole has to be looked for by its SHA-256.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import NamedTuple

from pop3fast._framing import Checksum
from pop3fast.fetch._files import Files
from pop3fast.fetch.destinations._sync import GroupSync

BLOCK_OCTETS = 2**17
"""What is read at a time: a block that was copied from the kernel is still in the processor's own cache (of 256 KiB in
the smallest that are around) when its checksum is taken."""


class AsWritten(NamedTuple):
    """What a message is to be like where it was put."""

    place: bytes
    checksum: bytes
    octets: int
    start: int = 0
    """Where in its file it begins."""


class EarlyReading:
    """What is being read of one destination."""

    def __init__(self, threads: GroupSync, are_as_written: Callable[[Sequence[AsWritten]], list[bool]]) -> None:
        """Have one of *threads* call *are_as_written*, which says of messages whether each is what was written."""
        self._threads = threads
        self._are_as_written = are_as_written
        self._begun: dict[bytes, tuple[Future[list[bool]], int]] = {}
        self.is_wanted = False
        """Whether anything is to be begun."""

    def checksum(self) -> Checksum | None:
        """Return what is to take the octets of a message as they are written, None when nothing is to be begun."""
        return Checksum() if self.is_wanted else None

    def begin(self, written: Iterable[AsWritten]) -> None:
        """Begin to read messages that have just been delivered, in the order of the disk; not those without checksum.

        One thread reads them all. That takes it a few milliseconds for each 64 MiB, and for many small ones most of it
        is Python, of which only one thread runs at a time.
        """
        if not (some := [each for each in written if each.checksum]):
            return
        # When no thread can be started, they are read when somebody asks.
        with suppress(RuntimeError):
            future = self._threads.begin(self._are_as_written, some)
            self._begun.update({each.place: (future, number) for number, each in enumerate(some)})

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


def checksums(files: Files, file: int, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the checksum of each of *spans* of *file*: where it begins, and its octets, fewer at the end of the file.

    What lies side by side is read at once. Raises `OSError` when it cannot be read.
    """
    block, at = b"", 0
    for start, octets in spans:
        checksum, offset, end = Checksum(), start, start + octets
        while offset < end:
            if not at <= offset < at + len(block):
                block, at = files.read(file, BLOCK_OCTETS, offset), offset
                if not block:
                    break
            piece = block[offset - at : end - at]
            checksum.feed(piece)
            offset += len(piece)
        yield checksum.digest()
