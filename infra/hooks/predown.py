"""Before everything is taken away: a vault that holds locked dates cannot go, and must not lose what opens it."""

from __future__ import annotations

from infra.hooks.environment import Environment
from infra.hooks.findings import HookFailed, say

PAGE = "docs/deploying.md, *Taking it down*"


def run(environment: Environment) -> int:
    """Exit code 1, so that azd stops, unless LIFEBOAT_DOWN is ``confirmed`` or the vault takes no dates."""
    immutability = environment.get("LIFEBOAT_IMMUTABILITY")
    vault = environment.get("LIFEBOAT_VAULT_NAME")
    if not vault:
        say("Lifeboat: nothing was deployed into this azd environment.")
        return 0
    if immutability == "none":
        say(f"Lifeboat: the vault {vault} holds no locked dates: every backup in it goes with it, for good.")
        return 0
    lock = (
        "\n- A lock on the account keeps all of the resource group from going: "
        f"az lock list --resource-group {environment.get('AZURE_RESOURCE_GROUP')}"
        if immutability == "locked"
        else ""
    )
    what = (
        f"the vault {vault} takes locked dates. While it holds a blob or a version, Azure deletes neither its "
        "containers nor the account, whoever asks. azd down would take away the apps, the alerts and the Key Vault, "
        "with the password that opens the backups, and then fail at the vault"
    )
    if environment.get("LIFEBOAT_DOWN") == "confirmed":
        say(f"Lifeboat, as you have confirmed: {what}.\nWhat is left then, and how it goes: {PAGE}{lock}")
        return 0
    raise HookFailed(
        what,
        f"- What to do, step by step: {PAGE}{lock}\n"
        "- Keep the repository password first: python lifeboat.py password --yes\n"
        "- Without --purge: nobody can purge this Key Vault before its 90 days.\n"
        "- If the vault is empty, or that is what you want: azd env set LIFEBOAT_DOWN confirmed, and azd down again",
    )
