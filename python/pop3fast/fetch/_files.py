"""Files: every call to the operating system that delivering makes.

Owns the flags, and nothing else. One method is one step: it can fail, and the process can be killed or the power be cut
before it. So a test reaches every step by putting another `Files` in its place. Never tries anything twice: a second
``fsync`` may succeed although the first one's octets are lost.
"""

import errno
import fcntl
import os
import stat as modes
import struct
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

from pop3fast.fetch import _file_systems as file_systems
from pop3fast.fetch import _forks as forks
from pop3fast.fetch._errors import FolderNotSynced, sync_folder, system_words

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW

# macOS has none.
_NOATIME = getattr(os, "O_NOATIME", 0)

# Linux's `struct flock64`: type, whence, start, length, pid. Everything, from the start.
_WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class Files:
    """The operating system. Every method raises `OSError` when its one step fails."""

    executor: Callable[[int, str], Executor] = ThreadPoolExecutor
    """What makes the threads that wait for the disk, given how many and what they are called."""

    def open_folder(self, name: str, at: int | None = None) -> int:
        """Return a descriptor of the folder *name* (in the folder *at*), which is no symbolic link."""
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | _OPEN, dir_fd=at)

    def open_parent(self, name: str) -> int:
        """Return a descriptor of the folder *name*, which may be a symbolic link, as ``/var/mail`` often is."""
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def make_folder(self, name: str, at: int) -> None:
        """Make the folder *name*, for nobody but its owner."""
        os.mkdir(name, 0o700, dir_fd=at)

    def names(self, folder: int) -> list[str]:
        """Return the names in *folder*."""
        return os.listdir(folder)

    def create(self, name: str, at: int) -> int:
        """Return a descriptor of the new file *name*, to be read and appended to; it must not exist."""
        return os.open(name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _OPEN, 0o600, dir_fd=at)

    def open_to_append(self, name: str, at: int) -> int:
        """Return a descriptor of the file *name*, to be read and appended to; it must exist."""
        return _open_unread(name, os.O_RDWR | os.O_APPEND, at)

    def open_to_read(self, name: str, at: int) -> int:
        """Return a descriptor of the file *name*, to be read; it must exist."""
        return _open_unread(name, os.O_RDONLY, at)

    def write(self, file: int, octets: bytes) -> None:
        """Write all *octets*."""
        written = os.write(file, octets)
        if written < len(octets):
            view = memoryview(octets)
            while written < len(octets):
                written += os.write(file, view[written:])

    def read(self, file: int, count: int, offset: int) -> bytes:
        """Return *count* octets from *offset* on, fewer only at the end of the file."""
        octets = os.pread(file, count, offset)
        while 0 < len(octets) < count and (more := os.pread(file, count - len(octets), offset + len(octets))):
            octets += more
        return octets

    def rewrite(self, file: int, octets: bytes, offset: int) -> None:
        """Write *octets* in the place of as many from *offset* on, to a *file* that is otherwise appended to."""
        flags = fcntl.fcntl(file, fcntl.F_GETFL)
        # Linux appends whatever offset it is given, as long as the file is open to append.
        fcntl.fcntl(file, fcntl.F_SETFL, flags & ~os.O_APPEND)
        try:
            view = memoryview(octets)
            while view:
                written = os.pwrite(file, view, offset)
                view, offset = view[written:], offset + written
        finally:
            fcntl.fcntl(file, fcntl.F_SETFL, flags)

    def begin_sync(self, file: int) -> None:
        """Let the disk begin with what was written to *file*, and wait for nothing."""
        # Octets that are not on the disk yet cannot be dropped from memory, so they are sent there.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)

    def sync(self, file: int) -> None:
        """Make what was written to *file* durable."""
        os.fsync(file)

    def sync_folder(self, folder: int) -> None:
        """Make the names in *folder* durable."""
        sync_folder(folder)

    def sync_whole(self, folder: int) -> None:
        """Make all that was written to the file system of *folder* durable."""
        file_systems.sync_whole(folder)

    def truncate(self, file: int, size: int) -> None:
        """Cut *file* to *size* octets."""
        os.ftruncate(file, size)

    def close(self, descriptor: int) -> None:
        """Close a file or folder."""
        forks.close(descriptor)

    def link(self, name: str, at: int, new_name: str, new_at: int) -> None:
        """Give the file *name* the name *new_name* as well, which must not exist."""
        os.link(name, new_name, src_dir_fd=at, dst_dir_fd=new_at, follow_symlinks=False)

    def rename(self, name: str, at: int, new_name: str, new_at: int) -> None:
        """Call the file *name* *new_name*, in place of what has that name."""
        os.rename(name, new_name, src_dir_fd=at, dst_dir_fd=new_at)

    def unlink(self, name: str, at: int) -> None:
        """Take the name *name* away."""
        os.unlink(name, dir_fd=at)

    def lock(self, file: int) -> bool:
        """Lock all of *file*, until it is closed, against everybody else; return whether it could be had at once."""
        with forks.NO_FORK:
            try:
                # A lock of the open file and not of the process, so that it keeps other threads out as well.
                if sys.platform == "linux":
                    fcntl.fcntl(file, fcntl.F_OFD_SETLK, _WHOLE_FILE)
                else:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in {errno.EACCES, errno.EAGAIN}:
                    return False
                raise
            forks.hold(file)
        return True

    def set_times(self, file: int, accessed: int, modified: int) -> None:
        """Let *file* have been accessed and modified so many nanoseconds after 1970."""
        os.utime(file, ns=(accessed, modified))

    def stat(self, descriptor: int) -> os.stat_result:
        """Return what a file or folder is."""
        return os.fstat(descriptor)

    def stat_name(self, name: str, at: int | None = None) -> os.stat_result:
        """Return what *name* stands for, itself when it is a symbolic link."""
        return os.stat(name, dir_fd=at, follow_symlinks=False)


def _open_unread(name: str, flags: int, at: int) -> int:
    # Without O_NONBLOCK a FIFO could keep it waiting before anybody sees that it is one. And what is read here nobody
    # has read: mail programs tell new mail by the time of the last access.
    flags |= os.O_NONBLOCK | _OPEN
    try:
        return os.open(name, flags | _NOATIME, dir_fd=at)
    except PermissionError:
        # Only the owner may leave that time as it is.
        return os.open(name, flags, dir_fd=at)


def why_no_folder(files: Files, name: str, at: int | None, error: OSError) -> str:
    """Return why *name* could not be opened as a folder: systems differ in what they say of a symbolic link."""
    try:
        mode = files.stat_name(name, at).st_mode
    except OSError:
        mode = modes.S_IFDIR
    if modes.S_ISLNK(mode):
        return "it is a symbolic link, and somebody may turn it elsewhere; name the folder itself"
    if not modes.S_ISDIR(mode):
        return "it is not a folder"
    if isinstance(error, FolderNotSynced):
        return str(error.strerror)
    return str(error) if error.errno is None else system_words(error.errno)
