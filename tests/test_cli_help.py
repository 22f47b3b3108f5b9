"""The help and the manual page: the same source, in groups, with units, defaults and examples that work."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from commandline import Here
from pop3fast.cli._arguments import EXAMPLES, make_parser
from pop3fast.cli._manual import manual
from pop3fast.cli._settings import ABOUT, COUNT, DAYS, FORMS, SECONDS, SIZE, About
from pop3fast.fetch import destination_forms

PAGE = Path(__file__).parent.parent / "pop3fast.data/data/share/man/man1/pop3fast.1"
GROUPS = [
    "positional arguments:",
    "options:",
    "logging in:",
    "certificates and TLS:",
    "connecting:",
    "where the mail goes:",
    "what is deleted from the server:",
    "what is fetched:",
    "running unattended:",
    "what is printed:",
    "examples:",
]


def test_the_help_of_fetch_is_in_groups_and_ends_with_examples(here: Here) -> None:
    said = here("fetch", "--help", status=0).out
    assert re.findall(r"^[a-zT][a-zTLS ]+:$", said, re.MULTILINE) == GROUPS
    assert said.rstrip().endswith("pop3fast fetch --all --every 300 --log ~/pop3fast.log --quiet")


def test_the_help_knows_the_destinations_that_there_are() -> None:
    assert destination_forms() == FORMS


@pytest.mark.parametrize("found", ABOUT.values(), ids=ABOUT)
def test_each_number_has_its_unit_and_its_default(found: About) -> None:
    if found.kind in {SECONDS, DAYS, SIZE, COUNT} and found.group != "file":
        assert "(default: " in found.help or "; default: " in found.help
        assert found.kind.metavar in {"SECONDS", "DAYS", "SIZE", "N"}


@pytest.mark.parametrize("line", [line for text in EXAMPLES.values() for line in text.splitlines()[1:]])
def test_each_example_is_a_command_that_there_is(line: str) -> None:
    program, *arguments = shlex.split(re.split(r" [|>]", line)[0])
    assert program == "pop3fast"
    assert make_parser().parse_args(arguments).command == arguments[0]


def test_the_manual_page_has_every_option_and_means_nothing_by_accident(here: Here) -> None:
    page = manual().replace("\\-", "-")
    for command in ("fetch", "fleet", "list", "show", "check", "status", "capa", "import-config", "completion", "demo"):
        for option in re.findall(r"^  (-.*?)(?:  |$)", here(command, "--help", status=0).out, re.MULTILINE):
            if option != "-h, --help":
                assert f".B {option}" in page, (command, option)
    assert not re.search(r"^[.'](?!(TH|SH|SS|TP|PP|B|br|nf|fi)\b)", page, re.MULTILINE)
    man = shutil.which("man")
    if man is not None:
        done = subprocess.run(
            [man, "--warnings", "-l", str(PAGE)], capture_output=True, text=True, check=False, timeout=30
        )
        assert "warning" not in done.stderr
