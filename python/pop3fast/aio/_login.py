"""LoginCommands: what a session on an event loop does before the maildrop is open (RFC 1939 section 4).

Owns the order of a login and of going over to TLS. `pop3fast._login` decides on the mechanism and what is said in it.
Must never put another command in flight beside these, nor let a blocking function of the caller hold up the loop.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from pop3fast import _login, _replies, _sasl
from pop3fast._errors import AuthenticationError, CommandError, ProtocolError, name_reason
from pop3fast._login import AuthObject, SaslExchange
from pop3fast._sasl import ExchangeError, Mechanism
from pop3fast._secrets import encoded
from pop3fast._tls import check_no_tls, check_offers_stls, unverified_context
from pop3fast.aio._conversation import ENCODING, Conversation
from pop3fast.aio._patience import bounded
from pop3fast.aio._queue import Hold, short
from pop3fast.aio._threads import asked, in_thread

Secret: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A password or token, or what gives one when it is asked, once for each attempt: a function, which is called in a
thread, or a coroutine function."""


class LoginCommands:
    """The part of `POP3` that comes before the maildrop is open."""

    _pop3fast: Conversation
    welcome: bytes

    async def capa(self) -> dict[str, list[str]]:
        """Return what the server can do: capability to its arguments, in the server's spelling (RFC 2449 section 5).

        Raises `error_proto` when the server knows no CAPA; the session goes on.
        """
        return await self._pop3fast.capa()

    async def capabilities(self) -> Mapping[str, tuple[str, ...]]:
        """Return what the server can do: capability, in upper case, to its arguments (RFC 2449 section 5).

        Asked once, and again after STLS and after a login, which may change it; empty when the server knows no CAPA.
        """
        return await self._pop3fast.capabilities()

    async def supports(self, name: str) -> bool:
        """Return whether *name*, in any case, is among the `capabilities`. A server may well do more than it says."""
        return name.upper() in await self._pop3fast.capabilities()

    async def user(self, user: str) -> bytes:
        """Give the name of the *user*; return the response (RFC 1939 section 7)."""
        response = await self._pop3fast.command(f"USER {user}", short)
        self._pop3fast.session.user = str(user)
        return response

    async def pass_(self, pswd: str) -> bytes:
        """Give the password, *pswd*; return the response. The maildrop is locked from here to `quit` (RFC 1939).

        Raises `AuthenticationError` when it is refused; the session goes on.
        """
        return await self._log_in(f"PASS {pswd}")

    async def rpop(self, user: str) -> bytes:
        """Log in as *user* by RPOP, which RFC 1460 was the last to know; return the response."""
        return await self._log_in(f"RPOP {user}")

    async def apop(self, user: str, password: str) -> bytes:
        """Log in as *user* by a digest of the greeting's time stamp and the *password*; return the response.

        (APOP, RFC 1939 section 7.)

        Raises `error_proto` before anything is sent when the greeting has no time stamp, or came before TLS;
        `AuthenticationError` when the login is refused. The session goes on after both. MD5 is all that protects the
        password: use TLS.
        """
        secret = encoded(password, ENCODING, secret=True)
        # RFC 2595 section 4: what was said before STLS may be somebody else's words, the time stamp included.
        greeting = None if self._pop3fast.went_over else self.welcome
        response = await self._log_in(_login.apop_command(user, secret, greeting))
        self._pop3fast.session.user = user
        return response

    async def auth(
        self,
        mechanism: str,
        authobject: AuthObject | None = None,
        initial_response: bytes | str | None = None,
        *,
        initial_response_ok: bool = True,
    ) -> bytes:
        """Log in by a SASL *mechanism*; return the response (RFC 5034 section 4). `login` knows the usual ones itself.

        As `pop3fast.POP3.auth`, whose rules these are; *authobject* is called in a thread.

        Raises `AuthenticationError` when the login is refused, or called off because *authobject* said so or a
        challenge makes no sense; the session goes on. An exception of *authobject* calls the login off too. When it is
        cancelled the connection is broken.
        """
        exchange = SaslExchange(mechanism, authobject, initial_response, initial_response_ok=initial_response_ok)
        # Nobody knows how long the caller's own object takes for a challenge.
        return await self._converse(exchange, in_a_thread=not isinstance(authobject, Mechanism))

    async def login(
        self,
        user: str,
        password: Secret | None = None,
        *,
        token: Secret | None = None,
        mechanism: str | None = None,
    ) -> bytes:
        """Log in as *user* by the best mechanism that both sides have; return the response (RFC 1939, RFC 5034).

        As `pop3fast.POP3.login`, whose rules these are. *password* and *token* may be a function, which is called in a
        thread, or a coroutine function.
        """
        _login.check_secrets(password, token, mechanism)
        conversation = self._pop3fast
        if mechanism is None:
            offered = (await conversation.capabilities()).get("SASL", ())
            name = _login.choose(offered, verified=conversation.is_verified, by_token=token is not None)
        else:
            name = _login.named(mechanism)
        async with bounded(None, conversation.session.deadline):
            given = await _given(password if token is None else token)
        secret = _login.secret_for(name, *((given, None) if token is None else (None, given)))
        if name == "USER":
            response = await self._log_in_by_two_lines(f"USER {user}", f"PASS {secret}")
        elif name == "APOP":
            response = await self.apop(user, secret)
        else:
            by = _login.mechanism_of(name, user, secret, conversation.host, conversation.port)
            response = await self._authenticate(name, by)
        conversation.session.user = user
        return response

    async def _log_in_by_two_lines(self, first: str, second: str) -> bytes:
        conversation = self._pop3fast
        # Another task's login in between would join one user to the password of another.
        async with conversation.hold() as hold:
            await conversation.command(first, short, hold=hold)
            response = await conversation.command(second, short, hold=hold)
        conversation.traffic.forget_capabilities()
        return response

    async def _log_in(self, line: str) -> bytes:
        response = await self._pop3fast.command(line, short)
        self._pop3fast.traffic.forget_capabilities()
        return response

    # A SASL exchange.

    async def _converse(self, exchange: SaslExchange, *, in_a_thread: bool) -> bytes:
        conversation = self._pop3fast
        async with conversation.hold() as hold:
            try:
                return await self._exchange(exchange, hold, in_a_thread=in_a_thread)
            except asyncio.CancelledError:
                conversation.broken(ProtocolError("a login was cancelled"))
                raise
            finally:
                conversation.session.in_sasl = False
                conversation.traffic.forget_capabilities()

    async def _exchange(self, exchange: SaslExchange, hold: Hold, *, in_a_thread: bool) -> bytes:
        conversation = self._pop3fast
        response = await conversation.command(exchange.first(), short, hold=hold)
        while _replies.is_continuation(response):
            conversation.session.in_sasl = True
            challenge = response
            try:
                answer = (
                    await in_thread(lambda: exchange.answer(challenge))  # noqa: B023 - it is awaited in this round
                    if in_a_thread
                    else exchange.answer(challenge)
                )
            except ExchangeError as error:
                await self._call_off(hold, str(error))
            except Exception:
                await self._call_off(hold, None)
                raise
            response = await conversation.command(answer, short, hold=hold)
        return response

    async def _call_off(self, hold: Hold, reason: str | None) -> None:
        """End the exchange without logging in (RFC 5034 section 4); raise `AuthenticationError` with the *reason*."""
        conversation = self._pop3fast
        try:
            await conversation.command(SaslExchange.CALL_OFF, short, hold=hold)
        except CommandError as error:
            if reason is not None:
                raise _login.sasl_refusal(error.response, reason) from None
        except (ProtocolError, OSError):
            if reason is None:  # what was raised in there says more
                return
            raise
        else:
            failure = conversation.broken(ProtocolError(_login.NOT_LET_GO))
            if reason is not None:
                raise failure

    async def _authenticate(self, name: str, mechanism: Mechanism) -> bytes:
        try:
            # SCRAM derives a key by thousands of rounds.
            exchange = SaslExchange(name, mechanism, mechanism.initial)
            response = await self._converse(exchange, in_a_thread=isinstance(mechanism, _sasl.Scram))
        except AuthenticationError as error:
            name_reason(error, mechanism.reason)
            raise
        if (refusal := _login.unproven(mechanism, response)) is not None:
            raise self._pop3fast.broken(refusal, refusal.reason)
        return response

    # Over to TLS.

    async def _go_over(self, context: ssl.SSLContext | None) -> bytes:
        conversation = self._pop3fast
        check_no_tls(established=conversation.is_tls)
        check_offers_stls(await conversation.capa())
        if context is None:
            context = unverified_context("POP3.stls")
        async with conversation.hold() as hold:
            try:
                response = await conversation.command("STLS", short, hold=hold)
                if conversation.wire.has_arrived():
                    # Nothing may come before our handshake: the loop receives what did, and the conversation breaks.
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                await conversation.go_over(context)
            except ProtocolError:
                conversation.end()
                raise
        return response


async def _given(secret: Secret | None) -> str | None:
    """Return a secret; when it is a function, ask that for it."""
    if not callable(secret):
        return secret
    given: str = await asked(secret)
    return given
