"""Deleting: from what may be deleted to what the server has deleted.

Owns three rules. DELE is sent only for a message that was read back at its destination and is whole, and only when
every other message with the same unique-id was, too. What may be gone is marked in the state before QUIT is sent. The
reply to QUIT decides what counts as deleted.
"""

import contextlib

from pop3fast import POP3, CommandError, ConnectionLost
from pop3fast.fetch._errors import explained
from pop3fast.fetch._further import quit_soon
from pop3fast.fetch._identity import Entry, Identity, ReadBack, is_lasting
from pop3fast.fetch._inquiry import Inquiry
from pop3fast.fetch._plan import Item, Plan, safe_to_delete
from pop3fast.fetch._receipts import Receipt
from pop3fast.fetch._run import Run
from pop3fast.fetch._sizes import Trust, kept_as_short
from pop3fast.fetch.memory._account_state import AccountState

COPY_IS_MISSING = "another message with the same unique-id is not delivered yet"

STILL_LISTED = "the server said that it deleted messages like it, without a unique-id, and lists as many still"

DAMAGED = "what is at its destination is not what was received: it counts as not delivered, and is fetched again"


class Deleter:
    """Deletes in one session."""

    def __init__(self, run: Run, pop: POP3, inquiry: Inquiry) -> None:
        """Delete over *pop*."""
        self._run = run
        self._pop = pop
        self._inquiry = inquiry
        self._unwanted: set[Identity] = set()

    def delete(
        self, plan: Plan, deletions: list[Item], receipts: list[Receipt], memory: AccountState, unwanted: list[Item]
    ) -> list[Receipt]:
        """Mark what may be deleted; return what the server has marked.

        *deletions* were delivered in earlier sessions, *receipts* are of this one, and *unwanted* is what the filter
        says nobody wants. Raises `DestinationError` when what was delivered cannot be read, and `ProtocolError` or
        ``OSError`` when the connection is lost.
        """
        run = self._run
        fresh = [each for each in receipts if run.options.old_enough(each.entry.delivered_at, each.entry.delivered_at)]
        kept = {item.number: item for item, entry in fresh if _is_kept(entry, memory)}
        for item in kept.values():
            run.keep(item, STILL_LISTED)
        fresh = [each for each in fresh if each.item.number not in kept]
        entries = memory.entries([item.identity for item in deletions])
        earlier = [Receipt(item, entries[item.identity]) for item in deletions if item.identity in entries]
        whole = self._whole(earlier, memory, fresh=False) + self._whole(fresh, memory, fresh=True)
        self._unwanted = {item.identity for item in unwanted}
        # Nothing is remembered of them: if they are still listed, the filter is asked again.
        whole += [Receipt(item, Entry(*item.identity, item.size, 0, b"", 0, b"")) for item in unwanted]
        safe, held = safe_to_delete(plan, [each.item for each in whole])
        for item in held:
            run.keep(item, COPY_IS_MISSING)
        marked = {*self._mark(sorted(safe))} if safe else set()
        # What was tried is not tried again, and others may have waited for it.
        run.settle_deletions(item.identity for item in deletions if item not in marked and item not in held)
        for item in unwanted:
            run.leave_out(item)
        return [each for each in whole if each.item in marked]

    def quit(self, marked: list[Receipt], memory: AccountState | None, nameless: int) -> None:
        """End the session, which is what deletes the *marked* messages. *nameless* ones are listed in it.

        Raises `ProtocolError` when what comes is no reply: then nobody knows what the replies before it were.
        """
        if not marked or memory is None:
            # Nothing depends on the answer; the connection is closed either way.
            with contextlib.suppress(ConnectionLost, CommandError, OSError):
                quit_soon(self._pop)
            return
        run = self._run
        identities = {item.identity for item, _ in marked}
        entries = [entry for _, entry in marked]
        run.unsure |= identities
        memory.note_marked(entries, nameless)
        # Quirk q128: some servers take minutes to remove what is marked. They have the time that the caller gave; the
        # next listing tells what became of it.
        if (error := self._quit()) is not None:
            unknown = f"whether {len(identities)} messages were deleted is not known until the next listing"
            run.warn(f"{unknown}: {explained(error)}")
        else:
            memory.note_deleted(entries)
            run.unsure -= identities
            run.report.deleted += len(identities)
            run.report.discarded += len(identities & self._unwanted)
        # Either way this run does not insist on them, and goes on with the others.
        run.settle_deletions(identities)

    def _quit(self) -> Exception | None:
        """Return why nobody knows how the session ended; None when it is known."""
        try:
            self._pop.quit()
        except (ConnectionLost, CommandError, OSError) as error:
            return error
        return None

    def _whole(self, receipts: list[Receipt], memory: AccountState, *, fresh: bool) -> list[Receipt]:
        """Return those of *receipts* whose messages came whole and are whole at the destination."""
        run = self._run
        short = [each for each in receipts if each.entry.octets < each.item.size]
        if short and run.sizes.trust is Trust.ESTIMATES:
            self._say_that_sizes_are_estimates(memory)
            short = []
        for item, entry in short:
            run.keep(item, kept_as_short(entry.octets, item.size))
        kept = {item for item, _ in short}
        whole = [each for each in receipts if each.item not in kept]
        found = run.destination.read_back([entry for _, entry in whole], fresh=fresh) if whole else []
        damaged = [each for each, there in zip(whole, found, strict=True) if there is ReadBack.DIFFERS]
        if damaged:
            memory.forget([entry for _, entry in damaged])
            for each in damaged:
                run.not_delivered(each, DAMAGED, fresh=fresh)
        return [each for each, there in zip(whole, found, strict=True) if there is not ReadBack.DIFFERS]

    def _say_that_sizes_are_estimates(self, memory: AccountState) -> None:
        sizes = self._run.sizes
        if not sizes.told and sizes.by_hand is None:
            sizes.told = True
            memory.note_sizes(sizes.words())
            self._run.warn(
                "the sizes that the server lists are estimates: messages that come shorter are deleted as well "
                "(--trust-sizes keeps them)"
            )

    def _mark(self, items: list[Item]) -> list[Item]:
        run = self._run
        refused: dict[int | None, CommandError] = {}

        def refuse(error: CommandError) -> None:
            refused[error.number] = error

        self._inquiry.mark([item.number for item in items], refuse)
        for item in items:
            if (error := refused.get(item.number)) is not None:
                run.keep(item, explained(error))
                run.settle_deletions([item.identity])  # and others may have waited for it
            else:
                run.kept.pop(item.identity, None)
        return [item for item in items if item.number not in refused]


def _is_kept(entry: Entry, memory: AccountState) -> bool:
    """Return whether *entry* counts as a message that the server keeps, whatever it says."""
    return not is_lasting(entry.uid) and memory.has_kept(entry.content)
