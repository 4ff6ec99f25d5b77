"""Plain values against a schema, usually the plan's: every fault with line, value, what is allowed and a fix."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from quantplay.errors import Fault
from quantplay.plan import SCHEMA_VERSION, Plan
from quantplay.plan_file.yaml_tree import Place, Tree, dotted

P = TypeVar("P", bound=BaseModel)
KINDS: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class Slot(NamedTuple):
    """What the schema says about one place."""

    annotation: Any
    field: FieldInfo | None


def validated(model: type[P], value: Any) -> tuple[P | None, list[ErrorDetails]]:
    """Strict: a text is no number and 1 is not true. Through JSON, where a list may become a tuple."""
    try:
        return model.model_validate_json(json.dumps(value), strict=True), []
    except ValidationError as error:
        return None, error.errors(include_url=False, include_input=True)


def schema_faults(
    errors: Iterable[ErrorDetails], tree: Tree, where: str, schema: type[BaseModel] = Plan
) -> list[Fault]:
    """One fault for each mistake: a misspelt required key is one mistake, not an unknown key and a missing one."""
    errors = list(errors)
    if (version := newer_schema(tree)) is not None:
        return [Fault(
            where=f"{where}:{tree.lines[('schema',)]}", what="schema: is a version this quantplay does not read",
            value=version, allowed=str(SCHEMA_VERSION), fix=f"write `schema: {SCHEMA_VERSION}`, or update quantplay",
        )]  # fmt: skip
    missing = {tuple(error["loc"]) for error in errors if error["type"] == "missing"}
    inside = {tuple(error["loc"])[:-1] for error in errors if error["type"] != "missing"}
    faults: list[Fault] = []
    explained: set[Place] = set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            place = tuple(error["loc"])
            twin = close_to(str(place[-1]), [str(other[-1]) for other in missing if other[:-1] == place[:-1]])
            explained |= {(*place[:-1], twin)} if twin else set()
            faults.append(unknown_key(place, tree, where, schema))
    for error in errors:
        place = tuple(error["loc"])
        if error["type"] == "missing" and place not in explained:
            faults.append(missing_key(place, tree, where, schema))
        elif error["type"] == "too_short" and place in inside:
            continue  # a list is short only because what it holds is at fault
        elif error["type"] not in ("missing", "extra_forbidden"):
            faults.append(wrong_value(place, error, tree, where, schema))
    return faults


def newer_schema(tree: Tree) -> str | None:
    version = tree.value.get("schema", SCHEMA_VERSION) if isinstance(tree.value, dict) else SCHEMA_VERSION
    return str(version) if isinstance(version, int) and version > SCHEMA_VERSION else None


def line_of(place: Place, tree: Tree) -> int:
    while place and place not in tree.lines:
        place = place[:-1]
    return tree.lines.get(place, 1)


def close_to(word: str, words: Iterable[str]) -> str | None:
    """The word most like `word`, if one is like it."""
    by_lower = {known.lower(): known for known in words}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def unknown_key(place: Place, tree: Tree, where: str, schema: type[BaseModel]) -> Fault:
    parent, key = place[:-1], str(place[-1])
    known = [name for name, _ in fields_of(slot_at(parent, schema).annotation)]
    # A key that the schema has in exactly this spelling somewhere else was probably indented wrongly.
    homes = [dotted(home) for home in homes_of(key, schema) if home != parent]
    if homes:
        fix = f"`{key}` belongs under {' or '.join(f'`{home}`' for home in homes)}; check the indentation"
    elif near := close_to(key, known):
        fix = f"did you mean `{near}`?"
    else:
        fix = "remove it"
    return Fault(
        where=f"{where}:{line_of(place, tree)}", what=f"unknown key `{dotted(place)}`", allowed=", ".join(known), fix=fix
    )  # fmt: skip


def missing_key(place: Place, tree: Tree, where: str, schema: type[BaseModel]) -> Fault:
    slot = slot_at(place, schema)
    key = str(place[-1])
    return Fault(
        where=f"{where}:{line_of(place[:-1], tree)}", what=f"`{dotted(place)}` is missing",
        allowed=allowed_text(slot), fix=f"add `{key}:`" + (f" under `{dotted(place[:-1])}:`" if place[:-1] else ""),
    )  # fmt: skip


def wrong_value(place: Place, error: ErrorDetails, tree: Tree, where: str, schema: type[BaseModel]) -> Fault:
    while place and place not in tree.lines:  # a position inside a union or a key marker of pydantic
        place = place[:-1]
    slot = slot_at(place, schema)
    found = tree.texts.get(place)
    value = found if found is not None else describe(error["input"])
    allowed = allowed_text(slot)
    choices = literals(slot.annotation)
    fix = None
    if choices and found is not None and (near := close_to(found.strip('"'), choices)):
        fix = f"did you mean `{near}`?"
    elif error["type"] in ("int_type", "float_type", "bool_type") and found is not None and found.startswith('"'):
        fix = "remove the quotes" if found.strip('"') else "write a value"
    elif error["type"] == "bool_type" and found is not None and found.lower() in ("no", "off", "yes", "on"):
        fix = "write false" if found.lower() in ("no", "off") else "write true"
    elif value in ("", '""') or error["input"] is None:
        fix = "write a value, or remove the line" if slot.field and not slot.field.is_required() else "write a value"
    elif error["type"] == "tuple_type":
        fix = f"write a list: `[{found}]`" if found is not None else "write a list: `- value` lines, or `[a, b]`"
    elif error["type"] == "string_type" and isinstance(error["input"], int | float):
        fix = f'put it in quotes: "{value}"'
    return Fault(
        where=f"{where}:{line_of(place, tree)}", what=f"{dotted(place)}: {reason(error, slot)}", value=value or "nothing",
        allowed=allowed, fix=fix,
    )  # fmt: skip


REASONS = {
    "literal_error": "is not one of the choices",
    "string_pattern_mismatch": "does not have the form it needs",
    "string_too_short": "is empty or too short",
    "too_short": "is empty",
    "greater_than": "is out of range",
    "greater_than_equal": "is out of range",
    "less_than": "is out of range",
    "less_than_equal": "is out of range",
    "finite_number": "is not a finite number",
}


def reason(error: ErrorDetails, slot: Slot) -> str:
    return REASONS.get(error["type"]) or f"should be {kind_of(slot.annotation)}"


def describe(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return f"keys {', '.join(map(str, value))}" if value else "no keys"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return str(value)


# --- what the schema says -----------------------------------------------------------------------------------------


def fields_of(annotation: Any) -> list[tuple[str, FieldInfo]]:
    model = model_in(annotation)
    return [(field.alias or name, field) for name, field in model.model_fields.items()] if model else []


def model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in without_none(annotation) if (model := model_in(part))), None)


def without_none(annotation: Any) -> list[Any]:
    """The members of `X | None`; empty for anything else."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for part in get_args(annotation) if part is not type(None)]
    return []


def slot_at(place: Place, schema: type[BaseModel]) -> Slot:
    """Annotation and field at a place of the file."""
    slot = Slot(schema, None)
    for part in place:
        slot = step(slot, part)
    return slot


def step(slot: Slot, part: str | int) -> Slot:
    annotation = next(iter(without_none(slot.annotation)), slot.annotation)
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return Slot(arguments[1], None)
    if get_origin(annotation) is tuple:
        return Slot(arguments[0], None)
    return next(
        (Slot(field.annotation, field) for name, field in fields_of(annotation) if name == part), Slot(Any, None)
    )


def homes_of(key: str, schema: type[BaseModel]) -> list[Place]:
    """Parts of the file, at most two levels down, that have a key of this name."""
    homes: list[Place] = []
    for name, field in fields_of(schema):
        if name == key:
            homes.append(())
        for inner, inner_field in fields_of(field.annotation):
            if inner == key:
                homes.append((name,))
            homes += [(name, inner) for deep, _ in fields_of(inner_field.annotation) if deep == key]
    return homes


def literals(annotation: Any) -> list[str]:
    annotation = next(iter(without_none(annotation)), annotation)
    return [str(choice) for choice in get_args(annotation)] if get_origin(annotation) is Literal else []


def kind_of(annotation: Any) -> str:
    annotation = next(iter(without_none(annotation)), annotation)
    if choices := literals(annotation):
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    if annotation in KINDS:
        return KINDS[annotation]
    if get_origin(annotation) is tuple:
        return f"a list of {plural(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        model = model_in(get_args(annotation)[1])
        inside = ", ".join(name for name, _ in fields_of(model)) if model else "values"
        return f"names, each with {inside}"
    if model_in(annotation):
        return f"a part with the keys {', '.join(name for name, _ in fields_of(annotation))}"
    return "text"  # an annotated text such as a name


def plural(annotation: Any) -> str:
    if annotation is str or get_origin(annotation) is Annotated:
        return "texts"
    if choices := literals(annotation):
        return f"any of {', '.join(choices)}"
    return f"parts with the keys {', '.join(name for name, _ in fields_of(annotation))}"


def allowed_text(slot: Slot) -> str:
    """Kind, bounds and purpose: `a number, more than 0, at most 100 (Passes when ...)`."""
    parts = [kind_of(slot.annotation)]
    pattern: str | None = None
    for rule in slot.field.metadata if slot.field else ():
        match rule:
            case Gt():
                parts.append(f"more than {rule.gt}")
            case Ge():
                parts.append(f"at least {rule.ge}")
            case Lt():
                parts.append(f"less than {rule.lt}")
            case Le():
                parts.append(f"at most {rule.le}")
            case MinLen() if rule.min_length == 1:
                parts.append("not empty")
            case MinLen():
                parts.append(f"at least {rule.min_length} characters")
            case MaxLen():
                parts.append(f"at most {rule.max_length}")
            case _:
                pattern = getattr(rule, "pattern", None) or pattern
    if pattern and not (slot.field and slot.field.description):
        parts.append(f"of the form {pattern}")
    text = ", ".join(parts)
    return f"{text} ({slot.field.description.rstrip('.')})" if slot.field and slot.field.description else text
