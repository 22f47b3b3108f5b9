"""Telemetry: what OpenTelemetry is told of fetches and their sessions, where the program has imported it.

Owns the names of metrics and spans. Imports nothing that the program has not imported itself: without that nobody
listens. Never tells whose mail it is: accounts are people, and hosts are many, so metrics have neither, and spans have
the host only.
"""

import contextlib
import sys
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from pop3fast import __version__
from pop3fast.fetch._report import (
    EXIT_BUSY,
    EXIT_FAILED,
    EXIT_LOGIN_REFUSED,
    EXIT_NO_CONNECTION,
    EXIT_NOT_WRITABLE,
    EXIT_OK,
    FetchReport,
)

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Tracer

SCOPE = "pop3fast"

OUTCOMES = {
    EXIT_OK: "ok",
    EXIT_FAILED: "failed",
    EXIT_NO_CONNECTION: "no_connection",
    EXIT_LOGIN_REFUSED: "login_refused",
    EXIT_NOT_WRITABLE: "not_writable",
    EXIT_BUSY: "busy",
}
"""What ``pop3fast.outcome`` says, by the exit status; anything else is ``failed``, too."""

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
"""The limits between which durations are counted: from a server next door to a large mailbox on a slow line."""


class Instruments:
    """What is counted."""

    def __init__(self, meter: "Meter", tracer: "Tracer") -> None:
        """Make the instruments of *meter*."""
        self.tracer = tracer
        self.messages = meter.create_counter(
            "pop3fast.fetch.messages", "{message}", "Messages that were fetched, failed or deleted from the server"
        )
        self.octets = meter.create_counter("pop3fast.fetch.io", "By", "Octets of the messages that were fetched")
        self.sessions = meter.create_counter("pop3fast.fetch.sessions", "{session}", "Logins")
        self.duration = meter.create_histogram(
            "pop3fast.fetch.duration",
            "s",
            "How long fetches took, pauses included",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.late = meter.create_histogram(
            "pop3fast.fleet.delay",
            "s",
            "How long accounts were due before a worker took them",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.turns = meter.create_up_down_counter(
            "pop3fast.fleet.active_turns", "{turn}", "Accounts that this worker has now"
        )
        self.troubles = meter.create_counter(
            "pop3fast.fleet.state_failures", "{failure}", "How often the state could not be asked whose turn it is"
        )


def instruments() -> Instruments | None:
    """Return what is counted; None when nobody listens, or the one who does cannot be told."""
    return _instruments() if "opentelemetry" in sys.modules else None


@cache
def _instruments() -> Instruments | None:
    try:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - imported by the program

        return Instruments(metrics.get_meter(SCOPE, __version__), trace.get_tracer(SCOPE, __version__))
    except (ImportError, TypeError):
        # An API older than the extra asks for, or another package of that name space: no reason not to fetch.
        return None


def note_fetch(report: FetchReport) -> None:
    """Tell what came of a fetch."""
    told = instruments()
    if told is None:
        return
    outcome: dict[str, Any] = {"pop3fast.outcome": OUTCOMES.get(report.exit_status, "failed")}
    if report.error is not None:
        outcome["error.type"] = type(report.error).__qualname__
    told.duration.record(report.seconds, outcome)
    told.sessions.add(report.sessions, outcome)
    told.octets.add(report.octets)
    for what, count in (
        ("fetched", report.fetched),
        ("failed", len(report.failures)),
        ("deleted", report.deleted),
    ):
        told.messages.add(count, {"pop3fast.message.result": what})


@contextlib.contextmanager
def session_span(host: str, port: int) -> Iterator[None]:
    """Have the block be a span, which ends with the type of what it raises."""
    told = instruments()
    if told is None:
        yield
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415 - as above

    about: dict[str, str | int] = {"server.address": host, "server.port": port, "network.protocol.name": "pop3"}
    with told.tracer.start_as_current_span(
        "POP3 session", kind=SpanKind.CLIENT, attributes=about, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except BaseException as error:
            # The words of the error may name the person.
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
            raise
