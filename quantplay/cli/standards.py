"""`quantplay standards`: the organisation's rules for plans, as they apply here or stand in a file."""

from __future__ import annotations

import json as json_library
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quantplay.standards import Standards

NONE = (
    "No standards apply here: QUANTPLAY_STANDARDS names no file. deployments/standards.yaml is an example to start from, "
    "docs/standards.md says how."
)


def command(file: Path | None = None, json: bool = False) -> int:
    from quantplay.settings import settings
    from quantplay.standards import read_standards

    path = file or settings().standards
    found = read_standards(path) if path is not None else None
    if json:
        body = None if found is None else {**found.model_dump(mode="json", by_alias=True), "digest": found.digest()}
        print(json_library.dumps({"path": None if path is None else str(path), "standards": body}, indent=2))
        return 0
    from quantplay.cli.console import console

    if found is None:
        console().print(NONE, markup=False)
        return 0
    for part in standards_parts(found):
        console().print(part)
    return 0


def standards_parts(found: Standards) -> Iterator[RenderableType]:
    from rich.text import Text

    from quantplay.cli.render import table_of
    from quantplay.plan import WAIVABLE

    yield Text.assemble((found.title, "bold"), f", version {found.version}, digest {found.digest()}")
    columns = [
        ("runtime", "left"),
        ("types, the usual one first", "text"),
        ("bits", "text"),
        ("when to deviate", "text"),
    ]
    yield table_of("Runtimes", columns, (
        [name, ", ".join(one.types), bits_of(one.minimum_bits, one.fewer_bits_from_attempts), one.when_to_deviate]
        for name, one in found.runtimes.items()
    ))  # fmt: skip
    columns = [
        ("use case", "left"), ("", "text"), ("points at most", "text"), ("items a slice", "text"), ("profiles", "text"),
        ("when to deviate", "text"),
    ]  # fmt: skip
    rows = []
    for name, one in found.use_cases.items():
        drops, items = [f"{one.max_drop:g}"], [f"{one.minimum_items:,}"]
        drops += [f"hardest {one.hardest_max_drop:g}"] if one.hardest_max_drop is not None else []
        drops += [f"loss {one.max_loss_rise:g} nats"] if one.max_loss_rise is not None else []
        for key, part in one.slices.items():
            must = " (required)" if part.required else ""
            drops += [f"{key}{must} {part.max_drop if part.max_drop is not None else one.max_drop:g}"]
            items += [f"{key} {part.minimum_items:,}"] if part.minimum_items is not None else []
        rows.append([name, one.title, ", ".join(drops), ", ".join(items), ", ".join(one.profiles), one.when_to_deviate])
    yield table_of("Use cases", columns, rows)
    columns = [
        ("profile", "left"),
        ("parts it may not leave out", "text"),
        ("named", "text"),
        ("when to deviate", "text"),
    ]
    yield table_of("Profiles", columns, (
        [name, ", ".join(one.parts), ", ".join(one.owners), one.when_to_deviate] for name, one in found.profiles.items()
    ))  # fmt: skip
    rules = found.calibration
    yield Text(
        f"Calibration: {rules.minimum_samples} to {rules.maximum_samples} samples; a plan may accept "
        f"{', '.join(rules.waivers) or 'no defect'}."
        + (f" When to deviate: {rules.when_to_deviate}." if rules.when_to_deviate else "")
    )
    names = ", ".join(rule for rule in WAIVABLE if rule.startswith("standards."))
    yield Text(f"A plan that departs gives its reason in `deviations:`, by one of {names}.")


def bits_of(least: int, attempts: int | None) -> str:
    return f"{least} or more" + (f"; fewer with {attempts} attempts" if attempts is not None else "")
