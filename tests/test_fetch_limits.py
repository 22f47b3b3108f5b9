"""Limits of servers: so many sessions at once, a maildrop that is in use, a listing that takes its time.

Every account is fetched in the end, within the patience that there is, by the clock that was given.
"""

import socket
import ssl
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from limited import WAIT_SECONDS, LimitedServer, Refuse, at_login, hanging_up, resetting, saying
from maildrops import FastClock, Maildrop, account_of, delivered, fetch_from, mail
from pop3fast import AuthenticationError, CommandError, ConnectionLost
from pop3fast.fetch import Account, Options, _further, _waiting, fetch_many, open_destination
from pop3fast.fetch import _fetch_many as many
from pop3fast.fetch._patience import MAX_KNOCKS, MAX_TRIES, Patience
from pop3fast.fetch._report import FetchReport
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch._run import Run
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.accounts._account import Reconnector
from pop3fast.fetch.accounts._hosts import Host, Hosts, Visit
from scripted import Reply, ScriptedServer
from waiting import time_out_when_it_stalls

GREETING = b"+OK ready\r\n"
MAIL = [(b"1", mail(1)), (b"2", mail(2))]
IN_USE = b"-ERR [IN-USE] Do you have another POP session running?\r\n"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FastClock:
    """Give fetch_many a clock that takes no time."""
    clock = FastClock()
    monkeypatch.setattr(many, "Surroundings", partial(Surroundings, clock))
    return clock


# So many sessions at once.

TOO_MANY = b"-ERR Maximum number of connections from user+IP exceeded (mail_max_userip_connections=3)"
WAYS: dict[str, Refuse] = {
    "words": saying(TOO_MANY),
    "a code": saying(b"-ERR [SYS/TEMP] come back"),
    "IN-USE": saying(b"-ERR [IN-USE] too many sessions"),
    "a code that nobody knows": saying(b"-ERR [LIMIT] Too many simultaneous connections"),
    "words that nobody knows": saying(b"-ERR Verbindungslimit erreicht"),
    "busy": saying(b"-ERR Busy - please try later"),
    "hangs up": hanging_up,
    "resets": resetting,
    "words at the login": at_login(TOO_MANY),
    "AUTH at the login": at_login(b"-ERR [AUTH] Too many connections from your address"),
}


class PatientClock(FastClock):
    """A clock for who is turned away: a pause is over when *server* has room, whatever the machine is busy with.

    Each thread has a time of its own, so that nobody's patience is used up by the pauses of others.
    """

    def __init__(self, server: LimitedServer) -> None:
        self._server = server
        self._times = threading.local()
        super().__init__()

    @property
    def time(self) -> float:
        return getattr(self._times, "time", 1000.0)

    @time.setter
    def time(self, moment: float) -> None:
        self._times.time = moment

    def pause(self, seconds: float) -> None:
        super().pause(seconds)
        self._server.wait_for_room()


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_quirk_q137_with_a_server_that_takes_so_many_sessions_all_accounts_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, limit: int
) -> None:
    # A pause takes no time if there is room: all knocks could be over before a QUIT is heard that nobody waited for.
    monkeypatch.setattr(_further, "QUIT_SECONDS", WAIT_SECONDS)
    with LimitedServer(limit, WAYS[way], *MAIL) as server:
        clock = PatientClock(server)
        monkeypatch.setattr(many, "Surroundings", partial(Surroundings, clock))
        url = f"pop3+plain://{server.host}:{server.port}"
        jobs = [
            Job(Account(url, user=f"user{place}", password="x", timeout=20), f"eml:{tmp_path}/{place}")
            for place in range(12)
        ]
        reports = fetch_many(jobs)
    assert [(report.fetched, report.error) for report in reports] == [(2, None)] * 12
    assert server.most_inside == limit
    # Once the server has shown its limit, nobody tries it without having a place.
    assert 0 < server.refusals <= many.THREADS * 2
    assert sum(clock.pauses) < 12 * 20


def test_quirk_q137_a_host_that_dies_is_not_waited_for_by_each_account(tmp_path: Path, clock: FastClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    jobs = [
        Job(Account(f"pop3+plain://user{place}@127.0.0.1:{port}", password="x"), f"eml:{tmp_path}/{place}")
        for place in range(12)
    ]
    reports = fetch_many(jobs)
    assert {report.exit_status for report in reports} == {3}
    assert sum(clock.pauses) <= 12 * (1 + 2 + 5)


def has_room(host: Host) -> bool:
    return host.has_room


def test_a_host_has_no_limit_until_it_refuses_and_then_what_it_has_let_in() -> None:
    host = Host()
    for _ in range(10):
        host.arrive()
    assert has_room(host)
    for _ in range(3):
        host.let_in()
    host.refuse()
    assert not has_room(host)
    host.visits = 2
    assert has_room(host)
    host.arrive()
    assert not has_room(host)
    # Who was on the way when another was refused, and was let in, shows that there is more room.
    host.let_in()
    assert has_room(host)


def test_a_host_that_has_let_nobody_in_is_visited_by_one_at_a_time() -> None:
    host = Host()
    host.refuse()
    assert has_room(host)
    host.arrive()
    assert not has_room(host)


def test_a_visit_counts_as_long_as_it_lasts_and_the_word_to_stop_ends_the_wait_for_one() -> None:
    hosts, stop = Hosts(), Stop()
    where = ("mail.example.org", 110)
    with hosts.visit(where, stop) as one:
        assert (one.had_company, one.saw_another_inside) == (False, False)
        one.let_in()
        assert (one.had_company, one.saw_another_inside) == (False, False)
        with hosts.visit(where, stop) as two, hosts.visit(("other.example.org", 110), stop) as elsewhere:
            assert (one.had_company, one.saw_another_inside) == (True, False)
            assert (two.had_company, two.saw_another_inside) == (True, True)
            two.let_in()
            assert (one.saw_another_inside, two.saw_another_inside) == (True, True)
            assert not elsewhere.had_company
        # What it has seen it has seen.
        assert (one.had_company, one.saw_another_inside) == (True, True)
        one.refused()
        stop.say()
        with hosts.visit(where, Stop()), pytest.raises(KeyboardInterrupt), hosts.visit(where, stop):
            pytest.fail("there is room for two")
    with hosts.visit(where, Stop()) as again:
        assert not again.had_company


def test_who_waits_for_a_place_is_told_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiting, "STEP_SECONDS", 3600)
    hosts, where, came = Hosts(), ("mail.example.org", 110), []

    def come() -> None:
        with hosts.visit(where, Stop()):
            came.append(True)

    with hosts.visit(where, Stop()) as visit:
        visit.refused()
        thread = threading.Thread(target=come, daemon=True)
        thread.start()
        while not hosts._lock._waiters:  # type: ignore[attr-defined]  # until it waits
            time.sleep(0.001)
        assert not came
    thread.join(20)
    assert came


# One account at the door.


def in_use() -> CommandError:
    """Return what a login is refused with."""
    error = CommandError(IN_USE)
    error.command = "PASS"
    return error


class DoorBell(FastClock):
    """A clock that has a server greet in another way when so many seconds have passed."""

    def __init__(self, server: ScriptedServer, seconds: float) -> None:
        super().__init__()
        self._server = server
        self._seconds = seconds

    def pause(self, seconds: float) -> None:
        super().pause(seconds)
        if sum(self.pauses) >= self._seconds:
            self._server._greeting = GREETING


@pytest.mark.parametrize("closed", [Reply(then="fin"), Reply(then="rst"), Reply(b"+OK rea", then="fin")])
def test_a_server_that_hangs_up_at_the_greeting_is_knocked_at_for_eight_seconds(tmp_path: Path, closed: Reply) -> None:
    with ScriptedServer(closed, Maildrop(*MAIL)) as server:
        clock = DoorBell(server, 8)
        assert fetch_from(server, f"eml:{tmp_path}/box", clock=clock).fetched == 2
        assert sum(clock.pauses) == pytest.approx(8)
        server._greeting = closed
        clock = DoorBell(server, 8.5)
        report = fetch_from(server, f"eml:{tmp_path}/box", clock=clock)
        assert (report.exit_status, report.sessions) == (3, 0)
        assert sum(clock.pauses) == pytest.approx(8)


def test_who_is_sent_away_alone_or_finds_nobody_does_not_knock_again(tmp_path: Path) -> None:
    clock = FastClock()
    with ScriptedServer(b"-ERR go away\r\n") as server:
        report = fetch_from(server, f"eml:{tmp_path}/box", clock=clock)
        assert isinstance(report.error, CommandError)
    report = fetch_from(server, f"eml:{tmp_path}/box", clock=clock)
    assert isinstance(report.error, ConnectionRefusedError)
    assert clock.pauses == []


def test_a_server_that_hangs_up_at_the_login_has_seen_the_password_and_is_left_alone(tmp_path: Path) -> None:
    drop, clock = Maildrop(*MAIL), FastClock()
    drop.instead = lambda command: Reply(then="fin") if command.startswith(b"PASS") else None
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, f"eml:{tmp_path}/box", clock=clock)
    assert isinstance(report.error, ConnectionLost)
    assert (clock.pauses, len(drop.sent(b"PASS"))) == ([], 1)


# What patience is for.


def test_quirk_q136_what_the_server_takes_to_say_that_it_is_in_use_counts(tmp_path: Path) -> None:
    drop, clock = Maildrop(*MAIL), FastClock()

    def instead(command: bytes) -> bytes | None:
        if not command.startswith(b"PASS"):
            return None
        clock.time += 30
        return IN_USE

    drop.instead = instead
    with ScriptedServer(GREETING, drop) as server:
        report = fetch_from(server, f"eml:{tmp_path}/box", Options(patience=97), clock=clock)
    assert isinstance(report.error, CommandError)
    assert report.error.code == "IN-USE"
    # 30 + 1 + 30 + 2 + 30, and 5 more would leave nothing for another try.
    assert clock.time - 1000 == pytest.approx(93)
    assert len(drop.sent(b"PASS")) == 3


def test_quirk_q136_after_a_refusal_no_reply_is_waited_for_longer_than_patience_lasts(tmp_path: Path) -> None:
    drop, clock = Maildrop(*MAIL), FastClock()
    drop.instead = lambda command: (
        (IN_USE if len(drop.sent(b"PASS")) == 1 else Reply(then="stall")) if command.startswith(b"PASS") else None
    )
    with ScriptedServer(GREETING, drop) as server:
        # One second is the first pause's. A wait with the account's time-out would end when the server hangs up.
        report = fetch_from(server, f"eml:{tmp_path}/box", Options(patience=1.2), clock=clock, timeout=60)
    # The report tells why the fetch waited.
    assert isinstance(report.error, CommandError)
    assert report.error.code == "IN-USE"
    assert isinstance(report.error.__cause__, TimeoutError)


def test_patience_does_not_shorten_what_the_server_takes_once_it_has_let_in(tmp_path: Path) -> None:
    drop, clock = Maildrop(*MAIL), FastClock()
    drop.instead = lambda command: IN_USE if command.startswith(b"PASS") and len(drop.sent(b"PASS")) == 1 else None
    timeouts: list[float | None] = []
    with ScriptedServer(GREETING, drop) as server:
        entered = Reconnector.enter

        def enter(reconnector: Reconnector, *rest: object) -> object:
            pop = entered(reconnector, *rest)  # type: ignore[arg-type]  # what it was given
            timeouts.append(pop.sock.gettimeout())
            return pop

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Reconnector, "enter", enter)
            report = fetch_from(server, f"eml:{tmp_path}/box", Options(patience=3), clock=clock, timeout=60)
    assert (report.fetched, timeouts) == (2, [60])


@pytest.mark.parametrize("capabilities", [b"TOP\r\nUIDL\r\n", b"TOP\r\nUIDL\r\nPIPELINING\r\n"])
@pytest.mark.parametrize("silent", [b"UIDL", b"LIST"])
def test_a_listing_that_is_slow_is_no_dead_server(
    tmp_path: Path, capabilities: bytes, silent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop, clock = Maildrop(*MAIL, capabilities=capabilities), FastClock()
    drop.instead = lambda command: Reply(then="stall") if command == silent else None
    with ScriptedServer(GREETING, drop) as server:
        time_out_when_it_stalls(server, monkeypatch)
        report = fetch_from(server, f"eml:{tmp_path}/box", clock=clock)
        assert isinstance(report.error, TimeoutError)
        assert "UIDL" in str(report.error)
        assert "--timeout" in str(report.error)
        assert (report.sessions, report.exit_status) == (2, 3)
        # The second time it may be there: the first one made the server build it.
        drop.sessions = 0
        drop.instead = lambda command: Reply(then="stall") if command == silent and drop.sessions == 1 else None
        assert fetch_from(server, f"eml:{tmp_path}/box", clock=clock).fetched == 2


class Scene:
    """A run without a server, and its patience."""

    def __init__(self, tmp_path: Path, options: Options | None = None, timeout: float | None = 60) -> None:
        self.clock = FastClock()
        account = Account("pop3s://user@mail.example.org", password="x", timeout=timeout)
        to = open_destination(f"eml:{tmp_path}/box")
        report = FetchReport("", "")
        self.run = Run(Reconnector(account, Stop()), to, None, options or Options(), report, self.clock, Stop(), None)
        self.patience = Patience(self.run)

    def after(self, error: Exception, visit: Visit) -> float | None:
        self.patience.begin()
        return self.patience.after(error, visit)


@pytest.mark.parametrize(
    ("error", "knocks"),
    [
        (ConnectionLost("-ERR EOF"), MAX_KNOCKS),
        (ConnectionResetError(104, "reset"), MAX_KNOCKS),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), MAX_KNOCKS),
        (ConnectionRefusedError(111, "refused"), 0),
        (TimeoutError("timed out"), 0),
        (socket.gaierror(-2, "no such host"), 0),
        (ssl.SSLCertVerificationError("not the server's"), 0),
        (ssl.SSLError(1, "wrong version number"), 0),
        (CommandError(b"-ERR go away"), 0),
        (CommandError(b"-ERR [SYS/PERM] never"), 0),
        (AuthenticationError(b"-ERR no such user"), 0),
    ],
    ids=repr,
)
def test_whether_others_are_welcome_decides_what_a_closed_door_means(
    tmp_path: Path, error: Exception, knocks: int
) -> None:
    where = ("mail.example.org", 995)
    hosts = Hosts()
    with hosts.visit(where, Stop()) as visit:
        scene = Scene(tmp_path)
        assert [scene.after(error, visit) for _ in range(knocks + 1)][-1] is None
        scene = Scene(tmp_path)
        assert [scene.after(error, visit) for _ in range(knocks)] == [1.0, 2.0, 5.0][:knocks]
        with hosts.visit(where, Stop()) as other:
            other.let_in()
            scene = Scene(tmp_path)
            never = isinstance(error, socket.gaierror | ssl.SSLCertVerificationError | AuthenticationError)
            never = never or "PERM" in str(error)
            waits = [scene.after(error, visit) for _ in range(MAX_KNOCKS + MAX_TRIES)]
            assert (waits[0] is None) is never
            assert (waits[-1] is None) is never
            # Once a password was shown, a later try would be one more to guess it.
            scene.run.reconnector.has_shown_secret = True
            assert scene.after(error, visit) is None


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (ConnectionLost("-ERR EOF"), True),
        (ConnectionRefusedError(111, "refused"), True),
        (CommandError(b"-ERR go away"), True),
        # A fetch that would wait for the time-out each time does not try again.
        (TimeoutError("timed out"), False),
        (socket.gaierror(-2, "no such host"), False),
        (CommandError(b"-ERR [SYS/PERM] never"), False),
    ],
    ids=repr,
)
def test_while_another_is_on_the_way_a_closed_door_may_be_a_limit(
    tmp_path: Path,
    error: Exception,
    tries: bool,  # noqa: FBT001
) -> None:
    hosts, where = Hosts(), ("mail.example.org", 995)
    with hosts.visit(where, Stop()), hosts.visit(where, Stop()) as visit:
        scene = Scene(tmp_path)
        waits = [scene.after(error, visit) for _ in range(MAX_KNOCKS + 1)]
    assert waits == ([1.0, 2.0, 5.0, None] if tries else [None] * 4)


def test_how_long_a_session_may_take_to_be_let_in(tmp_path: Path) -> None:
    refusal = in_use()
    with Hosts().visit(("mail.example.org", 110), Stop()) as visit:
        for timeout, first, then in ((60, 60, 9), (None, None, 9), (5, 5, 5)):
            scene = Scene(tmp_path, Options(patience=10), timeout)
            assert scene.patience.begin() == first
            assert scene.patience.after(refusal, visit) == 1
            assert scene.patience.begin() == then
            scene.patience.let_in()
            assert scene.patience.begin() == first


def test_the_lock_of_one_maildrop_says_nothing_about_the_host(tmp_path: Path) -> None:
    hosts, where = Hosts(), ("mail.example.org", 110)
    with hosts.visit(where, Stop()) as one:
        scene = Scene(tmp_path)
        scene.run.reconnector.has_shown_secret = True
        assert scene.after(in_use(), one) == 1
        assert scene.after(TimeoutError("timed out"), one) == 2
        with hosts.visit(where, Stop()) as two:
            assert two.had_company


def test_with_one_clock_for_all_nothing_waits_for_the_machine_s(tmp_path: Path) -> None:
    drop, clock = Maildrop(*MAIL), FastClock()
    drop.instead = lambda command: IN_USE if command.startswith(b"PASS") else None
    with ScriptedServer(GREETING, drop) as server:
        report = run_job(Job(account_of(server), f"maildir:{tmp_path}/box", None, Options()), Surroundings(clock))
    assert isinstance(report.error, CommandError)
    assert 840 < clock.time - 1000 <= 900
    assert report.seconds == clock.time - 1000
    assert not (tmp_path / "box/new").is_dir() or delivered(f"maildir:{tmp_path}/box") == []
