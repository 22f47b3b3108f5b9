"""Parser: argparse, but its errors never quote an argument.

What is wrong is said in three lines: how the command is used, what is wrong with it, and where there is more.

Any argument may be a password that somebody put in the wrong place, and what is said about it ends up in a terminal's
history, in the mail of a cron job or in a log. So an argument that makes no sense is named by its place.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from pop3fast.cli._settings import HAS_TO_BE, closest

_REFUSAL = (
    "a password or token among the arguments can be read by every user of this machine: "
    "use --password-command, --password-file or --token-command"
)

# What argparse says that quotes names of options alone; everything else that it says quotes what was typed.
_QUOTES_NOTHING = (
    rf"(argument [^:]+: )?(the following arguments|one of the arguments|expected|not allowed with|{HAS_TO_BE})\b.*"
)
_ABOUT = r"argument [^:]+: "
_CHOICES = "(choose from "
_USUAL_COLUMNS = 80
_SECRETS = {"password", "passwd", "token"}


class RefusedSecret(argparse.Action):
    """An option that must not be: its value would be in the list of processes."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Refuse it."""
        _exit(parser, _REFUSAL)


class Help(argparse.HelpFormatter):
    """The help, with examples as they are written."""

    def __init__(self, prog: str, **more: Any) -> None:  # noqa: ANN401 - argparse's own
        """Write it as wide as the terminal is. argparse makes one for each option, and would import ``shutil`` to."""
        super().__init__(prog, **{"width": _columns() - 2, **more})

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """What reads a command line."""

    def __init__(self, **more: Any) -> None:  # noqa: ANN401 - argparse's own
        """Take no option for another that begins alike: the next version may have both."""
        super().__init__(**{"allow_abbrev": False, "formatter_class": Help, **more})

    def parse_args(  # type: ignore[override]  # the overloads are about the namespace's type
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Return what *args* say; exit with status 2 when they make no sense."""
        given = sys.argv[1:] if args is None else list(args)
        command, unknown = self.parse_known_args(given, namespace)
        if unknown:
            parser: argparse.ArgumentParser = getattr(command, "parser", self)
            _exit(parser, _about(unknown[0], given, parser))
        return command

    def error(self, message: str) -> NoReturn:
        """Say *message*, or as much of it as holds no argument, and exit with status 2."""
        if not re.fullmatch(_QUOTES_NOTHING, message):
            about = re.match(_ABOUT, message)
            _, _, choices = message.rpartition(_CHOICES) if _CHOICES in message else ("", "", "")
            message = (
                f"{about[0] if about else ''}makes no sense{f'; choose from {choices}'.rstrip(')') * bool(choices)}"
            )
        _exit(self, message)


def _columns() -> int:
    """Return how wide the terminal is, as ``shutil.get_terminal_size`` finds it out."""
    with suppress(KeyError, ValueError):
        if (said := int(os.environ["COLUMNS"])) > 0:
            return said
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or _USUAL_COLUMNS  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        return _USUAL_COLUMNS  # there is no output, or it is no terminal


def _exit(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """Say how the command is used, what is wrong and where there is more, a line each, and exit with status 2."""
    parser.print_usage(sys.stderr)
    parser.exit(2, f"{parser.prog}: error: {message}\ntry: {parser.prog} --help\n")


def _about(argument: str, given: list[str], parser: argparse.ArgumentParser) -> str:
    """Return what there is to say of an *argument* among those *given* that *parser* knows nothing of."""
    name = argument.partition("=")[0]
    known = {option.removeprefix("--") for option in parser._option_string_actions if option.startswith("--")}
    meant = closest(name.removeprefix("--"), known | _SECRETS) if name.startswith("--") else None
    if meant in _SECRETS:
        return _REFUSAL
    hint = f"; did you mean --{meant}?" if meant else ""
    # The last place: at an earlier one the same words may have made sense.
    place = len(given) - given[::-1].index(argument) if argument in given else 0
    return f"argument {place} makes no sense here{hint}" if place else f"an argument makes no sense here{hint}"
