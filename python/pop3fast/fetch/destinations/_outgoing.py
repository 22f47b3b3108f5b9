"""A message that has come whole, on its way to where it is delivered.

Owns its content: in memory while it is small, otherwise in a file without a name, which goes with the message. Counts
and digests it as it comes.
"""

import io
import os
import re
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO, cast

from pop3fast import Message
from pop3fast._framing import Blocks
from pop3fast.fetch._errors import destination_error
from pop3fast.fetch._identity import Identity, is_lasting

if TYPE_CHECKING:
    from email.message import EmailMessage
    from email.policy import Policy

SPOOL_OCTETS = 8 * 2**20
"""What is larger lies in a file: nearly all mail is smaller, and a few of them fit into any memory."""

HEADER_OCTETS = 256 * 2**10
"""Within how many octets a header is looked for."""

COPY_OCTETS = 2**16
"""What is copied at a time."""

MOST_ADDRESS = 320
"""A longer address is none (RFC 5321 section 4.5.3.1: 64 octets, ``@``, 255 octets)."""

KEY_HEX = 40
"""160 bits: no two messages are expected to share them, and a column for it may be short."""

_NO_FIELD = rb"(?m)^(?!From |[!-9;-~]*:|[\t ])"
_RETURN_PATH, _FROM = (rb"(?mi)^%s:((?:.*\n[\t ])*.*)" % name for name in (b"Return-Path", b"From"))
_PLAIN = r"(?a)(?:[\w ]*|\"[\w .,-]*\" ?)<([\w.+=-]+@[\w.-]+)>"
"""How nearly every sender is written. What looks otherwise is parsed, which takes half as long as all the rest. No
blank can match in two places: many blanks would be tried in each, and a sender could make that take any time."""


def message_key(account: str, uid: bytes, content: bytes) -> str:
    """Return what stands for the message with *uid* of *account* (its digest), whose *content* has this digest.

    It is the same in every attempt and process. Two messages with the same unique-id and content are one to it.
    """
    kept = uid if is_lasting(uid) else b""
    return sha256(b"%s\0%s\0%s" % (account.encode(), kept, content)).hexdigest()[:KEY_HEX]


class Content:
    """Octets that are appended, and then read any number of times."""

    def __init__(self, most: int) -> None:
        """Begin with none; keep *most* of them in memory."""
        self._most = most
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._digest = sha256()
        self.octets: int = 0

    def append(self, octets: bytes) -> None:
        """Append *octets*. Raises `DestinationError` when there is no room for them."""
        self._digest.update(octets)
        self.octets += len(octets)
        if self._file is None and self.octets <= self._most:
            self._memory += octets
            return
        import tempfile  # noqa: PLC0415 - takes long, and is hardly ever needed

        try:
            if self._file is None:
                self._file = cast("BinaryIO", tempfile.TemporaryFile("w+b", buffering=0))  # noqa: SIM115 - closed with this
                _write(self._file, self._memory)
                self._memory = bytearray()
            _write(self._file, octets)
        except OSError as error:
            raise destination_error(tempfile.gettempdir(), "keep a large message in", error) from error

    def digest(self) -> bytes:
        """Return the SHA-256 of all of them."""
        return self._digest.digest()

    def open(self) -> BinaryIO:
        """Return a file of them, to be read from the beginning."""
        if self._file is None:
            return io.BytesIO(bytes(self._memory))
        return io.BufferedReader(_Reader(self._file))

    def close(self) -> None:
        """Give the file back, if there is one. What was opened can be read no more."""
        if self._file is not None:
            self._file.close()


def _write(file: BinaryIO, octets: bytes | bytearray) -> None:
    rest = memoryview(octets)
    while rest:
        rest = rest[file.write(rest) :]


class _Reader(io.RawIOBase):
    """Reads a file from its beginning, whoever else reads it."""

    def __init__(self, file: BinaryIO) -> None:
        self._source = file
        self._offset = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset}.get(whence, os.fstat(self._source.fileno()).st_size)
        if start + offset < 0:
            raise ValueError("there is nothing before the beginning")
        self._offset = start + offset
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: "memoryview[int] | bytearray") -> int:  # type: ignore[override]
        octets = os.pread(self._source.fileno(), len(buffer), self._offset)
        buffer[: len(octets)] = octets
        self._offset += len(octets)
        return len(octets)


class OutgoingMessage:
    """What `SimpleDestination.deliver` is given."""

    def __init__(self, account: str, identity: Identity, content: Content, number: int = 0) -> None:
        """Stand for the message *identity* of *account* (its digest)."""
        self.identity: Identity = identity
        """Which message it is."""
        self.number: int = number
        """Its message number, in the session that fetched it; 0 when that is not known."""
        self._content = content
        self._sender: str | None = None
        self.is_kept: bool = False
        """Whether it is delivered later, and closed by whoever does so."""
        self.key: str = message_key(account, identity.uid, content.digest())
        """What stands for it: the same in every attempt, so whoever keeps it can deliver once."""

    @property
    def uid(self) -> str | None:
        """Its unique-id; None when it has none."""
        return self.identity.uid.decode("latin-1") or None

    @property
    def octets(self) -> int:
        """Its length in octets."""
        return self._content.octets

    @property
    def content(self) -> bytes:
        """Its octets as the server holds them."""
        with self.open() as file:
            return file.read()

    def open(self) -> BinaryIO:
        """Return a file of them. It can be read as long as the message is being delivered."""
        return self._content.open()

    def close(self) -> None:
        """Let go of its octets; called when it is delivered, or will not be."""
        self._content.close()

    def email(self, policy: "Policy[EmailMessage] | None" = None) -> "EmailMessage":
        """Return it parsed by *policy*, anew at each call, as `pop3fast.Message.email` does."""
        return Message(self.number, self.content, self.uid).email(policy)

    def header(self) -> bytes:
        """Return its header, as far as it lies in the first `HEADER_OCTETS`."""
        with self.open() as file:
            begin = file.read(HEADER_OCTETS)
        ends = [end for line in (b"\r\n\r\n", b"\n\n") if (end := begin.find(line)) >= 0]
        return begin[: min(ends)] if ends else begin

    def sender(self) -> str:
        """Return whom it came from: its Return-Path, or else its From; empty for a bounce, or without either."""
        if self._sender is None:
            self._sender = self._looked_up_sender()
        return self._sender

    def _looked_up_sender(self) -> str:
        header = self.header()
        # As the standard library reads it, and so most programs: what is below such a line is no header any more.
        if (end := re.search(_NO_FIELD, header)) is not None:
            header = header[: end.start()]
        for field in (_RETURN_PATH, _FROM):
            if (found := re.search(field, header)) is not None:
                return _address(found[1].decode("ascii", "replace"))
        return ""

    def copy_with_lf(self, file: BinaryIO) -> None:
        """Write it to *file* with LF line ends, as it lies in files. Raises ``OSError``."""
        ends = Blocks(COPY_OCTETS, in_lf=True)
        with self.open() as content:
            while octets := content.read(COPY_OCTETS):
                file.write(ends.feed(octets))
        file.write(ends.rest())

    def __repr__(self) -> str:
        # Not its content: a message is not for a log.
        return f"<message {self.key}: {self.octets} octets, uid {self.uid!r}>"


def _address(field: str) -> str:
    field = " ".join(field.split())
    if (plain := re.fullmatch(_PLAIN, field)) is not None and len(plain[1]) <= MOST_ADDRESS:
        return plain[1]
    from email.utils import parseaddr  # noqa: PLC0415 - takes long, and is hardly ever needed

    try:
        address = parseaddr(field)[1]
    except RecursionError:  # of some hundred comments within each other
        return ""
    usable = address.isascii() and address.isprintable() and len(address) <= MOST_ADDRESS
    return address if usable and not set(address) & {" ", "<", ">", '"', "\\"} else ""
