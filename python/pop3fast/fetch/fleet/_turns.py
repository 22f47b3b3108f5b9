"""Turns: when an account is due again after a turn of it has ended, and before which others it comes then.

Pure. It has no clock and no dice: it is told how long the turn took, and given what chooses a number. What it decides
goes into the state (`Standing`), so that any worker goes on with it.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from pop3fast import AuthenticationError
from pop3fast.fetch._errors import (
    AccountBusy,
    DestinationError,
    SecretError,
    SeenFileError,
    StateError,
    UidsChanged,
    UidsUnknown,
)
from pop3fast.fetch._report import FetchReport

JITTER = 0.1
"""By so much of the interval a turn comes earlier or later: accounts that began together spread out."""

MOST_BACK_OFF_SECONDS = 3600.0
"""A server that does not answer is asked again after the interval, then after twice as long, and so on up to an hour:
mail is late by no more than that when it is back."""

MOST_REFUSED_SECONDS = 6 * 3600.0
"""The same for what only a person can mend, as a wrong password: providers lock accounts after too many of those."""

RETRY_SECONDS = 10.0
"""When the state was lost in the middle of a turn, which is nobody's fault, the account is due again so soon."""

MOST_QUIET = 3
"""After so many turns without mail an account comes before no other any more."""

MOST_DOUBLINGS = 20
"""More of them exceed every limit, and 2 to the power of any count of failures would be a very large number."""


class Outcome(Enum):
    """What came of a turn, as far as the next one depends on it."""

    MAIL = auto()
    """New messages came."""
    NOTHING = auto()
    """All went well, and nothing was new."""
    FAILED = auto()
    """The server did not answer, or not as it should."""
    REFUSED = auto()
    """Only a person can mend it."""
    HELD_UP = auto()
    """It says nothing of the mailbox: the destination takes no mail, or another has the account."""
    UNKNOWN = auto()
    """The state was lost."""
    INTERRUPTED = auto()
    """The worker was told to stop."""


_WELL = frozenset({Outcome.MAIL, Outcome.NOTHING})


class Standing(NamedTuple):
    """What is remembered of an account's turns."""

    failures: int = 0
    """How many in a row failed."""
    quiet: int = MOST_QUIET
    """How many have ended since one with new mail, up to `MOST_QUIET`."""
    delay: float = 0.0
    """The seconds that the server wants between two logins (LOGIN-DELAY)."""


class Turn(NamedTuple):
    """The next turn of an account."""

    seconds: float
    """In so many seconds it is due."""
    ahead: float
    """It then counts as due for so many seconds longer than it is."""
    standing: Standing


def outcome_of(report: FetchReport) -> Outcome:
    """Return what *report* means for the next turn."""
    error = report.error
    if error is None:
        return Outcome.MAIL if report.fetched or report.skipped or report.discarded else Outcome.NOTHING
    if isinstance(error, KeyboardInterrupt):
        return Outcome.INTERRUPTED
    if isinstance(error, AccountBusy | DestinationError):
        return Outcome.HELD_UP
    if isinstance(error, StateError):
        return Outcome.UNKNOWN
    by_a_person = AuthenticationError | SecretError | SeenFileError | UidsChanged | UidsUnknown
    if isinstance(error, by_a_person) or (isinstance(error, ValueError) and not isinstance(error, OSError)):
        return Outcome.REFUSED
    return Outcome.FAILED


def next_turn(
    before: Standing,
    outcome: Outcome,
    delay: float,
    took: float,
    every: float,
    vary: Callable[[float, float], float],
) -> Turn:
    """Return when the next turn is, after one that *took* so many seconds and ended just now.

    *delay* is what the server said of it, 0 where it said nothing; *vary* chooses a number between two.
    """
    standing = _standing_after(before, outcome, delay)
    if outcome is Outcome.INTERRUPTED:
        seconds = 0.0
    elif outcome is Outcome.UNKNOWN:
        seconds = min(every, RETRY_SECONDS) * vary(1 - JITTER, 1 + JITTER)
    else:
        # From the beginning of the turn: the interval is one between looks at the mailbox.
        seconds = _interval(standing, outcome, every) * vary(1 - JITTER, 1 + JITTER) - took
    # From its end, because nobody knows when in it the last login was.
    seconds = max(seconds, standing.delay, 0.0)
    ahead = every / 2**standing.quiet if standing.quiet < MOST_QUIET and not standing.failures else 0.0
    return Turn(seconds, ahead, standing)


def _standing_after(before: Standing, outcome: Outcome, delay: float) -> Standing:
    # A session that did not come so far says nothing of it.
    delay = delay if outcome in _WELL else max(delay, before.delay)
    if outcome is Outcome.MAIL:
        return Standing(0, 0, delay)
    if outcome is Outcome.NOTHING:
        return Standing(0, min(before.quiet + 1, MOST_QUIET), delay)
    failed = outcome in {Outcome.FAILED, Outcome.REFUSED}
    return before._replace(failures=before.failures + 1 if failed else before.failures, delay=delay)


def _interval(standing: Standing, outcome: Outcome, every: float) -> float:
    if outcome not in {Outcome.FAILED, Outcome.REFUSED}:
        return every
    # One failure is no reason to come later; a refusal is, at once.
    doublings = standing.failures if outcome is Outcome.REFUSED else standing.failures - 1
    most = MOST_REFUSED_SECONDS if outcome is Outcome.REFUSED else MOST_BACK_OFF_SECONDS
    return max(every, min(most, every * 2.0 ** min(doublings, MOST_DOUBLINGS)))
