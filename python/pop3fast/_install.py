"""Making ``import poplib`` mean this package, for programs that cannot be changed."""

import sys


def install_as_poplib() -> None:
    """Make ``import poplib`` give pop3fast for the rest of the process.

    Modules that imported poplib before keep what they have, so call it first.
    """
    sys.modules["poplib"] = sys.modules["pop3fast"]
