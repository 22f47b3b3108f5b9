"""What a session waits for before the first octet of mail, and at its end, each wait counted.

On a far line a round trip is what takes time. They are counted as turns: octets of the client behind octets of the
server.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pop3fast
from maildrops import NEVER, Maildrop, fetch_from, mail
from pop3fast._hooks import session_of
from pop3fast.fetch import Account, Options, fetch_mailbox
from pop3fast.testing import CERTIFICATE, MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING
from test_bulk import connected

PIPELINING = b"TOP\r\nUIDL\r\nPIPELINING\r\n"


class Relay:
    """Carries octets between a client and a server, and remembers what the client said at each of its turns.

    Of several connections, one behind the other, those of the last one.
    """

    def __init__(self, port: int, connections: int = 1) -> None:
        self.turns: list[bytes] = []
        self._port = port
        self._connections = connections
        self._lock = threading.Lock()
        self._server_spoke = True

    @contextmanager
    def listening(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=self._serve_all, args=(listener,), daemon=True)
            thread.start()
            yield listener.getsockname()[1]
        thread.join(30)
        assert not thread.is_alive()

    def _serve_all(self, listener: socket.socket) -> None:
        for _ in range(self._connections):
            self.turns.clear()
            self._server_spoke = True
            self._serve(listener)

    def _serve(self, listener: socket.socket) -> None:
        near, _ = listener.accept()
        with near, socket.create_connection(("127.0.0.1", self._port)) as far:
            back = threading.Thread(target=self._carry, args=(far, near), kwargs={"from_client": False}, daemon=True)
            back.start()
            self._carry(near, far, from_client=True)
            back.join(30)

    def _carry(self, source: socket.socket, target: socket.socket, *, from_client: bool) -> None:
        try:
            while octets := source.recv(65536):
                with self._lock:
                    if not from_client:
                        self._server_spoke = True
                    elif self._server_spoke:
                        self.turns.append(octets)
                        self._server_spoke = False
                    else:
                        self.turns[-1] += octets
                target.sendall(octets)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_a_fetch_has_its_first_mail_behind_four_commands_that_it_waits_for(tmp_path: Path) -> None:
    """TLS is two turns more, the handshake and the greeting behind it; STLS three, CAPA, STLS and the handshake."""
    drop = Maildrop((b"1", mail(1)), capabilities=PIPELINING + b"SASL PLAIN\r\n")
    with ScriptedServer(b"+OK ready\r\n", drop) as server:
        relay = Relay(server.port)
        with relay.listening() as port:
            account = Account(f"pop3+plain://user@127.0.0.1:{port}", password="password", timeout=10)
            assert fetch_mailbox(account, f"maildir:{tmp_path}/box").fetched == 1
    turns = [[line.split()[0] for line in turn.splitlines()] for turn in relay.turns]
    assert turns[:4] == [[b"CAPA"], [b"AUTH"], [b"CAPA", b"UIDL", b"LIST"], [b"RETR"]]


@pytest.mark.parametrize(("scheme", "most"), [("pop3", 6), ("pop3s", 5)])
def test_a_second_fetch_has_its_first_mail_behind_so_many_round_trips(scheme: str, most: int, tmp_path: Path) -> None:
    """As the network sees them: each turn of the client waits for the server.

    They are CAPA and STLS and the handshake, or, with TLS, the handshake and the greeting; then the login, the
    listings, and RETR. TCP's own is not among them, nor the greeting that comes in the clear.
    """
    drop = Maildrop((b"first", mail(1)), capabilities=PIPELINING + b"STLS\r\nSASL PLAIN\r\n")
    turns_before_mail = 0

    def instead(command: bytes) -> Reply | None:
        nonlocal turns_before_mail
        if command.startswith(b"RETR"):
            turns_before_mail = len(relay.turns)
        return Reply(b"+OK\r\n", then="tls") if command == b"STLS" else None

    drop.instead = instead
    with ScriptedServer(b"+OK ready\r\n", drop, tls=scheme == "pop3s") as server:
        # A ticket is nothing that anybody waits for, and it would come between two octets of one turn.
        server._context.num_tickets = 0
        relay = Relay(server.port, connections=2)
        with relay.listening() as port:
            account = Account(f"{scheme}://user@127.0.0.1:{port}", password="password", ca_file=CERTIFICATE, timeout=10)
            assert fetch_mailbox(account, tmp_path / "box").fetched == 1
            drop.messages.append((b"second", mail(2)))
            assert fetch_mailbox(account, tmp_path / "box").fetched == 1
    assert turns_before_mail == most


def log_in(pop: pop3fast.POP3) -> None:
    """Log in behind CAPA, as whoever has to choose a mechanism does."""
    pop.capabilities()
    pop.login("user", "password", mechanism="PLAIN")


def test_quirk_q17_a_server_that_pipelines_only_after_the_login_is_asked_before_it_is_believed() -> None:
    said = iter([b"TOP\r\n", PIPELINING])
    drop = Maildrop((b"a", mail(1)))
    drop.instead = lambda command: b"+OK\r\n" + next(said) + b".\r\n" if command == b"CAPA" else None
    with ScriptedServer(GREETING, drop) as server, connected(server) as pop:
        log_in(pop)
        assert pop.uids_and_sizes() == ({1: "a"}, {1: len(mail(1))})
        assert pop.wire.writes[-2:] == [b"CAPA\r\n", b"UIDL\r\nLIST\r\n"]


def test_what_a_server_can_do_after_the_login_comes_with_the_listings() -> None:
    said = iter([PIPELINING, b"TOP\r\nLOGIN-DELAY 5\r\n"])
    drop = Maildrop((b"a", mail(1)))
    drop.instead = lambda command: b"+OK\r\n" + next(said) + b".\r\n" if command == b"CAPA" else None
    with ScriptedServer(GREETING, drop) as server, connected(server) as pop:
        log_in(pop)
        assert pop.uids_and_sizes() == ({1: "a"}, {1: len(mail(1))})
        assert pop.wire.writes[-1] == b"CAPA\r\nUIDL\r\nLIST\r\n"
        assert dict(pop.capabilities()) == {"TOP": (), "LOGIN-DELAY": ("5",)}
        assert pop.uids_and_sizes()[0] == {1: "a"}
        assert pop.wire.writes[-2:] == [b"UIDL\r\n", b"LIST\r\n"]


@pytest.mark.parametrize("refused", [b"CAPA", b"UIDL", b"LIST"])
def test_one_of_the_three_may_be_refused(refused: bytes) -> None:
    drop = Maildrop((b"a", mail(1)), capabilities=PIPELINING)
    with ScriptedServer(GREETING, drop) as server, connected(server) as pop:
        log_in(pop)
        drop.instead = lambda command: b"-ERR no\r\n" if command == refused else None
        if refused == b"CAPA":
            assert pop.uids_and_sizes() == ({1: "a"}, {1: len(mail(1))})
            assert dict(pop.capabilities()) == {}
        else:
            with pytest.raises(pop3fast.CommandError) as caught:
                pop.uids_and_sizes()
            assert caught.value.command == refused.decode()
            assert pop.supports("PIPELINING")
        assert pop.in_step


def test_capabilities_that_are_none_break_the_connection_in_front_of_the_listings_too() -> None:
    drop = Maildrop((b"a", mail(1)), capabilities=PIPELINING)
    with ScriptedServer(GREETING, drop) as server, connected(server) as pop:
        log_in(pop)
        drop.capabilities = b"X\r\n" * 22_000
        with pytest.raises(pop3fast.LimitExceeded):
            pop.uids_and_sizes()
        assert not pop.in_step


def test_what_was_said_in_clear_text_is_forgotten_under_tls() -> None:
    with MailboxServer([mail(1)], stls=True) as server, connected(server) as pop:
        pop.capabilities()
        with pytest.raises(pop3fast.CommandError):
            pop.login("user", "not the password", mechanism="PLAIN")
        assert session_of(pop).capabilities_before is not None
        pop.stls(server.client_context)
        assert session_of(pop).capabilities_before is None
        pop.user(server.user)
        pop.pass_(server.password)
        assert pop.uids_and_sizes()[1] == {1: len(mail(1))}
        assert server.commands.count(b"CAPA") == 3


def test_the_answer_to_quit_is_not_waited_for_where_nothing_is_marked(tmp_path: Path) -> None:
    drop = Maildrop((b"1", mail(1)))
    drop.instead = lambda command: Reply(b"", then="stall") if command == b"QUIT" else None
    with ScriptedServer(b"+OK ready\r\n", drop) as server:
        report = fetch_from(server, f"maildir:{tmp_path}/box", Options(), timeout=NEVER)
    assert (report.fetched, report.exit_status, report.warnings) == (1, 0, [])
