"""Plays 2, 3 and 6 of a case: where it runs, what was chosen there, and the files that came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.audit_seeds_parts.measured import Answers
from benchmarks.audit_seeds_parts.sets import file_entry
from quantplay.digest import digest_of
from quantplay.envelope.accelerators import row_of
from quantplay.envelope.chips import Kernel, kernel_of, machine_of
from quantplay.formats import FORMATS, TYPES, loads_gguf
from quantplay.gate.target import chip_of
from quantplay.plan import Plan
from quantplay.quantizers import recipe as gguf
from quantplay.quantizers.folder_recipe import folder_recipe
from quantplay.records import (
    Artifact,
    Candidate,
    CurvePoint,
    Digest,
    EnvelopeChoice,
    Fingerprint,
    Hardware,
    Inputs,
    Prediction,
    Recipe,
    Software,
    Training,
    TrainingSettings,
)

CONVERTER = digest_of("a converter")
EPYC = "AMD EPYC 9654 96-Core Processor"
H100, A100, T4 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "Tesla T4"
VLLM = {"envelope.runtime": "vllm", "envelope.device": "gpu"}  # of a plan
METHODS = {
    "W4A16": "llm-compressor-gptq", "W4A16_AWQ": "llm-compressor-awq", "W8A16": "llm-compressor-gptq",
    "W8A8": "llm-compressor-smoothquant-gptq", "FP8_DYNAMIC": "llm-compressor-fp8", "GPTQ_INT4": "gptqmodel",
}  # fmt: skip
GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Try:
    """One candidate that was built and put to the gate."""

    type: str = "Q4_K_M"
    answers: Answers = field(default_factory=Answers)
    tensor_types: Mapping[str, str] = field(default_factory=dict)  # overrides of the format's own mix
    bits: float | None = None  # measured, where they are not the type's own
    trained: bool = False


def fingerprint_of(chip: str, runtime: str) -> Fingerprint:
    """A machine with this chip: a processor, or an accelerator beside one."""
    on_gpu = is_accelerator(chip)
    builds = {"llama.cpp": "llama.cpp b6800", "llama.cpp-server": "llama.cpp b6800", "vllm": "vllm 0.15.0"}
    return Fingerprint(
        hardware=Hardware(
            cpu=EPYC if on_gpu else chip, cpu_features=digest_of(EPYC if on_gpu else chip), cores=16, memory_bytes=128 * GIB,
            accelerators=(f"{chip}, 81559 MiB, 570.86.15",) if on_gpu else (),
        ),
        software=Software(
            system="Linux 6.8", python="3.11.9", packages={"torch": "2.13.0"}, runtime=builds.get(runtime, "transformers 5.17.0")
        ),
        threads=16,
    )  # fmt: skip


def is_accelerator(chip: str) -> bool:
    found = row_of(chip)
    return found is not None and found[1].kind == "gpu"


def envelope_of(plan: Plan, fingerprint: Fingerprint, wrong_moves: tuple[str, ...]) -> EnvelopeChoice:
    """As play 2 writes it down: every type of the plan with its kernel on the chip that was planned for."""
    chip = chip_of(plan.envelope, fingerprint.hardware)
    row = row_of(chip)
    candidates = tuple(
        candidate(kind, rank, kernel_of(kind, TYPES[kind].format, plan.envelope.runtime, row[1] if row else None))
        for rank, kind in enumerate(plan.envelope.types, 1)
    )
    full = "F32" if loads_gguf(plan.envelope.runtime) else "BF16"
    return EnvelopeChoice(
        runtime=plan.envelope.runtime, chosen=candidates[0], candidates=candidates, budget_bytes=None,
        bottleneck=plan.envelope.bottleneck, reasons=(f"{candidates[0].type} is the first type in order that fits every budget.",),
        fingerprint=fingerprint, machine=machine_of(*row) if row else None,
        full_precision=candidate(full, 0, Kernel(native=True, arithmetic="bfloat16", words="16-bit arithmetic")),
        wrong_moves=wrong_moves,
    )  # fmt: skip


def candidate(kind: str, rank: int, kernel: Kernel) -> Candidate:
    bits = TYPES[kind].bits_per_weight
    weights = int(1e9 * bits / 8)
    a_token = bits if kernel.native else 40.0  # unpacked before every use: slower than full precision
    return Candidate(
        format=TYPES[kind].format, type=kind, bits_per_weight=bits, weights_bytes=weights, cache_bytes=GIB // 4,
        total_bytes=weights + GIB // 2, fits=True, rank=rank, reason=f"{bits:g} bits a weight; fits",
        prediction=Prediction(
            file_bytes=weights, activation_bytes=GIB // 8, reserve_bytes=GIB // 8, native=kernel.native, kernel=kernel.words,
            time_to_first_token_ms=40, time_per_token_ms=a_token, tokens_per_second=4000 / a_token, decode_bound="memory bandwidth",
            prefill_bound="compute", decode_bytes=weights, decode_flops=2e9, shares={"weights": a_token},
        ),
    )  # fmt: skip


def recipe_of(plan: Plan, tried: Try, inputs: Inputs) -> Recipe:
    serving = TYPES[tried.type]
    if serving.format == "gguf":
        return gguf.build_recipe(
            plan, tried.type, inputs, threads=16, converter=CONVERTER, tensor_types=tried.tensor_types
        )
    return folder_recipe(
        plan, tried.type, inputs, serving_format=serving.format, method=METHODS[tried.type], packages=(), threads=16,
        calibrated=tried.type != "FP8_DYNAMIC", bits_activations=8 if tried.type in ("W8A8", "FP8_DYNAMIC") else 16,
    ).model_copy(update={"tensor_types": dict(tried.tensor_types)})  # fmt: skip


def artifact_of(name: str, tried: Try, recipe: Recipe, files: dict[Digest, bytes]) -> Artifact:
    serving = TYPES[tried.type]
    bulk = "_".join(tried.type.split("_")[:2]) if serving.format == "gguf" else tried.type
    layers = [
        f"blk.{n}.{part}.weight" for n in range(4) for part in ("attn_q", "attn_k", "attn_v", "ffn_up", "ffn_down")
    ]
    tensors = {
        layer: next((kind for part, kind in tried.tensor_types.items() if part in layer), bulk) for layer in layers
    }
    tensors |= {"token_embd.weight": "Q6_K" if serving.format == "gguf" else "BF16", "output_norm.weight": "F32"}
    bits = tried.bits if tried.bits is not None else serving.bits_per_weight + 0.3
    return Artifact(
        recipe=recipe.digest(), format=recipe.format, type=recipe.type, file_name=f"{name}-{tried.type}{FORMATS[serving.format].suffix}",
        sha256=stored_as(f"artifact of recipe {recipe.digest()}", files), size_bytes=int(1e9 * bits / 8),
        bits_per_weight=bits, tensors=tensors, importance_matrix=digest_of("matrix") if recipe.importance_matrix else None,
        seconds=60, peak_resident_bytes=4 * GIB,
    )  # fmt: skip


def training_of(plan: Plan, inputs: Inputs, short: Artifact, files: dict[Digest, bytes]) -> Training:
    assert inputs.training is not None
    curve = (
        CurvePoint(step=0, loss=0.4, dev_kl_nats=0.3, dev_top1=0.8),
        CurvePoint(step=25, loss=0.1, dev_kl_nats=0.05, dev_top1=0.97),
    )
    return Training(
        artifact=short.sha256, model=inputs.model.content, data=inputs.training.content, dev=inputs.evaluation.files[0].sha256,
        settings=TrainingSettings(steps=25, learning_rate=1e-4, device="cpu", precision="float32"), precision="float32",
        device="cpu", kinds=dict(short.tensors), texts=200, tokens=40_000, tokens_seen=100_000, curve=curve, steps_done=25,
        chosen_step=25, stopped_early=False, weights=stored_as(f"trained from {short.sha256}", files), size_bytes=4 * GIB,
        seconds=600, peak_resident_bytes=8 * GIB,
    )  # fmt: skip


def stored_as(text: str, files: dict[Digest, bytes]) -> Digest:
    """Digest of a file that stands for a large one; `files` gains it."""
    return file_entry("", text.encode(), files).sha256
