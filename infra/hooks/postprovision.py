"""After everything was made: the app registration is completed, and what is left for people is written down."""

from __future__ import annotations

from infra.hooks import sign_in
from infra.hooks.azure_cli import AzureCli
from infra.hooks.environment import Environment
from infra.hooks.findings import HookFailed, say, show
from infra.hooks.next_steps import FILES, NEXT_STEPS, files, steps
from infra.hooks.program import ROOT
from infra.hooks.site import Site
from shared.errors import SettingsError


def run(environment: Environment) -> int:
    """Exit code 0 whatever Azure says: what was deployed is there, and the files have the commands."""
    site = Site.of(environment)
    found = sign_in.complete(environment, AzureCli(site.subscription))
    if found:
        say("Lifeboat, sign-in to the dashboard:\n" + show(found))
    folder = environment.folder
    try:
        written = files(site)
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if name in written:
                (folder / name).write_text(written[name], "utf-8", newline="\n")
            else:
                (folder / name).unlink(missing_ok=True)
    except SettingsError as error:
        raise HookFailed(f"the next steps could not be written: {error}", error.remedy) from error
    except OSError as error:
        raise HookFailed(f"the next steps could not be written to {folder}: {error}") from error
    shown = folder.relative_to(ROOT).as_posix()
    say(f"\nLifeboat is deployed. What is left to do, in this order ({shown}/{NEXT_STEPS} has each command):")
    for number, step in enumerate(steps(site), 1):
        say(f"  {number:2}. {step.title}" + (f" ({shown}/{step.file})" if step.file else ""))
    return 0
