"""What was deployed, with its real names: what the files for the operator are written from."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from infra.hooks.asked import address_space, all_settings, shape_of, somebody_is_told
from infra.hooks.environment import Environment
from infra.hooks.findings import HookFailed
from shared.settings import Settings

NEEDED = ("LIFEBOAT_BACKUP_APP", "LIFEBOAT_BACKUP_HOST", "LIFEBOAT_KEY_VAULT_NAME", "LIFEBOAT_VAULT_NAME")


@dataclass(frozen=True, slots=True)
class Site:
    """Outputs of main.bicep, and what was asked for. Empty: there is none."""

    subscription: str
    group: str
    app: str
    host: str
    keeper: str
    vault: str
    vault_url: str
    landing: str
    landing_url: str
    key_vault: str
    network: str
    """``public``, ``integrated`` or ``private``."""
    network_id: str
    address_space: str
    outbound_address: str
    gateway_address: str
    stamp_gateway: str
    hub_id: str
    dns_servers: str
    immutability: str
    policy_is_locked: bool
    agent_principal_id: str
    client_id: str
    restorers: str
    somebody_is_told: bool
    """Of alerts."""
    shape: str
    settings: Settings

    @classmethod
    def of(cls, environment: Environment) -> Site:
        """``HookFailed``: nothing was deployed yet."""
        missing = [name for name in NEEDED if not environment.get(name)]
        name, shape = shape_of(environment)
        if missing or shape is None:
            raise HookFailed(
                f"nothing was deployed into this azd environment yet: {', '.join(missing) or 'its shape'} is not known",
                "azd provision comes first. Which environment is meant: azd env list",
            )
        get = environment.get
        return cls(
            subscription=get("AZURE_SUBSCRIPTION_ID"),
            group=get("AZURE_RESOURCE_GROUP"),
            app=get("LIFEBOAT_BACKUP_APP"),
            host=get("LIFEBOAT_BACKUP_HOST"),
            keeper=get("LIFEBOAT_KEEPER_APP"),
            vault=get("LIFEBOAT_VAULT_NAME"),
            vault_url=get("LIFEBOAT_VAULT_URL"),
            landing=get("LIFEBOAT_LANDING_NAME"),
            landing_url=get("LIFEBOAT_LANDING_URL"),
            key_vault=get("LIFEBOAT_KEY_VAULT_NAME"),
            network=get("LIFEBOAT_NETWORK", shape["network"]),
            network_id=get("LIFEBOAT_VIRTUAL_NETWORK_ID"),
            address_space=address_space(environment),
            outbound_address=get("LIFEBOAT_OUTBOUND_ADDRESS"),
            gateway_address=get("LIFEBOAT_GATEWAY_ADDRESS"),
            stamp_gateway=get("LIFEBOAT_STAMP_GATEWAY"),
            hub_id=get("LIFEBOAT_HUB_NETWORK_ID"),
            dns_servers=get("LIFEBOAT_DNS_SERVERS"),
            immutability=get("LIFEBOAT_IMMUTABILITY", shape["immutability"]),
            policy_is_locked=environment.flag("LIFEBOAT_POLICY_IS_LOCKED", False),
            agent_principal_id=get("LIFEBOAT_AGENT_PRINCIPAL_ID"),
            client_id=get("LIFEBOAT_AUTH_CLIENT_ID"),
            restorers=get("LIFEBOAT_RESTORERS_GROUP_ID"),
            somebody_is_told=somebody_is_told(environment),
            shape=name,
            settings=all_settings(environment, shape),
        )

    @property
    def key_vault_id(self) -> str:
        return self._id(f"Microsoft.KeyVault/vaults/{self.key_vault}")

    @property
    def app_id(self) -> str:
        return self._id(f"Microsoft.Web/sites/{self.app}")

    def _id(self, rest: str) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/providers/{rest}"

    @property
    def backup_subnet(self) -> str:
        """The range from which the backup app comes, inside the network: as network.bicep cuts it out."""
        network = ipaddress.ip_network(self.address_space, strict=False)
        return str(next(iter(network.subnets(new_prefix=25))))

    @property
    def origin(self) -> str:
        return f"https://{self.host}"
