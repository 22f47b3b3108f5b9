"""`pop3fast completion`: what lets a shell complete commands and options.

Made from the parser, so that it knows every option that there is; a script runs nothing of ours when somebody presses
Tab.
"""

import argparse
import re
from collections.abc import Sequence
from typing import NamedTuple

from pop3fast.cli._arguments import make_parser
from pop3fast.cli._text import say

_BY_NARGS: dict[int | str | None, str] = {0: "no", "?": "may"}
_AFTER_IN_ZSH = {"no": "", "may": "::value:", "must": ":value:", "file": ":file:_files"}
_AFTER_IN_FISH = {"no": "", "may": "", "must": " -x", "file": " -r -F"}


class _Option(NamedTuple):
    names: list[str]
    words: str
    value: str
    """What follows it: ``no`` value, one that ``may`` or ``must`` be there, or a ``file``."""


class _Command(NamedTuple):
    name: str
    words: str
    options: list[_Option]
    choices: list[str]
    """What may stand behind it that is no option."""
    takes_file: bool
    """Whether that is a file."""

    def options_with(self, value: str) -> list[str]:
        """Return the names of the options that are followed by such a *value*."""
        return [name for option in self.options if option.value == value for name in option.names]


def completion(shell: str) -> int:
    """Write the script for *shell*; return the exit status."""
    say({"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](_commands()))
    return 0


def _commands() -> list[_Command]:
    parser = make_parser()
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    words = {choice.dest: choice.help or "" for choice in subparsers._choices_actions}
    return [_command(name, words[name], one._actions) for name, one in subparsers.choices.items()]


def _command(name: str, words: str, actions: Sequence[argparse.Action]) -> _Command:
    behind = [action for action in actions if not action.option_strings]
    return _Command(
        name,
        words,
        [_option(action) for action in actions if action.option_strings and action.help != argparse.SUPPRESS],
        [str(choice) for action in behind for choice in action.choices or ()],
        any(action.metavar == "FILE" for action in behind),
    )


def _option(action: argparse.Action) -> _Option:
    value = "file" if action.metavar == "FILE" else _BY_NARGS.get(action.nargs, "must")
    return _Option([*action.option_strings], (action.help or "").replace("%%", "%"), value)


def _bash(commands: list[_Command]) -> str:
    cases = "".join(
        f"    {command.name})\n"
        f"{_bash_case('before', command.options_with('file'), '_pop3fast_files; return')}"
        f"{_bash_case('before', command.options_with('must'), 'return')}"
        f"{_bash_case('word', ['[!-]*', chr(39) * 2], '_pop3fast_files; return') if command.takes_file else ''}"
        f'      words="{" ".join([*(name for one in command.options for name in one.names), *command.choices])}" ;;\n'
        for command in commands
    )
    return (
        "# pop3fast completion bash\n"
        "_pop3fast_files() {\n"
        "  local name\n"
        "  # It puts a backslash before a blank in a name; the shell of macOS does not have it.\n"
        "  compopt -o filenames 2>/dev/null\n"
        '  while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$word")\n'
        "}\n"
        "_pop3fast() {\n"
        "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
        f'  local words="{" ".join([*(command.name for command in commands), "--help", "--version"])}"\n'
        "  COMPREPLY=()\n"
        "  [ $COMP_CWORD -gt 1 ] && case ${COMP_WORDS[1]} in\n"
        f"{cases}"
        "    *) return ;;\n"
        "  esac\n"
        '  COMPREPLY=($(compgen -W "$words" -- "$word"))\n'
        "}\n"
        "complete -F _pop3fast pop3fast"
    )


def _bash_case(variable: str, patterns: list[str], then: str) -> str:
    return f"      case ${variable} in {'|'.join(patterns)}) {then} ;; esac\n" if patterns else ""


def _zsh(commands: list[_Command]) -> str:
    cases = []
    for command in commands:
        lines = [
            f"        '{name}[{_in_zsh(option.words)}]{_AFTER_IN_ZSH[option.value]}' \\\n"
            for option in command.options
            for name in option.names
        ]
        behind = f"word:({' '.join(command.choices)})" if command.choices else "account:"
        if command.takes_file:
            behind = "file:_files"
        cases.append(f"    {command.name})\n      _arguments \\\n{''.join(lines)}        '*:{behind}' ;;\n")
    names = "".join(f"    '{command.name}:{_in_zsh(command.words)}'\n" for command in commands)
    return (
        "#compdef pop3fast\n"
        "_pop3fast() {\n"
        "  local -a commands\n"
        f"  commands=(\n{names}  )\n"
        "  if (( CURRENT == 2 )); then\n"
        "    _describe command commands\n"
        "    return\n"
        "  fi\n"
        "  local command=${words[2]}\n"
        "  shift words\n"
        "  (( CURRENT-- ))\n"
        "  case $command in\n"
        f"{''.join(cases)}"
        "  esac\n"
        "}\n"
        '_pop3fast "$@"'
    )


def _fish(commands: list[_Command]) -> str:
    lines = ["# pop3fast completion fish", "complete -c pop3fast -f"]
    for command in commands:
        lines.append(f"complete -c pop3fast -n __fish_use_subcommand -a {command.name} -d {_in_fish(command.words)}")
        of_command = f"complete -c pop3fast -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            names = " ".join(
                f"-l {name.removeprefix('--')}" if name.startswith("--") else f"-s {name.removeprefix('-')}"
                for name in option.names
            )
            lines.append(f"{of_command} {names}{_AFTER_IN_FISH[option.value]} -d {_in_fish(option.words)}")
        if command.choices:
            lines.append(f"{of_command} -a '{' '.join(command.choices)}'")
        if command.takes_file:
            lines.append(f"{of_command} -F")
    return "\n".join(lines)


def _in_zsh(words: str) -> str:
    return re.sub(r"([\[\]:\\])", r"\\\1", words).replace("'", "'\\''")


def _in_fish(words: str) -> str:
    return "'" + words.replace("\\", "\\\\").replace("'", "\\'") + "'"
