from __future__ import annotations

from pathlib import Path

import pytest

from quantplay.envelope.accelerators import accelerator_of, row_of
from quantplay.envelope.hardware import measure_fingerprint, read_accelerators, read_cpu, read_memory, vector_units
from quantplay.records import Fingerprint


def test_the_same_machine_gives_the_same_fingerprint() -> None:
    first = measure_fingerprint(2)
    assert first.digest() == measure_fingerprint(2).digest()
    assert first.digest() != measure_fingerprint(1).digest()
    assert Fingerprint.model_validate(first.body()) == first
    assert first.hardware.cores >= 1
    assert first.hardware.memory_bytes > 2**27
    assert first.hardware.cpu
    assert {"torch", "transformers", "llama-cpp-python", "lm-eval", "numpy"} <= first.software.packages.keys()
    assert first.software.runtime


def test_cpuinfo_is_read_once_and_flags_are_sorted(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Fast CPU @ 3 GHz\nflags\t\t: sse2 avx\n\nmodel name\t: Other\nflags\t\t: fma\n")
    assert read_cpu(info) == ("Fast CPU @ 3 GHz", ["avx", "sse2"])
    info.write_text("Processor\t: An ARM\nFeatures\t: fp asimd\n")
    assert read_cpu(info) == ("An ARM", ["asimd", "fp"])
    model, flags = read_cpu(tmp_path / "missing")
    assert model
    assert flags == []


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    whole = read_memory(())
    limit = tmp_path / "memory.max"
    limit.write_text("1048576\n")
    assert read_memory((limit, tmp_path / "missing")) == 1048576
    limit.write_text("max\n")
    assert read_memory((limit,)) == whole


def test_accelerators_are_what_the_tool_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_accelerators() == ()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'A100, 81920 MiB, 550.54'\necho 'A100, 81920 MiB, 550.54'\n")
    tool.chmod(0o755)
    assert read_accelerators() == ("A100, 81920 MiB, 550.54",) * 2
    tool.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    assert read_accelerators() == ()


@pytest.mark.parametrize(
    ("line", "row", "mib"),
    [
        # As nvidia-smi printed them on such machines.
        ("NVIDIA H100 80GB HBM3, 81559 MiB, 580.126.20", "NVIDIA H100", 81559),
        ("NVIDIA A100-SXM4-80GB, 81920 MiB, 580.95.05", "NVIDIA A100 80GB", 81920),
        ("NVIDIA H200, 143771 MiB, 580.95.05", "NVIDIA H200", 143771),
        ("NVIDIA B200, 183359 MiB, 580.95.05", None, 183359),
    ],
)
def test_a_device_is_found_in_the_table_of_chips(line: str, row: str | None, mib: int) -> None:
    device = accelerator_of(line)
    assert device is not None
    assert device.memory_bytes == mib << 20
    found = row_of(device.name)
    assert (found[0] if found else None) == row


@pytest.mark.parametrize(
    "line", ["", "No devices were found", "name, memory.total [MiB], driver_version", "GPU, N/A, 5"]
)
def test_a_line_that_names_no_device_is_none(line: str) -> None:
    assert accelerator_of(line) is None


def test_vector_units_have_the_names_people_know() -> None:
    assert vector_units(["avx2", "avx512f", "avx512_vnni", "fpu"]) == ("AVX2", "AVX-512", "AVX-512 VNNI")
    assert vector_units(["amx_int8", "amx_bf16"]) == ("AMX int8", "AMX BF16")
    assert vector_units([]) == ()
