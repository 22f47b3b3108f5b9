"""kill -9 at any moment, then again: every message is at its destination once, and no deletion was too early.

The moments: before every call to the operating system and every transaction; at every command that the server gets;
and at random, again and again in the same maildrop.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from maildrops import Maildrop, delivered, mail
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer

KINDS = ["maildir", "mbox", "eml"]
WAYS = [
    *(pytest.param(kind, False, id=kind) for kind in KINDS),
    *(pytest.param(kind, True, id=f"{kind}-on_a_loop") for kind in ("maildir", "mbox")),
]
MESSAGES = [mail(number, octets=number * 20) for number in range(1, 26)]


class Children:
    """Fetches in children, one behind the other."""

    def __init__(self, *, on_a_loop: bool = False) -> None:
        self._on_a_loop = on_a_loop
        program = Path(__file__).with_name("fetch_child.py")
        self._process = subprocess.Popen(
            [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.child = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def start(self, url: str, to: str, *, delete: bool, place: int = 0) -> None:
        """Begin a fetch that is killed before step *place*."""
        assert self._process.stdin is not None
        print(json.dumps([url, to, delete, place, self._on_a_loop]), file=self._process.stdin, flush=True)
        self.child = int(self._line())

    def status(self) -> int:
        """Return how it ended: the exit status, or the signal as a negative number."""
        return int(self._line())

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.child, signal.SIGKILL)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def url_of(server: MailboxServer | ScriptedServer) -> str:
    return f"pop3+plain://user@{server.host}:{server.port}"


def check(to: str, messages: list[bytes]) -> None:
    assert delivered(to) == sorted(messages)
    if to.startswith("maildir"):
        assert list(Path(to.partition(":")[2], "tmp").iterdir()) == []


@pytest.mark.parametrize(("kind", "on_a_loop"), WAYS)
def test_killed_at_every_step(folder: Path, kind: str, *, on_a_loop: bool) -> None:
    messages = MESSAGES[:4]
    place, status = 0, -signal.SIGKILL
    with Children(on_a_loop=on_a_loop) as children:
        while status:
            place += 1
            assert status == -signal.SIGKILL
            to = f"{kind}:{folder}/{place}"
            with MailboxServer(messages) as server:
                children.start(url_of(server), to, delete=True, place=place)
                status = children.status()
                missing = set(messages) - set(delivered(to) if Path(to.partition(":")[2]).exists() else [])
                assert not {messages[number - 1] for number in server.deleted} & missing
                children.start(url_of(server), to, delete=True)
                assert children.status() == 0
                assert server.remaining == []
            check(to, messages)
    assert place > 30


@pytest.mark.parametrize(("kind", "on_a_loop"), WAYS)
def test_killed_at_every_command(folder: Path, kind: str, *, on_a_loop: bool) -> None:
    place, status = 0, -signal.SIGKILL
    with Children(on_a_loop=on_a_loop) as children:
        while status:
            place += 1
            to = f"{kind}:{folder}/{place}"
            drop = Maildrop(*((b"%d" % number, content) for number, content in enumerate(MESSAGES[:15])))

            def instead(_: bytes, drop: Maildrop = drop, place: int = place) -> Reply | None:
                if len(drop.commands) == place:
                    children.kill()
                    return Reply(b"", then="fin")
                return None

            drop.instead = instead
            with ScriptedServer(b"+OK ready\r\n", drop) as server:
                children.start(url_of(server), to, delete=True)
                status = children.status()
                assert status in {0, -signal.SIGKILL}
                drop.instead = lambda _: None
                children.start(url_of(server), to, delete=True)
                assert children.status() == 0
            assert drop.messages == []
            check(to, MESSAGES[:15])
    assert place > 40


@pytest.mark.timeout(300)  # it took a minute where making a file took a millisecond
@pytest.mark.parametrize("delete", [False, True], ids=["kept", "deleted"])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random_again_and_again(folder: Path, kind: str, *, delete: bool) -> None:
    chance = random.Random(f"{kind}{delete}")  # noqa: S311 - no secret; and the same next time
    kills = rounds = 0
    longest = 0.05
    with Children() as children:
        while kills < 60:
            rounds += 1
            to = f"{kind}:{folder}/{rounds}"
            with MailboxServer(MESSAGES, latency=0.0005) as server:
                status = -signal.SIGKILL
                while status:
                    killer = threading.Timer(chance.uniform(0, longest), children.kill)
                    began = time.monotonic()
                    children.start(url_of(server), to, delete=delete)
                    killer.start()
                    status = children.status()
                    killer.cancel()
                    killer.join()
                    assert status in {0, -signal.SIGKILL}
                    kills += status != 0
                    longest *= 1.1  # where the disk is slow, too, one of them comes to an end
                    if status == 0:
                        longest = time.monotonic() - began
                assert server.remaining == ([] if delete else list(range(1, 26)))
            check(to, MESSAGES)
