"""The lists of `twins` are true: what they name is there, and what is said to differ does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from twins import DIFFERENCES, INSTEAD, NOT_ASKED

TESTS = Path(__file__).parent.parent

OTHERS = ("test_cli", "test_contrib", "test_fetch", "test_process", "test_scripted")
"""Modules of the rooms above the clients, which have the blocking one, and of the scripted servers themselves."""

BLOCKING_ALONE = {
    "test_close": "another thread closes; a task that is cancelled is `test_aio_cancelling`",
    "test_programs": "poplib's names, hooks and sockets: programs of poplib have no event loop",
    "test_programs_hooks": "as above",
    "test_programs_looks": "as above",
    "test_programs_names": "as above",
    "test_programs_sockets": "as above",
    "test_read_ahead_broken": "nothing is read ahead on a loop: tasks give their commands at once",
    "test_recall": "what an earlier fetch has shown: fetches have the blocking client",
    "test_trust": "certificates of all clients, the asyncio client among them",
    "test_turns": "threads on one connection; tasks are `test_aio_at_once`",
}
"""The modules with scripted servers whose dialogues the asyncio client does not hold, and why."""


def held_again(module: str) -> Path:
    return TESTS / "aio" / f"test_aio_{module.removeprefix('test_')}.py"


def test_each_test_that_is_left_out_is_there_and_each_module_is_held_again() -> None:
    for name in (*DIFFERENCES, *NOT_ASKED):
        module, _, test = name.partition("::")
        assert f"def {test}(" in (TESTS / f"{module}.py").read_text(encoding="utf-8"), name
    for module in INSTEAD:
        assert f'held_again("{module}")' in held_again(module).read_text(encoding="utf-8")


def test_each_module_with_a_scripted_server_is_held_again_or_says_why_not() -> None:
    scripted = {
        path.stem
        for path in TESTS.glob("test_*.py")
        if "\nfrom scripted import " in path.read_text(encoding="utf-8") and not path.stem.startswith(OTHERS)
    }
    # What is written anew for tasks has a file of the same name.
    held = {name for name in scripted if name in INSTEAD or held_again(name).is_file()}
    assert scripted - held == set(BLOCKING_ALONE)


@pytest.mark.timeout(300)  # some of sixty dialogues take two seconds each
def test_each_difference_is_one(tmp_path: Path) -> None:
    # Not every machine has the servers that these ask.
    differing = {name for name in DIFFERENCES if not name.startswith("test_real_")}
    for _ in range(3):  # what fails once differs
        differing -= failing(differing, tmp_path / "failed")
    assert sorted(differing) == []


def failing(names: set[str], failed: Path) -> set[str]:
    """Return which tests of the modules in which *names* are fail with the asyncio client though they are left out."""
    if not names:
        return set()
    files = {str(held_again(name.partition("::")[0])) for name in names}
    options = ["-q", "-p", "no:cacheprovider", "--tb=no", "-rN", "--timeout=2", "-o", "timeout_func_only=true"]
    command = [sys.executable, "-m", "pytest", *options, *files]
    # The options of the surrounding run are left out: -x would end this one at the first error.
    environment = {**os.environ, "PYTEST_ADDOPTS": "", "POP3FAST_TWINS_FAILED": str(failed)}
    # What fails leaves sockets and tasks behind, so it has a process of its own.
    ran = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False)
    assert failed.is_file(), ran.stdout + ran.stderr
    return set(failed.read_text(encoding="utf-8").splitlines())
