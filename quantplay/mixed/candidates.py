"""Mixes as files: their exact bytes before they are made, how they are made and measured, and what they are compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantplay.digest import digest_of
from quantplay.engines.gguf_header import GgufHeader
from quantplay.engines.llama_cpp import LlamaModel
from quantplay.engines.llama_quantize import quantize_file
from quantplay.envelope.mix import BULK, FULL_PRECISION, Shape, stored_bytes, stored_types
from quantplay.formats import types_of
from quantplay.harness.divergence import measure_divergence
from quantplay.mixed.groups import Group, group_types
from quantplay.mixed.journal import Journal
from quantplay.process import Report
from quantplay.quantizers.gguf import IMPORTANCE_KEY, RECIPE_KEY
from quantplay.quantizers.importance import load_importance
from quantplay.quantizers.overrides import layers_of
from quantplay.records.mix import GroupOptions, TypeOption
from quantplay.records.sensitivity import Sensitivity

FEWEST_CHUNKS = 16
SHORTEST_CONTEXT = 32  # tokens
ALIGNMENT = 32  # bytes; every tensor of a GGUF starts at a multiple
METADATA_BYTES = 512  # what our own keys may add to the header
LEAST_BITS = 2.0  # llama.cpp's own mixes that aim lower are made for few models and no rivals of others


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file to make and measure."""

    name: str
    ftype: int  # llama.cpp's number of the mix that tensors without an override take
    tensor_types: Mapping[str, str]  # tensor -> ggml type


def padded(size: int) -> int:
    """Bytes of a tensor in a GGUF file, with those up to the next tensor."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def options_of(sensitivity: Sensitivity, shapes: Mapping[str, Shape]) -> tuple[GroupOptions, ...]:
    """What every group may take: bytes as in the file, damage from the scan."""
    found = []
    for one in sensitivity.groups:
        group = Group(name=one.group, tensors=one.tensors, block=one.block, weights=one.weights)
        stored = {damage.kind: group_types(group, damage.kind, shapes) for damage in one.types}
        options = tuple(
            TypeOption(
                kind=damage.kind,
                stored_bytes=sum(
                    padded(stored_bytes(kind, shapes[name])) for name, kind in stored[damage.kind].items()
                ),
                damage_nats=max(0.0, damage.mean_kl_nats),
                measured=damage.how == "measured",
            )
            for damage in one.types
        )
        known = [option.kind for option in options]
        base = sensitivity.base if sensitivity.base in known else known[-1]
        found.append(
            GroupOptions(
                group=one.group, tensors=stored, types=options, gain_nats=one.restored_gain_nats, base=base
            )
        )  # fmt: skip
    return tuple(found)


def bytes_beside(header: GgufHeader, size_bytes: int, groups: Sequence[GroupOptions]) -> int:
    """Bytes of a quantized file that no group takes: header, norms, biases. From the full-precision file of `size_bytes`."""
    inside = {name for group in groups for name in next(iter(group.tensors.values()))}
    return (
        size_bytes
        - sum(padded(tensor.size_bytes) for name, tensor in header.tensors.items() if name in inside)
        + METADATA_BYTES
    )


def tensor_types_of(groups: Sequence[GroupOptions], mix: Mapping[str, str]) -> dict[str, str]:
    """Tensor -> the type it is stored as."""
    return {name: kind for group in groups for name, kind in group.tensors[mix[group.group]].items()}


def llama_mixes(header: GgufHeader, file: Path, *, importance: bool, also: str) -> dict[str, dict[str, str]]:
    """Name of llama.cpp's own mix -> tensor -> type, of every mix that can be made here and is of use to most models, and `also`."""
    shapes = {name: tensor.shape for name, tensor in header.tensors.items()}
    layers, heads = layers_of(header, file)
    return {
        name: stored_types(shapes, name, layers=layers, heads_per_group=heads, importance=importance)
        for name, kind in types_of("llama.cpp").items()
        if BULK[name] not in FULL_PRECISION
        and kind.ftype is not None
        and (kind.bits_per_weight >= LEAST_BITS or name == also)
        and (importance or not kind.needs_importance_matrix)
    }


def mix_bytes(types: Mapping[str, str], shapes: Mapping[str, Shape], inside: set[str]) -> int:
    """Bytes of the tensors `inside` groups, padding included."""
    return sum(padded(stored_bytes(kind, shapes[name])) for name, kind in types.items() if name in inside)


def measure_job(payload: dict[str, Any], report: Report) -> list[dict[str, Any]]:
    """Job: make every candidate in `folder`, measure it against `reference`, delete it; finished ones are in `journal`.

    payload: reference (GGUF), importance (file or null), candidates (name, ftype, tensor_types), text (file), context_tokens, folder,
    journal, threads. Returns for each its size_bytes, tokens, mean_kl_nats, mean_kl_se.
    """
    reference, folder = Path(payload["reference"]), Path(payload["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    matrix = load_importance(Path(payload["importance"])) if payload["importance"] else None
    text = Path(payload["text"]).read_text(encoding="utf-8")
    asked = {"reference": payload["reference_digest"], "importance": matrix.digest() if matrix else None,
             "text": digest_of(text), "context": payload["context_tokens"]}  # fmt: skip
    journal = Journal(Path(payload["journal"]), digest_of(asked))
    context = fitting_context(reference, text, payload["context_tokens"], payload["threads"])
    keys = [RECIPE_KEY, *([IMPORTANCE_KEY] if matrix else [])]
    metadata = dict.fromkeys(keys, "0" * 64)  # as long as the real ones
    found = []
    for number, candidate in enumerate(payload["candidates"]):
        unit = digest_of([candidate["ftype"], candidate["tensor_types"]])
        body = journal.get(unit)
        if body is None:
            file = folder / f"candidate-{number}.gguf"
            try:
                quantize_file(
                    reference, file, ftype=candidate["ftype"], threads=payload["threads"],
                    importance=matrix.values if matrix else None, tensor_types=candidate["tensor_types"],
                    metadata=metadata,
                )  # fmt: skip
                one = measure_divergence(reference, file, [text], context_tokens=context, threads=payload["threads"])
                body = {"size_bytes": file.stat().st_size, "tokens": one.tokens,
                        "mean_kl_nats": one.mean_kl_nats, "mean_kl_se": one.mean_kl_se}  # fmt: skip
            finally:
                file.unlink(missing_ok=True)
            journal.put(unit, body)
        found.append(body)
        report(number + 1, len(payload["candidates"]), "mixes made and measured")
    return found


def fitting_context(reference: Path, text: str, context_tokens: int, threads: int) -> int:
    """`context_tokens`, halved until the text gives enough chunks for a standard error."""
    with LlamaModel(reference, threads=threads, context_tokens=context_tokens) as model:
        tokens = len(model.tokenize(text))
    while tokens // context_tokens < FEWEST_CHUNKS and context_tokens >= 2 * SHORTEST_CONTEXT:
        context_tokens //= 2
    return context_tokens


def as_payload(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """JSON for `measure_job`."""
    return [json.loads(json.dumps(vars(one), default=dict)) for one in candidates]
