"""Doubt: whether a message that is listed under a remembered unique-id is the message that is remembered.

Pure. Owns what is decided by a message's header, which is given as its fingerprint. When the server said that it
deleted a message, the message is gone: its unique-id stands for another message until the header shows otherwise
(quirks q122, q139, q142). A unique-id that is a small number may be given again at any time, so a few of them are
looked at in every session, and all of them when one has changed. When the server gives no header, the message is
fetched once more.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TypeVar

from pop3fast.fetch._identity import Identity, is_number
from pop3fast.fetch._options import Options
from pop3fast.fetch._plan import (
    HEADER_MARK,
    LEFT_MARK,
    REFUSED_BEFORE,
    REFUSED_MARK,
    SHORT_MARK,
    SKIPPED_MARK,
    Item,
    Known,
    Listing,
    Plan,
    marks_of,
    plan_known,
    plan_new,
)
from pop3fast.fetch.memory._seen import PATIENCE_WITH_DELETIONS, Remembered, Seen

PROBES = 10
"""So many messages are looked at to find out whether all unique-ids changed: one round trip, and enough not to be
fooled by a few that are new."""

ENOUGH_REMEMBERED = 5
"""From so many messages on, all of them gone at once is taken for a change of unique-ids when it cannot be checked."""

SURE_WHEN_DELETING = 2
"""Where deleting is usual, one message like a remembered one may be a second copy of what was deleted; two are not."""

LOOK_AMONG = 10
"""So many messages at either end of the maildrop are considered when a few numbers are looked at."""

NO_DIGITS = bytes(octet for octet in range(256) if octet not in b"0123456789")

T = TypeVar("T")


def numbers_to_probe(uids: dict[int, str]) -> list[tuple[int, Identity]]:
    """Return messages whose unique-ids are small numbers, at both ends of the maildrop, each with its number.

    Messages come and go at the ends of a maildrop: when one has, the last number is another message now.
    """
    ends = dict(islice(uids.items(), LOOK_AMONG)) | dict(islice(reversed(uids.items()), LOOK_AMONG))
    found: list[tuple[int, Identity]] = []
    for number in sorted(ends):
        uid = ends[number].encode("latin-1")
        if is_number(uid):
            found.append((number, Identity(uid)))
    return found


def prints_of(candidates: list[tuple[int, Identity]], seen: Seen) -> dict[Identity, bytes]:
    """Return the fingerprints of those of *candidates* that are remembered as they were listed last."""
    found: dict[Identity, bytes] = {}
    for _, identity in candidates:
        for key in (*marks_of(identity), _key(seen, identity)):
            remembered = seen.get(*key)
            if remembered is not None and not seen.flags(*key):
                found[identity] = remembered.fingerprint
    return found


def choose_probes(known: Mapping[int, bytes]) -> list[int]:
    """Return which of the messages whose fingerprints are *known* to look at: the first one and the last two."""
    numbers = sorted(known)
    return [*dict.fromkeys([*numbers[:1], *numbers[-2:]])]


def numbers_changed(known: Mapping[int, bytes], found: Mapping[int, bytes]) -> bool:
    """Return whether the header that was *found* belongs to another message than before."""
    return any(fingerprint != known[number] for number, fingerprint in found.items())


def renumbered(plan: Plan, found: Mapping[int, bytes], seen: Seen) -> bool:
    """Return whether the fingerprints that were *found* show that the server gave its numbers to other messages."""
    others: list[Item] = []
    same: set[Identity] = set()
    for item in plan.doubtful:
        if is_number(item.identity.uid) and (fingerprint := found.get(item.number)) is not None:
            remembered = seen.get(*item.identity)
            if remembered is None or remembered.fingerprint not in {b"", fingerprint}:
                others.append(item)
                # Under the number of a message that was deleted another one is expected.
                if remembered is not None and not remembered.deletions:
                    return True
            else:
                same.add(item.identity)
    # Unless that is one that had another number: what has that one now is not the one that is remembered.
    return bool(_moved(others, found, seen, same))


def doubt_deletions(plan: Plan) -> None:
    """Doubt what is to be deleted by a small number, where no header has shown that numbers stand for what they did."""
    plan.doubtful += [item for item in plan.delete if is_number(item.identity.uid)]
    plan.delete = [item for item in plan.delete if not is_number(item.identity.uid)]


def settle(
    plan: Plan,
    found: Mapping[int, bytes],
    seen: Seen,
    options: Options,
    date: float,
    known: Known | None = None,
) -> None:
    """Decide about what is doubtful, given the fingerprints that were *found*, by message number."""
    known = known or Known()
    others: list[tuple[Item, Remembered | None]] = []
    same: set[Identity] = set()
    for item in plan.doubtful:
        key = _key(seen, item.identity)
        remembered = seen.get(*key)
        fingerprint = found.get(item.number)
        if remembered is None or (fingerprint is not None and remembered.fingerprint not in {b"", fingerprint}):
            others.append((item, remembered))
        elif fingerprint is None and _is_open(item, remembered):
            plan.seen -= 1
            plan.again[item] = remembered
            if seen.size(SHORT_MARK + item.identity.uid, item.identity.occurrence) is not None:
                plan.short_before.add(item.identity)
            plan_new(plan, item, options, known)
        elif fingerprint is None and not _sizes_agree(item, remembered):
            plan.kept.append((item, "the server says neither its size nor its header"))
        else:
            same.add(key)
            _settle_same(plan, item, key, remembered, options, date, known)
    moved = _moved([item for item, _ in others], found, seen, same)
    marks = _marks_by_header(seen) if others else {}
    for item, remembered in others:
        plan.seen -= remembered is not None
        if (old := moved.get(item)) is not None and (was := seen.get(*old)) is not None:
            plan.seen += 1
            plan.renamed[old] = item.identity
            _settle_same(plan, item, item.identity, was, options, date, known)
        elif (mark := marks.get(fingerprint := found.get(item.number, b""))) is not None:
            _settle_marked(plan, item, mark, fingerprint)
        else:
            plan_new(plan, item, options, known)
    replaced = [_key(seen, item.identity) for item, remembered in others if remembered is not None]
    plan.replaced = [key for key in replaced if key not in {*plan.renamed, *plan.renamed.values()}]
    plan.doubtful = []
    plan.fetch.sort()


def _is_open(item: Item, remembered: Remembered) -> bool:
    """Return whether *item* may be another message than the *remembered* one, when the server gives no header."""
    if item.size and item.size != remembered.size:
        return bool(remembered.fingerprint)
    if not remembered.fingerprint:
        return False  # another program fetched it, and nothing will ever show more
    # When a message came once more after it was deleted, and was alike, the server keeps it, whatever it says.
    if remembered.deletions >= PATIENCE_WITH_DELETIONS and not (remembered.missing or remembered.marked):
        return False
    if is_number(item.identity.uid):
        return True
    # Where QUIT got no answer, what was marked may be gone, too.
    return remembered.missing or remembered.marked or remembered.deletions > 0


def _sizes_agree(item: Item, remembered: Remembered) -> bool:
    return bool(item.size and remembered.size) or not remembered.fingerprint


def _settle_same(
    plan: Plan, item: Item, key: Identity, remembered: Remembered, options: Options, date: float, known: Known
) -> None:
    if remembered.missing or remembered.marked:
        plan.relisted.append(key)
    if item.size and item.size != remembered.size:
        plan.sizes_changed.append((key, item.size))
    if remembered.deletions:
        plan.returned.append(item)
    plan_known(plan, item, remembered, options, date, known)


def _moved(items: list[Item], found: Mapping[int, bytes], seen: Seen, same: set[Identity]) -> dict[Item, Identity]:
    """Return which of *items* are messages that were remembered under other small numbers, and under which.

    Only where unique-ids are message numbers do messages move. A message that the server said it deleted has not moved:
    one that is alike is another copy. A header that two messages share says nothing.
    """
    wanted = _once((found[item.number], item) for item in items if item.number in found and _is_its_number(item))
    if not wanted:
        return {}
    there = _once(
        (entry.fingerprint, identity)
        for identity in seen
        if _is_whole_number(identity.uid) and (entry := seen.get(*identity)) is not None and not entry.deletions
    )
    moved: dict[Item, Identity] = {}
    for fingerprint, item in wanted.items():
        identity = there.get(fingerprint)
        size = None if identity is None else seen.size(*identity)
        if identity is not None and identity not in same and (not size or not item.size or size == item.size):
            moved[item] = identity
    return moved


def _marks_by_header(seen: Seen) -> dict[bytes, bytes]:
    """Return the marks under small numbers, of what was refused and what was skipped, by fingerprint."""
    return _once(
        (remembered.fingerprint, mark)
        for identity in seen
        for mark in (REFUSED_MARK, SKIPPED_MARK)
        if identity.uid.startswith(mark) and is_number(identity.uid)
        if (remembered := seen.get(*identity)) is not None
    )


def _settle_marked(plan: Plan, item: Item, mark: bytes, fingerprint: bytes) -> None:
    """Leave *item*, which was refused or skipped under another small number, as it was left before."""
    uid, occurrence = item.identity
    plan.marked.append((Identity(mark + uid, occurrence), item.size, fingerprint))
    if mark == REFUSED_MARK:
        plan.refused.append((item, REFUSED_BEFORE))
    else:
        plan.seen += 1


def _is_its_number(item: Item) -> bool:
    """Return whether the unique-id of *item* is its message number, perhaps behind letters and zeros."""
    return item.identity.uid.lstrip(NO_DIGITS).lstrip(b"0") == b"%d" % item.number


def _is_whole_number(uid: bytes) -> bool:
    return is_number(uid) and not uid.startswith((HEADER_MARK, LEFT_MARK))


def _once(pairs: Iterable[tuple[bytes, T]]) -> dict[bytes, T]:
    """Return the *pairs* whose fingerprint is in no other."""
    found: dict[bytes, T] = {}
    twice: set[bytes] = set()
    for fingerprint, value in pairs:
        if fingerprint in found:
            twice.add(fingerprint)
        found[fingerprint] = value
    return {fingerprint: value for fingerprint, value in found.items() if fingerprint and fingerprint not in twice}


def _key(seen: Seen, identity: Identity) -> Identity:
    return identity if identity in seen else Identity(HEADER_MARK + identity.uid, identity.occurrence)


# Whether all unique-ids changed.


def to_probe(listing: Listing) -> list[int]:
    """Return the numbers of the messages whose headers tell whether only their unique-ids changed: the oldest."""
    return list(islice(listing.uids, PROBES))


def uids_changed(found: Mapping[int, bytes], seen: Seen, options: Options, date: float) -> bool:
    """Return whether `all_gone` means that the unique-ids changed, given the fingerprints that were *found*.

    Messages that the server said it deleted are gone for a reason, and so are those that another program fetched and no
    listing had.
    """
    remembered = [entry for identity in seen if (entry := seen.get(*identity)) is not None and not entry.deletions]
    known = {entry.fingerprint for entry in remembered if entry.fingerprint}
    if not found or not known:  # no TOP; or another program fetched them, and nobody knows their headers
        there = [entry for entry in remembered if not entry.missing]
        # What this fetch deletes is gone for a reason, too.
        unexplained = [entry for entry in there if not options.old_enough(entry.delivered_at, date)]
        return len(unexplained) >= ENOUGH_REMEMBERED
    alike = sum(fingerprint in known for fingerprint in found.values())
    return alike >= (SURE_WHEN_DELETING if options.deletes else 1)
