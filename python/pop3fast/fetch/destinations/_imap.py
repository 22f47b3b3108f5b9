"""A folder on an IMAP server as a destination: messages are appended, with the date of their receipt, as not read.

Owns what an answer means for a message, and that one whose fate is doubtful is looked for before it is appended again:
that a message is going to be sent is remembered first. So nothing is lost, and nothing is there twice as far as the
server finds what it has.
"""

import base64
import imaplib
import re
import ssl
from collections import deque
from datetime import UTC, datetime
from email import message_from_bytes
from hashlib import sha256
from typing import NamedTuple, cast
from urllib.parse import unquote, urlsplit

from pop3fast.fetch._errors import DestinationError, MessageDeferred, MessageError, MessageRefused
from pop3fast.fetch._identity import Entry, Identity
from pop3fast.fetch.destinations._connection import LostError, pieces_with
from pop3fast.fetch.destinations._imap_session import Answer, ImapSession
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.fetch.destinations._particulars import Particulars, Secret
from pop3fast.fetch.destinations._received import received_at
from pop3fast.fetch.destinations._server import ServerDestination
from pop3fast.fetch.memory._journal import Attempts, Journal

IN_FLIGHT = 32
"""How many messages are appended before the first answer is waited for: enough to hide a delay of 40 ms, and no more
are in doubt when a connection is lost."""

GATHERED = IN_FLIGHT // 2
"""How many small messages are gathered, for one wait for the disk here and one there: that all of them are going to be
sent is remembered in one step, and where the server has MULTIAPPEND they go in one command. That took a
quarter of the time of one command each, where Dovecot syncs; more of them would leave nothing to send while an answer
is on its way."""

SMALL_OCTETS = 2**16
"""What is larger is not held in memory, and goes by itself."""

BATCH = 8 * IN_FLIGHT
"""So many are appended before all answers are waited for, and remembered for good. Those that are answered are kept as
done before, so a fetch that is killed leaves no more in doubt than were on their way."""

FIRST_YEAR = 1970
"""What is older has the date of a clock that was never set. Cyrus answers BAD to an APPEND with such a date,
and Dovecot to one with a date of the first centuries."""

PORTS = {"imap": 143, "imaps": 993}

NOT_SENT = "it was not sent: the fetch was interrupted, or the server was lost"
DOUBTFUL = "it was sent, and the server was lost before it said what became of it: it will be looked for"

_LITERAL = re.compile(rb"\{([0-9]+)\}\r?\n")
_APPENDUID = re.compile(r"APPENDUID ([0-9]{1,10}) ([0-9]{1,10}(?:[:,][0-9]{1,10})*)")


class Place(NamedTuple):
    """What a URL says."""

    scheme: str
    host: str
    port: int
    user: str
    folder: str


class Outgoing(NamedTuple):
    """A message that is going to be sent, or was."""

    entry: Entry
    attempt: int
    date: bytes
    content: bytes
    """Its octets; of a large one none, for it is not sent again in this session."""


class Pending(NamedTuple):
    """What was sent in one command, and is not answered yet."""

    messages: tuple[Outgoing, ...]
    tag: bytes


class Imap(ServerDestination[ImapSession]):
    """A folder; one connection, used again."""

    batch_messages = BATCH

    def __init__(self, url: str, particulars: Particulars) -> None:
        """Append to the folder that *url* names. Raises `ValueError`, which does not quote it, when it names none."""
        super().__init__()
        self._place = parse_imap(url, particulars.user)
        self.path = url
        self._folder = quoted(utf7(self._place.folder))
        self._password = particulars.to_password
        self._token = particulars.to_token
        self._context = particulars.to_context
        self._creates = particulars.to_create
        self._attempts: Attempts | None = None
        self._given: set[Identity] = set()
        """What is to be answered before the next flush; the rest was there before, by what is remembered."""
        self._gathered: list[Outgoing] = []
        self._pending: deque[Pending] = deque()
        self._answered: dict[Identity, Entry | MessageError | DestinationError] = {}
        # What was sent in this session is not in doubt, and another message may be alike to it.
        self._noted: set[tuple[bytes, bytes]] = set()

    def prepare(self, account: str, journal: Journal) -> list[str]:
        """Make ready for a session of *account*. Raises `DestinationError`."""
        said = super().prepare(account, journal)
        self._given, self._gathered = set(), []
        self._pending.clear()
        self._answered = {}
        self._noted.clear()
        # Whatever keeps a journal keeps attempts, too.
        self._attempts = cast("Attempts", journal)
        return said

    def settle(self, entry: Entry, message: OutgoingMessage) -> Entry:
        """Send *message*; `flush` says what the server answers. Raises `MessageError` and `DestinationError`."""
        if self._attempts is None:
            raise TypeError("the destination is not prepared")
        if self.in_a_hurry:
            raise MessageDeferred(NOT_SENT)
        session, uid = self.connected(), entry.kept().uid
        self._given.add(entry.identity)
        if (done := self._attempts.handled(entry)) is not None:
            self._answered[entry.identity] = done
            return done
        before = self._attempts.attempts(uid, entry.content)
        try:
            if before and (uid, entry.content) not in self._noted:
                self._send_gathered()
                self._collect(0)
                if (place := self._find(self.connected(), message)) is not None:
                    self._answered[entry.identity] = entry._replace(place=place)
                    return entry
            self._noted.add((uid, entry.content))
            outgoing = Outgoing(entry, before + 1, internal_date(message.header()), b"")
            if message.octets <= SMALL_OCTETS and session.takes_literals:
                self._gather(outgoing, message)
            else:
                self._send_large(outgoing, message)
        except LostError as error:
            self._lose(str(error))
            raise MessageDeferred(f"{DOUBTFUL} ({error})") from error
        return entry

    def flush(self) -> list[Entry]:
        """Return what the server has taken. Raises `MessageError` for the rest, one after the other."""
        self._send_gathered()
        self._collect(0)
        answered, self._answered = self._answered, {}
        given, self._given = self._given, set()
        answered = dict.fromkeys(given, MessageDeferred(NOT_SENT)) | answered
        return self.told((entry, answered.get(entry.identity, entry)) for entry in super().flush())

    def _gather(self, outgoing: Outgoing, message: OutgoingMessage) -> None:
        with message.open() as file:
            self._gathered.append(outgoing._replace(content=b"".join(pieces_with(b"\r\n", file))))
        if len(self._gathered) == GATHERED:
            self._send_gathered()

    def _send_gathered(self) -> None:
        """Send what was gathered, when it is remembered that it is going to be sent. Raises `DestinationError`."""
        gathered, self._gathered = tuple(self._gathered), []
        if not gathered or self.in_a_hurry:
            return
        self._note_attempts(gathered)
        # The window slides: more goes out as the oldest is answered.
        self._collect(IN_FLIGHT - len(gathered))
        self._send(gathered, together=self.connected().takes_many)

    def _send(self, messages: tuple[Outgoing, ...], *, together: bool) -> None:
        """Send *messages*, in one command or in one each."""
        session = self.connected()
        for part in [messages] if together else [(each,) for each in messages]:
            # Before it is sent: what is lost on its way is in doubt.
            self._pending.append(Pending(part, b""))
            try:
                tag = session.begin_appends(self._folder, [(each.date, each.content) for each in part])
            except LostError as error:
                self._lose(str(error))
                return
            self._pending[-1] = Pending(part, tag)

    def _send_large(self, outgoing: Outgoing, message: OutgoingMessage) -> None:
        """Send a *message* by itself, without holding it in memory. Raises `LostError` and `MessageError`."""
        self._send_gathered()
        self._note_attempts((outgoing,))
        self._collect(IN_FLIGHT - 1 if self.connected().takes_literals else 0)
        head = b'%s "%s"' % (self._folder, outgoing.date)
        with message.open() as file:
            tag, refused = self.connected().begin_append(head, _length(message), pieces_with(b"\r\n", file))
        if refused is not None:
            raise self._error(refused)
        self._pending.append(Pending((outgoing,), tag))

    def _note_attempts(self, messages: tuple[Outgoing, ...]) -> None:
        """Remember durably, with one wait for the disk, that *messages* are going to be sent."""
        for number, (entry, attempt, *_) in enumerate(messages, 1):
            if self._attempts is not None:
                is_last = number == len(messages)
                self._attempts.note_attempt(entry.kept().uid, entry.content, attempt, durable=is_last)

    def _note(self, messages: tuple[Outgoing, ...], answer: Answer) -> None:
        """Take note of the *answer* to what was sent in one command, and keep what is done."""
        if not answer.good and len(messages) > 1:
            # None of them is there (RFC 3502 section 6.3.11). One by one now, so that each answer decides about one.
            self._send(messages, together=False)
            return
        for (entry, *_), place in zip(messages, _places_of(answer, len(messages)), strict=True):
            if not answer.good:
                self._answered[entry.identity] = self._error(answer)
                return
            self._answered[entry.identity] = remembered = entry._replace(place=place)
            if self._attempts is not None:
                self._attempts.note_handled(entry, remembered)

    def _collect(self, most: int) -> None:
        """Wait for answers until no more than *most* messages are on their way."""
        while sum(len(each.messages) for each in self._pending) > most and self.session is not None:
            try:
                answer = self.session.answer(self._pending[0].tag)
            except LostError as error:
                self._lose(str(error))
                return
            self._note(self._pending.popleft().messages, answer)

    def _find(self, session: ImapSession, message: OutgoingMessage) -> bytes | None:
        """Return where *message* is, which was sent before and perhaps arrived; None when it is not there."""
        octets = _length(message)
        header = b"".join(_header_lines(message.header()))
        wanted = message_from_bytes(header).get("Message-ID")
        search = b"UID SEARCH LARGER %d SMALLER %d" % (octets - 1, octets + 1)
        if wanted is not None and str(wanted).isascii():
            search += b" HEADER Message-ID %s" % quoted(" ".join(str(wanted).split()))
        selected = session.command(b"EXAMINE %s" % self._folder)
        if not selected.good:
            raise self._error(selected)
        found = self._asked(session, search)
        uids = [uid for line in found.untagged if line.upper().startswith(b"* SEARCH") for uid in line.split()[2:]]
        place: bytes | None = None
        for uid in uids:
            fetched = self._asked(session, b"UID FETCH %s BODY.PEEK[HEADER]" % uid)
            if _digest(header) in {_digest(_literal_of(line)) for line in fetched.untagged}:
                place = b"uid:" + uid
        session.command(b"CLOSE")
        return place

    def _asked(self, session: ImapSession, command: bytes) -> Answer:
        """Return the answer to *command*. Raises what a NO means: that nobody can look now, and not that it is gone."""
        answer = session.command(command)
        if answer.status == "NO":
            raise self._error(answer)
        return answer

    def _error(self, answer: Answer) -> MessageError | DestinationError:
        """Return what it means that the server did not take a message."""
        if answer.code.startswith("TRYCREATE"):
            return DestinationError(
                self.path, "append to", f"there is no such folder: make it, or say --to-create: {answer}"
            )
        final = answer.status == "BAD" or answer.code.startswith(("TOOBIG", "LIMIT"))
        return (MessageRefused if final else MessageDeferred)(str(answer))

    def connect(self) -> ImapSession:
        """Return a session that is logged in, to a server that has the folder."""
        context = self._context or ssl.create_default_context()
        where = (self._place.host, self._place.port)
        session = ImapSession(where, context, tls_at_once=self._place.scheme == "imaps")
        try:
            self._log_in(session)
        except BaseException:
            session.close()
            raise
        return session

    def _log_in(self, session: ImapSession) -> None:
        user = self._place.user
        if self._token is not None:
            token = _secret(self._token)
            answer = session.log_in("XOAUTH2", f"user={user}\1auth=Bearer {token}\1\1".encode())
        elif self._password is None:
            raise DestinationError(self.path, "log in to", "there is no password (to_password, --to-password-command)")
        elif "AUTH=PLAIN" in session.capabilities:
            answer = session.log_in("PLAIN", f"\0{user}\0{_secret(self._password)}".encode())
        elif not f"{user}{_secret(self._password)}".isascii():
            raise DestinationError(self.path, "log in to", "the server takes no name and password beyond ASCII")
        else:
            answer = session.command(b"LOGIN %s %s" % (quoted(user), quoted(_secret(self._password))))
        if not answer.good:
            raise DestinationError(self.path, "log in to", str(answer))
        session.ask_capabilities()
        answer = session.command(b"STATUS %s (UIDVALIDITY)" % self._folder)
        if not answer.good and self._creates:
            answer = session.command(b"CREATE %s" % self._folder)
            if not answer.good:
                raise DestinationError(self.path, "make the folder of", str(answer))
            # Most mail programs show only what is subscribed to. When that fails, it is no reason to lose mail.
            session.command(b"SUBSCRIBE %s" % self._folder)
        if not answer.good:
            raise DestinationError(
                self.path, "append to", f"there is no such folder: make it, or say --to-create: {answer}"
            )

    def _lose(self, why: str) -> None:
        """Close the connection, and with it the hope of an answer to what was sent."""
        self.hang_up()
        while self._pending:
            for each in self._pending.popleft().messages:
                self._answered[each.entry.identity] = MessageDeferred(f"{DOUBTFUL} ({why})")


def parse_imap(url: str, user: str = "") -> Place:
    """Return what *url* says; *user* logs in unless it names another. Raises `ValueError`, which does not quote it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(WRONG_URL) from None
    folder = unquote(parts.path.removeprefix("/")) or "INBOX"
    who = unquote(parts.username or "") or user
    if parts.password is not None:
        raise ValueError("a URL with a password in it ends up in logs: use to_password, or --to-password-command")
    if parts.scheme not in PORTS or not parts.hostname or not who or parts.query or parts.fragment:
        raise ValueError(WRONG_URL)
    if not (folder + who).isprintable():
        raise ValueError("the folder or the user of an imap URL has a control character in it")
    return Place(parts.scheme, parts.hostname, port or PORTS[parts.scheme], who, folder)


WRONG_URL = "an IMAP folder is imaps://user@host/FOLDER, or imap:// for STARTTLS"


def quoted(text: str) -> bytes:
    """Return *text*, which is ASCII in one line, as a quoted string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode("ascii")


def internal_date(header: bytes) -> bytes:
    """Return when a message was received: the newest Received that has a date, or else its Date, or else now."""
    date = received_at(header)
    if date is None or date.year < FIRST_YEAR:
        date = datetime.now(UTC)
    return imaplib.Time2Internaldate(date).strip('"').encode("ascii")


def utf7(text: str) -> str:
    """Return the modified UTF-7 of *text*, a folder's name (RFC 3501 section 5.1.3)."""
    found: list[str] = []
    for part in re.findall(r"[\x20-\x7e]+|[^\x20-\x7e]+", text):
        if part.isascii():
            found.append(part.replace("&", "&-"))
        else:
            octets = base64.b64encode(part.encode("utf-16-be")).decode("ascii").rstrip("=").replace("/", ",")
            found.append(f"&{octets}-")
    return "".join(found)


def _secret(secret: Secret) -> str:
    return secret() if callable(secret) else secret


def _length(message: OutgoingMessage) -> int:
    with message.open() as file:
        return sum(map(len, pieces_with(b"\r\n", file)))


def _header_lines(header: bytes) -> list[bytes]:
    return [line + b"\r\n" for line in re.split(rb"\r\n|\r|\n", header)]


def _literal_of(response: bytes) -> bytes:
    found = _LITERAL.search(response)
    return b"" if found is None else response[found.end() : found.end() + int(found[1])]


def _digest(header: bytes) -> bytes:
    """Return what a header is known by, however many empty lines are behind it."""
    return sha256(header.rstrip(b"\r\n")).digest()


def _places_of(answer: Answer, messages: int) -> list[bytes]:
    """Return where the *messages* of one command are, as far as the *answer* says it (RFC 4315 section 3)."""
    found = _APPENDUID.match(answer.code)
    if found is None:
        return [b""] * messages
    uids: list[int] = []
    for part in found[2].split(","):
        bounds = [int(number) for number in part.split(":")]
        # A server may claim anything.
        uids += range(bounds[0], min(bounds[-1], bounds[0] + messages) + 1)
    return [b"%s:%d" % (found[1].encode(), uid) for uid in uids] if len(uids) == messages else [b""] * messages
