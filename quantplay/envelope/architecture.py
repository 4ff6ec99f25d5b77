"""Every tensor of a decoder model from its config.json alone: nothing has to be downloaded to know what a model takes.

The families are those of transformers' modelling files (models/NAME/modeling_NAME.py); names are GGUF's (gguf.constants), shapes
columns first, and experts are fused into one tensor a layer as llama.cpp's converter does. A test builds every family with
transformers and compares name by name. To add a family: one line in `FAMILIES`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from quantplay.envelope.mix import Shape
from quantplay.errors import Fault, InputError


@dataclass(frozen=True, kw_only=True)
class Family:
    """In what the models of one `model_type` differ from a Llama."""

    query_key_norms: bool = False  # norms of queries and keys, one a head size
    post_norms: bool = False  # norms after attention and feed-forward part as well (Gemma)
    biases: bool = False  # on query, key and value projections whatever the config says
    experts: bool = False  # a mixture of experts
    expert_size: str = "moe_intermediate_size"
    shared_expert: bool = False  # and one expert every token sees
    tied: bool = False  # what a config that does not say means


FAMILIES: dict[str, Family] = {
    "llama": Family(), "mistral": Family(),
    "qwen2": Family(biases=True), "qwen3": Family(query_key_norms=True),
    "gemma": Family(tied=True), "gemma2": Family(post_norms=True, tied=True),
    "gemma3_text": Family(post_norms=True, query_key_norms=True, tied=True),
    "gemma3": Family(post_norms=True, query_key_norms=True, tied=True),
    "mixtral": Family(experts=True, expert_size="intermediate_size"),
    "qwen2_moe": Family(biases=True, experts=True, shared_expert=True),
    "qwen3_moe": Family(query_key_norms=True, experts=True),
}  # fmt: skip
"""`model_type` of config.json -> what is special about it."""

ALTERNATING = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "mistral": 0, "mixtral": 0}
"""Every so-many-th layer attends to everything (0: none does), the others through a sliding window; for configs without
`layer_types`. Other families have a window only where their config lists its layers."""


@dataclass(kw_only=True)
class Sizes:
    """The numbers of a config, read once; every one that is missing or no positive whole number becomes a fault."""

    config: Mapping[str, Any]
    faults: list[Fault] = field(default_factory=list)

    def whole(self, key: str, default: int | None = None) -> int:
        value = self.config.get(key, default)
        if value is None and default is not None:
            value = default
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        self.faults.append(
            Fault(
                where=f"config.json: {key}", what="is no positive whole number", value=json.dumps(value), allowed="1, 2, ..."
            )
        )  # fmt: skip
        return 1


def family_of(model_type: str) -> Family:
    """Raises InputError on a type whose tensors are not known from its config."""
    if model_type not in FAMILIES:
        raise InputError(
            "this architecture's tensors can't be told from its config alone", value=model_type,
            allowed=", ".join(FAMILIES), fix="put the model's *.safetensors beside config.json: their headers tell",
        )  # fmt: skip
    return FAMILIES[model_type]


def tensors_of(config: Mapping[str, Any], model_type: str, *, layers: int, tied: bool) -> dict[str, Shape]:
    """GGUF name -> shape of every tensor of a model of this config. Raises InputError like `family_of` and on missing sizes."""
    family, sizes = family_of(model_type), Sizes(config=config)
    hidden, vocabulary = sizes.whole("hidden_size"), sizes.whole("vocab_size")
    tensors: dict[str, Shape] = {"token_embd.weight": (hidden, vocabulary), "output_norm.weight": (hidden,)}
    if not tied:
        tensors["output.weight"] = (hidden, vocabulary)
    for layer in range(layers):
        tensors |= {f"blk.{layer}.{name}": shape for name, shape in block_of(sizes, family, layer)}
    if sizes.faults:
        raise InputError("config.json does not say how large the model is", faults=list(dict.fromkeys(sizes.faults)))
    return tensors


def block_of(sizes: Sizes, family: Family, layer: int) -> Iterator[tuple[str, Shape]]:
    """Name behind `blk.N.` and shape of every tensor of one layer."""
    config, hidden, heads = sizes.config, sizes.whole("hidden_size"), sizes.whole("num_attention_heads")
    head = sizes.whole("head_dim", max(1, hidden // heads))
    queries, keys = heads * head, sizes.whole("num_key_value_heads", heads) * head
    yield from (("attn_norm.weight", (hidden,)), ("ffn_norm.weight", (hidden,)))
    yield from (("attn_q.weight", (hidden, queries)), ("attn_k.weight", (hidden, keys)))
    yield from (("attn_v.weight", (hidden, keys)), ("attn_output.weight", (queries, hidden)))
    if family.biases or config.get("attention_bias"):
        yield from (("attn_q.bias", (queries,)), ("attn_k.bias", (keys,)), ("attn_v.bias", (keys,)))
    if config.get("attention_bias") and not family.biases:
        yield "attn_output.bias", (hidden,)
    if family.query_key_norms:
        yield from (("attn_q_norm.weight", (head,)), ("attn_k_norm.weight", (head,)))
    if family.post_norms:
        yield from (("post_attention_norm.weight", (hidden,)), ("post_ffw_norm.weight", (hidden,)))
    if not has_experts(config, family, layer):
        yield from feed_forward(hidden, sizes.whole("intermediate_size"))
        return
    count = sizes.whole("num_experts" if config.get("num_experts") is not None else "num_local_experts")
    yield "ffn_gate_inp.weight", (hidden, count)
    for name, shape in feed_forward(hidden, sizes.whole(family.expert_size)):
        yield name.replace(".weight", "_exps.weight"), (*shape, count)
    if family.shared_expert:
        yield "ffn_gate_inp_shexp.weight", (hidden, 1)
        for name, shape in feed_forward(hidden, sizes.whole("shared_expert_intermediate_size")):
            yield name.replace(".weight", "_shexp.weight"), shape


def feed_forward(hidden: int, inner: int) -> tuple[tuple[str, Shape], ...]:
    return (
        ("ffn_gate.weight", (hidden, inner)), ("ffn_up.weight", (hidden, inner)), ("ffn_down.weight", (inner, hidden)),
    )  # fmt: skip


def has_experts(config: Mapping[str, Any], family: Family, layer: int) -> bool:
    """Whether this layer's feed-forward part is a mixture of experts."""
    step = config.get("decoder_sparse_step") or 1
    return family.experts and layer not in (config.get("mlp_only_layers") or ()) and (layer + 1) % step == 0


def window_of(config: Mapping[str, Any], model_type: str, layers: int) -> tuple[int, int]:
    """(tokens of the sliding window, layers that have one); (0, 0) where every layer attends to everything."""
    window = config.get("sliding_window")
    if not isinstance(window, int) or window <= 0 or config.get("use_sliding_window") is False:
        return 0, 0
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        sliding = sum(kind == "sliding_attention" for kind in kinds[:layers])
    elif model_type in ALTERNATING:
        step = config.get("sliding_window_pattern") or ALTERNATING[model_type]
        sliding = layers - layers // step if isinstance(step, int) and step > 0 else layers
    else:
        sliding = 0
    return (window, sliding) if sliding else (0, 0)
