"""File systems that are synced as a whole: one call for a whole batch of files, where its success can be believed.

Owns ``syncfs`` and where that is: on the file systems of Linux that write to a disk of their own. Over a network or
through FUSE it returns when the octets have been handed on, and an overlay is not told what the file system below it
could not write. Never says that anything is durable where it would not be told that it is not.
"""

import errno
import functools
import os
import re
from collections.abc import Callable
from pathlib import Path

KNOWN = frozenset({"btrfs", "ext3", "ext4", "f2fs", "xfs"})
"""By the names that the kernel gives them. Each waits for its disk's own cache, too."""

FIRST_LINUX = (5, 8)
"""Which one was the first to tell what could not be written; before it, only that there was no such descriptor."""

_KERNEL = r"(\d+)\.(\d+)"


def sync_whole(folder: int) -> None:
    """Make everything durable that was written to the file system of the open *folder*.

    Raises `OSError` when any file of anybody's there could not be written since *folder* was opened, or since it was
    told so last: then each file says for itself, by ``fsync``, whether it is durable. Raises it with ``ENOTSUP``, too,
    where the call would not tell of what went wrong.
    """
    syncfs = _syncfs() if _tells_errors(folder) else None
    if syncfs is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    syncfs(folder)


def _tells_errors(folder: int) -> bool:
    system, _, release, *_ = os.uname()
    found = re.match(_KERNEL, release)
    if system != "Linux" or found is None or (int(found[1]), int(found[2])) < FIRST_LINUX:
        return False
    try:
        return _kind_of(folder) in KNOWN
    except OSError:
        return False  # there is no /proc


def _kind_of(folder: int) -> str:
    """Return the kind of file system that *folder* is on, by its mount: a volume of btrfs has a device of its own."""
    about = Path(f"/proc/self/fdinfo/{folder}").read_text(encoding="ascii")
    mount = about.partition("mnt_id:")[2].split()[0]
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            if line.startswith(f"{mount} "):
                # How many fields there are before the lone hyphen varies.
                return line.partition(" - ")[2].partition(" ")[0]
    return ""


@functools.cache
def _syncfs() -> Callable[[int], None] | None:
    """Return the system's call, if it has one."""
    try:
        # Python has no name for it. Imported here, because it takes as long as the rest of this package's start.
        import ctypes  # noqa: PLC0415 - as above

        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (ImportError, OSError, AttributeError):
        return None

    def syncfs(folder: int) -> None:
        if call(folder) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs
