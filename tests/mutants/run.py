"""Plants one fault after the other in a copy of the checkout, and has the tests look for it.

Owns the copy, which tests are asked in which order, and what is remembered: a run that was broken off goes on where it
was, and what has been found stays found as long as the module and its tests are the same.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from .changes import Mutant, mutants
from .rooms import NOT_ASKED, PACKAGE, ROOT, Group, module

# Tests that reach the line are asked for so long, the quickest first; what they do not find in it is a survivor.
MOST_SECONDS = 10.0
# A fault may make an endless loop: its tests get so many times what they take without it, and time to start.
TIME_FACTOR, TIME_MORE = 4.0, 15.0
_COVER_SECONDS = 1800.0

_REMEMBERED = ROOT / "target" / "mutants"


@dataclass(frozen=True)
class Verdict:
    """What came of one fault."""

    name: str
    how: str
    """``found``, ``time`` (it ran into the time limit), ``survived``, or ``unreached`` (no test reaches the line)."""
    by: str | None
    """The test that found it."""


class Worker:
    """The process in the copy."""

    def __init__(self, copy: Path) -> None:
        self.copy = copy
        environment = {
            **os.environ,
            "PYTHONPATH": f"{copy / 'python'}:{copy / 'tests'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(copy / ".hypothesis"),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mutants.worker"],
            cwd=copy,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, files: Sequence[str], chosen: Sequence[str], seconds: float, cover: Sequence[str]) -> dict[str, Any]:
        """Run the tests of *files*, or those *chosen*; learn who reaches what of the modules to be *cover*ed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"files": files, "tests": chosen, "not": NOT_ASKED, "seconds": seconds, "cover": cover}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def worker() -> Iterator[Worker]:
    """Make a copy of the checkout as it lies there, and a worker in it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with tempfile.TemporaryDirectory(prefix="pop3fast-mutants-") as folder:
        copy = Path(folder).resolve()
        extensions = [str(path.relative_to(ROOT)) for path in PACKAGE.glob("*.abi3.*")]
        for name in [*listed.stdout.splitlines(), *extensions]:
            if (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name)
        started = Worker(copy)
        try:
            yield started
        finally:
            started.close()


Reached: TypeAlias = dict[str, tuple[float, dict[str, list[int]]]]
"""Test to the seconds it takes, and to the lines that it reaches of which module."""


def reached(group: Group, at_work: Worker) -> Reached:
    """Return which tests of *group* reach which lines. Tests that fail without any fault are named, and left out."""
    files = [name for name in group.files if (at_work.copy / name).exists()]
    covered = [str(module(room)) for room in group.rooms]
    memory = _REMEMBERED / f"reached.{_digest(at_work.copy, [*files, *covered])}.json"
    if memory.exists():
        answer = json.loads(memory.read_bytes())
    else:
        answer = at_work.ask(files, [], _COVER_SECONDS, covered)
        if "cover" not in answer:
            raise SystemExit(f"the tests did not end: {answer}")
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(answer))
    for name in answer["failed"]:
        print(f"fails without any fault: {name}", file=sys.stderr)
    return {name: (seconds, lines) for name, (seconds, lines) in answer["cover"].items()}


def _digest(copy: Path, names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update((copy / name).read_bytes())
    return digest.hexdigest()[:16]


class Room:
    """A module with the faults that are planted in it."""

    def __init__(self, name: str, at_work: Worker, tests: Reached) -> None:
        """Plant faults in the module *name*, which *tests* are to find."""
        self._worker = at_work
        self._file = at_work.copy / module(name)
        self._source = self._file.read_text(encoding="utf-8")
        self._reaching = {
            test: (seconds, lines[str(module(name))])
            for test, (seconds, lines) in tests.items()
            if str(module(name)) in lines
        }
        self.mutants = mutants(self._source)
        looking = sorted({test.partition("::")[0] for test in self._reaching})
        digest = _digest(at_work.copy, [str(module(name)), *looking])
        self._memory = _REMEMBERED / f"{name.replace('/', '.')}.{digest}.json"
        self._known: dict[str, Verdict] = {}
        if self._memory.exists():
            self._known = {name: Verdict(**said) for name, said in json.loads(self._memory.read_bytes()).items()}

    def verdict(self, mutant: Mutant) -> Verdict:
        """Say what comes of *mutant*."""
        if mutant.name not in self._known:
            self._known[mutant.name] = self._plant(mutant)
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            self._memory.write_text(json.dumps({name: asdict(said) for name, said in self._known.items()}, indent=1))
        return self._known[mutant.name]

    def _plant(self, mutant: Mutant) -> Verdict:
        chosen, seconds = self._looking_at(mutant)
        if not chosen:
            return Verdict(mutant.name, "unreached", None)
        self._file.write_text(mutant.source, encoding="utf-8")
        files = list(dict.fromkeys(test.partition("::")[0] for test in chosen))
        try:
            answer = self._worker.ask(files, chosen, seconds * TIME_FACTOR + TIME_MORE, [])
        finally:
            self._file.write_text(self._source, encoding="utf-8")
        if answer["status"] == pytest.ExitCode.NO_TESTS_COLLECTED:
            raise RuntimeError(f"the tests of {mutant.name} are not where they were")
        if answer["status"] == -1:
            return Verdict(mutant.name, "time", None)
        return Verdict(mutant.name, "found" if answer["status"] else "survived", answer["failed"])

    def _looking_at(self, mutant: Mutant) -> tuple[list[str], float]:
        """Return the tests that reach *mutant*, the best finders first; and how long they take."""
        lines = set(range(mutant.line, mutant.last_line + 1))
        reaching = {
            test: seconds
            for test, (seconds, reached) in self._reaching.items()
            if mutant.at_import or lines.intersection(reached)
        }
        finders = Counter(said.by for said in self._known.values())
        # In each file the tests that found other faults come first, then the quickest. The first test of each file
        # comes before any second one, because the tests of one file look at one side of a thing.
        order = sorted(reaching, key=lambda test: reaching[test] / (1 + finders[test]))
        places: Counter[str] = Counter()
        ranks: dict[str, int] = {}
        for test in order:
            file = test.partition("::")[0]
            ranks[test] = places[file]
            places[file] += 1
        chosen: list[str] = []
        total = 0.0
        for test in sorted(order, key=ranks.__getitem__):
            # A test that is too slow does not keep the quick ones after it from looking.
            if not chosen or total + reaching[test] <= MOST_SECONDS:
                chosen.append(test)
                total += reaching[test]
        return chosen, total
