"""The line to the server, and the real client on it.

Owns how octets arrive: in pieces of any size, late, or not at all, after any octet. What stands for the socket is
`Line`; the `ReplyStream`, the framer, the pipeline and the commands are the real ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pop3fast import POP3
from pop3fast._stream import ReplyStream
from pop3fast.fetch import Account

from .server import Dialogue
from .world import World

TIMEOUT = 60.0

DELAYS = (0.01, 0.3, 1.0, 2.5, 30.0)
"""In seconds: shorter and longer than a batch waits for more, and shorter than the time-out."""


class Line:
    """What a client has in the place of a socket."""

    def __init__(self, world: World, dialogue: Dialogue) -> None:
        self._world = world
        self._dialogue = dialogue
        self._timeout: float | None = TIMEOUT
        self._octets_left = 2**62
        self._end = "hang-up"
        for feature, end in (("hang-ups", "hang-up"), ("silence", "silence")):
            if world.chance(feature, 0.4):
                self._octets_left, self._end = world.rng.randrange(3000), end

    def sendall(self, octets: bytes) -> None:
        self._world.step("line send")
        if self._octets_left <= 0 and self._end == "hang-up":
            if self._world.rng.random() < 0.5:
                raise BrokenPipeError(32, "Broken pipe")
            return
        self._dialogue.receive(bytes(octets))

    def recv_into(self, buffer: memoryview) -> int:
        world, out = self._world, self._dialogue.out
        world.step("line receive")
        if world.chance("delays", 0.15):
            world.clock.pause(world.rng.choice(DELAYS))
        if not out and self._octets_left > 0:
            self._dialogue.send_late()
        most = min(len(out), self._octets_left, len(buffer))
        if not most:
            return self._nothing()
        count = world.rng.randint(1, min(most, 200)) if world.chance("cuts", 0.7) else most
        buffer[:count] = out[:count]
        del out[:count]
        self._octets_left -= count
        return count

    def arrived(self) -> bool:
        """Return whether something can be received, even if it is only the end."""
        ended = self._dialogue.closing or (self._octets_left <= 0 and self._end == "hang-up")
        return ended or bool(self._dialogue.out and self._octets_left)

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def gettimeout(self) -> float | None:
        return self._timeout

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        self._dialogue.end()

    def _nothing(self) -> int:
        world = self._world
        over = self._octets_left <= 0
        if self._end == "silence" if over else not self._dialogue.closing:
            world.say("-- the server says nothing more")
            world.clock.pause(self._timeout or TIMEOUT)
            raise TimeoutError("timed out")
        world.say("-- the server has hung up")
        if world.rng.random() < 0.3:
            raise ConnectionResetError(104, "Connection reset by peer")
        return 0


class Client(POP3):
    """The real client, over a line that was made for it."""

    def __init__(self, line: Line) -> None:
        self.host, self.port = "mail.example.org", 110
        self._debugging = 0
        self._tls_established = False
        stream = ReplyStream(line.recv_into)
        stream._arrived = line.arrived
        self.sock: Any = line
        self.file: Any = stream
        try:
            self.welcome = self._getresp()
        except BaseException:
            self.close()
            raise


@dataclass(frozen=True)
class SimulatedAccount(Account):
    """An account whose server is in here."""

    dial: Callable[[], Line] | None = field(default=None, repr=False, compare=False)

    def connect(self, sock: object = None) -> POP3:
        """Log in over a new line."""
        del sock
        if self.dial is None:
            raise ValueError("there is no line")
        client = Client(self.dial())
        try:
            client.user(self.login)
            client.pass_("password")
        except BaseException:
            client.close()
            raise
        return client
