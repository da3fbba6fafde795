"""The product, usable without any Functions import."""

VERSION = "0.1.0"
PROGRAM_VERSION = f"lifeboat {VERSION}"
"""How Lifeboat names itself in snapshots and records."""
