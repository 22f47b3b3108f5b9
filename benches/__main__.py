"""``python -m benches [--quick] [--json FILE] [--write docs/performance.md]``: run the benchmarks, show what they mean.

Owns the order: pytest runs them and saves what it measured, `report` reads that. Prints, after pytest-benchmark's own
tables, those of the documentation and the goals; with ``--against DIR`` how long each row takes beside another
checkout. The status is pytest's: no time makes it fail. To be run from the root of the checkout.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import pytest

from benches import against, report
from benches.pages import between_marks, put_between_marks, refuse_to_write_quickly

_MARKS = (
    "<!-- benchmarks: what follows is written by `python -m benches --write docs/performance.md` -->\n",
    "<!-- benchmarks: end -->\n",
)

_QUICK = "A quick run: few rounds and, for listings and memory, little data. It shows that all works, and no more."


def main() -> int:
    """Run all, and return the status to exit with."""
    parser = argparse.ArgumentParser(prog="python -m benches", description="Run the benchmarks.")
    parser.add_argument("--quick", action="store_true", help="only show that the benchmarks work, within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the two marks in FILE")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="compare with another checkout, whose core is built"
    )
    parser.add_argument("-k", metavar="EXPRESSION", dest="only", help="with --against: only these, as pytest has it")
    arguments = parser.parse_args()
    refuse_to_write_quickly(parser, arguments)
    if arguments.only and not arguments.against:
        parser.error("-k is for --against; without it all rows are measured, for the tables want them")
    if arguments.write:
        # To fail now, not in five minutes.
        between_marks(arguments.write.read_text(encoding="utf-8"), "", _MARKS)
    if arguments.against:
        only = ["-k", arguments.only] if arguments.only else []
        return against.run(arguments.against, [*(["--quick"] if arguments.quick else []), *only])
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
        put_between_marks(arguments.write, text, _MARKS)
    return 0


def _run(measured: Path, *, quick: bool) -> int:
    options = ["--benchmark-columns=min,median,rounds", "--benchmark-name=short", f"--benchmark-json={measured}"]
    return int(pytest.main([str(Path(__file__).parent), *against.SAY_WHY, *options, *(["--quick"] if quick else [])]))


if __name__ == "__main__":
    sys.exit(main())
