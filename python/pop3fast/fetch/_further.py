"""A further session: one that fetches messages beside the session that has listed them.

Owns that a message is taken for the same one only where its unique-id shows it: it lasts, is no small number, stands
for one message in either session, and the server lists the same size. It never deletes, and its end is never waited for
longer than a moment.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping

from pop3fast import POP3, CommandError, Piece, error_proto
from pop3fast._connect import SocketFactory
from pop3fast._replies import says_too_many
from pop3fast.fetch import _step
from pop3fast.fetch._forks import closed_in_children
from pop3fast.fetch._identity import Identity, is_lasting, is_number
from pop3fast.fetch._plan import Item
from pop3fast.fetch._sharing import LARGE_OCTETS
from pop3fast.fetch.accounts._account import Reconnector
from pop3fast.fetch.accounts._hosts import Hosts

QUIT_SECONDS = 2.0
"""So long the answer to QUIT is waited for where nothing is marked: ten round trips of the farthest line, and a server
that is slow to close a large maildrop keeps nobody."""


def wanted_of(items: list[Item], uids: Mapping[int, str]) -> dict[str, Item]:
    """Return those of *items*, by unique-id, that another session can tell from all others that are listed (*uids*)."""
    copies = Counter(uids.values())
    found: dict[str, Item] = {}
    for item in items:
        uid, text = item.identity.uid, item.identity.uid.decode("latin-1")
        if is_lasting(uid) and not is_number(uid) and copies[text] == 1:
            found[text] = item
    return found


class FurtherSession:
    """One session, once `enter` has logged in."""

    def __init__(self, pop: POP3, wanted: Mapping[str, Item]) -> None:
        """See what of *wanted* there is. Raises what the commands for the listings do."""
        self._pop = pop
        uids, sizes = pop.uids_and_sizes(pipelining=False)
        self._listed = len(uids)
        copies = Counter(uids.values())
        self._numbers: dict[Identity, int] = {}
        for number, uid in uids.items():
            item = wanted.get(uid)
            if item is not None and copies[uid] == 1 and item.size == sizes.get(number):
                self._numbers[item.identity] = number

    def can_fetch(self, item: Item) -> bool:
        """Return whether it has *item* as the first session has it."""
        return item.identity in self._numbers

    def fetch(self, item: Item) -> list[Piece] | None:
        """Return all pieces of *item*; None when it is too large to be kept in memory."""
        kept: list[Piece] | None = []
        octets = 0
        # To its end, so that the session stays in step.
        for piece in self._pop.retr_pieces([self._numbers[item.identity]], pipelining=False):
            octets += len(piece.content)
            if octets > LARGE_OCTETS:
                kept = None
            elif kept is not None:
                kept.append(Piece(item.number, piece.content, first=piece.first, last=piece.last))
        return kept

    def check_step(self) -> None:
        """Make sure that its replies belonged to their commands. Raises `ProtocolError`, or ``OSError``."""
        _step.check_step(self._pop, self._listed)

    def leave(self) -> None:
        """Say QUIT. Raises nothing that a server or a line can cause."""
        with contextlib.suppress(error_proto, OSError):
            quit_soon(self._pop)


def quit_soon(pop: POP3) -> None:
    """Send QUIT where nothing is marked, and wait no longer than a moment. Raises what `POP3.quit` does."""
    timeout = pop.sock.gettimeout()
    pop.sock.settimeout(QUIT_SECONDS if timeout is None else min(QUIT_SECONDS, timeout))
    pop.quit()


@contextlib.contextmanager
def entered(reconnector: Reconnector, hosts: Hosts, sock: SocketFactory) -> Iterator[POP3 | None]:
    """Give one more session that is logged in; None where this program has as many with the host as that takes.

    Raises what logging in does.
    """
    with hosts.visit_at_once(reconnector.account.where) as visit:
        if visit is None:
            yield None
            return
        try:
            pop = reconnector.enter(sock, reconnector.account.timeout)
        except CommandError as error:
            if says_too_many(error.response):
                visit.refused()
            raise
        with contextlib.closing(pop), closed_in_children(pop.close):
            visit.let_in()
            yield pop
