"""Private: files that hold a secret, which nobody else may have read or written.

Owns which users count as others, and the shell command that mends a file's rights. The open file is checked, never its
path again, because the path may name another file by then. No error shows an octet of a file.
"""

import codecs
import os
import shlex
import stat
from pathlib import Path
from typing import NamedTuple

from pop3fast.fetch._errors import SecretError

MAX_OCTETS = 2**20
"""Larger than any file of passwords, and than any list of accounts. A device has no end."""


class Contents(NamedTuple):
    """What a file holds, and whether it may hold a secret."""

    octets: bytes
    objection: str
    """Why it may not, and what to do about it; empty when it may."""


def read_contents(path: str) -> Contents:
    """Return what is in the file at *path*. Raises ``OSError``, and `SecretError` for what is far too large."""
    with Path(path).open("rb") as file:
        objection = _objection(path, os.fstat(file.fileno()))
        octets = file.read(MAX_OCTETS + 1)
        if len(octets) > MAX_OCTETS:
            raise SecretError(f"{path} is larger than {MAX_OCTETS:,} octets")
        # The rights may change while it is read.
        return Contents(octets, objection or _objection(path, os.fstat(file.fileno())))


def read_private(path: str) -> bytes:
    """Return what is in the file at *path*, which is to be this user's and nobody else's.

    Raises `SecretError`, which says what to do; ``FileNotFoundError`` when there is none.
    """
    try:
        contents = read_contents(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SecretError(f"cannot read {path}: {error.strerror}") from None
    if contents.objection:
        raise SecretError(contents.objection)
    return contents.octets


def no_utf8(octets: bytes) -> str:
    """Return what is wrong with *octets* that cannot be decoded, and what to do about it."""
    if octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16, as some editors write it: save it as UTF-8"
    return "no UTF-8"


def _objection(path: str, status: os.stat_result) -> str:
    quoted = shlex.quote(path)
    if status.st_uid != os.geteuid():
        return (
            f"{path} holds a password, and belongs to another user ({status.st_uid}); "
            f"when it is yours, run: chown {os.geteuid()} {quoted} && chmod 600 {quoted}"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        return f"{path} holds a password, and others can get at it; run: chmod 600 {quoted}"
    return ""
