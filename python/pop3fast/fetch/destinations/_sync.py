"""Group commit: makes the files of a batch, and makes them durable, many at a time.

Either each file is synced, by many threads at once, or their file system is, by one call. An error of that may be about
anybody's file, so then each of these is synced after all, while it is still open: that shows what became of it.

Owns the threads that wait for the disk, and how many files are open. Never makes anything visible, never tries a
failed ``fsync`` again, and never has one account wait for the disk of another.
"""

import resource
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from functools import partial
from typing import TypeVar

from pop3fast.fetch._descriptors import PatientFiles
from pop3fast.fetch._errors import REFUSED_SYNCS
from pop3fast.fetch._identity import Entry

T = TypeVar("T")
R = TypeVar("R")

SYNC_THREADS = 8
"""How many threads share a round. A journalling file system commits once for all that wait together."""

MAX_ROUND = 192
"""How many messages one round has. Each thread makes its share, lets the disk begin with all of it, and only then
waits: rounds of 64 took a quarter longer, of 512 no less."""

MAX_LARGE = 16
"""How many messages of a round may be in open files before it begins."""

ROUND_OCTETS = 4 * 2**20
"""Or how many octets: the disk should not have to wait until a batch of large messages has come whole."""

MAX_SHARES = 16
"""At most so many shares sync at full width in one process; further ones sync `FEW` files at a time, which bounds the
open files. Eight accounts at once with 32 large messages each have some 750 files open; a process may usually have
1,024."""

FEW = 2

USUAL_LIMIT = 1024
"""Where a process may open fewer files than that (256 on macOS), fewer are open here."""

# One token each. They are taken and put back without a lock, which a fork could leave locked in the child for ever.
_tokens = deque(range(MAX_SHARES))


def _tokens_for_all() -> list[int]:
    """Return the tokens for all shares of a round, whose files are all open at once; none when others have some."""
    tokens: list[int] = []
    if files_at_once() == USUAL_LIMIT:
        try:
            tokens.extend(_tokens.popleft() for _ in range(SYNC_THREADS))
        except IndexError:
            # The list has those that were taken before there were no more.
            _give_back(tokens)
    return tokens


def _give_back(tokens: list[int]) -> None:
    """Give back *tokens*, of which none is left then: whoever is late gives back nothing."""
    while tokens:
        _tokens.append(tokens.pop())


def files_at_once() -> int:
    """Return how many files this process may open, at most `USUAL_LIMIT`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return USUAL_LIMIT if soft == resource.RLIM_INFINITY else min(soft, USUAL_LIMIT)


def large_at_once() -> int:
    """Return how many messages of a round may be in files that are open before it begins."""
    return max(1, MAX_LARGE * files_at_once() // USUAL_LIMIT)


class Written:
    """A message on its way to be durable under a hidden name."""

    __slots__ = ("checksum", "content", "durable", "entry", "failure", "file", "key", "octets", "tmp_name", "tried")

    def __init__(
        self, tmp_name: str, entry: Entry, content: bytes, file: int | None, octets: int, checksum: bytes
    ) -> None:
        """Keep *content*, which is to be written to *tmp_name*, or the open *file* that it was written to."""
        self.tmp_name = tmp_name
        self.key = ""
        """The key in the name that it gets when it is made visible."""
        self.entry = entry
        self.content = content
        self.file = file
        """Its file, as long as it is open."""
        self.octets = octets
        """How many octets the file is to have."""
        self.checksum = checksum
        """Of these octets, as `_read_early` takes it; empty when nobody is going to ask."""
        self.durable = False
        """Whether it has been written, synced and closed."""
        self.failure: OSError | None = None
        """Why it could not be."""
        self.tried = "deliver to"
        """What could not be done, in words for a person."""


class GroupSync:
    """Makes messages durable, one round behind the other."""

    def __init__(self, files: PatientFiles, *, by_batch: bool = False) -> None:
        """Use *files*; threads are started when there is something to share.

        *by_batch* says that the file system of the folder is synced instead of each file.
        """
        self._by_batch = by_batch
        self._files = files
        self._pool: Executor | None = None
        self._under_way: list[Future[None]] = []
        self.failed: tuple[str, OSError] | None = None
        """What could not be done since the last `wait`, and why: going on makes no sense."""

    def start(self, group: Sequence[Written], folder: int) -> None:
        """Make those files of *group* that are not in *folder* yet, and sync and close all.

        Returns when the files that had to be made are durable; those that were open, and all when their file system is
        synced, may take until the next round.
        """
        self.finish()
        if not group:
            return
        if self._by_batch and (tokens := _tokens_for_all()):
            self._start_batch(group, folder, tokens)
            return
        # Threads that call the system for each file stand still while another runs Python, so this one does not: side
        # by side the two took a third longer than one after the other.
        to_be_made = any(written.file is None for written in group)
        pool = self._threads()
        share = -(-len(group) // SYNC_THREADS)
        try:
            for start in range(0, len(group), share):
                self._under_way.append(pool.submit(self._work, group[start : start + share], folder))
        except BaseException:
            # A share may be in the queue although no thread could be started for it.
            self.close()
            raise
        if to_be_made:
            self.finish()

    def share_out(self, work: Callable[[Sequence[T]], list[R]], items: Sequence[T]) -> list[R]:
        """Return what *work* gives for *items*; the threads do it, each its share."""
        share = -(-len(items) // SYNC_THREADS)
        shares = [items[start : start + share] for start in range(0, len(items), share or 1)]
        return [each for done in self._threads().map(partial(self._alone, work), shares) for each in done]

    def begin(self, work: Callable[[Sequence[T]], list[R]], items: Sequence[T]) -> "Future[list[R]]":
        """Return what *work* will give for *items*; one of the threads does it."""
        return self._threads().submit(self._alone, work, items)

    def wait(self) -> None:
        """Return when every message has been dealt with; each says whether it is durable."""
        self.finish()
        self.failed = None

    def finish(self) -> None:
        """Wait for what is under way: the files that were open are closed then."""
        wait(self._under_way)
        done, self._under_way = self._under_way, []
        for share in done:
            share.result()

    def close(self) -> None:
        """Wait for what is under way and end the threads. Raises nothing for what failed."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._under_way = []
        self.failed = None

    def _threads(self) -> Executor:
        if self._pool is None:
            self._pool = self._files.executor(SYNC_THREADS, "pop3fast-sync")
        return self._pool

    def _start_batch(self, group: Sequence[Written], folder: int, tokens: list[int]) -> None:
        try:
            # One call is all that there is to wait for, and the next messages are received meanwhile. So nothing is
            # gained by threads that share the making.
            self._make_all(group, folder)
            self._under_way.append(self._threads().submit(self._sync_batch, group, folder, tokens))
        except BaseException:
            _give_back(tokens)
            self.close()
            raise

    def _sync_batch(self, group: Sequence[Written], folder: int, tokens: list[int]) -> None:
        try:
            self._files.sync_whole(folder)
        except OSError as error:
            self._by_batch = error.errno not in REFUSED_SYNCS
            self._sync_side_by_side(group)
        else:
            for written in group:
                if written.file is not None:
                    self._try("deliver to", self._close, written, written.file)
        finally:
            _give_back(tokens)

    def _alone(self, work: Callable[[Sequence[T]], list[R]], some: Sequence[T]) -> list[R]:
        # It closes nothing of the thread that delivers meanwhile.
        with self._files.letting_go():
            return work(some)

    def _work(self, share: Sequence[Written], folder: int) -> None:
        limit = files_at_once()
        # Below the usual limit half as many: an account's other files do not become fewer.
        most, few = (MAX_SHARES, FEW) if limit == USUAL_LIMIT else (max(1, MAX_SHARES * limit // USUAL_LIMIT // 2), 1)
        try:
            token = _tokens.popleft() if MAX_SHARES - len(_tokens) < most else None
        except IndexError:
            token = None
        if token is None:
            for start in range(0, len(share), few):
                self._deal_with(share[start : start + few], folder)
            return
        try:
            self._deal_with(share, folder)
        finally:
            _tokens.append(token)

    def _deal_with(self, some: Sequence[Written], folder: int) -> None:
        self._make_all(some, folder)
        self._sync_side_by_side(some)

    def _sync_side_by_side(self, some: Sequence[Written]) -> None:
        # With all of them on their way, the first ``fsync`` commits the places that all were given: a third less time
        # of the kernel on ext4, and a quarter less in all.
        if len(some) > 1:
            for written in some:
                if written.file is not None:
                    with suppress(OSError):  # it is a hint; `sync` says what has failed
                        self._files.begin_sync(written.file)
        self._sync_those_open(some)

    def _make_all(self, some: Sequence[Written], folder: int) -> None:
        with self._files.letting_go(lambda: self._sync_those_open(some)):
            for written in [written for written in some if written.file is None]:
                self._try("write to", self._make, written, folder)

    def _sync_those_open(self, some: Sequence[Written]) -> None:
        for written in some:
            if written.file is not None:
                self._try("deliver to", self._sync, written, written.file)

    def _make(self, written: Written, folder: int) -> None:
        written.file = self._files.create(written.tmp_name, folder)
        try:
            self._files.write(written.file, written.content)
        except BaseException:
            file, written.file = written.file, None
            with suppress(OSError):
                self._files.close(file)
            raise
        written.content = b""

    def _sync(self, written: Written, file: int) -> None:
        try:
            self._files.sync(file)
        except BaseException:
            written.file = None
            with suppress(OSError):
                self._files.close(file)
            raise
        self._close(written, file)

    def _close(self, written: Written, file: int) -> None:
        written.file = None
        # On NFS and with quotas, a failed write may be reported only when the file is closed.
        self._files.close(file)
        written.durable = True

    def _try(self, tried: str, step: Callable[[Written, int], None], written: Written, descriptor: int) -> None:
        try:
            step(written, descriptor)
        except OSError as error:
            written.failure, written.tried = error, tried
            self.failed = tried, error
