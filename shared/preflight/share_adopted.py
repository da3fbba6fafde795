"""The check of a share that somebody nearer backs up: is there a snapshot that a recovery point could take?"""

from __future__ import annotations

import time

from shared.errors import ContainerMissing, RepositoryMissing
from shared.preflight.check import FAIL, WARN, Check, Found, failed, passed
from shared.recovery_point.adopted_share import adopted_share
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.opening import open_share
from shared.recovery_point.share import read_history
from shared.repository.initialise import choose_passwords, open_repository
from shared.settings import Settings, ShareSettings
from shared.storage.vault import Vault
from shared.terminal import duration_text

ADOPT = "adopt"
LIMIT_SECONDS = 60.0


def adopt_check(settings: Settings, share: ShareSettings) -> Check:
    """The file server is not asked: nothing goes there in this mode. What a recovery point would be ``partial`` for is
    a warning; where it could take nothing, that is a failure."""

    def run() -> list[Found]:
        with Vault(settings.vault()) as vault:
            opener = open_share(vault, share)
            try:
                passwords = choose_passwords(vault.settings.repository_password, vault.secrets)
                repository = open_repository(vault.share, vault.records, passwords)
            except (RepositoryMissing, ContainerMissing) as error:
                return [
                    failed(
                        f"there is no repository yet into which the file server could back up: {error}",
                        "Run 'backup' once, which makes it; then let the task on the file server run.",
                    )
                ]
            history = read_history(Catalog(vault.records).earlier())
            newest = adopted_share(opener, repository, history, lambda: None, allow_shrink=False).newest()
        result = WARN if newest.snapshot else FAIL
        found = [Found(result, reason["message"], reason["remedy"], reason.get("setting")) for reason in newest.reasons]
        if newest.snapshot and newest.moment_ns:
            age = duration_text(max(0.0, (time.time_ns() - newest.moment_ns) / 1e9))
            found.append(passed(f"the newest snapshot of the share, {newest.snapshot[:8]}, is {age} old"))
        return found

    return Check(
        ADOPT,
        run,
        limit_seconds=LIMIT_SECONDS,
        silent="The vault does not answer in time: see the checks of the component vault.",
    )
