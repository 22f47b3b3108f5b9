"""The embedded server in a process of its own, so that a benchmark's client has its interpreter to itself.

Owns the child process and the two pipes to it: the parent's end is `ProcessServer`, the child's is `main`. The child
lives as long as its standard input is open: it cannot outlive its parent, however that ends. Nothing here knows POP3.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pop3fast.testing._maildrop import RepeatedMessage
from pop3fast.testing._session import ServerSettings
from pop3fast.testing._threads import STOP_SECONDS, Report, ThreadedServer

# Neither fork (threads of the parent would be in it) nor multiprocessing's spawn (it imports the parent's main module
# again, so that a script without a main guard would start itself over): a fresh interpreter with the parent's path.
_CHILD = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from pop3fast.testing._process import main
main()
"""


class _Child:
    """A running child process, with a pickle in each direction."""

    def __init__(self) -> None:
        # -P: the current directory is no place to import from.
        command = [sys.executable, "-P", "-c", _CHILD]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - ours

    def ask(self, *questions: object) -> Any:  # noqa: ANN401 - the caller knows what it asks for
        """Send the questions and wait for the one answer. Raises EOFError or OSError when the child is gone."""
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise EOFError
        for question in questions:
            pickle.dump(question, requests, pickle.HIGHEST_PROTOCOL)
        requests.flush()
        return pickle.load(answers)  # noqa: S301 - from our own child

    def end(self) -> int:
        """Close the pipes, which ends the child, and return its exit status."""
        with suppress(OSError):  # the child may be gone, with questions still in the pipe
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            # Its own stop() is bounded by STOP_SECONDS; the rest is for an interpreter to finish.
            return self._process.wait(STOP_SECONDS * 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            if self._process.stdout is not None:
                self._process.stdout.close()


class ProcessServer:
    """A `ThreadedServer` in another process, with the same methods."""

    def __init__(
        self, settings: ServerSettings, messages: Sequence[bytes | RepeatedMessage], uids: Sequence[str] | None
    ) -> None:
        """Prepare; the process is made by start()."""
        self._work: tuple[Any, ...] = (settings, messages, uids)
        self._child: _Child | None = None
        self._last = Report([], list(range(1, len(messages) + 1)), [])
        self._lock = threading.Lock()

    def start(self) -> int:
        """Start the process, wait until every reply is prepared, and return the port that it listens on."""
        child = _Child()
        try:
            port = child.ask(sys.path, self._work)
            self._work = ()  # the messages are the child's now; they need not be here as well
        except (EOFError, OSError) as error:
            raise RuntimeError(f"the server's process ended with status {child.end()} before it was ready") from error
        except BaseException:
            child.end()
            raise
        self._child = child
        return int(port)

    def report(self) -> Report:
        """Return what has happened so far; after stop(), what had happened until then."""
        with self._lock:
            if self._child is not None:
                self._last = self._child.ask("report")
            return self._last

    def stop(self) -> None:
        """End the process. Raises RuntimeError when it had ended by itself."""
        if self._child is None:
            return
        failure: Exception | None = None
        try:
            self.report()
        except (EOFError, OSError) as error:
            failure = error
        with self._lock:
            status, self._child = self._child.end(), None
        if failure or status:
            raise RuntimeError(f"the server's process has failed, with status {status}") from failure


def main() -> None:
    """Be the child: serve until standard input ends."""
    # Control-C on a terminal goes to every process in the foreground; the parent is the one to act on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever prints must not speak into the pipe
    settings, messages, uids = pickle.load(requests)  # noqa: S301 - from our own parent
    server = ThreadedServer(settings, messages, uids)
    server.prepare()
    answer: object = server.start()
    try:
        while True:
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
            pickle.load(requests)  # noqa: S301 - from our own parent
            answer = server.report()
    except (EOFError, BrokenPipeError):
        pass  # the parent is done with us, or gone
    finally:
        server.stop()
