"""Location: what the URL of a maildrop says, and what an error on the way to it names.

Pure. Owns what the schemes mean. Must never quote a URL, or a part of one, in an error: it may hold a password.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from pop3fast._errors import CommandError, ProtocolError, error_proto, name_place

if TYPE_CHECKING:
    from urllib.parse import SplitResult

# What the schemes are called, and the port that each has when the URL has none.
_PORTS = {"pop3s": 995, "pop3": 110, "pop3+plain": 110}

IpVersion: TypeAlias = Literal[4, 6]

TIMEOUT_SECONDS = 60.0
"""A server that looks its clients up before it greets takes half a minute (quirk q13)."""


class Location(NamedTuple):
    """What a URL says."""

    scheme: str
    host: str
    port: int
    user: str | None

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def who(self, user: str | None) -> str | None:
        """Return who logs in, if anybody is named; a `ValueError` when the URL names another than *user*."""
        if user is not None and self.user not in {None, user}:
            raise ValueError("the URL names another user than user=")
        return self.user if user is None else user

    def who_logs_in(self, user: str | None, password: object, token: object) -> str | None:
        """Return who logs in, if anybody; a `ValueError` when what was given does not fit together."""
        user = self.who(user)
        if user is None and (password is not None or token is not None):
            raise ValueError("a password or a token needs a user: user@host in the URL, or user=")
        if password is not None and token is not None:
            raise ValueError("give a password or a token, one of them")
        return user


class SecretInUrlError(ValueError):
    """A URL has a password in it."""


def parse_url(url: str) -> Location:
    """Return what *url* says; a `ValueError` says what is wrong with it, and never quotes it."""
    parts = _split(url)
    port = parts.port
    if parts.scheme not in _PORTS:
        raise ValueError(f"a POP3 URL begins with {', '.join(f'{scheme}://' for scheme in _PORTS)}")
    if parts.password is not None:
        raise SecretInUrlError(
            "a URL with a password in it ends up in logs and lists of processes: give password=; "
            "a colon in the user's name is %3A"
        )
    if not parts.hostname:
        raise ValueError("the URL names no host")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("the URL of a maildrop ends with host and port")
    if port == 0:
        raise ValueError("no server is on port 0")
    user = None if parts.username is None else _unquoted(parts.username)
    return Location(parts.scheme, _unquoted(parts.hostname), port or _PORTS[parts.scheme], user)


@contextmanager
def named(location: Location, step: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error) is error_proto:
            failure = ProtocolError(*error.args)
            name(failure, location, step)
            raise failure from error
        name(error, location, step)
        raise


def name(error: BaseException, location: Location, step: str) -> None:
    """Have *error* say where it happened, and stay what it is."""
    where = f"{location.authority}, {step}"
    if isinstance(error, CommandError | ProtocolError):
        name_place(error, where)
    elif isinstance(error, OSError):
        if isinstance(error.strerror, str):
            error.strerror = f"{where}: {error.strerror}"
        else:
            error.args = (f"{where}: {' '.join(map(str, error.args)) or type(error).__name__}",)
    elif isinstance(error, Exception):  # of a proxy, or of the function that was to give the password
        error.add_note(where)


def _split(url: str) -> "SplitResult":
    from urllib.parse import urlsplit  # noqa: PLC0415 - takes long, and few programs need it

    try:
        parts = urlsplit(url)
        _ = parts.port  # which is looked at only when it is asked for
    except ValueError:
        pass
    else:
        return parts
    # Not in urlsplit's words: a password containing "/" can end up in its message about the port.
    if _looks_like_ipv6(url):
        raise ValueError("an IPv6 address stands in brackets, as in pop3s://user@[2001:db8::1]:995")
    raise ValueError("not a URL: its host or its port cannot be one")


def _looks_like_ipv6(url: str) -> bool:
    """Return whether the host of *url* could be an IPv6 address that has no brackets."""
    host = url.partition("://")[2].rpartition("@")[2].rstrip("/")
    return host.count(":") > 1 and not set(host) - set("0123456789abcdefABCDEF:.")


def _unquoted(text: str) -> str:
    from urllib.parse import unquote  # noqa: PLC0415 - takes long, and few programs need it

    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        pass
    raise ValueError("what is percent-encoded in the URL is not UTF-8")
