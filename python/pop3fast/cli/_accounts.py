"""Accounts: from settings to an account that can log in.

Owns the order in which a password is looked for: a command, a file, ``$POP3FAST_PASSWORD``, netrc, and a person at a
terminal. The server is not contacted before the password is there: a person may take a minute to type it.
"""

import os
import ssl
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from pop3fast import POP3, TlsVersion, connect, tls_context
from pop3fast._location import TIMEOUT_SECONDS, IpVersion, Location, SecretInUrlError, parse_url
from pop3fast.cli._proxies import proxy_for
from pop3fast.cli._settings import SECRETS, Settings, demand, key_of
from pop3fast.cli._text import UsageError, printable
from pop3fast.cli._tokens import tokens_of
from pop3fast.fetch import Account, SecretError
from pop3fast.fetch.accounts._keyring import keyring_password
from pop3fast.fetch.accounts._passwords import checked_secret, netrc_login, read_password_file, run_password_command

VARIABLE = "POP3FAST_PASSWORD"
"""In the environment: the password, for a command about one account."""

_OF_TLS = ("ca_file", "client_cert", "client_key", "fingerprint", "tls_name", "tls_min")
"""The settings that make a TLS context of its own."""


def account_of(settings: Settings, *, alone: bool = True) -> Account:
    """Return the account that *settings* are about, with what gives its password.

    *alone*: it is the only one, and a password in the environment can be meant for no other. Raises `UsageError` for
    what makes no sense, `SecretError` when there is no password.
    """
    url = demand(settings.url, "there is no URL")
    location = _location(url)
    if settings.user is not None and location.user not in {None, settings.user}:
        raise UsageError("the URL names another user than --user")
    _tls_of(settings)
    settings = settings.but(user=settings.user or location.user)
    try:
        account = Account(
            url,
            user=settings.user or "?",
            password="?",  # noqa: S106 - in the place of one
            ca_file=settings.ca_file,
            deadline=settings.deadline,
            mechanism=settings.mechanism,
            client_cert=settings.client_cert,
            client_key=settings.client_key,
            fingerprint=settings.fingerprint,
            tls_name=settings.tls_name,
            tls_min=cast("TlsVersion | None", settings.tls_min),
            proxy=proxy_for(settings.proxy, location.host, os.environ),
            source_address=settings.source_address,
            ip_version=cast("IpVersion | None", settings.ip_version),
        )
        if settings.timeout is not None:
            account = replace(account, timeout=settings.timeout)
        return _with_secret(account, location, settings, alone=alone)
    except ValueError as error:
        raise UsageError(str(error)) from None


def session_with(settings: Settings, *, log_in: bool = True, alone: bool = True) -> POP3:
    """Return a session, logged in where *log_in* says so; *alone* is as `account_of` takes it.

    Raises `UsageError`, `SecretError` and what `connect` does.
    """
    url = demand(settings.url, "there is no URL")
    try:
        if not log_in:
            return connect(
                url,
                context=_tls_of(settings),
                timeout=settings.timeout or TIMEOUT_SECONDS,
                deadline=settings.deadline,
                proxy=proxy_for(settings.proxy, location_of(settings).host, os.environ),
                source_address=settings.source_address,
                ip_version=cast("IpVersion | None", settings.ip_version),
            )
        return account_of(settings, alone=alone).connect()
    except OSError:
        # A certificate that is not the server's is one, and a ValueError as well.
        raise
    except ValueError as error:
        raise UsageError(str(error)) from None


def described(settings: Settings) -> str:
    """Return how a report names the account that *settings* are about: as an `Account` is shown, if a user is known."""
    location = location_of(settings)
    user, where = settings.user or location.user, location.authority.lower()
    return where if user is None else f"{user} on {where}"


def names_user(settings: Settings) -> bool:
    """Return whether *settings* say who is to log in."""
    return settings.user is not None or location_of(settings).user is not None


def _with_secret(account: Account, location: Location, settings: Settings, *, alone: bool) -> Account:
    # A password itself has a key, and no option.
    given = [
        key_of(name) if name in {"password", "oauth"} else f"--{key_of(name)}"
        for name in SECRETS
        if getattr(settings, name) is not None
    ]
    if len(given) > 1:
        raise UsageError(f"say one of {', '.join(given)}")
    user = settings.user
    password = settings.password
    if settings.password_file is not None:
        password = read_password_file(settings.password_file)
    elif not given and alone and VARIABLE in os.environ:
        password = checked_secret(os.environ[VARIABLE], f"${VARIABLE}")
    elif not given:
        login = netrc_login(location.host, user)
        if login is not None:
            user, password = login
        elif user is not None:
            password = _ask(user, location, alone=alone)
    if user is None:
        raise UsageError("nobody says who logs in: user@host in the URL, --user, or an entry in ~/.netrc")
    return _kept_elsewhere(replace(account, user=user), location, settings) or replace(
        account, user=user, password=checked_secret(password or "", "the password")
    )


def logs_in_by_token(settings: Settings) -> bool:
    """Return whether an OAuth 2 token is to be shown, and no password."""
    return settings.oauth is not None or settings.token_command is not None


def _kept_elsewhere(account: Account, location: Location, settings: Settings) -> Account | None:
    """Return *account* with what gives its secret whenever it is needed; None where that is not asked for."""
    user = account.user or ""
    if settings.password_command is not None:
        return replace(account, password=None, password_command=settings.password_command)
    if settings.password_keyring:
        return replace(account, password=lambda: keyring_password(location.host, user))
    if settings.oauth is not None:
        return replace(account, password=None, token=tokens_of(settings.but(user=user)))
    if settings.token_command is not None:
        command = settings.token_command
        # Asked for in each session: a token lasts for an hour.
        return replace(account, password=None, token=lambda: run_password_command(command))
    return None


def _ask(user: str, location: Location, *, alone: bool) -> str:
    who = printable(f"{user} on {location.host}")
    if not alone and VARIABLE in os.environ:
        raise SecretError(
            f"no password for {who}: ${VARIABLE} is for a command about one account; "
            "each of several needs a password-command, a password-file or an entry in ~/.netrc"
        )
    if not sys.stdin.isatty():
        raise SecretError(
            f"no password for {who}: give --password-command, --password-file, ${VARIABLE} or an entry in ~/.netrc"
        )
    try:
        import getpass  # noqa: PLC0415 - only where there is nothing better

        password = getpass.getpass(f"Password of {who}: ")
    except EOFError:
        password = ""
    except UnicodeDecodeError:
        # That error shows an octet of it.
        raise SecretError(f"the password of {who} that was typed is no text") from None
    if not password:
        raise SecretError(f"no password for {who} was typed")
    return password


def location_of(settings: Settings) -> Location:
    """Return what the URL of *settings* says. Raises `UsageError`."""
    return _location(demand(settings.url, "there is no URL"))


def _location(url: str) -> Location:
    try:
        return parse_url(url)
    except SecretInUrlError:
        raise UsageError(
            "a URL with a password in it ends up in logs and lists of processes: "
            f"use --password-command, --password-file, ${VARIABLE} or an entry in ~/.netrc; "
            "a colon in the user's name is %3A"
        ) from None
    except ValueError as error:
        raise UsageError(str(error)) from None


def to_log_in(settings: Settings) -> dict[str, object]:
    """Return what logs in to the server that the mail goes to. Raises `UsageError`."""
    if settings.to_password_command is not None and settings.to_token_command is not None:
        raise UsageError("say one of --to-password-command, --to-token-command")
    found: dict[str, object] = {}
    if settings.to_password_command is not None:
        found["to_password"] = partial(run_password_command, settings.to_password_command)
    if settings.to_token_command is not None:
        found["to_token"] = partial(run_password_command, settings.to_token_command)
    if settings.to_ca_file is not None:
        found["to_context"] = trusting(settings.to_ca_file)
    return found


def trusting(path: str) -> ssl.SSLContext:
    """Return what trusts the certificates in the file *path*, and no others. Raises `UsageError`."""
    _check_readable(path)
    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise UsageError(f"{path} has no certificates (PEM)") from None


def _tls_of(settings: Settings) -> ssl.SSLContext | None:
    """Return the context that keeps to *settings*; None where they say nothing of TLS.

    Then whoever connects makes the usual one, if it is needed at all: to read the system's certificates takes longer
    than anything else in a start. Raises `UsageError`, which names the file that cannot be used.
    """
    if settings.ca_file is not None:
        trusting(settings.ca_file)
    for path in filter(None, (settings.client_cert, settings.client_key)):
        _check_readable(path)
    wishes: dict[str, str | None] = {name: getattr(settings, name) for name in _OF_TLS}
    if not any(wishes.values()):
        return None
    try:
        return tls_context(**cast("dict[str, Any]", wishes))
    except OSError:
        raise UsageError("the client's certificate and its key cannot be used (PEM)") from None
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_readable(path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
