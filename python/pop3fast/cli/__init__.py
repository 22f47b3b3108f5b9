"""The command line: `pop3fast`, `python -m pop3fast`."""

from pop3fast.cli._main import main

__all__ = ["main"]
