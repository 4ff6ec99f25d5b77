"""The parts of a scan put together: estimates, intervals and interpolated types. Pure, and instant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quantplay.errors import Fault, InputError
from quantplay.mixed.interpolate import (
    SMALLEST,
    Blend,
    Checked,
    Estimate,
    between,
    blend,
    estimate,
    glanced,
    interval,
    rank_agreement,
)
from quantplay.quantizers.layer_types import FULL
from quantplay.records import Check, GroupSensitivity, Sensitivity, TypeDamage


def assemble(parts: Sequence[Mapping[str, Any]]) -> Sensitivity:
    """The record of a scan whose parts are what `scan` returned. Raises InputError where they are not one whole scan."""
    require_whole(parts)
    header, hardness = parts[0]["header"], parts[0]["base"]
    units = {name: body for part in parts for name, body in part["units"].items()}
    proxy = parts[0]["proxy"]
    glance = header["glance"]
    known = [(name, one) for name, unit in units.items() for one in checked(unit, hardness, glance)]
    mixed = blend([one for _, one in known])
    checks = [
        Check(
            group=name,
            kind=one.kind,
            interpolated_nats=mixed.of(one.kind, one.line, one.glance),
            measured_nats=one.measured,
        )
        for name, one in known
    ]
    measured = [name for name, unit in units.items() if unit["values"]]
    fitted = Fit(measured, units, proxy["scores"], hardness) if proxy else None
    base = estimate(hardness, hardness)
    groups = tuple(
        group_of(group, units[group["group"]], hardness, glance, mixed, proxy, fitted) for group in header["groups"]
    )
    if header.get("full"):
        groups = tuple(one.model_copy(update={"types": (in_full(one), *one.types)}) for one in groups)
    return Sensitivity(
        model=header["model"],
        importance=header["importance"],
        rows=header["rows"],
        sequences=header["sequences"],
        tokens=header["tokens"],
        positions=header["positions"],
        types=tuple(header["types"]),
        high=header["types"][0],
        low=header["types"][-1],
        base=header["base"],
        groups=groups,
        base_kl_nats=base.mean,
        base_kl_se=base.se,
        checks=tuple(sorted(checks, key=lambda check: (check.group, check.kind))),
        exact_groups=len(measured),
        proxy_agreement=fitted.agreement if fitted else None,
        block_forward_tokens=sum(part["block_forward_tokens"] for part in parts),
        full_scan_block_forward_tokens=full_scan(header),
        seconds=round(sum(part["seconds"] for part in parts), 3),
        peak_resident_bytes=max(part["peak_resident_bytes"] for part in parts),
    )


def require_whole(parts: Sequence[Mapping[str, Any]]) -> None:
    if not parts:
        raise InputError("a scan has no parts", fix="run the scan again")
    keys = {part["header"]["key"] for part in parts}
    if len(keys) > 1:
        raise InputError(
            "the parts of this scan were not measured alike", value=", ".join(sorted(keys)),
            allowed="the same model, texts, importance matrix, settings and versions of the libraries in all of them",
            fix="give all workers of the pool the same processors and the same installation, then run the plan again: "
            "what fits is found, the rest is measured",
        )  # fmt: skip
    names = [name for part in parts for name in part["units"]]
    wanted = [group["group"] for group in parts[0]["header"]["groups"]]
    faults = [Fault(where=name, what="is in no part") for name in wanted if name not in names]
    faults += [Fault(where=name, what="is in more than one part") for name in wanted if names.count(name) > 1]
    if faults:
        raise InputError("the parts are not one whole scan", faults=faults, fix="run the parts that are missing")


def full_scan(header: Mapping[str, Any]) -> int:
    """Block-forward-tokens of one full forward a group and type."""
    each = header["blocks"] * header["sequences"] * header["tokens"]
    return each * sum(len(group["bytes"]) for group in header["groups"])


def anchors(unit: Mapping[str, Any]) -> tuple[str, str]:
    """The measured types with the most and the fewest bits."""
    kinds = [kind for kind in unit["errors"] if kind in unit["values"]]
    return kinds[0], kinds[-1]


def between_anchors(
    unit: Mapping[str, Any], kind: str, hardness: Sequence[float], glance: int
) -> tuple[Estimate, float]:
    """The figure of `kind` on the line between the anchors, and from the first `glance` sequences it was measured on."""
    high, low = anchors(unit)
    errors, values = unit["errors"], unit["values"]
    figures = {name: estimate(values[name], hardness) for name in (low, high)}
    line = between(figures[low], errors[low], figures[high], errors[high], errors[kind])
    seen = {name: estimate(values[name][:glance], values[name][:glance]) for name in (low, high, kind)}
    share = 0.5
    if min(errors[low], errors[high], errors[kind]) > 0 and errors[low] != errors[high]:
        share = float(np.clip(math.log(errors[kind] / errors[high]) / math.log(errors[low] / errors[high]), 0, 1))
    return line, glanced(seen[kind], (figures[low], seen[low]), (figures[high], seen[high]), share)


def checked(unit: Mapping[str, Any], hardness: Sequence[float], glance: int) -> list[Checked]:
    """The types between the anchors that were measured on more than a glance."""
    if not unit["values"]:
        return []
    found = []
    for kind, values in unit["values"].items():
        if kind not in anchors(unit) and len(values) > glance:
            line, seen = between_anchors(unit, kind, hardness, glance)
            found.append(Checked(kind, line.mean, seen, estimate(values, hardness).mean))
    return found


def group_of(
    group: Mapping[str, Any],
    unit: Mapping[str, Any],
    hardness: Sequence[float],
    glance: int,
    mixed: Blend,
    proxy: Mapping[str, Any] | None,
    fitted: Fit | None,
) -> GroupSensitivity:
    gain = estimate(unit["restored_gain"], hardness) if unit["restored_gain"] else None
    types = []
    for kind, stored_bytes in group["bytes"].items():
        error = unit["errors"][kind]
        sequences = len(unit["values"].get(kind, ()))
        if sequences > glance or (sequences and kind in anchors(unit)):
            how, found = "measured", estimate(unit["values"][kind], hardness)
        elif sequences:
            line, seen = between_anchors(unit, kind, hardness, glance)
            mean = mixed.of(kind, line.mean, seen)
            how, found = "interpolated", Estimate(mean, mean * math.hypot(min(line.relative, 10.0), mixed.spread))
        else:
            assert fitted is not None
            how, found = "proxy", fitted.of(group["group"], unit["errors"], kind)
        low, high = interval(found, max(map(len, unit["values"].values()), default=len(hardness)))
        types.append(
            TypeDamage(
                kind=kind, stored_bytes=stored_bytes, weight_error=error, mean_kl_nats=found.mean, mean_kl_se=found.se,
                low_nats=low, high_nats=high, how=how, sequences=sequences,
            )
        )  # fmt: skip
    return GroupSensitivity(
        group=group["group"],
        tensors=tuple(group["tensors"]),
        block=group["block"],
        weights=group["weights"],
        full_bytes=group["full_bytes"],
        types=tuple(types),
        restored_gain_nats=gain.mean if gain else None,
        restored_gain_se=gain.se if gain else None,
        proxy_gain_nats=proxy["gains"][group["group"]] if proxy else None,
        proxy_nats=proxy["scores"][group["group"]] if proxy else None,
    )


def in_full(group: GroupSensitivity) -> TypeDamage:
    """The group left as it is in the source: what is stored in full precision does no damage."""
    return TypeDamage(
        kind=FULL, stored_bytes=group.full_bytes, weight_error=0.0, mean_kl_nats=0.0, mean_kl_se=0.0, low_nats=0.0, high_nats=0.0,
        how="measured", sequences=0,
    )  # fmt: skip


class Fit:
    """Damage of a group that was not measured, from its score: a line in logarithms through the measured groups, and from the type
    with the fewest bits to the others by the measured groups' median slope over the rounding error."""

    def __init__(
        self, measured: Sequence[str], units: Mapping[str, Any], scores: Mapping[str, float], hardness: Sequence[float]
    ) -> None:
        self.scores, slopes, worst = scores, [], []
        for name in measured:
            high, low = anchors(units[name])
            errors, values = units[name]["errors"], units[name]["values"]
            worst.append(max(estimate(values[low], hardness).mean, SMALLEST))
            best = max(estimate(values[high], hardness).mean, SMALLEST)
            if errors[low] > errors[high] > 0:
                slopes.append(math.log(worst[-1] / best) / math.log(errors[low] / errors[high]))
        self.agreement = rank_agreement([scores[name] for name in measured], worst)
        self.slope = float(np.median(slopes)) if slopes else 1.0
        self.slope_spread = float(np.std(slopes)) if slopes else 0.0
        x, y = np.log([max(scores[name], SMALLEST) for name in measured]), np.log(worst)
        self.line = np.polyfit(x, y, 1) if np.ptp(x) > 0 else np.array([0.0, float(y.mean())])
        self.spread = float(np.std(y - np.polyval(self.line, x)))

    def of(self, group: str, errors: Mapping[str, float], kind: str) -> Estimate:
        lowest = list(errors.values())[-1]
        mean = math.exp(float(np.polyval(self.line, math.log(max(self.scores[group], SMALLEST)))))
        away = math.log(errors[kind] / lowest) if min(errors[kind], lowest) > 0 else -math.inf
        spread = math.hypot(self.spread, min(abs(away), 10.0) * self.slope_spread)
        mean *= math.exp(self.slope * away)
        return Estimate(mean, mean * spread)
