"""Objects in a store as a destination: one object a message, and one that lists each batch.

Owns their names. A name is made of what the message is and of when it was received, so a second delivery writes the
same object, and names sort as the mail came. A message is delivered when the store has said that it has it, and is read
back before it is deleted: by the checksum that the store gives, or else by its octets.
"""

import json
from collections.abc import Coroutine, Sequence
from datetime import UTC
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

from pop3fast.fetch._errors import DestinationError
from pop3fast.fetch._identity import CONTENT_OCTETS, Entry, Identity, ReadBack
from pop3fast.fetch.destinations._bucket import parse_bucket, store_error, sync
from pop3fast.fetch.destinations._outgoing import OutgoingMessage
from pop3fast.fetch.destinations._packing import check_packing, pack, packed, unpack
from pop3fast.fetch.destinations._received import received_at
from pop3fast.fetch.destinations._simple import SimpleDestination
from pop3fast.fetch.destinations._together import IN_FLIGHT, Together

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")

MEMORY_OCTETS = 8 * 2**20
"""A larger message is sent by itself, in parts, from the file that it lies in."""

PENDING_OCTETS = 32 * 2**20
"""When more octets than this wait to be sent, they are sent."""

NO_DATE = "00000000T000000Z"

_SURE = "md5"
_UNSURE = "-"


class Pending(NamedTuple):
    """A message that waits to be sent."""

    entry: Entry
    key: str
    name: str
    octets: bytes


class Objects(SimpleDestination):
    """A bucket, a container, or a folder of objects."""

    batch_messages = IN_FLIGHT

    def __init__(self, url: str) -> None:
        """Deliver to what *url* names. Raises `ValueError`, which does not quote it, when it names none."""
        self.path = url
        self._bucket = parse_bucket(url)
        self._store: ObjectStore | None = None
        self._pending: list[Pending] = []
        self._pending_octets = 0
        self._keys: dict[Identity, str] = {}
        self._outcomes: dict[Identity, str | DestinationError] = {}
        self._together = Together()

    def open(self) -> None:
        """Make ready. Raises `DestinationError`; whether the store takes mail shows when it is sent some."""
        self._together.begin()
        if self._store is None:
            try:
                check_packing(self._bucket.compress)
                self._store = self._bucket.store()
            except Exception as error:  # noqa: BLE001 - obstore's errors have no common base
                raise store_error(self.path, "open", error) from None

    def settle(self, entry: Entry, message: OutgoingMessage) -> Entry:
        """Take *message*; `flush` says whether the store took it."""
        name = object_name(message, entry.copy) + self._bucket.suffix
        self._keys[entry.identity] = message.key
        if message.octets > MEMORY_OCTETS:
            with message.open() as file:
                try:
                    [self._outcomes[entry.identity]] = self._do("write to", [self._put_large(name, file)])
                except DestinationError as error:
                    self._outcomes[entry.identity] = error
        else:
            octets = packed(message.content, self._bucket.compress)
            self._pending.append(Pending(entry, message.key, name, octets))
            self._pending_octets += len(octets)
            if self._pending_octets > PENDING_OCTETS:
                self._send()
        return entry

    def flush(self) -> list[Entry]:
        """Return what the store has. Raises `DestinationError`, which names what it has, when it is not all."""
        self._send()
        delivered: list[Entry] = []
        failure: DestinationError | None = None
        outcomes, self._outcomes = self._outcomes, {}
        fresh: list[Entry] = []
        for entry in super().flush():
            outcome = outcomes.get(entry.identity)
            if isinstance(outcome, DestinationError):
                failure = outcome
                self._copies.give_back(entry)
            elif outcome is None:
                delivered.append(entry)
            else:
                fresh.append(entry._replace(place=outcome.encode("ascii")))
        if fresh:
            self._do("write the index to", [self._put_index(fresh)])
        self._keys.clear()
        delivered.extend(fresh)
        if failure is not None:
            failure.delivered = tuple(delivered)
            raise failure
        return delivered

    def read_back(self, entries: Sequence[Entry], *, fresh: bool) -> list[ReadBack]:
        """Return what the store says of *entries*. Raises `DestinationError` when it says nothing."""
        return self._do("read back from", [self._look(entry, fresh=fresh) for entry in entries])

    def hurry(self) -> None:
        """Wait no longer than `HURRY_SECONDS`. May be called by another thread."""
        self._together.hurry()

    def close(self) -> None:
        """Let go of what was not sent."""
        super().close()
        self._pending, self._pending_octets, self._outcomes, self._store = [], 0, {}, None
        self._keys.clear()

    def _send(self) -> None:
        """Send all that waits, at once; keep what became of each."""
        pending, self._pending, self._pending_octets = self._pending, [], 0
        if not pending:
            return
        outcomes: dict[Identity, str | DestinationError] = {}

        async def put(each: Pending) -> None:
            try:
                outcomes[each.entry.identity] = await self._put(each.name, each.octets)
            except Exception as error:  # noqa: BLE001 - obstore's errors have no common base
                outcomes[each.entry.identity] = store_error(self.path, "write to", error)

        missing = self._closed()
        try:
            self._do("write to", [put(each) for each in pending])
        except DestinationError as error:
            missing = error
        try:
            # Also what had arrived before somebody was in a hurry.
            written = [each.name for each in pending if isinstance(outcomes.get(each.entry.identity), str)]
            if written and self._bucket.scheme == "file":
                sync(self._bucket.prefix, written)
        except OSError as error:
            missing = store_error(self.path, "sync", error)
            outcomes.clear()
        for each in pending:
            self._outcomes[each.entry.identity] = outcomes.get(each.entry.identity, missing)

    async def _put(self, name: str, octets: bytes) -> str:
        """Store an object; return its place, with the store's checksum where that is the MD5 of its octets."""
        from obstore import put_async  # noqa: PLC0415 - an extra

        result = await put_async(self._opened(), name, octets)
        etag = str(result["e_tag"] or "").strip('"')
        is_sure = etag == md5(octets, usedforsecurity=False).hexdigest()
        return f"{name} {_SURE if is_sure else _UNSURE} {etag if is_sure else _UNSURE}"

    async def _put_large(self, name: str, file: BinaryIO) -> str:
        from obstore import put_async  # noqa: PLC0415 - an extra

        await put_async(self._opened(), name, pack(file, self._bucket.compress))
        if self._bucket.scheme == "file":
            sync(self._bucket.prefix, [name])
        return f"{name} {_UNSURE} {_UNSURE}"

    async def _put_index(self, entries: Sequence[Entry]) -> None:
        """Store what a batch consists of: one line of JSON a message."""
        rows = [
            {
                "object": entry.place.decode("ascii").split(" ")[0],
                "key": self._keys[entry.identity],
                "account": self._account,
                "uid": entry.uid.decode("latin-1"),
                "octets": entry.octets,
                "content": entry.content.hex(),
            }
            for entry in entries
        ]
        text = "".join(f"{json.dumps(row)}\n" for row in sorted(rows, key=lambda row: str(row["object"])))
        first = min(str(row["object"]) for row in rows).partition("-")[0]
        name = f"index/{first}-{sha256(text.encode()).hexdigest()[:16]}.jsonl"
        await self._put(name, text.encode())
        if self._bucket.scheme == "file":
            sync(self._bucket.prefix, [name])

    async def _look(self, entry: Entry, *, fresh: bool) -> ReadBack:
        from obstore import get_async, head_async  # noqa: PLC0415 - an extra

        store = self._opened()
        name, how, etag = ([*entry.place.decode("ascii", "replace").split(" "), "", ""])[:3]
        try:
            if how == _SURE and (await head_async(store, name))["e_tag"] == f'"{etag}"':
                return ReadBack.WHOLE
            stored = (await get_async(store, name)).stream()
        except FileNotFoundError:
            return ReadBack.DIFFERS if fresh else ReadBack.MOVED
        digest, octets = sha256(), 0
        try:
            async for piece in unpack(stored, self._bucket.compress):
                digest.update(piece)
                octets += len(piece)
                # Whatever lies there now may unpack to anything. What was left out is not there.
                if octets > entry.octets:
                    break
        except Exception as error:
            if type(error).__module__.startswith("obstore"):
                raise
            return ReadBack.DIFFERS
        return ReadBack.WHOLE if digest.digest()[:CONTENT_OCTETS] == entry.content else ReadBack.DIFFERS

    def _do(self, tried: str, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """Return what each of *work* does. Raises `DestinationError`."""
        try:
            return self._together.run(work)
        except Exception as error:  # noqa: BLE001 - obstore's errors have no common base
            raise store_error(self.path, tried, error) from None

    def _opened(self) -> "ObjectStore":
        if self._store is None:
            raise self._closed()
        return self._store

    def _closed(self) -> DestinationError:
        return DestinationError(self.path, "write to", "it is closed")


def object_name(message: OutgoingMessage, copy: int) -> str:
    """Return the name of the object of *message*, which is copy number *copy* of its content."""
    date = received_at(message.header())
    when = NO_DATE if date is None else date.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{when}-{message.key}{f'-{copy}' if copy else ''}.eml"
