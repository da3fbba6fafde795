"""The runbook: the whole recovery of App Service for one very recovery point, for somebody who never saw Lifeboat.

``facts`` reads the record, ``prechecks`` asks what can be asked, one file for each part writes a section of steps out
of small pure functions, ``make`` puts them together. Sources of what is to be done: Microsoft's pages "App Service
recovery", "Prerequisites for deploying App Service", "Migrate SQL server" and "Migrate file share" on Azure Stack Hub.
"""

from shared.status.runbook.make import Runbook, make_runbook

__all__ = ["Runbook", "make_runbook"]
