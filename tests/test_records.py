"""Records of TLS: those that have come are taken together, and none is waited for behind the first."""

import ssl
from collections.abc import Callable
from contextlib import closing
from typing import cast

import pytest

import pop3fast
from pop3fast._stream import RECORD_OCTETS, Records
from pop3fast.testing import MailboxServer


class Recorded:
    """A TLS socket as far as `Records` needs one: gives records of so many octets, and notes how it waits."""

    def __init__(self, *coming: int | OSError) -> None:
        self.coming = [*coming]
        self.asked: list[tuple[float | None, int]] = []
        self.timeout: float | None = 5

    def gettimeout(self) -> float | None:
        return self.timeout

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def recv_into(self, buffer: memoryview, octets: int = 0) -> int:
        self.asked.append((self.timeout, octets or len(buffer)))
        came = self.coming.pop(0) if self.coming else ssl.SSLWantReadError()
        if isinstance(came, OSError):
            raise came
        buffer[:came] = b"x" * came
        return came


def records_of(*coming: int | OSError) -> tuple[Records, Recorded, memoryview]:
    sock = Recorded(*coming)
    return Records(cast("ssl.SSLSocket", sock)), sock, memoryview(bytearray(4 * RECORD_OCTETS))


@pytest.mark.parametrize("nothing", [ssl.SSLWantReadError(), ssl.SSLWantWriteError(), TimeoutError("timed out"), 0])
def test_records_that_have_come_are_taken_with_the_one_that_was_waited_for(nothing: OSError | int) -> None:
    records, sock, buffer = records_of(RECORD_OCTETS, RECORD_OCTETS, nothing, RECORD_OCTETS)
    assert records.wait(buffer) == 2 * RECORD_OCTETS
    assert bytes(buffer[: 2 * RECORD_OCTETS + 1]) == b"x" * 2 * RECORD_OCTETS + b"\0"
    # The first may wait as long as any, the others not at all.
    assert sock.asked == [(5, len(buffer)), *[(0, RECORD_OCTETS)] * 2]
    assert sock.timeout == 5
    assert records.wait(buffer) == RECORD_OCTETS


def test_a_record_that_is_not_full_is_handed_out_at_once() -> None:
    records, sock, buffer = records_of(RECORD_OCTETS - 1, RECORD_OCTETS)
    assert records.wait(buffer) == RECORD_OCTETS - 1
    assert sock.asked == [(5, len(buffer))]
    records, sock, buffer = records_of(RECORD_OCTETS, 7, RECORD_OCTETS)
    assert records.wait(buffer) == RECORD_OCTETS + 7
    assert sock.asked == [(5, len(buffer)), (0, RECORD_OCTETS)]


def test_no_record_is_left_in_part_inside_tls_where_nobody_looks() -> None:
    records, sock, buffer = records_of(*[RECORD_OCTETS] * 5)
    assert records.wait(buffer[:-1]) == 3 * RECORD_OCTETS
    assert all(octets >= RECORD_OCTETS for _, octets in sock.asked)
    assert len(sock.coming) == 2


@pytest.mark.parametrize("ask", [Records.wait, Records.now])
def test_an_error_behind_records_comes_after_them_and_once(ask: Callable[[Records, memoryview], object]) -> None:
    records, sock, buffer = records_of(RECORD_OCTETS, ConnectionResetError("reset"), 3)
    assert records.wait(buffer) == RECORD_OCTETS
    assert sock.timeout == 5
    with pytest.raises(ConnectionResetError, match="reset"):
        ask(records, buffer)
    assert ask(records, buffer) == 3


def test_a_message_of_many_records_comes_whole_and_the_time_out_stays() -> None:
    message = b"0123456789abcde\r\n" * 2**16  # a MiB and more
    with MailboxServer([message], tls=True) as server:
        pop = pop3fast.POP3_SSL(server.host, server.port, context=server.client_context, timeout=30)
        with closing(pop):
            pop.user(server.user)
            pop.pass_(server.password)
            assert pop.retr_bytes(1) == message
            assert b"\r\n".join([*pop.retr(1)[1], b""]) == message
            assert pop.sock.gettimeout() == 30
