"""When an account's next turn is, decided without a clock: intervals, back-off, LOGIN-DELAY, and who comes first."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fast import AuthenticationError, CommandError, ConnectionLost
from pop3fast.fetch import (
    AccountBusy,
    DestinationError,
    FetchReport,
    SecretError,
    StateError,
    UidsChanged,
    UidsUnknown,
)
from pop3fast.fetch.fleet._turns import (
    JITTER,
    MOST_BACK_OFF_SECONDS,
    MOST_QUIET,
    MOST_REFUSED_SECONDS,
    RETRY_SECONDS,
    Outcome,
    Standing,
    Turn,
    next_turn,
    outcome_of,
)

EVERY = 300.0
FAILING = (Outcome.FAILED, Outcome.REFUSED)


def middle(least: float, most: float) -> float:
    return (least + most) / 2


def turns(*outcomes: Outcome, every: float = EVERY) -> list[Turn]:
    """Return the next turn after each of *outcomes* in a row, none of which took any time."""
    found, standing = [], Standing()
    for outcome in outcomes:
        found.append(next_turn(standing, outcome, 0.0, 0.0, every, middle))
        standing = found[-1].standing
    return found


def seconds(*outcomes: Outcome, every: float = EVERY) -> list[float]:
    return [turn.seconds for turn in turns(*outcomes, every=every)]


def test_a_turn_is_due_when_the_interval_has_passed_since_the_last_one_began() -> None:
    turn = next_turn(Standing(), Outcome.NOTHING, 0.0, 12.0, EVERY, middle)
    assert turn.seconds == EVERY - 12
    # An account that took longer is due at once.
    assert next_turn(Standing(), Outcome.NOTHING, 0.0, 900.0, EVERY, middle).seconds == 0


def test_a_tenth_of_the_interval_more_or_less_lies_between_turns() -> None:
    asked: list[tuple[float, float]] = []

    def least(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    assert next_turn(Standing(), Outcome.NOTHING, 0.0, 0.0, EVERY, least).seconds == EVERY * (1 - JITTER)
    assert asked == [(1 - JITTER, 1 + JITTER)]


def test_a_server_that_does_not_answer_is_asked_less_and_less_often_up_to_an_hour() -> None:
    assert seconds(*[Outcome.FAILED] * 6) == [300, 600, 1200, 2400, MOST_BACK_OFF_SECONDS, MOST_BACK_OFF_SECONDS]


def test_what_only_a_person_can_mend_is_tried_later_from_the_first_time_on() -> None:
    found = seconds(*[Outcome.REFUSED] * 8)
    assert found[:3] == [600, 1200, 2400]
    assert found[-1] == MOST_REFUSED_SECONDS


def test_one_turn_that_goes_well_ends_the_back_off() -> None:
    assert seconds(Outcome.FAILED, Outcome.FAILED, Outcome.NOTHING, Outcome.FAILED)[2:] == [300, 300]


def test_an_interval_longer_than_any_back_off_stays_what_it_is() -> None:
    assert seconds(*[Outcome.FAILED] * 3, every=86400.0) == [86400] * 3


@pytest.mark.parametrize("outcome", [Outcome.HELD_UP, Outcome.UNKNOWN, Outcome.INTERRUPTED])
def test_what_says_nothing_of_the_mailbox_counts_as_no_failure_and_as_no_success(outcome: Outcome) -> None:
    before = Standing(3, 1, 60.0)
    assert next_turn(before, outcome, 0.0, 0.0, EVERY, middle).standing == before


def test_a_lost_state_is_tried_soon_and_an_interrupted_turn_is_due_at_once() -> None:
    assert seconds(Outcome.UNKNOWN, Outcome.INTERRUPTED) == [RETRY_SECONDS, 0]
    assert seconds(Outcome.UNKNOWN, every=2.0) == [2]


def test_an_account_with_mail_comes_before_others_and_less_so_with_each_turn_without() -> None:
    ahead = [turn.ahead for turn in turns(Outcome.MAIL, *[Outcome.NOTHING] * (MOST_QUIET + 1))]
    assert ahead == [300, 150, 75, 0, 0]
    # What is new to everybody comes before nobody.
    assert turns(Outcome.NOTHING)[0].ahead == 0


def test_one_that_fails_comes_before_nobody_however_much_mail_it_had() -> None:
    assert [turn.ahead for turn in turns(Outcome.MAIL, Outcome.FAILED)] == [300, 0]


def test_nobody_waits_for_ever_behind_those_with_mail() -> None:
    # One that has been due for an interval longer comes first.
    (with_mail,) = turns(Outcome.MAIL)
    assert with_mail.ahead <= EVERY


@pytest.mark.parametrize("outcome", [*Outcome])
def test_the_pause_that_a_server_wants_between_logins_holds_whatever_came_of_the_turn(outcome: Outcome) -> None:
    turn = next_turn(Standing(delay=400.0), outcome, 400.0, 900.0, EVERY, middle)
    assert turn.seconds >= 400
    assert turn.standing.delay == 400


def test_a_pause_that_the_server_does_not_want_any_more_is_forgotten_when_a_session_has_shown_it() -> None:
    before = Standing(delay=400.0)
    assert next_turn(before, Outcome.FAILED, 0.0, 0.0, EVERY, middle).standing.delay == 400
    assert next_turn(before, Outcome.NOTHING, 0.0, 0.0, EVERY, middle).standing.delay == 0


@given(
    st.lists(st.sampled_from(Outcome), min_size=1, max_size=50),
    st.floats(0.01, 10_000),
    st.floats(0, 1000),
    st.floats(0, 600),
    st.randoms(),
)
def test_whatever_happens_the_next_turn_comes_and_neither_too_soon_nor_after_hours(
    outcomes: list[Outcome], every: float, took: float, delay: float, chance: random.Random
) -> None:
    standing, waits = Standing(), []
    for outcome in outcomes:
        turn = next_turn(standing, outcome, delay, took, every, chance.uniform)
        assert turn.seconds >= turn.standing.delay >= 0
        assert turn.seconds <= max(every, MOST_REFUSED_SECONDS) * (1 + JITTER) + delay
        assert 0 <= turn.ahead <= every
        standing = turn.standing
        waits.append(turn.seconds)
    # Without jitter, no failure in a row is tried sooner than the one before it.
    for one, other in pairwise(seconds(*[outcome for outcome in outcomes if outcome is Outcome.FAILED])):
        assert other >= one


def report(error: Exception | None = None, **counts: int) -> FetchReport:
    return FetchReport("a", "b", error=error, **counts)  # type: ignore[arg-type] # counts alone


@pytest.mark.parametrize(
    ("came", "outcome"),
    [
        (report(seen=3), Outcome.NOTHING),
        (report(fetched=1), Outcome.MAIL),
        (report(skipped=1), Outcome.MAIL),
        (report(discarded=1), Outcome.MAIL),
        (report(ConnectionLost(b"-ERR EOF")), Outcome.FAILED),
        (report(TimeoutError()), Outcome.FAILED),
        (report(CommandError(b"-ERR [IN-USE] busy")), Outcome.FAILED),
        (report(UnicodeError("a name that no server has")), Outcome.REFUSED),
        (report(AuthenticationError(b"-ERR [AUTH] no")), Outcome.REFUSED),
        (report(SecretError("no")), Outcome.REFUSED),
        (report(UidsChanged(3, 4)), Outcome.REFUSED),
        (report(UidsUnknown("no")), Outcome.REFUSED),
        (report(ValueError("no such mechanism")), Outcome.REFUSED),
        (report(DestinationError("p", "write", "full")), Outcome.HELD_UP),
        (report(AccountBusy("p", "another")), Outcome.HELD_UP),
        (report(StateError("p", "gone")), Outcome.UNKNOWN),
    ],
    ids=repr,
)
def test_what_a_report_means_for_the_next_turn(came: FetchReport, outcome: Outcome) -> None:
    assert outcome_of(came) is outcome
