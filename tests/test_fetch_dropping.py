"""`drop_status`: what a message says of its own state in a mailbox does not reach the destination, and nothing else."""

import email
from pathlib import Path

import pytest

from commandline import PASSWORD, pop3fast
from destinations import Box
from maildrops import Maildrop, account_of, delivered, mail
from pop3fast.fetch import FetchReport, Identity, fetch_mailbox
from pop3fast.fetch._dropping import FIELDS, UNDECIDED_OCTETS, DroppingDelivery, WithoutStatus
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer
from shapes import GREETING

HEADER = (
    b"Status: RO\r\nFrom: a\r\nX-Status: D\r\n folded\r\n\tand folded\r\nstatus :O\r\nX-Mozilla-Status: 0009\r\n"
    b"Subject: Status: of the union\r\n Status: folded, and the subject's\r\nStatuses: x\r\nX-KEYWORDS: y\r\n"
)
LEFT = b"From: a\r\nSubject: Status: of the union\r\n Status: folded, and the subject's\r\nStatuses: x\r\n"
BODY = b"\r\nStatus: of a body\r\n\r\nX-Status: D\r\n"


def without_status(*pieces: bytes) -> tuple[bytes, int]:
    rest = WithoutStatus()
    return b"".join([*map(rest.feed, pieces), rest.end()]), rest.dropped


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_whole_or_in_two_pieces_or_octet_by_octet_the_same_is_left(line_end: bytes) -> None:
    octets, left = ((part + BODY).replace(b"\r\n", line_end) for part in (HEADER, LEFT))
    wanted = (left, len(octets) - len(left))
    assert without_status(octets) == wanted
    assert without_status(*(octets[n : n + 1] for n in range(len(octets)))) == wanted
    for cut in range(len(octets)):
        assert without_status(octets[:cut], octets[cut:]) == wanted


@pytest.mark.parametrize("field", FIELDS)
def test_each_of_the_fields_is_dropped_in_any_case(field: bytes) -> None:
    for name in (field, field.lower(), field.upper()):
        assert without_status(b"A: b\r\n%s: x\r\n\r\n" % name) == (b"A: b\r\n\r\n", len(field) + 5)
        assert without_status(b"%s-Too: x\r\n" % name) == (b"%s-Too: x\r\n" % name, 0)


def test_a_header_without_a_body_and_one_without_a_line_end() -> None:
    assert without_status(b"A: b\r\nStatus: R") == (b"A: b\r\n", 9)
    assert without_status(b"Status") == (b"", 6)
    assert without_status(b"A: b") == (b"A: b", 0)
    assert without_status(b"") == (b"", 0)


def test_blanks_before_the_colon_hide_no_field_and_a_long_line_is_not_kept_in_memory() -> None:
    blanks = b" " * 4 * UNDECIDED_OCTETS
    line = b"Status" + blanks + b": R\r\n"
    for cut in range(len(line)):
        assert without_status(line[:cut], line[cut:], b"A: b\r\n\r\n") == (b"A: b\r\n\r\n", len(line))
    rest = WithoutStatus()
    assert rest.feed(b"Subject: " + b"x" * UNDECIDED_OCTETS) == b"Subject: " + b"x" * UNDECIDED_OCTETS
    assert rest.feed(b"Status: y") == b"Status: y"


def test_what_is_held_of_a_header_without_an_end_is_delivered_at_the_end() -> None:
    box = Box()
    delivery = DroppingDelivery(box.begin(Identity(b"u1")))
    delivery.write(b"Status: R\r\nA: b")
    delivery.end()
    box.flush()
    assert box.delivered == [(b"u1", b"A: b")]


def fetch(server: MailboxServer | ScriptedServer, to: str, **options: bool | float) -> FetchReport:
    report = fetch_mailbox(account_of(server), to, **options)  # type: ignore[arg-type]
    report.raise_for_error()
    return report


@pytest.mark.parametrize("kind", ["maildir", "mbox", "eml"])
def test_what_a_sender_says_of_a_message_is_dropped_and_it_counts_as_whole(kind: str, tmp_path: Path) -> None:
    to = f"{kind}:{tmp_path}/box"
    messages = [HEADER + BODY, mail(2), HEADER + b"\r\n" + b"Status: x\r\n" * 20_000]
    with MailboxServer(messages, password="password") as server:
        report = fetch(server, to, drop_status=True)
        assert (report.fetched, report.octets) == (3, sum(map(len, messages)))
        assert delivered(to) == sorted([LEFT + BODY, mail(2), LEFT + b"\r\n" + b"Status: x\r\n" * 20_000])
        # Nothing comes again, and what is delivered is recognised when it is read back.
        report = fetch(server, to, drop_status=True, delete=True)
        assert (report.fetched, report.seen, report.deleted) == (0, 3, 3), report
        assert (report.kept, report.warnings, report.failures) == ([], [], [])


def test_what_is_delivered_in_the_same_session_is_read_back_and_deleted(tmp_path: Path) -> None:
    with MailboxServer([HEADER + BODY], password="password") as server:
        report = fetch(server, f"mbox:{tmp_path}/box", drop_status=True, delete=True)
        assert (report.fetched, report.deleted, report.kept) == (1, 1, [])


def test_without_the_option_all_is_delivered_as_it_came(tmp_path: Path) -> None:
    to = f"eml:{tmp_path}/box"
    with MailboxServer([HEADER + BODY], password="password") as server:
        fetch(server, to)
    assert delivered(to) == [HEADER + BODY]


def test_a_message_without_a_lasting_unique_id_is_recognised_by_what_is_delivered(tmp_path: Path) -> None:
    drop = Maildrop((b"ENOMEM-1", HEADER + BODY), (b"ENOMEM-2", mail(2)))  # quirk q75
    to = f"eml:{tmp_path}/box"
    with ScriptedServer(GREETING, drop) as server:
        fetch(server, to, drop_status=True)
        fetch(server, to, drop_status=True)
    assert delivered(to) == sorted([LEFT + BODY, mail(2)])


def test_a_filter_sees_the_message_as_it_came(tmp_path: Path) -> None:
    command = f"sh -c 'cat >{tmp_path}/seen'"
    with MailboxServer([HEADER + BODY], password="password") as server:
        fetch_mailbox(account_of(server), f"eml:{tmp_path}/box", drop_status=True, filter=command).raise_for_error()
    assert (tmp_path / "seen").read_bytes() == (HEADER + BODY).replace(b"\r\n", b"\n")
    assert delivered(f"eml:{tmp_path}/box") == [LEFT + BODY]


def test_a_program_gets_the_message_without_them(tmp_path: Path) -> None:
    state = f"{tmp_path}/state"
    with MailboxServer([HEADER + BODY], password="password") as server:
        to = f"pipe:sh -c 'cat >{tmp_path}/got'"
        fetch_mailbox(account_of(server), to, state=state, drop_status=True).raise_for_error()
        report = fetch_mailbox(account_of(server), to, state=state, drop_status=True, delete=True)
        assert (report.seen, report.deleted) == (1, 1), report
    assert (tmp_path / "got").read_bytes() == (LEFT + BODY).replace(b"\r\n", b"\n")


def test_the_option_of_the_command(tmp_path: Path) -> None:
    with MailboxServer([HEADER + BODY], password=PASSWORD) as server:
        url = f"pop3+plain://user@127.0.0.1:{server.port}"
        env = {"POP3FAST_PASSWORD": PASSWORD}
        pop3fast(tmp_path, "fetch", url, "--to", "mbox:box", "--drop-status", env=env, status=0)
    message = email.message_from_bytes((tmp_path / "box").read_bytes().partition(b"\n")[2])
    assert message.keys() == ["From", "Subject", "Statuses"]
