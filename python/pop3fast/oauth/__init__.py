"""OAuth 2 access tokens for accounts at Microsoft 365 and Google, renewed when they expire.

`microsoft` and `google` give a source of tokens, which is what `Account` and `connect` take as ``token``.
"""

from pop3fast.oauth._cache import TokenFile, TokenKeyring, Tokens, default_token_path
from pop3fast.oauth._logins import google, microsoft
from pop3fast.oauth._providers import Provider
from pop3fast.oauth._requests import OAuthError
from pop3fast.oauth._source import TokenSource

__all__ = [
    "OAuthError",
    "Provider",
    "TokenFile",
    "TokenKeyring",
    "TokenSource",
    "Tokens",
    "default_token_path",
    "google",
    "microsoft",
]
