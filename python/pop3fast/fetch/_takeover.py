"""Takeover: messages that another program fetched, or that were there before the first fetch, count as seen.

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
from pop3fast.fetch.memory._state_home import make_home
from pop3fast.fetch.memory._state_status import account_status
from pop3fast.fetch.memory._states import open_state
from pop3fast.fetch.memory._status import AccountStatus


def import_seen(
    account: Account,
    destination: str | PurePath | Destination,
    path: str | os.PathLike[str],
    *,
    state: str | os.PathLike[str] | None = None,
) -> int:
    """Let the messages that a file of another program names for *account* count as fetched; return how many.

    The programs are getmail, mpop and fetchmail. *path* is that file; *destination* and *state* are those of
    `fetch_mailbox`. What is remembered already stays as it is, so this may be repeated. Raises `SeenFileError` for a
    file that makes no sense, `DestinationError`, `StateError` and `ValueError` as a fetch does.
    """
    uids = [uid for uid in read_seen(path, account.host, account.port, account.login) if is_lasting(uid)]
    return _take_over(account, destination, uids, state)


def begin_from_now(
    account: Account, destination: str | PurePath | Destination, *, state: str | os.PathLike[str] | None = None
) -> int:
    """Let the messages that the server has now count as fetched by *account*, before its first fetch; return how many.

    They are listed in a session for this alone, and never deleted. An account that was fetched before, or begun in this
    way, stays as it is. *destination* and *state* are those of `fetch_mailbox`. Raises what `Account.connect` does,
    `CommandError` when the server gives no unique-ids, `DestinationError`, `StateError` and `ValueError`.
    """
    with contextlib.closing(open_destination(destination)) as place:
        known = account_status(state or default_path(place), account.host, account.port, account.login)
    # An account of which nothing is known but waiting messages has not begun.
    if known._replace(waiting=0) != AccountStatus(None):
        return 0
    with account.connect() as pop:
        uids = [uid.encode("latin-1") for uid in pop.uids().values()]
    return _take_over(account, destination, [uid for uid in uids if is_lasting(uid)], state, begins=True)


def _take_over(
    account: Account,
    destination: str | PurePath | Destination,
    uids: list[bytes],
    state: str | os.PathLike[str] | None,
    *,
    begins: bool = False,
) -> int:
    """Let messages with *uids* count as fetched; return how many were not known. *begins*: remember that it was done.

    Without that, what comes later into a maildrop that was empty would count as what was there at the beginning.
    """
    now = int(time.time())
    copies: Counter[bytes] = Counter()
    entries: list[Entry] = []
    place = open_destination(destination)
    with contextlib.closing(place):
        if not is_slow(place):  # where the state lies in a folder that is to be made
            place.open()
        path = os.fspath(state or default_path(place))
        if state is None:
            make_home(path)
        with open_state(path).account(account.host, account.port, account.login) as memory:
            seen = memory.seen()
            for uid in uids:
                identity = Identity(uid, copies[uid])
                copies[uid] += 1
                if identity not in seen:
                    entries.append(Entry(*identity, size=0, octets=0, fingerprint=b"", delivered_at=now, content=b""))
            memory.take_over(entries)
            if begins:
                memory.note_success(now, durably=True)
    return len(entries)
