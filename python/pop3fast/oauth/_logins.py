"""Logins at the providers that are known: what a program calls.

Owns the defaults: a private file, a person on any device for Microsoft 365, and a browser for Google.
"""

from pop3fast.oauth._cache import Cache, TokenFile, default_token_path
from pop3fast.oauth._providers import GOOGLE, microsoft_provider
from pop3fast.oauth._source import TokenSource


def microsoft(
    client_id: str, name: str, *, tenant: str = "common", client_secret: str | None = None, cache: Cache | None = None
) -> TokenSource:
    """Return the tokens of a mailbox of Microsoft 365, for ``token=`` of `Account` and `connect`.

    With *client_secret* the program *client_id* logs in by itself, where an administrator has allowed it to; then
    *tenant* has to be named. Without one a person has to `login` once, on any device. *name* tells logins apart. Tokens
    are kept in *cache*, a private file unless another is given (`TokenKeyring`). Nothing is read or asked for yet:
    only the call for a token, at a login, raises `SecretError`.
    """
    provider = microsoft_provider(tenant, by_itself=client_secret is not None)
    cache = cache or TokenFile(default_token_path(name))
    return TokenSource(provider, client_id, cache, client_secret=client_secret, name=name)


def google(client_id: str, client_secret: str, name: str, *, cache: Cache | None = None) -> TokenSource:
    """Return the tokens of a mailbox at Google, for ``token=`` of `Account` and `connect`.

    *client_id* and *client_secret* are of an installed application ("desktop app"). A person has to
    `login` once, with a browser on this machine. *name* and *cache* are those of `microsoft`.
    """
    cache = cache or TokenFile(default_token_path(name))
    return TokenSource(GOOGLE, client_id, cache, client_secret=client_secret, name=name)
