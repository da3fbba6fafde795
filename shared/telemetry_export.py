"""Where telemetry goes in Azure: Application Insights, by azure-monitor-opentelemetry. Imported only where that is set.

What is off, and why:

- Live Metrics: a request every second, refused (401) where local authentication is off.
- All instrumentations. ``requests``, ``urllib``, ``urllib3``, ``httpx`` and ``azure_sdk`` would make a row of every
  request to the storage service, millions in a run, some with a SAS in their URL; the others are of web frameworks that
  are not here. Spans of invocations are the host's; ours would be none, so there is no tracing in the worker.
- Performance counters: the host measures its instances.
- The ten attempts, minutes in all, of one delivery: what two could not deliver is kept in a file and tried again later.
- Statistics of the SDK itself, and settings that it fetches: other hosts, which a closed network refuses, for ever.

Loggers of libraries are quiet below WARNING (``telemetry.QUIET``): ``azure`` above all, or the exporter would export
the log of its own requests.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import RequestsTransport
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger_provider
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import CallbackOptions, Observation, get_meter, get_meter_provider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

from shared.redaction import redacted

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential
    from azure.core.pipeline import PipelineResponse

OFF = ("azure_sdk", "django", "fastapi", "flask", "httpx", "httpx2", "psycopg2", "requests", "urllib", "urllib3")
_ENVIRONMENT = {
    "OTEL_TRACES_EXPORTER": "none",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
}
AUTHENTICATION = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
_FLUSH_SECONDS = 20.0
_FLUSH_MILLISECONDS = 10_000


class Redacting(LogRecordProcessor):
    """Takes secrets out of every record, those of libraries too: their messages and their tracebacks."""

    def on_emit(self, log_record: Any) -> None:
        """Any: the type has changed its name between versions, and its shape has not."""
        record = log_record.log_record
        if isinstance(record.body, str):
            record.body = redacted(record.body)
        for name, value in list((record.attributes or {}).items()):
            if isinstance(value, str):
                record.attributes[name] = redacted(value)

    def shutdown(self) -> None:
        """Nothing is kept."""

    def force_flush(self, timeout_millis: int = _FLUSH_MILLISECONDS) -> bool:
        return True


def _is_not_of_the_export(record: logging.LogRecord) -> bool:
    """What goes wrong with sending must not be sent: each failure would make another record, for ever. Sending marks
    its own context, whichever library speaks up in it."""
    of_the_sdk = record.name.startswith(("azure.monitor", "opentelemetry"))
    return not of_the_sdk and is_instrumentation_enabled()


def export_to_application_insights() -> None:
    """``ValueError``: the connection string is none. Where the worker has set up OpenTelemetry already
    (``PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY``), that is used, and nothing goes out twice."""
    if isinstance(get_logger_provider(), LoggerProvider):
        return
    _quieten()
    from azure.monitor.opentelemetry import configure_azure_monitor

    configure_azure_monitor(
        logger_name="",
        enable_live_metrics=False,
        enable_performance_counters=False,
        instrumentation_options={name: {"enabled": False} for name in OFF},
        log_record_processors=[Redacting()],
        retry_total=1,
        retry_backoff_max=1,
    )
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LoggingHandler):
            handler.addFilter(_is_not_of_the_export)


def _quieten() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


class _LastTold:
    """Values of one gauge that wait to be sent. Each is sent once: a plain gauge of OpenTelemetry would be sent every
    minute for as long as the process lives, and an age would never grow older."""

    def __init__(self) -> None:
        self._values: dict[frozenset[tuple[str, str]], float] = {}
        self._lock = threading.Lock()

    def set(self, value: float, by: Mapping[str, str]) -> None:
        with self._lock:
            self._values[frozenset(by.items())] = value

    def observe(self, _: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            values, self._values = self._values, {}
        return [Observation(value, dict(by)) for by, value in values.items()]


_gauges: dict[str, _LastTold] = {}
"""Those that this process has set, by name."""
_making = threading.Lock()


def set_gauge(name: str, unit: str, meaning: str, value: float, by: Mapping[str, str]) -> None:
    with _making:
        told = _gauges.get(name)
        if told is None:
            told = _gauges[name] = _LastTold()
            get_meter("lifeboat").create_observable_gauge(name, [told.observe], unit=unit, description=meaning)
    told.set(value, by)


def flush() -> None:
    """Send what waits to be sent, for 20 seconds at most: no function waits for a network that swallows telemetry."""
    sending = threading.Thread(target=_send, name="telemetry", daemon=True)
    sending.start()
    sending.join(_FLUSH_SECONDS)


def _send() -> None:
    for provider in (get_logger_provider(), get_meter_provider()):
        send = getattr(provider, "force_flush", None)
        if send is not None:
            send(_FLUSH_MILLISECONDS)


# --- one line, to see whether it arrives ---


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of sending one line."""

    status: int | None
    """Of the answer; None: there was none."""
    accepted: int | None
    """Items that were taken; None: the answer does not tell, so it is not of Application Insights."""
    told: str
    """What was answered besides, or why there was no answer."""
    by_identity: bool
    """An identity is shown, and not the key of the connection string alone."""
    no_token: bool
    """There was none for it."""


def deliver(message: str, *, seconds: float) -> Delivery:
    """Send ``message`` as a trace by an exporter like the one that sends everything, and wait for the answer. Nothing
    is tried twice or kept for later. ``ValueError``: the connection string is none."""
    _quieten()
    from azure.monitor.opentelemetry.exporter import AzureMonitorLogExporter

    answers: list[tuple[int, str]] = []

    def note(response: PipelineResponse) -> None:  # type: ignore[type-arg]  # as the library calls it
        answers.append((response.http_response.status_code, response.http_response.text()))

    library = logging.getLogger("azure.monitor.opentelemetry.exporter")
    library.addHandler(logging.NullHandler())  # what it says is in the answer, and would be on standard error too
    transport, identity = _Transport(seconds), _identity()
    exporter = AzureMonitorLogExporter(
        credential=identity,
        disable_offline_storage=True,
        retry_total=0,
        transport=transport,
        raw_response_hook=note,
    )
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    try:
        provider.get_logger("lifeboat").emit(
            LogRecord(body=message, severity_number=SeverityNumber.INFO, severity_text="INFO")
        )
    finally:
        provider.shutdown()
        exporter.client.close()
    failure = identity.failure if identity else None
    status, body = answers[-1] if answers else (None, "")
    accepted, told = _answered(body)
    why = "" if answers else str(failure or transport.failure or "nothing was sent")
    return Delivery(status, accepted, told or why, identity is not None, failure is not None)


def _answered(body: str) -> tuple[int | None, str]:
    """How many items were taken, and the first error."""
    import orjson

    try:
        answer = orjson.loads(body)
        errors = [str(each.get("message") or each.get("statusCode")) for each in answer.get("errors") or []]
        accepted = answer["itemsAccepted"]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return None, ""
    return accepted if isinstance(accepted, int) else None, errors[0] if errors else ""


class _Transport(RequestsTransport):  # type: ignore[misc]  # the library tells no type of it
    """Remembers why there was no answer: the exporter only logs it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(connection_timeout=seconds, read_timeout=seconds)
        self.failure: AzureError | None = None

    def send(self, *arguments: Any, **options: Any) -> Any:
        """Any: it has one shape for each kind of request, and hands on what it is given."""
        try:
            return super().send(*arguments, **options)
        except AzureError as error:
            self.failure = error
            raise


class _Identity:
    """Remembers why there was no token."""

    def __init__(self, inner: TokenCredential) -> None:
        self._inner = inner
        self.failure: AzureError | None = None

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Any: options are the library's own, and handed on."""
        try:
            return self._inner.get_token(*scopes, **options)
        except AzureError as error:
            self.failure = error
            raise


def _identity() -> _Identity | None:
    """As the exporter makes it of APPLICATIONINSIGHTS_AUTHENTICATION_STRING; None: the key is enough."""
    text = os.environ.get(AUTHENTICATION, "")
    told = {name.strip().lower(): value for name, _, value in (part.partition("=") for part in text.split(";"))}
    if told.get("authorization") != "AAD":
        return None
    from azure.identity import ManagedIdentityCredential

    client_id = told.get("clientid")
    return _Identity(ManagedIdentityCredential(client_id=client_id) if client_id else ManagedIdentityCredential())
