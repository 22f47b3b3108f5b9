"""`pop3fast oauth login NAME`: a person logs in once, and fetches have tokens from then on.

Owns what the person is told. No token is shown.
"""

from pop3fast.cli._settings import Settings
from pop3fast.cli._text import UsageError, complain, say
from pop3fast.cli._tokens import tokens_of
from pop3fast.oauth import TokenSource


def log_in(accounts: dict[str, Settings]) -> int:
    """Have a person log in for each of *accounts*; return the exit status. Raises `SecretError`."""
    for name, settings in accounts.items():
        if settings.oauth is None:
            raise UsageError(f"[{name}] has no key oauth, as in oauth = 'microsoft'")
        source = tokens_of(settings)
        if isinstance(source, TokenSource):
            source.login(complain)
        say(f"{name}: logged in; fetches have tokens from now on")
    return 0
