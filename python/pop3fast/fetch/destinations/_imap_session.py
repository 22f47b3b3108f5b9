"""One connection to an IMAP server: log in, append messages, look for one (RFC 9051, RFC 3501).

Owns what is sent and what a reply is. Many APPENDs are in flight where the server takes literals without being asked
(LITERAL+, RFC 7888): waiting for each would take most of the time where there is a delay. The standard library's
``imaplib`` can neither do that nor read a file. Others decide what a reply means for a message. No secret is in
an error.
"""

import base64
import contextlib
import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pop3fast import _replies
from pop3fast.fetch.destinations._connection import Connection, LostError

SECONDS = 300.0
"""How long each reply may take; a server that syncs a large message to a slow disk takes a minute."""

MOST_LINE = 65_536
"""A response's line, without literals. Capabilities and flags of a folder are the longest."""

MOST_LITERAL = 2**20
"""Only headers are read as literals."""

MOST_ANSWER = 16 * 2**20
"""In octets, with all that comes unasked before it: a line of 60 octets for each of 200,000 messages that another
program marks meanwhile. An answer with more has no end."""

_LITERAL = re.compile(rb"\{([0-9]{1,10})\+?\}\r?\n\Z")
_CODE = re.compile(r"\[([^\]]*)\]")


class Answer(NamedTuple):
    """What the server said to a command."""

    status: str
    """``OK``, ``NO`` or ``BAD``."""
    text: str
    untagged: tuple[bytes, ...] = ()
    """The responses before it, with their literals."""

    @property
    def good(self) -> bool:
        """Whether it is done."""
        return self.status == "OK"

    @property
    def code(self) -> str:
        """The response code, as ``TRYCREATE`` or ``APPENDUID 38505 3955``; empty without one."""
        found = _CODE.match(self.text)
        return "" if found is None else found[1].upper()

    def __str__(self) -> str:
        return _replies.printable(f"{self.status} {self.text}")


class ImapSession:
    """A connection, until it is lost. Every method raises `LostError`."""

    def __init__(self, where: tuple[str, int], context: ssl.SSLContext, *, tls_at_once: bool) -> None:
        """Connect to *where*, with TLS at once or by STARTTLS, and ask what it can do. Raises ``OSError``, too."""
        self.capabilities: frozenset[str] = frozenset()
        self._number = 0
        self._connection = Connection(socket.create_connection(where, timeout=SECONDS))
        try:
            if tls_at_once:
                self._connection.secure(context, where[0])
            self._greet()
            if not tls_at_once:
                self._start_tls(context, where[0])
            self.ask_capabilities()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it, without LOGOUT."""
        self._connection.close()

    def quit(self) -> None:
        """End it as it ought to be. Raises nothing."""
        with contextlib.suppress(LostError):
            self.command(b"LOGOUT")
        self.close()

    def ask_capabilities(self) -> None:
        """Ask what the server can do, which is more after a login."""
        for response in self.command(b"CAPABILITY").untagged:
            if response.upper().startswith(b"* CAPABILITY "):
                self.capabilities = frozenset(response.decode("ascii", "replace").upper().split()[2:])

    def command(self, command: bytes) -> Answer:
        """Send *command* and return the answer."""
        return self.answer(self.begin(command))

    def begin(self, command: bytes) -> bytes:
        """Send *command* and return its tag, for `answer`, which is asked for tags in the order of the commands."""
        tag = self._tag()
        self._send(b"%s %s\r\n" % (tag, command))
        return tag

    def log_in(self, mechanism: str, response: bytes) -> Answer:
        """Log in by AUTHENTICATE with an initial *response*."""
        tag, encoded = self._tag(), base64.b64encode(response)
        if "SASL-IR" in self.capabilities:
            self._send(b"%s AUTHENTICATE %s %s\r\n" % (tag, mechanism.encode(), encoded))
        else:
            self._send(b"%s AUTHENTICATE %s\r\n" % (tag, mechanism.encode()))
            refused = self._wait_for_go_on(tag)
            if refused is not None:
                return refused
            self._send(encoded + b"\r\n")
        return self.answer(tag)

    @property
    def takes_literals(self) -> bool:
        """Whether it takes literals without being asked, so that other answers may be awaited meanwhile."""
        return "LITERAL+" in self.capabilities

    @property
    def takes_many(self) -> bool:
        """Whether one APPEND may have many messages (RFC 3502), sent without being asked for."""
        return self.takes_literals and "MULTIAPPEND" in self.capabilities

    def begin_appends(self, folder: bytes, messages: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Send one APPEND of *messages*, each a date and its octets, to a server that takes that; return its tag."""
        tag = self._tag()
        parts = [b' "%s" {%d+}\r\n%s' % (date, len(content), content) for date, content in messages]
        self._send(b"%s APPEND %s%s\r\n" % (tag, folder, b"".join(parts)))
        return tag

    def begin_append(self, head: bytes, octets: int, pieces: Iterator[bytes]) -> tuple[bytes, Answer | None]:
        """Send an APPEND with *head* behind its name, and a literal of so many *octets*.

        Return its tag, and its answer when the server did not want the literal.
        """
        tag = self._tag()
        at_once = self.takes_literals
        command = b"%s APPEND %s {%d%s}\r\n" % (tag, head, octets, b"+" if at_once else b"")
        if not at_once:
            self._send(command)
            command = b""
            if (refused := self._wait_for_go_on(tag)) is not None:
                return tag, refused
        # A small message goes out in one piece with what is around it.
        last = next(pieces, b"")
        for piece in pieces:
            self._send(command + last)
            command, last = b"", piece
        self._send(command + last + b"\r\n")
        return tag, None

    def answer(self, tag: bytes) -> Answer:
        """Return the answer to the command with *tag*; others before it have been waited for."""
        untagged: list[bytes] = []
        responses = self._responses()
        while True:
            response = next(responses)
            first, _, rest = response.partition(b" ")
            if first == tag:
                status, _, text = rest.strip().decode("utf-8", "backslashreplace").partition(" ")
                if status.upper() not in {"OK", "NO", "BAD"}:
                    raise LostError(f"the server said {_replies.printable(repr(response[:80]))}, which is no answer")
                return Answer(status.upper(), text, tuple(untagged))
            if response.upper().startswith(b"* BYE") and not untagged_logout(self._last):
                raise LostError(f"the server said {_replies.printable(repr(response[2:200]))}")
            if first == b"*":
                untagged.append(response)
            elif first != b"+":
                raise LostError(f"the server said {_replies.printable(repr(response[:80]))}, which answers nothing")

    def _wait_for_go_on(self, tag: bytes) -> Answer | None:
        responses = self._responses()
        while True:
            response = next(responses)
            if response.startswith(b"+"):
                return None
            if response.startswith(tag + b" "):
                status, _, text = response[len(tag) + 1 :].strip().decode("utf-8", "backslashreplace").partition(" ")
                return Answer(status.upper(), text)
            if response.upper().startswith(b"* BYE") or not response.startswith(b"*"):
                raise LostError(f"the server said {_replies.printable(repr(response[:80]))}")

    def _responses(self) -> Iterator[bytes]:
        """Yield responses; whoever asks stops at the answer."""
        octets = 0
        while octets <= MOST_ANSWER:
            response = self._response()
            octets += len(response) + len(b"\r\n")
            yield response
        raise LostError("the server's answer has no end")

    def _response(self) -> bytes:
        """Return the next response, with its literals."""
        response = b""
        while len(response) <= MOST_ANSWER:
            line = self._connection.line(MOST_LINE)
            response += line
            found = _LITERAL.search(line)
            if found is None:
                return response.rstrip(b"\r\n")
            if int(found[1]) > MOST_LITERAL:
                raise LostError("the server's literal is too long")
            response += self._connection.read(int(found[1]))
        raise LostError("the server's response has no end")

    def _greet(self) -> None:
        greeting = self._response()
        if not greeting.upper().startswith(b"* OK"):
            raise LostError(f"the server said {_replies.printable(repr(greeting[:80]))}")

    def _start_tls(self, context: ssl.SSLContext, host: str) -> None:
        answer = self.command(b"STARTTLS")
        if not answer.good:
            raise LostError(f"the server offers no TLS: {answer}")
        self._connection.secure(context, host)

    def _tag(self) -> bytes:
        self._number += 1
        return b"a%d" % self._number

    def _send(self, octets: bytes) -> None:
        self._last = octets
        self._connection.send(octets)


def untagged_logout(last: bytes) -> bool:
    """Return whether BYE is expected after the *last* octets that were sent."""
    return last.rstrip().endswith(b"LOGOUT")
