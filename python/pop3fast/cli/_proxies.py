"""Proxies: which connections go through one, by what was said and by the environment.

Pure. Owns what ``$ALL_PROXY`` and ``$NO_PROXY`` mean, as curl and others read them: a name in the latter stands for
the host and all below it. What is on this machine is reached without a proxy.
"""

import ipaddress
from collections.abc import Mapping


def proxy_for(said: str | None, host: str, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy through which *host* is reached: the one that was *said*, or the environment's."""
    proxy = said or _either("all_proxy", environment)
    return None if not proxy or _is_near(host, _either("no_proxy", environment)) else proxy


def has_password(proxy: str) -> bool:
    """Return whether there may be a password in the URL of a *proxy*."""
    return ":" in proxy.partition("://")[2].rpartition("@")[0]


def _either(name: str, environment: Mapping[str, str]) -> str:
    # The name in small letters goes first: fewer programs read it, so it is the more deliberate one.
    return environment.get(name) or environment.get(name.upper()) or ""


def _is_near(host: str, no_proxy: str) -> bool:
    host = host.lower().rstrip(".")
    address = _address(host)
    if host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback):
        return True
    return any(_means(entry.strip().lower(), host, address) for entry in no_proxy.split(","))


def _means(entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    """Return whether an *entry* of ``$NO_PROXY`` is about *host*: a name, an address, a network, or all."""
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            return entry == "*"
    name = entry.lstrip("*").strip(".")
    return entry == "*" or (bool(name) and f".{host}".endswith(f".{name}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
