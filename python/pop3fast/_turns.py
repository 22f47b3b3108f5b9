"""Turns: a connection belongs to one thread at a time, and to one process only.

Owns who may use a connection now. Two threads that wait for replies on one connection would get each other's, and so
would a child process that shares its parent's. The second one gets an error before it sends an octet.
"""

import os
from collections.abc import Callable

from pop3fast._errors import ConnectionBusy


class _Forks:
    """How often this process is the child of a fork, counted from the process that imported us."""

    count = 0

    @classmethod
    def after_in_child(cls) -> None:
        cls.count += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Forks.after_in_child)


class Turns:
    """The turns at one connection, which was made in this process."""

    __slots__ = ("_acquire", "_forks", "give_back")

    def __init__(self) -> None:
        """Nobody's turn."""
        self._forks = _Forks.count
        from threading import RLock  # noqa: PLC0415 - takes long, and who only imports us has no connection

        # A thread may begin a turn within its own: several commands that nobody may come between.
        lock = RLock()
        self._acquire = lock.acquire
        self.give_back: Callable[[], None] = lock.release
        """End the turn."""

    @property
    def ours(self) -> bool:
        """Whether the connection was made in this process, and not before a fork in its parent."""
        return self._forks == _Forks.count

    def take(self) -> None:
        """Begin a turn; `ConnectionBusy` when it is somebody else's. `give_back` ends it."""
        if self._forks != _Forks.count:
            raise ConnectionBusy("the connection belongs to the parent process, which made it before the fork")
        if not self._acquire(False):  # noqa: FBT003 - a tenth of the time of a command's way is arguments by name
            raise ConnectionBusy("the connection is in use: another command is waiting for its reply")
