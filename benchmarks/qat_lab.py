"""Trainings on the pilot for benchmarks, in process: a lesson, the file its weights are rounded to, and what the student computed with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from quantplay.digest import digest_of, digest_of_file
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_quantize import quantize_file
from quantplay.engines.transformers_model import load_model, load_tokenizer
from quantplay.evalset import EvalItem, TextSample, read_items, read_texts
from quantplay.formats import TYPES
from quantplay.qat.data import dev_text, text_tokens, training_texts
from quantplay.qat.formats import Sources, format_of
from quantplay.qat.parameters import numpy_parameters
from quantplay.qat.places import Place
from quantplay.qat.train import Lesson, Result, train_weights
from quantplay.quantizers.gguf import read_tensors
from quantplay.quantizers.rounding import METHOD
from quantplay.quantizers.trained import trained_folder
from quantplay.records import Recipe, TrainingSettings
from quantplay.settings import settings

PILOT = Path(__file__).parents[1] / "examples" / "pilot"
TRAINING = PILOT / "training" / "train.jsonl"
CALIBRATION = PILOT / "calibration" / "traffic.jsonl"


@dataclass
class Lab:
    """The pilot's files in a folder of their own."""

    folder: Path
    model: Path = PILOT / "model"
    reference: Path = field(init=False)

    def __post_init__(self) -> None:
        self.reference = self.folder / "reference.gguf"
        convert(ensure_converter(settings().cache), self.model, self.reference)

    def rounded(self, kind: str, name: str, *, source: Path | None = None, **how: Any) -> Path:
        """`source` (full precision unless given) as llama.cpp quantizes it to `kind`."""
        ftype = TYPES[kind].ftype
        assert ftype is not None
        out = self.folder / f"{name}.gguf"
        quantize_file(source or self.reference, out, ftype=ftype, threads=1, **how)
        return out

    def lesson(
        self,
        kinds: Mapping[str, str],
        wanted: TrainingSettings,
        serving_format: str = "gguf",
        *,
        texts: int | None = None,
        dev_every: int = 1,
        importance: Mapping[str, np.ndarray] | None = None,
    ) -> Lesson:
        """Towards `kinds` (tensor -> type) on the pilot's training texts, or the first `texts` of them, and every so many-th dev item.
        Leaks are refused.
        """
        tokenizer = load_tokenizer(self.model)
        items = read_items(PILOT / "evaluation" / "dev.jsonl")
        samples = self.samples(texts)
        return Lesson(
            sources=self.sources, serving_format=serving_format, kinds=kinds, importance=importance or {},
            texts=text_tokens(tokenizer, [sample.text for sample in samples], wanted.row_tokens),
            dev=dev_text(tokenizer, items[::dev_every], wanted.row_tokens), settings=wanted,
            identity=digest_of([dict(kinds), wanted.body()]),
        )  # fmt: skip

    @cached_property
    def splits(self) -> dict[str, tuple[EvalItem, ...]]:
        return {f"the {name} split": read_items(PILOT / "evaluation" / f"{name}.jsonl") for name in ("gate", "dev")}

    def samples(self, texts: int | None) -> tuple[TextSample, ...]:
        if texts is None:
            return training_texts(TRAINING, self.splits, read_texts(PILOT / "heldout" / "text.jsonl"))
        some = self.folder / f"texts-{texts}.jsonl"
        if not some.is_file():
            with TRAINING.open(encoding="utf-8") as file:
                some.write_text("".join(itertools.islice(file, texts)), encoding="utf-8")
            training_texts(some, self.splits, read_texts(PILOT / "heldout" / "text.jsonl"))
        return read_texts(some)

    def trained(self, lesson: Lesson, name: str) -> tuple[Result, Path]:
        """Where it ended, and the master weights' file."""
        out = self.folder / f"{name}.safetensors"

        def report(done: int, total: int, text: str) -> None:
            if done % 25 == 0:
                print(f"  {name}: {done} of {total} {text}", flush=True)

        return train_weights(lesson, workdir=self.folder / name, out=out, report=report), out

    def converted(self, weights: Path, name: str) -> Path:
        """The trained weights as a full-precision GGUF."""
        out = self.folder / f"{name}-f32.gguf"
        with trained_folder(self.model, weights, digest_of_file(weights), self.folder) as folder:
            convert(ensure_converter(settings().cache), folder, out)
        return out

    @property
    def source_weights(self) -> Path:
        return self.model / "model.safetensors"

    def rounded_folder(self, kind: str, weights: Path) -> Path:
        """The trained weights as compressed-tensors' `kind`, as play 6 exports them."""
        recipe = Recipe(
            format="compressed-tensors", type=kind, method=METHOD, bits_per_weight=TYPES[kind].bits_per_weight, bits_activations=16,
            group_size=128, importance_matrix=False, tensor_types={}, higher_precision=(), model=digest_of([]),
            calibration=digest_of([]), calibration_samples=0, calibration_tokens=0, seed=0, threads=1, versions={},
            converter=digest_of([]), trained=digest_of_file(weights),
        )  # fmt: skip
        out = self.folder / f"{kind}.tar"
        format_of(recipe.format).make(
            recipe, self.sources, weights=weights, scratch=self.folder, out=out, report=lambda done, total, text: None
        )
        return out

    def preset_folder(self, kind: str, weights: Path) -> Path:
        """The same weights rounded by llm-compressor's own preset, in float32."""
        from llmcompressor.entrypoints.oneshot import oneshot
        from llmcompressor.modifiers.quantization import QuantizationModifier

        out = self.folder / f"preset-{kind}"
        with trained_folder(self.model, weights, digest_of_file(weights), self.folder) as folder:
            model = load_model(folder)
            oneshot(model=model, recipe=[QuantizationModifier(scheme=kind, targets=["Linear"], ignore=["lm_head"])])
            model.save_pretrained(str(out), save_compressed=True)
        return out

    def parameters(self, weights: Path) -> dict[str, np.ndarray]:
        """The model's parameters with the trained weights in them."""
        with trained_folder(self.model, weights, digest_of_file(weights), self.folder) as folder:
            return {name: one.copy() for name, one in numpy_parameters(load_model(folder)).items()}

    def places(self, kinds: Mapping[str, str], serving_format: str = "gguf") -> tuple[Place, ...]:
        return format_of(serving_format).places(load_model(self.model), self.sources, kinds)

    @property
    def sources(self) -> Sources:
        return Sources(model=self.model, reference=self.reference, calibration=CALIBRATION, kept=self.folder)


def kinds_in(file: Path) -> dict[str, str]:
    """Tensor -> stored type."""
    return {name: tensor.kind for name, tensor in read_tensors(file).items()}


def exactly(kinds: Mapping[str, str]) -> dict[str, str]:
    """Overrides that make llama.cpp store every matrix as it is in `kinds`."""
    return {name: kind for name, kind in kinds.items() if kind != "F32"}
