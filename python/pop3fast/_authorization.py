"""AuthorizationCommands: what a session can do before the maildrop is open (RFC 1939 section 4).

Owns the capabilities, the ways to log in, and going over to TLS. Must never put anything in flight beside them.
"""

import hashlib
import re
import socket
import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import BinaryIO

from pop3fast import _replies
from pop3fast._conversation import Conversation
from pop3fast._errors import CommandError, ProtocolError, error_proto
from pop3fast._secrets import encoded
from pop3fast._stream import ReplyStream
from pop3fast._tls import unverified_context

# RFC 2449 knows some ten capabilities, each a short line. What is longer is no list of capabilities.
_MAX_CAPABILITIES_OCTETS = 64 * 1024


class AuthorizationCommands(Conversation):
    """The first part of `POP3`."""

    sock: socket.socket
    file: BinaryIO
    timestamp: re.Pattern[bytes] = re.compile(rb"\+OK.[^<]*(<[^<>]*>)")  # type: ignore[assignment]  # typeshed: of str
    """poplib's name for the pattern of the greeting's time stamp; `apop` looks more closely."""
    # Whether `connect` made the connection: by TLS that it verified, or in the clear because it was told to.
    _trusted: bool = False

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
        return self._log_in(f"PASS {pswd}")

    def rpop(self, user: str) -> bytes:
        """Log in by RPOP, which RFC 1460 was the last to know; return the response."""
        return self._log_in(f"RPOP {user}")

    def apop(self, user: str, password: str) -> bytes:
        """Log in by a digest of the greeting's time stamp and the password; return the response (RFC 1939 section 7).

        Raises `error_proto` before anything is sent when the greeting has no time stamp, or, on a session of
        `connect`, came before TLS; `AuthenticationError` when the login is refused. MD5 is all that stands before the
        password: use TLS.
        """
        # RFC 2595 section 4: what was said before STLS may be somebody else's words, the time stamp included. Quirk:
        # poplib's takes it all the same, and CPython's tests hold it to that; `connect` and `login` do not.
        return self._apop(user, password, forgetful=self._trusted)

    def _apop(self, user: str, password: str, *, forgetful: bool) -> bytes:
        secret = encoded(password, self.encoding, secret=True)
        forgotten = forgetful and self._tls_established
        timestamp = None if forgotten else _replies.apop_timestamp(self.welcome)
        if timestamp is None:
            raise error_proto("-ERR APOP not supported by server")
        digest = hashlib.md5(timestamp + secret).hexdigest()  # noqa: S324 - what the RFC says
        return self._log_in(f"APOP {user} {digest}")

    def _log_in(self, line: str) -> bytes:
        response = self._shortcmd(line)
        self._capabilities = None
        return response

    @property
    def capabilities(self) -> Mapping[str, tuple[str, ...]]:
        """What the server can do: capability, in upper case, to its arguments (RFC 2449 section 5).

        Asked once, and again after STLS and after a login, which may change it; empty when the server knows no CAPA.
        """
        if self._capabilities is None:
            try:
                listed = self.capa()
            except ProtocolError:
                raise
            except error_proto:
                listed = {}
            self._capabilities = MappingProxyType({name.upper(): tuple(listed[name]) for name in listed})
        return self._capabilities

    def supports(self, name: str) -> bool:
        """Return whether *name*, in any case, is among the `capabilities`. A server may well do more than it says."""
        return name.upper() in self.capabilities

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
        with self._turn():
            return self._go_over(context)

    def _go_over(self, context: ssl.SSLContext) -> bytes:
        response = self._shortcmd("STLS")
        self._broken = "the TLS handshake was not finished"
        try:
            if isinstance(self.file, ReplyStream) and (octets := self.file.unexpected()):
                self._refuse_what_nobody_asked_for(octets)
            self.sock = self._over_tls(context, self.sock)
            self.file = self._reply_file()
            self._pipeline = None
            self._capabilities = None
        except ProtocolError:
            self.close()
            raise
        self._broken = None
        self._tls_established = True
        return response
