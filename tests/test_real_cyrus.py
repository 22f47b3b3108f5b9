"""Mail goes to Cyrus, by IMAP and by LMTP: another server's ways, where it is unpacked (`make bench-servers`)."""

import imaplib
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from benches import field
from benches.cyrus import Cyrus, Listening

from imap import answers_lost
from maildrops import account_of, mail
from pop3fast.fetch import Job, Options
from pop3fast.fetch._retrying import run_job
from pop3fast.testing import MailboxServer
from servers.base import find_program
from servers.certificates import Certificate, make_certificate


@pytest.fixture(scope="module")
def certificate() -> list[Certificate]:
    return []


@pytest.fixture(scope="module")
def cyrus(certificate: list[Certificate]) -> Iterator[Listening]:
    server = Cyrus()
    if (why := server.missing()) is not None:
        pytest.skip(why)

    def with_tls(folder: Path) -> str:
        made = make_certificate(find_program("openssl", "openssl"), folder)
        certificate.append(made)
        return f"tls_server_cert: {made.certificate}\ntls_server_key: {made.key}\n"

    with server.running(with_tls) as listening:
        yield listening


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def context(certificate: list[Certificate], cyrus: Listening) -> ssl.SSLContext:
    del cyrus  # which makes it
    return certificate[0].client_context()


class Found:
    """What lies in a folder, as imaplib shows it."""

    def __init__(self, cyrus: Listening, folder: str) -> None:
        with imaplib.IMAP4("127.0.0.1", cyrus.imap) as imap:
            imap.login(field.USER, field.PASSWORD)
            assert imap.select(folder, readonly=True)[0] == "OK"
            _, parts = imap.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
        pairs = [part for part in parts if isinstance(part, tuple)]
        self.heads = [head for head, _ in pairs]
        self.contents = [content for _, content in pairs]


def job_of(server: MailboxServer, cyrus: Listening, folder: str, context: ssl.SSLContext) -> Job:
    to = f"imap://{field.USER}@127.0.0.1:{cyrus.imap}/{folder}"
    job = Job(account_of(server), to, None, Options(delete=True), to_create=True)
    return replace(job, to_password=field.PASSWORD, to_context=context)


def test_by_imap_all_is_appended_once_unread_with_its_date_and_deleted_only_then(
    cyrus: Listening, context: ssl.SSLContext
) -> None:
    dated = b"Received: from a by b; Tue, 02 Jan 2024 03:04:05 +0000\r\n" + mail(0)
    # Cyrus takes none with such a date.
    never_set = b"Date: Wed, 31 Dec 1969 23:59:59 +0000\r\n" + mail(1)
    messages = [dated, never_set, *(mail(number) for number in range(2, 80))]
    with MailboxServer(messages) as server:
        job = job_of(server, cyrus, "INBOX/moved", context)
        report = run_job(job)
        assert (report.fetched, report.deleted, report.failures, report.error) == (80, 80, [], None)
        assert run_job(job).fetched == 0
    found = Found(cyrus, "INBOX/moved")
    assert found.contents == messages
    assert not [head for head in found.heads if rb"\Seen" in head]
    assert b'INTERNALDATE " 2-Jan-2024 03:04:05 +0000"' in found.heads[0]


def test_by_imap_a_message_in_doubt_is_found_and_not_appended_again(cyrus: Listening, context: ssl.SSLContext) -> None:
    messages = [mail(1), mail(2), mail(3)]
    with MailboxServer(messages) as server:
        job = job_of(server, cyrus, "INBOX/doubt", context)
        with answers_lost():
            report = run_job(job)
        assert (report.deleted, len(report.failures)) == (0, 3)
        assert run_job(job).deleted == 3
    assert Found(cyrus, "INBOX/doubt").contents == messages


def test_by_lmtp_all_arrives_once_and_is_deleted_only_then(cyrus: Listening) -> None:
    # To one without a date it would add that, in the middle.
    dated = b"Date: Tue, 02 Jan 2024 03:04:05 +0000\r\n"
    messages = [dated + mail(number) for number in range(100, 130)]
    with MailboxServer(messages) as server:
        job = Job(account_of(server), f"lmtp:{cyrus.lmtp}", None, Options(delete=True), field.USER)
        report = run_job(job)
        assert (report.fetched, report.deleted, report.failures, report.error) == (30, 30, [], None)
        assert run_job(job).fetched == 0
    # A delivery puts fields of its own before the others.
    contents = [content[content.index(dated) :] for content in Found(cyrus, "INBOX").contents]
    assert contents == messages


def test_by_lmtp_the_bad_recipient_of_two_is_named_and_nothing_deleted(cyrus: Listening) -> None:
    with MailboxServer([mail(200)]) as server:
        recipients = (field.USER, "nobody-of-that-name")
        report = run_job(Job(account_of(server), f"lmtp:{cyrus.lmtp}", None, Options(delete=True), recipients))
        assert (report.deleted, server.remaining) == (0, [1])
    assert f"(delivered to {field.USER})" in report.failures[0].why
