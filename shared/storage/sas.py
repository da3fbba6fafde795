"""Shared access signatures, for SQL Server and for the source of a copy.

Signed here and not by the library: that signs in its own newest version of the protocol, which Azure Stack Hub and the
emulators do not know, and it cannot be asked for another. The layouts are those of "Create a service SAS" and "Create a
user delegation SAS" in the reference of the REST API, with an account key from version 2018-11-09 on (the library takes
none from before), with a delegation key, which only Azure itself gives, from 2020-12-06 on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

_FIRST_DELEGATION = "2020-12-06"
"""The first version in which we sign with a delegation key."""


@dataclass(frozen=True, slots=True)
class Sas:
    """A signature and what it signs. Neither ``str`` nor ``repr`` shows it."""

    token: str = field(repr=False)
    """The query, without its question mark."""
    expires: datetime
    """Aware UTC, in whole seconds."""


@dataclass(frozen=True, slots=True)
class DelegationKey:
    """What an identity signs with in place of an account key; fields as the service gave them."""

    object_id: str
    tenant_id: str
    starts: str
    expires: str
    service: str
    version: str
    value: str = field(repr=False)
    """Base64."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one account with its key or a delegation key, in ``api_version`` of the protocol.

    ``https_only`` makes the service refuse the SAS over plain http.
    """

    account: str
    key: str | DelegationKey = field(repr=False)
    api_version: str
    https_only: bool

    @property
    def version(self) -> str:
        return max(self.api_version, _FIRST_DELEGATION) if isinstance(self.key, DelegationKey) else self.api_version

    def container(self, name: str, permissions: str, expires: datetime) -> Sas:
        """For the container and all its blobs, from now on: there is no start time, which clocks could miss."""
        return self._sign("c", name, permissions, expires)

    def blob(
        self, container: str, name: str, permissions: str, expires: datetime, *, version: str | None = None
    ) -> Sas:
        """For one blob, or one version of it, which the URL names itself, as its ``versionid``."""
        return self._sign("bv" if version else "b", f"{container}/{name}", permissions, expires, version)

    def _sign(self, resource: str, path: str, permissions: str, expires: datetime, moment: str | None = None) -> Sas:
        """``permissions`` in the service's order, ``racwdl``."""
        expires = expires.astimezone(UTC).replace(microsecond=0)
        fields = {
            "sp": permissions,
            "se": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "spr": "https" if self.https_only else "",
            "sv": self.version,
            "sr": resource,
        }
        if isinstance(self.key, DelegationKey):
            fields |= {
                "skoid": self.key.object_id,
                "sktid": self.key.tenant_id,
                "skt": self.key.starts,
                "ske": self.key.expires,
                "sks": self.key.service,
                "skv": self.key.version,
            }
        text = "\n".join(self._string_to_sign(fields, path, moment or ""))
        key = base64.b64decode(self.key.value if isinstance(self.key, DelegationKey) else self.key)
        fields["sig"] = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
        return Sas("&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items() if value), expires)

    def _string_to_sign(self, fields: dict[str, str], path: str, moment: str) -> list[str]:
        """The lines signed, the version as ``moment``; an empty one stands for what we never set, named beside."""
        version = self.version
        lines = [fields["sp"], "", fields["se"], f"/blob/{self.account}/{path}"]  # "": start
        if "skoid" in fields:
            lines += [fields[name] for name in ("skoid", "sktid", "skt", "ske", "sks", "skv")]
            lines += [""] * 3  # authorized and unauthorized user, correlation
            lines += [""] * 2 * (version >= "2025-07-05")  # tenant and object of a delegated user
        else:
            lines += [""]  # stored access policy
        lines += ["", fields["spr"], version, fields["sr"], moment]  # "": addresses
        lines += [""] * (version >= "2020-12-06")  # encryption scope
        if "skoid" in fields:
            lines += [""] * 2 * (version >= "2026-04-06")  # headers and query of the request
        return [*lines, "", "", "", "", ""]  # headers of the reply
