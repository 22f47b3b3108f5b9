"""Telling: what a person is told of a fetch, while it runs and when it has ended.

Owns the sentences, and which of them are results (standard output) and which complaints (standard error).
"""

import argparse
import sys

from pop3fast.cli._progress import doing_in_words
from pop3fast.cli._text import complain, in_words, of_account, plural, printable, say, shown_size
from pop3fast.fetch import AccountBusy, FetchReport, Named, Options, Progress

MOST_NAMES = 5
"""So many messages of a kind are named unless -v asks for all: with a limit a whole mailbox may be left."""


def tell_person_now(account: str, progress: Progress) -> None:
    """Tell of a message that has come, and of what begins."""
    account = printable(account)
    if progress.message is not None:
        count = f"{progress.messages:,} of {progress.messages_in_all:,}"
        said = f"{account}: {progress.message}, {progress.message.size:,} octets ({count})"
        if subject := _subject(progress):
            said += f": {printable(subject)}"
        say(said)
    elif progress.doing == "waiting" or (progress.doing != "receiving" and sys.stderr.isatty()):
        # It is no result; and what takes only a moment is for a person who looks on.
        complain(f"{account}: {doing_in_words(progress)}")


def _subject(progress: Progress) -> str:
    from pop3fast.cli._headers import subject_of  # noqa: PLC0415 - takes long, and only -v shows subjects

    return "" if progress.begins is None else subject_of(progress.begins.octets)


def tell_person(report: FetchReport, options: Options, command: argparse.Namespace, hint: str) -> None:
    """Tell what came of a fetch with *options*; *hint* is what to do about its error."""
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
    if not command.quiet and (report.error is None or came_to_something(report)):
        say(printable(summary(report)))
    if report.error is not None:
        # That another run has the account names it already.
        is_busy = isinstance(report.error, AccountBusy)
        complain(in_words(report.error) if is_busy else of_account(account, report.error))
    if hint and (report.error is not None or not command.quiet):
        complain(hint)


def came_to_something(report: FetchReport) -> bool:
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


def total(reports: list[FetchReport], seconds: float) -> str:
    """Return what came of the fetches of several accounts together, in one line."""
    messages, octets = sum(report.fetched for report in reports), sum(report.octets for report in reports)
    parts = [f"{plural(messages, 'message')} fetched ({shown_size(octets)})"]
    if failed := sum(not report.ok for report in reports):
        parts.append(f"{failed:,} of the accounts with a fault")
    return f"{plural(len(reports), 'account')}: {', '.join(parts)}, in {seconds:.1f} s"
