"""Delivering: from what is to be fetched to receipts for what is durable and remembered.

Owns that nothing is remembered before the replies are known to belong to their commands. Where that is in doubt, it
takes back what was delivered unless its size shows it to be right, and has the messages fetched in smaller groups until
the one is found that forged a reply. Never deletes, and decides nothing about what is to be fetched.
"""

from collections.abc import Mapping

from pop3fast import ProtocolError
from pop3fast._replies import printable
from pop3fast.fetch._dropping import Dropping
from pop3fast.fetch._errors import MessageError, MessageRefused, explained
from pop3fast.fetch._filtering import FilteredOut, Filtering, Verdict
from pop3fast.fetch._identity import Identity, is_lasting
from pop3fast.fetch._inquiry import Inquiry
from pop3fast.fetch._listing import Lister
from pop3fast.fetch._plan import REFUSED_MARK, SKIPPED_MARK, Item
from pop3fast.fetch._portions import groups_of, is_slow
from pop3fast.fetch._receipts import Receipt, Rejection
from pop3fast.fetch._retrieval import Retrieval
from pop3fast.fetch._run import Run
from pop3fast.fetch._sizes import Trust
from pop3fast.fetch._writer import NUDGE_SECONDS, Writer
from pop3fast.fetch.destinations._destination import Announced, Taker
from pop3fast.fetch.destinations._outgoing import Content
from pop3fast.fetch.memory._account_state import AccountState
from pop3fast.fetch.memory._fingerprint import HEADER_OCTETS, fingerprint

MOST_TOO_MANY = 16
"""A conversation may be out of step by so many replies at most. A message whose size none of so many
messages before it has shows that it is not."""

SUSPECTS = 16
"""When an unknown message has forged a reply, so many messages are fetched at a time until it is found."""

EXCHANGED = "one message came longer than the server lists it and one shorter: their replies may have been exchanged"
"""Both replies come then, and nothing is missing or left over. Only the sizes are in another order: where one message
is too long, another is too short."""


class Deliverer:
    """Delivers in one session."""

    def __init__(self, run: Run, inquiry: Inquiry, retrieval: Retrieval, lister: Lister) -> None:
        """Deliver what *retrieval* fetches; *lister* keeps the session alive meanwhile."""
        self._run = run
        self._inquiry = inquiry
        self._retrieval = retrieval
        self._lister = lister
        self._judged: set[Identity] = set()
        self.unwanted: list[Item] = []
        """What the filter says is to be deleted. Whoever deletes it has a conversation in step, or it is none."""

    def deliver(self, items: list[Item], memory: AccountState, uids: Mapping[int, str]) -> list[Receipt]:
        """Fetch *items*; return the receipts of what is durable and remembered. The server lists *uids*.

        Raises `ProtocolError` or ``OSError`` when the connection is lost, and what made the destination or *memory*
        fail. What has a receipt by then is counted in the report.
        """
        run = self._run
        receipts: list[Receipt] = []
        try:
            with self._retrieval.shared(items, uids):
                for group in groups_of(items, run.group, slow=self._is_slow()):
                    receipts += self._deliver_group(group, memory, len(uids))
        finally:
            if items:
                memory.note_sizes(run.sizes.words())
        return receipts

    def sift(self, items: list[Item], memory: AccountState, listed: int) -> list[Item]:
        """Return what of *items* is to be fetched, after the filter has seen their headers, if it is to.

        Raises what `deliver` does, and `DestinationError` when the filter cannot be run.
        """
        run = self._run
        if run.filter is None or not run.options.filter_headers:
            return items
        wanted: list[Item] = []
        for group in groups_of(items, None, slow=True):
            headers = self._inquiry.headers([item.number for item in group])
            # Only then are these the headers of these messages.
            self._retrieval.check_step(listed)
            rejections: list[Rejection] = []
            nudged = run.clock.now()
            for item in group:
                if (header := headers.get(item.number)) is not None and (error := self._judge(item, header, memory)):
                    rejections.append(Rejection(item, error, fingerprint(header)))
                    continue
                wanted.append(item)
                if run.clock.now() - nudged >= NUDGE_SECONDS:
                    self._lister.nudge()
                    nudged = run.clock.now()
                run.stop.check()
            self._note_rejections(rejections, memory, doubted=False)
        return wanted

    def _judge(self, item: Item, header: bytes, memory: AccountState) -> MessageError | None:
        """Return what the filter says against a message, of which it need not see more than the *header*."""
        content = Content(HEADER_OCTETS)
        content.append(header)
        try:
            if self._run.filter is not None:
                self._run.filter.judge(memory.digest, item.identity, content)
        except MessageError as error:
            return error
        finally:
            content.close()
        self._judged.add(item.identity)
        return None

    def _is_slow(self) -> bool:
        return is_slow(self._run.destination) or self._run.filter is not None

    def _deliver_group(self, items: list[Item], memory: AccountState, listed: int) -> list[Receipt]:
        run = self._run
        receipts: list[Receipt] = []
        if isinstance(run.destination, Announced):
            run.destination.announce({item.identity: (item.number, item.size) for item in items})
        to: Taker = run.destination
        if run.options.drop_status:
            to = Dropping(to)
        if run.filter is not None:
            to = Filtering(to, run.filter, memory.digest, self._judged)
        writer = Writer(to, memory, run.clock, inline=run.inline)
        try:
            with writer:
                try:
                    self._retrieve(items, writer, listed)
                except ProtocolError as error:
                    self._doubt(error, items, writer)
                    raise
                # Quirk q46: a server ends a session in which it hears nothing, while a slow destination works.
                writer.finish(self._lister.nudge)
                # After the word to stop the destination was not waited for.
                run.stop.check()
        finally:
            receipts = writer.receipts()
            if writer.is_doubted:
                receipts = self._take_back_unshown(items, receipts, memory)
            run.take(receipts)
            self._note_rejections(writer.rejections(), memory, doubted=writer.is_doubted)
        if writer.failure is not None:
            raise writer.failure
        return receipts

    def _take_back_unshown(self, items: list[Item], receipts: list[Receipt], memory: AccountState) -> list[Receipt]:
        """Return those *receipts* of a conversation out of step that a size shows to be right; forget the others.

        Where a reply was one too many, each message behind it is the one before. They come again.
        """
        entries = dict(receipts)
        shown: set[Item] = set()
        for order in self._retrieval.orders(items):
            end = 0
            sizes = [item.size for item in order]
            for number, item in enumerate(order):
                entry = entries.get(item)
                as_listed = entry is not None and (
                    entry.octets == item.size or self._run.sizes.trust is Trust.WITHOUT_CR
                )
                if as_listed and item.size and item.size not in sizes[max(0, number - MOST_TOO_MANY) : number]:
                    end = number + 1
            shown.update(order[:end])
        if unshown := [entry for item, entry in receipts if item not in shown]:
            # What is right comes again as it is, and was delivered.
            memory.note_taken_back(unshown)
            memory.forget(unshown)
        return [each for each in receipts if each.item in shown]

    def _note_rejections(self, rejections: list[Rejection], memory: AccountState, *, doubted: bool) -> None:
        """Name what was not taken, and remember what never will be; not where it may be about other messages."""
        run = self._run
        refused: list[tuple[Identity, int, bytes]] = []
        for item, error, known in rejections:
            uid, occurrence = item.identity
            mark = b""
            if isinstance(error, FilteredOut):
                if not doubted:
                    mark = self._filtered_out(item, error.verdict)
            else:
                run.give_up(item, printable(str(error)))
                if isinstance(error, MessageRefused) and not doubted:
                    mark = REFUSED_MARK
            # A message without a name that lasts is refused in each session.
            if mark and is_lasting(uid):
                refused.append((Identity(mark + uid, occurrence), item.size, known))
        if refused:
            memory.note_refused(refused)

    def _filtered_out(self, item: Item, verdict: Verdict) -> bytes:
        """Do as the filter says; return the mark by which that is remembered, if it is."""
        run = self._run
        if verdict is Verdict.DELETE:
            run.take_in(item)
            self.unwanted.append(item)
            return b""
        if verdict is Verdict.LEAVE:
            run.leave_out(item, "the filter leaves it")
            return b""
        run.take_in(item)
        run.leave_out(item)
        run.report.skipped += 1
        return SKIPPED_MARK

    def _retrieve(self, items: list[Item], writer: Writer, listed: int) -> None:
        """Hand *items* to *writer*; ask once more for those that come too short.

        A message that is too short may have forged a reply, and then every message after it is the wrong one. So
        fetching stops at it, and goes on only when the conversation is shown to be in step.
        """
        rest = items
        self._retrieval.begin()
        while rest:
            short = self._retrieval.fetch(rest, writer)
            if short is None:
                break
            try:
                self._retrieval.check_step(listed)
            except ProtocolError as error:
                self._run.broke(short.item, explained(error))
                raise
            if self._retrieval.longer:
                raise ProtocolError(EXCHANGED)
            again = self._retrieval.fetch([short.item], writer, before=short)
            if again is not None:
                self._run.give_up(again.item, again.why)
            rest = rest[rest.index(short.item) + 1 :]
        try:
            self._retrieval.check_step(listed)
        except ProtocolError:
            # Equal sizes show nothing: an extra reply makes each message the one before it.
            self._retrieval.odd = True
            raise

    def _doubt(self, error: ProtocolError, items: list[Item], writer: Writer) -> None:
        """Take none of *items* for delivered that is not remembered, unless the line merely dropped.

        One of them may have forged a reply, and then every message after it is the wrong one. They are fetched in
        smaller groups until it shows which one it was.
        """
        if not self._retrieval.is_doubtful(error):
            return
        run = self._run
        writer.doubt()
        if len(items) == 1:
            run.broke(items[0], explained(error))
        run.group = 1 if run.group == SUSPECTS else SUSPECTS
