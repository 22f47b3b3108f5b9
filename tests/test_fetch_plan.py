"""What is fetched and what may be deleted, for every kind of unique-id that a server was seen to have."""

import pytest

from fetching import flags_of
from pop3fast.fetch import Entry, Identity, Options, Seen
from pop3fast.fetch._doubt import (
    choose_probes,
    doubt_deletions,
    numbers_changed,
    numbers_to_probe,
    prints_of,
    renumbered,
    settle,
    to_probe,
    uids_changed,
)
from pop3fast.fetch._identity import Copies
from pop3fast.fetch._plan import (
    BEFORE_THE_LAST,
    HEADER_MARK,
    LEFT_MARK,
    MOST_OCTETS,
    Item,
    Known,
    Listing,
    Plan,
    all_gone,
    gone_of,
    make_plan,
    missing_from,
    remembered_as,
    safe_to_delete,
)

NOW = 1_800_000_000.0
DAY = 86400
PRINT = b"p" * 16
OTHER = b"q" * 16


def listing(*uids: str, sizes: dict[int, int] | None = None, complete: bool = True) -> Listing:
    numbered = dict(enumerate(uids, 1))
    return Listing(numbered, dict.fromkeys(numbered, 100) if sizes is None else sizes, complete)


def seen(
    *uids: bytes,
    size: int = 100,
    octets: int = 100,
    age: float = 0,
    occurrence: int = 0,
    mark: bytes = PRINT,
    flags: int = 0,
) -> Seen:
    remembered = Seen()
    remembered.extend([(uid, occurrence, size, mark, int(NOW - age * DAY), octets, flags) for uid in uids])
    return remembered


def remembering(*rows: tuple[bytes, bytes, int]) -> Seen:
    """Remember unique-ids with fingerprints and flags, of 100 octets each."""
    remembered = Seen()
    remembered.extend([(uid, 0, 100, mark, int(NOW), 100, flags) for uid, mark, flags in rows])
    return remembered


def mark_of(number: int) -> bytes:
    return b"%016d" % number


def nothing() -> Seen:
    return Seen()


def numbers(items: list[Item]) -> list[int]:
    return [item.number for item in items]


def planned(listed: Listing, known: Seen, options: Options | None = None) -> Plan:
    return make_plan(listed, known, options or Options(), NOW)


def test_what_is_new_is_fetched_in_order() -> None:
    plan = planned(listing("a", "b", "c"), seen(b"b"))
    assert plan.fetch == [Item(1, Identity(b"a"), 100), Item(3, Identity(b"c"), 100)]
    assert (plan.seen, plan.delete, plan.doubtful) == (1, [], [])


def test_copies_are_told_apart_by_their_order() -> None:
    plan = planned(listing("x", "x", "y", "x"), seen(b"x"))
    assert [item.identity for item in plan.fetch] == [Identity(b"x", 1), Identity(b"y", 0), Identity(b"x", 2)]
    assert plan.counts == {b"x": 3, b"y": 1}


@pytest.mark.parametrize("uid", ["", "ENOMEM-17"])
def test_quirk_q73_q75_what_does_not_last_is_fetched_each_time(uid: str) -> None:
    plan = planned(listing(uid, uid, "a"), seen(b"a", b"ENOMEM-17"))
    assert numbers(plan.fetch) == [1, 2]
    assert plan.nameless == 2


def test_quirk_q72_a_long_unique_id_of_any_octets_is_one() -> None:
    uid = bytes(range(0x80, 0x100)) * 32
    assert numbers(planned(listing(uid.decode("latin-1")), nothing()).fetch) == [1]
    assert planned(listing(uid.decode("latin-1")), seen(uid)).fetch == []


def test_quirk_q77_a_unique_id_of_another_size_is_asked_about() -> None:
    known = seen(b"a", b"b", size=99)
    plan = planned(listing("a", "b"), known, Options(delete=True))
    assert (numbers(plan.doubtful), plan.fetch, plan.delete) == ([1, 2], [], [])
    settle(plan, {1: PRINT, 2: OTHER}, known, Options(delete=True), NOW)
    assert numbers(plan.fetch) == [2]
    assert numbers(plan.delete) == [1]
    assert plan.sizes_changed == [(Identity(b"a"), 100)]
    assert plan.seen == 1


def test_what_cannot_be_asked_about_is_fetched_once_more_and_not_deleted() -> None:
    known = seen(b"a", size=99)
    plan = planned(listing("a"), known, Options(delete=True))
    settle(plan, {}, known, Options(delete=True), NOW)
    assert (numbers(plan.fetch), plan.delete, numbers([*plan.again]), plan.seen) == ([1], [], [1], 0)


@pytest.mark.parametrize("uid", ["a", "1"])
def test_quirk_q139_what_was_deleted_is_another_message_until_its_header_says_otherwise(uid: str) -> None:
    options = Options(delete=True)
    known = seen(uid.encode(), flags=flags_of(deletions=1))
    for found, fetched, deleted, returned, replaced in (
        ({1: OTHER}, [1], [], [], [Identity(uid.encode())]),
        ({1: PRINT}, [], [1], [1], []),
        ({}, [1], [], [], []),
    ):
        plan = planned(listing(uid), known, options)
        assert (numbers(plan.doubtful), plan.fetch, plan.delete) == ([1], [], [])
        settle(plan, found, known, options, NOW)
        assert (numbers(plan.fetch), numbers(plan.delete), numbers(plan.returned)) == (fetched, deleted, returned)
        assert plan.replaced == replaced


def test_quirk_q142_what_is_listed_after_two_deletions_is_kept_and_asked_about_no_more() -> None:
    options = Options(delete=True)
    known = seen(b"a", flags=flags_of(deletions=2))
    plan = planned(listing("a"), known, options)
    assert (plan.doubtful, plan.fetch, plan.delete) == ([], [], [])
    assert [(item.number, why) for item, why in plan.kept] == [
        (1, "the server said 2 times that it deleted it, and lists it still")
    ]
    assert planned(listing("a"), known).kept == []
    assert numbers(planned(listing("1"), seen(b"1", flags=flags_of(deletions=2)), options).doubtful) == [1]
    gone_meanwhile = seen(b"a", flags=flags_of(deletions=2, missing=True))
    assert numbers(planned(listing("a"), gone_meanwhile, options).doubtful) == [1]


def test_what_may_have_been_deleted_is_asked_about_and_is_nothing_that_came_back() -> None:
    options = Options(delete=True)
    known = seen(b"a", b"7", flags=flags_of(marked=True))
    plan = planned(listing("a", "7"), known, options)
    assert numbers(plan.doubtful) == [1, 2]
    settle(plan, {1: PRINT, 2: OTHER}, known, options, NOW)
    assert (numbers(plan.delete), numbers(plan.fetch), plan.returned) == ([1], [2], [])
    assert plan.relisted == [Identity(b"a")]
    plan = planned(listing("a", "7"), known, options)
    settle(plan, {}, known, options, NOW)
    assert (numbers(plan.delete), numbers(plan.fetch)) == ([], [1, 2]), "QUIT got no answer: what was deleted?"


def test_what_was_recognised_in_this_run_is_not_asked_about_again_but_for_numbers() -> None:
    known = seen(b"a", b"1", flags=flags_of(deletions=1))
    recognised = Known(recognised={Identity(b"a"), Identity(b"1")}, deleted={Identity(b"a")})
    plan = make_plan(listing("a", "1"), known, Options(delete=True), NOW, recognised)
    assert (numbers(plan.doubtful), plan.delete) == ([2], [])


def test_what_a_listing_lacked_is_the_same_when_it_is_listed_again_unless_it_is_a_number() -> None:
    known = seen(b"a", b"7", flags=flags_of(missing=True))
    plan = planned(listing("a", "7"), known)
    assert (plan.relisted, numbers(plan.doubtful)) == ([Identity(b"a")], [2])
    settle(plan, {2: PRINT}, known, Options(), NOW)
    assert (plan.relisted, plan.fetch) == ([Identity(b"a"), Identity(b"7")], [])
    plan = planned(listing("a", "7"), known)
    settle(plan, {}, known, Options(), NOW)
    assert numbers(plan.fetch) == [2]
    deleted_before = remembering((b"a", PRINT, flags_of(missing=True)), (b"b", PRINT, flags_of(deletions=2)))
    assert planned(listing("a", "b"), deleted_before).relisted == [Identity(b"a")], "the other one was never missing"


def test_which_messages_a_listing_lacks() -> None:
    known = remembering((b"a", PRINT, 0), (b"b", PRINT, flags_of(missing=True)), (b"c", PRINT, 0))
    assert missing_from(planned(listing("a"), known), known) == [Identity(b"c")]
    assert missing_from(planned(listing("a", "c"), known), known) == []
    marked = seen(HEADER_MARK + b"a", LEFT_MARK + b"b", HEADER_MARK + b"c")
    assert missing_from(planned(listing("a", "b"), marked), marked) == [Identity(HEADER_MARK + b"c")]
    copies = seen(b"x", occurrence=2)
    assert missing_from(planned(listing("x", "x"), copies), copies) == [Identity(b"x", 2)]


def test_of_copies_that_were_marked_as_many_are_gone_as_are_not_listed() -> None:
    """The one that stayed has the first place now, where its header shows another message."""
    copies = {Identity(b"x", 0), Identity(b"x", 1), Identity(b"x", 2)}
    plan = planned(listing("x", "a", "b"), seen(b"x"))
    plan.replaced = [Identity(b"x", 0), Identity(b"b", 0)]
    assert gone_of(copies, plan) == 2
    assert gone_of(copies | {Identity(b"a"), Identity(b"b"), Identity(b"c")}, plan) == 4, (
        "b is another, c is not listed"
    )
    assert gone_of({Identity(b"x", 0)}, plan) == gone_of({Identity(b"x", 1)}, plan) == 1
    assert gone_of({Identity(b"a")}, plan) == gone_of(set(), plan) == 0


# Unique-ids that are message numbers (quirk q139).


def test_a_few_numbers_at_both_ends_are_looked_at() -> None:
    uids = {number: str(number) for number in range(1, 31)} | {31: "0123456789abcdef", 32: "32"}
    candidates = numbers_to_probe(uids)
    assert [number for number, _ in candidates] == [*range(1, 11), *range(23, 31), 32]
    known = remembering(*((b"%d" % number, mark_of(number), 0) for number in range(3, 31)))
    assert prints_of(candidates, known) == {
        Identity(b"%d" % number): mark_of(number) for number in [*range(3, 11), *range(23, 31)]
    }
    assert choose_probes({number: mark_of(number) for number in range(3, 31)}) == [3, 29, 30]
    assert choose_probes({2: mark_of(2), 1: mark_of(1)}) == [1, 2]
    assert not numbers_changed({3: mark_of(3)}, {3: mark_of(3)})
    assert numbers_changed({3: mark_of(3), 4: mark_of(4)}, {3: mark_of(3), 4: mark_of(5)})
    assert not numbers_changed({3: mark_of(3)}, {}), "no TOP"
    assert numbers_to_probe({1: "1700000000.1", 2: "UID7-1700000000", 3: "uid00000003"}) == []
    deleted = remembering((b"1", PRINT, flags_of(deletions=1)))
    assert prints_of([(1, Identity(b"1"))], deleted) == {}, "another is expected there"


def planned_in_doubt(listed: Listing, known: Seen, found: dict[int, bytes], options: Options | None = None) -> Plan:
    options = options or Options()
    plan = make_plan(listed, known, options, NOW, doubted=listed.uids)
    settle(plan, found, known, options, NOW)
    return plan


def test_numbers_that_were_given_anew_follow_their_messages() -> None:
    """Of four messages the first and the third have gone, and two have come."""
    known = remembering(*((b"%d" % number, mark_of(number), 0) for number in range(1, 5)))
    found = {1: mark_of(2), 2: mark_of(4), 3: mark_of(5), 4: mark_of(6)}
    plan = planned_in_doubt(listing("1", "2", "3", "4"), known, found, Options(delete=True))
    assert plan.renamed == {Identity(b"2"): Identity(b"1"), Identity(b"4"): Identity(b"2")}
    assert (numbers(plan.fetch), numbers(plan.delete), plan.seen) == ([3, 4], [1, 2], 2)
    assert plan.replaced == [Identity(b"3")]


def test_numbers_that_count_from_the_newest_follow_their_messages() -> None:
    known = remembering(*((b"%d" % number, mark_of(number), 0) for number in range(1, 4)))
    found = {1: mark_of(9), 2: mark_of(1), 3: mark_of(2), 4: mark_of(3)}
    plan = planned_in_doubt(listing("1", "2", "3", "4"), known, found)
    assert (numbers(plan.fetch), len(plan.renamed), plan.replaced, plan.seen) == ([1], 3, [], 3)


def test_a_header_that_two_messages_share_moves_none() -> None:
    known = remembering((b"1", PRINT, 0), (b"2", PRINT, 0), (b"3", OTHER, 0))
    plan = planned_in_doubt(listing("1", "2", "3"), known, {1: PRINT, 2: OTHER, 3: PRINT})
    assert plan.renamed == {Identity(b"3"): Identity(b"2")}
    assert numbers(plan.fetch) == [3]


@pytest.mark.parametrize(
    ("known", "listed"),
    [
        ((b"10001", PRINT, 0), "10002"),
        ((b"10001", PRINT, flags_of(marked=True)), "uid10002"),
        ((b"2", PRINT, flags_of(deletions=1)), "1"),
    ],
    ids=["counted", "counted, and perhaps deleted", "deleted"],
)
def test_a_second_copy_is_not_taken_for_the_message_that_is_remembered(
    known: tuple[bytes, bytes, int], listed: str
) -> None:
    """Alike to the last octet, it was never delivered, and the remembered one is gone."""
    remembered = remembering(known)
    plan = planned_in_doubt(listing(listed), remembered, {1: PRINT}, Options(delete=True))
    assert (numbers(plan.fetch), plan.delete, plan.renamed) == ([1], [], {})


def test_numbers_behind_letters_and_zeros_move_too() -> None:
    known = remembering((b"m0002", PRINT, 0), (b"m0001", OTHER, 0))
    plan = planned_in_doubt(listing("m0001"), known, {1: PRINT})
    assert plan.renamed == {Identity(b"m0002"): Identity(b"m0001")}


def test_without_its_header_nothing_is_deleted_by_a_number_before_it_came_once_more() -> None:
    """Another message may have it since one was deleted: it has the same size, as huge ones have."""
    known, options = seen(b"1", b"unique-id-of-a-message"), Options(delete=True)
    plan = planned(listing("1", "unique-id-of-a-message"), known, options)
    doubt_deletions(plan)
    settle(plan, {}, known, options, NOW)
    assert (numbers(plan.fetch), numbers([*plan.again]), numbers(plan.delete)) == ([1], [1], [2])
    doubt_deletions(plan := planned(listing("1"), known, options))
    settle(plan, {1: PRINT}, known, options, NOW)
    assert (plan.fetch, numbers(plan.delete)) == ([], [1])


def test_a_message_of_another_size_does_not_move() -> None:
    known = remembering((b"1", mark_of(1), 0), (b"2", mark_of(2), 0))
    plan = planned_in_doubt(listing("1", sizes={1: 99}), known, {1: mark_of(2)})
    assert (numbers(plan.fetch), plan.renamed) == ([1], {})


def test_one_number_that_stands_for_another_message_puts_all_in_doubt() -> None:
    known = remembering((b"1", PRINT, flags_of(missing=True)), (b"2", PRINT, flags_of(deletions=1)))
    plan = planned(listing("1", "2"), known)
    assert renumbered(plan, {1: OTHER, 2: PRINT}, known)
    assert not renumbered(plan, {1: PRINT, 2: OTHER}, known), "under a number that was deleted another is expected"
    assert not renumbered(plan, {}, known)


def test_a_message_whose_size_was_not_known_is_asked_about() -> None:
    known = seen(b"a", size=0)
    for options in (Options(), Options(delete=True)):
        plan = planned(listing("a"), known, options)
        assert numbers(plan.doubtful) == [1]
        settle(plan, {1: PRINT}, known, options, NOW)
        assert plan.sizes_changed == [(Identity(b"a"), 100)], "it is asked about once"
    imported = planned(listing("a"), seen(b"a", size=0, octets=0, mark=b""))
    assert (imported.doubtful, imported.sizes_changed) == ([], [(Identity(b"a"), 100)]), "nobody knows its header"


def test_quirk_q102_what_came_before_its_size_was_listed_may_have_come_short() -> None:
    known = seen(b"a", size=0, octets=60)
    for exact in (False, True):
        plan = planned(listing("a"), known)
        settle(plan, {1: PRINT}, known, Options(), NOW, Known(sizes_are_exact=exact))
        assert (numbers(plan.fetch), numbers(plan.short)) == (([1], []) if exact else ([], [1]))


def test_what_was_seen_is_deleted_when_that_is_asked_for() -> None:
    known = seen(b"a", age=3)
    assert planned(listing("a"), known).delete == []
    assert numbers(planned(listing("a"), known, Options(delete=True)).delete) == [1]
    assert numbers(planned(listing("a"), known, Options(delete_after=3)).delete) == [1]
    assert planned(listing("a"), known, Options(delete_after=3.1)).delete == []


def test_what_was_deleted_in_this_run_is_not_deleted_again() -> None:
    known = seen(b"a", b"b")
    plan = make_plan(listing("a", "b"), known, Options(delete=True), NOW, Known(deleted={Identity(b"a")}))
    assert numbers(plan.delete) == [2]


def test_what_failed_in_this_run_is_not_fetched_again() -> None:
    plan = make_plan(listing("a", "b"), nothing(), Options(), NOW, Known(failed={Identity(b"a")}))
    assert numbers(plan.fetch) == [2]


def test_quirk_q102_what_came_shorter_is_fetched_once_more_when_sizes_turn_out_to_be_exact() -> None:
    known = seen(b"a", octets=99)
    exact = Known(sizes_are_exact=True)
    plan = planned(listing("a"), known, Options(delete=True))
    assert (plan.fetch, plan.delete) == ([], [])
    assert [(item.number, why.partition(" (")[0]) for item, why in plan.kept] == [
        (1, "99 octets came of the 100 that the server lists")
    ]
    estimates = make_plan(listing("a"), known, Options(delete=True), NOW, Known(sizes_are_estimates=True))
    assert (numbers(estimates.delete), estimates.kept) == ([1], [])
    assert numbers(make_plan(listing("a"), known, Options(), NOW, exact).fetch) == []
    plan = make_plan(listing("a"), known, Options(delete=True), NOW, exact)
    assert (numbers(plan.fetch), plan.delete, plan.seen) == ([1], [], 0)
    whole = make_plan(listing("a", sizes={1: 120}), seen(b"a"), Options(delete=True), NOW, exact)
    assert numbers(whole.doubtful) == [1]
    settle(whole, {1: PRINT}, seen(b"a"), Options(delete=True), NOW, exact)
    assert (whole.delete, whole.fetch, len(whole.kept)) == ([], [], 1), "another size is listed now: it came whole"


def test_what_another_program_fetched_is_not_deleted() -> None:
    plan = planned(listing("a"), seen(b"a", size=0, octets=0, mark=b""), Options(delete=True))
    assert (plan.fetch, plan.delete, plan.doubtful) == ([], [], [])
    assert [(item.number, "another program" in why) for item, why in plan.kept] == [(1, True)]


def test_of_copies_all_are_deleted_or_none() -> None:
    plan = planned(listing("x", "x", "y"), nothing(), Options(delete=True))
    first, second, other = plan.fetch
    assert safe_to_delete(plan, [first, other]) == ([other], [first])
    assert safe_to_delete(plan, [first, second]) == ([first, second], [])


def test_of_messages_without_a_lasting_unique_id_each_is_its_own() -> None:
    plan = planned(listing("", ""), nothing(), Options(delete=True))
    assert safe_to_delete(plan, plan.fetch[:1]) == (plan.fetch[:1], [])


def test_since_last_begins_behind_the_last_that_was_seen() -> None:
    options = Options(since_last=True)
    plan = planned(listing("a", "b", "c", "d"), seen(b"b"), options)
    assert (numbers(plan.fetch), plan.leave) == ([3, 4], [Identity(b"a")])
    assert [(item.number, why) for item, why in plan.left] == [(1, BEFORE_THE_LAST)]
    assert numbers(planned(listing("a", "b"), seen(b"z"), options).fetch) == [1, 2]


def test_quirk_q141_since_last_goes_on_with_what_was_not_listed_then_wherever_it_is_listed() -> None:
    options, counted = Options(since_last=True), Known(left=True)
    known = seen(b"b", LEFT_MARK + b"a")
    plan = make_plan(listing("new", "b", "a", "c"), known, options, NOW, counted)
    assert (numbers(plan.fetch), plan.leave) == ([1, 4], [])
    assert [(item.number, why) for item, why in plan.left] == [(3, BEFORE_THE_LAST)]
    assert numbers(make_plan(listing("b", "a"), known, Options(), NOW, counted).fetch) == [2]


def test_what_is_larger_than_wanted_stays() -> None:
    plan = planned(listing("a", "b", "c", sizes={1: 11, 2: 10}), nothing(), Options(max_size=10))
    assert numbers(plan.fetch) == [2, 3]
    assert [(item.number, why) for item, why in plan.left] == [(1, "its 11 bytes are more than 10")]


def test_a_size_that_no_state_can_hold_is_the_largest_that_it_can() -> None:
    plan = planned(listing("a", "b", sizes={1: 2**63, 2: 2**64}), nothing())
    assert [item.size for item in plan.fetch] == [MOST_OCTETS, MOST_OCTETS]


def test_a_header_alone_is_not_the_message() -> None:
    header = remembered_as(Identity(b"a"), Options(headers_only=True))
    assert header.uid == HEADER_MARK + b"a"
    assert remembered_as(Identity(b""), Options(headers_only=True)) == Identity(b"")
    only_header = seen(header.uid)
    assert numbers(planned(listing("a"), only_header).fetch) == [1]
    assert planned(listing("a"), only_header, Options(headers_only=True)).fetch == []
    assert planned(listing("a"), seen(b"a"), Options(headers_only=True)).fetch == []


def test_quirk_q76_messages_that_are_alike_under_new_unique_ids() -> None:
    known = seen(b"a", b"b", mark=PRINT)
    plan = planned(listing("c", "d"), known)
    assert all_gone(plan, known)
    assert not all_gone(planned(listing("a", "d"), known), known)
    assert not all_gone(planned(listing(), known), known)
    assert not all_gone(planned(listing("c"), nothing()), nothing())
    for there in (HEADER_MARK + b"c", LEFT_MARK + b"c"):
        partly = seen(b"a", there)
        assert not all_gone(planned(listing("c"), partly), partly), "its name was known, though it was not fetched"
    assert uids_changed({1: PRINT}, known, Options(), NOW)
    assert not uids_changed({1: OTHER}, known, Options(), NOW)
    deleted = seen(b"a", b"b", flags=flags_of(deletions=1))
    assert not uids_changed({1: PRINT}, deleted, Options(), NOW), "gone for a reason"


def test_one_copy_of_what_was_deleted_is_no_change_of_unique_ids() -> None:
    known = seen(b"a", b"b")
    assert not uids_changed({1: PRINT, 2: OTHER}, known, Options(delete=True), NOW)
    assert uids_changed({1: PRINT, 2: PRINT}, known, Options(delete=True), NOW)


def test_without_top_five_that_are_gone_without_a_reason_are_a_change() -> None:
    known = seen(*(b"%d" % number for number in range(5)), age=1)
    assert uids_changed({}, known, Options(), NOW)
    assert not uids_changed({}, seen(b"1", b"2", b"3", b"4"), Options(), NOW)
    assert not uids_changed({}, known, Options(delete=True), NOW)
    assert uids_changed({}, known, Options(delete_after=2), NOW)
    missing = seen(*(b"%d" % number for number in range(5)), age=1, flags=flags_of(missing=True))
    assert not uids_changed({}, missing, Options(), NOW), "they were gone before"


def test_ten_messages_are_probed() -> None:
    assert to_probe(listing(*map(str, range(30)))) == list(range(1, 11))


def test_in_a_large_maildrop_that_was_seen_nothing_is_new() -> None:
    uids = [f"{number:08x}00001234" for number in range(100_000)]
    known = seen(*(uid.encode() for uid in uids))
    plan = planned(listing(*uids), known)
    assert (plan.seen, plan.fetch, plan.doubtful) == (100_000, [], [])


@pytest.mark.parametrize(
    "wishes",
    [
        {"delete": True, "delete_after": 1.0},
        {"headers_only": True, "delete": True},
        {"limit": -1},
        {"max_size": -1},
        {"delete_after": float("nan")},
        {"checkpoint_messages": 0},
        {"checkpoint_octets": 0},
        {"patience": -1.0},
    ],
)
def test_wishes_that_make_no_sense(wishes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"one of the two|not deleted|at least"):
        Options(**wishes)  # type: ignore[arg-type]


def test_without_its_size_and_its_header_a_message_is_kept() -> None:
    """Nothing shows that it is the message that was delivered, and nothing speaks against it."""
    known, options = seen(b"unique-id-of-a-message"), Options(delete=True)
    plan = planned(listing("unique-id-of-a-message", sizes={}), known, options)
    assert numbers(plan.doubtful) == [1]
    settle(plan, {}, known, options, NOW)
    assert (plan.fetch, plan.delete, plan.again) == ([], [], {})
    assert [item.number for item, _ in plan.kept] == [1]


def test_a_size_that_the_server_says_no_more_stays_remembered() -> None:
    known = seen(b"a", flags=flags_of(marked=True))
    plan = planned(listing("a", sizes={}), known)
    assert numbers(plan.doubtful) == [1]
    settle(plan, {1: PRINT}, known, Options(), NOW)
    assert (plan.sizes_changed, plan.relisted) == ([], [Identity(b"a")])
    plan = planned(listing("a"), known)
    settle(plan, {1: PRINT}, known, Options(), NOW)
    assert plan.sizes_changed == [], "it is what it was"


def test_no_message_moves_from_where_it_is_still() -> None:
    """The second one is another message with the header of the first."""
    known = remembering((b"1", mark_of(1), 0), (b"2", mark_of(2), 0))
    plan = planned_in_doubt(listing("1", "2"), known, {1: mark_of(1), 2: mark_of(1)}, Options(delete=True))
    assert (plan.renamed, numbers(plan.fetch), numbers(plan.delete)) == ({}, [2], [1])


@pytest.mark.parametrize("flags", [flags_of(deletions=2, missing=True), flags_of(deletions=3, missing=True)])
def test_what_was_gone_after_two_deletions_is_another_message_where_nothing_shows_that_it_is_not(flags: int) -> None:
    known, options = seen(b"unique-id-of-a-message", flags=flags), Options(delete=True)
    plan = planned(listing("unique-id-of-a-message"), known, options)
    settle(plan, {}, known, options, NOW)
    assert (numbers(plan.fetch), numbers([*plan.again]), plan.delete) == ([1], [1], [])


def entry(uid: bytes, content: bytes, copy: int = 0) -> Entry:
    return Entry(uid, 0, 100, 100, PRINT, int(NOW), content, copy)


def test_copies_count_behind_those_that_were_deleted_and_what_is_given_back_comes_next() -> None:
    copies = Copies(lambda content: 2 if content == b"a" else 0)
    assert [copies.take(b"a") for _ in range(3)] == [2, 3, 4]
    copies.give_back(entry(b"", b"a", 3))
    copies.give_back(entry(b"a unique-id that lasts", b"a", 4))
    assert [copies.take(b"a") for _ in range(2)] == [3, 5]
    assert [Copies().take(b"a")] == [0]
