"""As in Azure: no key anywhere, a managed identity for blobs and Key Vault, every password out of the Key Vault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import new_vault
from tests.standins.azurite import Azurite
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.keyvault import running_key_vault
from tests.standins.restic import StockRestic, copy_container

LIFEBOAT = Path(__file__).parents[3] / "lifeboat.py"


def test_an_app_with_nothing_but_its_identity_makes_and_restores_a_point(
    azurite_https: Azurite,
    certificate: Certificate,
    newest_restic: StockRestic,
    tmp_path: Path,
    clean_environment: pytest.MonkeyPatch,
) -> None:
    for name, value in certificate.environment().items():
        clean_environment.setenv(name, value)
    source = tmp_path / "WebSites"
    (source / "site").mkdir(parents=True)
    (source / "site" / "index.html").write_text("<h1>hello</h1>")
    with (
        new_vault(azurite_https) as vault,
        running_key_vault(certificate) as key_vault,
        running_identity_endpoint() as identity,
    ):
        environment = {
            **os.environ,
            **identity.environment(),
            "LIFEBOAT_VAULT_URL": vault.url,
            "LIFEBOAT_STORAGE_API_VERSION": vault.api_version,
            "LIFEBOAT_KEY_VAULT_URL": key_vault.url,
            "LIFEBOAT_SHARE_URL": source.as_uri(),
        }

        def lifeboat(*arguments: str) -> tuple[int, dict[str, object]]:
            done = subprocess.run(
                [sys.executable, str(LIFEBOAT), *arguments, "--json"],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            return done.returncode, json.loads(done.stdout)

        code, made = lifeboat("backup", "--only", "share")
        assert (code, made["status"]) == (0, "complete"), made
        code, again = lifeboat("backup")
        assert (code, again["status"]) == (3, "partial"), again  # the Key Vault makes the secrets configured

        code, answer = lifeboat("password", "--yes")
        password = answer["password"]
        assert code == 0
        assert isinstance(password, str)
        with vault.judge() as store:
            newest_restic.on_folder(copy_container(store, tmp_path / "copy"), password).check()

        code, restored = lifeboat("restore", "share", "--to", str(tmp_path / "back"))
        assert (code, restored["restored"]) == (0, 1), restored
        assert (tmp_path / "back" / "site" / "index.html").read_text() == "<h1>hello</h1>"
        (version,) = key_vault.secrets["repository-password"]
        assert version.tags["repository"], "the password is tagged with the repository that it opens"
