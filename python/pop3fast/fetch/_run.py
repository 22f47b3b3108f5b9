"""Run: what one fetch of one account keeps from session to session.

Owns what was found out on the way (which message broke the connection, what was refused), the report, and that a run
ends: after a checkpoint there is another session only if the last one achieved something that counts once in a run
(`Run.achieve`); otherwise one session without a checkpoint is the last. Never speaks to the server.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from functools import partial

from pop3fast.fetch._filtering import Filter
from pop3fast.fetch._identity import Identity, is_lasting
from pop3fast.fetch._options import Options
from pop3fast.fetch._plan import SHORT_MARK, Item, too_large
from pop3fast.fetch._receipts import Receipt
from pop3fast.fetch._report import Beginning, Delivered, Doing, FetchReport, Named, Progress
from pop3fast.fetch._sizes import Sizes
from pop3fast.fetch._waiting import Clock, Stop
from pop3fast.fetch.accounts._account import Reconnector
from pop3fast.fetch.accounts._hosts import Hosts
from pop3fast.fetch.destinations._destination import Destination
from pop3fast.fetch.destinations._kinds import path_of
from pop3fast.fetch.memory._account_state import AccountState
from pop3fast.fetch.memory._fingerprint import header_of

MOST_BREAKS = 2
"""When the connection was lost so many times in the middle of the same message, that message is left alone."""

MOST_WARNINGS = 100
"""A report is for a person, and kept in memory."""


class Run:
    """One fetch."""

    def __init__(  # noqa: PLR0913, PLR0915 - all that a fetch is made of, and all that it keeps
        self,
        reconnector: Reconnector,
        destination: Destination,
        memory: AccountState | None,
        options: Options,
        report: FetchReport,
        clock: Clock,
        stop: Stop,
        progress: Callable[[Progress], object] | None,
    ) -> None:
        """Begin. Without *memory* nothing was ever fetched, and nothing is now."""
        self.reconnector = reconnector
        self.destination = destination
        self.memory = memory
        self.options = options
        self.report = report
        self.clock = clock
        self.stop = stop
        self.inline = False
        """Whether everything is done in the caller's thread."""
        self.hosts = Hosts()
        """How many sessions others have with which host."""
        self.most_sessions = options.sessions
        """How many there may be at once: fewer, once the server has let in fewer or was out of step with one."""
        self.began = clock.now()
        self.failed: set[Identity] = set()
        """What is not tried again in this run."""
        self.deleted: set[Identity] = set()
        """What was deleted, or refused to be, and is not tried again in this run."""
        self.unsure: set[Identity] = set()
        """What was marked as deleted in a session that did not end well."""
        self.fetched_again: set[Identity] = set()
        """What was fetched although it is remembered, because `Options.fetch_again` says so."""
        self.recognised: set[Identity] = set()
        """What was listed again after it was deleted, and is the same message by its header."""
        self.kept: dict[Identity, Named] = {}
        self.sizes = Sizes(by_hand=options.trust_sizes)
        """What was learned of the scan listing's sizes."""
        self.keeps_nameless = False
        """Whether the server still has messages without a unique-id after it said that it deleted them."""
        self.knows_left = False
        """Whether the state has what was there before `Options.since_last` began to count."""
        self.filter: Filter | None = None if options.filter is None else Filter(options.filter, clock)
        self.group: int | None = None
        """How many messages are fetched at a time, since a message turned out to have forged a reply."""
        self.knows_maildrop = False
        """Whether a session has compared the maildrop with what is remembered."""
        self.may_pipeline = True
        self.answered = 0
        """How many messages have come."""
        self.may_top = True
        self.has_top = False
        """Whether the server has answered a TOP: if the connection is lost after that, TOP is not to blame."""
        self.login_delay = 0.0
        """The seconds between two logins that the server asks for."""
        self.logged_in_at = 0.0
        self.is_listing = False
        """Whether the server was asked for its listings and has not given all of them yet."""
        self.advanced = False
        """Whether anything was achieved since this was last set to False."""
        self.has_checkpoints = True
        """Whether a session may end before all is done. One that did so and achieved nothing was the last."""
        self.waits_for = ""
        """Why there is a pause before the next session."""
        self.callback_failure: BaseException | None = None
        reconnector.on_login = partial(self.begin, "logging in")
        self._progress = progress
        self.waiting: set[Identity] | None = None
        """Which new messages are on the server and not delivered; None while nothing has been listed."""
        self._given_up: set[Identity] = set()
        self._breaks: Counter[Identity] = Counter()
        self._contents: set[tuple[bytes, int]] = set()
        # Hashes, which are small: there is one for each message. Two that are equal by chance cost a checkpoint.
        self._achieved: set[int] = set()
        self._left: list[Named] = []
        self._messages = self._octets = self._messages_in_all = self._octets_in_all = 0

    @property
    def is_watched(self) -> bool:
        """Whether anybody is told how far it is."""
        return self._progress is not None

    def see_new(self, items: Iterable[Item]) -> None:
        """Note which new messages the server lists now."""
        # The plan does not have what an earlier session of this run tried in vain.
        self.waiting = self._given_up | {item.identity for item in items}

    def expect(self, items: list[Item]) -> None:
        """Note what is going to be fetched from here on, in all sessions."""
        self._messages, self._octets = self.report.fetched + len(self.report.failures), self.report.octets
        self._messages_in_all = self._messages + len(items)
        self._octets_in_all = self._octets + sum(item.size for item in items)
        self._went_on(0)

    def received(self, item: Item, octets: int, begins: bytes) -> None:
        """Note that a message has come that *begins* so."""
        self._messages += 1
        self._octets += octets
        self.stop.check()
        if self._progress is not None:
            self._tell(self._how_far()._replace(message=named(item), begins=Beginning(header_of(begins))))

    def receiving(self, octets: int) -> None:
        """Note how much of a message has come that is not whole yet."""
        self._went_on(octets)

    def take(self, receipts: list[Receipt]) -> None:
        """Count what is durable and remembered."""
        delivered: list[Delivered] = []
        for item, entry in receipts:
            self.take_in(item)
            if self.options.fetch_again:
                self.fetched_again.add(item.identity)
            if not is_lasting(item.identity.uid):
                # It is fetched in every session, and counts once.
                if (entry.content, entry.copy) in self._contents:
                    continue
                self._contents.add((entry.content, entry.copy))
            self.report.fetched += 1
            self.report.octets += entry.octets
            self.achieve(("fetched", entry.uid, entry.content, entry.copy))
            if self._progress is not None:
                delivered.append(Delivered(named(item), path_of(self.destination, entry)))
        if delivered:
            self._tell(self._how_far()._replace(delivered=tuple(delivered)))

    def take_in(self, item: Item) -> None:
        """Note that nothing more is to be done to have a message."""
        if self.waiting is not None:
            self.waiting.discard(item.identity)

    def achieve(self, what: Hashable) -> None:
        """Note that something was achieved, which counts once in a run.

        A server may keep what it said it deleted, and a message that is fetched only to be looked at comes in every
        session.
        """
        if hash(what) not in self._achieved:
            self._achieved.add(hash(what))
            self.advanced = True

    def settle_deletions(self, identities: Iterable[Identity]) -> None:
        """Note what is not to be deleted again in this run: it was, or it was tried."""
        for identity in identities:
            self.deleted.add(identity)
            self.achieve(("deleted", identity))

    def give_up(self, item: Item, why: str) -> None:
        """Leave a message out of the rest of the run."""
        self.failed.add(item.identity)
        self._wait_for_next_run(item)
        self.report.failures.append(named(item, why))
        self.achieve(("failed", item.identity))

    def leave(self, item: Item, octets: int) -> None:
        """Leave a message out of the rest of the run, because it came larger than it may be."""
        why = too_large(octets, self.options.max_size or 0)
        self.leave_out(item, f"{why}, and not the {item.size:,} that the server lists")

    def leave_out(self, item: Item, why: str = "") -> None:
        """Do nothing more about a message in this run. If it is left on the server for a reason, say *why*."""
        self.failed.add(item.identity)
        if why:
            self._wait_for_next_run(item)
            self._left.append(named(item, why))
        self.achieve(("failed", item.identity))

    def _wait_for_next_run(self, item: Item) -> None:
        self._given_up.add(item.identity)
        if self.waiting is not None:
            self.waiting.add(item.identity)

    def not_delivered(self, receipt: Receipt, why: str, *, fresh: bool) -> None:
        """Take back that a message was delivered; *fresh* is whether this run counted it."""
        item, entry = receipt
        self.give_up(item, why)
        if fresh:
            self.report.fetched -= 1
            self.report.octets -= entry.octets

    def note_short(self, item: Item) -> None:
        """Remember that a message came too short to be whole, before it counts as delivered all the same.

        What it showed of the sizes is remembered before that, since each message shows it only once.
        """
        uid, occurrence = item.identity
        if self.memory is not None and is_lasting(uid):
            self.memory.note_sizes(self.sizes.words())
            self.memory.note_names([Identity(SHORT_MARK + uid, occurrence)])

    def broke(self, item: Item, why: str) -> None:
        """Note that the connection was lost in the middle of a message."""
        self._breaks[item.identity] += 1
        if self._breaks[item.identity] >= MOST_BREAKS:
            self.give_up(item, f"the connection was lost in the middle of it {MOST_BREAKS} times: {why}")

    def keep(self, item: Item, why: str) -> None:
        """Note why a message is not deleted."""
        self.kept[item.identity] = named(item, why)

    def warn(self, sentence: str) -> None:
        """Say something to a person, once."""
        warnings = self.report.warnings
        if sentence not in warnings and len(warnings) < MOST_WARNINGS:
            warnings.append(sentence)

    def end(self) -> None:
        """Complete the report."""
        self.report.kept = list(self.kept.values())
        self.report.left += self._left
        self.report.deletions_unknown = len(self.unsure)
        self.report.seconds = self.clock.now() - self.began

    def begin(self, doing: Doing) -> None:
        """Tell what begins now."""
        if self._progress is not None:
            self._tell(self._how_far()._replace(doing=doing))

    def listed(self, messages: int) -> None:
        """Tell how many messages have been listed so far."""
        self._tell(self._how_far()._replace(doing="listing", listed=messages))

    def wait(self, seconds: float) -> None:
        """Tell that nothing happens for so many *seconds*, and why; then wait."""
        if seconds and self._progress is not None:
            until = self.clock.date() + seconds
            self._tell(self._how_far()._replace(doing="waiting", why=self.waits_for, until=until))
        self.stop.pause(self.clock, seconds)

    def _went_on(self, under_way: int) -> None:
        self.stop.check()
        if self._progress is not None:
            self._tell(self._how_far(under_way))

    def _how_far(self, under_way: int = 0) -> Progress:
        octets = self._octets + under_way
        in_all = max(octets, self._octets_in_all)
        seconds = self.clock.now() - self.began
        return Progress(self._messages, self._messages_in_all, octets, in_all, seconds, None)

    def _tell(self, progress: Progress) -> None:
        if self._progress is None:
            return
        try:
            self._progress(progress)
        except BaseException as error:
            # An OSError from here is not the connection's.
            self.callback_failure = error
            raise


def named(item: Item, why: str = "") -> Named:
    """Return *item* for a report."""
    return Named(item.number, item.identity.uid, item.size, why)
