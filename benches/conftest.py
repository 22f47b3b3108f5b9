"""What every benchmark gets: the pace. Owns the one option."""

import pytest

from benches.interleave import FULL, QUICK, Pace


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--quick``."""
    parser.addoption(
        "--quick",
        action="store_true",
        help="measure little, and less of it: shows within a minute that the benchmarks work, and nothing else",
    )


@pytest.fixture(scope="session")
def quick(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--quick"))


@pytest.fixture(scope="session")
def pace(*, quick: bool) -> Pace:
    return QUICK if quick else FULL
