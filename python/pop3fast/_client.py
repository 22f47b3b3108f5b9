"""POP3: poplib's class, method for method, and what it can do besides.

Owns the commands and their results. How a command goes out and its reply comes in is `Conversation`'s.
"""

import contextlib
import hashlib
import re
import socket
import ssl
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TypeAlias, TypeVar, overload

from pop3fast import _replies
from pop3fast._conversation import Conversation, LongResponse
from pop3fast._errors import CommandError, LimitExceeded, ProtocolError, error_proto
from pop3fast._framing import FramingError, FramingLimitError, parse_sizes, parse_unique_ids
from pop3fast._secrets import without_secret
from pop3fast._stream import ReplyStream
from pop3fast._tls import unverified_context

POP3_PORT = 110

MessageNumber: TypeAlias = int | str

T = TypeVar("T")

# RFC 2449 knows some ten capabilities, each a short line. What is longer is no list of capabilities.
_MAX_CAPABILITIES_OCTETS = 64 * 1024


class SupportsWrite(Protocol):
    """A binary file as far as `POP3.retr_into` needs one."""

    def write(self, octets: bytes, /) -> int | None:
        """Write *octets*; return how many were taken, or None for all."""
        ...


class POP3(Conversation):
    """A POP3 session over TCP (RFC 1939).

    Message numbers may be ``int`` or ``str``. Every command raises `CommandError` when the server answers -ERR, after
    which the session goes on, and `ProtocolError` or an ``OSError`` when the conversation is lost, after which only
    `close` is left.

    As a context manager it ends the session with `quit` when the block ends well. When the block ends with an
    exception it closes the connection without QUIT, so that no deletion is committed.
    """

    timestamp = re.compile(rb"\+OK.[^<]*(<[^<>]*>)")  # type: ignore[arg-type]  # typeshed has it of str
    """poplib's name for the pattern of the greeting's time stamp; `apop` looks more closely."""

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
            if kind is None and self._broken is None and self.sock is not None:
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

    def capa(self) -> dict[str, list[str]]:
        """Return what the server can do: capability to its arguments, in the server's spelling (RFC 2449 section 5).

        Raises `error_proto` when the server knows no CAPA; the session goes on.
        """
        self._reply_limit = _MAX_CAPABILITIES_OCTETS
        try:
            _, lines, _ = self._longcmd("CAPA")
        except CommandError as error:
            raise error_proto("-ERR CAPA not supported by server") from error
        finally:
            self._reply_limit = None
        return _replies.parse_capabilities(lines)

    def user(self, user: str) -> bytes:
        """Give the user's name; return the response (RFC 1939 section 7)."""
        return self._shortcmd(f"USER {user}")

    def pass_(self, pswd: str) -> bytes:
        """Give the password; return the response. The maildrop is locked from here to `quit` (RFC 1939 section 7).

        Raises `AuthenticationError` when it is refused.
        """
        return self._shortcmd(f"PASS {pswd}")

    def rpop(self, user: str) -> bytes:
        """Log in by RPOP, which RFC 1460 was the last to know; return the response."""
        return self._shortcmd(f"RPOP {user}")

    def apop(self, user: str, password: str) -> bytes:
        """Log in by a digest of the greeting's time stamp and the password; return the response (RFC 1939 section 7).

        Raises `error_proto` before anything is sent when the greeting has no time stamp, `AuthenticationError` when
        the login is refused. MD5 is all that stands before the password: use TLS.
        """
        try:
            secret = bytes(password, self.encoding)
        except UnicodeEncodeError as error:
            raise without_secret(error, f"PASS {password}") from None
        timestamp = _replies.apop_timestamp(self.welcome)
        if timestamp is None:
            raise error_proto("-ERR APOP not supported by server")
        digest = hashlib.md5(timestamp + secret).hexdigest()  # noqa: S324 - what the RFC says
        return self._shortcmd(f"APOP {user} {digest}")

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

    def utf8(self) -> bytes:
        """Switch the session to UTF-8; return the response (RFC 6856 section 2)."""
        return self._shortcmd("UTF8")

    def stls(self, context: ssl.SSLContext | None = None) -> bytes:
        """Go on over TLS; return the response (RFC 2595 section 4). Give a *context*: without one nothing is verified.

        Raises `error_proto` when TLS is there already, or the server does not offer it: the session goes on without.
        Raises `ProtocolError`, and closes the connection, when octets follow the response: somebody on the way put
        them there. Raises ``ssl.SSLError`` when the handshake fails; the connection is broken then.
        """
        if self._tls_established:
            raise error_proto("-ERR TLS session already established")
        if "STLS" not in map(str.upper, self.capa()):
            raise error_proto("-ERR STLS not supported by server")
        if context is None:
            context = unverified_context("POP3.stls")
        response = self._shortcmd("STLS")
        self._broken = "the TLS handshake was not finished"
        try:
            if isinstance(self.file, ReplyStream) and (octets := self.file.unexpected()):
                self._refuse_what_nobody_asked_for(octets)
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host)
            self.file = self._reply_file()
        except ProtocolError:
            self.close()
            raise
        self._broken = None
        self._tls_established = True
        return response

    def quit(self) -> bytes:
        """Commit the deletions, end the session and close the connection; return the response (RFC 1939 section 6).

        On `CommandError` the connection stays open, as poplib leaves it, and what was deleted is not known. On any
        other exception it is closed; unless the server got the QUIT, nothing was deleted.
        """
        try:
            response = self._shortcmd("QUIT")
        except CommandError:
            raise
        except BaseException:
            self.close()
            raise
        self.close()
        return response

    def close(self) -> None:
        """Close the connection, whatever its state, without QUIT: no deletion is committed. May be called again."""
        file, sock = getattr(self, "file", None), getattr(self, "sock", None)
        self.file = None  # type: ignore[assignment]  # as poplib leaves it
        self.sock = None  # type: ignore[assignment]
        try:
            if file is not None:
                file.close()
        finally:
            if sock is not None:
                with contextlib.suppress(OSError), contextlib.closing(sock):
                    # Fails where the other side has gone already, which is no news.
                    sock.shutdown(socket.SHUT_RDWR)

    # More on the same class.

    def retr_bytes(self, which: MessageNumber) -> bytes:
        """Return message *which* in one piece, as the server holds it: line ends as sent, dots un-stuffed.

        (RFC 1939 section 5.)
        """
        return self._exchange(f"RETR {which}", self._read_bytes)

    def retr_into(
        self,
        which: MessageNumber,
        file: SupportsWrite,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> int:
        """Write message *which* into a binary *file* as it arrives, in constant memory; return its octets.

        *progress* is called with the octets written so far after each piece. When *file* or *progress* raises, the
        message has been written in part and the connection is broken. (RFC 1939 section 5.)
        """

        def copy() -> int:
            written = 0
            for piece in self._stream_of_body().pieces(self._limit()):
                _write_all(file, piece)
                written += len(piece)
                if progress is not None:
                    progress(written)
            return written

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
        return self._listing("UIDL", parse_unique_ids)

    def _listing(self, command: str, parse: Callable[[bytes], dict[int, T]]) -> dict[int, T]:
        try:
            return parse(self._exchange(command, self._read_bytes))
        except FramingLimitError as error:
            raise self._break(LimitExceeded(f"{command}: {error}")) from None
        except FramingError as error:
            # Its end was found, but what is no listing may be the reply to another command.
            raise self._break(ProtocolError(f"{command}: {error}")) from None
        except CommandError:
            # Quirk q64: old servers answer -ERR for a maildrop that is empty.
            if self._broken is not None or self.stat()[0] != 0:
                raise
            return {}


def _write_all(file: SupportsWrite, octets: bytes) -> None:
    """Write all of *octets*: an unbuffered file may take fewer than it is given."""
    rest = octets
    while rest:
        taken = file.write(rest)
        if taken is None or taken >= len(rest):
            return
        rest = rest[taken:]
