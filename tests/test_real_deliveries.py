"""Mail goes to Dovecot: by LMTP, by IMAP, and by its delivery program. It is there as its own POP3 server shows it."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imap import answers_lost
from maildrops import account_of, mail
from pop3fast.fetch import Job, Options
from pop3fast.fetch._retrying import run_job
from pop3fast.testing import MailboxServer
from servers import Mailbox, require
from servers.delivering import DeliveringDovecot


@pytest.fixture(scope="module")
def dovecot() -> Iterator[DeliveringDovecot]:
    require(DeliveringDovecot)
    with DeliveringDovecot() as running:
        yield running


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def bodies(mailbox: Mailbox) -> list[bytes]:
    # A delivery puts fields of its own before the others.
    return sorted(content[content.index(b"From: a@example.org") :] for content in mailbox.contents())


def expected(*numbers: int) -> list[bytes]:
    return sorted(mail(number).replace(b"\r\n", b"\n") for number in numbers)


def test_by_lmtp_all_arrives_once_and_is_deleted_only_then(dovecot: DeliveringDovecot) -> None:
    mailbox = dovecot.add_mailbox("lmtpuser")
    with MailboxServer([mail(number) for number in range(30)]) as server:
        job = Job(account_of(server), f"lmtp:{dovecot.folder}/lmtp", None, Options(delete=True), "lmtpuser")
        report = run_job(job)
        assert (report.fetched, report.deleted, report.failures, report.error) == (30, 30, [], None)
        assert run_job(job).fetched == 0
    assert bodies(mailbox) == expected(*range(30))


def test_by_lmtp_lines_that_begin_with_dots_and_eight_bits_arrive(dovecot: DeliveringDovecot) -> None:
    mailbox = dovecot.add_mailbox("dots")
    content = b"From: a@example.org\r\n\r\n.\r\n..\r\n.x\r\ncaf\xe9\r\n\r\n"
    with MailboxServer([content]) as server:
        report = run_job(Job(account_of(server), f"lmtp:{dovecot.folder}/lmtp", recipient="dots"))
    assert (report.fetched, report.failures) == (1, [])
    assert bodies(mailbox) == [content.replace(b"\r\n", b"\n")]


def test_by_lmtp_the_bad_recipient_of_two_is_named_and_nothing_deleted(dovecot: DeliveringDovecot) -> None:
    dovecot.add_mailbox("good")
    with MailboxServer([mail(1)]) as server:
        recipients = ("good", "bad@nowhere@nowhere")
        job = Job(account_of(server), f"lmtp:{dovecot.folder}/lmtp", None, Options(delete=True), recipients)
        report = run_job(job)
        assert (report.deleted, len(report.failures), report.exit_status) == (0, 1, 1)
        assert server.remaining == [1]


def test_by_its_delivery_program_all_arrives(dovecot: DeliveringDovecot) -> None:
    program = shutil.which("dovecot-lda", path="/usr/lib/dovecot")
    if program is None:
        pytest.skip("dovecot-lda is not installed")
    mailbox = dovecot.add_mailbox("ldauser")
    with MailboxServer([mail(number) for number in range(3)]) as server:
        to = f"pipe:{program} -c {dovecot.folder}/dovecot.conf -e -d ldauser"
        report = run_job(Job(account_of(server), to, None, Options(delete=True)))
        assert (report.fetched, report.deleted, report.failures, report.error) == (3, 3, [], None)
    assert bodies(mailbox) == expected(*range(3))


def test_by_imap_all_is_appended_once_unread_and_deleted_only_then(dovecot: DeliveringDovecot) -> None:
    if not dovecot.has_imap:
        pytest.skip("dovecot-imapd is not installed")
    mailbox = dovecot.add_mailbox("imapuser")
    to = f"imaps://imapuser@127.0.0.1:{dovecot.imap_port}/INBOX"
    messages = [mail(number) for number in range(80)]
    with MailboxServer(messages) as server:
        job = Job(account_of(server), to, None, Options(delete=True))
        job = replace(job, to_password=mailbox.password, to_context=dovecot.client_context())
        report = run_job(job)
        assert (report.fetched, report.deleted, report.failures, report.error) == (80, 80, [], None)
        assert run_job(job).fetched == 0
    assert bodies(mailbox) == expected(*range(80))
    assert not [path for path in (mailbox.maildir / "cur").iterdir() if "S" in path.name.partition(":2,")[2]]


def test_by_imap_a_message_in_doubt_is_found_and_not_appended_again(dovecot: DeliveringDovecot) -> None:
    if not dovecot.has_imap:
        pytest.skip("dovecot-imapd is not installed")
    mailbox = dovecot.add_mailbox("doubt")
    to = f"imaps://doubt@127.0.0.1:{dovecot.imap_port}/INBOX"
    with MailboxServer([mail(1), mail(2)]) as server:
        job = Job(account_of(server), to, None, Options(delete=True))
        job = replace(job, to_password=mailbox.password, to_context=dovecot.client_context())
        with answers_lost():
            report = run_job(job)
        assert (report.fetched, report.deleted, len(report.failures)) == (0, 0, 2)
        assert "it will be looked for" in report.failures[0].why
        assert run_job(job).deleted == 2
    assert bodies(mailbox) == expected(1, 2)
