"""What servers and attackers send, each with a name: what the client makes of it, and whether it goes on.

The names are those under which the project knows these deviations; each test says who was seen to do it.
"""

import socket
from collections.abc import Callable
from contextlib import closing

import pytest

from pop3fast import POP3, CommandError, ConnectionLost, ProtocolError, error_proto
from scripted import Reply, ScriptedServer
from shapes import GREETING, assert_broken, assert_timed_out, connect, is_closed

FORGED = b"+OK forged\r\n"


def assert_in_step(pop: POP3) -> None:
    """Check that the next command gets its own reply, which every script here ends with."""
    assert pop.stat() == (7, 777)


IN_STEP = b"+OK 7 777\r\n"


# Greeting and status line.


@pytest.mark.parametrize(
    "greeting",
    [
        b"+OK\r\n",  # quirk q01: o2.pl
        b"+OK \r\n",  # quirk q02: qmail
        b"+ok ready\r\n",  # quirk q03
        b"+ Hola mundo\n",  # quirk q04: CPython's own tests
        b"+\r\n",
        b"+OK \xfcber-Server \xe2\x98\x83\r\n",  # quirk q25
        b"+OK " + b"long " * 2000 + b"\r\n",  # quirk q24: over the 512 octets of RFC 2449
    ],
    ids=lambda greeting: ascii(greeting[:20]),
)
def test_quirks_q01_to_q04_q24_q25_a_status_line_that_begins_with_plus_is_good(greeting: bytes) -> None:
    with ScriptedServer(greeting, [greeting, IN_STEP]) as server, closing(connect(server)) as pop:
        assert pop.getwelcome() == greeting.rstrip(b"\r\n")
        assert pop.noop() == greeting.rstrip(b"\r\n")
        assert_in_step(pop)


@pytest.mark.parametrize("line", [b"+ERR Server error: Failed to fetch messages in Inbox.", b"+ERR", b"+err no"])
def test_quirk_q05_plus_err_is_an_error_and_nothing_is_waited_for(line: bytes) -> None:
    # hMailServer. poplib takes it for success, and waits for a message that never comes.
    with ScriptedServer(GREETING, [line + b"\r\n"] * 3 + [IN_STEP]) as server, closing(connect(server)) as pop:
        for ask in (pop.noop, lambda: pop.retr(1), lambda: pop.retr_bytes(1)):
            with pytest.raises(CommandError) as caught:
                ask()
            assert caught.value.args == (line,)
        assert_in_step(pop)


@pytest.mark.parametrize(
    "ask",
    [lambda pop: pop.retr(1), lambda pop: pop.top(1, 0), lambda pop: pop.retr_bytes(1), lambda pop: pop.list()],
    ids=["retr", "top", "retr_bytes", "list"],
)
@pytest.mark.parametrize("body", [b"", b"half a message\r\n.\r\n"])
def test_quirk_q06_an_error_behind_ok_is_an_error_and_the_connection_is_broken(
    ask: Callable[[POP3], object], body: bytes
) -> None:
    # DavMail. Whether a body follows cannot be known.
    line = b"+OK -ERR error retrieving message 1: IOException"
    with ScriptedServer(GREETING, [line + b"\r\n" + body]) as server, closing(connect(server)) as pop:
        with pytest.raises(CommandError) as caught:
            ask(pop)
        assert caught.value.args == (line,)
        assert_broken(pop, server)


@pytest.mark.parametrize(
    "line",
    [
        b"",  # quirk q08: outlook.office365.com, in answer to DELE
        b"OK",
        b" +OK",
        b"Received: from nowhere",
        b".",
        b"*** ERROR ***",
        b"+OK \0",  # quirk q26
        b"-ERR \0",
    ],
)
@pytest.mark.parametrize("debugging", [0, 2])
def test_quirks_q08_q26_what_is_no_status_line_breaks_the_connection(line: bytes, debugging: int) -> None:
    with ScriptedServer(GREETING, [line + b"\r\n"]) as server, closing(connect(server)) as pop:
        pop.set_debuglevel(debugging)
        with pytest.raises(ProtocolError) as caught:
            pop.dele(1)
        assert caught.value.args == (line,)
        assert_broken(pop, server)


@pytest.mark.parametrize(
    ("line", "code", "temporary"),
    [
        (b"-ERR [SYS/TEMP] too many connections", "SYS/TEMP", True),
        (b"-ERR [IN-USE] Mailbox is locked", "IN-USE", True),
        (b"-ERR go away", None, False),
    ],
)
def test_quirk_q14_a_greeting_that_is_an_error_says_why_and_nothing_stays_open(
    line: bytes, code: str | None, *, temporary: bool
) -> None:
    made: list[POP3] = []

    class Kept(POP3):
        def _create_socket(self, timeout: float | None) -> socket.socket:
            made.append(self)
            return super()._create_socket(timeout)

    with ScriptedServer(Reply(line + b"\r\n", then="fin")) as server:
        with pytest.raises(CommandError) as caught:
            Kept(server.host, server.port, timeout=5)
        assert (caught.value.response, caught.value.code, caught.value.temporary) == (line, code, temporary)
        assert caught.value.args == (line,)
        assert caught.value.command == ""
        assert is_closed(made[0])
        assert server.received == b""


@pytest.mark.parametrize(
    "greeting", [b"\r\n", b"220 smtp.example ESMTP\r\n", b"* OK IMAP4rev1\r\n", b"+OK\0\r\n", b"\n"]
)
def test_a_greeting_of_another_protocol_is_a_protocol_error_and_nothing_stays_open(greeting: bytes) -> None:
    with ScriptedServer(greeting) as server:
        with pytest.raises(ProtocolError):
            connect(server)
        assert server.received == b""


# STAT, LIST, UIDL.


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b"+OK 3 4294967800", (3, 4294967800)),  # quirk q60
        (b"+OK 20437 -1391823145", (20437, -1391823145)),  # quirk q61
        (b"+OK 2 320 octets", (2, 320)),
    ],
)
def test_quirks_q60_q61_stat_gives_what_the_server_said(response: bytes, expected: tuple[int, int]) -> None:
    with ScriptedServer(GREETING, [response + b"\r\n", IN_STEP]) as server, closing(connect(server)) as pop:
        assert pop.stat() == expected
        assert_in_step(pop)


@pytest.mark.parametrize("response", [b"+OK", b"+OK 3", b"+OK a b", b"+OK 1_0 5", b"+OK 99999999999999999999 0"])
def test_quirk_q62_a_malformed_stat_is_error_proto_and_the_session_goes_on(response: bytes) -> None:
    with ScriptedServer(GREETING, [response + b"\r\n", IN_STEP]) as server, closing(connect(server)) as pop:
        with pytest.raises(error_proto, match="Invalid STAT response"):
            pop.stat()
        assert_in_step(pop)


def test_quirk_q63_an_empty_listing_is_empty() -> None:
    empty = b"+OK\r\n.\r\n"
    with ScriptedServer(GREETING, [empty] * 4 + [IN_STEP]) as server, closing(connect(server)) as pop:
        assert pop.list() == (b"+OK", [], 0)
        assert pop.uidl() == (b"+OK", [], 0)
        assert pop.sizes() == {}
        assert pop.uids() == {}
        assert_in_step(pop)


def test_quirk_q64_a_listing_refused_for_an_empty_maildrop_is_an_empty_one_in_bulk() -> None:
    refused = b"-ERR no messages\r\n"
    replies = [refused, b"+OK 0 0\r\n", refused, b"+OK 0 0\r\n", refused, refused, IN_STEP]
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        assert pop.sizes() == {}
        assert pop.uids() == {}
        # poplib's methods give the server's word.
        for ask in (pop.list, pop.uidl):
            with pytest.raises(CommandError, match="no messages"):
                ask()
        assert_in_step(pop)


def test_a_listing_refused_for_a_maildrop_that_is_not_empty_is_an_error() -> None:
    replies = [b"-ERR what is UIDL?\r\n", b"+OK 3 320\r\n", IN_STEP]
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        with pytest.raises(CommandError, match="what is UIDL") as caught:
            pop.uids()
        assert (caught.value.command, caught.value.number) == ("UIDL", None)
        assert_in_step(pop)


def test_quirks_q61_q65_q69_to_q72_listings_of_real_servers() -> None:
    sizes = b"+OK\r\n1 %!d(float64=5461)\r\n2 -5\r\n 3  7\r\n99999 8 x\r\n5\r\n.\r\n"
    uids = b"+OK\r\n1  whqtswO00WBw418f9t5JxYwZ\r\n2 a b \r\n3 " + b"u" * 4096 + b"\r\n4 \xfc\r\n.\r\n"
    with ScriptedServer(GREETING, [sizes, uids, IN_STEP]) as server, closing(connect(server)) as pop:
        assert pop.sizes() == {1: 0, 2: 0, 3: 7, 99999: 8, 5: 0}
        assert pop.uids() == {1: "whqtswO00WBw418f9t5JxYwZ", 2: "a b ", 3: "u" * 4096, 4: "\xfc"}
        assert_in_step(pop)


def test_quirks_q73_q74_unique_ids_that_are_none_or_not_unique() -> None:
    uids = b"+OK\r\n1 \r\n2\r\n3 same\r\n4 same\r\n.\r\n"
    with ScriptedServer(GREETING, [uids, uids, IN_STEP]) as server, closing(connect(server)) as pop:
        assert pop.uids() == {1: "", 2: "", 3: "same", 4: "same"}
        assert pop.uidl() == (b"+OK", [b"1 ", b"2", b"3 same", b"4 same"], 4 + 3 + 8 + 8)
        assert_in_step(pop)


@pytest.mark.parametrize("ask", [POP3.sizes, POP3.uids])
@pytest.mark.parametrize("line", [b"", b"x 5", b"-1 5", b"+OK 7 777", b"18446744073709551616 5"])
def test_quirk_q67_a_listing_without_numbers_breaks_the_connection(ask: Callable[[POP3], object], line: bytes) -> None:
    reply = b"+OK\r\n1 5\r\n" + line + b"\r\n.\r\n"
    with ScriptedServer(GREETING, [reply]) as server, closing(connect(server)) as pop:
        with pytest.raises(ProtocolError, match="line 2 of the listing"):
            ask(pop)
        assert_broken(pop, server)


@pytest.mark.parametrize("reply", [b"+OK 1234\r\n", b"+OK 2 5 octets\r\n", b"+OK\r\n"])
def test_quirk_q66_list_of_one_message_is_given_as_it_came(reply: bytes) -> None:
    with ScriptedServer(GREETING, [reply, IN_STEP]) as server, closing(connect(server)) as pop:
        assert pop.list(2) == reply.rstrip()
        assert_in_step(pop)


def test_quirk_q66_a_whole_listing_in_answer_to_list_of_one_is_nobody_elses_reply() -> None:
    # Mailpit. The first line looks like an answer; the rest must not be the answer to DELE.
    reply = b"+OK 2 messages\r\n1 120\r\n2 200\r\n.\r\n"
    with ScriptedServer(GREETING, [reply]) as server, closing(connect(server)) as pop:
        assert pop.list(2) == b"+OK 2 messages"
        with pytest.raises(ProtocolError, match="nothing had asked for"):
            pop.dele(2)
        assert_broken(pop, server)
        assert server.commands == [b"LIST 2"]


def test_quirk_q19_capabilities_that_poplib_stumbles_over() -> None:
    reply = b"+OK\r\nSASL PLAIN\r\n\r\nSASL LOGIN\r\nIMPLEMENTATION M\xfcller\r\n.\r\n"
    with ScriptedServer(GREETING, [reply, IN_STEP]) as server, closing(connect(server)) as pop:
        assert pop.capa() == {"SASL": ["PLAIN", "LOGIN"], "IMPLEMENTATION": ["M\xfcller"]}
        assert_in_step(pop)


@pytest.mark.parametrize("refusal", [b"-ERR unimplemented", b"-ERR authorization first"])
def test_quirk_q16_capa_refused_is_error_proto_and_the_session_goes_on(refusal: bytes) -> None:
    with ScriptedServer(GREETING, [refusal + b"\r\n", IN_STEP]) as server, closing(connect(server)) as pop:
        with pytest.raises(error_proto, match="-ERR CAPA not supported by server"):
            pop.capa()
        assert_in_step(pop)


# Messages that try to be replies.

SMUGGLING = {
    "LF . LF": b"a\r\nb\n.\n" + FORGED + b"c\r\n",
    "LF . CRLF": b"a\r\nb\n.\r\n" + FORGED + b"c\r\n",
    "CR . LF": b"a\r\nb\r.\n" + FORGED + b"c\r\n",
    "CR . CRLF": b"a\r\nb\r.\r\n" + FORGED + b"c\r\n",
    "CR . CR": b"a\r\nb\r.\r" + FORGED + b"c\r\n",
    "CRLF CR . CRLF": b"a\r\n\r.\r\n" + FORGED + b"c\r\n",
    "CRLF . CR CRLF": b"a\r\n.\r\r\n" + FORGED + b"c\r\n",
    "CRLF . LF": b"a\r\n.\n" + FORGED + b"c\r\n",
    "CRLF LF . LF": b"a\r\n\n.\n" + FORGED + b"c\r\n",
    "LF LF . LF": b"a\r\n\n\n.\n" + FORGED + b"c\r\n",
    "CRLF . NUL CRLF": b"a\r\n.\0\r\n" + FORGED + b"c\r\n",
    "CRLF . blank CRLF": b"a\r\n. \r\n" + FORGED + b"c\r\n",
    "NUL CRLF": b"a\r\n\0.\r\n" + FORGED + b"c\r\n",
    "dot at the end of a line": b"a.\r\n" + FORGED + b"c\r\n",
}
by_every_trick = pytest.mark.parametrize("message", SMUGGLING.values(), ids=SMUGGLING.keys())


def line_by_line(pop: POP3) -> None:
    pop.set_debuglevel(2)


def through_makefile(pop: POP3) -> None:
    pop.file = pop.sock.makefile("rb")


@by_every_trick
@pytest.mark.parametrize("prepare", [lambda _pop: None, line_by_line, through_makefile], ids=["whole", "lines", "file"])
def test_quirks_q94_q98_a_message_ends_only_where_the_server_says_so(
    message: bytes, prepare: Callable[[POP3], None]
) -> None:
    reply = b"+OK\r\n" + message + b".\r\n"
    with ScriptedServer(GREETING, [reply, reply, IN_STEP]) as server, closing(connect(server)) as pop:
        prepare(pop)
        response, lines, octets = pop.retr(1)
        assert (response, octets) == (b"+OK", len(message))
        assert b"+OK forged" in b"\n".join(lines)
        assert lines[-1] == b"c"
        # The message octet for octet, with nothing taken from it or left of it for the next command.
        assert pop.retr_bytes(1) == message
        assert_in_step(pop)


@by_every_trick
def test_quirks_q94_q98_the_same_octet_by_octet(message: bytes) -> None:
    reply = Reply(b"+OK\r\n" + message + b".\r\n", dribble=True)
    with ScriptedServer(GREETING, [reply, IN_STEP]) as server, closing(connect(server)) as pop:
        assert pop.retr_bytes(1) == message
        assert_in_step(pop)


@pytest.mark.parametrize(
    ("reply", "content"),
    [
        (b"+OK\na\n.\n", b"a\n"),
        (b"+OK\na\r\n..b\n.\r\n", b"a\r\n.b\n"),
        (b"+OK\r\na\n..b\r\n.\n", b"a\n.b\r\n"),
        (b"+OK\r\n\n.\n", b"\n"),
        (b"+OK\n.\n", b""),
        (b"+OK\r\n.\n", b""),
    ],
)
def test_quirk_q93_a_server_that_ends_lines_in_lf_is_understood(reply: bytes, content: bytes) -> None:
    with ScriptedServer(GREETING, [reply, reply, IN_STEP]) as server, closing(connect(server)) as pop:
        assert pop.retr_bytes(1) == content
        assert pop.retr(1)[2] == len(content)
        assert_in_step(pop)


def test_quirk_q93_one_lf_reply_does_not_loosen_the_next_one() -> None:
    smuggling = b"+OK\r\na\r\nb\n.\n+OK forged\r\n.\r\n"
    with ScriptedServer(GREETING, [b"+OK\na\n.\n", smuggling, IN_STEP]) as server, closing(connect(server)) as pop:
        assert pop.retr_bytes(1) == b"a\n"
        assert pop.retr_bytes(2) == b"a\r\nb\n.\n+OK forged\r\n"
        assert_in_step(pop)


def test_quirk_q91_a_message_whose_end_is_glued_to_its_text_runs_into_the_time_out() -> None:
    # Exchange 2000. It cannot be told from text, and must not be guessed.
    with (
        ScriptedServer(GREETING, [Reply(b"+OK\r\ntext.\r\n", then="stall")]) as server,
        closing(connect(server)) as pop,
    ):
        pop.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            pop.retr(1)
        assert_timed_out(pop, server)


def test_quirk_q95_dots_that_the_server_did_not_stuff_are_kept() -> None:
    with (
        ScriptedServer(GREETING, [b"+OK\r\n.foo\r\n.\t\r\n...\r\n.\r\n", IN_STEP]) as server,
        closing(connect(server)) as pop,
    ):
        assert pop.retr(1) == (b"+OK", [b".foo", b".\t", b".."], 6 + 4 + 4)
        assert_in_step(pop)


def test_quirk_q96_a_dot_line_that_the_server_did_not_stuff_breaks_the_connection_and_forges_nothing() -> None:
    # It ends the message, by the RFC's own rule; but what is behind it is never the next reply.
    with ScriptedServer(GREETING, [b"+OK\r\na\r\n.\r\n+OK forged\r\n.\r\n"]) as server, closing(connect(server)) as pop:
        assert pop.retr(1) == (b"+OK", [b"a"], 3)
        with pytest.raises(ProtocolError, match="nothing had asked for"):
            pop.dele(1)
        assert_broken(pop, server)
        assert server.commands == [b"RETR 1"]


def test_quirk_q99_nul_and_8_bit_octets_are_kept() -> None:
    content = bytes(octet for octet in range(256) if octet not in b"\r\n.") * 3 + b"\r\n"
    with ScriptedServer(GREETING, [b"+OK\r\n" + content + b".\r\n"] * 2) as server, closing(connect(server)) as pop:
        assert pop.retr(1) == (b"+OK", [content[:-2]], len(content))
        assert pop.retr_bytes(1) == content


def test_quirk_q103_an_error_inside_a_message_is_text() -> None:
    message = b"a\r\n-ERR error retrieving message\r\n+OK\r\n"
    with (
        ScriptedServer(GREETING, [b"+OK\r\n" + message + b".\r\n", IN_STEP]) as server,
        closing(connect(server)) as pop,
    ):
        assert pop.retr_bytes(1) == message
        assert_in_step(pop)


def test_quirk_q106_a_second_ok_to_top_is_not_the_reply_to_the_next_command() -> None:
    # FTGate: the second +OK becomes a line of the message; a third reply would be nobody's.
    with (
        ScriptedServer(GREETING, [b"+OK\r\n+OK\r\nA: b\r\n\r\n.\r\n", IN_STEP]) as server,
        closing(connect(server)) as pop,
    ):
        assert pop.top(1, 0) == (b"+OK", [b"+OK", b"A: b", b""], 5 + 6 + 2)
        assert_in_step(pop)


def test_quirk_q110_a_reply_that_overtakes_the_end_of_the_one_before_breaks_the_connection() -> None:
    # WildDuck, pipelined: the status line of the second message inside the first, so that one reply is missing.
    interleaved = b"+OK\r\nfirst\r\n+OK\r\n.\r\nsecond\r\n.\r\n"
    with ScriptedServer(GREETING, [Reply(), interleaved]) as server, closing(connect(server)) as pop:
        pop._putcmd("RETR 1")
        pop._putcmd("RETR 2")
        assert pop._getlongresp() == (b"+OK", [b"first", b"+OK"], 7 + 5)
        with pytest.raises(ProtocolError) as caught:
            pop._getlongresp()
        assert caught.value.args == (b"second",)
        assert_broken(pop, server)


# QUIT.


def test_quirk_q120_a_quit_that_is_refused_says_so() -> None:
    with ScriptedServer(GREETING, [b"-ERR [SYS/TEMP] not all deleted\r\n"]) as server, closing(connect(server)) as pop:
        with pytest.raises(CommandError) as caught:
            pop.quit()
        assert (caught.value.command, caught.value.code) == ("QUIT", "SYS/TEMP")


def test_quirk_q121_of_two_lines_in_answer_to_quit_the_first_counts() -> None:
    reply = b"+OK \r\n-ERR unable to unlink all deleted messages\r\n"
    with ScriptedServer(GREETING, [Reply(reply, then="fin")]) as server, closing(connect(server)) as pop:
        assert pop.quit() == b"+OK "
        assert is_closed(pop)


@pytest.mark.parametrize("tls", [False, True])
def test_quirk_q124_a_server_that_hangs_up_on_quit_is_eof_as_in_poplib_and_the_connection_closed(*, tls: bool) -> None:
    with ScriptedServer(GREETING, [Reply(then="fin")], tls=tls) as server, closing(connect(server, tls=tls)) as pop:
        with pytest.raises(error_proto) as caught:
            pop.quit()
        assert caught.value.args == ("-ERR EOF",)
        assert is_closed(pop)


def test_quirk_q134_pipeline_in_capa_says_that_the_server_pipelines() -> None:
    """Twisted says PIPELINE."""
    body = b"+OK\r\n1 1\r\n.\r\n"
    # The second listing is answered before the first could have been read.
    replies: list[bytes | Reply] = [b"+OK\r\nPIPELINE\r\n.\r\n", Reply(), body + body, IN_STEP]
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        assert pop.uids_and_sizes() == ({1: "1"}, {1: 1})
        assert server.commands == [b"CAPA", b"UIDL", b"LIST"]
        assert_in_step(pop)


def test_quirk_q143_a_server_that_hangs_up_after_five_refusals_has_told_them_all() -> None:
    """solid-pop3d."""
    refused: list[int | None] = []
    replies: list[bytes | Reply] = [*([b"-ERR no such message\r\n"] * 4), Reply(b"-ERR good bye\r\n", then="fin")]
    with ScriptedServer(GREETING, replies) as server, closing(connect(server)) as pop:
        with pytest.raises(ConnectionLost):
            list(pop.retr_many(range(1, 50), pipelining=True, on_error=lambda error: refused.append(error.number)))
        assert refused == [1, 2, 3, 4, 5]
        assert_broken(pop, server)
