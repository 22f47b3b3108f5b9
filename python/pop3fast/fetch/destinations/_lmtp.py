"""An LMTP server as a destination: Dovecot's, Cyrus's, Postfix's, or one's own.

Owns what its replies mean for a message. Where a server is lost after it had all of a message, nobody knows whether it
has delivered it: the message stays new, which is said, and is sent again.
"""

import re
from threading import Lock

from pop3fast import _replies
from pop3fast.fetch._errors import DestinationError, MessageDeferred, MessageRefused, destination_error
from pop3fast.fetch.destinations._lmtp_session import PIECE_OCTETS, Envelope, LmtpSession, Reply, has_8bit
from pop3fast.fetch.destinations._lost import LostError
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.fetch.destinations._particulars import Particulars
from pop3fast.fetch.destinations._simple import SimpleDestination

GO_ON = 354
"""The reply to DATA that asks for the content (RFC 5321 section 4.3.2)."""

DOUBTFUL = "it was sent, and the server was lost before it said what became of it: it will be sent again"

_HOST_AND_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s:/\[\]@]+)):(?P<port>[0-9]{1,5})")


class Lmtp(SimpleDestination):
    """A server that speaks LMTP; one connection, used again."""

    def __init__(self, words: str, particulars: Particulars) -> None:
        """Deliver to what *words* name, ``HOST:PORT`` or a socket's path. Raises `ValueError` for anything else."""
        self._where = _parse(words)
        self.path = f"lmtp:{words}"
        self._recipients = particulars.recipients
        self._context = particulars.to_context
        self._session: LmtpSession | None = None
        self._lock = Lock()
        self._in_a_hurry = False

    def open(self) -> None:
        """Connect. Raises `DestinationError`."""
        self._in_a_hurry = False
        if not self._recipients:
            raise DestinationError(self.path, "deliver to", "nobody says for whom the mail is (recipient)")
        self._connected()

    def deliver(self, message: OutgoingMessage) -> None:
        """Send *message*, and wait for what the server says of each recipient."""
        try:
            replies = self._send(message)
        except LostError as error:
            self._hang_up()
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

    def hurry(self) -> None:
        """Wait for no reply any more."""
        self._in_a_hurry = True
        with self._lock:
            if self._session is not None:
                self._session.close()

    def close(self) -> None:
        """Say QUIT."""
        super().close()
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.quit()

    def _send(self, message: OutgoingMessage) -> dict[str, Reply]:
        """Return what the server says, by recipient. Raises `LostError`, which says whether it had the message."""
        if self._in_a_hurry:
            raise LostError("it was not sent: the fetch was interrupted")
        session, recipients = self._connected(), self._recipients
        envelope = Envelope(message.sender(), recipients, message.octets, self._is_8bit(message))
        try:
            replies = session.envelope(envelope)
        except LostError:
            # A server ends a connection that was idle. What it has no end of it has not delivered.
            self._hang_up()
            session = self._connected()
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
            self._hang_up()
        else:
            session.reset()

    def _is_8bit(self, message: OutgoingMessage) -> bool:
        with message.open() as file:
            return has_8bit(iter(lambda: file.read(PIECE_OCTETS), b""))

    def _connected(self) -> LmtpSession:
        if self._session is None:
            try:
                session = LmtpSession(self._where, self._context)
            except OSError as error:
                raise destination_error(self.path, "connect to", error) from error
            except LostError as error:
                raise DestinationError(self.path, "connect to", str(error)) from error
            with self._lock:
                self._session = session
        return self._session

    def _hang_up(self) -> None:
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()


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
