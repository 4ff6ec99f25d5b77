"""How much of the volume validated quantized models serve, model by model from the largest down. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from quantplay.adoption.facts import KINDS, Facts, Kind, Package, Served, kind_of
from quantplay.outcomes import OUTCOMES
from quantplay.records import Digest, Record
from quantplay.store.volume import Tried

State = Literal["validated", "stale", "regressed", "unvalidated", "declined", "tried", "under_way", "never"]
STATES: dict[State, str] = {
    "validated": "quantized, validated",
    "stale": "quantized, stale",
    "regressed": "quantized, regressed",
    "unvalidated": "quantized, not validated",
    "declined": "declined, with reason",
    "tried": "tried, not locked",
    "under_way": "under way",
    "never": "never tried",
}
"""What a model is: by its best package, else by the newest of its runs that ended."""
SAYING = ("locked", "close", "broken", "envelope_missed", "inconclusive", "declined", "rejected")
"""Outcomes that say something about the model. Others are a fault, a wait, or a look around."""


class Coverage(Record):
    """Shares are None where there is nothing they could be a share of: not known is not 0."""

    requests: int
    by: dict[Kind, int]  # every kind -> requests; together they are `requests`
    covered: float | None  # share of requests
    declined: int  # requests to models that were declined with a reason and are served unquantized
    settled: float | None  # share of requests that are covered or declined
    unattributed: int  # requests under names that nothing on record has
    requests_with_tokens: int  # of `requests`, those whose tokens are known
    tokens: int  # of these
    tokens_by: dict[Kind, int]
    tokens_covered: float | None


class ModelRow(Record):
    """One model; a name that nothing on record has is a model of its own."""

    rank: int  # by requests
    name: str  # of its newest plan, else as the source calls it
    model: Digest | None
    places: tuple[str, ...]  # endpoints or names in the volume
    requests: int
    share: float  # of all requests
    up_to_here: float  # share of this one and of all above it
    tokens: int | None  # None where those of a request are not known
    by: dict[Kind, int]  # the kinds that occur
    covered: float
    state: State
    why: str  # a sentence


class Apart(Record):
    """Quantized volume that does not count."""

    place: str
    kind: Kind
    requests: int
    package: Digest | None
    why: str


class Untold(Record):
    """A model with runs, of which the source tells no volume."""

    name: str
    model: Digest
    state: State
    why: str


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def covered(rows: Iterable[Served], packages: Mapping[Digest, Package], declined: frozenset[Digest]) -> Coverage:
    """`declined`: models for which quantizing was declined with a reason and that have no locked package."""
    by, tokens_by = Counter[Kind](), Counter[Kind]()
    turned_down = unattributed = with_tokens = 0
    for row in rows:
        kind = kind_of(row, packages)
        by[kind] += row.requests
        if row.tokens is not None:
            tokens_by[kind] += row.tokens
            with_tokens += row.requests
        if row.model is None:
            unattributed += row.requests
        if row.model in declined and kind in ("full_precision", "untold"):
            turned_down += row.requests
    requests, tokens = sum(by.values()), sum(tokens_by.values())
    return Coverage(
        requests=requests, by={kind: by[kind] for kind in KINDS}, covered=share(by["validated"], requests), declined=turned_down,
        settled=share(by["validated"] + turned_down, requests), unattributed=unattributed, requests_with_tokens=with_tokens,
        tokens=tokens, tokens_by={kind: tokens_by[kind] for kind in KINDS},
        tokens_covered=share(tokens_by["validated"], tokens),
    )  # fmt: skip


def by_model(facts: Facts) -> tuple[ModelRow, ...]:
    """The largest first; equal ones by name."""
    rows = facts.volume.rows
    found: dict[tuple[str, str], list[Served]] = {}
    for row in rows:
        found.setdefault(("model", row.model) if row.model is not None else ("name", row.name), []).append(row)
    every = sum(row.requests for row in rows)
    made = [model_row(facts, mine, every) for mine in found.values()]
    made.sort(key=lambda one: (-one.requests, one.name, one.model or ""))
    ranked, sofar = [], 0
    for rank, one in enumerate(made, 1):
        sofar += one.requests
        ranked.append(one.model_copy(update={"rank": rank, "up_to_here": sofar / every if every else 0.0}))
    return tuple(ranked)


def model_row(facts: Facts, rows: Sequence[Served], every: int) -> ModelRow:
    model = rows[0].model
    by = Counter[Kind]()
    for row in rows:
        by[kind_of(row, facts.packages)] += row.requests
    requests = sum(by.values())
    state, why = state_of(facts, model, served={row.package for row in rows if row.package}, by=by)
    return ModelRow(
        rank=1, name=name_of(facts, model) or rows[0].name, model=model, places=tuple(sorted({row.name for row in rows})),
        requests=requests, share=requests / every if every else 0.0, up_to_here=0.0,
        tokens=None if any(row.tokens is None for row in rows) else sum(row.tokens or 0 for row in rows),
        by={kind: by[kind] for kind in KINDS if by[kind]}, covered=by["validated"] / requests if requests else 0.0,
        state=state, why=why,
    )  # fmt: skip


def name_of(facts: Facts, model: Digest | None) -> str | None:
    """Of the newest plan that speaks of the model."""
    if model is None:
        return None
    names = [one.name for one in (*facts.tried_of.get(model, ()), *facts.packages_of.get(model, ()))]
    return names[-1] if names else None


def state_of(facts: Facts, model: Digest | None, *, served: set[Digest], by: Mapping[Kind, int]) -> tuple[State, str]:
    """What a model is and why, a sentence. `served`: packages that served it; `by`: its volume."""
    its, runs = ((), ()) if model is None else (facts.packages_of.get(model, ()), facts.tried_of.get(model, ()))
    mine = [
        *its,
        *(facts.packages[key] for key in sorted(served) if key in facts.packages and facts.packages[key] not in its),
    ]
    if mine:
        return of_packages(mine, by)
    if by.get("unvalidated") or by.get("regressed"):
        return "unvalidated", "A quantized model serves that no package locked here speaks of."
    said = [one for one in runs if one.outcome in SAYING]
    if said:
        return of_run(said[-1])
    if runs:
        return "under_way", f"{len(runs)} run{'s' if len(runs) > 1 else ''}, none with a verdict."
    return "never", "No run on record has this model." if model is not None else "Nothing on record has this name."


def of_packages(mine: Sequence[Package], by: Mapping[Kind, int]) -> tuple[State, str]:
    """By the best one: confirmed before stale before regressed, then the newest."""
    best = max(mine, key=lambda one: (one.confirmed, one.status == "stale" and one.incident is None, one.locked_on))
    told = f"{best.type}, locked {best.locked_on}, package {best.key[:12]}"
    if best.confirmed:
        return "validated", f"{told}." if by.get("validated") else f"{told}, which serves none of this."
    if best.incident is not None:
        return "regressed", f"{told}: incident {best.incident[:8]} is open."
    return ("stale" if best.status == "stale" else "regressed"), f"{told}: {best.why}"


def of_run(run: Tried) -> tuple[State, str]:
    at = f"{run.finished_at or run.started_at:%Y-%m-%d}"
    if run.outcome == "declined":
        return "declined", " ".join(run.wrong_moves) or f"Declined on {at}, without a reason on record."
    title = OUTCOMES[run.outcome].title if run.outcome in OUTCOMES else run.outcome
    return "tried", f"Run {run.run[:8]} ended on {at}: {title}."


def declined_models(facts: Facts) -> frozenset[Digest]:
    """With a reason on record, and nothing locked."""
    newest = {one.model: one for one in facts.tried if one.model is not None and one.outcome in SAYING}
    locked = {one.model for one in facts.packages.values()}
    return frozenset(
        model for model, run in newest.items() if run.outcome == "declined" and run.wrong_moves and model not in locked
    )


def apart(facts: Facts) -> tuple[Apart, ...]:
    """Quantized and not covered, a row a place and package, the largest first."""
    found: Counter[tuple[str, Kind, Digest | None, str]] = Counter()
    for row in facts.volume.rows:
        kind = kind_of(row, facts.packages)
        if row.arm == "quantized" and kind != "validated" and row.requests:
            found[row.name, kind, row.package, why_apart(row, kind, facts.packages)] += row.requests
    made = [
        Apart(place=place, kind=kind, requests=requests, package=package, why=why)
        for (place, kind, package, why), requests in found.items()
    ]
    return tuple(sorted(made, key=lambda one: (-one.requests, one.place, one.kind, one.package or "", one.why)))


def why_apart(row: Served, kind: Kind, packages: Mapping[Digest, Package]) -> str:
    package = packages.get(row.package) if row.package is not None else None
    if package is None:
        return "No package that is locked here names it."
    if kind == "unvalidated":
        return f"It served before its package was locked on {package.locked_on}."
    if row.taken_back:
        return "Its release was rolled back."
    return f"Incident {package.incident[:8]} is open." if package.incident is not None else package.why


def without_volume(facts: Facts) -> tuple[Untold, ...]:
    """Models with runs or packages of which the source says nothing, by name."""
    told = {row.model for row in facts.volume.rows}
    known = {one.model for one in facts.tried} | {one.model for one in facts.packages.values()}
    made = []
    for model in known - told - {None}:
        assert model is not None
        state, why = state_of(facts, model, served=set(), by={})
        made.append(Untold(name=name_of(facts, model) or model[:12], model=model, state=state, why=why))
    return tuple(sorted(made, key=lambda one: (one.name, one.model)))
