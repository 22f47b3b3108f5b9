"""Afterwards: the command that somebody wants to be run when a fetch of an account has ended.

Owns which one, and what it is told: by its environment, without the password that ours may have. There is no shell, and
what it says goes to standard error, where it is no result of ours.
"""

import os
import shlex

from pop3fast.cli._accounts import VARIABLE
from pop3fast.cli._selection import EXIT_BUSY
from pop3fast.cli._settings import Settings, key_of
from pop3fast.cli._text import complain, in_words
from pop3fast.fetch import FetchReport
from pop3fast.fetch import exit_status as status_of_error

SECONDS = 600.0
"""As long as a program that takes a message (``pipe:``): indexing a large mailbox takes minutes."""

STANDARD_ERROR = 2


def run_afterwards(name: str, settings: Settings, report: FetchReport) -> int:
    """Run what *settings* have for the end of a fetch that came to *report*; return 0, or 1 when that failed.

    An account that another run has is neither a success nor a failure.
    """
    if report.error is not None and status_of_error(report.error) == EXIT_BUSY:
        return 0
    option, command = ("on_success", settings.on_success) if report.ok else ("on_failure", settings.on_failure)
    if command is None:
        return 0
    import subprocess  # noqa: PLC0415 - takes long, and most have none

    try:
        done = subprocess.run(  # noqa: S603 - the user's own command, and no shell
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=STANDARD_ERROR,
            env=_environment(name, report),
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        why = f"took more than {SECONDS:.0f} seconds"
    except OSError as error:
        why = f"cannot be run: {error.strerror}"
    except ValueError as error:
        why = f"cannot be run: {error}"
    else:
        why = f"failed with exit status {done.returncode}" if done.returncode else ""
    if why:
        complain(f"{report.account}: the command of {key_of(option)} {why}")
    return int(bool(why))


def _environment(name: str, report: FetchReport) -> dict[str, str]:
    said = {
        "NAME": name,
        "ACCOUNT": report.account,
        "DESTINATION": report.destination,
        "STATUS": str(report.exit_status),
        "FETCHED": str(report.fetched),
        "DELETED": str(report.deleted),
        "FAILED": str(len(report.failures)),
        "ERROR": "" if report.error is None else in_words(report.error).replace("\0", ""),
    }
    mine = {variable: value for variable, value in os.environ.items() if variable != VARIABLE}
    return mine | {f"POP3FAST_{key}": value for key, value in said.items()}
