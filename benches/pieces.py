"""A POP3 server as most are: it writes a reply in pieces and leaves Nagle's algorithm on.

That holds each small piece back until the one before is acknowledged. Run in a process of its own, as
``python -m benches.pieces`` with a `Manner` in JSON; prints the port that it listens on, and ends with its standard
input. It knows no more of POP3 than the benchmarks ask of it, and trusts them.
"""

import json
import socket
import ssl
import sys
import threading
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from benches.children import listening
from benches.mail import attachment
from pop3fast.testing import CERTIFICATE


@dataclass(frozen=True)
class Manner:
    """What the server holds, and how it writes it."""

    octets: int
    """Of each message."""
    messages: int
    piece: int = 4096
    """So many octets at a time, behind a status line by itself and before an end by itself. 4,096 is what Courier's,
    Cyrus' and nginx's buffers hold."""
    pipelining: bool = False
    tls: bool = False


def in_pieces(manner: Manner) -> AbstractContextManager[int]:
    """Give the port of such a server; end it with the block."""
    command = [sys.executable, "-m", "benches.pieces", json.dumps(asdict(manner))]
    return listening(command)


def _replies(manner: Manner) -> dict[bytes, list[bytes]]:
    """Return what is written to each command that has a reply of its own, write by write."""
    message = attachment(manner.octets)
    pieces = [message[at : at + manner.piece] for at in range(0, len(message), manner.piece)]
    status = b"+OK %d octets\r\n" % len(message)
    scan = b"".join(b"%d %d\r\n" % (number, len(message)) for number in range(1, manner.messages + 1))
    said = b"TOP\r\nUIDL\r\nUSER\r\n" + (b"PIPELINING\r\n" if manner.pipelining else b"")
    return {
        b"CAPA": [b"+OK\r\n", said, b".\r\n"],
        b"LIST": [b"+OK\r\n", scan, b".\r\n"],
        b"RETR": [status, *pieces, b".\r\n"],
    }


def _serve(sock: socket.socket, replies: dict[bytes, list[bytes]]) -> None:
    with sock, sock.makefile("rb") as lines:
        sock.sendall(b"+OK\r\n")
        for line in lines:
            verb = line.split(None, 1)[0].upper()
            for piece in replies.get(verb, [b"+OK\r\n"]):
                sock.sendall(piece)
            if verb == b"QUIT":
                return


def _accept(listener: socket.socket, manner: Manner) -> None:
    replies = _replies(manner)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    while True:
        sock, _ = listener.accept()
        if manner.tls:
            sock = context.wrap_socket(sock, server_side=True)
        threading.Thread(target=_serve, args=(sock, replies), daemon=True).start()


def _main() -> None:
    manner = Manner(**json.loads(sys.argv[1]))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_accept, args=(listener, manner), daemon=True).start()
        sys.stdin.buffer.read()


if __name__ == "__main__":
    _main()
