"""Each destination on a real file system, told anything in any order, with faults and death at any call.

`test_fetch_destinations_model` does so on a simulated disk, which forgets what was not synced; here the calls are the
system's, each kind of them fails or is the last one, and many messages lie behind each other. After every step: what
was remembered is there, whole and once; nothing is there that was not sent; nothing is half there.
"""

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from fetching import CALLS
from maildrops import FastClock
from pop3fast.fetch import Destination, DestinationError, Entry, Identity, open_destination
from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import ReadBack
from pop3fast.fetch.destinations import _folder as folder_module
from pop3fast.fetch.destinations import _spool as spool_module
from pop3fast.fetch.destinations._destination import Delivery
from pop3fast.fetch.memory._journal import Intent

ACCOUNT = "0badcafe"


class Dead(BaseException):
    """The process was killed."""


class Inline(Executor):
    """Does at once what it is given, so that a story goes the same way each time."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":  # noqa: ANN401
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **named))
        except BaseException as error:  # noqa: BLE001 - as it is with a thread
            future.set_exception(error)
        return future


class Process(Files):
    """The calls of one process, of which one may fail, some may fail from a moment on, or one may be the last."""

    executor = staticmethod(lambda *_: Inline())

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.calls = self.failures = 0
        self.fails_at = self.dies_at = 0
        self.error = errno.EIO
        self.failing: frozenset[str] = frozenset()
        self.trouble: tuple[str, int, str] | None = None
        """Of which call, after how many more of its kind, what happens: it fails, or the process dies before it."""

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - whatever Files has
        if name not in CALLS or name == "executor":
            return super().__getattribute__(name)
        return lambda *given: self._call(name, *given)

    def _call(self, name: str, *given: Any) -> Any:  # noqa: ANN401
        self.calls += 1
        if self.dies_at and self.calls >= self.dies_at:
            raise Dead
        if self.calls == self.fails_at or name in self.failing or self._in_trouble(name):
            self.failures += 1
            if name == "close":
                self._close(*given)
            raise OSError(self.error, os.strerror(self.error))
        if name in {"sync", "sync_folder", "begin_sync"}:
            return None  # the power stays on here
        if name == "close":
            return self._close(*given)
        result = getattr(Files, name)(self, *given)
        if name.startswith("open_") or name == "create":
            self.open.add(result)
        return result

    def _in_trouble(self, name: str) -> bool:
        if self.trouble is None or self.trouble[0] != name:
            return False
        _, more, what = self.trouble
        self.trouble = (name, more - 1, what) if more else None
        if not more and what == "dies":
            self.dies_at = self.calls
            raise Dead
        return not more

    def _close(self, descriptor: int) -> None:
        self.open.discard(descriptor)
        os.close(descriptor)

    def end(self) -> None:
        """Let go of everything, as the system does for a process that is killed."""
        for descriptor in self.open:
            os.close(descriptor)
        self.open.clear()


class Memory:
    """A journal, and what is remembered, as a disk keeps them."""

    digest = ACCOUNT

    def __init__(self) -> None:
        self.seen: dict[Identity, Entry] = {}
        self.kept: dict[int, Intent] = {}

    def intend(self, intent: Intent) -> int:
        key = max(self.kept, default=0) + 1
        self.kept[key] = intent._replace(key=key)
        return key

    def intents(self) -> list[Intent]:
        return [*self.kept.values()]

    def settle(self, key: int, delivered: Iterable[Entry]) -> None:
        self.remember(delivered)
        self.kept.pop(key, None)

    def remember(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.seen[entry.identity] = entry
        for key, intent in [*self.kept.items()]:
            if all(message.entry.identity in self.seen for message in intent.messages):
                del self.kept[key]

    def taken_back(self, entry: Entry) -> Entry | None:
        del entry
        return None

    def place_of(self, content: bytes, copy: int) -> bytes | None:
        raise AssertionError((content, copy))

    def has_place(self, ending: bytes) -> bool:
        return any(entry.place.endswith(ending) for entry in self.seen.values())

    def copies_deleted(self, content: bytes) -> int:
        raise AssertionError(content)


BODIES = [
    b"",
    b"x\r\n",
    b"From me\r\n>From you\r\n\r\n",
    b"mail From me@x Mon Jan  5 10:00:00 2026\r\n" * 9,
    b"y" * 700,
]


class Machine(RuleBasedStateMachine):
    """One destination, and all that may happen to it."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp())
        self.box = self.top / "box"
        self.clock = FastClock()
        self.memory = Memory()
        self.sent: dict[Identity, bytes] = {}
        self.may_be_there: set[Identity] = set()
        self.theirs = 0
        self.start()

    def start(self) -> None:
        """Begin a process."""
        self.files = Process()
        self.destination: Destination = open_destination(f"{self.kind}:{self.box}", self.files, self.clock)
        self.delivery: Delivery | None = None
        self.come = 0
        self.coming = Identity(b"")
        self.ended: list[Identity] = []
        self.is_ready = False
        self.prepare()

    def attempt(self, what: Callable[..., Any], *given: Any) -> tuple[Any] | None:  # noqa: ANN401
        """Do something; return what it gives as a tuple of one, None when it failed or the process died of it."""
        try:
            return (what(*given),)
        except DestinationError as error:
            self.memory.remember(error.delivered)
            return None
        except Dead:
            self.files.end()
            self.may_be_there.update(self.ended)
            self.start()
            return None

    def teardown(self) -> None:
        with contextlib.suppress(DestinationError, Dead):
            self.destination.close()
        self.files.end()
        shutil.rmtree(self.top)

    def lying(self, content: bytes) -> bytes:
        """Return *content* as it lies at the destination, but for the quoting."""
        if self.kind == "eml":
            return content
        content = content.replace(b"\r\n", b"\n")
        return content + b"\n" * (self.kind == "mbox" and not content.endswith(b"\n"))

    def there(self) -> Counter[bytes]:
        """Return what is at the destination."""
        if self.kind == "mbox":
            octets = self.box.read_bytes() if self.box.exists() else b""
            messages = re.split(rb"(?m)^From [^\n]*\n", octets)
            assert messages.pop(0) == b""
            assert all(message.endswith(b"\n") for message in messages)
            return Counter(re.sub(rb"(?m)^>(>*From )", rb"\1", message[:-1]) for message in messages)
        paths = [path for path in self.box.rglob("*") if path.is_file() and path.parent != self.box / "tmp"]
        return Counter(path.read_bytes() for path in paths if not path.name.startswith("."))

    # What it can be told.

    def prepare(self) -> None:
        # There is room again.
        self.files.failing = frozenset()
        self.is_ready = False
        delivery, self.delivery, self.ended = self.delivery, None, []

        def prepare() -> None:
            self.destination.prepare(ACCOUNT, self.memory)
            self.is_ready = True

        if self.attempt(prepare) is not None:
            assert not self.memory.kept, "all is settled"
            if delivery is not None:
                self.goes_no_further(delivery)

    def goes_no_further(self, delivery: Delivery) -> None:
        """Check that a delivery which the destination has ended takes nothing more."""
        with pytest.raises(ValueError, match="ended"):
            delivery.write(b"more")
        with pytest.raises(ValueError, match="ended"):
            delivery.end()

    def close(self) -> None:
        self.delivery, self.ended, self.is_ready = None, [], False
        self.attempt(self.destination.close)

    @precondition(lambda self: self.delivery is None)
    @rule(number=st.integers(0, 9), body=st.sampled_from(BODIES), octets=st.sampled_from([0, 10, 150]))
    def begin(self, number: int, body: bytes, octets: int) -> None:
        if not self.is_ready:
            self.prepare()
        identity = Identity(b"%d" % number)
        if identity in self.memory.seen or identity in self.ended or not self.is_ready:
            return
        self.sent.setdefault(identity, b"Subject: x\r\n\r\n" + body)
        begun = self.attempt(self.destination.begin, identity)
        self.delivery = begun and begun[0]
        self.coming, self.come = identity, 0
        self.write(octets)

    def write(self, octets: int) -> None:
        piece = self.sent[self.coming][self.come : self.come + octets] if self.delivery else b""
        self.come += len(piece)
        if self.delivery is not None and self.attempt(self.delivery.write, piece) is None:
            self.delivery = None

    @precondition(lambda self: self.delivery is not None)
    @rule(octets=st.sampled_from([1, 10, 150]))
    def go_on(self, octets: int) -> None:
        self.write(octets)

    @precondition(lambda self: self.delivery is not None)
    @rule()
    def end(self) -> None:
        self.write(10_000)
        delivery, self.delivery = self.delivery, None
        if delivery is not None and self.attempt(delivery.end) is not None:
            self.ended.append(self.coming)

    @rule(
        numbers=st.sets(st.integers(0, 9)),
        body=st.sampled_from(BODIES),
        begun=st.booleans(),
        trouble=st.none()
        | st.tuples(
            st.sampled_from(["write", "sync", "link", "sync_folder", "unlink", "create", "close", "open_to_append"]),
            st.integers(0, 6),
            st.sampled_from(["fails", "dies"]),
        ),
        then=st.sampled_from(["flush", "flush and die", "read back", "prepare", "go on"]),
    )
    def deliver(
        self, numbers: set[int], body: bytes, *, begun: bool, trouble: tuple[str, int, str] | None, then: str
    ) -> None:
        """Deliver several, whole, and flush them; another one may be *begun* before that, and *trouble* come."""
        for number in numbers:
            if self.delivery is None:
                self.begin(number, body, 10)
            if self.delivery is not None:
                self.end()
        if begun and self.delivery is None:
            self.begin(sum(numbers) % 10, body, 10)
        self.files.trouble = trouble
        if self.ended:
            self.flush(remembered=then != "flush and die")
        self.files.trouble = None
        match then:
            case "read back":
                self.read_back()
            case "prepare":
                self.prepare()
            case "go on" if self.delivery is not None:
                self.files.failing = frozenset()
                self.end()
                if self.ended:
                    self.flush()

    @precondition(lambda self: self.delivery is not None)
    @rule()
    def abandon(self) -> None:
        assert self.delivery is not None
        delivery, self.delivery = self.delivery, None
        self.attempt(delivery.abandon)

    @precondition(lambda self: self.ended)
    @rule(remembered=st.booleans())
    def flush(self, *, remembered: bool = True) -> None:
        """Flush, and remember what was delivered, or be killed before that."""
        ended, delivery, process, failures = self.ended, self.delivery, self.files, self.files.failures
        flushed = self.attempt(self.destination.flush)
        if process is not self.files:
            return
        assert self.delivery is delivery, "a message that is under way goes on"
        if flushed is None:
            # What could not be taken away again, since that failed as well, may be there.
            if self.files.failures > failures + 1:
                self.may_be_there.update(ended)
            self.ended = []
        elif remembered:
            assert [entry.identity for entry in flushed[0]] == ended
            self.ended = []
            self.memory.remember(flushed[0])
        else:
            self.die(0)

    @rule(what=st.sampled_from(["prepare", "close", "hurry", "read back", "flush nothing", "time", "a mail program"]))
    def something_else(self, what: str) -> None:
        match what:
            case "prepare":
                self.prepare()
            case "close":
                self.close()
            case "hurry":
                self.destination.hurry()
            case "read back":
                self.read_back()
            case "flush nothing":
                assert self.ended or self.destination.flush() == []
            case "time":
                self.clock.time += 1.0
            case _:
                self.come_as_a_mail_program()

    def read_back(self) -> None:
        if self.is_ready and not self.files.failing and not self.memory.kept:
            entries = [*self.memory.seen.values()]
            found = self.attempt(lambda: self.destination.read_back(entries, fresh=False))
            assert found is None or found[0] == [ReadBack.WHOLE] * len(entries)

    # What happens.

    @rule(after=st.integers(1, 40), number=st.sampled_from([errno.ENOSPC, errno.EMFILE, errno.EACCES, errno.EIO]))
    def one_call_will_fail(self, after: int, number: int) -> None:
        self.files.fails_at, self.files.error = self.files.calls + after, number

    @precondition(lambda self: not self.files.failing)
    @rule(calls=st.sets(st.sampled_from(["sync", "write", "truncate", "link", "create", "sync_folder", "unlink"])))
    def some_calls_fail_from_now_on(self, calls: set[str]) -> None:
        self.files.failing, self.files.error = frozenset(calls), errno.ENOSPC

    @precondition(lambda self: not self.files.dies_at)
    @rule(after=st.integers(0, 40))
    def die(self, after: int) -> None:
        """Be killed before one of the next calls, whatever it is of; or now."""
        self.files.dies_at = self.files.calls + after if after else 0

        def dead() -> None:
            raise Dead

        if not after:
            self.attempt(dead)

    def come_as_a_mail_program(self) -> None:
        """Move what is new, as one does that opens a Maildir; append to an mbox."""
        if self.kind == "maildir" and self.box.exists():
            for path in (self.box / "new").iterdir():
                path.rename(self.box / "cur" / f"{path.name}:2,")
        if self.kind == "mbox" and not self.memory.kept and self.box.exists():
            self.theirs += 1
            with self.box.open("ab") as file:
                file.write(b"From them\nSubject: theirs\n\n\n")

    @invariant()
    def what_is_remembered_is_there_once_and_nothing_else(self) -> None:
        if self.memory.kept:
            return  # until the next session has settled it
        there = self.there()
        there.subtract({b"Subject: theirs\n\n": self.theirs})
        remembered = Counter(self.lying(self.sent[each]) for each in self.memory.seen)
        may_be = Counter(self.lying(self.sent[each]) for each in self.may_be_there if each not in self.memory.seen)
        for content in there | remembered:
            assert remembered[content] <= there[content] <= remembered[content] + may_be[content], content


@pytest.mark.parametrize("kind", ["maildir", "eml", "mbox"])
def test_whatever_happens_in_whatever_order(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "SMALL_OCTETS", 100)
    monkeypatch.setattr(folder_module, "BLOCK_OCTETS", 150)
    monkeypatch.setattr(folder_module, "MAX_ROUND", 2)
    monkeypatch.setattr(folder_module, "large_at_once", lambda: 2)
    monkeypatch.setattr(spool_module, "MEMORY_OCTETS", 300)
    machine = type(f"Machine of {kind}", (Machine,), {"kind": kind})
    few = settings(
        max_examples=50, stateful_step_count=40, derandomize=True, deadline=None, suppress_health_check=[*HealthCheck]
    )
    run_state_machine_as_test(machine, settings=few)
