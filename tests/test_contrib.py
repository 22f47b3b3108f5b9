"""contrib/: what runs the command by itself says what it understands, as far as that shows without an engine."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from pop3fast.cli._arguments import make_parser

CONTRIB = Path(__file__).parent.parent / "contrib"


def text_of(name: str) -> str:
    return (CONTRIB / name).read_text(encoding="utf-8")


def unit(name: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # the keys of a unit are in capitals
    parser.read_string(text_of(name))
    return parser


def commands() -> dict[str, list[str]]:
    (line,) = [line for line in text_of("crontab").splitlines() if line.startswith("*")]
    entry, words = (
        re.search(rf"^{key} \[(.*)\]$", text_of("Dockerfile"), re.MULTILINE) for key in ("ENTRYPOINT", "CMD")
    )
    assert entry is not None
    assert words is not None
    return {
        "service": shlex.split(unit("pop3fast.service")["Service"]["ExecStart"]),
        "crontab": shlex.split(line)[5:],
        "Dockerfile": re.findall('"([^"]*)"', f"{entry[1]} {words[1]}"),
    }


@pytest.mark.parametrize("kind", ["service", "crontab", "Dockerfile"])
def test_each_runs_a_command_that_there_is(kind: str) -> None:
    program, *arguments = commands()[kind]
    assert program == "pop3fast"
    command = make_parser().parse_args(arguments)
    assert (command.command, command.all) == ("fetch", True)


def test_a_run_that_another_one_is_in_the_way_of_is_no_failure_of_the_service() -> None:
    assert unit("pop3fast.service")["Service"]["SuccessExitStatus"] == "6"


def test_the_timer_is_the_service_s() -> None:
    timer = unit("pop3fast.timer")
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert {"OnBootSec", "OnUnitInactiveSec", "RandomizedDelaySec"} <= set(timer["Timer"])


def test_the_container_runs_as_nobody() -> None:
    lines = text_of("Dockerfile").splitlines()
    last_stage = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    assert "USER 65534:65534" in last_stage
    assert not any(line.startswith(("ENV POP3FAST_PASSWORD", "ARG")) for line in lines)


def test_systemd_says_that_the_service_may_do_little() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd")
    done = subprocess.run(
        [analyze, "--offline=true", "security", str(CONTRIB / "pop3fast.service")],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    level = re.search(r"Overall exposure level for pop3fast\.service: ([0-9.]+) (\w+)", done.stdout)
    if level is None:
        pytest.skip("this systemd-analyze does not look at a file")
    assert level[2] == "OK"
