"""Jobs for a child process: several artifacts in one, because importing llm-compressor takes longer than all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantplay.errors import QuantplayError
from quantplay.quantizers import method


def make_all(payload: dict[str, Any], report: Any) -> dict[str, Any]:
    """payload: recipes (name -> body), model, calibration, folder. Returns name -> the artifact's body, or the error's text."""
    made = {}
    for name, recipe in payload["recipes"].items():
        out = Path(payload["folder"]) / f"{name}.tar"
        job = {"recipe": recipe, "model": payload["model"], "calibration": payload["calibration"], "out": str(out)}
        try:
            made[name] = method(recipe["format"]).quantize_job(job, report)
        except QuantplayError as error:
            made[name] = {
                "error": str(error),
                "left": [path.name for path in out.parent.iterdir() if name in path.name],
            }
    return made


def compare_logits(payload: dict[str, Any], _report: Any) -> dict[str, Any]:
    """payload: models (name -> file or folder), expected (name -> file or folder), tokens. Returns name -> largest difference of
    the logits and their largest value."""
    import torch

    from quantplay.engines.model_file import model_folder
    from quantplay.engines.transformers_model import load_model

    def logits(model: str) -> torch.Tensor:
        with model_folder(Path(model)) as folder, torch.inference_mode():
            return load_model(folder)(torch.tensor([payload["tokens"]])).logits

    found = {}
    for name, model in payload["models"].items():
        ours, theirs = logits(model), logits(payload["expected"][name])
        found[name] = [float((ours - theirs).abs().max()), float(theirs.abs().max())]
    return found
