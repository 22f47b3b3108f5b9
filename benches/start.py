"""``python -m benches.start [--rounds N]``: how much longer than ``import poplib`` a start takes.

Owns the list of starts. Each is a process of its own, they take turns, and what is shown is the least time and the
median, in milliseconds above those of ``import poplib``. No time makes it fail. Where nobody may write byte code
(``PYTHONDONTWRITEBYTECODE``), it has to be there: ``python -m compileall python``.
"""

import argparse
import subprocess
import sys
import time
from statistics import median

BASELINE = "import poplib"
STARTS = {
    BASELINE: ["-c", "import poplib"],
    "import pop3fast": ["-c", "import pop3fast"],
    "pop3fast --version": ["-m", "pop3fast", "--version"],
    "pop3fast fetch --help": ["-m", "pop3fast", "fetch", "--help"],
    "what a fetch to a Maildir needs": ["-c", "import pop3fast.cli._fetching, pop3fast.cli._selection"],
}
"""What Python is given in each."""


def main() -> int:
    """Run all and print a line for each; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benches.start", description="How long starts take.")
    parser.add_argument("--rounds", type=int, default=25, help="how often each is started")
    rounds: int = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {name: [] for name in STARTS}
    for number in range(rounds):
        for name in STARTS if number % 2 == 0 else reversed(STARTS):
            began = time.perf_counter()
            subprocess.run([sys.executable, *STARTS[name]], stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - began)
    for name, taken in seconds.items():
        least, middle = (1000 * (of(taken) - of(seconds[BASELINE])) for of in (min, median))
        print(f"{name:<32} {least:6.1f} ms   {middle:6.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
