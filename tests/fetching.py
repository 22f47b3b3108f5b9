"""What the tests of fetching share: operating systems that fail, and a fetch of made-up messages.

Owns no test. `CountedFiles` does what it is told before its n-th call; `ForgetfulFiles` remembers what a disk has when
the power is cut; `fetch` is the smallest session that does everything in the right order.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from types import FunctionType
from typing import Any, Literal
from unittest import mock

from pop3fast import aio
from pop3fast.fetch import Entry, FetchReport, Identity, State, open_destination
from pop3fast.fetch._files import Files
from pop3fast.fetch._retrying import Job, Surroundings
from pop3fast.fetch.destinations._particulars import Particulars, Sync
from pop3fast.fetch.memory._seen import MARKED, MISSING

CALLS = [name for name, what in vars(Files).items() if isinstance(what, FunctionType) and not name.startswith("_")]

Message = tuple[bytes, bytes]
"""Unique-id and content, as on the server."""


class CountedFiles(Files):
    """Calls *before* with the number and the name of each call, from 1."""

    def __init__(self, before: Callable[[int, str], object]) -> None:
        self.calls: list[str] = []
        self._before = before
        self._lock = threading.Lock()

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - whatever Files has
        if name in CALLS:
            return partial(self._call, name)
        return super().__getattribute__(name)

    def step(self, name: str) -> None:
        """Count a moment between two calls."""
        with self._lock:
            self.calls.append(name)
            number = len(self.calls)
        self._before(number, name)

    def sync_whole(self, folder: int) -> None:
        """Do nothing: these files lose nothing that was not synced."""

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        try:
            self.step(name)
        except OSError:
            if name == "close":
                # Linux closes the file even when close() fails.
                Files.close(self, *args)
            raise
        return getattr(CountedFiles, name)(self, *args, **kwargs)


def failing_at(place: int, number: int) -> CountedFiles:
    """Return files whose call *place* fails with the error *number*, once."""

    def before(call: int, name: str) -> None:
        if call == place and name in CALLS:
            raise OSError(number, os.strerror(number))

    return CountedFiles(before)


class PowerCut(BaseException):
    """The machine stops."""


Forgets = Literal["all", "names", "contents", "contents but their size"]


class ForgetfulFiles(CountedFiles):
    """A file system that forgets what was not synced, when the power is cut at call *place*.

    After that nothing can be done any more, until `cut` has put on the disk what is left.
    """

    def __init__(self, top: str, place: int) -> None:
        super().__init__(self._stop)
        self._top = top
        self._place = place
        self._names: dict[tuple[int, int], dict[str, tuple[int, int]]] = {}
        self._contents: dict[tuple[int, int], bytes] = {}
        for folder, _, files in os.walk(top):
            self._keep_names(folder)
            for name in files:
                self._keep_contents(os.path.join(folder, name))  # noqa: PTH118

    def sync(self, file: int) -> None:
        self.step("sync")
        self._keep_contents(file)

    def sync_folder(self, folder: int) -> None:
        self.step("sync_folder")
        self._keep_names(folder)

    def sync_whole(self, folder: int) -> None:
        self.step("sync_whole")
        del folder
        for inside, _, files in os.walk(self._top):
            self._keep_names(inside)
            for name in files:
                self._keep_contents(os.path.join(inside, name))  # noqa: PTH118

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        if name in {"sync", "sync_folder", "sync_whole"}:
            return object.__getattribute__(self, name)
        return super().__getattribute__(name)

    def cut(self, forgets: Forgets) -> None:
        """Leave on the disk what is there when the power comes back."""
        self._cut_folder(self._top, forgets)

    def _stop(self, number: int, _: str) -> None:
        if number >= self._place:
            raise PowerCut

    def _keep_names(self, folder: str | int) -> None:
        with os.scandir(folder) as entries:
            names = {entry.name: _key(entry.stat(follow_symlinks=False)) for entry in entries}
        self._names[_key(os.stat(folder))] = names  # noqa: PTH116 - may be a descriptor

    def _keep_contents(self, file: str | int) -> None:
        with open(file, "rb", closefd=isinstance(file, str)) as stream:
            stream.seek(0)
            self._contents[_key(os.fstat(stream.fileno()))] = os.pread(stream.fileno(), 2**26, 0)

    def _cut_folder(self, folder: str, forgets: Forgets) -> None:
        names = self._names.get(_key(os.stat(folder)), {})  # noqa: PTH116
        with os.scandir(folder) as found:
            entries = {entry.name: entry for entry in found}
        for name, entry in entries.items():
            key = _key(entry.stat(follow_symlinks=False))
            if forgets in {"all", "names"} and names.get(name) != key:
                _remove(entry)
            elif entry.is_dir():
                self._cut_folder(entry.path, forgets)
            elif forgets != "names":
                kept = self._contents.get(key, b"")
                if forgets == "contents but their size":
                    kept = kept[: entry.stat().st_size].ljust(entry.stat().st_size, b"\0")
                with open(entry.path, "r+b") as stream:  # noqa: PTH123
                    stream.truncate(0)
                    stream.write(kept)
        if forgets in {"all", "names"}:
            # A file whose removal was not synced is there again.
            for name, key in names.items():
                if name not in entries and key in self._contents:
                    with open(os.path.join(folder, name), "xb") as stream:  # noqa: PTH118, PTH123
                        stream.write(self._contents[key])


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _remove(entry: "os.DirEntry[str]") -> None:
    if entry.is_dir():
        with os.scandir(entry.path) as inside:
            for each in inside:
                _remove(each)
        os.rmdir(entry.path)  # noqa: PTH106
    else:
        os.unlink(entry.path)  # noqa: PTH108


def fetch(
    destination: str,
    state: str,
    messages: Iterable[Message],
    files: Files | None = None,
    *,
    batch: int = 3,
    chunk: int = 7,
    sync: Sync = "each",
) -> list[Entry]:
    """Deliver and remember those of *messages* that have not been, as a session does; return what was delivered."""
    step: Callable[[str], object] = files.step if isinstance(files, CountedFiles) else str
    to = open_destination(destination, files, particulars=Particulars(sync=sync))
    delivered: list[Entry] = []
    occurrences: dict[bytes, int] = {}
    try:
        with State(state).account("mail.example.org", 110, "me") as account:
            to.prepare(account.digest, account)
            seen = account.seen()
            ended = 0

            def flush() -> None:
                entries = to.flush()
                step("flushed")
                account.remember(entries)
                step("remembered")
                delivered.extend(entries)

            for uid, content in messages:
                identity = Identity(uid, occurrences.get(uid, 0))
                occurrences[uid] = identity.occurrence + 1
                if identity in seen:
                    continue
                delivery = to.begin(identity)
                for start in range(0, len(content), chunk):
                    delivery.write(content[start : start + chunk])
                delivery.end(len(content))
                ended += 1
                if ended % batch == 0:
                    flush()
            flush()
    finally:
        to.close()
    return delivered


def flags_of(*, missing: bool = False, deletions: int = 0, marked: bool = False) -> int:
    """Return what `Seen` keeps of these."""
    return deletions | (MISSING if missing else 0) | (MARKED if marked else 0)


def in_child(work: Callable[[], object], *, killed_after: float | None = None) -> int:
    """Do *work* in a child process; return its exit status, 0 when it came to its end, negative when it was killed.

    With *killed_after* it is killed after so many seconds unless it has ended by then.
    """
    # A program that it was starting when it was killed has all of its locks until that program begins, as it has this.
    ended, alive = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        except BaseException as error:  # noqa: BLE001 - the parent is told by the status
            os.write(2, f"{error!r}\n".encode())
        finally:
            os._exit(status)
    if killed_after is not None:
        killer = threading.Timer(killed_after, os.kill, (child, signal.SIGKILL))
        killer.start()
        # A child keeps its process id until it is reaped: the kill can meet no other process, and always finds it.
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        killer.cancel()
        killer.join()
    status = os.waitpid(child, 0)[1]
    os.close(alive)
    os.read(ended, 1)
    os.close(ended)
    return os.waitstatus_to_exitcode(status)


def mail(number: int, octets: int = 40) -> bytes:
    """Return a message like no other."""
    return b"Subject: %d\r\n\r\nFrom %d\r\n%s\r\n" % (number, number, b"x" * octets)


def counted(contents: Iterable[bytes]) -> Mapping[bytes, int]:
    """Return how often each content is there."""
    found: dict[bytes, int] = {}
    for content in contents:
        found[content] = found.get(content, 0) + 1
    return found


def fetched_on_a_loop(job: Job, world: Surroundings) -> FetchReport:
    """Do what `run_job` does, by way of `aio.fetch_many`."""

    async def reports() -> list[FetchReport]:
        async with aclosing(aio.fetch_many([job])) as coming:
            return [report async for report in coming]

    # Where fetch_many makes the surroundings of each of its threads.
    with mock.patch("pop3fast.fetch._fetch_many.Surroundings", return_value=world):
        came = asyncio.run(reports())
    if not came:
        raise KeyboardInterrupt  # which is how the job was ended
    return came[0]
