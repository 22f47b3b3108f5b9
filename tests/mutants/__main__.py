"""``python -m tests.mutants [--every N] [MODULE ...]``: plant faults, and show which ones no test finds.

Owns the words for a person. MODULE is as in ``_pipeline`` or ``fetch/_plan``, or ``client`` or ``fetch`` for all of
them; without any it is both. The status is 0 whatever survives: the figures are to be read.
"""

import argparse
import sys
from collections import Counter

from .rooms import CLIENT, FETCH, ROOMS
from .run import Room, worker

_GROUPS = {"client": tuple(CLIENT), "fetch": tuple(FETCH)}
_FOUND = ("found", "time")


def main() -> int:
    """Run what was asked for, and return the status to exit with."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Plant faults for the tests to find.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=["client", "fetch"])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth fault")
    arguments = parser.parse_args()
    names = [name for word in arguments.modules for name in _GROUPS.get(word, (word,))]
    if unknown := [name for name in names if name not in ROOMS]:
        parser.error(f"no modules: {', '.join(unknown)}; there are {', '.join(ROOMS)}")
    table = []
    with worker() as at_work:
        for name in names:
            room = Room(name, at_work)
            verdicts = []
            for mutant in room.mutants[:: arguments.every]:
                verdicts.append(verdict := room.verdict(mutant))
                if verdict.how not in _FOUND:
                    print(f"{name}.py:{verdict.name}  [{verdict.how}]", flush=True)
            counts = Counter(verdict.how for verdict in verdicts)
            table.append((name, len(verdicts), counts))
            print(_row(*table[-1]), flush=True)
    print("\n| module | faults | found | survived | unreached |\n|---|---:|---:|---:|---:|")
    for row in table:
        print(_row(*row))
    return 0


def _row(name: str, faults: int, counts: Counter[str]) -> str:
    found = sum(counts[how] for how in _FOUND)
    share = f"{100 * found / faults:.0f} %" if faults else ""
    return f"| `{name}` | {faults} | {found} ({share}) | {counts['survived']} | {counts['unreached']} |"


if __name__ == "__main__":
    sys.exit(main())
