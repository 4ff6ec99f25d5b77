"""A gradient proxy for models with too many groups to measure: what restoring each group would gain, from one backward pass.

At the full-precision point the gradient of the KL divergence is zero and says nothing. At the all-low model it is not: to first
order, taking group g's weights from the low ones back to full precision changes the damage by -<gradient, low - full>.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from quantplay.mixed.simulate import Simulator
from quantplay.mixed.tensors import cut
from quantplay.quantizers.importance import fixed_threads

if TYPE_CHECKING:
    import torch


def restored_gains(simulator: Simulator, base: Mapping[str, str], sequences: slice) -> dict[str, float]:
    """Group -> first-order gain in nats a position of restoring it in the model with every group stored as `base` says.

    One forward and one backward pass over `sequences`, counted as three forward.
    """
    import torch

    numbers = np.arange(len(simulator.rows))[sequences]
    layout = simulator.layout(base)
    gains = dict.fromkeys(simulator.groups, 0.0)
    weights = simulator.weights
    with fixed_threads(simulator.threads):
        simulator.put_all(base)
        parameters = {name: weights.parameters[name] for name in weights.tensors_in}
        for parameter in weights.parameters.values():
            parameter.requires_grad_(False)
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        try:
            for number in numbers:
                part = torch.tensor([int(number)])
                with torch.no_grad():
                    reference = simulator.log_probabilities(simulator.kept[0].inputs[-1][part], ())
                state = simulator.embedded(part, layout)
                for block, types in enumerate(layout.blocks):
                    state = simulator.through(block, types, state)
                changed = simulator.log_probabilities(state, layout.head)
                (reference.exp() * (reference - changed)).sum(dim=-1).mean().backward()
                for group in simulator.groups.values():
                    gains[group.name] += sum(first_order(simulator, name, parameters) for name in group.tensors) / len(
                        numbers
                    )
                for parameter in parameters.values():
                    parameter.grad = None
        finally:
            for parameter in parameters.values():
                parameter.requires_grad_(False)
            simulator.restore()
    simulator.block_forward_tokens += 2 * len(numbers) * simulator.rows.shape[1] * len(simulator.blocks)
    return gains


def first_order(simulator: Simulator, tensor: str, parameters: Mapping[str, torch.nn.Parameter]) -> float:
    """<gradient, low - full> of one GGUF tensor."""
    import torch

    total = 0.0
    for piece in simulator.weights.pieces[tensor]:
        parameter = parameters[piece.parameter]
        assert parameter.grad is not None
        moved = cut(parameter.data, piece) - cut(simulator.weights.full[piece.parameter], piece)
        total += float(torch.sum(cut(parameter.grad, piece).double() * moved.double()))
    return total
