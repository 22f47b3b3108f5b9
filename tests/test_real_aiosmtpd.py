"""Mail goes by LMTP to a server of somebody else's: aiosmtpd's, which programs in Python take mail with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maildrops import account_of, mail
from pop3fast.fetch import Job, Options
from pop3fast.fetch._retrying import run_job
from pop3fast.testing import MailboxServer

controllers = pytest.importorskip("aiosmtpd.controller")
lmtp = pytest.importorskip("aiosmtpd.lmtp")


class Inbox:
    """Takes what comes, but for messages and recipients with a word in them, which are named with it."""

    def __init__(self) -> None:
        self.got: list[tuple[str, list[str], bytes]] = []
        self.full: set[str] = set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's names
        self,
        _server: object,
        _session: object,
        envelope: Any,  # noqa: ANN401
        address: str,
        _options: list[str],
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 there is no such user"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: ANN401, N802 - as above
        self.got.append((envelope.mail_from, [*envelope.rcpt_tos], envelope.content))
        # By LMTP there is a reply for each recipient; aiosmtpd sends what is returned.
        return "\r\n".join("452 4.2.2 full" if to in self.full else "250 kept" for to in envelope.rcpt_tos)


class Controller(controllers.UnixSocketController):  # type: ignore[misc, name-defined]
    """Speaks LMTP in the place of SMTP."""

    def factory(self) -> object:
        return lmtp.LMTP(self.handler, **self.SMTP_kwargs)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def where(inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    controller = Controller(inbox, unix_socket=str(tmp_path / "lmtp"), ready_timeout=30.0)
    controller.start()
    try:
        yield f"lmtp:{tmp_path}/lmtp"
    finally:
        controller.stop()


def test_all_arrives_once_octet_for_octet_and_is_deleted_only_then(where: str, inbox: Inbox) -> None:
    messages = [mail(number) for number in range(20)]
    messages.append(b"From: a@example.org\r\n\r\n.\r\n..\r\n.x\r\ncaf\xe9\r\n\r\n")
    with MailboxServer(messages) as server:
        job = Job(account_of(server), where, None, Options(delete=True), "me@example.org")
        report = run_job(job)
        assert (report.fetched, report.deleted, report.failures, report.error) == (21, 21, [], None)
        assert run_job(job).fetched == 0
    assert [content for _, _, content in inbox.got] == messages
    assert {(sender, *to) for sender, to, _ in inbox.got} == {("a@example.org", "me@example.org")}


def test_a_name_beyond_ascii_is_the_recipient_that_was_meant(where: str, inbox: Inbox) -> None:
    with MailboxServer([mail(1)]) as server:
        assert run_job(Job(account_of(server), where, recipient="josé@example.org")).fetched == 1
    assert inbox.got[0][1] == ["josé@example.org"]


def test_who_is_refused_and_whose_box_is_full_is_named_and_nothing_deleted(where: str, inbox: Inbox) -> None:
    inbox.full = {"full@example.org"}
    with MailboxServer([mail(1)]) as server:
        recipients = ("me@example.org", "full@example.org", "nobody@example.org")
        report = run_job(Job(account_of(server), where, None, Options(delete=True), recipients))
        assert (report.deleted, server.remaining) == (0, [1])
    (failure,) = report.failures
    assert failure.why == (
        "full@example.org: 452 4.2.2 full; nobody@example.org: 550 5.1.1 there is no such user "
        "(delivered to me@example.org)"
    )
