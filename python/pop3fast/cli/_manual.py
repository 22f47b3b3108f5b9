"""The manual page, `pop3fast.1`: made of what the parser says, so that it has every command and option that there is.

Owns the form (man(7)), and what is in no command's help: files, the environment, exit statuses. Run as a module, it
writes the page to the standard output.
"""

import argparse
import re
import sys

from pop3fast.cli._arguments import make_parser

_FILES = (
    (
        "~/.config/pop3fast/config.toml",
        "The accounts: a table for each, with the options' names as keys, and [defaults].",
    ),
    (
        "pop3fast.sqlite",
        "In a Maildir or a folder of files: what was fetched. Beside an mbox it is PATH.pop3fast.sqlite.",
    ),
    ("~/.local/state/pop3fast/", "The same for other destinations."),
    ("~/.netrc", "Passwords by host and user."),
)
_ENVIRONMENT = (
    ("POP3FAST_PASSWORD", "The password, for a command about one account."),
    ("NETRC", "Another file in the place of ~/.netrc."),
    ("ALL_PROXY, NO_PROXY", "The proxy without --proxy, and what is reached without one."),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME", "Other folders in the place of ~/.config and ~/.local/state."),
)
_STATUSES = (
    ("0", "All is well."),
    ("1", "Some messages failed, or accounts differ in how they ended."),
    ("2", "Wrong usage."),
    ("3", "No connection, or no TLS."),
    ("4", "The login was refused, or there is no password."),
    ("5", "The destination or the state cannot be written."),
    ("6", "Another run has the account now."),
    ("130", "Interrupted: what was delivered stays delivered."),
)


def manual() -> str:
    """Return the page."""
    parser = make_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    words = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    lines = [
        '.TH POP3FAST 1 "" pop3fast "User Commands"',
        ".SH NAME",
        rf"pop3fast \- {_roff('retrieve mail by POP3, fast')}",
        ".SH SYNOPSIS",
        *(f".B {_roff(_usage(one))}\n.br" for one in commands.choices.values()),
        ".SH DESCRIPTION",
        _roff("Retrieves mail by POP3. Each message arrives once, and nothing is deleted unless you ask for it."),
        ".SH COMMANDS",
    ]
    for name, one in commands.choices.items():
        lines += [f".SS {_roff(f'{name}: {words[name]}')}", _roff(one.description or "")]
        for group in one._action_groups:
            lines += _group(group)
        if one.epilog:
            lines += [".PP", "Examples:", ".PP", ".nf", *map(_roff, one.epilog.splitlines()[1:]), ".fi"]
    for title, rows in (("FILES", _FILES), ("ENVIRONMENT", _ENVIRONMENT), ("EXIT STATUS", _STATUSES)):
        lines.append(f".SH {title}")
        for name, meaning in rows:
            lines += [".TP", f".B {_roff(name)}", _roff(meaning)]
    return "\n".join(lines) + "\n"


def _group(group: argparse._ArgumentGroup) -> list[str]:
    shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
    lines = [".PP", rf"\fI{_roff(group.title or '')}\fR"] if shown else []
    for action in shown:
        value = (
            "" if action.nargs == 0 else f" [{action.metavar}]" if action.nargs == "?" else f" {action.metavar or ''}"
        )
        names = ", ".join(f"{name}{value}" for name in action.option_strings) or str(action.metavar or "")
        lines += [".TP", f".B {_roff(names)}", _roff((action.help or "").replace("%%", "%"))]
    return lines


def _usage(parser: argparse.ArgumentParser) -> str:
    return re.sub(r"\s+", " ", parser.format_usage().removeprefix("usage: ")).strip()


def _roff(text: str) -> str:
    """Return *text* as man(7) has it: no character of it means anything."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    sys.stdout.write(manual())
