"""What the tests of the command line share: `python -m pop3fast` as a child, through pipes or at a terminal.

Owns no test. The child's home is empty and its environment has nothing of the person who runs the tests.
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pop3fast.cli import main
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer

# Longer than a child takes on any machine, shorter than pytest waits for a test.
SECONDS = 30.0

PASSWORD = "correct-horse-battery"

# What a terminal would obey, or show in another order.
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Ran:
    """What came of a child."""

    status: int
    out: str
    err: str = ""


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "HOME": str(home), "TERM": "xterm", "PYTHONUTF8": "1", **(more or {})}


def pop3fast(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "", status: int | None = None
) -> Ran:
    """Run a command with pipes; it has to end with *status*."""
    done = subprocess.run(
        [sys.executable, "-m", "pop3fast", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment(home, env),
        cwd=home,
        timeout=SECONDS,
        check=False,
    )
    ran = Ran(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in ran.err, ran.err
    assert status is None or ran.status == status, ran
    return ran


class Here:
    """Runs commands in this process, in a home of their own: a tenth of what a child takes."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None, status: int | None = None) -> Ran:
        """Run a command without a terminal; it has to end with *status*."""
        self._capsys.readouterr()
        with self._monkeypatch.context() as patched:
            patched.chdir(self.home)
            for name in [*os.environ]:
                patched.delenv(name)
            for name, value in environment(self.home, env).items():
                patched.setenv(name, value)
            try:
                ended = main(arguments)
            except SystemExit as ends:
                ended = ends.code if isinstance(ends.code, int) else 0
        ran = Ran(ended, *self._capsys.readouterr())
        assert status is None or ran.status == status, ran
        return ran


def assert_ends_without_a_word_when_nobody_reads(
    *arguments: str, home: Path, env: Mapping[str, str] | None = None
) -> None:
    """Run a command in *home*, read one line of what it says and then no more, as ``| head -1`` does."""
    with running(env or {}, home, *arguments) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert (child.stderr.read(), child.wait(timeout=SECONDS)) == ("", 141)


def at_terminal(
    home: Path,
    *arguments: str,
    program: Sequence[str] = ("-m", "pop3fast"),
    env: Mapping[str, str] | None = None,
    answer: Callable[[str], str | None] = lambda _: None,
    columns: int = 80,
) -> Ran:
    """Run a command at a terminal; *answer* is given all that was shown so far, and returns what a person types."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        child = subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(home, env),
            cwd=home,
            start_new_session=True,
        )
        os.close(theirs)
        shown = b""
        give_up = time.monotonic() + SECONDS
        try:
            while time.monotonic() < give_up:
                if select.select([ours], [], [], 0.1)[0]:
                    try:
                        some = os.read(ours, 65536)
                    except OSError:  # what Linux says when the child has closed its end
                        break
                    if not some:
                        break
                    shown += some
                if (typed := answer(shown.decode("utf-8", "replace"))) is not None:
                    os.write(ours, typed.encode())
            status = child.wait(timeout=SECONDS)
        finally:
            child.kill()
            child.wait()
    finally:
        os.close(ours)
    return Ran(status, shown.decode("utf-8", "replace"))


def plain_url(server: MailboxServer | ScriptedServer, user: str = "user@") -> str:
    return f"pop3+plain://{user}{server.host}:{server.port}"


def private(path: Path, content: str, mode: int = 0o600) -> str:
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    return str(path)


@contextlib.contextmanager
def running(variables: Mapping[str, str], home: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a command that goes on until it is told to end, and see to it that it does."""
    with subprocess.Popen(
        [sys.executable, "-m", "pop3fast", *arguments],
        env=environment(home, variables),
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()
