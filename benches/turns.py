"""Two runs of the benchmarks that take turns: one cycle of rounds here, one there.

Owns who may work: whoever has the token, which goes to and fro over two pipes. So the runs of two checkouts meet the
same machine, and neither disturbs the other. A column has as many cycles in both. Must never look at a clock.
"""

import os
from typing import Protocol

_ENOUGH, _MORE = b"enough", b"more.."


class Turns(Protocol):
    """Whose turn it is."""

    def end_cycle(self, *, enough: bool) -> bool:
        """Return whether the column is at its end, when it is that here for *enough*; it is our turn again then."""
        ...


class Alone:
    """There is nobody else."""

    def end_cycle(self, *, enough: bool) -> bool:
        """Return *enough*."""
        return enough


ALONE = Alone()


class Partner:
    """The other run is at the other ends of two pipes. The one that is *first* has the token in the beginning."""

    def __init__(self, receive: int, send: int, *, first: bool) -> None:
        """Wait for the token unless *first*."""
        self._receive = receive
        self._send = send
        self._first = first
        self._they_have_enough = first or self._token()

    def end_cycle(self, *, enough: bool) -> bool:
        """Let the other have a turn; return whether both have *enough*.

        Raises ``EOFError`` when the first one is left alone in the middle of a column.
        """
        before = self._they_have_enough
        os.write(self._send, _ENOUGH if enough else _MORE)
        self._they_have_enough = self._token()
        # Both decide by the same two words: the second one's answers the first one's of the same cycle.
        return enough and (self._they_have_enough if self._first else before)

    def _token(self) -> bool:
        word = os.read(self._receive, len(_MORE))
        if not word and self._first:
            raise EOFError("the benchmarks of the other checkout have ended before ours")
        return word != _MORE
