"""What every test of this folder gets: hypothesis without a stopwatch, and a folder that costs no disk.

What a test needs to be understood stands in its own file.
"""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from commandline import Here
from maildrops import Maildrop
from scripted import ScriptedServer
from servers.postgres import PostgresServer, running_postgres
from shapes import GREETING

# On a shared machine an example can take a hundred times its usual time. What must not hang has pytest's time-out.
settings.register_profile("pop3fast", deadline=None)
settings.load_profile("pop3fast")

# A shell that starts the tests in the background has them ignore SIGINT, which the tests of Ctrl-C need.
signal.signal(signal.SIGINT, signal.default_int_handler)


# What forks hundreds of times comes first, while the process is small: each fork copies what maps its memory.
FORKING = ("test_fetch_exactly_once", "test_fetch_killed", "test_fetch_mbox", "test_fetch_forks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests."""
    items.sort(key=lambda item: item.path.stem not in FORKING)


def pytest_collection_finish() -> None:
    """Keep the tests, some million objects, from the garbage collector: some tests call it often."""
    gc.collect()
    gc.freeze()
    gc.collect()  # so that the collector knows that next to nothing is left for it to look at


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder in memory where there is one: many hundred fetches are synced to it."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Return what runs commands in this process."""
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture
def drop(request: pytest.FixtureRequest) -> Maildrop:
    """Return a maildrop of the messages that the test's file calls MAILS."""
    return Maildrop(*request.module.MAILS)


@pytest.fixture
def server(drop: Maildrop) -> Iterator[ScriptedServer]:
    """Yield a server that has them, and says what a test has it say instead. Most files have one of their own."""
    with ScriptedServer(GREETING, drop) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> "Iterator[PostgresServer]":
    """Yield a PostgreSQL server for all tests that want one."""
    with running_postgres() as server:
        yield server
