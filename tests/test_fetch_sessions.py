"""Several sessions with a server that answers one command at a time: all arrives, in order, and nothing is lost by it.

The server holds all its sessions at once and tells a test which of them says what.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from maildrops import FastClock, delivered, mail
from pop3fast import CommandError, Piece
from pop3fast.fetch import Account, FetchReport, Identity, Options, Progress
from pop3fast.fetch._further import wanted_of
from pop3fast.fetch._plan import Item
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch._sharing import AHEAD_MESSAGES, FIRST, LARGE_OCTETS, Sharing
from pop3fast.fetch.accounts._hosts import Hosts
from pop3fast.testing import MailboxServer

MESSAGES = 40

Instead = Callable[[int, bytes], bytes | None]
"""From the number of a session, 0 for the first, and a command to what is answered instead of the usual; b"" and the
server hangs up."""


def uid_of(number: int) -> bytes:
    return b"a%08d" % number


class Server:
    """A server of many sessions."""

    def __init__(self, messages: list[tuple[bytes, bytes]]) -> None:
        self.messages = messages
        self.said: list[tuple[int, bytes]] = []
        self.instead: Instead = lambda *_: None
        self.views: dict[int, list[tuple[bytes, bytes]]] = {}
        """What a session lists instead."""
        self.capabilities = b"TOP\r\nUIDL\r\nSASL PLAIN\r\n"
        self.port = 0
        self._lock = threading.Lock()
        self._count = 0
        self._sockets: list[socket.socket] = []

    @contextmanager
    def running(self) -> Iterator["Server"]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            threads = [threading.Thread(target=self._accept, args=(listener,), daemon=True)]
            threads[0].start()
            try:
                yield self
            finally:
                with suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                for sock in self._sockets:
                    with suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)
                threads[0].join(30)

    def sessions_that_said(self, verb: bytes) -> set[int]:
        return {session for session, command in self.said if command.startswith(verb)}

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                self._sockets.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with self._lock:
            session = self._count
            self._count += 1
        with suppress(OSError), sock, sock.makefile("rb") as lines:
            sock.sendall(b"+OK ready\r\n")
            for line in lines:
                command = line.rstrip(b"\r\n")
                self.said.append((session, command))
                reply = self.instead(session, command)
                if reply is None:
                    reply = self._reply(session, command)
                if not reply:
                    return
                sock.sendall(reply)

    def _reply(self, session: int, command: bytes) -> bytes:
        verb, _, argument = command.partition(b" ")
        shown = self.views.get(session, self.messages)
        match verb:
            case b"CAPA":
                return b"+OK\r\n" + self.capabilities + b".\r\n"
            case b"UIDL":
                return _lines(uid for uid, _ in shown)
            case b"LIST":
                return _lines(b"%d" % len(content) for _, content in shown)
            case b"STAT":
                return b"+OK %d %d\r\n" % (len(shown), sum(len(content) for _, content in shown))
            case b"RETR":
                return b"+OK\r\n" + shown[int(argument) - 1][1] + b".\r\n"
        return b"+OK\r\n"


def _lines(texts: Iterator[bytes]) -> bytes:
    return b"+OK\r\n" + b"".join(b"%d %s\r\n" % each for each in enumerate(texts, 1)) + b".\r\n"


def mailbox(count: int = MESSAGES) -> list[tuple[bytes, bytes]]:
    return [(uid_of(number), mail(number, octets=40 + number)) for number in range(count)]


def fetched(server: Server, destination: str, hosts: Hosts | None = None, **options: object) -> FetchReport:
    """Fetch once, over four sessions unless *options* say otherwise."""
    account = Account(f"pop3+plain://user@127.0.0.1:{server.port}", password="password", timeout=20)
    wishes = Options(**{"sessions": 4, **options})  # type: ignore[arg-type]  # as the test gave them
    return run_job(Job(account, destination, None, wishes), Surroundings(FastClock(), hosts=hosts or Hosts()))


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(mailbox()).running() as server:
        yield server


@pytest.fixture
def box(tmp_path: Path) -> str:
    return f"maildir:{tmp_path}/box"


def all_of(server: Server) -> list[bytes]:
    return sorted(content for _, content in server.messages)


def meet(server: Server, sessions: int = 4) -> None:
    """Have no session get a message before so many sessions have asked for one."""
    met = threading.Barrier(sessions)
    seen: set[int] = set()

    def instead(session: int, command: bytes) -> None:
        if command.startswith(b"RETR") and session not in seen:
            seen.add(session)
            with suppress(threading.BrokenBarrierError):
                met.wait(20)

    server.instead = instead


def test_all_sessions_fetch_and_the_messages_lie_in_the_order_of_the_mailbox(
    server: Server, box: str, tmp_path: Path
) -> None:
    meet(server)
    report = fetched(server, box)
    assert (report.fetched, report.sessions, report.exit_status, report.warnings) == (MESSAGES, 4, 0, [])
    assert server.sessions_that_said(b"RETR") == {0, 1, 2, 3}
    found = [path.read_bytes() for path in sorted((tmp_path / "box" / "new").iterdir())]
    assert found == [content.replace(b"\r\n", b"\n") for _, content in server.messages]


def test_a_server_that_pipelines_is_asked_over_one_session(server: Server, box: str) -> None:
    server.capabilities += b"PIPELINING\r\n"
    assert fetched(server, box).sessions == 1


def test_few_messages_are_fetched_over_one_session(server: Server, box: str) -> None:
    meet(server, 2)
    del server.messages[9:]
    report = fetched(server, box)
    assert (report.fetched, report.sessions) == (9, 2)
    server.instead = lambda *_: None
    server.messages += [(uid_of(number), mail(number)) for number in range(100, 107)]
    report = fetched(server, box)
    assert (report.fetched, report.sessions) == (7, 1)


def test_a_server_with_a_login_delay_is_asked_over_one_session(server: Server, box: str) -> None:
    server.capabilities += b"LOGIN-DELAY 60\r\n"
    assert fetched(server, box).sessions == 1


def test_each_session_has_numbers_of_its_own(server: Server, box: str) -> None:
    meet(server)
    for session in (1, 2, 3):
        server.views[session] = [(b"new%d" % session * 3, mail(1000 + session)), *reversed(server.messages)]
    report = fetched(server, box)
    assert (report.fetched, report.exit_status) == (MESSAGES, 0)
    assert delivered(box) == all_of(server)


def test_what_a_session_does_not_have_under_its_unique_id_comes_over_the_first(server: Server, box: str) -> None:
    server.views[1] = [(uid + b"x", content) for uid, content in server.messages]
    server.views[2] = [(uid, content + b"more\r\n") for uid, content in server.messages]
    server.views[3] = server.messages * 2
    listed: set[int] = set()
    all_listed = threading.Event()

    def instead(session: int, command: bytes) -> None:
        if command == b"LIST":
            listed.add(session)
            if len(listed) == 4:
                all_listed.set()
        # The first session gets nothing before the other sessions could have asked for it.
        if session == 0 and command.startswith(b"RETR"):
            all_listed.wait(20)

    server.instead = instead
    report = fetched(server, box)
    assert (report.fetched, report.exit_status) == (MESSAGES, 0)
    assert server.sessions_that_said(b"RETR") == {0}


@pytest.mark.parametrize("uids", [[b"%d" % number for number in range(MESSAGES)], [b"alike"] * MESSAGES])
def test_what_a_unique_id_does_not_show_comes_over_the_first(server: Server, box: str, uids: list[bytes]) -> None:
    server.messages[:] = [(uid, content) for uid, (_, content) in zip(uids, server.messages, strict=True)]
    report = fetched(server, box)
    assert (report.fetched, report.exit_status, report.sessions) == (MESSAGES, 0, 1)


@pytest.mark.parametrize("answer", [b"-ERR [IN-USE] locked\r\n", b"-ERR [LOGIN-DELAY] later\r\n", b"-ERR no\r\n", b""])
def test_a_maildrop_for_one_session_is_fetched_over_one_and_asked_once_for_another(
    server: Server, box: str, answer: bytes
) -> None:
    server.instead = lambda session, command: answer if session and command.startswith(b"AUTH") else None
    report = fetched(server, box, sessions=8)
    assert (report.fetched, report.sessions, report.exit_status, report.failures) == (MESSAGES, 1, 0, [])
    assert server.sessions_that_said(b"AUTH") <= {0, 1}
    assert delivered(box) == all_of(server)


def test_a_server_that_lets_in_three_is_asked_over_three(server: Server, box: str) -> None:
    refused, fetching = threading.Event(), threading.Barrier(3)
    met: set[int] = set()
    began: set[int] = set()

    def instead(session: int, command: bytes) -> bytes | None:
        if command.startswith(b"AUTH"):
            met.add(session)
            if len(met) > 3:
                refused.set()
                return b"-ERR too many connections\r\n"
        if command.startswith(b"RETR") and session not in began:
            began.add(session)
            refused.wait(20)
            fetching.wait(20)
        return None

    server.instead = instead
    hosts = Hosts()
    report = fetched(server, box, hosts, sessions=8)
    assert (report.fetched, report.sessions, report.exit_status) == (MESSAGES, 3, 0)
    (warning,) = report.warnings
    assert warning.startswith("the server lets in fewer than 6 sessions at once: ")
    assert "too many connections" in warning


def test_a_host_that_takes_no_more_of_this_program_is_not_asked(server: Server, box: str) -> None:
    hosts = Hosts()
    with hosts.visit_at_once(("127.0.0.1", server.port)) as visit:
        assert visit is not None
        visit.let_in()
        visit.refused()
    report = fetched(server, box, hosts)
    assert (report.fetched, report.sessions) == (MESSAGES, 1)


def test_a_session_that_stalls_holds_nobody_up(server: Server, box: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pop3fast.fetch._several.LATE_STEPS", 1)
    monkeypatch.setattr("pop3fast.fetch._several.QUIT_SECONDS", 0.0)
    stalled, over = threading.Event(), threading.Event()

    def instead(session: int, command: bytes) -> bytes | None:
        if command.startswith(b"RETR"):
            if session == 1:
                stalled.set()
                over.wait(60)
            stalled.wait(20)
        return None

    server.instead = instead
    try:
        report = fetched(server, box)
    finally:
        over.set()
    assert (report.fetched, report.exit_status, report.failures) == (MESSAGES, 0, [])
    assert delivered(box) == all_of(server)


@pytest.mark.parametrize("answer", [b"", b"+OK\r\nhalf a mess", b"-ERR not today\r\n"])
def test_what_a_further_session_does_not_get_comes_over_the_first(server: Server, box: str, answer: bytes) -> None:
    failed = threading.Event()

    def instead(session: int, command: bytes) -> bytes | None:
        if command.startswith(b"RETR"):
            if session == 1 and not failed.is_set():
                failed.set()
                return answer
            failed.wait(20)
        return None

    server.instead = instead
    if b"half" in answer:
        server.instead = _half(server, instead)
    report = fetched(server, box)
    assert (report.fetched, report.exit_status, report.failures, report.warnings) == (MESSAGES, 0, [], [])
    assert delivered(box) == all_of(server)


def _half(server: Server, instead: Instead) -> Instead:
    """Hang up behind half a message."""

    def half(session: int, command: bytes) -> bytes | None:
        reply = instead(session, command)
        if reply:
            server._sockets[session].sendall(reply)
            return b""
        return reply

    return half


def test_what_the_first_session_is_refused_too_has_failed(server: Server, box: str) -> None:
    server.instead = lambda _, command: b"-ERR never\r\n" if command == b"RETR 7" else None
    report = fetched(server, box)
    assert (report.fetched, report.exit_status) == (MESSAGES - 1, 1)
    assert [named.number for named in report.failures] == [7]


def test_messages_are_deleted_over_the_first_session_when_the_others_have_ended(
    server: Server, box: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pop3fast.fetch._several.QUIT_SECONDS", 20.0)
    meet(server)
    report = fetched(server, box, delete=True)
    assert (report.fetched, report.deleted, report.exit_status) == (MESSAGES, MESSAGES, 0)
    assert server.sessions_that_said(b"DELE") == {0}
    first = server.said.index((0, b"DELE 1"))
    assert {session for session, command in server.said[:first] if command == b"QUIT"} == {1, 2, 3}
    assert all(session == 0 for session, _ in server.said[first:])


def test_a_session_that_is_out_of_step_is_found_out_and_the_next_fetch_mends_it(server: Server, box: str) -> None:
    server.messages[:] = [(uid, mail(number)) for number, (uid, _) in enumerate(server.messages, 10)]
    twice: list[bytes] = []

    def instead(session: int, command: bytes) -> bytes | None:
        if session == 1 and command.startswith(b"RETR") and not twice:
            twice.append(command)
            # What another message's reply would be, and its own behind it.
            wrong = server._reply(session, b"RETR 40")
            server._sockets[session].sendall(wrong)
            return server._reply(session, command)
        return None

    server.instead = instead
    fetched(server, box)
    report = fetched(server, box)
    assert report.exit_status == 0
    assert set(delivered(box)) == {content for _, content in server.messages}


def test_a_session_that_is_slow_to_say_whether_it_is_in_step_is_waited_for_before_anything_is_deleted(
    server: Server, box: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pop3fast.fetch._several.QUIT_SECONDS", 0.0)
    server.messages[:] = [(uid, mail(number)) for number, (uid, _) in enumerate(server.messages, 10)]
    late: list[bytes] = []
    begun, deletes = threading.Event(), threading.Event()

    def instead(session: int, command: bytes) -> bytes | None:
        if session == 1 and (late or command.startswith(b"RETR")):
            if command == b"STAT":
                deletes.wait(0.5)  # which does not come
            # Each reply is that to the command before, and the first one that to another message.
            late.append(server._reply(session, b"RETR 1" if not late else command))
            begun.set()
            if len(late) > 1:
                return late[-2]
            late.append(server._reply(session, command))
            return late[0]
        if command.startswith(b"RETR"):
            begun.wait(20)
        if command.startswith(b"DELE"):
            deletes.set()
        return None

    server.instead = instead
    report = fetched(server, box, sessions=2, delete=True)
    assert (report.exit_status, report.deleted) == (0, MESSAGES)
    assert delivered(box) == all_of(server)


def test_a_large_message_comes_over_the_first_session_in_pieces(server: Server, box: str) -> None:
    large = mail(5000, octets=3 * LARGE_OCTETS)
    server.messages[20] = (uid_of(20), large)
    # What its listing does not show.
    server.instead = lambda _, command: (
        _lines(b"50" if number == 20 else b"%d" % len(content) for number, (_, content) in enumerate(server.messages))
        if command == b"LIST"
        else None
    )
    report = fetched(server, box)
    assert (report.fetched, report.failures) == (MESSAGES, [])
    assert large in delivered(box)
    assert (0, b"RETR 21") in server.said


def test_an_interrupt_ends_all_sessions(server: Server, box: str) -> None:
    account = Account(f"pop3+plain://user@127.0.0.1:{server.port}", password="password", timeout=20)

    def progress(how_far: Progress) -> None:
        if how_far.messages == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(Job(account, box, None, Options(sessions=4)), Surroundings(FastClock()), progress=progress)
    for thread in threading.enumerate():
        if thread.name == "pop3fast-session":
            thread.join(30)
            assert not thread.is_alive()
    report = fetched(server, box)
    assert report.exit_status == 0
    assert delivered(box) == all_of(server)


def test_nobody_is_asked_for_the_password_again(server: Server, box: str) -> None:
    meet(server)
    asked: list[int] = []

    def password() -> str:
        asked.append(1)
        return "password"

    account = Account(f"pop3+plain://user@127.0.0.1:{server.port}", password=password, timeout=20)
    report = run_job(Job(account, box, None, Options(sessions=4)), Surroundings(FastClock()))
    assert (report.fetched, report.sessions, len(asked)) == (MESSAGES, 4, 1)
    assert len({command for _, command in server.said if command.startswith(b"AUTH")}) == 1


def test_all_sessions_of_a_run_share_one_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    usual = Account.tls_context

    def tls_context(account: Account) -> object:
        made.append(usual(account))
        return made[-1]

    monkeypatch.setattr(Account, "tls_context", tls_context)
    with MailboxServer([mail(number) for number in range(3)], uids=["a", "b", "c"], tls=True) as server:
        account = Account(
            f"pop3s://user@localhost:{server.port}", password="password", ca_file=server.certificate, timeout=20
        )
        wishes = Options(delete=True, checkpoint_messages=1)
        report = run_job(Job(account, f"maildir:{tmp_path}/box", None, wishes), Surroundings(FastClock()))
    assert (report.fetched, report.deleted, report.sessions, len(made)) == (3, 3, 3, 1)


# What is decided, without a session.


def items_of(count: int, size: int = 10) -> list[Item]:
    return [Item(number, Identity(uid_of(number)), size) for number in range(1, count + 1)]


def test_what_shares_its_unique_id_with_another_message_comes_over_no_further_session() -> None:
    alone, one, two = (Item(number, Identity(uid_of(uid)), 10) for number, uid in enumerate((1, 2, 2), 1))
    listed = {item.number: item.identity.uid.decode() for item in (alone, one, two)}
    assert [*wanted_of([alone, one, two], listed).values()] == [alone]


def whole(item: Item, octets: int = 10) -> list[Piece]:
    return [Piece(item.number, b"x" * octets, first=True, last=True)]


def always(item: Item) -> bool:
    return bool(item)


def test_what_comes_early_waits_for_its_turn() -> None:
    items = items_of(3)
    sharing = Sharing(items, {})
    assert [sharing.choose(session, always) for session in (FIRST, 1, 2, 3)] == [0, 1, 2, None]
    for place, session in ((2, 2), (1, 1)):
        sharing.put(place, session, whole(items[place]))
        assert sharing.take() is None
    sharing.put(0, FIRST, whole(items[0]))
    assert [piece.number for piece in (sharing.take(), sharing.take(), sharing.take()) if isinstance(piece, Piece)] == [
        1,
        2,
        3,
    ]
    assert sharing.is_over


def test_no_more_is_fetched_ahead_of_the_turn_than_may_wait() -> None:
    items = items_of(AHEAD_MESSAGES + 9)
    sharing = Sharing(items, {})
    assert sharing.choose(1, always) == 0
    places = [sharing.choose(FIRST, always) for _ in range(AHEAD_MESSAGES)]
    assert places == [*range(1, AHEAD_MESSAGES), None]
    sharing.put(0, 1, whole(items[0]))
    assert isinstance(sharing.take(), Piece)
    assert sharing.choose(FIRST, always) == AHEAD_MESSAGES


def test_what_one_session_does_not_have_another_gets() -> None:
    sharing = Sharing(items_of(3), {})
    assert sharing.choose(1, lambda item: item.number == 2) == 1
    assert sharing.choose(1, lambda item: item.number == 2) is None
    assert [sharing.choose(session, always) for session in (2, FIRST)] == [0, 2]


def test_when_much_waits_only_the_message_whose_turn_it_is_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pop3fast.fetch._sharing.WAITING_OCTETS", 100)
    items = items_of(5)
    sharing = Sharing(items, {})
    assert [sharing.choose(session, always) for session in (FIRST, 1)] == [0, 1]
    sharing.put(1, 1, whole(items[1], 100))
    assert sharing.choose(1, always) is None
    sharing.give_back(0, FIRST)
    assert sharing.choose(FIRST, always) == 0


def test_the_message_that_all_wait_for_is_asked_for_once_more_and_comes_once() -> None:
    items = items_of(2)
    sharing = Sharing(items, {})
    assert [sharing.choose(session, always) for session in (FIRST, 1)] == [0, 1]
    sharing.put(1, 1, whole(items[1]))
    assert sharing.choose(1, always) is None
    sharing.let_another_fetch()
    assert sharing.choose(FIRST, always) is None
    assert [sharing.choose(1, always), sharing.choose(2, always)] == [0, None]
    sharing.put(0, 1, whole(items[0]))
    assert isinstance(sharing.take(), Piece)
    sharing.put(0, FIRST, whole(items[0]))
    assert isinstance(sharing.take(), Piece)
    assert sharing.is_over


def test_what_was_refused_is_named_at_its_turn() -> None:
    items = items_of(2)
    sharing = Sharing(items, {})
    assert [sharing.choose(session, always) for session in (1, FIRST)] == [0, 1]
    error = CommandError(b"-ERR no", command="RETR")
    sharing.refuse(1, error)
    assert sharing.take() is None
    sharing.put(0, 1, whole(items[0]))
    assert isinstance(sharing.take(), Piece)
    assert sharing.take() is error


def test_a_lost_first_session_is_tried_again(server: Server, box: str) -> None:
    lost = threading.Event()

    def instead(session: int, command: bytes) -> bytes | None:
        if command.startswith(b"RETR"):
            if session == 0:
                lost.set()
                return b""
            lost.wait(20)
        return None

    server.instead = instead
    report = fetched(server, box)
    assert (report.fetched, report.exit_status, report.failures) == (MESSAGES, 0, [])
    assert lost.is_set()
    assert delivered(box) == all_of(server)


# Where it would help.


@pytest.mark.parametrize(
    ("seconds", "capabilities", "proposed"), [(1.0, b"", 4), (0.01, b"", 0), (1.0, b"PIPELINING\r\n", 0)]
)
def test_several_sessions_are_proposed_where_waiting_took_most_of_the_time(
    server: Server, box: str, seconds: float, capabilities: bytes, proposed: int
) -> None:
    server.capabilities += capabilities
    clock = FastClock()

    def instead(session: int, command: bytes) -> None:
        del session, command
        clock.time += seconds

    server.instead = instead
    account = Account(f"pop3+plain://user@127.0.0.1:{server.port}", password="password", timeout=20)
    report = run_job(Job(account, box), Surroundings(clock))
    assert (report.fetched, report.helpful_sessions) == (MESSAGES, proposed)
