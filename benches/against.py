"""Another checkout beside this one, in one run: it shows which rows became slower.

Owns the two runs, which are of this checkout's benchmarks: one with the other's client and server, one with ours, each
in a process of its own. They take turns (`turns`), so both have the same columns: a module that the other checkout
cannot run is left out, and named. `report` says what came of them.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benches import report

_HERE = Path(__file__).parent

SAY_WHY = ["-W", "ignore:Not saving anything"]
"""Options of pytest, for which a warning is an error: this one would hide why no benchmark has been run."""

_SAY_WHAT_FAILS = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(f"benches.{name}")
    except Exception as error:
        print(f"{name}: {error!r}")
"""


def run(other: Path, options: Sequence[str]) -> int:
    """Measure the checkout *other* and this one, with *options* of pytest; print what came of it. Return the status."""
    package = other / "python" / "pop3fast"
    if not list(package.glob("_framing.*.so")):
        raise SystemExit(f"{package} has no compiled core; this makes it: make -C {other} demo MESSAGES=1")
    left_out = _modules_it_cannot_run(package.parent)
    options = [*options, *(f"--ignore={_HERE / name}.py" for name in left_out)]
    for why in left_out.values():
        print(f"not compared, because the other checkout cannot run it: {why}")
    with tempfile.TemporaryDirectory() as folder:
        saved = [Path(folder, name) for name in ("before.json", "after.json")]
        to_us, to_them = os.pipe(), os.pipe()
        runs = [
            _start(package.parent, saved[0], options, f"first,{to_them[0]},{to_us[1]}"),
            _start(_HERE.parent / "python", saved[1], options, f"second,{to_us[0]},{to_them[1]}"),
        ]
        for end in (*to_us, *to_them):
            os.close(end)
        if status := max(abs(one.wait()) for one in runs):
            return status
        before, after = (report.read(json.loads(path.read_bytes())) for path in saved)
    print(report.compared(before, after))
    return 0


def _modules_it_cannot_run(path: Path) -> dict[str, str]:
    """Return which modules of benchmarks cannot be imported with the package in *path*, and why."""
    names = [module.stem for module in sorted(_HERE.glob("test_*.py"))]
    command = [sys.executable, "-c", _SAY_WHAT_FAILS, *names]
    env = _with(path)
    said = subprocess.run(command, cwd=_HERE.parent, env=env, stdout=subprocess.PIPE, check=True, text=True).stdout
    return {line.partition(":")[0]: line for line in said.splitlines()}


def _with(path: Path) -> dict[str, str]:
    """Return the environment of a process whose package is the one in *path*."""
    return {**os.environ, "PYTHONPATH": str(path.resolve())}


def _start(path: Path, saved: Path, options: Sequence[str], turns: str) -> "subprocess.Popen[bytes]":
    ends = [int(end) for end in turns.split(",")[1:]]
    command = [sys.executable, "-m", "pytest", str(_HERE), "--exitfirst", "--quiet", f"--benchmark-json={saved}"]
    return subprocess.Popen(
        [*command, *SAY_WHY, "--benchmark-columns=min", f"--turns={turns}", *options],
        env=_with(path),
        pass_fds=ends,
    )
