"""Addresses of stores: which kinds a plan may lie in, and how one is shown where somebody wrote credentials into it."""

from __future__ import annotations

import re

STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Protocols of the stores a plan is fetched from; a worker opens no other, because an address comes from whoever starts a run."""
BUCKET = r"[^/\s@:?#]+"
"""What stands between :// and the next slash: a name, and no credentials."""
USER = re.compile(r"(?<=://)(?:[^@]*:.*|[^/@]*)@")  # a secret key may hold slashes
QUERY = re.compile(r"\?.*", re.DOTALL)


def redacted(address: str) -> str:
    """`address` for a message: what stands before an @ or after a ? may be a key and is left out. A path stays as it is."""
    return QUERY.sub("?***", USER.sub("***@", address)) if "://" in address else address
