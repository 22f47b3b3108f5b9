"""What the sizes of a scan listing are worth, by the messages that came; and how old something is by a wrong clock."""

from itertools import product

import pytest

from pop3fast.fetch._retrieval import Coming
from pop3fast.fetch._sizes import MOST_PAIRS, Sizes, Trust
from pop3fast.fetch.memory._age import DAY_SECONDS, MOST_SECONDS, Age

EXACT = (1000, 1000, 20)
WITHOUT_CR = (980, 1000, 20)
SHORT = (1000, 700, 15)
LARGER = (1000, 1100, 20)


def learned(*pairs: tuple[int, int, int], by_hand: bool | None = None) -> Sizes:
    sizes = Sizes(by_hand=by_hand)
    for listed, octets, line_ends in pairs:
        sizes.add(listed, octets, line_ends)
    return sizes


@pytest.mark.parametrize(
    ("pairs", "trust"),
    [
        ([], Trust.UNKNOWN),
        ([EXACT], Trust.EXACT),
        ([WITHOUT_CR] * 2, Trust.UNKNOWN),
        ([WITHOUT_CR] * 3, Trust.WITHOUT_CR),
        ([WITHOUT_CR] * 4 + [LARGER], Trust.UNKNOWN),
        ([EXACT] * 4 + [LARGER], Trust.UNKNOWN),
        ([SHORT, SHORT], Trust.UNKNOWN),
        ([SHORT] * 3, Trust.ESTIMATES),
        ([EXACT, SHORT], Trust.UNKNOWN),
        ([EXACT] * 4 + [SHORT], Trust.UNKNOWN),
        ([EXACT] * 5 + [SHORT], Trust.EXACT),
        ([WITHOUT_CR] * 5 + [SHORT], Trust.WITHOUT_CR),
        ([EXACT] + [SHORT] * 4, Trust.UNKNOWN),
        ([EXACT] + [SHORT] * 5, Trust.ESTIMATES),
        ([EXACT] + [SHORT] * 3 + [LARGER] * 2, Trust.ESTIMATES),
        ([LARGER] * 9, Trust.UNKNOWN),
        ([EXACT] * 3 + [WITHOUT_CR] * 2, Trust.EXACT),
        ([EXACT] * 2 + [WITHOUT_CR] * 3, Trust.WITHOUT_CR),
        ([EXACT] * 6 + [SHORT] * 4, Trust.UNKNOWN),
    ],
)
def test_quirk_q68_q140_what_the_sizes_are(pairs: list[tuple[int, int, int]], trust: Trust) -> None:
    assert learned(*pairs).trust is trust
    assert Sizes.parse(learned(*pairs).words()).trust is trust, "the next session knows it"


def test_quirk_q102_which_message_is_too_short() -> None:
    nobody_knows, exact, without_cr = Sizes(), learned(EXACT), learned(*[WITHOUT_CR] * 3)
    estimates = learned(SHORT, SHORT, SHORT)
    for octets, short in ((999, True), (1000, False), (1001, False)):
        assert nobody_knows.is_short(1000, octets, 20) is short
        assert exact.is_short(1000, octets, 20) is short
        assert estimates.is_short(1000, octets, 20) is False
        assert without_cr.is_short(980, octets, 20) is short
    assert estimates.is_short(1000, 0), "nothing is no message"
    assert not any(sizes.is_short(0, 0) for sizes in (nobody_knows, exact, without_cr, estimates)), "no size is known"


def test_a_person_has_the_last_word() -> None:
    for pairs in ([], [EXACT], [SHORT] * 5):
        assert learned(*pairs, by_hand=False).trust is Trust.ESTIMATES
        assert learned(*pairs, by_hand=True).trust is Trust.EXACT
    assert learned(*[WITHOUT_CR] * 3, by_hand=True).trust is Trust.WITHOUT_CR


def test_a_server_that_is_set_to_count_in_another_way_is_believed_in_time() -> None:
    assert learned(*[SHORT] * MOST_PAIRS).trust is Trust.ESTIMATES
    assert learned(*[SHORT] * MOST_PAIRS, *[EXACT] * 7 * MOST_PAIRS).trust is Trust.EXACT


@pytest.mark.parametrize("pair", [EXACT, WITHOUT_CR, LARGER, SHORT])
def test_beyond_a_thousand_what_was_learned_first_counts_half(pair: tuple[int, int, int]) -> None:
    words = learned(*[pair] * MOST_PAIRS).words().split()
    assert sum(map(int, words)) == MOST_PAIRS
    assert sum(map(int, learned(*[pair] * (MOST_PAIRS + 1)).words().split())) == MOST_PAIRS // 2


def test_words_that_make_no_sense_say_nothing() -> None:
    for words in ("", "1 2 3", "1 2 3 4 x", "1 2 3 4 5 6", "-1 2 3 4 0", "\u0661 2 3 4 0", "1 " * 5000):
        assert Sizes.parse(words) == Sizes()
    told = Sizes(1, 2, 3, 4, told=True)
    assert Sizes.parse(told.words()) == told


def test_time_passes_as_the_clock_says() -> None:
    age = Age(5, 1000)
    assert age.at(1000) == age, "two sessions of one second"
    for date in (1000, 1007, 1007 + MOST_SECONDS):
        age = age.at(date)
    assert age == Age(12 + MOST_SECONDS, 1007 + MOST_SECONDS)


def test_a_clock_that_goes_back_or_far_ahead_lets_no_time_pass() -> None:
    age = Age(5, 10**9)
    for wrong in (0, 10**9 - 1, 10**9 + MOST_SECONDS + 1):
        assert age.at(wrong) == Age(5, 10**9, wrong)
        assert age.at(wrong).at(10**9 + 3) == Age(8, 10**9 + 3), "it was a slip"
        assert age.at(wrong).at(wrong + 2).time <= 7, "it is believed when it is said a second time"


def test_no_row_of_wrong_clocks_makes_more_time_pass_than_the_longest_of_them() -> None:
    """What is right, what a machine without a battery says, and what a mistyped year gives, in any order."""
    right, old, far = 1_700_000_000, 0, 4_000_000_000
    for order in product((right, old, far), repeat=4):
        age = Age(0, right)
        for place, base in enumerate(order):
            age = age.at(base + place * 3600)
        assert age.time <= 4 * 3600 * 2
    assert DAY_SECONDS == 24 * 3600


def test_line_ends_are_counted_wherever_a_message_is_cut() -> None:
    content = b"a\r\n\r\n\rb\n\r\r\n\n\r\n"
    for first in range(1, len(content) - 1):
        for second in range(first + 1, len(content)):
            coming = Coming()
            for piece in (content[:first], content[first:second], content[second:]):
                coming.count_line_ends(piece)
            assert coming.line_ends == content.count(b"\r\n")
