"""What every test with the asyncio client gets: nothing stays open behind it."""

import asyncio.selector_events
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import pop3fast
from twins import Twin


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test left open; fail the test when one of its transports is open even then.

    A transport in a reference cycle is collected much later, during another test, which then gets the warning.
    """
    transport_class: Any = vars(asyncio.selector_events)["_SelectorTransport"]
    made: list[weakref.ref[asyncio.Transport]] = []
    begin = transport_class.__init__

    def remembered(self: asyncio.Transport, *arguments: object, **named: object) -> None:
        made.append(weakref.ref(self))
        begin(self, *arguments, **named)

    monkeypatch.setattr(transport_class, "__init__", remembered)
    yield
    Twin.close_all()
    alive = [transport for one in made if (transport := one()) is not None]
    still_open = [transport for transport in alive if transport.get_extra_info("socket").fileno() >= 0]
    assert not still_open


@pytest.fixture(autouse=True)
def on_a_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a dialogue that is said to be held again, and is held with the blocking client."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the blocking client was asked: twins.INSTEAD lacks what makes it")

    if hasattr(request.module, "HELD_AGAIN"):
        monkeypatch.setattr(pop3fast.POP3, "__init__", refuse)
