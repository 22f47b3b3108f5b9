"""Retrying: one fetch of one account, session after session, until all is done or another try would not help.

Owns the order of things: the destination first, then the state, then sessions with pauses between them. Never waits
longer than it was given, and never goes on after a destination that does not take mail.
"""

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from threading import Condition

from pop3fast import POP3, error_proto
from pop3fast._connect import SocketFactory
from pop3fast._recall import Shown, shown_by
from pop3fast.fetch._descriptors import when_there_is_one
from pop3fast.fetch._errors import FetchError, explained
from pop3fast.fetch._files import Files
from pop3fast.fetch._filtering import Filter
from pop3fast.fetch._forks import closed_in_children
from pop3fast.fetch._options import CHECKPOINT_MESSAGES, CHECKPOINT_OCTETS, FORGET_DAYS, PATIENCE_SECONDS, Options
from pop3fast.fetch._patience import Patience
from pop3fast.fetch._report import FetchReport, Progress
from pop3fast.fetch._run import Run
from pop3fast.fetch._session import FetchSession
from pop3fast.fetch._telemetry import note_fetch, session_span
from pop3fast.fetch._waiting import Clock, Stop, StoppableClock, SystemClock
from pop3fast.fetch.accounts._account import Account, Reconnector
from pop3fast.fetch.accounts._hosts import Hosts
from pop3fast.fetch.accounts._shown import in_words, parse
from pop3fast.fetch.destinations._destination import Destination
from pop3fast.fetch.destinations._kinds import default_path, open_destination, words_of
from pop3fast.fetch.destinations._particulars import PIPE_SECONDS, Particulars, Secret, Sync
from pop3fast.fetch.memory._account_state import AccountState
from pop3fast.fetch.memory._state_home import make_home
from pop3fast.fetch.memory._states import is_url, open_state


@dataclass(frozen=True)
class Job:
    """Whose mail is to go where, and how. It can be pickled, if its account can."""

    account: Account
    """Whose mail it is."""
    destination: str | PurePath | Destination
    """A string (`destination_forms`), a path (a Maildir), or an object of one's own. One object is used by one fetch
    at a time; a second fetch waits."""
    state: str | os.PathLike[str] | None = None
    """The file that remembers what was fetched; without one it is `default_path`."""
    options: Options = field(default_factory=Options)
    """What is fetched, and what may be deleted."""
    recipient: str | tuple[str, ...] | None = None
    """For whom the mail is (``pipe:``, ``lmtp:``); without it, for the account's user."""
    pipe_timeout: float = PIPE_SECONDS
    """The seconds that a program (``pipe:``) may take for one message."""
    to_password: Secret | None = field(default=None, repr=False)
    """The password for the server that the mail goes to (``imaps:``)."""
    to_token: Secret | None = field(default=None, repr=False)
    """An OAuth 2 access token for it."""
    to_context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    """TLS to that server (``imaps:``, ``lmtp:``), and whom it trusts. A job with one cannot be pickled."""
    jobs_per_account: int = 1
    """How many messages may be on their way to the destination at once (``pipe:``, ``lmtp:``). With one, which is the
    default, they come there in the order of the mailbox."""
    to_create: bool = False
    """Whether the folder that the mail goes to (``imaps:``) is made when it is missing."""
    sync: Sync = "each"
    """How the files of messages (``maildir:``, ``eml:``) are made durable: ``each``, or a ``batch`` at once, by a sync
    of the whole file system. That takes less time, and waits for what other programs write there, too. Where the system
    would not tell what could not be written (before Linux 5.8, not on Linux, over a network), ``each`` is used."""

    @property
    def words(self) -> str:
        """What a report calls the destination."""
        return words_of(self.destination)

    def __post_init__(self) -> None:
        given: object = self.account
        if not isinstance(given, Account):
            wanted = "an Account, as in Account('pop3s://user@mail.example.org', password=...)"
            raise TypeError(f"whose mail is fetched says {wanted}, and not a {type(given).__name__}")


@dataclass(frozen=True)
class Surroundings:
    """The rest of the world, of which a test brings its own."""

    clock: Clock = field(default_factory=SystemClock)
    files: Files = field(default_factory=Files)
    stop: Stop = field(default_factory=Stop)
    hosts: Hosts = field(default_factory=Hosts)
    inline: bool = False
    """Whether messages are written in the caller's thread, so that the same happens in the same order each time."""
    memory: AccountState | None = None
    """What is remembered of the account that is fetched, where the caller has it already. It is closed at the end."""


def fetch_mailbox(  # noqa: PLR0913 - each by its name, all but the first two with a default
    account: Account,
    destination: str | PurePath | Destination,
    *,
    state: str | os.PathLike[str] | None = None,
    delete: bool = False,
    delete_after: float | None = None,
    since_last: bool = False,
    max_size: int | None = None,
    limit: int | None = None,
    headers_only: bool = False,
    accept_uid_change: bool = False,
    dry_run: bool = False,
    checkpoint_messages: int | None = CHECKPOINT_MESSAGES,
    checkpoint_octets: int | None = CHECKPOINT_OCTETS,
    forget_after: float = FORGET_DAYS,
    trust_sizes: bool | None = None,
    patience: float = PATIENCE_SECONDS,
    fetch_again: bool | Collection[str | bytes] = False,
    filter: str | None = None,  # noqa: A002 - the name that it has on the command line
    filter_headers: bool = False,
    drop_status: bool = False,
    sessions: int = 1,
    recipient: str | tuple[str, ...] | None = None,
    pipe_timeout: float = PIPE_SECONDS,
    to_password: Secret | None = None,
    to_token: Secret | None = None,
    to_context: ssl.SSLContext | None = None,
    jobs_per_account: int = 1,
    to_create: bool = False,
    sync: Sync = "each",
    progress: Callable[[Progress], object] | None = None,
) -> FetchReport:
    """Fetch what is new in the maildrop of *account* to *destination*, and return what came of it.

    *destination* is a string (``maildir:PATH``, ``mbox:PATH``, ``eml:PATH``: see `destination_forms`), a path, which is
    a Maildir, or any object with the methods of `Destination`. Every message arrives there once, durably, whatever
    happens on the way and however often this is called; where nothing shows what was delivered, at least once
    (`Kind.once`). *state* remembers what was fetched: a file, or ``postgresql://user@host/database``. Without
    one it is ``pop3fast.sqlite`` in the folder, ``PATH.pop3fast.sqlite`` beside an mbox, and for others a file in
    ``$XDG_STATE_HOME/pop3fast/``.
    *recipient*, *pipe_timeout*, *jobs_per_account*, *sync* and those with *to_* are those of `Job`, the others those of
    `Options`. Nothing is deleted from the server unless *delete*, or *delete_after* (days), says so. *progress* is
    called as messages come, in the caller's thread.

    A connection that is lost is made anew, with pauses, and the fetch goes on with what is left; a maildrop that is
    locked is waited for, *patience* seconds in all. What ended the fetch all the same is in the report's ``error``:
    `FetchError`, `error_proto`, ``OSError``, what a function that was to give the password or token raised, and
    ``MemoryError`` or ``RuntimeError`` when there is no memory or no thread can be started; see
    `FetchReport.raise_for_error`.
    Single messages that failed are in its ``failures``. What was delivered until then is delivered, and remembered.

    Raises `ValueError` for arguments that make no sense. `KeyboardInterrupt`, and what *progress* raises, pass through
    within a second; what was delivered is remembered then, too, and nothing that was not is deleted.

    Example::

        account = pop3fast.fetch.Account("pop3s://user@mail.example.org", password="password")
        report = pop3fast.fetch.fetch_mailbox(account, "maildir:Mail", delete_after=30)
        report.raise_for_error()
    """
    options = Options(
        delete=delete,
        delete_after=delete_after,
        since_last=since_last,
        max_size=max_size,
        limit=limit,
        headers_only=headers_only,
        accept_uid_change=accept_uid_change,
        dry_run=dry_run,
        checkpoint_messages=checkpoint_messages,
        checkpoint_octets=checkpoint_octets,
        forget_after=forget_after,
        trust_sizes=trust_sizes,
        patience=patience,
        fetch_again=fetch_again,
        filter=filter,
        filter_headers=filter_headers,
        drop_status=drop_status,
        sessions=sessions,
    )
    to = (recipient, pipe_timeout, to_password, to_token, to_context, jobs_per_account, to_create, sync)
    return run_job(Job(account, destination, state, options, *to), progress=progress)


def run_job(
    job: Job,
    surroundings: Surroundings | None = None,
    *,
    progress: Callable[[Progress], object] | None = None,
) -> FetchReport:
    """Do *job* as `fetch_mailbox` does."""
    world = surroundings or Surroundings()
    report = FetchReport(str(job.account), job.words)
    particulars = Particulars(
        job.account.login,
        job.recipient,
        job.pipe_timeout,
        job.to_password,
        job.to_token,
        job.to_context,
        job.jobs_per_account,
        job.to_create,
        job.sync,
    )
    destination = open_destination(job.destination, world.files, world.clock, particulars)
    run = Run(
        Reconnector(job.account, world.stop), destination, None, job.options, report, world.clock, world.stop, progress
    )
    run.inline, run.hosts = world.inline, world.hosts
    try:
        with (
            _alone_with(job.destination, world.stop),
            contextlib.closing(destination),
            world.stop.telling(destination.hurry),
            contextlib.nullcontext() if run.filter is None else world.stop.telling(run.filter.hurry),
            _memory_of(job, destination, run.filter, world) as memory,
        ):
            run.memory = memory
            try:
                _hold_sessions(run)
            finally:
                if memory is not None and run.waiting is not None and not job.options.dry_run:
                    memory.note_waiting(len(run.waiting))
            if memory is not None and report.ok and not job.options.dry_run:
                memory.note_success(world.clock.date())
    except Exception as error:
        if error is run.callback_failure or _makes_no_sense(error, run):
            raise
        # After the word to stop nobody waits for a lock, and that looks like a destination that cannot be used.
        world.stop.check()
        report.error = error
    finally:
        run.end()
        report.login_delay = run.login_delay
    note_fetch(report)
    return report


def _makes_no_sense(error: Exception, run: Run) -> bool:
    """Return whether *error* is about the arguments, for instance an unknown mechanism."""
    elsewhere = isinstance(error, FetchError | error_proto | OSError) or error is run.reconnector.secret_failure
    return isinstance(error, ValueError) and not elsewhere


@contextlib.contextmanager
def _memory_of(
    job: Job, destination: Destination, judge: Filter | None, world: Surroundings
) -> Iterator[AccountState | None]:
    """Give what is remembered of the account; no other fetch can use it meanwhile."""
    path = job.state or default_path(destination)
    if job.options.dry_run and not is_url(path) and not Path(path).exists():
        # A dry run does not even make an empty state.
        yield None
        return
    if not job.options.dry_run:
        # Faults of the destination are found before anybody logs in.
        destination.open()
        if judge is not None:
            judge.open()
        if job.state is None and world.memory is None:
            make_home(str(path))
    account, clock = job.account, StoppableClock(world.clock, world.stop)
    with world.memory or open_state(path, clock).account(account.host, account.port, account.login) as memory:
        yield memory


@contextlib.contextmanager
def _alone_with(destination: object, stop: Stop) -> Iterator[None]:
    """Let no other fetch use *destination* meanwhile, where it is an object."""
    if isinstance(destination, str | PurePath):
        yield
        return
    with _IN_USE_CHANGED:
        stop.wait_for(_IN_USE_CHANGED, lambda: id(destination) not in _IN_USE)
        _IN_USE.add(id(destination))
    try:
        yield
    finally:
        with _IN_USE_CHANGED:
            _IN_USE.discard(id(destination))
            _IN_USE_CHANGED.notify_all()


_IN_USE: set[int] = set()
_IN_USE_CHANGED = Condition()


def _hold_sessions(run: Run) -> None:
    patience = Patience(run)
    if run.memory is not None:
        run.reconnector.shown = parse(run.memory.shown())
    while (seconds := _hold_session(run, patience)) is not None:
        run.wait(seconds)


def _hold_session(run: Run, patience: Patience) -> float | None:
    """Hold one session; return the seconds until another is to follow, None when all is done."""
    run.advanced = run.is_listing = False
    with run.hosts.visit(run.reconnector.account.where, run.stop) as visit:
        timeout = patience.begin()
        try:
            run.begin("connecting")
            with session_span(*run.reconnector.account.where), _logged_in(run, timeout) as pop:
                visit.let_in()
                patience.let_in()
                run.waits_for = "the server asks for a pause between logins"
                more = FetchSession(run, pop).work()
                _note_shown(run, shown_by(pop))
                return patience.at_checkpoint() if more else None
        except (error_proto, OSError) as error:
            if error is run.callback_failure:
                raise
            # Whatever it was, what the server has shown before is in doubt.
            _note_shown(run, Shown())
            seconds = patience.after(error, visit)
            if seconds is None:
                told = patience.told(error)
                if told is error:
                    raise
                raise told from error
            run.waits_for = explained(error)
            run.warn(f"trying again after: {run.waits_for}")
            return seconds


def _note_shown(run: Run, shown: Shown) -> None:
    """Keep what the server has *shown* for the next session, and for the next run."""
    before = run.reconnector.shown
    if shown != Shown():
        # A session that did not have to ask shows no mechanism, and one that fetched little does not show how much the
        # server answers.
        octets = max(shown.octets, before.octets) if shown.pipelines and run.may_pipeline else 0
        shown = Shown(shown.mechanism or before.mechanism, shown.pipelines and run.may_pipeline, octets)
    run.reconnector.shown = shown
    if run.memory is not None and shown != before and not run.options.dry_run:
        run.memory.note_shown(in_words(shown))


@contextlib.contextmanager
def _logged_in(run: Run, timeout: float | None) -> Iterator[POP3]:
    """Give a session that is logged in, and close it at the end; until the login, each wait has *timeout*."""
    run.stop.check()
    with run.stop.connecting(run.reconnector.account.route) as connected:
        try:
            sock = partial(_connected, connected, StoppableClock(run.clock, run.stop))
            with contextlib.closing(run.reconnector.enter(sock, timeout)) as pop, closed_in_children(pop.close):
                run.report.sessions += 1
                run.logged_in_at = run.clock.now()
                yield pop
        except Exception:
            # If the word to stop ended the connection, say that.
            run.stop.check()
            raise


def _connected(connect: SocketFactory, clock: Clock, address: tuple[str, int], timeout: float | None) -> socket.socket:
    """Return what *connect* does, as soon as there are descriptors for it."""
    return when_there_is_one(partial(connect, address, timeout), clock)
