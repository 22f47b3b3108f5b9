"""The files of a state: SQLite's own, those that it makes beside it, and the locks.

Owns that they are this user's and nobody else's to write, and that no link is followed. What holds, exactly: a lock is
checked when it is open. SQLite takes a path and resolves it itself, so what it opens is checked before and again
after it, within a folder that is held open meanwhile: it must be the one that the path names, and no other user may
make files in it, or SQLite would believe a ``-wal`` that somebody put there. Whoever can exchange a folder further up,
there and back within that moment, is not kept out.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from pop3fast.fetch._errors import StateError, sync_folder
from pop3fast.fetch._ownership import objection_to, objection_to_folder

BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite calls its files, behind the path."""


def open_file(path: str, *, new: bool = False) -> int:
    """Return a descriptor of the file *path*, which is made when it is not there; a *new* one must not be there.

    Raises `StateError` when it is not this user's alone, and ``OSError``.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with _folder_of(path) as (folder, name):
        # Whom mail comes from is nobody else's business; SQLite itself would let everybody read it.
        try:
            file = os.open(name, flags | os.O_EXCL * new, 0o600, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ELOOP:
                _check(path, os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(folder))
            raise
        try:
            _check(path, os.fstat(file), os.fstat(folder))
        except BaseException:
            os.close(file)
            raise
    return file


@contextlib.contextmanager
def checked(path: str) -> Iterator[None]:
    """Check the files of the state *path* before they are opened in here, and that they are the same afterwards.

    Raises `StateError`.
    """
    with _folder_of(path) as (folder, name):
        before = _look(path, folder, name)
        yield
        after = _look(path, folder, name)
        now = os.stat(os.path.split(path)[0] or ".")  # noqa: PTH116 - a path is a str in this package
        if not os.path.samestat(now, os.fstat(folder)) or not (before and after and os.path.samestat(before, after)):
            raise StateError(path, "somebody put another file or folder in its place while it was opened")


def lock_path(path: str, digest: str) -> str:
    """Return which file of the state *path* is locked while the account of *digest* is fetched."""
    return f"{path}.{digest}.lock"


def sync_name(path: str) -> None:
    """Make the name *path* durable. Raises ``OSError``."""
    with _folder_of(path) as (folder, _):
        sync_folder(folder)


def _look(path: str, folder: int, name: str) -> os.stat_result | None:
    """Check what is there of the state; return what its main file is."""
    found: os.stat_result | None = None
    for suffix in reversed(BESIDE):
        found = None
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(f"{name}{suffix}", dir_fd=folder, follow_symlinks=False)
            _check(f"{path}{suffix}", found, os.fstat(folder))
    return found


def _check(path: str, status: os.stat_result, folder: os.stat_result) -> None:
    if objection := objection_to(path, status, folder):
        raise StateError(path, objection)


@contextlib.contextmanager
def _folder_of(path: str) -> Iterator[tuple[int, str]]:
    parent, name = os.path.split(path)
    folder = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if objection := objection_to_folder(parent or ".", os.fstat(folder)):
            raise StateError(path, objection)
        yield folder, name
    finally:
        os.close(folder)
