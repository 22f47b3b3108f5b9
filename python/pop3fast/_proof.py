"""Proof: what a server has shown that it can do, and so how much may be in flight.

Owns the numbers: the window and its growth, the octets of commands that were answered when they came together, the
replies that are known to have been in step, and whether LIST's sizes are exact. Never sees a command or a reply.

That CAPA says PIPELINING proves little: a filter that passes it on answers the first command of what it reads, a small
input buffer loses what does not fit into it (quirks q111, q132, q133). So commands are sent as *trials* at first, and
nothing is sent behind a trial before it has been answered whole. After a trial of several commands they *slide*: a new
command goes out as each reply comes in, for a server may keep the last replies until more commands come. When more
octets than before are in flight, that is a trial again.
"""

from pop3fast._batch import FIRST_WINDOW

MAX_UNANSWERED_OCTETS = 2048
"""The greatest number of octets of commands in flight. Client and server must never both wait to write (both would
wait for ever), so these have to fit into the server's buffers while it reads nothing. Dovecot's own input buffer of
2,048 octets is the smallest of a server that pipelines."""

FIRST_UNANSWERED_OCTETS = 500
"""The greatest number as long as nothing is proven: less than the 512 octets of the smallest input buffer that is
plausible, which is twice the longest command of RFC 2449 (quirk q133)."""

GROWTH_IN_OCTETS = 4
"""A trial may have so many times the octets of those that were answered whole."""

WINDOW_GROWTH = 3
"""The window begins with one command and grows by three a reply: 1, 4, 16, 64 a round trip. So a server that cannot
pipeline, whatever it says, is found out by few commands."""

RECALLED_WINDOW = 128
"""With so many it begins where an earlier connection has shown that the server pipelines: what slides at 500 octets is
fewer, and it takes the round trips of three trials to come so far."""

GREATEST_FIRST_WINDOW = 16
"""A later batch on the same connection begins with the window that the one before had reached, but with no more than
this: its numbers may be stale, and Dovecot hangs up after twenty refusals."""

MAX_REFUSALS_IN_A_ROW = 10
"""After so many -ERR one behind the other the window is one command again: Dovecot hangs up after twenty."""

PROVEN_REPLIES = 400
"""A server is proven when so many replies were in step. One that leaves out a reply in fifty, the rarest fault that was
tried, comes so far in three of ten thousand sessions."""

REPLIES_BEFORE_A_TRIAL = 64
"""After so many replies nothing more is sent until all have come, if a trial with more octets is to follow: what slides
at 500 octets are some fifty commands, and a line with a long round trip has room for twice as many."""

PROVEN_SIZES = 8
"""So many replies exactly as large as LIST said, and none that was not, make sizes an identity: that a server which
rounds or estimates them is right so often by chance is out of the question."""


class Proof:
    """What one connection's server has shown."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.window: int = FIRST_WINDOW
        """So many commands may be in flight."""
        self.octets: int = 0
        """So many octets of commands that came together were answered whole."""
        self.replies: int = 0
        """So many replies were in step for sure."""
        self._greatest_first_window = GREATEST_FIRST_WINDOW
        self._told_apart = 0
        self._answered_together = False
        self._refusals_in_a_row = 0
        self._right_sizes = 0
        self._sizes_are_exact = True

    @property
    def complete(self) -> bool:
        """Whether replies need not be doubted any more, as long as nothing speaks against them."""
        return self.replies >= PROVEN_REPLIES

    @property
    def sizes_are_exact(self) -> bool:
        """Whether no reply was larger or smaller than LIST said."""
        return self._sizes_are_exact

    @property
    def sizes_are_identities(self) -> bool:
        """Whether a reply of another size than LIST says cannot be the reply to its command."""
        return self._sizes_are_exact and self._right_sizes >= PROVEN_SIZES

    @property
    def tells_apart(self) -> bool:
        """Whether sizes have shown whose replies are, so that hardly any has to be kept back."""
        return self._told_apart >= PROVEN_SIZES

    @property
    def room(self) -> int:
        """How many octets of commands may be in flight together, where they slide."""
        return min(MAX_UNANSWERED_OCTETS, max(FIRST_UNANSWERED_OCTETS, self.octets))

    @property
    def room_for_a_trial(self) -> int:
        """How many may be in a trial."""
        return min(MAX_UNANSWERED_OCTETS, max(FIRST_UNANSWERED_OCTETS, GROWTH_IN_OCTETS * self.octets))

    @property
    def pipelines(self) -> bool:
        """Whether several commands that were sent together have been answered."""
        return self._answered_together

    def recall(self, octets: int) -> None:
        """Begin with what an earlier connection has shown: that so many *octets* in flight are answered.

        Which reply is whose is shown anew.
        """
        self.octets = min(octets, MAX_UNANSWERED_OCTETS)
        self._answered_together = True
        self._greatest_first_window = self.window = RECALLED_WINDOW

    def wants_a_trial(self, window: int, line_octets: int) -> bool:
        """Return whether more is to be in flight than slides as yet: *window* commands of so many octets at most."""
        octets = min(self.window, window, MAX_UNANSWERED_OCTETS // line_octets) * line_octets
        # Numbers of a digit more are no reason for one.
        return 7 * octets > 8 * self.room

    def answered_whole(self, commands: int, octets: int) -> None:
        """Note that all *commands* have been answered, of which so many *octets* were in flight together."""
        self.octets = max(self.octets, octets)
        self._answered_together = self._answered_together or commands > 1

    def begin(self, first_window: int) -> None:
        """Begin a batch."""
        greatest = self._greatest_first_window - self._refusals_in_a_row
        self.window = max(min(self.window, greatest), first_window)

    def answered(self, replies: int) -> None:
        """Note positive replies: the window grows."""
        self.window += WINDOW_GROWTH * replies
        self._refusals_in_a_row = 0

    def refused(self) -> bool:
        """Note a reply of -ERR; return whether there were so many that the window is one command again."""
        self._refusals_in_a_row += 1
        self._greatest_first_window = GREATEST_FIRST_WINDOW
        if self._refusals_in_a_row < MAX_REFUSALS_IN_A_ROW:
            return False
        self.window = FIRST_WINDOW
        return True

    def right_sizes(self, replies: int) -> None:
        """Note replies that were as large as LIST said, or of which it did not say it."""
        self._right_sizes += replies

    def told_apart(self, replies: int) -> None:
        """Note replies that are in step because the size of the last of them is that of no other in flight."""
        self.replies += replies
        self._told_apart += replies

    def wrong_size(self) -> None:
        """Note that LIST was wrong about a reply that is its command's for sure, or may have been from the start."""
        self._sizes_are_exact = False
