"""Every public method of `POP3` that asks the server something, and ways to ask it.

Owns the table that the tests of hostile servers, deadlines, threads and forks go through, so that a new command meets
all of them. `test_every_command.py` holds it to what the class has.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import pop3fast
from pop3fast import POP3

USER, PASSWORD = "alice", "correct-horse-battery"


class Ask(NamedTuple):
    """A way to ask a server for something."""

    name: str
    ask: Callable[[POP3], object]


def unverified() -> "pop3fast.ssl.SSLContext":
    """Return a context that takes any certificate."""
    context = pop3fast.ssl.SSLContext(pop3fast.ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = pop3fast.ssl.CERT_NONE
    return context


ASKS = (
    Ask("noop", lambda pop: pop.noop()),
    Ask("stat", lambda pop: pop.stat()),
    Ask("list", lambda pop: pop.list()),
    Ask("list of one", lambda pop: pop.list(1)),
    Ask("uidl", lambda pop: pop.uidl()),
    Ask("uidl of one", lambda pop: pop.uidl(1)),
    Ask("capa", lambda pop: pop.capa()),
    Ask("capabilities", lambda pop: pop.capabilities()),
    Ask("supports", lambda pop: pop.supports("STLS")),
    Ask("sizes", lambda pop: pop.sizes()),
    Ask("uids", lambda pop: pop.uids()),
    Ask("uids_and_sizes", lambda pop: pop.uids_and_sizes()),
    Ask("uids_and_sizes, pipelined", lambda pop: pop.uids_and_sizes(pipelining=True)),
    Ask("retr", lambda pop: pop.retr(1)),
    Ask("retr_bytes", lambda pop: pop.retr_bytes(1)),
    Ask("retr_into", lambda pop: pop.retr_into(1, io.BytesIO())),
    Ask("retr_many", lambda pop: list(pop.retr_many())),
    Ask("retr_many, pipelined", lambda pop: list(pop.retr_many([1, 2, 3], pipelining=True))),
    Ask("retr_many, one by one", lambda pop: list(pop.retr_many([1, 2, 3], pipelining=False))),
    Ask("retr_pieces", lambda pop: list(pop.retr_pieces())),
    Ask("retr_pieces, pipelined", lambda pop: list(pop.retr_pieces([1, 2, 3], pipelining=True))),
    Ask("top", lambda pop: pop.top(1, 0)),
    Ask("top_many", lambda pop: list(pop.top_many([1, 2, 3]))),
    Ask("top_many, pipelined", lambda pop: list(pop.top_many([1, 2, 3], pipelining=True))),
    Ask("dele", lambda pop: pop.dele(1)),
    Ask("dele_many", lambda pop: pop.dele_many([1, 2, 3], pipelining=True)),
    Ask("dele_many, one by one", lambda pop: pop.dele_many([1, 2, 3], pipelining=False)),
    Ask("rset", lambda pop: pop.rset()),
    Ask("utf8", lambda pop: pop.utf8()),
    Ask("stls", lambda pop: pop.stls(unverified())),
    Ask("user", lambda pop: pop.user(USER)),
    Ask("pass_", lambda pop: pop.pass_(PASSWORD)),
    Ask("apop", lambda pop: pop.apop(USER, PASSWORD)),
    Ask("rpop", lambda pop: pop.rpop(USER)),
    Ask("auth", lambda pop: pop.auth("X-TEST", lambda _: b"answer", b"first")),
    Ask("login", lambda pop: pop.login(USER, PASSWORD)),
    Ask("quit", lambda pop: pop.quit()),
)
"""All of them; QUIT last, behind which a session is over."""

SILENT = {
    "close": "hangs up and says nothing",
    "getwelcome": "gives what was said already",
    "set_debuglevel": "is about what is printed",
}
"""The public methods that ask nothing, and why."""


class Spy:
    """In the place of a `POP3`: learns which of its methods are called."""

    def __init__(self) -> None:
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Callable[..., list[object]]:
        def method(*_arguments: object, **_keywords: object) -> list[object]:
            self.called.add(name)
            return []

        return method
