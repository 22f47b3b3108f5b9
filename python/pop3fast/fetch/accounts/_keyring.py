"""The keyring of the system: passwords that the desktop, or whatever stands for it, keeps for its user.

Owns the way to the package ``keyring`` (extra ``keyring``), which knows the many kinds of keyrings. No error shows a
secret.
"""

import importlib
from typing import Any, NamedTuple

from pop3fast.fetch._errors import SecretError
from pop3fast.fetch.accounts._passwords import checked_secret


class Keyring(NamedTuple):
    """What was found. Every method raises `SecretError`."""

    module: Any

    def get(self, service: str, name: str) -> str | None:
        """Return what *service* keeps for *name*, None when it keeps nothing."""
        try:
            found = self.module.get_password(service, name)
        except Exception as error:  # noqa: BLE001 - each backend has its own
            raise _trouble(error) from None
        return None if found is None else str(found)

    def put(self, service: str, name: str, secret: str) -> None:
        """Keep *secret*."""
        try:
            self.module.set_password(service, name, secret)
        except Exception as error:  # noqa: BLE001 - as above
            raise _trouble(error) from None


def load_keyring() -> Keyring:
    """Return the keyring. Raises `SecretError` when the package is not there."""
    try:
        return Keyring(importlib.import_module("keyring"))
    except ImportError:
        raise SecretError("a keyring needs a package of that name: pip install 'pop3fast[keyring]'") from None


def keyring_password(host: str, user: str) -> str:
    """Return the password that the keyring has for *user* of the service *host*. Raises `SecretError`."""
    found = load_keyring().get(host, user)
    if found is None:
        raise SecretError(f"the keyring has no password for {user} of {host}: run keyring set {host} {user}")
    return checked_secret(found, "the password in the keyring")


def _trouble(error: Exception) -> SecretError:
    # What it says may have anything in it.
    return SecretError(f"the keyring cannot be used: {type(error).__name__}")
