"""The busy loops of `make test-busy`: there while the command runs, and gone whatever happens to it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = [sys.executable, str(Path(__file__).with_name("under_load.py"))]

# Says the numbers of all that its parent has started, itself among them.
SIBLINGS = """
import os, sys
parent = os.getppid()
with open(f"/proc/{parent}/task/{parent}/children") as children:
    print(children.read(), flush=True)
sys.stdin.read()
sys.exit(3)
"""


def running(number: int) -> bool:
    """Return whether a process is there, and is none that has ended and nobody has waited for."""
    try:
        return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_four_loops_run_beside_the_command_and_end_with_it() -> None:
    done = subprocess.run(
        [*PROGRAM, sys.executable, "-c", SIBLINGS], input="", capture_output=True, text=True, check=False, timeout=50
    )
    loops = [int(number) for number in done.stdout.split()][:-1]
    assert (len(loops), done.returncode) == (4, 3)
    assert not any(map(running, loops))


def test_they_end_when_the_program_is_killed() -> None:
    command = [*PROGRAM, sys.executable, "-c", SIBLINGS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        loops = [int(number) for number in program.stdout.readline().split()][:-1]
        assert all(map(running, loops))
        os.kill(program.pid, signal.SIGKILL)
    assert len(loops) == 4
    while any(map(running, loops)):  # pytest ends it otherwise
        time.sleep(0.01)
