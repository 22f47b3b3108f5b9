"""A program that gets one message after the other on its standard input: procmail, maildrop, dovecot-lda, a script.

Owns what its exit status means, in the numbers of sysexits.h.
"""

from pop3fast.fetch._errors import MessageDeferred, MessageRefused
from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.fetch.destinations._particulars import Particulars
from pop3fast.fetch.destinations._program import Ended, Program, signal_name
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


class Pipe(SimpleDestination):
    """A command, run once for each message."""

    def __init__(self, words: str, particulars: Particulars, clock: Clock) -> None:
        """Run the command that *words* are, split as a shell would. Raises `ValueError` when they are none."""
        self._program = Program("pipe:", words, particulars.pipe_timeout, clock)
        self.path = f"pipe:{words}"
        self.clock = clock
        self._recipient = ",".join(particulars.recipients)

    def open(self) -> None:
        """Look whether there is such a program. Raises `DestinationError`."""
        self._program.open()

    def deliver(self, message: OutgoingMessage) -> None:
        """Give *message* to the program, and wait until it has ended."""
        environment = {"SENDER": message.sender(), "RECIPIENT": self._recipient, "POP3FAST_KEY": message.key}
        ended = self._program.run(message.copy_with_lf, environment)
        if ended.status:
            error = MessageRefused if ended.status in REFUSALS else MessageDeferred
            raise error(in_words(self._program.name, ended))

    def hurry(self) -> None:
        """Wait no longer for a program that has not ended in a moment."""
        self._program.hurry()


def in_words(name: str, ended: Ended) -> str:
    """Return how the program *name* ended, which did not say that all is well."""
    status, output = ended
    if status < 0:
        how = f"was ended by {signal_name(-status)}"
    else:
        meaning = f" ({MEANINGS[status]})" if status in MEANINGS else ""
        how = f"ended with exit status {status}{meaning}"
    return f"{name} {how}{': ' if output else ''}{output}"
