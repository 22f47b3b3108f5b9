"""A program that gets one message after the other on its standard input: procmail, maildrop, dovecot-lda, a script.

Owns what its exit status means, in the numbers of sysexits.h. There is no shell, and the program has a session of its
own, so that it can be ended with all that it started. Nothing that it prints reaches a terminal unescaped.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from threading import Event, Thread
from typing import IO

from pop3fast import _replies
from pop3fast.fetch._errors import DestinationError, MessageDeferred, MessageRefused, destination_error
from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.fetch.destinations._particulars import Particulars
from pop3fast.fetch.destinations._simple import SimpleDestination

MEANINGS = {
    64: "wrong usage",
    65: "the message is malformed",
    66: "it cannot be read",
    67: "no such user",
    68: "no such host",
    69: "a service is missing",
    70: "an error inside of the program",
    71: "an error of the operating system",
    72: "a file of the system is missing",
    73: "a file cannot be made",
    74: "input or output failed",
    75: "not now",
    76: "an error in a protocol",
    77: "not permitted",
    78: "an error in its configuration",
}
"""What sysexits.h says of each number."""

REFUSALS = frozenset({64, 65, 66, 68, 70, 76, 77})
"""After these the same message has no better chance later. What is missing today (67, 69) may be there tomorrow."""

STEP_SECONDS = 0.1
"""How often it is looked whether a program has ended that keeps its output open, and whether it is to be ended."""

END_SECONDS = 0.3
"""How long a program has to end by itself when the fetch is interrupted, and when it is told to."""

MOST_OUTPUT = 2048
"""So much of what a program prints is kept for the report. The rest is read, so that it can go on, and thrown away."""


class Pipe(SimpleDestination):
    """A command, run once for each message."""

    def __init__(self, words: str, particulars: Particulars, clock: Clock) -> None:
        """Run the command that *words* are, split as a shell would. Raises `ValueError` when they are none."""
        try:
            self._command = shlex.split(words)
        except ValueError as error:
            raise ValueError(f"the command behind pipe: makes no sense: {error}") from None
        if not self._command or "\0" in words:
            raise ValueError("pipe: needs a command behind it, as in pipe:procmail -m rules")
        self.path = f"pipe:{words}"
        self.clock = clock
        self._command[0] = os.path.expanduser(self._command[0])  # noqa: PTH111 - raises where there is no home
        self._recipient = ",".join(particulars.recipients)
        self._seconds = particulars.pipe_timeout
        self._in_a_hurry = Event()

    def open(self) -> None:
        """Look whether there is such a program. Raises `DestinationError`."""
        self._in_a_hurry.clear()
        if shutil.which(self._command[0]) is None:
            raise DestinationError(self.path, "run", "there is no such program, or it may not be run")

    def deliver(self, message: OutgoingMessage) -> None:
        """Give *message* to the program, and wait until it has ended."""
        if self._in_a_hurry.is_set():
            raise MessageDeferred(f"{self._command[0]} was not run: the fetch was interrupted")
        with self._as_input(message) as content:
            try:
                process = subprocess.Popen(  # noqa: S603 - the user's own command, and no shell
                    self._command,
                    stdin=content,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=os.environ
                    | {"SENDER": message.sender(), "RECIPIENT": self._recipient, "POP3FAST_KEY": message.key},
                )
            except OSError as error:
                raise destination_error(self.path, "run", error) from error
            with process:
                output = _Output(process)
                try:
                    status = self._wait(process, output)
                except BaseException:
                    _end(process)
                    raise
        self._judge(status, output.shown())

    def hurry(self) -> None:
        """Wait no longer for a program that has not ended in a moment."""
        self._in_a_hurry.set()

    @contextlib.contextmanager
    def _as_input(self, message: OutgoingMessage) -> Iterator[IO[bytes]]:
        # A file, and no pipe: so the program reads it when and as far as it likes.
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
            message.copy_with_lf(file)
            file.seek(0)
        except OSError as error:
            raise destination_error(tempfile.gettempdir(), "keep a message in", error) from error
        with file:
            yield file

    def _wait(self, process: "subprocess.Popen[bytes]", output: "_Output") -> int:
        """Return the program's exit status. Raises `MessageDeferred` when it takes too long."""
        until, why = self.clock.now() + self._seconds, f"took more than {self._seconds:g} seconds"
        while True:
            # Its output ends with it, which is noticed at once; but for one that left something running behind it.
            is_over = output.over.wait(STEP_SECONDS)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(STEP_SECONDS if is_over else 0)
            now = self.clock.now()
            if self._in_a_hurry.is_set() and now + END_SECONDS < until:
                until, why = now + END_SECONDS, "was interrupted"
            if now >= until:
                raise MessageDeferred(f"{self._command[0]} {why}, and was ended")

    def _judge(self, status: int, output: str) -> None:
        if not status:
            return
        if status < 0:
            how = f"was ended by {_signal_name(-status)}"
        else:
            meaning = f" ({MEANINGS[status]})" if status in MEANINGS else ""
            how = f"ended with exit status {status}{meaning}"
        why = f"{self._command[0]} {how}{': ' if output else ''}{output}"
        raise (MessageRefused if status in REFUSALS else MessageDeferred)(why)


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


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
            break


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
