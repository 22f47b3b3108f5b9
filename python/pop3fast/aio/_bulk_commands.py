"""BulkCommands: the methods for many messages at once, on an event loop.

Owns which loop is begun, and which commands come before it. `_bulk_loop` says what a loop is.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from pop3fast import _replies
from pop3fast._batch import DEFAULT_WINDOW, Batch, ListingBatch, PieceBatch, message_numbers
from pop3fast._batches import MessageNumber, batch_of, deadline_of, message_maker, pieces_of
from pop3fast._commands import message_number
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError, ProtocolError, error_proto, name_command
from pop3fast._framing import parse_sizes, parse_unique_ids
from pop3fast._listings import Together, may_ask_along, parsed
from pop3fast._message import Message, Piece
from pop3fast._outgoing import command_octets
from pop3fast._replies import pipelines
from pop3fast.aio._bulk_loop import Loop, OnError
from pop3fast.aio._conversation import ENCODING, Conversation
from pop3fast.aio._queue import listing, short

T = TypeVar("T")


# Both clients spell the signatures out, though they are the same: `help()`, completion and type checkers read them, and
# the results differ.
class BulkCommands:
    """The part of `POP3` that is about many messages at once."""

    _pop3fast: Conversation

    async def sizes(self) -> dict[int, int]:
        """Return message number to octets, for all messages (LIST, RFC 1939 section 5).

        Octets are 0 where the server gave none that can be read. They are the server's word: some round, or count
        line ends as one octet. Raises `ProtocolError` when a line of the listing has no message number; the connection
        is broken then.
        """
        return await self._listing("LIST", parse_sizes)

    async def uids(self) -> dict[int, str]:
        """Return message number to unique-id, for all messages (UIDL, RFC 1939 section 7).

        Decoded as Latin-1, so that ``uid.encode("latin-1")`` gives the server's octets; empty where it sent none.
        Raises `ProtocolError` when a line of the listing has no message number; the connection is broken then.
        """
        uids = await self._listing("UIDL", parse_unique_ids)
        self._pop3fast.session.unique_ids = uids
        return dict(uids)

    async def uids_and_sizes(self, *, pipelining: bool | None = None) -> tuple[dict[int, str], dict[int, int]]:
        """Return what `uids` and `sizes` give, in one round trip where the server can pipeline.

        Where it cannot, or *pipelining* is False, one is asked for after the other. Raises what these raise; after a
        `CommandError`, whose ``command`` says which of them was refused, the session goes on.
        """
        own = self._pop3fast
        along = may_ask_along(own.session, pipelining)
        if not along and not await self._may_pipeline(pipelining):
            return await self.uids(), await self.sizes()
        asked = Together(with_capabilities=along)

        async def begin() -> ListingBatch:
            return asked.batch

        asked.bodies.update([one async for one in Loop(own, begin, asked.refuse, None)])
        if along:
            own.traffic.learn(asked.capabilities(own.broken))

        async def read(command: str, parse: Callable[[bytes], dict[int, T]]) -> dict[int, T]:
            if command in asked.refused:
                return await self._empty_or_refused(asked.refused[command])
            return parsed(asked.bodies[command], parse, own.broken)

        uids, sizes = await read("UIDL", parse_unique_ids), await read("LIST", parse_sizes)
        own.session.unique_ids = uids
        return dict(uids), sizes

    def retr_many(
        self,
        numbers: Iterable[MessageNumber] | None = None,
        *,
        window: int = DEFAULT_WINDOW,
        pipelining: bool | None = None,
        on_error: OnError | None = None,
        deadline: float | None = None,
    ) -> Loop[Message]:
        """Give the messages of *numbers*, or all that LIST shows, in that order, to ``async for`` (RFC 1939 section 5).

        As `pop3fast.POP3.retr_many`, whose rules these are. *on_error* may be a coroutine function. While the loop is
        busy elsewhere, nothing more is received than other tasks' commands need.
        """
        return self._loop("RETR", numbers, "", window, pipelining, on_error, deadline)

    def top_many(
        self,
        numbers: Iterable[MessageNumber] | None = None,
        howmuch: int = 0,
        *,
        window: int = DEFAULT_WINDOW,
        pipelining: bool | None = None,
        on_error: OnError | None = None,
        deadline: float | None = None,
    ) -> Loop[Message]:
        """Give, as `retr_many` does, the header and the first *howmuch* lines of the body (RFC 1939 section 7)."""
        return self._loop("TOP", numbers, f" {howmuch:d}", window, pipelining, on_error, deadline)

    def retr_pieces(
        self,
        numbers: Iterable[MessageNumber] | None = None,
        *,
        sizes: Mapping[int, int] | None = None,
        window: int = DEFAULT_WINDOW,
        ahead: int | None = None,
        pipelining: bool | None = None,
        on_error: OnError | None = None,
        deadline: float | None = None,
    ) -> Loop[Piece]:
        """Give the messages of *numbers* as `retr_many` does, in pieces of at most 64 KiB: for messages of any size.

        As `pop3fast.POP3.retr_pieces`, whose rules these are. (RFC 1939 section 5.)
        """
        over = deadline_of("RETR", window, deadline)
        wanted = None if numbers is None else message_numbers(numbers)

        async def begin() -> PieceBatch:
            listed = await self.sizes() if wanted is None else {}
            most = window if await self._may_pipeline(pipelining) else 1
            return pieces_of(wanted, listed, sizes=sizes, window=most, ahead=ahead)

        return Loop(self._pop3fast, begin, on_error, over)

    async def dele_many(
        self,
        numbers: Iterable[MessageNumber],
        *,
        window: int = DEFAULT_WINDOW,
        pipelining: bool | None = None,
        on_error: OnError | None = None,
    ) -> int:
        """Mark the messages of *numbers* as deleted; return how many were (RFC 1939 section 5).

        As `retr_many`, but *numbers* has to be given: otherwise it is a ``TypeError``. When it raises, messages behind
        the refused one may have been marked too; `rset` unmarks all.
        """
        if numbers is None:
            raise TypeError("say which messages are to be deleted")
        marked = 0
        loop = self._loop("DELE", numbers, "", window, pipelining, on_error, None)
        try:
            async for _ in loop:
                marked += 1
        finally:
            await loop.aclose()
        return marked

    def _loop(
        self,
        verb: str,
        numbers: Iterable[MessageNumber] | None,
        arguments: str,
        window: int,
        pipelining: bool | None,  # noqa: FBT001
        on_error: OnError | None,
        deadline: float | None,
    ) -> Loop[Message]:
        over = deadline_of(verb, window, deadline)
        wanted = None if numbers is None else message_numbers(numbers)

        async def begin() -> Batch[Message]:
            listed = await self.sizes() if wanted is None else {}
            most = window if await self._may_pipeline(pipelining) else 1
            make = message_maker(self._pop3fast.session.unique_ids)
            return batch_of(verb, wanted, listed, make, arguments=arguments, window=most)

        return Loop(self._pop3fast, begin, on_error, over)

    def _pieces_of(self, which: MessageNumber, deadline: float | None) -> Loop[Piece]:
        line = f"RETR {which}"
        over = None if deadline is None else Deadline(deadline, line)
        command_octets(line, ENCODING, in_sasl=False)

        async def begin() -> PieceBatch:
            return _OneInPieces(line)

        return Loop(self._pop3fast, begin, None, over)

    async def _may_pipeline(self, pipelining: bool | None) -> bool:  # noqa: FBT001 - as its callers were given it
        if pipelining is None:
            return pipelines(await self._pop3fast.capabilities())
        return pipelining

    # Listings.

    async def _listing(self, command: str, parse: Callable[[bytes], dict[int, T]]) -> dict[int, T]:
        try:
            body = await self._pop3fast.ask(command, command, listing)
        except CommandError as error:
            return await self._empty_or_refused(error)
        return parsed(body, parse, self._pop3fast.broken)

    async def _empty_or_refused(self, error: CommandError) -> dict[int, T]:
        # Quirk q64: old servers answer -ERR for a maildrop that is empty.
        if self._pop3fast.in_step:
            try:
                if _replies.parse_stat((await self._pop3fast.ask("STAT", "STAT", short)).split())[0] == 0:
                    return {}
            except ProtocolError:
                raise
            except error_proto:  # then STAT says nothing about it
                pass
        raise error


class _OneInPieces(PieceBatch):
    """RETR of one message, with its number as the caller wrote it: the server says what that means."""

    def __init__(self, line: str) -> None:
        super().__init__(array("Q", [0]), window=1)
        self._line = line
        self.line_octets = len(line.encode(ENCODING) + b"\r\n")

    def _lines(self, numbers: "array[int]") -> list[str]:
        return [self._line for _ in numbers]

    def _refusal(self, line: bytes, number: int) -> CommandError:  # noqa: ARG002 - it is in the line
        error = CommandError(line)
        name_command(error, self.verb, message_number(self.verb, self._line))
        return error
