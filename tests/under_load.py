"""Runs a command with busy loops beside it, as on a machine that others use: `python tests/under_load.py make test`.

Owns the loops, and no test. They end with the command, and also when this program is killed: each of them holds the
reading end of a pipe, and ends when nobody holds the other. The exit status is the command's.
"""

import subprocess
import sys

LOOPS = 4
"""Twice the processors of a small machine: each process of a test gets a third of one, in slices of milliseconds."""

LOOP = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    pass
"""


def main(command: list[str]) -> int:
    loops = [subprocess.Popen([sys.executable, "-c", LOOP], stdin=subprocess.PIPE) for _ in range(LOOPS)]
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.communicate()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
