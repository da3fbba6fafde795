"""To whom the SAS of somebody else's container is sent: msdb names the addresses, and whoever may write there may name
his own."""

from __future__ import annotations

import pytest

from shared.errors import SettingsError
from shared.storage.foreign_blobs import ForeignBlobs

SAS = "sv=2025-11-05&sp=r&sig=c2VjcmV0"
VAULT = "https://vault.blob.local.azurestack.external"


def blobs(sas: str = SAS) -> ForeignBlobs:
    return ForeignBlobs(sas, api_version="2025-11-05", near=(VAULT,))


@pytest.mark.parametrize(
    "url",
    [
        "https://dba.blob.core.windows.net/plan/x.bak",
        "https://DBA.Blob.Core.Windows.NET/plan/x.bak",
        "https://dba.z01.blob.storage.azure.net/plan/x.bak",
        "https://dba.blob.core.usgovcloudapi.net/plan/x.bak",
        "https://dba.blob.local.azurestack.external/plan/x.bak",
        "http://127.0.0.1:10000/dba/plan/x.bak",
    ],
)
def test_a_sas_alone_goes_to_storage_accounts(url: str) -> None:
    assert blobs(f"?{SAS}").source(url) == f"{url}?{SAS}"


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/plan/x.bak",
        "https://dba.blob.core.windows.net.elsewhere.example/plan/x.bak",
        "https://blob.core.windows.net/plan/x.bak",
        "https://dbablob.core.windows.net/plan/x.bak",
        "https://elsewhere.local.azurestack.external/plan/x.bak",
        "https://dba.blob.core.windows.net:8443/plan/x.bak",
    ],
)
def test_a_sas_goes_nowhere_else_and_the_remedy_says_how_it_could(url: str) -> None:
    with pytest.raises(SettingsError, match="is not sent to") as refused:
        blobs().look(url)
    assert refused.value.setting == "LIFEBOAT_SQL_ADOPT_SAS"
    assert "https://ACCOUNT/CONTAINER?SAS" in refused.value.remedy
    assert "sig=" not in str(refused.value)


@pytest.mark.parametrize("ours", ["https://backup.corp.example", "http://127.0.0.1:10000/vault", ""])
def test_what_is_beside_an_endpoint_of_ours_that_is_no_account_s_gets_no_sas(ours: str) -> None:
    files = ForeignBlobs(SAS, api_version="2025-11-05", near=(ours,))
    for url in ("https://elsewhere.corp.example/plan/x.bak", "https://1.0.0.1/plan/x.bak"):
        with pytest.raises(SettingsError):
            files.source(url)


def test_a_sas_with_the_address_of_its_container_goes_there_alone() -> None:
    there = blobs(f"https://backup.corp.example/plan/?{SAS}")
    assert there.source("https://BACKUP.corp.example/plan/deep/x.bak").endswith(f"x.bak?{SAS}")
    for url in (
        "https://backup.corp.example/other/x.bak",
        "https://backup.corp.example/plan2/x.bak",
        "https://backup.corp.example/plan/../other/x.bak",
        "https://backup.corp.example/plan/%2e%2e/other/x.bak",
        "https://dba.blob.core.windows.net/plan/x.bak",
    ):
        with pytest.raises(SettingsError) as refused:
            there.source(url)
        assert "sig=" not in str(refused.value)
