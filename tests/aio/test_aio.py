"""The asyncio client where it differs from the blocking one: many tasks, one loop, and what each of them may expect."""

import asyncio
import gc
import io
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from aio.running import connecting, count_writes, run, transports, until, url_of, uvloop_factory
from pop3fast import CommandError, ConnectionLost, InsecureTLSWarning, ProtocolError, aio
from pop3fast._deadline import Deadline
from pop3fast.aio._patience import Patience
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer

MESSAGES = [b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * (2_000 + number)) for number in range(1, 301)]
ALL = range(1, len(MESSAGES) + 1)

SMALL = MESSAGES[:3]


# Many tasks.


def test_many_tasks_pipeline_by_themselves_and_each_gets_its_own_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            async with connecting(server, mechanism="USER") as pop:
                writes = count_writes(monkeypatch)
                assert await asyncio.gather(*(pop.retr_bytes(number) for number in ALL)) == MESSAGES
                assert len(writes) < len(MESSAGES) // 10
                assert server.commands.count(b"CAPA") == 1
                uids, sizes, listed, stat = await asyncio.gather(pop.uids(), pop.sizes(), pop.list(7), pop.stat())
                assert (len(uids), len(sizes), listed.split()[1], stat[0]) == (300, 300, b"7", 300)

    run(main)


def test_where_the_server_does_not_pipeline_they_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with MailboxServer(SMALL, capabilities=["UIDL"]) as server:
            async with connecting(server) as pop:
                writes = count_writes(monkeypatch)
                asked = [1, 2, 3, 2, 1]
                got = await asyncio.gather(*(pop.retr_bytes(number) for number in asked))
                assert got == [SMALL[number - 1] for number in asked]
                assert sorted(writes) == sorted([b"CAPA\r\n", *(b"RETR %d\r\n" % number for number in asked)])

    run(main)


def test_a_server_that_stops_pipelining_with_the_login_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([b"PIPELINING\r\n", b"UIDL\r\n"])

    async def main() -> None:
        script = lambda line: b"+OK\r\n" + next(said) + b".\r\n" if line == b"CAPA" else b"+OK\r\n"  # noqa: E731
        with ScriptedServer(b"+OK\r\n", script) as server:
            pop = await aio.connect(url_of(server), timeout=10)
            await asyncio.gather(*(pop.noop() for _ in range(5)))
            await pop.pass_("password")
            writes = count_writes(monkeypatch)
            await asyncio.gather(*(pop.noop() for _ in range(5)))
            assert sorted(writes) == [b"CAPA\r\n", *[b"NOOP\r\n"] * 5]
            await pop.close()

    run(main)


def test_what_tasks_ask_together_goes_out_in_one_write_behind_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        with MailboxServer(SMALL) as server:
            async with connecting(server) as pop:
                for _ in range(10):  # by now the server is known to pipeline
                    await asyncio.gather(*(pop.noop() for _ in range(100)))
                writes = count_writes(monkeypatch)
                await asyncio.gather(*(pop.noop() for _ in range(20)))
                assert writes == [b"NOOP\r\n", b"NOOP\r\n" * 19]

    run(main)


def test_a_refusal_is_its_own_tasks_alone() -> None:
    async def main() -> None:
        with MailboxServer(SMALL) as server:
            async with connecting(server) as pop:
                asked = [pop.retr_bytes(number) for number in (1, 9, 2, 8, 3)]
                got = await asyncio.gather(*asked, return_exceptions=True)
                assert [got[0], got[2], got[4]] == SMALL
                for error in (got[1], got[3]):
                    assert isinstance(error, CommandError)
                assert [getattr(got[place], "number", None) for place in (1, 3)] == [9, 8]

    run(main)


def test_commands_given_one_by_one_go_out_at_once_and_ask_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with MailboxServer(SMALL) as server:
            async with connecting(server, mechanism="USER") as pop:
                writes = count_writes(monkeypatch)
                task = asyncio.create_task(pop.stat())
                await asyncio.sleep(0)  # the task has begun, and the loop has done nothing else yet
                assert writes == [b"STAT\r\n"]
                await task
                await pop.retr(1)
                await pop.noop()
            assert server.commands == [b"USER user", b"PASS password", b"STAT", b"RETR 1", b"NOOP", b"QUIT"]

    run(main)


def test_a_login_is_alone_in_flight_and_what_others_ask_goes_out_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with MailboxServer(SMALL) as server:
            pop = await aio.connect(url_of(server), timeout=10)
            writes = count_writes(monkeypatch)
            login = asyncio.create_task(pop.login("user", "password", mechanism="PLAIN"))
            await asyncio.sleep(0)
            others = [asyncio.create_task(pop.retr_bytes(number)) for number in (1, 2, 3)]
            await login
            assert await asyncio.gather(*others) == SMALL
            assert b"\r\n" not in next(octets for octets in writes if octets.startswith(b"AUTH"))[:-2]
            await pop.quit()

    run(main)


def test_what_is_in_flight_is_counted_rightly_however_long_the_commands_are() -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            async with connecting(server) as pop:
                for _ in range(3):
                    asked = (f"{'0' * zeros}{number}" for number in range(1, 10) for zeros in (0, 3, 5, 0, 1))
                    contents = await asyncio.gather(*(pop.retr_bytes(number) for number in asked))
                    assert contents == [content for content in MESSAGES[:9] for _ in range(5)]
                    assert not pop._pop3fast.pipeline.in_flight
                    assert pop._pop3fast.pipeline._unanswered_octets == 0

    run(main)


# Ends.


def test_a_server_that_hangs_up_while_nobody_waits_is_found_before_the_next_command() -> None:
    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", [Reply(b"+OK\r\n", then="fin")]) as server:
            pop = await aio.connect(url_of(server))
            await pop.noop()
            await until(lambda: not pop.in_step)
            with pytest.raises(ConnectionLost, match="-ERR EOF"):
                await pop.dele(1)
            with pytest.raises(ProtocolError, match="broken"):
                await pop.dele(1)
            await pop.close()
        assert server.commands == [b"NOOP"]

    run(main)


def test_a_server_that_hung_up_while_the_loop_stood_still_is_found_before_the_next_command() -> None:
    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", [Reply(b"+OK\r\n", then="fin")]) as server:
            pop = await aio.connect(url_of(server))
            await pop.noop()
            wait_for_octets(pop)
            with pytest.raises(ConnectionLost, match="-ERR EOF"):
                await pop.dele(1)
            await pop.close()
        assert server.commands == [b"NOOP"]

    run(main)


def wait_for_octets(pop: aio.POP3) -> None:
    """Wait until the kernel has received something; the loop does nothing meanwhile."""
    while not pop._pop3fast.wire.has_arrived():
        pass  # pytest ends the test when nothing comes


@pytest.mark.parametrize("together", [True, False])
def test_octets_that_nobody_asked_for_are_nobodys_reply(*, together: bool) -> None:
    forged = b"+OK forged\r\n"
    reply = Reply(b"+OK\r\n" + forged) if together else Reply(b"+OK\r\n", forged)

    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", [reply]) as server:
            pop = await aio.connect(url_of(server))
            with pytest.raises(ProtocolError, match="nothing had asked for: 12 octets"):  # noqa: PT012
                assert await pop.noop() == b"+OK"
                wait_for_octets(pop)
                await pop.dele(1)
            assert not pop.in_step
            await pop.close()
        assert server.commands == [b"NOOP"]

    run(main)


@pytest.mark.parametrize("then", ["fin", "rst", "stall"])
def test_every_task_that_waits_hears_of_the_end(then: Any) -> None:  # noqa: ANN401
    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", lambda _: Reply(b"+O", then=then)) as server:
            pop = await aio.connect(url_of(server), timeout=0.5)
            outcomes = await asyncio.gather(*(pop.noop() for _ in range(5)), return_exceptions=True)
            assert all(isinstance(outcome, ProtocolError | OSError) for outcome in outcomes)
            if then == "stall":
                assert any(isinstance(outcome, TimeoutError) for outcome in outcomes)
            with pytest.raises(ProtocolError):
                await pop.noop()
            await pop.close()

    run(main)


def test_close_ends_whatever_is_under_way_and_may_be_called_by_many() -> None:
    async def main() -> None:
        with ScriptedServer(b"+OK\r\n", [Reply(b"+O", then="stall")]) as server:
            pop = await aio.connect(url_of(server))
            waiting = [asyncio.create_task(pop.noop()) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.gather(*(pop.close() for _ in range(3)))
            await pop.close()
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(outcome, ProtocolError)
            assert transports(asyncio.get_running_loop()) == 0
            with pytest.raises(ProtocolError, match="closed"):
                await pop.noop()

    run(main)


def test_who_is_cancelled_while_it_closes_cancels_no_others_close() -> None:
    async def main() -> None:
        with MailboxServer(SMALL) as server:
            pop = await connecting(server)
            first, second = (asyncio.create_task(pop.close()) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            await second
            await asyncio.wait([first])
            assert first.cancelled()
            await pop.close()

    run(main)


def test_a_block_that_ends_well_quits_and_one_that_does_not_commits_nothing() -> None:
    async def main() -> None:
        with MailboxServer(SMALL) as server:
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what ends
                async with connecting(server) as pop:
                    await pop.dele(1)
                    1 // 0  # noqa: B018 - it raises
            assert server.deleted == []
            async with connecting(server) as pop:
                await pop.dele(2)
            assert server.deleted == [2]

    run(main)


def test_what_connect_gives_is_used_once() -> None:
    async def main() -> None:
        with MailboxServer(SMALL) as server:
            connection = connecting(server)
            pop = await connection
            with pytest.raises(RuntimeError, match="once"):
                await connection
            with pytest.raises(RuntimeError, match="once"):
                async with connection:
                    pass
            assert await pop.stat()
            await pop.quit()

    run(main)


def test_another_loop_or_thread_gets_a_clear_error_and_does_no_harm() -> None:
    async def main() -> None:
        with MailboxServer(SMALL) as server:
            pop = await connecting(server)
            errors: list[BaseException] = []

            def elsewhere() -> None:
                for ask in (pop.stat, pop.close, lambda: anext(pop.retr_many([1]))):
                    try:
                        asyncio.run(_coroutine(ask))
                    except RuntimeError as error:
                        errors.append(error)

            thread = threading.Thread(target=elsewhere)
            thread.start()
            await until(lambda: not thread.is_alive())
            assert [("belongs to the event loop" in str(error)) for error in errors] == [True] * 3
            assert await pop.retr_bytes(1) == SMALL[0]
            await pop.quit()

    run(main)


async def _coroutine(ask: Callable[[], Any]) -> Any:  # noqa: ANN401
    return await ask()


LEFT_OPEN = """
import asyncio
import gc
import sys

from pop3fast import aio


async def main():
    return await aio.connect(f"pop3+plain://{sys.argv[1]}", user="user", password="password")


pop = asyncio.run(main())
try:
    asyncio.run(pop.stat())
except RuntimeError as error:
    print(error)
"""


def test_a_session_whose_loop_was_closed_says_so() -> None:
    with MailboxServer(SMALL, user="user", password="password") as server:
        # In a process of its own: nobody can close its connection any more, which gets a warning when it is collected.
        asked = [sys.executable, "-W", "ignore", "-c", LEFT_OPEN, f"{server.host}:{server.port}"]
        said = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert "belongs to the event loop" in said.stdout


# Loops.


@pytest.mark.parametrize("leave_at", [1, 7, 150, 300])
def test_a_loop_may_be_left_by_break_exception_or_return(leave_at: int) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            async with connecting(server) as pop:
                async for message in pop.retr_many():
                    assert message.content == MESSAGES[message.number - 1]
                    if message.number == leave_at:
                        break
                assert await pop.retr_bytes(77) == MESSAGES[76]
                with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the loop is what raises
                    async for message in pop.retr_many():
                        1 // (message.number - leave_at)
                assert await pop.stat() == (len(MESSAGES), sum(map(len, MESSAGES)))

    run(main)


def test_loops_and_commands_of_several_tasks_share_the_connection() -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            async with connecting(server) as pop:

                async def loop() -> list[bytes]:
                    return [message.content async for message in pop.retr_many()]

                async def commands() -> int:
                    for number in range(1, 50):
                        assert await pop.retr_bytes(number) == MESSAGES[number - 1]
                    return await pop.dele_many(range(1, 11))

                assert tuple(await asyncio.gather(loop(), loop(), commands())) == (MESSAGES, MESSAGES, 10)

    run(main)


def test_a_slow_loop_stops_the_server_and_other_tasks_go_on() -> None:
    octets = 100_000
    messages = [b"x" * (octets - 2) + b"\r\n"] * 200

    async def main() -> None:
        with MailboxServer(messages) as server:
            async with connecting(server) as pop:
                loop = pop.retr_many()
                for _ in range(20):
                    await anext(loop)
                for _ in range(50):
                    await asyncio.sleep(0.001)
                # 2 MiB are asked for ahead, and as much again may be kept back until it is known whose reply it is.
                assert sum(command.startswith(b"RETR") for command in server.commands) <= 20 + 2 * 2**21 // octets + 10
                assert pop._pop3fast.wire.framer.unread() < 2**19
                assert (await pop.stat())[0] == 200
                assert sum([1 async for _ in loop]) == 180

    run(main)


def test_callbacks_and_files_may_be_coroutine_functions() -> None:
    class File(io.BytesIO):
        async def write(self, octets: Any) -> int:  # type: ignore[override]  # noqa: ANN401
            await asyncio.sleep(0)
            return super().write(octets)

    refused: list[int | None] = []
    progress: list[int] = []

    async def on_error(error: CommandError) -> None:
        await asyncio.sleep(0)
        refused.append(error.number)

    async def on_progress(written: int) -> None:
        await asyncio.sleep(0)
        progress.append(written)

    async def main() -> None:
        with MailboxServer(SMALL) as server:
            async with connecting(server) as pop:
                got = [message.number async for message in pop.retr_many([1, 9, 2], on_error=on_error)]
                assert (got, refused) == ([1, 2], [9])
                file = File()
                assert await pop.retr_into(3, file, progress=on_progress) == len(SMALL[2])
                assert file.getvalue() == SMALL[2]
                assert progress[-1] == len(SMALL[2])

    run(main)


class LateDeadline(Deadline):
    """A deadline whose clock is behind the event loop's: at the first look some time is still left."""

    def __init__(self) -> None:
        super().__init__(1, "a call")
        self.looks = 0

    def left(self) -> float:
        self.looks += 1
        if self.looks > 2:
            raise TimeoutError
        return 0.001


def test_a_calls_deadline_that_is_called_off_never_ends_the_session() -> None:
    async def main() -> None:
        given_up: list[BaseException] = []
        patience = Patience(None, None, awaits_octets=lambda: False, give_up=given_up.append)
        deadline = LateDeadline()
        alarm = patience.alarm(deadline)
        assert alarm is not None
        await until(lambda: deadline.looks == 2)
        alarm.call_off()
        assert alarm._timer.cancelled()
        assert given_up == []
        with patience.within(LateDeadline()):
            await until(lambda: given_up)

    run(main)


class PassedDeadline(Deadline):
    """A deadline that has passed."""

    def left(self) -> float:
        raise TimeoutError


@pytest.mark.parametrize("how", ["goes on", "is dropped", "is closed", "has raised", "has ended"])
def test_the_deadline_of_a_loop_ends_the_session_unless_the_loop_was_left(how: str) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            async with connecting(server) as pop:
                loop = pop.retr_many([1, 2] if how == "has ended" else [1, 999, 2], deadline=60)
                assert (await anext(loop)).number == 1
                alarm = loop._alarm
                assert alarm is not None
                if how == "is dropped":
                    del loop
                    gc.collect()
                elif how == "is closed":
                    await loop.aclose()
                elif how == "has raised":
                    with pytest.raises(CommandError):
                        await anext(loop)
                elif how == "has ended":
                    assert [message.number async for message in loop] == [2]
                alarm._deadline = PassedDeadline(60, "the loop")
                alarm._look()
                assert pop.in_step == (how != "goes on")
                alarm.call_off()

    run(main)


def test_a_time_out_is_for_each_wait_and_begins_anew_with_what_comes() -> None:
    async def main() -> None:
        begins, goes_on = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"+OK\r\n")
            await reader.readline()
            await begins.wait()
            writer.write(b"+OK\r\nfirst\r\n")
            await goes_on.wait()
            writer.write(b"second\r\n.\r\n")
            await reader.readline()
            writer.write(b"+OK\r\n")
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with aio.connect(f"pop3+plain://127.0.0.1:{port}") as pop:
                conversation = pop._pop3fast
                asked = asyncio.create_task(pop.retr_bytes(1))
                await until(lambda: conversation.traffic.awaits)
                conversation.patience._since = -1.0
                begins.set()
                await until(conversation.wire.framer.in_body)
                assert conversation.patience._since >= 0
                goes_on.set()
                assert await asked == b"first\r\nsecond\r\n"

    run(main)


class TakesNothing(io.RawIOBase):
    """A file that would block, or is full."""

    def __init__(self, taken: int | None) -> None:
        self.taken = taken

    def write(self, _: object) -> int | None:
        return self.taken


@pytest.mark.parametrize(("taken", "error"), [(None, BlockingIOError), (0, OSError)])
def test_a_file_that_takes_nothing_is_an_error_and_the_session_in_step(taken: int | None, error: type[OSError]) -> None:
    async def main() -> None:
        with MailboxServer(SMALL) as server:
            async with connecting(server) as pop:
                with pytest.raises(error, match=r"nothing"):
                    await pop.retr_into(1, TakesNothing(taken))
                assert await pop.retr_bytes(2) == SMALL[1]

    run(main)


# Connections.


@pytest.mark.parametrize("scheme", ["pop3+plain", "pop3", "pop3s"])
@pytest.mark.parametrize("uv", [False, True], ids=["asyncio", "uvloop"])
def test_each_scheme_connects_and_logs_in_on_each_loop(scheme: str, *, uv: bool) -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES, tls=scheme == "pop3s", stls=scheme == "pop3") as server:
            context = None if scheme == "pop3+plain" else server.client_context
            for mechanism in (None, "PLAIN", "USER", "APOP"):
                if scheme == "pop3" and mechanism == "APOP":
                    continue  # its time stamp came before TLS
                url = url_of(server, scheme).replace("//", "//user@")
                async with aio.connect(url, password="password", mechanism=mechanism, context=context) as pop:
                    assert pop.getwelcome().startswith(b"+OK")
                    assert pop._pop3fast.is_tls == (scheme != "pop3+plain")
                    assert (await pop.uidl(3)).split()[1] == b"3"
                    assert [message.content async for message in pop.retr_many()] == MESSAGES
                    assert await asyncio.gather(*(pop.retr_bytes(number) for number in ALL)) == MESSAGES

    run(main, uvloop_factory() if uv else None)


def test_a_context_that_verifies_nothing_is_a_warning_at_the_callers_line() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.warns(InsecureTLSWarning) as caught:
        aio.connect("pop3s://user@mail.example.org", context=context)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", ["socket", "function", "coroutine function"])
def test_a_socket_may_be_given_and_is_the_sessions(kind: str) -> None:
    async def main() -> None:
        with MailboxServer(SMALL) as server:
            made: list[socket.socket] = []

            def make(*_: object) -> socket.socket:
                made.append(socket.create_connection(server.address))
                return made[0]

            async def make_later(*_: object) -> socket.socket:
                await asyncio.sleep(0)
                return make()

            sock: Any = make() if kind == "socket" else make if kind == "function" else make_later
            async with aio.connect("pop3+plain://user@mail.example.org", password="password", sock=sock) as pop:
                assert (await pop.stat())[0] == len(SMALL)
            assert made[0].fileno() == -1

    run(main)


def test_a_given_socket_is_closed_when_nothing_comes_of_it() -> None:
    async def main() -> None:
        with ScriptedServer(Reply(b"-ERR no\r\n")) as server:
            sock = socket.create_connection(server.address)
            with pytest.raises(CommandError):
                await aio.connect("pop3+plain://user@mail.example.org", sock=sock)
            assert sock.fileno() == -1

    run(main)


def test_a_socket_of_a_function_is_closed_when_nothing_comes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> ssl.SSLContext:
        raise OSError("no certificates")

    async def main() -> None:
        with ScriptedServer(b"+OK\r\n") as server:
            monkeypatch.setattr(ssl, "create_default_context", fail)
            made: list[socket.socket] = []

            def make(*_: object) -> socket.socket:
                made.append(socket.create_connection(server.address))
                return made[0]

            with pytest.raises(OSError, match="no certificates"):
                await aio.connect("pop3s://user@mail.example.org", sock=make)
            await asyncio.sleep(0)
            assert made[0].fileno() == -1

    run(main)


def test_a_session_shows_its_public_name_whom_it_is_with_and_how_it_stands() -> None:
    async def main() -> None:
        with MailboxServer([b"a\r\n"]) as server:
            begin = f"<pop3fast.aio.POP3 {server.host}:{server.port}, no TLS, "
            pop = await aio.connect(f"pop3+plain://{server.host}:{server.port}")
            assert repr(pop) == f"{begin}in step>"
            await pop.login("user", "password")
            assert repr(pop) == f"{begin}user user, in step>"
            await pop.close()
            assert repr(pop) == f"{begin}user user, closed>"

    run(main)
