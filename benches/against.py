"""Another checkout beside this one, in one run: it shows which rows became slower.

Owns the two runs, which are of this checkout's benchmarks: one with the other's client and server, one with ours, each
in a process of its own. They take turns (`turns`); what came of them `report` says.
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


def run(other: Path, options: Sequence[str]) -> int:
    """Measure the checkout *other* and this one, with *options* of pytest; print what came of it. Return the status."""
    package = other / "python" / "pop3fast"
    if not list(package.glob("_framing.*.so")):
        raise SystemExit(f"{package} has no compiled core; this makes it: make -C {other} demo MESSAGES=1")
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


def _start(path: Path, saved: Path, options: Sequence[str], turns: str) -> "subprocess.Popen[bytes]":
    ends = [int(end) for end in turns.split(",")[1:]]
    command = [sys.executable, "-m", "pytest", str(_HERE), "--exitfirst", "--quiet", f"--benchmark-json={saved}"]
    return subprocess.Popen(
        [*command, "--benchmark-columns=min", f"--turns={turns}", *options],
        env={**os.environ, "PYTHONPATH": str(path.resolve())},
        pass_fds=ends,
    )
