"""How things stand, for people: the runbook, and the page that it is shown on."""
