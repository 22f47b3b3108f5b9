"""The ways in which programs use poplib, also those that its documentation does not name.

Each test is one such way, made small; what it needs must keep working after ``import pop3fast as poplib``. Owns no
expectation about octets and framing: the transcripts are as plain as can be.
"""

import base64
import contextlib
import email
import email.parser
import email.policy
import poplib
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import pop3fast
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer

HELLO = b"+OK ready\r\n"
OK = b"+OK\r\n"
LINES = [b"Subject: hello", b"", b"Hello.", b".", b""]
MESSAGE = b"+OK\r\nSubject: hello\r\n\r\nHello.\r\n..\r\n\r\n.\r\n"
OCTETS = len(b"\r\n".join(LINES)) + 2
RETRIEVED = (b"+OK", LINES, OCTETS)


# Hooks.


def test_a_program_that_logs_every_line_overrides_getline() -> None:
    class Logged(pop3fast.POP3):
        log: list[bytes]

        def __init__(self, host: str, port: int) -> None:
            self.log = []
            super().__init__(host, port)

        def _getline(self) -> tuple[bytes, int]:
            line, octets = super()._getline()
            self.log.append(line)
            return line, octets

    with ScriptedServer(HELLO, [MESSAGE, OK]) as server:
        pop = Logged(*server.address)
        assert pop.retr(1) == RETRIEVED
        assert pop.noop() == b"+OK"
        pop.quit()
    assert pop.log == [b"+OK ready", b"+OK", *LINES[:3], b"..", b"", b".", b"+OK", b"+OK bye"]


def test_a_program_that_logs_what_it_sends_overrides_putline_or_putcmd() -> None:
    class Logged(pop3fast.POP3):
        log: list[bytes | str]

        def _putline(self, line: bytes) -> None:
            self.log.append(line)
            super()._putline(line)

        def _putcmd(self, line: str) -> None:
            self.log.append(line)
            super()._putcmd(line)

    with ScriptedServer(HELLO, [MESSAGE, OK]) as server:
        pop = Logged(*server.address)
        pop.log = []
        assert pop.retr(1) == RETRIEVED
        pop.dele(1)
        pop.quit()
    assert pop.log == ["RETR 1", b"RETR 1", "DELE 1", b"DELE 1", "QUIT", b"QUIT"]
    assert server.commands == [b"RETR 1", b"DELE 1", b"QUIT"]


def test_a_program_with_its_own_exceptions_overrides_getresp() -> None:
    class Refused(Exception):  # noqa: N818 - the name is the program's
        pass

    class Translating(pop3fast.POP3):
        def _getresp(self) -> bytes:
            try:
                return super()._getresp()
            except poplib.error_proto as error:
                raise Refused(error.args[0]) from error

    with ScriptedServer(HELLO, [b"-ERR no such message\r\n", b"-ERR no\r\n", MESSAGE]) as server:
        pop = Translating(*server.address)
        with pytest.raises(Refused, match="no such message"):
            pop.retr(9)
        with pytest.raises(Refused, match="no"):
            pop.dele(9)
        assert pop.retr(1) == RETRIEVED
        pop.quit()


def test_a_program_with_its_own_loops_overrides_getresp_and_getlongresp() -> None:
    class Stripped(pop3fast.POP3):
        def _getresp(self) -> bytes:
            response, _ = self._getline()
            if not response.startswith(b"+"):
                raise poplib.error_proto(response)
            return response.strip()

        def _getlongresp(self) -> tuple[bytes, list[bytes], int]:
            response = self._getresp()
            lines = [line.removeprefix(b".") for line, _ in iter(self._getline, (b".", 3))]
            return response, lines, sum(map(len, lines))

    with ScriptedServer(b"+OK ready \r\n", [b"-ERR no \r\n", MESSAGE, b"-ERR no\r\n", b"+OK \r\n"]) as server:
        pop = Stripped(*server.address)
        assert pop.getwelcome() == b"+OK ready"
        with pytest.raises(poplib.error_proto) as caught:
            pop.retr(9)
        assert caught.value.args == (b"-ERR no ",)
        assert pop.retr(1) == (b"+OK", LINES, sum(map(len, LINES)))
        with pytest.raises(poplib.error_proto):
            pop.dele(9)
        assert pop.noop() == b"+OK"
        pop.quit()


def test_a_program_with_a_progress_bar_overrides_getlongresp() -> None:
    class Counting(pop3fast.POP3):
        octets = 0

        def _getlongresp(self) -> tuple[bytes, list[bytes], int]:
            response, lines, octets = super()._getlongresp()
            self.octets += octets
            return response, lines, octets

    with ScriptedServer(HELLO, [b"+OK\r\n1 30\r\n.\r\n", MESSAGE]) as server:
        pop = Counting(*server.address)
        pop.list()
        assert pop.retr(1) == RETRIEVED
        pop.quit()
    assert pop.octets == len(b"1 30\r\n") + OCTETS


def test_a_program_that_binds_its_own_address_overrides_create_socket() -> None:
    class Bound(pop3fast.POP3):
        def _create_socket(self, timeout: float | None) -> socket.socket:
            return socket.create_connection((self.host, self.port), timeout, source_address=("127.0.0.2", 0))

    with ScriptedServer(HELLO, [MESSAGE]) as server:
        pop = Bound(server.host, server.port, 10)
        assert pop.sock.getsockname()[0] == "127.0.0.2"
        assert pop.sock.gettimeout() == 10
        assert pop.retr(1) == RETRIEVED
        pop.quit()


def test_a_profiler_replaces_a_hook_on_one_object() -> None:
    with ScriptedServer(HELLO, [MESSAGE]) as server:
        pop = pop3fast.POP3(*server.address)
        with mock.patch.object(pop, "_getline", wraps=pop._getline) as getline:
            assert pop.retr(1) == RETRIEVED
        assert getline.call_count == len(LINES) + 2
        pop.quit()


def test_a_monkey_patch_replaces_a_hook_on_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = pop3fast.POP3._getline

    def patched(self: pop3fast.POP3) -> tuple[bytes, int]:
        line, octets = original(self)
        seen.append(line)
        return line, octets

    with ScriptedServer(HELLO, [MESSAGE]) as server:
        pop = pop3fast.POP3(*server.address)
        monkeypatch.setattr(pop3fast.POP3, "_getline", patched)
        assert pop.retr(1) == RETRIEVED
        pop.quit()
    assert seen == [b"+OK", *LINES[:3], b"..", b"", b".", b"+OK bye"]


def test_a_tunnel_connects_by_itself_and_never_calls_super_init() -> None:
    class Tunnelled(pop3fast.POP3):
        def __init__(self, sock: socket.socket) -> None:
            self.sock = sock
            self.file = sock.makefile("rb")
            self._debugging = 0
            self.welcome = self._getresp()

    with ScriptedServer(HELLO, [b"+OK 1 30\r\n", MESSAGE, b"-ERR no\r\n", OK]) as server:
        pop = Tunnelled(socket.create_connection(server.address, timeout=10))
        assert pop.getwelcome() == b"+OK ready"
        assert pop.stat() == (1, 30)
        assert pop.retr(1) == RETRIEVED
        with pytest.raises(poplib.error_proto, match="no"):
            pop.top(2, 0)
        assert pop.dele(1) == b"+OK"
        assert pop.quit() == b"+OK bye"


def test_a_mail_gateway_has_one_mixin_for_both_classes() -> None:
    class Patient(pop3fast.POP3):
        attempts = 0

        def stat(self) -> tuple[int, int]:
            self.attempts += 1
            return super().stat()

    class PatientTLS(Patient, pop3fast.POP3_SSL):
        pass

    with ScriptedServer(HELLO, [b"+OK 1 30\r\n", MESSAGE], tls=True) as server:
        pop = PatientTLS(*server.address, context=server.client_context)
        assert isinstance(pop.sock, ssl.SSLSocket)
        assert pop.stat() == (1, 30)
        assert pop.retr(1) == RETRIEVED
        assert pop.attempts == 1
        with pytest.raises(poplib.error_proto, match="TLS session already established"):
            pop.stls()
        pop.quit()


# Commands by hand.


def test_a_patched_maxline_is_the_limit_of_a_line_that_is_read_on_its_own() -> None:
    too_long = b"+OK " + b"x" * 100 + b"\r\n"
    with ScriptedServer(HELLO, [too_long, OK]) as server, mock.patch.object(pop3fast, "_MAXLINE", 50):
        pop = pop3fast.POP3(*server.address)
        with pytest.raises(poplib.error_proto) as caught:
            pop.noop()
        assert caught.value.args == ("line too long",)
        # poplib would take the rest of that line for the next command's reply.
        with pytest.raises(pop3fast.ProtocolError):
            pop.dele(1)
        pop.close()
    assert server.commands == [b"NOOP"]

    with ScriptedServer(HELLO, [too_long]) as server, mock.patch.object(pop3fast, "_MAXLINE", 50):
        pop = pop3fast.POP3(*server.address)
        pop._putcmd("XTND")
        with pytest.raises(poplib.error_proto) as caught:
            pop._getline()
        assert caught.value.args == ("line too long",)
        pop.close()


def test_a_patched_maxline_is_no_limit_for_the_lines_of_a_message() -> None:
    long_line = b"x" * 5000
    with ScriptedServer(HELLO, [b"+OK\r\n" + long_line + b"\r\n.\r\n"]) as server:
        with mock.patch.object(pop3fast, "_MAXLINE", 50):
            pop = pop3fast.POP3(*server.address)
            assert pop.retr(1) == (b"+OK", [long_line], 5002)
        pop.quit()


def test_a_program_with_a_mechanism_of_its_own_says_auth_with_shortcmd() -> None:
    initial = base64.b64encode(b"\0wilma\0tanstaaf").decode()
    with ScriptedServer(HELLO, [b"+OK welcome\r\n"]) as server:
        pop = pop3fast.POP3(*server.address)
        assert pop._shortcmd(f"AUTH PLAIN {initial}") == b"+OK welcome"
        pop.quit()
    assert server.commands == [b"AUTH PLAIN " + initial.encode(), b"QUIT"]


def test_a_retriever_logs_in_by_xoauth2_in_two_steps() -> None:
    token = base64.b64encode(b"user=wilma\1auth=Bearer t0ken\1\1").decode()
    with ScriptedServer(HELLO, [b"+ \r\n", b"+OK welcome\r\n", b"+\r\n", b"-ERR bad token\r\n"]) as server:
        pop = pop3fast.POP3(*server.address)
        assert pop._shortcmd("AUTH XOAUTH2") == b"+ "
        assert pop._shortcmd(token) == b"+OK welcome"
        assert pop._shortcmd("AUTH XOAUTH2") == b"+"
        with pytest.raises(poplib.error_proto, match="bad token"):
            pop._shortcmd(token)
        pop.quit()
    assert server.commands == [b"AUTH XOAUTH2", token.encode()] * 2 + [b"QUIT"]


def test_a_program_gives_a_servers_own_command_with_longcmd() -> None:
    with ScriptedServer(HELLO, [b"+OK\r\n1 Subject: hello\r\n.\r\n"]) as server:
        pop = pop3fast.POP3(*server.address)
        assert pop._longcmd("XTND XLST Subject") == (b"+OK", [b"1 Subject: hello"], 18)
        pop.quit()
    assert server.commands[0] == b"XTND XLST Subject"


def test_a_program_in_a_hurry_pipelines_by_hand_with_putcmd() -> None:
    with ScriptedServer(HELLO, [MESSAGE, b"-ERR no such message\r\n", MESSAGE, OK, OK]) as server:
        pop = pop3fast.POP3(*server.address)
        for number in (1, 2, 3):
            pop._putcmd(f"RETR {number}")
        assert pop._getlongresp() == RETRIEVED
        with pytest.raises(poplib.error_proto, match="no such message"):
            pop._getlongresp()
        assert pop._getlongresp() == RETRIEVED
        pop._putcmd("DELE 1")
        pop._putcmd("DELE 3")
        assert [pop._getresp(), pop._getresp()] == [b"+OK", b"+OK"]
        pop.quit()
    assert server.commands[3:] == [b"DELE 1", b"DELE 3", b"QUIT"]


def test_a_spooler_reads_a_message_from_file_line_by_line() -> None:
    with ScriptedServer(HELLO, [MESSAGE, MESSAGE, OK]) as server:
        pop = pop3fast.POP3(*server.address)
        for _ in range(2):
            assert pop._shortcmd("RETR 1") == b"+OK"
            assert b"".join(iter(pop.file.readline, b".\r\n")) == MESSAGE[5:-3]
        assert pop.noop() == b"+OK"
        pop.quit()


def test_a_program_reads_a_status_line_from_file() -> None:
    with ScriptedServer(HELLO, [b"+OK by hand\r\n", MESSAGE]) as server:
        pop = pop3fast.POP3(*server.address)
        pop._putcmd("NOOP")
        assert pop.file.readline() == b"+OK by hand\r\n"
        assert pop.retr(1) == RETRIEVED
        pop.quit()


# Types, names, and how methods are called.


def test_a_program_asks_whether_it_is_a_pop3() -> None:
    with ScriptedServer(HELLO) as server:
        pop = pop3fast.POP3(*server.address)
        assert isinstance(pop, poplib.POP3)
        assert not isinstance(pop, poplib.POP3_SSL)
        pop.quit()


def test_a_program_catches_poplibs_exception() -> None:
    caught = []
    with ScriptedServer(HELLO, [b"-ERR no such message\r\n", b"gibberish\r\n"]) as server:
        pop = pop3fast.POP3(*server.address)
        for _ in range(3):
            try:
                pop.dele(9)
            except poplib.error_proto as error:
                caught.append(error)
        pop.close()
    assert [error.args for error in caught[:2]] == [(b"-ERR no such message",), (b"gibberish",)]
    assert isinstance(caught[2], pop3fast.ProtocolError)


def test_a_program_names_its_arguments_and_has_its_numbers_as_text() -> None:
    replies = [OK, OK, OK, OK, OK, MESSAGE, MESSAGE, b"+OK 1 30\r\n", b"+OK 1 uid\r\n", b"+OK 2 31\r\n", OK]
    with ScriptedServer(b"+OK <1@a.b>\r\n", replies) as server:
        pop = pop3fast.POP3(host=server.host, port=server.port, timeout=10)
        pop.user(user="wilma")
        pop.pass_(pswd="tanstaaf")
        pop.apop(user="wilma", password="tanstaaf")
        pop.rpop(user="wilma")
        pop.dele(which="3")
        assert pop.retr(which="1") == RETRIEVED
        assert pop.top(which="1", howmuch="0") == RETRIEVED
        assert pop.list(which="1") == b"+OK 1 30"
        assert pop.uidl(which="1") == b"+OK 1 uid"
        assert pop.list("2") == b"+OK 2 31"
        pop.dele(4)
        pop.quit()
    assert server.commands[4:] == [
        *(b"DELE 3", b"RETR 1", b"TOP 1 0", b"LIST 1", b"UIDL 1"),
        *(b"LIST 2", b"DELE 4", b"QUIT"),
    ]


def test_a_ticket_system_walks_over_the_maildrop_and_parses_the_lines() -> None:
    mail = b"From: wilma@example.org\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\nfirst\r\n.second\r\n"
    with MailboxServer([mail, mail], user="wilma", password="tanstaaf") as server:
        pop = pop3fast.POP3(server.host, server.port)
        pop.user("wilma")
        pop.pass_("tanstaaf")
        messages = []
        for index in range(len(pop.list()[1])):
            _, lines, octets = pop.retr(index + 1)
            assert octets == len(mail)
            messages.append(email.parser.BytesParser(policy=email.policy.default).parsebytes(b"\r\n".join(lines)))
            assert email.message_from_bytes(b"\n".join(lines)).get_payload() == "first\n.second"
            pop.dele(index + 1)
        pop.quit()
        assert server.deleted == [1, 2]
    assert [message["subject"] for message in messages] == ["café", "café"]
    assert messages[0].get_content() == "first\r\n.second"


def test_a_program_for_an_old_server_has_user_names_in_latin_1() -> None:
    with ScriptedServer(HELLO, [OK]) as server:
        pop = pop3fast.POP3(*server.address)
        pop.encoding = "latin-1"
        pop.user("zoë")
        pop.quit()
    assert server.commands[0] == b"USER zo\xeb"


INSTALLED = """
import sys
import pop3fast
pop3fast.install_as_poplib()
import poplib
from poplib import POP3, POP3_SSL, error_proto
assert poplib is pop3fast
assert POP3 is pop3fast.POP3 and POP3_SSL is pop3fast.POP3_SSL
assert issubclass(error_proto, Exception)
pop = poplib.POP3("127.0.0.1", int(sys.argv[1]))
print(type(pop).__module__.partition(".")[0], pop.stat(), pop.quit())
"""


def test_a_program_that_cannot_be_changed_gets_pop3fast_for_poplib(tmp_path: Path) -> None:
    with ScriptedServer(HELLO, [b"+OK 1 30\r\n"]) as server:
        done = subprocess.run(
            [sys.executable, "-c", INSTALLED, str(server.port)],
            capture_output=True,
            check=False,
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(pop3fast.__file__).parent.parent)},
            text=True,
            timeout=30,
        )
    assert done.stderr == ""
    assert done.stdout == "pop3fast (1, 30) b'+OK bye'\n"


def test_a_debugger_finds_the_state_in_the_objects_dict() -> None:
    with ScriptedServer(HELLO) as server:
        pop = pop3fast.POP3(*server.address)
        known = {"host", "port", "sock", "file", "welcome", "_debugging", "_tls_established"}
        assert known <= set(vars(pop))
        assert vars(pop)["welcome"] == b"+OK ready"
        assert (pop.host, pop.port, pop._debugging, pop._tls_established) == (*server.address, 0, False)
        assert pop.encoding == "UTF-8"
        pop.quit()
    with ScriptedServer(HELLO, tls=True) as server:
        tls = pop3fast.POP3_SSL(*server.address, context=server.client_context)
        assert vars(tls)["context"] is server.client_context
        tls.quit()


def test_a_program_looks_at_sock_to_see_whether_it_is_connected() -> None:
    with ScriptedServer(HELLO) as server:
        pop = pop3fast.POP3(*server.address)
        assert pop.sock is not None
        pop.quit()
        assert vars(pop)["sock"] is None
        assert vars(pop)["file"] is None

        pop = pop3fast.POP3(*server.address)
        with contextlib.closing(pop):
            pass
        assert vars(pop)["sock"] is None
        assert vars(pop)["file"] is None
        pop.close()
    assert server.commands == [b"QUIT"]
