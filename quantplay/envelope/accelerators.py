"""GPUs as NVIDIA's own library or tool tells them: a line each, `NAME, N MiB, DRIVER`."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from quantplay.envelope.chips import CHIPS, Chip

LINE = re.compile(r"^(?P<name>.+?), *(?P<mib>\d+) MiB, *(?P<driver>[\w.]+)$")
T = TypeVar("T")
VENDORS = {"nvidia", "amd", "intel", "tesla"}


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    name: str
    memory_bytes: int
    driver: str


def accelerator_of(line: str) -> Accelerator | None:
    """What a line of `nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader` says; None for any other."""
    found = LINE.match(line.strip())
    if found is None:
        return None
    return Accelerator(name=found["name"], memory_bytes=int(found["mib"]) << 20, driver=found["driver"])


def by_nvml() -> tuple[str, ...]:
    """The same lines from NVML, where nvidia-ml-py is installed and a driver answers; () elsewhere."""

    def lines(nvml: Any, handles: list[Any]) -> tuple[str, ...]:
        driver = text(nvml.nvmlSystemGetDriverVersion())
        return tuple(
            f"{text(nvml.nvmlDeviceGetName(one))}, {nvml.nvmlDeviceGetMemoryInfo(one).total >> 20} MiB, {driver}"
            for one in handles
        )

    return ask_nvml(lines) or ()


def used_bytes() -> int | None:
    """Memory that is taken now on all NVIDIA devices together; None where NVML does not tell."""
    return ask_nvml(
        lambda nvml, handles: sum(int(nvml.nvmlDeviceGetMemoryInfo(one).used) for one in handles) if handles else None
    )


def ask_nvml(question: Callable[[Any, list[Any]], T]) -> T | None:
    """The answer to `question`, which gets the library and a handle a device; None without library or driver."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        return question(nvml, [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())])
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def text(value: Any) -> str:
    """Older versions of the library return bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def row_of(name: str) -> tuple[str, Chip] | None:
    """The row of the table of chips that a device's name is of, the most particular; None where there is none."""
    here = words(name)
    found = [row for row in CHIPS if words(row) <= here]
    best = max(found, key=lambda row: len(words(row)), default=None)
    return (best, CHIPS[best]) if best is not None else None


def words(name: str) -> set[str]:
    return {word for word in re.split(r"[^a-z0-9+]+", name.casefold()) if word} - VENDORS
