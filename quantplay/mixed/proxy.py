"""Gradient proxies for models with too many groups to measure, from a few backward passes at the all-low model.

At the full-precision point the gradient of the KL divergence is zero and says nothing. At the all-low model two gradients do:

- `gains`: of the KL divergence itself. To first order, taking group g's weights from the low ones back to full precision changes
  the damage by -<gradient, low - full>. It holds what the other groups' errors add, so it ranks restored groups, not isolated ones.
- `scores`: of the log-likelihood of tokens drawn from the model's own predictions. The expectation of their outer product is the Fisher
  information F, and the KL divergence of a small change d of the weights is d'Fd / 2 (Kullback 1959, chapter 2), so the mean of
  <score, low - full>^2 / 2 over draws is the damage of the group alone. Scores of different positions are uncorrelated, so that one
  backward pass does for all of a sequence's.
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

DRAWS = 8  # of a sequence's tokens; a score's square has one degree of freedom, so the estimate needs many


def proxies(simulator: Simulator, base: Mapping[str, str], sequences: slice) -> dict[str, dict[str, float]]:
    """`gains` and `scores`: group -> nats a position, in the model with every group stored as `base` says.

    One forward and 1 + DRAWS backward passes over `sequences`; a backward pass counts as two forward.
    """
    import torch

    numbers = np.arange(len(simulator.rows))[sequences]
    layout, weights = simulator.layout(base), simulator.weights
    gains, scores = dict.fromkeys(simulator.groups, 0.0), dict.fromkeys(simulator.groups, 0.0)
    parameters = [weights.parameters[name] for name in weights.tensors_in]
    count = len(simulator.positions)
    with fixed_threads(simulator.threads):
        simulator.put_all(base)
        for parameter in weights.parameters.values():
            parameter.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)
        try:
            for number in numbers:
                part = torch.tensor([int(number)])
                draw = torch.Generator().manual_seed(int(number))
                with torch.no_grad():
                    reference = simulator.log_probabilities(simulator.kept[0].inputs[-1][part], ())
                state = simulator.embedded(part, layout)
                for block, types in enumerate(layout.blocks):
                    state = simulator.through(block, types, state)
                changed = simulator.log_probabilities(state, layout.head)
                damage = (reference.exp() * (reference - changed)).sum(dim=-1).mean()
                for name, slope in slopes(simulator, damage, parameters).items():
                    gains[name] += slope / len(numbers)
                for _ in range(DRAWS):
                    tokens = torch.multinomial(changed[0].detach().exp(), 1, generator=draw)
                    likelihood = changed[0].gather(1, tokens).sum()
                    for name, slope in slopes(simulator, likelihood, parameters).items():
                        scores[name] += slope**2 / (2 * count * DRAWS * len(numbers))
        finally:
            for parameter in parameters:
                parameter.requires_grad_(False)
            simulator.restore()
    passes = 2 * (1 + DRAWS) * len(numbers)
    simulator.block_forward_tokens += passes * simulator.rows.shape[1] * len(simulator.blocks)
    return {"gains": gains, "scores": scores}


def slopes(simulator: Simulator, value: torch.Tensor, parameters: list[torch.nn.Parameter]) -> dict[str, float]:
    """Group -> <gradient of `value`, low - full>."""
    import torch

    weights = simulator.weights
    gradients = dict(zip(weights.tensors_in, torch.autograd.grad(value, parameters, retain_graph=True), strict=True))
    found = {}
    for group in simulator.groups.values():
        total = 0.0
        for piece in (piece for name in group.tensors for piece in weights.pieces[name]):
            parameter = weights.parameters[piece.parameter]
            moved = cut(parameter.data, piece) - cut(weights.full[piece.parameter], piece)
            total += float((cut(gradients[piece.parameter], piece) * moved).sum(dtype=torch.float64))
        found[group.name] = total
    return found
