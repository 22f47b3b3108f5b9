"""connect: from a URL to a session on an event loop, over a connection that may be trusted.

Owns the order of the steps, and that the connection is closed when one of them fails. Must never go on in the clear
when TLS was asked for. `_location` knows what a URL says.
"""

import asyncio
import inspect
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from types import TracebackType
from typing import Any, TypeAlias

from pop3fast._deadline import Deadline
from pop3fast._dial import dial
from pop3fast._errors import CommandError, ProtocolError
from pop3fast._framing import status
from pop3fast._location import TIMEOUT_SECONDS, IpVersion, Location, name, named, parse_url
from pop3fast._route import Route, route_of
from pop3fast._tls import tls_demanded, warn_about
from pop3fast.aio._client import POP3
from pop3fast.aio._conversation import Conversation
from pop3fast.aio._login import Secret
from pop3fast.aio._patience import bounded
from pop3fast.aio._threads import in_thread

SocketFactory: TypeAlias = Callable[[tuple[str, int], float | None], socket.socket | Awaitable[socket.socket]]
"""Called with (host, port) and the seconds; returns a connected socket. It may be a coroutine function; any other is
called in a thread."""


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
) -> "Connecting":
    """Connect to the server that *url* names, and log in when *password* or *token* is given: awaited, or entered.

    ``pop = await connect(...)`` gives a `POP3`; ``async with connect(...) as pop:`` ends the session, too: with QUIT
    when the block ends well, otherwise without, so that nothing is deleted. Each result of `connect` is used once.

    As `pop3fast.connect`, whose arguments, checks and errors these are. *password*, *token* and *sock* may be coroutine
    functions; other functions are called in a thread. When it is cancelled, it leaves no connection behind.
    """
    try:
        warn_about(context)
        location = parse_url(url)
        user = location.who_logs_in(user, password, token)
        if timeout is not None and not timeout > 0:
            raise ValueError(  # noqa: TRY301 - the given socket is closed, too
                f"a time-out is more than 0 seconds: {timeout!r}"
            )
        route = route_of(proxy, source_address, ip_version, sock=sock)
        session_deadline = None if deadline is None else Deadline(deadline, "the session")
    except BaseException:
        if isinstance(sock, socket.socket):
            sock.close()
        raise
    return Connecting(
        _Wishes(location, user, password, token, mechanism, context, timeout, session_deadline, sock, route)
    )


class _Wishes:
    """What `connect` was given."""

    def __init__(  # noqa: PLR0913 - as many as there are
        self,
        location: Location,
        user: str | None,
        password: Secret | None,
        token: Secret | None,
        mechanism: str | None,
        context: ssl.SSLContext | None,
        timeout: float | None,
        deadline: Deadline | None,
        sock: socket.socket | SocketFactory | None,
        route: Route,
    ) -> None:
        self.location = location
        self.user = user
        self.password = password
        self.token = token
        self.mechanism = mechanism
        self.context = context
        self.timeout = timeout
        self.deadline = deadline
        self.sock = sock
        self.route = route


class Connecting:
    """A session that does not exist yet: it is awaited, or entered by ``async with``, once."""

    def __init__(self, wishes: _Wishes) -> None:
        """Begin nothing yet."""
        self._wishes = wishes
        self._used = False
        self._pop: POP3 | None = None

    def __await__(self) -> Generator[Any, None, POP3]:
        """Return a session; see `connect`."""
        return self._connect().__await__()

    async def __aenter__(self) -> POP3:
        """Return a session, which ends with the block."""
        self._pop = await self._connect()
        return self._pop

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the session: QUIT when all went well, and close the connection in any case."""
        if self._pop is not None:
            await self._pop.__aexit__(kind, error, traceback)

    async def _connect(self) -> POP3:
        if self._used:
            raise RuntimeError("what connect() gave is used once: call it again for another session")
        self._used = True
        wishes = self._wishes
        sock = wishes.sock
        try:
            return await _open(wishes)
        except BaseException:
            if isinstance(sock, socket.socket):
                sock.close()
            raise


async def _open(wishes: _Wishes) -> POP3:
    location = wishes.location
    pop = POP3.__new__(POP3)
    conversation = Conversation(pop, location.host, location.port, wishes.timeout, wishes.deadline)
    pop._pop3fast = conversation
    pop.host, pop.port = location.host, location.port
    sys.audit("poplib.connect", pop, location.host, location.port)
    try:
        await _get_through(conversation, wishes)
        with named(location, "greeting"):
            pop.welcome = await _greeting(conversation)
        if location.scheme == "pop3":
            with named(location, "STLS"), tls_demanded():
                await pop.stls(wishes.context or ssl.create_default_context())
        conversation.session.trusted = True
        if wishes.password is not None or wishes.token is not None:
            with named(location, "login"):
                await pop.login(wishes.user or "", wishes.password, token=wishes.token, mechanism=wishes.mechanism)
    except BaseException:
        await conversation.close()
        raise
    return pop


async def _get_through(conversation: Conversation, wishes: _Wishes) -> None:
    """Give *conversation* its connection, over TLS from the first octet where the URL says so."""
    location, deadline = wishes.location, wishes.deadline
    step, context, sock = "connection", None, None
    try:
        async with bounded(wishes.timeout, deadline):
            sock = await _socket(wishes)
        if location.scheme == "pop3s":
            step, context = "TLS handshake", wishes.context or ssl.create_default_context()
        async with bounded(wishes.timeout, deadline):
            await conversation.open(sock, context)
    except BaseException as error:
        if sock is not None:
            # If asyncio has taken the socket over at all, it lets go of it in the next round of the loop.
            asyncio.get_running_loop().call_soon(sock.close)
        name(error, location, step)
        raise


async def _socket(wishes: _Wishes) -> socket.socket:
    given, location, timeout, deadline = wishes.sock, wishes.location, wishes.timeout, wishes.deadline
    address = location.host, location.port
    seconds = timeout if deadline is None else deadline.shorter(timeout)
    if isinstance(given, socket.socket):
        sock = given
    elif given is None:
        stop = _Stop()
        try:
            call = partial(dial, address, seconds, route=wishes.route, check=stop.check)
            sock = await in_thread(call, unwanted=socket.socket.close)
        except BaseException:
            stop.said = True
            raise
    elif inspect.iscoroutinefunction(given):
        sock = await given(address, seconds)
    else:
        made = await in_thread(lambda: given(address, seconds), unwanted=_close)
        sock = await made if inspect.isawaitable(made) else made
    sock.setblocking(False)  # noqa: FBT003 - the standard library's
    return sock


class _Stop:
    """Tells a thread that nobody waits for it any more."""

    def __init__(self) -> None:
        self.said = False

    def check(self) -> None:
        if self.said:
            raise OSError("nobody waits for the connection any more")


def _close(made: object) -> None:
    if isinstance(made, socket.socket):
        made.close()


async def _greeting(conversation: Conversation) -> bytes:
    line = await conversation.greeting()
    said = status(line)
    if said == "malformed":
        raise conversation.broken(ProtocolError(line))
    if said == "error":
        raise CommandError(line)
    return line
