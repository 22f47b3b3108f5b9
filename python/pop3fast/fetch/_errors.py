"""The exceptions of fetching, and what each means for what was delivered.

::

    FetchError
    +-- DestinationError    a message, or the rest of a batch, could not be delivered; `delivered` says what was
    +-- MessageError        one message could not be delivered; the others go on
    |   +-- MessageRefused      not now and not later: it is not tried again until somebody asks for it
    |   +-- MessageDeferred     not now: it stays new, and the next fetch tries again
    +-- StateError          what was fetched before is not known, or cannot be remembered
    |   +-- AccountBusy         another fetch of the same account is running
    +-- SeenFileError       a file of another program's unique-ids makes no sense
    +-- UidsChanged         every unique-id of the maildrop changed: all would be fetched again
    +-- UidsUnknown         the server gives no unique-ids: what is new cannot be told
    +-- SecretError         the command that gives the password did not
    +-- TaskLost            the worker that an executor had given a mailbox to ended

Owns the classes and what each says to a person. Every one can be pickled: it may come from another process.
"""

import errno
import os
import shlex
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path

from pop3fast import CommandError, ProtocolError
from pop3fast.fetch._identity import Entry, Identity


class FetchError(Exception):
    """Mail could not be fetched."""


class DestinationError(FetchError):
    """The destination did not take what was to be delivered: disk full, read-only, gone, not what it was said to be.

    ``delivered`` holds the entries of the same batch that are durable and visible in spite of it, to be remembered.
    Nothing else of the batch is delivered.
    """

    path: str
    """The file or folder it was about."""
    tried: str
    """What was tried, as in ``write``."""
    reason: str
    """Why it could not be done."""
    errno: int | None
    """The operating system's number for it, if it came from there."""
    delivered: tuple[Entry, ...]
    """What of the same batch was delivered."""

    def __init__(self, path: str, tried: str, reason: str, errno: int | None = None) -> None:
        """Say that *tried* could not be done with *path*, for *reason*."""
        super().__init__(path, tried, reason, errno)
        self.path = path
        self.tried = tried
        self.reason = reason
        self.errno = errno
        self.delivered = ()

    def __str__(self) -> str:
        return f"cannot {self.tried} {self.path}: {self.reason}"


class MessageError(FetchError):
    """Single messages could not be delivered, and the others can. They stay on the server.

    What ``begin`` and a delivery's ``write`` and ``end`` raise is about that message. ``flush`` names those that it is
    about, or else it is about every message of the flush; it is called again for the rest.
    """

    reason: str
    """Why not, for a person."""
    identities: tuple[Identity, ...]
    """Which messages, where ``flush`` raises it."""
    delivered: tuple[Entry, ...]
    """The entries of the same flush that are durable in spite of it, to be remembered."""

    def __init__(self, reason: str, identities: Iterable[Identity] = (), delivered: Iterable[Entry] = ()) -> None:
        """Say that *identities* could not be delivered, for *reason*."""
        identities, delivered = tuple(identities), tuple(delivered)
        super().__init__(reason, identities, delivered)
        self.reason = reason
        self.identities = identities
        self.delivered = delivered

    def __str__(self) -> str:
        return self.reason


class MessageRefused(MessageError):  # noqa: N818 - a public name that says what happened
    """The destination will never take this message. It is named, stays on the server, and is tried again when asked."""


class MessageDeferred(MessageError):  # noqa: N818 - as above
    """The destination does not take this message now. It stays new, and the next fetch tries again."""


def explained(error: BaseException) -> str:
    """Return what *error* says to a person; ``str()`` of one that the server caused is made for programs to compare."""
    return error.explanation if isinstance(error, CommandError | ProtocolError) else str(error)


class FolderNotSynced(OSError):  # noqa: N818 - it says what happened
    """A file system that makes no names durable: it refuses ``fsync`` of a folder."""

    def __init__(self, error: OSError) -> None:
        """Say so, for the *error* that it gave."""
        why = os.strerror(error.errno or 0)
        super().__init__(
            error.errno,
            f"its file system makes no names of files durable (fsync of a folder: {why}), as CIFS does: after a power "
            "cut, mail that lies there could be gone; a folder on another file system is needed",
        )


REFUSED_SYNCS = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS})
"""What file systems that cannot sync a folder say (CIFS, some of FUSE's); EIO is a disk that fails."""


def sync_folder(folder: int) -> None:
    """Make the names in *folder* durable. Raises ``OSError``, as `FolderNotSynced` where they cannot be made so."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno in REFUSED_SYNCS:
            raise FolderNotSynced(error) from error
        raise


def destination_error(path: str, tried: str, error: OSError) -> DestinationError:
    """Return what the operating system's *error* means for a delivery."""
    number = error.errno
    if isinstance(error, ssl.SSLError | socket.gaierror | FolderNotSynced):
        # Their numbers are no numbers of the operating system, or say too little.
        return DestinationError(path, tried, error.strerror or str(error))
    return DestinationError(path, tried, str(error) if number is None else system_words(number), number)


def system_words(number: int | None) -> str:
    """Return what the operating system's error *number* means, and what to do where that does not show."""
    words = os.strerror(number or 0)
    if number == errno.EMFILE:
        return f"{words}: this process may not have more of them open at once; `ulimit -n` says how many, and sets it"
    return words


def no_parent_error(path: str, tried: str) -> DestinationError:
    """Return what it means that the folder is missing in which *path* is to be made."""
    return DestinationError(path, tried, _no_folder(Path(path).parent), errno.ENOENT)


def _no_folder(path: Path) -> str:
    """Return that the folder *path* is missing, and what to do.

    It is not made: where a disk is not mounted, the mail would lie below it, and be out of sight once it is mounted.
    """
    return f"{os.strerror(errno.ENOENT)}: {path}; if no disk is missing, run: mkdir -p {shlex.quote(str(path))}"


class StateError(FetchError):
    """What was fetched before is not known, or cannot be remembered; what was remembered still is."""

    path: str
    """The state's file."""
    reason: str
    """Why it cannot be used, for a person."""

    def __init__(self, path: str, reason: str) -> None:
        """Say that the state in *path* cannot be used, for *reason*."""
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot use the state in {self.path}: {self.reason}"


def state_error(path: str, error: OSError) -> StateError:
    """Return what the operating system's *error* means for the state in *path*."""
    folder = Path(path).parent
    if error.errno == errno.ENOENT and not folder.exists():
        return StateError(path, _no_folder(folder))
    return StateError(path, str(error.strerror) if isinstance(error, FolderNotSynced) else system_words(error.errno))


class AccountBusy(StateError):  # noqa: N818 - a public name that says what happened
    """Another fetch of the same account is running, here or in another process."""

    def __str__(self) -> str:
        return self.reason


class SeenFileError(FetchError):
    """A line of another program's file of unique-ids makes no sense; nothing was taken from the file."""

    path: str
    """The other program's file."""
    line: int
    """The number of the line, from 1; 0 when it is about the file as a whole."""
    reason: str
    """What makes no sense, for a person."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        """Say that line *line* of *path* makes no sense, for *reason*."""
        super().__init__(path, line, reason)
        self.path = path
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        where = f", line {self.line}" if self.line else ""
        return f"{self.path}{where}: {self.reason}"


class UidsChanged(FetchError):  # noqa: N818 - a public name that says what happened
    """Every unique-id of the maildrop changed, and its messages would be fetched again. Nothing was fetched."""

    remembered: int
    """How many messages of the account are remembered, none of which is listed any more."""
    listed: int
    """How many messages the maildrop has."""

    def __init__(self, remembered: int, listed: int) -> None:
        """Say how many messages are *remembered* and *listed*."""
        super().__init__(remembered, listed)
        self.remembered = remembered
        self.listed = listed

    def __str__(self) -> str:
        return (
            "all unique-ids of the mailbox have changed, as after a move to another server: the server lists "
            f"{self.listed} messages, and none of the {self.remembered} that were fetched before is among them. "
            f"Nothing was fetched. To fetch all {self.listed} messages, accept the change (accept_uid_change)"
        )


class UidsUnknown(FetchError):  # noqa: N818 - a public name that says what happened
    """The server gives no unique-ids, so what is new cannot be told. Nothing was fetched or deleted."""


class SecretError(FetchError):
    """The command that was to give the password or token failed. What it printed is not in here."""


class TaskLost(FetchError):  # noqa: N818 - a public name that says what happened
    """The worker that fetched a mailbox ended, or could not be given the task. What it delivered is remembered."""
