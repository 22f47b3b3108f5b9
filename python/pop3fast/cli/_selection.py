"""Selection: which accounts a command is about, by which name, and with which settings.

Owns what ``NAME``, ``URL`` and ``--all`` mean, and the placeholders. The command line overrides the account's table,
and that overrides ``[defaults]``. No error quotes what was typed: it may be a password.
"""

import argparse
import os
import re
import shlex
from typing import cast

from pop3fast.cli._accounts import location_of
from pop3fast.cli._config import default_config, read_config
from pop3fast.cli._proxies import has_password
from pop3fast.cli._settings import ABOUT, COMMAND, FILE, Settings, from_arguments, key_of
from pop3fast.cli._text import UsageError

EXIT_BUSY = 6
"""What `pop3fast.fetch.exit_status` gives for an account that another run has."""

_A_URL = (
    "a server is named by a URL, as in pop3s://user@mail.example.org (TLS), pop3:// (STLS) or pop3+plain:// (no TLS)"
)

_NO_NAME = r"[.:@]|^localhost$"
"""What stands in a server's name, and hardly in that of an account."""

PIPE = "pipe:"
"""How a destination that is a command begins."""

_PLACEHOLDER = r"\{(name|user|host)\}"
"""No other braces mean anything: a command may have some of its own."""


def selected(command: argparse.Namespace, *, or_all: bool = False) -> dict[str, Settings]:
    """Return the settings of each account that *command* is about, by its name; a URL is its own.

    Where it names none it is about all if *or_all* says so. Raises `UsageError` where it is about none, or about one
    that is not there.
    """
    if getattr(command, "all", False) or (or_all and not command.accounts):
        if command.accounts:
            raise UsageError("--all is for every account in the configuration; it takes no URL and no name")
        named = {**read_config(command.config or default_config())}
    elif not command.accounts:
        raise UsageError(f"nobody says which server: {_A_URL}")
    else:
        named = {account: Settings(url=account) for account in command.accounts if "://" in account}
        if len(named) < len(set(command.accounts)):
            named |= _by_name(command)
    said = from_arguments(command)
    if has_password(said.proxy or ""):
        raise UsageError("the URL of a proxy with a password in it is for $ALL_PROXY or the configuration")
    return {
        account: _filled(account, said.over(named[account])) for account in dict.fromkeys(command.accounts or named)
    }


def shown_name(account: str) -> str:
    """Return what a sentence about a configuration calls an *account*; nothing for a URL, which says it itself."""
    return "" if "://" in account else f"[{account}] "


def status_of(statuses: list[int]) -> int:
    """Return the exit status of several accounts: their common one, or 1 when they differ.

    An account that another run has is not wrong, only busy: where the others are well that is what there is to say.
    """
    failed = {status for status in statuses if status}
    if failed == {EXIT_BUSY}:
        return EXIT_BUSY
    return failed.pop() if len(failed) == 1 and 0 not in statuses else int(bool(failed))


def _by_name(command: argparse.Namespace) -> dict[str, Settings]:
    path = command.config or default_config()
    if command.config is None and not os.path.exists(path):  # noqa: PTH110 - a path is a str in this package
        raise UsageError(
            f"the account is no URL, and there is no configuration {path} that could have it by name; {_A_URL}"
        )
    known = read_config(path)
    for account in command.accounts:
        if "://" not in account and account not in known:
            hint = f"; {_A_URL}" if re.search(_NO_NAME, account) else ""
            raise UsageError(f"{path} has no account of that name; it has {', '.join(map(repr, known))}{hint}")
    return known


def _filled(account: str, settings: Settings) -> Settings:
    """Return *settings* with what their placeholders stand for."""
    filled: dict[str, str] = {}
    for setting, value in settings.said().items():
        kind = ABOUT[setting].kind
        if not isinstance(value, str) or not (kind in {COMMAND, FILE} or setting == "to"):
            continue
        if re.search(_PLACEHOLDER, value) is None:
            continue
        location = location_of(settings)
        means = {"name": account, "user": settings.user or location.user, "host": location.host}
        missing = next((name for name in re.findall(_PLACEHOLDER, value) if means[name] is None), None)
        if missing is not None:
            where = f"{shown_name(account)}{key_of(setting)}"
            raise UsageError(f"{where} has {{{missing}}} in it, and nobody says who logs in")
        begin = PIPE if setting == "to" and value.startswith(PIPE) else ""
        is_command = kind is COMMAND or bool(begin)
        rest = _replaced(value.removeprefix(begin), cast("dict[str, str]", means), is_command=is_command)
        filled[setting] = begin + rest
    return settings.but(**filled)


def _replaced(text: str, means: dict[str, str], *, is_command: bool) -> str:
    def fill(part: str) -> str:
        return re.sub(_PLACEHOLDER, lambda found: means[found[1]], part)

    if not is_command:
        return fill(text)
    try:
        # Word by word: a blank in a name begins no word of its own.
        return shlex.join(map(fill, shlex.split(text)))
    except ValueError:
        return text  # whoever runs it says what is wrong with it
