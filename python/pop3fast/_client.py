"""POP3: poplib's class, method for method, and what it can do besides.

Owns the commands and their results. How a command goes out and its reply comes in is `_conversation`'s.
"""

import contextlib
import poplib
import socket
import sys
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import BinaryIO, Final, Generic, Protocol, Self, TypeVar, cast, overload

from pop3fast import _protocol_log, _replies
from pop3fast._batches import MessageNumber
from pop3fast._bulk_commands import BulkCommands
from pop3fast._closing import close
from pop3fast._conversation import exchange, in_step, pipelining_given_up, within
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError, ConnectionBusy
from pop3fast._hooks import ClientSession, LongResponse, limit_of, read_bytes, reply_file, session_of, stream_of_body
from pop3fast._writing import left_of

T = TypeVar("T")

POP3_PORT = 110


class _GlobalDefault:
    """The time-out of ``socket.setdefaulttimeout``: what poplib has as an object without a name."""

    def __repr__(self) -> str:
        return "<global default>"


GLOBAL_DEFAULT: Final = cast("float", _GlobalDefault())


class SupportsWrite(Protocol):
    """A binary file as far as `POP3.retr_into` needs one."""

    def write(self, octets: bytes, /) -> int | None:
        """Write *octets*; return how many were taken, or None for all."""
        ...


class _Shown(Generic[T]):
    """What is known of a session: a property, but one that a subclass may put an attribute of its own over."""

    def __init__(self, look: Callable[[BulkCommands], T], words: str) -> None:
        self._look = look
        self.__doc__ = words

    @overload
    def __get__(self, pop: None, owner: type) -> Self: ...
    @overload
    def __get__(self, pop: BulkCommands, owner: type) -> T: ...
    def __get__(self, pop: BulkCommands | None, owner: type) -> Self | T:
        return self if pop is None else self._look(pop)


class POP3(BulkCommands):
    """A POP3 session over TCP (RFC 1939).

    Message numbers may be ``int`` or ``str``. Every command raises `CommandError` when the server answers -ERR, after
    which the session goes on, and `ProtocolError` or an ``OSError`` when the conversation is lost, after which only
    `close` is left.

    As a context manager it ends the session with `quit` when the block ends well. When the block ends with an
    exception it closes the connection without QUIT, so that no deletion is committed.
    """

    __module__ = "pop3fast"

    sock: socket.socket
    """The connection; None after `quit` and `close`."""
    file: BinaryIO
    """What is read from it; None after `quit` and `close`."""
    welcome: bytes
    """The greeting, as `getwelcome` gives it."""

    def __init__(
        self,
        host: str,
        port: int = POP3_PORT,
        timeout: float | None = GLOBAL_DEFAULT,
    ) -> None:
        """Connect to *host* and read the greeting (RFC 1939 section 4).

        *timeout* is in seconds, for the connection and then for each wait; 0 is a `ValueError`. Raises `CommandError`
        when the greeting is -ERR, `ProtocolError` when what comes is no greeting, ``OSError`` when there is no
        connection. After an error none stays open.
        """
        self.host = host
        self.port = port
        self._tls_established = False
        session = self._pop3fast = ClientSession.after(self._pop3fast)
        session.recorded = _protocol_log.is_on()
        if timeout is GLOBAL_DEFAULT:
            timeout = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]
        sys.audit("poplib.connect", self, host, port)
        self.sock = self._create_socket(timeout)
        try:
            self.file = reply_file(self)
            self._debugging = 0
            self.welcome = self._getresp()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return session_of(self).described(
            f"{type(self).__module__}.{type(self).__qualname__}",
            f"{getattr(self, 'host', '?')}:{getattr(self, 'port', '?')}",
            tls=self._tls_established or isinstance(self, poplib.POP3_SSL),
            closed=getattr(self, "sock", None) is None,
        )

    def __enter__(self) -> Self:
        """Return the session itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the session: QUIT when all went well and the connection is in step, and close it in any case.

        An exception that ended the block is what is raised, whatever becomes of the connection.
        """
        if kind is not None:
            with contextlib.suppress(Exception):
                self.close()
            return
        try:
            if in_step(self) and self.sock is not None:
                self.quit()
        finally:
            self.close()

    # The commands, as poplib has them.

    def getwelcome(self) -> bytes:
        """Return the greeting, without its line end (RFC 1939 section 4)."""
        return self.welcome

    def set_debuglevel(self, level: int) -> None:
        """Print, by *level*, nothing (0), each command (1) or each line as well (2); secrets are ``***``."""
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
        """Return the scan listing, ``b"number octets"`` each, or the response for *which* (RFC 1939 section 5)."""
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
        """Return all unique-ids, ``b"number unique-id"`` each, or the response for message *which* (RFC 1939)."""
        if which is not None:
            return self._shortcmd(f"UIDL {which}")
        return self._longcmd("UIDL")

    def quit(self) -> bytes:
        """Commit the deletions, end the session and close the connection; return the response (RFC 1939 section 6).

        On `CommandError` the connection stays open, as poplib leaves it, and what was deleted is not known. It stays
        open on `ConnectionBusy`, too, because it is somebody else's. On any other exception it is closed; unless the
        server got the QUIT, nothing was deleted.
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

        Another thread that waits for a reply gets a `ProtocolError` that says so, at once. In the child of a fork it is
        closed for the child alone.
        """
        close(self)

    # More on the same class.

    in_step: _Shown[bool] = _Shown(
        in_step,
        "Whether a command could be given: client and server are in step, and the connection is this process's.",
    )
    pipelining_given_up: _Shown[str | None] = _Shown(
        pipelining_given_up,
        "Why the loops over many messages send one command at a time on this connection, although the server says "
        "PIPELINING: it left commands without an answer, or gave an answer that cannot be that command's. None while "
        "they send many.",
    )

    def retr_bytes(self, which: MessageNumber, *, deadline: float | None = None) -> bytes:
        """Return message *which* in one piece, as the server holds it: line ends as sent, dots un-stuffed.

        *deadline* is the seconds that it may take in all, after which it is a ``TimeoutError`` and the connection
        broken. (RFC 1939 section 5.)
        """
        if deadline is None:
            return exchange(self, f"RETR {which}", partial(read_bytes, self))
        with within(self, Deadline(deadline, f"RETR {which}")):
            return exchange(self, f"RETR {which}", partial(read_bytes, self))

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
            for piece in stream_of_body(self).pieces(limit_of(self, session_of(self))):
                _write_all(file, piece)
                written += len(piece)
                if progress is not None:
                    progress(written)
            return written

        with within(self, None if deadline is None else Deadline(deadline, f"RETR {which}")):
            return exchange(self, f"RETR {which}", copy)


def _write_all(file: SupportsWrite, octets: bytes) -> None:
    """Write all of *octets*: an unbuffered file may take fewer than it is given."""
    # The first time bytes, which is what a file of one's own expects; a rest is left by real files only.
    rest: bytes | memoryview = octets
    while rest:
        taken = file.write(rest)  # type: ignore[arg-type]  # a view only where a file takes octets in parts
        rest = left_of(rest, taken, file)
