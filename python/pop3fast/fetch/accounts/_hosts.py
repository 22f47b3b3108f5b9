"""Hosts: how many sessions this program has with each host at once, and how many the host takes.

Owns what is learnt from a refusal. Providers, Dovecot and Courier limit the connections from an address, and say so in
words or by hanging up (quirk q137). From then on, there are at most as many sessions with that host at once as it has
let in before. It decides nothing about when to try again.
"""

import contextlib
from collections.abc import Iterator
from math import inf
from threading import Condition

from pop3fast.fetch._waiting import Stop

Where = tuple[str, int]
"""A host and its port."""


class Host:
    """What is known of a host. It knows nothing of threads, and never waits."""

    def __init__(self) -> None:
        """Nobody has been there."""
        self.visits = 0
        """How many are there, or on the way."""
        self.arrivals = 0
        """How many visits have begun."""
        self.inside = 0
        """How many are logged in."""
        self.entries = 0
        """How many logins there have been."""
        self._most_inside = 0
        self._has_refused = False

    @property
    def has_room(self) -> bool:
        """Whether one more may go there."""
        # A visit that was on its way already may still be let in; then the limit is higher.
        return self.visits < (max(1, self._most_inside) if self._has_refused else inf)

    def arrive(self) -> None:
        """Note that somebody is on the way."""
        self.visits += 1
        self.arrivals += 1

    def let_in(self) -> None:
        """Note that somebody is logged in."""
        self.inside += 1
        self.entries += 1
        self._most_inside = max(self._most_inside, self.inside)

    def refuse(self) -> None:
        """Note that the host has refused somebody because there were too many."""
        self._has_refused = True


class Visit:
    """One session, from before it is connected until it is closed."""

    def __init__(self, host: Host, lock: Condition) -> None:
        """Be on the way to *host*, whose *lock* is held."""
        self._host = host
        self._lock = lock
        self._is_inside = False
        # A limit may have been reached because of a visit that has ended when this is asked.
        self._alone_until = host.arrivals + 1 if not host.visits else -1
        self._nobody_inside_until = host.entries if not host.inside else -1
        host.arrive()

    @property
    def had_company(self) -> bool:
        """Whether another was with this host or on the way to it, at any time since this visit began."""
        with self._lock:
            return self._host.arrivals != self._alone_until

    @property
    def saw_another_inside(self) -> bool:
        """Whether another was logged in there, at any time since this visit began."""
        with self._lock:
            return self._host.entries - self._is_inside != self._nobody_inside_until

    def let_in(self) -> None:
        """Note that this session is logged in."""
        with self._lock:
            self._is_inside = True
            self._host.let_in()

    def refused(self) -> None:
        """Note that the host takes no more sessions at once than it has."""
        with self._lock:
            self._host.refuse()

    def end(self) -> None:
        """Make room for another."""
        with self._lock:
            self._host.visits -= 1
            self._host.inside -= self._is_inside
            self._lock.notify_all()


class Hosts:
    """All hosts of some fetches in threads of one process."""

    def __init__(self) -> None:
        """Nobody has been anywhere."""
        self._lock = Condition()
        self._hosts: dict[Where, Host] = {}

    @contextlib.contextmanager
    def visit(self, where: Where, stop: Stop) -> Iterator[Visit]:
        """Give a visit to *where*, as soon as there may be one more; *stop* ends the wait."""
        with self._lock:
            host = self._hosts.setdefault(where, Host())
            stop.wait_for(self._lock, lambda: host.has_room)
            visit = Visit(host, self._lock)
        try:
            yield visit
        finally:
            visit.end()

    @contextlib.contextmanager
    def visit_at_once(self, where: Where) -> Iterator[Visit | None]:
        """Give a visit to *where* if there may be one more now, and None otherwise."""
        with self._lock:
            host = self._hosts.setdefault(where, Host())
            visit = Visit(host, self._lock) if host.has_room else None
        try:
            yield visit
        finally:
            if visit is not None:
                visit.end()
