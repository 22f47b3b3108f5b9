"""The types hold: of the extension against its stub, of package and tests, of every public name, of the drop-in.

Runs the type checkers as a developer would, from the project's folder and with its configuration, and reads what they
say they checked: a checker that found nothing to check has not passed.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pop3fast

ROOT = Path(__file__).parent.parent
PACKAGE = Path(pop3fast.__file__).parent
DROP_IN = ROOT / "tests" / "typing" / "drop_in.py"
CLAIMS = (DROP_IN, ROOT / "tests" / "typing" / "on_a_loop.py")

# A type checker that has nothing in its cache reads the standard library's types first, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)


def run(*arguments: str | Path, path: Path = PACKAGE.parent, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a module of this Python with the project's package on the *path*, and return it with its output."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(path), **environment},
        text=True,
        timeout=280,
    )


def checked(done: subprocess.CompletedProcess[str], pattern: str) -> int:
    """Return the number of things that a run that found nothing wrong says it has checked."""
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(pattern, done.stdout)
    assert found is not None, done.stdout
    return int(found[1])


def test_the_stub_says_what_the_extension_is() -> None:
    done = run("mypy.stubtest", "pop3fast._framing", "--mypy-config-file", "pyproject.toml")  # and no allow-list
    assert checked(done, r"Success: no issues found in (\d+) module") == 1


def test_a_stub_that_is_wrong_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "pop3fast"
    wrong.mkdir()
    (wrong / "__init__.pyi").touch()
    stub = (PACKAGE / "_framing.pyi").read_text(encoding="utf-8")
    (wrong / "_framing.pyi").write_text(
        stub.replace("def feed(self, octets", "def feed(self, letters"), encoding="utf-8"
    )
    configuration = tmp_path / "mypy.ini"
    configuration.write_text(f"[mypy]\nmypy_path = {tmp_path}\n", encoding="utf-8")
    done = run("mypy.stubtest", "pop3fast._framing", "--mypy-config-file", configuration)
    assert done.returncode == 1
    assert "pop3fast._framing.Framer.feed" in done.stdout


def test_package_and_tests_are_strictly_typed() -> None:
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi"), *(ROOT / "tests").rglob("*.py")]
    done = run("mypy", "--strict")
    assert checked(done, r"Success: no issues found in (\d+) source files") >= len(files) > 0


def test_results_have_the_types_of_poplibs_awaited_or_not() -> None:
    assert checked(run("mypy", "--strict", *CLAIMS), r"Success: no issues found in (\d+) source file") == len(CLAIMS)


def test_results_have_the_types_of_poplibs_for_pyright_too() -> None:
    done = run("basedpyright", "--level", "error", "--outputjson", *CLAIMS)
    report = json.loads(done.stdout)
    assert [one["message"] for one in report["generalDiagnostics"]] == []
    assert report["summary"]["filesAnalyzed"] == len(CLAIMS)


def test_a_wrong_type_of_a_result_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    right = DROP_IN.read_text(encoding="utf-8")
    wrong.write_text(
        right.replace("assert_type(pop.list(1), bytes)", "assert_type(pop.list(1), str)"), encoding="utf-8"
    )
    done = run("mypy", "--strict", wrong)
    assert done.returncode == 1
    assert 'Expression is of type "bytes", not "str"' in done.stdout
    assert "Found 1 error in 1 file" in done.stdout


def test_the_type_of_every_public_name_is_known() -> None:
    done = run("basedpyright", "--verifytypes", "pop3fast", "--ignoreexternal", "--outputjson")
    report = json.loads(done.stdout)["typeCompleteness"]
    unknown = [
        f"{symbol['name']}: {diagnostic['message']}"
        for symbol in report["symbols"]
        for diagnostic in symbol["diagnostics"]
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
    ]
    assert unknown == []
    assert report["completenessScore"] == 1
    # By whichever of its modules a name is called.
    of_aio = {
        symbol["name"].rpartition(".")[2] for symbol in report["symbols"] if symbol["name"].startswith("pop3fast.aio.")
    }
    assert {"POP3", "connect", "fetch_many"} <= of_aio
    assert Path(report["pyTypedPath"]).samefile(PACKAGE / "py.typed")
    counts = report["exportedSymbolCounts"]
    assert counts["withKnownType"] >= len(pop3fast.__all__) > 0
    assert counts["withAmbiguousType"] == counts["withUnknownType"] == 0
