"""What a fetch is asked to do, apart from whose mail it fetches and to where.

Owns the defaults, and which options exclude each other. A value: it can be pickled and sent to another machine.
"""

from collections.abc import Collection
from dataclasses import dataclass

from pop3fast.fetch.destinations._program import command_of
from pop3fast.fetch.memory._age import DAY_SECONDS

CHECKPOINT_MESSAGES = 500
"""After so many deletions they are committed. Exchange Online was seen to fail on tens of thousands of DELE in one
session (quirks q08, q129); this is what people who move such maildrops recommend."""

CHECKPOINT_OCTETS = 50_000_000
"""The same for octets: after a broken connection little has to be looked at again."""

PATIENCE_SECONDS = 900.0
"""How long to wait in all for a locked maildrop or a login delay. A server that lost a session may keep the lock for
ten minutes (RFC 1939 section 3, quirk q33)."""

FILTER = "--filter "
"""Where the words of a filter stand."""

FORGET_DAYS = 30.0
"""How long a message is remembered that is no longer listed: Gmail and others list a part of the mailbox, and a server
that rebuilds its indexes lists nothing for a while (quirks q48, q49, q138). getmail does so for as long."""


@dataclass(frozen=True)
class Options:
    """What is to be fetched, what may be deleted.

    Raises `ValueError` for what contradicts itself, `TypeError` for a text where a number belongs.
    """

    delete: bool = False
    """Delete from the server what has been delivered, now or earlier."""
    delete_after: float | None = None
    """Delete what was delivered at least so many days ago."""
    since_last: bool = False
    """Fetch only what came since: the first time, what the server lists behind the last message that was fetched
    before, or everything, when it lists none that was; from then on, every message that it did not list then."""
    max_size: int | None = None
    """Leave messages of more octets on the server: those that the scan listing shows as larger, and those that turn out
    to be."""
    limit: int | None = None
    """Fetch so many messages at most."""
    headers_only: bool = False
    """Fetch headers (TOP). The messages count as not fetched, and are not deleted."""
    accept_uid_change: bool = False
    """Where every unique-id changed, fetch all messages again instead of raising `UidsChanged`."""
    dry_run: bool = False
    """Fetch and delete nothing; the report's ``to_fetch`` and ``to_delete`` say what would be fetched and deleted."""
    checkpoint_messages: int | None = CHECKPOINT_MESSAGES
    """When deleting, end the session and begin another after so many messages; None: after none."""
    checkpoint_octets: int | None = CHECKPOINT_OCTETS
    """The same after so many octets."""
    forget_after: float = FORGET_DAYS
    """Forget a message when no complete listing has had it for so many days."""
    trust_sizes: bool | None = None
    """Whether a message that is shorter than the scan listing says did not come whole, and is not deleted. None: decide
    by the messages that came before (Exchange lists estimates)."""
    fetch_again: bool | Collection[str | bytes] = False
    """Take messages for new that were fetched, left or refused before: all of them, or those with these unique-ids."""
    filter: str | None = None
    """A command that gets each new message on its standard input, and says by its exit status what becomes of it: 0
    deliver, 90 skip (it stays on the server, and counts as seen), 91 leave (the next fetch asks again), 92 delete (it
    is not delivered, and deleted from the server, whatever `delete` says)."""
    filter_headers: bool = False
    """The filter gets the header only, and a message that it does not want is not fetched."""
    drop_status: bool = False
    """Deliver messages without the header fields in which mail programs keep what was read, answered or deleted
    (``Status``, ``X-Status``, ``X-Mozilla-Status`` and others): whoever sent a message may have set them."""
    patience: float = PATIENCE_SECONDS
    """The seconds to wait in all for a maildrop that is in use or a login that comes too early."""
    sessions: int = 1
    """Over how many sessions at once messages are fetched from a server that answers one command at a time (without
    PIPELINING). A server that lets in fewer is asked over fewer."""

    def __post_init__(self) -> None:
        if self.delete and self.delete_after is not None:
            raise ValueError("delete at once, or some days after the delivery (delete_after): one of the two")
        if self.headers_only and self.deletes:
            raise ValueError("a message of which only the header is fetched is not deleted")
        if self.filter_headers and self.filter is None:
            raise ValueError("filter_headers is for a filter, and there is none")
        if self.filter is not None:
            command_of(FILTER, self.filter)
        if isinstance(self.fetch_again, str | bytes):
            raise TypeError("fetch_again is True or several unique-ids, as in [uid]")
        for name, least in (
            ("delete_after", 0),
            ("forget_after", 0),
            ("max_size", 0),
            ("limit", 0),
            ("patience", 0),
            ("checkpoint_messages", 1),
            ("checkpoint_octets", 1),
            ("sessions", 1),
        ):
            value = getattr(self, name)
            if isinstance(value, str):
                octets = " of octets, as 20 * 2**20" if name in {"max_size", "checkpoint_octets"} else ""
                raise TypeError(f"{name} is a number{octets}, and not a text")
            if value is not None and not value >= least:
                raise ValueError(f"{name} is at least {least}, not {value!r}")

    def again(self, uid: bytes) -> bool:
        """Return whether the message with *uid* is to be fetched whatever is remembered of it."""
        if isinstance(self.fetch_again, bool):
            return self.fetch_again
        return bool(uid) and (uid in self.fetch_again or uid.decode("latin-1") in self.fetch_again)

    @property
    def deletes(self) -> bool:
        """Whether anything may be deleted."""
        return self.delete or self.delete_after is not None

    def old_enough(self, delivered_at: float, date: float) -> bool:
        """Return whether what was delivered at *delivered_at* may be deleted on *date*, both seconds since 1970."""
        return self.delete or (self.delete_after is not None and date - delivered_at >= self.delete_after * DAY_SECONDS)
