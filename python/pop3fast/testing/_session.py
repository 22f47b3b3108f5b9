"""One session of the embedded server: the states and commands of RFC 1939, over one connection.

Owns what a command means and in which state it may be given. It knows neither the socket, which is the connection's,
nor the other sessions; the maildrop and the record of commands, which sessions share, are handed in. It never lets an
exception of the network out, and always leaves its connection closed.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import re
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pop3fast.testing._maildrop import Maildrop, Snapshot
from pop3fast.testing._wire import Connection, CutError

_AUTHORIZATION_COMMANDS = {"CAPA", "USER", "PASS", "APOP", "AUTH", "STLS", "UTF8", "QUIT"}
_TRANSACTION_COMMANDS = {"CAPA", "STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "RSET", "NOOP", "QUIT"}
COMMANDS = _AUTHORIZATION_COMMANDS | _TRANSACTION_COMMANDS

# The longest line that a client may send. RFC 2449 says 255 octets; a line of SASL can be far longer (RFC 5034).
_COMMAND_OCTETS = 64 * 1024

# No number in a command needs more digits; int() of thousands of them is refused by Python itself.
_DIGITS = 18


@dataclass(frozen=True)
class ServerSettings:
    """What every session of a server does alike. `MailboxServer` says what each means, and checks them."""

    user: str
    password: str
    token: str | None
    tls: bool
    stls: bool
    certificate: str
    capabilities: tuple[str, ...] | None
    unsupported: frozenset[str]
    greeting: str | None
    latency: float
    cut_at: int | None
    cut_with: Literal["fin", "rst"]
    cut_connections: int | None
    octets_per_send: int | None


@dataclass(frozen=True)
class Shared:
    """What the sessions of one server have in common."""

    settings: ServerSettings
    context: ssl.SSLContext | None
    maildrop: Maildrop
    commands: deque[bytes]
    stopping: threading.Event


class ServerSession:
    """One connection's conversation. `run` is its whole life."""

    def __init__(self, connection: Connection, shared: Shared) -> None:
        """Take over an accepted connection."""
        self._connection = connection
        self._put = connection.put
        self._settings = shared.settings
        self._context = shared.context
        self._maildrop = shared.maildrop
        self._commands = shared.commands
        self._stopping = shared.stopping
        self._unread = b""
        self._user: bytes | None = None
        self._stamp = b""
        self._snapshot: Snapshot = shared.maildrop.snapshot()
        self._marked: set[int] = set()
        self._handlers = self._authorization_state()
        self._sasl: Callable[[bytes], None] | None = None
        self._secure_next = False
        self._open = True

    def run(self) -> None:
        """Talk until QUIT, the client's end, the cut or the server's stop; the connection is closed afterwards."""
        try:
            if self._settings.tls:
                self._secure()
            self._greet()
            while self._open and self._serve_batch():
                pass
            self._connection.hang_up()
        except CutError:
            self._connection.cut()
        except OSError:
            # The client went away or refused the certificate, or the server stops: nothing is committed.
            pass
        finally:
            self._connection.close()

    def _greet(self) -> None:
        greeting = self._settings.greeting
        if greeting is None:
            # Fixed in length, so that cut_at means the same place on every connection; new each time, for APOP.
            greeting = f"+OK pop3fast.testing ready <{os.urandom(8).hex()}@localhost>"
        line = greeting.encode("latin-1")
        if stamp := re.search(rb"<[^<>]+>", line):
            self._stamp = stamp.group()
        self._open = line.startswith(b"+")
        if not self._stopping.wait(self._settings.latency):
            self._put(line + b"\r\n")
            self._connection.flush()

    def _serve_batch(self) -> bool:
        """Read once and answer every command that has arrived; False at the end of the connection."""
        received = self._connection.read()
        *lines, self._unread = (self._unread + received).split(b"\n")
        if not received or (self._settings.latency and lines and self._stopping.wait(self._settings.latency)):
            return False
        for line in lines:
            self._obey(line.removesuffix(b"\r"))
            if self._secure_next or not self._open:
                self._unread = b""  # nothing that came in clear text is obeyed under TLS, nothing at all after QUIT
                break
        if len(self._unread) > _COMMAND_OCTETS:
            self._put(b"-ERR line too long\r\n")
            self._open = False
        self._connection.flush()
        if self._secure_next:
            self._secure()
        return True

    def _obey(self, line: bytes) -> None:
        self._commands.append(line)
        verb, _, argument = line.partition(b" ")
        handler = self._handlers.get(verb.upper())
        if self._sasl is not None:
            take, self._sasl = self._sasl, None
            take(line)
        elif handler:
            handler(argument)
        else:
            self._put(b"-ERR unknown command, or not in this state\r\n")

    def _secure(self) -> None:
        if self._context is None:
            raise RuntimeError("TLS was asked for without a context")
        self._secure_next = False
        self._user = None  # a session starts anew under TLS (RFC 2595 section 4)
        self._connection.secure(self._context)

    # AUTHORIZATION (RFC 1939 section 4)

    def _authorization_state(self) -> dict[bytes, Callable[[bytes], None]]:
        return self._supported(
            CAPA=self._capa,
            USER=self._user_command,
            PASS=self._pass,
            APOP=self._apop,
            AUTH=self._auth,
            STLS=self._stls,
            UTF8=self._utf8,
            QUIT=self._quit,
        )

    def _supported(self, **handlers: Callable[[bytes], None]) -> dict[bytes, Callable[[bytes], None]]:
        return {verb.encode(): handler for verb, handler in handlers.items() if verb not in self._settings.unsupported}

    def _capa(self, _argument: bytes) -> None:
        announced = self._settings.capabilities
        if announced is None:
            announced = self._usual_capabilities()
        if announced:
            self._put(b"+OK capability list follows\r\n")
            self._put("".join(f"{line}\r\n" for line in announced).encode("latin-1"))
            self._put(b".\r\n")
        else:
            self._put(b"-ERR unknown command\r\n")

    def _usual_capabilities(self) -> tuple[str, ...]:
        sasl = " ".join(["SASL", *(name.decode() for name in self._mechanisms())])
        lines = ["TOP", "UIDL", "USER", sasl, "UTF8", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"]
        if b"STLS" in self._handlers and self._settings.stls and not self._connection.secured:
            lines.append("STLS")
        without = self._settings.unsupported | ({sasl} if "AUTH" in self._settings.unsupported else set())
        return (*(line for line in lines if line not in without), "IMPLEMENTATION pop3fast.testing")

    def _user_command(self, argument: bytes) -> None:
        self._user = argument
        self._put(b"+OK send PASS\r\n" if argument else b"-ERR USER name\r\n")

    def _pass(self, argument: bytes) -> None:
        if not self._user:
            self._put(b"-ERR USER first\r\n")
            return
        self._log_in(self._user == self._settings.user.encode() and argument == self._settings.password.encode())

    def _apop(self, argument: bytes) -> None:
        # MD5 is what RFC 1939 section 7 says.
        digest = hashlib.md5(self._stamp + self._settings.password.encode(), usedforsecurity=False).hexdigest()
        if self._stamp:
            self._log_in(argument == f"{self._settings.user} {digest}".encode())
        else:
            self._put(b"-ERR no timestamp in the greeting, no APOP\r\n")

    def _auth(self, argument: bytes) -> None:
        mechanism, _, initial_response = argument.partition(b" ")
        take = self._mechanisms().get(mechanism.upper())
        if take is None:
            self._put(b"-ERR AUTH %b is what there is\r\n" % b", ".join(self._mechanisms()))
        elif initial_response:
            take(initial_response)
        else:
            self._sasl = take
            self._put(b"+ \r\n")

    def _mechanisms(self) -> dict[bytes, Callable[[bytes], None]]:
        if self._settings.token is None:
            return {b"PLAIN": self._plain}
        return {b"PLAIN": self._plain, b"XOAUTH2": self._bearer, b"OAUTHBEARER": self._bearer}

    def _plain(self, response: bytes) -> None:
        try:
            _authorize_as, user, password = binascii.a2b_base64(response, strict_mode=True).split(b"\0")
        except ValueError:
            # A lone "*", with which a client calls the exchange off, ends here as well (RFC 5034 section 4).
            self._put(b"-ERR this is no PLAIN response\r\n")
        else:
            self._log_in(user == self._settings.user.encode() and password == self._settings.password.encode())

    def _bearer(self, response: bytes) -> None:
        try:
            who, *fields = binascii.a2b_base64(response, strict_mode=True).split(b"\1")
        except ValueError:
            self._put(b"-ERR this is no response with a token\r\n")
            return
        users = {f"user={self._settings.user}".encode(), f"n,a={self._settings.user},".encode()}
        if who in users and f"auth=Bearer {self._settings.token}".encode() in fields:
            self._log_in(right=True)
        else:
            # RFC 7628 section 3.2.3: the client answers the error, whatever with, and then comes the refusal.
            self._sasl = lambda _: self._log_in(right=False)
            error = binascii.b2a_base64(b'{"status":"invalid_token","schemes":"bearer"}', newline=False)
            self._put(b"+ %b\r\n" % error)

    def _log_in(self, right: bool) -> None:  # noqa: FBT001 - the one question that all ways to log in end with
        self._user = None
        if not right:
            self._put(b"-ERR [AUTH] user name or password is wrong\r\n")
            return
        self._snapshot = self._maildrop.snapshot()
        self._handlers = self._transaction_state()
        self._put(b"+OK maildrop has %d messages\r\n" % len(self._snapshot))

    def _stls(self, _argument: bytes) -> None:
        self._secure_next = self._settings.stls and not self._connection.secured
        self._put(b"+OK begin TLS\r\n" if self._secure_next else b"-ERR STLS is not offered\r\n")

    def _utf8(self, _argument: bytes) -> None:
        self._put(b"+OK UTF8 is on\r\n")

    def _quit(self, _argument: bytes) -> None:
        self._open = False
        self._put(b"+OK bye\r\n")

    # TRANSACTION (RFC 1939 section 5)

    def _transaction_state(self) -> dict[bytes, Callable[[bytes], None]]:
        return self._supported(
            CAPA=self._capa,
            STAT=self._stat,
            LIST=self._list,
            UIDL=self._uidl,
            RETR=self._retr,
            TOP=self._top,
            DELE=self._dele,
            RSET=self._rset,
            NOOP=self._noop,
            QUIT=self._update,
        )

    def _number(self, argument: bytes) -> int:
        """Read a message number; one that cannot be used is answered with -ERR here, and is 0."""
        number = int(argument) if argument.isdigit() and len(argument) <= _DIGITS else 0
        if not 1 <= number <= len(self._snapshot):
            self._put(b"-ERR no such message\r\n")
            return 0
        if number in self._marked:
            self._put(b"-ERR message %d is deleted\r\n" % number)
            return 0
        return number

    def _totals(self) -> tuple[int, int]:
        return len(self._snapshot) - len(self._marked), self._snapshot.octets(self._marked)

    def _stat(self, _argument: bytes) -> None:
        self._put(b"+OK %d %d\r\n" % self._totals())

    def _list(self, argument: bytes) -> None:
        if not argument:
            self._put(self._snapshot.scan_listing(self._marked))
        elif number := self._number(argument):
            self._put(b"+OK %d %d\r\n" % (number, self._snapshot.sizes[number - 1]))

    def _uidl(self, argument: bytes) -> None:
        if not argument:
            self._put(self._snapshot.uid_listing(self._marked))
        elif number := self._number(argument):
            self._put(f"+OK {number} {self._snapshot.uid(number)}\r\n".encode("latin-1"))

    def _retr(self, argument: bytes) -> None:
        if number := self._number(argument):
            for octets in self._snapshot.retr(number):
                self._put(octets)

    def _top(self, argument: bytes) -> None:
        which, _, lines = argument.partition(b" ")
        if not lines.isdigit() or len(lines) > _DIGITS:
            self._put(b"-ERR TOP message lines\r\n")
        elif number := self._number(which):
            for octets in self._snapshot.top(number, int(lines)):
                self._put(octets)

    def _dele(self, argument: bytes) -> None:
        if number := self._number(argument):
            self._marked.add(number)
            self._put(b"+OK message %d deleted\r\n" % number)

    def _rset(self, _argument: bytes) -> None:
        self._marked.clear()
        self._put(b"+OK maildrop has %d messages (%d octets)\r\n" % self._totals())

    def _noop(self, _argument: bytes) -> None:
        self._put(b"+OK\r\n")

    # UPDATE (RFC 1939 section 6)

    def _update(self, argument: bytes) -> None:
        # What was asked for before must be on its way first: a connection that is cut in there commits nothing.
        self._connection.flush()
        if self._marked:
            self._maildrop.commit(self._snapshot, self._marked)
        self._quit(argument)
