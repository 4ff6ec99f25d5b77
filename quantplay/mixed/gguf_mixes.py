"""Mixes as GGUF files: their exact bytes before they are made, how they are made and measured, and what they are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantplay.digest import digest_of, digest_of_file
from quantplay.engines.gguf_header import GgufHeader, read_gguf_header
from quantplay.engines.llama_quantize import quantize_file
from quantplay.envelope.mix import BULK, FULL_PRECISION, Shape, stored_bytes, stored_types
from quantplay.formats import TYPES, types_of
from quantplay.harness.divergence import measure_divergence
from quantplay.mixed.allocate import Mix
from quantplay.mixed.groups import Group, group_types
from quantplay.mixed.journal import Journal
from quantplay.mixed.mixes import Candidate, bytes_held, fitting_context, tensor_types_of
from quantplay.process import Report
from quantplay.quantizers.gguf import IMPORTANCE_KEY, RECIPE_KEY
from quantplay.quantizers.importance import load_importance
from quantplay.quantizers.overrides import layers_of
from quantplay.records.mix import GroupOptions, MeasuredMix, Origin, TypeOption
from quantplay.records.sensitivity import Sensitivity

FTYPE = 7  # llama.cpp's number of Q8_0: where every matrix is named nothing takes it
ALIGNMENT = 32  # bytes; every tensor of a GGUF starts at a multiple
METADATA_BYTES = 512  # what our own keys may add to the header
LEAST_BITS = 2.0  # llama.cpp's own mixes that aim lower are made for few models and no rivals of others


class GgufMixes:
    """What llama.cpp makes of a full-precision GGUF, with an importance matrix or without."""

    job = "quantplay.mixed.gguf_mixes:measure_job"

    def __init__(self, sensitivity: Sensitivity, reference: Path, importance: Path | None) -> None:
        self.sensitivity, self.reference, self.importance_file = sensitivity, reference, importance
        self.header: GgufHeader = read_gguf_header(reference)
        self.shapes = {name: tensor.shape for name, tensor in self.header.tensors.items()}
        self.digest = digest_of_file(reference)
        self.full_bytes = reference.stat().st_size
        self.groups = options_of(sensitivity, self.shapes)
        self.beside = bytes_beside(self.header, self.full_bytes, self.groups)

    @property
    def importance(self) -> str | None:
        return load_importance(self.importance_file).digest() if self.importance_file else None

    def rivals(self, budget_bytes: int, count: int, short_type: str) -> list[Candidate]:
        """llama.cpp's own mixes nearest below the budget, and the one that fell short."""
        mixes = llama_mixes(self.header, self.reference, importance=self.importance_file is not None, also=short_type)
        inside = {name for group in self.groups for name in next(iter(group.tensors.values()))}
        sizes = {name: self.beside + mix_bytes(types, self.shapes, inside) for name, types in mixes.items()}
        fitting = sorted((name for name in sizes if sizes[name] <= budget_bytes), key=lambda name: (-sizes[name], name))
        names = [
            *([short_type] if short_type in mixes else []),
            *(name for name in fitting[:count] if name != short_type),
        ]
        return [
            Candidate(
                name=f"llama.cpp {name}", origin="llama.cpp", mix={},
                made={"ftype": TYPES[name].ftype or FTYPE, "tensor_types": {}},
            )
            for name in names
        ]  # fmt: skip

    def candidate(self, name: str, origin: Origin, mix: Mix) -> Candidate:
        made = {"ftype": FTYPE, "tensor_types": tensor_types_of(self.groups, mix)}
        return Candidate(name=name, origin=origin, mix=mix, made=made)

    def payload(self) -> dict[str, Any]:
        return {
            "reference": str(self.reference), "reference_digest": self.digest,
            "importance": str(self.importance_file) if self.importance_file else None,
        }  # fmt: skip

    @staticmethod
    def types_of(groups: Sequence[GroupOptions], one: MeasuredMix) -> tuple[str, Mix]:
        if one.origin == "llama.cpp":
            return one.name.removeprefix("llama.cpp "), {}
        return nearest_type(groups, one.groups), one.groups


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

    payload: reference (GGUF) and its digest, importance (file or null), candidates (ftype, tensor_types), text (file), context_tokens, folder,
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


def nearest_type(groups: Sequence[GroupOptions], mix: Mapping[str, str]) -> str:
    """The serving type whose bulk holds most bytes of the mix: what the recipe is named after."""
    names: dict[str, str] = {}
    for name, bulk in BULK.items():
        if name in TYPES:
            names.setdefault(bulk, name)
    known = {kind: size for kind, size in bytes_held(groups, mix).items() if kind in names}
    return names[max(known, key=lambda kind: (known[kind], kind))] if known else "Q8_0"
