"""The share: read from a source, kept as a snapshot in the repository, restored to a target."""
