"""A program that is run once for each message, which it gets on its standard input.

Owns that it ends: after its time, at the word to stop, and with all that it started, for it has a session of its own.
There is no shell. What its exit status means others decide. Nothing that it prints reaches a terminal unescaped.
"""

import contextlib
import os
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping
from threading import Event, Thread
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from pop3fast import _replies
from pop3fast.fetch._errors import DestinationError, MessageDeferred, destination_error
from pop3fast.fetch._waiting import Clock

if TYPE_CHECKING:
    import subprocess

STEP_SECONDS = 0.1
"""How often it is looked whether a program has ended that keeps its output open, and whether it is to be ended."""

END_SECONDS = 0.3
"""How long a program has to end by itself when the fetch is interrupted, and when it is told to."""

MOST_OUTPUT = 2048
"""So much of what a program prints is kept for the report. The rest is read, so that it can go on, and thrown away."""


class Ended(NamedTuple):
    """How a program ended."""

    status: int
    """Its exit status; negative, the signal that ended it."""
    output: str
    """The beginning of what it printed, escaped, in one line."""


class Program:
    """A command. It may run several times at once."""

    def __init__(self, what: str, words: str, seconds: float, clock: Clock) -> None:
        """Run the command that *words* are, split as a shell would, for so many *seconds* at most.

        *what* says where the words stand. Raises `ValueError` when they are no command.
        """
        self._command = command_of(what, words)
        self._path = f"{what}{words}"
        self._command[0] = os.path.expanduser(self._command[0])  # noqa: PTH111 - raises where there is no home
        self._seconds = seconds
        self._clock = clock
        self._in_a_hurry = Event()

    @property
    def name(self) -> str:
        """What is run, without its arguments."""
        return self._command[0]

    def open(self) -> None:
        """Look whether there is such a program. Raises `DestinationError`."""
        from shutil import which  # noqa: PLC0415 - takes long, and is hardly ever needed

        self._in_a_hurry.clear()
        if which(self._command[0]) is None:
            raise DestinationError(self._path, "run", "there is no such program, or it may not be run")

    def hurry(self) -> None:
        """Wait no longer for one that has not ended in a moment."""
        self._in_a_hurry.set()

    def run(self, write: Callable[[BinaryIO], object], environment: Mapping[str, str]) -> Ended:
        """Run it with what *write* writes on its standard input, and return how it ended.

        Raises `MessageDeferred` when it took too long or was interrupted, and `DestinationError` when it cannot be run.
        """
        import subprocess  # noqa: PLC0415 - takes long, and is hardly ever needed

        if self._in_a_hurry.is_set():
            raise MessageDeferred(f"{self.name} was not run: the fetch was interrupted")
        with self._as_input(write) as content:
            try:
                process = subprocess.Popen(  # noqa: S603 - the user's own command, and no shell
                    self._command,
                    stdin=content,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=os.environ | dict(environment),
                )
            except OSError as error:
                raise destination_error(self._path, "run", error) from error
            with process:
                output = _Output(process)
                try:
                    status = self._wait(process, output)
                except BaseException:
                    _end(process)
                    raise
        return Ended(status, output.shown())

    @contextlib.contextmanager
    def _as_input(self, write: Callable[[BinaryIO], object]) -> Iterator[BinaryIO]:
        import tempfile  # noqa: PLC0415 - takes long, and is hardly ever needed

        # A file, and no pipe: so the program reads it when and as far as it likes.
        try:
            file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - closed below
            write(file)
            file.seek(0)
        except OSError as error:
            raise destination_error(tempfile.gettempdir(), "keep a message in", error) from error
        with file:
            yield file

    def _wait(self, process: "subprocess.Popen[bytes]", output: "_Output") -> int:
        """Return the program's exit status. Raises `MessageDeferred` when it takes too long."""
        from subprocess import TimeoutExpired  # noqa: PLC0415 - takes long, and is hardly ever needed

        until, why = self._clock.now() + self._seconds, f"took more than {self._seconds:g} seconds"
        while True:
            # Its output ends with it, which is noticed at once; but for one that left something running behind it.
            is_over = output.over.wait(STEP_SECONDS)
            with contextlib.suppress(TimeoutExpired):
                return process.wait(STEP_SECONDS if is_over else 0)
            now = self._clock.now()
            if self._in_a_hurry.is_set() and now + END_SECONDS < until:
                until, why = now + END_SECONDS, "was interrupted"
            if now >= until:
                raise MessageDeferred(f"{self.name} {why}, and was ended")


class _Output:
    """What a program prints, of which the beginning is kept."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.over = Event()
        self._begin = b""
        # Its own, which is closed at its end: something that the program left running may have the other end of it.
        self._file = os.dup(process.stdout.fileno() if process.stdout else 0)
        Thread(target=self._read, name="pop3fast-pipe", daemon=True).start()

    def shown(self) -> str:
        """Return the lines that are not empty, escaped."""
        lines = self._begin.decode("utf-8", "backslashreplace").splitlines()
        return _replies.printable(" / ".join(stripped for line in lines if (stripped := line.strip())))

    def _read(self) -> None:
        try:
            while octets := os.read(self._file, 2**16):
                self._begin += octets[: max(0, MOST_OUTPUT - len(self._begin))]
        finally:
            os.close(self._file)
            self.over.set()


def command_of(what: str, words: str) -> list[str]:
    """Return the parts of a command; *what* says where its *words* stand. Raises `ValueError` when they are none."""
    try:
        command = shlex.split(words)
    except ValueError as error:
        raise ValueError(f"the command behind {what.strip()} makes no sense: {error}") from None
    if not command or "\0" in words:
        raise ValueError(f"{what.strip()} needs a command behind it, as in {what}procmail -m rules")
    return command


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program and all that it started."""
    from subprocess import TimeoutExpired  # noqa: PLC0415 - takes long, and is hardly ever needed

    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutExpired):
            process.wait(END_SECONDS)
            break


def signal_name(number: int) -> str:
    """Return what a signal is called."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
