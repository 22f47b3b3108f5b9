"""A log: a file that another program may put aside, to which a line is added for each event.

Owns that each line stands alone, that nobody else may read a file that it makes, and that it is opened anew at SIGHUP,
which whoever puts it aside sends (logrotate's ``postrotate``). A log that cannot be written any more ends no fetch.
"""

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from pop3fast.cli._text import UsageError, complain


class Log:
    """A log, open. May be written by several threads."""

    def __init__(self, path: str) -> None:
        """Open *path*. Raises `UsageError` when it cannot be written."""
        self._path = path
        self._lock = threading.Lock()
        self._is_old = False
        self._is_cut = False
        self._complained = False
        try:
            self._file = _opened(path)
        except OSError as error:
            raise UsageError(f"cannot write to the log {path}: {error.strerror}") from None

    def write(self, line: str) -> None:
        """Add a line."""
        with self._lock:
            if self._is_old:
                self._go_on_in_its_place()
            octets = f"{line}\n".encode()
            if self._is_cut:
                octets = b"\n" + octets
            try:
                # In one piece, behind what other processes write.
                written = os.write(self._file, octets)
                self._is_cut = written < len(octets)
                if self._is_cut:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - said as any other
            except OSError as error:
                self._complain(error)
            else:
                # Until it is opened anew, all has been said.
                self._complained = self._complained and self._is_old

    def _go_on_in_its_place(self) -> None:
        # First, because the signal may come again.
        self._is_old = False
        try:
            new = _opened(self._path)
        except OSError as error:
            # The old one takes the lines until it can be.
            self._is_old = True
            self._complain(error)
        else:
            # Another file has no line that was cut.
            self._is_cut = self._is_cut and os.path.sameopenfile(self._file, new)
            os.close(self._file)
            self._file = new

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            complain(f"cannot write to the log {self._path}: {error.strerror}")
        self._complained = True

    def open_anew(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Open the file anew before the next line: what has its name may be another one."""
        # Not here: a signal may come in the middle of a line.
        self._is_old = True

    def close(self) -> None:
        """Close it."""
        os.close(self._file)


@contextlib.contextmanager
def opened_log(path: str | None) -> Iterator[Log | None]:
    """Give the log at *path*, which SIGHUP has opened anew; None without one. Raises `UsageError`."""
    if path is None:
        yield None
        return
    log = Log(path)
    before = signal.signal(signal.SIGHUP, log.open_anew)
    try:
        yield log
    finally:
        signal.signal(signal.SIGHUP, before)
        log.close()


def _opened(path: str) -> int:
    # Whom mail comes from is nobody else's business.
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
