"""A program that is run once for each message, which it gets on its standard input.

Owns that it ends: after its time, at the word to stop, and with all that it started, for it has a session of its own.
There is no shell. Others decide what its exit status means. Nothing that it prints reaches a terminal unescaped.
"""

import contextlib
import os
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping
from threading import Event, Thread
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self, cast

from pop3fast import _replies
from pop3fast.fetch._errors import DestinationError, MessageDeferred, destination_error
from pop3fast.fetch._waiting import Clock, readable

if TYPE_CHECKING:
    import subprocess

STEP_SECONDS = 0.1
"""How often to look whether a program is to be ended, and, where the system does not say so at once, whether it has
ended."""

END_SECONDS = 0.3
"""How long a program has to end by itself when the fetch is interrupted, and when it is told to."""

MOST_OUTPUT = 2048
"""So much of what a program prints is kept for the report. The rest is read, so that it can go on, and thrown away."""

PIECE_OCTETS = 2**16
"""A pipe holds no more."""


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
            with process, _Output(process) as output:
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
            output.read(STEP_SECONDS)
            with contextlib.suppress(TimeoutExpired):
                return process.wait(STEP_SECONDS if output.has_no_news else 0)
            now = self._clock.now()
            if self._in_a_hurry.is_set() and now + END_SECONDS < until:
                until, why = now + END_SECONDS, "was interrupted"
            if now >= until:
                raise MessageDeferred(f"{self.name} {why}, and was ended")


class _Output:
    """What a program prints, of which the beginning is kept, and the news that it has ended.

    No thread reads it: to begin one for each message takes as long as to start a small program.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._begin = b""
        self._file = process.stdout.fileno() if process.stdout else 0
        self._end = _end_of(process.pid)
        self._open = {self._file} if self._end is None else {self._file, self._end}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._end is not None:
            os.close(self._end)
        if self._file in self._open:
            # Something that the program left running has it, and a signal would end that when nobody read it.
            with contextlib.suppress(OSError):  # without a descriptor: that is no reason to deliver the message again
                Thread(target=_throw_away, args=(os.dup(self._file),), name="pop3fast-pipe", daemon=True).start()

    @property
    def has_no_news(self) -> bool:
        """Whether `read` does not wait: nothing more is printed, and the system does not say when the program ends."""
        return not self._open

    def read(self, seconds: float) -> None:
        """Wait so long at most until the program prints something or ends, and read what it has printed."""
        news = readable(self._open, seconds)
        while self._file in news:
            octets = os.read(self._file, PIECE_OCTETS)
            self._begin += octets[: max(0, MOST_OUTPUT - len(self._begin))]
            if not octets:
                self._open.remove(self._file)
            # When it has ended, the rest is there at once. What it left running may print for ever.
            has_ended = self._end in news and len(self._begin) < MOST_OUTPUT
            news = readable(self._open, 0) if octets and has_ended else set()

    def shown(self) -> str:
        """Return the lines that are not empty, escaped."""
        lines = self._begin.decode("utf-8", "backslashreplace").splitlines()
        return _replies.printable(" / ".join(stripped for line in lines if (stripped := line.strip())))


def _end_of(process: int) -> int | None:
    """Return a file that can be read when the *process* has ended; None where the system has none to give."""
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):
        # Not on Linux; before Linux 5.3, or where a filter forbids it.
        return None


def _throw_away(file: int) -> None:
    """Read *file* to its end."""
    try:
        while os.read(file, PIECE_OCTETS):
            pass
    finally:
        os.close(file)


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
