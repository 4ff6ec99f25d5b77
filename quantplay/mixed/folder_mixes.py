"""Mixes as folders of compressed-tensors: their bytes before they are made, and how they are made and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantplay.digest import digest_of, digest_of_file
from quantplay.formats import TYPES
from quantplay.harness.divergence import measure_divergence
from quantplay.mixed.allocate import Mix
from quantplay.mixed.folder_served import FORMAT, FolderServed
from quantplay.mixed.journal import Journal
from quantplay.mixed.mixes import Candidate, bytes_held, fitting_context, tensor_types_of
from quantplay.process import Report
from quantplay.quantizers import METHODS
from quantplay.quantizers.compressed_tensors import METHODS as MADE_BY
from quantplay.quantizers.layer_types import FULL, MIXED, exactly, quantized_layers
from quantplay.records import Artifact, GroupOptions, MeasuredMix, Recipe, Sensitivity, TypeOption
from quantplay.records.mix import Origin

NAME_BYTES = (
    32  # around a layer's name in the list of its type's layers, indentation included; and digits of its offsets
)
WORDS_BYTES = 4096  # a second type's words in config.json, and two blocks of the archive that may begin


class FolderMixes:
    """What llm-compressor makes of a model folder."""

    job = "quantplay.mixed.folder_mixes:measure_job"
    importance = None

    def __init__(
        self, sensitivity: Sensitivity, reference: Path, *, model: Path, calibration: Path, short: Artifact, short_file: Path,
        made_by: Recipe,
    ) -> None:  # fmt: skip
        """reference: the model folder as one file. short: the artifact that came short, `made_by` its recipe, which says with which
        texts, threads and versions mixes are made as well."""
        self.sensitivity, self.reference, self.model = sensitivity, reference, model
        self.calibration, self.short, self.short_file, self.made_by = calibration, short, short_file, made_by
        self.digest, self.full_bytes = digest_of_file(reference), reference.stat().st_size
        self.layers = quantized_layers(FORMAT, short.tensors)
        self.groups = options_of(sensitivity)
        self.beside = bytes_beside(FolderServed(model, reference, tuple(self.layers)), short, self.layers)

    def rivals(self, budget_bytes: int, count: int, short_type: str) -> list[Candidate]:
        """The file that came short, as it is."""
        uniform = {group.group: short_type for group in self.groups if short_type in {one.kind for one in group.types}}
        return [
            Candidate(
                name=f"uniform {short_type}", origin="uniform", mix=uniform if not self.made_by.tensor_types else {},
                made={"file": str(self.short_file), "unit": self.short.sha256},
            )
        ]  # fmt: skip

    def candidate(self, name: str, origin: Origin, mix: Mix) -> Candidate:
        recipe = mix_recipe(self.made_by, self.groups, mix)
        return Candidate(name=name, origin=origin, mix=mix, made={"recipe": recipe.body(), "unit": recipe.digest()})

    def payload(self) -> dict[str, Any]:
        return {
            "reference": str(self.reference), "reference_digest": self.digest, "model": str(self.model),
            "calibration": str(self.calibration),
        }  # fmt: skip

    @staticmethod
    def types_of(groups: Sequence[GroupOptions], one: MeasuredMix) -> tuple[str, Mix]:
        if one.origin == "uniform":
            return one.name.removeprefix("uniform "), {}
        return nearest_type(groups, one.groups), one.groups


def mix_recipe(made_by: Recipe, groups: Sequence[GroupOptions], mix: Mapping[str, str]) -> Recipe:
    """`made_by` with these types instead of its own; a type for all is a recipe without single ones."""
    kinds, kind = set(mix.values()), nearest_type(groups, mix)
    types = (
        {} if kinds == {kind} else {exactly(name): one for name, one in sorted(tensor_types_of(groups, mix).items())}
    )
    return made_by.model_copy(update={"type": kind, "method": MADE_BY[kind], "tensor_types": types})


def nearest_type(groups: Sequence[GroupOptions], mix: Mapping[str, str]) -> str:
    """The type that most weights of the mix have, full precision left out: what the recipe is named after."""
    held = {kind: size / TYPES[kind].bits_per_weight for kind, size in bytes_held(groups, mix).items() if kind != FULL}
    return max(held, key=lambda kind: (held[kind], kind)) if held else MIXED[FORMAT][0]


def options_of(sensitivity: Sensitivity) -> tuple[GroupOptions, ...]:
    """What every group may take. Nothing is padded between the tensors of a safetensors file."""
    return tuple(
        GroupOptions(
            group=one.group,
            tensors={damage.kind: dict.fromkeys(one.tensors, damage.kind) for damage in one.types},
            types=tuple(
                TypeOption(
                    kind=damage.kind, stored_bytes=damage.stored_bytes, damage_nats=max(0.0, damage.mean_kl_nats),
                    measured=damage.how == "measured",
                )
                for damage in one.types
            ),
            gain_nats=one.restored_gain_nats,
            base=sensitivity.base,
        )
        for one in sensitivity.groups
    )  # fmt: skip


def bytes_beside(served: FolderServed, short: Artifact, layers: Mapping[str, str]) -> int:
    """Bytes of the file that no group takes, from above: those of the file that came short, and what names every layer's type.

    layers: of that file, with their types.
    """
    inside = sum(served.layer_bytes(layer, kind) for layer, kind in layers.items())
    return short.size_bytes - inside + sum(len(layer) + NAME_BYTES for layer in layers) + WORDS_BYTES


def measure_job(payload: dict[str, Any], report: Report) -> list[dict[str, Any]]:
    """Job: make every candidate in `folder`, measure it against `reference`, delete it; finished ones are in `journal`.

    payload: reference (file) and its digest, model (folder), calibration (JSONL), candidates (unit, and recipe or file), text
    (file), context_tokens, folder, journal, threads. Returns for each its size_bytes, tokens, mean_kl_nats, mean_kl_se.
    """
    from importlib import import_module

    reference, folder, threads = Path(payload["reference"]), Path(payload["folder"]), payload["threads"]
    folder.mkdir(parents=True, exist_ok=True)
    quantize_job = import_module(METHODS[FORMAT]).quantize_job
    text = Path(payload["text"]).read_text(encoding="utf-8")
    asked = {"reference": payload["reference_digest"], "text": digest_of(text), "context": payload["context_tokens"]}
    journal = Journal(Path(payload["journal"]), digest_of(asked))
    context = fitting_context(reference, text, payload["context_tokens"], threads, "transformers")
    found = []
    for number, candidate in enumerate(payload["candidates"]):
        body = journal.get(candidate["unit"])
        if body is None:
            made = folder / f"candidate-{number}.tar"
            try:
                if "recipe" in candidate:
                    job = {key: payload[key] for key in ("model", "calibration")}
                    quantize_job(job | {"recipe": candidate["recipe"], "out": str(made)}, lambda *_: None)
                file = made if "recipe" in candidate else Path(candidate["file"])
                one = measure_divergence(
                    reference, file, [text], context_tokens=context, threads=threads, runtime="transformers"
                )
                body = {"size_bytes": file.stat().st_size, "tokens": one.tokens,
                        "mean_kl_nats": one.mean_kl_nats, "mean_kl_se": one.mean_kl_se}  # fmt: skip
            finally:
                made.unlink(missing_ok=True)
            journal.put(candidate["unit"], body)
        found.append(body)
        report(number + 1, len(payload["candidates"]), "mixes made and measured")
    return found
