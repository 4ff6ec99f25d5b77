"""The parts of a transformers model that a scan runs one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantplay.errors import InputError

if TYPE_CHECKING:
    import torch


def parts_of(model: Any) -> tuple[torch.nn.Module, torch.nn.ModuleList, torch.nn.Module, torch.nn.Module]:
    """Embedding, blocks, last norm, output."""
    base = model.base_model
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    blocks, norm = getattr(base, "layers", None), getattr(base, "norm", None)
    if blocks is None or norm is None or head is None or embedding is None:
        raise unknown_parts(type(model).__name__)
    return embedding, blocks, norm, head


def unknown_parts(value: str) -> InputError:
    return InputError(
        "this architecture can't be scanned: it is not an embedding, blocks, a norm and an output matrix", value=value,
        allowed="models with the parts of Llama, such as Llama, Qwen, Mistral, Mixtral",
    )  # fmt: skip
