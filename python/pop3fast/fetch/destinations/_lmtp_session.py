"""One connection to an LMTP server (RFC 2033): envelope, content, and a reply for each recipient.

Owns what is sent and what a reply is. A content cannot end early or begin a command: whatever its line ends, it is sent
with CRLF and with each leading dot doubled, for there are servers that take ``LF . LF`` for its end. Others decide what
a reply means for a message.
"""

import contextlib
import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from pop3fast import _replies
from pop3fast.fetch.destinations._connection import PIECE_OCTETS, Connection, LostError, pieces_with

SECONDS = 600.0
"""How long each reply may take: that to the end of a message may take ten minutes (RFC 5321 section 4.5.3.2.6)."""

MOST_LINE = 8192
"""A reply's line has 512 octets at most (RFC 5321 section 4.5.3.1.5). Some servers say more."""

MOST_LINES = 100
"""No reply to these commands has as many."""

_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)
_REPLY = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)


class Reply(NamedTuple):
    """What the server said."""

    code: int
    text: str

    @property
    def good(self) -> bool:
        """Whether it is done."""
        return 200 <= self.code < 300  # noqa: PLR2004 - RFC 5321 section 4.2.1

    @property
    def final(self) -> bool:
        """Whether it will never be done."""
        return self.code >= 500  # noqa: PLR2004 - as above

    def __str__(self) -> str:
        return _replies.printable(f"{self.code} {self.text}")


class Envelope(NamedTuple):
    """From whom a message comes and to whom it goes."""

    sender: str
    recipients: tuple[str, ...]
    octets: int
    is_8bit: bool


class LmtpSession:
    """A connection, until it is lost. Every method raises `LostError`."""

    def __init__(self, where: str | tuple[str, int], context: ssl.SSLContext | None) -> None:
        """Connect to *where*, a socket's path or a host and port, and say LHLO; with a *context*, over TLS.

        Raises ``OSError``, too.
        """
        self.capabilities: frozenset[str] = frozenset()
        self._ahead: Envelope | None = None
        # For how many recipients it was seen to give a reply each; first with no next envelope sent along.
        self._shown = 0
        self._connection = Connection(_connected(where))
        try:
            self._demand(self.reply(), "the greeting")
            self._greet()
            if context is not None:
                self._start_tls(context, where)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it, without QUIT."""
        self._connection.close()

    def quit(self) -> None:
        """End it as it ought to be. Raises nothing."""
        if self._ahead is None:  # or else it is waiting for a content, which no QUIT is
            with contextlib.suppress(LostError):
                self._connection.send(b"QUIT\r\n")
        self.close()

    def looks_ahead(self, recipients: int) -> bool:
        """Whether the next envelope may go along with a content for so many *recipients*.

        A server that gave one reply for all of them would seem to say with the next ones that each has it.
        """
        return self._pipelines and recipients <= self._shown

    @property
    def _pipelines(self) -> bool:
        return "PIPELINING" in self.capabilities

    def envelope(self, envelope: Envelope) -> list[Reply]:
        """Send an envelope, unless it went along with the content before; return the replies to MAIL, RCPT and DATA."""
        commands = self._commands(envelope)
        if self._ahead not in {None, envelope}:
            raise LostError("the server waits for another message")
        is_sent, self._ahead = self._ahead is not None, None
        if self._pipelines:
            if not is_sent:
                self._connection.send(b"".join(commands))
            return [self.reply() for _ in commands]
        replies: list[Reply] = []
        for command in commands:
            self._connection.send(command)
            replies.append(self.reply())
            if command.startswith(b"MAIL") and not replies[0].good:
                break
        return replies

    def content(self, file: BinaryIO, following: Envelope | None = None) -> None:
        """Send the content behind the last envelope, which `outcomes` are to follow.

        Along with its end goes the envelope *following*, where it `looks_ahead`: nothing but that may come next.
        """
        last = b""
        for piece in smtp_data(file):
            if len(last) + len(piece) > PIECE_OCTETS:
                self._connection.send(last)
                last = b""
            last += piece
        self._ahead = following
        self._connection.send(last + (b"".join(self._commands(following)) if following is not None else b""))

    def outcomes(self, recipients: int) -> Iterator[Reply]:
        """Yield what is said of each recipient that was accepted (section 4.2)."""
        for _ in range(recipients):
            yield self.reply()
        self._shown = max(self._shown, recipients)

    def reset(self) -> None:
        """Forget the last envelope."""
        self._connection.send(b"RSET\r\n")
        self._demand(self.reply(), "RSET")

    def reply(self) -> Reply:
        """Return the next reply."""
        texts: list[str] = []
        while len(texts) < MOST_LINES:
            line = self._connection.line(MOST_LINE)
            found = _REPLY.fullmatch(line.rstrip(b"\r\n"))
            if found is None:
                raise LostError(f"the server said {_replies.printable(repr(line[:80]))}, which is no reply")
            texts.append((found[3] or b"").decode("utf-8", "backslashreplace"))
            if found[2] != b"-":
                reply = Reply(int(found[1]), " ".join(texts))
                if reply.code == 421:  # noqa: PLR2004 - RFC 5321 section 3.8: it closes the connection
                    raise LostError(f"the server said {reply}")
                return reply
        raise LostError("the server's reply has no end")

    def _commands(self, envelope: Envelope) -> list[bytes]:
        mail = f"MAIL FROM:<{envelope.sender}>"
        if "SIZE" in self.capabilities:
            mail += f" SIZE={envelope.octets}"
        if envelope.is_8bit and "8BITMIME" in self.capabilities:
            mail += " BODY=8BITMIME"
        if not all(each.isascii() for each in (envelope.sender, *envelope.recipients)):
            mail += " SMTPUTF8"
        lines = [mail, *(f"RCPT TO:<{recipient}>" for recipient in envelope.recipients), "DATA"]
        return [f"{line}\r\n".encode() for line in lines]

    def _greet(self) -> None:
        self._connection.send(f"LHLO {socket.gethostname() or 'localhost'}\r\n".encode("ascii", "replace"))
        reply = self._demand(self.reply(), "LHLO")
        self.capabilities = frozenset(reply.text.upper().split())

    def _start_tls(self, context: ssl.SSLContext, where: str | tuple[str, int]) -> None:
        self._connection.send(b"STARTTLS\r\n")
        self._demand(self.reply(), "STARTTLS")
        self._connection.secure(context, where[0] if isinstance(where, tuple) else "localhost")
        self._greet()

    def _demand(self, reply: Reply, what: str) -> Reply:
        if not reply.good:
            raise LostError(f"the server refused {what}: {reply}")
        return reply


def smtp_data(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of *file* as DATA sends it, with its end: lines end with CRLF, and no line is a dot."""
    starts = True
    last = b"\r\n"
    for octets in pieces_with(b"\n", file):
        stuffed = _LEADING_DOT.sub(b"..", octets if starts else b"\0" + octets)
        stuffed = stuffed if starts else stuffed[1:]
        starts = octets.endswith(b"\n")
        last = stuffed = stuffed.replace(b"\n", b"\r\n")
        yield stuffed
    yield b".\r\n" if last.endswith(b"\r\n") else b"\r\n.\r\n"


def has_8bit(pieces: Iterable[bytes]) -> bool:
    """Return whether any octet is above 127."""
    return not all(piece.isascii() for piece in pieces)


def _connected(where: str | tuple[str, int]) -> socket.socket:
    if isinstance(where, tuple):
        return socket.create_connection(where, timeout=SECONDS)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(SECONDS)
        sock.connect(where)
    except BaseException:
        sock.close()
        raise
    return sock
