"""A destination of one's own, which takes messages one by one and does not take every one.

Owns a box that the world cannot damage, and what is promised of it: at least once, with the same key each time, and
never a message between two stools.
"""

from collections import Counter

from pop3fast.fetch import HandledMessage, MessageDeferred, MessageRefused, OutgoingMessage, SimpleDestination
from pop3fast.fetch.destinations._handler import HandlerDestination, Handling

from .disk import Disk
from .places import Place
from .world import World

OWN = "own destination"
"""The feature that makes every place one of this kind."""


HANDLER = "handler"
"""The same, with a function in its place, as `process_mailbox` has it."""

ATTEMPTS = 1_000_000
"""More than a story has: a message that is given up would never arrive."""


class OneByOne(Place):
    """A destination that takes messages one by one, and is no file."""

    def __init__(self, world: World, disk: Disk, kind: str, name: str) -> None:
        super().__init__(world, disk, kind, name)
        self.refused: dict[str | bytes, bytes] = {}
        """The texts that it has refused for good, by whatever tells them apart there."""

    def destination(self) -> SimpleDestination | str:
        """Return what a new process delivers through, or to."""
        raise NotImplementedError

    def forget_the_last(self) -> None:
        """Note that the process has died, or could remember nothing any more."""

    def files(self, *, durable: bool = False) -> list[tuple[object, str, object]]:  # type: ignore[override]
        """Return none: nobody else can look into it."""
        del durable
        return []

    def work(self) -> None:
        """Let nobody do anything in it."""

    def damage(self) -> None:
        """Damage nothing: it cannot be read back."""


class OwnPlace(OneByOne):
    """What lies at such a destination."""

    def __init__(self, world: World, disk: Disk, name: str) -> None:
        super().__init__(world, disk, "own", name)
        self.deliveries: list[tuple[str, bytes]] = []
        """Key and content, as they came."""

    def destination(self) -> SimpleDestination:
        """Return what a new process delivers through."""
        if HANDLER not in self.world.features:
            return OwnDestination(self)

        def call(message: HandledMessage) -> Exception | None:
            try:
                self.deliver(message)
            except Exception as error:  # noqa: BLE001 - what a handler may raise
                return error
            return None

        return HandlerDestination(self.path, call, Handling(ATTEMPTS), None)

    def deliver(self, message: OutgoingMessage) -> None:
        """Take *message*, or do not; the process may end before and behind it."""
        world = self.world
        world.step("own deliver")
        content = message.content
        if world.chance("refusals", 0.1):
            self.refused[message.key] = content
            raise MessageRefused("no such message")
        if world.chance("stops", 0.1):
            raise MessageDeferred("not now")
        if world.chance("disk errors", 0.05):
            raise OSError(28, "No space left on device")
        if world.chance("delays", 0.2):
            world.clock.pause(30.0)
        self.refused.pop(message.key, None)
        self.deliveries.append((message.key, content))
        world.say(f"own: {message.key[:8]} {content[:40]!r}")
        world.step("own delivered")

    def texts(self, *, durable: bool = False) -> "Counter[bytes]":
        """Return what it has: a message that came again with the same key is one."""
        del durable
        return Counter(dict(self.deliveries).values())

    def in_order(self, *, durable: bool = False) -> list[bytes]:
        """Return the texts in the order in which each came first."""
        del durable
        return [*dict.fromkeys(content for _, content in self.deliveries)]


class OwnDestination(SimpleDestination):
    """A process's end of it."""

    def __init__(self, place: OwnPlace) -> None:
        self.path = place.path
        self.clock = place.world.clock
        self.batch_messages = place.world.rng.choice((1, 1, 2, 5))
        self._place = place

    def deliver(self, message: OutgoingMessage) -> bytes:
        """Take *message*, or do not."""
        self._place.deliver(message)
        return b""
