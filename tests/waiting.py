"""Waiting for what a thread or a server is about to do.

No time is measured: pytest ends a test in which it never comes.
"""

import time
from collections.abc import Callable


def wait_until(come: Callable[[], object]) -> None:
    """Return when *come* says so."""
    while not come():
        time.sleep(0.001)
