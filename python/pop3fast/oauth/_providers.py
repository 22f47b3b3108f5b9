"""Providers: where each has its token server, and what it calls the right to fetch mail by POP3.

Owns the addresses and scopes. Everything in here may be shown.
"""

from dataclasses import dataclass
from urllib.parse import quote

from pop3fast.oauth._requests import checked_url


@dataclass(frozen=True)
class Provider:
    """Whom to ask for tokens. Raises `ValueError` for an address that no secret may be sent to."""

    token_url: str
    """The token server, which gives tokens and renews them."""
    scope: str
    """What the tokens are to permit, in the provider's words."""
    device_url: str = ""
    """Where a person's login on another device begins (RFC 8628)."""
    authorize_url: str = ""
    """Where a person logs in with a browser on this machine (RFC 8252)."""
    by_itself: bool = False
    """Whether the program logs in in its own name, and nobody has to (client credentials)."""

    def __post_init__(self) -> None:
        for url in filter(None, (self.token_url, self.device_url, self.authorize_url)):
            checked_url(url)


GOOGLE = Provider(
    "https://oauth2.googleapis.com/token",
    "https://mail.google.com/",
    authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
)


def microsoft_provider(tenant: str = "common", *, by_itself: bool = False) -> Provider:
    """Return Microsoft 365 as the provider, for the organisation *tenant*."""
    base = f"https://login.microsoftonline.com/{quote(tenant, safe='')}/oauth2/v2.0"
    if by_itself:
        return Provider(f"{base}/token", "https://outlook.office365.com/.default", by_itself=True)
    scope = "https://outlook.office.com/POP.AccessAsUser.All offline_access"
    return Provider(f"{base}/token", scope, device_url=f"{base}/devicecode")
