"""How a person logs in: with a code on any device (RFC 8628), or with a browser on this machine (RFC 8252).

Owns that a code which comes by way of the browser is the one that was asked for: with a state, and with PKCE (RFC
7636), it is of no use to anybody else. Keeps nothing.
"""

import base64
import hmac
import secrets
from collections.abc import Callable, Mapping
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from pop3fast import _replies
from pop3fast.fetch._waiting import Clock
from pop3fast.oauth._providers import Provider
from pop3fast.oauth._requests import OAuthError, TokenServerLostError, ask

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

INTERVAL_SECONDS = 5.0
"""The pause before each question whether the person is done, unless the server names another, and how much longer it
gets when the server says that this is too often (RFC 8628 section 3.5)."""

LOGIN_SECONDS = 900.0
"""How long a person has to log in, unless the server gives less."""

MOST_INTERVAL_SECONDS = 60.0
"""The pause doubles each time that the server is lost, but to no more than this: somebody waits."""

STEP_SECONDS = 1.0
"""While the browser is waited for, the clock is looked at this often."""


def by_device(
    provider: Provider, client: Mapping[str, str], tell: Callable[[str], object], clock: Clock
) -> dict[str, object]:
    """Return what the token server answers when the person has logged in. Raises `OAuthError`."""
    begun = ask(provider.device_url, {"client_id": client["client_id"], "scope": provider.scope})
    device, shown = begun.get("device_code"), begun.get("user_code")
    where = begun.get("verification_uri") or begun.get("verification_url")
    if not (isinstance(device, str) and isinstance(shown, str) and isinstance(where, str)):
        raise OAuthError("the token server gave no code for another device")
    tell(_replies.printable(f"open {where} on any device, and enter the code {shown}"))
    interval = _number(begun.get("interval"), INTERVAL_SECONDS)
    until = clock.now() + _number(begun.get("expires_in"), LOGIN_SECONDS)
    lost: OAuthError | None = None
    while True:
        clock.pause(interval)
        try:
            return ask(provider.token_url, {**client, "grant_type": DEVICE_GRANT, "device_code": device})
        except TokenServerLostError as error:
            # The person logs in elsewhere, so the code is still good (RFC 8628 section 3.5).
            interval, lost = min(2 * interval, max(interval, MOST_INTERVAL_SECONDS)), error
        except OAuthError as error:
            lost = None
            if error.code == "slow_down":
                interval += INTERVAL_SECONDS
            elif error.code != "authorization_pending":
                raise
        if clock.now() >= until:
            raise lost or OAuthError("nobody has logged in in time: begin again")


def by_browser(
    provider: Provider, client: Mapping[str, str], tell: Callable[[str], object], clock: Clock
) -> dict[str, object]:
    """Return what the token server answers when the person has logged in. Raises `OAuthError`."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    challenge = base64.urlsafe_b64encode(sha256(verifier.encode("ascii")).digest()).decode("ascii").rstrip("=")
    with _Listener(state) as listener:
        back = f"http://127.0.0.1:{listener.server_port}"
        asked = {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": back,
            "scope": provider.scope,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            # So that Google gives a refresh token also to a person who has logged in before.
            "access_type": "offline",
            "prompt": "consent",
        }
        tell(f"open this in a browser on this machine, and log in: {provider.authorize_url}?{urlencode(asked)}")
        until = clock.now() + LOGIN_SECONDS
        while listener.came is None:
            listener.handle_request()
            if clock.now() >= until:
                raise OAuthError("nobody has logged in in time: begin again")
    code = listener.came.get("code", "")
    if not code:
        said = _replies.printable(listener.came.get("error", "it gave no code"))
        raise OAuthError(f"the provider did not let the person in: {said}")
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
    return ask(provider.token_url, {**client, **form})


def _number(said: object, otherwise: float) -> float:
    """Return what the server *said* when it is a number of seconds that anybody waits for: JSON has infinite ones."""
    return float(said) if isinstance(said, int | float) and 0 < said <= LOGIN_SECONDS else otherwise


class _Listener(HTTPServer):
    """Waits on this machine for the browser to come back."""

    timeout = STEP_SECONDS

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.state = state
        self.came: dict[str, str] | None = None

    def handle_error(self, *_: object) -> None:
        """Say nothing: whoever it was is gone, and another may come."""


class _Answer(BaseHTTPRequestHandler):
    """What the browser gets."""

    timeout = 5
    """Seconds: a browser that says nothing keeps nobody else waiting for longer."""

    def do_GET(self) -> None:
        listener = self.server
        given = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if not isinstance(listener, _Listener) or not hmac.compare_digest(
            given.get("state", "").encode(), listener.state.encode()
        ):
            self.send_error(404)
            return
        listener.came = given
        words = b"This is all: go back to the program."
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    def log_message(self, *_: object) -> None:
        """Log nothing: there is a code in it."""
