"""A connection is one thread's at a time, and one process's: who comes second is told so, and is given nobody's reply.

The races are real ones: threads that are switched as often as Python can, and children of a real fork.
"""

import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Self

import pytest

from asking import ASKS
from pop3fast import POP3, AuthenticationError, ConnectionBusy, ProtocolError
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING, connect, over_plain_and_tls
from waiting import wait_until

ROUNDS = 300
MESSAGES = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * (number * 37 % 900)) for number in range(1, 61)]
# Python's own is 5 ms, in which a whole command is done.
SWITCH_SECONDS = 1e-6


@contextmanager
def many_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def logged_in(*, tls: bool = False) -> Iterator[POP3]:
    with MailboxServer(MESSAGES, tls=tls) as server, closing(connect(server, tls=tls)) as pop:
        pop.user("user")
        pop.pass_("password")
        yield pop


def in_threads(*works: Callable[[], None]) -> None:
    """Do all at once; what one of them raises is raised here."""
    failures: list[BaseException] = []
    start = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        try:
            start.wait(10)
            work()
        except BaseException as error:  # noqa: BLE001 - for the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    with many_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


def assert_in_step(pop: POP3) -> None:
    assert pop.retr_bytes(7) == MESSAGES[6]
    assert pop.list(9) == b"+OK 9 %d" % len(MESSAGES[8])
    assert pop.stat()[0] == len(MESSAGES)


@over_plain_and_tls
def test_each_of_several_threads_gets_its_own_reply_or_is_told_to_wait(*, tls: bool) -> None:
    outcomes: Counter[str] = Counter()

    def ask(first: int) -> Callable[[], None]:
        def work() -> None:
            for turn in range(ROUNDS):
                number = (first + turn) % len(MESSAGES) + 1
                try:
                    if turn % 2:
                        assert pop.retr_bytes(number) == MESSAGES[number - 1]
                    else:
                        assert pop.list(number) == b"+OK %d %d" % (number, len(MESSAGES[number - 1]))
                except ConnectionBusy:
                    outcomes["busy"] += 1
                else:
                    outcomes["answered"] += 1

        return work

    with logged_in(tls=tls) as pop:
        in_threads(ask(0), ask(20), ask(40))
        assert_in_step(pop)
    assert min(outcomes["busy"], outcomes["answered"]) > 0


@over_plain_and_tls
def test_a_loop_over_messages_shares_its_connection_with_other_threads(*, tls: bool) -> None:
    outcomes: Counter[str] = Counter()

    def loop() -> None:
        for _ in range(ROUNDS // 10):
            seen = 0
            try:
                for message in pop.retr_many(pipelining=True):
                    seen += 1
                    assert message.number == seen
                    assert message.content == MESSAGES[seen - 1]
            except ConnectionBusy:
                outcomes["broken off"] += 1
            else:
                # A loop that ends well has had them all.
                assert seen == len(MESSAGES)
                outcomes["whole"] += 1

    def ask() -> None:
        for turn in range(ROUNDS):
            number = turn % len(MESSAGES) + 1
            try:
                assert pop.list(number) == b"+OK %d %d" % (number, len(MESSAGES[number - 1]))
            except ConnectionBusy:
                outcomes["busy"] += 1

    with logged_in(tls=tls) as pop:
        in_threads(loop, ask)
        assert_in_step(pop)
    assert outcomes["broken off"] + outcomes["whole"] == ROUNDS // 10


def test_while_a_loop_waits_every_command_of_another_thread_is_told_so() -> None:
    go_on = threading.Event()

    def replies(command: bytes) -> Reply:
        if command == b"RETR 2":
            go_on.wait(10)
        return Reply(b"+OK\r\n%b\r\n.\r\n" % command if command[:4] == b"RETR" else b"+OK 7 777\r\n")

    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        contents: list[bytes] = []

        def loop() -> None:
            contents.extend(message.content for message in pop.retr_many([1, 2, 3], pipelining=True))

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            wait_until(lambda: b"RETR 2" in server.commands)
            for command in (pop.noop, pop.stat, pop.list, pop.quit, lambda: list(pop.retr_many([1], pipelining=True))):
                with pytest.raises(ConnectionBusy, match="in use"):
                    command()
        finally:
            go_on.set()
            thread.join(10)
        assert contents == [b"RETR 1\r\n", b"RETR 2\r\n", b"RETR 3\r\n"]
        assert pop.stat() == (7, 777)
        assert server.commands == [b"RETR 1", b"RETR 2", b"RETR 3", b"STAT"]


class Patient(POP3):
    """A subclass whose `__init__` calls nobody's; its server lets its first commands wait."""

    def __init__(self, other: POP3) -> None:  # no super().__init__(): that is the point
        self.sock, self.file, self._debugging = other.sock, other.file, 0
        self.host, self.port, self.welcome = other.host, other.port, other.welcome

    @classmethod
    def of(cls, server: ScriptedServer) -> Self:
        return cls(connect(server))


def test_a_subclass_that_never_calls_our_init_is_one_threads_at_a_time_too() -> None:
    def replies(command: bytes) -> bytes:
        return b"+OK %b\r\n" % command

    outcomes: Counter[str] = Counter()

    def ask(first: int) -> Callable[[], None]:
        def work() -> None:
            for turn in range(ROUNDS):
                try:
                    assert pop.list(first + turn) == b"+OK LIST %d" % (first + turn)
                except ConnectionBusy:
                    outcomes["busy"] += 1

        return work

    with ScriptedServer(GREETING, replies) as server:
        # Several, because who makes the turns is a race of its own, and there is one a connection.
        for _ in range(5):
            with closing(Patient.of(server)) as pop:
                in_threads(ask(1000), ask(2000))
                assert pop.noop() == b"+OK NOOP"
    assert outcomes["busy"] > 0


# A login of several lines is one turn: a command in between would be taken for an answer, and the answer for a command.


def test_a_command_given_while_a_secret_is_asked_for_is_an_error_and_sends_nothing() -> None:
    refused: list[BaseException] = []

    def give(command: Callable[[], object]) -> None:
        try:
            refused.append(RuntimeError(f"{command()!r} was returned"))
        except Exception as error:  # noqa: BLE001 - whatever it is, is what is looked at
            refused.append(error)

    def answer(_: bytes) -> bytes:
        commands = (pop.noop, pop.stat, lambda: list(pop.retr_many([1], pipelining=True)), lambda: pop.auth("PLAIN"))
        for command in commands:
            give(command)
            thread = threading.Thread(target=give, args=(command,))
            thread.start()
            thread.join(10)
        return b"answer"

    replies = [b"+ \r\n", b"+ \r\n", b"+OK in\r\n", b"+OK 7 777\r\n"]
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        assert pop.auth("X-TEST", answer) == b"+OK in"
        assert pop.stat() == (7, 777)
        assert server.commands == [b"AUTH X-TEST", b"YW5zd2Vy", b"YW5zd2Vy", b"STAT"]
    assert len(refused) == 2 * 2 * 4
    assert [error for error in refused if not isinstance(error, ProtocolError)] == []
    assert sum(isinstance(error, ConnectionBusy) for error in refused) == 2 * 4  # the other thread's


def test_nothing_of_a_login_is_sent_once_another_thread_may_have_come_in_between() -> None:
    """Threads that log in and threads that ask: no answer is ever sent as a command, no command as an answer."""

    def replies(command: bytes) -> bytes:
        exchange = len(server.commands) > 1 and server.commands[-2] == b"AUTH X-TEST"
        if exchange:
            return b"-ERR no\r\n" if command == b"YW5zd2Vy" else b"-ERR crossed\r\n"
        return b"+ \r\n" if command == b"AUTH X-TEST" else b"+OK %b\r\n" % command

    refusals: list[bytes] = []
    over = threading.Event()

    def log_in() -> None:
        try:
            while len(refusals) < ROUNDS // 10:  # pytest ends it when there are never so many
                try:
                    pop.auth("X-TEST", lambda _: b"answer")
                except ConnectionBusy:
                    time.sleep(0.0001)
                except AuthenticationError as error:
                    refusals.append(error.response)
        finally:
            over.set()

    def ask() -> None:
        turn = 0
        while not over.is_set():
            turn += 1
            with suppress(ConnectionBusy):
                assert pop.list(turn) == b"+OK LIST %d" % turn
            time.sleep(0.0002)  # or the other thread is never let in

    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        in_threads(log_in, ask)
        assert pop.noop() == b"+OK NOOP"
        exchanges = [index for index, command in enumerate(server.commands) if command == b"AUTH X-TEST"]
        assert refusals == [b"-ERR no"] * (ROUNDS // 10)
        assert {server.commands[index + 1] for index in exchanges} == {b"YW5zd2Vy"}
        assert server.commands.count(b"YW5zd2Vy") == len(exchanges)


def test_between_stls_and_the_handshake_nothing_is_sent_in_the_clear() -> None:
    outcomes: list[object] = []

    class Interrupted(POP3):
        def _shortcmd(self, line: str) -> bytes:
            response = super()._shortcmd(line)
            if line == "STLS":
                thread = threading.Thread(target=self.ask)
                thread.start()
                thread.join(10)
            return response

        def ask(self) -> None:
            try:
                outcomes.append(self.noop())
            except ProtocolError as error:
                outcomes.append(type(error))

    replies: list[bytes | Reply] = [b"+OK\r\nSTLS\r\n.\r\n", Reply(b"+OK go on\r\n", then="tls"), b"+OK 7 777\r\n"]
    with ScriptedServer(GREETING, replies) as server, closing(Interrupted(*server.address, timeout=5)) as pop:
        server.client_context.check_hostname = False
        pop.stls(server.client_context)
        assert pop.stat() == (7, 777)
        assert server.commands == [b"CAPA", b"STLS", b"STAT"]
    assert outcomes == [ConnectionBusy]


# Children.


def in_child(work: Callable[[], None]) -> None:
    """Do *work* in the child of a fork, which ends without any clean-up of ours; fail when it fails there."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the parent says it
            os.write(writer, traceback.format_exc().encode()[:4000])
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:  # noqa: PTH123 - a descriptor
        said = file.read().decode()
    os.waitpid(child, 0)
    assert said == ""


# Python 3.12 warns of every fork while there are threads, of which a server here has some; the child uses none.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@forks
@needs_fork
@over_plain_and_tls
def test_a_child_gets_an_error_for_every_command_and_the_parent_notices_nothing(*, tls: bool) -> None:
    def work() -> None:
        assert not pop.in_step
        for way in ASKS:
            if tls and way.name == "stls":  # there is TLS already
                continue
            with pytest.raises(ConnectionBusy, match="parent process"):
                way.ask(pop)

    with logged_in(tls=tls) as pop:
        in_child(work)
        assert_in_step(pop)


@forks
@needs_fork
@over_plain_and_tls
@pytest.mark.parametrize("ending", ["close", "with", "exception", "nothing"])
def test_however_a_child_ends_the_parents_session_goes_on(ending: str, *, tls: bool) -> None:
    def work() -> None:
        if ending == "close":
            pop.close()
            with pytest.raises(ProtocolError):
                pop.noop()
        elif ending == "with":
            with pop:
                pass
        elif ending == "exception":
            with pytest.raises(ZeroDivisionError), pop:
                1 // 0  # noqa: B018

    with logged_in(tls=tls) as pop:
        assert_in_step(pop)
        in_child(work)
        assert_in_step(pop)
        assert pop.quit().startswith(b"+OK")


@forks
@needs_fork
def test_a_loop_that_a_fork_finds_half_way_ends_in_the_child_and_goes_on_in_the_parent() -> None:
    with logged_in() as pop:
        loop = pop.retr_many(pipelining=True)
        assert next(loop).content == MESSAGES[0]

        def work() -> None:
            with pytest.raises(ConnectionBusy):
                list(loop)

        in_child(work)
        assert [message.content for message in loop] == MESSAGES[1:]
        assert_in_step(pop)


@forks
@needs_fork
def test_a_connection_that_a_child_makes_is_the_childs() -> None:
    with MailboxServer(MESSAGES) as server:

        def work() -> None:
            with closing(connect(server)) as pop:
                pop.login("user", "password", mechanism="PLAIN")
                assert_in_step(pop)

        in_child(work)
