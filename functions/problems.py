"""Errors as a client of the API meets them: problem details (RFC 9457).

What the status tells: 4xx, the request has to change; 500, the operator has to change something here, and ``setting``
names it where it is one; 502, a service behind this app refused or failed; 503, the same request may succeed later.
No problem holds a secret, a stack trace, or a value that was sent.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from typing import Any

import azure.functions as func

from shared.errors import (
    ContainerMissing,
    LifeboatError,
    SecretsFileError,
    SettingsError,
    SourceError,
    StorageError,
    StorageForbidden,
    UsageError,
    printable,
)
from shared.redaction import redacted

Json = dict[str, Any]

PROBLEM_JSON = "application/problem+json"
PREFIX = "urn:lifeboat:problem:"
"""Of the ``type``; what follows is a code: one of this page, or a reason code of ``shared/errors.py``."""
RETRY_AFTER_SECONDS = 30
SAFE_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Of every answer."""

STATUSES: Mapping[str, int] = {
    "malformed-json": 400,
    "wrong-fields": 400,
    "not-configured": 400,
    "unknown-run": 404,
    "unknown-point": 404,
    "not-acceptable": 406,
    "already-running": 409,
    "run-ended": 409,
    "too-large": 413,
    "unsupported-media-type": 415,
    "unexpected": 500,
}
"""Codes of the API's own."""
_TITLES: Mapping[str, str] = {
    "malformed-json": "The body is no JSON",
    "wrong-fields": "The body has fields that are wrong",
    "not-configured": "What is asked for is not configured",
    "unknown-run": "There is no such run",
    "unknown-point": "There is no such recovery point",
    "not-acceptable": "There is no such form",
    "already-running": "A run goes on already",
    "run-ended": "The run has ended",
    "too-large": "The body is too large",
    "unsupported-media-type": "The body is of a wrong kind",
    "unexpected": "Something unexpected happened",
    UsageError.code: "The request makes no sense",
    SettingsError.code: "A setting of the app is missing or wrong",
    SecretsFileError.code: "The file cannot be SystemSecrets.JSON",
    "damaged": "Something stored is damaged",
    "storage-failed": "The storage service failed",
    "storage-unavailable": "The storage service cannot be reached",
    "storage-forbidden": "The app lacks a right",
    "no-container": "A container of the vault is missing",
}
"""By code; a title is the same each time."""
_OF_ERRORS: tuple[tuple[type[LifeboatError], int], ...] = (
    (SettingsError, 500),
    (UsageError, 400),
    (SecretsFileError, 400),
    (StorageForbidden, 500),
    (ContainerMissing, 500),
    (StorageError, 502),
    (SourceError, 502),
)
"""The first that fits; what may succeed later is 503 before, and anything else 500."""
_logger = logging.getLogger("lifeboat")


class Problem(Exception):
    """Raised by a handler in place of its answer."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        remedy: str,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status = STATUSES[code] if status is None else status
        self.remedy = remedy
        self.headers = dict(headers or {})
        self.members = members
        """Beside those of RFC 9457: ``setting``, ``object``, ``errors``, ``run``."""

    def document(self) -> Json:
        return {
            "type": PREFIX + self.code,
            "title": _TITLES.get(self.code, "The request failed"),
            "status": self.status,
            "detail": str(self),
            "remedy": self.remedy,
            **self.members,
        }

    def answer(self) -> func.HttpResponse:
        return func.HttpResponse(
            json.dumps(self.document()),
            status_code=self.status,
            headers={**SAFE_HEADERS, **self.headers},
            mimetype=PROBLEM_JSON,
        )


def problem_of(error: Exception, *, where: str) -> Problem:
    """The problem that ``error`` is for a client; what is not the client's doing is logged, as of ``where``."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, LifeboatError):
        problem = _of_lifeboat(error)
        if problem.status >= 500:
            _logger.error("%s: %s", where, problem)
        return problem
    _logger.error("%s: unexpected\n%s", where, redacted("".join(traceback.format_exception(error))))
    return Problem(
        "unexpected",
        f"something happened that Lifeboat does not expect ({type(error).__name__})",
        remedy="The app's log has it in full; please file an issue with it.",
    )


def _of_lifeboat(error: LifeboatError) -> Problem:
    if error.retryable:
        status = 503
    else:
        status = next((status for kind, status in _OF_ERRORS if isinstance(error, kind)), 500)
    seconds = getattr(error, "retry_after_seconds", None) or RETRY_AFTER_SECONDS
    about = {name: getattr(error, name) for name in ("setting", "object") if getattr(error, name)}
    return Problem(
        error.code,
        redacted(printable(str(error))),
        remedy=redacted(error.remedy),
        status=status,
        headers={"Retry-After": str(max(1, round(seconds)))} if status == 503 else None,
        **about,
    )
