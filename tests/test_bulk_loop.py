"""The loop is the user's: left, interrupted, nested, slow. No reply is ever crossed, and memory stays what it was."""

import contextlib
import gc
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest

import pop3fast
from peaks import PEAK
from pop3fast import POP3, Message, ProtocolError
from pop3fast._hooks import session_of
from pop3fast.testing import MailboxServer
from servers import DovecotServer, require
from test_bulk import RecordedPOP3
from waiting import wait_until

# Large enough that replies are still to come wherever a loop is left: small ones would all be there at once.
MESSAGES = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * (50_000 + number * 37 % 900)) for number in range(1, 301)]


@pytest.fixture
def server() -> Iterator[MailboxServer]:
    with MailboxServer(MESSAGES) as server:
        yield server


@contextlib.contextmanager
def logged_in(server: MailboxServer, timeout: float = 10, *, proven: bool = True) -> Iterator[POP3]:
    pop = POP3(server.host, server.port, timeout=timeout)
    try:
        pop.user("user")
        pop.pass_("password")
        if proven:  # then it is asked for more ahead of time, also beside other commands
            assert sum(1 for _ in pop.top_many([*range(1, 301)] * 2)) == 600
        yield pop
    finally:
        pop.close()


def check(message: Message) -> int:
    assert message.content == MESSAGES[message.number - 1]
    return message.number


def in_flight(pop: POP3) -> bool:
    """Say whether replies are still to come, without which a test here would show nothing."""
    pipeline = session_of(pop).pipeline
    return pipeline is not None and pipeline.in_flight


def assert_in_step(pop: POP3) -> None:
    assert pop.retr_bytes(77) == MESSAGES[76]
    assert pop.uidl(5).split()[1] == b"5"
    assert pop.stat()[0] == len(MESSAGES)


@pytest.mark.parametrize("leave_at", [1, 2, 5, 22, 85, 86, 200, 300])
def test_a_loop_may_be_left_at_any_message(server: MailboxServer, leave_at: int) -> None:
    with logged_in(server) as pop:
        for message in pop.retr_many():
            if check(message) == leave_at:
                assert in_flight(pop) or leave_at in {1, len(MESSAGES)}
                break
        assert_in_step(pop)


@pytest.mark.parametrize("how", ["many", "pieces", "tops"])
def test_what_is_still_to_come_for_a_loop_that_was_left_is_kept_nowhere(server: MailboxServer, how: str) -> None:
    """It has nobody any more who would take it, and may be as much as was asked for ahead of time."""
    with logged_in(server) as pop:
        loops: dict[str, Callable[[], Iterator[object]]] = {
            "many": pop.retr_many,
            "pieces": pop.retr_pieces,
            "tops": lambda: pop.top_many(howmuch=1),
        }
        for _ in loops[how]():
            pipeline = session_of(pop).pipeline
            assert pipeline is not None
            batch, _ = pipeline._runs[0]
            break
        assert in_flight(pop)
        assert_in_step(pop)
        assert not in_flight(pop)
        assert list(batch.arrived) == []


def test_an_exception_inside_the_loop_leaves_the_session_in_step(server: MailboxServer) -> None:
    with logged_in(server) as pop:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the loop is what raises
            for message in pop.retr_many():
                assert message.number == 1 or in_flight(pop)
                1 // (check(message) - 50)
        assert_in_step(pop)


def test_other_commands_inside_the_loop_get_their_own_replies(server: MailboxServer) -> None:
    seen, still_to_come = [], 0
    with logged_in(server) as pop:
        for message in pop.retr_many():
            seen.append(number := check(message))
            still_to_come += in_flight(pop)
            if number % 7 == 0:
                assert pop.retr_bytes(number) == message.content
            if number % 11 == 0:
                assert pop.top(number, 0)[1][0] == b"Subject: %d" % number
            if number % 13 == 0:
                assert [check(other) for other in pop.retr_many([3, 1, 2])] == [3, 1, 2]
            if number % 17 == 0:
                pop.dele(number)
            if number % 40 == 0:
                assert pop.dele_many([number]) == 1
        deleted = [number for number in range(1, 301) if number % 17 == 0 or number % 40 == 0]
        assert seen == list(range(1, 301))
        assert still_to_come > 20
        assert pop.stat()[0] == 300 - len(deleted)
        pop.quit()
    assert sorted(server.deleted) == deleted


def test_two_loops_taking_turns(server: MailboxServer) -> None:
    with logged_in(server) as pop:
        up, down = pop.retr_many(range(1, 101)), pop.retr_many(range(300, 200, -1))
        pairs, still_to_come = [], 0
        for _ in range(100):
            pairs.append((check(next(up)), check(next(down))))
            still_to_come += in_flight(pop)
        assert still_to_come > 60
        assert pairs == [(number, 301 - number) for number in range(1, 101)]
        assert list(up) == list(down) == []
        assert_in_step(pop)


def test_a_loop_that_was_put_aside_goes_on_where_it_was(server: MailboxServer) -> None:
    with logged_in(server) as pop:
        loop = pop.retr_many()
        assert [check(next(loop)) for _ in range(30)] == list(range(1, 31))
        assert in_flight(pop)
        assert_in_step(pop)
        assert [check(message) for message in loop] == list(range(31, 301))


def test_a_loop_of_a_session_that_is_over_says_so(server: MailboxServer) -> None:
    with logged_in(server) as pop:
        loop = pop.retr_many()
        for _ in range(30):
            check(next(loop))
        assert in_flight(pop)
        pop.quit()
        with pytest.raises(ProtocolError, match="closed"):
            list(loop)


def test_interrupts_at_random_moments_never_cross_a_reply() -> None:
    """Real signals. After each the connection is in step, or it says that it is broken."""
    outcomes = set()
    rung: list[int] = []

    def ring(*_: object) -> None:
        rung.append(attempt)
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, ring)
    # Hypothesis has the collector call it, where nothing can be raised either.
    gc.disable()
    try:
        # In a process of its own: the signal would hit its threads' clean-up here, where nothing can be raised.
        with MailboxServer(MESSAGES, latency=0.0005, process=True) as server:
            for attempt in range(150):
                with logged_in(server, proven=False) as pop:
                    numbers = list(range(1, 301))
                    try:
                        signal.setitimer(signal.ITIMER_REAL, 0.0001 + attempt % 50 * 0.0003)
                        for message in pop.retr_many(numbers, pipelining=True):
                            check(message)
                        wait_until(lambda: attempt in rung)  # noqa: B023 - it is called at once
                        pytest.fail("an interrupt got lost")
                    except KeyboardInterrupt:
                        pass
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                    try:
                        assert_in_step(pop)
                        outcomes.add("in step")
                    except ProtocolError:
                        outcomes.add("broken")
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, previous)
    assert outcomes == {"in step", "broken"}


MEMORY = """
import sys, time
import pop3fast
pop = pop3fast.POP3("127.0.0.1", int(sys.argv[1]))
pop.user("user"); pop.pass_("password")
pop.retr_bytes(1); list(pop.retr_many(range(1, 200)))
before = peak()
octets = 0
for message in pop.retr_many():
    octets += message.octets
    if message.number % 500 == 0:
        time.sleep(0.05)
assert octets == 10_000 * 50_000, octets
print(peak() - before)
"""


def test_memory_does_not_grow_however_slow_the_loop() -> None:
    with MailboxServer([b"x" * 49_998 + b"\r\n"] * 10_000, process=True) as server:
        ran = subprocess.run(
            [sys.executable, "-c", PEAK + MEMORY, str(server.port)], capture_output=True, text=True, check=False
        )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 16 * 1024


def test_a_loop_that_waits_stops_the_server() -> None:
    octets = 100_000
    with MailboxServer([b"x" * (octets - 2) + b"\r\n"] * 400) as server:
        pop = RecordedPOP3(server.host, server.port, timeout=10)
        with contextlib.closing(pop):
            pop.user("user")
            pop.pass_("password")
            loop = pop.retr_many()
            for _ in range(60):
                next(loop)
            # Nobody but the loop sends anything, so it is no more however long it waits.
            asked = sum(command.startswith(b"RETR") for command in pop.wire.commands)
            # 2 MiB ahead, and as much that is not handed over until it is sure.
            assert 60 < asked <= 60 + 2 * 2**21 // octets + 10
            assert sum(1 for _ in loop) == 340


SHAPES = {
    "empty": b"",
    "headers only": b"Subject: a\r\n\r\n",
    "dots": b".\r\n..\r\n.a\r\n...\r\n\r\n.\r\n",
    "8-bit and NUL": b"Subject: \xfc\r\n\r\n\x00\xff\r\n",
    "a megabyte in a line": b"Subject: b\r\n\r\n" + b"y" * 2**20 + b"\r\n",
    "lone line feeds": b"Subject: c\r\n\r\na\nb\r\n",
}


@pytest.mark.parametrize("pipelining", [True, False])
def test_contents_are_octet_exact(pipelining: bool) -> None:  # noqa: FBT001
    with MailboxServer([*SHAPES.values(), b"no line end"]) as server, logged_in(server, proven=False) as pop:
        contents = [message.content for message in pop.retr_many(pipelining=pipelining)]
        assert contents == [*SHAPES.values(), b"no line end\r\n"]
        headers = [message.content for message in pop.top_many(pipelining=pipelining)]
        assert headers[1] == SHAPES["headers only"]
        assert headers[4] == b"Subject: b\r\n\r\n"
        uids = pop.uids()
        assert [message.uid for message in pop.retr_many(pipelining=pipelining)] == list(uids.values())


def test_a_message_is_what_it_says() -> None:
    message = Message(7, b"Subject: =?utf-8?q?=C3=BC?=\r\n\r\n.text\r\n\r\n", "u1")
    assert message.octets == len(message.content)
    assert message.lines() == [b"Subject: =?utf-8?q?=C3=BC?=", b"", b".text", b""]
    parsed = message.email()
    assert isinstance(parsed, EmailMessage)
    assert parsed["subject"] == "\xfc"
    assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301
    assert message != Message(8, message.content, "u1")
    assert "text" not in repr(message)
    assert Message(1, b"\xff\x00 no header\r\n").email().defects


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_dovecot_gives_the_same_many_at_a_time_as_one_by_one(tls: bool) -> None:  # noqa: FBT001
    require(DovecotServer)
    with DovecotServer() as server:
        mailbox = server.mailbox
        mailbox.fill(MESSAGES)
        port = server.tls_port if tls else server.plain_port
        context = server.client_context()
        with pop3fast.POP3_SSL("localhost", port, context=context) if tls else POP3("localhost", port) as pop:
            pop.user(server.login_name(mailbox.user))
            pop.pass_(mailbox.password)
            assert pop.supports("pipelining")
            one_by_one = [pop.retr_bytes(number) for number in pop.sizes()]
            assert len(one_by_one) == len(MESSAGES)
            assert [message.content for message in pop.retr_many()] == one_by_one
            assert [message.content for message in pop.top_many(howmuch=0)] == [
                content[: content.index(b"\r\n\r\n") + 4] for content in one_by_one
            ]
            refused: list[int | None] = []
            for message in pop.retr_many([1, 999, 2, 998, 3], on_error=lambda error: refused.append(error.number)):
                assert message.content == one_by_one[message.number - 1]
            assert refused == [999, 998]
            assert pop.dele_many(range(1, 251)) == 250
        assert len(mailbox.contents()) == len(MESSAGES) - 250
