"""Secrets in Azure Key Vault: read, written and tagged; never deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from shared.errors import SettingsError, StorageError, StorageForbidden, StorageUnavailable
from shared.storage.azure_endpoint import is_loopback, require_address

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.exceptions import HttpResponseError
    from azure.keyvault.secrets import SecretClient, SecretProperties

SETTING = "LIFEBOAT_KEY_VAULT_URL"

_RIGHTS = {
    "get": "Microsoft.KeyVault/vaults/secrets/getSecret/action",
    "set": "Microsoft.KeyVault/vaults/secrets/setSecret/action",
    "list": "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
    "list the versions of": "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
    "tag": "Microsoft.KeyVault/vaults/secrets/update/action",
}


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """What is known of one version without its value."""

    name: str
    version: str
    created: datetime
    """When the version was made, aware UTC, by the clock of the service, in whole seconds."""
    enabled: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None
    expires: datetime | None = None
    """A reminder, aware UTC, in whole seconds: an expired secret can still be read."""
    recovery_level: str | None = None
    """What becomes of it when it is deleted, in the service's own words, such as ``Recoverable+Purgeable``."""


@dataclass(frozen=True, slots=True)
class Secret(SecretVersion):
    value: str = field(default="", repr=False)


class SecretStore(Protocol):
    """A vault of secrets. Every version is kept; a name's newest version is its current one.

    Errors: ``StorageUnavailable`` (may be tried again), ``StorageForbidden`` (names the right that is missing),
    ``StorageError`` for a name or value that the vault does not take, or a name that was deleted and not purged.
    Nothing else is raised, and no error's text holds a value.
    """

    def get(self, name: str, version: str | None = None) -> Secret | None:
        """That version, by default the current one; None where there is no such secret or version."""
        ...

    def set(
        self,
        name: str,
        value: str,
        tags: Mapping[str, str],
        *,
        content_type: str | None = None,
        expires: datetime | None = None,
    ) -> Secret:
        """Make a new version, which becomes the current one. A lost reply may leave two equal versions."""
        ...

    def versions(self, name: str) -> list[SecretVersion]:
        """All versions, newest first; versions of the same second in no order. Empty where there is none."""
        ...

    def names(self) -> list[SecretVersion]:
        """What is known of the current version of every secret that is not deleted, in no order.

        ``version`` is empty, as the service does not tell it here; secrets whose current version is disabled are told.
        """
        ...

    def set_tags(self, name: str, version: str, tags: Mapping[str, str], *, expires: datetime | None = None) -> None:
        """Replace the tags of that version by these, and its expiry date where one is given; the value stays."""
        ...


class KeyVaultSecrets:
    """``SecretStore`` on a Key Vault. Safe for several threads; whoever opened it closes it."""

    def __init__(self, client: SecretClient, url: str) -> None:
        self._client, self._url = client, url

    @classmethod
    def open(cls, url: str, credential: TokenCredential) -> KeyVaultSecrets:
        """Make the client; nothing is sent yet. ``SettingsError`` where ``url`` is no https address.

        A vault names, in its challenge, the audience that tokens are asked for, and the library holds that against
        the vault's domain. Only for a loopback host, where a stand-in serves, this check is off.
        """
        give = "give the vault's address, such as https://NAME.vault.azure.net"
        require_address(url, SETTING, remedy=give)
        host = urlsplit(url).hostname
        if urlsplit(url).scheme != "https" or not host:
            raise SettingsError(f"{SETTING} ({url}) is no https address", remedy=give, setting=SETTING)
        from azure.keyvault.secrets import SecretClient

        client = SecretClient(
            url,
            credential,
            verify_challenge_resource=not is_loopback(url),
            retry_total=3,
            connection_timeout=10,
            read_timeout=30,
        )
        return cls(client, url)

    def __enter__(self) -> KeyVaultSecrets:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def get(self, name: str, version: str | None = None) -> Secret | None:
        from azure.core.exceptions import ResourceNotFoundError

        with self._errors("get", name, version):
            try:
                found = self._client.get_secret(name, version)
            except ResourceNotFoundError as error:
                if _code(error) == "SecretNotFound":
                    return None
                raise
        return _secret(found.properties, found.value or "")

    def set(
        self,
        name: str,
        value: str,
        tags: Mapping[str, str],
        *,
        content_type: str | None = None,
        expires: datetime | None = None,
        enabled: bool = True,
    ) -> Secret:
        """See ``SecretStore.set``; not ``enabled``: nobody can read the value, until somebody enables it."""
        with self._errors("set", name):
            made = self._client.set_secret(
                name, value, tags=dict(tags), content_type=content_type, expires_on=expires, enabled=enabled
            )
        return _secret(made.properties, value)

    def versions(self, name: str) -> list[SecretVersion]:
        from azure.core.exceptions import ResourceNotFoundError

        with self._errors("list the versions of", name):
            try:
                found = [_version(item) for item in self._client.list_properties_of_secret_versions(name)]
            except ResourceNotFoundError as error:
                if _code(error) == "SecretNotFound":
                    return []
                raise
        return sorted(found, key=lambda item: item.created, reverse=True)

    def names(self) -> list[SecretVersion]:
        with self._errors("list", "names"):
            return [_version(item) for item in self._client.list_properties_of_secrets()]

    def set_tags(self, name: str, version: str, tags: Mapping[str, str], *, expires: datetime | None = None) -> None:
        with self._errors("tag", name):
            self._client.update_secret_properties(name, version, tags=dict(tags), expires_on=expires)

    @contextmanager
    def _errors(self, action: str, name: str, version: str | None = None) -> Iterator[None]:
        """Every error of the library as one of ours. The library's own stays hidden after a write: its text is the
        service's, and what was sent hangs on it."""
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            yield
        except HttpResponseError as error:
            raise self._refused(error, action, name, version) from (None if action == "set" else error)
        except AzureError as error:
            raise self._unreachable(error) from (None if action == "set" else error)
        except ValueError:  # of the challenge; its text recommends to do without the check
            raise StorageError(
                f"{self._url} asks for tokens of another service than the Key Vault of that address",
                remedy="give the vault's own address, such as https://NAME.vault.azure.net; its private endpoint is "
                "reached by that name as well",
                setting=SETTING,
            ) from None

    def _refused(self, error: HttpResponseError, action: str, name: str, version: str | None) -> StorageError:
        from azure.core.exceptions import ClientAuthenticationError

        what = f"{action} secret {name} in {self._url}"
        status = error.status_code
        if status is None:
            if isinstance(error, ClientAuthenticationError):
                return StorageForbidden(
                    f"no Entra ID token for {self._url} could be had: {_first_line(error)}",
                    remedy="sign in (az login) or give the app an identity",
                    setting=SETTING,
                )
            return self._unreachable(error)
        code = _code(error) or str(status)
        command = f"az keyvault secret {{}} --vault-name {self._name} --name {name}"
        if status in (408, 429) or status >= 500 or code == "ObjectIsBeingRecovered":
            return StorageUnavailable(
                f"{self._url} answered {status} {code} ({what})",
                remedy="the service is busy or failing: try again later",
                retry_after_seconds=_retry_after(error),
            )
        if code == "SecretDisabled":
            which = f" --version {version}" if version else ""
            return StorageForbidden(
                f"cannot {what}: it is disabled ({code})",
                remedy=f"enable it: {command.format('set-attributes')}{which} --enabled true",
                setting=SETTING,
            )
        if status in (401, 403):
            return StorageForbidden(f"refused to {what} ({code})", remedy=_remedy(code, action), setting=SETTING)
        if status == 409:
            return StorageError(
                f"cannot {what}: the name belongs to a deleted secret ({code})",
                remedy=f"recover it: {command.format('recover')}",
            )
        if status == 400:
            limits = (
                "a value has 25 KB at most, a name 127 letters, digits and hyphens, a secret 15 tags of 256 characters"
            )
            return StorageError(f"cannot {what}: {status} {code}", remedy=limits, setting=SETTING)
        return StorageError(
            f"cannot {what}: {status} {code}",
            remedy=f"check {SETTING}"
            + ("" if action == "list" else f"; where the secret was deleted: {command.format('recover')}"),
            setting=SETTING,
        )

    def _unreachable(self, error: Exception) -> StorageError:
        cause = _first_line(error)
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return StorageError(
                f"the certificate of {self._url} is not trusted: {cause}",
                remedy="a proxy or firewall that looks into TLS puts its own in its place: let the vault pass it, or "
                "name its authority's certificate in REQUESTS_CA_BUNDLE",
                setting=SETTING,
            )
        if "Failed to resolve" in str(error):
            return StorageUnavailable(
                f"the name of {self._url} cannot be resolved: {cause}",
                remedy=f"check {SETTING} and this machine's DNS; a private endpoint needs its zone "
                "privatelink.vaultcore.azure.net linked to this network",
                setting=SETTING,
            )
        return StorageUnavailable(
            f"{self._url} did not answer: {cause}",
            remedy=f"check {SETTING}, the name resolution, TLS and the way out of this network",
            setting=SETTING,
        )

    @property
    def _name(self) -> str:
        return (urlsplit(self._url).hostname or "").partition(".")[0]


def _secret(facts: SecretProperties, value: str) -> Secret:
    plain = _version(facts)
    return Secret(**{each.name: getattr(plain, each.name) for each in fields(plain)}, value=value)


def _version(facts: SecretProperties) -> SecretVersion:
    created = facts.created_on or datetime.fromtimestamp(0, UTC)
    level = facts.recovery_level
    return SecretVersion(
        name=facts.name or "",
        version=facts.version or "",
        created=created.astimezone(UTC),
        enabled=facts.enabled is not False,
        tags=facts.tags or {},
        content_type=facts.content_type,
        expires=facts.expires_on.astimezone(UTC) if facts.expires_on else None,
        recovery_level=str(getattr(level, "value", level)) if level else None,
    )


def _code(error: HttpResponseError) -> str:
    """The innermost code of the reply, which says for a refusal whether rights or the firewall refused."""
    code, inner = "", getattr(error, "error", None)
    while inner is not None:
        code = getattr(inner, "code", None) or code
        inner = inner.innererror if hasattr(inner, "innererror") else None
        if isinstance(inner, Mapping):
            return str(inner.get("code") or code)
    return code


def _remedy(code: str, action: str) -> str:
    if code in ("ForbiddenByFirewall", "ForbiddenByConnection"):
        return "the vault's firewall refuses this network: allow it, or go by its private endpoint"
    return f"give the identity the right {_RIGHTS[action]} on the vault"


def _retry_after(error: HttpResponseError) -> float | None:
    try:
        return float(str(getattr(error.response, "headers", {}).get("Retry-After")))
    except ValueError:
        return None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
