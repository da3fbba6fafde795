"""What the operator has asked for, looked at without Azure: the shape, the settings, the ranges of addresses."""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any

from infra.hooks import templates
from infra.hooks.environment import Environment
from infra.hooks.findings import FAIL, Finding, failed, passed, warned
from infra.hooks.templates import PREFIX, Shape
from shared.databases.driver import Address
from shared.errors import SettingsError
from shared.ncrontab import Ncrontab
from shared.settings import Settings
from shared.smb.endpoint import SmbEndpoint

SECRETS: Mapping[str, str] = {
    "LANDING_KEY": "landing-key",
    "REPOSITORY_PASSWORD": "repository-password",
    "SHARE_PASSWORD": "share-password",
    "SQL_PASSWORD": "sql-password",
    "SQL_DISK_PASSWORD": "sql-disk-password",
    "DRILL_SQL_PASSWORD": "drill-sql-password",
    "SQL_ADOPT_SAS": "sql-adopt-sas",
}
"""Settings that are secrets, and the names by which the apps look for them in the Key Vault."""
OF_THE_COMMAND_LINE = (
    "ROLE",
    "VAULT_KEY",
    "RESTORE_USERNAME",
    "RESTORE_PASSWORD",
    "RESTORE_SQL_USERNAME",
    "RESTORE_SQL_PASSWORD",
)
SWITCHES = ("LIFEBOAT_CHECKS", "LIFEBOAT_DASHBOARD", "LIFEBOAT_DOWN")
"""What only the hooks read."""
TOKEN = re.compile(r"[a-z0-9]{5,13}")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NETWORK_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network/virtualNetworks/[^/]+", re.I
)
_LARGEST_NETWORK, _SMALLEST_NETWORK, _SMALLEST_RANGE = 8, 24, 30
_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))


def shape_of(environment: Environment) -> tuple[str, Shape | None]:
    """Its name, and what it stands for; None: there is no such shape."""
    name = environment.get("LIFEBOAT_SHAPE", "plain")
    return name, templates.shapes().get(name)


def own_settings(environment: Environment) -> dict[str, str]:
    """The settings that the operator has set and that can be deployed, without their prefix. What may have a few values
    only is written as the template has it."""
    found: dict[str, str] = {}
    for name, allowed in templates.settings().items():
        value = environment.stored.get(PREFIX + name, "").strip()
        if value:
            found[name] = value.lower() if value.lower() in allowed else value
    return found


def somebody_is_told(environment: Environment) -> bool:
    """Alerts go somewhere."""
    listed = (environment.get(name) for name in ("LIFEBOAT_ALERT_EMAILS", "LIFEBOAT_ALERT_WEBHOOK"))
    return any(each.strip(", ") for each in listed)


def all_settings(environment: Environment, shape: Shape) -> Settings:
    """As the backup app will have them, addresses that only the deployment knows included where it has taken place."""
    values = {**shape.settings, **own_settings(environment)}
    if shape.has("landing"):
        values["LANDING_URL"] = environment.get("LIFEBOAT_LANDING_URL", "https://landing.invalid")
    return Settings.from_environment({PREFIX + name: value for name, value in values.items()})


def as_parameter(settings: Mapping[str, str]) -> str:
    """The value of LIFEBOAT_SETTINGS: azd takes an object from a variable only as JSON."""
    return json.dumps(dict(sorted(settings.items())), separators=(",", ":"))


def look_at_what_was_asked(environment: Environment) -> list[Finding]:
    name, shape = shape_of(environment)
    found = [*_needed(environment), *_names(environment)]
    if shape is None:
        found.append(
            failed(
                f"LIFEBOAT_SHAPE is {name!r}, which is no shape",
                f"Choose one of {', '.join(templates.shapes())}: azd env set LIFEBOAT_SHAPE plain",
            )
        )
        return found
    found += [*_settings(environment, shape), *_parameters(environment, shape)]
    if not any(each.result == FAIL for each in found):
        found += _alerts(environment, all_settings(environment, shape))
        found.append(passed(f"shape {name}, and settings that make sense"))
    return found


def _needed(environment: Environment) -> Iterator[Finding]:
    for variable, what, remedy in (
        ("AZURE_ENV_NAME", "the azd environment has no name", "azd env new NAME"),
        (
            "AZURE_SUBSCRIPTION_ID",
            "no subscription was chosen",
            "azd env set AZURE_SUBSCRIPTION_ID ID (az account list --output table lists them)",
        ),
        ("AZURE_LOCATION", "no region was chosen", "azd env set AZURE_LOCATION westeurope, or another"),
    ):
        if not environment.get(variable):
            yield failed(f"{what}: {variable} is not set", remedy)


def _names(environment: Environment) -> Iterator[Finding]:
    """A name that nothing reads is a slip of the pen, and a password does not belong here."""
    known = {
        *(PREFIX + name for name in templates.settings()),
        *templates.parameters(),
        *templates.outputs(),
        *SWITCHES,
    }
    for variable, value in sorted(environment.stored.items()):
        if not variable.startswith(PREFIX) or not value.strip() or variable in known:
            continue
        name = variable.removeprefix(PREFIX)
        take_away = f"Then take it away here: azd env set {variable} ''"
        if name in SECRETS:
            yield failed(
                f"{variable} is in the azd environment, which is a file that anybody can read",
                f"It belongs into the Key Vault, as the secret {SECRETS[name]}: next-steps.md will have the command.\n"
                f"{take_away}",
            )
        elif name in OF_THE_COMMAND_LINE:
            yield failed(
                f"{variable} is for the command line of whoever restores, and is not deployed",
                f"Set it in the shell there. {take_away}",
            )
        else:
            near = difflib.get_close_matches(variable, sorted(known), 1)
            yield failed(
                f"{variable} is set, and nothing reads it",
                (f"Is {near[0]} meant? " if near else "The README has the list of settings. ") + take_away,
            )


# --- settings ---


def _settings(environment: Environment, shape: Shape) -> Iterator[Finding]:
    own = own_settings(environment)
    for name, value in own.items():
        allowed = templates.settings()[name]
        if allowed and value not in allowed:
            yield failed(f"{PREFIX}{name} is {value!r}", f"It must be one of {', '.join(allowed)}.")
    settings = all_settings(environment, shape)
    told: set[str] = set()
    for look in _looks(settings):
        try:
            look()
        except SettingsError as error:
            if str(error) not in told:
                told.add(str(error))
                yield failed(str(error), error.remedy)
    for wrong in settings.wrong_schedules():
        yield failed(str(wrong), wrong.remedy)
    yield from _against_shape(settings, shape)
    for name, component in (("SHARE_URL", "the share"), ("SQL_SERVER", "the databases")):
        if name not in own:
            yield warned(
                f"{component} will not be backed up: {PREFIX}{name} is not set",
                f"azd env set {PREFIX}{name} ..., now or later; azd provision then hands it to the apps.",
            )


def _looks(settings: Settings) -> Iterator[Callable[[], object]]:
    """Everything that the apps will read."""
    configured = settings.configured()
    if "share" in configured:
        yield settings.share
        yield lambda: SmbEndpoint.parse(settings.share().url, "anybody", "", setting="LIFEBOAT_SHARE_URL")
    if "databases" in configured:
        yield settings.databases
        yield settings.restore_sql_mode
        yield lambda: Address.parse(settings.sql_server().server, "LIFEBOAT_SQL_SERVER")
        yield settings.adopting
        if settings.has_disk() or _mode(settings) == "disk":
            yield settings.disk
    if settings.sql_server_name("DRILL_SQL"):
        yield settings.drill_sql_server
        yield lambda: Address.parse(settings.sql_server_name("DRILL_SQL") or "", "LIFEBOAT_DRILL_SQL_SERVER")
    yield from (settings.steps, settings.keeping, settings.rpo_seconds, settings.expiry_warning_seconds)
    yield from (settings.verify_within_seconds, settings.drill_share_sample_bytes, settings.lock_wait_seconds)
    yield from (settings.max_shrink, settings.preflight_backs_up)


def _mode(settings: Settings) -> str:
    try:
        return settings.sql_mode()
    except SettingsError:
        return ""


def _against_shape(settings: Settings, shape: Shape) -> Iterator[Finding]:
    if "databases" in settings.configured() and _mode(settings) == "url" and not shape.has("landing"):
        yield failed(
            "LIFEBOAT_SQL_MODE is url, and this shape has no landing account that SQL Server could write to",
            "azd env set LIFEBOAT_SQL_MODE disk, or choose another shape.",
        )
    try:
        protects = settings.keeping().protect_for_seconds > 0
    except SettingsError:
        return
    if protects and shape["immutability"] == "none":
        yield failed(
            "LIFEBOAT_PROTECT_FOR asks for locked dates, and the vault of this shape takes none",
            "azd env set LIFEBOAT_PROTECT_FOR 0s, or choose another shape: a vault cannot learn it later.",
        )


# --- parameters ---


def _parameters(environment: Environment, shape: Shape) -> Iterator[Finding]:
    for name in sorted(templates.parameters() - _AS_JSON):
        if _BREAKS_JSON.search(environment.raw(name)):
            yield failed(
                f"{name} has a double quote, a backslash or a line break in it, which azd writes into JSON as they are",
                "Write it without. An address on the web has %22 for the one and %5C for the other.",
            )
    for name, text, allowed in _looked_at(environment):
        parts = text.split(",") if name in _LISTS else [text]
        for part in [each.strip() for each in parts if each.strip()]:
            if not allowed(part):
                shown = "something else than an address" if name == _WEBHOOK else repr(part)
                yield failed(f"{name} has {shown}", _HELP[name])
    for name in (
        "LIFEBOAT_RECOVER_KEY_VAULT",
        "LIFEBOAT_POLICY_IS_LOCKED",
        "LIFEBOAT_USE_HUB_GATEWAY",
        "LIFEBOAT_DASHBOARD",
    ):
        if environment.get(name, "true").lower() not in ("true", "false"):
            yield failed(f"{name} is {environment.get(name)!r}", "It must be true or false.")
    if environment.get("LIFEBOAT_STAMP_ADDRESSES") and shape["network"] == "public":
        yield failed(
            "LIFEBOAT_STAMP_ADDRESSES would lock the apps out of the landing account: this shape has no network",
            "Choose another shape, or take it away: azd env set LIFEBOAT_STAMP_ADDRESSES ''",
        )
    if environment.get("LIFEBOAT_HUB_NETWORK_ID") and shape["network"] == "public":
        yield failed(
            "LIFEBOAT_HUB_NETWORK_ID is set, and this shape has no virtual network that could be peered",
            "Choose another shape, or take it away: azd env set LIFEBOAT_HUB_NETWORK_ID ''",
        )
    if environment.get("LIFEBOAT_STAMP_GATEWAY") and not environment.get("LIFEBOAT_STAMP_RANGES"):
        yield failed(
            "LIFEBOAT_STAMP_GATEWAY is set, and LIFEBOAT_STAMP_RANGES does not say what is behind it",
            "azd env set LIFEBOAT_STAMP_RANGES 10.20.0.0/16, or whatever range the stamp has.",
        )
    if environment.flag("LIFEBOAT_USE_HUB_GATEWAY", False) and shape.has("gateway"):
        yield failed(
            "LIFEBOAT_USE_HUB_GATEWAY is true, and this shape has a gateway of its own: a network uses one",
            "azd env set LIFEBOAT_USE_HUB_GATEWAY false, or choose another shape.",
        )
    if environment.stored.get("LIFEBOAT_THRESHOLDS", "{").strip() == "":
        yield failed(
            "LIFEBOAT_THRESHOLDS is empty, which azd takes for broken JSON",
            "Write the object of docs/deploying.md, or take its line out of .azure/NAME/.env.",
        )
    yield from _thresholds(environment.get("LIFEBOAT_THRESHOLDS"))
    if not somebody_is_told(environment):
        yield warned(
            "nobody will be told when a backup fails: neither LIFEBOAT_ALERT_EMAILS nor LIFEBOAT_ALERT_WEBHOOK is set",
            "azd env set LIFEBOAT_ALERT_EMAILS backup@contoso.example, with your own addresses. It can be done later.",
        )
    space = network_of(address_space(environment))
    ranges = [network_of(each.strip()) for each in environment.get("LIFEBOAT_STAMP_RANGES").split(",")]
    for each in ranges:
        if space is not None and each is not None and space.overlaps(each):
            yield failed(
                f"the stamp's {each} and our own network {space} overlap: nothing could be routed",
                "azd env set LIFEBOAT_ADDRESS_SPACE to a /24 or larger that nobody else uses.",
            )


def _thresholds(text: str) -> Iterator[Finding]:
    """All of them, or nothing: azd hands the object over whole."""
    known = templates.thresholds()
    try:
        given = json.loads(text) if text else dict.fromkeys(known)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        yield failed(
            f"LIFEBOAT_THRESHOLDS is {text[:60]!r}", "Write all of them as one JSON object: docs/deploying.md."
        )
        return
    wrong = [f"lacks {', '.join(sorted(known.keys() - given.keys()))}"] if known.keys() - given.keys() else []
    wrong += [f"has {name}, which is none" for name in given if name not in known]
    for name, value in given.items():
        least, most = known.get(name, (0, 0))
        if text and name in known and not (type(value) is int and least <= value <= most):
            wrong.append(f"{name} is {value}, and has to be a whole number from {least} to {most}")
    for each in wrong:
        yield failed(f"LIFEBOAT_THRESHOLDS: {each}", "docs/deploying.md has an example.")


# --- alerts ---


def _alerts(environment: Environment, settings: Settings) -> Iterator[Finding]:
    """What can be set, and against when alerts fire makes no sense: one that never ends, or never comes."""
    given = json.loads(environment.get("LIFEBOAT_THRESHOLDS", "{}"))
    thresholds = {**templates.default_thresholds(), **given}
    keeper = "PROTECT" if settings.keeping().protect_for_seconds > 0 else "RETENTION"
    for name, who, threshold in (
        (keeper, "keeper", "keeperSilentHours"),
        ("WATCHDOG", "watchdog", "watchdogSilentHours"),
    ):
        gap, limit, most = (
            _longest_gap(settings.schedule(name)),
            thresholds[threshold],
            templates.thresholds()[threshold][1],
        )
        if gap < timedelta(hours=limit):
            continue
        often = "at least once a day" if who == "keeper" else "more often"
        more = f", or let LIFEBOAT_THRESHOLDS have more {threshold}" if gap < timedelta(hours=most) else ""
        yield warned(
            f"{PREFIX}SCHEDULE_{name} leaves {round(gap / timedelta(hours=1), 1):g} hours between two times, and after "
            f"{limit} hours an alert fires which takes the {who} for silent",
            f"Let it be done {often}{more}.",
        )
    days, warning = thresholds["expiryDays"], timedelta(seconds=settings.expiry_warning_seconds())
    if timedelta(days=days) > warning:
        yield warned(
            "nothing is known of a certificate earlier than LIFEBOAT_EXPIRY_WARNING, "
            f"{round(warning / timedelta(days=1), 1):g} days before it expires, "
            f"so no alert tells of it {days} days before (expiryDays)",
            f"azd env set LIFEBOAT_EXPIRY_WARNING {days}d, or more.",
        )


def _longest_gap(schedule: str) -> timedelta:
    """Between two times at which it is done."""
    parsed = Ncrontab.parse(schedule)
    minutes = parsed.minutes_of_the_day()
    overnight = parsed.longest_gap() - timedelta(minutes=minutes[-1] - minutes[0])
    return max(overnight, *(timedelta(minutes=later - earlier) for earlier, later in pairwise(minutes)), timedelta())


def address_space(environment: Environment) -> str:
    """Of our own network."""
    return environment.get("LIFEBOAT_ADDRESS_SPACE", templates.default_address_space())


def network_of(text: str) -> ipaddress.IPv4Network | None:
    """None: it is no range of addresses, or a range with bits to the right of its mask."""
    try:
        return ipaddress.IPv4Network(text) if "/" in text else None
    except ValueError:
        return None


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_public(text: str) -> bool:
    """The firewall of a storage account takes public addresses, and ranges up to /30."""
    network = network_of(text if "/" in text else text + "/32")
    fits = network is not None and (network.prefixlen <= _SMALLEST_RANGE or "/" not in text)
    return fits and network is not None and not any(network.overlaps(each) for each in _PRIVATE)


def _is_space(text: str) -> bool:
    network = network_of(text)
    return network is not None and _LARGEST_NETWORK <= network.prefixlen <= _SMALLEST_NETWORK


_HELP: Mapping[str, str] = {
    "LIFEBOAT_TOKEN": "Write 5 to 13 lower-case letters and digits, or take it away: azd env set LIFEBOAT_TOKEN ''",
    "LIFEBOAT_VAULT_SKU": "Write Standard_LRS, or _ZRS, _GRS, _RAGRS, _GZRS or _RAGZRS.",
    "LIFEBOAT_AUTH_CLIENT_ID": "Write the application (client) id of the app registration, a GUID, or nothing.",
    "LIFEBOAT_RESTORERS_GROUP_ID": "Write the group's object id: az ad group show --group NAME --query id -o tsv",
    "LIFEBOAT_AGENT_PRINCIPAL_ID": "Write the service principal's object id: az ad sp show --id APP --query id -o tsv",
    "LIFEBOAT_ALERT_EMAILS": "Write e-mail addresses, separated by commas.",
    "LIFEBOAT_ALERT_WEBHOOK": "Write an address that begins with https://.",
    "LIFEBOAT_STAMP_ADDRESSES": "Write public IPv4 addresses, or ranges up to /30, separated by commas.",
    "LIFEBOAT_ADDRESS_SPACE": "Write an IPv4 range from /8 to /24, such as 10.76.0.0/22.",
    "LIFEBOAT_HUB_NETWORK_ID": "Write its resource id: az network vnet show -g GROUP -n NAME --query id -o tsv",
    "LIFEBOAT_STAMP_GATEWAY": "Write the public IPv4 address of the VPN device before the stamp.",
    "LIFEBOAT_STAMP_RANGES": "Write IPv4 ranges, such as 10.20.0.0/16, separated by commas.",
    "LIFEBOAT_DNS_SERVERS": "Write IPv4 addresses, separated by commas.",
    "LIFEBOAT_CHECKS": "Write strict or warn.",
}
_LISTS = ("LIFEBOAT_ALERT_EMAILS", "LIFEBOAT_STAMP_ADDRESSES", "LIFEBOAT_STAMP_RANGES", "LIFEBOAT_DNS_SERVERS")
_WEBHOOK = "LIFEBOAT_ALERT_WEBHOOK"
"""Often it carries a token, so it is never shown."""
_AS_JSON = {"LIFEBOAT_SETTINGS", "LIFEBOAT_THRESHOLDS"}
"""Objects, of which azd makes JSON by itself."""
_BREAKS_JSON = re.compile(r'["\\\x00-\x1f]')
_SKUS = re.compile(r"Standard_(LRS|ZRS|GRS|RAGRS|GZRS|RAGZRS)")


def _looked_at(environment: Environment) -> Iterator[tuple[str, str, Callable[[str], Any]]]:
    looks: Mapping[str, Callable[[str], Any]] = {
        "LIFEBOAT_TOKEN": TOKEN.fullmatch,
        "LIFEBOAT_VAULT_SKU": _SKUS.fullmatch,
        "LIFEBOAT_AUTH_CLIENT_ID": _GUID.fullmatch,
        "LIFEBOAT_RESTORERS_GROUP_ID": _GUID.fullmatch,
        "LIFEBOAT_AGENT_PRINCIPAL_ID": _GUID.fullmatch,
        "LIFEBOAT_ALERT_EMAILS": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+").fullmatch,
        _WEBHOOK: re.compile(r"https://\S+").fullmatch,
        "LIFEBOAT_STAMP_ADDRESSES": _is_public,
        "LIFEBOAT_ADDRESS_SPACE": _is_space,
        "LIFEBOAT_HUB_NETWORK_ID": _NETWORK_ID.fullmatch,
        "LIFEBOAT_STAMP_GATEWAY": _is_address,
        "LIFEBOAT_STAMP_RANGES": network_of,
        "LIFEBOAT_DNS_SERVERS": _is_address,
        "LIFEBOAT_CHECKS": ("strict", "warn").__contains__,
    }
    for name, look in looks.items():
        yield name, environment.get(name), look
