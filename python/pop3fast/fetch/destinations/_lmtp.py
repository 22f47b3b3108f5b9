"""An LMTP server as a destination: Dovecot's, Cyrus's, or one's own.

Owns what its replies mean for a message. Where a server is lost after it had all of a message, nobody knows whether it
has delivered it: the message stays new, as the report says, and is sent again to all but those it confirmed. There is
one such message at most, for the content of the next goes out only when the server has said what became of the one
before. The next one's envelope goes along with that content.
"""

import re
from collections.abc import Callable
from typing import cast

from pop3fast import _replies
from pop3fast.fetch._errors import DestinationError, MessageDeferred, MessageRefused
from pop3fast.fetch.destinations._connection import PIECE_OCTETS, LostError
from pop3fast.fetch.destinations._lmtp_session import Envelope, LmtpSession, Reply, has_8bit
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.fetch.destinations._particulars import Particulars
from pop3fast.fetch.destinations._served import Served
from pop3fast.fetch.destinations._server import ServerDestination
from pop3fast.fetch.memory._journal import Attempts

GO_ON = 354
"""The reply to DATA that asks for the content (RFC 5321 section 4.3.2)."""

DOUBTFUL = "it was sent, and the server was lost before it said what became of it: it will be sent again"

_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[^\s\[\]/]+)?)\]|(?P<host>[^\s:/\[\]@]+)):(?P<port>[0-9]{1,5})"
)


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
        if any(set(each) & set("<>\r\n") or not each.isprintable() for each in self._recipients):
            why = "the user who logs in cannot be whom the mail is for: name somebody (recipient)"
            raise DestinationError(self.path, "deliver to", why)
        super().open()

    def connect(self) -> LmtpSession:
        """Return a session."""
        return LmtpSession(self._where, self._context)

    def deliver(self, message: OutgoingMessage) -> None:
        """Send *message* to whoever does not have it yet, and wait for what the server says of each recipient."""
        self.deliver_before(message, lambda: None)

    def deliver_before(self, message: OutgoingMessage, following: Callable[[], OutgoingMessage | None]) -> None:
        """Deliver *message*, and begin with the one that is *following* when all of it is sent."""
        served, envelope = self._addressed(message)
        replies: dict[str, Reply] = {}
        why = ""
        try:
            if served.missing:
                self._send(message, envelope, replies, following)
        except LostError as error:
            self.hang_up()
            why = str(error)
        bad = {each: replies[each] for each in served.missing if each in replies and not replies[each].good}
        served.note([recipient for recipient, reply in replies.items() if reply.good])
        if not served.missing:
            return
        if bad:
            said = "; ".join(f"{_replies.printable(recipient)}: {reply}" for recipient, reply in bad.items())
            why = f"{said}; {why}" if why else said
        if served.done:
            why += f" (delivered to {_replies.printable(', '.join(served.done))})"
        # A message that is refused for one recipient is not deleted, or nobody would ever know.
        is_refused = len(bad) == len(served.missing) and all(reply.final for reply in bad.values())
        raise (MessageRefused if is_refused else MessageDeferred)(why)

    def _addressed(self, message: OutgoingMessage) -> tuple[Served, Envelope]:
        served = Served(cast("Attempts", self._journal), message, self._recipients)
        return served, Envelope(message.sender(), (*served.missing,), message.octets, _is_8bit(message))

    def _send(
        self,
        message: OutgoingMessage,
        envelope: Envelope,
        replies: dict[str, Reply],
        following: Callable[[], OutgoingMessage | None],
    ) -> None:
        """Add to *replies* what the server says, by recipient. Raises `LostError`, which says if it had the message."""
        if self.in_a_hurry:
            raise LostError("it was not sent: the fetch was interrupted")
        session = self.connected()
        recipients = envelope.recipients
        try:
            said = session.envelope(envelope)
        except LostError:
            # A server ends a connection that was idle. It has delivered nothing whose end it has not seen.
            self.hang_up()
            session = self.connected()
            said = session.envelope(envelope)
        mail, data = said[0], said[-1]
        if not mail.good:
            self._forget(session, data)
            replies |= dict.fromkeys(recipients, mail)
            return
        by_recipient = dict(zip(recipients, said[1:-1], strict=True))
        accepted = [recipient for recipient, reply in by_recipient.items() if reply.good]
        if data.code != GO_ON or not accepted:
            self._forget(session, data)
            replies |= by_recipient | dict.fromkeys(accepted, _no_success(data))
            return
        replies |= {recipient: reply for recipient, reply in by_recipient.items() if not reply.good}
        try:
            with message.open() as file:
                session.content(file, self._next(following) if session.looks_ahead(len(accepted)) else None)
            for recipient, reply in zip(accepted, session.outcomes(len(accepted)), strict=True):
                replies[recipient] = _no_question(reply)
        except LostError as error:
            raise LostError(f"{DOUBTFUL} ({error})") from error
        except BaseException:
            # Nothing but the rest of the content can be said to it, and what has no end is not delivered.
            self.hang_up()
            raise

    def _forget(self, session: LmtpSession, data: Reply) -> None:
        """Let the server forget the envelope, after this reply to DATA."""
        if data.code == GO_ON:
            # It wants a content, though nobody is to get one (RFC 2033 section 4.2): nothing else can be said to it.
            self.hang_up()
        else:
            session.reset()

    def _next(self, following: Callable[[], OutgoingMessage | None]) -> Envelope | None:
        """Return the envelope of what is *following*, if there is anybody who does not have it."""
        if (message := following()) is None:
            return None
        served, envelope = self._addressed(message)
        return envelope if served.missing else None


def _is_8bit(message: OutgoingMessage) -> bool:
    with message.open() as file:
        return has_8bit(iter(lambda: file.read(PIECE_OCTETS), b""))


def _no_success(reply: Reply) -> Reply:
    """Return *reply* to DATA; one that is neither kind of failure counts as a temporary one."""
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
