r"""ScriptedServer: exact octets, in the order of a script, for tests of the client.

It is no POP3 server: it knows lines, and what the script says to answer them with. Its one purpose is to say things
that no real server would, in segments that no real network would choose, and to remember what the client said.
Every wait in it ends with its `with` block, and nothing of it is left then. What fails in a script (a callable
that raises) is raised at the end of the block.

    with ScriptedServer(b"+OK hi\r\n", [b"+OK 2 320\r\n", Reply(b"+OK\r\nhalf a li", then="rst")]) as server:
        pop = POP3(*server.address)
        assert pop.stat() == (2, 320)
"""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

from pop3fast.testing import CERTIFICATE
from pop3fast.testing._threads import server_context

Then = Literal["go on", "fin", "rst", "stall", "tls"]

# Longer than any client's time-out that a test lets run out, shorter than pytest's. A stall lasts for as long as the
# client is there: a client that goes before the stall ends was ended by something else.
WAIT_SECONDS = 30.0

# Long enough for a reader on the same machine to see one segment before the next one arrives.
GAP_SECONDS = 0.01


class Reply:
    """What is sent in answer to one line, how, and what comes then.

    Several `segments` leave as so many TCP segments, with a short pause between them; with `dribble` each octet
    leaves on its own. Then: "go on" with the script; "fin" or "rst" ends the connection that way; "stall" says
    nothing any more and keeps it open; "tls" turns TLS on.
    """

    def __init__(self, *segments: bytes, dribble: bool = False, then: Then = "go on") -> None:
        self.segments = segments
        self.dribble = dribble
        self.then = then


class ScriptedServer:
    """Plays `greeting`, and then one reply for each line that the client sends, on every connection from the start.

    `replies` is a list, or a function from a command line (without its end) to the reply. When a list has run out,
    QUIT is answered with +OK, and after any line the connection ends. Connections are served one after the other.
    `commands` are the lines that came, without their ends, over all connections; `received` is every octet of them.
    """

    def __init__(
        self,
        greeting: bytes | Reply,
        replies: Sequence[bytes | Reply] | Callable[[bytes], bytes | Reply] = (),
        *,
        tls: bool = False,
    ) -> None:
        self.commands: list[bytes] = []
        self.received = bytearray()
        self.stalls_for = 0
        """The port of the client to which nothing is said any more; of one that has gone, until another stalls."""
        self.host = "127.0.0.1"
        self._greeting = greeting
        self._replies = replies
        self._tls = tls
        self._context = server_context(str(CERTIFICATE))
        self.client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.client_context.load_verify_locations(CERTIFICATE)
        self._stopping = False
        self._failure: Exception | None = None
        self._connection: socket.socket | None = None
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.address = (self.host, self.port)
        self._thread = threading.Thread(target=self._serve, name="ScriptedServer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping = True
        with suppress(OSError):  # it wakes accept(), if that is where the thread is
            socket.create_connection(self.address, timeout=1).close()
        give_up = time.monotonic() + 30
        while self._thread.is_alive():
            # Again and again: while it turns TLS on, the connection changes its socket, and one call can miss it.
            if self._connection is not None:
                with suppress(OSError):
                    socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
            self._thread.join(0.01)
            if time.monotonic() > give_up:
                raise RuntimeError("the scripted server's thread does not end")
        self._listener.close()
        if self._failure and exception is None:
            raise self._failure

    def _serve(self) -> None:
        while not self._stopping:
            self._connection, _ = self._listener.accept()
            self._connection.settimeout(WAIT_SECONDS)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                if not self._stopping:
                    self._play()
            except OSError:
                pass  # the client has gone, or refused TLS, or the test is over
            except Exception as error:  # noqa: BLE001 - for __exit__ to raise, in the test's own thread
                self._failure = error
            finally:
                self._connection.close()

    def _play(self) -> None:
        if self._tls:
            self._secure()
        script = self._replies if callable(self._replies) else self._in_turn(iter(self._replies))
        unread = b""
        reply = self._greeting
        while self._say(reply if isinstance(reply, Reply) else Reply(reply)):
            while b"\n" not in unread:
                octets = self._read()
                if not octets:
                    return
                unread += octets
            line, unread = unread.split(b"\n", 1)
            self.commands.append(line.removesuffix(b"\r"))
            reply = script(self.commands[-1])

    @staticmethod
    def _in_turn(replies: Iterator[bytes | Reply]) -> Callable[[bytes], bytes | Reply]:
        def script(command: bytes) -> bytes | Reply:
            return next(replies, Reply(b"+OK bye\r\n" if command == b"QUIT" else b"", then="fin"))

        return script

    def _say(self, reply: Reply) -> bool:
        """Send a reply; whether the conversation goes on."""
        connection = self._connection
        assert connection is not None
        for number, segment in enumerate(reply.segments):
            if number:
                time.sleep(GAP_SECONDS)
            step = 1 if reply.dribble else max(len(segment), 1)
            for start in range(0, len(segment), step):
                connection.sendall(segment[start : start + step])
        if reply.then == "tls":
            self._secure()
        elif reply.then == "rst":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif reply.then != "go on":
            if reply.then == "fin":
                # The plain socket's call also under TLS: an end without TLS's farewell.
                socket.socket.shutdown(connection, socket.SHUT_WR)
            else:
                connection.settimeout(None)
                self.stalls_for = connection.getpeername()[1]
            while self._read():  # a close() with unread octets would be a reset
                pass
        return reply.then in {"go on", "tls"}

    def _read(self) -> bytes:
        assert self._connection is not None
        octets = self._connection.recv(65536)
        self.received += octets
        return octets

    def _secure(self) -> None:
        assert self._connection is not None
        self._connection = self._context.wrap_socket(self._connection, server_side=True, do_handshake_on_connect=False)
        self._connection.do_handshake()
