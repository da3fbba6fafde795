"""Keeping the vault: what stays, what is protected, what is deleted, and what comes back: the work of the keeper."""
