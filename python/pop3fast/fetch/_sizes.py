"""Sizes: what the scan listing's octets are worth, learned from the messages that came.

Pure. Owns when a message is too short to be whole. RFC 1939 wants the number of octets that are sent. Some servers
count each line end as one, and Exchange gives the size in its store (quirks q68, q102, q140).

The rule: sizes are *exact* when they were right more than four times as often as wrong; *without CR* when that was so
of sizes that count line ends as one, at least three times; and *estimates* when at least three were too large, and they
were wrong more than four times as often as right in either way. Otherwise nobody knows, and a short message is kept on
the server.
"""

from dataclasses import dataclass
from enum import Enum

ENOUGH = 3
"""One message that is cut short, or two, prove nothing about the others; nor does one estimate that fits by chance."""

RATIO = 4
"""A way of counting has to be right for more than four times as many messages as it is wrong for."""

MOST_PAIRS = 1000
"""Beyond so many messages, older ones count half: a server may be changed to count in another way."""

FIELDS = 5
"""So many numbers are remembered of what was learned."""


class Trust(Enum):
    """What the sizes are."""

    UNKNOWN = "unknown"
    EXACT = "exact"
    WITHOUT_CR = "without CR"
    ESTIMATES = "estimates"


@dataclass
class Sizes:
    """What was learned of one account's sizes."""

    exact: int = 0
    without_cr: int = 0
    larger: int = 0
    """How many messages were larger than listed, and not by their line ends."""
    shorter: int = 0
    told: bool = False
    """Whether a person was told that they are estimates."""
    by_hand: bool | None = None
    """Whether they are to be trusted, where a person has said so (`Options.trust_sizes`)."""

    @classmethod
    def parse(cls, words: str, *, by_hand: bool | None = None) -> "Sizes":
        """Return what *words*, of `words`, say; what makes no sense says nothing."""
        numbers = words.split()
        if len(numbers) != FIELDS or not all(number.isascii() and number.isdecimal() for number in numbers):
            return cls(by_hand=by_hand)
        exact, without_cr, larger, shorter, told = (int(number[:9]) for number in numbers)
        return cls(exact, without_cr, larger, shorter, told=bool(told), by_hand=by_hand)

    def words(self) -> str:
        """Return what was learned in words, to be remembered."""
        return f"{self.exact} {self.without_cr} {self.larger} {self.shorter} {int(self.told)}"

    def add(self, listed: int, octets: int, line_ends: int) -> None:
        """Learn from a message that was *listed* with a size, and came with *octets* and *line_ends*."""
        if not listed:
            return
        if octets == listed:
            self.exact += 1
        elif octets - line_ends == listed:
            self.without_cr += 1
        elif octets > listed:
            self.larger += 1
        else:
            self.shorter += 1
        if self.exact + self.without_cr + self.larger + self.shorter > MOST_PAIRS:
            self.exact //= 2
            self.without_cr //= 2
            self.larger //= 2
            self.shorter //= 2

    @property
    def trust(self) -> Trust:
        """What they are."""
        if self.by_hand is False:
            return Trust.ESTIMATES
        wrong = self.larger + self.shorter
        if self.without_cr >= ENOUGH and self.without_cr > max(RATIO * wrong, self.exact):
            return Trust.WITHOUT_CR
        if self.by_hand or self.exact > RATIO * wrong:
            return Trust.EXACT
        if self.shorter >= ENOUGH and wrong > RATIO * (self.exact + self.without_cr):
            return Trust.ESTIMATES
        return Trust.UNKNOWN

    @property
    def decide(self) -> bool:
        """Whether a message that came shorter than listed did not come whole."""
        return self.trust in {Trust.EXACT, Trust.WITHOUT_CR}

    def is_short(self, listed: int, octets: int, line_ends: int = 0) -> bool:
        """Return whether a message is too short to be whole, as far as the sizes are known."""
        trust = self.trust
        if trust is Trust.ESTIMATES:
            # But something has to come.
            return bool(listed) and not octets
        return octets - (line_ends if trust is Trust.WITHOUT_CR else 0) < listed


def too_short(octets: int, size: int) -> str:
    """Return why a message did not come whole, or is kept (quirk q102)."""
    return f"{octets} octets came of the {size} that the server lists"


def kept_as_short(octets: int, size: int) -> str:
    """Return why a message that came shorter than listed is not deleted, unless sizes are estimates."""
    return f"{too_short(octets, size)} (--no-trust-sizes deletes it all the same)"
