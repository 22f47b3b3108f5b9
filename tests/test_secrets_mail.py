"""No octet of a message gets into an error, a note, a repr or the log, however the server mixes replies and mail.

What is shown instead is how much there was. One place is poplib's: the ``args`` of the error for a line that is no
reply, which programs know.
"""

import logging
import traceback
from collections.abc import Callable
from contextlib import closing

import pytest

from pop3fast import POP3, ProtocolError, error_proto
from scripted import Reply, ScriptedServer
from shapes import GREETING, connect

MAIL = b"Dear doctor, the-diagnosis is"
SECRET = "the-diagnosis"
BODY = b"+OK\r\nSubject: x\r\n\r\n%b\r\n.\r\n" % MAIL

Script = list[bytes | Reply]

# What a server that does not stuff dots, answers too early or loses its place says, and what is asked of it.
MIXED: dict[str, tuple[Script, Callable[[POP3], object]]] = {
    "left over": ([BODY + MAIL + b"\r\n"], lambda pop: [pop.retr(1), pop.noop()]),
    "left over before a loop": ([BODY + MAIL + b"\r\n"], lambda pop: [pop.retr(1), list(pop.retr_many([1]))]),
    "left over at QUIT": ([BODY + MAIL], lambda pop: [pop.retr(1), pop.quit()]),
    "behind STLS": ([b"+OK\r\nSTLS\r\n.\r\n", b"+OK\r\n" + MAIL], lambda pop: pop.stls()),
    "no reply in a loop": ([b"%b\r\n" % MAIL], lambda pop: list(pop.retr_many([1, 2], pipelining=True))),
    "no reply behind a message": (
        [BODY + MAIL + b"\r\n" + BODY, BODY],
        lambda pop: list(pop.retr_many([1, 2, 3], pipelining=True)),
    ),
    "no reply in pieces": ([b"%b\r\n" % MAIL], lambda pop: list(pop.retr_pieces([1, 2], pipelining=True))),
    "no reply to DELE": ([b"%b\r\n" % MAIL], lambda pop: pop.dele_many([1, 2], pipelining=True)),
    "no listing": ([b"+OK\r\n%b\r\n.\r\n" % MAIL], lambda pop: pop.sizes()),
    "no unique-ids": ([b"+OK\r\n%b\r\n.\r\n" % MAIL], lambda pop: pop.uids()),
    "cut off": ([Reply(b"+OK\r\n" + MAIL, then="fin")], lambda pop: pop.retr(1)),
    "cut off in a loop": (
        [Reply(b"+OK\r\n" + MAIL, then="fin")],
        lambda pop: list(pop.retr_many([1, 2], pipelining=True)),
    ),
    "silent": ([Reply(b"+OK\r\n" + MAIL, then="stall")], lambda pop: pop.retr_bytes(1)),
    "too long": ([b"+OK\r\n%b\r\n.\r\n" % (MAIL * 10)], lambda pop: pop.retr(1)),
    "no challenge": ([b"+%b\r\n" % MAIL, b"-ERR\r\n"], lambda pop: pop.auth("X-TEST", lambda _: b"")),
}


def everything_shown(error: BaseException) -> str:
    return f"{''.join(traceback.format_exception(error))} {error!r} {getattr(error, 'explanation', '')} {vars(error)}"


@pytest.mark.filterwarnings("ignore::pop3fast.InsecureTLSWarning")
@pytest.mark.parametrize("mixed", MIXED.values(), ids=MIXED)
def test_no_octet_of_mail_is_in_an_error_or_in_the_log(
    mixed: tuple[Script, Callable[[POP3], object]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    script, ask = mixed
    with caplog.at_level(logging.DEBUG, "pop3fast"), ScriptedServer(GREETING, script) as server:
        with closing(connect(server)) as pop:
            pop.sock.settimeout(0.5)
            pop.max_octets = 100
            with pytest.raises((error_proto, OSError)) as first:
                ask(pop)
            shown = [everything_shown(first.value), repr(pop)]
            if not pop.in_step:
                with pytest.raises(ProtocolError) as later:
                    pop.noop()
                shown.append(everything_shown(later.value))
    assert SECRET not in "".join(shown)
    assert SECRET not in caplog.text


def test_a_line_that_is_no_reply_is_in_the_args_as_in_poplib_and_nowhere_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "pop3fast"), ScriptedServer(GREETING, [MAIL + b"\r\n"]) as server:
        with closing(connect(server)) as pop:
            with pytest.raises(ProtocolError) as caught:
                pop.noop()
            assert caught.value.args == (MAIL,)
            assert caught.value.explanation == f"no POP3 reply: {len(MAIL)} octets"
            assert SECRET not in repr(pop)
            with pytest.raises(ProtocolError) as later:
                pop.noop()
            assert SECRET not in everything_shown(later.value)
    assert f"S: ({len(MAIL)} octets)" in caplog.text
    assert SECRET not in caplog.text


def test_what_greets_instead_of_a_pop3_server_is_named() -> None:
    with ScriptedServer(b"220 mail.example.org ESMTP\r\n") as server, pytest.raises(ProtocolError) as caught:
        connect(server)
    assert caught.value.explanation == "no POP3 reply: '220 mail.example.org ESMTP'"
