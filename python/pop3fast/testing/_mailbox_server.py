"""MailboxServer: what a program's tests see of the embedded server.

Owns its options and what they have to be. The work is done by the modules beside it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pop3fast.testing._maildrop import RepeatedMessage
from pop3fast.testing._process import ProcessServer
from pop3fast.testing._session import COMMANDS, ServerSettings
from pop3fast.testing._threads import HOST, ThreadedServer, server_context

CERTIFICATE = Path(__file__).with_name("testing_only.pem")
"""The certificate that MailboxServer uses unless it is given another, with its private key.

It is for localhost, 127.0.0.1 and ::1, and valid until the year 2120. Its key is published with this package: never
trust it, or the authority in the same file, outside a test.
"""


class MailboxServer:
    """An embedded POP3 server with one maildrop.

    It listens between `start()` and `stop()`, or inside a `with` block. A server starts once.

    Messages are served octet by octet as they are given. Lines are expected to end with CRLF, as mail does on the
    wire; a lone LF is passed on as it is, and starts no line for dot-stuffing. A message that does not end with CRLF
    gets one at its end; an empty message stays empty. Sizes in STAT and LIST count what RETR delivers (with that
    CRLF, without stuffed dots and terminator).

    Every session sees the maildrop as it was when it logged in (RFC 1939 section 5). DELE marks, RSET takes the marks
    back, and QUIT removes the marked messages before its reply is sent; any other end of the connection removes
    nothing. Sessions can run side by side: there is no lock on the maildrop.

    Commands: USER, PASS, APOP, AUTH (PLAIN; XOAUTH2 and OAUTHBEARER with a token), CAPA, STLS, UTF8, QUIT; then STAT,
    LIST, UIDL, RETR, TOP, DELE, RSET, NOOP, CAPA and QUIT. Anything else, and every argument that makes no sense, is
    answered with -ERR.
    """

    __module__ = "pop3fast.testing"

    def __init__(  # noqa: PLR0913 - a switchboard: each by its name, all with a default
        self,
        messages: Iterable[bytes | RepeatedMessage] = (),
        *,
        user: str = "user",
        password: str = "password",  # noqa: S107 - of a server for tests
        token: str | None = None,
        uids: Sequence[str] | None = None,
        tls: bool = False,
        stls: bool = False,
        certificate: str | os.PathLike[str] | None = None,
        capabilities: Sequence[str] | None = None,
        unsupported: Collection[str] = (),
        greeting: str | None = None,
        latency: float = 0.0,
        cut_at: int | None = None,
        cut_with: Literal["fin", "rst"] = "fin",
        cut_connections: int | None = None,
        octets_per_send: int | None = None,
        process: bool = False,
    ) -> None:
        """Set the server up; it does not listen yet.

        `messages`: the maildrop. One object may stand in it many times, and is kept and prepared once.
        `user`, `password`: who may log in. `token`: an OAuth 2 access token that is as good as the password, by
        XOAUTH2 and OAUTHBEARER; another one is refused as Google refuses it, with an error in a challenge.
        `uids`: the unique-ids, one for each message; otherwise they are made from the messages' positions.
        `tls`: TLS from the first octet (POP3S). `stls`: offer STLS (RFC 2595).
        `certificate`: a PEM file with a private key and its certificate, instead of `CERTIFICATE`.
        `capabilities`: the lines of CAPA, as they are; empty: CAPA is answered with -ERR. None: what the server can
        do. They are words only: what the server does is decided by `stls` and `unsupported`.
        `unsupported`: commands that the server does not know, for instance `["UIDL", "TOP"]`.
        `greeting`: its whole line without CRLF; None: a friendly one with a new timestamp for APOP, always of the
        same length. After a greeting that begins with `-` the server hangs up.
        `latency`: seconds that pass before the greeting, and before the replies to all commands that arrived together:
        a round trip each for commands sent one by one, one round trip for a pipelined batch.
        `cut_at`: the connection ends as soon as the server has sent that many octets over it (0 or more, with the
        greeting; octets as the client reads them, inside TLS). `cut_with`: it ends by FIN (an orderly end of TCP,
        under TLS without TLS's farewell) or RST. `cut_connections`: only the first so many connections are cut, so
        that it can be seen how a client goes on.
        `octets_per_send`: replies leave so many octets at a time.
        `process`: run in a process of its own, with every reply prepared before `start()` returns: for benchmarks.
        It needs `sys.executable` to be a Python. Everything works alike; inspecting it costs a question to the
        process.

        Raises ValueError or TypeError for what makes no sense, OSError or ssl.SSLError for an unusable certificate.
        """
        maildrop = list(messages)
        _check_messages(maildrop, uids)
        _check_collections(capabilities=capabilities, unsupported=unsupported, uids=uids)
        _check_lines(greeting=[greeting or ""], capabilities=capabilities or (), uids=uids or ())
        if unknown := {verb.upper() for verb in unsupported} - COMMANDS:
            raise ValueError(f"unsupported: no such commands: {', '.join(sorted(unknown))}")
        if cut_with not in {"fin", "rst"}:
            raise ValueError(f"cut_with is 'fin' or 'rst', not {cut_with!r}")
        _check_at_least(0, latency=latency, cut_at=cut_at, cut_connections=cut_connections)
        _check_at_least(1, octets_per_send=octets_per_send)
        self.user: str = user
        self.password: str = password
        self.certificate: str = str(CERTIFICATE if certificate is None else Path(certificate))
        settings = ServerSettings(
            user=user,
            password=password,
            token=token,
            tls=tls,
            stls=stls,
            certificate=self.certificate,
            capabilities=None if capabilities is None else tuple(capabilities),
            unsupported=frozenset(verb.upper() for verb in unsupported),
            greeting=greeting,
            latency=latency,
            cut_at=cut_at,
            cut_with=cut_with,
            cut_connections=cut_connections,
            octets_per_send=octets_per_send,
        )
        if tls or stls:
            server_context(self.certificate)  # so that a bad file is found here, and not in another process
        make = ProcessServer if process else ThreadedServer
        self._server: ProcessServer | ThreadedServer = make(settings, maildrop, uids)
        self._port: int | None = None
        self._started = False

    @property
    def host(self) -> str:
        """The address to connect to; the certificate is good for it, and for "localhost"."""
        return HOST

    @property
    def port(self) -> int:
        """The port to connect to. Raises RuntimeError before start()."""
        if self._port is None:
            raise RuntimeError("the server has no port before start()")
        return self._port

    @property
    def address(self) -> tuple[str, int]:
        """`(host, port)`, as `socket.create_connection` takes it. Raises RuntimeError before start()."""
        return (self.host, self.port)

    @cached_property
    def client_context(self) -> ssl.SSLContext:
        """A context that trusts this server's certificate and nothing else, and checks the host name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.certificate)
        return context

    @property
    def deleted(self) -> list[int]:
        """The messages that QUIT has removed: their numbers (from 1) in the list that the server was given."""
        return self._server.report().deleted

    @property
    def remaining(self) -> list[int]:
        """The messages that are left: their numbers (from 1) in the list that the server was given."""
        return self._server.report().remaining

    @property
    def commands(self) -> list[bytes]:
        """Every line that clients have sent, without its line end, in the order of arrival over all sessions.

        Passwords are in it. It keeps the last million.
        """
        return self._server.report().commands

    def start(self) -> Self:
        """Listen on a free port of the loopback interface, and return the server itself.

        Raises RuntimeError when it was started before, or when its own process does not come up.
        """
        if self._started:
            raise RuntimeError("a MailboxServer starts once")
        self._started = True
        self._port = self._server.start()
        return self

    def stop(self) -> None:
        """End all connections and stop listening; what was recorded can still be looked at. May be called again.

        Nothing is committed for sessions that are still open. No thread, process or socket is left when it returns.
        Raises RuntimeError when that cannot be reached within a few seconds, or when the server's process had failed.
        """
        self._server.stop()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()


def _check_messages(messages: Sequence[object], uids: Sequence[str] | None) -> None:
    for number, message in enumerate(messages, 1):
        if not isinstance(message, bytes | RepeatedMessage):
            raise TypeError(f"message {number} is {type(message).__name__}, not bytes or RepeatedMessage")
    if uids is not None and len(uids) != len(messages):
        raise ValueError(f"{len(uids)} uids for {len(messages)} messages")


def _check_collections(**collections: Collection[str] | None) -> None:
    for name, collection in collections.items():
        if isinstance(collection, str):
            raise TypeError(f"{name} is a str, which would be taken letter by letter; put it in a list")


def _check_lines(**lines: Iterable[str]) -> None:
    for name, texts in lines.items():
        for text in texts:
            if "\r" in text or "\n" in text or (not text.isascii() and max(text) > "\xff"):
                raise ValueError(f"{name}: {text!r} cannot be sent as one line of octets (latin-1)")


def _check_at_least(least: int, **numbers: float | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < least:
            raise ValueError(f"{name} is at least {least}, not {number}")
