"""A ``SecretStore`` in memory, for tests of what is done with one; what a Key Vault answers is ``keyvault``'s part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from secrets import token_hex

from shared.storage.key_vault import Secret, SecretVersion


@dataclass
class MemorySecrets:
    """Tells ``before`` of each call, as (kind, name); what that raises, the caller gets."""

    before: Callable[[str, str], None] = lambda kind, name: None
    kept: dict[str, list[Secret]] = field(default_factory=dict)

    def get(self, name: str, version: str | None = None) -> Secret | None:
        self.before("secret-get", name)
        found = [secret for secret in self.kept.get(name, []) if version in (None, secret.version)]
        return found[-1] if found else None

    def set(
        self,
        name: str,
        value: str,
        tags: Mapping[str, str],
        *,
        content_type: str | None = None,
        expires: datetime | None = None,
    ) -> Secret:
        self.before("secret-set", name)
        made = Secret(name, token_hex(16), datetime.now(UTC), True, dict(tags), content_type, expires, value=value)
        self.kept.setdefault(name, []).append(made)
        return made

    def versions(self, name: str) -> list[SecretVersion]:
        self.before("secret-versions", name)
        return list(reversed(self.kept.get(name, [])))

    def names(self) -> list[SecretVersion]:
        self.before("secret-names", "")
        return [replace(versions[-1], version="", value="") for versions in self.kept.values()]

    def set_tags(self, name: str, version: str, tags: Mapping[str, str], *, expires: datetime | None = None) -> None:
        self.before("secret-tag", name)
        self.kept[name] = [
            replace(secret, tags=dict(tags), expires=expires or secret.expires) if secret.version == version else secret
            for secret in self.kept[name]
        ]
