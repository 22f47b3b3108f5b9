"""An IMAP server for the tests, which says what it is told to, and keeps what is appended.

Owns no test. It knows what a client that appends says, and no more.
"""

import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple
from unittest import mock

from listening import ListeningServer
from pop3fast.fetch.destinations._imap import Imap
from pop3fast.fetch.destinations._imap_session import ImapSession

CAPABILITIES = b"IMAP4rev1 LITERAL+ UIDPLUS SASL-IR AUTH=PLAIN AUTH=XOAUTH2"


@contextlib.contextmanager
def answers_lost() -> Iterator[None]:
    """Let the server take messages, and let its answers to them reach nobody."""
    answer, collect = ImapSession.answer, Imap._collect

    def collect_nothing(imap: Imap, most: int) -> None:
        if not most and imap._pending and imap.session is not None:
            for pending in imap._pending:
                answer(imap.session, pending.tag)
            imap.session.close()
        collect(imap, most)

    with mock.patch.object(Imap, "_collect", collect_nothing):
        yield


class Kept(NamedTuple):
    """A message as it was appended."""

    head: bytes
    content: bytes


class ImapServer(ListeningServer):
    """Listens on a port of the loopback, with TLS at once. ``.`` stands for an APPEND that came whole."""

    def __init__(self, context: ssl.SSLContext, *, capabilities: bytes = CAPABILITIES) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self.kept: list[Kept] = []
        self.port: int = self._listener.getsockname()[1]
        self.groups: list[int] = []
        """How many messages were in each APPEND."""
        self.judge: Callable[[list[Kept]], bytes | None] = lambda _: self.instead(b".")
        """Returns the answer to the messages of one APPEND, or None, to take them. Without octets it hangs up."""
        self._capabilities = capabilities
        self._context = context

    def secured(self, sock: socket.socket) -> socket.socket:
        return self._context.wrap_socket(sock, server_side=True)

    def converse(self, sock: socket.socket, file: BinaryIO) -> None:
        greeting = self.instead(b"greeting")
        if greeting == b"":
            return
        sock.sendall(b"* OK ready\r\n" if greeting is None else greeting)
        while line := file.readline():
            tag, _, command = line.rstrip(b"\r\n").partition(b" ")
            self.commands.append(command)
            answer = self.instead(command)
            if answer is None and command.startswith(b"APPEND"):
                answer = self._append(sock, file, command)
            elif answer is None:
                answer = self._usual(command)
            if answer == b"":
                return
            sock.sendall(answer.replace(b"TAG", tag))

    def _append(self, sock: socket.socket, file: BinaryIO, command: bytes) -> bytes:
        found = re.fullmatch(rb"APPEND (.*) \{(\d+)(\+?)\}", command)
        came: list[Kept] = []
        while found is not None:
            if not found[3]:
                sock.sendall(b"+ go on\r\n")
            content = file.read(int(found[2]))
            end = file.readline()
            if len(content) < int(found[2]) or not end:
                return b""
            came.append(Kept(found[1], content))
            # After a message another one may begin (RFC 3502), or the command ends.
            assert end == b"\r\n" or b"MULTIAPPEND" in self._capabilities
            found = re.fullmatch(rb" (.*) \{(\d+)(\+)\}", end.rstrip(b"\r\n"))
        self.groups.append(len(came))
        answer = self.judge(came)
        if answer is None or answer == b"":
            self.kept += came
        first, last = len(self.kept) - len(came) + 1, len(self.kept)
        uids = b"%d" % last if first == last else b"%d:%d" % (first, last)
        return b"TAG OK [APPENDUID 7 %s] done\r\n" % uids if answer is None else answer

    def _usual(self, command: bytes) -> bytes:
        if command == b"CAPABILITY":
            return b"* CAPABILITY %s\r\nTAG OK done\r\n" % self._capabilities
        if command == b"LOGOUT":
            return b"* BYE bye\r\nTAG OK done\r\n"
        if command.startswith(b"UID SEARCH"):
            found = re.search(rb'Message-ID "([^"]*)"', command)
            wanted = b"" if found is None else found[1]
            uids = [b"%d" % uid for uid, kept in enumerate(self.kept, 1) if wanted in kept.content]
            return b"* SEARCH %s\r\nTAG OK done\r\n" % b" ".join(uids)
        if command.startswith(b"UID FETCH"):
            header = self.kept[int(command.split()[2]) - 1].content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            return b"* 1 FETCH (UID 1 BODY[HEADER] {%d}\r\n%s)\r\nTAG OK done\r\n" % (len(header), header)
        return b"TAG OK done\r\n"
