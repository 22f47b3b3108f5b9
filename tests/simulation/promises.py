"""The promises of fetching, each as an invariant: what `docs/guarantees.md` says, sentence by sentence.

Owns what may be and what may not, judged by what the senders, the servers and the disks know, and never by what the
fetch says of itself. `Broken` says which promise was not kept, and of which message.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from pop3fast import error_proto
from pop3fast.fetch import FetchError, FetchReport, Options, StateError
from pop3fast.fetch._deleting import STILL_LISTED
from pop3fast.fetch._identity import is_lasting
from pop3fast.fetch.memory._seen import PATIENCE_WITH_DELETIONS

from .far import IMAP
from .mails import Mail
from .own import OneByOne, OwnPlace
from .places import Place
from .server import Dialogue, Maildrop
from .world import DAY, Broken, World

HOUR = 3600.0

ENOUGH_WHOLE = 8
"""So many messages that came as they are listed, for each that did not, show that it did not come whole."""

MAILDIR_NAME = re.compile(r"[0-9A-Za-z._-]+(?::2,[A-Z]*|\.eml)?")
"""What the name of a message may consist of: nothing of a unique-id, which may be ``../../x``."""

NOT_PLAIN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What would move a terminal's cursor, or worse."""


class Promises:
    """What is checked, after each session and at each deletion."""

    def __init__(self, world: World, homes: "dict[str, Place]", drops: list[Maildrop]) -> None:
        self._world = world
        self._homes = homes
        self._drops = drops
        self.options = Options()
        """Those of the fetch under way."""

    def place(self, drop: Maildrop) -> Place:
        """Return where the messages of a maildrop go to."""
        return self._homes[drop.name]

    # "Only then is it remembered, and only then may it be deleted."

    def deleted(self, drop: Maildrop, marked: list[Mail]) -> None:
        """Check that what the server deletes now is whole at its destination, durably, or was taken from there."""
        if not marked:
            return
        place = self.place(drop)
        self.note_delivered(drop)
        there = place.texts()
        durable = place.texts(durable=True)
        for mail in marked:
            if mail.may_miss or (mail.damaged and mail.gone):
                continue
            alike = [each for each in marked if each.text == mail.text and not each.may_miss]
            gone = _told_apart(place, [*self._gone(place, mail.text), *alike])
            for texts, how in ((there, ""), (durable, " durably")):
                if texts[mail.text] + place.taken[mail.text] < gone:
                    self._world.fail(f"{mail} is deleted from the server, and is not{how} whole at {place.words}")
            self._check_age(mail)

    def _gone(self, place: Place, text: bytes) -> list[Mail]:
        """Return the messages with this text that a fetch has deleted from the servers."""
        mails = [mail for mail in self.mails_at(place) if mail.text == text]
        return [mail for mail in mails if mail.gone == "fetch" and not (mail.may_miss or mail.damaged)]

    def _check_age(self, mail: Mail) -> None:
        days = self.options.delete_after
        if not self.options.deletes:
            self._world.fail(f"{mail} is deleted, and nobody asked for it")
        if days is None:
            return
        since = mail.delivered_at
        now = self._world.clock.true_date()
        if since is None or now - since < days * DAY - HOUR:
            age = "0" if since is None else f"{(now - since) / DAY:.2f}"
            self._world.fail(f"{mail} is deleted {age} days after it was delivered, and {days} were asked for")

    def note_delivered(self, drop: Maildrop) -> None:
        """Note which messages are at their destination."""
        place = self.place(drop)
        texts = place.texts() + place.taken
        for mail in drop.ever:
            if mail.delivered_at is None and texts[mail.text]:
                mail.delivered_at = self._world.clock.true_date()

    # "Every message arrives once, whatever happens."

    def once(self) -> None:
        """Check that nothing is anywhere twice, and that nothing of others is touched."""
        for place in self._places():
            texts = place.texts() + place.taken
            for text, count in texts.items():
                mails = [mail for mail in self.mails_at(place) if mail.text == text]
                if not mails or any(mail.may_repeat or mail.damaged for mail in mails):
                    continue
                if count > len(mails) + sum(map(_may_come_more, mails)) + place.doubtful[text]:
                    raise Broken(f"{mails[0]} is {count} times at {place.words}, and was sent {len(mails)} times")
            self._check_others(place)

    def _check_others(self, place: Place) -> None:
        if place.kind == "mbox":
            data = b"".join(bytes(node.data) for node in [place.node()] if node is not None)
            for message in place.foreign:
                if message[:-1] not in data:
                    raise Broken(f"{message!r} of somebody else is gone from {place.words}")
        else:
            for _, name, _ in place.files():
                if not MAILDIR_NAME.fullmatch(name):
                    raise Broken(f"a message at {place.words} is called {name!r}")

    def untouched(self, place: Place, before: "Counter[bytes]", report: FetchReport | None, objection: str) -> None:
        """Check that a fetch to *place*, which had those texts *before*, did nothing, and said so: the *objection*."""
        new = place.texts() + place.taken - before
        for mail in self.mails_at(place):
            if new[mail.text]:
                raise Broken(f"{mail} was delivered to {place.words}, and {objection}")
        if report is not None and (report.error is None or report.deleted):
            raise Broken(f"a fetch to {place.words} ended with {report.error!r}, and {objection}")

    # What a report says.

    def report(self, drop: Maildrop, report: FetchReport, dialogues: list[Dialogue], before: "Counter[bytes]") -> None:
        """Check that *report* is true of a fetch in which *dialogues* were held."""
        self._check_words(report)
        place = self.place(drop)
        after = place.texts() + place.taken
        if not self._world.faults:
            mails = self.mails_at(place)
            ours = {mail.text for mail in mails} - {mail.text for mail in mails if mail.may_repeat}
            new = sum(count for text, count in (after - before).items() if text in ours)
            sent = sum(len(dialogue.sent_whole) + dialogue.sent_short for dialogue in dialogues)
            # What turned out to have come short is at its destination, and has failed.
            least = 0 if _may_be_gone(drop, dialogues) else new - len(report.failures)
            if not least <= report.fetched <= sent and not isinstance(report.error, StateError):
                raise Broken(f"{new} messages were delivered of {sent} sent, and the report says {report.fetched}")
        self._check_size(drop, after - before)
        self._check_deletions(drop, report, dialogues)
        last = next((each for each in reversed(dialogues) if each.logged_in and not each.is_further), None)
        if isinstance(place, OneByOne) and report.error is None and last is not None and not last.listed_badly:
            self._check_named(place, report, last)
        if report.exit_status == 0 and last is not None:
            if not last.listed_badly and self.options == _all_of(self.options):
                self.arrived(drop, last.shown, "the exit status was 0", report)
            if self.options == replace(_all_of(self.options), since_last=True) and not last.listed_badly:
                self._check_new(drop, last, report)
            self._check_order(place, dialogues, before)

    def _check_named(self, place: OneByOne, report: FetchReport, last: Dialogue) -> None:
        """Check that no listed message is between two stools: it was delivered, or is named."""
        texts = place.texts()
        names = {named.uid for named in (*report.failures, *report.left)}
        for mail in last.shown:
            # A unique-id that does not last counts as none.
            name = mail.uid if is_lasting(mail.uid) else b""
            if not texts[mail.text] and name not in names and not (mail.may_miss or mail.came_short):
                raise Broken(f"{mail} was neither delivered nor named")
            if not texts[mail.text] and mail.text in place.refused.values() and mail.gone == "fetch":
                raise Broken(f"{mail} was refused, and is deleted")

    def _check_size(self, drop: Maildrop, new: "Counter[bytes]") -> None:
        most = self.options.max_size
        for mail in drop.ever:
            if most is not None and new[mail.text] and len(mail.content) > most:
                raise Broken(f"{mail} was delivered, and nothing above {most} octets was wanted")

    def _check_new(self, drop: Maildrop, last: Dialogue, report: FetchReport) -> None:
        """Check that of the messages since the last one that was fetched none is skipped in silence."""
        texts = self.place(drop).texts() + self.place(drop).taken
        known = [mail.key for mail in last.shown if texts[mail.text]]
        newer = [mail for mail in last.shown if mail.key > max(known, default=-1)]
        self.arrived(drop, newer, "only what is new since the last message was wanted", report)

    def remembered(self, drop: Maildrop, ids: "set[bytes]") -> None:
        """Check that what is remembered is durably at its destination, given the unique-ids that are remembered."""
        place = self.place(drop)
        texts = place.texts(durable=True) + place.taken
        counted = Counter(mail.uid for mail in drop.ever)
        for mail in drop.ever:
            unsure = mail.damaged or mail.came_short or mail.may_miss or drop.id_is_number or counted[mail.uid] > 1
            if mail.uid in ids and not unsure and not texts[mail.text]:
                raise Broken(f"{mail} is remembered, and is not durably at {place.words}")

    def _check_words(self, report: FetchReport) -> None:
        error = report.error
        if error is not None and not isinstance(error, FetchError | error_proto | OSError):
            raise Broken(f"the report has an error of no family: {error!r}")
        if error is not None and not str(error).strip():
            raise Broken(f"an error says nothing: {error!r}")
        names = [str(named) for named in (*report.failures, *report.kept)]
        for text in (*report.warnings, *names, *([] if error is None else [str(error)])):
            if NOT_PLAIN.search(text):
                raise Broken(f"a report has control characters in it: {text!r}")
        for named in (*report.failures, *report.kept):
            if not named.why:
                raise Broken(f"{named} failed or is kept, and nobody says why")

    def _check_deletions(self, drop: Maildrop, report: FetchReport, dialogues: list[Dialogue]) -> None:
        if drop.id_is_number or any(not is_lasting(mail.uid) or mail.uid_changes for mail in drop.ever):
            return  # what is listed afterwards does not tell what was deleted
        removed = sum(len(dialogue.removed) for dialogue in dialogues)
        # Of copies under one unique-id a short listing does not show which are there.
        uids = Counter(mail.uid for mail in drop.ever)
        clear = sum(uids[mail.uid] == 1 for dialogue in dialogues for mail in dialogue.removed)
        if report.deleted + report.deletions_unknown < (removed if drop.steady else clear):
            raise Broken(
                f"{removed} messages were deleted, and the report says {report.deleted} and {report.deletions_unknown}"
                " of which it is not known"
            )
        others = "changes by others" in self._world.features or "listings" in " ".join(self._world.features)
        if report.deleted > removed and not drop.deaf_to_dele and not others and not drop.window:
            raise Broken(f"{removed} messages were deleted, and the report says {report.deleted}")

    def _check_order(self, place: Place, dialogues: list[Dialogue], before: "Counter[bytes]") -> None:
        """Check that what one session without trouble delivered lies in the order of the maildrop."""
        if self._world.faults:
            return
        groups: list[list[Dialogue]] = []
        for dialogue in dialogues:
            if dialogue.logged_in and not dialogue.is_further:
                groups.append([])
            if dialogue.logged_in:
                groups[-1].append(dialogue)
        *earlier, last = [[mail for each in group for mail in each.sent_whole] for group in groups]
        known = before + Counter(mail.text for mails in earlier for mail in mails)
        if len(groups[-1]) > 1:
            last = [mail for mail in groups[-1][0].shown if mail in last]
        new = [mail.text for mail in last if not known[mail.text]]
        there = [place.altered.get(text, text) for text in place.in_order()]
        found = [text for text in there if text in set(new)]
        if len(set(new)) < len(new) or len(set(found)) < len(found):
            return  # they are alike
        if found != [text for text in new if text in set(found)]:
            raise Broken(f"messages at {place.words} are not in the order of the maildrop: {found}")

    def arrived(self, drop: Maildrop, mails: Iterable[Mail], why: str, report: FetchReport) -> None:
        """Check that *mails* are at their destination, whole."""
        place = self.place(drop)
        texts = place.texts() + place.taken
        wanted = list(mails)
        for mail in wanted:
            if mail.may_miss or mail.damaged:
                continue
            if isinstance(place, OneByOne) and (
                mail.text in place.refused.values() or any(named.uid == mail.uid for named in report.refused)
            ):
                continue  # it is named
            if self._may_be_short(drop, mail):
                # What was refused is named, and may have been a piece of it.
                is_named = any(named.uid == mail.uid for named in report.refused)
                if not texts[mail.text] and not is_named and not _says_short(report):
                    raise Broken(f"{why}, and nobody says that {mail} came short")
                continue
            alike = [each for each in self.mails_at(place) if each.text == mail.text and not each.may_miss]
            alike = [each for each in alike if not self._may_be_short(drop, each)]
            if isinstance(place, OneByOne):
                alike = [each for each in alike if all(named.uid != each.uid for named in report.refused)]
            need = _told_apart(place, [each for each in alike if each in wanted or each.gone == "fetch"])
            if any(each.damaged for each in alike):
                continue
            if texts[mail.text] < need - _may_be_kept(mail, alike, report):
                raise Broken(f"{why}, and {mail} is not at {place.words}")

    def _may_be_short(self, drop: Maildrop, mail: Mail) -> bool:
        """Return whether nobody could know yet that the beginning of a message is not all of it."""
        short = sum(each.came_short for each in drop.ever)
        return mail.came_short and (len(drop.shown_whole) < ENOUGH_WHOLE * short or not self._world.calm)

    # What is the case when nothing goes wrong any more.

    def no_pieces(self, place: Place) -> None:
        """Check that no piece of a message lies in an mbox that nobody else has touched.

        All its accounts are settled, and share one memory: what another one does not know of it cannot take away.
        """
        if place.kind != "mbox" or place.touched:
            return
        mails = self.mails_at(place)
        texts = {mail.text for mail in mails}
        unsure = {mail.text for mail in mails if mail.came_short or mail.may_miss}
        for text in set(place.in_order()) - texts:
            begun = text.rstrip(b"\n")
            for mail in mails:
                if mail.text.startswith(begun) and not any(each.startswith(begun) for each in unsure):
                    raise Broken(f"a piece of {mail} has stayed at {place.words}: {text!r}")

    def settled(self, drop: Maildrop, report: FetchReport) -> None:
        """Check that nothing is lost, and that nothing is left behind in silence."""
        mails = [*drop.mails, *(mail for mail in drop.ever if mail.gone == "fetch")]
        self.arrived(drop, mails, "all is settled", report)
        if self.options.delete and not drop.deaf_to_dele:
            named = len(report.kept) + len(report.failures) + len(report.refused)
            left = [mail for mail in drop.mails if not mail.may_miss]
            if len(left) > named and not report.warnings:
                raise Broken(f"{len(left)} messages are left on the server, {named} of them named, and nothing is said")

    def _places(self) -> list[Place]:
        return list(dict.fromkeys(self._homes.values()))

    def mails_at(self, place: Place) -> list[Mail]:
        """Return the messages of all maildrops that go to *place*."""
        return [mail for drop in self._drops if self._homes[drop.name] is place for mail in drop.ever]


def _says_short(report: FetchReport) -> bool:
    """Return whether *report* says of any message that it came shorter than it is listed."""
    said = [*report.warnings, *(named.why for named in (*report.kept, *report.failures))]
    return any("that the server lists" in text or "the server lists them" in text for text in said)


def _may_be_gone(drop: Maildrop, dialogues: list[Dialogue]) -> bool:
    """Return whether what was taken back, because replies were out of step, is listed no more.

    Otherwise it comes again, and counts then.
    """
    last = next((each for each in reversed(dialogues) if each.logged_in), None)
    doubted = not drop.stuffs or any(each.is_out_of_step for each in dialogues)
    return doubted and last is not None and not last.shown


def _told_apart(place: Place, alike: list[Mail]) -> int:
    """Return as how many messages *alike*, which are so to the last octet, come to *place*.

    All that have no unique-id that lasts have the same key, and to a destination of one's own that is one message. An
    IMAP server that is asked whether it has one finds the other.
    """
    if place.kind == IMAP:
        return min(len(alike), 1)
    named = sum(is_lasting(mail.uid) and not mail.uid_changes for mail in alike)
    return min(len(alike), named + 1) if isinstance(place, OwnPlace) else len(alike)


def _may_come_more(mail: Mail) -> int:
    """Return how many times more than once a message may come, when nothing but its content tells which it is.

    Once for each session in which it was marked as deleted, and the server kept it: what is listed then may be another
    one that is alike.
    """
    return 0 if is_lasting(mail.uid) else mail.marked - (mail.gone == "fetch")


def _may_be_kept(mail: Mail, alike: list[Mail], report: FetchReport) -> int:
    """Return how many of *alike*, messages like *mail*, may be on the server in the place of at the destination.

    Those behind the second that a session was to delete, if nothing but their content tells them apart, and if they
    are named as kept.
    """
    nameless = [each for each in alike if not is_lasting(each.uid)]
    if is_lasting(mail.uid) or sum(each.marked for each in nameless) < PATIENCE_WITH_DELETIONS:
        return 0
    return sum(named.why == STILL_LISTED for named in report.kept)


def _all_of(options: Options) -> Options:
    """Return these options without what leaves messages on the server."""
    return Options(
        delete=options.delete,
        delete_after=options.delete_after,
        checkpoint_messages=options.checkpoint_messages,
        checkpoint_octets=options.checkpoint_octets,
        patience=options.patience,
        accept_uid_change=options.accept_uid_change,
        headers_only=options.headers_only,
    )
