"""POP3 on an event loop: the commands of the blocking client, awaited.

Owns the commands and their results. Nothing about replies is decided here: the conversation knows their order, and the
rooms that both clients share know what they mean.
"""

import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol, Self, overload

from pop3fast import _replies
from pop3fast._batches import MessageNumber
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError
from pop3fast._message import Piece
from pop3fast._writing import left_of
from pop3fast.aio._bulk_commands import BulkCommands
from pop3fast.aio._login import LoginCommands
from pop3fast.aio._queue import LongResponse, lines, short, whole
from pop3fast.aio._threads import asked, told

WRITE_OCTETS = 2**20
"""So much of a message is handed to a file at a time, because a call in a thread costs as much as receiving some ten
thousand octets."""


class SupportsWrite(Protocol):
    """A binary file as far as `POP3.retr_into` needs one; ``write`` may be a coroutine function."""

    def write(self, octets: bytes, /) -> int | Awaitable[int | None] | None:
        """Write *octets*; return how many were taken, or None for all."""
        ...


class POP3(BulkCommands, LoginCommands):
    """A POP3 session on an event loop (RFC 1939), as `pop3fast.aio.connect` gives it.

    Any number of tasks of that loop may give commands: they go out in the order in which they were given, many in
    flight where the server pipelines, and each gets its own reply. A task that is cancelled leaves the session in
    step. Errors are those of `pop3fast.POP3`, and leave the session as there.

    ``async with`` ends the session with `quit` when the block ends well. When it ends with an exception the connection
    is closed without QUIT, so that no deletion is committed.
    """

    __module__ = "pop3fast.aio"

    host: str
    """The server's name, as it was given."""
    port: int
    """Its port."""
    max_octets: int | None = 2**30
    """The largest multi-line response that is accepted, in octets; None for any."""

    def __repr__(self) -> str:
        own = self._pop3fast
        return own.session.described(
            f"{type(self).__module__}.{type(self).__qualname__}",
            f"{self.host}:{self.port}",
            tls=own.is_tls,
            closed=own.closed,
        )

    async def __aenter__(self) -> Self:
        """Return the session itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the session: QUIT when all went well and the connection is in step, and close it in any case."""
        try:
            if kind is None and self.in_step:
                await self.quit()
        finally:
            await self.close()

    @property
    def in_step(self) -> bool:
        """Whether a command could be given: the connection is open, and client and server are in step."""
        return self._pop3fast.in_step

    @property
    def pipelining_given_up(self) -> str | None:
        """Why commands are sent one at a time on this connection, whatever the server says; None while they are not."""
        return self._pop3fast.pipeline.given_up

    def getwelcome(self) -> bytes:
        """Return the greeting, without its line end (RFC 1939 section 4)."""
        return self.welcome

    async def stat(self) -> tuple[int, int]:
        """Return the number of messages and the octets of the maildrop (RFC 1939 section 5).

        Raises `error_proto` when the response does not hold them; the session goes on.
        """
        return _replies.parse_stat((await self._pop3fast.ask("STAT", "STAT", short)).split())

    @overload
    async def list(self) -> LongResponse: ...
    @overload
    async def list(self, which: None) -> LongResponse: ...
    @overload
    async def list(self, which: MessageNumber) -> bytes: ...
    async def list(self, which: MessageNumber | None = None) -> LongResponse | bytes:
        """Return the scan listing, ``b"number octets"`` each, or the response for *which* (RFC 1939 section 5)."""
        if which is not None:
            return await self._pop3fast.ask("LIST", f"LIST {which}", short)
        return await self._pop3fast.ask("LIST", "LIST", lines)

    @overload
    async def uidl(self) -> LongResponse: ...
    @overload
    async def uidl(self, which: None) -> LongResponse: ...
    @overload
    async def uidl(self, which: MessageNumber) -> bytes: ...
    async def uidl(self, which: MessageNumber | None = None) -> LongResponse | bytes:
        """Return all unique-ids, ``b"number unique-id"`` each, or the response for message *which* (RFC 1939)."""
        if which is not None:
            return await self._pop3fast.ask("UIDL", f"UIDL {which}", short)
        return await self._pop3fast.ask("UIDL", "UIDL", lines)

    async def retr(self, which: MessageNumber) -> LongResponse:
        """Return message *which*: response, lines without line ends, octets with them (RFC 1939 section 5)."""
        return await self._pop3fast.ask("RETR", f"RETR {which}", lines)

    async def top(self, which: MessageNumber, howmuch: int | str) -> LongResponse:
        """Return what `retr` does, but of the body only the first *howmuch* lines (RFC 1939 section 7)."""
        return await self._pop3fast.ask("TOP", f"TOP {which} {howmuch}", lines)

    async def dele(self, which: MessageNumber) -> bytes:
        """Mark message *which* as deleted, to be removed by `quit`; return the response (RFC 1939 section 5)."""
        return await self._pop3fast.ask("DELE", f"DELE {which}", short)

    async def noop(self) -> bytes:
        """Do nothing; return the response (RFC 1939 section 5)."""
        return await self._pop3fast.ask("NOOP", "NOOP", short)

    async def rset(self) -> bytes:
        """Unmark all messages marked as deleted; return the response (RFC 1939 section 5)."""
        return await self._pop3fast.ask("RSET", "RSET", short)

    async def utf8(self) -> bytes:
        """Switch the session to UTF-8; return the response (RFC 6856 section 2)."""
        return await self._pop3fast.ask("UTF8", "UTF8", short)

    async def quit(self) -> bytes:
        """Commit the deletions, end the session and close the connection; return the response (RFC 1939 section 6).

        On `CommandError` the connection stays open, and what was deleted is not known. On any other exception, and when
        it is cancelled, it is closed; unless the server got the QUIT, nothing was deleted.
        """
        try:
            response = await self._pop3fast.command("QUIT", short)
        except CommandError:
            raise
        except BaseException:
            self._pop3fast.end()
            raise
        await self.close()
        return response

    async def close(self) -> None:
        """Close the connection, whatever its state, without QUIT: no deletion is committed. May be called again."""
        await self._pop3fast.close()

    async def retr_bytes(self, which: MessageNumber, *, deadline: float | None = None) -> bytes:
        """Return message *which* in one piece, as the server holds it: line ends as sent, dots un-stuffed.

        *deadline* is the seconds that it may take in all; after them ``TimeoutError`` is raised, and the connection is
        broken. (RFC 1939 section 5.)
        """
        line = f"RETR {which}"
        if deadline is None:
            return await self._pop3fast.ask("RETR", line, whole)
        with self._pop3fast.patience.within(Deadline(deadline, line)):
            return await self._pop3fast.ask("RETR", line, whole)

    async def retr_into(
        self,
        which: MessageNumber,
        file: SupportsWrite,
        *,
        progress: Callable[[int], object] | None = None,
        deadline: float | None = None,
    ) -> int:
        """Write message *which* into a binary *file* as it arrives, in constant memory; return its octets.

        ``file.write`` may be a coroutine function; any other is called in a thread, so that a slow disk holds nobody
        up. *progress*, which may be one as well, is called with the octets written so far. *deadline* is the seconds
        that it may take in all. When *file* or *progress* raises, the message has been written in part, its rest is
        thrown away, and the session goes on. (RFC 1939 section 5.)
        """
        written = 0
        pending: list[Piece] = []
        pieces = self._pieces_of(which, deadline)
        try:
            async for piece in pieces:
                pending.append(piece)
                if not piece.last and sum(len(each.content) for each in pending) < WRITE_OCTETS:
                    continue
                octets = b"".join([each.content for each in pending])
                pending.clear()
                await _write_all(file, octets)
                written += len(octets)
                if progress is not None:
                    await told(progress, written)
        finally:
            await pieces.aclose()
        return written

    async def stls(self, context: ssl.SSLContext | None = None) -> bytes:
        """Go on over TLS; return the response (RFC 2595 section 4). Give a *context*: without one nothing is verified.

        Raises `error_proto` when TLS is there already, or the server does not offer it: the session goes on without.
        Raises `ProtocolError`, and closes the connection, when octets follow the response: somebody on the way put
        them there. Raises ``ssl.SSLError`` when the handshake fails; the connection is broken then, as it is when this
        is cancelled.
        """
        return await self._go_over(context)


async def _write_all(file: SupportsWrite, octets: bytes) -> None:
    """Write all of *octets*: an unbuffered file may take fewer than it is given."""
    rest: bytes | memoryview = octets
    while rest:
        taken: Any = await asked(file.write, rest)
        rest = left_of(rest, taken, file)
