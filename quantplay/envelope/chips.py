"""Chips and what they execute natively, as data: for planning on a chip one does not have.

Numbers are of one chip, dense (without sparsity), at the vendor's peak: GB/s and TFLOPS in powers of ten, memory in GiB as far as
usable: what the driver tells (nvidia-smi, with error correction on), rounded down, which is less than the datasheet's GB. To add a
chip: a row with the address of its datasheet, and of the pages you opened that state its numbers. What runs natively on an
architecture follows vLLM's table as of its release 0.15, https://docs.vllm.ai/en/v0.15.1/features/quantization/ (read November
2026; later releases run Marlin on Turing too), and llama.cpp's own code for CPUs.
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
    source: str  # whose numbers these are; no vendor's page could be opened from where this table was written
    seen: tuple[str, ...]  # pages that were opened in November 2026 and state them


NVIDIA = "https://www.nvidia.com/content/dam/en-zz/Solutions"
GITHUB = "https://github.com"
# NVIDIA's own copy of its datasheets: memory, bandwidth and arithmetic, each with the address it is from.
TENSORRT_LLM = f"{GITHUB}/NVIDIA/TensorRT-LLM/blob/16d2467ea8e3b45d7d9555010c2ad018d006d5c1/tensorrt_llm/auto_parallel/cluster_info.py"
GPU_SPECS = f"{GITHUB}/winston-zhang-orz/gpu-specs/blob/097f0fb34b7530bb7aa83535e5170a4c6701b5d7/specs.md"
# Instructions a cycle, measured on the Zen 4 and Zen 5 cores.
INSTLATX64 = f"{GITHUB}/InstLatx64/InstLatx64/blob/087af2c7d72c9a6af85a3a079e8fdb878db23ba1/AuthenticAMD/AuthenticAMD"
# Copies of AMD's and Intel's own tables of specifications.
CPU_SPECS = f"{GITHUB}/felixsteinke/cpu-spec-dataset/blob/4c08d8873c33a2d1054a40ae305eec22073463a7/dataset"
CHIPS: dict[str, Chip] = {
    "NVIDIA T4": Chip(
        kind="gpu", architecture="turing", memory_gib=15, bandwidth_gb_s=300, tflops={"bfloat16": 65, "int8": 130}, cache_mib=4,
        source=f"{NVIDIA}/Data-Center/tesla-t4/t4-tensor-core-datasheet-951643.pdf (its 16-bit rate is of float16; others tell 320 GB/s)",
        seen=(GPU_SPECS, "https://sysrqmts.com/en/gpus/nvidia/tesla/t4"),
    ),
    "NVIDIA A10": Chip(
        kind="gpu", architecture="ampere", memory_gib=22.4, bandwidth_gb_s=600, tflops={"bfloat16": 125, "int8": 250}, cache_mib=6,
        source=f"{NVIDIA}/Data-Center/a10/pdf/datasheet-new/nvidia-a10-datasheet.pdf",
        seen=(TENSORRT_LLM, "https://sysrqmts.com/ru/gpus/compare/nvidia-a10-pcie-vs-nvidia-quadro-rtx-4000"),
    ),
    "NVIDIA A100 80GB": Chip(
        kind="gpu", architecture="ampere", memory_gib=80, bandwidth_gb_s=2039, tflops={"bfloat16": 312, "int8": 624}, cache_mib=40,
        source=f"{NVIDIA}/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf (SXM)",
        seen=(TENSORRT_LLM, "https://www.thundercompute.com/blog/nvidia-a100-specs-full-guide"),
    ),
    "NVIDIA L4": Chip(
        kind="gpu", architecture="ada", memory_gib=22.4, bandwidth_gb_s=300, tflops={"bfloat16": 121, "int8": 242, "fp8": 242},
        cache_mib=48, source="https://nvdam.widen.net/s/rvq98gbwsw/l4-datasheet-2595652 (with sparsity there: halved)",
        seen=(TENSORRT_LLM, GPU_SPECS, "https://fpsbench.com/compare/gpu/nvidia-l4-vs-nvidia-tesla-m40"),
    ),
    "NVIDIA L40S": Chip(
        kind="gpu", architecture="ada", memory_gib=44.9, bandwidth_gb_s=864, tflops={"bfloat16": 362, "int8": 733, "fp8": 733},
        cache_mib=96, source="https://resources.nvidia.com/en-us-l40s/l40s-datasheet-28413",
        seen=(TENSORRT_LLM, f"{GITHUB}/alvarobartt/cuda-device-query/blob/785c09f81d56cedba22460cb643b23ae0e1ba3b3/README.md"),
    ),
    "NVIDIA GeForce RTX 4090": Chip(
        kind="gpu", architecture="ada", memory_gib=23.9, bandwidth_gb_s=1008, tflops={"bfloat16": 165, "int8": 661, "fp8": 330},
        cache_mib=72, source="https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf",
        seen=("https://waredb.com/processor/nvidia-geforce-rtx-4090",),
    ),
    "NVIDIA H100": Chip(
        kind="gpu", architecture="hopper", memory_gib=79.6, bandwidth_gb_s=3350, tflops={"bfloat16": 989, "int8": 1979, "fp8": 1979},
        cache_mib=50, source="https://resources.nvidia.com/en-us-tensor-core/nvidia-tensor-core-gpu-datasheet (SXM; with sparsity there: halved)",
        seen=(TENSORRT_LLM, "https://chipsandcheese.com/p/nvidias-h100-funny-l2-and-tons-of-bandwidth"),
    ),
    "NVIDIA H200": Chip(
        kind="gpu", architecture="hopper", memory_gib=140.4, bandwidth_gb_s=4800, tflops={"bfloat16": 989, "int8": 1979, "fp8": 1979},
        cache_mib=60,  # from the device's own properties; no page was found that tells it
        source="https://nvdam.widen.net/s/nb5zzzsjdf/hpc-datasheet-sc23-h200-datasheet-3002446 (SXM; with sparsity there: halved)",
        seen=(TENSORRT_LLM,),
    ),
    "AMD Instinct MI300X": Chip(
        kind="gpu", architecture="cdna3", memory_gib=191.9, bandwidth_gb_s=5300, tflops={"bfloat16": 1307, "int8": 2615, "fp8": 2615},
        cache_mib=256, source="https://www.amd.com/content/dam/amd/en/documents/instinct-tech-docs/data-sheets/amd-instinct-mi300x-data-sheet.pdf",
        seen=(
            f"{GITHUB}/pytorch/pytorch/blob/00604d0f7e9adbfb6a6ef06f375007945118044d/torch/_inductor/analysis/device_info.py",
            "https://servethehome.com/amd-instinct-mi300x-gpu-and-mi300a-apus-launched-for-ai-era/3",
        ),
    ),
    "AMD EPYC 9654": Chip(
        kind="cpu", architecture="zen4", memory_gib=0, bandwidth_gb_s=460.8, tflops={"bfloat16": 14.7, "int8": 29.5}, cache_mib=384,
        source="https://www.amd.com/en/products/processors/server/epyc/4th-generation-9004-and-8004-series/amd-epyc-9654.html "
        "(12 channels of DDR5-4800; 96 cores at 2.4 GHz with AVX-512 BF16 and VNNI, 64 and 128 operations a cycle)",
        seen=(f"{CPU_SPECS}/amd-cpus.csv", f"{INSTLATX64}0A10F11_K19_Genoa_01_InstLatX64.txt"),
    ),
    "AMD EPYC 9755": Chip(
        kind="cpu", architecture="zen5", memory_gib=0, tflops={"bfloat16": 44.2, "int8": 88.5}, cache_mib=512,
        bandwidth_gb_s=576,  # on no page that was opened: DDR5-6000 is told of the series, DDR5-6400 (614 GB/s) too
        source="https://www.amd.com/en/products/processors/server/epyc/9005-series/amd-epyc-9755.html "
        "(12 channels of DDR5-6000; 128 cores at 2.7 GHz with AVX-512 BF16 and VNNI, 128 and 256 operations a cycle)",
        seen=(
            "https://www.svethardware.cz/amd-epyc-9755-se-128-jadry-zen-5-ma-640-mb-cache-a-vysoky-vykon-v-testu-cpu-z/60948",
            f"{INSTLATX64}0B40F40_K20_GraniteRidge_02_512b_InstLatX64.txt",
        ),
    ),
    "Intel Xeon Platinum 8480+": Chip(
        kind="cpu", architecture="sapphire rapids", memory_gib=0, bandwidth_gb_s=307.2, tflops={"bfloat16": 114.7, "int8": 229.4},
        cache_mib=105,
        source="https://www.intel.com/content/www/us/en/products/sku/231746/intel-xeon-platinum-8480-processor-105m-cache-2-00-ghz/specifications.html "
        "(8 channels of DDR5-4800; 56 cores at 2.0 GHz with AMX, 1,024 and 2,048 operations a cycle)",
        seen=(f"{CPU_SPECS}/intel-cpus.csv", "https://wikimili.com/en/Advanced_Matrix_Extensions"),
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
MARLIN_8 = Kernel(native=True, arithmetic="bfloat16", words="8-bit weights unpacked inside a fused kernel (Marlin)")
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
    if kind == "W8A16":
        return MARLIN_8 if runtime == "vllm" and architecture in MARLIN_RUNS else NONE
    if kind == "FP8_DYNAMIC":
        return FP8 if architecture in FP8_UNITS else FP8_WEIGHTS
    if kind == "W8A8":
        return INT8 if runtime == "vllm" and architecture in INT8_UNITS else NONE
    return MIXED_INT8


def find_chip(wanted: str) -> tuple[str, Chip]:
    """The row whose name is `wanted`, with or without the maker's, or contains it; * and ? stand for anything. InputError on none or several."""
    plain = " ".join(wanted.casefold().split())
    names = {name.casefold(): name for name in CHIPS}
    found = (
        [name for low, name in names.items() if plain in (low, low.partition(" ")[2])]
        or [name for low, name in names.items() if fnmatchcase(low, plain) or plain in low]
    )  # fmt: skip
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
