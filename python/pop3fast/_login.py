"""Logging in, as far as it is decided: which way, and what is said in it (RFC 1939 section 7, RFC 5034).

Sees no connection and never waits. Must never choose a mechanism that shows a password to a server that is not
verified, and never answer a challenge that makes no sense.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from pop3fast import _replies, _sasl
from pop3fast._errors import AuthenticationError, error_proto, name_reason
from pop3fast._sasl import ExchangeError, Mechanism

Secret: TypeAlias = str | Callable[[], str]
"""A password or token, or what gives one when it is asked, once an attempt."""

AuthObject: TypeAlias = Callable[[bytes], bytes | str | None]
"""Called with each challenge, decoded; returns the answer, not yet encoded. None, or ``b"*"``, calls the login off.

One that can be called without a challenge, as ``smtplib`` has them, is called so for the initial response, of which it
may have none (None).
"""

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


NOT_LET_GO = "the server did not let go of a login that was called off"


class SaslExchange:
    """One AUTH command and what follows it, until the server says yes or no."""

    CALL_OFF = "*"
    """What ends an exchange without a login (RFC 5034 section 4)."""

    def __init__(
        self,
        mechanism: str,
        authobject: AuthObject | None,
        initial_response: bytes | str | None,
        *,
        initial_response_ok: bool = True,
    ) -> None:
        """Log in by *mechanism*; the arguments are those of `POP3.auth`, and so is what is raised for them."""
        if not mechanism or not all(character.isalnum() or character in "-_" for character in mechanism):
            raise ValueError(f"not a SASL mechanism: {mechanism!r}")
        self._name = mechanism.upper()
        self._authobject = authobject
        # Whether the initial response may come along with the command.
        self._along = initial_response_ok and self._name not in _WITHOUT_INITIAL_RESPONSE
        if initial_response is None and initial_response_ok and authobject is not None and _asks_nothing(authobject):
            initial_response = authobject()  # type: ignore[call-arg]  # it can be called so
        self._initial = None if initial_response is None else _sasl.octets_of(initial_response)
        self._rounds = 0

    def first(self) -> str:
        """Return the command, with the initial response where it may come along."""
        command = f"AUTH {self._name}"
        if self._initial is None or not self._along:
            return command
        line = f"{command} {_sasl.encoded(self._initial) or '='}"
        if len(line) + len("\r\n") > _MAX_LINE_OCTETS:
            return command
        self._initial = None
        return line

    def answer(self, status_line: bytes) -> str:
        """Return the line that answers the challenge in *status_line*; `ExchangeError` says why there is none."""
        self._rounds += 1
        if self._rounds > _sasl.MAX_ROUNDS:
            raise ExchangeError(f"the server asks more than {_sasl.MAX_ROUNDS} times")
        challenge = _sasl.decoded(status_line)
        initial, self._initial = self._initial, None
        if initial is not None:
            if challenge:
                raise ExchangeError("the server speaks first, where the client should")
            return _sasl.encoded(initial)
        if self._authobject is None:
            raise ExchangeError("the server asks, and there is nothing to answer")
        answer = self._authobject(challenge)
        octets = b"*" if answer is None else _sasl.octets_of(answer)
        if octets == b"*":
            raise ExchangeError("called off")
        return _sasl.encoded(octets)


def _asks_nothing(authobject: AuthObject) -> bool:
    """Say whether *authobject* can be called without a challenge. It is not tried: what it raises is the program's."""
    # Here, because few programs log in so, and this is half the time of importing the package.
    import inspect  # noqa: PLC0415

    try:
        inspect.signature(authobject).bind()
    except (TypeError, ValueError):  # it needs one, or does not say
        return False
    return True


def check_secrets(password: object, token: object, mechanism: str | None) -> None:
    """Raise `ValueError` unless one of *password* and *token* is given; EXTERNAL, as a *mechanism*, needs neither."""
    if (password is None) == (token is None) and (mechanism or "").upper() != "EXTERNAL":
        raise ValueError("give a password or a token, one of them")


def choose(offered: Iterable[str], *, verified: bool, by_token: bool) -> str:
    """Return the strongest mechanism that both sides have and that the connection may be trusted with.

    *offered* is what CAPA says behind SASL; *verified*, whether a secret may be shown to the other side. Raises
    `error_proto` when there is none.
    """
    offered = [name.upper() for name in offered]
    name = next((name for name in usable(by_token=by_token) if name in offered), None)
    if name is None and by_token:
        listed = _replies.readable(" ".join(offered).encode()) or "nothing"
        raise error_proto(f"-ERR the server offers no login by token; it offers {listed}")
    name = name or "USER"
    if name not in _SCRAM and not verified:
        raise error_proto(
            f"-ERR {name} would show the secret to whoever is in between: use pop3fast.connect(), a context that "
            f"verifies, or name the mechanism"
        )
    return name


def usable(*, by_token: bool) -> tuple[str, ...]:
    """Return the mechanisms that `choose` chooses from, the strongest first; USER comes behind those of a password."""
    return _BY_TOKEN if by_token else _BY_PASSWORD if _sasl.has_scram() else _WITHOUT_SCRAM


def named(mechanism: str) -> str:
    """Return the name of a mechanism, or of a way to log in without SASL; a `ValueError` when there is no such one."""
    name = mechanism.upper()
    if name not in _MECHANISMS:
        raise ValueError(f"unknown mechanism {mechanism!r}; there are {', '.join(sorted(_MECHANISMS))}")
    return name


def secret_for(name: str, password: Secret | None, token: Secret | None) -> str:
    """Return the secret that *name* takes, asking for it where it is to be asked for; an error when it is another."""
    if (name in _BY_TOKEN) != (token is not None):
        raise ValueError(f"{name} takes a {'token' if name in _BY_TOKEN else 'password'}")
    secret = password if token is None else token
    given = secret() if callable(secret) else secret
    if given is not None and not isinstance(given, str):
        raise TypeError(f"a password or a token is a str, not {type(given).__name__}")
    return given or ""


def apop_command(user: str, secret: bytes, greeting: bytes | None) -> str:
    """Return the command that logs *user* in by a digest of *secret* and the time stamp in the *greeting*.

    Raises `error_proto` when there is no time stamp, or no greeting that may be believed.
    """
    timestamp = None if greeting is None else _replies.apop_timestamp(greeting)
    if timestamp is None:
        raise error_proto("-ERR APOP not supported by server")
    import hashlib  # noqa: PLC0415 - takes long, and few programs need it

    return f"APOP {user} {hashlib.md5(timestamp + secret).hexdigest()}"  # noqa: S324 - what the RFC says


def sasl_refusal(response: bytes, reason: str) -> AuthenticationError:
    """Return the error for a SASL exchange that ended in *response*, and without a login because of *reason*."""
    refusal = AuthenticationError(response, command="AUTH")
    name_reason(refusal, reason)
    return refusal


def unproven(mechanism: Mechanism, response: bytes) -> AuthenticationError | None:
    """Return the error for a server that let *mechanism* in by *response*, and has not proved itself as it has to."""
    try:
        mechanism.check()
    except ExchangeError as error:
        return sasl_refusal(response, str(error))
    return None


def mechanism_of(name: str, user: str, secret: str, host: str, port: int) -> Mechanism:
    """Return one attempt of *user* to log in to *host* and *port* by *name* and *secret*."""
    if name in _SCRAM:
        return _sasl.Scram(name, user, secret)
    if name == "XOAUTH2":
        return _sasl.XOAuth2(user, secret)
    if name == "OAUTHBEARER":
        return _sasl.OAuthBearer(user, secret, host, port)
    if name == "EXTERNAL":
        return _sasl.External(user)
    return {"PLAIN": _sasl.Plain, "LOGIN": _sasl.Login, "CRAM-MD5": _sasl.CramMD5}[name](user, secret)
