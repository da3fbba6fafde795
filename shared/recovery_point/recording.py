"""Writing down what came of a run: the record from its components, and the events of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from shared import VERSION
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL, RecoveryPoint, new_id
from shared.recovery_point.scope import COMPONENTS, BackupRequest, Scope, gone_since
from shared.repository.trees import parse_rfc3339, rfc3339_of
from shared.settings import Settings
from shared.smb.endpoint import unc_path
from shared.telemetry import Event, emit

Json = dict[str, Any]


def make_record(
    settings: Settings,
    request: BackupRequest,
    scope: Scope,
    catalog: Catalog,
    *,
    time: datetime,
    duration_seconds: float,
    components: dict[str, Json],
    reasons: list[Json],
    run: str | None = None,
    caller: str | None = None,
) -> RecoveryPoint:
    """The record, not written yet. ``time``: when the run began, aware UTC. ``run``: of a run in Azure its id, from
    which that of the point comes, and ``caller`` who asked for it, where that is known."""
    states = [component["status"] for component in components.values()]
    if all(state == COMPLETE for state in states):
        status = COMPLETE
    elif all(state == FAILED for state in states):
        status = FAILED
    else:
        status = PARTIAL
    moments = [each.get(key) for each in components.values() for key in ("data_time", "newest_data_time")]
    times = [parse_rfc3339(moment) for moment in moments if moment]
    gone = gone_since(catalog, settings, request, scope.configured)
    narrowed = request.only or request.logs or scope.is_narrowed
    return RecoveryPoint(
        point=new_id(time, run),
        time=rfc3339_of(time),
        status=status,
        requested=scope.requested,
        not_configured=[name for name in COMPONENTS if name not in scope.configured],
        without=list(request.without),
        whole=not narrowed and not gone,
        gone=gone,
        suspect=any(component.get("suspect") for component in components.values()),
        components=components,
        reasons=reasons,
        skew_seconds=(max(times) - min(times)) / 1e9 if times else 0.0,
        duration_seconds=round(duration_seconds, 3),
        source=_source(settings, components),
        run={"run": run, "caller": caller} if run else {},
        lifeboat=VERSION,
    )


def tell(point: RecoveryPoint) -> None:
    """The events of a point that has been written."""
    share = point.share
    if share is not None:
        sizes = {key: share[key] for key in ("files", "bytes_read", "bytes_stored") if key in share}
        emit(_EVENTS[share["status"]][1], point=point.point, **sizes)
    if "databases" in point.components:
        from shared.recovery_point.databases import tell as tell_databases

        tell_databases(point.components["databases"], point.point)
    if "secrets" in point.components:
        from shared.recovery_point.secrets import tell as tell_secrets

        tell_secrets(point.components["secrets"], point.point)
    first = point.reasons[0] if point.reasons else {}
    emit(
        _EVENTS[point.status][0],
        point=point.point,
        whole=point.whole,
        suspect=point.suspect,
        duration_seconds=point.duration_seconds,
        code=first.get("code"),
        detail=first.get("message"),
    )


_EVENTS = {
    COMPLETE: (Event.RECOVERY_POINT_COMPLETED, Event.SHARE_COMPLETED),
    PARTIAL: (Event.RECOVERY_POINT_PARTIAL, Event.SHARE_PARTIAL),
    FAILED: (Event.RECOVERY_POINT_FAILED, Event.SHARE_FAILED),
}


def _source(settings: Settings, components: dict[str, Json]) -> Json:
    """What App Service was made of when the point was made: what a recovery has to name or to replace."""
    source: Json = {
        "resource_provider_build": settings.app_service_build(),
        "key_vault": settings.key_vault_url(),
        "lifeboat": VERSION,
    }
    if "share" in components:
        url = settings.share_url() or ""
        source |= {"share": url, "share_unc": unc_path(url)}
    if "databases" in components:
        databases = components["databases"]
        server = databases.get("server") or {}
        source |= {
            "sql_server": databases.get("source"),
            "sql_name": server.get("name"),
            "sql_version": server.get("version"),
            "sql_edition": server.get("edition"),
            "databases": databases.get("requested"),
        }
    return source
