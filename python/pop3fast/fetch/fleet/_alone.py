"""Whose turn it is, where one worker has all accounts to itself: the turns of a fleet whose state is a file.

Owns nothing that outlasts the process. The file keeps any other fetch of one of the accounts away.
"""

from collections import Counter
from collections.abc import Sequence

from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.memory._postgres import Lease
from pop3fast.fetch.memory._postgres_turns import Claim, Key, Returned


class TurnsAlone:
    """The turns of accounts that nobody else takes."""

    def __init__(self, keys: Sequence[Key], clock: Clock) -> None:
        """Be for the accounts *keys*, all of which are due now."""
        now = clock.now()
        self._clock = clock
        self._keys = list(keys)
        # When each is due, and since when it counts as waiting.
        self._waiting = dict.fromkeys(range(len(self._keys)), (now, now))
        self._standings: dict[int, tuple[int, int | None, float]] = {}
        self._at_host: Counter[tuple[str, int]] = Counter()

    def exchange(self, returned: Sequence[Returned], most: int, per_host: int) -> list[Claim]:
        """Do what `PostgresTurns.exchange` does."""
        now = self._clock.now()
        for each in returned:
            place = each.lease.id
            self._waiting[place] = now + each.seconds, now + each.seconds - each.ahead
            self._standings[place] = each.failures, each.quiet, each.delay
            self._at_host[self._keys[place][:2]] -= 1
        taken: list[Claim] = []
        waiting = sorted((urgency, place, now - due) for place, (due, urgency) in self._waiting.items() if due <= now)
        for _, place, late in waiting:
            where = self._keys[place][:2]
            if len(taken) < most and self._at_host[where] < per_host:
                self._at_host[where] += 1
                del self._waiting[place]
                standing = self._standings.get(place, (0, None, 0.0))
                taken.append(Claim(self._keys[place], Lease(place, 0), *standing, late))
        return taken

    def renew(self, leases: Sequence[Lease]) -> None:
        """Do nothing: nobody takes them."""

    def account(self, claim: Claim) -> None:
        """Return None: each session opens the file."""

    def close(self) -> None:
        """Do nothing."""
