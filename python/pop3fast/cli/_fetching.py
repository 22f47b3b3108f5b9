"""`pop3fast fetch`: one mailbox, or several that a configuration names, once or every so often.

Owns what is fetched, and what comes of it: what is said, what is logged, what is run afterwards, the exit status. The
library does the fetching. A message that was received is not yet delivered: only the report says which were.
"""

import argparse
import contextlib
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from types import FrameType
from typing import Any, cast

from pop3fast import error_proto
from pop3fast._location import parse_url
from pop3fast.cli._accounts import account_of, described, to_log_in
from pop3fast.cli._advice import advice
from pop3fast.cli._afterwards import run_afterwards
from pop3fast.cli._events import lines_now, lines_of
from pop3fast.cli._log import Log, opened_log
from pop3fast.cli._progress import Display, on_terminal
from pop3fast.cli._selection import shown_name, status_of
from pop3fast.cli._settings import Settings, demand
from pop3fast.cli._telling import came_to_something, tell_person, tell_person_now, total
from pop3fast.cli._text import UsageError, plural, printable, say
from pop3fast.fetch import (
    FetchError,
    FetchReport,
    Job,
    Options,
    Progress,
    SecretError,
    UidsChanged,
    begin_from_now,
    destination_forms,
    fetch_every,
    fetch_mailbox,
    fetch_many,
    import_seen,
    open_destination,
)

OF_DESTINATIONS = (
    "recipient",
    "pipe_timeout",
    "to_password",
    "to_token",
    "to_context",
    "jobs_per_account",
    "to_create",
    "sync",
)
"""The settings that a `Job` has beside its options: what some destinations have to be told."""


@dataclass(frozen=True)
class Task:
    """What is to be done for an account, and how it ended when it could not begin."""

    name: str
    settings: Settings
    job: Job | None = None
    failed: FetchReport | None = None


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: the way in which a fetch every so often is meant to end."""


def fetch(accounts: dict[str, Settings], command: argparse.Namespace) -> int:
    """Fetch the mail of *accounts*; return the exit status."""
    alone = len(accounts) == 1
    if command.import_seen is not None and not alone:
        raise UsageError("--import-seen is for one account; in the configuration each may have a key of that name")
    if command.every is not None and command.dry_run:
        raise UsageError("a dry run is done once, and not --every so often")
    tasks = [task_of(account, settings, command, alone=alone) for account, settings in accounts.items()]
    # When every one makes sense: this changes what is remembered.
    tasks = [_taken_over(task, command, alone=alone) for task in tasks]
    with opened_log(command.log) as log:
        told = Told(command, log)
        return _once(tasks, command, told) if command.every is None else _again_and_again(tasks, command, told)


def _once(tasks: list[Task], command: argparse.Namespace, told: "Told") -> int:
    began = time.monotonic()
    jobs = [task.job for task in tasks if task.job is not None and task.failed is None]
    try:
        with told.at_terminal(len(jobs)):
            done = iter(_run(jobs, command, told, alone=len(tasks) == 1))
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(told.what_is_safe())
        raise
    reports = [task.failed or next(done) for task in tasks]
    statuses = [told.end(task, report) for task, report in zip(tasks, reports, strict=True)]
    if len(tasks) > 1 and not (command.quiet or command.json):
        say(total(reports, time.monotonic() - began))
    return status_of(statuses)


def _run(jobs: list[Job], command: argparse.Namespace, told: "Told", *, alone: bool) -> list[FetchReport]:
    if not alone:
        return fetch_many(jobs, threads=command.jobs, progress=told.now, on_report=told.ended)
    return [_fetched(job, told) for job in jobs]


def _fetched(job: Job, told: "Told") -> FetchReport:
    try:
        wishes = asdict(job.options) | {name: getattr(job, name) for name in OF_DESTINATIONS}
        return fetch_mailbox(
            job.account, job.destination, state=job.state, **wishes, progress=lambda progress: told.now(job, progress)
        )
    except ValueError as error:
        # Such as an unknown mechanism, which is found out only when it is to be used.
        raise UsageError(str(error)) from None


def _again_and_again(tasks: list[Task], command: argparse.Namespace, told: "Told") -> int:
    """Fetch until SIGTERM, after which all is well; an interrupt passes through. Ends where no account can ever begin.

    An account that could not begin tries again in its next turn: its server may have been away for a moment.
    """
    of_job = {id(task.job): task for task in tasks}
    to_begin: dict[int, FetchReport | None] = {id(task.job): task.failed for task in tasks if task.failed is not None}

    def begin(job: Job) -> FetchReport | None:
        if id(job) not in to_begin:
            return None
        # What kept it is told in its first turn, in which no server is asked for another login at once.
        failed = to_begin[id(job)] or _taken_over(of_job[id(job)], command, alone=False).failed
        to_begin[id(job)] = None
        if failed is None:
            del to_begin[id(job)]
        return failed

    statuses = [told.end(task, task.failed) for task in tasks if task.job is None and task.failed is not None]
    jobs = [task.job for task in tasks if task.job is not None]
    if not jobs:
        return status_of(statuses)
    try:
        with _terminated_by(signal.SIGTERM):
            fetch_every(
                jobs,
                command.every,
                threads=command.jobs,
                progress=told.now,
                on_report=lambda job, report: told.end(of_job[id(job)], report),
                before=begin,
            )
    except Terminated:
        return 0
    except KeyboardInterrupt as interrupt:
        interrupt.add_note("interrupted: what was delivered is remembered; run the same command again to go on")
        raise
    return 0


@contextlib.contextmanager
def _terminated_by(number: signal.Signals) -> Iterator[None]:
    """Let the signal end the block with `Terminated`, once: from then on it is ending."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(number, before)


class Told:
    """Whoever is told what happens: a person, a program, a log. What is said while fetches run comes from threads."""

    def __init__(self, command: argparse.Namespace, log: Log | None) -> None:
        """Tell as *command* says, and in *log*."""
        self._command = command
        self._log = log
        self._display: Display | None = None
        self._delivered: Counter[str] = Counter()
        self._in_all: dict[str, int] = {}

    @contextlib.contextmanager
    def at_terminal(self, accounts: int) -> Iterator[None]:
        """Show the progress of so many *accounts* while the block runs, where there is a terminal."""
        command = self._command
        if command.quiet or command.verbose or command.json or command.debug:
            yield
            return
        with on_terminal(sys.stderr, accounts) as self._display:
            yield
        self._display = None

    def now(self, job: Job, progress: Progress) -> None:
        """Tell how far the fetch of *job* is."""
        account = str(job.account)
        self._in_all[account] = progress.messages_in_all
        self._delivered[account] += len(progress.delivered)
        if self._command.json or self._log is not None:
            for line in lines_now(account, progress):
                self._program(line)
        if self._command.verbose:
            tell_person_now(account, progress)
        if self._display is not None:
            self._display.show(account, progress)

    def ended(self, report: FetchReport) -> None:
        """Take note that a fetch has ended, of which more is told later."""
        if self._display is not None:
            self._display.end(report.account)

    def end(self, task: Task, report: FetchReport) -> int:
        """Tell what came of a fetch, run what is to be run afterwards, and return the exit status."""
        hint, command = _advice(task, report), self._command
        if command.json or self._log is not None:
            for line in lines_of(report, hint):
                self._program(line)
        # Every so often nothing is new, and that is nothing to say.
        if not command.json and (command.every is None or command.verbose or not report.ok or _is_news(report)):
            tell_person(report, Options() if task.job is None else task.job.options, command, hint)
        status = 0 if command.dry_run else run_afterwards(task.name, task.settings, report)
        return report.exit_status or status

    def what_is_safe(self) -> str:
        """Return what a person is told who interrupted: how many messages are safe, and of how many."""
        in_all = sum(self._in_all.values())
        if not in_all:
            return "interrupted: nothing was fetched yet; run the same command again"
        safe = f"{self._delivered.total():,} of {plural(in_all, 'message')}"
        verb = "is" if in_all == 1 else "are"
        return f"interrupted: {safe} {verb} safe; run the same command again to go on"

    def _program(self, line: str) -> None:
        if self._command.json:
            say(line)
        if self._log is not None:
            self._log.write(line)


def _is_news(report: FetchReport) -> bool:
    return came_to_something(replace(report, seen=0))


def task_of(account: str, settings: Settings, command: argparse.Namespace, *, alone: bool) -> Task:
    """Return what is to be done for an *account*.

    Raises `UsageError` that names it, and `SecretError` of an account that is alone.
    """
    try:
        return Task(account, settings, job_of(settings, command, alone=alone))
    except UsageError as error:
        raise UsageError(f"{shown_name(account)}{error}") from None
    except SecretError as error:
        if alone:
            raise
        return Task(account, settings, failed=FetchReport(described(settings), settings.to or "", error=error))


def _taken_over(task: Task, command: argparse.Namespace, *, alone: bool) -> Task:
    """Return *task*, for which what another program fetched, or what is there now, is not new where it is to be so."""
    job, path = task.job, task.settings.import_seen
    if job is None:
        return task
    try:
        if path is not None:
            taken = import_seen(job.account, job.destination, path, state=job.state)
            _say_taken(taken, f" of {path} will not be fetched again", command)
        if task.settings.from_now:
            taken = begin_from_now(job.account, job.destination, state=job.state)
            _say_taken(taken, " on the server will not be fetched: --from-now", command)
    except (FetchError, error_proto, OSError) as error:
        if alone and isinstance(error, FetchError):
            raise
        return replace(task, failed=FetchReport(str(job.account), job.words, error=error))
    return replace(task, failed=None)


def _say_taken(taken: int, words: str, command: argparse.Namespace) -> None:
    if taken and not command.quiet and not command.json:
        say(printable(f"{plural(taken, 'message')}{words}"))


def job_of(settings: Settings, command: argparse.Namespace, *, alone: bool) -> Job:
    """Return what *settings* and the *command* ask for. Raises `UsageError` for what makes no sense."""
    to = demand(settings.to, f"nobody says where the mail goes: --to {destination_forms()}")
    if command.dry_run and (settings.import_seen is not None or settings.from_now):
        what = "from-now" if settings.import_seen is None else "import-seen"
        raise UsageError(f"{what} changes what is remembered, and a dry run changes nothing")
    known = {option.name for option in fields(Options)}
    again = tuple(command.fetch_again or ())
    said = {name: value for name, value in settings.said().items() if name in known}
    try:
        options = Options(
            dry_run=command.dry_run,
            accept_uid_change=command.accept_uid_change,
            fetch_again="all" in again or again,
            **cast("dict[str, Any]", said),
        )
        open_destination(to).close()
    except ValueError as error:
        raise UsageError(str(error)) from None
    more = {name: value for name, value in settings.said().items() if name in OF_DESTINATIONS} | to_log_in(settings)
    return Job(account_of(settings, alone=alone), to, settings.state, options, **cast("dict[str, Any]", more))


def _advice(task: Task, report: FetchReport) -> str:
    """Return what to do about what ended a fetch, or made it slow; empty where nothing did, or nobody knows."""
    if isinstance(report.error, UidsChanged):
        return "--accept-uid-change fetches all of them once more"
    if report.helpful_sessions and report.error is None:
        return (
            f"this server answers one command at a time: --sessions {report.helpful_sessions} would be about "
            f"{report.helpful_sessions} times faster"
        )
    if report.error is None or task.job is None:
        return ""
    return advice(report.error, parse_url(task.job.account.url), by_token=task.job.account.token is not None)
