"""What a server has shown in one fetch shortens the next one, and the first doubt takes it back.

Round trips are counted as turns, octets of the client behind octets of the server, or as commands that are waited for.
"""

from pathlib import Path

import pytest

from maildrops import Maildrop, mail
from pop3fast import POP3
from pop3fast._conversation import pipeline_of
from pop3fast._hooks import session_of
from pop3fast._proof import FIRST_UNANSWERED_OCTETS, GREATEST_FIRST_WINDOW, MAX_UNANSWERED_OCTETS, Proof
from pop3fast._recall import Shown, mechanism_as_before, recall, shown_by
from pop3fast.fetch import Account, FetchReport, State, fetch_mailbox
from pop3fast.fetch.accounts._shown import in_words, parse
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING
from test_bulk import connected

PIPELINING = b"TOP\r\nUIDL\r\nPIPELINING\r\nSASL PLAIN\r\n"


class Fetches:
    """Fetches of one account, one behind the other."""

    def __init__(self, server: ScriptedServer | MailboxServer, folder: Path, scheme: str = "pop3+plain") -> None:
        context = server.client_context if isinstance(server, MailboxServer) and scheme != "pop3+plain" else None
        host = "localhost" if isinstance(server, MailboxServer) else server.host
        self.account = Account(
            f"{scheme}://user@{host}:{server.port}", password="password", timeout=10, context=context
        )
        self.state = folder / "state.sqlite"
        self._box = f"maildir:{folder}/box"

    def fetch(self) -> FetchReport:
        return fetch_mailbox(self.account, self._box, state=self.state)

    @property
    def shown(self) -> Shown:
        account = self.account
        with State(self.state).account(account.host, account.port, account.login) as memory:
            return parse(memory.shown())


def verbs(commands: list[bytes]) -> list[bytes]:
    return [command.split()[0] for command in commands]


def test_the_second_fetch_logs_in_without_asking_what_the_server_can_do(tmp_path: Path) -> None:
    drop = Maildrop((b"1", mail(1)), capabilities=PIPELINING)
    with ScriptedServer(GREETING, drop) as server:
        fetches = Fetches(server, tmp_path)
        assert fetches.fetch().fetched == 1
        assert fetches.shown == Shown("PLAIN", pipelines=True, octets=len("UIDL\r\nLIST\r\nCAPA\r\n"))
        drop.messages.append((b"a2", mail(2)))
        drop.commands.clear()
        assert fetches.fetch().fetched == 1
        assert verbs(drop.commands)[:4] == [b"AUTH", b"CAPA", b"UIDL", b"LIST"]


@pytest.mark.parametrize(
    ("scheme", "waited_for"),
    # The handshake and the greeting behind it are two more; the handshake alone, where the greeting came before.
    [
        ("pop3s", [b"AUTH", b"CAPA UIDL LIST", b"RETR"]),
        ("pop3", [b"CAPA", b"STLS", b"AUTH", b"CAPA UIDL LIST", b"RETR"]),
    ],
)
def test_the_first_octet_of_mail_comes_with_the_fifth_reply_over_tls_and_the_sixth_over_stls(
    scheme: str, waited_for: list[bytes], tmp_path: Path
) -> None:
    messages = [mail(number) for number in range(3)]
    uids = ["a1", "a2", "a3"]
    with MailboxServer(messages, uids=uids, tls=scheme == "pop3s", stls=scheme == "pop3") as server:
        fetches = Fetches(server, tmp_path, scheme)
        assert fetches.fetch().fetched == 3
        first = len(server.commands)
        assert (
            fetch_mailbox(fetches.account, f"maildir:{tmp_path}/box", state=fetches.state, fetch_again=True).error
            is None
        )
    second = verbs(server.commands[first:])
    assert second[: second.index(b"RETR") + 1] == b" ".join(waited_for).split()
    waits = len(waited_for) + (2 if scheme == "pop3s" else 1)
    assert waits == (5 if scheme == "pop3s" else 6)


def test_a_window_begins_as_far_as_it_came_before() -> None:
    proof = Proof()
    proof.recall(4000)
    proof.begin(1)
    assert proof.room == MAX_UNANSWERED_OCTETS
    assert proof.window > GREATEST_FIRST_WINDOW
    assert proof.pipelines
    assert not proof.complete
    proof.refused()
    proof.begin(1)
    assert proof.window < GREATEST_FIRST_WINDOW


def test_what_one_session_has_shown_the_next_begins_with() -> None:
    drop = Maildrop(*((b"a%d" % number, mail(number)) for number in range(300)), capabilities=PIPELINING)
    with ScriptedServer(GREETING, drop) as server:
        with connected(server) as pop:
            log_in(pop)
            assert len(list(pop.retr_many(range(1, 301)))) == 300
            shown = shown_by(pop)
        assert shown.octets > FIRST_UNANSWERED_OCTETS
        with connected(server) as pop:
            log_in(pop)
            recall(pop, shown)
            loop = pop.retr_many(range(1, 301), window=100)
            assert next(loop).number == 1
            first = next(octets for octets in pop.wire.writes if octets.startswith(b"RETR"))
            assert len(first.splitlines()) > 60
            assert len(list(loop)) == 299


def log_in(pop: POP3) -> None:
    pop.user("user")
    pop.pass_("password")


def test_a_server_that_was_out_of_step_shows_nothing() -> None:
    drop = Maildrop(*((b"a%d" % number, mail(number)) for number in range(20)), capabilities=PIPELINING)
    with ScriptedServer(GREETING, drop) as server, connected(server) as pop:
        log_in(pop)
        assert len(list(pop.retr_many(range(1, 21)))) == 20
        pipeline = pipeline_of(pop, session_of(pop))
        assert pipeline.shown
        pipeline.given_up = "a reply was none"
        assert shown_by(pop).octets == 0


@pytest.mark.parametrize("answer", [b"-ERR what?\r\n", Reply(b"", then="fin"), b"garbage\r\n"])
def test_the_first_doubt_takes_back_what_was_shown(tmp_path: Path, answer: bytes | Reply) -> None:
    drop = Maildrop((b"a1", mail(1)), capabilities=PIPELINING)
    with ScriptedServer(GREETING, drop) as server:
        fetches = Fetches(server, tmp_path)
        fetches.fetch()
        assert fetches.shown.mechanism == "PLAIN"
        failed: list[bytes] = []

        def instead(command: bytes) -> bytes | Reply | None:
            if command.startswith(b"AUTH") and not failed:
                failed.append(command)
                return answer
            return None

        drop.instead = instead
        drop.commands.clear()
        fetches.fetch()
        assert verbs(drop.commands)[0] == b"AUTH"
        assert fetches.shown == Shown()
        drop.commands.clear()
        assert fetches.fetch().exit_status == 0
        assert verbs(drop.commands)[:2] == [b"CAPA", b"AUTH"]


def test_a_mechanism_is_taken_from_before_only_where_it_would_be_chosen() -> None:
    assert mechanism_as_before(Shown("PLAIN"), by_token=False) == "PLAIN"
    assert mechanism_as_before(Shown("USER"), by_token=False) == "USER"
    assert mechanism_as_before(Shown("PLAIN"), by_token=True) is None
    assert mechanism_as_before(Shown("XOAUTH2"), by_token=False) is None
    for unknown in ("", "CRAM-MD5", "EXTERNAL", "no such"):
        assert mechanism_as_before(Shown(unknown), by_token=False) is None


def test_a_dry_run_keeps_nothing_of_it(tmp_path: Path) -> None:
    drop = Maildrop((b"a1", mail(1)), capabilities=PIPELINING)
    with ScriptedServer(GREETING, drop) as server:
        fetches = Fetches(server, tmp_path)
        fetches.fetch()
        with State(fetches.state).account(*fetches.account.where, fetches.account.login) as memory:
            memory.note_shown("")
        fetch_mailbox(fetches.account, f"maildir:{tmp_path}/box", state=fetches.state, dry_run=True)
        assert fetches.shown == Shown()


@pytest.mark.parametrize(
    "shown", [Shown("PLAIN", pipelines=True, octets=2048), Shown("", pipelines=True), Shown("USER")]
)
def test_words_say_what_was_shown(shown: Shown) -> None:
    assert parse(in_words(shown)) == shown


@pytest.mark.parametrize("words", ["", "PLAIN", "PLAIN 1 -5", "PLAIN 1 x", "a b c d", "PLAIN 1 \u0663"])
def test_words_that_make_no_sense_say_nothing(words: str) -> None:
    assert parse(words) == Shown()


def test_what_says_nothing_is_no_words() -> None:
    assert in_words(Shown()) == ""
