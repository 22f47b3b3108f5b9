"""retr_pieces and uids_and_sizes: messages of any size many at a time, both listings at once, and what that proves.

Owns what is new about them beside `retr_many`, whose tests hold for every loop.
"""

import resource
import subprocess
import sys
from collections.abc import Iterable

import pytest

from peaks import PEAK
from pop3fast import POP3, CommandError, ConnectionLost, LimitExceeded, Piece, ProtocolError
from pop3fast._batch import MAX_EXPECTED_OCTETS, MIN_IN_FLIGHT, PIECE_OCTETS
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING
from test_bulk import PatientServer, connected, logged_in, message, with_and_without_pipelining

SIZES = (0, 1, 100, PIECE_OCTETS - 1, PIECE_OCTETS, PIECE_OCTETS + 1, 3 * PIECE_OCTETS, 10**6, 5)


def messages() -> list[bytes]:
    """Return messages around the size of a piece, with dots where pieces may be cut."""
    return [(b".%d\r\n" % octets + b"..x.\r\n" * (octets // 6))[: max(0, octets - 2)] + b"\r\n" for octets in SIZES]


def put_together(pieces: Iterable[Piece]) -> list[tuple[int, bytes]]:
    """Return numbers and contents of whole messages; pieces must be in order, and none larger than it may be."""
    whole: list[tuple[int, bytes]] = []
    begun: list[Piece] = []
    for piece in pieces:
        assert piece.first is not bool(begun)
        assert len(piece.content) <= PIECE_OCTETS
        assert all(before.number == piece.number for before in begun)
        begun.append(piece)
        if piece.last:
            whole.append((piece.number, b"".join(each.content for each in begun)))
            begun = []
    assert not begun
    return whole


# ---- retr_pieces ----


@with_and_without_pipelining
def test_pieces_put_together_are_the_messages(pipelining: bool) -> None:  # noqa: FBT001
    with MailboxServer(messages()) as server, logged_in(server) as pop:
        expected = [(one.number, one.content) for one in pop.retr_many(pipelining=pipelining)]
        assert put_together(pop.retr_pieces(pipelining=pipelining)) == expected
        numbers: list[int | str] = ["3", 9, 8]
        assert put_together(pop.retr_pieces(numbers, pipelining=pipelining)) == [expected[2], expected[8], expected[7]]
        assert pop.noop() == b"+OK"
        in_flight = max(map(len, pop.wire.in_flight()))
        assert (in_flight > 1) is pipelining


def test_with_hooks_of_a_subclass_messages_come_whole() -> None:
    class Hooked(POP3):
        def _getresp(self) -> bytes:
            return super()._getresp()

    with MailboxServer(messages()) as server, Hooked(server.host, server.port) as pop:
        pop.user(server.user)
        pop.pass_(server.password)
        pieces = [*pop.retr_pieces()]
        assert [(piece.number, piece.first, piece.last) for piece in pieces] == [
            (number, True, True) for number in range(1, len(SIZES) + 1)
        ]
        assert [piece.content for piece in pieces] == [one.content for one in pop.retr_many()]


@with_and_without_pipelining
def test_a_refusal_comes_at_its_turn_and_the_rest_goes_on(pipelining: bool) -> None:  # noqa: FBT001
    refused: list[CommandError] = []
    with MailboxServer(messages()) as server, logged_in(server) as pop:
        pop.dele(7)
        came = put_together(pop.retr_pieces([6, 7, 8], pipelining=pipelining, on_error=refused.append))
        assert [number for number, _ in came] == [6, 8]
        assert [(error.command, error.number) for error in refused] == [("RETR", 7)]
        with pytest.raises(CommandError):
            put_together(pop.retr_pieces([6, 7, 8], pipelining=pipelining))
        assert pop.noop() == b"+OK"


@pytest.mark.parametrize("leave_at", [0, 3, 20])
def test_a_loop_may_be_left_in_the_middle_of_a_message(leave_at: int) -> None:
    with MailboxServer([message(1, 10**6), message(2, 100), message(3, 10**6)]) as server, logged_in(server) as pop:
        for place, _ in enumerate(pop.retr_pieces()):
            if place == leave_at:
                break
        assert pop.stat()[0] == 3
        assert pop.retr_bytes(2) == message(2, 100)


def test_what_has_come_of_a_message_that_is_cut_off_has_no_last_piece() -> None:
    half = b"+OK\r\n" + b"x" * (2 * PIECE_OCTETS)
    with ScriptedServer(GREETING, [b"+OK\r\nwhole\r\n.\r\n", Reply(half, then="fin")]) as server:
        pop = POP3(*server.address)
        came: list[Piece] = []
        with pytest.raises(ConnectionLost, match="RETR 2"):  # noqa: PT012 - the loop is what raises
            for piece in pop.retr_pieces([1, 2, 3], pipelining=True):
                came.append(piece)  # noqa: PERF402 - what came before the error is what is asked for
        pop.close()
    assert [(piece.number, piece.last) for piece in came if piece.last] == [(1, True)]
    assert {piece.number for piece in came if not piece.last} == {2}


def test_one_by_one_an_error_does_not_blame_pipelining() -> None:
    with ScriptedServer(GREETING, [Reply(b"+OK\r\nhalf", then="fin")]) as server:
        pop = POP3(*server.address)
        with pytest.raises(ConnectionLost, match=r"RETR 1 was whole$"):
            list(pop.retr_pieces([1], pipelining=False))
        pop.close()


def test_a_message_beyond_all_limits_breaks_the_connection() -> None:
    with MailboxServer([message(1, 100), message(2, 10**6)]) as server, logged_in(server) as pop:
        pop.max_octets = 10**5
        with pytest.raises(LimitExceeded, match="100000"):
            list(pop.retr_pieces())
        with pytest.raises(ProtocolError):
            pop.noop()


def test_what_is_no_window_and_no_number_is_named_and_nothing_is_sent() -> None:
    with MailboxServer([message(1)]) as server, logged_in(server) as pop:
        with pytest.raises(ValueError, match="window"):
            pop.retr_pieces([1], window=0)
        with pytest.raises(ValueError, match="message number: 'x'"):
            pop.retr_pieces(["x"])
        assert pop.wire.events == []


@pytest.mark.parametrize(
    ("ahead", "most"), [(None, MAX_EXPECTED_OCTETS // 500_000 + 1), (10 * 500_000, 11), (1, MIN_IN_FLIGHT)]
)
def test_sizes_and_ahead_bound_what_is_asked_for_ahead_of_time(ahead: int | None, most: int) -> None:
    messages = [message(1, 500_000 - number) for number in range(40)]
    with MailboxServer(messages) as server, logged_in(server) as pop:
        sizes = pop.sizes()
        assert len(put_together(pop.retr_pieces(sizes, sizes=sizes, ahead=ahead))) == 40
    in_flight = max(map(len, pop.wire.in_flight()))
    assert most - 2 < in_flight <= most


MEMORY = """
import sys
from pop3fast import POP3
with POP3("127.0.0.1", int(sys.argv[1]), timeout=60) as pop:
    pop.user("user"); pop.pass_("password")
    sum(len(piece.content) for piece in pop.retr_pieces([1]))
    before = peak()
    octets = sum(len(piece.content) for piece in pop.retr_pieces([2, 3], pipelining=True))
assert octets == 2 * 200_000_000, octets
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_size_of_a_message() -> None:
    large = b"x" * 199_999_998 + b"\r\n"
    with MailboxServer([message(1, 10**6), large, large], process=True) as server:
        ran = subprocess.run(
            [sys.executable, "-c", PEAK + MEMORY, str(server.port)], capture_output=True, text=True, check=False
        )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 8 * 1024
    assert resource.getpagesize() < 8 * 2**20  # so that less than that can be seen


# ---- uids_and_sizes ----


@with_and_without_pipelining
def test_both_listings_come_at_once_where_the_server_pipelines(pipelining: bool) -> None:  # noqa: FBT001
    with MailboxServer(messages()) as server, logged_in(server) as pop:
        uids, sizes = pop.uids(), pop.sizes()
        pop.wire.events.clear()
        assert pop.uids_and_sizes(pipelining=pipelining) == (uids, sizes)
        assert pop.wire.writes == ([b"UIDL\r\nLIST\r\n"] if pipelining else [b"UIDL\r\n", b"LIST\r\n"])
        (one,) = pop.retr_many([2])
        assert one.uid == uids[2]


def test_only_where_capa_says_so_are_they_asked_for_at_once() -> None:
    with MailboxServer(messages(), capabilities=["TOP", "UIDL"]) as server, logged_in(server) as pop:
        assert len(pop.uids_and_sizes()[0]) == len(SIZES)
        assert b"UIDL\r\nLIST\r\n" not in pop.wire.writes


def answering(**replies: bytes) -> ScriptedServer:
    """Return a server with these replies to UIDL, LIST, STAT, and +OK to everything else."""
    return ScriptedServer(GREETING, lambda command: replies.get(command.decode(), b"+OK\r\n"))


@pytest.mark.parametrize(
    ("verb", "replies"),
    [
        ("UIDL", {"UIDL": b"-ERR no\r\n", "LIST": b"+OK\r\n1 5\r\n.\r\n"}),
        ("LIST", {"UIDL": b"+OK\r\n1 a\r\n.\r\n", "LIST": b"-ERR no\r\n"}),
        ("UIDL", {"UIDL": b"-ERR no\r\n", "LIST": b"-ERR no\r\n"}),
    ],
)
def test_a_listing_that_is_refused_is_named_and_the_session_goes_on(verb: str, replies: dict[str, bytes]) -> None:
    with answering(**replies, STAT=b"+OK 1 5\r\n") as server, connected(server) as pop:
        with pytest.raises(CommandError) as caught:
            pop.uids_and_sizes(pipelining=True)
        assert (caught.value.command, caught.value.number) == (verb, None)
        assert pop.noop() == b"+OK"


def test_quirk_q64_an_empty_maildrop_that_refuses_to_list_is_empty() -> None:
    with answering(UIDL=b"-ERR empty\r\n", LIST=b"-ERR empty\r\n", STAT=b"+OK 0 0\r\n") as server:
        with connected(server) as pop:
            assert pop.uids_and_sizes(pipelining=True) == ({}, {})


@pytest.mark.parametrize("place", ["UIDL", "LIST"])
def test_what_is_no_listing_breaks_the_connection(place: str) -> None:
    replies = {"UIDL": b"+OK\r\n1 a\r\n.\r\n", "LIST": b"+OK\r\n1 5\r\n.\r\n"} | {place: b"+OK\r\nhello\r\n.\r\n"}
    with answering(**replies) as server, connected(server) as pop:
        with pytest.raises(ProtocolError, match="message number"):
            pop.uids_and_sizes(pipelining=True)
        with pytest.raises(ProtocolError):
            pop.noop()


def test_a_server_that_answers_only_the_first_of_two_is_found_out() -> None:
    with ScriptedServer(GREETING, [Reply(b"+OK\r\n1 a\r\n.\r\n", then="fin")]) as server, connected(server) as pop:
        with pytest.raises(ConnectionLost, match="LIST was whole; perhaps the server does not pipeline"):
            pop.uids_and_sizes(pipelining=True)


# ---- what a connection has shown that it can ----


def listing_and_messages(command: bytes) -> bytes:
    if command in {b"UIDL", b"LIST"}:
        return b"+OK\r\n" + b"".join(b"%d 9\r\n" % number for number in range(1, 300)) + b".\r\n"
    return b"+OK\r\n" + message(int(command.split()[1])) + b".\r\n"


def test_a_window_begins_where_the_listings_have_shown_that_the_server_pipelines() -> None:
    with PatientServer(listing_and_messages, patience=0.1) as server, connected(server) as pop:
        pop.uids_and_sizes(pipelining=True)
        assert len(put_together(pop.retr_pieces(range(1, 141), pipelining=True))) == 140
    assert server.rounds == [2, 8, 32, 100]


def test_a_later_loop_begins_with_16_commands_at_the_most() -> None:
    """Its numbers may be stale, and a server hangs up after twenty refusals (quirk q43)."""
    with PatientServer(listing_and_messages, patience=0.1) as server, connected(server) as pop:
        for first in (1, 101):
            assert len(list(pop.retr_many(range(first, first + 100), pipelining=True))) == 100
    assert server.rounds == [1, 4, 16, 64, 15, 16, 64, 20]


def test_refusals_at_the_end_of_a_loop_and_at_the_begin_of_the_next_are_never_twenty() -> None:
    def reply(command: bytes) -> bytes:
        number = int(command.split()[1])
        return b"-ERR gone\r\n" if number > 30 else b"+OK\r\n" + message(number) + b".\r\n"

    with PatientServer(reply, patience=0.1) as server, connected(server) as pop:
        for numbers in (range(1, 40), range(40, 80)):
            list(pop.retr_many(numbers, pipelining=True, on_error=lambda _: None))
    # Of the first loop, nine; then seven, and one by one.
    assert server.rounds == [1, 4, 16, 18, 7, *[1] * 33]
