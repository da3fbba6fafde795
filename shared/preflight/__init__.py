"""The way to every part, looked at from where the code runs: each check a plain result with a remedy."""
