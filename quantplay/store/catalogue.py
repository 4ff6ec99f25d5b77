"""Locked packages with what people look them up by, in one query however many there are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from quantplay.errors import InputError
from quantplay.records import Digest, Fingerprint, StandingStatus
from quantplay.store import aliases

PACKAGE_FOLDER = re.compile(r"(?:.*/)?[a-z0-9][a-z0-9_-]*-([0-9a-f]{12})/?")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The newest re-validation of a package."""

    key: Digest
    status: StandingStatus
    at: str  # ISO 8601
    reasons: tuple[str, ...]  # the first one
    stack: Fingerprint


class Drop(NamedTuple):
    """One gated quantity; positive is worse. A tuple: a list of packages makes tens of thousands."""

    slice: str
    unit: str  # points | nats
    drop: float
    upper: float  # one-sided upper bound
    max_drop: float


@dataclass(frozen=True, kw_only=True)
class Serving:
    """An endpoint whose policy names the package."""

    endpoint: str
    state: str
    weight: float  # share of conversations


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One locked package. What a package of an earlier version did not note is None, or empty."""

    key: Digest
    run: str
    path: str
    manifest: Digest
    locked_at: datetime
    plan: Digest
    name: str  # of the plan
    profile: str
    use_case: str
    owner: str  # ML engineer
    product_owner: str
    source: str  # of the model, as the plan wrote it
    runtime: str
    base: Digest | None  # content of the full-precision model
    method: str | None
    format: str | None
    type: str | None
    bits: float | None  # nominal, of the recipe
    bits_per_weight: float | None  # measured
    size_bytes: int | None
    sha256: Digest | None
    verdict: str | None
    drops: tuple[Drop, ...]
    stack: Fingerprint | None  # of the locked evaluation
    tokens_per_second: float | None
    time_per_token_ms: float | None  # median
    peak_resident_bytes: int | None
    full_precision_time_per_token_ms: float | None
    full_precision_peak_resident_bytes: int | None
    newest: Measured | None
    incident: str | None  # id of the open one
    serving: tuple[Serving, ...]
    aliases: tuple[str, ...]

    @property
    def worst(self) -> Drop | None:
        """The quantity that is nearest to what is allowed, or furthest beyond."""
        return max(self.drops, key=lambda one: one.drop / one.max_drop, default=None)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to look for; None or empty: anything. Texts are found anywhere and whatever their case."""

    key: str = ""  # first characters
    keys: tuple[str, ...] = ()  # these very ones
    manifests: tuple[str, ...] = ()  # digests of their manifests
    base: str = ""  # first characters of the model's digest
    runtime: str = ""
    type: str = ""  # exactly, whatever its case
    bits: int | None = None  # whole bits of the recipe: 4 finds Q4_K_M
    owner: str = ""
    hardware: str = ""  # processor or accelerator
    use_case: str = ""
    name: str = ""  # of the plan, exactly
    text: str = ""  # anywhere in name, use case, model, owners, type, aliases
    measured: str = ""  # what the newest re-validation said
    after: str = ""  # key of the last one that is known already: only what comes after it in the order of a list
    limit: int | None = None  # the newest ones


TEXT = "concat_ws(' ', pl.name, pl.use_case, pl.model, pl.owners::text, a.type, a.format, al.names::text)"
CONDITIONS = {
    "key": "starts_with(p.key, :key)",
    "keys": "p.key = ANY(:keys)",
    "manifests": "p.manifest = ANY(:manifests)",
    "base": "r.model >= :base AND r.model < :base || 'g'",  # a range of hexadecimal digits: the index finds it
    "runtime": "pl.runtime = :runtime",
    "type": "lower(a.type) = lower(:type)",
    "bits": "floor(r.bits) = :bits",
    "owner": "strpos(lower(pl.owners::text), lower(:owner)) > 0",
    "hardware": "strpos(lower(e.stack::jsonb->>'hardware'), lower(:hardware)) > 0",
    "use_case": "strpos(lower(pl.use_case), lower(:use_case)) > 0",
    "name": "pl.name = :name",
    "text": f"strpos(lower({TEXT}), lower(:text)) > 0",
    "measured": "v.status = :measured",
    "after": "(p.created_at, cast(:after AS text)) < (SELECT l.created_at, p.key FROM quantplay.packages l WHERE l.key = :after)",
}
QUERY = """
SELECT p.key, p.run, p.path, p.manifest, p.created_at AS locked_at, pl.key AS plan, pl.name, pl.profile, pl.use_case,
    pl.owners->>'ml_engineer' AS owner, pl.owners->>'product_owner' AS product_owner, pl.model AS source, pl.runtime,
    r.model AS base, r.method, r.bits, a.format, a.type, a.bits_per_weight, a.size_bytes, a.sha256, d.verdict, d.drops, e.stack,
    (e.performance->>'generated_tokens_per_second')::float8 AS tokens_per_second,
    (e.performance#>>'{time_per_token_ms,p50}')::float8 AS time_per_token_ms,
    (e.performance->>'peak_resident_bytes')::bigint AS peak_resident_bytes,
    (e.reference_performance#>>'{time_per_token_ms,p50}')::float8 AS full_precision_time_per_token_ms,
    (e.reference_performance->>'peak_resident_bytes')::bigint AS full_precision_peak_resident_bytes,
    v.key AS newest, v.status, v.at, v.why, v.stack AS newest_stack, i.id::text AS incident, se.serving, al.names
FROM quantplay.packages p
JOIN LATERAL (
    SELECT plan FROM quantplay.runs WHERE package = p.key AND outcome = 'locked' ORDER BY started_at, id LIMIT 1
) run ON true
JOIN quantplay.plans pl ON pl.key = run.plan
LEFT JOIN quantplay.artifacts a ON a.key = p.artifact
LEFT JOIN quantplay.recipes r ON r.key = a.recipe
LEFT JOIN quantplay.decisions d ON d.key = p.body#>>'{made_of,decision}'
LEFT JOIN quantplay.evaluations e ON e.key = p.body#>>'{made_of,evaluation}'
LEFT JOIN LATERAL (
    SELECT key, status, at, why, stack FROM quantplay.revalidations
    WHERE package = p.key ORDER BY created_at DESC, key LIMIT 1
) v ON true
LEFT JOIN LATERAL (
    SELECT id FROM quantplay.incidents WHERE package IN (p.key, p.manifest) AND closed_at IS NULL ORDER BY opened_at LIMIT 1
) i ON true
LEFT JOIN (
    SELECT po.package, jsonb_agg(jsonb_build_array(t.endpoint, t.state, t.weight) ORDER BY t.endpoint) AS serving
    FROM quantplay.traffic_pointer t JOIN quantplay.policies po USING (endpoint, revision)
    WHERE t.state IN ('locked', 'canary', 'live') GROUP BY po.package
) se ON se.package = p.manifest
LEFT JOIN (
    SELECT package, array_agg(name ORDER BY name) AS names
    FROM (SELECT DISTINCT ON (name) name, package FROM quantplay.aliases ORDER BY name, version DESC) named GROUP BY package
) al ON al.package = p.key
"""


def find(connection: Connection, wanted: Wanted = Wanted()) -> tuple[Entry, ...]:
    """Newest first."""
    given = {name: value for name in CONDITIONS if (value := getattr(wanted, name)) not in ("", (), None)}
    for name in given.keys() & {"keys", "manifests"}:
        given[name] = list(given[name])
    if "base" in given:
        given["base"] = given["base"].lower()
    where = " AND ".join(f"({CONDITIONS[name]})" for name in given)
    text = f"{QUERY} {'WHERE ' + where if where else ''} ORDER BY p.created_at DESC, p.key LIMIT :limit"
    given["limit"] = wanted.limit
    return tuple(entry_of(dict(row)) for row in connection.execute(sa.text(text), given).mappings())


def entry_of(row: dict[str, Any]) -> Entry:
    told = {name: row.pop(name) for name in ("newest", "status", "at", "why", "newest_stack", "stack")}
    newest = None
    if told["newest"] is not None:
        newest = Measured(
            key=told["newest"], status=told["status"], at=told["at"], reasons=(told["why"],), stack=fingerprint(told["newest_stack"]),
        )  # fmt: skip
    return Entry(
        **{name: row[name] for name in row if name not in ("drops", "serving", "names")},
        drops=tuple(
            Drop(name if metric == "score" else f"{name}, loss", *numbers)
            for name, metric, *numbers in row["drops"] or ()
        ),
        stack=fingerprint(told["stack"]) if told["stack"] is not None else None,
        newest=newest,
        serving=tuple(Serving(endpoint=name, state=state, weight=share) for name, state, share in row["serving"] or ()),
        aliases=tuple(row["names"] or ()),
    )


@lru_cache(maxsize=256)
def fingerprint(text: str) -> Fingerprint:
    """Most packages were measured on one of a few machines."""
    return Fingerprint.model_validate_json(text)


def key_in(text: str) -> str:
    """The key that a package folder's name or path ends with; `text` itself where it is neither."""
    found = PACKAGE_FOLDER.fullmatch(text)
    return found[1] if found else text


def named(connection: Connection, name: str) -> Entry:
    """The one locked package of this alias or folder, or whose key starts so. Raises InputError where there is none, or several."""
    told = aliases.newest(connection, name) if "/" in name else None
    name = key_in(name) if told is None else name
    if "/" in name and told is None:
        raise InputError("nothing has this name", value=name, fix="`quantplay registry alias --list` lists the names")
    found = find(connection, Wanted(key=told.package if told is not None else name.lower()))
    if len(found) != 1 or not name:
        raise InputError(
            "no locked package has this key" if not found else "several locked packages have a key that starts like this",
            value=name or "nothing named", fix="`quantplay registry` lists them; give more characters of the key",
        )  # fmt: skip
    return found[0]
