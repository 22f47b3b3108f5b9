"""Takeover: messages that another program fetched count as seen.

Owns what such a message counts as: it was fetched, but nobody knows its size or its content. So it is not fetched
again, and never deleted.
"""

import contextlib
import os
import time
from collections import Counter
from pathlib import PurePath

from pop3fast.fetch._identity import Entry, Identity, is_lasting
from pop3fast.fetch._portions import is_slow
from pop3fast.fetch.accounts._account import Account
from pop3fast.fetch.destinations._destination import Destination
from pop3fast.fetch.destinations._kinds import default_path, open_destination
from pop3fast.fetch.memory._import_seen import read_seen
from pop3fast.fetch.memory._state import State
from pop3fast.fetch.memory._state_home import make_home


def import_seen(
    account: Account,
    destination: str | PurePath | Destination,
    path: str | os.PathLike[str],
    *,
    state: str | os.PathLike[str] | None = None,
) -> int:
    """Let the messages that a file of getmail, mpop or fetchmail names for *account* count as fetched; return how many.

    *destination* and *state* are those of `fetch_mailbox`. What is remembered already stays as it is, so this may be
    repeated. Raises `SeenFileError` for a file that makes no sense, `DestinationError`, `StateError` and `ValueError`
    as a fetch does.
    """
    uids = [uid for uid in read_seen(path, account.host, account.port, account.login) if is_lasting(uid)]
    now = int(time.time())
    copies: Counter[bytes] = Counter()
    entries: list[Entry] = []
    place = open_destination(destination)
    with contextlib.closing(place):
        if not is_slow(place):  # where the state lies in a folder that is to be made
            place.open()
        if state is None:
            make_home(default_path(place))
        with State(state or default_path(place)).account(account.host, account.port, account.login) as memory:
            seen = memory.seen()
            for uid in uids:
                identity = Identity(uid, copies[uid])
                copies[uid] += 1
                if identity not in seen:
                    entries.append(Entry(*identity, size=0, octets=0, fingerprint=b"", delivered_at=now, content=b""))
            memory.take_over(entries)
    return len(entries)
