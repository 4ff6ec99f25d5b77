"""Base of all records, and the words several of them use."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from quantplay.digest import digest_of

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Arm = Literal["source", "reference", "candidate"]
"""source: full precision as the team runs it (transformers); reference: full precision in the serving runtime."""
Verdict = Literal["pass", "close", "broken", "inconclusive"]
Split = Literal["dev", "gate"]
InputKind = Literal["model", "calibration", "evaluation", "heldout", "traffic", "training"]
Role = Literal["ml_engineer", "product_owner", "engineering_manager", "on_call"]


class Record(BaseModel):
    """Base of all records: frozen, no unknown fields, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    later: ClassVar[frozenset[str]] = frozenset()
    """Fields younger than the record: left out of the JSON while empty, so that digests of older records stay true."""

    @model_serializer(mode="wrap")
    def _without_empty_later_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        body = handler(self)
        for name in self.later:
            if not body.get(name):
                body.pop(name, None)
        return body

    def body(self) -> dict[str, Any]:
        """JSON-safe dictionary; `type(self).model_validate(body)` gives the record back."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        return digest_of(self.body())
