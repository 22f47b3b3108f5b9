"""Faults to be planted in the code, to see whether the simulation finds them.

Owns a list of the faults that were once in it, or well might have been, each as the line that was mended and the one
that was, or would be, there instead. A line that is no longer there is an error: then the fault has to be told anew.
"""

import contextlib
import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple
from unittest import mock

from .far import IMAP, LMTP, PIPE
from .own import OWN
from .strangers import FILES_OF_OTHERS
from .world import BY_BATCH, SEVERAL, TAKEOVERS, TURNS


class Planted(NamedTuple):
    """One fault."""

    name: str
    module: str
    """In which module of ``pop3fast.fetch``."""
    function: str
    right: str
    wrong: str
    seed: int
    """Which story is played first to find it."""
    needs: frozenset[str] = frozenset()
    """The features of the world without which it does not show."""


FAULTS = (
    Planted(
        "a message that is not taken is not named",
        "_delivering",
        "Deliverer._note_rejections",
        "run.give_up(item, printable(str(error)))",
        "run.failed.add(item.identity)",
        4,
        frozenset({OWN}),
    ),
    Planted(
        "what was refused before is left in silence",
        "_plan",
        "_Maker._add_new",
        "plan.refused.append((item, REFUSED_BEFORE))",
        "pass",
        25,
        frozenset({OWN}),
    ),
    Planted(
        "a flush takes away the message that is under way",
        "destinations._mbox",
        "Mbox._clear",
        "used.discard(self._delivery.spool)",
        "pass",
        109,
        frozenset({"delays", "cuts", "small limits"}),
    ),
    Planted(
        "what is deleted is not read back",
        "_deleting",
        "Deleter._whole",
        "found = run.destination.read_back([entry for _, entry in whole], fresh=fresh) if whole else []",
        "found = [ReadBack.WHOLE] * len(whole)",
        24,
        frozenset({"damage"}),
    ),
    Planted(
        "a unique-id that is used again stands for the message before",
        "_plan",
        "_Maker._is_doubtful",
        "if not flags:",
        "if flags is not None:",
        87,
        frozenset({"unique-ids again", "identical sizes"}),
    ),
    Planted(
        "one listing without a message makes it forgotten",
        "memory._account_state",
        "AccountState.forget_missing",
        "oldest = self._time() - days * DAY_SECONDS",
        "oldest = self._time() + 1",
        26,
        frozenset({"listings that are empty", "windows"}),
    ),
    Planted(
        "a message that came short is whole",
        "_sizes",
        "Sizes.is_short",
        "return octets - (line_ends if trust is Trust.WITHOUT_CR else 0) < listed",
        "return False",
        71,
        frozenset({"short messages"}),
    ),
    Planted(
        "what is new is skipped where the newest is listed first",
        "_plan",
        "_Maker.__init__",
        "self._counts_position = options.since_last and not known.left",
        "self._counts_position = options.since_last",
        5,
        frozenset({"since last", "newest first"}),
    ),
    Planted(
        "the clock is believed whatever it says",
        "memory._age",
        "Age.at",
        "return self._replace(doubted=date)",
        "return Age(date, date)",
        49,
        frozenset({"clock of 1970"}),
    ),
    Planted(
        "of messages that are alike and have no unique-ids one is taken for all",
        "_identity",
        "Copies.take",
        "return copy",
        "return 0",
        324,
        frozenset({"alike", "unique-ids missing"}),
    ),
    Planted(
        "sizes are as large as a server likes",
        "_plan",
        "_Maker.add",
        "size = min(size, MOST_OCTETS)",
        "pass",
        1,
        frozenset({"huge sizes"}),
    ),
    Planted(
        "the largest size is what a server says, and not what comes",
        "_retrieval",
        "Retrieval._is_too_large",
        "return most is not None and octets > most",
        "return False",
        10,
        frozenset({"largest size"}),
    ),
    Planted(
        "the octets of a message are not synced",
        "destinations._sync",
        "GroupSync._sync",
        "self._files.sync(file)",
        "pass",
        4,
    ),
    Planted(
        "the names of messages are not synced",
        "destinations._folder",
        "FolderDestination.flush",
        "self._looked_up().sync({message.spot for message in published})",
        "pass",
        4,
    ),
    Planted(
        "an mbox is not synced",
        "destinations._mbox",
        "Mbox._make_durable",
        "self.files.sync(file)",
        "pass",
        1,
    ),
    Planted(
        "what could not be delivered has a receipt",
        "_receipts",
        "Deliveries.finish",
        "self.abandon()",
        "self.end()",
        32,
        frozenset({"hang-ups", "cuts", "small limits"}),
    ),
    Planted(
        "a message is deleted however short it came",
        "_deleting",
        "Deleter._whole",
        "short = [each for each in receipts if each.entry.octets < each.item.size]",
        "short = []",
        152,
        frozenset({"short messages"}),
    ),
    Planted(
        "a message in an mbox is where it was appended, or nowhere",
        "destinations._mbox_journal",
        "_search",
        "find(files, file, {mark_of(message.head) for message in intent.messages}, alike=alike)",
        "()",
        120,
        frozenset({"kills", "programs"}),
    ),
    Planted(
        "what is alike to a deleted message is that message",
        "memory._account_state",
        "AccountState.has_kept",
        "return deleted >= PATIENCE_WITH_DELETIONS",
        "return deleted > 0",
        280,
        frozenset({"alike", "unlasting unique-ids"}),
    ),
    Planted(
        "names do not sort into the order of delivery",
        "destinations._folder_index",
        "Stamps.take",
        "max(self._last + 1, self._now())",
        "self._now()",
        4,
    ),
    Planted(
        "an mbox under another path is another mbox",
        "destinations._mbox",
        "Mbox._settle_all",
        "if not is_about(intent, self.files, file, self.path, self._opened()):",
        "if intent.path != self.path:",
        2,
        frozenset({"shared mbox"}),
    ),
    Planted(
        "what another account has begun in an mbox is not settled before something is appended",
        "memory._account_state",
        "AccountState.intents",
        "return intents.load(self._database)",
        "mine = self._database.execute('SELECT id FROM intent WHERE account = ?', (self._id,)).fetchall(); "
        "return [each for each in intents.load(self._database) if (each.key,) in mine]",
        2,
        frozenset({"shared mbox"}),
    ),
    Planted(
        "a conversation is in step whatever comes",
        "_step",
        "check_step",
        "if pop.stat()[0] == messages:",
        "if messages:",
        10,
        frozenset({"out of step", "late replies", "identical sizes"}),
    ),
    Planted(
        "an mbox of others is used",
        "destinations._mbox_lock",
        "MboxLock._check",
        "if objection := objection_to(self._path, status, self._files.stat(self._folder)):",
        "if objection := '':",
        2,
        frozenset({FILES_OF_OTHERS}),
    ),
    Planted(
        "a state that others may write to is used",
        "memory._state_files",
        "_check",
        "if objection := objection_to(path, status, folder):",
        "if objection := '':",
        0,
        frozenset({FILES_OF_OTHERS}),
    ),
    Planted(
        "a program that says not now has delivered",
        "destinations._pipe",
        "Pipe.deliver",
        "if ended.status:",
        "if ended.status in REFUSALS:",
        2,
        frozenset({PIPE, "in use"}),
    ),
    Planted(
        "what a program has is not kept as done at once",
        "destinations._at_once",
        "AtOnce._deliver",
        "attempts.note_handled(entry, remembered)",
        "pass",
        1,
        frozenset({PIPE, "kills"}),
    ),
    Planted(
        "an answer that is lost is a good one",
        "destinations._lmtp",
        "Lmtp.deliver_before",
        "if not served.missing:",
        "if why or not served.missing:",
        1,
        frozenset({LMTP, "hang-ups"}),
    ),
    Planted(
        "a message whose fate is doubtful is appended without a look",
        "destinations._imap",
        "Imap.settle",
        "if before and (uid, entry.content) not in self._noted:",
        "if False:",
        0,
        frozenset({IMAP, "hang-ups"}),
    ),
    Planted(
        "that a message is going to be appended is not remembered",
        "destinations._imap",
        "Imap._note_attempts",
        "self._attempts.note_attempt(entry.kept().uid, entry.content, attempt, durable=is_last)",
        "pass",
        0,
        frozenset({IMAP, "hang-ups"}),
    ),
    Planted(
        "a further session has the numbers of the first",
        "_further",
        "FurtherSession.__init__",
        "self._numbers[item.identity] = number",
        "self._numbers[item.identity] = item.number",
        109,
        frozenset({SEVERAL}),
    ),
    Planted(
        "of several sessions a message is handed on when it comes, and not at its turn",
        "_sharing",
        "Sharing.take",
        "coming = self._coming.get(self._turn)",
        "self._turn = min(self._coming, default=self._turn); coming = self._coming.get(self._turn)",
        3,
        frozenset({SEVERAL}),
    ),
    Planted(
        "what a lost session was at is forgotten",
        "_sharing",
        "Sharing.give_back",
        "self._for_first = deque(sorted([*self._for_first, place]))",
        "self._turn += place == self._turn",
        3,
        frozenset({SEVERAL, "hang-ups"}),
    ),
    Planted(
        "a file system is not synced",
        "destinations._sync",
        "GroupSync._sync_batch",
        "self._files.sync_whole(folder)",
        "pass",
        4,
        frozenset({BY_BATCH, "power cuts"}),
    ),
    Planted(
        "what a sync of the file system could not write is durable",
        "destinations._sync",
        "GroupSync._sync_batch",
        "self._sync_side_by_side(group)",
        "[self._close(written, written.file) for written in group if written.file is not None]",
        463,
        frozenset({BY_BATCH, "broken promises of sync", "disk errors", "power cuts"}),
    ),
)

SHARED_FAULTS = (
    Planted(
        "a worker whose account was taken over goes on",
        "memory._postgres",
        "LeasedAccountState._keep",
        "return mine.rowcount == 1",
        "return True",
        0,
        frozenset({TAKEOVERS}),
    ),
    Planted(
        "a worker of a fleet whose account was taken over goes on",
        "memory._postgres",
        "ClaimedAccountState._keep",
        "return database.execute(query, (self._id, self._token)).fetchone() is not None",
        "return True",
        0,
        frozenset({TAKEOVERS, TURNS}),
    ),
    Planted(
        "a worker that wakes up delivers what it had at hand",
        "destinations._at_once",
        "AtOnce._deliver",
        "attempts.check_lease()",
        "pass",
        0,
        frozenset({TAKEOVERS, PIPE}),
    ),
)
"""Those of a state in PostgreSQL."""


@contextlib.contextmanager
def planted(fault: Planted) -> Iterator[None]:
    """Have *fault* in the code.

    Raises `ValueError` when the line that it stands for is not there, or when what is planted names what is not there:
    then it is another fault.
    """
    module = import_module(f"pop3fast.fetch.{fault.module}")
    *owners, name = fault.function.split(".")
    owner = getattr(module, owners[0]) if owners else module
    source = textwrap.dedent(inspect.getsource(vars(owner)[name]))
    if source.count(fault.right) != 1:
        raise ValueError(f"{fault.function} has no one line any more that {fault.name!r} could be planted in")
    made: dict[str, object] = {}
    # In the module's own names, so that all that the function knows it still knows.
    code = compile(source.replace(fault.right, fault.wrong), f"<planted in {fault.module}>", "exec")
    names = dict(vars(module))
    exec(code, names, made)  # noqa: S102 - it is the project's own source
    faulty: Any = made[name]
    unknown: list[str] = []

    def watched(*args: object, **kwargs: object) -> object:
        try:
            return faulty(*args, **kwargs)
        except (NameError, AttributeError) as error:
            unknown.append(str(error))
            raise

    with mock.patch.object(owner, name, watched):
        try:
            yield
        finally:
            if unknown:
                raise ValueError(f"what is planted for {fault.name!r} makes no sense any more: {unknown[0]}")
