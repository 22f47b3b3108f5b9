"""MailboxServer's life: its start and stop, in this process and its own, with nothing left behind; its arguments."""

import os
import poplib
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import pop3fast.testing
from pop3fast.testing import MailboxServer, RepeatedMessage
from rawpop import HELLO, LOGIN, SHORT, answers, session

# A process of its own


def test_in_its_own_process_everything_works_and_can_be_inspected() -> None:
    with MailboxServer([HELLO, RepeatedMessage(b"x\r\n", 3), SHORT], process=True, stls=True) as server:
        with session(server) as pop:
            assert pop.retr(2)[1] == [b"x"] * 3
            pop.dele(1)
            pop.quit()
        assert server.deleted == [1]
        with closing(poplib.POP3(*server.address, timeout=10)) as pop:
            pop.stls(server.client_context)
    assert server.deleted == [1]
    assert server.remaining == [2, 3]
    assert server.commands == [b"USER user", b"PASS password", b"RETR 2", b"DELE 1", b"QUIT", b"CAPA", b"STLS"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address, timeout=10)


def test_its_own_process_does_not_outlive_the_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import os
        from pop3fast.testing import MailboxServer
        server = MailboxServer(process=True).start()
        print(server.port, flush=True)
        os._exit(7)  # no stop(), no finally, no atexit
        """)
    )
    ended = subprocess.run([sys.executable, program], stdout=subprocess.PIPE, check=False, timeout=30)
    assert ended.returncode == 7
    with suppress(ConnectionRefusedError):
        while True:  # until it listens no more; pytest ends it otherwise
            socket.create_connection(("127.0.0.1", int(ended.stdout)), timeout=10).close()
            time.sleep(0.01)


def test_a_server_process_that_dies_is_reported() -> None:
    server = MailboxServer(process=True).start()
    child = server._server._child._process  # type: ignore[union-attr] # there is no public way to it, nor a use for one
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="has failed, with status -9"):
        server.stop()
    server.stop()


def test_control_c_on_the_terminal_leaves_the_server_to_its_parent() -> None:
    with MailboxServer(process=True) as server:
        os.kill(server._server._child._process.pid, signal.SIGINT)  # type: ignore[union-attr] # see above
        with session(server) as pop:
            assert pop.stat() == (0, 0)


def test_a_server_process_that_cannot_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="ended with status 1 before it was ready"):
        MailboxServer(process=True).start()


# Start and stop


def in_the_greeting(_sock: socket.socket) -> None:
    """Do nothing: the server's thread has greeted, and waits for a command."""


def in_a_large_reply(sock: socket.socket) -> None:
    """Ask for more than all buffers hold, and do not read it."""
    sock.sendall(LOGIN + b"RETR 1\r\n" * 10)


def in_a_command(sock: socket.socket) -> None:
    """Send half a command."""
    sock.sendall(b"USE")


def after_quit(sock: socket.socket) -> None:
    """Say QUIT and keep the connection open."""
    sock.sendall(b"QUIT\r\n")


@pytest.mark.parametrize("settings", [{}, {"tls": True}, {"latency": 1e6}, {"process": True}, {"cut_at": 5}], ids=str)
@pytest.mark.parametrize("state", [in_the_greeting, in_a_large_reply, in_a_command, after_quit])
def test_stop_leaves_nothing_behind_whatever_clients_do(
    state: Callable[[socket.socket], None], settings: dict[str, Any]
) -> None:
    before = set(threading.enumerate())
    server = MailboxServer([RepeatedMessage(b"x" * 1000, 50_000)], **settings).start()
    with socket.create_connection(server.address, timeout=10) as sock:
        state(sock)  # under TLS, this is nonsense in place of a handshake, or no handshake at all
        time.sleep(0.02)  # it shall have got there; the claim is true wherever it is
        server.stop()
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address, timeout=10)
    server.stop()


def test_connections_come_and_go_without_their_threads_piling_up() -> None:
    with MailboxServer() as server:
        before = threading.active_count()
        for _ in range(50):
            assert answers(server).endswith(b"+OK bye\r\n")
        while threading.active_count() > before:  # pytest ends it otherwise
            time.sleep(0.005)
        assert threading.active_count() == before


def test_a_server_starts_once_and_has_its_port_only_then() -> None:
    server = MailboxServer()
    with pytest.raises(RuntimeError, match="no port before start"):
        server.port  # noqa: B018
    with server:
        assert server.address == ("127.0.0.1", server.port)
        with pytest.raises(RuntimeError, match="starts once"):
            server.start()
    with pytest.raises(RuntimeError, match="starts once"):
        server.start()


def test_a_server_that_never_started_can_be_stopped() -> None:
    for process in (False, True):
        server = MailboxServer([SHORT], process=process)
        server.stop()
        assert (server.deleted, server.remaining, server.commands) == ([], [1], [])


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"messages": [b"", "text"]}, TypeError, "message 2 is str"),
        ({"messages": [b""], "uids": []}, ValueError, "0 uids for 1 messages"),
        ({"messages": [b""], "uids": ["a\n"]}, ValueError, r"uids: 'a\\n'"),
        ({"capabilities": ["TOP\r\nUIDL"]}, ValueError, "capabilities: "),
        ({"greeting": "+OK \u20ac"}, ValueError, "greeting: "),
        ({"capabilities": "TOP"}, TypeError, "capabilities is a str"),
        ({"unsupported": "UIDL"}, TypeError, "unsupported is a str"),
        ({"unsupported": ["UIDL", "HELO"]}, ValueError, "unsupported: no such commands: HELO"),
        ({"cut_at": -1}, ValueError, "cut_at is at least 0, not -1"),
        ({"cut_with": "scissors"}, ValueError, "cut_with is 'fin' or 'rst', not 'scissors'"),
        ({"cut_connections": -1}, ValueError, "cut_connections is at least 0"),
        ({"latency": -0.1}, ValueError, "latency is at least 0, not -0.1"),
        ({"octets_per_send": 0}, ValueError, "octets_per_send is at least 1, not 0"),
    ],
)
def test_a_senseless_argument_is_named(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        MailboxServer(**arguments)


@pytest.mark.parametrize(
    ("block", "times", "error"), [(b"", 1, ValueError), (b"a", 0, ValueError), ("a", 1, TypeError)]
)
def test_a_repeated_message_of_nothing_is_refused(block: bytes, times: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        RepeatedMessage(block, times)


def test_the_example_in_the_documentation_passes(tmp_path: Path) -> None:
    documentation = pop3fast.testing.__doc__
    assert documentation is not None
    blocks = [block for block in documentation.split("\n\n") if block.startswith("    ")]
    example = tmp_path / "test_example.py"
    example.write_text(textwrap.dedent("\n\n".join(blocks)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(example)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
