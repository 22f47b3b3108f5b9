"""The world of one seed: its chance, its time, and the moments at which something goes wrong.

Owns the one random generator. Every simulated call is a step (`World.step`), and before each fetch the world draws the
steps at which the process dies, a call fails, somebody says stop, or a mail program does its work. So the same seed is
the same story to the octet, and the same code may be stopped at each of its steps.
"""

import contextlib
from collections.abc import Callable, Iterator
from random import Random
from typing import NoReturn

from pop3fast.fetch import _receipts
from pop3fast.fetch._waiting import Stop

FIRST_DATE = 1_750_000_000.0
"""When a story begins, in seconds since 1970."""

DAY = 86_400.0

EARLIER_FEATURES = (
    "alike",  # messages that are alike to the last octet
    "broken promises of sync",  # a sync that fails loses what it was to keep
    "changes by others",  # messages are deleted, and put in another's place, by others between two sessions
    "clock of 1970",
    "cuts",  # the line gives what it has in small pieces
    "damage",  # octets of a delivered message change
    "delays",
    "deaf to dele",  # the server says +OK to DELE and does nothing
    "disk errors",
    "full disk",
    "hang-ups",
    "huge sizes",  # greater than 63 bits hold
    "identical sizes",
    "in use",
    "kills",
    "largest size",  # the option
    "listings that are empty",
    "listings that are short",
    "locked by others",
    "login delay",
    "newest first",
    "no hard links",
    "no pipelining",
    "one command a read",
    "power cuts",
    "programs",  # mail programs work on the destinations
    "quit fails",
    "refusals",
    "short messages",
    "silence",
    "since last",  # the option
    "small limits",
    "stops",
    "top is refused",
    "unique-ids again",  # a unique-id of a deleted message is given to another one
    "unique-ids missing",
    "unique-ids repeated",
    "unique-ids that are numbers",
    "unlasting unique-ids",
    "windows",
)


LATER_FEATURES = (
    "dots are not stuffed",  # a message with a line that begins with a dot ends early, or comes changed
    "headers only",  # the option
    "out of step",  # a reply comes twice
)
"""Drawn by a chance of their own, so that the stories without them are what they were before there were these."""

LATEST_FEATURES = (
    "files of others",  # an mbox or a state is another user's, or others may write to it
    "late replies",  # of replies that come twice the last one is still on its way when the others have been taken
    "shared mbox",  # two accounts deliver to one, each under a path of its own, with one memory
)
"""Drawn after those, for the same reason."""

SEVERAL = "several sessions"

NEWEST_FEATURES = (SEVERAL,)  # the option, with servers that answer one command at a time
"""And after those."""

BY_BATCH = "syncs of the file system"

LAST_FEATURES = (BY_BATCH,)  # the option
"""And after those again."""

TAKEOVERS = "takeovers"
TURNS = "turns"

SHARED_FEATURES = (
    TAKEOVERS,  # a worker hangs until its lease has ended and another one has fetched, and then wakes up
    TURNS,  # the accounts are claimed and given back, as by a fleet
)
"""Of a state that many machines share; other stories have none of them."""

FEATURES: tuple[str, ...] = (
    EARLIER_FEATURES + LATER_FEATURES + LATEST_FEATURES + NEWEST_FEATURES + LAST_FEATURES + SHARED_FEATURES
)


class Death(BaseException):
    """The process ends here. Nothing of it may do anything any more."""


class Broken(AssertionError):  # noqa: N818 - what is broken is a promise
    """A promise was not kept."""


class Clock:
    """The time of the simulated machine. Of itself it stands still."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.wrong = 0.0
        """By how much the date is wrong."""

    def now(self) -> float:
        return self.time

    def true_date(self) -> float:
        return FIRST_DATE + self.time

    def date(self) -> float:
        return self.true_date() + self.wrong

    def pause(self, seconds: float) -> None:
        self.time += max(0.0, seconds)


class World:
    """What happens, and when."""

    def __init__(
        self,
        seed: int,
        features: frozenset[str] | None = None,
        *,
        needs: frozenset[str] = frozenset(),
        shares: bool = False,
        tell: bool = False,
    ) -> None:
        self.seed = seed
        self.rng = Random(f"pop3fast {seed}")  # noqa: S311 - the same each time is what is wanted
        chosen = frozenset(feature for feature in EARLIER_FEATURES if self.rng.random() < 0.3)
        later = Random(f"pop3fast later {seed}")  # noqa: S311 - as above
        chosen |= {feature for feature in LATER_FEATURES if later.random() < 0.15}
        latest = Random(f"pop3fast latest {seed}")  # noqa: S311 - as above
        chosen |= {feature for feature in LATEST_FEATURES if latest.random() < 0.1}
        newest = Random(f"pop3fast newest {seed}")  # noqa: S311 - as above
        chosen |= {feature for feature in NEWEST_FEATURES if newest.random() < 0.1}
        last = Random(f"pop3fast last {seed}")  # noqa: S311 - as above
        chosen |= {feature for feature in LAST_FEATURES if last.random() < 0.2}
        shared = Random(f"pop3fast shared {seed}")  # noqa: S311 - as above
        chosen |= {feature for feature in SHARED_FEATURES if shares and shared.random() < 0.5}
        self.features = (chosen if features is None else chosen & features) | needs
        self.clock = Clock()
        self.stop = Stop()
        self.calm = False
        """Whether nothing goes wrong any more."""
        self.dead = False
        self.torn = False
        """Whether the process died in the middle of an append, which has left a piece."""
        self.broken: Broken | None = None
        """The first promise that was not kept in the middle of a fetch."""
        self.process = 0
        """Which process runs; what an earlier one had open is closed."""
        self.steps = 0
        self.faults = 0
        """How many things went wrong in this fetch."""
        self.sessions = 0
        self.told: list[str] | None = [] if tell else None
        self.far: dict[str, object] = {}
        """The places that are no files, by name."""
        self.on_statement: Callable[[str], object] = bool
        """Told of what the state is told to do, and when that is for good."""
        self.at_work: Callable[[], object] = bool
        """What mail programs do in the middle of a fetch."""
        self.on_hang: Callable[[], object] = bool
        """What happens while a worker hangs."""
        self._usual_steps = 150
        self._next = 2**62
        self._events: list[tuple[int, str]] = []
        self._full = False

    def chance(self, feature: str, probability: float = 0.5) -> bool:
        """Return whether something of *feature* happens now."""
        return feature in self.features and not self.calm and self.rng.random() < probability

    def say(self, *words: object) -> None:
        """Tell what happens, when somebody listens."""
        if self.told is not None:
            self.told.append(f"{self.clock.time:12.2f} {self.steps:5} {' '.join(map(str, words))}")

    def fail(self, why: str) -> NoReturn:
        """Say that a promise was not kept, whatever becomes of the error on its way through the code."""
        self.broken = self.broken or Broken(why)
        raise self.broken

    def check_batch(self, messages: int) -> None:
        """Check how many messages are remembered at once: so many were waited for in memory or on the disk."""
        if messages > _receipts.BATCH_MESSAGES:
            self.fail(f"{messages} messages are in one batch, which has {_receipts.BATCH_MESSAGES} at most")

    def arrange(self, what: str, steps: int) -> None:
        """Have *what* (``death`` or ``error``) happen so many steps from now."""
        self._events = [(self.steps + steps, what)]
        self._plan_next()

    def begin_fetch(self) -> None:
        """Start a process, and draw when what will go wrong in it."""
        self.process += 1
        self.dead = False
        self.steps = self.faults = 0
        self.stop = Stop()
        events: list[tuple[int, str]] = []
        for feature, what, probability in (
            ("kills", "death", 0.4),
            ("power cuts", "death", 0.3),
            ("stops", "stop", 0.2),
            ("disk errors", "error", 0.5),
            ("disk errors", "error", 0.3),
            ("full disk", "full", 0.2),
            ("programs", "programs", 0.4),
            ("programs", "programs", 0.2),
            ("shared mbox", "torn append", 0.4),
            (TAKEOVERS, "takeover", 0.5),
        ):
            if self.chance(feature, probability):
                events.append((self.rng.randint(1, self._usual_steps), what))
        self._events = sorted(events)
        self._full = False
        self._plan_next()

    def end_fetch(self) -> None:
        """Note how many steps a fetch has."""
        if not self.dead:
            self._usual_steps = max(40, self.steps)
        self._events = []
        self._next = 2**62
        self._full = False

    @contextlib.contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Have the block be what another process does while this one hangs; nothing ends that one."""
        kept = self.steps, self._events, self._next, self._full, self.stop
        self._events, self._next, self._full, self.stop = [], 2**62, False, Stop()
        try:
            yield
        finally:
            self.steps, self._events, self._next, self._full, self.stop = kept

    def step(self, where: str) -> None:
        """Take a step, which may be the last one."""
        self.steps += 1
        if self.steps >= self._next:
            self._happen(where)

    def _plan_next(self) -> None:
        self._next = 0 if self.dead or self._full else self._events[0][0] if self._events else 2**62

    def _happen(self, where: str) -> None:
        if self.dead:
            raise Death
        while self._events and self._events[0][0] <= self.steps:
            what = self._events[0][1]
            if _is_too_early(what, where):
                break
            self._events.pop(0)
            self.say(f"-- {what} before {where}")
            if what == "programs":
                self.at_work()
                continue
            self.faults += 1
            if what == "takeover":
                self.on_hang()
                continue
            if what in {"death", "torn append"}:
                self.torn = what == "torn append"
                self.dead = True
                self._plan_next()
                raise Death
            if what == "stop":
                self.stop.say()
            elif what == "full":
                self._full = True
            else:
                self._plan_next()
                raise Fault(self.rng.choice(ERRORS))
        self._plan_next()
        if self._full and where in NEEDS_SPACE:
            raise Fault(NO_SPACE)


def _is_too_early(what: str, where: str) -> bool:
    """Return whether *what* is going to happen, and waits for a step of another kind than *where*."""
    kind = where.partition(" ")[0]
    if what == "error":
        return kind not in {"disk", "sql"}
    if what == "takeover":
        return kind in {"far", "own"} or (kind == "sql" and where not in BETWEEN_TRANSACTIONS)
    return what == "torn append" and where != "disk append"


ERRORS = (28, 5, 24, 4)
NO_SPACE = 28

BETWEEN_TRANSACTIONS = {"sql BEGIN", "sql COMMITTED"}
"""In one, whoever hangs is thrown out by the server, as if the connection were lost. And who hangs while a far end
takes a message has delivered it."""

NEEDS_SPACE = {"disk create", "disk write", "disk append", "disk make_folder", "disk link", "sql COMMIT"}


class Fault(Exception):  # noqa: N818 - it is not an error of its own
    """A call fails with this number. Each part of the world makes of it what its callers know."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
