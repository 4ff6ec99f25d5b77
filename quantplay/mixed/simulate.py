"""The full-precision model in torch with any groups stored as any served types, and how far its predictions then move.

The inputs of every block are kept from one forward of the full-precision model (and of other models on request), so that a changed
group costs only its own block and those after it. The cost is counted in block-forward-tokens: one block over one token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantplay.digest import digest_of
from quantplay.engines.transformers_model import load_model
from quantplay.errors import Fault, InputError
from quantplay.mixed.layout import Kept, Layout, require_rows, scored_positions
from quantplay.mixed.parts import parts_of, unknown_parts
from quantplay.mixed.served import Served
from quantplay.mixed.tensors import Weights
from quantplay.quantizers.importance import fixed_threads

if TYPE_CHECKING:
    import torch

Assignment = Mapping[str, str]
"""Group name -> type; groups left out stay in full precision."""
ROWS_AT_ONCE = 8
LOGIT_TOLERANCE = 1e-3  # of the largest logit: float32 sums in another order


@dataclass(frozen=True, kw_only=True)
class Damage:
    """KL(full precision || changed), nats a position."""

    values: tuple[float, ...]  # mean over the scored positions of each sequence

    @property
    def mean_nats(self) -> float:
        return float(np.mean(self.values))

    @property
    def standard_error(self) -> float:
        """Over sequences: positions of one text are not independent."""
        return float(np.std(self.values, ddof=1) / len(self.values) ** 0.5)


class Simulator:
    """One model on fixed token rows. Not safe for threads."""

    def __init__(
        self,
        model_folder: Path,
        served: Served,
        rows: np.ndarray,
        *,
        threads: int,
        positions: int | None = None,
    ) -> None:
        """rows: token ids (sequences, tokens). positions: how many of a row's second half are scored, evenly spaced; None: all.

        Raises InputError where there are too few rows, weights that are not finite, or an architecture without Llama's parts.
        """
        require_rows(rows)
        self.threads, self.rows, self.served = threads, rows, served
        self.groups = {group.name: group for group in served.groups}
        self.block_forward_tokens = 0
        self.positions = scored_positions(rows.shape[1], positions)
        with fixed_threads(threads):
            self.model = load_model(model_folder)
            self.weights = Weights(self.model, served, threads)
            self.embedding, self.blocks, self.norm, self.head = parts_of(self.model)
            self.block_arguments = self.watched_arguments()
            self.kept: list[Kept] = []
            self.keep({})
            self.require_equal_logits()

    def identity(self) -> str:
        """Digest of all that determines a measurement, but for the assignment."""
        return digest_of({"model": self.served.model(), "importance": self.served.importance(),
                          "rows": self.rows_digest, "positions": self.positions.tolist(), "threads": self.threads,
                          "versions": versions(self.served.packages)})  # fmt: skip

    @property
    def rows_digest(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.rows, dtype="<i8").tobytes()).hexdigest()

    def damage(self, assignment: Assignment) -> Damage:
        """Damage of the model with these groups stored so, over all rows."""
        return self.damages([assignment])[0]

    def damages(self, assignments: Sequence[Assignment], sequences: slice = slice(None)) -> list[Damage]:
        """The same for several assignments at once, over some rows: blocks in which they agree run them in one batch.

        The values depend in their last bits on which assignments run together.
        """
        import torch

        layouts = [self.layout(assignment) for assignment in assignments]
        numbers = np.arange(len(self.rows))[sequences]
        values: list[list[float]] = [[] for _ in layouts]
        with fixed_threads(self.threads), torch.inference_mode():
            for start in range(0, len(numbers), ROWS_AT_ONCE):
                part = torch.from_numpy(numbers[start : start + ROWS_AT_ONCE])
                reference = self.log_probabilities(self.kept[0].inputs[-1][part], ())
                states = self.run(layouts, part)
                for index, (layout, state) in enumerate(zip(layouts, states, strict=True)):
                    changed = self.log_probabilities(state, layout.head)
                    kl = (reference.exp() * (reference - changed)).sum(dim=-1).clamp(min=0)  # rounding near 0
                    values[index] += kl.mean(dim=1).tolist()
            self.restore()
        return [Damage(values=tuple(row)) for row in values]

    def keep(self, assignment: Assignment) -> None:
        """Keep every block's inputs of the model with `assignment`, so that models near it restart from there."""
        import torch

        layout = self.layout(assignment)
        with fixed_threads(self.threads), torch.inference_mode():
            inputs: list[list[torch.Tensor]] = [[] for _ in range(len(self.blocks) + 1)]
            for start in range(0, len(self.rows), ROWS_AT_ONCE):
                part = torch.arange(start, min(start + ROWS_AT_ONCE, len(self.rows)))
                state = self.embedded(part, layout)
                for block, types in enumerate(layout.blocks):
                    inputs[block].append(state)
                    state = self.through(block, types, state)
                inputs[-1].append(state)
            self.restore()
        self.kept.append(Kept(layout, tuple(torch.cat(parts) for parts in inputs)))

    # --- the forward pass ------------------------------------------------------------------------------------------

    def layout(self, assignment: Assignment) -> Layout:
        unknown = [name for name in assignment if name not in self.groups]
        if unknown:
            raise InputError(
                "no such groups",
                faults=[Fault(where=name, what="is no group of this model", allowed=", ".join(self.groups)) for name in unknown],
            )  # fmt: skip
        if assignment:
            self.served.in_order(assignment.values())
        by_place: dict[int | str, list[tuple[str, str]]] = {}
        for name, kind in assignment.items():
            group = self.groups[name]
            for tensor in group.tensors:
                place = group.block if group.block is not None else tensor
                by_place.setdefault(place, []).append((tensor, kind))
        embedding = tuple(by_place.get(self.served.embedding or "", ()))
        head = tuple(by_place.get(self.served.output or "", ()))
        blocks = tuple(tuple(sorted(by_place.get(block, ()))) for block in range(len(self.blocks)))
        return Layout(embedding, blocks, head)

    def run(self, layouts: Sequence[Layout], part: torch.Tensor) -> list[torch.Tensor]:
        """Final hidden states (rows, tokens, hidden) of each layout, each from the nearest kept model."""
        import torch

        starts, states = [], []
        for layout in layouts:
            base = max(self.kept, key=lambda kept, layout=layout: layout.shared_with(kept.layout))
            shared = layout.shared_with(base.layout)
            starts.append(max(shared, 0))
            states.append(self.embedded(part, layout) if shared < 0 else base.inputs[shared][part])
        for block in range(min(starts), len(self.blocks)):
            together: dict[tuple[tuple[str, str], ...], list[int]] = {}
            for index, layout in enumerate(layouts):
                if starts[index] <= block:
                    together.setdefault(layout.blocks[block], []).append(index)
            for types, members in together.items():
                out = self.through(block, types, torch.cat([states[index] for index in members]))
                for index, state in zip(members, out.split(len(part)), strict=True):
                    states[index] = state
        return states

    def embedded(self, part: torch.Tensor, layout: Layout) -> torch.Tensor:
        import torch

        self.weights.put([self.served.embedding] if self.served.embedding else [], dict(layout.embedding))
        return self.embedding(torch.from_numpy(self.rows)[part])

    def through(self, block: int, types: Sequence[tuple[str, str]], state: torch.Tensor) -> torch.Tensor:
        self.weights.put(self.tensors_of(block), dict(types))
        out = self.blocks[block](state, **self.block_arguments[block])
        self.block_forward_tokens += state.shape[0] * state.shape[1]
        return out[0] if isinstance(out, tuple) else out

    def log_probabilities(self, state: torch.Tensor, head: Sequence[tuple[str, str]]) -> torch.Tensor:
        """(rows, positions, vocabulary), float64, at the scored positions."""
        self.weights.put([name for name in (self.served.embedding, self.served.output) if name], dict(head))
        logits = self.head(self.norm(state[:, self.positions]))
        return logits.double().log_softmax(dim=-1)

    def tensors_of(self, block: int | None) -> list[str]:
        return [name for group in self.groups.values() if group.block == block for name in group.tensors]

    def restore(self) -> None:
        """Full precision everywhere."""
        self.weights.put(list(self.weights.shapes), {})

    def put_all(self, assignment: Assignment) -> None:
        """These groups' types in the model's own parameters, full precision elsewhere, until `restore`."""
        types = {name: kind for group, kind in assignment.items() for name in self.groups[group].tensors}
        self.weights.put(list(self.weights.shapes), types)

    def watched_arguments(self) -> list[dict[str, Any]]:
        """What the model itself hands each block beside the hidden state, for one row; it is the same for every row."""
        import torch

        seen: list[dict[str, Any]] = []
        hooks = [
            block.register_forward_pre_hook(lambda _, __, named: seen.append(named), with_kwargs=True)
            for block in self.blocks
        ]
        try:
            with torch.no_grad():  # inference mode would keep them out of the proxy's backward pass
                self.model.base_model(input_ids=torch.from_numpy(self.rows[:1]), use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        return [{name: value for name, value in named.items() if name != "hidden_states"} for named in seen]

    def require_equal_logits(self) -> None:
        """Our way through the parts gives what the model itself gives, or this architecture can't be scanned."""
        import torch

        with torch.inference_mode():
            whole = self.model(input_ids=torch.from_numpy(self.rows[:1]), use_cache=False).logits[:, self.positions]
            ours = self.head(self.norm(self.kept[0].inputs[-1][:1][:, self.positions]))
        if not torch.isfinite(whole).all():
            raise InputError("the full-precision model's predictions are NaN or infinite", fix="check the weights")
        off = float((whole - ours).abs().max() / whole.abs().max())
        if off > LOGIT_TOLERANCE:
            raise unknown_parts(f"logits differ by {off:.2g} of the largest")


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Of the libraries that run the model, and of these."""
    from importlib import metadata

    return {name: metadata.version(name) for name in ("torch", "transformers", *packages)}
