"""A loop for one test, at the end of which nothing is left: no task, no transport, no exception that nobody saw."""

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from pop3fast import aio
from pop3fast.aio._wire import Wire
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer


def run(main: Callable[[], Coroutine[Any, Any, object]], factory: Callable[[], Any] | None = None) -> None:
    """Run *main* on a loop of its own, and check that it left nothing behind."""
    complaints: list[dict[str, Any]] = []

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        await main()
        gc.collect()
        for _ in range(3):  # a closed transport lets go of its socket in the next rounds
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert transports(loop) == 0
        gc.collect()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(whole())
    gc.collect()
    assert complaints == []


def transports(loop: Any) -> int:  # noqa: ANN401 - asyncio's own, or uvloop's
    """Return how many sockets the loop looks after, not counting its own."""
    selector = getattr(loop, "_selector", None)
    return 0 if selector is None else len(selector.get_map()) - 1


def url_of(server: MailboxServer | ScriptedServer, scheme: str = "pop3+plain") -> str:
    return f"{scheme}://{server.host}:{server.port}"


def connecting(server: MailboxServer, **given: Any) -> aio.Connecting:  # noqa: ANN401
    return aio.connect(url_of(server), user=server.user, password=server.password, timeout=10, **given)


async def until(come: Callable[[], object]) -> None:
    """Let the loop go on until *come* is true; pytest ends the test when that never happens."""
    while not come():  # noqa: ASYNC110 - what happens is a server's or a thread's doing
        await asyncio.sleep(0.001)


class CancelledAt:
    """Awaits a coroutine, and has its task cancelled at the n-th place where it waits.

    It is cancelled at once, or (*late*) when the awaited thing is there already but the task has not seen it.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], place: int, *, late: bool) -> None:
        self.waits = 0
        self._coroutine = coroutine
        self._place = place
        self._late = late

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        steps = self._coroutine.__await__()
        try:
            waited_for = steps.send(None)
            while True:
                self.waits += 1
                if self.waits == self._place:
                    self._cancel(task, waited_for)
                try:
                    value = yield waited_for
                except BaseException as error:  # noqa: BLE001 - it is handed on
                    waited_for = steps.throw(error)
                else:
                    waited_for = steps.send(value)
        except StopIteration as end:
            return end.value

    def _cancel(self, task: "asyncio.Task[Any]", waited_for: Any) -> None:  # noqa: ANN401 - a future, or None
        if self._late and waited_for is not None:
            waited_for.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()


def count_writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return what will be written, a write each."""
    writes: list[bytes] = []
    write = Wire.write

    def counted(self: Wire, octets: bytes) -> None:
        writes.append(octets)
        write(self, octets)

    monkeypatch.setattr(Wire, "write", counted)
    return writes


def uvloop_factory() -> Callable[[], Any]:
    if sys.platform == "win32":
        pytest.skip("there is no uvloop")
    factory: Callable[[], Any] = pytest.importorskip("uvloop").new_event_loop
    return factory
