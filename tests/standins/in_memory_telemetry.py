"""OpenTelemetry's own exporters in memory, in place of Application Insights: what a process would send."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from shared import telemetry, telemetry_export


class Exported:
    """What in-memory exporters received: the records of events, and the gauges."""

    def __init__(self, logs: InMemoryLogRecordExporter, metrics: InMemoryMetricReader) -> None:
        self._logs, self._metrics = logs, metrics

    def events(self) -> list[Mapping[str, Any]]:
        """Attributes of each record."""
        return [dict(each.log_record.attributes or {}) for each in self._logs.get_finished_logs()]

    def severities(self) -> list[str | None]:
        return [each.log_record.severity_text for each in self._logs.get_finished_logs()]

    def gauges(self) -> dict[tuple[str, str], list[tuple[dict[str, Any], float]]]:
        """By name and unit: each set of dimensions with its value."""
        data = self._metrics.get_metrics_data()
        found: dict[tuple[str, str], list[tuple[dict[str, Any], float]]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points: Any = metric.data.data_points
                    found[(metric.name, metric.unit or "")] = [(dict(each.attributes), each.value) for each in points]
        return found

    def named(self, event: telemetry.Event) -> list[dict[str, Any]]:
        """Attributes of each such event, its name apart."""
        key = telemetry.EVENT_NAME
        return [
            {name: value for name, value in each.items() if name != key}
            for each in self.events()
            if each.get(key) == event
        ]


@contextmanager
def listening() -> Iterator[Exported]:
    """Until the end of the block this process is one that sends."""
    logs = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # it has no annotation
    metrics = InMemoryMetricReader()
    log_provider, meter_provider = LoggerProvider(shutdown_on_exit=False), MeterProvider([metrics])
    log_provider.add_log_record_processor(SimpleLogRecordProcessor(logs))
    handler = LoggingHandler(logger_provider=log_provider)
    logger = logging.getLogger(telemetry.LOGGER)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        with (
            patch.object(telemetry, "_exports", True),
            patch.object(telemetry_export, "get_meter", meter_provider.get_meter),
            patch.object(telemetry_export, "_gauges", {}),
        ):
            yield Exported(logs, metrics)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
