"""What the senders know: every message that was ever sent to a maildrop, and what has become of it.

Owns the content of messages, and the text that a reader should find at the destination. Plain and slow on purpose: a
second opinion shares no line with the code.
"""

from dataclasses import dataclass, field
from random import Random

LINES = (
    b"From me to you",
    b">From them",
    b"From a@b Thu Jan  1 00:00:00 1970",
    b"",
    b".",
    b"..",
    b"caf\xe9",
    b"x" * 60,
    b"-- ",
    b"Subject: not a header",
)

FAR = ("pipe", "lmtp", "imap")
"""The kinds of destinations that are no files."""

CRLF_KINDS = {"eml", "own", "lmtp", "imap"}

PLAIN_SIZES = (150, 200, 400)


@dataclass(eq=False)
class Mail:
    """A message of one maildrop."""

    key: int
    content: bytes
    uid: bytes
    text: bytes
    """What a reader should find at the destination."""
    listed_size: int = 0
    refused: bool = False
    """Whether the server refuses it at the moment."""
    short: bool = False
    """Whether the server gives only the beginning of it at the moment."""
    gone: str = ""
    """Who deleted it from the server, or put another in its place."""
    delivered_at: float | None = None
    """The true date on which it was first seen to be at its destination."""
    last_listed: float = 0.0
    uid_changes: bool = False
    """Whether it had another unique-id in each session."""
    may_repeat: str = ""
    """Why it may be at the destination more than once."""
    may_miss: str = ""
    """Why it may not come to the destination."""
    came_short: bool = False
    """Whether the server ever gave only the beginning of it."""
    damaged: bool = False
    marked: int = 0
    """In how many sessions it was marked as deleted."""

    def __str__(self) -> str:
        return f"mail {self.key} (unique-id {self.uid!r}, {len(self.content)} octets)"


@dataclass
class Senders:
    """Everybody who sends."""

    rng: Random
    count: int = 0
    all: list[Mail] = field(default_factory=list)

    def content(self, *, size: int | None) -> bytes:
        """Return a new message, like no other; of *size* octets, or of any size."""
        self.count += 1
        rng = self.rng
        header = b"Return-Path: <a@b.org>\r\n" if rng.random() < 0.3 else b""
        header += b"Subject: %06d\r\nMessage-ID: <%06d@example.org>\r\n" % (self.count, self.count)
        body = b"".join(rng.choice(LINES) + b"\r\n" for _ in range(rng.randrange(5)))
        content = header + b"\r\n" + body
        if size is not None:
            content = content[: size - 2].rstrip(b"\r\n")
            content += b"y" * (size - 2 - len(content)) + b"\r\n"
        elif rng.random() < 0.1:
            content += (b"long " * rng.randrange(400)) + b"\r\n"
        return content

    def forging(self) -> bytes:
        """Return a new message that looks like the end of it, and one or two replies, where nobody stuffs dots."""
        forged = b"".join(b"+OK\r\nSubject: forged\r\n\r\nx\r\n.\r\n" for _ in range(self.rng.randint(1, 2)))
        return self.content(size=None) + b".\r\n" + forged[: -len(b".\r\n")]


def text_of(content: bytes, kind: str) -> bytes:
    """Return what a reader finds of *content* at a destination of *kind*."""
    return content if kind in CRLF_KINDS else content.replace(b"\r\n", b"\n")
