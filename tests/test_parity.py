"""The same transcript through poplib and through pop3fast gives the same.

Results (their real types too), exceptions (type and args), audit events, debug lines, the octets sent and signatures
are compared. What differs on purpose is DIFFERENCES, one entry one reason, each with examples that show what both
do; whatever is not listed there must be the same. Owns no expectation about POP3 itself: poplib is the reference.
"""

import hashlib
import inspect
import poplib
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import pop3fast
from pop3fast._client import GLOBAL_DEFAULT
from transcripts.conforming import any_steps, debug_levels, greetings, pieces_of_any_size, short_replies, steps_of
from transcripts.expected import Difference, Example, Fails, Gives
from transcripts.player import Raised, Returned, Step, compare, plain, play, step

HELLO = b"+OK ready\r\n"
STAMPED = b"+OK ready <1896.697170952@dbc.mtview.ca.us>\r\n"


# What differs on purpose.


class HandshakeBegun(Exception):  # noqa: N818 - an event, not an error
    """A client went on to TLS."""


class NoHandshake:
    """An SSL context that tells when it is reached."""

    def wrap_socket(self, *_arguments: object, **_keywords: object) -> None:
        raise HandshakeBegun


def digest(stamp: bytes, secret: bytes) -> bytes:
    """Return the digest of APOP (RFC 1939 section 7)."""
    return hashlib.md5(stamp + secret, usedforsecurity=False).hexdigest().encode()


LONG = b"x" * 3000

BROKEN = Fails(pop3fast.ProtocolError, sent=b"")
"""The connection is not used again: the call says so, and nothing is sent."""

DIFFERENCES = (
    Difference(
        "a reply cut off by EOF is an error at every offset",
        "a reply that the end of the connection cuts off",
        "poplib takes what came of the last line for the whole line, so that a lost connection shortens a number or a"
        " message and nobody is told.",
        (
            # Only the line end is missing; poplib drops a digit in its place.
            Example(
                (step(b"+OK 2 3200", "stat"),),
                (Gives((2, 320)),),
                (Fails(pop3fast.ConnectionLost, ("-ERR EOF",)),),
            ),
            # "..signature", cut behind its dots, passes for the termination octet.
            Example(
                (step(b"+OK\r\nText\r\n..", "retr", 1),),
                (Gives((b"+OK", [b"Text"], 6)),),
                (Fails(pop3fast.ConnectionLost),),
            ),
        ),
    ),
    Difference(
        "the end of a message is found by the reply's own line convention",
        "the end of a message is found by",
        "In a reply whose lines end with CRLF, a dot between lone LFs is the author's and not the server's. Taking it"
        " for the end lets whoever wrote the message say what the server's next replies are.",
        (
            Example(
                (
                    step(b"+OK\r\nSubject: x\r\n\r\na\n.\n+OK 0 0\r\n.\r\n", "retr", 1),
                    step(b"+OK 7 7000\r\n", "stat"),
                ),
                (Gives((b"+OK", [b"Subject: x", b"", b"a"], 16)), Gives((0, 0))),
                (Gives((b"+OK", [b"Subject: x", b"", b"a", b".", b"+OK 0 0"], 27)), Gives((7, 7000))),
            ),
            # Nor did the server stuff a dot behind a lone LF.
            Example(
                (step(b"+OK\r\nSubject: x\r\na\n..b\r\n.\r\n", "retr", 1),),
                (Gives((b"+OK", [b"Subject: x", b"a", b".b"], 18)),),
                (Gives((b"+OK", [b"Subject: x", b"a", b"..b"], 19)),),
            ),
        ),
    ),
    Difference(
        "a CR at the start of a line hides the dots behind it",
        "a dot is un-stuffed, or ends a message",
        "A server stuffs the lines that begin with a dot, and these begin with a CR. poplib drops that CR first, and"
        " then finds dots that nobody stuffed, or an end that nobody sent.",
        (
            Example(
                (step(b"+OK\na\n\r..\n.\n", "retr", 1),),
                (Gives((b"+OK", [b"a", b"."], 5)),),
                (Gives((b"+OK", [b"a", b".."], 6)),),
            ),
            Example(
                (step(b"+OK\na\n\r.\nb\n.\n", "retr", 1),),
                (Gives((b"+OK", [b"a"], 2)),),
                (Gives((b"+OK", [b"a", b".", b"b"], 7)),),
            ),
        ),
    ),
    Difference(
        "octets left over are never the next command's reply",
        "a command is sent only when nothing of an earlier reply is left over",
        "After one reply too many, poplib gives every command the reply of the one before: DELE's +OK is NOOP's. Here"
        " the next command is not sent, and neither is any after it.",
        (
            Example(
                (
                    step(b"+OK one\r\n+OK two\r\n", "noop"),
                    step(b"-ERR no such message\r\n", "dele", 1),
                    step(b"+OK four\r\n", "rset"),
                ),
                (Gives(b"+OK one"), Gives(b"+OK two", sent=b"DELE 1\r\n"), Fails(poplib.error_proto)),
                (Gives(b"+OK one"), BROKEN, BROKEN),
            ),
            Example(
                (step(b"+OK\r\n", "noop"),),
                (Gives(b"+OK forged"),),
                (BROKEN,),
                greeting=b"+OK hello\r\n+OK forged\r\n",
            ),
        ),
    ),
    Difference(
        "a reply that is sent ahead of its command is an error",
        "a command is sent only when nothing of an earlier reply is left over",
        "It is left over when the command is to be sent, and nobody can tell whose it is.",
        (
            Example(
                (step(b"", "stat"),),
                (Gives((1, 10)),),
                (BROKEN,),
                greeting=HELLO + b"+OK 1 10\r\n",
            ),
        ),
    ),
    Difference(
        "a call after quit() or close() says that the connection is closed",
        "a call after `quit()`",
        "poplib's AttributeError says that 'NoneType' has no attribute.",
        (
            Example(
                (step(b"+OK\r\n", "quit"), step(b"", "noop"), step(b"", "quit")),
                (Gives(b"+OK"), Fails(AttributeError), Fails(AttributeError)),
                (Gives(b"+OK"), Fails(pop3fast.ProtocolError, ("the connection is closed",), sent=b""), BROKEN),
            ),
        ),
    ),
    Difference(
        "after a time-out nothing more is sent, a QUIT included",
        "after a time-out",
        "Its reply would be taken for that of the command before. The errors are OSErrors as well, so that whoever"
        " expects the network's goes on.",
        shown_by="test_programs_errors.py"
        "::test_a_connection_that_an_os_error_broke_goes_on_raising_os_errors_that_are_protocol_errors_too",
    ),
    Difference(
        "a connection is not used on both sides of a fork",
        "a second thread, or the child of a fork",
        "Parent and child would get each other's replies.",
        shown_by="test_turns.py::test_a_child_gets_an_error_for_every_command_and_the_parent_notices_nothing",
    ),
    Difference(
        "a second thread is told that the connection is in use",
        "a second thread, or the child of a fork",
        "Two that wait on one connection get each other's replies.",
        shown_by="test_turns.py::test_each_of_several_threads_gets_its_own_reply_or_is_told_to_wait",
    ),
    Difference(
        "+ERR is an error",
        "`+ERR` is an error",
        "One server says it where it means -ERR, and sends no message after it: poplib waits for one.",
        (
            Example(
                (step(b"+ERR Failed to fetch messages\r\n", "dele", 1),),
                (Gives(b"+ERR Failed to fetch messages"),),
                (Fails(poplib.error_proto, (b"+ERR Failed to fetch messages",)),),
            ),
            Example(
                (step(b"+ERR Failed to fetch messages\r\n", "retr", 1),),
                (Fails(poplib.error_proto, ("-ERR EOF",)),),
                (Fails(poplib.error_proto, (b"+ERR Failed to fetch messages",)),),
            ),
        ),
    ),
    Difference(
        "+OK -ERR before a body is an error",
        "`+ERR` is an error, as is `+OK -ERR`",
        "A server that failed after its +OK was out says so (quirk q06). Whether a body follows nobody knows.",
        (
            Example(
                (step(b"+OK -ERR error retrieving message\r\n", "retr", 1),),
                (Fails(poplib.error_proto, ("-ERR EOF",)),),
                (Fails(poplib.error_proto, (b"+OK -ERR error retrieving message",)),),
            ),
        ),
    ),
    Difference(
        "a status line that begins with neither + nor - breaks the connection",
        "a status line that begins with neither",
        "It is no reply but a piece of something else, so what comes next is not a reply either.",
        (
            Example(
                (step(b"line of a message\r\n", "noop"), step(b"+OK\r\n", "dele", 1)),
                (Fails(poplib.error_proto, (b"line of a message",)), Gives(b"+OK", sent=b"DELE 1\r\n")),
                (Fails(pop3fast.ProtocolError, (b"line of a message",)), BROKEN),
            ),
            Example(
                (step(b"\r\n", "dele", 1), step(b"+OK\r\n", "noop")),
                (Fails(poplib.error_proto, (b"",)), Gives(b"+OK")),
                (Fails(pop3fast.ProtocolError, (b"",)), BROKEN),
            ),
        ),
    ),
    Difference(
        "a NUL in a status line breaks the connection",
        "a status line that begins with neither `+` nor `-`, or holds a NUL",
        "No server means to send one there; in a message they are left alone.",
        (
            Example(
                (step(b"+OK a\0b\r\n", "noop"), step(b"+OK\r\n", "dele", 1)),
                (Gives(b"+OK a\0b"), Gives(b"+OK")),
                (Fails(pop3fast.ProtocolError), BROKEN),
            ),
        ),
    ),
    Difference(
        "capa() survives blank, repeated and non-ASCII lines",
        "`capa()` survives",
        "Servers send them. poplib raises IndexError or UnicodeDecodeError, or keeps the last of two SASL lines.",
        (
            Example(
                (step(b"+OK\r\nUIDL\r\n\r\n \r\nTOP\r\n.\r\n", "capa"),),
                (Fails(IndexError),),
                (Gives({"UIDL": [], "TOP": []}),),
            ),
            Example(
                (step(b"+OK\r\nSASL PLAIN\r\nSASL LOGIN\r\n.\r\n", "capa"),),
                (Gives({"SASL": ["LOGIN"]}),),
                (Gives({"SASL": ["PLAIN", "LOGIN"]}),),
            ),
            Example(
                (step(b"+OK\r\nIMPLEMENTATION caf\xe9\r\n.\r\n", "capa"),),
                (Fails(UnicodeDecodeError),),
                (Gives({"IMPLEMENTATION": ["caf\xe9"]}),),
            ),
        ),
    ),
    Difference(
        "apop() takes the first valid timestamp",
        "`apop()` takes",
        "poplib takes everything from the first < to the last >, and so makes a digest that the server refuses.",
        (
            Example(
                (step(b"+OK\r\n", "apop", "wilma", "tanstaaf"),),
                (Gives(b"+OK", sent=b"APOP wilma %b\r\n" % digest(b"<1@a.b> (see <http://x>", b"tanstaaf")),),
                (Gives(b"+OK", sent=b"APOP wilma %b\r\n" % digest(b"<1@a.b>", b"tanstaaf")),),
                greeting=b"+OK ready <1@a.b> (see <http://x>)\r\n",
            ),
        ),
    ),
    Difference(
        "stls() treats octets behind its reply as an error",
        "octets behind the reply to STLS",
        "They came in clear from whoever stands between; poplib drops them in silence and goes on.",
        (
            Example(
                (
                    step((b"+OK\r\nSTLS\r\n.\r\n", b"+OK go\r\n+OK forged\r\n"), "stls", NoHandshake()),
                    step(b"+OK\r\n", "noop"),
                ),
                (Fails(HandshakeBegun), Gives(b"+OK forged")),
                (Fails(pop3fast.ProtocolError), BROKEN),
            ),
        ),
    ),
    Difference(
        "TLS that verifies nothing is told of",
        "`POP3_SSL` and `stls()` without a context warn",
        "Without a context poplib accepts any certificate. So that nothing breaks it is the same here, with a warning.",
        (
            # Warnings are errors in these tests.
            Example(
                (step((b"+OK\r\nSTLS\r\n.\r\n", b"-ERR not now\r\n"), "stls"),),
                (Fails(poplib.error_proto, (b"-ERR not now",), sent=b"CAPA\r\nSTLS\r\n"),),
                (Fails(pop3fast.InsecureTLSWarning, sent=b"CAPA\r\n"),),
            ),
        ),
    ),
    Difference(
        "_MAXLINE is 1 MiB, for lines that are read on their own",
        "`_MAXLINE` is 1 MiB",
        "poplib's 2048 octets refuse real mail, which has lines of megabytes, and leave the rest of the line to be the"
        " next reply.",
        (
            Example(
                (step(b"+OK %b\r\n" % LONG, "noop"),),
                (Fails(poplib.error_proto, ("line too long",)),),
                (Gives(b"+OK %b" % LONG),),
            ),
            Example(
                (step(b"+OK\r\n%b\r\n.\r\n" % LONG, "retr", 1),),
                (Fails(poplib.error_proto, ("line too long",)),),
                (Gives((b"+OK", [LONG], 3002)),),
            ),
        ),
    ),
    Difference(
        "secrets are masked in the debug lines",
        "secrets, and commands that pop3fast does not know",
        "Debug lines end in log files. poplib prints passwords there.",
        (
            Example(
                (step(b"+OK\r\n", "pass_", "sesame"),),
                (Gives(b"+OK", sent=b"PASS sesame\r\n"),),
                (Gives(b"+OK", sent=b"PASS sesame\r\n", without="sesame"),),
                debug=2,
            ),
            Example(
                (step(b"+OK\r\n", "apop", "wilma", "sesame"),),
                (Gives(b"+OK"),),
                (Gives(b"+OK", without=digest(STAMPED[10:-2], b"sesame").decode()),),
                greeting=STAMPED,
                debug=2,
            ),
            Example(
                (step(b"+OK\r\n", "_shortcmd", "AUTH PLAIN c2VzYW1l"),),
                (Gives(b"+OK"),),
                (Gives(b"+OK", without="c2VzYW1l"),),
                debug=1,
            ),
            # What is no command that we know may be a secret, sent where a command should be.
            Example(
                (step(b"+OK\r\n", "_shortcmd", "sesame"),),
                (Gives(b"+OK"),),
                (Gives(b"+OK", without="sesame"),),
                debug=1,
            ),
        ),
    ),
    Difference(
        "a command of more than 1 MiB is refused",
        "a command of more than 1 MiB",
        "A server hangs up in the middle of it, and what it answered to nobody knows.",
        (
            Example(
                (step(b"+OK\r\n", "_shortcmd", "NOOP " + "x" * 2**20), step(b"+OK\r\n", "noop")),
                (Gives(b"+OK"), Gives(b"+OK")),
                (Fails(poplib.error_proto, ("line too long",), sent=b""), Gives(b"+OK")),
            ),
        ),
    ),
    Difference(
        "an error says by its class whether the session goes on",
        "errors are `CommandError` or `ProtocolError`",
        "error_proto is raised for a refusal and for a connection that is out of step, and a program has to tell them"
        " apart by their text.",
        (
            Example(
                (step(b"-ERR no\r\n", "noop"), step(b"+OK\r\n", "noop")),
                (Fails(poplib.error_proto, (b"-ERR no",)), Gives(b"+OK")),
                (Fails(pop3fast.CommandError, (b"-ERR no",)), Gives(b"+OK")),
            ),
        ),
    ),
    Difference(
        "stat() on a malformed reply is error_proto on every Python",
        "`stat()` on a malformed reply",
        "So it is in the newest CPython; before, IndexError and ValueError went past `except error_proto`.",
        (
            Example(
                (step(b"+OK 3\r\n", "stat"),),
                ((Fails(IndexError), Fails(poplib.error_proto, ("Invalid STAT response format",))),),
                (Fails(poplib.error_proto, ("Invalid STAT response format",)),),
            ),
            Example(
                (step(b"+OK three 320\r\n", "stat"), step(b"+OK\r\n", "noop")),
                (
                    (
                        Fails(ValueError),
                        Fails(poplib.error_proto, ("Invalid STAT response data: non-numeric values",)),
                    ),
                    Gives(b"+OK"),
                ),
                (Fails(poplib.error_proto, ("Invalid STAT response data: non-numeric values",)), Gives(b"+OK")),
            ),
        ),
    ),
    Difference(
        "control characters in a command are refused on every Python",
        "control characters in a command",
        "So they are in the newest CPython (CVE-2025-15367); before, a line end in a name made it two commands.",
        (
            Example(
                (step(b"+OK\r\n", "user", "wilma\r\nDELE 1"),),
                (
                    (
                        Gives(b"+OK", sent=b"USER wilma\r\nDELE 1\r\n"),
                        Fails(ValueError, ("Control characters not allowed in commands",), sent=b""),
                    ),
                ),
                (Fails(ValueError, ("Control characters not allowed in commands",), sent=b""),),
            ),
        ),
    ),
)


EXAMPLES = [
    pytest.param(one, id=f"{difference.name} {number}")
    for difference in DIFFERENCES
    for number, one in enumerate(difference.examples, 1)
]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.name)
def test_every_difference_is_shown(difference: Difference) -> None:
    if difference.shown_by:
        file, _, name = difference.shown_by.partition("::")
        assert f"def {name}(" in Path(__file__).with_name(file).read_text(encoding="utf-8")
    assert bool(difference.shown_by) != bool(difference.examples)


def test_users_are_told_of_each_difference_and_of_no_other() -> None:
    page = Path(__file__).parent.parent.joinpath("docs", "poplib.md").read_text(encoding="utf-8")
    _, _, behind = page.partition("## What differs from poplib, and why\n")
    _, *rows = re.findall(r"^\| (.*) \| .* \|$", behind.partition("\n## ")[0], re.MULTILINE)
    assert len(rows) > 15
    told = {one.name: [row for row in rows if row.startswith(one.told)] for one in DIFFERENCES}
    assert [name for name, of_it in told.items() if len(of_it) != 1] == []
    assert set(rows) == {row for of_it in told.values() for row in of_it}


@pytest.mark.parametrize("one", EXAMPLES)
def test_what_differs_on_purpose_is_so(one: Example) -> None:
    theirs = play(poplib, one.greeting, one.steps, debug=one.debug)[2:]
    ours = play(pop3fast, one.greeting, one.steps, debug=one.debug)[2:]
    for seen, expected in zip(theirs, one.poplib, strict=True):
        alternatives = expected if isinstance(expected, tuple) else (expected,)
        assert any(alternative.fits(seen) for alternative in alternatives), f"poplib: {seen} is not {expected}"
    for seen, wanted in zip(ours, one.pop3fast, strict=True):
        assert wanted.fits(seen), f"pop3fast: {seen} is not {wanted}"


@pytest.mark.parametrize("one", EXAMPLES)
def test_an_example_of_a_difference_shows_one(one: Example) -> None:
    theirs = play(poplib, one.greeting, one.steps, debug=one.debug)[2:]
    as_we_do = all(wanted.fits(seen) for seen, wanted in zip(theirs, one.pop3fast, strict=True))
    if as_we_do and any(isinstance(expected, tuple) for expected in one.poplib):
        pytest.skip("the poplib of this Python is new enough to do the same")
    assert not as_we_do


# What must be the same.


def same(greeting: bytes, steps: Sequence[Step], *, pieces: Sequence[int] = (), debug: int = 0) -> None:
    """Play the transcript through both modules, with poplib's limit of a line set to ours, and compare."""
    with mock.patch.object(poplib, "_MAXLINE", pop3fast._MAXLINE):
        theirs = play(poplib, greeting, steps, pieces=pieces, debug=debug)
    ours = play(pop3fast, greeting, steps, pieces=pieces, debug=debug)
    compare(ours, theirs, [step.method for step in steps])


# What explains a failing example takes minutes to do so.
PARITY = settings(max_examples=300, phases=[phase for phase in Phase if phase is not Phase.explain])


@PARITY
@given(
    greeting=greetings,
    steps=st.lists(any_steps, max_size=6),
    last=st.lists(steps_of(short_replies, "quit"), max_size=1),
    pieces=pieces_of_any_size,
    debug=debug_levels,
)
def test_any_conforming_session_is_the_same(
    greeting: bytes, steps: list[Step], last: list[Step], pieces: list[int], debug: int
) -> None:
    same(greeting, steps + last, pieces=pieces, debug=debug)


def mixed_session() -> list[Step]:
    message = b"+OK 40 octets\r\nSubject: dots\r\n\r\n..\r\n...\r\n.x\r\n\0\xff\r\n\r\r\na\nb\n\rc\nd\r\n.\r\n"
    return [
        step(b"+OK\r\nTOP\r\nSASL PLAIN LOGIN\r\nIMPLEMENTATION a b c\r\n.\r\n", "capa"),
        step(b"+OK\r\n", "user", "wilma"),
        step(b"-ERR [AUTH] no\r\n", "pass_", "tanstaaf"),
        step(b"+OK\r\n", "apop", "wilma", "tanstaaf"),
        step(b"+OK\r\n", "rpop", "wilma"),
        step(b"+OK 2 320 rest\r\n", "stat"),
        step(b"+OK\r\n1 120\r\n2 200\r\n.\r\n", "list"),
        step(b"+OK 1 120\r\n", "list", 1),
        step(b"-ERR no such message\r\n", "list", "3"),
        step(message, "retr", 1),
        step(message.replace(b"\r\n", b"\n"), "retr", "2"),
        step(b"-ERR no such message\r\n", "retr", 3),
        step(b"+OK\r\nSubject: dots\r\n\r\n.\r\n", "top", 1, 0),
        step(b"+OK\r\n.\r\n", "top", "1", "10"),
        step(b"+OK\r\n1 whqtswO00WBw418f9t5JxYwZ\r\n.\r\n", "uidl"),
        step(b"+OK 1 whqtswO00WBw418f9t5JxYwZ\r\n", "uidl", 1),
        step(b"+OK\r\n", "dele", 1),
        step(b"+OK\r\n", "noop"),
        step(b"+OK\r\n", "rset"),
        step(b"-ERR what?\r\n", "utf8"),
        step(b"-ERR what?\r\n", "capa"),
        step(b"-ERR what?\r\n", "stls"),
        step(b"+ \r\n", "_shortcmd", "AUTH XOAUTH2"),
        step(b"+OK\r\nx\r\n.\r\n", "_longcmd", "XTND"),
        step(b"+OK bye\r\n", "quit"),
    ]


@pytest.mark.parametrize("debug", [0, 1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_session_with_every_method_is_the_same(size: int, debug: int) -> None:
    session = mixed_session()
    if debug:
        # DIFFERENCES: secrets are masked in the debug lines.
        session = [one for one in session if not str(one.args).startswith("('AUTH")]
    same(STAMPED, session, pieces=[size], debug=debug)


@pytest.mark.parametrize("greeting", [b"-ERR busy\r\n", b"-ERR [SYS/TEMP] later\n", b"-\r\n", b"", b"+ Hola mundo\n"])
def test_a_greeting_is_taken_or_refused_alike(greeting: bytes) -> None:
    same(greeting, [])


def test_a_capability_keeps_every_word_of_its_line() -> None:
    same(HELLO, [step(b"+OK\r\nIMPLEMENTATION mail the mail\r\n.\r\n", "capa")])


@pytest.mark.parametrize(
    "status",
    [b"+OK", b"+ok", b"+", b"+ ", b"+OKAY", b"+oops", b"+ -ERR", b"+OK\tx", b"+OK \xff"],
)
def test_a_reply_is_good_when_it_begins_with_a_plus(status: bytes) -> None:
    same(HELLO, [step(status + b"\r\n", "dele", 1), step(status + b"\r\na\r\n.\r\n", "retr", 2)])


@pytest.mark.parametrize(
    "calls",
    [
        [step(b"+OK\r\n", "user", "\ud800")],
        [step(b"+OK\r\n", "_shortcmd", b"NOOP")],
        [step(b"+OK\r\n", "apop", "wilma", b"tanstaaf")],
        [step(b"+OK\r\n", "retr")],
        [step(b"+OK\r\n", "list", 1, 2)],
        [step(b"+OK\r\n", "user", None)],
        [step(b"+OK 1.5\r\n", "dele", 1.5)],
    ],
    ids=lambda calls: calls[0].method + str(calls[0].args),
)
def test_what_poplib_makes_of_odd_arguments_is_the_same(calls: list[Step]) -> None:
    with_poplib = play(poplib, STAMPED, calls)
    with_pop3fast = play(pop3fast, STAMPED, calls)
    if isinstance(with_poplib[-1].result, Raised) and isinstance(with_poplib[-1].result.error, TypeError):
        # Whose argument it is, and how it is called, is in the text.
        assert isinstance(with_pop3fast[-1].result, Raised)
        assert type(with_pop3fast[-1].result.error) is TypeError
        assert with_pop3fast[-1].sent == with_poplib[-1].sent == b""
    else:
        compare(with_pop3fast, with_poplib, [one.method for one in calls])


def test_apop_without_a_timestamp_sends_nothing() -> None:
    same(HELLO, [step(b"+OK\r\n", "apop", "wilma", "tanstaaf")])


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_line_of_just_the_limit_is_the_last_that_is_read(over: int) -> None:
    reply = b"+OK " + b"x" * (50 - 6 + over) + b"\r\n"
    with mock.patch.object(poplib, "_MAXLINE", 50), mock.patch.object(pop3fast, "_MAXLINE", 50):
        ours, theirs = (play(module, HELLO, [step(reply, "noop")]) for module in (pop3fast, poplib))
    compare(ours, theirs, ["noop"])
    assert isinstance(ours[-1].result, Raised) is (over > 0)


@PARITY
@given(
    greeting=greetings,
    whole=any_steps,
    where=st.floats(0, 1, exclude_max=True),
    pieces=pieces_of_any_size,
    debug=debug_levels,
)
@example(HELLO, step(b"+OK\r\na\r\n.\r\n", "retr", 1), 0.999, [], 0)  # only the terminator's LF is missing
@example(HELLO, step(b"+OK\r\na\r\n.\r\n", "retr", 1), 0.999, [], 2)
@example(HELLO, step(b"+OK\n..\n.\n", "retr", 1), 0.55, [1], 0)  # "+OK\n.", which an LF would make a terminator
def test_a_reply_cut_anywhere_is_always_error_proto(
    greeting: bytes, whole: Step, where: float, pieces: list[int], debug: int
) -> None:
    reply = whole.replies[0]
    cut = Step(reply[: int(len(reply) * where)], whole.method, whole.args)
    steps = [cut, step((), "noop")]
    with mock.patch.object(poplib, "_MAXLINE", pop3fast._MAXLINE):
        theirs = play(poplib, greeting, steps, pieces=pieces, debug=debug)
    ours = play(pop3fast, greeting, steps, pieces=pieces, debug=debug)

    lost = ours[2].result
    assert isinstance(lost, Raised)
    assert isinstance(lost.error, pop3fast.error_proto)
    if "APOP not supported" not in str(lost.error):
        after = ours[3].result
        assert isinstance(after, Raised)
        assert isinstance(after.error, pop3fast.error_proto)
        assert ours[3].sent == b""
    their_error = theirs[2].result
    if isinstance(their_error, Raised) and their_error.error.args == ("-ERR EOF",):
        assert lost.error.args == ("-ERR EOF",)


@PARITY
@given(greeting=greetings, where=st.floats(0, 1, exclude_max=True), pieces=pieces_of_any_size)
def test_a_greeting_cut_anywhere_is_always_error_proto(greeting: bytes, where: float, pieces: list[int]) -> None:
    (constructor,) = play(pop3fast, greeting[: int(len(greeting) * where)], [], pieces=pieces)
    assert isinstance(constructor.result, Raised)
    assert isinstance(constructor.result.error, pop3fast.error_proto)


# The face of the module.


def parameters(function: object) -> list[tuple[str, object, object]]:
    """Return the parameters' names, kinds and defaults."""
    assert callable(function)
    return [(one.name, one.kind, known_default(one.default)) for one in inspect.signature(function).parameters.values()]


def known_default(default: object) -> object:
    """Return *default*; for poplib's mark of the default time-out, which shows as an object without a name, ours."""
    return GLOBAL_DEFAULT if default is socket._GLOBAL_DEFAULT_TIMEOUT else default  # type: ignore[attr-defined]


METHODS = [name for name in vars(poplib.POP3) if inspect.isfunction(getattr(poplib.POP3, name))]
# Methods that the standard library may get after us; ours take more.
COMING = {"auth"}


@pytest.mark.parametrize("method", [method for method in METHODS if method not in COMING])
def test_every_method_of_poplib_has_the_same_signature(method: str) -> None:
    assert parameters(getattr(pop3fast.POP3, method)) == parameters(getattr(poplib.POP3, method))
    assert getattr(pop3fast.POP3, method) is not getattr(poplib.POP3, method)


class AsProposed:
    """What is proposed for the standard library: https://github.com/python/cpython/pull/142613."""

    def auth(self, mechanism: str, authobject: object, *, initial_response_ok: bool = True) -> bytes:
        raise NotImplementedError


@pytest.mark.parametrize("kind", [AsProposed, poplib.POP3])
@pytest.mark.parametrize("method", COMING)
def test_a_method_that_is_to_come_can_be_called_as_it_will_be(method: str, kind: type) -> None:
    theirs = parameters(getattr(kind, method, getattr(AsProposed, method)))
    ours = inspect.signature(getattr(pop3fast.POP3, method))
    positional = [name for name, how, _ in theirs if how is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    by_name = {name: default for name, how, default in theirs if how is inspect.Parameter.KEYWORD_ONLY}
    bound = ours.bind(*positional, **by_name)
    assert list(bound.arguments) == [*positional, *by_name]
    assert {name: ours.parameters[name].default for name in by_name} == by_name


def test_the_classes_are_called_alike() -> None:
    assert parameters(pop3fast.POP3) == parameters(poplib.POP3)
    # As in Python 3.11. Later ones have lost keyfile and certfile; here they work everywhere.
    assert [(name, default) for name, _, default in parameters(pop3fast.POP3_SSL)] == [
        ("host", inspect.Parameter.empty),
        ("port", 995),
        ("keyfile", None),
        ("certfile", None),
        ("timeout", GLOBAL_DEFAULT),
        ("context", None),
    ]
    if sys.version_info < (3, 12):
        assert parameters(pop3fast.POP3_SSL) == parameters(poplib.POP3_SSL)


def test_stls_of_a_tls_session_is_called_as_in_python_3_11() -> None:
    # Later Pythons have lost keyfile and certfile here too. However it is called, it refuses.
    names = [name for name, _, _ in parameters(pop3fast.POP3_SSL.stls)]
    assert names == ["self", "keyfile", "certfile", "context"]


def test_every_name_of_the_module_means_the_same() -> None:
    assert set(poplib.__all__) == set(pop3fast.__all__)
    assert pop3fast.error_proto is poplib.error_proto
    for name in ("CR", "LF", "CRLF", "POP3_PORT", "POP3_SSL_PORT", "HAVE_SSL", "errno", "re", "socket", "ssl", "sys"):
        assert getattr(pop3fast, name) == getattr(poplib, name), name
    assert pop3fast._MAXLINE == 2**20
    assert pop3fast.POP3.encoding == poplib.POP3.encoding
    assert isinstance(pop3fast.POP3.timestamp, re.Pattern)


def test_the_classes_are_poplibs_kind() -> None:
    assert issubclass(pop3fast.POP3, poplib.POP3)
    assert issubclass(pop3fast.POP3_SSL, pop3fast.POP3)
    assert issubclass(pop3fast.POP3_SSL, poplib.POP3_SSL)


def test_the_comparison_tells_results_of_another_type_apart() -> None:
    assert plain((1, 2)) != plain([1, 2])
    assert plain(b"1") != plain("1")
    assert Returned(("int", 1)) == plain(1)
    with pytest.raises(AssertionError, match="no method of poplib"):
        plain(object())
