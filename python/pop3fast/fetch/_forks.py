"""Forks: what a forked child of this process closes as soon as it exists.

A lock belongs to an open file, which parent and child share. A child that multiprocessing forked during a fetch kept
the account, the state and the mbox locked for as long as it lived, and kept a server's session open after its parent
had been killed. Owns the list of what a child has to close. That closes it for the child alone. The number of a
descriptor stays taken in the child, so that whoever had it, and closes it there too, closes no other file. Other
connections are left as they are: a program may make one, fork, and go on in the child.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from threading import RLock

NO_FORK = RLock()
"""Nobody forks while this is held, so that something can be opened and noted in one step."""


class _Held:
    """What this process has."""

    descriptors: set[int] = set()  # noqa: RUF012 - of the process
    closers: set[Callable[[], object]] = set()  # noqa: RUF012 - as above


def hold(descriptor: int) -> None:
    """Have a child close *descriptor*."""
    with NO_FORK:
        _Held.descriptors.add(descriptor)


def close(descriptor: int) -> None:
    """Close *descriptor*, whether it is held or not."""
    if descriptor not in _Held.descriptors:
        os.close(descriptor)
        return
    with NO_FORK:
        _Held.descriptors.discard(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def closed_in_children(close_: Callable[[], object]) -> Iterator[None]:
    """Have a child that is forked in here call *close_*."""
    with NO_FORK:
        _Held.closers.add(close_)
    try:
        yield
    finally:
        with NO_FORK:
            _Held.closers.discard(close_)


def _let_go() -> None:
    descriptors, _Held.descriptors = _Held.descriptors, set()
    closers, _Held.closers = _Held.closers, set()
    try:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                _put_nothing_in(descriptor)
        for close_ in closers:
            with contextlib.suppress(OSError):
                close_()
    finally:
        NO_FORK.release()


def _put_nothing_in(descriptor: int) -> None:
    """Close what *descriptor* stands for, and let it stand for nothing."""
    # First, so that no lock stays where there is nothing to put in its place.
    os.close(descriptor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    if nothing != descriptor:
        os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=NO_FORK.acquire, after_in_parent=NO_FORK.release, after_in_child=_let_go)
