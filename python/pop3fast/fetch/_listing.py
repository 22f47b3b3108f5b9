"""Listing: what the server has in one session, and whether it is what it had before.

Owns the ways in which servers list or fail to. Never decides what is fetched or deleted.
"""

import contextlib
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from pop3fast import POP3, CommandError, ProtocolError, error_proto
from pop3fast.fetch._doubt import choose_probes, numbers_changed, numbers_to_probe, prints_of
from pop3fast.fetch._errors import UidsUnknown, explained
from pop3fast.fetch._inquiry import Inquiry
from pop3fast.fetch._plan import Listing, marks_of, remembered_as
from pop3fast.fetch._run import Run
from pop3fast.fetch.memory._account_state import AccountState
from pop3fast.fetch.memory._seen import Seen

MOST_DELAY_SECONDS = 86_400.0
"""No server is believed that it wants a longer pause between two logins (LOGIN-DELAY): a mailbox that is looked at less
than once a day is as good as lost. One that means it refuses the login, and is asked again later."""


class Lister:
    """Asks for the listings of one session."""

    def __init__(self, run: Run, pop: POP3, inquiry: Inquiry) -> None:
        """Ask over *pop*."""
        self._run = run
        self._pop = pop
        self._inquiry = inquiry
        self.shows_headers = False
        """Whether the server showed the header of a message whose unique-id is a small number."""
        self.not_shown: frozenset[int] = frozenset()
        """The messages with such unique-ids whose headers it was asked for and did not show, although it has TOP."""

    def unique_ids(self, *, sizes_too: bool) -> tuple[dict[int, str], dict[int, int] | None]:
        """Return the unique-ids, and the sizes where they come in the same round trip. Raises `UidsUnknown`."""
        try:
            with self._counted(2 if sizes_too else 1):
                listings = self._listings(sizes_too=sizes_too)
        except (error_proto, OSError):
            # How long to wait before the next login may be known all the same.
            with contextlib.suppress(error_proto, OSError):
                self._run.login_delay = self._login_delay()
            raise
        # Asked for here, because what the server can do comes with the listings where it pipelines.
        self._run.login_delay = self._login_delay()
        return listings

    @contextlib.contextmanager
    def _counted(self, listings: int) -> Iterator[None]:
        """Tell how many messages have been listed as they come, each with a line in so many *listings*."""
        file: Any = self._pop.file
        run, lines = self._run, 0

        def count(octets: memoryview) -> None:
            nonlocal lines
            lines += bytes(octets).count(b"\n")
            run.listed(lines // listings)

        # A file of a program's own has no such thing.
        if not run.is_watched or not hasattr(file, "on_octets"):
            yield
            return
        file.on_octets = count
        try:
            yield
        finally:
            file.on_octets = None

    def _listings(self, *, sizes_too: bool) -> tuple[dict[int, str], dict[int, int] | None]:
        try:
            if sizes_too:
                return self._inquiry.listings()
            return self._pop.uids(), None
        except CommandError as error:
            if error.temporary:
                raise
            if error.command != "UIDL":
                return self._pop.uids(), None
            raise UidsUnknown(
                f"the server gives no unique-ids, so what is new cannot be told: {explained(error)}"
            ) from error

    def _login_delay(self) -> float:
        """Return the seconds between logins that the server asks for (RFC 2449 section 6.5); 0 when it does not."""
        said = self._pop.capabilities().get("LOGIN-DELAY", ()) if self._run.reconnector.asks_capabilities else ()
        return min(float(said[0]), MOST_DELAY_SECONDS) if said and said[0].isdecimal() else 0.0

    def listing(self, uids: dict[int, str], sizes: dict[int, int] | None) -> Listing:
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

    def mark(self, uids: dict[int, str]) -> bytes | None:
        """Return a mark of the maildrop as it is now, None when something is to be deleted from it.

        When the mark is the same as in a session that found nothing new, nothing is new now. That saves the listing of
        sizes and all comparing, which take longer than the unique-ids of 100,000 messages. The octets of STAT tell a
        unique-id that was used again.
        """
        if self._run.options.deletes or not uids:
            return None
        try:
            messages, octets = self._pop.stat()
        except ProtocolError:
            raise
        except error_proto:
            return None
        return mark_of(uids, messages, octets, headers_only=self._run.options.headers_only)

    def numbers_hold(self, uids: dict[int, str], memory: AccountState, seen: Seen | None = None) -> bool:
        """Return whether unique-ids that are small numbers stand for the messages that they stood for (quirk q139).

        When mail was deleted and as many messages of the same size came, only a header shows it. Two or three are
        looked at, in one round trip. Without *seen*, *memory* is asked about these messages alone.
        """
        candidates = numbers_to_probe(uids)
        if not candidates:
            return True
        if seen is None:
            names = {
                name: identity
                for _, identity in candidates
                for name in (*marks_of(identity), remembered_as(identity, self._run.options))
            }
            prints = {names[name]: entry.fingerprint for name, entry in memory.entries(names).items()}
        else:
            prints = prints_of(candidates, seen)
        known = {number: prints[identity] for number, identity in candidates if prints.get(identity)}
        probes = choose_probes(known)
        found = self._inquiry.fingerprints(probes)
        refused = frozenset(probes).difference(found)
        if refused and self._inquiry.may_have_top():
            # The others at either end tell as well whether the numbers were given anew.
            found |= self._inquiry.fingerprints([number for number in known if number not in probes])
        self.shows_headers = bool(found)
        self.not_shown = refused if found else frozenset()
        return not numbers_changed(known, found)

    def nudge(self) -> None:
        """Send a command, so that the server does not end the session. Raises `ProtocolError` or ``OSError``."""
        with contextlib.suppress(CommandError):
            self._pop.noop()


def mark_of(uids: dict[int, str], messages: int, octets: int, *, headers_only: bool) -> bytes | None:
    """Return a mark of a maildrop with *uids*, of which STAT says how many *messages* and *octets* it has.

    None when they do not agree.
    """
    if not uids or messages != len(uids) or octets <= 0:  # as a server says that does not count octets
        return None
    how = "headers" if headers_only else "whole"
    return sha256(f"{how} {octets}\n{chr(10).join(uids.values())}".encode("latin-1")).digest()
