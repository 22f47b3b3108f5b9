"""Commands in flight fit into the server's buffer; where they do not, no message is ever passed off as another."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from pop3fast import POP3, Message, Piece, error_proto
from smallbuffer import SmallBufferServer

# Longer than what is ahead of time, so that windows of many sizes come and go.
MESSAGES = 900


@contextmanager
def logged_in(server: SmallBufferServer, timeout: float = 20) -> Iterator[POP3]:
    with closing(POP3(server.host, server.port, timeout=timeout)) as pop:
        pop.user("user")
        pop.pass_("secret")
        yield pop


def check(server: SmallBufferServer, message: Message | Piece) -> int:
    assert message.content == server.content(message.number)
    return message.number


def test_a_buffer_of_2048_octets_is_never_overrun_and_nearly_filled() -> None:
    with SmallBufferServer(2048, MESSAGES) as server, logged_in(server) as pop:
        for window in (100, 1000):
            assert [check(server, message) for message in pop.retr_many(window=window)] == list(range(1, MESSAGES + 1))
            assert [check(server, piece) for piece in pop.retr_pieces(window=window)] == list(range(1, MESSAGES + 1))
        assert server.lost == 0
        assert server.fullest >= 2000


def test_commands_inside_a_loop_find_room_in_a_buffer_of_2048_octets_too() -> None:
    with SmallBufferServer(2048, MESSAGES) as server, logged_in(server) as pop:
        loops = [pop.retr_many(window=1000) for _ in range(2)]
        for number in range(1, MESSAGES + 1):
            assert {check(server, next(loop)) for loop in loops} == {number}
            pop._shortcmd("NOOP " + "x" * (number % 200))
        assert server.lost == 0
        assert server.fullest >= 2000


@pytest.mark.parametrize("octets", [512, 64, 16])
@pytest.mark.parametrize(
    "loop",
    [
        lambda pop: pop.retr_many(),
        lambda pop: pop.retr_pieces(),
        lambda pop: pop.top_many(range(1, MESSAGES + 1)),
        lambda pop: pop.retr_many(range(1, MESSAGES + 1)),
    ],
    ids=["retr_many", "retr_pieces", "top_many", "retr_many without sizes"],
)
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "with others inside"])
def test_a_buffer_that_is_too_small_never_gives_a_message_under_another_number(
    octets: int,
    loop: Callable[[POP3], Iterator[Message | Piece]],
    inside: bool,  # noqa: FBT001
) -> None:
    # Where a command was lost, its reply is waited for as long as this.
    with SmallBufferServer(octets, MESSAGES) as server, logged_in(server, timeout=0.5) as pop:
        seen = []
        try:
            for message in loop(pop):
                seen.append(check(server, message))
                if inside and message.number % 7 == 0:
                    assert pop.retr_bytes(message.number) == message.content
        except (error_proto, OSError):
            assert server.lost
        else:
            assert len(seen) == MESSAGES
        assert seen == list(range(1, len(seen) + 1))
