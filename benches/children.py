"""Servers and proxies in a process of their own, which say on which port they listen.

Owns that none is left: each ends when its input does.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def listening(command: Sequence[str]) -> Iterator[int]:
    """Give the port that *command* prints first; end it with the block."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.stdin.close()
