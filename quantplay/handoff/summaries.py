"""A record without its single items, and back: baseline.json and evaluation.json stay small, items.parquet holds the rest.

The digest in such a file is that of the whole record, so that putting the items back proves that they are the same ones.
"""

from __future__ import annotations

from typing import Any

from quantplay.digest import digest_of
from quantplay.handoff.contents import mean_scores
from quantplay.records import ArmRun, Baseline, Digest, Evaluation, ItemResult

Items = dict[str, tuple[ItemResult, ...]]
"""Arm -> its items in the order they were asked."""


def summary_of_baseline(baseline: Baseline, key: Digest) -> dict[str, Any]:
    """The small, versionable file of a baseline. `key` is its key in the registry."""
    return _summary("baseline", baseline, key, {"source": baseline.source, "reference": baseline.reference})


def summary_of_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    return _summary("evaluation", evaluation, None, {"candidate": evaluation.candidate})


def _summary(kind: str, record: Baseline | Evaluation, key: Digest | None, arms: dict[str, ArmRun]) -> dict[str, Any]:
    body = record.body()
    for name in arms:
        body[name]["items"] = []
    return {
        "kind": kind,
        "key": key,
        "digest": record.digest(),
        "scores": {name: scores_of(arm) for name, arm in arms.items()},
        "items": {name: {"count": len(arm.items), "digest": digest_of_items(arm.items)} for name, arm in arms.items()},
        "record": body,
    }


def scores_of(arm: ArmRun) -> dict[str, Any]:
    """A slice: number of items and mean score, as JSON."""
    return {name: score.body() for name, score in mean_scores(arm).items()}


def digest_of_items(items: tuple[ItemResult, ...]) -> Digest:
    return digest_of([item.body() for item in items])


def baseline_with_items(summary: dict[str, Any], items: Items) -> Baseline:
    """The whole baseline again. Raises pydantic's ValidationError or KeyError where the file is not one of ours."""
    record = Baseline.model_validate(summary["record"])
    return record.model_copy(
        update={
            "source": record.source.model_copy(update={"items": items["source"]}),
            "reference": record.reference.model_copy(update={"items": items["reference"]}),
        }
    )


def evaluation_with_items(summary: dict[str, Any], items: Items) -> Evaluation:
    """The whole evaluation again; raises as `baseline_with_items` does."""
    record = Evaluation.model_validate(summary["record"])
    return record.model_copy(update={"candidate": record.candidate.model_copy(update={"items": items["candidate"]})})
