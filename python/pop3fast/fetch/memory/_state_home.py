"""Where a state lies when the mail lies in no folder of ours.

Owns the names in ``$XDG_STATE_HOME/pop3fast/``. One destination has one name, whatever it is called with: what two
destinations got is remembered apart, or the second would miss what the first has.
"""

import os
import re
from hashlib import sha256
from pathlib import Path

from pop3fast.fetch._errors import state_error

FOLDER = "pop3fast"

SHOWN_CHARACTERS = 40
"""So much of a destination's words shows a person which file is whose."""

DIGEST_HEX = 12
"""48 bits tell a person's destinations apart."""

_NOT_PLAIN = r"[^A-Za-z0-9]+"


def state_at_home(words: str) -> str:
    """Return the path of the state of the destination that *words* stand for. Nothing is made yet."""
    shown = re.sub(_NOT_PLAIN, "-", words).strip("-")[:SHOWN_CHARACTERS]
    digest = sha256(words.encode("utf-8", "surrogateescape")).hexdigest()[:DIGEST_HEX]
    return f"{home_folder()}/{shown}-{digest}.sqlite"


def make_home(path: str) -> None:
    """Make the folder of the state *path*, when it is the one in the user's home. Raises `StateError`."""
    folder = str(Path(path).parent)
    if folder == home_folder():
        try:
            # Whom mail comes from is nobody else's business.
            os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103 - a path is a str in this package
        except OSError as error:
            raise state_error(path, error) from error


def home_folder() -> str:
    """Return the folder in the user's home."""
    base = os.environ.get("XDG_STATE_HOME", "")
    # What is no absolute path is to be ignored (XDG Base Directory Specification).
    return f"{base if base.startswith('/') else os.path.expanduser('~/.local/state')}/{FOLDER}"  # noqa: PTH111 - raises where there is no home
