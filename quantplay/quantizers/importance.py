"""Importance matrix: how strongly each input column of each linear layer is used on the calibration texts.

value[j] = mean over all tokens of x[j]^2, x the layer's input: what llama.cpp's quantizer weighs its rounding errors with
(tools/imatrix of llama.cpp). Here it is measured by torch hooks on the source model in float32, before any conversion.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from quantplay.digest import canonical_json
from quantplay.engines.tensor_names import name_table
from quantplay.engines.transformers_model import load_model, load_tokenizer
from quantplay.engines.whole_file import written_whole
from quantplay.errors import Fault, InputError
from quantplay.evalset import read_texts, require_finite_weights
from quantplay.quantizers.importance_experts import watched_experts
from quantplay.records import Digest

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class ImportanceMatrix:
    """Mean squared inputs."""

    values: dict[str, np.ndarray]  # GGUF tensor name -> float32, shape (columns,); experts' columns one after the other
    samples: int  # texts it was measured on
    tokens: int  # all tokens of those texts

    def digest(self) -> Digest:
        """Over names, values and counts; independent of how it is stored."""
        sha = hashlib.sha256(canonical_json({"samples": self.samples, "tokens": self.tokens}))
        for name in sorted(self.values):
            sha.update(name.encode() + b"\0" + self.values[name].astype("<f4").tobytes())
        return sha.hexdigest()


def measure_importance(
    model_folder: Path, texts: Sequence[str], *, tokens: int, threads: int, on_progress: Progress | None = None
) -> ImportanceMatrix:
    """Run `texts`, each cut to `tokens` tokens, through the model and average the squared inputs of its blocks' linear layers.

    Float32 on the CPU with `threads` threads; the same inputs and threads give the same bytes. The embedding and the output
    matrix are left out, as in llama.cpp. Raises InputError on weights or activations that are not finite and on texts without
    tokens.
    """
    tokenizer = load_tokenizer(model_folder)
    samples = [list(tokenizer(text, truncation=True, max_length=tokens)["input_ids"]) for text in texts]
    return importance_of_tokens(model_folder, samples, threads=threads, on_progress=on_progress)


def importance_of_tokens(
    model_folder: Path, samples: Sequence[Sequence[int]], *, threads: int, on_progress: Progress | None = None
) -> ImportanceMatrix:
    """The same over samples that are tokens already, each seen from an empty context."""
    import torch

    require_finite_weights(model_folder)
    model = load_model(model_folder, dtype="float32")
    layers = linear_layers(model)
    sums: dict[str, torch.Tensor] = {}
    seen = 0
    with fixed_threads(threads), watched(layers, sums), watched_experts(model) as experts, torch.inference_mode():
        for index, sample in enumerate(samples):
            if not sample:
                raise InputError("a calibration text has no tokens", value=f"sample {index + 1} of {len(samples)}")
            # The blocks are all that is watched, so the costly last matrix is not needed.
            model.base_model(input_ids=torch.tensor([list(sample)]), use_cache=False)
            seen += len(sample)
            if on_progress is not None:
                on_progress(index + 1, len(samples), "calibration texts")
    if seen == 0:
        raise InputError("there are no calibration texts", allowed="at least one", fix="raise calibration.samples")
    values = {name: (total / seen).to(torch.float32).numpy() for name, total in sorted(sums.items())}
    values |= experts.values()
    require_finite_values(values)
    return ImportanceMatrix(values=values, samples=len(samples), tokens=seen)


def linear_layers(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """GGUF tensor name -> layer, for every linear layer inside a block."""
    import torch
    from transformers.pytorch_utils import Conv1D

    names, config = name_table(model), cast("Any", model.config)
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D):
            gguf_name = names.get_name(f"{name}.weight", try_suffixes=(".weight",))
            if gguf_name is not None and gguf_name.startswith("blk."):
                found[gguf_name] = module
    if not found:
        raise InputError(
            "no linear layer of this model has a name llama.cpp knows", value=config.model_type,
            allowed="an architecture of gguf.MODEL_ARCH_NAMES", fix="choose a type above 4 bits, which needs no importance matrix",
        )  # fmt: skip
    return found


@contextmanager
def watched(layers: dict[str, torch.nn.Module], sums: dict[str, torch.Tensor]) -> Iterator[None]:
    """While the block runs, add the squared inputs of `layers` into `sums`, float64, shape (columns,)."""
    import torch

    def hook(name: str) -> Callable[..., None]:
        def add(_module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            rows = arguments[0].reshape(-1, arguments[0].shape[-1])
            total = rows.square().sum(dim=0, dtype=torch.float64)
            sums[name] = sums[name] + total if name in sums else total

        return add

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def fixed_threads(threads: int) -> Iterator[None]:
    """Sums depend on how they are split, so the thread count is part of the recipe."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def require_finite_values(values: dict[str, np.ndarray]) -> None:
    faults = [
        Fault(where=name, what="the layer's inputs are NaN or infinite in float32")
        for name, array in values.items()
        if not np.isfinite(array).all()
    ]
    if faults:
        raise InputError(
            "the model overflows on the calibration texts", faults=faults, fix="check the model's config.json"
        )


# --- files ---------------------------------------------------------------------------------------------------------


def save_importance(matrix: ImportanceMatrix, path: Path) -> None:
    """Write it as safetensors; equal matrices give equal bytes."""
    from safetensors.numpy import save

    counts = json.dumps({"samples": matrix.samples, "tokens": matrix.tokens}, sort_keys=True)
    with written_whole(path) as partial:
        partial.write_bytes(save(dict(sorted(matrix.values.items())), metadata={"quantplay": counts}))


def load_importance(path: Path) -> ImportanceMatrix:
    """Read what `save_importance` wrote. Raises InputError on anything else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            counts = json.loads((file.metadata() or {})["quantplay"])
            values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        matrix = ImportanceMatrix(values=values, samples=int(counts["samples"]), tokens=int(counts["tokens"]))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is no importance matrix", value=error, fix="measure it again") from error
    if any(array.dtype != np.float32 or array.ndim != 1 for array in values.values()):
        raise InputError(f"{path} is no importance matrix", allowed="float32 vectors")
    require_finite_values(values)
    return matrix


def calibration_texts(file: Path, samples: int) -> list[str]:
    """The first `samples` texts of a calibration file; all of it where it holds fewer."""
    return [sample.text for sample in read_texts(file)[:samples]]


def importance_job(payload: dict[str, Any], report: Progress) -> dict[str, Any]:
    """Job of quantplay.process. payload: model, calibration, samples, tokens, threads, out. Returns digest, samples, tokens."""
    texts = calibration_texts(Path(payload["calibration"]), payload["samples"])
    matrix = measure_importance(
        Path(payload["model"]), texts, tokens=payload["tokens"], threads=payload["threads"], on_progress=report
    )
    save_importance(matrix, Path(payload["out"]))
    return {"digest": matrix.digest(), "samples": matrix.samples, "tokens": matrix.tokens}
