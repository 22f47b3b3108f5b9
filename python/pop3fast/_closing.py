"""Closing a connection, also while another thread waits on it.

Owns when file and socket are really closed: if a descriptor were given back while another thread uses it, the program's
next connection could get it.
"""

import _socket
import socket
from contextlib import suppress
from typing import cast

from pop3fast._errors import ConnectionBusy, ConnectionLost, ProtocolError
from pop3fast._hooks import ClientSession, Hooks, SupportsClose, session_of

CLOSED = "the connection is closed"

# What a command raises whose connection ends, or whose file and socket are gone.
_SIGNS_OF_CLOSING = (OSError, ConnectionLost, ConnectionBusy, AttributeError, ValueError)


def close(pop: Hooks) -> None:
    """Close file and socket; a thread that waits for a reply is woken, and closes them at the end of its turn.

    Until then their descriptor is not given back: the program's next connection would get it, and the other thread
    would read what comes there.
    """
    session = session_of(pop)
    session.closed = True
    file: SupportsClose | None = getattr(pop, "file", None)
    sock: socket.socket | None = getattr(pop, "sock", None)
    pop.file = None  # type: ignore[assignment]  # as poplib leaves it
    pop.sock = None  # type: ignore[assignment]
    if not session.turns.ours:
        _close(file, sock)
        return
    session.discarded.append((file, sock))
    if not close_discarded(session) and sock is not None:
        with suppress(OSError):
            _hang_up(sock)


def close_discarded(session: ClientSession) -> bool:
    """Close what is to be closed, and say so; unless another thread's turn has begun, which does it at its end."""
    try:
        session.turns.take()
    except ConnectionBusy:
        return False
    try:
        while session.discarded:
            file, sock = session.discarded.pop()
            if sock is None:
                _close(file, sock)
                continue
            try:
                with suppress(OSError):  # where the other side has gone already, which is no news
                    sock.shutdown(socket.SHUT_RDWR)
            finally:
                _close(file, sock)
    finally:
        session.turns.give_back()
    return True


def _close(file: SupportsClose | None, sock: socket.socket | None) -> None:
    try:
        if file is not None:
            file.close()
    finally:
        if sock is not None:
            with suppress(OSError):
                sock.close()


def _hang_up(sock: socket.socket) -> None:
    """End what is sent and received on *sock*, which another thread is at."""
    if isinstance(cast("object", sock), _socket.socket):
        # Not TLS's own: it forgets that there was TLS first, and the other thread could still send its command then.
        _socket.socket.shutdown(sock, socket.SHUT_RDWR)
    else:
        sock.shutdown(socket.SHUT_RDWR)


def unless_closed(session: ClientSession, error: BaseException) -> BaseException:
    """Return *error*, or what it means where `close` was called while its command was under way."""
    if session.closed and isinstance(error, _SIGNS_OF_CLOSING):
        return ProtocolError(CLOSED)
    return error
