"""Delivering: from what is to be fetched to receipts for what is durable and remembered.

Owns that nothing is remembered before the replies are known to belong to their commands. Where that is in doubt, it
takes back what was delivered unless its size shows it to be right, and has the messages fetched in smaller groups until
the one is found that forged a reply. Never deletes, and decides nothing about what is to be fetched.
"""

from pop3fast import ProtocolError
from pop3fast._replies import printable
from pop3fast.fetch._errors import MessageRefused, explained
from pop3fast.fetch._identity import Identity, is_lasting
from pop3fast.fetch._listing import Lister
from pop3fast.fetch._plan import REFUSED_MARK, Item
from pop3fast.fetch._portions import groups_of, is_slow
from pop3fast.fetch._receipts import Receipt
from pop3fast.fetch._retrieval import Retrieval
from pop3fast.fetch._run import Run
from pop3fast.fetch._sizes import Trust
from pop3fast.fetch._writer import Writer
from pop3fast.fetch.destinations._destination import Announced
from pop3fast.fetch.memory._state import AccountState

MOST_TOO_MANY = 16
"""By so many replies a conversation may be out of step: a size that none of so many messages before has shows that it
is not."""

SUSPECTS = 16
"""When an unknown message has forged a reply, so many messages are fetched at a time until it is found."""

EXCHANGED = "one message came longer than the server lists it and one shorter: their replies may have been exchanged"
"""Each reply comes then, so nothing is missing or left over: of the messages behind each other the sizes are in another
order, and wherever one is too long another is too short."""


class Deliverer:
    """Delivers in one session."""

    def __init__(self, run: Run, retrieval: Retrieval, lister: Lister) -> None:
        """Deliver what *retrieval* fetches; *lister* shows that the conversation is in step."""
        self._run = run
        self._retrieval = retrieval
        self._lister = lister

    def deliver(self, items: list[Item], memory: AccountState, listed: int) -> list[Receipt]:
        """Fetch *items*; return the receipts of what is durable and remembered. The server *listed* so many.

        Raises `ProtocolError` or ``OSError`` when the connection is lost, and what made the destination or *memory*
        fail. What has a receipt by then is counted in the report.
        """
        run = self._run
        receipts: list[Receipt] = []
        try:
            for group in groups_of(items, run.group, slow=is_slow(run.destination)):
                receipts += self._deliver_group(group, memory, listed)
        finally:
            if items:
                memory.note_sizes(run.sizes.words())
        return receipts

    def _deliver_group(self, items: list[Item], memory: AccountState, listed: int) -> list[Receipt]:
        run = self._run
        receipts: list[Receipt] = []
        if isinstance(run.destination, Announced):
            run.destination.announce({item.identity: (item.number, item.size) for item in items})
        writer = Writer(run.destination, memory, run.clock, inline=run.inline)
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
            self._note_rejections(writer, memory)
        if writer.failure is not None:
            raise writer.failure
        return receipts

    def _take_back_unshown(self, items: list[Item], receipts: list[Receipt], memory: AccountState) -> list[Receipt]:
        """Return those *receipts* of a conversation out of step that a size shows to be right; forget the others.

        Where a reply was one too many, each message behind it is the one before. They come again.
        """
        sizes = [item.size for item in items]
        place = {item: number for number, item in enumerate(items)}
        shown = -1
        for item, entry in receipts:
            number = place[item]
            as_listed = entry.octets == item.size or self._run.sizes.trust is Trust.WITHOUT_CR
            if as_listed and item.size and item.size not in sizes[max(0, number - MOST_TOO_MANY) : number]:
                shown = max(shown, number)
        unshown = [entry for item, entry in receipts if place[item] > shown]
        if unshown:
            memory.forget(unshown)
        return [each for each in receipts if place[each.item] <= shown]

    def _note_rejections(self, writer: Writer, memory: AccountState) -> None:
        """Name what the destination did not take, and remember what it will never take."""
        run = self._run
        refused: list[tuple[Identity, int]] = []
        for item, error in writer.rejections():
            run.give_up(item, printable(str(error)))
            uid, occurrence = item.identity
            # A message without a name that lasts is refused in each session.
            if isinstance(error, MessageRefused) and is_lasting(uid) and not writer.is_doubted:
                refused.append((Identity(REFUSED_MARK + uid, occurrence), item.size))
        if refused:
            memory.note_refused(refused)

    def _retrieve(self, items: list[Item], writer: Writer, listed: int) -> None:
        """Hand *items* to *writer*; ask once more for those that come too short.

        A message that is too short may have forged a reply, and then every message after it is the wrong one. So
        fetching stops at it, and goes on only when the conversation is shown to be in step.
        """
        rest = items
        self._retrieval.odd = self._retrieval.longer = False
        while rest:
            short = self._retrieval.fetch(rest, writer)
            if short is None:
                break
            try:
                self._lister.check_step(listed)
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
            self._lister.check_step(listed)
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
