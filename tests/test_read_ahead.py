"""What a program sees does not depend on `POP3.read_ahead`: the same program is run with and without it, and compared.

And nothing is asked for ahead of it but what a listing of the session has shown, within bounds, where the server
pipelines and the program has no way of its own with commands.
"""

import gc
import logging
import re
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pop3fast
from pop3fast import POP3, error_proto
from pop3fast._ahead import MAX_AHEAD_OCTETS
from pop3fast.testing import MailboxServer
from test_bulk import PatientServer, RecordedPOP3
from transcripts.player import audited

MOST = 20

P = TypeVar("P", bound=POP3)
Step = tuple[str, Any]
Program = list[Step]


class Seen(NamedTuple):
    """What a program sees of one step: its result or exception, the state after it, what was audited and printed."""

    outcome: object
    state: tuple[bool, bool]
    audited: list[tuple[str, object]]
    printed: str
    logged: list[str]


def by_hand(pop: POP3, line: str) -> object:
    pop._putcmd(line)
    return pop._getlongresp() if line.startswith(("RETR", "TOP")) else pop._getresp()


def past_the_hooks(pop: POP3, line: str) -> object:
    pop.sock.sendall(line.encode() + b"\r\n")
    return pop.file.readline()


STEPS: dict[str, Callable[[POP3, Any], object]] = {
    "retr": lambda pop, number: pop.retr(number),
    "retr_str": lambda pop, number: pop.retr(str(number)),
    "retr_bytes": lambda pop, number: pop.retr_bytes(number),
    "retr_many": lambda pop, number: [each.content for each in pop.retr_many([number])],
    "top": lambda pop, number: pop.top(number, 0),
    "top_more": lambda pop, number: pop.top(number, 1),
    "list_one": lambda pop, number: pop.list(number),
    "uidl_one": lambda pop, number: pop.uidl(number),
    "dele": lambda pop, number: pop.dele(number),
    "dele_many": lambda pop, number: pop.dele_many([number]),
    "list": lambda pop, _: pop.list(),
    "uidl": lambda pop, _: pop.uidl(),
    "stat": lambda pop, _: pop.stat(),
    "sizes": lambda pop, _: pop.sizes(),
    "noop": lambda pop, _: pop.noop(),
    "rset": lambda pop, _: pop.rset(),
    "capa": lambda pop, _: pop.capa(),
    "debug": lambda pop, number: pop.set_debuglevel(number % 3),
    "unknown": lambda pop, _: pop._shortcmd("XYZZY"),
    "control": lambda pop, number: pop.retr(f"{number}\n"),
    "by_hand": lambda pop, number: by_hand(pop, f"RETR {number}"),
    "dele_by_hand": lambda pop, number: by_hand(pop, f"DELE {number}"),
    "past_the_hooks": lambda pop, number: past_the_hooks(pop, f"DELE {number}"),
    "quit": lambda pop, _: pop.quit(),
}


def run(pop: POP3, program: Program, out: Callable[[], str], log: "LogRecords") -> list[Seen]:
    """Run *program* to its end, whatever comes of its steps."""
    seen = []
    for name, argument in program:
        del log.lines[:]
        outcome: object
        with audited() as heard:
            try:
                outcome = STEPS[name](pop, argument)
            except (error_proto, OSError, ValueError, AttributeError) as error:
                number = getattr(error, "number", None)
                outcome = type(error), error.args, getattr(error, "command", ""), number
        events = [(event, each[1]) for event, each in heard if event == "poplib.putline" and each[0] is pop]
        state = pop.in_step, pop.sock is None
        seen.append(Seen(outcome, state, events, out(), list(log.lines)))
    return seen


class LogRecords(logging.Handler):
    """What is logged of the protocol, but for the ports."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(re.sub(r"^\S+ ", "", record.getMessage()))


@pytest.fixture
def log() -> Iterator[LogRecords]:
    logger, handler = logging.getLogger("pop3fast"), LogRecords()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


MESSAGES = [b"Subject: %d\r\n\r\n%s..\r\n.\r\n" % (number, b"x\r\n" * (number % 3)) for number in range(1, 26)]
# Whose reply a reply is their sizes tell, so that new commands go out before the last ones have been answered.
DIFFERENT = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * number) for number in range(1, 301)]


def numbers(most: int = 28) -> st.SearchStrategy[int]:
    return st.integers(0, most)


def runs() -> st.SearchStrategy[Program]:
    """Return a way through messages: forwards, backwards, with gaps, twice, with other steps between."""

    def made(kind: str, start: int, length: int, stride: int, between: list[str]) -> Program:
        program: Program = []
        for place in range(length):
            number = start + place * stride
            program.append((kind, number))
            program += [(name, number) for name in between]
        return program

    between = st.lists(st.sampled_from(["dele", "noop", "uidl_one", "list_one", "retr", "top", "rset"]), max_size=2)
    return st.builds(
        made,
        st.sampled_from(["retr", "top", "retr_str"]),
        numbers(),
        st.integers(1, 12),
        st.sampled_from([1, 1, 1, -1, 2, 0]),
        between,
    )


def programs() -> st.SearchStrategy[Program]:
    steps = st.tuples(st.sampled_from(sorted(set(STEPS) - {"quit"})), numbers()).map(lambda step: [step])
    listings = st.sampled_from([[("list", 0)], [("uidl", 0)], [("stat", 0)], [("sizes", 0)], []])
    ends = st.sampled_from([[("quit", 0)], []])
    parts = st.lists(runs() | steps | runs(), min_size=1, max_size=6)
    return st.builds(lambda begin, parts, end: [*chain(begin, *parts, end)], listings, parts, ends)


def logged_in(server: MailboxServer) -> POP3:
    return logged_in_as(POP3, server)


def logged_in_as(kind: Callable[..., P], server: MailboxServer) -> P:
    pop = kind(server.host, server.port, 10)
    pop.user(server.user)
    pop.pass_(server.password)
    return pop


def both_ways(
    server: Callable[[], MailboxServer], program: Program, out: Callable[[], str], log: LogRecords
) -> list[tuple[list[Seen], list[int]]]:
    """Run *program* without and with reading ahead, each on a maildrop of its own; return what it saw and deleted."""
    ways = []
    for most in (0, MOST):
        with server() as maildrop, closing(logged_in(maildrop)) as pop:
            pop.read_ahead = most
            seen = run(pop, program, out, log)
            pop.close()
            ways.append((seen, maildrop.deleted))
    return ways


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    program=programs(), pipelining=st.sampled_from([True, True, False]), messages=st.sampled_from([MESSAGES, DIFFERENT])
)
def test_a_program_sees_the_same_and_does_the_same(
    capsys: pytest.CaptureFixture[str],
    log: LogRecords,
    program: Program,
    messages: list[bytes],
    *,
    pipelining: bool,
) -> None:
    capabilities = ["TOP", "UIDL", *(["PIPELINING"] if pipelining else [])]
    plain, ahead = both_ways(
        lambda: MailboxServer(messages, capabilities=capabilities), program, lambda: capsys.readouterr().out, log
    )
    assert ahead == plain


def test_what_was_refused_ahead_of_a_reset_is_asked_for_again_behind_it(log: LogRecords) -> None:
    program: Program = [("list", 0), ("retr", 8), ("dele_by_hand", 10), ("retr", 9), ("rset", 0), ("retr", 10)]
    plain, ahead = both_ways(lambda: MailboxServer(MESSAGES), program, str, log)
    assert ahead == plain
    assert plain[0][-1].outcome == (b"+OK 25 octets", [b"Subject: 10", b"", b"x", b"..", b"."], 25)


def test_what_the_program_has_marked_as_deleted_is_not_asked_for_ahead() -> None:
    with MailboxServer(MESSAGES) as server, closing(logged_in(server)) as pop:
        pop.read_ahead = MOST
        pop.list()
        pop.dele(4)
        for number in (1, 2):
            pop.retr(number)
        pop.noop()
        assert retrieved(server)[2:4] == [b"RETR 3", b"RETR 5"]


IN_BETWEEN = sorted(set(STEPS) - {"debug", "quit"})


@pytest.mark.parametrize("name", IN_BETWEEN)
@pytest.mark.parametrize("offset", [0, 1, 10])
def test_whatever_comes_while_replies_are_in_flight_has_its_own(log: LogRecords, name: str, offset: int) -> None:
    program: Program = [("list", 0)]
    for number in range(1, 61):
        program.append(("retr", number))
        if number > 40:
            program.append((name, number + offset))
    plain, ahead = both_ways(lambda: MailboxServer(DIFFERENT), program, str, log)
    assert ahead == plain


def test_the_log_has_each_command_when_the_program_gives_it(log: LogRecords, caplog: pytest.LogCaptureFixture) -> None:
    retrieved = [("retr", number) for number in range(1, 26)]
    program: Program = [("list", 0), *retrieved, ("retr", 99), ("quit", 0)]
    with caplog.at_level(logging.DEBUG, "pop3fast"):
        plain, ahead = both_ways(lambda: MailboxServer(MESSAGES), program, str, log)
    assert any(seen.logged for seen in plain[0])
    assert ahead == plain


# What is asked for.


def retrieved(server: MailboxServer) -> list[bytes]:
    return [command for command in server.commands if command.startswith((b"RETR", b"TOP"))]


@pytest.mark.parametrize("listing", ["list", "uidl", "stat", "sizes", "uids", "uids_and_sizes"])
def test_what_a_listing_has_shown_is_asked_for_in_few_round_trips(listing: str) -> None:
    with MailboxServer([MESSAGES[0]] * 200) as server, closing(logged_in_as(RecordedPOP3, server)) as pop:
        pop.read_ahead = 100
        getattr(pop, listing)()
        before = len(pop.wire.writes)
        for number in range(1, 201):
            assert pop.retr(number)[1][0] == b"Subject: 1"
        # One by one it is 200. All that is in flight has come before the next goes out, as long as nothing else shows
        # that the server is in step: one message, CAPA, 4, 16, 64, 101 and the rest.
        capa = [] if listing == "uids_and_sizes" else [1]  # uids_and_sizes has asked for it already
        assert [write.count(b"\r\n") for write in pop.wire.writes[before:]] == [1, *capa, 4, 16, 64, 101, 14]


def patient_answer(command: bytes) -> bytes:
    if command == b"LIST":
        return b"+OK\r\n%s.\r\n" % b"".join(b"%d %d\r\n" % pair for pair in enumerate(map(len, DIFFERENT), 1))
    if command.startswith(b"RETR"):
        return b"+OK\r\n%s.\r\n" % DIFFERENT[int(command[5:]) - 1]
    return b"+OK\r\nPIPELINING\r\n.\r\n"


def test_where_sizes_tell_whose_reply_is_whose_a_round_trip_has_all_that_was_wanted() -> None:
    # The server answers when nothing more comes, as over a line with a long round trip.
    with PatientServer(patient_answer) as server, closing(POP3(*server.address, 30)) as pop:
        pop.read_ahead = 100
        pop.list()
        for number in range(1, 301):
            assert pop.retr(number)[1][0] == b"Subject: %d" % number
    assert 90 < max(server.rounds) <= 101


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("lag", [0, 1, 3])
def test_a_message_comes_also_where_all_that_is_on_its_way_before_it_is_left_out(lag: int, stride: int) -> None:
    with PatientServer(patient_answer, lag=lag) as server, closing(POP3(*server.address, 30)) as pop:
        pop.read_ahead = MOST
        pop.list()
        for number in (1, 2, *range(2 + stride, 61, stride)):
            assert pop.retr(number)[1][0] == b"Subject: %d" % number


def test_nothing_is_asked_for_that_no_listing_has_shown() -> None:
    with MailboxServer(MESSAGES) as server, closing(logged_in(server)) as pop:
        pop.read_ahead = MOST
        for number in range(1, 11):
            pop.retr(number)
        assert retrieved(server) == [b"RETR %d" % number for number in range(1, 11)]
        assert b"CAPA" not in server.commands


def test_nothing_is_asked_for_behind_one_message_nor_behind_two_that_are_no_neighbours() -> None:
    with MailboxServer(MESSAGES) as server, closing(logged_in(server)) as pop:
        pop.read_ahead = MOST
        pop.list()
        for number in (1, 3, 1, 8, 8, 6):
            pop.retr(number)
        assert retrieved(server) == [b"RETR %d" % number for number in (1, 3, 1, 8, 8, 6)]


def test_no_more_is_asked_for_than_was_wanted() -> None:
    with MailboxServer(MESSAGES * 10) as server, closing(logged_in(server)) as pop:
        pop.read_ahead = 7
        pop.list()
        for number in range(1, 101):
            pop.retr(number)
            assert len(retrieved(server)) <= number + 7
        pop.quit()
        assert len(retrieved(server)) <= 107


def test_a_program_that_leaves_its_way_has_not_cost_much() -> None:
    with MailboxServer(MESSAGES * 40) as server, closing(logged_in(server)) as pop:
        pop.read_ahead = 1000
        pop.list()
        for number in range(1, 1000, 10):
            pop.retr(number)
            pop.retr(number + 1)
        assert len(retrieved(server)) <= 200 + 3 * 100


@pytest.mark.parametrize("listing", ["list", "uidl", "stat"])
def test_no_more_octets_are_asked_for_than_the_bound(listing: str) -> None:
    large = b"Subject: large\r\n\r\n" + (b"x" * 998 + b"\r\n") * 300
    with MailboxServer([large] * 40) as server, closing(logged_in(server)) as pop:
        pop.read_ahead = 100
        getattr(pop, listing)()
        for number in range(1, 31):
            pop.retr(number)
            assert (len(retrieved(server)) - number) * len(large) <= MAX_AHEAD_OCTETS
        assert len(retrieved(server)) > 31


def test_what_is_larger_than_the_bound_is_asked_for_in_its_turn() -> None:
    large = b"Subject: large\r\n\r\n" + (b"x" * 998 + b"\r\n") * 2200
    with MailboxServer([MESSAGES[0], MESSAGES[1], large, MESSAGES[3]]) as server, closing(logged_in(server)) as pop:
        pop.read_ahead = MOST
        pop.list()
        pop.retr(1)
        pop.retr(2)
        pop.noop()
        assert retrieved(server) == [b"RETR 1", b"RETR 2"]
        assert pop.retr(3)[2] == len(large)
        assert pop.retr(4)[1][0] == b"Subject: 4"


def test_backwards_is_a_way_too() -> None:
    with MailboxServer(MESSAGES) as server, closing(logged_in(server)) as pop:
        pop.read_ahead = MOST
        pop.list()
        pop.top(25, 0)
        pop.top(24, 0)
        assert retrieved(server) == [b"TOP %d 0" % number for number in (25, 24, 23, 22, 21)]
        assert [pop.top(number, 0)[1][0] for number in range(23, 0, -1)] == [
            b"Subject: %d" % number for number in range(23, 0, -1)
        ]


def test_what_is_marked_meanwhile_is_asked_for_anew_and_refused() -> None:
    with MailboxServer(MESSAGES) as server, closing(logged_in(server)) as pop:
        pop.read_ahead = MOST
        pop.list()
        for number in (1, 2):
            pop.retr(number)
        pop.dele(4)
        assert pop.retr(3)[1][0] == b"Subject: 3"
        with pytest.raises(pop3fast.CommandError):
            pop.retr(4)
        pop.rset()
        assert pop.retr(4)[1][0] == b"Subject: 4"


HOOKS = ("_putcmd", "_putline", "_getline", "_getresp", "_getlongresp", "_shortcmd", "_longcmd")


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("where", ["class", "instance"])
def test_it_is_off_where_a_hook_is_overridden(hook: str, where: str) -> None:
    def own(self: POP3, *arguments: Any) -> Any:  # noqa: ANN401 - whatever the hook takes and gives
        return getattr(POP3, hook)(self, *arguments)

    kind = type("Own", (POP3,), {hook: own} if where == "class" else {})
    with MailboxServer(MESSAGES) as server, closing(logged_in_as(kind, server)) as pop:
        pop.read_ahead = MOST
        if where == "instance":
            setattr(pop, hook, own.__get__(pop))
        pop.list()
        for number in (1, 2):
            pop.retr(number)
        pop.noop()
        assert retrieved(server) == [b"RETR 1", b"RETR 2"]


def test_it_is_off_where_every_line_is_printed_and_on_again_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    with MailboxServer(MESSAGES) as server, closing(logged_in(server)) as pop:
        pop.read_ahead = MOST
        pop.list()
        for number in (1, 2):
            pop.retr(number)
        assert len(retrieved(server)) == 5
        pop.set_debuglevel(2)
        pop.retr(3)
        assert "*get* b'Subject: 3\\r\\n'" in capsys.readouterr().out
        assert retrieved(server).count(b"RETR 3") == 2


def test_a_session_that_a_program_drops_is_freed_at_once_with_its_file() -> None:
    with MailboxServer(MESSAGES) as server:
        pop = logged_in(server)
        pop.read_ahead = MOST
        pop.list()
        for number in range(1, 6):
            pop.retr(number)
        with pop.sock:  # which would complain that nobody has closed it
            known: list[weakref.ref[object]] = [weakref.ref(pop), weakref.ref(pop.file)]
            gc.collect()
            gc.disable()
            try:
                del pop
                assert [one() for one in known] == [None, None]
            finally:
                gc.enable()


def test_it_is_off_unless_asked_for() -> None:
    assert POP3.read_ahead == 0
    with MailboxServer(MESSAGES) as server, closing(logged_in(server)) as pop:
        pop.list()
        for number in range(1, 11):
            pop.retr(number)
        assert retrieved(server) == [b"RETR %d" % number for number in range(1, 11)]


@pytest.mark.parametrize("capabilities", [(), ["TOP", "UIDL"]])
def test_a_server_that_does_not_say_it_pipelines_is_asked_one_by_one(capabilities: list[str]) -> None:
    with MailboxServer(MESSAGES, capabilities=capabilities) as server, closing(logged_in(server)) as pop:
        pop.read_ahead = MOST
        pop.list()
        for number in range(1, 11):
            pop.retr(number)
        assert retrieved(server) == [b"RETR %d" % number for number in range(1, 11)]
        assert server.commands.count(b"CAPA") == 1


# How it is switched on.

PROGRAM = """
import sys
{before}
import poplib
pop = poplib.POP3("127.0.0.1", int(sys.argv[1]))
pop.user("user")
pop.pass_("password")
for number in range(1, len(pop.list()[1]) + 1):
    pop.retr(number)
    if number == 2:
        break
pop.quit()
"""


@pytest.mark.parametrize(
    ("before", "variable", "ahead"),
    [
        ("import pop3fast; pop3fast.install_as_poplib()", "", 0),
        ("import pop3fast; pop3fast.install_as_poplib()", "20", 3),
        ("import pop3fast; pop3fast.install_as_poplib(read_ahead=2)", "", 2),
        ("import pop3fast; pop3fast.install_as_poplib(read_ahead=0)", "20", 0),
        ("import pop3fast; pop3fast.install_as_poplib()", "0", 0),
    ],
)
def test_a_program_that_cannot_be_changed_has_it_by_the_environment_or_by_who_starts_it(
    before: str, variable: str, ahead: int
) -> None:
    with MailboxServer(MESSAGES) as server:
        command = [sys.executable, "-c", PROGRAM.format(before=before), str(server.port)]
        environment = {"POP3FAST_READ_AHEAD": variable} if variable else {}
        subprocess.run(command, check=True, timeout=60, env=environment)
        assert len(retrieved(server)) == 2 + ahead


def test_what_is_no_number_in_the_environment_is_warned_of() -> None:
    command = [sys.executable, "-c", "import pop3fast; print(pop3fast.POP3.read_ahead)"]
    done = subprocess.run(
        command, check=True, timeout=60, env={"POP3FAST_READ_AHEAD": "many"}, capture_output=True, text=True
    )
    assert done.stdout == "0\n"
    assert "$POP3FAST_READ_AHEAD is a number of messages; nothing is read ahead for 'many'" in done.stderr


def test_a_negative_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="read_ahead is a number of messages, 0 or more: -1"):
        pop3fast.install_as_poplib(read_ahead=-1)
