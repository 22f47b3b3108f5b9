"""Transcripts that `test_parity` plays to poplib and to the drop-in give the same with the asyncio client.

Results, exceptions, audit events and the octets sent are compared. What differs is `DIFFERENCES` here, with a reason.
"""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import pop3fast
import test_parity
from test_parity import HELLO, STAMPED
from transcripts.conforming import any_steps, greetings, pieces_of_any_size, short_replies, steps_of
from transcripts.expected import Example
from transcripts.on_a_loop import play_on_a_loop
from transcripts.player import Raised, Step, compare, play

PARITY = settings(max_examples=200, phases=[phase for phase in Phase if phase is not Phase.explain])


@PARITY
@given(
    greeting=greetings,
    steps=st.lists(any_steps, max_size=6),
    last=st.lists(steps_of(short_replies, "quit"), max_size=1),
    pieces=pieces_of_any_size,
)
def test_any_conforming_session_is_the_same(
    greeting: bytes, steps: list[Step], last: list[Step], pieces: list[int]
) -> None:
    theirs = play(pop3fast, greeting, steps + last, pieces=pieces)
    ours = play_on_a_loop(greeting, steps + last, pieces=pieces)
    compare(ours, theirs, [one.method for one in steps + last])


@PARITY
@given(greeting=greetings, whole=any_steps, where=st.floats(0, 1, exclude_max=True), pieces=pieces_of_any_size)
def test_a_reply_cut_anywhere_is_the_same_error(greeting: bytes, whole: Step, where: float, pieces: list[int]) -> None:
    cut = Step(whole.replies[0][: int(len(whole.replies[0]) * where)], whole.method, whole.args)
    after = Step((), "noop")
    theirs = play(pop3fast, greeting, [cut, after], pieces=pieces)
    ours = play_on_a_loop(greeting, [cut, after], pieces=pieces)
    compare(ours[:-1], theirs[:-1], [cut.method])
    if isinstance(theirs[-1].result, Raised):  # and why, the asyncio client says in more words
        assert isinstance(ours[-1].result, Raised)
        assert type(ours[-1].result.error) is type(theirs[-1].result.error)
    assert ours[-1].sent == theirs[-1].sent


@PARITY
@given(greeting=greetings, where=st.floats(0, 1, exclude_max=True), pieces=pieces_of_any_size)
def test_a_greeting_cut_anywhere_is_an_error(greeting: bytes, where: float, pieces: list[int]) -> None:
    (connecting,) = play_on_a_loop(greeting[: int(len(greeting) * where)], [], pieces=pieces)
    assert isinstance(connecting.result, Raised)
    assert isinstance(connecting.result.error, pop3fast.error_proto)


DIFFERENCES = {
    "octets left over are never the next command's reply": "they are found before the reply in front is believed",
    "a reply that is sent ahead of its command is an error": "it is found when it comes, with the greeting",
    "TLS that verifies nothing is told of": "the transcript has replies that only the drop-in gets to",
    "stls() treats octets behind its reply as an error": "the same, and tested in test_aio_stls",
    "secrets are masked in the debug lines": "it prints none",
}
"""What the drop-in does in another way than poplib, and the asyncio client in another way than the drop-in, and why."""

EXAMPLES = [
    pytest.param(example, id=f"{one.name}-{number}")
    for one in test_parity.DIFFERENCES
    if one.name not in DIFFERENCES
    for number, example in enumerate(one.examples)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_where_the_drop_in_differs_from_poplib_so_does_the_asyncio_client(example: Example) -> None:
    seen = play_on_a_loop(example.greeting, example.steps)
    for one, expected in zip(seen[2:], example.pop3fast, strict=True):
        assert expected.fits(one), (one, expected)


def test_each_difference_is_there() -> None:
    assert DIFFERENCES.keys() <= {one.name for one in test_parity.DIFFERENCES}
    assert len(EXAMPLES) > 15
    assert STAMPED != HELLO
