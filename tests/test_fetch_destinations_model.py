"""Each destination by itself, in any order of what can be done with it, and of what can happen to it.

The disk, the clock and the mail programs are the simulation's. The model knows what was begun, what has ended, what is
remembered and what was damaged; the destination has to have all that is remembered, and nothing twice, and what is read
back has to be what lies there, whatever came between.
"""

import contextlib
from collections.abc import Callable
from random import Random
from typing import Literal, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pop3fast.fetch import DestinationError, Identity, State, StateError, open_destination
from pop3fast.fetch._identity import ReadBack
from pop3fast.fetch.destinations._destination import Delivery
from simulation.disk import Disk
from simulation.mails import Senders, text_of
from simulation.places import Place
from simulation.play import memory
from simulation.surroundings import surroundings
from simulation.world import Death, World

T = TypeVar("T")

NAMED = 4
"""So many messages have unique-ids; behind them come two that have none, and are alike."""

ENOUGH_DONE = 3
"""What takes away all that was done comes only behind so much of it: or else nearly nothing would ever arrive."""

STEPS = st.sampled_from(range(1, 61))
"""In so many calls something goes wrong: to append to an mbox takes about 40. Each is as likely as another."""


class NoWriter(World):
    """A world in which a flush may come at any time."""

    def check_batch(self, messages: int) -> None:
        """Let a batch be as large as it is: what bounds it is the writer."""


class Destinations(RuleBasedStateMachine):
    """One destination, one account, and processes that come and go."""

    kind = ""

    @initialize(seed=st.integers(0, 1000), links=st.booleans())
    def begin_the_world(self, seed: int, links: bool) -> None:  # noqa: FBT001 - hypothesis gives it by its name
        self.world = NoWriter(seed, frozenset())
        self.world.features = frozenset({"small limits", "broken promises of sync", *(["no hard links"] * (not links))})
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(surroundings(self.world))
        self.state = str(self.stack.enter_context(memory()) / "state.sqlite")
        self.disk = Disk(self.world)
        self.disk.make_durable_folder("/mail")
        self.place = Place(self.world, self.disk, self.kind, "box")
        self.place.on_taken = self.note_taken
        senders = Senders(Random(seed))  # noqa: S311 - the same each time is what is wanted
        self.contents = [senders.content(size=None) for _ in range(NAMED + 1)]
        self.contents.append(self.contents[-1])
        self.texts = [text_of(content, self.kind) for content in self.contents]
        self.remembered: set[int] = set()
        self.damaged: set[int] = set()
        self.may_repeat: set[bytes] = set()
        self.start_process()

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.end_process()
            self.stack.close()

    # Processes and sessions.

    def start_process(self) -> None:
        self.account = State(self.state).account("mail.example.org", 110, "me")
        self.destination = open_destination(self.place.words, self.disk, self.world.clock)
        self.prepared = False
        self.forget_session()
        self.attempt(self.prepare)

    def forget_session(self) -> None:
        self.begun: set[int] = set()
        self.fresh: set[int] = set()
        self.ended: list[int] = []
        self.delivery: Delivery | None = None
        self.number = self.written = 0
        self.done = 0

    def end_process(self) -> None:
        self.account.close()
        self.disk.end_process(power=False)

    def attempt(self, work: Callable[[], T]) -> T | None:
        """Do *work*; where the process dies of it, start another one."""
        try:
            return work()
        except Death:
            self.kill(power="power" in self.dies_of)
            return None

    dies_of = ""

    @precondition(lambda self: not self.prepared or self.done >= ENOUGH_DONE)
    @rule(how=st.sampled_from(["kill", "cut power", "begin session", "close"]))
    def interrupt(self, how: str) -> None:
        """End what is under way, and go on."""
        if how == "begin session":
            self.attempt(self.prepare)
        elif how == "close":
            self.attempt(self.close_destination)
        else:
            self.kill(power=how == "cut power")
        if not self.prepared:
            self.attempt(self.prepare)

    def kill(self, *, power: bool) -> None:
        self.account.close()
        self.disk.end_process(power=power)
        self.world.dead = False
        self.world.end_fetch()
        self.start_process()

    def prepare(self) -> None:
        self.forget_session()
        self.prepared = False
        try:
            self.destination.prepare(self.account.digest, self.account)
            seen = self.account.seen()
        except (DestinationError, StateError):
            return
        self.prepared = True
        # What was settled is remembered.
        self.remembered |= {number for number in range(NAMED) if identity(number) in seen}

    def close_destination(self) -> None:
        self.forget_session()
        self.prepared = False
        self.destination.close()

    # One message.

    @precondition(lambda self: self.prepared and self.delivery is None)
    @rule(choice=st.integers(0, NAMED + 1))
    def begin(self, choice: int) -> None:
        open_ones = [number for number in range(NAMED) if number not in self.remembered | self.begun]
        # Those without a unique-id come in every session, and in the same order.
        open_ones += [number for number in (NAMED, NAMED + 1) if number not in self.begun][:1]
        if not open_ones:
            return
        self.number = open_ones[choice % len(open_ones)]
        self.begun.add(self.number)
        self.written = 0
        self.done += 1

        def begin() -> None:
            with contextlib.suppress(DestinationError):
                self.delivery = self.destination.begin(identity(self.number))

        self.attempt(begin)

    @precondition(lambda self: self.delivery is not None)
    @rule(octets=st.integers(1, 300))
    def write_piece(self, octets: int) -> None:
        self.attempt(lambda: self.write(self.contents[self.number][self.written : self.written + octets]))

    # Of so many rules few would come behind each other in the order in which a message arrives.
    @precondition(lambda self: self.prepared)
    @rule(
        choices=st.lists(st.integers(0, NAMED + 1), min_size=1, max_size=3),
        octets=st.integers(0, 300),
        between=st.sampled_from(["nothing", "nothing", "flush", "hurry", "time", "program", "damage"]),
        trouble=st.sampled_from(["none", "none", "error", "death", "death and power cut"]),
        steps=STEPS,
    )
    def deliver(self, choices: list[int], octets: int, between: str, trouble: str, steps: int) -> None:
        """Do what a writer does, with something in the middle of the last message."""
        for number, choice in enumerate(choices, 1):
            if self.delivery is not None:
                self.end()
            if self.prepared:
                self.begin(choice)
            if number == len(choices) and self.delivery is not None:
                self.write_piece(octets)
                self.happen(between)
            if self.delivery is not None:
                self.end()
        if trouble != "none":
            self.arrange_trouble(steps, trouble)
        self.flush()

    @precondition(lambda self: self.delivery is not None)
    @rule()
    def end(self) -> None:
        def end() -> None:
            self.write(self.contents[self.number][self.written :])
            delivery, self.delivery = self.delivery, None
            if delivery is not None:
                with contextlib.suppress(DestinationError):
                    delivery.end(len(self.contents[self.number]))
                    self.ended.append(self.number)

        self.attempt(end)

    @precondition(lambda self: self.delivery is not None)
    @rule(how=st.sampled_from(["abandon"] * 3 + ["prepare", "close"]))
    def abandon(self, how: Literal["abandon", "prepare", "close"]) -> None:
        delivery, self.delivery = self.delivery, None
        if delivery is None:
            return
        if how == "abandon":
            self.attempt(delivery.abandon)
        elif how == "prepare":
            self.attempt(self.prepare)
        else:
            self.attempt(self.close_destination)
        with pytest.raises(ValueError, match="ended"):
            delivery.write(b"late")
        with pytest.raises(ValueError, match="ended"):
            delivery.end()

    def write(self, octets: bytes) -> None:
        if self.delivery is not None:
            try:
                self.delivery.write(octets)
                self.written += len(octets)
            except DestinationError:
                self.delivery = None

    # What makes it arrive.

    @rule()
    def flush(self) -> None:
        def flush() -> None:
            self.done += 1
            ended, self.ended = self.ended, []
            try:
                entries = self.destination.flush()
                assert [entry.identity for entry in entries] == [identity(number) for number in ended]
            except DestinationError as error:
                entries = list(error.delivered)
            except StateError:
                entries = []
            with contextlib.suppress(StateError):
                self.account.remember(entries)
                delivered = {entry.identity for entry in entries}
                now = {number for number in ended if number < NAMED and identity(number) in delivered}
                self.remembered |= now
                self.fresh |= now
                self.damaged -= now

        self.attempt(flush)

    @precondition(lambda self: self.prepared and self.remembered)
    @rule()
    def read_back(self) -> None:
        self.attempt(lambda: self.look_at(self.fresh & self.remembered, fresh=True))
        self.attempt(lambda: self.look_at(self.remembered - self.fresh, fresh=False))

    def look_at(self, numbers: set[int], *, fresh: bool) -> None:
        if not self.prepared or not numbers:
            return  # the process has died meanwhile
        faults = self.world.faults
        try:
            entries = self.account.entries([identity(number) for number in numbers])
            found = self.destination.read_back([entries[identity(number)] for number in numbers], fresh=fresh)
        except (DestinationError, StateError):
            return
        for number, there in zip(numbers, found, strict=True):
            if number in self.damaged:
                assert there is not ReadBack.WHOLE, f"message {number} is damaged"
            # A damaged one that was moved to the place of another is in doubt for the other.
            elif self.world.faults == faults and not (self.damaged and self.place.rewritten):
                assert there is ReadBack.WHOLE if fresh else there is not ReadBack.DIFFERS, f"message {number}: {there}"
            if there is ReadBack.DIFFERS:
                with contextlib.suppress(StateError):
                    self.account.forget([entries[identity(number)]])
                    self.remembered.discard(number)
                    self.damaged.discard(number)
                    self.may_repeat.add(self.texts[number])

    # What happens to it.

    @rule(what=st.sampled_from(["hurry", "time", "program", "damage"]))
    def happen(self, what: str) -> None:
        match what:
            case "flush":
                self.flush()
            case "hurry":
                self.destination.hurry()
            case "time":
                self.world.clock.pause(self.world.rng.choice((0.1, 3.0, 86_400.0)))
            case "program":
                self.place.work()
            case "damage":
                self.damage()

    @precondition(lambda self: self.done)
    @rule(steps=STEPS, what=st.sampled_from(["error", "death", "death and power cut"]))
    def arrange_trouble(self, steps: int, what: str) -> None:
        self.world.arrange(what.split(maxsplit=1)[0], steps)
        self.dies_of = what

    def damage(self) -> None:
        # An octet that is changed twice is whole again.
        found = None if self.damaged else self.place.damage()
        if found is not None and found[0] in self.texts:
            self.damaged.add(self.texts.index(found[0]))

    def note_taken(self, text: bytes) -> None:
        number = self.texts.index(text) if text in self.texts else -1
        self.fresh.discard(number)
        if number not in self.remembered:
            self.may_repeat.add(text)

    # What has to be so at any time.

    @invariant()
    def all_that_is_remembered_is_durable(self) -> None:
        if hasattr(self, "place"):
            there = self.place.texts(durable=True) + self.place.taken
            for number in getattr(self, "remembered", set()) - getattr(self, "damaged", set()):
                assert there[self.texts[number]], f"message {number} is remembered, and is not there"

    @invariant()
    def nothing_is_there_twice(self) -> None:
        if hasattr(self, "place"):
            there = self.place.texts() + self.place.taken
            for text in set(getattr(self, "texts", ())) - getattr(self, "may_repeat", set()):
                assert there[text] <= self.texts.count(text)


def identity(number: int) -> Identity:
    return Identity(b"uid %d" % number) if number < NAMED else Identity(b"", number - NAMED)


class Maildirs(Destinations):
    kind = "maildir"


class Mboxes(Destinations):
    kind = "mbox"


class EmlFolders(Destinations):
    kind = "eml"


QUICK = settings(max_examples=100, stateful_step_count=40, derandomize=True, deadline=None, database=None)

TestMaildirs = Maildirs.TestCase
TestMaildirs.settings = QUICK
TestMboxes = Mboxes.TestCase
TestMboxes.settings = QUICK
TestEmlFolders = EmlFolders.TestCase
TestEmlFolders.settings = QUICK
