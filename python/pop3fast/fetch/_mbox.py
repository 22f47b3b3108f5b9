"""An mbox: all messages in one file, LF line ends, quoted as mboxrd.

Owns the order that makes a delivery safe where nothing has a name: what is going to be appended is in the journal
before the first octet of it is, and stays there until it is remembered. A process that ends anywhere leaves an intent,
and the next session sees in the file what came of it. The file is locked only while it is read or written to, never
while the network is waited for; when appending fails, it is cut back to what it was.
"""

import contextlib
import os
from hashlib import sha256
from typing import NamedTuple

from pop3fast.fetch._errors import DestinationError, destination_error, no_parent_error
from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import CONTENT_OCTETS, Copies, Entry, Identity, is_lasting
from pop3fast.fetch._journal import Intended, Intent, Journal
from pop3fast.fetch._lines import LineEnds
from pop3fast.fetch._mbox_journal import HEAD_OCTETS, digest_before, examine
from pop3fast.fetch._mbox_lock import MboxLock
from pop3fast.fetch._mboxrd import FROM, Quoter, from_line
from pop3fast.fetch._spool import Spool
from pop3fast.fetch._waiting import Clock

BEGINNING_OCTETS = 2**16
"""How far into a message its Return-Path is looked for: it is the first field where there is one."""

FRAGMENT = (
    "{}: a fetch was stopped while it appended a message, and the file was changed since; "
    "the beginning of the message stays there, and it is delivered again"
)


class Ended(NamedTuple):
    """A message that is whole."""

    entry: Entry
    spool: Spool | None
    """Where it lies; None when it was delivered before."""
    start: int
    length: int
    """Its octets in the spool, from its From line to the empty line behind it."""
    digest: bytes
    head: bytes


class MboxDelivery:
    """One message on its way into an mbox."""

    def __init__(self, mbox: "Mbox", identity: Identity, spool: Spool) -> None:
        """Deliver *identity* through *spool*."""
        self._mbox = mbox
        self._identity = identity
        self.spool = spool
        self._start = spool.size
        self._ends = LineEnds()
        self._quoter = Quoter()
        self._octets = 0
        self._length = 0
        self._content = sha256()
        self._digest = sha256()
        self._head = b""
        self._last = b""
        # The message until its sender is known; None from there on.
        self._beginning: bytearray | None = bytearray()
        self._open = True

    def write(self, octets: bytes) -> None:
        """Write the next *octets* of the message as the server sent them.

        Raises `DestinationError`; then this delivery is abandoned.
        """
        if not self._open:
            raise ValueError("this delivery has ended")
        self._octets += len(octets)
        self._convert(self._ends.feed(octets))

    def end(self, size: int = 0, fingerprint: bytes = b"") -> None:
        """Take the message for whole; the next `flush` appends it.

        *size* (its octets by the scan listing) and *fingerprint* are for its entry. Raises `DestinationError`.
        """
        if not self._open:
            raise ValueError("this delivery has ended")
        self._convert(self._ends.end())
        if self._beginning is not None:
            self._begin(bytes(self._beginning))
        rest = self._quoter.end()
        # A message ends with a line end, and an empty line sets it off from the next.
        self._append(rest + (b"\n" if (self._last + rest).endswith(b"\n") else b"\n\n"))
        self._open = False
        content = self._content.digest()[:CONTENT_OCTETS]
        entry = Entry(*self._identity, size, self._octets, fingerprint, int(self._mbox.clock.date()), content)
        length = self.spool.size - self._start
        if length != self._length:
            raise AssertionError(f"{length} octets are left of a message of {self._length}")
        self._mbox.ended(Ended(entry, self.spool, self._start, length, self._digest.digest(), self._head))

    def abandon(self) -> None:
        """Take away what was written; nothing is delivered. Does nothing when it has ended or was abandoned."""
        if self._open:
            self._open = False
            self._mbox.abandoned(self.spool, self._start)

    def _convert(self, octets: bytes) -> None:
        self._content.update(octets)
        if self._beginning is None:
            self._append(self._quoter.feed(octets))
            return
        searched = max(0, len(self._beginning) - 1)
        self._beginning += octets
        if len(self._beginning) >= BEGINNING_OCTETS or self._beginning.find(b"\n\n", searched) >= 0:
            self._begin(bytes(self._beginning))

    def _begin(self, beginning: bytes) -> None:
        self._beginning = None
        self._append(from_line(beginning, self._mbox.clock.date()))
        self._append(self._quoter.feed(beginning))

    def _append(self, octets: bytes) -> None:
        if not octets:
            return
        self._digest.update(octets)
        self._length += len(octets)
        self._last = octets[-1:]
        if len(self._head) < HEAD_OCTETS:
            self._head = (self._head + octets[:HEAD_OCTETS])[:HEAD_OCTETS]
        try:
            self.spool.append(octets)
        except OSError as error:
            self.abandon()
            raise destination_error(self._mbox.path, "keep a message for", error) from error


class Mbox:
    """Messages in an mbox."""

    def __init__(self, path: str, files: Files, clock: Clock) -> None:
        """Append to the file *path*, to which nothing is done before `open`."""
        self.path = path
        self.files = files
        self.clock = clock
        self._parent: int | None = None
        self._account = ""
        self._journal: Journal | None = None
        self._spool: Spool | None = None
        self._spool_is_spent = False
        self._copies = Copies()
        self._delivery: MboxDelivery | None = None
        self._batch: list[Ended] = []
        self._name_is_durable = False
        self._hurried = False
        self._failure: DestinationError | None = None

    def open(self) -> None:
        """Check that the file is one, if it is there, and can be locked. Raises `DestinationError`.

        Nothing is made or changed. Does nothing when it is open.
        """
        if self._parent is not None:
            return
        try:
            self._parent = self.files.open_parent(os.path.split(self.path)[0] or ".")
        except FileNotFoundError:
            raise no_parent_error(self.path, "append to") from None
        except OSError as error:
            raise destination_error(self.path, "append to", error) from error
        try:
            with self._lock(self._parent).locked(create=False):
                pass
        except BaseException:
            self.close()
            raise

    def prepare(self, account: str, journal: Journal) -> list[str]:
        """Make ready for a session of *account* (`account_digest`), whose lock the caller holds and *journal* is of.

        What an earlier session was stopped in is settled: messages that are wholly there are remembered, what was
        begun is taken away where it is safe to. Returns sentences for a person. Raises `DestinationError`.
        """
        self.open()
        parent = self._opened()
        self._drop()
        self._journal = journal
        self._copies = Copies()
        self._failure = None
        self._account = account
        self._spool = self._new_spool()
        said: list[str] = []
        for intent in journal.intents():
            if intent.path == self.path:
                said += self._settle(journal, intent)
        # Not before: what a fetch has begun to put into a new file need not look like an mbox.
        with self._lock(parent).locked(create=False) as file:
            if file is not None:
                self._check(file)
        return said

    def begin(self, identity: Identity) -> MboxDelivery:
        """Begin to deliver a message, when the one before has ended or was abandoned. Raises `DestinationError`."""
        if self._delivery is not None:
            raise ValueError("another message is being delivered")
        if self._spool is None:
            raise ValueError("the destination is not prepared")
        self._check_end()
        self._delivery = MboxDelivery(self, identity, self._unspent(self._spool))
        return self._delivery

    def ended(self, ended: Ended) -> None:
        """Keep a message that is in the spool; for the delivery only."""
        self._delivery = None
        entry = ended.entry
        if not is_lasting(entry.uid) and self._journal is not None:
            entry = entry._replace(copy=self._copies.take(entry.content))
            ended = ended._replace(entry=entry)
            if self._journal.has_content(entry.content, entry.copy):
                if ended.spool is not None:
                    self.abandoned(ended.spool, ended.start)
                ended = ended._replace(spool=None)
        self._batch.append(ended)

    def abandoned(self, spool: Spool, size: int) -> None:
        """Cut *spool* back to *size*; for the delivery only."""
        self._delivery = None
        try:
            spool.cut(size)
        except OSError:
            # What ended before lies in it as it did.
            self._spool_is_spent = True

    def flush(self) -> list[Entry]:
        """Append every message that has ended since the last flush, durably; return what to remember.

        A message that is under way goes on, and is none of them. Remember the others before the next flush: until then
        they are in the journal. Raises `DestinationError` when not all could be appended; then none was, and the file
        is as it was. Raises `StateError` before it is touched.
        """
        batch, self._batch = self._batch, []
        journal = self._journal
        if not batch or journal is None:
            return []
        try:
            self._check_end()
            new = [ended for ended in batch if ended.spool is not None]
            if new:
                with self._lock(self._opened()).locked(create=True) as file:
                    if file is not None:
                        self._append(file, new, journal)
        except BaseException:
            for ended in batch:
                self._copies.give_back(ended.entry)
            raise
        finally:
            self._clear(batch)
        return [ended.entry for ended in batch]

    def hurry(self) -> None:
        """Wait for other programs no longer: whoever interrupted does not want to. May be called by another thread."""
        self._hurried = True

    def close(self) -> None:
        """Let go of the file; what was not flushed is not delivered. Does nothing when it is closed."""
        self._drop()
        parent, self._parent = self._parent, None
        self._spool = self._journal = None
        if parent is not None:
            with contextlib.suppress(OSError):
                self.files.close(parent)

    def _lock(self, parent: int) -> MboxLock:
        return MboxLock(self.files, parent, self.path, self.clock, lambda: self._hurried)

    def _opened(self) -> int:
        if self._parent is None:
            raise ValueError("the destination is not open")
        return self._parent

    def _check(self, file: int) -> None:
        try:
            begins = self.files.read(file, len(FROM), 0)
        except OSError as error:
            raise destination_error(self.path, "read", error) from error
        if begins and begins != FROM:
            raise DestinationError(self.path, "append to", "it is no mbox: it does not begin with a From line")

    def _check_end(self) -> None:
        """Raise what happened when the file ends in something that has to be taken away first."""
        if self._failure is not None:
            raise self._failure

    def _append(self, file: int, new: list[Ended], journal: Journal) -> None:
        try:
            self._check(file)
            status = self.files.stat(file)
            size = status.st_size
            # Somebody may have left half a line, or no empty one.
            last = self.files.read(file, 2, max(0, size - 2))
            pad = b"" if not last or last == b"\n\n" else b"\n" if last.endswith(b"\n") else b"\n\n"
            before = digest_before(self.files, file, size)
        except OSError as error:
            raise destination_error(self.path, "append to", error) from error
        messages: list[Intended] = []
        offset = size + len(pad)
        for ended in new:
            messages.append(Intended(ended.entry, offset, ended.length, ended.digest, ended.head))
            offset += ended.length
        intent = Intent(self.path, status.st_dev, status.st_ino, size, before, pad, tuple(messages))
        key = journal.intend(intent)
        try:
            if pad:
                self.files.write(file, pad)
            for ended in new:
                if ended.spool is not None:
                    for piece in ended.spool.pieces(ended.start, ended.start + ended.length):
                        self.files.write(file, piece)
            self._make_durable(file)
        except OSError as error:
            failure = destination_error(self.path, "append to", error)
            self._cut_back(file, size, journal, key, failure)
            raise failure from error
        except BaseException:
            # Whoever interrupts this may go on, and append behind what was begun.
            self._cut_back(file, size, journal, key, DestinationError(self.path, "append to", "it was interrupted"))
            raise

    def _make_durable(self, file: int) -> None:
        self.files.sync(file)
        if not self._name_is_durable:
            self.files.sync_folder(self._opened())
            self._name_is_durable = True

    def _cut_back(self, file: int, size: int, journal: Journal, key: int, failure: DestinationError) -> None:
        try:
            self.files.truncate(file, size)
            self.files.sync(file)
        except OSError:
            # The intent stays, and the next session tries again; nothing may be appended behind this before.
            self._failure = failure
        else:
            journal.settle(key, ())

    def _settle(self, journal: Journal, intent: Intent) -> list[str]:
        try:
            with self._lock(self._opened()).locked(create=False) as file:
                if file is None:
                    journal.settle(intent.key, ())
                    return []
                findings = examine(self.files, file, intent)
                if findings.cut_to is not None:
                    self.files.truncate(file, findings.cut_to)
                self._make_durable(file)
        except OSError as error:
            raise destination_error(self.path, "settle what was begun in", error) from error
        journal.settle(intent.key, findings.delivered)
        return [FRAGMENT.format(self.path)] if findings.fragment else []

    def _new_spool(self) -> Spool:
        return Spool(self.files, self._opened(), f".{os.path.split(self.path)[1]}.pop3fast-{self._account}")

    def _unspent(self, spool: Spool) -> Spool:
        """Return *spool* for the next message, or another one where something is left in it that is done with."""
        if self._spool_is_spent:
            self._spool_is_spent = False
            if any(ended.spool is spool for ended in self._batch):
                self._spool = spool = self._new_spool()
            else:
                spool.clear()
        return spool

    def _clear(self, batch: list[Ended]) -> None:
        """Clear every spool that *batch* was in, but for the one that a message under way lies in."""
        used = {self._spool, *(ended.spool for ended in batch)}
        if self._delivery is not None:
            # A long message would be copied with each flush; it stays where it is, and the next one begins elsewhere.
            used.discard(self._delivery.spool)
            self._spool_is_spent = True
        for spool in used:
            if spool is not None:
                spool.clear()

    def _drop(self) -> None:
        """Take away what was not flushed; a message that is under way is abandoned."""
        if self._delivery is not None:
            self._delivery.abandon()
        batch, self._batch = self._batch, []
        self._clear(batch)
