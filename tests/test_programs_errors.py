"""Errors as programs use them: compared by their text, made anew with a text of their own, caught by their kinds.

What pop3fast knows besides stands where no program that was written for poplib looks.
"""

import copy
import pickle
import poplib
import socket
import ssl
import traceback
from collections.abc import Callable
from contextlib import closing
from typing import NoReturn

import pytest

import pop3fast
from pop3fast import (
    POP3,
    CommandError,
    ConnectionBroken,
    ConnectionLost,
    ConnectionTimedOut,
    ProtocolError,
)
from scripted import Reply, ScriptedServer
from shapes import GREETING, connect
from waiting import wait_until

KINDS = [
    kind
    for kind in vars(pop3fast).values()
    if isinstance(kind, type) and issubclass(kind, poplib.error_proto) and kind is not poplib.error_proto
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def through_pickle(error: Exception) -> Exception:
    again: Exception = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, a moment old
    return again


def test_every_exception_is_looked_at() -> None:
    assert {kind.__name__ for kind in KINDS} >= {"CommandError", "AuthenticationError", "ConnectionTimedOut"}
    assert len(KINDS) == 8


# Their text.

REFUSED = b"-ERR [AUTH] no \xfc such thing"


def poplibs_error(replies: list[bytes | Reply], ask: Callable[[poplib.POP3], object]) -> Exception:
    with ScriptedServer(GREETING, replies) as server, closing(poplib.POP3(*server.address, timeout=5)) as pop:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever poplib's is
            ask(pop)
    return caught.value


@pytest.mark.parametrize(
    "replies",
    [[REFUSED + b"\r\n"], [b"-ERR\r\n"], [Reply(b"", then="fin")], [b"220 no POP3\r\n"]],
    ids=["-ERR", "-ERR alone", "EOF", "no reply"],
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda pop: pop.noop(),
        lambda pop: pop.retr(7),
        lambda pop: pop.dele(7),
        lambda pop: pop.pass_("secret"),
        lambda pop: pop.uidl(),
    ],
    ids=["NOOP", "RETR", "DELE", "PASS", "UIDL"],
)
def test_an_error_says_what_poplibs_says(replies: list[bytes | Reply], ask: Callable[[poplib.POP3], object]) -> None:
    theirs = poplibs_error(replies, ask)
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        with pytest.raises(poplib.error_proto) as caught:
            ask(pop)
    assert (str(caught.value), caught.value.args) == (str(theirs), theirs.args)


def test_what_a_person_wants_to_know_besides_is_in_the_notes_of_a_traceback() -> None:
    with ScriptedServer(GREETING, [REFUSED + b"\r\n", Reply(b"+OK\r\nhalf", then="fin")]) as server:
        with closing(connect(server)) as pop:
            with pytest.raises(CommandError) as refused:
                pop.dele(7)
            with pytest.raises(ConnectionLost) as lost:
                pop.retr(7)
    assert traceback.format_exception_only(refused.value)[1:] == ["in answer to DELE 7\n"]
    assert refused.value.explanation == r"DELE 7: -ERR [AUTH] no \xfc such thing"
    assert traceback.format_exception_only(lost.value) == [
        "pop3fast.ConnectionLost: -ERR EOF\n",
        "the server hung up before its reply to RETR was whole\n",
    ]


# Made by programs.


@every_kind
@pytest.mark.parametrize(
    "arguments",
    [(), ("context",), (b"-ERR no",), ("context", b"-ERR no"), (3, None, object), ("a", "b", "c", "d", "e", "f")],
    ids=str,
)
def test_every_exception_takes_any_arguments(kind: type[Exception], arguments: tuple[object, ...]) -> None:
    error = kind(*arguments)
    assert error.args == arguments
    assert all(copied.args == arguments for copied in (copy.copy(error), copy.deepcopy(error), through_pickle(error)))
    assert str(error) == str(poplib.error_proto(*arguments))
    assert isinstance(error, CommandError | ProtocolError)
    assert error.explanation.isprintable()
    assert not isinstance(error, CommandError) or (error.code, error.number) == (None, None)


def caught_by(ask: Callable[[POP3], object], *replies: bytes | Reply) -> poplib.error_proto:
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        with pytest.raises(poplib.error_proto) as caught:
            ask(pop)
    return caught.value


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, through_pickle])
def test_an_error_with_rewritten_arguments_says_these_and_knows_what_it_knew(
    again: Callable[[Exception], Exception],
) -> None:
    error = caught_by(lambda pop: pop.retr(7), b"-ERR [SYS/TEMP] busy\r\n")
    error.args = ("while looking for invoices", *error.args)
    assert isinstance(error, CommandError)
    assert str(error) == "('while looking for invoices', b'-ERR [SYS/TEMP] busy')"
    copied = again(error)
    assert isinstance(copied, CommandError)
    assert (copied.args, str(copied), vars(copied)) == (error.args, str(error), vars(error))
    assert (copied.response, copied.code, copied.number) == (b"-ERR [SYS/TEMP] busy", "SYS/TEMP", 7)


def test_a_program_raises_the_same_kind_again_with_a_context_of_its_own() -> None:
    error = caught_by(lambda pop: pop.noop(), b"-ERR no\r\n")
    again = type(error)(f"mailbox 3: {error}")
    assert str(again) == "mailbox 3: b'-ERR no'"
    assert isinstance(again, CommandError)
    assert (again.response, again.code, again.explanation) == (b"", None, "mailbox 3: b'-ERR no'")


# Caught by programs.

BREAKS: dict[str, tuple[Reply, type[OSError]]] = {
    "a time-out": (Reply(b"+OK\r\nhal", then="stall"), TimeoutError),
    "a reset": (Reply(b"+OK\r\n", b"hal", then="rst"), ConnectionResetError),
}
COMMANDS: dict[str, Callable[[POP3], object]] = {
    "NOOP": lambda pop: pop.noop(),
    "RETR": lambda pop: pop.retr(1),
    "loop": lambda pop: list(pop.retr_many([1, 2], pipelining=True)),
    "one by one": lambda pop: list(pop.retr_many([1, 2], pipelining=False)),
    "a hook": lambda pop: pop._getresp(),
    "the file": lambda pop: pop.file.readline(),
    "QUIT": lambda pop: pop.quit(),
}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("first", ["RETR", "loop", "one by one"])
@pytest.mark.parametrize("then", COMMANDS)
def test_a_connection_that_an_os_error_broke_goes_on_raising_os_errors_that_are_protocol_errors_too(
    how: str, first: str, then: str
) -> None:
    reply, kind = BREAKS[how]
    with ScriptedServer(GREETING, [reply]) as server, closing(connect(server)) as pop:
        if kind is TimeoutError:
            pop.sock.settimeout(0.2)
        with pytest.raises(kind):
            COMMANDS[first](pop)
        wait_until(lambda: server.received)  # by a server that may be slower than a time-out
        sent = len(server.received)
        for _ in range(2 if then != "QUIT" else 1):
            with pytest.raises(ConnectionBroken) as caught:
                COMMANDS[then](pop)
            assert isinstance(caught.value, OSError)
            assert isinstance(caught.value, ProtocolError)
            assert isinstance(caught.value, ConnectionTimedOut) == (kind is TimeoutError)
            assert isinstance(caught.value, TimeoutError) == (kind is TimeoutError)
        assert len(server.received) == sent


@pytest.mark.parametrize("first", ["RETR", "loop", "one by one"])
@pytest.mark.parametrize("then", [verb for verb in COMMANDS if verb != "the file"])
def test_a_connection_that_the_server_has_hung_up_is_lost_to_each_later_command(first: str, then: str) -> None:
    with ScriptedServer(GREETING, [Reply(b"", then="fin")]) as server, closing(connect(server)) as pop:
        with pytest.raises(ConnectionLost):
            COMMANDS[first](pop)
        sent = len(server.received)
        with pytest.raises(ConnectionLost):
            COMMANDS[then](pop)
        assert len(server.received) == sent


def test_a_handshake_that_fails_leaves_os_errors_behind() -> None:
    replies: list[bytes | Reply] = [b"+OK\r\nSTLS\r\n.\r\n", Reply(b"+OK go\r\n", then="stall")]
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        pop.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            pop.stls(ssl.create_default_context())
        with pytest.raises(ConnectionTimedOut, match="handshake"):
            pop.noop()


def test_a_gateway_that_quits_in_finally_goes_on_with_its_next_mailbox() -> None:
    """Odoo's way: ``finally: quit()`` within ``except OSError``."""
    survived = []
    with ScriptedServer(GREETING, [Reply(b"", then="stall")]) as server:
        for mailbox in range(2):
            try:
                pop = connect(server, timeout=0.2)
                try:
                    pop.stat()
                finally:
                    pop.quit()
            except OSError:
                survived.append(mailbox)
    assert survived == [0, 1]


def test_an_end_that_has_nothing_to_do_with_the_operating_system_leaves_none_of_its_errors() -> None:
    with ScriptedServer(GREETING, [Reply(b"", then="fin")]) as server, closing(connect(server)) as pop:
        with pytest.raises(ConnectionLost):
            pop.noop()
        with pytest.raises(ProtocolError) as caught:
            pop.noop()
        assert not isinstance(caught.value, OSError)


class Unclosable:
    """What a program puts in the place of ``file``."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def close(self) -> NoReturn:
        raise self.error


def test_the_end_of_a_with_block_masks_nothing() -> None:
    class Gateway(POP3):
        """One that says goodbye in every case."""

        def __exit__(self, *_: object) -> None:
            self.quit()

    with ScriptedServer(GREETING, [Reply(b"", then="stall")]) as server:
        with pytest.raises(TimeoutError):
            with Gateway(*server.address, timeout=1) as gateway:
                gateway.noop()
        pop = connect(server)
        pop.file.close()
        pop.file = Unclosable(socket.gaierror("late"))  # type: ignore[assignment]
        with pytest.raises(ZeroDivisionError), pop:
            1 // 0  # noqa: B018
