"""The Framer as Python sees it: octets in, replies out, compared with the naive reference whole and in any pieces.

Each framing case is met whole, octet by octet, and with octets behind it that must be left alone.
"""

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naive import Body, read_body
from pop3fast._framing import (
    Blocks,
    Checksum,
    Framer,
    FramingError,
    FramingLimitError,
    most_lines,
    split_lines,
)

NO_LIMIT = 2**63 - 1

# So many entries of a listing are accepted however few octets are allowed.
LEAST_ENTRIES = 2**18

# What is behind a reply, in the buffer already. It looks like everything that it must not be taken for.
TRAILING = b"+OK 1 2\r\n.\r\n\x00"


class Shape(NamedTuple):
    """One way to ask for a body, and what it gives for what the reference found."""

    name: str
    ask: Callable[[Framer, int], object]
    expected: Callable[[Body], object]


BODY_SHAPES = (
    Shape("lines", Framer.next_lines, lambda body: (body.lines, body.octets)),
    Shape("bytes", Framer.next_bytes, lambda body: body.content),
)
RESPONSE_SHAPES = (
    Shape(
        "lines response",
        lambda framer, limit: framer.next_lines_response(NO_LIMIT, limit),
        lambda body: (b"+OK", body.lines, body.octets),
    ),
    Shape(
        "bytes response",
        lambda framer, limit: framer.next_bytes_response(NO_LIMIT, limit),
        lambda body: (b"+OK", body.content),
    ),
)
# Everything that can be asked of a Framer with a limit.
QUESTIONS: dict[str, Callable[[Framer, int], object]] = {
    "line": Framer.next_line,
    "status line": Framer.next_status_line,
    "octets": Framer.next_octets,
    "piece": Framer.next_piece,
    "bodies": lambda framer, limit: framer.next_bodies(limit, limit, 9),
    "pieces": lambda framer, limit: framer.next_pieces(limit, limit, 9, 3),
    **{shape.name: shape.ask for shape in (*BODY_SHAPES, *RESPONSE_SHAPES)},
}

every_shape = pytest.mark.parametrize("shape", [*BODY_SHAPES, *RESPONSE_SHAPES], ids=lambda shape: shape.name)
every_question = pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())

# A reply and what it is for, as the RFC has them and as servers send them.
REPLIES = {
    "conforming": b"+OK\r\nFrom: a\r\n\r\n..stuffed\r\ntext\r\n.\r\n",
    "empty": b"+OK\r\n.\r\n",
    "one empty line": b"+OK\r\n\r\n.\r\n",
    "in bare LF": b"+OK\nFrom: a\n..stuffed\ntext\n.\n",
    "status line in CRLF, body in LF": b"+OK\r\nFrom: a\n\n..stuffed\n.\n",
    "status line in LF, body in CRLF": b"+OK\nFrom: a\r\n..stuffed\r\n.\r\n",
    "quirk q94: LF and dots in a CRLF message": b"+OK\r\na\r\nb\n.\nc\n.\r\nd\r.\ne\n..f\r\n.\r\n",
    "quirk q95: dots that were not stuffed": b"+OK\r\n.a\r\n.b.\r\n.\r\n",
    "quirk q97: the first line begins with a dot": b"+OK\r\n.first\r\n.\r\n",
    "quirk q98: CR runs": b"+OK\r\n\ra\r\r\n\r\r\r\n\r.\r\n.\r\n",
    "quirk q99: NUL and 8-bit": b"+OK\r\n\0\xff\r\n\x80..\r\n.\r\n",
    "dots": b"+OK\r\n..\r\n...\r\n....\r\n.\r\n",
}
every_reply = pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES.keys())


def body_of(reply: bytes) -> Body:
    status_line, _, received = reply.partition(b"\n")
    body = read_body(received, after_bare_lf=not status_line.endswith(b"\r"))
    assert body is not None
    return body


def fed(*parts: bytes) -> Framer:
    framer = Framer()
    for part in parts:
        framer.feed(part)
    return framer


def asked(shape: Shape, framer: Framer, limit: int = NO_LIMIT) -> object:
    """Ask as the client does: the shapes of a body behind a status line, of which there may be none yet."""
    if shape in BODY_SHAPES and framer.next_status_line(NO_LIMIT) is None:
        return None
    return shape.ask(framer, limit)


# Replies.


@every_shape
@every_reply
def test_a_reply_that_came_whole(reply: bytes, shape: Shape) -> None:
    framer = fed(reply + TRAILING)
    assert asked(shape, framer) == shape.expected(body_of(reply))
    assert framer.unread() == len(TRAILING)
    assert framer.next_octets(NO_LIMIT) == TRAILING
    assert framer.unread() == 0


@every_shape
@every_reply
def test_a_reply_that_came_octet_by_octet_needs_its_last_octet(reply: bytes, shape: Shape) -> None:
    framer = Framer()
    in_body = shape not in BODY_SHAPES
    for octet in reply[:-1]:
        framer.feed(bytes([octet]))
        if not in_body:
            in_body = framer.next_status_line(NO_LIMIT) is not None
        if in_body:
            assert shape.ask(framer, NO_LIMIT) is None
    framer.feed(reply[-1:] + TRAILING)
    assert shape.ask(framer, NO_LIMIT) == shape.expected(body_of(reply))
    assert framer.next_octets(NO_LIMIT) == TRAILING


@every_shape
@every_reply
def test_a_reply_that_came_in_two_parts(reply: bytes, shape: Shape) -> None:
    for cut in range(len(reply)):
        framer = fed(reply[:cut])
        in_body = shape not in BODY_SHAPES or framer.next_status_line(NO_LIMIT) is not None
        if in_body:
            assert shape.ask(framer, NO_LIMIT) is None, cut
        framer.feed(reply[cut:] + TRAILING)
        answer = shape.ask(framer, NO_LIMIT) if in_body else asked(shape, framer)
        assert answer == shape.expected(body_of(reply)), cut
        assert framer.next_octets(NO_LIMIT) == TRAILING, cut


@every_reply
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pieces_make_the_body_and_end_with_nothing(reply: bytes, size: int) -> None:
    received = reply + TRAILING
    framer = Framer()
    status_line = None
    found: list[bytes] = []
    ended = False
    for start in range(0, len(received), size):
        framer.feed(received[start : start + size])
        if status_line is None:
            status_line = framer.next_status_line(NO_LIMIT)
        while status_line is not None and not ended and (piece := framer.next_piece(NO_LIMIT)) is not None:
            ended = piece == b""
            found.append(piece)
    assert ended
    assert all(found[:-1])
    assert b"".join(found) == body_of(reply).content
    assert framer.next_octets(NO_LIMIT) == TRAILING


def test_many_replies_in_one_part_come_out_one_by_one() -> None:
    framer = fed(b"+OK 1\r\n-ERR 2\r\n+OK 3\r\na\r\n.\r\n+OK 4\nb\n.\n+OK 5\r\n")
    assert framer.next_status_line(NO_LIMIT) == b"+OK 1"
    assert framer.next_lines_response(NO_LIMIT, NO_LIMIT) == (b"-ERR 2", None, 0)
    assert framer.next_lines_response(NO_LIMIT, NO_LIMIT) == (b"+OK 3", [b"a"], 3)
    assert framer.next_bytes_response(NO_LIMIT, NO_LIMIT) == (b"+OK 4", b"b\n")
    assert framer.next_status_line(NO_LIMIT) == b"+OK 5"
    assert framer.next_status_line(NO_LIMIT) is None


@pytest.mark.parametrize("line", [b"-ERR no", b"+ERR no", b"+OK -ERR no", b"", b"Received: x", b"+OK\0"])
def test_no_body_follows_a_status_line_that_is_not_plainly_positive(line: bytes) -> None:
    framer = fed(line + b"\r\n+OK\r\n.\r\n")
    assert framer.next_lines_response(NO_LIMIT, NO_LIMIT) == (line, None, 0)
    assert framer.next_bytes_response(NO_LIMIT, NO_LIMIT) == (b"+OK", b"")


def cut(octets: bytes, steps: list[int]) -> Iterator[bytes]:
    """Yield *octets* in parts of so many, and what is left in one."""
    for step in steps:
        yield octets[:step]
        octets = octets[step:]
    yield octets


@given(
    st.lists(st.sampled_from([b"a", b".", b"\r", b"\n", b"\r\n", b"\r\n.", b"\n.", b"\0", b"\xff", b"b" * 70])),
    st.sampled_from([b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b""]),
    st.sampled_from([b"+OK\r\n", b"+OK\n"]),
    st.lists(st.integers(min_value=1, max_value=40)),
)
def test_any_body_in_any_parts_is_what_the_reference_says(
    texts: list[bytes], ending: bytes, status_line: bytes, steps: list[int]
) -> None:
    received = b"".join(texts) + ending + TRAILING
    expected = read_body(received, after_bare_lf=status_line == b"+OK\n")
    for shape in RESPONSE_SHAPES:
        framer = Framer()
        answer = None
        for part in cut(status_line + received, steps):
            framer.feed(part)
            if answer is None:
                answer = shape.ask(framer, NO_LIMIT)
        assert answer == (None if expected is None else shape.expected(expected))
        if expected is not None:
            assert framer.next_octets(NO_LIMIT) == expected.rest
    framer = fed(status_line)
    framer.next_status_line(NO_LIMIT)
    content, ended = b"", False
    for part in cut(received, steps):
        framer.feed(part)
        while not ended and (piece := framer.next_piece(NO_LIMIT)) is not None:
            content += piece
            ended = not piece
    assert ended == (expected is not None)
    if expected is not None:
        assert content == expected.content
        assert framer.next_octets(NO_LIMIT) == expected.rest


@every_reply
def test_a_body_is_split_into_the_lines_it_would_have_been_given_as(reply: bytes) -> None:
    body = body_of(reply)
    assert split_lines(body.content) == body.lines


# Many replies at once.

THREE = b"+OK\r\na\r\n.\r\n+OK\n.b\n.\n+OK\r\n.\r\n"
BODIES = [b"a\r\n", b".b\n", b""]


def test_bodies_of_consecutive_replies_come_together_up_to_the_first_that_has_none() -> None:
    framer = fed(THREE + b"-ERR no\r\n" + THREE)
    assert framer.next_bodies(NO_LIMIT, NO_LIMIT, 100) == (BODIES, b"-ERR no")
    assert framer.next_bodies(NO_LIMIT, NO_LIMIT, 100) == (BODIES, None)
    assert framer.next_bodies(NO_LIMIT, NO_LIMIT, 100) == ([], None)


def test_no_more_bodies_come_together_than_were_asked_for() -> None:
    framer = fed(THREE + TRAILING)
    assert framer.next_bodies(NO_LIMIT, NO_LIMIT, 0) == ([], None)
    assert framer.next_bodies(NO_LIMIT, NO_LIMIT, 2) == (BODIES[:2], None)
    assert framer.next_bodies(NO_LIMIT, NO_LIMIT, 1) == (BODIES[2:], None)
    assert framer.next_octets(NO_LIMIT) == TRAILING


def test_bodies_that_come_octet_by_octet_come_one_by_one() -> None:
    framer = Framer()
    found = []
    for octet in THREE + b"-ERR no\r\n":
        framer.feed(bytes([octet]))
        found.append(framer.next_bodies(NO_LIMIT, NO_LIMIT, 100))
    assert [answer for answer in found if answer != ([], None)] == [
        *(([body], None) for body in BODIES),
        ([], b"-ERR no"),
    ]
    assert framer.unread() == 0


def test_bodies_that_are_there_are_not_lost_to_an_error_behind_them() -> None:
    # A message that arrived whole is the caller's, however the segments happened to fall.
    framer = fed(THREE + b"+OK\r\nfar too long\r\n.\r\n")
    assert not framer.has_failed()
    assert framer.next_bodies(NO_LIMIT, 10, 100) == (BODIES, None)
    assert framer.has_failed()
    with pytest.raises(FramingLimitError, match="longer than 10 octets"):
        framer.next_bodies(NO_LIMIT, 10, 100)


def test_pieces_have_no_more_octets_than_was_asked_for_and_say_which_is_the_last() -> None:
    framer = fed(b"+OK\r\n12345\r\n.\r\n+OK\r\n.\r\n-ERR no\r\n+OK\r\nabc")
    pieces = [(b"123", False), (b"45\r", False), (b"\n", True), (b"", True)]
    assert framer.next_pieces(NO_LIMIT, NO_LIMIT, 9, 3) == (pieces, b"-ERR no")
    assert framer.next_pieces(NO_LIMIT, NO_LIMIT, 9, 4) == ([], None)
    assert framer.next_pieces(NO_LIMIT, NO_LIMIT, 9, 3) == ([(b"abc", False)], None)
    assert framer.in_body()
    framer.feed(b"\r\n..d\r\n.\r\n+OK\r\n")
    assert framer.next_pieces(NO_LIMIT, NO_LIMIT, 1, 99) == ([(b"\r\n.d\r\n", True)], None)
    assert not framer.in_body()


def test_a_body_in_pieces_stays_within_its_limit_and_in_little_memory() -> None:
    framer = fed(b"+OK\r\n")
    for _ in range(1000):
        framer.feed(b"x" * 1000)
        assert framer.next_pieces(NO_LIMIT, 10**6, 1, 100) == ([(b"x" * 100, False)] * 10, None)
        assert framer.unread() == 0
    framer.feed(b"x")
    with pytest.raises(FramingLimitError, match="longer than 1000000 octets"):
        framer.next_pieces(NO_LIMIT, 10**6, 1, 100)


def test_pieces_that_are_there_are_not_lost_to_an_error_behind_them() -> None:
    framer = fed(b"+OK\r\nab\r\n.\r\n+OK\r\nfar too long\r\n.\r\n")
    assert framer.next_pieces(NO_LIMIT, 10, 100, 3) == ([(b"ab\r", False), (b"\n", True)], None)
    with pytest.raises(FramingLimitError, match="longer than 10 octets"):
        framer.next_pieces(NO_LIMIT, 10, 100, 3)


@given(
    pieces=st.lists(st.text("\r\n.x", max_size=6).map(str.encode), max_size=8),
    octets=st.integers(1, 9),
    in_lf=st.booleans(),
)
def test_blocks_have_all_octets_with_the_line_ends_of_bytes_replace(
    *, pieces: list[bytes], octets: int, in_lf: bool
) -> None:
    for times in (1, 10_000):  # Above some ten thousand other threads may run meanwhile.
        blocks = Blocks(octets, in_lf=in_lf)
        cut = [piece * times for piece in pieces]
        full = [blocks.feed(piece) for piece in cut]
        content = b"".join(cut)
        assert b"".join([*full, blocks.rest()]) == (content.replace(b"\r\n", b"\n") if in_lf else content)
        assert not any(len(each) % octets for each in full)
        assert len(blocks.rest()) < octets + in_lf


@given(st.binary(max_size=2000), st.integers(1, 999))
def test_a_checksum_is_the_same_however_octets_are_cut(octets: bytes, size: int) -> None:
    octets *= 300  # Above half a million other threads may run meanwhile.
    whole, pieces, other = Checksum(), Checksum(), Checksum()
    whole.feed(octets)
    for start in range(0, len(octets), size * 300):
        pieces.feed(octets[start : start + size * 300])
    other.feed(octets + b"\0")
    assert pieces.digest() == whole.digest() != other.digest()
    assert len(whole.digest()) == 16


def test_it_is_known_whether_a_body_is_being_read() -> None:
    framer = Framer()
    states = []
    for octet in b"+OK\r\na\r\n.\r\n-ERR\r\n":
        framer.feed(bytes([octet]))
        framer.next_bytes_response(NO_LIMIT, NO_LIMIT)
        states.append(framer.in_body())
    assert states == [False] * 4 + [True] * 6 + [False] * 7


# Lines.


def test_a_line_keeps_its_line_end_and_a_status_line_does_not() -> None:
    framer = fed(b"a\r\nb\n\rc\n\r\r\n\n")
    assert framer.next_line(NO_LIMIT) == b"a\r\n"
    assert framer.next_line(NO_LIMIT) == b"b\n"
    # As poplib has it: of a line that ends in a bare LF, a leading CR goes as well.
    assert framer.next_status_line(NO_LIMIT) == b"c"
    assert framer.next_status_line(NO_LIMIT) == b"\r"
    assert framer.next_status_line(NO_LIMIT) == b""
    assert framer.next_line(NO_LIMIT) is None


def test_a_line_is_cut_at_its_limit_and_goes_on() -> None:
    framer = fed(b"abcdef\r\n")
    assert framer.next_line(0) == b""
    assert framer.next_line(4) == b"abcd"
    assert framer.next_line(4) == b"ef\r\n"
    assert framer.next_line(4) is None
    framer.feed(b"gh")
    assert framer.next_line(4) is None
    assert framer.next_line(2) == b"gh"


@pytest.mark.parametrize(("after", "ends"), [(b"+OK\r\n", False), (b"+OK\n", True)])
def test_a_status_line_that_was_read_as_a_line_tells_the_convention_too(after: bytes, ends: bool) -> None:  # noqa: FBT001
    framer = fed(after + b"a\r\n\n.\n")
    assert framer.next_line(NO_LIMIT) == after
    assert (framer.next_lines(NO_LIMIT) is not None) is ends


def test_octets_are_handed_out_as_they_came() -> None:
    framer = fed(b"ab", b"", b"c")
    assert framer.unread() == 3
    assert framer.next_octets(2) == b"ab"
    assert framer.next_octets(0) == b""
    assert framer.unread() == 1
    assert framer.next_octets(NO_LIMIT) == b"c"
    assert framer.next_octets(NO_LIMIT) == b""


NOTHING: tuple[object, ...] = (None, b"", ([], None))


@every_question
def test_nothing_is_need_more_and_never_an_error(question: Callable[[Framer, int], object]) -> None:
    framer = Framer()
    assert question(framer, NO_LIMIT) in NOTHING
    framer.feed(b"")
    assert question(framer, NO_LIMIT) in NOTHING


@pytest.mark.parametrize("rest", ["lines", "bytes", "piece"])
@pytest.mark.parametrize("begin", ["lines response", "bytes response"])
def test_a_response_that_has_not_come_whole_goes_on_with_whatever_takes_the_rest(begin: str, rest: str) -> None:
    framer = fed(b"+OK 120 octets\r\nab")
    assert QUESTIONS[begin](framer, NO_LIMIT) is None
    framer.feed(b"cdefgh\r\n.\r\n" + TRAILING)
    assert QUESTIONS[rest](framer, NO_LIMIT) in (b"abcdefgh\r\n", ([b"abcdefgh"], 10))
    if rest == "piece":
        assert framer.next_piece(NO_LIMIT) == b""
    assert framer.next_octets(NO_LIMIT) == TRAILING


@pytest.mark.parametrize("question", ["lines", "bytes", "piece"])
def test_a_body_needs_a_status_line_before_it(question: str) -> None:
    framer = fed(b"+OK\r\na\r\n.\r\n+OK\r\n")
    assert framer.next_bytes_response(NO_LIMIT, NO_LIMIT) == (b"+OK", b"a\r\n")
    with pytest.raises(FramingError, match="without its status line"):
        QUESTIONS[question](framer, NO_LIMIT)


@pytest.mark.parametrize("octets", ["+OK\r\n", None, 5, [43], array("i", [43])])
def test_only_octets_can_be_fed(octets: object) -> None:
    framer = Framer()
    with pytest.raises((TypeError, BufferError)):
        framer.feed(octets)  # type: ignore[arg-type]
    assert framer.unread() == 0


@pytest.mark.parametrize("octets", [b"+OK", memoryview(b"x+OKx")[1:4], memoryview(b"+-O-K")[::2]])
def test_octets_may_come_in_any_buffer(octets: bytes | memoryview) -> None:
    framer = Framer()
    framer.feed(octets)
    assert framer.next_octets(NO_LIMIT) == b"+OK"


def test_a_buffer_that_was_fed_is_free_afterwards() -> None:
    buffer = bytearray(b"+OK")
    framer = Framer()
    with memoryview(buffer) as octets:
        framer.feed(octets)
    buffer.clear()
    assert framer.next_octets(NO_LIMIT) == b"+OK"


# Limits and errors.


def status_line_too_long() -> Framer:
    framer = fed(b"+OK 567\r\n")
    with pytest.raises(FramingLimitError, match="line too long"):
        framer.next_status_line(8)
    return framer


def response_with_status_line_too_long() -> Framer:
    framer = fed(b"+OK 567\r\n")
    with pytest.raises(FramingLimitError, match="line too long"):
        framer.next_bytes_response(8, NO_LIMIT)
    return framer


def endless_status_line() -> Framer:
    framer = fed(b"+OK 567")
    assert framer.next_status_line(7) is None
    framer.feed(b"8")
    with pytest.raises(FramingLimitError, match="line too long"):
        framer.next_status_line(7)
    return framer


def body_too_long() -> Framer:
    framer = fed(b"+OK\r\nabc\r\n.\r\n")
    framer.next_status_line(NO_LIMIT)
    with pytest.raises(FramingLimitError, match="multi-line response longer than 4 octets"):
        framer.next_lines(4)
    return framer


def line_in_the_middle_of_a_body() -> Framer:
    framer = fed(b"+OK\r\nabc\r\n")
    framer.next_status_line(NO_LIMIT)
    assert framer.next_lines(NO_LIMIT) is None
    with pytest.raises(FramingError, match="still being read"):
        framer.next_line(NO_LIMIT)
    return framer


FAILURES = (
    status_line_too_long,
    response_with_status_line_too_long,
    endless_status_line,
    body_too_long,
    line_in_the_middle_of_a_body,
)


@every_question
@pytest.mark.parametrize("fail", FAILURES)
def test_after_an_error_every_question_gets_that_error_again(
    fail: Callable[[], Framer], question: Callable[[Framer, int], object]
) -> None:
    framer = fail()
    messages = set()
    for _ in range(2):
        with pytest.raises(FramingError) as caught:
            question(framer, NO_LIMIT)
        messages.add((type(caught.value), *caught.value.args))
        framer.feed(b"+OK\r\n.\r\n")
    assert len(messages) == 1
    # It is the first error, whatever was asked for later.
    with pytest.raises(FramingError) as first:
        framer.next_status_line(NO_LIMIT)
    assert messages == {(type(first.value), *first.value.args)}


@pytest.mark.parametrize("name", ["line", "status line", "octets"])
@pytest.mark.parametrize("begin", ["lines", "bytes", "piece", "lines response", "bytes response"])
def test_a_line_cannot_be_asked_for_in_the_middle_of_a_body(begin: str, name: str) -> None:
    framer = fed(b"+OK\r\nhalf a bo")
    if "response" not in begin:
        framer.next_status_line(NO_LIMIT)
    QUESTIONS[begin](framer, NO_LIMIT)
    with pytest.raises(FramingError, match="a multi-line response is still being read"):
        QUESTIONS[name](framer, NO_LIMIT)


def test_a_status_line_of_exactly_the_limit_passes() -> None:
    assert fed(b"+OK 567\r\n").next_status_line(9) == b"+OK 567"
    assert fed(b"+OK 567\n").next_status_line(8) == b"+OK 567"
    with pytest.raises(FramingLimitError):
        fed(b"+OK 567\n").next_status_line(7)


@every_shape
@every_reply
def test_a_body_of_exactly_the_limit_passes_and_one_octet_more_does_not(reply: bytes, shape: Shape) -> None:
    octets = body_of(reply).octets
    assert asked(shape, fed(reply), octets) == shape.expected(body_of(reply))
    if octets:
        with pytest.raises(FramingLimitError, match=f"longer than {octets - 1} octets"):
            asked(shape, fed(reply), octets - 1)


@every_reply
@pytest.mark.parametrize("size", [1, 1000])
def test_pieces_of_exactly_the_limit_pass_and_not_one_octet_more_is_handed_out(reply: bytes, size: int) -> None:
    body = body_of(reply)
    for limit in range(body.octets + 1):
        framer = fed(reply[: reply.index(b"\n") + 1])
        framer.next_status_line(NO_LIMIT)
        handed_out = b""
        refused = False
        rest = reply[reply.index(b"\n") + 1 :]
        for start in range(0, len(rest), size):
            framer.feed(rest[start : start + size])
            try:
                while piece := framer.next_piece(limit):
                    handed_out += piece
            except FramingLimitError:
                refused = True
                break
        assert refused == (limit < body.octets), limit
        assert body.content.startswith(handed_out)
        assert len(handed_out) <= limit


def test_a_body_is_refused_as_soon_as_it_is_too_long_and_not_at_its_end() -> None:
    framer = fed(b"+OK\r\n", b"a" * 11)
    framer.next_status_line(NO_LIMIT)
    with pytest.raises(FramingLimitError, match="longer than 10 octets"):
        framer.next_bytes(10)


def test_a_list_may_have_as_many_lines_as_its_octets_allow_and_not_one_more() -> None:
    most = most_lines(0)
    for question in ("lines", "lines response"):
        for lines, passes in ((most, True), (most + 1, False)):
            framer = fed(b"+OK\r\n" + b"\n" * lines)
            if question == "lines":
                framer.next_status_line(NO_LIMIT)
            if passes:
                assert QUESTIONS[question](framer, most * 10) is None
            else:
                with pytest.raises(FramingLimitError, match=f"more than {most} lines"):
                    QUESTIONS[question](framer, most * 10)
    assert most_lines(2**30) == 2**24
    # The octets alone have no limit in lines.
    assert fed(b"+OK\r\n" + b"\n" * (most + 1)).next_bytes_response(NO_LIMIT, most * 10) is None


@pytest.mark.parametrize(
    ("take", "nothing"),
    [
        (lambda framer: (framer.next_status_line(NO_LIMIT), framer.next_listing(2**24))[1], None),
        (lambda framer: framer.next_listing_response(NO_LIMIT, 2**24), None),
        (lambda framer: framer.next_listings(NO_LIMIT, 2**24, 1), ([], None)),
    ],
    ids=["listing", "listing response", "listings"],
)
def test_a_listing_has_limits_of_its_own_that_are_met_before_its_end(
    take: Callable[[Framer], object], nothing: object
) -> None:
    entry = b"1 a\r\n"
    assert take(fed(b"+OK\r\n" + entry * LEAST_ENTRIES)) == nothing
    with pytest.raises(FramingLimitError, match=f"more than {LEAST_ENTRIES} lines"):
        take(fed(b"+OK\r\n" + entry * (LEAST_ENTRIES + 1)))
    assert take(fed(b"+OK\r\n1 " + b"a" * (2**23 - 2))) == nothing
    with pytest.raises(FramingLimitError, match=f"longer than {2**23} octets"):
        take(fed(b"+OK\r\n1 " + b"a" * (2**23 - 1)))


# Cost.

# It takes a second or two. Looked through again for each octet it is more than four million megabytes: that is minutes
# at the speed of memory, and pytest ends it.
ONE_BY_ONE = 3_000_000


def test_octet_by_octet_costs_linear_time() -> None:
    framer = fed(b"+OK\r\n")
    framer.next_status_line(NO_LIMIT)
    for _ in range(ONE_BY_ONE):
        framer.feed(b"a")
        framer.next_bytes(NO_LIMIT)
    framer.feed(b"\r\n.\r\n")
    assert framer.next_bytes(NO_LIMIT) == b"a" * ONE_BY_ONE + b"\r\n"


def test_an_endless_status_line_octet_by_octet_costs_linear_time() -> None:
    framer = Framer()
    for _ in range(ONE_BY_ONE):
        framer.feed(b"a")
        assert framer.next_status_line(NO_LIMIT) is None


def resident_octets() -> int:
    """How much memory of this process is in use."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc")


@needs_proc
def test_pieces_of_a_large_body_take_constant_memory() -> None:
    part = b"..stuffed\r\n" * 6000
    framer = fed(b"+OK\r\n")
    framer.next_status_line(NO_LIMIT)
    before = resident_octets()
    received = 0
    for _ in range(2000):
        framer.feed(part)
        while piece := framer.next_piece(NO_LIMIT):
            received += len(piece)
        assert framer.unread() <= 2
    assert received == 2000 * (len(part) - 6000)
    assert resident_octets() - before < 8 * 2**20


@needs_proc
def test_the_memory_of_one_large_reply_is_given_back() -> None:
    framer = Framer()
    before = resident_octets()
    framer.feed(b"+OK\r\n" + b"a" * (64 * 2**20) + b"\r\n.\r\n")
    assert resident_octets() - before > 60 * 2**20
    framer.next_status_line(NO_LIMIT)
    assert framer.next_bytes(NO_LIMIT) is not None
    framer.feed(b"+OK\r\n")
    assert framer.next_status_line(NO_LIMIT) == b"+OK"
    assert resident_octets() - before < 16 * 2**20
