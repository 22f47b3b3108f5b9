"""The ways in which programs bring their own sockets and TLS to poplib, and their tests their own mocks.

Each test is one such way, made small; what it needs must keep working after ``import pop3fast as poplib``. Owns no
expectation about octets and framing: the transcripts are as plain as can be.
"""

import importlib.util
import io
import poplib
import re
import socket
import ssl
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import socks  # type: ignore[import-untyped]

import pop3fast
from pop3fast.testing import CERTIFICATE, MailboxServer
from scripted import Reply, ScriptedServer
from socks5 import Socks5, socks_proxy

HELLO = b"+OK ready\r\n"
OK = b"+OK\r\n"
LINES = [b"Subject: hello", b"", b"Hello.", b".", b""]
MESSAGE = b"+OK\r\nSubject: hello\r\n\r\nHello.\r\n..\r\n\r\n.\r\n"
OCTETS = len(b"\r\n".join(LINES)) + 2
RETRIEVED = (b"+OK", LINES, OCTETS)
HERE = Path(__file__)


# Sockets.


def test_a_program_makes_file_anew() -> None:
    with ScriptedServer(HELLO, [MESSAGE, OK, b"-ERR no\r\n", MESSAGE]) as server:
        pop = pop3fast.POP3(*server.address)
        pop.file = pop.sock.makefile("rb")
        assert pop.retr(1) == RETRIEVED
        assert pop.noop() == b"+OK"
        with pytest.raises(poplib.error_proto, match="no"):
            pop.retr(2)
        assert pop.top(1, 10) == RETRIEVED
        pop.quit()


def test_a_program_older_than_stls_turns_tls_on_by_hand() -> None:
    with ScriptedServer(HELLO, [Reply(b"+OK go\r\n", then="tls"), MESSAGE]) as server:
        pop = pop3fast.POP3(*server.address)
        pop._shortcmd("STLS")
        pop.sock = server.client_context.wrap_socket(pop.sock, server_hostname=pop.host)
        pop.file = pop.sock.makefile("rb")
        assert pop.retr(1) == RETRIEVED
        pop.quit()


def test_a_daemon_changes_the_time_out_between_commands() -> None:
    with ScriptedServer(HELLO, [OK, Reply(b"+OK\r\nhalf", then="stall")]) as server:
        pop = pop3fast.POP3(*server.address, timeout=10)
        assert pop.noop() == b"+OK"
        pop.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            pop.retr(1)
        pop.close()


def test_a_program_asks_the_socket_about_its_peer() -> None:
    with MailboxServer(tls=True) as server:
        pop = pop3fast.POP3_SSL(server.host, server.port, context=server.client_context)
        assert pop.sock.getpeername() == server.address
        assert isinstance(pop.sock, ssl.SSLSocket)
        assert str(pop.sock.version()).startswith("TLS")
        assert pop.sock.getpeercert()
        pop.quit()


def test_a_program_behind_a_socks_proxy_wraps_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(HELLO, [MESSAGE]) as server, socks_proxy() as (proxy, asked):
        monkeypatch.setattr(socks.socksocket, "default_proxy", None)
        socks.set_default_proxy(socks.SOCKS5, *proxy)
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Socks5.direct)  # wrap_module never takes its wrapping back
            socks.wrap_module(pop3fast)
            pop = pop3fast.POP3(*server.address, timeout=10)
        assert isinstance(pop.sock, socks.socksocket)
        assert pop.retr(1) == RETRIEVED
        pop.quit()
    assert asked == [server.address]


def test_a_program_gives_the_module_another_socket_module(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def create_connection(address: tuple[str, int], *arguments: Any, **keywords: Any) -> socket.socket:  # noqa: ANN401
        calls.append(address)
        return socket.create_connection(address, *arguments, **keywords)

    stand_in = types.ModuleType("stand_in")
    vars(stand_in).update(vars(socket), create_connection=create_connection)
    monkeypatch.setattr(pop3fast, "socket", stand_in)
    with ScriptedServer(HELLO, [MESSAGE]) as server:
        pop = pop3fast.POP3(*server.address)
        assert pop.retr(1) == RETRIEVED
        pop.quit()
    assert calls == [server.address]


# What programs' own tests do.


def test_a_programs_tests_give_a_mock_socket_with_a_file_of_replies() -> None:
    sock = mock.MagicMock()
    sock.makefile.return_value = io.BytesIO(
        HELLO + b"+OK 1 30\r\n" + MESSAGE + b"-ERR no\r\n" + MESSAGE + b"+OK bye\r\n"
    )
    with mock.patch("pop3fast.socket.create_connection", return_value=sock) as create_connection:
        pop = pop3fast.POP3("pop.example", timeout=7)
    create_connection.assert_called_once_with(("pop.example", 110), 7)
    assert pop.stat() == (1, 30)
    assert pop.retr(1) == RETRIEVED
    with pytest.raises(poplib.error_proto):
        pop.retr(2)
    assert pop.top("1", "10") == RETRIEVED
    assert pop.quit() == b"+OK bye"
    sent = [call.args[0] for call in sock.sendall.call_args_list]
    assert sent == [b"STAT\r\n", b"RETR 1\r\n", b"RETR 2\r\n", b"TOP 1 10\r\n", b"QUIT\r\n"]
    sock.close.assert_called_once_with()


@pytest.mark.parametrize("name", ["POP3", "POP3_SSL"])
def test_a_programs_tests_give_an_autospecced_class(name: str) -> None:
    with mock.patch(f"pop3fast.{name}", autospec=True) as mocked:
        mocked.return_value.stat.return_value = (1, 30)
        mocked.return_value.retr.return_value = RETRIEVED
        pop = getattr(pop3fast, name)("pop.example", port=1110, timeout=10)
        assert pop.stat() == (1, 30)
        assert pop.retr(which=1) == RETRIEVED
        pop.list(which="1")
        pop.top(1, howmuch=0)
        pop.pass_(pswd="tanstaaf")
        with pytest.raises(TypeError):
            pop.retr()
        with pytest.raises(AttributeError):
            pop.no_such_command()
        with pytest.raises(TypeError):
            getattr(pop3fast, name)("pop.example", no_such="argument")
    mocked.assert_any_call("pop.example", port=1110, timeout=10)


# TLS, time-outs, and the end.


def test_a_program_with_a_client_certificate_gives_keyfile_and_certfile() -> None:
    with ScriptedServer(HELLO, [OK], tls=True) as server:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            pop = pop3fast.POP3_SSL(*server.address, keyfile=str(CERTIFICATE), certfile=str(CERTIFICATE))
        line = _line_of("keyfile=str(CERTIFICATE), certfile=str(CERTIFICATE))")
        assert {(Path(one.filename), one.lineno) for one in warned} == {(HERE, line)}
        assert [one.category for one in warned] == [DeprecationWarning, pop3fast.InsecureTLSWarning]
        assert pop.noop() == b"+OK"
        pop.quit()


@pytest.mark.parametrize("name", ["keyfile", "certfile"])
def test_a_client_certificate_and_a_context_exclude_each_other(name: str) -> None:
    arguments: dict[str, Any] = {name: str(CERTIFICATE), "context": ssl.create_default_context()}
    with pytest.raises(ValueError, match=f"context and {name} arguments are mutually exclusive"):
        pop3fast.POP3_SSL("127.0.0.1", 1, **arguments)


def _line_of(text: str) -> int:
    """Return the number of the only line of this file that has *text*, apart from the one that asks."""
    lines = HERE.read_text(encoding="utf-8").splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if text in line and "_line_of" not in line]
    return number


def test_a_program_without_a_context_is_warned_at_its_own_line() -> None:
    class Mine(pop3fast.POP3_SSL):
        def __init__(self, host: str, port: int) -> None:
            super().__init__(host, port)  # the subclass

    with ScriptedServer(HELLO, tls=True) as server, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        pop3fast.POP3_SSL(*server.address).quit()  # the class
        Mine(*server.address).quit()
    offered: list[bytes | Reply] = [b"+OK\r\nSTLS\r\n.\r\n", Reply(b"+OK go\r\n", then="tls")]
    with ScriptedServer(HELLO, offered) as server, warnings.catch_warnings(record=True) as warned_by_stls:
        warnings.simplefilter("always")
        pop = pop3fast.POP3(*server.address)
        pop.stls()  # the method
        assert pop._tls_established
        pop.quit()
    told = [(one.category, Path(one.filename), one.lineno) for one in warned + warned_by_stls]
    places = [_line_of(f"  # the {place}") for place in ("class", "subclass", "method")]
    assert told == [(pop3fast.InsecureTLSWarning, HERE, line) for line in places]
    assert all(re.search(r"context=ssl\.create_default_context\(\)", str(one.message)) for one in warned)


def test_a_program_with_a_context_is_not_warned() -> None:
    offered: list[bytes | Reply] = [b"+OK\r\nSTLS\r\n.\r\n", Reply(b"+OK go\r\n", then="tls"), MESSAGE]
    with ScriptedServer(HELLO, offered) as server:  # warnings are errors
        pop = pop3fast.POP3(*server.address)
        assert pop.stls(context=server.client_context) == b"+OK go"
        assert pop._tls_established
        assert pop.retr(1) == RETRIEVED
        pop.quit()


@pytest.mark.parametrize("cls", [pop3fast.POP3, pop3fast.POP3_SSL])
def test_a_program_with_a_time_out_of_zero_is_told_so(cls: type[pop3fast.POP3]) -> None:
    keywords: dict[str, Any] = {"context": ssl.create_default_context()} if issubclass(cls, poplib.POP3_SSL) else {}
    with mock.patch.object(socket, "create_connection") as create_connection:
        with pytest.raises(ValueError, match="timeout=0"):
            cls("127.0.0.1", 1, timeout=0, **keywords)
        create_connection.assert_not_called()


# What is only like a socket.


class Recorded(socket.socket):
    """A socket with a makefile of its own: a program's, or a tunnel's."""

    def makefile(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        return io.BytesIO(HELLO + MESSAGE + b"+OK bye\r\n")

    def sendall(self, *_: object) -> None:
        """Lose what is sent."""


def with_file(sock: Any) -> Any:  # noqa: ANN401
    sock.makefile.return_value = io.BytesIO(HELLO + MESSAGE + b"+OK bye\r\n")
    return sock


FAKES: dict[str, Callable[[], Any]] = {
    "Mock": lambda: with_file(mock.Mock(spec=socket.socket)),
    "MagicMock": lambda: with_file(mock.MagicMock(spec=socket.socket)),
    "NonCallableMock": lambda: with_file(mock.NonCallableMock(spec=socket.socket)),
    "TLS": lambda: with_file(mock.Mock(spec=ssl.SSLSocket)),
    "spec_set": lambda: with_file(mock.Mock(spec_set=socket.socket)),
    "autospec": lambda: with_file(mock.create_autospec(socket.socket, instance=True)),
    "autospec called": lambda: with_file(mock.create_autospec(socket.socket)()),
    "subclass": Recorded,
}


@pytest.mark.parametrize("fake", FAKES.values(), ids=FAKES)
def test_what_is_only_like_a_socket_is_used_as_poplib_uses_it(fake: Callable[[], Any]) -> None:
    for module in (poplib, pop3fast):
        with mock.patch("socket.create_connection", return_value=fake()):
            pop = module.POP3("pop.example", timeout=7)
        assert pop.retr(1) == RETRIEVED
        assert pop.quit() == b"+OK bye"


def test_a_programs_tests_put_a_class_of_their_own_in_the_place_of_every_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "socket", Recorded)
    monkeypatch.setattr(socket, "create_connection", lambda *_: Recorded())
    pop = pop3fast.POP3("pop.example")
    assert pop.retr(1) == RETRIEVED
    assert pop.quit() == b"+OK bye"


GREEN = """
import sys
{patch}
import pop3fast, poplib
from pop3fast._stream import ReplyStream
pop = pop3fast.POP3("127.0.0.1", int(sys.argv[1]), timeout=10)
assert type(pop.file) is ReplyStream, type(pop.sock)
kind = f"{{type(pop.sock).__module__}}.{{type(pop.sock).__qualname__}}"
import ssl
import subprocess
import sys
context = ssl._create_unverified_context()
pop.stls(context)
assert type(pop.file) is ReplyStream, type(pop.sock)
pop.user("user"); pop.pass_("password")
assert len(list(pop.retr_many())) == 50
pop.quit()
print(kind)
"""


@pytest.mark.parametrize(
    ("package", "patch"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()"),
        ("gevent", "import pop3fast; from gevent import monkey; monkey.patch_all()"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()"),
    ],
)
def test_green_sockets_are_as_fast_as_pythons(package: str, patch: str) -> None:
    # Not importorskip: eventlet, once imported, warns at every later fork of this process.
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    with MailboxServer([b"x\r\n"] * 50, stls=True, process=True) as server:
        program = GREEN.format(patch=patch)
        command = [sys.executable, "-W", "ignore", "-c", program, str(server.port)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(package)


# TLS, as programs and administrators make it verify.


def test_a_program_makes_every_context_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "_create_stdlib_context", ssl.create_default_context)
    offered: list[bytes | Reply] = [b"+OK\r\nSTLS\r\n.\r\n", Reply(b"+OK go\r\n", then="tls")]
    with ScriptedServer(HELLO, tls=True) as server:  # and warnings are errors
        with pytest.raises(ssl.SSLCertVerificationError):
            pop3fast.POP3_SSL(*server.address)
        monkeypatch.setattr(ssl, "_create_stdlib_context", lambda: server.client_context)
        pop3fast.POP3_SSL(*server.address).quit()
    monkeypatch.setattr(ssl, "_create_stdlib_context", ssl.create_default_context)
    with ScriptedServer(HELLO, offered) as server:
        pop = pop3fast.POP3(*server.address)
        with pytest.raises(ssl.SSLCertVerificationError):
            pop.stls()
        pop.close()


@pytest.mark.parametrize("wrong", [30, 30.5, ssl.create_default_context()])
def test_a_time_out_or_a_context_in_the_place_of_a_file_is_a_type_error_that_says_so(wrong: Any) -> None:  # noqa: ANN401
    with mock.patch.object(socket, "create_connection") as create_connection:
        with pytest.raises(TypeError, match=r"keyfile is a path, not .*timeout= and context= are given by name"):
            pop3fast.POP3_SSL("127.0.0.1", 995, wrong)
        with pytest.raises(TypeError, match="certfile is a path"):
            pop3fast.POP3_SSL("127.0.0.1", 995, None, wrong)
        create_connection.assert_not_called()


def test_a_key_without_its_certificate_is_an_error_as_in_poplib() -> None:
    with (
        pytest.warns(DeprecationWarning, match="deprecated"),
        pytest.raises(ValueError, match="certfile must be specified"),
    ):
        pop3fast.POP3_SSL("127.0.0.1", 995, keyfile=str(CERTIFICATE))
