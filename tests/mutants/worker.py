"""A process that runs tests in a copy of the checkout, each time in a child of its own, with which all they did ends.

Reads a request a line, in JSON, and answers with a line. It imports pytest and other people's modules beforehand,
but nothing of this project, so a child starts a second sooner and sees the module as it lies there. Owns what a child
may take: time, memory, processes.
"""

import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

import pytest

# A fault may build a list without an end. No test needs half of this.
_MOST_OCTETS = 6 * 2**30


class _Chosen:
    """Lets only some tests run, in a given order; says which one failed first."""

    def __init__(self, chosen: Sequence[str]) -> None:
        self._order = {name: index for index, name in enumerate(chosen)}
        self.failed: str | None = None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._order:
            items[:] = sorted((item for item in items if item.nodeid in self._order), key=self._place)

    def _place(self, item: pytest.Item) -> int:
        return self._order[item.nodeid]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid


class _Cover:
    """Learns which test reaches which lines of some files, and how long it takes; of those that succeed."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = {str(Path(path).resolve()): path for path in paths}
        self._lines: dict[str, set[int]] = {}
        self.tests: dict[str, tuple[float, dict[str, list[int]]]] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._lines = {path: set() for path in self._paths}
        start = time.monotonic()
        threading.settrace(self._call)
        sys.settrace(self._call)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            reached = {self._paths[path]: sorted(lines) for path, lines in self._lines.items() if lines}
            self.tests[item.nodeid] = time.monotonic() - start, reached

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    def _call(self, frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401 - a tracer, or None
        lines = self._lines.get(frame.f_code.co_filename)
        if lines is None:
            return None

        def line(frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401 - as above
            lines.add(frame.f_lineno)
            return line

        return line


def _child(request: dict[str, Any], answer: IO[str]) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_OCTETS, _MOST_OCTETS))
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(2):
        os.dup2(silence, descriptor)
    cover = _Cover(request["cover"]) if request["cover"] else None
    chosen = _Chosen(request["tests"])
    options = [
        "-q",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        *(f"--deselect={name}" for name in request["not"]),
        *(() if cover else ("-x",)),
    ]
    status = pytest.main([*options, *request["files"]], plugins=[chosen, *([cover] if cover else [])])
    outcome: dict[str, Any] = {"status": int(status), "failed": chosen.failed}
    if cover is not None:
        outcome["cover"] = {name: said for name, said in cover.tests.items() if name not in cover.failed}
        outcome["failed"] = sorted(cover.failed)
    json.dump(outcome, answer)
    answer.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    reader, writer = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            with open(writer, "w", encoding="utf-8") as answer:  # noqa: PTH123 - a descriptor
                _child(request, answer)
        except BaseException:  # noqa: BLE001 - the parent's code is not the child's
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    watch = threading.Timer(request["seconds"], _kill, [child])
    watch.start()
    with open(reader, encoding="utf-8") as answer:  # noqa: PTH123 - a descriptor
        said = answer.read()
    watch.cancel()
    _kill(child)
    os.waitpid(child, 0)
    seconds = time.monotonic() - start
    outcome: dict[str, Any] = json.loads(said) if said.endswith("}") else {"status": -1, "failed": None}
    return {**outcome, "seconds": seconds}


def _kill(child: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main() -> None:
    """Answer until the requests end."""
    for name in ("hypothesis", "email.policy", "ssl", "sqlite3", "subprocess", "concurrent.futures", "http.server"):
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
