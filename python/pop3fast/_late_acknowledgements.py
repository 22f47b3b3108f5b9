"""LateAcknowledgements: whether commands sent together lose more by them than they gain.

Owns how long a reply takes that comes alone, and what late acknowledgements may cost. Never waits, and never decides
what may be in flight otherwise: `Proof` does.

A server that writes replies in pieces and leaves Nagle's algorithm on holds back all but the first until that is
acknowledged (quirk q131). Behind commands that have to be answered whole before more are sent (`Proof`), and at the end
of a loop, nothing of ours takes the acknowledgement along. Where the kernel cannot be told to send it at once, it comes
40 ms late, and a mailbox of sixty messages took 130 ms from a server that needs 7 when it is asked one at a time. So
there commands go out one at a time if a round trip for each of them takes less than that.
"""

from collections.abc import Callable

COST = 0.22
"""So many seconds late acknowledgements may cost a loop: 44 ms each time that it waits until nothing is in flight. It
does so five times in a thousand messages, four of them until the server is proven, and then not before its end."""

REPLIES_ALONE = 2
"""So many replies say how long a round trip takes. Before the first one a server may have opened the mailbox."""


class LateAcknowledgements:
    """What they mean for the commands of one connection."""

    def __init__(self, clock: Callable[[], float] | None) -> None:
        """Measure by *clock*, in seconds; without one, acknowledgements are not late."""
        self.one_by_one = False
        """Whether the commands that are left are to be sent one at a time."""
        self._clock = clock
        self._gains = False
        self._began = 0.0
        self._replies = 0
        self._fastest = 0.0

    def begin_batch(self) -> None:
        """Decide anew, for a batch that begins."""
        self._gains = False

    def begin(self, left: int) -> None:
        """Decide what is to be in flight where nothing is: of a batch so many commands are *left*.

        Once some have gone out together it stays so. What that may cost has been paid, but for the end.
        """
        if self._clock is None:
            return
        if self._replies >= REPLIES_ALONE:
            self._gains = self._gains or left * self._fastest > COST
        self.one_by_one = self._replies > 0 and not self._gains
        self._began = self._clock()

    def answered_alone(self) -> None:
        """Take note that a command has been answered that was alone in flight."""
        if self._clock is None:
            return
        seconds = self._clock() - self._began
        # A round trip is in every one of them, and in the fastest the least of anything else.
        self._fastest = min(self._fastest, seconds) if self._replies else seconds
        self._replies += 1
