"""Configuration: a TOML file with one table an account, whose keys are the options' names.

Owns the format and its errors. They name a table and a known key, and quote nothing else, which may be a password. A
password may stand in the file when the file is this user's alone.
"""

import os
import re
from pathlib import Path

from pop3fast.cli._proxies import has_password
from pop3fast.cli._settings import ABOUT, Settings, closest, expanded, key_of
from pop3fast.cli._text import UsageError
from pop3fast.fetch import SecretError
from pop3fast.fetch.accounts._private import no_utf8, read_contents

DEFAULTS = "defaults"
"""The table that is no account: what it says holds for all that do not say it themselves."""

# All that is repeated of what the parser says: the rest may quote the file.
_PLACE = r" \(at (?:line \d+, column \d+|end of document)\)"


def default_config() -> str:
    """Return where the configuration is when nobody says where."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return str(Path(expanded(base)) / "pop3fast" / "config.toml")


def read_config(path: str) -> dict[str, Settings]:
    """Return the accounts of a configuration file by name. Raises `UsageError`."""
    tables, text, objection = _read_tables(path)
    accounts: dict[str, Settings] = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            where = _line_of(name, text)
            raise UsageError(f"{path}: a key{where} stands outside of the tables; each account has one, as in [work]")
        accounts[name] = Settings(**_checked(f"{path}: [{name}]", table, text))
        if objection and (accounts[name].password is not None or has_password(accounts[name].proxy or "")):
            raise UsageError(f"[{name}] has a password: {objection}")
    defaults = accounts.pop(DEFAULTS, Settings())
    if not accounts:
        raise UsageError(f"{path} has no accounts: each is a table, as in [work]")
    accounts = {name: settings.over(defaults) for name, settings in accounts.items()}
    for name, settings in accounts.items():
        for needed in ("url", "to"):
            if getattr(settings, needed) is None:
                raise UsageError(f"{path}: [{name}] has no {needed!r}")
    return accounts


def _read_tables(path: str) -> tuple[dict[str, object], str, str]:
    """Return the tables of a file, its text, and why no password may stand in it (empty when one may)."""
    import tomllib  # noqa: PLC0415 - most commands name a URL, and read no configuration

    try:
        octets, objection = read_contents(path)
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}") from None
    except SecretError as error:
        raise UsageError(str(error)) from None
    try:
        # Some editors begin a file with a mark that says that it is UTF-8.
        text = octets.decode("utf-8-sig")
        return tomllib.loads(text), text, objection
    except UnicodeDecodeError:
        raise UsageError(f"{path} is {no_utf8(octets)}") from None
    except tomllib.TOMLDecodeError as error:
        place = re.search(_PLACE, str(error))
        raise UsageError(f"{path} is no TOML{place[0] if place else ''}") from None
    except RecursionError:
        raise UsageError(f"{path} is no TOML that can be read: too many brackets within brackets") from None


def _checked(where: str, table: dict[str, object], text: str) -> dict[str, object]:
    known = {key_of(name): name for name in ABOUT}
    checked: dict[str, object] = {}
    for key, value in table.items():
        name = known.get(key)
        if name is None:
            meant = closest(key, known)
            hint = f"; did you mean {meant!r}?" if meant else ""
            raise UsageError(f"{where} has an unknown key{_line_of(key, text)}{hint}")
        kind = ABOUT[name].kind
        try:
            checked[name] = kind.check(value)
        except ValueError:
            raise UsageError(f"{where}: {key!r} has to be {kind.words}") from None
    return checked


def _line_of(key: str, text: str) -> str:
    """Return on which line of *text* a *key* stands, where that can be found: a sentence may not quote it."""
    found = re.search(rf"""^[ \t]*["']?{re.escape(key)}["']?[ \t]*=""", text, re.MULTILINE)
    return "" if found is None else f" on line {text.count(chr(10), 0, found.start()) + 1}"
