"""``python -m benches [--quick] [--json FILE] [--write README.md]``: run the benchmarks, show what they mean.

Owns the order: pytest runs them and saves what it measured, `report` reads that. Prints, after pytest-benchmark's own
tables, those of the README and the goals. The status is pytest's: no time makes it fail. To be run from the root of
the checkout.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import pytest

from benches import report

_BEGIN = "<!-- benchmarks: what follows is written by `python -m benches --write README.md` -->\n"
_END = "<!-- benchmarks: end -->\n"

_QUICK = "A quick run: few rounds and, for listings and memory, little data. It shows that all works, and no more."


def main() -> int:
    """Run all, and return the status to exit with."""
    parser = argparse.ArgumentParser(prog="python -m benches", description="Run the benchmarks.")
    parser.add_argument("--quick", action="store_true", help="only show that the benchmarks work, within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the two marks in FILE")
    arguments = parser.parse_args()
    if arguments.quick and arguments.write:
        parser.error("--quick measures nothing that is worth writing down")
    if arguments.write:
        _between_marks(arguments.write.read_text(encoding="utf-8"), "")  # to fail now, not in five minutes
    with tempfile.TemporaryDirectory() as folder:
        measured = arguments.json or Path(folder, "measured.json")
        status = _run(measured, quick=arguments.quick)
        if status:
            return status
        saved = json.loads(measured.read_bytes())
    tables = report.read(saved)
    text = report.markdown(tables, saved)
    print(*([_QUICK] if arguments.quick else []), text, report.goals(tables), sep="\n")
    if arguments.write:
        whole = arguments.write.read_text(encoding="utf-8")
        arguments.write.write_text(_between_marks(whole, text), encoding="utf-8")
    return 0


def _run(measured: Path, *, quick: bool) -> int:
    options = ["--benchmark-columns=min,median,rounds", "--benchmark-name=short", f"--benchmark-json={measured}"]
    return int(pytest.main([str(Path(__file__).parent), *options, *(["--quick"] if quick else [])]))


def _between_marks(whole: str, text: str) -> str:
    """Return *whole* with *text* in the place of what stood between the marks."""
    before, begin, rest = whole.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise SystemExit(f"the tables go between two lines of their own, which are not there:\n{_BEGIN}{_END}")
    return f"{before}{begin}\n{text}\n{end}{after}"


if __name__ == "__main__":
    sys.exit(main())
