"""Events: what a program is told of a fetch, while it runs and when it has ended.

Pure. Owns the names and fields of the events, which are the same on the standard output (``--json``) and in a log.
Each is one line of pure ASCII. A message that was received is not yet delivered: there is an event for either.
"""

import time
from collections.abc import Iterator

from pop3fast.cli._text import in_words
from pop3fast.fetch import FetchReport, Named, Progress

COUNTS = (
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


def event_line(event: str, account: str, **fields: object) -> str:
    """Return a line for a program: what happened to an *account*, and when."""
    import json  # noqa: PLC0415 - takes long, and most commands tell no program

    return json.dumps({"event": event, "time": moment(time.time()), "account": account, **fields}, ensure_ascii=True)


def moment(seconds: float) -> str:
    """Return a moment, in *seconds* since 1970, as programs write it (ISO 8601, UTC)."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03}Z"


def lines_now(account: str, progress: Progress) -> Iterator[str]:
    """Yield what there is to say while a fetch runs."""
    if progress.message is not None:
        yield event_line("received", account, **_fields(progress.message))
    for one in progress.delivered:
        yield event_line("delivered", account, **_fields(one.message), path=one.path)
    if progress.doing == "waiting":
        yield event_line("waiting", account, why=progress.why, until=moment(progress.until or 0.0))


def lines_of(report: FetchReport, hint: str) -> Iterator[str]:
    """Yield what there is to say when a fetch has ended; *hint* is what to do about its error."""
    account = report.account
    for event, messages in (
        ("would-fetch", report.to_fetch),
        ("would-delete", report.to_delete),
        ("failed", report.failures),
        ("left", report.left),
        ("kept", report.kept),
    ):
        for message in messages:
            yield event_line(event, account, **_fields(message))
    for warning in report.warnings:
        yield event_line("warning", account, text=warning)
    yield event_line(
        "end",
        account,
        destination=report.destination,
        **{name: getattr(report, name) for name in COUNTS},
        left=len(report.left),
        failed=len(report.failures),
        error=None if report.error is None else in_words(report.error),
        advice=hint or None,
        exit_status=report.exit_status,
    )


def _fields(message: Named) -> dict[str, object]:
    """Return what is known of a message; its unique-id's octets as Latin-1, of which every one survives."""
    fields: dict[str, object] = {"number": message.number, "uid": message.uid.decode("latin-1"), "size": message.size}
    return fields | ({"why": message.why} if message.why else {})
