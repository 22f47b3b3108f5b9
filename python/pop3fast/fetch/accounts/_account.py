"""Account: whose mail is fetched, from where, and how to get in.

Owns the way from an account to a session that is logged in. It holds the secret, which no repr and no error shows. A
value: it can be pickled, if its secret and context can.
"""

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from pop3fast import POP3, AuthenticationError, ConnectionLost, connect, tls_context
from pop3fast._connect import SocketFactory
from pop3fast._dial import dial
from pop3fast._handshake import keep, may_resume
from pop3fast._location import TIMEOUT_SECONDS, IpVersion, Location, parse_url
from pop3fast._recall import Shown, mechanism_as_before, recall
from pop3fast._route import Route, route_of
from pop3fast._trust import TlsVersion, check_wishes
from pop3fast.fetch._identity import account_digest
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.accounts._passwords import run_password_command

Secret: TypeAlias = str | Callable[[], str]
"""A password or token, or what gives one when it is asked."""


@dataclass(frozen=True)
class Account:
    """A maildrop. *url* is what `pop3fast.connect` takes; one of password, token and password_command is needed."""

    url: str
    """Where it is: ``pop3s://[user@]host[:port]``, ``pop3://`` (STLS) or ``pop3+plain://`` (no TLS)."""
    user: str | None = None
    """Who logs in, unless the URL says so."""
    password: Secret | None = field(default=None, repr=False)
    """The password, or a function that gives it when it is needed."""
    token: Secret | None = field(default=None, repr=False)
    """An OAuth 2 access token, or a function that gives one."""
    password_command: str | tuple[str, ...] | None = field(default=None, repr=False)
    """A command whose first line is the password; a string is split as a shell would, but there is no shell."""
    ca_file: str | os.PathLike[str] | None = None
    """A file of the certificates to trust instead of the system's."""
    context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    """The TLS context to use instead of one made from *ca_file*. An account with one cannot be pickled."""
    timeout: float | None = TIMEOUT_SECONDS
    """The seconds that each wait for the server may take."""
    deadline: float | None = None
    """The seconds that each session may take."""
    mechanism: str | None = None
    """How to log in, as `POP3.login` takes it; None: by the best that both sides have."""
    client_cert: str | os.PathLike[str] | None = None
    """A file with a certificate to show to the server (PEM), and with its key unless that has a file of its own."""
    client_key: str | os.PathLike[str] | None = None
    """The file with its key (PEM)."""
    fingerprint: str | None = None
    """The SHA-256 of the one certificate to trust, whoever signed it; hexadecimal, with or without colons."""
    tls_name: str | None = None
    """The name that the certificate has to have instead of the host's."""
    tls_min: TlsVersion | None = None
    """The least version of TLS; None: what Python takes for safe, which is 1.2."""
    proxy: str | None = field(default=None, repr=False)
    """The URL of a proxy, as `pop3fast.connect` takes it."""
    source_address: str | None = None
    """The address of this machine to connect from."""
    ip_version: IpVersion | None = None
    """4 or 6, where the other one is not to be tried."""

    def __post_init__(self) -> None:
        url: object = self.url
        if not isinstance(url, str):
            raise TypeError(f"the URL of an account is a text, as 'pop3s://user@host', not a {type(url).__name__}")
        user = self._location.who(self.user)
        if not user:
            raise ValueError("an account needs a user: user@host in the URL, or user=")
        # A control character cannot be sent, and no state can hold what is no UTF-8.
        if any(character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff" for character in user):
            raise ValueError("the user's name has a control character in it, or is no UTF-8")
        if sum(given is not None for given in (self.password, self.token, self.password_command)) != 1:
            raise ValueError("an account needs a password, a token or a password_command, one of them")
        _ = self.route
        check_wishes(self.client_cert, self.client_key, self.fingerprint, self.tls_min)
        if self.context is not None and self._wishes_for_tls:
            raise ValueError("give a context or what makes one: ca_file, client_cert, fingerprint, tls_name, tls_min")

    @property
    def host(self) -> str:
        """The server, in lower case."""
        return self._location.host.lower()

    @property
    def port(self) -> int:
        """The server's port."""
        return self._location.port

    @property
    def login(self) -> str:
        """Who logs in."""
        return self._location.who(self.user) or ""

    @property
    def digest(self) -> str:
        """What stands for the account in names of files."""
        return account_digest(self.host, self.port, self.login)

    @property
    def where(self) -> tuple[str, int]:
        """The host and its port."""
        return self.host, self.port

    @property
    def route(self) -> Route:
        """The way that each connection takes."""
        return route_of(self.proxy, self.source_address, self.ip_version)

    def connect(self, sock: SocketFactory | None = None) -> POP3:
        """Return a session that is logged in. Raises what `pop3fast.connect` does, and `SecretError`.

        *sock* makes the connection, as `pop3fast.connect` takes it; without it the account says by which way. When the
        server refuses a token whose source can renew it (a method ``refused``), it is renewed, and tried once more.
        """
        try:
            return self._connect(sock)
        except AuthenticationError:
            # The tokens of `pop3fast.oauth` have it.
            refused = getattr(self.token, "refused", None)
            if refused is None or not refused():
                raise
            return self._connect(sock)

    def _connect(self, sock: SocketFactory | None) -> POP3:
        context, password = self.context, self.password
        if context is None and (self.ca_file is not None or self._wishes_for_tls):
            context = self.tls_context()
        if self.password_command is not None:
            password = run_password_command(self.password_command)
        return connect(
            self.url,
            user=self.login,
            password=password,
            token=self.token,
            mechanism=self.mechanism,
            context=context,
            timeout=self.timeout,
            deadline=self.deadline,
            sock=sock or partial(dial, route=self.route),
        )

    def tls_context(self) -> ssl.SSLContext:
        """Return the context that keeps to what the account says of certificates.

        Raises ``OSError`` and ``ssl.SSLError`` for a file that cannot be used.
        """
        return tls_context(
            ca_file=self.ca_file,
            client_cert=self.client_cert,
            client_key=self.client_key,
            fingerprint=self.fingerprint,
            tls_name=self.tls_name,
            tls_min=self.tls_min,
        )

    def with_context(self, context: ssl.SSLContext | None = None) -> "Account":
        """Return the account with the one context that all its sessions can use: making one takes longer than a login.

        It is *context*, where that was made for the same `tls_wishes`. Raises what `tls_context` does.
        """
        if self.context is not None or self.is_clear:
            return self
        context = context or self.tls_context()
        return replace(
            self,
            context=context,
            ca_file=None,
            client_cert=None,
            client_key=None,
            fingerprint=None,
            tls_name=None,
            tls_min=None,
        )

    @property
    def is_clear(self) -> bool:
        """Whether it is used without TLS."""
        return self._location.scheme == "pop3+plain"

    @property
    def tls_wishes(self) -> tuple[object, ...]:
        """What a context is made of."""
        ours = self.client_cert, self.client_key, self.fingerprint, self.tls_name, self.tls_min
        return self.ca_file, *ours

    @property
    def _wishes_for_tls(self) -> bool:
        return any(self.tls_wishes[1:])

    @property
    def _location(self) -> Location:
        # Read once: whoever shows how far a fetch is says whose it is for each piece of a message. A `cached_property`
        # has a lock before Python 3.12, which a fork could leave locked in the child for ever.
        kept: dict[str, Location] = vars(self)
        if "_read" not in kept:
            kept["_read"] = parse_url(self.url)
        return kept["_read"]

    def __str__(self) -> str:
        return f"{self.login} on {self._location.authority.lower()}"


class Reconnector:
    """Logs in to one account, as often as it is needed."""

    def __init__(self, account: Account, stop: Stop) -> None:
        """Know of no quirks yet. *stop* ends the wait for the password."""
        self.account = account
        self._stop = stop
        self.asks_capabilities = True
        """Whether the server can be asked for its capabilities: some hang up when they are asked (quirk q15)."""
        self.secret_failure: Exception | None = None
        """What the function that gives the password or token raised, if it did."""
        self.has_shown_secret = False
        """Whether the last session came so far that a password or token was asked for."""
        self.shown = Shown()
        """What the server has shown in an earlier session."""
        self._secret: str | None = None
        self.on_login: Callable[[], object] = bool
        """Called when a login begins, in each session."""

    def enter(self, sock: SocketFactory | None, timeout: float | None) -> POP3:
        """Return a session that is logged in; up to there each wait has *timeout*, and then the account's.

        *sock*, and what is raised, are those of `Account.connect`.
        """
        pop = self._enter(sock, timeout)
        keep(pop.sock, pop.host)
        if timeout != self.account.timeout:
            pop.sock.settimeout(self.account.timeout)
        return pop

    def another(self, stop: Stop, shown: Shown) -> "Reconnector":
        """Return what logs in as this one did last, without asking anybody for the secret again.

        *shown* is what the server has shown in the session that this one made.
        """
        secret = self._secret
        account = self.account
        if secret is not None:
            is_token = account.token is not None
            account = replace(account, password=None if is_token else secret, token=secret if is_token else None)
        other = Reconnector(account, stop)
        other.asks_capabilities = self.asks_capabilities
        other.shown = shown._replace(mechanism=shown.mechanism or self.shown.mechanism)
        return other

    def _enter(self, sock: SocketFactory | None, timeout: float | None) -> POP3:
        try:
            pop = self._log_in(sock, timeout)
            recall(pop, self.shown)
            # Without a mechanism the login has asked for them, and what has changed since comes with the listings.
            if self.asks_capabilities and self.account.mechanism is not None:
                self._look_around(pop)
        except ConnectionLost as error:
            if error.during != "CAPA" or not self.asks_capabilities or self.account.token is not None:
                raise
            if self.account.mechanism is not None:
                # A weaker mechanism than the one that was asked for is no way out.
                raise
            # Quirk q15: then it stays unknown what the server can do, and commands go one by one.
            self.asks_capabilities = False
            return self._log_in(sock, timeout)
        return pop

    def _log_in(self, sock: SocketFactory | None, timeout: float | None) -> POP3:
        self.has_shown_secret = False
        command = self.account.password_command
        if command is not None:
            # Asked once: each time somebody may have to type.
            password = self._stop.outlast(partial(run_password_command, command))
            self.account = replace(self.account, password=password, password_command=None)
        if self.account.context is None:
            self.account = self.account.with_context()
            if self.account.context is not None:  # which nobody else has
                may_resume(self.account.context)
        account = replace(
            self.account,
            timeout=timeout,
            password=self._noting(self.account.password),
            token=self._noting(self.account.token),
        )
        if not self.asks_capabilities:
            # Any other mechanism would be chosen by what the server says it can do.
            account = replace(account, mechanism="USER")
        elif account.mechanism is None:
            # What was chosen before need not be asked for. A server that has changed refuses it once.
            by_token = account.token is not None
            account = replace(account, mechanism=mechanism_as_before(self.shown, by_token=by_token))
        return account.connect(sock)

    def _noting(self, secret: Secret | None) -> Secret | None:
        """Return a function that gives *secret*, and notes that it was asked for, and what it raised."""
        if secret is None:
            return None

        return _Noting(self, secret)

    def ask(self, secret: Secret) -> str:
        """Return *secret*, and note that it was asked for, and what it raised."""
        if not self.has_shown_secret:
            self.on_login()
        self.has_shown_secret = True
        try:
            self._secret = self._stop.outlast(secret) if callable(secret) else secret
        except Exception as error:
            self.secret_failure = error
            raise
        return self._secret

    def _look_around(self, pop: POP3) -> None:
        try:
            pop.capabilities()
        except BaseException:
            pop.close()
            raise


class _Noting:
    """A secret that notes when it is asked for. It can be refused where the secret can."""

    def __init__(self, reconnector: Reconnector, secret: Secret) -> None:
        self._reconnector = reconnector
        self._secret = secret

    def __call__(self) -> str:
        return self._reconnector.ask(self._secret)

    def refused(self) -> bool:
        """Return whether another one may be better."""
        refused = getattr(self._secret, "refused", None)
        return refused is not None and bool(refused())
