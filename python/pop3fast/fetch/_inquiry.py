"""Inquiry: what a session asks of the server besides whole messages, and whether several commands are sent at once.

Owns what a run has found out about the server's ways: that it pipelines, or that this is given up; that it shows
headers (TOP), or loses the connection when it is asked for one. Decides nothing about a message.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import NoReturn

from pop3fast import POP3, CommandError, ConnectionLost, ProtocolError, error_proto
from pop3fast.fetch._errors import explained
from pop3fast.fetch._run import Run
from pop3fast.fetch.memory._fingerprint import fingerprint, header_of

PROVEN_REPLIES = 100
"""A server that answered so many commands in this run can pipeline: that it hung up then was not because of it."""

FEW_HEADERS = 4
"""So many headers are asked for before a server that says it has TOP is taken for one that has none."""


class Inquiry:
    """Asks over one connection."""

    def __init__(self, run: Run, pop: POP3) -> None:
        """Ask over *pop*."""
        self._run = run
        self._pop = pop

    def listings(self) -> tuple[dict[int, str], dict[int, int]]:
        """Return unique-ids and sizes by message number, at once where the server pipelines.

        Raises `CommandError` when either is refused, and `ProtocolError` or ``OSError`` when the connection is lost.
        """
        with self._doubting():
            return self._pop.uids_and_sizes(pipelining=self.pipelining())

    def fingerprints(self, numbers: list[int]) -> dict[int, bytes]:
        """Return the fingerprints of messages, by TOP; none when the server has no TOP.

        Raises `ProtocolError` or ``OSError`` when the connection is lost; then TOP is not used again in this run,
        unless the server has answered one before.
        """
        found: dict[int, bytes] = {}
        if not self._run.may_top:
            return found
        # The first alone: a server without TOP counts bad commands, and hangs up at the twentieth (quirk q43). One that
        # says that it has TOP may still refuse to show one message.
        tried = FEW_HEADERS if self.may_have_top() else 1
        for start, end in ((0, 1), (1, tried), (tried, len(numbers))):
            if start >= tried and not found:
                break
            self._run.may_top = self._run.has_top
            with self._doubting():
                found |= {number: fingerprint(header) for number, header in self._headers(numbers[start:end])}
            self._run.may_top = True
            self._run.has_top |= bool(found)
        return found

    def may_have_top(self) -> bool:
        """Return whether the server has shown a header, or says that it can."""
        return self._run.has_top or (self._run.reconnector.asks_capabilities and self._pop.supports("TOP"))

    def headers(self, numbers: list[int]) -> dict[int, bytes]:
        """Return the headers of messages, by TOP; those that the server does not show are left out.

        Raises `ProtocolError` or ``OSError`` when the connection is lost.
        """
        try:
            with self._doubting():
                return dict(self._headers(numbers))
        except CommandError as error:
            raise_trouble(error)

    def _headers(self, numbers: list[int]) -> Iterator[tuple[int, bytes]]:
        messages = self._pop.top_many(numbers, 0, pipelining=self.pipelining(), on_error=lambda _: None)
        return ((message.number, header_of(message.content)) for message in messages)

    def pipelining(self) -> bool | None:
        """Return how commands are to be pipelined in this run: as CAPA says (None), or not at all."""
        self._note_pipelining()
        return None if self._run.may_pipeline and self._run.reconnector.asks_capabilities else False

    def mark(self, numbers: list[int], on_error: Callable[[CommandError], object]) -> None:
        """Mark the messages *numbers* as deleted.

        Raises `ProtocolError` or ``OSError`` when the connection is lost.
        """
        with self._doubting():
            self._pop.dele_many(numbers, pipelining=self.pipelining(), on_error=on_error)

    @contextlib.contextmanager
    def _doubting(self) -> Iterator[None]:
        """Doubt pipelining when an error ends the block."""
        try:
            yield
        except (error_proto, OSError) as error:
            self.doubt_pipelining(error)
            raise

    def doubt_pipelining(self, error: Exception) -> None:
        """Give one command at a time in the rest of the run, if pipelining may be the cause of *error*.

        That is a reply out of step (quirk q110), or whatever made the connection give pipelining up; not a refusal, and
        not a line that drops.
        """
        if isinstance(error, ConnectionLost) and self._run.answered >= PROVEN_REPLIES:
            return
        self._note_pipelining()
        if isinstance(error, ProtocolError) and not isinstance(error, ConnectionLost):
            self._run.may_pipeline = False

    def _note_pipelining(self) -> None:
        why = self._pop.pipelining_given_up
        if why is not None and self._run.may_pipeline:
            self._run.may_pipeline = False
            self._run.warn(f"pipelining was given up: {why}")


def raise_trouble(error: Exception) -> NoReturn:
    """Raise *error* as it counts on a lost connection: not as a refusal, after which the session would go on."""
    if isinstance(error, CommandError):
        raise ProtocolError(explained(error)) from error
    raise error
