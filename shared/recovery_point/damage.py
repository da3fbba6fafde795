"""How damage in the vault is told: by the blob, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shared.errors import Damaged
from shared.repository.checker import Finding
from shared.storage.vault import SHARE_CONTAINER
from shared.telemetry import Event, emit

Json = dict[str, Any]

REMEDIES = {
    "share": "Where somebody deleted or overwrote that blob, 'undelete' brings it back. What a pack held that is "
    "missing, too short or rotten is stored anew by the next 'backup', as far as the share still has it; the next "
    "'prune' removes what is left of it.",
    "databases": "Bring that blob back ('undelete'). Until then the databases of that point, and those that build on "
    "it, cannot be restored; the next 'backup' begins with a full one.",
    "secrets": "Where the secret or a part of it was deleted: az keyvault secret recover --vault-name VAULT --name "
    "NAME. No point that names what is gone for good can bring it back: run 'secrets put', then 'backup'.",
}
LOGINS_REMEDY = (
    "Where the secret or a part of it was deleted: az keyvault secret recover --vault-name VAULT --name NAME. The next "
    "'backup' with master among its databases saves the logins anew."
)


def damage(component: str, blob: str, message: str, *, remedy: str | None = None) -> Json:
    """The reason. ``blob``: its name with the container before it, or that of a secret; ``remedy``: where it is not
    that of the component."""
    return {
        "component": component,
        "code": Damaged.code,
        "message": f"{blob}: {message}",
        "remedy": REMEDIES[component] if remedy is None else remedy,
        "object": blob,
    }


def share_reasons(findings: Iterable[Finding]) -> list[Json]:
    return [damage("share", f"{SHARE_CONTAINER}/{finding.object}", finding.message) for finding in findings]


def tell_damage(reasons: Sequence[Json]) -> None:
    """The event, where something is damaged and not only out of reach."""
    damaged = sum(reason["code"] == Damaged.code for reason in reasons)
    if damaged:
        emit(Event.REPOSITORY_DAMAGED, findings=damaged)
