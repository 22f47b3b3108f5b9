"""Destinations for the tests: any one, prepared, and one of one's own, which keeps what it gets in memory.

Owns no test.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence

from pop3fast.fetch import (
    AccountState,
    Destination,
    Entry,
    Identity,
    MessageError,
    ReadBack,
    State,
    open_destination,
)
from pop3fast.fetch._files import Files
from pop3fast.fetch._waiting import Clock
from pop3fast.fetch.memory._journal import Journal

Trouble = Callable[[str, Identity | None], object]
"""Called with what is done, and with which message; raises what the destination is to raise."""


@contextlib.contextmanager
def prepared(
    to: str, files: Files | None = None, clock: Clock | None = None
) -> Iterator[tuple[Destination, AccountState]]:
    """Yield the destination *to*, and the account that it is prepared for."""
    with State(f"{to.partition(':')[2]}.state").account("h", 110, "me") as account:
        destination = open_destination(to, files, clock)
        try:
            destination.prepare(account.digest, account)
            yield destination, account
        finally:
            destination.close()


class Box:
    """Every method of a destination and nothing else, as a program would write it."""

    def __init__(self, path: str = "box", trouble: Trouble = lambda *_: None) -> None:
        self.path = path
        self.trouble = trouble
        self.delivered: list[tuple[bytes, bytes]] = []
        """Unique-id and content."""
        self.calls: list[str] = []
        self.found = ReadBack.WHOLE
        self._ended: dict[Entry, bytes] = {}

    def open(self) -> None:
        self._do("open")

    def prepare(self, account: str, journal: Journal) -> list[str]:
        del account, journal
        self._do("prepare")
        self._ended = {}
        return []

    def begin(self, identity: Identity) -> "BoxDelivery":
        self._do("begin", identity)
        return BoxDelivery(self, identity)

    def flush(self) -> list[Entry]:
        self._do("flush")
        delivered: list[Entry] = []
        for entry, content in [*self._ended.items()]:
            try:
                self._do("deliver", entry.identity)
            except MessageError as error:
                del self._ended[entry]
                self.delivered += [(each.uid, self._ended.pop(each)) for each in delivered]
                raise type(error)(error.reason, [entry.identity], delivered) from error
            del content
            delivered.append(entry)
        self.delivered += [(each.uid, self._ended.pop(each)) for each in delivered]
        return delivered

    def read_back(self, entries: Sequence[Entry], *, fresh: bool) -> list[ReadBack]:
        del fresh
        self._do("read_back")
        return [self.found for _ in entries]

    def hurry(self) -> None:
        self._do("hurry")

    def close(self) -> None:
        self._do("close")

    def ended(self, entry: Entry, content: bytes) -> None:
        self._ended[entry] = content

    def _do(self, what: str, identity: Identity | None = None) -> None:
        self.calls.append(what)
        self.trouble(what, identity)


class BoxDelivery:
    """One message on its way to a `Box`."""

    def __init__(self, box: Box, identity: Identity) -> None:
        self._box = box
        self._identity = identity
        self._content = b""

    def write(self, octets: bytes) -> None:
        self._box._do("write", self._identity)
        self._content += octets

    def end(self, size: int = 0, fingerprint: bytes = b"") -> None:
        self._box._do("end", self._identity)
        content = self._content
        digest = hashlib.sha256(content).digest()[:16]
        self._box.ended(Entry(*self._identity, size, len(content), fingerprint, 0, digest), content)

    def abandon(self) -> None:
        self._box._do("abandon", self._identity)
