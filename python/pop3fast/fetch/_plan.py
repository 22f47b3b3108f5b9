"""What to fetch and what may be deleted, from what the server lists, what is remembered and what was asked for.

Pure: no socket, no disk, no clock. Owns what a unique-id is worth. The same one twice is two messages, told apart by
their order; an empty one, or one that is known not to last, tells nothing, so its message is fetched every time and
recognised by its content; one that was used again for another message shows by the size and is asked about before
anything is skipped or deleted. In doubt a message is fetched once more rather than deleted once too early.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from pop3fast.fetch._identity import Identity, is_lasting
from pop3fast.fetch._options import Options
from pop3fast.fetch._seen import Remembered, Seen

HEADER_MARK = b"\n"
"""Before a unique-id: only the header was fetched. No server can send one with it, being part of a line end."""

PROBES = 10
"""So many messages are looked at to find out whether all unique-ids changed: one round trip, and enough not to be
fooled by a few that are new."""

ENOUGH_REMEMBERED = 5
"""From so many messages on, all of them gone at once is taken for a change of unique-ids when it cannot be checked."""

SURE_WHEN_DELETING = 2
"""Where deleting is usual, one message like a remembered one may be a second copy of what was deleted; two are not."""


class Item(NamedTuple):
    """A message of the maildrop, in this session."""

    number: int
    identity: Identity
    size: int
    """Its octets by the scan listing; 0 when they are not known."""


class Listing(NamedTuple):
    """What the server lists in one session."""

    uids: Mapping[int, str]
    """Message number to unique-id, decoded as Latin-1."""
    sizes: Mapping[int, int]
    """Message number to octets."""
    complete: bool
    """Whether nothing speaks against it that these are all messages."""


@dataclass
class Plan:
    """What one session is to do."""

    fetch: list[Item] = field(default_factory=list)
    delete: list[Item] = field(default_factory=list)
    """Delivered in an earlier session, and to be deleted."""
    doubtful: list[Item] = field(default_factory=list)
    """Seen by their unique-ids, but perhaps other messages. `settle` says which."""
    kept: list[tuple[Item, str]] = field(default_factory=list)
    """To be deleted but for a reason."""
    unchecked: list[Item] = field(default_factory=list)
    """Doubtful still, for the server does not show their headers: neither fetched nor deleted."""
    sizes_changed: list[tuple[Identity, int]] = field(default_factory=list)
    """Messages that are the same although the server gives another size now."""
    copies: dict[bytes, int] = field(default_factory=dict)
    """The unique-ids that are listed more than once, and how often."""
    listed: list[bytes] = field(default_factory=list)
    """Every unique-id that is listed."""
    seen: int = 0
    """How many of them had been fetched."""
    headers: int = 0
    """How many of the others had been fetched as headers."""
    too_large: int = 0
    nameless: int = 0
    """How many have no unique-id that lasts."""
    strangers: int = 0
    """How many were to be deleted, and were fetched by another program, whose word nobody can check."""


def remembered_as(identity: Identity, options: Options) -> Identity:
    """Return what a message is remembered as: one of which only the header was fetched is not that message."""
    if options.headers_only and is_lasting(identity.uid):
        return Identity(HEADER_MARK + identity.uid, identity.occurrence)
    return identity


def make_plan(
    listing: Listing,
    seen: Seen,
    options: Options,
    date: float,
    *,
    failed: AbstractSet[Identity] = frozenset(),
    deleted: AbstractSet[Identity] = frozenset(),
) -> Plan:
    """Return what to do about *listing* on *date* (seconds since 1970).

    *failed* are not to be fetched again, *deleted* not to be deleted again. Raises nothing.
    """
    plan = Plan()
    occurrences: dict[bytes, int] = {}
    sizes = listing.sizes
    for number, text in listing.uids.items():
        uid = text.encode("latin-1")
        occurrence = occurrences.get(uid, 0)
        occurrences[uid] = occurrence + 1
        size = sizes.get(number, 0)
        known = seen.size(uid, occurrence)
        if known is None and options.headers_only:
            known = seen.size(HEADER_MARK + uid, occurrence)
        if known is None or not is_lasting(uid):
            plan.headers += seen.size(HEADER_MARK + uid, occurrence) is not None
            _plan_new(plan, Item(number, Identity(uid, occurrence), size), options, failed)
            continue
        plan.seen += 1
        if options.since_last:
            plan.fetch.clear()
            plan.too_large = 0
        if size != known and size and known:
            plan.doubtful.append(Item(number, Identity(uid, occurrence), size))
        elif options.deletes:
            item = Item(number, Identity(uid, occurrence), size)
            if item.identity not in deleted:
                _plan_deletion(plan, item, seen, options, date)
    plan.copies = {uid: count for uid, count in occurrences.items() if count > 1}
    plan.listed = [uid for uid, count in occurrences.items() for _ in range(count)]
    plan.nameless = sum(count for uid, count in occurrences.items() if not is_lasting(uid))
    return plan


def settle(
    plan: Plan,
    found: Mapping[int, bytes],
    seen: Seen,
    options: Options,
    date: float,
) -> None:
    """Decide about what is doubtful, given the fingerprints that were *found*, by message number."""
    new = False
    for item in plan.doubtful:
        remembered = _remembered(seen, item.identity)
        fingerprint = found.get(item.number)
        if remembered is None or fingerprint is None or not remembered.fingerprint:
            plan.unchecked.append(item)
        elif fingerprint != remembered.fingerprint:
            plan.seen -= 1
            plan.fetch.append(item)
            new = True
        else:
            if item.size and item.size != remembered.size:
                plan.sizes_changed.append((_key(seen, item.identity), item.size))
            _decide(plan, item, remembered, options, date)
    plan.doubtful = []
    if new:
        plan.fetch.sort()


def all_gone(plan: Plan, seen: Seen) -> bool:
    """Return whether messages are remembered, and others listed, and none is both."""
    return bool(plan.listed) and len(seen) > 0 and plan.seen == plan.headers == 0


def to_probe(listing: Listing) -> list[int]:
    """Return the numbers of the messages whose headers tell whether only their unique-ids changed: the oldest."""
    return list(islice(listing.uids, PROBES))


def uids_changed(found: Mapping[int, bytes], seen: Seen, options: Options, date: float) -> bool:
    """Return whether `all_gone` means that the unique-ids changed, given the fingerprints that were *found*."""
    remembered = [entry for identity in seen if (entry := seen.get(*identity)) is not None]
    known = {entry.fingerprint for entry in remembered if entry.fingerprint}
    if not found or not known:  # no TOP; or another program fetched them, and nobody knows their headers
        # What this fetch deletes is gone for a reason.
        unexplained = [entry for entry in remembered if not options.old_enough(entry.delivered_at, date)]
        return len(unexplained) >= ENOUGH_REMEMBERED
    alike = sum(fingerprint in known for fingerprint in found.values())
    return alike >= (SURE_WHEN_DELETING if options.deletes else 1)


def listed_as(plan: Plan) -> list[bytes]:
    """Return what of the remembered stays remembered: what is listed, whether it was fetched in full or not."""
    return plan.listed + [HEADER_MARK + uid for uid in plan.listed if is_lasting(uid)]


def safe_to_delete(plan: Plan, items: list[Item]) -> tuple[list[Item], list[Item]]:
    """Return which of *items*, all delivered, may be deleted, and which not yet.

    Of messages with the same unique-id all are deleted or none: were only the first, the second would be taken for it.
    """
    if not plan.copies:
        return items, []
    ready: dict[bytes, int] = {}
    for item in items:
        ready[item.identity.uid] = ready.get(item.identity.uid, 0) + 1
    safe: list[Item] = []
    held: list[Item] = []
    for item in items:
        uid = item.identity.uid
        all_ready = not is_lasting(uid) or ready[uid] >= plan.copies.get(uid, 1)
        (safe if all_ready else held).append(item)
    return safe, held


def _plan_new(plan: Plan, item: Item, options: Options, failed: AbstractSet[Identity]) -> None:
    if options.max_size is not None and item.size > options.max_size and not options.headers_only:
        plan.too_large += 1
    elif item.identity not in failed:
        plan.fetch.append(item)


def _plan_deletion(plan: Plan, item: Item, seen: Seen, options: Options, date: float) -> None:
    remembered = seen.get(*item.identity)
    if remembered is None or not options.old_enough(remembered.delivered_at, date):
        return
    if not remembered.octets:
        plan.strangers += 1
    elif not (item.size and remembered.size) and remembered.fingerprint:
        plan.doubtful.append(item)
    else:
        _decide(plan, item, remembered, options, date)


def _decide(plan: Plan, item: Item, remembered: Remembered, options: Options, date: float) -> None:
    """Delete *item*, which is the message that is remembered, if that is asked for and it came whole."""
    if not options.old_enough(remembered.delivered_at, date):
        return
    if not remembered.octets:
        plan.strangers += 1
    elif remembered.octets < item.size:
        plan.kept.append((item, too_short(remembered.octets, item.size)))
    else:
        plan.delete.append(item)


def too_short(octets: int, size: int) -> str:
    """Return why a message is kept that came shorter than the scan listing says (quirk q102)."""
    return f"{octets} octets came of the {size} that the server lists"


def _key(seen: Seen, identity: Identity) -> Identity:
    return identity if identity in seen else Identity(HEADER_MARK + identity.uid, identity.occurrence)


def _remembered(seen: Seen, identity: Identity) -> Remembered | None:
    return seen.get(*_key(seen, identity))
