"""What every benchmark gets: the pace. Owns the options."""

from dataclasses import replace

import pytest

from benches.interleave import FULL, QUICK, Pace
from benches.turns import Partner


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--quick``, and what `benches.against` says to the two runs that it starts."""
    parser.addoption(
        "--quick",
        action="store_true",
        help="measure little, and less of it: shows within a minute that the benchmarks work, and nothing else",
    )
    parser.addoption("--turns", metavar="WHO,RECEIVE,SEND", help="for `python -m benches --against`: two pipes")


@pytest.fixture(scope="session")
def quick(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--quick"))


@pytest.fixture(scope="session")
def pace(request: pytest.FixtureRequest, *, quick: bool) -> Pace:
    pace = QUICK if quick else FULL
    if (turns := request.config.getoption("--turns")) is None:
        return pace
    who, receive, send = turns.split(",")
    partner = Partner(int(receive), int(send), first=who == "first")
    return replace(pace, cap_seconds=2 * pace.cap_seconds, turns=partner)
