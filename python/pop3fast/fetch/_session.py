"""FetchSession: from a login to QUIT. New messages are delivered, and only then may delivered ones be deleted.

Owns the order that makes deleting safe. A message number is used only in the session that listed it. DELE is sent only
for a message that is durable at its destination, remembered, and whole as far as the listing shows, and only when the
listing is complete. When anything goes wrong, the connection is closed without DELE and without QUIT.
"""

from pop3fast import POP3, ProtocolError
from pop3fast.fetch._deleting import Deleter
from pop3fast.fetch._delivering import Deliverer
from pop3fast.fetch._doubt import doubt_deletions, renumbered, settle, to_probe, uids_changed
from pop3fast.fetch._errors import UidsChanged
from pop3fast.fetch._identity import Identity, is_lasting
from pop3fast.fetch._inquiry import Inquiry
from pop3fast.fetch._listing import Lister
from pop3fast.fetch._plan import (
    LEFT_MARK,
    Item,
    Known,
    Listing,
    Plan,
    all_gone,
    gone_of,
    make_plan,
    missing_from,
    remembered_as,
    safe_to_delete,
)
from pop3fast.fetch._portions import Portion, portion_of
from pop3fast.fetch._receipts import Receipt
from pop3fast.fetch._retrieval import Retrieval
from pop3fast.fetch._run import Run, named
from pop3fast.fetch._sizes import Sizes, Trust, too_short
from pop3fast.fetch.destinations._destination import ReadsEarly
from pop3fast.fetch.memory._account_state import AccountState
from pop3fast.fetch.memory._seen import Seen

CHECKPOINT_DELAY_SECONDS = 1.0
"""A server that wants more time than this between logins gets no checkpoints (quirk q135: 10 seconds, 180). A
checkpoint only saves marking some hundred messages as deleted once more, which takes less than a second."""

NOT_COMPLETE = "LIST and UIDL do not agree, so one of them is not complete"


class FetchSession:
    """One session of a run."""

    def __init__(self, run: Run, pop: POP3) -> None:
        """Work over *pop*, which is logged in; the caller closes it."""
        self._run = run
        self._inquiry = Inquiry(run, pop)
        self._retrieval = Retrieval(run, pop, self._inquiry)
        self._lister = Lister(run, pop, self._inquiry)
        self._deliverer = Deliverer(run, self._inquiry, self._retrieval, self._lister)
        self._deleter = Deleter(run, pop, self._inquiry)
        self._date = run.clock.date()
        self._numbers_changed = False

    def work(self) -> bool:
        """Do what there is to do, up to a checkpoint; return whether another session is to follow.

        Raises `FetchError` for a fault that no other session can mend, `CommandError` when the server refuses to list,
        and `ProtocolError` or ``OSError`` when the connection is lost.
        """
        run = self._run
        memory = run.memory
        if memory is not None:
            self._begin(memory)
        noted = None if memory is None or run.options.fetch_again else memory.maildrop()
        run.is_listing = True
        run.begin("listing")
        uids, sizes = self._lister.unique_ids(sizes_too=noted is None)
        if memory is not None and noted is not None and noted == self._lister.mark(uids):
            self._numbers_changed = not self._lister.numbers_hold(uids, memory)
            if not self._numbers_changed and not self._lister.not_shown:
                run.report.seen = len(uids)
                run.see_new([])
                return self._quit([], plan=None, more=False)
        listing = self._lister.listing(uids, sizes)
        run.is_listing = False
        seen = Seen() if memory is None else memory.seen()
        plan = self._plan(listing, seen)
        self._limit(plan)
        run.see_new([*plan.fetch, *(item for item, _ in [*plan.left, *plan.refused])])
        if memory is None or run.options.dry_run:
            self._say_what_would_be(plan, complete=listing.complete)
            return self._quit([], plan=None, more=False)
        self._update(memory, plan, seen, complete=listing.complete)
        run.expect(plan.fetch)
        deletions, items, more = self._portion(plan)
        wanted = self._deliverer.sift(items, memory, len(uids))
        receipts = self._whole(self._deliverer.deliver(wanted, memory, uids), plan)
        deletions += self._recognise(memory, plan)
        if listing.complete:
            marked = self._deleter.delete(plan, deletions, receipts, memory, self._deliverer.unwanted)
        else:
            for item in self._deliverer.unwanted:
                run.keep(item, NOT_COMPLETE)
            marked = self._keep_all([*deletions, *(item for item, _ in receipts)])
        self._say_what_is_short(plan)
        if listing.complete and plan.seen == plan.listed and not items and not plan.short:
            mark = self._lister.mark(uids)
            if mark is not None:
                memory.note_maildrop(mark)
        return self._quit(marked, plan=plan, more=more)

    def _keep_all(self, items: list[Item]) -> list[Receipt]:
        """Name what could be deleted now, were the listing complete; return what is marked as deleted: nothing."""
        if self._run.options.old_enough(self._date, self._date):
            for item in items:
                self._run.keep(item, NOT_COMPLETE)
        return []

    def _begin(self, memory: AccountState) -> None:
        run = self._run
        self._date = memory.begin_session(run.clock.date(), keep=not run.options.dry_run)
        run.sizes = Sizes.parse(memory.sizes(), by_hand=run.options.trust_sizes)
        run.knows_left = memory.knows_left()
        if not run.options.dry_run:
            run.report.forgotten += memory.forget_missing(run.options.forget_after)
            for sentence in run.destination.prepare(memory.digest, memory):
                run.warn(sentence)
            if isinstance(run.destination, ReadsEarly) and run.options.old_enough(self._date, self._date):
                run.destination.read_early()

    def _quit(self, marked: list[Receipt], *, plan: Plan | None, more: bool) -> bool:
        """End the session; return whether another is to follow."""
        run = self._run
        try:
            self._deleter.quit(marked, run.memory, 0 if plan is None else plan.nameless)
        except ProtocolError as error:
            # Everything else is done, and another session would get the same answer.
            run.report.error = error
            return False
        run.has_checkpoints = run.advanced or not more
        return more

    # What is to be done.

    def _plan(self, listing: Listing, seen: Seen) -> Plan:
        run, options, date = self._run, self._run.options, self._date
        estimates = run.sizes.trust is Trust.ESTIMATES
        known = Known(
            run.failed, run.deleted, run.recognised, run.knows_left, run.sizes.decide, estimates, run.fetched_again
        )
        plan = make_plan(listing, seen, options, date, known)
        # In a later session they are gone because they were deleted.
        if not run.knows_maildrop and all_gone(plan, seen) and not options.accept_uid_change:
            found = self._inquiry.fingerprints(to_probe(listing))
            if uids_changed(found, seen, options, date):
                raise UidsChanged(len(seen), plan.listed)
        plan = self._settle(plan, listing, seen, known)
        if not listing.complete:
            plan.kept += [(item, NOT_COMPLETE) for item in plan.delete]
            plan.delete = []
        if not run.knows_maildrop:
            run.report.seen = plan.seen
        run.knows_maildrop = True
        self._warn(plan)
        return plan

    def _settle(self, plan: Plan, listing: Listing, seen: Seen, known: Known) -> Plan:
        """Ask about what is doubtful; return the plan without doubt."""
        options, date, memory = self._run.options, self._date, self._run.memory
        changed = self._numbers_changed
        if memory is not None and plan.seen + len(plan.refused) > len(plan.doubtful) and not changed:
            changed = not self._lister.numbers_hold(dict(listing.uids), memory, seen)
        if self._lister.not_shown:
            plan = make_plan(listing, seen, options, date, known, doubted=self._lister.not_shown)
        if not self._lister.shows_headers:
            doubt_deletions(plan)
        found: dict[int, bytes] = {}
        if not changed and plan.doubtful:
            found = self._inquiry.fingerprints([item.number for item in plan.doubtful])
            changed = renumbered(plan, found, seen)
        if changed:
            plan = make_plan(listing, seen, options, date, known, doubted=listing.uids)
            numbers = [item.number for item in plan.doubtful if item.number not in found]
            found |= self._inquiry.fingerprints(numbers)
        if plan.doubtful:
            settle(plan, found, seen, options, date, known)
        self._run.recognised.update(item.identity for item in plan.returned)
        self._retrieval.short_before, self._retrieval.again = plan.short_before, plan.again
        return plan

    def _warn(self, plan: Plan) -> None:
        run = self._run
        for item, why in plan.kept:
            run.keep(item, why)
        if plan.again:
            run.warn(
                f"{len(plan.again)} messages may be others than before under the same unique-ids, and the server does "
                "not show their headers (TOP): they are fetched once more"
            )
        if plan.nameless:
            run.warn(
                f"{plan.nameless} messages have no unique-id that lasts: they are fetched each time, and recognised at "
                "the destination by their content"
            )
        returned = [item for item in plan.returned if item in plan.delete]
        if returned:
            run.warn(
                f"the server said that it deleted {len(returned)} messages, and lists them again: they are not fetched "
                "again, and deleted once more"
            )

    def _limit(self, plan: Plan) -> None:
        run, limit = self._run, self._run.options.limit
        if limit is not None:
            most = max(0, limit - run.report.fetched - len(run.report.failures))
            plan.left += [(item, f"the limit is {limit:,} messages") for item in plan.fetch[most:]]
            del plan.fetch[most:]
        run.report.refused = [named(item, why) for item, why in plan.refused]
        run.report.left = [named(item, why) for item, why in sorted([*plan.left, *plan.refused])]

    def _say_what_would_be(self, plan: Plan, *, complete: bool) -> None:
        self._run.report.to_fetch = [named(item) for item in plan.fetch]
        at_once = complete and self._run.options.old_enough(self._date, self._date)
        items = sorted([*plan.delete, *plan.fetch]) if at_once else plan.delete
        self._run.report.to_delete = [named(item) for item in safe_to_delete(plan, items)[0]]

    def _update(self, memory: AccountState, plan: Plan, seen: Seen, *, complete: bool) -> None:
        """Take note of what the listing says about what was remembered."""
        run = self._run
        if plan.renamed:
            memory.rename(plan.renamed)
        if forgotten := [*plan.replaced, *plan.unmarked]:
            memory.forget(memory.entries(forgotten).values())
        if plan.marked:
            memory.note_refused(plan.marked)
        if plan.sizes_changed:
            memory.update_sizes(plan.sizes_changed)
            for item in plan.short:
                run.note_short(item)
        # An incomplete listing will do for this, too: it never has more of them than there are.
        if memory.keeps_nameless(plan.nameless):
            run.keeps_nameless = not all(is_lasting(uid) for uid, _ in run.deleted)
        if run.options.since_last and not run.knows_left and (complete or not len(seen)):
            # When nothing was remembered, nothing can be missing, whatever this listing lacks.
            memory.leave([Identity(LEFT_MARK + uid, occurrence) for uid, occurrence in plan.leave])
        if not complete:
            return
        if run.unsure:
            run.report.deleted += gone_of(run.unsure, plan)
            run.unsure.clear()
        memory.note_listing(missing_from(plan, seen), plan.relisted, nameless=plan.nameless > 0)

    def _portion(self, plan: Plan) -> Portion:
        """Return what to do before the next checkpoint, or all where one costs more than it saves."""
        run, options = self._run, self._run.options
        may_delete = options.deletes and (bool(plan.delete) or options.old_enough(self._date, self._date))
        # When messages without a unique-id stay for ever, each session would begin with the same ones.
        pays = run.has_checkpoints and run.login_delay <= CHECKPOINT_DELAY_SECONDS and not run.keeps_nameless
        return portion_of(plan, options) if may_delete and pays else Portion(plan.delete, plan.fetch, more=False)

    # What is done about it.

    def _whole(self, receipts: list[Receipt], plan: Plan) -> list[Receipt]:
        """Return *receipts* without those of messages that did not come whole, by all that has come so far."""
        run = self._run
        if run.options.headers_only or run.sizes.trust is Trust.ESTIMATES:
            return receipts
        short = [each for each in receipts if each.entry.octets < each.item.size]
        if not run.sizes.decide:
            plan.short += [item for item, _ in short]
            return receipts
        for each in short:
            run.not_delivered(each, too_short(each.entry.octets, each.item.size), fresh=True)
        numbers = {item.number for item, _ in short}
        return [each for each in receipts if each.item.number not in numbers]

    def _say_what_is_short(self, plan: Plan) -> None:
        """Name what came shorter than listed and is not named as kept, while nobody knows what that means."""
        run = self._run
        if run.sizes.decide:
            # What has come since shows that they did not come whole. The next fetch asks for them again.
            for item in plan.short:
                run.kept.pop(item.identity, None)
                run.give_up(item, f"it came shorter than the {item.size} octets that the server lists")
            return
        if short := [item for item in plan.short if item.identity not in run.kept]:
            run.warn(
                f"{len(short)} messages came shorter than the server lists them, the first of them {named(short[0])}; "
                "nothing shows yet whether they are whole"
            )

    def _recognise(self, memory: AccountState, plan: Plan) -> list[Item]:
        """Take note of what was fetched and turned out to be remembered; return what of it may be deleted."""
        run, options, same = self._run, self._run.options, self._retrieval.same
        if not same:
            return []
        keys = {item: remembered_as(item.identity, options) for item in same}
        entries = memory.entries(keys.values())
        memory.note_listing([], [*entries], nameless=plan.nameless > 0)
        if run.sizes.trust is not Trust.ESTIMATES and not options.headers_only:
            came = {item: entries[key] for item, key in keys.items() if key in entries}
            short = [item for item, entry in came.items() if entry.octets < item.size]
            for item in short:
                # A message that was once as large as it was listed has come whole.
                if not came[item].size:
                    run.note_short(item)
            plan.short += short
        memory.update_sizes([(key, item.size) for item, key in keys.items() if item.size])
        recognised = {item.identity for item in same}
        for item in same:
            run.take_in(item)
            run.achieve(("recognised", item.identity))
        run.recognised |= recognised
        return [
            item
            for item in same
            if (entry := entries.get(item.identity)) is not None
            and item.identity not in run.deleted
            and options.old_enough(entry.delivered_at, self._date)
        ]
