"""Commands in flight fit into the server's buffer, which Dovecot's is the smallest of that was met."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from pop3fast import POP3, Message, Piece
from smallbuffer import SmallBufferServer

# Longer than what is ahead of time, so that windows of many sizes come and go.
MESSAGES = 900


@contextmanager
def logged_in(server: SmallBufferServer) -> Iterator[POP3]:
    with closing(POP3(server.host, server.port, timeout=20)) as pop:
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
        loops = [pop.retr_many() for _ in range(4)]
        for _ in range(MESSAGES):
            assert len({check(server, next(loop)) for loop in loops}) == 1
            assert pop.stat()[0] == MESSAGES
        assert server.lost == 0
        # Without the room that is kept, four windows of 900 octets each would be there at once.
