"""Portions: how much is done before the next checkpoint, and how much is fetched before the destination is waited for.

Pure. Owns that messages with the same unique-id come to the same checkpoint, and that a slow destination never makes
the server wait in the middle of a reply: a group fits into what may wait to be written, so it comes at once, and after
it the session can be kept alive (quirk q46).
"""

from collections.abc import Iterator
from typing import NamedTuple

from pop3fast.fetch._options import Options
from pop3fast.fetch._plan import Item, Plan, safe_to_delete
from pop3fast.fetch.destinations._destination import Destination

GROUP_MESSAGES = 256
"""Half of what the writer lets wait (`TICKS` of `_writer`): sizes may be wrong, and there is one more in flight."""

GROUP_OCTETS = 8 * 2**20
"""The same for octets."""


class Portion(NamedTuple):
    """What is done before a checkpoint."""

    delete: list[Item]
    fetch: list[Item]
    more: bool
    """Whether there is more behind it."""


def portion_of(plan: Plan, options: Options) -> Portion:
    """Return as much of *plan* as *options* allows before a checkpoint."""
    # Those of which a copy is missing wait for it, and must not take the place of others.
    ready, waiting = safe_to_delete(plan, plan.delete)
    messages = options.checkpoint_messages or len(ready) + len(plan.fetch)
    # All copies of a unique-id go together, or none does.
    uids = {item.identity.uid for item in ready[:messages]}
    deletions = [item for item in ready if item.identity.uid in uids]
    octets = 0
    end = 0
    for item in plan.fetch[: max(0, messages - len(deletions))]:
        if octets and options.checkpoint_octets is not None and octets + item.size > options.checkpoint_octets:
            break
        octets += item.size
        end += 1
    more = len(deletions) < len(ready) or end < len(plan.fetch)
    return Portion(deletions + waiting, plan.fetch[:end], more)


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
