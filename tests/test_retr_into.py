"""Messages written into files as they arrive, and the one user at a time that a session has.

Files may take less than they are given, nothing, or raise; callbacks and other threads may give commands meanwhile.
Whatever they do, the session is in step or says that it is not.
"""

import io
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pop3fast import POP3, CommandError, ConnectionBusy, ConnectionLost, ProtocolError, error_proto
from scripted import Reply, ScriptedServer
from shapes import CONTENT, GREETING, MESSAGE, assert_broken, connect
from waiting import wait_until

RETR = b"+OK\r\n" + MESSAGE + b".\r\n"
NO = b"-ERR no\r\n"


def test_retr_into_writes_the_message_and_returns_its_octets(tmp_path: Path) -> None:
    path = tmp_path / "message"
    with ScriptedServer(GREETING, [RETR] * 3 + [b"+OK\r\n"]) as server, closing(connect(server)) as pop:
        with path.open("wb") as file:
            assert pop.retr_into(1, file) == len(CONTENT)
        assert path.read_bytes() == CONTENT
        with path.open("wb", buffering=0) as raw:
            assert pop.retr_into("1", raw) == len(CONTENT)
        assert path.read_bytes() == CONTENT
        memory = io.BytesIO(b"before")
        memory.seek(0, io.SEEK_END)
        assert pop.retr_into(which=1, file=memory, progress=None) == len(CONTENT)
        assert memory.getvalue() == b"before" + CONTENT
        assert pop.noop() == b"+OK"


def test_retr_into_of_an_empty_message_writes_nothing() -> None:
    with ScriptedServer(GREETING, [b"+OK\r\n.\r\n", b"+OK\r\n"]) as server, closing(connect(server)) as pop:
        file = io.BytesIO()
        reports: list[int] = []
        assert pop.retr_into(1, file, progress=reports.append) == 0
        assert file.getvalue() == b""
        assert pop.noop() == b"+OK"


def test_retr_into_of_a_message_that_is_refused_touches_no_file() -> None:
    class Untouchable:
        def write(self, octets: bytes) -> int:
            pytest.fail(f"{octets!r} was written")

    with ScriptedServer(GREETING, [NO, b"+OK\r\n"]) as server, closing(connect(server)) as pop:
        with pytest.raises(CommandError):
            pop.retr_into(1, Untouchable())
        assert pop.noop() == b"+OK"


class Short:
    """A file that takes only so much at a time, as raw files may."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.octets = b""

    def write(self, octets: bytes) -> int:
        taken = octets[: self.most]
        self.octets += taken
        return len(taken)


@pytest.mark.parametrize("most", [1, 2, 7, 1000])
def test_retr_into_writes_on_where_a_file_took_less_than_it_was_given(most: int) -> None:
    file = Short(most)
    with ScriptedServer(GREETING, [RETR, b"+OK\r\n"]) as server, closing(connect(server)) as pop:
        assert pop.retr_into(1, file) == len(CONTENT)
        assert file.octets == CONTENT
        assert pop.noop() == b"+OK"


def test_retr_into_believes_a_file_that_returns_nothing() -> None:
    class Silent:
        octets = b""

        def write(self, octets: bytes) -> None:
            self.octets += octets

    file = Silent()
    with ScriptedServer(GREETING, [RETR]) as server, closing(connect(server)) as pop:
        assert pop.retr_into(1, file) == len(CONTENT)
    assert file.octets == CONTENT


def test_retr_into_does_not_spin_on_a_file_that_takes_nothing() -> None:
    class Full:
        calls = 0

        def write(self, octets: bytes) -> int:
            del octets
            self.calls += 1
            if self.calls > 1000:
                pytest.fail("it spins")
            return 0

    with ScriptedServer(GREETING, [RETR]) as server, closing(connect(server)) as pop:
        with pytest.raises(OSError, match=r".+"):
            pop.retr_into(1, Full())
        assert_broken(pop, server)


def test_retr_into_loses_nothing_in_a_raw_file_that_would_block() -> None:
    # What io says of a raw file: None when it took nothing at all.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    message = b"a" * 2**20 + b"\r\n"
    with (
        open(reader, "rb"),  # noqa: PTH123 - a descriptor
        open(writer, "wb", buffering=0) as file,  # noqa: PTH123
        ScriptedServer(GREETING, [b"+OK\r\n" + message + b".\r\n"]) as server,
        closing(connect(server)) as pop,
    ):
        with pytest.raises(OSError, match=r".+"):
            pop.retr_into(1, file)
        assert_broken(pop, server)


def test_progress_is_told_the_octets_so_far_up_to_the_last() -> None:
    parts = [b"+OK\r\na\r\n", b"..b\r\n", b"c\r\n.\r\n"]
    reports: list[tuple[int, int]] = []
    file = io.BytesIO()
    with ScriptedServer(GREETING, [Reply(*parts)]) as server, closing(connect(server)) as pop:
        octets = pop.retr_into(1, file, progress=lambda so_far: reports.append((so_far, len(file.getvalue()))))
    assert octets == 3 + 4 + 3
    assert reports[-1] == (octets, octets)
    # Each report counts what is in the file by then, and no report comes without progress.
    assert all(so_far == written for so_far, written in reports)
    assert sorted(set(reports)) == reports


class DiskFullError(OSError):
    pass


@pytest.mark.parametrize("error", [DiskFullError, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("who", ["write", "progress"])
@pytest.mark.parametrize("whole", [True, False], ids=["all there", "half there"])
def test_a_file_or_progress_that_raises_breaks_the_connection(
    error: type[BaseException],
    who: str,
    *,
    whole: bool,
) -> None:
    def fail(_: object) -> int:
        raise error

    class Failing:
        def write(self, octets: bytes) -> int:
            return fail(octets)

    reply = Reply(RETR) if whole else Reply(RETR[:20], then="stall")
    with ScriptedServer(GREETING, [reply]) as server, closing(connect(server)) as pop:
        file, progress = (Failing(), None) if who == "write" else (io.BytesIO(), fail)
        with pytest.raises(error):
            pop.retr_into(1, file, progress=progress)
        assert_broken(pop, server)
        assert server.commands == [b"RETR 1"]


def test_a_message_that_is_lost_half_way_has_been_written_that_far() -> None:
    file = io.BytesIO()
    reply = Reply(b"+OK\r\nabc\r\n..de", then="fin")
    with ScriptedServer(GREETING, [reply]) as server, closing(connect(server)) as pop:
        with pytest.raises(ConnectionLost):
            pop.retr_into(1, file)
        assert_broken(pop, server)
    assert b"abc\r\n.de".startswith(file.getvalue())


# One at a time.


def test_a_command_given_by_progress_is_an_error_and_neither_reply_is_crossed() -> None:
    seen: list[BaseException] = []

    def progress(_: int) -> None:
        for command in (pop.noop, pop.stat, lambda: pop.dele(1), lambda: pop.retr_bytes(1)):
            try:
                seen.append(RuntimeError(f"{command()!r} was returned"))
            except Exception as error:  # noqa: BLE001 - whatever it is, is what is looked at
                seen.append(error)

    file = io.BytesIO()
    with ScriptedServer(GREETING, [RETR, b"+OK 7 777\r\n"]) as server, closing(connect(server)) as pop:
        assert pop.retr_into(1, file, progress=progress) == len(CONTENT)
        assert file.getvalue() == CONTENT
        assert pop.stat() == (7, 777)
        assert server.commands == [b"RETR 1", b"STAT"]
    assert seen
    assert all(isinstance(error, ProtocolError) for error in seen)


def test_a_reply_read_by_progress_is_an_error_and_the_connection_broken() -> None:
    def progress(_: int) -> None:
        pop._getresp()

    with ScriptedServer(GREETING, [RETR]) as server, closing(connect(server)) as pop:
        with pytest.raises(ProtocolError):
            pop.retr_into(1, io.BytesIO(), progress=progress)
        assert_broken(pop, server)


def test_a_session_closed_by_progress_stays_closed() -> None:
    def progress(_: int) -> None:
        pop.close()

    with ScriptedServer(GREETING, [Reply(RETR[:20], then="stall")]) as server, closing(connect(server)) as pop:
        with pytest.raises((ProtocolError, OSError)):
            pop.retr_into(1, io.BytesIO(), progress=progress)
        with pytest.raises(ProtocolError):
            pop.noop()


@contextmanager
def retrieving(pop: POP3) -> Iterator[list[object]]:
    """Retrieve a message in another thread; what came of it is in the list afterwards."""
    result: list[object] = []

    def retrieve() -> None:
        try:
            result.append(pop.retr_bytes(1))
        except (error_proto, OSError) as error:
            result.append(error)

    thread = threading.Thread(target=retrieve, daemon=True)
    thread.start()
    yield result
    thread.join(10)
    assert not thread.is_alive()


def test_a_command_of_another_thread_is_an_error_at_once_and_neither_reply_is_crossed() -> None:
    go_on = threading.Event()

    def replies(command: bytes) -> Reply:
        if command == b"RETR 1":
            go_on.wait(10)
            return Reply(RETR)
        return Reply(b"+OK 7 777\r\n")

    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        with retrieving(pop) as result:
            wait_until(lambda: server.commands == [b"RETR 1"])
            for command in (pop.stat, lambda: pop.dele(1), pop.noop):
                with pytest.raises(ConnectionBusy):
                    command()
            go_on.set()
        assert result == [CONTENT]
        assert pop.stat() == (7, 777)
        assert server.commands == [b"RETR 1", b"STAT"]


def test_a_session_closed_by_another_thread_ends_the_wait() -> None:
    with (
        ScriptedServer(GREETING, [Reply(RETR[:20], then="stall")]) as server,
        closing(connect(server, timeout=1e6)) as pop,
    ):
        with retrieving(pop) as result:
            wait_until(lambda: server.commands == [b"RETR 1"])
            pop.close()
        assert isinstance(result[0], ProtocolError | OSError)
        with pytest.raises(ProtocolError):
            pop.noop()
