"""Mail goes to Dovecot: by LMTP, and by its delivery program. It is there as its own POP3 server shows it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from maildrops import account_of, mail
from pop3fast.fetch import Job, Options
from pop3fast.fetch._retrying import run_job
from pop3fast.testing import MailboxServer
from servers import DovecotServer, Mailbox, require

SETTINGS = """
protocols = pop3 lmtp
postmaster_address = postmaster@example.org
mail_fsync = optimized
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
service auth {{
  unix_listener auth-userdb {{
    mode = 0666
  }}
}}
"""


@pytest.fixture(scope="module")
def dovecot() -> Iterator[DovecotServer]:
    require(DovecotServer)
    if not Path("/usr/lib/dovecot/lmtp").exists():
        pytest.skip("dovecot-lmtpd is not installed")

    class WithLmtp(DovecotServer):
        def configure(self) -> list[str]:
            self.settings = SETTINGS.format(folder=self.folder)
            return super().configure()

    with WithLmtp() as running:
        yield running


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def bodies(mailbox: Mailbox) -> list[bytes]:
    # A delivery puts fields of its own before the others.
    return sorted(content[content.index(b"From: a@example.org") :] for content in mailbox.contents())


def expected(*numbers: int) -> list[bytes]:
    return sorted(mail(number).replace(b"\r\n", b"\n") for number in numbers)


def test_by_lmtp_all_arrives_once_and_is_deleted_only_then(dovecot: DovecotServer) -> None:
    mailbox = dovecot.add_mailbox("lmtpuser")
    with MailboxServer([mail(number) for number in range(30)]) as server:
        job = Job(account_of(server), f"lmtp:{dovecot.folder}/lmtp", None, Options(delete=True), "lmtpuser")
        report = run_job(job)
        assert (report.fetched, report.deleted, report.failures, report.error) == (30, 30, [], None)
        assert run_job(job).fetched == 0
    assert bodies(mailbox) == expected(*range(30))


def test_by_lmtp_lines_that_begin_with_dots_and_eight_bits_arrive(dovecot: DovecotServer) -> None:
    mailbox = dovecot.add_mailbox("dots")
    content = b"From: a@example.org\r\n\r\n.\r\n..\r\n.x\r\ncaf\xe9\r\n\r\n"
    with MailboxServer([content]) as server:
        report = run_job(Job(account_of(server), f"lmtp:{dovecot.folder}/lmtp", recipient="dots"))
    assert (report.fetched, report.failures) == (1, [])
    assert bodies(mailbox) == [content.replace(b"\r\n", b"\n")]


def test_by_lmtp_the_bad_recipient_of_two_is_named_and_nothing_deleted(dovecot: DovecotServer) -> None:
    dovecot.add_mailbox("good")
    with MailboxServer([mail(1)]) as server:
        recipients = ("good", "bad@nowhere@nowhere")
        job = Job(account_of(server), f"lmtp:{dovecot.folder}/lmtp", None, Options(delete=True), recipients)
        report = run_job(job)
        assert (report.deleted, len(report.failures), report.exit_status) == (0, 1, 1)
        assert server.remaining == [1]


def test_by_its_delivery_program_all_arrives(dovecot: DovecotServer) -> None:
    program = shutil.which("dovecot-lda", path="/usr/lib/dovecot")
    if program is None:
        pytest.skip("dovecot-lda is not installed")
    mailbox = dovecot.add_mailbox("ldauser")
    with MailboxServer([mail(number) for number in range(3)]) as server:
        to = f"pipe:{program} -c {dovecot.folder}/dovecot.conf -e -d ldauser"
        report = run_job(Job(account_of(server), to, None, Options(delete=True)))
        assert (report.fetched, report.deleted, report.failures, report.error) == (3, 3, [], None)
    assert bodies(mailbox) == expected(*range(3))
