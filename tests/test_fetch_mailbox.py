"""Whole fetches: what arrives, what is remembered, what the report says; with servers as they should be and are not."""

import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from maildrops import FastClock, Maildrop, account_of, delivered, fetch_from, mail
from pop3fast import AuthenticationError
from pop3fast._location import Location, parse_url
from pop3fast.fetch import (
    Account,
    AccountBusy,
    DestinationError,
    FetchReport,
    Options,
    Progress,
    SecretError,
    State,
    StateError,
    UidsChanged,
    UidsUnknown,
    exit_status,
    fetch_mailbox,
    import_seen,
)
from pop3fast.fetch._retrying import Job, run_job
from pop3fast.fetch.accounts._passwords import run_password_command
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer

KINDS = ["maildir", "mbox", "eml"]
MESSAGES = [mail(number) for number in range(1, 251)]


def greeting() -> bytes:
    return b"+OK ready\r\n"


@pytest.mark.parametrize("kind", KINDS)
def test_everything_arrives_once_and_in_the_report(tmp_path: Path, kind: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    with MailboxServer(MESSAGES) as server:
        report = fetch_from(server, to)
        assert delivered(to) == sorted(MESSAGES)
        assert (report.fetched, report.octets) == (250, sum(map(len, MESSAGES)))
        assert (report.ok, report.exit_status, report.sessions, report.warnings) == (True, 0, 1, [])
        again = fetch_from(server, to)
        assert (again.fetched, again.seen) == (0, 250)
        assert delivered(to) == sorted(MESSAGES)
        assert server.remaining == list(range(1, 251))
        assert sum(command.startswith(b"RETR") for command in server.commands) == 250


def test_a_report_can_be_pickled_with_its_error(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES[:1], password="another") as server:
        report = fetch_from(server, f"maildir:{tmp_path}/box")
    copy = pickle.loads(pickle.dumps(report))  # noqa: S301 - its own
    assert isinstance(copy, FetchReport)
    assert isinstance(copy.error, AuthenticationError)
    assert str(copy.error) == str(report.error)
    assert copy.exit_status == 4
    with pytest.raises(AuthenticationError):
        copy.raise_for_error()


def test_a_large_message_goes_in_pieces(tmp_path: Path) -> None:
    large = mail(1, octets=2**24)
    to = f"maildir:{tmp_path}/box"
    told: list[Progress] = []
    with MailboxServer([mail(2), large, mail(3)]) as server:
        report = fetch_mailbox(account_of(server), to, progress=told.append)
    assert report.fetched == 3
    assert delivered(to) == sorted([mail(2), large, mail(3)])
    assert sum(each.messages == 1 for each in told) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_lasting_unique_id_is_recognised_by_its_content(tmp_path: Path, kind: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    drop = Maildrop((b"", mail(1)), (b"", mail(1)), (b"", mail(2)), (b"ENOMEM-3", mail(3)), (b"x", mail(4)))
    with ScriptedServer(greeting(), drop) as server:
        first = fetch_from(server, to)
        assert len(first.warnings) == 1
        assert first.fetched == 5
        fetch_from(server, to)
    assert delivered(to) == sorted([mail(1), mail(1), mail(2), mail(3), mail(4)])
    assert drop.sent(b"RETR").count(b"RETR 5") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_copies_of_a_unique_id_are_each_fetched_once(tmp_path: Path, kind: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    drop = Maildrop((b"x", mail(1)), (b"x", mail(2)), (b"x", mail(2)))
    with ScriptedServer(greeting(), drop) as server:
        fetch_from(server, to)
        fetch_from(server, to)
    assert delivered(to) == sorted([mail(1), mail(2), mail(2)])
    assert len(drop.sent(b"RETR")) == 3


def test_quirk_q77_a_unique_id_used_again_is_another_message(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop((b"one", mail(1)), (b"two", mail(2)))
    with ScriptedServer(greeting(), drop) as server:
        fetch_from(server, to)
        drop.messages[0] = (b"one", mail(10, octets=77))
        drop.sizes[b"two"] = 1234
        assert fetch_from(server, to).fetched == 1
        assert delivered(to) == sorted([mail(1), mail(2), mail(10, octets=77)])
        # Their sizes are remembered now, so nothing is asked about again.
        before = len(drop.sent(b"TOP"))
        assert before == 2
        assert fetch_from(server, to).fetched == 0
        assert len(drop.sent(b"TOP")) == before


def test_quirk_q76_when_all_unique_ids_change_nothing_is_fetched_unless_that_is_accepted(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    drop = Maildrop(*((b"old%d" % number, mail(number)) for number in range(20)))
    with ScriptedServer(greeting(), drop) as server:
        fetch_from(server, to)
        drop.messages = [(b"new" + uid, content) for uid, content in drop.messages]
        for _ in range(2):
            report = fetch_from(server, to)
            assert isinstance(report.error, UidsChanged)
            assert "accept" in str(report.error)
            assert (report.fetched, report.exit_status) == (0, 1)
        assert fetch_from(server, to, Options(accept_uid_change=True)).fetched == 20
        assert fetch_from(server, to).seen == 20


def test_a_change_of_all_unique_ids_is_not_overlooked_after_a_lost_connection(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    drop = Maildrop(*((b"old%d" % number, mail(number)) for number in range(20)))
    with ScriptedServer(greeting(), drop) as server:
        fetch_from(server, to)
        drop.messages = [(b"new" + uid, content) for uid, content in drop.messages]
        lost = [b"UIDL", b"TOP 2 0", b"UIDL"]

        def instead(command: bytes) -> Reply | None:
            if lost and command == lost[0]:
                lost.pop(0)
                return Reply(b"", then="fin")
            return None

        drop.instead = instead
        report = fetch_from(server, to)
        assert (lost, report.sessions) == ([], 4)
        assert isinstance(report.error, UidsChanged)
    assert len(delivered(to)) == 20


def test_without_top_a_change_of_all_unique_ids_stops_it_too(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop(*((b"old%d" % number, mail(number)) for number in range(20)), capabilities=b"UIDL\r\n")
    drop.instead = lambda command: b"-ERR what?\r\n" if command.startswith(b"TOP") else None
    with ScriptedServer(greeting(), drop) as server:
        fetch_from(server, to)
        drop.messages = [(b"new" + uid, content) for uid, content in drop.messages]
        assert isinstance(fetch_from(server, to).error, UidsChanged)
        assert len(drop.sent(b"TOP")) == 1


def test_a_change_of_all_unique_ids_after_an_import_stops_it_too(tmp_path: Path) -> None:
    """Nobody knows the headers of what another program fetched, so nothing shows that these are other messages."""
    to = f"maildir:{tmp_path}/box"
    old = tmp_path / "uidls"
    drop = Maildrop(*((b"old%d" % number, mail(number)) for number in range(20)))
    with ScriptedServer(greeting(), drop) as server:
        old.write_text(f" 20 {server.host} user\n" + "".join(f"{uid.decode()}\n" for uid, _ in drop.messages))
        assert import_seen(account_of(server), to, str(old)) == 20
        assert fetch_from(server, to).seen == 20
        drop.messages = [(b"new" + uid, content) for uid, content in drop.messages]
        assert isinstance(fetch_from(server, to).error, UidsChanged)
        assert fetch_from(server, to, Options(accept_uid_change=True)).fetched == 20


def test_new_mail_after_all_the_old_is_gone_is_fetched(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop(*((b"%d" % number, mail(number)) for number in range(8)))
    with ScriptedServer(greeting(), drop) as server:
        fetch_from(server, to)
        drop.messages = [(b"9", mail(9))]
        report = fetch_from(server, to)
    assert (report.error, report.fetched, report.forgotten) == (None, 1, 0)


def test_a_listing_that_lacks_messages_forgets_and_deletes_nothing(tmp_path: Path) -> None:
    to = f"mbox:{tmp_path}/box"
    drop = Maildrop(*((b"%d" % number, mail(number)) for number in range(1, 5)))
    with ScriptedServer(greeting(), drop) as server:
        fetch_from(server, to)
        drop.instead = lambda command: b"+OK\r\n1 1\r\n2 2\r\n.\r\n" if command == b"UIDL" else None
        report = fetch_from(server, to, Options(delete=True))
        assert (report.deleted, report.forgotten) == (0, 0)
        assert "not complete" in report.warnings[0]
        drop.instead = lambda _: None
        assert fetch_from(server, to).seen == 4
    assert drop.sent(b"DELE") == []
    assert len(delivered(to)) == 4


def test_what_a_listing_that_lacks_messages_shows_is_fetched_and_not_deleted(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop(*((b"%d" % number, mail(number)) for number in range(1, 5)))
    drop.instead = lambda command: b"+OK\r\n1 1\r\n2 2\r\n.\r\n" if command == b"UIDL" else None
    with ScriptedServer(greeting(), drop) as server:
        assert fetch_from(server, to, Options(delete=True)).fetched == 2
        assert fetch_from(server, to, Options(delete=True, dry_run=True)).to_delete == []
    assert drop.sent(b"DELE") == []


@pytest.mark.parametrize("cut", [b"+OK\r\n1 1\r\n2 2\r\n", b"+OK\r\n1 1\r\n2", b"+OK\r\n"])
def test_a_listing_cut_short_forgets_and_deletes_nothing(tmp_path: Path, cut: bytes) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop(*((b"%d" % number, mail(number)) for number in range(1, 5)))
    with ScriptedServer(greeting(), drop) as server:
        fetch_from(server, to)
        drop.instead = lambda command: Reply(cut, then="fin") if command == b"UIDL" else None
        report = fetch_from(server, to, Options(delete=True))
        assert (report.deleted, report.forgotten, report.exit_status) == (0, 0, 3)
        drop.instead = lambda _: None
        assert fetch_from(server, to).seen == 4
    assert drop.sent(b"DELE") == []


def test_a_malformed_listing_is_given_up_without_deleting(tmp_path: Path) -> None:
    drop = Maildrop((b"1", mail(1)))
    drop.instead = lambda command: b"+OK\r\nhello\r\n.\r\n" if command == b"UIDL" else None
    with ScriptedServer(greeting(), drop) as server:
        report = fetch_from(server, f"maildir:{tmp_path}/box", Options(delete=True))
    assert (report.fetched, report.exit_status) == (0, 3)
    assert drop.sent(b"DELE") == []


def test_quirk_q78_a_server_without_unique_ids_is_an_error_in_words(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES[:1], unsupported=["UIDL"]) as server:
        report = fetch_from(server, f"maildir:{tmp_path}/box")
    assert isinstance(report.error, UidsUnknown)
    assert "unique-ids" in str(report.error)


def test_quirk_q64_an_empty_maildrop_that_refuses_to_list_is_empty(tmp_path: Path) -> None:
    drop = Maildrop()
    drop.instead = lambda command: b"-ERR no messages\r\n" if command in {b"UIDL", b"LIST"} else None
    with ScriptedServer(greeting(), drop) as server:
        assert fetch_from(server, f"maildir:{tmp_path}/box").ok


def test_a_server_that_lists_no_sizes(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop((b"1", mail(1)), (b"2", mail(2)))
    drop.instead = lambda command: b"-ERR no\r\n" if command == b"LIST" else None
    with ScriptedServer(greeting(), drop) as server:
        report = fetch_from(server, to, Options(delete=True))
    assert (report.fetched, report.deleted) == (2, 2)
    assert delivered(to) == sorted([mail(1), mail(2)])


def test_where_the_server_pipelines_both_listings_are_asked_for_before_either_has_come(tmp_path: Path) -> None:
    drop = Maildrop((b"1", mail(1)), (b"2", mail(2)), capabilities=b"TOP\r\nUIDL\r\nPIPELINING\r\n")
    asked = threading.Event()

    def instead(command: bytes) -> bytes | None:
        if command == b"UIDL":
            # The script answers one command at a time, so the next is looked for in what has come.
            assert b"UIDL\r\nLIST\r\n" in server.received
            asked.set()
        return None

    drop.instead = instead
    with ScriptedServer(greeting(), drop) as server:
        assert fetch_from(server, f"maildir:{tmp_path}/box").fetched == 2
    assert asked.is_set()


def test_one_message_that_is_refused_is_named_and_the_rest_fetched(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop((b"a", mail(1)), (b"b\x1b", mail(2)), (b"c", mail(3)))
    drop.instead = lambda command: b"-ERR it is gone\r\n" if command == b"RETR 2" else None
    with ScriptedServer(greeting(), drop) as server:
        report = fetch_from(server, to, Options(delete=True))
        assert [str(failure) for failure in report.failures] == [
            "message 2 (unique-id 'b\\x1b'): RETR 2: -ERR it is gone"
        ]
        assert (report.fetched, report.deleted, report.exit_status) == (2, 2, 1)
        drop.instead = lambda _: None
        assert fetch_from(server, to).fetched == 1
    assert delivered(to) == sorted([mail(1), mail(2), mail(3)])


def test_options(tmp_path: Path) -> None:
    messages = [mail(number, octets=number * 10) for number in range(1, 11)]
    with MailboxServer(messages) as server:
        some = fetch_from(server, f"maildir:{tmp_path}/limit", Options(limit=3))
        assert (some.fetched, [message.number for message in some.left]) == (3, [4, 5, 6, 7, 8, 9, 10])
        assert {message.why for message in some.left} == {"the limit is 3 messages"}
        more = fetch_from(server, f"maildir:{tmp_path}/limit", Options(limit=4))
        assert delivered(f"maildir:{tmp_path}/limit") == sorted(messages[:7])
        assert len(more.left) == 3
        small = fetch_from(server, f"maildir:{tmp_path}/size", Options(max_size=len(messages[4])))
        assert (small.fetched, [message.number for message in small.left]) == (5, [6, 7, 8, 9, 10])
        assert str(small.left[0]).endswith("uid00000006'): its 126 bytes are more than 116")
        behind = fetch_from(server, f"maildir:{tmp_path}/size", Options(since_last=True))
        assert behind.fetched == 5


@pytest.mark.parametrize("kind", KINDS)
def test_headers_only_are_fetched_once_and_the_messages_later(tmp_path: Path, kind: str) -> None:
    to = f"{kind}:{tmp_path}/box"
    headers = [message.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for message in MESSAGES[:5]]
    with MailboxServer(MESSAGES[:5]) as server:
        for _ in range(2):
            fetch_from(server, to, Options(headers_only=True))
        assert len(delivered(to)) == 5
        if kind != "mbox":  # where empty lines at the end of a message are nobody's
            assert delivered(to) == sorted(headers)
        assert fetch_from(server, to).fetched == 5
        assert fetch_from(server, to).fetched == 0
    assert len(delivered(to)) == 10


def test_a_dry_run_says_what_would_be_and_touches_nothing(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    with MailboxServer(MESSAGES[:3]) as server:
        report = fetch_from(server, to, Options(dry_run=True))
        assert [each.number for each in report.to_fetch] == [1, 2, 3]
        assert list(tmp_path.iterdir()) == []
        fetch_from(server, to, Options(limit=1))
        report = fetch_from(server, to, Options(dry_run=True, delete=True))
        assert [each.number for each in report.to_fetch] == [2, 3]
        assert [each.number for each in report.to_delete] == [1, 2, 3]
        report = fetch_from(server, to, Options(dry_run=True, delete_after=7))
        assert {2, 3}.isdisjoint(each.number for each in report.to_delete)
        # Nor is a destination made because there is a state for it.
        job = Job(
            account_of(server), f"maildir:{tmp_path}/other", f"{tmp_path}/box/pop3fast.sqlite", Options(dry_run=True)
        )
        assert [each.number for each in run_job(job).to_fetch] == [2, 3]
        assert not (tmp_path / "other").exists()
        assert not any(command.startswith(b"DELE") for command in server.commands)


def test_progress_ends_where_it_said_it_would(tmp_path: Path) -> None:
    told: list[Progress] = []
    with MailboxServer(MESSAGES) as server:
        fetch_mailbox(account_of(server), f"eml:{tmp_path}/box", progress=told.append)
    assert told[0].messages == 0
    assert told[-1].messages == told[-1].messages_in_all == 250
    assert told[-1].octets == told[-1].octets_in_all == sum(map(len, MESSAGES))
    assert sum(each.message is not None for each in told) == 250


def test_what_progress_raises_passes_through(tmp_path: Path) -> None:
    def broken_pipe(progress: Progress) -> None:
        if progress.messages == 10:
            raise BrokenPipeError(progress.messages)

    with MailboxServer(MESSAGES) as server:
        with pytest.raises(BrokenPipeError):
            fetch_mailbox(account_of(server), f"eml:{tmp_path}/box", progress=broken_pipe)
        assert not any(command.startswith(b"QUIT") for command in server.commands)


def test_two_fetches_of_one_account_at_once(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    with MailboxServer(MESSAGES[:1]) as server:
        fetch_from(server, to)
        with State(f"{tmp_path}/box/pop3fast.sqlite").account(server.host, server.port, "user"):
            report = fetch_from(server, to)
    assert isinstance(report.error, AccountBusy)
    assert report.exit_status == 6


def test_no_connection_and_no_destination(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES[:1]) as server:
        nowhere = fetch_from(server, f"maildir:{tmp_path}/no/box")
        assert isinstance(nowhere.error, DestinationError)
        assert nowhere.exit_status == 5
        assert server.commands == []
    gone = fetch_from(server, f"maildir:{tmp_path}/box")
    assert isinstance(gone.error, ConnectionRefusedError)
    assert (gone.exit_status, gone.sessions) == (3, 0)
    with pytest.raises(ValueError, match="maildir:PATH"):
        fetch_from(server, "box")


def test_exit_statuses() -> None:
    assert exit_status(KeyboardInterrupt()) == 130
    assert exit_status(StateError("state", "why")) == 5
    assert exit_status(SecretError("why")) == 4
    assert exit_status(ValueError("why")) == 2


def test_an_account_shows_no_secret_and_can_be_pickled() -> None:
    account = Account("pop3s://Me%40x@MAIL.example.org", password="secret-1", timeout=5)
    assert "secret-1" not in repr(account)
    assert (account.host, account.port, account.login) == ("mail.example.org", 995, "Me@x")
    assert pickle.loads(pickle.dumps(account)) == account  # noqa: S301 - its own
    assert account.digest == Account("pop3s://mail.example.org", "Me@x", token="t").digest
    assert "secret" not in repr(Account("pop3s://a@b", password_command="print secret"))


def test_the_url_of_an_account_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def parse(url: str) -> Location:
        read.append(url)
        return parse_url(url)

    monkeypatch.setattr("pop3fast.fetch.accounts._account.parse_url", parse)
    account = Account("pop3s://me@MAIL.example.org", password="secret-1")
    shown = [(str(account), account.host, account.login, account.digest) for _ in range(3)]
    assert len(set(shown)) == 1
    assert read == ["pop3s://me@MAIL.example.org"]


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("pop3s://host", {"password": "p"}),
        ("pop3s://a@host", {"user": "b", "password": "p"}),
        ("pop3s://a@host", {}),
        ("pop3s://a@host", {"password": "p", "token": "t"}),
        ("http://a@host", {"password": "p"}),
    ],
)
def test_accounts_that_make_no_sense(url: str, given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"user|password|URL"):
        Account(url, **given)  # type: ignore[arg-type]


def test_a_password_command(tmp_path: Path) -> None:
    secret = tmp_path / "it is a secret"
    secret.write_text("password\r\n")
    with MailboxServer(MESSAGES[:1], password="password") as server:
        account = Account(f"pop3+plain://user@{server.host}:{server.port}", password_command=f"cat '{secret}'")
        assert fetch_mailbox(account, f"eml:{tmp_path}/box").ok
    for command in ("false", "", "'", "/no/such/program", ("true",)):
        with pytest.raises(SecretError, match=r"the password (that the )?command"):
            run_password_command(command)


def test_quirk_q15_a_server_that_hangs_up_when_asked_what_it_can_do(tmp_path: Path) -> None:
    to = f"maildir:{tmp_path}/box"
    drop = Maildrop((b"1", mail(1)), (b"2", mail(2)))
    drop.instead = lambda command: Reply(b"", then="fin") if command == b"CAPA" else None
    with ScriptedServer(greeting(), drop) as server:
        assert fetch_from(server, to).fetched == 2
    assert len(drop.sent(b"CAPA")) == 1
    assert delivered(to) == sorted([mail(1), mail(2)])


def test_no_thread_is_left(tmp_path: Path) -> None:
    with MailboxServer(MESSAGES) as server:
        before = threading.active_count()
        fetch_from(server, f"maildir:{tmp_path}/box", clock=FastClock())
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("pop3fast-")] == []
        assert threading.active_count() <= before + 1


# A maildrop in which nothing is new is known by its unique-ids and the answer to STAT.


def as_it_was(tmp_path: Path) -> tuple[Maildrop, str]:
    return Maildrop(*((b"%d" % number, mail(number)) for number in (1, 2, 3))), f"maildir:{tmp_path}/box"


def test_a_maildrop_that_is_as_it_was_is_not_listed_with_sizes_again(tmp_path: Path) -> None:
    maildrop, to = as_it_was(tmp_path)
    with ScriptedServer(greeting(), maildrop) as server:
        fetch_from(server, to)
        assert fetch_from(server, to).seen == 3  # compared one by one
        before = len(maildrop.sent(b"LIST"))
        for _ in range(2):
            report = fetch_from(server, to)
            assert (report.seen, report.fetched, report.ok) == (3, 0, True)
    assert len(maildrop.sent(b"LIST")) == before
    assert maildrop.commands[-1] == b"QUIT"


def another_under_a_unique_id_that_was_used(maildrop: Maildrop) -> None:
    maildrop.messages[1] = (b"2", mail(99, octets=3000))


def one_more(maildrop: Maildrop) -> None:
    maildrop.messages.append((b"4", mail(4)))


def one_for_another(maildrop: Maildrop) -> None:
    maildrop.messages[2] = (b"4", mail(4))


def one_less(maildrop: Maildrop) -> None:
    del maildrop.messages[0]


def octets_that_nobody_counts(maildrop: Maildrop) -> None:
    maildrop.instead = lambda command: b"+OK 3 0\r\n" if command == b"STAT" else None


def octets_that_make_no_sense(maildrop: Maildrop) -> None:
    maildrop.instead = lambda command: b"+OK many\r\n" if command == b"STAT" else None


CHANGES = [
    another_under_a_unique_id_that_was_used,
    one_more,
    one_for_another,
    one_less,
    octets_that_nobody_counts,
    octets_that_make_no_sense,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_maildrop_that_changed_is_listed_and_what_is_new_arrives(
    tmp_path: Path, change: Callable[[Maildrop], None]
) -> None:
    maildrop, to = as_it_was(tmp_path)
    with ScriptedServer(greeting(), maildrop) as server:
        for _ in range(3):
            fetch_from(server, to)
        before = {content for _, content in maildrop.messages}
        listed = len(maildrop.sent(b"LIST"))
        change(maildrop)
        assert fetch_from(server, to).ok
        assert len(maildrop.sent(b"LIST")) > listed
        assert delivered(to) == sorted(before | {content for _, content in maildrop.messages})


@pytest.mark.parametrize("options", [Options(delete=True), Options(headers_only=True)])
def test_a_maildrop_that_is_as_it_was_is_listed_for_what_else_is_to_be_done(tmp_path: Path, options: Options) -> None:
    maildrop, to = as_it_was(tmp_path)
    with ScriptedServer(greeting(), maildrop) as server:
        for _ in range(3):
            fetch_from(server, to)
        listed = len(maildrop.sent(b"LIST"))
        fetch_from(server, to, options)
    assert len(maildrop.sent(b"LIST")) > listed
    assert len(maildrop.messages) == (0 if options.delete else 3)
