"""A source of access tokens: what is called for one whenever a session begins.

Owns when a token is renewed: some time before it expires, and once after a server has refused it. What is kept is
written before a token is used, because an old refresh token may be worth nothing any more.
"""

import math
from collections.abc import Callable, Mapping

from pop3fast.fetch import SecretError
from pop3fast.fetch._waiting import Clock, SystemClock
from pop3fast.fetch.accounts._passwords import checked_secret
from pop3fast.oauth import _flows as flows
from pop3fast.oauth._cache import Cache, Tokens
from pop3fast.oauth._providers import Provider
from pop3fast.oauth._requests import OAuthError, ask

MARGIN_SECONDS = 300.0
"""A token that expires so soon is renewed: it has to last for a login, and clocks differ."""

LIFETIME_SECONDS = 3600.0
"""How long a token is taken to last when its server does not say: most last an hour."""


class TokenSource:
    """Gives the access tokens of one login. No repr shows one."""

    def __init__(
        self,
        provider: Provider,
        client_id: str,
        cache: Cache,
        *,
        client_secret: str | None = None,
        name: str = "",
        clock: Clock | None = None,
    ) -> None:
        """Ask *provider* in the name of the program *client_id*; *name* is what a person calls the login."""
        self._provider = provider
        self._client = {"client_id": client_id} | ({"client_secret": client_secret} if client_secret else {})
        self._cache = cache
        self._name = name or client_id
        self._clock = clock or SystemClock()
        self._given = ""

    def __call__(self) -> str:
        """Return an access token. Raises `SecretError` when there is none to be had without a person."""
        with self._cache.alone():
            tokens = self._cache.read()
            if tokens is None or not tokens.access or tokens.expires - MARGIN_SECONDS <= self._clock.date():
                tokens = self._renewed(tokens)
            self._given = checked_secret(tokens.access, "the access token")
            return self._given

    def refused(self) -> bool:
        """Take note that a server refused the token that was given last; return whether another one may be better.

        Raises `SecretError` when the tokens cannot be read or kept.
        """
        with self._cache.alone():
            tokens = self._cache.read()
            if tokens is not None and tokens.access == self._given:
                self._cache.write(tokens._replace(access="", expires=0.0))
            # When it is another one, another process has renewed it meanwhile.
            return tokens is not None

    def login(self, tell: Callable[[str], object]) -> None:
        """Have a person log in; *tell* is called with what the person has to do.

        Raises `OAuthError` when the login fails, and `SecretError` when the tokens cannot be kept.

        That is needed once, and again when the login has expired or was taken back. A program that logs in by itself
        (client credentials) only tries whether it can.
        """
        provider = self._provider
        if provider.by_itself:
            answer = ask(provider.token_url, self._form("client_credentials") | {"scope": provider.scope})
        elif provider.device_url:
            answer = flows.by_device(provider, self._client, tell, self._clock)
        else:
            answer = flows.by_browser(provider, self._client, tell, self._clock)
        with self._cache.alone():
            tokens = self._tokens(answer, "")
            if not tokens.refresh and not provider.by_itself:
                raise OAuthError("the token server gave nothing that lasts: the program is not allowed offline access")
            self._cache.write(tokens)

    def _renewed(self, tokens: Tokens | None) -> Tokens:
        provider, refresh = self._provider, "" if tokens is None else tokens.refresh
        if provider.by_itself:
            form = self._form("client_credentials") | {"scope": provider.scope}
        elif refresh:
            form = self._form("refresh_token") | {"refresh_token": refresh}
        else:
            raise SecretError(
                f"nobody has logged in as {self._name} yet: run pop3fast oauth login, with the account's name"
            )
        try:
            answer = ask(provider.token_url, form)
        except OAuthError as error:
            if error.code == "invalid_grant":
                again = "the login has expired or was taken back: run pop3fast oauth login, with the account's name"
                raise OAuthError(f"{error}; {again}", error.code) from None
            raise
        renewed = self._tokens(answer, refresh)
        self._cache.write(renewed)
        return renewed

    def _form(self, grant: str) -> dict[str, str]:
        return self._client | {"grant_type": grant}

    def _tokens(self, answer: Mapping[str, object], refresh: str) -> Tokens:
        access, seconds = answer.get("access_token"), answer.get("expires_in", LIFETIME_SECONDS)
        if not isinstance(access, str) or not access:
            raise OAuthError("the token server gave no access token")
        try:
            expires = self._clock.date() + float(str(seconds))
        except ValueError:
            expires = math.nan
        if not math.isfinite(expires):  # Python reads NaN and Infinity from JSON, and such a token would never expire
            raise OAuthError("the token server says no number for how long the token lasts")
        # When the server gives no new refresh token, the old one stays good (RFC 6749 section 6).
        return Tokens(access, expires, str(answer.get("refresh_token") or refresh))

    def __repr__(self) -> str:
        return f"<tokens of {self._name!r}>"
