"""The Dovecot that whole programs fetch from, which is the tests' own.

Owns that a benchmark ends with a sentence where it cannot run. To be asked before ``servers`` is imported.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def need_dovecot() -> None:
    """Let ``servers`` be imported. Raises SystemExit where Dovecot is missing."""
    sys.path.insert(0, str(ROOT / "tests"))
    from servers import DovecotServer, UnavailableError  # noqa: PLC0415 - of the tests, whose path is known from here

    try:
        DovecotServer.check()
    except UnavailableError as error:
        raise SystemExit(f"nothing to fetch from: {error}") from None
