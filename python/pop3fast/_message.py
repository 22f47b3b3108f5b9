"""Message: one retrieved message, whole, and the ways to look at it.

Owns its octets and nothing of the session they came from; it may be kept, pickled, handed to another thread.
"""

from typing import TYPE_CHECKING, final

from pop3fast._framing import split_lines

if TYPE_CHECKING:
    from email.message import EmailMessage
    from email.policy import Policy


@final
class Message:
    """What `POP3.retr_many` and `POP3.top_many` give for each message."""

    __module__ = "pop3fast"

    __slots__ = ("content", "number", "uid")

    number: int
    """Its message number, which holds for this session only (RFC 1939 section 5)."""
    content: bytes
    """Its octets as the server holds them: line ends as sent, dots un-stuffed, no terminator."""
    uid: str | None
    """Its unique-id, if `POP3.uids` was asked for in this session, and the server gave one."""

    def __init__(self, number: int, content: bytes, uid: str | None = None) -> None:
        """Keep what is given."""
        self.number = number
        self.content = content
        self.uid = uid

    @property
    def octets(self) -> int:
        """Its length in octets."""
        return len(self.content)

    def lines(self) -> list[bytes]:
        """Return its lines without their line ends, as ``retr()`` of poplib gives them.

        Each is an object of 33 bytes or more, however short it is: a message of empty lines takes 20 times its octets.
        """
        return split_lines(self.content)

    def email(self, policy: "Policy[EmailMessage] | None" = None) -> "EmailMessage":
        """Return it parsed, anew at each call. What is malformed is in ``defects``; nothing is raised for it.

        Without a *policy* it is parsed by ``email.policy.default``, but that a header that makes no sense is read as
        text: looking at it raises nothing either, whatever the message holds.
        """
        # Here, because who imports pop3fast for poplib's sake parses nothing, and these modules are a fifth of it all.
        import email  # noqa: PLC0415

        from pop3fast._header_policy import LENIENT  # noqa: PLC0415

        return email.message_from_bytes(self.content, policy=policy or LENIENT)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (self.number, self.uid, self.content) == (other.number, other.uid, other.content)

    def __hash__(self) -> int:
        return hash((self.number, self.uid, self.content))

    def __repr__(self) -> str:
        # Not its content: a message is not for a log.
        return f"<Message {self.number}: {self.octets} octets, uid {self.uid!r}>"


@final
class Piece:
    """What `POP3.retr_pieces` gives for each part of a message, in order."""

    __module__ = "pop3fast"

    __slots__ = ("content", "first", "last", "number")

    number: int
    """The message number, which holds for this session only (RFC 1939 section 5)."""
    content: bytes
    """Some of its octets as the server holds them: line ends as sent, which a piece may cut, dots un-stuffed."""
    first: bool
    """Whether a message begins with it."""
    last: bool
    """Whether the message ends with it, and has come whole. Most messages are one piece that is first and last."""

    def __init__(self, number: int, content: bytes, *, first: bool, last: bool) -> None:
        """Keep what is given."""
        self.number = number
        self.content = content
        self.first = first
        self.last = last

    def __repr__(self) -> str:
        # Not its content, as for a message.
        return f"<Piece of message {self.number}: {len(self.content)} octets, first {self.first}, last {self.last}>"
