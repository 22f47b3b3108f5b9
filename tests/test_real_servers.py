"""What poplib returns from a real server, pop3fast returns: every command, in cleartext, after STLS and over TLS.

Owns the comparison against servers that somebody else wrote; how they are started and ended is the package
`servers`.  Both libraries talk to the same running server, one after the other, and nothing is expected here that
poplib did not return a moment before, except in the tests of what poplib does not have.
"""

import base64
import io
import poplib
import re
import time
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

import pop3fast
from servers import DovecotServer, Mailbox, MailutilsServer, RealServer, require
from servers.comparison import Outcome, assert_same, connected, fingerprint, logged_in, numbers_of, outcome, outcomes
from servers.mail import MEGABYTE, cpython_messages, generated_messages, on_the_wire
from shapes import is_closed

GENERATED = generated_messages()
CPYTHON = cpython_messages()

#: Mailutils sends a status line and what follows it in two small writes, and so waits 40 ms for the acknowledgement
#: of the first (Nagle's algorithm) at each RETR and TOP: it gets every fourth of the messages that are all alike.
THINNED = 4


@pytest.fixture(scope="session", params=[DovecotServer, MailutilsServer], ids=lambda kind: kind.name)
def server(request: pytest.FixtureRequest) -> Iterator[RealServer]:
    """Give a server whose first mailbox holds the generated mail, then CPython's, and has been visited once."""
    kind: type[DovecotServer | MailutilsServer] = request.param
    require(kind)
    foreign = list(CPYTHON.values())
    with kind() as running:
        running.mailbox.fill([*GENERATED.values(), *(foreign if kind is DovecotServer else foreign[::THINNED])])
        running.settle(running.mailbox)
        yield running


@pytest.fixture(scope="session")
def dovecot() -> Iterator[DovecotServer]:
    """Dovecot with more ways to log in than USER and PASS, and an empty mailbox."""
    require(DovecotServer)
    with DovecotServer(mechanisms=("plain", "login", "apop")) as running:
        yield running


@pytest.fixture(params=["plain", "stls", "tls"])
def transport(request: pytest.FixtureRequest) -> str:
    """How the octets travel."""
    return str(request.param)


@pytest.fixture(scope="session")
def small(server: RealServer) -> Mailbox:
    """Give a mailbox of three small messages that nobody deletes: one server counts all octets at each STAT."""
    mailbox = server.add_mailbox("small", numbered(3))
    server.settle(mailbox)
    return mailbox


@pytest.fixture(scope="session")
def reference(server: RealServer) -> list[tuple[object, ...]]:
    """Give what poplib's RETR returns for each message of the first mailbox, with its line limit out of the way."""
    with logged_in(poplib, server, "plain") as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr(poplib, "_MAXLINE", 64 * MEGABYTE)
        return [fingerprint(client.retr(number)) for number in numbers_of(client)]


def subjects(mailbox: Mailbox) -> list[bytes]:
    """Give the Subject of each message that is on the server's disk."""
    return [subject for text in mailbox.contents() for subject in re.findall(rb"^Subject: (.*)$", text, re.MULTILINE)]


def eventually(look: Callable[[], list[bytes]], wanted: list[bytes]) -> list[bytes]:
    """Look until it shows what is wanted, or for half a minute: a server may answer QUIT before it has deleted."""
    looks = 3000
    while (shown := look()) != wanted and (looks := looks - 1):
        time.sleep(0.01)
    return shown


def numbered(count: int) -> list[bytes]:
    """Give `count` small messages with the subjects 1, 2, 3, ..."""
    return [b"From: a@example.test\nSubject: %d\n\ntext %d\n" % (number, number) for number in range(1, count + 1)]


# ---- what poplib has ----


def test_greeting_and_capabilities_before_and_after_login_are_poplibs(
    server: RealServer, small: Mailbox, transport: str
) -> None:
    def seen(library: ModuleType) -> list[object]:
        with connected(library, server, transport) as client:
            # What stands between < and > is different at each connection.
            before = [re.sub(rb"<.*>", b"<>", client.getwelcome()), client.capa(), sorted(client.capa())]
            client.user(small.user)
            client.pass_(small.password)
            return [*before, client.capa(), client.quit()]

    assert seen(pop3fast) == seen(poplib)


def test_every_message_is_retrieved_as_poplib_retrieves_it(
    server: RealServer, transport: str, reference: list[tuple[object, ...]]
) -> None:
    with logged_in(pop3fast, server, transport) as client:
        replies = (client.retr(number) for number in numbers_of(client))
        assert [fingerprint(reply) for reply in replies] == reference
        client.quit()
    assert len(reference) >= len(GENERATED)


def test_what_is_in_the_maildir_arrives_octet_for_octet(dovecot: DovecotServer, transport: str) -> None:
    mail = {**GENERATED, **CPYTHON}
    mailbox = dovecot.add_mailbox(f"archive-{transport}", mail.values())
    with logged_in(pop3fast, dovecot, transport, mailbox) as client:
        for number, (name, content) in enumerate(mail.items(), start=1):
            lines = client.retr(number)[1]
            assert b"".join(line + b"\r\n" for line in lines) == on_the_wire(content), name
        assert number == client.stat()[0]


def test_the_mail_that_cpython_tests_with_is_among_it() -> None:
    if not CPYTHON:
        pytest.skip("this Python came without test.test_email")
    assert len(CPYTHON) > 40
    assert all(CPYTHON.values())


def test_a_line_longer_than_poplib_accepts_is_retrieved_all_the_same(server: RealServer) -> None:
    number = list(GENERATED).index("megabyte-lines") + 1
    with logged_in(poplib, server, "plain") as client, pytest.raises(poplib.error_proto, match="line too long"):
        client.retr(number)
    with logged_in(pop3fast, server, "plain") as client:
        assert max(map(len, client.retr(number)[1])) >= 2 * MEGABYTE


def test_stat_list_and_uidl_are_poplibs(server: RealServer, transport: str) -> None:
    def script(client: poplib.POP3) -> list[Outcome]:
        numbers = numbers_of(client)
        commands: list[tuple[object, ...]] = [("stat",), ("list",), ("uidl",), ("noop",)]
        for number in numbers:
            commands += [("list", number), ("uidl", number), ("list", str(number))]
        return outcomes(client, commands)

    assert_same(server, transport, script)


def test_top_is_poplibs_with_any_number_of_lines(server: RealServer, transport: str) -> None:
    names = list(GENERATED)
    few = [names.index(name) + 1 for name in ("five-megabytes", "dots", "no-final-newline")]

    def script(client: poplib.POP3) -> list[object]:
        replies: list[object] = [outcome(client, "top", str(few[0]), "3")]
        for number in few:
            replies += [fingerprint(client.top(number, howmuch)) for howmuch in (0, 5, 1_000_000)]
        return replies

    assert_same(server, transport, script)


def test_a_long_reply_is_a_real_tuple_with_a_real_list(server: RealServer) -> None:
    with logged_in(pop3fast, server, "plain") as client:
        for reply in (client.list(), client.uidl(), client.retr(len(GENERATED)), client.top(1, 0)):
            assert isinstance(reply, tuple)
            response, lines, octets = reply
            assert (type(response), type(lines), type(octets)) == (bytes, list, int)
            assert {type(line) for line in lines} == {bytes}


def test_numbers_out_of_range_are_refused_as_poplib_reports_it(
    server: RealServer, small: Mailbox, transport: str
) -> None:
    def script(client: poplib.POP3) -> list[Outcome]:
        beyond = client.stat()[0] + 1
        commands = [(command, number) for command in ("retr", "list", "uidl", "dele") for number in (0, beyond, "x")]
        # Each refusal is followed by a command that succeeds: the session is in step, and Dovecot, which hangs up
        # after twenty bad commands in a row, has no reason to.
        commands += [("top", 0, 0), ("top", beyond, 5), ("top", 1, -1), ("_shortcmd", "NONSENSE")]  # type: ignore[list-item]
        return [one for command in commands for one in outcomes(client, [command, ("noop",)])]

    assert_same(server, transport, script, small)


def test_a_refusal_is_a_command_error_that_names_the_command(server: RealServer, small: Mailbox) -> None:
    with logged_in(pop3fast, server, "plain", small) as client:
        beyond = client.stat()[0] + 1
        with pytest.raises(pop3fast.CommandError) as refused:
            client.retr(beyond)
        assert refused.value.args == (refused.value.response,)
        assert refused.value.response.startswith(b"-ERR ")
        assert refused.value.command == "RETR"
        assert refused.value.number == beyond
        assert client.noop().startswith(b"+OK")


@pytest.mark.parametrize(
    "commands",
    [
        [("user", "nobody-here"), ("pass_", "correct horse")],
        [("user", "{user}"), ("pass_", "wrong"), ("user", "{user}"), ("pass_", "{password}"), ("stat",)],
        [("stat",), ("list",)],
        [("retr", 1), ("quit",)],
        [("utf8",)],
        [("rpop", "reader")],
        [("apop", "{user}", "wrong")],
        [("pass_", "{password}")],
    ],
    ids=lambda commands: "-".join(command for command, *_ in commands),
)
def test_what_is_refused_before_login_is_refused_as_poplib_reports_it(
    server: RealServer, small: Mailbox, transport: str, commands: list[tuple[object, ...]]
) -> None:
    words = {"user": small.user, "password": small.password}
    filled = [
        (command, *(word.format(**words) if isinstance(word, str) else word for word in arguments))
        for command, *arguments in commands
    ]
    with connected(poplib, server, transport) as client:
        expected = outcomes(client, filled)
    assert any(isinstance(result, tuple) and result[0] == "error_proto" for _, _, result in expected)
    with connected(pop3fast, server, transport) as client:
        assert outcomes(client, filled) == expected


def test_utf8_rpop_and_apop_after_login_are_poplibs(server: RealServer, small: Mailbox, transport: str) -> None:
    commands = [("utf8",), ("rpop", "reader"), ("apop", "reader", "secret"), ("noop",)]
    assert_same(server, transport, lambda client: outcomes(client, commands), small)


def test_a_wrong_password_is_an_authentication_error(server: RealServer) -> None:
    with connected(pop3fast, server, "plain") as client:
        client.user(server.mailbox.user)
        with pytest.raises(pop3fast.AuthenticationError) as refused:
            client.pass_("wrong-password")
        assert refused.value.code == "AUTH"
        assert not refused.value.temporary
        assert "wrong-password" not in repr(refused.value)


def test_an_empty_mailbox_is_empty_in_both(server: RealServer, transport: str) -> None:
    mailbox = server.add_mailbox(f"empty-{transport}")
    commands = [("stat",), ("list",), ("uidl",), ("list", 1), ("retr", 1), ("noop",)]
    assert_same(server, transport, lambda client: outcomes(client, commands), mailbox)


def test_marks_of_dele_and_rset_show_as_in_poplib_and_quit_commits_them(server: RealServer, transport: str) -> None:
    commands = [
        ("dele", 1), ("dele", 1), ("retr", 1), ("list", 1), ("uidl", 1), ("top", 1, 0), ("stat",), ("list",), ("noop",),
        ("rset",), ("stat",), ("list",), ("dele", "2"), ("dele", 3), ("stat",), ("list",), ("quit",),
    ]  # fmt: skip

    def left(library: ModuleType) -> tuple[list[Outcome], list[bytes]]:
        mailbox = server.add_mailbox(f"dele-{library.__name__}-{transport}", numbered(4))
        server.settle(mailbox)
        with logged_in(library, server, transport, mailbox) as client:
            seen = outcomes(client, commands)
        return seen, eventually(lambda: subjects(mailbox), [b"1", b"4"])

    assert left(pop3fast) == left(poplib)


def test_a_connection_that_is_closed_without_quit_deletes_nothing(server: RealServer, transport: str) -> None:
    mailbox = server.add_mailbox(f"drop-{transport}", numbered(3))
    for library in (poplib, pop3fast):
        with logged_in(library, server, transport, mailbox) as client:
            client.dele(1)
            assert client.stat()[0] == 2
        with logged_in(library, server, transport, mailbox) as client:
            assert client.stat()[0] == 3
    assert sorted(subjects(mailbox)) == [b"1", b"2", b"3"]


def test_after_quit_there_is_no_socket_and_no_file(server: RealServer, transport: str) -> None:
    with logged_in(pop3fast, server, transport) as client:
        assert client.quit().startswith(b"+OK")
        assert vars(client)["sock"] is None
        assert vars(client)["file"] is None


def test_apop_logs_in_as_poplibs_does(dovecot: DovecotServer, transport: str) -> None:
    def seen(library: ModuleType) -> list[Outcome]:
        with connected(library, dovecot, transport) as client:
            words = (dovecot.mailbox.user, dovecot.mailbox.password)
            return outcomes(client, [("apop", words[0], "wrong"), ("apop", *words), ("stat",), ("quit",)])

    reference = seen(poplib)
    assert reference[1][2] == b"+OK Logged in."
    assert seen(pop3fast) == reference


def test_auth_by_hand_logs_in_as_with_poplib(dovecot: DovecotServer, transport: str) -> None:
    words = (dovecot.mailbox.user.encode(), dovecot.mailbox.password.encode())
    initial = base64.b64encode(b"\0" + b"\0".join(words)).decode()

    def seen(library: ModuleType) -> list[Outcome]:
        with connected(library, dovecot, transport) as client:
            in_one = [("_shortcmd", f"AUTH PLAIN {initial}"), ("stat",), ("quit",)]
            return outcomes(client, in_one)

    def seen_in_steps(library: ModuleType) -> list[Outcome]:
        with connected(library, dovecot, transport) as client:
            steps = [base64.b64encode(word).decode() for word in words]
            return outcomes(client, [("_shortcmd", "AUTH LOGIN"), *(("_shortcmd", step) for step in steps), ("stat",)])

    assert seen(pop3fast) == seen(poplib)
    assert seen_in_steps(pop3fast) == seen_in_steps(poplib)


# ---- what poplib does not have ----


def test_retr_bytes_and_retr_into_give_the_lines_of_retr_with_crlf(
    server: RealServer, transport: str, reference: list[tuple[object, ...]]
) -> None:
    with logged_in(pop3fast, server, transport) as client:
        assert isinstance(client, pop3fast.POP3)
        for number, (response, lines, octets, digest) in enumerate(reference[: len(GENERATED)], start=1):
            content = client.retr_bytes(number)
            assert len(content) == octets
            *same_lines, nothing = content.split(b"\r\n")
            assert nothing == b""
            assert fingerprint((b"+OK", same_lines, len(content)))[1:] == (lines, octets, digest), response
            file = io.BytesIO()
            assert client.retr_into(number, file) == octets
            assert file.getvalue() == content
        client.quit()


def test_sizes_and_uids_are_list_and_uidl_as_dictionaries(server: RealServer, transport: str) -> None:
    with logged_in(poplib, server, transport) as client:
        scans = [line.split() for line in client.list()[1]]
        uids = [line.split(b" ", 1) for line in client.uidl()[1]]
    with logged_in(pop3fast, server, transport) as client:
        assert isinstance(client, pop3fast.POP3)
        assert client.sizes() == {int(number): int(octets) for number, octets in scans}
        assert client.uids() == {int(number): uid.decode("latin-1") for number, uid in uids}
        client.quit()
    assert len(scans) == len(uids) >= len(GENERATED)


def test_a_message_that_is_not_there_is_refused_by_every_way_to_retrieve_it(server: RealServer) -> None:
    with logged_in(pop3fast, server, "plain") as client:
        assert isinstance(client, pop3fast.POP3)
        file = io.BytesIO()
        for retrieve in (client.retr_bytes, lambda number: client.retr_into(number, file)):
            with pytest.raises(pop3fast.CommandError, match=r"(?i)no such message|no message"):
                retrieve(9999)
            assert client.noop().startswith(b"+OK")
        assert file.getvalue() == b""


def test_a_block_that_ends_well_commits_and_one_that_raises_does_not(server: RealServer, transport: str) -> None:
    mailbox = server.add_mailbox(f"block-{transport}", numbered(2))
    with logged_in(pop3fast, server, transport, mailbox) as client:
        assert isinstance(client, pop3fast.POP3)
        assert client.dele(1).startswith(b"+OK")
        with pytest.raises(ZeroDivisionError), client:
            raise ZeroDivisionError
        assert is_closed(client)
    with logged_in(pop3fast, server, transport, mailbox) as client:
        assert isinstance(client, pop3fast.POP3)
        with client:
            assert client.stat()[0] == 2
            client.dele(2)
    assert eventually(lambda: subjects(mailbox), [b"1"]) == [b"1"]


def test_a_mailbox_in_use_is_a_temporary_refusal() -> None:
    require(MailutilsServer)
    with MailutilsServer(locking=True) as server, logged_in(pop3fast, server, "plain"):
        with connected(pop3fast, server, "plain") as second:
            second.user(server.mailbox.user)
            with pytest.raises(pop3fast.CommandError) as refused:
                second.pass_(server.mailbox.password)
        assert refused.value.code == "IN-USE"
        assert refused.value.temporary
