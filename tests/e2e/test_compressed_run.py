"""A format of folders, from the baseline to a locked package that verifies and is made again byte for byte."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from further_plans import save_uneven_model

from benchmarks.playground import Playground

pytestmark = pytest.mark.slow

REASONS: list[dict[str, Any]] = [
    {"rule": "calibration.count", "reason": "Enough to go through every step, and fast."},
    {"rule": "envelope.format", "reason": "Measured here for its quality; a GPU will serve it."},
]


def package_of(playground: Playground, kind: str, bottleneck: str) -> Path:
    plan = playground.plan(
        f"folder-{kind.lower()}", envelope__runtime="transformers", envelope__types=[kind], envelope__bottleneck=bottleneck,
        deviations=REASONS,
    )  # fmt: skip
    code, told = playground.run(plan)
    assert code == 0, told
    return Path(told["package"]["path"])


def test_a_package_of_a_folder_is_locked_verified_and_made_again(playground: Playground) -> None:
    folder = package_of(playground, "W4A16", "storage")
    artifact = json.loads((folder / "artifact.json").read_text())
    with tarfile.open(folder / "artifact" / artifact["file_name"]) as file:
        assert {"model/config.json", "model/model.safetensors", "model/tokenizer.json"} <= set(file.getnames())
    assert "tar -xf artifact/" in (folder / "README.md").read_text()
    verified = playground.quantplay("verify", str(folder))
    assert verified.returncode == 0, verified.stdout
    replayed = playground.quantplay("replay", str(folder), "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["made"] == artifact["sha256"]

    file = folder / "artifact" / artifact["file_name"]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    damaged = playground.quantplay("verify", str(folder))
    assert damaged.returncode != 0
    assert "is not the recorded file" in damaged.stdout + damaged.stderr


def test_a_type_of_another_runtime_is_a_fault_of_the_plan(playground: Playground) -> None:
    for runtime, kind in (("llama.cpp", "W4A16"), ("transformers", "Q4_K_M")):
        plan = playground.plan(
            f"wrong-{kind.lower()}", envelope__runtime=runtime, envelope__types=[kind], deviations=REASONS
        )
        code, told = playground.run(plan)
        assert code == 2
        assert any(f"{runtime} can't run this type" in fault["what"] for fault in told["error"]["faults"])


def test_a_close_one_is_mixed_judged_again_locked_and_made_again(playground: Playground) -> None:
    """W4A16 loses what lies beside the large channels; a mix keeps those layers in 8 bits and passes the same gate."""
    model = save_uneven_model(playground.folder / "uneven model", factor=300)
    plan = playground.plan(
        "folder-mix", model={"source": str(model)}, envelope__runtime="transformers", envelope__types=["W4A16"],
        envelope__bottleneck="storage", deviations=REASONS, gate__attempts=2,
        mixed_precision={"growth_percent": 20, "sequences": 8, "tokens": 64},
    )  # fmt: skip
    plan.write_text(plan.read_text().replace("broken_drop: 90.0", "broken_drop: 99.5"))
    code, told = playground.run(plan)
    assert code == 0, told
    assert [decision["verdict"] for decision in told["decisions"]] == ["close", "pass"]
    short, mix = told["artifacts"]
    assert (short["format"], short["type"]) == (mix["format"], mix["type"]) == ("compressed-tensors", "W4A16")
    kept = {name for name, kind in mix["tensors"].items() if kind == "W8A16"}
    assert {name for name in mix["tensors"] if "down_proj" in name} <= kept
    assert mix["size_bytes"] <= 1.2 * short["size_bytes"]

    shown = playground.quantplay("show", told["run"][:8])
    assert "Mixed precision: chosen mix" in shown.stdout
    folder = Path(told["package"]["path"])
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["tensor_types"][r"^model\.layers\.0\.mlp\.down_proj$"] == "W8A16"
    verified = playground.quantplay("verify", str(folder))
    assert verified.returncode == 0, verified.stdout
    replayed = playground.quantplay("replay", str(folder), "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["made"] == mix["sha256"]
