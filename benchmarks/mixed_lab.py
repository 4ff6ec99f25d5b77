"""Where mixed precision is tried: a trained model, its full-precision file, an importance matrix, a scan, and texts apart.

Of the calibration file the first three quarters make the importance matrix; the scan and the measured mixes see the last quarter;
llama.cpp's perplexity tool judges on held-out text that neither has seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.llama_tools import run
from quantplay.engines.converter import convert, ensure_converter
from quantplay.engines.llama_quantize import quantize_file
from quantplay.evalset import read_texts
from quantplay.harness.divergence import measure_divergence
from quantplay.mixed.ggml_served import GgmlServed
from quantplay.mixed.gguf_mixes import FTYPE, GgufMixes
from quantplay.mixed.mixes import fitting_context
from quantplay.mixed.rows import held_out_rows, matrix_samples
from quantplay.mixed.sensitivity import ScanSettings, measure_sensitivity
from quantplay.mixed.simulate import Simulator
from quantplay.plays.mixed_precision import choose
from quantplay.quantizers.importance import load_importance, measure_importance, save_importance
from quantplay.records import MixChoice, Sensitivity
from quantplay.settings import settings

HERE = Path(__file__).parent
PILOT = HERE.parent / "examples" / "pilot"
TYPES = (
    "Q8_0", "Q6_K", "Q5_K", "Q4_K", "IQ4_XS", "Q3_K", "IQ3_S", "IQ3_XXS", "Q2_K", "IQ2_S", "IQ2_XS", "IQ2_XXS",
)  # fmt: skip
QUICK_TYPES = ("Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K")  # quantized ten times faster than the IQ types
TOKENS, CONTEXT_TOKENS = 256, 256


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured."""

    types: tuple[str, ...] = TYPES
    matrix_texts: int = 128
    sequences: int = 32  # of the scan
    characters: int = 60_000  # of the text mixes are measured on, and of the held-out text
    rivals: int = 3  # of llama.cpp's mixes and of uniform types, measured before a mix is chosen


QUICK = Effort(types=QUICK_TYPES, matrix_texts=12, sequences=4, characters=8_000, rivals=1)
ATTEMPTS = 10
KLD = re.compile(r"^Mean +KLD: +([-+0-9.einfa]+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model with its texts."""

    name: str
    folder: Path
    calibration: Path
    heldout: Path


def models() -> dict[str, Model]:
    """Those whose weights are here: the pilot, and what benchmarks/trained/train.py made."""
    known = [Model(name="pilot", folder=PILOT / "model", calibration=PILOT / "calibration" / "traffic.jsonl",
                   heldout=PILOT / "heldout" / "text.jsonl")]  # fmt: skip
    known += [
        Model(name=name, folder=HERE / "trained" / name, calibration=HERE / "trained" / "calibration.jsonl",
              heldout=HERE / "trained" / "heldout.jsonl")
        for name in ("grouped", "untied")
    ]  # fmt: skip
    return {one.name: one for one in known if (one.folder / "model.safetensors").is_file()}


@dataclass(frozen=True, kw_only=True)
class Lab:
    """One model, scanned. Everything lies in `folder`, so that a second call goes on from there."""

    model: Model
    folder: Path
    reference: Path
    importance: Path
    sensitivity: Sensitivity
    text: Path  # mixes are measured on
    heldout: Path  # the tool judges on
    effort: Effort

    def choose(self, budget_bytes: int) -> MixChoice:
        return choose(
            GgufMixes(self.sensitivity, self.reference, self.importance), text=self.text, context_tokens=CONTEXT_TOKENS, short="0" * 64, short_type="none", budget_bytes=budget_bytes,
            workdir=self.folder, threads=1, rivals=self.effort.rivals,
        )  # fmt: skip

    def make(self, out: Path, tensor_types: Mapping[str, str], ftype: int = FTYPE) -> int:
        """Write a quantized file; returns its bytes."""
        values = load_importance(self.importance).values
        quantize_file(self.reference, out, ftype=ftype, threads=1, importance=values, tensor_types=tensor_types)
        return out.stat().st_size

    def divergence(self, tensor_types: Mapping[str, str]) -> float:
        """Mean KL divergence on the text mixes are measured on, nats a token, as choosing a mix measures it."""
        file = self.folder / "measured.gguf"
        try:
            self.make(file, tensor_types)
            text = self.text.read_text(encoding="utf-8")
            context = fitting_context(self.reference, text, CONTEXT_TOKENS, 1)
            return measure_divergence(self.reference, file, [text], context_tokens=context, threads=1).mean_kl_nats
        finally:
            file.unlink(missing_ok=True)


def open_lab(model: Model, folder: Path, effort: Effort) -> Lab:
    folder.mkdir(parents=True, exist_ok=True)
    reference, importance = folder / "reference.gguf", folder / "importance"
    texts = [sample.text for sample in read_texts(model.calibration)]
    used = matrix_samples(len(texts), len(texts))
    if not reference.exists():
        convert(ensure_converter(settings().cache), model.folder, reference)
    if not importance.exists():
        save_importance(
            measure_importance(model.folder, texts[: min(used, effort.matrix_texts)], tokens=TOKENS, threads=1),
            importance,
        )
    rows = held_out_rows(model.folder, texts[used:], sequences=effort.sequences, tokens=TOKENS)
    simulator = Simulator(model.folder, GgmlServed(reference, load_importance(importance)), rows, threads=1)
    found = measure_sensitivity(simulator, ScanSettings(types=effort.types), journal=folder / "scan.jsonl")
    text, heldout = folder / "text.txt", folder / "heldout.txt"
    text.write_text("\n".join(texts[used:])[: effort.characters], encoding="utf-8")
    heldout.write_text(
        "\n".join(sample.text for sample in read_texts(model.heldout))[: effort.characters], encoding="utf-8"
    )
    return Lab(
        model=model, folder=folder, reference=reference, importance=importance, sensitivity=found, text=text, heldout=heldout, effort=effort,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Judge:
    """llama.cpp's perplexity tool over held-out text, against the full-precision file."""

    program: Path
    lab: Lab

    def prepare(self) -> None:
        run([*self.command(self.lab.reference), "-f", str(self.lab.heldout)])

    def divergence(self, file: Path) -> float:
        """Mean KL divergence, nats a token; the tool keeps the reference's log-probabilities in 16 bits."""
        for _ in range(ATTEMPTS):  # on a busy machine the tool sometimes ends before its last lines are written
            found = KLD.search(run([*self.command(file), "--kl-divergence"]))
            if found is not None:
                return float(found[1])
        raise RuntimeError("llama-perplexity did not print the mean divergence")

    def command(self, file: Path) -> list[str]:
        context = str(CONTEXT_TOKENS)
        return [str(self.program), "-m", str(file), "-c", context, "-b", context, "-t", "1", "-ct", "f16",
                "--kl-divergence-base", str(self.lab.folder / "reference.logits")]  # fmt: skip
