"""Dial: from a host's name and a port to a connected socket, within the time that there is for it.

Through a proxy, it is the proxy that is dialled, and what is said to it is the route's.

Owns when each of a host's addresses is tried (RFC 8305): a quarter of a second after the one before, the families in
turn, and the first that answers is taken. `Race` decides that, and is told the time. Must never leave a socket open
that it does not return, nor wait longer than it was told to, however many addresses do not answer.

A look-up of a name cannot be interrupted: ``getaddrinfo`` returns when the resolver has given up, which takes half a
minute with three silent name servers, and no signal ends it. So it runs `Aside`, and whoever has waited long enough, or
is interrupted, leaves it behind. There are never more of them than `MOST_LOOKUPS`.
"""

import errno
import os
import selectors
import socket
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest
from math import inf
from threading import BoundedSemaphore
from time import monotonic
from typing import Any, NamedTuple

from pop3fast._aside import Aside
from pop3fast._route import FAMILIES, Proxy, Route

STAGGER_SECONDS = 0.25
"""How long one address has before the next is tried beside it (RFC 8305 section 8)."""

LEAST_STAGGER_SECONDS = 0.01
"""RFC 8305 section 8 forbids less."""

MOST_AT_ONCE = 16
"""So many addresses are tried at the same time: more than any host has, and few enough for any limit on open files."""

MOST_LOOKUPS = 64
"""At most so many look-ups are under way or left behind, each in a thread; the next one waits until one has ended."""

STEP_SECONDS = 0.25
"""How often a wait looks whether it is to stop: before a person who pressed Ctrl-C begins to wonder."""

# What a connection says that is under way. (Windows has a number of its own for it.)
_UNDER_WAY = {errno.EINPROGRESS, errno.EINTR, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS)}


class Address(NamedTuple):
    """The arguments that make a socket, and the address that it connects to."""

    family: int
    protocol: int
    where: Any
    """For IPv6 it includes the link of a link-local address."""


class Race:
    """Decides when each of a host's addresses is tried. It has no clock: it is told the seconds since it began."""

    def __init__(self, addresses: int, seconds: float) -> None:
        """Begin with so many *addresses*, which have *seconds* in all."""
        self._left = addresses
        self._running = 0
        # So that the last one has at least half of the time.
        fair = seconds / 2 / max(1, min(addresses, MOST_AT_ONCE))
        self._stagger = max(LEAST_STAGGER_SECONDS, min(STAGGER_SECONDS, fair))
        self._next = 0.0

    @property
    def due(self) -> float:
        """When the next address is to be tried; never, while `MOST_AT_ONCE` are under way or when none is left."""
        return self._next if self._left and self._running < MOST_AT_ONCE else inf

    @property
    def over(self) -> bool:
        """Whether no attempt is under way, and no address is left to try."""
        return not (self._left or self._running)

    def begin(self, now: float) -> None:
        """Note that the next address is tried from *now* on."""
        self._left -= 1
        self._running += 1
        self._next = now + self._stagger

    def lose(self, now: float) -> None:
        """Note that an address that was tried has no connection to give; the next is tried at once."""
        self._running -= 1
        self._next = now


class Network:
    """The system's network and clock, of which a test brings its own."""

    def __init__(self, source_address: str | None = None) -> None:
        """Connect from *source_address*, or from where the system likes."""
        self._source_address = source_address

    def now(self) -> float:
        """Return seconds that only ever grow."""
        return monotonic()

    def look_up(self, host: str, port: int) -> list[Address]:
        """Return the addresses of *host*, the best first. Raises ``OSError``. May take any time."""
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        return [Address(family, protocol, where) for family, _, protocol, _, where in found]

    def call(self, address: Address) -> socket.socket:
        """Return a socket that begins to connect. Raises ``OSError``. Takes no time."""
        sock = socket.socket(address.family, socket.SOCK_STREAM, address.protocol)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's
            if self._source_address is not None:
                self._bind(sock, self._source_address)
            number = sock.connect_ex(address.where)
        except BaseException:
            sock.close()
            raise
        if number and number not in _UNDER_WAY:
            sock.close()
            raise OSError(number, os.strerror(number))
        return sock

    def _bind(self, sock: socket.socket, source_address: str) -> None:
        (found, *_) = socket.getaddrinfo(source_address, 0, sock.family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        try:
            sock.bind(found[4])
        except OSError as error:
            raise OSError(error.errno, f"cannot connect from {source_address}: {error.strerror}") from None

    def wait(self, calling: Sequence[socket.socket], seconds: float) -> list[tuple[socket.socket, int]]:
        """Return which of *calling* have a connection, or an error and its number, as soon as one has or in *seconds*.

        An interrupt ends the wait.
        """
        with selectors.DefaultSelector() as selector:
            for sock in calling:
                selector.register(sock, selectors.EVENT_WRITE, sock)
            ready = [key.data for key, _ in selector.select(seconds)]
        return [(sock, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) for sock in ready]


def dial(
    address: tuple[str, int],
    timeout: float | None,
    *,
    route: Route = Route(),  # noqa: B008 - a value that cannot change
    check: Callable[[], object] = bool,
    network: Network | None = None,
) -> socket.socket:
    """Return a connected socket, as ``socket.create_connection`` does; *timeout* is in seconds, and for all of it.

    *check* is called four times a second at least; what it raises ends the wait. Raises ``TimeoutError``, or the
    ``OSError`` of the look-up, of the last address that failed, or of the proxy.
    """
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"a time-out is at least 0 seconds: {timeout!r}")
    network = network or Network(route.source_address)
    until = inf if timeout is None else network.now() + timeout
    proxy = route.proxy
    if proxy is None:
        sock = _connected(address, route.family, until, check, network)
    else:
        if not proxy.resolves:
            version = None if route.ip_version is None else FAMILIES[route.ip_version]
            address = (_of_family(_look_up(address, until, check, network), version)[0].where[0], address[1])
        try:
            sock = _connected((proxy.host, proxy.port), route.family, until, check, network)
        except TimeoutError:
            raise
        except OSError as error:
            raise OSError(error.errno, f"the proxy: {error.strerror or error}") from error
        try:
            _go_through(sock, proxy, address, until, check)
        except BaseException:
            sock.close()
            raise
    sock.settimeout(timeout)
    return sock


def _connected(
    address: tuple[str, int], family: int | None, until: float, check: Callable[[], object], network: Network
) -> socket.socket:
    addresses = _of_family(_look_up(address, until, check, network), family)
    return _first_to_answer(in_turn(addresses), until, check, network)


def _of_family(addresses: Sequence[Address], family: int | None) -> Sequence[Address]:
    found = [address for address in addresses if family in {None, address.family}]
    if addresses and not found:
        raise OSError(f"the host has no address of {'IPv4' if family == socket.AF_INET else 'IPv6'}")
    return found


def _go_through(
    sock: socket.socket, proxy: Proxy, address: tuple[str, int], until: float, check: Callable[[], object]
) -> None:
    """Have *proxy*, to which *sock* is connected, connect to *address*."""
    exchange = proxy.exchange(*address)
    octets, wanted = next(exchange)
    while True:
        # So few that they fit into any buffer of the system.
        sock.sendall(octets)
        answer = b""
        while len(answer) < wanted:
            check()
            left = until - monotonic()
            if left <= 0:
                raise TimeoutError("the proxy took too long")
            sock.settimeout(min(STEP_SECONDS, left))
            try:
                some = sock.recv(wanted - len(answer))
            except TimeoutError:
                continue
            if not some:
                raise OSError("the proxy hung up")
            answer += some
        try:
            octets, wanted = exchange.send(answer)
        except StopIteration:
            return


def in_turn(addresses: Iterable[Address]) -> list[Address]:
    """Return *addresses*, each once, one of each family after the other (RFC 8305 section 4)."""
    families: dict[int, list[Address]] = {}
    for address in dict.fromkeys(addresses):
        families.setdefault(address.family, []).append(address)
    return [address for address in chain.from_iterable(zip_longest(*families.values())) if address is not None]


def _first_to_answer(
    addresses: list[Address], until: float, check: Callable[[], object], network: Network
) -> socket.socket:
    began = network.now()
    race = Race(len(addresses), until - began)
    failure = OSError("the host has no address")
    waiting = iter(addresses)
    calling: list[socket.socket] = []
    try:
        while not race.over:
            check()
            passed = network.now() - began
            if began + passed >= until:
                raise TimeoutError("timed out")
            seconds = max(0.0, min(STEP_SECONDS, until - began - passed, race.due - passed))
            for sock, number in network.wait(calling, seconds) if calling else ():
                if not number:
                    calling.remove(sock)
                    return sock
                failure = OSError(number, os.strerror(number))
                calling.remove(sock)
                sock.close()
                race.lose(network.now() - began)
            passed = network.now() - began
            if race.due <= passed:
                race.begin(passed)
                try:
                    calling.append(network.call(next(waiting)))
                except OSError as error:
                    failure = error
                    race.lose(passed)
        raise failure
    finally:
        for sock in calling:
            sock.close()


class _Lookups:
    """How many look-ups may be begun yet."""

    left = BoundedSemaphore(MOST_LOOKUPS)

    @classmethod
    def begin_anew(cls) -> None:
        """Forget those of the parent process: a forked child has none of its threads."""
        cls.left = BoundedSemaphore(MOST_LOOKUPS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Lookups.begin_anew)


def _look_up(
    address: tuple[str, int], until: float, check: Callable[[], object], network: Network
) -> Sequence[Address]:
    check()
    if _is_literal(address[0]):
        # Nobody is asked, so nothing has to be waited for.
        return network.look_up(*address)
    lookups = _Lookups.left
    _wait(lambda seconds: lookups.acquire(timeout=seconds), until, check, network)

    def look_up() -> list[Address]:
        try:
            return network.look_up(*address)
        finally:
            lookups.release()

    answer = Aside(look_up, "pop3fast-look-up")
    try:
        answer.start()
    except (RuntimeError, MemoryError) as error:
        # Not after an interrupt: then the thread is there, and gives the place back itself.
        lookups.release()
        if isinstance(error, MemoryError | RecursionError):
            raise
        raise OSError("no thread can be started to look the name up") from error
    _wait(answer.wait, until, check, network)
    return answer.result()


def _wait(come: Callable[[float], bool], until: float, check: Callable[[], object], network: Network) -> None:
    """Return when *come* says so, which waits no longer than it is told to."""
    while not come(max(0.0, min(STEP_SECONDS, until - network.now()))):
        check()
        if network.now() >= until:
            raise TimeoutError("the look-up of the name timed out")


def _is_literal(host: str) -> bool:
    """Return whether *host* is an address itself; of IPv6 it may have a link behind it."""
    for family, text in ((socket.AF_INET, host), (socket.AF_INET6, host.partition("%")[0])):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False
