"""Spool: a batch's messages until they are appended to an mbox, which others may use meanwhile.

Owns the bound on memory: beyond it, octets go to a file without a name.
"""

import contextlib
from collections.abc import Iterator

from pop3fast.fetch._files import Files

MEMORY_OCTETS = 4 * 2**20
"""A batch of ordinary mail stays in memory, and any number of accounts at once can have one."""

PIECE_OCTETS = 2**18
"""What is copied at a time."""


class Spool:
    """Octets that are appended, cut and read again."""

    def __init__(self, files: Files, folder: int, name: str) -> None:
        """If a file is needed, make it in *folder*; for the moment that it has a name, it is *name*."""
        self._files = files
        self._folder = folder
        self._name = name
        self._memory = bytearray()
        self._file: int | None = None
        self.size = 0

    def append(self, octets: bytes) -> None:
        """Append *octets*; an `OSError` leaves the spool to be cut to a size that it had."""
        if self._file is None:
            if self.size + len(octets) <= MEMORY_OCTETS:
                self._memory += octets
                self.size += len(octets)
                return
            self._file = self._in_file()
            self._memory = bytearray()
        self._files.write(self._file, octets)
        self.size += len(octets)

    def cut(self, size: int) -> None:
        """Cut it to *size* octets."""
        if self._file is None:
            del self._memory[size:]
        else:
            self._files.truncate(self._file, size)
        self.size = size

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the octets from *start* to *end*."""
        for offset in range(start, end, PIECE_OCTETS):
            stop = min(offset + PIECE_OCTETS, end)
            if self._file is None:
                yield bytes(self._memory[offset:stop])
            else:
                yield self._files.read(self._file, stop - offset, offset)

    def clear(self) -> None:
        """Begin anew, in memory."""
        file, self._file = self._file, None
        self._memory = bytearray()
        self.size = 0
        if file is not None:
            with contextlib.suppress(OSError):
                self._files.close(file)

    def _in_file(self) -> int:
        """Return a file of what is in memory. When that fails, it stays in memory: half of it must not pass for all."""
        file = self._nameless()
        try:
            self._files.write(file, bytes(self._memory))
        except BaseException:
            self._files.close(file)
            raise
        return file

    def _nameless(self) -> int:
        try:
            return self._create(self._folder)
        except PermissionError:
            # As in /var/mail, where a user has one file and may make no others.
            import tempfile  # noqa: PLC0415 - hardly ever needed, and large

            elsewhere = self._files.open_parent(tempfile.gettempdir())
            try:
                return self._create(elsewhere)
            finally:
                self._files.close(elsewhere)

    def _create(self, folder: int) -> int:
        # A process that was stopped just here may have left one.
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(self._name, folder)
        file = self._files.create(self._name, folder)
        try:
            self._files.unlink(self._name, folder)
        except OSError:
            self._files.close(file)
            raise
        return file
