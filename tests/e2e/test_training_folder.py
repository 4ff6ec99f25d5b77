"""A folder of compressed-tensors that is broken: signed for, trained, rounded once and judged again by the same gate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from further_plans import CASE, broken_plan, write_training_texts
from safetensors.numpy import load_file, save_file
from signers import made_signer, owners_text

from benchmarks.playground import PILOT, Playground

pytestmark = pytest.mark.slow
REASONS: list[dict[str, Any]] = [
    {"rule": "calibration.count", "reason": "Enough to go through every step, and fast."},
    {"rule": "envelope.format", "reason": "Measured here for its quality; a GPU will serve it."},
]
OUTLIER = 64.0  # a power of two: what goes in and what comes out stay the same to the bit


def with_outliers(folder: Path) -> Path:
    """The pilot with one large column in every group of 128, undone in what feeds it: the same function, and no 4-bit grid fits it."""
    shutil.copytree(PILOT / "model", folder)
    weights = {name: one.copy() for name, one in load_file(folder / "model.safetensors").items()}
    for layer in sorted({name.rsplit(".", 3)[0] for name in weights if "_proj" in name}):
        for norm, readers in (
            ("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
            ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
        ):
            weights[f"{layer}.{norm}.weight"][::128] /= OUTLIER
            for reader in readers:
                weights[f"{layer}.{reader}.weight"][:, ::128] *= OUTLIER
        weights[f"{layer}.mlp.up_proj.weight"][::128] /= OUTLIER
        weights[f"{layer}.mlp.down_proj.weight"][:, ::128] *= OUTLIER
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_it_is_trained_rounded_once_and_judged_again(playground: Playground, tmp_path: Path) -> None:
    mary, owners = made_signer(tmp_path / "mary", "mary@example.com"), tmp_path / "owners.yaml"
    owners.write_text(owners_text((mary, "engineering_manager")))
    write_training_texts(playground.folder)
    model = with_outliers(playground.folder / "fragile")
    plan = broken_plan(
        playground, "broken-folder", CASE, model__source=str(model), envelope__runtime="transformers", deviations=REASONS,
        envelope__bottleneck="storage",
    )  # fmt: skip
    told = plan.read_text().replace("TQ1_0", "W4A16").replace("learning_rate: 0.0005", "learning_rate: 0.01")
    plan.write_text(told.replace("steps: 8", "steps: 12"))

    def run() -> dict[str, Any]:
        return json.loads(playground.quantplay("run", str(plan), "--json", QUANTPLAY_OWNERS=str(owners)).stdout)

    asked = run()
    assert asked["waits_at"] == "training", asked
    sign = ["sign", asked["run"][:8], "--role", "engineering_manager", "--approve", "--key", str(mary.key), "--json"]
    after = json.loads(
        playground.quantplay(*sign, QUANTPLAY_OWNERS=str(owners)).stdout
    )  # the last signature goes on with the run
    assert [play["play"] for play in after["plays"]][-4:] == ["training", "ptq", "evaluate", "gate"]
    assert len(after["decisions"]) == 2  # the trained one has a verdict of its own, whatever so few steps win
    short, made = after["artifacts"]
    assert (made["type"], made["format"]) == ("W4A16", "compressed-tensors")
    assert made["sha256"] != short["sha256"]
    assert after["left_at"] in ("training", "lock")
