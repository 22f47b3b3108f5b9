"""POP3: poplib's class, method for method, and what it can do besides.

Owns the commands and their results. How a command goes out and its reply comes in is `Conversation`'s.
"""

import contextlib
import errno
import io
import socket
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import BinaryIO, NamedTuple, Protocol, Self, TypeAlias, TypeVar, overload

from pop3fast import _protocol_log, _replies
from pop3fast._bulk import OnError, message_numbers, one_by_one, pipelined
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError, ConnectionBusy
from pop3fast._framing import FramingError, parse_sizes, parse_unique_ids
from pop3fast._hooks import LongResponse
from pop3fast._login import LoginCommands
from pop3fast._message import Message
from pop3fast._pipeline import DEFAULT_WINDOW, Batch
from pop3fast._stream import protocol_error
from pop3fast._turns import Turns

POP3_PORT = 110

MessageNumber: TypeAlias = int | str

T = TypeVar("T")


class SupportsWrite(Protocol):
    """A binary file as far as `POP3.retr_into` needs one."""

    def write(self, octets: bytes, /) -> int | None:
        """Write *octets*; return how many were taken, or None for all."""
        ...


class _Options(NamedTuple):
    """How a loop over messages is to be done, apart from which."""

    window: int
    pipelining: bool | None
    on_error: OnError | None
    deadline: float | None


class POP3(LoginCommands):
    """A POP3 session over TCP (RFC 1939).

    Message numbers may be ``int`` or ``str``. Every command raises `CommandError` when the server answers -ERR, after
    which the session goes on, and `ProtocolError` or an ``OSError`` when the conversation is lost, after which only
    `close` is left.

    As a context manager it ends the session with `quit` when the block ends well. When the block ends with an
    exception it closes the connection without QUIT, so that no deletion is committed.
    """

    sock: socket.socket
    file: BinaryIO
    welcome: bytes
    _unique_ids: Mapping[int, str] = MappingProxyType({})

    def __init__(
        self,
        host: str,
        port: int = POP3_PORT,
        timeout: float | None = socket._GLOBAL_DEFAULT_TIMEOUT,  # type: ignore[attr-defined]
    ) -> None:
        """Connect to *host* and read the greeting (RFC 1939 section 4).

        *timeout* is in seconds, for the connection and then for each wait; 0 is a `ValueError`. Raises `CommandError`
        when the greeting is -ERR, `ProtocolError` when it is none, ``OSError`` when there is no connection; none stays
        open then.
        """
        self.host = host
        self.port = port
        self._tls_established = False
        self._turns = Turns()
        self._recorded = _protocol_log.is_on()
        sys.audit("poplib.connect", self, host, port)
        self.sock = self._create_socket(timeout)
        try:
            self.file = self._reply_file()
            self._debugging = 0
            self.welcome = self._getresp()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the session itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the session: QUIT when all went well and the connection is in step, and close it in any case."""
        try:
            if kind is None and self.in_step and self.sock is not None:
                self.quit()
        finally:
            self.close()

    # The commands, as poplib has them.

    def getwelcome(self) -> bytes:
        """Return the greeting, without its line end (RFC 1939 section 4)."""
        return self.welcome

    def set_debuglevel(self, level: int) -> None:
        """Print nothing (0), each command (1), or each line sent and received as well (2); secrets as ``***``."""
        self._debugging = level

    def stat(self) -> tuple[int, int]:
        """Return the number of messages and the octets of the maildrop (RFC 1939 section 5).

        Raises `error_proto` when the response does not hold them; the session goes on.
        """
        fields = self._shortcmd("STAT").split()
        if self._debugging:
            print("*stat*", repr(fields))
        return _replies.parse_stat(fields)

    @overload  # type: ignore[override]  # typeshed has list(which) as a long response, which poplib never gave
    def list(self) -> LongResponse: ...
    @overload
    def list(self, which: None) -> LongResponse: ...
    @overload
    def list(self, which: MessageNumber) -> bytes: ...
    def list(self, which: MessageNumber | None = None) -> LongResponse | bytes:
        """Return the scan listing, ``b"number octets"`` each, or the response for one message (RFC 1939 section 5)."""
        if which is not None:
            return self._shortcmd(f"LIST {which}")
        return self._longcmd("LIST")

    def retr(self, which: MessageNumber) -> LongResponse:
        """Return message *which*: response, lines without line ends, octets with them (RFC 1939 section 5).

        Lines may be of any length. For the message in one piece see `retr_bytes`.
        """
        return self._longcmd(f"RETR {which}")

    def dele(self, which: MessageNumber) -> bytes:
        """Mark message *which* as deleted, to be removed by `quit`; return the response (RFC 1939 section 5)."""
        return self._shortcmd(f"DELE {which}")

    def noop(self) -> bytes:
        """Do nothing; return the response (RFC 1939 section 5)."""
        return self._shortcmd("NOOP")

    def rset(self) -> bytes:
        """Unmark all messages marked as deleted; return the response (RFC 1939 section 5)."""
        return self._shortcmd("RSET")

    def top(self, which: MessageNumber, howmuch: int | str) -> LongResponse:
        """Return what `retr` does, but of the body only the first *howmuch* lines (RFC 1939 section 7)."""
        return self._longcmd(f"TOP {which} {howmuch}")

    @overload  # type: ignore[override]  # typeshed's uidl(which) does not know None, poplib's default
    def uidl(self) -> LongResponse: ...
    @overload
    def uidl(self, which: None) -> LongResponse: ...
    @overload
    def uidl(self, which: MessageNumber) -> bytes: ...
    def uidl(self, which: MessageNumber | None = None) -> LongResponse | bytes:
        """Return all unique-ids, ``b"number unique-id"`` each, or the response for one message (RFC 1939 section 7)."""
        if which is not None:
            return self._shortcmd(f"UIDL {which}")
        return self._longcmd("UIDL")

    def quit(self) -> bytes:
        """Commit the deletions, end the session and close the connection; return the response (RFC 1939 section 6).

        On `CommandError` the connection stays open, as poplib leaves it, and what was deleted is not known; it also
        does on `ConnectionBusy`, being somebody else's. On any other exception it is closed; unless the server got the
        QUIT, nothing was deleted.
        """
        try:
            response = self._shortcmd("QUIT")
        except (CommandError, ConnectionBusy):
            raise
        except BaseException:
            self.close()
            raise
        self.close()
        return response

    def close(self) -> None:
        """Close the connection, whatever its state, without QUIT: no deletion is committed. May be called again.

        In the child of a fork it is closed for the child alone.
        """
        file, sock = getattr(self, "file", None), getattr(self, "sock", None)
        self.file = None  # type: ignore[assignment]  # as poplib leaves it
        self.sock = None  # type: ignore[assignment]
        try:
            if file is not None:
                file.close()
        finally:
            if sock is not None:
                with contextlib.suppress(OSError), contextlib.closing(sock):
                    if self._turns is None or self._turns.ours:
                        # Fails where the other side has gone already, which is no news.
                        sock.shutdown(socket.SHUT_RDWR)

    # More on the same class.

    def retr_bytes(self, which: MessageNumber, *, deadline: float | None = None) -> bytes:
        """Return message *which* in one piece, as the server holds it: line ends as sent, dots un-stuffed.

        *deadline* is the seconds that it may take in all, after which it is a ``TimeoutError`` and the connection
        broken. (RFC 1939 section 5.)
        """
        if deadline is None:
            return self._exchange(f"RETR {which}", self._read_bytes)
        with self.within(Deadline(deadline, f"RETR {which}")):
            return self._exchange(f"RETR {which}", self._read_bytes)

    def retr_into(
        self,
        which: MessageNumber,
        file: SupportsWrite,
        *,
        progress: Callable[[int], object] | None = None,
        deadline: float | None = None,
    ) -> int:
        """Write message *which* into a binary *file* as it arrives, in constant memory; return its octets.

        *progress* is called with the octets written so far after each piece. *deadline* is the seconds that it may
        take in all. When *file* or *progress* raises, or the time is over (``TimeoutError``), the message has been
        written in part and the connection is broken. (RFC 1939 section 5.)
        """

        def copy() -> int:
            written = 0
            for piece in self._stream_of_body().pieces(self._limit()):
                _write_all(file, piece)
                written += len(piece)
                if progress is not None:
                    progress(written)
            return written

        with self.within(None if deadline is None else Deadline(deadline, f"RETR {which}")):
            return self._exchange(f"RETR {which}", copy)

    def sizes(self) -> dict[int, int]:
        """Return message number to octets, for all messages (LIST, RFC 1939 section 5).

        Octets are 0 where the server gave none that can be read. They are the server's word: some round, or count
        line ends as one octet. Raises `ProtocolError` when a line of the listing has no message number.
        """
        return self._listing("LIST", parse_sizes)

    def uids(self) -> dict[int, str]:
        """Return message number to unique-id, for all messages (UIDL, RFC 1939 section 7).

        Decoded as Latin-1, so that ``uid.encode("latin-1")`` gives the server's octets; empty where it sent none.
        Raises `ProtocolError` when a line of the listing has no message number.
        """
        self._unique_ids = self._listing("UIDL", parse_unique_ids)
        return dict(self._unique_ids)

    def retr_many(
        self,
        numbers: Iterable[MessageNumber] | None = None,
        *,
        window: int = DEFAULT_WINDOW,
        pipelining: bool | None = None,
        on_error: OnError | None = None,
        deadline: float | None = None,
    ) -> Iterator[Message]:
        """Yield the messages of *numbers*, or all that LIST shows, in that order (RFC 1939 section 5).

        Up to *window* commands are in flight, where the server says PIPELINING (RFC 2449 section 6.6) or *pipelining*
        is True. A message that is refused raises its `CommandError` at its turn, or goes to *on_error*, and the others
        come. When the conversation is lost, what came whole is yielded first.

        The loop may be left at any point, and other commands may be given inside it: each gets its own reply. Memory
        does not grow with the number of messages; while the loop is busy elsewhere, nothing is read.

        *deadline* is the seconds that the loop may take in all, after which it raises ``TimeoutError`` and the
        connection is broken.
        """
        options = _Options(window, pipelining, on_error, deadline)
        return self._many("RETR", numbers, self._make_message(), "", options)

    def top_many(
        self,
        numbers: Iterable[MessageNumber] | None = None,
        howmuch: int = 0,
        *,
        window: int = DEFAULT_WINDOW,
        pipelining: bool | None = None,
        on_error: OnError | None = None,
        deadline: float | None = None,
    ) -> Iterator[Message]:
        """Yield, as `retr_many` does, the header and the first *howmuch* lines of the body (RFC 1939 section 7)."""
        options = _Options(window, pipelining, on_error, deadline)
        return self._many("TOP", numbers, self._make_message(), f" {howmuch:d}", options)

    def dele_many(
        self,
        numbers: Iterable[MessageNumber],
        *,
        window: int = DEFAULT_WINDOW,
        pipelining: bool | None = None,
        on_error: OnError | None = None,
    ) -> int:
        """Mark the messages of *numbers* as deleted; return how many were (RFC 1939 section 5).

        As `retr_many`. When it raises, messages behind the refused one may have been marked too; `rset` unmarks all.
        """
        if numbers is None:
            raise TypeError("which messages are to be deleted must be said")
        options = _Options(window, pipelining, on_error, None)
        marked = self._many("DELE", numbers, lambda number, _: number, "", options)
        return sum(1 for _ in marked)

    def _many(
        self,
        verb: str,
        numbers: Iterable[MessageNumber] | None,
        make: Callable[[int, bytes], T],
        arguments: str,
        options: "_Options",
    ) -> Iterator[T]:
        window, pipelining, on_error, seconds = options
        if window < 1:
            raise ValueError(f"window is the number of commands in flight, at least 1: {window!r}")
        deadline = None if seconds is None else Deadline(seconds, f"the {verb} of many messages")
        sizes = None
        if numbers is None:
            with self.within(deadline):
                listed = self.sizes()
            numbers, sizes = listed, array("Q", listed.values())
        batch = Batch(
            verb,
            message_numbers(numbers),
            make,
            arguments=arguments,
            has_body=verb != "DELE",
            sizes=sizes if verb == "RETR" else None,
            window=window,
        )
        if pipelining is None:
            pipelining = self.supports("PIPELINING")
        run = pipelined if pipelining and self._can_pipeline() else one_by_one
        return run(self, batch, on_error, deadline)

    def _make_message(self) -> Callable[[int, bytes], Message]:
        unique_ids = self._unique_ids
        if not unique_ids:
            return Message
        return lambda number, content: Message(number, content, unique_ids.get(number) or None)

    def _listing(self, command: str, parse: Callable[[bytes], dict[int, T]]) -> dict[int, T]:
        try:
            return parse(self._exchange(command, self._read_bytes))
        except FramingError as error:
            # Its end was found, but what is no listing may be the reply to another command.
            raise self._break(protocol_error(error)) from None
        except CommandError:
            # Quirk q64: old servers answer -ERR for a maildrop that is empty.
            if self._broken is not None or self.stat()[0] != 0:
                raise
            return {}


def _write_all(file: SupportsWrite, octets: bytes) -> None:
    """Write all of *octets*: an unbuffered file may take fewer than it is given."""
    # The first time bytes, which is what a file of one's own expects; a rest is left by real files only.
    rest: bytes | memoryview = octets
    while rest:
        taken = file.write(rest)  # type: ignore[arg-type]  # a view only where a file takes octets in parts
        if taken is None and isinstance(file, io.RawIOBase):
            raise BlockingIOError(errno.EAGAIN, "the file would block; nothing was written", 0)
        if taken is None or taken >= len(rest):
            return
        if taken <= 0:
            raise OSError(errno.EIO, "the file takes nothing more")
        rest = memoryview(rest)[taken:]
