"""Tokens: from what a configuration says of a provider to a source of access tokens.

Owns which settings each provider needs. Asks nobody; what has a secret in it is read from files of the user's own.
"""

from collections.abc import Callable

from pop3fast._location import parse_url
from pop3fast.cli._settings import Settings, demand, key_of
from pop3fast.cli._text import UsageError
from pop3fast.fetch.accounts._passwords import read_password_file

PROVIDERS = ("microsoft", "google", "other")


def tokens_of(settings: Settings) -> Callable[[], str]:
    """Return the source of tokens that *settings* ask for. Raises `UsageError`, and `SecretError` for its files."""
    from pop3fast import oauth  # noqa: PLC0415 - most accounts have a password

    client_id = demand(settings.oauth_client_id, "oauth needs the program's id at the provider: oauth-client-id")
    location = parse_url(demand(settings.url, "there is no URL"))
    name = f"{location.who(settings.user) or ''}@{location.host}"
    secret = None
    if settings.oauth_client_secret_file is not None:
        secret = read_password_file(settings.oauth_client_secret_file)
    cache = oauth.TokenKeyring(name) if settings.oauth_keyring else None
    if settings.oauth == "microsoft":
        if secret is not None:
            demand(settings.oauth_tenant, "a program that logs in by itself needs the organisation: oauth-tenant")
        tenant = settings.oauth_tenant or "common"
        return oauth.microsoft(client_id, name, tenant=tenant, client_secret=secret, cache=cache)
    if settings.oauth == "google":
        if secret is None:
            raise UsageError("oauth = 'google' needs oauth-client-secret-file")
        return oauth.google(client_id, secret, name, cache=cache)
    if settings.oauth != "other":
        raise UsageError(f"oauth has to be one of {', '.join(PROVIDERS)}")
    needed = ("oauth_token_url", "oauth_scope")
    url, scope = (demand(getattr(settings, each), f"oauth = 'other' needs {key_of(each)}") for each in needed)
    try:
        provider = oauth.Provider(url, scope, settings.oauth_device_url or "", by_itself=not settings.oauth_device_url)
    except ValueError as error:
        raise UsageError(str(error)) from None
    kept = cache or oauth.TokenFile(oauth.default_token_path(name))
    return oauth.TokenSource(provider, client_id, kept, client_secret=secret, name=name)
