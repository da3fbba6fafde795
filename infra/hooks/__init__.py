"""What azd runs around a deployment: checks before, a list of what is left to do after, preflight at the end.

Standard library, and modules of ``shared`` that need no more; Python 3.11 or later. ``python -m infra.hooks HOOK``
runs one by hand, in the environment that ``AZURE_ENV_NAME`` names.

    preprovision    what is in the way, before anything is made; exit code 1 when something is
    postprovision   next steps, with real names filled in, as files
    postdeploy      preflight from inside the app; open rows are shown, and fail nothing
    predown         refuses to take away what opens a vault that cannot go
"""
