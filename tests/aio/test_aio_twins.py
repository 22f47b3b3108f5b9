"""The lists of `twins` are true: what they name is there, and what is said to differ does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from twins import DIFFERENCES, INSTEAD, NOT_ASKED

TESTS = Path(__file__).parent.parent


def held_again(module: str) -> Path:
    return TESTS / "aio" / f"test_aio_{module.removeprefix('test_')}.py"


def test_each_test_that_is_left_out_is_there_and_each_module_is_held_again() -> None:
    for name in (*DIFFERENCES, *NOT_ASKED):
        module, _, test = name.partition("::")
        assert f"def {test}(" in (TESTS / f"{module}.py").read_text(encoding="utf-8"), name
    for module in INSTEAD:
        assert f'held_again("{module}")' in held_again(module).read_text(encoding="utf-8")


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
