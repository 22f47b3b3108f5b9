"""Where mail goes: what every destination can do, and the one that a person's words name.

Owns the words ``maildir:PATH``, ``mbox:PATH`` and ``eml:PATH``. A destination never speaks to a server and never
forgets: which messages are new, and what is remembered, its user decides.

::

    destination.open()
    with State(default_path(destination)).account(host, port, user) as account:
        destination.prepare(account.digest, account)
        seen = account.seen()
        delivery = destination.begin(identity)
        delivery.write(octets)
        delivery.end()
        account.remember(destination.flush())
    destination.close()
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import Entry, Identity, ReadBack
from pop3fast.fetch._waiting import Clock, SystemClock
from pop3fast.fetch.destinations._eml import EmlFolder
from pop3fast.fetch.destinations._maildir import Maildir
from pop3fast.fetch.destinations._mbox import Mbox
from pop3fast.fetch.memory._journal import Journal
from pop3fast.fetch.memory._state import FILE_NAME


class Delivery(Protocol):
    """One message on its way to a destination."""

    def write(self, octets: bytes) -> None:
        """Write the next *octets*, as the server sent them and cut anywhere.

        Raises `DestinationError`; then this delivery is abandoned.
        """

    def end(self, size: int = 0, fingerprint: bytes = b"") -> None:
        """Take the message for whole; the next flush delivers it.

        *size* (its octets by the scan listing) and *fingerprint* are for its entry. Raises `DestinationError`.
        """

    def abandon(self) -> None:
        """Take away what was written; nothing is delivered. Does nothing when it has ended or was abandoned."""


class Destination(Protocol):
    """Where mail goes. To be used by one thread at a time."""

    path: str

    def open(self) -> None:
        """Check the destination, and make what is missing when its parent exists. Raises `DestinationError`."""

    def prepare(self, account: str, journal: Journal) -> list[str]:
        """Make ready for a session of *account* (its digest), whose lock the caller holds; open it if it is not.

        To be called once for each session with the server, before asking what has been seen. What a session before
        left half done is settled or taken away. Returns sentences for a person. Raises `DestinationError`.
        """
        ...

    def begin(self, identity: Identity) -> Delivery:
        """Begin to deliver a message, when the one before has ended or was abandoned. Raises `DestinationError`."""
        ...

    def flush(self) -> list[Entry]:
        """Make every message that has ended since the last flush durable and visible; return what to remember.

        Raises `DestinationError` when that could not be done for all: its ``delivered`` are to be remembered, of the
        others nothing is left.
        """
        ...

    def read_back(self, entries: Sequence[Entry], *, fresh: bool) -> list[ReadBack]:
        """Read again what was delivered as *entries*, and return what is found of each, in the same order.

        It is opened anew, and compared with what was received by its digest, which is of all its octets. *fresh* says
        that it was delivered in this session: what is not there then was lost. To be called when it is prepared.
        Raises `DestinationError` when that cannot be seen; then nothing is to be deleted.
        """
        ...

    def hurry(self) -> None:
        """Wait for other programs no longer. The one method that may be called while another thread is in one."""

    def close(self) -> None:
        """Let go of the destination; what was not flushed is not delivered. Does nothing when it is closed."""


KINDS: dict[str, type[Maildir] | type[Mbox] | type[EmlFolder]] = {"maildir": Maildir, "mbox": Mbox, "eml": EmlFolder}


def open_destination(destination: str, files: Files | None = None, clock: Clock | None = None) -> Destination:
    """Return the destination that ``maildir:PATH``, ``mbox:PATH`` or ``eml:PATH`` names.

    ``~`` in it is the user's home. Nothing is touched yet. Raises `ValueError`, which does not quote it, when it names
    none. *files* and *clock* stand in for the operating system.
    """
    kind, colon, path = destination.partition(":")
    if not colon or kind not in KINDS:
        raise ValueError("a destination is maildir:PATH, mbox:PATH or eml:PATH")
    if not path or "\0" in path:
        raise ValueError("a destination needs a path behind the colon")
    if kind == "mbox" and path.endswith("/"):
        raise ValueError("an mbox is a file, and this names a folder")
    try:
        # The journal knows an mbox by its path. And a symbolic link with a slash behind it would be followed.
        path = str(Path.cwd() / Path(path).expanduser())
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return KINDS[kind](path, files or Files(), clock or SystemClock())


def default_path(destination: Destination) -> str:
    """Return where the state of *destination* is kept: inside a folder, beside an mbox."""
    separator = "." if isinstance(destination, Mbox) else "/"
    return f"{destination.path}{separator}{FILE_NAME}"
