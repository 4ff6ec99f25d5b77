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


def gemma_gap(payload: dict[str, Any], report: Any) -> list[float]:
    """payload: recipe, tokenizer (folder to copy from), calibration, folder. Largest difference of the logits of a Gemma-like model
    after quantizing, and their largest value."""
    import shutil

    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    model = Path(payload["folder"]) / "model"
    config = AutoConfig.for_model(
        "gemma3_text", hidden_size=128, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2, head_dim=64,
        num_key_value_heads=1, vocab_size=1024, max_position_embeddings=512,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(model)
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        shutil.copy(Path(payload["tokenizer"]) / name, model / name)
    made = {"recipes": {"gemma": payload["recipe"]}, "model": str(model), "calibration": payload["calibration"]}
    told = make_all(made | {"folder": payload["folder"]}, report)
    assert "error" not in told["gemma"], told
    asked = {"models": {"gemma": f"{payload['folder']}/gemma.tar"}, "expected": {"gemma": str(model)}}
    return compare_logits(asked | {"tokens": list(range(5, 45))}, report)["gemma"]
