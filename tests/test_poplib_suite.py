"""CPython's own tests of poplib pass with pop3fast in poplib's place, on every CPython that is here.

Owns the search for interpreters and the run of `test.test_poplib`, each in a process of its own. The suite is the
interpreter's: nothing of it is copied, and nothing is skipped that it would not skip for the standard library. An
interpreter that is found but cannot be used is a skip that says why, never a pass.
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import pop3fast

# The oldest Python that is supported, and one more than the newest that was known when this was written.
OLDEST = (3, 11)
NEWEST = (3, 16)

# The suite takes eight seconds with poplib, most of them asleep in its own server. Five times that.
SUITE_SECONDS = 40

PROBE = """
import importlib.util, json, os, sys, sysconfig
suite = importlib.util.find_spec("test") and importlib.util.find_spec("test.test_poplib")
print(json.dumps({
    "name": sys.implementation.name,
    "version": sys.version_info[:3],
    "path": os.path.realpath(sys.executable),
    "has_suite": suite is not None,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}))
"""

RUNNER = """
import io, json, sys, unittest
place = sys.argv[1]
if place == "stdlib":
    import poplib as wanted
else:
    import pop3fast as wanted
    if place == "sys.modules":
        sys.modules["poplib"] = wanted
    elif place == "install_as_poplib":
        wanted.install_as_poplib()
    else:
        raise SystemExit(f"no such place: {place}")

clients = set()
def watch(event, args):
    if event == "poplib.connect":
        clients.add(f"{type(args[0]).__module__}.{type(args[0]).__qualname__}")
sys.addaudithook(watch)

import test.test_poplib as suite

ran = []
class Result(unittest.TextTestResult):
    def startTest(self, test):
        ran.append(test.id())
        super().startTest(test)

def each(tests):
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test.id()

tests = unittest.defaultTestLoader.loadTestsFromModule(suite)
if sys.argv[2:] == ["--list"]:
    print(json.dumps(sorted(each(tests))))
    raise SystemExit
text = io.StringIO()
result = unittest.TextTestRunner(stream=text, resultclass=Result, verbosity=2).run(tests)
print(json.dumps({
    "module": suite.poplib.__name__,
    "file": suite.poplib.__file__,
    "same_module": suite.poplib is wanted,
    "clients": sorted(clients),
    "count": result.testsRun,
    "ran": sorted(ran),
    "skipped": sorted([test.id(), reason] for test, reason in result.skipped),
    "bad": [test.id() for test, _ in result.failures + result.errors + result.expectedFailures]
        + [test.id() for test in result.unexpectedSuccesses],
    "text": text.getvalue(),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A CPython that runs."""

    path: Path
    version: tuple[int, ...]
    has_suite: bool
    free_threaded: bool

    def __str__(self) -> str:
        return ".".join(map(str, self.version)) + ("t" if self.free_threaded else "")


@dataclass(frozen=True)
class SuiteRun:
    """What became of one run of the suite."""

    module: str
    file: str
    same_module: bool
    clients: list[str]
    count: int
    ran: list[str]
    skipped: list[list[str]]
    bad: list[str]
    text: str


def environment() -> dict[str, str]:
    """Give the environment without what would lead one interpreter to another's modules."""
    dropped = {"PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    return {name: value for name, value in os.environ.items() if name not in dropped}


def candidates() -> Iterator[Path]:
    """Give every file that may be a CPython; some are wrappers that do not run, many are the same."""
    yield Path(sys.executable)
    names = ["python3", *(f"python3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1))]
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders += [Path("/usr/bin"), Path("/usr/local/bin")]
    for root in {Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser(), Path("~/.pyenv").expanduser()}:
        folders += sorted(root.glob("versions/3.*/bin"))
    for folder in folders:
        for name in names:
            if os.access(folder / name, os.X_OK):
                yield folder / name


def probe(path: Path) -> Interpreter | None:
    """Run *path* to see what it is; None when it does not run or is not a CPython that is supported."""
    command = [str(path), "-c", PROBE]
    try:
        done = subprocess.run(command, capture_output=True, check=True, env=environment(), timeout=20)
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, json.JSONDecodeError):
        return None
    if found["name"] != "cpython" or tuple(found["version"]) < OLDEST:
        return None
    return Interpreter(Path(found["path"]), tuple(found["version"]), found["has_suite"], found["free_threaded"])


@functools.cache
def interpreters() -> tuple[Interpreter, ...]:
    """Give every CPython on the machine that is supported, once, the oldest first."""
    by_file = {path.resolve(): path for path in candidates()}
    found = {interpreter.path: interpreter for path in by_file.values() if (interpreter := probe(path)) is not None}
    return tuple(sorted(found.values(), key=lambda interpreter: (interpreter.version, interpreter.path)))


def run(interpreter: Interpreter, folder: Path, *arguments: str) -> str:
    """Run RUNNER with *interpreter* in *folder*, and return its last line."""
    command = [str(interpreter.path), "-c", RUNNER, *arguments]
    package_parent = Path(pop3fast.__file__).parent.parent
    env = {**environment(), "PYTHONPATH": str(package_parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, capture_output=True, check=False, cwd=folder, env=env, text=True, timeout=SUITE_SECONDS
    )
    assert done.returncode == 0, f"{interpreter.path} ended with {done.returncode}:\n{done.stderr}"
    return done.stdout.splitlines()[-1]


@functools.cache
def run_suite(interpreter: Interpreter, folder: Path, place: str) -> SuiteRun:
    """Run `test.test_poplib` of *interpreter*; *place* says how pop3fast comes into it, or "stdlib"."""
    return SuiteRun(**json.loads(run(interpreter, folder, place)))


@pytest.fixture(params=interpreters(), ids=str)
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    found: Interpreter = request.param
    if not found.has_suite:
        pytest.skip(f"{found.path} came without test.test_poplib")
    if found.free_threaded:
        pytest.skip(f"{found.path} is free-threaded, which loads no abi3 module")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("suite")


def test_the_interpreter_that_runs_these_tests_is_among_those_found() -> None:
    running = Path(sys.executable).resolve()
    assert running in {interpreter.path for interpreter in interpreters()}


@pytest.mark.parametrize("place", ["sys.modules", "install_as_poplib"])
def test_the_whole_suite_passes_with_pop3fast_as_poplib(interpreter: Interpreter, place: str, folder: Path) -> None:
    result = run_suite(interpreter, folder, place)
    with_poplib = json.loads(run(interpreter, folder, "stdlib", "--list"))

    assert result.bad == [], result.text
    assert result.count == len(with_poplib) > 0
    assert result.ran == with_poplib
    if result.skipped:
        # What poplib's own run would skip as well, for instance where OpenSSL forbids MD5.
        assert result.skipped == run_suite(interpreter, folder, "stdlib").skipped


@pytest.mark.parametrize("place", ["sys.modules", "install_as_poplib"])
def test_it_was_pop3fast_that_the_suite_tested(interpreter: Interpreter, place: str, folder: Path) -> None:
    result = run_suite(interpreter, folder, place)
    assert result.module == "pop3fast"
    assert result.same_module
    assert Path(result.file).samefile(pop3fast.__file__)
    # Every client that the suite connected, as the audit event names it.
    assert {name.partition(".")[0] for name in result.clients} == {"pop3fast"}
    assert {name.rpartition(".")[2] for name in result.clients} == {"POP3", "POP3_SSL"}
