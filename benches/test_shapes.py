"""Messages of shapes that mail rarely has, to see what the ways to retrieve it cost at their worst."""

import poplib
from collections.abc import Iterator

import pytest

from benches.interleave import MARKS, Benchmark, Column, Pace
from benches.mail import dot_lines, long_lines, short_lines
from benches.messages import WAYS, retrieve

pytestmark = MARKS

TABLE = "Shapes of 500 KB"

_OCTETS = 500_000

SHAPES = {
    "lines of 1 and 2 octets": short_lines,
    "lines of 100 KB": long_lines,
    "lines that begin with a dot": dot_lines,
}


@pytest.fixture(scope="module", autouse=True)
def poplib_takes_long_lines() -> Iterator[None]:
    """Lift poplib's limit of 2,048 octets, without which it refuses the long lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poplib, "_MAXLINE", 2**20)
        yield


@pytest.fixture(scope="module", params=SHAPES)
def column(request: pytest.FixtureRequest, pace: Pace) -> Column:
    title: str = request.param
    return Column(TABLE, title, retrieve([SHAPES[title](_OCTETS)], pace))


@pytest.mark.parametrize("way", WAYS)
def test_retrieving(column: Column, way: str, benchmark: Benchmark) -> None:
    column.hand_over(way, benchmark)
