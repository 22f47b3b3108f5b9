"""Folders whose names a file system does not make durable: wherever that shows, nothing is delivered or deleted."""

import errno
import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from commandline import PASSWORD, plain_url
from maildrops import delivered, mail
from pop3fast.fetch import Account, fetch_mailbox
from pop3fast.testing import MailboxServer

MAILS = [mail(number) for number in range(3)]


def refusing(number: int, allowed: int) -> Callable[[int], None]:
    """Return an ``fsync`` that fails for folders with the error *number*, but for so many that are *allowed*."""
    sync, folders = os.fsync, itertools.count()

    def fsync(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode) and next(folders) >= allowed:
            raise OSError(number, os.strerror(number))
        sync(file)

    return fsync


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS, errno.EIO])
@pytest.mark.parametrize(("kind", "least"), [("maildir", 4), ("eml", 4), ("mbox", 2)])
def test_wherever_a_folder_cannot_be_synced_that_is_said_and_nothing_is_deleted_before_it_can(
    kind: str, least: int, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state's folder, that of the mail, the one above it; when they are made, and when messages lie there."""
    for allowed in itertools.count():
        home = tmp_path / str(allowed)
        home.mkdir()
        with MailboxServer(MAILS, password=PASSWORD) as server:
            account = Account(plain_url(server), password=PASSWORD)
            with monkeypatch.context() as patched:
                patched.setattr(os, "fsync", refusing(number, allowed))
                report = fetch_mailbox(account, f"{kind}:{home}/box", delete=True)
            if report.error is not None:
                assert (report.fetched, report.deleted, report.exit_status, server.deleted) == (0, 0, 5, [])
                words = "makes no names of files durable" if number != errno.EIO else os.strerror(number)
                assert words in str(report.error)
                assert delivered(f"{kind}:{home}/box") == []
                again = fetch_mailbox(account, f"{kind}:{home}/box", delete=True)
                assert (again.fetched, again.deleted, again.error) == (3, 3, None)
            assert delivered(f"{kind}:{home}/box") == sorted(MAILS)
        if report.error is None:
            break
    assert allowed >= least
