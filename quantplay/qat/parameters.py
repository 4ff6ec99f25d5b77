"""A training's numbers where they lie: the model's parameters, the optimizer's moments, and the file of the chosen weights."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantplay.engines.whole_file import written_whole
from quantplay.qat.checkpoint import Progress, State, Tensors

if TYPE_CHECKING:
    import torch


def numpy_parameters(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: one.detach().cpu().numpy() for name, one in model.named_parameters()}


def first_state(student: torch.nn.Module) -> State:
    """The full-precision weights, before any step."""
    import torch

    masters = {name: one.detach().clone() for name, one in student.named_parameters()}
    return State(progress=Progress(), masters=masters, first={}, second={}, best={}, random=torch.get_rng_state())


def moments(optimizer: torch.optim.Optimizer, names: Sequence[str]) -> tuple[Tensors, Tensors]:
    found = optimizer.state_dict()["state"]
    pairs = [(name, found[index]) for index, name in enumerate(names) if index in found]
    return {name: one["exp_avg"] for name, one in pairs}, {name: one["exp_avg_sq"] for name, one in pairs}


def restore_optimizer(optimizer: torch.optim.Optimizer, names: Sequence[str], state: State) -> None:
    import torch

    if not state.first:
        return
    steps = torch.tensor(float(state.progress.step))
    body = {
        index: {"step": steps.clone(), "exp_avg": state.first[name], "exp_avg_sq": state.second[name]}
        for index, name in enumerate(names)
        if name in state.first
    }
    optimizer.load_state_dict({"state": body, "param_groups": optimizer.state_dict()["param_groups"]})


def write_weights(student: Any, weights: Mapping[str, torch.Tensor], out: Path) -> None:
    """The master weights as one safetensors file, under the names the model's own files use."""
    import torch

    with torch.no_grad():
        for name, parameter in student.named_parameters():
            parameter.copy_(weights[name])
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as partial, tempfile.TemporaryDirectory(prefix=".weights-", dir=out.parent) as folder:
        student.cpu().save_pretrained(folder, max_shard_size="1000TB")
        (found,) = Path(folder).glob("*.safetensors")
        found.replace(partial)
