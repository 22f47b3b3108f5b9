"""A SOCKS 5 proxy (RFC 1928) on loopback, as far as a connection to an IPv4 address or a named host needs one."""

import contextlib
import select
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping


def relay(one: socket.socket, other: socket.socket) -> None:
    """Give each what the other says, until one hangs up."""
    targets = {one: other, other: one}
    while True:
        for readable in select.select(list(targets), [], [], 10)[0]:
            octets = readable.recv(65536)
            if not octets:
                return
            targets[readable].sendall(octets)


class Socks5(socketserver.BaseRequestHandler):
    """One client: where it wants to go, and then its octets and the other side's."""

    asked: list[tuple[str, int]]
    names: Mapping[tuple[str, int], tuple[str, int]]
    direct = socket.socket  # not what PySocks' wrap_module puts in its place

    def handle(self) -> None:
        client: socket.socket = self.request
        assert client.recv(3) == b"\5\1\0"  # version 5, one method: no authentication
        client.sendall(b"\5\0")
        request = client.recv(262)
        assert request[:3] == b"\5\1\0"  # connect
        if request[3] == 1:
            host = socket.inet_ntoa(request[4:8])
        else:
            assert request[3] == 3
            host = request[5:-2].decode()
        target = (host, int.from_bytes(request[-2:]))
        self.asked.append(target)
        with self.direct() as upstream:
            upstream.settimeout(10)
            upstream.connect(self.names.get(target, target))
            client.sendall(b"\5\0\0\1" + bytes(6))
            relay(client, upstream)


@contextlib.contextmanager
def socks_proxy(
    names: Mapping[tuple[str, int], tuple[str, int]] | None = None,
) -> Iterator[tuple[tuple[str, int], list[tuple[str, int]]]]:
    """Run a SOCKS proxy, to which *names* are known; give its address, and the list of where it was asked to go."""
    asked: list[tuple[str, int]] = []
    handler = type("Handler", (Socks5,), {"asked": asked, "names": names or {}})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield ("127.0.0.1", proxy.server_address[1]), asked
        finally:
            proxy.shutdown()
            thread.join(10)
