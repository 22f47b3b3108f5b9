"""Around a login, STLS and QUIT nothing is in flight; every other command may be given while replies are still to come.

A server may throw away what comes with a command after which somebody else is to speak, and replies in flight would be
taken for those of the new conversation.
"""

from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

import pop3fast
from asking import ASKS, Ask
from pop3fast._proof import MAX_UNANSWERED_OCTETS
from pop3fast.testing import MailboxServer
from test_bulk import RecordedPOP3, Wire

# By RFC 1939, 2595 and 5034.
ALONE = {b"USER", b"PASS", b"APOP", b"RPOP", b"AUTH", b"STLS", b"QUIT"}
# So large that replies are still to come, and so few that all of them together take no time.
MESSAGES = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * 50_000) for number in range(1, 101)]


# What the client itself would not send in this session, and what it knows nothing about.
BY_HAND = [
    Ask(f"by hand: {line}", lambda pop, line=line: pop._shortcmd(line))  # type: ignore[misc] # a lambda's default has no type
    for line in ("STLS", "stls", "AUTH PLAIN AGEAYg==", "auth plain AGEAYg==", "PASS a b", "XCLIENT NAME=spike")
]
# These know the answer by now, so they ask nothing.
SILENT = {"capabilities", "supports", "login"}


@pytest.fixture(scope="module")
def server() -> Iterator[MailboxServer]:
    with MailboxServer(MESSAGES, process=True) as server:
        yield server


def moments_of(server: MailboxServer, way: Ask) -> list[list[bytes]]:
    """Ask in the middle of a loop; return what was in flight with each command of *way*, itself at the end."""
    with closing(RecordedPOP3(server.host, server.port, timeout=10)) as pop:
        pop.user(server.user)
        pop.pass_(server.password)
        # A server that has proven itself is asked for more beside other commands.
        assert sum(1 for _ in pop.top_many([*range(1, 101)] * 5)) == 500
        loop = pop.retr_many()
        for _ in range(20):
            next(loop)
        wire: Wire = pop.wire
        before = len(wire.in_flight())
        assert len(wire.in_flight()[-1]) > 1
        with suppress(pop3fast.error_proto, OSError):
            way.ask(pop)
        return wire.in_flight()[before:]


@pytest.mark.parametrize("way", [*ASKS, *BY_HAND], ids=lambda way: way.name)
def test_what_changes_who_speaks_is_alone_in_flight_and_nothing_else_waits_for_that(
    server: MailboxServer, way: Ask
) -> None:
    moments = moments_of(server, way)
    if way.name in SILENT:
        assert moments == []
        return
    first = moments[0]
    verb = first[-1].split(b" ")[0].upper()
    if verb in ALONE or way.name.startswith("by hand"):
        assert len(first) == 1
    else:
        assert len(first) > 1
    for moment in moments:
        if ALONE.intersection(command.split(b" ")[0].upper() for command in moment):
            assert len(moment) == 1


@pytest.mark.parametrize("octets", [4, 100, 1000, 3000])
def test_a_command_inside_a_loop_waits_until_there_is_room_for_it(octets: int) -> None:
    line = "NOOP" + " " * (octets > 4) + "x" * (octets - len("NOOP "))
    # So small that the octets of commands are what bounds the window, so large that not all is there with one read.
    messages = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * 5_000) for number in range(1, 1001)]
    with (
        MailboxServer(messages, process=True) as server,
        closing(RecordedPOP3(server.host, server.port, timeout=10)) as pop,
    ):
        pop.user(server.user)
        pop.pass_(server.password)
        for message in pop.retr_many(window=1000):
            if message.number % 50 == 7:
                pop._shortcmd(line)
        unanswered = [sum(len(command) + 2 for command in moment) for moment in pop.wire.in_flight()]
        behind = [size for size, moment in zip(unanswered, pop.wire.in_flight(), strict=True) if len(moment) > 1]
        alone = [len(moment) == 1 for moment in pop.wire.in_flight() if moment[-1] == line.encode()]
    assert max(behind) <= MAX_UNANSWERED_OCTETS
    assert max(behind) > MAX_UNANSWERED_OCTETS * 9 // 10
    # What would not fit behind anything is alone, and is sent all the same.
    assert all(alone) == (octets > MAX_UNANSWERED_OCTETS)
