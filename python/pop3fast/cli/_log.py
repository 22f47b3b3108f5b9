"""A log: a file that another program may put aside, to which a line is added for each event.

Owns that a line is whole, that nobody else may read the file, and that SIGHUP has it opened anew, as whoever puts it
aside says (logrotate's ``postrotate``). A log that cannot be written any more ends no fetch.
"""

import contextlib
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
        self._complained = False
        try:
            self._file = _opened(path)
        except OSError as error:
            raise UsageError(f"cannot write to the log {path}: {error.strerror}") from None

    def write(self, line: str) -> None:
        """Add a line."""
        with self._lock:
            try:
                if self._is_old:
                    self._is_old = False
                    new = _opened(self._path)
                    os.close(self._file)
                    self._file = new
                # In one piece, behind what other processes write.
                os.write(self._file, f"{line}\n".encode())
                self._complained = False
            except OSError as error:
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
