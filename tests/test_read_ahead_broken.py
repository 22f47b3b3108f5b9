"""Reading ahead from servers that refuse, lie, break, hang up, or do not pipeline although they say so.

Where one command after the other would have gone well it does so with `POP3.read_ahead` too, and what goes wrong does
so when the program asks for the message at which it happened. Never is a message passed off as another one.
"""

from collections.abc import Callable
from contextlib import closing, suppress

import pytest

import pop3fast
from pop3fast import POP3, error_proto
from scripted import Reply, ScriptedServer

MOST = 20
COUNT = 30
# All of them differ, so that a size tells whose reply it is.
DIFFERENT = [60 + 3 * number for number in range(1, COUNT + 1)]
ALIKE = [80] * COUNT
# Seconds: a server that is only slow, on a busy machine, is not taken for one that says nothing.
SILENCE = 3.0

Between = Callable[[POP3, int], object]
Faults = dict[bytes, bytes | Reply]


def message(number: int, octets: int) -> bytes:
    head = b"Subject: %d\r\n\r\n" % number
    return head + b"x" * (octets - len(head) - 2) + b"\r\n"


class Maildrop:
    """Messages of certain sizes, and the commands that are answered in a way of their own."""

    def __init__(self, sizes: list[int], faults: Faults, listed: list[int] | None = None) -> None:
        self.replies: Faults = {
            b"STAT": b"+OK %d %d\r\n" % (len(sizes), sum(listed or sizes)),
            b"CAPA": b"+OK\r\nPIPELINING\r\n.\r\n",
            b"LIST": b"+OK\r\n%s.\r\n" % b"".join(b"%d %d\r\n" % pair for pair in enumerate(listed or sizes, 1)),
        }
        for number, octets in enumerate(sizes, 1):
            self.replies[b"RETR %d" % number] = b"+OK %d\r\n%s.\r\n" % (number, message(number, octets))
        self.replies |= faults

    def answer(self, command: bytes) -> bytes | Reply:
        return self.replies.get(command, b"+OK\r\n")


def nothing(_: POP3, __: int) -> None:
    pass


def loop(pop: POP3, between: Between = nothing) -> list[object]:
    """Retrieve all, one behind the other, until the connection is lost; return what came of each."""
    seen: list[object] = []
    with suppress(pop3fast.CommandError):
        pop.list()
    pop.stat()
    for number in range(1, COUNT + 1):
        try:
            seen.append(pop.retr(number))
            between(pop, number)
        except (error_proto, OSError) as error:
            seen.append((type(error), error.args, getattr(error, "number", None)))
        seen.append(pop.in_step)
        if not pop.in_step:
            break
    return seen


def both_ways(
    drop: Maildrop, between: Between = nothing, kind: type[ScriptedServer] = ScriptedServer, timeout: float = 10
) -> tuple[list[object], list[object], list[bytes]]:
    """Return what the loop saw without and with reading ahead, and the commands of the second one."""
    seen = []
    for most in (0, MOST):
        with kind(b"+OK hi\r\n", drop.answer) as server, closing(POP3(*server.address, timeout)) as pop:
            pop.read_ahead = most
            seen.append(loop(pop, between))
    return seen[0], seen[1], server.commands


SIZES = pytest.mark.parametrize("sizes", [DIFFERENT, ALIKE], ids=["different", "alike"])
PLACE = pytest.mark.parametrize("place", [2, 3, 6, 17, 30])
# Each of them waits until the client has lost its patience.
FEW_PLACES = pytest.mark.parametrize("place", [3, 17])
BETWEEN = pytest.mark.parametrize(
    "between",
    [nothing, lambda pop, _: pop.noop(), lambda pop, number: pop.dele(number)],
    ids=["nothing", "NOOP", "DELE"],
)


@SIZES
@PLACE
@BETWEEN
def test_a_refusal_comes_at_its_turn(sizes: list[int], place: int, between: Between) -> None:
    drop = Maildrop(sizes, {b"RETR %d" % place: b"-ERR [SYS/TEMP] not now\r\n"})
    plain, ahead, commands = both_ways(drop, between)
    assert ahead == plain
    assert len(plain) == 2 * COUNT
    assert b"CAPA" in commands


@SIZES
def test_refusals_one_behind_the_other_come_at_their_turn(sizes: list[int]) -> None:
    drop = Maildrop(sizes, {b"RETR %d" % number: b"-ERR no\r\n" for number in range(4, 25)})
    plain, ahead, _ = both_ways(drop)
    assert ahead == plain


ENDS = {
    "before the reply": slice(0),
    "in the status line": slice(3),
    "in the body": slice(30),
    "before the last octet": slice(-1),
}


@SIZES
@PLACE
@pytest.mark.parametrize("end", ENDS)
def test_a_hang_up_comes_at_its_turn(sizes: list[int], place: int, end: str) -> None:
    command = b"RETR %d" % place
    whole = Maildrop(sizes, {}).replies[command]
    assert isinstance(whole, bytes)
    plain, ahead, _ = both_ways(Maildrop(sizes, {command: Reply(whole[ENDS[end]], then="fin")}))
    assert ahead == plain
    assert plain[-2:] == [(pop3fast.ConnectionLost, ("-ERR EOF",), None), False]


@FEW_PLACES
def test_silence_comes_at_its_turn_where_sizes_tell_whose_reply_is_whose(place: int) -> None:
    command = b"RETR %d" % place
    plain, ahead, _ = both_ways(Maildrop(DIFFERENT, {command: Reply(b"", then="stall")}), timeout=SILENCE)
    assert ahead == plain
    assert plain[-2:] == [(TimeoutError, ("timed out",), None), False]


@SIZES
@PLACE
def test_a_server_that_fails_in_the_middle_of_its_reply_does_so_at_its_turn(sizes: list[int], place: int) -> None:
    drop = Maildrop(sizes, {b"RETR %d" % place: b"+OK -ERR cannot open it\r\n"})
    plain, ahead, _ = both_ways(drop)
    assert ahead == plain
    assert plain[-1] is False


@PLACE
def test_a_message_over_the_limit_breaks_the_connection_at_its_turn(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [*DIFFERENT]
    sizes[place - 1] = 1001
    monkeypatch.setattr(POP3, "max_octets", 1000)
    plain, ahead, _ = both_ways(Maildrop(sizes, {}))
    assert ahead == plain
    assert plain[-2:] == [(pop3fast.LimitExceeded, ("multi-line response longer than 1000 octets",), None), False]


@pytest.mark.parametrize("wrong", [-1, 1, 1000])
@PLACE
@BETWEEN
def test_sizes_that_are_wrong_after_all_change_nothing(wrong: int, place: int, between: Between) -> None:
    listed = [*DIFFERENT]
    listed[place - 1] += wrong
    plain, ahead, _ = both_ways(Maildrop(DIFFERENT, {}, listed), between)
    assert ahead == plain
    assert len(plain) == 2 * COUNT


def test_sizes_that_are_all_estimates_change_nothing() -> None:
    plain, ahead, commands = both_ways(Maildrop(DIFFERENT, {}, [1024] * COUNT))
    assert ahead == plain
    assert commands.count(b"RETR 7") == 1


def subjects(seen: list[object]) -> list[bytes]:
    return [each[1][0] for each in seen if isinstance(each, tuple) and isinstance(each[0], bytes)]


@SIZES
@FEW_PLACES
@BETWEEN
def test_a_reply_that_is_left_out_never_makes_one_message_pass_for_another(
    sizes: list[int], place: int, between: Between
) -> None:
    _, ahead, _ = both_ways(Maildrop(sizes, {b"RETR %d" % place: b""}), between, timeout=0.5)
    came = subjects(ahead)
    assert came == [b"Subject: %d" % number for number in range(1, len(came) + 1)]
    assert len(came) < place
    assert ahead[-1] is False


def test_a_reply_that_is_sent_twice_never_makes_one_message_pass_for_another_where_sizes_tell() -> None:
    once = Maildrop(DIFFERENT, {}).replies[b"RETR 17"]
    assert isinstance(once, bytes)
    _, ahead, _ = both_ways(Maildrop(DIFFERENT, {b"RETR 17": once * 2}), timeout=0.5)
    came = subjects(ahead)
    assert came == [b"Subject: %d" % number for number in range(1, len(came) + 1)]
    assert ahead[-1] is False


@pytest.mark.parametrize("twice", [10, 17, 28])
def test_a_reply_too_many_that_comes_only_behind_the_next_command_is_never_another_messages(twice: int) -> None:
    drop, owed = Maildrop(DIFFERENT, {}), list[bytes]()

    def answer(command: bytes) -> bytes | Reply:
        if not command.startswith(b"RETR"):
            return drop.answer(command)
        first = command == b"RETR %d" % twice and not owed
        owed.extend([command] * (2 if first else 1))
        return drop.answer(owed.pop(0))

    with ScriptedServer(b"+OK hi\r\n", answer) as server, closing(POP3(*server.address, 10)) as pop:
        pop.read_ahead = MOST
        ahead = loop(pop)
    came = subjects(ahead)
    assert came == [b"Subject: %d" % number for number in range(1, len(came) + 1)]
    assert len(came) >= twice - 1
    assert ahead[-1] is False


class FirstLineOnly(ScriptedServer):
    """A server that says PIPELINING and throws away what comes along with a command (quirk q132)."""

    def _play(self) -> None:
        script = self._replies
        assert callable(script)
        reply: bytes | Reply = self._greeting
        while self._say(reply if isinstance(reply, Reply) else Reply(reply)):
            octets = self._read()
            if not octets:
                return
            self.commands.append(octets.split(b"\r\n")[0])
            reply = script(self.commands[-1])


@SIZES
def test_a_server_that_throws_away_what_comes_together_is_found_out_by_the_first_few(sizes: list[int]) -> None:
    _, ahead, commands = both_ways(Maildrop(sizes, {}), kind=FirstLineOnly, timeout=SILENCE)
    came = subjects(ahead)
    assert came == [b"Subject: %d" % number for number in range(1, len(came) + 1)]
    assert (ahead[-2:], len(commands)) == ([(TimeoutError, ("timed out",), None), False], 5)


def test_more_than_was_thought_is_not_kept_but_asked_for_again() -> None:
    # By STAT a message has 60 octets. Of the later ones each has half a MiB, and all come before a NOOP's reply.
    sizes = [60] * 10 + [2**19] * (COUNT - 10)
    drop = Maildrop(sizes, {b"STAT": b"+OK %d %d\r\n" % (COUNT, COUNT * 60), b"LIST": b"-ERR no\r\n"})
    plain, ahead, commands = both_ways(drop, lambda pop, _: pop.noop())
    assert ahead == plain
    assert len([command for command in commands if command.startswith(b"RETR")]) > COUNT


def test_what_is_read_ahead_of_a_command_may_be_more_than_one_message_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(POP3, "max_octets", 60_000)
    plain, ahead, _ = both_ways(
        Maildrop([59_000 + number for number in range(COUNT)], {}), lambda pop, number: number % 6 or pop.noop()
    )
    assert ahead == plain
    assert len(plain) == 2 * COUNT


def test_what_was_read_ahead_is_the_programs_also_after_a_hang_up_and_nothing_else_is() -> None:
    drop = Maildrop(DIFFERENT, {b"RETR 5": Reply(b"", then="fin")})
    with ScriptedServer(b"+OK hi\r\n", drop.answer) as server, closing(POP3(*server.address, 10)) as pop:
        pop.read_ahead = MOST
        pop.list()
        assert [pop.retr(number)[1][0] for number in (1, 2, 3)] == [b"Subject: 1", b"Subject: 2", b"Subject: 3"]
        with pytest.raises(pop3fast.ConnectionLost, match=r"^-ERR EOF"):
            pop.noop()
        with pytest.raises(pop3fast.ProtocolError):
            pop.retr(4)
