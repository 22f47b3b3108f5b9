"""A subclass may use any name that is not poplib's: nothing of ours is in its way, and nothing it does is in ours.

The names are those of every version so far, and whatever is found on the classes now.
"""

import io
import poplib
from collections.abc import Callable
from contextlib import closing

import pytest

import pop3fast
from pop3fast import POP3, POP3_SSL
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer
from shapes import GREETING

# All of ours is behind it.
OURS = "_pop3fast"

# Methods and attributes that a class of ours once had, beside poplib's and those that are public.
ONCE = (
    "_answer _answered _apop _authenticate _bare_lf _break _broken _call_off _can_pipeline _capabilities _choose "
    "_converse _deadline _empty_or_refused _ended_in_bare_lf _exchange _first_turns _getresp_before_body "
    "_getresp_is_ours _go_over _in_sasl _limit _listing _log_in _make_message _many _may_pipeline _mechanism "
    "_move _move_until_arrived _opener _over_tls _parsed _pipeline _put_many _read_bytes _reads_whole_replies "
    "_record _record_refusals _recorded _refuse _refuse_what_nobody_asked_for _reply_file _reply_limit "
    "_say_why_not _send _session _set_deadline _settle _stream _stream_of_body _take_replies _trusted _turn "
    "_turns _unique_ids _verified await_batch body_of_reply capabilities within "
)
# poplib sets them on the instance, and our classes have them too.
POPLIBS = {
    *dir(poplib.POP3_SSL),
    "_debugging",
    "_tls_established",
    "context",
    "file",
    "host",
    "port",
    "sock",
    "welcome",
}
# A subclass may set these, to a number.
SETTING = {"max_octets", "read_ahead"}


def names_now() -> set[str]:
    found = {name for kind in (POP3, POP3_SSL) for name in dir(kind)}
    return {name for name in found - POPLIBS - SETTING if not name.startswith("__")}


NAMES = sorted({*names_now(), *ONCE.split()} - {OURS})
MESSAGES = [b"Subject: %d\r\n\r\n.\r\n" % number for number in range(1, 41)]


class Nonsense:
    """Neither this nor that, and not to be asked."""

    def __bool__(self) -> bool:
        raise AssertionError("a name of the subclass was looked at")


def test_one_name_on_our_classes_is_neither_poplibs_nor_public() -> None:
    assert {name for name in names_now() if name.startswith("_")} == {OURS}


def test_one_attribute_of_an_instance_is_neither_poplibs_nor_the_subclasss() -> None:
    with (
        MailboxServer(MESSAGES) as server,
        closing(POP3(*server.address)) as pop,
        closing(poplib.POP3(*server.address)) as theirs,
    ):
        for each in (pop, theirs):
            each.user("user")
            each.pass_("password")
            each.uidl()
            each.list()
        list(pop.retr_many())
        assert set(vars(pop)) - set(vars(theirs)) == {OURS}


def in_the_class(kind: type[POP3]) -> type[POP3]:
    return type("Named", (kind,), {name: Nonsense() for name in NAMES})


def in_the_instance(kind: type[POP3]) -> type[POP3]:
    class Named(kind):  # type: ignore[valid-type, misc]  # which of the two is the caller's
        def __init__(self, *arguments: object, **named: object) -> None:
            for name in NAMES:
                setattr(self, name, Nonsense())
            super().__init__(*arguments, **named)

    return Named


Named = Callable[[type[POP3]], Callable[..., POP3]]
named = pytest.mark.parametrize("named", [in_the_class, in_the_instance])


@named
def test_a_whole_session_of_poplibs_goes_well_whatever_a_subclass_calls_its_own(named: Named) -> None:
    with MailboxServer(MESSAGES, stls=True) as server:
        pop = named(POP3)(*server.address, 10)
        assert pop.capa()["UIDL"] == []
        pop.stls(server.client_context)
        pop.user("user")
        pop.pass_("password")
        assert pop.stat() == (40, sum(map(len, MESSAGES)))
        assert len(pop.list()[1]) == len(pop.uidl()[1]) == 40
        assert pop.retr(1)[1] == [b"Subject: 1", b"", b"."]
        assert pop.top(2, 0)[1] == [b"Subject: 2", b""]
        assert pop.dele(1).startswith(b"+OK")
        with pytest.raises(poplib.error_proto):
            pop.retr(1)
        pop.rset()
        pop.noop()
        pop.quit()


@named
def test_what_is_public_and_ours_goes_well_too_called_by_its_class(named: Named) -> None:
    with MailboxServer(MESSAGES, tls=True) as server:
        with named(POP3_SSL)(*server.address, timeout=10, context=server.client_context) as pop:
            POP3.login(pop, "user", "password")
            assert POP3.supports(pop, "uidl")
            assert POP3.retr_bytes(pop, 1, deadline=10) == MESSAGES[0]
            assert POP3.retr_into(pop, 2, io.BytesIO()) == len(MESSAGES[1])
            assert POP3.sizes(pop) == {number: len(content) for number, content in enumerate(MESSAGES, 1)}
            assert len(POP3.uids(pop)) == 40
            for pipelining in (True, False):
                assert len(POP3.uids_and_sizes(pop, pipelining=pipelining)[0]) == 40
                assert [message.content for message in POP3.retr_many(pop, pipelining=pipelining)] == MESSAGES
                assert [piece.content for piece in POP3.retr_pieces(pop, pipelining=pipelining)] == MESSAGES
                assert len(list(POP3.top_many(pop, pipelining=pipelining, deadline=10))) == 40
            assert POP3.dele_many(pop, [1, 2]) == 2
        assert server.deleted == [1, 2]


@named
def test_a_session_that_breaks_says_so_whatever_a_subclass_calls_its_own(named: Named) -> None:
    with ScriptedServer(GREETING, [b"what\r\n"]) as server, closing(named(POP3)(*server.address, 5)) as pop:
        for _ in range(2):
            with pytest.raises(pop3fast.ProtocolError):
                pop.noop()
        assert server.commands == [b"NOOP"]


def test_a_connection_made_again_by_init_begins_anew() -> None:
    """Programs call it to connect again."""
    with ScriptedServer(GREETING, lambda command: b"what\r\n" if command == b"NOOP" else b"+OK\r\n") as server:
        pop = POP3(*server.address, 5)
        with pytest.raises(pop3fast.ProtocolError):
            pop.noop()
        pop.close()
        pop.__init__(*server.address, 5)  # type: ignore[misc]
        assert pop.in_step
        pop.dele(1)
        pop.close()


def test_secrets_of_an_unknown_command_are_as_hidden_as_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(GREETING, [b"-ERR no\r\n"]) as server, closing(POP3(*server.address, 5)) as pop:
        pop.set_debuglevel(1)
        with pytest.raises(pop3fast.CommandError) as caught:
            pop._shortcmd("hunter2 hunter3")
        assert "hunter" not in f"{caught.value} {caught.value!r} {caught.value.command} {capsys.readouterr().out}"
        assert server.commands == [b"hunter2 hunter3"]
