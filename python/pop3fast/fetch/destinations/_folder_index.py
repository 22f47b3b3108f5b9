"""Which messages of an account a folder has: what each file is called, where it is now, and whether it is whole.

Owns the form of the names, and with it their order: sorting them gives the order in which messages were delivered. A
name is ``TIME.Mxxxxxx_KEY``: the seconds since 1970, the microseconds, and the key, which is the same for the same
message for ever (`delivery_key`). An earlier version used the key alone. A mail program adds flags or sizes behind the
key. Never writes, and never takes a damaged file for a message.
"""

import contextlib
import errno
import re
import stat as modes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import CONTENT_HEX, MESSAGE_HEX, Entry, ReadBack, delivery_key
from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.destinations._read_early import checksums

PIECE_OCTETS = 2**20
"""What is read at a time."""

A_LINK = errno.ELOOP
"""The error for a link that somebody put in a file's place. Any other error proves nothing: a file that cannot be read
now may be whole."""

NO_FILE = {A_LINK, errno.ENOENT, errno.EISDIR, errno.ESPIPE}
"""The errors when a file is not there, or something else is: a link, a folder, a pipe."""

AHEAD_MICROSECONDS = 24 * 60 * 60 * 1_000_000
"""A name that is further ahead of the clock came from a clock that was wrong: the next name need not follow it."""

IN_A_MAILDIR = ("new", "cur")
"""Where each of a Maildir's folders (Maildir++), whose names begin with a dot, has messages."""

NO_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}
"""The errors for a folder that does not exist, or that this user may not read."""


class Stamps:
    """The times that names begin with: each later than the one before, whatever the clock does."""

    def __init__(self, clock: Clock) -> None:
        """Begin with the time of *clock*."""
        self._clock = clock
        self._last = -1

    def latest(self) -> int:
        """Return the last microsecond since 1970 that the next name follows: a later one is too far ahead."""
        return self._now() + AHEAD_MICROSECONDS

    def come_behind(self, microseconds: int) -> None:
        """Let the next one be later than *microseconds* since 1970."""
        self._last = max(self._last, microseconds)

    def take(self) -> str:
        """Return the beginning of the next name."""
        self._last = max(self._last + 1, self._now())
        seconds, microseconds = divmod(self._last, 1_000_000)
        return f"{seconds:010}.M{microseconds:06}_"

    def _now(self) -> int:
        return max(0, int(self._clock.date() * 1_000_000))


class Found(NamedTuple):
    """A whole message that is there."""

    name: str
    spot: tuple[str, ...]
    """The folders to go through to where it is."""


class FolderIndex:
    """The files of one account's messages in a folder, as they were when it was first asked, and those added since."""

    def __init__(
        self, files: Files, root: int, spots: Mapping[tuple[str, ...], int], account: str, stamps: Stamps
    ) -> None:
        """Look for messages of *account* in the open *spots* of the folder *root*, and in a Maildir's folders."""
        self._files = files
        self._account = account
        self._root = root
        self._open = spots
        self._stamps = stamps
        self._form = re.compile(
            rf"(?:([0-9]{{10,}})\.M([0-9]{{6}})_)?({account}[0-9a-f]{{{MESSAGE_HEX}}}\.[0-9a-f]{{{CONTENT_HEX}}})"
            r"(?![0-9A-Za-z])"
        )
        # Several names of one key are joined by NULs: 100,000 lists would take more memory than all the rest.
        self._known: dict[str, str] | None = None
        self._messages: dict[str, list[str]] | None = None
        self._spots: list[tuple[str, ...]] = []

    def is_name(self, name: str) -> bool:
        """Return whether a file with a message of the account can be called *name*."""
        return self._form.match(name) is not None

    def next_name(self, key: str) -> str:
        """Return a name for the message *key* that sorts after all names that are there."""
        self._read()
        return f"{self._stamps.take()}{key}"

    def add(self, key: str, name: str) -> None:
        """Note that the message *key* is there as *name*."""
        _note(self._read(), key, 0, name)

    def discard(self, key: str) -> None:
        """Note that the message *key* is not there."""
        self._read().pop(key, None)

    def renew(self) -> None:
        """See the folder as it is now."""
        self._known = self._messages = None

    def has(self, key: str) -> bool:
        """Return whether a file of the message *key* is there, whole or not."""
        return key in self._read()

    def find(self, key: str, content: bytes) -> Found | None:
        """Return a whole message *key* that has *content* (the beginning of its digest), None when there is none.

        Raises `OSError` when that cannot be seen.
        """
        if not self.has(key):
            return None
        with contextlib.suppress(FileNotFoundError):
            return self._find(key, content)
        # A mail program has moved it since.
        self.renew()
        with contextlib.suppress(FileNotFoundError):
            return self._find(key, content)
        return None

    def look_for(self, entries: Sequence[Entry], *, fresh: bool) -> list[ReadBack]:
        """Return what is found of each of *entries*, wherever it is; *fresh*: they were delivered in this session.

        Raises `OSError` when that cannot be seen.
        """
        found = [self._look_for(entry, fresh=fresh) for entry in entries]
        if fresh and ReadBack.DIFFERS in found:
            # A listing may lack a file that a mail program renames meanwhile, to note that it was read.
            self.renew()
            seen = zip(entries, found, strict=True)
            found = [each if each is ReadBack.WHOLE else self._look_for(entry, fresh=True) for entry, each in seen]
        return found

    def _look_for(self, entry: Entry, *, fresh: bool) -> ReadBack:
        # The server may have given it another unique-id since; then its name would be another one now.
        placed = self._form.match(entry.place.decode("ascii", "replace"))
        key = delivery_key(self._account, entry) if placed is None else placed[3]
        message, _, _ = key.partition(".")
        if entry.content:
            wanted = [(key, entry.content)]
        else:
            # Version 1 remembered no content, but named the file by it.
            wanted = [(each, bytes.fromhex(each.partition(".")[2])) for each in self._by_message().get(message, ())]
        if any(self.find(each, content) for each, content in wanted):
            return ReadBack.WHOLE
        return ReadBack.DIFFERS if fresh or any(self.has(each) for each, _ in wanted) else ReadBack.MOVED

    def _by_message(self) -> dict[str, list[str]]:
        if self._messages is None:
            self._messages = {}
            for key in self._read():
                self._messages.setdefault(key.partition(".")[0], []).append(key)
        return self._messages

    def _find(self, key: str, content: bytes) -> Found | None:
        for place in filter(None, self._read().get(key, "").split("\0")):
            number, _, name = place.partition("/")
            spot = self._spots[int(number)]
            with self._opened(spot) as folder:
                if is_whole(self._files, folder, name, content):
                    return Found(name, spot)
        return None

    def _read(self) -> dict[str, str]:
        if self._known is None:
            known: dict[str, str] = {}
            self._spots = [*self._open]
            newest, latest = -1, self._stamps.latest()
            for number, names in enumerate(self._names()):
                for name in names:
                    if (found := self._form.match(name)) is not None:
                        seconds, microseconds, key = found.groups()
                        _note(known, key, number, name)
                        if seconds and newest < (time := int(f"{seconds}{microseconds}")) <= latest:
                            newest = time
            self._stamps.come_behind(newest)
            # Only when it is complete: messages that are missing in half a listing would be delivered twice.
            self._known = known
        return self._known

    def _names(self) -> Iterator[list[str]]:
        for folder in self._open.values():
            yield self._files.names(folder)
        if () in self._open:
            return
        for name in self._files.names(self._root):
            if name.startswith("."):
                for inside in IN_A_MAILDIR:
                    self._spots.append((name, inside))
                    try:
                        with self._opened((name, inside)) as folder:
                            yield self._files.names(folder)
                    except OSError as error:
                        if error.errno not in NO_FOLDER:
                            raise
                        yield []

    @contextlib.contextmanager
    def _opened(self, spot: tuple[str, ...]) -> Iterator[int]:
        """Give an open folder."""
        if spot in self._open:
            yield self._open[spot]
            return
        with contextlib.ExitStack() as to_close:
            folder = self._root
            for name in spot:
                folder = self._files.open_folder(name, folder)
                to_close.callback(self._files.close, folder)
            yield folder

    def sync(self, spots: Iterable[tuple[str, ...]]) -> None:
        """Make the names in *spots* durable. Raises `OSError`."""
        for spot in spots:
            with self._opened(spot) as folder:
                self._files.sync_folder(folder)


def _note(known: dict[str, str], key: str, number: int, name: str) -> None:
    place = f"{number}/{name}"
    known[key] = f"{known[key]}\0{place}" if key in known else place


def is_whole(files: Files, folder: int, name: str, content: bytes) -> bool:
    """Return whether the file *name* in *folder* has *content*, the beginning of the SHA-256 of all its octets.

    Raises ``FileNotFoundError`` when it is not there, and another `OSError` when it cannot be seen.
    """
    try:
        file = files.open_to_read(name, folder)
        try:
            status = files.stat(file)
            digest = sha256()
            for offset in range(0, status.st_size, PIECE_OCTETS):
                digest.update(files.read(file, min(PIECE_OCTETS, status.st_size - offset), offset))
        finally:
            # Nothing was written to it, so an error here says nothing about what was read.
            with contextlib.suppress(OSError):
                files.close(file)
    except OSError as error:
        if error.errno != A_LINK:
            raise
        return False
    return modes.S_ISREG(status.st_mode) and digest.digest().startswith(content)


def is_as_written(files: Files, folder: int, name: str, octets: int, checksum: bytes) -> bool:
    """Return whether the file *name* in *folder* has so many *octets*, with this *checksum*.

    It may be moved or replaced: then `is_whole` has to say what became of it. Raises `OSError` when it cannot be seen.
    """
    try:
        file = files.open_to_read(name, folder)
        try:
            # One octet more shows a file that is longer.
            return next(checksums(files, file, [(0, octets + 1)])) == checksum
        finally:
            with contextlib.suppress(OSError):
                files.close(file)
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        return False
