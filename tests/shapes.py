"""Every kind of reply that the client reads: how it is asked for, what the server says, and what becomes of it.

Owns the examples that the tests of framing over real connections share, and what "broken" means for all of them.
"""

import io
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest

from pop3fast import POP3, POP3_SSL, Message, Piece, ProtocolError
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer
from waiting import wait_until

GREETING = b"+OK ready\r\n"

# A message with everything that framing can trip over; in its last line a dot that the server did not stuff.
MESSAGE = b"From: a\r\n\r\n..\r\n..b\r\n\xfc\0\xff\r\nc\r\r\n\n.\n.d\r\n"
LINES = [b"From: a", b"", b".", b".b", b"\xfc\0\xff", b"c\r", b"", b".", b".d"]
CONTENT = b"From: a\r\n\r\n.\r\n.b\r\n\xfc\0\xff\r\nc\r\r\n\n.\n.d\r\n"


class Shape(NamedTuple):
    """A kind of reply: how the client asks for it, what the server says, and what the client makes of it."""

    name: str
    ask: Callable[[POP3], object]
    reply: bytes
    value: object


def retr_into(pop: POP3) -> tuple[int, bytes]:
    file = io.BytesIO()
    return pop.retr_into(1, file), file.getvalue()


def many(messages: Iterable[Message | Piece]) -> list[bytes]:
    return [message.content for message in messages]


MULTI_LINE = (
    Shape("LIST", lambda pop: pop.list(), b"+OK 2\r\n1 120\r\n2 7\r\n.\r\n", (b"+OK 2", [b"1 120", b"2 7"], 12)),
    Shape("sizes", lambda pop: pop.sizes(), b"+OK 2\r\n1 120\r\n2 7\r\n.\r\n", {1: 120, 2: 7}),
    Shape("UIDL", lambda pop: pop.uidl(), b"+OK\r\n1 a\r\n2 b\r\n.\r\n", (b"+OK", [b"1 a", b"2 b"], 10)),
    Shape("uids", lambda pop: pop.uids(), b"+OK\r\n1 a\r\n2 b\r\n.\r\n", {1: "a", 2: "b"}),
    Shape("TOP", lambda pop: pop.top(1, 0), b"+OK\r\nA: b\r\n\r\n.\r\n", (b"+OK", [b"A: b", b""], 8)),
    Shape("RETR", lambda pop: pop.retr(1), b"+OK\r\n" + MESSAGE + b".\r\n", (b"+OK", LINES, len(CONTENT))),
    Shape("retr_bytes", lambda pop: pop.retr_bytes(1), b"+OK\r\n" + MESSAGE + b".\r\n", CONTENT),
    Shape("retr_into", retr_into, b"+OK\r\n" + MESSAGE + b".\r\n", (len(CONTENT), CONTENT)),
    Shape("RETR in LF", lambda pop: pop.retr(1), b"+OK\n..a\n\n.b\n.\n", (b"+OK", [b".a", b"", b".b"], 7)),
    Shape("RETR of nothing", lambda pop: pop.retr(1), b"+OK\r\n.\r\n", (b"+OK", [], 0)),
)
CAPA = Shape("CAPA", lambda pop: pop.capa(), b"+OK\r\nTOP\r\nSASL PLAIN\r\n.\r\n", {"TOP": [], "SASL": ["PLAIN"]})
SINGLE_LINE = (
    Shape("NOOP", lambda pop: pop.noop(), b"+OK\r\n", b"+OK"),
    Shape("STAT", lambda pop: pop.stat(), b"+OK 2 320\r\n", (2, 320)),
    Shape("LIST 1", lambda pop: pop.list(1), b"+OK 1 120\r\n", b"+OK 1 120"),
    Shape("UIDL 1", lambda pop: pop.uidl(1), b"+OK 1 a\n", b"+OK 1 a"),
    Shape("DELE", lambda pop: pop.dele(1), b"+OK gone\r\n", b"+OK gone"),
    Shape("RSET", lambda pop: pop.rset(), b"+OK\r\n", b"+OK"),
    Shape("UTF8", lambda pop: pop.utf8(), b"+OK\r\n", b"+OK"),
    Shape("USER", lambda pop: pop.user("user"), b"+OK\r\n", b"+OK"),
    Shape("PASS", lambda pop: pop.pass_("secret"), b"+OK in\r\n", b"+OK in"),
    Shape("RPOP", lambda pop: pop.rpop("user"), b"+OK in\r\n", b"+OK in"),
    Shape("AUTH", lambda pop: pop.auth("X-TEST", None, b"first"), b"+OK in\r\n", b"+OK in"),
    Shape("login", lambda pop: pop.login("user", "secret", mechanism="PLAIN"), b"+OK in\r\n", b"+OK in"),
)
RETR_REPLY = b"+OK\r\n" + MESSAGE + b".\r\n"
MANY = (
    Shape("retr_many", lambda pop: many(pop.retr_many([1], pipelining=True)), RETR_REPLY, [CONTENT]),
    Shape("retr_many, one by one", lambda pop: many(pop.retr_many([1], pipelining=False)), RETR_REPLY, [CONTENT]),
    Shape("retr_pieces", lambda pop: many(pop.retr_pieces([1], pipelining=True)), RETR_REPLY, [CONTENT]),
    Shape("top_many", lambda pop: many(pop.top_many([1], pipelining=True)), RETR_REPLY, [CONTENT]),
    Shape("dele_many", lambda pop: pop.dele_many([1], pipelining=True), b"+OK deleted\r\n", 1),
    Shape("dele_many, one by one", lambda pop: pop.dele_many([1], pipelining=False), b"+OK deleted\r\n", 1),
)
SHAPES = (*SINGLE_LINE, CAPA, *MULTI_LINE, *MANY)
REFUSED = Shape("-ERR", lambda pop: pop.retr(1), b"-ERR [SYS/TEMP] no\r\n", b"-ERR [SYS/TEMP] no")

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
over_plain_and_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])


def connect(server: ScriptedServer | MailboxServer, *, tls: bool = False, timeout: float = 5) -> POP3:
    if tls:
        return POP3_SSL(server.host, server.port, timeout=timeout, context=server.client_context)
    return POP3(server.host, server.port, timeout=timeout)


def is_closed(pop: POP3) -> bool:
    closed: list[object] = [pop.sock, pop.file]
    return closed == [None, None]


def assert_timed_out(pop: POP3, server: ScriptedServer) -> None:
    """Do what `assert_broken` does, once the server has read what the client did not wait for."""
    wait_until(lambda: server.commands)
    assert_broken(pop, server)


def assert_over_time(pop: POP3, server: ScriptedServer) -> None:
    """Do what `assert_broken` does where one command at most was sent: none if the time was over before that."""
    assert_says_that_it_is_broken(pop)
    assert len(server.commands) <= 1


def assert_broken(pop: POP3, server: ScriptedServer) -> None:
    """Every later command says at once that the connection is broken, sends nothing, and it can be closed."""
    sent = len(server.commands)
    assert_says_that_it_is_broken(pop)
    assert len(server.commands) == sent


def assert_says_that_it_is_broken(pop: POP3) -> None:
    # Nothing is sent, so whoever waited would wait for nothing, until the time-out says so.
    for command in (pop.noop, pop.stat, pop.list, lambda: pop.dele(1), lambda: pop.retr_bytes(1), pop.quit):
        with pytest.raises(ProtocolError):
            command()
    pop.close()
    pop.close()
    assert is_closed(pop)
