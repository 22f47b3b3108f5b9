"""What every test with the asyncio client gets: nothing stays open behind it."""

from collections.abc import Iterator

import pytest

from twins import Twin


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close what a test left open."""
    yield
    Twin.close_all()
