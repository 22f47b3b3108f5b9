"""`pop3fast fetch`: one mailbox, or all that a configuration names.

Owns what a person and a program are told about a fetch, while it runs and when it has ended. The library does the
fetching. A message that was received is not yet delivered: only the report says which were.
"""

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, cast

from pop3fast._location import parse_url
from pop3fast.cli._accounts import account_of, described, to_log_in
from pop3fast.cli._advice import advice
from pop3fast.cli._progress import Display, doing_in_words, on_terminal
from pop3fast.cli._selection import shown_name, status_of
from pop3fast.cli._settings import Settings, demand
from pop3fast.cli._text import (
    UsageError,
    complain,
    in_words,
    moment,
    of_account,
    plural,
    printable,
    say,
    say_event,
    shown_size,
)
from pop3fast.fetch import (
    AccountBusy,
    FetchError,
    FetchReport,
    Job,
    Named,
    Options,
    Progress,
    SecretError,
    UidsChanged,
    destination_forms,
    fetch_mailbox,
    fetch_many,
    import_seen,
    open_destination,
)

Tell = Callable[[Job, Progress], None]

OF_DESTINATIONS = ("recipient", "pipe_timeout", "to_password", "to_token", "to_context", "jobs_per_account")
"""The settings that a `Job` has beside its options: what some destinations have to be told."""

MOST_NAMES = 5
"""So many messages of a kind are named unless -v asks for all: with a limit a whole mailbox may be left."""


def fetch(accounts: dict[str, Settings], command: argparse.Namespace) -> int:
    """Fetch the mail of *accounts*; return the exit status."""
    alone = len(accounts) == 1
    if command.import_seen is not None and not alone:
        raise UsageError("--import-seen is for one account; in the configuration each may have a key of that name")
    tasks = [_task_of(account, settings, command, alone=alone) for account, settings in accounts.items()]
    # When every one makes sense: this changes what is remembered.
    tasks = [
        _taken_over(task, settings, command, alone=alone)
        for task, settings in zip(tasks, accounts.values(), strict=True)
    ]
    jobs = [task for task in tasks if isinstance(task, Job)]
    shows_progress = not (command.quiet or command.verbose or command.json or command.debug)
    safe = _Safe()
    try:
        with on_terminal(sys.stderr) if shows_progress else contextlib.nullcontext() as display:
            done = iter(_run(jobs, command, safe.watching(_teller(display, command)), alone=alone))
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(safe.in_words())
        raise
    reports = [next(done) if isinstance(task, Job) else task for task in tasks]
    for task, report in zip(tasks, reports, strict=True):
        hint = _advice(task, report)
        if command.json:
            _tell_program(report, hint)
        else:
            _tell_person(report, task.options if isinstance(task, Job) else Options(), command, hint)
    return status_of([report.exit_status for report in reports])


class _Safe:
    """How many messages of how many are safe, for a person who interrupts a fetch."""

    def __init__(self) -> None:
        self._delivered: Counter[str] = Counter()
        self._in_all: dict[str, int] = {}

    def watching(self, tell: Tell | None) -> Tell:
        """Return what counts, and then calls *tell*."""

        def count(job: Job, progress: Progress) -> None:
            account = str(job.account)
            self._in_all[account] = progress.messages_in_all
            self._delivered[account] += len(progress.delivered)
            if tell is not None:
                tell(job, progress)

        return count

    def in_words(self) -> str:
        """Return what a person is told who interrupted."""
        in_all = sum(self._in_all.values())
        if not in_all:
            return "interrupted: nothing was fetched yet; run the same command again"
        safe = f"{self._delivered.total():,} of {plural(in_all, 'message')}"
        verb = "is" if in_all == 1 else "are"
        return f"interrupted: {safe} {verb} safe; run the same command again to go on"


def _task_of(account: str, settings: Settings, command: argparse.Namespace, *, alone: bool) -> Job | FetchReport:
    """Return what is to be done for an *account*, or how it ended when it is not *alone* and cannot begin.

    Raises `UsageError` that names it, and `SecretError` of an account that is alone.
    """
    try:
        return job_of(settings, command, alone=alone)
    except UsageError as error:
        raise UsageError(f"{shown_name(account)}{error}") from None
    except SecretError as error:
        if alone:
            raise
        return FetchReport(described(settings), settings.to or "", error=error)


def _taken_over(
    task: Job | FetchReport, settings: Settings, command: argparse.Namespace, *, alone: bool
) -> Job | FetchReport:
    """Return *task*, for which what another program fetched counts as fetched where *settings* say so."""
    if not isinstance(task, Job) or settings.import_seen is None:
        return task
    try:
        taken = import_seen(task.account, task.destination, settings.import_seen, state=task.state)
    except FetchError as error:
        if alone:
            raise
        return FetchReport(str(task.account), task.words, error=error)
    if taken and not command.quiet and not command.json:
        say(printable(f"{plural(taken, 'message')} of {settings.import_seen} will not be fetched again"))
    return task


def job_of(settings: Settings, command: argparse.Namespace, *, alone: bool) -> Job:
    """Return what *settings* and the *command* ask for. Raises `UsageError` for what makes no sense."""
    to = demand(settings.to, f"nobody says where the mail goes: --to {destination_forms()}")
    if settings.import_seen is not None and command.dry_run:
        raise UsageError("import-seen changes what is remembered, and a dry run changes nothing")
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


def _advice(task: Job | FetchReport, report: FetchReport) -> str:
    """Return what to do about what ended a fetch, or made it slow; empty where nothing did, or nobody knows."""
    if isinstance(report.error, UidsChanged):
        return "--accept-uid-change fetches all of them once more"
    if report.helpful_sessions and report.error is None:
        return (
            f"this server answers one command at a time: --sessions {report.helpful_sessions} would be about "
            f"{report.helpful_sessions} times faster"
        )
    if report.error is None or not isinstance(task, Job):
        return ""
    return advice(report.error, parse_url(task.account.url), by_token=task.account.token is not None)


def _run(jobs: list[Job], command: argparse.Namespace, tell: Tell | None, *, alone: bool) -> list[FetchReport]:
    if not alone:
        return fetch_many(jobs, threads=command.jobs, progress=tell)
    (job,) = jobs
    progress = None if tell is None else lambda progress: tell(job, progress)
    try:
        wishes = asdict(job.options) | {name: getattr(job, name) for name in OF_DESTINATIONS}
        return [fetch_mailbox(job.account, job.destination, state=job.state, **wishes, progress=progress)]
    except ValueError as error:
        # As a mechanism that nobody knows, which is found out when it is to be used.
        raise UsageError(str(error)) from None


def _teller(display: Display | None, command: argparse.Namespace) -> Tell | None:
    """Return what is told while a fetch runs."""
    if command.json:
        return _tell_program_now
    if command.verbose:
        return _tell_person_now
    return None if display is None else lambda job, progress: display.show(str(job.account), progress)


def _tell_program_now(job: Job, progress: Progress) -> None:
    account = str(job.account)
    if progress.message is not None:
        say_event("received", account, **_fields(progress.message))
    for one in progress.delivered:
        say_event("delivered", account, **_fields(one.message), path=one.path)
    if progress.doing == "waiting":
        say_event("waiting", account, why=progress.why, until=moment(progress.until or 0.0))


def _tell_person_now(job: Job, progress: Progress) -> None:
    account = printable(str(job.account))
    if progress.message is not None:
        count = f"{progress.messages:,} of {progress.messages_in_all:,}"
        say(f"{account}: {progress.message}, {progress.message.size:,} octets ({count})")
    elif progress.doing == "waiting" or (progress.doing != "receiving" and sys.stderr.isatty()):
        # It is no result; and what takes only a moment is for a person who looks on.
        complain(f"{account}: {doing_in_words(progress)}")


def _fields(message: Named) -> dict[str, object]:
    """Return what is known of a message; its unique-id's octets as Latin-1, of which every one survives."""
    fields: dict[str, object] = {"number": message.number, "uid": message.uid.decode("latin-1"), "size": message.size}
    return fields | ({"why": message.why} if message.why else {})


def _tell_program(report: FetchReport, hint: str) -> None:
    account = report.account
    for event, messages in (
        ("would-fetch", report.to_fetch),
        ("would-delete", report.to_delete),
        ("failed", report.failures),
        ("left", report.left),
        ("kept", report.kept),
    ):
        for message in messages:
            say_event(event, account, **_fields(message))
    for warning in report.warnings:
        say_event("warning", account, text=warning)
    counts = (
        "fetched",
        "octets",
        "seen",
        "skipped",
        "discarded",
        "deleted",
        "deletions_unknown",
        "forgotten",
        "sessions",
        "seconds",
    )
    say_event(
        "end",
        account,
        destination=report.destination,
        **{name: getattr(report, name) for name in counts},
        left=len(report.left),
        failed=len(report.failures),
        error=None if report.error is None else in_words(report.error),
        advice=hint or None,
        exit_status=report.exit_status,
    )


def _tell_person(report: FetchReport, options: Options, command: argparse.Namespace, hint: str) -> None:
    account = report.account
    for verb, messages in (("fetch", report.to_fetch), ("delete", report.to_delete)):
        for message in messages:
            say(f"{printable(account)}: would {verb} {message}, {message.size:,} octets")
    for message in report.failures:
        complain(f"{account}: {message}")
    for warning in () if command.quiet else report.warnings:
        complain(f"{account}: warning: {warning}")
    # Mail that piles up on the server is nothing to be quiet about.
    _name(f"{account}: left on the server", _piling_up(report, options) if command.quiet else report.left, command)
    _name(f"{account}: kept on the server", report.kept, command)
    if not command.quiet and (report.error is None or _came_to_something(report)):
        say(printable(summary(report)))
    if report.error is not None:
        # That another run has the account names it already.
        is_busy = isinstance(report.error, AccountBusy)
        complain(in_words(report.error) if is_busy else of_account(account, report.error))
    if hint and (report.error is not None or not command.quiet):
        complain(hint)


def _came_to_something(report: FetchReport) -> bool:
    """Return whether anything is to be said of a fetch besides what ended it."""
    return bool(report.fetched or report.seen or report.deleted or report.deletions_unknown or report.failures)


def _piling_up(report: FetchReport, options: Options) -> list[Named]:
    """Return what is left on the server for its size, or because it was refused, and what no other fetch will get."""
    if options.limit is None and not options.since_last:
        return report.left
    too_large = [message for message in report.left if message.size > (options.max_size or message.size)]
    return sorted([*too_large, *report.refused])


def _name(what: str, messages: list[Named], command: argparse.Namespace) -> None:
    """Name *messages*, all of them where the *command* says so."""
    most = len(messages) if command.verbose else MOST_NAMES
    for message in messages[:most]:
        complain(f"{what}: {message}")
    if len(messages) > most:
        complain(f"{what}: {len(messages) - most:,} more (-v names them)")


def summary(report: FetchReport) -> str:
    """Return what came of a fetch, in one line."""
    parts = [f"{plural(report.fetched, 'message')} fetched ({shown_size(report.octets)})"]
    if report.to_fetch or report.to_delete:
        octets = sum(message.size for message in report.to_fetch)
        parts = [f"{plural(len(report.to_fetch), 'message')} to fetch ({shown_size(octets)})"]
        parts += [f"{len(report.to_delete):,} to delete"] * bool(report.to_delete)
    for count, words in (
        (len(report.failures), "failed"),
        (report.seen, "fetched before"),
        (report.skipped, "skipped by the filter"),
        (len(report.left), "left on the server"),
        (report.deleted, "deleted"),
        (report.deletions_unknown, "perhaps deleted"),
        (len(report.kept), "kept that were to be deleted"),
    ):
        if count:
            parts.append(f"{count:,} {words}")
    return f"{report.account}: {', '.join(parts)}, in {report.seconds:.1f} s"
