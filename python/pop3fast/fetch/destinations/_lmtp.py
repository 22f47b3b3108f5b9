"""An LMTP server as a destination: Dovecot's, Cyrus's, Postfix's, or one's own.

Owns what its replies mean for a message. Where a server is lost after it had all of a message, nobody knows whether it
has delivered it: the message stays new, which is said, and is sent again.
"""

import re

from pop3fast import _replies
from pop3fast.fetch._errors import DestinationError, MessageDeferred, MessageRefused
from pop3fast.fetch.destinations._connection import PIECE_OCTETS, LostError
from pop3fast.fetch.destinations._lmtp_session import Envelope, LmtpSession, Reply, has_8bit
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.fetch.destinations._particulars import Particulars
from pop3fast.fetch.destinations._server import ServerDestination

GO_ON = 354
"""The reply to DATA that asks for the content (RFC 5321 section 4.3.2)."""

DOUBTFUL = "it was sent, and the server was lost before it said what became of it: it will be sent again"

_HOST_AND_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s:/\[\]@]+)):(?P<port>[0-9]{1,5})")


class Lmtp(ServerDestination[LmtpSession]):
    """A server that speaks LMTP; one connection, used again."""

    def __init__(self, words: str, particulars: Particulars) -> None:
        """Deliver to what *words* name, ``HOST:PORT`` or a socket's path. Raises `ValueError` for anything else."""
        super().__init__()
        self._where = _parse(words)
        self.path = f"lmtp:{words}"
        self._recipients = particulars.recipients
        self._context = particulars.to_context

    def open(self) -> None:
        """Connect. Raises `DestinationError`."""
        if not self._recipients:
            raise DestinationError(self.path, "deliver to", "nobody says for whom the mail is (recipient)")
        super().open()

    def connect(self) -> LmtpSession:
        """Return a session."""
        return LmtpSession(self._where, self._context)

    def deliver(self, message: OutgoingMessage) -> None:
        """Send *message*, and wait for what the server says of each recipient."""
        try:
            replies = self._send(message)
        except LostError as error:
            self.hang_up()
            raise MessageDeferred(str(error)) from error
        done = [recipient for recipient, reply in replies.items() if reply.good]
        bad = {recipient: reply for recipient, reply in replies.items() if not reply.good}
        if not bad:
            return
        why = "; ".join(f"{_replies.printable(recipient)}: {reply}" for recipient, reply in bad.items())
        if done:
            why += f" (delivered to {_replies.printable(', '.join(done))})"
        # One that is refused for one of them is not deleted, or nobody would ever know.
        raise (MessageRefused if all(reply.final for reply in bad.values()) else MessageDeferred)(why)

    def _send(self, message: OutgoingMessage) -> dict[str, Reply]:
        """Return what the server says, by recipient. Raises `LostError`, which says whether it had the message."""
        if self.in_a_hurry:
            raise LostError("it was not sent: the fetch was interrupted")
        session, recipients = self.connected(), self._recipients
        envelope = Envelope(message.sender(), recipients, message.octets, self._is_8bit(message))
        try:
            replies = session.envelope(envelope)
        except LostError:
            # A server ends a connection that was idle. What it has no end of it has not delivered.
            self.hang_up()
            session = self.connected()
            replies = session.envelope(envelope)
        mail, data = replies[0], replies[-1]
        if not mail.good:
            self._forget(session, data)
            return dict.fromkeys(recipients, mail)
        by_recipient = dict(zip(recipients, replies[1:-1], strict=True))
        accepted = [recipient for recipient, reply in by_recipient.items() if reply.good]
        if data.code != GO_ON or not accepted:
            self._forget(session, data)
            return by_recipient | dict.fromkeys(accepted, _no_success(data))
        try:
            with message.open() as file:
                said = session.content(file, len(accepted))
        except LostError as error:
            raise LostError(f"{DOUBTFUL} ({error})") from error
        return by_recipient | dict(zip(accepted, map(_no_question, said), strict=True))

    def _forget(self, session: LmtpSession, data: Reply) -> None:
        """Let the server forget the envelope, after this reply to DATA."""
        if data.code == GO_ON:
            # It wants a content, though nobody is to get one (RFC 2033 section 4.2): nothing else can be said to it.
            self.hang_up()
        else:
            session.reset()

    def _is_8bit(self, message: OutgoingMessage) -> bool:
        with message.open() as file:
            return has_8bit(iter(lambda: file.read(PIECE_OCTETS), b""))


def _no_success(reply: Reply) -> Reply:
    """Return *reply* to DATA; one that is neither of both kinds of failure is a temporary one."""
    return reply if reply.final or 400 <= reply.code < 500 else Reply(451, f"said {reply} to DATA")  # noqa: PLR2004


def _no_question(reply: Reply) -> Reply:
    """Return *reply* to the end of a message; one that asks for more makes no sense there."""
    return reply if reply.good or reply.code >= 400 else Reply(451, f"said {reply} behind the message")  # noqa: PLR2004


def _parse(words: str) -> str | tuple[str, int]:
    if words.startswith("/") and "\0" not in words:
        return words
    found = _HOST_AND_PORT.fullmatch(words)
    if found is None or not 0 < int(found["port"]) < 2**16:
        raise ValueError("lmtp: is followed by HOST:PORT, as in lmtp:localhost:24, or by the path of a socket")
    return found["v6"] or found["host"], int(found["port"])
