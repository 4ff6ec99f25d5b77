"""From the filled form to the plan it means, and from a fault of that plan back to the field of the form.

One table says which field of the form is which place of the plan; the conversion and the faults both read it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from flows.plan_form import PlanForm
from quantplay.address import redacted
from quantplay.errors import Fault, PlanError
from quantplay.plan import Plan
from quantplay.plan_file import Place, PlanFile, load_plan, plan_from_text
from quantplay.plays.check import check_plan
from quantplay.plays.standards import standards_in
from quantplay.settings import settings

PLACES: dict[str, str] = {
    "name": "name",
    "use_case": "use_case",
    "more.use_case_class": "use_case_class",
    "more.trade_off": "trade_off",
    "profile": "profile",
    "more.seed": "seed",
    "data.model": "model.source",
    "data.model_commit": "model.commit",
    "data.calibration_file": "calibration.file",
    "more.calibration_samples": "calibration.samples",
    "more.calibration_tokens": "calibration.tokens",
    "more.traffic_file": "calibration.traffic",
    "data.gate_file": "evaluation.gate",
    "data.dev_file": "evaluation.dev",
    "data.heldout_file": "evaluation.heldout",
    "more.task_files": "evaluation.tasks",
    "more.baseline_days": "evaluation.baseline_days",
    "more.answer_tokens": "decoding.max_tokens",
    "more.answer_ends": "decoding.stop",
    "target.bottleneck": "envelope.bottleneck",
    "target.target_chip": "envelope.target_chip",
    "target.serving_types": "envelope.types",
    "target.context_tokens": "envelope.context_tokens",
    "target.sequences_at_once": "envelope.batch",
    "target.max_artifact_mib": "envelope.max_artifact_mib",
    "target.memory_mib": "envelope.memory_mib",
    "target.max_time_to_first_token_ms": "envelope.max_time_to_first_token_ms",
    "target.min_tokens_per_second": "envelope.min_tokens_per_second",
    "target.max_slowdown": "envelope.max_slowdown",
    "more.attempts": "gate.attempts",
    "more.expected_flip_rate": "gate.expected_flip_rate",
    "more.hardest_share": "gate.hardest.share",
    "more.hardest_max_drop_points": "gate.hardest.max_drop",
    "more.hardest_broken_drop_points": "gate.hardest.broken_drop",
    "more.hardest_max_loss_rise_nats": "gate.hardest.max_loss_rise",
    "more.hardest_broken_loss_rise_nats": "gate.hardest.broken_loss_rise",
    "more.alarm_mean_kl_nats": "gate.alarms.mean_kl_nats",
    "more.alarm_top1_agreement": "gate.alarms.top1_agreement",
    "more.alarm_perplexity_ratio": "gate.alarms.perplexity_ratio",
    "people.ml_engineer": "owners.ml_engineer",
    "people.product_owner": "owners.product_owner",
    "people.engineering_manager": "owners.engineering_manager",
    "people.on_call": "owners.on_call",
    "training.currency": "business_case.currency",
    "training.training_cost": "business_case.training_cost",
    "training.requests_per_day": "business_case.requests_per_day",
    "training.tokens_per_request": "business_case.tokens_per_request",
    "training.serving_cost_per_million_tokens": "business_case.serving_cost_per_million_tokens",
    "training.serving_saving_percent": "business_case.serving_saving_percent",
    "training.worth_per_gib_month": "business_case.worth_per_gib_month",
    "training.worth_per_point_month": "business_case.worth_per_point_month",
    "training.months": "business_case.months",
    "how_to_train.file": "training.file",
    "how_to_train.steps": "training.steps",
    "how_to_train.learning_rate": "training.learning_rate",
    "how_to_train.rows": "training.rows",
    "how_to_train.row_tokens": "training.row_tokens",
    "how_to_train.checkpoint_every": "training.checkpoint_every",
    "how_to_train.patience": "training.patience",
    "how_to_train.seed": "training.seed",
    "mixing.max_artifact_mib": "mixed_precision.max_artifact_mib",
    "mixing.growth_percent": "mixed_precision.growth_percent",
    "mixing.types": "mixed_precision.types",
    "mixing.sequences": "mixed_precision.sequences",
    "mixing.tokens": "mixed_precision.tokens",
    "more.waivers": "deviations",
}
"""Field of the form -> place in the plan. `skills` becomes evaluation.slices and gate.slices."""

SKILL_PLACES: dict[str, tuple[str, str]] = {
    "title": ("evaluation", "title"),
    "fragile": ("evaluation", "fragile"),
    "max_drop_points": ("gate", "max_drop"),
    "broken_drop_points": ("gate", "broken_drop"),
}
"""Field of a skill -> part of the plan and key of the slice there."""

ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}
SAFE = re.compile(r"[A-Za-z][A-Za-z0-9 _./@-]*")
WORDS = {"null", "true", "false", "inf", "nan", "infinity", "yes", "no", "on", "off", "y", "n"}


def filled(**fields: Any) -> PlanForm:
    """The form with these values. Raises PlanError with every fault, each with the name of its field."""
    try:
        return PlanForm.model_validate(fields)
    except ValidationError as error:
        faults = [
            Fault(where=dotted(one["loc"]), what=one["msg"], value=redacted(str(one["input"])))
            for one in error.errors(include_url=False)
        ]
        raise PlanError("the form can't be used", faults=faults, fix="correct these fields and start again") from error


def body_of(form: PlanForm) -> dict[str, Any]:
    """The plan as plain values; what was left empty is left out. Raises PlanError where two skills have one name."""
    counts = Counter(skill.name for skill in form.skills)
    if twice := [name for name, count in counts.items() if count > 1]:
        faults = [
            Fault(where="skills", what="two skills have the same name", value=name, fix="remove one of the two")
            for name in twice
        ]
        raise PlanError("the form can't be used", faults=faults)
    values = form.model_dump(mode="json")
    values["more"]["answer_ends"] = [unescaped(text) for text in form.more.answer_ends]
    body: dict[str, Any] = {"schema": 1}
    for field, place in PLACES.items():
        value: Any = values
        for part in field.split("."):
            value = value[part]
        if value is not None and value != "":
            put(body, place.split("."), value)
    for skill in values["skills"]:
        for key, (part, inner) in SKILL_PLACES.items():
            put(body, [part, "slices", skill["name"], inner], skill[key])
    for group, always in (
        ("business_case", {"currency": values["training"]["currency"]}),
        ("mixed_precision", {"types": []}),
    ):
        if body[group] == always:  # nobody filled in the group
            del body[group]
    return body


def put(body: dict[str, Any], place: Sequence[str], value: Any) -> None:
    *parents, last = place
    for parent in parents:
        body = body.setdefault(parent, {})
    body[last] = value


def plan_text(form: PlanForm) -> str:
    """The plan as the file it would be, the same text for the same form."""
    return yaml.dump(body_of(form), Dumper=PlanDumper, sort_keys=False, allow_unicode=True, width=1 << 30)


class PlanDumper(yaml.SafeDumper):
    """YAML in which a text is a text for every reader: quoted unless it is a plain word."""


def write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = SAFE.fullmatch(text) is not None and text.lower() not in WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


PlanDumper.add_representer(str, write_text)


def plan_of(form: PlanForm) -> Plan:
    """The plan that the form means. Raises PlanError with every fault, each with the name of its field."""
    file = plan_from_text(plan_text(form), Path("form"))
    if file.plan is None:
        raise PlanError("the form can't be used", faults=in_the_form(file, file.faults, form))
    return file.plan


def in_the_form(file: PlanFile, faults: Sequence[Fault], form: PlanForm) -> list[Fault]:
    """`faults` of the plan file that was written from `form`, each named by its field; those of other files as they are."""
    deepest = {line: place for place, line in sorted(file.tree.lines.items(), key=lambda entry: len(entry[0]))}
    told = []
    for fault in faults:
        path, _, line = fault.where.rpartition(":")
        if path == str(file.path) and line.isdigit():
            fault = replace(fault, where=field_at(deepest.get(int(line), ()), form))
        told.append(fault)
    return told


def field_at(place: Place, form: PlanForm) -> str:
    """The field of the form that became `place` of the plan; the group where it is none of them alone."""
    if place[:1] + place[1:2] in (("evaluation", "slices"), ("gate", "slices")) and len(place) > 2:
        row = next(number for number, skill in enumerate(form.skills, start=1) if skill.name == str(place[2]))
        key = next((key for key, inner in SKILL_PLACES.items() if inner == (place[0], *place[3:4])), "name")
        return f"skills, entry {row}, {key}"
    for length in range(len(place), 0, -1):
        known = ".".join(str(part) for part in place[:length])
        for field, at in PLACES.items():
            if at == known:
                entry = next((f", entry {part + 1}" for part in place[length:] if isinstance(part, int)), "")
                return f"{field}{entry}"
    groups = {
        "evaluation": "skills",
        "gate": "skills",
        "business_case": "training",
        "training": "how_to_train",
        "mixed_precision": "mixing",
    }
    return groups.get(str(place[0]), str(place[0])) if place else "form"


def require_good(form: PlanForm, path: Path, *, measured_here: bool) -> None:
    """Check the plan written from `form` and all it points to. Raises PlanError with every fault, named by its field."""
    standards = standards_in(settings().standards)
    report = check_plan(path, measured_here=measured_here, standards=standards)
    if not report.good:
        faults = in_the_form(load_plan(path), report.faults, form)
        raise PlanError("the form can't be used", faults=faults, fix="correct these fields and start again")


def form_of(plan: Plan, folder: str) -> PlanForm:
    """The form that means `plan`, whose names start at `folder`: to start a run of it with one value changed."""
    body = plan.model_dump(mode="json", by_alias=True)
    values: dict[str, Any] = {"data": {"folder": folder}}
    for field, place in PLACES.items():
        *parents, last = place.split(".")
        part: Any = body
        for parent in parents:
            part = part.get(parent) or {}  # a field or part of a later version is left out at its default
        if last in part:
            put(values, field.split("."), part[last])
    values["more"]["answer_ends"] = [escaped(text) for text in plan.decoding.stop]
    values["skills"] = [
        {"name": name, **{key: body[part]["slices"][name][inner] for key, (part, inner) in SKILL_PLACES.items()}}
        for name in plan.evaluation.slices
    ]
    return filled(**values)


def unescaped(text: str) -> str:
    return re.sub(r"\\([nt\\])", lambda found: ESCAPES[found[1]], text)


def escaped(text: str) -> str:
    for letter, meant in reversed(ESCAPES.items()):
        text = text.replace(meant, f"\\{letter}")
    return text


def dotted(place: Sequence[str | int]) -> str:
    def parts() -> Iterator[str]:
        for part in place:
            yield f", entry {part + 1}, " if isinstance(part, int) else f".{part}"

    return "".join(parts()).lstrip(".").replace(", .", ", ").strip(", ")
