"""Who of several recipients has a message already, when it is sent again because another did not get it.

Owns how that is kept: with the attempts, by recipient and message, whenever the process ends. Nobody knows
what the server delivered without saying so, or said when the process was killed: those recipients get it again.
"""

from collections.abc import Iterable, Sequence

from pop3fast.fetch._identity import is_lasting
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.fetch.memory._journal import Attempts

MARK = b"to\0"
"""Begins what is kept of a recipient. No unique-id has a NUL in it (RFC 1939 section 7)."""


class Served:
    """The recipients of one message."""

    def __init__(self, memory: Attempts, message: OutgoingMessage, recipients: Sequence[str]) -> None:
        """Look in *memory* who of *recipients* has *message*."""
        self._memory = memory
        self._occurrence = message.identity.occurrence
        self._key = bytes.fromhex(message.key)
        # One recipient has it or has not. Of messages that are alike to the last octet, nobody knows which it was.
        self._is_kept = len(recipients) > 1 and is_lasting(message.identity.uid)
        self._before = [each for each in recipients if self._is_kept and memory.attempts(self._name(each), self._key)]
        self.done: list[str] = [*self._before]
        """Who has it."""
        self.missing: list[str] = [each for each in recipients if each not in self._before]
        """Who has not."""

    def note(self, delivered: Iterable[str]) -> None:
        """Keep that those have it, until all have it. Raises `StateError`."""
        new = [*delivered]
        self.done += new
        self.missing = [each for each in self.missing if each not in new]
        if not self._is_kept:
            return
        # When all have it, it may be asked for once more, and is then for all of them.
        for recipient in new if self.missing else self._before:
            self._memory.note_attempt(self._name(recipient), self._key, int(bool(self.missing)), durable=False)

    def _name(self, recipient: str) -> bytes:
        return b"%s%d\0%s" % (MARK, self._occurrence, recipient.encode())
