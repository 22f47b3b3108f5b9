"""The protocol in the log: what is recorded, in which form, and what never is."""

import logging
from collections.abc import Iterator
from contextlib import closing

import pytest

from pop3fast import POP3, CommandError, ProtocolError
from scripted import Reply, ScriptedServer
from shapes import GREETING, connect

CONTENT = b"Subject: a message that is nobody's business\r\n"
HOSTILE = b"\x1b]0;owned\x07 \x9b31m \xe2\x80\xae \r \x08"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "pop3fast"):
        yield caplog


def messages(log: pytest.LogCaptureFixture, server: ScriptedServer) -> list[str]:
    """Return the records without the host and the port that each of them begins with."""
    where = f"{server.host}:{server.port} "
    assert all(record.name == "pop3fast" and record.levelno == logging.DEBUG for record in log.records)
    assert all(record.getMessage().startswith(where) for record in log.records)
    return [record.getMessage().removeprefix(where) for record in log.records]


def test_a_record_is_a_command_or_a_status_line_and_says_whose(log: pytest.LogCaptureFixture) -> None:
    replies = [b"+OK 1 46\r\n", b"-ERR [SYS/TEMP] later\r\n", b"+OK bye\r\n"]
    with ScriptedServer(GREETING, replies) as server:
        with connect(server) as pop:
            pop.stat()
            with pytest.raises(CommandError):
                pop.dele(1)
        assert messages(log, server) == [
            "S: +OK ready",
            *("C: STAT", "S: +OK 1 46"),
            *("C: DELE 1", "S: -ERR [SYS/TEMP] later"),
            *("C: QUIT", "S: +OK bye"),
        ]


def test_of_a_multi_line_reply_only_the_status_line_is_recorded(log: pytest.LogCaptureFixture) -> None:
    replies = [b"+OK follows\r\n" + CONTENT + b".\r\n"] * 7
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        pop.retr(1)
        pop.retr_bytes(1)
        pop.top(1, 0)
        pop.capa()
        list(pop.retr_many([1, 2, 3], pipelining=True))
        assert "nobody" not in log.text
        commands = ["RETR 1", "RETR 1", "TOP 1 0", "CAPA", "RETR 1", "RETR 2", "RETR 3"]
        recorded = messages(log, server)
    assert [line.removeprefix("C: ") for line in recorded if line.startswith("C: ")] == commands
    # In a loop over many messages that they came is not said of each.
    assert recorded.count("S: +OK follows") == 4


def test_of_a_loop_that_goes_one_by_one_each_status_line_is_recorded(log: pytest.LogCaptureFixture) -> None:
    with ScriptedServer(GREETING, [b"+OK follows\r\n.\r\n"] * 2) as server, closing(connect(server)) as pop:
        list(pop.retr_many([1, 2], pipelining=False))
        assert messages(log, server)[1:] == ["C: RETR 1", "S: +OK follows", "C: RETR 2", "S: +OK follows"]


def test_what_a_loop_was_refused_is_recorded(log: pytest.LogCaptureFixture) -> None:
    replies = [b"+OK\r\n.\r\n", b"-ERR [SYS/PERM] gone\r\n", b"+OK\r\n.\r\n", b"-ERR no\r\n"]
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        refused: list[CommandError] = []
        assert len(list(pop.retr_many([1, 2, 3, 4], pipelining=True, on_error=refused.append))) == 2
        assert [error.number for error in refused] == [2, 4]
        assert [line for line in messages(log, server) if " -ERR" in line] == [
            "S: -ERR [SYS/PERM] gone",
            "S: -ERR no",
        ]


@pytest.mark.parametrize("level", [0, 2])
def test_secrets_are_masked_and_so_is_every_line_of_a_sasl_exchange(level: int, log: pytest.LogCaptureFixture) -> None:
    replies = [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b"+ VXNlcjo=\r\n",
        b"+ UGFzczo=\r\n",
        b"-ERR no\r\n",
        b"-ERR\r\n",
        b"+OK\r\n",
    ]
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        pop.set_debuglevel(level)
        for mechanism in ("USER", "LOGIN", "PLAIN"):
            with pytest.raises(CommandError):
                pop.login("alice", "secret", mechanism=mechanism)
        pop.noop()
        assert messages(log, server) == [
            "S: +OK ready",
            *("C: USER alice", "S: +OK", "C: PASS ***", "S: -ERR no"),
            *("C: AUTH LOGIN", "S: + ***", "C: ***", "S: + ***", "C: ***", "S: -ERR no"),
            *("C: AUTH PLAIN ***", "S: -ERR"),
            *("C: NOOP", "S: +OK"),
        ]


def test_what_a_hostile_server_says_cannot_take_over_the_terminal_that_shows_the_log(
    log: pytest.LogCaptureFixture,
) -> None:
    with ScriptedServer(b"+OK " + HOSTILE + b"\r\n", [b"-ERR " + HOSTILE * 1000 + b"\r\n"]) as server:
        pop = connect(server)
        with closing(pop), pytest.raises(CommandError):
            pop.stat()
        recorded = messages(log, server)
    assert len(recorded) == 3
    assert all(line.isprintable() for line in recorded)
    assert "\\x1b]0;owned\\x07 \\x9b31m \\u202e \\r \\x08" in recorded[0]
    assert len(recorded[2]) < 5000


def test_a_command_that_a_terminal_would_obey_is_escaped_too(log: pytest.LogCaptureFixture) -> None:
    with ScriptedServer(GREETING, [b"-ERR\r\n"]) as server, closing(connect(server)) as pop:
        with pytest.raises(CommandError):
            pop.user("al\u202eice\x9b31m")
        assert messages(log, server)[1] == "C: USER al\\u202eice\\x9b31m"


@pytest.mark.parametrize("ending", [Reply(b"nonsense\r\n"), Reply(then="fin")])
def test_a_reply_that_is_none_is_recorded_where_there_is_one(ending: Reply, log: pytest.LogCaptureFixture) -> None:
    with ScriptedServer(GREETING, [ending]) as server, closing(connect(server)) as pop:
        with pytest.raises(ProtocolError):
            pop.stat()
        assert messages(log, server)[1:] == ["C: STAT", *(["S: (8 octets)"] if ending.segments else [])]


class LineByLine(POP3):
    """A subclass that reads line by line through its own hook, as some do."""

    def _getline(self) -> tuple[bytes, int]:
        return super()._getline()


def test_a_subclass_with_hooks_of_its_own_is_recorded_alike(log: pytest.LogCaptureFixture) -> None:
    replies = [b"+OK follows\r\n" + CONTENT + b".\r\n", b"+OK 1 46\r\n"]
    with ScriptedServer(GREETING, replies) as server, closing(LineByLine(*server.address, timeout=5)) as pop:
        pop.retr(1)
        pop.stat()
        assert messages(log, server) == ["S: +OK ready", "C: RETR 1", "S: +OK follows", "C: STAT", "S: +OK 1 46"]


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_nothing_is_recorded_where_nobody_listens(level: int, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(level, "pop3fast"),
        ScriptedServer(GREETING, [b"+OK 1 46\r\n"]) as server,
        closing(connect(server)) as pop,
    ):
        pop.stat()
    assert caplog.records == []


def test_a_log_that_is_turned_on_half_way_begins_with_a_command(caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer(GREETING, [b"+OK 1 46\r\n"] * 2) as server, closing(connect(server)) as pop:
        pop.stat()
        with caplog.at_level(logging.DEBUG, "pop3fast"):
            pop.stat()
        assert messages(caplog, server) == ["C: STAT", "S: +OK 1 46"]
