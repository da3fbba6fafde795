"""Stand-in for Azure Key Vault: its REST for secrets, api-version 7.x and later, kept in memory.

It speaks https, challenges a caller without a token as the service does, keeps every version, pages its lists, keeps
deleted secrets recoverable, holds values, tags and names to the service's limits, and refuses with the service's own
codes. Sources: the REST reference ("Azure Key Vault REST API", secrets), "About Azure Key Vault secrets", "REST API
error codes", "throttling guidance". A real vault cannot run here: ``tests/integration/storage/
test_key_vault_contract.py`` holds both to the same tests.

Limits: no keys, certificates, backup and restore; one caller, whose rights are all but ``denied``; tokens are not
verified beyond audience and times; deleting and recovering are done when they are answered, where the service takes
seconds; a throttling window counts requests, not seconds.
"""

from __future__ import annotations

from tests.standins.keyvault.server import running_key_vault
from tests.standins.keyvault.state import RESOURCE, DeletedSecret, KeyVaultStandin, StoredVersion, Throttling

__all__ = ["RESOURCE", "DeletedSecret", "KeyVaultStandin", "StoredVersion", "Throttling", "running_key_vault"]
