"""SASL mechanisms: what the client sends first, and how it answers a challenge.

Owns their octets, without and with base64. Never sees a connection, and never lets a secret into an exception. A
challenge that makes no sense is an `ExchangeError`; then the exchange is called off.
"""

import binascii
import re
from collections.abc import Callable
from typing import Any

from pop3fast._replies import readable

MAX_ROUNDS = 16
"""Challenges in one exchange. SCRAM, the longest, has two; a server that goes on asks for the sake of asking."""

MAX_CHALLENGE_OCTETS = 64 * 1024
"""Of a challenge as sent. The longest that are in use, Kerberos tickets, have some ten thousand."""

# RFC 7677 section 4 asks for 4096 at least: with fewer, whoever is in between tries passwords faster. More than the
# greatest make a server hold our processor: a million take half a second.
LEAST_ITERATIONS, MOST_ITERATIONS = 4096, 1_000_000
_ITERATIONS_ALLOWED = range(LEAST_ITERATIONS, MOST_ITERATIONS + 1)

_ITERATIONS = r"(?:\A|,)i=([^,]*)"
_COUNT = r"[0-9]{1,10}"


class ExchangeError(Exception):
    """What the server asks for cannot be answered, or its success cannot be believed. The message says why."""


class Mechanism:
    """One attempt to log in. Called with each challenge it returns the answer."""

    initial: bytes | None = None
    """What the client says first; None where the server does."""
    reason: str = ""
    """What the server said of a refusal, made safe to show."""

    def __call__(self, challenge: bytes, /) -> bytes:  # noqa: ARG002
        """Return the answer to *challenge*; `ExchangeError` when there is none."""
        raise ExchangeError("the server asks for more than the mechanism has to say")

    def check(self) -> None:
        """Raise `ExchangeError` when the server's +OK comes too early to be believed."""


class Plain(Mechanism):
    """PLAIN (RFC 4616)."""

    def __init__(self, user: str, password: str) -> None:
        """Log *user* in by *password*."""
        self.initial = b"\0".join([b"", utf8(user, "user"), utf8(password, "password")])


class External(Mechanism):
    """EXTERNAL (RFC 4422 appendix A): the client's certificate says who it is, *user* as whom it wants to act."""

    def __init__(self, user: str) -> None:
        """Act as *user*; when it is empty, as whom the certificate names."""
        self.initial = utf8(user, "user")


class Login(Mechanism):
    """LOGIN, which no RFC has: the server asks for one and for the other, in words that differ."""

    def __init__(self, user: str, password: str) -> None:
        """Log *user* in by *password*."""
        self._answers = [utf8(user, "user"), utf8(password, "password")]

    def __call__(self, challenge: bytes) -> bytes:
        """Return the next answer."""
        return self._answers.pop(0) if self._answers else super().__call__(challenge)


class CramMD5(Mechanism):
    """CRAM-MD5 (RFC 2195)."""

    def __init__(self, user: str, password: str) -> None:
        """Log *user* in by *password*."""
        self._user, self._password = utf8(user, "user"), utf8(password, "password")
        self._answered = False

    def __call__(self, challenge: bytes) -> bytes:
        """Return the user's name and the digest of the challenge."""
        if self._answered or not challenge:
            return super().__call__(challenge)
        self._answered = True
        import hmac  # noqa: PLC0415 - takes long, and few programs need it

        return self._user + b" " + hmac.new(self._password, challenge, "md5").hexdigest().encode()


class _OAuth(Mechanism):
    """What the two mechanisms for OAuth 2 have in common: of a refusal the server says more in a challenge."""

    _acknowledgement: bytes

    def __call__(self, challenge: bytes) -> bytes:
        """Keep what the server says, and return what it waits for before its -ERR."""
        if self.reason:
            return super().__call__(challenge)
        self.reason = readable(challenge) or "no reason given"
        return self._acknowledgement

    def check(self) -> None:
        """Raise `ExchangeError` when a refusal was announced."""
        if self.reason:
            raise ExchangeError("the server said both that the token is refused and that it is not")


class XOAuth2(_OAuth):
    """XOAUTH2, as Google and Microsoft document it."""

    _acknowledgement = b""

    def __init__(self, user: str, token: str) -> None:
        """Log *user* in by an access *token*."""
        self.initial = b"user=%b\1auth=Bearer %b\1\1" % (_without_separator(user), _checked_token(token))


class OAuthBearer(_OAuth):
    """OAUTHBEARER (RFC 7628)."""

    _acknowledgement = b"\1"

    def __init__(self, user: str, token: str, host: str, port: int) -> None:
        """Log *user* in to *host* and *port* by an access *token*."""
        name = _without_separator(user).replace(b"=", b"=3D").replace(b",", b"=2C")
        self.initial = b"n,a=%b,\1host=%b\1port=%d\1auth=Bearer %b\1\1" % (
            name,
            _without_separator(host),
            port,
            _checked_token(token),
        )


class Scram(Mechanism):
    """SCRAM (RFC 5802, RFC 7677), without channel binding. The server proves that it knows the password too."""

    def __init__(self, name: str, user: str, password: str) -> None:
        """Log *user* in by *password*; *name* is the mechanism's."""
        # Before scramp sees them: its own errors may quote what they are about.
        utf8(user, "user")
        utf8(password, "password")
        scramp = _scramp()
        self._failure: type[Exception] = scramp.ScramException
        client = self._prepared(scramp.ScramClient, name, user, password)
        self.initial = client.get_client_first().encode()
        self._client: Any = client
        self._steps: list[Callable[[str], str]] = [self._prove, self._verify]

    def __call__(self, challenge: bytes) -> bytes:
        """Return the client's proof for the server's first message, and nothing for its last."""
        if not self._steps:
            return super().__call__(challenge)
        step = self._steps.pop(0)
        try:
            return step(challenge.decode()).encode()
        except (self._failure, UnicodeDecodeError, ValueError) as error:
            failed = f"the server's SCRAM message makes no sense, or it does not know the password: {error}"
        raise ExchangeError(readable(failed.encode("utf-8", "backslashreplace")))

    def check(self) -> None:
        """Raise `ExchangeError` unless the server's signature was verified."""
        if self._steps:
            raise ExchangeError("the server let the login in without the proof that it knows the password")

    def _prepared(self, make: Callable[[list[str], str, str], Any], name: str, user: str, password: str) -> Any:  # noqa: ANN401
        try:
            return make([name], user, password)
        except self._failure:
            pass
        raise ValueError("the user or the password holds a character that SCRAM does not allow (RFC 4013)")

    def _prove(self, server_first: str) -> str:
        # All of them: which one counts where there are two is not for us to guess.
        counts = re.findall(_ITERATIONS, server_first)
        if not counts or not all(re.fullmatch(_COUNT, count) and int(count) in _ITERATIONS_ALLOWED for count in counts):
            raise ExchangeError(f"the SCRAM iteration count is not between {LEAST_ITERATIONS} and {MOST_ITERATIONS}")
        self._client.set_server_first(server_first)
        proof: str = self._client.get_client_final()
        return proof

    def _verify(self, server_final: str) -> str:
        self._client.set_server_final(server_final)
        return ""


def decoded(status_line: bytes) -> bytes:
    """Return the challenge that a continuation line carries (RFC 5034 section 4); `ExchangeError` when it has none.

    Quirk q40: an empty one may lack the space behind the plus.
    """
    if len(status_line) > MAX_CHALLENGE_OCTETS:
        raise ExchangeError(f"the challenge is longer than {MAX_CHALLENGE_OCTETS} octets")
    if status_line[1:2] not in {b"", b" "}:
        raise ExchangeError("the challenge is not base64")
    try:
        return binascii.a2b_base64(status_line[2:], strict_mode=True)
    except binascii.Error:
        pass
    raise ExchangeError("the challenge is not base64")


def encoded(answer: bytes) -> str:
    """Return *answer* as a line carries it."""
    return binascii.b2a_base64(answer, newline=False).decode()


def octets_of(said: bytes | str) -> bytes:
    """Return what an application says, in UTF-8 where it is text; an error for what is neither does not quote it."""
    if not isinstance(said, str):
        return bytes(memoryview(said))  # a `TypeError` for what has no octets; bytes() makes some of a number too
    try:
        return said.encode()
    except UnicodeEncodeError:
        pass
    raise ValueError("the answer holds half a surrogate pair")


def utf8(text: str, what: str) -> bytes:
    """Return *text* in UTF-8; a `ValueError` that does not quote it when it holds what no name or secret may."""
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        octets = b"\0"
    if any(octet in octets for octet in (b"\0", b"\r", b"\n")):
        raise ValueError(f"the {what} holds a NUL, a CR, an LF or half a surrogate pair")
    return octets


def has_scram() -> bool:
    """Return whether scramp is there."""
    from importlib.util import find_spec  # noqa: PLC0415 - takes long, and few programs need it

    return find_spec("scramp") is not None


def _scramp() -> Any:  # noqa: ANN401 - it has no types
    import importlib  # noqa: PLC0415 - as above

    try:
        return importlib.import_module("scramp")
    except ImportError:
        pass
    raise ImportError("SCRAM needs the package scramp: pip install pop3fast[scram]", name="scramp")


def _without_separator(text: str) -> bytes:
    octets = utf8(text, "user")
    if b"\1" in octets:
        raise ValueError("the user holds a control-A, which separates the fields")
    return octets


def _checked_token(token: str) -> bytes:
    # RFC 6750 section 2.1 has fewer characters still; what matters is that none ends the field.
    if not (token and token.isascii() and token.isprintable() and " " not in token):
        raise ValueError("the token is not one word of printable ASCII")
    return token.encode()
