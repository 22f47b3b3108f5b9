"""The way of a connection: through a proxy, from an address, by one version of IP; the same for every client."""

import asyncio
import contextlib
import pickle
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from networks import Says, ScriptedNetwork
from pop3fast import aio, connect
from pop3fast._dial import dial
from pop3fast._route import MOST_HEAD_OCTETS, Exchange, Route, parse_proxy, route_of
from pop3fast.fetch import Account, Job, fetch_mailbox, fetch_many
from pop3fast.testing import MailboxServer
from socks5 import relay, socks_proxy

NAME = ("mail.example.org", 110)


def said(exchange: Exchange, answers: bytes) -> list[bytes]:
    """Return what is sent to a proxy that gives *answers*; every octet of them is asked for, and no more."""
    sent = []
    with contextlib.suppress(StopIteration):
        octets, wanted = next(exchange)
        while True:
            sent.append(octets)
            assert len(answers) >= wanted
            some, answers = answers[:wanted], answers[wanted:]
            octets, wanted = exchange.send(some)
    assert answers == b""
    return [octets for octets in sent if octets]


# What is said to a proxy.


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("mail.example.org", b"\3\x10mail.example.org"),
        ("bücher.example", b"\3\x15xn--bcher-kva.example"),
        ("192.0.2.1", b"\1\xc0\0\2\1"),
        ("2001:db8::1", b"\4\x20\1\x0d\xb8" + bytes(11) + b"\1"),
    ],
)
@pytest.mark.parametrize("bound", [b"\1" + bytes(6), b"\4" + bytes(18), b"\3\2ab\0\0"])
def test_socks_is_asked_for_an_address_and_its_answer_read_to_its_end(host: str, address: bytes, bound: bytes) -> None:
    exchange = parse_proxy("socks5h://proxy").exchange(host, 995)
    assert said(exchange, b"\5\0" + b"\5\0\0" + bound) == [b"\5\1\0", b"\5\1\0" + address + b"\x03\xe3"]


def test_socks_with_a_user_and_a_password() -> None:
    exchange = parse_proxy("socks5://us%40er:p%3Aw@proxy").exchange("192.0.2.1", 110)
    sent = said(exchange, b"\5\2" + b"\1\0" + b"\5\0\0\1" + bytes(6))
    assert sent[:2] == [b"\5\2\0\2", b"\1\5us@er\3p:w"]


@pytest.mark.parametrize(
    ("url", "answers", "sentence"),
    [
        ("socks5://p", b"HT", "the proxy does not speak SOCKS 5"),
        ("socks5://p", b"\5\xff", "the proxy wants a user and a password"),
        ("socks5://u:w@p", b"\5\xff", "the proxy wants another kind of login"),
        ("socks5://u:w@p", b"\5\2\1\1", "the proxy refuses the user or the password"),
        ("socks5://p", b"\5\0\5\2\0\1", "the proxy says no: its rules forbid this connection"),
        ("socks5://p", b"\5\0\5\x63\0\1", "the proxy says no: refusal 99"),
        ("http://p", b"SSH-2", "the proxy does not speak HTTP"),
        ("http://p", b"HTTP/2 200\r\n\r\n", "the proxy does not speak HTTP"),
        ("http://p", b"HTTP/1.1 407 Log\x1b in\r\nA: b\r\n\r\n", r"the proxy says no: 407 Log\x1b in"),
        ("http://p", b"HTTP/1.0 503\r\n\r\n", "the proxy says no: 503"),
        ("http://p", b"HTTP/" * MOST_HEAD_OCTETS, "the proxy says more than 16,384 octets before it connects"),
    ],
)
def test_a_proxy_that_refuses_or_is_none(url: str, answers: bytes, sentence: str) -> None:
    with pytest.raises(OSError, match=r"^the proxy") as failed:
        said(parse_proxy(url).exchange(*NAME), answers)
    assert str(failed.value) == sentence


def test_http_is_asked_by_connect() -> None:
    (request,) = said(
        parse_proxy("http://u:w@proxy").exchange("2001:db8::1", 995), b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n"
    )
    assert request == (
        b"CONNECT [2001:db8::1]:995 HTTP/1.1\r\nHost: [2001:db8::1]:995\r\nProxy-Authorization: Basic dTp3\r\n\r\n"
    )


@pytest.mark.parametrize(
    "url",
    ["proxy:1080", "https://proxy", "socks4://proxy", "socks5://", "http://proxy/path", "http://u:hunter2/x@p:y", ""],
)
def test_the_url_of_a_proxy_that_is_none_is_not_quoted(url: str) -> None:
    with pytest.raises(ValueError, match=r"^a proxy is socks5://host\[:port\], socks5h://") as failed:
        parse_proxy(url)
    assert "hunter2" not in str(failed.value)


def test_ports_and_what_cannot_be() -> None:
    assert [parse_proxy(f"{scheme}://p").port for scheme in ("socks5", "socks5h", "http")] == [1080, 1080, 8080]
    assert parse_proxy("http://[::1]:3128/")[:3] == ("http", "::1", 3128)
    with pytest.raises(ValueError, match="255 octets at most"):
        parse_proxy(f"socks5://{'u' * 256}:w@p")
    with pytest.raises(ValueError, match=r"^the version of IP is 4 or 6$"):
        route_of(ip_version=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^a source address is an IP address of this machine, as 192\.0\.2\.1$"):
        route_of(source_address="eth0")
    with pytest.raises(ValueError, match=r"^the source address is not one of IPv6$"):
        route_of(source_address="127.0.0.1", ip_version=6)


# Every client takes the same way.


class Tunnel(socketserver.StreamRequestHandler):
    """A proxy of HTTP that connects to one server, whatever it is asked for."""

    asked: list[str]
    server_address: tuple[str, int]
    refusal = b""

    rbufsize = 0  # no octet of what comes behind the request

    def handle(self) -> None:
        self.asked.append(self.rfile.readline().decode().strip())
        while self.rfile.readline().strip():
            pass
        if self.refusal:
            self.wfile.write(self.refusal)
            return
        with socket.create_connection(self.server_address) as upstream:
            # The server's first octets come with the proxy's last.
            self.request.sendall(b"HTTP/1.1 200 go\r\n\r\n" + upstream.recv(512))
            relay(self.request, upstream)


@contextlib.contextmanager
def http_proxy(server: MailboxServer, refusal: bytes = b"") -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    more = {"asked": asked, "server_address": server.address, "refusal": refusal}
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Handler", (Tunnel,), more)) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}", asked
        finally:
            proxy.shutdown()
            thread.join(10)


def by_connect(url: str, password: str, proxy: str, _: Path) -> int:
    with connect(url, password=password, proxy=proxy) as pop:
        return pop.stat()[0]


def by_a_loop(url: str, password: str, proxy: str, _: Path) -> int:
    async def count() -> int:
        async with aio.connect(url, password=password, proxy=proxy) as pop:
            return (await pop.stat())[0]

    return asyncio.run(count())


def by_a_fetch(url: str, password: str, proxy: str, home: Path) -> int:
    report = fetch_mailbox(Account(url, password=password, proxy=proxy), f"eml:{home}/box")
    report.raise_for_error()
    return report.fetched


def by_many(url: str, password: str, proxy: str, home: Path) -> int:
    job = Job(Account(url, password=password, proxy=proxy), f"eml:{home}/box")
    (report,) = fetch_many([pickle.loads(pickle.dumps(job))])  # noqa: S301 - it is ours
    report.raise_for_error()
    return report.fetched


WAYS = (by_connect, by_a_loop, by_a_fetch, by_many)
URL = "pop3+plain://user@mail.example.org"


@pytest.mark.parametrize("way", WAYS)
def test_each_client_goes_through_socks(way: Callable[..., int], tmp_path: Path) -> None:
    with MailboxServer([b"x"]) as server, socks_proxy({NAME: (server.host, server.port)}) as ((host, port), asked):
        assert way(URL, server.password, f"socks5h://{host}:{port}", tmp_path) == 1
    assert asked == [NAME]


@pytest.mark.parametrize("way", WAYS)
def test_each_client_goes_through_http(way: Callable[..., int], tmp_path: Path) -> None:
    with MailboxServer([b"x"]) as server, http_proxy(server) as (proxy, asked):
        assert way(URL, server.password, proxy, tmp_path) == 1
    assert asked == ["CONNECT mail.example.org:110 HTTP/1.1"]


def test_a_name_is_looked_up_here_where_the_proxy_is_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def resolve_here(name: str, *rest: Any, **more: Any) -> list[Any]:  # noqa: ANN401
        return [*resolve("127.0.0.1" if name == NAME[0] else name, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    with MailboxServer([b"x"]) as server, socks_proxy() as ((host, port), asked):
        url = f"pop3+plain://user@mail.example.org:{server.port}"
        assert by_connect(url, server.password, f"socks5://{host}:{port}", Path()) == 1
        assert asked == [("127.0.0.1", server.port)]


def test_a_proxy_that_says_no_leaves_nothing_open_and_is_named() -> None:
    with MailboxServer([b"x"]) as server, http_proxy(server, b"HTTP/1.1 403 Forbidden\r\n\r\n") as (proxy, _):
        for way in (by_connect, by_a_loop):
            with pytest.raises(OSError, match=r"mail\.example\.org:110, connection: the proxy says no: 403 Forbidden$"):
                way(URL, server.password, proxy, Path())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError, match=r"mail\.example\.org:110, connection: the proxy: .*refused"):
        connect(URL, proxy=f"socks5h://127.0.0.1:{port}")


def test_a_proxy_that_says_nothing_ends_with_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(TimeoutError, match="the proxy took too long"):
            dial(NAME, 0.3, route=route_of(f"http://127.0.0.1:{silent.getsockname()[1]}"))


def test_a_proxy_that_says_nothing_is_left_when_it_is_asked_for() -> None:
    looks = iter((False, False, False, True))

    def stop() -> None:
        if next(looks):
            raise KeyboardInterrupt

    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(KeyboardInterrupt):
        dial(NAME, None, route=route_of(f"http://127.0.0.1:{silent.getsockname()[1]}"), check=stop)


# From where, and by which version.


def test_a_connection_comes_from_the_source_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with dial(listener.getsockname(), 10, route=Route(source_address="127.0.0.2")) as sock:
            assert sock.getsockname()[0] == "127.0.0.2"
        with pytest.raises(OSError, match=r"cannot connect from 192\.0\.2\.77: "):
            dial(listener.getsockname(), 10, route=Route(source_address="192.0.2.77"))


@pytest.mark.parametrize(("version", "taken"), [(4, "a"), (6, "v6_a"), (None, "v6_a")])
def test_only_addresses_of_the_version_are_tried(version: Any, taken: str) -> None:  # noqa: ANN401 - None, 4 or 6
    network = ScriptedNetwork(v6_a=Says(0.02), a=Says(0.01))
    with dial(("192.0.2.1", 110), 60, route=route_of(ip_version=version), network=network):
        assert [call.name for call in network.calls] == [taken]


def test_a_host_without_an_address_of_the_version_says_so() -> None:
    with pytest.raises(OSError, match=r"^the host has no address of IPv6$"):
        dial(("192.0.2.1", 110), 60, route=route_of(ip_version=6), network=ScriptedNetwork(a=Says(0.01)))
    with pytest.raises(OSError, match=r"^the host has no address of IPv4$"):
        dial(("::1", 110), 60, route=route_of(source_address="127.0.0.1"))


def test_a_socket_of_ones_own_has_a_way_of_its_own() -> None:
    for call in (connect, aio.connect):
        ours, theirs = socket.socketpair()
        with theirs, pytest.raises(ValueError, match=r"^with sock=, the connection's way is its own$"):
            call(URL, sock=ours, proxy="http://proxy")
        assert ours.fileno() == -1


def test_an_account_shows_no_proxy_and_checks_it_at_once() -> None:
    account = Account(URL, password="x", proxy="socks5://user:hunter2@proxy", source_address="127.0.0.1", ip_version=4)
    assert "hunter2" not in repr(account)
    with pytest.raises(ValueError, match=r"^a proxy is "):
        Account(URL, password="x", proxy="proxy")
    assert account.route == Route(parse_proxy("socks5://user:hunter2@proxy"), "127.0.0.1", 4)


def test_the_password_of_a_proxy_is_never_shown() -> None:
    route = route_of("socks5://user:hunter2@proxy")
    assert route.proxy is not None
    assert route.proxy.password == "hunter2"
    assert "proxy" in repr(route)
    assert "hunter2" not in repr(route)
