"""A training's state on the disk: one file, written whole, so that a killed training goes on as if nothing had happened.

Float32 tensors by role (`master/NAME`, `first/NAME` and `second/NAME` of Adam, `best/NAME`), torch's random state, and a line of
JSON. Safetensors: reading it runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantplay.engines.whole_file import require_space, written_whole
from quantplay.records import CurvePoint, Digest

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]


@dataclass(kw_only=True)
class Progress:
    """Where a training is."""

    step: int = 0  # steps done
    curve: list[CurvePoint] = field(default_factory=list)
    best_step: int = 0
    tokens_seen: int = 0
    losses: list[float] = field(default_factory=list)  # of the steps since the last point of the curve
    seconds: float = 0.0  # of work, in all processes so far
    finished: bool = False
    stopped_early: bool = False
    micro_rows: int | None = None  # rows at once, where memory did not hold as many as the settings ask for


@dataclass(kw_only=True)
class State:
    """All that the next step depends on."""

    progress: Progress
    masters: Tensors
    first: Tensors  # Adam's running means of gradients, empty before the first step
    second: Tensors  # and of their squares
    best: Tensors  # masters at `best_step`
    random: torch.Tensor  # torch's generator


def save_state(path: Path, identity: Digest, state: State) -> None:
    """Write the state; an older file stays until the new one is complete. Raises OutOfSpace on a full disk."""
    from safetensors.torch import save_file

    roles: dict[str, Tensors] = {
        "master": state.masters, "first": state.first, "second": state.second, "best": state.best,
    }  # fmt: skip
    tensors = {f"{role}/{name}": on_cpu(one) for role, some in roles.items() for name, one in some.items()}
    progress = asdict(state.progress) | {"curve": [point.body() for point in state.progress.curve]}
    require_space(path, sum(one.numel() * one.element_size() for one in tensors.values()))
    with written_whole(path) as partial:
        text = json.dumps({"identity": identity, "progress": progress}, sort_keys=True)
        save_file(tensors | {"random": state.random}, partial, metadata={"quantplay": text})


def on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu").contiguous()


def load_state(path: Path, identity: Digest, on_unfit: Callable[[str], None]) -> State | None:
    """What `save_state` wrote for the same `identity`; None where there is nothing, and where `on_unfit` is told why it can't be used."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        return None
    try:
        text = text_of(path)
        if text["identity"] != identity:
            on_unfit("the checkpoint is of another training (other data, settings, device or versions)")
            return None
        tensors = load_file(path)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        on_unfit(f"the checkpoint is damaged ({type(error).__name__})")
        return None
    body = text["progress"]
    body["curve"] = [CurvePoint.model_validate(point) for point in body["curve"]]
    return State(
        progress=Progress(**body), masters=role(tensors, "master"), first=role(tensors, "first"),
        second=role(tensors, "second"), best=role(tensors, "best"), random=tensors["random"],
    )  # fmt: skip


def step_of(path: Path) -> int | None:
    """Steps done in the state that lies there; None where there is none that can be read. Without torch."""
    from safetensors import SafetensorError

    try:
        return int(text_of(path)["progress"]["step"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None


def text_of(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return json.loads((file.metadata() or {})["quantplay"])


def role(tensors: Mapping[str, torch.Tensor], name: str) -> Tensors:
    # copies, because what is read from one file may share memory, and safetensors does not write such tensors
    return {
        key.removeprefix(f"{name}/"): tensor.clone() for key, tensor in tensors.items() if key.startswith(f"{name}/")
    }
