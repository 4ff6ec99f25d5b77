"""Which run, package or endpoint somebody means."""

from __future__ import annotations

import re
from uuid import UUID

from quantplay.audit.answers import Kind
from quantplay.errors import InputError
from quantplay.store.catalogue import key_in
from quantplay.store.registry import Store

HEX = re.compile(r"^[0-9a-f-]+$")
LISTS = "`quantplay show` lists runs, `quantplay registry` packages, `quantplay traffic` endpoints"


def find(store: Store, wanted: str) -> tuple[Kind, str]:
    """Kind and whole name of the one thing whose name, id, key or manifest is or starts with `wanted`.

    An endpoint's whole name comes first. Raises InputError where nothing matches, or several things do.
    """
    text = wanted.strip()
    if not text:
        raise InputError("there is nothing to audit", value=wanted, allowed="RUN, PACKAGE or ENDPOINT", fix=LISTS)
    matches = matching(store, text)
    whole = [one for one in matches if one[1] == text]
    found = whole or matches
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError("there is no run, package or endpoint of this name", value=wanted, fix=LISTS)
    raise InputError(
        "several things have a name that starts like this", value=wanted,
        allowed=", ".join(f"{kind} {name}" for kind, name in found[:8]) + (" ..." if len(found) > 8 else ""),
        fix="give more characters",
    )  # fmt: skip


def matching(store: Store, text: str) -> list[tuple[Kind, str]]:
    found: list[tuple[Kind, str]] = [
        ("endpoint", one.endpoint) for one in store.traffic_policies() if one.endpoint == text
    ]
    key, run = key_in(text).lower(), text.lower()  # a run's id looks like a folder whose name ends with a key
    if not HEX.match(key):
        return found
    packages = store.locked_packages()
    keys = [one.key for one in packages if one.key.startswith(key) or one.package.manifest.startswith(key)]
    if not keys and len(key) == 64 and store.get_package(key) is not None:
        keys = [key]
    named: list[tuple[Kind, str]] = [("package", one) for one in dict.fromkeys(keys)]
    runs: list[tuple[Kind, str]] = [("run", str(one)) for one in runs_named(store, run)] if HEX.match(run) else []
    return found + named + runs


def runs_named(store: Store, prefix: str) -> list[UUID]:
    plain = prefix.replace("-", "")
    return [one.run for one in store.passages() if one.run.hex.startswith(plain)]
