"""`lmtp:`: the envelope of the next message goes along with a content, and nothing is believed that was not said."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

import pytest

from listening import ListeningServer
from maildrops import mail
from pop3fast.fetch import AccountState, Identity, MessageDeferred, MessageRefused, State, StateError
from pop3fast.fetch.destinations._at_once import AtOnce
from pop3fast.fetch.destinations._lmtp import Lmtp
from pop3fast.fetch.destinations._outgoing import Content, OutgoingMessage
from pop3fast.fetch.destinations._particulars import Particulars
from pop3fast.fetch.destinations._served import Served

Steps = list[bytes | int | None]
"""What a server does: say octets, say nothing more (without octets), read so many lines, read a content (None)."""

HELLO: Steps = [b"220 ready\r\n", 1, b"250-me\r\n250 PIPELINING\r\n"]
ENVELOPE, GO_ON, TAKEN = 3, b"250 ok\r\n" * 2 + b"354 go on\r\n", b"250 taken\r\n"
"""The lines of an envelope for one, the replies to it, and that to the end of a content."""

FIRST: Steps = [*HELLO, ENVELOPE, GO_ON, None, TAKEN]
"""A whole message: what comes behind it has been shown to work."""


class Scripted(ListeningServer):
    """Does one thing after the other on each connection, and then reads on."""

    def __init__(self, *steps: Steps) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        super().__init__(listener)
        self.where = f"127.0.0.1:{listener.getsockname()[1]}"
        self.taken: list[bytes] = []
        self.rest = b""
        self._steps = iter(steps)

    def converse(self, sock: socket.socket, file: BinaryIO) -> None:
        for step in next(self._steps):
            match step:
                case b"":
                    sock.shutdown(socket.SHUT_WR)
                case bytes():
                    sock.sendall(step)
                case int():
                    self.commands += [file.readline().rstrip(b"\r\n") for _ in range(step)]
                case _:
                    self.taken.append(b"".join(iter(file.readline, b".\r\n")))
        if step is None:  # and hangs up behind a content of which it says nothing
            return
        self.rest += file.read()


@contextmanager
def sending(server: Scripted, tmp_path: Path, *recipients: str) -> Iterator[tuple[Lmtp, AccountState]]:
    with State(tmp_path / "state").account("h", 110, "me") as account:
        lmtp = Lmtp(server.where, Particulars(recipient=recipients or "me"))
        lmtp.use(account.digest, account)
        lmtp.open()
        try:
            yield lmtp, account
        finally:
            lmtp.close()


def message(number: int) -> OutgoingMessage:
    content = Content(10_000)
    content.append(mail(number))
    return OutgoingMessage("1234", Identity(b"u%d" % number), content)


def test_the_next_envelope_goes_along_with_a_content_once_the_server_has_answered_for_one(tmp_path: Path) -> None:
    """This server says what became of the second message only when it has read the envelope of the third."""
    steps: Steps = [*FIRST, ENVELOPE, GO_ON, None, ENVELOPE, TAKEN, GO_ON, None, TAKEN]
    first, second, third = (message(number) for number in (1, 2, 3))
    with Scripted(steps) as server, sending(server, tmp_path) as (lmtp, _):
        lmtp.deliver_before(first, lambda: second)
        lmtp.deliver_before(second, lambda: third)
        lmtp.deliver_before(third, lambda: None)
        lmtp.close()
        server.wait()
        assert server.taken == [mail(1), mail(2), mail(3)]
        assert (server.connections, server.rest) == (1, b"QUIT\r\n")
        assert [each for each in server.commands if each.startswith(b"MAIL")] == [b"MAIL FROM:<a@example.org>"] * 3


def test_the_first_message_of_a_connection_goes_alone(tmp_path: Path) -> None:
    first, second = message(1), message(2)
    with Scripted(FIRST) as server, sending(server, tmp_path) as (lmtp, _):
        lmtp.deliver_before(first, lambda: second)
        lmtp.close()
        server.wait()
        assert server.rest == b"QUIT\r\n"


@pytest.mark.parametrize("without", [b"PIPELINING", b"a place for it"])
def test_without_pipelining_each_command_waits_for_its_reply(without: bytes, tmp_path: Path) -> None:
    waits = b"PIPELINING" in without
    one_by_one: Steps = [1, b"250 ok\r\n", 1, b"250 ok\r\n", 1, b"354 go on\r\n"] if waits else [3, GO_ON]
    steps = [*HELLO[:2], b"250 SIZE\r\n" if waits else HELLO[2], *[*one_by_one, None, TAKEN] * 2]
    first, second = message(1), message(2)
    with Scripted(steps) as server, sending(server, tmp_path) as (lmtp, _):
        lmtp.deliver_before(first, lambda: second)
        lmtp.deliver_before(second, lambda: message(3) if waits else None)
        lmtp.close()
        server.wait()
        assert (server.taken, server.rest) == ([mail(1), mail(2)], b"QUIT\r\n")


@pytest.mark.parametrize(("reply", "error"), [(b"451 no\r\n", MessageDeferred), (b"554 no\r\n", MessageRefused)])
def test_what_is_said_of_a_message_is_of_that_one_and_the_next_is_delivered(
    reply: bytes, error: type[Exception], tmp_path: Path
) -> None:
    steps: Steps = [*FIRST, ENVELOPE, GO_ON, None, ENVELOPE, reply, GO_ON, None, TAKEN]
    first, second, third = (message(number) for number in (1, 2, 3))
    with Scripted(steps) as server, sending(server, tmp_path) as (lmtp, _):
        lmtp.deliver(first)
        with pytest.raises(error, match="no"):
            lmtp.deliver_before(second, lambda: third)
        lmtp.deliver(third)
        assert (server.taken[-1], server.connections) == (mail(3), 1)


def test_an_envelope_that_is_refused_is_of_the_message_that_it_was_sent_for(tmp_path: Path) -> None:
    refused = b"250 ok\r\n550 who\r\n503 nobody\r\n"
    steps: Steps = [
        *FIRST,
        ENVELOPE,
        GO_ON,
        None,
        ENVELOPE,
        TAKEN,
        refused,
        1,
        b"250 ok\r\n",
        ENVELOPE,
        GO_ON,
        None,
        TAKEN,
    ]
    first, second, third, fourth = (message(number) for number in (1, 2, 3, 4))
    with Scripted(steps) as server, sending(server, tmp_path) as (lmtp, _):
        lmtp.deliver(first)
        lmtp.deliver_before(second, lambda: third)
        with pytest.raises(MessageRefused, match="me: 550 who"):
            lmtp.deliver_before(third, lambda: fourth)
        lmtp.deliver(fourth)
        assert server.taken == [mail(1), mail(2), mail(4)]
        assert b"RSET" in server.commands


@pytest.mark.parametrize("said", [TAKEN, TAKEN + b"421 going\r\n", TAKEN + b"250 ok\r\n"])
def test_who_hangs_up_behind_a_message_gets_the_next_one_over_another_connection(said: bytes, tmp_path: Path) -> None:
    gone: Steps = [*FIRST, ENVELOPE, GO_ON, None, ENVELOPE, said, b""]
    again: Steps = [*HELLO, ENVELOPE, GO_ON, None, TAKEN]
    first, second, third = (message(number) for number in (1, 2, 3))
    with Scripted(gone, again) as server, sending(server, tmp_path) as (lmtp, _):
        lmtp.deliver(first)
        lmtp.deliver_before(second, lambda: third)
        lmtp.deliver(third)
        assert (server.taken, server.connections) == ([mail(1), mail(2), mail(3)], 2)


def test_who_is_lost_before_it_says_what_became_of_a_message_leaves_that_one_in_doubt_and_no_other(
    tmp_path: Path,
) -> None:
    again: Steps = [*HELLO, ENVELOPE, GO_ON, None, TAKEN]
    first, second, third = (message(number) for number in (1, 2, 3))
    with Scripted([*FIRST, ENVELOPE, GO_ON, None], again) as server, sending(server, tmp_path) as (lmtp, _):
        lmtp.deliver(first)
        with pytest.raises(MessageDeferred, match="it will be sent again"):
            lmtp.deliver_before(second, lambda: third)
        lmtp.deliver(third)
        assert (server.taken, server.connections) == ([mail(1), mail(2), mail(3)], 2)


def test_a_message_that_is_not_sent_after_all_gets_no_content_and_nothing_else_is_taken_for_it(tmp_path: Path) -> None:
    steps: Steps = [*FIRST, ENVELOPE, GO_ON, None, ENVELOPE, TAKEN, GO_ON]
    again: Steps = [*HELLO, ENVELOPE, GO_ON, None, TAKEN]
    first, second, third, other = (message(number) for number in (1, 2, 3, 1234))
    with Scripted(steps, again) as server, sending(server, tmp_path) as (lmtp, _):
        lmtp.deliver(first)
        lmtp.deliver_before(second, lambda: third)
        lmtp.deliver(other)
        assert (server.taken, server.rest) == ([mail(1), mail(2), mail(1234)], b"")
    with Scripted(steps) as server, sending(server, tmp_path) as (lmtp, _):
        lmtp.deliver(first)
        lmtp.deliver_before(second, lambda: third)
        lmtp.close()
        server.wait()
        assert (server.taken, server.rest) == ([mail(1), mail(2)], b"")


def test_a_server_that_answers_once_for_all_recipients_is_not_believed(tmp_path: Path) -> None:
    """Its replies to the next envelope would seem to say that everybody has the message."""
    one_accepted = b"250 ok\r\n250 ok\r\n450 b not\r\n354 go on\r\n"
    both_accepted = b"250 ok\r\n" * 3 + b"354 go on\r\n"
    steps: Steps = [*HELLO, 4, one_accepted, None, TAKEN, 4, both_accepted, None, TAKEN, b""]
    first, second, third = (message(number) for number in (1, 2, 3))
    with Scripted(steps) as server, sending(server, tmp_path, "a", "b") as (lmtp, _):
        with pytest.raises(MessageDeferred, match="b: 450 b not"):
            lmtp.deliver_before(first, lambda: second)
        with pytest.raises(MessageDeferred, match="it will be sent again"):
            lmtp.deliver_before(second, lambda: third)
        server.wait()
        assert server.rest == b""


def test_nothing_goes_along_for_a_message_that_everybody_has(tmp_path: Path) -> None:
    reply = b"250 ok\r\n" * 3 + b"354 go on\r\n"
    steps: Steps = [*HELLO, 4, reply, None, TAKEN * 2, 4, reply, None, TAKEN * 2]
    first, second, third = (message(number) for number in (1, 2, 3))
    with Scripted(steps) as server, sending(server, tmp_path, "a", "b") as (lmtp, account):
        lmtp.deliver(first)
        served = Served(account, third, ("a", "b"))
        served.note(["a"])
        served.note(["b"])
        account.note_attempt(b"to\0000\0b", bytes.fromhex(third.key), 1, durable=False)
        lmtp.deliver_before(second, lambda: third)
        lmtp.close()
        server.wait()
        assert server.rest == b"QUIT\r\n"


def test_when_the_state_cannot_be_read_the_server_gets_no_end_of_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (message(number) for number in (1, 2, 3))
    with Scripted([*FIRST, ENVELOPE, GO_ON]) as server, sending(server, tmp_path, "me") as (lmtp, _):
        lmtp.deliver(first)

        def fail(*_: object) -> NoReturn:
            raise StateError("state", "disk I/O error")

        def following() -> OutgoingMessage:
            monkeypatch.setattr(lmtp, "_addressed", fail)
            return third

        with pytest.raises(StateError):
            lmtp.deliver_before(second, following)
        assert lmtp.session is None
        server.wait()
        assert server.rest == b""


@pytest.mark.parametrize(("jobs", "ahead"), [(1, ["u2", "u3", None]), (2, [None] * 3)])
def test_over_one_connection_what_waits_is_what_follows_and_among_several_nobody_knows(
    jobs: int, ahead: list[str | None], tmp_path: Path
) -> None:
    """With one job the message behind is known when the one before is delivered; with two it may be another lane's."""
    followed: list[tuple[str | None, str | None]] = []
    given = threading.Event()

    class Lane(Lmtp):
        def open(self) -> None:
            pass

        def deliver(self, message: OutgoingMessage) -> None:
            followed.append((message.uid, None))

        def deliver_before(self, message: OutgoingMessage, following: Callable[[], OutgoingMessage | None]) -> None:
            given.wait(20)
            found = following()
            followed.append((message.uid, None if found is None else found.uid))

    with State(tmp_path / "state").account("h", 110, "me") as account:
        destination = AtOnce([Lane("/nowhere", Particulars(user="me")) for _ in range(jobs)])
        destination.prepare(account.digest, account)
        for number in (1, 2, 3):
            delivery = destination.begin(Identity(b"u%d" % number))
            delivery.write(mail(number))
            delivery.end()
        given.set()
        assert len(destination.flush()) == 3
        destination.close()
    assert sorted(followed) == [("u1", ahead[0]), ("u2", ahead[1]), ("u3", ahead[2])]
