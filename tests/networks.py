"""A network whose addresses do as they are told and whose clock takes no time, in the place of `_dial.Network`.

Owns no test. Its sockets are real ones that were never connected, so that a test can see which of them was closed.
"""

import socket
from math import inf
from typing import NamedTuple

from pop3fast._dial import Address, Network


class Says(NamedTuple):
    """What an address says when it is called: *seconds* later that it is connected, or the error of that *number*."""

    seconds: float = inf
    number: int = 0


SILENT = Says()


class Call(NamedTuple):
    """One call of an address: when it was made, and with which socket."""

    name: str
    moment: float
    sock: socket.socket


class ScriptedNetwork(Network):
    """Addresses by name, the best first, and what each says."""

    def __init__(self, **says: Says) -> None:
        self.time = 1000.0
        self.calls: list[Call] = []
        self.waits: list[float] = []
        self._says = says

    def now(self) -> float:
        return self.time

    def look_up(self, host: str, port: int) -> list[Address]:  # noqa: ARG002 - what is asked for makes no difference
        # "v6_a" is an address of IPv6, any other of IPv4.
        return [Address(socket.AF_INET6 if name.startswith("v6") else socket.AF_INET, 6, name) for name in self._says]

    def call(self, address: Address) -> socket.socket:
        if self._says[address.where].seconds < 0:
            self.calls.append(Call(address.where, self.time, socket.socket()))
            self.calls[-1].sock.close()
            raise OSError(self._says[address.where].number, "never begun")
        self.calls.append(Call(address.where, self.time, socket.socket()))
        return self.calls[-1].sock

    def wait(self, calling: "list[socket.socket]", seconds: float) -> list[tuple[socket.socket, int]]:  # type: ignore[override]
        assert seconds >= 0
        self.waits.append(seconds)
        open_calls = [call for call in self.calls if call.sock in calling]
        answers = {call: call.moment + self._says[call.name].seconds for call in open_calls}
        # A wait ends a little late rather than early: sums of floats are not exact.
        end = self.time + seconds + 1e-9
        self.time = max(self.time, min([end, *answers.values()]))
        return [(call.sock, self._says[call.name].number) for call, moment in answers.items() if moment <= self.time]

    def called(self) -> list[tuple[str, float]]:
        """Return who was called, and how many seconds after the beginning."""
        return [(call.name, round(call.moment - 1000.0, 6)) for call in self.calls]

    def left_open(self) -> list[str]:
        """Return whose sockets are open."""
        return [call.name for call in self.calls if call.sock.fileno() >= 0]
