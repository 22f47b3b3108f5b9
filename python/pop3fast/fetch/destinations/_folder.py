"""A folder with one file a message: what a Maildir and a folder of ``.eml`` files have in common.

Owns the order that makes a delivery safe: write a hidden file, ``fsync`` it, link it to its name, ``fsync`` the folder,
and only then say that it is delivered. A file with the same name is the same message (see `_identity`), so nothing is
overwritten and nothing is there twice. A process that is stopped leaves hidden files, which the next session of the
same account takes away. Never follows a symbolic link inside, and never keeps more in memory than a round of small
messages (`_sync`).
"""

import contextlib
import errno
import os
from collections.abc import Sequence
from hashlib import sha256
from itertools import count
from typing import ClassVar, NamedTuple

from pop3fast._framing import Blocks, Checksum
from pop3fast.fetch._descriptors import PatientFiles
from pop3fast.fetch._errors import DestinationError, destination_error
from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import CONTENT_OCTETS, Copies, Entry, Identity, ReadBack, delivery_key, is_lasting
from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.destinations._folder_index import FolderIndex, Stamps, is_as_written, is_whole
from pop3fast.fetch.destinations._open_folders import Folders, open_folders
from pop3fast.fetch.destinations._read_early import AsWritten, EarlyReading
from pop3fast.fetch.destinations._sync import MAX_ROUND, ROUND_OCTETS, GroupSync, Written, large_at_once
from pop3fast.fetch.memory._journal import Journal

NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""The errors of file systems without hard links: FAT, some of FUSE and SMB."""

SMALL_OCTETS = 2**16
"""Up to so many octets, a message is kept in memory, and the threads that sync make the file. Nine of ten messages are
no larger, and making a file costs as much as syncing it."""

BLOCK_OCTETS = 2**18
"""How many octets of a larger one are written at a time, each at a multiple of that in the file. ext4 took half of the
time that pieces of 64 KiB took which begin anywhere in a page. Blocks of 64 KiB took a fifth longer, of 1 MiB no
less."""


class Published(NamedTuple):
    """A message that is visible."""

    entry: Entry
    spot: tuple[str, ...]
    """Where it is, as `FolderIndex` has it."""
    written: Written | None = None
    """How it was written, if it was not there before."""


class FolderDelivery:
    """One message on its way into a folder."""

    def __init__(
        self, folder: "FolderDestination", identity: Identity, tmp_name: str, checksum: Checksum | None
    ) -> None:
        """Deliver *identity* through the file *tmp_name*, which is made when it is needed; *checksum* takes it too."""
        self._folder = folder
        self._identity = identity
        self._tmp_name = tmp_name
        self._under_way = True
        self._file: int | None = None
        self._blocks = Blocks(BLOCK_OCTETS, in_lf=folder.CONVERTS)
        self._digest = sha256()
        self._checksum = checksum
        self.left_out: int = 0
        self._octets = 0
        self._length = 0

    def write(self, octets: bytes) -> None:
        """Write the next *octets* of the message as the server sent them.

        Raises `DestinationError`; then this delivery is abandoned.
        """
        self._check()
        self._octets += len(octets)
        if blocks := self._blocks.feed(octets):
            self._append(blocks)

    def end(self, size: int = 0, fingerprint: bytes = b"") -> None:
        """Take the message for whole; the next `flush` makes it durable and visible.

        *size* (its octets by the scan listing) and *fingerprint* are for its entry. Raises `DestinationError`.
        """
        self._check()
        content = self._blocks.rest()
        if self._file is None and len(content) <= SMALL_OCTETS:
            self._count(content)
        elif content:
            self._append(content)
            content = b""
        if self._octets and not self._length:
            raise AssertionError(f"0 octets are left of a message of {self._octets}")
        self._under_way = False
        digest = self._digest.digest()
        entry = Entry(
            *self._identity,
            size,
            self._octets + self.left_out,
            fingerprint,
            int(self._folder.clock.date()),
            digest[:CONTENT_OCTETS],
        )
        checksum = b"" if self._checksum is None else self._checksum.digest()
        self._folder.ended(Written(self._tmp_name, entry, content, self._file, self._length, checksum))

    def abandon(self) -> None:
        """Take away what was written; nothing is delivered. Does nothing when it has ended or was abandoned."""
        if self._under_way:
            self._under_way = False
            self._folder.abandoned(self._tmp_name, self._file)

    def _check(self) -> None:
        if not self._under_way:
            raise ValueError("this delivery has ended")

    def _append(self, octets: bytes) -> None:
        self._count(octets)
        try:
            if self._file is None:
                self._file = self._folder.create(self._tmp_name)
            self._folder.files.write(self._file, octets)
        except OSError as error:
            self.abandon()
            raise destination_error(self._folder.path, "write to", error) from error

    def _count(self, octets: bytes) -> None:
        self._digest.update(octets)
        if self._checksum is not None:
            self._checksum.feed(octets)
        self._length += len(octets)


class FolderDestination:
    """Files in a folder. The class attributes are what differs between a Maildir and a folder of ``.eml`` files."""

    CONVERTS: ClassVar[bool]
    """Whether line ends become LF."""
    SUFFIX: ClassVar[str]
    """What a message's name ends in."""
    HIDDEN: ClassVar[str]
    """What the name of a file that is not visible yet begins with."""
    INSIDE: ClassVar[tuple[str, ...]]
    """The folders inside: where messages are written, where they are published, and where they may be later. Without
    any, all three are the folder itself."""

    def __init__(self, path: str, files: Files, clock: Clock, *, by_batch: bool = False) -> None:
        """Deliver into the folder *path*, to which nothing is done before `open`.

        *by_batch* says that its file system is to be synced instead of each file, where that can be believed.
        """
        self.path = path
        self.files = PatientFiles(files, clock)
        self.files.let_go = self._sync_what_is_open
        self.clock = clock
        self._folders: Folders | None = None
        self._hidden = self._visible = -1
        self._spots: dict[tuple[str, ...], int] = {}
        self._account = ""
        self._token = ""
        self._numbers = count()
        self._stamps = Stamps(clock)
        self._index: FolderIndex | None = None
        self._copies = Copies()
        self._delivery: FolderDelivery | None = None
        self._batch: list[Written] = []
        self._unsynced: list[Written] = []
        self._unsynced_octets = self._unsynced_files = 0
        self._syncs = GroupSync(self.files, by_batch=by_batch)
        self._early = EarlyReading(self._syncs, self._are_as_written)

    def open(self) -> None:
        """Check the folder, and make it when only its parent exists. Raises `DestinationError`.

        Nothing else is touched: a state inside of it can be opened then. Does nothing when it is open.
        """
        if self._folders is None:
            self._folders = open_folders(self.files, self.path, self.INSIDE)
            root, inside = self._folders
            self._hidden, self._visible = inside[:2] or (root, root)
            self._spots = {(name,): folder for name, folder in zip(self.INSIDE[1:], inside[1:], strict=True)} or {
                (): root
            }

    def prepare(self, account: str, journal: Journal) -> list[str]:
        """Make ready for a session of *account* (`account_digest`), whose lock the caller holds.

        Takes away what an earlier session of the same account left half done. Returns sentences for a person, of which
        a folder never has any. *journal* says which copies of a message were deleted. Raises `DestinationError`.
        """
        self.open()
        self._drop()
        litter = f"{self.HIDDEN}{account}-"
        self._account, self._token = account, os.urandom(4).hex()
        self._copies = Copies(journal.copies_deleted)
        self._index = None
        try:
            for name in self.files.names(self._hidden):
                if name.startswith(litter):
                    with contextlib.suppress(FileNotFoundError):
                        self.files.unlink(name, self._hidden)
        except OSError as error:
            raise destination_error(self.path, "prepare", error) from error
        return []

    def begin(self, identity: Identity) -> FolderDelivery:
        """Begin to deliver a message, when the one before has ended or was abandoned. Raises `DestinationError`."""
        if self._delivery is not None:
            raise ValueError("another message is being delivered")
        if not self._account:
            raise ValueError("the destination is not prepared")
        if self._syncs.failed is not None:
            raise destination_error(self.path, *self._syncs.failed)
        tmp_name = f"{self.HIDDEN}{self._account}-{self._token}-{next(self._numbers)}"
        self._delivery = FolderDelivery(self, identity, tmp_name, self._early.checksum())
        return self._delivery

    def create(self, tmp_name: str) -> int:
        """Make the file of a message that is being written; for the delivery only."""
        return self.files.create(tmp_name, self._hidden)

    def ended(self, written: Written) -> None:
        """Keep a message that has been written; for the delivery only."""
        self._delivery = None
        if not is_lasting(written.entry.uid):
            written.entry = written.entry._replace(copy=self._copies.take(written.entry.content))
        written.key = delivery_key(self._account, written.entry)
        self._batch.append(written)
        self._unsynced.append(written)
        self._unsynced_octets += written.entry.octets
        self._unsynced_files += written.file is not None
        if (
            len(self._unsynced) == MAX_ROUND
            or self._unsynced_octets >= ROUND_OCTETS
            or self._unsynced_files >= large_at_once()
        ):
            self._sync()

    def abandoned(self, tmp_name: str, file: int | None) -> None:
        """Take away a message that will not be delivered; for the delivery only."""
        self._delivery = None
        if file is not None:
            with contextlib.suppress(OSError):
                self.files.close(file)
        self._take_away(tmp_name)

    def flush(self) -> list[Entry]:
        """Make every message that has ended since the last flush durable and visible; return what to remember.

        Raises `DestinationError` when that could not be done for all; its ``delivered`` are to be remembered, the
        others are not delivered and nothing of them is left. The destination can be used on.
        """
        self._sync()
        self._syncs.wait()
        batch, self._batch = self._batch, []
        failure: DestinationError | None = None
        published: list[Published] = []
        for delivered in batch:
            try:
                if not delivered.durable:
                    # There is no error when the wait was interrupted, and the program went on.
                    raise delivered.failure or InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
                published.append(self._publish(delivered))
            except OSError as error:
                failure = failure or destination_error(self.path, delivered.tried, error)
                self._copies.give_back(delivered.entry)
            self._let_go(delivered)
        if published:
            try:
                # A file that was there before may have been moved there, and perhaps nobody has synced that.
                self._looked_up().sync({message.spot for message in published})
            except OSError as error:
                failure = destination_error(self.path, "deliver to", error)
                self._take_back(published)
                published = []
        self._early.begin(
            AsWritten(entry.place, written.checksum, written.octets)
            for entry, _, written in published
            if written is not None
        )
        entries = [message.entry for message in published]
        if failure is not None:
            failure.delivered = tuple(entries)
            raise failure
        return entries

    def read_back(self, entries: Sequence[Entry], *, fresh: bool) -> list[ReadBack]:
        """Read again what was delivered as *entries*, and return what is found of each, in the same order.

        *fresh* says that it was delivered in this session. In a Maildir a message may have been moved to wherever a
        second delivery would find it. Raises `DestinationError` when that cannot be seen.
        """
        if not self._account:
            raise ValueError("the destination is not prepared")
        index = self._looked_up()
        # The index knows what was added in this session, but not what mail programs have done meanwhile.
        index.renew()
        try:
            early = self._early.take(entry.place for entry in entries)
            later = [entry for entry in entries if entry.place not in early]
            whole = dict(zip(later, self._syncs.share_out(self._are_where_they_were_put, later), strict=True))
            rest = [entry for entry in entries if not (early.get(entry.place) or whole.get(entry))]
            found = dict(zip(rest, index.look_for(rest, fresh=fresh), strict=True))
            return [found.get(entry, ReadBack.WHOLE) for entry in entries]
        except OSError as error:
            raise destination_error(self.path, "read back from", error) from error

    def read_early(self) -> None:
        """Begin to read each message again when it has been delivered in this session: `read_back` is to follow."""
        self._early.is_wanted = True

    def hurry(self) -> None:
        """Wait no longer for others to close files. May be called by another thread."""
        self.files.hurry()

    def close(self) -> None:
        """Take away what was not flushed, and let go of the folder. Does nothing when it is closed."""
        self._drop()
        folders, self._folders = self._folders, None
        self._account = ""
        if folders is not None:
            for folder in (folders.root, *folders.inside):
                with contextlib.suppress(OSError):
                    self.files.close(folder)

    def _are_as_written(self, some: Sequence[AsWritten]) -> list[bool]:
        return [
            is_as_written(self.files, self._visible, each.place.decode(), each.octets, each.checksum) for each in some
        ]

    def _are_where_they_were_put(self, entries: Sequence[Entry]) -> list[bool]:
        return [self._is_where_it_was_put(entry) for entry in entries]

    def _is_where_it_was_put(self, entry: Entry) -> bool:
        name = entry.place.decode("ascii", "replace")
        if not entry.content or not self._looked_up().is_name(name):
            return False
        try:
            return is_whole(self.files, self._visible, name, entry.content)
        except FileNotFoundError:
            return False

    def _sync(self) -> None:
        unsynced, self._unsynced = self._unsynced, []
        self._unsynced_octets = self._unsynced_files = 0
        self._syncs.start(unsynced, self._hidden)

    def _sync_what_is_open(self) -> None:
        """Sync and close the files of messages that have ended."""
        open_ = [written for written in self._unsynced if written.file is not None]
        self._unsynced = [written for written in self._unsynced if written.file is None]
        self._unsynced_files = 0
        self._syncs.start(open_, self._hidden)
        self._syncs.finish()

    def _publish(self, delivered: Written) -> Published:
        """Make a durable message visible, unless a whole one was there before."""
        index = self._looked_up()
        if (found := index.find(delivered.key, delivered.entry.content)) is not None:
            return Published(delivered.entry._replace(place=found.name.encode()), found.spot)
        name = index.next_name(delivered.key) + self.SUFFIX
        try:
            self.files.link(delivered.tmp_name, self._hidden, name, self._visible)
        except FileExistsError:
            # NFS gives this error, too, when it made the link and its first answer was lost. No name is given twice.
            made = self.files.stat_name(name, self._visible)
            if not os.path.samestat(made, self.files.stat_name(delivered.tmp_name, self._hidden)):
                raise
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            # No name is given twice: the account's lock keeps out everybody else who could give this one.
            self.files.rename(delivered.tmp_name, self._hidden, name, self._visible)
        index.add(delivered.key, name)
        return Published(delivered.entry._replace(place=name.encode()), next(iter(self._spots)), delivered)

    def _looked_up(self) -> FolderIndex:
        """Return what is there of this account; the folder is read when something of it is asked."""
        if self._index is None:
            if self._folders is None:
                raise ValueError("the destination is not open")
            self._index = FolderIndex(self.files, self._folders.root, self._spots, self._account, self._stamps)
        return self._index

    def _take_back(self, published: list[Published]) -> None:
        """Make what is new of *published* invisible again: nobody knows whether the names are durable."""
        for entry, _, written in published:
            self._copies.give_back(entry)
            if written is not None:
                with contextlib.suppress(OSError):
                    self.files.unlink(entry.place.decode(), self._visible)
                    self._looked_up().discard(written.key)

    def _take_away(self, tmp_name: str) -> None:
        # What cannot be taken away now does no harm, and goes when the next session begins.
        with contextlib.suppress(OSError):
            self.files.unlink(tmp_name, self._hidden)

    def _let_go(self, delivered: Written) -> None:
        # It is still open when the thread that was to sync it could not go on.
        if delivered.file is not None:
            with contextlib.suppress(OSError):
                self.files.close(delivered.file)
            delivered.file = None
        self._take_away(delivered.tmp_name)

    def _drop(self) -> None:
        """Take away what is written and not flushed."""
        if self._delivery is not None:
            self._delivery.abandon()
        self._syncs.close()
        self._early.forget()
        batch, self._batch, self._unsynced = self._batch, [], []
        self._unsynced_octets = self._unsynced_files = 0
        for delivered in batch:
            self._let_go(delivered)
