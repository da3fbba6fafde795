"""The operations of the REST reference on the state of a vault."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.standins.keyvault.state import DeletedSecret, KeyVaultStandin, StoredVersion

API_VERSIONS = {"7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"}
_LARGEST_VALUE_BYTES = 25 * 1024
_MOST_TAGS = 15
_LONGEST_TAG = 256
"""Of name and of value: what the documentation said first; that of today says 512."""
_LONGEST_CONTENT_TYPE = 255
_MOST_RESULTS = 25

Json = dict[str, Any]


class Refused(Exception):
    def __init__(self, status: int, code: str, message: str, inner: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.inner = status, code, message, inner

    def body(self) -> Json:
        error: Json = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return {"error": error}


@dataclass(frozen=True)
class Service:
    """Not safe for several threads: the server lets one request in at a time."""

    vault: KeyVaultStandin

    def act(self, method: str, parts: list[str], query: Mapping[str, str], sent: Json) -> Json | None:
        """The answer's body, None for none. ``Refused`` for what the service refuses."""
        version = query.get("api-version", "")
        if version not in API_VERSIONS:
            raise Refused(400, "BadParameter", f"the api-version {version!r} is not recognized")
        match method, parts:
            case "GET", ["secrets"]:
                return self._list_secrets(query)
            case "GET", ["secrets", name, "versions"]:
                return self._list_versions(name, query)
            case "GET", ["secrets", name, *rest]:
                return self._get(name, *rest)
            case "PUT", ["secrets", name]:
                return self._set(name, sent)
            case "PATCH", ["secrets", name, *rest]:
                return self._update(sent, name, *rest)
            case "DELETE", ["secrets", name]:
                return self._delete(name)
            case "GET", ["deletedsecrets"]:
                return self._list_deleted(query)
            case "GET", ["deletedsecrets", name]:
                self._allow("get")
                return self._deleted_item(*self._find_deleted(name))
            case "POST", ["deletedsecrets", name, "recover"]:
                return self._recover(name)
            case "DELETE", ["deletedsecrets", name]:
                self._purge(name)
                return None
        raise Refused(404, "NotFound", f"the stand-in has no {method} {'/'.join(parts)}")

    def _get(self, name: str, version: str = "") -> Json:
        self._allow("get")
        name, found = self._find(name, version)
        if not found.enabled:
            raise Refused(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")
        return {"value": found.value, **self._item(name, found)}

    def _set(self, name: str, sent: Json) -> Json:
        self._allow("set")
        if not re.fullmatch(r"[0-9a-zA-Z-]{1,127}", name):
            raise Refused(400, "BadParameter", f"The request URI contains an invalid name: {name}")
        value = sent.get("value")
        if not isinstance(value, str) or len(value.encode()) > _LARGEST_VALUE_BYTES:
            # The worst that a service could do: what a client shows of this must not hold the value.
            raise Refused(400, "BadParameter", f"The value of the secret is missing or too long: {value}")
        if _known(self.vault.deleted, name) is not None:
            message = f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused."
            raise Refused(409, "Conflict", message, "ObjectIsDeletedButRecoverable")
        if name in self.vault.recovering:
            raise Refused(409, "Conflict", f"Secret {name} is currently being recovered.", "ObjectIsBeingRecovered")
        made = StoredVersion(secrets.token_hex(16), value, {}, int(time.time()))
        _apply(made, sent)
        name = _known(self.vault.secrets, name) or name
        self.vault.secrets.setdefault(name, []).append(made)
        return {"value": value, **self._item(name, made)}

    def _update(self, sent: Json, name: str, version: str = "") -> Json:
        """Any version may be updated, by default the current one; what is not sent stays as it is."""
        self._allow("update")
        name, found = self._find(name, version)
        _apply(found, sent)
        found.updated = int(time.time())
        return self._item(name, found)

    def _delete(self, name: str) -> Json:
        self._allow("delete")
        name, _ = self._find(name)
        self.vault.delete(name)
        return self._deleted_item(name, self.vault.deleted[name])

    def _recover(self, name: str) -> Json:
        self._allow("recover")
        name, found = self._find_deleted(name)
        self.vault.secrets[name] = self.vault.deleted.pop(name).versions
        return self._item(name, found.versions[-1])

    def _purge(self, name: str) -> None:
        self._allow("purge")
        name, _ = self._find_deleted(name)
        if self.vault.purge_protection:
            raise Refused(403, "Forbidden", 'Operation "purge" is not allowed: purge protection is enabled.')
        del self.vault.deleted[name]

    def _list_secrets(self, query: Mapping[str, str]) -> Json:
        self._allow("list")
        current = [(name, self.vault.secrets[name][-1]) for name in sorted(self.vault.secrets)]
        return self._page("secrets", query, [self._item(*each, versioned=False) for each in current])

    def _list_versions(self, name: str, query: Mapping[str, str]) -> Json:
        self._allow("list")
        name, _ = self._find(name)
        versions = sorted(self.vault.secrets[name], key=lambda each: each.version)
        return self._page(f"secrets/{name}/versions", query, [self._item(name, each) for each in versions])

    def _list_deleted(self, query: Mapping[str, str]) -> Json:
        self._allow("list")
        items = [
            self._deleted_item(name, self.vault.deleted[name], versioned=False) for name in sorted(self.vault.deleted)
        ]
        return self._page("deletedsecrets", query, items)

    def _page(self, path: str, query: Mapping[str, str], items: list[Json]) -> Json:
        most = int(query.get("maxresults", _MOST_RESULTS))
        if not 1 <= most <= _MOST_RESULTS:
            raise Refused(400, "BadParameter", f"maxresults must be between 1 and {_MOST_RESULTS}")
        start = int(query.get("$skiptoken", "0"))
        end = start + min(most, self.vault.page_size)
        link = f"{self.vault.url}/{path}?api-version={query['api-version']}&$skiptoken={end}&maxresults={most}"
        return {"value": items[start:end], "nextLink": link if end < len(items) else None}

    def _item(self, name: str, stored: StoredVersion, *, versioned: bool = True) -> Json:
        attributes = {
            "enabled": stored.enabled,
            "nbf": stored.not_before,
            "exp": stored.expires,
            "created": stored.created,
            "updated": stored.updated or stored.created,
            "recoveryLevel": self.vault.recovery_level,
            "recoverableDays": self.vault.retention_days,
        }
        return {
            "id": f"{self.vault.url}/secrets/{name}" + (f"/{stored.version}" if versioned else ""),
            **({"contentType": stored.content_type} if stored.content_type is not None else {}),
            "attributes": {key: value for key, value in attributes.items() if value is not None},
            "tags": dict(stored.tags),
        }

    def _deleted_item(self, name: str, found: DeletedSecret, *, versioned: bool = True) -> Json:
        return {
            "recoveryId": f"{self.vault.url}/deletedsecrets/{name}",
            "deletedDate": found.deleted,
            "scheduledPurgeDate": found.deleted + self.vault.retention_days * 86_400,
            **self._item(name, found.versions[-1], versioned=versioned),
        }

    def _find(self, name: str, version: str = "") -> tuple[str, StoredVersion]:
        """The name as it was first written, and that version, by default the current one."""
        known = _known(self.vault.secrets, name)
        for stored in reversed(self.vault.secrets.get(known or "", [])):
            if version in ("", stored.version):
                return known or name, stored
        raise Refused(
            404, "SecretNotFound", f"A secret with (name/id) {name}/{version} was not found in this key vault."
        )

    def _find_deleted(self, name: str) -> tuple[str, DeletedSecret]:
        known = _known(self.vault.deleted, name)
        if known is None:
            raise Refused(404, "SecretNotFound", f"Deleted secret not found: {name}")
        return known, self.vault.deleted[known]

    def _allow(self, action: str) -> None:
        if action in self.vault.denied:
            raise Refused(403, "Forbidden", "Caller is not authorized to perform action", "ForbiddenByRbac")


def _known(names: Iterable[str], name: str) -> str | None:
    """Names are one whatever the case of their letters."""
    return next((each for each in names if each.casefold() == name.casefold()), None)


def _apply(stored: StoredVersion, sent: Json) -> None:
    """Set the properties that were sent; all of them or, where one is refused, none."""
    tags = sent.get("tags")
    if tags is not None:
        if len(tags) > _MOST_TAGS:
            raise Refused(400, "BadParameter", f"more than {_MOST_TAGS} tags")
        if any(len(text) > _LONGEST_TAG for text in (*tags, *tags.values())):
            raise Refused(400, "BadParameter", f"a tag's name or value is longer than {_LONGEST_TAG} characters")
    if len(sent.get("contentType") or "") > _LONGEST_CONTENT_TYPE:
        raise Refused(400, "BadParameter", f"the content type is longer than {_LONGEST_CONTENT_TYPE} characters")
    attributes = sent.get("attributes") or {}
    stored.tags = dict(tags) if tags is not None else stored.tags
    stored.content_type = sent.get("contentType", stored.content_type)
    stored.enabled = attributes.get("enabled", stored.enabled)
    stored.expires = attributes.get("exp", stored.expires)
    stored.not_before = attributes.get("nbf", stored.not_before)
