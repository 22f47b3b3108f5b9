"""The dialogues of `test_real_logins`, held with the asyncio client on two kinds of loops; see `twins`."""

import pytest

from aio.running import uvloop_factory
from twins import Twin, held_again


@pytest.fixture(autouse=True, params=["asyncio", "uvloop"])
def on_each_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "uvloop":
        monkeypatch.setattr(Twin, "factory", uvloop_factory())


globals().update(held_again("test_real_logins"))
