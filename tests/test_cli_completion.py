"""`pop3fast completion`: each shell is told of every command, every option, and what may stand behind it."""

import argparse
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from commandline import SECONDS, Here
from pop3fast.cli._arguments import SHELLS, make_parser


def parsers() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (each for each in make_parser()._actions if isinstance(each, argparse._SubParsersAction))
    return dict(commands.choices)


PARSERS = parsers()

FILES = {"import-config"}
"""The commands behind which a file stands."""

CHOICES = {"oauth": {"login"}, "completion": {*SHELLS}}
"""The commands behind which one of a few words stands."""


def options_of(command: str) -> dict[str, str]:
    """Return the options of *command*, each with what has to follow it: ``no``, ``may``, ``must`` or ``file``."""
    return {
        name: "file" if one.metavar == "FILE" else "no" if one.nargs == 0 else "may" if one.nargs == "?" else "must"
        for one in PARSERS[command]._actions
        if one.help != argparse.SUPPRESS
        for name in one.option_strings
    }


def completed_by_bash(script: str, folder: Path, *words: str) -> set[str]:
    """Return what bash offers where the last of *words* is being written."""
    ask = 'COMP_WORDS=(pop3fast "$@"); COMP_CWORD=$#; _pop3fast; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{ask}", "bash", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stderr == ""
    return {*done.stdout.splitlines()} - {""}


def test_what_this_test_knows_of_the_commands_is_true() -> None:
    assert {*PARSERS} >= FILES | {*CHOICES}
    for name, parser in PARSERS.items():
        behind = [each for each in parser._actions if not each.option_strings]
        assert any(each.metavar == "FILE" for each in behind) == (name in FILES)
        assert {choice for each in behind for choice in each.choices or ()} == CHOICES.get(name, set())
    assert {kind for name in PARSERS for kind in options_of(name).values()} == {"no", "may", "must", "file"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_one_that_its_shell_can_read(shell: str, here: Here) -> None:
    script = here("completion", shell, status=0).out
    assert "--password " not in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell}")
    subprocess.run([program, "-n"], input=script, text=True, check=True, timeout=SECONDS)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize("command", PARSERS)
def test_bash_completes_every_option_of_a_command_and_none_of_others(command: str, here: Here) -> None:
    script = here("completion", "bash", status=0).out
    (here.home / "a file.pem").touch()
    (here.home / "*").touch()
    options = options_of(command)
    assert completed_by_bash(script, here.home, command, "-") == {*options}
    behind = completed_by_bash(script, here.home, command, "")
    assert behind == ({"a file.pem", "*"} if command in FILES else {*options} | CHOICES.get(command, set()))
    after = {
        "no": {*options} | CHOICES.get(command, set()),
        "may": {*options},
        "must": set(),
        "file": {"a file.pem", "*"},
    }
    for kind in {*options.values()}:
        option = next(name for name in options if options[name] == kind)
        expected = behind if command in FILES and kind == "no" else after[kind]
        assert completed_by_bash(script, here.home, command, option, "") == expected, option


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("", {*PARSERS, "--help", "--version"}),
        ("fe", {"fetch"}),
        # A word becomes the command only when a blank follows it.
        ("fetch", {"fetch"}),
        ("-", {"--help", "--version"}),
        ("nothing ", set()),
        ("fetch --del", {"--delete", "--delete-after"}),
        ("list --del", set()),
        ("completion z", {"zsh"}),
        ("fetch --ca-file he", {"here.pem"}),
        ("import-config he", {"here.pem"}),
        ("fetch --fetch-again --al", {"--all"}),
    ],
)
def test_bash_completes_a_word(words: str, completed: set[str], here: Here) -> None:
    script = here("completion", "bash", status=0).out
    (here.home / "here.pem").touch()
    assert completed_by_bash(script, here.home, *words.split(" ")) == completed


def test_zsh_is_told_of_every_command_and_option_and_what_follows_it(here: Here) -> None:
    script = here("completion", "zsh", status=0).out
    assert {*re.findall(r"^    '([a-z-]+):", script, re.MULTILINE)} == {*PARSERS}
    blocks = re.findall(r"^    ([a-z-]+)\)\n      _arguments (.*?) ;;$", script, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in blocks] == [*PARSERS]
    follows = {"": "no", "::value:": "may", ":value:": "must", ":file:_files": "file"}
    for command, block in blocks:
        told = re.findall(r"^ +'(-[^\[]+)\[.*(?<!\\)\](:[a-z:_]*|)' \\$", block, re.MULTILINE)
        assert {name: follows[value] for name, value in told} == options_of(command)
        (behind,) = re.findall(r"'\*:(.*)'$", block)
        words = " ".join(choice for each in PARSERS[command]._actions for choice in each.choices or ())
        assert behind == ("file:_files" if command in FILES else f"word:({words})" if words else "account:")


def test_fish_is_told_of_every_command_and_option_and_what_follows_it(here: Here) -> None:
    script = here("completion", "fish", status=0).out
    assert re.findall(r"-n __fish_use_subcommand -a (\S+) ", script) == [*PARSERS]
    follows = {"": "no", " -x": "must", " -r -F": "file"}
    for command in PARSERS:
        form = rf"^complete -c pop3fast -n '__fish_seen_subcommand_from {command}' (.*)$"
        lines = re.findall(form, script, re.MULTILINE)
        told: dict[str, str] = {}
        for line in lines:
            if (found := re.fullmatch(r"((?:-[ls] \S+ ?)+?)((?: -x| -r -F)?) -d '.*'", line)) is not None:
                names = re.findall(r"-([ls]) (\S+)", found[1])
                told |= {("--" if form == "l" else "-") + name: follows[found[2]] for form, name in names}
        assert told == {name: "no" if kind == "may" else kind for name, kind in options_of(command).items()}
        assert ("-F" in lines) == (command in FILES)
        (words,) = [line for line in lines if line.startswith("-a ")] or [""]
        assert {*words.removeprefix("-a ").strip("'").split()} == CHOICES.get(command, set())


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish")
def test_fish_completes(here: Here) -> None:
    script = here("completion", "fish", status=0).out
    (here.home / "here.pem").touch()
    for words, completed in (
        ("fe", {"fetch"}),
        ("list --head", {"--headers"}),
        ("list --del", set()),
        ("completion z", {"zsh"}),
        ("fetch --ca-file he", {"here.pem"}),
        ("import-config he", {"here.pem"}),
        ("fetch he", set()),
    ):
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"{script}\ncomplete -C 'pop3fast {words}'"],
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
            cwd=here.home,
            env={
                **os.environ,
                "HOME": str(here.home),
                "XDG_DATA_HOME": str(here.home),
                "XDG_CONFIG_HOME": str(here.home),
            },
        )
        assert {line.partition("\t")[0] for line in done.stdout.splitlines()} == completed, words


def test_a_shell_that_nobody_knows_is_status_2(here: Here) -> None:
    ran = here("completion", "tcsh", status=2)
    # With or without quotation marks, by the version of Python.
    assert "choose from bash, zsh, fish" in ran.err.replace("'", "")
