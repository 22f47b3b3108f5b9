"""`pop3fast fetch -v`: the subject of each message, for a person who looks on and for nobody else."""

import json
from pathlib import Path

import pytest

from commandline import PASSWORD, Here, plain_url, pop3fast
from pop3fast.cli._headers import SUBJECT_OCTETS, subject_of
from pop3fast.fetch import Account, Progress, fetch_mailbox
from pop3fast.testing import MailboxServer

ENV = {"POP3FAST_PASSWORD": PASSWORD}
SECRET_SUBJECT = "between the two of us"
MAIL = [
    b"Subject: =?utf-8?q?R=C3=A9sum=C3=A9?=\r\nTo: x\r\n\r\nSubject: none of it\r\n",
    b"To: x\r\nsubject: over\r\n two lines\r\n\r\n1\r\n",
    b"To: x\r\n\r\nSubject: none of it\r\n",
    b"Subject: large\r\n\r\n" + b"1234567\r\n" * 40_000,
]
SUBJECTS = [": Résumé", ": over two lines", "", ": large"]


@pytest.mark.parametrize("more", [[], ["--headers-only"]])
def test_each_message_has_its_subject_behind_it(more: list[str], here: Here) -> None:
    with MailboxServer(MAIL, password=PASSWORD) as server:
        ran = here("fetch", plain_url(server), "--to", "eml:box", "-v", *more, env=ENV, status=0)
    lines = [line for line in ran.out.splitlines() if ": message " in line]
    assert [line.partition(" of 4)")[2] for line in lines] == SUBJECTS


@pytest.mark.parametrize("option", ["--json", "--quiet", "--dry-run", "--debug", None])
def test_nobody_is_told_a_subject_without_v(option: str | None, tmp_path: Path) -> None:
    with MailboxServer([b"Subject: %s\r\n\r\n1\r\n" % SECRET_SUBJECT.encode()], password=PASSWORD) as server:
        options = [] if option is None else [option]
        ran = pop3fast(tmp_path, "fetch", plain_url(server), "--to", "eml:box", *options, env=ENV, status=0)
    assert SECRET_SUBJECT not in ran.out + ran.err


def test_a_log_has_no_subjects_also_with_v(here: Here, tmp_path: Path) -> None:
    with MailboxServer([b"Subject: %s\r\n\r\n1\r\n" % SECRET_SUBJECT.encode()], password=PASSWORD) as server:
        ran = here("fetch", plain_url(server), "--to", "eml:box", "-v", "--log", "log", env=ENV, status=0)
    assert SECRET_SUBJECT in ran.out
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [event["event"] for event in events] == ["received", "delivered", "end"]
    assert SECRET_SUBJECT not in (tmp_path / "log").read_text()


def test_a_terminal_obeys_no_subject(here: Here) -> None:
    hostile = b"Subject: =?utf-8?q?=1B]0;owned=07=E2=80=AE?= \x1b[2J\x9b1m\r\n\r\n1\r\n"
    with MailboxServer([hostile], password=PASSWORD) as server:
        ran = here("fetch", plain_url(server), "--to", "eml:box", "-v", env=ENV, status=0)
    line = ran.out.splitlines()[0]
    assert line.isprintable()
    assert line.endswith(r": \x1b]0;owned\x07\u202e \x1b[2J\x9b1m")


def test_a_terminal_of_another_character_set_shows_what_it_can(tmp_path: Path) -> None:
    messages = [b"Subject: =?utf-8?q?=E2=82=AC_=C3=A9?=\r\n\r\n1\r\n"]
    with MailboxServer(messages, password=PASSWORD) as server:
        env = {**ENV, "PYTHONIOENCODING": "ascii"}
        ran = pop3fast(tmp_path, "fetch", plain_url(server), "--to", "eml:box", "-v", env=env, status=0)
    assert ran.out.splitlines()[0].endswith(r": \u20ac \xe9")


def test_a_header_that_is_one_long_subject_is_cut() -> None:
    assert subject_of(b"Subject: " + b"x" * 60_000) == "x" * (SUBJECT_OCTETS - 1)
    assert subject_of(b"Subject:" + b"\r\n " * 20_000) == ""
    assert subject_of(b"X-Subject: no\r\nNot-Subject: no\r\nSubject : yes\r\n\r\n") == "yes"


def test_what_a_progress_shows_of_itself_has_no_octet_of_mail(tmp_path: Path) -> None:
    seen: list[Progress] = []
    with MailboxServer([b"Subject: %s\r\n\r\n1\r\n" % SECRET_SUBJECT.encode()], password=PASSWORD) as server:
        account = Account(plain_url(server), password=PASSWORD)
        report = fetch_mailbox(account, f"eml:{tmp_path}/box", progress=seen.append)
    begun = [progress.begins.octets for progress in seen if progress.begins is not None]
    assert begun == [b"Subject: %s\r\n\r\n" % SECRET_SUBJECT.encode()]
    assert SECRET_SUBJECT not in repr(seen) + repr(report)
