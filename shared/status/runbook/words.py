"""What the sections say in the same words."""

from __future__ import annotations

from urllib.parse import urlsplit

from shared.databases.chains import Chain
from shared.status.markdown import code, plain
from shared.status.runbook.facts import RELEASES, Facts


def time(text: object) -> str:
    """A moment of the record, in seconds: ``2026-11-25 13:00:00Z``, as markdown."""
    shown = str(text or "")
    return plain(f"{shown[:10]} {shown[11:19]}Z") if len(shown) >= 19 else "an unknown time"


def sentences(*texts: object) -> str:
    """Texts of others, one after the other, as markdown."""
    shown = [plain(text) for text in texts if text]
    return " ".join(each if each.endswith((".", "!", "?")) else f"{each}." for each in shown)


def host_of(url: str) -> str:
    """Empty for what is no URL: a record is shown, whatever stands in it."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def kinds(chain: Chain) -> str:
    return " + ".join(each.kind.value for each in chain.sets)


def size(chain: Chain) -> int:
    return sum(int(each.stored.get("bytes_stored") or 0) for each in chain.sets)


def build_text(facts: Facts) -> str:
    if facts.build is None:
        return "not recorded: `LIFEBOAT_APP_SERVICE_BUILD` was not set when the point was made"
    release = RELEASES.get(facts.build)
    return code(facts.build) + (f" (release {release})" if release else "")
