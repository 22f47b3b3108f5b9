"""The TLS handshake, in which no server has to wait for an acknowledgement of ours.

Owns how it waits, and which handshake is a short one: only one that resumes a session of the same context with the same
host, where `may_resume` has said that the context is used for one account. What is verified is the context's business.
Must never know why there is TLS.
"""

import select
import socket
import ssl
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING

from pop3fast._socket import acknowledgement

if TYPE_CHECKING:
    from weakref import WeakKeyDictionary


@cache
def _sessions() -> "WeakKeyDictionary[ssl.SSLContext, dict[str, ssl.SSLSession]]":
    """Return what is kept: by context, because a session is as good as what its context has verified; and by host."""
    from weakref import WeakKeyDictionary  # noqa: PLC0415 - takes long, and who only imports us has no connection

    return WeakKeyDictionary()


def may_resume(context: ssl.SSLContext) -> None:
    """Let the connections of *context* resume what `keep` is given. It must be used for one account only."""
    _sessions().setdefault(context, {})


def keep(sock: socket.socket, host: str) -> None:
    """Keep the TLS session of *sock* for the next connection to *host*, if its context may have that.

    Not before something was received: the tickets of TLS 1.3 come behind the handshake.
    """
    if isinstance(sock, ssl.SSLSocket) and (kept := _sessions().get(sock.context)) is not None:
        session = sock.session
        if session is not None:
            kept[host] = session


def wrap_socket(context: ssl.SSLContext, sock: socket.socket, host: str) -> ssl.SSLSocket:
    """Return *sock* after the handshake, which has the socket's time-out as a whole.

    Takes *sock* over: on an error, those of ``SSLContext.wrap_socket``, it is closed.
    """
    if not _is_plain(context, sock):
        return context.wrap_socket(sock, server_hostname=host)
    timeout = sock.gettimeout()
    kept = _sessions().get(context, {})
    secured = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False, session=kept.get(host))
    try:
        secured.settimeout(0)
        _shake_hands(secured, timeout)
        secured.settimeout(timeout)
    except BaseException:
        # A server that stumbles over it meets it once.
        kept.pop(host, None)
        secured.close()
        raise
    return secured


def _shake_hands(secured: ssl.SSLSocket, timeout: float | None) -> None:
    end = None if timeout is None else monotonic() + timeout
    # Quirk q131 holds here too: what the handshake has sent makes the kernel forget what it was told.
    acknowledge = acknowledgement(secured)
    while True:
        try:
            secured.do_handshake()
        except ssl.SSLWantReadError:
            acknowledge()
            events = select.POLLIN
        except ssl.SSLWantWriteError:
            events = select.POLLOUT
        else:
            return
        if not wait(secured, events, None if end is None else max(0, end - monotonic())):
            raise TimeoutError("The handshake operation timed out")  # the words of the ssl module


def wait(sock: socket.socket, events: int, seconds: float | None) -> bool:
    """Return whether one of *events* has come on *sock*, after at most so many *seconds*."""
    poller = select.poll()
    poller.register(sock, events)
    return bool(poller.poll(None if seconds is None else seconds * 1000))


def _is_plain(context: ssl.SSLContext, sock: socket.socket) -> bool:
    """Tell the standard library's own from what a program, a test or a framework has put in its place."""
    return (
        type(sock) is socket.socket
        and socket.socket.__module__ == "socket"
        and getattr(context.wrap_socket, "__func__", None) is ssl.SSLContext.wrap_socket
        and ssl.SSLContext.wrap_socket.__module__ == "ssl"
        and context.sslsocket_class is ssl.SSLSocket
        and hasattr(select, "poll")
    )
