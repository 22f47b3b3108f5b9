"""Entry: what runs first, when the command has not been loaded yet.

Owns what is said where it cannot be loaded (one line, and never a traceback), and that nothing is searched for when the
process ends. Of its own accord it imports nothing but what the interpreter has built in.
"""

import atexit
import gc
import sys
from collections.abc import Sequence

_POSIX_ONLY = frozenset({"fcntl", "pwd", "resource"})
"""Modules of the standard library that Windows lacks."""

_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; *arguments* are those of the command line unless given. Returns the exit status.

    Raises SystemExit for --help (0) and for wrong usage (2), as argparse does.
    """
    # At the end of a process the collector goes through all that there is once more, which took a seventh of the time
    # that the command needs to begin and to end. What it looks for is given back with the process.
    atexit.register(gc.freeze)
    try:
        import fcntl  # noqa: F401, PLC0415 - so that --help is answered as a fetch is

        from pop3fast.cli._main import main as run  # noqa: PLC0415 - it takes long enough to be interrupted
    except ImportError as error:
        if error.name not in _POSIX_ONLY:
            raise
        sys.stderr.write("pop3fast: this needs a POSIX system (Linux, macOS, BSD); on Windows it runs in WSL\n")
        return _USAGE
    return run(arguments)
