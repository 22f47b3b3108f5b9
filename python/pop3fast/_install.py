"""Making ``import poplib`` mean this package, for programs that cannot be changed."""

import sys

from pop3fast._client import POP3


def install_as_poplib(*, read_ahead: int | None = None) -> None:
    """Make ``import poplib`` give pop3fast for the rest of the process.

    Modules that imported poplib before keep what they have, so call it first. *read_ahead* is what `POP3.read_ahead` is
    from now on, a number of messages; without it that stays as it is. Raises `ValueError` when it is negative.
    """
    if read_ahead is not None:
        if read_ahead < 0:
            raise ValueError(f"read_ahead is a number of messages, 0 or more: {read_ahead!r}")
        POP3.read_ahead = read_ahead
    sys.modules["poplib"] = sys.modules["pop3fast"]
