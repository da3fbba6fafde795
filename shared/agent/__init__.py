"""The agent on the file server: a ready PowerShell script that has stock restic, or Lifeboat itself, back the share up
from where it lies, into the vault's repository. Lifeboat in Azure then adopts its snapshots.

``agent.ps1`` is the script without a site; ``script.py`` fills the site in. Pure text: nothing is asked of anybody.
"""
