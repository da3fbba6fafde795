"""The secrets of the demo: a stand-in for Key Vault, and SystemSecrets.JSON as an operator has downloaded it."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.standins.certificate import make_certificate
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.keyvault import KeyVaultStandin, running_key_vault


@dataclass(frozen=True)
class Secrets:
    """A running stand-in, and how a command reaches it: over TLS, with the token of a managed identity."""

    key_vault: KeyVaultStandin
    environment: dict[str, str]
    """What Azure sets for an app with an identity, and whose certificates are trusted."""
    download: Path

    def settings(self) -> dict[str, str]:
        return {"LIFEBOAT_KEY_VAULT_URL": self.key_vault.url}

    def repository_password(self) -> str:
        """What the first backup made."""
        return self.key_vault.secrets["repository-password"][-1].value

    def download_anew(self) -> bytes:
        """As the administrator portal gives it after a rotation. Its real schema is documented nowhere."""
        content = {
            "ContentShareOwnerPassword": secrets.token_urlsafe(16),
            "HostingConnectionString": f"Server=sql01;User ID=appservice;Password={secrets.token_urlsafe(16)}",
            "WorkerAdminPassword": secrets.token_urlsafe(16),
        }
        self.download.write_text(json.dumps(content, indent=2))
        return self.download.read_bytes()


@contextlib.contextmanager
def running_secrets(folder: Path) -> Iterator[Secrets]:
    """The stand-in, until the block ends."""
    certificate = make_certificate(folder)
    with running_key_vault(certificate) as key_vault, running_identity_endpoint() as identity:
        key_vault.purge_protection = True
        made = Secrets(
            key_vault, {**identity.environment(), **certificate.environment()}, folder / "SystemSecrets.JSON"
        )
        made.download_anew()
        yield made
