"""MailboxServer against the standard library's poplib and raw sockets: never against this project's own client.

What is claimed is what other tests, the demo and the benchmarks rely on. Here: the states and commands of RFC 1939,
and octets that arrive as they were given. Its misbehaviour and its life are in test_testing_faults.py and
test_testing_life.py.
"""

import base64
import poplib
import socket
import time
import tracemalloc
from contextlib import closing

import pytest

import pop3fast
from pop3fast.testing import MailboxServer, RepeatedMessage
from pop3fast.testing._session import COMMANDS
from rawpop import GREETING, HELLO, LOGIN, SHORT, answers, body, read_all, session

# Commands and states


def test_a_session_of_every_command_gives_what_rfc_1939_says() -> None:
    with MailboxServer([HELLO, SHORT], uids=["a", "b"]) as server, session(server) as pop:
        assert pop.stat() == (2, len(HELLO) + len(SHORT))
        assert pop.list()[1] == [b"1 %d" % len(HELLO), b"2 %d" % len(SHORT)]
        assert pop.list(2) == b"+OK 2 %d" % len(SHORT)  # type: ignore[comparison-overlap] # typeshed knows no list(2)
        assert pop.uidl()[1] == [b"1 a", b"2 b"]
        assert pop.uidl("2") == b"+OK 2 b"
        assert pop.retr(1)[1:] == ([b"Subject: hello", b"", b"first line", b".second line"], len(HELLO))
        assert pop.top(1, 1)[1] == [b"Subject: hello", b"", b"first line"]
        assert pop.noop() == b"+OK"
        pop.dele(1)
        assert pop.stat() == (1, len(SHORT))
        assert pop.list()[1] == [b"2 %d" % len(SHORT)]
        assert pop.uidl()[1] == [b"2 b"]
        assert pop.rset() == b"+OK maildrop has 2 messages (%d octets)" % (len(HELLO) + len(SHORT))
        assert pop.stat()[0] == 2
        assert pop.quit() == b"+OK bye"
        assert server.deleted == []


def test_only_quit_commits_what_is_marked() -> None:
    with MailboxServer([b"a\r\n", b"b\r\n", b"c\r\n"]) as server:
        with session(server) as pop:
            pop.dele(2)
        assert server.remaining == [1, 2, 3]
        with session(server) as pop:
            pop.dele(3)
            pop.rset()
            pop.dele(2)
            assert server.deleted == []
            pop.quit()
            assert server.deleted == [2]
        with session(server) as pop:
            assert pop.uidl()[1] == [b"1 uid00000001", b"2 uid00000003"]
            assert pop.retr(2)[1] == [b"c"]
            pop.dele(2)
            pop.quit()
        assert (server.deleted, server.remaining) == ([2, 3], [1])


def test_a_session_keeps_its_numbers_while_another_deletes() -> None:
    with MailboxServer([b"a\r\n", b"b\r\n", b"c\r\n"]) as server, session(server) as one, session(server) as other:
        other.dele(1)
        other.quit()
        assert one.retr(1)[1] == [b"a"]
        one.dele(2)
        one.quit()
        assert (server.deleted, server.remaining) == ([1, 2], [3])


@pytest.mark.parametrize(
    "command",
    [
        "RETR",
        "RETR 0",
        "RETR 3",
        "RETR -1",
        "RETR +1",
        "RETR 1 1",
        "RETR one",
        "RETR \u00b2",
        "RETR " + "1" * 5000,
        "RETR 2",
        "LIST 2",
        "UIDL 2",
        "DELE 2",
        "TOP 2 0",
        "TOP 1",
        "TOP 1 -1",
        "TOP 1 " + "1" * 5000,
        "USER user",
        "STLS",
        "XYZZY",
        "",
    ],
)
def test_a_senseless_command_is_an_err_and_the_session_goes_on(command: str) -> None:
    with MailboxServer([HELLO, SHORT]) as server:
        said = answers(server, LOGIN + b"DELE 2\r\n", command.encode() + b"\r\nNOOP\r\n").split(b"\r\n")
    assert said[4].startswith(b"-ERR ")
    assert said[5:] == [b"+OK", b"+OK bye", b""]


@pytest.mark.parametrize("command", [b"STAT", b"RETR 1", b"DELE 1", b"NOOP", b"PASS password", b"AUTH", b"USER"])
def test_before_the_login_there_is_nothing_but_logging_in(command: bytes) -> None:
    with MailboxServer([HELLO]) as server:
        assert answers(server, command + b"\r\n").split(b"\r\n")[1].startswith(b"-ERR ")


def test_a_wrong_password_is_an_err_with_its_response_code_and_can_be_tried_again() -> None:
    with MailboxServer(password="right", user="me") as server:
        pop = poplib.POP3(*server.address, timeout=10)
        with closing(pop):
            for name, password in [("me", "wrong"), ("you", "right")]:
                pop.user(name)
                with pytest.raises(poplib.error_proto, match=r"-ERR \[AUTH\]"):
                    pop.pass_(password)
            pop.user("me")
            assert pop.pass_("right") == b"+OK maildrop has 0 messages"


def test_apop_takes_the_digest_of_this_greeting_and_of_no_other() -> None:
    with MailboxServer() as server:
        one, other = poplib.POP3(*server.address, timeout=10), poplib.POP3(*server.address, timeout=10)
        with closing(one), closing(other):
            assert one.welcome != other.welcome
            one.welcome, right = other.welcome, one.welcome
            with pytest.raises(poplib.error_proto, match="AUTH"):
                one.apop("user", "password")
            one.welcome = right
            assert one.apop("user", "password").startswith(b"+OK")


def test_without_a_timestamp_in_the_greeting_there_is_no_apop() -> None:
    with MailboxServer(greeting=GREETING) as server:
        assert b"-ERR no timestamp" in answers(server, b"APOP user 0\r\n")


def test_auth_plain_works_with_and_without_an_initial_response() -> None:
    good = base64.b64encode(b"\0user\0password")
    bad = base64.b64encode(b"\0user\0wrong")
    with MailboxServer(greeting=GREETING) as server:
        assert answers(server, b"AUTH PLAIN %s\r\n" % good).split(b"\r\n")[1].startswith(b"+OK")
        said = answers(server, b"AUTH PLAIN\r\n*\r\nAUTH PLAIN\r\n%s\r\nAUTH plain\r\n%s\r\nSTAT\r\n" % (bad, good))
    lines = said.split(b"\r\n")[1:]
    assert [line[:6] for line in lines[:6]] == [b"+ ", b"-ERR t", b"+ ", b"-ERR [", b"+ ", b"+OK ma"]
    assert lines[6] == b"+OK 0 0"


def test_a_greeting_that_refuses_ends_the_connection() -> None:
    with MailboxServer(greeting="-ERR [SYS/TEMP] later") as server:
        assert answers(server) == b"-ERR [SYS/TEMP] later\r\n"


def test_a_line_without_end_is_refused_and_not_kept() -> None:
    with MailboxServer(greeting=GREETING) as server, socket.create_connection(server.address, timeout=10) as sock:
        sock.sendall(b"x" * 200_000)
        assert read_all(sock) == b"+OK hi\r\n-ERR line too long\r\n"


def test_every_command_is_recorded_in_order() -> None:
    with MailboxServer() as server:
        answers(server, LOGIN)
        answers(server, b"capa\r\n")
    assert server.commands == [b"USER user", b"PASS password", b"QUIT", b"capa", b"QUIT"]


# Capabilities


def test_capa_says_what_the_server_can_do() -> None:
    with MailboxServer() as server, closing(poplib.POP3(*server.address, timeout=10)) as pop:
        said = pop.capa()
        assert set(said) == {
            "TOP",
            "UIDL",
            "USER",
            "SASL",
            "UTF8",
            "RESP-CODES",
            "AUTH-RESP-CODE",
            "PIPELINING",
            "IMPLEMENTATION",
        }
        assert pop.utf8().startswith(b"+OK")


def test_capa_is_what_the_caller_wants_it_to_be() -> None:
    with MailboxServer(capabilities=["uidl", "EXPIRE 0"]) as server:
        assert answers(server, b"CAPA\r\n").split(b"\r\n")[2:5] == [b"uidl", b"EXPIRE 0", b"."]


def test_empty_capabilities_are_a_server_that_does_not_know_capa() -> None:
    with MailboxServer(capabilities=()) as server:
        assert answers(server, b"CAPA\r\n").split(b"\r\n")[1].startswith(b"-ERR")


def test_an_unsupported_command_is_neither_known_nor_announced() -> None:
    with MailboxServer([HELLO], unsupported=["uidl", "AUTH"]) as server, session(server) as pop:
        assert not {"UIDL", "SASL"} & set(pop.capa())
        with pytest.raises(poplib.error_proto):
            pop.uidl()
        assert pop.stat()[0] == 1


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_every_command_can_be_made_unknown(verb: str) -> None:
    server = MailboxServer([HELLO], stls=True, unsupported=[verb.lower()])
    with server, socket.create_connection(server.address, timeout=10) as sock:
        sock.sendall(verb.encode() + b"\r\n" + LOGIN + verb.encode() + b" 1 1\r\n")
        sock.shutdown(socket.SHUT_WR)
        said = read_all(sock)
    assert b"\r\n-ERR unknown command" in said


# Octets


@pytest.mark.parametrize(
    ("message", "on_the_wire"),
    [
        (b"", b".\r\n"),
        (b"\r\n", b"\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r", b"a\r\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b"..\r\n.a\r\n", b"...\r\n..a\r\n.\r\n"),
        (b"a\n.\nb\r\n", b"a\n.\nb\r\n.\r\n"),
        (b"a\r\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"\x00\xff\r\n", b"\x00\xff\r\n.\r\n"),
    ],
)
def test_a_message_arrives_octet_by_octet_stuffed_and_ended(message: bytes, on_the_wire: bytes) -> None:
    with MailboxServer([message]) as server:
        assert body(server, b"RETR 1\r\n") == on_the_wire
        ended = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
        assert b"+OK 1 %d\r\n" % len(ended) in answers(server, LOGIN + b"STAT\r\n")


@pytest.mark.parametrize("size", [128 * 1024 - 1, 128 * 1024 + 1, 300_000, 3_000_000])
def test_a_large_message_arrives_whole_whether_or_not_it_has_dots(size: int) -> None:
    plain = (b"y" * 70 + b"\r\n") * (size // 72)
    dots = (b".a\r\n" * (size // 4))[:size]
    with MailboxServer([plain, dots]) as server, session(server) as pop:
        assert pop.retr(1)[1] == plain.split(b"\r\n")[:-1]
        assert b"\r\n".join(pop.retr(2)[1]).rstrip() == dots.rstrip()


@pytest.mark.parametrize(
    ("message", "lines", "on_the_wire"),
    [
        (HELLO, 0, b"Subject: hello\r\n\r\n.\r\n"),
        (HELLO, 2, b"Subject: hello\r\n\r\nfirst line\r\n..second line\r\n.\r\n"),
        (HELLO, 10**9, b"Subject: hello\r\n\r\nfirst line\r\n..second line\r\n.\r\n"),
        (b"no: body", 1, b"no: body\r\n.\r\n"),
        (b"\r\nno header\r\nb", 1, b"\r\nno header\r\n.\r\n"),
        (b"\r\nno header\r\nb", 2, b"\r\nno header\r\nb\r\n.\r\n"),
        (b"", 1, b".\r\n"),
    ],
)
def test_top_gives_the_header_and_so_many_lines(message: bytes, lines: int, on_the_wire: bytes) -> None:
    with MailboxServer([message]) as server:
        assert body(server, b"TOP 1 %d\r\n" % lines) == on_the_wire


@pytest.mark.parametrize("times", [1, 2, 3, 5])
@pytest.mark.parametrize("block", [b".", b"\r", b"\n.", b"\n.\r", b".\r\n", b"x\r\n\r\n", b"\r\n", b"a", b".a\r\n.b"])
def test_a_repeated_message_is_on_the_wire_what_the_same_octets_are(block: bytes, times: int) -> None:
    with MailboxServer([RepeatedMessage(block, times), block * times]) as server:
        for command in (b"RETR %d\r\n", b"TOP %d 0\r\n", b"TOP %d 2\r\n", b"TOP %d 99\r\n"):
            assert body(server, command % 1) == body(server, command % 2)
        with session(server) as pop:
            first, second = (line.split()[1] for line in pop.list()[1])
            assert first == second


def test_a_repeated_message_is_never_in_memory_as_a_whole() -> None:
    message = RepeatedMessage(b"x" * 62 + b"\r\n", 1_000_000)
    with MailboxServer([message]) as server, session(server) as pop:
        pop.sock.sendall(b"RETR 1\r\n")
        buffer = bytearray(1024 * 1024)
        expected = len(b"+OK 64000000 octets\r\n") + len(message) + len(b".\r\n")
        tracemalloc.start()
        try:
            while expected > 0:
                expected -= pop.sock.recv_into(buffer)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert expected == 0
        assert buffer[:5] != b"-ERR "
        assert peak < 2 * 1024 * 1024


def test_listings_of_many_messages_that_are_one_object_are_complete() -> None:
    count = 200_000
    with MailboxServer([SHORT] * count) as server, session(server) as pop:
        assert pop.stat() == (count, count * len(SHORT))
        scan_listing, uid_listing = pop.list()[1], pop.uidl()[1]
        assert (len(scan_listing), scan_listing[-1]) == (count, b"%d %d" % (count, len(SHORT)))
        assert (len(uid_listing), uid_listing[-1]) == (count, b"%d uid%08d" % (count, count))


# Pipelining


def test_pipelined_commands_get_their_replies_in_order() -> None:
    messages = [b"%d\r\n" % number for number in range(1, 2001)]
    commands = b"".join(b"RETR %d\r\n" % number for number in range(1, 2002))
    with MailboxServer(messages, greeting=GREETING) as server:
        said = answers(server, LOGIN + commands)
    replies = [b"+OK hi\r\n+OK send PASS\r\n+OK maildrop has 2000 messages\r\n"]
    replies += [b"+OK %d octets\r\n%s.\r\n" % (len(message), message) for message in messages]
    replies += [b"-ERR no such message\r\n", b"+OK bye\r\n"]
    assert said == b"".join(replies)


def test_a_command_may_come_in_pieces_and_end_in_a_lone_lf() -> None:
    with MailboxServer(greeting=GREETING) as server, socket.create_connection(server.address, timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in b"USER user\r\nPASS password\nSTAT\r\nQUIT\n":
            sock.sendall(bytes([octet]))
        assert read_all(sock).endswith(b"+OK 0 0\r\n+OK bye\r\n")


def test_replies_far_beyond_every_buffer_wait_for_the_client() -> None:
    message = b"x" * 100_000 + b"\r\n"
    with MailboxServer([message]) as server, socket.create_connection(server.address, timeout=10) as sock:
        sock.sendall(LOGIN + b"RETR 1\r\n" * 500 + b"QUIT\r\n")
        time.sleep(0.05)  # the server runs into the full buffers, and has to stay there
        assert read_all(sock).count(message) == 500


def test_what_follows_quit_is_not_obeyed() -> None:
    with MailboxServer([SHORT]) as server:
        said = answers(server, LOGIN + b"QUIT\r\nDELE 1\r\nQUIT\r\n")
        assert said.count(b"\r\n") == 4
        assert server.deleted == []


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_is_as_good_as_the_password_and_another_is_refused_with_a_reason(mechanism: str) -> None:
    with MailboxServer([b"Subject: hello\r\n\r\n"], token="t0ken", tls=True) as server:
        context = server.client_context
        with pop3fast.POP3_SSL(server.host, server.port, context=context) as pop:
            assert pop.capabilities()["SASL"] == ("PLAIN", "XOAUTH2", "OAUTHBEARER")
            with pytest.raises(pop3fast.AuthenticationError) as caught:
                pop.login(server.user, token="another", mechanism=mechanism)
            assert "invalid_token" in caught.value.reason
            with pytest.raises(pop3fast.AuthenticationError):
                pop.login("somebody", token="t0ken", mechanism=mechanism)
            pop.login(server.user, token="t0ken", mechanism=mechanism)
            assert pop.stat()[0] == 1
    with MailboxServer([], token=None) as server, pop3fast.POP3(server.host, server.port) as pop:
        assert pop.capabilities()["SASL"] == ("PLAIN",)
        with pytest.raises(pop3fast.AuthenticationError, match="AUTH PLAIN is what there is"):
            pop.login(server.user, token="t0ken", mechanism=mechanism)
