"""Telemetry: events and gauges as they leave the process, that no secret leaves with them, and what it costs."""

from __future__ import annotations

import ast
import gzip
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared import telemetry
from shared.errors import StorageUnavailable
from shared.redaction import redacted
from shared.telemetry import ATTRIBUTES, CARRIES, EVENT_NAME, GAUGES, Event, Gauge, emit, gauge, telling_of_failure
from tests.standins.in_memory_telemetry import Exported, listening

ROOT = Path(__file__).parents[2]
SHARED = ROOT / "shared"
SAS = "sv=2025-11-05&sr=c&sp=rwl&se=2026-11-26T00%3A00%3A00Z&sig=abcDEF123%2Bxyz%3D"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL3N0b3JhZ2UifQ.c2lnbmF0dXJl"


@pytest.fixture
def exported() -> Iterator[Exported]:
    with listening() as found:
        yield found


# --- events and gauges ---


def test_an_event_is_a_record_with_its_name_and_each_attribute_of_its_own_type(exported: Exported) -> None:
    emit(Event.RECOVERY_POINT_COMPLETED, point="p1", whole=True, suspect=False, duration_seconds=12.5)

    assert exported.events() == [
        {EVENT_NAME: "recovery_point.completed", "point": "p1", "whole": True, "suspect": False}
        | {"duration_seconds": 12.5}
    ]
    assert exported.severities() == ["INFO"]


def test_bad_news_has_a_level_to_match(exported: Exported) -> None:
    for event in (Event.RECOVERY_POINT_PARTIAL, Event.RECOVERY_POINT_FAILED, Event.SECRETS_DRIFT):
        emit(event, point="p1")

    assert exported.severities() == ["WARN", "ERROR", "ERROR"]


def test_what_does_not_apply_and_what_is_no_number_is_left_out(exported: Exported) -> None:
    emit(Event.DRILL_COMPLETED, point="p1", rto_seconds=float("nan"), databases=None, code=None)

    assert exported.events() == [{EVENT_NAME: "drill.completed", "point": "p1"}]
    assert exported.gauges() == {}


def test_a_failure_is_told_whether_somebody_foresaw_it_or_not(exported: Exported) -> None:
    with pytest.raises(StorageUnavailable), telling_of_failure(Event.PRUNE_FAILED):
        raise StorageUnavailable("no answer")
    with pytest.raises(ZeroDivisionError), telling_of_failure(Event.DRILL_FAILED):
        raise ZeroDivisionError("by zero")
    with telling_of_failure(Event.PROTECT_FAILED):
        pass
    (prune,), (drill,) = exported.named(Event.PRUNE_FAILED), exported.named(Event.DRILL_FAILED)
    assert prune.pop("duration_seconds") >= 0
    assert prune == {"code": "storage-unavailable", "detail": "no answer"}
    assert drill == {"code": "unexpected", "detail": "ZeroDivisionError: by zero"}
    assert exported.named(Event.PROTECT_FAILED) == []


def test_numbers_of_events_are_gauges_too(exported: Exported) -> None:
    emit(Event.RECOVERY_POINT_PARTIAL, point="p1", duration_seconds=60.5)
    emit(Event.SHARE_COMPLETED, point="p1", files=3, bytes_read=2_000, bytes_stored=1_000)
    emit(Event.DATABASE_COMPLETED, point="p1", database="hosting", backups=1, bytes_stored=500)
    emit(Event.DRILL_COMPLETED, point="p1", rto_seconds=90.0, databases=2)

    found = exported.gauges()

    assert found["lifeboat.recovery_point.duration", "s"] == [({}, 60.5)]
    assert found["lifeboat.files", "{file}"] == [({}, 3)]
    assert found["lifeboat.bytes_read", "By"] == [({"component": "share"}, 2_000)]
    assert found["lifeboat.bytes_stored", "By"] == [
        ({"component": "share"}, 1_000),
        ({"component": "databases", "database": "hosting"}, 500),
    ]
    assert found["lifeboat.drill.rto", "s"] == [({}, 90.0)]


def test_each_gauge_is_exported_with_its_unit_and_its_dimensions(exported: Exported) -> None:
    for value, each in enumerate(Gauge, 1):
        gauge(each, value, **dict.fromkeys(GAUGES[each].by, "x"))

    assert exported.gauges() == {
        (each.value, GAUGES[each].unit): [(dict.fromkeys(GAUGES[each].by, "x"), value)]
        for value, each in enumerate(Gauge, 1)
    }


def test_a_gauge_is_sent_once_and_again_only_when_it_is_set_again(exported: Exported) -> None:
    gauge(Gauge.AGE, 1.0, component="share")
    gauge(Gauge.AGE, 2.0, component="share")
    assert exported.gauges() == {("lifeboat.age", "s"): [({"component": "share"}, 2.0)]}
    assert exported.gauges() == {}

    gauge(Gauge.AGE, 3.0, component="secrets")
    assert exported.gauges() == {("lifeboat.age", "s"): [({"component": "secrets"}, 3.0)]}


def test_where_nothing_is_configured_a_gauge_is_nothing() -> None:
    gauge(Gauge.AGE, 1.0, component="share")


# --- what is documented is what is sent ---


def _emitted() -> Iterator[tuple[Path, ast.Call]]:
    for path in [*SHARED.rglob("*.py"), *(ROOT / "functions").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "emit":
                yield path, node


def test_every_attribute_that_the_code_sends_is_documented() -> None:
    calls = [*_emitted()]
    assert len(calls) > 5
    for path, call in calls:
        for keyword in call.keywords:
            assert keyword.arg is None or keyword.arg in ATTRIBUTES, f"{path.name}: {keyword.arg}"
        event = call.args[0]
        if isinstance(event, ast.Attribute):
            carries = CARRIES[Event[event.attr]]
            unknown = [each.arg for each in call.keywords if each.arg and each.arg not in carries]
            assert not unknown, f"{path.name}: {event.attr} carries {unknown}"


def test_every_event_and_every_gauge_is_documented_and_every_attribute_used() -> None:
    assert set(CARRIES) == set(Event)
    assert set(GAUGES) == set(Gauge)
    used = {name for names in CARRIES.values() for name in names} | {by for each in GAUGES.values() for by in each.by}
    assert used == set(ATTRIBUTES)


def test_no_attribute_has_a_name_that_a_log_record_keeps_for_itself() -> None:
    kept = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
    assert kept.isdisjoint(ATTRIBUTES)


def test_units_are_in_the_names() -> None:
    ends = {"s": "_seconds", "d": "_days"}
    for name, attribute in ATTRIBUTES.items():
        if attribute.unit in ends:
            assert name.endswith(ends[attribute.unit]), name
        elif attribute.unit == "By":
            assert "bytes" in name
        else:
            assert not re.search(r"_(?:seconds|days|bytes)\Z", name), name


# --- no secret ---


@pytest.mark.parametrize(
    ("text", "secret", "left"),
    [
        (f"see https://acct.blob.core.windows.net/c/b.bak?{SAS} there", "sig", "https://acct.blob.core.windows.net/c/"),
        (f"the token {SAS}", "abcDEF123", "the token"),
        (f"quoted '?{SAS}'", "abcDEF123", "quoted"),
        ("a=1&SIG=abc%2B", "abc%2B", ""),
        ("https%3A%2F%2Fx%3Fsig%3Dabc", "abc", ""),
        ("https://x/y?code=functionkey", "functionkey", "https://x/y"),
        ("https://x/y#access_token=t0ken", "t0ken", "https://x/y"),
        ("smb://CORP;svc:hunter2@files:445/WebSites/a", "hunter2", "smb://files:445/WebSites/a"),
        (f"DefaultEndpointsProtocol=https;AccountKey={ACCOUNT_KEY};EndpointSuffix=x", "Eby8", "EndpointSuffix=x"),
        (f"the key {ACCOUNT_KEY} was refused", "Eby8", "was refused"),
        ("Driver={ODBC};UID=sa;PWD={p;w}}d};Encrypt=yes", "w}}d", "Encrypt=yes"),
        ("Server=x;Password='a b';Database=y", "a b", "Database=y"),
        ("Authorization: Bearer abc.def-ghi", "abc.def", "Authorization"),
        (f"got {JWT} from it", "eyJ", "from it"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nand more", "MIIE", "and more"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "MIIE", ""),
    ],
)
def test_no_secret_leaves_in_an_attribute(exported: Exported, text: str, secret: str, left: str) -> None:
    emit(Event.DATABASE_CHAIN_BROKEN, database="x", why=text)

    [event] = exported.events()
    assert secret not in event["why"]
    assert "?" not in event["why"]
    assert left in event["why"]


def test_the_values_of_secret_settings_do_not_leave(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFEBOAT_SHARE_PASSWORD", "correct horse")
    monkeypatch.setenv("LIFEBOAT_VAULT_KEY", "correct horse battery")
    monkeypatch.setenv("LIFEBOAT_SQL_SAS", "account-key")

    emit(Event.DATABASE_CHAIN_BROKEN, why="correct horse battery, correct horse: account-key", database="x")

    assert exported.events()[0]["why"] == "…, …: account-key"


@pytest.mark.parametrize(
    "text",
    [
        "the newest good backup of the share is 3 d 4 h old (20261125T120000Z-0a1b2c)",
        "\\\\sofs01\\WebSites\\0a: access denied",
        "https://kv-lifeboat.vault.azure.net/secrets/system-secrets/0123456789abcdef0123456789abcdef",
        "smb://sofs01.appservice.local:4445/WebSites",
        "5e" * 32,
        "password of the login appservice_hosting_Operations was changed",
        "LIFEBOAT_SHARE_PASSWORD is not set",
    ],
)
def test_what_is_no_secret_is_left_as_it_is(text: str) -> None:
    assert redacted(text, {}) == text


@pytest.mark.parametrize(
    "piece", ["x", "a.", "sig", "sig=", "https://", "a@", "eyJ", "eyJ.", "password ", "-----BEGIN "]
)
def test_a_long_text_is_no_trap(piece: str) -> None:
    """Each is a million characters: what takes the square of the time would meet the test's time limit."""
    redacted(piece * (1_000_000 // len(piece)), {})


def test_texts_have_an_end(exported: Exported) -> None:
    emit(Event.DATABASE_CHAIN_BROKEN, why="x" * 10_000, database="x")

    assert len(exported.events()[0]["why"]) == telemetry.MOST_CHARACTERS


def test_an_attribute_that_nobody_documented_is_not_sent(exported: Exported) -> None:
    emit(Event.SECRETS_DRIFT, point="p1", password="x", name="would break the record")

    assert exported.events() == [{EVENT_NAME: "secrets.drift", "point": "p1"}]


# --- the real exporter, against a listener on this machine ---

SENDER = """
import logging, sys
from shared import telemetry
from shared.telemetry import Event, Gauge, emit, gauge, configure_telemetry, flush_telemetry
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
configure_telemetry()
configure_telemetry()
emit(Event.WATCHDOG_ALIVE, status="late", late="share", share_age_seconds=3600.5, share_late=True, reasons=0)
gauge(Gauge.AGE, 3600.5, component="share")
logging.getLogger("some.library").error("PUT https://acct/c/b?sig=PLANTED1 failed")
try:
    raise RuntimeError("AccountKey=PLANTED2;")
except RuntimeError:
    logging.getLogger("some.library").exception("it went wrong")
logging.getLogger("azure.core.pipeline.policies.http_logging_policy").info("Request URL: https://chatter")
logging.getLogger("smbprotocol.session").info("chatter")
flush_telemetry()
import threading
print(sorted(thread.name for thread in threading.enumerate()))
"""


class _Listener(BaseHTTPRequestHandler):
    received: list[Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        items = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self.received.extend(items)
        answer = json.dumps({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def _run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_application_insights_gets_a_custom_event_with_its_attributes_and_the_gauges_and_no_noise(
    tmp_path: Path,
) -> None:
    received: list[Any] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Listener", (_Listener,), {"received": received}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    key = "00000000-0000-4000-8000-000000000000"
    connection = f"InstrumentationKey={key};IngestionEndpoint=http://127.0.0.1:{server.server_port}/"
    try:
        done = _run(SENDER, TMPDIR=str(tmp_path), APPLICATIONINSIGHTS_CONNECTION_STRING=connection)
    finally:
        server.shutdown()
        server.server_close()

    assert done.returncode == 0, done.stderr
    [event] = [each["data"]["baseData"] for each in received if each["data"]["baseType"] == "EventData"]
    assert event["name"] == "watchdog.alive"
    assert event["properties"] == {
        "status": "late",
        "late": "share",
        "share_age_seconds": "3600.5",
        "share_late": "True",
        "reasons": "0",
        "logger_name": "lifeboat",
    }
    metrics = [
        (each["data"]["baseData"]["metrics"][0], each["data"]["baseData"]["properties"])
        for each in received
        if each["data"]["baseType"] == "MetricData"
    ]
    [(metric, dimensions)] = metrics
    assert (metric["name"], metric["value"]) == ("lifeboat.age", 3600.5)
    assert dimensions == {"component": "share"}
    everything = json.dumps(received)
    assert "https://acct/c/b" in everything
    assert "it went wrong" in everything
    assert "PLANTED" not in everything
    assert "chatter" not in everything
    assert "QuickpulseExporter" not in done.stdout


def test_application_insights_that_does_not_answer_makes_no_noise_and_keeps_no_function_from_ending(
    tmp_path: Path,
) -> None:
    """What could not be sent waits in files, the event and the gauge; that it could not be sent does not."""
    key = "00000000-0000-4000-8000-000000000000"
    done = _run(
        "from shared.telemetry import *; configure_telemetry(); emit(Event.WATCHDOG_ALIVE, status='ok');"
        "gauge(Gauge.AGE, 1.0, component='share'); flush_telemetry(); print('ended')",
        TMPDIR=str(tmp_path),
        APPLICATIONINSIGHTS_CONNECTION_STRING=f"InstrumentationKey={key};IngestionEndpoint=http://127.0.0.1:1/",
    )

    assert (done.returncode, done.stdout.strip()) == (0, "ended")
    kept = sorted(each.read_text() for each in tmp_path.rglob("*") if each.is_file())
    assert len(kept) == 2
    assert "lifeboat.age" in kept[0] + kept[1]
    assert "watchdog.alive" in kept[0] + kept[1]


def test_what_the_worker_has_set_up_is_used_and_nothing_goes_out_twice() -> None:
    done = _run(
        """
import logging, sys
from opentelemetry._logs import set_logger_provider
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
kept = InMemoryLogRecordExporter()
provider = LoggerProvider()
provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
set_logger_provider(provider)
logging.getLogger().addHandler(LoggingHandler(logger_provider=provider))
from shared.telemetry import *
configure_telemetry()
emit(Event.WATCHDOG_ALIVE, status="ok")
flush_telemetry()
print(len(kept.get_finished_logs()), "azure.monitor.opentelemetry" in sys.modules)
""",
        APPLICATIONINSIGHTS_CONNECTION_STRING="InstrumentationKey=00000000-0000-4000-8000-000000000000",
    )

    assert (done.returncode, done.stdout.strip()) == (0, "1 False"), done.stderr


def test_without_a_connection_string_nothing_is_imported() -> None:
    done = _run(
        "import sys; from shared.telemetry import *; configure_telemetry(); emit(Event.WATCHDOG_ALIVE, status='ok');"
        "gauge(Gauge.AGE, 1.0, component='share'); flush_telemetry();"
        "print([each for each in sys.modules if each.startswith(('opentelemetry', 'azure'))])"
    )

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_a_connection_string_that_is_none_stops_nothing() -> None:
    done = _run(
        "import logging; logging.basicConfig(); from shared.telemetry import *; configure_telemetry();"
        "emit(Event.WATCHDOG_ALIVE, status='ok'); print('goes on')",
        APPLICATIONINSIGHTS_CONNECTION_STRING="InstrumentationKey=nonsense",
    )

    assert (done.returncode, done.stdout.strip()) == (0, "goes on")
    assert "APPLICATIONINSIGHTS_CONNECTION_STRING is wrong" in done.stderr


def test_the_command_line_loads_no_telemetry() -> None:
    done = _run("import sys, lifeboat; print([each for each in sys.modules if each.startswith('opentelemetry')])")

    assert (done.returncode, done.stdout.strip()) == (0, "[]")
