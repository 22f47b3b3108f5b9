"""KeptBack: what came of commands and is not sure yet, in order.

Owns how much that is, and that it reaches the loops in order or not at all. Never decides what is sure: the pipeline
does.
"""

from collections.abc import Sequence
from typing import Any

from pop3fast._batch import MAX_EXPECTED_OCTETS, MAX_KEPT_BACK_OCTETS, Batch
from pop3fast._proof import PROVEN_REPLIES


class KeptBack:
    """Outcomes, each with the batch whose they are."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.outcomes: list[tuple[Batch[Any], Sequence[Any]]] = []
        """Of batches one behind the other; the oldest first."""
        self.octets = 0
        """How many octets have come since the first of them."""
        self._replies = 0

    @property
    def batches(self) -> list[Batch[Any]]:
        """Whose they are."""
        return [batch for batch, _ in self.outcomes]

    @property
    def is_much(self) -> bool:
        """Whether they are so much that they have to be shown to be sure before anything more is sent."""
        return self.octets > MAX_EXPECTED_OCTETS or self._replies >= PROVEN_REPLIES

    @property
    def is_too_much(self) -> bool:
        """Whether no more of them can be kept."""
        return self.octets > MAX_KEPT_BACK_OCTETS

    def append(self, batch: Batch[Any], outcomes: Sequence[Any], replies: int) -> None:
        """Keep back *outcomes* of *batch*, behind the others; so many *replies* of them are in doubt."""
        self.outcomes.append((batch, outcomes))
        self._replies += replies

    def hand_over(self) -> int:
        """Let the loops have them; return how many replies were in doubt until now."""
        for batch, outcomes in self.outcomes:
            give(batch, outcomes)
        replies = self._replies
        self.forget()
        return replies

    def forget(self) -> None:
        """Throw them away."""
        self.outcomes.clear()
        self.octets = self._replies = 0


def give(batch: Batch[Any], outcomes: Sequence[Any]) -> None:
    """Let the loop of *batch* have *outcomes*, if it still waits for any."""
    if outcomes and not batch.abandoned:
        batch.hand_over(outcomes)
