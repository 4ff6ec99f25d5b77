"""What llama.cpp calls the tensors of a transformers model."""

from __future__ import annotations

from typing import Any


def name_table(model: Any) -> Any:
    """gguf's own table of names for this architecture (`get_name(name, try_suffixes=...)`); Llama's where it knows no other."""
    import gguf

    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    architectures = {name: architecture for architecture, name in gguf.MODEL_ARCH_NAMES.items()}
    architecture = architectures.get(str(config.model_type), gguf.MODEL_ARCH.LLAMA)
    return gguf.get_tensor_name_map(architecture, int(config.num_hidden_layers))


def gguf_names(model: Any) -> dict[str, str]:
    """Parameter -> GGUF name, for those that the table knows."""
    table = name_table(model)
    found = {name: table.get_name(name, try_suffixes=(".weight", ".bias")) for name, _ in model.named_parameters()}
    return {name: other for name, other in found.items() if other is not None}
