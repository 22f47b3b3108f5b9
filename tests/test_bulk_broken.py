"""Servers that cannot do what they say: noticed, nothing crossed, nothing deleted, and what came whole is kept."""

import contextlib
import re
from typing import Protocol

import pytest

import pop3fast
from pop3fast import POP3, CommandError, ConnectionLost, LimitExceeded, ProtocolError
from pop3fast._hooks import session_of
from pop3fast._proof import PROVEN_REPLIES
from scripted import Reply, ScriptedServer, Then
from shapes import GREETING


class Loop(Protocol):
    """A loop over the messages 1 and 2."""

    def __call__(self, pop: POP3, pipelining: bool) -> object: ...  # noqa: FBT001


def reply(number: int) -> bytes:
    return b"+OK\r\nmessage %d\r\n.\r\n" % number


def numbers_until_it_breaks(pop: POP3, error: type[Exception]) -> tuple[list[int], str]:
    """Return which messages came, each with its own content, and what was said then."""
    came = []
    with pytest.raises(error) as caught:  # noqa: PT012 - the loop is what raises
        for message in pop.retr_many(range(1, 30), pipelining=True):
            assert message.content == b"message %d\r\n" % message.number
            came.append(message.number)
    return came, str(caught.value)


def in_flight(pop: POP3) -> bool:
    """Say whether commands of a loop are without a reply."""
    pipeline = session_of(pop).pipeline
    return pipeline is not None and pipeline.in_flight


def assert_over(pop: POP3, server: ScriptedServer) -> None:
    """Check that nothing more is sent, not even QUIT, and that closing works."""
    for command in (pop.noop, pop.quit):
        with pytest.raises(ProtocolError):
            command()
    pop.close()
    with pytest.raises(ProtocolError):
        pop.dele(1)
    assert not re.search(rb"^(NOOP|DELE|QUIT)", server.received, re.MULTILINE)


@pytest.mark.parametrize("then", ["fin", "rst"])
def test_quirk_q111_a_server_that_answers_the_first_of_many_and_hangs_up(then: Then) -> None:
    replies: list[bytes | Reply] = [reply(1), Reply(reply(2), then=then)]
    with ScriptedServer(GREETING, replies) as server:
        pop = POP3(*server.address)
        came, said = numbers_until_it_breaks(pop, ConnectionLost if then == "fin" else ConnectionError)
        assert came == [1, 2][: len(came)]
        assert 1 in came
        if then == "fin":
            assert came == [1, 2]
            assert "RETR 3" in said
            assert "pipelining=False" in said
        pop.close()


@pytest.mark.parametrize("part", [b"", b"+", b"+O", b"+OK", b"+OK\r\n", b"+OK\r\nmess", b"+OK\r\nmessage 3\r\n."])
def test_what_came_whole_before_the_end_is_kept_wherever_it_ends(part: bytes) -> None:
    with ScriptedServer(GREETING, [reply(1), reply(2), Reply(part, then="fin")]) as server:
        pop = POP3(*server.address)
        came, said = numbers_until_it_breaks(pop, ConnectionLost)
        assert came == [1, 2]
        assert "RETR 3" in said
        assert_over(pop, server)


def test_quirk_q110_the_next_status_line_before_the_last_terminator() -> None:
    crossed = b"+OK\r\nmessage 2\r\n+OK\r\n.\r\nmessage 3\r\n.\r\n"
    with ScriptedServer(GREETING, [reply(1), crossed, b"", *map(reply, range(4, 9))]) as server:
        pop = POP3(*server.address)
        came, said = numbers_until_it_breaks(pop, ProtocolError)
        assert came == [1]
        assert "pipelining=False" in said
        assert_over(pop, server)


def test_quirk_q96_a_dot_that_was_not_stuffed() -> None:
    unstuffed = b"+OK\r\nmessage 2\r\n.\r\nthe rest of message 2\r\n.\r\n"
    with ScriptedServer(GREETING, [reply(1), unstuffed, *map(reply, range(3, 9))]) as server:
        pop = POP3(*server.address)
        assert pop.pipelining_given_up is None
        came, said = numbers_until_it_breaks(pop, ProtocolError)
        assert came == [1]
        assert "may not be whole" in said
        assert "did not fit" in str(pop.pipelining_given_up)
        assert_over(pop, server)


def test_quirk_q08_an_empty_line_for_the_reply_to_dele() -> None:
    with ScriptedServer(GREETING, [b"+OK\r\n", b"\r\n", b"+OK\r\n", b"+OK\r\n", b"+OK\r\n"]) as server:
        pop = POP3(*server.address)
        with pytest.raises(ProtocolError, match="DELE 2"):
            pop.dele_many([1, 2, 3, 4], pipelining=True)
        with pytest.raises(ProtocolError):
            pop.quit()
        assert b"QUIT" not in server.commands


@pytest.mark.parametrize("part", [b"", b"+OK\r\nhalf"])
def test_a_time_out_makes_doubtful_what_came_of_a_server_that_is_not_proven(part: bytes) -> None:
    """One of the commands may never have been read; then each reply behind it is another's."""
    with ScriptedServer(GREETING, [reply(1), reply(2), Reply(part, then="stall")]) as server:
        pop = POP3(*server.address, timeout=1)
        came, _ = numbers_until_it_breaks(pop, TimeoutError)
        assert came == [1]
        assert_over(pop, server)


def test_what_came_whole_before_a_time_out_of_a_proven_server_is_kept() -> None:
    """Or a message would be blamed for its neighbour, for which the server says nothing."""
    last = 3 * PROVEN_REPLIES

    def answer(command: bytes) -> Reply:
        number = int(command.split()[1])
        return Reply(reply(number)) if number <= last else Reply(b"", then="stall")

    with ScriptedServer(GREETING, answer) as server:
        pop = POP3(*server.address, timeout=1)
        came = 0
        with pytest.raises(TimeoutError):  # noqa: PT012 - the loop is what raises
            for message in pop.retr_many(range(1, last + 30), pipelining=True):
                assert message.content == b"message %d\r\n" % message.number
                came = message.number
        assert came == last
        assert_over(pop, server)


@pytest.mark.parametrize("how", ["noop", "dele"])
def test_what_came_whole_is_yielded_first_also_when_another_command_meets_the_hang_up(how: str) -> None:
    """Two functions read replies; what one of them has read is not lost to the other."""
    at, last = 2 * PROVEN_REPLIES, 2 * PROVEN_REPLIES + 20
    answered = []
    ended_at: list[bytes] = []

    def content(number: int) -> bytes:
        # From there on so large that one read does not bring all that are in flight.
        return b"message %d\r\n%s\r\n" % (number, b"x" * (50_000 if number >= at else 0))

    def answer(command: bytes) -> bytes | Reply:
        verb, _, argument = command.partition(b" ")
        if verb != b"RETR":  # where this machine is slow, it comes before the last of them was sent
            ended_at.append(command)
            return Reply(b"", then="fin")
        number = int(argument)
        if number > last:
            ended_at.append(command)
            return Reply(b"+OK\r\nhalf", then="fin")
        answered.append(number)
        return b"+OK\r\n" + content(number) + b".\r\n"

    came, tried = [], False
    with ScriptedServer(GREETING, answer) as server:
        pop = POP3(*server.address)
        with pytest.raises(ProtocolError) as broken:  # noqa: PT012 - the loop is what raises
            for message in pop.retr_many(range(1, 3 * PROVEN_REPLIES), pipelining=True):
                assert message.content == content(message.number)
                came.append(message.number)
                if message.number >= at and not tried and in_flight(pop):
                    tried = True
                    with pytest.raises(ConnectionLost):
                        pop.noop() if how == "noop" else pop.dele(1)
        assert tried
        assert came == answered
        if ended_at == [b"RETR %d" % (last + 1)]:
            assert came[-1] == last
            assert isinstance(broken.value, ConnectionLost)
            assert f"RETR {last + 1}" in str(broken.value)
        with pytest.raises(ProtocolError):
            pop.noop()
        pop.close()


def test_a_limit_that_is_passed_is_raised_behind_what_came() -> None:
    with ScriptedServer(GREETING, [reply(1), reply(2), b"+OK\r\n" + b"x" * 100 + b"\r\n.\r\n"]) as server:
        pop = POP3(*server.address)
        pop.max_octets = 50
        came, said = numbers_until_it_breaks(pop, ProtocolError)
        assert came == [1, 2]
        assert "longer than 50 octets" in said
        assert_over(pop, server)


def test_one_by_one_goes_on_where_pipelining_broke() -> None:
    def answer(command: bytes) -> bytes:
        return reply(int(command.split()[1])) if command.startswith(b"RETR") else b"+OK\r\n"

    with ScriptedServer(GREETING, answer) as server, POP3(*server.address) as pop:
        assert [message.number for message in pop.retr_many(range(1, 9), pipelining=False)] == list(range(1, 9))


def test_error_after_ok_ends_the_batch_behind_what_came() -> None:
    with ScriptedServer(GREETING, [reply(1), b"+OK -ERR cannot read it\r\n", reply(3)]) as server:
        pop = POP3(*server.address)
        loop = pop.retr_many([1, 2, 3], pipelining=True)
        assert next(loop).number == 1
        with pytest.raises((CommandError, ProtocolError), match="cannot read it"):
            next(loop)
        with contextlib.suppress(ProtocolError):
            pop.quit()
        assert b"QUIT" not in server.commands


LOOPS = {
    "retr_many": lambda pop, pipelining: [one.content for one in pop.retr_many([1, 2], pipelining=pipelining)],
    "retr_pieces": lambda pop, pipelining: [one.content for one in pop.retr_pieces([1, 2], pipelining=pipelining)],
    "dele_many": lambda pop, pipelining: pop.dele_many([1, 2], pipelining=pipelining),
}


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_what_an_earlier_reply_left_over_is_not_the_first_of_a_loop(loop: Loop, pipelining: bool) -> None:  # noqa: FBT001
    forged = b"+OK\r\nforged\r\n.\r\n"
    with ScriptedServer(GREETING, [b"+OK\r\n1 9\r\n.\r\n" + forged]) as server:
        pop = POP3(*server.address)
        pop.sizes()
        with pytest.raises(ProtocolError, match=r"forged|nothing had asked"):
            loop(pop, pipelining)
        assert b"RETR" not in server.received
        assert_over(pop, server)


@pytest.mark.parametrize("loop", [LOOPS["retr_many"], LOOPS["retr_pieces"]], ids=["retr_many", "retr_pieces"])
def test_quirk_q96_one_by_one_a_reply_that_a_message_forges_is_not_the_next_one(loop: Loop) -> None:
    replies = [b"+OK\r\nsubject\r\n.\r\n+OK\r\nforged\r\n.\r\n", reply(2)]
    with ScriptedServer(GREETING, replies) as server:
        pop = POP3(*server.address)
        with pytest.raises(ProtocolError, match="nothing had asked"):
            loop(pop, pipelining=False)
        assert_over(pop, server)


@pytest.mark.parametrize("number", [1, 2])
def test_one_by_one_too_a_message_with_something_left_over_behind_it_is_not_handed_over(number: int) -> None:
    replies = [reply(each) + b"+OK\r\nforged\r\n.\r\n" * (each == number) for each in (1, 2)]
    came: list[int] = []
    with ScriptedServer(GREETING, replies) as server:
        pop = POP3(*server.address)
        with pytest.raises(ProtocolError, match="nothing had asked"):
            came.extend(message.number for message in pop.retr_many([1, 2], pipelining=False))
        assert_over(pop, server)
    assert came == list(range(1, number))


def test_a_message_before_an_endless_line_is_not_passed_off_as_whole() -> None:
    # It may be the rest of that message, whose end was a line that the server did not stuff.
    last = 3 * PROVEN_REPLIES

    def answer(command: bytes) -> bytes:
        number = int(command.split()[1])
        return reply(number) if number != last else reply(number) + b"x" * (2 * pop3fast._MAXLINE)

    came: list[int] = []
    with ScriptedServer(GREETING, answer) as server:
        pop = POP3(*server.address, timeout=10)
        with pytest.raises(LimitExceeded):
            came.extend(message.number for message in pop.retr_many(range(1, last + 10), pipelining=True))
        assert_over(pop, server)
    assert came == list(range(1, last))
