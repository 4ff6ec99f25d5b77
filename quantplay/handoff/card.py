"""MODEL_CARD.md: the model card, in the form model hubs read, with what was measured and not more."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import yaml

from quantplay.gate.sentences import remarks
from quantplay.handoff import words
from quantplay.handoff.calibration import verdict_of
from quantplay.handoff.contents import PackageContents
from quantplay.handoff.templating import render
from quantplay.handoff.updates import HEAD, cells, update_sentence, updates_of


def render_card(contents: PackageContents) -> str:
    """The card as Markdown with a YAML header."""
    source = contents.inputs.model
    hub = source.revision is not None
    name = source.source if hub else PurePosixPath(source.source).name or contents.plan.name
    artifact = contents.artifact
    header = {
        "base_model": name,
        "base_model_relation": "quantized",
        "library_name": artifact.format,
        "pipeline_tag": "text-generation",
        "quantized_by": contents.plan.owners.ml_engineer,
        "tags": list(dict.fromkeys(["quantized", artifact.format, artifact.type, contents.recipe.method])),
        "model-index": [{"name": f"{contents.plan.name}-{artifact.type}", "results": results_of(contents)}],
    }
    return render(
        "MODEL_CARD.md.jinja",
        header=yaml.safe_dump(header, sort_keys=True, allow_unicode=True, width=1000),
        c=contents,
        base=name,
        plan=contents.plan,
        rows=[(words.slice_title(contents.plan, one), one) for one in contents.decision.slices],
        fragile=[info.title for _, info in sorted(contents.plan.evaluation.slices.items()) if info.fragile],
        head=words.headline(contents.results()),
        remarks=remarks(contents.decision),
        calibration=verdict_of(contents.calibration) if contents.calibration else None,
        update=update_sentence(contents.update, artifact.type) if contents.update else "",
        update_head=HEAD,
        update_rows=[cells(row) for row in updates_of(contents.update, contents.decision, contents.plan)],
    )


def results_of(contents: PackageContents) -> list[dict[str, Any]]:
    """The gate's slices as hubs read evaluation results: accuracy in percent, of the quantized model and of full precision."""
    evaluation = contents.plan.name
    return [
        {
            "task": {"type": "text-generation"},
            "dataset": {
                "type": evaluation,
                "name": f"{evaluation}: {words.slice_title(contents.plan, one)}",
                "config": one.slice,
            },
            "metrics": [
                {"type": "accuracy", "name": "quantized", "value": round(one.candidate, 2)},
                {"type": "accuracy", "name": "full precision", "value": round(one.baseline, 2)},
            ],
        }
        for one in contents.decision.slices
        if one.metric == "score"
    ]
