"""standards.yaml: the schema, and reading it strictly, every fault at once with its line. Its identity is the digest of what it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from quantplay.errors import Fault, InputError
from quantplay.formats import FORMATS, types_of
from quantplay.plan import WAIVABLE, Name, Part, Plan, Profile
from quantplay.plan_file import close_to, valid_parts
from quantplay.plan_file.schema_faults import line_of, model_in, schema_faults, validated
from quantplay.plan_file.yaml_tree import Place, Tree, dotted, read_tree
from quantplay.records import Role

DEFAULT = "default"
"""The use case that a plan falls under when it names none; every file has it."""
RUNTIMES = tuple(dict.fromkeys(runtime for one in FORMATS.values() for runtime in one.runtimes))
PROFILES = ("production", "internal")  # explore is never compared: nothing leaves it
SAMPLE_WAIVERS = tuple(rule for rule in WAIVABLE if rule.startswith("calibration."))
FIX = "docs/standards.md shows a standards file"

Text = Annotated[str, Field(min_length=1)]
WHEN = Field(default="", description="When to deviate, in words; shown beside every deviation of this kind.")


class RuntimeRules(Part):
    """What models of one serving runtime are quantized to."""

    types: tuple[Text, ...] = Field(
        min_length=1, description="Serving types in use here, the usual one first; the method follows from the type."
    )
    minimum_bits: int = Field(default=4, ge=1, le=16, description="Nominal bits of a weight.")
    fewer_bits_from_attempts: int | None = Field(
        default=None,
        ge=2,
        le=20,
        description="Fewer bits are no deviation where the gate has at least so many attempts, which leaves room for "
        "mixed precision or training; empty: they always are.",
    )
    when_to_deviate: str = WHEN


class SliceRules(Part):
    """One slice of this name, where it differs from its use case."""

    max_drop: float | None = Field(default=None, gt=0, le=100, description="Percentage points, at most.")
    minimum_items: int | None = Field(default=None, ge=1, description="In the gate split.")
    required: bool = Field(default=False, description="A plan has to gate a slice of this name.")


class UseCase(Part):
    """Tolerances and evidence for one kind of use."""

    title: str = Field(min_length=1, description="In words a product owner understands.")
    max_drop: float = Field(gt=0, le=100, description="Percentage points any slice may lose, at most.")
    hardest_max_drop: float | None = Field(default=None, gt=0, le=100, description="The same of the hardest items.")
    max_loss_rise: float | None = Field(default=None, gt=0, description="Nats a token, of the hardest items.")
    minimum_items: int = Field(default=1, ge=1, description="Items of the gate split, a slice.")
    slices: dict[str, SliceRules] = Field(default={}, description="Slices by name, where they differ.")
    profiles: tuple[Profile, ...] = Field(
        default=("production", "internal"),
        min_length=1,
        description="Profiles such a model may be locked under; production is the one that people sign.",
    )
    when_to_deviate: str = WHEN


class CalibrationRules(Part):
    """What steers a quantizer."""

    minimum_samples: int = Field(default=128, ge=1)
    maximum_samples: int = Field(default=512, ge=1)
    waivers: tuple[Text, ...] = Field(
        default=SAMPLE_WAIVERS, description="Defects of a calibration set that a plan may accept with a reason."
    )
    when_to_deviate: str = WHEN


class ProfileRules(Part):
    """What a plan of one profile has to say, and who answers for it."""

    parts: tuple[Text, ...] = Field(
        default=(), description="Parts that may not be left out, such as envelope.target_chip."
    )
    owners: tuple[Role, ...] = Field(default=(), description="Roles for which the plan names somebody.")
    when_to_deviate: str = WHEN


class Standards(Part):
    """The whole file."""

    schema_version: Literal[1] = Field(alias="schema", default=1)
    version: int = Field(ge=1, description="Raised with every change; runs and packages tell it.")
    title: str = Field(min_length=1, description="Whose standards these are.")
    runtimes: dict[str, RuntimeRules] = Field(default={}, description="A runtime not named here has no rules.")
    use_cases: dict[Name, UseCase] = Field(min_length=1)
    calibration: CalibrationRules = CalibrationRules()
    profiles: dict[str, ProfileRules] = Field(default={}, description="production, internal.")

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, populate_by_name=True
    )


@dataclass(frozen=True, kw_only=True)
class StandardsFile:
    """A standards file as far as it can be read."""

    path: Path
    standards: Standards | None  # None where there is any fault
    faults: tuple[Fault, ...]


def read_standards(path: Path) -> Standards:
    """The standards in a file. Raises InputError with every fault."""
    file = load_standards(path)
    if file.standards is None:
        faults = "1 fault" if len(file.faults) == 1 else f"{len(file.faults)} faults"
        raise InputError(f"{path} is not a standards file that can be used: {faults}", faults=file.faults, fix=FIX)
    return file.standards


def load_standards(path: Path) -> StandardsFile:
    """Read and validate; never raises for what the file holds."""
    if not path.exists():
        missing = Fault(where=str(path), what="there is no such file", fix=f"correct the path; {FIX}")
        return StandardsFile(path=path, standards=None, faults=(missing,))
    tree = read_tree(path)
    if not isinstance(tree.value, dict):
        empty = Fault(where=f"{path}:1", what="should be keys with values", allowed=", ".join(Standards.model_fields))
        return StandardsFile(path=path, standards=None, faults=tree.faults or (empty,))
    standards, errors = validated(Standards, tree.value)
    told = {fault.where for fault in tree.faults}
    parts = valid_parts(standards, tree, {error["loc"][0] for error in errors if error["loc"]}, Standards)
    found = (*schema_faults(errors, tree, str(path), Standards), *rule_faults(parts, tree, path))
    faults = (*tree.faults, *(fault for fault in found if fault.where not in told))
    faults = tuple(sorted(faults, key=lambda fault: int(fault.where.rpartition(":")[2])))
    return StandardsFile(path=path, standards=None if faults else standards, faults=faults)


def rule_faults(parts: Mapping[str, Any], tree: Tree, path: Path) -> Iterator[Fault]:
    """What the schema can't say: names that have to be known, and numbers that contradict each other."""

    def fault(place: Place, what: str, **more: str | None) -> Fault:
        return Fault(where=f"{path}:{line_of(place, tree)}", what=f"{dotted(place)}: {what}", **more)

    def unknown(place: Place, what: str, name: str, known: Iterable[str]) -> Iterator[Fault]:
        known = tuple(known)
        if name not in known:
            near = close_to(name, known)
            yield fault(
                place,
                what,
                value=name,
                allowed=", ".join(known),
                fix=f"did you mean `{near}`?" if near else "remove it",
            )

    for name, runtime in (parts.get("runtimes") or {}).items():
        yield from unknown(("runtimes", name), "there is no such serving runtime", name, RUNTIMES)
        for position, kind in enumerate(runtime.types if name in RUNTIMES else ()):
            known = [one for one, kept in types_of(name).items() if kept.nominal_bits < 16]
            place: Place = ("runtimes", name, "types", position)
            yield from unknown(place, f"is no serving type of {name}", kind, known)
            if position == 0 and kind in known and types_of(name)[kind].nominal_bits < runtime.minimum_bits:
                yield fault(
                    place, "the usual type has fewer bits than minimum_bits", value=kind,
                    allowed=f"{runtime.minimum_bits} bits or more", fix="put another type first, or lower minimum_bits",
                )  # fmt: skip
    if "use_cases" in tree.value and DEFAULT not in parts.get("use_cases", {DEFAULT: None}):
        yield fault(
            ("use_cases",), "has none for plans that name no class", allowed=f"a use case called {DEFAULT}",
            fix=f"add `{DEFAULT}:` with the tolerances of everything else",
        )  # fmt: skip
    rules = parts.get("calibration") or CalibrationRules()
    if rules.minimum_samples > rules.maximum_samples:
        yield fault(
            ("calibration", "minimum_samples"), "is above maximum_samples", value=str(rules.minimum_samples),
            allowed=f"at most {rules.maximum_samples}",
        )  # fmt: skip
    for position, rule in enumerate(rules.waivers):
        yield from unknown(("calibration", "waivers", position), "there is no such rule", rule, SAMPLE_WAIVERS)
    for name, profile in (parts.get("profiles") or {}).items():
        yield from unknown(("profiles", name), "plans of this profile are not compared", name, PROFILES)
        for position, part in enumerate(profile.parts):
            yield from unknown(("profiles", name, "parts", position), "is no part of a plan", part, optional_parts())


def optional_parts() -> tuple[str, ...]:
    """Parts of a plan that it may leave out, at most two levels down."""
    found = []
    for name, field in Plan.model_fields.items():
        inner = model_in(field.annotation)
        if not field.is_required():
            found.append(field.alias or name)
        if inner is not None:
            found += [f"{name}.{key}" for key, one in inner.model_fields.items() if not one.is_required()]
    return tuple(one for one in found if one not in ("schema", "deviations", "updates"))
