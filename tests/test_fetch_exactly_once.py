"""Whatever happens at whichever step, after the next fetch every message is at its destination once.

Each test begins a fetch that goes wrong at one call to the operating system, of which it tries every one, and then
fetches again with nothing wrong: 0 lost, 0 doubled, 0 in pieces, and nobody else's mail touched.
"""

import contextlib
import errno
import mailbox
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from fetching import (
    CountedFiles,
    ForgetfulFiles,
    Forgets,
    Message,
    PowerCut,
    counted,
    failing_at,
    fetch,
    in_child,
    mail,
)
from pop3fast.fetch import DestinationError

KINDS = ["maildir", "eml", "mbox", "new mbox", "batch maildir"]
"""What is delivered to; the last one with the file system synced instead of each file."""

# Copies and messages without a unique-id, in three batches.
MESSAGES: list[Message] = [
    (b"1", mail(1)),
    (b"../../x", mail(2, octets=900)),
    (b"", mail(3)),
    (b"", mail(3)),
    (b"same", mail(4)),
    (b"same", mail(4)),
    (b"\0" * 4096, mail(5)),
]
WANTED = counted(content for _, content in MESSAGES)

THEIRS = b"From you@example.org Mon Jan  5 10:00:00 2026\nSubject: theirs\n\nFor you\n"


def begin(folder: Path, kind: str) -> tuple[str, str]:
    """Return a new destination, in a folder of its own, and a state elsewhere."""
    shutil.rmtree(folder)
    (folder / "mail").mkdir(parents=True)
    if kind == "mbox":
        (folder / "mail/box").write_bytes(THEIRS)
    return f"{kind.rsplit(maxsplit=1)[-1]}:{folder}/mail/box", f"{folder}/state"


def fetch_to(kind: str, to: str, state: str, messages: list[Message], files: CountedFiles | None = None) -> None:
    fetch(to, state, messages, files, sync="batch" if kind.startswith("batch") else "each")


def check(folder: Path, kind: str) -> None:
    box = folder / "mail/box"
    if kind.endswith("mbox"):
        messages = mailbox.mbox(box)
        ours = [messages.get_bytes(key) for key in messages.keys()]  # noqa: SIM118 - no mapping
        messages.close()
        if kind == "mbox":
            assert ours.pop(0) == THEIRS.partition(b"\n")[2]
        assert counted(re.sub(rb"(?m)^>(>*From )", rb"\1", each).replace(b"\n", b"\r\n") for each in ours) == WANTED
        assert [path.name for path in (folder / "mail").iterdir()] == ["box"]
    elif kind.endswith("maildir"):
        assert not [*(box / "tmp").iterdir(), *(box / "cur").iterdir()]
        assert counted(path.read_bytes().replace(b"\n", b"\r\n") for path in (box / "new").iterdir()) == WANTED
    else:
        assert all(path.suffix == ".eml" and not path.name.startswith(".") for path in box.iterdir())
        assert counted(path.read_bytes() for path in box.iterdir()) == WANTED


def calls_of_a_fetch(folder: Path, kind: str) -> list[str]:
    files = CountedFiles(lambda *_: None)
    fetch_to(kind, *begin(folder, kind), MESSAGES, files)
    check(folder, kind)
    return files.calls


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.ENOENT])
def test_an_error_at_every_call(folder: Path, kind: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pop3fast.fetch.destinations._mbox_lock.POLL_SECONDS", 0.0)
    for place in range(1, len(calls_of_a_fetch(folder, kind)) + 1):
        to, state = begin(folder, kind)
        # Nothing else may be raised; what can be lived with, as when litter stays, is.
        with contextlib.suppress(DestinationError):
            fetch_to(kind, to, state, MESSAGES, failing_at(place, number))
        fetch_to(kind, to, state, MESSAGES)
        check(folder, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_full_from_any_call_on(folder: Path, kind: str) -> None:
    needs_room = {"make_folder", "create", "write", "sync", "link", "rename", "sync_folder"}
    for place in range(1, len(calls_of_a_fetch(folder, kind)) + 1):
        to, state = begin(folder, kind)

        def full(call: int, name: str, place: int = place) -> None:
            if call >= place and name in needs_room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        files = CountedFiles(full)
        with contextlib.suppress(DestinationError):
            fetch_to(kind, to, state, MESSAGES, files)
        fetch_to(kind, to, state, MESSAGES)
        check(folder, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_killed_at_every_call(folder: Path, kind: str) -> None:
    calls = calls_of_a_fetch(folder, kind)
    for place in range(1, len(calls) + 1):
        to, state = begin(folder, kind)

        def killed(call: int, _: str, place: int = place) -> None:
            if call == place:
                os.kill(os.getpid(), signal.SIGKILL)

        killing = CountedFiles(killed)
        assert in_child(lambda: fetch_to(kind, to, state, MESSAGES, killing)) == -signal.SIGKILL  # noqa: B023
        fetch_to(kind, to, state, MESSAGES)
        check(folder, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("forgets", ["all", "names", "contents", "contents but their size"])
def test_the_power_cut_at_every_call(folder: Path, kind: str, forgets: Forgets) -> None:
    calls = calls_of_a_fetch(folder, kind)
    for place in range(1, len(calls) + 2):
        to, state = begin(folder, kind)
        assert in_child(lambda: until_the_power_is_cut(kind, to, state, folder, place, forgets)) == 0  # noqa: B023
        fetch_to(kind, to, state, MESSAGES)
        check(folder, kind)


def until_the_power_is_cut(kind: str, to: str, state: str, folder: Path, place: int, forgets: Forgets) -> None:
    files = ForgetfulFiles(str(folder / "mail"), place)
    try:
        fetch_to(kind, to, state, MESSAGES, files)
        # Everything was said to be delivered: nothing of it may be forgotten.
        files.step("the end")
    except PowerCut:
        files.cut(forgets)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_reach_every_step(folder: Path, kind: str) -> None:
    calls = set(calls_of_a_fetch(folder, kind))
    sync = "sync_whole" if kind.startswith("batch") else "sync"
    needed = {"create", "write", sync, "sync_folder", "unlink", "close", "flushed", "remembered"}
    assert needed | ({"lock", "link"} if kind.endswith("mbox") else {"link", "names"}) <= calls


@pytest.mark.parametrize("forgotten", ["sync", "sync_folder"])
def test_the_model_notices_what_is_not_synced(folder: Path, forgotten: str) -> None:
    """A delivery that leaves out one kind of sync does lose mail in the model."""
    to, state = begin(folder, "maildir")

    def careless() -> None:
        files = ForgetfulFiles(str(folder / "mail"), 10_000)
        object.__setattr__(files, "_keep_contents" if forgotten == "sync" else "_keep_names", lambda _: None)
        fetch(to, state, MESSAGES, files)
        files.cut("all")

    assert in_child(careless) == 0
    fetch(to, state, MESSAGES)
    with pytest.raises((AssertionError, FileNotFoundError)):
        check(folder, "maildir")
