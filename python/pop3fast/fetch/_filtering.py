"""Filtering: a program says of each new message whether it is wanted.

Owns what its exit status means. The numbers that say anything but "deliver" are none that a program ends with when it
fails; after any other the message stays new, and is neither delivered nor deleted. Decides nothing about the server.
"""

from collections.abc import Collection
from enum import Enum

from pop3fast.fetch._errors import MessageDeferred, MessageError
from pop3fast.fetch._identity import Entry, Identity
from pop3fast.fetch._options import FILTER
from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.destinations._destination import Delivery, Taker
from pop3fast.fetch.destinations._outgoing import COPY_OCTETS, SPOOL_OCTETS, Content, OutgoingMessage
from pop3fast.fetch.destinations._pipe import in_words
from pop3fast.fetch.destinations._program import Program

FILTER_SECONDS = 600.0
"""How long a filter may take for one message: as long as any program (`PIPE_SECONDS`)."""


class Verdict(Enum):
    """What becomes of a message. The values are what a filter ends with."""

    DELIVER = 0
    SKIP = 90
    """It is not delivered, and counts as seen: it stays on the server, and is not asked about again."""
    LEAVE = 91
    """It stays on the server, and is asked about again by the next fetch."""
    DELETE = 92
    """It is not delivered, and deleted from the server."""


class FilteredOut(MessageError):  # noqa: N818 - it says what happened
    """The filter does not want a message."""

    def __init__(self, verdict: Verdict) -> None:
        """Say that *verdict*, which is not to deliver it."""
        super().__init__(f"the filter says: {verdict.name.lower()}")
        self.verdict = verdict


class Filter:
    """The program."""

    def __init__(self, words: str, clock: Clock) -> None:
        """Run the command that *words* are. Raises `ValueError` when they are no command."""
        self._program = Program(FILTER, words, FILTER_SECONDS, clock)
        self.open = self._program.open
        self.hurry = self._program.hurry

    def judge(self, account: str, identity: Identity, content: Content) -> None:
        """Ask about a message of *account* (its digest), or about its header.

        Raises `FilteredOut` when it is not to be delivered, and `MessageDeferred` when that is not known.
        """
        message = OutgoingMessage(account, identity, content)
        environment = {"SENDER": message.sender(), "POP3FAST_UID": identity.uid.decode("ascii", "backslashreplace")}
        ended = self._program.run(message.copy_with_lf, environment)
        try:
            verdict = Verdict(ended.status)
        except ValueError:
            raise MessageDeferred(f"the filter did not say: {in_words(self._program.name, ended)}") from None
        if verdict is not Verdict.DELIVER:
            raise FilteredOut(verdict)


class Filtering:
    """What a writer delivers to where a filter stands before the destination."""

    def __init__(self, inner: Taker, judge: Filter, account: str, judged: Collection[Identity]) -> None:
        """Give *inner* what *judge* wants, and without a question what was *judged* before."""
        self.inner = inner
        self.path = inner.path
        self.batch_messages: int | None = getattr(inner, "batch_messages", None)
        self.account = account
        self.judge = judge
        self._judged = judged

    def begin(self, identity: Identity) -> Delivery:
        """Begin to take a message. Raises what the destination does."""
        return self.inner.begin(identity) if identity in self._judged else FilteredDelivery(self, identity)

    def flush(self) -> list[Entry]:
        """Return what to remember. Raises what the destination does."""
        return self.inner.flush()

    def hurry(self) -> None:
        """Wait for nothing any more."""
        self.judge.hurry()
        self.inner.hurry()


class FilteredDelivery:
    """A message that is kept until it is whole, and the filter has said what becomes of it."""

    def __init__(self, filtering: Filtering, identity: Identity) -> None:
        """Take *identity*."""
        self._filtering = filtering
        self._identity = identity
        self._content = Content(SPOOL_OCTETS)
        self._inner: Delivery | None = None

    def write(self, octets: bytes) -> None:
        """Take the next *octets*. Raises `DestinationError`."""
        self._content.append(octets)

    def end(self, size: int = 0, fingerprint: bytes = b"") -> None:
        """Ask the filter, and deliver the message. Raises `FilteredOut`, and what the destination does."""
        to = self._filtering
        try:
            to.judge.judge(to.account, self._identity, self._content)
            self._inner = to.inner.begin(self._identity)
            with self._content.open() as file:
                while octets := file.read(COPY_OCTETS):
                    self._inner.write(octets)
            self._inner.end(size, fingerprint)
        finally:
            self._content.close()

    def abandon(self) -> None:
        """Let go of what was written."""
        self._content.close()
        if self._inner is not None:
            self._inner.abandon()
