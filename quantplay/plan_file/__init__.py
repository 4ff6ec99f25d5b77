"""Read a plan file: `Plan`, or every fault in it at once with its line. Nothing heavy is imported."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from quantplay.errors import Fault, PlanError
from quantplay.plan import Plan
from quantplay.plan_file.schema_faults import close_to, line_of, schema_faults, validated
from quantplay.plan_file.yaml_tree import Place, Tree, parse, read_tree

__all__ = ["PlanFile", "close_to", "load_plan", "plan_from_text", "read_plan", "valid_parts"]


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """A plan file as far as it can be read: what is wrong with one part does not hide what is wrong with another."""

    path: Path
    plan: Plan | None  # None where there is any fault
    parts: Mapping[str, Any]  # every top-level part that is valid by itself, as the schema's type
    faults: tuple[Fault, ...]
    tree: Tree

    def fault(self, place: Place, what: str, **more: str | None) -> Fault:
        """A fault at the line of `place`, or of the nearest part above it that the file holds."""
        return Fault(where=f"{self.path}:{line_of(place, self.tree)}", what=what, **more)


def read_plan(path: Path) -> Plan:
    """The plan in a file. Raises PlanError with every fault."""
    file = load_plan(path)
    if file.plan is None:
        raise PlanError(
            f"{path} is not a plan that can be run: {count(len(file.faults))}",
            faults=file.faults,
            fix=f"mend the plan, then `quantplay check {path}`",
        )
    return file.plan


def count(faults: int) -> str:
    return "1 fault" if faults == 1 else f"{faults} faults"


def load_plan(path: Path) -> PlanFile:
    """Read and validate; never raises for what the file holds."""
    return plan_from_tree(path, read_tree(path))


def plan_from_text(text: str, path: Path) -> PlanFile:
    """The same for text that is not in a file; `path` names it in the faults."""
    return plan_from_tree(path, parse(text, str(path)))


def plan_from_tree(path: Path, tree: Tree) -> PlanFile:
    if not isinstance(tree.value, dict):
        faults = tree.faults or (
            Fault(
                where=f"{path}:1", what="the plan should be keys with values", value=str(tree.value), allowed="`name: ...` and so on",
                fix="`quantplay init FOLDER` writes a plan to start from",
            ),
        )  # fmt: skip
        return PlanFile(path=path, plan=None, parts={}, faults=faults, tree=tree)
    plan, errors = validated(Plan, tree.value)
    # A value the tree had to drop (an alias, .nan) is reported there; the schema would report the same line again.
    told = {fault.where for fault in tree.faults}
    faults = (*tree.faults, *(fault for fault in schema_faults(errors, tree, str(path)) if fault.where not in told))
    faults = tuple(sorted(faults, key=lambda fault: int(fault.where.rpartition(":")[2])))
    return PlanFile(
        path=path,
        plan=None if faults else plan,
        parts=valid_parts(plan, tree, {error["loc"][0] for error in errors if error["loc"]}),
        faults=faults,
        tree=tree,
    )


def valid_parts(
    whole: BaseModel | None, tree: Tree, faulty: Collection[str | int], schema: type[BaseModel] = Plan
) -> dict[str, Any]:
    """Every top-level part that is valid by itself, by its key in the file."""
    if whole is not None:
        return {field.alias or name: getattr(whole, name) for name, field in schema.model_fields.items()}
    parts: dict[str, Any] = {}
    for name, field in schema.model_fields.items():
        key = field.alias or name
        if key in faulty:
            continue
        if key not in tree.value:
            parts[key] = field.get_default()
        else:
            annotation: Any = field.annotation
            parts[key] = TypeAdapter(annotation).validate_json(json.dumps(tree.value[key]), strict=True)
    return parts
