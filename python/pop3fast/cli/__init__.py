"""The command line: `pop3fast`, `python -m pop3fast`."""

from pop3fast.cli._entry import main

__all__ = ["main"]
