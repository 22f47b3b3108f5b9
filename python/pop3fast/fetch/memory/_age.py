"""Age: how much time has passed for an account, whatever its machine's clock says.

Pure. Owns that a wrong clock makes nothing old too early. Days after which messages are deleted or forgotten are
counted in the account's own time. It goes on with the clock from one session to the next, and stands still when the
clock went back, or ahead by more than anybody waits between two fetches.
"""

from typing import NamedTuple

DAY_SECONDS = 86400

MOST_SECONDS = 180 * DAY_SECONDS
"""When the clock is further ahead of the session before, it was wrong then or is wrong now. Without a battery a clock
begins in 1970 or 2000, and a mistyped year is 365 days."""


class Age(NamedTuple):
    """An account's own time, and the clock that it goes by."""

    time: int
    """The account's own time, in seconds."""
    clock: int
    """What the clock said then, in seconds since 1970."""
    doubted: int | None = None
    """What the clock said in the last session, when that is believed only after it is said again."""

    def at(self, date: int) -> "Age":
        """Return the age in a session in which the clock says *date*."""
        for before in (self.clock, self.doubted):
            if before is not None and 0 <= date - before <= MOST_SECONDS:
                return Age(self.time + date - before, date)
        return self._replace(doubted=date)
