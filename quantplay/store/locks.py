"""Keys of PostgreSQL's advisory locks. They are per database."""

from __future__ import annotations

import hashlib


def lock_key(name: str) -> int:
    """A signed 64-bit number for `name`."""
    return int.from_bytes(hashlib.sha256(f"quantplay {name}".encode()).digest()[:8], "big", signed=True)


MIGRATION = lock_key("migration")
EVENTS = 7_161_803_398_874_989_482
"""Also written in the trigger of the events table: it must not change."""
