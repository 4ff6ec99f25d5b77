"""Chips and what they execute natively, as data: for planning on a chip one does not have.

Numbers are of one chip, dense (without sparsity), at the vendor's peak: GB/s and TFLOPS in powers of ten, memory in GiB as far as
usable. To add a chip: a row with the address of its datasheet. What runs natively on an architecture follows vLLM's table,
https://docs.vllm.ai/en/latest/features/quantization/ (read November 2026), and llama.cpp's own code for CPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from quantplay.errors import InputError
from quantplay.records import Machine

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One chip. tflops: arithmetic (bfloat16, int8, fp8) -> 10^12 operations a second."""

    kind: Literal["cpu", "gpu"]
    architecture: str
    memory_gib: float  # 0: whatever the server has
    bandwidth_gb_s: float
    tflops: dict[str, float]
    cache_mib: float
    source: str


NVIDIA = "https://www.nvidia.com/content/dam/en-zz/Solutions"
CHIPS: dict[str, Chip] = {
    "NVIDIA T4": Chip(
        kind="gpu", architecture="turing", memory_gib=16, bandwidth_gb_s=320, tflops={"bfloat16": 65, "int8": 130}, cache_mib=4,
        source=f"{NVIDIA}/Data-Center/tesla-t4/t4-tensor-core-datasheet-951643.pdf (its 16-bit rate is of float16)",
    ),
    "NVIDIA A10": Chip(
        kind="gpu", architecture="ampere", memory_gib=24, bandwidth_gb_s=600, tflops={"bfloat16": 125, "int8": 250}, cache_mib=6,
        source=f"{NVIDIA}/Data-Center/a10/pdf/datasheet-new/nvidia-a10-datasheet.pdf",
    ),
    "NVIDIA A100 80GB": Chip(
        kind="gpu", architecture="ampere", memory_gib=80, bandwidth_gb_s=2039, tflops={"bfloat16": 312, "int8": 624}, cache_mib=40,
        source=f"{NVIDIA}/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf",
    ),
    "NVIDIA L4": Chip(
        kind="gpu", architecture="ada", memory_gib=24, bandwidth_gb_s=300, tflops={"bfloat16": 121, "int8": 242, "fp8": 242},
        cache_mib=48, source="https://resources.nvidia.com/en-us-data-center-overview/l4-gpu-datasheet (with sparsity there: halved)",
    ),
    "NVIDIA L40S": Chip(
        kind="gpu", architecture="ada", memory_gib=48, bandwidth_gb_s=864, tflops={"bfloat16": 362, "int8": 733, "fp8": 733},
        cache_mib=96, source="https://resources.nvidia.com/en-us-l40s/l40s-datasheet-28413",
    ),
    "NVIDIA GeForce RTX 4090": Chip(
        kind="gpu", architecture="ada", memory_gib=24, bandwidth_gb_s=1008, tflops={"bfloat16": 165, "int8": 661, "fp8": 330},
        cache_mib=72, source="https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf",
    ),
    "NVIDIA H100": Chip(
        kind="gpu", architecture="hopper", memory_gib=80, bandwidth_gb_s=3350, tflops={"bfloat16": 989, "int8": 1979, "fp8": 1979},
        cache_mib=50, source="https://resources.nvidia.com/en-us-tensor-core/nvidia-tensor-core-gpu-datasheet (SXM; with sparsity there: halved)",
    ),
    "NVIDIA H200": Chip(
        kind="gpu", architecture="hopper", memory_gib=141, bandwidth_gb_s=4800, tflops={"bfloat16": 989, "int8": 1979, "fp8": 1979},
        cache_mib=50, source="https://resources.nvidia.com/en-us-data-center-overview/hpc-datasheet-sc23-h200 (SXM; with sparsity there: halved)",
    ),
    "AMD Instinct MI300X": Chip(
        kind="gpu", architecture="cdna3", memory_gib=192, bandwidth_gb_s=5300, tflops={"bfloat16": 1307, "int8": 2615, "fp8": 2615},
        cache_mib=256, source="https://www.amd.com/content/dam/amd/en/documents/instinct-tech-docs/data-sheets/amd-instinct-mi300x-data-sheet.pdf",
    ),
    "AMD EPYC 9654": Chip(
        kind="cpu", architecture="zen4", memory_gib=0, bandwidth_gb_s=460.8, tflops={"bfloat16": 7.4, "int8": 14.7}, cache_mib=384,
        source="https://www.amd.com/en/products/processors/server/epyc/4th-generation-9004-and-8004-series/amd-epyc-9654.html "
        "(12 channels of DDR5-4800; 96 cores at 2.4 GHz with AVX-512 VNNI and BF16, 32 and 64 operations a cycle)",
    ),
    "AMD EPYC 9755": Chip(
        kind="cpu", architecture="zen5", memory_gib=0, bandwidth_gb_s=576, tflops={"bfloat16": 22.1, "int8": 44.2}, cache_mib=512,
        source="https://www.amd.com/en/products/processors/server/epyc/9005-series/amd-epyc-9755.html "
        "(12 channels of DDR5-6000; 128 cores at 2.7 GHz with AVX-512 VNNI and BF16, 64 and 128 operations a cycle)",
    ),
    "Intel Xeon Platinum 8480+": Chip(
        kind="cpu", architecture="sapphire rapids", memory_gib=0, bandwidth_gb_s=307.2, tflops={"bfloat16": 114.7, "int8": 229.4},
        cache_mib=105,
        source="https://www.intel.com/content/www/us/en/products/sku/231746/intel-xeon-platinum-8480-processor-105m-cache-2-00-ghz/specifications.html "
        "(8 channels of DDR5-4800; 56 cores at 2.0 GHz with AMX, 1,024 and 2,048 operations a cycle)",
    ),
}  # fmt: skip

Arithmetic = Literal["bfloat16", "int8", "fp8"]


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """How a runtime computes with a type on an architecture."""

    native: bool  # the low precision itself is executed, or unpacked in a fused kernel made for it
    arithmetic: Arithmetic  # that the multiplications run in
    words: str
    unpacks: bool = False  # every weight is written out at full precision before it is used


MARLIN = Kernel(native=True, arithmetic="bfloat16", words="4-bit weights unpacked inside a fused kernel (Marlin)")
NONE = Kernel(
    native=False, arithmetic="bfloat16", words="no kernel of its own: unpacked to full precision before every use", unpacks=True
)  # fmt: skip
INT8 = Kernel(native=True, arithmetic="int8", words="8-bit integer matrix units")
FP8 = Kernel(native=True, arithmetic="fp8", words="8-bit float matrix units")
FP8_WEIGHTS = Kernel(
    native=False, arithmetic="bfloat16", words="no 8-bit float units: only the weights stay 8 bits wide"
)
MIXED_INT8 = Kernel(
    native=False,
    arithmetic="bfloat16",
    words="LLM.int8(): outlier columns apart in 16 bits, slower than 16 bits at small batches",
)
GGML_CPU = Kernel(native=True, arithmetic="int8", words="ggml's integer kernels for this CPU's vector units")
GGML_GPU = Kernel(native=True, arithmetic="int8", words="ggml's integer kernels")
PLAIN = Kernel(native=True, arithmetic="bfloat16", words="16-bit arithmetic")

FP8_UNITS = ("ada", "hopper", "cdna3")
MARLIN_RUNS = ("ampere", "ada", "hopper")
INT8_UNITS = ("turing", "ampere", "ada", "hopper")


def kernel_of(kind: str, format_name: str, runtime: str, chip: Chip | None) -> Kernel:
    """How `runtime` computes with a type of formats.TYPES on `chip`; None is a CPU that is here."""
    architecture, on_gpu = (chip.architecture, chip.kind == "gpu") if chip else ("this CPU", False)
    if format_name == "gguf":
        return PLAIN if kind in ("F32", "F16", "BF16") else GGML_GPU if on_gpu else GGML_CPU
    if not on_gpu:
        return NONE
    if kind in ("W4A16", "W4A16_AWQ", "GPTQ_INT4"):
        return MARLIN if runtime == "vllm" and architecture in MARLIN_RUNS else NONE
    if kind == "FP8_DYNAMIC":
        return FP8 if architecture in FP8_UNITS else FP8_WEIGHTS
    if kind == "W8A8":
        return INT8 if runtime == "vllm" and architecture in INT8_UNITS else NONE
    return MIXED_INT8


def find_chip(wanted: str) -> tuple[str, Chip]:
    """The row whose name is or contains `wanted`; * and ? stand for anything. Raises InputError on none or several."""
    plain = " ".join(wanted.casefold().split())
    names = {name.casefold(): name for name in CHIPS}
    found = [names[plain]] if plain in names else [
        name for low, name in names.items() if fnmatchcase(low, plain) or plain in low
    ]  # fmt: skip
    if len(found) != 1:
        what = "several chips of the table have this name" if found else "no such chip in the table"
        raise InputError(
            what, value=wanted, allowed=", ".join(found or CHIPS),
            fix="write one of these, or `this machine` for the one you are on",
        )  # fmt: skip
    return found[0], CHIPS[found[0]]


def machine_of(name: str, chip: Chip) -> Machine:
    """The chip as the planner's machine: its datasheet's numbers."""
    return Machine(
        name=name, source=f"datasheet, not measured: {chip.source}", measured=False, threads=0,
        bandwidth_gb_s=chip.bandwidth_gb_s, gflops={one: 1000 * rate for one, rate in chip.tflops.items()},
        cache_bytes=int(chip.cache_mib * 2**20), node_us=4.0 if chip.kind == "gpu" else 2.0,
        memory_bytes=int(chip.memory_gib * GIB),
    )  # fmt: skip
