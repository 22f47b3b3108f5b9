"""Route: by which way a connection leaves this machine: a proxy, an address of this machine, a version of IP.

Pure. Owns what the URL of a proxy means, and what is said to a proxy and understood of its answers (SOCKS 5: RFC 1928
and 1929; CONNECT: RFC 9110 section 9.3.6). Must never quote the URL of a proxy, which may have a password in it, and
never asks for an octet behind a proxy's answer: the next one is the server's.
"""

import base64
import re
import socket
from collections.abc import Generator
from typing import NamedTuple, TypeAlias

from pop3fast._location import IpVersion
from pop3fast._replies import printable

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

_PORTS = {"socks5": 1080, "socks5h": 1080, "http": 8080}
"""The schemes, and the port that each has when the URL has none: RFC 1928's, and the one that proxies of HTTP take."""

MOST_HEAD_OCTETS = 16_384
"""So long may be what an HTTP proxy says before the connection begins: as much as web servers take of a request."""

MOST_FIELD_OCTETS = 255
"""RFC 1928 and RFC 1929 write the length of a name or a password in one octet."""

# RFC 1928 section 6.
_REFUSALS = {
    1: "it failed",
    2: "its rules forbid this connection",
    3: "it cannot reach the server's network",
    4: "it cannot reach the server",
    5: "the server refuses the connection",
    6: "the connection took too long",
    7: "it makes no connections",
    8: "it knows no addresses of this kind",
}

_OVER_HTTP = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([^\r\n]*))?\r\n")

Exchange: TypeAlias = Generator[tuple[bytes, int], bytes, None]
"""What is said to a proxy: each step gives octets to send, and how many to read, and is sent those."""


class Proxy(NamedTuple):
    """What the URL of a proxy says."""

    scheme: str
    host: str
    port: int
    user: str | None
    password: str

    def __repr__(self) -> str:
        # For a traceback that shows variables, and for whatever has this among its arguments.
        return f"<proxy {self.scheme}://{self.host}:{self.port}>"

    @property
    def resolves(self) -> bool:
        """Whether the proxy looks the server's name up."""
        return self.scheme != "socks5"

    def exchange(self, host: str, port: int) -> Exchange:
        """Return what is said to the proxy, so that it connects to *host* and *port*."""
        return _connect_over_http(self, host, port) if self.scheme == "http" else _connect_over_socks(self, host, port)


class Route(NamedTuple):
    """The way of a connection."""

    proxy: Proxy | None = None
    source_address: str | None = None
    """The address of this machine that it comes from."""
    ip_version: IpVersion | None = None

    @property
    def family(self) -> int | None:
        """The one family that the address of the next hop may have; None: any."""
        if self.source_address is not None:
            return FAMILIES[_version_of(self.source_address)]
        return None if self.ip_version is None else FAMILIES[self.ip_version]


def route_of(
    proxy: str | None = None,
    source_address: str | None = None,
    ip_version: IpVersion | None = None,
    *,
    sock: object = None,
) -> Route:
    """Return the route that these make. Raises `ValueError` when they make no sense, or *sock* is given as well."""
    if sock is not None and (proxy, source_address, ip_version) != (None, None, None):
        raise ValueError("with sock=, the connection's way is its own")
    if ip_version is not None and ip_version not in FAMILIES:
        raise ValueError("the version of IP is 4 or 6")
    if source_address is not None:
        try:
            version = _version_of(source_address)
        except ValueError:
            raise ValueError("a source address is an IP address of this machine, as 192.0.2.1") from None
        if ip_version not in {None, version}:
            raise ValueError(f"the source address is not one of IPv{ip_version}")
    return Route(None if proxy is None else parse_proxy(proxy), source_address, ip_version)


def _version_of(address: str) -> int:
    from ipaddress import ip_address  # noqa: PLC0415 - takes long, and few programs need it

    return ip_address(address).version


def parse_proxy(url: str) -> Proxy:
    """Return what the *url* of a proxy says. Raises `ValueError`, which does not quote it."""
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415 - takes long, and few programs need it

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Not in urlsplit's words: they may quote a password.
        parts, port = urlsplit(""), None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in {"", "/"} or parts.query or port == 0:
        raise ValueError("a proxy is socks5://host[:port], socks5h:// (which looks names up itself) or http://")
    user = None if parts.username is None else unquote(parts.username)
    password = unquote(parts.password or "")
    if any(len(text.encode()) > MOST_FIELD_OCTETS for text in (user or "", password)):
        raise ValueError(f"a proxy takes a user and a password of {MOST_FIELD_OCTETS} octets at most")
    return Proxy(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], user, password)


def _connect_over_socks(proxy: Proxy, host: str, port: int) -> Exchange:
    methods = b"\0" if proxy.user is None else b"\0\2"
    version, method = yield bytes([5, len(methods)]) + methods, 2
    if version != 5:  # noqa: PLR2004 - SOCKS 5
        raise OSError("the proxy does not speak SOCKS 5")
    if method == 2 and proxy.user is not None:  # noqa: PLR2004 - a user and a password, RFC 1929
        _, refused = yield b"\1" + _field(proxy.user.encode()) + _field(proxy.password.encode()), 2
        if refused:
            raise OSError("the proxy refuses the user or the password")
    elif method:
        wants = "a user and a password" if proxy.user is None else "another kind of login"
        raise OSError(f"the proxy wants {wants}")
    _, refusal, _, kind = yield b"\5\1\0" + _address(host) + port.to_bytes(2, "big"), 4
    if refusal:
        raise OSError(f"the proxy says no: {_REFUSALS.get(refusal, f'refusal {refusal}')}")
    # The address that it connects from says nothing to us; the server's octets begin behind it.
    length = {1: 4, 4: 16}.get(kind)
    if length is None:
        (length,) = yield b"", 1
    yield b"", length + 2


def _address(host: str) -> bytes:
    from ipaddress import ip_address  # noqa: PLC0415 - takes long, and few programs need it

    try:
        address = ip_address(host)
    except ValueError:
        return b"\3" + _field(_ascii(host))
    return bytes([1 if address.version == 4 else 4]) + address.packed  # noqa: PLR2004 - IPv4


def _field(octets: bytes) -> bytes:
    return bytes([len(octets)]) + octets


def _ascii(host: str) -> bytes:
    try:
        octets = host.encode("ascii") if host.isascii() else host.encode("idna")
    except UnicodeError:
        octets = b""
    if not octets or len(octets) > MOST_FIELD_OCTETS:
        raise OSError("the host's name cannot be one")
    return octets


def _connect_over_http(proxy: Proxy, host: str, port: int) -> Exchange:
    name = _ascii(host).decode()
    target = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user is not None:
        login = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    head = yield ("\r\n".join(lines) + "\r\n\r\n").encode(), 1
    while not head.endswith(b"\r\n\r\n"):
        if len(head) >= MOST_HEAD_OCTETS:
            raise OSError(f"the proxy says more than {MOST_HEAD_OCTETS:,} octets before it connects")
        head += yield b"", 1
        if len(head) == 5 and head != b"HTTP/":  # noqa: PLR2004 - its length
            raise OSError("the proxy does not speak HTTP")
    said = _OVER_HTTP.match(head)
    if said is None:
        raise OSError("the proxy does not speak HTTP")
    if not said[1].startswith(b"2"):
        raise OSError(f"the proxy says no: {printable(b' '.join(filter(None, said.groups())).decode('latin-1'))}")
