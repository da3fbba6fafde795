"""Who we are towards Azure: one credential for blobs and Key Vault."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential


def open_credential() -> TokenCredential:
    """The app's managed identity where ``AZURE_CLIENT_ID`` and an identity endpoint name one, else whoever is
    signed in here (environment, workload identity, Azure CLI, in the order of ``DefaultAzureCredential``).

    Nothing is sent yet: an identity that cannot be had shows at the first token. Safe for several threads; it keeps
    tokens until shortly before they expire, so one credential serves a whole run.
    """
    client_id = os.environ.get("AZURE_CLIENT_ID")
    endpoint = os.environ.get("IDENTITY_ENDPOINT") or os.environ.get("MSI_ENDPOINT")
    if client_id and endpoint:
        from azure.identity import ManagedIdentityCredential

        return ManagedIdentityCredential(client_id=client_id)

    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(exclude_interactive_browser_credential=True)
