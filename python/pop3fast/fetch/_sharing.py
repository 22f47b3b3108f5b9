"""Sharing: which of several sessions fetches which message, and which message is handed on next.

Pure. Owns that messages are handed on in the mailbox's order, that what waits for its turn in memory is bounded, and
that a slow session holds nobody up. The first session is the one whose listing the messages are from; it alone gets
what is large, what another could not fetch, and what no other has under the same unique-id.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pop3fast import CommandError, Piece
from pop3fast.fetch._plan import Item

FIRST = 0
"""The session that lists, and that deletes."""

NONE = -1

AHEAD_MESSAGES = 512
"""So many messages may be fetched before the one whose turn it is has come: as many as the writer lets wait."""

WAITING_OCTETS = 16 * 2**20
"""And so many octets may wait for it in memory: again as many as the writer lets wait."""

LARGE_OCTETS = 2 * 2**20
"""A larger message comes over the first session, in pieces; the others have each of theirs whole in memory. At 100 ms
of round trip and 100 Mbit/s waiting for the server is a third of the time that one of this size takes."""


@dataclass
class _Coming:
    """What has come of one message, from the one session whose octets are taken."""

    by: int
    pieces: deque[Piece] = field(default_factory=deque)
    octets: int = 0
    """How many of them wait to be handed on."""
    refusal: CommandError | None = None


class Sharing:
    """The messages of one loop, shared by several sessions."""

    def __init__(self, items: Sequence[Item], orders: dict[int, list[Item]]) -> None:
        """Share *items*, in their order; note in *orders* what comes whole over each session, in its order there."""
        self.items = items
        self.ended = False
        """Whether nothing more is wanted."""
        self._orders = orders
        self._fresh = deque(range(len(items)))
        # What only the first session may fetch.
        self._for_first: deque[int] = deque()
        self._under_way: dict[int, set[int]] = {}
        self._coming: dict[int, _Coming] = {}
        # The message whose turn it is to be handed on.
        self._turn = 0
        self._octets = 0
        self._late = NONE

    @property
    def is_over(self) -> bool:
        """Whether every message was handed on."""
        return self._turn == len(self.items)

    # What a session asks.

    def choose(self, session: int, can_fetch: Callable[[Item], bool]) -> int | None:
        """Return the place of a message that *session* is to fetch now; None when there is none for it as yet."""
        if self.ended or self.is_over:
            return None
        place = self._next_for(session, can_fetch)
        if place is None:
            return None
        self._under_way.setdefault(place, set()).add(session)
        return place

    def _next_for(self, session: int, can_fetch: Callable[[Item], bool]) -> int | None:
        if session == FIRST and self._for_first and not (self._fresh and self._fresh[0] < self._for_first[0]):
            if self._has_room(self._for_first[0]):
                return self._for_first.popleft()
        else:
            for index, place in enumerate(self._fresh):
                if not self._has_room(place):
                    break
                # Another session may have what this one does not.
                if session == FIRST or self._may_have(place, can_fetch):
                    del self._fresh[index]
                    return place
        is_late = self._late == self._turn and session not in self._under_way.get(self._turn, ())
        if not is_late or not (session == FIRST or self._may_have(self._turn, can_fetch)):
            return None
        self._late = NONE
        return self._turn

    def _may_have(self, place: int, can_fetch: Callable[[Item], bool]) -> bool:
        item = self.items[place]
        return item.size <= LARGE_OCTETS and can_fetch(item)

    def _has_room(self, place: int) -> bool:
        within = place < self._turn + AHEAD_MESSAGES and self._octets < WAITING_OCTETS
        return within or place == self._turn

    # What a session says.

    def put(self, place: int, session: int, pieces: Sequence[Piece]) -> None:
        """Take *pieces* of a message from *session*, unless another one was faster or nobody wants it any more."""
        if pieces[-1].last:
            self._finished(place, session)
            self._orders.setdefault(session, []).append(self.items[place])
        if self.ended or place < self._turn:
            return
        coming = self._coming.setdefault(place, _Coming(session))
        if coming.by == session:
            coming.pieces.extend(pieces)
            octets = sum(len(piece.content) for piece in pieces)
            coming.octets += octets
            self._octets += octets

    def has_room_for_more(self, place: int) -> bool:
        """Return whether more of a message that comes in pieces may come now."""
        coming = self._coming.get(place)
        return coming is None or coming.octets < LARGE_OCTETS

    def refuse(self, place: int, error: CommandError) -> None:
        """Note that the server refuses a message to the first session."""
        self._finished(place, FIRST)
        if place >= self._turn and place not in self._coming:
            self._coming[place] = _Coming(FIRST, refusal=error)

    def give_back(self, place: int, session: int) -> None:
        """Let the first session fetch a message that *session* could not."""
        self._finished(place, session)
        if place >= self._turn and place not in self._coming and place not in self._under_way:
            self._for_first = deque(sorted([*self._for_first, place]))

    def _finished(self, place: int, session: int) -> None:
        sessions = self._under_way.get(place, set())
        sessions.discard(session)
        if not sessions:
            self._under_way.pop(place, None)

    # What is handed on.

    def take(self) -> Piece | CommandError | None:
        """Return what is to be handed on next: a piece or a refusal; None when it has not come yet."""
        coming = self._coming.get(self._turn)
        if coming is None:
            return None
        if coming.refusal is not None:
            self._go_on()
            return coming.refusal
        if not coming.pieces:
            return None
        piece = coming.pieces.popleft()
        coming.octets -= len(piece.content)
        self._octets -= len(piece.content)
        if piece.last:
            self._go_on()
        return piece

    def let_another_fetch(self) -> None:
        """Let an idle session fetch the message whose turn it is, too, unless some of it has come already."""
        if not self.is_over and self._turn not in self._coming:
            self._late = self._turn

    def _go_on(self) -> None:
        del self._coming[self._turn]
        self._turn += 1
