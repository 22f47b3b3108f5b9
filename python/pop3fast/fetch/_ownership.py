"""Ownership of files: whether mail may be written to a file, and whether a state may be read from it.

Owns which users count as others, and the shell command that mends it. Never looks at a file itself.
"""

import os
import shlex
import stat as modes


def objection_to(path: str, status: os.stat_result, folder: os.stat_result) -> str:
    """Return why the file *path* is not used, and what to run; empty when it may be.

    *folder* is what it lies in. In a folder such as /tmp others can make the file before we do. Then our mail goes into
    their file, or they write into a state which messages were delivered.
    """
    quoted = shlex.quote(path)
    if modes.S_ISLNK(status.st_mode):
        return "it is a symbolic link, and somebody may turn it elsewhere; name the file itself"
    if not modes.S_ISREG(status.st_mode):
        return "it is not a file"
    if status.st_uid != os.geteuid():
        return (
            f"user {status.st_uid} owns it, and this is user {os.geteuid()}; "
            f"if it is meant for this user, run as root: chown {os.geteuid()} {quoted}"
        )
    if status.st_nlink > 1:
        return (
            f"it has {status.st_nlink} names (hard links), so it may be another file, too; "
            f"to make it one of its own, run: cp -p {quoted} {quoted}.new && mv {quoted}.new {quoted}"
        )
    if status.st_mode & modes.S_IWOTH or (status.st_mode & modes.S_IWGRP and not _group_may(status, folder)):
        return f"others may write to it; run: chmod go-w {quoted}"
    return ""


def _group_may(status: os.stat_result, folder: os.stat_result) -> bool:
    """Return whether the file's group could replace the file anyway.

    That is so on Debian, where /var/mail and its files belong to the group mail and may be written to by it, and in a
    home whose files belong to the user's own group.
    """
    return status.st_gid == folder.st_gid and bool(folder.st_mode & modes.S_IWGRP)


def objection_to_folder(path: str, status: os.stat_result) -> str:
    """Return why no state is kept in the folder *path*, and what to do; empty when it may be.

    SQLite makes files beside its own and takes them away again, and believes those that it finds. So nobody else may
    make any there, which sticky folders allow everybody.
    """
    if status.st_uid not in {0, os.geteuid()}:
        return (
            f"user {status.st_uid} owns the folder {path}, and this is user {os.geteuid()}; keep it elsewhere (--state)"
        )
    if status.st_mode & modes.S_IWOTH:
        return f"others may make files in the folder {path}, and so what is believed here; keep it elsewhere (--state)"
    return ""
