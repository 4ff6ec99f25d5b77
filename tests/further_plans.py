"""Plans over a few items of the pilot whose candidate is close or broken, so that the playbook goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.playground import PILOT, Playground
from quantplay.calibration.overlap import near_copies_in_texts, prompts_in_texts
from quantplay.evalset import read_items

CASE = {
    "requests_per_day": 200000, "tokens_per_request": 400, "serving_cost_per_million_tokens": 0.6,
    "serving_saving_percent": 40, "worth_per_point_month": 150, "training_cost": 4000, "months": 12,
}  # fmt: skip
TRAINING = {
    "file": "training.jsonl", "steps": 8, "learning_rate": 0.0005, "rows": 8, "row_tokens": 256, "checkpoint_every": 4,
    "patience": 4,
}  # fmt: skip


def close_plan(playground: Playground, name: str, attempts: int) -> Path:
    """Ternary weights lose almost everything, and with these tolerances that still is close."""
    plan = playground.plan(
        name, envelope__types=["TQ1_0"], gate__attempts=attempts,
        mixed_precision={"growth_percent": 60, "sequences": 8, "tokens": 64},
    )  # fmt: skip
    text = (
        plan.read_text().replace("max_drop: 60.0", "max_drop: 45.0").replace("broken_drop: 90.0", "broken_drop: 99.0")
    )
    plan.write_text(text)
    return plan


def broken_plan(playground: Playground, name: str, case: dict[str, float] | None, **changes: Any) -> Path:
    """Ternary weights answer next to nothing right, which is broken even with tolerances that fit 20 items."""
    if case:
        changes |= {"business_case": case, "training": TRAINING}
    plan = playground.plan(name, envelope__types=["TQ1_0"], gate__attempts=2, **changes)
    plan.write_text(
        plan.read_text().replace("max_drop: 60.0", "max_drop: 45.0").replace("broken_drop: 90.0", "broken_drop: 45.5")
    )
    return plan


def write_training_texts(folder: Path) -> None:
    """Some of the pilot's. What repeats in a few questions alone does not count as their common form, so a few texts look like copies."""
    texts = [json.loads(line) for line in (PILOT / "training" / "train.jsonl").read_text().splitlines()[:800]]
    for name in ("gate", "dev"):
        asked = [(item.id, item.document, item.prompt) for item in read_items(folder / f"{name}.jsonl")]
        prompts = [(key, prompt) for key, _, prompt in asked]
        while True:
            pairs = [(text["id"], text["text"]) for text in texts]
            leaks = {text for _, text in (*near_copies_in_texts(asked, pairs), *prompts_in_texts(prompts, pairs))}
            if not leaks:
                break
            texts = [text for text in texts if text["id"] not in leaks]
    (folder / "training.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))


def save_uneven_model(folder: Path, factor: float) -> Path:
    """The pilot with one channel in 128 of the feed-forward part that much larger: it says the same, and 4 bits a group of 128 lose
    what lies beside that channel. 8 bits don't."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(PILOT / "model", folder)
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if name.endswith("mlp.down_proj.weight")]:
        weights[name][:, ::128] *= factor
        weights[name.replace("down_proj", "up_proj")][::128] /= factor
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
