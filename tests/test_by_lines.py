"""Line by line or as a whole, a reply is the same: exhaustively, in process.

Three ways lead line by line (an overridden ``_getline``, a ``file`` that is not ours, debug level 2), one does not.
All are compared with each other and with the naive reference, for every short body over the octets that matter.
"""

import contextlib
import io
import itertools
import poplib
import re
import socket
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

import pytest

import pop3fast
from naive import Body, read_body
from pop3fast import POP3, ConnectionLost, LimitExceeded
from pop3fast._framing import most_lines
from pop3fast._stream import ReplyStream

STATUS_LINES = (b"+OK\r\n", b"+OK\n")

# Behind any body one of these ends a reply, and the second command's reply follows.
ENDINGS = (b"", b"\r\n.\r\n+OK next\r\n", b"\n.\n+OK next\n")

# poplib's _getline drops a CR at the start of a line that ends in a bare LF. It still counts that CR, so line and
# octet count do not tell such a line from one that ends in CRLF.
AMBIGUOUS = re.compile(rb"(?:^|\n)\r[^\n]*(?<!\r)\n")


class Discarding:
    """In a socket's place: takes commands."""

    def sendall(self, octets: bytes) -> None:
        pass

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


class Offline(POP3):
    """A session whose replies are there already. It never calls ``super().__init__()``: poplib's users do that."""

    def __init__(self, file: io.BufferedIOBase, *, debugging: int = 0) -> None:
        self.sock = cast("socket.socket", Discarding())
        self.file = cast("BinaryIO", file)
        self._debugging = debugging


class Overridden(Offline):
    """Counts the lines it is asked for, to prove that it is."""

    asked = 0

    def _getline(self) -> tuple[bytes, int]:
        self.asked += 1
        return super()._getline()


def as_a_whole(octets: bytes) -> POP3:
    return Offline(ReplyStream(io.BytesIO(octets).readinto))


def octet_by_octet(octets: bytes) -> POP3:
    source = io.BytesIO(octets)
    return Offline(ReplyStream(lambda buffer: source.readinto(buffer[:1])))


def through_an_override(octets: bytes) -> POP3:
    return Overridden(ReplyStream(io.BytesIO(octets).readinto))


def through_another_file(octets: bytes) -> POP3:
    return Offline(io.BytesIO(octets))


def through_the_debug_output(octets: bytes) -> POP3:
    return Offline(ReplyStream(io.BytesIO(octets).readinto), debugging=2)


class PoplibsOwnGetline(Offline):
    """Overrides ``_getline`` in poplib's own words, and never calls ours."""

    def _getline(self) -> tuple[bytes, int]:
        line = self.file.readline()
        if not line:
            raise poplib.error_proto("-ERR EOF")
        if line.endswith(b"\r\n"):
            return line[:-2], len(line)
        return (line[1:-1] if line.startswith(b"\r") else line[:-1]), len(line)


def through_poplibs_own_getline(octets: bytes) -> POP3:
    return PoplibsOwnGetline(io.BytesIO(octets))


Way = Callable[[bytes], POP3]

LINE_BY_LINE = (through_an_override, through_another_file, through_the_debug_output)
EVERY_WAY = (as_a_whole, octet_by_octet, *LINE_BY_LINE)
in_every_way = pytest.mark.parametrize("way", EVERY_WAY)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep the debug output of thousands of replies out of the report."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def bodies(length: int) -> Iterator[bytes]:
    """Every string up to *length* over the octets that mean something to a reader of replies, and one that does not."""
    for size in range(length + 1):
        for octets in itertools.product(b"a.\r\n", repeat=size):
            yield bytes(octets)


def replies(length: int) -> Iterator[tuple[bytes, Body | None]]:
    """Every reply with a body up to *length*, alone and properly ended, and what the reference makes of the body."""
    for body in bodies(length):
        for status_line, ending in itertools.product(STATUS_LINES, ENDINGS):
            received = body + ending
            yield status_line + received, read_body(received, after_bare_lf=status_line == b"+OK\n")


def lines_and_rest(conn: POP3) -> tuple[tuple[bytes, list[bytes], int], bytes] | str:
    try:
        response = conn._getlongresp()
    except ConnectionLost as error:
        return cast("str", error.args[0])
    return response, conn.file.read()


def expected_lines(body: Body | None) -> tuple[tuple[bytes, list[bytes], int], bytes] | str:
    return "-ERR EOF" if body is None else ((b"+OK", body.lines, body.octets), body.rest)


@pytest.mark.parametrize("way", [as_a_whole, octet_by_octet, through_an_override, through_another_file])
def test_every_short_body_is_read_as_the_rules_say_and_nothing_behind_it(way: Way) -> None:
    for received, body in replies(6):
        assert lines_and_rest(way(received)) == expected_lines(body), received


def test_every_short_body_is_the_same_with_debug_output() -> None:
    for received, body in replies(4):
        assert lines_and_rest(through_the_debug_output(received)) == expected_lines(body), received


def test_a_getline_in_poplibs_own_words_is_told_the_line_end_by_the_octets() -> None:
    for received, body in replies(5):
        if body is None or AMBIGUOUS.search(received):
            continue
        assert lines_and_rest(through_poplibs_own_getline(received)) == expected_lines(body), received


def test_the_reference_is_poplib_where_the_server_keeps_to_crlf() -> None:
    compared = 0
    for body in bodies(6):
        received = body.replace(b"\n", b"\r\n") + b"\r\n.\r\nnext"
        expected = read_body(received, after_bare_lf=False)
        conn = poplib.POP3.__new__(poplib.POP3)
        conn.file, conn._debugging = io.BytesIO(b"+OK\r\n" + received), 0  # type: ignore[attr-defined]  # typeshed lacks it
        assert lines_and_rest(cast("POP3", conn)) == expected_lines(expected), received
        compared += 1
    assert compared == sum(4**size for size in range(7))


def test_the_override_is_really_asked_for_each_line() -> None:
    conn = Overridden(ReplyStream(io.BytesIO(b"+OK\r\na\r\nb\r\n.\r\n").readinto))
    conn.retr(1)
    assert conn.asked == 4


@pytest.mark.parametrize("way", [through_an_override, through_another_file, octet_by_octet])
def test_one_piece_and_pieces_hold_the_same_octets_as_the_lines(way: Way) -> None:
    for received, body in replies(4):
        whole, parts = way(received), io.BytesIO()
        if body is None:
            with pytest.raises(ConnectionLost, match="-ERR EOF"):
                whole.retr_bytes(1)
            with pytest.raises(ConnectionLost, match="-ERR EOF"):
                way(received).retr_into(1, parts)
            continue
        assert (whole.retr_bytes(1), whole.file.read()) == (body.content, body.rest), received
        in_parts = way(received)
        assert in_parts.retr_into(1, parts) == body.octets, received
        assert (parts.getvalue(), in_parts.file.read()) == (body.content, body.rest), received


@in_every_way
def test_listings_are_the_same(way: Way) -> None:
    assert way(b"+OK\r\n1 120\r\n2 200\r\n.\r\n").sizes() == {1: 120, 2: 200}
    assert way(b"+OK\r\n1 a\r\n2 b c\r\n.\r\n").uids() == {1: "a", 2: "b c"}
    assert way(b"+OK\r\nTOP\r\nSASL PLAIN\r\n.\r\n").capa() == {"TOP": [], "SASL": ["PLAIN"]}
    assert way(b"+OK\r\n.\r\n").list() == (b"+OK", [], 0)


@in_every_way
def test_max_octets_is_met_exactly_or_passed_at_the_same_octet(way: Way) -> None:
    checked = 0
    for received, body in replies(3):
        if body is None:
            continue
        conn = way(received)
        conn.max_octets = body.octets
        assert conn.retr(1) == (b"+OK", body.lines, body.octets), received
        if body.octets:
            conn = way(received)
            conn.max_octets = body.octets - 1
            with pytest.raises(LimitExceeded, match=f"longer than {body.octets - 1} octets"):
                conn.retr(1)
            with pytest.raises(pop3fast.ProtocolError, match="broken"):
                conn.noop()
            checked += 1
    assert checked > 100


@in_every_way
def test_no_limit_is_no_limit(way: Way) -> None:
    conn = way(b"+OK\r\n" + b"a\r\n" * 1000 + b".\r\n")
    conn.max_octets = None
    assert conn.retr(1) == (b"+OK", [b"a"] * 1000, 3000)


@pytest.mark.parametrize("way", [as_a_whole, through_another_file])
def test_a_list_has_as_many_lines_as_its_limit_in_octets_goes_with_and_not_one_more(way: Way) -> None:
    most = most_lines(0)
    for lines in (most, most + 1):
        conn = way(b"+OK\r\n" + b"\r\n" * lines + b".\r\n")
        conn.max_octets = 2 * lines
        if lines == most:
            assert conn.retr(1) == (b"+OK", [b""] * lines, 2 * lines)
            continue
        with pytest.raises(LimitExceeded, match=f"more than {most} lines"):
            conn.retr(1)
        with pytest.raises(pop3fast.ProtocolError, match="broken"):
            conn.noop()


@in_every_way
def test_a_status_line_as_long_as_maxline_passes_and_one_octet_more_does_not(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pop3fast, "_MAXLINE", 10)
    assert way(b"+OK 5678\r\n").noop() == b"+OK 5678"
    conn = way(b"+OK 56789\r\n")
    with pytest.raises(LimitExceeded) as caught:
        conn.noop()
    assert caught.value.args == ("line too long",)
    with pytest.raises(pop3fast.ProtocolError, match="broken"):
        conn.noop()


def test_only_getline_holds_the_lines_inside_a_message_to_maxline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pop3fast, "_MAXLINE", 10)
    reply = b"+OK\r\n" + b"a" * 9 + b"\r\n.\r\n"
    assert as_a_whole(reply).retr(1) == (b"+OK", [b"a" * 9], 11)
    for way in LINE_BY_LINE:
        with pytest.raises(LimitExceeded, match="line too long"):
            way(reply).retr(1)


@in_every_way
def test_an_error_is_the_same(way: Way) -> None:
    conn = way(b"-ERR no such message\r\n+OK\r\n")
    with pytest.raises(pop3fast.CommandError) as caught:
        conn._getlongresp()
    assert caught.value.args == (b"-ERR no such message",)
    assert conn._getresp() == b"+OK"


@in_every_way
def test_nothing_but_a_status_line_is_taken_for_one(way: Way) -> None:
    for line in (b"", b"OK", b" +OK", b"\r+OK\0", b"+OK\0"):
        with pytest.raises(pop3fast.ProtocolError) as caught:
            way(line + b"\r\n")._getresp()
        assert caught.value.args == (line,)


def test_the_way_may_change_between_two_commands() -> None:
    body = b"x\r\n..y\r\n.\r\n"
    source = io.BytesIO((b"+OK\r\n" + body) * 4)
    stream = ReplyStream(source.readinto)
    conn = Offline(stream)
    expected = (b"+OK", [b"x", b".y"], 3 + 4)
    assert conn._getlongresp() == expected
    conn.set_debuglevel(2)
    assert conn._getlongresp() == expected
    conn.set_debuglevel(0)
    assert conn._getlongresp() == expected
    conn.file = cast("BinaryIO", io.BytesIO(stream.read()))
    assert conn._getlongresp() == expected


def test_lines_may_be_read_by_hand_in_the_middle_of_a_session() -> None:
    conn = as_a_whole(b"+OK\r\na\r\n.\r\n+OK\n.b\n..\n.\n+OK done\r\n")
    assert conn._getresp() == b"+OK"
    assert conn._getline() == (b"a", 3)
    assert conn._getline() == (b".", 3)
    assert conn.file.readline() == b"+OK\n"
    # The line that was read by hand is the status line of the body behind it.
    assert read_through(conn) == ([b".b", b"."], 5)
    assert conn._getresp() == b"+OK done"


def read_through(conn: POP3) -> tuple[list[bytes], int]:
    return cast("ReplyStream", conn.file).lines(2**30)
