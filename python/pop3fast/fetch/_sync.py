"""Group commit: the files of a batch made, and made durable, many at a time.

Owns the threads that wait for the disk, and how many files are open. Never makes anything visible, and never tries a
failed ``fsync`` again.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from threading import Semaphore

from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import Entry

SYNC_THREADS = 8
"""How many threads a round is shared out to. A journalling file system commits those that wait together as one."""

MAX_ROUND = 192
"""How many messages one round has. Each thread makes its share, lets the disk begin with all of it, and only then
waits: rounds of 64 took a quarter longer, of 512 no less."""

ROUND_OCTETS = 4 * 2**20
"""Or so many octets: the disk is not to wait until a batch of large messages has come whole."""

MAX_SHARES = 24
"""How many shares are under way in one process: with 24 files each at the most 576 files are open, however many
accounts are fetched at once. A process may usually have 1,024."""

_shares = Semaphore(MAX_SHARES)


class Written:
    """A message on its way to be durable under a hidden name."""

    __slots__ = ("content", "durable", "entry", "failure", "file", "name", "tmp_name", "tried")

    def __init__(self, tmp_name: str, name: str, entry: Entry, content: bytes, file: int | None) -> None:
        """Keep *content*, which is to be written to *tmp_name*, or the open *file* that it was written to."""
        self.tmp_name = tmp_name
        self.name = name
        """What it is to be called when it is made visible."""
        self.entry = entry
        self.content = content
        self.file = file
        self.durable = False
        """Whether it has been written, synced and closed."""
        self.failure: OSError | None = None
        """Why it could not be."""
        self.tried = "deliver to"
        """What could not be done, in words for a person."""


class GroupSync:
    """Makes messages durable, one round behind the other."""

    def __init__(self, files: Files) -> None:
        """Use *files*; threads are started when there is something to share."""
        self._files = files
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: list[Future[None]] = []
        self.failed: Written | None = None
        """One of those since the last `wait` that could not be made durable: there is no sense in going on."""

    def start(self, group: Sequence[Written], folder: int) -> None:
        """Make the files of *group* in *folder* that are not there yet, and sync and close all.

        Returns when those are durable that had to be made; those that were open may be waited for until the next round.
        """
        self._finish()
        if not group:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(SYNC_THREADS, "pop3fast-sync")
        share = -(-len(group) // SYNC_THREADS)
        for start in range(0, len(group), share):
            self._under_way.append(self._pool.submit(self._work, group[start : start + share], folder))
        if any(written.file is None for written in group):
            # Threads that call the system for each file stand still while another runs Python, so this one does not:
            # side by side the two took a third longer than one after the other.
            self._finish()

    def wait(self) -> None:
        """Return when every message has been dealt with; each says whether it is durable."""
        self._finish()
        self.failed = None

    def close(self) -> None:
        """Wait for what is under way and end the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _finish(self) -> None:
        wait(self._under_way)
        while self._under_way:
            self._under_way.pop().result()

    def _work(self, share: Sequence[Written], folder: int) -> None:
        with _shares:
            for written in share:
                if written.file is None:
                    self._try("write to", self._make, written, folder)
            # With all of them on their way, the first ``fsync`` commits the places that all were given: a third less
            # time of the kernel on ext4, and a quarter less in all.
            if len(share) > 1:
                for written in share:
                    if written.file is not None:
                        with suppress(OSError):  # it is a hint; `sync` says what has failed
                            self._files.begin_sync(written.file)
            for written in share:
                if written.file is not None:
                    self._try("deliver to", self._sync, written, written.file)

    def _make(self, written: Written, folder: int) -> None:
        file = self._files.create(written.tmp_name, folder)
        try:
            self._files.write(file, written.content)
        except BaseException:
            with suppress(OSError):
                self._files.close(file)
            raise
        written.file = file
        written.content = b""

    def _sync(self, written: Written, file: int) -> None:
        try:
            self._files.sync(file)
        finally:
            # On NFS and with quotas, closing is where a failed write may be told.
            self._files.close(file)
        written.durable = True

    def _try(self, tried: str, step: Callable[[Written, int], None], written: Written, descriptor: int) -> None:
        try:
            step(written, descriptor)
        except OSError as error:
            written.failure, written.tried = error, tried
            self.failed = written
