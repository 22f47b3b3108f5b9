"""Processing: a function is called with each new message, in the caller's thread.

Owns the way between that thread and those that fetch: they ask for calls, and wait for the answers.
`HandlerDestination` decides what the outcome of a call means, and when a message counts as done.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass
from pathlib import PurePath
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeAlias, TypedDict, Unpack

from pop3fast.fetch._errors import MessageDeferred, TaskLost
from pop3fast.fetch._fetch_many import do_in_threads, submitted, threads_for
from pop3fast.fetch._options import Options
from pop3fast.fetch._report import FetchReport, Named, Progress
from pop3fast.fetch._retrying import Job
from pop3fast.fetch._waiting import Stop
from pop3fast.fetch.accounts._account import Account
from pop3fast.fetch.destinations._destination import Destination
from pop3fast.fetch.destinations._handler import ATTEMPTS, HandledMessage, HandlerDestination, Handling
from pop3fast.fetch.destinations._kinds import open_destination
from pop3fast.fetch.destinations._outgoing import SPOOL_OCTETS

Handle = Callable[[HandledMessage], object]
"""What is called with each message. What it returns does not matter."""

THREADS = 8
"""How many mailboxes are fetched at once; their messages are handled one at a time."""

STEP_SECONDS = 0.1
"""How often a thread that waits for its call looks whether everything is to end."""


class Wishes(TypedDict, total=False):
    """The arguments that are fields of `Options`."""

    delete: bool
    delete_after: float | None
    since_last: bool
    max_size: int | None
    limit: int | None
    accept_uid_change: bool
    dry_run: bool
    checkpoint_messages: int | None
    checkpoint_octets: int | None
    forget_after: float
    trust_sizes: bool | None
    fetch_again: bool | Collection[str | bytes]
    filter: str | None
    filter_headers: bool
    drop_status: bool
    patience: float
    sessions: int


@dataclass(frozen=True)
class Task:
    """What is to be done with every account. It can be pickled, if the handler and the quarantine can."""

    handle: Handle
    state: str | None
    attempts: int
    quarantine: str | PurePath | Destination | None
    spool_octets: int
    options: Options

    def __post_init__(self) -> None:
        if not callable(self.handle):
            raise ValueError("a handler is a function, which is called with each message")  # noqa: TRY004 - as for other arguments
        self.handling()
        if self.quarantine is not None:
            open_destination(self.quarantine)

    def handling(self) -> Handling:
        return Handling(self.attempts, self.spool_octets, self.options.again)


def process_mailbox(
    account: Account,
    handle: Handle,
    *,
    state: str | None = None,
    attempts: int = ATTEMPTS,
    quarantine: str | PurePath | Destination | None = None,
    spool_octets: int = SPOOL_OCTETS,
    progress: Callable[[Progress], object] | None = None,
    **wishes: Unpack[Wishes],
) -> FetchReport:
    """Call *handle* with each new message in the maildrop of *account*, and return what came of it.

    *handle* is called in this thread, one message at a time (`HandledMessage`), while the next ones are received. When
    it has returned and that is remembered, the message is done, and may be deleted from the server. When it raises an
    ``Exception`` the message stays new, is named in the report's ``failures``, and the others go on. The attempt is
    remembered before the call. After so many *attempts* a message goes to *quarantine*, any destination, and counts as
    done; without one it stays on the server, is named in each report, and is not tried again until `fetch_again` asks
    for it. When the process ends after *handle* has returned and before that is remembered, the message comes again,
    always with the same ``key``.

    *state* is the file that remembers it; without one it lies in ``$XDG_STATE_HOME/pop3fast/``, under the name of
    *handle*. Messages of more than *spool_octets* lie in a file while they are handled. *progress*, the other *wishes*
    and what is raised are as `fetch_mailbox` has them. Whatever else *handle* raises (`KeyboardInterrupt`,
    ``SystemExit``) passes through, once what was done is remembered.
    """
    task = Task(handle, state, attempts, quarantine, spool_octets, Options(**wishes))
    tell = None if progress is None else lambda _, how_far: progress(how_far)
    return next(_Processing([account], task, 1, tell).reports())


def process_many(  # noqa: PLR0913 - each by its name, all but the first two with a default
    accounts: Iterable[Account],
    handle: Handle,
    *,
    state: str | None = None,
    executor: Executor | None = None,
    threads: int = THREADS,
    attempts: int = ATTEMPTS,
    quarantine: str | PurePath | Destination | None = None,
    spool_octets: int = SPOOL_OCTETS,
    progress: Callable[[Account, Progress], object] | None = None,
    **wishes: Unpack[Wishes],
) -> Iterator[FetchReport]:
    """Do what `process_mailbox` does with all *accounts*, and yield their reports as they come.

    So many *threads* fetch; *handle* is called in the thread that takes the reports, one message at a time. With an
    *executor*, also one of other machines, each account is a task of its own, and *handle* is called there; then it has
    to be something that can be pickled, and *progress* cannot be given. An error that ends the fetch of one account is
    in its report's ``error``, and ends no other fetch. Leaving the loop ends all fetches within a second; with an
    *executor*, those that have not begun are cancelled, and the others may go on to their end.
    Raises `ValueError` for arguments that make no sense.
    """
    task = Task(handle, state, attempts, quarantine, spool_octets, Options(**wishes))
    threads = threads_for(threads)
    if executor is None:
        if quarantine is not None and not isinstance(quarantine, str | PurePath):
            threads = 1  # one object is used by one fetch at a time
        return _Processing(list(accounts), task, threads, progress).reports()
    if progress is not None:
        raise ValueError("progress is for fetches in threads, not in an executor")
    return _reports_of({submitted(executor, process_one, account, task): account for account in accounts}, task)


def process_one(account: Account, task: Task) -> FetchReport:
    """Do *task* with *account*, and call the handler in this thread: what an executor is given."""
    return next(_Processing([account], task, 1, None).reports())


class HandlingJobs:
    """Jobs whose destination is a function, and what is added to their reports."""

    def __init__(
        self, accounts: Iterable[Account], task: Task, call: Callable[[HandledMessage], Exception | None]
    ) -> None:
        """Make one for each of *accounts*; *call* calls the function of *task*, in a thread that fetches."""
        self.jobs: list[Job] = []
        self._open: list[tuple[str, HandlerDestination]] = []
        for account in accounts:
            quarantine = None if task.quarantine is None else open_destination(task.quarantine)
            handler = HandlerDestination(_name_of(task.handle), call, task.handling(), quarantine)
            self.jobs.append(Job(account, handler, task.state, task.options))
            self._open.append((str(account), handler))

    def completed(self, report: FetchReport) -> FetchReport:
        """Return *report* with what was put aside; of that, what failed in this run is in its ``failures``, too."""
        for place, (account, handler) in enumerate(self._open):
            if account == report.account:
                del self._open[place]
                report.quarantined = [Named(*failed) for failed in handler.aside]
                report.failures += [Named(*failed) for failed in handler.failed]
                break
        return report


@dataclass
class _Call:
    """A call that somebody waits for."""

    message: HandledMessage
    answer: "SimpleQueue[Exception | None]"


_Told: TypeAlias = tuple[Account, Progress]


class _Processing:
    """Threads that fetch, and the one that calls the handler and takes the reports."""

    def __init__(
        self,
        accounts: list[Account],
        task: Task,
        threads: int,
        progress: Callable[[Account, Progress], object] | None,
    ) -> None:
        self._stop = Stop(aside=True)
        self._task = task
        self._threads = threads
        self._progress = progress
        self._heard: SimpleQueue[_Call | _Told | FetchReport | BaseException | None] = SimpleQueue()
        self._handling = HandlingJobs(accounts, task, self._call)

    def reports(self) -> Iterator[FetchReport]:
        """Call the handler and yield reports as they come."""
        fetching = Thread(target=self._fetch, name="pop3fast-processing")
        fetching.start()
        try:
            while (what := self._heard.get()) is not None:
                if isinstance(what, FetchReport):
                    yield self._handling.completed(what)
                elif isinstance(what, _Call):
                    self._answer(what)
                elif isinstance(what, BaseException):
                    raise what
                elif self._progress is not None:
                    self._progress(*what)
        finally:
            self._stop.say()
            fetching.join()

    def _fetch(self) -> None:
        end: BaseException | None = None
        try:
            tell = None if self._progress is None else lambda job, how_far: self._heard.put((job.account, how_far))
            do_in_threads(self._handling.jobs, self._threads, self._stop, progress=tell, on_report=self._heard.put)
        except BaseException as error:  # noqa: BLE001 - it is raised where the reports are waited for
            end = error
        self._heard.put(end)

    def _call(self, message: HandledMessage) -> Exception | None:
        """Have the handler called, and return what it raised; in a thread that fetches."""
        call = _Call(message, SimpleQueue())
        self._heard.put(call)
        while True:
            with contextlib.suppress(Empty):
                return call.answer.get(timeout=STEP_SECONDS)
            if self._stop.is_said:
                # This error ends no fetch: what was handled before is to be remembered.
                return MessageDeferred("the fetch was interrupted")

    def _answer(self, call: _Call) -> None:
        error: Exception | None = None
        try:
            self._task.handle(call.message)
        except Exception as raised:  # noqa: BLE001 - whatever it is, the message is not done
            error = raised
        call.answer.put(error)


def _reports_of(tasks: dict["Future[FetchReport]", Account], task: Task) -> Iterator[FetchReport]:
    try:
        for done in as_completed(tasks):
            try:
                yield done.result()
            except Exception as error:  # noqa: BLE001 - whatever an executor says when a worker is lost
                lost = TaskLost(f"the worker was lost: {type(error).__name__}: {error}")
                yield FetchReport(str(tasks[done]), _name_of(task.handle), error=lost)
    finally:
        for future in tasks:
            future.cancel()


def _name_of(handle: Handle) -> str:
    name = getattr(handle, "__qualname__", None) or type(handle).__qualname__
    return f"{getattr(handle, '__module__', '')}.{name}"
