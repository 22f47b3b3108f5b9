"""connect: from a URL to a session over a connection that may be trusted, logged in where a secret was given.

Owns the order of it. Must never go on in the clear where TLS was asked for, and never leave a socket open behind an
exception.
"""

import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from pop3fast._client import POP3
from pop3fast._client_ssl import POP3_SSL
from pop3fast._deadline import Deadline
from pop3fast._hooks import session_of
from pop3fast._location import TIMEOUT_SECONDS, IpVersion, Location, name, named, parse_url
from pop3fast._login import Secret
from pop3fast._tls import tls_demanded, warn_about

SocketFactory: TypeAlias = Callable[[tuple[str, int], float | None], socket.socket]
"""Called as ``socket.create_connection`` is, with (host, port) and the seconds; returns a connected socket."""


def connect(  # noqa: PLR0913 - each by its name, all but the URL with a default
    url: str,
    *,
    user: str | None = None,
    password: Secret | None = None,
    token: Secret | None = None,
    mechanism: str | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float | None = TIMEOUT_SECONDS,
    deadline: float | None = None,
    sock: socket.socket | SocketFactory | None = None,
    proxy: str | None = None,
    source_address: str | None = None,
    ip_version: IpVersion | None = None,
) -> POP3:
    """Return a session with the server that *url* names, logged in when *password* or *token* is given.

    ``pop3s://[user@]host[:995]`` is TLS from the first octet, ``pop3://[user@]host[:110]`` TLS by STLS before anything
    else, and ``pop3+plain://[user@]host[:110]`` no TLS. Certificate and host name are always verified: by *context*, or
    by what ``ssl.create_default_context()`` gives (a context that verifies nothing is an `InsecureTLSWarning`). *user*
    may be percent-encoded in the URL, or given here. *password* and *token*, an OAuth 2 access token, are a string or a
    function that returns one; they are sent by *mechanism*, or by the best that both sides have; see `POP3.login`.

    *timeout* is in seconds, for each wait; looking the host's name up and connecting are one. *deadline* is in seconds
    from now, for all that the session ever waits for. A host's addresses are tried a quarter of a second apart, IPv6
    and IPv4 in turn, and the first that answers is taken (RFC 8305). *sock* is a connected socket to use, which the
    session then owns, or a function that makes one, called as ``socket.create_connection`` is.

    Without *sock*, *proxy* is the URL of a proxy to go through: ``socks5://[user:password@]host[:1080]``, ``socks5h://``
    (the proxy looks the server's name up) or ``http://`` (CONNECT). *source_address* is the address of this machine to
    connect from, *ip_version* 4 or 6 where the other one is not to be tried.

    Raises `ValueError` for a URL that cannot be used; ``OSError``, ``ssl.SSLError`` or ``TimeoutError`` when there is
    no connection; `ProtocolError` when there is no POP3, or no TLS where it has to be; `CommandError` when the server
    refuses, as `AuthenticationError` when it refuses the login. They name host, port and step; no socket stays open.

    Example::

        with pop3fast.connect("pop3s://user@mail.example.org", password="password") as pop:
            for message in pop.retr_many():
                print(message.number, message.email()["subject"])
    """
    # A tenth of the time of ``import pop3fast``; whoever makes a session as poplib does never needs them.
    from pop3fast._dial import dial  # noqa: PLC0415 - as above
    from pop3fast._route import route_of  # noqa: PLC0415 - as above

    try:
        location = parse_url(url)
        user = location.who_logs_in(user, password, token)
        warn_about(context)
        route = route_of(proxy, source_address, ip_version, sock=sock)
        sock = sock or partial(dial, route=route)
        pop = _open(location, context, timeout, None if deadline is None else Deadline(deadline, "the session"), sock)
    except BaseException:
        if isinstance(sock, socket.socket):
            sock.close()
        raise
    try:
        if location.scheme == "pop3":
            with named(location, "STLS"), tls_demanded():
                pop.stls(context or ssl.create_default_context())
        session_of(pop).trusted = True
        if password is not None or token is not None:
            with named(location, "login"):
                pop.login(user or "", password, token=token, mechanism=mechanism)
    except BaseException:
        pop.close()
        raise
    return pop


def _open(
    location: Location,
    context: ssl.SSLContext | None,
    timeout: float | None,
    deadline: Deadline | None,
    sock: socket.socket | SocketFactory,
) -> POP3:
    """Return a session whose greeting was read."""
    step = "connection"

    def opener(address: tuple[str, int], seconds: float | None) -> socket.socket:
        nonlocal step
        made = _socket_to(address, seconds, deadline, sock)
        step = "TLS handshake"
        return made

    kind = POP3_SSL if location.scheme == "pop3s" else POP3
    pop = kind.__new__(kind)
    session_of(pop).deadline = deadline
    session_of(pop).opener = opener
    try:
        if isinstance(pop, POP3_SSL):
            context = context or ssl.create_default_context()
            pop.__init__(location.host, location.port, timeout=timeout, context=context)  # type: ignore[misc]
        else:
            pop.__init__(location.host, location.port, timeout)  # type: ignore[misc]
    except BaseException as error:
        name(error, location, "greeting" if "sock" in vars(pop) else step)
        raise
    finally:
        session_of(pop).opener = None
    return pop


def _socket_to(
    address: tuple[str, int],
    timeout: float | None,
    deadline: Deadline | None,
    sock: socket.socket | SocketFactory,
) -> socket.socket:
    if isinstance(sock, socket.socket):
        made = sock
    else:
        try:
            made = sock(address, timeout if deadline is None else deadline.shorter(timeout))
        except TimeoutError:
            if deadline is not None:
                deadline.left()
            raise
    made.settimeout(timeout)
    return made
