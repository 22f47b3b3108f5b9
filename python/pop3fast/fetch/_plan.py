"""What to fetch and what may be deleted, from what the server lists, what is remembered and what was asked for.

Pure: no socket, no disk, no clock. Owns what a unique-id is worth. When two messages have the same one, their order
tells them apart. When it is empty, or known not to last, the message is fetched every time and recognised by its
content. When it may stand for another message now, it is doubtful, and `_doubt` decides before anything is skipped or
deleted. In doubt a message is fetched once more rather than deleted once too early.
"""

from collections import Counter
from collections.abc import Container, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

from pop3fast.fetch._identity import Identity, is_lasting, is_number
from pop3fast.fetch._options import Options
from pop3fast.fetch._sizes import kept_as_short
from pop3fast.fetch.memory._seen import MARKED, MISSING, MOST_DELETIONS, PATIENCE_WITH_DELETIONS, Remembered, Seen

HEADER_MARK = b"\n"
"""Before a unique-id: only the header was fetched. No server can send it in a unique-id, because it is part of a line
end."""

LEFT_MARK = b"\r"
"""Before a unique-id, in the same way: the message was there before `Options.since_last` began to count."""

SHORT_MARK = b"\n\r"
"""The same: the message came too short to be whole, if the sizes are exact. The sizes have been learned from it."""

REFUSED_MARK = b"\r\r"
"""The same: the destination refused the message for good."""

SKIPPED_MARK = b"\n\n"
"""The same: the filter skipped it, and it counts as seen."""

MOST_OCTETS = 2**63 - 1
"""A larger size in a listing counts as this: a state can hold no more, and no message is that large."""

REFUSED_BEFORE = "the destination refused it before, and it is not tried again until that is asked for"

BEFORE_THE_LAST = "it is listed before the last message that was fetched"

A_STRANGERS = "another program fetched it, and nothing shows whether it was delivered"


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
    """True when LIST and UIDL agree, so no message is missing."""


class Known(NamedTuple):
    """What this run knows beside the state."""

    failed: AbstractSet[Identity] = frozenset()
    """What is not to be fetched again."""
    deleted: AbstractSet[Identity] = frozenset()
    """What is not to be deleted again."""
    recognised: AbstractSet[Identity] = frozenset()
    """What was listed again after it was deleted, and its header said that it is the same."""
    left: bool = False
    """Whether what was there before `Options.since_last` began to count is remembered."""
    sizes_are_exact: bool = False
    """Whether a message that came shorter than it is listed did not come whole."""
    sizes_are_estimates: bool = False
    """Whether such a message came whole all the same."""
    again: AbstractSet[Identity] = frozenset()
    """What was fetched again in this run, because that was asked for."""


@dataclass
class Plan:
    """What one session is to do."""

    fetch: list[Item] = field(default_factory=list)
    delete: list[Item] = field(default_factory=list)
    """Delivered in an earlier session, and to be deleted."""
    doubtful: list[Item] = field(default_factory=list)
    """Seen by their unique-ids, but perhaps other messages. `settle` says which."""
    kept: list[tuple[Item, str]] = field(default_factory=list)
    """Would be deleted, and are kept for a reason."""
    left: list[tuple[Item, str]] = field(default_factory=list)
    """New, and not to be fetched for a reason."""
    refused: list[tuple[Item, str]] = field(default_factory=list)
    """New, and not to be fetched because the destination refused them before."""
    unmarked: list[Identity] = field(default_factory=list)
    """Refused or skipped before, and no longer: they are asked for, or they may be others now."""
    marked: list[tuple[Identity, int, bytes]] = field(default_factory=list)
    """Refused or skipped before, and listed under other small numbers now, with their sizes and fingerprints."""
    leave: list[Identity] = field(default_factory=list)
    """Those of `left` that are to be remembered as left."""
    returned: list[Item] = field(default_factory=list)
    """Deleted, as the server said, and listed again."""
    again: dict[Item, Remembered] = field(default_factory=dict)
    """Fetched once more because nothing else shows whether they are the remembered messages, each with that one."""
    sizes_changed: list[tuple[Identity, int]] = field(default_factory=list)
    """Messages that are the same although the server gives another size now."""
    relisted: list[Identity] = field(default_factory=list)
    """Remembered ones that the last complete listing lacked, and this one has."""
    replaced: list[Identity] = field(default_factory=list)
    """Remembered ones whose unique-ids stand for other messages now."""
    renamed: dict[Identity, Identity] = field(default_factory=dict)
    """Remembered ones that have other unique-ids now, from old to new."""
    counts: dict[bytes, int] = field(default_factory=dict)
    """Every unique-id that is listed, and how often."""
    listed: int = 0
    """How many messages are listed."""
    seen: int = 0
    """How many of them had been fetched."""
    others: int = 0
    """How many of the rest had been fetched as headers, or left."""
    short: list[Item] = field(default_factory=list)
    """Delivered, and shorter than they are listed, of which nobody knows yet whether they are whole."""
    short_before: set[Identity] = field(default_factory=set)
    """Messages that came before, and were too short to be whole."""
    nameless: int = 0
    """How many have no unique-id that lasts."""


def marks_of(identity: Identity) -> list[Identity]:
    """Return the identities by which a message is remembered that the destination refused or the filter skipped."""
    return [Identity(mark + identity.uid, identity.occurrence) for mark in (REFUSED_MARK, SKIPPED_MARK)]


def remembered_as(identity: Identity, options: Options) -> Identity:
    """Return the identity to remember a message by: another one when only its header was fetched."""
    if options.headers_only and is_lasting(identity.uid):
        return Identity(HEADER_MARK + identity.uid, identity.occurrence)
    return identity


def make_plan(
    listing: Listing,
    seen: Seen,
    options: Options,
    date: float,
    known: Known | None = None,
    *,
    doubted: Container[int] = (),
) -> Plan:
    """Return what to do about *listing* on *date* (seconds of the account's own time). Raises nothing.

    A unique-id that is a small number is doubtful where the message number is in *doubted*.
    """
    maker = _Maker(seen, options, date, known or Known(), doubted)
    for number, text in listing.uids.items():
        uid = text.encode("latin-1")
        # A unique-id that does not last counts as none: the next session would not know it.
        maker.add(number, uid if is_lasting(uid) else b"", listing.sizes.get(number, 0))
    plan = maker.plan
    plan.listed = len(listing.uids)
    plan.nameless = sum(count for uid, count in plan.counts.items() if not is_lasting(uid))
    return plan


class _Maker:
    """Makes a plan, message by message."""

    def __init__(self, seen: Seen, options: Options, date: float, known: Known, doubted: Container[int]) -> None:
        self.plan = Plan()
        self._seen = seen
        self._options = options
        self._date = date
        self._known = known
        self._doubted = doubted
        self._counts_position = options.since_last and not known.left

    def add(self, number: int, uid: bytes, size: int) -> None:
        plan, seen = self.plan, self._seen
        occurrence = plan.counts.get(uid, 0)
        plan.counts[uid] = occurrence + 1
        size = min(size, MOST_OCTETS)
        key = uid
        remembered = seen.size(uid, occurrence)
        if remembered is None and self._options.headers_only:
            key = HEADER_MARK + uid
            remembered = seen.size(key, occurrence)
        item = Item(number, Identity(uid, occurrence), size)
        if self._options.again(uid) and item.identity not in self._known.again:
            marked = [identity for identity in marks_of(item.identity) if identity in seen]
            plan.others += remembered is not None or bool(marked)
            plan.unmarked += marked
            plan_new(plan, item, self._options, self._known)
            return
        if remembered is None or not is_lasting(uid):
            self._add_new(item, doubtful=self._doubts(item))
            return
        plan.seen += 1
        if self._counts_position:
            self._leave_before()
        flags = seen.flags(key, occurrence) if seen.flagged else 0
        if self._has_another_size(size, remembered, Identity(key, occurrence)) or self._is_doubtful(item, flags):
            plan.doubtful.append(item)
            return
        if flags & MISSING:
            plan.relisted.append(Identity(key, occurrence))
        # What came whole, and is listed as larger now, is not short.
        if size and seen.is_short(uid, occurrence) and seen.size(SHORT_MARK + uid, occurrence) is not None:
            self._add_short(item)
        elif self._options.deletes:
            self._add_deletion(item)

    def _has_another_size(self, size: int, remembered: int, key: Identity) -> bool:
        """Return whether a message has not the size that it had, as far as its header can tell what that means."""
        if not size or size == remembered:
            return False
        if remembered or ((known := self._seen.get(*key)) is not None and known.fingerprint):
            return True
        # Another program fetched it, and nobody knows its header: from now on only its size can show a change.
        self.plan.sizes_changed.append((key, size))
        return False

    def _doubts(self, item: Item) -> bool:
        return item.number in self._doubted and is_number(item.identity.uid)

    def _is_doubtful(self, item: Item, flags: int) -> bool:
        if not flags:
            return self._doubts(item)
        if is_number(item.identity.uid):
            return True
        deletions = flags & MOST_DELETIONS
        if flags & MARKED or (deletions and flags & MISSING):
            return True
        # Whoever has ignored so many deletions of it still has it.
        return 0 < deletions < PATIENCE_WITH_DELETIONS and item.identity not in self._known.recognised

    def _add_new(self, item: Item, *, doubtful: bool) -> None:
        plan, options, (uid, occurrence) = self.plan, self._options, item.identity
        left = self._seen.size(LEFT_MARK + uid, occurrence) is not None
        if self._seen.size(SHORT_MARK + uid, occurrence) is not None:
            plan.short_before.add(item.identity)
        if self._is_marked(SKIPPED_MARK, item):
            plan.seen += 1
            return
        refused = self._is_marked(REFUSED_MARK, item)
        plan.others += left or refused or self._seen.size(HEADER_MARK + uid, occurrence) is not None
        if refused:
            plan.refused.append((item, REFUSED_BEFORE))
        elif doubtful:
            plan.doubtful.append(item)
        elif left and options.since_last:
            plan.left.append((item, BEFORE_THE_LAST))
        else:
            plan_new(plan, item, options, self._known)

    def _is_marked(self, mark: bytes, item: Item) -> bool:
        """Return whether *item* is remembered with this *mark*. One of another size is another message."""
        uid, occurrence = item.identity
        size = self._seen.size(mark + uid, occurrence)
        if size is None:
            return False
        if (size and item.size and size != item.size) or self._doubts(item):
            self.plan.unmarked.append(Identity(mark + uid, occurrence))
            return False
        if self._seen.flags(mark + uid, occurrence) & MISSING:
            self.plan.relisted.append(Identity(mark + uid, occurrence))
        return True

    def _leave_before(self) -> None:
        """Leave what was found new so far: it is listed before a message that had been fetched."""
        plan = self.plan
        items = sorted([*plan.fetch, *(item for item, _ in plan.left)])
        plan.left = [(item, BEFORE_THE_LAST) for item in items]
        plan.leave = [item.identity for item in items if is_lasting(item.identity.uid)]
        plan.fetch.clear()

    def _add_short(self, item: Item) -> None:
        """Fetch *item* again, which came shorter than it was listed, if sizes show by now that it is not whole."""
        self.plan.short_before.add(item.identity)
        remembered = self._seen.get(*item.identity)
        if remembered is not None:
            plan_known(self.plan, item, remembered, self._options, self._date, self._known)

    def _add_deletion(self, item: Item) -> None:
        remembered = self._seen.get(*item.identity)
        if remembered is None or item.identity in self._known.deleted:
            return
        if not self._options.old_enough(remembered.delivered_at, self._date):
            return
        if remembered.octets and remembered.fingerprint and not (item.size and remembered.size):
            self.plan.doubtful.append(item)
        else:
            plan_known(self.plan, item, remembered, self._options, self._date, self._known)


def plan_new(plan: Plan, item: Item, options: Options, known: Known) -> None:
    """Fetch *item*, which is new, unless it is too large or failed before."""
    if options.max_size is not None and item.size > options.max_size and not options.headers_only:
        plan.left.append((item, too_large(item.size, options.max_size)))
    elif item.identity not in known.failed:
        plan.fetch.append(item)


def plan_known(plan: Plan, item: Item, remembered: Remembered, options: Options, date: float, known: Known) -> None:
    """Delete *item*, which is the message that is *remembered*, if that is asked for and it came whole."""
    may_be_short = remembered.octets > 0 and not options.headers_only
    # Or its size was not listed when it came, and is now.
    listed = remembered.size or item.size
    if may_be_short and remembered.octets < listed and known.sizes_are_exact:
        # It was fetched when nobody knew yet that these sizes are exact.
        plan.seen -= 1
        plan_new(plan, item, options, known)
        return
    if may_be_short and remembered.octets < min(item.size, listed) and not known.sizes_are_estimates:
        plan.short.append(item)
    if not options.deletes or item.identity in known.deleted or not options.old_enough(remembered.delivered_at, date):
        return
    if remembered.deletions >= PATIENCE_WITH_DELETIONS:
        plan.kept.append((item, f"the server said {remembered.deletions} times that it deleted it, and lists it still"))
    elif not remembered.octets:
        plan.kept.append((item, A_STRANGERS))
    elif remembered.octets < item.size and not known.sizes_are_estimates:
        plan.kept.append((item, kept_as_short(remembered.octets, item.size)))
    else:
        plan.delete.append(item)


def all_gone(plan: Plan, seen: Seen) -> bool:
    """Return whether there are remembered and listed messages, but none that is both."""
    return bool(plan.counts) and len(seen) > 0 and plan.seen == plan.others == 0


def missing_from(plan: Plan, seen: Seen) -> list[Identity]:
    """Return which remembered messages the listing lacks that the one before had."""
    if plan.seen == len(seen) and not seen.missing:
        return []
    counts = plan.counts
    return [
        identity
        for identity in seen
        if identity.occurrence >= counts.get(identity.uid.lstrip(HEADER_MARK + LEFT_MARK), 0)
        and not seen.flags(*identity) & MISSING
    ]


def gone_of(marked: AbstractSet[Identity], plan: Plan) -> int:
    """Return how many of the messages *marked* as deleted the listing of *plan* no longer has.

    Of those with the same unique-id, which ones stayed does not show: the first places are theirs now.
    """
    others = {*plan.replaced, *plan.renamed}
    copies = Counter(identity.uid for identity in marked)
    listed = plan.counts
    alone = [each for each in marked if copies[each.uid] == 1]
    gone = sum(each in others or each.occurrence >= listed.get(each.uid, 0) for each in alone)
    return gone + sum(max(0, count - listed.get(uid, 0)) for uid, count in copies.items() if count > 1)


def safe_to_delete(plan: Plan, items: list[Item]) -> tuple[list[Item], list[Item]]:
    """Return which of *items*, all delivered, may be deleted, and which not yet.

    Messages with the same unique-id are deleted together or not at all: if only the first were deleted, the second
    would be taken for it.
    """
    if len(plan.counts) == plan.listed:
        return items, []
    ready: dict[bytes, int] = {}
    for item in items:
        ready[item.identity.uid] = ready.get(item.identity.uid, 0) + 1
    safe: list[Item] = []
    held: list[Item] = []
    for item in items:
        uid = item.identity.uid
        all_ready = not is_lasting(uid) or ready[uid] >= plan.counts.get(uid, 1)
        (safe if all_ready else held).append(item)
    return safe, held


def too_large(octets: int, most: int) -> str:
    """Return why a message is left that has *octets*."""
    return f"its {octets:,} bytes are more than {most:,}"
