"""How sessions end, what errors say, and what is never sent: the part of POP3 that is ours and not poplib's.

The drop-in part has its own tests (parity, programs); replies that go wrong have theirs (every octet, quirks, limits).
"""

import io
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from pop3fast import POP3, POP3_SSL, AuthenticationError, CommandError, ProtocolError, error_proto
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import CONTENT, GREETING, MESSAGE, assert_broken, connect, is_closed
from waiting import wait_until

RETR = b"+OK\r\n" + MESSAGE + b".\r\n"
NO = b"-ERR no\r\n"


# The end of a session.


def test_a_with_block_that_ends_well_ends_the_session_with_quit() -> None:
    with MailboxServer([b"a\r\n"]) as server:
        with POP3(server.host, server.port, timeout=5) as pop:
            assert isinstance(pop, POP3)
            pop.user(server.user)
            pop.pass_(server.password)
            pop.dele(1)
        assert is_closed(pop)
        assert server.commands[-1] == b"QUIT"
        assert server.deleted == [1]


def delete_and_raise(pop: POP3, error: type[BaseException]) -> None:
    pop.dele(1)
    raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_with_block_that_ends_with_an_exception_commits_nothing(error: type[BaseException]) -> None:
    with MailboxServer([b"a\r\n"]) as server:
        pop = POP3(server.host, server.port, timeout=5)
        pop.user(server.user)
        pop.pass_(server.password)
        with pytest.raises(error), pop:
            delete_and_raise(pop, error)
        assert is_closed(pop)
        wait_until(lambda: server.remaining == [1])
        assert b"QUIT" not in server.commands
        assert server.deleted == []


def test_a_with_block_in_which_a_command_was_refused_and_caught_ends_well() -> None:
    with ScriptedServer(GREETING, [NO, b"+OK bye\r\n"]) as server:
        with connect(server) as pop, pytest.raises(CommandError):
            pop.retr(1)
        assert server.commands == [b"RETR 1", b"QUIT"]


def test_a_with_block_on_a_broken_connection_gives_no_quit_and_no_second_error() -> None:
    with ScriptedServer(GREETING, [b"nonsense\r\n"]) as server:
        with connect(server) as pop, pytest.raises(ProtocolError):
            pop.dele(1)
        assert is_closed(pop)
        assert server.commands == [b"DELE 1"]


@pytest.mark.parametrize(("end", "sent"), [("quit", [b"QUIT"]), ("close", [])])
def test_a_with_block_in_which_the_session_was_ended_ends_it_once(end: str, sent: list[bytes]) -> None:
    with ScriptedServer(GREETING, [b"+OK bye\r\n"]) as server:
        with connect(server) as pop:
            getattr(pop, end)()
        assert server.commands == sent


@pytest.mark.parametrize("reply", [b"-ERR [SYS/TEMP] not all deleted\r\n", Reply(then="fin"), b"what?\r\n"])
def test_a_with_block_whose_quit_fails_says_so_and_closes(reply: bytes | Reply) -> None:
    with ScriptedServer(GREETING, [reply]) as server:
        with pytest.raises(error_proto), connect(server) as pop:
            pass
        assert is_closed(pop)


def test_a_with_block_with_left_over_octets_gives_no_quit() -> None:
    with ScriptedServer(GREETING, [b"+OK\r\n+OK forged\r\n"]) as server:
        with pytest.raises(ProtocolError, match="nothing had asked for"), connect(server) as pop:
            pop.dele(1)
        assert is_closed(pop)
        assert server.commands == [b"DELE 1"]


def test_quit_returns_the_response_and_closes() -> None:
    with ScriptedServer(GREETING, [b"+OK bye bye\r\n"]) as server, closing(connect(server)) as pop:
        assert pop.quit() == b"+OK bye bye"
        assert is_closed(pop)


def test_a_quit_that_is_refused_leaves_the_connection_open_as_poplib_does() -> None:
    with ScriptedServer(GREETING, [NO, b"+OK\r\n"]) as server, closing(connect(server)) as pop:
        with pytest.raises(CommandError) as caught:
            pop.quit()
        assert caught.value.command == "QUIT"
        assert pop.noop() == b"+OK"


def test_quit_on_a_broken_connection_closes_it_and_says_that_nothing_was_committed() -> None:
    with ScriptedServer(GREETING, [b"nonsense\r\n"]) as server, closing(connect(server)) as pop:
        with pytest.raises(ProtocolError):
            pop.dele(1)
        with pytest.raises(ProtocolError, match="the connection is broken"):
            pop.quit()
        assert is_closed(pop)
        assert server.commands == [b"DELE 1"]


def test_a_quit_that_times_out_closes() -> None:
    with ScriptedServer(GREETING, [Reply(then="stall")]) as server, closing(connect(server)) as pop:
        pop.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            pop.quit()
        assert is_closed(pop)


def test_every_command_on_a_closed_connection_says_so_and_close_may_be_called_again() -> None:
    with ScriptedServer(GREETING) as server:
        pop = connect(server)
        pop.close()
        pop.close()
        for command in (pop.noop, pop.stat, pop.quit, pop.capa, pop.sizes, lambda: pop.retr_bytes(1)):
            with pytest.raises(ProtocolError, match="the connection is closed"):
                command()
        pop.close()


def test_a_connection_that_was_never_made_can_be_closed() -> None:
    POP3.__new__(POP3).close()


@contextmanager
def a_port_that_refuses() -> Iterator[int]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


def test_no_connection_is_the_sockets_own_error() -> None:
    with a_port_that_refuses() as port, pytest.raises(ConnectionRefusedError):
        POP3("127.0.0.1", port, timeout=5)


def test_a_certificate_that_is_not_trusted_is_the_ssl_modules_own_error() -> None:
    with MailboxServer([], tls=True) as server, pytest.raises(ssl.SSLCertVerificationError):
        POP3_SSL(server.host, server.port, timeout=5, context=ssl.create_default_context())


# What errors say.


@pytest.mark.parametrize(
    ("ask", "command", "number"),
    [
        (lambda pop: pop.retr(7), "RETR", 7),
        (lambda pop: pop.retr("7"), "RETR", 7),
        (lambda pop: pop.retr_bytes(7), "RETR", 7),
        (lambda pop: pop.retr_into(7, io.BytesIO()), "RETR", 7),
        (lambda pop: pop.top(7, 0), "TOP", 7),
        (lambda pop: pop.dele(7), "DELE", 7),
        (lambda pop: pop.list(7), "LIST", 7),
        (lambda pop: pop.uidl(7), "UIDL", 7),
        (lambda pop: pop.list(), "LIST", None),
        (lambda pop: pop.uidl(), "UIDL", None),
        (lambda pop: pop.retr("seven"), "RETR", None),
        (lambda pop: pop.retr_into("seven", io.BytesIO()), "RETR", None),
        (lambda pop: pop.retr_into("007", io.BytesIO()), "RETR", 7),
        (lambda pop: pop.stat(), "STAT", None),
        (lambda pop: pop.user("7"), "USER", None),
        (lambda pop: pop._shortcmd("xtnd xmit 7"), "XTND", None),
        (lambda pop: pop._longcmd("retr 7"), "RETR", 7),
    ],
)
def test_a_refused_command_is_named_and_the_session_goes_on(
    ask: Callable[[POP3], object], command: str, number: int | None
) -> None:
    with ScriptedServer(GREETING, [b"-ERR [SYS/PERM] no\r\n", b"+OK\r\n"]) as server, closing(connect(server)) as pop:
        with pytest.raises(CommandError) as caught:
            ask(pop)
        error = caught.value
        assert type(error) is CommandError
        assert (error.command, error.number, error.code, error.temporary) == (command, number, "SYS/PERM", False)
        assert error.args == (b"-ERR [SYS/PERM] no",)
        assert pop.noop() == b"+OK"


@pytest.mark.parametrize(
    ("ask", "verb"),
    [
        (lambda pop: pop.pass_("x"), "PASS"),
        (lambda pop: pop.apop("a", "x"), "APOP"),
        (lambda pop: pop.rpop("a"), "RPOP"),
    ],
)
@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (b"-ERR wrong", AuthenticationError),
        (b"-ERR [AUTH] wrong", AuthenticationError),
        (b"-ERR [IN-USE] locked", CommandError),
        (b"-ERR [LOGIN-DELAY] too soon", CommandError),
        (b"-ERR [SYS/TEMP] busy", CommandError),
    ],
)
def test_a_login_refused_for_its_credentials_is_an_authentication_error(
    ask: Callable[[POP3], object], verb: str, response: bytes, kind: type[CommandError]
) -> None:
    with (
        ScriptedServer(b"+OK <1@a.b>\r\n", [response + b"\r\n", b"+OK\r\n"]) as server,
        closing(connect(server)) as pop,
    ):
        with pytest.raises(CommandError) as caught:
            ask(pop)
        assert type(caught.value) is kind
        assert (caught.value.command, caught.value.args) == (verb, (response,))
        # Quirk q30: nothing is lost yet; another login may be tried.
        assert pop.noop() == b"+OK"


def test_a_message_number_of_any_length_is_refused_by_the_server_and_not_by_us() -> None:
    with ScriptedServer(GREETING, [NO, b"+OK\r\n"]) as server, closing(connect(server)) as pop:
        with pytest.raises(CommandError, match="-ERR no"):
            pop.dele("9" * 5000)
        assert pop.noop() == b"+OK"


@pytest.mark.parametrize(
    "ask",
    [
        lambda pop, text: pop.user(text),
        lambda pop, text: pop.pass_(text),
        lambda pop, text: pop.apop(text, "x"),
        lambda pop, text: pop.rpop(text),
        lambda pop, text: pop.list(text),
        lambda pop, text: pop.uidl(text),
        lambda pop, text: pop.retr(text),
        lambda pop, text: pop.retr_bytes(text),
        lambda pop, text: pop.retr_into(text, io.BytesIO()),
        lambda pop, text: pop.top(text, 0),
        lambda pop, text: pop.top(1, text),
        lambda pop, text: pop.dele(text),
        lambda pop, text: pop._shortcmd(text),
        lambda pop, text: pop._longcmd(text),
        lambda pop, text: pop._putcmd(text),
    ],
)
def test_no_control_character_is_ever_sent_and_the_session_goes_on(ask: Callable[[POP3, str], object]) -> None:
    with ScriptedServer(b"+OK <1@a.b>\r\n", [b"+OK\r\n"]) as server, closing(connect(server)) as pop:
        for character in [chr(code) for code in range(32)] + ["\x7f", "\r\nDELE 1"]:
            for text in (f"1{character}", f"{character}1", character):
                with pytest.raises(ValueError, match="Control characters not allowed in commands"):
                    ask(pop, text)
        assert server.received == b""
        assert pop.noop() == b"+OK"


# Hooks of a subclass, and what they mean for the connection.


class RefusesInPoplibsManner(POP3):
    """Raises a plain error_proto of the response for -ERR, as poplib's own _getresp does."""

    def _getresp(self) -> bytes:
        response, _ = self._getline()
        if not response.startswith(b"+"):
            raise error_proto(response)
        return response


def test_a_refusal_in_poplibs_manner_leaves_the_session_going() -> None:
    with (
        ScriptedServer(GREETING, [NO, RETR, b"+OK\r\n"]) as server,
        closing(RefusesInPoplibsManner(server.host, server.port, timeout=5)) as pop,
    ):
        with pytest.raises(error_proto) as caught:
            pop.dele(1)
        assert caught.value.args == (b"-ERR no",)
        assert pop.retr(1)[2] == len(CONTENT)
        assert pop.noop() == b"+OK"


def test_an_error_of_a_hooks_own_breaks_the_connection() -> None:
    class Strange(POP3):
        def _getlongresp(self) -> tuple[bytes, list[bytes], int]:
            self._getresp()
            raise LookupError("not to my taste")

    with ScriptedServer(GREETING, [RETR]) as server, closing(Strange(server.host, server.port, timeout=5)) as pop:
        with pytest.raises(LookupError):
            pop.retr(1)
        assert_broken(pop, server)


def test_a_command_that_is_too_long_is_not_sent_and_the_session_goes_on() -> None:
    with ScriptedServer(GREETING, [b"+OK\r\n"]) as server, POP3(*server.address) as pop:
        with pytest.raises(error_proto, match="line too long") as caught:
            pop.user("x" * 2**20)
        assert isinstance(caught.value, ValueError)
        assert pop.noop() == b"+OK"
        assert server.commands == [b"NOOP"]
