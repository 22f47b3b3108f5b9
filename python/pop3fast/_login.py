"""LoginCommands: `auth` and `login` (RFC 5034).

Owns the SASL exchange on the wire, and which mechanism is used. Must never try a second one after a refusal, and never
send a password that anybody could read to a server that nobody verified, unless it was told to by name.
"""

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeAlias

from pop3fast import _replies, _sasl
from pop3fast._authorization import AuthorizationCommands
from pop3fast._errors import AuthenticationError, CommandError, ProtocolError, error_proto
from pop3fast._sasl import ExchangeError, Mechanism

Secret: TypeAlias = str | Callable[[], str]
"""A password or token, or what gives one when it is asked, once an attempt."""

AuthObject: TypeAlias = Callable[[bytes], bytes | str | None]
"""Called with each challenge, decoded; returns the answer, not yet encoded. None, or ``b"*"``, calls the login off."""

# RFC 2449 section 4, with the line end. RFC 5034 section 4 forbids an initial response that does not fit.
_MAX_LINE_OCTETS = 255

# Quirk q38: Microsoft's servers end the connection when the token comes with the command.
_WITHOUT_INITIAL_RESPONSE = frozenset({"XOAUTH2"})

_SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-1")
# From the strongest to the weakest. CRAM-MD5 and APOP are not here: they are broken, and are had by name.
_BY_PASSWORD = (*_SCRAM, "PLAIN", "LOGIN")
_BY_TOKEN = ("OAUTHBEARER", "XOAUTH2")
_MECHANISMS = frozenset({*_BY_PASSWORD, *_BY_TOKEN, "CRAM-MD5", "EXTERNAL", "APOP", "USER"})

_WITHOUT_SCRAM = tuple(name for name in _BY_PASSWORD if name not in _SCRAM)


class LoginCommands(AuthorizationCommands):
    """The second part of `POP3`."""

    def auth(
        self,
        mechanism: str,
        authobject: AuthObject | None = None,
        initial_response: bytes | str | None = None,
    ) -> bytes:
        """Log in by a SASL *mechanism*; return the response (RFC 5034 section 4). `login` knows the usual ones itself.

        *authobject* answers each challenge; *initial_response* is what the client says first. It goes along with the
        command where the line stays within 255 octets and the mechanism is not XOAUTH2, and otherwise answers the
        server's first, empty, challenge. A ``str`` is sent as UTF-8.

        Raises `AuthenticationError` when the login is refused, or called off because *authobject* said so or a
        challenge makes no sense; the session goes on. An exception of *authobject* calls the login off too.
        """
        if not mechanism or not all(character.isalnum() or character in "-_" for character in mechanism):
            raise ValueError(f"not a SASL mechanism: {mechanism!r}")
        name = mechanism.upper()
        command = f"AUTH {name}"
        first = None if initial_response is None else _sasl.octets_of(initial_response)
        if first is not None and name not in _WITHOUT_INITIAL_RESPONSE:
            line = f"{command} {_sasl.encoded(first) or '='}"
            if len(line) + len("\r\n") <= _MAX_LINE_OCTETS:
                command, first = line, None
        with self._turn():
            response = self._shortcmd(command)
            rounds = 0
            while _replies.is_continuation(response):
                rounds += 1
                if rounds > _sasl.MAX_ROUNDS:
                    self._call_off(f"the server asks more than {_sasl.MAX_ROUNDS} times")
                response = self._shortcmd(_sasl.encoded(self._answer(response, first, authobject)))
                first = None
        return response

    def login(
        self,
        user: str,
        password: Secret | None = None,
        *,
        token: Secret | None = None,
        mechanism: str | None = None,
    ) -> bytes:
        """Log in by the best mechanism that both sides have; return the response (RFC 1939 section 7, RFC 5034).

        With a *token*, an OAuth 2 access token, that is OAUTHBEARER or XOAUTH2; with a *password* SCRAM-SHA-256 and
        SCRAM-SHA-1 (with the extra ``scram``), PLAIN, LOGIN, and USER and PASS where the server has none of these.
        *mechanism* names one of them, ``USER``, ``APOP``, ``CRAM-MD5`` or ``EXTERNAL``, and is used whatever the
        server says that it can do. There is one attempt: what is refused is not tried in another way.

        Raises `AuthenticationError` when the login is refused, and `error_proto`, before anything is sent, when all
        that the server has would show the secret on a connection that is not TLS with a verified certificate. The
        session goes on after both. When a server that has to prove itself (SCRAM) does not, the connection is broken.
        """
        if (password is None) == (token is None) and (mechanism or "").upper() != "EXTERNAL":
            raise ValueError("give a password or a token, one of them")
        name = self._choose(by_token=token is not None) if mechanism is None else mechanism.upper()
        if name not in _MECHANISMS:
            raise ValueError(f"unknown mechanism {mechanism!r}; there are {', '.join(sorted(_MECHANISMS))}")
        if (name in _BY_TOKEN) != (token is not None):
            raise ValueError(f"{name} takes a {'token' if name in _BY_TOKEN else 'password'}")
        secret = _given(password if token is None else token)
        if name == "USER":
            self.user(user)
            return self.pass_(secret)
        if name == "APOP":
            return self._apop(user, secret, forgetful=True)
        return self._authenticate(name, self._mechanism(name, user, secret))

    # What `auth` is made of.

    def _answer(self, response: bytes, first: bytes | None, authobject: AuthObject | None) -> bytes:
        """Return the answer to the challenge in *response*; where there is none, call the login off and raise."""
        # A command that *authobject* gave would be taken for its answer.
        self._broken = "a login is under way"
        try:
            answer = _answer_to(_sasl.decoded(response), first, authobject)
        except ExchangeError as error:
            reason = str(error)
        except Exception:
            self._broken = None
            with suppress(AuthenticationError, ProtocolError, OSError):  # what *authobject* raised says more
                self._call_off("")
            raise
        except BaseException:
            # Whoever interrupts does not want to wait for the server's word on it.
            self._broken = "a login was broken off"
            raise
        else:
            self._broken = None
            return answer
        self._broken = None
        return self._call_off(reason)

    def _call_off(self, reason: str) -> NoReturn:
        """End the exchange without logging in (RFC 5034 section 4); raise `AuthenticationError` with the *reason*."""
        try:
            self._shortcmd("*")
        except CommandError as error:
            refusal = AuthenticationError(error.response, "AUTH")
        else:
            raise self._break(ProtocolError("the server did not let go of a login that was called off"))
        refusal.reason = reason
        raise refusal

    # What `login` is made of.

    def _authenticate(self, name: str, mechanism: Mechanism) -> bytes:
        try:
            response = self.auth(name, mechanism, mechanism.initial)
        except AuthenticationError as error:
            error.reason = error.reason or mechanism.reason
            raise
        try:
            mechanism.check()
        except ExchangeError as error:
            reason = str(error)
        else:
            return response
        self._broken = reason
        refusal = AuthenticationError(response, "AUTH")
        refusal.reason = reason
        raise refusal

    def _choose(self, *, by_token: bool) -> str:
        """Return the strongest mechanism that both sides have and that this connection may be trusted with."""
        offered = [name.upper() for name in self.capabilities.get("SASL", ())]
        listed = _replies.readable(" ".join(offered).encode()) or "nothing"
        known = _BY_TOKEN if by_token else _BY_PASSWORD if _sasl.has_scram() else _WITHOUT_SCRAM
        name = next((name for name in known if name in offered), None)
        if name is None and by_token:
            raise error_proto(f"-ERR the server offers no login by token; it offers {listed}")
        name = name or "USER"
        if name not in _SCRAM and not self._verified():
            raise error_proto(
                f"-ERR {name} would show the secret to whoever is in between: use pop3fast.connect(), a context that "
                f"verifies, or name the mechanism"
            )
        return name

    def _mechanism(self, name: str, user: str, secret: str) -> Mechanism:
        if name in _SCRAM:
            return _sasl.Scram(name, user, secret)
        if name == "XOAUTH2":
            return _sasl.XOAuth2(user, secret)
        if name == "OAUTHBEARER":
            return _sasl.OAuthBearer(user, secret, self.host, self.port)
        if name == "EXTERNAL":
            return _sasl.External(user)
        return {"PLAIN": _sasl.Plain, "LOGIN": _sasl.Login, "CRAM-MD5": _sasl.CramMD5}[name](user, secret)

    def _verified(self) -> bool:
        """Say whether a secret may be shown to the other side."""
        if self._trusted:
            return True
        sock = self.sock
        return (
            isinstance(sock, ssl.SSLSocket)
            and sock.context.verify_mode is ssl.CERT_REQUIRED
            and sock.context.check_hostname
        )


def _answer_to(challenge: bytes, first: bytes | None, authobject: AuthObject | None) -> bytes:
    if first is not None:
        if challenge:
            raise ExchangeError("the server speaks first, where the client should")
        return first
    if authobject is None:
        raise ExchangeError("the server asks, and there is nothing to answer")
    answer = authobject(challenge)
    octets = b"*" if answer is None else _sasl.octets_of(answer)
    if octets == b"*":
        raise ExchangeError("called off")
    return octets


def _given(secret: Secret | None) -> str:
    """Return the secret, asking for it where it is to be asked for."""
    given = secret() if callable(secret) else secret
    if given is not None and not isinstance(given, str):
        raise TypeError(f"a password or a token is a str, not {type(given).__name__}")
    return given or ""
