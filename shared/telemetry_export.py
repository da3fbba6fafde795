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
from typing import Any

from opentelemetry._logs import get_logger_provider
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import CallbackOptions, Observation, get_meter, get_meter_provider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor

from shared.redaction import redacted

OFF = ("azure_sdk", "django", "fastapi", "flask", "httpx", "httpx2", "psycopg2", "requests", "urllib", "urllib3")
_ENVIRONMENT = {
    "OTEL_TRACES_EXPORTER": "none",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
}
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
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
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
