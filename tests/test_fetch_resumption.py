"""TLS sessions are resumed between the sessions of one run, and never between two accounts, hosts or kinds of trust.

Counted where it happens: `SSLSocket.session_reused` when a client's handshake is done.
"""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from maildrops import mail
from pop3fast import _handshake, connect
from pop3fast.fetch import Account, Job, Options, fetch_many
from pop3fast.fetch._retrying import run_job
from pop3fast.testing import MailboxServer

SELF_SIGNED = Path(__file__).parent / "certificates" / "self_signed.pem"
SESSIONS = 4


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each handshake of a client was a short one, in order."""
    noted: list[bool] = []
    shake_hands = _handshake._shake_hands

    def noting(secured: ssl.SSLSocket, timeout: float | None) -> None:
        shake_hands(secured, timeout)
        noted.append(bool(secured.session_reused))

    monkeypatch.setattr(_handshake, "_shake_hands", noting)
    return noted


@pytest.fixture(params=["pop3s", "pop3"])
def scheme(request: pytest.FixtureRequest) -> str:
    """TLS from the first octet, and STLS."""
    return str(request.param)


@pytest.fixture
def server(scheme: str) -> Iterator[MailboxServer]:
    messages = [mail(number) for number in range(SESSIONS)]
    with MailboxServer(messages, tls=scheme == "pop3s", stls=scheme == "pop3") as server:
        yield server


@pytest.fixture
def account(scheme: str, server: MailboxServer) -> Account:
    return Account(
        f"{scheme}://user@localhost:{server.port}", password="password", ca_file=server.certificate, timeout=20
    )


A_SESSION_EACH = Options(delete=True, checkpoint_messages=1)
"""What takes a session for each message."""


def test_of_the_sessions_of_a_run_only_the_first_has_a_full_handshake(
    account: Account, resumed: list[bool], tmp_path: Path
) -> None:
    report = run_job(Job(account, tmp_path / "box", None, A_SESSION_EACH))
    assert (report.fetched, report.deleted) == (SESSIONS, SESSIONS)
    assert len(resumed) >= SESSIONS
    assert resumed == [False] + [True] * (len(resumed) - 1)


def test_each_run_and_each_account_begins_with_a_full_handshake(
    account: Account, resumed: list[bool], tmp_path: Path
) -> None:
    job = Job(account, tmp_path / "box")
    for _ in range(2):
        run_job(job).raise_for_error()
    jobs = [replace(job, destination=tmp_path / str(number)) for number in range(3)]
    assert [report.error for report in fetch_many(jobs)] == [None] * 3
    assert resumed == [False] * 5


def test_with_a_context_of_the_program_nothing_is_resumed(
    server: MailboxServer, account: Account, resumed: list[bool], tmp_path: Path
) -> None:
    """It may be used for other accounts, and by whom nobody knows."""
    own = replace(account, ca_file=None, context=server.client_context)
    run_job(Job(own, tmp_path / "box", None, A_SESSION_EACH)).raise_for_error()
    for _ in range(2):
        connect(account.url, password="password", context=own.context, timeout=20).quit()
    assert len(resumed) >= SESSIONS + 2
    assert not any(resumed)


def secured(context: ssl.SSLContext, port: int, host: str = "localhost") -> ssl.SSLSocket:
    """Return a connection on which the greeting has come, and with it the tickets."""
    sock = _handshake.wrap_socket(context, socket.create_connection(("127.0.0.1", port), 20), host)
    sock.recv(1)
    return sock


def test_another_host_and_another_context_have_handshakes_of_their_own(resumed: list[bool]) -> None:
    with MailboxServer(tls=True) as server:
        first = ssl.create_default_context(cafile=server.certificate)
        second = ssl.create_default_context(cafile=server.certificate)
        for context in (first, second):
            _handshake.may_resume(context)
        for context, host in ((first, "localhost"), (first, "127.0.0.1"), (second, "localhost"), (first, "localhost")):
            with secured(context, server.port, host) as sock:
                _handshake.keep(sock, host)
    assert resumed == [False, False, False, True]


def test_a_session_is_not_kept_where_nobody_has_said_so(resumed: list[bool]) -> None:
    with MailboxServer(tls=True) as server:
        context = ssl.create_default_context(cafile=server.certificate)
        for _ in range(2):
            with secured(context, server.port) as sock:
                _handshake.keep(sock, "localhost")
    assert resumed == [False, False]


def test_who_has_taken_the_place_of_a_server_is_verified(resumed: list[bool]) -> None:
    """It does not know the session, so it has to show its certificate; and the next handshake is a full one."""
    with MailboxServer(tls=True) as server, MailboxServer(tls=True, certificate=SELF_SIGNED) as other:
        context = ssl.create_default_context(cafile=server.certificate)
        _handshake.may_resume(context)
        with secured(context, server.port) as sock:
            _handshake.keep(sock, "localhost")
        with pytest.raises(ssl.SSLCertVerificationError):
            secured(context, other.port)
        secured(context, server.port).close()
    assert resumed == [False, False]
