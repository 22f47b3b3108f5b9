"""Portions: how many messages are fetched before the fetch waits for the destination.

Pure. Owns that a slow destination never makes the server wait in the middle of a reply. A portion fits into what may
wait to be written, so it comes at once, and after it the session can be kept alive (quirk q46).
"""

from collections.abc import Iterator

from pop3fast.fetch._plan import Item
from pop3fast.fetch.destinations._destination import Destination

GROUP_MESSAGES = 256
"""Half of what the writer lets wait (`TICKS` of `_writer`): sizes may be wrong, and there is one more in flight."""

GROUP_OCTETS = 8 * 2**20
"""The same for octets."""


def is_slow(destination: Destination) -> bool:
    """Return whether a message may take *destination* longer than the server waits."""
    return bool(getattr(destination, "is_slow", False))


def groups_of(items: list[Item], most: int | None, *, slow: bool) -> Iterator[list[Item]]:
    """Yield *items* in groups of *most*, each of which is fetched before the destination is waited for.

    One that is larger than a group comes alone, when nothing else waits to be written.
    """
    messages = most or (GROUP_MESSAGES if slow else len(items))
    start = 0
    while start < len(items):
        end, octets = start + 1, items[start].size
        while end < len(items) and end - start < messages:
            octets += items[end].size
            if slow and octets > GROUP_OCTETS:
                break
            end += 1
        yield items[start:end]
        start = end
