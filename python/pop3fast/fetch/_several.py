"""Several sessions with a server that answers one command at a time: each waits for its own reply.

Owns the threads, of which each has one session, and the end of them. The caller's thread waits for what they fetch and
does everything else, so only it knows the run, the writer and the memory. The first session is the caller's own. When
a further one is refused or lost there is one less, and the message that it was at is fetched over the first.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import Condition, Thread

from pop3fast import POP3, CommandError, ConnectionLost, LimitExceeded, Piece, error_proto
from pop3fast._dial import STEP_SECONDS
from pop3fast._recall import shown_by
from pop3fast.fetch._errors import explained
from pop3fast.fetch._further import QUIT_SECONDS, FurtherSession, entered
from pop3fast.fetch._plan import Item
from pop3fast.fetch._run import Run
from pop3fast.fetch._sharing import FIRST, LARGE_OCTETS, Sharing
from pop3fast.fetch._waiting import Stop

LATE_STEPS = 8
"""When nothing has come from any session for so many steps of waiting, two seconds, the message that all wait for is
asked for once more, over a session that has nothing else to do."""

Lost = (ConnectionLost, LimitExceeded, OSError)
"""What ends a session and says nothing about what came before."""


class SeveralSessions:
    """The sessions of one run while messages are fetched."""

    def __init__(self, run: Run, pop: POP3, wanted: Mapping[str, Item], most: int) -> None:
        """Fetch over *pop*, and over further sessions, which have *wanted*, so that there are *most* in all."""
        self.broken_at: Item | None = None
        """The message at which the first session was lost."""
        self.orders: dict[int, list[Item]] = {}
        """What came whole over each session, in its order there, since this was last emptied."""
        self._run = run
        self._pop = pop
        self._wanted = wanted
        self._most = most
        self._inline = run.inline
        self._stop = Stop(aside=True)
        self._threads: list[Thread] = []
        # Everything below is changed, and looked at, by whoever holds this.
        self._changed = Condition()
        self._sharing = Sharing((), {})
        self._further: dict[int, FurtherSession] = {}
        self._entered = 0
        self._busy: set[int] = set()
        self._to_check: set[int] = set()
        self._checking: set[int] = set()
        self._leaving = False
        self._failure: BaseException | None = None
        self._refusal: Exception | None = None
        self._open = contextlib.ExitStack()
        self._last = FIRST

    def start(self) -> bool:
        """Begin to log in further sessions; return False when no thread can be started."""
        if self._inline:
            for session in range(1, self._most):
                if not self._enter_inline(session):
                    break
            return True
        self._open.enter_context(self._run.stop.telling(self._stop.say))
        # One at first: whoever lets in only one session at a time is not asked for seven at once.
        return self._start(partial(self._work, FIRST)) and self._start(partial(self._hold, 1, self._start_others))

    def pieces(self, items: list[Item], on_error: Callable[[CommandError], object]) -> Iterator[Piece]:
        """Yield *items* as `POP3.retr_pieces` does; *on_error* is called at the turn of one that is refused.

        Raises `ProtocolError` or ``OSError`` when the first session is lost, or a further one out of step.
        """
        sharing = Sharing(items, self.orders)
        with self._changed:
            self._sharing = sharing
            self._changed.notify_all()
        try:
            while not sharing.is_over:
                came = self._next(sharing)
                if isinstance(came, CommandError):
                    on_error(came)
                else:
                    yield came
        except GeneratorExit:
            self._settle(sharing)
            raise
        self._settle(sharing)

    def ask_for_step(self) -> None:
        """Have all further sessions look whether they are in step; `check_step` says what came of it."""
        if not self._inline:
            with self._changed:
                self._to_check = {*self._further}
                self._changed.notify_all()

    def check_step(self) -> None:
        """Wait for what `ask_for_step` asked for: for no longer than a moment where a session is busy with a message.

        Raises `ProtocolError` when replies of a further session did not belong to their commands.
        """
        if self._inline:
            for session, further in [*self._further.items()]:
                if not self._check(session, further):
                    del self._further[session]
        else:
            with self._changed:
                self._wait_for(lambda: not self._to_check, QUIT_SECONDS)
                # The others answer, or are lost: until then their messages may be others than they seem.
                self._wait_for(lambda: self._to_check <= self._busy - self._checking)
        self._raise_failure()

    def finish(self) -> None:
        """Say QUIT over all further sessions, and wait for it no longer than a moment."""
        if self._inline:
            for further in self._further.values():
                further.leave()
        else:
            with self._changed:
                self._leaving = True
                self._changed.notify_all()
                self._wait_for(lambda: not self._further, QUIT_SECONDS)

    def close(self) -> None:
        """End all further sessions; the first is left alone. Raises nothing of theirs."""
        with self._changed:
            self._leaving = self._sharing.ended = True
            self._changed.notify_all()
        self._stop.say()
        self._open.close()
        for thread in self._threads:
            # What waits for the first session ends when that is closed.
            thread.join(STEP_SECONDS)
        run = self._run
        run.report.sessions += self._entered
        if self._refusal is not None:
            run.warn(f"the server lets in fewer than {self._most} sessions at once: {explained(self._refusal)}")
            run.most_sessions = 1 + self._entered

    # In the caller's thread.

    def _next(self, sharing: Sharing) -> Piece | CommandError:
        idle_steps = 0
        while True:
            self._run.stop.check()
            with self._changed:
                came = sharing.take()
                if came is not None:
                    self._changed.notify_all()
                    return came
                self._raise_failure()
                if not self._inline:
                    idle_steps = 0 if self._changed.wait(STEP_SECONDS) else idle_steps + 1
                    if idle_steps == LATE_STEPS:
                        sharing.let_another_fetch()
                        self._changed.notify_all()
                    continue
            self._fetch_inline()

    def _settle(self, sharing: Sharing) -> None:
        """Want nothing more, and wait until the first session is in step. Raises what broke it."""
        with self._changed:
            sharing.ended = True
            self._changed.notify_all()
            self._wait_for(lambda: FIRST not in self._busy or self._leaving)
        self._raise_failure()

    def _wait_for(self, come: Callable[[], bool], seconds: float | None = None) -> None:
        steps = 0
        while not come() and (seconds is None or steps * STEP_SECONDS < seconds):
            self._run.stop.check()
            steps += not self._changed.wait(STEP_SECONDS)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            # One of them was out of step: from now on there is one.
            if self.broken_at is None:
                self._run.most_sessions = 1
            raise self._failure

    # In the threads.

    def _start(self, work: Callable[[], object]) -> bool:
        thread = Thread(target=work, name="pop3fast-session", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more of them
            return False
        self._threads.append(thread)
        return True

    def _start_others(self) -> None:
        for session in range(2, self._most):
            self._start(partial(self._hold, session, bool))

    def _hold(self, session: int, when_entered: Callable[[], object]) -> None:
        """Hold one further session."""
        reconnector = self._run.reconnector.another(self._stop, shown_by(self._pop))
        try:
            with (
                self._stop.connecting(reconnector.account.route) as connected,
                entered(reconnector, self._run.hosts, connected) as pop,
            ):
                if pop is not None:
                    when_entered()
                    further = FurtherSession(pop, self._wanted)
                    if self._welcome(session, further) and self._work(session):
                        further.leave()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller's thread must hear of it
            self._gone(session, error)
        finally:
            with self._changed:
                self._forget(session)

    def _welcome(self, session: int, further: FurtherSession) -> bool:
        with self._changed:
            self._entered += 1
            self._further[session] = further
            return not self._leaving

    def _gone(self, session: int, error: BaseException) -> None:
        """Note why a session ended, or did not begin."""
        with self._changed:
            if self._leaving:
                return
            if not isinstance(error, error_proto | OSError):
                self._failure = self._failure or error
            elif session not in self._further and self._refusal is None:
                self._refusal = error

    def _forget(self, session: int) -> None:
        self._further.pop(session, None)
        self._to_check.discard(session)
        self._changed.notify_all()

    def _work(self, session: int) -> bool:
        """Do what there is for one session until all leave; return whether it is in step then."""
        while True:
            with self._changed:
                while (task := self._task_for(session)) is None:
                    if self._leaving:
                        return True
                    self._changed.wait(STEP_SECONDS)
                self._busy.add(session)
            try:
                in_step = task()
            except BaseException as error:  # noqa: BLE001 - as in `_hold`; the first session has no other place
                self._gone(session, error)
                in_step = False
            finally:
                with self._changed:
                    self._busy.discard(session)
                    self._changed.notify_all()
            if not in_step:
                return False

    def _task_for(self, session: int) -> Callable[[], bool] | None:
        further = self._further.get(session)
        if self._leaving or (session != FIRST and further is None):
            return None
        if further is not None and session in self._to_check:
            self._checking.add(session)
            return partial(self._check, session, further)
        place = self._sharing.choose(session, _anything if further is None else further.can_fetch)
        return None if place is None else partial(self._fetch, session, self._sharing, place)

    # What is done in either way.

    def _fetch(self, session: int, sharing: Sharing, place: int) -> bool:
        """Fetch one message; return whether the session is in step."""
        further = self._further.get(session)
        item = sharing.items[place]
        try:
            if further is None:
                self._fetch_over_first(sharing, place)
                return True
            pieces = further.fetch(item)
        except CommandError as error:
            with self._changed:
                if further is None:
                    sharing.refuse(place, error)
                else:
                    sharing.give_back(place, session)
            return True
        except (error_proto, OSError) as error:
            with self._changed:
                if further is None:
                    self.broken_at = item
                else:
                    sharing.give_back(place, session)
                self._note(error, is_first=further is None)
            return False
        with self._changed:
            if pieces is None:
                sharing.give_back(place, session)
            else:
                sharing.put(place, session, pieces)
        return True

    def _fetch_over_first(self, sharing: Sharing, place: int) -> None:
        kept: list[Piece] = []
        octets = 0
        for piece in self._pop.retr_pieces([sharing.items[place].number], pipelining=False):
            kept.append(piece)
            octets += len(piece.content)
            if octets <= LARGE_OCTETS and not piece.last:
                continue
            with self._changed:
                sharing.put(place, FIRST, kept)
                self._changed.notify_all()
                while not (self._inline or piece.last or sharing.ended or sharing.has_room_for_more(place)):
                    self._changed.wait(STEP_SECONDS)
            kept = []

    def _check(self, session: int, further: FurtherSession) -> bool:
        try:
            further.check_step()
        except (error_proto, OSError) as error:
            with self._changed:
                self._note(error, is_first=False)
            return False
        finally:
            with self._changed:
                self._to_check.discard(session)
                self._checking.discard(session)
        return True

    def _note(self, error: Exception, *, is_first: bool) -> None:
        if is_first or not isinstance(error, Lost):
            self._failure = self._failure or error

    # One after the other, where everything is done in one thread.

    def _enter_inline(self, session: int) -> bool:
        reconnector = self._run.reconnector.another(self._stop, shown_by(self._pop))
        connected = self._open.enter_context(self._stop.connecting(reconnector.account.route))
        try:
            pop = self._open.enter_context(entered(reconnector, self._run.hosts, connected))
            return pop is not None and self._welcome(session, FurtherSession(pop, self._wanted))
        except (error_proto, OSError) as error:
            self._gone(session, error)
            return False

    def _fetch_inline(self) -> None:
        """Have one session fetch a message: the next one after the session that fetched last."""
        sessions = [FIRST, *self._further]
        start = sessions.index(self._last) + 1 if self._last in sessions else 0
        for session in (*sessions[start:], *sessions[:start]):
            if (task := self._task_for(session)) is not None:
                self._last = session
                if not task() and session != FIRST:
                    del self._further[session]
                return


def _anything(item: Item) -> bool:
    del item
    return True
