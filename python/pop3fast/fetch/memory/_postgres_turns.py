"""Whose turn it is, in PostgreSQL: each account that is due is one worker's, who gives it back with its next turn.

Owns the words of SQL for it. A worker takes and gives back many accounts in one transaction. It locks the hosts that it
takes accounts of, so that the limit of a host holds over all workers; what another has locked it passes over (SKIP
LOCKED). A worker that hangs in the middle is thrown out by the server, and holds up nobody.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pop3fast.fetch._errors import StateError
from pop3fast.fetch.memory._postgres import ClaimedAccountState, Lease, holder, without_password
from pop3fast.fetch.memory._postgres_connection import Session, Sessions, errors_in_words
from pop3fast.fetch.memory._postgres_schema import MAKING, make_tables

LEASE_SECONDS = 120.0
"""How long a worker that no longer renews its leases keeps an account: by then it is dead, or of no use."""

RENEW_SECONDS = 30.0
"""A worker renews its leases so often: three times may fail before one ends."""

ROWS_AT_A_TIME = 5_000
"""So many accounts are made known in one statement, some hundred kilobytes."""

Key = tuple[str, int, str]
"""An account's host, port and user."""

# The accounts of this worker, which may be others than those of the next. Gone with its connection.
_MINE = "CREATE TEMPORARY TABLE IF NOT EXISTS mine (account BIGINT PRIMARY KEY)"

_GIVEN = "(SELECT * FROM unnest(?::text[], ?::int[], ?::text[]) AS of (host, port, person)) given"

_KNOWN = (
    f'{_GIVEN} JOIN account ON (account.host, account.port, "user") = (given.host, given.port, person) '
    "JOIN host ON (host.host, host.port) = (given.host, given.port)"
)

# The words are constants.
_KNOW = [
    f"{insert} ON CONFLICT DO NOTHING"
    for insert in (
        f"INSERT INTO host (host, port) SELECT DISTINCT host, port FROM {_GIVEN}",  # noqa: S608
        f'INSERT INTO account (host, port, "user") SELECT host, port, person FROM {_GIVEN}',  # noqa: S608
        f"INSERT INTO turn (account, host, due, urgency) SELECT account.id, host.id, now(), now() FROM {_KNOWN}",  # noqa: S608
        f"INSERT INTO mine SELECT account.id FROM {_KNOWN}",  # noqa: S608
    )
]

_DUE = "turn.host = host.id AND urgency <= now() AND due <= now() AND (held_until IS NULL OR held_until <= now())"

_HELD = (
    "SELECT turn.host, count(*) AS held FROM account JOIN turn ON turn.account = account.id "
    "WHERE held_until IS NOT NULL AND held_until > now() GROUP BY turn.host"
)

_NEXT = (
    "SELECT account.id, urgency FROM turn JOIN mine USING (account) JOIN account ON account.id = turn.account "  # noqa: S608
    f"WHERE {_DUE} ORDER BY urgency LIMIT"
)

_LOCK_HOSTS = (
    f"WITH held AS ({_HELD}) SELECT host.id FROM host LEFT JOIN held ON held.host = host.id "  # noqa: S608 - constants
    f"CROSS JOIN LATERAL ({_NEXT} 1) next WHERE coalesce(held, 0) < ? "
    "ORDER BY next.urgency LIMIT ? FOR UPDATE OF host SKIP LOCKED"
)

# In a statement of its own, which sees what was done by whoever had the locks before.
_TAKE = (
    f"WITH held AS ({_HELD}), due AS ("  # noqa: S608 - constants
    "SELECT next.id FROM host LEFT JOIN held ON held.host = host.id "
    f"CROSS JOIN LATERAL ({_NEXT} greatest(0, ? - coalesce(held, 0))) next "
    "WHERE host.id = ANY (?) ORDER BY urgency LIMIT ?) "
    # A dead worker may have logged in at any time of its lease, and the server wants its pause all the same.
    "UPDATE account SET holder = ?, held_until = now() + (? + delay) * interval '1 second', token = token + 1 "
    "FROM due chosen JOIN turn ON turn.account = chosen.id WHERE account.id = chosen.id "
    'RETURNING account.id, token, account.host, account.port, "user", failures, quiet, delay, '
    "extract(epoch FROM now() - due)::float8, maildrop, shown, clock, doubted"
)

_RENEW = (
    "UPDATE account SET held_until = now() + (? + delay) * interval '1 second' "
    "FROM turn, unnest(?::bigint[], ?::bigint[]) AS of (id, token) "
    "WHERE turn.account = account.id AND (account.id, account.token) = (of.id, of.token)"
)

_GIVE_BACK = (
    "WITH of AS (SELECT * FROM unnest(?::bigint[], ?::bigint[], ?::float8[], ?::float8[], ?::int[], ?::int[], "
    "?::float8[], ?::bigint[]) AS of (id, token, seconds, ahead, failures, quiet, delay, success)), "
    "free AS (UPDATE account SET held_until = NULL, holder = NULL, last_success = coalesce(success, last_success) "
    "FROM of WHERE (account.id, account.token) = (of.id, of.token) RETURNING of.*) "
    "UPDATE turn SET due = now() + seconds * interval '1 second', "
    "urgency = now() + (seconds - ahead) * interval '1 second', "
    "failures = free.failures, quiet = free.quiet, delay = free.delay FROM free WHERE turn.account = free.id"
)


class Claim(NamedTuple):
    """An account whose turn it is, and which is this worker's now."""

    key: Key
    lease: Lease
    failures: int
    quiet: int | None
    delay: float
    """What is remembered of its turns; *quiet* is None when it had none yet."""
    late: float
    """It has been due for so many seconds."""
    maildrop: bytes | None = None
    shown: str = ""
    clock: int | None = None
    doubted: int | None = None
    """What the state has of the account (`memory._state_schema`), for a look."""


class Returned(NamedTuple):
    """An account whose turn has ended, and when the next one is."""

    lease: Lease
    seconds: float
    """From now on, until it is due."""
    ahead: float
    """It then counts as due for so many seconds longer than it is."""
    failures: int
    quiet: int
    delay: float
    success: int | None
    """When it ended with all that was asked for, if it did: seconds since 1970."""


class PostgresTurns:
    """The turns of many accounts, which many workers share.

    One thread at a time uses it, but for `account`, which any thread may call. Every other method raises `StateError`.
    """

    def __init__(self, url: str, keys: Sequence[Key]) -> None:
        """Be for the accounts *keys*, of which those that nobody knew so far are due now."""
        self.path: str = without_password(url)
        self._url = url
        self._keys = sorted(keys)
        self._session: Session | None = None
        self._sessions = Sessions(url, self.path)

    def exchange(self, returned: Sequence[Returned], most: int, per_host: int) -> list[Claim]:
        """Give accounts back, and take those that are due: *most*, and so many *per_host* with what all workers have.

        All or nothing of it is done.
        """
        with self._transaction() as session:
            if returned:
                rows = [(*each.lease, *each[1:]) for each in returned]
                session.execute(_GIVE_BACK, [list(column) for column in zip(*rows, strict=True)])
            if not most:
                return []
            hosts = [row[0] for row in session.execute(_LOCK_HOSTS, (per_host, most)).fetchall()]
            if not hosts:
                return []
            wanted = (per_host, hosts, most, holder(), LEASE_SECONDS)
            found = session.execute(_TAKE, wanted).fetchall()
        return [
            Claim((host, int(port), user), Lease(int(account), int(token)), int(failures), quiet, delay, late, *sight)
            for account, token, host, port, user, failures, quiet, delay, late, *sight in found
        ]

    def renew(self, leases: Sequence[Lease]) -> None:
        """Have *leases* begin anew, but for those that are another's by now."""
        with self._transaction() as session:
            session.execute(_RENEW, (LEASE_SECONDS, [each.id for each in leases], [each.token for each in leases]))

    def account(self, claim: Claim) -> ClaimedAccountState:
        """Return what is known of the account of *claim*."""
        return ClaimedAccountState(self._sessions, self.path, claim.lease, claim.key)

    def close(self) -> None:
        """Close all connections."""
        self._sessions.close()
        if self._session is not None:
            self._session.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Session]:
        try:
            with errors_in_words(self.path):
                session = self._session = self._session or self._begun()
                with session.transaction():
                    yield session
        except StateError:
            # The next connection is told again which accounts are this worker's.
            if self._session is not None:
                self._session.close()
                self._session = None
            raise

    def _begun(self) -> Session:
        """Return a connection to a database that knows the accounts of this worker."""
        session = Session(self._url, self.path)
        try:
            make_tables(session.connection, self.path)
            session.execute(_MINE)
            for begin in range(0, len(self._keys), ROWS_AT_A_TIME):
                columns = [list(column) for column in zip(*self._keys[begin : begin + ROWS_AT_A_TIME], strict=True)]
                with session.transaction():
                    # Two that insert the same rows in another order would wait for each other.
                    session.execute("SELECT pg_advisory_xact_lock(?)", (MAKING,))
                    for statement in _KNOW:
                        session.execute(statement, columns)
        except BaseException:
            session.close()
            raise
        return session
