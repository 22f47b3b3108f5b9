"""Pipeline: many commands in flight; the window, the order, and the outcome of each (RFC 2449 section 6.6).

Owns which command each reply is for, and which outcomes are sure. Never sees a socket: it says what may be written now,
takes replies from the framer, and hands each to the batch whose command is the oldest without one. The blocking client
and the asyncio client move the octets, by three calls:

- `step` takes the replies that have come and says what to write;
- `make_room`, before another command is sent behind those in flight, and `take_before`, before its reply is read;
- `break_off` when anything went wrong: the one way in which an error ends what is in flight.

An outcome is kept back until the next reply has begun like a reply. That finds a server which ends a message too early,
or begins the next reply too early, and such a message is never given as whole.

As long as a server is not proven (`Proof`) more is kept back: until every command in flight has been answered and
nothing is left over, or until a reply shows by a size that no other one has whose it is. When sizes identify replies, a
wrong size throws away everything that may belong to another command; it is asked for again, one command at a time from
then on.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from pop3fast._batch import HOW_TO_GO_ON, MAX_EXPECTED_OCTETS, Batch, Taken, WrongSize
from pop3fast._doubted_size import WRONG_SIZE, DoubtedSize
from pop3fast._errors import EOF, CommandError, ConnectionLost, LimitExceeded, ProtocolError, unasked
from pop3fast._framing import Framer, strict_status
from pop3fast._kept_back import KeptBack, give
from pop3fast._late_acknowledgements import LateAcknowledgements
from pop3fast._proof import REPLIES_BEFORE_A_TRIAL, Proof
from pop3fast._replies import counted
from pop3fast._set_aside import SetAside


class Pipeline:
    """The commands in flight on one connection, of however many batches."""

    def __init__(
        self,
        framer: Framer,
        left_over: Callable[[], bytes] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Take replies from *framer*.

        *left_over* says what has arrived although nothing was asked for, without waiting for any; it may raise
        `ConnectionLost`. Without it, that is what the framer holds. *clock* gives seconds, where the kernel
        acknowledges late what comes.
        """
        self.given_up: str | None = None
        """Why commands are sent one at a time on this connection, whatever the server says; None while they are not."""
        self._framer = framer
        self._left_over = left_over or partial(_unread, framer)
        # Batches and how many of their commands are one behind the other; the oldest first.
        self._runs: deque[tuple[Batch[Any], int]] = deque()
        self._unanswered_octets = 0
        # Since nothing was in flight: the most octets that were, how many commands were sent, and how many answered.
        self._most_octets = 0
        self._commands = 0
        self._answered = 0
        # Whether nothing more is sent until everything in flight has been answered.
        self._drains = False
        self._kept_back = KeptBack()
        self._set_aside = SetAside(framer)
        self._late = LateAcknowledgements(clock)
        self._proof = Proof()
        self.doubted: DoubtedSize = DoubtedSize(self._proof)
        """What is to be believed of a size for which replies were thrown away."""

    @property
    def in_flight(self) -> bool:
        """Whether commands have been sent and not been answered."""
        return bool(self._runs)

    def recall(self, octets: int) -> None:
        """Begin with what an earlier connection to the same server has `shown`."""
        self._proof.recall(octets)

    @property
    def shown(self) -> int:
        """So many octets of commands that were in flight together have been answered; 0 where that is in doubt."""
        return 0 if self.given_up or not self._proof.pipelines else self._proof.octets

    # What a driver calls.

    def step(self, batch: Batch[Any], limit: int, max_octets: int) -> list[str]:
        """Take the replies that are there as a whole; return the commands of *batch* to be written now, as sent.

        They are without line ends. There are none as long as something has arrived for the batch; when there are none
        otherwise, and it has not ended, more octets have to come first. Raises `ProtocolError` when something is no
        reply, and ``FramingError``; `break_off` has to follow.
        """
        if self._runs:
            while self._take(limit, max_octets):
                pass
        else:
            # Another command's reply, good or bad, has been read behind those to this loop's.
            self._settle()
        # What has arrived is taken first: nothing is asked for further ahead than the loop is.
        return self._fill(batch) if batch.wants_more and not batch.is_satisfied else []

    def make_room(self, octets: int | None, limit: int, max_octets: int) -> bool:
        """Take replies until a command of so many *octets* may be sent behind the others; return whether it may.

        With None, until no other is in flight. What comes of loops is set aside for them, within `MIN_IN_FLIGHT` times
        *max_octets*; `LimitExceeded` when it is more.
        """
        while not self._has_room_for(octets):
            if not self._take(limit, max_octets, set_aside=True):
                return self._has_room_for(octets)
        return True

    def take_before(self, limit: int, max_octets: int) -> bool:
        """Take the replies to what is in flight before a command that was sent; return whether these are all."""
        while self._take(limit, max_octets, followed=True, set_aside=True):
            pass
        return not self._runs

    def break_off(self, error: BaseException) -> BaseException:
        """End what is in flight because of *error*; return why nothing more arrives for its batches.

        What came whole before is handed over, unless the error makes it doubtful: silence while commands are in flight
        may mean that one of them was never read, and what is no reply, that the ones before it were none.
        """
        failure = error
        if isinstance(error, TimeoutError):
            if not self._doubts:
                self._hand_over_if_whole()
            if self._suspect("the server did not answer all commands that were sent together"):
                error.add_note(HOW_TO_GO_ON)
        elif isinstance(error, ConnectionLost):
            failure = self._hung_up()
            self._hand_over_if_whole()
            self._suspect("the server hung up when several commands had been sent together")
        elif isinstance(error, LimitExceeded) and self._framer.in_body():
            self._hand_over()
        elif isinstance(error, ProtocolError):
            self._suspect("the server's replies did not fit the commands that had been sent together")
        else:
            self._hand_over_if_whole()
            if not isinstance(error, OSError):
                failure = ProtocolError(f"the wait for replies ended in {type(error).__name__}")
        for batch in (*(batch for batch, _ in self._runs), *self._kept_back.batches):
            batch.failure = failure
        self._runs.clear()
        self._kept_back.forget()
        return failure

    # What is sent.

    def _fill(self, batch: Batch[Any]) -> list[str]:
        if batch.new:
            batch.new = False
            self._proof.begin(batch.first_window)
            self._late.begin_batch()
        if not self._runs:
            return self._begin(batch)
        if self._answered >= REPLIES_BEFORE_A_TRIAL and batch.is_cramped and not self._drains:
            self._drains = self._proof.wants_a_trial(batch.window, batch.line_octets)
        if self._drains or self.given_up:
            return []
        return self._sent(batch, batch.next_lines(self._room // batch.line_octets, self._proof.window, self._in_doubt))

    def _begin(self, batch: Batch[Any]) -> list[str]:
        """Return what is to be written when nothing is in flight."""
        if self._drains and batch.has_spare:
            return []  # a trial shows as much as goes out with it, so it is as large as it may be
        self._refuse_left_over()
        most = max(1, self._proof.room_for_a_trial // batch.line_octets)
        self._late.begin(batch.left)
        window = 1 if self.given_up or self._late.one_by_one else self._proof.window
        lines = self._sent(batch, batch.next_lines(most, window, self._in_doubt))
        self._drains = not self._proof.pipelines or self._unanswered_octets > self._proof.room
        return lines

    def _sent(self, batch: Batch[Any], lines: list[str]) -> list[str]:
        if lines:
            self._unanswered_octets += len(lines) * batch.line_octets
            self._most_octets = max(self._most_octets, self._unanswered_octets)
            self._commands += len(lines)
            self._set_aside.begin()
            before = self._runs.pop()[1] if self._runs and self._runs[-1][0] is batch else 0
            self._runs.append((batch, before + len(lines)))
        return lines

    @property
    def _room(self) -> int:
        """How many octets of commands may follow those in flight."""
        return max(0, self._proof.room - self._unanswered_octets)

    @property
    def _in_doubt(self) -> int | None:
        """How many octets of replies that are kept back are asked for together; None where hardly any are."""
        return None if self._proof.complete or self._proof.tells_apart else MAX_EXPECTED_OCTETS

    def _has_room_for(self, octets: int | None) -> bool:
        if not self._runs:
            return True
        return octets is not None and not self._drains and self.given_up is None and octets <= self._room

    # What comes.

    def _take(self, limit: int, max_octets: int, *, followed: bool = False, set_aside: bool = False) -> bool:
        """Take replies to the oldest commands; return whether to call again: there may be more, or an error.

        *followed* by another command's reply, what is behind them is nothing left over.
        """
        if not self._runs:
            return False
        batch, most = self._runs[0]
        unread = self._framer.unread()
        if set_aside and not batch.bounds_octets:
            taken = self._set_aside.take(batch, most, limit, max_octets)
        else:
            taken = batch.take_replies(self._framer, limit, max_octets, most)
        answered = taken.replies + (taken.refused is not None)
        if answered or taken.outcomes:
            self._kept_back.octets += unread - self._framer.unread()
            self._weigh(batch, taken, followed=followed)
        if not self._runs and not followed:
            self._settle()
        elif self._kept_back.outcomes and self._framer.in_body() and not self._doubts:
            # The next reply has begun like one.
            self._hand_over()
        return bool(self._runs) and (answered == most or taken.refused is not None or self._framer.has_failed())

    def _weigh(self, batch: Batch[Any], taken: Taken[Any], *, followed: bool) -> None:
        """Decide which of the replies *taken* are sure."""
        outcomes: Sequence[Any] = taken.outcomes
        answered = taken.replies
        # What comes one at a time shows nothing of what may be in flight together.
        if answered and batch.window > 1 and not self._late.one_by_one:
            self._proof.answered(answered)
        if taken.refused is not None:
            self._check_refusal(batch, taken)
            outcomes = (*outcomes, batch.take_refusal(taken.refused))
            answered += 1
            if self._proof.refused():
                batch.drain()
        self._answer(batch, answered)
        if batch.knows_sizes and taken.replies and self._commands == 1:
            self.doubted.weigh_alone(batch.last_number, taken.wrong)
        if taken.wrong is not None:
            self._weigh_wrong_size(batch, taken.wrong, outcomes, followed=followed)
            return
        if batch.knows_sizes:
            self._proof.right_sizes(taken.replies)
        self._keep_back(batch, outcomes, answered)

    def _answer(self, batch: Batch[Any], answered: int) -> None:
        if self._commands == answered == 1:
            self._late.answered_alone()
        self._answered += answered
        self._unanswered_octets -= answered * batch.line_octets
        most = self._runs[0][1]
        if answered == most:
            self._runs.popleft()
        else:
            self._runs[0] = batch, most - answered

    @property
    def _doubts(self) -> bool:
        """Whether what comes has to be shown to be sure. One command in flight has no other's reply."""
        return self._commands > 1 and not self._proof.complete

    def _keep_back(self, batch: Batch[Any], outcomes: Sequence[Any], answered: int, back: int = 0) -> None:
        """Keep back those *outcomes* of so many commands just *answered* that are not sure; *back* more were, too."""
        if batch.abandoned:
            outcomes = ()
        if self._doubts:
            self._keep_back_in_doubt(batch, outcomes, back)
            return
        if answered or outcomes:
            self._hand_over()
        if outcomes and self._framer.in_body():  # the next reply has begun like one
            batch.hand_over(outcomes)
        elif outcomes:
            if len(outcomes) > 1:
                batch.hand_over(outcomes[:-1])
            self._kept_back.append(batch, outcomes[-1:], 0)
        self._proof.replies += answered

    def _keep_back_in_doubt(self, batch: Batch[Any], outcomes: Sequence[Any], back: int) -> None:
        sure = self._count_sure(batch, outcomes, back)
        if sure:
            self._hand_over()
            give(batch, outcomes[:sure])
            self._proof.told_apart(sum(map(batch.completes, outcomes[:sure])))
            outcomes = outcomes[sure:]
        if not self._kept_back.outcomes:
            # Parts of a message are worth nothing without the last one.
            parts = next((place for place, each in enumerate(outcomes) if batch.completes(each)), len(outcomes))
            give(batch, outcomes[:parts])
            outcomes = outcomes[parts:]
        if outcomes:
            self._kept_back.append(batch, outcomes, sum(map(batch.completes, outcomes)))
        if not self._kept_back.outcomes:
            self._kept_back.forget()
        elif self._kept_back.is_too_much:
            self._hand_over()
        elif self._kept_back.is_much and not batch.is_too_large:
            self._drains = True

    def _count_sure(self, batch: Batch[Any], outcomes: Sequence[Any], back: int) -> int:
        """Return how many of *outcomes* are shown by a size to be in their place; *back* replies are behind them."""
        if not (batch.knows_sizes and self._proof.sizes_are_exact):
            return 0
        for place in range(len(outcomes), 0, -1):
            outcome = outcomes[place - 1]
            if batch.completes(outcome):
                if not isinstance(outcome, CommandError) and batch.shows_its_place(back):
                    return place
                back += 1
        return 0

    def _hand_over(self) -> None:
        """Let the loops have what was kept back."""
        self._proof.replies += self._kept_back.hand_over()

    # What is not believed.

    def _weigh_wrong_size(
        self, batch: Batch[Any], wrong: WrongSize, outcomes: Sequence[Any], *, followed: bool
    ) -> None:
        """Decide what it means that one of the replies was not as large as LIST said."""
        ends = [place for place, outcome in enumerate(outcomes, 1) if batch.completes(outcome)]
        place = wrong.place
        self._proof.right_sizes(place)
        # What was handed over in part, and was alone in flight, cannot be asked for again.
        is_sure = self._commands == 1 and not batch.can_go_back
        if is_sure or not self._proof.sizes_are_identities:
            self._proof.wrong_size()
            self._keep_back(batch, outcomes, len(ends))
            return
        before = ends[place - 1] if place else 0
        self._keep_back(batch, outcomes[:before], place, len(ends) - place)
        if not self._doubts:
            self._hand_over()
        if not batch.abandoned:
            self.doubted.note(wrong)
        self._throw_away(batch, followed=followed)

    def _throw_away(self, suspect: Batch[Any], *, followed: bool) -> None:
        """Forget what is not sure, and go on one command at a time when the rest of it has come."""
        self.given_up = f"{WRONG_SIZE}: commands are sent one at a time"
        in_flight = (batch for batch, _ in self._runs)
        batches = {id(batch): batch for batch in (*in_flight, *self._kept_back.batches, suspect)}
        live = [batch for batch in batches.values() if not batch.abandoned]
        self._kept_back.forget()
        if followed or not all(batch.can_go_back for batch in live):
            raise ProtocolError(f"{WRONG_SIZE}, so which message it is cannot be told{suspect.advice}")
        ghosts = {id(batch): batch.go_back() for batch in live}
        self._runs = deque((ghosts.get(id(batch), batch), count) for batch, count in self._runs)

    def _settle(self) -> None:
        """Take note that every reply has come: what was kept back is sure if nothing is left over.

        Raises `ProtocolError` when something is.
        """
        if not self._kept_back.outcomes and not self._commands:
            return
        # That the server has hung up since, the next command finds out.
        with suppress(ConnectionLost):
            self._refuse_left_over()
        self._hand_over()
        self._proof.answered_whole(self._commands, self._most_octets)
        self._most_octets = self._commands = self._answered = 0

    def _refuse_left_over(self) -> None:
        if octets := self._left_over():
            raise unasked(octets)

    def _hand_over_if_whole(self) -> None:
        """Hand over what was kept back, unless what stands behind it is not the beginning of a reply."""
        begun = self._framer.next_octets(1) if not self._framer.in_body() else b"+"
        if begun in {b"", b"+", b"-"}:
            self._hand_over()

    def _hung_up(self) -> ConnectionLost:
        if not self._runs:
            return ConnectionLost(EOF)
        batch = self._runs[0][0]
        return ConnectionLost(f"the server hung up before its reply to {batch.about} was whole{batch.advice}")

    def _suspect(self, why: str) -> bool:
        """Give up sending commands together, and return that, if *why* may come of it."""
        suspicious = self._commands > 1 and not self._proof.complete
        if suspicious:
            self.given_up = self.given_up or why
        return suspicious

    def _check_refusal(self, batch: Batch[Any], taken: Taken[Any]) -> None:
        line = taken.refused or b""
        said = strict_status(line)
        if said == "error":
            return
        about = batch.about
        if said == "error after ok":
            self._keep_back(batch, taken.outcomes, taken.replies)
            self._hand_over()
            raise ProtocolError(f"the server failed in the middle of its reply to {about}: {line!r}")
        if not self._doubts:
            self._keep_back(batch, taken.outcomes, taken.replies)
        before = "; the message before it may not be whole" if taken.outcomes or self._kept_back.outcomes else ""
        raise ProtocolError(f"no reply to {about}, but {counted(line)} of something else{before}{batch.advice}")


def _unread(framer: Framer) -> bytes:
    return framer.next_octets(framer.unread())
