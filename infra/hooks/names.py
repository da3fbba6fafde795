"""What makes names unique, and the names that somebody else could have: known before anything is made."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from infra.hooks import templates
from infra.hooks.asked import TOKEN
from infra.hooks.environment import Environment

_LENGTH = 13


@dataclass(frozen=True, slots=True)
class Names:
    """As main.bicep makes them of the token."""

    group: str
    storage: tuple[str, ...]
    key_vault: str
    apps: tuple[str, ...]

    @classmethod
    def of(cls, environment_name: str, token: str) -> Names:
        short = templates.abbreviations()
        return cls(
            group=short["resourceGroup"] + environment_name,
            storage=tuple(f"{short['storage']}lb{kind}{token}" for kind in ("v", "l", "b", "k")),
            key_vault=f"{short['keyVault']}lb-{token}",
            apps=tuple(f"{short['functionApp']}lifeboat-{app}-{token}" for app in ("backup", "keeper")),
        )


def token_of(environment: Environment) -> str:
    """The one that is set; else that of what was deployed without one, which must not be made a second time; else one
    made from subscription, environment and region. Empty: these are not known."""
    token = environment.get("LIFEBOAT_TOKEN")
    if token:
        return token
    vault = environment.get("LIFEBOAT_VAULT_NAME")
    if vault:
        deployed = vault.removeprefix(f"{templates.abbreviations()['storage']}lbv")
        if TOKEN.fullmatch(deployed):
            return deployed
    parts = [environment.get(name) for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME", "AZURE_LOCATION")]
    if not all(parts):
        return ""
    digest = hashlib.sha256("/".join(parts).lower().encode()).digest()
    return base64.b32encode(digest).decode().lower()[:_LENGTH]
