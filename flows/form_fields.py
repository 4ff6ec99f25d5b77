"""How a run form shows its fields: titles, descriptions, order, and what the server refuses.

Every group numbers its fields, because PostgreSQL keeps the keys of JSON by their length and both of Prefect's interfaces sort by
`position`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from quantplay.address import BUCKET, STORES

ON_THE_WORKER = "(file://(localhost)?)?/"


def seen(title: str, description: str, **more: Any) -> Any:
    """What the run form shows of a parameter, and what the server refuses; Python's own callers are not held to it."""
    return Field(json_schema_extra={"title": title, "description": description, **more})


PlanAddress = Annotated[
    str,
    seen(
        "Plan",
        "The plan file (plan.yaml): a path every worker can read, such as /data/support/plan.yaml, or an address such as "
        "s3://bucket/support/plan.yaml. What it names is found beside it.",
        pattern=rf"^({ON_THE_WORKER}.*|({'|'.join(STORES)})://{BUCKET}/[^?]*)\.(ya?ml|json)$",
    ),
]
RunToGoOn = Annotated[
    str | None,
    WithJsonSchema({"type": "string"}),
    seen(
        "Go on with this run",
        "Leave empty. The id of a run of this plan that waits for a signature, to go on with it and no other.",
        pattern=r"^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?$",
    ),
]


def as_a_form(schema: dict[str, Any]) -> None:
    """Number the fields, and show one that may stay empty as its plain kind instead of a choice between kinds."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position
        plain(field)


def plain(field: dict[str, Any]) -> None:
    """`X | None` as X that need not be given; Prefect's server accepts an empty value there as well."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    if "anyOf" in field and len(kinds) == 1:
        del field["anyOf"]
        field |= kinds[0]
        if field.get("default", "") is None:
            del field["default"]


class Group(BaseModel):
    """Fields that stand together."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, json_schema_extra=as_a_form)
