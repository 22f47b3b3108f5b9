"""An mbox: all messages in one file, LF line ends, quoted as mboxrd.

Owns the order that makes a delivery safe although messages have no names: the journal has what is going to be appended
before its first octet is written, and until it is remembered. A process that is stopped leaves an intent, and the next
session looks in the file how far it came. The file is locked only while it is read or written to, never while the
network is waited for; when appending fails, it is cut back to what it was.
"""

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence

from pop3fast.fetch._descriptors import PatientFiles
from pop3fast.fetch._errors import DestinationError, destination_error, no_parent_error
from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import Copies, Entry, Identity, ReadBack, is_lasting
from pop3fast.fetch._ownership import objection_to
from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.destinations._mbox_delivery import Ended, MboxDelivery
from pop3fast.fetch.destinations._mbox_journal import digest_before, is_about, looks_like_froms, placed, settle
from pop3fast.fetch.destinations._mbox_lock import MboxLock
from pop3fast.fetch.destinations._mbox_read_back import read_back, there
from pop3fast.fetch.destinations._mbox_search import Place
from pop3fast.fetch.destinations._mboxrd import FROM
from pop3fast.fetch.destinations._read_early import AsWritten, EarlyReading, checksums
from pop3fast.fetch.destinations._spool import Spool
from pop3fast.fetch.destinations._sync import GroupSync
from pop3fast.fetch.memory._journal import Intended, Intent, Journal

FRAGMENT = (
    "{}: a fetch was stopped while it appended a message, and the file was changed since; "
    "the beginning of the message stays there, and it is delivered again"
)


class Mbox:
    """Messages in an mbox."""

    def __init__(self, path: str, files: Files, clock: Clock) -> None:
        """Append to the file *path*, to which nothing is done before `open`."""
        self.path = path
        self.files = PatientFiles(files, clock)
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
        self._second = 0
        self._appended: dict[bytes, tuple[int, int]] = {}
        self._said: list[str] = []
        self._threads = GroupSync(self.files)
        self._early = EarlyReading(self._threads, self._are_as_written)
        self._before: set[bytes] = set()
        """The places of messages that came once more in this session and were recognised by their content."""

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
        """Make ready for a session of *account* (`account_digest`), whose lock the caller has; *journal* keeps intents.

        An earlier session that was stopped is settled: messages that are there whole are remembered, and what was begun
        is taken away where that is safe. Returns sentences for a person. Raises `DestinationError`.
        """
        self.open()
        parent = self._opened()
        self._drop()
        self._journal = journal
        self._copies = Copies(journal.copies_deleted)
        self._failure = None
        self._account = account
        self._spool = self._new_spool()
        with self._lock(parent).locked(create=False) as file:
            self._settle_all(file, journal)
            # Only now: the beginning of a message in a new file need not look like an mbox.
            if file is not None:
                self._check(file)
        said, self._said = self._said, []
        return said

    def begin(self, identity: Identity) -> MboxDelivery:
        """Begin to deliver a message, when the one before has ended or was abandoned. Raises `DestinationError`."""
        if self._delivery is not None:
            raise ValueError("another message is being delivered")
        if self._spool is None:
            raise ValueError("the destination is not prepared")
        self._check_end()
        self._delivery = MboxDelivery(self, identity, self._unspent(self._spool), self._early.checksum())
        return self._delivery

    def date(self) -> int:
        """Return the seconds since 1970, never fewer than before; for the delivery only."""
        self._second = max(self._second, int(self.clock.date()))
        return self._second

    def ended(self, ended: Ended) -> None:
        """Keep a message that is in the spool; for the delivery only."""
        self._delivery = None
        entry = ended.entry
        if self._journal is not None:
            place: bytes | None = None
            if not is_lasting(entry.uid):
                entry = entry._replace(copy=self._copies.take(entry.content))
                ended = ended._replace(entry=entry)
                place = self._journal.place_of(entry.content, entry.copy)
            if place is None and (delivered := self._journal.taken_back(entry)) is not None:
                place = delivered.place
            if place is not None:
                if ended.spool is not None:
                    self.abandoned(ended.spool, ended.start)
                ended = ended._replace(entry=entry._replace(place=place), spool=None)
                self._before.add(place)
        self._batch.append(ended)

    def abandoned(self, spool: Spool, size: int) -> None:
        """Cut *spool* back to *size*; for the delivery only."""
        self._delivery = None
        try:
            spool.cut(size)
        except OSError:
            # The messages before it are still in it.
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
            if all(ended.spool is None for ended in batch):
                return [ended.entry for ended in batch]
            # Not on Linux, but elsewhere a lock ends when any descriptor of the file is closed.
            self._early.wait()
            with self._lock(self._opened()).created() as file:
                self._settle_all(file, journal)
                entries = self._append(file, batch, journal)
        except BaseException:
            for ended in batch:
                self._copies.give_back(ended.entry)
            raise
        else:
            self._early.begin(
                AsWritten(entry.place, ended.checksum, ended.length, place.offset)
                for entry, ended in zip(entries, batch, strict=True)
                if ended.spool is not None and (place := Place.unpacked(entry.place)) is not None
            )
            return entries
        finally:
            self._clear(batch)

    def read_back(self, entries: Sequence[Entry], *, fresh: bool) -> list[ReadBack]:
        """Read again what was delivered as *entries*, and return what is found of each, in the same order.

        *fresh* says that it was delivered in this session. Raises `DestinationError` when that cannot be seen.
        """
        if self._journal is None:
            raise ValueError("the destination is not prepared")
        places = [Place.unpacked(entry.place) for entry in entries]
        try:
            whole = self._there({place for place in places if place is not None})
            if whole.issuperset(places):
                return [ReadBack.WHOLE] * len(places)
            with self._lock(self._opened()).locked(create=False) as file:
                fresh_ones = frozenset(entry.place for entry in entries if fresh) - self._before
                return read_back(
                    self.files, file, entries, whole, self._threads.share_out, fresh_ones, self._journal.has_place
                )
        except OSError as error:
            raise destination_error(self.path, "read back from", error) from error

    def read_early(self) -> None:
        """Begin to read each message again when it has been delivered in this session: `read_back` is to follow."""
        self._early.is_wanted = True

    def hurry(self) -> None:
        """Wait for other programs no longer: whoever interrupted it wants to stop. May be called by another thread."""
        self._hurried = True
        self.files.hurry()

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
        """Raise the error that left something at the end of the file, which has to be taken away first."""
        if self._failure is not None:
            raise self._failure

    def _append(self, file: int, batch: list[Ended], journal: Journal) -> list[Entry]:
        """Append what of *batch* was not delivered before; return the entries of all."""
        try:
            self._check(file)
            intent = self._intent(file, [ended for ended in batch if ended.spool is not None])
        except OSError as error:
            raise destination_error(self.path, "append to", error) from error
        key = journal.intend(intent)
        try:
            if intent.pad:
                self.files.write(file, intent.pad)
            for ended in batch:
                for piece in _pieces_of(ended):
                    self.files.write(file, piece)
            self._make_durable(file)
        except OSError as error:
            failure = destination_error(self.path, "append to", error)
            self._cut_back(file, intent.size, journal, key, failure)
            raise failure from error
        except BaseException:
            # A program may catch the interrupt, go on, and append behind what was begun.
            failure = DestinationError(self.path, "append to", "it was interrupted")
            self._cut_back(file, intent.size, journal, key, failure)
            raise
        self._note(batch)
        appended = iter(intent.messages)
        return [ended.entry if ended.spool is None else placed(next(appended)) for ended in batch]

    def _there(self, places: Collection[Place]) -> set[Place]:
        """Return which messages are where they were appended. No lock is needed: the digest proves it."""
        early = self._early.take(place.packed() for place in places)
        whole = {place for place in places if early.get(place.packed())}
        later = [place for place in places if place.packed() not in early]
        if not later:
            return whole
        with self._opened_to_read() as file:
            return whole if file is None else whole | there(self.files, file, later, self._threads.share_out)

    def _are_as_written(self, some: Sequence[AsWritten]) -> list[bool]:
        with self._opened_to_read() as file:
            if file is None:
                return [False] * len(some)
            found = checksums(self.files, file, [(each.start, each.octets) for each in some])
            return [each.checksum == checksum for each, checksum in zip(some, found, strict=True)]

    @contextlib.contextmanager
    def _opened_to_read(self) -> Iterator[int | None]:
        """Give the mbox, opened anew by its name, None when it does not exist or is not this user's alone."""
        try:
            file = self.files.open_to_read(os.path.split(self.path)[1], self._opened())
        except FileNotFoundError:
            yield None
            return
        try:
            objection = objection_to(self.path, self.files.stat(file), self.files.stat(self._opened()))
            yield None if objection else file
        finally:
            self.files.close(file)

    def _intent(self, file: int, new: list[Ended]) -> Intent:
        status = self.files.stat(file)
        size = status.st_size
        # Whoever wrote last may have left half a line, or no empty line behind it.
        last = self.files.read(file, 2, max(0, size - 2))
        pad = b"" if not last or last == b"\n\n" else b"\n" if last.endswith(b"\n") else b"\n\n"
        before = digest_before(self.files, file, size)
        messages: list[Intended] = []
        offset = size + len(pad)
        for ended in new:
            froms = looks_like_froms(_pieces_of(ended))
            _, earlier = self._appended.get(ended.likeness, (0, 0))
            messages.append(
                Intended(ended.entry, offset, ended.length, ended.likeness, ended.head, froms=froms, earlier=earlier)
            )
            offset += ended.length
        return Intent(self.path, status.st_dev, status.st_ino, size, before, pad, tuple(messages))

    def _note(self, batch: list[Ended]) -> None:
        """Note what was appended, while a message that is alike to the last octet may still come after it."""
        second = min(ended.second for ended in batch)
        self._appended = {likeness: noted for likeness, noted in self._appended.items() if noted[0] >= second}
        for ended in batch:
            if ended.spool is not None:
                _, earlier = self._appended.get(ended.likeness, (0, 0))
                self._appended[ended.likeness] = ended.second, earlier + 1

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

    def _settle_all(self, file: int | None, journal: Journal) -> None:
        """Settle the intents for this mbox, which is locked, of all accounts that *journal* knows."""
        for intent in journal.intents():
            try:
                if not is_about(intent, self.files, file, self.path, self._opened()):
                    continue
                delivered = [] if file is None else self._settle(file, intent, journal)
            except OSError as error:
                raise destination_error(self.path, "settle what was begun in", error) from error
            journal.settle(intent.key, delivered)

    def _settle(self, file: int, intent: Intent, journal: Journal) -> list[Entry]:
        findings = settle(self.files, file, intent, journal.has_place)
        self._make_durable(file)
        if findings.fragment:
            self._said.append(FRAGMENT.format(self.path))
        return findings.delivered

    def _new_spool(self) -> Spool:
        return Spool(self.files, self._opened(), f".{os.path.split(self.path)[1]}.pop3fast-{self._account}")

    def _unspent(self, spool: Spool) -> Spool:
        """Return *spool* for the next message, or another one when *spool* holds something that is no longer needed."""
        if self._spool_is_spent:
            self._spool_is_spent = False
            if any(ended.spool is spool for ended in self._batch):
                self._spool = spool = self._new_spool()
            else:
                spool.clear()
        return spool

    def _clear(self, batch: list[Ended]) -> None:
        """Clear every spool that *batch* was in, except the one with a message that is under way."""
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
        self._threads.close()
        self._early.forget()
        self._before = set()
        batch, self._batch = self._batch, []
        self._clear(batch)


def _pieces_of(ended: Ended) -> Iterator[bytes]:
    return iter(()) if ended.spool is None else ended.spool.pieces(ended.start, ended.start + ended.length)
