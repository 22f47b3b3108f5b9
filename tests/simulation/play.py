"""One story: a world is made from a seed, mail comes and is fetched, and what was promised is checked.

Owns the order of things. First everything that may go wrong does; then the world becomes calm, and fetches are
repeated until nothing changes.
"""

import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fast.fetch import DestinationError, FetchReport, Named, Options, StateError, UidsChanged
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch.destinations._particulars import Sync

from .disk import Disk
from .far import CONTEXT, IMAP, FarPlace, is_far, kind_of
from .line import Line, SimulatedAccount
from .mails import Mail, Senders
from .own import OWN, OneByOne, OwnPlace
from .places import Place
from .promises import Promises
from .server import Dialogue, Maildrop
from .states import Lease, States, count_remembered, everything, lease_of, remembered, states_of
from .strangers import Strangers
from .surroundings import surroundings
from .turns import run_turn
from .world import BY_BATCH, DAY, SEVERAL, TAKEOVERS, TURNS, Broken, Death, World

if TYPE_CHECKING:
    from .postgres import Pool

SHARED_MBOX = "shared mbox"

WRONG_DATE = 86_000.0
"""Seconds since 1970 of a machine that has lost its time."""

MOST_FETCHES = 7

MOST_SESSIONS = 150
"""Of one fetch: more than a few messages and a lot of trouble can take."""

HANG_SECONDS = 3600.0
"""Longer than any lease."""

MOST_CALM_FETCHES = 12
"""By then nothing may change any more."""


class Story:
    """What happens under one seed."""

    _token = 0
    """How often an account had been taken before the fetch under way."""

    def __init__(self, world: World, states: States) -> None:
        self.world = world
        self._known = states
        rng = world.rng
        self.disk = Disk(world)
        self.disk.make_durable_folder("/mail")
        self.disk.give_second_name("/mail", "post")
        kinds = [rng.choice(("maildir", "mbox", "mbox", "eml")) for _ in range(rng.choice((1, 1, 2)))]
        if SHARED_MBOX in world.features:
            kinds = ["mbox"]
        self.places = [Place(world, self.disk, kind, f"box{number}") for number, kind in enumerate(kinds)]
        if OWN in world.features:
            self.places = [OwnPlace(world, self.disk, f"box{number}") for number in range(len(kinds))]
        if is_far(world.features):
            far = kind_of(world.features)
            self.places = [FarPlace(world, self.disk, far, f"box{number}") for number in range(len(kinds))]
        self.states = [states.name(number) for number in range(rng.choice((1, 1, 2)))]
        accounts = rng.choice((1, 1, 1, 2, 2))
        if SHARED_MBOX in world.features:
            del self.states[1:]
            accounts = 2
        senders = Senders(rng)
        self.drops: list[Maildrop] = []
        self.homes: dict[str, Place] = {}
        self.jobs: dict[str, Job] = {}
        for number in range(accounts):
            place = rng.choice(self.places)
            drop = Maildrop(world, senders, f"user{number}", place.kind)
            self.drops.append(drop)
            self.homes[drop.name] = place
            account = SimulatedAccount(
                "pop3+plain://mail.example.org", user=drop.name, password="password", dial=partial(self._dial, drop)
            )
            second_name = rng.random() >= 0.7
            if SHARED_MBOX in world.features:
                second_name = number > 0
            words = place.words.replace("/mail/", "/post/") if second_name else place.words
            options = self._options()
            if drop.headers_only:
                options = replace(options, headers_only=True, delete=False, delete_after=None, max_size=None)
            state = rng.choice(self.states)
            sync: Sync = "batch" if BY_BATCH in world.features else "each"
            self.jobs[drop.name] = Job(account, words, state, options, sync=sync)
        self.strangers = Strangers(world, self.places, self.states)
        self.promises = Promises(world, self.homes, self.drops)
        for place in self.places:
            place.on_taken = partial(self._before_taking, place)
            place.on_joined = partial(self._before_joining, place)
        world.at_work = lambda: rng.choice(self.places).work()
        world.on_hang = self._hang
        self._dialogues: list[Dialogue] = []
        self._under_way: tuple[Maildrop, Job] | None = None
        self._taken_over: list[list[object]] | None = None
        """What the state held when a worker woke up whose account was another's meanwhile."""

    def play(self) -> None:
        """Play it to its end. Raises `Broken`."""
        rng = self.world.rng
        for drop in self.drops:
            for _ in range(rng.randrange(7)):
                drop.arrive()
        for _ in range(rng.randint(2, MOST_FETCHES)):
            self._between()
            drop = rng.choice(self.drops)
            self._fetch(drop, self.jobs[drop.name])
        self._calm_down()

    # What the world does between two fetches.

    def _options(self) -> Options:
        rng = self.world.rng
        delete = rng.random() < 0.5
        return Options(
            delete=delete,
            delete_after=None if delete or rng.random() < 0.5 else rng.choice((0, 1, 5)),
            since_last=self.world.chance("since last", 0.8),
            limit=rng.choice((1, 3)) if rng.random() < 0.1 else None,
            max_size=200 if self.world.chance("largest size") else None,
            checkpoint_messages=rng.choice((1, 2, 3, None)),
            checkpoint_octets=rng.choice((200, 1000, None)),
            sessions=rng.choice((1, 2, 3, 8)) if SEVERAL in self.world.features else 1,
        )

    def _between(self) -> None:
        world, rng = self.world, self.world.rng
        world.clock.time += rng.choice((60.0, 3600.0, DAY, 3 * DAY))
        if rng.random() < 0.03:
            world.clock.time += 40 * DAY
        world.clock.wrong = 0.0
        if world.chance("clock of 1970", 0.6):
            world.clock.wrong = WRONG_DATE - world.clock.true_date()
            world.say("the clock says 1970")
        for drop in self.drops:
            self._change(drop)
        self.strangers.change()
        if world.chance("programs", 0.7):
            for _ in range(rng.randint(1, 3)):
                rng.choice(self.places).work()
        if world.chance("damage", 0.6):
            place = rng.choice(self.places)
            text, in_place = place.damage() or (None, True)
            for taken in place.taken if place.kind == "mbox" and text is not None else ():
                self._excuse_beside_damage(place, taken)
            for mail in self._alike(place, text):
                mail.damaged = True
                # What a mail program has moved is its own: it is not looked for.
                if not in_place or "programs" in world.features:
                    mail.may_miss = "it was damaged, and a mail program moves it"

    def _change(self, drop: Maildrop) -> None:
        world, rng = self.world, self.world.rng
        for mail in drop.mails:
            mail.refused = world.chance("refusals", 0.15)
            mail.short = drop.sized == "exact" and world.chance("short messages", 0.2)
        if drop.mails and world.chance("changes by others", 0.4):
            mail = rng.choice(drop.mails)
            if rng.random() < 0.5:
                drop.remove(mail, "others")
            else:
                drop.replace(mail)
        while rng.random() < 0.45 and len(drop.mails) < 8:
            drop.arrive()
        self._excuse(drop)

    def _excuse(self, drop: Maildrop) -> None:
        """Note of which messages nobody could know that they are those that have been fetched."""
        for mail in drop.mails:
            copies = [each for each in drop.mails if each.uid == mail.uid and mail.uid]
            if len(copies) > 1 and (drop.window or drop.newest_first or self.world.features & UNSTEADY):
                mail.may_repeat = mail.may_miss = "which of the copies is listed nobody knows"
            if self.world.clock.time - mail.last_listed > 29 * DAY and mail.delivered_at is not None:
                mail.may_repeat = "it was not listed for a month"

    # A fetch.

    def _dial(self, drop: Maildrop) -> Line:
        if len(self._dialogues) >= MOST_SESSIONS:
            self.world.fail(f"one fetch has held {MOST_SESSIONS} sessions, and there is no end of it")
        dialogue = Dialogue(self.world, drop, self.promises.deleted)
        self._dialogues.append(dialogue)
        return Line(self.world, dialogue)

    def _fetch(self, drop: Maildrop, job: Job) -> FetchReport | None:
        """Fetch once; return the report, None when the process died or was told to stop."""
        world = self.world
        world.begin_fetch()
        world.say(f"fetch {drop.name} to {job.words}", _shown(job.options))
        self._dialogues = []
        self.promises.options = job.options
        place = self.homes[drop.name]
        job = _equipped(job, place)
        before = place.texts() + place.taken
        objection = self.strangers.objection(place, job.state)
        self._under_way = drop, job
        if TAKEOVERS in world.features:
            self._token = self._lease(drop, job).token
        report = self._run(job)
        if self._taken_over is not None and self._taken_over != everything(self._known, str(job.state)):
            raise Broken("a worker whose account was taken over has changed what is remembered")
        self._under_way = self._taken_over = None
        _forget_the_last(place, report)
        world.end_fetch()
        if world.dead:
            self.disk.end_process(power="power cuts" in world.features and world.rng.random() < 0.5)
            world.dead = False
        dialogues, self._dialogues = self._dialogues, []
        self.promises.note_delivered(drop)
        self.promises.once()
        if objection and self.strangers.objection(place, job.state) == objection:
            self.promises.untouched(place, before, report, objection)
        self.promises.remembered(drop, remembered(self._known, str(job.state), drop.name))
        if report is not None:
            world.say(_summary(report))
            self.promises.report(drop, report, dialogues, before)
        return report

    def _hang(self) -> None:
        """Have this worker hang until its lease has ended and another one has fetched; then it wakes up."""
        if self._under_way is None:
            return
        drop, job = self._under_way
        state, place, hung = str(job.state), self.homes[drop.name], self._dialogues
        lease = self._lease(drop, job)
        for dialogue in hung:
            dialogue.hang_up()
        with self.world.meanwhile():
            self.world.clock.pause(HANG_SECONDS)
            self.world.say("-- another worker comes")
            self._dialogues, self._under_way = [], None
            before = place.texts() + place.taken
            # What it has delivered, and has not kept as done.
            _forget_the_last(place, None)
            report = self._run(_equipped(job, place))
            _forget_the_last(place, report)
            self.promises.note_delivered(drop)
            try:
                self.promises.once()
                if report is not None:
                    self.world.say(_summary(report))
                    self.promises.report(drop, report, self._dialogues, before)
            except Broken as broken:
                self.world.fail(str(broken))
        # What it takes when it wakes up is its own.
        if lease.is_held and self._token < lease.token < self._lease(drop, job).token:
            self._taken_over = everything(self._known, state)
        self.world.say("-- the first worker wakes up")
        self._dialogues, self._under_way = hung, (drop, job)

    def _lease(self, drop: Maildrop, job: Job) -> Lease:
        return lease_of(self._known, str(job.state), drop.name, self.world.clock.true_date())

    def _run(self, job: Job) -> FetchReport | None:
        world = self.world
        surroundings = Surroundings(world.clock, self.disk, world.stop, inline=True)
        report = None
        try:
            report = (run_turn if TURNS in world.features else run_job)(job, surroundings)
        except Death:
            world.say("-- the process is dead")
        except KeyboardInterrupt:
            world.say("-- it was told to stop")
        except (Broken, GeneratorExit):
            raise
        except Exception as error:
            raise Broken(f"an error came through: {error!r}") from error
        if world.broken is not None:
            raise world.broken
        return report

    def _calm_down(self) -> None:
        world = self.world
        world.say("all is calm")
        self.strangers.go()
        world.calm = True
        world.clock.wrong = 0.0
        for drop in self.drops:
            self._excuse(drop)
        for drop in self.drops:
            job = self.jobs[drop.name]
            options = replace(job.options, since_last=False, limit=None, max_size=None)
            if isinstance(self.homes[drop.name], OneByOne) and world.rng.random() < 0.5:
                # What it refused before it takes when it is asked.
                again = self._refused(drop)
                self._fetch(drop, replace(job, options=replace(options, fetch_again=again)))
            self._settle(drop, replace(job, options=options))
        memories: dict[Place, set[object]] = {}
        for drop in self.drops:
            memories.setdefault(self.homes[drop.name], set()).add(self.jobs[drop.name].state)
        for place, states in memories.items():
            if len(states) == 1:
                self.promises.no_pieces(place)

    def _refused(self, drop: Maildrop) -> bool | list[bytes]:
        """Return what to ask for again: all, or what was refused where all would be there twice then."""
        place = self.homes[drop.name]
        if not isinstance(place, FarPlace):
            return True
        uids = Counter(mail.uid for mail in drop.ever)
        return [
            mail.uid
            for mail in drop.mails
            if mail.text in place.refused and mail.uid and uids[mail.uid] == len(self._alike(place, mail.text)) == 1
        ]

    def _settle(self, drop: Maildrop, job: Job) -> None:
        failures: list[Named] = []
        for _ in range(MOST_CALM_FETCHES):
            self.world.clock.time += 3600.0
            report = self._fetch(drop, job)
            if report is None:
                raise Broken("a fetch ended in calm weather")
            if isinstance(report.error, UidsChanged):
                for mail in drop.ever:
                    mail.may_repeat = "the unique-ids changed"
                job = replace(job, options=replace(job.options, accept_uid_change=True))
            elif isinstance(report.error, DestinationError) and self.homes[drop.name].is_no_mbox:
                return  # others' mail would have to be moved, so each fetch says so and changes nothing
            elif report.error is not None and drop.login_delay and not drop.stuffs:
                # Each message that breaks a session takes two, and the pauses between them more than the patience.
                return
            elif report.error is not None:
                raise Broken(f"in calm weather: {report.error!r}") from report.error
            elif (
                (not report.deleted or drop.deaf_to_dele)
                # What a server spoils each time fails each time.
                and (not report.failures or (not drop.stuffs and report.failures == failures))
                and not (report.fetched and report.forgotten)
            ):
                self.promises.settled(drop, report)
                return
            failures = report.failures
        raise Broken(f"after {MOST_CALM_FETCHES} fetches in calm weather there is still something to do")

    # What is remembered.

    def _alike(self, place: Place, text: bytes | None) -> list[Mail]:
        return [
            mail for drop in self.drops if self.homes[drop.name] is place for mail in drop.ever if mail.text == text
        ]

    def _excuse_beside_damage(self, place: Place, text: bytes) -> None:
        """Note that a damaged message may lie where a person took one from; what is there looks like that one then."""
        for mail in self._alike(place, text):
            mail.may_repeat = "a person took it, and a damaged one with the same From line may lie in its place"

    def _before_taking(self, place: Place, text: bytes) -> None:
        if place.kind == "mbox" and any(mail.damaged for mail in self.promises.mails_at(place)):
            self._excuse_beside_damage(place, text)
        for mail in self._alike(place, text):
            if self._dialogues or not self._is_remembered(mail):
                # Of what is gone again in the same session nobody knows whether it was ever there.
                mail.may_repeat = "a person had it before the session that delivered it was over"

    def _before_joining(self, place: Place, text: bytes) -> None:
        for mail in self._alike(place, text):
            mail.may_miss = mail.may_repeat = "others appended where an append behind it ended in its From line"

    def _is_remembered(self, mail: Mail) -> bool:
        if not mail.uid or mail.uid.startswith(b"ENOMEM-"):
            return False
        drop = next(drop for drop in self.drops if mail in drop.ever)
        same = sum(each.uid == mail.uid for each in drop.ever)
        return count_remembered(self._known, self.states, mail.uid) >= same


UNSTEADY = {"listings that are short", "changes by others", "refusals", "quit fails", "listings that are empty"}


def play(
    seed: int,
    folder: Path,
    features: frozenset[str] | None = None,
    *,
    needs: frozenset[str] = frozenset(),
    pool: "Pool | None" = None,
    tell: bool = False,
) -> World:
    """Play the story of *seed*, with no other *features*, and with what it *needs*; return its world.

    What is remembered is in files in *folder*, or in the databases of a *pool*. Raises `Broken`.
    """
    world = World(seed, features, needs=needs, shares=pool is not None, tell=tell)
    try:
        with surroundings(world), states_of(world, folder, pool) as states:
            Story(world, states).play()
    except Exception as error:
        error.world = world  # type: ignore[attr-defined]
        raise
    finally:
        for path in folder.glob(f"{seed}-*"):
            path.unlink()
    return world


@contextlib.contextmanager
def memory() -> Iterator[Path]:
    """Give a folder that costs no disk."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="pop3fast-simulation-", dir=shared if shared.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _equipped(job: Job, place: Place) -> Job:
    """Return *job* with what a new process has of *place*, where that is no file."""
    if not isinstance(place, OneByOne):
        return job
    context = CONTEXT if place.kind == IMAP else None
    return replace(job, destination=place.destination(), to_password="password", to_context=context)


def _forget_the_last(place: Place, report: FetchReport | None) -> None:
    """Note what nobody can know that was delivered, when a process ended with this *report*."""
    if isinstance(place, OneByOne) and (report is None or isinstance(report.error, StateError)):
        place.forget_the_last()


def digest_of(world: World) -> str:
    """Return what stands for a story that was told."""
    return sha256("\n".join(world.told or ()).encode()).hexdigest()


def _shown(options: Options) -> str:
    usual = Options()
    shown = [f"{name}={value!r}" for name, value in vars(options).items() if value != getattr(usual, name)]
    return ", ".join(shown)


def _summary(report: FetchReport) -> str:
    kept = [str(named) for named in (*report.failures, *report.kept)]
    return (
        f"fetched {report.fetched}, seen {report.seen}, deleted {report.deleted} (unknown {report.deletions_unknown}), "
        f"forgotten {report.forgotten}, left {report.left}, exit {report.exit_status}, error {report.error!r}, "
        f"{report.warnings} {kept}"
    )
