"""SetAside: what comes of loops while another command is given, which they take later.

Owns how much that may be, since nobody is there to take it. Never decides whose a reply is: the batch takes it.
"""

from typing import TypeVar

from pop3fast._batch import MIN_IN_FLIGHT, Batch, Taken
from pop3fast._errors import LimitExceeded
from pop3fast._framing import Framer, FramingLimitError

T = TypeVar("T")


class SetAside:
    """How many octets have been set aside of one connection's replies."""

    def __init__(self, framer: Framer) -> None:
        """Take them from *framer*."""
        self._framer = framer
        self._octets = 0

    def begin(self) -> None:
        """Begin anew: commands are sent, so what was set aside has been taken."""
        self._octets = 0

    def take(self, batch: Batch[T], most: int, limit: int, max_octets: int) -> Taken[T]:
        """Take replies to *batch*, *most* at the most, within `MIN_IN_FLIGHT` times *max_octets* for all.

        Raises `LimitExceeded` when they are more.
        """
        allowed = MIN_IN_FLIGHT * max_octets
        left = max(0, allowed - self._octets)
        before = self._framer.unread()
        try:
            taken = batch.take_replies(self._framer, limit, min(max_octets, left), most)
        except FramingLimitError:
            if left >= max_octets:
                raise
            message = f"more than {allowed} octets of replies for a loop that waits for another command"
            raise LimitExceeded(message) from None
        self._octets += before - self._framer.unread()
        return taken
