"""`pop3fast completion`: what lets a shell complete commands and options.

Made from the parser, so that it knows every option that there is; a script runs nothing of ours when somebody presses
the tabulator.
"""

import argparse
import re
from typing import NamedTuple

from pop3fast.cli._arguments import make_parser
from pop3fast.cli._text import say


class _Option(NamedTuple):
    names: list[str]
    words: str
    has_value: bool
    is_file: bool


class _Command(NamedTuple):
    name: str
    words: str
    options: list[_Option]
    choices: list[str]
    """What may stand behind it that is no option."""


def completion(shell: str) -> int:
    """Write the script for *shell*; return the exit status."""
    say({"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](_commands()))
    return 0


def _commands() -> list[_Command]:
    parser = make_parser()
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    words = {choice.dest: choice.help or "" for choice in subparsers._choices_actions}
    return [
        _Command(
            name,
            words[name],
            [_option(action) for action in one._actions if action.option_strings and action.help != argparse.SUPPRESS],
            [
                str(choice)
                for action in one._actions
                if not action.option_strings and action.choices
                for choice in action.choices
            ],
        )
        for name, one in subparsers.choices.items()
    ]


def _option(action: argparse.Action) -> _Option:
    is_file = action.metavar == "FILE"
    return _Option([*action.option_strings], (action.help or "").replace("%%", "%"), action.nargs != 0, is_file)


def _bash(commands: list[_Command]) -> str:
    cases = []
    for command in commands:
        files = "|".join(name for option in command.options if option.is_file for name in option.names)
        values = "|".join(
            name for option in command.options if option.has_value and not option.is_file for name in option.names
        )
        words = " ".join([*(name for option in command.options for name in option.names), *command.choices])
        cases.append(
            f"    {command.name})\n"
            + (
                f'      case $before in {files}) COMPREPLY=($(compgen -f -- "$word")); return ;; esac\n'
                if files
                else ""
            )
            + (f"      case $before in {values}) return ;; esac\n" if values else "")
            + f'      COMPREPLY=($(compgen -W "{words}" -- "$word")) ;;\n'
        )
    names = " ".join(command.name for command in commands)
    return (
        "# pop3fast completion bash\n"
        "_pop3fast() {\n"
        "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
        "  case ${COMP_WORDS[1]} in\n"
        f"{''.join(cases)}"
        f'    *) COMPREPLY=($(compgen -W "{names} --help --version" -- "$word")) ;;\n'
        "  esac\n"
        "}\n"
        "complete -F _pop3fast pop3fast"
    )


def _zsh(commands: list[_Command]) -> str:
    cases = []
    for command in commands:
        lines = []
        for option in command.options:
            value = f":{'file:_files' if option.is_file else 'value:'}" if option.has_value else ""
            lines += [f"        '{name}[{_in_zsh(option.words)}]{value}' \\\n" for name in option.names]
        behind = f"'*:word:({' '.join(command.choices)})'" if command.choices else "'*:account:'"
        cases.append(f"    {command.name})\n      _arguments \\\n{''.join(lines)}        {behind} ;;\n")
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
            value = " -r -F" if option.is_file else " -x" if option.has_value else ""
            lines.append(f"{of_command} {names}{value} -d {_in_fish(option.words)}")
        if command.choices:
            lines.append(f"{of_command} -a '{' '.join(command.choices)}'")
    return "\n".join(lines)


def _in_zsh(words: str) -> str:
    return re.sub(r"([\[\]:\\])", r"\\\1", words).replace("'", "'\\''")


def _in_fish(words: str) -> str:
    return "'" + words.replace("\\", "\\\\").replace("'", "\\'") + "'"
