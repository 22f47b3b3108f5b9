"""Session: from a login to QUIT. What is new is delivered, and what was delivered may then be deleted.

Owns the order that makes deleting safe: a message number is used in the session that listed it and in no other; DELE
is sent for nothing but what is durable at its destination, remembered, whole as far as the server's own listing says,
and listed completely; and when anything goes wrong the connection is closed without DELE and without QUIT.
"""

from collections import Counter
from collections.abc import Callable
from hashlib import sha256

from pop3fast import POP3, CommandError, ProtocolError, error_proto
from pop3fast.fetch._errors import UidsChanged, UidsUnknown, explained
from pop3fast.fetch._identity import Identity
from pop3fast.fetch._plan import (
    Item,
    Listing,
    Plan,
    all_gone,
    listed_as,
    make_plan,
    safe_to_delete,
    settle,
    to_probe,
    too_short,
    uids_changed,
)
from pop3fast.fetch._retrieval import Retrieval
from pop3fast.fetch._run import Run, named
from pop3fast.fetch._seen import Seen
from pop3fast.fetch._state import AccountState
from pop3fast.fetch._writer import Receipt, Writer

CHECKPOINT_DELAY_SECONDS = 1.0
"""A server that wants more time than this between logins gets no checkpoints (quirk q135: 10 seconds, 180): what one
saves is marking some hundred messages as deleted once more, which takes less than a second."""

COPY_IS_MISSING = "another message with the same unique-id is not delivered yet"


class Session:
    """One session of a run."""

    def __init__(self, run: Run, pop: POP3) -> None:
        """Work over *pop*, which is logged in; the caller closes it."""
        self._run = run
        self._pop = pop
        self._retrieval = Retrieval(run, pop)
        self._date = run.clock.date()

    def work(self) -> bool:
        """Do what there is to do, up to a checkpoint; return whether another session is to follow.

        Raises `FetchError` for what no other session can mend, `CommandError` when the server refuses to list, and
        `ProtocolError` or ``OSError`` when the connection is lost.
        """
        run = self._run
        memory = run.memory
        if memory is not None and not run.options.dry_run:
            for sentence in run.destination.prepare(memory.digest, memory):
                run.warn(sentence)
        noted = None if memory is None else memory.maildrop()
        run.is_listing = True
        uids, sizes = self._unique_ids(sizes_too=noted is None)
        if noted is not None and noted == self._maildrop_mark(uids):
            run.report.seen = len(uids)
            self._quit([])
            return False
        listing = self._list(uids, sizes)
        run.is_listing = False
        seen = Seen() if memory is None else memory.seen()
        plan = self._plan(listing, seen)
        self._limit(plan)
        if memory is None or run.options.dry_run:
            self._say_what_would_be(plan, complete=listing.complete)
            self._quit([])
            return False
        self._update(memory, plan, seen, complete=listing.complete)
        run.expect(plan.fetch)
        deletions, items, more = self._portion(plan)
        receipts = self._deliver(items, memory)
        marked = self._delete(plan, deletions, receipts) if listing.complete else []
        if listing.complete and plan.seen == len(plan.listed) and not plan.unchecked and not items:
            mark = self._maildrop_mark(uids)
            if mark is not None:
                memory.note_maildrop(mark)
        self._quit(marked)
        return more and run.advanced

    # What the server has.

    def _unique_ids(self, *, sizes_too: bool) -> tuple[dict[int, str], dict[int, int] | None]:
        """Return the unique-ids, and the sizes where they come in the same round trip."""
        try:
            if sizes_too:
                return self._retrieval.listings()
            return self._pop.uids(), None
        except CommandError as error:
            if error.temporary:
                raise
            if error.command != "UIDL":
                return self._pop.uids(), None
            raise UidsUnknown(
                f"the server gives no unique-ids, so what is new cannot be told: {explained(error)}"
            ) from error

    def _maildrop_mark(self, uids: dict[int, str]) -> bytes | None:
        """Return what stands for the maildrop as it is now, None when something is to be deleted from it.

        Where it is what it was when nothing in it was new, nothing is: of 100,000 messages the listing of sizes and all
        comparing take longer than the unique-ids. The octets of STAT tell a unique-id that was used again.
        """
        if self._run.options.deletes or not uids:
            return None
        try:
            messages, octets = self._pop.stat()
        except ProtocolError:
            raise
        except error_proto:
            return None
        if messages != len(uids) or octets <= 0:  # which a server says that does not count them
            return None
        how = "headers" if self._run.options.headers_only else "whole"
        return sha256(f"{how} {octets}\n{chr(10).join(uids.values())}".encode("latin-1")).digest()

    def _list(self, uids: dict[int, str], sizes: dict[int, int] | None) -> Listing:
        """Return *uids* with *sizes*, or with those that the server lists when it is asked."""
        pop, run = self._pop, self._run
        try:
            sizes = pop.sizes() if sizes is None else sizes
        except CommandError as error:
            if error.temporary:
                raise
            run.warn(f"the server does not say how large messages are: {explained(error)}")
            return Listing(uids, {}, complete=pop.stat()[0] == len(uids))
        complete = uids.keys() == sizes.keys()
        if not complete:
            run.warn(
                f"the server lists {len(sizes)} messages with sizes and {len(uids)} with unique-ids, so one listing is "
                "not complete: nothing is deleted or forgotten in this session"
            )
        return Listing(uids, sizes, complete)

    def _plan(self, listing: Listing, seen: Seen) -> Plan:
        run, options = self._run, self._run.options
        plan = make_plan(listing, seen, options, self._date, failed=run.failed, deleted=run.deleted)
        # In a later session they are gone because they were deleted; and nobody changes them meanwhile.
        if not run.knows_maildrop and all_gone(plan, seen) and not options.accept_uid_change:
            found = self._retrieval.fingerprints(to_probe(listing))
            if uids_changed(found, seen, options, self._date):
                raise UidsChanged(len(seen), len(plan.listed))
        if plan.doubtful:
            found = self._retrieval.fingerprints([item.number for item in plan.doubtful])
            settle(plan, found, seen, options, self._date)
        if not listing.complete:
            plan.delete = []
        if not run.knows_maildrop:
            run.report.seen = plan.seen
        run.knows_maildrop = True
        self._warn(plan)
        return plan

    def _warn(self, plan: Plan) -> None:
        run = self._run
        for item, why in plan.kept:
            run.keep(item, why)
        if plan.unchecked:
            run.warn(
                f"{len(plan.unchecked)} messages have another size than before under the same unique-id, and the "
                "server does not show whether they are the same (TOP): they are neither fetched nor deleted"
            )
            if run.options.deletes:
                for item in plan.unchecked:
                    run.keep(item, "its size is not what it was, and the server does not show its header")
        if plan.nameless:
            run.warn(
                f"{plan.nameless} messages have no unique-id that lasts: they are fetched each time, and recognised at "
                "the destination by their content"
            )
        if plan.strangers:
            run.warn(
                f"{plan.strangers} messages were fetched by another program: they are not deleted, for nothing shows "
                "whether they were delivered"
            )

    def _limit(self, plan: Plan) -> None:
        report, limit = self._run.report, self._run.options.limit
        report.left = plan.too_large
        if limit is not None:
            most = max(0, limit - report.fetched - len(report.failures))
            report.left += len(plan.fetch[most:])
            del plan.fetch[most:]

    def _say_what_would_be(self, plan: Plan, *, complete: bool) -> None:
        self._run.report.to_fetch = [named(item) for item in plan.fetch]
        at_once = complete and self._run.options.old_enough(self._date, self._date)
        items = sorted([*plan.delete, *plan.fetch]) if at_once else plan.delete
        self._run.report.to_delete = [named(item) for item in safe_to_delete(plan, items)[0]]

    def _update(self, memory: AccountState, plan: Plan, seen: Seen, *, complete: bool) -> None:
        """Take note of what a complete listing says about what was remembered."""
        run = self._run
        if plan.sizes_changed:
            memory.update_sizes(plan.sizes_changed)
        if not complete:
            return
        if run.unsure:
            listed = {Identity(uid, place) for uid, count in Counter(plan.listed).items() for place in range(count)}
            run.report.deleted += len(run.unsure - listed)
            run.unsure.clear()
        if len(seen) > plan.seen:
            run.report.forgotten += memory.prune(listed_as(plan))

    def _portion(self, plan: Plan) -> tuple[list[Item], list[Item], bool]:
        """Return what to delete and what to fetch before the next checkpoint, and whether there is more behind it."""
        options = self._run.options
        may_delete = options.deletes and (bool(plan.delete) or options.old_enough(self._date, self._date))
        if not may_delete or self._run.login_delay > CHECKPOINT_DELAY_SECONDS:
            return plan.delete, plan.fetch, False
        messages = options.checkpoint_messages or len(plan.delete) + len(plan.fetch)
        deletions = plan.delete[:messages]
        octets = 0
        end = 0
        for item in plan.fetch[: messages - len(deletions)]:
            if octets and options.checkpoint_octets is not None and octets + item.size > options.checkpoint_octets:
                break
            octets += item.size
            end += 1
        return deletions, plan.fetch[:end], len(deletions) < len(plan.delete) or end < len(plan.fetch)

    # What is done about it.

    def _deliver(self, items: list[Item], memory: AccountState) -> list[Receipt]:
        """Fetch *items*; return the receipts of what is durable and remembered."""
        receipts: list[Receipt] = []
        if not items:
            return receipts
        writer = Writer(self._run.destination, memory, self._run.clock, inline=self._run.inline)
        try:
            with writer:
                self._retrieval.fetch(items, writer)
        finally:
            receipts = writer.receipts()
            self._run.take(receipts)
        if writer.failure is not None:
            raise writer.failure
        return receipts

    def _delete(self, plan: Plan, deletions: list[Item], receipts: list[Receipt]) -> list[Item]:
        """Mark what may be deleted; return what the server has marked."""
        run = self._run
        candidates = list(deletions)
        for item, entry in receipts:
            if not run.options.old_enough(entry.delivered_at, entry.delivered_at):
                continue
            if entry.octets < item.size:
                run.keep(item, too_short(entry.octets, item.size))
            else:
                candidates.append(item)
        safe, held = safe_to_delete(plan, candidates)
        for item in held:
            run.keep(item, COPY_IS_MISSING)
        if not safe:
            return []
        return self._mark(sorted(safe))

    def _mark(self, items: list[Item]) -> list[Item]:
        run = self._run
        refused: dict[int | None, CommandError] = {}

        def refuse(error: CommandError) -> None:
            refused[error.number] = error

        self._retrieval.mark([item.number for item in items], refuse)
        for item in items:
            if (error := refused.get(item.number)) is not None:
                run.keep(item, explained(error))
                run.deleted.add(item.identity)
            else:
                run.kept.pop(item.identity, None)
        return [item for item in items if item.number not in refused]

    def _quit(self, marked: list[Item]) -> None:
        """End the session, which is what deletes the *marked* messages."""
        run, pop = self._run, self._pop
        identities = {item.identity for item in marked}
        if not identities:
            self._quietly(pop.quit)
            return
        run.unsure |= identities
        # Quirk q128: some servers take minutes to remove what is marked. They have the time that the caller gave; the
        # next listing tells what became of it.
        if (error := self._quietly(pop.quit)) is not None:
            unknown = f"whether {len(identities)} messages were deleted is not known until the next listing"
            run.warn(f"{unknown}: {explained(error)}")
            return
        run.unsure -= identities
        run.deleted |= identities
        run.report.deleted += len(identities)
        run.advanced = True

    def _quietly(self, command: Callable[[], object]) -> Exception | None:
        """Return why *command* failed, if it did: it is the last one, and all else is done."""
        try:
            command()
        except (error_proto, OSError) as error:
            return error
        return None
