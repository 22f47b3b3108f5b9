"""What the types of the drop-in are, as mypy and pyright read them. Checked, and never run.

Owns the shapes that programs' annotations rely on: one function a claim. A wrong type is an error of the type checker,
which `tests/test_types.py` runs; a `type: ignore` that is not needed is an error too.
"""

# ruff: noqa: INP001 - with an __init__.py this folder would be what `import typing` finds

import io
import poplib
import socket
import ssl
from collections.abc import Mapping
from typing import assert_type

import pop3fast


def uses_poplib(pop: poplib.POP3) -> bytes:
    return pop.noop()


def uses_poplib_over_tls(pop: poplib.POP3_SSL) -> bytes:
    return pop.noop()


def ours_are_accepted_where_poplibs_are(context: ssl.SSLContext) -> None:
    uses_poplib(pop3fast.POP3("pop.example"))
    uses_poplib(pop3fast.POP3_SSL("pop.example", context=context))
    uses_poplib_over_tls(pop3fast.POP3_SSL("pop.example", 995, timeout=10.0, context=context))
    kind: type[poplib.POP3] = pop3fast.POP3
    uses_poplib(kind("pop.example", timeout=10.0))
    uses_poplib(pop3fast.POP3("pop.example", timeout=None))


def poplibs_are_not_accepted_where_ours_are(theirs: poplib.POP3) -> None:
    ours: pop3fast.POP3 = theirs  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    ours.noop()


def listings_have_a_shape_with_and_without_a_number(pop: pop3fast.POP3) -> None:
    assert_type(pop.list(1), bytes)
    assert_type(pop.list("1"), bytes)
    assert_type(pop.list(which=1), bytes)
    assert_type(pop.uidl(1), bytes)
    assert_type(pop.uidl(which="1"), bytes)
    for response, lines, octets in (pop.list(), pop.uidl(), pop.list(None), pop.uidl(which=None)):
        assert_type(response, bytes)
        assert_type(lines, list[bytes])
        assert_type(octets, int)


def multi_line_responses_are_tuples(pop: pop3fast.POP3) -> None:
    as_a_tuple: tuple[bytes, list[bytes], int] = pop.list()
    as_a_tuple = pop.uidl()
    as_a_tuple = pop.retr(1)
    as_a_tuple = pop.retr(which="1")
    as_a_tuple = pop.top(1, "0")
    as_a_tuple = pop.top(which="1", howmuch=0)
    as_a_tuple = pop._longcmd("XTND")
    as_a_tuple = pop._getlongresp()
    assert_type(as_a_tuple[0], bytes)
    assert_type(pop.retr(1)[1], list[bytes])
    assert_type(pop.retr(1)[2], int)
    assert_type(b"\r\n".join(pop.retr(1)[1]), bytes)


def single_line_responses_are_bytes(pop: pop3fast.POP3) -> None:
    assert_type(pop.getwelcome(), bytes)
    assert_type(pop.welcome, bytes)
    assert_type(pop.user("wilma"), bytes)
    assert_type(pop.pass_("tanstaaf"), bytes)
    assert_type(pop.apop("wilma", "tanstaaf"), bytes)
    assert_type(pop.rpop("wilma"), bytes)
    assert_type(pop.dele(1), bytes)
    assert_type(pop.dele("1"), bytes)
    assert_type(pop.rset(), bytes)
    assert_type(pop.noop(), bytes)
    assert_type(pop.utf8(), bytes)
    assert_type(pop.stls(), bytes)
    assert_type(pop.stls(context=ssl.create_default_context()), bytes)
    assert_type(pop.quit(), bytes)
    assert_type(pop._shortcmd("NOOP"), bytes)
    assert_type(pop._getresp(), bytes)


def other_results_have_poplibs_types(pop: pop3fast.POP3) -> None:
    count, octets = pop.stat()
    assert_type(count, int)
    assert_type(octets, int)
    assert_type(pop.capa(), dict[str, list[str]])
    assert_type(pop._getline(), tuple[bytes, int])
    assert_type(pop.host, str)
    assert_type(pop.port, int)
    assert_type(pop.encoding, str)
    pop.set_debuglevel(2)
    pop.close()
    pop._putcmd("NOOP")
    pop._putline(b"NOOP")


def sock_and_file_can_be_used_and_replaced(pop: pop3fast.POP3) -> None:
    sock: socket.socket = pop.sock
    sock.settimeout(10)
    assert_type(pop.file.readline(), bytes)
    pop.file = sock.makefile("rb")
    pop.file = io.BytesIO(b"+OK\r\n")
    pop.sock = sock


def stls_over_tls_never_comes_back(pop: pop3fast.POP3_SSL) -> int:
    pop.stls()  # a function that ends here needs no return: the type checkers know


def what_there_is_more_has_types(pop: pop3fast.POP3, destination: io.BytesIO) -> None:
    assert_type(pop.retr_bytes(1), bytes)
    assert_type(pop.retr_bytes(which="1"), bytes)
    assert_type(pop.retr_into(1, destination), int)
    assert_type(pop.sizes(), dict[int, int])
    assert_type(pop.uids(), dict[int, str])
    assert_type(pop.uids_and_sizes(), tuple[dict[int, str], dict[int, int]])
    assert_type(pop.uids_and_sizes(pipelining=False), tuple[dict[int, str], dict[int, int]])
    assert_type(pop.max_octets, int | None)
    assert_type(pop.read_ahead, int)
    assert_type(pop.supports("TOP"), bool)
    capabilities: Mapping[str, tuple[str, ...]] = pop.capabilities()
    assert_type(capabilities["TOP"], tuple[str, ...])


def a_login_gives_the_servers_line(pop: pop3fast.POP3) -> None:
    assert_type(pop.login("wilma", "tanstaaf"), bytes)
    assert_type(pop.login("wilma", token=lambda: "ya29", mechanism="XOAUTH2"), bytes)
    assert_type(pop.auth("PLAIN", lambda _: b"answer", b"first"), bytes)


def loops_over_messages_have_types(pop: pop3fast.POP3) -> None:
    for message in pop.retr_many():
        assert_type(message, pop3fast.Message)
        assert_type(message.content, bytes)
        assert_type(message.uid, str | None)
    for header in pop.top_many([1, "2"], 10, window=5, pipelining=True, deadline=30.0):
        assert_type(header, pop3fast.Message)
    for piece in pop.retr_pieces({1: 320}, sizes={1: 320}, ahead=2**20):
        assert_type(piece, pop3fast.Piece)
        assert_type(piece.last, bool)
    refused: list[pop3fast.CommandError] = []
    assert_type(pop.dele_many([1, 2], on_error=refused.append), int)


def the_with_statement_gives_the_class_back(context: ssl.SSLContext) -> None:
    with pop3fast.POP3("pop.example") as pop:
        assert_type(pop, pop3fast.POP3)
    with pop3fast.POP3_SSL("pop.example", context=context) as tls:
        assert_type(tls, pop3fast.POP3_SSL)

    class Mine(pop3fast.POP3):
        pass

    with Mine("pop.example") as mine:
        assert_type(mine, Mine)


def an_exception_that_leaves_the_block_is_not_swallowed(context: ssl.SSLContext) -> int:
    with pop3fast.POP3_SSL("pop.example", context=context) as pop:
        return pop.stat()[0]


def exceptions_are_poplibs_and_say_more(error: pop3fast.CommandError) -> None:
    theirs: poplib.error_proto = error
    theirs = pop3fast.ProtocolError("broken")
    theirs = pop3fast.ConnectionLost("-ERR EOF")
    theirs = pop3fast.LimitExceeded("line too long")
    arguments: tuple[object, ...] = theirs.args
    assert_type(len(arguments), int)
    assert_type(error.response, bytes)
    assert_type(error.command, str)
    assert_type(error.number, int | None)
    assert_type(error.code, str | None)
    assert_type(error.temporary, bool)


def constants_have_types() -> None:
    numbers: list[int] = [pop3fast.POP3_PORT, pop3fast.POP3_SSL_PORT, pop3fast._MAXLINE]
    octets: list[bytes] = [pop3fast.CR, pop3fast.LF, pop3fast.CRLF]
    assert_type((numbers[0], octets[0]), tuple[int, bytes])
    pop3fast.install_as_poplib()
