"""The folders of a destination: opened once, checked, and made when only their parent is there.

Owns which folders are refused: a symbolic link, a folder of another user, and one that holds other things. Whoever
could redirect such a folder could have mail written where he may not write himself.
"""

import contextlib
import os
from typing import NamedTuple

from pop3fast.fetch._errors import DestinationError, no_parent_error
from pop3fast.fetch._files import Files, why_no_folder


class Folders(NamedTuple):
    """Open folders."""

    root: int
    inside: tuple[int, ...]


def open_folders(files: Files, path: str, inside: tuple[str, ...]) -> Folders:
    """Open the folder *path* and the folders *inside*; it may contain nothing else unless it has one of these.

    What does not exist is made, if *path*'s parent exists, and its names are made durable. Raises `DestinationError`.
    """
    parent_name, name = os.path.split(path)
    with contextlib.ExitStack() as to_close:

        def opened(folder: int) -> int:
            to_close.callback(files.close, folder)
            return folder

        try:
            try:
                root = opened(files.open_folder(path))
            except FileNotFoundError:
                root = opened(_make(files, parent_name or ".", name))
        except OSError as error:
            raise _refused(files, path, None, path, error) from error
        _check_owner(files, root, path)
        _check_kind(files, root, path, inside)
        folders: list[int] = []
        for name_inside in inside:
            path_inside = f"{path}/{name_inside}"
            try:
                folders.append(opened(_open_or_make(files, root, name_inside)))
            except OSError as error:
                raise _refused(files, name_inside, root, path_inside, error) from error
            _check_owner(files, folders[-1], path_inside)
        _sync_names(files, root, path, parent_name or ".")
        to_close.pop_all()
        return Folders(root, tuple(folders))


def _make(files: Files, parent_name: str, name: str) -> int:
    try:
        parent = files.open_parent(parent_name)
    except FileNotFoundError:
        raise no_parent_error(f"{parent_name}/{name}", "deliver to") from None
    try:
        return _open_or_make(files, parent, name)
    finally:
        files.close(parent)


def _open_or_make(files: Files, parent: int, name: str) -> int:
    try:
        return files.open_folder(name, parent)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            files.make_folder(name, parent)
        return files.open_folder(name, parent)


def _check_owner(files: Files, folder: int, path: str) -> None:
    try:
        owner = files.stat(folder).st_uid
    except OSError as error:
        raise _refused(files, path, None, path, error) from error
    if owner != os.geteuid():
        raise DestinationError(path, "deliver to", f"user {owner} owns it, and this is user {os.geteuid()}")


def _check_kind(files: Files, root: int, path: str, inside: tuple[str, ...]) -> None:
    if not inside:
        return
    try:
        names = files.names(root)
    except OSError as error:
        raise _refused(files, path, None, path, error) from error
    if names and not set(inside).intersection(names):
        listed = ", ".join(inside)
        raise DestinationError(path, "deliver to", f"it has other things in it, and none of {listed}")


def _sync_names(files: Files, root: int, path: str, parent_name: str) -> None:
    # Always, not only when they were made now: the process that made them may have been stopped before this.
    try:
        files.sync_folder(root)
        try:
            parent = files.open_parent(parent_name)
        except PermissionError:
            return  # then nothing was made in it
        try:
            files.sync_folder(parent)
        finally:
            files.close(parent)
    except OSError as error:
        raise _refused(files, path, None, path, error) from error


def _refused(files: Files, name: str, at: int | None, path: str, error: OSError) -> DestinationError:
    return DestinationError(path, "open the folder", why_no_folder(files, name, at, error), error.errno)
