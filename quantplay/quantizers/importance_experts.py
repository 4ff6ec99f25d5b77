"""Importance of experts that transformers keeps as one 3-D parameter: the mean squared inputs of each expert.

They are no linear layers, so a hook can't see their inputs. transformers lets the computation of experts be replaced by name; here it
is the plain one with a sum beside it. An expert that no token reached weighs its columns equally, as in llama.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from quantplay.errors import InputError

if TYPE_CHECKING:
    import torch

NAME = "quantplay_watched"
EXPERTS = re.compile(r"layers\.(\d+)\..*experts$")


@dataclass
class ExpertSums:
    """Squared inputs by GGUF tensor name, float64 (experts, columns), and the tokens each expert saw (experts,)."""

    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    counts: dict[str, torch.Tensor] = field(default_factory=dict)

    def add(self, name: str, experts: int, expert: int, inputs: torch.Tensor) -> None:
        import torch

        if name not in self.sums:
            self.sums[name] = torch.zeros(experts, inputs.shape[-1], dtype=torch.float64)
            self.counts[name] = torch.zeros(experts, dtype=torch.int64)
        self.sums[name][expert] += inputs.square().sum(dim=0, dtype=torch.float64)
        self.counts[name][expert] += len(inputs)

    def values(self) -> dict[str, np.ndarray]:
        """Float32 vectors, the experts' columns one after the other."""
        import torch

        found = {}
        for name, total in sorted(self.sums.items()):
            count = self.counts[name][:, None]
            mean = torch.where(count > 0, total / count.clamp(min=1), 1.0)
            found[name] = mean.to(torch.float32).flatten().numpy()
        return found


@contextmanager
def watched_experts(model: torch.nn.Module) -> Iterator[ExpertSums]:
    """While the block runs, add up the inputs of every fused expert of `model`. Raises InputError on layouts of another kind."""
    found = ExpertSums()
    modules = {
        id(module): match[1]
        for name, module in model.named_modules()
        if (match := EXPERTS.search(name)) and getattr(getattr(module, "gate_up_proj", None), "ndim", 0) == 3
    }
    if not modules:
        yield found
        return
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    def forward(self: Any, states: torch.Tensor, chosen: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """states (tokens, hidden); chosen and shares (tokens, experts a token)."""
        import torch

        if self.is_transposed or self.has_bias or not self.has_gate:
            raise InputError("experts of this layout can't be measured yet", value=type(self).__name__)
        block, out = modules[id(self)], torch.zeros_like(states)
        for expert in range(self.num_experts):
            tokens, slots = torch.where(chosen == expert)
            if not len(tokens):
                continue
            inputs = states[tokens]
            inner = self._apply_gate(torch.nn.functional.linear(inputs, self.gate_up_proj[expert]))
            for part in ("gate", "up"):
                found.add(f"blk.{block}.ffn_{part}_exps.weight", self.num_experts, expert, inputs)
            found.add(f"blk.{block}.ffn_down_exps.weight", self.num_experts, expert, inner)
            made = torch.nn.functional.linear(inner, self.down_proj[expert]) * shares[tokens, slots, None]
            out.index_add_(0, tokens, made.to(out.dtype))
        return out

    ALL_EXPERTS_FUNCTIONS.register(NAME, forward)
    config: Any = model.config
    before = config._experts_implementation
    config._experts_implementation = NAME
    try:
        yield found
    finally:
        config._experts_implementation = before
