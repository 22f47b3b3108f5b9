"""A look at a mailbox, on the event loop: whether it is as it was when everything in it had been fetched.

Owns when a look is enough. It writes nothing and changes nothing: whatever is new, or not as expected, is for a fetch.
Most turns of a fleet find nothing new, and a look costs a fifth of a fetch, no thread, and no question to the state.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any

from pop3fast import AuthenticationError, aio, error_proto
from pop3fast._recall import mechanism_as_before
from pop3fast.fetch._doubt import numbers_to_probe
from pop3fast.fetch._listing import mark_of
from pop3fast.fetch._report import FetchReport
from pop3fast.fetch._retrying import Job
from pop3fast.fetch._telemetry import note_fetch, session_span
from pop3fast.fetch.accounts._account import Account
from pop3fast.fetch.accounts._hosts import Hosts
from pop3fast.fetch.accounts._shown import parse
from pop3fast.fetch.memory._age import DAY_SECONDS
from pop3fast.fetch.memory._postgres_turns import Claim


def may_look(claim: Claim, job: Job, date: float) -> bool:
    """Return whether a look on *date* may be enough, in the place of a fetch.

    Once a day it is not: then a fetch looks after the destination, after what is to be forgotten, and after the clock.
    Where a server wants a pause between two logins, a look would use up the login that a fetch needs.
    """
    options, account = job.options, job.account
    is_fresh = claim.clock is not None and claim.doubted is None and 0 <= date - claim.clock < DAY_SECONDS
    asks_nobody = account.password_command is None and account.route == (None, None, None)
    is_plain = not options.deletes and not options.fetch_again
    return claim.maildrop is not None and is_fresh and asks_nobody and is_plain and not claim.delay


async def look(job: Job, claim: Claim, hosts: Hosts) -> FetchReport | None:
    """Return the report when nothing is new, or the login was refused; None when only a fetch can say."""
    account, began = job.account, monotonic()
    report = FetchReport(str(account), job.words)
    try:
        with hosts.visit_at_once(account.where) as visit:
            if visit is None:
                return None
            with session_span(*account.where):
                async with _logged_in(account, claim.shown) as pop:
                    visit.let_in()
                    report.sessions = 1
                    uids = await pop.uids()
                    messages, octets = await pop.stat()
    except AuthenticationError as error:
        # Another mechanism or another token may be taken; the same password once more would not.
        if parse(claim.shown).mechanism or not isinstance(account.password, str):
            return None
        report.error = error
    except (error_proto, OSError, ValueError):
        return None
    else:
        mark = mark_of(uids, messages, octets, headers_only=job.options.headers_only)
        # When unique-ids are small numbers, only a header shows which message each is of (quirk q139).
        if mark != claim.maildrop or numbers_to_probe(uids):
            return None
        report.seen = len(uids)
    report.seconds = monotonic() - began
    note_fetch(report)
    return report


def _logged_in(account: Account, shown: str) -> Any:  # noqa: ANN401 - what `aio.connect` gives has no public name
    mechanism = account.mechanism or mechanism_as_before(parse(shown), by_token=account.token is not None)
    return aio.connect(
        account.url,
        user=account.login,
        password=account.password,
        token=account.token,
        mechanism=mechanism,
        context=account.context,
        timeout=account.timeout,
        deadline=account.deadline,
        sock=_connected,
    )


async def _connected(address: tuple[str, int], _timeout: float | None) -> socket.socket:
    """Return a socket that is connected to the first of a host's addresses that answers; the caller bounds the time."""
    failure: OSError | None = None
    for family, kind, protocol, _, where in await _addresses(*address):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's
            await asyncio.get_running_loop().sock_connect(sock, where)
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            failure = error
        else:
            return sock
    raise failure or OSError(f"{address[0]} has no address")


async def _addresses(host: str, port: int) -> Any:  # noqa: ANN401 - as `getaddrinfo` has it
    with suppress(socket.gaierror):
        # An address in numbers needs no look-up.
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Contexts:
    """The TLS contexts of a worker: one for all accounts that trust the same. Making one takes longer than a login."""

    def __init__(self) -> None:
        """Make none yet."""
        self._made: dict[object, ssl.SSLContext] = {}

    def job(self, job: Job) -> Job:
        """Return *job* with the context of its account. Raises what making one does."""
        account = job.account
        if account.context is not None or account.is_clear:
            return job
        context = self._made.get(account.tls_wishes)
        if context is None:
            context = self._made[account.tls_wishes] = account.tls_context()
        return replace(job, account=account.with_context(context))
