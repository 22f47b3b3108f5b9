"""Any object with the methods of a destination is one, and what it does with one message is not the others' trouble.

The server is scripted; the destinations keep what they get in memory.
"""

import itertools
import pickle
import threading
from dataclasses import replace
from email import message_from_bytes
from email.utils import parseaddr
from pathlib import Path

import pytest

from destinations import Box, BoxDelivery, Trouble
from maildrops import FastClock, Maildrop, account_of, as_numbered, delivered, mail, numbered
from pop3fast import ConnectionLost, error_proto
from pop3fast.fetch import (
    DestinationError,
    FetchReport,
    Identity,
    Job,
    MessageDeferred,
    MessageError,
    MessageRefused,
    Options,
    ReadBack,
    SimpleDestination,
    State,
    default_path,
    fetch_mailbox,
    fetch_many,
    import_seen,
    open_destination,
)
from pop3fast.fetch import _writer as writer
from pop3fast.fetch._plan import REFUSED_MARK, Item
from pop3fast.fetch._portions import GROUP_OCTETS, groups_of
from pop3fast.fetch._retrying import Surroundings, run_job
from pop3fast.fetch.destinations._outgoing import Content, OutgoingMessage, message_key
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from waiting import time_out_when_it_stalls

GREETING = b"+OK ready\r\n"
MAILS = [(b"u%d" % number, mail(number)) for number in range(1, 5)]
STAGES = ["begin", "write", "end", "deliver"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "pop3fast"


def fetch(server: ScriptedServer, to: object, options: Options | None = None) -> FetchReport:
    job = Job(account_of(server), to, None, options or Options())  # type: ignore[arg-type]
    return run_job(job, Surroundings(FastClock()))


def raising(error: Exception, at: str, uid: bytes | None = None) -> Trouble:
    def trouble(what: str, identity: Identity | None) -> None:
        if what == at and (uid is None or (identity is not None and identity.uid == uid)):
            raise error

    return trouble


def uids(box: Box) -> list[bytes]:
    return [uid for uid, _ in box.delivered]


def test_status_is_dropped_only_where_a_delivery_counts_what_is_left_out() -> None:
    class CountingDelivery(BoxDelivery):
        left_out = 0

    class Counting(Box):
        def begin(self, identity: Identity) -> BoxDelivery:
            deliveries.append(CountingDelivery(self, identity))
            return deliveries[-1]

    deliveries: list[CountingDelivery] = []
    drop = Maildrop((b"u1", mail(1)), (b"u2", b"Status: R\r\n" + mail(2)))
    plain, counting = Box("plain"), Counting("counting")
    with ScriptedServer(GREETING, drop) as server:
        assert fetch(server, counting, Options(drop_status=True)).error is None
        report = fetch(server, plain, Options(drop_status=True))
    assert counting.delivered == [(b"u1", mail(1)), (b"u2", mail(2))]
    assert [delivery.left_out for delivery in deliveries] == [0, len(b"Status: R\r\n")]
    assert "drop_status needs deliveries that count what is left out (LeavesOut)" in str(report.error)
    assert plain.delivered in ([], [(b"u1", mail(1))])


def test_an_object_gets_every_message_and_what_it_took_is_remembered_and_deleted(
    server: ScriptedServer, drop: Maildrop
) -> None:
    box = Box()
    report = fetch(server, box)
    assert (report.fetched, report.exit_status, report.destination) == (4, 0, "box")
    assert box.delivered == MAILS
    assert fetch(server, box).seen == 4
    assert fetch(server, box, Options(delete=True)).deleted == 4
    assert drop.messages == []
    assert box.delivered == MAILS


def test_a_path_is_a_maildir(server: ScriptedServer, tmp_path: Path) -> None:
    report = fetch(server, tmp_path / "Mail")
    assert report.destination == f"maildir:{tmp_path}/Mail"
    assert delivered(report.destination) == sorted(content for _, content in MAILS)


@pytest.mark.parametrize("at", STAGES)
def test_a_message_that_is_deferred_stays_new_and_the_others_go_on(
    server: ScriptedServer, drop: Maildrop, at: str
) -> None:
    box = Box(trouble=raising(MessageDeferred("not\x07 now"), at, b"u2"))
    report = fetch(server, box, Options(delete=True))
    assert [(named.uid, named.why) for named in report.failures] == [(b"u2", "not\\x07 now")]
    assert (report.fetched, report.deleted, report.exit_status, report.error) == (3, 3, 1, None)
    assert [uid for uid, _ in drop.messages] == [b"u2"]
    box.trouble = lambda *_: None
    report = fetch(server, box, Options(delete=True))
    assert (report.fetched, report.deleted, report.exit_status) == (1, 1, 0)
    assert sorted(box.delivered) == MAILS


@pytest.mark.parametrize("again", [True, ["u2"], [b"u2"]], ids=["all", "str", "bytes"])
@pytest.mark.parametrize("at", STAGES)
def test_a_message_that_is_refused_is_named_and_not_tried_again_until_asked(
    server: ScriptedServer, drop: Maildrop, at: str, *, again: bool | list[str] | list[bytes]
) -> None:
    box = Box(trouble=raising(MessageRefused("no"), at, b"u2"))
    report = fetch(server, box)
    assert [(named.uid, named.why) for named in report.failures] == [(b"u2", "no")]
    assert (report.fetched, report.exit_status) == (3, 1)
    box.trouble = lambda *_: None
    box.calls.clear()
    report = fetch(server, box, Options(delete=True))
    assert "begin" not in box.calls
    assert [named.uid for named in report.left] == [named.uid for named in report.refused] == [b"u2"]
    assert "refused" in report.left[0].why
    assert (report.fetched, report.deleted, report.exit_status) == (0, 3, 0)
    report = fetch(server, box, Options(delete=True, fetch_again=again))
    assert (report.fetched, report.deleted, report.left) == (1, 1, [])
    assert sorted(box.delivered) == MAILS
    assert drop.messages == []


def test_a_refusal_is_of_one_message_and_not_of_another_that_gets_its_unique_id(
    server: ScriptedServer, drop: Maildrop
) -> None:
    box = Box(trouble=raising(MessageRefused("no"), "end", b"u2"))
    fetch(server, box)
    drop.messages[1] = (b"u2", mail(22, 999))
    box.trouble = lambda *_: None
    assert fetch(server, box).fetched == 1
    assert box.delivered[-1] == (b"u2", mail(22, 999))


@pytest.mark.parametrize("at", ["end", "deliver"])
@pytest.mark.parametrize("deletes", ["this fetch", "others"])
def test_quirk_q139_a_refusal_goes_with_the_message_when_message_numbers_are_given_anew(at: str, deletes: str) -> None:
    """Message 12 is the third and becomes the first; what has its number then was never refused."""
    drop = numbered(10, 11, 12, 13)
    box = Box(trouble=raising(MessageRefused("no"), at, b"3"))
    options = Options(delete=deletes == "this fetch")
    with ScriptedServer(GREETING, drop) as server:
        assert fetch(server, box, options).fetched == 3
        box.trouble = lambda *_: None
        drop.messages = as_numbered(12, 14, 15, 16)
        for _ in range(2):
            report = fetch(server, box, options)
            assert [(named.number, named.uid) for named in report.refused] == [(1, b"1")]
            drop.messages = as_numbered(*(int(content.split(b"Subject: ")[1][:2]) for _, content in drop.messages))
        assert [content for _, content in box.delivered] == [mail(number) for number in (10, 11, 13, 14, 15, 16)]
        report = fetch(server, box, replace(options, fetch_again=["1"]))
    assert (report.fetched, report.refused) == (1, [])
    assert box.delivered[-1] == (b"1", mail(12))


def test_what_was_refused_and_is_asked_for_again_is_refused_no_longer_once_it_is_delivered(
    server: ScriptedServer,
) -> None:
    box = Box(trouble=raising(MessageRefused("no"), "end", b"u2"))

    def remembered() -> set[Identity]:
        account = account_of(server)
        with State(default_path(open_destination(box))).account(account.host, account.port, account.login) as memory:
            return {*memory.seen()}

    fetch(server, box)
    assert Identity(REFUSED_MARK + b"u2") in remembered()
    box.trouble = lambda *_: None
    fetch(server, box, Options(fetch_again=True))
    assert remembered() == {Identity(uid) for uid, _ in MAILS}


def test_fetch_again_takes_what_is_asked_for_once_and_deletes_it_when_it_is_delivered(
    server: ScriptedServer, drop: Maildrop
) -> None:
    box = Box()
    fetch(server, box)
    report = fetch(server, box, Options(fetch_again=["u1", "u3"]))
    assert (report.fetched, report.seen, uids(box)[4:]) == (2, 2, [b"u1", b"u3"])
    report = fetch(server, box, Options(fetch_again=True, delete=True, checkpoint_messages=1))
    assert (report.fetched, report.deleted, uids(box)[6:]) == (4, 4, [b"u1", b"u2", b"u3", b"u4"])
    assert drop.messages == []


def test_fetch_again_is_several_unique_ids() -> None:
    with pytest.raises(TypeError, match="several"):
        Options(fetch_again="u1")


def test_a_message_without_a_unique_id_is_deferred_and_refused_as_any_other(
    server: ScriptedServer, drop: Maildrop
) -> None:
    class Picky(SimpleDestination):
        path = "picky"
        refuses = True
        contents: list[bytes]

        def deliver(self, message: OutgoingMessage) -> None:
            if self.refuses and message.content == mail(2):
                raise MessageRefused("no")
            self.contents.append(message.content)

    drop.messages = [(b"", mail(number)) for number in (1, 2, 2, 3)]
    picky = Picky()
    picky.contents = []
    report = fetch(server, picky)
    assert (report.fetched, len(report.failures)) == (2, 2)
    picky.refuses = False
    report = fetch(server, picky)
    assert picky.contents == [mail(1), mail(3), mail(2), mail(2)]
    fetch(server, picky)
    assert len(picky.contents) == 4
    assert fetch(server, picky, Options(delete=True)).deleted == 4


@pytest.mark.parametrize("at", ["open", "prepare", "begin", "write", "end", "flush", "read_back"])
@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        ConnectionResetError(104, "reset"),
        TimeoutError("slow"),
        ConnectionLost("-ERR EOF"),
        error_proto(b"-ERR no"),
        ValueError("odd\x1b"),
        KeyError("odd"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_destination_raises_is_its_own_and_never_the_networks(
    server: ScriptedServer, drop: Maildrop, at: str, error: Exception
) -> None:
    box = Box(trouble=raising(error, at))
    report = fetch(server, box, Options(delete=True))
    assert isinstance(report.error, DestinationError)
    assert report.error.path == "box"
    assert str(report.error).isprintable()
    assert report.exit_status == 5
    assert drop.sessions <= 1
    assert len(drop.messages) == 4
    box.trouble = lambda *_: None
    fetch(server, box, Options(delete=True))
    assert {*box.delivered} == {*MAILS}
    assert drop.messages == []


@pytest.mark.parametrize("at", ["open", "prepare", "read_back"])
def test_an_error_about_a_message_that_is_about_none_ends_the_fetch(server: ScriptedServer, at: str) -> None:
    report = fetch(server, Box(trouble=raising(MessageRefused("no"), at)), Options(delete=True))
    assert isinstance(report.error, DestinationError)


def test_what_a_flush_neither_returns_nor_names_is_named_and_comes_again(
    server: ScriptedServer, drop: Maildrop
) -> None:
    class Forgetful(Box):
        forgets = True

        def flush(self) -> list[object]:  # type: ignore[override]
            return [entry for entry in super().flush() if not self.forgets or entry.uid != b"u3"]

    box = Forgetful()
    report = fetch(server, box, Options(delete=True))
    assert [(named.uid, "does not say" in named.why) for named in report.failures] == [(b"u3", True)]
    assert [uid for uid, _ in drop.messages] == [b"u3"]
    box.forgets = False
    assert fetch(server, box).fetched == 1


def test_a_flush_that_names_no_message_means_all_of_them(server: ScriptedServer, drop: Maildrop) -> None:
    report = fetch(server, Box(trouble=raising(MessageDeferred("busy"), "flush")), Options(delete=True))
    assert [named.uid for named in report.failures] == [uid for uid, _ in MAILS]
    assert (report.error, len(drop.messages)) == (None, 4)


def test_a_flush_that_names_nothing_that_it_was_given_does_not_go_on_for_ever(server: ScriptedServer) -> None:
    error = MessageDeferred("busy", [Identity(b"nobody")])
    report = fetch(server, Box(trouble=raising(error, "flush")))
    assert "a message that it was not given" in str(report.error)


def test_what_a_flush_made_up_is_not_remembered(server: ScriptedServer, drop: Maildrop) -> None:
    class Inventive(Box):
        def flush(self) -> list[object]:  # type: ignore[override]
            return [entry._replace(uid=b"invented") for entry in super().flush()]

    report = fetch(server, Inventive(), Options(delete=True))
    assert isinstance(report.error, DestinationError)
    assert (report.fetched, len(drop.messages)) == (0, 4)
    box = Box("of the same state")
    assert fetch(server, box).fetched == 4


@pytest.mark.parametrize("returned", [None, ["u1"], 7])
def test_a_flush_that_returns_nonsense_is_an_error_in_words(server: ScriptedServer, returned: object) -> None:
    box = Box()
    box.flush = lambda: returned  # type: ignore[method-assign, assignment, return-value]
    report = fetch(server, box, Options(delete=True))
    assert isinstance(report.error, DestinationError)


def test_what_differs_when_it_is_read_back_is_not_deleted(server: ScriptedServer, drop: Maildrop) -> None:
    box = Box()
    box.found = ReadBack.DIFFERS
    report = fetch(server, box, Options(delete=True))
    assert (report.deleted, len(report.failures), len(drop.messages)) == (0, 4, 4)


def test_it_hears_that_a_person_wants_to_stop_and_what_it_raises_then_holds_nobody_up() -> None:
    box = Box(trouble=raising(ValueError("no"), "hurry"))
    open_destination(box).hurry()
    assert box.calls == ["hurry"]


@pytest.mark.parametrize("to", [3, None, object(), ["maildir:x"]])
def test_what_is_no_destination_is_an_error_that_says_what_one_is(server: ScriptedServer, to: object) -> None:
    with pytest.raises(ValueError, match=r"maildir:PATH, mbox:PATH.* has no open, prepare, begin"):
        fetch(server, to)


def test_the_state_lies_in_the_users_home_and_each_destination_has_its_own(server: ScriptedServer, home: Path) -> None:
    one, other = Box("one"), Box("other")
    assert fetch(server, one).fetched == fetch(server, other).fetched == 4
    assert sorted(path.name[:4] for path in home.glob("*.sqlite")) == ["one-", "othe"]
    assert home.stat().st_mode & 0o777 == 0o700
    assert fetch(server, Box("one")).seen == 4
    assert fetch(server, Box("third"), Options(dry_run=True)).to_fetch != []
    assert len([*home.glob("*.sqlite")]) == 2


def test_what_another_program_fetched_is_not_new_wherever_the_state_lies(
    server: ScriptedServer, tmp_path: Path
) -> None:
    list_of_mpop = tmp_path / "seen"
    list_of_mpop.write_text(" 2 127.0.0.1 user\nu1\nu2\n")
    # Nobody has to log in there for it.
    to = "imaps://me@localhost:1/INBOX"
    assert import_seen(account_of(server), to, list_of_mpop) == 2
    assert import_seen(account_of(server), Box(trouble=raising(OSError(), "open")), list_of_mpop) == 2
    assert fetch(server, Box()).fetched == 2


def test_a_relative_state_home_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path(open_destination(Box())).startswith(f"{tmp_path}/.local/state/pop3fast/box-")


def test_one_object_is_used_by_one_fetch_at_a_time() -> None:
    inside: list[str] = []

    def trouble(what: str, _: Identity | None) -> None:
        if what == "open":
            inside.append(what)
        elif what == "close":
            inside.remove("open")
        assert len(inside) <= 1

    box = Box(trouble=trouble)
    with MailboxServer([mail(1), mail(2)]) as first, MailboxServer([mail(3)]) as second:
        jobs = [Job(account_of(server), box) for server in (first, second)]
        reports = fetch_many(jobs, threads=2)
    assert [report.error for report in reports] == [None, None]
    assert sorted(content for _, content in box.delivered) == [mail(1), mail(2), mail(3)]


def test_quirk_q46_a_server_hears_something_while_a_slow_destination_works(
    server: ScriptedServer, drop: Maildrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "NUDGE_SECONDS", 0.001)
    heard = threading.Event()

    def instead(command: bytes) -> None:
        if command == b"NOOP":
            heard.set()

    drop.instead = instead
    waited: list[bool] = []
    box = Box(trouble=lambda what, _: waited.append(heard.wait(20)) if what == "end" else None)
    report = fetch(server, box, Options(delete=True))
    assert (report.fetched, report.deleted, report.sessions) == (4, 4, 1)
    assert waited == [True] * 4


def test_a_server_that_hangs_up_while_a_slow_destination_works_loses_and_doubles_nothing(
    server: ScriptedServer, drop: Maildrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "NUDGE_SECONDS", 0.001)
    asked = threading.Event()

    def instead(command: bytes) -> Reply | None:
        if command == b"NOOP" and drop.sessions == 1:
            asked.set()
            return Reply(then="stall")
        return None

    drop.instead = instead
    box = Box(trouble=lambda what, _: asked.wait(20) if what == "end" else None)
    time_out_when_it_stalls(server, monkeypatch)
    job = Job(account_of(server), box, None, Options(delete=True))
    report = run_job(job, Surroundings(FastClock()))
    assert (report.fetched, report.deleted, report.error, report.failures) == (4, 4, None, [])
    assert box.delivered == MAILS
    assert drop.messages == []


def test_a_slow_destination_is_given_groups_that_fit_into_what_may_wait() -> None:
    items = [Item(number, Identity(b"%d" % number), GROUP_OCTETS // 4) for number in range(1, 11)]
    assert [len(group) for group in groups_of(items, None, slow=True)] == [4, 4, 2]
    assert [len(group) for group in groups_of(items, None, slow=False)] == [10]
    assert [len(group) for group in groups_of(items, 3, slow=True)] == [3, 3, 3, 1]
    small = [item._replace(size=0) for item in items * 60]
    assert [len(group) for group in groups_of(small, None, slow=True)] == [256, 256, 88]
    large = [items[0], items[1]._replace(size=GROUP_OCTETS + 1), items[2]]
    assert [len(group) for group in groups_of(large, None, slow=True)] == [1, 1, 1]
    assert [*groups_of([], None, slow=True)] == []


def test_an_error_about_messages_can_be_pickled() -> None:
    error = MessageRefused("no", [Identity(b"u1", 1)])
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), str(again), again.identities) == (MessageRefused, "no", (Identity(b"u1", 1),))
    assert isinstance(again, MessageError)


def test_the_key_is_the_same_for_the_same_message_and_for_no_other() -> None:
    key = message_key("1234", b"u1", b"x" * 32)
    assert key == message_key("1234", b"u1", b"x" * 32)
    others = [("1235", b"u1", b"x" * 32), ("1234", b"u2", b"x" * 32), ("1234", b"u1", b"y" * 32)]
    assert key not in {message_key(*other) for other in others}
    # A unique-id that does not last is none.
    assert message_key("1", b"ENOMEM-1", b"x") == message_key("1", b"", b"x")


@pytest.mark.parametrize("most", [0, 5, 100])
def test_content_is_read_whole_and_by_several_at_once_wherever_it_lies(most: int) -> None:
    content = Content(most)
    for piece in (b"abc", b"", b"defgh", b"ij"):
        content.append(piece)
    one, other = content.open(), content.open()
    assert one.read(4) == b"abcd"
    assert other.read() == b"abcdefghij"
    assert one.read() == b"efghij"
    assert one.seek(-2, 2) == 8
    assert one.read() == b"ij"
    assert content.octets == 10
    content.close()


@pytest.mark.parametrize(
    ("header", "sender"),
    [
        (b"Return-Path: <a@example.org>\r\nFrom: b@example.org\r\n", "a@example.org"),
        (b"Return-Path: <>\r\nFrom: b@example.org\r\n", ""),
        (b"From: Bob\r\n <b@example.org>\r\n", "b@example.org"),
        (b"From: \xff <b@example.org>\r\n", "b@example.org"),
        (b"Subject: none\r\n", ""),
        (b"From: <b @example.org>\r\nSubject: <a@b>", ""),
    ],
)
def test_the_sender_is_the_return_path_or_else_the_from(header: bytes, sender: str) -> None:
    content = Content(1000)
    content.append(header + b"\r\nFrom: <text@example.org>\r\n")
    message = OutgoingMessage("1234", Identity(b"u"), content)
    found = message.sender()
    assert found == sender or (sender == "" and set(found).isdisjoint(" <>"))


@pytest.mark.parametrize("name", [b"From", b"fROM", b"Return-Path", b"X-From", b"From "])
@pytest.mark.parametrize(
    "value",
    [
        *(b"<a@example.org>", b"a@example.org", b"Bob <a.b+c@example.org>", b'"Bob, B." <a@example.org> ', b"", b"<>"),
        *(
            b"Bob| <a@example.org>",
            b"|\tBob|\t<a@example.org>",
            b"a@example.org, b@example.org",
            b"a@example.org (Bob)",
        ),
        *(
            b"B\xf6b <a@example.org>",
            b'"a b"@example.org',
            b"Bob",
            b"<a@b",
            b"A: <a@b>, c@d;",
            b"<@x:a@b>",
            b"<a@b> <c@d>",
        ),
        *(b"Bob.B <a@b>", b"<a..b@c..d>", b"<%s@example.org>" % (b"a" * 400), b"<a@b>x", b"=?utf-8?q?B=C3=B6b?= <a@b>"),
    ],
)
def test_the_sender_is_what_the_standard_library_reads(name: bytes, value: bytes) -> None:
    before = (b"", b"X: 1|", b"From me|", b"no field|", b" folded|", b"Sender: x@y|\tz|", b": none|")
    for above, line_end in itertools.product(before, (b"\r\n", b"\n")):
        header = (above + name + b":" + value + b"|From: <last@example.org>").replace(b"|", line_end)
        content = Content(1000)
        content.append(header + line_end * 2 + b"From: <text@example.org>" + line_end)
        parsed = message_from_bytes(header)
        field = next((str(found) for each in ("Return-Path", "From") if (found := parsed.get(each)) is not None), "")
        address = parseaddr(" ".join(field.split()))[1]
        usable = (
            address.isascii() and address.isprintable() and len(address) <= 320 and not set(address) & set(' <>"\\')
        )
        assert OutgoingMessage("1234", Identity(b"u"), content).sender() == (address if usable else ""), header


@pytest.mark.parametrize("piece", [b" ", b"a ", b'"', b"(", b"<", b"[", b"a:", b'" '])
def test_a_sender_that_was_written_to_take_long_is_looked_up_all_the_same(piece: bytes) -> None:
    content = Content(1_000_000)
    content.append(b"From: " + piece * 20_000 + b"x,\r\nSubject: x\r\n\r\n")
    found = OutgoingMessage("1234", Identity(b"u"), content).sender()
    assert len(found) <= 320
    assert set(found).isdisjoint(' <>"')


def test_fetch_mailbox_takes_all_of_it_by_name(server: ScriptedServer, tmp_path: Path) -> None:
    box = Box()
    report = fetch_mailbox(account_of(server), box, state=str(tmp_path / "own.sqlite"), fetch_again=["u1"], limit=2)
    assert (report.fetched, (tmp_path / "own.sqlite").exists()) == (2, True)
    assert replace(Options(), fetch_again=True).again(b"")
    assert not Options(fetch_again=[""]).again(b"")
