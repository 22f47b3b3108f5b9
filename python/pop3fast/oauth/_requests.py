"""Requests to a token server: a form is posted, and a JSON object comes back.

Owns that secrets go over verified TLS only (or stay on this machine), that no redirect takes them elsewhere, and that
no error shows one. The standard library is enough for that. Decides nothing about tokens.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import IO
from urllib.parse import urlencode, urlsplit

from pop3fast import _replies
from pop3fast.fetch import SecretError

SECONDS = 30.0
"""How long a token server may take to answer."""

MOST_OCTETS = 2**20
"""More than any answer has: a token has some thousand octets."""

MOST_SHOWN = 300
"""At most so many characters of what the server says are shown."""

SECRETS = frozenset({"client_secret", "refresh_token", "code", "code_verifier", "device_code"})
"""The fields of a form that no error may show."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class OAuthError(SecretError):
    """There is no token to be had. The error shows no secret."""

    code: str
    """What the server calls it, such as ``invalid_grant``; empty when it did not say."""

    def __init__(self, words: str, code: str = "") -> None:
        """Say so in *words*."""
        super().__init__(words, code)
        self.words = words
        self.code = code

    def __str__(self) -> str:
        return self.words


class TokenServerLostError(OAuthError):
    """The token server could not be asked, or did not answer as one: the same question may have an answer later."""


def checked_url(url: str) -> str:
    """Return *url* when secrets may be sent there; raise `ValueError` when not."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError("the URL of a token server begins with https://")
    return url


def ask(url: str, form: Mapping[str, str]) -> dict[str, object]:
    """Return what the server at *url* answers to *form*. Raises `OAuthError`."""
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked
        checked_url(url), urlencode(form).encode("ascii"), {"Accept": "application/json"}
    )
    host = urlsplit(url).hostname
    try:
        octets, status = _sent(request)
    except urllib.error.URLError as error:
        raise TokenServerLostError(
            f"the token server {host} cannot be asked: {_replies.printable(str(error.reason))}"
        ) from None
    except (OSError, HTTPException) as error:
        raise TokenServerLostError(f"the token server {host} was lost: {_replies.printable(str(error))}") from None
    answer = _object(octets, host, status)
    if status != HTTPStatus.OK or "error" in answer:
        raise _refusal(answer, form, host)
    return answer


def _sent(request: urllib.request.Request) -> tuple[bytes, int]:
    """Return what comes back, and its status. Raises what urllib does for a server that is not there or is lost."""
    try:
        with _OPENER.open(request, timeout=SECONDS) as reply:
            return reply.read(MOST_OCTETS), HTTPStatus.OK
    except urllib.error.HTTPError as error:
        with error:
            return error.read(MOST_OCTETS), error.code


def _object(octets: bytes, host: str | None, status: int) -> dict[str, object]:
    try:
        answer = json.loads(octets)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        kind = TokenServerLostError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else OAuthError
        raise kind(f"the token server {host} answered with what is no JSON object (status {status})")
    return answer


def _refusal(answer: Mapping[str, object], form: Mapping[str, str], host: str | None) -> OAuthError:
    code = str(answer.get("error", ""))
    said = f"{code}: {answer.get('error_description', '')}".rstrip(": ").partition("\n")[0]
    # A server may repeat what it was sent.
    for name in SECRETS & form.keys():
        if form[name]:
            said = said.replace(form[name], "***")
    return OAuthError(f"the token server {host} refused: {_replies.printable(said[:MOST_SHOWN])}", code)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: what was sent is for the server that was named."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: object,
        newurl: str,
    ) -> None:
        """Return None: no other address is asked."""


_OPENER = urllib.request.build_opener(_NoRedirect)
