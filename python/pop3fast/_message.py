"""Message: one retrieved message, whole, and the ways to look at it.

Owns its octets and nothing of the session they came from; it may be kept, pickled, handed to another thread.
"""

import email
import email.policy
from email.message import EmailMessage
from email.policy import Policy
from typing import final

from pop3fast._framing import split_lines


@final
class Message:
    """What `POP3.retr_many` and `POP3.top_many` give for each message."""

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
        """Return its lines without their line ends, as ``retr()`` of poplib gives them."""
        return split_lines(self.content)

    def email(self, policy: "Policy[EmailMessage]" = email.policy.default) -> EmailMessage:
        """Return it parsed, anew at each call. What is malformed is in ``defects``; nothing is raised for it."""
        return email.message_from_bytes(self.content, policy=policy)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (self.number, self.uid, self.content) == (other.number, other.uid, other.content)

    def __hash__(self) -> int:
        return hash((self.number, self.uid, self.content))

    def __repr__(self) -> str:
        # Not its content: a message is not for a log.
        return f"<Message {self.number}: {self.octets} octets, uid {self.uid!r}>"
