"""Retrieval: messages of one session from the server to the writer.

Owns how they are fetched: many at a time, in pieces and in constant memory; and whose fault it is when the connection
is lost in the middle. Never deletes.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from pop3fast import POP3, CommandError, ConnectionLost, Piece, ProtocolError, error_proto
from pop3fast.fetch._errors import explained
from pop3fast.fetch._fingerprint import fingerprint
from pop3fast.fetch._plan import Item, remembered_as
from pop3fast.fetch._run import Run
from pop3fast.fetch._writer import Writer, header_of

AHEAD_OCTETS = 64 * 2**20
"""How many octets are asked for ahead of time: as many as there are commands in flight, but for the largest messages.
What is not taken the server does not send, and this loop, unlike one that may be left at any point, goes to its end."""

PROVEN_REPLIES = 100
"""A server that answered so many commands in this run can pipeline: that it hung up then was not because of it."""

T = TypeVar("T")


class Retrieval:
    """Fetches messages over one connection."""

    def __init__(self, run: Run, pop: POP3) -> None:
        """Fetch over *pop*."""
        self._run = run
        self._pop = pop

    def fetch(self, items: list[Item], writer: Writer) -> None:
        """Hand *items* to *writer*, in this order; those that the server refuses are named in the report.

        Raises `ProtocolError` or ``OSError`` when the connection is lost, and what made the writer stop.
        """
        if self._run.options.headers_only:
            self._fetch_headers(items, writer)
        else:
            self._fetch_messages(items, writer)

    def listings(self) -> tuple[dict[int, str], dict[int, int]]:
        """Return unique-ids and sizes by message number, at once where the server pipelines.

        Raises `CommandError` when either is refused, and `ProtocolError` or ``OSError`` when the connection is lost.
        """
        try:
            return self._pop.uids_and_sizes(pipelining=self.pipelining())
        except (error_proto, OSError) as error:
            self._doubt_pipelining(error)
            raise

    def fingerprints(self, numbers: list[int]) -> dict[int, bytes]:
        """Return the fingerprints of messages, by TOP; none when the server has no TOP.

        Raises `ProtocolError` or ``OSError`` when the connection is lost; then TOP is not used again in this run.
        """
        found: dict[int, bytes] = {}
        if not self._run.may_top:
            return found
        # The first alone: a server without TOP counts bad commands, and hangs up at the twentieth (quirk q43).
        for some in (numbers[:1], numbers[1:]):
            self._run.may_top = False
            messages = self._pop.top_many(some, 0, pipelining=self.pipelining(), on_error=lambda _: None)
            for message in messages:
                found[message.number] = fingerprint(header_of(message.content))
            self._run.may_top = True
            if not found:
                break
        return found

    def pipelining(self) -> bool | None:
        """Return how commands are to be pipelined in this run: as CAPA says (None), or not at all."""
        self._note_pipelining()
        return None if self._run.may_pipeline and self._run.door.asks_capabilities else False

    def mark(self, numbers: list[int], on_error: Callable[[CommandError], object]) -> None:
        """Mark the messages *numbers* as deleted.

        Raises `ProtocolError` or ``OSError`` when the connection is lost.
        """
        try:
            self._pop.dele_many(numbers, pipelining=self.pipelining(), on_error=on_error)
        except (error_proto, OSError) as error:
            self._doubt_pipelining(error)
            raise

    def _fetch_headers(self, items: list[Item], writer: Writer) -> None:
        awaited = deque(items)
        messages = self._pop.top_many(
            [item.number for item in items],
            pipelining=self.pipelining(),
            on_error=lambda error: self._run.give_up(awaited.popleft(), explained(error)),
        )
        while (message := self._next(messages, awaited)) is not None:
            item, header = awaited[0], header_of(message.content)
            writer.put(item, remembered_as(item.identity, self._run.options), header)
            self._received(awaited, len(header))

    def _fetch_messages(self, items: list[Item], writer: Writer) -> None:
        awaited = deque(items)
        pieces = self._pop.retr_pieces(
            [item.number for item in items],
            sizes={item.number: item.size for item in items},
            ahead=AHEAD_OCTETS,
            pipelining=self.pipelining(),
            on_error=lambda error: self._run.give_up(awaited.popleft(), explained(error)),
        )
        octets = 0
        while (piece := self._next(pieces, awaited)) is not None:
            octets = self._take(piece, octets, awaited, writer)

    def _take(self, piece: Piece, before: int, awaited: deque[Item], writer: Writer) -> int:
        """Hand *piece* on, and return how many octets of a message have come that is not whole yet."""
        item, content = awaited[0], piece.content
        octets = before + len(content)
        if piece.first and piece.last:
            writer.put(item, item.identity, content)
        else:
            if piece.first:
                writer.begin(item, item.identity)
            writer.write(content)
            if not piece.last:
                self._run.receiving(octets)
                return octets
            writer.end()
        self._received(awaited, octets)
        return 0

    def _received(self, awaited: deque[Item], octets: int) -> None:
        self._run.answered += 1
        self._run.received(awaited.popleft(), octets)

    def _next(self, replies: Iterator[T], awaited: deque[Item]) -> T | None:
        try:
            return next(replies, None)
        except (error_proto, OSError) as error:
            self._run.broke(awaited[0], explained(error))
            self._doubt_pipelining(error)
            raise _trouble(error) from error

    def _doubt_pipelining(self, error: Exception) -> None:
        """Give one command at a time in the rest of the run, if *error* may come of pipelining.

        That is what a server says out of step (quirk q110), and what made the connection give pipelining up; not a
        refusal, and not a line that drops.
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


def _trouble(error: Exception) -> Exception:
    """Return what *error* is once the connection is lost: no refusal, after which the session would go on."""
    return ProtocolError(explained(error)) if isinstance(error, CommandError) else error
