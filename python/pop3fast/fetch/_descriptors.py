"""Descriptors: whoever opens a file waits until the process, and the machine, may have one more file open.

Owns the rule, which is the same for every file: the caller first syncs and closes the files that it has open itself,
then tries again, for `SHORTAGE_SECONDS` at most. Others close theirs meanwhile, for no message is in a file for long.
The only lock that is held during the wait is the one under which the file is opened. Never waits for anything else, and
repeats nothing but the opening.
"""

import contextlib
import errno
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from pop3fast.fetch._files import Files
from pop3fast.fetch._waiting import Clock

T = TypeVar("T")

SHORTAGE_SECONDS = 30.0
"""How long to wait for a descriptor. A round of messages is synced and closed within a second or two."""

POLL_SECONDS = 0.1

SHORTAGE = {errno.EMFILE, errno.ENFILE}
"""The errors when the process, or the machine, has too many files open."""

OPENING = ("open_folder", "open_parent", "create", "open_to_append", "open_to_read", "names")
"""The calls of `Files` that need a descriptor: reading a folder makes one, too."""


def _nothing() -> None:
    """Close nothing."""


def is_shortage(error: BaseException | None) -> bool:
    """Return whether *error* says that there was no descriptor."""
    return isinstance(error, OSError) and error.errno in SHORTAGE


def when_there_is_one(
    attempt: Callable[[], T],
    clock: Clock,
    let_go: Callable[[], object] = _nothing,
    hurried: Callable[[], bool] = lambda: False,
    lacks_one: Callable[[Exception], bool] = is_shortage,
) -> T:
    """Return what *attempt* returns, as soon as there is a descriptor for it.

    *lacks_one* tells whether an error of *attempt* means that there was none; *let_go* syncs and closes what the caller
    has open. Raises the error of the last attempt when there was none for `SHORTAGE_SECONDS`, or when *hurried* says
    that nobody is to wait. Raises any other error at once.
    """
    deadline: float | None = None
    while True:
        try:
            return attempt()
        except Exception as error:
            if not lacks_one(error) or hurried():
                raise
            if deadline is None:
                deadline = clock.now() + SHORTAGE_SECONDS
                let_go()
                continue
            if clock.now() >= deadline:
                raise
        clock.pause(POLL_SECONDS)


class PatientFiles(Files):
    """Other `Files`, which wait for a descriptor."""

    def __init__(self, files: Files, clock: Clock) -> None:
        """Do all with *files*, and wait on *clock*."""
        self._clock = clock
        self._hurried = False
        self._here = threading.local()
        self.let_go: Callable[[], object] = _nothing
        """What closes files in a thread that has said nothing else."""
        for name in dir(Files):
            if not name.startswith("_"):
                call = getattr(files, name)
                vars(self)[name] = partial(self._open, call) if name in OPENING else call

    @contextlib.contextmanager
    def letting_go(self, let_go: Callable[[], object] = _nothing) -> Iterator[None]:
        """Inside the block *let_go* closes files for this thread; without one, no files are closed."""
        before = getattr(self._here, "let_go", None)
        self._here.let_go = let_go
        try:
            yield
        finally:
            self._here.let_go = before

    def hurry(self) -> None:
        """Wait no longer. May be called by another thread."""
        self._hurried = True

    def _open(self, call: Callable[..., T], *arguments: object) -> T:
        let_go = getattr(self._here, "let_go", None) or self.let_go
        return when_there_is_one(partial(call, *arguments), self._clock, let_go, lambda: self._hurried)
