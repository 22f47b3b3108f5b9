"""Parser: argparse, but its errors never quote an argument.

Any argument may be a password that somebody put in the wrong place, and what is said about it ends up in a terminal's
history, in the mail of a cron job or in a log. So an argument that makes no sense is named by its place.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NoReturn

from pop3fast.cli._settings import HAS_TO_BE, Settings, key_of

_REFUSAL = (
    "a password or token among the arguments can be read by every user of this machine: "
    "use --password-command, --password-file or --token-command"
)

# What argparse says that has names of options in it and nothing else; what it says besides quotes what was typed.
_QUOTES_NOTHING = re.compile(
    rf"(argument [^:]+: )?(the following arguments|one of the arguments|expected|not allowed with|{HAS_TO_BE})\b.*"
)
_ABOUT = re.compile(r"argument [^:]+: ")
_CHOICES = "(choose from "
_SECRETS = ("--password", "--passwd", "--token")


class RefusedSecret(argparse.Action):
    """An option that must not be: its value would be in the list of processes."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Refuse it."""
        _exit(parser, _REFUSAL)


class Parser(argparse.ArgumentParser):
    """What reads a command line."""

    def __init__(self, **more: Any) -> None:  # noqa: ANN401 - argparse's own
        """Take no option for another that begins alike: the next version may have both."""
        super().__init__(**{"allow_abbrev": False, **more})

    def parse_args(  # type: ignore[override]  # the overloads are about the namespace's type
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Return what *args* say; exit with status 2 when they make no sense."""
        given = sys.argv[1:] if args is None else list(args)
        command, unknown = self.parse_known_args(given, namespace)
        if unknown:
            _exit(self, _about(unknown[0], given))
        return command

    def error(self, message: str) -> NoReturn:
        """Say *message*, or as much of it as holds no argument, and exit with status 2."""
        if not _QUOTES_NOTHING.fullmatch(message):
            about = _ABOUT.match(message)
            _, _, choices = message.rpartition(_CHOICES) if _CHOICES in message else ("", "", "")
            message = (
                f"{about[0] if about else ''}makes no sense{f'; choose from {choices}'.rstrip(')') * bool(choices)}"
            )
        _exit(self, message)


def _exit(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    argparse.ArgumentParser.error(parser, message)


def _about(argument: str, given: list[str]) -> str:
    """Return what there is to say of an *argument* among those *given* that nothing is known of."""
    import difflib  # noqa: PLC0415 - for this alone

    name = argument.partition("=")[0]
    known = [*_SECRETS, *(f"--{key_of(setting.name)}" for setting in fields(Settings))]
    alike = difflib.get_close_matches(name, known, 1) if name.startswith("--") else []
    if alike and alike[0] in _SECRETS:
        return _REFUSAL
    hint = f"; did you mean {alike[0]}?" if alike else ""
    # The last of its kind: one that is the same may have been welcome before.
    place = len(given) - given[::-1].index(argument) if argument in given else 0
    return f"argument {place} makes no sense here{hint}" if place else f"an argument makes no sense here{hint}"
