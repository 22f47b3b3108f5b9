"""Retrieval: messages of one session from the server to the writer.

Owns how they are fetched (many at a time, in pieces, in constant memory), and which message is to blame when the
connection is lost in the middle. Never deletes.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from pop3fast import POP3, CommandError, Piece, ProtocolError, error_proto
from pop3fast._replies import pipelines
from pop3fast.fetch import _step
from pop3fast.fetch._errors import explained
from pop3fast.fetch._further import wanted_of
from pop3fast.fetch._identity import Identity
from pop3fast.fetch._inquiry import Inquiry, raise_trouble
from pop3fast.fetch._plan import Item, remembered_as
from pop3fast.fetch._run import Run
from pop3fast.fetch._several import Lost, SeveralSessions
from pop3fast.fetch._sizes import Trust, too_short
from pop3fast.fetch._writer import Writer
from pop3fast.fetch.memory._fingerprint import HEADER_OCTETS, fingerprint, header_of
from pop3fast.fetch.memory._seen import Remembered

AHEAD_OCTETS = 64 * 2**20
"""How many octets are asked for ahead of time: as many as there are commands in flight, but for the largest messages.
The server sends no more than is taken, and this loop, unlike one that may be left at any point, goes to its end."""

PAYS_FROM_MESSAGES = 8
"""A further session pays for so many messages at least: its login and its listings take as many round trips."""

HELPFUL_SESSIONS = 4
"""So many sessions are proposed: most servers let in as many."""

HELPS_FROM_SECONDS = 5.0
"""Less waiting than this in a whole fetch is not worth a proposal."""

HELPS_FROM_SHARE = 0.8
"""Nor is it where less of the time than this is waiting: then four sessions are not even three times as fast."""

T = TypeVar("T")


class Short(NamedTuple):
    """A message that came too short to be whole. Nothing of it was handed on."""

    item: Item
    octets: int
    why: str


@dataclass
class Coming:
    """The part of a message that has come so far."""

    octets: int = 0
    begins: bytes = b""
    """The first piece of it."""
    line_ends: int = 0
    """How many CRLF were in it, as far as they have to be counted."""
    cr: bool = False
    """Whether what has come ends with CR."""
    left: bool = False
    """Whether it was abandoned because it is larger than it may be."""
    same: bool = False
    """Whether it was delivered before, and is not handed on."""
    same_to: int = 0
    """Up to so many octets it was delivered before, and came short then. When it has no more, it is abandoned."""
    held: bytes | None = None
    """What is held back, until the header is whole, of a message that may have been delivered before."""

    def add(self, piece: Piece) -> None:
        """Count *piece*, and keep the first one."""
        self.octets += len(piece.content)
        if piece.first:
            self.begins = piece.content

    def count_line_ends(self, content: bytes) -> None:
        """Count the CRLF in *content*, which may begin with the second octet of one."""
        self.line_ends += content.count(b"\r\n") + (self.cr and content.startswith(b"\n"))
        self.cr = content.endswith(b"\r")


class Retrieval:
    """Fetches messages over one connection."""

    def __init__(self, run: Run, pop: POP3, inquiry: Inquiry) -> None:
        """Fetch over *pop*, as *inquiry* says of pipelining."""
        self._run = run
        self._pop = pop
        self._inquiry = inquiry
        self.odd = False
        """Whether, since this was last set to False, sizes leave a doubt that messages are what they seem: one that was
        handed on has not the size that the server lists, or the last one before a reply that made no sense has the same
        size as another. A message that is taken for another shows by its size, unless both have the same."""
        self.longer = False
        """Whether one of them came longer than it is listed, although the sizes are known to be right."""
        self.again: dict[Item, Remembered] = {}
        """What is fetched to compare its header with that of the remembered message."""
        self.same: list[Item] = []
        """What had the same header, and no octets that the remembered one lacked. It was not delivered again."""
        self.short_before: set[Identity] = set()
        """What came short before this session, and shows nothing more about the sizes."""
        self._items: list[Item] = []
        self._several: SeveralSessions | None = None
        self._round_trip = 0.0

    @contextmanager
    def shared(self, items: list[Item], uids: Mapping[int, str]) -> Iterator[None]:
        """Have several sessions fetch *items* in the block, where that pays and may be; *uids* is what is listed."""
        several = self._several_for(items, uids)
        if several is None:
            began = self._run.clock.now()
            yield
            self._propose_sessions(len(items), self._run.clock.now() - began)
            return
        try:
            self._several = several if several.start() else None
            yield
            several.finish()
        finally:
            self._several = None
            several.close()

    def _several_for(self, items: list[Item], uids: Mapping[int, str]) -> SeveralSessions | None:
        run = self._run
        alone = run.most_sessions == 1 or run.options.headers_only or run.group is not None or run.login_delay
        if alone or (self._inquiry.pipelining() is None and pipelines(self._pop.capabilities())):
            return None
        wanted = wanted_of(items, uids)
        most = min(run.most_sessions, 1 + len(wanted) // PAYS_FROM_MESSAGES)
        return SeveralSessions(run, self._pop, wanted, most) if most > 1 else None

    def _propose_sessions(self, messages: int, seconds: float) -> None:
        """Say in the report whether further sessions would have helped to fetch so many messages in so many seconds."""
        waited = messages * self._round_trip
        one_at_a_time = self._inquiry.pipelining() is not None or not pipelines(self._pop.capabilities())
        if one_at_a_time and waited >= max(HELPS_FROM_SECONDS, HELPS_FROM_SHARE * seconds):
            self._run.report.helpful_sessions = HELPFUL_SESSIONS

    def begin(self) -> None:
        """Begin with a group of messages, of which nothing is known yet."""
        self.odd = self.longer = False
        if self._several is not None:
            self._several.orders.clear()

    def orders(self, items: list[Item]) -> Iterable[list[Item]]:
        """Return, for each session, which of *items*, the group, came over it, in that order."""
        return [items] if self._several is None else self._several.orders.values()

    def check_step(self, messages: int) -> None:
        """Make sure that replies still belong to their commands, over every session; *messages* are listed.

        Raises `ProtocolError` when they do not.
        """
        if self._several is None:
            began = self._run.clock.now()
            _step.check_step(self._pop, messages)
            self._round_trip = self._run.clock.now() - began
            return
        self._several.ask_for_step()
        _step.check_step(self._pop, messages)
        self._several.check_step()

    def fetch(self, items: list[Item], writer: Writer, before: Short | None = None) -> Short | None:
        """Hand *items* to *writer*, in this order, up to one that is too short, which is returned.

        Those that the server refuses are named in the report. *before* says how the same message came when it was too
        short already. If it comes alike again, and nothing shows that sizes can be relied on, it is handed on all the
        same. Raises `ProtocolError` or ``OSError`` when the connection is lost, and what made the writer stop.
        """
        if self._run.options.headers_only:
            self._fetch_headers(items, writer)
            return None
        return self._fetch_messages(items, writer, before)

    def is_doubtful(self, error: Exception) -> bool:
        """Return whether *error* means that messages which were handed on may be other messages.

        A line that drops proves nothing, nor does a message beyond a limit.
        """
        lost = isinstance(error, Lost) or not isinstance(error, ProtocolError)
        return self.odd and not lost

    def _fetch_headers(self, items: list[Item], writer: Writer) -> None:
        awaited = deque(items)
        messages = self._pop.top_many(
            [item.number for item in items],
            pipelining=self._inquiry.pipelining(),
            on_error=lambda error: self._run.give_up(awaited.popleft(), explained(error)),
        )
        self.odd = True
        while (message := self._next(messages, awaited)) is not None:
            item, header = awaited[0], header_of(message.content)
            writer.put(item, remembered_as(item.identity, self._run.options), header)
            self._received(awaited, len(header), header)

    def _fetch_messages(self, items: list[Item], writer: Writer, before: Short | None) -> Short | None:
        awaited = deque(items)
        self._items = items
        short: Short | None = None

        def refuse(error: CommandError) -> None:
            # What was in flight behind a message that is too short is asked for again, and refused again.
            if short is None:
                self._run.give_up(awaited.popleft(), explained(error))

        pieces = self._pieces(items, refuse, again=before is not None)
        coming = Coming()
        while (piece := self._next(pieces, awaited)) is not None:
            short = self._take(piece, coming, awaited, writer, before)
            if short is not None:
                self._end_early(pieces, short.item)
                break
            if piece.last:
                coming = Coming()
        return short

    def _pieces(self, items: list[Item], on_error: Callable[[CommandError], object], *, again: bool) -> Iterator[Piece]:
        if self._several is not None and not again:
            return self._several.pieces(items, on_error)
        return self._pop.retr_pieces(
            [item.number for item in items],
            sizes={item.number: item.size for item in items},
            ahead=AHEAD_OCTETS,
            pipelining=self._inquiry.pipelining(),
            on_error=on_error,
        )

    def _take(
        self, piece: Piece, coming: Coming, awaited: deque[Item], writer: Writer, before: Short | None
    ) -> Short | None:
        """Hand *piece* on; return the message that ends with it when that is too short."""
        run, item = self._run, awaited[0]
        coming.add(piece)
        is_as_listed = piece.last and coming.octets == item.size
        if run.sizes.trust is not Trust.EXACT and not is_as_listed:
            coming.count_line_ends(piece.content)
        if (remembered := self.again.get(item)) is not None:
            piece = self._compare(piece, coming, remembered)
        whole = piece.first and piece.last
        if not whole and not coming.same and coming.held is None:
            self._hand_on(piece, coming, item, writer)
        if not piece.last:
            run.receiving(coming.octets)
            return None
        if coming.same or 0 < coming.octets <= coming.same_to:
            self._recognise(item, writer, begun=not (whole or coming.same or coming.left))
            self._received(awaited, coming.octets, coming.begins)
            return None
        left = self._is_too_large(coming.octets)
        short = None if left else self._weigh(item, coming, before)
        if left:
            run.leave(item, coming.octets)
        elif whole and short is None:
            writer.put(item, item.identity, piece.content)
        elif not whole:
            (writer.end if short is None else writer.abandon)()
        if short is None:
            self._received(awaited, coming.octets, coming.begins)
        return short

    def _compare(self, piece: Piece, coming: Coming, remembered: Remembered) -> Piece:
        """Return *piece* with what was held back before it, once the header shows whether it is what is remembered."""
        if not piece.first and coming.held is None:
            return piece
        held = (coming.held or b"") + piece.content
        header = header_of(held)
        if header == held and not piece.last and len(held) < HEADER_OCTETS:
            coming.held = held
            return piece
        coming.held = None
        if fingerprint(header) == remembered.fingerprint:
            coming.same = remembered.octets >= remembered.size
            coming.same_to = remembered.octets
        return Piece(piece.number, held, first=True, last=piece.last)

    def _recognise(self, item: Item, writer: Writer, *, begun: bool) -> None:
        if begun:
            writer.abandon()
        self.same.append(item)

    def _hand_on(self, piece: Piece, coming: Coming, item: Item, writer: Writer) -> None:
        if piece.first:
            writer.begin(item, item.identity)
        if coming.left:
            return
        if self._is_too_large(coming.octets):
            coming.left = True
            writer.abandon()
        else:
            writer.write(piece.content)

    def _is_too_large(self, octets: int) -> bool:
        most = self._run.options.max_size
        return most is not None and octets > most

    def _weigh(self, item: Item, came: Coming, before: Short | None) -> Short | None:
        """Learn from the size of a message that came; return it when it is too short to be whole."""
        sizes = self._run.sizes
        is_odd = item.size not in {came.octets, came.octets - came.line_ends}
        self.odd = self.odd or is_odd
        # When a message came in two lengths, at most one is all of it, and nobody knows which, whatever sizes are.
        two_lengths = before is not None and before.octets != came.octets < item.size
        too_few = two_lengths or sizes.is_short(item.size, came.octets, came.line_ends)
        self.longer = self.longer or (is_odd and not too_few and sizes.decide)
        short = Short(item, came.octets, too_short(came.octets, item.size))
        if too_few and before is None:
            return short  # it may come whole when it is asked for once more
        # An estimate is the same each time. A message that came otherwise before was cut, and shows nothing about the
        # sizes.
        alike = before is not None and before.octets == came.octets > 0
        if not too_few or (alike and item.identity not in self.short_before):  # which each message shows once
            sizes.add(item.size, came.octets, came.line_ends)
        if not too_few:
            return None
        self._run.note_short(item)
        # It may be a piece of the message that is remembered, and takes its place only if it was short in an earlier
        # run, too.
        may_be_piece = item in self.again and item.identity not in self.short_before
        return None if alike and not sizes.decide and not may_be_piece else short

    def _end_early(self, pieces: Iterator[Piece], item: Item) -> None:
        """Take from the connection what is in flight behind *item*, and throw it away."""
        try:
            if isinstance(pieces, Generator):
                pieces.close()
        except (error_proto, OSError) as error:
            self._run.broke(item, explained(error))
            raise_trouble(error)

    def _received(self, awaited: deque[Item], octets: int, begins: bytes) -> None:
        self._run.answered += 1
        self._run.received(awaited.popleft(), octets, begins)

    def _next(self, replies: Iterator[T], awaited: deque[Item]) -> T | None:
        try:
            return next(replies, None)
        except (error_proto, OSError) as error:
            self.odd = self.odd or not self._is_shown(len(self._items) - len(awaited))
            if not self.is_doubtful(error):  # otherwise any message before may be to blame
                broken_at = None if self._several is None else self._several.broken_at
                self._run.broke(broken_at or awaited[0], explained(error))
            self._inquiry.doubt_pipelining(error)
            raise_trouble(error)

    def _is_shown(self, handed_on: int) -> bool:
        """Return whether the last of so many messages has a size that no other has: then no reply was one too many."""
        if self._several is not None:
            return False
        sizes = [item.size for item in self._items]
        return not handed_on or (sizes[handed_on - 1] > 0 and sizes.count(sizes[handed_on - 1]) == 1)
