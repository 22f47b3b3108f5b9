"""``python -m tests.mutants [--every N] [MODULE ...]``: plant faults, and show which ones no test finds.

Owns the words for a person. MODULE is as in ``_pipeline`` or ``fetch/_plan``, or the name of a group of them; without
any it is all. The status is 0 whatever survives: the figures are to be read.
"""

import argparse
import sys
from collections import Counter

from .rooms import GROUPS
from .run import Room, reached, worker

_FOUND = ("found", "time")


def main() -> int:
    """Run what was asked for, and return the status to exit with."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Plant faults for the tests to find.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=list(GROUPS))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth fault")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="of these the Nth is the first")
    arguments = parser.parse_args()
    rooms = {room for group in GROUPS.values() for room in group.rooms}
    wanted = {room for word in arguments.modules for room in (GROUPS[word].rooms if word in GROUPS else (word,))}
    if unknown := wanted - rooms:
        parser.error(f"no modules: {', '.join(sorted(unknown))}; there are {', '.join(sorted(rooms))}")
    table = []
    with worker() as at_work:
        for group in GROUPS.values():
            names = [room for room in group.rooms if room in wanted]
            tests = reached(group, at_work) if names else {}
            for name in names:
                room = Room(name, at_work, tests)
                verdicts = []
                for mutant in room.mutants[arguments.first :: arguments.every]:
                    verdicts.append(verdict := room.verdict(mutant))
                    if verdict.how not in _FOUND:
                        print(f"{name}.py:{verdict.name}  [{verdict.how}]", flush=True)
                table.append((name, len(verdicts), Counter(verdict.how for verdict in verdicts)))
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
