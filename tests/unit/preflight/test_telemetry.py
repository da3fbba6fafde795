"""Where telemetry is to go, by the connection string."""

from __future__ import annotations

import pytest

from shared.errors import SettingsError
from shared.preflight.telemetry import ingestion_endpoint, telemetry_checks
from shared.settings import Settings
from shared.telemetry import CONNECTION_STRING

KEY = "InstrumentationKey=00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (KEY, "https://dc.services.visualstudio.com"),
        (
            f"{KEY};IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/;LiveEndpoint=https://x/",
            "https://westeurope-5.in.applicationinsights.azure.com/",
        ),
        (f"{KEY};EndpointSuffix=applicationinsights.us", "https://dc.applicationinsights.us"),
        (f"{KEY};EndpointSuffix=example.net;Location=westus", "https://westus.dc.example.net"),
    ],
)
def test_the_endpoint_is_the_one_that_the_exporter_uses(
    monkeypatch: pytest.MonkeyPatch, text: str, endpoint: str
) -> None:
    from azure.monitor.opentelemetry.exporter._connection_string_parser import ConnectionStringParser

    monkeypatch.delenv(CONNECTION_STRING, raising=False)
    assert ingestion_endpoint(text) == endpoint
    assert ConnectionStringParser(text).endpoint == endpoint


@pytest.mark.parametrize(
    "text",
    ["InstrumentationKey=nonsense", "nonsense", f"{KEY};IngestionEndpoint=ftp://x", "@Microsoft.KeyVault(SecretUri=x)"],
)
def test_a_connection_string_that_is_none_names_the_setting(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(CONNECTION_STRING, text)
    with pytest.raises(SettingsError) as error:
        telemetry_checks(Settings({}))
    assert error.value.setting == CONNECTION_STRING
    assert "Copy it" in error.value.remedy


def test_every_limit_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONNECTION_STRING, KEY)
    made = telemetry_checks(Settings({}))
    assert [check.name for check in made.checks] == ["name", "port", "tls", "reaches"]
    assert all(10 <= check.limit_seconds <= 60 for check in made.checks)
