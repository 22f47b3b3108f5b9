"""Session: what is known of one session between its commands, as one value.

Owns whether client and server are in step, and if not, why; whose turn it is; whether a SASL exchange is under way;
what the server can do; the limits and the deadline that hold now. Decides, and never waits: it sees no socket, and
sends nothing.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError, ProtocolError, broken_by, error_proto
from pop3fast._replies import printable
from pop3fast._turns import Turns

Failure = TypeVar("Failure", bound=BaseException)

# As much as the framer can count.
NO_LIMIT = 2**63 - 1

NO_REPLY = "the server sent what is no reply"

UNFINISHED = "the reply to an earlier command was not read to its end"


class _Break(NamedTuple):
    """What broke a connection. Not the exception itself: that holds on to its frames, and so to secrets."""

    why: str
    kind: type[ProtocolError]
    """What is raised for whatever comes afterwards."""


class Session:
    """In step, until something is begun or breaks it."""

    __slots__ = (
        "_begun",
        "_broken",
        "answered",
        "capabilities",
        "capabilities_before",
        "deadline",
        "in_sasl",
        "mechanism",
        "reply_limit",
        "trusted",
        "turns",
        "unique_ids",
        "user",
    )

    def __init__(self) -> None:
        """Begin in step, with nothing known."""
        # What was begun and not settled; nothing else may be begun until then.
        self._begun: str | None = None
        self._broken: _Break | None = None
        self.turns: Turns = Turns()
        self.answered: bool = False
        """Whether the reply under way has been read to its end, and was -ERR."""
        self.in_sasl: bool = False
        """Whether a line is an answer in a SASL exchange, and no command."""
        self.capabilities: Mapping[str, tuple[str, ...]] | None = None
        """What the server said it can do, until something happens that may change it."""
        self.capabilities_before: Mapping[str, tuple[str, ...]] | None = None
        """What it said before the login; None where it was not asked."""
        self.unique_ids: Mapping[int, str] = {}
        """What UIDL said last."""
        self.reply_limit: int | None = None
        """A tighter limit than ``max_octets`` for the command that is under way."""
        self.deadline: Deadline | None = None
        """By when the session, or the call that is under way, has to be over."""
        self.mechanism: str = ""
        """By which the login was, where `login` chose it."""
        self.user: str = ""
        """Who logs in, or has."""
        self.trusted: bool = False
        """Whether `connect` made the connection: by TLS that it verified, or in the clear because it was told to."""

    @property
    def in_step(self) -> bool:
        """Whether something may be begun: the other side waits for a command, and everything before has its reply."""
        return self._begun is None and self._broken is None

    @property
    def is_broken(self) -> bool:
        """Whether nothing may be begun any more."""
        return self._broken is not None

    def begin(self, what: str = UNFINISHED) -> None:
        """Begin something after which client and server are in step again only when `settle` says so.

        Whatever else ends it, an interrupt included, leaves the connection out of step, and so unusable. *what* is the
        reason that later commands are given.
        """
        self._begun = what
        self.answered = False

    def settle(self) -> None:
        """End what was begun: client and server are in step."""
        self._begun = None

    def break_(self, error: Failure, why: str | None = None) -> Failure:
        """Let nothing more be sent or read because of *error*, and return it. What broke first is what is said."""
        if self._broken is None:
            self._broken = _Break(why or _said_later(error), broken_by(error))
        return error

    def end(self, error: BaseException, verb: str) -> None:
        """Settle or break for an *error* on the way of the command *verb*, unless that was done where it arose."""
        if self._begun is None or self._broken is not None:
            return
        if isinstance(error, error_proto):
            # A hook that was overridden in poplib's manner raises a plain error_proto of the response for -ERR.
            answered = isinstance(error, CommandError) or (
                not isinstance(error, ProtocolError) and isinstance(next(iter(error.args), None), bytes)
            )
            why = str(error)
        else:
            # A hook may have made an exception of its own of the server's -ERR.
            answered = self.answered
            why = f"{verb} ended in {type(error).__name__}"
        if answered:
            self.settle()
        else:
            self.break_(error, why)

    def has_logged_in(self) -> None:
        """Take note that somebody has, or was refused: what the server can do may be something else now."""
        self.capabilities_before = self.capabilities or self.capabilities_before
        self.capabilities = None

    def has_gone_over(self) -> None:
        """Forget what was said before TLS: it may be somebody else's words (RFC 2595 section 4)."""
        self.capabilities = self.capabilities_before = None

    @property
    def state(self) -> str:
        """In one or a few words: in step, or what is against it."""
        if self._broken is not None:
            return f"broken: {self._broken.why}"
        if self._begun is UNFINISHED:
            return "in use"
        return self._begun or "in step"

    def described(self, name: str, address: str, *, tls: bool, closed: bool) -> str:
        """Return what ``repr()`` says of a client that is called *name*, safe for a terminal."""
        user = [f"user {self.user}"] if self.user else []
        words = [address, "TLS" if tls else "no TLS", *user, "closed" if closed else self.state]
        return f"<{name} {printable(', '.join(words))}>"

    def why_not(self) -> ProtocolError | None:
        """Return the error for whoever wants to begin something now; None when nothing is against it."""
        if self._broken is not None:
            return self._broken.kind(f"the connection is broken: {self._broken.why}")
        return None if self._begun is None else ProtocolError(f"the connection is broken: {self._begun}")


def _said_later(error: BaseException) -> str:
    # What is no reply may be a line of a message; only the error that it is the argument of has it, as in poplib.
    is_no_reply = isinstance(error, ProtocolError) and any(isinstance(said, bytes) for said in error.args)
    return NO_REPLY if is_no_reply else str(error)
