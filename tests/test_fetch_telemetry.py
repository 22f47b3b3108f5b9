"""What OpenTelemetry is told: counts, durations and spans by its conventions, nobody's name, and nothing unasked."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest

from hotels import Hotel
from maildrops import Maildrop, account_of, mail
from pop3fast.fetch import Job, Options
from pop3fast.fetch import _telemetry as telemetry
from pop3fast.fetch._retrying import Surroundings, run_job
from pop3fast.fetch._waiting import Stop
from scripted import ScriptedServer
from test_fetch_fleet import fetch, mails

DASHBOARD = Path(__file__).parent.parent / "contrib" / "grafana-pop3fast.json"


class Told:
    """What has been told."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - the tests run without it
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415

        self._reader, self._exporter = InMemoryMetricReader(), InMemorySpanExporter()
        self._meters, self._tracers = MeterProvider([self._reader]), TracerProvider()
        self._tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.instruments = telemetry.Instruments(self._meters.get_meter("x"), self._tracers.get_tracer("x"))

    def metrics(self) -> dict[str, Any]:
        data = self._reader.get_metrics_data()
        scopes = [] if data is None else [scope for each in data.resource_metrics for scope in each.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name: str) -> dict[tuple[object, ...], Any]:
        """Return the points of a metric, by the values of their attributes in the order of their names."""
        metric = self.metrics()[name]
        return {
            tuple(value for _, value in sorted(point.attributes.items())): point for point in metric.data.data_points
        }

    def spans(self) -> list[Any]:
        return [*self._exporter.get_finished_spans()]

    def close(self) -> None:
        self._meters.shutdown()
        self._tracers.shutdown()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    pytest.importorskip("opentelemetry.sdk")
    found = Told()
    monkeypatch.setattr(telemetry, "instruments", lambda: found.instruments)
    monkeypatch.setattr("pop3fast.fetch.fleet._worker.instruments", lambda: found.instruments)
    yield found
    found.close()


def run(drop: Maildrop, folder: Path) -> None:
    with ScriptedServer(b"+OK\r\n", drop) as server:
        job = Job(account_of(server), f"eml:{folder}/mail", None, Options(delete=True, patience=0))
        run_job(job, Surroundings(stop=Stop()))


def test_of_a_fetch_are_counted_messages_octets_and_logins(told: Told, tmp_path: Path) -> None:
    drop = Maildrop((b"1", mail(1)), (b"2", mail(2)))
    run(drop, tmp_path)
    assert {key: point.value for key, point in told.points("pop3fast.fetch.messages").items()} == {
        ("fetched",): 2,
        ("failed",): 0,
        ("deleted",): 2,
    }
    assert told.points("pop3fast.fetch.io")[()].value == len(mail(1)) + len(mail(2))
    assert told.points("pop3fast.fetch.sessions")["ok",].value == 1
    assert told.points("pop3fast.fetch.duration")["ok",].count == 1
    units = {name: metric.unit for name, metric in told.metrics().items()}
    assert units == {
        "pop3fast.fetch.messages": "{message}",
        "pop3fast.fetch.io": "By",
        "pop3fast.fetch.sessions": "{session}",
        "pop3fast.fetch.duration": "s",
    }


@pytest.mark.parametrize(
    ("reply", "outcome", "error"),
    [
        (b"-ERR [AUTH] user is not welcome\r\n", "login_refused", "AuthenticationError"),
        (b"-ERR [IN-USE] user is there\r\n", "no_connection", "AuthenticationError|CommandError"),
    ],
)
def test_an_error_is_told_by_its_type_and_says_nobody_s_name(
    told: Told, tmp_path: Path, reply: bytes, outcome: str, error: str
) -> None:
    drop = Maildrop()
    drop.instead = lambda command: reply if command.startswith(b"PASS") else None
    run(drop, tmp_path)
    ((kind, said),) = told.points("pop3fast.fetch.duration")
    assert re.fullmatch(error, str(kind))
    assert said == outcome
    (span,) = told.spans()
    assert not span.status.is_ok
    assert span.attributes["error.type"] == kind
    assert "user" not in span.to_json()


def test_each_session_is_a_span_of_a_client(told: Told, tmp_path: Path) -> None:
    run(Maildrop((b"1", mail(1))), tmp_path)
    (span,) = told.spans()
    assert span.name == "POP3 session"
    assert span.kind.name == "CLIENT"
    assert {**span.attributes} | {"server.port": 1} == {
        "server.address": "127.0.0.1",
        "server.port": 1,
        "network.protocol.name": "pop3",
    }
    assert span.status.is_ok


def test_of_a_fleet_is_told_how_late_turns_begin_and_how_many_are_under_way(told: Told, tmp_path: Path) -> None:
    with Hotel({"a": Maildrop(*mails(0)), "b": Maildrop(*mails(1))}) as hotel:
        fetch(hotel, tmp_path, tmp_path / "state", 2)
    assert told.points("pop3fast.fleet.active_turns")[()].value == 0
    assert told.points("pop3fast.fleet.delay")[()].count >= 2


def in_prometheus(name: str, unit: str, kind: str) -> set[str]:
    """Return the names that OpenTelemetry's exporters give a metric for Prometheus."""
    words = {"s": "_seconds", "By": "_bytes"}.get(unit, "")
    base = name.replace(".", "_") + words
    if kind == "Histogram":
        return {f"{base}_{part}" for part in ("bucket", "sum", "count")}
    return {f"{base}_total" if kind == "Counter" else base}


def test_names_and_units_keep_to_opentelemetry_s_conventions(told: Told, tmp_path: Path) -> None:
    attributes = pytest.importorskip("opentelemetry.semconv.attributes")
    modules = [import_module(f"{attributes.__name__}.{found.name}") for found in iter_modules(attributes.__path__)]
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    run(Maildrop((b"1", mail(1))), tmp_path)
    refusing = Maildrop((b"1", mail(1)))
    refusing.instead = lambda command: b"-ERR no\r\n" if command.startswith(b"PASS") else None
    run(refusing, tmp_path)
    told.instruments.late.record(1)
    told.instruments.turns.add(1)
    told.instruments.troubles.add(1)
    metrics, spans = told.metrics(), told.spans()
    assert len(metrics) == 7
    assert spans
    for name, metric in metrics.items():
        # Namespaces divided by dots, words by underscores; the unit has its own place, and Prometheus adds "total".
        assert re.fullmatch(r"pop3fast(\.[a-z]+(_[a-z]+)*){2}", name)
        assert not re.search(r"(total|seconds|bytes|count)$", name)
        assert re.fullmatch(r"s|By|\{[a-z]+\}", metric.unit)
        assert (metric.unit == "s") is (type(metric.data).__name__ == "Histogram")
    said = {key for metric in metrics.values() for point in metric.data.data_points for key in point.attributes}
    said |= {key for span in spans for key in span.attributes}
    assert {"error.type", "server.address", "server.port"} <= said
    assert {key for key in said if not key.startswith("pop3fast.")} <= known


def test_the_dashboard_names_only_metrics_and_labels_that_there_are(told: Told) -> None:
    made = told.instruments
    for instrument in vars(made).values():
        for do in ("add", "record"):
            if hasattr(instrument, do):
                getattr(instrument, do)(1)
    there: set[str] = set()
    for name, metric in told.metrics().items():
        kind = type(metric.data).__name__
        if kind == "Sum":
            kind = "Counter" if metric.data.is_monotonic else "UpDownCounter"
        there |= in_prometheus(name, metric.unit, kind)
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    named = {word for query in queries for word in re.findall(r"\b(pop3fast_\w+)\b(?=[\[{)])", query)}
    assert named <= there | {"pop3fast_outcome", "pop3fast_message_result"}
    # Each of them is shown.
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in there} <= shown
    labels = {word for query in queries for word in re.findall(r"by \((\w+)\)", query)}
    assert labels <= {"pop3fast_outcome", "pop3fast_message_result", "error_type", "instance", "le"}


def test_nothing_is_imported_that_the_program_has_not_imported() -> None:
    code = (
        "import sys; from pop3fast.fetch import FetchReport; from pop3fast.fetch import _telemetry as t; "
        "t.note_fetch(FetchReport('a', 'b'))\nwith t.session_span('h', 1): pass\n"
        "assert t.instruments() is None and 'opentelemetry' not in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_program_that_has_imported_it_is_told_by_its_providers() -> None:
    pytest.importorskip("opentelemetry.sdk")
    code = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
from pop3fast.fetch import FetchReport, _telemetry
_telemetry.note_fetch(FetchReport("a", "b", fetched=3))
(scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
assert scope.scope.name == "pop3fast" and scope.scope.version
assert "pop3fast.fetch.messages" in [metric.name for metric in scope.metrics]
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


OLDER = "a.metrics = a.trace = a; a.get_meter = a.get_tracer = lambda *_: a; a.create_counter = len"


@pytest.mark.parametrize("has", ["", OLDER], ids=["another package of that name space", "an older one"])
def test_a_program_with_one_that_cannot_be_told_fetches_all_the_same(has: str) -> None:
    code = f"""
import sys, types
a = sys.modules["opentelemetry"] = types.ModuleType("opentelemetry")
{has}
from pop3fast.fetch import FetchReport, _telemetry
_telemetry.note_fetch(FetchReport("a", "b", fetched=3))
with _telemetry.session_span("h", 1):
    pass
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
