"""AuthorizationCommands: what a session can do before the maildrop is open (RFC 1939 section 4).

Owns the capabilities, the ways to log in on the wire, and going over to TLS. Must never put another command in flight
beside them, and never try a second way to log in after a refusal. Must never send a readable password to a server that
is not verified, unless that mechanism was asked for by name.
"""

import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import BinaryIO, NoReturn

from pop3fast import _login, _replies
from pop3fast._asking import Conversation
from pop3fast._conversation import turn
from pop3fast._errors import AuthenticationError, CommandError, ProtocolError, error_proto, name_reason, unasked
from pop3fast._hooks import over_tls, reply_file, session_of
from pop3fast._login import AuthObject, SaslExchange, Secret
from pop3fast._sasl import ExchangeError, Mechanism
from pop3fast._secrets import encoded
from pop3fast._stream import ReplyStream
from pop3fast._tls import check_no_tls, check_offers_stls, handshake_ended_in, unverified_context
from pop3fast._trust import verifies


class AuthorizationCommands(Conversation):
    """The first part of `POP3`."""

    sock: socket.socket
    file: BinaryIO
    timestamp: re.Pattern[bytes] = re.compile(rb"\+OK.[^<]*(<[^<>]*>)")  # type: ignore[assignment]  # typeshed: of str
    """poplib's name for the pattern of the greeting's time stamp; `apop` looks more closely."""

    def capa(self) -> dict[str, list[str]]:
        """Return what the server can do: capability to its arguments, in the server's spelling (RFC 2449 section 5).

        Raises `error_proto` when the server knows no CAPA; the session goes on.
        """
        session = session_of(self)
        session.reply_limit = _replies.MAX_CAPABILITIES_OCTETS
        try:
            _, lines, _ = self._longcmd("CAPA")
        except CommandError as error:
            raise error_proto("-ERR CAPA not supported by server") from error
        finally:
            session.reply_limit = None
        return _replies.parse_capabilities(lines)

    def user(self, user: str) -> bytes:
        """Give the name of the *user*; return the response (RFC 1939 section 7)."""
        response = self._shortcmd(f"USER {user}")
        session_of(self).user = str(user)
        return response

    def pass_(self, pswd: str) -> bytes:
        """Give the password, *pswd*; return the response. The maildrop is locked from here to `quit` (RFC 1939).

        Raises `AuthenticationError` when it is refused; the session goes on.
        """
        return _log_in(self, f"PASS {pswd}")

    def rpop(self, user: str) -> bytes:
        """Log in as *user* by RPOP, which RFC 1460 was the last to know; return the response."""
        return _log_in(self, f"RPOP {user}")

    def apop(self, user: str, password: str) -> bytes:
        """Log in as *user* by a digest of the greeting's time stamp and the *password*; return the response.

        (APOP, RFC 1939 section 7.)

        Raises `error_proto` before anything is sent when the greeting has no time stamp, or, on a session of
        `connect`, came before TLS; `AuthenticationError` when the login is refused. The session goes on after both. MD5
        is all that stands before the password: use TLS.
        """
        # RFC 2595 section 4: what was said before STLS may be somebody else's words, the time stamp included. Quirk:
        # poplib's takes it all the same, and CPython's tests hold it to that; `connect` and `login` do not.
        return _apop(self, user, password, forgetful=session_of(self).trusted)

    def capabilities(self) -> Mapping[str, tuple[str, ...]]:
        """Return what the server can do: capability, in upper case, to its arguments (RFC 2449 section 5).

        Asked once, and again after STLS and after a login, which may change it; empty when the server knows no CAPA.
        """
        return what_it_can_do(self)

    def supports(self, name: str) -> bool:
        """Return whether *name*, in any case, is among the `capabilities`. A server may well do more than it says."""
        return name.upper() in what_it_can_do(self)

    def utf8(self) -> bytes:
        """Switch the session to UTF-8; return the response (RFC 6856 section 2)."""
        return self._shortcmd("UTF8")

    def stls(self, context: ssl.SSLContext | None = None) -> bytes:
        """Go on over TLS; return the response (RFC 2595 section 4). Give a *context*: without one nothing is verified.

        Raises `error_proto` when TLS is there already, or the server does not offer it: the session goes on without.
        Raises `ProtocolError`, and closes the connection, when octets follow the response: somebody on the way put
        them there. Raises ``ssl.SSLError`` when the handshake fails; the connection is broken then.
        """
        check_no_tls(established=self._tls_established)
        check_offers_stls(self.capa())
        if context is None:
            context = unverified_context("POP3.stls")
        with turn(self):
            return _go_over(self, context)

    def auth(
        self,
        mechanism: str,
        authobject: AuthObject | None = None,
        initial_response: bytes | str | None = None,
        *,
        initial_response_ok: bool = True,
    ) -> bytes:
        """Log in by a SASL *mechanism*; return the response (RFC 5034 section 4). `login` knows the usual ones itself.

        *authobject* answers each challenge; *initial_response* is what the client says first. Without one, an
        *authobject* that can be called without a challenge is asked for it, as ``smtplib`` does. It goes along with the
        command where *initial_response_ok*, the line stays within 255 octets and the mechanism is not XOAUTH2, and
        otherwise answers the server's first, empty, challenge. A ``str`` is sent as UTF-8.

        Raises `AuthenticationError` when the login is refused, or called off because *authobject* said so or a
        challenge makes no sense; the session goes on. An exception of *authobject* calls the login off too.
        """
        exchange = SaslExchange(mechanism, authobject, initial_response, initial_response_ok=initial_response_ok)
        with turn(self):
            response = self._shortcmd(exchange.first())
            while _replies.is_continuation(response):
                response = self._shortcmd(_answer(self, exchange, response))
        return response

    def login(
        self,
        user: str,
        password: Secret | None = None,
        *,
        token: Secret | None = None,
        mechanism: str | None = None,
    ) -> bytes:
        """Log in as *user* by the best mechanism that both sides have; return the response (RFC 1939, RFC 5034).

        With a *token*, an OAuth 2 access token, that is OAUTHBEARER or XOAUTH2; with a *password* SCRAM-SHA-256 and
        SCRAM-SHA-1 (with the extra ``scram``), PLAIN, LOGIN, and USER and PASS where the server has none of these.
        *mechanism* names one of them, ``USER``, ``APOP``, ``CRAM-MD5`` or ``EXTERNAL``, and is used whatever the
        server says that it can do. There is one attempt: what is refused is not tried in another way.

        Raises `AuthenticationError` when the login is refused, and `error_proto`, before anything is sent, when all
        that the server has would show the secret on a connection that is not TLS with a verified certificate. The
        session goes on after both. When a server that has to prove itself (SCRAM) does not, the connection is broken.
        """
        _login.check_secrets(password, token, mechanism)
        if mechanism is None:
            offered = what_it_can_do(self).get("SASL", ())
            name = _login.choose(offered, verified=_is_verified(self), by_token=token is not None)
            session_of(self).mechanism = name
        else:
            name = _login.named(mechanism)
        secret = _login.secret_for(name, password, token)
        if name == "USER":
            self.user(user)
            return self.pass_(secret)
        if name == "APOP":
            return _apop(self, user, secret, forgetful=True)
        response = _authenticate(self, name, _login.mechanism_of(name, user, secret, self.host, self.port))
        session_of(self).user = user
        return response


def what_it_can_do(pop: AuthorizationCommands) -> Mapping[str, tuple[str, ...]]:
    """Return what `POP3.capabilities` does."""
    session = session_of(pop)
    if session.capabilities is None:
        try:
            listed = pop.capa()
        except ProtocolError:
            raise
        except error_proto:
            listed = {}
        session.capabilities = _replies.known(listed)
    return session.capabilities


def _log_in(pop: AuthorizationCommands, line: str) -> bytes:
    response = pop._shortcmd(line)
    session_of(pop).has_logged_in()
    return response


def _apop(pop: AuthorizationCommands, user: str, password: str, *, forgetful: bool) -> bytes:
    secret = encoded(password, pop.encoding, secret=True)
    greeting = None if forgetful and pop._tls_established else pop.welcome
    response = _log_in(pop, _login.apop_command(user, secret, greeting))
    session_of(pop).user = user
    return response


def _go_over(pop: AuthorizationCommands, context: ssl.SSLContext) -> bytes:
    session = session_of(pop)
    response = pop._shortcmd("STLS")
    session.begin("the TLS handshake was not finished")
    try:
        if isinstance(pop.file, ReplyStream) and (octets := pop.file.unexpected()):
            raise session.break_(unasked(octets))
        pop.sock = over_tls(pop, context, pop.sock)
        pop.file = reply_file(pop)
        session.pipeline = None
        session.has_gone_over()
        if session.closed:  # by another thread, before there was the new socket
            pop.close()
    except ProtocolError:
        pop.close()
        raise
    except OSError as error:
        session.break_(error, handshake_ended_in(error))
        raise
    session.settle()
    pop._tls_established = True
    return response


# A SASL exchange.


def _answer(pop: AuthorizationCommands, exchange: SaslExchange, response: bytes) -> str:
    """Return the answer to the challenge in *response*; when there is none, call the login off and raise."""
    session = session_of(pop)
    # A command that is given while the answer is asked for would be taken for the answer.
    session.begin("a login is under way")
    try:
        answer = exchange.answer(response)
    except ExchangeError as error:
        reason = str(error)
    except Exception:
        session.settle()
        with suppress(AuthenticationError, ProtocolError, OSError):  # what was raised in there says more
            _call_off(pop, "")
        raise
    except BaseException as error:
        # After an interrupt nobody wants to wait for the server's reply.
        session.break_(error, "a login was broken off")
        raise
    else:
        session.settle()
        return answer
    session.settle()
    return _call_off(pop, reason)


def _call_off(pop: AuthorizationCommands, reason: str) -> NoReturn:
    """End the exchange without logging in (RFC 5034 section 4); raise `AuthenticationError` with the *reason*."""
    try:
        pop._shortcmd(SaslExchange.CALL_OFF)
    except CommandError as error:
        refusal = _login.sasl_refusal(error.response, reason)
    else:
        raise session_of(pop).break_(ProtocolError(_login.NOT_LET_GO))
    raise refusal


def _authenticate(pop: AuthorizationCommands, name: str, mechanism: Mechanism) -> bytes:
    try:
        response = AuthorizationCommands.auth(pop, name, mechanism, mechanism.initial)
    except AuthenticationError as error:
        name_reason(error, mechanism.reason)
        raise
    if (refusal := _login.unproven(mechanism, response)) is not None:
        raise session_of(pop).break_(refusal, refusal.reason)
    return response


def _is_verified(pop: AuthorizationCommands) -> bool:
    """Say whether a secret may be shown to the other side."""
    if session_of(pop).trusted:
        return True
    sock = pop.sock
    return isinstance(sock, ssl.SSLSocket) and verifies(sock.context)
