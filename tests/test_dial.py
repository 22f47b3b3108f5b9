"""Dial: which address of a host is tried when, who is taken, and that nothing waits longer than it was told to.

The clock stands still but where a network is waited for, so that hours take no time. What cannot be interrupted is here
a function that waits for the end of the test.
"""

import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetching import in_child
from networks import SILENT, Says, ScriptedNetwork
from pop3fast import _deadline, _dial, connect
from pop3fast._dial import MOST_AT_ONCE, STAGGER_SECONDS, Address, Network, Race, dial, in_turn
from pop3fast.fetch import Account
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch._waiting import Stop
from pop3fast.testing import MailboxServer

HOST = ("192.0.2.1", 110)
REFUSED = Says(0.05, errno.ECONNREFUSED)
UNREACHABLE = Says(-1, errno.ENETUNREACH)


def dialled(network: ScriptedNetwork, timeout: float | None, check: Callable[[], object] = bool) -> str:
    """Return who was taken; of the others nothing is left open."""
    with dial(HOST, timeout, check=check, network=network) as sock:
        (name,) = network.left_open()
        assert [call.name for call in network.calls if call.sock is sock] == [name]
        assert sock.gettimeout() == timeout
        return name


# When which address is tried.


def begun(addresses: int, seconds: float, lost: dict[int, float]) -> list[float]:
    """Return when each is tried; of those that are *lost*, so many seconds after each was tried."""
    race, moments = Race(addresses, seconds), list[float]()
    losses: list[float] = []
    while True:
        nearest = min([race.due, *losses])
        if nearest > seconds or nearest == inf:
            return moments
        if nearest in losses:
            losses.remove(nearest)
            race.lose(nearest)
            continue
        race.begin(nearest)
        if len(moments) in lost:
            losses.append(nearest + lost[len(moments)])
        moments.append(nearest)


def test_addresses_that_say_nothing_are_tried_a_quarter_of_a_second_apart() -> None:
    assert begun(4, 60, {}) == [0, 0.25, 0.5, 0.75]
    assert begun(4, inf, {}) == [0, 0.25, 0.5, 0.75]


def test_an_address_that_is_lost_lets_the_next_be_tried_at_once() -> None:
    assert begun(3, 60, {0: 0.1, 1: 0.0}) == pytest.approx([0, 0.1, 0.1])
    assert begun(3, 60, {0: 0.3}) == pytest.approx([0, 0.25, 0.3])


def test_in_less_time_they_follow_each_other_faster() -> None:
    assert begun(8, 0.8, {}) == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35])
    assert begun(99, 0.04, {}) == pytest.approx([0, 0.01, 0.02, 0.03, 0.04])


@given(st.integers(0, 40), st.floats(0.1, 100), st.dictionaries(st.integers(0, 40), st.floats(0, 50)))
def test_never_more_at_once_than_may_be_and_never_closer_than_they_may(
    addresses: int, seconds: float, lost: dict[int, float]
) -> None:
    moments = begun(addresses, seconds, lost)
    assert len(moments) <= addresses
    assert moments == sorted(moments)
    ends = [moment + lost.get(place, inf) for place, moment in enumerate(moments)]
    for place, moment in enumerate(moments):
        assert sum(end > moment for end in ends[:place]) < MOST_AT_ONCE
        if place and not any(end <= moment for end in ends[:place]):
            assert moment - moments[place - 1] >= 0.0099
    if 0.02 * addresses <= seconds and addresses <= MOST_AT_ONCE:
        # Every address has a chance, and half of the time for it.
        assert len(moments) == addresses
        assert all(moment <= seconds / 2 for moment in moments)


def test_families_take_turns_beginning_with_the_best() -> None:
    six, four = ([Address(family, 6, f"{family}{n}") for n in range(3)] for family in (10, 2))
    assert in_turn([*six, *four]) == [six[0], four[0], six[1], four[1], six[2], four[2]]
    assert in_turn([four[0], *six]) == [four[0], *six]
    assert in_turn([*four, *four]) == four
    assert in_turn([]) == []


# Who is taken.


def test_a_dead_first_address_costs_a_quarter_of_a_second() -> None:
    network = ScriptedNetwork(v6_a=SILENT, a=Says(0.02))
    assert dialled(network, 60) == "a"
    assert network.called() == [("v6_a", 0), ("a", STAGGER_SECONDS)]
    assert network.time == pytest.approx(1000 + STAGGER_SECONDS + 0.02)


def test_one_that_is_slow_is_still_taken_when_it_is_the_first_to_answer() -> None:
    assert dialled(ScriptedNetwork(a=Says(0.3), b=Says(5), c=SILENT), 60) == "a"
    assert dialled(ScriptedNetwork(a=Says(5), b=Says(0.3), c=SILENT), None) == "b"


def test_one_that_refuses_or_cannot_be_reached_costs_no_wait() -> None:
    network = ScriptedNetwork(v6_a=UNREACHABLE, v6_b=UNREACHABLE, a=REFUSED, b=Says(0.01))
    assert dialled(network, 60) == "b"
    assert network.called() == [("v6_a", 0), ("a", 0), ("v6_b", 0.05), ("b", 0.05)]


@pytest.mark.parametrize("timeout", [0.15, 4, 60])
def test_eight_that_say_nothing_take_the_time_of_one(timeout: float) -> None:
    network = ScriptedNetwork(**dict.fromkeys("abcdefgh", SILENT))
    with pytest.raises(TimeoutError, match=r"^timed out$"):
        dialled(network, timeout)
    assert network.time == pytest.approx(1000 + timeout)
    assert [name for name, _ in network.called()] == [*"abcdefgh"]
    assert network.left_open() == []


def test_what_no_address_gives_is_the_last_error() -> None:
    network = ScriptedNetwork(v6_a=UNREACHABLE, a=REFUSED)
    with pytest.raises(ConnectionRefusedError) as refused:
        dialled(network, None)
    assert refused.value.errno == errno.ECONNREFUSED
    assert network.left_open() == []
    with pytest.raises(OSError, match="no address"):
        dialled(ScriptedNetwork(), 60)


def test_what_is_asked_in_between_ends_it_and_is_asked_often_enough() -> None:
    asked: list[float] = []

    def check() -> None:
        asked.append(network.time)
        if network.time > 1020:
            raise KeyboardInterrupt

    network = ScriptedNetwork(a=SILENT, b=SILENT)
    with pytest.raises(KeyboardInterrupt):
        dialled(network, 3600, check)
    assert max(later - earlier for earlier, later in pairwise(asked)) <= _dial.STEP_SECONDS + 1e-9
    assert network.left_open() == []


@pytest.mark.parametrize("timeout", [-1.0, float("nan")])
def test_a_time_out_is_not_less_than_nothing(timeout: float) -> None:
    with pytest.raises(ValueError, match="at least 0 seconds"):
        dial(HOST, timeout)


def test_sockets_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as closed:
        addresses = [
            Address(socket.AF_INET, 0, closed.getsockname()),
            Address(9999, 0, ("127.0.0.1", 1)),
            Address(socket.AF_INET, 0, listener.getsockname()),
        ]
        closed.close()
        monkeypatch.setattr(Network, "look_up", lambda *_: addresses)
        with dial(("mail.example.org", 110), 30) as sock:
            theirs, who = listener.accept()
            with theirs:
                assert who == sock.getsockname()
                theirs.sendall(b"+OK")
                assert sock.recv(3) == b"+OK"
        del addresses[-1]
        with pytest.raises(OSError, match="family not supported"):
            dial(("mail.example.org", 110), 30)


# Look-ups.


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator["Resolver"]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.answer.set()
    for thread in resolver.threads:
        if thread is not threading.current_thread():
            thread.join(10)
            assert not thread.is_alive()


class Resolver:
    """A name server that says nothing, up to the end of the test."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.when_asked: Callable[[], object] = bool
        self.threads: list[threading.Thread] = []

    def __call__(self, *_: object, **__: object) -> list[Any]:
        self.threads.append(threading.current_thread())
        self.when_asked()
        assert self.answer.wait(30)
        return []


def test_a_look_up_that_never_ends_has_the_time_out_and_holds_nobody_back(resolver: Resolver) -> None:
    with pytest.raises(TimeoutError, match="look-up of the name"):
        dial(("mail.example.org", 110), 0.05)
    (thread,) = resolver.threads
    assert thread.is_alive()
    # Python does not wait for it at its end.
    assert thread.daemon


def test_a_look_up_that_never_ends_has_the_deadline(resolver: Resolver) -> None:
    with pytest.raises(TimeoutError, match=r"mail\.example\.org:110, connection: the deadline of 0\.5 seconds"):
        connect("pop3+plain://mail.example.org", deadline=0.5)
    assert len(resolver.threads) == 1


def test_an_interrupt_ends_the_wait_for_a_look_up(resolver: Resolver) -> None:
    resolver.when_asked = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        connect("pop3s://mail.example.org", timeout=None)


def test_the_word_to_stop_ends_the_wait_for_a_look_up(resolver: Resolver, tmp_path: Path) -> None:
    stop = Stop()
    resolver.when_asked = stop.say
    job = Job(Account("pop3s://user@mail.example.org", password="x", timeout=None), f"maildir:{tmp_path}/box")
    with pytest.raises(KeyboardInterrupt):
        run_job(job, Surroundings(stop=stop))
    # It was not waited for.
    assert resolver.threads[0].is_alive()


def test_no_more_look_ups_than_may_be_are_left_behind(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dial._Lookups, "left", threading.BoundedSemaphore(3))
    for _ in range(5):
        with pytest.raises(TimeoutError):
            dial(("mail.example.org", 110), 0.02)
    assert len(resolver.threads) == 3
    # Each gives its place back when it ends.
    resolver.answer.set()
    with pytest.raises(OSError, match="no address"):
        dial(("mail.example.org", 110), 30)


def test_a_child_has_none_of_its_parents_look_ups(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dial._Lookups, "left", threading.BoundedSemaphore(1))
    with pytest.raises(TimeoutError):
        dial(("mail.example.org", 110), 0.02)

    def child() -> None:
        resolver.answer.set()
        with pytest.raises(OSError, match="no address"):
            dial(("mail.example.org", 110), 5)

    assert in_child(child) == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo", "192.0.2.1"])
def test_an_address_is_looked_up_by_nobody_and_in_no_thread(resolver: Resolver, host: str) -> None:
    resolver.answer.set()
    with pytest.raises(OSError, match="no address"):
        dial((host, 110), 30)
    assert resolver.threads == [threading.current_thread()]


def test_what_a_look_up_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror, match=r"mail\.example\.org:995, connection: Name or service"):
        connect("pop3s://mail.example.org")


def test_without_a_thread_for_the_look_up_there_is_no_connection(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(_dial.MOST_LOOKUPS + 1):
        with pytest.raises(OSError, match="no thread can be started"):
            dial(("mail.example.org", 110), 5)
    monkeypatch.undo()
    assert resolver.threads == []


# As a session has them.


def test_the_connection_counts_too_and_all_addresses_of_a_host_together(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ScriptedNetwork(**{f"a{place}": SILENT for place in range(99)})
    monkeypatch.setattr(
        _dial,
        "dial",
        lambda address, timeout, route: dial((HOST[0], address[1]), timeout, route=route, network=network),
    )
    monkeypatch.setattr(_deadline, "monotonic", network.now)
    with pytest.raises(TimeoutError, match=r"connection: the deadline of 3 seconds for the session has passed"):
        connect("pop3s://mail.example.org", deadline=3, timeout=60)
    assert network.time == pytest.approx(1003)
    with pytest.raises(TimeoutError, match=r"connection: timed out"):
        connect("pop3s://mail.example.org", deadline=3600, timeout=2)
    assert network.time == pytest.approx(1005)
    assert network.left_open() == []


@pytest.mark.parametrize("deadline", [None, 60])
def test_the_first_address_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch, deadline: float | None) -> None:
    with MailboxServer([b"Subject: x\r\n\r\n"], tls=True) as server:
        with socket.create_server(("127.0.0.2", 0)) as closed:
            nobody = closed.getsockname()
        addresses = [Address(socket.AF_INET, 0, where) for where in (nobody, server.address)]
        monkeypatch.setattr(Network, "look_up", lambda *_: addresses)
        address = f"pop3s://user@localhost:{server.port}"
        with connect(address, password="password", deadline=deadline, context=server.client_context) as pop:
            assert pop.stat()[0] == 1
            assert pop.sock.gettimeout() == 60.0


def test_a_link_local_address_keeps_its_link(monkeypatch: pytest.MonkeyPatch) -> None:
    where = ("fe80::1", 995, 0, 3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", where)])
    tried: list[Any] = []

    def call(_: Network, address: Address) -> socket.socket:
        tried.append(address.where)
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr(Network, "call", call)
    with pytest.raises(ConnectionRefusedError):
        connect("pop3s://mail.example.org", deadline=60)
    assert tried == [where]
