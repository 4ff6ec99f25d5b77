"""What is here: the hardware and software a number was measured on. The same machine gives the same record every time."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from quantplay.digest import digest_of
from quantplay.envelope.accelerators import by_nvml
from quantplay.records import Fingerprint, Hardware, Software

# Every package whose version can change a score, a byte of an artifact or a speed.
PACKAGES = (
    "accelerate", "datasets", "gguf", "llama-cpp-python", "lm-eval", "numpy", "protobuf", "safetensors", "sentencepiece",
    "tokenizers", "torch", "transformers", "vllm",
)  # fmt: skip


def measure_fingerprint(threads: int) -> Fingerprint:
    """Hardware and software of this process, for work that runs with `threads` threads. No model is needed."""
    return Fingerprint(hardware=read_hardware(), software=read_software(), threads=threads)


def fingerprint_job(payload: dict[str, int], _report: object) -> dict[str, object]:
    """Job: `threads` -> body of Fingerprint. A fresh process sees what is installed now, whatever its parent has loaded."""
    return measure_fingerprint(payload["threads"]).body()


def read_hardware() -> Hardware:
    model, features = read_cpu()
    return Hardware(
        cpu=model,
        cpu_features=digest_of(features),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=read_memory(),
        accelerators=read_accelerators(),
    )


def read_software() -> Software:
    from quantplay.engines.llama_build import runtime_build
    from quantplay.engines.llama_cpp import runtime_description

    libc = " ".join(platform.libc_ver()).strip()
    return Software(
        system=" ".join(part for part in (platform.system(), platform.release(), platform.machine(), libc) if part),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: version for name in PACKAGES if (version := installed(name)) is not None},
        runtime=runtime_description(),
        build=runtime_build(),
    )


def read_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, list[str]]:
    """The processor's name and its sorted instruction-set flags, as far as the system tells."""
    names = {"model name": "", "Processor": "", "flags": "", "Features": ""}
    try:
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if names.get(key.strip()) == "":
                names[key.strip()] = value.strip()
    except OSError:
        pass
    model = names["model name"] or names["Processor"] or darwin_cpu() or platform.processor() or platform.machine()
    return model, sorted(set((names["flags"] or names["Features"]).split()))


VECTOR_UNITS = {
    "AVX2": ("avx2",), "AVX-512": ("avx512f",), "AVX-512 VNNI": ("avx512_vnni",), "AVX VNNI": ("avx_vnni",), "AVX-512 BF16": ("avx512_bf16",),
    "AMX int8": ("amx_int8",), "AMX BF16": ("amx_bf16",), "NEON": ("asimd",), "dot products": ("asimddp",), "int8 matrices": ("i8mm",),
    "BF16": ("bf16",), "SVE": ("sve",),
}  # fmt: skip
"""What matters for low precision -> the system's flags that mean it is there."""


def vector_units(features: list[str]) -> tuple[str, ...]:
    """Names of the processor's units that low precision can use, of its instruction-set flags."""
    return tuple(name for name, flags in VECTOR_UNITS.items() if set(flags) <= set(features))


def darwin_cpu() -> str:
    if sys.platform != "darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def read_memory(limits: tuple[Path, ...] = (Path("/sys/fs/cgroup/memory.max"),)) -> int:
    """Bytes of memory this process may use: the machine's, or the container's limit where it is lower."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for path in limits:
        try:
            text = path.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def read_accelerators() -> tuple[str, ...]:
    """Name, memory and driver of every NVIDIA device, as its own library or tool tells; () where there is none."""
    return by_nvml() or ask_nvidia("name,memory.total,driver_version")


def read_devices() -> tuple[str, ...]:
    """Identity of every NVIDIA device, the same in every process and container that sees it; () where there is none."""
    return ask_nvidia("uuid")


def ask_nvidia(fields: str) -> tuple[str, ...]:
    """A line a device."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip()) if done.returncode == 0 else ()


def installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
