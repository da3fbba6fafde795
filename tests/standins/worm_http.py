"""Stand-in for versions and immutability of blobs, which Azurite 3.37 lacks, by the rules of ``worm``.

The emulator holds the current blobs; what they were is held here. Each look at a blob, or a list of versions, takes
over what has changed at the emulator since, also what went there directly.

Limits: what is answered here is not checked against a signature, but for a SAS of a version; no snapshots, no
``delimiter``, no policies in the headers of a put; conditions count for current blobs only; it is all in memory.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from itertools import islice
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from shared.storage.sas import Signer
from tests.standins.azurite import API_VERSION, KEY, Azurite
from tests.standins.faults import Reply
from tests.standins.worm import Clock, Refused, Version, Worm, WormContainer

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties, ContainerClient

_IN_LISTINGS = {"versions", "deleted", "deletedwithversions", "immutabilitypolicy", "legalhold"}
_PAGE = 5000


class Request(Protocol):
    """One request as the proxy parsed it."""

    method: str
    headers: dict[str, str]

    @property
    def query(self) -> Mapping[str, str]: ...
    @property
    def path(self) -> str: ...
    @property
    def container(self) -> str: ...
    @property
    def blob(self) -> str: ...
    @property
    def by_sas(self) -> bool: ...


class WormService:
    """What the accounts of one emulator would be with ``worm``. Several proxies may share it."""

    def __init__(self, azurite: Azurite, worm: Worm, clock: Clock) -> None:
        self.worm = worm
        self._azurite = azurite
        self._clock = clock
        self._containers: dict[tuple[str, str], _Container] = {}
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Reply | None:
        """The reply to what the emulator cannot do, or does not forbid; None: it is the emulator's."""
        if not request.container:
            return None
        asked = set(request.query.get("include", "").split(","))
        try:
            if not request.blob:
                wanted = request.query.get("comp") == "list" and asked & _IN_LISTINGS
                return self._container(request).list(request.query, asked) if wanted else None
            if "versionid" in request.query or request.query.get("comp") in _OF_VERSIONS:
                return self._of_version(request)
            if request.method in ("PUT", "DELETE"):
                self._container(request).look(request.blob)
                if request.method == "DELETE" and self._container(request).state.current(request.blob):
                    self._container(request).state.refuse_delete(request.blob)
        except Refused as refused:
            return Reply(refused.status, refused.code, str(refused))
        return None

    def headers(self, request: Request) -> dict[str, str]:
        """What the reply to a put or a stat that succeeded has besides, and what a container tells of itself."""
        if not request.blob and request.query == {"restype": "container"} and request.method in ("GET", "HEAD"):
            return {"x-ms-immutable-storage-with-versioning-enabled": str(self.worm.immutability).lower()}
        if not request.blob or "comp" in request.query or request.method not in ("PUT", "HEAD"):
            return {}
        container = self._container(request)
        container.look(request.blob)
        version = container.state.current(request.blob)
        return _policy_headers(version) if version else {}

    def _of_version(self, request: Request) -> Reply:
        _check_signature(request)
        container = self._container(request)
        container.look(request.blob)
        name, version_id, state = request.blob, request.query.get("versionid"), container.state
        match (request.method, request.query.get("comp")):
            case ("GET" | "HEAD", None):
                return _content(state.version(name, version_id or ""), request.headers)
            case ("DELETE", None):
                state.delete_version(name, version_id or "")
                return Reply(202)
            case ("PUT", "immutabilityPolicies"):
                until = parsedate_to_datetime(request.headers["x-ms-immutability-policy-until-date"])
                locked = request.headers.get("x-ms-immutability-policy-mode", "").lower() == "locked"
                made = state.protect(name, until.astimezone(UTC), locked=locked, version_id=version_id)
                return Reply(200, headers=_policy_headers(made))
            case ("DELETE", "immutabilityPolicies"):
                state.unprotect(name, version_id)
                return Reply(200)
            case ("PUT", "legalhold"):
                state.hold(name, request.headers["x-ms-legal-hold"].lower() == "true", version_id)
                return Reply(200, headers={"x-ms-legal-hold": request.headers["x-ms-legal-hold"]})
            case ("PUT", "undelete"):
                container.undelete(name)
                return Reply(200)
        raise Refused(501, "NotImplemented", "The stand-in does not do this.")

    def _container(self, request: Request) -> _Container:
        key = request.path.split("/")[1], request.container
        with self._lock:
            if key not in self._containers:
                self._containers[key] = _Container(
                    self._client(*key), WormContainer(self.worm, self._clock), request.container
                )
            return self._containers[key]

    def _client(self, account: str, container: str) -> ContainerClient:
        from azure.core.credentials import AzureNamedKeyCredential
        from azure.storage.blob import ContainerClient

        certificate = self._azurite.certificate
        return ContainerClient(
            self._azurite.url(account),
            container,
            credential=AzureNamedKeyCredential(account, KEY),
            api_version=API_VERSION,
            connection_verify=str(certificate.chain) if certificate else True,
        )


_OF_VERSIONS = {"immutabilityPolicies", "legalhold", "undelete"}
"""Values of ``comp`` that the emulator does not know."""


class _Container:
    """One container: the emulator's blobs, and what they were."""

    def __init__(self, client: ContainerClient, state: WormContainer, name: str) -> None:
        self.state = state
        self._client = client
        self._name = name
        self._etags: dict[str, str] = {}

    def look(self, name: str) -> None:
        """Take over what the emulator has under the name now."""
        from azure.core.exceptions import ResourceNotFoundError

        with self.state.lock:
            try:
                self._take(self._client.get_blob_client(name).get_blob_properties())
            except ResourceNotFoundError:
                self._gone(name)

    def undelete(self, name: str) -> None:
        with self.state.lock:
            before = self.state.current(name)
            self.state.undelete(name)
            after = self.state.current(name)
            if before is None and after is not None:
                made = self._client.upload_blob(name, after.body)
                self._etags[name] = made.get_blob_properties().etag.strip('"')

    def list(self, query: Mapping[str, str], asked: set[str]) -> Reply:
        from azure.core.exceptions import ResourceNotFoundError

        with self.state.lock:
            try:
                there = {blob.name: blob for blob in self._client.list_blobs()}
            except ResourceNotFoundError:
                return Reply(404, "ContainerNotFound", "The specified container does not exist.")
            for blob in there.values():
                self._take(blob)
            for name in self._etags.keys() - there.keys():
                self._gone(name)
            wanted = [
                version
                for version in self.state.versions(query.get("prefix", ""))
                if (version.current or "versions" in asked or version.deleted)
                and (not version.deleted or "deleted" in asked)
            ]
        start, count = int(query.get("marker") or 0), int(query.get("maxresults") or _PAGE)
        page = list(islice(wanted, start, start + count))
        following = str(start + count) if start + count < len(wanted) else ""
        entries = "".join(_entry(version, asked) for version in page)
        body = (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{self._name}">'
            f"<Blobs>{entries}</Blobs><NextMarker>{following}</NextMarker></EnumerationResults>"
        )
        return Reply(200, headers={"Content-Type": "application/xml"}, body=body.encode())

    def _take(self, blob: BlobProperties) -> None:
        if self._etags.get(blob.name) == blob.etag.strip('"'):
            return
        body = self._client.download_blob(blob.name).readall()
        self.state.write(blob.name, body, overwrite=True, modified=blob.last_modified)
        self._etags[blob.name] = blob.etag.strip('"')

    def _gone(self, name: str) -> None:
        self._etags.pop(name, None)
        if self.state.current(name):
            self.state.remove(name)


def _entry(version: Version, asked: set[str]) -> str:
    facts = {
        "Last-Modified": formatdate(version.modified.timestamp(), usegmt=True),
        "Etag": _etag(version),
        "Content-Length": len(version.body),
        "Content-Type": "application/octet-stream",
        "Content-MD5": base64.b64encode(version.md5).decode(),
        "BlobType": "BlockBlob",
    }
    if version.until and "immutabilitypolicy" in asked:
        facts["ImmutabilityPolicyUntilDate"] = formatdate(version.until.timestamp(), usegmt=True)
        facts["ImmutabilityPolicyMode"] = "locked" if version.locked else "unlocked"
    if version.legal_hold and "legalhold" in asked:
        facts["LegalHold"] = "true"
    properties = "".join(f"<{name}>{value}</{name}>" for name, value in facts.items())
    return (
        f"<Blob><Name>{escape(version.name)}</Name>"
        + ("<Deleted>true</Deleted>" if version.deleted else "")
        + (f"<VersionId>{version.id}</VersionId>" if version.id else "")
        + ("<IsCurrentVersion>true</IsCurrentVersion>" if version.id and version.current else "")
        + f"<Properties>{properties}</Properties></Blob>"
    )


def _content(version: Version, headers: Mapping[str, str]) -> Reply:
    """The version's bytes, or the part of them that the request asks for."""
    size = len(version.body)
    told = {
        "ETag": f'"{_etag(version)}"',
        "Last-Modified": formatdate(version.modified.timestamp(), usegmt=True),
        "Content-Type": "application/octet-stream",
        "x-ms-blob-type": "BlockBlob",
        **_policy_headers(version),
    }
    wanted = headers.get("x-ms-range") or headers.get("range")
    if not wanted:
        md5 = base64.b64encode(version.md5).decode()
        return Reply(200, headers={**told, "Content-MD5": md5}, body=version.body)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    end = min(int(last) + 1 if last else size, size)
    if int(first) >= size:
        raise Refused(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
    told["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
    return Reply(206, headers=told, body=version.body[int(first) : end])


def _policy_headers(version: Version) -> dict[str, str]:
    told = {"x-ms-version-id": version.id} if version.id else {}
    if version.id and version.current:
        told["x-ms-is-current-version"] = "true"
    if version.until:
        told["x-ms-immutability-policy-until-date"] = formatdate(version.until.timestamp(), usegmt=True)
        told["x-ms-immutability-policy-mode"] = "locked" if version.locked else "unlocked"
    if version.legal_hold:
        told["x-ms-legal-hold"] = "true"
    return told


def _etag(version: Version) -> str:
    return f"0x{version.md5.hex()[:15].upper()}"


def _check_signature(request: Request) -> None:
    """A SAS has to be one that Azure would take for reading this very version; else there is an Authorization."""
    if not request.by_sas:
        if "authorization" not in request.headers:
            raise Refused(401, "NoAuthenticationInformation", "Server failed to authenticate the request.")
        return
    query = request.query
    expires = datetime.fromisoformat(query["se"])
    signer = Signer(request.path.split("/")[1], KEY, query["sv"], https_only=query.get("spr") == "https")
    right = signer.blob(request.container, request.blob, query["sp"], expires, version=query.get("versionid"))
    given = {name: query.get(name) for name in ("sr", "sig")}
    if given != _fields(right.token, given) or expires < datetime.now(UTC):
        raise Refused(403, "AuthenticationFailed", "Server failed to authenticate the request.")
    if "r" not in query["sp"] or request.method not in ("GET", "HEAD"):
        raise Refused(403, "AuthorizationPermissionMismatch", "This request is not authorized by its SAS.")


def _fields(token: str, wanted: Mapping[str, object]) -> dict[str, str]:
    return {name: value for name, value in parse_qsl(token) if name in wanted}
