"""What is fetched and what may be deleted, for every kind of unique-id that a server was seen to have."""

import pytest

from pop3fast.fetch import Identity, Options, Seen
from pop3fast.fetch._plan import (
    HEADER_MARK,
    Item,
    Listing,
    Plan,
    all_gone,
    listed_as,
    make_plan,
    remembered_as,
    safe_to_delete,
    settle,
    to_probe,
    uids_changed,
)

NOW = 1_800_000_000.0
DAY = 86400
PRINT = b"p" * 16
OTHER = b"q" * 16


def listing(*uids: str, sizes: dict[int, int] | None = None, complete: bool = True) -> Listing:
    numbered = dict(enumerate(uids, 1))
    return Listing(numbered, dict.fromkeys(numbered, 100) if sizes is None else sizes, complete)


def seen(
    *uids: bytes, size: int = 100, octets: int = 100, age: float = 0, occurrence: int = 0, mark: bytes = PRINT
) -> Seen:
    remembered = Seen()
    remembered.extend([(uid, occurrence, size, mark, int(NOW - age * DAY), octets) for uid in uids] or [])
    return remembered


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
    assert plan.copies == {b"x": 3}


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


def test_what_cannot_be_asked_about_is_neither_fetched_nor_deleted() -> None:
    known = seen(b"a", size=99)
    plan = planned(listing("a"), known, Options(delete=True))
    settle(plan, {}, known, Options(delete=True), NOW)
    assert (plan.fetch, plan.delete, numbers(plan.unchecked)) == ([], [], [1])


def test_a_message_whose_size_is_not_known_is_asked_about_before_it_is_deleted() -> None:
    known = seen(b"a", size=0)
    assert numbers(planned(listing("a"), known, Options(delete=True)).doubtful) == [1]
    assert planned(listing("a"), known).doubtful == []


def test_what_was_seen_is_deleted_when_that_is_asked_for() -> None:
    known = seen(b"a", age=3)
    assert planned(listing("a"), known).delete == []
    assert numbers(planned(listing("a"), known, Options(delete=True)).delete) == [1]
    assert numbers(planned(listing("a"), known, Options(delete_after=3)).delete) == [1]
    assert planned(listing("a"), known, Options(delete_after=3.1)).delete == []


def test_what_was_deleted_in_this_run_is_not_deleted_again() -> None:
    known = seen(b"a", b"b")
    plan = make_plan(listing("a", "b"), known, Options(delete=True), NOW, deleted={Identity(b"a")})
    assert numbers(plan.delete) == [2]


def test_what_failed_in_this_run_is_not_fetched_again() -> None:
    plan = make_plan(listing("a", "b"), nothing(), Options(), NOW, failed={Identity(b"a")})
    assert numbers(plan.fetch) == [2]


def test_quirk_q102_what_came_shorter_than_listed_is_kept_in_later_sessions_too() -> None:
    plan = planned(listing("a"), seen(b"a", octets=99), Options(delete=True))
    assert plan.delete == []
    assert [(item.number, why) for item, why in plan.kept] == [(1, "99 octets came of the 100 that the server lists")]


def test_what_another_program_fetched_is_not_deleted() -> None:
    plan = planned(listing("a"), seen(b"a", size=0, octets=0, mark=b""), Options(delete=True))
    assert (plan.fetch, plan.delete, plan.doubtful, plan.strangers) == ([], [], [], 1)


def test_of_copies_all_are_deleted_or_none() -> None:
    plan = planned(listing("x", "x", "y"), nothing(), Options(delete=True))
    first, second, other = plan.fetch
    assert safe_to_delete(plan, [first, other]) == ([other], [first])
    assert safe_to_delete(plan, [first, second]) == ([first, second], [])


def test_of_messages_without_a_lasting_unique_id_each_is_its_own() -> None:
    plan = planned(listing("", ""), nothing(), Options(delete=True))
    assert safe_to_delete(plan, plan.fetch[:1]) == (plan.fetch[:1], [])


def test_since_last_is_what_is_listed_behind_the_last_that_was_seen() -> None:
    options = Options(since_last=True)
    assert numbers(planned(listing("a", "b", "c", "d"), seen(b"b"), options).fetch) == [3, 4]
    assert numbers(planned(listing("a", "b"), seen(b"z"), options).fetch) == [1, 2]


def test_what_is_larger_than_wanted_stays() -> None:
    plan = planned(listing("a", "b", "c", sizes={1: 11, 2: 10}), nothing(), Options(max_size=10))
    assert numbers(plan.fetch) == [2, 3]
    assert plan.too_large == 1


def test_a_header_alone_is_not_the_message() -> None:
    header = remembered_as(Identity(b"a"), Options(headers_only=True))
    assert header.uid == HEADER_MARK + b"a"
    assert remembered_as(Identity(b""), Options(headers_only=True)) == Identity(b"")
    only_header = seen(header.uid)
    assert numbers(planned(listing("a"), only_header).fetch) == [1]
    assert planned(listing("a"), only_header, Options(headers_only=True)).fetch == []
    assert planned(listing("a"), seen(b"a"), Options(headers_only=True)).fetch == []


def test_a_listing_keeps_both_the_message_and_its_header_remembered() -> None:
    assert listed_as(planned(listing("a", ""), nothing())) == [b"a", b"", HEADER_MARK + b"a"]


def test_quirk_q76_messages_that_are_alike_under_new_unique_ids() -> None:
    known = seen(b"a", b"b", mark=PRINT)
    plan = planned(listing("c", "d"), known)
    assert all_gone(plan, known)
    assert not all_gone(planned(listing("a", "d"), known), known)
    assert not all_gone(planned(listing(), known), known)
    assert not all_gone(planned(listing("c"), nothing()), nothing())
    assert uids_changed({1: PRINT}, known, Options(), NOW)
    assert not uids_changed({1: OTHER}, known, Options(), NOW)


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
